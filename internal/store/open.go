// Package store is chat.Store on SQL.
//
// SQLite: one data folder, one process, one writer goroutine. Everything that changes the store goes through one queue; the writer takes everything
// that waits, numbers it, writes it in one transaction, and delivers the results after the commit (group commit). Reads have connections of their
// own.
//
// The path of an entry: Append → queue → writer (append.go: number, insert) → COMMIT → delivery goroutine → done. The ends of the conversations live
// in memory (head.go) and are written to their rows from time to time; entries above meta.covered are added to them again at start.
package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/private"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// Config of a Store on SQLite.
type Config struct {
	// Dir is the data folder; it is created if it is missing. One process at a time may use it.
	Dir string
	// Log, by default slog.Default().
	Log *slog.Logger
	// Clock is the wall clock, by default time.Now. It may run back; the store's time does not.
	Clock func() time.Time
	// LockWait is how long a write waits for another program's lock on the database before it is refused: 5 s.
	LockWait time.Duration
	// Fatal is called once when a commit failed: nobody knows what the disk holds then, so the process must end and start again from the disk. By
	// default it logs and exits with 1. If it returns, everything later fails with the error.
	Fatal func(error)
}

const (
	queueLen = 16384
	batchMax = 2000
	readers  = 4
	dbFile   = "tidings.db"
	pageSize = 4096
	// lockWait is how long a connection waits for another one's lock.
	lockWait = 5 * time.Second
	// firstUID leaves room below for numbers that are not accounts. The last digits differ from user to user.
	firstUID = 144115188075855873
)

// Store is chat.Store on SQLite.
type Store struct {
	tables.Both
	cfg  Config
	id   string
	lock *flock.Flock

	read  *sql.DB   // read-only connections
	wdb   *sql.DB   // owns the writer's only connection
	w     *sql.Conn // the writer goroutine's
	ckpt  *sql.DB   // the checkpoint goroutine's
	clock atomic.Int64

	queue   chan op
	deliver chan []event
	free    chan []event // delivered slices on their way back
	settle  chan string  // checkpoints that the writer is asked for

	// gate holds Close back while an operation is being put into the queue. Reads only check closed: a done function may read, and must not wait for
	// a Close that waits for a full queue that waits for it.
	gate   sync.RWMutex
	closed atomic.Bool
	close  sync.Once

	written, delivered sync.WaitGroup
	stopCkpt           chan struct{}
	checkpointed       sync.WaitGroup
	commits            atomic.Uint64

	// mu protects the map (which only the writer changes) and what readers see of the heads.
	mu    sync.RWMutex
	heads map[chat.ConvID]*head
	// dirty means that some head is ahead of its row.
	dirty atomic.Bool
	// full means that there is no space on the disk (full.go), locked that another program has locked the database (locked.go).
	full, locked atomic.Bool

	writer // the writer goroutine's own state
}

var _ chat.Store = (*Store)(nil)

// Open opens the store in a folder, and creates it if there is none.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	cfg.LockWait = cmp.Or(cfg.LockWait, lockWait)
	if cfg.Fatal == nil {
		cfg.Fatal = func(err error) {
			cfg.Log.Error("the store failed, stopping", "dir", cfg.Dir, "err", err)
			os.Exit(1)
		}
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: data folder: %w", err)
	}
	lock := flock.New(filepath.Join(cfg.Dir, "lock"))
	if err := private.File(lock.Path()); err != nil {
		return nil, fmt.Errorf("store: lock of data folder %s: %w", cfg.Dir, err)
	}
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("store: lock of data folder %s: %w", cfg.Dir, err)
	}
	if !ok {
		return nil, fmt.Errorf("store: data folder %s is in use by another process", cfg.Dir)
	}
	s := &Store{
		cfg: cfg, lock: lock,
		queue:    make(chan op, queueLen),
		deliver:  make(chan []event, 4),
		free:     make(chan []event, 8),
		settle:   make(chan string, 1),
		stopCkpt: make(chan struct{}),
		heads:    make(map[chat.ConvID]*head),
	}
	s.On = reads{s}
	if err := s.open(ctx); err != nil {
		s.release()
		return nil, fmt.Errorf("store: %s: %w", cfg.Dir, err)
	}
	s.written.Add(1)
	go s.write()
	s.delivered.Add(1)
	go s.deliverAll()
	s.checkpointed.Add(1)
	go s.checkpoint()
	return s, nil
}

