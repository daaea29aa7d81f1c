package pg

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
)

// gates are locks on users and conversations within this process. A writer takes the gates before the rows and releases them when its results are in
// the queue of the delivery goroutine: so results about one conversation are delivered in the order of the commits, and writers that wait for each
// other do so without holding a connection. Everybody takes them in the order of compareKeys, or gives up if one is held.
type gates struct {
	mu sync.Mutex
	// held has a key for each gate that is held, with those who wait for it.
	held map[chat.Key][]chan struct{}
}

// compareKeys: users by number, then conversations by number.
func compareKeys(a, b chat.Key) int {
	return cmp.Or(cmp.Compare(a.Conv, b.Conv), cmp.Compare(a.UID, b.UID))
}

// sorted returns keys in the order in which they are locked.
func sorted(keys []chat.Key) []chat.Key {
	out := make([]chat.Key, 0, len(keys))
	for _, k := range keys {
		if k.Conv != 0 {
			out = append(out, chat.Key{Conv: k.Conv})
		}
		if k.UID != 0 {
			out = append(out, chat.Key{UID: k.UID})
		}
	}
	slices.SortFunc(out, compareKeys)
	return slices.Compact(out)
}

// lock takes all keys, which are sorted, or none if ctx ends first.
func (g *gates) lock(ctx context.Context, keys []chat.Key) error {
	g.mu.Lock()
	for i, k := range keys {
		waiting, held := g.held[k]
		if !held {
			g.held[k] = nil
			continue
		}
		mine := make(chan struct{})
		g.held[k] = append(waiting, mine)
		g.mu.Unlock()
		select {
		case <-mine:
			g.mu.Lock()
		case <-ctx.Done():
			g.mu.Lock()
			got := keys[:i]
			if at := slices.Index(g.held[k], mine); at >= 0 {
				g.held[k] = slices.Delete(g.held[k], at, at+1)
			} else {
				got = keys[:i+1] // it was handed over just now
			}
			g.release(got)
			g.mu.Unlock()
			return ctx.Err()
		}
	}
	g.mu.Unlock()
	return nil
}

// some takes those of the keys, which are sorted, whose gates it gets within a total time.
func (g *gates) some(keys []chat.Key, within time.Duration) (got []chat.Key) {
	got = make([]chat.Key, 0, len(keys))
	var late <-chan time.Time // made when it has to wait
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, k := range keys {
		waiting, held := g.held[k]
		if !held {
			g.held[k] = nil
			got = append(got, k)
			continue
		}
		mine := make(chan struct{})
		g.held[k] = append(waiting, mine)
		if late == nil {
			late = time.After(within)
		}
		g.mu.Unlock()
		select {
		case <-mine:
		case <-late:
			closed := make(chan time.Time)
			close(closed)
			late = closed
		}
		g.mu.Lock()
		if at := slices.Index(g.held[k], mine); at >= 0 {
			g.held[k] = slices.Delete(g.held[k], at, at+1)
		} else {
			got = append(got, k) // it was handed over
		}
	}
	return got
}

// try takes a gate only if nobody holds it.
func (g *gates) try(k chat.Key) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, held := g.held[k]; held {
		return false
	}
	g.held[k] = nil
	return true
}

func (g *gates) unlock(keys []chat.Key) {
	g.mu.Lock()
	g.release(keys)
	g.mu.Unlock()
}

// release hands each gate to the one who has waited longest.
func (g *gates) release(keys []chat.Key) {
	for _, k := range keys {
		waiting := g.held[k]
		if len(waiting) == 0 {
			delete(g.held, k)
			continue
		}
		close(waiting[0])
		g.held[k] = waiting[1:]
	}
}
