package chat

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// checkGroupID checks an id that the caller has chosen.
func checkGroupID(id string, typ im.GroupType) error {
	plain := !strings.ContainsFunc(id, func(r rune) bool { return r < 0x20 || r > 0x7e })
	community := typ == im.GroupType_GROUP_TYPE_COMMUNITY
	switch {
	case len(id) > maxGroupID || !plain:
		return im.Errorf(im.CodeGroupID, "group_id is not printable ASCII of up to %d bytes", maxGroupID)
	case community && (!strings.HasPrefix(id, madeCommunityID) || len(id) == len(madeCommunityID)):
		return im.Errorf(im.CodeGroupID, "the group_id of a community begins with %s", madeCommunityID)
	case !community && strings.HasPrefix(id, madeGroupID):
		return im.Errorf(im.CodeGroupID, "group_id begins with %s", madeGroupID)
	case strings.HasPrefix(id, systemPrefix):
		return im.Errorf(im.CodeGroupID, "group_id begins with %s", systemPrefix)
	}
	return nil
}

// newGroupID draws an id.
func newGroupID(typ im.GroupType) string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // it does not fail
	prefix := madeGroupID
	if typ == im.GroupType_GROUP_TYPE_COMMUNITY {
		prefix = madeCommunityID
	}
	return prefix + base32.StdEncoding.EncodeToString(b[:])
}

// CreateGroup makes a group with the caller as its owner and first member.
func (c *Chat) CreateGroup(ctx context.Context, call Call[*im.CreateGroupReply], req *im.CreateGroupRequest) error {
	return c.found(ctx, call, req, person{call.Caller.UID, call.Caller.Name})
}

