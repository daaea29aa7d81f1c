package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go collects garbage when as much has been allocated as was alive, or after two minutes, and keeps most of the memory that this frees. So after a
// burst, such as the logins of all clients after a restart, a quiet server would keep twice what the connections need, and stacks as deep as a login.
const (
	leanEvery = 10 * time.Second
	// leanLeast is how much must have been allocated since the last time: less is not worth a collection.
	leanLeast = 1 << 20
	// leanShare is the part of the time that may be spent on it: one hundredth.
	leanShare = 100
)

// leanRule decides when memory is returned: when a little was allocated since the last time, and so little lately that no collection will happen by
// itself soon. A little is enough because a collection during a burst finds alive what is garbage right after it. A busy server is left alone.
type leanRule struct {
	seen, done uint64        // bytes allocated at the last check, and when memory was last returned
	pause      time.Duration // until it may be returned again
}

// due takes the bytes that were ever allocated, those that the last collection found alive, and the time since the last check.
func (r *leanRule) due(allocated, live uint64, passed time.Duration) bool {
	lately, since := allocated-r.seen, allocated-r.done
	r.seen = allocated
	r.pause = max(r.pause-passed, 0)
	return lately <= max(live/4, 4*leanLeast) && since >= max(live/32, leanLeast) && r.pause == 0
}

// gave records that memory was returned, and how long that took.
func (r *leanRule) gave(took time.Duration) { r.done, r.pause = r.seen, leanShare*took }

// stayLean returns memory to the system when a burst is over, until ctx ends.
func stayLean(ctx context.Context) {
	figures := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(leanEvery)
	defer tick.Stop()
	var rule leanRule
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(figures)
		if rule.due(figures[0].Value.Uint64(), figures[1].Value.Uint64(), leanEvery) {
			begin := time.Now()
			debug.FreeOSMemory()
			rule.gave(time.Since(begin))
		}
	}
}
