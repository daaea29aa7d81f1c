package im

import "testing"

func TestSignaling(t *testing.T) {
	invite := `{"businessID":1,"inviteID":"5f0c","inviter":"ann","actionType":1,"inviteeList":["bob"],"data":"{\"call\":1}","timeout":30,"groupID":"","onlineUserOnly":false}`
	want := `{"signaling_info_action_type":1,"signaling_info_data":"{\"call\":1}","signaling_info_group_id":"","signaling_info_invite_id":"5f0c","signaling_info_invitee_list":["bob"],` +
		`"signaling_info_inviter":"ann","signaling_info_timeout":30}`
	info := Signaling(Custom(invite, "", ""))
	if info == nil || ToJSON(info) != want {
		t.Errorf("an invite is %v", info)
	}
	for _, data := range []string{"", "call me", "{}", "[]", `{"inviteID":"5f0c"}`, `{"actionType":1}`, `{"inviteID":5,"actionType":1}`, `{"inviteID":"5f0c","actionType":1} more`} {
		if info := Signaling(Custom(data, "", "")); info != nil {
			t.Errorf("%q is %v", data, info)
		}
	}
	if info := Signaling(Text(invite)); info != nil {
		t.Errorf("a text is %v", info)
	}
	if info := Signaling(nil); info != nil {
		t.Errorf("no message is %v", info)
	}
}
