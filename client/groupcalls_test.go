package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

const (
	publicGroup    = im.GroupType_GROUP_TYPE_PUBLIC
	workGroup      = im.GroupType_GROUP_TYPE_WORK
	meetingGroup   = im.GroupType_GROUP_TYPE_MEETING
	communityGroup = im.GroupType_GROUP_TYPE_COMMUNITY
)

// code checks the code of an error; 0 is none.
func code(t testing.TB, what string, err error, want int32) {
	t.Helper()
	if im.CodeOf(err) != want {
		t.Fatalf("%s: %v, want code %d", what, err, want)
	}
}

// group creates a group of a type with first members.
func (d *device) group(id string, typ im.GroupType, members ...string) string {
	d.t.Helper()
	req := &im.CreateGroupRequest{GroupId: id, Name: "name of " + id, Type: typ}
	for _, m := range members {
		req.Members = append(req.Members, &im.GroupMemberInfo{Identifier: m})
	}
	made, err := d.Groups().Create(within(d.t), req)
	code(d.t, "create "+id, err, 0)
	return made
}

// detail returns what Info says about a group.
func (d *device) detail(id string) *im.GroupDetailInfo {
	d.t.Helper()
	list, err := d.Groups().Info(within(d.t), []string{id})
	if err != nil || len(list) != 1 || list[0].Code != 0 {
		d.t.Fatalf("info of %s: %v, %v", id, list, err)
	}
	return list[0].Info
}

// roles returns the members with their roles, in the order in which they joined.
func (d *device) roles(id string) string {
	d.t.Helper()
	var all []string
	for next := uint64(0); ; {
		page, err := d.Groups().Members(within(d.t), id, &im.ListMembersRequest{Next: next})
		code(d.t, "members of "+id, err, 0)
		for _, m := range page.Members {
			all = append(all, fmt.Sprint(m.Identifier, " ", int32(m.MemberRole)))
		}
		if next = page.Next; next == 0 {
			return strings.Join(all, ", ")
		}
	}
}

