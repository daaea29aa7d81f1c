package gateway

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// TestAttributeWritesPerSecond: a user writes the attributes of a group so many times per second, and others and other groups are counted apart.
func TestAttributeWritesPerSecond(t *testing.T) {
	wall := &clock{t: time.Now()}
	n := start(t, options{chat: chat.Config{AttributeWrites: 5, Clock: wall.now}})
	ann, bob := n.member("ann"), n.member("bob")
	vers := map[string]uint64{}
	write := func(c *conn, group string, code int32) {
		t.Helper()
		req := &im.SetAttributesRequest{Group: named(group), Action: im.AttributesAction_ATTRIBUTES_SET, Ver: vers[group],
			Attributes: []*im.GroupAttributes{{Key: "k", Value: string(rune('a' + vers[group]))}}}
		var r im.AttributesReply
		if c.call(im.Method_SET_ATTRIBUTES, req, code, nil); code != 0 {
			return
		}
		c.call(im.Method_ATTRIBUTES, named(group), 0, &r)
		if vers[group]++; r.Ver != vers[group] {
			t.Fatalf("version %d after write %d", r.Ver, vers[group])
		}
	}
	for _, group := range []string{"a", "b"} {
		ann.create(group, work, "bob")
		for range 5 {
			write(ann, group, 0)
		}
		write(ann, group, im.CodeAttributesTooFast)
		write(bob, group, 0)
	}
	wall.mu.Lock()
	wall.t = wall.t.Add(time.Second)
	wall.mu.Unlock()
	write(ann, "a", 0)
}

// TestMaxMembersAndGroups: a group and a user's list of groups take as many as the settings say, counted by the rows that change them, and one who is too many
// changes nothing.
func TestMaxMembersAndGroups(t *testing.T) {
	onBoth(t, options{chat: chat.Config{MaxMembers: map[im.GroupType]uint64{public: 3}, MaxGroups: 2}}, func(t *testing.T, n *node) {
		ann, bob, carol, dan := n.member("ann"), n.member("bob"), n.member("carol"), n.member("dan")
		free := func(id string) {
			t.Helper()
			ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{
				Group: named(id), AddOption: new(im.GroupAddOption_GROUP_ADD_OPTION_ANY), ApproveOption: new(im.GroupAddOption_GROUP_ADD_OPTION_ANY),
			}, 0, nil)
		}
		join := func(id string) *im.JoinGroupRequest { return &im.JoinGroupRequest{Group: named(id)} }
		ann.create("full", public, "bob")
		free("full")
		carol.call(im.Method_JOIN_GROUP, join("full"), 0, nil)
		dan.call(im.Method_JOIN_GROUP, join("full"), im.CodeGroupFull, nil)
		ann.call(im.Method_INVITE, &im.GroupMembersRequest{Group: named("full"), UserIds: []string{"dan"}}, im.CodeGroupFull, nil)
		ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("full"), MaxMembers: new(uint64(4))}, im.CodeGroupMemberLimit, nil)
		four := &im.CreateGroupRequest{Name: "x", Type: public}
		for _, m := range []string{"ann", "bob", "carol"} {
			four.Members = append(four.Members, &im.GroupMemberInfo{Identifier: m})
		}
		dan.call(im.Method_CREATE_GROUP, four, im.CodeGroupFull, nil)
		carol.call(im.Method_QUIT_GROUP, named("full"), 0, nil)
		dan.call(im.Method_JOIN_GROUP, join("full"), 0, nil)

		ann.create("second", public, "bob")
		free("second")
		bob.call(im.Method_CREATE_GROUP, &im.CreateGroupRequest{Name: "third", Type: public}, im.CodeTooManyGroups, nil)
		carol.create("third", public)
		carol.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{
			Group: named("third"), AddOption: new(im.GroupAddOption_GROUP_ADD_OPTION_ANY), ApproveOption: new(im.GroupAddOption_GROUP_ADD_OPTION_ANY),
		}, 0, nil)
		bob.call(im.Method_JOIN_GROUP, join("third"), im.CodeTooManyGroups, nil)
		var r im.InviteReply
		carol.call(im.Method_INVITE, &im.GroupMembersRequest{Group: named("third"), UserIds: []string{"bob", "dan"}}, 0, &r)
		if r.Results[0].Result != 0 || r.Results[1].Result != 1 {
			t.Errorf("results %v", r.Results)
		}
		for id, want := range map[string]uint64{"full": 3, "second": 2, "third": 2} {
			cv, err := n.store.Group(t.Context(), id)
			if err != nil || cv.Members != want {
				t.Errorf("%s has %d members, want %d (%v)", id, cv.Members, want, err)
			}
		}
		// Who leaves makes room in both.
		bob.call(im.Method_QUIT_GROUP, named("second"), 0, nil)
		bob.call(im.Method_JOIN_GROUP, join("third"), 0, nil)
	})
}

// TestMaxLiveRooms: there are at most so many live rooms, and at most so many of one owner; one that is dissolved does not count, and other groups do not either. Many that are made at once are not more.
func TestMaxLiveRooms(t *testing.T) {
	onBoth(t, options{chat: chat.Config{MaxRooms: 5, MaxRoomsPerUser: 2}}, func(t *testing.T, n *node) {
		ann, bob := n.member("ann"), n.member("bob")
		room := &im.CreateGroupRequest{Name: "x", Type: liveType}
		ann.create("a1", liveType)
		ann.create("a2", liveType)
		ann.call(im.Method_CREATE_GROUP, room, im.CodeTooManyRooms, nil)
		ann.create("other", public)
		ann.call(im.Method_DISSOLVE_GROUP, named("a1"), 0, nil)
		ann.create("a3", liveType)
		ann.call(im.Method_CREATE_GROUP, room, im.CodeTooManyRooms, nil)
		bob.create("b1", liveType)

		var all []*conn
		for i := range 6 {
			all = append(all, n.member(fmt.Sprint("guest", i)))
		}
		for _, c := range all {
			c.id++
			c.write(im.AppendMessage(nil, &im.Frame{Id: c.id, Method: im.Method_CREATE_GROUP}, room))
		}
		made := 0
		for _, c := range all {
			switch f := c.await(c.id); f.Code {
			case 0:
				made++
			case im.CodeTooManyRooms:
			default:
				t.Errorf("%d %s", f.Code, f.Desc)
			}
		}
		if made != 2 {
			t.Errorf("%d rooms were made where there was room for 2", made)
		}
		ann.call(im.Method_DISSOLVE_GROUP, named("a2"), 0, nil)
		bob.create("b2", liveType)
	})
}
