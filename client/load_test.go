package client_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// benLog makes a fake reply for a log of n messages from ben, every one of which was recalled up to revs.
func benLog(f *fake, n, revs uint64) {
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		h := benHead(n)
		h.Rev, h.Withdrawn = revs, revs
		l.reply(fr, &im.HeadsReply{Cursor: time.Now().UnixMilli(), Heads: []*im.Head{h}})
	})
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		req, reply := &im.PullRequest{}, &im.PullReply{Epoch: 5}
		req.UnmarshalVT(fr.Body)
		reply.From, reply.To = req.From, min(req.To, req.From+499)
		for seq := reply.From; seq <= reply.To; seq++ {
			reply.Entries = append(reply.Entries, fromBen(seq, fmt.Sprint(seq)))
		}
		l.reply(fr, reply)
	})
	f.answer(im.Method_CHANGES, func(l *fakeLink, fr *im.Frame) {
		req, reply := &im.ChangesRequest{}, &im.ChangesReply{Epoch: 5}
		req.UnmarshalVT(fr.Body)
		reply.From, reply.To = req.From, min(req.To, req.From+499)
		for rev := reply.From; rev <= reply.To; rev++ {
			reply.Changes = append(reply.Changes, recall(rev, rev))
		}
		l.reply(fr, reply)
	})
}

func recall(rev, seq uint64) *im.Change {
	return &im.Change{Rev: rev, Kind: im.ChangeKind_CHANGE_REVOKE, Seq: seq, Operator: "ben", Sender: "ben", Countable: true, SentTime: int64(1_700_000_000_000 + seq), Random: uint32(seq), ClientTime: 1_700_000_000}
}

// counting wraps the answer of a method with a counter.
func (f *fake) counting(m im.Method, n *atomic.Int64) {
	f.mu.Lock()
	h := f.on[m]
	f.mu.Unlock()
	f.answer(m, func(l *fakeLink, fr *im.Frame) {
		n.Add(1)
		if h != nil {
			h(l, fr)
		} else {
			f.usual(l, fr)
		}
	})
}

// An application that does not take its events stops the sync and not the link: nothing more is pulled, heartbeats continue, and when it takes them
// again each arrives once, in order (rules 17, 28).
func TestBlockedCallback(t *testing.T) {
	f := newFake(t)
	cfg := fakeConfig(t, f)
	cfg.Limits.HeartbeatEvery = 20 * time.Millisecond
	d := dial(t, cfg)
	hold := make(chan struct{})
	d.mu.Lock()
	d.hold = hold
	d.mu.Unlock()
	l := <-f.links
	const n = 3000
	benLog(f, n, n)
	var pulls, changes, beats atomic.Int64
	f.counting(im.Method_PULL, &pulls)
	f.counting(im.Method_CHANGES, &changes)
	f.counting(im.Method_HEARTBEAT, &beats)
	for seq := uint64(1); seq <= n; seq++ { // two events that cannot share a callback
		l.push(benPush(seq, fmt.Sprint(seq)), pushed{im.Method_CHANGE, &im.ChangePush{Conv: ben(), Epoch: 5, Change: recall(seq, seq)}})
	}
	before := beats.Load()
	eventually(t, "heartbeats", func() bool { return beats.Load() >= before+5 })
	if pulls.Load() != 0 || changes.Load() != 0 {
		t.Fatalf("%d pulls and %d calls for changes while nothing is taken", pulls.Load(), changes.Load())
	}
	d.mu.Lock()
	d.hold = nil
	d.mu.Unlock()
	close(hold)
	d.until(t, "everything", func([]event) bool { return len(d.of("revoke")) >= n })
	if pulls.Load() == 0 {
		t.Fatal("nothing was pulled: all was kept in memory")
	}
	for i, e := range d.count(t, "new", n) {
		if e.seq != uint64(i+1) {
			t.Fatalf("message %d has seq %d", i, e.seq)
		}
	}
	for i, e := range d.count(t, "revoke", n) {
		if e.seq != uint64(i+1) {
			t.Fatalf("recall %d is of seq %d", i, e.seq)
		}
	}
	if len(f.links) != 0 {
		t.Fatal("it connected anew")
	}
}

