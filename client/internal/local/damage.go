package local

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/im"
)

// Open opens the database of a user in dir, or one in memory if dir is empty. If another process has it, it does not wait but returns ErrLocked. A
// damaged database is set aside: the sync brings back what the server has, and the old files stay beside it under a name with the time.
func Open(dir, user string, log *slog.Logger) (*DB, error) {
	for try := 0; ; try++ {
		l, err := openSound(dir, user, log)
		if err == nil {
			return l, nil
		}
		if !IsDamaged(err) || dir == "" || try > 0 {
			return nil, err
		}
		base := localBase(dir, user) + ".db"
		aside := fmt.Sprintf("%s.damaged-%d", base, time.Now().Unix())
		log.Error("the local database is damaged; it is set aside and a new one begins", "file", base, "kept as", aside, "error", err)
		for _, part := range []string{"", "-wal", "-shm"} {
			if err := os.Rename(base+part, aside+part); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
		}
	}
}

// errForeign means that a file is a database that this program has not made.
var errForeign = errors.New("client: the file has another content than a local database")

// IsRefused reports whether SQLite did not run a statement, and the disk did not fail.
func IsRefused(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.Code == sqlite3.ErrError || e.Code == sqlite3.ErrTooBig)
}

// isBusy reports whether another connection has the database locked.
func isBusy(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.Code == sqlite3.ErrBusy
}

// ErrUnreadable is the error of a message whose content cannot be decoded.
var ErrUnreadable = errors.New("client: a message in the local database cannot be decoded")

// IsUnreadable reports whether a row has values that this program cannot have written; the other rows may be sound.
func IsUnreadable(err error) bool {
	return errors.Is(err, ErrUnreadable) || err != nil && strings.Contains(err.Error(), "sql: Scan error on column") // database/sql has no type for it
}

// IsDamaged reports whether SQLite cannot read the file, or this program cannot read its contents.
func IsDamaged(err error) bool {
	var e sqlite3.Error
	switch {
	case err == nil:
		return false
	case errors.Is(err, errForeign), IsUnreadable(err):
		return true
	}
	return errors.As(err, &e) && (e.Code == sqlite3.ErrCorrupt || e.Code == sqlite3.ErrNotADB || e.Code == sqlite3.ErrFormat || e.Code == sqlite3.ErrError)
}

// DropUnreadable removes the messages that cannot be read: every use of one would fail again. It returns how many there were. The history brings back
// those that the server has.
func (l *DB) DropUnreadable() (int, error) {
	rows, err := l.query("SELECT " + messageColumns + " FROM message ORDER BY id")
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var bad []any
	for rows.Next() {
		var id any
		rest := make([]any, strings.Count(messageColumns, ","))
		for i := range rest {
			rest[i] = new(any)
		}
		if err := rows.Scan(append([]any{&id}, rest...)...); err != nil {
			return 0, err
		}
		m := &Message{}
		if rows.Scan(m.columns()...) != nil || (&im.Message{}).UnmarshalVT(m.Body) != nil {
			bad = append(bad, id)
		}
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	rows.Close() // the connection is needed
	for _, id := range bad {
		if _, err := l.write("DELETE FROM message WHERE id = ?", id); err != nil {
			l.Rollback()
			return 0, err
		}
	}
	return len(bad), l.Commit()
}

// openSound opens a local database and checks everything that is read at once.
func openSound(dir, user string, log *slog.Logger) (l *DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: panic: %v\n%s", errForeign, r, debug.Stack())
		}
		if err != nil && l != nil {
			l.Close()
			l = nil
		}
	}()
	if l, err = open(dir, user, log); err != nil {
		return nil, err
	}
	have, err := l.schema()
	if err != nil {
		return l, err
	}
	want, err := ownSchema()
	if err != nil {
		return l, err
	}
	if have != want {
		return l, errForeign
	}
	convs, err := l.Convs()
	if err != nil {
		return l, err
	}
	for _, cv := range convs {
		for _, v := range cv.columns() {
			if n, ok := v.(*uint64); ok && *n > maxNumber {
				return l, errForeign
			}
		}
	}
	for _, key := range []string{"generation", "kicked"} {
		if n, err := l.MetaInt(key); err != nil || n < 0 || n > maxNumber {
			return l, cmp.Or(err, errForeign)
		}
	}
	if _, err := l.Owed(); err != nil {
		return l, err
	}
	if n, err := l.LastOwed(); err != nil || n > maxNumber {
		return l, cmp.Or(err, errForeign)
	}
	return l, l.LoadLast()
}

// maxNumber is the largest count or number that a server accepts: with a larger one the device could never sync or log in again.
const maxNumber = 1 << 48

// ownSchema is the schema that the migrations make. A trigger or a view in a file would run whatever its author wants.
var ownSchema = sync.OnceValues(func() (string, error) {
	l, err := open("", "", slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.schema()
})

func (l *DB) schema() (string, error) {
	rows, err := l.conn.QueryContext(bg, "SELECT type || ' ' || name || ': ' || coalesce(sql, '') FROM sqlite_schema ORDER BY type, name")
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var all strings.Builder
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			return "", err
		}
		all.WriteString(one + "\n")
	}
	return all.String(), rows.Err()
}
