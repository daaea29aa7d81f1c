package client_test

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

var bobs = client.C2C("bob")

// A database of the first schema is migrated and keeps everything.
func TestOldDatabase(t *testing.T) {
	s := imtest.Start(t)
	cfg := config(t, s, "bob")
	dir := filepath.Join(cfg.Dir, "users")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile("testdata/v1.db")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "626f62.db"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	d := open(t, cfg)
	d.Trust()
	ms, err := d.Messages(within(t), client.C2C("alice"), nil)
	if err != nil || len(ms) != 6 || text(ms[0]) != "mine" || text(ms[5]) != "old 0" {
		t.Fatalf("%v %v", ms, err)
	}
	convs, err := d.Conversations(within(t))
	if err != nil || len(convs) != 1 || convs[0].UnreadNum != 2 {
		t.Fatalf("%v %v", convs, err)
	}
	r, err := d.Search(within(t), &im.SearchParam{KeywordArray: []string{"LD 3"}})
	if err != nil || r.TotalCount != 1 || text(r.ItemArray[0].MessageArray[0]) != "old 3" {
		t.Fatalf("%v %v", r, err)
	}
}

// TestUpgradedDevice: a device's folder of commit d96abb9, before there were relations, keeps its messages; the new client loads relations into it.
func TestUpgradedDevice(t *testing.T) {
	s := imtest.Start(t)
	cfg := config(t, s, "bob")
	dir := filepath.Join(cfg.Dir, "users")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile("testdata/d96abb9.db")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "626f62.db"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	d := open(t, cfg)
	d.Trust()
	kept := func() {
		t.Helper()
		ms, err := d.Messages(within(t), client.C2C("alice"), nil)
		if err != nil || len(ms) != 6 || text(ms[0]) != "from bob" || text(ms[5]) != "from alice 0" || ms[1].Status != im.MessageStatus_MESSAGE_STATUS_REVOKED {
			t.Fatalf("%v %v", ms, err)
		}
	}
	kept()
	friends, err := d.Friends().List(within(t))
	if err != nil || len(friends) != 0 {
		t.Fatalf("%v %v", friends, err)
	}
	alice := dial(t, config(t, s, "alice"))
	s.Dial("bob", client.Events{}).Close()
	if r, err := alice.Friends().Add(within(t), &im.AddFriendRequest{UserId: "bob", Both: true}); err != nil || r.Code != 0 {
		t.Fatalf("%v %v", r, err)
	}
	d.login()
	friends, err = d.Friends().List(within(t))
	if err != nil || len(friends) != 1 || friends[0].Identifier != "alice" {
		t.Fatalf("%v %v", friends, err)
	}
	kept()
}

// Saved and imported messages are only in the local history, at their times.
func TestSaveAndImport(t *testing.T) {
	s := imtest.Start(t)
	dial(t, config(t, s, "bob"))
	alice := dial(t, config(t, s, "alice"))
	sent := alice.say("bob", "sent")
	saved, err := alice.SaveMessage(within(t), bobs, textMessage("saved"))
	if err != nil || saved.Status != im.MessageStatus_MESSAGE_STATUS_SENT || !saved.IsFromSelf || saved.MsgId == "" {
		t.Fatalf("%v %v", saved, err)
	}
	old := textMessage("imported")
	old.Sender, old.ServerTime, old.ClientTime, old.Rand = "bob", sent.ServerTime-1000, sent.ServerTime-1000, 77
	if err := alice.ImportMessages(within(t), bobs, []*im.Message{old}); err != nil {
		t.Fatal(err)
	}
	ms, err := alice.Messages(within(t), bobs, nil)
	if err != nil || len(ms) != 3 || text(ms[0]) != "saved" || text(ms[1]) != "sent" || text(ms[2]) != "imported" {
		t.Fatalf("%v %v", ms, err)
	}
	if m := ms[2]; m.Status != im.MessageStatus_MESSAGE_STATUS_IMPORTED || m.Sender != "bob" || m.ServerTime != old.ServerTime {
		t.Fatalf("imported: %v", m)
	}
	// Another message is in its place after both.
	alice.say("bob", "next")
	ms, err = alice.Messages(within(t), bobs, nil)
	if err != nil || len(ms) != 4 || text(ms[0]) != "next" || text(ms[1]) != "saved" {
		t.Fatalf("%v %v", ms, err)
	}
	found, err := alice.FindMessages(within(t), []string{saved.MsgId, "1-2-3", sent.MsgId})
	if err != nil || len(found) != 2 || text(found[0]) != "saved" || text(found[1]) != "sent" {
		t.Fatalf("%v %v", found, err)
	}
	found, err = alice.FindByLocators(within(t), bobs, []*im.MsgLocator{
		{Time: sent.ServerTime, Seq: sent.Seq, Rand: sent.Rand, IsSelf: true}, {Time: sent.ServerTime, Seq: sent.Seq, Rand: sent.Rand + 1, IsSelf: true}})
	if err != nil || len(found) != 1 || text(found[0]) != "sent" {
		t.Fatalf("%v %v", found, err)
	}
	sent.CustomInt, sent.CustomStr = 7, "mine"
	if err := alice.SetLocalCustomData(within(t), sent); err != nil {
		t.Fatal(err)
	}
	alice = alice.again()
	found, err = alice.FindMessages(within(t), []string{sent.MsgId})
	if err != nil || len(found) != 1 || found[0].CustomInt != 7 || found[0].CustomStr != "mine" {
		t.Fatalf("%v %v", found, err)
	}
}

