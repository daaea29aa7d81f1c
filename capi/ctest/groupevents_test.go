package ctest

import (
	"strings"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// What C is told of groups, with its JSON: tips, also as messages; reports, which belong to no conversation; attributes; mentions; messages to some members.
func TestGroupEvents(t *testing.T) {
	const id = "@TGS#_c"
	s := imtest.Start(t)
	bob := s.Dial("bob", noEvents)
	d := newDevice(t, s, "ann", "")
	d.call("TIMSetGroupTipsEventCallback", on)
	d.call("TIMSetGroupAttributeChangedCallback", on)
	d.login()
	d.synced(0)
	// told waits for a callback whose JSON contains these.
	told := func(kind string, field int, parts ...string) line {
		t.Helper()
		return d.wait(0, strings.Join(parts, " "), func(l line) bool {
			if l.kind != kind {
				return false
			}
			for _, part := range parts {
				if !strings.Contains(l.fields[field], part) {
					return false
				}
			}
			return true
		})
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := bob.Groups().Create(t.Context(), &im.CreateGroupRequest{GroupId: id, Name: "Club", Type: im.GroupType_GROUP_TYPE_COMMUNITY, Members: []*im.GroupMemberInfo{{Identifier: "ann"}}})
	must(err)
	tip := told("TIMGroupTipsEventCallback", 0, `"group_tips_elem_tip_type":1`)
	if err := includes("", decode[any](t, tip.fields[0]), decode[any](t, `{"group_tips_elem_op_user":"bob","group_tips_elem_group_id":"@TGS#_c","group_tips_elem_group_name":"Club",
		"group_tips_elem_user_array":["ann"],"group_tips_elem_member_num":2,"group_tips_elem_time":0,"group_tips_elem_platform":"","group_tips_elem_group_change_info_array":[],
		"group_tips_elem_member_change_info_array":[],"group_tips_elem_op_group_memberinfo":{"group_member_info_identifier":"bob","group_member_info_member_role":400},
		"group_tips_elem_changed_group_memberinfo_array":[{"group_member_info_identifier":"ann","group_member_info_member_role":200}]}`)); err != nil {
		t.Error(err)
	}
	told("TIMRecvNewMsgCallback", 0, `"elem_type":5`, `"message_conv_id":"@TGS#_c"`, `"message_conv_type":2`, `"message_sender":"@TIM#SYSTEM"`, `"message_is_read":true`, `"message_seq":1`)
	told("TIMRecvNewMsgCallback", 0, `"elem_type":8`, `"group_report_elem_report_type":7`, `"group_report_elem_op_user":"bob"`, `"message_conv_id":""`, `"message_conv_type":3`,
		`"message_sender":"@TIM#SYSTEM"`, `"message_is_read":true`, `"message_is_from_self":false`, `"message_status":2`)
	told("TIMConvEventCallback", 1, `"conv_id":"@TGS#_c"`, `"conv_show_name":"Club"`, `"conv_group_type":5`, `"conv_group_at_info_array":[]`, `"conv_unread_num":0`)

	must(bob.Groups().Modify(t.Context(), id, &im.ModifyGroupRequest{Name: new("Society")}))
	told("TIMGroupTipsEventCallback", 0, `"group_tips_elem_tip_type":6`, `"group_tips_group_change_info_flag":1`, `"group_tips_group_change_info_value":"Society"`)
	must(bob.Groups().ModifyMember(t.Context(), id, "ann", &im.ModifyMemberRequest{Mute: new(uint64(60))}))
	told("TIMGroupTipsEventCallback", 0, `"group_tips_elem_tip_type":7`, `"group_tips_member_change_info_identifier":"ann"`, `"group_tips_member_change_info_shutupTime":60`)
	told("TIMRecvNewMsgCallback", 0, `"group_report_elem_report_type":17`, `"group_report_elem_shut_up_time":60`)
	must(bob.Groups().SetAttributes(t.Context(), id, []*im.GroupAttributes{{Key: "k", Value: "v"}}))
	if l := told("TIMGroupAttributeChangedCallback", 0, id); l.fields[1] != `[{"group_atrribute_key":"k","group_atrribute_value":"v","group_attribute_key":"k","group_attribute_value":"v"}]` {
		t.Errorf("attributes %s", l.fields[1])
	}

	at := im.Text("hi @ann")
	at.GroupAtUserArray = []string{"ann"}
	_, err = bob.SendMessage(t.Context(), client.Group(id), at)
	must(err)
	told("TIMRecvNewMsgCallback", 0, `"message_group_at_user_array":["ann"]`)
	told("TIMConvEventCallback", 1, `"conv_id":"@TGS#_c"`, `"conv_group_at_info_array":[{"conv_group_at_info_at_type":1,"conv_group_at_info_seq":4}]`)
	d.must("TIMMsgReportReaded", id, 2, " null ", on)
	told("TIMConvEventCallback", 1, `"conv_id":"@TGS#_c"`, `"conv_group_at_info_array":[]`, `"conv_group_read_sequence":4`)

	_, err = bob.Groups().Create(t.Context(), &im.CreateGroupRequest{GroupId: "some", Name: "Some", Members: []*im.GroupMemberInfo{{Identifier: "ann"}}})
	must(err)
	some := im.Text("for ann")
	some.TargetGroupMemberArray = []string{"ann"}
	_, err = bob.SendMessage(t.Context(), client.Group("some"), some)
	must(err)
	told("TIMRecvNewMsgCallback", 0, `"message_target_group_member_array":["ann"]`, `"text_elem_content":"for ann"`)
	d.quit()
}
