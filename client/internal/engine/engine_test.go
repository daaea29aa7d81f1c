package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// tally is a small subject: a number that is stored, and reported when it differs from what was reported. It stands for future ones.
type tally struct {
	*engine.Engine
	name        string
	n, told     int64
	dirty       bool
	tell        func(name string, n int64)
	loads, ends int
	fault       func(in string) // runs at the beginning of each method; nil: nothing does
	unreadable  error           // what the next Load returns
}

func (b *tally) enter(in string) {
	if b.fault != nil {
		b.fault(in)
	}
}

func (b *tally) Load() error {
	b.enter("Load")
	b.loads++
	b.n, b.told, b.dirty = 0, 0, false
	if err := b.unreadable; err != nil {
		b.unreadable = nil
		return err
	}
	if b.DB == nil {
		return nil
	}
	n, e1 := b.DB.MetaInt(b.name)
	told, e2 := b.DB.MetaInt(b.name + " told")
	b.n, b.told = n, told
	return errors.Join(e1, e2)
}

func (b *tally) NewStore()            {}
func (b *tally) Connected(bool)       {}
func (b *tally) Disconnected()        { b.enter("Disconnected"); b.ends++ }
func (b *tally) Push(*im.Frame) error { return nil }

func (b *tally) Flush() {
	b.enter("Flush")
	if b.dirty {
		b.Check(b.DB.SetMeta(b.name, b.n))
		b.dirty = false
	}
}

func (b *tally) States() *engine.States {
	b.enter("States")
	if b.n == b.told {
		return nil
	}
	n := b.n
	return &engine.States{Tell: []func(){func() { b.tell(b.name, n) }}, Told: func(begun int) {
		b.enter("Told")
		if begun > 0 {
			b.told = n
			b.Check(b.DB.SetMeta(b.name+" told", n))
		}
	}}
}

// add is a call of the subject.
func (b *tally) add(ctx context.Context, n int64) error {
	_, err := engine.Wait(ctx, "Add", func(to engine.Caller[engine.None]) {
		engine.DoHere(b.Engine, to, func(finish func(engine.None, error)) {
			b.n += n
			b.dirty = true
			finish(engine.None{}, nil)
		})
	})
	return err
}

// told records what was reported to the application.
type told struct {
	mu   sync.Mutex
	what []string
}

func (r *told) add(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.what = append(r.what, s)
}

func (r *told) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.what)
}

// start makes an engine with two subjects and a database in dir. before, if it is not nil, runs before each callback of a state.
func start(t *testing.T, dir string, r *told, before func(string)) (*engine.Engine, *tally, *tally) {
	t.Helper()
	return startWith(t, dir, r, before, func(*engine.Config) {})
}

func startWith(t *testing.T, dir string, r *told, before func(string), change func(*engine.Config)) (*engine.Engine, *tally, *tally) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	tell := func(name string, n int64) {
		if before != nil {
			before(name)
		}
		r.add(fmt.Sprint(name, " ", n))
	}
	a, b := &tally{name: "a", tell: tell}, &tally{name: "b", tell: tell}
	var e *engine.Engine
	cfg := engine.Config{Log: log, Open: func() (*local.DB, error) { return local.Open(dir, "ann", log) },
		Begin: func() {
			db, err := local.Open(dir, "ann", log)
			if e.Check(err) && e.Check(e.Use(db)) {
				e.TellOwed(func(o local.Owed) func() { return func() { r.add("owed " + string(o.Payload)) } })
			}
		},
		HangUp: func(*im.Error) {}, Late: func(*im.Frame) {}}
	change(&cfg)
	e = engine.New(cfg)
	a.Engine, b.Engine = e, e
	e.Start(a, b)
	t.Cleanup(e.Close)
	return e, a, b
}

