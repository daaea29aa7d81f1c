package chat

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/tidings-im/tidings/im"
)

// Groups as operators change and read them. An operator has the rights of an owner in every group and is a member of none: members hear a change as if the
// owner had made it, with the operator's account as the one who did.

// admin is the caller of an operator's call about a group: the operator's own account.
func (c *Chat) admin(ctx context.Context, op Operator) (*Caller, error) {
	u, err := c.Account(ctx, op.Name)
	if err != nil {
		return nil, err
	}
	return op.as(person{u.UID, u.Name}), nil
}

// ofGroup makes an operator's call about a group and waits for the reply.
func ofGroup[Q any, R im.Body](ctx context.Context, c *Chat, op Operator, silent bool, do func(*Chat, context.Context, Call[R], Q) error, req Q) (R, error) {
	s, err := c.admin(ctx, op)
	if err != nil {
		var none R
		return none, err
	}
	s.Silent = silent
	return await(ctx, c, s, do, req)
}

// CreateGroupAs makes a group for an owner; "" is nobody.
func (c *Chat) CreateGroupAs(ctx context.Context, op Operator, owner string, req *im.CreateGroupRequest) (*im.CreateGroupReply, error) {
	var p person
	if owner != "" {
		var err error
		if p, err = c.person(ctx, owner); errors.Is(err, ErrNotFound) {
			err = im.Errorf(im.CodeGroupUnknownUser, "there is no user %q", im.Shorten(owner, im.MaxDesc/4))
		}
		if err != nil {
			return nil, err
		}
	}
	return ofGroup(ctx, c, op, false, func(c *Chat, ctx context.Context, call Call[*im.CreateGroupReply], req *im.CreateGroupRequest) error {
		return c.found(ctx, call, req, p)
	}, req)
}

// DissolveGroupAs ends a group.
func (c *Chat) DissolveGroupAs(ctx context.Context, op Operator, group string) error {
	_, err := ofGroup(ctx, c, op, false, (*Chat).DissolveGroup, &im.GroupRequest{GroupId: group})
	return err
}

// ModifyGroupAs changes the information about a group.
func (c *Chat) ModifyGroupAs(ctx context.Context, op Operator, req *im.ModifyGroupRequest) error {
	_, err := ofGroup(ctx, c, op, false, (*Chat).ModifyGroup, req)
	return err
}

// AddMembersAs makes users members, whatever the options of the group. If silent, nobody is told.
func (c *Chat) AddMembersAs(ctx context.Context, op Operator, group string, users []string, silent bool) ([]*im.GroupInviteMemberResult, error) {
	r, err := ofGroup(ctx, c, op, silent, (*Chat).Invite, &im.GroupMembersRequest{Group: &im.GroupRequest{GroupId: group}, UserIds: users})
	return r.GetResults(), err
}

// DeleteMembersAs ends memberships; users who are no members stop nobody. If silent, nobody is told.
func (c *Chat) DeleteMembersAs(ctx context.Context, op Operator, group string, users []string, reason string, silent bool) error {
	_, err := ofGroup(ctx, c, op, silent, (*Chat).KickMembers, &im.GroupMembersRequest{Group: &im.GroupRequest{GroupId: group}, UserIds: users, UserData: reason})
	return err
}

// MuteMembersAs mutes members for some seconds, or, with 0, lets them send again. If one of the users is not a member, nothing is changed.
func (c *Chat) MuteMembersAs(ctx context.Context, op Operator, group string, users []string, seconds uint64) error {
	if err := checkMemberCount(users, maxMutedAtOnce); err != nil {
		return err
	}
	people, err := c.eachPerson(ctx, users)
	if err != nil {
		return err
	}
	s, err := c.admin(ctx, op)
	if err != nil {
		return err
	}
	return c.inGroup(ctx, s, &im.GroupRequest{GroupId: group}, func(g *groupUpdate) error {
		if g.typ.may[actMute] == byNobody {
			return im.Errorf(im.CodeNotMember, "in a group of type %s nobody is muted", g.typ.name)
		}
		until := int64(0)
		if seconds > 0 {
			until = g.tx.Now() + int64(seconds)*1000
		}
		var changed []person
		var rows []Member
		for _, p := range people {
			m, err := g.memberOf(p)
			if err != nil {
				return err
			}
			if m.MuteUntil == until {
				continue
			}
			m.MuteUntil = until
			if m, err = g.keep(m); err != nil {
				return err
			}
			changed, rows = append(changed, p), append(rows, m)
		}
		if len(changed) == 0 {
			return nil
		}
		g.cv.Policy++
		if err := g.put(); err != nil {
			return err
		}
		return g.muted(changed, rows, seconds)
	}, nil)
}

