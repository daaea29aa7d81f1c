package ctest

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// codes are the codes of the results in an answer's JSON, in their order.
var codes = regexp.MustCompile(`"(?:friend_result_code|friendship_check_friendtype_result_code|friendship_friend_info_get_result_error_code|get_groups_info_result_code|group_(?:invite|delete)_member_result_result)":(\d+)`)

// inside are names of the protocol's messages, and a second code in a text: an application can make nothing of them.
var inside = regexp.MustCompile(`\b[A-Z]+_[A-Z]+\b|\(\d{4,5}\)`)

// What the functions of relations and profiles return for JSON that is not as it should be: "-4" at once, "30001" in the callback, ": 30003 0" in the
// results about single users. One user of a list who cannot be does not concern the others.
func TestRelationRefusals(t *testing.T) {
	s := imtest.Start(t)
	s.Dial("bob", noEvents)
	d := newDevice(t, s, "ann", "")
	d.login()
	d.synced(0)
	d.must("TIMFriendshipAddFriend", `{"friendship_add_friend_param_identifier":"bob"}`, on)
	list := func(n int, last ...string) string {
		var ids []string
		for i := range n - len(last) {
			ids = append(ids, fmt.Sprint("u", i))
		}
		return im.StringsToJSON(append(ids, last...))
	}
	long, huge := strings.Repeat("x", 33), strings.Repeat("x", 100_000)
	odd := im.StringsToJSON([]string{"", "bob", long, "a b", huge, "nobody", "ann"})
	missing := func(n int) string { return strings.Repeat(" 30003", n) }
	users := func(key, extra string) func(string) string {
		return func(list string) string { return fmt.Sprintf(`{"%s":%s%s}`, key, list, extra) }
	}
	plain := func(list string) string { return list }
	// Those that take a list of users, with what each returns for bob, and how long the list may be.
	for _, c := range []struct {
		fn, bob string
		json    func(list string) string
		most    int
	}{
		{"TIMFriendshipGetFriendsInfo", "0", plain, 100},
		{"TIMFriendshipCheckFriendType", "0", users("friendship_check_friendtype_param_identifier_array", ""), 100},
		{"TIMFriendshipCreateFriendGroup", "0", users("friendship_create_friend_group_param_identifier_array", `,"friendship_create_friend_group_param_name_array":["work"]`), 100},
		{"TIMFriendshipModifyFriendGroup", "0", users("friendship_modify_friend_group_param_add_identifier_array", `,"friendship_modify_friend_group_param_name":"work","friendship_modify_friend_group_param_new_name":""`), 100},
		{"TIMFriendshipModifyFriendGroup", "0", users("friendship_modify_friend_group_param_delete_identifier_array",
			`,"friendship_modify_friend_group_param_name":"work","friendship_modify_friend_group_param_new_name":"","friendship_modify_friend_group_param_add_identifier_array":[]`), 100},
		{"TIMFriendshipDeleteFriend", "0", users("friendship_delete_friend_param_identifier_array", ""), 100},
		{"TIMFriendshipDeletePendency", "30614", users("friendship_delete_pendency_param_identifier_array", ""), 100},
		{"TIMFriendshipAddToBlackList", "0", plain, 1000},
		{"TIMFriendshipDeleteFromBlackList", "0", plain, 1000},
	} {
		d.refuses(c.fn, c.json(odd), ": 30003 "+c.bob+" 30003 30003 30003 30003 30001")
		if !strings.Contains(c.fn, "Create") { // the group is there by then
			d.refuses(c.fn, c.json(list(c.most)), ":"+missing(c.most))
		}
		for _, n := range []int{c.most + 1, 1001, 20_000} {
			d.refuses(c.fn, c.json(list(n)), "30001")
		}
	}
	none := func(fn, key, code string) { // no list, and no list of users
		for _, json := range []string{`{}`, `{"unknown":1}`, fmt.Sprintf(`{"%s":[]}`, key), fmt.Sprintf(`{"%s":null}`, key)} {
			d.refuses(fn, json, code)
		}
		for _, json := range []string{fmt.Sprintf(`{"%s":"bob"}`, key), fmt.Sprintf(`{"%s":[1]}`, key), `[]`, `null`, `7`, `{`} {
			d.refuses(fn, json, "6027")
		}
	}
	none("TIMFriendshipDeleteFriend", "friendship_delete_friend_param_identifier_array", "30001")
	none("TIMFriendshipCheckFriendType", "friendship_check_friendtype_param_identifier_array", "30001")
	none("TIMFriendshipDeletePendency", "friendship_delete_pendency_param_identifier_array", "30001")
	none("TIMFriendshipSearchFriends", "friendship_search_param_keyword_list", "30001")
	for _, fn := range []string{"TIMFriendshipAddToBlackList", "TIMFriendshipDeleteFromBlackList", "TIMFriendshipGetFriendGroupList", "TIMFriendshipDeleteFriendGroup"} {
		for _, json := range []string{null, "", "{}", "[1]", "null", `"bob"`, "["} {
			d.refuses(fn, json, "-4")
		}
	}
	const add, item, group = `{"friendship_add_friend_param_identifier":"bob",`, `{"friendship_modify_friend_profile_param_identifier":"bob","friendship_modify_friend_profile_param_item":`, `{"friendship_modify_friend_group_param_name":"work"`
	for _, c := range [][3]string{
		{"TIMFriendshipGetFriendsInfo", `[]`, "30001"}, {"TIMFriendshipGetFriendsInfo", `[1]`, "6027"}, {"TIMFriendshipGetFriendsInfo", null, "-4"}, {"TIMFriendshipGetFriendsInfo", list(200_000), "30001"},
		{"TIMFriendshipGetFriendsInfo", `["bob","bob"]`, ": 0 0"}, {"TIMFriendshipGetFriendsInfo", `[null]`, ": 30003"},
		{"TIMFriendshipAddToBlackList", `["bob","bob"]`, ": 0 0"}, {"TIMFriendshipAddToBlackList", `["bob"]`, ": 30001"}, {"TIMFriendshipAddToBlackList", `[]`, "30001"},
		{"TIMFriendshipDeleteFromBlackList", `["bob","bob"]`, ": 0 0"}, {"TIMFriendshipDeleteFromBlackList", `[]`, "30001"},
		{"TIMFriendshipAddFriend", add + `"friendship_add_friend_param_friend_type":2}`, "30001"}, {"TIMFriendshipAddFriend", add + `"friendship_add_friend_param_friend_type":"1"}`, "6027"},
		{"TIMFriendshipAddFriend", add + `"friendship_add_friend_param_add_source":"web"}`, "30001"}, {"TIMFriendshipAddFriend", add + `"friendship_add_friend_param_remark":"` + huge + `"}`, "30001"},
		{"TIMFriendshipAddFriend", add + `"friendship_add_friend_param_add_wording":"` + huge + `"}`, "30001"}, {"TIMFriendshipAddFriend", `{}`, "30001"},
		{"TIMFriendshipAddFriend", `{"friendship_add_friend_param_identifier":"` + huge + `"}`, "30001"}, {"TIMFriendshipAddFriend", `{"friendship_add_friend_param_identifier":"` + long + `"}`, ": 30003"},
		{"TIMFriendshipAddFriend", add + `"unknown":{"a":[1]}}`, ": 0"}, {"TIMFriendshipAddFriend", add + `"friendship_add_friend_param_remark":null}`, ": 30015"},
		{"TIMFriendshipDeleteFriend", `{"friendship_delete_friend_param_identifier_array":["bob"],"friendship_delete_friend_param_friend_type":-1}`, "30001"},
		{"TIMFriendshipCheckFriendType", `{"friendship_check_friendtype_param_identifier_array":["bob"],"friendship_check_friendtype_param_check_type":2}`, "30001"},
		{"TIMFriendshipDeletePendency", `{"friendship_delete_pendency_param_type":3,"friendship_delete_pendency_param_identifier_array":["bob"]}`, "30001"},
		{"TIMFriendshipGetPendencyList", `{"friendship_get_pendency_list_param_type":3}`, "30001"}, {"TIMFriendshipGetPendencyList", `{"friendship_get_pendency_list_param_start_seq":-1}`, "30001"},
		{"TIMFriendshipGetPendencyList", `{"friendship_get_pendency_list_param_limited_size":-1}`, ":"}, {"TIMFriendshipGetPendencyList", `[]`, "6027"},
		{"TIMFriendshipHandleFriendAddRequest", `{}`, "-4"}, {"TIMFriendshipHandleFriendAddRequest", `{"unknown":1}`, "30001"},
		{"TIMFriendshipHandleFriendAddRequest", `{"friend_respone_identifier":"bob"}`, ": 30614"}, {"TIMFriendshipHandleFriendAddRequest", `{"friend_response_identifier":"bob","friend_response_action":3}`, "30001"},
		{"TIMFriendshipHandleFriendAddRequest", `{"friend_response_identifier":7}`, "-4"}, {"TIMFriendshipHandleFriendAddRequest", `{"friend_response_identifier":"ann"}`, ": 30001"},
		{"TIMFriendshipReportPendencyReaded", "-1", "30001"},
		{"TIMFriendshipModifyFriendProfile", `{}`, "-4"}, {"TIMFriendshipModifyFriendProfile", item + `[]}`, "-4"}, {"TIMFriendshipModifyFriendProfile", item + `{}}`, "30001"},
		{"TIMFriendshipModifyFriendProfile", item + `{"friend_profile_item_remark":7}}`, "-4"}, {"TIMFriendshipModifyFriendProfile", item + `{"friend_profile_item_remark":null}}`, "30001"},
		{"TIMFriendshipModifyFriendProfile", item + `{"friend_profile_item_remark":"` + huge + `"}}`, "30001"}, {"TIMFriendshipModifyFriendProfile", item + `{"friend_profile_item_group_name_array":` + list(1000) + `}}`, "30001"},
		{"TIMFriendshipModifyFriendProfile", strings.Replace(item, "bob", "nobody", 1) + `{"friend_profile_item_remark":"x"}}`, "30003"},
		{"TIMFriendshipCreateFriendGroup", `{}`, "-4"}, {"TIMFriendshipCreateFriendGroup", `{"unknown":1}`, "30001"}, {"TIMFriendshipCreateFriendGroup", `{"friendship_create_friend_group_param_name_array":[""]}`, "30001"},
		{"TIMFriendshipCreateFriendGroup", `{"friendship_create_friend_group_param_name_array":"x"}`, "-4"}, {"TIMFriendshipCreateFriendGroup", `{"friendship_create_friend_group_param_name_array":` + list(33) + `}`, "30001"},
		{"TIMFriendshipCreateFriendGroup", `{"friendship_create_friend_group_param_name_array":["` + huge + `"]}`, "30001"}, {"TIMFriendshipCreateFriendGroup", `{"friendship_create_friend_group_param_name_array":["work"]}`, "30001"},
		{"TIMFriendshipDeleteFriendGroup", `[]`, "-4"}, {"TIMFriendshipDeleteFriendGroup", `["none"]`, "30001"}, {"TIMFriendshipDeleteFriendGroup", list(1000), "30001"}, {"TIMFriendshipDeleteFriendGroup", `[""]`, "30001"},
		{"TIMFriendshipGetFriendGroupList", `["none"]`, ":"}, {"TIMFriendshipGetFriendGroupList", list(200_000), ":"},
		{"TIMFriendshipModifyFriendGroup", `{}`, "30001"}, {"TIMFriendshipModifyFriendGroup", group + `}`, "30001"}, {"TIMFriendshipModifyFriendGroup", group + `,"friendship_modify_friend_group_param_new_name":""}`, "30001"},
		{"TIMFriendshipModifyFriendGroup", group + `,"friendship_modify_friend_group_param_new_name":"` + huge + `"}`, "30001"}, {"TIMFriendshipModifyFriendGroup", `[]`, "6027"},
		{"TIMFriendshipModifyFriendGroup", group + `,"friendship_modify_friend_group_param_new_name":7}`, "6027"},
		{"TIMProfileGetUserProfileList", `{}`, "-3"}, {"TIMProfileGetUserProfileList", `{"friendship_getprofilelist_param_identifier_array":"bob"}`, "-3"}, {"TIMProfileGetUserProfileList", `{"friendship_getprofilelist_param_identifier_array":[]}`, "40001"},
		{"TIMProfileGetUserProfileList", `{"friendship_getprofilelist_param_identifier_array":` + odd + `}`, ":"}, {"TIMProfileGetUserProfileList", `{"friendship_getprofilelist_param_identifier_array":` + list(101) + `}`, "40001"},
		{"TIMProfileGetUserProfileList", `{"friendship_getprofilelist_param_identifier_array":` + list(200_000) + `}`, "40001"},
		{"TIMProfileModifySelfUserProfile", `{}`, ":"}, {"TIMProfileModifySelfUserProfile", `{"unknown":1}`, ":"}, {"TIMProfileModifySelfUserProfile", `[]`, "-4"}, {"TIMProfileModifySelfUserProfile", `{"user_profile_item_nick_name":7}`, "-4"},
		{"TIMProfileModifySelfUserProfile", `{"user_profile_item_nick_name":"` + huge + `"}`, "40001"}, {"TIMProfileModifySelfUserProfile", `{"user_profile_item_gender":9}`, "40605"}, {"TIMProfileModifySelfUserProfile", `{"user_profile_item_add_permission":0}`, "40605"},
		{"TIMProfileModifySelfUserProfile", `{"user_profile_item_custom_string_array":[{"user_profile_custom_string_info_value":"x"}]}`, "40009"}, {"TIMProfileModifySelfUserProfile", `{"user_profile_item_custom_string_array":{}}`, "-4"},
	} {
		d.refuses(c[0], c[1], c[2])
	}
	profiles := d.must("TIMProfileGetUserProfileList", `{"friendship_getprofilelist_param_identifier_array":`+odd+`}`, on)
	var names []string
	for _, p := range decode[[]map[string]any](t, profiles) {
		names = append(names, fmt.Sprint(p["user_profile_identifier"]))
	}
	if got := strings.Join(names, " "); got != "bob ann" {
		t.Errorf("profiles of %s", got)
	}
	results := decode[[]map[string]any](t, d.must("TIMFriendshipDeleteFromBlackList", odd, on))
	for i, u := range decode[[]string](t, odd) {
		if got := results[i]["friend_result_identifier"]; got != u {
			t.Errorf("the result about %.40q names %.40q", u, got)
		}
	}
	d.quit()
}

// refuses compares the outcome of a call: its result if that is below zero, the code of the callback if that is not 0, or else the codes of its results.
func (d *driver) refuses(fn, json, want string) {
	d.t.Helper()
	d.refusesAll(fn, want, json)
}

// refusesAll is refuses for a function with more parameters.
func (d *driver) refusesAll(fn, want string, args ...any) {
	d.t.Helper()
	r, _, id := d.callID(fn, append(args, on)...)
	got := fmt.Sprint(r)
	if r == 0 {
		a := d.answerOf(id, fn)
		if got = fmt.Sprint(a.code); a.code == 0 {
			got = ":"
			for _, m := range codes.FindAllStringSubmatch(a.json, -1) {
				got += " " + m[1]
			}
		}
		if inside.MatchString(a.desc) {
			d.t.Errorf("%s %.100q: the text is %q", fn, args, a.desc)
		}
	}
	if got != want {
		d.t.Errorf("%s %.150q: %.150s, want %.150s", fn, args, got, want)
	}
}
