package histcheck_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/histcheck"
)

const (
	tipInvite = im.GroupTipType_GROUP_TIP_TYPE_INVITE
	tipQuit   = im.GroupTipType_GROUP_TIP_TYPE_QUIT
	tipKick   = im.GroupTipType_GROUP_TIP_TYPE_KICK
	tipAdmin  = im.GroupTipType_GROUP_TIP_TYPE_SET_ADMIN
	tipInfo   = im.GroupTipType_GROUP_TIP_TYPE_GROUP_INFO_CHANGE
	tipMember = im.GroupTipType_GROUP_TIP_TYPE_MEMBER_INFO_CHANGE
)

// book makes a correct history of a group as it goes on: what is done, what is stored of it, and what every device is told.
type book struct {
	h     *histcheck.History
	g     *histcheck.Group
	clock int64
	at    map[string]*histcheck.Device
}

func (b *book) add(d *histcheck.Device, r histcheck.Record) {
	b.clock++
	r.At, r.Run = b.clock, 1
	if strings.ToLower(r.Kind) == r.Kind {
		r.Batch = int(b.clock)
	}
	d.Records = append(d.Records, r)
}

// call makes a call; what it does is done by f before its answer.
func (b *book) call(user, op string, r histcheck.Record, result int, f func()) {
	d := b.at[user]
	r.Op, r.Kind, r.Call = op, histcheck.Calling, len(d.Records)+1
	b.add(d, r)
	r.Kind, r.N = histcheck.Returned, result
	if f != nil {
		f()
	}
	b.add(d, r)
}

func (b *book) user(d *histcheck.Device) histcheck.Period {
	ps := b.g.Periods[d.User]
	if len(ps) == 0 {
		return histcheck.Period{From: histcheck.NoEnd}
	}
	return ps[len(ps)-1]
}

// entry appends to the log and tells those who hear it.
func (b *book) entry(e *im.Entry, from *histcheck.Device, only ...string) {
	e.Seq, e.Time = uint64(len(b.g.Entries)+1), b.clock*1000
	for _, o := range b.g.Entries {
		if o.Countable {
			e.Index = o.Index
		}
		if o.Countable && o.Sender == e.Sender {
			e.OwnIndex = o.OwnIndex
		}
	}
	if e.Countable {
		e.Index, e.OwnIndex = e.Index+1, e.OwnIndex+1
	}
	b.g.Entries = append(b.g.Entries, e)
	if len(only) > 0 {
		b.g.Addressees[e.Seq] = only
	}
	for _, d := range b.h.Devices {
		p := b.user(d)
		if d == from || p.From >= e.Seq || p.To < e.Seq || len(only) > 0 && !slices.Contains(only, d.User) && d.User != e.Sender {
			continue
		}
		r := histcheck.Record{Kind: histcheck.New, Conv: b.g.ID, Seq: e.Seq, Time: uint64(e.Time / 1000), From: e.Sender, Tag: e.Message.CloudCustomStr}
		if t := e.Message.ElemArray[0].GetGroupTips(); t != nil {
			r.Text = histcheck.TipWords(t)
			b.add(d, histcheck.Record{Kind: histcheck.Tip, Conv: b.g.ID, Text: r.Text})
		}
		b.add(d, r)
	}
}

func (b *book) tip(t *im.GroupTipsElem) {
	t.GroupId, t.GroupName = b.g.ID, b.g.Info.Name
	b.entry(&im.Entry{Sender: "@TIM#SYSTEM", Message: &im.Message{ElemArray: []*im.Elem{{Body: &im.Elem_GroupTips{GroupTips: t}}}}}, nil)
}

func (b *book) report(user, by string, typ im.GroupReportType) {
	r := &im.GroupReportElem{ReportType: typ, GroupId: b.g.ID, OpUser: by}
	b.h.Feeds[user] = append(b.h.Feeds[user], &im.Relation{Kind: im.RelationKind_RELATION_GROUP_REPORT, Report: r})
	for _, d := range b.h.Devices {
		if d.User == user {
			b.add(d, histcheck.Record{Kind: histcheck.New, Text: histcheck.ReportWords(r)})
		}
	}
}

