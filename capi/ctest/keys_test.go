package ctest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/tidings-im/tidings/imtest"
)

// travels are the keys that a program sets in a message, with values that are not their defaults, and which the other side, another device of the
// sender and the sender's own history get unchanged.
var travels = map[string]string{
	"message_priority": `2`, "message_need_read_receipt": `true`, "message_support_message_extension": `true`, "message_cloud_custom_str": `"cloud"`,
	"message_is_excluded_from_unread_count": `true`, "message_excluded_from_last_message": `true`, "message_excluded_from_content_moderation": `true`,
	"message_custom_moderation_configuration_id": `"m1"`, "message_group_at_user_array": `["bob"]`, "message_is_forward_message": `true`,
	"message_disable_cloud_message_pre_hook": `true`, "message_disable_cloud_message_post_hook": `true`, "message_excluded_from_muting": `true`,
	"message_offline_push_config": `{"offline_push_config_title":"t","offline_push_config_desc":"d","offline_push_config_ext":"e","offline_push_config_flag":1,
		"offline_push_config_ios_config":{"ios_offline_push_config_title":"it","ios_offline_push_config_sound":"is","ios_offline_push_config_ignore_badge":true,
			"ios_offline_push_config_push_type":1,"ios_offline_push_config_image":"ii","ios_offline_push_config_interruption_level":"critical",
			"ios_offline_push_config_enable_background_notification":true},
		"offline_push_config_android_config":{"android_offline_push_config_title":"at","android_offline_push_config_sound":"as","android_offline_push_config_notify_mode":1,
			"android_offline_push_config_vivo_category":"vc","android_offline_push_config_oppo_channel_id":"oc","android_offline_push_config_xiaomi_channel_id":"xc",
			"android_offline_push_config_fcm_channel_id":"fc","android_offline_push_config_huawei_category":"hc","android_offline_push_config_oppo_category":"oo",
			"android_offline_push_config_oppo_notify_level":16,"android_offline_push_config_honor_importance":"LOW","android_offline_push_config_meizu_notify_type":1,
			"android_offline_push_config_huawei_image":"hi","android_offline_push_config_honor_image":"ni","android_offline_push_config_fcm_image":"fi",
			"android_offline_push_config_vivo_classification":0},
		"offline_push_config_harmony_config":{"harmony_offline_push_config_title":"ht","harmony_offline_push_config_image":"hm","harmony_offline_push_config_category":"hg",
			"harmony_offline_push_config_ignore_badge":1}}`,
	"message_elem_array": `[{"elem_type":0,"text_elem_content":"text"},
		{"elem_type":3,"custom_elem_data":"cd","custom_elem_desc":"ce","custom_elem_ext":"cx","custom_elem_sound":"cs"},
		{"elem_type":6,"face_elem_index":7,"face_elem_buf":"fb"},
		{"elem_type":7,"location_elem_desc":"ld","location_elem_longitude":1.5,"location_elem_latitude":-2.25}]`,
}

