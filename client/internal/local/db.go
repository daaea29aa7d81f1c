// Package local is what a device keeps on its disk: its folder and id, and per user a database of conversations, messages, and callbacks that are
// still owed to the application. All SQL of the client is here.
package local

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"github.com/gofrs/flock"
	"github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/private"
)

// migrations bring a local database from version i to i+1; the version is SQLite's user_version.
var migrations = []string{schema1, schema2, schema3, schema4, schema5, schema6, schema7}

var (
	//go:embed schema1.sql
	schema1 string
	//go:embed schema2.sql
	schema2 string
	//go:embed schema3.sql
	schema3 string
	//go:embed schema4.sql
	schema4 string
	//go:embed schema5.sql
	schema5 string
	//go:embed schema6.sql
	schema6 string
	//go:embed schema7.sql
	schema7 string
)

// memoryNames distinguishes in-memory databases of one process.
var memoryNames atomic.Int64

// DB is the database of one user on this device. One goroutine at a time uses it. Writes belong to a transaction that the first of them begins, and
// Commit or Rollback ends.
type DB struct {
	db    *sql.DB
	conn  *sql.Conn
	lock  *flock.Flock // nil in memory
	InTx  bool
	stmts map[string]*sql.Stmt
	// Reads counts queries: the cost of a call.
	Reads int
	// lastMessage is the last id of a message. Ids that are given up are not reused: owed callbacks and the index name messages by them.
	lastMessage int64
}

// ErrLocked means that another process has the user's database open.
var ErrLocked = errors.New("client: the user's database is in use by another process")

// open opens the database of user in dir, or one in memory if dir is empty. If another process has it, it does not wait but returns ErrLocked. An
// open database is locked until it is closed, so that no statement waits for another process either.
func open(dir, user string, log *slog.Logger) (*DB, error) {
	l := &DB{stmts: map[string]*sql.Stmt{}}
	dsn := fmt.Sprintf("file:tidings-%d?mode=memory&cache=private", memoryNames.Add(1))
	if dir != "" {
		base := localBase(dir, user)
		if err := os.MkdirAll(filepath.Dir(base), 0o700); err != nil {
			return nil, err
		}
		l.lock = flock.New(base + ".lock")
		if err := private.File(l.lock.Path()); err != nil {
			return nil, err
		}
		ok, err := l.lock.TryLock()
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, ErrLocked
		}
		// SQLite gives files that it makes beside a database the mode of the database.
		if err := errors.Join(private.File(base+".db"), private.Narrow(base+".db-wal", base+".db-shm")); err != nil {
			log.Warn("others may be able to read the user's local data", "file", base+".db", "error", err)
		}
		dsn = "file:" + (&fileURL{base + ".db"}).String() + "?_synchronous=NORMAL&_busy_timeout=0&_locking_mode=EXCLUSIVE"
	}
	var err error
	if l.db, err = sql.Open("sqlite3", dsn); err == nil {
		l.db.SetMaxOpenConns(1)
		l.conn, err = l.db.Conn(context.Background())
	}
	if err == nil && dir != "" {
		// Not in the DSN, whose order is the driver's: only a connection that enters WAL mode in the exclusive mode has the file to itself from then
		// on.
		_, err = l.conn.ExecContext(bg, "PRAGMA journal_mode = WAL")
	}
	if err == nil {
		err = l.migrate()
	}
	if isBusy(err) {
		l.Close()
		return nil, ErrLocked
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("client: local database of %q: %w", user, err)
	}
	return l, nil
}

// localBase returns the path of a user's local files without their extensions.
func localBase(dir, user string) string {
	return filepath.Join(dir, "users", hex.EncodeToString([]byte(user)))
}

// fileURL writes a path so that SQLite's URI parser returns it.
type fileURL struct{ path string }

func (u *fileURL) String() string {
	out := make([]byte, 0, len(u.path))
	for i := 0; i < len(u.path); i++ {
		switch b := u.path[i]; b {
		case '?', '#', '%':
			out = fmt.Appendf(out, "%%%02X", b)
		default:
			out = append(out, b)
		}
	}
	return string(out)
}

