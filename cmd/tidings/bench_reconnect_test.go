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
