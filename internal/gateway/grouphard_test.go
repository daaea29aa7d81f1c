package gateway

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// TestJoinBusyCommunity: of a Community of 5,000 messages (the short form: 1,000) of which a tenth was recalled, a device whose user joins hears the tip of the joining and nothing else: what it
// is pushed, and what it pulls from where its membership begins.
func TestJoinBusyCommunity(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		const id = "@TGS#_busy"
		messages := soak.Pick[uint64](1000, 5000)
		recalls := messages / 10
		joined := fmt.Sprint(messages+1, " tip 1 by bob of bob")
		ann, bob := n.member("ann"), n.member("bob")
		epoch := ann.create(id, community)
		var calls []uint64
		settle := func() {
			for _, call := range calls {
				if f := ann.await(call); f.Code != 0 {
					t.Fatalf("%d: %s", f.Code, f.Desc)
				}
			}
			calls = nil
		}
		for i := range messages {
			req := ann.request("x", fmt.Sprint(i))
			req.Conv = groupKey(id)
			if calls = append(calls, ann.begin(im.Method_SEND, req)); len(calls) == 500 {
				settle()
			}
		}
		for i := range recalls {
			if calls = append(calls, ann.begin(im.Method_REVOKE, &im.RevokeRequest{Conv: groupKey(id), Epoch: epoch, Seq: 1 + i*10})); len(calls) == 100 {
				settle()
			}
		}
		cv, err := n.store.Group(t.Context(), id)
		if err != nil || cv.Seq != messages || cv.Rev != recalls {
			t.Fatalf("%d messages and %d recalls (%v)", cv.Seq, cv.Rev, err)
		}
		n.settle(bob)
		first := len(bob.log)
		bob.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named(id)}, 0, nil)
		n.hears(bob, joined, fmt.Sprintf("head %d unread 0 left false", messages+1))
		size := 0
		for _, f := range bob.log[first:] {
			size += len(f.Body)
		}
		if size > 2048 {
			t.Errorf("the joining told %d bytes", size)
		}
		heads := bob.heads(&im.HeadsRequest{Only: []*im.ConvKey{groupKey(id)}, WithLast: true})
		h := heads.Heads[0]
		if h.JoinedSeq != messages || h.JoinedRev != recalls || h.Seq != messages+1 || h.Rev != recalls || h.Unread != 0 {
			t.Fatalf("head %v", h)
		}
		if got := bob.groupLog(id, epoch, h.JoinedSeq+1, h.Seq, false, 0); !slices.Equal(got, []string{joined}) {
			t.Errorf("behind the joining there is %q", got)
		}
		var changes im.ChangesReply
		bob.call(im.Method_CHANGES, &im.ChangesRequest{Conv: groupKey(id), Epoch: epoch, From: 1, To: recalls}, 0, &changes)
		if len(changes.Changes) != 0 {
			t.Errorf("the newcomer is told of %d old changes", len(changes.Changes))
		}
	})
}

// TestLeaveManyGroups: of 500 groups that a user has left and that stay busy, a device that knew them is told once that they ended, and a later login finds nothing
// new in them: their heads stay as they were, with nothing unread; to a fresh device they are nothing at all.
func TestLeaveManyGroups(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		groups := 500
		if n.store.Shared() { // where each change is some round trips
			groups = soak.Pick(50, 500)
		}
		ann, bob := n.member("ann"), n.member("bob")
		id := func(i int) string { return fmt.Sprint("left ", i) }
		each := func(c *conn, method im.Method, req func(i int) im.Body) {
			t.Helper()
			for from := 0; from < groups; from += 50 {
				var calls []uint64
				for i := from; i < from+50; i++ {
					calls = append(calls, c.begin(method, req(i)))
				}
				for len(calls) > 0 { // what is looked up first is answered later
					f := c.take()
					if f == nil || f.Code != 0 {
						t.Fatalf("%s: %v", method, f)
					}
					calls = slices.DeleteFunc(calls, func(id uint64) bool { return id == f.Id })
				}
			}
		}
		say := func(words string) {
			t.Helper()
			each(ann, im.Method_SEND, func(i int) im.Body {
				req := ann.request("x", words)
				req.Conv = groupKey(id(i))
				return req
			})
		}
		each(ann, im.Method_CREATE_GROUP, func(i int) im.Body {
			return &im.CreateGroupRequest{GroupId: id(i), Name: "x", Type: public, Members: []*im.GroupMemberInfo{{Identifier: "bob"}}}
		})
		say("unread")
		each(bob, im.Method_QUIT_GROUP, func(i int) im.Body { return named(id(i)) })
		all := func() (out []string) {
			t.Helper()
			for next := uint64(0); ; {
				r := bob.heads(&im.HeadsRequest{Cursor: 1, After: next, WithLast: true})
				for _, h := range r.Heads {
					if !h.Left || h.Unread != 0 || len(h.Mentions) != 0 {
						t.Fatalf("head %v", h)
					}
					out = append(out, fmt.Sprint(h.Conv.Id, " ", h.Seq, " ", h.Rev, " ", h.Time, " ", h.Row))
				}
				if next = r.Next; next == 0 {
					return out
				}
			}
		}
		before := all()
		if len(before) != groups {
			t.Fatalf("%d groups ended, want %d", len(before), groups)
		}
		say("busy")
		say("busy again")
		if after := all(); !slices.Equal(after, before) {
			t.Errorf("heads of groups that were left change with them")
		}
		pad := n.login(device{user: "bob", device: "fresh", platform: im.Platform_PLATFORM_PAD, groups: true})
		var r im.HeadsReply
		f := pad.call(im.Method_HEADS, &im.HeadsRequest{WithLast: true}, 0, &r)
		if len(f.Body) > 2048 || len(r.Heads) != 0 {
			t.Errorf("a fresh device gets %d bytes about %d groups that were left", len(f.Body), len(r.Heads))
		}
	})
}

