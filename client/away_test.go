package client_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// fill sends n messages from d without waiting for each and returns when all are acknowledged.
func (d *device) fill(to string, n int) {
	d.t.Helper()
	done := make(chan error, 100)
	sent := 0
	for i := 0; i < n || sent < n; {
		if i < n && i-sent < 100 {
			d.SendMessageFunc(client.C2C(to), textMessage(fmt.Sprint(i)), func(_ *im.Message, err error) { done <- err })
			i++
			continue
		}
		if err := <-done; err != nil {
			d.t.Fatal(err)
		}
		sent++
	}
}

// Messages to a user who is away arrive at login in order, each once, between start and finish; a second login on the same device brings none again
// (rules 16, 17).
func TestMissedMessages(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	alice := dial(t, config(t, s, "alice"))
	alice.say("bob", "before")
	bob.count(t, "new", 1)
	if err := bob.MarkRead(within(t), client.C2C("alice"), nil); err != nil {
		t.Fatal(err)
	}
	bob.until(t, "total", func(es []event) bool { e, _ := last(es, "total"); return e.n == 0 })
	bob.Close()
	const n = 1000
	alice.fill("bob", n)
	bob = dial(t, bob.cfg)
	es := bob.until(t, "total", func(es []event) bool { e, _ := last(es, "total"); return e.n == n })
	order := kinds(es)
	if order[0] != "start" || order[1] != "new" {
		t.Fatalf("order: %v...", order[:3])
	}
	for i, e := range bob.count(t, "new", n) {
		if e.text != fmt.Sprint(i) || e.seq != uint64(i+2) {
			t.Fatalf("missed message %d is %v", i, e)
		}
	}
	if e, _ := last(es, "upd"); e.n != n {
		t.Fatalf("conversation: %v", e)
	}
	bob = bob.again()
	wantKinds(t, bob.all(), "start", "finish")
}

// A fresh device of a user starts with what is unread, at least the last message, of recent conversations; the rest is history, silent and complete
// (rule 16).
func TestFreshDevice(t *testing.T) {
	s := imtest.Start(t)
	alice := dial(t, config(t, s, "alice"))
	bob := dial(t, config(t, s, "bob"))
	for i := range 10 {
		alice.say("bob", fmt.Sprint(i))
	}
	bob.count(t, "new", 10)
	bob.say("alice", "own")
	if err := bob.MarkRead(within(t), client.C2C("alice"), bob.of("new")[5].msg); err != nil {
		t.Fatal(err)
	}
	phone := config(t, s, "bob")
	phone.Platform = im.Platform_PLATFORM_IOS
	fresh := dial(t, phone)
	es := fresh.count(t, "new", 5) // 7..10 of the others, and the own one
	if es[0].seq != 7 || es[4].text != "own" || !es[4].msg.IsFromSelf {
		t.Fatalf("fresh device:\n%s", list(es))
	}
	if n, err := fresh.TotalUnread(within(t)); err != nil || n != 4 {
		t.Fatalf("unread on a fresh device: %d %v", n, err)
	}
	var all []uint64
	p := &im.GetMsgListParam{Count: 4}
	for {
		ms, err := fresh.Messages(within(t), client.C2C("alice"), p)
		if err != nil {
			t.Fatal(err)
		}
		if len(ms) == 0 {
			break
		}
		for _, m := range ms {
			all = append(all, m.Seq)
		}
		p.LastMsg = ms[len(ms)-1]
	}
	if fmt.Sprint(all) != "[11 10 9 8 7 6 5 4 3 2 1]" {
		t.Fatalf("history: %v", all)
	}
	ms, err := fresh.Messages(within(t), client.C2C("alice"), &im.GetMsgListParam{Count: 3, IsForward: true, LastMsgSeq: 2})
	if err != nil || len(ms) != 3 || ms[0].Seq != 2 || ms[2].Seq != 4 {
		t.Fatalf("forward: %v %v", ms, err)
	}
	fresh.count(t, "new", 5)
	// A third device, everything read: at least the last message.
	if err := bob.MarkAllRead(within(t)); err != nil {
		t.Fatal(err)
	}
	pad := config(t, s, "bob")
	pad.Platform = im.Platform_PLATFORM_PAD
	if es := dial(t, pad).count(t, "new", 1); es[0].seq != 11 {
		t.Fatalf("third device:\n%s", list(es))
	}
}

