package chat_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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

// opened opens a store until the end of a test.
func opened(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// refused has a message to a group that does not exist refused, of which the webhook is to be notified.
func refused(t *testing.T, c *chat.Chat, s *chat.Caller, n uint32) {
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

// TestLaterIsLimited: while the store takes nothing, refused messages wait for the webhook's outbox in a bounded amount, and nobody waits for them: a sender who is refused
// again and again loses their own notifications, and others' are written when the store takes something again.
func TestLaterIsLimited(t *testing.T) {
	held := &heldStore{Store: opened(t), hold: make(chan struct{})}
	c := chat.New(held, chat.Config{Notify: true})
	caller := func(name string) *chat.Caller {
		u, err := c.Account(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return &chat.Caller{UID: u.UID, Name: name, Groups: true}
	}
	loud, quiet := caller("loud"), caller("quiet")
	for i := range uint32(1500) {
		refused(t, c, loud, i)
	}
	refused(t, c, quiet, 1)
	close(held.hold)
	c.Wait(t.Context())
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

// TestLaterBadRow: a notification that the store never takes is lost by itself: those that would have been written together with it are written.
func TestLaterBadRow(t *testing.T) {
	held := &heldStore{Store: opened(t), hold: make(chan struct{})}
	c := chat.New(held, chat.Config{Notify: true})
	var good []*chat.Caller
	for i := range 20 {
		u, err := c.Account(t.Context(), fmt.Sprintf("m%02d", i))
		if err != nil {
			t.Fatal(err)
		}
		good = append(good, &chat.Caller{UID: u.UID, Name: u.Name, Groups: true})
	}
	bad := &chat.Caller{UID: good[19].UID + 1, Name: "nobody", Groups: true} // without an account there is no lane
	for i, s := range good {
		refused(t, c, s, 1)
		if i%5 == 2 {
			refused(t, c, bad, uint32(i))
		}
	}
	close(held.hold)
	c.Wait(t.Context())
	for _, s := range append(good, bad) {
		want := 1
		if s == bad {
			want = 0
		}
		if rows, err := c.Outbox(t.Context(), s.UID, 10); err != nil || len(rows) != want {
			t.Errorf("%d notifications of %s are written (%v)", len(rows), s.Name, err)
		}
	}
}

// brokenStore fails Updates: from the first one on that is let.
type brokenStore struct {
	chat.Store
	hold            chan struct{}
	together, alone int
}

func (s *brokenStore) Update(_ context.Context, keys []chat.Key, _ func(chat.Tx) error) error {
	<-s.hold
	if len(keys) > 1 {
		s.together++
	} else {
		s.alone++
	}
	return errors.New("the store is broken")
}

// TestWaitWithBrokenStore: when the server goes away, what the store does not take for the webhook is not tried again and again.
func TestWaitWithBrokenStore(t *testing.T) {
	broken := &brokenStore{Store: opened(t), hold: make(chan struct{})}
	c := chat.New(broken, chat.Config{Notify: true})
	const senders, atOnce = 400, 32 // in so many lanes
	for i := range senders {
		refused(t, c, &chat.Caller{UID: chat.UID(i + 1), Name: fmt.Sprint("m", i), Groups: true}, 1)
	}
	close(broken.hold)
	c.Wait(t.Context())
	// One or two may have been tried again before Wait was called.
	const batches = senders/atOnce + 1
	if broken.together < batches || broken.together > 2*batches || broken.alone > 10*batches {
		t.Errorf("%d batches were tried together %d times, and rows of them %d times", batches, broken.together, broken.alone)
	}
}

// stuckStore holds an Update until its context ends.
type stuckStore struct {
	chat.Store
	begun chan struct{}
	once  sync.Once
	late  atomic.Int32
}

func (s *stuckStore) Update(ctx context.Context, _ []chat.Key, _ func(chat.Tx) error) error {
	s.once.Do(func() { close(s.begun) })
	<-ctx.Done()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		s.late.Add(1)
	}
	return ctx.Err()
}

// TestWaitWithStuckStore: the end of Wait's context also ends the wait for a store that does not respond.
func TestWaitWithStuckStore(t *testing.T) {
	stuck := &stuckStore{Store: opened(t), begun: make(chan struct{})}
	c := chat.New(stuck, chat.Config{Notify: true})
	refused(t, c, &chat.Caller{UID: 1, Name: "ann", Groups: true}, 1)
	<-stuck.begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.Wait(ctx)
	if n := stuck.late.Load(); n > 0 {
		t.Errorf("%d transactions were waited for as long as they may take", n)
	}
}
