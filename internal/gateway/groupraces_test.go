package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// together makes calls on connections at once, and returns their codes.
func together(calls ...func() (*conn, uint64)) []int32 {
	type pending struct {
		c  *conn
		id uint64
	}
	var all []pending
	for _, begin := range calls {
		c, id := begin()
		all = append(all, pending{c, id})
	}
	codes := make([]int32, len(all))
	for i, p := range all {
		codes[i] = p.c.await(p.id).Code
	}
	return codes
}

func (c *conn) calling(m im.Method, req im.Body) func() (*conn, uint64) {
	return func() (*conn, uint64) { return c, c.begin(m, req) }
}

// tips counts the tips of a type in the log of a group.
func (n *node) tips(c *conn, id string, epoch uint64, typ im.GroupTipType) (count int) {
	c.t.Helper()
	for _, words := range c.groupLog(id, epoch, 1, n.toldUpTo(id), false, 0) {
		if _, tip, _ := strings.Cut(words, " "); strings.HasPrefix(tip, fmt.Sprintf("tip %d ", typ)) {
			count++
		}
	}
	return count
}

func (n *node) rolesOf(id string) (owner chat.UID, roles map[int32]int, members uint64) {
	n.t.Helper()
	cv, err := n.store.Group(n.t.Context(), id)
	if err != nil {
		n.t.Fatal(err)
	}
	rows, err := n.store.Members(n.t.Context(), cv.ID)
	if err != nil {
		n.t.Fatal(err)
	}
	roles = map[int32]int{}
	for _, m := range rows {
		roles[m.Role]++
		if m.Role == chat.RoleOwner {
			owner = m.UID
		}
	}
	if owner != cv.Owner || cv.Members != uint64(len(rows)) {
		n.t.Errorf("the group has owner %d and %d members; there are %d, and the owner is %d", cv.Owner, cv.Members, len(rows), owner)
	}
	return owner, roles, cv.Members
}

// TestGroupCallsAtOnce: of two calls that cannot both be made, one is, and the other is refused; the rows agree, and there is a tip for each change.
func TestGroupCallsAtOnce(t *testing.T) {
	rounds := soak.Pick(5, 200)
	onBoth(t, options{}, func(t *testing.T, n *node) {
		ann, bob, carol, dave := n.member("ann"), n.member("bob"), n.member("carol"), n.member("dave")
		pad := n.login(device{user: "ann", device: "pad", platform: im.Platform_PLATFORM_PAD, groups: true})
		for i := range rounds {
			id := fmt.Sprint("r", i)
			epoch := ann.create(id, public, "bob", "carol")
			to := func(user string) *im.ModifyGroupRequest {
				return &im.ModifyGroupRequest{Group: named(id), Owner: &user}
			}
			codes := together(ann.calling(im.Method_MODIFY_GROUP, to("bob")), pad.calling(im.Method_MODIFY_GROUP, to("carol")))
			slices.Sort(codes)
			if !slices.Equal(codes, []int32{0, im.CodeNotMember}) {
				t.Fatalf("two transfers are answered %v", codes)
			}
			if _, roles, _ := n.rolesOf(id); roles[chat.RoleOwner] != 1 {
				t.Fatalf("there are %d owners", roles[chat.RoleOwner])
			}
			if tips := n.tips(ann, id, epoch, im.GroupTipType_GROUP_TIP_TYPE_GROUP_INFO_CHANGE); tips != 1 {
				t.Fatalf("the new owner is told %d times", tips)
			}

			id = fmt.Sprint("q", i)
			epoch = ann.create(id, public, "bob", "carol")
			ann.appoint(id, "bob")
			ann.appoint(id, "carol")
			dave.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named(id)}, 0, nil)
			var list im.GroupPendencyResult
			bob.call(im.Method_GROUP_REQUESTS, &im.GroupRequestsRequest{}, 0, &list)
			answer := &im.HandleGroupRequest{Pendency: list.PendencyArray[0], Accept: true}
			refusal := &im.HandleGroupRequest{Pendency: list.PendencyArray[0]}
			codes = together(bob.calling(im.Method_HANDLE_GROUP_REQUEST, answer), carol.calling(im.Method_HANDLE_GROUP_REQUEST, answer), ann.calling(im.Method_HANDLE_GROUP_REQUEST, refusal))
			slices.Sort(codes)
			if !slices.Equal(codes, []int32{0, im.CodeRequestAnswered, im.CodeRequestAnswered}) {
				t.Fatalf("three answers are answered %v", codes)
			}
			_, _, members := n.rolesOf(id)
			joins := n.tips(ann, id, epoch, im.GroupTipType_GROUP_TIP_TYPE_INVITE)
			if members != uint64(2+joins) {
				t.Fatalf("%d members, and %d tips about joining", members, joins)
			}

			kick := func(users ...string) *im.GroupMembersRequest {
				return &im.GroupMembersRequest{Group: named(id), UserIds: users}
			}
			codes = together(bob.calling(im.Method_KICK_MEMBERS, kick("carol", "bob")), carol.calling(im.Method_KICK_MEMBERS, kick("bob")),
				ann.calling(im.Method_KICK_MEMBERS, kick("carol", "bob")), pad.calling(im.Method_KICK_MEMBERS, kick("bob", "carol")))
			if codes[2] != 0 || codes[3] != 0 || codes[0] != 0 && codes[0] != im.CodeNotMember || codes[1] != 0 && codes[1] != im.CodeNotMember {
				t.Fatalf("kicks are answered %v", codes)
			}
			if _, roles, left := n.rolesOf(id); left != members-2 || roles[chat.RoleAdmin] != 0 {
				t.Fatalf("%d of %d members are left, with %d admins", left, members, roles[chat.RoleAdmin])
			}
			if tips := n.tips(ann, id, epoch, im.GroupTipType_GROUP_TIP_TYPE_KICK); tips != 1 {
				t.Fatalf("the kicks are told %d times", tips)
			}
		}
	})
}

