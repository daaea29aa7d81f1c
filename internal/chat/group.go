package chat

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"unicode/utf8"

	"github.com/tidings-im/tidings/im"
)

// Limits of groups. The numbers are Tencent's newer ones; those of members are in groupTypes.
const (
	maxGroupID           = 48
	maxGroupTitle        = 100
	maxGroupIntroduction = 400
	maxGroupNotice       = 400
	maxGroupFace         = 500
	maxNameCard          = 50
	maxGroupCustom       = 10
	maxGroupCustomKey    = 16
	maxGroupCustomValue  = 512
	maxMemberCustom      = 5
	maxMemberCustomValue = 64
	maxFirstMembers      = 20
	maxInvited           = 20
	maxAdded             = 300 // by an operator
	maxMutedAtOnce       = 500
	maxInTip             = 100
	madeGroupID          = "@TGS#"
	madeCommunityID      = "@TGS#_"
	systemPrefix         = "@TIM#"
)

// DefaultMaxGroups is how many groups a user can be in.
const DefaultMaxGroups = 6000

// groupUpdate is an Update of one group: the group as it is, and what is told after the commit.
type groupUpdate struct {
	*feeding
	cv   Conv
	typ  *groupType
	info *im.GroupState
	// me is the caller's row; an operator who acts for no member has the owner's rights.
	me Member
	// first is told before the feeds: tips, and what belongs to the rev line.
	first []news
	// members are the changes of who is in the group; over means that it ends.
	members []membership
	// moves are those of who is in a live room, and what follows the reply there.
	moves, after []func()
	over         bool
	// unkept means that the call changes only who is in a live room: that is in memory, and ends with a session.
	unkept bool
}

// membership is a change of who is in a group; set is the group's MemberSet after it.
type membership struct {
	uid    UID
	in     bool
	set    uint64
	begins Joined
}

// inGroup runs an Update on a group, with its row held, and those of the caller and of others whom it concerns. do may be called again.
func (c *Chat) inGroup(ctx context.Context, s *Caller, name *im.GroupRequest, do func(g *groupUpdate) error, reply answer, others ...person) error {
	id, err := c.groupID(ctx, name)
	if err != nil {
		return err
	}
	keys := []Key{{Conv: id}, {UID: s.UID}}
	for _, p := range others {
		if p.uid != 0 {
			keys = append(keys, Key{UID: p.uid})
		}
	}
	err = c.store.Update(ctx, keys, func(tx Tx) error {
		g := &groupUpdate{feeding: c.feeding(tx, s)}
		if err := g.open(id); err != nil {
			return err
		}
		if err := do(g); err != nil {
			return err
		}
		return g.done(reply)
	})
	if im.CodeOf(err) == im.CodeGroupFull {
		return cmp.Or(c.notifyFull(ctx, s, id), err)
	}
	return err
}

// groupID finds the group that a call names. That it exists is not remembered: an id can be used again.
func (c *Chat) groupID(ctx context.Context, name *im.GroupRequest) (ConvID, error) {
	if name.GetGroupId() == "" {
		return 0, im.Errorf(im.CodeGroupID, "group_id is empty")
	}
	cv, err := c.store.Group(ctx, name.GroupId)
	if errors.Is(err, ErrNotFound) {
		return 0, noGroup(name.GroupId)
	}
	if err == nil && name.Epoch != 0 && name.Epoch != uint64(cv.ID) {
		return 0, im.Errorf(im.CodeNoGroup, "the group %q was dissolved, and its id is another group's", name.GroupId)
	}
	return cv.ID, err
}

func noGroup(id string) error { return im.Errorf(im.CodeNoGroup, "there is no group %q", id) }

// groupOfMember finds the group that a call names, for a member of it or an operator.
func (c *Chat) groupOfMember(ctx context.Context, s *Caller, name *im.GroupRequest) (Conv, error) {
	id, err := c.groupID(ctx, name)
	if err != nil {
		return Conv{}, err
	}
	cv, err := c.store.Conv(ctx, id)
	if err == nil && cv.Dissolved {
		err = dissolved(cv.Group)
	}
	if err != nil || s.Operator {
		return cv, err
	}
	if cv.live() {
		if cv.Owner != s.UID && !c.live.has(id, s) {
			err = errNotMember
		}
		return cv, err
	}
	in, err := c.store.MembersOf(ctx, id, []UID{s.UID})
	if err == nil && len(in) == 0 {
		err = errNotMember
	}
	return cv, err
}

// errNotMember is the error of a call that is for members only.
var errNotMember = im.Errorf(im.CodeNotMember, "the caller is not a member of the group")

func dissolved(group string) error {
	return im.Errorf(im.CodeNoGroup, "the group %q was dissolved", group)
}

