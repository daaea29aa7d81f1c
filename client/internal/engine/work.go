package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tidings-im/tidings/im"
)

// Caller is the origin of a call of the API: the call's name, and where its result goes.
type Caller[T any] struct {
	name string
	// direct: a goroutine is blocked and done only wakes it, so done runs on the engine; otherwise done is the application's, and runs on the
	// dispatcher.
	direct bool
	done   func(T, error)
}

// None is the result of a call without one.
type None = struct{}

// Later returns a caller that does not wait.
func Later[T any](name string, done func(T, error)) Caller[T] { return Caller[T]{name, false, done} }

// LaterNone is Later for a call without a result.
func LaterNone(name string, done func(error)) Caller[None] {
	return Later(name, func(_ None, err error) { done(err) })
}

// Within returns a caller that is part of another call: done must not wait, and runs on the engine or at once.
func Within[T any](name string, done func(T, error)) Caller[T] { return Caller[T]{name, true, done} }

// Map returns the caller of a call whose result is part of another one's. It gets what f makes of the result.
func Map[A, B any](to Caller[B], f func(A) B) Caller[A] {
	return Caller[A]{to.name, to.direct, func(a A, err error) {
		var b B
		if err == nil {
			b = f(a)
		}
		to.done(b, err)
	}}
}

