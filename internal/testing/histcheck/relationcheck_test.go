package histcheck_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/histcheck"
)

// related is a small correct history of relations: ann and ben become friends, ann notes a remark, ben gives himself a name, blocks cleo, who has asked
// him, and gets nothing of what she sends.
func related() *histcheck.History {
	h := &histcheck.History{Users: []string{"ann", "ben", "cleo"}}
	clock := int64(0)
	device := func(user string) *histcheck.Device {
		d := &histcheck.Device{Name: user + "-0", User: user, First: true}
		h.Devices = append(h.Devices, d)
		return d
	}
	ann, ben, cleo := device("ann"), device("ben"), device("cleo")
	add := func(d *histcheck.Device, r histcheck.Record) {
		clock++
		r.At, r.Run = clock, 1
		if strings.ToLower(r.Kind) == r.Kind {
			r.Batch = int(clock)
		}
		d.Records = append(d.Records, r)
	}
	call := func(d *histcheck.Device, op string, r histcheck.Record, result int32) {
		r.Op, r.Kind, r.Call = "rel:"+op, histcheck.Calling, len(d.Records)+1
		add(d, r)
		r.Kind, r.N = histcheck.Returned, int(result)
		add(d, r)
	}
	update := func(user string, item *im.FriendProfileItem) histcheck.Record {
		b, _ := (&im.FriendProfileUpdate{Identifier: user, Item: item}).MarshalVT()
		return histcheck.Record{Kind: histcheck.FriendsUpdated, Conv: user, Info: string(b)}
	}
	send := func(d *histcheck.Device, to, tag string) {
		s := &histcheck.Send{Device: d, User: d.User, Run: 1, Conv: to, Tag: tag, Answers: 1, Call: len(d.Records) + 1, At: clock + 1}
		r := histcheck.Record{Kind: histcheck.Calling, Op: "send", Call: s.Call, Conv: to, Tag: tag}
		add(d, r)
		r.Kind = histcheck.Returned
		add(d, r)
		d.Sends = append(d.Sends, s)
	}
	for _, d := range h.Devices {
		add(d, histcheck.Record{Kind: histcheck.Opened})
		add(d, histcheck.Record{Kind: histcheck.Start})
	}
	call(ann, "add", histcheck.Record{Conv: "ben", Text: "old friend", Self: true}, 0)
	add(ann, histcheck.Record{Kind: histcheck.FriendsAdded, Conv: "ben"})
	add(ben, histcheck.Record{Kind: histcheck.FriendsAdded, Conv: "ann"})
	call(ann, "remark", histcheck.Record{Conv: "ben", Text: "the best"}, 0)
	remark, name := "the best", "Ben"
	add(ann, update("ben", &im.FriendProfileItem{Remark: &remark}))
	call(ben, "nick", histcheck.Record{Text: "Ben"}, 0)
	add(ann, update("ben", &im.FriendProfileItem{Profile: &im.UserProfileItem{NickName: &name}}))
	send(cleo, "ben", "before")
	add(ben, histcheck.Record{Kind: histcheck.New, Conv: "cleo", Tag: "before", From: "cleo"})
	call(cleo, "add", histcheck.Record{Conv: "ben", Text: "hello", Self: true}, im.CodeWaitsForApproval)
	add(ben, histcheck.Record{Kind: histcheck.Requests, Conv: "cleo", Text: "hello"})
	call(ben, "block", histcheck.Record{Conv: "cleo"}, 0)
	add(ben, histcheck.Record{Kind: histcheck.BlockedAdded, Conv: "cleo"})
	add(ben, histcheck.Record{Kind: histcheck.RequestsDeleted, Conv: "cleo"})
	send(cleo, "ben", "during")
	state := func(user string) *histcheck.Relations {
		x := &histcheck.Relations{Friends: map[string]histcheck.Friend{}, In: map[string]string{}, Out: map[string]string{}}
		switch user {
		case "ann":
			x.Friends["ben"] = histcheck.Friend{Remark: "the best", Nick: "Ben"}
		case "ben":
			x.Friends["ann"] = histcheck.Friend{}
			x.Blocked, x.Nick = []string{"cleo"}, "Ben"
		case "cleo":
			x.Out["ben"] = "hello"
		}
		return x
	}
	h.Relations = map[string]*histcheck.Relations{}
	for _, d := range h.Devices {
		d.Relations, h.Relations[d.User] = state(d.User), state(d.User)
	}
	h.Notices = []histcheck.Notice{
		{"Sns.CallbackFriendAdd", "ann", "ben"}, {"Sns.CallbackFriendAdd", "ben", "ann"}, {"Sns.CallbackFriendAdd", "ben", "ann"},
		{"Profile.CallbackPortraitSet", "ben", "Ben"}, {"Sns.CallbackBlackListAdd", "ben", "cleo"},
	}
	return h
}

