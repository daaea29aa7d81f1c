package ctest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/faultproxy"
)

// scenarios are those that package client runs through the Go SDK: the rows of docs/events.md.
const scenarios = "client/testdata/scenarios/*.txtar"

// TestMatrix runs the scenarios of the event matrix through C: each device is a process of examples/c/device.c, which hears what its callbacks hear, and the
// transcript must be the one that stands in the file, word for word. It is made comparable as package client makes it, for the same reasons:
//
//   - In JSON, keys at their defaults are left out and what differs from run to run is "*".
//   - A conversation is not looked at while its last message is being sent: whether that state is seen depends on how fast the server answers.
//   - Of the tries to connect again only the one that succeeds is looked at.
//   - What belongs to the user "probe" is left out.
//
// And for one reason of its own: receipts are told at most once a second (package client's scenarios set no such limit), so that one may come after the event of its
// conversation. It is put before it.
//
// A step ends when each device has heard as much as the file says, and then a message of the probe that was sent after that. What fires beyond that stands in
// this step or in the next one, at the end in what is heard until the programs have ended: it is never lost.
func TestMatrix(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, scenarios))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	program := compile(t, "device", filepath.Join(root, "examples/c/device.c"))
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) {
			t.Parallel()
			a, err := txtar.ParseFile(f)
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string]string{}
			for _, p := range a.Files {
				parts[p.Name] = string(p.Data)
			}
			if got := newStage(t, program).run(parts["want"]); got != parts["want"] {
				t.Errorf("fired:\n%s\nwant:\n%s", got, parts["want"])
			}
		})
	}
}

// stage is a server, its operator, and the devices of a scenario.
type stage struct {
	t       *testing.T
	program string
	server  *imtest.Server
	admin   *operator
	order   []string
	devices map[string]*actor
	probe   *client.Client
	linked  chan struct{} // the probe's connection is there
	probes  int
}

// actor is a device, with what it heard in this step.
type actor struct {
	t      *testing.T
	name   string
	user   string
	env    []string
	dir    string
	ticket string
	proxy  *faultproxy.Proxy
	cmd    *exec.Cmd // nil: the program does not run
	in     io.WriteCloser
	ended  chan struct{}

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when something came
	heard    []string
	probed   string
	results  []result
	loggedIn bool
	lost     bool // the connection, and not found again
	adding   map[string]bool
	offline  bool // as the script says
}

// result is what became of a command.
type result struct {
	Result string
	Code   int
	JSON   json.RawMessage
}

func (r result) String() string {
	if r.Code == 0 {
		return "ok"
	}
	return fmt.Sprint("code ", r.Code)
}

