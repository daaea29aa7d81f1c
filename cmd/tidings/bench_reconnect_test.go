package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// TestBenchReconnect: after a kill -9 and a restart of the server all clients log in again. `tidings bench reconnect` gives the figure for many.
func TestBenchReconnect(t *testing.T) {
	out, err := program("bench", "reconnect", "--clients", "200", "--dir", t.TempDir()).Output()
	var r reconnectResult
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil || r.Clients != 200 || r.Tries < 200 || r.AllInSeconds <= 0 {
		t.Errorf("%s: %v", out, err)
	}
}

// TestBenchIdle: silent clients stay logged in by their heartbeats, reconnect after a restart, and memory is reported for both. `tidings bench idle`
// measures what a connection takes when there are many.
func TestBenchIdle(t *testing.T) {
	idle := program("bench", "idle", "--clients", "200", "--settle", "3s", "--most", "0", "--json", "--dir", t.TempDir())
	idle.Env = append(idle.Env, "TIDINGS_HEARTBEAT=1s")
	out, err := idle.Output()
	var r idleResult
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil || r.Connections != 200 || r.RSSEmpty <= 0 || r.RSS <= 0 || r.RSSBack <= 0 || r.PerConnection != (r.RSS-r.RSSEmpty)/200 || r.Heartbeats < 200 {
		t.Errorf("%s: %v", out, err)
	}
}