// dsn returns the driver's name of the database file with the settings of every connection.
func (s *Store) dsn(more url.Values) string {
	v := url.Values{"_mutex": {"no"}, "_busy_timeout": {busyTimeout(s.cfg.LockWait)}, "_stmt_cache_size": {"100"}}
	for k := range more {
		v[k] = more[k]
	}
	path := filepath.Join(s.cfg.Dir, dbFile)
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + v.Encode()
}

// busyTimeout returns a duration in SQLite's form.
func busyTimeout(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// pool opens at most n connections and keeps them.
func pool(dsn string, n int) *sql.DB {
	db := sql.OpenDB(connector{dsn})
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db
}

func (s *Store) open(ctx context.Context) error {
	if err := writable(s.cfg.Dir); err != nil {
		return err
	}
	file := filepath.Join(s.cfg.Dir, dbFile)
	// SQLite gives files that it makes beside a database the mode of the database.
	if err := errors.Join(private.File(file), private.Narrow(file+"-wal", file+"-shm", filepath.Join(s.cfg.Dir, reserveFile))); err != nil {
		s.cfg.Log.Warn("store: others may be able to read the data", "dir", s.cfg.Dir, "err", err)
	}
	if err := examine(ctx, file); err != nil {
		return err
	}
	err := s.openDB(ctx)
	if isDamaged(err) {
		return &DamagedError{file, err}
	}
	var e sqlite3.Error
	if errors.As(err, &e) && e.Code == sqlite3.ErrReadonly {
		return fmt.Errorf("the database %s cannot be written; its file, or one beside it, is read-only or belongs to somebody else: %w", file, err)
	}
	if isLocked(err) {
		return fmt.Errorf("another program has locked the database; end it, or make it let go: %w", err)
	}
	return err
}

func (s *Store) openDB(ctx context.Context) error {
	s.wdb = pool(s.dsn(url.Values{
		"_journal_mode": {"WAL"}, "_synchronous": {"FULL"}, "_cache_size": {"-65536"}, "_txlock": {"immediate"}}), 1)
	if err := s.migrate(ctx); err != nil {
		return err
	}
	conn, err := s.wdb.Conn(ctx)
	if err != nil {
		return err
	}
	s.w = conn
	if _, err := conn.ExecContext(ctx, "PRAGMA wal_autocheckpoint=0"); err != nil {
		return err
	}
	var restores int64
	var name string
	var clock int64
	for name == "" {
		err := conn.QueryRowContext(ctx, "SELECT store_id, restores, covered, clock FROM meta").Scan(&name, &restores, &s.covered, &clock)
		if errors.Is(err, sql.ErrNoRows) {
			var b [8]byte
			rand.Read(b[:])
			if err := syncNew(s.cfg.Dir); err != nil {
				return err
			}
			_, err = conn.ExecContext(ctx, `INSERT INTO meta (one, store_id, restores, next_uid, next_conv, covered, clock) VALUES (1, $1, 0, $2, 1, 0, 0)`,
				hex.EncodeToString(b[:]), firstUID)
		}
		if err != nil {
			return err
		}
	}
	s.id = name + "." + strconv.FormatInt(restores, 10)
	s.clock.Store(clock)
	// SQLite opens even what it may not write, and reports that only at the first write.
	if _, err := conn.ExecContext(ctx, "UPDATE meta SET clock = clock"); err != nil && !isFull(err) {
		return err
	}
	if err := s.prepare(); err != nil {
		return err
	}
	if err := s.replay(ctx); err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	if err := makeReserve(s.cfg.Dir, 0); err != nil && !s.full.Load() {
		s.full.Store(true)
		s.cfg.Log.Error("store: the disk is full; new messages are refused until there is room", "dir", s.cfg.Dir, "err", err)
	}
	s.ckpt = pool(s.dsn(nil), 1)
	s.read = pool(s.dsn(url.Values{"_query_only": {"true"}, "_cache_size": {"-8192"}}), readers)
	return errors.Join(openAll(ctx, s.ckpt, 1), openAll(ctx, s.read, readers))
}

// migrate brings the schema to the newest version. The steps that make a new store are not synced one by one: until it has a name, which is the first commit
// that is synced, and syncs all before it, a store has nothing to lose. As nothing is copied from the WAL into the database before that, a loss of power leaves
// a number of whole steps, from which the next start goes on.
func (s *Store) migrate(ctx context.Context) error {
	var tablesNow int
	if err := s.wdb.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tablesNow); err != nil {
		return err
	}
	if tablesNow > 0 {
		return tables.Migrate(ctx, s.wdb, tables.SQLite)
	}
	if _, err := s.wdb.ExecContext(ctx, "PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=OFF"); err != nil {
		return err
	}
	if err := tables.Migrate(ctx, s.wdb, tables.SQLite); err != nil {
		return err
	}
	_, err := s.wdb.ExecContext(ctx, "PRAGMA synchronous=FULL")
	return err
}

