package gateway

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/hook"
)

// spoiled is a store whose transactions fail at their end: with an error, as if the disk were full, or by a panic, as if there were a mistake in the rules.
type spoiled struct {
	chat.Store
	full, mistake atomic.Bool
}

func (s *spoiled) Update(ctx context.Context, keys []chat.Key, f func(chat.Tx) error) error {
	return s.Store.Update(ctx, keys, func(tx chat.Tx) error {
		err := f(tx)
		switch {
		case s.mistake.Load():
			panic("a mistake")
		case err == nil && s.full.Load():
			return chat.ErrFull
		}
		return err
	})
}

func (s *spoiled) Append(e chat.Entry, done func(chat.Stored, bool, error)) {
	if s.full.Load() {
		s.Deliver(e.Conv, func() { done(chat.Stored{}, false, chat.ErrFull) })
		return
	}
	s.Store.Append(e, done)
}

// kept returns all that the store has of a group, as text, with what the webhook is to be notified of.
func (n *node) kept(id string) string {
	n.t.Helper()
	cv, err := n.store.Group(n.t.Context(), id)
	if err != nil {
		return err.Error()
	}
	info, err := n.store.GroupInfo(n.t.Context(), cv.ID)
	if err != nil {
		n.t.Fatal(err)
	}
	members, err := n.store.MemberPage(n.t.Context(), cv.ID, 0, 0, 100)
	if err != nil {
		n.t.Fatal(err)
	}
	rows, err := n.rules.Outbox(n.t.Context(), chat.LaneOf(cv.ID), 1000)
	if err != nil {
		n.t.Fatal(err)
	}
	rows = slices.DeleteFunc(rows, func(o chat.Outgoing) bool { return o.Command == new(hook.GroupOnMemberStateChange).Hook() }) // which is written a moment later
	return fmt.Sprintf("%+v\n%x\n%+v\n%d", cv, info.Body, members, len(rows))
}

