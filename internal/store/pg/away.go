package pg

import (
	"context"
	"errors"
)

// While PostgreSQL does not answer, one line of the log says so, whoever notices first, and another one when it is over. The look at the clock each second
// notices in any case. Callers are told by chat.ErrAway, and nobody logs that again.

// Away says that the database does not answer.
func (s *Store) Away() bool { return s.away.Load() }

// lost notes that the database does not answer.
func (s *Store) lost(err error) {
	if s.closing.Err() == nil && !s.away.Swap(true) {
		s.cfg.Log.Error("store: the database does not answer", "err", err)
	}
}

// back notes that it does.
func (s *Store) back() {
	if s.away.Swap(false) {
		s.cfg.Log.Info("store: the database answers again")
	}
}

// gone says that an error means that the database was not reached, or is going or coming.
func gone(err error) bool {
	switch c := code(err); c {
	case "":
		return passing(err) && !errors.Is(err, context.Canceled)
	case "57P01", "57P02", "57P03": // it stops, it has crashed, it starts
		return true
	default:
		return len(c) > 2 && c[:2] == "08" // the connection
	}
}