// A flood of recalls does not fill the memory either.
func TestBlockedByRecalls(t *testing.T) {
	f := newFake(t)
	d := dial(t, fakeConfig(t, f))
	l := <-f.links
	const n = 3000
	benLog(f, n+1, n)
	var changes atomic.Int64
	f.counting(im.Method_CHANGES, &changes)
	for seq := uint64(1); seq <= n; seq++ {
		l.push(benPush(seq, fmt.Sprint(seq)))
	}
	d.until(t, "messages", func([]event) bool { return len(d.of("new")) == n })
	hold := make(chan struct{})
	d.mu.Lock()
	d.hold = hold
	d.mu.Unlock()
	l.push(benPush(n+1, "blocks"))
	for seq := uint64(1); seq <= n; seq++ {
		l.push(pushed{im.Method_CHANGE, &im.ChangePush{Conv: ben(), Epoch: 5, Change: recall(seq, seq)}})
	}
	eventually(t, "as many events as may wait", func() bool { return d.Untold() >= 1000 })
	close(hold)
	d.until(t, "recalls", func([]event) bool { return len(d.of("revoke")) >= n })
	if changes.Load() == 0 {
		t.Fatal("all recalls were kept in memory")
	}
	d.count(t, "revoke", n)
}

// Neither does a flood of changes of relations: anybody can add and delete a friend as often as they like.
func TestBlockedByRelations(t *testing.T) {
	f := newFriendFeed(t)
	d := dial(t, fakeConfig(t, f.fake))
	d.friendList() // the whole has been loaded
	var pulls atomic.Int64
	f.mu.Lock()
	l := f.link
	f.mu.Unlock()
	f.counting(im.Method_FEED, &pulls)
	hold := make(chan struct{})
	d.mu.Lock()
	d.hold = hold
	d.mu.Unlock()
	l.push(benPush(1, "blocks"))
	const n = 1500
	for range n { // two events that cannot share a callback
		f.change("f1", "", false)
		f.change("f1", "", true)
	}
	if err := l.ws.Ping(within(t)); err != nil { // the client has read what came before it
		t.Fatal(err)
	}
	eventually(t, "all pushes were handled", func() bool { return d.Arrived() == 0 })
	d.Reads()
	if waiting := d.Untold(); pulls.Load() != 0 || waiting < 1000 || waiting > 2000 {
		t.Fatalf("%d pulls, and %d events in memory, while nothing is taken", pulls.Load(), waiting)
	}
	close(hold)
	d.until(t, "everything", func([]event) bool { return len(d.of("friends_deleted")) >= n })
	for i, e := range d.of("friends_added", "friends_deleted") {
		if want := []string{"friends_added", "friends_deleted"}[i%2]; e.kind != want {
			t.Fatalf("event %d is %q", i, e.kind)
		}
	}
	if pulls.Load() == 0 || len(d.count(t, "friends_added", n)) != n || len(d.friendList()) != 0 {
		t.Fatalf("%d pulls, and then %d friends", pulls.Load(), len(d.friendList()))
	}
}

// Pushes that the server dropped arrive with the sync that BEHIND requests, or a heartbeat whose numbers differ (rule 9).
func TestDroppedPushes(t *testing.T) {
	s := imtest.Start(t, imtest.Queue(8, 16<<10))
	p, url := newProxy(t, s.URL)
	cfg := config(t, s, "bob")
	cfg.Server = url
	bob := dial(t, cfg)
	alice := dial(t, config(t, s, "alice"))
	const n = 6000
	p.Stall()
	alice.fill("bob", n)
	p.Release()
	bob.until(t, "messages", func([]event) bool { return len(bob.of("new")) >= n })
	for i, e := range bob.count(t, "new", n) {
		if e.seq != uint64(i+1) {
			t.Fatalf("message %d has seq %d", i, e.seq)
		}
	}
	if len(bob.of("start")) != 1 {
		t.Fatal("the sync of a session that was behind was framed")
	}

	f := newFake(t)
	cfg = fakeConfig(t, f)
	cfg.Limits.HeartbeatEvery = 10 * time.Millisecond
	d := dial(t, cfg)
	benLog(f, 3, 1)
	l := <-f.links
	l.mu.Lock()
	l.sent++ // a push that never arrives
	l.mu.Unlock()
	d.count(t, "new", 3)
	d.count(t, "revoke", 1)
}

