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
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long anything that must happen may take.
const patience = 30 * time.Second

// stage is a server with its operator, devices, and the screen.
type stage struct {
	dir     string
	log     *os.File // what the server and the devices write to their console
	tidings string   // the server's program
	program string   // device.c, compiled
	server  *exec.Cmd
	address string // of the server: ws://host:port
	hook    *httptest.Server
	devices []*device

	mu      sync.Mutex
	wording string // what the webhook makes of messages; empty: it lets them pass
}

// newStage takes the server's program and the compiled device.c from the environment.
func newStage() *stage {
	s := &stage{tidings: os.Getenv("BIN"), program: os.Getenv("DEVICE")}
	var err error
	s.dir, err = os.MkdirTemp("", "tidings-tour-")
	s.must(err)
	s.log, err = os.Create(filepath.Join(s.dir, "log"))
	s.must(err)
	s.hook = httptest.NewServer(http.HandlerFunc(s.webhook))
	return s
}

func (s *stage) must(err error) {
	if err != nil {
		s.fail("%v", err)
	}
}

// fail ends the tour, with the end of the log.
func (s *stage) fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "\ntour: "+format+"\n", args...)
	if s.log != nil {
		text, _ := os.ReadFile(s.log.Name())
		lines := strings.Split(string(text), "\n")
		fmt.Fprintln(os.Stderr, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
	s.end()
	os.Exit(1)
}

// end leaves nothing behind.
func (s *stage) end() {
	for _, d := range s.devices {
		if d.cmd != nil {
			d.cmd.Process.Kill()
			d.cmd.Wait()
		}
	}
	if s.server != nil {
		s.server.Process.Kill()
		s.server.Wait()
	}
	if s.hook != nil {
		s.hook.Close()
	}
	os.RemoveAll(s.dir)
}

func (s *stage) check(ok bool, what string) {
	if !ok {
		s.fail("it is not so that %s", what)
	}
	s.print("  %s", what)
}

// run is a run of the server's program, without the settings of whoever runs the tour.
func (s *stage) run(args ...string) *exec.Cmd {
	cmd := exec.Command(s.tidings, append(args, "--data", filepath.Join(s.dir, "server"))...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "TIDINGS_") })
	cmd.Stderr = s.log
	return cmd
}

// start starts the server: the first time on a free port, then on the same one.
func (s *stage) start() {
	s.action("server", "starts")
	if s.address != "" {
		s.server = s.run("serve", "--listen", strings.TrimPrefix(s.address, "ws://"), "--webhook-url", s.hook.URL)
		s.must(s.server.Start())
		return
	}
	s.server = s.run("serve", "--listen", "127.0.0.1:0", "--webhook-url", s.hook.URL)
	out, err := s.server.StdoutPipe()
	s.must(err)
	s.must(s.server.Start())
	// The first start says where it listens, when it does.
	for lines := bufio.NewScanner(out); s.address == ""; {
		if !lines.Scan() {
			s.fail("the server does not start")
		}
		if words := strings.Fields(lines.Text()); len(words) == 2 && words[0] == "server" {
			s.address = words[1]
		}
	}
}

func (s *stage) stop() {
	s.action("server", "stops")
	s.must(s.server.Process.Signal(syscall.SIGTERM))
	s.must(s.server.Wait())
	s.server = nil
}

func (s *stage) ticket(user string, life time.Duration) string {
	out, err := s.run("usersig", "--user", user, "--expire", life.String()).Output()
	s.must(err)
	return string(bytes.TrimSpace(out))
}

