package engine

import (
	"errors"
	"runtime/debug"
	"slices"
	"time"

	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// Input from outside (bytes of a server, the file of a local database) never ends the process of the application.

// errPanic stands for a panic in the place of an error of the local database: nothing of the batch holds.
var errPanic = errors.New("a mistake inside the client")

// Failed is the error of a call for which the local database failed.
var Failed = &im.Error{Code: im.CodeDatabase, Desc: "the local database failed"}

// contain runs a piece of work on what a server sent or a local database contains. After a panic in it the batch is undone, the client reconnects,
// and the process lives on. Callbacks of the application do not run in here.
func (e *Engine) contain(f func()) {
	defer func() {
		if r := recover(); r != nil {
			e.panicked(r)
		}
	}()
	f()
}

func (e *Engine) panicked(r any) {
	e.log.Error("the client failed inside; reconnecting", "panic", r, "stack", string(debug.Stack()))
	e.Check(errPanic)
	e.Post(func() {}) // the next commit undoes the batch
}

// Check remembers the first failure of the local database; the batch is then undone as a whole. It reports whether there was none.
func (e *Engine) Check(err error) bool {
	if err != nil && e.failed == nil {
		e.failed = err
	}
	return err == nil
}

// Commit makes the batch durable, then sends its frames and posts its outputs. It runs after each piece of work by itself.
func (e *Engine) Commit() {
	if e.DB != nil && e.failed == nil {
		e.flush()
	}
	if e.failed != nil {
		e.undo()
		return
	}
	if e.Conn != nil {
		for _, f := range e.toSend {
			e.Conn.Send(f)
		}
	}
	e.toSend = e.toSend[:0]
	e.tellCleared()
	e.tell()
	e.tellStates()
	if e.DB == nil {
		e.clearAt = time.Time{} // there is nothing to delete from
	}
}

// flush writes the batch's rows and commits.
func (e *Engine) flush() {
	e.oweEvents()
	fired := e.toClear(e.DB.InTx)
	for _, id := range fired {
		if !e.Check(e.DB.Told(id)) {
			return
		}
	}
	for _, b := range e.books {
		b.Flush()
	}
	if e.failed == nil && e.Check(e.DB.Commit()) {
		e.mu.Lock()
		e.fired = e.fired[len(fired):] // not before: settled waits for the disk
		e.mu.Unlock()
		for _, id := range fired {
			delete(e.posted, id)
		}
		e.owedNow = false
	}
}

// toClear returns the owed ids to delete with this commit: all, if it writes anyway or their time has come.
func (e *Engine) toClear(writing bool) []int64 {
	if !writing && (e.clearAt.IsZero() || time.Now().Before(e.clearAt)) {
		return nil
	}
	e.clearAt = time.Time{}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fired
}

// Use takes a database and makes the books read it. If they cannot, there is none, and the caller closes it.
func (e *Engine) Use(db *local.DB) error {
	e.DB = db
	err := e.load()
	if err != nil {
		e.DB = nil
		e.load()
	}
	return err
}

// load makes the books read the database, or none. A panic in one is an error like any other: the batch after it would only meet it again.
func (e *Engine) load() error {
	var errs []error
	if e.DB != nil {
		last, err := e.DB.LastOwed()
		e.lastOwed = max(e.lastOwed, last)
		errs = append(errs, err)
	}
	for _, b := range e.books {
		errs = append(errs, e.loadBook(b))
	}
	return errors.Join(errs...)
}

func (e *Engine) loadBook(b Book) (err error) {
	defer func() {
		if r := recover(); r != nil {
			e.log.Error("the client failed inside while it read local data", "panic", r, "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return b.Load()
}

// undo handles a failure of the local database: the batch is rolled back, its outputs are dropped (calls that would have kept something on the device
// fail with 6019), memory is read from the database again, and the client reconnects so that the sync fetches everything once more.
func (e *Engine) undo() {
	err := e.failed
	e.failed = nil
	if err != errPanic { // which is in the log
		e.log.Error("local database failed", "error", err)
	}
	failed := &im.Error{Code: im.CodeDatabase, Desc: "the local database failed: " + err.Error()}
	if e.DB != nil {
		e.DB.Rollback()
	}
	if e.owedNow { // what an earlier run owed is still to be told
		e.owedDone, e.owedNow = false, false
	}
	out := e.out
	e.out, e.toSend = nil, nil
	for _, o := range out {
		if o.answer {
			if o.undone != nil {
				o.undone()
			}
			e.out = append(e.out, o)
		}
	}
	conn := e.Conn
	e.Conn = nil // what waits for a connection does not begin while the calls fail: it would add to a batch that is undone
	e.FailCalls(failed)
	e.Conn = conn
	e.out = slices.DeleteFunc(e.out, func(o output) bool { return !o.answer })
	e.tellCleared()
	e.tell()
	if e.Conn != nil {
		e.Conn.Break()
		e.broken = e.Conn
	}
	if e.DB == nil { // there are no local data
		e.failed = nil
		return
	}
	if local.IsUnreadable(err) {
		n, dropErr := e.DB.DropUnreadable()
		e.log.Error("messages on this device that cannot be read were removed; the history brings back what the server has", "messages", n, "error", dropErr)
	}
	readErr := e.load()
	if readErr != nil && local.IsDamaged(errors.Join(err, readErr)) {
		e.DB.Close()
		e.DB = nil
		var db *local.DB
		if db, readErr = e.cfg.Open(); readErr == nil {
			if readErr = e.Use(db); readErr != nil {
				db.Close()
			}
		}
	}
	if readErr != nil {
		e.log.Error("the local database cannot be read; this device keeps nothing until the next login", "error", readErr)
		if e.DB != nil {
			e.DB.Close()
			e.DB = nil
		}
		e.load()
		e.owedDone = false
		e.cfg.HangUp(failed)
		e.Post(func() {}) // the results of that come with the next commit
	}
	e.failed = nil
}

// Release deletes completed events and closes the database, so that another process may have it. One that is in memory lives as long as the engine:
// nobody else waits for it.
func (e *Engine) Release() {
	if e.DB == nil || e.cfg.InMemory && !e.closing.Load() {
		return
	}
	if id := e.running.Load(); id != 0 && e.closing.Load() {
		e.noteFired(id)
	}
	e.mu.Lock()
	telling := e.telling
	e.mu.Unlock()
	if telling != nil {
		e.contain(func() { e.statesTold(telling) })
	}
	if e.failed != nil { // what has completed is deleted in any case
		e.DB.Rollback()
		e.load()
		e.failed = nil
	}
	e.clearAt = time.Now()
	e.contain(e.flush)
	e.DB.Close()
	e.DB, e.failed, e.owedDone = nil, nil, false
	e.load()
}
