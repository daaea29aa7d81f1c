package main

import "testing"

// The table, and with it docs/reference/coverage.md, marks a function as built exactly if there is code for it. A setter is built if something fires
// its callback, which the generator checks.
func TestBuiltHasHandler(t *testing.T) {
	for fn, f := range functions {
		if f.class != classSetter && f.built != (handlers[fn] != nil) {
			t.Errorf("%s: the table says built %v, and its handler is there: %v", f.name, f.built, handlers[fn] != nil)
		}
	}
}

func TestSlots(t *testing.T) {
	const news, log = cbTIMRecvNewMsgCallback, cbTIMLogCallback
	var s slots
	s.add(news, 1, 10)
	s.add(news, 2, 20)
	s.add(news, 1, 11) // counts once, with the new user data
	if got := s.listeners(news); len(got) != 2 || got[0] != (slot{1, 11}) || got[1] != (slot{2, 20}) {
		t.Errorf("listeners %v", got)
	}
	s.remove(news, 3)
	s.remove(news, 1)
	if _, ok := s.has(news, 1); ok || len(s.listeners(news)) != 1 {
		t.Errorf("after removal: %v", s.listeners(news))
	}
	s.set(log, 5, 6)
	s.set(log, 7, 8)
	if got := s.listeners(log); len(got) != 1 || got[0] != (slot{7, 8}) {
		t.Errorf("slots %v", got)
	}
	s.set(log, 0, 9)
	if s.any(log) {
		t.Error("not removed")
	}
	s.set(log, 5, 6)
	s.clear()
	if len(s.listeners(news)) != 0 || s.any(log) {
		t.Error("not cleared")
	}
}
