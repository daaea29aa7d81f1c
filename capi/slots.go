package main

import (
	"slices"
	"sync"
)

// slot is a callback that the application has set.
type slot struct{ cb, ud uintptr }

// slots keeps the callbacks of events.
type slots struct {
	mu sync.Mutex
	// all contains them by type: one, or none, but for new messages as many as were added, in that order.
	all [cbCount][]slot
}

// set replaces the callback of a type; 0 removes it.
func (s *slots) set(typ int, cb, ud uintptr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[typ] = nil
	if cb != 0 {
		s.all[typ] = []slot{{cb, ud}}
	}
}

func (s *slots) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = [cbCount][]slot{}
}

// add adds a callback; an existing one gets the new user data.
func (s *slots) add(typ int, cb, ud uintptr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cb == 0 {
		return
	}
	if i := index(s.all[typ], cb); i >= 0 {
		s.all[typ][i].ud = ud
		return
	}
	s.all[typ] = append(s.all[typ], slot{cb, ud})
}

func (s *slots) remove(typ int, cb uintptr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[typ] = slices.DeleteFunc(s.all[typ], func(x slot) bool { return x.cb == cb })
}

// listeners returns the callbacks of a type at this moment.
func (s *slots) listeners(typ int) []slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all[typ])
}

// any reports whether there is a callback of a type.
func (s *slots) any(typ int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all[typ]) > 0
}

// has returns the callback as it is set at this moment, if it still is.
func (s *slots) has(typ int, cb uintptr) (slot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := index(s.all[typ], cb); i >= 0 {
		return s.all[typ][i], true
	}
	return slot{}, false
}

func index(list []slot, cb uintptr) int {
	return slices.IndexFunc(list, func(x slot) bool { return x.cb == cb })
}
