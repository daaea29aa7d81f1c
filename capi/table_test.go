package main

import "testing"

// The table, and with it docs/reference/coverage.md, says of a function that it is built exactly if there is code for it.
func TestBuiltHasHandler(t *testing.T) {
	for fn, f := range functions {
		if f.built != (handlers[fn] != nil) {
			t.Errorf("%s: the table says built %v, and its handler is there: %v", f.name, f.built, handlers[fn] != nil)
		}
	}
}

func TestSlots(t *testing.T) {
	var s slots
	s.add(1, 10)
	s.add(2, 20)
	s.add(1, 11) // counts once, with the new user data
	if got := s.listeners(); len(got) != 2 || got[0] != (slot{1, 11}) || got[1] != (slot{2, 20}) {
		t.Errorf("listeners %v", got)
	}
	s.remove(3)
	s.remove(1)
	if _, ok := s.has(1); ok || len(s.listeners()) != 1 {
		t.Errorf("after removal: %v", s.listeners())
	}
	s.set(fnTIMSetLogCallback, 5, 6)
	s.set(fnTIMSetLogCallback, 7, 8)
	if got := s.get(fnTIMSetLogCallback); got != (slot{7, 8}) {
		t.Errorf("slot %v", got)
	}
	s.clear()
	if len(s.listeners()) != 0 || s.get(fnTIMSetLogCallback).cb != 0 {
		t.Error("not cleared")
	}
}
