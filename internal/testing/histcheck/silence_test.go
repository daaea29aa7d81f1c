package histcheck_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/histcheck"
)

// encoded is a conversation as records have it.
func encoded(x *im.ConvInfo) string {
	b, _ := x.MarshalVT()
	return string(b)
}

// silenced is the good history in which ben sets receive option 1 for ann after her first message, and with lifted ends that before her second one.
func silenced(lifted bool) *histcheck.History {
	h := good()
	ann, ben := h.Devices[0], h.Devices[1]
	end := ben.Final.Convs["ann"]
	option := func(n int, call int, total int, info *im.ConvInfo) []histcheck.Record {
		set := histcheck.Record{Kind: histcheck.Calling, Op: "recvopt", Conv: "ann", N: n, Call: call}
		answer := set
		answer.Kind = histcheck.Returned
		return []histcheck.Record{set, answer, {Kind: histcheck.Update, Conv: "ann", Info: encoded(info)}, {Kind: histcheck.Total, N: total}}
	}
	at := slices.IndexFunc(ben.Records, func(r histcheck.Record) bool { return r.Kind == histcheck.Total }) + 1
	before, after := slices.Clone(ben.Records[:at]), slices.Clone(ben.Records[at:])
	ben.Records = append(before, option(1, 11, 0, &im.ConvInfo{Id: "ann", UnreadNum: 1, RecvOpt: 1})...)
	if lifted {
		ben.Records = append(ben.Records, option(0, 12, 1, &im.ConvInfo{Id: "ann", UnreadNum: 1})...)
		for _, s := range ann.Sends {
			s.At = int64(len(ben.Records))
		}
		ben.Records = append(ben.Records, after...)
	} else {
		end.RecvOpt, h.Server.Logs["ben"]["ann"].Head.RecvOpt = 1, 1
		ben.Final.Total = 0
	}
	for i := range ben.Records {
		r := &ben.Records[i]
		r.At, r.Run, r.Batch = int64(i), 1, 0
		if strings.ToLower(r.Kind) == r.Kind {
			r.Batch = i + 1
		}
	}
	return h
}

