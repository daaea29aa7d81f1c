package gateway

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/hook"
)

const liveType = im.GroupType_GROUP_TYPE_AVCHATROOM

// enter joins a live room.
func (c *conn) enter(room string, code int32) *im.JoinGroupReply {
	c.t.Helper()
	var reply im.JoinGroupReply
	c.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named(room)}, code, &reply)
	return &reply
}

// overhears waits until a connection was pushed as many events as it should be, and compares them.
func (c *conn) overhears(want ...string) {
	c.t.Helper()
	var got []string
	for len(got) < len(want) {
		var f *im.Frame
		if len(c.pushes) > 0 {
			f, c.pushes = c.pushes[0], c.pushes[1:]
		} else if f = c.take(); f == nil || f.Id != 0 {
			c.t.Fatalf("heard %q and no more, want %q; then %v, %v", got, want, f, c.err)
		}
		if f.Method == im.Method_LIVE {
			var p im.EntryPush
			if err := p.UnmarshalVT(f.Body); err != nil {
				c.t.Fatal(err)
			}
			words := entryWords(p.Entry)
			if tip := p.Entry.Message.ElemArray[0].GetGroupTips(); tip != nil && tip.MemberNum > 0 {
				words += fmt.Sprintf(", %d now", tip.MemberNum)
			}
			if p.Entry.Seq == 0 || p.Entry.Time == 0 || p.Entry.Countable {
				c.t.Fatalf("number %d, time %d, countable %v of %q", p.Entry.Seq, p.Entry.Time, p.Entry.Countable, words)
			}
			got = append(got, words)
			continue
		}
		got = append(got, wordsOf(c.t, f))
	}
	if !slices.Equal(got, want) {
		c.t.Fatalf("heard %q, want %q", got, want)
	}
}

// silent fails if anything was pushed to a connection so far.
func (n *node) silent(c *conn) {
	c.t.Helper()
	n.hears(c)
}

