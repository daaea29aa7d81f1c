package store

import (
	"errors"

	"github.com/mattn/go-sqlite3"
)

// Another program may lock the database: a shell with BEGIN IMMEDIATE, a backup tool. A transaction waits for it as long as Config.LockWait says, and
// is then refused. Nothing of it was written, so nothing is unknown, and the next transaction tries again. Reads continue: a lock does not block
// them.

// isLocked reports whether another connection's lock was in the way, and nothing of the transaction counts.
func isLocked(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.Code == sqlite3.ErrBusy || e.Code == sqlite3.ErrProtocol)
}

// Locked reports whether the last write was refused because another program has locked the database.
func (s *Store) Locked() bool { return s.locked.Load() }

// lockedOut restores the state before the transaction that could not begin. An error from it is the end of the store.
func (s *Store) lockedOut(err error) error {
	if !s.locked.Swap(true) {
		s.cfg.Log.Error("store: another program has locked the database; what cannot be written is refused until it lets go", "dir", s.cfg.Dir, "err", err)
	}
	if s.closed.Load() { // what is left in the queue need not wait as long again
		if _, err := s.w.ExecContext(background, "PRAGMA busy_timeout=100"); err != nil {
			return err
		}
	}
	for {
		if err := s.rollback(); !isLocked(err) {
			return err
		}
	}
}

// letIn ends the refusals.
func (s *Store) letIn() {
	if s.locked.CompareAndSwap(true, false) {
		s.cfg.Log.Info("store: the database is no longer locked", "dir", s.cfg.Dir)
	}
}