// Wait is the blocking form of a call, by its name. If the context has already ended, nothing is sent.
func Wait[T any](ctx context.Context, name string, start func(to Caller[T])) (T, error) {
	type result struct {
		v   T
		err error
	}
	if err := ctx.Err(); err != nil {
		var zero T
		return zero, err
	}
	ch := make(chan result, 1)
	start(Caller[T]{name, true, func(v T, err error) { ch <- result{v, err} }})
	select {
	case r := <-ch:
		return r.v, r.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// DoSession is Do for a login or a logout: it is accepted when other calls are refused because too many are open.
func DoSession[T any](e *Engine, to Caller[T], start func(finish func(T, error))) {
	do(e, to, false, mostCalls+sessionCalls, start)
}

// Do runs a call of the API on the engine. start gets the completion and must ensure that it is called exactly once. Any goroutine may call it.
func Do[T any](e *Engine, to Caller[T], start func(finish func(T, error))) {
	do(e, to, false, mostCalls, start)
}

// DoHere is Do for a call that changes local data: if the batch with its result is undone, it does not succeed.
func DoHere[T any](e *Engine, to Caller[T], start func(finish func(T, error))) {
	do(e, to, true, mostCalls, start)
}

func do[T any](e *Engine, to Caller[T], keeps bool, most int64, start func(finish func(T, error))) {
	var zero T
	direct, done := to.direct, logged(e, to)
	if e.openings.Load() >= most {
		e.answerNow(direct, func() { done(zero, &im.Error{Code: im.CodeTooManyRequests, Desc: "more than 1000 calls are waiting"}) })
		return
	}
	finish := answered(e, direct, keeps, done)
	if !e.Post(func() { e.answering(FailWith(finish), func() { start(finish) }) }) {
		e.openings.Add(-1)
		e.answerNow(direct, func() { done(zero, Interrupted) })
	}
}

// Refuse fails a call that does not reach the engine.
func Refuse[T any](e *Engine, to Caller[T], err error) {
	done := logged(e, to)
	e.answerNow(to.direct, func() {
		var zero T
		done(zero, err)
	})
}

// Answer completes a call that consists of others, from within the completion of the last one. Any goroutine may call it.
func Answer[T any](e *Engine, to Caller[T], v T) {
	e.answerNow(to.direct, func() { to.done(v, nil) })
}

// answerNow completes outside the engine.
func (e *Engine) answerNow(direct bool, run func()) {
	switch {
	case direct:
		run()
	case !e.disp.Post(run) && e.dispEnded != nil:
		// The client is closed, and its dispatcher with it: after the last callback, one at a time.
		go func() {
			<-e.dispEnded
			e.late.Lock()
			defer e.late.Unlock()
			run()
		}()
	}
}

// answered makes the completion of an API call: done runs once, after the batch's commit. If that fails, a call that keeps something on the device
// does not succeed.
func answered[T any](e *Engine, direct, keeps bool, done func(T, error)) func(T, error) {
	e.openings.Add(1)
	over := false
	return func(v T, err error) {
		if over { // a panic came after the result
			return
		}
		over = true
		if x := (*im.Error)(nil); errors.As(err, &x) {
			switch {
			case x == nil:
				err = nil
			case x.Code == im.CodeResync: // a code of the wire: the server does not know the conversation (yet)
				err = &im.Error{Code: im.CodeInvalidParameters, Desc: x.Desc}
			}
		}
		o := output{answer: true, direct: direct, run: func() {
			e.openings.Add(-1) // open until the application has its result
			done(v, err)
		}}
		if err == nil && keeps {
			o.undone = func() {
				var none T
				v, err = none, Failed
			}
		}
		e.out = append(e.out, o)
	}
}

// logged writes a line to the log when a call is answered: its name and its result, and nothing of its contents. A program that runs the dispatcher
// knows the calls by other names, and has lines of its own.
func logged[T any](e *Engine, to Caller[T]) func(T, error) {
	if e.cfg.Dispatcher != nil || !e.log.Enabled(context.Background(), slog.LevelDebug) {
		return to.done
	}
	began := time.Now()
	return func(v T, err error) {
		args := []any{"took", time.Since(began).Round(time.Microsecond)}
		if err != nil {
			args = append(args, "error", err)
		}
		e.log.Debug(to.name, args...)
		to.done(v, err)
	}
}

// FailWith turns a call's completion into one that takes only errors.
func FailWith[T any](finish func(T, error)) func(error) {
	return func(err error) {
		var none T
		finish(none, err)
	}
}

// answering runs a piece of a call. After a panic in it the call is still answered.
func (e *Engine) answering(fail func(error), f func()) {
	defer func() {
		if r := recover(); r != nil {
			fail(im.Errorf(im.CodeDatabase, "%v", errPanic))
			e.panicked(r)
		}
	}()
	f()
}

// Soon runs the next piece of a call that takes long, after the commit; fail answers the call if the piece panics.
func (e *Engine) Soon(fail func(error), f func()) {
	e.later = append(e.later, func() { e.answering(fail, f) })
}

// parked is a call that waits for the first sync of a connection, or for the end of a login. run continues it, or fails it with err.
type parked struct {
	deadline time.Time
	run      func(err *im.Error)
}

// Park makes a call wait until GoOn, for at most limit.
func (e *Engine) Park(limit time.Duration, fail func(error), start func()) {
	e.parked = append(e.parked, parked{time.Now().Add(limit), func(err *im.Error) {
		if err != nil {
			fail(err)
			return
		}
		e.answering(fail, start)
	}})
}

// GoOn lets the parked calls run after the commit, in their order.
func (e *Engine) GoOn() {
	if len(e.parked) == 0 || e.goingOn {
		return
	}
	e.goingOn = true
	e.later = append(e.later, func() {
		waiting := e.parked
		e.parked, e.goingOn = nil, false
		for _, p := range waiting {
			p.run(nil)
		}
	})
}

// GoingOn reports whether calls that were parked have yet to run: those that arrive until then wait behind them.
func (e *Engine) GoingOn() bool { return e.goingOn }

// FailParked fails the parked calls.
func (e *Engine) FailParked(err *im.Error) {
	waiting := e.parked
	e.parked = nil
	for _, p := range waiting {
		p.run(err)
	}
}

// failLate fails the parked calls whose time has run out.
func (e *Engine) failLate(now time.Time) {
	for len(e.parked) > 0 && !now.Before(e.parked[0].deadline) {
		late := e.parked[0]
		e.parked = e.parked[1:]
		late.run(&im.Error{Code: im.CodeWaitAckTimeout, Desc: "the login or the sync after it did not end in time"})
	}
}
