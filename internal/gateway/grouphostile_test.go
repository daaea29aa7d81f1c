package gateway

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// TestHostileGroupCalls: no request about groups makes the server fail, or changes anything but by its rules, on either store.
func TestHostileGroupCalls(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		ann, bob, eve := n.member("ann"), n.member("bob"), n.member("eve")
		epoch := ann.create("g", public, "bob")
		other := ann.create("h", work)
		eve.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("g")}, 0, nil)
		ids := []string{"", "x", "g", "h", "@TGS#", "@TGS#_", "@TIM#SYSTEM", "a:b", "GROUP:g", "\x00", "g\x00", "a\nb", "\xff\xfe", "グループ", strings.Repeat("a", 48), strings.Repeat("a", 128),
			strings.Repeat("a", 129), " ", "../..", "'; DROP TABLE conv; --", "%s%n", "null"}
		var many []string
		for i := range 101 {
			many = append(many, fmt.Sprint("user", i))
		}
		users := [][]string{nil, {""}, {"ann"}, {"bob", "bob", "eve", "bob"}, {"\x00"}, {"\xff"}, {strings.Repeat("u", 200)}, many, many[:100], {"@TIM#SYSTEM"}, {"administrator"}}
		numbers := []uint64{0, 1, epoch, other, math.MaxUint32, math.MaxInt64, math.MaxUint64}
		texts := []string{"", "x", "\x00", "a\x00b", "\xff", strings.Repeat("x", 5000)}
		var calls []func(c *conn) (im.Method, im.Body)
		add := func(m im.Method, req im.Body) {
			calls = append(calls, func(*conn) (im.Method, im.Body) { return m, req })
		}
		for _, id := range ids {
			g := named(id)
			if id != "x" && id != " " { // a good id, which would be made
				add(im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: id + "\x01", Name: "n"})
			}
			add(im.Method_GROUPS, &im.GroupsRequest{GroupIds: []string{id, id}})
			add(im.Method_ATTRIBUTES, g)
			add(im.Method_ONLINE_COUNT, g)
			add(im.Method_MEMBERS, &im.ListMembersRequest{Group: g, Next: math.MaxUint64, Limit: 100, Roles: 7})
			add(im.Method_PULL, &im.PullRequest{Conv: groupKey(id), Epoch: 1, From: 1, To: 1})
			add(im.Method_HEADS, &im.HeadsRequest{Only: []*im.ConvKey{groupKey(id), groupKey(id)}, WithLast: true})
			if id != "g" && id != "h" {
				add(im.Method_DISSOLVE_GROUP, g)
				add(im.Method_QUIT_GROUP, g)
				add(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: g})
				add(im.Method_SEND, &im.SendRequest{Conv: groupKey(id), ClientTime: 1, Random: 1, Message: text("x")})
			}
		}
		for _, number := range numbers {
			g := &im.GroupRequest{GroupId: "g", Epoch: number}
			add(im.Method_ATTRIBUTES, g)
			add(im.Method_MEMBERS, &im.ListMembersRequest{Group: g, Next: number})
			add(im.Method_PULL, &im.PullRequest{Conv: groupKey("g"), Epoch: number, From: number, To: number, History: true})
			add(im.Method_CHANGES, &im.ChangesRequest{Conv: groupKey("g"), Epoch: epoch, From: number, To: number})
			add(im.Method_READ, &im.ReadRequest{Positions: []*im.ReadPosition{{Conv: groupKey("g"), Epoch: epoch, Seq: number}}})
			add(im.Method_ROW, &im.RowRequest{Conv: groupKey("g"), Epoch: epoch, ClearedSeq: &number, RecvOpt: new(int32(-1))})
			add(im.Method_DELETE, &im.DeleteRequest{Conv: groupKey("g"), Epoch: epoch, Seqs: []uint64{number, number}})
			add(im.Method_SEQ_AT, &im.SeqAtRequest{Conv: groupKey("g"), Epoch: epoch, FromTime: math.MinInt64, ToTime: int64(number)})
			add(im.Method_REVOKE, &im.RevokeRequest{Conv: groupKey("g"), Epoch: epoch, Seq: number})
			add(im.Method_MODIFY, &im.ModifyRequest{Conv: groupKey("g"), Epoch: epoch, Seq: number, Version: number, Message: text("x")})
			add(im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{Group: named("g"), Action: im.AttributesAction(number), Ver: number})
			add(im.Method_GROUP_REQUESTS, &im.GroupRequestsRequest{StartTime: number, Limit: uint32(number)})
			add(im.Method_READ_GROUP_REQUESTS, &im.ReadRequestsRequest{Time: number})
			add(im.Method_HANDLE_GROUP_REQUEST, &im.HandleGroupRequest{Pendency: &im.GroupPendency{GroupId: "g", FormIdentifier: "eve", Key: fmt.Sprint(number) + "0000"}, Accept: true})
			add(im.Method_LOOKUP, &im.LookupRequest{Keys: []*im.SendKey{{Conv: groupKey("g"), ClientTime: 1, Random: 1, Epoch: number}}})
			if number != 0 && number != epoch {
				add(im.Method_SEND, &im.SendRequest{Conv: groupKey("g"), Epoch: number, ClientTime: 1, Random: 1, Message: text("x")})
				add(im.Method_DISSOLVE_GROUP, g)
			}
			add(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: g, MaxMembers: new(uint64(math.MaxUint64)), AddOption: new(im.GroupAddOption(-5))})
		}
		for _, list := range users {
			if !slices.Contains(list, "bob") {
				add(im.Method_INVITE, &im.GroupMembersRequest{Group: named("g"), UserIds: list})
				add(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("g"), UserIds: list})
			}
			add(im.Method_MEMBERS, &im.ListMembersRequest{Group: named("g"), UserIds: list})
			bad := &im.CreateGroupRequest{GroupId: "bad\x01", Name: "n"}
			for _, id := range list {
				bad.Members = append(bad.Members, &im.GroupMemberInfo{Identifier: id, MemberRole: -1})
			}
			add(im.Method_CREATE_GROUP, bad)
		}
		for _, s := range texts[2:] {
			add(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("g"), UserId: "bob", NameCard: &s})
			add(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("g"), UserId: s, Role: new(im.GroupMemberRole(-300))})
			add(im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{Group: named("g"), Action: 2, Attributes: []*im.GroupAttributes{{Key: "k" + s, Value: s}}})
			add(im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{Group: named("g"), Action: 2, Attributes: []*im.GroupAttributes{{Key: "k", Value: s + s}}})
			add(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("g"), Name: &s})
			add(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("g"), Owner: &s})
			add(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("g"), Words: s})
		}
		for _, req := range []struct {
			m   im.Method
			req im.Body
		}{
			{im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{UserId: "bob"}}, {im.Method_MEMBERS, &im.ListMembersRequest{}}, {im.Method_INVITE, &im.GroupMembersRequest{UserIds: []string{"eve"}}},
			{im.Method_HANDLE_GROUP_REQUEST, &im.HandleGroupRequest{}}, {im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{}}, {im.Method_JOIN_GROUP, &im.JoinGroupRequest{}}, {im.Method_CREATE_GROUP, &im.CreateGroupRequest{}},
			{im.Method_GROUPS, &im.GroupsRequest{GroupIds: many[:100]}}, {im.Method_GROUPS, &im.GroupsRequest{GroupIds: many}}, {im.Method_CREATE_GROUP, &im.CreateGroupRequest{Name: "n", Type: -1}},
			{im.Method_CREATE_GROUP, &im.CreateGroupRequest{Name: "n", Type: 99}}, {im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("g"), UserId: "bob", Mute: new(uint64(math.MaxUint64))}},
			{im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: "@TGS#mine", Name: "n"}}, {im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: "@TIM#mine", Name: "n"}},
			{im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: "plain", Name: "n", Type: community}}, {im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: "@TGS#_", Name: "n", Type: community}},
		} {
			add(req.m, req.req)
		}
		before, ends := ann.groups("g"), n.toldUpTo("g")
		for _, c := range []*conn{eve, bob, ann} {
			for _, call := range calls {
				m, req := call(c)
				for _, resent := range []bool{false, true} {
					var f *im.Frame
					if resent {
						f = c.resend(m, req)
					} else {
						f = c.await(c.begin(m, req))
					}
					if f.Code == im.CodeServerInternal || f.Code == 0 && m == im.Method_CREATE_GROUP {
						t.Errorf("%s of %v is answered %d: %s", m, req, f.Code, f.Desc)
					}
				}
			}
		}
		var failures dto.Metric
		if n.metrics.failures.Write(&failures); failures.GetCounter().GetValue() != 0 {
			t.Error("a call failed inside the server")
		}
		if after := ann.groups("g"); after != before || n.toldUpTo("g") != ends {
			t.Errorf("the group was %s, and is %s", before, after)
		}
	})
}

