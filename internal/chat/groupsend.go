package chat

import (
	"context"
	"errors"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tidings-im/tidings/im"
)

// group is what a send must know about a group. Who may send is checked by the store, where the message gets its number.
type group struct {
	id   ConvID
	name string
	typ  *groupType
}

const (
	maxMentions  = 30
	maxAddressed = 50
)

// MentionAll is the name by which a message mentions all members.
const MentionAll = "__kImSDK_MessageAtALL__"

// groupOf finds a group for a send. One that was dissolved is found, too: the store has the first answers to what was sent to it.
func (c *Chat) groupOf(ctx context.Context, id string, epoch uint64) (group, error) {
	if g, ok := c.groups.get(id); ok && c.means(&g, epoch) {
		return g, nil
	}
	cv, err := c.store.Group(ctx, id)
	if err == nil && epoch != 0 && epoch != uint64(cv.ID) {
		cv, err = c.store.Conv(ctx, ConvID(epoch))
		if err == nil && cv.Group != id {
			err = ErrNotFound
		}
	}
	if errors.Is(err, ErrNotFound) {
		return group{}, noGroup(id)
	}
	if err != nil {
		return group{}, err
	}
	g := group{cv.ID, cv.Group, groupTypes[cv.Type]}
	if g.typ == nil {
		return group{}, noGroup(id)
	}
	if !cv.Dissolved {
		c.groups.put(id, g)
	}
	return g, nil
}

// means reports whether a send that names an epoch, or none, is to a group that is remembered. If others commit to the store as well, the id may be another
// group's by now.
func (c *Chat) means(g *group, epoch uint64) bool {
	return epoch == uint64(g.id) || epoch == 0 && !c.store.Shared()
}

// into makes m a message to a group, and finds whom it mentions and addresses. It is checked again, as a member, where it gets its number.
func (c *Chat) into(ctx context.Context, m *send, g group) error {
	m.group, m.conv = &g, c2c{g.id}
	m.countable = m.countable && g.typ.unread
	if !m.names {
		return nil
	}
	var msg im.Message
	if err := msg.UnmarshalVT(m.body); err != nil {
		return err // it has been checked
	}
	switch at, to := msg.GroupAtUserArray, msg.TargetGroupMemberArray; {
	case len(at) > maxMentions:
		return im.Errorf(im.CodeTooManyMentions, "message_group_at_user_array names %d users, more than %d", len(at), maxMentions)
	case len(at) > 0 && !g.typ.mentions:
		return im.Errorf(im.CodeGroupParameters, "in groups of type %s nobody is mentioned", g.typ.name)
	case len(at) > 0: // with mentions, the list of addressees is ignored
		return c.mention(ctx, m, at)
	case len(to) > maxAddressed:
		return im.Errorf(im.CodeGroupUserCount, "message_target_group_member_array names %d users, more than %d", len(to), maxAddressed)
	case len(to) > 0 && !g.typ.targeted:
		return im.Errorf(im.CodeGroupParameters, "in groups of type %s all members get a message", g.typ.name)
	case len(to) > 0:
		m.targeted, m.countable = true, false
		uids, err := c.uidsNamed(ctx, to)
		m.aim = &Aim{To: slices.DeleteFunc(uids, func(uid UID) bool { return uid == m.call.Caller.UID })} // who has it in any case
		return err
	}
	return nil
}

// mention finds the users whom a message mentions. They need not be members yet: who is one when the message gets its number has it, and who joins later has read
// everything before. The same holds for those to whom a message is addressed, except that who joins later never has it.
func (c *Chat) mention(ctx context.Context, m *send, names []string) error {
	rest := names[:0:0]
	m.aim = &Aim{}
	for _, name := range names {
		if name == MentionAll {
			m.aim.Mentions = append(m.aim.Mentions, 0)
		} else {
			rest = append(rest, name)
		}
	}
	uids, err := c.uidsNamed(ctx, rest)
	m.aim.Mentions = append(m.aim.Mentions, uids...)
	return err
}

// uidsNamed returns those of the users who exist.
func (c *Chat) uidsNamed(ctx context.Context, names []string) (uids []UID, err error) {
	people, err := c.eachPerson(ctx, names)
	for _, p := range people {
		if p.uid != 0 {
			uids = append(uids, p.uid)
		}
	}
	return uids, err
}

// groupEntry is the im.EntryPush of a message to a group, the same for everybody who has it; voidEntry is that for members who do not.
type (
	groupEntry send
	voidEntry  send
)

func (*groupEntry) readAs(*im.EntryPush) {}
func (*voidEntry) readAs(*im.EntryPush)  {}

func (m *groupEntry) SizeVT() int {
	n := (*send)(m).sizePush(m.group.name)
	if m.face != nil {
		n += 1 + protowire.SizeBytes(len(m.face.wire))
	}
	if is := &m.stored.Standing; is.In {
		n += is.sizeCard()
	}
	return n
}

