package chat

import (
	"context"
	"errors"
	"strconv"

	"github.com/tidings-im/tidings/im"
)

// maxListed is how many requests a page has.
const maxListed = 50

// ask keeps a request or an invitation and tells those who decide about it. Asking again replaces the words, and is new again.
func (g *groupUpdate) ask(r GroupRequest) error {
	r.Conv, r.Time = g.cv.ID, g.tx.Now()
	open, err := g.tx.OpenRequest(r.Conv, r.UID, r.Invitation)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	r.ID = open.ID
	if err := g.tx.PutGroupRequest(r); err != nil {
		return err
	}
	if r.Invitation {
		return g.report(r.UID, &im.GroupReportElem{ReportType: im.GroupReportType_GROUP_REPORT_TYPE_INVITE_REQ_TO_INVITEE, Msg: r.Wording})
	}
	staff, err := g.tx.MemberPage(g.cv.ID, 0, RoleAdmin, maxUsers)
	if err != nil {
		return err
	}
	for _, m := range staff {
		if err := g.report(m.UID, &im.GroupReportElem{ReportType: im.GroupReportType_GROUP_REPORT_TYPE_ADD_REQUEST, Msg: r.Wording}); err != nil {
			return err
		}
	}
	return nil
}

// closeRequests answers what a user has asked who has become a member in another way.
func (g *groupUpdate) closeRequests(uid, handler UID) error {
	for _, invitation := range []bool{false, true} {
		r, err := g.tx.OpenRequest(g.cv.ID, uid, invitation)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		r.Handler, r.Accepted = handler, true
		if err := g.tx.PutGroupRequest(r); err != nil {
			return err
		}
	}
	return nil
}

// GroupRequests lists requests to the groups of which the caller is owner or admin, and the caller's invitations.
func (c *Chat) GroupRequests(ctx context.Context, call Call[*im.GroupPendencyResult], req *im.GroupRequestsRequest) error {
	s := call.Caller
	limit := maxListed
	if 0 < req.Limit && req.Limit < maxListed {
		limit = int(req.Limit)
	}
	before := int64(NoEnd)
	if req.StartTime > 0 {
		before = int64(req.StartTime)
	}
	rows, err := c.store.GroupRequests(ctx, s.UID, before, limit)
	if err != nil {
		return err
	}
	read, err := c.requestsRead(ctx, s.UID)
	if err != nil {
		return err
	}
	unread, err := c.store.GroupRequestsSince(ctx, s.UID, read)
	if err != nil {
		return err
	}
	out := &im.GroupPendencyResult{ReadTimeSeq: uint64(read), UnreadNum: uint32(unread)}
	for i := range rows {
		p, err := c.pendency(ctx, s, &rows[i])
		if err != nil {
			return err
		}
		out.PendencyArray = append(out.PendencyArray, p)
	}
	if len(rows) >= limit {
		out.NextStartTime = uint64(rows[len(rows)-1].Time)
	}
	call.Reply(out)
	return nil
}

// requestsRead returns up to when a user has read requests of groups: milliseconds.
func (c *Chat) requestsRead(ctx context.Context, uid UID) (int64, error) {
	row, err := c.store.Relation(ctx, uid, im.RelationKind_RELATION_GROUP_REQUESTS_READ, 0)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return c.stateOf(&row).Time, nil
}

func (c *Chat) pendency(ctx context.Context, s *Caller, r *GroupRequest) (*im.GroupPendency, error) {
	cv, err := c.store.Conv(ctx, r.Conv)
	if err != nil {
		return nil, err
	}
	p := &im.GroupPendency{
		GroupId: cv.Group, AddTime: uint64(r.Time), ApplyInviteMsg: r.Wording, ApprovalMsg: r.Answer, Key: strconv.FormatInt(r.ID, 10), SelfIdentifier: s.Name,
	}
	from := r.UID
	if r.Invitation {
		from, p.PendencyType = r.Inviter, 1
		if p.ToIdentifier, err = c.nameOf(ctx, r.UID); err != nil {
			return nil, err
		}
	}
	if p.FormIdentifier, err = c.nameOf(ctx, from); err != nil {
		return nil, err
	}
	profile, err := c.store.Profile(ctx, from)
	if err != nil {
		return nil, err
	}
	shown := c.profileOf(p.FormIdentifier, profile)
	p.FromNickName, p.FromFaceUrl = shown.NickName, shown.FaceUrl
	switch r.Handler {
	case 0:
	case s.UID:
		p.Handled = 2
	default:
		p.Handled = 1
	}
	if r.Accepted {
		p.HandleResult = 1
	}
	return p, nil
}

