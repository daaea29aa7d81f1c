package histcheck_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/histcheck"
)

// hall goes on with a live room: ann makes it, and joins it with one device, ben and cleo join it; ann gives it a name, says something, and mutes cleo; ben says
// something and leaves, cleo is removed, and ann talks to herself, on two devices.
func hall() *book {
	b, _ := grouped()
	b.h.Rooms = 1
	seq := uint64(0)
	in := map[*histcheck.Device]bool{}
	hears := func(r histcheck.Record, but *histcheck.Device) {
		seq++
		r.Kind, r.Conv, r.Seq = histcheck.New, "room-live", seq
		for _, d := range b.h.Devices {
			if in[d] && d != but {
				if r.From == "@TIM#SYSTEM" {
					b.add(d, histcheck.Record{Kind: histcheck.Tip, Conv: r.Conv, Text: r.Text})
				}
				b.add(d, r)
			}
		}
	}
	tip := func(t *im.GroupTipsElem) {
		t.GroupName = "hall"
		hears(histcheck.Record{From: "@TIM#SYSTEM", Text: histcheck.TipWords(t)}, nil)
	}
	say := func(d *histcheck.Device, tag string) {
		s := &histcheck.Send{Device: d, User: d.User, Run: 1, Conv: "room-live", Tag: tag, Answers: 1, Call: len(d.Records) + 1, At: b.clock + 1, Seq: seq + 1}
		d.Sends = append(d.Sends, s)
		b.add(d, histcheck.Record{Kind: histcheck.Calling, Op: "send", Call: s.Call, Conv: s.Conv, Tag: tag})
		for _, o := range b.h.Devices {
			if in[o] && o != d {
				b.h.Heard = append(b.h.Heard, histcheck.Heard{Tag: tag, Device: o})
			}
		}
		hears(histcheck.Record{From: d.User, Tag: tag, Text: tag}, d)
		b.add(d, histcheck.Record{Kind: histcheck.Returned, Op: "send", Call: s.Call, Conv: s.Conv, Tag: tag})
	}
	room := func(r histcheck.Record) histcheck.Record { r.Conv = "room-live"; return r }
	join := func(d *histcheck.Device, tips bool) {
		b.at["joining"] = d
		b.call("joining", "grp:join", room(histcheck.Record{}), 0, func() {
			in[d] = true
			if tips {
				tip(&im.GroupTipsElem{TipType: tipInvite, OpUser: d.User, UserArray: []string{d.User}, MemberNum: 1})
			}
		})
	}
	ann, pad, ben, cleo := b.h.Devices[0], b.h.Devices[1], b.h.Devices[2], b.h.Devices[3]
	b.call("ann", "grp:create", room(histcheck.Record{Text: "hall"}), 0, nil)
	join(ann, true)
	join(ben, true)
	join(cleo, true)
	b.call("ann", "grp:rename", room(histcheck.Record{Text: "great hall"}), 0, func() {
		tip(&im.GroupTipsElem{TipType: tipInfo, OpUser: "ann", GroupChangeInfoArray: []*im.GroupTipGroupChangeInfo{{Flag: im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_NAME, Value: "great hall"}}})
	})
	say(ann, "welcome")
	say(cleo, "oh")
	b.call("ann", "grp:mute", room(histcheck.Record{Tag: "cleo", Self: true}), 0, nil)
	say(ben, "bye")
	b.call("ben", "grp:quit", room(histcheck.Record{}), 0, func() {
		in[ben] = false
		tip(&im.GroupTipsElem{TipType: tipQuit, OpUser: "ben", UserArray: []string{"ben"}, MemberNum: 2})
	})
	b.call("ann", "grp:kick", room(histcheck.Record{Tag: "cleo"}), 1, func() {
		in[cleo] = false
		tip(&im.GroupTipsElem{TipType: tipKick, OpUser: "ann", UserArray: []string{"cleo"}, MemberNum: 1})
	})
	join(pad, false)
	say(ann, "alone")
	say(pad, "not quite")
	b.finish()
	return b
}

