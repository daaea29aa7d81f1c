package client

import (
	"cmp"
	"slices"

	"github.com/tidings-im/tidings/im"
)

// A group's conversation is synced like any other. What differs is the membership: the log and the changes that a device follows begin where its user
// joined, and end where the membership or the group ended; from then on the conversation stays as it is. If they join again, the device goes on where it
// was, whatever it knew of the end: only the server knows whether there was another membership in between. What was in none is void in the replies.

// systemUser is the sender of tips and reports.
const systemUser = "@TIM#SYSTEM"

const (
	convGroup  = im.ConvType_CONV_TYPE_GROUP
	workGroup  = int32(im.GroupType_GROUP_TYPE_WORK)
	mentionAll = "__kImSDK_MessageAtALL__"
	// mostMentions is how many unread mentions a conversation shows.
	mostMentions = 100
)

// over reports whether the conversation is that of a group which the user has left, or which was dissolved.
func (cv *conv) over() bool { return cv.group.GetLeft() }

// begin sets where this device starts in a conversation that is new to it: behind what the user has cleared, and where the membership began. One that
// had begun and ended before the device completed its first sync is none of its news: such groups are left out of that sync, so their heads come later.
func (b *conversations) begin(cv *conv, h *im.Head) {
	cv.SyncedTo, cv.Rev = min(max(h.ClearedSeq, h.JoinedSeq), h.Seq), min(h.JoinedRev, h.Rev)
	if h.Left && h.JoinedAt > 0 && h.JoinedAt < b.c.sync.born {
		cv.SyncedTo, cv.Rev, cv.WithdrawnRev = h.Seq, h.Rev, h.Rev
	}
	cv.AttrTold, cv.attrRead = h.AttrVer, h.AttrVer
}

// takeMembership applies what a head says of a group. Heads may arrive out of order with each other, with entries and with changes.
func (b *conversations) takeMembership(cv *conv, h *im.Head) {
	old := cv.group
	if old == nil {
		old = &im.Head{}
	}
	g := &im.Head{GroupType: h.GroupType, InfoSeq: max(h.InfoSeq, old.InfoSeq), AttrVer: max(h.AttrVer, old.AttrVer), MemberSet: max(h.MemberSet, old.MemberSet),
		Dissolved: h.Dissolved || old.Dissolved, JoinedSeq: h.JoinedSeq, JoinedRev: h.JoinedRev, Left: h.Left, Role: h.Role, JoinTime: h.JoinTime, MuteUntil: h.MuteUntil,
		NameCard: h.NameCard, Members: h.Members, ShutupAll: h.ShutupAll, Mentions: old.Mentions}
	if h.Row < cv.Row || h.MemberSet < old.MemberSet && !h.Left { // of before what is known of the user's own
		g.JoinedSeq, g.JoinedRev, g.Left, g.Role, g.JoinTime, g.MuteUntil, g.NameCard, g.Members = old.JoinedSeq, old.JoinedRev, old.Left, old.Role, old.JoinTime,
			old.MuteUntil, old.NameCard, old.Members
	} else if h.Rev >= cv.Rev { // otherwise a recall may have been applied since
		later := slices.DeleteFunc(slices.Clone(old.Mentions), func(m *im.Mention) bool { return m.Seq <= h.Seq })
		g.Mentions = append(slices.Clone(h.Mentions), later...)
	}
	g.Left = g.Left || g.Dissolved
	cv.group, cv.dirty = g, true
	cv.readMentions()
}

// readMentions forgets the mentions that the user has read, or cannot see any more.
func (cv *conv) readMentions() {
	if g := cv.group; g != nil {
		g.Mentions = slices.DeleteFunc(g.Mentions, func(m *im.Mention) bool { return m.Seq <= max(cv.ReadSeq, cv.Cleared) || g.Left })
		g.Mentions = g.Mentions[:min(len(g.Mentions), mostMentions)]
	}
}

// mentions reports whether a message mentions the user, and all members.
func (b *conversations) mentions(m *im.Message) (me, all bool) {
	return slices.Contains(m.GetGroupAtUserArray(), b.c.cfg.UserID), slices.Contains(m.GetGroupAtUserArray(), mentionAll)
}

// noteMentions keeps the mentions in an entry that is applied.
func (b *conversations) noteMentions(cv *conv, e *im.Entry) {
	if cv.group == nil || e.Sender == b.c.cfg.UserID || e.Seq <= cv.ReadSeq || e.Status == im.MessageStatus_MESSAGE_STATUS_REVOKED {
		return
	}
	me, all := b.mentions(e.Message)
	for _, x := range []struct{ is, all bool }{{me, false}, {all, true}} {
		if x.is && !slices.ContainsFunc(cv.group.Mentions, func(m *im.Mention) bool { return m.Seq == e.Seq && m.All == x.all }) {
			cv.group.Mentions = append(cv.group.Mentions, &im.Mention{Seq: e.Seq, All: x.all})
			cv.dirty = true
		}
	}
	cv.readMentions()
}

// dropMentions forgets the mentions in a message that was recalled.
func (cv *conv) dropMentions(seq uint64) {
	if cv.group != nil {
		cv.group.Mentions = slices.DeleteFunc(cv.group.Mentions, func(m *im.Mention) bool { return m.Seq == seq })
		cv.dirty = true
	}
}

