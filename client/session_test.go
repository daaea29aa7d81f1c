package client_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// A second login of the class ends the first one's session: the first fires kicked once and is logged out; a mere reconnect never kicks (rules 18,
// 27).
func TestKicked(t *testing.T) {
	s := imtest.Start(t)
	first := dial(t, config(t, s, "ann"))
	second := dial(t, config(t, s, "ann"))
	first.count(t, "kicked", 1)
	if st := first.Status(); st != client.LoggedOut {
		t.Fatalf("status of the kicked: %d", st)
	}
	_, err := first.SendMessage(within(t), client.C2C("ann"), textMessage("x"))
	wantCode(t, err, im.CodeNotLoggedIn)
	// It was notified, so its next login is not refused; that login kicks the second.
	first.login()
	second.count(t, "kicked", 1)
	first.count(t, "kicked", 1)
	// Another class is not affected.
	phone := config(t, s, "ann")
	phone.Platform = im.Platform_PLATFORM_ANDROID
	dial(t, phone)
	first.say("ann", "still here")
}

// A program that ends in the callback of a kick has been notified: its next login is not refused.
func TestClosedWhenKicked(t *testing.T) {
	s := imtest.Start(t)
	closed := make(chan struct{})
	var first *device
	first = openWith(t, config(t, s, "ann"), func(ev *client.Events) {
		ev.KickedOffline = func() {
			first.Close()
			close(closed)
		}
	})
	first.login()
	second := dial(t, config(t, s, "ann"))
	<-closed
	first = open(t, first.cfg)
	first.login()
	second.count(t, "kicked", 1)
}

// A device whose session was ended while it was away is notified at its next login, once, with 6208 (rule 27). A clean logout and a crash owe
// nothing.
func TestKickedWhileAway(t *testing.T) {
	s := imtest.Start(t)
	first := dial(t, config(t, s, "ann"))
	first.Close() // away, not logged out
	second := dial(t, config(t, s, "ann"))
	first = open(t, first.cfg)
	wantCode(t, first.Login(within(t)), im.CodeKickedWhileAway)
	if n := len(first.of("kicked")); n != 0 {
		t.Fatal("6208 and the kicked callback both")
	}
	if n := len(second.of("kicked")); n != 0 {
		t.Fatal("a refused login kicked")
	}
	first.login()
	second.count(t, "kicked", 1)

	if err := first.Logout(within(t)); err != nil {
		t.Fatal(err)
	}
	third := dial(t, config(t, s, "ann"))
	if err := third.Logout(within(t)); err != nil {
		t.Fatal(err)
	}
	first.login()
	first.Close() // as after kill -9, without another login
	first = open(t, first.cfg)
	first.login()
}

// A device that is disconnected when another logs in gets the kicked callback when it reconnects, not 6208, and does not kick in turn.
func TestKickedAtResume(t *testing.T) {
	s := imtest.Start(t)
	p, url := newProxy(t, s.URL)
	cfg := config(t, s, "ann")
	cfg.Server = url
	first := dial(t, cfg)
	p.Refuse(true)
	p.Cut()
	first.until(t, "disconnect", func(es []event) bool { e, ok := last(es, "net"); return ok && e.n != 0 })
	second := dial(t, config(t, s, "ann"))
	p.Refuse(false)
	first.count(t, "kicked", 1)
	second.say("ann", "still here")
	if n := len(second.of("kicked")); n != 0 {
		t.Fatal("a resume kicked")
	}
	first.login()
	second.count(t, "kicked", 1)
}

// Cutting the connection again and again while both sides send loses and doubles nothing: sends are resent, what was missed is pulled, and neither
// start nor finish fires for a resume (rules 5, 8, 12, 19).
func TestReconnect(t *testing.T) {
	s := imtest.Start(t)
	pa, urlA := newProxy(t, s.URL)
	pb, urlB := newProxy(t, s.URL)
	cfg := config(t, s, "alice")
	cfg.Server = urlA
	alice := dial(t, cfg)
	cfg = config(t, s, "bob")
	cfg.Server = urlB
	bob := dial(t, cfg)
	const rounds, each = 15, 20
	sent := 0
	for round := range rounds {
		for range each {
			n := sent
			alice.SendMessageFunc(client.C2C("bob"), textMessage(fmt.Sprint(n)), func(m *im.Message, err error) {
				if err != nil {
					alice.add(event{kind: "failed", text: fmt.Sprint(n, err)})
					return
				}
				alice.add(event{kind: "done", text: text(m), seq: m.Seq})
			})
			sent++
		}
		if round%2 == 0 {
			pa.Cut()
		}
		if round%3 == 0 {
			pb.Cut()
		}
		alice.until(t, "answers", func([]event) bool { return len(alice.of("done", "failed")) == sent })
		alice.until(t, "connection", func(es []event) bool { e, _ := last(es, "net"); return e.n == 0 })
	}
	ok := alice.of("done")
	for i, e := range ok {
		if e.seq != uint64(i+1) {
			t.Fatalf("answer %d has seq %d", i, e.seq)
		}
	}
	for _, e := range alice.of("failed") {
		t.Logf("failed: %v", e)
	}
	es := bob.count(t, "new", len(ok))
	for i, e := range es {
		if e.text != ok[i].text || e.seq != ok[i].seq {
			t.Fatalf("message %d is %v, sent %v", i, e, ok[i])
		}
	}
	if len(bob.of("start")) != 1 || len(bob.of("finish")) != 1 {
		t.Fatalf("a resume was framed:\n%s", list(bob.of("start", "finish")))
	}
	if n := len(alice.of("new")); n != 0 {
		t.Fatalf("own sends were announced: %d", n)
	}
	legalNetwork(t, bob.of("net"))
	legalNetwork(t, alice.of("net"))
}

