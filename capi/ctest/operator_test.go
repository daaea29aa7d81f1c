package ctest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/imtest"
)

// operator is the operator's side of a scenario: calls of the admin API, and the program behind the webhook.
type operator struct {
	t     *testing.T
	stage *stage
	http  *httptest.Server

	mu     sync.Mutex
	answer map[string]any // to the next before-hooks; nil lets everything pass
	keys   map[string]string
	random int
}

func newOperator(t *testing.T, s *stage) *operator {
	o := &operator{t: t, stage: s, keys: map[string]string{}}
	o.http = httptest.NewServer(o)
	t.Cleanup(o.http.Close)
	return o
}

// ServeHTTP is the program behind the webhook. The probe's messages always pass.
func (o *operator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req struct{ CallbackCommand, From_Account string }
	body, _ := io.ReadAll(r.Body)
	json.Unmarshal(body, &req)
	o.mu.Lock()
	defer o.mu.Unlock()
	answer := hookAnswer()
	if req.CallbackCommand == "C2C.CallbackBeforeSendMsg" && req.From_Account != "probe" && o.answer != nil {
		answer = o.answer
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer)
}

func hookAnswer() map[string]any {
	return map[string]any{"ActionStatus": "OK", "ErrorCode": 0, "ErrorInfo": ""}
}

// hook sets what the program answers from now on: pass, rewrite TEXT, refuse CODE, drop.
func (o *operator) hook(args []string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = hookAnswer()
	switch args[0] {
	case "pass":
		o.answer = nil
	case "rewrite":
		o.answer["MsgBody"] = textBody(args[1])
	case "refuse":
		o.answer["ErrorCode"] = json.Number(args[1])
	case "drop":
		o.answer["ErrorCode"] = 2
	default:
		o.t.Fatalf("unknown answer %q", args[0])
	}
	return ""
}

func textBody(s string) []any {
	return []any{map[string]any{"MsgType": "TIMTextElem", "MsgContent": map[string]any{"Text": s}}}
}

// do makes a call of the admin API: send FROM TO TEXT, withdraw FROM TO, modify FROM TO TEXT (both of the message that was sent last), kick USER.
func (o *operator) do(verb string, args []string) string {
	var r map[string]any
	switch verb {
	case "send":
		o.random++
		r = o.call("openim/sendmsg", map[string]any{"From_Account": args[0], "To_Account": args[1], "MsgRandom": o.random, "MsgBody": textBody(args[2])})
		if key, ok := r["MsgKey"].(string); ok {
			o.keys[args[0]+args[1]] = key
		}
	case "withdraw":
		r = o.call("openim/admin_msgwithdraw", map[string]any{"From_Account": args[0], "To_Account": args[1], "MsgKey": o.key(args[0], args[1])})
	case "modify":
		r = o.call("openim/modify_c2c_msg", map[string]any{"From_Account": args[0], "To_Account": args[1], "MsgKey": o.key(args[0], args[1]), "MsgBody": textBody(args[2])})
	case "kick":
		r = o.call("im_open_login_svc/kick", map[string]any{"UserID": args[0]})
	default:
		o.t.Fatalf("unknown admin call %q", verb)
	}
	if r["ErrorCode"] == 0.0 {
		return "ok"
	}
	return fmt.Sprintf("code %v", r["ErrorCode"])
}

// key is the key of the last message between two people: that of the operator's own, or made from what a device of the sender has.
func (o *operator) key(from, to string) string {
	if k := o.keys[from+to]; k != "" {
		return k
	}
	for _, name := range o.stage.order {
		if a := o.stage.devices[name]; a.user == from && a.cmd != nil {
			var m struct {
				Seq  uint64 `json:"message_seq"`
				Rand uint64 `json:"message_rand"`
				Time uint64 `json:"message_server_time"`
			}
			if err := json.Unmarshal(a.find(to, "1"), &m); err != nil {
				o.t.Fatal(err)
			}
			return fmt.Sprintf("%d_%d_%d", m.Seq, m.Rand, m.Time)
		}
	}
	o.t.Fatalf("no message from %s to %s", from, to)
	return ""
}

func (o *operator) call(command string, body map[string]any) map[string]any {
	o.t.Helper()
	s := o.stage.server
	q := url.Values{"sdkappid": {fmt.Sprint(s.AppID)}, "identifier": {imtest.Admin}, "usersig": {s.Sig(imtest.Admin)}, "random": {"1"}, "contenttype": {"json"}}
	b, err := json.Marshal(body)
	if err != nil {
		o.t.Fatal(err)
	}
	resp, err := http.Post(strings.Replace(s.URL, "ws", "http", 1)+"/v4/"+command+"?"+q.Encode(), "application/json", bytes.NewReader(b))
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	var r map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		o.t.Fatal(err)
	}
	return r
}
