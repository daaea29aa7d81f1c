package pg

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidings-im/tidings/internal/chat"
)

// SQLSTATEs: the disk is full; a server that takes no writes; a row that somebody else holds; a row that is there already.
const (
	diskFull    = "53100"
	readOnly    = "25006"
	lockTimeout = "55P03"
	notUnique   = "23505"
)

// code returns the SQLSTATE of an error that PostgreSQL sent, or nothing.
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// undone reports whether PostgreSQL has answered a statement with an error, which undoes the transaction. An error that ends the connection may also
// come after the commit.
func undone(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.SeverityUnlocalized == "ERROR"
}

// conflict reports whether a transaction was undone because of another one, and may be run again at once.
func conflict(err error) bool {
	switch code(err) {
	case "40001", "40P01": // serialisation failure, deadlock
		return true
	}
	return false
}

// passing reports whether an error may go away by itself: the connection or the server is gone, or it waits for somebody.
func passing(err error) bool {
	c := code(err)
	if len(c) < 2 {
		return !errors.Is(err, errRow) && !errors.Is(err, ErrMoved)
	}
	switch c[:2] {
	case "08", "40", "57": // connection; rollback; intervention by an operator, or a statement that took too long
		return true
	case "53": // resources; but a full disk is reported at once
		return c != diskFull
	case "25": // read-only: a standby that is being promoted, or a primary that no longer is one; or a transaction that idled too long
		return c == readOnly || c == "25P03"
	}
	return c == lockTimeout
}

// failure is the error for callers.
func failure(err error) error {
	if code(err) == diskFull {
		return fmt.Errorf("%w: %w", chat.ErrFull, err)
	}
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) && e.Code == notUnique && e.TableName == "done" {
		return chat.ErrDone
	}
	if gone(err) {
		return fmt.Errorf("%w: %w", chat.ErrAway, err)
	}
	return fmt.Errorf("store: postgres: %w", err)
}
