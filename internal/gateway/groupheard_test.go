package gateway

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/hook"
)

// isBehind waits until a device is made to ask for what is new.
func (n *node) isBehind(c *conn) {
	c.t.Helper()
	until(c.t, "a push that makes the device ask", func() bool { return slices.Equal(n.toldSoFar(c), []string{"BEHIND"}) })
}

// TestModifyInGroupAndTheHook: the hook that is asked about messages between two people learns nothing of what is in a group, and its verdict gives nobody a
// message that is not theirs.
func TestModifyInGroupAndTheHook(t *testing.T) {
	onBoth(t, options{chat: chat.Config{Hooks: asking(func(_ context.Context, d *draft) verdict {
		t.Errorf("the hook was asked about %q", d.text())
		return verdict{Drop: true}
	})}}, func(t *testing.T, n *node) {
		ann, bob, eve := n.member("ann"), n.member("bob"), n.member("eve")
		epoch := ann.create("g", work, "bob")
		ann.say("g", "secret", 0)
		nothing := &im.ModifyRequest{Conv: groupKey("g"), Epoch: epoch, Seq: 2, Message: &im.Message{}}
		eve.call(im.Method_MODIFY, nothing, im.CodeNotMember, nil)
		bob.call(im.Method_MODIFY, nothing, im.CodeNotMember, nil)
		ann.call(im.Method_MODIFY, &im.ModifyRequest{Conv: groupKey("g"), Epoch: epoch, Seq: 2, Message: text("changed")}, 0, nil)
		if got := bob.groupLog("g", epoch, 2, 2, false, 0); !slices.Equal(got, []string{"2 ann: changed"}) {
			t.Errorf("the log has %q", got)
		}
	})
}

// TestAddressees: a sender who addresses themselves, too, has the message once, and an addressee who is no member any more is not told what becomes of it.
func TestAddressees(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		ann, bob, carol, dave := n.member("ann"), n.member("bob"), n.member("carol"), n.member("dave")
		pad := n.login(device{user: "ann", device: "pad", platform: im.Platform_PLATFORM_PAD, groups: true})
		all := []*conn{ann, pad, bob, carol, dave}
		epoch := ann.create("t", public, "bob", "carol", "dave")
		for _, c := range all {
			n.toldSoFar(c)
		}
		req := ann.request("x", "secret")
		req.Conv, req.Message.TargetGroupMemberArray = groupKey("t"), []string{"ann", "bob", "ann", "carol", "bob"}
		ann.call(im.Method_SEND, req, 0, nil)
		n.hears(ann)
		n.hears(pad, "2 ann: secret")
		n.hears(bob, "2 ann: secret")
		n.hears(dave, "2 void")
		bob.call(im.Method_QUIT_GROUP, named("t"), 0, nil)
		carol.call(im.Method_QUIT_GROUP, named("t"), 0, nil)
		dave.say("t", "in between", 0)
		n.invited(ann, "t", "carol")
		for _, c := range all {
			n.toldSoFar(c)
		}
		ann.call(im.Method_MODIFY, &im.ModifyRequest{Conv: groupKey("t"), Epoch: epoch, Seq: 2, Message: text("again")}, 0, nil)
		n.hears(ann, "change 1 of kind 2")
		n.hears(pad, "change 1 of kind 2")
		n.hears(bob)
		n.hears(dave, "change 1 of kind 0")
		n.isBehind(carol) // who has the message from before
		var changes im.ChangesReply
		carol.call(im.Method_CHANGES, &im.ChangesRequest{Conv: groupKey("t"), Epoch: epoch, From: 1, To: 1}, 0, &changes)
		if len(changes.Changes) != 1 || textOf(changes.Changes[0].Message) != "again" {
			t.Errorf("carol's changes are %v", &changes)
		}
		ann.call(im.Method_REVOKE, &im.RevokeRequest{Conv: groupKey("t"), Epoch: epoch, Seq: 2}, 0, nil)
		n.hears(bob)
		n.hears(dave, "change 2 of kind 0")
	})
}

// invited makes a user a member of a group of type Public by their request.
func (n *node) invited(owner *conn, group, user string) {
	n.t.Helper()
	owner.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named(group), ApproveOption: new(im.GroupAddOption_GROUP_ADD_OPTION_ANY)}, 0, nil)
	var r im.InviteReply
	owner.call(im.Method_INVITE, &im.GroupMembersRequest{Group: named(group), UserIds: []string{user}}, 0, &r)
	if len(r.Results) != 1 || r.Results[0].Result != 1 {
		n.t.Fatalf("invited %v", &r)
	}
}

