package gateway

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/hook"
)

// draft is what a before-hook is asked about, verdict what it returns.
type (
	draft   struct{ *hook.C2CBeforeSendMsg }
	verdict = hook.C2CBeforeSendMsgVerdict
)

func (d *draft) text() string { return textOf(&im.Message{ElemArray: d.MsgBody}) }

// asking makes f the before-hook of messages.
func asking(f func(context.Context, *draft) verdict) hook.Set {
	return hook.Set{C2CBeforeSendMsg: func(ctx context.Context, b *hook.C2CBeforeSendMsg, _ hook.Source) verdict { return f(ctx, &draft{b}) }}
}

// asked is a before-hook that rewrites, and counts.
type asked struct {
	mu sync.Mutex
	n  int
}

func (a *asked) ask(_ context.Context, d *draft) verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n++
	switch s := d.text(); s {
	case "rewrite":
		return verdict{Answer: hook.C2CBeforeSendMsgAnswer{MsgBody: im.Text("rewritten").ElemArray}}
	case "drop":
		return verdict{Drop: true}
	case "panic":
		panic("a hook's own mistake")
	}
	return verdict{}
}

func (a *asked) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

func (c *conn) again(req *im.SendRequest) *im.SendReply {
	c.t.Helper()
	c.id++
	c.write(im.AppendMessage(nil, &im.Frame{Id: c.id, Method: im.Method_SEND, Resent: true}, req))
	f, r := c.await(c.id), &im.SendReply{}
	if f.Code != 0 {
		c.t.Fatalf("answered %d, %s", f.Code, f.Desc)
	}
	if err := r.UnmarshalVT(f.Body); err != nil {
		c.t.Fatal(err)
	}
	return r
}

// TestHookOnce: the hook is not asked again about a stored message when its frame is repeated; the reply is the first one, with the hook's content,
// and so is the one to a LOOKUP.
func TestHookOnce(t *testing.T) {
	a := &asked{}
	n := start(t, options{chat: chat.Config{Hooks: asking(a.ask)}})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	req := func(random uint32, s string) *im.SendRequest {
		return &im.SendRequest{Conv: key("bob"), ClientTime: 1700000000, Random: random, Message: text(s)}
	}
	first := &im.SendReply{}
	alice.call(im.Method_SEND, req(1, "rewrite"), 0, first)
	if textOf(first.Entry.Message) != "rewritten" || first.Entry.Seq != 1 {
		t.Fatalf("answered %v", first)
	}
	p := &im.EntryPush{}
	bob.push(im.Method_ENTRY, p)
	if textOf(p.Entry.Message) != "rewritten" {
		t.Errorf("pushed %v", p)
	}
	if r := alice.again(req(1, "rewrite")); !proto.Equal(r, first) {
		t.Errorf("the resend is answered %v, want %v", r, first)
	}
	lookup := &im.LookupReply{}
	alice.call(im.Method_LOOKUP, &im.LookupRequest{Keys: []*im.SendKey{{Conv: key("bob"), ClientTime: 1700000000, Random: 1}}}, 0, lookup)
	if !proto.Equal(lookup.Found[0], first) {
		t.Errorf("LOOKUP finds %v, want %v", lookup.Found[0], first)
	}
	if a.count() != 1 {
		t.Errorf("the hook was asked %d times", a.count())
	}
	// Another text under the key is refused, whatever the hook did with the first.
	alice.id++
	alice.write(im.AppendMessage(nil, &im.Frame{Id: alice.id, Method: im.Method_SEND, Resent: true}, req(1, "other")))
	if f := alice.await(alice.id); f.Code != im.CodeInvalidParameters {
		t.Errorf("answered %d", f.Code)
	}
	// A resend of something that never arrived.
	if r := alice.again(req(2, "plain")); r.Entry.Seq != 2 || r.Entry.Message != nil || a.count() != 2 {
		t.Errorf("answered %v after %d questions", r, a.count())
	}
	plain := &im.LookupReply{}
	alice.call(im.Method_LOOKUP, &im.LookupRequest{Keys: []*im.SendKey{{Conv: key("bob"), ClientTime: 1700000000, Random: 2}}}, 0, plain)
	if e := plain.Found[0].GetEntry(); e.GetSeq() != 2 || e.Message != nil {
		t.Errorf("LOOKUP finds %v", e)
	}
	bob.push(im.Method_ENTRY, nil)

	dropped := &im.SendReply{}
	alice.call(im.Method_SEND, req(3, "drop"), 0, dropped)
	if dropped.Entry.Seq != 0 || dropped.Entry.Time == 0 || dropped.Entry.Message != nil {
		t.Errorf("answered %v", dropped)
	}
	if r := alice.again(req(3, "drop")); r.Entry.Seq != 0 {
		t.Errorf("answered %v", r)
	}
	// Nobody has allowed this one.
	alice.call(im.Method_SEND, req(4, "panic"), im.CodeWebhookFailed, nil)
	// The hook is asked about online-only messages, too.
	online := req(5, "rewrite")
	online.Message.IsOnlineMsg = true
	r, p := &im.SendReply{}, &im.EntryPush{}
	alice.call(im.Method_SEND, online, 0, r)
	if r.Entry.Seq != 0 || textOf(r.Entry.Message) != "rewritten" {
		t.Errorf("answered %v", r)
	}
	bob.push(im.Method_ENTRY, p)
	if textOf(p.Entry.Message) != "rewritten" {
		t.Errorf("pushed %v", p)
	}
	bob.quiet()
	alice.quiet()
}

