package main

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"unsafe"

	"github.com/tidings-im/tidings/im"
)

func addListener(c *call) int {
	c.lib.slots.add(c.sets, c.cb(), c.ud())
	return resultOK
}

func removeListener(c *call) int {
	c.lib.slots.remove(c.sets, c.cb())
	return resultOK
}

// set does what all other setters do.
func (c *call) set() int {
	c.lib.slots.set(c.sets, c.cb(), c.ud())
	return resultOK
}

// callbackType is a callback type: its name, and the shape of its parameters.
type callbackType struct {
	name  string
	shape int
}

// brought is what a callback gets: its texts and its numbers, each in the order of its parameters.
type brought struct {
	texts   []string
	numbers []int64
	noJSON  bool // the last text is NULL. No value of a text says so: a text may come from a server or a program, and have any value
}

// tell calls the callbacks of a type with the result of make, which is not called without any. It runs on the thread t.
func (l *library) tell(t *thread, typ int, make func() brought) {
	listeners := l.slots.listeners(typ)
	if len(listeners) == 0 {
		return
	}
	what := make()
	for _, s := range listeners {
		if s, ok := l.slots.has(typ, s.cb); ok { // one before may have removed it
			t.fire(callbackTypes[typ].name, func() { callBack(typ, s.cb, s.ud, what) })
		}
	}
}

// callBack calls a callback of the application. The texts are copied into one block of C memory, which C frees when the callback has returned. They
// are not lent from Go's memory, so that sanitizers see a program that reads beyond a text or after its callback, and do not see Go's own use of its
// memory.
func callBack(typ int, cb, ud uintptr, what brought) {
	e := C.tidings_event{ud: C.uintptr_t(ud)}
	texts, size := what.texts, 0
	if what.noJSON {
		texts = texts[:len(texts)-1]
	}
	for _, s := range texts {
		size += len(s) + 1
	}
	if size > 0 {
		p := C.malloc(C.size_t(size))
		to, at := unsafe.Slice((*byte)(p), size), 0
		for i, s := range texts {
			e.s[i] = (*C.char)(unsafe.Add(p, at))
			at += copy(to[at:], s)
			to[at] = 0
			at++
		}
	}
	for i, n := range what.numbers {
		e.n[i] = C.int64_t(n)
	}
	C.tidings_fire(C.int(callbackTypes[typ].shape), C.uintptr_t(cb), e)
}

// callComm calls a result callback.
func callComm(cb uintptr, code int32, desc, json string, ud uintptr) {
	callBack(cbTIMCommCallback, cb, ud, brought{texts: []string{desc, json}, numbers: []int64{int64(code)}})
}

// listOrNone returns a list in JSON, or no text for none.
func listOrNone[M im.TIM](list []M) string {
	if len(list) == 0 {
		return ""
	}
	return im.ListToJSON(list)
}
