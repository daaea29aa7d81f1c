package gateway

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// deaf logs in a client that does not read.
func (n *node) deaf(user string) (*conn, *session) {
	n.t.Helper()
	c := n.connect()
	c.begin(im.Method_LOGIN, device{user: user}.request())
	if _, _, err := c.ws.Read(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
	for _, s := range n.snapshot() {
		if s.user() == user {
			return c, s
		}
	}
	n.t.Fatal("no session")
	return nil, nil
}

// until waits for what another goroutine is about to do.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in %s", what, patience)
		}
	}
}

func (s *session) isBehind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behind
}

// flood sends big messages until the session is behind, and returns how many.
func flood(alice *conn, s *session, to string) (sent int) {
	alice.t.Helper()
	big := strings.Repeat("x", 12<<10)
	for !s.isBehind() {
		if sent > 20000 {
			alice.t.Fatal("the session's queue takes everything")
		}
		for range 20 {
			alice.begin(im.Method_SEND, alice.request(to, big))
			sent++
		}
		alice.await(alice.id)
	}
	return sent
}

// Rule 9: a full queue drops pushes and counts them; when it has drained, one hint is sent, and the client finds everything with HEADS and PULL.
func TestBehind(t *testing.T) {
	o := options{}
	o.gateway.QueueFrames = 50
	n := start(t, o)
	slow, s := n.deaf("slow")
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	sent := flood(alice, s, "slow")
	alice.send("slow", "dropped")
	sent++
	alice.send("bob", "others are not held up")
	bob.push(im.Method_ENTRY, nil)

	slow.listen()
	got := 0
	for {
		f := slow.take()
		if f.Method == im.Method_BEHIND {
			break
		}
		got++
	}
	hb := slow.quiet()
	if got >= sent || hb.Queued != uint64(sent)+1 {
		t.Errorf("%d of %d came, and the heartbeat counts %d", got, sent, hb.Queued)
	}
	if h := slow.head("alice"); h.Seq != uint64(sent) || h.Unread != uint64(sent) {
		t.Errorf("head %v", h)
	}
	alice.send("slow", "live again")
	var p im.EntryPush
	if slow.push(im.Method_ENTRY, &p); p.Entry.Seq != uint64(sent+1) {
		t.Errorf("push %v", &p)
	}
	slow.quiet()
}

// What waits in all sessions together is limited: above that a session has its fair share, however much it may have alone. A client that takes what
// waits finds everything.
func TestQueuesShareMemory(t *testing.T) {
	const users, memory, big = 4, 1 << 20, 12<<10 + 1000
	o := options{}
	o.gateway.QueueMemory, o.gateway.QueueFrames = memory, 100_000
	n := start(t, o)
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	var last *conn
	sent := 0
	for i := range users {
		var s *session
		last, s = n.deaf(user(i))
		sent = flood(alice, s, user(i))
	}
	alice.send("bob", "published after what was sent before")
	bob.push(im.Method_ENTRY, nil)
	if q := n.queuedBytes(); q > memory+users*(fairShare+big) || q < memory/2 {
		t.Errorf("%d bytes wait, more than %d and a share each", q, memory)
	}
	last.listen()
	for last.take().Method != im.Method_BEHIND { // perhaps not the only one: a share is less than the system takes
	}
	if h := last.head("alice"); h.Seq != uint64(sent) {
		t.Errorf("head %v, want %d", h, sent)
	}
	until(t, "only those who listen are left", func() bool {
		alice.quiet()
		bob.quiet()
		last.head("alice")
		n.leap(16 * time.Second)
		return n.Sessions() == 3
	})
	until(t, "nothing is counted as waiting", func() bool { return n.backlog.Load() == 0 })
}

// A socket that takes nothing is closed, and only then.
func TestStalledSocket(t *testing.T) {
	o := options{}
	o.gateway.QueueFrames = 50
	n := start(t, o)
	_, s := n.deaf("slow")
	alice := n.login(device{user: "alice"})
	flood(alice, s, "slow")
	until(t, "a write that does not end", func() bool { return s.since.Load() != 0 })
	n.leap(29 * time.Second)
	if n.Sessions() != 2 {
		t.Error("it was closed too early")
	}
	alice.quiet()
	n.leap(2 * time.Second)
	n.leap(time.Second)
	until(t, "the slow one is closed", func() bool { return n.Sessions() == 1 })
	alice.quiet()
}

