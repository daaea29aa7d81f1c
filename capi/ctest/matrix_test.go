package ctest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/faultproxy"
	"github.com/tidings-im/tidings/internal/testing/scenario"
)

// scenarios are those that package client runs through the Go SDK: the rows of docs/events.md.
const scenarios = "client/testdata/scenarios/*.txtar"

// TestMatrix runs the scenarios of the event matrix through C: each device is a process of examples/c/device.c, which gets what its callbacks get,
// and the transcript must be the one in the file, word for word. It is normalized as in package client, for the same reasons:
//
//   - In JSON, keys at their defaults are left out and values that differ from run to run are "*".
//   - A conversation is ignored while its last message is being sent: whether that state is seen depends on how fast the server answers.
//   - Of the attempts to reconnect, only the one that succeeds counts.
//   - Everything of the user "probe" is left out.
//   - Updates of different conversations that follow each other are one line, with the last total.
//
// And for one reason of its own: at most one receipt fires per second (package client's scenarios set no such limit), so one may come after the event
// of its conversation. It is moved before it.
//
// A step ends when each device has got as much as the file says, and then a message of the probe that was sent after that. What fires beyond that is
// in this step or in the next one, and at the end in what arrives until the programs have ended: it is never lost.
func TestMatrix(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, scenarios))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	program := compile(t, "device", filepath.Join(root, "examples/c/device.c"))
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) {
			t.Parallel()
			_, parts, err := scenario.Parts(f)
			if err != nil {
				t.Fatal(err)
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
	admin   *scenario.Operator
	order   []string
	devices map[string]*actor
	probe   *client.Client
	linked  chan struct{} // the probe's connection is there
	probes  int
}

func newStage(t *testing.T, program string) *stage {
	s := &stage{t: t, program: program, devices: map[string]*actor{}, linked: make(chan struct{}, 1)}
	s.admin = scenario.Start(t, s.key)
	s.server = s.admin.Server
	cfg := client.Config{Server: s.server.URL, UserID: scenario.Probe, UserSig: s.server.Sig(scenario.Probe), Dir: t.TempDir(), Platform: im.Platform_PLATFORM_LINUX,
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

// run runs the script, whose steps are in the expected transcript, and returns what the devices got.
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
		words := scenario.Split(script)
		fmt.Fprintf(&out, "> %s\n", script)
		if r := s.do(words[0], words[1:]); r != "" {
			fmt.Fprintf(&out, "  %s\n", r)
		}
		for _, name := range s.order {
			a := s.devices[name]
			a.until(func() bool { return len(a.ear.Heard) >= expected[name] })
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
			for _, h := range scenario.Join(a.ear.Heard) {
				fmt.Fprintf(&out, "%s %s\n", name, h)
			}
			a.ear.Heard = nil
			a.mu.Unlock()
		}
	}
	return out.String()
}

// key returns the key of message 1 between two people, made from what a device of the sender has.
func (s *stage) key(from, to string) string {
	for _, name := range s.order {
		if a := s.devices[name]; a.user == from && a.cmd != nil {
			var m struct {
				Seq  uint64 `json:"message_seq"`
				Rand uint64 `json:"message_rand"`
				Time uint64 `json:"message_server_time"`
			}
			if err := json.Unmarshal(a.find(to, "1"), &m); err != nil {
				s.t.Fatal(err)
			}
			return fmt.Sprintf("%d_%d_%d", m.Seq, m.Rand, m.Time)
		}
	}
	return ""
}

// settle sends a message of the probe to all who are online, and waits until their devices have got it.
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
			if im.CodeOf(err) != im.CodeDisconnected {
				s.t.Fatalf("probe: %v", err)
			}
			<-s.linked // the server has just been started again
		}
	}
	for _, name := range s.order {
		a := s.devices[name]
		if !a.until(func() bool { return a.ear.Probed == mark || !a.loggedIn || a.offline }) {
			s.t.Fatalf("%s did not hear %q; it heard %q", name, mark, a.ear.Heard)
		}
	}
}

// do runs a step of a script and returns its result.
func (s *stage) do(verb string, args []string) string {
	s.t.Helper()
	switch verb {
	case "device":
		a := &actor{t: s.t, name: args[0], user: args[1], dir: s.t.TempDir(), ticket: s.server.Sig(args[1]), proxy: faultproxy.Start(s.t, s.server.URL),
			changed: make(chan struct{})}
		a.env = []string{"TIDINGS_SERVER=" + a.proxy.URL, "TIDINGS_PLATFORM=" + args[2]}
		s.devices[a.name] = a
		s.order = append(s.order, a.name)
		return ""
	case "restart":
		s.server.Restart()
		return ""
	case "admin":
		return s.admin.Do(args[0], args[1:])
	case "hook":
		s.admin.Hook(args)
		return ""
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
	case "relogin": // with a new ticket; one from the second of a kick is void, like those before it, so it may take another
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
	case "expire", "cut", "offline", "online": // its event ends the step
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
	case "sendfile": // of a content; "" is no file
		r := a.command(verb, args[0], scenario.File(s.t, args[1]))
		if r.Code != 0 {
			return r.String()
		}
		return fmt.Sprintf("ok seq %d", decode[message](s.t, string(r.JSON)).Seq)
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