// TestLiveRoom: a room from its creation to its end: who hears what, what is refused with which code, and what is nowhere kept.
func TestLiveRoom(t *testing.T) {
	n := start(t, options{})
	ann, bob, cid, eve := n.member("ann"), n.member("bob"), n.member("cid"), n.member("eve")
	epoch := ann.create("hall", liveType)
	n.hears(ann, "report 6 by ann")
	ann.call(im.Method_CREATE_GROUP, &im.CreateGroupRequest{Name: "x", Type: liveType, Members: []*im.GroupMemberInfo{{Identifier: "bob"}}}, im.CodeNotMember, nil)

	ann.say("hall", "nobody is in it, not even its owner", im.CodeNotMember)
	if r := ann.enter("hall", 0); r.Epoch != epoch || r.HeartbeatSeconds != 10 || r.Waits {
		t.Fatalf("joined with %+v", r)
	}
	ann.overhears("tip 1 by ann of ann, 1 now")
	bob.enter("hall", 0)
	ann.overhears("tip 1 by bob of bob, 2 now")
	bob.overhears("tip 1 by bob of bob, 2 now")
	bob.enter("hall", im.CodeAlreadyMember)

	bob.say("hall", "hello", 0)
	ann.overhears("bob: hello")
	eve.say("hall", "not in it", im.CodeNotMember)
	eve.call(im.Method_MEMBERS, &im.ListMembersRequest{Group: named("hall")}, im.CodeNotMember, nil)
	eve.call(im.Method_ATTRIBUTES, named("hall"), im.CodeNotMember, nil)
	bob.call(im.Method_INVITE, &im.GroupMembersRequest{Group: named("hall"), UserIds: []string{"cid"}}, im.CodeNotMember, nil)
	ann.call(im.Method_INVITE, &im.GroupMembersRequest{Group: named("hall"), UserIds: []string{"cid"}}, im.CodeNotMember, nil)

	// Nothing is kept, so nothing can be asked for.
	key := groupKey("hall")
	for _, x := range []struct {
		method im.Method
		req    im.Body
		code   int32
	}{
		{im.Method_PULL, &im.PullRequest{Conv: key, Epoch: epoch, From: 1, To: 1, History: true}, im.CodeGroupNoHistory},
		{im.Method_CHANGES, &im.ChangesRequest{Conv: key, Epoch: epoch, From: 1, To: 1}, im.CodeGroupNoHistory},
		{im.Method_SEQ_AT, &im.SeqAtRequest{Conv: key, Epoch: epoch, ToTime: 1 << 40}, im.CodeGroupNoHistory},
		{im.Method_READ, &im.ReadRequest{Positions: []*im.ReadPosition{{Conv: key, Epoch: epoch, Seq: 1}}}, im.CodeGroupNoHistory},
		{im.Method_REVOKE, &im.RevokeRequest{Conv: key, Epoch: epoch, Seq: 1}, im.CodeGroupNoRevoke},
		{im.Method_DELETE, &im.DeleteRequest{Conv: key, Epoch: epoch, Seqs: []uint64{1}}, im.CodeGroupNoDelete},
		{im.Method_MODIFY, &im.ModifyRequest{Conv: key, Epoch: epoch, Seq: 1, Message: text("x")}, im.CodeGroupNoHistory},
	} {
		bob.call(x.method, x.req, x.code, nil)
	}
	at := bob.request("x", "@ann")
	at.Conv, at.Message.GroupAtUserArray = key, []string{"ann"}
	bob.call(im.Method_SEND, at, im.CodeGroupParameters, nil)
	to := bob.request("x", "for ann")
	to.Conv, to.Message.TargetGroupMemberArray = key, []string{"ann"}
	bob.call(im.Method_SEND, to, im.CodeGroupParameters, nil)
	if h := ann.heads(&im.HeadsRequest{}); len(h.Heads) != 0 {
		t.Fatalf("the room is a conversation: %v", h.Heads)
	}
	if st, err := n.store.Conv(t.Context(), chat.ConvID(epoch)); err != nil || st.Seq != 0 || st.Rev != 0 || st.Members != 0 {
		t.Fatalf("the store has %+v, %v", st, err)
	}

	// What is kept: information, mutes and attributes. They are the owner's, except attributes.
	name := "the hall"
	bob.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("hall"), Name: &name}, im.CodeNotMember, nil)
	ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("hall"), Name: &name}, 0, nil)
	ann.overhears("tip 6 by ann of ")
	bob.overhears("tip 6 by ann of ")
	ask := im.GroupAddOption_GROUP_ADD_OPTION_AUTH
	ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("hall"), AddOption: &ask}, im.CodeNotMember, nil)
	owner := "bob"
	ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("hall"), Owner: &owner}, im.CodeNotMember, nil)
	admin := im.GroupMemberRole_GROUP_MEMBER_ROLE_ADMIN
	ann.call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("hall"), UserId: "bob", Role: &admin}, im.CodeNotMember, nil)
	card := "Bob"
	bob.call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("hall"), UserId: "bob", NameCard: &card}, im.CodeGroupParameters, nil)
	mute, lift := uint64(1000), uint64(0)
	ann.call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("hall"), UserId: "bob", Mute: &mute}, 0, nil)
	bob.overhears("report 17 by ann")
	bob.say("hall", "muted", im.CodeMuted)
	ann.call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("hall"), UserId: "bob", Mute: &lift}, 0, nil)
	bob.overhears("report 17 by ann")
	all, none := true, false
	ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("hall"), ShutupAll: &all}, 0, nil)
	bob.say("hall", "all are muted", im.CodeMuted)
	ann.say("hall", "but not me", 0)
	bob.overhears("ann: but not me")
	ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("hall"), ShutupAll: &none}, 0, nil)
	var attrs im.AttributesReply
	bob.call(im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{Group: named("hall"), Action: im.AttributesAction_ATTRIBUTES_SET,
		Attributes: []*im.GroupAttributes{{Key: "song", Value: "1"}}}, 0, &attrs)
	if attrs.Ver != 1 {
		t.Fatalf("version %d", attrs.Ver)
	}
	ann.overhears("change 0 of kind 3")
	bob.overhears("change 0 of kind 3")
	if r := cid.enter("hall", 0); r.AttrVer != 1 {
		t.Fatalf("version %d of the attributes at joining", r.AttrVer)
	}
	for _, c := range []*conn{ann, bob, cid} {
		c.overhears("tip 1 by cid of cid, 3 now")
	}

	// The list has the newest first; the counts are those of the room.
	var page im.ListMembersReply
	ann.call(im.Method_MEMBERS, &im.ListMembersRequest{Group: named("hall"), Limit: 2}, 0, &page)
	var names []string
	for _, m := range page.Members {
		names = append(names, m.Identifier)
	}
	var rest im.ListMembersReply
	ann.call(im.Method_MEMBERS, &im.ListMembersRequest{Group: named("hall"), Limit: 2, Next: page.Next}, 0, &rest)
	for _, m := range rest.Members {
		names = append(names, fmt.Sprintf("%s with role %d", m.Identifier, m.MemberRole))
	}
	if got := strings.Join(names, ", "); got != "cid, bob, ann with role 400" || rest.Next != 0 {
		t.Fatalf("members: %s, next %d", got, rest.Next)
	}
	var online im.OnlineCountReply
	ann.call(im.Method_ONLINE_COUNT, named("hall"), 0, &online)
	var info im.GroupsReply
	eve.call(im.Method_GROUPS, &im.GroupsRequest{GroupIds: []string{"hall"}}, 0, &info)
	if d := info.Results[0].Info; online.Count != 3 || d.MemberNum != 3 || d.OnlineMemberNum != 3 || d.GroupName != name || d.OwnerIdentifier != "ann" {
		t.Fatalf("%d online; %+v", online.Count, d)
	}

	// Leaving and being removed: not the owner; who is out hears nothing more, and comes back only by joining.
	ann.call(im.Method_QUIT_GROUP, named("hall"), im.CodeOwnerMayNotQuit, nil)
	cid.call(im.Method_QUIT_GROUP, named("hall"), 0, nil)
	cid.call(im.Method_QUIT_GROUP, named("hall"), im.CodeNotMember, nil)
	for _, c := range []*conn{ann, bob} {
		c.overhears("tip 2 by cid of cid, 2 now")
	}
	bob.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("hall"), UserIds: []string{"ann"}}, im.CodeNotMember, nil)
	var kicked im.KickReply
	ann.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("hall"), UserIds: []string{"bob", "cid", "ann"}}, 0, &kicked)
	var results []uint32
	for _, r := range kicked.Results {
		results = append(results, r.Result)
	}
	if !slices.Equal(results, []uint32{1, 2, 0}) {
		t.Fatalf("results %d", results)
	}
	ann.overhears("tip 3 by ann of bob, 1 now")
	bob.overhears("report 4 by ann")
	bob.say("hall", "out", im.CodeNotMember)
	bob.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("hall"), Again: true}, im.CodeNotMember, nil)
	ann.say("hall", "among us", 0)
	n.silent(bob)
	n.silent(cid)
	bob.enter("hall", 0)
	ann.overhears("tip 1 by bob of bob, 2 now")
	bob.overhears("tip 1 by bob of bob, 2 now")

	bob.call(im.Method_DISSOLVE_GROUP, named("hall"), im.CodeNotMember, nil)
	ann.call(im.Method_DISSOLVE_GROUP, named("hall"), 0, nil)
	ann.overhears("change 0 of kind 4")
	bob.overhears("change 0 of kind 4")
	bob.say("hall", "too late", im.CodeNoGroup)
	bob.enter("hall", im.CodeNoGroup)
	n.silent(eve)
}