// A group from its creation to its end, through each call about it.
func TestGroupCalls(t *testing.T) {
	s := imtest.Start(t)
	ann, bob, cid := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob")), dial(t, config(t, s, "cid"))
	g := ann.Groups()

	made, err := g.Create(within(t), &im.CreateGroupRequest{Name: "made"})
	if code(t, "create", err, 0); !strings.HasPrefix(made, "@TGS#") {
		t.Errorf("the server made the id %q", made)
	}
	req := &im.CreateGroupRequest{
		GroupId: "ops", Name: "Ops", Notification: "n", Introduction: "i", FaceUrl: "f", AddOption: new(im.GroupAddOption_GROUP_ADD_OPTION_ANY),
		ApproveOption: new(im.GroupAddOption_GROUP_ADD_OPTION_ANY), MaxMembers: 50, Custom: []*im.GroupInfoCustomString{{Key: "k", Value: "v"}},
		Members: []*im.GroupMemberInfo{{Identifier: "bob", MemberRole: im.GroupMemberRole_GROUP_MEMBER_ROLE_ADMIN, NameCard: "Bobby",
			CustomInfo: []*im.GroupMemberInfoCustomString{{Key: "team", Value: "red"}}}},
	}
	id, err := g.Create(within(t), req)
	if code(t, "create", err, 0); id != "ops" {
		t.Errorf("the group is %q", id)
	}
	info := ann.detail("ops")
	if info.GroupName != "Ops" || info.Notification != "n" || info.Introduction != "i" || info.FaceUrl != "f" || info.AddOption != 2 || info.ApproveOption != 2 ||
		info.MaxMemberNum != 50 || info.MemberNum != 2 || info.OwnerIdentifier != "ann" || info.CreateTime == 0 || len(info.CustomInfo) != 1 || info.CustomInfo[0].Value != "v" {
		t.Errorf("the group is %v", info)
	}
	_, err = g.Create(within(t), req)
	code(t, "the same id again", err, im.CodeGroupIDOwn)
	_, err = bob.Groups().Create(within(t), req)
	code(t, "an id in use", err, im.CodeGroupIDTaken)
	_, err = g.Create(within(t), &im.CreateGroupRequest{GroupId: "@TGS#x", Name: "n"})
	code(t, "an id like the server's", err, im.CodeGroupID)
	_, err = g.Create(within(t), nil)
	code(t, "a group without a name", err, im.CodeGroupParameters)

	waits, err := cid.Groups().Join(within(t), "ops", "hi")
	if code(t, "join", err, 0); waits {
		t.Error("a free group lets the user wait")
	}
	_, err = cid.Groups().Join(within(t), "ops", "hi")
	code(t, "join again", err, im.CodeAlreadyMember)
	_, err = cid.Groups().Join(within(t), "none", "")
	code(t, "join a group that does not exist", err, im.CodeNoGroup)
	_, err = cid.Groups().Join(within(t), "", "")
	code(t, "join a group without id", err, im.CodeGroupID)
	if got := ann.roles("ops"); got != "ann 400, bob 300, cid 200" {
		t.Errorf("members %s", got)
	}

	page, err := cid.Groups().Members(within(t), "ops", &im.ListMembersRequest{UserIds: []string{"bob", "nobody", "bob", strings.Repeat("x", 200)}})
	if err != nil || len(page.Members) != 1 || page.Members[0].NameCard != "Bobby" || page.Members[0].CustomInfo[0].GetValue() != "red" || page.Members[0].GroupId != "ops" {
		t.Errorf("members named: %v, %v", page, err)
	}
	page, err = cid.Groups().Members(within(t), "ops", &im.ListMembersRequest{Roles: 3})
	if err != nil || len(page.Members) != 2 || page.Next != 0 {
		t.Errorf("owner and admins: %v, %v", page, err)
	}
	page, err = cid.Groups().Members(within(t), "ops", &im.ListMembersRequest{Limit: 2})
	if err != nil || len(page.Members) != 2 || page.Next == 0 {
		t.Errorf("the first page: %v, %v", page, err)
	}
	page, err = cid.Groups().Members(within(t), "ops", &im.ListMembersRequest{Limit: 2, Next: page.Next})
	if err != nil || len(page.Members) != 1 || page.Members[0].Identifier != "cid" || page.Next != 0 {
		t.Errorf("the second page: %v, %v", page, err)
	}
	_, err = cid.Groups().Members(within(t), "ops", &im.ListMembersRequest{Limit: 101})
	code(t, "a page that is too long", err, im.CodeGroupParameters)

	_, err = ann.Groups().OnlineCount(within(t), "ops")
	code(t, "online count", err, 0)

	if _, err := ann.Friends().Add(within(t), &im.AddFriendRequest{UserId: "bob", Remark: "B"}); err != nil {
		t.Fatal(err)
	}
	page, err = g.Members(within(t), "ops", &im.ListMembersRequest{UserIds: []string{"bob"}})
	if err != nil || page.Members[0].FriendRemark != "B" {
		t.Errorf("a friend among the members: %v, %v", page, err)
	}

	code(t, "quit", cid.Groups().Quit(within(t), "ops"), 0)
	code(t, "quit again", cid.Groups().Quit(within(t), "ops"), im.CodeNotMember)
	code(t, "the owner quits", g.Quit(within(t), "ops"), im.CodeOwnerMayNotQuit)
	_, err = cid.Groups().Members(within(t), "ops", nil)
	code(t, "members for a stranger", err, im.CodeNotMember)
	_, err = cid.Groups().OnlineCount(within(t), "ops")
	code(t, "online count for a stranger", err, im.CodeNotMember)

	code(t, "delete by an admin", bob.Groups().Delete(within(t), "ops"), im.CodeNotMember)
	code(t, "delete", g.Delete(within(t), "ops"), 0)
	code(t, "delete again", g.Delete(within(t), "ops"), im.CodeNoGroup)
	code(t, "delete without id", g.Delete(within(t), ""), im.CodeGroupID)
	list, err := g.Info(within(t), []string{made, "ops", "", strings.Repeat("x", 200), "\xff"})
	if err != nil || len(list) != 5 || list[0].Code != 0 || list[0].Info.GroupName != "made" {
		t.Fatalf("info: %v, %v", list, err)
	}
	for i, id := range []string{"ops", "", strings.Repeat("x", 200), "\xff"} {
		if r := list[i+1]; r.Code != im.CodeNoGroup || r.Info.GroupId != id || r.Desc == "" {
			t.Errorf("info of %q: %v", id, r)
		}
	}
	_, err = g.Info(within(t), nil)
	code(t, "info of no group", err, im.CodeGroupParameters)
	_, err = g.Info(within(t), slices.Repeat([]string{"g"}, 101))
	code(t, "info of too many groups", err, im.CodeGroupParameters)
	private := ann.group("", workGroup)
	list, err = bob.Groups().Info(within(t), []string{private})
	if err != nil || list[0].Code != im.CodeNotMember {
		t.Errorf("info of a Work group: %v, %v", list, err)
	}
	code(t, "delete a Work group", g.Delete(within(t), private), im.CodeNotMember)
}

