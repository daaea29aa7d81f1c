package main

import (
	"slices"
	"strings"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

func createGroup(c *call, cl *client.Client, v *im.CreateGroupRequest) {
	cl.Groups().CreateFunc(v, doneWith(c, func(id string) string { return im.ToJSON(&im.CreateGroupReply{GroupId: id}) }))
}

func joinGroup(c *call, cl *client.Client) {
	done := c.done()
	cl.Groups().JoinFunc(c.text[0], c.text[1], func(_ bool, err error) { done(err) })
}

func onlineCount(c *call, cl *client.Client) {
	cl.Groups().OnlineCountFunc(c.text[0], doneWith(c, func(n int) string { return im.ToJSON(&im.OnlineCountReply{Count: int32(n)}) }))
}

// someStrings reads a JSON array of texts, which may be missing.
func (c *call) someStrings() ([]string, error) {
	if s := strings.TrimSpace(c.text[c.jsonAt]); s == "" || s == "null" {
		return nil, nil
	}
	return c.strings()
}

// Bits of TIMGroupModifyInfoFlag.
const (
	groupName = 1 << iota
	groupNotification
	groupIntroduction
	groupFaceURL
	groupAddOption
	groupMaxMembers
	groupVisible
	groupSearchable
	groupShutupAll
	groupCustom
	groupApproveOption = 1 << 12
	groupOwner         = -1 << 31
)

// present returns a pointer to v if the flag has the bit.
func present[T any](flag, bit int32, v T) *T {
	if flag&bit == 0 {
		return nil
	}
	return &v
}

func modifyGroup(c *call, cl *client.Client, v *im.GroupModifyInfoParam) {
	f := v.ModifyFlag
	change := &im.ModifyGroupRequest{
		Name: present(f, groupName, v.GroupName), Notification: present(f, groupNotification, v.Notification), Introduction: present(f, groupIntroduction, v.Introduction),
		FaceUrl: present(f, groupFaceURL, v.FaceUrl), AddOption: present(f, groupAddOption, im.GroupAddOption(v.AddOption)),
		ApproveOption: present(f, groupApproveOption, im.GroupAddOption(v.ApproveOption)), MaxMembers: present(f, groupMaxMembers, v.MaxMemberNum),
		Visible: present(f, groupVisible, v.Visible), Searchable: present(f, groupSearchable, v.Searchable), ShutupAll: present(f, groupShutupAll, v.IsShutupAll),
		Owner: present(f, groupOwner, v.Owner),
	}
	if f&groupCustom != 0 {
		change.Custom = v.CustomInfo
	}
	cl.Groups().ModifyFunc(v.GroupId, change, c.done())
}

// Bits of TIMGroupMemberModifyInfoFlag.
const (
	memberRecvOpt = 1 << iota
	memberRole
	memberShutup
	memberNameCard
	memberCustom
)

func modifyMember(c *call, cl *client.Client, v *im.GroupModifyMemberInfoParam) {
	f := v.ModifyFlag
	change := &im.ModifyMemberRequest{
		RecvOpt: present(f, memberRecvOpt, v.MsgFlag), Role: present(f, memberRole, v.MemberRole), Mute: present(f, memberShutup, v.ShutupTime),
		NameCard: present(f, memberNameCard, v.NameCard),
	}
	if f&memberCustom != 0 {
		change.Custom = v.CustomInfo
	}
	cl.Groups().ModifyMemberFunc(v.GroupId, v.Identifier, change, c.done())
}

// listMembers lists members with the fields of the app's own that are wanted, which are all if none is named.
func listMembers(c *call, cl *client.Client, v *im.GroupGetMemberInfoListParam) {
	req := &im.ListMembersRequest{UserIds: v.IdentifierArray, Roles: uint32(v.Option.GetRoleFlag()), Next: v.NextSeq}
	wanted := v.Option.GetCustomArray()
	cl.Groups().MembersFunc(v.GroupId, req, doneWith(c, func(r *im.ListMembersReply) string {
		for _, m := range r.Members {
			m.CustomInfo = onlyFields(m.CustomInfo, wanted)
		}
		return im.ToJSON(r)
	}))
}

func onlyFields(fields []*im.GroupMemberInfoCustomString, wanted []string) []*im.GroupMemberInfoCustomString {
	if len(wanted) == 0 {
		return fields
	}
	return slices.DeleteFunc(fields, func(f *im.GroupMemberInfoCustomString) bool { return !slices.Contains(wanted, f.GetKey()) })
}