// TestLiveRoomDevices: a user counts once: the first device that comes and the last one that leaves make the tip. What one says the other hears. A device that is
// cut off and comes back makes none; one that logs in again has to join.
func TestLiveRoomDevices(t *testing.T) {
	n := start(t, options{})
	ann := n.member("ann")
	ann.create("hall", liveType)
	ann.enter("hall", 0)
	ann.overhears("report 6 by ann", "tip 1 by ann of ann, 1 now")
	phone := device{user: "bob", device: "phone", platform: im.Platform_PLATFORM_ANDROID, groups: true}
	bob1, bob2 := n.member("bob"), n.login(phone)
	bob1.enter("hall", 0)
	ann.overhears("tip 1 by bob of bob, 2 now")
	bob1.overhears("tip 1 by bob of bob, 2 now")
	bob2.say("hall", "this device has not joined", im.CodeNotMember)
	bob2.enter("hall", 0)
	bob1.say("hall", "hello", 0)
	bob2.overhears("bob: hello")
	ann.overhears("bob: hello") // without a tip of the second device before it

	// The phone loses its connection, and comes back as the same session.
	bob2.ws.CloseNow()
	until(t, "the end of the connection", func() bool { return len(n.sessionsOf(chat.UID(bob1.reply.TinyId))) == 1 })
	phone.resume, phone.generation = true, bob2.reply.Generation
	bob2 = n.login(phone)
	bob2.say("hall", "not joined again", im.CodeNotMember)
	bob2.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("hall"), Again: true}, 0, nil)
	bob2.say("hall", "back", 0)
	ann.overhears("bob: back")
	bob1.overhears("bob: back")

	bob1.call(im.Method_QUIT_GROUP, named("hall"), 0, nil)
	ann.say("hall", "is bob here?", 0)
	bob2.overhears("ann: is bob here?")
	n.silent(bob1)
	bob2.call(im.Method_LOGOUT, &im.Empty{}, 0, nil)
	ann.overhears("tip 2 by bob of bob, 1 now")
}

