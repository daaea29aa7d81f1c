package imtest_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServer(t *testing.T) {
	s := imtest.Start(t)
	got := make(chan string, 10)
	s.Dial("bob", client.Events{NewMessages: func(ms []*im.Message) {
		for _, m := range ms {
			got <- m.ElemArray[0].GetText().GetContent()
		}
	}})
	linked := make(chan struct{}, 10)
	alice := s.Dial("alice", client.Events{Network: func(status client.NetworkStatus, _ int32, _ string) {
		if status == client.NetworkConnected {
			linked <- struct{}{}
		}
	}})
	wait := func() {
		t.Helper()
		select {
		case <-linked:
		case <-time.After(40 * time.Second): // a pause between two attempts is at most 30 s
			t.Fatal("alice is not connected")
		}
	}
	wait()
	say := func(text string) {
		t.Helper()
		if _, err := alice.SendMessage(t.Context(), client.C2C("bob"), im.Text(text)); err != nil {
			t.Fatal(err)
		}
		select {
		case m := <-got:
			if m != text {
				t.Fatalf("got %q, want %q", m, text)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%q did not come", text)
		}
	}
	say("hi")
	url := s.URL
	s.Restart()
	if s.URL != url {
		t.Errorf("after a restart the address is %s, was %s", s.URL, url)
	}
	wait()
	say("still here")
	s.Stop()
	s.Stop()
}
