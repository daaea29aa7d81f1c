package client_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// eventually waits for a fact that no event reports.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// settled waits until everything that was on its way to the callbacks has run: twice through the engine and the dispatcher.
func (d *device) settled() {
	d.t.Helper()
	for range 4 {
		done := make(chan struct{})
		d.CancelSendFunc(client.C2C("nobody"), "", func(*im.Message, error) { close(done) }) // a call that waits for no sync
		select {
		case <-done:
		case <-time.After(patience):
			d.t.Fatal("the callbacks do not run")
		}
	}
}

// A link that breaks while a logout and something after it wait for their answers ends both, once.
func TestCutInLogout(t *testing.T) {
	f := newFake(t)
	cfg := fakeConfig(t, f)
	cfg.Limits.HeartbeatEvery, cfg.Limits.Heartbeat = 10*time.Millisecond, time.Minute
	d := dial(t, cfg)
	l := <-f.links
	var out atomic.Bool
	after := make(chan struct{}, 100)
	f.answer(im.Method_HEARTBEAT, func(*fakeLink, *im.Frame) {
		if out.Load() {
			after <- struct{}{}
		}
	})
	f.answer(im.Method_LOGOUT, func(*fakeLink, *im.Frame) { out.Store(true) })
	done := make(chan error, 2)
	d.LogoutFunc(func(err error) { done <- err })
	<-after
	l.ws.CloseNow()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	d.settled()
	if len(done) > 0 {
		t.Fatal("answered twice")
	}
}

// gate blocks whoever writes a line of the client's log that contains a word: with it, a test stops the engine where it needs.
type gate struct {
	word string
	hold chan struct{}
	in   chan struct{}
	once sync.Once
}

func (g *gate) Write(p []byte) (int, error) {
	if strings.Contains(string(p), g.word) {
		g.once.Do(func() {
			close(g.in)
			<-g.hold
		})
	}
	return len(p), nil
}

// What a login that was abandoned still reports does not reach the next login.
func TestRefusalOfAnEarlierLogin(t *testing.T) {
	f := newFake(t)
	asked, refuse := make(chan struct{}), make(chan struct{})
	f.answer(im.Method_LOGIN, func(l *fakeLink, fr *im.Frame) {
		f.answer(im.Method_LOGIN, nil)
		close(asked)
		<-refuse
		l.refuse(fr, im.CodeTicketMismatch)
	})
	g := &gate{word: "msg=network", hold: make(chan struct{}), in: make(chan struct{})}
	cfg := fakeConfig(t, f)
	cfg.Log = newLogger(g)
	d := open(t, cfg)
	first, out, second := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	d.LoginFunc(func(err error) { first <- err })
	<-g.in // the engine stands still, and the link continues
	<-asked
	before := d.Waiting() // the connection, unless the engine took it together with the attempt
	d.LogoutFunc(func(err error) { out <- err })
	d.LoginFunc(func(err error) { second <- err })
	close(refuse)
	eventually(t, "the refusal", func() bool { return d.Waiting() == before+3 }) // after the logout and the second login
	close(g.hold)
	wantCode(t, <-first, im.CodeInterrupted)
	if err := <-out; err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil {
		t.Fatalf("the second login was answered with the first one's refusal: %v", err)
	}
}

// An application that logs in again inside its kicked callback was notified: it is not refused with 6208, and the new session's own debt stands.
func TestLoginInsideKicked(t *testing.T) {
	s := imtest.Start(t)
	again := make(chan error, 1)
	var d *device
	var once sync.Once
	ready := make(chan struct{})
	d = openWith(t, config(t, s, "ann"), func(ev *client.Events) {
		kicked := ev.KickedOffline
		ev.KickedOffline = func() {
			kicked()
			<-ready
			once.Do(func() { again <- d.Login(within(t)) })
		}
	})
	close(ready)
	d.login()
	second := open(t, config(t, s, "ann"))
	if err := second.Login(within(t)); err != nil { // its sync may not complete: it is kicked at once
		t.Fatal(err)
	}
	if err := <-again; err != nil {
		t.Fatalf("login inside the callback: %v", err)
	}
	second.count(t, "kicked", 1)
	d.settled()
	// Then it disconnects and is kicked: it must be notified of that.
	d.Close()
	second.login()
	d = open(t, d.cfg)
	wantCode(t, d.Login(within(t)), im.CodeKickedWhileAway)
}