// TestLiveRoomPresence: who is silent for 30 s is not online, without leaving; a device that stays away without a connection is out, of which nobody is told, and
// joins by its reconnect without a tip.
func TestLiveRoomPresence(t *testing.T) {
	n := start(t, options{})
	ann, bob := n.member("ann"), n.member("bob")
	ann.create("hall", liveType)
	ann.enter("hall", 0)
	ann.overhears("report 6 by ann", "tip 1 by ann of ann, 1 now")
	bob.enter("hall", 0)
	ann.overhears("tip 1 by bob of bob, 2 now")
	counts := func(members, online uint64) {
		t.Helper()
		var info im.GroupsReply
		ann.call(im.Method_GROUPS, &im.GroupsRequest{GroupIds: []string{"hall"}}, 0, &info)
		if d := info.Results[0].Info; d.MemberNum != members || d.OnlineMemberNum != online {
			t.Fatalf("%d members, %d of them online; want %d and %d", d.MemberNum, d.OnlineMemberNum, members, online)
		}
	}
	counts(2, 2)
	n.later(21 * time.Second)
	counts(2, 2) // which is heard of ann
	n.later(21 * time.Second)
	counts(2, 1)
	bob.call(im.Method_HEARTBEAT, &im.Empty{}, 0, nil)
	n.later(21 * time.Second)
	counts(2, 2)

	bob.ws.CloseNow()
	until(t, "the end of the connection", func() bool { return len(n.sessionsOf(chat.UID(bob.reply.TinyId))) == 0 })
	ann.call(im.Method_HEARTBEAT, &im.Empty{}, 0, nil)
	n.later(21 * time.Second)
	counts(2, 2)
	n.later(21 * time.Second)
	counts(1, 1)
	back := n.login(device{user: "bob", groups: true, resume: true, generation: bob.reply.Generation})
	back.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("hall"), Again: true}, 0, nil)
	counts(2, 2)
	back.say("hall", "back", 0)
	ann.overhears("bob: back")
}

// TestLiveRoomOverload: a room lets 40 messages per second through. Above that, the lowest priority is dropped first, and its sender gets 10023: no message is
// dropped while one of a lower priority is let through that waited at the same time. What is answered with success was heard by all, once, in the order of the
// numbers.
func TestLiveRoomOverload(t *testing.T) {
	n := start(t, options{})
	ann, bob := n.member("ann"), n.member("bob")
	ann.create("hall", liveType)
	ann.enter("hall", 0)
	ann.overhears("report 6 by ann", "tip 1 by ann of ann, 1 now")
	bob.enter("hall", 0)
	ann.overhears("tip 1 by bob of bob, 2 now")
	bob.overhears("tip 1 by bob of bob, 2 now")

	// 160 at once: as many as the room takes at once, as many as wait for a second, and the rest too many.
	const each = 40
	calls := make(map[uint64]int)
	sent := make(map[uint64]string)
	var frames []byte // in one write, so that they arrive together
	for i := range 4 * each {
		priority := int32(3 - i%4) // in each four the lowest comes first
		req := ann.request("x", fmt.Sprintf("%d of priority %d", i, priority))
		req.Conv, req.Message.Priority = groupKey("hall"), &priority
		ann.id++
		frames = im.AppendMessage(frames, &im.Frame{Id: ann.id, Method: im.Method_SEND}, req)
		calls[ann.id], sent[ann.id] = int(priority), textOf(req.Message)
	}
	ann.write(frames)
	var refused [4]int
	accepted := make(map[uint64]string) // by number
	for len(calls) > 0 {
		f := ann.take()
		priority, ok := calls[f.Id]
		if !ok {
			t.Fatalf("an unexpected frame %v", f)
		}
		delete(calls, f.Id)
		switch f.Code {
		case im.CodeGroupTooFast:
			refused[priority]++
		case 0:
			var r im.SendReply
			if err := r.UnmarshalVT(f.Body); err != nil {
				t.Fatal(err)
			}
			accepted[r.Entry.Seq] = sent[f.Id]
		default:
			t.Fatalf("answered %d (%s)", f.Code, f.Desc)
		}
	}
	t.Logf("%d were said; refused by priority, highest first: %d", len(accepted), refused)
	// 10 pass at once, whatever their priority, and 40 wait: beyond the first 10 there is room for the highest only.
	if refused[0] > 0 || refused[1] < each-20 || refused[2] < each-20 || refused[3] < each-20 {
		t.Fatalf("refused by priority: %d", refused)
	}
	if len(accepted) < 50 || len(accepted) > 90 {
		t.Fatalf("%d of %d were said", len(accepted), 4*each)
	}
	last := uint64(0)
	for len(accepted) > 0 {
		f := bob.take()
		var p im.EntryPush
		if f == nil || f.Method != im.Method_LIVE || p.UnmarshalVT(f.Body) != nil {
			t.Fatalf("%v instead of a message", f)
		}
		if p.Entry.Seq <= last || accepted[p.Entry.Seq] != textOf(p.Entry.Message) {
			t.Fatalf("number %d is %q and was answered as %q; the last one was %d", p.Entry.Seq, textOf(p.Entry.Message), accepted[p.Entry.Seq], last)
		}
		last = p.Entry.Seq
		delete(accepted, last)
	}
	n.silent(bob)
}

