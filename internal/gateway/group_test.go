package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
)

const (
	public    = im.GroupType_GROUP_TYPE_PUBLIC
	work      = im.GroupType_GROUP_TYPE_WORK
	meeting   = im.GroupType_GROUP_TYPE_MEETING
	community = im.GroupType_GROUP_TYPE_COMMUNITY
)

// member logs a user in with a client that knows groups.
func (n *node) member(user string) *conn {
	n.t.Helper()
	return n.login(device{user: user, groups: true})
}

func groupKey(id string) *im.ConvKey { return &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: id} }

func named(id string) *im.GroupRequest { return &im.GroupRequest{GroupId: id} }

// create makes a group of a type, and takes what its owner is told.
func (c *conn) create(id string, typ im.GroupType, members ...string) uint64 {
	c.t.Helper()
	req := &im.CreateGroupRequest{GroupId: id, Name: "name of " + id, Type: typ}
	for _, m := range members {
		req.Members = append(req.Members, &im.GroupMemberInfo{Identifier: m})
	}
	var reply im.CreateGroupReply
	c.call(im.Method_CREATE_GROUP, req, 0, &reply)
	return reply.Epoch
}

// settle waits until everything that was committed so far has been pushed to c.
func (n *node) settle(c *conn) {
	c.t.Helper()
	told := make(chan struct{})
	n.store.Deliver(0, func() { close(told) })
	<-told
	c.call(im.Method_HEARTBEAT, &im.Empty{}, 0, nil)
}

// toldSoFar takes everything that was pushed so far, as words.
func (n *node) toldSoFar(c *conn) (out []string) {
	c.t.Helper()
	n.settle(c)
	for _, f := range c.pushes {
		out = append(out, wordsOf(c.t, f))
	}
	c.pushes = nil
	return out
}

func wordsOf(t testing.TB, f *im.Frame) string {
	t.Helper()
	read := func(m im.Msg) {
		if err := m.UnmarshalVT(f.Body); err != nil {
			t.Fatal(err)
		}
	}
	switch f.Method {
	case im.Method_ENTRY, im.Method_LIVE:
		var p im.EntryPush
		read(&p)
		return fmt.Sprintf("%d %s", p.Entry.Seq, entryWords(p.Entry))
	case im.Method_HEAD:
		var h im.Head
		read(&h)
		return fmt.Sprintf("head %d unread %d left %v", h.Seq, h.Unread, h.Left)
	case im.Method_FED:
		var p im.FeedPush
		read(&p)
		var all []string
		for _, e := range p.Entries {
			all = append(all, fmt.Sprintf("report %d by %s", e.GetReport().GetReportType(), e.GetReport().GetOpUser()))
		}
		return strings.Join(all, ", ")
	case im.Method_CHANGE:
		var p im.ChangePush
		read(&p)
		return fmt.Sprintf("change %d of kind %d", p.Change.Rev, p.Change.Kind)
	}
	return f.Method.String()
}

func entryWords(e *im.Entry) string {
	if e.Message == nil {
		return "void"
	}
	if tip := e.Message.ElemArray[0].GetGroupTips(); tip != nil {
		words := fmt.Sprintf("tip %d by %s of %s", tip.TipType, tip.OpUser, strings.Join(tip.UserArray, "+"))
		if e.Sender != "@TIM#SYSTEM" || e.Countable {
			words += fmt.Sprintf(", but sent by %s and countable: %v", e.Sender, e.Countable)
		}
		return words
	}
	return e.Sender + ": " + textOf(e.Message)
}

func (n *node) hears(c *conn, want ...string) {
	c.t.Helper()
	if got := n.toldSoFar(c); !slices.Equal(got, want) {
		c.t.Fatalf("heard %q, want %q", got, want)
	}
}

// say sends a text to a group.
func (c *conn) say(group, words string, code int32) {
	c.t.Helper()
	req := c.request("x", words)
	req.Conv = groupKey(group)
	c.call(im.Method_SEND, req, code, nil)
}

