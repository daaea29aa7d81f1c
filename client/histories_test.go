package client_test

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// What random histories (internal/testing/histcheck) have found, each reduced to the minimum.

// A message that arrives while a clearing is under way is not cleared (rule 6).
func TestArrivalWhileClearing(t *testing.T) {
	for name, clear := range map[string]func(*device) error{
		"clear":  func(d *device) error { return d.ClearHistory(within(t), client.C2C("ben")) },
		"delete": func(d *device) error { return d.DeleteConversation(within(t), client.C2C("ben")) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			d := dial(t, fakeConfig(t, f))
			l := <-f.links
			l.push(benPush(1, "one"), benPush(2, "two"))
			d.count(t, "new", 2)
			f.answer(im.Method_ROW, func(l *fakeLink, fr *im.Frame) {
				l.push(benPush(3, "three"))
				h := benHead(3)
				h.Row, h.ClearedSeq, h.ReadSeq, h.ReadOthers = 2, 2, 2, 2
				l.reply(fr, &im.RowReply{Head: h})
			})
			if err := clear(d); err != nil {
				t.Fatal(err)
			}
			d.count(t, "new", 3)
			local := false
			ms, err := d.Messages(within(t), client.C2C("ben"), &im.GetMsgListParam{IsRamble: &local})
			if err != nil || len(ms) != 1 || text(ms[0]) != "three" {
				t.Fatalf("here are %v, %v", ms, err)
			}
			convs, err := d.Conversations(within(t))
			if err != nil || len(convs) != 1 || text(convs[0].LastMsg) != "three" || convs[0].UnreadNum != 1 {
				t.Fatalf("listed are %v, %v", convs, err)
			}
		})
	}
}

// What is put into a conversation that was cleared is listed, whatever its time.
func TestKeptAfterClearing(t *testing.T) {
	s := imtest.Start(t)
	bob, alice := dial(t, config(t, s, "bob")), dial(t, config(t, s, "alice"))
	alice.say("bob", "one")
	alice.say("bob", "two")
	bob.count(t, "new", 2)
	from := client.C2C("alice")
	if err := bob.ClearHistory(within(t), from); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.SaveMessage(within(t), from, textMessage("saved")); err != nil {
		t.Fatal(err)
	}
	old := textMessage("imported")
	old.ServerTime = uint64(time.Now().Unix()) - 3600
	if err := bob.ImportMessages(within(t), from, []*im.Message{old}); err != nil {
		t.Fatal(err)
	}
	alice.say("bob", "three")
	bob.count(t, "new", 3)
	for _, forward := range []bool{false, true} {
		ms, err := bob.Messages(within(t), from, &im.GetMsgListParam{IsForward: forward})
		if err != nil || len(ms) != 3 {
			t.Fatalf("forward %v: listed are %v, %v", forward, ms, err)
		}
		want := []string{"three", "saved", "imported"}
		for i, m := range ms {
			if forward {
				i = 2 - i
			}
			if text(m) != want[i] {
				t.Fatalf("forward %v: listed are %v", forward, ms)
			}
		}
	}
}

// A change waits for its message, even if the device knows only the change (rule 16).
func TestChangeBeforeItsMessage(t *testing.T) {
	f := newFake(t)
	d := dial(t, fakeConfig(t, f))
	l := <-f.links
	l.push(benPush(1, "one"))
	d.count(t, "new", 1)
	modified := fromBen(2, "two as modified")
	modified.Version = 1
	change := &im.Change{Rev: 1, Kind: im.ChangeKind_CHANGE_MODIFY, Seq: 2, Sender: "ben", SenderTinyId: 2, ClientTime: modified.ClientTime, Random: 2, SentTime: modified.Time, Countable: true,
		Version: 1, Operator: "ben", Message: modified.Message}
	recall := &im.Change{Rev: 2, Kind: im.ChangeKind_CHANGE_REVOKE, Seq: 1, Sender: "ben", Random: 1, Countable: true, Operator: "ben"}
	f.answer(im.Method_CHANGES, func(l *fakeLink, fr *im.Frame) {
		req := &im.ChangesRequest{}
		req.UnmarshalVT(fr.Body)
		l.reply(fr, &im.ChangesReply{Epoch: 5, From: req.From, To: 2, Changes: []*im.Change{change, recall}[req.From-1:]})
	})
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		h := benHead(2)
		h.Rev, h.Withdrawn = 2, 1
		l.reply(fr, &im.HeadsReply{Heads: []*im.Head{h}})
	})
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, &im.PullReply{Epoch: 5, From: 2, To: 2, Entries: []*im.Entry{modified}})
	})
	// The push of the message itself was dropped.
	l.push(pushed{im.Method_CHANGE, &im.ChangePush{Conv: ben(), Epoch: 5, Change: recall}})
	d.count(t, "revoke", 1)
	got := d.of("new", "update", "revoke")
	want := []string{"new ben one 1 0", "new ben two as modified 2 0", "revoke ben ben 1 0"}
	if len(got) != len(want) {
		t.Fatalf("fired:\n%s", list(got))
	}
	for i, e := range got {
		if e.String() != want[i] {
			t.Fatalf("fired:\n%s", list(got))
		}
	}
	d.until(t, "total 1", func(es []event) bool { e, _ := last(es, "total"); return e.n == 1 })
}

