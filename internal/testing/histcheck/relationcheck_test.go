package histcheck_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/histcheck"
)

// bens is the profile of ben.
const bens = "IM_Gender=Gender_Type_Male;IM_Nick=Ben"

func friend(user, remark string, groups ...uint64) *im.Relation {
	return &im.Relation{Kind: im.RelationKind_RELATION_FRIEND, UserId: user, State: &im.RelationState{Remark: remark, Groups: groups}}
}

func group(number uint64, name string) *im.Relation {
	return &im.Relation{Kind: im.RelationKind_RELATION_FRIEND_GROUP, Group: number, State: &im.RelationState{Name: name}}
}

func request(kind im.RelationKind, user string) *im.Relation {
	return &im.Relation{Kind: kind, UserId: user, State: &im.RelationState{Wording: "hello"}}
}

func gone(kind im.RelationKind, user string) *im.Relation {
	return &im.Relation{Kind: kind, UserId: user, Gone: true}
}

// related is a small correct history of relations: ann and ben become friends, ann notes a remark, ben sets his profile, blocks cleo, who has asked him, and
// gets nothing of what she sends. Ann puts ben into a friend group, gives it another name, and puts cleo into it, who is no friend in the end.
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
	remark, name, gender := "the best", "Ben", im.GenderType_GENDER_TYPE_MALE
	add(ann, update("ben", &im.FriendProfileItem{Remark: &remark}))
	call(ben, "profile", histcheck.Record{Text: bens}, 0)
	add(ann, update("ben", &im.FriendProfileItem{Profile: &im.UserProfileItem{NickName: &name, Gender: &gender}}))
	send(cleo, "ben", "before")
	add(ben, histcheck.Record{Kind: histcheck.New, Conv: "cleo", Tag: "before", From: "cleo"})
	call(cleo, "add", histcheck.Record{Conv: "ben", Text: "hello", Self: true}, im.CodeWaitsForApproval)
	add(ben, histcheck.Record{Kind: histcheck.Requests, Conv: "cleo", Text: "hello"})
	call(ben, "block", histcheck.Record{Conv: "cleo"}, 0)
	add(ben, histcheck.Record{Kind: histcheck.BlockedAdded, Conv: "cleo"})
	add(ben, histcheck.Record{Kind: histcheck.RequestsDeleted, Conv: "cleo"})
	send(cleo, "ben", "during")
	groups := func(user string, names ...string) histcheck.Record {
		return update(user, &im.FriendProfileItem{SetGroups: true, GroupNameArray: names})
	}
	call(ann, "group", histcheck.Record{Conv: "ben", Text: "family"}, 0)
	add(ann, groups("ben", "family"))
	call(ann, "rename", histcheck.Record{Text: "family", Tag: "kin"}, 0)
	add(ann, groups("ben", "kin"))
	call(ann, "add", histcheck.Record{Conv: "cleo", Text: "a cousin"}, 0)
	add(ann, histcheck.Record{Kind: histcheck.FriendsAdded, Conv: "cleo"})
	call(ann, "into", histcheck.Record{Conv: "cleo", Text: "kin"}, 0)
	add(ann, groups("cleo", "kin"))
	call(ann, "unfriend", histcheck.Record{Conv: "cleo"}, 0)
	add(ann, histcheck.Record{Kind: histcheck.FriendsDeleted, Conv: "cleo"})
	state := func(user string) *histcheck.Relations {
		x := &histcheck.Relations{Friends: map[string]histcheck.Friend{}, In: map[string]string{}, Out: map[string]string{}}
		switch user {
		case "ann":
			x.Friends["ben"] = histcheck.Friend{Remark: "the best", Profile: bens, Groups: "kin"}
			x.Groups = []string{"kin: ben"}
		case "ben":
			x.Friends["ann"] = histcheck.Friend{}
			x.Blocked, x.Profile = []string{"cleo"}, bens
		case "cleo":
			x.Out["ben"] = "hello"
		}
		var rows []*im.Relation
		for i, e := range h.Feeds[user] {
			later := slices.ContainsFunc(h.Feeds[user][i+1:], func(o *im.Relation) bool { return o.Kind == e.Kind && o.UserId == e.UserId && o.Group == e.Group })
			if !later && !e.Gone && e.Kind < im.RelationKind_RELATION_SELF {
				rows = append(rows, e)
			}
		}
		x.Rows = histcheck.RowsOf(rows)
		return x
	}
	h.Feeds = map[string][]*im.Relation{
		"ann": {friend("ben", "old friend"), friend("ben", "the best"), {Kind: im.RelationKind_RELATION_FRIEND_SELF, UserId: "ben"},
			group(4, "family"), friend("ben", "the best", 4), group(4, "kin"),
			friend("cleo", "a cousin"), friend("cleo", "a cousin", 4), gone(im.RelationKind_RELATION_FRIEND, "cleo")},
		"ben": {friend("ann", ""), {Kind: im.RelationKind_RELATION_SELF}, request(im.RelationKind_RELATION_REQUEST_IN, "cleo"),
			{Kind: im.RelationKind_RELATION_BLOCKED, UserId: "cleo"}, gone(im.RelationKind_RELATION_REQUEST_IN, "cleo")},
		"cleo": {request(im.RelationKind_RELATION_REQUEST_OUT, "ben")},
	}
	for _, feed := range h.Feeds {
		for i, e := range feed {
			e.Ver = uint64(i + 1)
		}
	}
	h.Relations = map[string]*histcheck.Relations{}
	for _, d := range h.Devices {
		d.Relations, h.Relations[d.User] = state(d.User), state(d.User)
	}
	h.Notices = []histcheck.Notice{
		{"1", "Sns.CallbackFriendAdd", "ann", "ben"}, {"2", "Sns.CallbackFriendAdd", "ben", "ann"}, {"2", "Sns.CallbackFriendAdd", "ben", "ann"},
		{"3", "Profile.CallbackPortraitSet", "ben", bens}, {"4", "Sns.CallbackBlackListAdd", "ben", "cleo"},
		{"5", "Sns.CallbackFriendAdd", "ann", "cleo"}, {"6", "Sns.CallbackFriendDelete", "ann", "cleo"},
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
		{"a lost change of a remark", `ann-0: of ben it was never told remark "the best"`, func(_ *histcheck.History, ann, _, _ *histcheck.Device) { lose(ann, histcheck.FriendsUpdated) }},
		{"a lost change of a profile", `ann-0: of ben it was never told IM_Nick "Ben"`, func(_ *histcheck.History, ann, _, _ *histcheck.Device) {
			i := find(ann, histcheck.FriendsUpdated)
			j := i + 1 + slices.IndexFunc(ann.Records[i+1:], func(r histcheck.Record) bool { return r.Kind == histcheck.FriendsUpdated })
			ann.Records = slices.Delete(ann.Records, j, j+1)
		}},
		{"a lost block", "cleo is blocked: true, announced false", func(_ *histcheck.History, _, ben, _ *histcheck.Device) { lose(ben, histcheck.BlockedAdded) }},
		{"a lost end of a request", `the request "hello" of cleo is gone`, func(_ *histcheck.History, _, ben, _ *histcheck.Device) { lose(ben, histcheck.RequestsDeleted) }},
		{"a doubled friend", "a friend added twice", func(_ *histcheck.History, ann, _, _ *histcheck.Device) { double(ann, histcheck.FriendsAdded) }},
		{"a doubled block", "blocked twice", func(_ *histcheck.History, _, ben, _ *histcheck.Device) { double(ben, histcheck.BlockedAdded) }},
		{"a doubled change", "a change that changes nothing", func(_ *histcheck.History, ann, _, _ *histcheck.Device) { double(ann, histcheck.FriendsUpdated) }},
		{"a doubled request", "a request told twice", func(_ *histcheck.History, _, ben, _ *histcheck.Device) { double(ben, histcheck.Requests) }},
		{"a doubled message", "a message told twice", func(_ *histcheck.History, _, ben, _ *histcheck.Device) { double(ben, histcheck.New) }},
		// Without ver, entries that the whole contains are applied again, the older over the newer.
		{"a whole without ver", `of ben it was told remark "of old", which is "the best"`, func(_ *histcheck.History, ann, _, _ *histcheck.Device) {
			old := "of old"
			b, _ := (&im.FriendProfileUpdate{Identifier: "ben", Item: &im.FriendProfileItem{Remark: &old}}).MarshalVT()
			ann.Records = append(ann.Records, histcheck.Record{Kind: histcheck.FriendsUpdated, Conv: "ben", Info: string(b), At: 1000, Batch: 1000})
		}},
		{"the whole between its entries", "told after what is later in the feed", func(_ *histcheck.History, ann, _, _ *histcheck.Device) {
			old := "old friend" // the feed has it before the one that was told
			b, _ := (&im.FriendProfileUpdate{Identifier: "ben", Item: &im.FriendProfileItem{Remark: &old}}).MarshalVT()
			again := ann.Records[find(ann, histcheck.FriendsUpdated)]
			again.At, again.Batch = 1001, 1001
			ann.Records = append(ann.Records, histcheck.Record{Kind: histcheck.FriendsUpdated, Conv: "ben", Info: string(b), At: 1000, Batch: 1000}, again)
		}},
		{"an older profile", "told that IM_Nick is \"Ben\" after a newer one", func(_ *histcheck.History, ann, ben, _ *histcheck.Device) {
			for i, kind := range []string{histcheck.Calling, histcheck.Returned} {
				ben.Records = append(ben.Records, histcheck.Record{Kind: kind, Op: "rel:profile", Call: 77, Text: "IM_Nick=Benno", At: int64(900 + i)})
			}
			for i, nick := range []string{"Benno", "Ben"} {
				b, _ := (&im.FriendProfileUpdate{Identifier: "ben", Item: &im.FriendProfileItem{Profile: &im.UserProfileItem{NickName: &nick}}}).MarshalVT()
				ann.Records = append(ann.Records, histcheck.Record{Kind: histcheck.FriendsUpdated, Conv: "ben", Info: string(b), At: int64(1000 + i), Batch: 1000 + i})
			}
		}},
		{"another gender at the end", `of ben it was told IM_Gender "Gender_Type_Male"`, func(h *histcheck.History, ann, _, _ *histcheck.Device) {
			h.Relations["ann"].Friends["ben"] = histcheck.Friend{Remark: "the best", Profile: "IM_Nick=Ben", Groups: "kin"}
		}},
		{"a lost field of a profile", `ben has IM_Gender "", which no call explains`, func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Relations["ben"].Profile = "IM_Nick=Ben"
		}},
		{"a field that nobody has set", `ben has Custom_a "x", which no call explains`, func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Relations["ben"].Profile = "Custom_a=x;" + bens
		}},
		{"a friend with an old profile", `ann has ben with the profile "IM_Nick=Ben"`, func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Relations["ann"].Friends["ben"] = histcheck.Friend{Remark: "the best", Profile: "IM_Nick=Ben", Groups: "kin"}
		}},
		{"a device with an old profile", "server and device have the own profile", func(_ *histcheck.History, _, ben, _ *histcheck.Device) {
			ben.Relations.Profile = "IM_Nick=Ben"
		}},
		{"a lost request on a disk", "ben-0: server and disk have the row RELATION_REQUEST_IN cleo: none", func(h *histcheck.History, _, ben, _ *histcheck.Device) {
			ben.Relations.Rows = maps.Clone(ben.Relations.Rows)
			ben.Relations.Rows["RELATION_REQUEST_IN cleo"] = "ver 3"
		}},
		{"a lost end of a request on a disk", "cleo-0: server and disk have the row RELATION_REQUEST_OUT ben", func(_ *histcheck.History, _, _, cleo *histcheck.Device) {
			delete(cleo.Relations.Rows, "RELATION_REQUEST_OUT ben")
		}},
		{"a row without ver", "ann-0: server and disk have the row RELATION_FRIEND ben", func(_ *histcheck.History, ann, _, _ *histcheck.Device) {
			for k, v := range ann.Relations.Rows {
				ann.Relations.Rows[k] = strings.Replace(v, "ver 5", "ver 0", 1)
			}
		}},
		{"a request announced as gone", `the request "hello" of cleo is there, announced as gone`, func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Relations["ben"].In["cleo"] = "hello"
		}},
		{"a lost friend group", "ann has the friend group kin: false, which no call explains", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Relations["ann"].Groups = nil
		}},
		{"a friend group with its old name", "ann has the friend group family: true, which no call explains", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Relations["ann"].Groups = []string{"family: ben"}
		}},
		{"a friend group that lost a friend with its name", "ann has ben in the friend group kin: false, which no call explains", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Relations["ann"].Groups = []string{"kin: "}
		}},
		{"a friend group that keeps a friend who was deleted", "ann has cleo in the friend group kin: true, which no call explains", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Relations["ann"].Groups = []string{"kin: ben,cleo"}
		}},
		{"a friend group twice", "ann has the friend group kin twice", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Relations["ann"].Groups = []string{"kin: ben", "kin: "}
		}},
		{"a new friend in a group", "the feed of ann: 7 is a new friend in a group", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Feeds["ann"][6].State.Groups = []uint64{4}
		}},
		{"a friend in a group that is gone", "the feed of ann: 5 is a friend in a group that is not there", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Feeds["ann"][4].State.Groups = []uint64{3}
		}},
		{"a second group of a name", "the feed of ann: 6 is a second group of a name", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Feeds["ann"][5] = group(6, "family")
			h.Feeds["ann"][5].Ver = 6
		}},
		{"the end of nothing", "the feed of ann: 9 is the end of what is not there", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Feeds["ann"][8].UserId = "dan"
		}},
		{"the profile of a stranger", "the feed of ann: 3 is about the profile of cleo, who is no friend", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Feeds["ann"][2].UserId = "cleo"
		}},
		{"a change that is not in the feed", "the feed of ben and what the server has are not the same", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Feeds["ben"] = h.Feeds["ben"][:4]
		}},
		{"notices that changed places", "and the feed of ben has { Sns.CallbackFriendAdd ben ann} there", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			i, j := notice(h, "Profile.CallbackPortraitSet"), notice(h, "Sns.CallbackBlackListAdd")
			h.Notices[i], h.Notices[j] = h.Notices[j], h.Notices[i]
			h.Notices = slices.Delete(h.Notices, 1, 3)
			h.Notices = append(h.Notices, histcheck.Notice{"2", "Sns.CallbackFriendAdd", "ben", "ann"})
		}},
		{"a lost notice between others", "never notified of { Sns.CallbackFriendDelete ann cleo}, number 3 of 3 in the feed of ann", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			i := notice(h, "Sns.CallbackFriendDelete")
			h.Notices = slices.Delete(h.Notices, i, i+1)
		}},
		{"a notice of nothing", "which is not in the feed of ann", func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Notices = append(h.Notices, histcheck.Notice{"7", "Sns.CallbackFriendDelete", "ann", "cleo"})
		}},
		{"one number for two notices", `event "5" of ann was`, func(h *histcheck.History, _, _, _ *histcheck.Device) {
			h.Notices[notice(h, "Sns.CallbackFriendDelete")].Event = "5"
		}},
		{"a device behind", "server and device have friends", func(_ *histcheck.History, ann, _, _ *histcheck.Device) {
			ann.Relations.Friends["ben"] = histcheck.Friend{Remark: "old friend", Profile: bens}
		}},
		{"an unread request", "server and device have requests", func(_ *histcheck.History, _, ben, _ *histcheck.Device) { ben.Relations.Unread = 1 }},
		{"a lost remark", "no call explains", func(h *histcheck.History, ann, _, _ *histcheck.Device) {
			h.Relations["ann"].Friends["ben"] = histcheck.Friend{Remark: "old friend", Profile: bens}
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
