package chat

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/im"
)

// maxMembersPage is how many members a page has.
const maxMembersPage = 100

// Members lists members, in the order in which they joined: whoever is a member during the whole listing is in it once.
func (c *Chat) Members(ctx context.Context, call Call[*im.ListMembersReply], req *im.ListMembersRequest) error {
	cv, err := c.groupOfMember(ctx, call.Caller, req.Group)
	if err != nil {
		return err
	}
	out := &im.ListMembersReply{}
	rows, err := c.listed(ctx, &cv, req, out)
	if err != nil {
		return err
	}
	if out.Members, err = c.shownMembers(ctx, &cv, rows); err != nil {
		return err
	}
	call.Reply(out)
	return nil
}

func uidsOfRows(rows []Member) []UID {
	uids := make([]UID, len(rows))
	for i := range rows {
		uids[i] = rows[i].UID
	}
	return uids
}

// shownMembers are members as others see them.
func (c *Chat) shownMembers(ctx context.Context, cv *Conv, rows []Member) ([]*im.GroupMemberInfo, error) {
	uids := uidsOfRows(rows)
	custom, err := c.store.CustomOf(ctx, cv.ID, uids)
	if err != nil {
		return nil, err
	}
	if err := c.see(ctx, uids); err != nil {
		return nil, err
	}
	out := make([]*im.GroupMemberInfo, len(rows))
	for i := range rows {
		if out[i], err = c.shownMember(ctx, cv, &rows[i], custom[rows[i].UID]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *Chat) listed(ctx context.Context, cv *Conv, req *im.ListMembersRequest, out *im.ListMembersReply) ([]Member, error) {
	id := cv.ID
	if len(req.UserIds) > 0 {
		uids, err := c.uidsNamed(ctx, req.UserIds)
		if err != nil {
			return nil, err
		}
		if cv.live() {
			return c.live.named(id, uids), nil
		}
		return c.store.MembersOf(ctx, id, uids)
	}
	limit := maxMembersPage
	if 0 < req.Limit && req.Limit < maxMembersPage {
		limit = int(req.Limit)
	}
	if cv.live() {
		rows, next := c.live.list(id, req.Next, limit, func(role int32) bool { return req.Roles == 0 || req.Roles&roleBit(role) != 0 })
		out.Next = next
		return rows, nil
	}
	minRole := int32(0)
	if req.Roles != 0 && req.Roles&4 == 0 {
		minRole = RoleAdmin
	}
	rows, err := c.store.MemberPage(ctx, id, req.Next, minRole, limit)
	if err != nil {
		return nil, err
	}
	if len(rows) == limit {
		out.Next = rows[limit-1].Joined
	}
	wanted := rows[:0]
	for _, m := range rows {
		if req.Roles == 0 || req.Roles&roleBit(m.Role) != 0 {
			wanted = append(wanted, m)
		}
	}
	return wanted, nil
}

// roleBit is the bit of a role in ListMembersRequest.Roles.
func roleBit(role int32) uint32 {
	switch role {
	case RoleOwner:
		return 1
	case RoleAdmin:
		return 2
	}
	return 4
}

// shownMember is a member as others see them.
func (c *Chat) shownMember(ctx context.Context, cv *Conv, m *Member, custom []byte) (*im.GroupMemberInfo, error) {
	name, err := c.nameOf(ctx, m.UID)
	if err != nil {
		return nil, err
	}
	info := memberInfo(name, cv.Group, m)
	face, err := c.face(ctx, m.UID, name)
	if err != nil {
		return nil, err
	}
	var person im.Person
	if err := im.Decode(face.wire, &person); err != nil {
		return nil, err
	}
	info.NickName, info.FaceUrl = person.NickName, person.FaceUrl
	var state im.GroupMemberState
	if err := state.UnmarshalVT(custom); err != nil {
		return nil, err
	}
	info.CustomInfo = state.Custom
	return info, nil
}

// ModifyMember changes a member's role, mute, name card, fields of the app's own, or the caller's own receive option.
func (c *Chat) ModifyMember(ctx context.Context, call Call[*im.Empty], req *im.ModifyMemberRequest) error {
	who, err := c.person(ctx, req.UserId)
	if errors.Is(err, ErrNotFound) {
		return im.Errorf(im.CodeGroupUnknownUser, "there is no user %q", req.UserId)
	}
	if err != nil {
		return err
	}
	if req.NameCard != nil {
		if err := checkGroupText("name_card", *req.NameCard, maxNameCard); err != nil {
			return err
		}
	}
	return c.inGroup(ctx, call.Caller, req.Group, func(g *groupUpdate) error {
		if g.me.Left && !g.s.Operator {
			return errNotMember
		}
		m, err := g.memberOf(who)
		if err != nil {
			return err
		}
		old := m
		if err := g.change(&m, who, req); err != nil {
			return err
		}
		if m != old {
			if old.Role != m.Role || old.MuteUntil != m.MuteUntil {
				g.cv.Policy++
			}
			if m, err = g.keep(m); err != nil {
				return err
			}
			if err := g.put(); err != nil {
				return err
			}
		}
		g.noteMember(&old, &m, who)
		if err := g.toldOf(&old, &m, who, req); err != nil {
			return err
		}
		if m == old {
			return nil
		}
		return g.heads([]UID{who.uid})
	}, call.with(&im.Empty{}), who)
}

// change makes the changes of a call in a row, if the caller may make them.
func (g *groupUpdate) change(m *Member, who person, req *im.ModifyMemberRequest) error {
	self := who.uid == g.s.UID && !g.me.Left
	if g.typ.live && (req.RecvOpt != nil || req.NameCard != nil || len(req.Custom) > 0) {
		return im.Errorf(im.CodeGroupParameters, "nothing but mutes is kept of the members of a live room")
	}
	if req.RecvOpt != nil {
		if !self && !g.s.Operator {
			return im.Errorf(im.CodeNotMember, "the receive option is the member's own")
		}
		m.RecvOpt = *req.RecvOpt
	}
	if req.Role != nil {
		if err := g.may(actAppoint); err != nil {
			return err
		}
		role := int32(*req.Role)
		if m.Role == RoleOwner || role != RoleMember && role != RoleAdmin {
			return im.Errorf(im.CodeGroupParameters, "a member becomes an admin or an ordinary member, and the owner stays the owner")
		}
		m.Role = role
	}
	if req.Mute != nil {
		if err := g.may(actMute); err != nil {
			return err
		}
		if !g.above(m) {
			return im.Errorf(im.CodeNotMember, "the caller's role is not above that of %q", who.name)
		}
		m.MuteUntil = 0
		if *req.Mute > 0 {
			m.MuteUntil = g.tx.Now() + int64(*req.Mute)*1000
		}
	}
	if (req.NameCard != nil || len(req.Custom) > 0) && !self && !g.above(m) {
		return im.Errorf(im.CodeNotMember, "the caller's role is not above that of %q", who.name)
	}
	if req.NameCard != nil {
		m.NameCard = *req.NameCard
	}
	if len(req.Custom) == 0 {
		return nil
	}
	stored, err := g.tx.Custom(g.cv.ID, who.uid)
	if err != nil {
		return err
	}
	state := &im.GroupMemberState{}
	if err := state.UnmarshalVT(stored); err != nil {
		return err
	}
	if state.Custom, err = setGroupCustom(state.Custom, req.Custom, maxMemberCustom, maxMemberCustomValue); err != nil {
		return err
	}
	return g.tx.PutCustom(g.cv.ID, who.uid, wire(state))
}

// toldOf makes the tips and reports of what has changed of a member.
func (g *groupUpdate) toldOf(old, m *Member, who person, req *im.ModifyMemberRequest) error {
	changed := []*im.GroupMemberInfo{memberInfo(who.name, g.cv.Group, m)}
	if old.Role != m.Role {
		tip, report := im.GroupTipType_GROUP_TIP_TYPE_SET_ADMIN, im.GroupReportType_GROUP_REPORT_TYPE_GRANT_ADMIN
		if m.Role == RoleMember {
			tip, report = im.GroupTipType_GROUP_TIP_TYPE_CANCEL_ADMIN, im.GroupReportType_GROUP_REPORT_TYPE_CANCEL_ADMIN
		}
		if g.typ.tipRole {
			if err := g.tip(&im.GroupTipsElem{TipType: tip, UserArray: []string{who.name}, ChangedGroupMemberinfoArray: changed}); err != nil {
				return err
			}
		}
		if err := g.report(who.uid, &im.GroupReportElem{ReportType: report}); err != nil {
			return err
		}
	}
	if req.Mute == nil || old.MuteUntil == m.MuteUntil {
		return nil
	}
	if g.typ.tipMute {
		if err := g.tip(&im.GroupTipsElem{
			TipType: im.GroupTipType_GROUP_TIP_TYPE_MEMBER_INFO_CHANGE, UserArray: []string{who.name}, ChangedGroupMemberinfoArray: changed,
			MemberChangeInfoArray: []*im.GroupTipMemberChangeInfo{{Identifier: who.name, ShutupTime: *req.Mute}},
		}); err != nil {
			return err
		}
	}
	return g.report(who.uid, &im.GroupReportElem{ReportType: im.GroupReportType_GROUP_REPORT_TYPE_SHUT_UP_MEMBER, ShutUpTime: *req.Mute})
}

// OnlineCount returns how many members are connected to this server.
func (c *Chat) OnlineCount(ctx context.Context, call Call[*im.OnlineCountReply], req *im.GroupRequest) error {
	cv, err := c.groupOfMember(ctx, call.Caller, req)
	if err != nil {
		return err
	}
	online := c.carrier.Online(cv.ID)
	if cv.live() {
		_, online = c.live.count(cv.ID)
	}
	call.Reply(&im.OnlineCountReply{Count: int32(online)})
	return nil
}
