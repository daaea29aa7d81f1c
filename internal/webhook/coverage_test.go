package webhook_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/hook"
)

// TestCoverage compares every line of the page of webhooks with the server: each of those that are built is posted when its cause occurs, and the set
// and the metrics know no others.
func TestCoverage(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| \[([\w.]+)\]\(.*\) \| (before|after) \| (yes|no) \|$`).FindAllSubmatch(page, -1)
	if len(rows) != 53 {
		t.Errorf("the page has %d webhooks", len(rows))
	}
	built := map[string][]string{}
	for _, row := range rows {
		if string(row[3]) == "yes" {
			built[string(row[2])] = append(built[string(row[2])], string(row[1]))
		}
	}
	if !slices.Equal(hook.Before, built["before"]) || !slices.Equal(hook.After, built["after"]) {
		t.Errorf("%q and %q are built, and the page says %q", hook.Before, hook.After, built)
	}

	// The causes of all of them.
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""))
	alice := dial(t, s, "alice")
	dial(t, s, "bob")
	alice.must("bob", "hi")
	carol, dave := connect(t, s, "carol"), connect(t, s, "dave")
	s.Operate("profile/portrait_set", `{"From_Account":"dave","ProfileItem":[{"Tag":"Tag_Profile_IM_AllowType","Value":"AllowType_Type_NeedConfirm"}]}`)
	carol.call(im.Method_ADD_FRIEND, &im.AddFriendRequest{UserId: "dave", Both: true}, &im.FriendResult{})
	dave.call(im.Method_ANSWER_REQUEST, &im.AnswerRequestRequest{UserId: "carol"}, &im.FriendResult{})
	carol.call(im.Method_DELETE_FRIENDS, &im.UsersRequest{UserIds: []string{"dave"}}, &im.FriendResults{})
	carol.call(im.Method_BLOCK, &im.UsersRequest{UserIds: []string{"dave"}}, &im.FriendResults{})
	carol.call(im.Method_UNBLOCK, &im.UsersRequest{UserIds: []string{"dave"}}, &im.FriendResults{})
	changeGroup(carol, dave)
	carol.found("hall", im.GroupType_GROUP_TYPE_AVCHATROOM)
	carol.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: group("hall")}, &im.JoinGroupReply{})
	if code := dave.try(im.Method_SEND, toGroup("hall", 1, "outside"), &im.SendReply{}); code != im.CodeNotMember {
		t.Errorf("answered %d", code)
	}
	posted := map[string]bool{}
	for len(posted) < len(hook.Before)+len(hook.After) {
		posted[get(t, "event", r.heard).CallbackCommand] = true
	}
	if got, want := slices.Sorted(maps.Keys(posted)), slices.Sorted(slices.Values(slices.Concat(hook.Before, hook.After))); !slices.Equal(got, want) {
		t.Errorf("posted are %q, built %q", got, want)
	}
}