// HandleGroupRequest accepts or refuses a request or an invitation.
func (c *Chat) HandleGroupRequest(ctx context.Context, call Call[*im.Empty], req *im.HandleGroupRequest) error {
	s, p := call.Caller, req.Pendency
	id, err := strconv.ParseInt(p.GetKey(), 10, 64)
	if err != nil || id <= 0 {
		return im.Errorf(im.CodeGroupParameters, "group_pendency_key is not that of a request")
	}
	if err := checkGroupText("words", req.Words, maxWording); err != nil {
		return err
	}
	name := p.FormIdentifier
	if p.PendencyType != 0 {
		name = p.ToIdentifier
	}
	who, err := c.person(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return im.Errorf(im.CodeGroupUnknownUser, "there is no user %q", name)
	}
	if err != nil {
		return err
	}
	return c.inGroup(ctx, s, &im.GroupRequest{GroupId: p.GroupId}, func(g *groupUpdate) error {
		r, err := g.tx.GroupRequest(id)
		if errors.Is(err, ErrNotFound) || err == nil && (r.Conv != g.cv.ID || r.UID != who.uid) {
			return im.Errorf(im.CodeGroupParameters, "there is no such request")
		}
		if err != nil {
			return err
		}
		decides := !r.Invitation && !g.me.Left && g.me.Role >= RoleAdmin || r.Invitation && r.UID == s.UID
		switch {
		case !decides:
			return im.Errorf(im.CodeNotMember, "this request is for others to answer")
		case r.Handler != 0:
			return im.Errorf(im.CodeRequestAnswered, "the request was answered already")
		}
		return g.answer(&r, who, req)
	}, call.with(&im.Empty{}), who)
}

func (g *groupUpdate) answer(r *GroupRequest, who person, req *im.HandleGroupRequest) error {
	member, err := g.tx.Member(g.cv.ID, who.uid)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	in := err == nil && !member.Left
	if req.Accept && !in {
		if err := g.room(who.uid); err != nil {
			return err // the request stays open
		}
	}
	r.Handler, r.Accepted, r.Answer = g.s.UID, req.Accept, req.Words
	if err := g.tx.PutGroupRequest(*r); err != nil {
		return err
	}
	to, yes, no := who.uid, im.GroupReportType_GROUP_REPORT_TYPE_ADD_ACCEPT, im.GroupReportType_GROUP_REPORT_TYPE_ADD_REFUSE
	if r.Invitation {
		to, yes, no = r.Inviter, im.GroupReportType_GROUP_REPORT_TYPE_INVITE_ACCEPT, im.GroupReportType_GROUP_REPORT_TYPE_INVITE_REFUSE
	}
	if !req.Accept {
		return g.report(to, &im.GroupReportElem{ReportType: no, Msg: req.Words})
	}
	if !in {
		by := who.name
		if r.Invitation {
			inviter, err := g.tx.User(r.Inviter)
			if err != nil {
				return err
			}
			by = inviter.Name
		}
		if err := g.enter(who, by); err != nil {
			return err
		}
	}
	return g.report(to, &im.GroupReportElem{ReportType: yes, Msg: req.Words})
}

// ReadGroupRequests notes up to when the caller has read requests: a time in seconds, 0 for now. It never goes back.
func (c *Chat) ReadGroupRequests(ctx context.Context, call Call[*im.Empty], req *im.ReadRequestsRequest) error {
	s := call.Caller
	return c.store.Update(ctx, []Key{{UID: s.UID}}, func(tx Tx) error {
		at := tx.Now()
		if t := int64(req.Time); t > 0 {
			at = min(at, t*1000+999)
		}
		old, err := tx.Relation(s.UID, im.RelationKind_RELATION_GROUP_REQUESTS_READ, 0)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err == nil {
			at = max(at, c.stateOf(&old).Time)
		}
		if err := tx.PutRelation(Relation{UID: s.UID, Kind: im.RelationKind_RELATION_GROUP_REQUESTS_READ, Ver: old.Ver, Body: wire(&im.RelationState{Time: at})}); err != nil {
			return err
		}
		reply, err := call.with(&im.Empty{})(tx, true)
		if err != nil {
			return err
		}
		tx.AfterCommit(reply)
		return nil
	})
}
