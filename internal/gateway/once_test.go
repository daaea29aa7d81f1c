package gateway

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/hook"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// stored is all that a call could have changed: what the store has of users and of groups.
func (n *node) stored(users, groups []string) string {
	n.t.Helper()
	var out strings.Builder
	note := func(x any, err error) {
		n.t.Helper()
		if err != nil && err != chat.ErrNotFound {
			n.t.Fatal(err)
		}
		fmt.Fprintf(&out, "%+v %v\n", x, err)
	}
	ctx := n.t.Context()
	var uids []chat.UID
	for _, name := range users {
		u, err := n.store.UserByName(ctx, name)
		note(u, err)
		rows, err := n.store.AllRelations(ctx, u.UID, 0, 0, 1000)
		note(rows, err)
		profile, err := n.store.Profile(ctx, u.UID)
		note(profile, err)
		in, err := n.store.GroupsOf(ctx, u.UID)
		note(in, err)
		size, err := n.store.OutboxSize(ctx, u.UID)
		note(size, err)
		uids = append(uids, u.UID)
	}
	for _, name := range groups {
		cv, err := n.store.Group(ctx, name)
		note(cv, err)
		info, err := n.store.GroupInfo(ctx, cv.ID)
		note(info, err)
		_, attributes, err := n.store.Attributes(ctx, cv.ID)
		note(attributes, err)
		members, err := n.store.Members(ctx, cv.ID)
		note(members, err)
		custom, err := n.store.CustomOf(ctx, cv.ID, uids)
		note(custom, err)
		size, err := n.store.OutboxSize(ctx, chat.LaneOf(cv.ID))
		note(size, err)
	}
	for _, uid := range uids {
		requests, err := n.store.GroupRequests(ctx, uid, int64(chat.NoEnd), 100)
		note(requests, err)
	}
	return out.String()
}

// changeOnce is a call that changes something, and what somebody else does after it: it concerns the same, so that the call, made a second time, would do or be
// answered something else.
type changeOnce struct {
	name  string
	first func(n *node, ann, bob, eve *conn)
	m     im.Method
	req   func(ann *conn) im.Body
	then  func(n *node, ann, bob, eve *conn)
}

func did(c *conn, m im.Method, req im.Body) {
	c.t.Helper()
	c.call(m, req, 0, nil)
}

func (c *conn) befriend(users ...string) {
	c.t.Helper()
	for _, user := range users {
		did(c, im.Method_ADD_FRIEND, &im.AddFriendRequest{UserId: user, Both: true})
	}
}

func (c *conn) asks(permission im.ProfileAddPermission) {
	c.t.Helper()
	did(c, im.Method_SET_PROFILE, &im.SetProfileRequest{Item: &im.UserProfileItem{AddPermission: &permission}})
}

func just(req im.Body) func(*conn) im.Body { return func(*conn) im.Body { return req } }

