package client

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"

	sqlite3 "github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/im"
)

// What comes from outside (bytes of a server, the file of a local database) never ends the process of the application.

// errPanic stands for a panic where an error of the local database would: nothing of the batch holds.
var errPanic = errors.New("a mistake inside the client")

// contain runs a piece of work on what a server sent or a local database holds. After a panic in it the batch is undone, the connection is made anew, and the process
// lives on. Callbacks of the application are not run in here.
func (c *Client) contain(f func()) {
	defer func() {
		if r := recover(); r != nil {
			c.panicked(r)
		}
	}()
	f()
}

func (c *Client) panicked(r any) {
	c.log.Error("the client failed inside; connecting anew", "panic", r, "stack", string(debug.Stack()))
	c.check(errPanic)
	c.post(func() {}) // the undoing comes with the next commit
}

// undo follows a failure of the local database: the batch is rolled back, what was to be told is dropped (calls that would have kept something here fail with 6019), memory is read
// from the database again, and the connection is made anew so that the sync brings everything once more.
func (c *Client) undo() {
	err := c.dbErr
	c.dbErr = nil
	if err != errPanic { // which is in the log
		c.log.Error("local database failed", "error", err)
	}
	failed := &im.Error{Code: im.CodeDatabase, Desc: "the local database failed: " + err.Error()}
	if c.db != nil {
		c.db.rollback()
	}
	out := c.out
	c.out, c.toSend = nil, nil
	for _, o := range out {
		if o.answer {
			if o.undone != nil {
				o.undone()
			}
			c.out = append(c.out, o)
		}
	}
	c.failCalls(failed)
	c.tellCleared()
	c.tell()
	if c.link != nil {
		c.link.Break()
	}
	if c.db == nil { // nothing is local
		c.dbErr = nil
		return
	}
	readErr := c.load()
	if readErr != nil && isDamaged(errors.Join(err, readErr)) {
		c.db.close()
		c.forgetFired()
		var db *local
		if db, readErr = openUsable(c.dir, c.cfg.UserID, c.log); readErr == nil {
			c.db = db
			readErr = c.load()
		}
	}
	if readErr != nil {
		c.log.Error("the local database cannot be read; this device keeps nothing until the next login", "error", readErr)
		c.db.close()
		c.db = nil
		c.forgetFired()
		c.hangUp(LoggedOut)
	}
	c.dbErr = nil
}

// forgetFired goes with the database that the owed ids were of.
func (c *Client) forgetFired() {
	c.mu.Lock()
	c.fired = nil
	c.mu.Unlock()
}

// errForeign says that a file is a database, and not one that this program has made.
var errForeign = errors.New("client: the file has another content than a local database")

// isRefused says that SQLite would not run a statement, and not that the disk failed.
func isRefused(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.Code == sqlite3.ErrError || e.Code == sqlite3.ErrTooBig)
}

// isBusy says that another connection has the database locked.
func isBusy(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.Code == sqlite3.ErrBusy
}

// isDamaged says that SQLite cannot make sense of the file, or this program of what stands in it.
func isDamaged(err error) bool {
	var e sqlite3.Error
	switch {
	case err == nil:
		return false
	case errors.Is(err, errForeign), strings.Contains(err.Error(), "sql: Scan error on column"): // database/sql has no type for it
		return true
	}
	return errors.As(err, &e) && (e.Code == sqlite3.ErrCorrupt || e.Code == sqlite3.ErrNotADB || e.Code == sqlite3.ErrFormat || e.Code == sqlite3.ErrError)
}

// openSound opens a local database and looks at all that is read at once.
func openSound(dir, user string, log *slog.Logger) (l *local, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: panic: %v\n%s", errForeign, r, debug.Stack())
		}
		if err != nil && l != nil {
			l.close()
			l = nil
		}
	}()
	if l, err = openLocal(dir, user, log); err != nil {
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
	convs, err := l.loadConvs()
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
		if n, err := l.metaInt(key); err != nil || n < 0 || n > maxNumber {
			return l, cmp.Or(err, errForeign)
		}
	}
	return l, l.loadLast()
}

// maxNumber is the largest count or number that a server takes: with a larger one the device could never sync or log in again.
const maxNumber = 1 << 48

// ownSchema is the schema that the migrations make. A trigger or a view in a file would run whatever its author wants.
var ownSchema = sync.OnceValues(func() (string, error) {
	l, err := openLocal("", "", slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	defer l.close()
	return l.schema()
})

func (l *local) schema() (string, error) {
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
