package store

import (
	"os"
	"path/filepath"
	"time"
)

const (
	checkpointEvery = 300 * time.Millisecond
	// walRestart is the size of the WAL from which the writer is asked to restart it.
	walRestart = 64 << 20
	// After so many ticks without a commit, a large WAL is returned to the file system.
	walQuiet = 100
)

// checkpoint copies the WAL into the database on a connection of its own, so that no commit waits for it. That never gets to the end of the WAL while
// the writer continues, so above a size the writer itself is asked to copy the rest, which is little then, and to start over at the beginning of the
// file: overwriting it costs less than a new file would.
func (s *Store) checkpoint() {
	defer s.checkpointed.Done()
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	wal := filepath.Join(s.cfg.Dir, dbFile+"-wal")
	var seen uint64
	quiet := 0
	for {
		select {
		case <-s.stopCkpt:
			return
		case <-tick.C:
		}
		if n := s.commits.Load(); n == seen {
			if quiet++; quiet == walQuiet {
				if fi, err := os.Stat(wal); err == nil && fi.Size() > walRestart {
					s.settleWAL("TRUNCATE")
				}
			}
			continue
		} else {
			seen, quiet = n, 0
		}
		var busy, pages, copied int64
		err := s.ckpt.QueryRowContext(background, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &pages, &copied)
		if err != nil {
			s.cfg.Log.Warn("store: checkpoint", "err", err)
			continue
		}
		if pages*pageSize > walRestart {
			s.settleWAL("RESTART")
		}
	}
}

// settleWAL asks the writer for a checkpoint between two transactions.
func (s *Store) settleWAL(mode string) {
	select {
	case s.settle <- mode:
	default:
	}
}

// restartWAL is the writer's part. It does not wait for readers: then it is done next time.
func (s *Store) restartWAL(mode string) {
	_, err := s.w.ExecContext(background, "PRAGMA busy_timeout=0")
	if err == nil {
		var busy, pages, copied int64
		err = s.w.QueryRowContext(background, "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &pages, &copied)
	}
	if err != nil {
		s.cfg.Log.Warn("store: checkpoint", "mode", mode, "err", err)
	}
	if _, err := s.w.ExecContext(background, "PRAGMA busy_timeout="+busyTimeout(s.cfg.LockWait)); err != nil {
		s.cfg.Log.Warn("store: checkpoint", "mode", mode, "err", err)
	}
}
