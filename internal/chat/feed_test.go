package chat_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store"
)

// A feed keeps its newest entries. Who asks for one that was cut off is told so, and the lists are whole without it.
func TestFeedIsCut(t *testing.T) {
	const keep = 20
	onBoth(t, chat.Config{FeedKeep: keep}, func(r *relations) {
		a := r.user("a")
		r.user("b")
		for range 3 * keep {
			a.adds("b", onlyMe)
			a.deletes(onlyMe, "b")
		}
		a.adds("b", onlyMe)
		a.events()
		if entries, cut := a.pull(1); len(entries) != 0 || !cut {
			t.Fatalf("%d entries from the start, cut %v", len(entries), cut)
		}
		floor, err := r.st.FeedFloor(r.Context(), a.UID)
		if err != nil || floor < 4*keep || floor > 6*keep {
			t.Fatal("floor", floor, err)
		}
		if _, cut := a.pull(floor); !cut {
			t.Error("the floor itself is not cut off")
		}
		entries, cut := a.pull(floor + 1)
		if cut || len(entries) != 6*keep+1-int(floor) || entries[0].Ver != floor+1 {
			t.Errorf("%d entries above the floor %d, cut %v", len(entries), floor, cut)
		}
		r.is("the whole", a.has(), "friend b")
		for _, req := range []*im.FeedRequest{{}, {From: 5, To: 4}} {
			_, err := call[*im.FeedReply](a, false, im.Method_FEED, req)
			r.is("a range that is none", im.CodeOf(err), im.CodeInvalidParameters)
		}
	})
}

// Each change is answered with the number of the caller's feed after it, before Call returns: what the session calls next is answered behind it.
func TestRepliesNameTheFeed(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		a, b := r.user("a"), r.user("b")
		var many []string
		for i := range 250 {
			many = append(many, r.user(fmt.Sprint("u", i)).Name)
		}
		b.permits(approval)
		ask := func(f *friend, method im.Method, req im.Request) {
			r.Helper()
			answer := make(chan answered, 1)
			r.mu.Lock()
			f.last++
			f.calls[f.last] = answer
			id := f.last
			r.mu.Unlock()
			if err := r.c.Call(r.Context(), f.Caller, &im.Frame{Id: id, Method: method}, req); err != nil {
				r.Fatal(method, err)
			}
			select {
			case got := <-answer:
				u, err := r.st.UserByID(r.Context(), f.UID)
				if n := got.body.(interface{ GetFeed() uint64 }).GetFeed(); got.err != nil || err != nil || n == 0 || n != u.Feed {
					r.Errorf("%s is answered with number %d, %v, and the feed ends at %d, %v", method, n, got.err, u.Feed, err)
				}
			default:
				r.Errorf("%s is done without an answer", method)
			}
		}
		for range 20 {
			ask(a, im.Method_ADD_FRIEND, &im.AddFriendRequest{UserId: "b"})
			ask(b, im.Method_READ_REQUESTS, &im.ReadRequestsRequest{})
			ask(b, im.Method_ANSWER_REQUEST, &im.AnswerRequestRequest{UserId: "a", Action: 1})
			ask(a, im.Method_UPDATE_FRIEND, &im.UpdateFriendRequest{UserId: "b", Remark: new("B")})
			ask(a, im.Method_UPDATE_FRIEND, &im.UpdateFriendRequest{UserId: "b", Remark: new("B")}) // changes nothing
			ask(a, im.Method_FRIEND_GROUPS, &im.FriendGroupsRequest{Action: im.FriendGroupAction_FRIEND_GROUP_CREATE, Names: []string{"x"}, UserIds: []string{"b"}})
			ask(a, im.Method_FRIEND_GROUPS, &im.FriendGroupsRequest{Action: im.FriendGroupAction_FRIEND_GROUP_DELETE, Names: []string{"x"}})
			ask(a, im.Method_DELETE_FRIENDS, &im.UsersRequest{UserIds: []string{"b"}, Both: true})
			ask(b, im.Method_ADD_FRIEND, &im.AddFriendRequest{UserId: "a"})
			ask(b, im.Method_DELETE_FRIENDS, &im.UsersRequest{UserIds: []string{"a"}})
		}
		ask(a, im.Method_BLOCK, &im.UsersRequest{UserIds: many})
		ask(a, im.Method_BLOCK, &im.UsersRequest{UserIds: []string{"u0", "nobody"}}) // changes nothing
		ask(a, im.Method_UNBLOCK, &im.UsersRequest{UserIds: many})
	})
}