// changesOnce has each kind of call that is kept. In the group g ann is the owner, bob an admin; eve is a third user.
func changesOnce() []changeOnce {
	const confirm = im.ProfileAddPermission_PROFILE_ADD_PERMISSION_NEED_CONFIRM
	nothing := func(*node, *conn, *conn, *conn) {}
	made := func(typ im.GroupType, members ...string) func(*node, *conn, *conn, *conn) {
		return func(_ *node, ann, bob, eve *conn) {
			ann.create("g", typ, append([]string{"bob"}, members...)...)
			ann.appoint("g", "bob")
		}
	}
	byBob := func(m im.Method, req im.Body) func(*node, *conn, *conn, *conn) {
		return func(_ *node, _, bob, _ *conn) { did(bob, m, req) }
	}
	byEve := func(m im.Method, req im.Body) func(*node, *conn, *conn, *conn) {
		return func(_ *node, _, _, eve *conn) { did(eve, m, req) }
	}
	// elsewhere: another device of ann.
	elsewhere := func(m im.Method, req im.Body) func(*node, *conn, *conn, *conn) {
		return func(n *node, _, _, _ *conn) {
			did(n.login(device{user: "ann", device: "pad", platform: im.Platform_PLATFORM_PAD, groups: true}), m, req)
		}
	}
	eve := &im.GroupMembersRequest{Group: named("g"), UserIds: []string{"eve"}}
	about := &im.UsersRequest{UserIds: []string{"eve"}}
	attributes := func(ver uint64, action im.AttributesAction, list ...*im.GroupAttributes) im.Body {
		return &im.SetAttributesRequest{Group: named("g"), Ver: ver, Action: action, Attributes: list}
	}
	kv := &im.GroupAttributes{Key: "k", Value: "v"}
	withKV := func(n *node, ann, bob, eve *conn) {
		made(public)(n, ann, bob, eve)
		did(ann, im.Method_SET_ATTRIBUTES, attributes(0, im.AttributesAction_ATTRIBUTES_INIT, kv))
	}
	nick := func(name string) im.Body {
		return &im.SetProfileRequest{Item: &im.UserProfileItem{NickName: &name}}
	}
	friends := func(_ *node, ann, _, _ *conn) { ann.befriend("eve") }
	groups := func(action im.FriendGroupAction, newName string, users ...string) im.Body {
		return &im.FriendGroupsRequest{Action: action, Names: []string{"x"}, NewName: newName, UserIds: users}
	}
	grouped := func(n *node, ann, bob, eve *conn) {
		friends(n, ann, bob, eve)
		did(ann, im.Method_FRIEND_GROUPS, groups(im.FriendGroupAction_FRIEND_GROUP_CREATE, ""))
	}
	asked := func(_ *node, ann, _, eve *conn) {
		ann.asks(confirm)
		eve.befriend("ann")
	}
	var many []string
	for i := range 250 {
		many = append(many, "many"+strconv.Itoa(i))
	}
	return []changeOnce{
		{"create", nothing, im.Method_CREATE_GROUP, just(&im.CreateGroupRequest{GroupId: "g", Name: "n", Members: []*im.GroupMemberInfo{{Identifier: "bob"}}}),
			byBob(im.Method_QUIT_GROUP, named("g"))},
		{"create, ended since", nothing, im.Method_CREATE_GROUP, just(&im.CreateGroupRequest{GroupId: "g", Name: "n", Type: public}), elsewhere(im.Method_DISSOLVE_GROUP, named("g"))},
		{"create, of an id of the server", nothing, im.Method_CREATE_GROUP, just(&im.CreateGroupRequest{Name: "n"}), nothing},
		{"join", func(_ *node, _, bob, _ *conn) { bob.create("g", meeting) }, im.Method_JOIN_GROUP, just(&im.JoinGroupRequest{Group: named("g")}),
			byBob(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("g"), UserIds: []string{"ann"}})},
		{"apply", func(_ *node, _, bob, _ *conn) { bob.create("g", public) }, im.Method_JOIN_GROUP, just(&im.JoinGroupRequest{Group: named("g"), Words: "please"}),
			func(_ *node, _, bob, _ *conn) {
				var list im.GroupPendencyResult
				bob.call(im.Method_GROUP_REQUESTS, &im.GroupRequestsRequest{}, 0, &list)
				did(bob, im.Method_HANDLE_GROUP_REQUEST, &im.HandleGroupRequest{Pendency: list.PendencyArray[0]})
			}},
		{"quit", func(_ *node, _, bob, _ *conn) { bob.create("g", work, "ann") }, im.Method_QUIT_GROUP, just(named("g")),
			byBob(im.Method_INVITE, &im.GroupMembersRequest{Group: named("g"), UserIds: []string{"ann"}})},
		{"invite", func(_ *node, ann, _, _ *conn) { ann.create("g", work, "bob") }, im.Method_INVITE, just(eve), byEve(im.Method_QUIT_GROUP, named("g"))},
		{"kick", made(meeting, "eve"), im.Method_KICK_MEMBERS, just(eve), byEve(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("g")})},
		{"name", made(public), im.Method_MODIFY_GROUP, just(&im.ModifyGroupRequest{Group: named("g"), Name: new("ann's")}),
			byBob(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("g"), Name: new("bob's")})},
		{"mute all", made(public), im.Method_MODIFY_GROUP, just(&im.ModifyGroupRequest{Group: named("g"), ShutupAll: new(true)}),
			byBob(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("g"), ShutupAll: new(false)})},
		{"mute", made(public, "eve"), im.Method_MODIFY_MEMBER, just(&im.ModifyMemberRequest{Group: named("g"), UserId: "eve", Mute: new(uint64(600))}),
			byBob(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("g"), UserId: "eve", Mute: new(uint64(0))})},
		{"name card", made(public, "eve"), im.Method_MODIFY_MEMBER, just(&im.ModifyMemberRequest{Group: named("g"), UserId: "eve", NameCard: new("ann's")}),
			byEve(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("g"), UserId: "eve", NameCard: new("eve's")})},
		{"fields of a member", made(public, "eve"), im.Method_MODIFY_MEMBER, just(&im.ModifyMemberRequest{Group: named("g"), UserId: "eve", Custom: []*im.GroupMemberInfoCustomString{{Key: "k", Value: "ann's"}}}),
			byEve(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("g"), UserId: "eve", Custom: []*im.GroupMemberInfoCustomString{{Key: "k", Value: "eve's"}}})},
		{"receive option", made(public), im.Method_MODIFY_MEMBER, just(&im.ModifyMemberRequest{Group: named("g"), UserId: "ann", RecvOpt: new(int32(1))}),
			elsewhere(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("g"), UserId: "ann", RecvOpt: new(int32(0))})},
		{"appoint", made(public, "eve"), im.Method_MODIFY_MEMBER, just(&im.ModifyMemberRequest{Group: named("g"), UserId: "eve", Role: new(im.GroupMemberRole_GROUP_MEMBER_ROLE_ADMIN)}),
			elsewhere(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("g"), UserId: "eve", Role: new(im.GroupMemberRole_GROUP_MEMBER_ROLE_NORMAL)})},
		{"set attributes", made(public), im.Method_SET_ATTRIBUTES, just(attributes(0, im.AttributesAction_ATTRIBUTES_INIT, kv)),
			byBob(im.Method_SET_ATTRIBUTES, attributes(1, im.AttributesAction_ATTRIBUTES_SET, &im.GroupAttributes{Key: "k", Value: "bob's"}))},
		{"delete an attribute", withKV, im.Method_SET_ATTRIBUTES, just(attributes(1, im.AttributesAction_ATTRIBUTES_DELETE, kv)),
			byBob(im.Method_SET_ATTRIBUTES, attributes(2, im.AttributesAction_ATTRIBUTES_SET, kv))},
		{"clear attributes", withKV, im.Method_SET_ATTRIBUTES, just(attributes(1, im.AttributesAction_ATTRIBUTES_DELETE)),
			byBob(im.Method_SET_ATTRIBUTES, attributes(2, im.AttributesAction_ATTRIBUTES_SET, kv))},
		{"handle a request", func(n *node, ann, bob, eve *conn) {
			made(public)(n, ann, bob, eve)
			did(eve, im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("g")})
		}, im.Method_HANDLE_GROUP_REQUEST, func(ann *conn) im.Body {
			var list im.GroupPendencyResult
			ann.call(im.Method_GROUP_REQUESTS, &im.GroupRequestsRequest{}, 0, &list)
			return &im.HandleGroupRequest{Pendency: list.PendencyArray[0], Accept: true}
		}, byEve(im.Method_QUIT_GROUP, named("g"))},
		{"requests to groups read", func(n *node, ann, bob, eve *conn) {
			made(public)(n, ann, bob, eve)
			did(eve, im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("g")})
		}, im.Method_READ_GROUP_REQUESTS, just(&im.ReadRequestsRequest{}), byEve(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("g"), Words: "again"})},
		{"transfer", made(public), im.Method_MODIFY_GROUP, just(&im.ModifyGroupRequest{Group: named("g"), Owner: new("bob")}),
			byBob(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("g"), Owner: new("ann")})},
		{"dissolve", made(public), im.Method_DISSOLVE_GROUP, just(named("g")), func(_ *node, _, bob, _ *conn) { bob.create("g", public) }},

		{"profile", nothing, im.Method_SET_PROFILE, just(nick("one")), elsewhere(im.Method_SET_PROFILE, nick("other"))},
		{"add a friend", nothing, im.Method_ADD_FRIEND, just(&im.AddFriendRequest{UserId: "eve", Both: true}),
			byEve(im.Method_DELETE_FRIENDS, &im.UsersRequest{UserIds: []string{"ann"}, Both: true})},
		{"ask", func(_ *node, _, _, eve *conn) { eve.asks(confirm) }, im.Method_ADD_FRIEND, just(&im.AddFriendRequest{UserId: "eve", Both: true, Wording: "it is me"}),
			byEve(im.Method_ANSWER_REQUEST, &im.AnswerRequestRequest{UserId: "ann", Action: 2})},
		{"delete a friend", friends, im.Method_DELETE_FRIENDS, just(&im.UsersRequest{UserIds: []string{"eve"}, Both: true}),
			byEve(im.Method_ADD_FRIEND, &im.AddFriendRequest{UserId: "ann", Both: true})},
		{"remark", friends, im.Method_UPDATE_FRIEND, just(&im.UpdateFriendRequest{UserId: "eve", Remark: new("one")}),
			elsewhere(im.Method_UPDATE_FRIEND, &im.UpdateFriendRequest{UserId: "eve", Remark: new("other")})},
		{"answer", asked, im.Method_ANSWER_REQUEST, just(&im.AnswerRequestRequest{UserId: "eve", Action: 1}),
			byEve(im.Method_DELETE_FRIENDS, &im.UsersRequest{UserIds: []string{"ann"}, Both: true})},
		{"reject", asked, im.Method_ANSWER_REQUEST, just(&im.AnswerRequestRequest{UserId: "eve", Action: 2}), byEve(im.Method_ADD_FRIEND, &im.AddFriendRequest{UserId: "ann"})},
		{"delete a request", asked, im.Method_DELETE_REQUESTS, just(about), byEve(im.Method_ADD_FRIEND, &im.AddFriendRequest{UserId: "ann"})},
		{"requests read", asked, im.Method_READ_REQUESTS, just(&im.ReadRequestsRequest{}), func(_ *node, _, bob, _ *conn) { bob.befriend("ann") }},
		{"block", friends, im.Method_BLOCK, just(about), elsewhere(im.Method_UNBLOCK, about)},
		{"block many", func(n *node, _, _, _ *conn) {
			for _, name := range many {
				if _, err := n.store.CreateUser(n.t.Context(), name); err != nil {
					n.t.Fatal(err)
				}
			}
		}, im.Method_BLOCK, just(&im.UsersRequest{UserIds: many}), elsewhere(im.Method_UNBLOCK, &im.UsersRequest{UserIds: []string{"many3", "many222"}})},
		{"unblock", func(_ *node, ann, _, _ *conn) { did(ann, im.Method_BLOCK, about) }, im.Method_UNBLOCK, just(about), elsewhere(im.Method_BLOCK, about)},
		{"create a friend group", friends, im.Method_FRIEND_GROUPS, just(groups(im.FriendGroupAction_FRIEND_GROUP_CREATE, "", "eve")),
			elsewhere(im.Method_FRIEND_GROUPS, groups(im.FriendGroupAction_FRIEND_GROUP_DELETE, ""))},
		{"delete a friend group", grouped, im.Method_FRIEND_GROUPS, just(groups(im.FriendGroupAction_FRIEND_GROUP_DELETE, "")),
			elsewhere(im.Method_FRIEND_GROUPS, groups(im.FriendGroupAction_FRIEND_GROUP_CREATE, ""))},
		{"rename a friend group", grouped, im.Method_FRIEND_GROUPS, just(groups(im.FriendGroupAction_FRIEND_GROUP_RENAME, "y")),
			elsewhere(im.Method_FRIEND_GROUPS, groups(im.FriendGroupAction_FRIEND_GROUP_CREATE, ""))},
		{"put into a friend group", grouped, im.Method_FRIEND_GROUPS, just(groups(im.FriendGroupAction_FRIEND_GROUP_ADD, "", "eve")),
			elsewhere(im.Method_FRIEND_GROUPS, groups(im.FriendGroupAction_FRIEND_GROUP_REMOVE, "", "eve"))},
	}
}

