package chat

import (
	"errors"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/hook"
)

// What the calls about groups do in a live room: who is in it is not stored, and its tips are in no log.

// live reports whether a group is a live room.
func (cv *Conv) live() bool {
	typ := groupTypes[cv.Type]
	return cv.Kind == KindGroup && typ != nil && typ.live
}

// roomForLive returns an error if there can be no further live room, or none of an owner.
func (g *groupUpdate) roomForLive(owner UID) error {
	most, each := g.c.cfg.MaxRooms, g.c.cfg.MaxRoomsPerUser
	if !g.typ.live || most == 0 && each == 0 {
		return nil
	}
	all, own, err := g.tx.LiveRooms(owner)
	switch {
	case err != nil:
		return err
	case most > 0 && all >= most:
		return im.Errorf(im.CodeTooManyRooms, "there are %d live rooms", all)
	case each > 0 && owner != 0 && own >= each:
		return im.Errorf(im.CodeTooManyRooms, "the owner has %d live rooms", own)
	}
	return nil
}

// standing returns the stored row of a user: role and mute. Left does not mean anything in it.
func (g *groupUpdate) standing(uid UID) (Member, error) {
	m, err := g.tx.Member(g.cv.ID, uid)
	if errors.Is(err, ErrNotFound) {
		m, err = Member{Conv: g.cv.ID, UID: uid, Role: RoleMember}, nil
	}
	if uid == g.cv.Owner {
		m.Role = RoleOwner
	}
	return m, err
}

// member returns the row of a user; Left is set for one who is not in the group.
func (g *groupUpdate) member(uid UID) (Member, error) {
	if g.typ.live {
		m, err := g.standing(uid)
		m.Left = !g.c.live.present(g.cv.ID, uid)
		return m, err
	}
	m, err := g.tx.Member(g.cv.ID, uid)
	if errors.Is(err, ErrNotFound) {
		m, err = Member{Conv: g.cv.ID, UID: uid, Left: true}, nil
	}
	return m, err
}

// keep stores the row of a member. In a live room, where it is not a membership, the member is then what it says.
func (g *groupUpdate) keep(m Member) (Member, error) {
	if !g.typ.live {
		return g.tx.PutMember(m)
	}
	id, c, flags := g.cv.ID, g.c, g.cv.Flags
	g.moves = append(g.moves, func() { c.live.set(id, flags, m.UID, m.Role, m.MuteUntil) })
	m.Left = true
	return g.tx.PutMember(m)
}

// openLive reads what the caller is in a room: one of its members if this session has joined it. The owner is one in any case.
func (g *groupUpdate) openLive() (err error) {
	g.me, err = g.standing(g.s.UID)
	g.me.Left = g.s.UID != g.cv.Owner && !g.c.live.has(g.cv.ID, g.s)
	return err
}

// enterLive lets the session in.
func (g *groupUpdate) enterLive(call *Call[*im.JoinGroupReply], req *im.JoinGroupRequest, reply *im.JoinGroupReply) error {
	c, s, id := g.c, g.s, g.cv.ID
	reply.HeartbeatSeconds, reply.AttrVer, reply.At = roomHeartbeat, g.cv.AttrVer, g.tx.Now()
	g.unkept = true
	n, _ := c.live.count(id)
	switch in := c.live.has(id, s); {
	case in && (call.Resent || req.Again):
		return nil
	case in:
		return im.Errorf(im.CodeAlreadyMember, "the session is in the room already")
	case req.Again && g.me.Hidden:
		return errNotMember // they were removed, and have not joined since
	case len(s.inRooms()) >= maxRoomsOfSession:
		return im.Errorf(im.CodeTooManyGroups, "the session is in %d live rooms", maxRoomsOfSession)
	case c.live.crowds(id, s):
		return im.Errorf(im.CodeTooManyGroups, "the user is in the room with %d devices", maxSeats)
	case uint64(n) >= g.info.MaxMembers:
		return im.Errorf(im.CodeGroupFull, "the room has %d members", n)
	}
	a := &arrival{id: id, name: g.cv.Group, flags: g.cv.Flags, s: s, role: g.me.Role, muted: g.me.MuteUntil, at: g.tx.Now(), again: req.Again}
	if c.live.get(id) == nil {
		var err error
		if a.first, a.last, err = g.setAside(); err != nil {
			return err
		}
	}
	if uint64(n)+1 >= g.info.MaxMembers && !c.live.present(id, s.UID) {
		g.note(&hook.GroupAfterGroupFull{GroupId: g.cv.Group, EventTime: a.at})
	}
	if g.me.Hidden {
		g.me.Hidden = false
		if _, err := g.keep(g.me); err != nil {
			return err
		}
	}
	m := g.me
	m.JoinedAt = a.at
	t := &im.GroupTipsElem{
		TipType: im.GroupTipType_GROUP_TIP_TYPE_INVITE, UserArray: []string{s.Name},
		ChangedGroupMemberinfoArray: []*im.GroupMemberInfo{memberInfo(s.Name, g.cv.Group, &m)},
	}
	g.dress(t)
	var r *liveRoom
	var came bool
	g.moves = append(g.moves, func() { r, came = c.live.enter(c, a) })
	g.after = append(g.after, func() {
		if came {
			r.membership(t)
		}
	})
	return nil
}

