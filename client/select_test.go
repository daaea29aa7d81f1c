package client_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// TestListsAgree: whatever a device has of a conversation, and whatever is asked for, a list equals a plain search through all of it.
func TestListsAgree(t *testing.T) {
	const base = 1_700_000_000
	yes, no := true, false
	rapid.Check(t, func(r *rapid.T) {
		f := newFake(t)
		secondsLog(f, base)
		f.answer(im.Method_ROW, func(l *fakeLink, fr *im.Frame) {
			req := &im.RowRequest{}
			req.UnmarshalVT(fr.Body)
			h := benHead(60)
			h.ReadSeq, h.ReadOthers, h.Row = 60, 60, 2
			if h.ClearedSeq = 20; req.ClearedSeq == nil {
				h.ClearedSeq = 0
			}
			l.reply(fr, &im.RowReply{Head: h})
		})
		d := dial(t, fakeConfig(t, f))
		defer d.Close()
		d.settled()
		key := client.C2C("ben")
		at := func(seq uint64) *im.Message {
			return &im.Message{ConvId: "ben", ConvType: im.ConvType_CONV_TYPE_C2C, Seq: seq}
		}
		ask := func(p *im.GetMsgListParam) []*im.Message {
			ms, err := d.Messages(within(t), key, p)
			if err != nil {
				r.Fatalf("%v: %v", p, err)
			}
			return ms
		}
		must := func(what string, err error) {
			if err != nil {
				r.Fatalf("%s: %v", what, err)
			}
		}
		n := 0
		deleted := map[uint64]bool{} // where they stood is not to be seen in a list
		for range rapid.IntRange(0, 12).Draw(r, "operations") {
			switch rapid.SampledFrom([]string{"save", "import", "delete", "page", "clear"}).Draw(r, "operation") {
			case "save":
				n++
				_, err := d.SaveMessage(within(t), key, textMessage(fmt.Sprint("saved ", n)))
				must("save", err)
			case "import":
				n++
				m := textMessage(fmt.Sprint("imported ", n))
				m.ServerTime = base + rapid.Uint64Range(0, 62).Draw(r, "second")
				must("import", d.ImportMessages(within(t), key, []*im.Message{m}))
			case "delete":
				if ms := ask(&im.GetMsgListParam{Count: 20}); len(ms) > 0 {
					m := rapid.SampledFrom(ms).Draw(r, "deleted")
					must("delete", d.DeleteLocalMessages(within(t), key, []*im.Message{m}))
					deleted[m.Seq] = true
				}
			case "page":
				ask(&im.GetMsgListParam{LastMsg: at(rapid.Uint64Range(1, 60).Draw(r, "from")), Count: rapid.Uint32Range(1, 20).Draw(r, "count"), IsForward: rapid.Bool().Draw(r, "forward")})
			case "clear":
				if rapid.IntRange(0, 3).Draw(r, "really") == 0 {
					must("clear", d.ClearHistory(within(t), key))
				}
			}
		}
		type question struct {
			p   *im.GetMsgListParam
			got []*im.Message
		}
		var asked []question
		put := func(types bool) {
			p := &im.GetMsgListParam{Count: rapid.Uint32Range(1, 40).Draw(r, "count"), IsForward: rapid.Bool().Draw(r, "forward"), IsRamble: &yes}
			if rapid.Bool().Draw(r, "timed") {
				p.TimeBegin = base + rapid.Uint64Range(1, 62).Draw(r, "begin")
				p.TimePeriod = rapid.Uint64Range(0, 30).Draw(r, "period")
			}
			if rapid.Bool().Draw(r, "placed") {
				if seq := rapid.Uint64Range(1, 60).Draw(r, "last"); !deleted[seq] {
					p.LastMsg = at(seq)
				}
			}
			if types {
				p.IsRamble = rapid.SampledFrom([]*bool{&yes, &no, nil}).Draw(r, "ramble")
				p.MessageTypeArray = rapid.SampledFrom([][]uint32{nil, {uint32(im.ElemType_ELEM_TYPE_CUSTOM)}, {uint32(im.ElemType_ELEM_TYPE_TEXT)}}).Draw(r, "types")
			}
			asked = append(asked, question{p, ask(p)})
		}
		for range 3 {
			put(false)
		}
		all := ask(&im.GetMsgListParam{Count: 1000, IsForward: true})
		for range 4 {
			put(true)
		}
		for _, q := range asked {
			want := plainList(all, q.p)
			if got := words(q.got); got != words(want) {
				r.Fatalf("%v:\n%s\nwant\n%s\nof\n%s", q.p, got, words(want), words(all))
			}
		}
		word := rapid.SampledFrom([]string{"1", "d 1", "saved", "IMPORTED", "5", "12"}).Draw(r, "word")
		found, err := d.Search(within(t), &im.SearchParam{KeywordArray: []string{word}, ConvType: key.Type, ConvId: key.ID})
		must("search", err)
		var hits []string
		for _, i := range found.ItemArray {
			for _, m := range i.MessageArray {
				hits = append(hits, m.MsgId)
			}
		}
		var want []string
		for _, m := range all {
			if strings.Contains(strings.ToLower(text(m)), strings.ToLower(word)) {
				want = append(want, m.MsgId)
			}
		}
		slices.Sort(hits)
		slices.Sort(want)
		if !slices.Equal(hits, want) {
			r.Fatalf("%q: found %v, want %v", word, hits, want)
		}
	})
}

// plainList returns what p selects of all messages of a conversation, which are in rising order.
func plainList(all []*im.Message, p *im.GetMsgListParam) (out []*im.Message) {
	from, to := uint64(0), uint64(1<<63)
	switch {
	case p.TimeBegin == 0:
	case p.IsForward:
		if from = p.TimeBegin; p.TimePeriod > 0 {
			to = from + p.TimePeriod
		}
	default:
		if to = p.TimeBegin; p.TimePeriod > 0 {
			from = to - p.TimePeriod
		}
	}
	seq := uint64(0) // of the logged message before, or this one
	for _, m := range all {
		seq = max(seq, m.Seq)
		last := p.LastMsg.GetSeq()
		switch {
		case m.ServerTime < from || m.ServerTime > to:
		case last != 0 && p.IsForward && (seq < last || m.Seq == last):
		case last != 0 && !p.IsForward && seq >= last:
		case len(p.MessageTypeArray) > 0 && !slices.Contains(p.MessageTypeArray, uint32(m.ElemArray[0].ElemType)):
		default:
			out = append(out, m)
		}
	}
	if !p.IsForward {
		slices.Reverse(out)
	}
	return out[:min(len(out), int(p.Count))]
}

func words(ms []*im.Message) string {
	var out []string
	for _, m := range ms {
		out = append(out, fmt.Sprintf("%d:%s@%d", m.Seq, text(m), m.ServerTime%1000))
	}
	return strings.Join(out, " ")
}
