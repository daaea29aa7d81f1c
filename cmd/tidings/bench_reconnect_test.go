package main

import (
	"encoding/json"
	"testing"
	"time"
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
