package ctest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/faultproxy"
)

// raw are the messages of a list, as their JSON.
func raw(t testing.TB, list string) []string {
	t.Helper()
	var out []string
	for _, m := range decode[[]json.RawMessage](t, list) {
		out = append(out, string(m))
	}
	return out
}

// with returns a message's JSON with some keys changed.
func with(t testing.TB, message string, changes map[string]any) string {
	t.Helper()
	m := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(message), &m); err != nil {
		t.Fatal(err)
	}
	for k, v := range changes {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		m[k] = b
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// list returns what the device has of a conversation, newest first; local: without asking the server.
func (d *device) list(peer string, local bool) []string {
	d.t.Helper()
	return raw(d.t, d.must("TIMMsgGetMsgList", peer, 1, fmt.Sprintf(`{"msg_getmsglist_param_count":100,"msg_getmsglist_param_is_ramble":%v}`, !local), on))
}

// told returns the texts of messages, and their status unless they are simply sent.
func told(t testing.TB, list []string) string {
	t.Helper()
	var out []string
	for _, s := range list {
		m := decode[message](t, s)
		text := m.text()
		if m.Status != 2 {
			text += fmt.Sprintf("(%d)", m.Status)
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func wantTold(t testing.TB, what string, list []string, want string) {
	t.Helper()
	if got := told(t, list); got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// pair returns two programs whose users are logged in.
func pair(t *testing.T) (s *imtest.Server, ann, bob *device) {
	t.Helper()
	s = imtest.Start(t)
	ann, bob = newDevice(t, s, "ann", ""), newDevice(t, s, "bob", "")
	for _, d := range []*device{ann, bob} {
		d.login()
		d.synced(0)
	}
	return s, ann, bob
}

// convs returns the conversation list with what a test checks.
func (d *device) convs() string {
	d.t.Helper()
	type conv struct {
		ID     string `json:"conv_id"`
		Pinned bool   `json:"conv_is_pinned"`
		Unread int    `json:"conv_unread_num"`
		Opt    int    `json:"conv_recv_opt"`
		Draft  struct {
			Msg message `json:"draft_msg"`
		} `json:"conv_draft"`
	}
	var out []string
	for _, c := range decode[[]conv](d.t, d.must("TIMConvGetConvList", on)) {
		s := c.ID
		if c.Pinned {
			s += " pinned"
		}
		if c.Opt != 0 {
			s += fmt.Sprint(" opt ", c.Opt)
		}
		if text := c.Draft.Msg.text(); text != "" {
			s += " draft " + text
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func TestConversationFunctions(t *testing.T) {
	s, ann, bob := pair(t)
	s.Dial("carol", noEvents)
	wantConvs := func(what, want string) {
		t.Helper()
		if got := ann.convs(); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	result := func(want int, fn string, args ...any) {
		t.Helper()
		if r, _ := ann.call(fn, args...); r != want {
			t.Errorf("%s%v: %d, want %d", fn, args, r, want)
		}
	}
	ann.say("carol", "first")
	ann.say("bob", "second")
	wantConvs("by time", "bob, carol")
	later := time.Now().Unix() + 10
	draftAt := func(seconds int64) string {
		return fmt.Sprintf(`{"draft_msg":{"message_elem_array":[{"elem_type":0,"text_elem_content":"not yet"}]},"draft_user_define":"x","draft_edit_time":%d}`, seconds)
	}
	draft := draftAt(later)
	result(0, "TIMConvSetDraft", "carol", 1, draft)
	wantConvs("with a draft", "carol draft not yet, bob")
	result(0, "TIMConvSetDraft", "dave", 1, draftAt(later+1))
	wantConvs("a draft alone", "dave draft not yet, carol draft not yet, bob")
	result(0, "TIMConvCancelDraft", "carol", 1)
	result(0, "TIMConvCancelDraft", "nobody", 1)
	wantConvs("without the draft", "dave draft not yet, bob, carol")
	result(-4, "TIMConvSetDraft", "", 1, draft)
	result(-4, "TIMConvSetDraft", "bob", 3, draft)
	result(-4, "TIMConvSetDraft", null, 1, draft)
	result(-4, "TIMConvCancelDraft", null, 1)
	result(-3, "TIMConvSetDraft", "bob", 1, `{"draft_msg":7}`)

	// Inside a callback too, and its event comes afterwards.
	at := ann.position()
	ann.send("hook\tTIMCommCallback\t" + command(1, "TIMConvSetDraft", "bob", 1, draft))
	ann.must("TIMConvGetConvList", on)
	if l := ann.returned(1, "TIMConvSetDraft"); l.num(1) != 0 {
		t.Errorf("inside a callback: %d", l.num(1))
	}
	ann.wait(at, "the event of the draft", func(l line) bool {
		return l.kind == "TIMConvEventCallback" && l.num(0) == 2 && strings.Contains(l.fields[1], "not yet")
	})
	ann.must("TIMConvPinConversation", "carol", 1, true, on)
	wantConvs("pinned", "carol pinned, dave draft not yet, bob draft not yet")
	if a := ann.ask("TIMConvPinConversation", "nobody", 1, true, on); a.code != 6017 {
		t.Errorf("pinning what is not there: %+v", a)
	}
	if a := ann.ask("TIMConvPinConversation", "dave", 1, true, on); a.code != 6017 {
		t.Errorf("pinning what only this device has: %+v", a)
	}
	ann.must("TIMConvPinConversation", "carol", 1, false, on)
	ann.must("TIMConvDelete", "bob", 1, on)
	ann.must("TIMConvDelete", "dave", 1, on)
	ann.must("TIMConvDelete", "nobody", 1, on)
	wantConvs("deleted", "carol")
	if got := ann.history("bob"); len(got) != 0 {
		t.Errorf("history of the deleted conversation: %+v", got)
	}
	bob.say("ann", "back")
	ann.hears("back")
	ann.wait(at, "the conversation back", func(l line) bool {
		return l.kind == "TIMConvEventCallback" && l.num(0) == 0 && strings.Contains(l.fields[1], "back")
	})
	wantConvs("back", "bob, carol")

	// Receive options.
	ann.must("TIMMsgSetC2CReceiveMessageOpt", `["bob"]`, 2, on)
	if json := ann.must("TIMMsgGetC2CReceiveMessageOpt", `["bob","carol"]`, on); json !=
		`[{"msg_recv_msg_opt_result_identifier":"bob","msg_recv_msg_opt_result_opt":2},{"msg_recv_msg_opt_result_identifier":"carol","msg_recv_msg_opt_result_opt":0}]` {
		t.Errorf("options %s", json)
	}
	wantConvs("with the option", "bob opt 2, carol")
	if a := ann.ask("TIMMsgSetC2CReceiveMessageOpt", `["bob"]`, 9, on); a.code != 6017 {
		t.Errorf("option 9: %+v", a)
	}
	if a := ann.ask("TIMMsgSetC2CReceiveMessageOpt", `[""]`, 1, on); a.code != 6017 {
		t.Errorf("nobody: %+v", a)
	}
	result(-4, "TIMMsgSetGroupReceiveMessageOpt", "", 1, on)
	if a := ann.ask("TIMMsgSetGroupReceiveMessageOpt", "@TGS#1", 1, on); a.code != 10010 {
		t.Errorf("an unknown group: %+v", a)
	}
	ann.quit()
	bob.quit()
}

func TestDeleteFunctions(t *testing.T) {
	_, ann, bob := pair(t)
	for i := range 6 {
		ann.say("bob", fmt.Sprint("m", i))
	}
	bob.hears("m5")
	all := ann.list("bob", false)
	wantTold(t, "all", all, "m5 m4 m3 m2 m1 m0")

	// Only on this device, with is_ramble false: the server would bring it again if the device did not remember it.
	ann.must("TIMMsgDelete", "bob", 1, `{"msg_delete_param_msg":`+all[0]+`}`, on)
	wantTold(t, "one less here", ann.list("bob", false), "m4 m3 m2 m1 m0")
	ann.must("TIMMsgDelete", "bob", 1, `{"msg_delete_param_msg":`+all[1]+`,"msg_delete_param_is_ramble":true}`, on)
	ann.must("TIMMsgListDelete", "bob", 1, "["+all[2]+","+all[3]+"]", on)
	wantTold(t, "four less here", ann.list("bob", false), "m1 m0")
	wantTold(t, "found though deleted", raw(t, ann.must("TIMMsgFindMessages", fmt.Sprintf(`[%q]`, decode[message](t, all[0]).ID), on)), "m5(4)")
	for _, bad := range []string{`[{"message_seq":77}]`, "[" + strings.Repeat(all[4]+",", 50) + all[4] + "]"} {
		if a := ann.ask("TIMMsgListDelete", "bob", 1, bad, on); a.code != 6017 {
			t.Errorf("%.60s: %+v", bad, a)
		}
	}
	wantTold(t, "bob keeps them", bob.list("ann", false), "m5 m4 m3 m2 m1 m0")

	// A whole conversation, only on this device: more than a page, and what is sent in the meantime stays.
	for i := range 70 {
		bob.send(command(100+i, "TIMMsgSendMessage", "ann", 1, textJSON(fmt.Sprint("n", i)), on, on))
	}
	ann.hears("n69")
	ann.must("TIMMsgDelete", "bob", 1, `{"msg_delete_param_is_ramble":false}`, on)
	wantTold(t, "all gone here", ann.list("bob", true), "")
	if got := ann.convs(); got != "bob" {
		t.Errorf("conversations %q", got)
	}
	// And in the cloud: another device finds nothing either.
	bob.must("TIMMsgDelete", "ann", 1, `{"msg_delete_param_is_remble":true}`, on)
	wantTold(t, "bob's", bob.list("ann", false), "")
	ann.say("bob", "once more")
	bob.hears("once more")
	bob.must("TIMMsgClearHistoryMessage", "ann", 1, on)
	wantTold(t, "cleared", bob.list("ann", false), "")
	if got := bob.convs(); got != "ann" {
		t.Errorf("conversations %q", got)
	}
	wantTold(t, "the sender's", ann.list("bob", true), "once more")
	ann.quit()
	bob.quit()
}

// Ending the library ends a deletion in many steps, with 7009.
func TestUninitDuringLocalClear(t *testing.T) {
	_, ann, bob := pair(t)
	for i := range 200 {
		bob.send(command(100+i, "TIMMsgSendMessage", "ann", 1, textJSON(fmt.Sprint("n", i)), on, on))
	}
	ann.hears("n199")
	for range 5 {
		_, _, id := ann.callID("TIMMsgDelete", "bob", 1, `{"msg_delete_param_is_ramble":false}`, on)
		ann.call("TIMUninit")
		if a := ann.answerOf(id, "TIMMsgDelete"); a.code != 7009 && a.code != 0 {
			t.Errorf("%+v", a)
		}
		ann.init()
		ann.login()
	}
	ann.quit()
	bob.quit()
}

func TestKeepFunctions(t *testing.T) {
	_, ann, bob := pair(t)
	sent := ann.say("bob", "Straße nach 東京")
	bob.hears("Straße nach 東京")
	ann.must("TIMMsgSaveMsg", "bob", 1, textJSON("saved"), on)
	if r, _ := ann.call("TIMMsgSaveMsg", "bob", 1, `{"message_elem_array":[]}`, on); r != -3 {
		t.Errorf("saving nothing: %d", r)
	}
	old := with(t, textJSON("from long ago"), map[string]any{"message_sender": "bob", "message_server_time": 1000000000, "message_client_time": 1000000000})
	ann.must("TIMMsgImportMsgList", "bob", 1, "["+old+"]", on)
	all := ann.list("bob", true)
	wantTold(t, "history", all, "saved Straße nach 東京 from long ago(5)")
	wantTold(t, "the other side", bob.list("ann", false), "Straße nach 東京")

	// Local data of a message.
	ann.must("TIMMsgSetLocalCustomData", with(t, all[1], map[string]any{"message_custom_int": 42, "message_custom_str": "mine"}), on)
	found := raw(t, ann.must("TIMMsgFindMessages", fmt.Sprintf(`["no-such-id",%q]`, sent.ID), on))
	if len(found) != 1 || !strings.Contains(found[0], `"message_custom_int":42,`) || !strings.Contains(found[0], `"message_custom_str":"mine"`) {
		t.Errorf("local data: %s", found)
	}
	if a := ann.ask("TIMMsgFindMessages", `[1]`, on); a.code != 6027 || a.json != "[]" {
		t.Errorf("ids that are no texts: %+v", a)
	}
	var full struct {
		Rand, Time, Seq uint64
	}
	full.Seq, full.Time = uint64(sent.Seq), uint64(sent.Time)
	if _, err := fmt.Sscanf(sent.ID[strings.LastIndexByte(sent.ID, '-')+1:], "%d", &full.Rand); err != nil {
		t.Fatal(err)
	}
	locator := fmt.Sprintf(`[{"message_locator_time":%d,"message_locator_seq":%d,"message_locator_rand":%d,"message_locator_is_self":true}]`, full.Time, full.Seq, full.Rand)
	wantTold(t, "by its locator", raw(t, ann.must("TIMMsgFindByMsgLocatorList", "bob", 1, locator, on)), "Straße nach 東京")
	wantTold(t, "of the other side", raw(t, ann.must("TIMMsgFindByMsgLocatorList", "bob", 1, strings.Replace(locator, "true", "false", 1), on)), "")

	// Search: parts of words, in any script.
	search := func(param string) string {
		t.Helper()
		r := decode[struct {
			Total int `json:"msg_search_result_total_count"`
			Items []struct {
				ID    string    `json:"msg_search_result_item_conv_id"`
				Total int       `json:"msg_search_result_item_total_message_count"`
				Msgs  []message `json:"msg_search_result_item_message_array"`
			} `json:"msg_search_result_item_array"`
		}](t, ann.must("TIMMsgSearchLocalMessages", param, on))
		out := fmt.Sprint(r.Total)
		for _, i := range r.Items {
			out += fmt.Sprintf(" %s %d", i.ID, i.Total)
			for _, m := range i.Msgs {
				out += " " + m.text()
			}
		}
		return out
	}
	for param, want := range map[string]string{
		`{"msg_search_param_keyword_array":["STRA"]}`: "1 bob 1 Straße nach 東京",
		`{"msg_search_param_keyword_array":["東京"]}`:   "1 bob 1 Straße nach 東京",
		`{"msg_search_param_keyword_array":["a"]}`:    "1 bob 3",
		`{"msg_search_param_keyword_array":["sav","ago"],"msg_search_param_conv_id":"bob","msg_search_param_conv_type":1}`:                                           "2 bob 2 saved from long ago",
		`{"msg_search_param_keyword_array":["sav","ago"],"msg_search_param_keyword_list_match_type":1}`:                                                              "0",
		`{"msg_search_param_keyword_array":["a"],"msg_search_param_send_indentifier_array":["bob"],"msg_search_param_conv_id":"bob","msg_search_param_conv_type":1}`: "1 bob 1 from long ago",
		`{"msg_search_param_keyword_array":["nothing"]}`:                                                                                                             "0",
	} {
		if got := search(param); got != want {
			t.Errorf("search %s: %q, want %q", param, got, want)
		}
	}
	if a := ann.ask("TIMMsgSearchLocalMessages", `{"msg_search_param_keyword_array":["1","2","3","4","5","6"]}`, on); a.code != 6017 || !strings.Contains(a.json, `"msg_search_result_total_count":0`) {
		t.Errorf("six keywords: %+v", a)
	}
	ann.quit()
	bob.quit()
}

func TestModifyMessage(t *testing.T) {
	_, ann, bob := pair(t)
	ann.say("bob", "first")
	bob.hears("first")
	first := ann.list("bob", true)[0]
	text := func(m, s string) string {
		return with(t, m, map[string]any{"message_elem_array": decode[map[string]any](t, textJSON(s))["message_elem_array"]})
	}
	now := ann.must("TIMMsgModifyMessage", text(first, "second"), on)
	if m := decode[message](t, now); m.text() != "second" {
		t.Errorf("modified: %s", now)
	}
	for _, d := range []*device{ann, bob} {
		if got := raw(t, d.event("TIMMsgUpdateCallback", 1).fields[0]); told(t, got) != "second" {
			t.Errorf("%s was told of %q", d.user, got)
		}
	}
	// The other side may as well; a device that has not seen that gets a conflict, and the message as it is.
	theirs := bob.list("ann", true)[0]
	bob.must("TIMMsgModifyMessage", text(theirs, "third"), on)
	ann.event("TIMMsgUpdateCallback", 2)
	if a := ann.ask("TIMMsgModifyMessage", text(now, "fourth"), on); a.code != 8006 || decode[message](t, a.json).text() != "third" {
		t.Errorf("a conflict: %+v", a)
	}
	if a := ann.ask("TIMMsgModifyMessage", with(t, textJSON("?"), map[string]any{"message_conv_id": "bob", "message_conv_type": 1, "message_seq": 77}), on); a.code != 6017 {
		t.Errorf("what is not there: %+v", a)
	}
	if a := ann.ask("TIMMsgModifyMessage", `{"message_seq":1}`, on); a.code != 6017 {
		t.Errorf("without a conversation: %+v", a)
	}
	ann.quit()
	bob.quit()
}

func TestSendFunctions(t *testing.T) {
	s, ann, bob := pair(t)
	results := ann.must("TIMMsgBatchSend", `{"msg_batch_send_param_identifier_array":["bob","nobody"],"msg_batch_send_param_msg":`+textJSON("to all")+`}`, on)
	type result struct {
		ID   string  `json:"msg_batch_send_result_identifier"`
		Code int     `json:"msg_batch_send_result_code"`
		Msg  message `json:"msg_batch_send_result_msg"`
	}
	if r := decode[[]result](t, results); len(r) != 2 || r[0].ID != "bob" || r[0].Code != 0 || r[0].Msg.Status != 2 || r[1].ID != "nobody" || r[1].Code != 20003 {
		t.Errorf("results %s", results)
	}
	bob.hears("to all")
	many, _ := json.Marshal(make([]string, 501))
	if a := ann.ask("TIMMsgBatchSend", `{"msg_batch_send_param_identifier_array":`+string(many)+`,"msg_batch_send_param_msg":`+textJSON("x")+`}`, on); a.code != 90011 || a.json != "[]" {
		t.Errorf("501 receivers: %+v", a)
	}
	if a := ann.ask("TIMMsgBatchSend", `{}`, on); a.code != 6017 {
		t.Errorf("a batch of nothing: %+v", a)
	}

	// Merged messages.
	inner := textJSON("inside")
	merged := `{"message_elem_array":[{"elem_type":12,"merge_elem_title":"both","merge_elem_abstract_array":["ann: inside"],"merge_elem_compatible_text":"merged","merge_elem_message_array":[` + inner + `]}]}`
	ann.must("TIMMsgSendMessage", "bob", 1, merged, on, on)
	at := bob.wait(0, "the merged message", func(l line) bool {
		return l.kind == "TIMRecvNewMsgCallback" && strings.Contains(l.fields[0], "merge_elem_title")
	})
	wantTold(t, "merged", raw(t, bob.must("TIMMsgDownloadMergerMessage", raw(t, at.fields[0])[0], on)), "inside(0)")
	if a := bob.ask("TIMMsgDownloadMergerMessage", inner, on); a.code != 6017 || a.json != "[]" {
		t.Errorf("of a text: %+v", a)
	}

	// Without a file, and what is not built: nothing is sent.
	for _, typ := range []int{1, 2, 4, 9} {
		a := ann.ask("TIMMsgSendMessage", "bob", 1, fmt.Sprintf(`{"message_elem_array":[{"elem_type":%d}]}`, typ), on, on)
		if a.code != 7004 || decode[message](t, a.json).Status != 3 {
			t.Errorf("element %d: %+v", typ, a)
		}
	}

	// A message is cancelled while there is no connection.
	sent := ann.say("bob", "sent")
	if a := ann.ask("TIMMsgCancelSend", "bob", 1, sent.ID, on); a.code != 8020 || a.json != "{}" {
		t.Errorf("cancelling what was sent: %+v", a)
	}
	proxy := faultproxy.Start(t, s.URL)
	carol := newDevice(t, s, "carol", "", "TIDINGS_SERVER="+proxy.URL)
	carol.login()
	carol.synced(0)
	proxy.Freeze()
	_, id, open := carol.callID("TIMMsgSendMessage", "bob", 1, textJSON("never"), on, on)
	from := carol.position()
	proxy.Refuse(true)
	proxy.Cut()
	carol.wait(from, "the connection to break", func(l line) bool { return l.kind == "TIMNetworkStatusListenerCallback" && l.num(0) == 1 })
	if a := carol.ask("TIMMsgCancelSend", "bob", 1, id, on); a.code != 0 || decode[message](t, a.json).Status != 7 {
		t.Errorf("cancelling: %+v", a)
	}
	if a := carol.answerOf(open, "TIMMsgSendMessage"); a.code != 8021 || decode[message](t, a.json).Status != 7 {
		t.Errorf("the cancelled send: %+v", a)
	}
	for _, d := range []*device{ann, bob, carol} {
		d.quit()
	}
}