// log pulls a range of a group's log, as words.
func (c *conn) groupLog(id string, epoch, from, to uint64, history bool, code int32) (out []string) {
	c.t.Helper()
	var r im.PullReply
	if code != 0 {
		c.call(im.Method_PULL, &im.PullRequest{Conv: groupKey(id), Epoch: epoch, From: from, To: to, History: history}, code, nil)
		return nil
	}
	for from <= to {
		c.call(im.Method_PULL, &im.PullRequest{Conv: groupKey(id), Epoch: epoch, From: from, To: to, History: history}, 0, &r)
		if r.From != from || r.To < from {
			c.t.Fatalf("a pull from %d covers %d to %d", from, r.From, r.To)
		}
		for _, e := range r.Entries {
			out = append(out, fmt.Sprintf("%d %s", e.Seq, entryWords(e)))
		}
		from = r.To + 1
		r = im.PullReply{}
	}
	return out
}

// TestGroupLife: what each member, and who is none, hears and sees of a group from its creation to its end.
func TestGroupLife(t *testing.T) {
	n := start(t, options{})
	ann, bob, carol := n.member("ann"), n.member("bob"), n.member("carol")
	pad := n.login(device{user: "ann", device: "pad", platform: im.Platform_PLATFORM_PAD, groups: true})
	old := n.login(device{user: "bob", device: "old", platform: im.Platform_PLATFORM_WEB})
	epoch := ann.create("g1", public, "bob")
	n.hears(ann, "1 tip 1 by ann of bob", "head 1 unread 0 left false", "report 6 by ann")
	n.hears(pad, "1 tip 1 by ann of bob", "head 1 unread 0 left false", "report 6 by ann")
	n.hears(bob, "1 tip 1 by ann of bob", "head 1 unread 0 left false", "report 7 by ann")
	n.hears(old, "report 7 by ann") // it skips what it does not know, and its feed has no gap
	ann.call(im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: "g1", Name: "again"}, im.CodeGroupIDOwn, nil)
	bob.call(im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: "g1", Name: "again"}, im.CodeGroupIDTaken, nil)

	ann.say("g1", "hi", 0)
	n.hears(ann)
	n.hears(pad, "2 ann: hi")
	n.hears(bob, "2 ann: hi")
	n.hears(old)
	n.hears(carol)
	carol.say("g1", "me too", im.CodeNotMember)
	carol.groupLog("g1", epoch, 1, 2, false, im.CodeNotMember)

	var joined im.JoinGroupReply
	carol.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("g1"), Words: "let me in"}, 0, &joined)
	if !joined.Waits || joined.Epoch != epoch {
		t.Fatalf("joined %v", &joined)
	}
	n.hears(ann, "report 1 by carol")
	n.hears(bob)
	var list im.GroupPendencyResult
	ann.call(im.Method_GROUP_REQUESTS, &im.GroupRequestsRequest{}, 0, &list)
	if list.UnreadNum != 1 || len(list.PendencyArray) != 1 || list.PendencyArray[0].ApplyInviteMsg != "let me in" || list.PendencyArray[0].FormIdentifier != "carol" {
		t.Fatalf("requests %v", &list)
	}
	answer := &im.HandleGroupRequest{Pendency: list.PendencyArray[0], Accept: true, Words: "welcome"}
	bob.call(im.Method_HANDLE_GROUP_REQUEST, answer, im.CodeNotMember, nil)
	ann.call(im.Method_HANDLE_GROUP_REQUEST, answer, 0, nil)
	pad.call(im.Method_HANDLE_GROUP_REQUEST, answer, im.CodeRequestAnswered, nil)
	n.hears(carol, "3 tip 1 by carol of carol", "head 3 unread 0 left false", "report 2 by ann")
	n.hears(bob, "3 tip 1 by carol of carol")
	n.hears(ann, "3 tip 1 by carol of carol")
	if got := carol.groupLog("g1", epoch, 1, 3, false, 0); !slices.Equal(got, []string{"3 tip 1 by carol of carol"}) {
		t.Errorf("carol sees %q", got)
	}

	bob.call(im.Method_REVOKE, &im.RevokeRequest{Conv: groupKey("g1"), Epoch: epoch, Seq: 3}, im.CodeGroupRevokeDenied, nil)
	bob.call(im.Method_REVOKE, &im.RevokeRequest{Conv: groupKey("g1"), Epoch: epoch}, im.CodeGroupNoMessage, nil)

	bob.say("g1", "hello carol", 0)
	n.hears(carol, "4 bob: hello carol")
	ann.call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("g1"), UserId: "carol", Mute: new(uint64(60))}, 0, nil)
	n.hears(carol, "5 tip 7 by ann of carol", "head 5 unread 1 left false", "report 17 by ann")
	carol.say("g1", "but", im.CodeMuted)
	var kick im.KickReply
	bob.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("g1"), UserIds: []string{"carol"}}, im.CodeNotMember, nil)
	ann.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("g1"), UserIds: []string{"carol", "nobody", "dave", "carol"}}, 0, &kick)
	if len(kick.Results) != 3 || kick.Results[0].Result != 1 || kick.Results[1].Result != 0 || kick.Results[2].Result != 0 {
		t.Errorf("kick %v", &kick)
	}
	n.hears(carol, "head 5 unread 0 left true", "report 4 by ann")
	carol.say("g1", "why", im.CodeNotMember)
	bob.say("g1", "gone", 0)
	n.hears(carol)
	if got := carol.groupLog("g1", epoch, 3, 7, false, 0); !slices.Equal(got, []string{"3 tip 1 by carol of carol", "4 bob: hello carol", "5 tip 7 by ann of carol"}) {
		t.Errorf("carol sees %q", got)
	}
	carol.groupLog("g1", epoch, 3, 7, true, im.CodeNotMember)
	n.hears(bob, "5 tip 7 by ann of carol", "6 tip 3 by ann of carol")

	bob.call(im.Method_QUIT_GROUP, named("g1"), 0, nil)
	n.hears(bob, "head 7 unread 0 left true", "report 8 by bob")
	ann.call(im.Method_QUIT_GROUP, named("g1"), im.CodeOwnerMayNotQuit, nil)
	n.toldSoFar(ann)
	ann.call(im.Method_DISSOLVE_GROUP, named("g1"), 0, nil)
	n.hears(ann, "change 1 of kind 4")
	n.hears(bob)
	ann.say("g1", "anybody", im.CodeNoGroup)
	for _, m := range []im.Method{im.Method_ATTRIBUTES, im.Method_ONLINE_COUNT} {
		ann.call(m, named("g1"), im.CodeNoGroup, nil)
	}
	ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("g1"), Name: new("new")}, im.CodeNoGroup, nil)
	if again := ann.create("g1", work); again == epoch {
		t.Errorf("the new group has the old epoch")
	}
	ann.groupLog("g1", epoch, 1, 2, false, im.CodeResync)
	ann.say("g1", "alone", 0)
}