// A draft stays on the device, moves the conversation and survives a restart.
func TestDraft(t *testing.T) {
	s := imtest.Start(t)
	alice := dial(t, config(t, s, "alice"))
	if err := alice.SetDraft(bobs, &im.Draft{Msg: textMessage("not yet"), UserDefine: "x"}); err != nil {
		t.Fatal(err)
	}
	es := alice.until(t, "conversation", func(es []event) bool { _, ok := last(es, "add"); return ok })
	if e, _ := last(es, "add"); !e.info.IsHasDraft || text(e.info.Draft.Msg) != "not yet" || e.info.Draft.EditTime == 0 {
		t.Fatalf("%v", e.info)
	}
	alice = alice.again()
	convs, err := alice.ConversationsByKey(within(t), []client.Conv{bobs})
	if err != nil || len(convs) != 1 || convs[0].Draft.GetUserDefine() != "x" {
		t.Fatalf("%v %v", convs, err)
	}
	if err := alice.SetDraft(bobs, nil); err != nil {
		t.Fatal(err)
	}
	es = alice.until(t, "conversation", func(es []event) bool { _, ok := last(es, "upd"); return ok })
	if e, _ := last(es, "upd"); e.info.IsHasDraft {
		t.Fatalf("%v", e.info)
	}
}

