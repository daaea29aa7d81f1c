package ctest

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

var timeValues = regexp.MustCompile(`"(\w+_time|\w+_seq)":[1-9]\d*`)

// The functions that return relations and profiles, with their JSON as it is; times are "*".
func TestRelationLists(t *testing.T) {
	s := imtest.Start(t)
	bob := s.Dial("bob", noEvents)
	cid := s.Dial("cid", noEvents)
	needConfirm := im.ProfileAddPermission_PROFILE_ADD_PERMISSION_NEED_CONFIRM
	if err := cid.Profiles().SetSelf(t.Context(), &im.UserProfileItem{AddPermission: &needConfirm}); err != nil {
		t.Fatal(err)
	}
	d := newDevice(t, s, "ann", "")
	d.hearRelations()
	d.login()
	d.synced(0)
	const pendency = `{"friendship_get_pendency_list_param_type":1,"friendship_get_pendency_list_param_start_seq":0,"friendship_get_pendency_list_param_limited_size":10}`
	for i, step := range []struct{ fn, json, want string }{
		{"TIMProfileModifySelfUserProfile", `{"user_profile_item_nick_name":"Ann","user_profile_item_add_permission":2,"user_profile_item_custom_string_array":[{"user_profile_custom_string_info_key":"Tag_Profile_Custom_job","user_profile_custom_string_info_value":"ops"}]}`, ``},
		{"TIMFriendshipAddFriend", `{"friendship_add_friend_param_identifier":"bob","friendship_add_friend_param_friend_type":0,"friendship_add_friend_param_remark":"Bobby","friendship_add_friend_param_group_name":"work","friendship_add_friend_param_add_source":"AddSource_Type_test","friendship_add_friend_param_add_wording":"hi"}`, `{"friend_result_code":0,"friend_result_desc":"","friend_result_identifier":"bob"}`},
		{"TIMFriendshipAddFriend", `{"friendship_add_friend_param_identifier":"cid","friendship_add_friend_param_add_wording":"hello"}`, `{"friend_result_code":30539,"friend_result_desc":"the request waits for approval","friend_result_identifier":"cid"}`},
		{"TIMFriendshipAddFriend", `{"friendship_add_friend_param_identifier":"nobody"}`, `{"friend_result_code":30003,"friend_result_desc":"there is no such user","friend_result_identifier":"nobody"}`},
		{"TIMFriendshipGetPendencyList", pendency, `{"pendency_page_current_seq":0,"pendency_page_pendency_info_array":[{"friend_add_pendency_info_add_source":"","friend_add_pendency_info_add_time":"*","friend_add_pendency_info_add_wording":"hello","friend_add_pendency_info_face_url":"","friend_add_pendency_info_idenitifer":"cid","friend_add_pendency_info_identifier":"cid","friend_add_pendency_info_nick_name":"","friend_add_pendency_info_type":1}],"pendency_page_start_time":"*","pendency_page_unread_num":1}`},
		{"TIMFriendshipGetPendencyList", `{"friendship_get_pendency_list_param_type":0,"friendship_get_pendency_list_param_limited_size":10}`, `{"pendency_page_current_seq":0,"pendency_page_pendency_info_array":[{"friend_add_pendency_info_add_source":"","friend_add_pendency_info_add_time":"*","friend_add_pendency_info_add_wording":"","friend_add_pendency_info_face_url":"","friend_add_pendency_info_idenitifer":"bob","friend_add_pendency_info_identifier":"bob","friend_add_pendency_info_nick_name":"","friend_add_pendency_info_type":0}],"pendency_page_start_time":"*","pendency_page_unread_num":1}`},
		{"TIMFriendshipCheckFriendType", `{"friendship_check_friendtype_param_check_type":1,"friendship_check_friendtype_param_identifier_array":["bob","cid","nobody"]}`, `[{"friendship_check_friendtype_result_code":0,"friendship_check_friendtype_result_desc":"","friendship_check_friendtype_result_identifier":"bob","friendship_check_friendtype_result_relation":1},{"friendship_check_friendtype_result_code":0,"friendship_check_friendtype_result_desc":"","friendship_check_friendtype_result_identifier":"cid","friendship_check_friendtype_result_relation":0},{"friendship_check_friendtype_result_code":30003,"friendship_check_friendtype_result_desc":"there is no such user","friendship_check_friendtype_result_identifier":"nobody","friendship_check_friendtype_result_relation":0}]`},
		{"TIMProfileGetUserProfileList", `{"friendship_getprofilelist_param_identifier_array":["ann","cid"],"friendship_getprofilelist_param_force_update":true}`, `[{"user_profile_add_permission":2,"user_profile_birthday":0,"user_profile_custom_string_array":[{"user_profile_custom_string_info_key":"job","user_profile_custom_string_info_value":"ops"}],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"ann","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"Ann","user_profile_role":0,"user_profile_self_signature":""},{"user_profile_add_permission":2,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"cid","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""}]`},
		{"TIMFriendshipAddToBlackList", `["cid"]`, `[{"friend_result_code":0,"friend_result_desc":"","friend_result_identifier":"cid"}]`},
		{"TIMFriendshipDeleteFriend", `{"friendship_delete_friend_param_friend_type":0,"friendship_delete_friend_param_identifier_array":["cid"]}`, `[{"friend_result_code":31704,"friend_result_desc":"the user is not a friend","friend_result_identifier":"cid"}]`},
		{"TIMFriendshipGetFriendProfileList", "", `[{"friend_profile_add_source":"AddSource_Type_test","friend_profile_add_time":"*","friend_profile_add_wording":"hi","friend_profile_custom_string_array":[],"friend_profile_group_name_array":["work"],"friend_profile_identifier":"bob","friend_profile_remark":"Bobby","friend_profile_user_profile":{"user_profile_add_permission":1,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"bob","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""}}]`},
		{"TIMFriendshipGetFriendsInfo", `["bob","cid","nobody"]`, `[{"friendship_friend_info_get_result_error_code":0,"friendship_friend_info_get_result_error_message":"","friendship_friend_info_get_result_field_info":{"friend_profile_add_source":"AddSource_Type_test","friend_profile_add_time":"*","friend_profile_add_wording":"hi","friend_profile_custom_string_array":[],"friend_profile_group_name_array":["work"],"friend_profile_identifier":"bob","friend_profile_remark":"Bobby","friend_profile_user_profile":{"user_profile_add_permission":1,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"bob","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""}},"friendship_friend_info_get_result_identifier":"bob","friendship_friend_info_get_result_relation_type":1,"friendship_friend_info_get_result_userid":"bob"},{"friendship_friend_info_get_result_error_code":0,"friendship_friend_info_get_result_error_message":"","friendship_friend_info_get_result_field_info":{"friend_profile_add_source":"","friend_profile_add_time":0,"friend_profile_add_wording":"","friend_profile_custom_string_array":[],"friend_profile_group_name_array":[],"friend_profile_identifier":"cid","friend_profile_remark":"","friend_profile_user_profile":{"user_profile_add_permission":2,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"cid","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""}},"friendship_friend_info_get_result_identifier":"cid","friendship_friend_info_get_result_relation_type":0,"friendship_friend_info_get_result_userid":"cid"},{"friendship_friend_info_get_result_error_code":30003,"friendship_friend_info_get_result_error_message":"there is no such user","friendship_friend_info_get_result_field_info":{"friend_profile_add_source":"","friend_profile_add_time":0,"friend_profile_add_wording":"","friend_profile_custom_string_array":[],"friend_profile_group_name_array":[],"friend_profile_identifier":"nobody","friend_profile_remark":"","friend_profile_user_profile":{"user_profile_add_permission":1,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""}},"friendship_friend_info_get_result_identifier":"nobody","friendship_friend_info_get_result_relation_type":0,"friendship_friend_info_get_result_userid":"nobody"}]`},
		{"TIMFriendshipSearchFriends", `{"friendship_search_param_keyword_list":["BOBB"],"friendship_search_param_search_field_list":[4]}`, `[{"friend_profile_add_source":"AddSource_Type_test","friend_profile_add_time":"*","friend_profile_add_wording":"hi","friend_profile_custom_string_array":[],"friend_profile_group_name_array":["work"],"friend_profile_identifier":"bob","friend_profile_remark":"Bobby","friend_profile_user_profile":{"user_profile_add_permission":1,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"bob","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""},"friendship_friend_info_get_result_error_code":0,"friendship_friend_info_get_result_error_message":"","friendship_friend_info_get_result_field_info":{"friend_profile_add_source":"AddSource_Type_test","friend_profile_add_time":"*","friend_profile_add_wording":"hi","friend_profile_custom_string_array":[],"friend_profile_group_name_array":["work"],"friend_profile_identifier":"bob","friend_profile_remark":"Bobby","friend_profile_user_profile":{"user_profile_add_permission":1,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"bob","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""}},"friendship_friend_info_get_result_identifier":"bob","friendship_friend_info_get_result_relation_type":1,"friendship_friend_info_get_result_userid":"bob"}]`},
		{"TIMFriendshipGetFriendGroupList", `["work"]`, `[{"friend_group_info_count":1,"friend_group_info_identifier_array":["bob"],"friend_group_info_name":"work"}]`},
		{"TIMFriendshipGetBlackList", "", `[{"friend_profile_add_source":"","friend_profile_add_time":"*","friend_profile_add_wording":"","friend_profile_custom_string_array":[],"friend_profile_group_name_array":[],"friend_profile_identifier":"cid","friend_profile_remark":"","friend_profile_user_profile":{"user_profile_add_permission":2,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"cid","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""}}]`},
	} {
		if i == 4 { // bob asks too, by then
			if _, err := bob.Friends().Add(t.Context(), &im.AddFriendRequest{UserId: "ann"}); err != nil {
				t.Fatal(err)
			}
		}
		if step.fn == "TIMFriendshipGetFriendProfileList" { // what follows reads local data
			d.event("TIMFriendBlackListAddedCallback", 1)
		}
		params := []any{on}
		if step.json != "" {
			params = []any{step.json, on}
		}
		if got := timeValues.ReplaceAllString(d.must(step.fn, params...), `"$1":"*"`); got != step.want {
			t.Errorf("%s %s:\n%s\nwant\n%s", step.fn, step.json, got, step.want)
		}
	}
	d.quit()
}

