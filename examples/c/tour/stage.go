package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidings-im/tidings/examples/internal/stage"
)

// tour is a server with its operator and its devices.
type tour struct {
	*stage.Stage
	program string // device.c, compiled

	mu      sync.Mutex
	wording string // what the webhook changes messages to; empty: it lets them pass
}

// newTour reads the paths of the server's program and of the compiled device.c from the environment.
func newTour() *tour {
	t := &tour{program: os.Getenv("DEVICE")}
	hook := httptest.NewServer(http.HandlerFunc(t.webhook))
	t.Stage = stage.New("tour", os.Getenv("BIN"), "--webhook-url", hook.URL)
	t.AtEnd(hook.Close)
	return t
}

func (s *tour) check(ok bool, what string) {
	if !ok {
		s.Fail("it is not so that %s", what)
	}
	s.Print("  %s", what)
}

// webhook is the operator's program that the server asks about each message.
func (s *tour) webhook(w http.ResponseWriter, r *http.Request) {
	var req struct{ CallbackCommand string }
	json.NewDecoder(r.Body).Decode(&req)
	answer := map[string]any{"ActionStatus": "OK", "ErrorCode": 0, "ErrorInfo": ""}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wording != "" && req.CallbackCommand == "C2C.CallbackBeforeSendMsg" {
		answer["MsgBody"] = []any{map[string]any{"MsgType": "TIMTextElem", "MsgContent": map[string]any{"Text": s.wording}}}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer)
}

// rewrite sets what the webhook changes messages to from now on.
func (s *tour) rewrite(wording string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wording = wording
}

// admin makes a call of the operator, which must succeed.
func (s *tour) admin(command string, body map[string]any) {
	q := url.Values{"sdkappid": {"1400000000"}, "identifier": {"administrator"}, "usersig": {s.Ticket("administrator", time.Hour)}, "random": {"1"}, "contenttype": {"json"}}
	b, err := json.Marshal(body)
	s.Must(err)
	resp, err := http.Post(strings.Replace(s.Address, "ws", "http", 1)+"/v4/"+command+"?"+q.Encode(), "application/json", bytes.NewReader(b))
	s.Must(err)
	defer resp.Body.Close()
	var r struct {
		ErrorCode int
		ErrorInfo string
	}
	s.Must(json.NewDecoder(resp.Body).Decode(&r))
	if r.ErrorCode != 0 {
		s.Fail("%s: %d %s", command, r.ErrorCode, r.ErrorInfo)
	}
}

func (s *tour) withdraw(from, to string, m message) {
	s.Action("operator", "recalls it")
	s.admin("openim/admin_msgwithdraw", map[string]any{"From_Account": from, "To_Account": to, "MsgKey": m.key()})
}

func (s *tour) kick(user string) {
	s.Action("operator", "kicks "+user)
	s.admin("im_open_login_svc/kick", map[string]any{"UserID": user})
}

// device is a folder and, while it is not away, the process of device.c in it.
type device struct {
	*stage.Device
	s        *tour
	user     string
	dir      string
	platform string
	cmd      *exec.Cmd
	in       io.WriteCloser
	results  chan result
}

// result is the result of a command.
type result struct {
	Result string
	Code   int
	JSON   json.RawMessage
}

// message is the JSON of a message.
type message map[string]any

func (m message) word(key string) string {
	if m[key] == nil {
		return ""
	}
	return fmt.Sprint(m[key])
}

// key returns the operator's name of a message.
func (m message) key() string {
	return m.word("message_seq") + "_" + m.word("message_rand") + "_" + m.word("message_server_time")
}

// text changes the text of the message.
func (m message) text(s string) message {
	m["message_elem_array"] = []any{map[string]any{"elem_type": 0, "text_elem_content": s}}
	return m
}

// says returns the text of a message.
func (m message) says() string {
	elems, _ := m["message_elem_array"].([]any)
	if len(elems) == 0 {
		return ""
	}
	elem, _ := elems[0].(map[string]any)
	return message(elem).word("text_elem_content")
}

