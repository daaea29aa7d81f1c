package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// querier is a connection or a pool of them.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func ask(ctx context.Context, q querier, read func(tables.Rows) error, text string, args []any) error {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	return read(rows)
}

// reads runs queries on the connections for reads.
type reads struct{ s *Store }

var _ tables.Base = reads{}

func (r reads) Dialect() tables.Dialect { return tables.SQLite }

// Ask returns ErrClosed after Close.
func (r reads) Ask(ctx context.Context, read func(tables.Rows) error, text string, args ...any) error {
	if r.s.closed.Load() {
		return chat.ErrClosed
	}
	return ask(ctx, r.s.read, read, text, args)
}

func (r reads) Run(ctx context.Context, _ []chat.Key, fn func(*tables.Tx) error) error {
	return r.s.update(ctx, func(t *tx) error { return fn(&t.Tx) })
}

func (r reads) Conv(ctx context.Context, id chat.ConvID) (chat.Conv, error) { return r.s.Conv(ctx, id) }

// Latest does not use the row: the end in memory may have been written after the row was read, and may have left the memory since.
func (r reads) Latest(ctx context.Context, c chat.Conv) (chat.Conv, error) {
	return r.s.Conv(ctx, c.ID)
}

// published returns the last committed state of a conversation that is in memory.
func (s *Store) published(id chat.ConvID) (chat.Conv, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h := s.heads[id]
	if h == nil || h.pub.ID == 0 {
		return chat.Conv{}, false
	}
	return h.pub, true
}

// Conv uses memory, which has the ends that are not in the row yet. A conversation that is not in memory equals its row.
func (s *Store) Conv(ctx context.Context, id chat.ConvID) (chat.Conv, error) {
	if s.closed.Load() {
		return chat.Conv{}, chat.ErrClosed
	}
	if c, ok := s.published(id); ok {
		return c, nil
	}
	return tables.ConvByID.One(ctx, reads{s}, int64(id))
}

// Heads reads rows, so the heads are flushed first; the flush is shared with the group commit and with everybody who asks at the same time.
func (s *Store) Heads(ctx context.Context, uid chat.UID, since int64, after chat.ConvID, limit int) ([]chat.HeadRow, bool, error) {
	if err := s.flushed(ctx); err != nil {
		return nil, false, err
	}
	return s.Both.Heads(ctx, uid, since, after, limit)
}

func (s *Store) Head(ctx context.Context, uid chat.UID, id chat.ConvID) (chat.HeadRow, error) {
	s.mu.RLock()
	h := s.heads[id]
	behind := h != nil && h.unflushed
	s.mu.RUnlock()
	if behind {
		if err := s.flushed(ctx); err != nil {
			return chat.HeadRow{}, err
		}
	}
	return s.Both.Head(ctx, uid, id)
}

// Log reads by entry.id: the writer draws it in the order of the commits, and a reader sees whole transactions.
func (s *Store) Log(ctx context.Context, after int64, limit int) ([]chat.LogEntry, error) {
	return s.LogUpTo(ctx, after, tables.LogEnds, limit)
}

func (s *Store) LogEnd(ctx context.Context) (int64, error) { return s.LastUpTo(ctx, tables.LogEnds) }

const moveCursor = "UPDATE progress SET pos = max(pos, $1) WHERE name = $2"

func (s *Store) SetCursor(ctx context.Context, name string, pos, _ int64) error {
	return s.update(ctx, func(t *tx) error { return t.Tell(background, moveCursor, pos, name) })
}

// Lease always succeeds: one process at a time has the data folder.
func (s *Store) Lease(context.Context, string, int64, time.Duration) (int64, error) { return 1, nil }