// Invite and Kick return a result for each user, in their order and by the name that the call had, however often it names one.
func TestInviteAndKick(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	for _, u := range []string{"cid", "dan"} {
		dial(t, config(t, s, u))
	}
	long := strings.Repeat("x", 200)
	ann.group("w", workGroup, "bob")
	users := []string{"cid", long, "bob", "nobody", "", "dan", "cid", "\xff"}
	invited, err := bob.Groups().Invite(within(t), "w", users, "data")
	var got []string
	for _, r := range invited {
		got = append(got, fmt.Sprint(r.Identifier, " ", r.Result))
	}
	if want := []string{"cid 1", long + " 0", "bob 2", "nobody 0", " 0", "dan 1", "cid 1", "\xff 0"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("invited: %q, %v\nwant %q", got, err, want)
	}
	if got := ann.roles("w"); got != "ann 400, bob 200, cid 200, dan 200" {
		t.Errorf("members %s", got)
	}
	kicked, err := ann.Groups().Kick(within(t), "w", []string{"dan", "nobody", "ann", "cid", "dan", long}, "reason")
	got = nil
	for _, r := range kicked {
		got = append(got, fmt.Sprint(r.Identifier, " ", r.Result))
	}
	if want := []string{"dan 1", "nobody 0", "ann 0", "cid 1", "dan 1", long + " 0"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("kicked: %q, %v\nwant %q", got, err, want)
	}
	kicked, err = ann.Groups().Kick(within(t), "w", []string{"dan"}, "")
	if err != nil || kicked[0].Result != 2 {
		t.Errorf("kicked again: %v, %v", kicked, err)
	}
	_, err = bob.Groups().Kick(within(t), "w", []string{"ann"}, "")
	code(t, "a kick by a member", err, im.CodeNotMember)
	_, err = ann.Groups().Invite(within(t), "w", nil, "")
	code(t, "invite nobody", err, im.CodeGroupParameters)
	_, err = ann.Groups().Kick(within(t), "w", nil, "")
	code(t, "kick nobody", err, im.CodeGroupParameters)
	var many []string
	for i := range 21 {
		many = append(many, fmt.Sprint("u", i))
	}
	_, err = ann.Groups().Invite(within(t), "w", many, "")
	code(t, "invite 21 users", err, im.CodeGroupUserCount)
	ann.group("p", publicGroup)
	_, err = ann.Groups().Invite(within(t), "p", []string{"bob"}, "")
	code(t, "invite where nobody can be invited", err, im.CodeNotMember)
}

