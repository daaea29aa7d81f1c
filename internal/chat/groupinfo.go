package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tidings-im/tidings/im"
)

// Groups returns what everybody may know of groups, each with a code of its own.
func (c *Chat) Groups(ctx context.Context, call Call[*im.GroupsReply], req *im.GroupsRequest) error {
	out := &im.GroupsReply{}
	for _, id := range req.GroupIds {
		info, epoch, err := c.detail(ctx, call.Caller, id)
		code := im.CodeOf(err)
		if err != nil && !isError(err) {
			return err
		}
		r := &im.GetGroupInfoResult{Code: code, Info: info}
		if err != nil {
			r.Desc, r.Info = descOf(err), &im.GroupDetailInfo{GroupId: id}
		}
		out.Results, out.Epochs = append(out.Results, r), append(out.Epochs, uint64(epoch))
	}
	call.Reply(out)
	return nil
}

func isError(err error) bool {
	var e *im.Error
	return errors.As(err, &e)
}

func descOf(err error) string {
	var e *im.Error
	errors.As(err, &e)
	return e.Desc
}

// detail returns the information about a group. Who is not a member sees a Work group as if it did not exist: nobody finds it.
func (c *Chat) detail(ctx context.Context, s *Caller, id string) (*im.GroupDetailInfo, ConvID, error) {
	cv, err := c.store.Group(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil, 0, noGroup(id)
	}
	if err != nil {
		return nil, 0, err
	}
	if cv.Dissolved {
		return nil, 0, dissolved(id)
	}
	if cv.Type == im.GroupType_GROUP_TYPE_WORK && !s.Operator {
		switch in, err := c.store.MembersOf(ctx, cv.ID, []UID{s.UID}); {
		case err != nil:
			return nil, 0, err
		case len(in) == 0:
			return nil, 0, im.Errorf(im.CodeNotMember, "only members see a group of type Work")
		}
	}
	info, err := c.detailOf(ctx, &cv)
	return info, cv.ID, err
}

// errDamaged means that what is stored of a group cannot be read, then or later.
var errDamaged = errors.New("information")

// stateOf returns the information that was read about a group; none is the same as an empty one.
func stateOf(id ConvID, stored GroupInfo, err error) (*im.GroupState, error) {
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	info := &im.GroupState{}
	if err := info.UnmarshalVT(stored.Body); err != nil {
		return nil, fmt.Errorf("%w of group %d: %w", errDamaged, id, err)
	}
	return info, nil
}

// detailOf returns the information about a group. If that is damaged, the error has a code, so that a call about several groups has the others.
func (c *Chat) detailOf(ctx context.Context, cv *Conv) (*im.GroupDetailInfo, error) {
	stored, err := c.store.GroupInfo(ctx, cv.ID)
	info, err := stateOf(cv.ID, stored, err)
	if errors.Is(err, errDamaged) {
		c.log.Error("a group's information in the database is damaged", "group", cv.Group, "err", err)
		err = im.Errorf(im.CodeServerInternal, "the information about the group is damaged")
	}
	if err != nil {
		return nil, err
	}
	owner, err := c.nameOf(ctx, cv.Owner)
	if err != nil {
		return nil, err
	}
	members, online := int(cv.Members), 0
	if cv.live() {
		members, online = c.live.count(cv.ID)
	}
	return &im.GroupDetailInfo{
		GroupId: cv.Group, GroupType: cv.Type, GroupName: info.Name, Notification: info.Notification, Introduction: info.Introduction, FaceUrl: info.FaceUrl,
		CreateTime: uint64(info.Created / 1000), InfoSeq: stored.Seq, LastInfoTime: uint64(info.Changed / 1000), NextMsgSeq: cv.Seq + 1, LastMsgTime: uint64(cv.Time / 1000),
		MemberNum: uint64(members), OnlineMemberNum: uint64(online), MaxMemberNum: info.MaxMembers, AddOption: info.AddOption, ApproveOption: info.ApproveOption,
		Visible: info.Visible, Searchable: info.Searchable, IsShutupAll: cv.Flags&MuteAll != 0, OwnerIdentifier: owner, CustomInfo: info.Custom,
	}, nil
}

