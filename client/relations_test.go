package client_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// relationEvents are the events of relations by their kinds.
var relationEvents = []string{"friends_added", "friends_deleted", "friends_updated", "friend_requests", "friend_requests_deleted", "friend_requests_read", "blacklist_added", "blacklist_deleted"}

// heard returns what has fired of relations, in short: "friends_added ann bob".
func (d *device) heard() (all []string) {
	for _, e := range d.of(relationEvents...) {
		all = append(all, strings.TrimSpace(e.kind+" "+e.text))
	}
	return all
}

// phone returns the configuration of another device of a user, which runs beside the first.
func phone(t testing.TB, s *imtest.Server, user string) client.Config {
	cfg := config(t, s, user)
	cfg.Platform = im.Platform_PLATFORM_ANDROID
	return cfg
}

// permit sets who may add a user.
func (d *device) permit(p im.ProfileAddPermission) {
	d.t.Helper()
	if err := d.Profiles().SetSelf(within(d.t), &im.UserProfileItem{AddPermission: &p}); err != nil {
		d.t.Fatal(err)
	}
}

const needConfirm = im.ProfileAddPermission_PROFILE_ADD_PERMISSION_NEED_CONFIRM

// result checks the code of a result.
func result(t testing.TB, r *im.FriendResult, err error, code int32) {
	t.Helper()
	if err != nil || r.GetCode() != code {
		t.Fatalf("the result is %v, %v, want code %d", r, err, code)
	}
}

// results checks the codes of results.
func results(t testing.TB, rs []*im.FriendResult, err error, codes ...int32) {
	t.Helper()
	var got []int32
	for _, r := range rs {
		got = append(got, r.Code)
	}
	if err != nil || !slices.Equal(got, codes) {
		t.Fatalf("the results are %v, %v, want %v", rs, err, codes)
	}
}

// step is something that somebody does, and what fires for it on the device that does it and the other one of the same user, and on the other person's.
type step struct {
	name        string
	do          func(t testing.TB, ann, bob *device)
	mine, other []string
}

func add(both bool, code int32) func(t testing.TB, ann, bob *device) {
	return func(t testing.TB, ann, bob *device) {
		t.Helper()
		r, err := ann.Friends().Add(within(t), &im.AddFriendRequest{UserId: "bob", Both: both, Wording: "hi", Source: "AddSource_Type_test", Remark: "Bobby"})
		result(t, r, err, code)
	}
}

func unfriend(both bool, code int32) func(t testing.TB, ann, bob *device) {
	return func(t testing.TB, ann, bob *device) {
		t.Helper()
		rs, err := ann.Friends().Delete(within(t), []string{"bob"}, both)
		results(t, rs, err, code)
	}
}

