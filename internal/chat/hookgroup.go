package chat

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/hook"
	"github.com/tidings-im/tidings/internal/restjson"
)

// note records what the webhook is notified of about the group.
func (g *groupUpdate) note(b hook.Body) { g.notes = append(g.notes, noted{LaneOf(g.cv.ID), b}) }

func (g *groupUpdate) noteCreated(owner person, first []firstMember) {
	b := &hook.GroupAfterCreateGroup{
		GroupId: g.cv.Group, Operator_Account: g.s.admin(), Owner_Account: owner.name, Type: g.typ.name, Name: g.info.Name, EventTime: g.tx.Now(),
	}
	for _, m := range first {
		b.MemberList = append(b.MemberList, hook.GroupAfterCreateGroupMemberList{Member_Account: m.name})
	}
	for _, f := range g.info.Custom {
		b.UserDefinedDataList = append(b.UserDefinedDataList, hook.GroupAfterCreateGroupUserDefinedDataList{Key: f.Key, Value: f.Value})
	}
	g.note(b)
	g.noteFull()
}

// noteFull notes that the group has become full.
func (g *groupUpdate) noteFull() {
	if g.cv.Members >= g.info.MaxMembers {
		g.note(&hook.GroupAfterGroupFull{GroupId: g.cv.Group, EventTime: g.tx.Now()})
	}
}

// noteJoined notes that people have become members: by who has invited them, or by their own act.
func (g *groupUpdate) noteJoined(people []person, by string) {
	b := &hook.GroupAfterNewMemberJoin{GroupId: g.cv.Group, Type: g.typ.name, JoinType: "Invited", Operator_Account: g.s.admin(), EventTime: g.tx.Now()}
	if by == people[0].name && !g.s.Operator {
		b.JoinType = "Apply"
	}
	for _, p := range people {
		b.NewMemberList = append(b.NewMemberList, hook.GroupAfterNewMemberJoinNewMemberList{Member_Account: p.name})
	}
	g.note(b)
	g.noteFull()
}

func (g *groupUpdate) noteExit(people []person, tip im.GroupTipType) {
	b := &hook.GroupAfterMemberExit{GroupId: g.cv.Group, Type: g.typ.name, ExitType: "Kicked", Operator_Account: g.s.admin(), EventTime: g.tx.Now()}
	if tip == im.GroupTipType_GROUP_TIP_TYPE_QUIT {
		b.ExitType = "Quit"
	}
	for _, p := range people {
		b.ExitMemberList = append(b.ExitMemberList, hook.GroupAfterMemberExitExitMemberList{Member_Account: p.name})
	}
	g.note(b)
}

// noteDestroyed notes the end of the group. Who was in it is added when the notification is sent.
func (g *groupUpdate) noteDestroyed() error {
	b := &hook.GroupAfterGroupDestroyed{GroupId: g.cv.Group, Type: g.typ.name, Name: g.info.Name, EventTime: g.tx.Now()}
	if g.cv.Owner != 0 {
		owner, err := g.tx.User(g.cv.Owner)
		if err != nil {
			return err
		}
		b.Owner_Account = owner.Name
	}
	g.note(b)
	return nil
}

// LastMembers returns the members of a group, or, if it was dissolved, those who were members then.
func (c *Chat) LastMembers(ctx context.Context, id ConvID) (names []string, err error) {
	for after := uint64(0); ; {
		rows, err := c.store.MemberPage(ctx, id, after, 0, maxMembersPage)
		if err != nil {
			return nil, err
		}
		if err := c.meet(ctx, uidsOfRows(rows)); err != nil {
			return nil, err
		}
		for i := range rows {
			name, err := c.nameOf(ctx, rows[i].UID)
			if err != nil {
				return nil, err
			}
			names = append(names, name)
		}
		if len(rows) < maxMembersPage {
			return names, nil
		}
		after = rows[len(rows)-1].Joined
	}
}

