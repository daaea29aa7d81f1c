package chat_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store"
)

// What becomes of an add, and who is notified of what.
func TestAddFriend(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		a, b := r.user("a"), r.user("b")
		r.is("myself", a.adds("a", both), im.CodeFriendParameters)
		r.is("nobody", a.adds("nobody", both), im.CodeFriendUnknown)
		r.is("one-way", a.adds("b", onlyMe), 0)
		r.is("a", a.events(), "friend b")
		r.is("b hears nothing", b.events(), "")
		r.is("again", a.adds("b", onlyMe), im.CodeAlreadyFriends)
		r.is("sent again", a.addsAgain(true, "b", onlyMe), 0)
		r.is("the other way too", a.adds("b", both), 0)
		r.is("a had b", a.events(), "")
		r.is("b", b.events(), "friend a")
		r.is("both have", b.adds("a", both), im.CodeAlreadyFriends)

		b.permits(nobody)
		r.is("friends already, whatever the permission", a.adds("b", both), im.CodeAlreadyFriends)
		r.is("one-way delete", a.deletes(onlyMe, "b"), "[0]")
		r.is("a", a.events(), "-friend b")
		r.is("b keeps a and hears nothing", b.events(), "")
		r.is("not any more", a.deletes(onlyMe, "b"), []int32{im.CodeNotAFriend})
		r.is("one-way is enough for a delete of both", a.deletes(both, "b"), "[0]")
		r.is("b", b.events(), "-friend a")
		r.is("denied", a.adds("b", both), im.CodeAddDenied)

		b.permits(approval)
		r.is("asked", a.adds("b", both), im.CodeWaitsForApproval)
		r.is("a", a.events(), "out b")
		r.is("b", b.events(), "in a")
		r.is("the same, sent again", a.addsAgain(true, "b", both), im.CodeWaitsForApproval)
		clear(a.made)
		r.is("another, sent again", a.addsAgain(true, "b", onlyMe), im.CodeWaitsForApproval)
		r.is("a", a.events(), "out b")
		r.is("b", b.events(), "in a")
		r.is("asked again is new again", a.adds("b", onlyMe), im.CodeWaitsForApproval)
		r.is("a", a.events(), "out b")
		r.is("b", b.events(), "in a")
		r.is("a one-way add of b does not answer", b.adds("a", onlyMe), 0)
		r.is("b has a, and the request", b.has(), "friend a, in a")
		r.is("rejected", b.answers("a", 2), 0)
		r.is("a", a.events(), "-out b")
		r.is("b", b.events(), "friend a, -in a")
		r.is("answered twice", b.answers("a", 2), im.CodeNoSuchRequest)
		r.is("a rejection that was sent again", b.answersAgain(true, "a", 2), 0)
		r.is("an acceptance that was sent again, of nothing", b.answersAgain(true, "a", 0), im.CodeNoSuchRequest)
		r.agrees(a, b)

		r.is("blocked", a.blocks("b"), "[0]")
		r.is("own block", a.adds("b", both), im.CodeBlockedBySelf)
		r.is("the other's block", b.adds("a", both), im.CodeBlockedByPeer)
		r.is("both", b.blocks("a"), "[0]")
		r.is("the own block first", b.adds("a", both), im.CodeBlockedBySelf)
		a.unblocks("b")
		b.unblocks("a")

		forbidden := "AdminForbid_Type_SendOut"
		if err := r.c.SetProfileAs(r.Context(), chat.Operator{Name: "admin"}, "a", &im.UserProfileItem{AdminForbidType: &forbidden}); err != nil {
			r.Fatal(err)
		}
		r.is("forbidden by an operator", a.adds("b", both), im.CodeAddForbidden)
		res, err := r.c.AddFriendAs(r.Context(), chat.Operator{Name: "admin"}, "a", &im.AddFriendRequest{UserId: "b", Both: true}, true)
		r.is("an operator's force", r.codeOf(res, err), 0)
		r.is("friends go before the lock", a.adds("b", both), im.CodeAlreadyFriends)
		r.agrees(a, b)
	})
}