// Replies are cut by bytes, and the pages of the whole have everything once, whatever is between them.
func TestRelationsInPages(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		a := r.user("a")
		const friends = 60
		long := strings.Repeat("v", 500)
		for i := range friends {
			name := fmt.Sprint("f", i)
			r.user(name)
			r.is(name, a.adds(name, onlyMe), 0)
			req := &im.UpdateFriendRequest{UserId: name}
			for k := range 20 {
				req.Custom = append(req.Custom, &im.FriendProfileCustomStringInfo{Key: fmt.Sprint("k", k), Value: long})
			}
			if _, err := call[*im.ChangeReply](a, false, im.Method_UPDATE_FRIEND, req); err != nil {
				t.Fatal(err)
			}
		}
		first, err := call[*im.RelationsReply](a, false, im.Method_RELATIONS, &im.RelationsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if size := first.SizeVT(); size < 256<<10 || size > 300<<10 || first.NextKind == 0 || first.Feed != 2*friends {
			t.Errorf("the first page has %d bytes, next %v, feed %d", size, first.NextKind, first.Feed)
		}
		reply, err := call[*im.FeedReply](a, false, im.Method_FEED, &im.FeedRequest{From: 1, To: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if size := reply.SizeVT(); size > 300<<10 || reply.To >= 2*friends {
			t.Errorf("a reply of the feed has %d bytes, up to %d", size, reply.To)
		}
		r.agrees(a)
	})
}

// What cannot be read costs itself, not the reply.
func TestUnreadableRelations(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		a := r.user("a")
		r.user("b")
		r.is("added", a.adds("b", onlyMe), 0)
		bad := []byte{0xff, 0xff, 0xff}
		err := r.st.Update(r.Context(), []chat.Key{{UID: a.UID}}, func(tx chat.Tx) error {
			f, err := tx.AddFeed(a.UID, 1, bad)
			if err != nil {
				return err
			}
			return tx.PutRelation(chat.Relation{UID: a.UID, Kind: im.RelationKind_RELATION_BLOCKED, Other: 1, Ver: f.Seq, Body: bad})
		})
		if err != nil {
			t.Fatal(err)
		}
		r.is("removed", a.deletes(onlyMe, "b"), "[0]")
		var got []string
		entries, _ := a.pull(1)
		for _, x := range entries {
			got = append(got, fmt.Sprint(x.Ver, " ", short(x)))
		}
		r.is("the feed", got, []string{"1 friend b", "3 -friend b"})
		r.is("the whole", a.has(), "")

		// Rows that cannot be read can be listed, changed and deleted, and hide nothing that stands beside them.
		c := r.user("c")
		spoil := func(kind im.RelationKind, other int64) {
			r.Helper()
			if err := r.st.Update(r.Context(), []chat.Key{{UID: a.UID}}, func(tx chat.Tx) error {
				return tx.PutRelation(chat.Relation{UID: a.UID, Kind: kind, Other: other, Ver: 4, Body: bad})
			}); err != nil {
				t.Fatal(err)
			}
		}
		spoil(im.RelationKind_RELATION_REQUEST_IN, int64(c.UID))
		spoil(im.RelationKind_RELATION_FRIEND_GROUP, 1)
		spoil(im.RelationKind_RELATION_REQUESTS_READ, 0)
		a.permits(approval)
		r.is("asked", r.user("d").adds("a", both), im.CodeWaitsForApproval)
		page, err := call[*im.PendencyPage](a, false, im.Method_REQUESTS, &im.RequestsRequest{})
		if err != nil || len(page.PendencyInfoArray) != 2 || page.UnreadNum != 1 {
			t.Fatal(page, err)
		}
		if _, err := call[*im.ChangeReply](a, false, im.Method_READ_REQUESTS, &im.ReadRequestsRequest{}); err != nil {
			t.Fatal(err)
		}
		r.is("deleted", a.users(im.Method_DELETE_REQUESTS, &im.UsersRequest{UserIds: []string{"c"}}), "[0]")
		r.is("answered", a.answers("d", 1), 0)
		spoil(im.RelationKind_RELATION_FRIEND, int64(c.UID))
		r.is("group", a.groups(im.FriendGroupAction_FRIEND_GROUP_CREATE, []string{"g"}, "", "c", "d"), "[0 0]")
		list, err := r.c.FriendsOf(r.Context(), "a", 0, 10)
		if err != nil || len(list.Items) != 2 {
			t.Fatal(list, err)
		}
		r.is("removed", a.deletes(both, "c", "d"), "[0 0]")
		r.is("the end", a.has(), "group g, read")
	})
}

// An entry that is pushed has the present profile of the other; one that is pulled later has the profile of then.
func TestEntriesHaveProfiles(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		a, b := r.user("a"), r.user("b")
		name := func(nick string) {
			if _, err := call[*im.VersionedProfile](b, false, im.Method_SET_PROFILE, &im.SetProfileRequest{Item: &im.UserProfileItem{NickName: &nick}}); err != nil {
				t.Fatal(err)
			}
		}
		name("Bob")
		a.adds("b", onlyMe)
		r.is("event", a.events(), "friend b")
		r.is("pushed", fmt.Sprint(a.told[0].Profile.NickName, a.told[0].ProfileVer), "Bob1")
		name("Robert")
		entries, _ := a.pull(1)
		r.is("pulled", fmt.Sprint(entries[0].Profile.NickName, entries[0].ProfileVer), "Robert2")
		r.is("listed", a.whole()["1 b 0"].Profile.NickName, "Robert")
	})
}

// The entries of a feed that are older than 30 days go when newer ones come.
func TestOldEntriesOfAFeed(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().UnixMilli())
	st, err := store.Open(t.Context(), store.Config{Dir: t.TempDir(), Log: quiet, Clock: func() time.Time { return time.UnixMilli(now.Load()) }})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	r := on(t, st, chat.Config{})
	a := r.user("a")
	r.user("b")
	add := func(n int) {
		for range n / 2 {
			a.adds("b", onlyMe)
			a.deletes(onlyMe, "b")
		}
	}
	add(90)
	now.Add((31 * 24 * time.Hour).Milliseconds())
	add(20)
	if floor, err := r.st.FeedFloor(t.Context(), a.UID); err != nil || floor != 90 {
		t.Errorf("floor %d, %v", floor, err)
	}
}
