package gateway

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// slowHook holds what it is asked about until it is released.
type slowHook struct {
	mu    sync.Mutex
	asked []string
	in    chan string // passes on each text that begins with "hold"
	free  chan verdict
}

func newSlowHook() *slowHook {
	return &slowHook{in: make(chan string, 100), free: make(chan verdict)}
}

func (h *slowHook) ask(ctx context.Context, d *draft) verdict {
	s := d.text()
	h.mu.Lock()
	h.asked = append(h.asked, s)
	h.mu.Unlock()
	if s == "panic" {
		panic("a hook's own mistake")
	}
	if !strings.HasPrefix(s, "hold") {
		return verdict{}
	}
	h.in <- s
	select {
	case v := <-h.free:
		return v
	case <-ctx.Done():
		return verdict{}
	}
}

// holds waits until the hook has been asked about something that it holds.
func (h *slowHook) holds(t *testing.T) {
	t.Helper()
	select {
	case <-h.in:
	case <-time.After(patience):
		t.Fatal("the hook is not asked")
	}
}

func (h *slowHook) all() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.asked, " ")
}

// beginModify makes a call that is answered later.
func (c *conn) beginModify(peer string, epoch, seq, version uint64, s string) uint64 {
	return c.begin(im.Method_MODIFY, &im.ModifyRequest{Conv: key(peer), Epoch: epoch, Seq: seq, Version: version, Message: im.Text(s)})
}

func (c *conn) modified(id uint64) *im.ModifyReply {
	c.t.Helper()
	r := &im.ModifyReply{}
	if f := c.await(id); f.Code != 0 || r.UnmarshalVT(f.Body) != nil {
		c.t.Fatalf("answered %d %s", f.Code, f.Desc)
	}
	return r
}

// TestModifyAtTheHook: while the before-hook is asked about a modification, nobody is notified of it, what comes behind it in its conversation waits,
// and everything else continues: other calls of the session, and other people's logins.
func TestModifyAtTheHook(t *testing.T) {
	h := newSlowHook()
	n := start(t, options{chat: chat.Config{Hooks: asking(h.ask)}})
	alice, bob, carol := n.login(device{user: "alice"}), n.login(device{user: "bob"}), n.login(device{user: "carol"})
	epoch := alice.send("bob", "one").Epoch
	other := alice.send("carol", "two").Epoch
	bob.push(im.Method_ENTRY, nil)
	carol.push(im.Method_ENTRY, nil)
	first := alice.beginModify("bob", epoch, 1, 0, "hold1")
	h.holds(t)
	second := alice.beginModify("bob", epoch, 1, 1, "after")
	if r := alice.modified(alice.beginModify("carol", other, 1, 0, "elsewhere")); r.Change.GetVersion() != 1 {
		t.Errorf("in another conversation it is answered %v", r)
	}
	if h := alice.head("bob"); h.Rev != 0 || textOf(h.Last.Message) != "one" {
		t.Errorf("before the hook has answered the head is %v", h)
	}
	bob.quiet()
	n.login(device{user: "alice", device: "phone", platform: im.Platform_PLATFORM_IOS})
	n.login(device{user: "dave"})
	h.free <- verdict{}
	if r := alice.modified(first); r.Change.GetRev() != 1 || textOf(r.Change.Message) != "hold1" {
		t.Errorf("the first is answered %v", r)
	}
	if r := alice.modified(second); r.Change.GetRev() != 2 || textOf(r.Change.Message) != "after" {
		t.Errorf("the second is answered %v", r)
	}
	for _, want := range []string{"hold1", "after"} {
		p := &im.ChangePush{}
		if bob.push(im.Method_CHANGE, p); textOf(p.Change.Message) != want {
			t.Errorf("bob hears of %v, want %s", p.Change, want)
		}
	}
	if got := h.all(); got != "one two hold1 elsewhere after" {
		t.Errorf("asked about %s", got)
	}
}

// TestModifyIsAskedOnce: the hook is not asked about a frame that is repeated after it was made, nor about one that cannot be made; it is asked about
// one that was not made.
func TestModifyIsAskedOnce(t *testing.T) {
	h := newSlowHook()
	n := start(t, options{chat: chat.Config{Hooks: asking(h.ask)}})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	epoch := alice.send("bob", "one").Epoch
	bob.push(im.Method_ENTRY, nil)
	resend := func(version uint64, s string) *im.ModifyReply {
		t.Helper()
		alice.id++
		alice.write(im.AppendMessage(nil, &im.Frame{Id: alice.id, Method: im.Method_MODIFY, Resent: true},
			&im.ModifyRequest{Conv: key("bob"), Epoch: epoch, Seq: 1, Version: version, Message: im.Text(s)}))
		return alice.modified(alice.id)
	}
	if r := resend(0, "two"); r.Change.GetRev() != 1 { // its first copy never arrived
		t.Errorf("answered %v", r)
	}
	if r := resend(0, "two"); r.Change.GetRev() != 1 || r.Current != nil {
		t.Errorf("sent again it is answered %v", r)
	}
	if r := alice.modify("bob", epoch, 1, 0, im.Text("conflict")); r.Current.GetVersion() != 1 {
		t.Errorf("answered %v", r)
	}
	alice.call(im.Method_MODIFY, &im.ModifyRequest{Conv: key("bob"), Epoch: epoch, Seq: 1, Version: 1, Message: im.Text(strings.Repeat("x", 13<<10))}, im.CodeMessageSize, nil)
	alice.call(im.Method_MODIFY, &im.ModifyRequest{Conv: key("bob"), Epoch: epoch, Message: im.Text("nothing")}, im.CodeNoSuchMessage, nil)
	alice.call(im.Method_REVOKE, &im.RevokeRequest{Conv: key("bob"), Epoch: epoch, Seq: 1}, 0, nil)
	alice.call(im.Method_MODIFY, &im.ModifyRequest{Conv: key("bob"), Epoch: epoch, Seq: 1, Version: 1, Message: im.Text("recalled")}, im.CodeNoSuchMessage, nil)
	if got := h.all(); got != "one two" {
		t.Errorf("asked about %s", got)
	}
}