// Listing forwards continues from an old log into all of a long new one.
func TestForwardIntoANewLog(t *testing.T) {
	const n = 450
	f := newFake(t)
	d := dial(t, fakeConfig(t, f))
	l := <-f.links
	l.push(benPush(1, "old"))
	d.count(t, "new", 1)
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		h := benHead(n)
		h.Epoch = 6
		l.reply(fr, &im.HeadsReply{Heads: []*im.Head{h}})
	})
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		req, reply := &im.PullRequest{}, &im.PullReply{Epoch: 6}
		req.UnmarshalVT(fr.Body)
		reply.From, reply.To = req.From, min(req.To, req.From+199)
		for seq := reply.From; seq <= reply.To; seq++ {
			reply.Entries = append(reply.Entries, fromBen(seq, fmt.Sprint("new ", seq)))
		}
		l.reply(fr, reply)
	})
	l.push(pushed{im.Method_ENTRY, &im.EntryPush{Conv: ben(), Epoch: 6, Entry: fromBen(n, "newest")}})
	d.count(t, "new", 1+n)
	ms, err := d.Messages(within(t), client.C2C("ben"), &im.GetMsgListParam{Count: 1000, IsForward: true})
	if err != nil || len(ms) != 1+n || text(ms[0]) != "old" || ms[n].Seq != n {
		t.Fatalf("listed %d, %v", len(ms), err)
	}
}

// A send that was given up turns to sent when the server's reply arrives after all: nothing else reports that.
func TestAnswerAfterGivingUp(t *testing.T) {
	f, d, l := impatient(t)
	asked := make(chan *im.Frame, 1)
	f.answer(im.Method_SEND, func(l *fakeLink, fr *im.Frame) {
		asked <- &im.Frame{Id: fr.Id, Method: fr.Method, Body: slices.Clone(fr.Body)}
	})
	m, err := d.SendMessage(within(t), client.C2C("ben"), textMessage("late"))
	wantCode(t, err, im.CodeWaitAckTimeout)
	fr := <-asked
	req := &im.SendRequest{}
	if err := req.UnmarshalVT(fr.Body); err != nil {
		t.Fatal(err)
	}
	e := ownEntry(2, req)
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, &im.PullReply{Epoch: 5, From: 2, To: 2, Entries: []*im.Entry{e}})
	})
	l.reply(fr, &im.SendReply{Epoch: 5, Entry: &im.Entry{Seq: 2, Time: e.Time, Index: 2, OwnIndex: 1, Countable: true}})
	got := d.untilConv("it is sent", func(e event) bool { return e.info.LastMsg.GetSeq() == 2 })
	if got.info.LastMsg.MsgId != m.MsgId || got.info.LastMsg.Status != im.MessageStatus_MESSAGE_STATUS_SENT || got.n != 1 {
		t.Fatalf("%v", got.info)
	}
}

// ownEntry returns the entry of the only message that ann has in ben's log.
func ownEntry(seq uint64, req *im.SendRequest) *im.Entry {
	return &im.Entry{Seq: seq, Time: int64(1_700_000_000_000 + seq), Sender: "ann", SenderTinyId: 1, ClientTime: req.ClientTime, Random: req.Random, Index: seq, OwnIndex: 1, Countable: true,
		Message: req.Message}
}