func (s *tour) device(user, name, platform string) *device {
	d := &device{Device: s.Device(user+"/"+name, strings.Contains), s: s, user: user, dir: filepath.Join(s.Dir, user+"-"+name), platform: platform, results: make(chan result, 10)}
	s.AtEnd(func() {
		if d.cmd != nil {
			d.cmd.Process.Kill()
			d.cmd.Wait()
		}
	})
	return d
}

// begin starts the program, unless it is running.
func (d *device) begin() {
	if d.cmd != nil {
		return
	}
	d.cmd = exec.Command(d.s.program, d.user, d.dir)
	d.cmd.Env = append(os.Environ(), "TIDINGS_SERVER="+d.s.Address, "TIDINGS_PLATFORM="+d.platform)
	d.cmd.Stderr = d.s.Log
	var err error
	d.in, err = d.cmd.StdinPipe()
	d.s.Must(err)
	out, err := d.cmd.StdoutPipe()
	d.s.Must(err)
	d.s.Must(d.cmd.Start())
	go func() {
		for r := bufio.NewReader(out); ; {
			l, err := r.ReadBytes('\n')
			if err != nil {
				return
			}
			d.hear(l)
		}
	}()
}

// away does what a program does that its user closes: the device stays logged in on the server.
func (d *device) away() {
	d.Does("ends its program")
	d.in.Close()
	d.s.Must(d.cmd.Wait())
	d.cmd = nil
}

// ask sends a command to the program and returns its result.
func (d *device) ask(command string, args ...string) result {
	d.begin()
	_, err := fmt.Fprintln(d.in, command, strings.Join(args, " "))
	d.s.Must(err)
	select {
	case r := <-d.results:
		return r
	case <-time.After(stage.Patience):
		d.s.Fail("%s: no result of %s", d.Name, command)
	}
	return result{}
}

// do sends the program a command that must succeed.
func (d *device) do(what, command string, args ...string) {
	d.Does(what)
	if r := d.ask(command, args...); r.Code != 0 {
		d.s.Fail("%s: %s: code %d", d.Name, command, r.Code)
	}
}

// doTo is do with a message.
func (d *device) doTo(what, command, peer string, m message) {
	b, err := json.Marshal(m)
	d.s.Must(err)
	d.do(what, command, peer, string(b))
}

// fails sends the program a command that must fail with a code.
func (d *device) fails(what string, code int, command string, args ...string) {
	d.Does(what)
	if r := d.ask(command, args...); r.Code != code {
		d.s.Fail("%s: %s: code %d, and should be %d", d.Name, command, r.Code, code)
	}
	d.s.Action(d.Name, fmt.Sprintf("is refused: %d", code))
}

// login logs in with a new ticket. One made in the second in which the operator kicked the user is void, like those before it.
func (d *device) login() { d.do("logs in", "login", d.s.Ticket(d.user, time.Hour)) }

func (d *device) send(to, text string) {
	d.do(fmt.Sprintf("sends %q to %s", text, to), "send", to, text)
}

// last returns the newest message of a conversation.
func (d *device) last(peer string) message {
	r := d.ask("list", peer, `{"msg_getmsglist_param_count":1}`)
	var list []message
	dec := json.NewDecoder(bytes.NewReader(r.JSON))
	dec.UseNumber()
	if err := dec.Decode(&list); err != nil || len(list) != 1 {
		d.s.Fail("%s: the last message with %s: %v, code %d", d.Name, peer, err, r.Code)
	}
	return list[0]
}

var (
	networkNames = []string{"connected", "disconnected", "connecting", "connecting failed"}
	convNames    = []string{"conversation added", "conversation deleted", "conversation updated", "sync start", "sync finish"}
	statusNames  = map[string]string{"1": " (sending)", "2": " (sent)", "3": " (failed)"}
)