// TestBenchRelations: all adds, requests and changes of a nick name come to their end, and nobody misses or gets twice an entry of their feed.
func TestBenchRelations(t *testing.T) {
	for _, more := range [][]string{nil, {"--postgres", pgtest.DSN(t)}} {
		out, err := program(append([]string{"bench", "relations", "--users", "20", "--each", "3", "--friends", "60", "--changes", "2", "--json", "--dir", t.TempDir()}, more...)...).Output()
		var r relationsResult
		if err == nil {
			err = json.Unmarshal(out, &r)
		}
		if err != nil || r.OneWay.N != 60 || r.TwoWay.N != 60 || r.Requests.N != 60 || r.Nick.N != 120 || r.Requests.P50 <= 0 || r.Nick.P99 < r.Nick.P50 || r.NickAll < r.Nick.P99 || r.Lost+r.Doubled > 0 {
			t.Errorf("%s: %v", out, err)
		}
	}
	for _, args := range [][]string{{"--users", "80"}, {"--each", "0"}, {"--friends", "0"}, {"--changes", "-1"}} {
		out, err := program(append([]string{"bench", "relations"}, args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "more than four times each") {
			t.Errorf("%v: %v, %s", args, err, out)
		}
	}
}

// TestBenchGroup: all members who are connected get what one of them writes, once and in order, and others are measured before and meanwhile; at a rate, and as fast as
// a window allows.
func TestBenchGroup(t *testing.T) {
	for _, more := range [][]string{{"--rate", "100", "--c2c-rate", "50"}, {"--rate", "0", "--window", "8", "--postgres", pgtest.DSN(t)}} {
		args := append([]string{"bench", "group", "--members", "130", "--online", "20", "--pairs", "2", "--seconds", "1", "--json", "--dir", t.TempDir(), "--idle=false"}, more...)
		out, err := measureGroup(t, args)
		var r groupResult
		if err == nil {
			err = json.Unmarshal(out, &r)
		}
		if err != nil || r.Members != 130 || r.Online != 20 || r.MsgsPerS <= 0 || r.Deliveries < r.MsgsPerS || r.P99 < r.P50 || r.P50 <= 0 || r.OthersAloneP50 <= 0 || r.OthersAlone < r.OthersAloneP50 ||
			r.OthersP50 <= 0 || r.Others < r.OthersP50 || r.OthersRatio <= 0 || (r.Rate > 0) == (r.Window > 0) || r.CPUPer1000 < 0 || r.RSS <= 0 || r.Lost+r.Doubled+r.OutOfOrder > 0 || r.How == "" {
			t.Errorf("%s: %v", out, err)
		}
	}
	for _, args := range [][]string{{"--online", "0"}, {"--members", "100001"}, {"--members", "10"}, {"--pairs", "0"}, {"--window", "0"}, {"--size", "1"}, {"--rate", "-1"}, {"--c2c-rate", "0"}, {"--restart"}} {
		out, err := program(append([]string{"bench", "group"}, args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "online is 2 to members") {
			t.Errorf("%v: %v, %s", args, err, out)
		}
	}
}

// measureGroup runs the program, once more if it ended without a result, as it may on a machine that is busy with other tests; the log says why. What was lost, doubled
// or out of order fails at once.
func measureGroup(t *testing.T, args []string) (out []byte, err error) {
	t.Helper()
	for range 2 {
		var exit *exec.ExitError
		if out, err = program(args...).Output(); !errors.As(err, &exit) {
			return out, err
		}
		if err = fmt.Errorf("%w: %s", err, exit.Stderr); strings.Contains(err.Error(), "lost, doubled or out of order") {
			return out, err
		}
		t.Log(err)
	}
	return out, err
}

// TestLiveRoomOfMany: more is said in a live room of many members than it lets through. Of a higher priority less is refused than of a lower one, and nothing of the
// highest; whoever's message is refused gets 10023; members lose nothing of the highest, unless they lose something of the next one. The server's memory does not grow,
// and after it was killed and started again all members are back in the room.
func TestLiveRoomOfMany(t *testing.T) {
	args := []string{"bench", "group", "--room", "--restart", "--json", "--dir", t.TempDir(), "--rate", "100", "--online", soak.Pick("200", "2000"), "--seconds", soak.Pick("1", "60")}
	out, err := program(args...).Output()
	var r roomResult
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	t.Logf("%s", out)
	var said [priorities]int64
	for p := range said {
		said[p] = r.Sent[p] - r.Refused[p]
	}
	if said[0] < said[1] || said[1] < said[2] || said[1] < said[3] || r.Refused[0] > 0 && said[2]+said[3] > 50 || r.Refused[2]+r.Refused[3] <= r.Refused[0]+r.Refused[1] {
		t.Errorf("by priority, the highest first, %d were said and %d refused", said, r.Refused)
	}
	if r.Lost[0] > 0 && r.Lost[1] == 0 || r.Disordered > 0 || r.Deliveries <= 0 || r.P50 <= 0 || r.P99 < r.P50 {
		t.Errorf("%s", out)
	}
	if r.BackIn <= 0 || r.RSSBegin <= 0 || soak.On() && (r.BackIn > 10 || r.RSS > 1.25*r.RSSTenth+16) {
		t.Errorf("back in %v s; the server's memory was %v MB, after a tenth of the time %v, and is %v at the end", r.BackIn, r.RSSBegin, r.RSSTenth, r.RSS)
	}
	for _, args := range [][]string{{"--online", "4"}, {"--rate", "0"}, {"--size", "1"}, {"--seconds", "0"}} {
		out, err := program(append([]string{"bench", "group", "--room"}, args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "more than 4 are online") {
			t.Errorf("%v: %v, %s", args, err, out)
		}
	}
}

// TestLean: memory is returned after a burst, when hardly anything is allocated any more, and not while the server is busy; again after a few
// allocations, because what was alive during the burst may be garbage; and never so often that it takes more than a hundredth of the time.
func TestLean(t *testing.T) {
	const mb = 1 << 20
	var rule leanRule
	total := uint64(0)
	for i, look := range []struct {
		allocated, live uint64
		took            time.Duration // if it is due
		want            bool
	}{
		{10 * mb, 5 * mb, 0, false},    // it starts
		{200 * mb, 50 * mb, 0, false},  // a burst
		{200 * mb, 100 * mb, 0, false}, // continues
		{20 * mb, 100 * mb, 0, true},   // and is nearly over
		{3 * mb, 90 * mb, 0, true},     // what it held becomes garbage only here
		{mb / 2, 40 * mb, 0, false},    // nothing worth mentioning was allocated since
		{mb / 2, 20 * mb, 0, true},     // little by little it is enough
		{500 * mb, 60 * mb, 0, false},  // busy
		{500 * mb, 400 * mb, 0, false}, // busy, with a large heap
		{90 * mb, 400 * mb, 300 * time.Millisecond, true},
		{20 * mb, 400 * mb, 0, false}, // it took long
		{20 * mb, 400 * mb, 0, false},
		{20 * mb, 400 * mb, 0, true},
		{0, 5 * mb, 0, false},
	} {
		total += look.allocated
		got := rule.due(total, look.live, 10*time.Second)
		if got != look.want {
			t.Errorf("look %d: %v, want %v", i, got, look.want)
		}
		if got {
			rule.gave(look.took)
		}
	}
}