// The server stops reading from a client that calls and calls but does not read, so what it is owed stays limited.
func TestAnswersAreBounded(t *testing.T) {
	o := options{}
	o.gateway.QueueBytes = 256 << 10
	n := start(t, o)
	greedy, s := n.deaf("greedy")
	alice := n.login(device{user: "alice"})
	var epoch uint64
	for range 40 {
		epoch = alice.send("greedy", strings.Repeat("x", 12<<10)).Epoch
	}
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		pull := &im.PullRequest{Conv: key("alice"), Epoch: epoch, From: 1, To: 40}
		for id := uint64(10); ; id++ {
			b := im.AppendMessage(nil, &im.Frame{Id: id, Method: im.Method_PULL}, pull)
			if greedy.ws.Write(t.Context(), websocket.MessageBinary, b) != nil {
				return
			}
		}
	}()
	until(t, "the reader waits", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.open >= n.cfg.OpenCalls || s.waiting() > n.cfg.QueueBytes
	})
	s.mu.Lock()
	if most := n.cfg.QueueBytes + 1<<20; s.waiting() > most {
		t.Errorf("%d bytes wait, more than %d", s.waiting(), most)
	}
	s.mu.Unlock()
	until(t, "the greedy one is closed", func() bool {
		n.leap(31 * time.Second)
		select {
		case <-stop:
			return true
		default:
			return false
		}
	})
}

// slowDisk is a store that accepts no message until it is released.
type slowDisk struct {
	chat.Store
	mu    sync.Mutex
	open  bool
	bytes int
	wait  []func()
}

func (d *slowDisk) Append(e chat.Entry, done func(chat.Stored, bool, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open {
		d.Store.Append(e, done)
		return
	}
	d.bytes += len(e.Body)
	d.wait = append(d.wait, func() { d.Store.Append(e, done) })
}

func (d *slowDisk) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = true
	for _, f := range d.wait {
		f()
	}
}

// TestSendsAreBounded: at most a few megabytes of a client's large messages are taken before the store has them, and none of them is lost.
func TestSendsAreBounded(t *testing.T) {
	const total = 40
	disk := &slowDisk{}
	o := options{wrap: func(st chat.Store) chat.Store {
		disk.Store = st
		return disk
	}}
	o.gateway.QueueBytes = 2 << 20
	n := start(t, o)
	alice := n.login(device{user: "alice"})
	s := n.sessionsOf(chat.UID(alice.reply.TinyId))[0]
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range uint64(total) {
			b := im.AppendMessage(nil, &im.Frame{Id: i + 10, Method: im.Method_SEND},
				&im.SendRequest{Conv: key("alice"), ClientTime: 1700000000, Random: uint32(i), Message: large()})
			if err := alice.ws.Write(t.Context(), websocket.MessageBinary, b); err != nil {
				t.Error(err)
			}
		}
	})
	until(t, "the reader waits", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.crowded()
	})
	n.leap(n.cfg.Silence + time.Second) // the server does not read from it, and does not consider it silent
	disk.mu.Lock()
	if most := n.cfg.QueueBytes + im.MaxMessage; disk.bytes > most {
		t.Errorf("the store was given %d bytes", disk.bytes)
	}
	disk.mu.Unlock()
	disk.release()
	for i := range uint64(total) {
		if f := alice.await(i + 10); f.Code != 0 {
			t.Fatalf("message %d is answered %d: %s", i, f.Code, f.Desc)
		}
	}
	wg.Wait()
	alice.quiet()
}

