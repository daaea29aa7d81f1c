package chat

import (
	"context"
	"errors"
	"slices"

	"github.com/tidings-im/tidings/im"
)

// Results of an invitation or a removal of one user.
const (
	memberFailed uint32 = iota
	memberDone
	memberPointless
	memberAsked
)

// JoinGroup makes the caller a member, or asks those who decide.
func (c *Chat) JoinGroup(ctx context.Context, call Call[*im.JoinGroupReply], req *im.JoinGroupRequest) error {
	s := call.Caller
	if err := checkGroupText("words", req.Words, maxWording); err != nil {
		return err
	}
	if err := c.askJoin(ctx, s, req); err != nil {
		return err
	}
	reply := &im.JoinGroupReply{}
	return c.inGroup(ctx, s, req.Group, func(g *groupUpdate) error {
		reply.Epoch, reply.Waits = uint64(g.cv.ID), false
		if g.typ.live {
			return g.enterLive(&call, req, reply)
		}
		if !g.me.Left {
			return im.Errorf(im.CodeAlreadyMember, "the caller is a member already")
		}
		switch g.info.AddOption {
		case addFree:
			return g.enter(person{s.UID, s.Name}, s.Name)
		case addAsk:
			reply.Waits = true
			return g.ask(GroupRequest{UID: s.UID, Wording: req.Words})
		}
		return im.Errorf(im.CodeNotMember, "nobody may join the group %q", g.cv.Group)
	}, call.with(reply))
}

// enter makes a user a member, with the tip of a group that has one. by is whose act the tip says it was: their own, or that of who invited them.
func (g *groupUpdate) enter(who person, by string) error {
	if err := g.room(who.uid); err != nil {
		return err
	}
	m, err := g.join(who.uid)
	if err != nil {
		return err
	}
	if err := g.closeRequests(who.uid, g.s.UID); err != nil {
		return err
	}
	if who.uid == g.s.UID {
		g.me = m
	}
	return g.joined([]person{who}, []Member{m}, by)
}

// room returns an error if the group or the user's list of groups is full.
func (g *groupUpdate) room(uid UID) error {
	if g.cv.Members >= g.info.MaxMembers {
		return im.Errorf(im.CodeGroupFull, "the group has %d members", g.cv.Members)
	}
	n, err := g.tx.GroupCount(uid)
	if err == nil && n >= g.c.cfg.MaxGroups {
		return im.Errorf(im.CodeTooManyGroups, "the user is in %d groups already", n)
	}
	return err
}

// joined tells that people have become members.
func (g *groupUpdate) joined(people []person, rows []Member, by string) error {
	if len(people) == 0 {
		return nil
	}
	g.noteJoined(people, by)
	if g.typ.tipJoin {
		err := g.tipAbout(people, rows, func([]person) *im.GroupTipsElem {
			return &im.GroupTipsElem{TipType: im.GroupTipType_GROUP_TIP_TYPE_INVITE, OpUser: by, MemberNum: g.cv.Members}
		})
		if err != nil {
			return err
		}
	}
	uids := make([]UID, len(people))
	for i, p := range people {
		uids[i] = p.uid
	}
	return g.heads(uids)
}

// QuitGroup ends the caller's membership.
func (c *Chat) QuitGroup(ctx context.Context, call Call[*im.Empty], req *im.GroupRequest) error {
	s := call.Caller
	return c.inGroup(ctx, s, req, func(g *groupUpdate) error {
		switch {
		case g.me.Left && g.typ.live && call.Resent: // this session is out, as it wants
			g.unkept = true
			return nil
		case g.me.Left:
			return errNotMember
		}
		if g.me.Role == RoleOwner && !g.typ.may[actQuit].has(RoleOwner) {
			return im.Errorf(im.CodeOwnerMayNotQuit, "the owner cannot leave a group of type %s", g.typ.name)
		}
		if g.typ.live {
			g.quitLive()
			return nil
		}
		if err := g.reportOwn(&im.GroupReportElem{ReportType: im.GroupReportType_GROUP_REPORT_TYPE_QUIT}); err != nil {
			return err
		}
		return g.out([]person{{s.UID, s.Name}}, im.GroupTipType_GROUP_TIP_TYPE_QUIT)
	}, call.with(&im.Empty{}))
}

// out ends memberships: first the memberships, then the tip, which those who left do not see.
func (g *groupUpdate) out(people []person, tip im.GroupTipType) error {
	var uids []UID
	t := &im.GroupTipsElem{TipType: tip}
	if g.typ.live {
		return g.outLive(people, t)
	}
	for _, p := range people {
		if err := g.leave(p.uid); err != nil {
			return err
		}
		if g.cv.Owner == p.uid {
			g.cv.Owner = 0
			if err := g.put(); err != nil {
				return err
			}
		}
		uids = append(uids, p.uid)
		t.UserArray = append(t.UserArray, p.name)
		t.ChangedGroupMemberinfoArray = append(t.ChangedGroupMemberinfoArray, &im.GroupMemberInfo{Identifier: p.name, GroupId: g.cv.Group})
	}
	if len(people) == 0 {
		return nil
	}
	t.MemberNum = g.cv.Members
	g.noteExit(people, tip)
	last := g.cv.Members == 0 && g.typ.lastEnds
	if g.typ.tipLeave && !last {
		if err := g.tip(t); err != nil {
			return err
		}
	}
	if err := g.heads(uids); err != nil || !last {
		return err
	}
	return g.dissolve()
}