// Every call is answered, including one that comes after Close, in both forms.
func TestCallsAfterClose(t *testing.T) {
	s := imtest.Start(t)
	d := dial(t, config(t, s, "ann"))
	d.Close()
	_, err := d.SendMessage(within(t), client.C2C("ann"), textMessage("x"))
	wantCode(t, err, im.CodeInterrupted)
	for name, call := range map[string]func(func(error)){
		"send": func(done func(error)) {
			d.SendMessageFunc(client.C2C("ann"), textMessage("x"), func(_ *im.Message, err error) { done(err) })
		},
		"login":  d.LoginFunc,
		"logout": d.LogoutFunc,
		"read":   d.MarkAllReadFunc,
	} {
		answer := make(chan error, 2)
		call(func(err error) { answer <- err })
		select {
		case err := <-answer:
			wantCode(t, err, im.CodeInterrupted)
		case <-time.After(patience):
			t.Fatalf("%s after Close is never answered", name)
		}
	}
}

// The end of a sync belongs to the login that began it: one that did not fire before a logout does not fire in the next login's sync.
func TestFinishOfAnEarlierLogin(t *testing.T) {
	f := newFake(t)
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, &im.HeadsReply{Cursor: time.Now().UnixMilli(), Heads: []*im.Head{benHead(1)}})
	})
	pulled := make(chan struct{})
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, &im.PullReply{Epoch: 5, From: 1, To: 1, Entries: []*im.Entry{fromBen(1, "one")}})
		close(pulled)
	})
	hold := make(chan struct{})
	d := openWith(t, fakeConfig(t, f), func(ev *client.Events) {
		told := ev.NewMessages
		ev.NewMessages = func(ms []*im.Message) { told(ms); <-hold }
	})
	if err := d.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	d.count(t, "new", 1)
	if err := d.Logout(within(t)); err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	f.answer(im.Method_HEADS, func(*fakeLink, *im.Frame) { close(asked) })
	if err := d.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	<-asked
	close(hold)
	d.count(t, "total", 1)
	d.settled()
	if n := len(d.of("finish")); n != 0 {
		t.Fatalf("the sync is not over and its end was told:\n%s", list(d.all()))
	}
}

// A listing has no gaps, whatever part of the conversation is already on the device.
func TestHistoryAcrossIslands(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	alice := dial(t, config(t, s, "alice"))
	const n = 800
	alice.fill("bob", n)
	bob.count(t, "new", n)
	if err := bob.MarkAllRead(within(t)); err != nil {
		t.Fatal(err)
	}
	phone := config(t, s, "bob")
	phone.Platform = im.Platform_PLATFORM_IOS
	fresh := dial(t, phone)
	wantSeqs := func(p *im.GetMsgListParam, first, last int) {
		t.Helper()
		ms, err := fresh.Messages(within(t), client.C2C("alice"), p)
		if err != nil {
			t.Fatal(err)
		}
		step := 1
		if last < first {
			step = -1
		}
		for i, m := range ms {
			if m.Seq != uint64(first+step*i) {
				t.Fatalf("listed %d after %d", m.Seq, ms[max(0, i-1)].Seq)
			}
		}
		if len(ms) != (last-first)*step+1 {
			t.Fatalf("listed %d messages", len(ms))
		}
	}
	wantSeqs(&im.GetMsgListParam{Count: 150, LastMsgSeq: 150}, 150, 1)
	wantSeqs(&im.GetMsgListParam{Count: 350}, n, n-349)
	wantSeqs(&im.GetMsgListParam{Count: 50, LastMsgSeq: 400}, 400, 351)
	wantSeqs(&im.GetMsgListParam{Count: 500, LastMsgSeq: 100, IsForward: true}, 100, 599)
}

// A pull that is not answered, or that fails in the server, is repeated: nothing else would show that there is something to pull.
func TestPullUnanswered(t *testing.T) {
	for name, trouble := range map[string]func(*fakeLink, *im.Frame){
		"no answer": func(*fakeLink, *im.Frame) {},
		"failure":   func(l *fakeLink, fr *im.Frame) { l.refuse(fr, im.CodeServerInternal) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
				l.reply(fr, &im.HeadsReply{Cursor: time.Now().UnixMilli(), Heads: []*im.Head{benHead(1)}})
			})
			f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
				f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
					l.reply(fr, &im.PullReply{Epoch: 5, From: 1, To: 1, Entries: []*im.Entry{fromBen(1, "one")}})
				})
				trouble(l, fr)
			})
			cfg := fakeConfig(t, f)
			cfg.Limits.Call = 200 * time.Millisecond
			d := open(t, cfg)
			if err := d.Login(within(t)); err != nil {
				t.Fatal(err)
			}
			d.count(t, "new", 1)
			d.count(t, "finish", 1)
		})
	}
}

