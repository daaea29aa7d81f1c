package histcheck_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/histcheck"
)

// operated goes on with what an operator does: dan comes back, cleo, who is muted, is made to say something, and so is dan when he is out again; the owner is removed.
func operated() (*book, *histcheck.Device) {
	b, _ := grouped()
	d := &histcheck.Device{Name: "operator"}
	b.h.Operator, b.at["administrator"] = d, d
	b.call("administrator", "grp:invite", histcheck.Record{Conv: "room1", Tag: "dan"}, 1, func() {
		b.join("dan")
		b.tip(&im.GroupTipsElem{TipType: tipInvite, OpUser: "administrator", UserArray: []string{"dan"}, MemberNum: 4})
		b.report("dan", "administrator", im.GroupReportType_GROUP_REPORT_TYPE_INVITE)
	})
	b.sayAs(d, "cleo", "for cleo", nil)
	for i, user := range []string{"dan", "ann"} {
		b.call("administrator", "grp:kick", histcheck.Record{Conv: "room1", Tag: user}, 0, func() {
			b.leave(user)
			b.tip(&im.GroupTipsElem{TipType: tipKick, OpUser: "administrator", UserArray: []string{user}, MemberNum: uint64(3 - i)})
			b.report(user, "administrator", im.GroupReportType_GROUP_REPORT_TYPE_BE_KICKED)
		})
	}
	b.g.Owner = ""
	b.sayAs(d, "dan", "for dan", nil)
	b.finish()
	return b, d
}

// TestCheckOperatorOfGroups does the same for what an operator does in groups.
func TestCheckOperatorOfGroups(t *testing.T) {
	for _, c := range []struct {
		name, want string
		spoil      func(b *book, op *histcheck.Device)
	}{
		{"a good history", "", func(*book, *histcheck.Device) {}},
		{"a tip of what no operator has done", "tip 3 by administrator of dan, which at most 0 calls have done", func(_ *book, op *histcheck.Device) {
			op.Records = slices.DeleteFunc(op.Records, func(r histcheck.Record) bool { return r.Op == "grp:kick" && r.Tag == "dan" })
		}},
		{"an acknowledged message that is lost", `operator: "for dan" was acknowledged with seq 20 of room1 and is nowhere`, func(b *book, _ *histcheck.Device) { b.g.Entries = b.g.Entries[:19] }},
		{"a user who was removed and is a member", "room1: ben is in, which no call explains", func(b *book, _ *histcheck.Device) {
			b.call("administrator", "grp:kick", histcheck.Record{Conv: "room1", Tag: "ben"}, 0, nil)
		}},
		{"a name that was set without a tip", "which was done 1 times", func(b *book, _ *histcheck.Device) {
			b.call("administrator", "grp:rename", histcheck.Record{Conv: "room1", Text: "third"}, 0, nil)
		}},
		{"a message of who is no member, by no operator", "sent by who is not a member", func(b *book, op *histcheck.Device) {
			s := op.Sends[1]
			s.Device = b.at["dan"]
			b.at["dan"].Sends, op.Sends = append(b.at["dan"].Sends, s), op.Sends[:1]
		}},
		{"a message that is lost to who it is said to be from", `cleo-0: never heard of room1 seq 17, "for cleo" by cleo`, func(b *book, _ *histcheck.Device) {
			cleo := b.at["cleo"]
			cleo.Records = slices.DeleteFunc(cleo.Records, func(r histcheck.Record) bool { return r.Tag == "for cleo" })
		}},
		{"a report that is lost", "ann-0: never told of the 1 reports from report 4 of room1 by administrator", func(b *book, _ *histcheck.Device) {
			ann := b.at["ann"]
			ann.Records = slices.DeleteFunc(ann.Records, func(r histcheck.Record) bool { return strings.HasPrefix(r.Text, "report 4") })
		}},
	} {
		b, op := operated()
		c.spoil(b, op)
		if bad := strings.Join(histcheck.CheckGroups(b.h), "\n"); !strings.Contains(bad, c.want) || c.want == "" && bad != "" {
			t.Errorf("%s: no %q in:\n%s", c.name, c.want, bad)
		}
	}
}

// modified goes on with the modification of ann's last message.
func modified() *book {
	b, _ := grouped()
	b.call("ann", "modify", histcheck.Record{Conv: "room1", Seq: 15, Tag: "bye dan", Text: "good-bye", Version: 1, ID: "good-bye"}, 0, func() {
		e := b.g.Entries[14]
		e.Version, e.Message.ElemArray = 1, im.Text("good-bye").ElemArray
		b.change(&im.Change{Kind: im.ChangeKind_CHANGE_MODIFY, Seq: 15, Operator: "ann"}, histcheck.Updated,
			histcheck.Record{Conv: "room1", Seq: 15, Version: 1, Text: "good-bye", Tag: "bye dan", From: "ann"})
	})
	b.finish()
	return b
}

