package chat

import (
	"cmp"
	"context"
	"slices"

	"github.com/tidings-im/tidings/im"
)

// ask stores a request on both sides. Asking again replaces it, and is new again.
func (f *feeding) ask(me, other person, a *adding) (*im.FriendResult, error) {
	waiting := resultOf(other.name, im.CodeWaitsForApproval, "the request waits for approval")
	sent := &im.RelationState{Remark: a.Remark, Wording: a.Wording, Source: a.Source, GroupName: a.GroupName, Both: a.Both}
	var before int64 // when it was asked last
	for _, x := range []struct {
		owner, about person
		kind         im.RelationKind
	}{{me, other, relRequestOut}, {other, me, relRequestIn}} {
		have, err := f.state(x.owner.uid, x.kind, int64(x.about.uid))
		if err != nil {
			return nil, err
		}
		if have != nil {
			before = have.Time
			continue
		}
		n, err := f.tx.CountRelations(x.owner.uid, x.kind)
		if err != nil {
			return nil, err
		}
		if n >= maxRequests {
			return resultOf(other.name, im.CodeTooManyRequestsOpen, "too many requests are open"), nil
		}
	}
	sent.Time = f.tx.Now()
	received := &im.RelationState{Wording: a.Wording, Source: a.Source, Time: sent.Time, Both: a.Both}
	read, err := f.state(other.uid, relRead, 0)
	if err != nil {
		return nil, err
	}
	// Requests are new by their time, and unread, also within the millisecond of the one before or of the last reading.
	received.Time = max(received.Time, read.GetTime()+1, before+1)
	// A request that is asked again is the newest in both lists.
	if err := f.tx.DropRelation(me.uid, relRequestOut, int64(other.uid)); err != nil {
		return nil, err
	}
	if err := f.tx.DropRelation(other.uid, relRequestIn, int64(me.uid)); err != nil {
		return nil, err
	}
	if err := f.put(me.uid, relRequestOut, other, sent); err != nil {
		return nil, err
	}
	return waiting, f.put(other.uid, relRequestIn, me, received)
}

// AnswerRequest accepts or rejects the request of a user.
func (c *Chat) AnswerRequest(ctx context.Context, call Call[*im.FriendReply], req *im.AnswerRequestRequest) error {
	if err := cmp.Or(checkText("remark", req.Remark, maxRemark), checkGroupName("group_name", req.GroupName, false)); err != nil {
		return err
	}
	refused, err := c.askFriendResponse(ctx, call.Caller, req)
	if err != nil {
		return err
	}
	return c.each(ctx, call.Caller, call.mark(), []string{req.UserId}, func(f *feeding, me, other person) (*im.FriendResult, error) {
		if refused != nil {
			return refused, nil
		}
		return f.answer(me, other, req)
	}, func(r []*im.FriendResult, feed uint64) answer { return call.with(friendReply(r[0], feed)) })
}

const (
	accept       = 0
	acceptAndAdd = 1
	reject       = 2
)

func (f *feeding) answer(me, other person, req *im.AnswerRequestRequest) (*im.FriendResult, error) {
	received, err := f.state(me.uid, relRequestIn, int64(other.uid))
	if err != nil {
		return nil, err
	}
	if received == nil {
		return resultOf(other.name, im.CodeNoSuchRequest, "there is no such request"), nil
	}
	sent, err := f.state(other.uid, relRequestOut, int64(me.uid))
	if err != nil {
		return nil, err
	}
	if sent == nil || req.Action == reject {
		if err := f.endRequest(other, me, false); err != nil {
			return nil, err
		}
		if sent == nil { // its sender has deleted it
			return resultOf(other.name, im.CodeNoSuchRequest, "there is no such request any more"), nil
		}
		return resultOf(other.name, 0, ""), nil
	}
	for _, x := range []struct {
		owner, other UID
		code         int32
	}{{me.uid, other.uid, im.CodeBlockedBySelf}, {other.uid, me.uid, im.CodeBlockedByPeer}} {
		blocked, err := f.state(x.owner, relBlocked, int64(x.other))
		if err != nil {
			return nil, err
		}
		if blocked != nil {
			return resultOf(other.name, x.code, "one of the two has blocked the other"), nil
		}
	}
	// The asker is the one who gets a friend; with acceptAndAdd the caller does, too.
	mine := &im.RelationState{Remark: req.Remark, GroupName: req.GroupName, Wording: received.Wording, Source: received.Source}
	full, err := f.become(other, me, req.Action == acceptAndAdd, true, sent, mine)
	if err != nil {
		return nil, err
	}
	if full != nil {
		full.Identifier = other.name
		switch full.Code { // become sees it from the asker's side
		case im.CodeTooManyFriends:
			full.Code = im.CodePeerTooManyFriends
		case im.CodePeerTooManyFriends:
			full.Code = im.CodeTooManyFriends
		}
		return full, nil
	}
	return resultOf(other.name, 0, ""), nil
}

