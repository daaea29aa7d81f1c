package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// A program that logs in, prints what arrives, and sends a message.
func Example() {
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Config{Server: "ws://127.0.0.1:7070", UserID: "ann", UserSig: os.Getenv("TICKET")}, client.Events{
		NewMessages: func(ms []*im.Message) {
			for _, m := range ms {
				fmt.Println(m.Sender, "says", m.ElemArray[0].GetText().GetContent())
			}
		},
		Network: func(status client.NetworkStatus, _ int32, _ string) { fmt.Println(status) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := c.SendMessage(ctx, client.C2C("bob"), im.Text("hello")); errors.Is(err, im.ErrUnknownReceiver) {
		fmt.Println("there is no bob yet")
	}
}
