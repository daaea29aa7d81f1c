package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidings-im/tidings/internal/store/tables"
)

// Look reads a database as it is at one moment, whether servers use it or not, and changes nothing.
type Look struct{ conn *pgx.Conn }

// LookAt opens a database that a Store has made.
func LookAt(ctx context.Context, dsn string) (*Look, error) {
	pc, err := pgxpool.ParseConfig(dsn) // as a server reads it
	if err != nil {
		return nil, fmt.Errorf("postgres: the address cannot be read: %s", unquoted(err))
	}
	conn, err := pgx.ConnectConfig(ctx, pc.ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("postgres: %s", unquoted(err))
	}
	l := &Look{conn}
	if _, err = conn.Exec(ctx, "SET idle_in_transaction_session_timeout = 0"); err == nil {
		_, err = conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Look) Dialect() tables.Dialect { return tables.Postgres }

func (l *Look) Ask(ctx context.Context, read func(tables.Rows) error, text string, args ...any) error {
	return ask(ctx, l.conn, read, text, args...)
}

// Close ends the reading.
func (l *Look) Close() error { return l.conn.Close(context.Background()) }
