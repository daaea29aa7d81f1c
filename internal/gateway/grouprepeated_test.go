package gateway

import (
	"testing"

	"github.com/tidings-im/tidings/im"
)

// TestRepeatedGroupCalls: a call that is made again because its reply was lost has the same result, and nobody is told twice.
func TestRepeatedGroupCalls(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		ann, bob, carol := n.member("ann"), n.member("bob"), n.member("carol")
		all := []*conn{ann, bob, carol}
		// twice makes a call and makes it again, and returns both replies.
		twice := func(c *conn, m im.Method, req im.Body, want int) {
			t.Helper()
			first := c.await(c.begin(m, req))
			if first.Code != 0 {
				t.Fatalf("%s answered %d (%s)", m, first.Code, first.Desc)
			}
			told := 0
			for _, c := range all {
				told += len(n.toldSoFar(c))
			}
			if told < want {
				t.Errorf("%s told %d things, not %d", m, told, want)
			}
			again := c.resend(m, req)
			if again.Code != 0 || string(again.Body) != string(first.Body) {
				t.Errorf("%s is answered %d %s %x, and was answered %x", m, again.Code, again.Desc, again.Body, first.Body)
			}
			for _, c := range all {
				if words := n.toldSoFar(c); len(words) > 0 {
					t.Errorf("%s told again: %q", m, words)
				}
			}
		}
		twice(ann, im.Method_CREATE_GROUP, &im.CreateGroupRequest{Name: "made"}, 2)
		twice(bob, im.Method_CREATE_GROUP, &im.CreateGroupRequest{Name: "made"}, 2) // another one
		twice(ann, im.Method_CREATE_GROUP, &im.CreateGroupRequest{Name: "chosen", GroupId: "p", Type: public, Members: []*im.GroupMemberInfo{{Identifier: "bob"}}}, 6)
		twice(ann, im.Method_CREATE_GROUP, &im.CreateGroupRequest{Name: "chosen", GroupId: "w", Type: work}, 2)
		twice(carol, im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("p"), Words: "please"}, 1)
		var list im.GroupPendencyResult
		ann.call(im.Method_GROUP_REQUESTS, &im.GroupRequestsRequest{}, 0, &list)
		twice(ann, im.Method_HANDLE_GROUP_REQUEST, &im.HandleGroupRequest{Pendency: list.PendencyArray[0], Accept: true}, 5)
		twice(ann, im.Method_INVITE, &im.GroupMembersRequest{Group: named("w"), UserIds: []string{"bob", "carol", "nobody"}}, 7)
		twice(ann, im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("p"), Name: new("new"), AddOption: new(im.GroupAddOption_GROUP_ADD_OPTION_ANY)}, 3)
		twice(ann, im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("p"), ShutupAll: new(true)}, 0)
		twice(ann, im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("p"), UserId: "bob", Mute: new(uint64(600)), NameCard: new("card")}, 5)
		twice(ann, im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("p"), UserId: "bob", Mute: new(uint64(0))}, 5)
		twice(ann, im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("p"), UserId: "bob", Role: new(im.GroupMemberRole_GROUP_MEMBER_ROLE_ADMIN)}, 5)
		twice(carol, im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("p"), UserId: "carol", RecvOpt: new(int32(1))}, 1)
		twice(ann, im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{Group: named("p"), Action: im.AttributesAction_ATTRIBUTES_INIT, Attributes: []*im.GroupAttributes{{Key: "k", Value: "v"}}}, 3)
		twice(ann, im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{Group: named("p"), Ver: 1, Action: im.AttributesAction_ATTRIBUTES_DELETE, Attributes: []*im.GroupAttributes{{Key: "k"}}}, 3)
		twice(ann, im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("p"), UserIds: []string{"carol", "nobody"}}, 4)
		twice(ann, im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("p"), Owner: new("bob")}, 4)
		twice(ann, im.Method_QUIT_GROUP, named("p"), 3)
		twice(bob, im.Method_DISSOLVE_GROUP, named("p"), 1)
		twice(carol, im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named(n.joinable(ann))}, 1)
		for _, c := range []*conn{carol, bob, ann} { // with the last one the group ends
			twice(c, im.Method_QUIT_GROUP, named("w"), 2)
		}
		bob.call(im.Method_DISSOLVE_GROUP, named("p"), im.CodeNoGroup, nil)
		ann.call(im.Method_QUIT_GROUP, named("w"), im.CodeNoGroup, nil)
	})
}

// joinable makes a group that everybody may join.
func (n *node) joinable(c *conn) string {
	c.t.Helper()
	c.create("joinable", meeting)
	n.toldSoFar(c)
	return "joinable"
}