// TestCheckRelations shows that the checker accepts a good history of relations and detects what it is there to detect: among others an event that was
// lost, one that was doubled, and what a device does that gets the whole without the numbers of its rows.
func TestCheckRelations(t *testing.T) {
	if bad := histcheck.CheckRelations(related()); len(bad) > 0 {
		t.Fatalf("a good history: %s", strings.Join(bad, "\n"))
	}
	find := func(d *histcheck.Device, kind string) int {
		return slices.IndexFunc(d.Records, func(r histcheck.Record) bool { return r.Kind == kind })
	}
	lose := func(d *histcheck.Device, kind string) {
		i := find(d, kind)
		d.Records = slices.Delete(d.Records, i, i+1)
	}
	double := func(d *histcheck.Device, kind string) {
		r := d.Records[find(d, kind)]
		r.At, r.Batch = 1000, 1000
		d.Records = append(d.Records, r)
	}
	notice := func(h *histcheck.History, command string) int {
		return slices.IndexFunc(h.Notices, func(n histcheck.Notice) bool { return n.Command == command })
	}
	for _, c := range []struct {
		name, want string
		spoil      func(h *histcheck.History, ann, ben, cleo *histcheck.Device)
	}{
		{"a lost friend", "ann is a friend: true, announced false", func(_ *histcheck.History, _, ben, _ *histcheck.Device) { lose(ben, histcheck.FriendsAdded) }},
		{"a lost block", "cleo is blocked: true, announced false", func(_ *histcheck.History, _, ben, _ *histcheck.Device) { lose(ben, histcheck.BlockedAdded) }},
		{"a lost end of a request", `the request "hello" of cleo is gone`, func(_ *histcheck.History, _, ben, _ *histcheck.Device) { lose(ben, histcheck.RequestsDeleted) }},
		{"a doubled friend", "a friend added twice", func(_ *histcheck.History, ann, _, _ *histcheck.Device) { double(ann, histcheck.FriendsAdded) }},
		{"a doubled block", "blocked twice", func(_ *histcheck.History, _, ben, _ *histcheck.Device) { double(ben, histcheck.BlockedAdded) }},
		{"a doubled change", "a change that changes nothing", func(_ *histcheck.History, ann, _, _ *histcheck.Device) { double(ann, histcheck.FriendsUpdated) }},
		{"a doubled request", "a request told twice", func(_ *histcheck.History, _, ben, _ *histcheck.Device) { double(ben, histcheck.Requests) }},
		{"a doubled message", "a message told twice", func(_ *histcheck.History, _, ben, _ *histcheck.Device) { double(ben, histcheck.New) }},
		// Without ver, entries that the whole contains are applied again, the older over the newer.
		{"a whole without ver", `of ben it was told {of old Ben }`, func(_ *histcheck.History, ann, _, _ *histcheck.Device) {
			old := "of old"
			b, _ := (&im.FriendProfileUpdate{Identifier: "ben", Item: &im.FriendProfileItem{Remark: &old}}).MarshalVT()
			ann.Records = append(ann.Records, histcheck.Record{Kind: histcheck.FriendsUpdated, Conv: "ben", Info: string(b), At: 1000, Batch: 1000})
		}},
		{"a device behind", "server and device have friends", func(_ *histcheck.History, ann, _, _ *histcheck.Device) {
			ann.Relations.Friends["ben"] = histcheck.Friend{Remark: "old friend", Nick: "Ben"}
		}},
		{"an unread request", "server and device have requests", func(_ *histcheck.History, _, ben, _ *histcheck.Device) { ben.Relations.Unread = 1 }},
		{"a lost remark", "no call explains", func(h *histcheck.History, ann, _, _ *histcheck.Device) {
			h.Relations["ann"].Friends["ben"] = histcheck.Friend{Remark: "old friend", Nick: "Ben"}
		}},
		{"a lost friendship", "no call explains", func(h *histcheck.History, _, _, _ *histcheck.Device) { delete(h.Relations["ben"].Friends, "ann") }},
		{"a lost block at the server", "no call explains", func(h *histcheck.History, _, _, _ *histcheck.Device) { h.Relations["ben"].Blocked = nil }},
		{"a blocked friend", "has blocked the friend", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Relations["ben"].Friends["cleo"] = histcheck.Friend{}
		}},
		{"a message past a block", "sent while blocked", func(_ *histcheck.History, _, ben, _ *histcheck.Device) {
			ben.Records = append(ben.Records, histcheck.Record{Kind: histcheck.New, Conv: "cleo", Tag: "during", At: 1000, Batch: 1000})
		}},
		{"a message lost before a block", `never heard of "before"`, func(_ *histcheck.History, _, ben, _ *histcheck.Device) { lose(ben, histcheck.New) }},
		{"a lost notice", "it was notified of", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			i := notice(h, "Sns.CallbackBlackListAdd")
			h.Notices = slices.Delete(h.Notices, i, i+1)
		}},
		{"a lost name", "never notified that ben is", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Notices[notice(h, "Profile.CallbackPortraitSet")].Other = "Benjamin"
		}},
	} {
		h := related()
		c.spoil(h, h.Devices[0], h.Devices[1], h.Devices[2])
		if bad := strings.Join(histcheck.CheckRelations(h), "\n"); !strings.Contains(bad, c.want) {
			t.Errorf("%s: no %q in:\n%s", c.name, c.want, bad)
		}
	}
}
