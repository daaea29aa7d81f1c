package imtest_test

import (
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// A test of an application runs a server of its own.
func Example() {
	_ = func(t *testing.T) { // func TestGreeting(t *testing.T)
		s := imtest.Start(t, imtest.WithLimits(imtest.Limits{SendRate: 20}), imtest.Classes(map[string]string{"web": "any"}))
		heard := make(chan string, 1)
		s.Dial("bob", client.Events{NewMessages: func(ms []*im.Message) { heard <- ms[0].ElemArray[0].GetText().GetContent() }})
		ann := s.Dial("ann", client.Events{})
		if _, err := ann.SendMessage(t.Context(), client.C2C("bob"), im.Text("hello")); err != nil {
			t.Fatal(err)
		}
		if text := <-heard; text != "hello" {
			t.Errorf("bob heard %q", text)
		}
		s.Kick("ann")
	}
}
