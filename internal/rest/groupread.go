package rest

import (
	"errors"
	"reflect"
	"slices"
	"strconv"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/restjson"
)

const (
	// membersAtOnce and groupsAtOnce are how many a page has at most.
	membersAtOnce = 200
	groupsAtOnce  = 5000
	// maxReply limits a list in a reply, in bytes of JSON.
	maxReply = 1 << 20
)

// filter are the names of the fields that a call asks for.
type filter []string

// oldNames are the fields that a filter may name by an older spelling.
var oldNames = map[string]string{"MuteAllMember": "ShutUpAllMember", "MuteUntil": "ShutUpUntil"}

func (f filter) has(name string) bool {
	return slices.Contains(f, name) || oldNames[name] != "" && slices.Contains(f, oldNames[name])
}

// pair is a field of the app's own in a reply.
type pair struct {
	Key   string
	Value any
}

// fill sets the fields of an object of a reply that have a value and that the call asks for; with a nil filter, all that have one. Several replies have the
// same fields in types of their own.
func fill[T any](to T, asked filter, values map[string]any) T {
	object := reflect.ValueOf(&to).Elem()
	for i := range object.NumField() {
		name := object.Type().Field(i).Name
		v, ok := values[name]
		if !ok || asked != nil && !asked.has(name) {
			continue
		}
		field := object.Field(i)
		if field.Kind() == reflect.Slice {
			list := reflect.MakeSlice(field.Type(), 0, 0)
			for _, p := range v.([]pair) {
				list = reflect.Append(list, reflect.ValueOf(p).Convert(field.Type().Elem()))
			}
			field.Set(list)
			continue
		}
		p := reflect.New(field.Type().Elem())
		p.Elem().Set(reflect.ValueOf(v))
		field.Set(p)
	}
	return to
}

// ownValues are the fields of the app's own that a call asks for; with a nil filter, all.
func ownValues[F interface {
	GetKey() string
	GetValue() string
}](list []F, asked filter) []pair {
	out := []pair{}
	for _, f := range list {
		if asked == nil || asked.has(f.GetKey()) {
			out = append(out, pair{f.GetKey(), f.GetValue()})
		}
	}
	return out
}

func groupValues(g *im.GroupDetailInfo, app uint64) map[string]any {
	return map[string]any{
		"Type": restjson.GroupType(g.GroupType), "Name": g.GroupName, "Introduction": g.Introduction, "Notification": g.Notification, "FaceUrl": g.FaceUrl,
		"Owner_Account": g.OwnerIdentifier, "CreateTime": int64(g.CreateTime), "InfoSeq": int64(g.InfoSeq), "LastInfoTime": int64(g.LastInfoTime), "LastMsgTime": int64(g.LastMsgTime),
		"NextMsgSeq": int64(g.NextMsgSeq), "MemberNum": int64(g.MemberNum), "MaxMemberNum": int64(g.MaxMemberNum), "ApplyJoinOption": restjson.JoinOption(g.AddOption),
		"InviteJoinOption": restjson.InviteOption(g.ApproveOption), "MuteAllMember": restjson.MuteAll(g.IsShutupAll), "Appid": int64(app),
	}
}

func memberValues(m *im.GroupMemberInfo) map[string]any {
	return map[string]any{
		"Role": restjson.Role(m.MemberRole), "JoinTime": int64(m.JoinTime), "MsgSeq": int64(m.MsgSeq), "MsgFlag": restjson.MsgFlag(m.MsgFlag), "MuteUntil": int64(m.ShutupTime), "NameCard": m.NameCard,
	}
}

// shownMember is a member in one of the replies.
func shownMember[T any](to T, m *im.GroupMemberInfo, asked, own filter) T {
	return fill(fill(to, asked, memberValues(m)), nil, map[string]any{"AppMemberDefinedData": ownValues(m.CustomInfo, own)})
}

// getGroupInfo returns what is known of groups, of each with a code of its own.
func (a *API) getGroupInfo(c *call, r *getGroupInfoRequest) (*getGroupInfoReply, error) {
	out := &getGroupInfoReply{}
	size := 0
	for _, id := range r.GroupIdList {
		item, err := a.groupInfo(c, id, r.ResponseFilter, &size)
		var e *im.Error
		switch {
		case errors.As(err, &e) && e.Code != im.CodeGroupReplySize:
			item = getGroupInfoReplyGroupInfo{GroupId: id, ErrorCode: int64(e.Code), ErrorInfo: im.Shorten(e.Desc, im.MaxDesc)}
		case err != nil:
			return nil, err
		}
		out.GroupInfo = append(out.GroupInfo, item)
	}
	return out, nil
}

func (a *API) groupInfo(c *call, id string, of *getGroupInfoRequestResponseFilter, size *int) (out getGroupInfoReplyGroupInfo, err error) {
	if err := checkGroup(id); err != nil {
		return out, err
	}
	info, err := a.chat.GroupAs(c.Context(), id)
	if err != nil {
		return out, err
	}
	var base, members, own, ownOfMember filter
	withMembers, withOwn := info.GroupType != im.GroupType_GROUP_TYPE_COMMUNITY, true
	if of != nil {
		base, members, own, ownOfMember = of.GroupBaseInfoFilter, of.MemberInfoFilter, of.AppDefinedDataFilter_Group, append(filter{}, of.AppDefinedDataFilter_GroupMember...)
		withMembers, withOwn = members != nil, own != nil
	}
	out = fill(getGroupInfoReplyGroupInfo{GroupId: id}, base, groupValues(info, a.cfg.AppID))
	if withOwn {
		out = fill(out, nil, map[string]any{"AppDefinedData": ownValues(info.CustomInfo, own)})
	}
	if !withMembers {
		return out, nil
	}
	out.MemberList = restjson.List[getGroupInfoReplyGroupInfoMemberList]{}
	for next, more := uint64(0), true; more; more = next != 0 {
		page, err := a.chat.MembersAs(c.Context(), chat.MemberQuery{Group: id, After: next, Limit: membersAtOnce})
		if err != nil {
			return out, err
		}
		for _, m := range page.Members {
			item := shownMember(getGroupInfoReplyGroupInfoMemberList{Member_Account: m.Identifier}, m, members, ownOfMember)
			if err := fits(item, size); err != nil {
				return out, err
			}
			out.MemberList = append(out.MemberList, item)
		}
		next = page.Next
	}
	return out, nil
}

