package scenario

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

// Operator is the operator's side of a scenario: a server, calls of its admin API, and the program behind its webhook.
type Operator struct {
	Server *imtest.Server

	t    testing.TB
	last func(from, to string) string

	mu     sync.Mutex
	answer map[string]any // to the next before-hooks; nil lets everything pass

	keys   map[string]string
	random int
}

// Start starts a server with its operator. last returns the key of message 1 between two people, as a device of the sender has it; "" if none has.
func Start(t testing.TB, last func(from, to string) string) *Operator {
	o := &Operator{t: t, last: last, keys: map[string]string{}}
	hook := httptest.NewServer(o)
	t.Cleanup(hook.Close)
	o.Server = imtest.Start(t, imtest.Webhook(hook.URL, ""), imtest.SecretKey("the scenarios' key"))
	return o
}

// ServeHTTP is the program behind the webhook. The probe's messages always pass.
func (o *Operator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req struct{ CallbackCommand, From_Account string }
	body, _ := io.ReadAll(r.Body)
	json.Unmarshal(body, &req)
	o.mu.Lock()
	defer o.mu.Unlock()
	answer := hookAnswer()
	if req.CallbackCommand == "C2C.CallbackBeforeSendMsg" && req.From_Account != Probe && o.answer != nil {
		answer = o.answer
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer)
}

func hookAnswer() map[string]any {
	return map[string]any{"ActionStatus": "OK", "ErrorCode": 0, "ErrorInfo": ""}
}

// Hook sets what the program responds from now on: pass, rewrite TEXT, refuse CODE, drop.
func (o *Operator) Hook(args []string) {
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
}

func textBody(s string) []any {
	return []any{map[string]any{"MsgType": "TIMTextElem", "MsgContent": map[string]any{"Text": s}}}
}

// Do makes a call of the admin API and returns its outcome: send FROM TO TEXT, withdraw FROM TO, modify FROM TO TEXT (both of the message that was
// sent last), kick USER.
func (o *Operator) Do(verb string, args []string) string {
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

// key returns the key of the last message between two people: that of the operator's own, or the one that a device of the sender has.
func (o *Operator) key(from, to string) string {
	if k := o.keys[from+to]; k != "" {
		return k
	}
	k := o.last(from, to)
	if k == "" {
		o.t.Fatalf("no message from %s to %s", from, to)
	}
	return k
}

func (o *Operator) call(command string, body map[string]any) map[string]any {
	o.t.Helper()
	s := o.Server
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
