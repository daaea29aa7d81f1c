package rest

import (
	"encoding/json"
	"strings"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/restjson"
)

// maxGroupID is the length of the longest group id: that of a topic.
const maxGroupID = 96

// checkGroup refuses what can be the id of no group. Whether there is a group of the id is another question, with another code.
func checkGroup(id string) error {
	if len(id) > maxGroupID || strings.ContainsFunc(id, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
		return im.Errorf(im.CodeGroupID, "GroupId is not printable ASCII of up to %d bytes", maxGroupID)
	}
	return nil
}

// valueNamed reads a field whose values have names; an empty one is absent.
func valueNamed[V any](field, name string, of func(string) (V, bool)) (*V, error) {
	if name == "" {
		return nil, nil
	}
	v, ok := of(name)
	if !ok {
		return nil, im.Errorf(im.CodeGroupParameters, "%s has no value %q", field, im.Shorten(name, maxName))
	}
	return &v, nil
}

// ownField is a field of the app's own, as calls name it.
type ownField interface {
	~struct {
		Key   string
		Value json.RawMessage
	}
}

// ownFields reads fields of the app's own. Their keys have letters, digits and underscores only.
func ownFields[T ownField, F any](items []T, field func(key, value string) F) (out []F, err error) {
	for _, item := range items {
		f := struct {
			Key   string
			Value json.RawMessage
		}(item)
		plain := !strings.ContainsFunc(f.Key, func(r rune) bool {
			return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		})
		value, err := restjson.OwnValue(f.Value)
		if err != nil || !plain {
			return nil, im.Errorf(im.CodeGroupParameters, "the key of a field has letters, digits and underscores, and its value is a text or a whole number")
		}
		out = append(out, field(f.Key, value))
	}
	return out, nil
}

func groupField(key, value string) *im.GroupInfoCustomString {
	return &im.GroupInfoCustomString{Key: key, Value: value}
}

func memberField(key, value string) *im.GroupMemberInfoCustomString {
	return &im.GroupMemberInfoCustomString{Key: key, Value: value}
}

// createGroup makes a group, for an owner or for nobody.
func (a *API) createGroup(c *call, r *createGroupRequest) (*createGroupReply, error) {
	typ, err := valueNamed("Type", r.Type, restjson.GroupTypeNamed)
	if err != nil {
		return nil, err
	}
	req := &im.CreateGroupRequest{
		GroupId: r.GroupId, Name: r.Name, Type: *typ, Introduction: r.Introduction, Notification: r.Notification, FaceUrl: r.FaceUrl, MaxMembers: uint64(r.MaxMemberCount),
	}
	if req.AddOption, err = valueNamed("ApplyJoinOption", r.ApplyJoinOption, restjson.JoinOptionNamed); err != nil {
		return nil, err
	}
	if req.ApproveOption, err = valueNamed("InviteJoinOption", r.InviteJoinOption, restjson.InviteOptionNamed); err != nil {
		return nil, err
	}
	if req.Custom, err = ownFields(r.AppDefinedData, groupField); err != nil {
		return nil, err
	}
	for _, m := range r.MemberList {
		member := &im.GroupMemberInfo{Identifier: m.Member_Account, NameCard: m.NameCard}
		role, err := valueNamed("Role", m.Role, restjson.RoleNamed)
		if err != nil {
			return nil, err
		}
		if role != nil {
			member.MemberRole = *role
		}
		if member.CustomInfo, err = ownFields(m.AppMemberDefinedData, memberField); err != nil {
			return nil, err
		}
		req.Members = append(req.Members, member)
	}
	made, err := a.chat.CreateGroupAs(c.Context(), c.operator(), r.Owner_Account, req)
	if err != nil {
		return nil, recode(err, im.CodeGroupUnknownUser, im.CodeGroupParameters)
	}
	out := &createGroupReply{GroupId: made.GroupId, Type: restjson.GroupType(*typ)}
	if *typ == im.GroupType_GROUP_TYPE_AVCHATROOM {
		out.HugeGroupFlag = 1
	}
	return out, nil
}

func (a *API) destroyGroup(c *call, r *destroyGroupRequest) error {
	if err := checkGroup(r.GroupId); err != nil {
		return err
	}
	return a.chat.DissolveGroupAs(c.Context(), c.operator(), r.GroupId)
}

func (a *API) modifyGroupBaseInfo(c *call, r *modifyGroupBaseInfoRequest) error {
	if err := checkGroup(r.GroupId); err != nil {
		return err
	}
	req := &im.ModifyGroupRequest{
		Group: &im.GroupRequest{GroupId: r.GroupId}, Name: r.Name, Introduction: r.Introduction, Notification: r.Notification, FaceUrl: r.FaceUrl,
	}
	if r.Name != nil && *r.Name == "" {
		return im.Errorf(im.CodeGroupParameters, "Name is empty")
	}
	if r.MaxMemberNum != nil {
		req.MaxMembers = new(uint64(*r.MaxMemberNum))
	}
	var err error
	if req.AddOption, err = valueNamed("ApplyJoinOption", r.ApplyJoinOption, restjson.JoinOptionNamed); err != nil {
		return err
	}
	if req.ApproveOption, err = valueNamed("InviteJoinOption", r.InviteJoinOption, restjson.InviteOptionNamed); err != nil {
		return err
	}
	switch r.MuteAllMember {
	case "":
	case restjson.MuteAll(true), restjson.MuteAll(false):
		req.ShutupAll = new(r.MuteAllMember == restjson.MuteAll(true))
	default:
		return im.Errorf(im.CodeGroupParameters, "MuteAllMember is neither On nor Off")
	}
	if req.Custom, err = ownFields(r.AppDefinedData, groupField); err != nil {
		return err
	}
	return recode(a.chat.ModifyGroupAs(c.Context(), c.operator(), req), im.CodeGroupMemberLimit, im.CodeGroupParameters)
}

// addGroupMember makes users members. One who cannot become a member stops nobody else.
func (a *API) addGroupMember(c *call, r *addGroupMemberRequest) (*addGroupMemberReply, error) {
	if err := checkGroup(r.GroupId); err != nil {
		return nil, err
	}
	var users []string
	for _, m := range r.MemberList {
		users = append(users, m.Member_Account)
	}
	results, err := a.chat.AddMembersAs(c.Context(), c.operator(), r.GroupId, users, bool(r.Silence))
	if err != nil {
		return nil, err
	}
	out := &addGroupMemberReply{}
	for _, x := range results {
		out.MemberList = append(out.MemberList, addGroupMemberReplyMemberList{x.Identifier, int64(x.Result)})
	}
	return out, nil
}

func (a *API) deleteGroupMember(c *call, r *deleteGroupMemberRequest) error {
	if err := checkGroup(r.GroupId); err != nil {
		return err
	}
	return a.chat.DeleteMembersAs(c.Context(), c.operator(), r.GroupId, r.MemberToDel_Account, r.Reason, bool(r.Silence))
}

func (a *API) forbidSendMsg(c *call, r *forbidSendMsgRequest) error {
	if err := checkGroup(r.GroupId); err != nil {
		return err
	}
	return a.chat.MuteMembersAs(c.Context(), c.operator(), r.GroupId, r.Members_Account, uint64(r.MuteTime))
}
