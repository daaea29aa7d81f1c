package store

import (
	"errors"

	"github.com/mattn/go-sqlite3"
)

// Another program may lock the database: a shell with BEGIN IMMEDIATE, a backup tool. A transaction waits for it as long as Config.LockWait says, and then what it
// was to do is refused. Nothing of it was written, so nothing is unknown, and the next transaction tries again. Reads go on: a lock keeps nobody from reading.

// isLocked says that another connection's lock was in the way, and that nothing of the transaction counts.
func isLocked(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.Code == sqlite3.ErrBusy || e.Code == sqlite3.ErrProtocol)
}

// Locked says that the last write was refused because another program has locked the database.
func (s *Store) Locked() bool { return s.locked.Load() }

// lockedOut makes the store as it was before the transaction that could not begin. An error of it is the end of the store.
func (s *Store) lockedOut(err error) error {
	if !s.locked.Swap(true) {
		s.cfg.Log.Error("store: another program has locked the database; what cannot be written is refused until it lets go", "dir", s.cfg.Dir, "err", err)
	}
	if s.closed.Load() { // what is left in the queue need not wait as long once more
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