// TestGroupCallsThatFail: a call about a group or a live room that fails at the end of its transaction, because the disk is full or by a mistake in the rules, has done
// nothing: nobody is told of anything, nothing is stored, who is in the room stays the same, and the next call is made as if it had not been. Nobody else's calls fail.
func TestGroupCallsThatFail(t *testing.T) {
	st := &spoiled{}
	onBoth(t, options{chat: chat.Config{Notify: true}, wrap: func(s chat.Store) chat.Store { st.Store = s; return st }}, func(t *testing.T, n *node) {
		st.full.Store(false)
		st.mistake.Store(false)
		ann, bob, eve := n.member("ann"), n.member("bob"), n.member("eve")
		all := map[string]*conn{"ann": ann, "bob": bob, "eve": eve}
		ann.create("g", meeting, "bob")
		ann.create("hall", liveType)
		ann.enter("hall", 0)
		bob.enter("hall", 0)
		// waits takes what a connection was told until it was told something: tips about joining and leaving a room have a rate.
		waits := func(c *conn, words string) {
			t.Helper()
			until(t, words, func() bool {
				return slices.ContainsFunc(n.toldSoFar(c), func(s string) bool { return strings.Contains(s, words) })
			})
		}
		waits(ann, "tip 1 by bob")
		members := func(method im.Method, group, user string) (im.Method, im.Body) {
			return method, &im.GroupMembersRequest{Group: named(group), UserIds: []string{user}}
		}
		type call struct {
			what string
			by   *conn
			make func() (im.Method, im.Body)
			// tells is what ann hears of it in a room.
			tells string
		}
		send := func(by *conn, text string) func() (im.Method, im.Body) {
			return func() (im.Method, im.Body) {
				req := by.request("x", text)
				req.Conv = groupKey("g")
				return im.Method_SEND, req
			}
		}
		plain := func(method im.Method, req im.Body) func() (im.Method, im.Body) {
			return func() (im.Method, im.Body) { return method, req }
		}
		attributes := func(group string) func() (im.Method, im.Body) {
			return plain(im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{Group: named(group), Action: im.AttributesAction_ATTRIBUTES_INIT, Attributes: []*im.GroupAttributes{{Key: "k", Value: "v"}}})
		}
		// In an order in which each of them can be made in the end.
		calls := []call{
			{"create", eve, plain(im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: "new", Name: "n", Type: public, Members: []*im.GroupMemberInfo{{Identifier: "bob"}}}), ""},
			{"join", eve, plain(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("g")}), ""},
			{"send", bob, send(bob, "hi"), ""},
			{"rename", ann, plain(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("g"), Name: new("other")}), ""},
			{"mute", ann, plain(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("g"), UserId: "bob", Mute: new(uint64(60))}), ""},
			{"attributes", bob, attributes("g"), ""},
			{"kick", ann, func() (im.Method, im.Body) { return members(im.Method_KICK_MEMBERS, "g", "bob") }, ""},
			{"quit", eve, plain(im.Method_QUIT_GROUP, named("g")), ""},
			{"dissolve", ann, plain(im.Method_DISSOLVE_GROUP, named("g")), ""},
			{"create a room", eve, plain(im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: "other hall", Name: "n", Type: liveType}), ""},
			{"enter a new room", eve, plain(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("other hall")}), ""},
			{"enter", eve, plain(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("hall")}), "tip 1 by eve"},
			{"rename the room", ann, plain(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("hall"), Name: new("other")}), "tip 6 by ann"},
			{"mute in the room", ann, plain(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("hall"), UserId: "bob", Mute: new(uint64(60))}), ""},
			{"attributes of the room", ann, attributes("hall"), "kind 3"},
			{"kick from the room", ann, func() (im.Method, im.Body) { return members(im.Method_KICK_MEMBERS, "hall", "bob") }, "tip 3 by ann"},
			{"leave the room", eve, plain(im.Method_QUIT_GROUP, named("hall")), "tip 2 by eve"},
			{"dissolve the room", ann, plain(im.Method_DISSOLVE_GROUP, named("hall")), "kind 4"},
		}
		in := func() string {
			var out []string
			for _, room := range []string{"hall", "other hall"} {
				list, err := n.rules.MembersAs(t.Context(), chat.MemberQuery{Group: room, Limit: 100})
				if err != nil {
					out = append(out, err.Error())
					continue
				}
				for _, m := range list.Members {
					out = append(out, fmt.Sprint(room, ": ", m))
				}
			}
			return strings.Join(out, "\n")
		}
		state := func() string {
			var out []string
			for _, id := range []string{"g", "new", "hall", "other hall"} {
				out = append(out, n.kept(id))
			}
			return strings.Join(append(out, in()), "\n")
		}
		for _, x := range calls {
			for _, how := range []*atomic.Bool{&st.full, &st.mistake} {
				if how == &st.mistake && x.what == "send" {
					continue // which is no transaction
				}
				for _, c := range all {
					n.toldSoFar(c)
				}
				before := state()
				how.Store(true)
				f := x.by.await(x.by.begin(x.make()))
				how.Store(false)
				if f.Code != im.CodeServerInternal {
					t.Errorf("%s is answered %d %s", x.what, f.Code, f.Desc)
				}
				for user, c := range all {
					if told := n.toldSoFar(c); len(told) > 0 {
						t.Errorf("%s fails, and %s is told %q", x.what, user, told)
					}
				}
				if after := state(); after != before {
					t.Errorf("%s fails, and of\n%s\nis left\n%s", x.what, before, after)
				}
			}
			method, req := x.make()
			var f *im.Frame
			until(t, x.what, func() bool { // a store that was full takes messages again after a moment
				f = x.by.await(x.by.begin(method, req))
				return f.Code != im.CodeServerInternal
			})
			if f.Code != 0 {
				t.Fatalf("%s is answered %d %s", x.what, f.Code, f.Desc)
			}
			switch {
			case x.tells != "":
				waits(ann, x.tells)
			case x.what == "enter a new room":
				waits(eve, "tip 1 by eve")
			}
		}
	})
}