// TestCallsAreMadeOnce: a call whose reply was lost with its connection is sent again on the next one, after somebody else has changed the same. It has the reply
// of its first copy, nobody is told anything, and everything is as the other one has made it.
func TestCallsAreMadeOnce(t *testing.T) {
	for _, db := range []string{"sqlite", "postgres"} {
		t.Run(db, func(t *testing.T) {
			for _, x := range changesOnce() {
				t.Run(x.name, func(t *testing.T) {
					o := options{chat: chat.Config{Notify: true}}
					if db == "postgres" {
						o.dsn = pgtest.DSN(t)
					}
					callOnce(t, start(t, o), x)
				})
			}
		})
	}
}

func callOnce(t *testing.T, n *node, x changeOnce) {
	const run = 4711
	ann, bob, eve := n.login(device{user: "ann", groups: true, run: run}), n.member("bob"), n.member("eve")
	x.first(n, ann, bob, eve)
	req := x.req(ann)
	first := ann.await(ann.begin(x.m, req))
	if first.Code != 0 {
		t.Fatalf("%s is answered %d (%s)", x.m, first.Code, first.Desc)
	}
	made := ann.made
	x.then(n, ann, bob, eve)
	back := n.login(device{user: "ann", groups: true, run: run, resume: true, generation: ann.reply.Generation})
	back.id, back.made = ann.id, made
	all := []*conn{back, bob, eve}
	for _, c := range all {
		n.toldSoFar(c)
	}
	users, groups := []string{"ann", "bob", "eve"}, []string{"g"}
	before := n.stored(users, groups)
	again := back.resend(x.m, req)
	if again.Code != 0 || string(again.Body) != string(first.Body) {
		t.Errorf("%s, sent again, is answered %d (%s) %x, and was answered %x", x.m, again.Code, again.Desc, again.Body, first.Body)
	}
	for _, c := range all {
		if words := n.toldSoFar(c); len(words) > 0 {
			t.Errorf("%s, sent again, told %q", x.m, words)
		}
	}
	if after := n.stored(users, groups); after != before {
		t.Errorf("%s, sent again, changes\n%s\nto\n%s", x.m, before, after)
	}
	// Under another id it is another call: that is not what the first copy was answered, or it changes something.
	clear(back.made)
	other := back.resend(x.m, req)
	if after := n.stored(users, groups); other.Code == 0 && string(other.Body) == string(first.Body) && after == before {
		t.Errorf("%s, made again, has the reply of the first one and changes nothing: this tests nothing", x.m)
	}
}