func newStage(t *testing.T, program string) *stage {
	s := &stage{t: t, program: program, devices: map[string]*actor{}, linked: make(chan struct{}, 1)}
	s.admin = newOperator(t, s)
	s.server = imtest.Start(t, imtest.Webhook(s.admin.http.URL, ""), imtest.SecretKey("the scenarios' key"))
	cfg := client.Config{Server: s.server.URL, UserID: "probe", UserSig: s.server.Sig("probe"), Dir: t.TempDir(), Platform: im.Platform_PLATFORM_LINUX,
		Limits: client.Limits{Reconnect: 50 * time.Millisecond}}
	var err error
	s.probe, err = client.Dial(t.Context(), cfg, client.Events{Network: func(st client.NetworkStatus, _ int32, _ string) {
		if st == client.NetworkConnected {
			select {
			case s.linked <- struct{}{}:
			default:
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.probe.Close)
	return s
}

// run runs the script, whose steps stand in the transcript that is wanted, and answers what was heard.
func (s *stage) run(want string) string {
	var out strings.Builder
	steps := strings.Split(want, "> ")[1:]
	for i, step := range steps {
		script, events, _ := strings.Cut(step, "\n")
		expected := map[string]int{}
		for l := range strings.SplitSeq(events, "\n") {
			if name, _, ok := strings.Cut(l, " "); ok && name != "" {
				expected[name]++
			}
		}
		words := split(script)
		fmt.Fprintf(&out, "> %s\n", script)
		if r := s.do(words[0], words[1:]); r != "" {
			fmt.Fprintf(&out, "  %s\n", r)
		}
		for _, name := range s.order {
			a := s.devices[name]
			a.until(func() bool { return len(a.heard) >= expected[name] })
		}
		s.settle()
		if i == len(steps)-1 { // no step follows that would show what comes late
			for _, name := range s.order {
				s.devices[name].end()
			}
		}
		for _, name := range s.order {
			a := s.devices[name]
			a.mu.Lock()
			for _, h := range a.heard {
				fmt.Fprintf(&out, "%s %s\n", name, h)
			}
			a.heard = nil
			a.mu.Unlock()
		}
	}
	return out.String()
}

// split takes a line apart at spaces; "quoted words" stay together.
func split(line string) []string {
	var out []string
	for line = strings.TrimLeft(line, " "); line != ""; line = strings.TrimLeft(line, " ") {
		if q, err := strconv.QuotedPrefix(line); err == nil {
			s, _ := strconv.Unquote(q)
			out, line = append(out, s), line[len(q):]
			continue
		}
		w, rest, _ := strings.Cut(line, " ")
		out, line = append(out, w), rest
	}
	return out
}

// settle sends a message of the probe to all who are online, and waits until their devices have heard it.
func (s *stage) settle() {
	s.t.Helper()
	s.probes++
	mark := fmt.Sprint("probe ", s.probes)
	users := map[string]bool{}
	for _, a := range s.devices {
		if a.online() {
			users[a.user] = true
		}
	}
	for _, u := range slices.Sorted(maps.Keys(users)) {
		m := im.Text(mark)
		m.IsExcludedFromUnreadCount = true
		for {
			_, err := s.probe.SendMessage(s.t.Context(), client.C2C(u), m)
			if err == nil {
				break
			}
			var e *im.Error
			if e, _ = err.(*im.Error); e == nil || e.Code != im.CodeDisconnected {
				s.t.Fatalf("probe: %v", err)
			}
			<-s.linked // the server has just been started again
		}
	}
	for _, name := range s.order {
		a := s.devices[name]
		if !a.until(func() bool { return a.probed == mark || !a.loggedIn || a.offline }) {
			s.t.Fatalf("%s did not hear %q; it heard %q", name, mark, a.heard)
		}
	}
}

func (a *actor) online() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.loggedIn && !a.offline
}

// start starts the program, if it does not run.
func (a *actor) start(program string) {
	a.t.Helper()
	if a.cmd != nil {
		return
	}
	a.cmd = exec.Command(program, a.user, a.dir)
	a.cmd.Env = append(os.Environ(), a.env...)
	console := &lockedBuffer{}
	a.cmd.Stderr = console
	out, err := a.cmd.StdoutPipe()
	if err == nil {
		a.in, err = a.cmd.StdinPipe()
	}
	if err == nil {
		err = a.cmd.Start()
	}
	if err != nil {
		a.t.Fatal(err)
	}
	ended := make(chan struct{})
	a.ended = ended
	go func() {
		defer close(ended)
		for r := bufio.NewReaderSize(out, 1<<20); ; {
			l, err := r.ReadBytes('\n')
			if err != nil {
				return
			}
			a.hear(l)
		}
	}()
	cmd := a.cmd
	a.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			<-ended
			cmd.Wait()
		}
		if a.t.Failed() {
			a.t.Logf("console of %s:\n%s", a.name, console)
		}
	})
}

// end ends the program as one that is closed by its user, and waits for that.
func (a *actor) end() {
	a.t.Helper()
	if a.cmd == nil {
		return
	}
	a.in.Close()
	select {
	case <-a.ended:
	case <-time.After(patience):
		a.t.Fatalf("%s does not end", a.name)
	}
	if err := a.cmd.Wait(); err != nil {
		a.t.Errorf("%s ended with %v", a.name, err)
	}
	a.cmd = nil
	a.mu.Lock()
	a.loggedIn = false
	a.mu.Unlock()
}

// until waits for a fact about what the device has said, and reports whether it came true.
func (a *actor) until(fact func() bool) bool {
	timeout := time.After(patience)
	for {
		a.mu.Lock()
		ok, changed := fact(), a.changed
		a.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-timeout:
			return false
		}
	}
}