func (b *book) join(user string) {
	b.g.Periods[user] = append(b.g.Periods[user], histcheck.Period{From: uint64(len(b.g.Entries)), FromRev: uint64(len(b.g.Changes)), To: histcheck.NoEnd, ToRev: histcheck.NoEnd})
	b.g.Rows[user] = &im.GroupMemberInfo{MemberRole: 200}
	b.g.Count++
}

func (b *book) leave(user string) {
	ps := b.g.Periods[user]
	ps[len(ps)-1].To, ps[len(ps)-1].ToRev = uint64(len(b.g.Entries)), uint64(len(b.g.Changes))
	delete(b.g.Rows, user)
	b.g.Count--
}

// say sends a message.
func (b *book) say(device *histcheck.Device, tag string, mentions []string, only ...string) {
	b.sayAs(device, device.User, tag, mentions, only...)
}

// sayAs sends a message in the name of a user.
func (b *book) sayAs(device *histcheck.Device, user, tag string, mentions []string, only ...string) {
	s := &histcheck.Send{Device: device, User: user, Run: 1, Conv: b.g.ID, Tag: tag, Answers: 1, Call: len(device.Records) + 1, At: b.clock + 1, Mentions: mentions, Only: only,
		Seq: uint64(len(b.g.Entries) + 1)}
	device.Sends = append(device.Sends, s)
	b.add(device, histcheck.Record{Kind: histcheck.Calling, Op: "send", Call: s.Call, Conv: b.g.ID, Tag: tag})
	b.entry(&im.Entry{Sender: user, Countable: len(only) == 0, Message: &im.Message{CloudCustomStr: tag, ElemArray: []*im.Elem{{}}}}, device, only...)
	b.add(device, histcheck.Record{Kind: histcheck.Returned, Op: "send", Call: s.Call, Conv: b.g.ID, Tag: tag})
}

func (b *book) change(ch *im.Change, kind string, r histcheck.Record) {
	ch.Rev = uint64(len(b.g.Changes) + 1)
	b.g.Changes = append(b.g.Changes, ch)
	for _, d := range b.h.Devices {
		if b.user(d).To == histcheck.NoEnd && b.user(d).From < histcheck.NoEnd {
			r.Kind = kind
			b.add(d, r)
		}
	}
}