// quitLive takes the session out.
func (g *groupUpdate) quitLive() {
	g.unkept = true
	t := &im.GroupTipsElem{
		TipType: im.GroupTipType_GROUP_TIP_TYPE_QUIT, UserArray: []string{g.s.Name},
		ChangedGroupMemberinfoArray: []*im.GroupMemberInfo{{Identifier: g.s.Name, GroupId: g.cv.Group}},
	}
	g.dress(t)
	var r *liveRoom
	var left bool
	g.moves = append(g.moves, func() { r, left = g.c.live.leave(g.s, g.cv.ID) })
	g.after = append(g.after, func() {
		if left {
			r.membership(t)
		}
	})
}

// outLive takes others out. That is stored: their devices may be away, and do not come back by themselves.
func (g *groupUpdate) outLive(people []person, t *im.GroupTipsElem) error {
	id, c := g.cv.ID, g.c
	for _, p := range people {
		m, err := g.member(p.uid)
		if err != nil {
			return err
		}
		m.Hidden = true
		if _, err := g.keep(m); err != nil {
			return err
		}
	}
	g.dress(t)
	var r *liveRoom
	g.moves = append(g.moves, func() {
		r = c.live.get(id)
		for _, p := range people {
			if c.live.expel(id, p.uid) {
				t.UserArray = append(t.UserArray, p.name)
				t.ChangedGroupMemberinfoArray = append(t.ChangedGroupMemberinfoArray, &im.GroupMemberInfo{Identifier: p.name, GroupId: g.cv.Group})
			}
		}
	})
	g.after = append(g.after, func() {
		if r != nil && len(t.UserArray) > 0 && !g.s.Silent {
			r.membership(t)
		}
	})
	return nil
}

// tipLive makes a tip heard in the room.
func (g *groupUpdate) tipLive(t *im.GroupTipsElem) {
	g.inRoom(func(r *liveRoom) { r.urgently(func() { r.tip(t, 0) }) })
}

// changedLive tells those in the room of a change that is not about a message. It takes no number.
func (g *groupUpdate) changedLive(ch Change, report *im.GroupReportElem) {
	id, c := g.cv.ID, g.c
	ch.Time = g.tx.Now()
	out := changeOf(&ch, g.s.Name, "")
	out.Version, out.Report = ch.Version, report
	push := &im.ChangePush{Conv: groupKeyOf(g.cv.Group), Epoch: uint64(id), Change: out}
	tell := func() { c.tell(pushChange.to(Audience{Room: id}, push)) }
	if ch.Kind != int32(im.ChangeKind_CHANGE_DISSOLVED) {
		g.inRoom(func(r *liveRoom) { r.urgently(tell) })
		return
	}
	g.moves = append(g.moves, func() { c.live.stop(id) })
	g.inRoom(func(r *liveRoom) {
		if r.late != nil { // its time does not come any more
			r.urgently(r.takeLate())
		}
		r.urgently(func() {
			tell()
			c.live.empty(id)
		})
	})
}

// inRoom calls f with the room, which it holds locked, after the reply; not if nobody is in it.
func (g *groupUpdate) inRoom(f func(r *liveRoom)) {
	id, c := g.cv.ID, g.c
	g.after = append(g.after, func() { c.live.within(id, f) })
}
