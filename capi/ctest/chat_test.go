package ctest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/tidings-im/tidings/imtest"
)

// device is a running C program with a folder of its own, initialized, with its callbacks set.
type device struct {
	*driver
	s    *imtest.Server
	user string
	dir  string
}

// events are the setters of callbacks that fire.
var eventSetters = []string{
	"TIMAddRecvNewMsgCallback", "TIMSetConvEventCallback", "TIMSetConvTotalUnreadMessageCountChangedCallback", "TIMSetNetworkStatusListenerCallback",
	"TIMSetKickedOfflineCallback", "TIMSetUserSigExpiredCallback", "TIMSetMsgReadedReceiptCallback", "TIMSetMsgRevokeCallback", "TIMSetMsgUpdateCallback",
}

// newDevice starts a program; dir is its folder, or "" for a new one. Environment settings may follow.
func newDevice(t testing.TB, s *imtest.Server, user, dir string, env ...string) *device {
	t.Helper()
	return newDeviceOf(t, driverProgram(t), s, user, dir, env...)
}

func newDeviceOf(t testing.TB, program string, s *imtest.Server, user, dir string, env ...string) *device {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	d := &device{driver: startProgram(t, program, append([]string{"TIDINGS_SERVER=" + s.URL}, env...)...), s: s, user: user, dir: dir}
	d.init()
	return d
}

func (d *device) init() {
	d.t.Helper()
	if r, _ := d.call("TIMInit", 1400000000, fmt.Sprintf(`{"sdk_config_config_file_path":%q}`, d.dir)); r != 0 {
		d.t.Fatalf("TIMInit: %d", r)
	}
	for _, setter := range eventSetters {
		d.call(setter, on)
	}
}

func (d *device) login() {
	d.t.Helper()
	d.must("TIMLogin", d.user, d.s.Sig(d.user), on)
}

// message is what the tests check of a message.
type message struct {
	ID       string `json:"message_msg_id"`
	Conv     string `json:"message_conv_id"`
	Sender   string `json:"message_sender"`
	Seq      int    `json:"message_seq"`
	Status   int    `json:"message_status"`
	Self     bool   `json:"message_is_from_self"`
	PeerRead bool   `json:"message_is_peer_read"`
	Time     int    `json:"message_server_time"`
	Elems    []struct {
		Text string `json:"text_elem_content"`
	} `json:"message_elem_array"`
}

func (m message) text() string {
	if len(m.Elems) == 0 {
		return ""
	}
	return m.Elems[0].Text
}

func decode[T any](t testing.TB, s string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%v: %.200s", err, s)
	}
	return v
}

func textJSON(s string) string {
	b, _ := json.Marshal(s)
	return `{"message_elem_array":[{"elem_type":0,"text_elem_content":` + string(b) + `}]}`
}

// say sends a text to a user and returns the message as it was sent.
func (d *device) say(to, text string) message {
	d.t.Helper()
	r, id, call := d.callID("TIMMsgSendMessage", to, 1, textJSON(text), on, on)
	a := d.answerOf(call, "TIMMsgSendMessage")
	if r != 0 || a.code != 0 {
		d.t.Fatalf("send: %d, %d %s", r, a.code, a.desc)
	}
	m := decode[message](d.t, a.json)
	if m.ID != id || m.Status != 2 || m.Seq == 0 || !m.Self {
		d.t.Fatalf("sent with id %s: %+v", id, m)
	}
	return m
}