// TestLiveRoomResent: a message that is sent again within a minute gets its first answer and is heard once; after a restart, where nobody knows whether it was heard,
// it is refused. The members of before are not in the room, until their devices are back; numbers go on rising.
func TestLiveRoomResent(t *testing.T) {
	dir := t.TempDir()
	n := start(t, options{dir: dir})
	ann, bob := n.member("ann"), n.member("bob")
	ann.create("hall", liveType)
	ann.enter("hall", 0)
	ann.overhears("report 6 by ann", "tip 1 by ann of ann, 1 now")
	bob.enter("hall", 0)
	ann.overhears("tip 1 by bob of bob, 2 now")
	bob.overhears("tip 1 by bob of bob, 2 now")
	mute := uint64(1000)
	ann.call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("hall"), UserId: "cid", Mute: &mute}, im.CodeGroupUnknownUser, nil)
	cid := n.member("cid")
	ann.call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("hall"), UserId: "cid", Mute: &mute}, 0, nil)
	if h := cid.heads(&im.HeadsRequest{}); len(h.Heads) != 0 {
		t.Fatalf("a mute makes a conversation: %v", h.Heads)
	}
	req := bob.request("x", "once")
	req.Conv = groupKey("hall")
	var first, second im.SendReply
	bob.call(im.Method_SEND, req, 0, &first)
	again := func(c *conn, code int32, reply im.Msg) {
		t.Helper()
		c.id++
		c.write(im.AppendMessage(nil, &im.Frame{Id: c.id, Method: im.Method_SEND, Resent: true}, req))
		if f := c.await(c.id); f.Code != code {
			t.Fatalf("answered %d (%s), want %d", f.Code, f.Desc, code)
		} else if reply != nil {
			if err := reply.UnmarshalVT(f.Body); err != nil {
				t.Fatal(err)
			}
		}
	}
	again(bob, 0, &second)
	if first.Entry.Seq == 0 || second.Entry.Seq != first.Entry.Seq || second.Entry.Time != first.Entry.Time {
		t.Fatalf("answered with %v, then with %v", first.Entry, second.Entry)
	}
	other := bob.request("x", "another one under the same key")
	other.Conv, other.ClientTime, other.Random = req.Conv, req.ClientTime, req.Random
	bob.call(im.Method_SEND, other, im.CodeInvalidParameters, nil)
	ann.overhears("bob: once")
	n.silent(ann)
	n.stop()

	n = start(t, options{dir: dir})
	ann = n.login(device{user: "ann", groups: true, resume: true, generation: ann.reply.Generation})
	bob = n.login(device{user: "bob", groups: true, resume: true, generation: bob.reply.Generation})
	ann.say("hall", "not back yet", im.CodeNotMember)
	for _, c := range []*conn{ann, bob} {
		c.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("hall"), Again: true}, 0, nil)
	}
	again(bob, im.CodeWaitAckTimeout, nil)
	var third im.SendReply
	next := bob.request("x", "the next one")
	next.Conv = groupKey("hall")
	bob.call(im.Method_SEND, next, 0, &third)
	if third.Entry.Seq <= first.Entry.Seq {
		t.Fatalf("number %d after the restart, %d before", third.Entry.Seq, first.Entry.Seq)
	}
	ann.overhears("bob: the next one")
	cid = n.member("cid")
	cid.enter("hall", 0)
	cid.say("hall", "muted before the restart", im.CodeMuted)
}

