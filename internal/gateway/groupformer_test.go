package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// resend makes a call as a client does that has lost the reply to it: the last one that was the same, if there was one.
func (c *conn) resend(m im.Method, req im.Body) *im.Frame {
	c.t.Helper()
	id := c.made[nameOf(m, req)]
	if id == 0 {
		c.id++
		id = c.id
	}
	c.write(c.frame(id, m, req, true))
	return c.await(id)
}

func (c *conn) sayTo(group, words string) *im.SendReply {
	c.t.Helper()
	req := c.request("x", words)
	req.Conv = groupKey(group)
	r := &im.SendReply{}
	c.call(im.Method_SEND, req, 0, r)
	return r
}

func (c *conn) appoint(group, user string) {
	c.t.Helper()
	c.call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named(group), UserId: user, Role: new(im.GroupMemberRole_GROUP_MEMBER_ROLE_ADMIN)}, 0, nil)
}

// TestNoMember: who is no member has no rights, whatever they were before, and learns nothing of how far the log goes.
func TestNoMember(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		ann, adam, carol, eve := n.member("ann"), n.member("adam"), n.member("carol"), n.member("eve")
		n.member("bob")
		epoch := ann.create("g", public, "adam", "carol", "bob")
		ann.appoint("g", "adam")
		ann.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("g"), UserIds: []string{"adam"}}, 0, nil)
		carol.call(im.Method_QUIT_GROUP, named("g"), 0, nil)
		end := n.toldUpTo("g") - 1 // carol does not see the tip about herself
		for range 5 {
			ann.say("g", "secret", 0)
		}
		key := groupKey("g")
		for _, who := range []*conn{adam, eve} {
			for _, req := range []*im.ModifyMemberRequest{
				{NameCard: new("x")}, {Custom: []*im.GroupMemberInfoCustomString{{Key: "k", Value: "v"}}}, {}, {RecvOpt: new(int32(1))}, {Mute: new(uint64(1))},
			} {
				req.Group, req.UserId = named("g"), "bob"
				who.call(im.Method_MODIFY_MEMBER, req, im.CodeNotMember, nil)
			}
			who.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("g"), UserIds: []string{"bob"}}, im.CodeNotMember, nil)
		}
		for _, number := range []uint64{1, end + 1, end + 100} {
			for m, req := range map[im.Method]im.Body{
				im.Method_PULL:    &im.PullRequest{Conv: key, Epoch: epoch, From: 1, To: number},
				im.Method_CHANGES: &im.ChangesRequest{Conv: key, Epoch: epoch, From: 1, To: number},
				im.Method_READ:    &im.ReadRequest{Positions: []*im.ReadPosition{{Conv: key, Epoch: epoch, Seq: number}}},
				im.Method_ROW:     &im.RowRequest{Conv: key, Epoch: epoch, ClearedSeq: &number},
				im.Method_DELETE:  &im.DeleteRequest{Conv: key, Epoch: epoch, Seqs: []uint64{number}},
				im.Method_SEQ_AT:  &im.SeqAtRequest{Conv: key, Epoch: epoch, ToTime: 1 << 50},
				im.Method_REVOKE:  &im.RevokeRequest{Conv: key, Epoch: epoch, Seq: number},
				im.Method_MODIFY:  &im.ModifyRequest{Conv: key, Epoch: epoch, Seq: number, Message: text("x")},
			} {
				eve.call(m, req, im.CodeNotMember, nil)
				if m == im.Method_READ || m == im.Method_ROW {
					code := int32(0)
					if number > end {
						code = im.CodeResync
					}
					carol.call(m, req, code, nil)
				}
			}
		}
		if f := eve.call(im.Method_PULL, &im.PullRequest{Conv: key, Epoch: epoch + 1000, From: 1, To: 1}, im.CodeResync, nil); strings.Contains(f.Desc, fmt.Sprint(epoch)+" ") {
			t.Errorf("a stranger is told %q", f.Desc)
		}
		var at im.SeqAtReply
		carol.call(im.Method_SEQ_AT, &im.SeqAtRequest{Conv: key, Epoch: epoch, ToTime: 1 << 50}, 0, &at)
		if at.To != end {
			t.Errorf("carol's log ends at %d, and is said to end at %d", end, at.To)
		}
		r := carol.heads(&im.HeadsRequest{Only: []*im.ConvKey{key}})
		if h := r.Heads[0]; h.Seq != end || h.Unread != 0 || !h.Left {
			t.Errorf("carol's head is %v, and her log ends at %d", h, end)
		}
	})
}

// toldUpTo returns the end of a group's log.
func (n *node) toldUpTo(id string) uint64 {
	n.t.Helper()
	cv, err := n.store.Group(n.t.Context(), id)
	if err != nil {
		n.t.Fatal(err)
	}
	return cv.Seq
}

