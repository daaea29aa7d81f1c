package client_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// kinds returns the kinds of events in order, without network events.
func kinds(es []event) []string {
	var out []string
	for _, e := range es {
		if e.kind != "net" {
			out = append(out, e.kind)
		}
	}
	return out
}

func wantKinds(t *testing.T, es []event, want ...string) {
	t.Helper()
	if got := fmt.Sprint(kinds(es)); got != fmt.Sprint(want) {
		t.Fatalf("fired %v, want %v\n%s", got, want, list(es))
	}
}

// A message fires once at the peer, in the order new message, conversation, total; at the sender its result and no new message; on the sender's other
// device as new (rules 18, 19, 31).
func TestLiveMessage(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	alice := dial(t, config(t, s, "alice"))
	phone := config(t, s, "alice")
	phone.Platform = im.Platform_PLATFORM_ANDROID
	other := dial(t, phone)
	before := len(bob.all())

	m := alice.say("bob", "hello")
	if m.Status != im.MessageStatus_MESSAGE_STATUS_SENT || m.Seq != 1 || !m.IsFromSelf || m.ServerTime == 0 || m.MsgId == "" {
		t.Fatalf("sent message: %v", m)
	}
	es := bob.until(t, "total", func(es []event) bool { e, ok := last(es, "total"); return ok && e.n == 1 })[before:]
	wantKinds(t, es, "new", "add", "total")
	got := es[0].msg
	if got.Sender != "alice" || text(got) != "hello" || got.IsFromSelf || got.MsgId != m.MsgId || got.UniqueId != m.UniqueId || got.ConvId != "alice" || got.IsRead {
		t.Fatalf("received message: %v\nsent: %v", got, m)
	}
	if es[1].info.UnreadNum != 1 || text(es[1].info.LastMsg) != "hello" {
		t.Fatalf("conversation: %v", es[1].info)
	}
	e := other.count(t, "new", 1)[0]
	if !e.msg.IsFromSelf || e.conv != "bob" || e.msg.MsgId != m.MsgId {
		t.Fatalf("on the other device: %v", e.msg)
	}
	alice.until(t, "conversation", func(es []event) bool { _, ok := last(es, "add"); return ok })
	if n := len(alice.of("new", "total")); n != 0 {
		t.Fatalf("the sender heard:\n%s", list(alice.all()))
	}

	alice.say("bob", "again")
	es = bob.until(t, "total 2", func(es []event) bool { e, _ := last(es, "total"); return e.n == 2 })[before+3:]
	wantKinds(t, es, "new", "upd", "total")
}

