package client_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/faultproxy"
	"github.com/tidings-im/tidings/internal/testing/scenario"
)

var update = flag.Bool("update", false, "write what the scenarios show into their files")

// scenarioFiles are the files of all scenarios; those of groups have a folder of their own.
func scenarioFiles(t *testing.T) []string {
	files, err := filepath.Glob("testdata/scenarios/*.txtar")
	groups, err2 := filepath.Glob("testdata/scenarios/groups/*.txtar")
	if err != nil || err2 != nil || len(files) == 0 || len(groups) == 0 {
		t.Fatalf("no scenarios: %v, %v", err, err2)
	}
	return append(files, groups...)
}

// TestScenarios runs testdata/scenarios: the rows of docs/events.md. A file has a script and, in "want", everything that each step causes to
// fire on each device, in order, with its JSON: nothing else may fire. Keys at their defaults are left out of the JSON, and values that differ from
// run to run are "*".
//
// A step ends when nothing is under way any more: every device that is logged in has got a message of the user "probe" sent after the step, and has
// nothing open.
func TestScenarios(t *testing.T) {
	for _, f := range scenarioFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) {
			t.Parallel()
			a, parts, err := scenario.Parts(f)
			if err != nil {
				t.Fatal(err)
			}
			s := newStage(t)
			got := s.run(parts["script"])
			if *update {
				out := &txtar.Archive{Comment: a.Comment, Files: []txtar.File{{Name: "script", Data: []byte(parts["script"])}, {Name: "want", Data: []byte(got)}}}
				if err := os.WriteFile(f, txtar.Format(out), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != parts["want"] {
				t.Fatalf("fired:\n%s\nwant:\n%s", got, parts["want"])
			}
		})
	}
}

// stage is a server, its operator, and the devices of a scenario.
type stage struct {
	t       *testing.T
	server  *imtest.Server
	admin   *scenario.Operator
	order   []string
	devices map[string]*actor
	probe   *device
	probes  int
}

// actor is a device of a scenario with what it got in this step.
type actor struct {
	name  string
	cfg   client.Config
	proxy *faultproxy.Proxy
	c     *client.Client

	mu     sync.Mutex
	ear    scenario.Ear
	probed chan string
	news   chan struct{} // something arrived
	online bool          // logged in as far as the script knows
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, devices: map[string]*actor{}}
	s.admin = scenario.Start(t, s.key)
	s.server = s.admin.Server
	s.probe = dial(t, config(t, s.server, scenario.Probe))
	return s
}

// key returns the key of message 1 between two people, made from what a device of the sender has.
func (s *stage) key(from, to string) string {
	for _, name := range s.order {
		if a := s.devices[name]; a.cfg.UserID == from && a.c != nil {
			m := s.find(a, to, "1")
			return fmt.Sprintf("%d_%d_%d", m.Seq, m.Rand, m.ServerTime)
		}
	}
	return ""
}

func (s *stage) run(script string) string {
	var out strings.Builder
	for _, line := range strings.Split(script, "\n") {
		words := scenario.Split(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		fmt.Fprintf(&out, "> %s\n", line)
		if r := s.do(words[0], words[1:]); r != "" {
			fmt.Fprintf(&out, "  %s\n", r)
		}
		s.settle()
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

// settle waits until what the step began has ended.
func (s *stage) settle() {
	s.t.Helper()
	for range 2 { // the first round may have made something new fire
		s.probes++
		mark := fmt.Sprint("probe ", s.probes)
		users := map[string]bool{}
		for _, a := range s.devices {
			if a.online && a.c.Status() == client.LoggedIn {
				users[a.cfg.UserID] = true
			}
		}
		for _, u := range slices.Sorted(maps.Keys(users)) {
			m := textMessage(mark)
			m.IsExcludedFromUnreadCount = true
			if _, err := s.probe.SendMessage(within(s.t), client.C2C(u), m); err != nil {
				s.t.Fatalf("probe: %v", err)
			}
		}
		ctx := within(s.t)
		for _, name := range s.order {
			a := s.devices[name]
			if a.c == nil {
				continue
			}
			for a.online && a.c.Status() == client.LoggedIn {
				select {
				case p := <-a.probed:
					if p != mark {
						continue
					}
				case <-a.news: // it may have been kicked
					continue
				case <-ctx.Done():
					q, r := a.c.Beat()
					s.t.Fatalf("%s did not hear %q; %d pushes queued, %d received", name, mark, q, r)
				}
				break
			}
			a.c.WaitQuiet()
		}
	}
}

// event takes a callback.
func (a *actor) event(e client.Event) {
	a.mu.Lock()
	probed := a.ear.Hear(e.Name, e.Type, e.Data())
	text := a.ear.Probed
	a.mu.Unlock()
	if probed {
		a.probed <- text
	}
	select {
	case a.news <- struct{}{}:
	default:
	}
}

// outcome returns a call's result in the form of a transcript.
func outcome(err error) string {
	switch code := im.CodeOf(err); {
	case err == nil:
		return "ok"
	case code != 0:
		return fmt.Sprint("code ", code)
	}
	return err.Error()
}

// TestEventMatrix compares docs/events.md with the scenarios: each scenario is in a row, and each row has one.
func TestEventMatrix(t *testing.T) {
	doc, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, f := range scenarioFiles(t) {
		have[strings.TrimSuffix(filepath.Base(f), ".txtar")] = true
	}
	for _, line := range strings.Split(string(doc), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) == 7 && strings.Contains(cells[5], "`group-") { // a row of groups
			cells = slices.Insert(cells, 1, "")
		}
		if len(cells) != 8 || strings.HasPrefix(strings.TrimSpace(cells[1]), "-") || strings.TrimSpace(cells[1]) == "change" {
			continue
		}
		names := strings.Fields(strings.ReplaceAll(cells[6], "`", ""))
		if len(names) == 0 {
			t.Errorf("no scenario in row %q", cells[1])
		}
		for _, n := range names {
			if _, ok := have[n]; !ok {
				t.Errorf("row %q names scenario %q, which does not exist", cells[1], n)
			}
			have[n] = false
		}
	}
	for n, unnamed := range have {
		if unnamed {
			t.Errorf("scenario %q stands in no row", n)
		}
	}
}
