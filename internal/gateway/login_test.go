package gateway

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
)

const (
	windows = im.Platform_PLATFORM_WINDOWS
	linux   = im.Platform_PLATFORM_LINUX
	ios     = im.Platform_PLATFORM_IOS
	android = im.Platform_PLATFORM_ANDROID
	pad     = im.Platform_PLATFORM_PAD
	web     = im.Platform_PLATFORM_WEB
)

func (c *conn) kicked(generation uint64) {
	c.t.Helper()
	var p im.KickedPush
	c.push(im.Method_KICKED, &p)
	if p.Generation != generation {
		c.t.Fatalf("kicked of generation %d, want %d", p.Generation, generation)
	}
}

func TestNewestLoginWinsInItsClass(t *testing.T) {
	n := start(t, options{})
	a := n.login(device{user: "alice", device: "pc", platform: windows})
	others := []*conn{
		n.login(device{user: "alice", device: "phone", platform: android}),
		n.login(device{user: "alice", device: "pad", platform: pad}),
		n.login(device{user: "alice", device: "browser", platform: web}),
		n.login(device{user: "bob", device: "pc", platform: windows}),
	}
	b := n.login(device{user: "alice", device: "laptop", platform: linux})
	if b.reply.Generation <= others[2].reply.Generation {
		t.Errorf("generation %d after %d", b.reply.Generation, others[2].reply.Generation)
	}
	a.kicked(a.reply.Generation)
	// The session ends at once: it can acknowledge, and nothing else.
	a.call(im.Method_SEND, a.request("bob", "from the grave"), im.CodeNotLoggedIn, nil)
	a.call(im.Method_HEARTBEAT, &im.Empty{}, im.CodeNotLoggedIn, nil)
	b.send("bob", "hi")
	a.call(im.Method_KICKED_ACK, &im.Empty{}, 0, nil)
	a.closed(closeKicked)
	if len(a.pushes) > 0 {
		t.Errorf("a kicked session still hears %s", a.pushes[0].Method)
	}
	for _, c := range others {
		c.push(im.Method_ENTRY, nil)
		c.quiet()
	}
	// It was notified, so nothing is owed.
	n.login(device{user: "alice", device: "pc", platform: windows})
	b.kicked(b.reply.Generation)
}

func TestKickedWithoutAcknowledgement(t *testing.T) {
	n := start(t, options{})
	a := n.login(device{user: "alice", device: "pc"})
	b := n.login(device{user: "alice", device: "laptop"})
	a.kicked(1)
	n.later(n.cfg.AckWithin)
	b.quiet()
	n.later(n.cfg.Sweep + time.Second)
	a.closed(closeKicked)
	n.refused(device{user: "alice", device: "pc"}, im.CodeKickedWhileAway)
}

// Rule 27: 6208 is owed to another device that was logged in and away, once.
func TestDebts(t *testing.T) {
	pc, laptop := device{user: "alice", device: "pc"}, device{user: "alice", device: "laptop"}
	away := func(n *node, d device) uint64 { // logs in and disconnects without a logout
		c := n.login(d)
		before := n.Sessions()
		c.ws.CloseNow()
		until(n.t, "the connection is gone", func() bool { return n.Sessions() < before })
		return c.reply.Generation
	}
	t.Run("kicked while away", func(t *testing.T) {
		n := start(t, options{})
		away(n, pc)
		n.login(laptop)
		c := n.refused(pc, im.CodeKickedWhileAway)
		c.call(im.Method_LOGIN, pc.request(), 0, nil) // the second try, on the same connection
		c.quiet()
	})
	t.Run("survives a restart of the server", func(t *testing.T) {
		dir := t.TempDir()
		n := start(t, options{dir: dir})
		away(n, pc)
		n.login(laptop)
		n.stop()
		n = start(t, options{dir: dir})
		n.refused(pc, im.CodeKickedWhileAway)
		n.login(pc)
	})
	t.Run("paid by naming the generation", func(t *testing.T) {
		n := start(t, options{})
		d := pc
		d.kicked = away(n, pc)
		n.login(laptop)
		n.login(d).quiet()
	})
	t.Run("another generation pays nothing", func(t *testing.T) {
		n := start(t, options{})
		d := pc
		away(n, pc)
		d.kicked = away(n, pc) - 1
		n.login(laptop)
		n.refused(d, im.CodeKickedWhileAway)
		n.login(d)
	})
	t.Run("a clean logout owes nothing", func(t *testing.T) {
		n := start(t, options{})
		c := n.login(pc)
		c.call(im.Method_LOGOUT, &im.Empty{}, 0, nil)
		c.closed(closeLoggedOut)
		n.login(laptop)
		n.login(pc).quiet()
	})
	t.Run("being away owes nothing without another login", func(t *testing.T) {
		n := start(t, options{})
		away(n, pc)
		n.login(pc).quiet()
	})
	t.Run("other classes owe nothing", func(t *testing.T) {
		n := start(t, options{})
		away(n, pc)
		n.login(device{user: "alice", device: "phone", platform: ios})
		n.login(pc).quiet()
	})
	t.Run("a resume is told by the kicked callback", func(t *testing.T) {
		n := start(t, options{})
		d := pc
		d.resume, d.generation = true, away(n, pc)
		n.login(laptop)
		c := n.refused(d, im.CodeKicked)
		c.call(im.Method_SEND, c.request("alice", "x"), im.CodeNotLoggedIn, nil)
		c.call(im.Method_KICKED_ACK, &im.Empty{}, 0, nil)
		c.closed(closeKicked)
		n.login(pc).quiet()
	})
	t.Run("a resume that is not acknowledged leaves the debt", func(t *testing.T) {
		n := start(t, options{})
		d := pc
		d.resume, d.generation = true, away(n, pc)
		n.login(laptop)
		c := n.refused(d, im.CodeKicked)
		n.later(n.cfg.AckWithin + n.cfg.Sweep + time.Second)
		c.closed(closeKicked)
		n.refused(pc, im.CodeKickedWhileAway)
		n.login(pc)
	})
	t.Run("class any kicks nobody", func(t *testing.T) {
		o := options{}
		o.chat.Classes = map[im.Platform]int32{}
		n := start(t, o)
		a := n.login(pc)
		n.login(laptop).quiet()
		a.quiet()
	})
}

