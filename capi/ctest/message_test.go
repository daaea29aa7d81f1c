package ctest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// drawn are the keys whose values are drawn for each message.
var drawn = []string{"message_client_time", "message_rand", "message_msg_id", "message_unique_id"}

// messageDiffers are the keys that differ from what was observed, with the reason.
var messageDiffers = map[string]string{
	"unknown message_elem_array": "the observed library drops an element of a type that it does not know; ours keeps it",
}

// The message in the callback of a failed send is the one that the reference library was observed to return, key by key.
func TestObservedMessages(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "im/testdata/observed_messages.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	d := start(t)
	d.call("TIMInit", 1400000000, null)
	for l := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n") {
		var row struct {
			Case string
			JSON map[string]any
		}
		if err := json.Unmarshal([]byte(l), &row); err != nil {
			t.Fatal(err)
		}
		t.Run(row.Case, func(t *testing.T) {
			want := row.JSON
			in := map[string]any{"message_elem_array": want["message_elem_array"], "message_cloud_custom_str": want["message_cloud_custom_str"]}
			for _, key := range []string{"message_need_read_receipt", "message_priority", "message_is_online_msg", "message_group_at_user_array", "message_offline_push_config",
				"message_target_group_member_array", "message_custom_int", "message_custom_str", "message_is_excluded_from_unread_count", "message_support_message_extension"} {
				if v, ok := want[key]; ok {
					in[key] = v
				}
			}
			if row.Case == "unknown" {
				in["message_elem_array"] = []any{map[string]any{"elem_type": 99}}
			}
			text, err := json.Marshal(in)
			if err != nil {
				t.Fatal(err)
			}
			r, id, call := d.callID("TIMMsgSendMessage", want["message_conv_id"], want["message_conv_type"], string(text), on, on)
			if r != 0 || !regexp.MustCompile(`^-\d+-\d+$`).MatchString(id) {
				t.Fatalf("returned %d, id %q", r, id)
			}
			a := d.answerOf(call, "TIMMsgSendMessage")
			if a.code != 6014 {
				t.Fatalf("code %d", a.code)
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(a.json), &got); err != nil {
				t.Fatal(err)
			}
			if got["message_msg_id"] != id {
				t.Errorf("message_msg_id %v, the buffer had %q", got["message_msg_id"], id)
			}
			for _, key := range drawn {
				if reflect.TypeOf(got[key]) != reflect.TypeOf(want[key]) {
					t.Errorf("%s: %v, observed %v", key, got[key], want[key])
				}
				delete(got, key)
				delete(want, key)
			}
			for key, v := range want {
				if reason := messageDiffers[row.Case+" "+key]; reason != "" {
					if reflect.DeepEqual(got[key], v) {
						t.Errorf("%s is as observed, and should not be in the list of differences", key)
					}
					continue
				}
				if object, ok := got[key].(map[string]any); ok {
					delete(object, "group_member_info_remark") // an older spelling beside the newer one
				}
				if !reflect.DeepEqual(got[key], v) {
					t.Errorf("%s: %v, observed %v", key, got[key], v)
				}
			}
			for key := range got {
				if _, ok := want[key]; !ok && !strings.HasPrefix(key, "message_offlie_") {
					t.Errorf("%s: not observed", key)
				}
			}
			// Keys are sorted and / is escaped, as observed.
			if at := strings.Index(a.json, "message_client_time"); at != 2 {
				t.Errorf("the first key is not message_client_time: %.60s", a.json)
			}
		})
	}
	d.quit()
}