// TestCheckSilent shows that the checker knows what receive option 1 makes silent, and nothing else.
func TestCheckSilent(t *testing.T) {
	for _, lifted := range []bool{false, true} {
		h := silenced(lifted)
		if bad := append(histcheck.Check(h), histcheck.Compare(h, h.Devices[1])...); len(bad) > 0 {
			t.Fatalf("a good history, lifted %v: %s", lifted, strings.Join(bad, "\n"))
		}
	}
	more := func(d *histcheck.Device, r histcheck.Record) {
		r.Run, r.At, r.Batch = 1, int64(len(d.Records)+100), len(d.Records)+100
		d.Records = append(d.Records, r)
	}
	const told = `told in a silent conversation what "ann" did`
	for _, c := range []struct {
		name, want string
		lifted     bool
		spoil      func(h *histcheck.History, ann, ben *histcheck.Device)
	}{
		{"a message", told, false, func(_ *histcheck.History, _, ben *histcheck.Device) {
			more(ben, histcheck.Record{Kind: histcheck.New, Conv: "ann", Seq: 2, Text: "two", Tag: "two", From: "ann", Time: 2})
		}},
		{"a message for who is online", told, false, func(_ *histcheck.History, ann, ben *histcheck.Device) {
			ann.Sends = append(ann.Sends, &histcheck.Send{Device: ann, User: "ann", Conv: "ben", Tag: "now", Online: true, Answers: 1})
			more(ben, histcheck.Record{Kind: histcheck.New, Conv: "ann", Text: "now", Tag: "now", From: "ann", Online: true})
		}},
		{"a recall", told, false, func(_ *histcheck.History, _, ben *histcheck.Device) {
			more(ben, histcheck.Record{Kind: histcheck.Revoked, Conv: "ann", Seq: 3, From: "ann"})
		}},
		{"a modification", told, false, func(_ *histcheck.History, ann, ben *histcheck.Device) {
			for _, kind := range []string{histcheck.Calling, histcheck.Returned} {
				more(ann, histcheck.Record{Kind: kind, Op: "modify", Call: 90, Conv: "ben", Seq: 2, Text: "other", Tag: "two", Version: 1, ID: "other"})
			}
			more(ben, histcheck.Record{Kind: histcheck.Updated, Conv: "ann", Seq: 2, Version: 1, Text: "other", Tag: "two", From: "ann"})
		}},
		{"a receipt", told, false, func(_ *histcheck.History, _, ben *histcheck.Device) {
			more(ben, histcheck.Record{Kind: histcheck.Receipt, Conv: "ann", Time: 9})
		}},
		{"an unread number", "told of a silent conversation what others did", false, func(_ *histcheck.History, _, ben *histcheck.Device) {
			more(ben, histcheck.Record{Kind: histcheck.Update, Conv: "ann", Info: encoded(&im.ConvInfo{Id: "ann", UnreadNum: 2, RecvOpt: 1})})
		}},
		{"a message before the end of the option is told, which no call has asked for", told, false, func(_ *histcheck.History, _, ben *histcheck.Device) {
			more(ben, histcheck.Record{Kind: histcheck.New, Conv: "ann", Seq: 3, Text: "three", Tag: "three", From: "ann", Time: 3})
			more(ben, histcheck.Record{Kind: histcheck.Update, Conv: "ann", Info: encoded(&im.ConvInfo{Id: "ann", UnreadNum: 2})})
		}},
		{"a message after the option", "never heard of ann seq 2", true, func(_ *histcheck.History, _, ben *histcheck.Device) {
			ben.Records = slices.DeleteFunc(ben.Records, func(r histcheck.Record) bool { return r.Kind == histcheck.New && r.Seq == 2 })
		}},
		{"a message before the option", "never heard of ann seq 1", false, func(_ *histcheck.History, _, ben *histcheck.Device) {
			ben.Records = slices.DeleteFunc(ben.Records, func(r histcheck.Record) bool { return r.Kind == histcheck.New })
			for i := range ben.Records { // it was announced what came after it
				if r := &ben.Records[i]; r.Kind == histcheck.Add {
					*r = histcheck.Record{Kind: histcheck.New, At: r.At, Batch: r.Batch, Run: 1, Conv: "ann", Seq: 2, Text: "two", Tag: "two", From: "ann", Time: 2}
				}
			}
		}},
	} {
		h := silenced(c.lifted)
		c.spoil(h, h.Devices[0], h.Devices[1])
		if bad := strings.Join(histcheck.Check(h), "\n"); !strings.Contains(bad, c.want) {
			t.Errorf("%s: no %q in:\n%s", c.name, c.want, bad)
		}
	}
	// The end of a history.
	own := &im.Message{Seq: 3, CloudCustomStr: "three", MsgId: "mine", IsFromSelf: true, ElemArray: []*im.Elem{{Body: &im.Elem_Text{Text: &im.TextElem{Content: "three"}}}}}
	for want, spoil := range map[string]func(f *histcheck.Final){
		"ann is silent, and changed by its owner": func(f *histcheck.Final) { f.Convs["ann"].IsPinned = true },
		"changed by its owner: it is id:\"ann\"":  func(f *histcheck.Final) { f.Convs["ann"].LastMsg = own },
		"ann is silent, and not in the list":      func(f *histcheck.Final) { delete(f.Convs, "ann") },
		"total 1, counted 0":                      func(f *histcheck.Final) { f.Total = 1 },
	} {
		h := silenced(false)
		spoil(h.Devices[1].Final)
		if bad := strings.Join(histcheck.Compare(h, h.Devices[1]), "\n"); !strings.Contains(bad, want) {
			t.Errorf("no %q in:\n%s", want, bad)
		}
	}
}