// TestMembershipOfNothing: the head of a membership during which nothing was said ends where it began, and never moves again.
func TestMembershipOfNothing(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		ann, bob := n.member("ann"), n.member("bob")
		epoch := ann.create("m", meeting)
		for i := range 10 {
			ann.say("m", fmt.Sprint(i), 0)
		}
		for range 2 {
			bob.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("m")}, 0, nil)
			ann.call(im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{Group: named("m"), Ver: n.attributes("m"), Action: im.AttributesAction_ATTRIBUTES_SET, Attributes: []*im.GroupAttributes{{Key: "k", Value: fmt.Sprint(n.attributes("m"))}}}, 0, nil)
			bob.call(im.Method_QUIT_GROUP, named("m"), 0, nil)
		}
		for range 3 {
			ann.say("m", "later", 0)
		}
		ann.call(im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{Group: named("m"), Ver: 2, Action: im.AttributesAction_ATTRIBUTES_DELETE}, 0, nil)
		h := bob.heads(&im.HeadsRequest{Only: []*im.ConvKey{groupKey("m")}}).Heads[0]
		if h.Seq != 10 || h.Rev != 2 || !h.Left {
			t.Errorf("the head is %v", h)
		}
		var changes im.ChangesReply
		bob.call(im.Method_CHANGES, &im.ChangesRequest{Conv: groupKey("m"), Epoch: epoch, From: 1, To: 3}, 0, &changes)
		if len(changes.Changes) != 2 {
			t.Errorf("of the changes that bob was told a pull gives %v", &changes)
		}
	})
}

func (n *node) attributes(id string) uint64 {
	n.t.Helper()
	cv, err := n.store.Group(n.t.Context(), id)
	if err != nil {
		n.t.Fatal(err)
	}
	return cv.AttrVer
}

// TestChangesByMembers: who is muted modifies nothing, an admin does not recall what they do not see, and both owners are told who they are.
func TestChangesByMembers(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		ann, bob := n.member("ann"), n.member("bob")
		epoch := ann.create("g", public, "bob")
		old := bob.sayTo("g", "old")
		modify := &im.ModifyRequest{Conv: groupKey("g"), Epoch: epoch, Seq: old.Entry.Seq, Message: text("loud")}
		mute := func(seconds uint64) {
			ann.call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("g"), UserId: "bob", Mute: &seconds}, 0, nil)
		}
		mute(600)
		bob.call(im.Method_MODIFY, modify, im.CodeMuted, nil)
		mute(0)
		ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("g"), ShutupAll: new(true)}, 0, nil)
		bob.call(im.Method_MODIFY, modify, im.CodeMuted, nil)
		ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("g"), ShutupAll: new(false)}, 0, nil)

		carol := n.member("carol")
		n.invited(ann, "g", "carol")
		ann.appoint("g", "carol")
		revoke := &im.RevokeRequest{Conv: groupKey("g"), Epoch: epoch, Seq: old.Entry.Seq}
		carol.call(im.Method_REVOKE, revoke, im.CodeGroupNoMessage, nil)

		for _, c := range []*conn{ann, carol} {
			n.toldSoFar(c)
		}
		ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("g"), Owner: new("carol")}, 0, nil)
		for c, role := range map[*conn]im.GroupMemberRole{ann: im.GroupMemberRole_GROUP_MEMBER_ROLE_NORMAL, carol: im.GroupMemberRole_GROUP_MEMBER_ROLE_OWNER} {
			n.deliveredTo(c)
			at := slices.IndexFunc(c.pushes, func(f *im.Frame) bool { return f.Method == im.Method_HEAD })
			var h im.Head
			if at < 0 || h.UnmarshalVT(c.pushes[at].Body) != nil || h.Role != role {
				t.Errorf("the head that was pushed has role %d, not %d", h.Role, role)
			}
		}

		// What was done before a reply was lost is done, whatever has happened since.
		own := bob.sayTo("g", "own")
		modify.Seq = own.Entry.Seq
		revoked := bob.sayTo("g", "revoked")
		revoke.Seq = revoked.Entry.Seq
		bob.call(im.Method_MODIFY, modify, 0, nil)
		bob.call(im.Method_REVOKE, revoke, 0, nil)
		carol.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("g"), UserIds: []string{"bob"}}, 0, nil)
		for _, over := range []bool{false, true} {
			if over {
				carol.call(im.Method_DISSOLVE_GROUP, named("g"), 0, nil)
			}
			var m im.ModifyReply
			if f := bob.resend(im.Method_MODIFY, modify); f.Code != 0 || m.UnmarshalVT(f.Body) != nil || m.Change.GetVersion() != 1 {
				t.Errorf("the modification is answered %d: %v", f.Code, &m)
			}
			var r im.RevokeReply
			if f := bob.resend(im.Method_REVOKE, revoke); f.Code != 0 || r.UnmarshalVT(f.Body) != nil || r.Change.GetRev() != 2 {
				t.Errorf("the recall is answered %d: %v", f.Code, &r)
			}
		}
		bob.call(im.Method_MODIFY, &im.ModifyRequest{Conv: groupKey("g"), Epoch: epoch, Seq: own.Entry.Seq, Version: 1, Message: text("more")}, im.CodeNoGroup, nil)
	})
}

// deliveredTo takes the pushes so far.
func (n *node) deliveredTo(c *conn) {
	c.t.Helper()
	told := make(chan struct{})
	n.store.Deliver(chat.ConvID(0), func() { close(told) })
	<-told
	c.call(im.Method_HEARTBEAT, &im.Empty{}, 0, nil)
}