// TestManyParkedAtTheHook: a hook that hangs delays the messages it was asked about, to however many people, and not the connection.
func TestManyParkedAtTheHook(t *testing.T) {
	hold := make(chan struct{})
	n := start(t, options{chat: chat.Config{Hooks: asking(func(ctx context.Context, d *draft) verdict {
		<-hold
		return verdict{}
	})}})
	alice := n.login(device{user: "alice"})
	var ids []uint64
	for i := range 200 {
		if _, err := n.rules.Account(t.Context(), user(i)); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, alice.begin(im.Method_SEND, &im.SendRequest{Conv: key(user(i)), ClientTime: 1700000000, Random: uint32(i), Message: text("x")}))
	}
	alice.quiet() // the heartbeat is answered
	close(hold)
	left := map[uint64]bool{}
	for _, id := range ids {
		left[id] = true
	}
	for len(left) > 0 {
		f := alice.take()
		if f == nil || f.Code != 0 || !left[f.Id] {
			t.Fatalf("%v came", f)
		}
		delete(left, f.Id)
	}
}

// TestDrainAwaitsTheHook: a server that stops stores what the hook lets through.
func TestDrainAwaitsTheHook(t *testing.T) {
	in, hold := make(chan struct{}), make(chan struct{})
	n := start(t, options{chat: chat.Config{Hooks: asking(func(ctx context.Context, d *draft) verdict {
		close(in)
		<-hold
		return verdict{}
	})}})
	if _, err := n.rules.Account(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	alice := n.login(device{user: "alice"})
	id := alice.begin(im.Method_SEND, alice.request("bob", "hi"))
	<-in
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.stop()
	}()
	select {
	case <-done:
		t.Error("the gateway closed, and the hook had not answered")
	case <-time.After(20 * time.Millisecond):
	}
	close(hold)
	if f := alice.await(id); f.Code != 0 {
		t.Errorf("answered %d", f.Code)
	}
	alice.ws.CloseNow()
	<-done
}