// ModifyGroup changes the information about a group, or its owner. Fields that stay the same make no tip, and a call that changes nothing makes nothing.
func (c *Chat) ModifyGroup(ctx context.Context, call Call[*im.Empty], req *im.ModifyGroupRequest) error {
	if req.Owner != nil {
		return c.transfer(ctx, call, req)
	}
	return c.inGroup(ctx, call.Caller, req.Group, func(g *groupUpdate) error {
		if err := g.may(actEdit); err != nil {
			return err
		}
		tips, err := changeInfo(g.info, req, g.typ, c.mostMembers(g.cv.Type))
		if err != nil {
			return err
		}
		told := len(tips)
		muted := g.cv.Flags&MuteAll != 0
		if req.ShutupAll != nil && *req.ShutupAll != muted {
			if err := g.may(actMute); err != nil {
				return err
			}
			g.cv.Flags ^= MuteAll
			g.cv.Policy++
			told++
		}
		if told == 0 {
			return nil
		}
		if err := g.storeInfo(); err != nil {
			return err
		}
		g.noteInfo(tips)
		tips = slices.DeleteFunc(tips, func(t *im.GroupTipGroupChangeInfo) bool { return !tipped(t.Flag) && !isCustom(t) })
		if len(tips) == 0 || !g.typ.tipInfo {
			return nil
		}
		t := &im.GroupTipsElem{TipType: im.GroupTipType_GROUP_TIP_TYPE_GROUP_INFO_CHANGE, GroupChangeInfoArray: tips}
		if !slices.ContainsFunc(tips, func(t *im.GroupTipGroupChangeInfo) bool { return !isCustom(t) }) {
			g.tipNow(t)
			return nil
		}
		return g.tip(t)
	}, call.with(&im.Empty{}))
}

// isCustom reports whether a change is that of a field of the app's own. If nothing else has changed, the tip is for those who are connected.
func isCustom(t *im.GroupTipGroupChangeInfo) bool {
	return t.Flag == im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_CUSTOM
}

// tipped reports whether a change of the information makes a tip that is stored (rule 49): the options do not.
func tipped(flag im.GroupTipGroupChangeFlag) bool {
	switch flag {
	case im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_NAME, im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_NOTIFICATION, im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_INTRODUCTION,
		im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_FACE_URL, im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_OWNER:
		return true
	}
	return false
}

func (g *groupUpdate) storeInfo() error {
	g.info.Changed = g.tx.Now()
	g.cv.InfoSeq++
	if err := g.tx.PutGroupInfo(GroupInfo{Conv: g.cv.ID, Seq: g.cv.InfoSeq, Body: wire(g.info)}); err != nil {
		return err
	}
	return g.put()
}

// changeInfo changes what a call names, and returns what differs.
func changeInfo(info *im.GroupState, req *im.ModifyGroupRequest, typ *groupType, most uint64) (tips []*im.GroupTipGroupChangeInfo, err error) {
	for _, x := range []struct {
		field string
		value *string
		to    *string
		most  int
		flag  im.GroupTipGroupChangeFlag
	}{
		{"name", req.Name, &info.Name, maxGroupTitle, im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_NAME},
		{"notification", req.Notification, &info.Notification, maxGroupNotice, im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_NOTIFICATION},
		{"introduction", req.Introduction, &info.Introduction, maxGroupIntroduction, im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_INTRODUCTION},
		{"face_url", req.FaceUrl, &info.FaceUrl, maxGroupFace, im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_FACE_URL},
	} {
		if x.value == nil || *x.value == *x.to {
			continue
		}
		if err := checkGroupText(x.field, *x.value, x.most); err != nil {
			return nil, err
		}
		if x.to == &info.Name && *x.value == "" {
			return nil, im.Errorf(im.CodeGroupParameters, "name is empty")
		}
		*x.to = *x.value
		tips = append(tips, &im.GroupTipGroupChangeInfo{Flag: x.flag, Value: *x.value})
	}
	for _, x := range []struct {
		field string
		value *im.GroupAddOption
		to    *im.GroupAddOption
		fixed bool
		flag  im.GroupTipGroupChangeFlag
	}{
		{"add_option", req.AddOption, &info.AddOption, typ.addFixed, im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_ADD_OPT},
		{"approve_option", req.ApproveOption, &info.ApproveOption, typ.inviteFixed, im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_APPROVE_OPT},
	} {
		if x.value == nil || *x.value == *x.to {
			continue
		}
		if x.fixed {
			return nil, im.Errorf(im.CodeNotMember, "%s of a group of type %s cannot be changed", x.field, typ.name)
		}
		if *x.value < addNo || *x.value > addFree {
			return nil, im.Errorf(im.CodeGroupParameters, "%s has no value %d", x.field, *x.value)
		}
		*x.to = *x.value
		tips = append(tips, &im.GroupTipGroupChangeInfo{Flag: x.flag, IntValue: int32(*x.value)})
	}
	if req.MaxMembers != nil && *req.MaxMembers != info.MaxMembers {
		if *req.MaxMembers == 0 || *req.MaxMembers > most {
			return nil, im.Errorf(im.CodeGroupMemberLimit, "a group of type %s has at most %d members", typ.name, most)
		}
		info.MaxMembers = *req.MaxMembers
		tips = append(tips, &im.GroupTipGroupChangeInfo{})
	}
	for _, x := range []struct{ value, to *uint64 }{{req.Visible, &info.Visible}, {req.Searchable, &info.Searchable}} {
		if x.value != nil && *x.value != *x.to {
			*x.to = *x.value
			tips = append(tips, &im.GroupTipGroupChangeInfo{})
		}
	}
	before := info.Custom
	if info.Custom, err = setGroupCustom(slices.Clone(before), req.Custom, maxGroupCustom, maxGroupCustomValue); err != nil {
		return nil, err
	}
	for _, f := range req.Custom {
		i := slices.IndexFunc(before, func(old *im.GroupInfoCustomString) bool { return old.Key == f.Key })
		if i < 0 && f.Value != "" || i >= 0 && before[i].Value != f.Value {
			tips = append(tips, &im.GroupTipGroupChangeInfo{Flag: im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_CUSTOM, Key: f.Key, Value: f.Value})
		}
	}
	return tips, nil
}

