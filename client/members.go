package client

import (
	"slices"

	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// members are the members of groups that this device has met: those who have sent something, whom a tip has named, or who were in a list. Nobody is asked
// for them: a group can have 100,000.
type members struct {
	c *Client
	// known are rows that were read or written.
	known map[memberKey]local.Member
}

type memberKey struct {
	conv int64
	user string
}

// mostMembersKnown limits the memory for members; those that are left out are read again.
const mostMembersKnown = 10_000

// meet keeps a member with a name card. ver is the card's version; 0: it is what the server shows at present.
func (b *members) meet(cv *conv, user, card string, ver uint64) {
	db := b.c.e.DB
	if user == "" || user == systemUser || db == nil || cv.Epoch == 0 {
		return
	}
	old, ok := b.row(cv, user)
	row := local.Member{Conv: cv.ID, User: user, Epoch: cv.Epoch, Ver: ver, Card: card}
	switch {
	case ok && ver != 0 && ver < old.Ver:
		row = old
	case ok && ver == 0:
		row.Ver = old.Ver
	}
	if !ok || row != old {
		b.c.e.Check(db.PutMember(row))
	}
	b.keep(row)
}

// row returns what is known of a member; false if this device has not met them.
func (b *members) row(cv *conv, user string) (local.Member, bool) {
	key := memberKey{cv.ID, user}
	m, ok := b.known[key]
	if !ok {
		row, err := b.c.e.DB.Member(cv.ID, user)
		if !b.c.e.Check(err) {
			return m, false
		}
		if m = (local.Member{Conv: cv.ID, User: user}); row != nil {
			m = *row
		}
		b.keep(m)
	}
	return m, m.Epoch == cv.Epoch
}

// keep keeps a row in memory; one of epoch 0 is of somebody whom this device has not met.
func (b *members) keep(m local.Member) {
	if len(b.known) >= mostMembersKnown {
		clear(b.known)
	}
	b.known[memberKey{m.Conv, m.User}] = m
}

// card returns the name card of a user, empty for one whom this device has not met. The user's own comes with the heads.
func (b *members) card(cv *conv, user string) string {
	switch {
	case user == b.c.cfg.UserID:
		return cv.group.GetNameCard()
	case cv.ID == 0 || cv.Epoch == 0 || user == systemUser || b.c.e.DB == nil:
		return ""
	}
	if m, ok := b.row(cv, user); ok {
		return m.Card
	}
	return ""
}

// dress sets what a message to a group shows of its sender as a member: the id and the name card.
func (b *members) dress(cv *conv, m *im.Message) {
	m.SenderGroupMemberInfo = nil
	if m.ConvType == convGroup {
		m.SenderGroupMemberInfo = &im.GroupMemberInfo{Identifier: m.Sender, NameCard: b.card(cv, m.Sender)}
	}
}

// changed handles a name card that a call of the user has changed.
func (b *members) changed(cv *conv, user, card string) {
	if user != b.c.cfg.UserID {
		b.meet(cv, user, card, 0)
	} else if cv.group != nil {
		cv.group.NameCard, cv.dirty = card, true
	}
}

// newStore forgets all members: versions of the other store say nothing about this one's.
func (b *members) newStore() {
	clear(b.known)
	b.c.e.Check(b.c.e.DB.DropMembers())
}

// part forgets somebody who is no member any more.
func (b *members) part(cv *conv, user string) {
	delete(b.known, memberKey{cv.ID, user})
	b.c.e.Check(b.c.e.DB.DropMember(cv.ID, user))
}

// told handles a tip. What is known of a member is newer than a tip that was missed.
func (b *members) told(cv *conv, tip *im.GroupTipsElem) {
	over := tip.TipType == im.GroupTipType_GROUP_TIP_TYPE_QUIT || tip.TipType == im.GroupTipType_GROUP_TIP_TYPE_KICK
	for _, m := range tip.ChangedGroupMemberinfoArray {
		if over {
			b.part(cv, m.GetIdentifier())
		} else if _, ok := b.row(cv, m.GetIdentifier()); !ok {
			b.meet(cv, m.GetIdentifier(), m.GetNameCard(), 0)
		}
	}
}

// met handles name cards that came with messages.
func (b *members) met(cv *conv, cards []*im.NameCard) {
	for _, c := range cards {
		b.meet(cv, c.GetUserId(), c.GetNameCard(), c.GetVer())
	}
}

// of returns the members of a group that this device has met, in the order of their ids.
func (b *members) of(cv *conv) []*im.GroupMemberInfo {
	rows, err := b.c.e.DB.Members(cv.ID)
	b.c.e.Check(err)
	rows = slices.DeleteFunc(rows, func(m local.Member) bool { return m.Epoch != cv.Epoch })
	var all []*im.GroupMemberInfo
	for _, m := range rows {
		p := b.c.people.of(m.User)
		all = append(all, &im.GroupMemberInfo{Identifier: m.User, GroupId: cv.Target, NameCard: m.Card, NickName: p.Nick, FaceUrl: p.Face, FriendRemark: p.remark})
	}
	return all
}
