package ctest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/internal/testing/faultproxy"
	"github.com/tidings-im/tidings/internal/testing/scenario"
)

// actor is a device, with what it got in this step.
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
	changed  chan struct{} // closed and replaced when something arrived
	ear      scenario.Ear
	results  []result
	loggedIn bool
	offline  bool // as the script says
}

// result is the result of a command.
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

func (a *actor) online() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.loggedIn && !a.offline
}

// start starts the program, unless it is running.
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

// end ends the program as its user would, and waits for that.
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

// until waits for a fact about what the device has reported, and reports whether it came true.
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

// hear handles a line of the program.
func (a *actor) hear(l []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var e struct {
		Event  string
		Number int
		JSON   json.RawMessage
	}
	if err := json.Unmarshal(l, &e); err != nil {
		a.ear.Heard = append(a.ear.Heard, fmt.Sprintf("unreadable: %v: %s", err, l))
	}
	if string(e.JSON) == "null" {
		e.JSON = nil
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

func (a *actor) event(name string, n int, data json.RawMessage) {
	typ := ""
	switch name {
	case "conversation":
		typ = word(client.ConvEvent(n))
	case "total_unread":
		data = json.RawMessage(strconv.Itoa(n))
	case "network":
		data = json.RawMessage(fmt.Sprintf(`{"status":%q,"code":%d}`, word(client.NetworkStatus(n)), len(data)))
	case "kicked_offline", "user_sig_expired":
		a.loggedIn = false
	}
	if a.ear.Hear(name, typ, string(data)); name != "receipt" {
		return
	}
	heard := a.ear.Heard
	if last := len(heard) - 1; last > 0 && strings.HasPrefix(heard[last-1], "conversation update ") {
		heard[last-1], heard[last] = heard[last], heard[last-1]
	}
}

// word returns the name of an enum's value in JSON.
func word(v fmt.Stringer) string { return strings.ReplaceAll(v.String(), " ", "_") }

// command gives the program a command, and returns its result.
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
		a.t.Fatalf("%s: no result of %s %.100q; it heard %q", a.name, verb, args, a.ear.Heard)
	}
	r := a.results[0]
	if r.Result != verb {
		a.t.Fatalf("%s: the result of %s came after %s", a.name, r.Result, verb)
	}
	return r
}

// find returns the JSON of the message with a number, as the device has it.
func (a *actor) find(peer, seq string) json.RawMessage {
	a.t.Helper()
	r := a.command("list", peer, fmt.Sprintf(`{"msg_getmsglist_param_last_msg_seq":%s,"msg_getmsglist_param_count":1}`, seq))
	if list := decode[[]json.RawMessage](a.t, string(r.JSON)); len(list) > 0 && fmt.Sprint(decode[message](a.t, string(list[0])).Seq) == seq {
		return list[0]
	}
	return json.RawMessage(fmt.Sprintf(`{"message_conv_id":%q,"message_conv_type":1,"message_seq":%s}`, peer, seq))
}