// TestCreateAgain: a creation that is sent again after a reconnect gets the group that its first copy made, and not one that the caller had before.
func TestCreateAgain(t *testing.T) {
	n := start(t, options{})
	ann := n.member("ann")
	epoch := ann.create("g1", public)
	again := func(name string, typ im.GroupType) *im.Frame {
		return ann.resend(im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: "g1", Name: name, Type: typ})
	}
	f := again("name of g1", public)
	var reply im.CreateGroupReply
	if err := reply.UnmarshalVT(f.Body); f.Code != 0 || err != nil || reply.Epoch != epoch {
		t.Errorf("the same again: %d, epoch %d, made was %d", f.Code, reply.Epoch, epoch)
	}
	if f := again("another", public); f.Code != im.CodeGroupIDOwn {
		t.Errorf("another name: %d", f.Code)
	}
	if f := again("name of g1", work); f.Code != im.CodeGroupIDOwn {
		t.Errorf("another type: %d", f.Code)
	}
}

// TestPullOfTwoMemberships: what a device asks for its own log is what was made during its user's memberships, so nothing from between two fires; the history
// of a community has everything. A pull that begins between two reaches into the next one, however much was said in between.
func TestPullOfTwoMemberships(t *testing.T) {
	n := start(t, options{})
	ann, bob := n.member("ann"), n.member("bob")
	epoch := ann.create("@TGS#_two", community, "bob")
	kick := &im.GroupMembersRequest{Group: named("@TGS#_two"), UserIds: []string{"bob"}}
	ann.call(im.Method_KICK_MEMBERS, kick, 0, nil)
	ann.say("@TGS#_two", "without bob", 0)
	bob.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("@TGS#_two")}, 0, nil)
	all := []string{"1 tip 1 by ann of bob", "2 tip 3 by ann of bob", "3 ann: without bob", "4 tip 1 by bob of bob"}
	if got := bob.groupLog("@TGS#_two", epoch, 1, 4, true, 0); !slices.Equal(got, all) {
		t.Errorf("the history is %q", got)
	}
	if got := bob.groupLog("@TGS#_two", epoch, 1, 4, false, 0); !slices.Equal(got, []string{all[0], all[3]}) {
		t.Errorf("the device's log is %q", got)
	}
	var r im.PullReply
	bob.call(im.Method_PULL, &im.PullRequest{Conv: groupKey("@TGS#_two"), Epoch: epoch, From: 2, To: 4, Limit: 1}, 0, &r)
	if r.From != 2 || r.To != 4 || len(r.Entries) != 1 || r.Entries[0].Seq != 4 {
		t.Errorf("a pull of at most one entry from between covers %d to %d: %v", r.From, r.To, r.Entries)
	}
}

