package client

import "github.com/tidings-im/tidings/client/internal/engine"

// Dispatcher runs functions one at a time in the order in which they were posted, on the goroutine (or C thread) that calls Run. Several clients may
// share one, one after the other. It has no limit of its own: a Client limits what it posts and stops syncing while its events are not taken.
type Dispatcher struct{ d *engine.Dispatcher }

// NewDispatcher makes a dispatcher that nobody runs yet.
func NewDispatcher() *Dispatcher { return &Dispatcher{engine.NewDispatcher()} }

// Post queues f. It reports false, and f will never run, if the dispatcher is closed.
func (d *Dispatcher) Post(f func()) bool { return d.d.Post(f) }

// Run runs what is posted until Close, then what was posted before it, and returns. Only one Run at a time.
func (d *Dispatcher) Run() { d.d.Run() }

// Close makes Run return when it has run what is queued. It does not wait, so a callback may call it.
func (d *Dispatcher) Close() { d.d.Close() }

// engine returns what runs callbacks; nil for none.
func (d *Dispatcher) engine() *engine.Dispatcher {
	if d == nil {
		return nil
	}
	return d.d
}

// SlowCallback is how long a callback may run before the log has a line about it: no other callback can run in that time.
const SlowCallback = engine.SlowCallback
