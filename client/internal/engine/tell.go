package engine

import (
	"time"

	"github.com/tidings-im/tidings/client/internal/local"
)

// output is what a batch reports to the application, in order, after its commit.
type output struct {
	run    func()
	owed   int64  // event with a row in owed
	answer bool   // the result of a call: runs even when the client is closing
	undone func() // turns a success into a failure, if the batch was undone; nil if the result holds nevertheless
	direct bool   // run on the engine: a blocking call waits for it
	event  *Owed  // becomes owed and run before the commit
	size   int    // of the event, in bytes of JSON
}

// Owed is an event that must fire once: it is stored until its callback has returned (rule 17). Until the batch commits it may still grow.
type Owed struct {
	Kind    int
	Payload func() ([]byte, error) // the row's content, read just before the commit
	Run     func()                 // the callback
	Size    int                    // roughly its bytes in JSON: a large one counts as several that wait
	Event   any                    // what it is made of, for code that may extend it
}

// FullAt is how many events may wait for the application before the sync pauses.
const FullAt = 1000

// Full reports that the application does not take its events; Eased that it has taken enough of them to continue.
func (e *Engine) Full() bool { return e.waiting.Load() >= FullAt }

func (e *Engine) Eased() bool { return e.waiting.Load() < FullAt/2 }

// Overfull is Full for events that may be lost: it counts what this batch is about to queue, too.
func (e *Engine) Overfull() bool { return e.waiting.Load()+int64(len(e.out)) >= FullAt }

// Waiting returns how many events wait for the application.
func (e *Engine) Waiting() int { return int(e.waiting.Load()) }

// Live queues an event that is never repeated (rule 18).
func (e *Engine) Live(run func()) { e.out = append(e.out, output{run: run}) }

// Owe queues an event that must fire.
func (e *Engine) Owe(ev *Owed) { e.out = append(e.out, output{event: ev}) }

// LastOwed returns the event that the batch has queued last, which may still grow; nil if that is something else.
func (e *Engine) LastOwed() *Owed {
	if n := len(e.out); n > 0 {
		return e.out[n-1].event
	}
	return nil
}

// Committed runs f on the engine after the batch's commit, unless it is undone.
func (e *Engine) Committed(f func()) { e.out = append(e.out, output{run: f, direct: true}) }

// oweEvents writes the rows of the batch's events, just before the commit.
func (e *Engine) oweEvents() {
	for i := range e.out {
		ev := e.out[i].event
		if ev == nil {
			continue
		}
		payload, err := ev.Payload()
		if !e.Check(err) {
			return
		}
		if !e.Check(e.DB.Owe(e.lastOwed+1, ev.Kind, payload)) {
			return
		}
		e.lastOwed++
		e.out[i] = output{owed: e.lastOwed, size: ev.Size, run: ev.Run}
	}
}

// TellOwed fires what may not have fired in an earlier run of the application, once after the database was opened; if the batch is undone, the next
// call does it. again makes a callback from what is stored; nil deletes it. States are reported from then on.
func (e *Engine) TellOwed(again func(local.Owed) func()) {
	if e.owedDone {
		return
	}
	e.owedDone, e.owedNow = true, true
	owed, err := e.DB.Owed()
	if !e.Check(err) {
		return
	}
	for _, o := range owed {
		if e.posted[o.ID] { // its row could not be deleted yet
			continue
		}
		run := again(o)
		if e.failed != nil {
			return
		}
		if run == nil {
			run = func() {}
		}
		e.out = append(e.out, output{owed: o.ID, run: run})
	}
}

// tell passes the batch's outputs to the dispatcher. What is run at once may fail or add outputs; the others are passed nevertheless, and none twice.
func (e *Engine) tell() {
	for len(e.out) > 0 {
		out := e.out
		e.out = nil
		for _, o := range out {
			switch {
			case o.direct:
				e.contain(o.run)
			case o.answer:
				e.disp.Post(func() { e.timed(o.run) })
			default:
				if o.owed != 0 {
					e.posted[o.owed] = true
				}
				e.postEvent(o.owed, nil, o.size, o.run)
			}
		}
	}
}

