package client_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// heldHeads is a fake whose HEADS is answered when release is called: ben has written five messages.
func heldHeads(t *testing.T) (f *fake, release func()) {
	f = newFake(t)
	open := make(chan struct{})
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		go func() {
			<-open
			l.reply(fr, &im.HeadsReply{Cursor: time.Now().UnixMilli(), Heads: []*im.Head{benHead(5)}})
		}()
	})
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, pulled(t, fr, func(_, seq uint64) *im.Entry { return fromBen(seq, "x") }))
	})
	release = sync.OnceFunc(func() { close(open) })
	t.Cleanup(release)
	return f, release
}

// Calls between the login's reply and the end of its sync wait for the sync: they have an effect, and no list is older than the login.
func TestCallsBeforeTheSync(t *testing.T) {
	f, release := heldHeads(t)
	var mu sync.Mutex
	var reads []*im.ReadPosition
	var rows []*im.RowRequest
	f.answer(im.Method_READ, func(l *fakeLink, fr *im.Frame) {
		req := &im.ReadRequest{}
		req.UnmarshalVT(fr.Body)
		mu.Lock()
		reads = append(reads, req.Positions...)
		mu.Unlock()
		l.reply(fr, &im.ReadReply{})
	})
	f.answer(im.Method_ROW, func(l *fakeLink, fr *im.Frame) {
		req := &im.RowRequest{}
		req.UnmarshalVT(fr.Body)
		mu.Lock()
		rows = append(rows, req)
		mu.Unlock()
		l.reply(fr, &im.RowReply{})
	})
	d := open(t, fakeConfig(t, f))
	if err := d.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	key := client.C2C("ben")
	answers := make(chan string, 20)
	want := func(what string, ok bool, err error) {
		if err != nil || !ok {
			what += " is wrong"
		}
		answers <- what
	}
	d.ConversationsFunc(func(list []*im.ConvInfo, err error) {
		want("list", len(list) == 1 && list[0].UnreadNum == 5, err)
	})
	d.ConversationsByKeyFunc([]client.Conv{key}, func(list []*im.ConvInfo, err error) { want("by key", len(list) == 1, err) })
	d.TotalUnreadFunc(func(n int, err error) { want("total", n == 5, err) })
	d.MessagesFunc(key, nil, func(ms []*im.Message, err error) { want("messages", len(ms) == 5, err) })
	d.MarkReadFunc(key, nil, func(err error) { want("read", true, err) })
	d.MarkAllReadFunc(func(err error) { want("read all", true, err) })
	d.PinConversationFunc(key, true, func(err error) { want("pin", true, err) })
	d.SetRecvOptFunc([]client.Conv{key}, 2, func(err error) { want("option", true, err) })
	d.ClearHistoryFunc(key, func(err error) { want("clear", true, err) })
	d.DeleteConversationFunc(key, func(err error) { want("delete", true, err) })
	d.settled()
	if n := len(answers); n != 0 {
		t.Fatalf("%d calls were answered before the sync, the first: %s", n, <-answers)
	}
	release()
	got := map[string]bool{}
	for range 10 {
		select {
		case a := <-answers:
			got[a] = true
		case <-time.After(patience):
			t.Fatalf("no more answers than %v", got)
		}
	}
	for _, a := range []string{"list", "by key", "total", "messages", "read", "read all", "pin", "option", "clear", "delete"} {
		if !got[a] {
			t.Errorf("no right answer for %q: %v", a, got)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, p := range reads {
		if p.Epoch != 5 || p.Seq != 5 {
			t.Errorf("read %v", p)
		}
	}
	if len(reads) != 2 || len(rows) != 4 {
		t.Errorf("%d positions were read and %d rows changed, want 2 and 4", len(reads), len(rows))
	}
	for _, r := range rows {
		if r.Epoch != 5 || r.ClearedSeq != nil && *r.ClearedSeq != 5 {
			t.Errorf("row %v", r)
		}
	}
}

// A call that waits for the sync ends with the connection, with the login and with the client, and within its own time.
func TestCallsWithoutASync(t *testing.T) {
	start := func(t *testing.T, limit time.Duration) (*fake, *device, chan error) {
		f, _ := heldHeads(t)
		cfg := fakeConfig(t, f)
		cfg.Limits.Call = limit
		d := open(t, cfg)
		if err := d.Login(within(t)); err != nil {
			t.Fatal(err)
		}
		answer := make(chan error, 2)
		d.MarkReadFunc(client.C2C("ben"), nil, func(err error) { answer <- err })
		d.settled()
		if len(answer) != 0 {
			t.Fatal("it did not wait")
		}
		return f, d, answer
	}
	answered := func(t *testing.T, answer chan error, code int32) {
		t.Helper()
		select {
		case err := <-answer:
			wantCode(t, err, code)
		case <-time.After(patience):
			t.Fatal("it is never answered")
		}
	}
	t.Run("cut", func(t *testing.T) {
		f, d, answer := start(t, time.Minute)
		f.answer(im.Method_LOGIN, func(l *fakeLink, fr *im.Frame) { l.ws.CloseNow() })
		(<-f.links).ws.CloseNow()
		answered(t, answer, im.CodeDisconnected)
		if list, err := d.Conversations(within(t)); err != nil || len(list) != 0 {
			t.Errorf("without a link the list is what is here: %v %v", list, err)
		}
	})
	t.Run("logout", func(t *testing.T) {
		_, d, answer := start(t, time.Minute)
		if err := d.Logout(within(t)); err != nil {
			t.Fatal(err)
		}
		answered(t, answer, im.CodeNotLoggedIn)
	})
	t.Run("close", func(t *testing.T) {
		_, d, answer := start(t, time.Minute)
		d.Close()
		answered(t, answer, im.CodeInterrupted)
	})
	t.Run("late", func(t *testing.T) {
		_, _, answer := start(t, 300*time.Millisecond)
		select {
		case err := <-answer: // the sync's own call ends at the same time, and the connection with it
			if code := im.CodeOf(err); code != im.CodeWaitAckTimeout && code != im.CodeDisconnected {
				t.Errorf("%v", err)
			}
		case <-time.After(patience):
			t.Fatal("it is never answered")
		}
	})
}

// A callback that makes a blocking call during the sync, while more events wait than fit, does not hang: the sync waits for the application then, and
// not the application for the sync.
func TestCallInACallbackOfTheSync(t *testing.T) {
	f := newFake(t)
	cfg := fakeConfig(t, f)
	dial(t, cfg).Close()
	const n = 3000
	benLog(f, n, n)
	answer := make(chan error, 1)
	var d *device
	called := false
	d = openWith(t, cfg, func(ev *client.Events) {
		told := ev.NewMessages
		ev.NewMessages = func(ms []*im.Message) {
			if !called {
				called = true
				_, err := d.ConversationsByKey(within(t), []client.Conv{client.C2C("ben")})
				answer <- err
			}
			told(ms)
		}
	})
	if err := d.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-answer:
		if err != nil {
			t.Errorf("the call in the callback: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the callback waits for the sync, and the sync for the callback")
	}
	d.until(t, "recalls", func([]event) bool { return len(d.of("revoke")) >= n })
}

// Reading up to a message needs a message of the conversation; whatever else is named, nothing is marked as read.
func TestReadUpTo(t *testing.T) {
	s := imtest.Start(t)
	alice, carol := dial(t, config(t, s, "alice")), dial(t, config(t, s, "carol"))
	bob := dial(t, config(t, s, "bob"))
	for range 4 {
		alice.say("bob", "x")
	}
	other := carol.say("bob", "y")
	bob.until(t, "total 5", func(es []event) bool { e, _ := last(es, "total"); return e.n == 5 })
	ms, err := bob.Messages(within(t), client.C2C("alice"), nil)
	if err != nil || len(ms) != 4 {
		t.Fatal(ms, err)
	}
	for what, m := range map[string]*im.Message{
		"nothing":                        {},
		"an unknown id":                  {MsgId: "144115000000000001-1-1"},
		"what is no id":                  {MsgId: "x"},
		"a number beyond the end":        {Seq: 5},
		"another conversation's message": {MsgId: other.MsgId},
		"another conversation's number":  {Seq: 1, ConvId: "carol", ConvType: im.ConvType_CONV_TYPE_C2C},
	} {
		if err := bob.MarkRead(within(t), client.C2C("alice"), m); im.CodeOf(err) != im.CodeInvalidParameters {
			t.Errorf("%s: %v, want 6017", what, err)
		}
	}
	if n, err := bob.TotalUnread(within(t)); err != nil || n != 5 {
		t.Fatalf("%d unread after refused calls, %v", n, err)
	}
	if err := bob.MarkRead(within(t), client.C2C("alice"), &im.Message{MsgId: ms[2].MsgId}); err != nil {
		t.Fatal(err)
	}
	bob.until(t, "total 3", func(es []event) bool { e, _ := last(es, "total"); return e.n == 3 })
}

// Calls that waited for the sync are made before one that comes at the moment in which it ends.
func TestNoCallOvertakesThoseThatWait(t *testing.T) {
	for range 12 { // whether the call or the end of the sync is handled first is a matter of chance
		f := newFake(t)
		release := make(chan struct{})
		f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
			go func() {
				<-release
				l.reply(fr, &im.HeadsReply{Cursor: time.Now().UnixMilli()})
			}()
		})
		d := open(t, fakeConfig(t, f))
		if err := d.Login(within(t)); err != nil {
			t.Fatal(err)
		}
		made := make(chan int, 2)
		d.InsideSynced(func() { made <- 1 }, func(error) {})
		d.settled()
		if len(made) != 0 {
			t.Fatal("the first call did not wait")
		}
		ctx := within(t)
		d.OnEngine(func() {
			close(release)
			for d.Arrived() == 0 && ctx.Err() == nil {
				runtime.Gosched()
			}
			d.InsideSynced(func() { made <- 2 }, func(error) {})
		})
		for want := range 2 {
			select {
			case got := <-made:
				if got != want+1 {
					t.Fatalf("call %d is made before call %d", got, want+1)
				}
			case <-ctx.Done():
				t.Fatal("a call is never made")
			}
		}
		d.Close()
	}
}

// A panic in a call that waited for the sync, or in a later piece of a call, has a result, and so have the calls behind it.
func TestPanicInACallThatWaited(t *testing.T) {
	f, release := heldHeads(t)
	d := open(t, fakeConfig(t, f))
	if err := d.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	answers := make(chan error, 3)
	answer := func(err error) { answers <- err }
	next := func() error {
		t.Helper()
		select {
		case err := <-answers:
			return err
		case <-time.After(patience):
			t.Fatal("a call is never answered")
			return nil
		}
	}
	d.InsideSynced(func() { panic("a mistake") }, answer)
	d.InsideSynced(func() {}, answer)
	d.settled()
	if len(answers) != 0 {
		t.Fatal("they did not wait")
	}
	release()
	wantCode(t, next(), im.CodeDatabase)
	if err := next(); err != nil {
		t.Error("the call behind it:", err)
	}
	d.InsideLater(func() { panic("a mistake") }, answer)
	d.InsideLater(func() {}, answer)
	wantCode(t, next(), im.CodeDatabase)
	if err := next(); err != nil {
		t.Error("the piece behind it:", err)
	}
}
