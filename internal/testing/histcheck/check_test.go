package histcheck_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/histcheck"
)

// good is a small correct history: ann sends three messages to ben on one device each, ben reads one, and ann recalls the last.
func good() *histcheck.History {
	text := func(s string) *im.Message {
		return &im.Message{ElemArray: []*im.Elem{{Body: &im.Elem_Text{Text: &im.TextElem{Content: s}}}}, CloudCustomStr: s}
	}
	const sent, revoked = im.MessageStatus_MESSAGE_STATUS_SENT, im.MessageStatus_MESSAGE_STATUS_REVOKED
	log := func() []*im.Entry {
		var es []*im.Entry
		for i, s := range []string{"one", "two", "three"} {
			es = append(es, &im.Entry{Seq: uint64(i + 1), Time: int64(i+1) * 1000, Sender: "ann", Index: uint64(i + 1), OwnIndex: uint64(i + 1), Countable: true, Message: text(s)})
		}
		es[2].Status = revoked
		return es
	}
	change := func() []*im.Change { return []*im.Change{{Rev: 1, Kind: im.ChangeKind_CHANGE_REVOKE, Seq: 3}} }
	server := &histcheck.Audit{Logs: map[string]map[string]*histcheck.Log{
		"ann": {"ben": {Head: &im.Head{Seq: 3, Rev: 1, PeerReadSeq: 1, PeerReadTime: 9000}, Entries: log(), Changes: change()}},
		"ben": {"ann": {Head: &im.Head{Seq: 3, Rev: 1, ReadSeq: 1, Unread: 1}, Entries: log(), Changes: change()}},
	}}
	ann := &histcheck.Device{Name: "ann-0", User: "ann", First: true}
	ben := &histcheck.Device{Name: "ben-1", User: "ben", First: true}
	for i, s := range []string{"one", "two", "three"} {
		ann.Sends = append(ann.Sends, &histcheck.Send{Device: ann, Run: 1, User: "ann", Conv: "ben", Tag: s, Answers: 1, Seq: uint64(i + 1)})
	}
	items := func(self bool) []histcheck.Item {
		var out []histcheck.Item
		for i, s := range []string{"three", "two", "one"} {
			seq := uint64(3 - i)
			out = append(out, histcheck.Item{Seq: seq, Sender: "ann", Text: s, Tag: s, Status: sent, Read: self || seq <= 1, PeerRead: self && seq <= 1})
		}
		out[0].Status = revoked
		return out
	}
	last := text("three")
	last.Seq = 3
	annConv, benConv := &im.ConvInfo{Id: "ben", LastMsg: last}, &im.ConvInfo{Id: "ann", UnreadNum: 1, LastMsg: last}
	info := func(x *im.ConvInfo) string { b, _ := x.MarshalVT(); return string(b) }
	session := func(more ...histcheck.Record) []histcheck.Record {
		rs := []histcheck.Record{{Kind: histcheck.Opened}, {Kind: histcheck.Calling, Call: 1, Op: "login"}, {Kind: histcheck.Network, N: 2}, {Kind: histcheck.Network, N: 0},
			{Kind: histcheck.Returned, Call: 1, Op: "login"}, {Kind: histcheck.Start}, {Kind: histcheck.Finish}}
		return append(rs, more...)
	}
	ann.Records = session(histcheck.Record{Kind: histcheck.Add, Conv: "ben", Info: info(annConv)}, histcheck.Record{Kind: histcheck.Receipt, Conv: "ben", Time: 9},
		histcheck.Record{Kind: histcheck.Revoked, Conv: "ben", Seq: 3})
	ben.Records = session(histcheck.Record{Kind: histcheck.New, Conv: "ann", Seq: 1, Text: "one", Tag: "one", From: "ann", Time: 1}, histcheck.Record{Kind: histcheck.Add, Conv: "ann", Info: "older"},
		histcheck.Record{Kind: histcheck.Total, N: 1}, histcheck.Record{Kind: histcheck.New, Conv: "ann", Seq: 2, Text: "two", Tag: "two", From: "ann", Time: 2},
		histcheck.Record{Kind: histcheck.New, Conv: "ann", Seq: 3, Text: "three", Tag: "three", From: "ann", Time: 3}, histcheck.Record{Kind: histcheck.Revoked, Conv: "ann", Seq: 3},
		histcheck.Record{Kind: histcheck.Update, Conv: "ann", Info: info(benConv)})
	ann.Final = &histcheck.Final{Server: server, History: map[string][]histcheck.Item{"ben": items(true)}, Convs: map[string]*im.ConvInfo{"ben": annConv}}
	for _, d := range []*histcheck.Device{ann, ben} {
		for i := range d.Records {
			d.Records[i].At, d.Records[i].Run = int64(i), 1
			if k := d.Records[i].Kind; strings.ToLower(k) == k {
				d.Records[i].Batch = i + 1
			}
		}
	}
	ben.Final = &histcheck.Final{Server: server, History: map[string][]histcheck.Item{"ann": items(false)}, Convs: map[string]*im.ConvInfo{"ann": benConv}, Total: 1}
	return &histcheck.History{Devices: []*histcheck.Device{ann, ben}, Users: []string{"ann", "ben"}, Server: server}
}