// TestChangesOfOlderMessages: of what becomes of a message, those hear who have it. Who joined later gets that a number is taken, unless the type shows what was
// before; who was a member before, and may have it, has to ask.
func TestChangesOfOlderMessages(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		ann, bob, late, early := n.member("ann"), n.member("bob"), n.member("late"), n.member("early")
		for _, typ := range []im.GroupType{work, public, meeting, community} {
			id := fmt.Sprint("older ", typ)
			if typ == community {
				id = madeCommunity + id
			}
			epoch := ann.create(id, typ, "bob", "early")
			early.call(im.Method_QUIT_GROUP, named(id), 0, nil)
			cv, err := n.store.Group(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			seq := cv.Seq + 1
			ann.say(id, "before", 0)
			for _, who := range []struct {
				name string
				c    *conn
			}{{"late", late}, {"early", early}} {
				if typ == public || typ == meeting {
					n.invited(ann, id, who.name)
				} else {
					ann.call(im.Method_INVITE, &im.GroupMembersRequest{Group: named(id), UserIds: []string{who.name}}, 0, nil)
				}
			}
			for _, c := range []*conn{bob, late, early} {
				n.toldSoFar(c)
			}
			ann.call(im.Method_MODIFY, &im.ModifyRequest{Conv: groupKey(id), Epoch: epoch, Seq: seq, Message: text("after")}, 0, nil)
			ann.call(im.Method_REVOKE, &im.RevokeRequest{Conv: groupKey(id), Epoch: epoch, Seq: seq}, 0, nil)
			n.hears(bob, "change 1 of kind 2", "change 2 of kind 1")
			if history := typ == meeting || typ == community; history {
				n.hears(late, "change 1 of kind 2", "change 2 of kind 1")
				n.hears(early, "change 1 of kind 2", "change 2 of kind 1")
			} else {
				n.hears(late, "change 1 of kind 0", "change 2 of kind 0")
				until(t, "a push that makes the device ask", func() bool { return slices.Contains(n.toldSoFar(early), "BEHIND") })
			}
			for _, c := range []*conn{late, early} {
				var changes im.ChangesReply
				c.call(im.Method_CHANGES, &im.ChangesRequest{Conv: groupKey(id), Epoch: epoch, From: 1, To: 2}, 0, &changes)
				if history := typ == meeting || typ == community; changes.To != 2 || history != (len(changes.Changes) == 2) || !history && len(changes.Changes) > 0 {
					t.Errorf("in a group of type %d a pull gives %v", typ, &changes)
				}
			}
		}
	})
}

const madeCommunity = "@TGS#_"

// TestToldAfterJoining: what was committed before a login has read the user's groups, and is told after it, is not told to a user whose membership begins behind it.
func TestToldAfterJoining(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		ann := n.member("ann")
		epoch := ann.create("j", work)
		if _, err := n.store.CreateUser(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		n.toldSoFar(ann)
		held, free := make(chan struct{}), make(chan struct{})
		n.store.Deliver(0, func() { close(held); <-free })
		<-held
		req := ann.request("x", "before")
		req.Conv = groupKey("j")
		ann.begin(im.Method_SEND, req)
		until(t, "the message", func() bool {
			cv, err := n.store.Group(t.Context(), "j")
			return err == nil && cv.Seq == 1
		})
		ann.begin(im.Method_INVITE, &im.GroupMembersRequest{Group: named("j"), UserIds: []string{"bob"}})
		ann.begin(im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{Group: named("j"), Action: im.AttributesAction_ATTRIBUTES_SET, Attributes: []*im.GroupAttributes{{Key: "k"}}})
		until(t, "the commits", func() bool {
			cv, err := n.store.Group(t.Context(), "j")
			return err == nil && cv.Members == 2 && cv.Rev == 1
		})
		bob := n.member("bob")
		if len(n.rooms.members(chat.ConvID(epoch))) != 2 {
			t.Error("the login has not read the membership")
		}
		close(free)
		n.hears(bob, "2 tip 1 by ann of bob", "head 2 unread 0 left false", "report 7 by ann", "change 1 of kind 3")
	})
}

