package ctest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// travels are the keys that a program sets in a message, with values that are not their defaults, which the other side, another device of the sender and the
// sender's own history have as they were given.
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

// includes says where have is not what want says: keys that only have has do not matter.
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

// The callback of a recall names the message and who recalled it and why; there are no nicknames and faces yet, and their keys are there.
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

// held are the keys that no travelling message has, by the test that holds them.
var held = map[string]string{
	"TestObservedMessages (capi/ctest)":      "message_conv_id message_conv_type message_sender message_client_time message_server_time message_is_from_self message_platform message_is_read message_is_peer_read message_unique_id message_rand message_seq message_msg_id message_status message_custom_int message_custom_str message_sender_profile",
	"TestOnlineOnly (client)":                "message_is_online_msg",
	"TestRevokeCallback (capi/ctest)":        "message_revoker_user_id message_revoke_reason",
	"TestMerger (client)":                    "merge_elem_title merge_elem_abstract_array merge_elem_compatible_text merge_elem_message_array",
	"TestDraft (client)":                     "draft_msg draft_user_define draft_edit_time conv_is_has_draft conv_draft",
	"TestHistorySelects (client)":            "msg_getmsglist_param_last_msg msg_getmsglist_param_count msg_getmsglist_param_is_forward msg_getmsglist_param_time_begin msg_getmsglist_param_time_period msg_getmsglist_param_message_seq_array",
	"TestHistoryOfAType (client)":            "msg_getmsglist_param_message_type_array",
	"TestSearch (client)":                    "msg_search_param_keyword_array msg_search_param_message_type_array msg_search_param_conv_id msg_search_param_conv_type msg_search_param_search_time_position msg_search_param_search_time_period msg_search_param_page_index msg_search_param_page_size msg_search_param_keyword_list_match_type msg_search_param_send_identifier_array",
	"TestDeleteFunctions (capi/ctest)":       "msg_delete_param_msg msg_delete_param_is_ramble",
	"TestSendFunctions (capi/ctest)":         "msg_batch_send_param_identifier_array msg_batch_send_param_msg",
	"TestKeepFunctions (capi/ctest)":         "message_locator_conv_id message_locator_time message_locator_seq message_locator_is_self message_locator_rand",
	"TestConversationFunctions (capi/ctest)": "get_conversation_list_param_conv_id get_conversation_list_param_conv_type conv_id conv_type conv_unread_num conv_last_msg conv_recv_opt conv_is_pinned",
	"TestServerAddress (capi/ctest)":         "longconnection_address_array server_address_ip server_address_port server_address_is_ipv6",
	"TestConfigAndLog (capi/ctest)":          "set_config_log_level set_config_callback_log_level set_config_is_log_output_console set_config_user_define_data set_config_http_proxy_info set_config_socks5_proxy_info",
	"TestProxySettings (capi)":               "http_proxy_info_ip http_proxy_info_port http_proxy_info_username http_proxy_info_password socks5_proxy_info_ip socks5_proxy_info_port socks5_proxy_info_username socks5_proxy_info_password",
	"TestReadAndReceipt (client)":            "msg_receipt_conv_id msg_receipt_conv_type msg_receipt_time_stamp msg_receipt_is_peer_read",
	"TestHistoryAcrossIslands (client)":      "msg_getmsglist_param_last_msg_seq",
	"TestArrivalWhileClearing (client)":      "msg_getmsglist_param_is_ramble",
	"TestExcludedFromLastMessage (client)":   "conv_active_time",
	"TestScenarios (client)":                 "conv_is_has_lastmsg conv_show_name conv_c2c_read_timestamp message_locator_conv_type message_locator_is_revoked message_locator_unique_id",
}

// walked are the objects whose keys must each be held by a test or be said to be not built.
var walked = strings.Fields("Message TextElem CustomElem FaceElem LocationElem MergerElem OfflinePushConfig IOSOfflinePushConfig AndroidOfflinePushConfig HarmonyOfflinePushConfig " +
	"Draft MsgLocator MsgGetMsgListParam MessageSearchParam MsgDeleteParam MsgBatchSendParam GetConversationListParam ConvInfo MessageReceipt SetConfig UserConfig HttpProxyInfo " +
	"Socks5ProxyInfo CustomServerInfo ServerAddress")

// No key of a message, an element or a parameter of what is built is forgotten: each is set in TestMessageKeysTravel, held by the test that is named here, or
// marked in the reference as not built.
func TestEveryKey(t *testing.T) {
	known := map[string]bool{}
	for _, r := range table(t, "capi/facts/lacks.tsv") {
		known[r["key"]] = true
		if r["reason"] == "" {
			t.Errorf("%s has no reason", r["key"])
		}
	}
	for named, keys := range held {
		name, dir, _ := strings.Cut(named, " ")
		files, err := filepath.Glob(filepath.Join(root, strings.Trim(dir, "()"), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(b), "\nfunc "+name+"(t *testing.T)")
		}
		if !found {
			t.Errorf("there is no test %s", named)
		}
		for key := range strings.FieldsSeq(keys) {
			known[key] = true
		}
	}
	sent := ""
	for key, v := range travels {
		sent += fmt.Sprintf("%q %s", key, v)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs/reference/json.md"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range table(t, "capi/facts/keys.tsv") {
		if !slices.Contains(walked, r["struct"]) {
			continue
		}
		n++
		if key := r["key"]; !known[key] && !strings.Contains(sent, strconv.Quote(key)) {
			t.Errorf("%s of %s is held by no test, and not marked as not built", key, r["struct"])
		}
	}
	if n < 150 {
		t.Errorf("only %d keys", n)
	}
	for _, r := range table(t, "capi/facts/lacks.tsv") {
		marked := false
		for line := range strings.Lines(string(page)) {
			marked = marked || strings.HasPrefix(line, "| `"+r["key"]+"` ") && strings.Contains(line, "**Not built:** "+r["reason"])
		}
		if !marked {
			t.Errorf("the reference does not say that %s is not built", r["key"])
		}
	}
}
