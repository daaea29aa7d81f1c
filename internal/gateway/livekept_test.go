package gateway

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/hook"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// TestLiveRoomInCommitOrder: what changes a room is heard in the order of the changes, whatever kind they are, without gaps in the numbers of the tips, and the end
// of the room is the last that is heard.
func TestLiveRoomInCommitOrder(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		ann, bob := n.member("ann"), n.member("bob")
		ann.create("hall", liveType)
		bob.enter("hall", 0)
		bob.overhears("tip 1 by bob of bob, 1 now")
		const rounds = 50
		var calls []uint64
		var want []string
		for i := range rounds {
			name := fmt.Sprint("name ", i)
			calls = append(calls, ann.begin(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("hall"), Name: &name}),
				ann.begin(im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{Group: named("hall"), Action: im.AttributesAction_ATTRIBUTES_SET, Ver: uint64(i),
					Attributes: []*im.GroupAttributes{{Key: "n", Value: name}}}))
			want = append(want, "tip", fmt.Sprint("version ", i+1))
		}
		calls = append(calls, ann.begin(im.Method_DISSOLVE_GROUP, named("hall")))
		want = append(want, "the end")
		for _, id := range calls {
			if f := ann.await(id); f.Code != 0 {
				t.Fatalf("answered %d (%s)", f.Code, f.Desc)
			}
		}
		var got []string
		last := uint64(0)
		for len(got) < len(want) {
			f := bob.take()
			switch {
			case f == nil:
				t.Fatalf("heard %q and no more", got)
			case f.Method == im.Method_CHANGE:
				var p im.ChangePush
				if err := p.UnmarshalVT(f.Body); err != nil {
					t.Fatal(err)
				}
				if p.Change.Kind == im.ChangeKind_CHANGE_DISSOLVED {
					got = append(got, "the end")
				} else {
					got = append(got, fmt.Sprint("version ", p.Change.Version))
				}
			case f.Method == im.Method_LIVE:
				var p im.EntryPush
				if err := p.UnmarshalVT(f.Body); err != nil {
					t.Fatal(err)
				}
				if last != 0 && p.Entry.Seq != last+1 {
					t.Errorf("number %d after %d", p.Entry.Seq, last)
				}
				last = p.Entry.Seq
				got = append(got, "tip")
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("heard %q", got)
		}
	})
}

// TestTipsOfLiveRoomComeFirst: while tips wait to be heard, nothing that was committed after them is: neither a change nor the end of the room.
func TestTipsOfLiveRoomComeFirst(t *testing.T) {
	for _, last := range []string{"change 0 of kind 3", "change 0 of kind 4"} {
		n := start(t, options{})
		ann, bob := n.member("ann"), n.member("bob")
		ann.create("hall", liveType)
		bob.enter("hall", 0)
		bob.overhears("tip 1 by bob of bob, 1 now")
		s := n.of(bob)
		func() {
			s.mu.Lock() // so that nothing goes to bob; not for ever, because what ann waits for may come after it
			free := sync.OnceFunc(s.mu.Unlock)
			defer free()
			defer time.AfterFunc(5*time.Second, free).Stop()
			for _, name := range []string{"one", "two"} {
				ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("hall"), Name: &name}, 0, nil)
			}
			if last == "change 0 of kind 3" {
				ann.call(im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{Group: named("hall"), Action: im.AttributesAction_ATTRIBUTES_SET,
					Attributes: []*im.GroupAttributes{{Key: "k", Value: "v"}}}, 0, nil)
			} else {
				ann.call(im.Method_DISSOLVE_GROUP, named("hall"), 0, nil)
			}
		}()
		bob.overhears("tip 6 by ann of ", "tip 6 by ann of ", last)
	}
}

// TestLastTipOfLiveRoom: a tip about joining that the rate holds back is heard before the end of the room.
func TestLastTipOfLiveRoom(t *testing.T) {
	n := start(t, options{})
	ann, bob := n.member("ann"), n.member("bob")
	ann.create("hall", liveType)
	bob.enter("hall", 0)
	const guests = 20
	for i := range guests {
		n.member(fmt.Sprint("guest", i)).enter("hall", 0)
	}
	ann.call(im.Method_DISSOLVE_GROUP, named("hall"), 0, nil)
	last, before := "", ""
	for last != "change 0 of kind 4" {
		f := bob.take()
		if f == nil {
			t.Fatal("the end is not heard")
		}
		last, before = wordsOf(t, f), last
	}
	if want := fmt.Sprintf("tip 1 by guest%d of guest%d", guests-1, guests-1); !strings.Contains(before, want) {
		t.Errorf("heard %q before the end, want %q", before, want)
	}
}