// openAll opens the n connections of a pool, and with a read the files under them, so that it needs no descriptor later.
func openAll(ctx context.Context, db *sql.DB, n int) error {
	var errs []error
	for range n {
		conn, err := db.Conn(ctx)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		defer conn.Close() // back into the pool
		var one int
		errs = append(errs, conn.QueryRowContext(ctx, "SELECT one FROM meta").Scan(&one))
	}
	return errors.Join(errs...)
}

// writable refuses a folder in which no files can be made, which the mode of the database itself need not show.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".writable-*")
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return nil // the disk is full, which is something else
	}
	if err != nil {
		return fmt.Errorf("the data folder cannot be written: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// syncNew makes the name of the new database file, and of the folder, survive a loss of power.
func syncNew(dir string) error {
	return errors.Join(private.SyncFolder(dir), private.SyncFolder(filepath.Dir(dir)))
}

// Close commits what is queued, delivers the results, and releases the folder. It must not be called from a done function.
func (s *Store) Close() error {
	var err error
	s.close.Do(func() {
		s.gate.Lock()
		s.closed.Store(true)
		close(s.queue)
		s.gate.Unlock()
		s.written.Wait()
		s.delivered.Wait()
		close(s.stopCkpt)
		s.checkpointed.Wait()
		err = s.release()
	})
	return err
}

// release closes what is open. The last connection to close checkpoints and removes the WAL.
func (s *Store) release() error {
	var errs []error
	for _, db := range []*sql.DB{s.read, s.ckpt} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.insertStmt != nil {
		errs = append(errs, s.insertStmt.Close())
	}
	if s.w != nil {
		errs = append(errs, s.w.Close())
	}
	if s.wdb != nil {
		errs = append(errs, s.wdb.Close())
	}
	errs = append(errs, s.lock.Unlock())
	return errors.Join(errs...)
}

// ID returns the store's random id and its restore counter.
func (s *Store) ID() string { return s.id }

// Horizon returns now: a read waits for what is under way.
func (s *Store) Horizon() int64 { return s.Now() }

// Shared returns false: one process at a time has the data folder.
func (s *Store) Shared() bool { return false }

// Now returns the store's clock.
func (s *Store) Now() int64 {
	now := s.cfg.Clock().UnixMilli()
	for {
		last := s.clock.Load()
		if now <= last {
			return last
		}
		if s.clock.CompareAndSwap(last, now) {
			return now
		}
	}
}
