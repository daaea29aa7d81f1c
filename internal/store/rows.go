package store

import (
	"context"
	"database/sql"

	"github.com/tidings-im/tidings/internal/store/tables"
)

// querier is a connection or a pool of them.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// all reads the rows of a query.
func all[T any](rows *sql.Rows, err error, scan func(tables.Scanner) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}