// quiet waits until nothing is left to be reported.
func quiet(t *testing.T, e *engine.Engine) {
	t.Helper()
	for idle := false; !idle; {
		ch := make(chan bool, 1)
		if !e.Post(func() { ch <- e.Idle() }) {
			t.Fatal("the engine has ended")
		}
		idle = <-ch
	}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// A batch holds as a whole or not at all: when its commit fails, the call fails, the books read again what is stored, and nothing of it is reported.
func TestBatchIsUndoneAsAWhole(t *testing.T) {
	r := &told{}
	e, a, b := start(t, t.TempDir(), r, nil)
	if err := a.add(within(t), 1); err != nil {
		t.Fatal(err)
	}
	quiet(t, e)
	if err := a.add(within(t), 0); err != nil { // what was reported is on the disk
		t.Fatal(err)
	}
	fail := 1
	_, err := engine.Wait(within(t), "Both", func(to engine.Caller[engine.None]) {
		engine.DoHere(e, to, func(finish func(engine.None, error)) {
			e.Check(e.DB.OnCommit(func() int {
				n := fail
				fail = 0
				return n
			}))
			a.n, a.dirty = a.n+1, true
			b.n, b.dirty = b.n+1, true
			e.Owe(&engine.Owed{Kind: 9, Payload: func() ([]byte, error) { return []byte("lost"), nil }, Run: func() { r.add("lost") }})
			finish(engine.None{}, nil)
		})
	})
	if im.CodeOf(err) != im.CodeDatabase {
		t.Errorf("the call answers %v", err)
	}
	if err := b.add(within(t), 5); err != nil {
		t.Error(err)
	}
	quiet(t, e)
	if got := r.all(); !slices.Equal(got, []string{"a 1", "b 5"}) {
		t.Errorf("told %q", got)
	}
}

// What was committed is reported once over all runs: an event whose callback has not returned fires again, one that has returned does not; of states,
// those whose callbacks have begun count as reported.
func TestToldOnce(t *testing.T) {
	dir := t.TempDir()
	r := &told{}
	in, hold := make(chan bool, 1), make(chan bool)
	e, a, b := start(t, dir, r, func(name string) {
		if name == "a" {
			in <- true
			<-hold
		}
	})
	owe := func(what string) {
		e.Owe(&engine.Owed{Kind: 9, Payload: func() ([]byte, error) { return []byte(what), nil }, Run: func() { r.add(what) }})
	}
	_, err := engine.Wait(within(t), "All", func(to engine.Caller[engine.None]) {
		engine.DoHere(e, to, func(finish func(engine.None, error)) {
			a.n, a.dirty = 1, true
			b.n, b.dirty = 2, true
			owe("first")
			finish(engine.None{}, nil)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	<-in // a is running, b waits behind it
	if _, err := engine.Wait(within(t), "Second", func(to engine.Caller[engine.None]) {
		engine.DoHere(e, to, func(finish func(engine.None, error)) { owe("second"); finish(engine.None{}, nil) })
	}); err != nil {
		t.Fatal(err)
	}
	e.Close()
	close(hold)
	if got := r.all(); len(got) == 0 || got[0] != "first" || slices.Contains(got, "second") || slices.Contains(got, "b 2") {
		t.Errorf("told %q before the end", got)
	}

	r = &told{}
	e, _, _ = start(t, dir, r, nil)
	quiet(t, e)
	if got := r.all(); !slices.Equal(got, []string{"owed second", "b 2"}) {
		t.Errorf("told %q by the next run", got)
	}
}

// The clock runs what is due, the earliest first, and not what was stopped or replaced.
func TestClock(t *testing.T) {
	r := &told{}
	e, _, _ := start(t, "", r, nil)
	done := make(chan bool)
	e.Post(func() {
		now := time.Now()
		e.Clock.Set("second", now.Add(2*time.Millisecond), func() { r.add("second"); close(done) })
		e.Clock.Set("first", now.Add(time.Hour), func() { r.add("never") })
		e.Clock.Set("first", now.Add(time.Millisecond), func() { r.add("first") })
		e.Clock.Set("stopped", now.Add(time.Millisecond), func() { r.add("stopped") })
		e.Clock.Stop("stopped")
	})
	<-done
	if got := r.all(); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("ran %q", got)
	}
}
