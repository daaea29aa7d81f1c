package soak

import "testing"

func TestPick(t *testing.T) {
	for value, want := range map[string]string{"": "short", "0": "short", "1": "long"} {
		t.Setenv("TIDINGS_SOAK", value)
		if got := Pick("short", "long"); got != want {
			t.Errorf("TIDINGS_SOAK=%q: the %s form", value, got)
		}
	}
}