// TestCallUnderWay: a call that is sent again at another server, while its first copy waits for the before-hook at the first one, is made once; and once it is made,
// the hook is not asked about it.
func TestCallUnderWay(t *testing.T) {
	asked, let := make(chan struct{}, 10), make(chan struct{}, 10)
	o := options{dsn: pgtest.DSN(t), chat: chat.Config{Hooks: hook.Set{
		GroupBeforeApplyJoinGroup: func(context.Context, *hook.GroupBeforeApplyJoinGroup, hook.Source) hook.GroupBeforeApplyJoinGroupVerdict {
			asked <- struct{}{}
			<-let
			return hook.GroupBeforeApplyJoinGroupVerdict{}
		},
	}}}
	n, other := start(t, o), start(t, o)
	ann := n.member("ann")
	ann.create("g", meeting)
	bob := n.login(device{user: "bob", groups: true, run: 1})
	join := &im.JoinGroupRequest{Group: named("g")}
	id := bob.begin(im.Method_JOIN_GROUP, join)
	<-asked
	back := other.login(device{user: "bob", groups: true, run: 1, resume: true, generation: bob.reply.Generation})
	back.write(back.frame(id, im.Method_JOIN_GROUP, join, true))
	<-asked // nothing is made yet
	let <- struct{}{}
	let <- struct{}{}
	bob.await(id) // whichever comes second; the client has given this connection up
	for _, f := range []*im.Frame{back.await(id), back.resend(im.Method_JOIN_GROUP, join)} {
		if f.Code != 0 || len(f.Body) == 0 {
			t.Errorf("the call is answered %d (%s) %x", f.Code, f.Desc, f.Body)
		}
	}
	if len(asked) > 0 {
		t.Error("the hook is asked about a call that is made")
	}
	cv, err := n.store.Group(t.Context(), "g")
	if err != nil || cv.Members != 2 || cv.MemberSet != 2 {
		t.Errorf("%+v, %v", cv, err)
	}
}

