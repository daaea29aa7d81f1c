package pg

import (
	"context"
	"errors"
)

// While PostgreSQL does not respond, one line in the log says so, whoever notices first, and another one when it is over. The query for the clock
// each second notices in any case. Callers get chat.ErrAway, and nobody logs that again.

// Away reports whether the database does not respond.
func (s *Store) Away() bool { return s.away.Load() }

// lost records that the database does not respond.
func (s *Store) lost(err error) {
	if s.closing.Err() == nil && !s.away.Swap(true) {
		s.cfg.Log.Error("store: the database does not answer", "err", err)
	}
}

// back records that it does.
func (s *Store) back() {
	if s.away.Swap(false) {
		s.cfg.Log.Info("store: the database answers again")
	}
}

// gone reports whether an error means that the database was not reached, or is shutting down or starting.
func gone(err error) bool {
	switch c := code(err); c {
	case "":
		return passing(err) && !errors.Is(err, context.Canceled)
	case "57P01", "57P02", "57P03": // it is stopping, has crashed, or is starting
		return true
	default:
		return len(c) > 2 && c[:2] == "08" // the connection
	}
}