// hear reads a line from the program: a result, or an event, which is printed.
func (d *device) hear(line []byte) {
	var e struct {
		Event  string
		Number int
		JSON   json.RawMessage
	}
	if json.Unmarshal(line, &e) != nil {
		d.Heard("unreadable", string(line))
		return
	}
	if e.Event == "" {
		var r result
		json.Unmarshal(line, &r)
		d.results <- r
		return
	}
	if d.hearRelation(e.Event, e.JSON) || d.hearGroup(e.Event, e.JSON) {
		return
	}
	var list []message
	dec := json.NewDecoder(bytes.NewReader(e.JSON))
	dec.UseNumber()
	dec.Decode(&list) // not a list: list stays empty
	switch e.Event {
	case "network":
		d.Heard("network", networkNames[e.Number])
	case "conversation":
		if list == nil {
			d.Heard(convNames[e.Number], "")
		}
		for _, c := range list {
			d.Heard(convNames[e.Number], describe(c))
		}
	case "new_message":
		for _, m := range list {
			if d.hearInGroup(m) {
				continue
			}
			from := m.word("message_sender")
			if from == d.user {
				from = "me"
			}
			d.Heard("new message", "from "+from+": "+m.says())
		}
	case "updated":
		for _, m := range list {
			d.Heard("update", "now: "+m.says())
		}
	case "revoked":
		for _, m := range list {
			d.Heard("recall", "message "+m.word("message_locator_seq")+", by "+m.word("message_revoker_user_id"))
		}
	case "receipt":
		for _, m := range list {
			d.Heard("receipt", m.word("msg_receipt_conv_id")+" has read")
		}
	case "total_unread":
		d.Heard("total unread", strconv.Itoa(e.Number))
	case "kicked_offline":
		d.Heard("kicked offline", "")
	case "user_sig_expired":
		d.Heard("ticket expired", "")
	case "log":
		var text string
		json.Unmarshal(e.JSON, &text)
		d.log(text)
	}
}

// describe returns one line about a conversation.
func describe(c message) string {
	out := fmt.Sprintf("with %s, %s unread", c.word("conv_id"), c.word("conv_unread_num"))
	if at, _ := c["conv_group_at_info_array"].([]any); len(at) > 0 {
		out += ", mentioned"
	}
	if c["conv_is_pinned"] == true {
		out += ", pinned"
	}
	if draft, ok := c["conv_draft"].(map[string]any); ok {
		if m, ok := draft["draft_msg"].(map[string]any); ok && message(m).says() != "" {
			out += ", draft: " + message(m).says()
		}
	}
	if m, ok := c["conv_last_msg"].(map[string]any); ok && c["conv_is_has_lastmsg"] == true {
		last := message(m)
		switch {
		case last.word("message_status") == "6":
			out += ", last: (recalled)"
		case last["message_is_from_self"] == true:
			out += ", last: " + last.says() + statusNames[last.word("message_status")]
		default:
			out += ", last: " + last.says()
		}
	}
	return out
}

// log keeps a line of the log. Only those of refused calls are printed, because there are many.
func (d *device) log(line string) {
	if strings.Contains(line, "refused") {
		d.Heard("log line", line)
	} else {
		d.Keep("log line", line)
	}
}

// total returns the last total of unread messages that the device got.
func (d *device) total() int {
	totals := d.Events("total unread")
	if len(totals) == 0 {
		return 0
	}
	n, err := strconv.Atoi(totals[len(totals)-1])
	d.s.Must(err)
	return n
}

// count counts the events of a kind that contain a text.
func (d *device) count(kind, text string) (n int) {
	for _, e := range d.Events(kind) {
		if strings.Contains(e, text) {
			n++
		}
	}
	return n
}

// logFile counts the lines in the device's log file that contain a text.
func (d *device) logFile(text string) int {
	b, err := os.ReadFile(filepath.Join(d.dir, "log", "imsdk.log"))
	d.s.Must(err)
	return strings.Count(string(b), text)
}