// TestAnotherCallOfTheID: an id names one call of a run. Another one under it is refused and changes nothing, whether it says that it is sent again or not.
func TestAnotherCallOfTheID(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		ann := n.member("ann")
		ann.create("g", public)
		name := func(s string) im.Body { return &im.ModifyGroupRequest{Group: named("g"), Name: &s} }
		id := ann.begin(im.Method_MODIFY_GROUP, name("one"))
		if f := ann.await(id); f.Code != 0 {
			t.Fatal(f.Desc)
		}
		before := n.stored([]string{"ann"}, []string{"g"})
		for _, resent := range []bool{true, false} {
			ann.write(ann.frame(id, im.Method_MODIFY_GROUP, name("two"), resent))
			if f := ann.await(id); f.Code != im.CodeInvalidParameters {
				t.Errorf("another call under the id is answered %d", f.Code)
			}
			ann.write(ann.frame(id, im.Method_DISSOLVE_GROUP, named("g"), resent))
			if f := ann.await(id); f.Code != im.CodeInvalidParameters {
				t.Errorf("a call of another method under the id is answered %d", f.Code)
			}
		}
		if after := n.stored([]string{"ann"}, []string{"g"}); after != before {
			t.Errorf("%s\nis now\n%s", before, after)
		}
	})
}