// TestHostileRoomCalls: no request about a live room makes the server fail, or changes anything but by its rules.
func TestHostileRoomCalls(t *testing.T) {
	n := start(t, options{chat: chat.Config{RoomRate: 1 << 20}})
	ann, bob, eve := n.member("ann"), n.member("bob"), n.member("eve")
	epoch := ann.create("hall", liveType)
	ann.enter("hall", 0)
	bob.enter("hall", 0)
	key, hall := groupKey("hall"), named("hall")
	texts := []string{"", "\x00", "a\x00b", "\xff", strings.Repeat("x", 5000)}
	users := [][]string{nil, {""}, {"eve", "eve", "nobody"}, {"\x00"}, {"\xff"}, {strings.Repeat("u", 200)}, slices.Repeat([]string{"eve"}, 101), {"@TIM#SYSTEM"}}
	type call struct {
		m   im.Method
		req im.Body
	}
	var calls []call
	add := func(m im.Method, req im.Body) { calls = append(calls, call{m, req}) }
	for _, number := range []uint64{0, 1, epoch, math.MaxUint32, math.MaxInt64, math.MaxUint64} {
		g := &im.GroupRequest{GroupId: "hall", Epoch: number}
		add(im.Method_MEMBERS, &im.ListMembersRequest{Group: g, Next: number, Limit: uint32(number), Roles: uint32(number)})
		add(im.Method_PULL, &im.PullRequest{Conv: key, Epoch: number, From: number, To: number, History: number%2 == 0})
		add(im.Method_CHANGES, &im.ChangesRequest{Conv: key, Epoch: number, From: number, To: number})
		add(im.Method_SEQ_AT, &im.SeqAtRequest{Conv: key, Epoch: number, FromTime: math.MinInt64, ToTime: int64(number)})
		add(im.Method_READ, &im.ReadRequest{Positions: []*im.ReadPosition{{Conv: key, Epoch: number, Seq: number}}})
		add(im.Method_ROW, &im.RowRequest{Conv: key, Epoch: number, ClearedSeq: &number, RecvOpt: new(int32(-1))})
		add(im.Method_DELETE, &im.DeleteRequest{Conv: key, Epoch: number, Seqs: []uint64{number, number}})
		add(im.Method_REVOKE, &im.RevokeRequest{Conv: key, Epoch: number, Seq: number})
		add(im.Method_MODIFY, &im.ModifyRequest{Conv: key, Epoch: number, Seq: number, Version: number, Message: text("x")})
		add(im.Method_LOOKUP, &im.LookupRequest{Keys: []*im.SendKey{{Conv: key, ClientTime: 1, Random: 1, Epoch: number}}})
		add(im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{Group: hall, Action: im.AttributesAction(number), Ver: number + 7})
		add(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: hall, MaxMembers: new(uint64(math.MaxUint64)), AddOption: new(im.GroupAddOption(-5))})
		add(im.Method_HANDLE_GROUP_REQUEST, &im.HandleGroupRequest{Pendency: &im.GroupPendency{GroupId: "hall", FormIdentifier: "eve", Key: fmt.Sprint(number)}, Accept: true})
		priority := int32(number)
		said := &im.SendRequest{Conv: key, Epoch: number, ClientTime: 1, Random: uint32(number), Message: text("x")}
		said.Message.Priority, said.Message.IsOnlineMsg, said.Message.NeedReadReceipt = &priority, true, true
		add(im.Method_SEND, said)
		if number != 0 && number != epoch {
			add(im.Method_DISSOLVE_GROUP, g)
			add(im.Method_QUIT_GROUP, g)
			add(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: g, Again: true})
		}
	}
	for _, list := range users {
		add(im.Method_INVITE, &im.GroupMembersRequest{Group: hall, UserIds: list})
		add(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: hall, UserIds: list})
		add(im.Method_MEMBERS, &im.ListMembersRequest{Group: hall, UserIds: list})
	}
	for _, s := range texts {
		add(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: hall, UserId: "bob", NameCard: &s, Role: new(im.GroupMemberRole(-300))})
		add(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: hall, UserId: s, Mute: new(uint64(math.MaxUint64))})
		add(im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{Group: hall, Action: 2, Attributes: []*im.GroupAttributes{{Key: "k" + s + "\xff", Value: s}}})
		add(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: hall, Owner: &s})
		add(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: hall, Words: s + "\x00"})
	}
	before, failures := ann.groups("hall"), n.failed()
	for _, c := range []*conn{eve, bob, ann} {
		for _, x := range calls {
			for _, f := range []*im.Frame{c.await(c.begin(x.m, x.req)), c.resend(x.m, x.req)} {
				if f.Code == im.CodeServerInternal {
					t.Errorf("%s of %v is answered %s", x.m, x.req, f.Desc)
				}
			}
		}
	}
	if got := n.failed(); got != failures {
		t.Errorf("%v calls failed inside the server", got-failures)
	}
	if after := ann.groups("hall"); after != before {
		t.Errorf("the room was %s, and is %s", before, after)
	}
	n.toldSoFar(ann)
	bob.say("hall", "still here", 0)
	until(t, "what is said afterwards", func() bool {
		return slices.ContainsFunc(n.toldSoFar(ann), func(s string) bool { return strings.HasSuffix(s, "bob: still here") })
	})
}