// TestCheck shows that the checker accepts a good history and detects everything that it is there to detect.
func TestCheck(t *testing.T) {
	if bad := histcheck.Check(good()); len(bad) > 0 {
		t.Fatalf("a good history: %s", strings.Join(bad, "\n"))
	}
	for i := range 2 {
		h := good()
		if bad := histcheck.Compare(h, h.Devices[i]); len(bad) > 0 {
			t.Fatalf("a good end: %s", strings.Join(bad, "\n"))
		}
	}
	const ann, ben = 0, 1
	find := func(d *histcheck.Device, kind string, seq uint64) int {
		return slices.IndexFunc(d.Records, func(r histcheck.Record) bool { return r.Kind == kind && r.Seq == seq })
	}
	again := func(d *histcheck.Device, r histcheck.Record) histcheck.Record { // r as another callback
		r.At, r.Batch, r.Run = int64(len(d.Records)+100), len(d.Records)+100, 1
		return r
	}
	call := func(d *histcheck.Device, op string, r histcheck.Record, code int32) {
		r.Op, r.Call, r.Run = op, len(d.Records)+100, 1
		for _, kind := range []string{histcheck.Calling, histcheck.Returned} {
			r.Kind, r.At = kind, int64(len(d.Records)+100)
			d.Records = append(d.Records, r)
			r.Code = code
		}
	}
	modify := func(d *histcheck.Device, code int32) {
		call(d, "modify", histcheck.Record{Conv: "ben", Seq: 2, Text: "other", Tag: "two"}, code)
		if code == 0 {
			d.Records[len(d.Records)-1].Version, d.Records[len(d.Records)-1].ID = 1, "other"
		}
	}
	// hooked is a modification to which the webhook responds v, and the content that a device gets nevertheless.
	hooked := func(h *histcheck.History, a, b *histcheck.Device, v histcheck.Verdict, code int32) {
		h.Hooked = true
		text := "other" + string(v)
		call(a, "modify", histcheck.Record{Conv: "ben", Seq: 2, Text: text, Tag: "two"}, code)
		b.Records = append(b.Records, again(b, histcheck.Record{Kind: histcheck.Updated, Conv: "ann", Seq: 2, Version: 1, Text: text, Tag: "two", From: "ann"}))
	}
	drop := func(d *histcheck.Device, i int) { d.Records = slices.Delete(d.Records, i, i+1) }
	for want, spoil := range map[string]func(h *histcheck.History, a, b *histcheck.Device, l *histcheck.Log){
		"never heard of ann seq 2": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			drop(b, find(b, histcheck.New, 2))
		},
		"announced twice": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			b.Records = append(b.Records, again(b, b.Records[find(b, histcheck.New, 2)]))
		},
		"announced 1 after 2": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			i, j := find(b, histcheck.New, 1), find(b, histcheck.New, 2)
			b.Records[i], b.Records[j] = b.Records[j], b.Records[i]
		},
		"announced its own message": func(_ *histcheck.History, a, _ *histcheck.Device, _ *histcheck.Log) {
			a.Records = append(a.Records, histcheck.Record{Kind: histcheck.New, Conv: "ben", Seq: 2, Text: "two", Tag: "two", From: "ann", Time: 2})
		},
		"announced after its recall": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			i, j := find(b, histcheck.New, 3), find(b, histcheck.Revoked, 3)
			b.Records[i], b.Records[j] = b.Records[j], b.Records[i]
		},
		"announced what is in no log": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			b.Records = append(b.Records, histcheck.Record{Kind: histcheck.New, Conv: "ann", Seq: 4, Text: "four"})
		},
		"never heard of the recall": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			drop(b, find(b, histcheck.Revoked, 3))
		},
		"recall told twice": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			b.Records = append(b.Records, b.Records[find(b, histcheck.Revoked, 3)])
		},
		"a recall from nowhere": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			b.Records = append(b.Records, histcheck.Record{Kind: histcheck.Revoked, Conv: "ann", Seq: 1})
		},
		"acknowledged with seq 2 and is nowhere": func(_ *histcheck.History, a, _ *histcheck.Device, _ *histcheck.Log) {
			a.Sends[1].Tag = "lost"
		},
		"comes from nowhere": func(_ *histcheck.History, a, _ *histcheck.Device, _ *histcheck.Log) {
			a.Sends = slices.Delete(a.Sends, 1, 2)
		},
		"was answered 2 times": func(_ *histcheck.History, a, _ *histcheck.Device, _ *histcheck.Log) { a.Sends[0].Answers = 2 },
		"refused for want of a link and was sent": func(_ *histcheck.History, a, _ *histcheck.Device, _ *histcheck.Log) {
			a.Sends[0].Code = im.CodeDisconnected
		},
		"has seq 1 after 2": func(_ *histcheck.History, a, _ *histcheck.Device, _ *histcheck.Log) {
			a.Sends[0], a.Sends[1] = a.Sends[1], a.Sends[0]
		},
		"seq 3 is missing": func(_ *histcheck.History, _, _ *histcheck.Device, l *histcheck.Log) { l.Entries[2].Seq = 4 },
		"stands at seq 1 and at 2": func(_ *histcheck.History, a, _ *histcheck.Device, l *histcheck.Log) {
			a.Sends[1].Tag, l.Entries[1].Message.CloudCustomStr = "one", "one"
			l.Entries[1].Version = 1 // the newer state of the two views
			a.Sends = a.Sends[:1]
		},
		"time runs back":                      func(_ *histcheck.History, _, _ *histcheck.Device, l *histcheck.Log) { l.Entries[2].Time = 1 },
		"has index 7":                         func(_ *histcheck.History, _, _ *histcheck.Device, l *histcheck.Log) { l.Entries[2].Index = 7 },
		"the server says 2 unread, counted 1": func(_ *histcheck.History, _, _ *histcheck.Device, l *histcheck.Log) { l.Head.Unread = 2 },
		"the two have different logs":         func(_ *histcheck.History, _, _ *histcheck.Device, l *histcheck.Log) { l.Entries[1].Random = 5 },
		"the peer has read up to 2, and 1 is": func(_ *histcheck.History, _, _ *histcheck.Device, l *histcheck.Log) { l.Head.ReadSeq = 2 },
		"total told twice": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			b.Records = append(b.Records, histcheck.Record{Kind: histcheck.Total, N: 1})
		},
		"updated to what it was": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			b.Records = append(b.Records, b.Records[len(b.Records)-1])
		},
		"ended and had not begun": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			b.Records = append(b.Records, histcheck.Record{Kind: histcheck.Finish})
		},
		"network event 0 after 0": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			b.Records = append(b.Records, histcheck.Record{Kind: histcheck.Network})
		},
		"never answered": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			b.Records = append(b.Records, histcheck.Record{Kind: histcheck.Calling, Call: 9})
		},
		"an answer to no call": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			b.Records = append(b.Records, histcheck.Record{Kind: histcheck.Answer, Call: 1})
		},
		"read up to 2 was acknowledged and is": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			b.Records = append(b.Records, histcheck.Record{Kind: histcheck.Calling, Call: 9}, histcheck.Record{Kind: histcheck.Returned, Call: 9, Op: "read", Conv: "ann", Seq: 2})
		},
		"a recall was acknowledged and is lost": func(_ *histcheck.History, a, _ *histcheck.Device, _ *histcheck.Log) {
			a.Records = append(a.Records, histcheck.Record{Kind: histcheck.Calling, Call: 9}, histcheck.Record{Kind: histcheck.Returned, Call: 9, Op: "revoke", Conv: "ben", Seq: 2})
		},
		"updated to version 0 after 0": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			b.Records = append(b.Records, again(b, histcheck.Record{Kind: histcheck.Updated, Conv: "ann", Seq: 2, Text: "two", Tag: "two", From: "ann"}))
		},
		"version 1 to ben-1, comes from nowhere": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			b.Records = append(b.Records, again(b, histcheck.Record{Kind: histcheck.Updated, Conv: "ann", Seq: 2, Version: 1, Text: "other", Tag: "two", From: "ann"}))
		},
		"version 1 to ben-1, was a conflict": func(_ *histcheck.History, a, b *histcheck.Device, _ *histcheck.Log) {
			modify(a, im.CodeModifyConflict)
			b.Records = append(b.Records, again(b, histcheck.Record{Kind: histcheck.Updated, Conv: "ann", Seq: 2, Version: 1, Text: "other", Tag: "two", From: "ann"}))
		},
		"version 1 to ben-1, was dropped by the webhook": func(h *histcheck.History, a, b *histcheck.Device, _ *histcheck.Log) {
			hooked(h, a, b, histcheck.Drop, 0)
		},
		"version 1 to ben-1, was rewritten by the webhook": func(h *histcheck.History, a, b *histcheck.Device, _ *histcheck.Log) {
			hooked(h, a, b, histcheck.Rewrite, 0)
		},
		"version 1 to ben-1, was refused with 120099": func(h *histcheck.History, a, b *histcheck.Device, _ *histcheck.Log) {
			hooked(h, a, b, histcheck.Refuse, 120099)
		},
		"was acknowledged as version 1 after 0; the log has 0": func(_ *histcheck.History, a, _ *histcheck.Device, _ *histcheck.Log) { modify(a, 0) },
		"seq 2 has version 1 and 0 modifications":              func(_ *histcheck.History, _, _ *histcheck.Device, l *histcheck.Log) { l.Entries[1].Version = 1 },
		"announced after its update": func(_ *histcheck.History, a, b *histcheck.Device, _ *histcheck.Log) {
			modify(a, 0)
			b.Records = slices.Insert(b.Records, find(b, histcheck.New, 2), again(b, histcheck.Record{Kind: histcheck.Updated, Conv: "ann", Seq: 2, Version: 1, Text: "other", Tag: "two", From: "ann"}))
		},
		"was told of version 0 (true) of ann seq 2, which has 1": func(h *histcheck.History, a, _ *histcheck.Device, l *histcheck.Log) {
			modify(a, 0)
			l.Entries[1].Version = 1
		},
		"seq 1 was cleared and is there": func(_ *histcheck.History, _, _ *histcheck.Device, l *histcheck.Log) { l.Head.ClearedSeq = 1 },
		"cleared up to 1 by nobody": func(_ *histcheck.History, _, _ *histcheck.Device, l *histcheck.Log) {
			l.Head.ClearedSeq, l.Entries = 1, l.Entries[1:]
		},
		"seq 1 is missing": func(_ *histcheck.History, _, _ *histcheck.Device, l *histcheck.Log) { l.Entries = l.Entries[1:] },
		"seq 2 was deleted, and is there": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			call(b, "delete", histcheck.Record{Conv: "ann", Seqs: []uint64{2}}, 0)
		},
		"announced after it was deleted here": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			call(b, "deletelocal", histcheck.Record{Conv: "ann", Seqs: []uint64{2}}, 0)
			b.Records = append(b.Records, again(b, b.Records[find(b, histcheck.New, 2)]))
		},
		"lists 2, which was deleted here": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			call(b, "deletelocal", histcheck.Record{Conv: "ann", Seqs: []uint64{2}}, 0)
			call(b, "history", histcheck.Record{Conv: "ann", Seqs: []uint64{3, 2}}, 0)
		},
		"cleared, and 1 was here before": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			call(b, "clear", histcheck.Record{Conv: "ann"}, 0)
		},
		"pinned is 1, and was set to something else": func(_ *histcheck.History, _, b *histcheck.Device, l *histcheck.Log) {
			l.Head.Pinned = true
			call(b, "pin", histcheck.Record{Conv: "ann", N: 1}, 0)
			call(b, "pin", histcheck.Record{Conv: "ann", N: 0}, 0)
		},
		"the receive option is 2, and was": func(_ *histcheck.History, _, _ *histcheck.Device, l *histcheck.Log) { l.Head.RecvOpt = 2 },
		"was for whoever was online":       func(_ *histcheck.History, a, _ *histcheck.Device, _ *histcheck.Log) { a.Sends[1].Online = true },
		"announced without a number": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			b.Records = append(b.Records, again(b, histcheck.Record{Kind: histcheck.New, Conv: "ann", Tag: "two", From: "ann", Online: true}))
		},
		"was refused or dropped by the webhook": func(h *histcheck.History, a, _ *histcheck.Device, _ *histcheck.Log) {
			h.Hooked, a.Sends[1].Verdict = true, histcheck.Drop
		},
		"was first \"two\"": func(h *histcheck.History, a, _ *histcheck.Device, _ *histcheck.Log) {
			h.Hooked, a.Sends[1].Verdict = true, histcheck.Rewrite
		},
		"\"two\", counts: true": func(_ *histcheck.History, a, _ *histcheck.Device, _ *histcheck.Log) { a.Sends[1].Uncounted = true },
		"was answered 0 times":  func(_ *histcheck.History, a, _ *histcheck.Device, _ *histcheck.Log) { a.Sends[1].Answers = 0 },
		"kicked more often than logged in": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			b.Records = append(b.Records, histcheck.Record{Kind: histcheck.Kicked}, histcheck.Record{Kind: histcheck.Kicked})
		},
	} {
		h := good()
		spoil(h, h.Devices[ann], h.Devices[ben], h.Server.Logs["ben"]["ann"])
		if bad := histcheck.Check(h); !slices.ContainsFunc(bad, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("not seen: %s; but: %v", want, bad)
		}
	}
	for want, spoil := range map[string]func(f *histcheck.Final){
		"says 0 unread, counted 1": func(f *histcheck.Final) { f.Convs["ann"] = &im.ConvInfo{Id: "ann"} },
		"is not in the list":       func(f *histcheck.Final) { delete(f.Convs, "ann") },
		"lists seq 3 after 3":      func(f *histcheck.Final) { f.History["ann"][1] = f.History["ann"][0] },
		"does not list seq 1":      func(f *histcheck.Final) { f.History["ann"] = f.History["ann"][:2] },
		"the last message is 0":    func(f *histcheck.Final) { f.Convs["ann"].LastMsg = nil },
		"pinned true, receive":     func(f *histcheck.Final) { f.Convs["ann"].IsPinned = true },
		"there is a draft":         func(f *histcheck.Final) { f.Convs["ann"].Draft = &im.Draft{UserDefine: "x"} },
		"which was cleared":        func(f *histcheck.Final) { f.Server.Logs["ben"]["ann"].Head.ClearedSeq = 1 },
		"version 0, status 2; the": func(f *histcheck.Final) { f.Server.Logs["ben"]["ann"].Entries[1].Version = 1 },
		"the last receipt told is of 0, the peer has read at 7": func(f *histcheck.Final) {
			f.Server.Logs["ben"]["ann"].Head.PeerReadTime = 7000
		},
		"version 0, status 2; the log has": func(f *histcheck.Final) { f.History["ann"][0].Status = im.MessageStatus_MESSAGE_STATUS_SENT },
		"seq 2 is read: true":              func(f *histcheck.Final) { f.History["ann"][1].Read = true },
		"total 5, counted 1":               func(f *histcheck.Final) { f.Total = 5 },
		"was never sent from here":         func(f *histcheck.Final) { f.History["ann"] = append(f.History["ann"], histcheck.Item{Text: "ghost"}) },
	} {
		h := good()
		spoil(h.Devices[ben].Final)
		if bad := histcheck.Compare(h, h.Devices[ben]); !slices.ContainsFunc(bad, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("not seen: %s; but: %v", want, bad)
		}
	}
}