// interrupted is a store in which one transaction about that many rows fails.
type interrupted struct {
	chat.Store
	rows int
	over atomic.Bool
}

func (s *interrupted) Update(ctx context.Context, keys []chat.Key, fn func(chat.Tx) error) error {
	if len(keys) == s.rows && s.over.CompareAndSwap(false, true) {
		return chat.ErrAway
	}
	return s.Store.Update(ctx, keys, fn)
}

// TestCallInParts: a call of several transactions of which the last failed goes on behind those that were made, when it is sent again: what another device has
// changed of them stays, and each user has the result of their part.
func TestCallInParts(t *testing.T) {
	o := options{wrap: func(s chat.Store) chat.Store { return &interrupted{Store: s, rows: 51} }}
	onBoth(t, o, func(t *testing.T, n *node) {
		var users []string
		for i := range 250 {
			users = append(users, fmt.Sprint("user", i))
			if _, err := n.store.CreateUser(t.Context(), users[i]); err != nil {
				t.Fatal(err)
			}
		}
		ann := n.login(device{user: "ann", groups: true, run: 1})
		block := &im.UsersRequest{UserIds: users}
		ann.call(im.Method_BLOCK, block, im.CodeServerInternal, nil)
		pad := n.login(device{user: "ann", device: "pad", platform: im.Platform_PLATFORM_PAD, groups: true})
		did(pad, im.Method_UNBLOCK, &im.UsersRequest{UserIds: []string{"user3", "user150"}})
		back := n.login(device{user: "ann", groups: true, run: 1, resume: true, generation: ann.reply.Generation})
		back.id, back.made = ann.id, ann.made
		var results im.FriendResults
		if f := back.resend(im.Method_BLOCK, block); f.Code != 0 || results.UnmarshalVT(f.Body) != nil || len(results.Results) != len(users) {
			t.Fatalf("sent again, it is answered %d (%s)", f.Code, f.Desc)
		}
		for i, r := range results.Results {
			if r.Code != 0 || r.Identifier != users[i] {
				t.Errorf("result %d is %v", i, r)
			}
		}
		me, err := n.store.UserByName(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if rows, err := n.store.Relations(t.Context(), me.UID, im.RelationKind_RELATION_BLOCKED, 0, 1000); err != nil || len(rows) != len(users)-2 {
			t.Errorf("%d are blocked, %v", len(rows), err)
		}
	})
}