// The calls of one goroutine are sent in their order, and each is answered once.
func TestOrderOfCalls(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	alice := dial(t, config(t, s, "alice"))
	const n = 500
	for i := range n {
		if _, err := alice.SendMessageFunc(client.C2C("bob"), textMessage(fmt.Sprint(i)), func(m *im.Message, err error) {
			if err != nil {
				alice.add(event{kind: "failed", text: err.Error()})
			}
			alice.add(event{kind: "done", text: text(m), seq: m.Seq})
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i, e := range alice.count(t, "done", n) {
		if e.text != fmt.Sprint(i) || e.seq != uint64(i+1) {
			t.Fatalf("answer %d is %v", i, e)
		}
	}
	for i, e := range bob.count(t, "new", n) {
		if e.text != fmt.Sprint(i) || e.seq != uint64(i+1) {
			t.Fatalf("message %d is %v", i, e)
		}
	}
}

// Reading lowers the unread number to what is left, on all of the reader's devices, and the peer gets one receipt (rules 6, 7, 31).
func TestReadAndReceipt(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	phone := config(t, s, "bob")
	phone.Platform = im.Platform_PLATFORM_IOS
	bobPhone := dial(t, phone)
	alice := dial(t, config(t, s, "alice"))
	var ms []*im.Message
	for i := range 5 {
		ms = append(ms, alice.say("bob", fmt.Sprint(i)))
	}
	for _, d := range []*device{bob, bobPhone} {
		d.until(t, "total 5", func(es []event) bool { e, _ := last(es, "total"); return e.n == 5 })
	}
	if err := bob.MarkRead(within(t), client.C2C("alice"), ms[2]); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{bob, bobPhone} {
		d.until(t, "total 2", func(es []event) bool { e, _ := last(es, "total"); return e.n == 2 })
		if e, _ := last(d.all(), "upd"); e.n != 2 {
			t.Fatalf("conversation after reading: %v", e)
		}
	}
	alice.count(t, "receipt", 1)
	if err := bob.MarkAllRead(within(t)); err != nil {
		t.Fatal(err)
	}
	bobPhone.until(t, "total 0", func(es []event) bool { e, _ := last(es, "total"); return e.n == 0 })
	alice.count(t, "receipt", 2)
	convs, err := alice.Conversations(within(t))
	if err != nil || len(convs) != 1 || !convs[0].LastMsg.IsPeerRead {
		t.Fatalf("sender's conversation: %v %v", convs, err)
	}
	// Reading again changes nothing, so nothing fires anywhere.
	before := len(alice.all())
	if err := bob.MarkRead(within(t), client.C2C("alice"), nil); err != nil {
		t.Fatal(err)
	}
	alice.say("bob", "mark")
	alice.until(t, "conversation", func(es []event) bool { e, _ := last(es, "upd"); return e.text == "mark" })
	for _, e := range alice.all()[before:] {
		if e.kind != "upd" || e.text != "mark" {
			t.Fatalf("fired for nothing: %v", e)
		}
	}
}

// A recall fires once on every device of both users, including the caller's, where it comes after the result; the unread number falls.
func TestRevoke(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	alice := dial(t, config(t, s, "alice"))
	alice.say("bob", "stays")
	m := alice.say("bob", "goes")
	bob.until(t, "total 2", func(es []event) bool { e, _ := last(es, "total"); return e.n == 2 })
	alice.RevokeFunc(client.C2C("bob"), m, "typo", func(err error) { alice.add(event{kind: "done", text: fmt.Sprint(err)}) })
	es := alice.until(t, "revoke", func(es []event) bool { _, ok := last(es, "revoke"); return ok })
	done, _ := last(es, "done")
	if done.text != "<nil>" {
		t.Fatalf("recall: %v", done)
	}
	for i, e := range es {
		if e.kind == "revoke" {
			break
		}
		if i == len(es)-1 || e.kind == "done" {
			break
		}
	}
	var order []string
	for _, e := range es {
		if e.kind == "done" || e.kind == "revoke" {
			order = append(order, e.kind)
		}
	}
	if fmt.Sprint(order) != "[done revoke]" {
		t.Fatalf("order at the caller: %v", order)
	}
	bob.until(t, "total 1", func(es []event) bool { e, _ := last(es, "total"); return e.n == 1 })
	r := bob.count(t, "revoke", 1)[0]
	if r.seq != m.Seq || r.text != "alice" {
		t.Fatalf("recall at the peer: %v", r)
	}
	ms, err := bob.Messages(within(t), client.C2C("alice"), nil)
	if err != nil || len(ms) != 2 || ms[0].Status != im.MessageStatus_MESSAGE_STATUS_REVOKED || ms[0].RevokerUserId != "alice" {
		t.Fatalf("history: %v %v", ms, err)
	}
	if err := alice.Revoke(within(t), client.C2C("bob"), &im.Message{ConvId: "bob", ConvType: im.ConvType_CONV_TYPE_C2C, Seq: 99}, ""); err == nil {
		t.Fatal("a message that is not there was recalled")
	}
}

// Receipts are limited to one per period, and the last one is not forgotten (rule 22).
func TestReceiptsAreGathered(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	cfg := config(t, s, "alice")
	cfg.Limits.Receipts = 300 * time.Millisecond
	alice := dial(t, cfg)
	start := time.Now()
	const n = 40
	for i := range n {
		m := alice.say("bob", fmt.Sprint(i))
		bob.count(t, "new", i+1)
		if err := bob.MarkRead(within(t), client.C2C("alice"), bob.of("new")[i].msg); err != nil {
			t.Fatal(err, m)
		}
	}
	alice.until(t, "the last one is read", func(es []event) bool {
		e, ok := last(es, "upd")
		return ok && e.text == fmt.Sprint(n-1) && e.info.LastMsg.IsPeerRead
	})
	m := alice.say("bob", "and now")
	bob.count(t, "new", n+1)
	if err := bob.MarkRead(within(t), client.C2C("alice"), nil); err != nil {
		t.Fatal(err)
	}
	alice.until(t, "the last receipt", func(es []event) bool {
		e, ok := last(es, "receipt")
		return ok && e.seq >= m.ServerTime && len(alice.of("receipt")) >= 2
	})
	took := time.Since(start)
	if got, most := len(alice.of("receipt")), int(took/cfg.Limits.Receipts)+2; got > most {
		t.Fatalf("%d receipts in %v", got, took)
	}
}

func wantCode(t *testing.T, err error, code int32) {
	t.Helper()
	if im.CodeOf(err) != code {
		t.Fatalf("error %v, want code %d", err, code)
	}
}

func TestRefusals(t *testing.T) {
	s := imtest.Start(t)
	alice := dial(t, config(t, s, "alice"))
	m, err := alice.SendMessage(within(t), client.C2C("nobody"), textMessage("x"))
	wantCode(t, err, im.CodeUnknownReceiver)
	if m == nil || m.Status != im.MessageStatus_MESSAGE_STATUS_FAILED {
		t.Fatalf("failed message: %v", m)
	}
	_, err = alice.SendMessage(within(t), client.C2C(""), textMessage("x"))
	wantCode(t, err, im.CodeInvalidParameters)
	_, err = alice.SendMessage(within(t), client.C2C("bob"), &im.Message{})
	wantCode(t, err, im.CodeInvalidParameters)
	_, err = alice.SendMessage(within(t), client.C2C("bob"), textMessage(string(make([]byte, 13<<10))))
	wantCode(t, err, im.CodeBodySize)
	// Refused here, so it is stored nowhere.
	for _, bad := range []*im.Message{im.Location("nowhere", math.NaN(), 0), im.Location("everywhere", 0, math.Inf(1)), textMessage("\xff"), im.Custom("", "", "\xff"),
		{ElemArray: slices.Repeat(textMessage("x").ElemArray, 101)}} {
		if m, err = alice.SendMessage(within(t), client.C2C("nobody"), bad); m != nil {
			t.Errorf("%v is kept", m)
		}
		wantCode(t, err, im.CodeInvalidParameters)
		_, err = alice.ModifyMessage(within(t), client.C2C("nobody"), bad)
		wantCode(t, err, im.CodeInvalidParameters)
	}
	// The failed one is in the history; with oneself nothing is ever unread.
	ms, err := alice.Messages(within(t), client.C2C("nobody"), nil)
	if err != nil || len(ms) != 1 || ms[0].Status != im.MessageStatus_MESSAGE_STATUS_FAILED {
		t.Fatalf("history: %v %v", ms, err)
	}
	alice.say("alice", "note")
	if n, err := alice.TotalUnread(within(t)); err != nil || n != 0 {
		t.Fatalf("unread of a note to myself: %d %v", n, err)
	}
	if n := len(alice.of("new")); n != 0 {
		t.Fatalf("a note to myself fired:\n%s", list(alice.all()))
	}
}
