package ctest

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/imtest"
)

// stateTable reads docs/c-states.md: results by function and state.
func stateTable(t *testing.T) map[string]map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "docs", "c-states.md"))
	if err != nil {
		t.Fatal(err)
	}
	table := map[string]map[string]string{}
	var states []string
	for l := range strings.SplitSeq(string(b), "\n") {
		if !strings.HasPrefix(l, "| ") {
			continue
		}
		cells := strings.Split(strings.Trim(l, "| "), " | ")
		if states == nil {
			states = cells
			continue
		}
		row := map[string]string{}
		for i, s := range states[1:] {
			row[s] = cells[i+1]
		}
		table[cells[0]] = row
	}
	return table
}

// gate is a proxy in front of a server that can stop forwarding what the server sends.
type gate struct {
	net.Listener
	mu     sync.Mutex
	closed sync.Cond
	stall  bool
}

func newGate(t *testing.T, server string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Listener: l}
	g.closed.L = &g.mu
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			if server == "" {
				t.Cleanup(func() { in.Close() })
				continue // accepts connections and never sends a word
			}
			out, err := net.Dial("tcp", strings.TrimPrefix(server, "ws://"))
			if err != nil {
				in.Close()
				continue
			}
			go func() {
				io.Copy(out, in)
				out.Close()
			}()
			go func() {
				buf := make([]byte, 32<<10)
				for {
					n, err := out.Read(buf)
					g.mu.Lock()
					for g.stall {
						g.closed.Wait()
					}
					g.mu.Unlock()
					if n > 0 {
						in.Write(buf[:n])
					}
					if err != nil {
						in.Close()
						return
					}
				}
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		g.set(false)
	})
	return g
}

func (g *gate) url() string { return "ws://" + g.Addr().String() }

// set stops or opens the gate.
func (g *gate) set(stall bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stall = stall
	g.closed.Broadcast()
}

// stand is a state in which a program calls functions, and how to reach it. A state of the table may be reached in two ways.
type stand struct {
	name, state string
	prepare     func(t *testing.T) *driver
}

// stands returns all of them, with ann's ticket and a server where bob exists.
func stands(s *imtest.Server, ticket string) []stand {
	loggedIn := func(t *testing.T, url string) *driver {
		d := start(t, "TIDINGS_SERVER="+url)
		d.call("TIMInit", 1400000000, null)
		d.must("TIMLogin", "ann", ticket, on)
		return d
	}
	return []stand{
		{"uninit", "uninit", func(t *testing.T) *driver { return start(t) }},
		{"after uninit", "uninit", func(t *testing.T) *driver {
			d := loggedIn(t, s.URL)
			d.call("TIMUninit")
			return d
		}},
		{"inited", "inited", func(t *testing.T) *driver {
			d := start(t, "TIDINGS_SERVER="+newGate(t, "").url())
			d.call("TIMInit", 1400000000, null)
			return d
		}},
		{"logged out", "inited", func(t *testing.T) *driver {
			d := loggedIn(t, s.URL)
			d.must("TIMLogout", on)
			return d
		}},
		{"logging in", "logging in", func(t *testing.T) *driver {
			d := start(t, "TIDINGS_SERVER="+newGate(t, "").url())
			d.call("TIMInit", 1400000000, null)
			d.call("TIMLogin", "ann", ticket, on)
			return d
		}},
		{"in", "in", func(t *testing.T) *driver {
			d := loggedIn(t, s.URL)
			d.must("TIMMsgSendMessage", "bob", 1, textJSON("there is a conversation"), on, on)
			d.must("TIMFriendshipAddFriend", `{"friendship_add_friend_param_identifier":"bob"}`, on)
			d.must("TIMGroupCreate", `{"create_group_param_group_id":"ops","create_group_param_group_name":"Ops","create_group_param_approve_option":2,
				"create_group_param_group_member_array":[{"group_member_info_identifier":"bob"}]}`, on)
			return d
		}},
		{"logging out", "logging out", func(t *testing.T) *driver {
			g := newGate(t, s.URL)
			d := loggedIn(t, g.url())
			g.set(true)
			d.call("TIMLogout", on)
			return d
		}},
	}
}