// TestKickedWhileAway: a device whose user was removed while it was away gets the log up to the end of the membership, one report, and nothing from behind.
func TestKickedWhileAway(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		ann, bob := n.member("ann"), n.member("bob")
		epoch := ann.create("g", public, "bob")
		n.toldSoFar(bob)
		bob.ws.CloseNow()
		for i := range 20 {
			ann.say("g", fmt.Sprint("before ", i), 0)
		}
		ann.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("g"), UserIds: []string{"bob"}, UserData: "why"}, 0, nil)
		for i := range 20 {
			ann.say("g", fmt.Sprint("secret ", i), 0)
		}
		bob = n.member("bob")
		r := bob.heads(&im.HeadsRequest{Cursor: 1, WithLast: true})
		if len(r.Heads) != 1 || !r.Heads[0].Left || r.Heads[0].Seq != 21 || r.Heads[0].Unread != 0 {
			t.Fatalf("heads %v", r)
		}
		log := bob.groupLog("g", epoch, 1, 21, false, 0)
		if len(log) != 21 || log[20] != "21 ann: before 19" {
			t.Errorf("log %q", log)
		}
		for _, history := range []bool{false, true} { // whatever is answered is looked through below
			bob.await(bob.begin(im.Method_PULL, &im.PullRequest{Conv: groupKey("g"), Epoch: epoch, From: 20, To: 42, History: history}))
		}
		var fed im.FeedReply
		bob.call(im.Method_FEED, &im.FeedRequest{From: 1, To: r.Feed}, 0, &fed)
		if len(fed.Entries) != 2 || fed.Entries[1].GetReport().GetReportType() != im.GroupReportType_GROUP_REPORT_TYPE_BE_KICKED {
			t.Errorf("reports %v", fed.Entries)
		}
		ann.say("g", "secret, live", 0)
		n.hears(bob)
		for _, f := range bob.log {
			if strings.Contains(string(f.Body), "secret") {
				t.Errorf("%s has what was sent behind the end", f.Method)
			}
		}
	})
}

// TestAttributesByTwoWriters: two who write attributes as fast as they can never make the same version: one succeeds, the other gets 10056 and changes nothing. Each
// version is told once, in order, and the last one is what is stored.
func TestAttributesByTwoWriters(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		const writes = 100
		listener := n.member("listener")
		writers := []*conn{n.member("ann"), n.member("bob")}
		listener.create("a", public, "ann", "bob")
		n.toldSoFar(listener)
		made := make([]map[uint64]string, len(writers))
		lost := make([]int, len(writers))
		var wg sync.WaitGroup
		for w, c := range writers {
			made[w] = map[uint64]string{}
			wg.Go(func() {
				ver := uint64(0)
				for i := 0; i < writes; {
					value := fmt.Sprintf("%d of %d", i, w)
					f := c.await(c.begin(im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{
						Group: named("a"), Action: im.AttributesAction_ATTRIBUTES_SET, Ver: ver, Attributes: []*im.GroupAttributes{{Key: "k", Value: value}},
					}))
					var r im.AttributesReply
					wrote := f.Code == 0
					switch f.Code {
					case 0:
						i++
					case im.CodeAttributesConflict:
						lost[w]++
						f = c.await(c.begin(im.Method_ATTRIBUTES, named("a")))
					default:
						t.Errorf("%d: %s", f.Code, f.Desc)
						return
					}
					if err := r.UnmarshalVT(f.Body); err != nil {
						t.Error(err)
						return
					}
					if wrote {
						made[w][r.Ver] = value
					}
					ver = r.Ver
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		for ver := uint64(1); ver <= 2*writes; ver++ {
			if _, one := made[0][ver]; one == (made[1][ver] != "") {
				t.Fatalf("version %d was made by both or none", ver)
			}
		}
		t.Logf("%d writes lost", lost[0]+lost[1])
		n.settle(listener)
		told := uint64(0)
		for _, f := range listener.pushes {
			if f.Method != im.Method_CHANGE {
				continue
			}
			var p im.ChangePush
			if err := p.UnmarshalVT(f.Body); err != nil {
				t.Fatal(err)
			}
			if told++; p.Change.Version != told {
				t.Fatalf("version %d is told behind %d", p.Change.Version, told-1)
			}
		}
		var r im.AttributesReply
		listener.call(im.Method_ATTRIBUTES, named("a"), 0, &r)
		last := made[0][2*writes] + made[1][2*writes]
		if told != 2*writes || r.Ver != told || len(r.Attributes) != 1 || r.Attributes[0].Value != last {
			t.Errorf("the last event has version %d, the store %d with %v, the last writer %q", told, r.Ver, r.Attributes, last)
		}
	})
}