// grouped is a small correct history: ann makes a public group with ben, cleo joins and is muted; dan is invited, writes, leaves, and is invited again; ann
// has two devices. There are a message to some, mentions, a recall, an attribute, a name, an admin who removes somebody.
func grouped() (*book, []*histcheck.Device) {
	b := &book{h: &histcheck.History{Users: []string{"ann", "ben", "cleo", "dan"}, Feeds: map[string][]*im.Relation{}}, at: map[string]*histcheck.Device{}}
	b.g = &histcheck.Group{ID: "room1", Epoch: 7, Type: im.GroupType_GROUP_TYPE_PUBLIC, Addressees: map[uint64][]string{}, Periods: map[string][]histcheck.Period{}, Rows: map[string]*im.GroupMemberInfo{},
		Info: &im.GroupState{Name: "first", Introduction: "first"}, Owner: "ann", Attributes: map[string]string{}}
	b.h.Groups = []*histcheck.Group{b.g}
	for _, name := range []string{"ann-0", "ann-1", "ben-0", "cleo-0", "dan-0"} {
		user, _, _ := strings.Cut(name, "-")
		d := &histcheck.Device{Name: name, User: user, First: true}
		b.h.Devices = append(b.h.Devices, d)
		if b.at[user] == nil {
			b.at[user] = d
		}
		b.h.Feeds[user] = []*im.Relation{{Kind: im.RelationKind_RELATION_SELF}}
		b.add(d, histcheck.Record{Kind: histcheck.Opened})
		b.add(d, histcheck.Record{Kind: histcheck.Start})
	}
	conv := func(r histcheck.Record) histcheck.Record { r.Conv = "room1"; return r }
	b.call("ann", "grp:create", conv(histcheck.Record{Text: "first", Tag: "ben"}), 0, func() {
		b.join("ann")
		b.g.Rows["ann"].MemberRole = 400
		b.join("ben")
		b.tip(&im.GroupTipsElem{TipType: tipInvite, OpUser: "ann", UserArray: []string{"ben"}, MemberNum: 2})
		b.report("ann", "ann", im.GroupReportType_GROUP_REPORT_TYPE_CREATE)
		b.report("ben", "ann", im.GroupReportType_GROUP_REPORT_TYPE_INVITE)
	})
	b.call("ann", "grp:role", conv(histcheck.Record{Tag: "ben", Self: true}), 0, func() {
		b.g.Rows["ben"].MemberRole = 300
		b.tip(&im.GroupTipsElem{TipType: tipAdmin, OpUser: "ann", UserArray: []string{"ben"}})
		b.report("ben", "ann", im.GroupReportType_GROUP_REPORT_TYPE_GRANT_ADMIN)
	})
	b.say(b.at["ben"], "hello", []string{"ann"})
	b.call("cleo", "grp:join", conv(histcheck.Record{}), 0, func() {
		b.join("cleo")
		b.tip(&im.GroupTipsElem{TipType: tipInvite, OpUser: "cleo", UserArray: []string{"cleo"}, MemberNum: 3})
	})
	b.say(b.at["cleo"], "here I am", nil)
	b.call("ann", "grp:rename", conv(histcheck.Record{Text: "second"}), 0, func() {
		b.g.Info.Name = "second"
		b.tip(&im.GroupTipsElem{TipType: tipInfo, OpUser: "ann", GroupChangeInfoArray: []*im.GroupTipGroupChangeInfo{{Flag: im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_NAME, Value: "second"}}})
	})
	b.call("ben", "grp:invite", conv(histcheck.Record{Tag: "dan"}), 1, func() {
		b.join("dan")
		b.tip(&im.GroupTipsElem{TipType: tipInvite, OpUser: "ben", UserArray: []string{"dan"}, MemberNum: 4})
		b.report("dan", "ben", im.GroupReportType_GROUP_REPORT_TYPE_INVITE)
	})
	b.say(b.at["dan"], "my first", []string{"__kImSDK_MessageAtALL__"})
	b.call("dan", "grp:quit", conv(histcheck.Record{}), 0, func() {
		b.leave("dan")
		b.tip(&im.GroupTipsElem{TipType: tipQuit, OpUser: "dan", UserArray: []string{"dan"}, MemberNum: 3})
		b.report("dan", "dan", im.GroupReportType_GROUP_REPORT_TYPE_QUIT)
	})
	b.say(b.at["ann"], "without dan", nil)
	b.call("ben", "revoke", conv(histcheck.Record{Seq: 3}), 0, func() {
		b.g.Entries[2].Status = im.MessageStatus_MESSAGE_STATUS_REVOKED
		b.change(&im.Change{Kind: im.ChangeKind_CHANGE_REVOKE, Seq: 3, Operator: "ben"}, histcheck.Revoked, histcheck.Record{Conv: "room1", Seq: 3, From: "ben"})
		// Cleo came later than the message that is recalled: the number is void for her, and nothing is told.
		cleo := b.at["cleo"]
		cleo.Records = cleo.Records[:len(cleo.Records)-1]
	})
	b.call("ann", "grp:attribute", conv(histcheck.Record{Tag: "color", Text: "red"}), 0, func() {
		b.g.Attributes["color"] = "red"
		b.g.AttrVer = 1
		b.change(&im.Change{Kind: im.ChangeKind_CHANGE_ATTRIBUTES, Version: 1, Operator: "ann"}, histcheck.Attributes, histcheck.Record{Conv: "room1", Text: "color=red"})
	})
	b.call("ann", "grp:invite", conv(histcheck.Record{Tag: "dan"}), 1, func() {
		b.join("dan")
		b.tip(&im.GroupTipsElem{TipType: tipInvite, OpUser: "ann", UserArray: []string{"dan"}, MemberNum: 4})
		b.report("dan", "ann", im.GroupReportType_GROUP_REPORT_TYPE_INVITE)
	})
	b.say(b.at["ben"], "for ann", nil, "ann")
	b.call("ben", "grp:mute", conv(histcheck.Record{Tag: "cleo", Self: true}), 0, func() {
		b.g.Rows["cleo"].ShutupTime = 99
		b.tip(&im.GroupTipsElem{TipType: tipMember, OpUser: "ben", UserArray: []string{"cleo"}, MemberChangeInfoArray: []*im.GroupTipMemberChangeInfo{{Identifier: "cleo", ShutupTime: 60}}})
		b.report("cleo", "ben", im.GroupReportType_GROUP_REPORT_TYPE_SHUT_UP_MEMBER)
	})
	b.call("ben", "grp:kick", conv(histcheck.Record{Tag: "dan"}), 1, func() {
		b.leave("dan")
		b.tip(&im.GroupTipsElem{TipType: tipKick, OpUser: "ben", UserArray: []string{"dan"}, MemberNum: 3})
		b.report("dan", "ben", im.GroupReportType_GROUP_REPORT_TYPE_BE_KICKED)
	})
	b.say(b.at["ann"], "bye dan", nil)
	b.finish()
	return b, b.h.Devices
}

