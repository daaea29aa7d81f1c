package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/tidings-im/tidings/internal/store/tables"
)

// Look reads a database as it is at one moment, whether a server uses it or not, and has no right to change it.
type Look struct {
	db   *sql.DB
	conn *sql.Conn
}

// LookAt opens a database file. One that is damaged is refused.
func LookAt(ctx context.Context, file string) (*Look, error) {
	l := &Look{db: readOnly(file)}
	conn, err := l.db.Conn(ctx)
	if err == nil {
		l.conn = conn
		_, err = conn.ExecContext(ctx, "BEGIN")
	}
	if err != nil {
		err = errors.Join(err, l.Close())
		if isDamaged(err) {
			err = &DamagedError{file, err}
		}
		return nil, err
	}
	return l, nil
}

func (l *Look) Dialect() tables.Dialect { return tables.SQLite }

func (l *Look) Ask(ctx context.Context, read func(tables.Rows) error, text string, args ...any) error {
	return ask(ctx, l.conn, read, text, args)
}

// Close ends the reading.
func (l *Look) Close() error {
	if l.conn == nil {
		return l.db.Close()
	}
	return errors.Join(l.conn.Close(), l.db.Close())
}

// BackupOf returns the name of the store that a file is a backup of; an error if it is none.
func BackupOf(ctx context.Context, file string) (name string, err error) {
	l, err := LookAt(ctx, file)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	var mark int64
	if err := l.conn.QueryRowContext(ctx, "PRAGMA application_id").Scan(&mark); err != nil {
		return "", err
	}
	if mark != backupMark {
		return "", fmt.Errorf("%s is not a backup that this program made", file)
	}
	return tables.StoreName(ctx, l)
}