// How a request ends, and that a list that is full leaves everything as it is.
func TestAnswerRequest(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		a, b := r.user("a"), r.user("b")
		a.permits(approval)
		b.permits(approval)
		noted := func(x *im.AddFriendRequest) {
			x.Remark, x.GroupName, x.Wording, x.Source = "my b", "work", "it is me", "AddSource_Type_test"
		}
		r.is("asked", a.adds("b", both, noted), im.CodeWaitsForApproval)
		in := b.whole()["2 a 0"].State
		r.is("what b sees", fmt.Sprint(in.Wording, in.Source, in.Remark, in.GroupName), "it is meAddSource_Type_test")
		r.is("accepted one-way", b.answers("a", 0), 0)
		r.is("a", a.events(), "out b, group work, friend b, -out b quiet")
		r.is("b", b.events(), "in a, -in a")
		var mine *im.RelationState
		for _, x := range a.whole() {
			if x.Kind == im.RelationKind_RELATION_FRIEND {
				mine = x.State
			}
		}
		r.is("what a noted", fmt.Sprint(mine.Remark, mine.Wording, len(mine.Groups)), "my bit is me1")
		r.is("an acceptance that was sent again", b.answersAgain(true, "a", 0), 0)
		r.is("one of both sides, which was not done", b.answersAgain(true, "a", 1), im.CodeNoSuchRequest)
		a.deletes(onlyMe, "b")
		a.events()

		// The answer to a request that crosses another one ends both, and keeps what both have noted.
		r.is("a asks", a.adds("b", both, noted), im.CodeWaitsForApproval)
		r.is("b adds", b.adds("a", both), 0)
		r.is("a", a.events(), "out b, friend b, -out b quiet")
		r.is("b", b.events(), "in a, friend a, -in a")
		r.is("what a noted", a.whole()["1 b 0"].State.Remark, "my b")
		a.deletes(both, "b")
		r.is("a asks", a.adds("b", both), im.CodeWaitsForApproval)
		a.users(im.Method_DELETE_REQUESTS, &im.UsersRequest{UserIds: []string{"b"}, Sent: true})
		r.is("a withdrew, so b asks", b.adds("a", both), im.CodeWaitsForApproval)
		r.is("to whom a request does not exist any more", b.answers("a", 1), im.CodeNoSuchRequest)
		r.is("b", b.has(), "out a")
		r.is("a accepts", a.answers("b", 1), 0)
		r.is("which was sent again", a.answersAgain(true, "b", 1), 0)
		r.is("a", a.has(), "friend b, group work")
		r.is("b", b.has(), "friend a")
		r.agrees(a, b)

		// Somebody who blocks ends what the other asked; a request of their own is not answered either.
		a.deletes(both, "b")
		r.is("a asks", a.adds("b", both), im.CodeWaitsForApproval)
		r.is("and b is asked by a", b.has(), "in a")
		a.events()
		b.events()
		r.is("b blocks", b.blocks("a"), "[0]")
		r.is("b", b.events(), "blocked a, -in a")
		r.is("a hears nothing", a.events(), "")
		b.unblocks("a")
		r.is("a asks again", a.adds("b", both), im.CodeWaitsForApproval)
		r.is("and blocks", a.blocks("b"), "[0]")
		r.is("b accepts", b.answers("a", 1), im.CodeBlockedByPeer)
		r.is("the request stays", b.has(), "in a")
		a.unblocks("b")

		// Full lists.
		r.fill(b, im.RelationKind_RELATION_FRIEND, 3000)
		a.events()
		b.events()
		r.is("b's is full", b.answers("a", 1), im.CodeTooManyFriends)
		r.is("nothing has happened", a.events()+b.events(), "")
		r.is("one-way still fits", b.answers("a", 0), 0)
		r.is("a", a.events(), "friend b, -out b quiet")
		r.is("b", b.events(), "-in a")
		a.deletes(onlyMe, "b")
		r.is("a asks", a.adds("b", both), im.CodeWaitsForApproval)
		r.empty(b, im.RelationKind_RELATION_FRIEND, 3000)
		r.fill(a, im.RelationKind_RELATION_FRIEND, 3000)
		a.events()
		b.events()
		r.is("a's is full", b.answers("a", 1), im.CodePeerTooManyFriends)
		a.permits(anybody)
		b.permits(anybody)
		r.is("a's is full", b.adds("a", both), im.CodePeerTooManyFriends)
		r.is("a's is full", a.adds("b", both), im.CodeTooManyFriends)
		r.is("nothing has happened", a.events()+b.events(), "")
		r.empty(a, im.RelationKind_RELATION_FRIEND, 3000)
		r.agrees(a, b)

		// Friend groups: the caller's own limit refuses, the other's only leaves the group out.
		r.fill(a, im.RelationKind_RELATION_FRIEND_GROUP, 31)
		other := func(x *im.AddFriendRequest) { x.GroupName = "one too many" }
		r.is("too many friend groups", a.adds("b", both, other), im.CodeTooManyFriendGroups)
		r.is("nothing has happened", a.events()+b.events(), "")
		r.is("in one that exists", a.adds("b", both, func(x *im.AddFriendRequest) { x.GroupName = "work" }), 0)
		r.empty(a, im.RelationKind_RELATION_FRIEND_GROUP, 31)
	})
}