// postEvent passes an event to the dispatcher: one with a row in owed, a round of states, or neither. A large one counts as several that wait.
func (e *Engine) postEvent(owed int64, states *round, size int, run func()) {
	weight := int64(1 + size>>16)
	e.waiting.Add(weight)
	e.disp.Post(func() {
		defer e.waiting.Add(-weight)
		if owed != 0 && !e.settled() || !e.begin(owed, states) {
			return
		}
		e.timed(run)
		if owed != 0 {
			e.noteFired(owed)
			e.running.Store(0)
		}
	})
}

// begin records that something is about to fire, unless the client is closing: either Close knows of it, or it does not begin.
func (e *Engine) begin(owed int64, states *round) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing.Load() {
		return false
	}
	if owed != 0 {
		e.running.Store(owed)
	}
	if states != nil {
		e.telling = states
	}
	return true
}

// settled waits until completed events are deleted from the database, so that a crash can only repeat the one callback that runs. Mostly the commit
// with the next event has done that. It runs on the dispatcher, and reports false when the client has ended.
func (e *Engine) settled() bool {
	e.mu.Lock()
	clear := len(e.fired) == 0
	e.mu.Unlock()
	if clear {
		return true
	}
	done := make(chan struct{})
	if !e.Post(func() {
		e.clearAt = time.Now()
		e.cleared = append(e.cleared, done)
	}) {
		return false
	}
	<-done
	return !e.closing.Load()
}

func (e *Engine) tellCleared() {
	for _, done := range e.cleared {
		close(done)
	}
	e.cleared = nil
}

func (e *Engine) noteFired(owed int64) {
	e.mu.Lock()
	e.fired = append(e.fired, owed)
	e.mu.Unlock()
	e.wakeUp()
}

// SlowCallback is how long a callback may run before the log has a line about it: no other callback can run in that time.
const SlowCallback = time.Second

// timed runs a callback on the engine's own dispatcher, and logs a slow one.
func (e *Engine) timed(run func()) {
	began := time.Now()
	run()
	if took := time.Since(began); took >= SlowCallback && e.cfg.Dispatcher == nil {
		e.log.Info("a callback took long: nothing else could be called back meanwhile", "took", took.Round(time.Millisecond))
	}
}

// round is what the books have to report about states at one time (rule 17): what was last reported to the application is kept, and the difference is
// reported. It is computed right after a commit, when its events have been posted, and only one is under way at a time; what changes in the meantime
// is reported next. What was reported is stored after the callbacks returned, also if a batch was undone in between: it was committed before.
type round struct {
	sets  []*States
	begun int // callbacks that have begun; protected by Engine.mu
}

// tellStates posts the differences, unless some are under way.
func (e *Engine) tellStates() {
	if e.round != nil || !e.owedDone {
		return
	}
	r := &round{}
	for _, b := range e.books {
		s := b.States()
		if e.failed != nil {
			return // the next commit undoes and starts over
		}
		if s != nil {
			r.sets = append(r.sets, s)
		}
	}
	if len(r.sets) == 0 {
		return
	}
	e.round = r
	e.postEvent(0, r, 0, func() {
		e.fire(r)
		e.Post(func() { e.statesTold(r) })
	})
}

// fire calls the application. It ends early when the client is closed.
func (e *Engine) fire(r *round) {
	for _, s := range r.sets {
		for _, tell := range s.Tell {
			if !e.enter(r) {
				return
			}
			tell()
		}
	}
}

func (e *Engine) enter(r *round) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing.Load() {
		return false
	}
	r.begun++
	return true
}

// Telling reports whether states are being reported to the application.
func (e *Engine) Telling() bool { return e.round != nil }

// statesTold makes the books record what has been reported to the application: the callbacks that have begun.
func (e *Engine) statesTold(r *round) {
	e.round = nil
	e.mu.Lock()
	e.telling = nil
	begun := r.begun
	e.mu.Unlock()
	for _, s := range r.sets {
		n := min(begun, len(s.Tell))
		if e.DB == nil { // there is nothing to record it in
			n = 0
		}
		begun -= n
		s.Told(n)
	}
}
