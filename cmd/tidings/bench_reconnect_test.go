package main

import (
	"encoding/json"
	"testing"
)

// TestBenchReconnect: after a kill -9 and a restart of the server all clients are in again. The figure for many is for `tidings bench reconnect`.
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

// TestBenchIdle: silent clients stay logged in by their heartbeats, come back after a restart, and memory is told for both. What a connection takes when there
// are many is for `tidings bench idle`.
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

// TestLean: memory is given back once after a burst, when hardly anything is allocated any more, and not while the server is busy.
func TestLean(t *testing.T) {
	const mb = 1 << 20
	var rule leanRule
	total := uint64(0)
	for i, look := range []struct {
		allocated, live uint64
		want            bool
	}{
		{10 * mb, 5 * mb, false},    // it starts
		{200 * mb, 50 * mb, false},  // a burst
		{200 * mb, 100 * mb, false}, // goes on
		{3 * mb, 100 * mb, true},    // and is over
		{3 * mb, 60 * mb, false},    // nothing to speak of has come since
		{3 * mb, 60 * mb, false},
		{10 * mb, 60 * mb, true},    // little by little there is enough
		{500 * mb, 60 * mb, false},  // busy
		{500 * mb, 400 * mb, false}, // busy with much
		{90 * mb, 400 * mb, true},   // a lot, and little beside what is alive
		{0, 5 * mb, false},
	} {
		total += look.allocated
		if got := rule.due(total, look.live); got != look.want {
			t.Errorf("look %d: %v, want %v", i, got, look.want)
		}
	}
}
