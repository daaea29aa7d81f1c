package client

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tidings-im/tidings/im"
)

// output is what a batch tells the application, in order, after its commit.
type output struct {
	run    func()
	owed   int64     // event with a row in owed
	answer bool      // the result of a call: runs even when the client is closing
	undone func()    // makes a success a failure, as the batch was undone; nil if the answer holds all the same
	direct bool      // a blocking call waits for it: run on the engine
	event  owedEvent // what is told one for one; becomes owed and run before the commit
	size   int       // of the event, in bytes of JSON
}

// tell hands the batch's outputs to the dispatcher.
func (c *Client) tell() {
	for _, o := range c.out {
		switch {
		case o.direct:
			o.run()
		case o.answer:
			c.disp.Post(func() { c.timed(o.run) })
		default:
			c.postEvent(o.owed, nil, o.size, o.run)
		}
	}
	c.out = c.out[:0]
}

// postEvent hands an event to the dispatcher: one with a row in owed, a set of states, or neither. A large one counts as several that wait.
func (c *Client) postEvent(owed int64, state *stateChange, size int, run func()) {
	weight := int64(1 + size>>16)
	c.waiting.Add(weight)
	c.disp.Post(func() {
		defer c.waiting.Add(-weight)
		if owed != 0 && !c.settled() || !c.begin(owed, state) {
			return
		}
		c.timed(run)
		if owed != 0 {
			c.noteFired(owed)
			c.running.Store(0)
		}
	})
}

// begin notes what is about to be told, unless the client is closing: either Close knows of it, or it does not begin.
func (c *Client) begin(owed int64, state *stateChange) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Load() {
		return false
	}
	if owed != 0 {
		c.running.Store(owed)
	}
	if state != nil {
		c.telling = state
	}
	return true
}

// settled waits until what was told before is cleared in the database, so that a crash can only repeat the one callback that runs. Mostly
// the commit that brought the next event has done it. It runs on the dispatcher, and reports false when the client has ended.
func (c *Client) settled() bool {
	c.mu.Lock()
	clear := len(c.fired) == 0
	c.mu.Unlock()
	if clear {
		return true
	}
	done := make(chan struct{})
	if !c.post(func() {
		c.clearAt = time.Now()
		c.cleared = append(c.cleared, done)
	}) {
		return false
	}
	<-done
	return !c.closing.Load()
}

func (c *Client) noteFired(owed int64) {
	c.mu.Lock()
	c.fired = append(c.fired, owed)
	c.mu.Unlock()
	select {
	case c.firedWake <- struct{}{}:
	default:
	}
}

// live queues an event that is never repeated (rule 18).
func (c *Client) live(run func()) { c.out = append(c.out, output{run: run}) }

// answered makes the completion of an API call: done runs once, after the batch's commit. If that fails, the success of
// a call that keeps something here is none.
func answered[T any](c *Client, direct, keeps bool, done func(T, error)) func(T, error) {
	c.openings.Add(1)
	over := false
	return func(v T, err error) {
		if over { // a panic came after the answer
			return
		}
		over = true
		if e := (*im.Error)(nil); errors.As(err, &e) {
			switch {
			case e == nil:
				err = nil
			case e.Code == im.CodeResync: // a code of the wire: the server does not know the conversation (yet)
				err = &im.Error{Code: im.CodeInvalidParameters, Desc: e.Desc}
			}
		}
		o := output{answer: true, direct: direct, run: func() {
			c.openings.Add(-1) // open until the application has its answer
			done(v, err)
		}}
		if err == nil && keeps {
			o.undone = func() {
				var none T
				v, err = none, databaseFailed
			}
		}
		c.out = append(c.out, o)
	}
}

// logged writes a line of the log when a call is answered: its name and its result, and nothing of what it is about. Who runs the dispatcher knows the calls
// by other names, and has lines of its own.
func logged[T any](c *Client, to caller[T]) func(T, error) {
	if c.cfg.Dispatcher != nil || !c.log.Enabled(context.Background(), slog.LevelDebug) {
		return to.done
	}
	began := time.Now()
	return func(v T, err error) {
		args := []any{"took", time.Since(began).Round(time.Microsecond)}
		if err != nil {
			args = append(args, "error", err)
		}
		c.log.Debug(to.name, args...)
		to.done(v, err)
	}
}

// SlowCallback is how long a callback may run before the log has a line about it: nothing else is called back meanwhile.
const SlowCallback = time.Second

// timed runs a callback on the client's own dispatcher, and logs one that took long.
func (c *Client) timed(run func()) {
	began := time.Now()
	run()
	if took := time.Since(began); took >= SlowCallback && c.cfg.Dispatcher == nil {
		c.log.Info("a callback took long: nothing else could be called back meanwhile", "took", took.Round(time.Millisecond))
	}
}

// caller is who waits for a call: the call's name, and where its answer goes. direct: somebody is blocked and done only wakes him, so that it runs on the engine;
// otherwise done is the application's, and runs on the dispatcher.
//
// A method that takes one is a call of the API. With the comment "//tidings:call" the generator writes the two forms of it that the application has into
// calls_gen.go, with the comment above it.
type caller[T any] struct {
	name   string
	direct bool
	done   func(T, error)
}

