package engine_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// again is what Begin passes to TellOwed.
func again(r *told) func(local.Owed) func() {
	return func(o local.Owed) func() { return func() { r.add("owed " + string(o.Payload)) } }
}

// do runs f as a call that keeps something, and returns its result.
func do(t *testing.T, e *engine.Engine, f func()) error {
	t.Helper()
	_, err := engine.Wait(within(t), "Test", func(to engine.Caller[engine.None]) {
		engine.DoHere(e, to, func(finish func(engine.None, error)) {
			f()
			finish(engine.None{}, nil)
		})
	})
	return err
}

// owe queues an event; run is its callback.
func owe(e *engine.Engine, what string, run func()) {
	e.Owe(&engine.Owed{Kind: 9, Payload: func() ([]byte, error) { return []byte(what), nil }, Run: run})
}

func owed(t *testing.T, e *engine.Engine) (what []string) {
	t.Helper()
	if err := do(t, e, func() {
		rows, err := e.DB.Owed()
		e.Check(err)
		for _, o := range rows {
			what = append(what, string(o.Payload))
		}
	}); err != nil {
		t.Fatal(err)
	}
	return what
}

// Events of a database that was set aside complete without touching those of its successor: a crash after that still repeats what has not been told.
func TestOwedOfAnotherDatabase(t *testing.T) {
	r := &told{}
	next := t.TempDir()
	e, a, _ := startWith(t, t.TempDir(), r, nil, func(cfg *engine.Config) {
		cfg.Open = func() (*local.DB, error) { return local.Open(next, "ann", slog.New(slog.DiscardHandler)) }
	})
	in, hold := make(chan string, 4), make(chan bool)
	held := func(what string) func() { return func() { in <- what; <-hold; r.add(what) } }
	if err := do(t, e, func() {
		owe(e, "old 1", held("old 1"))
		owe(e, "old 2", held("old 2"))
	}); err != nil {
		t.Fatal(err)
	}
	<-in
	if err := do(t, e, func() {
		a.unreadable = errors.New("sql: Scan error on column index 0")
		e.Check(a.unreadable)
	}); err == nil {
		t.Fatal("the batch was not undone")
	}
	if err := do(t, e, func() {
		owe(e, "new 1", held("new 1"))
		owe(e, "new 2", held("new 2"))
	}); err != nil {
		t.Fatal(err)
	}
	hold <- true
	<-in
	hold <- true
	if got := <-in; got != "new 1" {
		t.Fatalf("%q is told", got)
	}
	if got := owed(t, e); !slices.Equal(got, []string{"new 1", "new 2"}) {
		t.Errorf("owed are %q", got)
	}
	close(hold)
	quiet(t, e)
	if got := r.all(); !slices.Equal(got, []string{"old 1", "old 2", "new 1", "new 2"}) {
		t.Errorf("told %q", got)
	}
}

// What an earlier run owed is told once, also if the batch that was to tell it is undone.
func TestOwedAgainAfterUndo(t *testing.T) {
	dir := t.TempDir()
	e, _, _ := start(t, dir, &told{}, nil)
	in, hold := make(chan bool), make(chan bool)
	if err := do(t, e, func() {
		for i := range 3 {
			owe(e, fmt.Sprint(i), func() { in <- true; <-hold })
		}
	}); err != nil {
		t.Fatal(err)
	}
	<-in
	e.Close()
	close(hold)

	r := &told{}
	e, _, _ = startWith(t, dir, r, nil, func(cfg *engine.Config) { // it opens the database, and tells later
		cfg.Begin = func() {}
	})
	if err := do(t, e, func() {
		db, err := local.Open(dir, "ann", slog.New(slog.DiscardHandler))
		if e.Check(err) && e.Check(e.Use(db)) {
			e.TellOwed(again(r))
			e.Check(errors.New("the disk is full"))
		}
	}); err == nil {
		t.Fatal("the batch was not undone")
	}
	for range 2 {
		if err := do(t, e, func() { e.TellOwed(again(r)) }); err != nil {
			t.Fatal(err)
		}
	}
	quiet(t, e)
	if got := r.all(); !slices.Equal(got, []string{"owed 1", "owed 2"}) {
		t.Errorf("told %q", got)
	}
	if err := do(t, e, func() { e.Check(e.DB.SetMeta("x", 1)) }); err != nil { // what was told is deleted with the next commit
		t.Fatal(err)
	}
	if got := owed(t, e); len(got) != 0 {
		t.Errorf("owed are %q", got)
	}
}