// TestCheckLiveRoom does the same for a live room.
func TestCheckLiveRoom(t *testing.T) {
	at := func(d *histcheck.Device, kind, what string) int {
		i := slices.IndexFunc(d.Records, func(r histcheck.Record) bool {
			return r.Kind == kind && r.Conv == "room-live" && (r.Tag == what || strings.HasPrefix(r.Text, what))
		})
		if i < 0 {
			panic(fmt.Sprintf("%s has no %s %q", d.Name, kind, what))
		}
		return i
	}
	lose := func(d *histcheck.Device, kind, what string) {
		i := at(d, kind, what)
		d.Records = slices.Delete(d.Records, i, i+1)
	}
	forget := func(d *histcheck.Device, op, what string) {
		d.Records = slices.DeleteFunc(d.Records, func(r histcheck.Record) bool { return r.Conv == "room-live" && r.Op == op && r.Tag+r.Text == what })
	}
	hear := func(d *histcheck.Device, r histcheck.Record) {
		r.At, r.Batch = 10000, 10000
		d.Records = append(d.Records, r)
	}
	for _, c := range []struct {
		name, want string
		spoil      func(b *book, ann, pad, ben, cleo *histcheck.Device)
	}{
		{"a good history", "", func(*book, *histcheck.Device, *histcheck.Device, *histcheck.Device, *histcheck.Device) {}},
		{"a message that is lost", `cleo-0: never heard of "welcome" in the live room`, func(_ *book, _, _, _, cleo *histcheck.Device) { lose(cleo, histcheck.New, "welcome") }},
		{"a message that is lost between two", `ben-0: told 4 and 6 of the live room, and not 5 between them, "welcome"`, func(_ *book, _, _, ben, _ *histcheck.Device) { lose(ben, histcheck.New, "welcome") }},
		{"a message told twice", `ben-0: told twice in the live room`, func(_ *book, _, _, ben, _ *histcheck.Device) {
			i := at(ben, histcheck.New, "welcome")
			ben.Records = slices.Insert(ben.Records, i, ben.Records[i])
		}},
		{"messages that changed places", "ben-0: told 5 after 6 in the live room", func(_ *book, _, _, ben, _ *histcheck.Device) {
			i, j := at(ben, histcheck.New, "welcome"), at(ben, histcheck.New, "oh")
			ben.Records[i], ben.Records[j] = ben.Records[j], ben.Records[i]
		}},
		{"told after they left", "ben-0: told of the live room, which it is not in", func(_ *book, _, pad, ben, _ *histcheck.Device) {
			hear(ben, pad.Records[at(pad, histcheck.New, "alone")])
		}},
		{"told without joining", "dan-0: told of the live room, which it is not in", func(b *book, _, pad, _, _ *histcheck.Device) {
			hear(b.at["dan"], pad.Records[at(pad, histcheck.New, "alone")])
		}},
		{"told before they joined", "ann-1: told of the live room, which it is not in", func(_ *book, _, pad, ben, _ *histcheck.Device) {
			pad.Records = slices.Insert(pad.Records, at(pad, histcheck.Calling, ""), ben.Records[at(ben, histcheck.New, "welcome")])
		}},
		{"told after a restart", "ann-1: told of the live room, which it is not in", func(_ *book, ann, pad, _, _ *histcheck.Device) {
			r := pad.Records[at(pad, histcheck.New, "alone")]
			lose(pad, histcheck.New, "alone")
			pad.Records = append(pad.Records, histcheck.Record{Kind: histcheck.Closed, Run: 1}, histcheck.Record{Kind: histcheck.Opened, Run: 2})
			hear(pad, r)
		}},
		{"its own message", "ben-0: told its own message in the live room", func(_ *book, ann, _, ben, _ *histcheck.Device) {
			ben.Records = slices.Insert(ben.Records, at(ben, histcheck.Returned, "bye"), ann.Records[at(ann, histcheck.New, "bye")])
		}},
		{"what nobody has said", "ben-0: told in the live room what nobody has said", func(_ *book, _, _, ben, _ *histcheck.Device) {
			ben.Records[at(ben, histcheck.New, "welcome")].From = "cleo"
		}},
		{"what was refused", "told in the live room what was refused with 10017", func(_ *book, _, _, _, cleo *histcheck.Device) {
			last := cleo.Sends[len(cleo.Sends)-1]
			last.Code = im.CodeMuted
		}},
		{"another number than acknowledged", "ben-0: told as number 5 of the live room what was acknowledged as 55", func(_ *book, ann, _, _, _ *histcheck.Device) {
			for _, s := range ann.Sends {
				if s.Tag == "welcome" {
					s.Seq = 55
				}
			}
		}},
		{"two numbers of one message", `told "welcome" as number 50 of the live room`, func(_ *book, _, _, ben, cleo *histcheck.Device) {
			ben.Records[at(ben, histcheck.New, "oh")].Seq = 50
			cleo.Records[at(cleo, histcheck.New, "welcome")].Seq = 50
		}},
		{"a number twice", `"alone" and "not quite" both have the number 10 of the live room`, func(_ *book, ann, pad, _, _ *histcheck.Device) { pad.Sends[len(pad.Sends)-1].Seq = 10 }},
		{"later with a lower number", `"not quite" has the number 1 of the live room, and "alone", which was said before, 10`, func(_ *book, ann, pad, _, _ *histcheck.Device) {
			pad.Sends[len(pad.Sends)-1].Seq = 1
		}},
		{"said without a number", `"alone" was said in the live room without a number`, func(_ *book, ann, _, _, _ *histcheck.Device) { ann.Sends[len(ann.Sends)-1].Seq = 0 }},
		{"said by who has not joined", `ann-1: "not quite" was acknowledged, and the device is not in the live room`, func(_ *book, _, pad, _, _ *histcheck.Device) { forget(pad, "grp:join", "") }},
		{"said by who is muted", `cleo-0: "oh" was said in the live room by cleo, who was muted`, func(_ *book, ann, _, _, cleo *histcheck.Device) {
			before := ann.Records[at(ann, histcheck.Returned, "great hall")].At
			for i := range ann.Records {
				if ann.Records[i].Op == "grp:mute" && ann.Records[i].Conv == "room-live" {
					ann.Records[i].At = before
				}
			}
		}},
		{"a tip that is told twice", "ben-0: told twice in the live room", func(_ *book, _, _, ben, _ *histcheck.Device) {
			i := at(ben, histcheck.Tip, "tip 6")
			two := slices.Clone(ben.Records[i : i+2])
			two[1].Seq = 5
			ben.Records = slices.Insert(ben.Records, i+2, two...)
		}},
		{"a tip without its callback", "a tip of the live room without its callback before it", func(_ *book, _, _, ben, _ *histcheck.Device) { lose(ben, histcheck.Tip, "tip 6") }},
		{"the callback of a tip only", "ben-0: the callbacks of 1 tips in the live room were not followed by a message", func(_ *book, _, _, ben, _ *histcheck.Device) {
			i := at(ben, histcheck.New, "tip 1 by cleo")
			ben.Records = slices.Delete(ben.Records, i, i+1)
			lose(ben, histcheck.Tip, "tip 6")
			lose(ben, histcheck.New, "tip 6")
		}},
		{"a tip of what nobody has done", "a tip of the live room that no call has made", func(_ *book, ann, _, _, _ *histcheck.Device) { forget(ann, "grp:kick", "cleo") }},
		{"a name that nobody has given", "a tip of the live room that no call has made", func(_ *book, ann, _, _, _ *histcheck.Device) { forget(ann, "grp:rename", "great hall") }},
		{"a recall", "ann-0: revoke of 5 of the live room was acknowledged", func(b *book, _, _, _, _ *histcheck.Device) {
			b.call("ann", "revoke", histcheck.Record{Conv: "room-live", Seq: 5}, 0, nil)
		}},
	} {
		b := hall()
		c.spoil(b, b.h.Devices[0], b.h.Devices[1], b.h.Devices[2], b.h.Devices[3])
		if bad := strings.Join(histcheck.CheckGroups(b.h), "\n"); !strings.Contains(bad, c.want) || c.want == "" && bad != "" {
			t.Errorf("%s: no %q in:\n%s", c.name, c.want, bad)
		}
	}
}
