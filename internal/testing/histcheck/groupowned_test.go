package histcheck_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/histcheck"
)

// owned goes on with what users do for themselves: cleo sets a receive option, and ann mentions her, and says something else; ben deletes what cleo has said, and
// ann clears everything.
func owned(opt int) *book {
	b, _ := grouped()
	cleo := b.at["cleo"]
	set := histcheck.Record{Kind: histcheck.Calling, Op: "recvopt", Conv: "room1", N: opt, Call: len(cleo.Records) + 1}
	b.add(cleo, set)
	b.add(cleo, histcheck.Record{Kind: histcheck.Update, Conv: "room1", Info: encoded(&im.ConvInfo{Id: "room1", RecvOpt: int32(opt)})})
	set.Kind = histcheck.Returned
	b.add(cleo, set)
	unheard := func() { cleo.Records = cleo.Records[:len(cleo.Records)-1] }
	b.say(b.at["ann"], "cleo?", []string{"cleo"})
	if opt == 1 {
		unheard()
	}
	b.say(b.at["ann"], "nothing", nil)
	unheard()
	b.call("ben", "delete", histcheck.Record{Conv: "room1", Seqs: []uint64{5}, Tags: []string{`"here I am" by cleo`}}, 0, nil)
	b.call("ann", "clear", histcheck.Record{Conv: "room1"}, 0, nil)
	b.finish()

	views := func(user string) *histcheck.Log { return b.h.GroupViews[user][7] }
	ann := views("ann")
	ann.Entries, ann.Head.ClearedSeq, ann.Head.ReadSeq, ann.Head.Unread, ann.Head.Mentions = nil, 17, 17, 0, nil
	of5 := func(e *im.Entry) bool { return e.Seq == 5 }
	views("ben").Entries = slices.DeleteFunc(slices.Clone(views("ben").Entries), of5)
	views("cleo").Head.RecvOpt = int32(opt)
	views("cleo").Head.Mentions = append(views("cleo").Head.Mentions, &im.Mention{Seq: 16})
	for _, d := range b.h.Devices {
		x := d.Groups["room1"]
		switch d.User {
		case "ann":
			x.Items, x.Conv = nil, &im.ConvInfo{Id: "room1"}
		case "ben":
			x.Items = slices.DeleteFunc(x.Items, func(it histcheck.Item) bool { return it.Seq == 5 })
		case "cleo":
			x.Conv.RecvOpt = int32(opt)
			x.Conv.GroupAtInfoArray = append(x.Conv.GroupAtInfoArray, &im.GroupAtInfo{Seq: 16, AtType: 1})
			if opt == 4 {
				x.Conv.UnreadNum = 2 // two mentions
			}
		}
	}
	return b
}