// causes are what makes events of relations, one after the other.
var causes = []step{
	{"added one-way", add(false, 0), []string{`friends_added ["bob"]`}, nil},
	{"added again", add(false, im.CodeAlreadyFriends), nil, nil},
	{"added two-way", add(true, 0), nil, []string{`friends_added ["ann"]`}},
	{"deleted two-way", unfriend(true, 0), []string{`friends_deleted ["bob"]`}, []string{`friends_deleted ["ann"]`}},
	{"deleted again", unfriend(true, im.CodeNotAFriend), nil, nil},
	{"added both", add(true, 0), []string{`friends_added ["bob"]`}, []string{`friends_added ["ann"]`}},
	{"remark", func(t testing.TB, ann, bob *device) {
		if err := ann.Friends().Update(within(t), "bob", &im.FriendProfileItem{Remark: new("Bob from ops")}); err != nil {
			t.Fatal(err)
		}
	}, []string{`friends_updated [{"friend_profile_update_identifier":"bob","friend_profile_update_item":{"friend_profile_item_remark":"Bob from ops"}}]`}, nil},
	{"custom", func(t testing.TB, ann, bob *device) {
		if err := ann.Friends().Update(within(t), "bob", &im.FriendProfileItem{CustomStringArray: []*im.FriendProfileCustomStringInfo{{Key: "Tag_SNS_Custom_dept", Value: "ops"}}}); err != nil {
			t.Fatal(err)
		}
	}, []string{`friends_updated [{"friend_profile_update_identifier":"bob","friend_profile_update_item":{"friend_profile_item_custom_string_array":[` +
		`{"friend_profile_custom_string_info_key":"dept","friend_profile_custom_string_info_value":"ops"}]}}]`}, nil},
	{"group created", func(t testing.TB, ann, bob *device) {
		rs, err := ann.Friends().CreateGroups(within(t), []string{"work"}, []string{"bob"})
		results(t, rs, err, 0)
	}, []string{updatedGroups("work")}, nil},
	{"group renamed", func(t testing.TB, ann, bob *device) {
		if err := ann.Friends().RenameGroup(within(t), "work", "job"); err != nil {
			t.Fatal(err)
		}
	}, []string{updatedGroups("job")}, nil},
	{"group emptied", func(t testing.TB, ann, bob *device) {
		rs, err := ann.Friends().RemoveFromGroup(within(t), "job", []string{"bob"})
		results(t, rs, err, 0)
	}, []string{updatedGroups()}, nil},
	{"empty group renamed", func(t testing.TB, ann, bob *device) {
		if err := ann.Friends().RenameGroup(within(t), "job", "team"); err != nil {
			t.Fatal(err)
		}
	}, nil, nil},
	{"group filled", func(t testing.TB, ann, bob *device) {
		rs, err := ann.Friends().AddToGroup(within(t), "team", []string{"bob", "cid"})
		results(t, rs, err, 0, im.CodeNotAFriendInGroup)
	}, []string{updatedGroups("team")}, nil},
	{"group deleted", func(t testing.TB, ann, bob *device) {
		if err := ann.Friends().DeleteGroups(within(t), []string{"team"}); err != nil {
			t.Fatal(err)
		}
	}, []string{updatedGroups()}, nil},
	{"my profile", func(t testing.TB, ann, bob *device) {
		if err := ann.Profiles().SetSelf(within(t), &im.UserProfileItem{NickName: new("Ann"), SelfSignature: new("here")}); err != nil {
			t.Fatal(err)
		}
	}, nil, []string{`friends_updated [{"friend_profile_update_identifier":"ann","friend_profile_update_item":{"user_profile_item_nick_name":"Ann","user_profile_item_self_signature":"here"}}]`}},
	{"the same profile again", func(t testing.TB, ann, bob *device) {
		if err := ann.Profiles().SetSelf(within(t), &im.UserProfileItem{NickName: new("Ann")}); err != nil {
			t.Fatal(err)
		}
	}, nil, nil},
	{"blocked a friend", func(t testing.TB, ann, bob *device) {
		rs, err := ann.Friends().Block(within(t), []string{"bob"})
		results(t, rs, err, 0)
	}, []string{"blacklist_added bob", `friends_deleted ["bob"]`}, []string{`friends_deleted ["ann"]`}},
	{"blocked again", func(t testing.TB, ann, bob *device) {
		rs, err := ann.Friends().Block(within(t), []string{"bob"})
		results(t, rs, err, im.CodeFriendParameters)
	}, nil, nil},
	{"unblocked", func(t testing.TB, ann, bob *device) {
		rs, err := ann.Friends().Unblock(within(t), []string{"bob"})
		results(t, rs, err, 0)
	}, []string{`blacklist_deleted ["bob"]`}, nil},
	{"asked", func(t testing.TB, ann, bob *device) {
		bob.permit(needConfirm)
		add(true, im.CodeWaitsForApproval)(t, ann, bob)
	}, nil, []string{"friend_requests ann Ann hi"}},
	{"asked again", add(true, im.CodeWaitsForApproval), nil, []string{"friend_requests ann Ann hi"}},
	{"requests read", func(t testing.TB, ann, bob *device) {
		for range 2 { // nothing is left the second time
			if err := bob.Friends().ReadRequests(within(t), 0); err != nil {
				t.Fatal(err)
			}
		}
	}, nil, []string{"friend_requests_read"}},
	{"rejected", answer(client.RejectRequest, 0), []string{`friend_requests_deleted ["bob"]`}, []string{`friend_requests_deleted ["ann"]`}},
	{"answered again", answer(client.RejectRequest, im.CodeNoSuchRequest), nil, nil},
	{"asked for one-way", add(false, im.CodeWaitsForApproval), nil, []string{"friend_requests ann Ann hi"}},
	{"accepted one-way", answer(client.AcceptRequest, 0), []string{`friends_added ["bob"]`}, []string{`friend_requests_deleted ["ann"]`}},
	{"deleted one-way", unfriend(false, 0), []string{`friends_deleted ["bob"]`}, nil},
	{"asked once more", add(true, im.CodeWaitsForApproval), nil, []string{"friend_requests ann Ann hi"}},
	{"accepted and added", answer(client.AcceptAndAdd, 0), []string{`friends_added ["bob"]`}, []string{`friends_added ["ann"]`, `friend_requests_deleted ["ann"]`}},
	{"left", unfriend(true, 0), []string{`friends_deleted ["bob"]`}, []string{`friends_deleted ["ann"]`}},
	{"asked to delete", add(true, im.CodeWaitsForApproval), nil, []string{"friend_requests ann Ann hi"}},
	{"withdrawn", func(t testing.TB, ann, bob *device) {
		rs, err := ann.Friends().DeleteRequests(within(t), []string{"bob"}, client.RequestsSent)
		results(t, rs, err, 0)
	}, []string{`friend_requests_deleted ["bob"]`}, nil},
	{"deleted by the other", func(t testing.TB, ann, bob *device) {
		rs, err := bob.Friends().DeleteRequests(within(t), []string{"ann"}, client.RequestsReceived)
		results(t, rs, err, 0)
	}, nil, []string{`friend_requests_deleted ["ann"]`}},
}