// TestOneGroupOfAnID: of many calls that make a group of an id at once, one makes it.
func TestOneGroupOfAnID(t *testing.T) {
	each := soak.Pick(10, 50)
	onBoth(t, options{}, func(t *testing.T, n *node) {
		var calls []func() (*conn, uint64)
		var users []*conn
		for i := range 20 {
			users = append(users, n.member(fmt.Sprint("u", i)))
		}
		for range each {
			for i, c := range users {
				req := &im.CreateGroupRequest{GroupId: "once", Name: "n", Members: []*im.GroupMemberInfo{{Identifier: fmt.Sprint("u", (i+1)%20)}, {Identifier: fmt.Sprint("u", (i+7)%20)}}}
				calls = append(calls, c.calling(im.Method_CREATE_GROUP, req))
			}
		}
		made, own := 0, 0
		for _, code := range together(calls...) {
			switch code {
			case 0:
				made++
			case im.CodeGroupIDOwn:
				own++
			case im.CodeGroupIDTaken:
			default:
				t.Fatalf("answered %d", code)
			}
		}
		if made != 1 || own != each-1 {
			t.Errorf("%d groups were made, and %d calls are told that it is the caller's", made, own)
		}
		if _, _, members := n.rolesOf("once"); members != 3 {
			t.Errorf("the group has %d members", members)
		}
	})
}