// TestCheckOwnOfGroups does the same for what users do to a group for themselves.
func TestCheckOwnOfGroups(t *testing.T) {
	head := func(b *book, user string) *im.Head { return b.h.GroupViews[user][7].Head }
	forget := func(d *histcheck.Device, op string) {
		d.Records = slices.DeleteFunc(d.Records, func(r histcheck.Record) bool { return r.Op == op })
	}
	said := func(d *histcheck.Device, tag string) histcheck.Record {
		return d.Records[slices.IndexFunc(d.Records, func(r histcheck.Record) bool { return r.Kind == histcheck.New && r.Tag == tag })]
	}
	for _, c := range []struct {
		name, want string
		opt        int
		spoil      func(b *book, ann, ben, cleo *histcheck.Device)
	}{
		{"a good history", "", 1, func(*book, *histcheck.Device, *histcheck.Device, *histcheck.Device) {}},
		{"a good history of mentions", "", 4, func(*book, *histcheck.Device, *histcheck.Device, *histcheck.Device) {}},
		{"what was cleared, at the server", "ann of room1, epoch 7: seq 15 was cleared and is there", 1, func(b *book, _, _, _ *histcheck.Device) {
			b.h.GroupViews["ann"][7].Entries = b.g.Entries[14:15]
		}},
		{"what was cleared, at a device", `ann-0: room1: lists seq 15, "bye dan" by ann, which was cleared`, 1, func(_ *book, ann, _, _ *histcheck.Device) {
			ann.Groups["room1"].Items = []histcheck.Item{{Seq: 15, Sender: "ann", Tag: "bye dan", Status: im.MessageStatus_MESSAGE_STATUS_SENT}}
		}},
		{"what nobody has cleared", "cleared up to 17 by nobody", 1, func(_ *book, ann, _, _ *histcheck.Device) { forget(ann, "clear") }},
		{"what came later, and is cleared", `seq 18, "later" by ben, was sent after the last time`, 1, func(b *book, _, ben, _ *histcheck.Device) {
			b.say(ben, "later", nil)
			head(b, "ann").ClearedSeq, head(b, "ann").ReadSeq = 18, 18
		}},
		{"what was there, and is not cleared", "ann-0: cleared, and seq 14 of room1 was here before, and is not cleared", 1, func(b *book, _, _, _ *histcheck.Device) { head(b, "ann").ClearedSeq = 13 }},
		{"what was cleared and is unread", "ann of room1, epoch 7: cleared up to 17 and read up to 9", 1, func(b *book, _, _, _ *histcheck.Device) { head(b, "ann").ReadSeq = 9 }},
		{"what was deleted, at the server", `seq 5, "here I am" by cleo, was deleted, and is there`, 1, func(b *book, _, _, _ *histcheck.Device) {
			b.h.GroupViews["ben"][7].Entries = b.g.Entries
		}},
		{"what was deleted, at a device", `ben-0: room1: lists seq 5, "here I am" by cleo, which was deleted here`, 1, func(_ *book, _, ben, _ *histcheck.Device) {
			x := ben.Groups["room1"]
			x.Items = slices.Insert(x.Items, slices.IndexFunc(x.Items, func(it histcheck.Item) bool { return it.Seq == 4 }), histcheck.Item{Seq: 5, Sender: "cleo", Tag: "here I am", Status: im.MessageStatus_MESSAGE_STATUS_SENT})
		}},
		{"what nobody has deleted", "ben of room1, epoch 7: the server does not give them seq 5", 1, func(_ *book, _, ben, _ *histcheck.Device) { forget(ben, "delete") }},
		{"a message that is deleted as another one", "ben of room1, epoch 7: the server does not give them seq 5", 1, func(_ *book, _, ben, _ *histcheck.Device) {
			for i := range ben.Records {
				if ben.Records[i].Op == "delete" {
					ben.Records[i].Tags = []string{`"hello" by ben`}
				}
			}
		}},
		{"an option that is lost", "cleo of room1, epoch 7: the receive option is 0, and was set to something else", 1, func(b *book, _, _, _ *histcheck.Device) { head(b, "cleo").RecvOpt = 0 }},
		{"an option that a device does not know", "cleo-0: room1 has the receive option 0, at the server 1", 1, func(_ *book, _, _, cleo *histcheck.Device) { cleo.Groups["room1"].Conv.RecvOpt = 0 }},
		{"told in silence", `cleo-0: told in a silent conversation what "ann" did`, 1, func(_ *book, ann, ben, cleo *histcheck.Device) {
			cleo.Records = append(cleo.Records, said(ben, "nothing"))
		}},
		{"told of a mention in silence", `cleo-0: told in a silent conversation what "ann" did`, 1, func(_ *book, ann, ben, cleo *histcheck.Device) {
			cleo.Records = append(cleo.Records, said(ben, "cleo?"))
		}},
		{"told of more than mentions", `cleo-0: told in a silent conversation what "ann" did`, 4, func(_ *book, ann, ben, cleo *histcheck.Device) {
			cleo.Records = append(cleo.Records, said(ben, "nothing"))
		}},
		{"never told of a mention", `cleo-0: never heard of room1 seq 16, "cleo?" by ann`, 4, func(_ *book, _, _, cleo *histcheck.Device) {
			cleo.Records = slices.DeleteFunc(cleo.Records, func(r histcheck.Record) bool { return r.Kind == histcheck.New && r.Tag == "cleo?" })
		}},
		{"what mentions nobody is unread", "cleo-0: room1 has 8 unread, counted 2", 4, func(_ *book, _, _, cleo *histcheck.Device) { cleo.Groups["room1"].Conv.UnreadNum = 8 }},
		{"a conversation that was deleted", "ann-0: room1 is in the list, and was deleted", 1, func(b *book, ann, _, _ *histcheck.Device) {
			head(b, "ann").Hidden = true
			b.call("ann", "deleteconv", histcheck.Record{Conv: "room1"}, 0, nil)
		}},
		{"a conversation that nobody has deleted", "ann of room1, epoch 7: hidden, and nobody has deleted it", 1, func(b *book, _, _, _ *histcheck.Device) { head(b, "ann").Hidden = true }},
	} {
		b := owned(c.opt)
		c.spoil(b, b.at["ann"], b.at["ben"], b.at["cleo"])
		if bad := strings.Join(histcheck.CheckGroups(b.h), "\n"); !strings.Contains(bad, c.want) || c.want == "" && bad != "" {
			t.Errorf("%s: no %q in:\n%s", c.name, c.want, bad)
		}
	}
}