// memberOf returns the row of a member whose role or mute may be changed: in a live room that of any user, for whenever they are in it.
func (g *groupUpdate) memberOf(p person) (m Member, err error) {
	if p.uid != 0 {
		m, err = g.member(p.uid)
	}
	if err == nil && (p.uid == 0 || m.Left && !g.typ.live) {
		err = im.Errorf(im.CodeNotMember, "%q is not a member of the group", im.Shorten(p.name, im.MaxDesc/4))
	}
	return m, err
}

// muted tells that members may not send for some seconds.
func (g *groupUpdate) muted(people []person, rows []Member, seconds uint64) error {
	if g.typ.tipMute {
		err := g.tipAbout(people, rows, func(people []person) *im.GroupTipsElem {
			tip := &im.GroupTipsElem{TipType: im.GroupTipType_GROUP_TIP_TYPE_MEMBER_INFO_CHANGE}
			for _, p := range people {
				tip.MemberChangeInfoArray = append(tip.MemberChangeInfoArray, &im.GroupTipMemberChangeInfo{Identifier: p.name, ShutupTime: seconds})
			}
			return tip
		})
		if err != nil {
			return err
		}
	}
	uids := make([]UID, len(people))
	for i, p := range people {
		uids[i] = p.uid
		if err := g.report(p.uid, &im.GroupReportElem{ReportType: im.GroupReportType_GROUP_REPORT_TYPE_SHUT_UP_MEMBER, ShutUpTime: seconds}); err != nil {
			return err
		}
	}
	return g.heads(uids)
}

// NotifyGroupAs tells members something of the app's own, as a report: all of them, or those of the users who are members.
func (c *Chat) NotifyGroupAs(ctx context.Context, op Operator, group string, users []string, content string) error {
	people, err := c.eachPerson(ctx, users)
	if err != nil {
		return err
	}
	s, err := c.admin(ctx, op)
	if err != nil {
		return err
	}
	return c.inGroup(ctx, s, &im.GroupRequest{GroupId: group}, func(g *groupUpdate) error {
		report := func() *im.GroupReportElem {
			return &im.GroupReportElem{ReportType: im.GroupReportType_GROUP_REPORT_TYPE_USER_DEFINE, UserData: content}
		}
		if len(users) == 0 {
			all := report()
			g.describe(all)
			return g.changed(Change{Kind: int32(im.ChangeKind_CHANGE_REPORT)}, all)
		}
		for _, p := range people {
			switch _, err := g.memberOf(p); {
			case im.CodeOf(err) == im.CodeNotMember:
			case err != nil:
				return err
			default:
				if err := g.report(p.uid, report()); err != nil {
					return err
				}
			}
		}
		return nil
	}, nil)
}

// Recalled is what became of the recall of one message of a group.
type Recalled struct {
	Seq uint64
	// Time, in milliseconds, and Random are those of the message, if it was recalled; otherwise Err says why not.
	Time   int64
	Random uint32
	Err    *im.Error
}

// RevokeInGroupAs recalls messages of a group, however old and whoever sent them. One that cannot be recalled stops no other.
func (c *Chat) RevokeInGroupAs(ctx context.Context, op Operator, group, reason string, seqs []uint64) (out []Recalled, err error) {
	s, err := c.admin(ctx, op)
	if err != nil {
		return nil, err
	}
	err = c.inGroup(ctx, s, &im.GroupRequest{GroupId: group}, func(g *groupUpdate) error {
		if g.typ.live {
			return im.Errorf(im.CodeGroupNoRevoke, "messages of live rooms cannot be recalled")
		}
		out = nil
		var done []uint64
		for _, seq := range seqs {
			r := Recalled{Seq: seq}
			_, told, err := c.revokeIn(g.tx, &revocation{
				cv: g.cv, seq: seq, reason: reason, circle: circle{conv: g.cv.ID, group: g.cv.Group}, by: person{s.UID, s.Name}, operator: true,
			})
			if err != nil && !errors.As(err, &r.Err) {
				return err
			}
			if err == nil {
				e, err := g.tx.Entry(g.cv.ID, seq)
				if err != nil {
					return err
				}
				r.Time, r.Random = e.Time, e.Random
				g.first = append(g.first, told...)
				done = append(done, seq)
			}
			out = append(out, r)
		}
		if len(done) > 0 {
			g.note(recalled(s, &g.cv, g.tx.Now(), done...))
		}
		return g.reread()
	}, nil)
	return out, err
}