// includes returns an error where have does not agree with want: keys that only have has do not matter.
func includes(path string, have, want any) error {
	if w, ok := want.(map[string]any); ok {
		h, ok := have.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is %v", path, have)
		}
		for k, v := range w {
			if err := includes(path+"/"+k, h[k], v); err != nil {
				return err
			}
		}
		return nil
	}
	if w, ok := want.([]any); ok {
		h, ok := have.([]any)
		if !ok || len(h) != len(w) {
			return fmt.Errorf("%s is %v", path, have)
		}
		for i := range w {
			if err := includes(fmt.Sprint(path, "/", i), h[i], w[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if !reflect.DeepEqual(have, want) {
		return fmt.Errorf("%s is %v, and should be %v", path, have, want)
	}
	return nil
}

// What a program sets in a message is kept and delivered: to the other side, to the sender's other device, and to the sender's own history.
func TestMessageKeysTravel(t *testing.T) {
	s, ann, bob := pair(t)
	phone := newDevice(t, s, "ann", "", "TIDINGS_PLATFORM=android")
	phone.login()
	phone.synced(0)
	values := map[string]json.RawMessage{}
	for key, v := range travels {
		values[key] = json.RawMessage(v)
	}
	text, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	want := decode[map[string]any](t, string(text))
	answered := ann.must("TIMMsgSendMessage", "bob", 1, string(text), on, on)
	id := decode[message](t, answered).ID
	see := func(who string, m string) {
		t.Helper()
		if err := includes("", decode[map[string]any](t, m), want); err != nil {
			t.Errorf("%s: %v", who, err)
		}
	}
	see("the callback of the send", answered)
	for who, d := range map[string]*device{"bob": bob, "ann's phone": phone} {
		l := d.wait(0, "the message", func(l line) bool {
			return l.kind == "TIMRecvNewMsgCallback" && decode[[]message](t, l.fields[0])[0].ID == id
		})
		see(who, raw(t, l.fields[0])[0])
		see(who+"'s history", raw(t, d.must("TIMMsgFindMessages", `["`+id+`"]`, on))[0])
	}
	see("ann's history", raw(t, ann.must("TIMMsgFindMessages", `["`+id+`"]`, on))[0])
	for _, d := range []*device{ann, bob, phone} {
		d.quit()
	}
}

// The callback of a recall names the message, who recalled it and why; there are no nicknames and faces yet, but their keys are present.
func TestRevokeCallback(t *testing.T) {
	_, ann, bob := pair(t)
	sent := ann.must("TIMMsgSendMessage", "bob", 1, textJSON("not meant"), on, on)
	id := decode[message](t, sent).ID
	bob.hears("not meant")
	revoked := with(t, sent, map[string]any{"message_revoke_reason": "a mistake"})
	ann.must("TIMMsgRevoke", "bob", 1, revoked, on)
	for who, d := range map[string]*device{"ann": bob, "bob": ann} {
		l := d.event("TIMMsgRevokeCallback", 1)
		info := decode[[]map[string]any](t, l.fields[0])[0]
		for key, want := range map[string]any{"message_msg_id": id, "message_revoke_reason": "a mistake", "message_revoker_user_id": "ann", "message_revoker_nick_name": "",
			"message_revoker_face_url": "", "message_locator_conv_id": who, "message_locator_is_revoked": true, "message_locator_is_self": d == ann} {
			if info[key] != want {
				t.Errorf("%s hears %s: %v, want %v", d.user, key, info[key], want)
			}
		}
		m := decode[map[string]any](t, raw(t, d.must("TIMMsgFindMessages", `["`+id+`"]`, on))[0])
		if m["message_status"] != 4.0 && m["message_status"] != 6.0 || m["message_revoke_reason"] != "a mistake" || m["message_revoker_user_id"] != "ann" {
			t.Errorf("%s finds %v, %v, %v", d.user, m["message_status"], m["message_revoke_reason"], m["message_revoker_user_id"])
		}
	}
	ann.quit()
	bob.quit()
}

// What a program reads shows what happened: in messages, conversations, receipts, recalls, and the results of calls.
func TestKeysRead(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := newDevice(t, s, "ann", "", "TIDINGS_PLATFORM=windows"), newDevice(t, s, "bob", "")
	for _, d := range []*device{ann, bob} {
		d.login()
		d.synced(0)
	}
	wantsKeys := func(what, text, want string) {
		t.Helper()
		if err := includes("", exact(t, text), exact(t, want)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	answered := ann.must("TIMMsgSendMessage", "bob", 1, textJSON("hello"), on, on)
	sent := exact(t, answered).(map[string]any)
	id, at, random := fmt.Sprint(sent["message_msg_id"]), fmt.Sprint(sent["message_server_time"]), fmt.Sprint(sent["message_rand"])
	seconds, err := strconv.ParseUint(at, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	low, err := strconv.ParseUint(random, 10, 32)
	if err != nil || !strings.HasSuffix(id, "-"+random) {
		t.Fatalf("%v: message %s has the random number %s", err, id, random)
	}
	unique := fmt.Sprint(seconds<<32 + low)
	// message is what both sides have of it.
	message := func(conv string, own, read, peerRead bool) string {
		return fmt.Sprintf(`{"message_msg_id":%q,"message_conv_id":%q,"message_conv_type":1,"message_sender":"ann","message_seq":1,"message_status":2,"message_platform":1,`+
			`"message_is_from_self":%v,"message_is_read":%v,"message_is_peer_read":%v,"message_server_time":%s,"message_client_time":%v,"message_rand":%s,"message_unique_id":%s,`+
			`"message_is_online_msg":false,"message_custom_int":0,"message_custom_str":"","message_sender_profile":{"user_profile_identifier":"ann"}}`,
			id, conv, own, read, peerRead, at, sent["message_client_time"], random, unique)
	}
	wantsKeys("the answer", answered, message("bob", true, true, false))
	bob.hears("hello")
	find := func(d *device) string { return raw(t, d.must("TIMMsgFindMessages", `["`+id+`"]`, on))[0] }
	wantsKeys("bob's", find(bob), message("ann", false, false, false))
	conv := func(d *device, peer, want string) {
		t.Helper()
		list := d.must("TIMConvGetConvInfo", fmt.Sprintf(`[{"get_conversation_list_param_conv_id":%q,"get_conversation_list_param_conv_type":1},`+
			`{"get_conversation_list_param_conv_id":%[1]q,"get_conversation_list_param_conv_type":2},{"get_conversation_list_param_conv_id":"x","get_conversation_list_param_conv_type":1}]`, peer), on)
		wantsKeys(d.user+"'s conversation", list, "["+want+"]")
	}
	conv(bob, "ann", fmt.Sprintf(`{"conv_id":"ann","conv_type":1,"conv_show_name":"ann","conv_unread_num":1,"conv_active_time":%s,"conv_is_has_lastmsg":true,"conv_last_msg":%s,`+
		`"conv_is_has_draft":false,"conv_recv_opt":0,"conv_is_pinned":false,"conv_c2c_read_timestamp":0}`, at, message("ann", false, false, false)))
	wantsKeys("bob's total", bob.must("TIMConvGetTotalUnreadMessageCount", on), `{"conv_get_total_unread_message_count_result_unread_count":1}`)

	bob.must("TIMMsgReportReaded", "ann", 1, find(bob), on)
	receipt := exact(t, ann.event("TIMMsgReadedReceiptCallback", 1).fields[0]).([]any)
	wantsKeys("the receipt", ann.event("TIMMsgReadedReceiptCallback", 1).fields[0], `[{"msg_receipt_conv_id":"bob","msg_receipt_conv_type":1,"msg_receipt_is_peer_read":true}]`)
	stamp := fmt.Sprint(receipt[0].(map[string]any)["msg_receipt_time_stamp"])
	if read, err := strconv.ParseUint(stamp, 10, 64); err != nil || read < seconds {
		t.Errorf("a message of %s was read at %s: %v", at, stamp, err)
	}
	wantsKeys("ann's, read", find(ann), message("bob", true, true, true))
	wantsKeys("bob's, read", find(bob), message("ann", false, true, false))
	conv(bob, "ann", fmt.Sprintf(`{"conv_unread_num":0,"conv_c2c_read_timestamp":%s}`, at)) // of what was read, not of the reading

	found := fmt.Sprintf(`{"msg_search_result_total_count":1,"msg_search_result_item_array":[{"msg_search_result_item_conv_id":"bob","msg_search_result_item_conv_type":1,`+
		`"msg_search_result_item_total_message_count":1,"msg_search_result_item_message_array":[%s]}]}`, message("bob", true, true, true))
	wantsKeys("a search", ann.must("TIMMsgSearchLocalMessages", `{"msg_search_param_keyword_array":["hello"]}`, on), found)
	ann.must("TIMMsgSetC2CReceiveMessageOpt", `["bob"]`, 2, on)
	wantsKeys("options", ann.must("TIMMsgGetC2CReceiveMessageOpt", `["bob"]`, on), `[{"msg_recv_msg_opt_result_identifier":"bob","msg_recv_msg_opt_result_opt":2}]`)

	locator := fmt.Sprintf(`{"message_locator_conv_id":"%%s","message_locator_conv_type":1,"message_locator_time":%s,"message_locator_seq":1,"message_locator_rand":%s,`+
		`"message_locator_is_self":%%v,"message_locator_is_revoked":%%v,"message_locator_unique_id":%s}`, at, random, unique)
	byLocator := ann.must("TIMMsgFindByMsgLocatorList", "bob", 1, "["+fmt.Sprintf(locator, "bob", true, false)+"]", on)
	wantsKeys("by its locator", byLocator, "["+message("bob", true, true, true)+"]")
	ann.must("TIMMsgRevoke", "bob", 1, find(ann), on)
	wantsKeys("the recall", bob.event("TIMMsgRevokeCallback", 1).fields[0], "["+fmt.Sprintf(locator, "ann", false, true)+"]")

	batch := ann.must("TIMMsgBatchSend", `{"msg_batch_send_param_identifier_array":["bob","nobody"],"msg_batch_send_param_msg":`+textJSON("to all")+`}`, on)
	wantsKeys("a batch", batch, `[{"msg_batch_send_result_identifier":"bob","msg_batch_send_result_code":0,"msg_batch_send_result_desc":"","msg_batch_send_result_msg":{"message_status":2,"message_conv_id":"bob"}},`+
		`{"msg_batch_send_result_identifier":"nobody","msg_batch_send_result_code":20003}]`)
	if second := exact(t, batch).([]any)[1].(map[string]any); second["msg_batch_send_result_desc"] == "" {
		t.Error("a receiver that there is not has no text")
	}
	ann.quit()
	bob.quit()
}

// exact is JSON whose numbers stay as they are written.
func exact(t testing.TB, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %.200s", err, text)
	}
	return v
}

// held are the keys that no travelling message has, with the test that checks them.
var held = map[string]string{
	"TestRelationKeys (capi/ctest)":          "friend_respone_group_name friend_respone_remark friend_response_group_name friend_response_remark friendship_get_pendency_list_param_start_time user_profile_item_birthday user_profile_item_face_url user_profile_item_gender user_profile_item_language user_profile_item_level user_profile_item_location user_profile_item_role user_profile_item_self_signature friend_add_pendency_add_source friend_add_pendency_add_time friend_add_pendency_add_wording friend_add_pendency_face_url friend_add_pendency_identifier friend_add_pendency_nick_name friend_add_pendency_type friend_profile_item_group_name_array friend_profile_update_identifier friend_profile_update_item",
	"TestGroupReports (capi/ctest)":          "group_report_elem_group_id group_report_elem_group_name group_report_elem_msg group_report_elem_op_group_memberinfo group_report_elem_op_user group_report_elem_platform group_report_elem_report_type group_report_elem_shut_up_time group_report_elem_user_data",
	"TestGroupFunctions (capi/ctest)":        "group_base_info_face_url group_base_info_group_id group_base_info_group_name group_base_info_group_type group_base_info_info_seq group_base_info_is_shutup_all group_base_info_lastest_seq group_base_info_latest_seq group_base_info_msg_flag group_base_info_readed_seq group_base_info_self_info group_search_member_params_field_list group_search_member_params_groupid_list group_search_member_params_keyword_list group_search_member_result_groupid group_search_member_result_member_info_list group_search_member_result_menber_info_list group_search_params_field_list group_search_params_keyword_list group_self_info_join_time group_self_info_msg_flag group_self_info_role group_self_info_unread_num create_group_param_add_option create_group_param_approve_option create_group_param_custom_info create_group_param_face_url create_group_param_group_id create_group_param_group_member_array create_group_param_group_name create_group_param_group_type create_group_param_introduction create_group_param_max_member_num create_group_param_notification create_group_result_groupid get_groups_info_result_code get_groups_info_result_desc get_groups_info_result_info group_attribute_key group_attribute_value group_delete_member_param_group_id group_delete_member_param_identifier_array group_delete_member_param_user_data group_delete_member_result_identifier group_delete_member_result_result group_detail_info_add_option group_detail_info_approve_option group_detail_info_create_time group_detail_info_custom_info group_detail_info_face_url group_detail_info_group_id group_detail_info_group_name group_detail_info_group_type group_detail_info_info_seq group_detail_info_introduction group_detail_info_is_shutup_all group_detail_info_last_info_time group_detail_info_last_msg_time group_detail_info_max_member_num group_detail_info_member_num group_detail_info_next_msg_seq group_detail_info_notification group_detail_info_owner_identifier group_detail_info_searchable group_detail_info_visible group_detial_info_add_option group_detial_info_create_time group_detial_info_custom_info group_detial_info_face_url group_detial_info_group_id group_detial_info_group_name group_detial_info_group_type group_detial_info_info_seq group_detial_info_introduction group_detial_info_is_shutup_all group_detial_info_last_info_time group_detial_info_last_msg_time group_detial_info_max_member_num group_detial_info_member_num group_detial_info_next_msg_seq group_detial_info_notification group_detial_info_owener_identifier group_detial_info_searchable group_detial_info_visible group_get_member_info_list_result_info_array group_get_member_info_list_result_next_seq group_get_members_info_list_param_group_id group_get_members_info_list_param_identifier_array group_get_members_info_list_param_next_seq group_get_members_info_list_param_option group_get_online_member_count_result group_handle_pendency_param_handle_msg group_handle_pendency_param_is_accept group_handle_pendency_param_pendency group_info_custom_string_info_key group_info_custom_string_info_value group_invite_member_param_group_id group_invite_member_param_identifier_array group_invite_member_param_user_data group_invite_member_result_identifier group_invite_member_result_result group_member_get_info_option_custom_array group_member_get_info_option_role_flag group_member_info_custom_info group_member_info_custom_string_info_key group_member_info_custom_string_info_value group_member_info_face_url group_member_info_friend_remark group_member_info_group_id group_member_info_identifier group_member_info_join_time group_member_info_member_role group_member_info_msg_flag group_member_info_msg_seq group_member_info_name_card group_member_info_nick_name group_member_info_remark group_member_info_shutup_time group_modify_info_param_add_option group_modify_info_param_approve_option group_modify_info_param_custom_info group_modify_info_param_face_url group_modify_info_param_group_id group_modify_info_param_group_name group_modify_info_param_introduction group_modify_info_param_is_shutup_all group_modify_info_param_max_member_num group_modify_info_param_modify_flag group_modify_info_param_notification group_modify_info_param_owner group_modify_info_param_searchable group_modify_info_param_visible group_modify_member_info_custom_info group_modify_member_info_group_id group_modify_member_info_identifier group_modify_member_info_member_role group_modify_member_info_modify_flag group_modify_member_info_msg_flag group_modify_member_info_name_card group_modify_member_info_shutup_time group_pendency_add_time group_pendency_apply_invite_msg group_pendency_approval_msg group_pendency_authentication group_pendency_form_identifier group_pendency_form_user_defined_data group_pendency_from_face_url group_pendency_from_nick_name group_pendency_group_id group_pendency_handle_result group_pendency_handled group_pendency_key group_pendency_option_max_limited group_pendency_option_start_time group_pendency_pendency_type group_pendency_result_next_start_time group_pendency_result_pendency_array group_pendency_result_read_time_seq group_pendency_result_unread_num group_pendency_self_identifier group_pendency_to_identifier group_pendency_to_user_defined_data",
	"TestGroupEvents (capi/ctest)":           "group_tips_group_change_info_flag group_tips_group_change_info_value group_tips_member_change_info_identifier group_tips_member_change_info_shutupTime group_tips_elem_tip_type group_tips_elem_op_user group_tips_elem_group_id group_tips_elem_user_array group_tips_elem_group_change_info_array group_tips_elem_member_change_info_array group_tips_elem_op_group_memberinfo group_tips_elem_changed_group_memberinfo_array group_tips_elem_member_num group_tips_elem_group_name message_target_group_member_array conv_group_type conv_group_at_info_array conv_group_at_info_at_type conv_group_at_info_seq conv_group_read_sequence",
	"TestGroupMessageJSON (capi/ctest)":      "message_sender_group_member_info",
	"TestRelationLists (capi/ctest)":         "friend_add_pendency_info_add_source friend_add_pendency_info_add_time friend_add_pendency_info_add_wording friend_add_pendency_info_face_url friend_add_pendency_info_identifier friend_add_pendency_info_nick_name friend_add_pendency_info_type friend_group_info_count friend_group_info_identifier_array friend_group_info_name friend_profile_add_source friend_profile_add_time friend_profile_add_wording friend_profile_custom_string_array friend_profile_group_name_array friend_profile_identifier friend_profile_item_remark friend_profile_remark friend_profile_user_profile friend_respone_action friend_respone_identifier friend_response_action friend_response_identifier friend_result_code friend_result_desc friend_result_identifier friendship_add_friend_param_add_source friendship_add_friend_param_add_wording friendship_add_friend_param_friend_type friendship_add_friend_param_group_name friendship_add_friend_param_identifier friendship_add_friend_param_remark friendship_check_friendtype_param_check_type friendship_check_friendtype_param_identifier_array friendship_check_friendtype_result_code friendship_check_friendtype_result_desc friendship_check_friendtype_result_identifier friendship_check_friendtype_result_relation friendship_delete_friend_param_friend_type friendship_delete_friend_param_identifier_array friendship_friend_info_get_result_error_code friendship_friend_info_get_result_error_message friendship_friend_info_get_result_field_info friendship_friend_info_get_result_identifier friendship_friend_info_get_result_relation_type friendship_get_pendency_list_param_limited_size friendship_get_pendency_list_param_start_seq friendship_get_pendency_list_param_type friendship_getprofilelist_param_force_update friendship_getprofilelist_param_identifier_array friendship_modify_friend_profile_param_identifier friendship_modify_friend_profile_param_item friendship_search_param_keyword_list friendship_search_param_search_field_list pendency_page_current_seq pendency_page_pendency_info_array pendency_page_start_time pendency_page_unread_num user_profile_custom_string_info_key user_profile_custom_string_info_value user_profile_item_add_permission user_profile_item_custom_string_array user_profile_item_nick_name",
	"TestRelationMatrix (capi/ctest)":        "friend_profile_custom_string_info_key friend_profile_custom_string_info_value friend_profile_item_custom_string_array friendship_create_friend_group_param_identifier_array friendship_create_friend_group_param_name_array friendship_delete_pendency_param_identifier_array friendship_delete_pendency_param_type friendship_modify_friend_group_param_add_identifier_array friendship_modify_friend_group_param_delete_identifier_array friendship_modify_friend_group_param_name friendship_modify_friend_group_param_new_name",
	"TestDownload (capi/ctest)":              "msg_download_elem_param_flag msg_download_elem_param_type msg_download_elem_param_id msg_download_elem_param_business_id msg_download_elem_param_url msg_download_elem_result_current_size msg_download_elem_result_total_size",
	"TestMediaKeys (im)":                     "image_elem_orig_path image_elem_level image_elem_format image_elem_orig_id image_elem_orig_pic_height image_elem_orig_pic_width image_elem_orig_pic_size image_elem_thumb_id image_elem_thumb_pic_height image_elem_thumb_pic_width image_elem_thumb_pic_size image_elem_large_id image_elem_large_pic_height image_elem_large_pic_width image_elem_large_pic_size image_elem_orig_url image_elem_thumb_url image_elem_large_url sound_elem_file_path sound_elem_file_size sound_elem_file_time sound_elem_file_id sound_elem_business_id sound_elem_url sound_elem_download_flag file_elem_file_path file_elem_file_name file_elem_file_size file_elem_file_id file_elem_business_id file_elem_url file_elem_download_flag video_elem_video_type video_elem_video_size video_elem_video_duration video_elem_video_path video_elem_video_id video_elem_business_id video_elem_video_url video_elem_image_type video_elem_image_size video_elem_image_width video_elem_image_height video_elem_image_path video_elem_image_id video_elem_image_url video_elem_video_download_flag video_elem_image_download_flag",
	"TestSignaling (im)":                     "signaling_info_invite_id signaling_info_group_id signaling_info_inviter signaling_info_invitee_list signaling_info_data signaling_info_action_type signaling_info_timeout",
	"TestOnlineOnly (client)":                "message_is_online_msg",
	"TestRevokeCallback (capi/ctest)":        "message_revoker_user_id message_revoke_reason",
	"TestMerger (client)":                    "merge_elem_title merge_elem_abstract_array merge_elem_compatible_text merge_elem_message_array",
	"TestDraft (client)":                     "draft_msg draft_user_define draft_edit_time conv_is_has_draft conv_draft",
	"TestHistorySelects (client)":            "msg_getmsglist_param_last_msg msg_getmsglist_param_count msg_getmsglist_param_is_forward msg_getmsglist_param_time_begin msg_getmsglist_param_time_period msg_getmsglist_param_message_seq_array",
	"TestHistoryOfAType (client)":            "msg_getmsglist_param_message_type_array",
	"TestSearch (client)":                    "msg_search_param_keyword_array msg_search_param_message_type_array msg_search_param_conv_id msg_search_param_conv_type msg_search_param_search_time_position msg_search_param_search_time_period msg_search_param_page_index msg_search_param_page_size msg_search_param_keyword_list_match_type msg_search_param_send_identifier_array",
	"TestDeleteFunctions (capi/ctest)":       "msg_delete_param_msg msg_delete_param_is_ramble",
	"TestSendFunctions (capi/ctest)":         "msg_batch_send_param_identifier_array msg_batch_send_param_msg",
	"TestConversationFunctions (capi/ctest)": "conv_recv_opt conv_is_pinned",
	"TestServerAddress (capi/ctest)":         "internal_operation_set_custom_server_info request_set_custom_server_info_param longconnection_address_array server_address_ip server_address_port server_address_is_ipv6",
	"TestConfigAndLog (capi/ctest)":          "set_config_log_level set_config_callback_log_level set_config_is_log_output_console set_config_user_define_data set_config_http_proxy_info set_config_socks5_proxy_info",
	"TestProxySettings (capi)":               "http_proxy_info_ip http_proxy_info_port http_proxy_info_username http_proxy_info_password socks5_proxy_info_ip socks5_proxy_info_port socks5_proxy_info_username socks5_proxy_info_password",
	"TestHistoryAcrossIslands (client)":      "msg_getmsglist_param_last_msg_seq",
	"TestArrivalWhileClearing (client)":      "msg_getmsglist_param_is_ramble",
	"TestExcludedFromLastMessage (client)":   "conv_active_time",
	"TestKeysRead (capi/ctest)":              "message_conv_id message_conv_type message_sender message_client_time message_server_time message_is_from_self message_platform message_is_read message_is_peer_read message_unique_id message_rand message_seq message_msg_id message_status message_sender_profile user_profile_identifier get_conversation_list_param_conv_id get_conversation_list_param_conv_type conv_id conv_type conv_unread_num conv_last_msg conv_is_has_lastmsg conv_show_name conv_c2c_read_timestamp msg_receipt_conv_id msg_receipt_conv_type msg_receipt_time_stamp msg_receipt_is_peer_read message_locator_conv_id message_locator_conv_type message_locator_time message_locator_seq message_locator_is_self message_locator_rand message_locator_is_revoked message_locator_unique_id conv_get_total_unread_message_count_result_unread_count msg_batch_send_result_identifier msg_batch_send_result_code msg_batch_send_result_desc msg_batch_send_result_msg msg_search_result_item_conv_id msg_search_result_item_conv_type msg_search_result_item_total_message_count msg_search_result_item_message_array msg_search_result_total_count msg_search_result_item_array msg_recv_msg_opt_result_identifier msg_recv_msg_opt_result_opt",
	"TestKeepFunctions (capi/ctest)":         "message_custom_int message_custom_str",
	"TestOperations (capi/ctest)":            "request_internal_operation request_set_env_param response_internal_operation response_set_env_res internal_operation_set_env internal_operation_write_log",
	"TestWriteLog (capi/ctest)":              "request_write_log_log_level_param request_write_log_log_content_param request_write_log_file_name_param request_write_log_func_name_param request_write_log_line_number_param",
	"TestQuietSession (capi/ctest)":          "sdk_config_config_file_path sdk_config_log_file_path",
}

// built returns the objects that the reference page does not mark as not built.
func built(page string) map[string]bool {
	out := map[string]bool{}
	for section := range strings.SplitSeq(page, "\n## ") {
		name, rest, _ := strings.Cut(section, "\n")
		out[name] = !strings.HasPrefix(rest, "\nNot built.")
	}
	return out
}

// goNames are the names that keys have in Go.
func goNames() map[string]string {
	out := map[string]string{}
	protoregistry.GlobalFiles.RangeFilesByPackage("tidings", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Messages().Len() {
			fields := f.Messages().Get(i).Fields()
			for j := range fields.Len() {
				name := ""
				for part := range strings.SplitSeq(string(fields.Get(j).Name()), "_") {
					name += strings.ToUpper(part[:1]) + part[1:]
				}
				out[fields.Get(j).JSONName()] = name
			}
		}
		return true
	})
	return out
}

// No key of an object that the reference marks as built is forgotten: each is set in TestMessageKeysTravel, checked by the test that is named here
// and that is in a file that mentions it, or marked in the reference as not built.
func TestEveryKey(t *testing.T) {
	lacks := map[string]string{}
	for _, r := range table(t, "capi/facts/lacks.tsv") {
		lacks[r["key"]] = r["reason"]
		if r["reason"] == "" {
			t.Errorf("%s has no reason", r["key"])
		}
	}
	for _, r := range table(t, "capi/facts/operations.tsv") {
		if r["answer"] != "acts" {
			lacks[r["operation"]] = map[string]string{"not built": "It returns 7013", "accepted": "It returns 0. " + r["meaning"]}[r["answer"]]
		}
	}
	known, inGo := map[string]bool{}, goNames()
	for named, keys := range held {
		name, dir, _ := strings.Cut(named, " ")
		files, err := filepath.Glob(filepath.Join(root, strings.Trim(dir, "()"), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		source := ""
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), "\nfunc "+name+"(t *testing.T)") {
				source = string(b)
			}
		}
		if source == "" {
			t.Errorf("there is no test %s", named)
		}
		for key := range strings.FieldsSeq(keys) {
			known[key] = true
			if inGo := inGo[key]; source != "" && !strings.Contains(source, key) && (inGo == "" || !regexp.MustCompile(`\b`+inGo+`\b`).MatchString(source)) {
				t.Errorf("the file of %s does not speak of %s, in Go %s", named, key, inGo)
			}
		}
	}
	sent := ""
	for key, v := range travels {
		sent += fmt.Sprintf("%q %s", key, v)
	}
	b, err := os.ReadFile(filepath.Join(root, "docs/reference/json.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	objects := built(page)
	n := 0
	for _, r := range table(t, "capi/facts/keys.tsv") {
		is, ok := objects[r["struct"]]
		if !ok {
			t.Errorf("the reference has no %s", r["struct"])
		}
		if !is {
			continue
		}
		n++
		if key := r["key"]; !known[key] && lacks[key] == "" && !strings.Contains(sent, strconv.Quote(key)) {
			t.Errorf("%s of %s is held by no test, and not marked as not built", key, r["struct"])
		}
	}
	if n < 200 {
		t.Errorf("only %d keys", n)
	}
	inPage := map[string]bool{}
	for _, r := range table(t, "capi/facts/keys.tsv") {
		inPage[r["key"]] = true
	}
	marked := map[string]string{}
	for line := range strings.Lines(page) {
		key, rest, _ := strings.Cut(strings.TrimPrefix(line, "| `"), "` ")
		if _, reason, ok := strings.Cut(rest, "**Not built:** "); ok {
			marked[key] = strings.TrimSuffix(reason, " |\n")
		}
	}
	for key, reason := range lacks {
		if marked[key] != reason && (inPage[key] || !strings.HasPrefix(key, "internal_operation_")) { // an operation without a constant is not a key
			t.Errorf("the reference says of %s that it is not built: %q, and not: %s", key, marked[key], reason)
		}
	}
}
