package gateway

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// atOnce is a store without a queue.
type atOnce struct{ chat.Store }

func (atOnce) Deliver(_ chat.ConvID, f func()) { f() }

// BenchmarkTell measures an online-only message from the sender's frame to the buffers of those who get it, without disk and network, by the number of other sessions of
// the sender and of sessions of the receiver.
func BenchmarkTell(b *testing.B) {
	for _, c := range []struct{ own, peer int }{{0, 0}, {0, 1}, {2, 1}, {0, 50}} {
		b.Run(fmt.Sprintf("own=%d/peer=%d", c.own, c.peer), func(b *testing.B) {
			n := start(b, options{wrap: func(s chat.Store) chat.Store { return atOnce{s} }})
			n.log = slog.New(slog.DiscardHandler)
			var all []*session
			enter := func(user string, i int) *session {
				u, err := n.rules.Account(b.Context(), user)
				if err != nil {
					b.Fatal(err)
				}
				res, err := n.rules.Login(b.Context(), u.UID, &im.LoginRequest{UserId: user, DeviceId: fmt.Sprint(user, i)}, chat.Ticket{Expires: time.Now().Add(time.Hour)})
				if err != nil {
					b.Fatal(err)
				}
				s := newSession(n.Gateway)
				s.caller, s.state, s.writing = res.Caller, live, true // nobody writes: the benchmark empties the buffers
				s.caller.Reply = s.reply
				n.register(s)
				all = append(all, s)
				return s
			}
			sender := enter("alice", 0)
			for i := range c.own {
				enter("alice", i+1)
			}
			if _, err := n.rules.Account(b.Context(), "bob"); err != nil {
				b.Fatal(err)
			}
			for i := range c.peer {
				enter("bob", i)
			}
			req := &im.SendRequest{Conv: key("bob"), ClientTime: 1700000000, Random: 7, Message: text("a message as people write them, of some sixty bytes or so")}
			req.Message.IsOnlineMsg = true
			body, err := req.MarshalVT()
			if err != nil {
				b.Fatal(err)
			}
			f := im.Frame{Method: im.Method_SEND, Body: body}
			send := func() {
				f.Id++
				if err := sender.handle(&f); err != nil {
					b.Fatal(err)
				}
				for _, s := range all {
					s.mu.Lock()
					s.out, s.frames = slices.Grow(s.out[:0], 1)[:headRoom], 0
					s.mu.Unlock()
				}
			}
			for _, s := range all {
				s.out = make([]byte, headRoom, 4<<10)
			}
			send()
			n.rules.Wait(b.Context()) // the receiver was looked up
			b.ReportAllocs()
			for b.Loop() {
				send()
			}
			if got := sender.open; got != 0 {
				b.Fatalf("%d calls are not answered", got)
			}
			for _, s := range all { // the listener closes what is in the gateway's list, and these are not
				n.unregister(s)
			}
		})
	}
}

// BenchmarkTellMany measures one event for many users with a session each.
func BenchmarkTellMany(b *testing.B) {
	n := start(b, options{})
	e := chat.Event{Method: im.Method_ENTRY, Frame: im.AppendMessage(nil, &im.Frame{Method: im.Method_ENTRY}, &im.EntryPush{Conv: key("alice"), Entry: &im.Entry{Message: text("hello")}})}
	var all []*session
	for uid := range chat.UID(500) {
		s := newSession(n.Gateway)
		s.caller, s.state, s.writing, s.out = &chat.Caller{UID: uid}, live, true, make([]byte, headRoom, 4<<10)
		n.register(s)
		all = append(all, s)
		e.To.Users = append(e.To.Users, uid)
	}
	for b.Loop() {
		n.tell(e.To, func() chat.Event { return e })
		for _, s := range all {
			s.out, s.frames = s.out[:headRoom], 0
		}
	}
	for _, s := range all {
		n.unregister(s)
	}
}