// GroupAs returns what is known of a group.
func (c *Chat) GroupAs(ctx context.Context, group string) (*im.GroupDetailInfo, error) {
	info, _, err := c.detail(ctx, &Caller{Operator: true}, group)
	return info, err
}

// MemberQuery asks for members, in the order in which they joined.
type MemberQuery struct {
	Group string
	// Roles are those of im.ListMembersRequest.
	Roles uint32
	// After is 0, or Next of the page before: whoever is a member all the time is on exactly one page, whoever joins and leaves. Skip leaves out some behind
	// it. Limit is how many the page has.
	After       uint64
	Skip, Limit int
}

// MemberList is a page of members.
type MemberList struct {
	Type im.GroupType
	// Total is how many members the group has.
	Total   uint64
	Members []*im.GroupMemberInfo
	// Next is where the next page begins, 0 at the end.
	Next uint64
}

// MembersAs lists members.
func (c *Chat) MembersAs(ctx context.Context, q MemberQuery) (*MemberList, error) {
	cv, err := c.groupOfMember(ctx, &Caller{Operator: true}, &im.GroupRequest{GroupId: q.Group})
	if err != nil {
		return nil, err
	}
	out := &MemberList{Type: cv.Type, Total: cv.Members}
	if cv.live() {
		n, _ := c.live.count(cv.ID)
		out.Total = uint64(n)
	}
	req := &im.ListMembersRequest{Roles: q.Roles, Next: q.After}
	for {
		page := &im.ListMembersReply{}
		rows, err := c.listed(ctx, &cv, req, page)
		if err != nil {
			return nil, err
		}
		skip := min(q.Skip, len(rows))
		q.Skip -= skip
		rows = rows[skip:]
		if room := q.Limit - len(out.Members); len(rows) > room {
			rows = rows[:room]
			page.Next = rows[room-1].Joined
		}
		shown, err := c.shownMembers(ctx, &cv, rows)
		if err != nil {
			return nil, err
		}
		out.Members = append(out.Members, shown...)
		if page.Next == 0 || len(out.Members) == q.Limit {
			out.Next = page.Next
			return out, nil
		}
		req.Next = page.Next
	}
}

// JoinedQuery asks for the groups of a user, in the order in which the user joined them.
type JoinedQuery struct {
	User        string
	Skip, Limit int
	// Type is that of the groups, if it is set. Empty includes Work groups without any entry, which nobody has in a list of conversations.
	Type  *im.GroupType
	Empty bool
}

// JoinedGroup is a group of a user, and what the user is in it.
type JoinedGroup struct {
	*im.GroupDetailInfo
	Self *im.GroupMemberInfo
}

// JoinedAs lists groups of a user; total is how many there are.
func (c *Chat) JoinedAs(ctx context.Context, q JoinedQuery) (page []JoinedGroup, total int, err error) {
	p, err := c.person(ctx, q.User)
	if err != nil {
		return nil, 0, err
	}
	list, err := c.store.GroupsOf(ctx, p.uid)
	if err != nil {
		return nil, 0, err
	}
	kept := list[:0]
	for _, g := range list {
		if q.Type != nil && g.Type != *q.Type {
			continue
		}
		if g.Type == im.GroupType_GROUP_TYPE_WORK && !q.Empty {
			cv, err := c.store.Conv(ctx, g.Conv)
			if err != nil {
				return nil, 0, err
			}
			if cv.Seq == 0 {
				continue
			}
		}
		kept = append(kept, g)
	}
	slices.SortStableFunc(kept, func(a, b GroupOf) int { return cmp.Compare(a.JoinedAt, b.JoinedAt) })
	for _, g := range kept[min(q.Skip, len(kept)):min(q.Skip+q.Limit, len(kept))] {
		cv, err := c.store.Conv(ctx, g.Conv)
		if err != nil {
			return nil, 0, err
		}
		info, err := c.detailOf(ctx, &cv)
		if err != nil && !isError(err) {
			return nil, 0, err
		}
		if err != nil {
			info = &im.GroupDetailInfo{GroupId: cv.Group, GroupType: cv.Type}
		}
		in, err := c.store.MembersOf(ctx, cv.ID, []UID{p.uid})
		if err != nil {
			return nil, 0, err
		}
		if len(in) == 1 { // otherwise it has just ended
			page = append(page, JoinedGroup{info, memberInfo(p.name, cv.Group, &in[0])})
		}
	}
	return page, len(kept), nil
}