// 100 requests in each direction; a list that is full refuses new ones, and none makes place for another.
func TestRequestLimits(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		a, b := r.user("a"), r.user("b")
		b.permits(approval)
		r.is("asked", a.adds("b", both), im.CodeWaitsForApproval)
		r.fill(a, im.RelationKind_RELATION_REQUEST_OUT, 99)
		c := r.user("c")
		c.permits(approval)
		r.is("a 101st", a.adds("c", both), im.CodeTooManyRequestsOpen)
		r.is("one that is open already", a.adds("b", both), im.CodeWaitsForApproval)
		r.fill(c, im.RelationKind_RELATION_REQUEST_IN, 100)
		r.is("to somebody who has 100", b.adds("c", both), im.CodeTooManyRequestsOpen)
		r.is("b has none", b.has(), "in a")
	})
}

// Lists of requests, unread numbers, and reading.
func TestRequests(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		b := r.user("b")
		b.permits(approval)
		page := func(req *im.RequestsRequest) string {
			r.Helper()
			p, err := call[*im.PendencyPage](b, false, im.Method_REQUESTS, req)
			if err != nil {
				r.Fatal(err)
			}
			var names []string
			for _, x := range p.PendencyInfoArray {
				names = append(names, fmt.Sprint(x.Identifier, x.Type))
			}
			req.StartSeq = p.CurrentSeq
			return fmt.Sprint(names, p.UnreadNum)
		}
		for _, name := range []string{"x1", "x2", "x3"} {
			r.is(name, r.user(name).adds("b", both), im.CodeWaitsForApproval)
		}
		z := r.user("z")
		z.permits(approval)
		r.is("b asks z", b.adds("z", both), im.CodeWaitsForApproval)
		in, all := &im.RequestsRequest{Limit: 2}, &im.RequestsRequest{Type: 2, Limit: 3}
		r.is("the newest first", page(in), "[x30 x20] 3")
		r.is("again is newest", r.user("x3").adds("b", both), im.CodeWaitsForApproval) // during the paging
		r.is("the rest", page(in), "[x10] 3")
		r.is("the end", in.StartSeq, 0)
		r.is("both ways", page(all), "[x30 z1 x20] 3")
		r.is("both ways", page(all), "[x10] 3")
		r.is("sent", page(&im.RequestsRequest{Type: 1}), "[z1] 3")
		b.events()
		read := func(at uint64) {
			r.Helper()
			if _, err := call[*im.ChangeReply](b, false, im.Method_READ_REQUESTS, &im.ReadRequestsRequest{Time: at}); err != nil {
				r.Fatal(err)
			}
		}
		read(1)
		r.is("nothing from before", b.events(), "")
		read(0)
		r.is("read", b.events(), "read")
		r.is("none is unread", page(&im.RequestsRequest{}), "[x30 x20 x10] 0")
		read(uint64(time.Now().Add(time.Hour).Unix()))
		r.is("nothing new was read", b.events(), "")
		x4 := r.user("x4")
		x4.adds("b", both)
		r.is("a future reading does not read what comes later", page(&im.RequestsRequest{}), "[x40 x30 x20 x10] 1")
		b.answers("x4", 2)
		r.is("an answered one does not count", page(&im.RequestsRequest{}), "[x30 x20 x10] 0")
		b.events()
		codes := b.users(im.Method_DELETE_REQUESTS, &im.UsersRequest{UserIds: []string{"x1", "nobody", "x1", "z", "b"}, Both: true})
		r.is("deleted", codes, []int32{0, im.CodeFriendUnknown, 0, 0, im.CodeFriendParameters})
		r.is("one event for each", b.events(), "-in x1, -out z")
		r.is("the other side's stays", z.has(), "in b")
		r.agrees(b, z, x4)
	})
}