// TestDissolveWhileSending: of what members send while a group ends, what came first is numbered, and the rest is refused. A later group of the id has none of it.
func TestDissolveWhileSending(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		const members, each = 10, 20
		ann := n.member("ann")
		var names []string
		var all []*conn
		for i := range members {
			names = append(names, fmt.Sprint("m", i))
			all = append(all, n.member(names[i]))
		}
		epoch := ann.create("d", public, names...)
		var sent [members][]uint64
		for k := range each {
			for i, c := range all {
				req := c.request("x", fmt.Sprint(k))
				req.Conv = groupKey("d")
				sent[i] = append(sent[i], c.begin(im.Method_SEND, req))
			}
			if k == each/2 {
				ann.call(im.Method_DISSOLVE_GROUP, named("d"), 0, nil)
			}
		}
		stored := 0
		for i, c := range all {
			over := false
			for k, id := range sent[i] {
				switch f := c.await(id); {
				case f.Code == 0 && !over:
					stored++
				case f.Code == im.CodeNoGroup:
					over = true
				default:
					t.Fatalf("message %d is answered %d (%s), and one before it was refused: %v", k, f.Code, f.Desc, over)
				}
			}
		}
		old, err := n.store.Conv(t.Context(), chat.ConvID(epoch))
		if err != nil || old.Seq != uint64(stored+1) {
			t.Errorf("%d messages are answered, and the log ends at %d (%v)", stored, old.Seq, err)
		}
		again := ann.create("d", public, names...)
		all[0].say("d", "first", 0)
		if got := ann.groupLog("d", again, 1, 2, false, 0); len(got) != 2 || got[1] != "2 m0: first" {
			t.Errorf("the new log is %q", got)
		}
	})
}

// TestMutedInFlight: of messages that are queued when their sender is muted or removed, those before it are numbered, in their order, and none of the others.
func TestMutedInFlight(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		ann, bob := n.member("ann"), n.member("bob")
		for _, x := range []struct {
			id   string
			code int32
			m    im.Method
			req  im.Body
		}{
			{"muted", im.CodeMuted, im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("muted"), UserId: "bob", Mute: new(uint64(600))}},
			{"all", im.CodeMuted, im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("all"), ShutupAll: new(true)}},
			{"kicked", im.CodeNotMember, im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("kicked"), UserIds: []string{"bob"}}},
		} {
			epoch := ann.create(x.id, public, "bob")
			bob.say(x.id, "first", 0)
			var calls []uint64
			for i := range 100 {
				if i == 40 {
					ann.begin(x.m, x.req)
				}
				req := bob.request("x", fmt.Sprint(i))
				req.Conv = groupKey(x.id)
				calls = append(calls, bob.begin(im.Method_SEND, req))
			}
			stored, refused := 0, 0
			for i, id := range calls {
				f := bob.await(id)
				switch {
				case f.Code == 0 && refused == 0:
					stored++
				case f.Code == x.code:
					refused++
				default:
					t.Fatalf("%s: message %d: %d after %d refused ones", x.id, i, f.Code, refused)
				}
			}
			var got, want []string
			for _, words := range ann.groupLog(x.id, epoch, 3, n.toldUpTo(x.id), false, 0) {
				if _, said, ok := strings.Cut(words, "bob: "); ok {
					got = append(got, said)
				}
			}
			for i := range stored {
				want = append(want, fmt.Sprint(i))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: the log has %q, and %d were answered", x.id, got, stored)
			}
		}
	})
}

// TestRoomsStaySmall: what a gateway knows of groups goes with the users, the memberships and the groups.
func TestRoomsStaySmall(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		size := func() [3]int {
			n.rooms.mu.Lock()
			defer n.rooms.mu.Unlock()
			in := 0
			for _, u := range n.rooms.users {
				in += len(u.in) + len(u.changed)
			}
			return [3]int{len(n.rooms.users), len(n.rooms.groups) + len(n.rooms.loading), in}
		}
		ann, bob := n.member("ann"), n.member("bob")
		ann.create("stays", community2, "bob")
		for i := range soak.Pick(20, 2000) {
			id := fmt.Sprint("g", i%3)
			ann.create(id, public, "bob")
			ann.call(im.Method_DISSOLVE_GROUP, named(id), 0, nil)
			bob.call(im.Method_QUIT_GROUP, named("stays"), 0, nil)
			bob.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("stays")}, 0, nil)
			carol := n.member("carol")
			carol.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("stays")}, 0, nil)
			if i%2 == 0 {
				carol.call(im.Method_LOGOUT, &im.Empty{}, 0, nil)
			}
			carol.ws.CloseNow()
			until(t, "the end of the connection", func() bool { return n.Sessions() == 2 })
			ann.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("stays"), UserIds: []string{"carol"}}, 0, nil)
		}
		n.deliveredTo(ann)
		if got := size(); got != [3]int{2, 1, 2} {
			t.Errorf("with two users in a group, there are %d users, %d groups and %d memberships", got[0], got[1], got[2])
		}
		ann.ws.CloseNow()
		bob.ws.CloseNow()
		until(t, "the end of all connections", func() bool { return size() == [3]int{} })
	})
}

