package pg

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// read lends a connection to f. ctx only limits the waiting for one: cancelling a running query costs the connection, and reads are short. A
// connection that turns out to be broken is replaced, as often as there may be others of its age.
func (s *Store) read(ctx context.Context, f func(ctx context.Context, c *pgxpool.Conn) error) error {
	if s.closed.Load() {
		return chat.ErrClosed
	}
	if s.moved.Load() {
		return failure(ErrMoved)
	}
	for tries := int32(0); ; tries++ {
		wait, cancel := context.WithTimeout(ctx, s.cfg.Within)
		c, err := s.pool.Acquire(wait)
		cancel()
		switch {
		case s.closed.Load() && err != nil:
			return chat.ErrClosed
		case ctx.Err() != nil && err != nil:
			return ctx.Err()
		case err != nil:
			return failure(err)
		}
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Within)
		err = f(limit, c)
		cancel()
		lost := c.Conn().IsClosed()
		c.Release()
		switch {
		case err == nil || errors.Is(err, chat.ErrNotFound):
			return err
		case errors.Is(err, pgx.ErrNoRows):
			return chat.ErrNotFound
		case !lost || tries > s.pool.Stat().MaxConns() || limit.Err() == context.DeadlineExceeded:
			return failure(err)
		}
	}
}

// rows adapts a result of pgx to package tables.
type rows struct{ pgx.Rows }

func (r rows) Columns() ([]string, error) {
	fields := r.FieldDescriptions()
	out := make([]string, len(fields))
	for i := range fields {
		out[i] = fields[i].Name
	}
	return out, nil
}

// reads runs queries on the pool.
type reads struct{ s *Store }

var _ tables.Base = reads{}

func (r reads) Dialect() tables.Dialect { return tables.Postgres }

func (r reads) Ask(ctx context.Context, read func(tables.Rows) error, text string, args ...any) error {
	return r.s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return ask(ctx, c.Conn(), read, text, args...)
	})
}

// ask runs a query on a connection and reads what it returns.
func ask(ctx context.Context, c *pgx.Conn, read func(tables.Rows) error, text string, args ...any) error {
	res, err := c.Query(ctx, text, args...)
	if err != nil {
		return err
	}
	defer res.Close()
	if err := read(rows{res}); err != nil {
		return err
	}
	res.Close()
	return res.Err()
}

func (r reads) Run(ctx context.Context, keys []chat.Key, fn func(*tables.Tx) error) error {
	return r.s.update(ctx, keys, func(t *tx) error { return fn(&t.Tx) })
}

func (r reads) Conv(ctx context.Context, id chat.ConvID) (chat.Conv, error) { return r.s.Conv(ctx, id) }

// Latest returns the row: nothing is kept in memory.
func (r reads) Latest(_ context.Context, c chat.Conv) (chat.Conv, error) { return c, nil }

func (s *Store) Conv(ctx context.Context, id chat.ConvID) (chat.Conv, error) {
	return tables.ConvByID.One(ctx, reads{s}, int64(id))
}

// Used reports whether there are accounts: somebody may have a ticket.
func (s *Store) Used(ctx context.Context) (used bool, err error) {
	err = s.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM users)").Scan(&used)
	return used, err
}