// What happened while a device was away: a recall of a message that it has, of one that it does not have, and the peer's reading (rules 16, 22).
func TestMissedChanges(t *testing.T) {
	s := imtest.Start(t)
	alice := dial(t, config(t, s, "alice"))
	bob := dial(t, config(t, s, "bob"))
	had := alice.say("bob", "had")
	mine := bob.say("alice", "mine")
	bob.count(t, "new", 1)
	alice.count(t, "new", 1)
	bob.settled() // what has not fired yet would fire in the next run
	bob.Close()
	never := alice.say("bob", "never")
	alice.say("bob", "stays")
	for _, m := range []*im.Message{had, never} {
		if err := alice.Revoke(within(t), client.C2C("bob"), m, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := alice.MarkRead(within(t), client.C2C("bob"), nil); err != nil {
		t.Fatal(err)
	}
	bob = dial(t, bob.cfg)
	bob.until(t, "conversation", func(es []event) bool { e, _ := last(es, "upd"); return e.text == "stays" })
	if len(bob.of("total")) != 0 {
		t.Fatalf("one unread before and after, but the total fired:\n%s", list(bob.all()))
	}
	if es := bob.count(t, "new", 1); es[0].text != "stays" {
		t.Fatalf("new: %v", es)
	}
	if es := bob.count(t, "revoke", 2); es[0].seq != had.Seq || es[1].seq != never.Seq {
		t.Fatalf("revoked: %v", es)
	}
	bob.count(t, "receipt", 1)
	ms, err := bob.Messages(within(t), client.C2C("alice"), nil)
	if err != nil || len(ms) != 4 || ms[2].Seq != mine.Seq || !ms[2].IsPeerRead || ms[1].Status != im.MessageStatus_MESSAGE_STATUS_REVOKED {
		t.Fatalf("history: %v %v", ms, err)
	}
	bob = bob.again()
	wantKinds(t, bob.all(), "start", "finish")
}

// If the data folder is replaced by an empty one, what is sent afterwards fires although its number is below the old one; what was on the device
// stays listed before it (rule 2).
func TestStoreReplaced(t *testing.T) {
	s := imtest.Start(t, imtest.SecretKey("one key for both"))
	alice := dial(t, config(t, s, "alice"))
	bob := dial(t, config(t, s, "bob"))
	for i := range 5 {
		alice.say("bob", fmt.Sprint("old ", i))
	}
	bob.count(t, "new", 5)
	s.Restart(imtest.Dir(t.TempDir()))
	for _, d := range []*device{alice, bob} {
		d.until(t, "reconnect", func(es []event) bool { e, _ := last(es, "net"); return e.n == 0 && len(d.of("net")) > 3 })
	}
	// The first login creates the accounts, and bob's may not have happened; alice's send reports that.
	bobs := bob.again()
	m := alice.say("bob", "new era")
	if m.Seq != 1 {
		t.Fatalf("seq in the new store: %d", m.Seq)
	}
	es := bobs.until(t, "the message", func(es []event) bool { _, ok := last(es, "new"); return ok })
	if e, _ := last(es, "new"); e.text != "new era" || e.seq != 1 {
		t.Fatalf("fired: %v", e)
	}
	ms, err := bobs.Messages(within(t), client.C2C("alice"), nil)
	if err != nil || len(ms) != 6 || text(ms[0]) != "new era" || text(ms[1]) != "old 4" || text(ms[5]) != "old 0" {
		t.Fatalf("history over both stores: %v %v", ms, err)
	}
	if n, err := bobs.TotalUnread(within(t)); err != nil || n != 1 {
		t.Fatalf("unread: %d %v", n, err)
	}
}

// owedChild is the other side of TestOwedUnderKill: it logs in and prints each message as its callback runs, until it is killed.
func owedChild() {
	cfg := client.Config{Server: os.Getenv("OWED_SERVER"), UserID: "bob", UserSig: os.Getenv("OWED_SIG"), Dir: os.Getenv("OWED_DIR"), Platform: im.Platform_PLATFORM_LINUX}
	out := bufio.NewWriter(os.Stdout)
	c, err := client.Open(cfg, client.Events{
		NewMessages: func(ms []*im.Message) {
			for _, m := range ms {
				fmt.Fprintf(out, "%d\n", m.Seq)
				out.Flush()
			}
		},
		Conversations: func(k client.ConvEvent, _ []*im.ConvInfo) {
			if k == client.ConvSyncFinish {
				fmt.Fprintln(out, "finish")
				out.Flush()
			}
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	c.LoginFunc(func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	})
	select {}
}

func TestMain(m *testing.M) {
	if os.Getenv("LOCK_SERVER") != "" {
		lockChild()
	}
	if os.Getenv("OWED_GROUPS") != "" {
		groupOwedChild()
	}
	if os.Getenv("OWED_SERVER") != "" {
		owedChild()
	}
	os.Exit(pgtest.Main(m))
}

// kill -9 of the client loses no callback; at most the batch that was running fires again (rule 17).
func TestOwedUnderKill(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	if err := bob.Logout(within(t)); err != nil {
		t.Fatal(err)
	}
	bob.Close()
	alice := dial(t, config(t, s, "alice"))
	const n = 2000
	alice.fill("bob", n)
	// The first login after this one is of a device that has synced before, so everything is news to it.
	fired := map[int]int{}
	doubled := 0
	run := func(killAfter int) (finished bool) {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), "OWED_SERVER="+s.URL, "OWED_SIG="+s.Sig("bob"), "OWED_DIR="+bob.cfg.Dir)
		cmd.Stderr = t.Output()
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		limit := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer limit.Stop()
		lines := bufio.NewScanner(out)
		got, last := 0, 0
		for lines.Scan() {
			line := strings.TrimSpace(lines.Text())
			if line == "finish" {
				finished = true
				break
			}
			var seq int
			fmt.Sscan(line, &seq)
			if seq <= last {
				t.Fatalf("seq %d fired after %d in one run", seq, last)
			}
			last = seq
			if fired[seq]++; fired[seq] > 1 {
				doubled++
			}
			if got++; got == killAfter {
				break
			}
		}
		cmd.Process.Kill()
		// What it printed before the kill has fired too.
		for lines.Scan() {
			var seq int
			if _, err := fmt.Sscan(lines.Text(), &seq); err == nil {
				if fired[seq]++; fired[seq] > 1 {
					doubled++
				}
			}
		}
		cmd.Wait()
		return finished
	}
	kills := 0
	for _, after := range []int{1, 50, 120, 333, 90, 250} {
		before := doubled
		if run(after) {
			break
		}
		kills++
		if d := doubled - before; d > 100 {
			t.Fatalf("%d messages fired again after one kill", d)
		}
	}
	if kills < 3 {
		t.Fatalf("only %d kills hit", kills)
	}
	for !run(-1) {
	}
	for seq := 1; seq <= n; seq++ {
		if fired[seq] == 0 {
			t.Fatalf("message %d never fired", seq)
		}
	}
	if len(fired) != n {
		t.Fatalf("%d different messages fired", len(fired))
	}
	t.Logf("%d kills, %d messages fired twice", kills, doubled)
}