func answer(action int32, code int32) func(t testing.TB, ann, bob *device) {
	return func(t testing.TB, ann, bob *device) {
		t.Helper()
		r, err := bob.Friends().AnswerRequest(within(t), &im.AnswerRequestRequest{UserId: "ann", Action: action})
		result(t, r, err, code)
	}
}

// updatedGroups is what fires when bob is in other groups now.
func updatedGroups(names ...string) string {
	return `friends_updated [{"friend_profile_update_identifier":"bob","friend_profile_update_item":{"friend_profile_item_group_name_array":` + im.StringsToJSON(names) + `}}]`
}

// short replaces what a test cannot know, such as times, by the part that it can.
func short(all []string) []string {
	out := []string{}
	for _, s := range all {
		kind, data, _ := strings.Cut(s, " ")
		switch kind {
		case "friend_requests":
			for _, r := range decoded[im.FriendAddPendency](data) {
				out = append(out, fmt.Sprintf("%s %s %s %s", kind, r.Identifier, r.NickName, r.AddWording))
			}
		case "blacklist_added":
			for _, p := range decoded[im.FriendProfile](data) {
				out = append(out, kind+" "+p.Identifier)
			}
		default:
			out = append(out, s)
		}
	}
	return out
}

func decoded[T any, P interface {
	*T
	im.TIM
}](data string) []P {
	list, err := im.ListFromJSON[T, P](data)
	if err != nil {
		panic(err)
	}
	return list
}

// Every cause fires on the device that acts, on the user's other one, and at the other person exactly what it should, once, after the result.
func TestRelationEvents(t *testing.T) {
	s := imtest.Start(t)
	dial(t, config(t, s, "cid"))
	ann, annToo := dial(t, config(t, s, "ann")), dial(t, phone(t, s, "ann"))
	bob, bobToo := dial(t, config(t, s, "bob")), dial(t, phone(t, s, "bob"))
	all := []*device{ann, annToo, bob, bobToo}
	heard := make([]int, len(all))
	for _, c := range causes {
		c.do(t, ann, bob)
		for i, d := range all {
			want := c.mine
			if i >= 2 {
				want = c.other
			}
			d.until(t, fmt.Sprintf("%s on device %d: %q", c.name, i, want), func([]event) bool { return len(d.heard()) >= heard[i]+len(want) })
			d.settled()
			if got := short(d.heard()[heard[i]:]); !slices.Equal(got, append([]string{}, want...)) {
				t.Fatalf("%s: device %d heard\n%q, want\n%q", c.name, i, got, want)
			}
			heard[i] = len(d.heard())
		}
	}
}
