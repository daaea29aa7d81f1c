package store

import (
	"context"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// Log reads by entry.id: the writer draws it in the order of the commits, and a reader sees whole transactions.
func (s *Store) Log(ctx context.Context, after int64, limit int) ([]chat.LogEntry, error) {
	if err := s.reading(); err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, "SELECT e.id, "+tables.EntryCols+" FROM entry e WHERE e.id > $1 ORDER BY e.id LIMIT $2", after, max(limit, 0))
	return all(rows, err, tables.ScanLog)
}

func (s *Store) LogEnd(ctx context.Context) (int64, error) {
	if err := s.reading(); err != nil {
		return 0, err
	}
	var id int64
	err := s.read.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM entry").Scan(&id)
	return id, err
}

func (s *Store) Cursor(ctx context.Context, name string) (int64, error) {
	if err := s.reading(); err != nil {
		return 0, err
	}
	var pos int64
	err := s.read.QueryRowContext(ctx, "SELECT pos FROM progress WHERE name = $1", name).Scan(&pos)
	return found(pos, err)
}

func (s *Store) StartCursor(ctx context.Context, name string, pos int64) error {
	return s.update(ctx, func(t *tx) error {
		t.wrote = true
		_, err := t.db.ExecContext(background, "INSERT INTO progress (name, pos) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", name, pos)
		return err
	})
}

func (s *Store) SetCursor(ctx context.Context, name string, pos, _ int64) error {
	return s.update(ctx, func(t *tx) error {
		t.wrote = true
		_, err := t.db.ExecContext(background, "UPDATE progress SET pos = max(pos, $1) WHERE name = $2", pos, name)
		return err
	})
}

// Lease is always had: one process at a time has the data folder.
func (s *Store) Lease(context.Context, string, int64, time.Duration) (int64, error) { return 1, nil }