// TestMuteAgain: a mute that is sent again after a reconnect is told once; the end of one, and another one, are not taken for it.
func TestMuteAgain(t *testing.T) {
	n := start(t, options{})
	ann, bob := n.member("ann"), n.member("bob")
	ann.create("g1", public, "bob")
	n.toldSoFar(bob)
	mute := func(seconds uint64, resent bool) {
		t.Helper()
		req := &im.ModifyMemberRequest{Group: named("g1"), UserId: "bob", Mute: &seconds}
		if !resent {
			ann.call(im.Method_MODIFY_MEMBER, req, 0, nil)
		} else if f := ann.resend(im.Method_MODIFY_MEMBER, req); f.Code != 0 {
			t.Fatalf("mute: %d", f.Code)
		}
	}
	told := func(want int) {
		t.Helper()
		tips := slices.DeleteFunc(n.toldSoFar(bob), func(s string) bool { return !strings.Contains(s, "tip 7") })
		if len(tips) != want {
			t.Errorf("told %q, want %d", tips, want)
		}
	}
	mute(600, false)
	mute(600, true)
	told(1)
	mute(3600, true) // its first copy did not arrive
	told(1)
	mute(0, true)
	mute(0, true)
	told(1)
	mute(60, true)
	told(1)
}

// TestJoinDuringStream: what a device is pushed while its user joins and leaves a busy group is what a pull gives.
func TestJoinDuringStream(t *testing.T) {
	n := start(t, options{})
	ann, bob := n.member("ann"), n.member("bob")
	epoch := ann.create("busy", work)
	const rounds = 50
	var sent []uint64
	for i := range rounds {
		for range 4 {
			req := ann.request("x", fmt.Sprint("message ", i))
			req.Conv = groupKey("busy")
			sent = append(sent, ann.begin(im.Method_SEND, req))
		}
		ann.call(im.Method_INVITE, &im.GroupMembersRequest{Group: named("busy"), UserIds: []string{"bob"}}, 0, nil)
		for range 4 {
			req := ann.request("x", fmt.Sprint("message ", i))
			req.Conv = groupKey("busy")
			sent = append(sent, ann.begin(im.Method_SEND, req))
		}
		bob.call(im.Method_QUIT_GROUP, named("busy"), 0, nil)
	}
	last := sent[len(sent)-1]
	ann.await(last)
	var pushed []string
	for _, words := range n.toldSoFar(bob) {
		if !strings.HasPrefix(words, "head") && !strings.HasPrefix(words, "report") {
			pushed = append(pushed, words)
		}
	}
	head, err := n.store.Group(t.Context(), "busy")
	if err != nil {
		t.Fatal(err)
	}
	pulled := bob.groupLog("busy", epoch, 1, head.Seq, false, 0)
	if !slices.Equal(pushed, pulled) {
		t.Fatalf("pushed %d: %q\npulled %d: %q", len(pushed), pushed, len(pulled), pulled)
	}
	if len(pushed) < rounds || len(pushed) >= int(head.Seq) {
		t.Errorf("%d of %d entries were pushed: there was nothing to see", len(pushed), head.Seq)
	}
}

