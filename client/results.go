package client

import (
	"math"
	"slices"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/link"
	"github.com/tidings-im/tidings/im"
)

// A call that changes relations returns when the device has what it changed: the reply names the number of the feed after the change, and the result waits
// until the feed is applied up to there. It comes before the events of the change, so entries that the device gets before the last one of them wait with it.

// changing is a change that the server has not answered.
type changing struct{ conn *link.Conn } // on which it was sent first

// awaited is the result of a change that waits for the feed.
type awaited struct {
	upTo  uint64
	until time.Time
	call  uint64 // what Engine.Await has returned
}

const (
	alarmResults = "results of changes"
	// pushedWithin is how long the device waits for pushes of a change before it asks for them.
	pushedWithin = time.Second
	// mostTaken is how many bytes of entries wait with a result, or for the log of a group.
	mostTaken = 16 << 20
	// entryCost is what an entry takes besides what it contains.
	entryCost = 256
)

// change is ask for a call that changes relations.
func change[R any, P interface {
	im.Decodable[R]
	GetFeed() uint64
}, T any](c *Client, to caller[T], method im.Method, req engine.Request, result func(P) T) {
	doSynced(c, to, func(finish func(T, error)) {
		if err := c.session.online(); err != nil {
			engine.FailWith(finish)(err)
			return
		}
		limit := c.cfg.Limits.Call
		until := time.Now().Add(limit)
		this := c.feed.begin()
		engine.Ask(c.e, method, req, true, limit, func(reply P, err *im.Error) {
			if err != nil {
				engine.FailWith(finish)(err)
			} else {
				v := result(reply)
				c.feed.await(reply.GetFeed(), until, func() { finish(v, nil) })
			}
			c.feed.answered(this)
		})
	})
}

// begin records a change that is sent to the server, answered its answer.
func (f *feed) begin() *changing {
	this := &changing{f.Conn}
	if f.open == nil {
		f.open = map[*changing]bool{}
	}
	f.open[this] = true
	return this
}

func (f *feed) answered(this *changing) {
	delete(f.open, this)
	if this.conn != f.Conn {
		f.next()
	}
}

// unsure reports whether a change of an earlier connection has not been answered: its entries may arrive before its answer, and have to wait for it.
func (f *feed) unsure() bool {
	for this := range f.open {
		if this.conn != f.Conn {
			return true
		}
	}
	return false
}

// await calls finish once the device has the feed up to a number; 0 is that of a server that names none. It does not wait for a feed that cannot be read, nor longer than the call may take:
// what the server has done is a success.
func (f *feed) await(upTo uint64, until time.Time, finish func()) {
	has := f.state == feedKnown && f.whole == nil && upTo <= f.cursor
	if has || upTo == 0 || upTo > mostFeed || f.DB == nil || f.Conn == nil || f.refused {
		finish()
		return
	}
	var call uint64
	call = f.Await(func(*im.Error) {
		f.results = slices.DeleteFunc(f.results, func(r awaited) bool { return r.call == call })
		finish()
	})
	f.results = append(f.results, awaited{upTo, until, call})
	if !f.Clock.Has(alarmResults) {
		f.Clock.Set(alarmResults, time.Now().Add(pushedWithin), f.lookAfter)
	}
}

// lookAfter asks for pushes that have not come, and gives up results whose time has run out.
func (f *feed) lookAfter() {
	now := time.Now()
	f.give(func(r awaited) bool { return !now.Before(r.until) })
	f.applyTaken()
	if len(f.results) > 0 {
		f.upTo(f.lastAwaited())
		f.next() // also if the application does not take its events: it may wait for the result
		f.Clock.Set(alarmResults, now.Add(pushedWithin), f.lookAfter)
	}
}

// give completes calls whose results wait for the feed.
func (f *feed) give(which func(awaited) bool) {
	for _, r := range slices.Clone(f.results) {
		if which(r) {
			f.Settle(r.call)
		}
	}
}

func (f *feed) giveUpTo(n uint64) { f.give(func(r awaited) bool { return r.upTo <= n }) }

func (f *feed) giveAll() { f.giveUpTo(math.MaxUint64) }

// lastAwaited returns the greatest number for which a result waits.
func (f *feed) lastAwaited() (n uint64) {
	for _, r := range f.results {
		n = max(n, r.upTo)
	}
	return n
}

// reached returns the number up to which the device has the feed, applied or not.
func (f *feed) reached() uint64 { return max(f.cursor, f.takenTo) }

// take takes entries that follow those that the device has, and applies them unless they have to wait with a result.
func (f *feed) take(entries []*im.Relation, to uint64) {
	from := f.reached()
	if to <= from {
		return
	}
	for _, e := range entries {
		if e.Ver > from && e.Ver <= to {
			from = e.Ver // one that does not follow would go past others that wait
			f.taken = append(f.taken, e)
			f.takenSize += takes(e)
		}
	}
	f.takenTo = to
	f.applyTaken()
}

// takes returns about how many bytes of memory an entry takes.
func takes(e *im.Relation) int { return e.SizeVT() + entryCost }

// applyTaken applies what was taken and waits for nothing, and moves the cursor. Results come first.
func (f *feed) applyTaken() {
	if f.awaitsNone() {
		f.apply(f.ready())
	}
}

// applyHeld applies everything that was taken, unless a result comes first.
func (f *feed) applyHeld() {
	if f.awaitsNone() {
		f.apply(len(f.taken), f.takenTo)
	}
}

// awaitsNone reports whether something was taken, and no result comes before all of it.
func (f *feed) awaitsNone() bool {
	switch {
	case !f.holdsAny():
		return false
	case f.lastAwaited() <= f.takenTo:
		return true
	case f.takenSize < mostTaken:
		return false
	}
	f.giveAll()
	return true
}

// apply applies the first entries that were taken, up to a number.
func (f *feed) apply(n int, to uint64) {
	if to <= f.cursor {
		return
	}
	f.giveUpTo(to)
	for _, e := range f.taken[:n] {
		f.takenSize -= takes(e)
	}
	f.c.relations.apply(f.taken[:n], f.net)
	f.set(to)
	if f.taken = f.taken[n:]; to == f.takenTo {
		f.dropTaken()
	}
}

// ready returns how many of the entries that were taken may be applied, and up to which number: a report about a group waits for the log before it, and the
// entries behind it wait with it (rule 23). They do not wait for an application that may itself wait for a result.
func (f *feed) ready() (n int, to uint64) {
	if f.net || f.takenSize >= mostTaken || f.c.sync.paused && len(f.results) > 0 {
		return len(f.taken), f.takenTo
	}
	if i := slices.IndexFunc(f.taken, f.c.convs.beforeReport); i >= 0 {
		return i, f.taken[i].Ver - 1
	}
	return len(f.taken), f.takenTo
}

// holds reports whether an entry about a group waits.
func (f *feed) holds(group string) bool {
	return slices.ContainsFunc(f.taken, func(e *im.Relation) bool { return e.Kind == relReport && e.Report.GetGroupId() == group })
}

// holdsAny reports whether entries were taken that wait to be applied.
func (f *feed) holdsAny() bool { return f.takenTo > f.cursor }

// dropTaken forgets what was taken and is not applied.
func (f *feed) dropTaken() { f.taken, f.takenTo, f.takenSize = nil, 0, 0 }
