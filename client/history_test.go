package client_test

import (
	"fmt"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// secondsLog makes a fake reply for a log of 60 messages from ben, one per second from base+1 on, each seventh of which is a custom one.
func secondsLog(f *fake, base uint64) {
	entry := func(seq uint64) *im.Entry {
		e := fromBen(seq, fmt.Sprint(seq))
		e.Time = int64(base+seq)*1000 + 500
		if seq%7 == 0 {
			e.Message = &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_CUSTOM, Body: &im.Elem_Custom{Custom: &im.CustomElem{Data: fmt.Sprint(seq)}}}}}
		}
		return e
	}
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		h := benHead(60)
		h.ReadSeq, h.ReadOthers = 60, 60
		l.reply(fr, &im.HeadsReply{Cursor: 1, Heads: []*im.Head{h}})
	})
	f.answer(im.Method_SEQ_AT, func(l *fakeLink, fr *im.Frame) {
		req := &im.SeqAtRequest{}
		req.UnmarshalVT(fr.Body)
		reply := &im.SeqAtReply{From: 1}
		for seq := uint64(1); seq <= 60; seq++ {
			if entry(seq).Time < req.FromTime {
				reply.From = seq + 1
			}
			if entry(seq).Time <= req.ToTime {
				reply.To = seq
			}
		}
		l.reply(fr, reply)
	})
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		req := &im.PullRequest{}
		req.UnmarshalVT(fr.Body)
		from, to := req.From, req.To
		if n := uint64(req.Limit); n > 0 && to-from+1 > n {
			if req.NewestFirst {
				from = to - n + 1
			} else {
				to = from + n - 1
			}
		}
		reply := &im.PullReply{Epoch: 5, From: from, To: to}
		for seq := from; seq <= to; seq++ {
			reply.Entries = append(reply.Entries, entry(seq))
		}
		l.reply(fr, reply)
	})
}