// here returns the messages of a conversation that are on the device, newest first.
func (d *device) here(peer string) []*im.Message {
	d.t.Helper()
	ms, err := d.Messages(within(d.t), client.C2C(peer), &im.GetMsgListParam{IsRamble: new(bool)})
	if err != nil {
		d.t.Fatal(err)
	}
	return ms
}

// impatient is a device that gives a send up soon. It has one message from ben.
func impatient(t *testing.T) (*fake, *device, *fakeLink) {
	t.Helper()
	f := newFake(t)
	cfg := fakeConfig(t, f)
	cfg.Limits.Send = 50 * time.Millisecond
	d := dial(t, cfg)
	l := <-f.links
	l.push(benPush(1, "one"))
	d.count(t, "new", 1)
	return f, d, l
}

// gaveUp sends a message from a device that is then disconnected: the message is in the log, and on the device it failed.
func gaveUp(t *testing.T, f *fake, d *device) (*im.Message, *im.SendRequest) {
	t.Helper()
	asked := make(chan *im.SendRequest, 1)
	f.answer(im.Method_SEND, func(_ *fakeLink, fr *im.Frame) {
		req := &im.SendRequest{}
		req.UnmarshalVT(fr.Body)
		asked <- req
	})
	m, err := d.SendMessage(within(t), client.C2C("ben"), textMessage("mine"))
	wantCode(t, err, im.CodeWaitAckTimeout)
	return m, <-asked
}

// A modification of a message that this device sent and gave up is the message's acknowledgement too.
func TestModifiedAfterGivingUp(t *testing.T) {
	f, d, l := impatient(t)
	m, req := gaveUp(t, f, d)
	// Deleted for this user on another device: the number is void, and the change is reported nevertheless.
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, &im.PullReply{Epoch: 5, From: 2, To: 3, Entries: []*im.Entry{fromBen(3, "three")}})
	})
	l.push(benPush(3, "three"))
	d.count(t, "new", 2)
	l.push(pushed{im.Method_CHANGE, &im.ChangePush{Conv: ben(), Epoch: 5, Change: &im.Change{Rev: 1, Kind: im.ChangeKind_CHANGE_MODIFY, Seq: 2, Sender: "ann", SenderTinyId: 1, ClientTime: req.ClientTime,
		Random: req.Random, SentTime: 1_700_000_000_002, Countable: true, Version: 1, Operator: "ben", Message: textMessage("modified")}}})
	d.count(t, "update", 1)
	ms := d.here("ben")
	if len(ms) != 3 || ms[1].MsgId != m.MsgId || text(ms[1]) != "modified" || ms[1].Status != im.MessageStatus_MESSAGE_STATUS_SENT {
		t.Fatalf("listed are %v", ms)
	}
}

// A message that was deleted on this device while its send was given up stays deleted, silently, when it appears in the log in another form.
func TestRewrittenAfterDeletion(t *testing.T) {
	f, d, l := impatient(t)
	m, req := gaveUp(t, f, d)
	if err := d.DeleteMessages(within(t), client.C2C("ben"), []*im.Message{m}); err != nil {
		t.Fatal(err)
	}
	e := ownEntry(2, req)
	e.Message = textMessage("rewritten")
	third := fromBen(3, "three")
	third.OwnIndex = 2
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, &im.PullReply{Epoch: 5, From: 2, To: 3, Entries: []*im.Entry{e, third}})
	})
	l.push(pushed{im.Method_ENTRY, &im.EntryPush{Conv: ben(), Epoch: 5, Entry: third}})
	d.count(t, "new", 2)
	if got := d.of("update"); len(got) != 0 {
		t.Fatalf("told:\n%s", list(got))
	}
	ms := d.here("ben")
	if len(ms) != 2 || text(ms[0]) != "three" {
		t.Fatalf("listed are %v", ms)
	}
}