// More than 1,000 open calls are refused with 9507, and Close answers each of those that are open once, with 7009; nothing fires afterwards.
func TestOpenCalls(t *testing.T) {
	f := newFake(t)
	var sends atomic.Int64
	f.answer(im.Method_SEND, func(*fakeLink, *im.Frame) { sends.Add(1) })
	f.answer(im.Method_READ, func(*fakeLink, *im.Frame) {})
	d := dial(t, fakeConfig(t, f))
	l := <-f.links
	l.push(benPush(1, "one"))
	d.count(t, "new", 1)
	d.settled()
	var mu sync.Mutex
	answers := map[int][]int32{}
	take := func(call int) func(error) {
		return func(err error) {
			mu.Lock()
			defer mu.Unlock()
			answers[call] = append(answers[call], im.CodeOf(err))
			d.add(event{kind: "done"})
		}
	}
	const most = 1000
	for i := range most - 1 {
		done := take(i)
		if _, err := d.SendMessageFunc(client.C2C("ben"), textMessage("x"), func(_ *im.Message, err error) { done(err) }); err != nil {
			t.Fatal(err)
		}
	}
	d.MarkReadFunc(client.C2C("ben"), nil, take(most-1))
	for i := range 3 {
		done := take(most + i)
		d.SendMessageFunc(client.C2C("ben"), textMessage("x"), func(_ *im.Message, err error) { done(err) })
	}
	d.until(t, "refusals", func([]event) bool { return len(d.of("done")) == 3 })
	_, err := d.SendMessage(within(t), client.C2C("ben"), textMessage("x"))
	wantCode(t, err, im.CodeTooManyRequests)
	eventually(t, "the sends", func() bool { return sends.Load() == most-1 })
	d.Close()
	d.until(t, "answers", func([]event) bool { return len(d.of("done")) >= most+3 })
	l.push(benPush(2, "after"))
	d.LoginFunc(take(-1)) // behind everything else
	d.until(t, "the last answer", func([]event) bool { return len(d.of("done")) >= most+4 })
	mu.Lock()
	defer mu.Unlock()
	for call, got := range answers {
		want := int32(im.CodeInterrupted)
		if call >= most {
			want = im.CodeTooManyRequests
		}
		if len(got) != 1 || got[0] != want {
			t.Errorf("call %d was answered with %v, want once %d", call, got, want)
		}
	}
	es := d.all()
	for i := range es {
		if es[i].kind == "done" {
			for _, e := range es[i:] {
				if e.kind != "done" && e.kind != "upd" && e.kind != "total" {
					t.Errorf("fired with or after Close: %v", e)
				}
			}
			break
		}
	}
}

