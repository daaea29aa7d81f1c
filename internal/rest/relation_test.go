package rest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// relations makes a call, and returns the reply as JSON without the envelope.
func (n *node) relations(command, body string, args ...any) map[string]any {
	n.t.Helper()
	want := append(answerKeys(n.t, command), "ErrorDisplay")
	if command == "sns/friend_add" {
		want = slices.DeleteFunc(want, func(s string) bool { return s == "-" })
	}
	for i, name := range want {
		if strings.HasPrefix(name, "CurruentSequence") {
			want[i] = "CurruentSequence"
			want = append(want, "CurrentSequence")
		}
	}
	slices.Sort(want)
	return n.keyed(want, command, body, args...)
}

// results returns the ResultCode of each user, in order.
func results(t testing.TB, out map[string]any) []string {
	t.Helper()
	var list []string
	for _, x := range out["ResultItem"].([]any) {
		item := x.(map[string]any)
		if len(item) != 3 || (item["ResultInfo"] == "") != (item["ResultCode"] == 0.0) {
			t.Errorf("item %v", item)
		}
		list = append(list, fmt.Sprintf("%s %v", item["To_Account"], item["ResultCode"]))
	}
	return list
}

func (n *node) accounts(names ...string) {
	n.t.Helper()
	for _, name := range names {
		n.ok("im_open_login_svc/account_import", `{"UserID":%q}`, name)
	}
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestPortrait writes and reads every tag, and refuses what does not fit, as a whole.
func TestPortrait(t *testing.T) {
	n := start(t, chat.Config{})
	n.accounts("alice", "bob")
	const set, get = "profile/portrait_set", "profile/portrait_get"
	n.ok2(set, `{"From_Account":"alice","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"Anna <&>"},{"Tag":"Tag_Profile_IM_Image","Value":"https://im.example/a.png"},
		{"Tag":"Tag_Profile_IM_Gender","Value":"Gender_Type_Female"},{"Tag":"Tag_Profile_IM_BirthDay","Value":20190419},{"Tag":"Tag_Profile_IM_Location","Value":"pier 7"},
		{"Tag":"Tag_Profile_IM_SelfSignature","Value":"hi"},{"Tag":"Tag_Profile_IM_AllowType","Value":"AllowType_Type_DenyAny"},{"Tag":"Tag_Profile_IM_Language","Value":1},
		{"Tag":"Tag_Profile_IM_MsgSettings","Value":1},{"Tag":"Tag_Profile_IM_AdminForbidType","Value":"AdminForbid_Type_SendOut"},{"Tag":"Tag_Profile_IM_Level","Value":4294967295},
		{"Tag":"Tag_Profile_IM_Role","Value":2},{"Tag":"Tag_Profile_Custom_Team","Value":"blue"},{"Tag":"Tag_Profile_Custom_N1","Value":7}]}`)
	tags := []string{"Nick", "Image", "Gender", "BirthDay", "Location", "SelfSignature", "AllowType", "Language", "MsgSettings", "AdminForbidType", "Level", "Role"}
	var list []string
	for _, tag := range tags {
		list = append(list, `"Tag_Profile_IM_`+tag+`"`)
	}
	list = append(list, `"Tag_Profile_Custom_Team"`, `"Tag_Profile_Custom_N1"`, `"Tag_Profile_Custom_none"`)
	out := n.relations(get, `{"To_Account":["alice","nobody","bob"],"TagList":[%s]}`, strings.Join(list, ","))
	items := out["UserProfileItem"].([]any)
	values := func(item any) map[string]any {
		all := map[string]any{}
		for _, x := range item.(map[string]any)["ProfileItem"].([]any) {
			all[x.(map[string]any)["Tag"].(string)] = x.(map[string]any)["Value"]
		}
		return all
	}
	equal(t, "alice", values(items[0]), map[string]any{
		"Tag_Profile_IM_Nick": "Anna <&>", "Tag_Profile_IM_Image": "https://im.example/a.png", "Tag_Profile_IM_Gender": "Gender_Type_Female", "Tag_Profile_IM_BirthDay": 20190419.0,
		"Tag_Profile_IM_Location": "pier 7", "Tag_Profile_IM_SelfSignature": "hi", "Tag_Profile_IM_AllowType": "AllowType_Type_DenyAny", "Tag_Profile_IM_Language": 1.0,
		"Tag_Profile_IM_MsgSettings": 1.0, "Tag_Profile_IM_AdminForbidType": "AdminForbid_Type_SendOut", "Tag_Profile_IM_Level": 4294967295.0, "Tag_Profile_IM_Role": 2.0,
		"Tag_Profile_Custom_Team": "blue", "Tag_Profile_Custom_N1": "7",
	})
	equal(t, "nobody", items[1], map[string]any{"To_Account": "nobody", "ProfileItem": []any{}, "ResultCode": 40003.0, "ResultInfo": "there is no such user"})
	equal(t, "failed", out["Fail_Account"], []any{"nobody"})
	equal(t, "bob", values(items[2]), map[string]any{
		"Tag_Profile_IM_Nick": "", "Tag_Profile_IM_Image": "", "Tag_Profile_IM_Gender": "Gender_Type_Unknown", "Tag_Profile_IM_BirthDay": 0.0, "Tag_Profile_IM_Location": "",
		"Tag_Profile_IM_SelfSignature": "", "Tag_Profile_IM_AllowType": "AllowType_Type_AllowAny", "Tag_Profile_IM_Language": 0.0, "Tag_Profile_IM_MsgSettings": 0.0,
		"Tag_Profile_IM_AdminForbidType": "AdminForbid_Type_None", "Tag_Profile_IM_Level": 0.0, "Tag_Profile_IM_Role": 0.0,
	})
	for tag, code := range map[string]int32{
		`"Tag_Profile_IM_Nick","Value":1`: 40610, `"Tag_Profile_IM_Level","Value":"1"`: 40610, `"Tag_Profile_IM_Level","Value":4294967296`: 40610, `"Tag_Profile_IM_Level","Value":-1`: 40610,
		`"Tag_Profile_IM_Gender","Value":1`: 40610, `"Tag_Profile_IM_Gender","Value":"female"`: 40605, `"Tag_Profile_IM_AdminForbidType","Value":"x"`: 40605,
		`"Tag_Profile_IM_None","Value":"x"`: 40009, `"Tag_Profile_Custom_","Value":"x"`: 40009, `"Tag_Profile_Custom_123456789","Value":"x"`: 40009, `"Tag_SNS_IM_Remark","Value":"x"`: 40009,
		`"Tag_Profile_Custom_a","Value":{}`: 40610, `"Tag_Profile_Custom_a","Value":1.5`: 40610, `"","Value":"x"`: 40001, `"Tag_Profile_IM_Nick"`: 40001, `"Tag_Profile_IM_Nick","Value":null`: 40001,
		`"Tag_Profile_IM_Nick","Value":"` + strings.Repeat("x", 501) + `"`: 40601, `"Tag_Profile_Custom_a","Value":"` + strings.Repeat("x", 501) + `"`: 40601,
		`"Tag_Profile_IM_Nick","Value":"` + strings.Repeat("x", 5000) + `"`: 40601,
	} {
		n.refused(code, set, `{"From_Account":"alice","ProfileItem":[{"Tag":"Tag_Profile_IM_Location","Value":"changed"},{"Tag":%s}]}`, tag)
	}
	n.refused(40003, set, `{"From_Account":"nobody","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"x"}]}`)
	for _, body := range []string{`{}`, `{"From_Account":"alice"}`, `{"From_Account":"alice","ProfileItem":[]}`, `{"From_Account":"","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"x"}]}`} {
		n.refused(40001, set, "%s", body)
	}
	n.refused(40002, get, `{"To_Account":[],"TagList":["Tag_Profile_IM_Nick"]}`)
	n.refused(40001, get, `{"To_Account":["alice"],"TagList":[]}`)
	n.refused(40009, get, `{"To_Account":["alice"],"TagList":["Tag_Profile_IM_Nick","Tag_Profile_IM_None"]}`)
	n.refused(40001, get, `{"To_Account":[%s"alice"],"TagList":["Tag_Profile_IM_Nick"]}`, strings.Repeat(`"alice",`, 100))
	out = n.relations(get, `{"To_Account":["alice"],"TagList":["Tag_Profile_IM_Location"]}`)
	if s := fmt.Sprint(out); !strings.Contains(s, "pier 7") {
		t.Error("a refused call changed something:", s)
	}
}

// ok2 is ok for a call of a service whose replies have an ErrorDisplay.
func (n *node) ok2(command, body string, args ...any) {
	n.t.Helper()
	n.relations(command, body, args...)
}

// TestFriendCalls: each of the calls about friends, with the results for each user, and what the user's list is afterwards.
func TestFriendCalls(t *testing.T) {
	n := start(t, chat.Config{})
	n.accounts("alice", "bob", "carol", "dave", "erin")
	n.ok2("profile/portrait_set", `{"From_Account":"carol","ProfileItem":[{"Tag":"Tag_Profile_IM_AllowType","Value":"AllowType_Type_NeedConfirm"},{"Tag":"Tag_Profile_IM_Nick","Value":"C"}]}`)
	n.ok2("profile/portrait_set", `{"From_Account":"dave","ProfileItem":[{"Tag":"Tag_Profile_IM_AllowType","Value":"AllowType_Type_DenyAny"}]}`)
	const add = "sns/friend_add"
	out := n.relations(add, `{"From_Account":"alice","AddFriendItem":[{"To_Account":"bob","Remark":"B","GroupName":"work","AddSource":"AddSource_Type_search","AddWording":"hi"},
		{"To_Account":"carol"},{"To_Account":"dave"},{"To_Account":"nobody"},{"To_Account":"alice"},{"To_Account":"bob"},{"To_Account":"erin","AddSource":"else"},
		{"To_Account":"erin","AddWording":"%s"}]}`, strings.Repeat("x", 5000))
	equal(t, "added", results(t, out), []string{"bob 0", "carol 30539", "dave 30516", "nobody 30003", "alice 30001", "bob 30015", "erin 30001", "erin 30001"})
	equal(t, "failed", out["Fail_Account"], []any{"carol", "dave", "nobody", "alice", "bob", "erin", "erin"})
	out = n.relations(add, `{"From_Account":"alice","AddType":"Add_Type_Single","ForceAddFlags":1,"AddFriendItem":[{"To_Account":"carol"},{"To_Account":"dave"}]}`)
	equal(t, "forced", results(t, out), []string{"carol 0", "dave 0"})
	equal(t, "failed", out["Fail_Account"], []any{})
	friends := func(user string) (names []string) {
		t.Helper()
		for _, x := range n.relations("sns/friend_get", `{"From_Account":%q,"StartIndex":0}`, user)["UserDataItem"].([]any) {
			names = append(names, x.(map[string]any)["To_Account"].(string))
		}
		return names
	}
	equal(t, "friends of alice", friends("alice"), []string{"bob", "carol", "dave"})
	equal(t, "friends of bob", friends("bob"), []string{"alice"})
	equal(t, "friends of carol", friends("carol"), []string(nil))

	const update = "sns/friend_update"
	out = n.relations(update, `{"From_Account":"alice","UpdateItem":[{"To_Account":"bob","SnsItem":[{"Tag":"Tag_SNS_IM_Remark","Value":"Bob"},{"Tag":"Tag_SNS_IM_Group","Value":["home","work"]},
		{"Tag":"Tag_SNS_Custom_Rank","Value":3}]},
		{"To_Account":"carol","SnsItem":[{"Tag":"Tag_SNS_IM_Remark","Value":"C"},{"Tag":"Tag_SNS_IM_AddSource","Value":"AddSource_Type_x"}]},
		{"To_Account":"dave","SnsItem":[{"Tag":"Tag_SNS_IM_Remark","Value":7}]},{"To_Account":"dave","SnsItem":[{"Tag":"Tag_SNS_IM_Group","Value":"home"}]},
		{"To_Account":"dave","SnsItem":[{"Tag":"Tag_SNS_Custom_toolongkey","Value":"x"}]},{"To_Account":"dave","SnsItem":[{"Tag":"Tag_SNS_IM_Remark","Value":"%s"}]},
		{"To_Account":"erin","SnsItem":[{"Tag":"Tag_SNS_IM_Remark","Value":"x"}]},{"To_Account":"nobody","SnsItem":[{"Tag":"Tag_SNS_IM_Remark","Value":"x"}]},
		{"To_Account":"dave","SnsItem":[{"Tag":"Tag_SNS_IM_Remark","Value":"D"}]}]}`, strings.Repeat("x", 97))
	equal(t, "updated", results(t, out), []string{"bob 0", "carol 30001", "dave 30001", "dave 30001", "dave 30001", "dave 30001", "erin 31704", "nobody 30003", "dave 0"})
	out = n.relations("sns/friend_get", `{"From_Account":"alice","StartIndex":0,"StandardSequence":0,"CustomSequence":0}`)
	if out["FriendNum"] != 3.0 || out["CompleteFlag"] != 1.0 || out["NextStartIndex"] != 0.0 || out["StandardSequence"].(float64) <= 0 {
		t.Errorf("%v", out)
	}
	bob := map[string]any{}
	for _, x := range out["UserDataItem"].([]any)[0].(map[string]any)["ValueItem"].([]any) {
		bob[x.(map[string]any)["Tag"].(string)] = x.(map[string]any)["Value"]
	}
	if at, _ := bob["Tag_SNS_IM_AddTime"].(float64); time.Since(time.Unix(int64(at), 0)).Abs() > time.Minute {
		t.Errorf("added at %v", at)
	}
	delete(bob, "Tag_SNS_IM_AddTime")
	equal(t, "bob", bob, map[string]any{"Tag_Profile_IM_Gender": "Gender_Type_Unknown", "Tag_Profile_IM_AllowType": "AllowType_Type_AllowAny", "Tag_Profile_IM_AdminForbidType": "AdminForbid_Type_None",
		"Tag_SNS_IM_Remark": "Bob", "Tag_SNS_IM_Group": []any{"work", "home"}, "Tag_SNS_IM_AddSource": "AddSource_Type_search", "Tag_SNS_IM_AddWording": "hi", "Tag_SNS_Custom_Rank": "3"})

	const del = "sns/friend_delete"
	equal(t, "deleted", results(t, n.relations(del, `{"From_Account":"alice","To_Account":["bob","erin","nobody","alice"]}`)), []string{"bob 0", "erin 31704", "nobody 30003", "alice 30001"})
	equal(t, "friends of bob", friends("bob"), []string{"alice"})
	equal(t, "deleted", results(t, n.relations(del, `{"From_Account":"bob","To_Account":["alice"],"DeleteType":"Delete_Type_Both"}`)), []string{"alice 0"})
	equal(t, "friends of alice", friends("alice"), []string{"carol", "dave"})

	for command, bodies := range map[string][]string{
		add: {`{}`, `{"From_Account":"alice","AddFriendItem":[]}`, `{"From_Account":"alice","AddFriendItem":[{}]}`, `{"From_Account":"alice","AddType":"x","AddFriendItem":[{"To_Account":"bob"}]}`,
			`{"From_Account":"alice","ForceAddFlags":2,"AddFriendItem":[{"To_Account":"bob"}]}`, `{"From_Account":"alice","AddFriendItem":"bob"}`,
			`{"From_Account":"alice","AddFriendItem":[` + strings.Repeat(`{"To_Account":"bob"},`, 100) + `{"To_Account":"bob"}]}`},
		update:                  {`{}`, `{"From_Account":"alice","UpdateItem":[]}`, `{"From_Account":"alice","UpdateItem":[{"To_Account":"bob","SnsItem":[]}]}`},
		del:                     {`{}`, `{"From_Account":"alice","To_Account":"bob"}`, `{"From_Account":"alice","To_Account":["bob"],"DeleteType":"x"}`, `{"From_Account":"alice","To_Account":[` + strings.Repeat(`"bob",`, 100) + `"bob"]}`},
		"sns/friend_get":        {`{}`, `{"From_Account":"alice"}`, `{"From_Account":"alice","StartIndex":-1}`, `{"From_Account":"alice","StartIndex":"0"}`},
		"sns/black_list_add":    {`{}`, `{"From_Account":"alice","To_Account":[]}`, `{"From_Account":"alice","To_Account":[` + strings.Repeat(`"bob",`, 1000) + `"bob"]}`},
		"sns/black_list_delete": {`{}`, `{"From_Account":"alice","To_Account":[]}`},
		"sns/black_list_get":    {`{}`, `{"From_Account":"alice","StartIndex":0,"MaxLimited":0,"LastSequence":0}`, `{"From_Account":"alice","StartIndex":-1,"MaxLimited":1,"LastSequence":0}`},
	} {
		for _, body := range bodies {
			n.refused(30001, command, "%s", body)
		}
	}
	for command, rest := range map[string]string{
		add: `"AddFriendItem":[{"To_Account":"bob"}]`, update: `"UpdateItem":[{"To_Account":"bob","SnsItem":[{"Tag":"Tag_SNS_IM_Remark","Value":"x"}]}]`, del: `"To_Account":["bob"]`,
		"sns/friend_get": `"StartIndex":0`, "sns/black_list_add": `"To_Account":["bob"]`, "sns/black_list_delete": `"To_Account":["bob"]`,
		"sns/black_list_get": `"StartIndex":0,"MaxLimited":1,"LastSequence":0`,
	} {
		n.refused(30003, command, `{"From_Account":"nobody",%s}`, rest)
	}
}

// TestBlackListCalls: the calls about blacklists; a block ends friendships.
func TestBlackListCalls(t *testing.T) {
	n := start(t, chat.Config{})
	n.accounts("alice", "bob", "carol")
	n.ok2("sns/friend_add", `{"From_Account":"alice","AddFriendItem":[{"To_Account":"bob"}]}`)
	before := time.Now().Unix()
	out := n.relations("sns/black_list_add", `{"From_Account":"alice","To_Account":["bob","nobody","carol","alice","bob"]}`)
	equal(t, "blocked", results(t, out), []string{"bob 0", "nobody 30003", "carol 0", "alice 30001", "bob 0"})
	equal(t, "failed", out["Fail_Account"], []any{"nobody", "alice"})
	equal(t, "blocked again", results(t, n.relations("sns/black_list_add", `{"From_Account":"alice","To_Account":["bob"]}`)), []string{"bob 30001"})
	for _, user := range []string{"alice", "bob"} {
		if out := n.relations("sns/friend_get", `{"From_Account":%q,"StartIndex":0}`, user); out["FriendNum"] != 0.0 {
			t.Errorf("friends of %s: %v", user, out)
		}
	}
	out = n.relations("sns/friend_add", `{"From_Account":"bob","ForceAddFlags":1,"AddFriendItem":[{"To_Account":"alice"}]}`)
	equal(t, "added", results(t, out), []string{"alice 30525"})
	out = n.relations("sns/black_list_get", `{"From_Account":"alice","StartIndex":0,"MaxLimited":1,"LastSequence":0}`)
	first := out["BlackListItem"].([]any)[0].(map[string]any)
	if at, _ := first["AddBlackTimeStamp"].(float64); first["To_Account"] != "bob" || int64(at) < before || out["StartIndex"] == 0.0 || out["CurruentSequence"] != out["CurrentSequence"] {
		t.Errorf("%v", out)
	}
	out = n.relations("sns/black_list_get", `{"From_Account":"alice","StartIndex":%v,"MaxLimited":1,"LastSequence":0}`, out["StartIndex"])
	if out["BlackListItem"].([]any)[0].(map[string]any)["To_Account"] != "carol" || out["StartIndex"] != 0.0 {
		t.Errorf("%v", out)
	}
	equal(t, "unblocked", results(t, n.relations("sns/black_list_delete", `{"From_Account":"alice","To_Account":["bob","nobody"]}`)), []string{"bob 0", "nobody 30003"})
	equal(t, "added", results(t, n.relations("sns/friend_add", `{"From_Account":"bob","AddFriendItem":[{"To_Account":"alice"}]}`)), []string{"alice 0"})
}

// TestPagesWhileChanging: whoever is in a list from the first page to the last is on exactly one page, whatever is added and removed meanwhile.
func TestPagesWhileChanging(t *testing.T) {
	n := start(t, chat.Config{})
	n.accounts("alice")
	const stay = 250
	add := func(user string) {
		t.Helper()
		n.accounts(user)
		n.ok2("sns/friend_add", `{"From_Account":"alice","AddType":"Add_Type_Single","AddFriendItem":[{"To_Account":%q}]}`, user)
	}
	for i := range stay {
		if i%10 == 0 {
			add(fmt.Sprint("goes", i))
		}
		add(fmt.Sprint("stays", i))
	}
	seen := map[string]int{}
	index, pages := 0.0, 0
	for {
		out := n.relations("sns/friend_get", `{"From_Account":"alice","StartIndex":%d}`, int64(index))
		for _, x := range out["UserDataItem"].([]any) {
			seen[x.(map[string]any)["To_Account"].(string)]++
		}
		// Of those before, on, and behind the page some go or change, and new ones come.
		for i := pages * 90; i < pages*90+90 && i < stay; i += 10 {
			n.ok2("sns/friend_delete", `{"From_Account":"alice","To_Account":["goes%d"]}`, i)
			n.ok2("sns/friend_update", `{"From_Account":"alice","UpdateItem":[{"To_Account":"stays%d","SnsItem":[{"Tag":"Tag_SNS_IM_Remark","Value":"x"}]}]}`, i)
		}
		add(fmt.Sprint("new", pages))
		pages++
		if out["CompleteFlag"] != 0.0 {
			break
		}
		index = out["NextStartIndex"].(float64)
	}
	for i := range stay {
		if c := seen[fmt.Sprint("stays", i)]; c != 1 {
			t.Errorf("stays%d is on %d pages", i, c)
		}
	}
	for name, c := range seen {
		if c != 1 {
			t.Errorf("%s is on %d pages", name, c)
		}
	}
	if pages < 3 {
		t.Errorf("%d pages", pages)
	}
}

// TestAdminMayForbid: an operator's lock keeps a user from adding friends; the operator may still add them by force.
func TestAdminMayForbid(t *testing.T) {
	n := start(t, chat.Config{})
	n.accounts("alice", "bob")
	n.ok2("profile/portrait_set", `{"From_Account":"alice","ProfileItem":[{"Tag":"Tag_Profile_IM_AdminForbidType","Value":"AdminForbid_Type_SendOut"}]}`)
	equal(t, "added", results(t, n.relations("sns/friend_add", `{"From_Account":"alice","AddFriendItem":[{"To_Account":"bob"}]}`)), []string{fmt.Sprint("bob ", im.CodeAddForbidden)})
	equal(t, "forced", results(t, n.relations("sns/friend_add", `{"From_Account":"alice","ForceAddFlags":1,"AddFriendItem":[{"To_Account":"bob"}]}`)), []string{"bob 0"})
}

// TestOperatorIsHeard: devices get what an operator did to their users' lists as if the user had done it; each once, and only those whose list changed.
func TestOperatorIsHeard(t *testing.T) {
	n := start(t, chat.Config{})
	defer n.rules.StartFanout()()
	events := make(chan string, 100)
	dial := func(user string) {
		t.Helper()
		tell := func(what string) func([]string) {
			return func(users []string) { events <- fmt.Sprint(user, " ", what, " ", strings.Join(users, ",")) }
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c, err := client.Dial(ctx, n.config(user), client.Events{
			FriendsAdded: tell("added"), FriendsDeleted: tell("deleted"), BlacklistDeleted: tell("unblocked"), FriendRequestsDeleted: tell("requests deleted"),
			FriendRequests: func(list []*im.FriendAddPendency) { events <- fmt.Sprint(user, " requested ", list[0].Identifier) },
			BlacklistAdded: func(list []*im.FriendProfile) { events <- fmt.Sprint(user, " blocked ", list[0].Identifier) },
			FriendsUpdated: func(list []*im.FriendProfileUpdate) { events <- fmt.Sprint(user, " updated ", list[0].Identifier) },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
	}
	for _, user := range []string{"alice", "bob"} {
		dial(user)
	}
	for _, c := range []struct {
		command, body string
		want          []string
	}{
		{"sns/friend_add", `{"From_Account":"alice","AddFriendItem":[{"To_Account":"bob"}]}`, []string{"alice added bob", "bob added alice"}},
		{"sns/friend_add", `{"From_Account":"alice","AddFriendItem":[{"To_Account":"bob"}]}`, nil},
		{"sns/friend_update", `{"From_Account":"alice","UpdateItem":[{"To_Account":"bob","SnsItem":[{"Tag":"Tag_SNS_IM_Remark","Value":"B"}]}]}`, []string{"alice updated bob"}},
		{"profile/portrait_set", `{"From_Account":"bob","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"Bob"}]}`, []string{"alice updated bob"}},
		{"sns/friend_delete", `{"From_Account":"alice","To_Account":["bob"]}`, []string{"alice deleted bob"}},
		{"sns/black_list_add", `{"From_Account":"alice","To_Account":["bob"]}`, []string{"alice blocked bob", "bob deleted alice"}},
		{"sns/black_list_delete", `{"From_Account":"alice","To_Account":["bob"]}`, []string{"alice unblocked bob"}},
		{"profile/portrait_set", `{"From_Account":"bob","ProfileItem":[{"Tag":"Tag_Profile_IM_AllowType","Value":"AllowType_Type_NeedConfirm"}]}`, nil},
		{"sns/friend_add", `{"From_Account":"alice","AddFriendItem":[{"To_Account":"bob"}]}`, []string{"bob requested alice"}},
	} {
		n.ok2(c.command, "%s", c.body)
		got := map[string]bool{}
		for range c.want {
			got[next(t, c.command, events)] = true
		}
		for _, want := range c.want {
			if !got[want] {
				t.Errorf("%s with %s: %v, want %q", c.command, c.body, got, want)
			}
		}
	}
	// What came too much would come before this.
	n.ok2("sns/friend_add", `{"From_Account":"bob","AddType":"Add_Type_Both","ForceAddFlags":1,"AddFriendItem":[{"To_Account":"alice"}]}`)
	got := map[string]bool{next(t, "event", events): true, next(t, "event", events): true, next(t, "event", events): true}
	equal(t, "at the end", got, map[string]bool{"alice added bob": true, "bob added alice": true, "bob requests deleted alice": true})
}
