package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go collects garbage when as much has been allocated as was alive, or after two minutes, and keeps most of the memory that this frees. So a burst, such as the
// logins of all clients after a restart, would leave twice what the connections need, and stacks as deep as a login, for as long as the server is quiet.
const (
	leanEvery = 10 * time.Second
	// leanLeast is how much must have been allocated since the last time: less is not worth looking for.
	leanLeast = 4 << 20
)

// leanRule decides when memory is given back: when there may be as much garbage as an eighth of what is alive, and so little is allocated that no collection
// will come by itself soon. A server that is busy is left alone, and in a quiet one a collection every ten seconds at most is no work.
type leanRule struct {
	seen, done uint64 // bytes allocated at the last look, and when memory was given back last
}

// due takes the bytes that were ever allocated and those that the last collection found alive.
func (r *leanRule) due(allocated, live uint64) bool {
	lately, since := allocated-r.seen, allocated-r.done
	r.seen = allocated
	if lately > max(live/4, leanLeast) || since < max(live/8, leanLeast) {
		return false
	}
	r.done = allocated
	return true
}

// stayLean gives memory back to the system when a burst is over, until ctx ends.
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
		if rule.due(figures[0].Value.Uint64(), figures[1].Value.Uint64()) {
			debug.FreeOSMemory()
		}
	}
}