// TestDrainWithoutItsConnection: for a message whose connection has closed, the hook is still asked to the end, and not interrupted by the end of the
// server, which would let the message through unchanged.
func TestDrainWithoutItsConnection(t *testing.T) {
	in, hold := make(chan struct{}), make(chan struct{})
	cutOff := make(chan error, 1)
	n := start(t, options{chat: chat.Config{Hooks: asking(func(ctx context.Context, d *draft) verdict {
		close(in)
		<-hold
		cutOff <- ctx.Err()
		return verdict{Drop: true}
	})}})
	if _, err := n.rules.Account(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	alice := n.login(device{user: "alice"})
	alice.begin(im.Method_SEND, alice.request("bob", "hi"))
	<-in
	alice.ws.CloseNow()
	until(t, "the connection is gone", func() bool { return n.Sessions() == 0 })
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.stop()
	}()
	select {
	case <-n.ctx.Done():
	case <-time.After(20 * time.Millisecond): // nothing reports that it will not be interrupted
	}
	close(hold)
	if err := <-cutOff; err != nil {
		t.Errorf("the hook was cut off: %v", err)
	}
	<-done
}

// TestHookCutOff: the verdict of a hook that was interrupted does not count.
func TestHookCutOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := start(t, options{chat: chat.Config{Hooks: asking(func(context.Context, *draft) verdict {
		cancel()
		return verdict{}
	})}})
	for _, user := range []string{"alice", "bob"} {
		if _, err := n.rules.Account(t.Context(), user); err != nil {
			t.Fatal(err)
		}
	}
	req := &im.SendRequest{Conv: key("bob"), ClientTime: 1700000000, Random: 1, Message: text("hi")}
	if _, err := n.rules.SendAs(ctx, "alice", chat.Via{}, req); !errors.Is(err, &im.Error{Code: im.CodeWebhookFailed}) {
		t.Errorf("answered %v", err)
	}
	bob := n.login(device{user: "bob"})
	heads := &im.HeadsReply{}
	bob.call(im.Method_HEADS, &im.HeadsRequest{}, 0, heads)
	if len(heads.Heads) != 0 {
		t.Errorf("it was sent: %v", heads)
	}
}

// TestOperatorWhileClosing: operators' calls end after the gateway, which does not wait for what they look up.
func TestOperatorWhileClosing(t *testing.T) {
	n := start(t, options{chat: chat.Config{Hooks: asking(func(context.Context, *draft) verdict { return verdict{} })}})
	for _, user := range []string{"alice", "bob"} {
		if _, err := n.rules.Account(t.Context(), user); err != nil {
			t.Fatal(err)
		}
	}
	sent := make(chan int)
	begun := make(chan struct{})
	go func() {
		count := 0
		for ; ; count++ {
			if count == 1 {
				close(begun)
			}
			req := &im.SendRequest{Conv: key("bob"), ClientTime: 1700000000, Random: uint32(count), Message: text("hi")}
			if _, err := n.rules.SendAs(context.Background(), "alice", chat.Via{}, req); err != nil {
				break
			}
		}
		sent <- count
	}()
	<-begun
	n.stop()
	if count := <-sent; count == 0 {
		t.Error("nothing was sent")
	}
}

// TestBystanderAtTheHook: a user with any number of messages at a hook that hangs does not keep the hook from being asked about anybody else's.
func TestBystanderAtTheHook(t *testing.T) {
	hold := make(chan struct{})
	n := start(t, options{chat: chat.Config{BeforeAtOnce: 8, Hooks: asking(func(_ context.Context, d *draft) verdict {
		if d.From_Account == "mallory" {
			<-hold
		}
		if d.text() == "forbidden" {
			return verdict{Err: im.Errorf(im.CodeRefusedByWebhook, "no")}
		}
		return verdict{}
	})}})
	defer close(hold)
	for i := range 100 {
		if _, err := n.rules.Account(t.Context(), user(i)); err != nil {
			t.Fatal(err)
		}
	}
	mallory, bob := n.login(device{user: "mallory"}), n.login(device{user: "bob"})
	for i := range 100 {
		mallory.begin(im.Method_SEND, mallory.request(user(i), "x"))
	}
	mallory.quiet() // all were taken
	bob.call(im.Method_SEND, bob.request("mallory", "forbidden"), im.CodeRefusedByWebhook, nil)
	bob.send("mallory", "hi")
}