// finish makes the server's views and what the devices list, as they are at the end.
func (b *book) finish() {
	g := b.g
	b.h.GroupViews = map[string]map[uint64]*histcheck.Log{}
	for _, user := range b.h.Users {
		p := g.Periods[user][len(g.Periods[user])-1]
		in := p.To == histcheck.NoEnd
		l := &histcheck.Log{Head: &im.Head{Conv: &im.ConvKey{Id: g.ID}, Epoch: g.Epoch, Left: !in, JoinedSeq: p.From, JoinedRev: p.FromRev, Seq: min(p.To, uint64(len(g.Entries)))}}
		sees := func(seq uint64) bool {
			e := g.Entries[seq-1]
			if to := g.Addressees[seq]; to != nil && !slices.Contains(to, user) && e.Sender != user {
				return false
			}
			return slices.ContainsFunc(g.Periods[user], func(p histcheck.Period) bool { return p.From < seq && seq <= p.To })
		}
		for _, e := range g.Entries {
			if sees(e.Seq) {
				l.Entries = append(l.Entries, e)
			}
		}
		for _, ch := range g.Changes {
			if slices.ContainsFunc(g.Periods[user], func(p histcheck.Period) bool { return p.FromRev < ch.Rev && ch.Rev <= p.ToRev }) && (ch.Seq == 0 || sees(ch.Seq)) {
				l.Changes = append(l.Changes, ch)
			}
		}
		if h := l.Head; in {
			h.Rev, h.Members, h.AttrVer, h.Role = uint64(len(g.Changes)), g.Count, g.AttrVer, g.Rows[user].MemberRole
			for _, e := range g.Entries {
				if e.Countable && e.Sender != user && e.Seq > h.ReadSeq && e.Status == 0 {
					h.Unread++
				}
				if e.Seq == 8 && p.From < 8 { // dan has mentioned all
					h.Mentions = append(h.Mentions, &im.Mention{Seq: 8, All: true})
				}
			}
		}
		b.h.GroupViews[user] = map[uint64]*histcheck.Log{g.Epoch: l}
	}
	for _, d := range b.h.Devices {
		view := b.h.GroupViews[d.User][g.Epoch]
		x := &histcheck.Listed{Conv: &im.ConvInfo{Id: g.ID, UnreadNum: view.Head.Unread},
			GroupNow: histcheck.GroupNow{Name: g.Info.Name, Owner: g.Owner, Count: int(g.Count), Attributes: map[string]string{}, Members: map[string]im.GroupMemberRole{}, Cards: map[string]string{}, MemberFields: map[string]string{}}}
		for _, m := range view.Head.Mentions {
			x.Conv.GroupAtInfoArray = append(x.Conv.GroupAtInfoArray, &im.GroupAtInfo{Seq: m.Seq, AtType: 2})
		}
		for k, v := range g.Attributes {
			x.Attributes[k] = v
		}
		for u, row := range g.Rows {
			x.Members[u], x.Cards[u] = row.MemberRole, row.NameCard
		}
		for _, e := range slices.Backward(view.Entries) {
			it := histcheck.Item{Seq: e.Seq, Sender: e.Sender, Tag: e.Message.CloudCustomStr, Status: max(e.Status, im.MessageStatus_MESSAGE_STATUS_SENT),
				Version: e.Version, Text: e.Message.ElemArray[0].GetText().GetContent()}
			if t := e.Message.ElemArray[0].GetGroupTips(); t != nil {
				it.Text = histcheck.TipWords(t)
			}
			x.Items = append(x.Items, it)
		}
		d.Groups = map[string]*histcheck.Listed{g.ID: x}
	}
}