// found makes a group with an owner, who is its first member; one without a number is nobody.
func (c *Chat) found(ctx context.Context, call Call[*im.CreateGroupReply], req *im.CreateGroupRequest, owner person) error {
	s := call.Caller
	typ := groupTypes[req.Type]
	if typ == nil {
		return im.Errorf(im.CodeGroupParameters, "there are no groups of type %d", req.Type)
	}
	info, err := newGroupState(req, typ, c.mostMembers(req.Type))
	if err != nil {
		return err
	}
	if req.GroupId != "" {
		if err := checkGroupID(req.GroupId, req.Type); err != nil {
			return err
		}
	}
	first, err := c.firstMembers(ctx, s, owner, req, typ)
	if err != nil {
		return err
	}
	id := req.GroupId
	if id == "" {
		id = newGroupID(req.Type)
	}
	if err := c.askCreate(ctx, s, req, owner, id, first, typ); err != nil {
		return err
	}
	keys := []Key{{UID: s.UID}}
	for _, m := range first {
		keys = append(keys, Key{UID: m.uid})
	}
	if owner.uid != s.UID && owner.uid != 0 {
		keys = append(keys, Key{UID: owner.uid})
	}
	return c.store.Update(ctx, keys, func(tx Tx) error {
		g := &groupUpdate{feeding: c.feeding(tx, s), typ: typ, info: info}
		old, err := tx.Group(id)
		if err == nil && !old.Dissolved {
			return idTaken(&old, owner)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := g.create(id, req.Type, owner, first); err != nil {
			return err
		}
		reply := &im.CreateGroupReply{GroupId: id, Epoch: uint64(g.cv.ID)}
		ref := group{g.cv.ID, id, typ}
		g.moves = append(g.moves, func() { c.groups.put(id, ref) })
		return g.done(call.with(reply))
	})
}

// idTaken is the error of a creation whose id is in use.
func idTaken(old *Conv, owner person) error {
	if old.Owner == owner.uid && owner.uid != 0 {
		return im.Errorf(im.CodeGroupIDOwn, "the owner has a group %q", old.Group)
	}
	return im.Errorf(im.CodeGroupIDTaken, "the group id %q is in use", old.Group)
}

// firstMember is a member of a new group besides its owner.
type firstMember struct {
	person
	role   int32
	card   string
	custom []byte
}

func (c *Chat) firstMembers(ctx context.Context, s *Caller, owner person, req *im.CreateGroupRequest, typ *groupType) (out []firstMember, err error) {
	if most := s.atOnce(maxFirstMembers, maxUsers); len(req.Members) > most {
		return nil, im.Errorf(im.CodeGroupUserCount, "members names %d users, more than %d", len(req.Members), most)
	}
	if typ.live && len(req.Members) > 0 {
		return nil, im.Errorf(im.CodeNotMember, "the members of a live room join it themselves")
	}
	seen := map[UID]bool{owner.uid: true}
	for _, m := range req.Members {
		p, err := c.person(ctx, m.Identifier)
		if errors.Is(err, ErrNotFound) {
			return nil, im.Errorf(im.CodeGroupUnknownUser, "there is no user %q", m.Identifier)
		}
		if err != nil {
			return nil, err
		}
		if seen[p.uid] {
			continue
		}
		seen[p.uid] = true
		f := firstMember{person: p, role: int32(m.MemberRole), card: m.NameCard}
		switch {
		case f.role == 0:
			f.role = RoleMember
		case f.role == RoleAdmin && typ.may[actAppoint] != byNobody, f.role == RoleMember:
		default:
			return nil, im.Errorf(im.CodeGroupParameters, "%q cannot have role %d in a new group of type %s", m.Identifier, m.MemberRole, typ.name)
		}
		if err := checkGroupText("group_member_info_name_card", f.card, maxNameCard); err != nil {
			return nil, err
		}
		if len(m.CustomInfo) > 0 {
			fields, err := setGroupCustom(nil, m.CustomInfo, maxMemberCustom, maxMemberCustomValue)
			if err != nil {
				return nil, err
			}
			f.custom = wire(&im.GroupMemberState{Custom: fields})
		}
		out = append(out, f)
	}
	return out, nil
}

func newGroupState(req *im.CreateGroupRequest, typ *groupType, most uint64) (*im.GroupState, error) {
	info := &im.GroupState{AddOption: typ.add, ApproveOption: typ.invite, MaxMembers: min(typ.members, most)}
	change := &im.ModifyGroupRequest{
		Name: &req.Name, Notification: &req.Notification, Introduction: &req.Introduction, FaceUrl: &req.FaceUrl,
		AddOption: req.AddOption, ApproveOption: req.ApproveOption, Custom: req.Custom,
	}
	if req.MaxMembers > 0 {
		change.MaxMembers = &req.MaxMembers
	}
	if req.Name == "" {
		return nil, im.Errorf(im.CodeGroupParameters, "name is empty")
	}
	_, err := changeInfo(info, change, typ, most)
	return info, err
}

// create makes the group and its first members; the tip about them is the first entry of the log.
func (g *groupUpdate) create(id string, typ im.GroupType, owner person, first []firstMember) (err error) {
	all := uidsOf(first)
	if owner.uid != 0 {
		all = append([]UID{owner.uid}, all...)
	}
	for _, uid := range all {
		n, err := g.tx.GroupCount(uid)
		if err != nil {
			return err
		}
		if n >= g.c.cfg.MaxGroups {
			return im.Errorf(im.CodeTooManyGroups, "one of the users is in %d groups already", n)
		}
	}
	if uint64(len(all)) > g.info.MaxMembers {
		return im.Errorf(im.CodeGroupFull, "the group has room for %d members", g.info.MaxMembers)
	}
	if err := g.roomForLive(owner.uid); err != nil {
		return err
	}
	g.info.Created, g.info.Changed = g.tx.Now(), g.tx.Now()
	if g.cv, err = g.tx.NewConv(Conv{Kind: KindGroup, Group: id, Type: typ, Owner: owner.uid, InfoSeq: 1}); err != nil {
		return err
	}
	if err := g.tx.PutGroupInfo(GroupInfo{Conv: g.cv.ID, Seq: 1, Body: wire(g.info)}); err != nil {
		return err
	}
	if g.typ.live {
		g.noteCreated(owner, nil)
		if owner.uid == 0 {
			return nil
		}
		return g.reportCreated(owner)
	}
	g.me = Member{Conv: g.cv.ID, UID: g.s.UID, Left: true}
	if owner.uid != 0 {
		m, err := g.join(owner.uid)
		if err != nil {
			return err
		}
		m.Role = RoleOwner
		if m, err = g.tx.PutMember(m); err != nil {
			return err
		}
		if owner.uid == g.s.UID {
			g.me = m
		}
	}
	var people []person
	var rows []Member
	for _, f := range first {
		m, err := g.join(f.uid)
		if err != nil {
			return err
		}
		if f.role != RoleMember || f.card != "" {
			m.Role, m.NameCard = f.role, f.card
			if m, err = g.tx.PutMember(m); err != nil {
				return err
			}
		}
		if f.custom != nil {
			if err := g.tx.PutCustom(g.cv.ID, f.uid, f.custom); err != nil {
				return err
			}
		}
		people, rows = append(people, f.person), append(rows, m)
	}
	if g.typ.tipJoin {
		if err := g.tipAbout(people, rows, func([]person) *im.GroupTipsElem {
			return &im.GroupTipsElem{TipType: im.GroupTipType_GROUP_TIP_TYPE_INVITE, MemberNum: g.cv.Members}
		}); err != nil {
			return err
		}
	}
	g.noteCreated(owner, first)
	if owner.uid != 0 {
		if err := g.reportCreated(owner); err != nil {
			return err
		}
	}
	for _, f := range first {
		if err := g.report(f.uid, &im.GroupReportElem{ReportType: im.GroupReportType_GROUP_REPORT_TYPE_INVITE}); err != nil {
			return err
		}
	}
	return g.heads(all)
}

func uidsOf(list []firstMember) (out []UID) {
	for _, f := range list {
		out = append(out, f.uid)
	}
	return out
}

func (g *groupUpdate) reportCreated(owner person) error {
	report := &im.GroupReportElem{ReportType: im.GroupReportType_GROUP_REPORT_TYPE_CREATE}
	if owner.uid == g.s.UID {
		return g.reportOwn(report)
	}
	return g.report(owner.uid, report)
}
