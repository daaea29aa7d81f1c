package main

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"slices"
	"sync"
	"unsafe"
)

// slot is a callback that the application has set.
type slot struct{ cb, ud uintptr }

// slots keeps the callbacks of events.
type slots struct {
	mu  sync.Mutex
	one [fnCount]slot // by setter
	// messages are the callbacks for new messages, the only event with several, in the order in which they were added.
	messages []slot
}

// set replaces the callback of a setter; 0 removes it.
func (s *slots) set(fn int, cb, ud uintptr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.one[fn] = slot{cb, ud}
}

func (s *slots) get(fn int) slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.one[fn]
}

func (s *slots) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.one, s.messages = [fnCount]slot{}, nil
}

// add adds a callback for new messages; one that is there gets the new user data.
func (s *slots) add(cb, ud uintptr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cb == 0 {
		return
	}
	if i := slices.IndexFunc(s.messages, func(x slot) bool { return x.cb == cb }); i >= 0 {
		s.messages[i].ud = ud
		return
	}
	s.messages = append(s.messages, slot{cb, ud})
}

func (s *slots) remove(cb uintptr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A copy: listeners ranges over the old one.
	s.messages = slices.DeleteFunc(slices.Clone(s.messages), func(x slot) bool { return x.cb == cb })
}

// listeners are the callbacks for new messages as they are now.
func (s *slots) listeners() []slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// has answers the callback as it is set now, if it still is.
func (s *slots) has(cb uintptr) (slot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.messages, func(x slot) bool { return x.cb == cb }); i >= 0 {
		return s.messages[i], true
	}
	return slot{}, false
}

// block copies two texts into memory of C, which the shim frees when the callback has returned. They are not lent out of Go's memory, so that
// sanitizers see a program that reads beyond a text or after its callback, and do not see Go's own dealings with its memory.
func block(a, b string) (first, second *C.char) {
	p := C.malloc(C.size_t(len(a) + len(b) + 2))
	to := unsafe.Slice((*byte)(p), len(a)+len(b)+2)
	copy(to, a)
	to[len(a)] = 0
	copy(to[len(a)+1:], b)
	to[len(a)+len(b)+1] = 0
	return (*C.char)(p), (*C.char)(unsafe.Add(p, len(a)+1))
}

func callComm(cb uintptr, code int32, desc, json string, ud uintptr) {
	d, j := block(desc, json)
	C.tidings_cb_comm(C.uintptr_t(cb), C.int32_t(code), d, j, C.uintptr_t(ud))
}

func callText(cb uintptr, json string, ud uintptr) {
	j, _ := block(json, "")
	C.tidings_cb_text(C.uintptr_t(cb), j, C.uintptr_t(ud))
}

func callConv(cb uintptr, event int32, json string, ud uintptr) {
	j, _ := block(json, "")
	C.tidings_cb_conv(C.uintptr_t(cb), C.int(event), j, C.uintptr_t(ud))
}

func callTotal(cb uintptr, total int, ud uintptr) {
	C.tidings_cb_total(C.uintptr_t(cb), C.int(total), C.uintptr_t(ud))
}

func callNetwork(cb uintptr, status, code int32, desc string, ud uintptr) {
	d, _ := block(desc, "")
	C.tidings_cb_network(C.uintptr_t(cb), C.int(status), C.int32_t(code), d, C.uintptr_t(ud))
}

func callLog(cb uintptr, level int, line string, ud uintptr) {
	t, _ := block(line, "")
	C.tidings_cb_log(C.uintptr_t(cb), C.int(level), t, C.uintptr_t(ud))
}

func callPlain(cb, ud uintptr) { C.tidings_cb_plain(C.uintptr_t(cb), C.uintptr_t(ud)) }
