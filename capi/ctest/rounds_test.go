package ctest

import (
	"testing"

	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// 80 cycles, or 200 in the long form, of TIMInit and TIMUninit in one process leave nothing behind: threads, handles and memory stay constant.
func TestRounds(t *testing.T) {
	rounds := soak.Pick(40, 200)
	s := imtest.Start(t)
	d := newDevice(t, s, "ann", "")
	round := func(i int) {
		if i > 0 {
			d.init()
		}
		d.login()
		d.say("ann", "to myself")
		d.must("TIMLogout", on)
		if r, _ := d.call("TIMUninit"); r != 0 {
			t.Fatalf("TIMUninit: %d", r)
		}
	}
	stats := func() (threads, handles, memory int) {
		at := d.position()
		d.send("stats")
		l := d.wait(at, "the numbers", func(l line) bool { return l.kind == "stats" })
		return l.num(0), l.num(1), l.num(2)
	}
	for i := range rounds / 4 {
		round(i)
	}
	threads, handles, memory := stats()
	for i := range rounds - rounds/4 {
		round(i + rounds/4)
	}
	threads2, handles2, memory2 := stats()
	t.Logf("after %d rounds: %d threads, %d handles, %.1f MB; after %d: %d, %d, %.1f MB",
		rounds/4, threads, handles, float64(memory)/1e6, rounds, threads2, handles2, float64(memory2)/1e6)
	// Go keeps a thread that it once needed.
	if threads2 > threads+3 || handles2 > handles+1 || memory2 > memory+memory/2+8<<20 {
		t.Errorf("not flat")
	}
	d.quit()
}