// TestCheckModificationsInGroups does the same for modifications.
func TestCheckModificationsInGroups(t *testing.T) {
	update := func(d *histcheck.Device) *histcheck.Record {
		return &d.Records[slices.IndexFunc(d.Records, func(r histcheck.Record) bool { return r.Kind == histcheck.Updated })]
	}
	for _, c := range []struct {
		name, want string
		spoil      func(b *book, ann, ben, dan *histcheck.Device)
	}{
		{"a good history", "", func(*book, *histcheck.Device, *histcheck.Device, *histcheck.Device) {}},
		{"an update that is lost", `ben-0: was told version 0 of room1 seq 15, "bye dan", which has 1`, func(_ *book, _, ben, _ *histcheck.Device) {
			ben.Records = slices.DeleteFunc(ben.Records, func(r histcheck.Record) bool { return r.Kind == histcheck.Updated })
		}},
		{"an older version after it", "ben-0: updated to version 0 after 1", func(_ *book, _, ben, _ *histcheck.Device) {
			old := *update(ben)
			old.Version, old.Batch, old.At = 0, 10000, 10000
			ben.Records = append(ben.Records, old)
		}},
		{"another text", "ben-0: updated to what nobody has made", func(_ *book, _, ben, _ *histcheck.Device) { update(ben).Text = "hello" }},
		{"an update at who has left", "dan-0: an update of what is not theirs", func(_ *book, _, ben, dan *histcheck.Device) { dan.Records = append(dan.Records, *update(ben)) }},
		{"a version without a change", "seq 15 has version 2 and was modified 1 times", func(b *book, _, _, _ *histcheck.Device) { b.g.Entries[14].Version = 2 }},
		{"a text that nobody has written", `seq 15 has version 1, "bad-bye", which nobody has made`, func(b *book, _, _, _ *histcheck.Device) {
			b.g.Entries[14].Message.ElemArray = im.Text("bad-bye").ElemArray
		}},
		{"a modification that is lost", `seq 15 has version 0, "", and ann-0 was answered with 1, "good-bye"`, func(b *book, _, _, _ *histcheck.Device) {
			e := b.g.Entries[14]
			e.Version, e.Message.ElemArray = 0, []*im.Elem{{}}
			b.g.Changes = b.g.Changes[:len(b.g.Changes)-1]
		}},
		{"a modification of somebody else's message", "rev 3: ben has modified seq 15 of ann", func(b *book, _, _, _ *histcheck.Device) { b.g.Changes[2].Operator = "ben" }},
		{"a device that lists the old text", `ben-0: room1: lists seq 15 with version 0, "bye", the log has 1, "good-bye"`, func(_ *book, _, ben, _ *histcheck.Device) {
			ben.Groups["room1"].Items[0].Version, ben.Groups["room1"].Items[0].Text = 0, "bye"
		}},
		{"the server gives an old version", `ben of room1, epoch 7: the server gives them "bye dan" by ann as seq 15`, func(b *book, _, _, _ *histcheck.Device) {
			l := b.h.GroupViews["ben"][7]
			l.Entries[len(l.Entries)-1] = &im.Entry{Seq: 15, Sender: "ann", Time: b.g.Entries[14].Time, Message: b.g.Entries[14].Message}
		}},
	} {
		b := modified()
		c.spoil(b, b.at["ann"], b.at["ben"], b.at["dan"])
		if bad := strings.Join(histcheck.CheckGroups(b.h), "\n"); !strings.Contains(bad, c.want) || c.want == "" && bad != "" {
			t.Errorf("%s: no %q in:\n%s", c.name, c.want, bad)
		}
	}
}

// TestCheckNameCards does the same for name cards.
func TestCheckNameCards(t *testing.T) {
	for _, c := range []struct {
		name, want string
		spoil      func(b *book)
	}{
		{"a good history", "", func(*book) {}},
		{"a card that is lost", `room1: ben has the name card "", which no call explains`, func(b *book) { b.g.Rows["ben"].NameCard = "" }},
		{"a card that nobody has set", `room1: ann has the name card "Benny", which no call explains`, func(b *book) { b.g.Rows["ann"].NameCard = "Benny" }},
		{"an old card at a device", `ann-0: room1: ben has the name card "Ben", at the server "Benny"`, func(b *book) { b.at["ann"].Groups["room1"].Cards["ben"] = "Ben" }},
	} {
		b, _ := grouped()
		for _, card := range []string{"Ben", "Benny"} {
			b.call("ben", "grp:card", histcheck.Record{Conv: "room1", Tag: "ben", Text: card}, 0, func() { b.g.Rows["ben"].NameCard = card })
		}
		b.finish()
		c.spoil(b)
		if bad := strings.Join(histcheck.CheckGroups(b.h), "\n"); !strings.Contains(bad, c.want) || c.want == "" && bad != "" {
			t.Errorf("%s: no %q in:\n%s", c.name, c.want, bad)
		}
	}
}