// Who has deleted a request has none to answer: their own add asks. Requests in both directions that are deleted at once are one event.
func TestRequestsBothWays(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		a, b := r.user("a"), r.user("b")
		a.permits(approval)
		b.permits(approval)
		r.is("a asks", a.adds("b", both), im.CodeWaitsForApproval)
		r.is("b deletes it", b.users(im.Method_DELETE_REQUESTS, &im.UsersRequest{UserIds: []string{"a"}}), "[0]")
		r.is("and asks", b.adds("a", both), im.CodeWaitsForApproval)
		r.is("a asks one-way, which is no answer", a.adds("b", onlyMe), im.CodeWaitsForApproval)
		b.events()
		r.is("b has both", b.has(), "in a, out a")
		r.is("and deletes both", b.users(im.Method_DELETE_REQUESTS, &im.UsersRequest{UserIds: []string{"a"}, Both: true}), "[0]")
		r.is("one event", b.events(), "-in a, -out a quiet")
		r.agrees(a, b)
	})
}

// A request that comes in the millisecond of the reading is unread.
func TestRequestAtTheMomentOfReading(t *testing.T) {
	now := time.Now()
	st, err := store.Open(t.Context(), store.Config{Dir: t.TempDir(), Log: quiet, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	r := on(t, st, chat.Config{})
	b := r.user("b")
	b.permits(approval)
	for i, name := range []string{"x", "y", "z"} {
		r.user(name).adds("b", both)
		page, err := call[*im.PendencyPage](b, false, im.Method_REQUESTS, &im.RequestsRequest{})
		if err != nil || page.UnreadNum != 1 || len(page.PendencyInfoArray) != i+1 {
			t.Fatalf("request %d: %v, %v", i, page, err)
		}
		if _, err := call[*im.ChangeReply](b, false, im.Method_READ_REQUESTS, &im.ReadRequestsRequest{}); err != nil {
			t.Fatal(err)
		}
		r.is("read", strings.HasSuffix(b.events(), "read"), true)
	}
	// Asked again within the same millisecond, it is another one: devices tell requests apart by their times.
	w := r.user("w")
	var last int64
	for range 3 {
		w.adds("b", both)
		if at := b.whole()["2 w 0"].State.Time; at <= last {
			t.Errorf("asked again at %d, after %d", at, last)
		} else {
			last = at
		}
	}
}

// A block ends everything on both sides except what the other asked for and keeps; the other hears only that a friend is gone.
func TestBlock(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint("keeps friend ", keep), func(t *testing.T) {
			onBoth(t, chat.Config{BlockKeepsFriend: keep}, func(r *relations) {
				a, b := r.user("a"), r.user("b")
				a.adds("b", both)
				cv, err := r.st.C2C(r.Context(), a.UID, b.UID)
				if err != nil {
					r.Fatal(err)
				}
				a.events()
				b.events()
				r.is("blocked", a.blocks("b", "a", "nobody", "b"), []int32{0, im.CodeFriendParameters, im.CodeFriendUnknown, 0})
				if keep {
					r.is("a", a.events(), "blocked b")
					r.is("b", b.events(), "")
					r.is("b has", b.has(), "friend a")
				} else {
					r.is("a", a.events(), "blocked b, -friend b")
					r.is("b", b.events(), "-friend a")
					r.is("b has", b.has(), "")
				}
				now, err := r.st.Conv(r.Context(), cv.ID)
				if err != nil || now.Policy != cv.Policy+1 {
					r.Fatalf("the policy number was %d and is %d, %v", cv.Policy, now.Policy, err)
				}
				r.agrees(a, b)
				r.is("again", a.blocks("b"), []int32{im.CodeFriendParameters})
				res, err := call[*im.FriendResults](a, true, im.Method_BLOCK, &im.UsersRequest{UserIds: []string{"b", "a", "nobody", "b"}})
				r.is("sent again", r.codesOf(res, err), []int32{0, im.CodeFriendParameters, im.CodeFriendUnknown, 0})
				r.is("unblocked", a.unblocks("b"), "[0]")
				r.is("a", a.events(), "-blocked b")
				r.is("b", b.events(), "")
				r.is("not blocked", a.unblocks("b"), "[0]")
				r.is("nothing", a.events(), "")
				r.fill(a, im.RelationKind_RELATION_BLOCKED, 1000)
				r.is("the blacklist is full", a.blocks("b"), []int32{im.CodeTooManyBlocked})
				r.empty(a, im.RelationKind_RELATION_BLOCKED, 1000)
				r.agrees(a, b)
			})
		})
	}
}