// TestModifyOnlyWhatWasAsked: if the message has changed while the hook was asked, its answer is about something else, and it is a conflict; a
// modification that the hook was not asked about, because it named another version, is not made either when that version arrives. A message that is
// recalled in the meantime stays so.
func TestModifyOnlyWhatWasAsked(t *testing.T) {
	h := newSlowHook()
	n := start(t, options{chat: chat.Config{Hooks: asking(h.ask)}})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	epoch := alice.send("bob", "one").Epoch
	alice.send("bob", "two")
	late := alice.beginModify("bob", epoch, 1, 0, "hold1")
	h.holds(t)
	if r := bob.modify("alice", epoch, 1, 0, im.Text("bob's")); r.Change.GetVersion() != 1 {
		t.Fatalf("answered %v", r)
	}
	h.free <- verdict{}
	if r := alice.modified(late); r.Change != nil || textOf(r.Current.GetMessage()) != "bob's" {
		t.Errorf("who is late is answered %v", r)
	}
	early := bob.modify("alice", epoch, 1, 2, im.Text("early"))
	if early.Change != nil || early.Current.GetVersion() != 1 {
		t.Errorf("a version that is to come is answered %v", early)
	}
	recalled := bob.beginModify("alice", epoch, 2, 0, "hold2")
	h.holds(t)
	alice.call(im.Method_REVOKE, &im.RevokeRequest{Conv: key("bob"), Epoch: epoch, Seq: 2}, 0, nil)
	h.free <- verdict{}
	if f := bob.await(recalled); f.Code != im.CodeNoSuchMessage {
		t.Errorf("of a message that was recalled meanwhile it is answered %d", f.Code)
	}
	if h := alice.head("bob"); h.Rev != 2 {
		t.Errorf("the head is %v", h)
	}
}

// TestModifyOfAStoppedSession: modifications that wait for the hook are dropped when the device reconnects, and are made once when it sends them
// again.
func TestModifyOfAStoppedSession(t *testing.T) {
	h := newSlowHook()
	n := start(t, options{chat: chat.Config{Hooks: asking(h.ask), BeforeAtOnce: 1}})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	epoch := alice.send("bob", "one").Epoch
	bob.push(im.Method_ENTRY, nil)
	bob.begin(im.Method_SEND, bob.request("alice", "hold the only slot"))
	h.holds(t)
	alice.beginModify("bob", epoch, 1, 0, "waits")
	again := n.login(device{user: "alice", resume: true, generation: alice.reply.Generation})
	h.free <- verdict{}
	again.id++
	again.write(im.AppendMessage(nil, &im.Frame{Id: again.id, Method: im.Method_MODIFY, Resent: true},
		&im.ModifyRequest{Conv: key("bob"), Epoch: epoch, Seq: 1, Message: im.Text("waits")}))
	if r := again.modified(again.id); r.Change.GetRev() != 1 {
		t.Errorf("answered %v", r)
	}
	if h := again.head("bob"); h.Rev != 1 {
		t.Errorf("the head is %v", h)
	}
}

// between is a store in which something happens each time that entries have been read.
type between struct {
	chat.Store
	then func()
}

func (s *between) Entries(ctx context.Context, id chat.ConvID, from, to uint64, newest bool, limit, maxBytes int) ([]chat.Stored, error) {
	list, err := s.Store.Entries(ctx, id, from, to, newest, limit, maxBytes)
	s.then()
	return list, err
}

// TestModifyUnaskedOfANewVersion: a modification about which the hook need not be asked, because it names a version that the message does not have,
// is a conflict even if the message gets that version at the same moment.
func TestModifyUnaskedOfANewVersion(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	epoch := alice.send("bob", "one").Epoch
	h := newSlowHook()
	rules := chat.New(&between{n.store, func() { bob.modify("alice", epoch, 1, 0, im.Text("bob's")) }}, chat.Config{Hooks: asking(h.ask)})
	replied := make(chan *im.ModifyReply, 1)
	caller := &chat.Caller{UID: chat.UID(alice.reply.TinyId), Name: "alice", Reply: func(_ uint64, _ im.Method, body im.Body, err error) {
		r, _ := body.(*im.ModifyReply)
		replied <- r
	}}
	req := &im.ModifyRequest{Conv: key("bob"), Epoch: epoch, Seq: 1, Version: 1, Message: im.Text("unasked")}
	if err := rules.Call(t.Context(), caller, &im.Frame{Id: 1, Method: im.Method_MODIFY}, req); err != nil {
		t.Fatal(err)
	}
	if r := <-replied; r == nil || r.Change != nil || textOf(r.Current.GetMessage()) != "bob's" {
		t.Errorf("answered %v", r)
	}
	rules.Wait(t.Context())
	if got := h.all(); got != "" {
		t.Errorf("asked about %s", got)
	}
}