// TestLane: what waits for a slow session is bounded, loses the oldest of the lowest priority first, and keeps its order.
func TestLane(t *testing.T) {
	var l lane
	next := 0
	put := func(priority, size int) int {
		next++
		return l.put(liveFrame{fmt.Appendf(nil, "%0*d", size, next), priority})
	}
	dropped := 0
	for range 100 {
		for _, p := range []int{3, 1, 2, 0} {
			dropped += put(p, 100)
		}
	}
	var kept [4]int
	for i, f := range l.waiting {
		kept[f.priority]++
		if i > 0 && string(f.frame) <= string(l.waiting[i-1].frame) {
			t.Fatalf("%s is behind %s", f.frame, l.waiting[i-1].frame)
		}
	}
	if kept != [4]int{100, 28, 0, 0} || dropped != 400-laneFrames || l.bytes != laneFrames*100 {
		t.Fatalf("kept %d, dropped %d, %d bytes", kept, dropped, l.bytes)
	}
	if put(0, laneBytes); len(l.waiting) != 1 || l.bytes != laneBytes {
		t.Fatalf("%d wait with %d bytes after a large one", len(l.waiting), l.bytes)
	}
	if put(2, 100) != 1 || len(l.waiting) != 1 {
		t.Fatal("a message of a lower priority has taken the place of a higher one")
	}
}

// TestLiveRoomSlow: a session that reads nothing while much is said holds a bounded amount of it, and hears the rest in order when it reads again; it gets what is
// stored as if there were no room.
func TestLiveRoomSlow(t *testing.T) {
	n := start(t, options{chat: chat.Config{RoomRate: 1 << 20}})
	ann := n.member("ann")
	ann.create("hall", liveType)
	ann.enter("hall", 0)
	slow := n.connect()
	slow.write(im.AppendMessage(nil, &im.Frame{Id: 1, Method: im.Method_LOGIN}, device{user: "slow", groups: true}.request()))
	slow.write(im.AppendMessage(nil, &im.Frame{Id: 2, Method: im.Method_JOIN_GROUP}, &im.JoinGroupRequest{Group: named("hall")}))
	ann.overhears("report 6 by ann", "tip 1 by ann of ann, 1 now", "tip 1 by slow of slow, 2 now")
	const messages, size = 4000, 8000 // 32 MB, more than the sockets hold
	for i := range messages {
		priority := int32(i % 4)
		req := ann.request("x", fmt.Sprintf("%0*d", size, i))
		req.Conv, req.Message.Priority = groupKey("hall"), &priority
		ann.call(im.Method_SEND, req, 0, nil)
		if i == messages/2 {
			ann.send("slow", "stored")
		}
		if i%100 != 0 {
			continue
		}
		for _, s := range n.snapshot() {
			s.mu.Lock()
			out, lane, frames := len(s.out), s.lane.bytes, len(s.lane.waiting)
			s.mu.Unlock()
			if out > laneFrom+laneBytes+2*size || lane > laneBytes || frames > laneFrames {
				t.Fatalf("%d bytes wait, and %d in %d messages of the room", out, lane, frames)
			}
		}
	}
	slow.listen()
	slow.await(2)
	until(t, "all to be written", func() bool {
		for _, s := range n.snapshot() {
			s.mu.Lock()
			waiting := len(s.out) + len(s.lane.waiting) + s.written
			s.mu.Unlock()
			if waiting > 0 {
				return false
			}
		}
		return true
	})
	slow.id = 2
	reply := slow.await(slow.begin(im.Method_HEARTBEAT, &im.Empty{}))
	var beat im.HeartbeatReply
	if err := beat.UnmarshalVT(reply.Body); err != nil || beat.Queued != uint64(len(slow.pushes)) {
		t.Fatalf("%d pushes were queued and %d came, %v", beat.Queued, len(slow.pushes), err)
	}
	var heard [4]int
	last, stored := -1, 0
	for _, f := range slow.pushes {
		var p im.EntryPush
		switch {
		case f.Method == im.Method_BEHIND:
			t.Fatal("the session is behind")
		case p.UnmarshalVT(f.Body) != nil:
			t.Fatal("not an entry")
		case f.Method == im.Method_ENTRY:
			stored++
		case p.Entry.Message.ElemArray[0].GetText() != nil:
			i, err := strconv.Atoi(textOf(p.Entry.Message))
			if err != nil || i <= last {
				t.Fatalf("%d after %d, %v", i, last, err)
			}
			last = i
			heard[i%4]++
		}
	}
	t.Logf("of %d messages, heard by priority: %d", messages, heard)
	if stored != 1 || heard[0] <= heard[3] || heard[3] == messages/4 || last != messages-4 {
		t.Fatalf("%d stored messages, and %d of the room, the last one %d", stored, heard, last)
	}
}