// Every call may be made inside a callback, in both forms, including Close.
func TestCallsInsideCallbacks(t *testing.T) {
	s := imtest.Start(t)
	alice := dial(t, config(t, s, "alice"))
	var bob *device
	did := make(chan error, 100)
	closed := make(chan struct{})
	bob = openWith(t, config(t, s, "bob"), func(ev *client.Events) {
		told := ev.NewMessages
		ev.NewMessages = func(ms []*im.Message) {
			told(ms)
			m := ms[0]
			ctx := within(t)
			conv := client.C2C(m.ConvId)
			switch text(m) {
			case "calls":
				answer, err := bob.SendMessage(ctx, conv, textMessage("answer"))
				did <- err
				did <- bob.MarkRead(ctx, conv, m)
				_, err = bob.Messages(ctx, conv, nil)
				did <- err
				_, err = bob.Conversations(ctx)
				did <- err
				did <- bob.Revoke(ctx, conv, answer, "")
				bob.SendMessageFunc(conv, textMessage("func"), func(_ *im.Message, err error) {
					did <- err
					bob.MarkAllReadFunc(func(err error) { did <- err })
				})
			case "session":
				did <- bob.Logout(ctx)
				did <- bob.Login(ctx)
			case "close":
				bob.LogoutFunc(func(err error) { did <- err })
				bob.Close()
				bob.Close()
				close(closed)
			}
		}
	})
	bob.login()
	wait := func(n int) {
		t.Helper()
		for range n {
			select {
			case err := <-did:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(patience):
				t.Fatal("a call inside a callback does not return")
			}
		}
	}
	alice.say("bob", "calls")
	wait(7)
	alice.say("bob", "session")
	wait(2)
	alice.say("bob", "close")
	<-closed
	select {
	case <-did: // answered, whichever of the two was first
	case <-time.After(patience):
		t.Fatal("the logout is never answered")
	}
}

// A closed client leaves nothing behind.
func TestNoGoroutinesAfterClose(t *testing.T) {
	s := imtest.Start(t)
	warm := dial(t, config(t, s, "warm"))
	warm.Close()
	p, url := newProxy(t, s.URL)
	mine := goleak.IgnoreCurrent()
	for i := range 5 {
		cfg := config(t, s, "ann")
		cfg.Server = url
		d := dial(t, cfg)
		d.say("ann", "x")
		switch i {
		case 0:
			d.Logout(within(t))
		case 1:
			p.Cut()
		case 2:
			p.Refuse(true)
			p.Cut()
			d.until(t, "failure", func(es []event) bool { e, _ := last(es, "net"); return e.n == 3 })
			p.Refuse(false)
		case 3:
			p.Freeze()
			d.SendMessageFunc(client.C2C("ann"), textMessage("never"), func(*im.Message, error) {})
		}
		d.Close()
		d.SendMessageFunc(client.C2C("ann"), textMessage("late"), func(*im.Message, error) {})
		p.Heal()
		p.Cut()
	}
	goleak.VerifyNone(t, mine)
}

// Two goroutines that log in, out and close at random never hang, and every call is answered once; the folder is still good.
func TestRandomSessions(t *testing.T) {
	s := imtest.Start(t)
	ben := dial(t, config(t, s, "ben"))
	cfg := config(t, s, "ann")
	dial(t, cfg).Close()
	for seed := range uint64(12) {
		d := open(t, cfg)
		var calls, answers atomic.Int64
		var wg sync.WaitGroup
		for g := range uint64(3) {
			rng := rand.New(rand.NewPCG(seed, g))
			wg.Go(func() {
				for range 100 {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					switch k := rng.IntN(100); {
					case k < 25:
						d.Login(ctx)
					case k < 45:
						d.Logout(ctx)
					case k < 60:
						calls.Add(1)
						d.LoginFunc(func(error) { answers.Add(1) })
					case k < 75:
						calls.Add(1)
						d.LogoutFunc(func(error) { answers.Add(1) })
					case k < 99:
						calls.Add(1)
						d.SendMessageFunc(client.C2C("ben"), textMessage("x"), func(*im.Message, error) { answers.Add(1) })
					default:
						d.Close()
					}
					if ctx.Err() != nil {
						t.Error("a call hangs")
					}
					cancel()
				}
			})
		}
		wg.Wait()
		d.Close()
		eventually(t, "answers", func() bool { return answers.Load() >= calls.Load() })
		if answers.Load() != calls.Load() {
			t.Fatalf("%d calls, %d answers", calls.Load(), answers.Load())
		}
		legalSessions(t, d.all())
	}
	d := open(t, cfg)
	d.login()
	d.say("ben", "the last")
	ben.until(t, "the last", func(es []event) bool { e, _ := last(es, "new"); return e.text == "the last" })
	for _, e := range d.of("new", "kicked") {
		t.Errorf("fired: %v", e)
	}
	seen := map[uint64]bool{}
	for _, e := range ben.of("new") {
		if seen[e.seq] {
			t.Errorf("twice: %v", e)
		}
		seen[e.seq] = true
	}
}

