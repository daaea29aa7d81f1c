package client_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// An event of relations that was committed and whose callback has not begun fires in the next run, once; what a batch that is undone contained is
// applied once more, and told once.
func TestRelationsOwed(t *testing.T) {
	f := newFriendFeed(t)
	in, hold := make(chan bool, 1), make(chan bool)
	d := openWith(t, fakeConfig(t, f.fake), func(ev *client.Events) {
		ev.FriendsAdded = func([]string) { in <- true; <-hold }
	})
	d.login()
	d.friendList() // of a new device; what comes after it is told
	f.change("f1", "", false)
	<-in
	f.change("f2", "", false)
	f.change("f3", "", false)
	eventually(t, "the friends", func() bool { return len(d.friendList()) == 3 })
	d.Close()
	close(hold)
	d = open(t, d.cfg)
	if err := d.FailCommits(1); err != nil { // the batch that tells what is owed
		t.Fatal(err)
	}
	if err := d.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	heard := func(n int) {
		t.Helper()
		d.until(t, "the events", func([]event) bool { return len(shortFriends(d.heard())) >= n })
		d.settled()
	}
	heard(2)
	if err := d.FailCommits(1); err != nil { // the batch with the next entry
		t.Fatal(err)
	}
	f.change("f4", "", false)
	f.change("f1", "one", false)
	heard(4)
	if got := shortFriends(d.heard()); !slices.Equal(got, []string{"added f2", "added f3", "added f4", "remark f1 one"}) {
		t.Errorf("heard %q", got)
	}
	d = d.again()
	d.settled()
	if got := d.heard(); len(got) > 0 {
		t.Errorf("the next run heard %q", got)
	}
}

// A server with another store begins another feed: the difference between what the device has and what there is now is told, once.
func TestRelationsOfAnotherStore(t *testing.T) {
	f := newFriendFeed(t)
	for _, name := range []string{"f1", "f2", "f3"} {
		f.change(name, "", false)
	}
	d := dial(t, fakeConfig(t, f.fake))
	d.Close()
	other := newFriendFeed(t)
	other.store = "another"
	other.change("f2", "two", false)
	other.change("f4", "", false)
	d.cfg.Server = other.URL
	d = dial(t, d.cfg)
	d.settled()
	got := shortFriends(d.heard())
	if slices.Sort(got); !slices.Equal(got, []string{"added f4", "deleted f1", "deleted f3", "remark f2 two"}) {
		t.Errorf("heard %q", got)
	}
	if got, want := d.friendList(), other.list(); !slices.Equal(got, want) {
		t.Errorf("the device has %q, the server %q", got, want)
	}
	d = d.again()
	d.settled()
	if got := d.heard(); len(got) > 0 {
		t.Errorf("the next run heard %q", got)
	}
}

// Lists, groups, search and profiles of friends can be read without a connection; what only the server knows cannot. The search finds parts of ids, nick
// names and remarks, in the fields that it is to look in.
func TestRelationsOffline(t *testing.T) {
	s := imtest.Start(t)
	bob, cid := dial(t, config(t, s, "bob")), dial(t, config(t, s, "cid"))
	ann := dial(t, config(t, s, "ann"))
	if err := bob.Profiles().SetSelf(within(t), &im.UserProfileItem{NickName: new("Straße")}); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"bob", "cid"} {
		r, err := ann.Friends().Add(within(t), &im.AddFriendRequest{UserId: user, Both: true, Remark: "my " + user, GroupName: "all"})
		result(t, r, err, 0)
	}
	rs, err := ann.Friends().Block(within(t), []string{"cid"})
	results(t, rs, err, 0)
	cid.until(t, "the end of the friendship", func([]event) bool { return len(cid.of("friends_deleted")) > 0 })
	ann = ann.again()
	ann.Close()
	s.Stop()
	d := open(t, ann.cfg)
	d.Trust()
	ctx := within(t)
	friends, err := d.Friends().List(ctx)
	if err != nil || len(friends) != 1 || friends[0].Identifier != "bob" || friends[0].Remark != "my bob" || friends[0].UserProfile.GetNickName() != "Straße" ||
		!slices.Equal(friends[0].GroupNameArray, []string{"all"}) || time.Since(time.Unix(int64(friends[0].AddTime), 0)) > time.Minute {
		t.Errorf("friends %v, %v", friends, err)
	}
	if blocked, err := d.Friends().Blacklist(ctx); err != nil || len(blocked) != 1 || blocked[0].Identifier != "cid" {
		t.Errorf("blocked %v, %v", blocked, err)
	}
	if groups, err := d.Friends().Groups(ctx, nil); err != nil || len(groups) != 1 || groups[0].Name != "all" || !slices.Equal(groups[0].IdentifierArray, []string{"bob"}) {
		t.Errorf("groups %v, %v", groups, err)
	}
	if groups, err := d.Friends().Groups(ctx, []string{"none"}); err != nil || len(groups) != 0 {
		t.Errorf("groups %v, %v", groups, err)
	}
	if ps, err := d.Profiles().Get(ctx, []string{"ann", "bob"}, false); err != nil || len(ps) != 2 || ps[1].NickName != "Straße" {
		t.Errorf("profiles %v, %v", ps, err)
	}
	if info, err := d.Friends().Info(ctx, []string{"bob"}); err != nil || len(info) != 1 || info[0].RelationType != 1 || info[0].FieldInfo.GetRemark() != "my bob" {
		t.Errorf("info %v, %v", info, err)
	}
	for _, c := range []struct {
		words  []string
		fields []int32
		found  int
	}{
		{[]string{"STRASSE"}, nil, 1}, {[]string{"no", "rass"}, []int32{client.SearchNickName}, 1}, {[]string{"rass"}, []int32{client.SearchUserID, client.SearchRemark}, 0},
		{[]string{"MY B"}, []int32{client.SearchRemark}, 1}, {[]string{"my"}, []int32{client.SearchUserID}, 0}, {[]string{"ob"}, []int32{1 | 4}, 1}, {[]string{"cid"}, nil, 0},
	} {
		found, err := d.Friends().Search(ctx, &im.FriendSearchParam{KeywordList: c.words, SearchFieldList: c.fields})
		if err != nil || len(found) != c.found {
			t.Errorf("%q in %v: %v, %v", c.words, c.fields, found, err)
		}
	}
	for _, p := range []*im.FriendSearchParam{nil, {KeywordList: []string{" "}}, {KeywordList: []string{"1", "2", "3", "4", "5", "6"}}, {KeywordList: []string{"x"}, SearchFieldList: []int32{8}}} {
		_, err := d.Friends().Search(ctx, p)
		wantCode(t, err, im.CodeFriendParameters)
	}
	_, err = d.Friends().Requests(ctx, nil)
	wantCode(t, err, im.CodeNotLoggedIn)
	_, err = d.Profiles().Get(ctx, []string{"cid"}, false)
	wantCode(t, err, im.CodeNotLoggedIn)
	d.cfg.UserSig = "another"
	d.Close()
	d = open(t, d.cfg)
	_, err = d.Friends().List(ctx)
	wantCode(t, err, im.CodeNotLoggedIn)
}