// DeleteRequests deletes requests from the caller's own list; the other side's stay.
func (c *Chat) DeleteRequests(ctx context.Context, call Call[*im.FriendResults], req *im.UsersRequest) error {
	if err := checkUsers(req.UserIds, maxUsers); err != nil {
		return err
	}
	kinds := []im.RelationKind{relRequestIn}
	switch {
	case req.Both:
		kinds = []im.RelationKind{relRequestIn, relRequestOut}
	case req.Sent:
		kinds = []im.RelationKind{relRequestOut}
	}
	return c.each(ctx, call.Caller, call.mark(), req.UserIds, func(f *feeding, me, other person) (*im.FriendResult, error) {
		found := false
		for _, kind := range kinds {
			have, err := f.state(me.uid, kind, int64(other.uid))
			if err != nil {
				return nil, err
			}
			if have == nil {
				continue
			}
			// One callback names the user, whichever requests there were.
			if err := f.drop(me.uid, kind, other, found); err != nil {
				return nil, err
			}
			found = true
		}
		if !found {
			return resultOf(other.name, im.CodeNoSuchRequest, "there is no such request"), nil
		}
		return resultOf(other.name, 0, ""), nil
	}, friendResults(call))
}

// ReadRequests marks received requests as read, up to a time.
func (c *Chat) ReadRequests(ctx context.Context, call Call[*im.ChangeReply], req *im.ReadRequestsRequest) error {
	s := call.Caller
	return c.relate(ctx, s, []Key{{UID: s.UID}}, func(f *feeding) error {
		rows, err := f.tx.Relations(s.UID, relRequestIn)
		if err != nil {
			return err
		}
		var upTo int64
		for i := range rows {
			state := c.stateOf(&rows[i])
			if req.Time == 0 || state.Time/1000 <= int64(req.Time) {
				upTo = max(upTo, state.Time)
			}
		}
		read, err := f.state(s.UID, relRead, 0)
		if err != nil {
			return err
		}
		if upTo > read.GetTime() {
			state := &im.RelationState{Time: upTo}
			r := &im.Relation{Kind: relRead, State: state}
			if err := f.add(s.UID, nil, r); err != nil {
				return err
			}
			if err := f.tx.PutRelation(Relation{UID: s.UID, Kind: relRead, Ver: r.Ver, Body: wire(state)}); err != nil {
				return err
			}
		}
		return f.end(call.with(&im.ChangeReply{Feed: f.at}))
	})
}

// Requests lists requests, the newest first. The place of a page is the number in the feed at which its first request was made.
func (c *Chat) Requests(ctx context.Context, call Call[*im.PendencyPage], req *im.RequestsRequest) error {
	s := call.Caller
	type found struct {
		Relation
		state *im.RelationState
	}
	var all []found
	out := &im.PendencyPage{}
	var read int64
	switch r, err := c.store.Relation(ctx, s.UID, relRead, 0); {
	case err == nil:
		read = c.stateOf(&r).Time
	case err != ErrNotFound:
		return err
	}
	for typ, kind := range []im.RelationKind{relRequestIn, relRequestOut} {
		rows, err := c.store.Relations(ctx, s.UID, kind, 0, maxRequests)
		if err != nil {
			return err
		}
		for i := range rows {
			state := c.stateOf(&rows[i])
			if kind == relRequestIn && state.Time > read {
				out.UnreadNum++
			}
			if req.Type != 2 && req.Type != int32(typ) || req.StartSeq != 0 && rows[i].Made > req.StartSeq || req.StartTime != 0 && uint64(state.Time/1000) > req.StartTime {
				continue
			}
			all = append(all, found{rows[i], state})
		}
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(b.Made, a.Made) })
	most := maxRequests
	if req.Limit > 0 {
		most = int(min(req.Limit, maxRequests))
	}
	if len(all) > most {
		out.CurrentSeq = all[most].Made
		all = all[:most]
	}
	for _, x := range all {
		name, err := c.nameOf(ctx, UID(x.Other))
		if err != nil {
			return err
		}
		p, err := c.store.Profile(ctx, UID(x.Other))
		if err != nil {
			return err
		}
		profile := c.profileOf(name, p)
		info := &im.FriendAddPendencyInfo{
			Identifier: name, NickName: profile.NickName, FaceUrl: profile.FaceUrl, AddTime: uint64(x.state.Time / 1000), AddSource: x.state.Source, AddWording: x.state.Wording,
		}
		if x.Kind == relRequestOut {
			info.Type = 1
		}
		out.PendencyInfoArray = append(out.PendencyInfoArray, info)
	}
	if len(all) > 0 {
		out.StartTime = out.PendencyInfoArray[0].AddTime
	}
	call.Reply(out)
	return nil
}