// TestKickedInFlight: of messages that are queued when their sender is removed, those before the end of the membership are numbered, and none of the others.
func TestKickedInFlight(t *testing.T) {
	n := start(t, options{})
	ann, bob := n.member("ann"), n.member("bob")
	epoch := ann.create("kicked", public, "bob")
	bob.say("kicked", "first", 0)
	var calls []uint64
	for i := range 100 {
		if i == 40 {
			ann.begin(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("kicked"), UserIds: []string{"bob"}})
		}
		req := bob.request("x", fmt.Sprint(i))
		req.Conv = groupKey("kicked")
		calls = append(calls, bob.begin(im.Method_SEND, req))
	}
	stored, refused := 0, 0
	for i, id := range calls {
		f := bob.await(id)
		switch {
		case f.Code == 0 && refused == 0:
			stored++
		case f.Code == im.CodeNotMember:
			refused++
		default:
			t.Fatalf("message %d: %d after %d refused ones", i, f.Code, refused)
		}
	}
	ann.say("kicked", "last", 0)
	got := ann.groupLog("kicked", epoch, 3, 1000, false, im.CodeResync)
	if got != nil {
		t.Fatal(got)
	}
	cv, err := n.store.Group(t.Context(), "kicked")
	if err != nil {
		t.Fatal(err)
	}
	log := ann.groupLog("kicked", epoch, 3, cv.Seq, false, 0)
	var want []string
	for i := range stored {
		want = append(want, fmt.Sprintf("%d bob: %d", i+3, i))
	}
	want = append(want, fmt.Sprintf("%d tip 3 by ann of bob", stored+3), fmt.Sprintf("%d ann: last", stored+4))
	if !slices.Equal(log, want) {
		t.Errorf("log %q\nwant %q", log, want)
	}
}

// TestAttributesOfGroup: two writers, of whom one had read an older version; what changes nothing makes no version.
func TestAttributesOfGroup(t *testing.T) {
	n := start(t, options{})
	ann, bob := n.member("ann"), n.member("bob")
	ann.create("a", work, "bob")
	n.toldSoFar(ann)
	n.toldSoFar(bob)
	set := func(c *conn, ver uint64, code int32, action im.AttributesAction, pairs ...string) *im.AttributesReply {
		t.Helper()
		r := &im.AttributesReply{}
		req := &im.SetAttributesRequest{Group: named("a"), Action: action, Ver: ver}
		for i := 0; i < len(pairs); i += 2 {
			req.Attributes = append(req.Attributes, &im.GroupAttributes{Key: pairs[i], Value: pairs[i+1]})
		}
		if code != 0 {
			c.call(im.Method_SET_ATTRIBUTES, req, code, nil)
			return r
		}
		c.call(im.Method_SET_ATTRIBUTES, req, 0, r)
		return r
	}
	const initial, put, del = im.AttributesAction_ATTRIBUTES_INIT, im.AttributesAction_ATTRIBUTES_SET, im.AttributesAction_ATTRIBUTES_DELETE
	if r := set(ann, 0, 0, put, "k", "1"); r.Ver != 1 || len(r.Attributes) != 1 {
		t.Fatalf("set %v", r)
	}
	n.hears(ann, "change 1 of kind 3")
	n.hears(bob, "change 1 of kind 3")
	set(bob, 0, im.CodeAttributesConflict, put, "k", "2")
	if r := set(bob, 1, 0, put, "k", "1"); r.Ver != 1 {
		t.Errorf("a version was made for nothing: %v", r)
	}
	n.hears(bob)
	set(bob, 1, im.CodeNoAttribute, del, "none", "")
	if r := set(bob, 1, 0, initial, "x", "1", "y", "2"); r.Ver != 2 || len(r.Attributes) != 2 {
		t.Errorf("init %v", r)
	}
	if r := set(ann, 2, 0, del, "x", ""); r.Ver != 3 || r.Attributes[0].Key != "y" {
		t.Errorf("delete %v", r)
	}
	if r := set(ann, 3, 0, del); r.Ver != 4 || len(r.Attributes) != 0 {
		t.Errorf("clear %v", r)
	}
	set(ann, 4, im.CodeGroupParameters, put, strings.Repeat("k", 33), "v")
	set(ann, 4, im.CodeGroupParameters, put, "k", strings.Repeat("v", 4097))
	set(ann, 4, im.CodeGroupParameters, put, "k", "1", "k", "2")
	var many []string
	for i := range 17 {
		many = append(many, fmt.Sprint("k", i), "v")
	}
	set(ann, 4, im.CodeGroupParameters, put, many...)
	n.member("carol").call(im.Method_ATTRIBUTES, named("a"), im.CodeNotMember, nil)
	var r im.AttributesReply
	bob.call(im.Method_ATTRIBUTES, named("a"), 0, &r)
	if r.Ver != 4 || len(r.Attributes) != 0 {
		t.Errorf("attributes %v", &r)
	}
}