// noteInfo notes changes of the information that the webhook knows. Others are no notification.
func (g *groupUpdate) noteInfo(changes []*im.GroupTipGroupChangeInfo) {
	b := &hook.GroupAfterGroupInfoChanged{GroupId: g.cv.Group, Type: g.typ.name, Operator_Account: g.s.admin(), EventTime: g.tx.Now()}
	some := false
	for _, change := range changes {
		var to **string
		switch change.Flag {
		case im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_NAME:
			to = &b.Name
		case im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_INTRODUCTION:
			to = &b.Introduction
		case im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_NOTIFICATION:
			to = &b.Notification
		case im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_FACE_URL:
			to = &b.FaceUrl
		default:
			continue
		}
		*to, some = new(change.Value), true
	}
	if some {
		g.note(b)
	}
}

// noteOwner notes that the group gets another owner. It still has the old one.
func (g *groupUpdate) noteOwner(next person) error {
	b := &hook.GroupAfterChangeGroupOwner{GroupId: g.cv.Group, Type: g.typ.name, Operator_Account: g.s.admin(), NewOwner_Account: next.name, EventTime: g.tx.Now()}
	if g.cv.Owner != 0 {
		old, err := g.tx.User(g.cv.Owner)
		if err != nil {
			return err
		}
		b.OldOwner_Account = old.Name
	}
	g.note(b)
	return nil
}

// noteMember notes that a member has another role or name card.
func (g *groupUpdate) noteMember(old, m *Member, who person) {
	b := &hook.GroupAfterMemberFieldChanged{GroupId: g.cv.Group, Type: g.typ.name, Operator_Account: g.s.admin(), Modified_Account: who.name, EventTime: g.tx.Now()}
	if old.Role != m.Role {
		b.Role = new(restjson.Role(im.GroupMemberRole(m.Role)))
	}
	if old.NameCard != m.NameCard {
		b.NameCard = &m.NameCard
	}
	if b.Role != nil || b.NameCard != nil {
		g.note(b)
	}
}

// noteAttributes notes a change of attributes.
func (g *groupUpdate) noteAttributes(req *im.SetAttributesRequest) {
	b := &hook.GroupAfterGroupAttrChanged{GroupId: g.cv.Group, Type: g.typ.name, Operator_Account: g.s.admin(), OptionType: "modify", EventTime: g.tx.Now()}
	switch {
	case req.Action == im.AttributesAction_ATTRIBUTES_INIT:
		b.OptionType = "set"
	case req.Action == im.AttributesAction_ATTRIBUTES_DELETE && len(req.Attributes) == 0:
		b.OptionType = "clear"
	case req.Action == im.AttributesAction_ATTRIBUTES_DELETE:
		b.OptionType = "delete"
	}
	for _, a := range req.Attributes {
		b.GroupAttr = append(b.GroupAttr, hook.GroupAfterGroupAttrChangedGroupAttr{Key: a.Key, Value: a.Value})
	}
	g.note(b)
}

func recalled(s *Caller, cv *Conv, now int64, seqs ...uint64) *hook.GroupAfterRecallMsg {
	b := &hook.GroupAfterRecallMsg{Operator_Account: s.admin(), Type: restjson.GroupType(cv.Type), GroupId: cv.Group, EventTime: now}
	for _, seq := range seqs {
		b.MsgSeqList = append(b.MsgSeqList, hook.GroupAfterRecallMsgMsgSeqList{MsgSeq: seq})
	}
	return b
}

// notifyRecalled is called inside the Update in which a message of a group is recalled.
func (c *Chat) notifyRecalled(tx Tx, s *Caller, cv *Conv, seq uint64) error {
	return c.notify(tx, s, LaneOf(cv.ID), recalled(s, cv, tx.Now(), seq))
}

// notifyFull notes that somebody could not become a member because the group is full. That undid their own Update.
func (c *Chat) notifyFull(ctx context.Context, s *Caller, id ConvID) error {
	if !c.cfg.Notify {
		return nil
	}
	return c.store.Update(ctx, []Key{{Conv: id}}, func(tx Tx) error {
		cv, err := tx.Conv(id)
		if err != nil {
			return err
		}
		return c.notify(tx, s, LaneOf(id), &hook.GroupAfterGroupFull{GroupId: cv.Group, EventTime: tx.Now()})
	})
}