// TestMentionOfWhoJoins: a message mentions those who are members when it gets its number: who joined while it was under way is one of them, who joins later is not.
func TestMentionOfWhoJoins(t *testing.T) {
	asked, goOn := make(chan bool, 1), make(chan bool)
	n := start(t, options{chat: chat.Config{Hooks: hook.Set{GroupBeforeSendMsg: func(context.Context, *hook.GroupBeforeSendMsg, hook.Source) (v hook.GroupBeforeSendMsgVerdict) {
		asked <- true
		<-goOn
		return v
	}}}})
	ann, bob, carol := n.member("ann"), n.member("bob"), n.member("carol")
	ann.create("@TGS#_m", community)
	req := ann.request("x", "both of you")
	req.Conv, req.Message.GroupAtUserArray = groupKey("@TGS#_m"), []string{"bob", "carol", "nobody"}
	ann.id++
	ann.write(im.AppendMessage(nil, &im.Frame{Id: ann.id, Method: im.Method_SEND}, req))
	<-asked
	bob.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("@TGS#_m")}, 0, nil)
	close(goOn)
	if f := ann.await(ann.id); f.Code != 0 {
		t.Fatalf("sent: %d %s", f.Code, f.Desc)
	}
	carol.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("@TGS#_m")}, 0, nil)
	for _, x := range []struct {
		c    *conn
		want int
	}{{bob, 1}, {carol, 0}} {
		r := x.c.heads(&im.HeadsRequest{Only: []*im.ConvKey{groupKey("@TGS#_m")}})
		if len(r.Heads) != 1 || len(r.Heads[0].Mentions) != x.want {
			t.Errorf("%v, want %d mentions", r.Heads, x.want)
		}
	}
}

// TestAddresseesWhoJoinAndLeave: a message to some members is for those who are members when it gets its number: not for who was removed while it was under way, but for who has joined. Who joins later
// neither has it nor is told of its recall, also in a type of group whose history they see.
func TestAddresseesWhoJoinAndLeave(t *testing.T) {
	asked, goOn := make(chan bool, 1), make(chan bool)
	onBoth(t, options{chat: chat.Config{Hooks: hook.Set{GroupBeforeSendMsg: func(context.Context, *hook.GroupBeforeSendMsg, hook.Source) (v hook.GroupBeforeSendMsgVerdict) {
		asked <- true
		<-goOn
		return v
	}}}}, func(t *testing.T, n *node) {
		ann, out, in, again, late, eve := n.member("ann"), n.member("out"), n.member("in"), n.member("again"), n.member("late"), n.member("eve")
		epoch := ann.create("m", meeting, "out", "again", "eve")
		req := ann.request("x", "secret")
		req.Conv, req.Message.TargetGroupMemberArray = groupKey("m"), []string{"out", "in", "again", "late", "nobody"}
		ann.id++
		ann.write(im.AppendMessage(nil, &im.Frame{Id: ann.id, Method: im.Method_SEND}, req))
		<-asked
		sending := ann.id
		join := func(c *conn) {
			t.Helper()
			c.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("m")}, 0, nil)
		}
		out.call(im.Method_QUIT_GROUP, named("m"), 0, nil)
		again.call(im.Method_QUIT_GROUP, named("m"), 0, nil)
		join(again)
		join(in)
		for _, c := range []*conn{out, in, again, eve} {
			n.toldSoFar(c)
		}
		goOn <- true
		if f := ann.await(sending); f.Code != 0 {
			t.Fatalf("sent: %d %s", f.Code, f.Desc)
		}
		n.hears(in, "1 ann: secret")
		n.hears(again, "1 ann: secret")
		n.hears(out)
		n.hears(eve, "1 void")
		join(late)
		n.toldSoFar(late)
		for i, c := range []*conn{in, again, eve, late} {
			if got := c.groupLog("m", epoch, 1, 1, true, 0); slices.Equal(got, []string{"1 ann: secret"}) != (i < 2) {
				t.Errorf("log %d has %q", i, got)
			}
		}
		ann.call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("m"), UserId: "late", Role: new(im.GroupMemberRole_GROUP_MEMBER_ROLE_ADMIN)}, 0, nil)
		late.call(im.Method_REVOKE, &im.RevokeRequest{Conv: groupKey("m"), Epoch: epoch, Seq: 1}, im.CodeGroupNoMessage, nil)
		n.toldSoFar(late)
		ann.call(im.Method_REVOKE, &im.RevokeRequest{Conv: groupKey("m"), Epoch: epoch, Seq: 1}, 0, nil)
		n.hears(in, "change 1 of kind 1")
		n.hears(late, "change 1 of kind 0")
		n.hears(out)
		n.hears(eve, "change 1 of kind 0")
		var changes im.ChangesReply
		late.call(im.Method_CHANGES, &im.ChangesRequest{Conv: groupKey("m"), Epoch: epoch, From: 1, To: 1}, 0, &changes)
		if len(changes.Changes) > 0 {
			t.Errorf("changes of who joined later: %v", &changes)
		}
	})
}