// fits counts an item of a reply, and refuses one with which the reply would be too large.
func fits(item any, size *int) error {
	text, err := restjson.Marshal(item)
	if *size += len(text); err == nil && *size > maxReply {
		err = im.Errorf(im.CodeGroupReplySize, "the reply would be larger than %d bytes", maxReply)
	}
	return err
}

// roleBits are the roles of im.ListMembersRequest.
var roleBits = map[im.GroupMemberRole]uint32{im.GroupMemberRole_GROUP_MEMBER_ROLE_OWNER: 1, im.GroupMemberRole_GROUP_MEMBER_ROLE_ADMIN: 2, im.GroupMemberRole_GROUP_MEMBER_ROLE_NORMAL: 4}

// getGroupMemberInfo returns a page of members; without a limit, all.
func (a *API) getGroupMemberInfo(c *call, r *getGroupMemberInfoRequest) (*getGroupMemberInfoReply, error) {
	if err := checkGroup(r.GroupId); err != nil {
		return nil, err
	}
	q := chat.MemberQuery{Group: r.GroupId, Skip: int(r.Offset), Limit: membersAtOnce}
	for _, name := range r.MemberRoleFilter {
		role, ok := restjson.RoleNamed(name)
		if !ok {
			return nil, im.Errorf(im.CodeGroupParameters, "MemberRoleFilter names no role %q", im.Shorten(name, maxName))
		}
		q.Roles |= roleBits[role]
	}
	if r.Next != "" {
		var err error
		if q.After, err = strconv.ParseUint(r.Next, 10, 63); err != nil {
			return nil, im.Errorf(im.CodeGroupParameters, "Next is not that of a reply")
		}
	}
	if r.Limit != nil {
		if *r.Limit == 0 || *r.Limit > membersAtOnce {
			return nil, im.Errorf(im.CodeGroupParameters, "Limit is not 1 to %d", membersAtOnce)
		}
		q.Limit = int(*r.Limit)
	}
	out := &getGroupMemberInfoReply{}
	size := 0
	for {
		page, err := a.chat.MembersAs(c.Context(), q)
		if err != nil {
			return nil, err
		}
		out.MemberNum = int64(page.Total)
		for _, m := range page.Members {
			item := shownMember(getGroupMemberInfoReplyMemberList{Member_Account: m.Identifier}, m, r.MemberInfoFilter, r.AppDefinedDataFilter_GroupMember)
			if err := fits(item, &size); err != nil {
				return nil, err
			}
			out.MemberList = append(out.MemberList, item)
		}
		q.After, q.Skip = page.Next, 0
		if page.Next == 0 {
			return out, nil
		}
		if r.Limit != nil || page.Type == im.GroupType_GROUP_TYPE_COMMUNITY {
			out.Next = strconv.FormatUint(page.Next, 10)
			return out, nil
		}
	}
}

// getJoinedGroupList returns groups of a user.
func (a *API) getJoinedGroupList(c *call, r *getJoinedGroupListRequest) (*getJoinedGroupListReply, error) {
	q := chat.JoinedQuery{User: r.Member_Account, Skip: int(r.Offset), Limit: groupsAtOnce, Empty: bool(r.WithNoActiveGroups)}
	if r.Limit != nil {
		if *r.Limit == 0 || *r.Limit > groupsAtOnce {
			return nil, im.Errorf(im.CodeGroupParameters, "Limit is not 1 to %d", groupsAtOnce)
		}
		q.Limit = int(*r.Limit)
	}
	var err error
	if q.Type, err = valueNamed("GroupType", r.GroupType, restjson.GroupTypeNamed); err != nil {
		return nil, err
	}
	base, self := filter{}, filter(nil)
	if r.ResponseFilter != nil {
		base, self = append(base, r.ResponseFilter.GroupBaseInfoFilter...), r.ResponseFilter.SelfInfoFilter
	}
	page, total, err := a.chat.JoinedAs(c.Context(), q)
	if err != nil {
		return nil, unknown(err, im.CodeGroupParameters, r.Member_Account)
	}
	out := &getJoinedGroupListReply{TotalCount: int64(total)}
	size := 0
	for _, g := range page {
		item := fill(getJoinedGroupListReplyGroupIdList{GroupId: g.GroupId}, base, groupValues(g.GroupDetailInfo, a.cfg.AppID))
		if self != nil {
			item.SelfInfo = new(fill(getJoinedGroupListReplyGroupIdListSelfInfo{}, self, memberValues(g.Self)))
		}
		if err := fits(item, &size); err != nil {
			return nil, err
		}
		out.GroupIdList = append(out.GroupIdList, item)
	}
	return out, nil
}