// atInfo returns the unread mentions as the application sees them: ascending, one for a message.
func (cv *conv) atInfo() (out []*im.GroupAtInfo) {
	const me, all, both = 1, 2, 3
	list := slices.Clone(cv.group.GetMentions())
	slices.SortStableFunc(list, func(x, y *im.Mention) int { return cmp.Compare(x.Seq, y.Seq) })
	for _, m := range list {
		typ := int32(me)
		if m.All {
			typ = all
		}
		if n := len(out); n > 0 && out[n-1].Seq == m.Seq {
			if out[n-1].AtType != typ {
				out[n-1].AtType = both
			}
			continue
		}
		out = append(out, &im.GroupAtInfo{Seq: m.Seq, AtType: typ})
	}
	return out
}

// dissolved ends the conversation of a group that was dissolved.
func (b *conversations) dissolved(cv *conv, report *im.GroupReportElem, at int64) {
	if cv.group == nil {
		cv.group = &im.Head{}
	}
	cv.group.Dissolved, cv.group.Left = true, true
	cv.readMentions()
	cv.dirty = true
	b.changed[cv] = true
	if report == nil {
		report = &im.GroupReportElem{ReportType: im.GroupReportType_GROUP_REPORT_TYPE_DELETE, GroupId: cv.key().ID, GroupName: cv.info.GetGroupName()}
	}
	b.c.owe(reported(report, at, cv.Epoch), report.SizeVT())
}

// beforeReport reports whether this device is about to get what the log of a group has before a report of the feed about it.
func (b *conversations) beforeReport(e *im.Relation) bool {
	if e.Kind != relReport || e.After == 0 || b.Conn == nil {
		return false
	}
	cv := b.byKey[Group(e.Report.GetGroupId())]
	switch {
	case cv != nil && (cv.Epoch > e.Epoch || cv.Epoch == e.Epoch && cv.SyncedTo >= e.After):
		return false
	case b.c.sync.listing():
		return true // its head may come
	}
	return cv != nil && (cv.deferred || b.c.sync.renewed[cv] != nil || cv.refreshing || cv.Epoch == e.Epoch && (cv.queued || cv.pulling))
}

// superseded reports the end of a group whose last change this device cannot read any more, because the group's id is another group's.
func (b *conversations) superseded(cv *conv) {
	if g := cv.group; g != nil && (!g.Left || g.Dissolved && cv.Rev < cv.headRev) {
		b.dissolved(cv, nil, b.c.session.serverNow().UnixMilli())
	}
	cv.SyncedTo, cv.Rev, cv.dirty = max(cv.SyncedTo, cv.headSeq), max(cv.Rev, cv.headRev), true
}

// tipOf returns the tip in a message of the system; nil if there is none.
func tipOf(sender string, m *im.Message) *im.GroupTipsElem {
	if sender != systemUser || len(m.GetElemArray()) == 0 {
		return nil
	}
	return m.ElemArray[0].GetGroupTips()
}

// tellTip adds a tip to the batch's events. It is also in a message, so the callback gets one of its own.
func (b *conversations) tellTip(tip *im.GroupTipsElem) {
	body, err := tip.MarshalVT()
	own := &im.GroupTipsElem{}
	if b.Check(err) && b.Check(own.UnmarshalVT(body)) {
		b.c.owe(&owedGroupTips{own}, len(body))
	}
}

// tellUnkept tells of a message that is in no log, and of the tip in it. Nobody can ask for it again, and nothing limits how many come: while the application does
// not take its events, they are lost.
func (b *conversations) tellUnkept(e *im.Entry) {
	if b.Overfull() {
		return
	}
	if tip := tipOf(e.Sender, e.Message); tip != nil {
		body, err := tip.MarshalVT()
		own := &im.GroupTipsElem{}
		if err == nil && own.UnmarshalVT(body) == nil { // it is also in the message, so the callback gets one of its own
			b.Live(func() { b.c.ev.tellGroupTips(own) })
		}
	}
	b.Live(func() { b.c.ev.tellNewMessages([]*im.Message{e.Message}) })
}

// by returns who has caused an entry: its sender, or whose act a tip tells.
func by(e *im.Entry) string {
	if tip := tipOf(e.Sender, e.Message); tip != nil {
		return tip.OpUser
	}
	return e.Sender
}

// reported is the event of a report: a message that belongs to no conversation. number distinguishes reports of one second.
func reported(r *im.GroupReportElem, at int64, number uint64) *owedNewMessages {
	when := seconds(at)
	m := &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_GROUP_REPORT, Body: &im.Elem_GroupReport{GroupReport: r}}},
		ConvType: im.ConvType_CONV_TYPE_SYSTEM, Sender: systemUser, ClientTime: when, ServerTime: when, Rand: uint64(uint32(number)), IsRead: true,
		Status: im.MessageStatus_MESSAGE_STATUS_SENT, UniqueId: uniqueID(when, uint32(number)), MsgId: messageID(0, when, uint32(number)),
		SenderProfile: &im.SenderProfile{Identifier: systemUser}}
	return &owedNewMessages{[]*im.Message{m}}
}