// states returns what the webhook is to be notified of somebody's state in a room, each as the event, its cause and who it is about, in order.
func (n *node) states(room uint64) (out []string) {
	n.t.Helper()
	rows, err := n.rules.Outbox(n.t.Context(), chat.LaneOf(chat.ConvID(room)), 1000)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, r := range rows {
		var b hook.GroupOnMemberStateChange
		if r.Command != b.Hook() {
			continue
		}
		if err := json.Unmarshal(r.Body, &b); err != nil || b.EventTime == 0 || r.Platform != "" || r.Addr != "" {
			n.t.Fatalf("%+v, %v", r, err)
		}
		for _, m := range b.MemberList {
			out = append(out, fmt.Sprintf("%s %s %s", b.EventType, b.EventCause, m.Member_Account))
		}
	}
	return out
}

// TestLiveRoomStates: the webhook is notified when the first device of a user comes and the last one leaves, when nothing was heard of any of them for 30 s, and when
// something is again; each once, in order, and not of the end of the room.
func TestLiveRoomStates(t *testing.T) {
	n := start(t, options{chat: chat.Config{Notify: true}})
	ann, bob := n.member("ann"), n.member("bob")
	epoch := ann.create("hall", liveType)
	var want []string
	then := func(states ...string) {
		t.Helper()
		want = append(want, states...)
		var got []string
		until(t, "notifications", func() bool { got = n.states(epoch); return len(got) >= len(want) })
		if !slices.Equal(got, want) {
			t.Fatalf("notified of %q, want %q", got, want)
		}
	}
	look := func(alive ...*conn) {
		for _, c := range alive {
			c.call(im.Method_HEARTBEAT, &im.Empty{}, 0, nil)
		}
		n.later(21 * time.Second)
	}
	ann.enter("hall", 0)
	bob.enter("hall", 0)
	then("Online Join ann", "Online Join bob")
	phone := device{user: "bob", device: "phone", platform: im.Platform_PLATFORM_ANDROID, groups: true}
	bob2 := n.login(phone)
	bob2.enter("hall", 0)
	look(ann)
	look(ann)
	then("Offline HeartbeatInterrupt bob") // of both devices
	look(ann)
	look(ann, bob2)
	then("Online HeartbeatRecover bob")

	// Both lose their connections, and one comes back.
	bob.ws.CloseNow()
	bob2.ws.CloseNow()
	until(t, "the end of the connections", func() bool { return len(n.sessionsOf(chat.UID(bob.reply.TinyId))) == 0 })
	look(ann)
	look(ann)
	then("Offline HeartbeatInterrupt bob")
	phone.resume, phone.generation = true, bob2.reply.Generation
	bob2 = n.login(phone)
	bob2.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("hall"), Again: true}, 0, nil)
	then("Online HeartbeatRecover bob")
	look(ann, bob2)
	bob2.call(im.Method_QUIT_GROUP, named("hall"), 0, nil)
	then("Offline Quit bob")
	cid := n.member("cid")
	cid.enter("hall", 0)
	ann.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("hall"), UserIds: []string{"cid"}}, 0, nil)
	then("Online Join cid", "Offline Quit cid")
	cid.enter("hall", 0)
	cid.call(im.Method_LOGOUT, &im.Empty{}, 0, nil)
	then("Online Join cid", "Offline Quit cid")
	ann.call(im.Method_DISSOLVE_GROUP, named("hall"), 0, nil)
	n.rules.Wait(t.Context())
	then()
}
