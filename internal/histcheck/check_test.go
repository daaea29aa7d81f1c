package histcheck_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/histcheck"
)

// good is a small history with nothing wrong: ann sends three messages to ben on one device each, ben reads one, and ann recalls the last.
func good() *histcheck.History {
	text := func(s string) *im.Message {
		return &im.Message{ElemArray: []*im.Elem{{Body: &im.Elem_Text{Text: &im.TextElem{Content: s}}}}}
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
		"ann": {"ben": {Head: &im.Head{Seq: 3, Rev: 1, PeerReadSeq: 1}, Entries: log(), Changes: change()}},
		"ben": {"ann": {Head: &im.Head{Seq: 3, Rev: 1, ReadSeq: 1, Unread: 1}, Entries: log(), Changes: change()}},
	}}
	ann := &histcheck.Device{Name: "ann-0", User: "ann", First: true}
	ben := &histcheck.Device{Name: "ben-1", User: "ben", First: true}
	for i, s := range []string{"one", "two", "three"} {
		ann.Sends = append(ann.Sends, &histcheck.Send{Device: ann, Run: 1, Conv: "ben", Text: s, Answers: 1, Seq: uint64(i + 1)})
	}
	items := func(self bool) []histcheck.Item {
		var out []histcheck.Item
		for i, s := range []string{"three", "two", "one"} {
			seq := uint64(3 - i)
			out = append(out, histcheck.Item{Seq: seq, Sender: "ann", Text: s, Status: sent, Read: self || seq <= 1, PeerRead: self && seq <= 1})
		}
		out[0].Status = revoked
		return out
	}
	annConv, benConv := &im.ConvInfo{Id: "ben"}, &im.ConvInfo{Id: "ann", UnreadNum: 1}
	info := func(x *im.ConvInfo) string { b, _ := x.MarshalVT(); return string(b) }
	session := func(more ...histcheck.Record) []histcheck.Record {
		rs := []histcheck.Record{{Kind: histcheck.Opened}, {Kind: histcheck.Calling, Call: 1, Op: "login"}, {Kind: histcheck.Network, N: 2}, {Kind: histcheck.Network, N: 0},
			{Kind: histcheck.Returned, Call: 1, Op: "login"}, {Kind: histcheck.Start}, {Kind: histcheck.Finish}}
		return append(rs, more...)
	}
	ann.Records = session(histcheck.Record{Kind: histcheck.Add, Conv: "ben", Info: info(annConv)}, histcheck.Record{Kind: histcheck.Receipt, Conv: "ben", Time: 9},
		histcheck.Record{Kind: histcheck.Revoked, Conv: "ben", Seq: 3})
	ben.Records = session(histcheck.Record{Kind: histcheck.New, Conv: "ann", Seq: 1, Text: "one", From: "ann", Time: 1}, histcheck.Record{Kind: histcheck.Add, Conv: "ann", Info: "older"},
		histcheck.Record{Kind: histcheck.Total, N: 1}, histcheck.Record{Kind: histcheck.New, Conv: "ann", Seq: 2, Text: "two", From: "ann", Time: 2},
		histcheck.Record{Kind: histcheck.New, Conv: "ann", Seq: 3, Text: "three", From: "ann", Time: 3}, histcheck.Record{Kind: histcheck.Revoked, Conv: "ann", Seq: 3},
		histcheck.Record{Kind: histcheck.Update, Conv: "ann", Info: info(benConv)})
	ann.Final = &histcheck.Final{Server: server, History: map[string][]histcheck.Item{"ben": items(true)}, Convs: map[string]*im.ConvInfo{"ben": annConv}}
	ben.Final = &histcheck.Final{Server: server, History: map[string][]histcheck.Item{"ann": items(false)}, Convs: map[string]*im.ConvInfo{"ann": benConv}, Total: 1}
	return &histcheck.History{Devices: []*histcheck.Device{ann, ben}, Users: []string{"ann", "ben"}, Server: server}
}

// TestCheck shows that the judge lets a good history pass and sees everything that it is there to see.
func TestCheck(t *testing.T) {
	if bad := histcheck.Check(good()); len(bad) > 0 {
		t.Fatalf("a good history: %s", strings.Join(bad, "\n"))
	}
	const ann, ben = 0, 1
	find := func(d *histcheck.Device, kind string, seq uint64) int {
		return slices.IndexFunc(d.Records, func(r histcheck.Record) bool { return r.Kind == kind && r.Seq == seq })
	}
	drop := func(d *histcheck.Device, i int) { d.Records = slices.Delete(d.Records, i, i+1) }
	for want, spoil := range map[string]func(h *histcheck.History, a, b *histcheck.Device, l *histcheck.Log){
		"never heard of ann seq 2": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			drop(b, find(b, histcheck.New, 2))
		},
		"announced twice": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			b.Records = append(b.Records, b.Records[find(b, histcheck.New, 2)])
		},
		"announced 1 after 2": func(_ *histcheck.History, _, b *histcheck.Device, _ *histcheck.Log) {
			i, j := find(b, histcheck.New, 1), find(b, histcheck.New, 2)
			b.Records[i], b.Records[j] = b.Records[j], b.Records[i]
		},
		"announced its own message": func(_ *histcheck.History, a, _ *histcheck.Device, _ *histcheck.Log) {
			a.Records = append(a.Records, histcheck.Record{Kind: histcheck.New, Conv: "ben", Seq: 2, Text: "two", From: "ann", Time: 2})
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
			a.Sends[1].Text = "lost"
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
		"entry 3 has seq 4":                   func(_ *histcheck.History, _, _ *histcheck.Device, l *histcheck.Log) { l.Entries[2].Seq = 4 },
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
		"says 0 unread, counted 1":   func(f *histcheck.Final) { f.Convs["ann"] = &im.ConvInfo{Id: "ann"} },
		"is not in the list":         func(f *histcheck.Final) { delete(f.Convs, "ann") },
		"lists seq 3 where 2 should": func(f *histcheck.Final) { f.History["ann"][1] = f.History["ann"][0] },
		"lists nothing from seq 1":   func(f *histcheck.Final) { f.History["ann"] = f.History["ann"][:2] },
		"status 2; the log has":      func(f *histcheck.Final) { f.History["ann"][0].Status = im.MessageStatus_MESSAGE_STATUS_SENT },
		"seq 2 is read: true":        func(f *histcheck.Final) { f.History["ann"][1].Read = true },
		"total 5, counted 1":         func(f *histcheck.Final) { f.Total = 5 },
		"was never sent from here":   func(f *histcheck.Final) { f.History["ann"] = append(f.History["ann"], histcheck.Item{Text: "ghost"}) },
	} {
		h := good()
		spoil(h.Devices[ben].Final)
		if bad := histcheck.Compare(h.Devices[ben]); !slices.ContainsFunc(bad, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("not seen: %s; but: %v", want, bad)
		}
	}
}