// hear takes a line of the program.
func (a *actor) hear(l []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var e struct {
		Event  string
		Number int
		JSON   any
	}
	d := json.NewDecoder(bytes.NewReader(l))
	d.UseNumber()
	if err := d.Decode(&e); err != nil {
		a.heard = append(a.heard, fmt.Sprintf("unreadable: %v: %s", err, l))
	}
	if e.Event == "log" {
		return
	}
	if e.Event == "" {
		var r result
		json.Unmarshal(l, &r)
		a.results = append(a.results, r)
	} else {
		a.event(e.Event, e.Number, e.JSON)
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

var convEvents = []string{"conv_add", "conv_delete", "conv_update", "sync_start", "sync_finish"}

func (a *actor) event(name string, n int, v any) {
	list, _ := v.([]any)
	note := func(format string, args ...any) { a.heard = append(a.heard, fmt.Sprintf(format, args...)) }
	switch name {
	case "new", "update":
		var kept []any
		for _, m := range list {
			if at(m, "message_sender") == "probe" {
				a.probed = fmt.Sprint(at(m, "message_elem_array", "0", "text_elem_content"))
			} else {
				kept = append(kept, m)
			}
		}
		if len(kept) > 0 {
			note("%s %s", name, compact(kept))
		}
	case "conv":
		kind := convEvents[n]
		if list == nil {
			note("%s", kind)
			return
		}
		var kept []any
		for _, c := range list {
			id := fmt.Sprint(at(c, "conv_id"))
			switch {
			case id == "probe":
				continue
			case fmt.Sprint(at(c, "conv_last_msg", "message_status")) == "1":
				a.adding[id] = a.adding[id] || kind == "conv_add"
				continue
			case a.adding[id]:
				delete(a.adding, id)
				kind = "conv_add"
			}
			kept = append(kept, c)
		}
		if len(kept) > 0 {
			note("%s %s", kind, compact(kept))
		}
	case "total":
		note("total %d", n)
	case "network":
		if a.lost && n != int(client.NetworkConnected) {
			return
		}
		a.lost = n == int(client.NetworkDisconnected)
		if v != nil {
			note("network %d *", n)
			return
		}
		note("network %d", n)
	case "kicked", "ticket expired":
		a.loggedIn = false
		note("%s", name)
	default:
		note("%s %s", name, compact(v))
		if last := len(a.heard) - 1; name == "receipt" && last > 0 && strings.HasPrefix(a.heard[last-1], "conv_update ") {
			a.heard[last-1], a.heard[last] = a.heard[last], a.heard[last-1]
		}
	}
}

// at is what stands at a path in decoded JSON.
func at(v any, path ...string) any {
	for _, p := range path {
		switch x := v.(type) {
		case map[string]any:
			v = x[p]
		case []any:
			i, _ := strconv.Atoi(p)
			if i >= len(x) {
				return nil
			}
			v = x[i]
		}
	}
	return v
}

// volatile are the endings of the keys whose values differ from run to run.
var volatile = []string{"_time", "_rand", "_unique_id", "_msg_id", "_time_stamp", "_timestamp"}

// compact leaves the defaults out of JSON and hides what differs from run to run.
func compact(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(prune("", v)); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(b.String())
}

func prune(key string, v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, inner := range x {
			switch p := prune(k, inner).(type) {
			case nil:
			case []any:
				if len(p) > 0 {
					out[k] = p
				}
			case map[string]any:
				if len(p) > 0 {
					out[k] = p
				}
			default:
				if p != "" && p != false && p != json.Number("0") && k != "message_group_receipt_unread_count" {
					out[k] = p
				}
			}
		}
		return out
	case []any:
		for i := range x {
			x[i] = prune(key, x[i])
		}
		return x
	}
	if v != "" && v != json.Number("0") && slices.ContainsFunc(volatile, func(end string) bool { return strings.HasSuffix(key, end) }) {
		return "*"
	}
	return v
}

// command gives the program a command, and answers its result.
func (a *actor) command(verb string, args ...string) result {
	a.t.Helper()
	if a.cmd == nil {
		a.t.Fatalf("%s: the program of %s does not run", verb, a.name)
	}
	a.mu.Lock()
	a.results = nil
	a.mu.Unlock()
	if _, err := io.WriteString(a.in, verb+" "+strings.Join(args, " ")+"\n"); err != nil {
		a.t.Fatalf("%s: %v", a.name, err)
	}
	if !a.until(func() bool { return len(a.results) > 0 }) {
		a.t.Fatalf("%s: no result of %s %.100q; it heard %q", a.name, verb, args, a.heard)
	}
	r := a.results[0]
	if r.Result != verb {
		a.t.Fatalf("%s: the result of %s came after %s", a.name, r.Result, verb)
	}
	return r
}

// find is the JSON of the message of a number, as the device has it.
func (a *actor) find(peer, seq string) json.RawMessage {
	a.t.Helper()
	r := a.command("list", peer, fmt.Sprintf(`{"msg_getmsglist_param_last_msg_seq":%s,"msg_getmsglist_param_count":1}`, seq))
	if list := decode[[]json.RawMessage](a.t, string(r.JSON)); len(list) > 0 && fmt.Sprint(decode[message](a.t, string(list[0])).Seq) == seq {
		return list[0]
	}
	return json.RawMessage(fmt.Sprintf(`{"message_conv_id":%q,"message_conv_type":1,"message_seq":%s}`, peer, seq))
}

// do runs a step of a script and answers its result.
func (s *stage) do(verb string, args []string) string {
	s.t.Helper()
	switch verb {
	case "device":
		a := &actor{t: s.t, name: args[0], user: args[1], dir: s.t.TempDir(), ticket: s.server.Sig(args[1]), proxy: faultproxy.Start(s.t, s.server.URL),
			changed: make(chan struct{}), adding: map[string]bool{}}
		a.env = []string{"TIDINGS_SERVER=" + a.proxy.URL, "TIDINGS_PLATFORM=" + args[2]}
		s.devices[a.name] = a
		s.order = append(s.order, a.name)
		return ""
	case "restart":
		s.server.Restart()
		return ""
	case "admin":
		return s.admin.do(args[0], args[1:])
	case "hook":
		return s.admin.hook(args)
	}
	a := s.devices[args[0]]
	if a == nil {
		s.t.Fatalf("%s: there is no device %q", verb, args[0])
	}
	args = args[1:]
	login := func(ticket string) string {
		r := a.command("login", ticket)
		a.mu.Lock()
		a.loggedIn = r.Code == 0
		a.mu.Unlock()
		return r.String()
	}
	switch verb {
	case "login":
		a.start(s.program)
		return login(a.ticket)
	case "relogin": // with a new ticket; one of the second of a kick is void with those before it, so it may take another
		ctx, cancel := context.WithTimeout(s.t.Context(), patience)
		defer cancel()
		for ctx.Err() == nil {
			if r := login(s.server.Sig(a.user)); r != "code 70052" {
				return r
			}
		}
		return "no login in time"
	case "logout":
		r := a.command("logout")
		a.mu.Lock()
		a.loggedIn = false
		a.mu.Unlock()
		return r.String()
	case "ticket":
		n, _ := strconv.Atoi(args[0])
		a.ticket = s.server.SigFor(a.user, time.Duration(n)*time.Second)
		return ""
	case "expire", "cut", "offline", "online": // what is heard of it ends the step
		a.mu.Lock()
		switch verb {
		case "offline":
			a.offline = true
			a.proxy.Refuse(true)
		case "online":
			a.offline = false
			a.proxy.Refuse(false)
		}
		a.mu.Unlock()
		if verb == "cut" || verb == "offline" {
			a.proxy.Cut()
		}
		return ""
	case "close":
		a.end()
		return ""
	case "send", "sendonline":
		r := a.command(verb, args...)
		if r.Code != 0 {
			return r.String()
		}
		m := decode[message](s.t, string(r.JSON))
		return fmt.Sprintf("ok seq %d text %q", m.Seq, m.text())
	case "readto", "revoke", "delete":
		return a.command(verb, args[0], string(a.find(args[0], args[1]))).String()
	case "modify", "modifylate": // late: with the version before
		var m map[string]any
		d := json.NewDecoder(bytes.NewReader(a.find(args[0], args[1])))
		d.UseNumber()
		if err := d.Decode(&m); err != nil {
			s.t.Fatal(err)
		}
		if verb == "modifylate" {
			version, _ := strconv.Atoi(fmt.Sprint(m["message_version"]))
			m["message_version"] = version - 1
		}
		b, err := json.Marshal(m)
		if err != nil {
			s.t.Fatal(err)
		}
		r := a.command("modify", args[0], with(s.t, string(b), map[string]any{"message_elem_array": decode[map[string]any](s.t, textJSON(args[2]))["message_elem_array"]}))
		return fmt.Sprintf("%s text %q", r, decode[message](s.t, string(r.JSON)).text())
	case "list":
		r := a.command("list", args[0], "{}")
		out := r.String()
		for _, m := range decode[[]message](s.t, string(r.JSON)) {
			out += fmt.Sprintf(" %d:%q", m.Seq, m.text())
			if m.Status != 2 {
				out += fmt.Sprintf("(status %d)", m.Status)
			}
		}
		return out
	}
	return a.command(verb, args...).String()
}