// legalSessions checks that each end of a sync has its start.
func legalSessions(t *testing.T, es []event) {
	t.Helper()
	open := 0
	for _, e := range es {
		switch e.kind {
		case "start":
			open = 1 // one that a logout interrupted has no end
		case "finish":
			if open--; open < 0 {
				t.Fatalf("a sync ended that had not begun:\n%s", list(es))
			}
		}
	}
}

// A device that is more than 20,000 messages behind jumps; what it skipped is in the history (rule 16).
func TestFarBehind(t *testing.T) {
	f := newFake(t)
	benLog(f, 1, 0)
	d := dial(t, fakeConfig(t, f))
	d.count(t, "new", 1)
	d.Close()
	const n = 30_000
	benLog(f, n, 0)
	history := &atomic.Int64{}
	f.counting(im.Method_PULL, history)
	d = dial(t, d.cfg)
	es := d.until(t, "the newest", func(es []event) bool { e, _ := last(es, "new"); return e.seq == n })
	if got := d.of("new"); len(got) != 1000 || got[0].seq != n-999 {
		t.Fatalf("%d messages from %d on", len(got), got[0].seq)
	}
	if e, _ := last(es, "total"); e.n != n {
		d.until(t, "total", func(es []event) bool { e, _ := last(es, "total"); return e.n == n })
	}
	if _, err := d.Messages(within(t), client.C2C("ben"), &im.GetMsgListParam{LastMsgSeq: 5000, Count: 10, IsForward: true}); err != nil {
		t.Fatal(err)
	}
	d.count(t, "new", 1000)
}

// A user with 5,000 conversations logs in on a fresh device, and on one that has them; the newest hundred fire, all are listed, in reasonable time.
func TestManyConversations(t *testing.T) {
	f := newFake(t)
	const n, page = 5000, 200
	head := func(i int) *im.Head {
		e := fromBen(1, "last")
		e.Time, e.Sender = int64(1_700_000_000_000+i*1000), fmt.Sprint("u", i)
		return &im.Head{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: e.Sender}, Epoch: uint64(i + 1), Seq: 1, Others: 1, Row: 1, Time: e.Time, Last: e}
	}
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		req := &im.HeadsRequest{}
		req.UnmarshalVT(fr.Body)
		reply := &im.HeadsReply{Cursor: 1_800_000_000_000}
		if req.Cursor == 0 {
			for i := int(req.After); i < n && len(reply.Heads) < page; i++ {
				reply.Heads = append(reply.Heads, head(i))
			}
			if end := int(req.After) + page; end < n {
				reply.Next = uint64(end)
			}
		}
		l.reply(fr, reply)
	})
	var pulls atomic.Int64
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		pulls.Add(1)
		req := &im.PullRequest{}
		req.UnmarshalVT(fr.Body)
		l.reply(fr, &im.PullReply{Epoch: req.Epoch, From: 1, To: 1, Entries: []*im.Entry{head(int(req.Epoch) - 1).Last}})
	})
	start := time.Now()
	d := dial(t, fakeConfig(t, f))
	first := time.Since(start)
	d.until(t, "conversations", func([]event) bool { return len(d.of("add")) >= n })
	d.count(t, "add", n)
	if got := d.count(t, "new", 100); got[0].conv < "u4900" {
		t.Fatalf("the first is of %s", got[0].conv)
	}
	if pulls.Load() != 100 {
		t.Fatalf("%d pulls", pulls.Load())
	}
	if e, _ := last(d.all(), "total"); e.n != n {
		t.Fatalf("total %d", e.n)
	}
	start = time.Now()
	d = d.again()
	wantKinds(t, d.all(), "start", "finish")
	t.Logf("%d conversations: fresh %v, again %v", n, first, time.Since(start))
}
