package pg

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/internal/chat"
)

// A lease ends by PostgreSQL's clock, and not with a connection: a process that is suspended keeps its connections.
const (
	sqlMillis = "(" + sampleSQL + " / 1000)"
	sqlTake   = `INSERT INTO lease (name, epoch, until) VALUES ($1, 1, ` + sqlMillis + ` + $2)
		ON CONFLICT (name) DO UPDATE SET epoch = lease.epoch + 1, until = excluded.until WHERE lease.until <= ` + sqlMillis + ` RETURNING epoch`
	sqlRenew = `UPDATE lease SET until = ` + sqlMillis + ` + $2 WHERE name = $1 AND epoch = $3 RETURNING epoch`
	// The row is held until the commit. So a server that takes the lease waits for a step that is being committed, and one that comes later finds
	// another epoch.
	sqlCursor = `WITH mine AS MATERIALIZED (SELECT 1 FROM lease WHERE name = $1 AND epoch = $3 FOR SHARE)
		UPDATE progress SET pos = greatest(pos, $2) WHERE name = $1 AND EXISTS (SELECT 1 FROM mine) RETURNING pos`
)

// Lease is documented at chat.Store.
func (s *Store) Lease(ctx context.Context, name string, epoch int64, d time.Duration) (int64, error) {
	sql, args := sqlTake, []any{name, d.Milliseconds()}
	if epoch > 0 {
		sql, args = sqlRenew, append(args, epoch)
	}
	var got int64
	err := s.pool.QueryRow(ctx, sql, args...).Scan(&got)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, failure(err)
	}
	return got, nil
}

// SetCursor is documented at chat.Store.
func (s *Store) SetCursor(ctx context.Context, name string, pos, lease int64) error {
	var got int64
	err := s.pool.QueryRow(ctx, sqlCursor, name, pos, lease).Scan(&got)
	if errors.Is(err, pgx.ErrNoRows) {
		return chat.ErrLease
	}
	if err != nil {
		return failure(err)
	}
	return nil
}
