// Package engine runs what a device does for one user. One goroutine handles the application's calls and what the server sends in batches: apply,
// commit, then send and post callbacks. It never waits for a callback or for the network. The books know what the batches are about; the engine
// ensures that a batch holds as a whole or not at all, that a call is answered once, and that what was committed is reported once.
package engine

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidings-im/tidings/client/internal/link"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// Config describes the user of an engine. Its functions run on the engine.
type Config struct {
	Log *slog.Logger
	// Dispatcher runs the callbacks; nil: the engine makes one with a goroutine of its own, and logs the calls and slow callbacks.
	Dispatcher *Dispatcher
	// InMemory: the database is not on a disk.
	InMemory bool
	// Open opens the database.
	Open func() (*local.DB, error)
	// Begin is the engine's first piece of work.
	Begin func()
	// HangUp ends the session and its connection: the database cannot be read any more, or the client is closed. A login under way fails with err.
	HangUp func(err *im.Error)
	// Late handles a reply to a call that has ended.
	Late func(f *im.Frame)
}

// Engine runs a device's work. Fields and methods that do not mention other goroutines are only for code that runs on the engine.
type Engine struct {
	DB    *local.DB  // nil while none is open
	Conn  *link.Conn // the connection whose login was reported; nil while there is none
	Clock Clock

	cfg   Config
	log   *slog.Logger
	books []Book
	disp  *Dispatcher
	// dispEnded is closed when the engine's own dispatcher has run everything; late serializes results of calls that come after it.
	dispEnded chan struct{}
	late      sync.Mutex

	in     *inbox
	frames chan arrived
	wake   chan struct{} // has one element when something is to be deleted or continued
	quit   chan struct{}
	ended  sync.WaitGroup

	closing  atomic.Bool
	openings atomic.Int64 // open calls of the application
	waiting  atomic.Int64 // events posted to the dispatcher that have not run
	running  atomic.Int64 // owed id of the event whose callback is running

	mu      sync.Mutex
	fired   []int64 // owed ids whose callback has returned
	telling *round  // states whose callbacks have begun

	// Below: only the engine's goroutine.
	nextID   uint64
	calls    map[uint64]*call
	toSend   []*im.Frame
	held     bool       // calls wait for Resume
	broken   *link.Conn // what still arrives on it does not count: a batch was undone
	received uint64     // pushes on this connection
	out      []output
	later    []func()        // work to continue after the commit
	cleared  []chan struct{} // closed by the commit that deletes completed events
	clearAt  time.Time       // when completed events are deleted at the latest
	parked   []parked
	// goingOn: they continue after the commit, with those that arrive until then.
	goingOn  bool
	round    *round // states that are posted and have not run
	owedDone bool   // what an earlier run owed has been posted
	owedNow  bool   // by the batch that is not committed yet
	lastOwed int64  // the last owed id; none is used twice, not even in another database
	// posted: their rows may still be in the database, but they are told by this run.
	posted map[int64]bool
	failed error
	timer  *time.Timer
}

// batchSize limits how much one commit contains.
const (
	batchSize    = 512
	mostCalls    = 1000
	sessionCalls = 10 // logins and logouts above mostCalls
	clearWithin  = 100 * time.Millisecond
)

// New makes an engine. Nothing runs before Start.
func New(cfg Config) *Engine {
	e := &Engine{cfg: cfg, log: cfg.Log, disp: cfg.Dispatcher, in: newInbox(), frames: make(chan arrived, 16), wake: make(chan struct{}, 1), quit: make(chan struct{}),
		nextID: link.FirstID, calls: map[uint64]*call{}, posted: map[int64]bool{},
		timer: time.NewTimer(time.Hour)}
	if e.disp == nil {
		e.disp, e.dispEnded = NewDispatcher(), make(chan struct{})
	}
	return e
}

// Start begins the work, with the books in the order in which they are called. Any goroutine may call it, once.
func (e *Engine) Start(books ...Book) {
	e.books = books
	if e.dispEnded != nil {
		go func() {
			defer close(e.dispEnded)
			e.disp.Run()
		}()
	}
	e.ended.Add(1)
	go e.run()
}