// TestAnswersAreBoundedToTheEnd: what a client had called before its session was fenced or kicked, and what it sends then, is answered as fast as it
// takes the replies. If it continues, less waits than there may be of events.
func TestAnswersAreBoundedToTheEnd(t *testing.T) {
	for name, end := range map[string]func(*node, *session){
		"live":   func(n *node, _ *session) { n.login(device{user: "bob"}) },
		"fenced": func(_ *node, s *session) { s.fence() },
		"kicked": func(n *node, _ *session) { n.login(device{user: "greedy", device: "another"}) },
	} {
		t.Run(name, func(t *testing.T) {
			o := options{}
			if name != "live" {
				o.gateway.QueueBytes = 256 << 10
			}
			n := start(t, o)
			greedy, s := n.deaf("greedy")
			alice := n.login(device{user: "alice"})
			var epoch uint64
			for range 40 {
				epoch = alice.send("greedy", strings.Repeat("x", 12<<10)).Epoch
			}
			var calls, more []byte
			for id := range uint64(n.cfg.OpenCalls - 100) {
				calls = im.AppendMessage(calls, &im.Frame{Id: id + 10, Method: im.Method_PULL}, &im.PullRequest{Conv: key("alice"), Epoch: epoch, From: 1, To: 40})
			}
			for id := range uint64(100_000) {
				more = im.AppendFrame(more, &im.Frame{Id: id + 10_000, Method: im.Method_PULL})
			}
			greedy.write(calls)
			most := min(n.cfg.QueueBytes, answersWait)
			full := func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.waiting() > most
			}
			until(t, "as much waits as may", full)
			end(n, s)
			var wg sync.WaitGroup
			defer wg.Wait()
			defer s.finish(closeGoingAway, "the test is over")
			wg.Go(func() { greedy.ws.Write(t.Context(), websocket.MessageBinary, more) })
			// As long as it takes to answer somebody else that many times.
			for range soak.Pick(100, 300) {
				alice.call(im.Method_PULL, &im.PullRequest{Conv: key("greedy"), Epoch: epoch, From: 1, To: 40}, 0, nil)
			}
			s.mu.Lock()
			waits := s.waiting()
			s.mu.Unlock()
			if most += 1 << 20; waits > most {
				t.Errorf("%d bytes wait, more than %d", waits, most)
			}
		})
	}
}

// Rule 9: silence closes; anything heard does not.
func TestSilence(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	n.later(80 * time.Second)
	alice.quiet()
	n.later(15 * time.Second)
	bob.closed(closeSilent)
	alice.quiet()
	n.later(91 * time.Second)
	alice.closed(closeSilent)
}

// Rule 9: the time in a heartbeat's reply lets the cursor advance: what was committed before it has been queued.
func TestHeartbeatTime(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	first := bob.quiet()
	if first.Time == 0 || first.Queued != 0 {
		t.Fatalf("the first heartbeat brings %v", first)
	}
	for i := range 300 {
		alice.begin(im.Method_SEND, alice.request("bob", "x"))
		if i%10 != 0 {
			continue
		}
		hb := &im.HeartbeatReply{}
		id := bob.begin(im.Method_HEARTBEAT, &im.Empty{})
		if err := hb.UnmarshalVT(bob.await(id).Body); err != nil {
			t.Fatal(err)
		}
		if uint64(len(bob.pushes)) != hb.Queued {
			t.Fatalf("%d pushes came before a heartbeat that counts %d", len(bob.pushes), hb.Queued)
		}
		// Nothing that comes later was committed before the time.
		if hb.Time < first.Time {
			t.Fatalf("the time went back from %d to %d", first.Time, hb.Time)
		}
		first = hb
	}
	alice.await(alice.id)
	hb := bob.beat()
	for _, f := range bob.pushes[first.Queued:] {
		var p im.EntryPush
		if err := p.UnmarshalVT(f.Body); err != nil || p.Entry.Time < first.Time {
			t.Fatalf("an entry of %d came after a heartbeat of %d", p.Entry.Time, first.Time)
		}
	}
	if hb.Queued != 300 {
		t.Errorf("the last heartbeat counts %d", hb.Queued)
	}
}

// beat is a heartbeat whatever has been pushed.
func (c *conn) beat() *im.HeartbeatReply {
	c.t.Helper()
	hb := &im.HeartbeatReply{}
	c.call(im.Method_HEARTBEAT, &im.Empty{}, 0, hb)
	return hb
}

func TestNoLogin(t *testing.T) {
	n := start(t, options{})
	lazy, alice := n.dial(), n.login(device{user: "alice"})
	n.later(9 * time.Second)
	lazy.call(im.Method_HEARTBEAT, &im.Empty{}, im.CodeNotLoggedIn, nil)
	n.later(2 * time.Second)
	lazy.closed(closeNoLogin)
	alice.quiet()
}

// A client that does not close when it is told to is disconnected.
func TestClientThatDoesNotClose(t *testing.T) {
	n := start(t, options{})
	n.connect() // it does not read, so it sees no close frame
	until(t, "the connection is known", func() bool { return n.Sessions() == 1 })
	n.later(11 * time.Second)
	n.later(n.cfg.AckWithin + n.cfg.Sweep + time.Second)
	until(t, "the connection is cut", func() bool { return n.Sessions() == 0 })
}
