package histcheck

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidings-im/tidings/im"
)

// Verdict is what the webhook responds about a message or a modification. It is at the end of the tag, or of the new text, so that it is the same
// however often it is asked.
type Verdict string

const (
	Pass    Verdict = ""
	Rewrite Verdict = "!rewrite"
	Refuse  Verdict = "!refuse"
	Drop    Verdict = "!drop"
	Late    Verdict = "!late" // no response in time: the message passes
)

// admin is the user whose ticket the operator has.
const admin = "administrator"

// refused is the code of a message that the webhook refuses.
const refused = 120099

func verdictOf(tag string) Verdict {
	for _, v := range []Verdict{Rewrite, Refuse, Drop, Late} {
		if strings.HasSuffix(tag, string(v)) {
			return v
		}
	}
	return Pass
}

// rewritten returns what the webhook changes a text to.
func rewritten(text string) string { return "rewritten " + text }

// Hook is the program behind the webhook.
type Hook struct{ late atomic.Int64 }

// quiet means that no message waits for a response that does not come.
func (h *Hook) quiet() bool { return h.late.Load() == 0 }

func (h *Hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req struct {
		CallbackCommand, CloudCustomData string
		ModifyFlag                       int
		MsgBody                          []struct{ MsgContent struct{ Text string } }
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := map[string]any{"ActionStatus": "OK", "ErrorCode": 0, "ErrorInfo": ""}
	if req.CallbackCommand == "C2C.CallbackBeforeSendMsg" {
		mark := req.CloudCustomData
		if req.ModifyFlag != 0 {
			mark = req.MsgBody[0].MsgContent.Text
		}
		switch verdictOf(mark) {
		case Rewrite:
			answer["MsgBody"] = []any{textElem(rewritten(req.MsgBody[0].MsgContent.Text))}
		case Refuse:
			answer["ErrorCode"] = refused
		case Drop:
			answer["ErrorCode"] = 2
		case Late:
			h.late.Add(1)
			<-r.Context().Done()
			h.late.Add(-1)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer)
}

func textElem(s string) any {
	return map[string]any{"MsgType": "TIMTextElem", "MsgContent": map[string]any{"Text": s}}
}

// operator makes calls of the admin API, one at a time.
type operator struct {
	*Device
	r      *runner
	http   *http.Client
	queue  chan func()
	done   chan struct{}
	call   int
	random uint32
}

func (r *runner) newOperator() *operator {
	o := &operator{Device: &Device{Name: "operator", news: make(chan struct{}, 1)}, r: r, http: &http.Client{Timeout: 5 * time.Second}, queue: make(chan func(), 8), done: make(chan struct{})}
	r.h.Operator = o.Device
	go func() {
		defer close(o.done)
		for f := range o.queue {
			f()
		}
	}()
	return o
}

// do queues a call, unless too many wait already: while the server is away they take long.
func (o *operator) do(f func()) {
	select {
	case o.queue <- f:
	default:
	}
}

// post makes a call; the code is codeNone if there was no response.
func (o *operator) post(op string, rec Record, command string, body map[string]any) (map[string]any, int32) {
	o.call++
	rec.Kind, rec.Op, rec.Call = Calling, op, o.call
	o.add(o.r.h, rec)
	answer, code := o.exchange(command, body)
	rec.Kind, rec.Code, rec.N = Returned, code, added(answer)
	o.add(o.r.h, rec)
	return answer, code
}

func (o *operator) exchange(command string, body map[string]any) (map[string]any, int32) {
	s := o.r.cfg.Server
	q := url.Values{"sdkappid": {fmt.Sprint(s.AppID())}, "identifier": {admin}, "usersig": {o.r.sigs[admin]}, "random": {"1"}, "contenttype": {"json"}}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, codeNone
	}
	resp, err := o.http.Post(strings.Replace(s.URL(), "ws", "http", 1)+"/v4/"+command+"?"+q.Encode(), "application/json", bytes.NewReader(b))
	if err != nil {
		return nil, codeNone
	}
	defer resp.Body.Close()
	var answer map[string]any
	if json.NewDecoder(resp.Body).Decode(&answer) != nil {
		return nil, codeNone
	}
	code, ok := answer["ErrorCode"].(float64)
	if !ok {
		return nil, codeNone
	}
	return answer, int32(code)
}

// send sends in a user's name.
func (o *operator) send(from, to string, v Verdict) {
	s := &Send{Device: o.Device, User: from, Run: 1, Conv: to, Tag: fmt.Sprintf("operator/%d%s", o.r.texts.Add(1), v), Verdict: v, Answers: 1, At: o.r.h.clock.Add(1), Code: codeKilled}
	o.mu.Lock()
	o.Sends = append(o.Sends, s)
	o.mu.Unlock()
	o.random++
	answer, code := o.post("send", Record{Conv: to, From: from, Tag: s.Tag}, "openim/sendmsg", map[string]any{
		"From_Account": from, "To_Account": to, "MsgRandom": o.random, "MsgBody": []any{textElem(s.Tag)}, "CloudCustomData": s.Tag,
	})
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Code = code
	if code == 0 {
		var random, at int64
		key, _ := answer["MsgKey"].(string)
		fmt.Sscanf(key, "%d_%d_%d", &s.Seq, &random, &at)
	}
}

// change recalls or modifies a message that some device has seen.
func (o *operator) change(op string, user string, m *im.Message) {
	from, to := m.Sender, m.ConvId
	if from != user {
		to = user
	}
	rec := Record{Conv: to, From: from, Seq: m.Seq, Tag: m.CloudCustomStr}
	body := map[string]any{"From_Account": from, "To_Account": to, "MsgKey": fmt.Sprintf("%d_%d_%d", m.Seq, m.Rand, m.ServerTime)}
	command := "openim/admin_msgwithdraw"
	if op == "modify" {
		command = "openim/modify_c2c_msg"
		rec.Text = o.r.newText(m)
		body["MsgBody"] = []any{textElem(rec.Text)}
	}
	o.post(op, rec, command, body)
}
