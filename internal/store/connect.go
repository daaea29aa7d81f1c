package store

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/mattn/go-sqlite3"
)

// connector opens connections with the driver itself, so that no name has to be registered.
type connector struct{ dsn string }

func (c connector) Driver() driver.Driver { return &sqlite3.SQLiteDriver{} }

// Connect opens a connection that keeps in memory what SQLite would put into temporary files: there may be no descriptor left for one.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Driver().Open(c.dsn)
	if err != nil {
		return nil, err
	}
	if _, err := conn.(driver.ExecerContext).ExecContext(ctx, "PRAGMA temp_store=MEMORY", nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