// A send of an earlier run that appears in the log first is acknowledged once: the reply to the lookup for it is no news any more.
func TestLookupAfterTheLog(t *testing.T) {
	f := newFake(t)
	d := dial(t, fakeConfig(t, f))
	l := <-f.links
	l.push(benPush(1, "one"))
	d.count(t, "new", 1)
	asked := make(chan *im.SendRequest, 1)
	f.answer(im.Method_SEND, func(_ *fakeLink, fr *im.Frame) {
		req := &im.SendRequest{}
		req.UnmarshalVT(fr.Body)
		asked <- req
	})
	go d.SendMessage(within(t), client.C2C("ben"), textMessage("mine")) // ends with the process, which is killed
	req := <-asked
	cfg := d.cfg
	cfg.Dir = t.TempDir()
	if err := os.CopyFS(cfg.Dir, os.DirFS(d.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	e := ownEntry(2, req)
	e.Message = textMessage("rewritten")
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		h := benHead(2)
		h.Others, h.Own = 1, 1
		l.reply(fr, &im.HeadsReply{Cursor: time.Now().UnixMilli(), Heads: []*im.Head{h}})
	})
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, &im.PullReply{Epoch: 5, From: 2, To: 2, Entries: []*im.Entry{e}})
	})
	question := make(chan func(), 1)
	f.answer(im.Method_LOOKUP, func(l *fakeLink, fr *im.Frame) {
		asked := &im.Frame{Id: fr.Id, Method: fr.Method} // fr is reused for the next one
		question <- func() {
			l.reply(asked, &im.LookupReply{Found: []*im.SendReply{{Epoch: 5, Entry: e}}})
			three := fromBen(3, "three")
			three.OwnIndex = 2
			l.push(pushed{im.Method_ENTRY, &im.EntryPush{Conv: ben(), Epoch: 5, Entry: three}})
		}
	})
	again := dial(t, cfg)
	again.count(t, "update", 1)
	(<-question)()
	again.count(t, "new", 1)
	again.count(t, "update", 1)
}

// What is owed for a message that was deleted since does not fire for another one in its place.
func TestOwedOfADeletedMessage(t *testing.T) {
	s := imtest.Start(t)
	bob, alice, carl := dial(t, config(t, s, "bob")), dial(t, config(t, s, "alice")), dial(t, config(t, s, "carl"))
	hold := make(chan struct{})
	bob.recorder.mu.Lock()
	bob.recorder.hold = hold
	bob.recorder.mu.Unlock()
	arrives := func(from *device, what string) {
		t.Helper()
		from.say("bob", what)
		eventually(t, what, func() bool {
			ms := bob.here(from.UserID())
			return len(ms) > 0 && text(ms[0]) == what
		})
	}
	arrives(alice, "one") // its callback runs until the end
	arrives(alice, "two")
	if err := bob.DeleteConversation(within(t), client.C2C("alice")); err != nil {
		t.Fatal(err)
	}
	arrives(carl, "three")
	arrives(carl, "four")
	bob.Close()
	close(hold)
	again := dial(t, bob.cfg)
	got := again.of("new")
	if len(got) != 2 || got[0].text != "three" || got[1].text != "four" {
		t.Fatalf("told:\n%s", list(got))
	}
}

// The next callback of messages begins when it is on disk that the one before has completed, and not while that is being written: a crash repeats one
// callback (rule 17).
func TestNextCallbackAfterTheCommit(t *testing.T) {
	f := newFake(t)
	atNew, atState := make(chan struct{}), make(chan struct{})
	began := make(chan string, 10)
	d := openWith(t, fakeConfig(t, f), func(ev *client.Events) {
		ev.NewMessages = func(ms []*im.Message) {
			began <- text(ms[0])
			<-atNew
		}
		ev.Conversations = func(k client.ConvEvent, _ []*im.ConvInfo) {
			switch k {
			case client.ConvSyncFinish:
				began <- "finish"
			case client.ConvAdd:
				began <- "state"
				<-atState
			}
		}
	})
	if err := d.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	l := <-f.links
	want := func(what string) {
		t.Helper()
		select {
		case got := <-began:
			if got != what {
				t.Fatalf("%s began, not %s", got, what)
			}
		case <-time.After(patience):
			t.Fatalf("%s did not begin", what)
		}
	}
	want("finish")
	l.push(benPush(1, "one"))
	want("one")
	l.push(benPush(2, "two"))
	eventually(t, "two", func() bool { return len(d.here("ben")) == 2 }) // its callback waits behind the state of the first
	close(atNew)
	want("state")
	committing, disk := make(chan struct{}, 10), make(chan struct{})
	release := sync.OnceFunc(func() { close(disk) })
	defer release()
	if err := d.OnCommit(func() {
		committing <- struct{}{}
		<-disk
	}); err != nil {
		t.Fatal(err)
	}
	<-committing // of the record that "one" has fired, at the latest 100 ms after it
	close(atState)
	select {
	case what := <-began:
		t.Fatalf("%s began while the disk was at work", what)
	case <-time.After(50 * time.Millisecond): // there is no sign of a callback that does not begin
	}
	release()
	want("two")
}

