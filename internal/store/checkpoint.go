package store

import (
	"os"
	"path/filepath"
	"time"
)

const (
	checkpointEvery = 300 * time.Millisecond
	// walRestart is the size of the WAL from which the writer is asked to start it over; walKeep what stays of the file then.
	walRestart = 64 << 20
	walKeep    = 64 << 20
)

// checkpoint copies the WAL into the database from a connection of its own, so that no commit waits for it. That never gets to the end
// of the WAL while the writer goes on, so above a size the writer itself is asked to copy the rest, which is little then, and to start over.
func (s *Store) checkpoint() {
	defer s.checkpointed.Done()
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	wal := filepath.Join(s.cfg.Dir, dbFile+"-wal")
	var seen uint64
	for {
		select {
		case <-s.stopCkpt:
			return
		case <-tick.C:
		}
		n := s.commits.Load()
		if n == seen {
			continue
		}
		seen = n
		var busy, pages, copied int
		err := s.ckpt.QueryRowContext(background, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &pages, &copied)
		if err != nil {
			s.cfg.Log.Warn("store: checkpoint", "err", err)
			continue
		}
		if fi, err := os.Stat(wal); err == nil && fi.Size() > walRestart && pages*4096 > walRestart {
			select {
			case s.settle <- struct{}{}:
			default:
			}
		}
	}
}

// restartWAL copies the rest of the WAL and starts it over, between two transactions. It does not wait for readers: then it is done next time.
func (s *Store) restartWAL() {
	ctx := background
	_, err := s.w.ExecContext(ctx, "PRAGMA busy_timeout=0")
	if err == nil {
		var busy, pages, copied int
		err = s.w.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &copied)
	}
	if err != nil {
		s.cfg.Log.Warn("store: restart of the WAL", "err", err)
	}
	if _, err := s.w.ExecContext(ctx, "PRAGMA busy_timeout=5000"); err != nil {
		s.cfg.Log.Warn("store: restart of the WAL", "err", err)
	}
}