// do runs an API call on the engine. start gets the completion and must see to it that it is called exactly once.
func do[T any](c *Client, to caller[T], start func(finish func(T, error))) {
	post(c, to, false, start)
}

// doHere is do for a call that changes what is on this device.
func doHere[T any](c *Client, to caller[T], start func(finish func(T, error))) {
	post(c, to, true, start)
}

func post[T any](c *Client, to caller[T], keeps bool, start func(finish func(T, error))) {
	var zero T
	direct, done := to.direct, logged(c, to)
	if c.openings.Load() >= mostCalls {
		c.answerNow(direct, func() { done(zero, &im.Error{Code: im.CodeTooManyRequests, Desc: "more than 1000 calls are waiting"}) })
		return
	}
	finish := answered(c, direct, keeps, done)
	if !c.post(func() { c.answering(finishWith(finish), func() { start(finish) }) }) {
		c.openings.Add(-1)
		c.answerNow(direct, func() { done(zero, interrupted) })
	}
}

// finishWith makes of a call's completion one that knows of errors only.
func finishWith[T any](finish func(T, error)) func(error) {
	return func(err error) {
		var none T
		finish(none, err)
	}
}

// answering runs a piece of a call. After a panic in it the call is answered all the same.
func (c *Client) answering(fail func(error), f func()) {
	defer func() {
		if r := recover(); r != nil {
			fail(im.Errorf(im.CodeDatabase, "%v", errPanic))
			c.panicked(r)
		}
	}()
	f()
}

// soon runs the next piece of a call that takes long, after the commit; fail answers the call should the piece panic.
func (c *Client) soon(fail func(error), f func()) {
	c.later = append(c.later, func() { c.answering(fail, f) })
}

// parked is a call that waits for the first sync of a connection, or for the end of a login. run goes on with it, or answers err.
type parked struct {
	deadline time.Time
	run      func(err *im.Error)
}

// doSynced is do for a call about what the sync brings: heads that the login told of are applied before start runs. Without a link there is no
// sync to wait for, and none is waited for while the application does not take its events: it may be this call that it waits for. A call does not
// overtake those that waited.
func doSynced[T any](c *Client, to caller[T], start func(finish func(T, error))) {
	do(c, to, synced(c, start))
}

// synced is the beginning of a call that waits for the sync.
func synced[T any](c *Client, start func(finish func(T, error))) func(finish func(T, error)) {
	return func(finish func(T, error)) {
		if c.syncing() {
			c.park(finishWith(finish), func() { start(finish) })
			return
		}
		start(finish)
	}
}

// syncing says that calls about what the sync brings have to wait.
func (c *Client) syncing() bool {
	return c.goingOn || c.link != nil && !c.sync.whole && !c.sync.paused && c.Status() == LoggedIn
}

// park lets a call wait.
func (c *Client) park(fail func(error), start func()) {
	c.parked = append(c.parked, parked{time.Now().Add(c.cfg.Limits.Call), func(err *im.Error) {
		if err != nil {
			fail(err)
			return
		}
		c.answering(fail, start)
	}})
}

// goOnParked lets the parked calls run after the commit, in their order.
func (c *Client) goOnParked() {
	if len(c.parked) == 0 || c.goingOn {
		return
	}
	c.goingOn = true
	c.later = append(c.later, func() {
		waiting := c.parked
		c.parked, c.goingOn = nil, false
		for _, p := range waiting {
			p.run(nil)
		}
	})
}

// failParked answers the parked calls.
func (c *Client) failParked(err *im.Error) {
	waiting := c.parked
	c.parked = nil
	for _, p := range waiting {
		p.run(err)
	}
}

// refuse answers a call that the engine does not get.
func refuse[T any](c *Client, to caller[T], err error) {
	done := logged(c, to)
	c.answerNow(to.direct, func() {
		var zero T
		done(zero, err)
	})
}

// answerNow answers outside the engine.
func (c *Client) answerNow(direct bool, run func()) {
	switch {
	case direct:
		run()
	case !c.disp.Post(run) && c.cfg.Dispatcher == nil:
		// The client is closed, and its dispatcher with it: after the last callback, one at a time.
		go func() {
			<-c.dispEnded
			c.late.Lock()
			defer c.late.Unlock()
			run()
		}()
	}
}

// wait is the blocking form of a call, by its name. A context that has ended before sends nothing.
func wait[T any](ctx context.Context, name string, start func(to caller[T])) (T, error) {
	type result struct {
		v   T
		err error
	}
	if err := ctx.Err(); err != nil {
		var zero T
		return zero, err
	}
	ch := make(chan result, 1)
	start(caller[T]{name, true, func(v T, err error) { ch <- result{v, err} }})
	select {
	case r := <-ch:
		return r.v, r.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// none is the result of a call that has none.
type none = struct{}

// later is the caller of the form that does not wait, by the name of the call.
func later[T any](name string, done func(T, error)) caller[T] { return caller[T]{name, false, done} }

// laterNone is later for a call without a result.
func laterNone(name string, done func(error)) caller[none] {
	return later(name, func(_ none, err error) { done(err) })
}