// A message whose send was given up is no news to its own device when it reaches the log after all, even if the conversation was cleared since; it is
// in the list then, as on all other devices.
func TestClearedAfterGivingUp(t *testing.T) {
	t.Run("as it was sent", func(t *testing.T) { clearedAfterGivingUp(t, 0) })
	t.Run("modified", func(t *testing.T) { clearedAfterGivingUp(t, 1) })
}

func clearedAfterGivingUp(t *testing.T, version uint64) {
	f, d, l := impatient(t)
	m, req := gaveUp(t, f, d)
	f.answer(im.Method_ROW, func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, &im.RowReply{Head: &im.Head{Conv: ben(), Epoch: 5, Seq: 1, ReadSeq: 1, ClearedSeq: 1}})
	})
	if err := d.ClearHistory(within(t), client.C2C("ben")); err != nil {
		t.Fatal(err)
	}
	if ms := d.here("ben"); len(ms) > 0 {
		t.Fatalf("after the clearing: %v", ms)
	}
	mine := ownEntry(2, req)
	mine.Version = version
	l.push(pushed{im.Method_ENTRY, &im.EntryPush{Conv: ben(), Epoch: 5, Entry: mine}}, benPush(3, "three"))
	if got := d.count(t, "new", 2); got[1].text != "three" {
		t.Fatalf("told of %q", got[1].text)
	}
	ms := d.here("ben")
	if len(ms) != 2 || ms[1].MsgId != m.MsgId || text(ms[1]) != "mine" || ms[1].Status != im.MessageStatus_MESSAGE_STATUS_SENT {
		t.Fatalf("listed %v", ms)
	}
	if n := len(d.of("update")); n != int(version) {
		t.Errorf("%d updates", n)
	}
}

// What another device cleared while a reply with it was under way is void, as if it had been requested after that.
func TestClearedWhilePulling(t *testing.T) {
	f := newFake(t)
	d := dial(t, fakeConfig(t, f))
	l := <-f.links
	l.push(benPush(1, "one"))
	d.count(t, "new", 1)
	var own *im.SendRequest
	f.answer(im.Method_SEND, func(l *fakeLink, fr *im.Frame) {
		own = &im.SendRequest{}
		own.UnmarshalVT(fr.Body)
		l.reply(fr, &im.SendReply{Epoch: 5, Entry: &im.Entry{Seq: 3, Time: 1_700_000_000_003, Index: 3, OwnIndex: 1, Countable: true}})
	})
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		mine := ownEntry(3, own)
		l.push(pushed{im.Method_HEAD, &im.Head{Conv: ben(), Epoch: 5, Seq: 3, ReadSeq: 3, ReadOthers: 2, ClearedSeq: 3, Row: 9, Others: 2, Own: 1}})
		l.reply(fr, &im.PullReply{Epoch: 5, From: 2, To: 3, Entries: []*im.Entry{fromBen(2, "two"), mine}})
		l.push(benPush(4, "four"))
	})
	if _, err := d.SendMessage(within(t), client.C2C("ben"), textMessage("mine")); err != nil {
		t.Fatal(err)
	}
	if got := d.count(t, "new", 2); got[1].text != "four" {
		t.Fatalf("told:\n%s", list(got))
	}
	ms := d.here("ben")
	if len(ms) != 1 || text(ms[0]) != "four" {
		t.Fatalf("listed %v", ms)
	}
}