// webhook is the operator's program that the server asks about each message.
func (s *stage) webhook(w http.ResponseWriter, r *http.Request) {
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

// rewrite sets what the webhook makes of messages from now on.
func (s *stage) rewrite(wording string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wording = wording
}

// admin is a call of the operator's, which must succeed.
func (s *stage) admin(command string, body map[string]any) {
	q := url.Values{"sdkappid": {"1400000000"}, "identifier": {"administrator"}, "usersig": {s.ticket("administrator", time.Hour)}, "random": {"1"}, "contenttype": {"json"}}
	b, err := json.Marshal(body)
	s.must(err)
	resp, err := http.Post(strings.Replace(s.address, "ws", "http", 1)+"/v4/"+command+"?"+q.Encode(), "application/json", bytes.NewReader(b))
	s.must(err)
	defer resp.Body.Close()
	var r struct {
		ErrorCode int
		ErrorInfo string
	}
	s.must(json.NewDecoder(resp.Body).Decode(&r))
	if r.ErrorCode != 0 {
		s.fail("%s: %d %s", command, r.ErrorCode, r.ErrorInfo)
	}
}

func (s *stage) withdraw(from, to string, m message) {
	s.action("operator", "recalls it")
	s.admin("openim/admin_msgwithdraw", map[string]any{"From_Account": from, "To_Account": to, "MsgKey": m.key()})
}

func (s *stage) kick(user string) {
	s.action("operator", "kicks "+user)
	s.admin("im_open_login_svc/kick", map[string]any{"UserID": user})
}

// device is a folder, and while it is not away the process of device.c in it. What it says is kept: expect goes through it and never back.
type device struct {
	s          *stage
	user, name string
	dir        string
	platform   string
	cmd        *exec.Cmd
	in         io.WriteCloser

	mu      sync.Mutex
	events  []event
	seen    int
	results chan result
	wake    chan struct{}
}

type event struct{ kind, text string }

// result is what became of a command.
type result struct {
	Result string
	Code   int
	JSON   json.RawMessage
}

// message is a message's JSON.
type message map[string]any

func (m message) word(key string) string {
	if m[key] == nil {
		return ""
	}
	return fmt.Sprint(m[key])
}

// key is how the operator names a message.
func (m message) key() string {
	return m.word("message_seq") + "_" + m.word("message_rand") + "_" + m.word("message_server_time")
}

// text is the message with another text.
func (m message) text(s string) message {
	m["message_elem_array"] = []any{map[string]any{"elem_type": 0, "text_elem_content": s}}
	return m
}

// says is the text of a message.
func (m message) says() string {
	elems, _ := m["message_elem_array"].([]any)
	if len(elems) == 0 {
		return ""
	}
	elem, _ := elems[0].(map[string]any)
	return fmt.Sprint(elem["text_elem_content"])
}

func (s *stage) device(user, name, platform string) *device {
	d := &device{s: s, user: user, name: user + "/" + name, dir: filepath.Join(s.dir, user+"-"+name), platform: platform, results: make(chan result, 10), wake: make(chan struct{}, 1)}
	s.devices = append(s.devices, d)
	return d
}

// begin starts the program, if it does not run.
func (d *device) begin() {
	if d.cmd != nil {
		return
	}
	d.cmd = exec.Command(d.s.program, d.user, d.dir)
	d.cmd.Env = append(os.Environ(), "TIDINGS_SERVER="+d.s.address, "TIDINGS_PLATFORM="+d.platform)
	d.cmd.Stderr = d.s.log
	var err error
	d.in, err = d.cmd.StdinPipe()
	d.s.must(err)
	out, err := d.cmd.StdoutPipe()
	d.s.must(err)
	d.s.must(d.cmd.Start())
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

// away is what a program does that its user closes: the device stays logged in at the server.
func (d *device) away() {
	d.does("ends its program")
	d.in.Close()
	d.s.must(d.cmd.Wait())
	d.cmd = nil
}

// ask gives the program a command, and answers its result.
func (d *device) ask(command string, args ...string) result {
	d.begin()
	_, err := fmt.Fprintln(d.in, command, strings.Join(args, " "))
	d.s.must(err)
	select {
	case r := <-d.results:
		return r
	case <-time.After(patience):
		d.s.fail("%s: no result of %s", d.name, command)
	}
	return result{}
}

// do gives the program a command that must succeed.
func (d *device) do(what, command string, args ...string) {
	d.does(what)
	if r := d.ask(command, args...); r.Code != 0 {
		d.s.fail("%s: %s: code %d", d.name, command, r.Code)
	}
}

// doTo is do with a message.
func (d *device) doTo(what, command, peer string, m message) {
	b, err := json.Marshal(m)
	d.s.must(err)
	d.do(what, command, peer, string(b))
}

// fails gives the program a command that must fail with a code.
func (d *device) fails(what string, code int, command string, args ...string) {
	d.does(what)
	if r := d.ask(command, args...); r.Code != code {
		d.s.fail("%s: %s: code %d, and should be %d", d.name, command, r.Code, code)
	}
	d.s.action(d.name, fmt.Sprintf("is refused: %d", code))
}

// login logs in with a new ticket. One of the second in which the operator kicked the user is void with those before it.
func (d *device) login() { d.do("logs in", "login", d.s.ticket(d.user, time.Hour)) }

func (d *device) send(to, text string) {
	d.do(fmt.Sprintf("sends %q to %s", text, to), "send", to, text)
}

// last is the newest message of a conversation.
func (d *device) last(peer string) message {
	r := d.ask("list", peer, `{"msg_getmsglist_param_count":1}`)
	var list []message
	dec := json.NewDecoder(bytes.NewReader(r.JSON))
	dec.UseNumber()
	if err := dec.Decode(&list); err != nil || len(list) != 1 {
		d.s.fail("%s: the last message with %s: %v, code %d", d.name, peer, err, r.Code)
	}
	return list[0]
}

var (
	networkNames = []string{"connected", "disconnected", "connecting", "connecting failed"}
	convNames    = []string{"conversation added", "conversation deleted", "conversation updated", "sync start", "sync finish"}
	statusNames  = map[string]string{"1": " (sending)", "2": " (sent)", "3": " (failed)"}
)

// hear takes a line of the program: a result, or an event, which is shown.
func (d *device) hear(line []byte) {
	var e struct {
		Event  string
		Number int
		JSON   json.RawMessage
	}
	if json.Unmarshal(line, &e) != nil {
		d.heard("unreadable", string(line))
		return
	}
	if e.Event == "" {
		var r result
		json.Unmarshal(line, &r)
		d.results <- r
		return
	}
	var list []message
	dec := json.NewDecoder(bytes.NewReader(e.JSON))
	dec.UseNumber()
	dec.Decode(&list) // not a list: there is none
	switch e.Event {
	case "network":
		d.heard("network", networkNames[e.Number])
	case "conv":
		if list == nil {
			d.heard(convNames[e.Number], "")
		}
		for _, c := range list {
			d.heard(convNames[e.Number], describe(c))
		}
	case "new":
		for _, m := range list {
			from := m.word("message_sender")
			if from == d.user {
				from = "me"
			}
			d.heard("new message", "from "+from+": "+m.says())
		}
	case "update":
		for _, m := range list {
			d.heard("update", "now: "+m.says())
		}
	case "revoke":
		for _, m := range list {
			d.heard("recall", "message "+m.word("message_locator_seq")+", by "+m.word("message_revoker_user_id"))
		}
	case "receipt":
		for _, m := range list {
			d.heard("receipt", m.word("msg_receipt_conv_id")+" has read")
		}
	case "total":
		d.heard("total unread", strconv.Itoa(e.Number))
	case "kicked":
		d.heard("kicked offline", "")
	case "ticket expired":
		d.heard("ticket expired", "")
	case "log":
		var text string
		json.Unmarshal(e.JSON, &text)
		d.heard("log line", text)
	}
}

// describe is a conversation in one line.
func describe(c message) string {
	out := fmt.Sprintf("with %s, %s unread", c.word("conv_id"), c.word("conv_unread_num"))
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

// heard shows an event and keeps it. Of the log lines only those of calls that were refused are shown: there are many.
func (d *device) heard(kind, text string) {
	if kind != "log line" || strings.Contains(text, "refused") {
		d.s.print("  %-14s   ◂ %s %s", d.name, paint(blue, fmt.Sprintf("%-20s", kind)), text)
	}
	d.mu.Lock()
	d.events = append(d.events, event{kind, text})
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// expect waits for an event of the kind whose text has text in it, after those that were expected before.
func (d *device) expect(kind, text string) {
	late := time.After(patience)
	for !d.next(kind, text) {
		select {
		case <-d.wake:
		case <-late:
			d.s.fail("%s did not hear in time: %s %s", d.name, kind, text)
		}
	}
}

func (d *device) next(kind, text string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.seen < len(d.events) {
		e := d.events[d.seen]
		d.seen++
		if strings.HasPrefix(e.kind, kind) && strings.Contains(e.text, text) {
			return true
		}
	}
	return false
}

// total is the last total of unread messages that the device was told.
func (d *device) total() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, e := range d.events {
		if e.kind == "total unread" {
			n, _ = strconv.Atoi(e.text)
		}
	}
	return n
}

func (d *device) count(kind, text string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if e.kind == kind && strings.Contains(e.text, text) {
			n++
		}
	}
	return n
}

// told are the texts of all new messages.
func (d *device) told() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for _, e := range d.events {
		if _, text, ok := strings.Cut(e.text, ": "); ok && e.kind == "new message" {
			out = append(out, text)
		}
	}
	return strings.Join(out, "|")
}

// logFile counts the lines with a text in the device's log file.
func (d *device) logFile(text string) int {
	b, err := os.ReadFile(filepath.Join(d.dir, "log", "imsdk.log"))
	d.s.must(err)
	return strings.Count(string(b), text)
}

func (s *stage) scene(title string) { s.print("\n%s", paint(bold, title)) }

func (s *stage) action(who, what string) { s.print("  %-14s ▸ %s", who, what) }

func (d *device) does(what string) { d.s.action(d.name, what) }

func (s *stage) print(format string, args ...any) { fmt.Printf(format+"\n", args...) }

const bold, green, blue = "1", "32", "36"

// paint colours text on a terminal.
func paint(colour, s string) string {
	info, err := os.Stdout.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 || os.Getenv("NO_COLOR") != "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}