// open reads the group, and what the caller is in it.
func (g *groupUpdate) open(id ConvID) (err error) {
	if g.cv, err = g.tx.Conv(id); err != nil {
		return err
	}
	if g.cv.Dissolved {
		return dissolved(g.cv.Group)
	}
	if g.typ = groupTypes[g.cv.Type]; g.typ == nil {
		return im.Errorf(im.CodeNoGroup, "the group %q has a type that this server does not know", g.cv.Group)
	}
	stored, err := g.tx.GroupInfo(id)
	if g.info, err = stateOf(id, stored, err); err != nil {
		return err
	}
	if g.typ.live {
		return g.openLive()
	}
	g.me, err = g.member(g.s.UID)
	return err
}

// may returns an error if the caller may not do something. An operator may do what an owner may, and dissolve any group.
func (g *groupUpdate) may(do groupAction) error {
	switch {
	case g.s.Operator && do == actDissolve:
		return nil
	case g.s.Operator:
		return g.typ.check(do, RoleOwner)
	case g.me.Left:
		return errNotMember
	}
	return g.typ.check(do, g.me.Role)
}

// put stores the changes of the group's row. What Join and Leave have moved stays.
func (g *groupUpdate) put() error {
	if err := g.tx.PutConv(g.cv); err != nil {
		return err
	}
	return g.reread()
}

func (g *groupUpdate) reread() (err error) {
	g.cv, err = g.tx.Conv(g.cv.ID)
	return err
}

// join makes a user a member.
func (g *groupUpdate) join(uid UID) (Member, error) {
	m, err := g.tx.Join(g.cv.ID, uid)
	if err != nil {
		return m, err
	}
	if err := g.reread(); err != nil {
		return m, err
	}
	g.members = append(g.members, membership{uid, true, g.cv.MemberSet, Joined{Seq: g.cv.Seq, Rev: g.cv.Rev, Again: m.Row > 1}})
	return m, nil
}

// leave ends a membership.
func (g *groupUpdate) leave(uid UID) error {
	if _, err := g.tx.Leave(g.cv.ID, uid); err != nil {
		return err
	}
	if err := g.reread(); err != nil {
		return err
	}
	g.members = append(g.members, membership{uid: uid, set: g.cv.MemberSet})
	return nil
}

// dress sets what all tips have.
func (g *groupUpdate) dress(t *im.GroupTipsElem) {
	t.GroupId, t.GroupName, t.OpUser = g.cv.Group, g.info.Name, cmp.Or(t.OpUser, g.s.Name)
	t.OpGroupMemberinfo = &im.GroupMemberInfo{Identifier: t.OpUser}
	if t.OpUser == g.s.Name && !g.me.Left {
		t.OpGroupMemberinfo = memberInfo(g.s.Name, g.cv.Group, &g.me)
	}
}

// tip appends a tip to the log; nothing if the caller is silent.
func (g *groupUpdate) tip(t *im.GroupTipsElem) error {
	if g.s.Silent {
		return nil
	}
	g.dress(t)
	if g.typ.live {
		g.tipLive(t)
		return nil
	}
	st, err := g.tx.Append(Entry{Conv: g.cv.ID, Body: tipBody(t)})
	if err != nil {
		return err
	}
	g.first = append(g.first, pushEntry.wire(Audience{Group: g.cv.ID, Seq: st.Seq, MemberSet: g.cv.MemberSet}, pushOfTip(g.cv.Group, &st)))
	return g.reread()
}

// tipNow tells a tip to the members who are connected, behind what was stored before it. It is in no log; nothing if the caller is silent.
func (g *groupUpdate) tipNow(t *im.GroupTipsElem) {
	if g.s.Silent {
		return
	}
	g.dress(t)
	if g.typ.live {
		g.tipLive(t)
		return
	}
	st := Stored{Entry: Entry{Conv: g.cv.ID, ClientTime: uint64(g.tx.Now() / 1000), Random: rand.Uint32() >> 1, Body: tipBody(t)}, Time: g.tx.Now()}
	g.first = append(g.first, pushEntry.wire(Audience{Group: g.cv.ID, MemberSet: g.cv.MemberSet}, pushOfTip(g.cv.Group, &st)))
}

// tipBody is the message in an entry with a tip.
func tipBody(t *im.GroupTipsElem) []byte {
	return wire(&im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_GROUP_TIPS, Body: &im.Elem_GroupTips{GroupTips: t}}}})
}

// pushOfTip is an entry with a tip as it is pushed.
func pushOfTip(group string, st *Stored) encoded[*im.EntryPush] {
	e := entry{Stored: st, sender: SystemUser}
	return e.appendField(wire(&im.EntryPush{Conv: groupKeyOf(group), Epoch: uint64(st.Conv)}), entryOfPush)
}