// TestCheckGroups shows that the checker accepts a good history of groups and detects what it is there to detect.
func TestCheckGroups(t *testing.T) {
	b, _ := grouped()
	if bad := histcheck.CheckGroups(b.h); len(bad) > 0 {
		t.Fatalf("a good history: %s", strings.Join(bad, "\n"))
	}
	find := func(d *histcheck.Device, kind, what string) int {
		i := slices.IndexFunc(d.Records, func(r histcheck.Record) bool {
			return r.Kind == kind && (r.Tag == what || strings.HasPrefix(r.Text, what))
		})
		if i < 0 {
			panic(fmt.Sprintf("%s has no %s %q", d.Name, kind, what))
		}
		return i
	}
	lose := func(d *histcheck.Device, kind, what string) {
		i := find(d, kind, what)
		d.Records = slices.Delete(d.Records, i, i+1)
	}
	hear := func(d *histcheck.Device, r histcheck.Record) {
		r.At, r.Batch, r.Run = 10000, 10000, 1
		d.Records = append(d.Records, r)
	}
	double := func(d *histcheck.Device, kind, what string) { hear(d, d.Records[find(d, kind, what)]) }
	// lost takes an entry out of the log at the server, so that nobody is told of it.
	lost := func(b *book, seq int) {
		g := b.g
		words := ""
		if t := g.Entries[seq-1].Message.ElemArray[0].GetGroupTips(); t != nil {
			words = histcheck.TipWords(t)
		}
		g.Entries = slices.Delete(g.Entries, seq-1, seq)
		for i, e := range g.Entries {
			e.Seq = uint64(i + 1)
		}
		for _, d := range b.h.Devices {
			d.Records = slices.DeleteFunc(d.Records, func(r histcheck.Record) bool { return r.Text == words })
		}
	}
	for _, c := range []struct {
		name, want string
		spoil      func(b *book, ann, pad, ben, cleo, dan *histcheck.Device)
	}{
		{"a tip that a device is not told", `cleo-0: never heard of room1 seq 6, tip 6 by ann sets 1 to second`, func(_ *book, _, _, _, cleo, _ *histcheck.Device) {
			lose(cleo, histcheck.New, "tip 6")
			lose(cleo, histcheck.Tip, "tip 6")
		}},
		{"a tip without its callback", "ann-1: a tip without its callback", func(_ *book, _, pad, _, _, _ *histcheck.Device) { lose(pad, histcheck.Tip, "tip 6") }},
		{"the callback of a tip only", "were not followed by a message", func(_ *book, _, pad, _, _, _ *histcheck.Device) { lose(pad, histcheck.New, "tip 3") }},
		{"a tip told twice", "ben-0: announced twice", func(_ *book, _, _, ben, _, _ *histcheck.Device) {
			double(ben, histcheck.Tip, "tip 6")
			double(ben, histcheck.New, "tip 6")
		}},
		{"a tip at who has left", "dan-0: announced what is not theirs", func(b *book, ann, _, _, _, dan *histcheck.Device) {
			hear(dan, ann.Records[find(ann, histcheck.Tip, "tip 3")])
			hear(dan, ann.Records[find(ann, histcheck.New, "tip 3")])
		}},
		{"a message from before they joined", "cleo-0: announced what is not theirs", func(b *book, ann, _, _, cleo, _ *histcheck.Device) {
			hear(cleo, ann.Records[find(ann, histcheck.New, "hello")])
		}},
		{"a message between two memberships", "dan-0: announced what is not theirs", func(b *book, ann, pad, _, _, dan *histcheck.Device) {
			hear(dan, pad.Records[find(pad, histcheck.New, "without dan")])
		}},
		{"a message for others", "cleo-0: announced what is not theirs", func(b *book, ann, _, _, cleo, _ *histcheck.Device) {
			hear(cleo, ann.Records[find(ann, histcheck.New, "for ann")])
		}},
		{"a message lost to one device", `ann-1: never heard of room1 seq 10, "without dan" by ann`, func(_ *book, _, pad, _, _, _ *histcheck.Device) { lose(pad, histcheck.New, "without dan") }},
		{"a message lost to who has left since", "dan-0: never heard of room1 seq 13", func(_ *book, _, _, _, _, dan *histcheck.Device) {
			lose(dan, histcheck.New, "tip 7")
			lose(dan, histcheck.Tip, "tip 7")
		}},
		{"messages that changed places", "after", func(_ *book, ann, _, _, _, _ *histcheck.Device) {
			i, j := find(ann, histcheck.New, "hello"), find(ann, histcheck.New, "here I am")
			ann.Records[i], ann.Records[j] = ann.Records[j], ann.Records[i]
		}},
		{"its own message", "ben-0: announced its own message", func(_ *book, ann, _, ben, _, _ *histcheck.Device) {
			hear(ben, ann.Records[find(ann, histcheck.New, "for ann")])
		}},
		{"a lost recall", "ann-1: never heard of the recall of room1 seq 3", func(_ *book, _, pad, _, _, _ *histcheck.Device) {
			i := slices.IndexFunc(pad.Records, func(r histcheck.Record) bool { return r.Kind == histcheck.Revoked })
			pad.Records = slices.Delete(pad.Records, i, i+1)
		}},
		{"the recall of what was before", "cleo-0: told of a recall that is not theirs", func(_ *book, ann, _, _, cleo, _ *histcheck.Device) {
			i := slices.IndexFunc(ann.Records, func(r histcheck.Record) bool { return r.Kind == histcheck.Revoked })
			hear(cleo, ann.Records[i])
		}},
		{"a lost report", "dan-0: never told of the 1 reports from report 4 of room1 by ben", func(_ *book, _, _, _, _, dan *histcheck.Device) { lose(dan, histcheck.New, "report 4") }},
		{"a doubled report", "told of a report that is not the next one", func(_ *book, _, _, _, _, dan *histcheck.Device) { double(dan, histcheck.New, "report 4") }},
		{"a report that nobody was to get", "cleo has 1 reports of type 4 about room1, by its log 0", func(b *book, _, _, _, cleo, _ *histcheck.Device) {
			b.report("cleo", "ben", im.GroupReportType_GROUP_REPORT_TYPE_BE_KICKED)
		}},
		{"a report that was lost at the server", "dan has 1 reports of type 7 about room1, by its log 2", func(b *book, _, _, _, _, dan *histcheck.Device) {
			lose(dan, histcheck.New, "report 7")
			b.h.Feeds["dan"] = slices.Delete(b.h.Feeds["dan"], 1, 2)
		}},
		{"attributes as they were", "told of attributes that are as they were", func(_ *book, ann, _, _, _, _ *histcheck.Device) { double(ann, histcheck.Attributes, "color") }},
		{"attributes as they were, after a restart", "told of attributes that are as they were", func(_ *book, ann, _, _, _, _ *histcheck.Device) {
			double(ann, histcheck.Attributes, "color")
			ann.Records[len(ann.Records)-1].Run = 2
		}},
		{"old attributes", "the attributes of room1 are color=red, told color=blue", func(_ *book, ann, _, _, _, _ *histcheck.Device) {
			ann.Records[find(ann, histcheck.Attributes, "color")].Text = "color=blue"
		}},
		{"the end of a group that goes on", "told 1 times that room1 has ended", func(_ *book, ann, _, _, _, _ *histcheck.Device) {
			hear(ann, histcheck.Record{Kind: histcheck.New, Text: "report 5 of room1 by ann: "})
		}},

		{"a tip that is lost at the server", "dan has the memberships", func(b *book, _, _, _, _, _ *histcheck.Device) { lost(b, 14) }},
		{"a message after the tip of its sender was lost", "sent by who is not a member", func(b *book, _, _, _, _, _ *histcheck.Device) { lost(b, 4) }},
		{"a name whose tip was lost", `of a group called "second"`, func(b *book, _, _, _, _, _ *histcheck.Device) { lost(b, 6) }},
		{"a membership that begins one too late", "dan has the memberships", func(b *book, _, _, _, _, _ *histcheck.Device) { b.g.Periods["dan"][1].From++ }},
		{"a membership that ends one too late", "dan has the memberships", func(b *book, _, _, _, _, _ *histcheck.Device) { b.g.Periods["dan"][0].To++ }},
		{"a membership that ends before a change that is before it", "a membership begins or ends at seq 2, rev 1, and rev 1 is about seq 3", func(b *book, _, _, _, _, _ *histcheck.Device) {
			b.g.Periods["cleo"][0].From, b.g.Periods["cleo"][0].FromRev = 2, 1
		}},
		{"a message of who was muted", "sent by who is muted", func(b *book, _, _, _, cleo, _ *histcheck.Device) {
			b.say(cleo, "but", nil)
			b.finish()
		}},
		{"a message of who was removed", "sent by who is not a member", func(b *book, _, _, _, _, dan *histcheck.Device) {
			b.say(dan, "why", nil)
			b.finish()
		}},
		{"a message while all are muted", "was sent by an ordinary member while all were muted", func(_ *book, ann, _, _, _, _ *histcheck.Device) {
			i := slices.IndexFunc(ann.Records, func(r histcheck.Record) bool { return r.Kind == histcheck.Returned && r.Op == "grp:role" })
			on := histcheck.Record{Kind: histcheck.Calling, Op: "grp:muteall", Conv: "room1", Self: true, Call: 500, At: ann.Records[i].At}
			answer := on
			answer.Kind = histcheck.Returned
			ann.Records = append(ann.Records, on, answer)
		}},
		{"an admin removes the owner", "ben with role 300 removes ann with role 400", func(b *book, _, _, _, _, _ *histcheck.Device) {
			b.call("ben", "grp:kick", histcheck.Record{Conv: "room1", Tag: "ann"}, 1, func() {
				b.leave("ann")
				b.tip(&im.GroupTipsElem{TipType: tipKick, OpUser: "ben", UserArray: []string{"ann"}, MemberNum: 2})
			})
			b.finish()
		}},
		{"a member changes the name", "cleo with role 200 changes the information", func(b *book, _, _, _, _, _ *histcheck.Device) {
			b.call("cleo", "grp:rename", histcheck.Record{Conv: "room1", Text: "third"}, 0, func() {
				b.g.Info.Name = "third"
				b.tip(&im.GroupTipsElem{TipType: tipInfo, OpUser: "cleo", GroupChangeInfoArray: []*im.GroupTipGroupChangeInfo{{Flag: im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_NAME, Value: "third"}}})
			})
			b.finish()
		}},
		{"a tip of what nobody has done", "which at most 0 calls have done", func(b *book, ann, _, _, _, _ *histcheck.Device) {
			i := find(ann, histcheck.Calling, "second")
			ann.Records = slices.Delete(ann.Records, i, i+1)
		}},
		{"a tip of what was done once", "times there is tip 1 by cleo of cleo, which at most 1 calls", func(b *book, _, _, _, _, _ *histcheck.Device) {
			b.tip(&im.GroupTipsElem{TipType: tipInvite, OpUser: "cleo", UserArray: []string{"cleo"}, MemberNum: 3})
			b.finish()
		}},
		{"what was done without a tip", "which was done 1 times", func(b *book, _, _, _, cleo, _ *histcheck.Device) {
			b.call("cleo", "grp:notice", histcheck.Record{Conv: "room1", Text: "read this"}, 0, nil)
		}},
		{"a join that is lost", "room1: dan is out, which no call explains", func(b *book, _, _, _, _, _ *histcheck.Device) {
			b.call("dan", "grp:join", histcheck.Record{Conv: "room1"}, 0, nil)
		}},
		{"who invites may not have known", "an invitation by who is not a member", func(b *book, _, _, _, _, _ *histcheck.Device) {
			b.g.Entries[6].Message.ElemArray[0].GetGroupTips().OpUser = "eve"
		}},
		{"a wrong count", "says that it has 4 members, there are 3 rows", func(b *book, _, _, _, _, _ *histcheck.Device) { b.g.Count = 4 }},
		{"a wrong count in a tip", "says that there are 4 members, and there are 3", func(b *book, _, _, _, _, _ *histcheck.Device) {
			b.g.Entries[8].Message.ElemArray[0].GetGroupTips().MemberNum = 4
		}},
		{"a role that nobody gave", "cleo has role 300, by the log 200", func(b *book, _, _, _, _, _ *histcheck.Device) { b.g.Rows["cleo"].MemberRole = 300 }},
		{"an acknowledged message that is lost", `"bye dan" was acknowledged with seq 15 of room1 and is nowhere`, func(b *book, _, _, _, _, _ *histcheck.Device) {
			b.g.Entries = b.g.Entries[:14]
		}},
		{"a message twice", `"hello" stands at seq 16, and at 3`, func(b *book, _, _, _, _, _ *histcheck.Device) {
			b.entry(&im.Entry{Sender: "ben", Countable: true, Message: &im.Message{CloudCustomStr: "hello", ElemArray: []*im.Elem{{}}}}, nil)
		}},
		{"later is before", "which was there before", func(b *book, _, _, _, _, _ *histcheck.Device) {
			i, j := b.g.Entries[4], b.g.Entries[9]
			i.Message, j.Message = j.Message, i.Message
			i.Sender, j.Sender = j.Sender, i.Sender
		}},
		{"a refused message", "was refused with 10007", func(b *book, _, _, ben, _, _ *histcheck.Device) { ben.Sends[0].Code = im.CodeNotMember }},
		{"an attribute that nobody has set", "the attribute color is \"green\", which no call explains", func(b *book, _, _, _, _, _ *histcheck.Device) { b.g.Attributes["color"] = "green" }},
		{"a version without a call", "ben has changed attributes 1 times, by 0 to 0 calls", func(b *book, _, _, _, _, _ *histcheck.Device) {
			b.g.Changes = append(b.g.Changes, &im.Change{Rev: 3, Kind: im.ChangeKind_CHANGE_ATTRIBUTES, Version: 2, Operator: "ben"})
			b.g.AttrVer = 2
		}},
		{"the server gives too much", "the server gives them seq 10", func(b *book, _, _, _, _, _ *histcheck.Device) {
			l := b.h.GroupViews["dan"][7]
			l.Entries = append(l.Entries, b.g.Entries[9])
		}},
		{"the server gives too little", "the server does not give them seq 15", func(b *book, _, _, _, _, _ *histcheck.Device) {
			l := b.h.GroupViews["cleo"][7]
			l.Entries = l.Entries[:len(l.Entries)-1]
		}},
		{"unread is wrong", "cleo of room1, epoch 7: the head has unread", func(b *book, _, _, _, _, _ *histcheck.Device) { b.h.GroupViews["cleo"][7].Head.Unread++ }},
		{"a mark is missing", "cleo of room1, epoch 7: the head has mentions []", func(b *book, _, _, _, _, _ *histcheck.Device) { b.h.GroupViews["cleo"][7].Head.Mentions = nil }},
		{"a device counts wrongly", "ben-0: room1 has 99 unread", func(b *book, _, _, ben, _, _ *histcheck.Device) { ben.Groups["room1"].Conv.UnreadNum = 99 }},
		{"a device does not list a message", "ben-0: room1: does not list seq 15", func(b *book, _, _, ben, _, _ *histcheck.Device) {
			ben.Groups["room1"].Items = ben.Groups["room1"].Items[1:]
		}},
		{"a device lists what is not its user's", "dan-0: room1: lists seq 15", func(b *book, ann, _, _, _, dan *histcheck.Device) {
			dan.Groups["room1"].Items = slices.Insert(dan.Groups["room1"].Items, 0, ann.Groups["room1"].Items[0])
		}},
		{"a device with an old name", `room1 is "first" of "ann"`, func(b *book, ann, _, _, _, _ *histcheck.Device) { ann.Groups["room1"].Name = "first" }},
		{"a device with an old role", "ben has role 200, at the server 300", func(b *book, ann, _, _, _, _ *histcheck.Device) { ann.Groups["room1"].Members["ben"] = 200 }},
		{"a device with old attributes", "ann-0: room1 has the attributes color=blue", func(b *book, ann, _, _, _, _ *histcheck.Device) { ann.Groups["room1"].Attributes["color"] = "blue" }},
	} {
		b, ds := grouped()
		c.spoil(b, ds[0], ds[1], ds[2], ds[3], ds[4])
		if bad := strings.Join(histcheck.CheckGroups(b.h), "\n"); !strings.Contains(bad, c.want) {
			t.Errorf("%s: no %q in:\n%s", c.name, c.want, bad)
		}
	}
}