// A mere reconnect kicks nobody, and continues under the same generation.
func TestResume(t *testing.T) {
	n := start(t, options{})
	phone := n.login(device{user: "alice", device: "phone", platform: ios})
	d := device{user: "alice", device: "pc"}
	a := n.login(d)
	d.resume, d.generation = true, a.reply.Generation
	b := n.login(d)
	if b.reply.Generation != a.reply.Generation {
		t.Errorf("generation %d became %d", a.reply.Generation, b.reply.Generation)
	}
	a.closed(closeReplaced)
	if len(a.pushes) > 0 {
		t.Errorf("the older connection was told %s", a.pushes[0].Method)
	}
	phone.quiet()
	b.quiet()
}

// Rule 27, end: an older session of the same device gets the kicked callback.
func TestSameDeviceLogsInAgain(t *testing.T) {
	n := start(t, options{})
	d := device{user: "alice", device: "pc"}
	a := n.login(d)
	b := n.login(d)
	a.kicked(a.reply.Generation)
	// It cannot come back by a resume, and does not disturb the newer one.
	old := d
	old.resume, old.generation = true, a.reply.Generation
	c := n.refused(old, im.CodeKicked)
	c.call(im.Method_KICKED_ACK, &im.Empty{}, 0, nil)
	a.call(im.Method_KICKED_ACK, &im.Empty{}, 0, nil)
	b.quiet()
	// Neither acknowledgement touched the newer session.
	d.resume, d.generation = true, b.reply.Generation
	n.login(d).quiet()
}

// A store that has lost the session, because it is another one, treats a resume as a login that kicks nobody.
func TestResumeAtAnotherStore(t *testing.T) {
	n := start(t, options{})
	a := n.login(device{user: "alice", device: "pc", resume: true, generation: 7})
	if a.reply.Generation != 8 {
		t.Errorf("generation %d, want one above what the device had", a.reply.Generation)
	}
	// Somebody else has logged in there since.
	c := n.refused(device{user: "alice", device: "laptop", resume: true, generation: 7}, im.CodeKicked)
	c.call(im.Method_KICKED_ACK, &im.Empty{}, 0, nil)
	a.quiet()
}

func TestTicketRunsOut(t *testing.T) {
	n := start(t, options{})
	end := n.clock.now().Add(time.Minute).UnixMilli()
	alice := n.login(device{user: "alice", ticket: fmt.Sprint("until ", end)})
	if alice.reply.TicketExpires != end {
		t.Errorf("the ticket runs out at %d, said is %d", end, alice.reply.TicketExpires)
	}
	n.later(59 * time.Second)
	alice.quiet()
	n.later(2 * time.Second)
	alice.push(im.Method_EXPIRED, nil)
	alice.closed(closeExpired)
	// Nobody else logged in since, so nothing is owed.
	n.login(device{user: "alice"}).quiet()
}

// Many devices of one account at once: in the end one is logged in, and all others know it.
func TestLoginsAtOnce(t *testing.T) {
	n := start(t, options{})
	const devices = 16
	conns := make([]*conn, devices)
	for i := range conns {
		conns[i] = n.dial()
		conns[i].begin(im.Method_LOGIN, device{user: "alice", device: fmt.Sprint(i)}.request())
	}
	live := 0
	for _, c := range conns {
		if f := c.await(1); f.Code != 0 || c.reply.UnmarshalVT(f.Body) != nil {
			t.Fatal(f)
		}
	}
	for _, c := range conns {
		if c.reply.Generation == devices {
			live++
			c.quiet()
			continue
		}
		c.kicked(c.reply.Generation)
	}
	if live != 1 {
		t.Errorf("%d are logged in", live)
	}
}