// tipAbout appends tips about people, whose rows those are, with at most maxInTip of them in each. begin makes a tip, and adds what it says of its people
// besides their rows.
func (g *groupUpdate) tipAbout(people []person, rows []Member, begin func(people []person) *im.GroupTipsElem) error {
	for from := 0; from < len(people); from += maxInTip {
		to := min(from+maxInTip, len(people))
		tip := begin(people[from:to])
		for i := from; i < to; i++ {
			tip.UserArray = append(tip.UserArray, people[i].name)
			tip.ChangedGroupMemberinfoArray = append(tip.ChangedGroupMemberinfoArray, memberInfo(people[i].name, g.cv.Group, &rows[i]))
		}
		if err := g.tip(tip); err != nil {
			return err
		}
	}
	return nil
}

// report adds a report to a user's feed, to be told after the log as it is now; nothing if the caller is silent.
func (g *groupUpdate) report(to UID, r *im.GroupReportElem) error {
	return g.reportBut("", to, r)
}

// reportOwn reports to the caller what they have done themselves: to their other devices.
func (g *groupUpdate) reportOwn(r *im.GroupReportElem) error {
	return g.reportBut(g.s.Device, g.s.UID, r)
}

func (g *groupUpdate) reportBut(device string, to UID, r *im.GroupReportElem) error {
	if g.s.Silent {
		return nil
	}
	g.describe(r)
	return g.add(to, nil, &im.Relation{Kind: im.RelationKind_RELATION_GROUP_REPORT, Report: r, Time: g.tx.Now(), Epoch: uint64(g.cv.ID), After: g.cv.Seq, Device: device})
}

// describe sets what all reports of the Update have.
func (g *groupUpdate) describe(r *im.GroupReportElem) {
	r.GroupId, r.GroupName, r.OpUser = g.cv.Group, g.info.Name, g.s.Name
	r.OpGroupMemberinfo = &im.GroupMemberInfo{Identifier: g.s.Name}
}

// done registers what is told after the commit: the reply; who is in the group, before the tips that they hear or do not hear; tips; reports.
func (g *groupUpdate) done(reply answer) error {
	id, flags := g.cv.ID, g.cv.Flags
	send := func() {}
	if reply != nil {
		var err error
		if send, err = reply(g.tx, !g.unkept); err != nil {
			return err
		}
	}
	return g.feeding.done(func() {
		for _, m := range g.members {
			g.c.carrier.Member(id, m.uid, m.in, m.set, m.begins)
		}
		if g.typ.live {
			g.c.live.set(id, flags, 0, 0, 0)
		}
		for _, f := range g.moves {
			f()
		}
		send()
		for _, n := range g.first {
			g.c.tell(n)
		}
		for _, f := range g.after {
			f()
		}
		if g.over {
			g.c.groups.drop(g.cv.Group)
			g.c.carrier.Over(id)
		}
	})
}

// SystemUser is the sender of tips and reports.
const SystemUser = "@TIM#SYSTEM"

func memberInfo(name, group string, m *Member) *im.GroupMemberInfo {
	return &im.GroupMemberInfo{
		Identifier: name, GroupId: group, JoinTime: uint64(m.JoinedAt / 1000), MemberRole: im.GroupMemberRole(m.Role), MsgFlag: m.RecvOpt,
		MsgSeq: m.ReadSeq, ShutupTime: uint64(m.MuteUntil / 1000), NameCard: m.NameCard,
	}
}

// checkGroupText checks a text of the information about a group.
func checkGroupText(field, s string, most int) error {
	if len(s) > most || !plainText(s) {
		return im.Errorf(im.CodeGroupParameters, "%s has %d bytes, more than %d, or is not UTF-8 without NUL", field, len(s), most)
	}
	return nil
}

// plainText reports whether both stores keep a text as it is.
func plainText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// heads tells users their heads of the group.
func (g *groupUpdate) heads(users []UID) error {
	if g.typ.live { // which is no conversation
		return nil
	}
	for _, uid := range users {
		row, err := headIn(g.tx, g.cv.ID, uid)
		if err != nil {
			return err
		}
		g.first = append(g.first, pushHead.to(Audience{Users: []UID{uid}, Groups: true}, headOf(uid, g.cv.Group, &row)))
	}
	return nil
}

// DissolveGroup ends a group. No row of a member is written: the last change of the group tells them.
func (c *Chat) DissolveGroup(ctx context.Context, call Call[*im.Empty], req *im.GroupRequest) error {
	return c.inGroup(ctx, call.Caller, req, func(g *groupUpdate) error {
		if err := g.may(actDissolve); err != nil {
			return err
		}
		return g.dissolve()
	}, call.with(&im.Empty{}))
}

func (g *groupUpdate) dissolve() error {
	report := &im.GroupReportElem{ReportType: im.GroupReportType_GROUP_REPORT_TYPE_DELETE}
	g.describe(report)
	if err := g.changed(Change{Kind: int32(im.ChangeKind_CHANGE_DISSOLVED)}, report); err != nil {
		return err
	}
	if err := g.noteDestroyed(); err != nil {
		return err
	}
	g.cv.Dissolved, g.over = true, true
	g.cv.Policy++
	return g.put()
}
