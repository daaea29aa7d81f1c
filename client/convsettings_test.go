package client_test

import (
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// two dials two devices of a user, on a computer and a phone.
func two(t *testing.T, s *imtest.Server, user string) (*device, *device) {
	phone := config(t, s, user)
	phone.Platform = im.Platform_PLATFORM_ANDROID
	return dial(t, config(t, s, user)), dial(t, phone)
}

// untilConv waits until the last event of a conversation satisfies cond.
func (d *device) untilConv(what string, cond func(event) bool) event {
	d.t.Helper()
	var found event
	d.until(d.t, what, func(es []event) bool {
		for i := len(es) - 1; i >= 0; i-- {
			switch es[i].kind {
			case "add", "upd", "del":
				found = es[i]
				return cond(found)
			}
		}
		return false
	})
	return found
}

// Pins and receive options reach all devices of the user; a muted conversation leaves the total.
func TestPinAndMute(t *testing.T) {
	s := imtest.Start(t)
	bob, phone := two(t, s, "bob")
	alice := dial(t, config(t, s, "alice"))
	alice.say("bob", "one")
	for _, d := range []*device{bob, phone} {
		d.until(t, "total", func(es []event) bool { e, _ := last(es, "total"); return e.n == 1 })
	}
	from := client.C2C("alice")
	if err := bob.PinConversation(within(t), from, true); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{bob, phone} {
		e := d.untilConv("pinned", func(e event) bool { return e.info.IsPinned })
		if e.info.ActiveTime < 1<<62 {
			t.Fatalf("%v", e.info)
		}
	}
	if err := phone.SetRecvOpt(within(t), []client.Conv{from}, 2); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{bob, phone} {
		d.until(t, "total", func(es []event) bool { e, _ := last(es, "total"); return e.n == 0 })
		if e := d.untilConv("muted", func(e event) bool { return e.info.RecvOpt == 2 }); e.n != 1 {
			t.Fatalf("unread of a muted conversation: %v", e)
		}
	}
	opts, err := bob.RecvOpts(within(t), []string{"alice", "nobody"})
	if err != nil || len(opts) != 2 || opts[0].Opt != 2 || opts[1].Opt != 0 {
		t.Fatalf("%v %v", opts, err)
	}
	wantCode(t, bob.SetRecvOpt(within(t), []client.Conv{from}, 9), im.CodeInvalidParameters)
	// Before a conversation exists, and without making one that is listed.
	dial(t, config(t, s, "carl"))
	if err := bob.SetRecvOpt(within(t), []client.Conv{client.C2C("carl")}, 1); err != nil {
		t.Fatal(err)
	}
	if convs, err := bob.Conversations(within(t)); err != nil || len(convs) != 1 {
		t.Fatalf("%v %v", convs, err)
	}
}

// A conversation that was deleted is listed again when it is created.
func TestCreateAfterDelete(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	dial(t, config(t, s, "alice")).say("bob", "one")
	bob.until(t, "total", func(es []event) bool { e, _ := last(es, "total"); return e.n == 1 })
	key := client.C2C("alice")
	if err := bob.DeleteConversation(within(t), key); err != nil {
		t.Fatal(err)
	}
	bob.count(t, "del", 1)
	if info, err := bob.CreateConversation(within(t), key); err != nil || info == nil {
		t.Fatalf("%v %v", info, err)
	}
	if convs, err := bob.Conversations(within(t)); err != nil || len(convs) != 1 {
		t.Errorf("%v %v", convs, err)
	}
}

// Deleting a conversation removes it and its messages from all devices; the next message brings it back without the old ones.
func TestDeleteConversation(t *testing.T) {
	s := imtest.Start(t)
	bob, phone := two(t, s, "bob")
	alice := dial(t, config(t, s, "alice"))
	for i := range 3 {
		alice.say("bob", fmt.Sprint(i))
	}
	for _, d := range []*device{bob, phone} {
		d.until(t, "total", func(es []event) bool { e, _ := last(es, "total"); return e.n == 3 })
	}
	from := client.C2C("alice")
	if err := bob.DeleteConversation(within(t), from); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{bob, phone} {
		d.count(t, "del", 1)
		d.until(t, "total", func(es []event) bool { e, _ := last(es, "total"); return e.n == 0 })
		if convs, err := d.Conversations(within(t)); err != nil || len(convs) != 0 {
			t.Fatalf("%v %v", convs, err)
		}
	}
	alice.say("bob", "back")
	for _, d := range []*device{bob, phone} {
		d.until(t, "total", func(es []event) bool { e, _ := last(es, "total"); return e.n == 1 })
		d.count(t, "add", 2)
		ms, err := d.Messages(within(t), from, nil)
		if err != nil || len(ms) != 1 || text(ms[0]) != "back" {
			t.Fatalf("%v %v", ms, err)
		}
	}
	// The other side keeps everything.
	if ms, err := alice.Messages(within(t), bobs, nil); err != nil || len(ms) != 4 {
		t.Fatalf("%v %v", ms, err)
	}
	third := config(t, s, "bob")
	third.Platform = im.Platform_PLATFORM_PAD
	pad := dial(t, third)
	if ms, err := pad.Messages(within(t), from, nil); err != nil || len(ms) != 1 {
		t.Fatalf("%v %v", ms, err)
	}
}

// Clearing the history keeps the conversation.
func TestClearHistory(t *testing.T) {
	s := imtest.Start(t)
	bob, phone := two(t, s, "bob")
	alice := dial(t, config(t, s, "alice"))
	alice.say("bob", "one")
	for _, d := range []*device{bob, phone} {
		d.count(t, "new", 1)
	}
	from := client.C2C("alice")
	if err := bob.ClearHistory(within(t), from); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{bob, phone} {
		d.untilConv("cleared", func(e event) bool { return e.kind == "upd" && !e.info.IsHasLastmsg && e.n == 0 })
		if ms, err := d.Messages(within(t), from, nil); err != nil || len(ms) != 0 {
			t.Fatalf("%v %v", ms, err)
		}
		if convs, err := d.Conversations(within(t)); err != nil || len(convs) != 1 {
			t.Fatalf("%v %v", convs, err)
		}
		if n := len(d.of("del")); n != 0 {
			t.Fatal("the conversation was deleted")
		}
	}
}

// Deleted messages are gone for the user who deleted them, permanently; the user's other device keeps what it has.
func TestDeleteMessages(t *testing.T) {
	s := imtest.Start(t)
	bob, phone := two(t, s, "bob")
	alice := dial(t, config(t, s, "alice"))
	var ms []*im.Message
	for i := range 4 {
		ms = append(ms, alice.say("bob", fmt.Sprint(i)))
	}
	bob.count(t, "new", 4)
	phone.count(t, "new", 4)
	from := client.C2C("alice")
	if err := bob.DeleteMessages(within(t), from, []*im.Message{bob.of("new")[3].msg, bob.of("new")[1].msg}); err != nil {
		t.Fatal(err)
	}
	if e := bob.untilConv("last message", func(e event) bool { return e.text == "2" }); e.n != 4 {
		t.Fatalf("unread changed: %v", e)
	}
	listing := func(d *device) string {
		t.Helper()
		got, err := d.Messages(within(t), from, nil)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, m := range got {
			out = append(out, text(m))
		}
		return fmt.Sprint(out)
	}
	if got := listing(bob); got != "[2 0]" {
		t.Fatalf("after deleting: %s", got)
	}
	third := config(t, s, "bob")
	third.Platform = im.Platform_PLATFORM_PAD
	pad := dial(t, third)
	if got := listing(pad); got != "[2 0]" {
		t.Fatalf("on a fresh device: %s", got)
	}
	if err := phone.DeleteLocalMessages(within(t), from, []*im.Message{phone.of("new")[0].msg}); err != nil {
		t.Fatal(err)
	}
	if got := listing(phone); got != "[3 2 1]" {
		t.Fatalf("on the other device: %s", got)
	}
	if got := listing(alice); got != "[]" {
		_ = ms
		t.Fatalf("alice has no conversation with herself: %s", got)
	}
	if got, err := alice.Messages(within(t), bobs, nil); err != nil || len(got) != 4 {
		t.Fatalf("%v %v", got, err)
	}
}

// A modification reaches every device once, the caller's after its result; one that is late is a conflict and returns the newest.
func TestModify(t *testing.T) {
	s := imtest.Start(t)
	bob, phone := two(t, s, "bob")
	alice := dial(t, config(t, s, "alice"))
	sent := alice.say("bob", "draft")
	for _, d := range []*device{bob, phone} {
		d.count(t, "new", 1)
	}
	mine := textMessage("final")
	mine.MsgId, mine.Version = sent.MsgId, sent.Version
	alice.ModifyMessageFunc(bobs, mine, func(m *im.Message, err error) {
		alice.add(event{kind: "done", text: fmt.Sprint(text(m), " ", err), n: int(m.GetVersion())})
	})
	for _, d := range []*device{alice, bob, phone} {
		es := d.count(t, "update", 1)
		if es[0].text != "final" || es[0].seq != sent.Seq || es[0].msg.MsgId != sent.MsgId {
			t.Fatalf("%v", es)
		}
	}
	if es := alice.of("done", "update"); es[0].kind != "done" || es[0].text != "final <nil>" || es[0].n != 1 {
		t.Fatalf("%v", list(es))
	}
	// Bob changes it with an old version.
	late := textMessage("late")
	late.MsgId, late.Version = sent.MsgId, 0
	m, err := bob.ModifyMessage(within(t), client.C2C("alice"), late)
	wantCode(t, err, im.CodeModifyConflict)
	if text(m) != "final" || m.Version != 1 {
		t.Fatalf("%v", m)
	}
	// With the new one he may; a device that was away is notified of it once.
	phone.Close()
	late.Version = 1
	if _, err := bob.ModifyMessage(within(t), client.C2C("alice"), late); err != nil {
		t.Fatal(err)
	}
	alice.count(t, "update", 2)
	phone = dial(t, phone.cfg)
	if es := phone.count(t, "update", 1); es[0].text != "late" || es[0].msg.Version != 2 {
		t.Fatalf("%v", es)
	}
	ms, err := phone.Messages(within(t), client.C2C("alice"), nil)
	if err != nil || len(ms) != 1 || text(ms[0]) != "late" {
		t.Fatalf("%v %v", ms, err)
	}
}

// A modification of a message that a device first sees modified does not fire (rule 16).
func TestModifiedBeforeSeen(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	alice := dial(t, config(t, s, "alice"))
	alice.say("bob", "known")
	bob.count(t, "new", 1)
	bob.Close()
	sent := alice.say("bob", "first")
	m := textMessage("second")
	m.MsgId = sent.MsgId
	if _, err := alice.ModifyMessage(within(t), bobs, m); err != nil {
		t.Fatal(err)
	}
	bob = dial(t, bob.cfg)
	if es := bob.count(t, "new", 1); es[0].text != "second" {
		t.Fatalf("%v", es)
	}
	if es := bob.of("update"); len(es) != 0 {
		t.Fatalf("%v", es)
	}
}

// However often a message is modified, a device that was away is notified once, with its present content. A large one is fetched and not pushed: a
// connected device is notified less often than it was modified, in order, and in any case of the last time.
func TestManyModifications(t *testing.T) {
	s := imtest.Start(t)
	bob, phone := two(t, s, "bob")
	alice := dial(t, config(t, s, "alice"))
	small := alice.say("bob", "small")
	merged := &im.MergerElem{Title: "Chat", CompatibleText: "[merged]"}
	for range 50 {
		merged.MessageArray = append(merged.MessageArray, textMessage(strings.Repeat("x", 1000)))
	}
	large, err := alice.SendMessage(within(t), bobs, &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: merged}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{bob, phone} {
		d.count(t, "new", 2)
		d.settled()
	}
	phone.Close()
	const times = 20
	for range times {
		for _, m := range []**im.Message{&small, &large} {
			(*m).CloudCustomStr = fmt.Sprint("v", (*m).Version+1)
			if *m, err = alice.ModifyMessage(within(t), bobs, *m); err != nil {
				t.Fatal(err)
			}
		}
	}
	seen := func(es []event, seq uint64) (versions []uint64) {
		for _, e := range es {
			if e.kind == "update" && e.seq == seq {
				versions = append(versions, e.msg.Version)
				if e.msg.CloudCustomStr != fmt.Sprint("v", e.msg.Version) || len(e.msg.ElemArray) != 1 {
					t.Errorf("version %d is %q with %d elements", e.msg.Version, e.msg.CloudCustomStr, len(e.msg.ElemArray))
				}
			}
		}
		return versions
	}
	bob.until(t, "the last version of both", func(es []event) bool {
		a, b := seen(es, small.Seq), seen(es, large.Seq)
		return len(a) > 0 && len(b) > 0 && a[len(a)-1] == times && b[len(b)-1] == times
	})
	for _, seq := range []uint64{small.Seq, large.Seq} {
		if vs := seen(bob.all(), seq); !slices.IsSorted(vs) || len(slices.Compact(vs)) != len(seen(bob.all(), seq)) {
			t.Errorf("updates of %d with versions %v", seq, vs)
		}
	}
	phone = dial(t, phone.cfg)
	phone.count(t, "update", 2)
	phone.settled()
	if es := phone.of("update"); fmt.Sprint(seen(es, small.Seq), seen(es, large.Seq)) != fmt.Sprintf("[%d] [%d]", times, times) {
		t.Errorf("who was away hears of\n%s", list(es))
	}
	if inner, err := phone.MergedMessages(phone.of("update")[1].msg); err != nil || len(inner) != 50 {
		t.Errorf("%d merged messages, %v", len(inner), err)
	}
}

// Numbers that no message can have are found nowhere. They come from message ids and locators, from anywhere: the device is not affected.
func TestNumbersBeyondAll(t *testing.T) {
	s := imtest.Start(t)
	dial(t, config(t, s, "bob"))
	alice := dial(t, config(t, s, "alice"))
	m := alice.say("bob", "one")
	alice.settled()
	before := len(alice.of("net"))
	const most = math.MaxUint64
	id := fmt.Sprintf("%d-%d-%d", uint64(most), uint64(most), uint32(math.MaxUint32))
	if ms, err := alice.FindMessages(within(t), []string{id, m.MsgId}); err != nil || len(ms) != 1 {
		t.Errorf("%v, %v", ms, err)
	}
	if ms, err := alice.FindByLocators(within(t), bobs, []*im.MsgLocator{{Seq: most, Rand: most, Time: most}}); err != nil || len(ms) != 0 {
		t.Errorf("%v, %v", ms, err)
	}
	far := &im.Message{ConvId: "bob", ConvType: im.ConvType_CONV_TYPE_C2C, Seq: most, Rand: most, ServerTime: most, Version: most, ElemArray: textMessage("x").ElemArray}
	_, err := alice.ModifyMessage(within(t), bobs, far)
	wantCode(t, err, im.CodeInvalidParameters)
	wantCode(t, alice.Revoke(within(t), bobs, far, ""), im.CodeInvalidParameters)
	wantCode(t, alice.DeleteMessages(within(t), bobs, []*im.Message{far}), im.CodeInvalidParameters)
	wantCode(t, alice.ImportMessages(within(t), bobs, []*im.Message{far}), im.CodeInvalidParameters)
	for _, p := range []*im.GetMsgListParam{{LastMsgSeq: most}, {LastMsg: far}, {LastMsgSeq: most, IsForward: true}, {SeqArray: []uint64{most}}, {TimeBegin: most, TimePeriod: most}} {
		p.Count = 10
		if ms, err := alice.Messages(within(t), bobs, p); err == nil && len(ms) > 1 {
			t.Errorf("%v lists %v", p, ms)
		} else if err != nil {
			wantCode(t, err, im.CodeInvalidParameters)
		}
	}
	wantCode(t, alice.Revoke(within(t), bobs, m, strings.Repeat("x", 1025)), im.CodeInvalidParameters)
	alice.settled()
	if es := alice.of("net"); len(es) != before {
		t.Errorf("the connection was made anew:\n%s", list(es[before:]))
	}
}

// A message that is excluded from the last message is announced and listed as any other; the conversation keeps its last message and its place, even
// on a fresh device.
func TestExcludedFromLastMessage(t *testing.T) {
	s := imtest.Start(t)
	alice, carol := dial(t, config(t, s, "alice")), dial(t, config(t, s, "carol"))
	bob := dial(t, config(t, s, "bob"))
	quiet := func() *im.Message {
		m := textMessage("quiet")
		m.ExcludedFromLastMessage = true
		return m
	}
	first := alice.say("bob", "first")
	carol.say("bob", "later")
	for range 3 {
		if _, err := alice.SendMessage(within(t), client.C2C("bob"), quiet()); err != nil {
			t.Fatal(err)
		}
	}
	bob.count(t, "new", 5)
	phone := config(t, s, "bob")
	phone.Platform = im.Platform_PLATFORM_PAD
	for name, d := range map[string]*device{"the device": bob, "a fresh device": dial(t, phone)} {
		list, err := d.Conversations(within(t))
		if err != nil || len(list) != 2 || list[0].Id != "carol" || list[1].Id != "alice" {
			t.Fatalf("%s: %v %v", name, list, err)
		}
		if c := list[1]; c.LastMsg.GetMsgId() != first.MsgId || c.ActiveTime != first.ServerTime || c.UnreadNum != 4 {
			t.Errorf("%s: last message %v at %d, %d unread", name, c.LastMsg, c.ActiveTime, c.UnreadNum)
		}
		ms, err := d.Messages(within(t), client.C2C("alice"), nil)
		if err != nil || len(ms) != 4 || !ms[0].ExcludedFromLastMessage {
			t.Errorf("%s: %v %v", name, ms, err)
		}
	}
	// The sender's own list too, and a conversation that has nothing else has no last message.
	if _, err := alice.SendMessage(within(t), client.C2C("carol"), quiet()); err != nil {
		t.Fatal(err)
	}
	carol.count(t, "new", 1)
	for name, d := range map[string]*device{"carol": alice, "alice": carol} {
		list, err := d.ConversationsByKey(within(t), []client.Conv{client.C2C(name)})
		if err != nil || len(list) != 1 || list[0].IsHasLastmsg {
			t.Errorf("with %s: %v %v", name, list, err)
		}
	}
}

// Messages that an older version has kept are excluded as well.
func TestExcludedInAnOldDatabase(t *testing.T) {
	s := imtest.Start(t)
	alice, bob := dial(t, config(t, s, "alice")), dial(t, config(t, s, "bob"))
	alice.say("bob", "first")
	m := textMessage("quiet")
	m.ExcludedFromLastMessage = true
	for range 2 {
		if _, err := alice.SendMessage(within(t), client.C2C("bob"), m); err != nil {
			t.Fatal(err)
		}
	}
	bob.count(t, "new", 3)
	bob.Close()
	db, err := sql.Open("sqlite3", databases(t, bob.cfg.Dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`DROP TABLE person; DROP TABLE relation; DROP TABLE relation_whole; DROP TABLE group_info; DROP TABLE member; ALTER TABLE conv DROP COLUMN membership;
		ALTER TABLE conv DROP COLUMN attr_told; ALTER TABLE message DROP COLUMN aside; PRAGMA user_version = 2`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	list, err := open(t, bob.cfg).Conversations(within(t))
	if err != nil || len(list) != 1 || text(list[0].LastMsg) != "first" {
		t.Fatalf("%v %v", list, err)
	}
}

// What the history fetches is gone if it was cleared, on another device, while it was under way.
func TestClearingDuringHistory(t *testing.T) {
	for name, p := range map[string]*im.GetMsgListParam{"a page": {}, "numbers": {SeqArray: []uint64{1, 2}}} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
				h := benHead(3)
				h.ReadSeq, h.ReadOthers = 3, 3
				l.reply(fr, &im.HeadsReply{Cursor: 1, Heads: []*im.Head{h}})
			})
			cleared := false
			f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
				req := &im.PullRequest{}
				req.UnmarshalVT(fr.Body)
				if req.From <= 2 && !cleared {
					cleared = true
					h := benHead(3)
					h.Row, h.ClearedSeq, h.ReadSeq, h.ReadOthers = 2, 3, 3, 3
					l.push(pushed{im.Method_HEAD, h})
				}
				reply := &im.PullReply{Epoch: 5, From: req.From, To: req.To}
				for seq := req.From; seq <= req.To; seq++ {
					reply.Entries = append(reply.Entries, fromBen(seq, "x"))
				}
				l.reply(fr, reply)
			})
			d := dial(t, fakeConfig(t, f))
			d.count(t, "new", 1)
			ms, err := d.Messages(within(t), client.C2C("ben"), p)
			if err != nil || len(ms) != 0 {
				t.Errorf("%v %v", ms, err)
			}
			list, err := d.Conversations(within(t))
			if err != nil || len(list) != 1 || list[0].IsHasLastmsg {
				t.Errorf("%v %v", list, err)
			}
		})
	}
}

// The list of conversations has one order, also where two are of the same time and name: a user and a group may have the same id.
func TestListHasOneOrder(t *testing.T) {
	s := imtest.Start(t)
	ann := dial(t, config(t, s, "ann"))
	keys := []client.Conv{client.C2C("a"), client.Group("a"), client.C2C("b"), client.Group("b")}
	for _, key := range keys {
		if _, err := ann.CreateConversation(within(t), key); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 { // each is in another random order before it is sorted
		list, err := ann.Conversations(within(t))
		if err != nil {
			t.Fatal(err)
		}
		var got []client.Conv
		for _, info := range list {
			got = append(got, client.Conv{Type: info.Type, ID: info.Id})
		}
		if !slices.Equal(got, keys) {
			t.Fatalf("listed as %v, want %v", got, keys)
		}
	}
}