// hears waits for the new message with a text, and returns it and its position among the lines.
func (d *device) hears(text string) message {
	d.t.Helper()
	var found message
	d.wait(0, "the message "+text, func(l line) bool {
		if l.kind != "TIMRecvNewMsgCallback" {
			return false
		}
		for _, m := range decode[[]message](d.t, l.fields[0]) {
			if m.text() == text {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// total waits until the total of unread messages was announced as n, after a position.
func (d *device) total(from, n int) {
	d.t.Helper()
	d.wait(from, fmt.Sprintf("the total %d", n), func(l line) bool {
		return l.kind == "TIMConvTotalUnreadMessageCountChangedCallback" && l.num(0) == n
	})
}

// synced waits for the end of a login's sync, after a position.
func (d *device) synced(from int) {
	d.t.Helper()
	d.wait(from, "the end of the sync", func(l line) bool { return l.kind == "TIMConvEventCallback" && l.num(0) == 4 })
}

func (d *device) history(peer string) []message {
	d.t.Helper()
	return decode[[]message](d.t, d.must("TIMMsgGetMsgList", peer, 1, `{"msg_getmsglist_param_count":100}`, on))
}

// Two C programs exchange messages: both sides, order of callbacks, unread numbers, read receipts, history, recall.
func TestTwoPrograms(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := newDevice(t, s, "ann", ""), newDevice(t, s, "bob", "")
	ann.login()
	bob.login()
	bob.synced(0)
	if _, user := bob.call("TIMGetLoginUserID", on); user != "bob" {
		t.Errorf("login user %q", user)
	}
	if r, _ := bob.call("TIMGetLoginStatus"); r != 1 {
		t.Errorf("login status %d", r)
	}

	at := bob.position()
	sent := ann.say("bob", "hello / \"bob\" ü")
	got := bob.hears("hello / \"bob\" ü")
	if got.ID != sent.ID || got.Conv != "ann" || got.Sender != "ann" || got.Self || got.Seq != sent.Seq {
		t.Errorf("sent %+v\ngot %+v", sent, got)
	}
	bob.total(at, 1)
	var order []string
	for _, l := range bob.all()[at:] {
		order = append(order, l.kind)
	}
	want := []string{"TIMRecvNewMsgCallback", "TIMConvEventCallback", "TIMConvTotalUnreadMessageCountChangedCallback"}
	if fmt.Sprint(order) != fmt.Sprint(want) {
		t.Errorf("fired %v, want %v", order, want)
	}
	type conversation struct {
		ID     string  `json:"conv_id"`
		Unread int     `json:"conv_unread_num"`
		Last   message `json:"conv_last_msg"`
	}
	convs := decode[[]conversation](t, bob.must("TIMConvGetConvList", on))
	if len(convs) != 1 || convs[0].ID != "ann" || convs[0].Unread != 1 || convs[0].Last.ID != sent.ID {
		t.Errorf("conversations %+v", convs)
	}
	if json := bob.must("TIMConvGetTotalUnreadMessageCount", on); json != `{"conv_get_total_unread_message_count_result_unread_count":1}` {
		t.Errorf("total %s", json)
	}

	// Bob reads: his total falls, ann gets the receipt, and her message is read. A message that is not in the conversation marks nothing as read.
	at = bob.position()
	for _, m := range []string{`{}`, `{"message_msg_id":"144115000000000001-1-1"}`, `{"message_seq":9}`} {
		if a := bob.ask("TIMMsgReportReaded", "ann", 1, m, on); a.code != 6017 {
			t.Errorf("read up to %s: %+v", m, a)
		}
	}
	if json := bob.must("TIMConvGetTotalUnreadMessageCount", on); json != `{"conv_get_total_unread_message_count_result_unread_count":1}` {
		t.Errorf("total after refused calls: %s", json)
	}
	bob.must("TIMMsgReportReaded", "ann", 1, " null ", on)
	bob.total(at, 0)
	ann.wait(0, "the receipt", func(l line) bool { return l.kind == "TIMMsgReadedReceiptCallback" })
	if h := ann.history("bob"); len(h) != 1 || !h[0].PeerRead {
		t.Errorf("history %+v", h)
	}

	// Bob replies; ann marks all as read.
	at = ann.position()
	bob.say("ann", "hi")
	ann.hears("hi")
	ann.total(at, 1)
	ann.must("TIMMsgMarkAllMessageAsRead", on)
	ann.total(at, 0)

	// Order of sends is order of arrival, also in the second form with two callbacks.
	for i := range 20 {
		ann.send(command(100+i, "TIMMsgSendNewMsg", "bob", 1, textJSON(fmt.Sprintf("n%d", i)), on))
	}
	for i := range 20 {
		ann.answerOf(100+i, "TIMMsgSendNewMsg")
	}
	bob.hears("n19")
	next := 0
	for _, l := range bob.all() {
		if l.kind != "TIMRecvNewMsgCallback" {
			continue
		}
		for _, m := range decode[[]message](t, l.fields[0]) {
			if m.text() == fmt.Sprintf("n%d", next) {
				next++
			}
		}
	}
	if next != 20 {
		t.Errorf("only %d of 20 messages came in order", next)
	}
	r, _, id := ann.callID("TIMMsgSendNewMsgEx", "bob", 1, textJSON("ex"), on, on)
	var both []line
	ann.wait(0, "both callbacks", func(l line) bool {
		if l.kind == "TIMCommCallback" && l.num(3) == id {
			both = append(both, l)
		}
		return len(both) == 2
	})
	first := decode[message](t, both[0].fields[2])
	if second := decode[message](t, both[1].fields[2]); r != 0 || first.ID == "" || second.ID != first.ID || second.Status != 2 {
		t.Errorf("TIMMsgSendNewMsgEx: %v", both)
	}

	// Recall: the other side is notified, and the message stays with status 6.
	last := ann.say("bob", "oops")
	bob.hears("oops")
	msg, _ := json.Marshal(map[string]any{"message_msg_id": last.ID, "message_seq": last.Seq, "message_conv_id": "bob", "message_conv_type": 1})
	ann.must("TIMMsgRevoke", "bob", 1, string(msg), on)
	bob.wait(0, "the recall", func(l line) bool { return l.kind == "TIMMsgRevokeCallback" })
	if h := bob.history("ann"); len(h) != 24 || h[0].Status != 6 {
		t.Errorf("history after the recall: %d messages, newest %+v", len(h), h[0])
	}

	// To a user that does not exist.
	if a := ann.ask("TIMMsgSendMessage", "nobody", 1, textJSON("?"), on, on); a.code != 20003 || decode[message](t, a.json).Status != 3 {
		t.Errorf("to nobody: %+v", a)
	}
	for _, d := range []*device{ann, bob} {
		d.must("TIMLogout", on)
		d.call("TIMUninit")
		d.quit()
	}
}

// What was missed arrives at the next login, once, between the start and the end of the sync.
func TestMissedMessages(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := newDevice(t, s, "ann", ""), newDevice(t, s, "bob", "")
	ann.login()
	bob.login()
	bob.synced(0)
	ann.say("bob", "before")
	bob.hears("before")
	bob.call("TIMUninit")
	bob.quit()
	for i := range 5 {
		ann.say("bob", fmt.Sprintf("missed %d", i))
	}
	again := newDevice(t, s, "bob", bob.dir)
	again.login()
	again.hears("missed 4")
	again.total(0, 6)
	again.synced(0)
	var texts []string
	for _, l := range again.all() {
		if l.kind == "TIMRecvNewMsgCallback" {
			for _, m := range decode[[]message](t, l.fields[0]) {
				texts = append(texts, m.text())
			}
		}
	}
	if fmt.Sprint(texts) != "[missed 0 missed 1 missed 2 missed 3 missed 4]" {
		t.Errorf("new messages: %v", texts)
	}
	started := again.wait(0, "the start of the sync", func(l line) bool { return l.kind == "TIMConvEventCallback" && l.num(0) == 3 })
	if started.fields[1] != "" {
		t.Errorf("sync start carries %q", started.fields[1])
	}
	again.quit()
	ann.quit()
}

// A second login of the same class kicks the first, whose later calls give 6014; another class stays.
func TestKick(t *testing.T) {
	s := imtest.Start(t)
	first, phone := newDevice(t, s, "ann", ""), newDevice(t, s, "ann", "", "TIDINGS_PLATFORM=android")
	first.login()
	phone.login()
	second := newDevice(t, s, "ann", "")
	second.login()
	first.event("TIMKickedOfflineCallback", 1)
	if a := first.ask("TIMMsgSendMessage", "ann", 1, textJSON("?"), on, on); a.code != 6014 {
		t.Errorf("send after the kick: %+v", a)
	}
	if r, _ := first.call("TIMGetLoginStatus"); r != 3 {
		t.Errorf("login status %d", r)
	}
	if r, _ := phone.call("TIMGetLoginStatus"); r != 1 {
		t.Errorf("login status of the phone %d", r)
	}
	// The first one may come back, and kicks the second.
	second.say("ann", "x")
	first.login()
	second.event("TIMKickedOfflineCallback", 1)
	first.quit()
	second.quit()
	phone.quit()
}

// A ticket that expires while online fires once and ends the session; an expired one refuses the login.
func TestTicket(t *testing.T) {
	s := imtest.Start(t)
	d := newDevice(t, s, "ann", "")
	d.must("TIMLogin", "ann", s.SigFor("ann", 3*time.Second), on)
	d.event("TIMUserSigExpiredCallback", 1)
	if a := d.ask("TIMLogin", "ann", "nonsense", on); a.code != 70003 {
		t.Errorf("a malformed ticket: %+v", a)
	}
	if a := d.ask("TIMLogin", "ann", s.Sig("bob"), on); a.code != 70013 {
		t.Errorf("another user's ticket: %+v", a)
	}
	d.login()
	d.quit()
}

// The server's address may be set by callExperimentalAPI, which overrides the environment.
func TestServerAddress(t *testing.T) {
	s := imtest.Start(t)
	d := start(t, "TIDINGS_SERVER=ws://127.0.0.1:1")
	var host string
	var port int
	if n, err := fmt.Sscanf(s.URL, "ws://127.0.0.1:%d", &port); n != 1 || err != nil {
		t.Fatalf("%s: %v", s.URL, err)
	}
	host = "127.0.0.1"
	set := `{"request_internal_operation":"internal_operation_set_custom_server_info","request_set_custom_server_info_param":{"longconnection_address_array":[` +
		fmt.Sprintf(`{"server_address_ip":%q,"server_address_port":%d,"server_address_is_ipv6":false}`, host, port) + `],"server_public_key":"x"}}`
	if r, _ := d.call("callExperimentalAPI", set, false); r != 0 {
		t.Errorf("without a callback: %d", r)
	}
	if json := d.must("callExperimentalAPI", set, on); json != `{"response_internal_operation":"internal_operation_set_custom_server_info"}` {
		t.Errorf("answered %s", json)
	}
	d.call("TIMInit", 1400000000, null)
	d.must("TIMLogin", "ann", s.Sig("ann"), on)
	d.quit()
}