// Every function in every state returns what docs/c-states.md says; and no built function returns "not implemented".
func TestStates(t *testing.T) {
	table := stateTable(t)
	funcs, _ := prototypes(t)
	if len(table) != len(funcs) {
		t.Fatalf("the table has %d functions, there are %d", len(table), len(funcs))
	}
	s := imtest.Start(t)
	s.Dial("bob", noEvents)
	ticket := s.Sig("ann")

	for _, at := range stands(s, ticket) {
		t.Run(at.name, func(t *testing.T) {
			d, state := at.prepare(t), at.state
			// Those that change the state come last.
			var last []prototype
			var begin, end prototype
			for _, p := range funcs {
				switch p.name {
				case "TIMUninit":
					end = p
				case "TIMLogout":
					last = append(last, p)
				case "TIMInit":
					if state == "uninit" {
						begin = p
						continue
					}
					walk(t, d, p, table[p.name][state], ticket)
				case "TIMLogin":
					if state == "inited" {
						last = append(last, p)
						continue
					}
					walk(t, d, p, table[p.name][state], ticket)
				case "callExperimentalAPI", "TIMConvDelete", "TIMFriendshipDeleteFriendGroup", "TIMGroupDelete":
					last = append([]prototype{p}, last...) // sets another server; removes what others name
				default:
					walk(t, d, p, table[p.name][state], ticket)
				}
			}
			for _, p := range append(last, begin, end) {
				if p.name == "" {
					continue
				}
				switch {
				case p.name == "TIMLogin":
					// A real login: another program, so that the state of this one stays.
					e := start(t, "TIDINGS_SERVER="+s.URL)
					e.call("TIMInit", 1400000000, null)
					walk(t, e, p, table[p.name][state], ticket)
					e.quit()
				default:
					walk(t, d, p, table[p.name][state], ticket)
				}
			}
			d.quit()
		})
	}
}

func walk(t *testing.T, d *driver, p prototype, want, ticket string) {
	t.Helper()
	result, text, id := d.callID(p.name, samples(p, "ann", ticket)...)
	got := itoa(result)
	desc := ""
	switch {
	case p.ret == "void":
		got = "-"
	case p.ret == "const char*":
		if text != "" {
			got = "version"
		}
	case p.ret == "uint64_t":
		if result > 1e9 {
			got = "time"
		}
	case p.paged() && result == 0:
		l := d.wait(0, "the callback of "+p.name, func(x line) bool { return strings.HasPrefix(x.kind, "TIMMsgGroup") && x.num(3) == id })
		got += ", " + l.fields[0]
		if l.num(1) != 0 || l.num(2) != 1 {
			t.Errorf("%s: there is more to come: %s", p.name, l)
		}
	case strings.Contains(p.params0(), "TIMCommCallback") && result == 0:
		var l line
		d.wait(0, "the callback of "+p.name, func(x line) bool {
			if x.kind == "TIMCommCallback" && x.num(3) == id {
				l = x
			}
			return l.kind != "" && (p.name != "TIMMsgSendNewMsgEx" || !strings.HasPrefix(l.fields[1], "ok"))
		})
		got += ", " + l.fields[0]
		desc = l.fields[1]
	}
	if result == 0 && text == unwritten {
		t.Errorf("%s returns 0 and leaves the buffer as it was", p.name)
	}
	if got != want {
		t.Errorf("%s answers %s (%s), the table says %s", p.name, got, desc, want)
	}
	if strings.Contains(desc, "not implemented") == p.built && strings.Contains(desc, "not implemented") {
		t.Errorf("%s is said to be built and answers %q", p.name, desc)
	}
}

// The coverage table agrees with the table of functions.
func TestCoverage(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "docs", "reference", "coverage.md"))
	if err != nil {
		t.Fatal(err)
	}
	funcs, callbacks := prototypes(t)
	for _, p := range append(funcs, callbacks...) {
		found := false
		for l := range strings.SplitSeq(string(b), "\n") {
			if !strings.HasPrefix(l, "| ["+p.name+"]") {
				continue
			}
			found = true
			if strings.HasSuffix(l, "| yes |") != p.built {
				t.Errorf("%s is built: %v, and the page says %q", p.name, p.built, l)
			}
		}
		if !found {
			t.Errorf("coverage.md has no line for %s", p.name)
		}
	}
}
