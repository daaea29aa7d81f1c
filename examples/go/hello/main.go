// Hello logs two users in to a server, sends a message from one to the other, and prints what the other one receives.
//
// Start a server with `tidings serve`, and in the same folder run
//
//	go run ./examples/go/hello
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/usersig"
)

// The defaults of a server.
const (
	appID      = 1400000000
	secretFile = "tidings-data/secret.key"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	key, err := os.ReadFile(secretFile)
	if err != nil {
		return err
	}
	devices, err := os.MkdirTemp("", "hello")
	if err != nil {
		return err
	}
	defer os.RemoveAll(devices)
	return hello(os.Stdout, client.DefaultServer, strings.TrimSpace(string(key)), devices)
}

func hello(out io.Writer, server, key, devices string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	// In a real application your own backend signs the tickets: the key must never reach a user.
	dial := func(user string, ev client.Events) (*client.Client, error) {
		ticket, err := usersig.Sign(appID, key, user, time.Hour, time.Now())
		if err != nil {
			return nil, err
		}
		return client.Dial(ctx, client.Config{Server: server, UserID: user, UserSig: ticket, Dir: filepath.Join(devices, user)}, ev)
	}

	// Callbacks run one at a time on the client's own goroutine.
	heard := make(chan *im.Message, 1)
	bob, err := dial("bob", client.Events{
		NewMessages: func(ms []*im.Message) {
			for _, m := range ms {
				heard <- m
			}
		},
	})
	if err != nil {
		return err
	}
	defer bob.Close()
	alice, err := dial("alice", client.Events{})
	if err != nil {
		return err
	}
	defer alice.Close()

	sent, err := alice.SendMessage(ctx, client.C2C("bob"), im.Text("Hello, Bob!"))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "alice sent message %d, id %s\n", sent.Seq, sent.MsgId)

	select {
	case m := <-heard:
		fmt.Fprintf(out, "bob heard from %s: %s\n", m.Sender, im.TextOf(m))
	case <-ctx.Done():
		return ctx.Err()
	}
	return bob.MarkRead(ctx, client.C2C("alice"), nil)
}