const community2 = im.GroupType_GROUP_TYPE_MEETING // everybody may join it

// TestOverWhileLoading: a group that ends while a login reads the user's groups is not known afterwards.
func TestOverWhileLoading(t *testing.T) {
	var r rooms
	r.init()
	err := r.hold(t.Context(), 1, func(context.Context, chat.UID) ([]chat.GroupOf, error) {
		r.over(7)
		return []chat.GroupOf{{Conv: 7, MemberSet: 3}, {Conv: 8, MemberSet: 3}}, nil
	})
	if err != nil || len(r.members(7)) != 0 || len(r.members(8)) != 1 || len(r.loading) != 0 {
		t.Errorf("after the login: %v, %v, %v", err, r.members(7), r.members(8))
	}
}

// TestIDUsedAgain: what a device has of a dissolved group, and still sends to it, does not reach a later group of the id.
func TestIDUsedAgain(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		ann, bob := n.member("ann"), n.member("bob")
		old := ann.create("again", public, "bob")
		first := bob.request("x", "first")
		first.Conv, first.Epoch = groupKey("again"), old
		var was, now im.SendReply
		bob.call(im.Method_SEND, first, 0, &was)
		ann.call(im.Method_DISSOLVE_GROUP, named("again"), 0, nil)
		if f := bob.resend(im.Method_SEND, first); f.Code != 0 || now.UnmarshalVT(f.Body) != nil || now.Entry.Seq != was.Entry.Seq || now.Epoch != old {
			t.Errorf("what was stored before the group ended is answered %d: %v", f.Code, &now)
		}
		epoch := ann.create("again", public, "bob")
		late := bob.request("x", "late")
		late.Conv, late.Epoch, late.Random = groupKey("again"), old, 1<<20
		bob.call(im.Method_SEND, late, im.CodeNoGroup, nil)
		now.Reset()
		if f := bob.resend(im.Method_SEND, first); f.Code != 0 || now.UnmarshalVT(f.Body) != nil || now.Entry.Seq != was.Entry.Seq || now.Epoch != old {
			t.Errorf("with another group of the id it is answered %d: %v", f.Code, &now)
		}
		for e, want := range map[uint64]uint64{old: was.Entry.Seq, epoch: 0, epoch + 100: 0} {
			var found im.LookupReply
			bob.call(im.Method_LOOKUP, &im.LookupRequest{Keys: []*im.SendKey{{Conv: groupKey("again"), ClientTime: first.ClientTime, Random: first.Random, Epoch: e}}}, 0, &found)
			if found.Found[0].GetEntry().GetSeq() != want {
				t.Errorf("looked up with epoch %d: %v", e, &found)
			}
		}
		for _, x := range []struct {
			m   im.Method
			req im.Body
		}{
			{im.Method_PULL, &im.PullRequest{Conv: groupKey("again"), Epoch: old, From: 1, To: 1}},
			{im.Method_CHANGES, &im.ChangesRequest{Conv: groupKey("again"), Epoch: old, From: 1, To: 1}},
			{im.Method_READ, &im.ReadRequest{Positions: []*im.ReadPosition{{Conv: groupKey("again"), Epoch: old, Seq: 1}}}},
			{im.Method_REVOKE, &im.RevokeRequest{Conv: groupKey("again"), Epoch: old, Seq: 2}},
		} {
			bob.call(x.m, x.req, im.CodeResync, nil)
		}
		for _, m := range []im.Method{im.Method_QUIT_GROUP, im.Method_DISSOLVE_GROUP, im.Method_ATTRIBUTES} {
			bob.call(m, &im.GroupRequest{GroupId: "again", Epoch: old}, im.CodeNoGroup, nil)
		}
		if got := ann.groupLog("again", epoch, 1, n.toldUpTo("again"), false, 0); len(got) != 1 {
			t.Errorf("the new log is %q", got)
		}
	})
}