// After a crash of the application, what its last callback reported of messages may be repeated, before the sync, and the last set of states; nothing
// else may.
func TestCheckCrash(t *testing.T) {
	crash := func(more ...histcheck.Record) []string {
		h := good()
		b := h.Devices[1]
		rs := append([]histcheck.Record{{Kind: histcheck.Died, Run: 1}, {Kind: histcheck.Opened}, {Kind: histcheck.Calling, Call: 5, Op: "login"}, {Kind: histcheck.Network, N: 2}, {Kind: histcheck.Network, N: 0},
			{Kind: histcheck.Returned, Call: 5, Op: "login"}}, more...)
		for i := range rs {
			rs[i].At = int64(len(b.Records) + i)
			if rs[i].Kind != histcheck.Died {
				rs[i].Run = 2
			}
			if k := rs[i].Kind; strings.ToLower(k) == k {
				rs[i].Batch = i + 1
			}
		}
		b.Records = append(b.Records, rs...)
		return histcheck.Check(h)
	}
	b := good().Devices[1]
	find := func(kind string, seq uint64) histcheck.Record {
		return b.Records[slices.IndexFunc(b.Records, func(r histcheck.Record) bool { return r.Kind == kind && r.Seq == seq })]
	}
	recall, state := find(histcheck.Revoked, 3), b.Records[len(b.Records)-1]
	begin := histcheck.Record{Kind: histcheck.Start}
	for _, ok := range [][]histcheck.Record{{begin}, {recall, begin, state}} {
		if bad := crash(ok...); len(bad) > 0 {
			t.Errorf("after a crash: %s", strings.Join(bad, "\n"))
		}
	}
	for _, wrong := range [][]histcheck.Record{{find(histcheck.New, 3), begin}, {begin, recall}, {recall, recall, begin}, {begin, state, state}} {
		if bad := crash(wrong...); len(bad) == 0 {
			t.Errorf("not seen: %v", wrong)
		}
	}
}

// An update that had not fired when the application crashed fires right after the crash, as one that had fired may fire again.
func TestCheckUpdateAfterCrash(t *testing.T) {
	h := good()
	b := h.Devices[1]
	h.Server.Logs["ben"]["ann"].Entries[1].Version = 2
	update := histcheck.Record{Kind: histcheck.Updated, Run: 1, Batch: 101, Conv: "ann", Seq: 2, Version: 1, Text: "first", Tag: "two", From: "ann"}
	next := update
	next.Run, next.Batch, next.Version, next.Text = 2, 1, 2, "second"
	b.Records = append(b.Records, update, histcheck.Record{Kind: histcheck.Died, Run: 1}, histcheck.Record{Kind: histcheck.Opened, Run: 2}, next, histcheck.Record{Kind: histcheck.Start, Run: 2, Batch: 2})
	seen := func() bool {
		return slices.ContainsFunc(histcheck.Check(h), func(s string) bool { return strings.Contains(s, "ben-1: was told of version") })
	}
	if seen() {
		t.Error("the second update was not counted")
	}
	b.Records[len(b.Records)-2].Version = 1
	if !seen() {
		t.Error("not seen: the second update never came")
	}
}