func (l *DB) migrate() error {
	var version int
	if err := l.conn.QueryRowContext(bg, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version < 0 {
		return errForeign
	}
	if version > len(migrations) {
		return fmt.Errorf("made by a newer version (schema %d, this one knows %d)", version, len(migrations))
	}
	for ; version < len(migrations); version++ {
		l.begin()
		if _, err := l.conn.ExecContext(bg, migrations[version]); err != nil {
			l.Rollback()
			return err
		}
		if version == asideVersion {
			if err := l.markAside(); err != nil {
				l.Rollback()
				return err
			}
		}
		if _, err := l.conn.ExecContext(bg, fmt.Sprintf("PRAGMA user_version = %d", version+1)); err != nil {
			l.Rollback()
			return err
		}
		if err := l.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// asideVersion is the last version whose messages do not record beside their content that they are excluded.
const asideVersion = 2

// markAside updates the column from the contents.
func (l *DB) markAside() error {
	rows, err := l.query("SELECT id, body FROM message")
	if err != nil {
		return err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		var body sql.RawBytes
		if err := rows.Scan(&id, &body); err != nil {
			return err
		}
		if im.Aside(body) {
			ids = append(ids, id)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	rows.Close() // the connection is needed
	for _, id := range ids {
		if _, err := l.exec("UPDATE message SET aside = 1 WHERE id = ?", id); err != nil {
			return err
		}
	}
	return nil
}

// bg is the context of local statements: they are short and must not be interrupted.
var bg = context.Background()

func (l *DB) Close() {
	if l.InTx {
		l.Rollback()
	}
	for _, s := range l.stmts {
		s.Close()
	}
	if l.conn != nil {
		l.conn.Close()
	}
	if l.db != nil {
		l.db.Close()
	}
	if l.lock != nil {
		l.lock.Unlock()
	}
}

// begin opens the batch's transaction if it is not open.
func (l *DB) begin() error {
	if l.InTx {
		return nil
	}
	if _, err := l.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	l.InTx = true
	return nil
}

func (l *DB) Commit() error {
	if !l.InTx {
		return nil
	}
	l.InTx = false
	_, err := l.exec("COMMIT")
	return err
}

func (l *DB) Rollback() {
	l.InTx = false
	l.exec("ROLLBACK")
}

// prepared keeps a statement per text: the set of texts is fixed by the code.
func (l *DB) prepared(q string) (*sql.Stmt, error) {
	if s, ok := l.stmts[q]; ok {
		return s, nil
	}
	s, err := l.conn.PrepareContext(bg, q)
	if err != nil {
		return nil, err
	}
	l.stmts[q] = s
	return s, nil
}

func (l *DB) exec(q string, args ...any) (sql.Result, error) {
	s, err := l.prepared(q)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(bg, countable(args)...)
}

// countable limits numbers from elsewhere, such as those in a message id, to what SQL can count; beyond it there are none, here or at a server.
func countable(args []any) []any {
	for i, a := range args {
		if n, ok := a.(uint64); ok {
			args[i] = int64(min(n, math.MaxInt64))
		}
	}
	return args
}

// write is exec inside the batch's transaction.
func (l *DB) write(q string, args ...any) (sql.Result, error) {
	if err := l.begin(); err != nil {
		return nil, err
	}
	return l.exec(q, args...)
}

func (l *DB) query(q string, args ...any) (*sql.Rows, error) {
	s, err := l.prepared(q)
	if err != nil {
		return nil, err
	}
	l.Reads++
	return s.QueryContext(bg, countable(args)...)
}

// OnCommit runs f inside each commit, before it is done; if it does not return 0, the commit fails.
func (l *DB) OnCommit(f func() int) error {
	return l.conn.Raw(func(conn any) error {
		conn.(*sqlite3.SQLiteConn).RegisterCommitHook(f)
		return nil
	})
}

// Meta reads a value; absent is "".
func (l *DB) Meta(key string) (string, error) {
	s, err := l.prepared("SELECT value FROM meta WHERE key = ?")
	if err != nil {
		return "", err
	}
	var v string
	err = s.QueryRowContext(bg, key).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return v, err
}

// MetaInt reads a number; absent or unreadable is 0.
func (l *DB) MetaInt(key string) (int64, error) {
	v, err := l.Meta(key)
	n, _ := strconv.ParseInt(v, 10, 64)
	return n, err
}

func (l *DB) SetMeta(key string, value any) error {
	_, err := l.write("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, fmt.Sprint(value))
	return err
}