// A call about 1,000 users is several transactions. Its reply comes before all that the caller's devices get.
func TestLongCall(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		a := r.user("a")
		var names []string
		for i := range 250 {
			names = append(names, r.user(fmt.Sprint("u", i)).Name)
		}
		codes := a.blocks(names...)
		r.is("results", len(codes), 250)
		if slices.ContainsFunc(codes, func(c int32) bool { return c != 0 }) {
			r.Fatal(codes)
		}
		r.is("events", len(strings.Split(a.events(), ", ")), 250)
		r.mu.Lock()
		r.is("order", a.order[:4], []string{"reply", "push", "push", "push"})
		r.mu.Unlock()
		r.agrees(a)
		r.is("too many", a.blocks(make([]string, 1001)...), []int32{im.CodeFriendParameters})
	})
}

// hastyStore is a store for whose caller the time runs out with the first transaction about many users.
type hastyStore struct {
	chat.Store
	over func()
}

func (s *hastyStore) Update(ctx context.Context, keys []chat.Key, fn func(chat.Tx) error) error {
	err := s.Store.Update(ctx, keys, fn)
	if len(keys) > 2 {
		s.over()
	}
	return err
}

// If such a call ends in between, the caller's devices get what has been done by then: an admin's program may disconnect.
func TestLongCallInterrupted(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		ctx, cancel := context.WithCancel(t.Context())
		hasty := on(t, &hastyStore{r.st, cancel}, chat.Config{})
		a := hasty.user("a")
		var names []string
		for i := range 250 {
			names = append(names, hasty.user(fmt.Sprint("u", i)).Name)
		}
		if got, err := hasty.c.BlockAs(ctx, chat.Operator{}, "a", &im.UsersRequest{UserIds: names}); !errors.Is(err, context.Canceled) {
			r.Fatal(got, err)
		}
		r.is("events", len(strings.Split(a.events(), ", ")), 100)
		hasty.agrees(a)
	})
}

// Friend groups: what each action does, what refuses it as a whole, and what is left when a group is deleted.
func TestFriendGroups(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		const create, remove, rename = im.FriendGroupAction_FRIEND_GROUP_CREATE, im.FriendGroupAction_FRIEND_GROUP_DELETE, im.FriendGroupAction_FRIEND_GROUP_RENAME
		const in, out = im.FriendGroupAction_FRIEND_GROUP_ADD, im.FriendGroupAction_FRIEND_GROUP_REMOVE
		a := r.user("a")
		for _, name := range []string{"b", "c", "d"} {
			r.user(name)
		}
		a.adds("b", onlyMe)
		a.adds("c", onlyMe)
		a.events()
		bad := []int32{im.CodeFriendParameters}
		r.is("created", a.groups(create, []string{"x", "y"}, "", "b", "d", "nobody"), []int32{0, im.CodeNotAFriendInGroup, im.CodeFriendUnknown})
		r.is("events", a.events(), "group x, group y, friend b")
		r.is("exists, as a whole", a.groups(create, []string{"new", "x"}, ""), bad)
		r.is("empty", a.groups(create, []string{"new", ""}, ""), bad)
		r.is("31 bytes", a.groups(create, []string{strings.Repeat("n", 31)}, ""), bad)
		r.is("no name", a.groups(create, nil, ""), bad)
		r.is("no action", a.groups(0, []string{"x"}, ""), bad)
		r.is("renamed", a.groups(rename, []string{"x"}, "z"), "[]")
		r.is("one event", a.events(), "group z")
		r.is("to one that exists", a.groups(rename, []string{"z"}, "y"), bad)
		r.is("two at once", a.groups(rename, []string{"z", "y"}, "w"), bad)
		r.is("with users", a.groups(remove, []string{"z"}, "", "b"), bad)
		r.is("one that does not exist", a.groups(remove, []string{"z", "x"}, ""), bad)
		r.is("nothing of all that", a.events(), "")
		r.is("put in", a.groups(in, []string{"z"}, "", "b", "c"), "[0 0]")
		r.is("only who was not", a.events(), "friend c")
		r.is("taken out", a.groups(out, []string{"y"}, "", "b", "c"), "[0 0]")
		r.is("only who was in", a.events(), "friend b")
		r.is("into none", a.groups(in, []string{"x"}, "", "b"), bad)
		r.is("deleted", a.groups(remove, []string{"z"}, ""), "[]")
		r.is("one event, friends stay", a.events(), "-group")
		for range 40 { // rows do not keep the numbers of groups that are gone
			a.groups(create, []string{"t"}, "", "b")
			a.groups(remove, []string{"t"}, "")
		}
		r.is("numbers in the row", len(a.whole()["1 b 0"].State.Groups), 1)
		res, err := call[*im.FriendResults](a, true, im.Method_FRIEND_GROUPS, &im.FriendGroupsRequest{Action: remove, Names: []string{"t"}})
		r.is("a deletion that was sent again", r.codesOf(res, err), "[]")
		r.fill(a, im.RelationKind_RELATION_FRIEND_GROUP, 31)
		r.is("two more than fit", a.groups(create, []string{"last", "33rd"}, ""), []int32{im.CodeTooManyFriendGroups})
		r.is("30 bytes, the 33rd", a.groups(create, []string{strings.Repeat("n", 30)}, ""), []int32{im.CodeTooManyFriendGroups})
		r.is("the number of a group is not given twice", a.groups(remove, []string{"y"}, ""), "[]")
		r.empty(a, im.RelationKind_RELATION_FRIEND_GROUP, 31)
		r.agrees(a)
	})
}

