package restjson

import "github.com/tidings-im/tidings/im"

// groupTypes are the names of types of groups. The first of two is the one that is written.
var groupTypes = []struct {
	name string
	typ  im.GroupType
}{
	{"Public", im.GroupType_GROUP_TYPE_PUBLIC},
	{"Private", im.GroupType_GROUP_TYPE_WORK},
	{"ChatRoom", im.GroupType_GROUP_TYPE_MEETING},
	{"AVChatRoom", im.GroupType_GROUP_TYPE_AVCHATROOM},
	{"Community", im.GroupType_GROUP_TYPE_COMMUNITY},
	{"Work", im.GroupType_GROUP_TYPE_WORK},
	{"Meeting", im.GroupType_GROUP_TYPE_MEETING},
}

// GroupType returns the name of a type of groups.
func GroupType(typ im.GroupType) string {
	for _, t := range groupTypes {
		if t.typ == typ {
			return t.name
		}
	}
	return ""
}

// GroupTypeNamed returns the type of groups with a name, old or new.
func GroupTypeNamed(name string) (typ im.GroupType, ok bool) {
	for _, t := range groupTypes {
		if t.name == name {
			return t.typ, true
		}
	}
	return 0, false
}

var (
	joinOptions = names[im.GroupAddOption]{im.GroupAddOption_GROUP_ADD_OPTION_ANY: "FreeAccess", im.GroupAddOption_GROUP_ADD_OPTION_AUTH: "NeedPermission",
		im.GroupAddOption_GROUP_ADD_OPTION_FORBID: "DisableApply"}
	inviteOptions = names[im.GroupAddOption]{im.GroupAddOption_GROUP_ADD_OPTION_ANY: "FreeAccess", im.GroupAddOption_GROUP_ADD_OPTION_AUTH: "NeedPermission",
		im.GroupAddOption_GROUP_ADD_OPTION_FORBID: "DisableInvite"}
	roles = names[im.GroupMemberRole]{im.GroupMemberRole_GROUP_MEMBER_ROLE_OWNER: "Owner", im.GroupMemberRole_GROUP_MEMBER_ROLE_ADMIN: "Admin",
		im.GroupMemberRole_GROUP_MEMBER_ROLE_NORMAL: "Member"}
)

// JoinOption, InviteOption and Role return the names of values, those with Named the values of names.
func JoinOption(v im.GroupAddOption) string                      { return joinOptions[v] }
func JoinOptionNamed(name string) (v im.GroupAddOption, ok bool) { return joinOptions.value(name) }

func InviteOption(v im.GroupAddOption) string                      { return inviteOptions[v] }
func InviteOptionNamed(name string) (v im.GroupAddOption, ok bool) { return inviteOptions.value(name) }

func Role(v im.GroupMemberRole) string                      { return roles[v] }
func RoleNamed(name string) (v im.GroupMemberRole, ok bool) { return roles.value(name) }

// MsgFlag returns the name of a receive option.
func MsgFlag(option int32) string {
	switch option {
	case 0:
		return "AcceptAndNotify"
	case 1:
		return "Discard"
	}
	return "AcceptNotNotify"
}

// MuteAll returns the value of MuteAllMember.
func MuteAll(on bool) string {
	if on {
		return "On"
	}
	return "Off"
}