// setGroupCustom is setCustom with the limits of groups and members.
func setGroupCustom[F customField](have, change []F, most, mostValue int) ([]F, error) {
	for _, f := range change {
		if f.GetKey() == "" || len(f.GetKey()) > maxGroupCustomKey || len(f.GetValue()) > mostValue {
			return nil, im.Errorf(im.CodeGroupParameters, "the key of a custom field has 1 to %d bytes, its value up to %d", maxGroupCustomKey, mostValue)
		}
	}
	if have = setCustom(have, change); len(have) > most {
		return nil, im.Errorf(im.CodeGroupParameters, "there would be %d custom fields, more than %d", len(have), most)
	}
	return have, nil
}

// transfer makes a member the owner; the old one becomes an ordinary member.
func (c *Chat) transfer(ctx context.Context, call Call[*im.Empty], req *im.ModifyGroupRequest) error {
	to, err := c.person(ctx, *req.Owner)
	if errors.Is(err, ErrNotFound) {
		return im.Errorf(im.CodeGroupUnknownUser, "there is no user %q", *req.Owner)
	}
	if err != nil {
		return err
	}
	return c.inGroup(ctx, call.Caller, req.Group, func(g *groupUpdate) error {
		if g.cv.Owner == to.uid && g.s.Operator {
			return nil
		}
		if g.typ.may[actTransfer] == byNobody {
			return im.Errorf(im.CodeNotMember, "a group of type %s keeps its owner", g.typ.name)
		}
		if err := g.may(actTransfer); err != nil {
			return err
		}
		if g.cv.Owner == to.uid {
			return nil
		}
		next, err := g.tx.Member(g.cv.ID, to.uid)
		if errors.Is(err, ErrNotFound) || err == nil && next.Left {
			return im.Errorf(im.CodeNotMember, "%q is not a member of the group", to.name)
		}
		if err != nil {
			return err
		}
		told := []UID{to.uid}
		if g.cv.Owner != 0 {
			old, err := g.tx.Member(g.cv.ID, g.cv.Owner)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			if err == nil && !old.Left {
				old.Role = RoleMember
				if _, err := g.tx.PutMember(old); err != nil {
					return err
				}
				told = append(told, old.UID)
			}
		}
		next.Role = RoleOwner
		if _, err := g.tx.PutMember(next); err != nil {
			return err
		}
		if err := g.noteOwner(to); err != nil {
			return err
		}
		g.cv.Owner = to.uid
		g.cv.Policy++
		if err := g.storeInfo(); err != nil {
			return err
		}
		if g.typ.tipInfo {
			if err := g.tip(&im.GroupTipsElem{TipType: im.GroupTipType_GROUP_TIP_TYPE_GROUP_INFO_CHANGE, GroupChangeInfoArray: []*im.GroupTipGroupChangeInfo{
				{Flag: im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_OWNER, Value: to.name},
			}}); err != nil {
				return err
			}
		}
		return g.heads(told)
	}, call.with(&im.Empty{}))
}
