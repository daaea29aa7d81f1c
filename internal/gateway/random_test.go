package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// moody is a store whose Updates take some time, before or after the commit.
type moody struct {
	chat.Store
	mu sync.Mutex
	r  *rand.Rand
}

// moment waits up to some milliseconds, half of the times.
func (m *moody) moment(most int) {
	m.mu.Lock()
	n := max(0, m.r.IntN(2*most)-most)
	m.mu.Unlock()
	if n > 0 {
		<-time.After(time.Duration(n) * time.Millisecond)
	}
}

func (m *moody) Update(ctx context.Context, keys []chat.Key, fn func(chat.Tx) error) error {
	m.moment(5)
	err := m.Store.Update(ctx, keys, fn)
	m.moment(5)
	return err
}

// actor is a device that acts at random. It keeps connections that it has abandoned, and reads them at the end.
type actor struct {
	n    *node
	r    *rand.Rand
	d    device
	conn *conn // logged in as far as it knows
	old  []*conn
	keys uint32
	// acked are the numbers that were acknowledged for its messages to the other user.
	acked map[uint64]bool
	to    string
}

// try makes a call; it returns nil if the connection or its session has ended: what arrives at a fenced one is thrown away.
func (a *actor) try(c *conn, m im.Method, req im.Body) *im.Frame {
	c.id++
	if c.ws.Write(context.Background(), websocket.MessageBinary, im.AppendMessage(nil, &im.Frame{Id: c.id, Method: m}, req)) != nil {
		return nil
	}
	return a.answer(c, c.id)
}

func (a *actor) answer(c *conn, id uint64) *im.Frame {
	for {
		f := c.take()
		switch {
		case f == nil:
			return nil
		case f.Id == 0:
			if c.pushes = append(c.pushes, f); f.Method == im.Method_KICKED {
				return nil
			}
		case f.Method == im.Method_SEND && f.Code == 0:
			r := &im.SendReply{}
			if r.UnmarshalVT(f.Body) == nil {
				if a.acked[r.Entry.Seq] {
					a.n.t.Errorf("%s %s: number %d was given to two messages", a.d.user, a.d.device, r.Entry.Seq)
				}
				a.acked[r.Entry.Seq] = true
			}
		}
		if f.Id == id {
			return f
		}
	}
}

func (a *actor) step() {
	d := a.d
	switch k := a.r.IntN(100); {
	case k < 20, a.conn == nil: // a login or a resume
		if d.resume = a.conn != nil && a.r.IntN(3) > 0; d.resume {
			d.generation = a.conn.reply.Generation
		}
		if a.r.IntN(4) == 0 {
			d.platform = im.Platform(a.r.IntN(200))
		}
		if a.conn != nil {
			a.leave()
		}
		c := a.n.dial()
		if a.r.IntN(6) == 0 { // disconnects while it logs in
			c.begin(im.Method_LOGIN, d.request())
			a.old = append(a.old, c)
			if a.r.IntN(2) == 0 {
				c.ws.CloseNow()
			}
			return
		}
		f := a.try(c, im.Method_LOGIN, d.request())
		switch {
		case f == nil:
		case f.Code == 0:
			if err := c.reply.UnmarshalVT(f.Body); err != nil {
				a.n.t.Error(err)
			}
			a.conn = c
		case f.Code == im.CodeKicked:
			if a.r.IntN(2) == 0 {
				a.try(c, im.Method_KICKED_ACK, &im.Empty{})
			}
		case f.Code != im.CodeKickedWhileAway && f.Code != im.CodeTicketVoid:
			a.n.t.Errorf("a login is answered %d, %s", f.Code, f.Desc)
		}
	case k < 75:
		a.keys++
		a.conn.id++
		req := &im.SendRequest{Conv: key(a.to), ClientTime: 1700000000, Random: a.keys, Message: text("x")}
		a.conn.ws.Write(context.Background(), websocket.MessageBinary, im.AppendMessage(nil, &im.Frame{Id: a.conn.id, Method: im.Method_SEND}, req))
	case k < 85:
		f := a.try(a.conn, im.Method_HEARTBEAT, &im.Empty{})
		if f == nil || f.Code == im.CodeNotLoggedIn {
			if a.r.IntN(2) == 0 {
				a.try(a.conn, im.Method_KICKED_ACK, &im.Empty{})
			}
			a.conn = nil
		}
	case k < 90:
		a.try(a.conn, im.Method_LOGOUT, &im.Empty{})
		a.conn = nil
	case k < 98:
		a.leave()
	default:
		if err := a.n.rules.Kick(context.Background(), d.user, "a whim"); err != nil {
			a.n.t.Error(err)
		}
	}
}

// leave disconnects, by closing the connection or by abandoning it.
func (a *actor) leave() {
	if a.r.IntN(2) == 0 {
		a.conn.ws.CloseNow()
	}
	a.old = append(a.old, a.conn)
	a.conn = nil
}

