package store

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/private"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// A disk without space. What a transaction could not write is undone and refused with ErrFull, and nothing else changes: reads continue, and what was
// acknowledged stays. A reserve file is removed then, so that the heads can still be flushed, which reads of lists need. New entries are refused
// until the reserve can be made again.

const (
	reserveFile = "reserve"
	reserveSize = 16 << 20
	// roomEnough is how much space there must be beside the reserve before messages are accepted again, so that they are not refused at once.
	roomEnough = 4 << 20
)

// fullRetry is how often the space is checked. A variable for tests.
var fullRetry = time.Second

// isFull reports whether a write failed for lack of space, and nothing of its transaction counts.
func isFull(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.Code == sqlite3.ErrFull || e.ExtendedCode == sqlite3.ErrIoErrSHMSize) || errors.Is(err, chat.ErrFull)
}

// Full reports whether the store refuses new entries because its disk is full.
func (s *Store) Full() bool { return s.full.Load() }

// noRoom restores the state before the transaction that failed with err. An error from it is the end of the store.
func (s *Store) noRoom(err error) error {
	if err := s.rollback(); err != nil {
		return err
	}
	s.makeRoom(err)
	s.flush = s.dirty.Load()
	if err := s.apply(nil); err != nil {
		if !isFull(err) {
			return err
		}
		return s.rollback() // not even that: the heads stay dirty
	}
	s.publish()
	return nil
}

// makeRoom begins the refusals.
func (s *Store) makeRoom(err error) {
	if !s.full.Swap(true) {
		s.cfg.Log.Error("store: the disk is full; new messages are refused until there is room", "dir", s.cfg.Dir, "err", err)
	}
	s.fullAt = time.Now()
	if err := os.Remove(filepath.Join(s.cfg.Dir, reserveFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.cfg.Log.Warn("store: reserve", "err", err)
	}
}

// lookForRoom ends the refusals when there is space again.
func (s *Store) lookForRoom() {
	if !s.full.Load() || time.Since(s.fullAt) < fullRetry {
		return
	}
	s.fullAt = time.Now()
	if makeReserve(s.cfg.Dir, roomEnough) == nil {
		s.full.Store(false)
		s.cfg.Log.Info("store: there is room on the disk again", "dir", s.cfg.Dir)
	}
}

// makeReserve makes the reserve file, unless it exists, if the disk has space for it and some more.
func makeReserve(dir string, more int) error {
	name := filepath.Join(dir, reserveFile)
	if fi, err := os.Stat(name); err == nil && fi.Size() == reserveSize {
		return nil
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, private.Mode)
	if err != nil {
		return err
	}
	if err = f.Chmod(private.Mode); err == nil {
		err = allocate(f, reserveSize+more)
	}
	if err == nil {
		err = f.Truncate(reserveSize)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(name)
	}
	return err
}

// refused handles an Append whose transaction failed. One whose key is stored gets the first result.
func (s *Store) refused(o *op, refusal error) event {
	ev := event{err: refusal, done: o.done}
	if s.broken == nil {
		if stored, err := tables.Lookup(background, writing{s.w}, tables.KeyOf(&o.entry)); err == nil {
			ev.err = nil
			ev.answer(&o.entry, stored)
		}
	}
	return ev
}

// writeZeros reserves space for a file by writing it.
func writeZeros(f *os.File, size int) error {
	zeros := make([]byte, 1<<20)
	for ; size > 0; size -= len(zeros) {
		if _, err := f.Write(zeros[:min(size, len(zeros))]); err != nil {
			return err
		}
	}
	return nil
}

// rollback undoes the transaction that could not be written, and resets memory to what was committed.
func (s *Store) rollback() error {
	done := false // SQLite has rolled back by itself
	if err := s.w.Raw(func(c any) error { done = c.(*sqlite3.SQLiteConn).AutoCommit(); return nil }); err != nil {
		return err
	}
	if !done {
		if _, err := s.w.ExecContext(background, "ROLLBACK"); err != nil {
			return fmt.Errorf("rollback: %w", err)
		}
	}
	s.inTx, s.flush, s.batches = false, false, 0
	s.moved, s.dirtyHeads, s.dirtyOwns = s.moved[:0], s.dirtyHeads[:0], s.dirtyOwns[:0]
	s.mu.Lock()
	for id, h := range s.heads {
		if h.pub.ID == 0 {
			delete(s.heads, id)
			continue
		}
		h.Conv, h.moved, h.dirty, h.senders = h.pub, false, h.unflushed, nil
		if h.dirty {
			s.dirtyHeads = append(s.dirtyHeads, h)
		}
	}
	s.mu.Unlock()
	if err := s.w.QueryRowContext(background, "SELECT covered FROM meta").Scan(&s.covered); err != nil {
		return err
	}
	if _, err := s.recount(background); err != nil {
		return fmt.Errorf("recount: %w", err)
	}
	s.publish()
	return nil
}

// SetMaxPages limits the size of the database; 0 means no limit. Tests use it as a full disk.
func (s *Store) SetMaxPages(n int) error {
	n = cmp.Or(n, 1<<32-2)
	done := make(chan error, 1)
	err := s.update(background, func(*tx) error {
		_, err := s.w.ExecContext(background, fmt.Sprintf("PRAGMA max_page_count=%d", n))
		done <- err
		return nil
	})
	return errors.Join(err, <-done)
}
