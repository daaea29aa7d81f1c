package engine

import "sync"

// Dispatcher runs functions one at a time in the order in which they were posted, on the goroutine (or C thread) that calls Run. Several clients may
// share one, one after the other. It has no limit of its own: an engine limits what it posts and stops syncing while its events are not taken.
type Dispatcher struct {
	mu     sync.Mutex
	ready  sync.Cond
	queue  []func()
	closed bool
}

// NewDispatcher makes a dispatcher that nobody runs yet.
func NewDispatcher() *Dispatcher {
	d := &Dispatcher{}
	d.ready.L = &d.mu
	return d
}

// Post queues f. It reports false, and f will never run, if the dispatcher is closed.
func (d *Dispatcher) Post(f func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.queue = append(d.queue, f)
	d.ready.Signal()
	return true
}

// Run runs what is posted until Close, then what was posted before it, and returns. Only one Run at a time.
func (d *Dispatcher) Run() {
	var batch []func()
	d.mu.Lock()
	for {
		for len(d.queue) == 0 && !d.closed {
			d.ready.Wait()
		}
		if len(d.queue) == 0 {
			d.mu.Unlock()
			return
		}
		batch, d.queue = d.queue, batch[:0]
		d.mu.Unlock()
		for i, f := range batch {
			f()
			batch[i] = nil
		}
		d.mu.Lock()
	}
}

// Close makes Run return when it has run what is queued. It does not wait, so a callback may call it.
func (d *Dispatcher) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.ready.Broadcast()
}