// askCreate asks the before-hook about a group that is to be made. It is not asked if the id is in use, which the Update answers.
func (c *Chat) askCreate(ctx context.Context, s *Caller, req *im.CreateGroupRequest, owner person, id string, first []firstMember, typ *groupType) error {
	ask := c.cfg.Hooks.GroupBeforeCreateGroup
	if ask == nil {
		return nil
	}
	cv, err := c.store.Group(ctx, id)
	if err == nil && !cv.Dissolved {
		return nil
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	b := &hook.GroupBeforeCreateGroup{Operator_Account: s.admin(), Owner_Account: owner.name, Type: typ.name, Name: req.Name, EventTime: c.store.Now()}
	if owner.uid != 0 {
		groups, err := c.store.GroupsOf(ctx, owner.uid)
		if err != nil {
			return err
		}
		for _, g := range groups {
			if g.Owner == owner.uid && g.Type == req.Type {
				b.CreateGroupNum++
			}
		}
	}
	for _, m := range first {
		b.MemberList = append(b.MemberList, hook.GroupBeforeCreateGroupMemberList{Member_Account: m.name})
	}
	return c.askAbout(ctx, s, func() error { return ask(ctx, b, s.source()).Err })
}

// askJoin asks the before-hook about a user who wants to join. It is not asked if the user is a member, or nobody may join, nor
// when a device returns to a live room.
func (c *Chat) askJoin(ctx context.Context, s *Caller, req *im.JoinGroupRequest) error {
	ask := c.cfg.Hooks.GroupBeforeApplyJoinGroup
	if ask == nil || s.Operator || req.Again {
		return nil
	}
	cv, info, in, err := c.asked(ctx, req.Group, []UID{s.UID})
	if err != nil || len(in) > 0 || info.AddOption == addNo {
		return err
	}
	b := &hook.GroupBeforeApplyJoinGroup{GroupId: cv.Group, Type: restjson.GroupType(cv.Type), Requestor_Account: s.Name, EventTime: c.store.Now()}
	return c.askAbout(ctx, s, func() error { return ask(ctx, b, s.source()).Err })
}

// askInvite asks the before-hook about users who are to become members, and returns those whom the program refuses. It is not asked about who is a member
// already, nor if the caller may not invite.
func (c *Chat) askInvite(ctx context.Context, s *Caller, name *im.GroupRequest, people []person) (refused []string, err error) {
	ask := c.cfg.Hooks.GroupBeforeInviteJoinGroup
	if ask == nil {
		return nil, nil
	}
	uids := []UID{s.UID}
	for _, p := range people {
		if p.uid != 0 {
			uids = append(uids, p.uid)
		}
	}
	cv, info, in, err := c.asked(ctx, name, uids)
	if err != nil {
		return nil, err
	}
	typ := groupTypes[cv.Type]
	if me, ok := in[s.UID]; !s.Operator && (!ok || info.ApproveOption == addNo || typ == nil || typ.check(actInvite, me.Role) != nil) {
		return nil, nil
	}
	b := &hook.GroupBeforeInviteJoinGroup{GroupId: cv.Group, Type: restjson.GroupType(cv.Type), Operator_Account: s.admin(), EventTime: c.store.Now()}
	for _, p := range people {
		if _, member := in[p.uid]; p.uid != 0 && !member {
			b.DestinationMembers = append(b.DestinationMembers, hook.GroupBeforeInviteJoinGroupDestinationMembers{Member_Account: p.name})
		}
	}
	if len(b.DestinationMembers) == 0 {
		return nil, nil
	}
	err = c.askAbout(ctx, s, func() error {
		v := ask(ctx, b, s.source())
		refused = v.Answer.RefusedMembers_Account
		return v.Err
	})
	return refused, err
}

// asked reads what a before-hook about members of a group depends on: the group, and which of the users are members.
func (c *Chat) asked(ctx context.Context, name *im.GroupRequest, uids []UID) (cv Conv, info *im.GroupState, in map[UID]Member, err error) {
	id, err := c.groupID(ctx, name)
	if err != nil {
		return cv, nil, nil, err
	}
	if cv, err = c.store.Conv(ctx, id); err == nil && cv.Dissolved {
		err = dissolved(cv.Group)
	}
	if err != nil {
		return cv, nil, nil, err
	}
	stored, err := c.store.GroupInfo(ctx, id)
	if info, err = stateOf(id, stored, err); err != nil {
		return cv, nil, nil, err
	}
	rows, err := c.store.MembersOf(ctx, id, uids)
	in = make(map[UID]Member, len(rows))
	for _, m := range rows {
		in[m.UID] = m
	}
	return cv, info, in, err
}
