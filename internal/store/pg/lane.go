package pg

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
)

// A batch takes only rows that nobody holds. What it does not get goes, with everything that follows in the conversation, to a lane: a writer like
// the others, which waits for its rows a little while, and passes on what it still does not get to a second one, which waits for one conversation at
// a time. So a server that hangs while it holds a row blocks that conversation, and no other.
//
// Nothing overtakes: everything passes through the main queue of its conversation, whose writer sends it behind what is already in a lane; only that
// writer feeds the lane with the conversation, and a lane releases it when its results are in the queue of the delivery goroutine.

const (
	// gateWait is how long a batch waits for the gates that Updates of this process hold.
	gateWait = 5 * time.Millisecond
	// laneWait is how long the first lane waits for a gate or a row.
	laneWait = 250 * time.Millisecond
)

// kind is how long a writer waits for what somebody else holds.
type kind int

const (
	mainQueue kind = iota // not at all
	contended             // laneWait
	stuck                 // until it has it
)

// errLanes refuses what does not fit into the queue of a lane.
var errLanes = errors.New("store: too much waits for this conversation, which somebody else holds")

// load counts what is in a lane, or in the lane behind it, per conversation.
type load struct {
	mu sync.Mutex
	n  map[chat.ConvID]int
}

func (l *load) add(id chat.ConvID, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n[id] += n; l.n[id] == 0 {
		delete(l.n, id)
	}
}

func (l *load) has(id chat.ConvID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n[id] > 0
}

func (l *load) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.n) == 0
}

// follow diverts what follows something that is in a lane.
func (w *writer) follow() {
	if w.next != nil && !w.next.load.empty() {
		w.divert(w.next.load.has)
	}
}

// divert passes the entries of some conversations to the next lane, in their order.
func (w *writer) divert(which func(chat.ConvID) bool) {
	kept := w.ops[:0]
	for _, o := range w.ops {
		switch {
		case o.barrier != nil || !which(o.conv()):
			kept = append(kept, o)
		case !w.pass(o):
			w.s.deliver <- []event{{done: o.done, err: failure(errLanes)}}
			w.over(o)
		}
	}
	clear(w.ops[len(kept):])
	w.ops = kept
	w.keysOfOps()
}

// pass puts an op into the queue of the next lane, if that is not full.
func (w *writer) pass(o op) bool {
	id := o.conv()
	w.next.load.add(id, 1)
	w.next.waiting.Add(1)
	select {
	case w.next.queue <- o:
		w.waiting.Add(-1)
		return true
	default:
		w.next.waiting.Add(-1)
		w.next.load.add(id, -1)
		return false
	}
}

// over counts down what has been answered, or is about to be.
func (w *writer) over(o op) {
	w.waiting.Add(-1)
	if o.barrier != nil {
		return
	}
	for l := w; l != nil && l.kind != mainQueue; l = l.before {
		l.load.add(o.conv(), -1)
	}
}

// arrived passes a barrier on if what it waits for is in a lane, and lifts it otherwise. A barrier for all conversations does not wait for the second
// lane, where it may take long.
func (w *writer) arrived(b *barrier) {
	next := w.next
	if next == nil || !slices.ContainsFunc(b.convs, next.load.has) && (len(b.convs) > 0 || next.kind == stuck || next.waiting.Load() == 0) {
		b.lift <- nil
		return
	}
	next.waiting.Add(1)
	select {
	case next.queue <- op{barrier: b}:
	default:
		next.waiting.Add(-1)
		b.lift <- failure(errLanes)
	}
}

// barrier is put into the queues behind what an Update waits for.
type barrier struct {
	convs []chat.ConvID // none: all
	lift  chan error
}
