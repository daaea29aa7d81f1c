package engine

import "sync"

// inbox contains what callers, the link and the callbacks want to run on the engine. Adding something does not wait for the engine, so a call returns
// at once; what an application may add is limited by its open calls. What was accepted is run: after end nothing is.
type inbox struct {
	wake chan struct{} // has one element when there may be something

	mu    sync.Mutex
	queue []func()
	ended bool
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// put reports false, and f will never run, if the engine has ended.
func (b *inbox) put(f func()) bool {
	b.mu.Lock()
	if b.ended {
		b.mu.Unlock()
		return false
	}
	b.queue = append(b.queue, f)
	b.mu.Unlock()
	b.signal()
	return true
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take returns up to most items, in order, and leaves a signal for the rest.
func (b *inbox) take(most int) []func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(most, len(b.queue))
	taken := b.queue[:n:n]
	if b.queue = b.queue[n:]; len(b.queue) == 0 {
		b.queue = nil
	} else {
		b.signal()
	}
	return taken
}

// end closes the inbox if it is empty.
func (b *inbox) end() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = len(b.queue) == 0
	return b.ended
}

// len returns the number of items.
func (b *inbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue)
}
