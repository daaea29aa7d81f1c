package chat_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store"
)

// heldStore holds Updates until it is released.
type heldStore struct {
	chat.Store
	hold chan struct{}
}

func (s *heldStore) Update(ctx context.Context, keys []chat.Key, f func(chat.Tx) error) error {
	<-s.hold
	return s.Store.Update(ctx, keys, f)
}

// TestLaterIsLimited: while the store takes nothing, refused messages wait for the webhook's outbox in a bounded amount, and nobody waits for them: a sender who is refused
// again and again loses their own notifications, and others' are written when the store takes something again.
func TestLaterIsLimited(t *testing.T) {
	st, err := store.Open(t.Context(), store.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	held := &heldStore{Store: st, hold: make(chan struct{})}
	c := chat.New(held, chat.Config{Notify: true})
	caller := func(name string) *chat.Caller {
		u, err := c.Account(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return &chat.Caller{UID: u.UID, Name: name, Groups: true}
	}
	refused := func(s *chat.Caller, n uint32) {
		t.Helper()
		replies := make(chan error, 1)
		s.Reply = func(_ uint64, _ im.Method, _ im.Body, err error) { replies <- err }
		req := &im.SendRequest{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: "none"}, ClientTime: 1700000000, Random: n, Message: im.Text(fmt.Sprint(n))}
		body, err := req.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Call(t.Context(), s, &im.Frame{Method: im.Method_SEND, Body: body}, nil); err != nil {
			t.Fatal(err)
		}
		if err := <-replies; im.CodeOf(err) != im.CodeNoGroup {
			t.Fatalf("answered %v", err)
		}
	}
	loud, quiet := caller("loud"), caller("quiet")
	for i := range uint32(1500) {
		refused(loud, i)
	}
	refused(quiet, 1)
	close(held.hold)
	c.Wait()
	rows := func(s *chat.Caller) []chat.Outgoing {
		rows, err := c.Outbox(t.Context(), s.UID, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	// What is being written does not count among those that wait.
	if n := len(rows(loud)); n < 1000 || n > 1256 {
		t.Errorf("%d notifications of who is refused again and again", n)
	}
	if got := rows(quiet); len(got) != 1 || got[0].Command != "Group.CallbackSendMsgException" {
		t.Errorf("%v of somebody else", got)
	}
}