// TestTargetedInGroup: a message to some members, its modification and its recall are in no byte that the others get.
func TestTargetedInGroup(t *testing.T) { onBoth(t, options{}, targetedInGroup) }

func targetedInGroup(t *testing.T, n *node) {
	ann, bob, carol := n.member("ann"), n.member("bob"), n.member("carol")
	epoch := ann.create("t", work, "bob", "carol")
	n.toldSoFar(ann)
	n.toldSoFar(bob)
	n.toldSoFar(carol)
	req := ann.request("x", "secret")
	req.Conv, req.Message.TargetGroupMemberArray = groupKey("t"), []string{"bob", "stranger"}
	var sent im.SendReply
	ann.call(im.Method_SEND, req, 0, &sent)
	ann.call(im.Method_MODIFY, &im.ModifyRequest{Conv: groupKey("t"), Epoch: epoch, Seq: 2, Message: text("secret again")}, 0, nil)
	ann.call(im.Method_REVOKE, &im.RevokeRequest{Conv: groupKey("t"), Epoch: epoch, Seq: 2, Reason: "secret"}, 0, nil)
	carol.call(im.Method_REVOKE, &im.RevokeRequest{Conv: groupKey("t"), Epoch: epoch, Seq: 2}, im.CodeGroupNoMessage, nil)
	n.hears(bob, "2 ann: secret", "change 1 of kind 2", "change 2 of kind 1")
	n.hears(carol, "2 void", "change 1 of kind 0", "change 2 of kind 0")
	var changes im.ChangesReply
	carol.call(im.Method_CHANGES, &im.ChangesRequest{Conv: groupKey("t"), Epoch: epoch, From: 1, To: 2}, 0, &changes)
	if len(changes.Changes) != 0 || changes.To != 2 {
		t.Errorf("carol's changes %v", &changes)
	}
	if got := carol.groupLog("t", epoch, 1, 2, false, 0); len(got) != 1 {
		t.Errorf("carol's log %q", got)
	}
	if got := bob.groupLog("t", epoch, 1, 2, false, 0); len(got) != 2 {
		t.Errorf("bob's log %q", got)
	}
	for _, f := range carol.log {
		if strings.Contains(string(f.Body), "secret") {
			t.Errorf("carol got %s with the message", f.Method)
		}
	}
}

// TestRequestsOfDissolvedGroup: what was asked of a group is neither listed nor unread once the group is over, for who could have answered it and for who was invited.
func TestRequestsOfDissolvedGroup(t *testing.T) {
	n := start(t, options{})
	ann, bob, carol, dave := n.member("ann"), n.member("bob"), n.member("carol"), n.member("dave")
	asked := im.GroupAddOption_GROUP_ADD_OPTION_AUTH
	requests := func(c *conn, want int) {
		t.Helper()
		var list im.GroupPendencyResult
		c.call(im.Method_GROUP_REQUESTS, &im.GroupRequestsRequest{}, 0, &list)
		if len(list.PendencyArray) != want || list.UnreadNum != uint32(want) {
			t.Errorf("%d requests, %d unread, want %d: %v", len(list.PendencyArray), list.UnreadNum, want, &list)
		}
	}
	for range 2 { // the second group has the id of the first one
		ann.call(im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: "g1", Type: public, Name: "g1", ApproveOption: &asked, Members: []*im.GroupMemberInfo{{Identifier: "dave"}}}, 0, nil)
		requests(ann, 0)
		bob.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("g1")}, 0, nil)
		dave.call(im.Method_INVITE, &im.GroupMembersRequest{Group: named("g1"), UserIds: []string{"carol"}}, 0, nil)
		requests(ann, 1)
		requests(carol, 1)
		ann.call(im.Method_DISSOLVE_GROUP, named("g1"), 0, nil)
		requests(ann, 0)
		requests(carol, 0)
	}
}