// The search finds parts of words in any script, in what is on the device, by sender, kind, conversation and page.
func TestSearch(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	dial(t, config(t, s, "carl"))
	alice := dial(t, config(t, s, "alice"))
	for _, x := range []string{"Good morning, Bob", "今天天气很好", "good night", "GOODNESS", "10% off"} {
		alice.say("bob", x)
	}
	alice.say("carl", "good to see you")
	bob.say("alice", "good as well")
	alice.count(t, "new", 1)
	search := func(p *im.SearchParam) *im.SearchResult {
		t.Helper()
		r, err := alice.Search(within(t), p)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	in := func(words ...string) *im.SearchParam {
		return &im.SearchParam{KeywordArray: words, ConvType: im.ConvType_CONV_TYPE_C2C, ConvId: "bob"}
	}
	hits := func(r *im.SearchResult) string {
		out := []string{}
		for _, i := range r.ItemArray {
			for _, m := range i.MessageArray {
				out = append(out, text(m))
			}
		}
		return fmt.Sprint(out)
	}
	if r := search(in("good")); hits(r) != "[good as well GOODNESS good night Good morning, Bob]" || r.TotalCount != 4 {
		t.Fatalf("%v", r)
	}
	for word, want := range map[string]string{"天气": "[今天天气很好]", "气": "[今天天气很好]", "dnes": "[GOODNESS]", "ning, b": "[Good morning, Bob]", "0% o": "[10% off]", "nothing": "[]"} {
		if got := hits(search(in(word))); got != want {
			t.Errorf("%q found %s, want %s", word, got, want)
		}
	}
	p := in("good", "night")
	p.KeywordListMatchType = 1
	if got := hits(search(p)); got != "[good night]" {
		t.Fatalf("both keywords: %s", got)
	}
	p = in("good")
	p.PageSize, p.PageIndex = 2, 1
	if r := search(p); hits(r) != "[good night Good morning, Bob]" || r.TotalCount != 4 {
		t.Fatalf("second page: %v", r)
	}
	p = in("good")
	p.SendIdentifierArray = []string{"bob"}
	if got := hits(search(p)); got != "[good as well]" {
		t.Fatalf("by sender: %s", got)
	}
	p = in("good")
	p.MessageTypeArray = []int32{int32(im.ElemType_ELEM_TYPE_CUSTOM)}
	if got := hits(search(p)); got != "[]" {
		t.Fatalf("of another type: %s", got)
	}
	p.MessageTypeArray = append(p.MessageTypeArray, int32(im.ElemType_ELEM_TYPE_TEXT))
	if r := search(p); r.TotalCount != 4 {
		t.Fatalf("of two types: %v", r)
	}
	p = in("good")
	p.SearchTimePosition = 1_000_000_000 // before all
	if got := hits(search(p)); got != "[]" {
		t.Fatalf("before 2001: %s", got)
	}
	p.SearchTimePosition, p.SearchTimePeriod = 0, 24*3600 // back from now
	if r := search(p); r.TotalCount != 4 {
		t.Fatalf("of a day: %v", r)
	}
	r := search(&im.SearchParam{KeywordArray: []string{"good"}})
	if r.TotalCount != 2 || hits(r) != "[good to see you]" {
		t.Fatalf("everywhere: %v", r)
	}
	// What is deleted is not found, and what comes after it is.
	ms, err := alice.Messages(within(t), bobs, &im.GetMsgListParam{Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.DeleteLocalMessages(within(t), bobs, ms); err != nil {
		t.Fatal(err)
	}
	alice.say("bob", "good again")
	if got := hits(search(in("good a"))); got != "[good again]" {
		t.Fatalf("after a deletion: %s", got)
	}
	_, err = alice.Search(within(t), &im.SearchParam{})
	wantCode(t, err, im.CodeInvalidParameters)
}

// Letters are found whatever their case, form and width.
func TestSearchFolds(t *testing.T) {
	s := imtest.Start(t)
	d := dial(t, config(t, s, "ann"))
	for _, pair := range [][2]string{
		{"\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf\u03c2"}, // capitals and a final sigma
		{"Stra\u00dfe", "STRASSE"},
		{"cafe\u0301", "caf\u00e9"},
		{"\uff21\uff22\uff23", "abc"},                // full width
		{"\uff76\uff9e", "\u30ac"},                   // half width, with a mark of its own
		{"\u1e9e", "ss"},                             // capital sharp s
		{"\ufb01n", "fin"},                           // a ligature
		{"\u13a0\u13a1\u13f5", "\uab70\uab71\u13fd"}, // Cherokee
		{"\u0130stanbul", "i\u0307stanbul"},          // I with a dot
	} {
		for _, way := range [][2]string{pair, {pair[1], pair[0]}} {
			d.say("ann", "x"+way[0]+"y")
			r, err := d.Search(within(t), &im.SearchParam{KeywordArray: []string{way[1]}, ConvType: im.ConvType_CONV_TYPE_C2C, ConvId: "ann", PageSize: 1})
			if err != nil || len(r.ItemArray) != 1 || text(r.ItemArray[0].MessageArray[0]) != "x"+way[0]+"y" {
				t.Errorf("%q does not find %q: %v %v", way[1], way[0], r, err)
			}
		}
	}
}

// Texts that Unicode's full case folding makes equal are equal for the search, whatever else is.
func TestFoldIsFull(t *testing.T) {
	full := cases.Fold()
	for r := rune(0); r <= soak.Pick[rune](0x1ffff, unicode.MaxRune); r++ {
		if s := string(r); client.Fold(s) != client.Fold(full.String(s)) && utf8.ValidRune(r) {
			t.Errorf("%U %q is %q, and as Unicode folds it %q", r, s, client.Fold(s), client.Fold(full.String(s)))
		}
	}
}

// Whatever is searched for, and whatever number a call names, it is not a failure of the disk: nothing else that is open is affected.
func TestHugeParameters(t *testing.T) {
	s := imtest.Start(t)
	d := dial(t, config(t, s, "ann"))
	d.say("ann", "needle")
	var long strings.Builder
	for i := range 5000 {
		long.WriteRune(rune(0x4e00 + i))
	}
	links := len(d.of("net"))
	search := func(p *im.SearchParam, want int) {
		t.Helper()
		if r, err := d.Search(within(t), p); err != nil || len(r.ItemArray) != want {
			t.Errorf("%v %v, want %d", r, err, want)
		}
	}
	search(&im.SearchParam{KeywordArray: []string{long.String()}}, 0)
	search(&im.SearchParam{KeywordArray: []string{long.String(), strings.Repeat("needle", 5000), strings.Repeat("x", 1<<20), "\x00\"", "needle"}}, 1)
	search(&im.SearchParam{KeywordArray: []string{"needle"}, SearchTimePosition: math.MaxUint64, SearchTimePeriod: math.MaxUint64}, 1)
	search(&im.SearchParam{KeywordArray: []string{"needle"}, SearchTimePosition: math.MaxUint64 - 1}, 1)
	search(&im.SearchParam{KeywordArray: []string{"needle"}, PageIndex: math.MaxUint32, PageSize: math.MaxUint32}, 0)
	search(&im.SearchParam{KeywordArray: []string{"needle"}, SendIdentifierArray: make([]string, 100000)}, 0)

	huge := &im.Message{MsgId: "18446744073709551615-18446744073709551615-4294967295", Seq: math.MaxUint64, Rand: math.MaxUint64, ConvId: "ann", ConvType: im.ConvType_CONV_TYPE_C2C}
	self := client.C2C("ann")
	for what, call := range map[string]func() error{
		"find": func() error { _, err := d.FindMessages(within(t), []string{huge.MsgId}); return err },
		"locators": func() error {
			_, err := d.FindByLocators(within(t), self, []*im.MsgLocator{{Seq: math.MaxUint64, Rand: math.MaxUint64, Time: math.MaxUint64}})
			return err
		},
		"history": func() error {
			_, err := d.Messages(within(t), self, &im.GetMsgListParam{LastMsgSeq: math.MaxUint64})
			return err
		},
		"history forward": func() error {
			_, err := d.Messages(within(t), self, &im.GetMsgListParam{LastMsgSeq: math.MaxUint64, IsForward: true})
			return err
		},
		"history numbers": func() error {
			_, err := d.Messages(within(t), self, &im.GetMsgListParam{SeqArray: []uint64{math.MaxUint64}})
			return err
		},
		"history from": func() error { _, err := d.Messages(within(t), self, &im.GetMsgListParam{LastMsg: huge}); return err },
		"history from number": func() error {
			_, err := d.Messages(within(t), self, &im.GetMsgListParam{LastMsg: &im.Message{Seq: math.MaxUint64, ConvId: "ann", ConvType: 1}})
			return err
		},
		"read":   func() error { return d.MarkRead(within(t), self, huge) },
		"revoke": func() error { return d.Revoke(within(t), self, huge, "") },
		"delete": func() error { return d.DeleteMessages(within(t), self, []*im.Message{huge}) },
		"modify": func() error {
			m := textMessage("x")
			m.MsgId, m.Seq, m.Version = huge.MsgId, math.MaxUint64, math.MaxUint64
			_, err := d.ModifyMessage(within(t), self, m)
			return err
		},
		"local data": func() error { return d.SetLocalCustomData(within(t), huge) },
		"import": func() error {
			m := textMessage("x")
			m.ServerTime, m.ClientTime, m.Rand = math.MaxUint64, math.MaxUint64, math.MaxUint64
			return d.ImportMessages(within(t), self, []*im.Message{m})
		},
	} {
		if err := call(); im.CodeOf(err) == im.CodeDatabase || im.CodeOf(err) == im.CodeDisconnected {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := len(d.of("net")); n != links {
		t.Errorf("the link was dropped: %v", d.of("net"))
	}
	d.say("ann", "still here")
}

// Many messages of one second cost as much as many of different seconds, and keep their order.
func TestImportOfOneSecond(t *testing.T) {
	s := imtest.Start(t)
	d := dial(t, config(t, s, "ann"))
	s.Dial("bob", client.Events{})
	d.say("bob", "in the log")
	imported := func(step uint64) int {
		var ms []*im.Message
		for i := range uint64(2000) {
			m := textMessage(fmt.Sprint(i))
			m.ServerTime = 1_000_000_000 + i*step
			ms = append(ms, m)
		}
		before := d.Reads()
		if err := d.ImportMessages(within(t), client.C2C("bob"), ms); err != nil {
			t.Fatal(err)
		}
		return d.Reads() - before
	}
	apart, together := imported(1), imported(0)
	if together > 2*apart {
		t.Errorf("%d reads for 2000 messages of one second, %d for as many seconds", together, apart)
	}
	ms, err := d.Messages(within(t), client.C2C("bob"), &im.GetMsgListParam{TimeBegin: 1_000_000_000, IsForward: true, TimePeriod: 1, Count: 1000})
	if err != nil || len(ms) != 1000 || text(ms[0]) != "0" {
		t.Fatalf("%d messages, %v", len(ms), err)
	}
	for i, m := range ms[1:] {
		if text(m) != fmt.Sprint(i) {
			t.Fatalf("message %d of the second is %s", i, text(m))
		}
	}
}

// One message to many users is one message each.
func TestBatchSend(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	carl := dial(t, config(t, s, "carl"))
	alice := dial(t, config(t, s, "alice"))
	rs, err := alice.BatchSend(within(t), []string{"bob", "nobody", "carl"}, textMessage("to all"))
	if err != nil || len(rs) != 3 {
		t.Fatalf("%v %v", rs, err)
	}
	if rs[0].Code != 0 || rs[0].Msg.ConvId != "bob" || rs[1].Code != im.CodeUnknownReceiver || rs[1].Identifier != "nobody" || rs[2].Code != 0 {
		t.Fatalf("%v", rs)
	}
	bob.count(t, "new", 1)
	carl.count(t, "new", 1)
	_, err = alice.BatchSend(within(t), make([]string, 501), textMessage("x"))
	wantCode(t, err, im.CodeTooManyReceivers)
}

// An online-only message fires on devices that are connected, and leaves nothing behind (rule 21).
func TestOnlineOnly(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	alice := dial(t, config(t, s, "alice"))
	m := textMessage("typing")
	m.IsOnlineMsg = true
	sent, err := alice.SendMessage(within(t), bobs, m)
	if err != nil || sent.Seq != 0 || !sent.IsOnlineMsg {
		t.Fatalf("%v %v", sent, err)
	}
	alice.say("bob", "typed")
	es := bob.count(t, "new", 2)
	if es[0].text != "typing" || es[0].seq != 0 || es[1].seq != 1 {
		t.Fatalf("%v", list(es))
	}
	for _, d := range []*device{alice, bob} {
		convs, err := d.Conversations(within(t))
		if err != nil || len(convs) != 1 {
			t.Fatalf("%v %v", convs, err)
		}
		ms, err := d.Messages(within(t), client.Conv{Type: convs[0].Type, ID: convs[0].Id}, nil)
		if err != nil || len(ms) != 1 || text(ms[0]) != "typed" {
			t.Fatalf("%v %v", ms, err)
		}
	}
	bob.until(t, "total", func(es []event) bool { e, _ := last(es, "total"); return e.n == 1 })
}

// Merged messages arrive whole, larger than a text may be; they can be nested, but not without limit.
func TestMerger(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	alice := dial(t, config(t, s, "alice"))
	merged := &im.MergerElem{Title: "Chat", AbstractArray: []string{"a: x"}, CompatibleText: "[merged]"}
	for i := range 50 {
		m := alice.say("bob", fmt.Sprint(i, string(bytes.Repeat([]byte("x"), 1000))))
		merged.MessageArray = append(merged.MessageArray, m)
	}
	merge := func(e *im.MergerElem) *im.Message {
		return &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: e}}}}
	}
	if _, err := alice.SendMessage(within(t), bobs, merge(merged)); err != nil {
		t.Fatal(err)
	}
	got := bob.count(t, "new", 51)[50].msg
	inner, err := bob.MergedMessages(got)
	if err != nil || len(inner) != 50 || text(inner[7])[:1] != "7" || inner[7].Sender != "alice" {
		t.Fatalf("%v %v", inner, err)
	}
	_, err = bob.MergedMessages(bob.of("new")[0].msg)
	wantCode(t, err, im.CodeInvalidParameters)
	deep := merge(&im.MergerElem{CompatibleText: "x"})
	for range 100 {
		deep = merge(&im.MergerElem{CompatibleText: "x", MessageArray: []*im.Message{deep}})
	}
	_, err = alice.SendMessage(within(t), bobs, deep)
	wantCode(t, err, im.CodeMergerLayers)
}

// A send can be cancelled while there is no connection.
func TestCancelSend(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	p, url := newProxy(t, s.URL)
	cfg := config(t, s, "alice")
	cfg.Server = url
	alice := dial(t, cfg)
	sent := alice.say("bob", "sent")
	_, err := alice.CancelSend(within(t), bobs, sent.MsgId)
	wantCode(t, err, im.CodeSendTooLate)
	p.Stall()
	id, err := alice.SendMessageFunc(bobs, textMessage("taken back"), func(m *im.Message, err error) {
		alice.add(event{kind: "done", text: fmt.Sprint(err), n: int(m.GetStatus())})
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Refuse(true)
	p.Cut()
	p.Release()
	alice.until(t, "disconnect", func(es []event) bool { e, _ := last(es, "net"); return e.n != 0 })
	m, err := alice.CancelSend(within(t), bobs, id)
	if err != nil || m.Status != im.MessageStatus_MESSAGE_STATUS_CANCELLED {
		t.Fatalf("%v %v", m, err)
	}
	if e := alice.count(t, "done", 1)[0]; e.n != int(im.MessageStatus_MESSAGE_STATUS_CANCELLED) {
		t.Fatalf("%v", e)
	}
	// It is not sent by the next connection either.
	p.Refuse(false)
	alice.until(t, "the next connection", func(es []event) bool { e, _ := last(es, "net"); return e.n == int(client.NetworkConnected) })
	alice.say("bob", "next")
	if es := bob.count(t, "new", 2); es[1].text != "next" {
		t.Fatalf("%v", list(es))
	}
}

// The list is in the order of what happened last, even within one second, and a draft comes before the messages of its second.
func TestOrderWithinASecond(t *testing.T) {
	f := newFake(t)
	d := dial(t, fakeConfig(t, f))
	l := <-f.links
	second := time.Now().Unix()
	for i, peer := range []string{"ben", "abe", "cal"} {
		e := &im.Entry{Seq: 1, Time: second*1000 + int64(i), Sender: peer, SenderTinyId: uint64(2 + i), ClientTime: 1, Random: 1, Index: 1, OwnIndex: 1, Countable: true, Message: textMessage("hi")}
		l.push(pushed{im.Method_ENTRY, &im.EntryPush{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: peer}, Epoch: uint64(5 + i), Entry: e}})
	}
	d.count(t, "new", 3)
	order := func(want string) {
		t.Helper()
		list, err := d.Conversations(within(t))
		got := ""
		for _, x := range list {
			got += x.Id + " "
		}
		if err != nil || got != want {
			t.Fatalf("listed %q, %v, not %q", got, err, want)
		}
	}
	order("cal abe ben ")
	if err := d.SetDraft(client.C2C("ben"), &im.Draft{Msg: textMessage("not yet")}); err != nil {
		t.Fatal(err)
	}
	order("ben cal abe ")
}