func (m *groupEntry) MarshalToSizedBufferVT(b []byte) (int, error) {
	n := (*send)(m).appendPush(b[:0], m.group.name)
	if m.face != nil {
		n = len(protowire.AppendBytes(protowire.AppendTag(b[:n], personOfPush, protowire.BytesType), m.face.wire))
	}
	if is := &m.stored.Standing; is.In {
		n = len(is.appendCard(b[:n]))
	}
	return n, nil
}

// push is what members who are not addressees get: that the number is taken.
func (m *voidEntry) push() *im.EntryPush {
	return &im.EntryPush{
		Conv: groupKeyOf(m.group.name), Epoch: uint64(m.group.id), Entry: &im.Entry{Seq: m.stored.Seq, Index: m.stored.Index},
	}
}

func (m *voidEntry) SizeVT() int { return m.push().SizeVT() }

func (m *voidEntry) MarshalToSizedBufferVT(b []byte) (int, error) {
	return m.push().MarshalToSizedBufferVT(b)
}

// tellGroup notifies the members, except the session that sent it.
func (m *send) tellGroup(device Device) {
	s := m.call.Caller
	set := m.stored.MemberSet
	to := Audience{Group: m.group.id, Seq: m.stored.Seq, MemberSet: set, Except: s.ID, ExceptDevice: device}
	if m.targeted {
		to.Among = append(slices.Clone(m.aim.To), s.UID)
		if m.stored.Seq > 0 {
			m.c.tell(pushEntry.wire(Audience{Group: m.group.id, Seq: m.stored.Seq, MemberSet: set, Without: to.Among}, (*voidEntry)(m)))
		}
	}
	m.c.tell(pushEntry.wire(to, (*groupEntry)(m)))
}

// sees reports whether the owner of a row may see a number of the log.
func (r *HeadRow) sees(seq uint64) bool {
	if r.Conv.Kind != KindGroup {
		return true
	}
	if typ := groupTypes[r.Conv.Type]; typ != nil && typ.history {
		return len(r.Periods) > 0 && seq <= r.Periods[len(r.Periods)-1].To
	}
	return r.was(seq)
}

// was reports whether the owner of a row was a member of the group when a number of its log was given.
func (r *HeadRow) was(seq uint64) bool {
	return slices.ContainsFunc(r.Periods, func(p Period) bool { return p.From < seq && seq <= p.To })
}

// made removes what was made while the owner of a row was not a member: what a device asks for its own log fires, and what was before a membership, or between
// two, is history only, in every type of group.
func (r *HeadRow) made(found []entry) []entry {
	if r.Conv.Kind != KindGroup {
		return found
	}
	left := found[:0]
	for _, e := range found {
		if r.was(e.Seq) {
			left = append(left, e)
		}
	}
	return left
}

// next returns the first number from one on that was made while the owner of a row was a member; math.MaxUint64 if there is none.
func (r *HeadRow) next(from uint64) uint64 {
	if r.Conv.Kind != KindGroup {
		return from
	}
	for _, p := range r.Periods { // the oldest first
		if from <= p.To {
			return max(from, p.From+1)
		}
	}
	return math.MaxUint64
}

// hears reports whether a change of the rev line was made while the owner of the row was a member.
func (r *HeadRow) hears(rev uint64) bool {
	if r.Conv.Kind != KindGroup {
		return true
	}
	for _, p := range r.Periods {
		if p.FromRev < rev && rev <= p.ToRev {
			return true
		}
	}
	return false
}

// seen removes what the owner of a row may not see: what is outside of their memberships, and what is addressed to others.
func (c *Chat) seen(ctx context.Context, row *HeadRow, found []entry) ([]entry, error) {
	if row.Conv.Kind != KindGroup || len(found) == 0 {
		return found, nil
	}
	var mine map[uint64]bool
	left := found[:0]
	for _, e := range found {
		if !row.sees(e.Seq) {
			continue
		}
		if e.Targeted && e.Sender != row.Mine.UID {
			if !row.was(e.Seq) {
				continue // an addressee is who is a member then, in every type of group
			}
			if mine == nil {
				list, err := c.store.AddressedTo(ctx, row.Mine.UID, row.Conv.ID, e.Seq, found[len(found)-1].Seq)
				if err != nil {
					return nil, err
				}
				mine = make(map[uint64]bool, len(list))
				for _, seq := range list {
					mine[seq] = true
				}
			}
			if !mine[e.Seq] {
				continue
			}
		}
		left = append(left, e)
	}
	return left, nil
}

// seesMessage reports whether the owner of a row has a message.
func (c *Chat) seesMessage(ctx context.Context, row *HeadRow, st *Stored) (bool, error) {
	left, err := c.seen(ctx, row, []entry{{Stored: st}})
	return len(left) == 1, err
}

// inside returns the row of a caller in a conversation; 10007 for somebody who never was in the group.
func (c *Chat) inside(ctx context.Context, uid UID, id ConvID) (HeadRow, error) {
	row, err := c.store.Head(ctx, uid, id)
	if errors.Is(err, ErrNotFound) {
		err = errNotMember
	}
	return row, err
}