// Modify and ModifyMember change what they name and nothing else.
func TestModifyGroups(t *testing.T) {
	s := imtest.Start(t)
	ann, bob, cid := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob")), dial(t, config(t, s, "cid"))
	ann.group("g", publicGroup, "bob", "cid")
	g := ann.Groups()
	free := im.GroupAddOption_GROUP_ADD_OPTION_ANY
	ask := im.GroupAddOption_GROUP_ADD_OPTION_AUTH
	custom := []*im.GroupInfoCustomString{{Key: "a", Value: "1"}}
	for _, c := range []struct {
		name   string
		change *im.ModifyGroupRequest
		has    func(i *im.GroupDetailInfo) bool
	}{
		{"name", &im.ModifyGroupRequest{Name: new("N")}, func(i *im.GroupDetailInfo) bool { return i.GroupName == "N" }},
		{"notification", &im.ModifyGroupRequest{Notification: new("O")}, func(i *im.GroupDetailInfo) bool { return i.Notification == "O" }},
		{"introduction", &im.ModifyGroupRequest{Introduction: new("I")}, func(i *im.GroupDetailInfo) bool { return i.Introduction == "I" }},
		{"face", &im.ModifyGroupRequest{FaceUrl: new("F")}, func(i *im.GroupDetailInfo) bool { return i.FaceUrl == "F" }},
		{"add option", &im.ModifyGroupRequest{AddOption: &free}, func(i *im.GroupDetailInfo) bool { return i.AddOption == free }},
		{"approve option", &im.ModifyGroupRequest{ApproveOption: &ask}, func(i *im.GroupDetailInfo) bool { return i.ApproveOption == ask }},
		{"most members", &im.ModifyGroupRequest{MaxMembers: new(uint64(77))}, func(i *im.GroupDetailInfo) bool { return i.MaxMemberNum == 77 }},
		{"visible", &im.ModifyGroupRequest{Visible: new(uint64(1))}, func(i *im.GroupDetailInfo) bool { return i.Visible == 1 }},
		{"searchable", &im.ModifyGroupRequest{Searchable: new(uint64(1))}, func(i *im.GroupDetailInfo) bool { return i.Searchable == 1 }},
		{"mute all", &im.ModifyGroupRequest{ShutupAll: new(true)}, func(i *im.GroupDetailInfo) bool { return i.IsShutupAll }},
		{"custom", &im.ModifyGroupRequest{Custom: custom}, func(i *im.GroupDetailInfo) bool { return len(i.CustomInfo) == 1 && i.CustomInfo[0].Key == "a" }},
		{"custom removed", &im.ModifyGroupRequest{Custom: []*im.GroupInfoCustomString{{Key: "a"}}}, func(i *im.GroupDetailInfo) bool { return len(i.CustomInfo) == 0 }},
		{"owner", &im.ModifyGroupRequest{Owner: new("bob")}, func(i *im.GroupDetailInfo) bool { return i.OwnerIdentifier == "bob" }},
	} {
		before := ann.detail("g")
		if c.has(before) {
			t.Errorf("%s: it was so before: %v", c.name, before)
		}
		code(t, c.name, g.Modify(within(t), "g", c.change), 0)
		if after := ann.detail("g"); !c.has(after) || after.InfoSeq != before.InfoSeq+1 {
			t.Errorf("%s: %v after %v", c.name, after, before)
		}
	}
	if got := ann.roles("g"); got != "ann 200, bob 400, cid 200" {
		t.Errorf("members %s", got)
	}
	code(t, "the owner with something else", bob.Groups().Modify(within(t), "g", &im.ModifyGroupRequest{Owner: new("ann"), Name: new("x")}), im.CodeGroupParameters)
	code(t, "nothing", g.Modify(within(t), "g", nil), im.CodeGroupParameters)
	code(t, "by a member", g.Modify(within(t), "g", &im.ModifyGroupRequest{Name: new("x")}), im.CodeNotMember)
	code(t, "a name that is too long", bob.Groups().Modify(within(t), "g", &im.ModifyGroupRequest{Name: new(strings.Repeat("x", 5000))}), im.CodeGroupParameters)

	member := func(user string) *im.GroupMemberInfo {
		t.Helper()
		page, err := ann.Groups().Members(within(t), "g", &im.ListMembersRequest{UserIds: []string{user}})
		if err != nil || len(page.Members) != 1 {
			t.Fatalf("%s: %v, %v", user, page, err)
		}
		return page.Members[0]
	}
	admin := im.GroupMemberRole_GROUP_MEMBER_ROLE_ADMIN
	for _, c := range []struct {
		name   string
		by     *device
		user   string
		change *im.ModifyMemberRequest
		want   int32
		has    func(m *im.GroupMemberInfo) bool
	}{
		{"appointed", bob, "ann", &im.ModifyMemberRequest{Role: &admin}, 0, func(m *im.GroupMemberInfo) bool { return m.MemberRole == admin }},
		{"muted", ann, "cid", &im.ModifyMemberRequest{Mute: new(uint64(600))}, 0, func(m *im.GroupMemberInfo) bool { return m.ShutupTime > 0 }},
		{"mute lifted", ann, "cid", &im.ModifyMemberRequest{Mute: new(uint64(0))}, 0, func(m *im.GroupMemberInfo) bool { return m.ShutupTime == 0 }},
		{"name card", cid, "cid", &im.ModifyMemberRequest{NameCard: new("C")}, 0, func(m *im.GroupMemberInfo) bool { return m.NameCard == "C" }},
		{"option", cid, "cid", &im.ModifyMemberRequest{RecvOpt: new(int32(2))}, 0, func(m *im.GroupMemberInfo) bool { return m.MsgFlag == 2 }},
		{"custom", cid, "cid", &im.ModifyMemberRequest{Custom: []*im.GroupMemberInfoCustomString{{Key: "team", Value: "red"}}}, 0,
			func(m *im.GroupMemberInfo) bool { return len(m.CustomInfo) == 1 && m.CustomInfo[0].Value == "red" }},
		{"another's option", bob, "cid", &im.ModifyMemberRequest{RecvOpt: new(int32(1))}, im.CodeNotMember, func(m *im.GroupMemberInfo) bool { return m.MsgFlag == 2 }},
		{"muted by a member", cid, "ann", &im.ModifyMemberRequest{Mute: new(uint64(1))}, im.CodeNotMember, func(m *im.GroupMemberInfo) bool { return m.ShutupTime == 0 }},
		{"nothing", cid, "cid", nil, im.CodeGroupParameters, func(m *im.GroupMemberInfo) bool { return m.NameCard == "C" }},
		{"an option that does not exist", cid, "cid", &im.ModifyMemberRequest{RecvOpt: new(int32(5))}, im.CodeGroupParameters, func(m *im.GroupMemberInfo) bool { return m.MsgFlag == 2 }},
	} {
		code(t, c.name, c.by.Groups().ModifyMember(within(t), "g", c.user, c.change), c.want)
		if m := member(c.user); !c.has(m) {
			t.Errorf("%s: %v", c.name, m)
		}
	}
	code(t, "a user who does not exist", bob.Groups().ModifyMember(within(t), "g", "nobody", &im.ModifyMemberRequest{NameCard: new("x")}), im.CodeGroupUnknownUser)
}

