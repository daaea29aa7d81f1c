package histcheck

import (
	"context"
	"strings"
	"testing"
)

// TestHistoryWithoutEnd abandons a history that waits, and shows that it says for what.
func TestHistoryWithoutEnd(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	r := &runner{t: t, ctx: ctx, h: &History{Seed: 7}, operator: &operator{Device: &Device{Name: "operator"}}}
	d := &device{Device: &Device{Name: "ann-0"}, queue: make(chan func(), 2)}
	r.devices = []*device{d}
	d.add(r.h, Record{Run: 1, Kind: Calling, Call: 1, Op: "login"}, Record{Run: 1, Kind: Returned, Call: 1, Op: "login"}, Record{Run: 1, Kind: Calling, Call: 2, Op: "send", Tag: "hello"})
	d.queue <- func() {}
	release := make(chan struct{})
	defer close(release)
	h := r.within(func() {
		r.at("operation %d: the server ends", 3)
		end()
		<-release
	})
	if h == r.h || len(h.Violations) != 1 {
		t.Fatalf("returned %v", h.Violations)
	}
	for _, want := range []string{"it does not end: operation 3: the server ends", "ann-0: 3 records, 1 operations queued", `waits for: @3 run 1.0 CALL     call=2 op=send`} {
		if !strings.Contains(h.Violations[0], want) {
			t.Errorf("no %q in %s", want, h.Violations[0])
		}
	}
	if strings.Contains(h.Violations[0], "waits for: @1") {
		t.Errorf("a call that was answered is said to wait: %s", h.Violations[0])
	}
	for _, check := range []func(*History) []string{Check, CheckGroups, CheckRelations} {
		if bad := check(h); len(bad) == 0 || bad[0] != h.Violations[0] {
			t.Errorf("the check of it found %v", bad)
		}
	}
}