// TestLiveRoomForgetsWhatWasSaid: a room keeps nothing of the content of what was said in it, although a repeated call gets its first answer for a minute. What a hook
// has rewritten it keeps for that answer, but not without limit.
func TestLiveRoomForgetsWhatWasSaid(t *testing.T) {
	const messages, size = 500, 10_000
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	rewrite := func(_ context.Context, b *hook.GroupBeforeSendMsg, _ hook.Source) (v hook.GroupBeforeSendMsgVerdict) {
		v.Answer.MsgBody = im.Text("rewritten" + textOf(&im.Message{ElemArray: b.MsgBody})).ElemArray
		return v
	}
	for name, hooks := range map[string]hook.Set{"as sent": {}, "rewritten": {GroupBeforeSendMsg: rewrite}} {
		t.Run(name, func(t *testing.T) {
			n := start(t, options{chat: chat.Config{RoomRate: 1 << 20, Hooks: hooks}})
			ann := n.member("ann")
			ann.create("hall", liveType)
			ann.enter("hall", 0)
			ann.overhears("report 6 by ann", "tip 1 by ann of ann, 1 now")
			body := strings.Repeat("x", size)
			say := func() *im.SendRequest {
				req := ann.request("x", body)
				req.Conv = groupKey("hall")
				ann.call(im.Method_SEND, req, 0, nil)
				ann.log, ann.made = nil, map[string]uint64{}
				return req
			}
			first := say()
			before := heap()
			var last *im.SendRequest
			for range messages {
				last = say()
			}
			if grown := heap() - before; grown > messages*size/4 {
				t.Errorf("%d messages of %d bytes were said, and the room keeps %d bytes", messages, size, grown)
			}
			for _, req := range []*im.SendRequest{first, last} {
				answer := ann.again(req)
				if answer.Entry.Seq == 0 || name == "as sent" && answer.Entry.Message != nil {
					t.Errorf("answered again with %v", answer.Entry)
				}
				if kept := req == last && name == "rewritten"; kept && textOf(answer.Entry.Message) != "rewritten"+body {
					t.Error("the repeated call does not get what was said")
				}
			}
		})
	}
}

// TestRemovedFromLiveRoom: who was removed from a room does not come back by themselves, although their device was away and the server has started again since. They
// do by joining, and then again by themselves.
func TestRemovedFromLiveRoom(t *testing.T) {
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			o := options{dir: t.TempDir()}
			if kind == "postgres" {
				o.dsn = pgtest.DSN(t)
			}
			n := start(t, o)
			ann, bob := n.member("ann"), n.member("bob")
			restart := func() {
				n.stop()
				n = start(t, o)
				ann = n.login(device{user: "ann", groups: true, resume: true, generation: ann.reply.Generation})
				bob = n.login(device{user: "bob", groups: true, resume: true, generation: bob.reply.Generation})
			}
			back := func(code int32) {
				t.Helper()
				bob.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("hall"), Again: true}, code, nil)
			}
			ann.create("hall", liveType)
			ann.enter("hall", 0)
			bob.enter("hall", 0)
			ann.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("hall"), UserIds: []string{"bob"}}, 0, nil)
			restart()
			back(im.CodeNotMember)
			bob.say("hall", "out", im.CodeNotMember)
			bob.enter("hall", 0)
			restart()
			back(0)
			bob.say("hall", "in", 0)
			if h := bob.heads(&im.HeadsRequest{}); len(h.Heads) != 0 {
				t.Errorf("the room is a conversation: %v", h.Heads)
			}
		})
	}
}

// TestRoomsThatSessionIsOutOf: rooms that were dissolved, or that the user was removed from, are not among the 100 that a session may be in.
func TestRoomsThatSessionIsOutOf(t *testing.T) {
	n := start(t, options{})
	ann, bob := n.member("ann"), n.member("bob")
	const most = 100
	for i := range 2 * most {
		room := fmt.Sprint("room", i)
		ann.create(room, liveType)
		bob.enter(room, 0)
		switch {
		case i >= most:
		case i%2 == 0:
			ann.call(im.Method_DISSOLVE_GROUP, named(room), 0, nil)
		default:
			ann.enter(room, 0)
			ann.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named(room), UserIds: []string{"bob"}}, 0, nil)
			ann.call(im.Method_DISSOLVE_GROUP, named(room), 0, nil)
		}
	}
	ann.create("one more", liveType)
	bob.enter("one more", im.CodeTooManyGroups)
}

// TestGroupsWithADamagedOne: information about a group that cannot be read spoils that of no other group in the same call.
func TestGroupsWithADamagedOne(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		ann := n.member("ann")
		ids := []string{"a", "b", "c"}
		for _, id := range ids {
			ann.create(id, public)
		}
		cv, err := n.store.Group(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		if err := n.store.Update(t.Context(), []chat.Key{{Conv: cv.ID}}, func(tx chat.Tx) error {
			return tx.PutGroupInfo(chat.GroupInfo{Conv: cv.ID, Seq: 1, Body: []byte{0xff}})
		}); err != nil {
			t.Fatal(err)
		}
		var reply im.GroupsReply
		ann.call(im.Method_GROUPS, &im.GroupsRequest{GroupIds: ids}, 0, &reply)
		for i, want := range []int32{0, im.CodeServerInternal, 0} {
			if r := reply.Results[i]; r.Code != want || r.Info.GetGroupId() != ids[i] {
				t.Errorf("%s: code %d, %v", ids[i], r.Code, r.Info)
			}
		}
		page, total, err := n.rules.JoinedAs(t.Context(), chat.JoinedQuery{User: "ann", Limit: 10})
		if err != nil || total != 3 || len(page) != 3 || page[1].GroupId != "b" {
			t.Errorf("joined %v, %d, %v", page, total, err)
		}
	})
}