// A head that is older than what a push has reported since does not set the reader's position back.
func TestOldRowAfterNew(t *testing.T) {
	f := newFake(t)
	d := dial(t, fakeConfig(t, f))
	l := <-f.links
	l.push(benPush(1, "one"), benPush(2, "two"), benPush(3, "three"))
	d.count(t, "new", 3)
	d.until(t, "total 3", func(es []event) bool { e, _ := last(es, "total"); return e.n == 3 })
	row := func(row, read, seq uint64) *im.Head {
		h := benHead(seq)
		h.Row, h.ReadSeq, h.ReadOthers = row, read, read
		return h
	}
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) { l.reply(fr, &im.HeadsReply{Heads: []*im.Head{row(3, 3, 4)}}) })
		// The reply was made before the user read the rest on another device, and arrives after the event of that.
		l.push(pushed{im.Method_HEAD, row(3, 3, 3)})
		l.reply(fr, &im.HeadsReply{Heads: []*im.Head{row(2, 1, 3)}})
		l.push(benPush(4, "four"))
	})
	l.push(pushed{im.Method_HEAD, row(1, 0, 2)}) // a head from before "three": the client asks
	d.count(t, "new", 4)
	d.until(t, "total 1", func(es []event) bool { e, _ := last(es, "total"); return e.n == 1 })
	d.settled()
	if n, err := d.TotalUnread(within(t)); err != nil || n != 1 {
		t.Fatalf("unread %d, %v", n, err)
	}
}

// Pushes of a conversation's new log that arrive while its head is being requested are not forgotten.
func TestPushOfANewLog(t *testing.T) {
	f := newFake(t)
	d := dial(t, fakeConfig(t, f))
	l := <-f.links
	l.push(benPush(1, "old"))
	d.count(t, "new", 1)
	push := func(seq uint64) pushed {
		return pushed{im.Method_ENTRY, &im.EntryPush{Conv: ben(), Epoch: 6, Entry: fromBen(seq, fmt.Sprint("new ", seq))}}
	}
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		l.push(push(2)) // after the head was read, before it is sent
		h := benHead(1)
		h.Epoch = 6
		l.reply(fr, &im.HeadsReply{Heads: []*im.Head{h}})
	})
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		req, reply := &im.PullRequest{}, &im.PullReply{Epoch: 6}
		req.UnmarshalVT(fr.Body)
		for reply.From, reply.To = req.From, req.To; req.From <= req.To; req.From++ {
			reply.Entries = append(reply.Entries, fromBen(req.From, fmt.Sprint("new ", req.From)))
		}
		l.reply(fr, reply)
	})
	l.push(push(1))
	d.count(t, "new", 3)
}

// What fired after the kicked callback does not fire again at the next login.
func TestStateAfterKicked(t *testing.T) {
	f := newFake(t)
	d := dial(t, fakeConfig(t, f))
	l := <-f.links
	l.push(benPush(1, "one"), pushed{im.Method_KICKED, &im.KickedPush{Generation: 1}})
	d.count(t, "kicked", 1)
	d.count(t, "total", 1)
	d.settled()
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, &im.HeadsReply{Cursor: time.Now().UnixMilli(), Heads: []*im.Head{benHead(1)}})
	})
	d.login()
	d.settled()
	wantKinds(t, d.all(), "start", "finish", "new", "kicked", "add", "total", "start", "finish")
}

// A state whose callback was running when the client was closed counts as reported, as a message does.
func TestStateInClose(t *testing.T) {
	s := imtest.Start(t)
	alice := dial(t, config(t, s, "alice"))
	hold, in := make(chan struct{}), make(chan struct{})
	bob := openWith(t, config(t, s, "bob"), func(ev *client.Events) {
		total := ev.TotalUnread
		ev.TotalUnread = func(n int) { total(n); close(in); <-hold }
	})
	bob.login()
	alice.say("bob", "one")
	<-in
	bob.Close()
	close(hold)
	bob = dial(t, bob.cfg)
	bob.settled()
	wantKinds(t, bob.all(), "start", "finish")
}

