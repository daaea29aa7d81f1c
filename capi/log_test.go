package main

import (
	"fmt"
	"testing"
)

// The newest lines are kept for a callback that is slow, and those that were dropped are counted.
func TestLogWaits(t *testing.T) {
	l := newLibrary()
	l.slots.set(fnTIMSetLogCallback, 1, 0)
	*l.config.set.IsLogOutputConsole = false
	l.log.posted = true // nobody delivers
	for i := range logWaiting + 7 {
		l.log.Info("line", "i", i)
	}
	l.log.Debug("below the level")
	lines, dropped := l.log.take()
	if len(lines) != logWaiting || dropped != 7 {
		t.Fatalf("%d lines, %d dropped", len(lines), dropped)
	}
	for i, line := range lines {
		if want := fmt.Sprintf("line i=%d", i+7); line.text != want || line.level != levelInfo {
			t.Fatalf("line %d is %q at level %d", i, line.text, line.level)
		}
	}
	if lines, dropped := l.log.take(); len(lines) != 0 || dropped != 0 {
		t.Errorf("taken twice: %d, %d", len(lines), dropped)
	}
}

func TestServerOf(t *testing.T) {
	l := newLibrary()
	if s := l.server(); s != "ws://127.0.0.1:7070" {
		t.Errorf("default %q", s)
	}
	t.Setenv("TIDINGS_SERVER", "wss://chat.example.org")
	if s := l.server(); s != "wss://chat.example.org" {
		t.Errorf("of the environment %q", s)
	}
}
