package client

import (
	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// caller is the origin of a call: the call's name, and where its result goes.
//
// A method that takes one is a call of the API. With the comment "//tidings:call" the generator writes the two forms for applications into
// calls_gen.go, with the comment above it.
type caller[T any] = engine.Caller[T]

// none is the result of a call without one.
type none = engine.None

// doSynced is engine.Do for a call about what the sync fetches: heads that the login reported are applied before start runs. It does not wait without
// a link, because there is no sync then, nor while the application does not take its events, because they may be waiting for this very call. A call
// does not overtake those that waited.
func doSynced[T any](c *Client, to caller[T], start func(finish func(T, error))) {
	engine.Do(c.e, to, synced(c, start))
}

// synced is the beginning of a call that waits for the sync.
func synced[T any](c *Client, start func(finish func(T, error))) func(finish func(T, error)) {
	return func(finish func(T, error)) {
		if c.sync.holds() {
			c.e.Park(c.cfg.Limits.Call, engine.FailWith(finish), func() { start(finish) })
			return
		}
		start(finish)
	}
}

// doReading is doSynced for a call that reads local data. While a login with a ticket that is not known here is under way, the login decides.
func doReading[T any](c *Client, to caller[T], start func(finish func(T, error))) {
	engine.Do(c.e, to, func(finish func(T, error)) {
		fail := engine.FailWith(finish)
		read := func() {
			if err := c.session.readable(); err != nil {
				fail(err)
				return
			}
			start(finish)
		}
		if c.sync.holds() || c.Status() == LoggingIn && c.session.readable() != nil {
			c.e.Park(c.cfg.Limits.Call, fail, read)
			return
		}
		read()
	})
}

var notLoggedIn = &im.Error{Code: im.CodeNotLoggedIn, Desc: "not login"}

// orNil returns a code as an error, keeping nil nil.
func orNil(err *im.Error) error {
	if err == nil {
		return nil
	}
	return err
}