// A reply that was made before a change, and arrives after the event of that, does not bring the old content back.
func TestOldAnswerAfterTheChange(t *testing.T) {
	f := newFake(t)
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		h := benHead(3)
		h.ReadSeq, h.ReadOthers = 3, 3
		l.reply(fr, &im.HeadsReply{Heads: []*im.Head{h}, Cursor: time.Now().UnixMilli()})
	})
	log := func(from, to uint64) []*im.Entry {
		all := []*im.Entry{fromBen(1, "one"), fromBen(2, "two"), fromBen(3, "three")}
		return all[from-1 : to]
	}
	pull := func(l *fakeLink, fr *im.Frame) {
		req := &im.PullRequest{}
		req.UnmarshalVT(fr.Body)
		l.reply(fr, &im.PullReply{Epoch: 5, From: req.From, To: req.To, Entries: log(req.From, req.To)})
	}
	f.answer(im.Method_PULL, pull)
	d := dial(t, fakeConfig(t, f))
	<-f.links
	d.count(t, "new", 1) // only the last one, on a fresh device
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		l.push(pushed{im.Method_CHANGE, &im.ChangePush{Conv: ben(), Epoch: 5, Change: &im.Change{Rev: 1, Kind: im.ChangeKind_CHANGE_MODIFY, Seq: 2, Sender: "ben", SenderTinyId: 2, ClientTime: 1_700_000_000,
			Random: 2, SentTime: 1_700_000_000_002, Countable: true, Version: 1, Operator: "ben", Message: textMessage("modified")}}})
		pull(l, fr)
	})
	for range 2 { // the second time from the device
		ms, err := d.Messages(within(t), client.C2C("ben"), &im.GetMsgListParam{Count: 3})
		if err != nil || len(ms) != 3 || text(ms[1]) != "modified" || ms[1].Version != 1 {
			t.Fatalf("listed %v, %v", ms, err)
		}
	}
	d.count(t, "update", 1)
}

// What was applied together and fires in the next run of the application fires in the same order: a message before its recall.
func TestOwedInOrder(t *testing.T) {
	f := newFake(t)
	began, hold := make(chan struct{}), make(chan struct{})
	d := openWith(t, fakeConfig(t, f), func(ev *client.Events) {
		ev.NewMessages = func([]*im.Message) {
			close(began)
			<-hold
		}
	})
	if err := d.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	l := <-f.links
	d.count(t, "finish", 1)
	l.push(benPush(1, "blocks"))
	<-began
	l.push(benPush(2, "two"), pushed{im.Method_CHANGE, &im.ChangePush{Conv: ben(), Epoch: 5, Change: recall(1, 2)}})
	eventually(t, "both are here", func() bool { return d.Untold() >= 3 })
	d.Close()
	close(hold)
	again := dial(t, d.cfg)
	again.count(t, "revoke", 1)
	var got []string
	for _, e := range again.of("new", "revoke") {
		got = append(got, fmt.Sprint(e.kind, " ", e.seq))
	}
	if fmt.Sprint(got) != "[new 2 revoke 2]" {
		t.Fatalf("told %v", got)
	}
}

// The reply to the lookup for sends of an earlier run may cover a part of them: the others are requested again.
func TestLookupInParts(t *testing.T) {
	f := newFake(t)
	d := dial(t, fakeConfig(t, f))
	l := <-f.links
	l.push(benPush(1, "one"))
	d.count(t, "new", 1)
	const sends = 3
	asked := make(chan *im.SendRequest, sends)
	f.answer(im.Method_SEND, func(_ *fakeLink, fr *im.Frame) {
		req := &im.SendRequest{}
		req.UnmarshalVT(fr.Body)
		asked <- req
	})
	reqs := map[uint32]*im.SendRequest{}
	for i := range sends {
		d.SendMessageFunc(client.C2C("ben"), textMessage(fmt.Sprint("mine", i)), func(*im.Message, error) {})
		req := <-asked
		reqs[req.Random] = req
	}
	cfg := d.cfg
	cfg.Dir = t.TempDir()
	if err := os.CopyFS(cfg.Dir, os.DirFS(d.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	questions := make(chan int, 100)
	f.answer(im.Method_LOOKUP, func(l *fakeLink, fr *im.Frame) {
		req := &im.LookupRequest{}
		req.UnmarshalVT(fr.Body)
		questions <- len(req.Keys)
		sent := reqs[req.Keys[0].Random]
		seq := uint64(1 + sends - len(req.Keys) + 1)
		l.reply(fr, &im.LookupReply{Found: []*im.SendReply{{Epoch: 5, Entry: ownEntry(seq, sent)}}})
	})
	again := dial(t, cfg)
	for want := sends; want > 0; want-- {
		select {
		case n := <-questions:
			if n != want {
				t.Fatalf("%d are asked for, want %d", n, want)
			}
		case <-time.After(patience):
			t.Fatalf("nobody asks for the last %d", want)
		}
	}
	eventually(t, "all sent", func() bool {
		n := 0
		for _, m := range again.here("ben") {
			if m.IsFromSelf && m.Status == im.MessageStatus_MESSAGE_STATUS_SENT {
				n++
			}
		}
		return n == sends
	})
	if len(questions) > 0 {
		t.Error("asked once more")
	}
}
