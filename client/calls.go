package client

import (
	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// caller is who waits for a call: the call's name, and where its answer goes.
//
// A method that takes one is a call of the API. With the comment "//tidings:call" the generator writes the two forms of it that the application has into
// calls_gen.go, with the comment above it.
type caller[T any] = engine.Caller[T]

// none is the result of a call that has none.
type none = engine.None

// doSynced is engine.Do for a call about what the sync brings: heads that the login told of are applied before start runs. Without a link there is no
// sync to wait for, and none is waited for while the application does not take its events: it may be this call that it waits for. A call does not
// overtake those that waited.
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

// doReading is doSynced for a call that reads what is local. While a login is under way that brings another ticket than those that are known, the login
// decides.
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

// orNil makes an error of a code, keeping nil nil.
func orNil(err *im.Error) error {
	if err == nil {
		return nil
	}
	return err
}