// Invite makes users members, or asks them or those who decide, as the group's option says. What is not possible for one user does not stop the others.
func (c *Chat) Invite(ctx context.Context, call Call[*im.InviteReply], req *im.GroupMembersRequest) error {
	if err := checkMemberCount(req.UserIds, call.Caller.atOnce(maxInvited, maxAdded)); err != nil {
		return err
	}
	people, err := c.eachPerson(ctx, req.UserIds)
	if err != nil {
		return err
	}
	refused, err := c.askInvite(ctx, call.Caller, req.Group, people)
	if err != nil {
		return err
	}
	reply := &im.InviteReply{}
	return c.inGroup(ctx, call.Caller, req.Group, func(g *groupUpdate) error {
		reply.Results = nil
		if err := g.may(actInvite); err != nil {
			return err
		}
		option := g.info.ApproveOption
		if g.typ.may[actInvite] == byNobody || option == addNo && !g.s.Operator {
			return im.Errorf(im.CodeNotMember, "nobody can be invited to the group %q", g.cv.Group)
		}
		in, rows, err := g.invite(people, refused, option == addAsk && !g.s.Operator && g.me.Role < RoleAdmin, req.UserData, func(name string, result uint32) {
			reply.Results = append(reply.Results, &im.GroupInviteMemberResult{Identifier: name, Result: result})
		})
		if err != nil {
			return err
		}
		if err := g.joined(in, rows, g.s.Name); err != nil {
			return err
		}
		for _, p := range in {
			if err := g.report(p.uid, &im.GroupReportElem{ReportType: im.GroupReportType_GROUP_REPORT_TYPE_INVITE, UserData: req.UserData}); err != nil {
				return err
			}
		}
		return nil
	}, call.with(reply), people...)
}

// invite makes users members, and returns those who were not.
func (g *groupUpdate) invite(people []person, refused []string, ask bool, words string, result func(string, uint32)) (in []person, rows []Member, err error) {
	for _, p := range people {
		if p.uid == 0 || slices.Contains(refused, p.name) {
			result(p.name, memberFailed)
			continue
		}
		old, err := g.tx.Member(g.cv.ID, p.uid)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, nil, err
		}
		switch full := g.room(p.uid); {
		case err == nil && !old.Left:
			result(p.name, memberPointless)
			continue
		case im.CodeOf(full) == im.CodeGroupFull:
			return nil, nil, full
		case full != nil && im.CodeOf(full) != im.CodeTooManyGroups:
			return nil, nil, full
		case full != nil:
			result(p.name, memberFailed)
			continue
		}
		if ask {
			if err := g.ask(GroupRequest{UID: p.uid, Inviter: g.s.UID, Invitation: true, Wording: words}); err != nil {
				return nil, nil, err
			}
			result(p.name, memberAsked)
			continue
		}
		m, err := g.join(p.uid)
		if err != nil {
			return nil, nil, err
		}
		if err := g.closeRequests(p.uid, g.s.UID); err != nil {
			return nil, nil, err
		}
		result(p.name, memberDone)
		in, rows = append(in, p), append(rows, m)
	}
	return in, rows, nil
}

// KickMembers ends the memberships of others.
func (c *Chat) KickMembers(ctx context.Context, call Call[*im.KickReply], req *im.GroupMembersRequest) error {
	if err := checkMemberCount(req.UserIds, maxUsers); err != nil {
		return err
	}
	people, err := c.eachPerson(ctx, req.UserIds)
	if err != nil {
		return err
	}
	reply := &im.KickReply{}
	return c.inGroup(ctx, call.Caller, req.Group, func(g *groupUpdate) error {
		reply.Results = nil
		if g.typ.live && g.s.Operator { // TIM's admin API has no call for it
			return im.Errorf(im.CodeGroupParameters, "an operator cannot remove anybody from a live room")
		}
		if err := g.may(actKick); err != nil {
			return err
		}
		var gone []person
		for _, p := range people {
			result := memberFailed
			if p.uid != 0 {
				m, err := g.member(p.uid)
				switch {
				case err != nil:
					return err
				case m.Left:
					result = memberPointless
				case g.above(&m):
					result = memberDone
					gone = append(gone, p)
				}
			}
			reply.Results = append(reply.Results, &im.GroupDeleteMemberResult{Identifier: p.name, Result: result})
		}
		if err := g.out(gone, im.GroupTipType_GROUP_TIP_TYPE_KICK); err != nil {
			return err
		}
		for _, p := range gone {
			if err := g.report(p.uid, &im.GroupReportElem{ReportType: im.GroupReportType_GROUP_REPORT_TYPE_BE_KICKED, UserData: req.UserData}); err != nil {
				return err
			}
		}
		return nil
	}, call.with(reply), people...)
}

// above reports whether the caller's role is above that of another member: the owner's above everybody's, admins' above ordinary members'.
func (g *groupUpdate) above(m *Member) bool {
	return g.s.Operator || !g.me.Left && m.UID != g.s.UID && g.me.Role > m.Role
}

func checkMemberCount(names []string, most int) error {
	switch {
	case len(names) == 0:
		return im.Errorf(im.CodeGroupParameters, "user_ids is empty")
	case len(names) > most:
		return im.Errorf(im.CodeGroupUserCount, "user_ids names %d users, more than %d", len(names), most)
	}
	return nil
}

// eachPerson finds users. One who does not exist has the number 0; one who is named again is left out.
func (c *Chat) eachPerson(ctx context.Context, names []string) ([]person, error) {
	seen := make(map[string]bool, len(names))
	var out []person
	for _, name := range names {
		if seen[name] {
			continue
		}
		seen[name] = true
		p, err := c.person(ctx, name)
		if errors.Is(err, ErrNotFound) {
			p, err = person{name: name}, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}