// Events whose rows could not be deleted when the database was closed are not told again when it is opened again.
func TestOwedAfterFailedRelease(t *testing.T) {
	dir := t.TempDir()
	r := &told{}
	e, _, _ := start(t, dir, r, nil)
	if err := do(t, e, func() {
		e.Check(e.DB.OnCommit(func() int { return 0 }))
		owe(e, "one", func() { r.add("one") })
	}); err != nil {
		t.Fatal(err)
	}
	quiet(t, e)
	reopened := make(chan error)
	e.Post(func() {
		e.DB.OnCommit(func() int { return 1 })
		e.Release()
		db, err := local.Open(dir, "ann", slog.New(slog.DiscardHandler))
		if err == nil {
			err = e.Use(db)
		}
		if err == nil {
			e.TellOwed(again(r))
		}
		reopened <- err
	})
	if err := <-reopened; err != nil {
		t.Fatal(err)
	}
	quiet(t, e)
	if got := r.all(); !slices.Equal(got, []string{"one"}) {
		t.Errorf("told %q", got)
	}
}

// A state that was reported while a batch was undone is not reported again.
func TestStatesOnceOverUndo(t *testing.T) {
	r := &told{}
	in, hold := make(chan bool, 4), make(chan bool)
	e, a, _ := start(t, t.TempDir(), r, func(string) { in <- true; <-hold })
	if err := a.add(within(t), 1); err != nil {
		t.Fatal(err)
	}
	<-in
	if err := do(t, e, func() { a.n, a.dirty = 7, true; e.Check(errors.New("the disk is full")) }); err == nil {
		t.Fatal("the batch was not undone")
	}
	if err := a.add(within(t), 0); err != nil {
		t.Fatal(err)
	}
	close(hold)
	quiet(t, e)
	if err := a.add(within(t), 2); err != nil {
		t.Fatal(err)
	}
	quiet(t, e)
	if got := r.all(); !slices.Equal(got, []string{"a 1", "a 3"}) {
		t.Errorf("told %q", got)
	}
}

// A book that panics in any of its methods, once or always, ends neither the process nor the engine, and Close releases the database.
func TestBookPanics(t *testing.T) {
	for _, method := range []string{"Load", "Flush", "States", "Told", "Disconnected"} {
		for _, always := range []bool{false, true} {
			t.Run(fmt.Sprint(method, " always ", always), func(t *testing.T) {
				dir := t.TempDir()
				r := &told{}
				e, a, b := start(t, dir, r, nil)
				if err := b.add(within(t), 1); err != nil {
					t.Fatal(err)
				}
				quiet(t, e)
				armed := true
				if err := do(t, e, func() {
					a.fault = func(in string) {
						if in == method && armed {
							armed = always
							panic("a mistake in a book")
						}
					}
					e.Check(errors.New("read everything again"))
				}); im.CodeOf(err) != im.CodeDatabase {
					t.Fatal(err)
				}
				a.add(within(t), 1)
				e.Post(e.Detach)
				a.add(within(t), 1)
				if !always {
					quiet(t, e) // the panic is over: what Told does comes after the callbacks
				}
				err := a.add(within(t), 1)
				if !always && method != "Load" && err != nil {
					t.Error(err)
				}
				e.Close()
				db, err := local.Open(dir, "ann", slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				db.Close()
			})
		}
	}
}

// A completion that panics on the engine does not repeat other completions, and loses no event of its batch.
func TestCompletionPanics(t *testing.T) {
	r := &told{}
	e, _, _ := start(t, t.TempDir(), r, nil)
	done := make(chan bool)
	e.Post(func() {
		call := func(run func()) {
			engine.Do(e, engine.Within("Test", func(engine.None, error) { run() }), func(finish func(engine.None, error)) { finish(engine.None{}, nil) })
		}
		call(func() { r.add("one") })
		call(func() { panic("a mistake") })
		call(func() { r.add("two"); close(done) })
		e.Post(func() { owe(e, "event", func() { r.add("event") }) })
	})
	<-done
	if err := do(t, e, func() {}); err != nil {
		t.Log(err)
	}
	quiet(t, e)
	if got := r.all(); !slices.Equal(got, []string{"one", "two", "event"}) {
		t.Errorf("ran %q", got)
	}
}

// An engine without a database waits: it does not look again and again for events to delete.
func TestIdleWithoutDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine.New(engine.Config{Log: slog.New(slog.DiscardHandler), Begin: func() {}, HangUp: func(*im.Error) {}, Late: func(*im.Frame) {}})
		e.Start()
		ran := 0
		e.Post(func() {
			for range 2 {
				e.Soon(func(error) {}, func() { ran++ })
			}
		})
		<-time.After(time.Minute) // it passes at once, when nothing has anything to do
		e.Close()
		if ran != 2 {
			t.Errorf("%d pieces ran", ran)
		}
	})
}
