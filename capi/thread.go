package main

/*
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"runtime/cgo"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidings-im/tidings/client"
)

// threads keeps the callback thread. It is created when something is to be called back, or by TIMInit, and ends with TIMUninit.
type threads struct {
	mu  sync.Mutex
	now *thread
	// last is the previous thread: the next one starts to work when it is done, so that callbacks never overlap.
	last *thread
}

// thread is one callback thread: a pthread with the signal mask of its creator, which runs a dispatcher.
type thread struct {
	lib    *library
	disp   *client.Dispatcher
	prev   *thread
	gone   chan struct{} // closed when it has run everything
	left   chan struct{} // closed when it is abandoned: its callback never returned
	handle cgo.Handle

	mu    sync.Mutex
	given bool // up: nothing more starts

	// What is running, to detect callbacks that block.
	name  atomic.Pointer[string]
	since atomic.Int64
	armed atomic.Bool
}

// current returns the callback thread, and creates it if there is none.
func (ts *threads) current(l *library) *thread {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.now == nil {
		t := &thread{lib: l, disp: client.NewDispatcher(), prev: ts.last, gone: make(chan struct{}), left: make(chan struct{})}
		t.handle = cgo.NewHandle(t)
		if errno := C.tidings_start_thread(C.uintptr_t(t.handle)); errno != 0 {
			l.log.printf("no callback thread (errno %d): callbacks come from another thread", int(errno))
			go t.run()
		}
		ts.now, ts.last = t, nil
	}
	return ts.now
}

// take detaches the callback thread; the caller closes it. It may be nil.
func (ts *threads) take() *thread {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.now
	ts.now = nil
	if t != nil {
		ts.last = t
	}
	return t
}

//export tidingsgo_run
func tidingsgo_run(handle C.uintptr_t) {
	cgo.Handle(handle).Value().(*thread).run()
}

func (t *thread) run() {
	if t.prev != nil {
		select {
		case <-t.prev.gone:
		case <-t.prev.left:
		}
		t.prev = nil
	}
	for !t.turn() {
	}
	t.handle.Delete()
	close(t.gone)
}

// turn runs the dispatcher until it is closed; a panic ends it early.
func (t *thread) turn() (closed bool) {
	defer func() {
		if r := recover(); r != nil {
			t.lib.log.panicked("callback thread", r, debug.Stack())
		}
	}()
	t.disp.Run()
	return true
}

// post queues a callback.
func (t *thread) post(name string, f func()) {
	t.disp.Post(func() { t.fire(name, f) })
}

// fire runs f, which calls the application, unless the thread has been abandoned. It must run on the thread.
func (t *thread) fire(name string, f func()) {
	t.mu.Lock()
	given := t.given
	t.mu.Unlock()
	if given {
		return
	}
	t.name.Store(&name)
	t.since.Store(time.Now().UnixNano())
	if !t.armed.Load() && t.armed.CompareAndSwap(false, true) {
		time.AfterFunc(uninitWait, t.watch)
	}
	began := time.Now()
	defer func() {
		t.since.Store(0)
		if took := time.Since(began); took >= client.SlowCallback {
			t.lib.log.Info("a callback took long: nothing else could be called back meanwhile", "callback", name, "took", took.Round(time.Millisecond))
		}
		if r := recover(); r != nil {
			t.lib.log.panicked(name, r, debug.Stack())
		}
	}()
	f()
}

// watch logs a callback that blocks the thread. It checks as long as callbacks keep coming.
func (t *thread) watch() {
	since, name := t.since.Load(), t.name.Load()
	if since == 0 {
		t.armed.Store(false)
		return
	}
	ran := time.Since(time.Unix(0, since))
	if ran >= uninitWait {
		// The log callback gets that line when the callback has returned: it has the same thread.
		t.lib.log.Warn(fmt.Sprintf("the callback of %s has been running for over %v: nothing else can be called back meanwhile", *name, uninitWait))
		t.armed.Store(false)
		return
	}
	time.AfterFunc(uninitWait-ran, t.watch)
}

// giveUp abandons the thread: nothing starts on it any more.
func (t *thread) giveUp() {
	t.mu.Lock()
	t.given = true
	t.mu.Unlock()
	close(t.left)
}
