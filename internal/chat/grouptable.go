package chat

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// GroupTypes returns the table of types of groups in words: a row of names, then a row for each right and each property, which its first cell names.
func GroupTypes() [][]string {
	rows := [][]string{
		{""}, {"number"}, {"name in the admin API"},
		{"edit"}, {"invite"}, {"remove"}, {"appoint"}, {"mute"}, {"transfer"}, {"dissolve"}, {"leave"},
		{"option for joining"}, {"option for invitations"}, {"history before joining"}, {"unread"},
		{"tip of joining"}, {"tip of leaving"}, {"tip of a role"}, {"tip of a mute"}, {"tip of information"},
		{"attributes"}, {"mentions"}, {"messages to some members"}, {"ends with its last member"}, {"live room"}, {"members"}, {"most members"},
	}
	rights := []groupAction{actEdit, actInvite, actKick, actAppoint, actMute, actTransfer, actDissolve, actQuit}
	order := []im.GroupType{im.GroupType_GROUP_TYPE_WORK}
	order = append(order, slices.DeleteFunc(slices.Sorted(maps.Keys(groupTypes)), func(t im.GroupType) bool { return t == order[0] })...)
	for _, number := range order {
		t := groupTypes[number]
		cells := []string{t.title(), strconv.Itoa(int(number)), t.name}
		for _, do := range rights {
			cells = append(cells, t.words(t.may[do]))
		}
		cells = append(cells, optionWords(t.add, t.addFixed), optionWords(t.invite, t.inviteFixed))
		for _, is := range []bool{
			t.history, t.unread, t.tipJoin, t.tipLeave, t.tipRole, t.tipMute, t.tipInfo, t.attributes, t.mentions, t.targeted, t.lastEnds, t.live,
		} {
			cells = append(cells, yes(is))
		}
		cells = append(cells, strconv.FormatUint(t.members, 10), strconv.FormatUint(t.most, 10))
		for i, cell := range cells {
			rows[i] = append(rows[i], cell)
		}
	}
	return rows
}

// title is the name of the type in the API of clients. The admin API has older names of two.
func (t *groupType) title() string {
	switch t.name {
	case "Private":
		return "Work"
	case "ChatRoom":
		return "Meeting"
	}
	return t.name
}

// words names roles. Where nobody is appointed there are no admins.
func (t *groupType) words(r roles) string {
	if t.may[actAppoint] == byNobody {
		r &^= byAdmins
	}
	var out []string
	for _, x := range []struct {
		who  roles
		name string
	}{{byOwner, "owner"}, {byAdmins, "admins"}, {byMembers, "members"}} {
		if r&x.who != 0 {
			out = append(out, x.name)
		}
	}
	if len(out) == 0 {
		return "nobody"
	}
	return strings.Join(out, ", ")
}

func optionWords(o im.GroupAddOption, fixed bool) string {
	words := map[im.GroupAddOption]string{addNo: "nobody", addAsk: "approval", addFree: "anybody"}[o]
	if fixed {
		words += ", fixed"
	}
	return words
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}
