package chat

import (
	"cmp"

	"github.com/tidings-im/tidings/im"
)

// roles is a set of roles.
type roles uint8

const (
	byMembers roles = 1 << iota
	byAdmins
	byOwner

	byNobody roles = 0
	byAny          = byMembers | byAdmins | byOwner
	byStaff        = byAdmins | byOwner
)

// has reports whether a member with a role of im.GroupMemberRole is in the set.
func (r roles) has(role int32) bool {
	switch role {
	case RoleOwner:
		return r&byOwner != 0
	case RoleAdmin:
		return r&byAdmins != 0
	}
	return r&byMembers != 0
}

// groupAction is something that a type of group lets some roles do.
type groupAction int

const (
	actInvite groupAction = iota
	actKick
	actAppoint
	actMute
	actEdit
	actTransfer
	actDissolve
	actQuit
	groupActions
)

// groupType is what a type of group lets whom do, and what it stores and tells. Operators may do what an owner may.
type groupType struct {
	name string
	may  [groupActions]roles
	// add and invite are the options of a new group: who may join, and be invited. Those that are fixed cannot be changed.
	add, invite           im.GroupAddOption
	addFixed, inviteFixed bool
	// history: members see what was before they joined. unread: messages count as unread.
	history, unread bool
	// Which changes make a tip: joining, leaving and being removed, roles, mutes, information.
	tipJoin, tipLeave, tipRole, tipMute, tipInfo bool
	// attributes, mentions, targeted: there are attributes, mentions, and messages to some members only.
	attributes, mentions, targeted bool
	// lastEnds: the group ends when its last member leaves. live: who is in it and what is said there is not stored (rule 21).
	lastEnds, live bool
	// members is how many there may be, unless the group has another limit; most is the highest that it can have.
	members, most uint64
}

const (
	addNo   = im.GroupAddOption_GROUP_ADD_OPTION_FORBID
	addAsk  = im.GroupAddOption_GROUP_ADD_OPTION_AUTH
	addFree = im.GroupAddOption_GROUP_ADD_OPTION_ANY
)

// groupTypes is the table of all types.
var groupTypes = map[im.GroupType]*groupType{
	im.GroupType_GROUP_TYPE_WORK: {
		name: "Private",
		may: [groupActions]roles{
			actInvite: byAny, actKick: byOwner, actAppoint: byNobody, actMute: byNobody, actEdit: byAny, actTransfer: byOwner, actDissolve: byNobody, actQuit: byAny,
		},
		add: addNo, addFixed: true, invite: addFree, inviteFixed: true, unread: true,
		tipJoin: true, tipLeave: true, tipInfo: true, attributes: true, mentions: true, targeted: true, lastEnds: true,
		members: 200, most: 6000,
	},
	im.GroupType_GROUP_TYPE_PUBLIC: {
		name: "Public",
		may: [groupActions]roles{
			actInvite: byAny, actKick: byStaff, actAppoint: byOwner, actMute: byStaff, actEdit: byStaff, actTransfer: byOwner, actDissolve: byOwner, actQuit: byMembers | byAdmins,
		},
		add: addAsk, invite: addNo, unread: true,
		tipJoin: true, tipLeave: true, tipRole: true, tipMute: true, tipInfo: true, attributes: true, mentions: true, targeted: true,
		members: 2000, most: 6000,
	},
	im.GroupType_GROUP_TYPE_MEETING: {
		name: "ChatRoom",
		may: [groupActions]roles{
			actInvite: byAny, actKick: byStaff, actAppoint: byOwner, actMute: byStaff, actEdit: byStaff, actTransfer: byOwner, actDissolve: byOwner, actQuit: byMembers | byAdmins,
		},
		add: addFree, invite: addNo, history: true, tipInfo: true, attributes: true, mentions: true, targeted: true,
		members: 6000, most: 6000,
	},
	im.GroupType_GROUP_TYPE_COMMUNITY: {
		name: "Community",
		may: [groupActions]roles{
			actInvite: byAny, actKick: byStaff, actAppoint: byOwner, actMute: byStaff, actEdit: byStaff, actTransfer: byOwner, actDissolve: byOwner, actQuit: byMembers | byAdmins,
		},
		add: addFree, invite: addFree, inviteFixed: true, history: true, unread: true,
		tipJoin: true, tipLeave: true, tipRole: true, tipMute: true, tipInfo: true, attributes: true, mentions: true,
		members: 100_000, most: 100_000,
	},
	im.GroupType_GROUP_TYPE_AVCHATROOM: {
		name: "AVChatRoom",
		may: [groupActions]roles{
			actInvite: byNobody, actKick: byOwner, actAppoint: byNobody, actMute: byOwner, actEdit: byOwner, actTransfer: byNobody, actDissolve: byOwner, actQuit: byMembers | byAdmins,
		},
		add: addFree, addFixed: true, invite: addNo, inviteFixed: true,
		tipJoin: true, tipLeave: true, tipInfo: true, attributes: true, live: true,
		members: 1_000_000, most: 1_000_000,
	},
}

// mostMembers is the highest number of members that a group of a type can have.
func (c *Chat) mostMembers(t im.GroupType) uint64 {
	return cmp.Or(c.cfg.MaxMembers[t], groupTypes[t].most)
}

// may returns an error if a member with a role may not do something in groups of the type.
func (t *groupType) check(do groupAction, role int32) error {
	if !t.may[do].has(role) {
		return im.Errorf(im.CodeNotMember, "in a group of type %s a member with role %d may not do this", t.name, role)
	}
	return nil
}
