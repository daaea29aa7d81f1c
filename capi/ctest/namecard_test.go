package ctest

import (
	"regexp"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// drawnValues are the values of a message that differ from run to run.
var drawnValues = regexp.MustCompile(`"(message_client_time|message_server_time|message_rand|message_unique_id|message_msg_id)":("[^"]*"|[1-9]\d*)`)

// groupMessage is a message of bob in a group as others get it; NAMECARD is what he has on his name card.
const groupMessage = `{"message_client_time":"*","message_cloud_custom_str":"","message_conv_id":"ops","message_conv_type":2,"message_custom_int":0,"message_custom_moderation_configuration_id":"","message_custom_str":"","message_elem_array":[{"elem_type":0,"text_elem_content":"hi"}],"message_excluded_from_content_moderation":false,"message_excluded_from_last_message":false,"message_group_receipt_read_count":0,"message_group_receipt_unread_count":-1,"message_has_risk_content":false,"message_has_sent_receipt":false,"message_is_broadcast_message":false,"message_is_excluded_from_unread_count":false,"message_is_from_self":false,"message_is_online_msg":false,"message_is_peer_read":false,"message_is_read":false,"message_msg_id":"*","message_need_read_receipt":false,"message_pinner_face_url":"","message_pinner_friend_remark":"","message_pinner_name_card":"","message_pinner_nick_name":"","message_pinner_user_id":"","message_platform":0,"message_priority":1,"message_rand":"*","message_receipt_peer_read":false,"message_revoke_reason":"","message_revoker_face_url":"","message_revoker_nick_name":"","message_revoker_user_id":"","message_risk_type_identified":0,"message_sender":"bob","message_sender_group_member_info":{"group_member_info_custom_info":[],"group_member_info_face_url":"","group_member_info_friend_remark":"","group_member_info_group_id":"","group_member_info_identifier":"bob","group_member_info_is_online":false,"group_member_info_join_time":0,"group_member_info_member_role":0,"group_member_info_msg_flag":0,"group_member_info_msg_seq":0,"group_member_info_name_card":"NAMECARD","group_member_info_nick_name":"","group_member_info_online_devices":[],"group_member_info_remark":"","group_member_info_shutup_time":0},"message_sender_profile":{"user_profile_face_url":"","user_profile_friend_remark":"","user_profile_identifier":"bob","user_profile_nick_name":"Robert"},"message_seq":2,"message_server_time":"*","message_status":2,"message_support_message_extension":false,"message_unique_id":"*","message_version":0}`

// A message in a group has all keys that the reference library writes, also the name card that its sender has now: when it comes, in the history, as the
// last message of the conversation, found on the device, and read without a server.
func TestGroupMessageJSON(t *testing.T) {
	s := imtest.Start(t)
	bob := s.Dial("bob", noEvents)
	if err := bob.Profiles().SetSelf(t.Context(), &im.UserProfileItem{NickName: new("Robert")}); err != nil {
		t.Fatal(err)
	}
	d := newDevice(t, s, "ann", "")
	ticket := s.Sig("ann")
	d.must("TIMLogin", "ann", ticket, on)
	d.synced(0)
	d.must("TIMGroupCreate", `{"create_group_param_group_name":"Ops","create_group_param_group_id":"ops","create_group_param_group_member_array":[{"group_member_info_identifier":"bob","group_member_info_name_card":"Bobby"}]}`, on)
	m, err := bob.SendMessage(t.Context(), client.Group("ops"), im.Text("hi"))
	if err != nil {
		t.Fatal(err)
	}
	same := func(what, got, card string) {
		t.Helper()
		if got, want := drawnValues.ReplaceAllString(got, `"$1":"*"`), strings.ReplaceAll(groupMessage, "NAMECARD", card); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
		}
	}
	d.hears("hi")
	l := d.wait(0, "the message", func(l line) bool { return l.kind == "TIMRecvNewMsgCallback" && strings.Contains(l.fields[0], `"hi"`) })
	same("live", strings.Trim(l.fields[0], "[]"), "Bobby")
	everywhere := func(d *device, when, card string) {
		t.Helper()
		same(when+", in the history", strings.Trim(d.must("TIMMsgGetMsgList", "ops", 2, `{"msg_getmsglist_param_count":1}`, on), "[]"), card)
		same(when+", found", strings.Trim(d.must("TIMMsgFindMessages", im.StringsToJSON([]string{m.MsgId}), on), "[]"), card)
		_, last, _ := strings.Cut(d.must("TIMConvGetConvList", on), `"conv_last_msg":`)
		last, _, _ = strings.Cut(last, `,"conv_mark_array"`)
		same(when+", in the list", strings.TrimSuffix(last, `,"conv_group_read_sequence"`), card)
	}
	everywhere(d, "live", "Bobby")
	if err := bob.Groups().ModifyMember(t.Context(), "ops", "bob", &im.ModifyMemberRequest{NameCard: new("B. of ops")}); err != nil {
		t.Fatal(err)
	}
	everywhere(d, "after the card has changed", "B. of ops")
	d.call("TIMUninit")
	d.quit()
	s.Stop()
	again := newDevice(t, s, "ann", d.dir)
	again.call("TIMLogin", "ann", ticket, on)
	everywhere(again, "without a server", "B. of ops")
	again.quit()
}