// A client that is closed inside one callback of a set of states does not fire the next, and those fire at the next start.
func TestCloseInsideState(t *testing.T) {
	s := imtest.Start(t)
	alice := dial(t, config(t, s, "alice"))
	var bob *device
	closed := make(chan struct{})
	bob = openWith(t, config(t, s, "bob"), func(ev *client.Events) {
		told := ev.Conversations
		ev.Conversations = func(k client.ConvEvent, list []*im.ConvInfo) {
			told(k, list)
			if k == client.ConvAdd {
				bob.Close()
				close(closed)
			}
		}
	})
	bob.login()
	alice.say("bob", "one")
	<-closed
	bob.SendMessageFunc(client.C2C("alice"), textMessage("late"), func(*im.Message, error) { bob.add(event{kind: "done"}) })
	bob.count(t, "done", 1) // the dispatcher has run everything
	wantKinds(t, bob.all(), "start", "finish", "new", "add", "done")
	bob = dial(t, bob.cfg)
	bob.until(t, "total 1", func(es []event) bool { e, _ := last(es, "total"); return e.n == 1 })
	bob.settled()
	for _, e := range bob.of("new", "add", "upd") {
		t.Errorf("told again: %v", e)
	}
}

// A device without a folder lives as long as its process, across a logout: nothing fires twice.
func TestMemoryOverLogout(t *testing.T) {
	s := imtest.Start(t)
	file := filepath.Join(t.TempDir(), "a file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config(t, s, "bob")
	cfg.Dir = filepath.Join(file, "below")
	bob := dial(t, cfg)
	alice := dial(t, config(t, s, "alice"))
	alice.say("bob", "one")
	bob.count(t, "new", 1)
	bob.count(t, "total", 1)
	if err := bob.Logout(within(t)); err != nil {
		t.Fatal(err)
	}
	bob.settled()
	bob.login()
	alice.say("bob", "two")
	bob.until(t, "total 2", func(es []event) bool { e, _ := last(es, "total"); return e.n == 2 })
	bob.count(t, "new", 2)
}

// A server may send anything: no reply brings the client down.
func TestNonsense(t *testing.T) {
	f := newFake(t)
	nonsense := []body{&im.Empty{}, &im.HeadsReply{Heads: []*im.Head{{}, {Conv: &im.ConvKey{}}, {Conv: ben(), Seq: 1 << 63, Rev: 1 << 63, Last: &im.Entry{}}}},
		&im.PullReply{To: 1 << 62, Entries: []*im.Entry{{}, {Seq: 7}}}, &im.ChangesReply{To: 1 << 62, Changes: []*im.Change{{}, {Rev: 3, Kind: 1}}}, &im.SendReply{}, &im.RevokeReply{}, &im.LookupReply{}}
	d := dial(t, fakeConfig(t, f))
	l := <-f.links
	for i, m := range []im.Method{im.Method_SEND, im.Method_PULL, im.Method_READ, im.Method_REVOKE, im.Method_HEARTBEAT, im.Method_CHANGES} {
		f.answer(m, func(l *fakeLink, fr *im.Frame) { l.reply(fr, nonsense[i%len(nonsense)]) })
	}
	for _, b := range nonsense {
		for _, m := range []im.Method{im.Method_ENTRY, im.Method_CHANGE, im.Method_HEAD, im.Method_BEHIND, 99} {
			l.push(pushed{m, b})
		}
	}
	l.push(pushed{im.Method_ENTRY, &im.EntryPush{Conv: ben(), Entry: &im.Entry{}}}, pushed{im.Method_CHANGE, &im.ChangePush{Conv: ben(), Change: &im.Change{}}})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	d.SendMessage(ctx, client.C2C("ben"), textMessage("x"))
	d.MarkAllRead(ctx)
	d.Revoke(ctx, client.C2C("ben"), &im.Message{ConvId: "ben", ConvType: 1, Seq: 1}, "")
	d.Messages(ctx, client.C2C("ben"), nil)
	if _, err := d.Conversations(within(t)); err != nil {
		t.Fatal(err)
	}
}

// A draft that was made while a fresh device collects its conversations survives a reconnect.
func TestDraftInFirstSync(t *testing.T) {
	f := newFake(t)
	paged := make(chan struct{}, 10)
	var again atomic.Bool
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		req := &im.HeadsRequest{}
		req.UnmarshalVT(fr.Body)
		switch {
		case req.After == 0:
			l.reply(fr, &im.HeadsReply{Cursor: 1_800_000_000_000, Next: 7, Heads: []*im.Head{benHead(1)}})
		case again.Swap(true):
			l.reply(fr, &im.HeadsReply{})
		default:
			paged <- struct{}{}
		}
	})
	d := open(t, fakeConfig(t, f))
	if err := d.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	l := <-f.links
	<-paged
	if err := d.SetDraft(client.C2C("ben"), &im.Draft{Msg: textMessage("unfinished")}); err != nil {
		t.Fatal(err)
	}
	l.ws.CloseNow()
	convs, err := d.Conversations(within(t))
	if err != nil || len(convs) != 1 || !convs[0].IsHasDraft {
		t.Fatalf("%v %v", convs, err)
	}
}