// memberNow returns an error unless the membership of a row, and its group, go on.
func memberNow(row *HeadRow) error {
	switch {
	case row.Conv.Kind != KindGroup:
		return nil
	case row.Conv.Dissolved:
		return dissolved(row.Conv.Group)
	case row.Mine.Left:
		return im.Errorf(im.CodeNotMember, "the caller is not a member of the group any more")
	}
	return nil
}

// GroupsOf returns the groups that a user is a member of.
func (c *Chat) GroupsOf(ctx context.Context, uid UID) ([]GroupOf, error) {
	return c.store.GroupsOf(ctx, uid)
}

// JoinedSince returns a group's MemberSet, and who is in the group and has joined after another one.
func (c *Chat) JoinedSince(ctx context.Context, id ConvID, set uint64) (now uint64, users []UID, err error) {
	cv, err := c.store.Conv(ctx, id)
	if err != nil {
		return 0, nil, err
	}
	for after := set; ; {
		rows, err := c.store.MemberPage(ctx, id, after, 0, joinedPage)
		if err != nil {
			return 0, nil, err
		}
		for i := range rows {
			users = append(users, rows[i].UID)
		}
		if len(rows) < joinedPage {
			return cv.MemberSet, users, nil
		}
		after = rows[joinedPage-1].Joined
	}
}

// joinedPage is how many members JoinedSince reads at once.
const joinedPage = 1000

// InGroup returns those of the users who are members of a group.
func (c *Chat) InGroup(ctx context.Context, id ConvID, users []UID) ([]GroupOf, error) {
	return c.store.InGroup(ctx, id, users)
}

// changeSeen reports whether the owner of a row is told of a change: it was made while they were a member, and is about no message that they do not have.
func (c *Chat) changeSeen(ctx context.Context, row *HeadRow, ch *Change) (bool, error) {
	if !row.hears(ch.Rev) || ch.Target == nil {
		return row.hears(ch.Rev), nil
	}
	return c.seesMessage(ctx, row, ch.Target)
}

// lastSeen returns the newest entry of a group that a member may see, of the last asideMost.
func (c *Chat) lastSeen(ctx context.Context, uid UID, row *HeadRow) ([]entry, error) {
	seq := row.end()
	if seq == 0 {
		return nil, nil
	}
	found, err := c.entries(ctx, row.Conv.ID, max(row.Mine.ClearedSeq+1, seq-min(seq-1, asideMost-1)), seq, true, asideMost)
	if err != nil {
		return nil, err
	}
	if found, err = c.seen(ctx, row, found); err != nil {
		return nil, err
	}
	for len(found) > 1 && im.Aside(found[len(found)-1].Body) {
		found = found[:len(found)-1]
	}
	return c.without(ctx, uid, row.Conv.ID, found[max(len(found)-1, 0):])
}

// end returns the last number of the log that belongs to the owner's membership.
func (r *HeadRow) end() uint64 {
	if r.Mine.Left && len(r.Periods) > 0 {
		return min(r.Conv.Seq, r.Periods[len(r.Periods)-1].To)
	}
	return r.Conv.Seq
}

// asGroup completes the head of a group. It reports whether the membership is over: such a head is frozen where it ended, with nothing unread.
func (r *HeadRow) asGroup(h *im.Head) (over bool) {
	cv, mine := &r.Conv, &r.Mine
	h.Seq, h.GroupType, h.Left, h.Dissolved = r.end(), cv.Type, mine.Left || cv.Dissolved, cv.Dissolved
	h.Role, h.JoinTime, h.MuteUntil, h.NameCard = im.GroupMemberRole(mine.Role), uint64(mine.JoinedAt/1000), uint64(mine.MuteUntil/1000), mine.NameCard
	if n := len(r.Periods); n > 0 {
		last := r.Periods[n-1]
		h.JoinedSeq, h.JoinedRev = last.From, last.FromRev
		if mine.Left {
			h.Rev = min(cv.Rev, last.ToRev)
		}
	}
	if h.Left {
		h.Others, h.Withdrawn, h.JoinedAt = mine.ReadOthers, 0, mine.JoinedAt
		if mine.Left {
			h.Time = mine.ReadTime
		}
		return true
	}
	h.InfoSeq, h.AttrVer, h.MemberSet, h.Members, h.ShutupAll = cv.InfoSeq, cv.AttrVer, cv.MemberSet, cv.Members, cv.Flags&MuteAll != 0
	for _, m := range r.Mentions {
		h.Mentions = append(h.Mentions, &im.Mention{Seq: m.Seq, All: m.UID == 0})
	}
	return false
}

// maySendNow returns the error that a message of a user to a group would get.
func maySendNow(tx Tx, id ConvID, uid UID) error {
	cv, err := tx.Conv(id)
	if err != nil {
		return err
	}
	m, err := tx.Member(id, uid)
	if errors.Is(err, ErrNotFound) {
		m, err = Member{Left: true}, nil
	}
	if err != nil {
		return err
	}
	return checkGroupSend(&cv, Standing{In: !m.Left, Role: m.Role, MuteUntil: m.MuteUntil}, tx.Now())
}