// Times, types and numbers select before the page is cut, with the server and without it.
func TestHistorySelects(t *testing.T) {
	const base = 1_700_000_000
	f := newFake(t)
	secondsLog(f, base)
	d := dial(t, fakeConfig(t, f))
	key := client.C2C("ben")
	list := func(p *im.GetMsgListParam) (seqs []uint64) {
		t.Helper()
		ms, err := d.Messages(within(t), key, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms {
			seqs = append(seqs, m.Seq)
		}
		return seqs
	}
	want := func(what string, p *im.GetMsgListParam, seqs ...uint64) {
		t.Helper()
		if got := list(p); fmt.Sprint(got) != fmt.Sprint(seqs) {
			t.Errorf("%s: %v, want %v", what, got, seqs)
		}
	}
	at := func(seq uint64) *im.Message {
		return &im.Message{ConvId: "ben", ConvType: im.ConvType_CONV_TYPE_C2C, Seq: seq}
	}
	times := func(when string) {
		t.Helper()
		want(when+": back from a time", &im.GetMsgListParam{TimeBegin: base + 40, Count: 3}, 40, 39, 38)
		want(when+": a range", &im.GetMsgListParam{TimeBegin: base + 40, TimePeriod: 2, Count: 50}, 40, 39, 38)
		want(when+": a page of a range", &im.GetMsgListParam{TimeBegin: base + 40, TimePeriod: 10, Count: 2}, 40, 39)
		want(when+": its last page", &im.GetMsgListParam{TimeBegin: base + 40, TimePeriod: 10, Count: 8, LastMsg: at(33)}, 32, 31, 30)
		want(when+": on from a time", &im.GetMsgListParam{TimeBegin: base + 10, Count: 3, IsForward: true}, 10, 11, 12)
		want(when+": a range forward", &im.GetMsgListParam{TimeBegin: base + 10, TimePeriod: 2, Count: 50, IsForward: true}, 10, 11, 12)
		want(when+": a range before all", &im.GetMsgListParam{TimeBegin: base, TimePeriod: 10, Count: 50})
		want(when+": a range after all", &im.GetMsgListParam{TimeBegin: base + 100, TimePeriod: 10, Count: 50})
		want(when+": the largest numbers", &im.GetMsgListParam{TimeBegin: 1<<64 - 1, TimePeriod: 1<<64 - 1, Count: 2}, 60, 59)
		want(when+": back from now", &im.GetMsgListParam{TimePeriod: 1 << 40, Count: 2}, 60, 59)
		want(when+": numbers", &im.GetMsgListParam{SeqArray: []uint64{50, 3, 4, 9, 4, 61, 0}, IsForward: true}, 3, 4, 9, 50)
		want(when+": numbers, newest first", &im.GetMsgListParam{SeqArray: []uint64{3, 4, 50, 9}, Count: 1}, 50, 9, 4, 3)
	}
	times("with the server")
	list(&im.GetMsgListParam{Count: 100})

	custom := []uint32{uint32(im.ElemType_ELEM_TYPE_CUSTOM)}
	want("of a type", &im.GetMsgListParam{MessageTypeArray: custom, Count: 3}, 56, 49, 42)
	want("the next page of a type", &im.GetMsgListParam{MessageTypeArray: custom, Count: 3, LastMsg: at(42)}, 35, 28, 21)
	want("of a type, forward", &im.GetMsgListParam{MessageTypeArray: custom, Count: 2, IsForward: true}, 7, 14)
	want("of a type and a time", &im.GetMsgListParam{MessageTypeArray: custom, TimeBegin: base + 30, TimePeriod: 10, Count: 50}, 28, 21)
	want("of a type that none has", &im.GetMsgListParam{MessageTypeArray: []uint32{99}, Count: 50})

	f.answer(im.Method_LOGIN, func(l *fakeLink, fr *im.Frame) { l.ws.CloseNow() })
	(<-f.links).ws.CloseNow()
	d.until(t, "the end of the link", func(es []event) bool { e, ok := last(es, "net"); return ok && e.n != int(client.NetworkConnected) })
	times("without it")

	if _, err := d.Messages(within(t), key, &im.GetMsgListParam{SeqArray: make([]uint64, 1001)}); im.CodeOf(err) != im.CodeInvalidParameters {
		t.Errorf("1001 numbers: %v", err)
	}
}

// More rows than are searched at once.
func TestHistoryOfAType(t *testing.T) {
	s := imtest.Start(t)
	d := dial(t, config(t, s, "ann"))
	s.Dial("bob", client.Events{})
	custom := &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_CUSTOM, Body: &im.Elem_Custom{Custom: &im.CustomElem{Data: "x"}}}}}
	first, err := d.SendMessage(within(t), client.C2C("bob"), custom)
	if err != nil {
		t.Fatal(err)
	}
	d.fill("bob", 1100)
	last := d.say("bob", "last")
	for _, p := range []*im.GetMsgListParam{{}, {TimeBegin: last.ServerTime}, {TimeBegin: first.ServerTime, IsForward: true}} {
		p.MessageTypeArray = []uint32{uint32(im.ElemType_ELEM_TYPE_CUSTOM)}
		ms, err := d.Messages(within(t), client.C2C("bob"), p)
		if err != nil || len(ms) != 1 || ms[0].MsgId != first.MsgId {
			t.Errorf("%v: %v %v", p, ms, err)
		}
	}
	// The server converts times to numbers too.
	again := config(t, s, "ann")
	again.Platform = im.Platform_PLATFORM_PAD
	e := dial(t, again)
	ms, err := e.Messages(within(t), client.C2C("bob"), &im.GetMsgListParam{TimeBegin: first.ServerTime, IsForward: true, Count: 2})
	if err != nil || len(ms) != 2 || ms[0].MsgId != first.MsgId {
		t.Errorf("on from the first: %v %v", ms, err)
	}
	if ms, err = e.Messages(within(t), client.C2C("bob"), &im.GetMsgListParam{TimeBegin: first.ServerTime - 1}); err != nil || len(ms) != 0 {
		t.Errorf("back from before the first: %v %v", ms, err)
	}
}