// TestSessionsAtRandom: in whatever order logins, resumes, kicks, logouts and lost connections come, with a store and a hook that are slow: in the
// end each class of a user has at most one session, it is what the store says, and all others know that they have ended.
func TestSessionsAtRandom(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { sessionsAtRandom(t, seed) })
	}
}

func sessionsAtRandom(t *testing.T, seed uint64) {
	st := &moody{r: rand.New(rand.NewPCG(seed, 0))}
	n := start(t, options{
		gateway: Config{AckWithin: 20 * time.Millisecond},
		wrap:    func(s chat.Store) chat.Store { st.Store = s; return st },
		chat: chat.Config{Clock: early, BeforeAtOnce: 4, Hooks: asking(func(context.Context, *draft) verdict {
			st.moment(10)
			return verdict{}
		})},
	})
	for _, user := range []string{"alice", "bob"} {
		if _, err := n.rules.Account(t.Context(), user); err != nil {
			t.Fatal(err)
		}
	}
	var actors []*actor
	for i, platform := range []im.Platform{windows, linux, ios, windows, web, linux, android, ios} {
		a := &actor{n: n, r: rand.New(rand.NewPCG(seed, uint64(i+1))), d: device{user: "alice", device: fmt.Sprint("d", i), platform: platform}, acked: map[uint64]bool{}, to: "bob"}
		a.keys = uint32(i) << 16
		if i > 3 {
			a.d.user, a.to = "bob", "alice"
		}
		actors = append(actors, a)
	}
	var wg sync.WaitGroup
	for _, a := range actors {
		wg.Go(func() {
			for range 80 {
				a.step()
			}
		})
	}
	wg.Wait()
	until(t, "all that was begun has ended", func() bool {
		for i := range n.online {
			sh := &n.online[i]
			sh.mu.RLock()
			left := len(sh.locks) + len(sh.closing)
			sh.mu.RUnlock()
			if left > 0 {
				return false
			}
		}
		for _, s := range n.snapshot() {
			s.mu.Lock()
			busy := s.open > 0
			s.mu.Unlock()
			if busy {
				return false
			}
		}
		return true
	})
	// What clients see.
	type seat struct {
		user  string
		class int32
	}
	taken := map[seat]uint64{}
	alive := 0
	numbers := map[uint64]string{}
	for _, a := range actors {
		for _, c := range append(a.old, a.conn) {
			if c == nil {
				continue
			}
			f := a.try(c, im.Method_HEARTBEAT, &im.Empty{})
			if f != nil && f.Code == 0 {
				alive++
			}
		}
		for seq := range a.acked {
			if by, double := numbers[seq]; double {
				t.Errorf("number %d was given to a message of %s and to one of %s", seq, by, a.d.device)
			}
			numbers[seq] = a.d.device
		}
	}
	// What the server holds.
	live := 0
	for _, user := range []string{"alice", "bob"} {
		u, err := n.store.UserByName(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := n.store.Sessions(t.Context(), u.UID)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range n.sessionsOf(u.UID) {
			live++
			in := seat{user, n.rules.Class(s.caller.Platform)}
			if g, both := taken[in]; both {
				t.Errorf("%s has two sessions of class %d: generations %d and %d", user, in.class, g, s.caller.Generation)
			}
			taken[in] = s.caller.Generation
			known := false
			for _, r := range rows {
				known = known || r.Device == s.caller.Device && r.Generation == s.caller.Generation && r.LoggedIn && !r.Owed && r.Class == in.class
			}
			if !known {
				t.Errorf("%s %s is logged in with generation %d; rows: %v", user, s.caller.Device, s.caller.Generation, rows)
			}
		}
		in := map[int32]string{}
		for _, r := range rows {
			if other := in[r.Class]; r.LoggedIn && other != "" {
				t.Errorf("%s: by their rows both %s and %s are logged in to class %d", user, other, r.Device, r.Class)
			}
			if r.LoggedIn {
				in[r.Class] = r.Device
			}
		}
	}
	if alive != live {
		t.Errorf("%d connections are served, and %d sessions are logged in", alive, live)
	}
	a, b := actors[0], actors[4]
	cv, err := n.store.FindC2C(t.Context(), mustUID(n, a.d.user), mustUID(n, b.d.user))
	if errors.Is(err, chat.ErrNotFound) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for seq := range numbers {
		if seq > cv.Seq {
			t.Errorf("number %d was acknowledged, and the log ends at %d", seq, cv.Seq)
		}
	}
	t.Logf("%d messages, %d of them acknowledged, %d sessions in the end", cv.Seq, len(numbers), live)
}

func mustUID(n *node, user string) chat.UID {
	u, err := n.store.UserByName(context.Background(), user)
	if err != nil {
		n.t.Fatal(err)
	}
	return u.UID
}