// legalNetwork checks the order of network events: connecting before connected or failed, disconnected only after connected.
func legalNetwork(t *testing.T, es []event) {
	t.Helper()
	next := map[int]string{-1: "2", 2: "03", 0: "1", 1: "2", 3: "2"}
	state := -1
	for _, e := range es {
		legal := false
		for _, c := range next[state] {
			legal = legal || int(c-'0') == e.n
		}
		if !legal {
			t.Fatalf("network event %d after %d:\n%s", e.n, state, list(es))
		}
		state = e.n
	}
}

// A server restart is a reconnect.
func TestServerRestart(t *testing.T) {
	s := imtest.Start(t)
	alice := dial(t, config(t, s, "alice"))
	bob := dial(t, config(t, s, "bob"))
	alice.say("bob", "before")
	s.Restart()
	for _, d := range []*device{alice, bob} {
		d.until(t, "reconnect", func(es []event) bool { e, _ := last(es, "net"); return e.n == 0 && len(d.of("net")) > 2 })
	}
	alice.say("bob", "after")
	if es := bob.count(t, "new", 2); es[1].text != "after" || es[1].seq != 2 {
		t.Fatalf("after the restart: %v", es)
	}
}

// The three ways in which a send fails without a network; none of them leaves a message "sending" (rule 19).
func TestSendFailures(t *testing.T) {
	s := imtest.Start(t)
	dial(t, config(t, s, "bob"))
	p, url := newProxy(t, s.URL)
	cfg := config(t, s, "alice")
	cfg.Server = url
	cfg.Limits = client.Limits{Send: 700 * time.Millisecond, Reconnect: 100 * time.Millisecond, Heartbeat: time.Minute}
	alice := dial(t, cfg)

	p.Stall()
	_, err := alice.SendMessage(within(t), client.C2C("bob"), textMessage("no answer"))
	wantCode(t, err, im.CodeWaitAckTimeout)

	sending := make(chan error, 1)
	alice.SendMessageFunc(client.C2C("bob"), textMessage("never reconnected"), func(_ *im.Message, err error) { sending <- err })
	p.Refuse(true)
	p.Cut()
	p.Release()
	wantCode(t, <-sending, im.CodeNoNetworkTimeout)

	m, err := alice.SendMessage(within(t), client.C2C("bob"), textMessage("no link"))
	wantCode(t, err, im.CodeDisconnected)
	if m == nil || m.Status != im.MessageStatus_MESSAGE_STATUS_FAILED {
		t.Fatalf("failed message: %v", m)
	}
	p.Refuse(false)
	alice.until(t, "reconnect", func(es []event) bool { e, _ := last(es, "net"); return e.n == 0 })
	alice.say("bob", "through")
	ms, err := alice.Messages(within(t), client.C2C("bob"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range ms {
		if m.Status == im.MessageStatus_MESSAGE_STATUS_SENDING {
			t.Fatalf("still sending: %v", m)
		}
	}
}

// A send whose process ended before the result is settled at the next login: it is looked up by its key, never sent by itself (rule 19).
func TestUnansweredSendOfAnEarlierRun(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	p, url := newProxy(t, s.URL)
	cfg := config(t, s, "alice")
	cfg.Server = url
	alice := dial(t, cfg)
	alice.say("bob", "first")
	p.Stall()
	answer := make(chan error, 1)
	alice.SendMessageFunc(client.C2C("bob"), textMessage("stored"), func(_ *im.Message, err error) { answer <- err })
	bob.count(t, "new", 2)
	// The folder as a crash would leave it at this point.
	copied := t.TempDir()
	if out, err := exec.Command("cp", "-a", cfg.Dir+"/.", copied).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p.Cut()
	p.Release()
	alice.Close()
	<-answer
	cfg.Dir = copied
	again := dial(t, cfg)
	again.until(t, "settled", func([]event) bool {
		ms, err := again.Messages(within(t), client.C2C("bob"), nil)
		return err == nil && len(ms) == 2 && ms[0].Status == im.MessageStatus_MESSAGE_STATUS_SENT && text(ms[0]) == "stored"
	})
	if n := len(again.of("new")); n != 0 {
		t.Fatalf("the own message was announced:\n%s", list(again.all()))
	}
	bob.count(t, "new", 2)
}

// Login without a server fails within its limit, and local data stays readable.
func TestLoginWithoutServer(t *testing.T) {
	s := imtest.Start(t)
	alice := dial(t, config(t, s, "alice"))
	bob := dial(t, config(t, s, "bob"))
	alice.say("bob", "kept")
	bob.count(t, "new", 1)
	bob.Close()
	s.Stop()
	bob.cfg.Limits = client.Limits{Login: 500 * time.Millisecond, Reconnect: 100 * time.Millisecond}
	d := open(t, bob.cfg)
	start := time.Now()
	wantCode(t, d.Login(within(t)), im.CodeConnectRefused)
	if took := time.Since(start); took > 5*time.Second {
		t.Fatalf("took %v", took)
	}
	ms, err := d.Messages(within(t), client.C2C("alice"), nil)
	if err != nil || len(ms) != 1 || text(ms[0]) != "kept" {
		t.Fatalf("local: %v %v", ms, err)
	}
	if convs, err := d.Conversations(within(t)); err != nil || len(convs) != 1 || convs[0].UnreadNum != 1 {
		t.Fatalf("local conversations: %v %v", convs, err)
	}
	legalNetwork(t, d.of("net"))
}

// A ticket that expires fires once, by a timer, and ends the session; a login with it is refused with 70001.
func TestTicketExpires(t *testing.T) {
	s := imtest.Start(t)
	cfg := config(t, s, "ann")
	cfg.UserSig = s.SigFor("ann", 2*time.Second)
	d := dial(t, cfg)
	d.count(t, "expired", 1)
	wantCode(t, d.Login(within(t)), im.CodeTicketExpired)
	if st := d.Status(); st != client.LoggedOut {
		t.Fatalf("status %d", st)
	}
	d.count(t, "expired", 1)
}

func TestTicketsRefused(t *testing.T) {
	s := imtest.Start(t)
	cfg := config(t, s, "ann")
	cfg.UserSig = s.Sig("bob")
	wantCode(t, open(t, cfg).Login(within(t)), im.CodeTicketOtherUser)
	cfg.UserSig = "abc"
	wantCode(t, open(t, cfg).Login(within(t)), im.CodeTicketMalformed)
	cfg.UserSig = ""
	wantCode(t, open(t, cfg).Login(within(t)), im.CodeTicketEmpty)
	for _, id := range []string{"with space", " ", "end ", "", "ünï", strings.Repeat("x", 33)} {
		cfg.UserID = id
		_, err := client.Open(cfg, client.Events{})
		wantCode(t, err, im.CodeInvalidUserID)
	}
	ann := open(t, config(t, s, "ann"))
	if err := ann.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	_, err := ann.SendMessage(within(t), client.C2C("with space"), im.Text("x"))
	wantCode(t, err, im.CodeUnknownReceiver)
}

// lockChild is another process on the same folder: it logs in and prints what happens to it.
func lockChild() {
	out := bufio.NewWriter(os.Stdout)
	say := func(s string) { fmt.Fprintln(out, s); out.Flush() }
	cfg := client.Config{Server: os.Getenv("LOCK_SERVER"), UserID: "ann", UserSig: os.Getenv("LOCK_SIG"), Dir: os.Getenv("LOCK_DIR"), Platform: im.Platform_PLATFORM_LINUX}
	c, err := client.Open(cfg, client.Events{KickedOffline: func() { say("kicked") }})
	if err == nil {
		c.LoginFunc(func(err error) { say(fmt.Sprint("login ", err)) })
	} else {
		say(err.Error())
	}
	select {}
}

// Two processes on one folder are one device: the second login ends the first one's session, which releases the local data (rule 26).
func TestTwoProcessesOneFolder(t *testing.T) {
	s := imtest.Start(t)
	cfg := config(t, s, "ann")
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "LOCK_SERVER="+s.URL, "LOCK_SIG="+cfg.UserSig, "LOCK_DIR="+cfg.Dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	limit := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer limit.Stop()
	lines := bufio.NewScanner(out)
	expect := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("the other process said %q, want %q", lines.Text(), want)
		}
	}
	expect("login <nil>")
	d := dial(t, cfg)
	expect("kicked")
	d.say("ann", "mine now")
}

// A folder that cannot be written is not fatal: everything stays in memory.
func TestUnwritableFolder(t *testing.T) {
	s := imtest.Start(t)
	file := filepath.Join(t.TempDir(), "a file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config(t, s, "ann")
	cfg.Dir = filepath.Join(file, "below")
	d := dial(t, cfg)
	d.say("ann", "in memory")
	if ms, err := d.Messages(within(t), client.C2C("ann"), nil); err != nil || len(ms) != 1 {
		t.Fatalf("%v %v", ms, err)
	}
}