// Who asks to join waits; who decides sees the request, reads it and answers it, once.
func TestGroupRequests(t *testing.T) {
	s := imtest.Start(t)
	ann, bob, cid := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob")), dial(t, config(t, s, "cid"))
	ann.group("g", publicGroup)
	for _, d := range []*device{bob, cid} {
		waits, err := d.Groups().Join(within(t), "g", "let me in")
		if err != nil || !waits {
			t.Fatalf("join: %v, %v", waits, err)
		}
	}
	list := func(d *device, req *im.GroupRequestsRequest) *im.GroupPendencyResult {
		t.Helper()
		page, err := d.Groups().Requests(within(t), req)
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	page := list(ann, &im.GroupRequestsRequest{Limit: 1})
	if page.UnreadNum != 2 || len(page.PendencyArray) != 1 || page.NextStartTime == 0 || page.PendencyArray[0].FormIdentifier != "cid" || page.PendencyArray[0].ApplyInviteMsg != "let me in" {
		t.Fatalf("the first page: %v", page)
	}
	page = list(ann, nil)
	if len(page.PendencyArray) != 2 {
		t.Fatalf("requests: %v", page)
	}
	code(t, "read", ann.Groups().ReadRequests(within(t), 0), 0)
	if page := list(ann, nil); page.UnreadNum != 0 || len(page.PendencyArray) != 2 {
		t.Errorf("after reading: %v", page)
	}
	if page := list(bob, nil); len(page.PendencyArray) != 0 {
		t.Errorf("the applicant sees %v", page)
	}
	ofCid, ofBob := page.PendencyArray[0], page.PendencyArray[1]
	code(t, "answered by the applicant", bob.Groups().HandleRequest(within(t), ofBob, true, ""), im.CodeNotMember)
	code(t, "accepted", ann.Groups().HandleRequest(within(t), ofBob, true, "welcome"), 0)
	code(t, "accepted again", ann.Groups().HandleRequest(within(t), ofBob, true, "welcome"), im.CodeRequestAnswered)
	code(t, "refused", ann.Groups().HandleRequest(within(t), ofCid, false, "sorry"), 0)
	code(t, "none", ann.Groups().HandleRequest(within(t), nil, true, ""), im.CodeGroupParameters)
	if got := ann.roles("g"); got != "ann 400, bob 200" {
		t.Errorf("members %s", got)
	}
	var got []string
	for _, p := range list(ann, nil).PendencyArray {
		got = append(got, fmt.Sprint(p.FormIdentifier, " ", p.Handled, " ", p.HandleResult, " ", p.ApprovalMsg))
	}
	if want := []string{"cid 2 0 sorry", "bob 2 1 welcome"}; !slices.Equal(got, want) {
		t.Errorf("answered: %q, want %q", got, want)
	}
}

// attributesOf returns the attributes of a group in short.
func (d *device) attributesOf(group string, keys ...string) string {
	d.t.Helper()
	list, err := d.Groups().Attributes(within(d.t), group, keys)
	code(d.t, "attributes", err, 0)
	var all []string
	for _, a := range list {
		all = append(all, a.Key+"="+a.Value)
	}
	return strings.Join(all, " ")
}

func attribute(key, value string) []*im.GroupAttributes {
	return []*im.GroupAttributes{{Key: key, Value: value}}
}

// attributesHeard returns the attributes that the device was told last, in short.
func (d *device) attributesHeard(group string) string {
	var all []string
	for _, e := range d.all() {
		if e.kind != "group_attributes_changed" || e.conv != group {
			continue
		}
		var told struct{ Attributes json.RawMessage }
		if err := json.Unmarshal([]byte(e.text), &told); err != nil {
			d.t.Fatal(err)
		}
		all = nil
		for _, a := range decoded[im.GroupAttributes](string(told.Attributes)) {
			all = append(all, a.Key+"="+a.Value)
		}
	}
	return strings.Join(all, " ")
}

// Attributes: a device that has read none reads them by itself before it writes; of two writers that have read the same the second is refused, writes
// nothing, and can write after that; writes of one application at once all succeed.
func TestAttributes(t *testing.T) {
	s := imtest.Start(t)
	ann, bob, cid := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob")), dial(t, config(t, s, "cid"))
	ann.group("g", publicGroup, "bob")
	if got := ann.attributesOf("g"); got != "" {
		t.Errorf("a new group has %s", got)
	}
	code(t, "init", ann.Groups().InitAttributes(within(t), "g", []*im.GroupAttributes{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}}), 0)
	code(t, "a first write", bob.Groups().SetAttributes(within(t), "g", attribute("c", "3")), 0)
	if got := bob.attributesOf("g"); got != "a=1 b=2 c=3" {
		t.Errorf("attributes %s", got)
	}
	if got := bob.attributesOf("g", "c", "none"); got != "c=3" {
		t.Errorf("one attribute: %s", got)
	}
	// What others write is read when it is told, and the next write builds on it.
	ann.until(t, "attributes", func([]event) bool { return ann.attributesHeard("g") == "a=1 b=2 c=3" })
	code(t, "ann writes", ann.Groups().SetAttributes(within(t), "g", attribute("a", "9")), 0)
	bob.until(t, "attributes", func([]event) bool { return bob.attributesHeard("g") == "a=9 b=2 c=3" })
	code(t, "bob writes", bob.Groups().SetAttributes(within(t), "g", attribute("d", "4")), 0)
	ann.until(t, "attributes", func([]event) bool { return ann.attributesHeard("g") == "a=9 b=2 c=3 d=4" })
	code(t, "delete", ann.Groups().DeleteAttributes(within(t), "g", []string{"b", "d"}), 0)
	code(t, "delete what is not there", ann.Groups().DeleteAttributes(within(t), "g", []string{"b"}), im.CodeNoAttribute)
	if got := ann.attributesOf("g"); got != "a=9 c=3" {
		t.Errorf("attributes %s", got)
	}
	code(t, "delete all", ann.Groups().DeleteAttributes(within(t), "g", nil), 0)
	if got := ann.attributesOf("g"); got != "" {
		t.Errorf("attributes %s", got)
	}

	var wait sync.WaitGroup
	errs := make([]error, 30)
	for i := range errs {
		wait.Add(1)
		ann.Groups().SetAttributesFunc("g", attribute(fmt.Sprint("k", i%10), fmt.Sprint(i)), func(err error) {
			errs[i] = err
			wait.Done()
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Errorf("writes at once: %v", err)
	}
	if got := bob.attributesOf("g", "k0", "k9"); got != "k0=20 k9=29" {
		t.Errorf("the last writes: %s", got)
	}

	for name, list := range map[string][]*im.GroupAttributes{
		"none": nil, "an empty key": attribute("", "x"), "a long key": attribute(strings.Repeat("k", 33), "x"), "a long value": attribute("k", strings.Repeat("v", 4097)),
		"a key twice": append(attribute("k", "1"), attribute("k", "2")...),
	} {
		code(t, name, ann.Groups().SetAttributes(within(t), "g", list), im.CodeGroupParameters)
	}
	code(t, "no group", ann.Groups().SetAttributes(within(t), "", attribute("k", "1")), im.CodeGroupID)
	code(t, "a stranger writes", cid.Groups().SetAttributes(within(t), "g", attribute("k", "1")), im.CodeNotMember)
	_, err := cid.Groups().Attributes(within(t), "g", nil)
	code(t, "a stranger reads", err, im.CodeNotMember)
	code(t, "after a refused write", ann.Groups().SetAttributes(within(t), "g", attribute("k0", "x")), 0)

	// The id is another group's: what was read of the first says nothing of it.
	code(t, "delete the group", ann.Groups().Delete(within(t), "g"), 0)
	bob.group("g", meetingGroup, "ann")
	code(t, "a write to the group that was", ann.Groups().SetAttributes(within(t), "g", attribute("k", "1")), im.CodeNoGroup)
	code(t, "a write to the next", ann.Groups().SetAttributes(within(t), "g", attribute("k", "1")), 0)
	if got := bob.attributesOf("g"); got != "k=1" {
		t.Errorf("attributes of the next group: %s", got)
	}
}

// Of those who write attributes at once on several devices, having read the same, one succeeds for each version, and the others get 10056; each can write
// again after that. In the end everybody hears what is stored.
func TestAttributeWriters(t *testing.T) {
	s := imtest.Start(t)
	names := []string{"ann", "bob", "cid", "dan"}
	var all []*device
	for _, u := range names {
		all = append(all, dial(t, config(t, s, u)))
	}
	all[0].group("g", publicGroup, names[1:]...)
	var wait sync.WaitGroup
	var written, refused atomic.Int32
	for _, d := range all {
		wait.Go(func() {
			for i := range 40 {
				switch err := d.Groups().SetAttributes(within(t), "g", attribute("k", fmt.Sprint(d.UserID(), i))); im.CodeOf(err) {
				case 0:
					written.Add(1)
				case im.CodeAttributesConflict:
					refused.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if n := written.Load() + refused.Load(); n != 160 || written.Load() == 0 {
		t.Errorf("%d written, %d refused", written.Load(), refused.Load())
	}
	t.Logf("%d written, %d refused", written.Load(), refused.Load())
	stored := all[0].attributesOf("g")
	for _, d := range all {
		d.until(t, "the last attributes", func([]event) bool { return d.attributesHeard("g") == stored })
		for try := 0; ; try++ { // it may have been refused last, and has read since
			err := d.Groups().SetAttributes(within(t), "g", attribute("k", "end"))
			if err == nil {
				break
			}
			if code(t, "after all", err, im.CodeAttributesConflict); try > 0 {
				t.Fatal("refused twice in a row, with nobody else writing")
			}
		}
		stored = d.attributesOf("g")
	}
}

// Without a login every call about groups fails with 6014.
func TestGroupCallsWithoutLogin(t *testing.T) {
	s := imtest.Start(t)
	d := dial(t, config(t, s, "ann"))
	if err := d.Logout(within(t)); err != nil {
		t.Fatal(err)
	}
	g := d.Groups()
	first := func(_ any, err error) error { return err }
	for name, err := range map[string]error{
		"create":  first(g.Create(within(t), &im.CreateGroupRequest{Name: "n"})),
		"join":    first(g.Join(within(t), "g", "")),
		"invite":  first(g.Invite(within(t), "g", []string{"bob"}, "")),
		"info":    first(g.Info(within(t), []string{"g"})),
		"members": first(g.Members(within(t), "g", nil)),
		"set":     g.SetAttributes(within(t), "g", attribute("k", "v")),
		"read":    g.ReadRequests(within(t), 0),
	} {
		code(t, name, err, im.CodeNotLoggedIn)
	}
}

// joined returns the ids of the groups in the joined list.
func (d *device) joined() string {
	d.t.Helper()
	list, err := d.Groups().JoinedList(within(d.t))
	code(d.t, "joined list", err, 0)
	var all []string
	for _, g := range list {
		all = append(all, fmt.Sprintf("%s %q %d", g.GroupId, g.GroupName, g.SelfInfo.Role))
	}
	return strings.Join(all, ", ")
}

// The list of joined groups contains what a call has changed, right after it; it and the search answer from local data, also without a connection.
func TestJoinedList(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	want := func(d *device, when, list string) {
		t.Helper()
		if got := d.joined(); got != list {
			t.Errorf("%s: %s, want %s", when, got, list)
		}
	}
	want(ann, "at first", "")
	for i := range 20 {
		id := fmt.Sprint("g", i)
		ann.group(id, meetingGroup)
		want(ann, "created", fmt.Sprintf(`%s "name of %s" 400`, id, id))
		_, err := bob.Groups().Join(within(t), id, "")
		code(t, "join", err, 0)
		want(bob, "joined", fmt.Sprintf(`%s "name of %s" 200`, id, id))
		code(t, "modify", ann.Groups().Modify(within(t), id, &im.ModifyGroupRequest{Name: new("other")}), 0)
		want(ann, "renamed", fmt.Sprintf(`%s "other" 400`, id))
		code(t, "quit", bob.Groups().Quit(within(t), id), 0)
		want(bob, "left", "")
		code(t, "delete", ann.Groups().Delete(within(t), id), 0)
		want(ann, "dissolved", "")
	}
	ann.group("ops", publicGroup, "bob")
	ann.group("dev", workGroup, "bob")
	bob.until(t, "conversations", func([]event) bool {
		return len(bob.of("add")) > 0 && strings.Contains(bob.joined(), "ops") && strings.Contains(bob.joined(), "dev")
	})
	code(t, "option", bob.SetRecvOpt(within(t), []client.Conv{client.Group("ops")}, 2), 0)
	if _, err := ann.SendMessage(within(t), client.Group("ops"), textMessage("hi")); err != nil {
		t.Fatal(err)
	}
	bob.until(t, "the message", func([]event) bool { e, ok := last(bob.of("new"), "new"); return ok && e.text == "hi" })
	list, err := bob.Groups().JoinedList(within(t))
	if err != nil || len(list) != 2 {
		t.Fatalf("joined: %v, %v", list, err)
	}
	ops := list[slices.IndexFunc(list, func(g *im.GroupBaseInfo) bool { return g.GroupId == "ops" })]
	if ops.GroupType != publicGroup || ops.LatestSeq != 2 || ops.ReadedSeq != 0 || ops.MsgFlag != 2 || ops.SelfInfo.UnreadNum != 1 || ops.SelfInfo.MsgFlag != 2 || ops.SelfInfo.JoinTime == 0 || ops.InfoSeq == 0 {
		t.Errorf("the group is %v", ops)
	}
	find := func(words ...string) string {
		t.Helper()
		found, err := bob.Groups().Search(within(t), &im.GroupSearchParam{KeywordList: words})
		code(t, "search", err, 0)
		var ids []string
		for _, g := range found {
			ids = append(ids, g.GroupId+" "+g.GroupName)
		}
		slices.Sort(ids)
		return strings.Join(ids, ", ")
	}
	check := func(when string) {
		t.Helper()
		if got := find("NAME OF"); got != "dev name of dev, ops name of ops" {
			t.Errorf("%s: found %s", when, got)
		}
		if got := find("op", "none"); got != "ops name of ops" {
			t.Errorf("%s: found %s", when, got)
		}
	}
	check("online")
	found, err := bob.Groups().Search(within(t), &im.GroupSearchParam{KeywordList: []string{"name"}, FieldList: []int32{client.SearchGroupID}})
	if err != nil || len(found) != 0 {
		t.Errorf("found by id: %v, %v", found, err)
	}
	for name, p := range map[string]*im.GroupSearchParam{
		"nothing": nil, "blanks": {KeywordList: []string{" "}}, "six words": {KeywordList: slices.Repeat([]string{"a"}, 6)}, "a field that does not exist": {KeywordList: []string{"a"}, FieldList: []int32{4}},
	} {
		_, err := bob.Groups().Search(within(t), p)
		code(t, name, err, im.CodeGroupParameters)
	}
	s.Stop()
	bob.until(t, "disconnected", func(es []event) bool { e, _ := last(es, "net"); return e.n != 0 })
	check("offline")
	if got := bob.joined(); !strings.Contains(got, `ops "name of ops" 200`) || !strings.Contains(got, `dev "name of dev" 200`) {
		t.Errorf("offline: %s", got)
	}
}

// Members are found among those whom the device has met: by a message, a tip or a list; with the name cards that it was told last, and not once they have
// left.
func TestSearchMembers(t *testing.T) {
	s := imtest.Start(t)
	ann, bob, cid, dan := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob")), dial(t, config(t, s, "cid")), dial(t, config(t, s, "dan"))
	if err := bob.Profiles().SetSelf(within(t), &im.UserProfileItem{NickName: new("Robert")}); err != nil {
		t.Fatal(err)
	}
	if _, err := ann.Friends().Add(within(t), &im.AddFriendRequest{UserId: "cid", Remark: "from ops"}); err != nil {
		t.Fatal(err)
	}
	ann.group("m", meetingGroup) // joins make no tips
	ann.group("p", publicGroup, "cid")
	find := func(p *im.GroupMemberSearchParam) string {
		t.Helper()
		found, err := ann.Groups().SearchMembers(within(t), p)
		code(t, "search", err, 0)
		var all []string
		for _, r := range found {
			for _, m := range r.MemberInfoList {
				all = append(all, fmt.Sprintf("%s/%s %s %s %s", r.GroupId, m.Identifier, m.NickName, m.FriendRemark, m.NameCard))
			}
		}
		slices.Sort(all)
		return strings.Join(all, ", ")
	}
	word := func(w string) *im.GroupMemberSearchParam { return &im.GroupMemberSearchParam{KeywordList: []string{w}} }
	want := func(when string, p *im.GroupMemberSearchParam, list string) {
		t.Helper()
		if got := find(p); got != list {
			t.Errorf("%s: found %q, want %q", when, got, list)
		}
	}
	ann.until(t, "the tip", func([]event) bool { return len(ann.of("tip")) > 0 })
	want("by a tip", word("ci"), "p/cid  from ops ")
	want("by a remark", word("OPS"), "p/cid  from ops ")
	for _, d := range []*device{bob, cid, dan} {
		_, err := d.Groups().Join(within(t), "m", "")
		code(t, "join", err, 0)
	}
	want("not met", word("bob"), "")
	code(t, "name card", bob.Groups().ModifyMember(within(t), "m", "bob", &im.ModifyMemberRequest{NameCard: new("the card")}), 0)
	if _, err := bob.SendMessage(within(t), client.Group("m"), textMessage("hi")); err != nil {
		t.Fatal(err)
	}
	ann.until(t, "the message", func([]event) bool { e, ok := last(ann.of("new"), "new"); return ok && e.text == "hi" })
	for _, w := range []string{"bob", "rober", "CARD"} {
		want("by a message", word(w), "m/bob Robert  the card")
	}
	want("not in this group", &im.GroupMemberSearchParam{KeywordList: []string{"bob"}, GroupIdList: []string{"p", "none"}}, "")
	want("not in this field", &im.GroupMemberSearchParam{KeywordList: []string{"bob"}, FieldList: []int32{client.SearchMemberNameCard, client.SearchMemberRemark}}, "")
	if _, err := ann.Groups().Members(within(t), "m", nil); err != nil {
		t.Fatal(err)
	}
	want("by a list", word("dan"), "m/dan   ")
	want("in both groups", word("cid"), "m/cid  from ops , p/cid  from ops ")
	if _, err := ann.Groups().Kick(within(t), "p", []string{"cid"}, ""); err != nil {
		t.Fatal(err)
	}
	ann.until(t, "the tip", func([]event) bool { return len(ann.of("tip")) > 1 })
	want("after the end", word("cid"), "m/cid  from ops ")
	ann = ann.again()
	want("after a restart", word("card"), "m/bob Robert  the card")
	for name, p := range map[string]*im.GroupMemberSearchParam{"nothing": nil, "a field that does not exist": {KeywordList: []string{"a"}, FieldList: []int32{16}}} {
		_, err := ann.Groups().SearchMembers(within(t), p)
		code(t, name, err, im.CodeGroupParameters)
	}
}