// What a user notes about a friend.
func TestUpdateFriend(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		a, b := r.user("a"), r.user("b")
		update := func(req *im.UpdateFriendRequest) int32 {
			r.Helper()
			if req.UserId == "" {
				req.UserId = "b"
			}
			_, err := call[*im.ChangeReply](a, false, im.Method_UPDATE_FRIEND, req)
			return im.CodeOf(err)
		}
		text := func(s string) *string { return &s }
		field := func(key, value string) []*im.FriendProfileCustomStringInfo {
			return []*im.FriendProfileCustomStringInfo{{Key: key, Value: value}}
		}
		r.is("no friend", update(&im.UpdateFriendRequest{Remark: text("x")}), im.CodeNotAFriend)
		r.is("nobody", update(&im.UpdateFriendRequest{UserId: "nobody", Remark: text("x")}), im.CodeFriendUnknown)
		a.adds("b", both)
		a.events()
		b.events()
		r.is("a remark", update(&im.UpdateFriendRequest{Remark: text("old b")}), 0)
		r.is("a", a.events(), "friend b")
		r.is("not b", b.events(), "")
		r.is("the same again", update(&im.UpdateFriendRequest{Remark: text("old b")}), 0)
		r.is("is nothing", a.events(), "")
		r.is("a field", update(&im.UpdateFriendRequest{Custom: field("Tag_SNS_Custom_k1", "v")}), 0)
		r.is("groups, made as needed", update(&im.UpdateFriendRequest{SetGroups: true, GroupNames: []string{"g", "h", "g"}}), 0)
		r.is("events", a.events(), "friend b, group g, group h, friend b")
		state := a.whole()["1 b 0"].State
		r.is("state", fmt.Sprint(state.Remark, state.Custom, len(state.Groups)), fmt.Sprint("old b", field("k1", "v"), 2))
		r.is("a field without prefix", update(&im.UpdateFriendRequest{Custom: field("k1", "")}), 0)
		r.is("is the same one", len(a.whole()["1 b 0"].State.Custom), 0)
		bad := im.CodeFriendParameters
		r.is("97 bytes", update(&im.UpdateFriendRequest{Remark: text(strings.Repeat("r", 97))}), bad)
		r.is("96 bytes", update(&im.UpdateFriendRequest{Remark: text(strings.Repeat("r", 96))}), 0)
		r.is("a key of 9", update(&im.UpdateFriendRequest{Custom: field("k12345678", "v")}), bad)
		r.is("a key with a sign", update(&im.UpdateFriendRequest{Custom: field("k-", "v")}), bad)
		r.is("501 bytes", update(&im.UpdateFriendRequest{Custom: field("k", strings.Repeat("v", 501))}), bad)
		for i := range 20 {
			r.is("one of 20 fields", update(&im.UpdateFriendRequest{Custom: field(fmt.Sprint("n", i), "v")}), 0)
		}
		r.is("a 21st", update(&im.UpdateFriendRequest{Custom: field("n20", "v")}), bad)
		r.is("in place of another", update(&im.UpdateFriendRequest{Custom: append(field("n20", "v"), field("n0", "")...)}), 0)
		r.agrees(a, b)
	})
}

