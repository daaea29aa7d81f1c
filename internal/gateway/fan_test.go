package gateway

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

const fanned = "@TGS#_fan"

// fanMembers makes a group of users who are connected, more of them than are written to at once, and returns its owner and the others in the order of the group.
func (n *node) fanMembers(count int, more ...string) (ann *conn, all []*conn) {
	n.t.Helper()
	ann = n.member("ann")
	var names []string
	for i := range count {
		names = append(names, fmt.Sprintf("m%02d", i))
		all = append(all, n.member(names[i]))
	}
	ann.create(fanned, community, append(names, more...)...)
	for _, c := range all {
		n.toldSoFar(c)
	}
	return ann, all
}

// of returns the session of a connection.
func (n *node) of(c *conn) *session { return n.sessionsOf(chat.UID(c.reply.TinyId))[0] }

// loggedIn returns the sessions of a user.
func (n *node) loggedIn(user string) []*session {
	return slices.DeleteFunc(n.snapshot(), func(s *session) bool { return s.user() != user })
}

// writersAtMost sets how many goroutines write events to many.
func (f *fan) writersAtMost(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.most = n
}

// idle reports whether nobody writes to the session, nor is about to.
func (s *session) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.writing
}

// TestFanHoldsUpNobody: what is for one session does not wait until an event to many has come to it, and comes behind what was pushed before. What waits for all of
// them comes to those who are left, in order.
func TestFanHoldsUpNobody(t *testing.T) {
	n := start(t, options{})
	ann, all := n.fanMembers(16)
	bob := n.member("bob")
	n.fan.writersAtMost(0) // an event to many comes to the first few only
	ann.say(fanned, "first", 0)
	for _, c := range all[:fanDirect] {
		c.overhears("2 ann: first")
	}
	waiting := all[fanDirect]
	until(t, "the event to wait", func() bool {
		s := n.of(waiting)
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.fanned && len(s.out) > 0
	})
	bob.send("m08", "for one")
	waiting.overhears("2 ann: first", "1 bob: for one")
	all[fanDirect+1].ws.CloseNow()
	n.fan.writersAtMost(1)
	ann.say(fanned, "second", 0)
	for i, c := range all {
		switch {
		case i <= fanDirect:
			c.overhears("3 ann: second")
		case i > fanDirect+1:
			c.overhears("2 ann: first", "3 ann: second")
		}
	}
}

// TestFanPassesSlowSockets: sockets that take nothing do not keep others from what is for many, and get the rest of it, in order, when they are read again.
func TestFanPassesSlowSockets(t *testing.T) {
	n := start(t, options{})
	n.fan.writersAtMost(1)
	slow := n.connect()
	slow.write(im.AppendMessage(nil, &im.Frame{Id: 1, Method: im.Method_LOGIN}, device{user: "slow", groups: true}.request()))
	until(t, "the login", func() bool { return len(n.loggedIn("slow")) == 1 })
	ann, all := n.fanMembers(fanDirect+2, "slow")
	last := n.member("last")
	ann.call(im.Method_INVITE, &im.GroupMembersRequest{Group: named(fanned), UserIds: []string{"last"}}, 0, nil)
	n.toldSoFar(last)
	if err := n.loggedIn("slow")[0].conn.Conn.(interface{ SetWriteBuffer(int) error }).SetWriteBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	const messages, size = 60, 8000
	for i := range messages {
		ann.say(fanned, fmt.Sprintf("%0*d", size, i), 0)
	}
	hears := func(c *conn) {
		t.Helper()
		for i := 0; i < messages; {
			var f *im.Frame
			if len(c.pushes) > 0 {
				f, c.pushes = c.pushes[0], c.pushes[1:]
			} else if f = c.take(); f == nil {
				t.Fatalf("after %d messages: %v", i, c.err)
			}
			var p im.EntryPush
			if f.Method != im.Method_ENTRY || p.UnmarshalVT(f.Body) != nil || p.Entry.Message.ElemArray[0].GetText() == nil {
				continue
			}
			if got := textOf(p.Entry.Message); got != fmt.Sprintf("%0*d", size, i) {
				t.Fatalf("%s... instead of message %d", got[size-8:], i)
			}
			i++
		}
	}
	for _, c := range append(all, last) {
		hears(c)
	}
	s := n.loggedIn("slow")[0]
	s.mu.Lock()
	waits := len(s.out) + s.written
	s.mu.Unlock()
	if waits == 0 {
		t.Error("the slow socket has taken everything")
	}
	slow.listen()
	hears(slow)
}

// TestFanLags: a whole group is made to ask by the fan too, and no session by a goroutine of its own.
func TestFanLags(t *testing.T) {
	n := start(t, options{})
	_, all := n.fanMembers(fanDirect)
	group, err := n.store.Group(t.Context(), fanned)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		until(t, "the end of writing", n.of(c).idle)
	}
	n.fan.writersAtMost(0)
	n.lag(group.ID)
	for i, c := range all {
		if s := n.of(c); !s.isBehind() || !s.fetched() {
			t.Errorf("m%02d is not left to the fan", i)
		} else {
			s.write()
		}
		c.push(im.Method_BEHIND, nil)
	}
}

// TestFanQueue: the fan keeps the order, and forgets what it has given out.
func TestFanQueue(t *testing.T) {
	f := &fan{}
	sessions := make([]*session, 5000)
	for i := range sessions {
		sessions[i] = &session{}
	}
	var got []*session
	for i, s := range sessions {
		f.add(s)
		if i%5 > 0 { // it grows for ever and never runs empty
			got = append(got, f.take())
		}
	}
	if len(f.waiting) > len(sessions)/2 || cap(f.waiting) > len(sessions) {
		t.Errorf("%d of %d are kept in room for %d", len(f.waiting), len(sessions)-len(got), cap(f.waiting))
	}
	f.writers++
	for s := f.take(); s != nil; s = f.take() {
		got = append(got, s)
	}
	if !slices.Equal(got, sessions) || f.writers != 0 || len(f.waiting) != 0 {
		t.Errorf("%d of %d came, in another order or not; %d writers, %d wait", len(got), len(sessions), f.writers, len(f.waiting))
	}
}