// A login whose local database cannot be read is answered, and so is the next one.
func TestLoginOnUnreadableDatabase(t *testing.T) {
	s := imtest.Start(t)
	d := dial(t, config(t, s, "ann"))
	d.say("ann", "x")
	if err := d.Logout(within(t)); err != nil {
		t.Fatal(err)
	}
	file := databases(t, d.cfg.Dir)[0]
	eventually(t, "the database to be closed", func() bool {
		db, err := sql.Open("sqlite3", file)
		if err != nil {
			return false
		}
		defer db.Close()
		_, err = db.Exec("PRAGMA user_version = 99") // of a newer version: neither read nor set aside
		return err == nil
	})
	for range 2 {
		wantCode(t, d.Login(within(t)), im.CodeDatabase)
	}
}

// Two devices of a user in one process never draw the same key: the server would take one's message for the other's.
func TestKeysOfOneProcess(t *testing.T) {
	f := newFake(t)
	f.answer(im.Method_SEND, func(*fakeLink, *im.Frame) {})
	devices := []*device{dial(t, fakeConfig(t, f)), dial(t, fakeConfig(t, f))}
	seen := map[string]bool{}
	for range 400 {
		for _, d := range devices {
			id, err := d.SendMessageFunc(client.C2C("ben"), textMessage("x"), func(*im.Message, error) {})
			if err != nil {
				t.Fatal(err)
			}
			if seen[id] {
				t.Fatalf("%s was drawn twice", id)
			}
			seen[id] = true
		}
	}
}

// tries returns the number of each attempt to reconnect from a client's log.
type tries chan string

func (w tries) Write(p []byte) (int, error) {
	if _, rest, ok := strings.Cut(string(p), `msg="waiting before the next try to connect"`); ok {
		_, rest, _ = strings.Cut(rest, "try=")
		try, _, _ := strings.Cut(rest, " ")
		w <- try
	}
	return len(p), nil
}

// The pauses between connections grow while each of them ends before its sync is complete, whatever happens to the login; a sync that completes
// shortens them again.
func TestPausesGrowUntilASyncIsDone(t *testing.T) {
	f := newFake(t)
	f.answer(im.Method_HEADS, func(l *fakeLink, _ *im.Frame) { l.ws.CloseNow() })
	tried := make(tries, 1000)
	cfg := fakeConfig(t, f)
	cfg.Log = newLogger(tried)
	d := open(t, cfg)
	if err := d.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	next := func(want string) {
		t.Helper()
		select {
		case got := <-tried:
			if got != want {
				t.Fatalf("try %s, want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("try %s does not come", want)
		}
	}
	next("1")
	next("2")
	next("3")
	// A sync that pulls and is disconnected in the pull is not complete either.
	f.answer(im.Method_PULL, func(l *fakeLink, _ *im.Frame) {
		f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
			l.reply(fr, &im.PullReply{Epoch: 5, From: 1, To: 1, Entries: []*im.Entry{fromBen(1, "one")}})
		})
		l.ws.CloseNow()
	})
	heads := func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, &im.HeadsReply{Cursor: time.Now().UnixMilli(), Heads: []*im.Head{benHead(1)}})
	}
	f.answer(im.Method_HEADS, heads)
	d.count(t, "new", 1)
	d.settled()
	n := 3
	for len(tried) > 0 {
		n++
		next(strconv.Itoa(n))
	}
	if n < 4 {
		t.Fatalf("only %d tries", n)
	}
	for len(f.links) > 1 {
		<-f.links
	}
	(<-f.links).ws.CloseNow()
	next("1")
}