// Texts, sources and lists beyond their limits refuse a call as a whole; one bad user among many does not.
func TestRelationLimits(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		a := r.user("a")
		r.user("b")
		for what, set := range map[string]func(*im.AddFriendRequest){
			"remark":      func(x *im.AddFriendRequest) { x.Remark = strings.Repeat("r", 97) },
			"wording":     func(x *im.AddFriendRequest) { x.Wording = strings.Repeat("w", 257) },
			"group":       func(x *im.AddFriendRequest) { x.GroupName = strings.Repeat("g", 31) },
			"no prefix":   func(x *im.AddFriendRequest) { x.Source = "test" },
			"no source":   func(x *im.AddFriendRequest) { x.Source = "AddSource_Type_" },
			"nine":        func(x *im.AddFriendRequest) { x.Source = "AddSource_Type_ninechars" },
			"not letters": func(x *im.AddFriendRequest) { x.Source = "AddSource_Type_a1" },
		} {
			r.is(what, a.adds("b", both, set), im.CodeFriendParameters)
		}
		many := make([]string, 101)
		for i := range many {
			many[i] = fmt.Sprint("u", i)
		}
		for _, method := range []im.Method{im.Method_DELETE_FRIENDS, im.Method_DELETE_REQUESTS} {
			r.is("too many", a.users(method, &im.UsersRequest{UserIds: many}), []int32{im.CodeFriendParameters})
			r.is("none", a.users(method, &im.UsersRequest{}), []int32{im.CodeFriendParameters})
			r.is("100", len(a.users(method, &im.UsersRequest{UserIds: many[:100]})), 100)
		}
		_, err := call[*im.CheckFriendsReply](a, false, im.Method_CHECK_FRIENDS, &im.UsersRequest{UserIds: many})
		r.is("too many to check", im.CodeOf(err), im.CodeFriendParameters)
		r.is("the most of each", a.adds("b", onlyMe, func(x *im.AddFriendRequest) {
			x.Remark, x.Wording, x.GroupName = strings.Repeat("r", 96), strings.Repeat("w", 256), strings.Repeat("g", 30)
			x.Source = "AddSource_Type_eightchr"
		}), 0)
		r.is("one bad user among many", a.deletes(onlyMe, "nobody", "b", "a", "c d"), []int32{im.CodeFriendUnknown, 0, im.CodeFriendParameters, im.CodeFriendUnknown})
		check, err := call[*im.CheckFriendsReply](a, false, im.Method_CHECK_FRIENDS, &im.UsersRequest{UserIds: []string{"b", "nobody", "a"}, Both: true})
		r.is("check", fmt.Sprint(check.GetResults()[0].Relation, check.GetResults()[1].Code, check.GetResults()[2].Code, err), fmt.Sprint(0, im.CodeFriendUnknown, im.CodeFriendParameters, nil))
		r.agrees(a)
	})
}

// Whether users are friends, from both sides.
func TestCheckFriends(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		a := r.user("a")
		for _, name := range []string{"none", "mine", "theirs", "both"} {
			u := r.user(name)
			if name == "mine" || name == "both" {
				a.adds(name, onlyMe)
			}
			if name == "theirs" || name == "both" {
				u.adds("a", onlyMe)
			}
		}
		for _, want := range []struct {
			both bool
			kind string
		}{{false, "[0 1 0 1]"}, {true, "[0 1 2 3]"}} {
			reply, err := call[*im.CheckFriendsReply](a, false, im.Method_CHECK_FRIENDS, &im.UsersRequest{UserIds: []string{"none", "mine", "theirs", "both"}, Both: want.both})
			if err != nil {
				r.Fatal(err)
			}
			var got []int32
			for _, x := range reply.Results {
				got = append(got, x.Relation)
			}
			r.is("relations", got, want.kind)
		}
	})
}
