package gateway

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// held is a store that holds the results of Updates back while it is told to: they are committed, and nobody knows it.
type held struct {
	chat.Store
	mu   sync.Mutex
	gate chan struct{}
	in   atomic.Int32
}

func (h *held) hold() (release func()) {
	gate := make(chan struct{})
	h.mu.Lock()
	h.gate = gate
	h.mu.Unlock()
	return func() {
		h.mu.Lock()
		h.gate = nil
		h.mu.Unlock()
		close(gate)
	}
}

func (h *held) Update(ctx context.Context, keys []chat.Key, fn func(chat.Tx) error) error {
	err := h.Store.Update(ctx, keys, fn)
	h.mu.Lock()
	gate := h.gate
	h.mu.Unlock()
	if gate != nil {
		h.in.Add(1)
		<-gate
		h.in.Add(-1)
	}
	return err
}

// early is a wall clock on which a second is nearly over, so that a kick need not wait for its end.
func early() time.Time {
	return time.Now().Add(-time.Hour).Truncate(time.Second).Add(999 * time.Millisecond)
}

func (n *node) kick(user string) {
	n.t.Helper()
	if err := n.rules.Kick(context.Background(), user, "kicked by a test"); err != nil {
		n.t.Fatal(err)
	}
}

// TestKickWhateverTheNumbersSay: an operator's kick ends every session of the account, and a login those of its class, however high a generation is.
func TestKickWhateverTheNumbersSay(t *testing.T) {
	n := start(t, options{chat: chat.Config{Clock: early}})
	for _, generation := range []uint64{7, 1 << 32, 1<<32 + 1, 1 << 48, 1<<48 + 1, 1<<63 - 1, 1 << 63, 1<<64 - 2, 1<<64 - 1} {
		user := fmt.Sprintf("user%x", generation)
		c := n.dial()
		f := c.await(c.begin(im.Method_LOGIN, device{user: user, device: "pc", resume: true, generation: generation}.request()))
		if f.Code != 0 {
			c = n.login(device{user: user, device: "pc"})
		} else if err := c.reply.UnmarshalVT(f.Body); err != nil {
			t.Fatal(err)
		}
		next := n.login(device{user: user, device: "laptop"})
		c.kicked(c.reply.Generation)
		n.kick(user)
		next.kicked(next.reply.Generation)
	}
	// A number that a store has from elsewhere.
	for _, generation := range []uint64{1<<47 + 1, 1 << 63, 1<<64 - 2, 1<<64 - 1} {
		user := fmt.Sprintf("row%x", generation)
		phone := n.login(device{user: user, device: "phone", platform: ios})
		uid := chat.UID(phone.reply.TinyId)
		err := n.store.Update(t.Context(), []chat.Key{{UID: uid}}, func(tx chat.Tx) error {
			u, err := tx.User(uid)
			u.Generation = generation
			if err == nil {
				err = tx.PutUser(u)
			}
			if err == nil {
				err = tx.PutSession(chat.Session{UID: uid, Device: "old", Class: chat.ClassDesktop, Generation: generation, LoggedIn: true})
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		d := device{user: user, device: "pc"}
		a := n.login(d)
		d.resume, d.generation = true, a.reply.Generation
		b := n.login(d) // what it was given can be resumed
		a.closed(closeReplaced)
		n.kick(user)
		b.kicked(a.reply.Generation)
		phone.kicked(phone.reply.Generation)
		d.resume = false
		n.refused(device{user: user, device: "old"}, im.CodeKickedWhileAway)
	}
}

// TestPlatforms: neither unknown platforms nor a resume that names another one give a user one more session.
func TestPlatforms(t *testing.T) {
	n := start(t, options{})
	d := device{user: "alice", device: "pc", platform: 99}
	a := n.login(d)
	b := n.login(device{user: "alice", device: "laptop", platform: 1<<31 - 1})
	a.kicked(a.reply.Generation)
	a.call(im.Method_KICKED_ACK, &im.Empty{}, 0, nil)
	c := n.login(device{user: "alice", device: "pc", platform: windows})
	b.kicked(b.reply.Generation)
	// The session continues as what it is.
	e := n.login(device{user: "alice", device: "pc", platform: web, resume: true, generation: c.reply.Generation})
	c.closed(closeReplaced)
	browser := n.login(device{user: "alice", device: "browser", platform: web})
	e.quiet()
	n.login(device{user: "alice", device: "desk", platform: linux})
	e.kicked(c.reply.Generation)
	browser.quiet()
}

// TestClassesChange: a session whose platform the operator has put into another class since belongs to that class, and so does its row.
func TestClassesChange(t *testing.T) {
	dir := t.TempDir()
	n := start(t, options{dir: dir})
	pc := n.login(device{user: "alice", device: "pc", platform: windows})
	p := n.login(device{user: "alice", device: "pad", platform: pad})
	n.stop()
	classes := map[im.Platform]int32{windows: chat.ClassDesktop, pad: chat.ClassDesktop}
	n = start(t, options{dir: dir, chat: chat.Config{Classes: classes}})
	a := n.login(device{user: "alice", device: "pc", platform: windows, resume: true, generation: pc.reply.Generation})
	b := n.login(device{user: "alice", device: "pad", platform: pad, resume: true, generation: p.reply.Generation})
	a.kicked(pc.reply.Generation)
	b.quiet()
	n.refused(device{user: "alice", device: "pc"}, im.CodeKickedWhileAway)
}

// TestLoginOutlivesItsConnection: a login that is in the store ends the others of its class although its connection was closed before the store
// returned.
func TestLoginOutlivesItsConnection(t *testing.T) {
	st := &held{}
	n := start(t, options{wrap: func(s chat.Store) chat.Store { st.Store = s; return st }})
	pc := n.login(device{user: "alice", device: "pc"})
	phone := n.login(device{user: "alice", device: "phone", platform: ios})
	release := st.hold()
	c := n.dial()
	c.begin(im.Method_LOGIN, device{user: "alice", device: "laptop"}.request())
	until(t, "the login is in the store", func() bool { return st.in.Load() == 1 })
	n.later(n.cfg.LoginWithin + time.Second) // which ends the connection
	c.closed(closeNoLogin)
	// Others do not wait.
	bob := n.dial()
	bob.begin(im.Method_LOGIN, device{user: "bob"}.request())
	until(t, "bob's login is in the store", func() bool { return st.in.Load() == 2 })
	release()
	if f := bob.await(1); f.Code != 0 {
		t.Errorf("bob is answered %d", f.Code)
	}
	pc.kicked(pc.reply.Generation)
	phone.quiet()
	n.refused(device{user: "alice", device: "pc"}, im.CodeKickedWhileAway)
	n.login(device{user: "alice", device: "pc"})
}

// TestLiveWithoutARow: a session that the store does not know any more is ended like all others.
func TestLiveWithoutARow(t *testing.T) {
	n := start(t, options{})
	pc := n.login(device{user: "alice", device: "pc"})
	uid := chat.UID(pc.reply.TinyId)
	if err := n.store.Update(t.Context(), []chat.Key{{UID: uid}}, func(tx chat.Tx) error {
		return tx.PutSession(chat.Session{UID: uid, Device: "pc", Class: chat.ClassDesktop, Generation: 1})
	}); err != nil {
		t.Fatal(err)
	}
	laptop := n.login(device{user: "alice", device: "laptop"})
	pc.kicked(1)
	laptop.quiet()
}

// heldHook is a before-hook that responds when it is told to.
type heldHook struct {
	hold  chan struct{}
	mu    sync.Mutex
	asked map[string]int
}

func newHeldHook() *heldHook { return &heldHook{hold: make(chan struct{}), asked: map[string]int{}} }

func (h *heldHook) ask(ctx context.Context, d *draft) verdict {
	h.mu.Lock()
	h.asked[d.text()]++
	h.mu.Unlock()
	select {
	case <-h.hold:
	case <-ctx.Done(): // the test has failed
	}
	return verdict{}
}

func (h *heldHook) count() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range h.asked {
		n += k
	}
	return n
}

// sendMany sends a series of messages to bob and one to each of others, and waits until the hook is asked as much as possible.
func (c *conn) sendMany(h *heldHook, most int) (reqs []*im.SendRequest) {
	for i := range 30 {
		to := "bob"
		if i%2 == 1 {
			to = user(i)
		}
		reqs = append(reqs, &im.SendRequest{Conv: key(to), ClientTime: 1700000000, Random: uint32(i + 1), Message: text(fmt.Sprint("m", i))})
		c.begin(im.Method_SEND, reqs[i])
	}
	c.quiet()
	until(c.t, "the hook is asked", func() bool { return h.count() == most })
	return reqs
}

func hookNode(t *testing.T, h *heldHook) *node {
	n := start(t, options{gateway: Config{AckWithin: 50 * time.Millisecond}, chat: chat.Config{Hooks: asking(h.ask), BeforeAtOnce: 8, Clock: early}})
	for i := range 30 {
		if _, err := n.rules.Account(t.Context(), user(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.rules.Account(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSlowHookHoldsUpNobodyElse: while a device that reconnects waits for what it had sent at a slow hook, logins of others go through, including its
// own user's, and so does a kick. What the hook was not asked about is dropped, and is stored once when the device sends it again.
func TestSlowHookHoldsUpNobodyElse(t *testing.T) {
	h := newHeldHook()
	n := hookNode(t, h)
	d := device{user: "alice", device: "pc"}
	a := n.login(d)
	reqs := a.sendMany(h, 2)
	d.resume, d.generation = true, a.reply.Generation
	b := n.dial()
	b.begin(im.Method_LOGIN, d.request())
	until(t, "the old connection is fenced", func() bool { return n.stateOf("alice", "pc") == fenced })
	phone := n.login(device{user: "alice", device: "phone", platform: ios})
	for i := range 2 * shards { // whatever lock it was
		n.login(device{user: fmt.Sprint("other", i)}).ws.CloseNow()
	}
	n.kick("bob")
	if len(b.in) > 0 {
		t.Error("the device's login was answered before what it had sent")
	}
	close(h.hold)
	if f := b.await(1); f.Code != 0 {
		t.Fatalf("answered %d", f.Code)
	}
	if h.count() != 2 {
		t.Errorf("the hook was asked about %d messages, and two had been shown to it", h.count())
	}
	a.closed(closeReplaced)
	seen := map[uint64]bool{}
	for _, req := range reqs {
		r := b.again(req)
		if req.Conv.Id == "bob" {
			if seen[r.Entry.Seq] {
				t.Errorf("number %d was given twice", r.Entry.Seq)
			}
			seen[r.Entry.Seq] = true
		}
	}
	if hd := b.head("bob"); hd.Seq != 15 {
		t.Errorf("%d messages were stored, want 15", hd.Seq)
	}
	for text, asked := range h.asked {
		if asked != 1 {
			t.Errorf("the hook was asked %d times about %s", asked, text)
		}
	}
	for range reqs {
		phone.push(im.Method_ENTRY, nil)
	}
	phone.quiet()
}

func (n *node) stateOf(user, device string) state {
	for _, s := range n.snapshot() {
		s.mu.Lock()
		st, mine := s.state, s.caller != nil && s.caller.Name == user && s.caller.Device == device
		s.mu.Unlock()
		if mine {
			return st
		}
	}
	return gone
}

// TestKickAtTheHook: a kick is reported at once, and what the hook was not asked about is refused.
func TestKickAtTheHook(t *testing.T) {
	h := newHeldHook()
	n := hookNode(t, h)
	a := n.login(device{user: "alice"})
	a.sendMany(h, 2)
	n.kick("alice")
	a.kicked(1)
	close(h.hold)
	stored, refused := 0, 0
	for stored+refused < 30 {
		f := a.take()
		switch {
		case f == nil:
			t.Fatalf("the connection ended after %d answers", stored+refused)
		case f.Method == im.Method_SEND && f.Code == 0:
			stored++
		case f.Method == im.Method_SEND && f.Code == im.CodeNotLoggedIn:
			refused++
		}
	}
	if stored != 2 || h.count() != 2 {
		t.Errorf("%d stored, the hook was asked %d times; want 2", stored, h.count())
	}
}

// TestLogoutAtTheHook: a logout waits for what was sent, but not forever: what the hook was not asked about by then is refused.
func TestLogoutAtTheHook(t *testing.T) {
	h := newHeldHook()
	n := hookNode(t, h)
	a := n.login(device{user: "alice"})
	a.sendMany(h, 2)
	out := a.begin(im.Method_LOGOUT, &im.Empty{})
	for range 14 { // to others than bob, if the hook is asked about one to him; otherwise more
		if f := a.take(); f.Method != im.Method_SEND || f.Code != im.CodeNotLoggedIn {
			t.Fatalf("%s answered %d", f.Method, f.Code)
		}
	}
	close(h.hold)
	if f := a.await(out); f.Code != 0 {
		t.Errorf("answered %d", f.Code)
	}
	a.closed(closeLoggedOut)
	if h.count() != 2 {
		t.Errorf("the hook was asked %d times", h.count())
	}
	if n := len(a.log) - 2; n != 30+1 { // beside the answers to the login and the heartbeat
		t.Errorf("%d answers came", n)
	}
}

// TestClosedConnectionIsFenced: what a connection had sent is waited for even if the connection is closed: what a LOOKUP does not find after the
// login is never stored.
func TestClosedConnectionIsFenced(t *testing.T) {
	h := newHeldHook()
	n := hookNode(t, h)
	a := n.login(device{user: "alice", device: "pc"})
	reqs := a.sendMany(h, 2)
	a.ws.CloseNow()
	until(t, "the connection is gone", func() bool { return n.Sessions() == 0 })
	b := n.dial()
	b.begin(im.Method_LOGIN, device{user: "alice", device: "pc"}.request())
	until(t, "what was not shown to the hook is dropped", func() bool {
		sh := n.shardOf(chat.UID(a.reply.TinyId))
		sh.mu.RLock()
		defer sh.mu.RUnlock()
		for _, s := range sh.closing[chat.UID(a.reply.TinyId)] {
			s.mu.Lock()
			sends := s.sends
			s.mu.Unlock()
			return sends < 30
		}
		return false
	})
	if len(b.in) > 0 {
		t.Error("the login was answered before what the device had sent")
	}
	close(h.hold)
	if f := b.await(1); f.Code != 0 {
		t.Fatalf("answered %d", f.Code)
	}
	req := &im.LookupRequest{}
	for _, r := range reqs {
		req.Keys = append(req.Keys, &im.SendKey{Conv: r.Conv, ClientTime: r.ClientTime, Random: r.Random})
	}
	found := &im.LookupReply{}
	b.call(im.Method_LOOKUP, req, 0, found)
	stored := 0
	for _, f := range found.Found {
		if f.Entry != nil {
			stored++
		}
	}
	if stored != 2 || h.count() != 2 {
		t.Errorf("%d are stored, the hook was asked %d times; want 2", stored, h.count())
	}
	sh := n.shardOf(chat.UID(a.reply.TinyId))
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if len(sh.closing) != 0 || len(sh.locks) != 0 {
		t.Errorf("%d closing sessions and %d locks are left", len(sh.closing), len(sh.locks))
	}
}

// TestDevicesAreForgotten: what a login reads and writes does not grow with the number of devices that the user ever had. A debt is dropped after
// those that owe nothing, and none of that affects the device that logs in.
func TestDevicesAreForgotten(t *testing.T) {
	n := start(t, options{})
	day := int64(24 * time.Hour / time.Millisecond)
	first := n.login(device{user: "alice", device: "phone", platform: ios})
	uid := chat.UID(first.reply.TinyId)
	put := func(s chat.Session) {
		t.Helper()
		s.UID = uid
		if err := n.store.Update(t.Context(), nil, func(tx chat.Tx) error { return tx.PutSession(s) }); err != nil {
			t.Fatal(err)
		}
	}
	rows := func() map[string]chat.Session {
		t.Helper()
		all, err := n.store.Sessions(t.Context(), uid)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]chat.Session{}
		for _, r := range all {
			out[r.Device] = r
		}
		return out
	}
	at := time.Now().UnixMilli()
	put(chat.Session{Device: "old", Class: chat.ClassDesktop, Generation: 1, At: at - 8*day})
	put(chat.Session{Device: "old debt", Class: chat.ClassDesktop, Generation: 1, At: at - 91*day, Owed: true})
	put(chat.Session{Device: "debt", Class: chat.ClassDesktop, Generation: 1, At: at - 80*day, Owed: true})
	put(chat.Session{Device: "recent", Class: chat.ClassDesktop, Generation: 1, At: at - 6*day})
	put(chat.Session{Device: "away", Class: chat.ClassPad, Generation: 1, At: at - 1000*day, LoggedIn: true})
	n.login(device{user: "alice", device: "pc"})
	if r := rows(); len(r) != 5 || r["old"].Device != "" || r["old debt"].Device != "" {
		t.Errorf("left are %v", r)
	}
	n.refused(device{user: "alice", device: "debt"}, im.CodeKickedWhileAway)
	put(chat.Session{Device: "debt", Class: chat.ClassDesktop, Generation: 1, At: at - 80*day, Owed: true})
	for i := range 1000 {
		put(chat.Session{Device: fmt.Sprint("d", i), Class: chat.ClassDesktop, Generation: 1, At: at - int64(i)})
	}
	for i := range 4 { // at most 500 at once
		n.login(device{user: "alice", device: fmt.Sprint("new", i)})
	}
	r := rows()
	if len(r) != 100 {
		t.Errorf("%d devices are remembered, want 100", len(r))
	}
	for _, d := range []string{"phone", "away", "debt", "new3", "d0"} {
		if r[d].Device == "" {
			t.Errorf("%s is forgotten", d)
		}
	}
	if r["d999"].Device != "" || r["recent"].Device != "" {
		t.Error("the oldest is remembered")
	}
	// A device that was forgotten may come back.
	n.login(device{user: "alice", device: "d999"})
	first.quiet()
}