// What a program sets in its profile, in the answer to a request, by either spelling, and in the limits of a list, has its effect.
func TestRelationKeys(t *testing.T) {
	s := imtest.Start(t)
	d := newDevice(t, s, "ann", "")
	d.hearRelations()
	d.login()
	d.synced(0)
	d.must("TIMProfileModifySelfUserProfile", `{"user_profile_item_nick_name":"Ann","user_profile_item_gender":2,"user_profile_item_face_url":"f","user_profile_item_self_signature":"s",
		"user_profile_item_add_permission":2,"user_profile_item_location":"l","user_profile_item_language":3,"user_profile_item_birthday":19900131,"user_profile_item_level":4,
		"user_profile_item_role":5}`, on)
	profile := d.must("TIMProfileGetUserProfileList", `{"friendship_getprofilelist_param_identifier_array":["ann"],"friendship_getprofilelist_param_force_update":true}`, on)
	if err := includes("", decode[any](t, profile), decode[any](t, `[{"user_profile_nick_name":"Ann","user_profile_gender":2,"user_profile_face_url":"f","user_profile_self_signature":"s",
		"user_profile_add_permission":2,"user_profile_location":"l","user_profile_language":3,"user_profile_birthday":19900131,"user_profile_level":4,"user_profile_role":5}]`)); err != nil {
		t.Error(err)
	}
	for _, user := range []string{"bob", "cid"} {
		c := s.Dial(user, noEvents)
		if err := c.Profiles().SetSelf(t.Context(), &im.UserProfileItem{NickName: new("N " + user), FaceUrl: new("F " + user)}); err != nil {
			t.Fatal(err)
		}
		r, err := c.Friends().Add(t.Context(), &im.AddFriendRequest{UserId: "ann", Source: "AddSource_Type_test", Wording: "hi"})
		if err != nil || r.Code != im.CodeWaitsForApproval {
			t.Fatal(r, err)
		}
	}
	asked := decode[[]map[string]any](t, d.event("TIMFriendAddRequestCallback", 1).fields[0])[0]
	if err := includes("", asked, map[string]any{"friend_add_pendency_identifier": "bob", "friend_add_pendency_nick_name": "N bob", "friend_add_pendency_face_url": "F bob",
		"friend_add_pendency_type": 0.0, "friend_add_pendency_add_source": "AddSource_Type_test", "friend_add_pendency_add_wording": "hi"}); err != nil || asked["friend_add_pendency_add_time"] == 0.0 {
		t.Errorf("%v: %v", asked, err)
	}
	list := func(until int) int {
		page := d.must("TIMFriendshipGetPendencyList", fmt.Sprintf(`{"friendship_get_pendency_list_param_type":0,"friendship_get_pendency_list_param_start_time":%d}`, until), on)
		return len(decode[struct {
			List []any `json:"pendency_page_pendency_info_array"`
		}](t, page).List)
	}
	if now, before := list(0), list(1); now != 2 || before != 0 {
		t.Errorf("%d requests, %d before they were made", now, before)
	}
	d.must("TIMFriendshipHandleFriendAddRequest", `{"friend_response_identifier":"bob","friend_response_action":1,"friend_response_remark":"B","friend_response_group_name":"work"}`, on)
	d.must("TIMFriendshipHandleFriendAddRequest", `{"friend_respone_identifier":"cid","friend_respone_action":1,"friend_respone_remark":"C","friend_respone_group_name":"old"}`, on)
	d.event("TIMOnAddFriendCallback", 2)
	friends := decode[[]map[string]any](t, d.must("TIMFriendshipGetFriendProfileList", on))
	have := map[any]string{}
	for _, f := range friends {
		have[f["friend_profile_identifier"]] = fmt.Sprint(f["friend_profile_remark"], f["friend_profile_group_name_array"])
	}
	if len(have) != 2 || have["bob"] != "B[work]" || have["cid"] != "C[old]" {
		t.Errorf("friends %v", have)
	}
	d.must("TIMFriendshipModifyFriendProfile", `{"friendship_modify_friend_profile_param_identifier":"bob","friendship_modify_friend_profile_param_item":{
		"friend_profile_item_remark":"R","friend_profile_item_group_name_array":[]}}`, on)
	changed := decode[any](t, d.event("TIMUpdateFriendProfileCallback", 1).fields[0])
	if err := includes("", changed, []any{map[string]any{"friend_profile_update_identifier": "bob", "friend_profile_update_item": map[string]any{
		"friend_profile_item_remark": "R", "friend_profile_item_group_name_array": []any{}}}}); err != nil {
		t.Error(err)
	}
	d.quit()
}