// groups returns what everybody may know of a group, as text.
func (c *conn) groups(id string) string {
	c.t.Helper()
	var r im.GroupsReply
	c.call(im.Method_GROUPS, &im.GroupsRequest{GroupIds: []string{id}}, 0, &r)
	return r.String()
}

// TestTwoServersInGroups: calls at two servers of one PostgreSQL that hold the same rows in different orders all end, and the rows agree; what one server
// remembers of a group's id does not outlast the group.
func TestTwoServersInGroups(t *testing.T) {
	o := options{dsn: pgtest.DSN(t)}
	a, b := start(t, o), start(t, o)
	const users = 6
	var conns []*conn
	for i := range users {
		conns = append(conns, a.member(fmt.Sprint("u", i)), b.login(device{user: fmt.Sprint("u", i), device: "b", platform: im.Platform_PLATFORM_PAD, groups: true}))
	}
	var ids []string
	for i := range 2 {
		id := fmt.Sprint(madeCommunity, i)
		conns[0].create(id, community)
		conns[0].appoint2(id, "u1")
		ids = append(ids, id)
	}
	rnd := newRand(t)
	for range soak.Pick(15, 500) {
		var calls []func() (*conn, uint64)
		for _, c := range conns {
			g, who := named(ids[rnd.IntN(2)]), []string{fmt.Sprint("u", rnd.IntN(users)), fmt.Sprint("u", rnd.IntN(users))}
			m, req := im.Method(0), im.Body(nil)
			switch rnd.IntN(9) {
			case 0, 1:
				m, req = im.Method_INVITE, &im.GroupMembersRequest{Group: g, UserIds: who}
			case 2:
				m, req = im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: g, UserIds: who}
			case 3:
				m, req = im.Method_QUIT_GROUP, g
			case 4:
				m, req = im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: g}
			case 5:
				m, req = im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: g, UserId: who[0], Mute: new(uint64(rnd.IntN(3)))}
			case 6:
				m, req = im.Method_ADD_FRIEND, &im.AddFriendRequest{UserId: who[0], Both: true}
			case 7:
				m, req = im.Method_BLOCK, &im.UsersRequest{UserIds: who}
			case 8:
				m, req = im.Method_CREATE_GROUP, &im.CreateGroupRequest{Name: "n", Members: []*im.GroupMemberInfo{{Identifier: who[0]}, {Identifier: who[1]}}}
			}
			calls = append(calls, c.calling(m, req))
		}
		for _, code := range together(calls...) {
			if code == im.CodeServerInternal {
				t.Fatal("a call failed inside the server")
			}
		}
	}
	for _, id := range ids {
		a.rolesOf(id)
	}

	ann, bob := conns[0], conns[3] // at a and at b
	first := ann.create("cached", work, "u1")
	bob.say("cached", "to the first", 0)
	ann.call(im.Method_QUIT_GROUP, named("cached"), 0, nil)
	conns[2].call(im.Method_QUIT_GROUP, named("cached"), 0, nil)
	second := ann.create("cached", work, "u1")
	bob.say("cached", "to the second", 0)
	late := bob.request("x", "late")
	late.Conv, late.Epoch = groupKey("cached"), first
	bob.call(im.Method_SEND, late, im.CodeNoGroup, nil)
	if got := ann.groupLog("cached", second, 1, a.toldUpTo("cached"), false, 0); len(got) != 2 || got[1] != "2 u1: to the second" {
		t.Errorf("the second log is %q", got)
	}
}

// appoint2 invites a user and makes them an admin.
func (c *conn) appoint2(group, user string) {
	c.t.Helper()
	c.call(im.Method_INVITE, &im.GroupMembersRequest{Group: named(group), UserIds: []string{user}}, 0, nil)
	c.appoint(group, user)
}