// Post passes f to the engine. It reports false, and f will never run, if the engine has ended. Any goroutine may call it.
func (e *Engine) Post(f func()) bool { return e.in.put(f) }

func (e *Engine) run() {
	defer e.ended.Done()
	e.contain(e.cfg.Begin)
	e.contain(e.Commit)
	for {
		select {
		case <-e.quit:
			e.shutdown()
			return
		case <-e.in.wake:
			e.runIn()
		case a := <-e.frames:
			e.contain(func() { e.arrive(a) })
		case <-e.wake:
			if e.clearAt.IsZero() {
				e.clearAt = time.Now().Add(clearWithin)
			}
		case <-e.timer.C:
			e.contain(e.tick)
		}
		e.drain()
		e.contain(e.Commit)
		e.contain(e.goOn)
		e.schedule()
	}
}

// goOn runs one piece of long work after each batch; its commit comes with the next one, which a remaining piece triggers at once.
func (e *Engine) goOn() {
	if len(e.later) == 0 {
		return
	}
	f := e.later[0]
	e.later = e.later[1:]
	f()
	e.Commit()
	if len(e.later) > 0 {
		e.wakeUp()
	}
}

func (e *Engine) wakeUp() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// drain adds what else has arrived to the same commit.
func (e *Engine) drain() {
	for range batchSize {
		select {
		case <-e.in.wake:
			e.runIn()
		case a := <-e.frames:
			e.contain(func() { e.arrive(a) })
		default:
			return
		}
	}
}

func (e *Engine) runIn() {
	for _, f := range e.in.take(batchSize) {
		e.contain(f)
	}
}

// tick handles everything whose time has come.
func (e *Engine) tick() {
	now := time.Now()
	e.failDue(now)
	e.failLate(now)
	for do := e.Clock.due(now); do != nil; do = e.Clock.due(now) {
		do()
	}
}

// schedule sets the timer to the next thing to do.
func (e *Engine) schedule() {
	next := time.Now().Add(time.Hour)
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	for _, k := range e.calls {
		earlier(k.deadline)
	}
	if len(e.parked) > 0 {
		earlier(e.parked[0].deadline)
	}
	_, at := e.Clock.first()
	earlier(at)
	earlier(e.clearAt)
	e.timer.Reset(time.Until(next))
}

// Interrupted is the error of calls that the end of the client leaves open.
var Interrupted = &im.Error{Code: im.CodeInterrupted, Desc: "interrupted: the client was closed"}

// Close ends the engine: open calls are answered with 7009, completed events are deleted, and the goroutine has ended. It does not wait for a running
// callback; no event starts after it. Any goroutine may call it, more than once.
func (e *Engine) Close() {
	e.mu.Lock()
	if e.closing.CompareAndSwap(false, true) {
		close(e.quit)
	}
	e.mu.Unlock()
	e.ended.Wait()
}

// shutdown is the engine's end. The event whose callback is running counts as completed: it is deleted too, and states are recorded as reported.
func (e *Engine) shutdown() {
	hangUp := func() {
		e.cfg.HangUp(Interrupted)
		e.FailCalls(Interrupted)
	}
	e.contain(func() { e.FailParked(Interrupted) })
	e.contain(hangUp)
	for {
		for len(e.later) > 0 {
			e.contain(e.goOn)
		}
		if e.in.end() {
			break
		}
		e.runIn()
		e.contain(hangUp)
	}
	e.contain(e.Commit)
	if e.failed != nil { // a book panicked in it
		e.contain(e.Commit)
	}
	e.Release()
	e.tell()
	if e.dispEnded != nil {
		e.disp.Close()
	}
}

// Queued and Arrived return how much from callers and from the server waits for the engine. Any goroutine may call them.
func (e *Engine) Queued() int { return e.in.len() }

func (e *Engine) Arrived() int { return len(e.frames) }

// TellsStates reports whether what an earlier run owed has been posted: states are reported from then on.
func (e *Engine) TellsStates() bool { return e.owedDone }

// Idle reports whether no call is open, nothing is left to be reported, and no batch is about to be undone.
func (e *Engine) Idle() bool {
	return e.failed == nil && len(e.calls) == 0 && len(e.out) == 0 && e.waiting.Load() == 0 && e.round == nil
}
