// Package pg is chat.Store on PostgreSQL, which several servers may share.
//
// Messages: Append → queue of one of two writers (by conversation) → batch → COMMIT → delivery goroutine → done. A batch locks the rows of its
// conversations in one statement and looks for its keys in the next, which sees everything that was committed under those locks; then it is
// numbered here, inserted and committed (writer.go). Updates run at the same time on connections of the pool (tx.go). Within this process, both take
// gates before rows (gates.go).
//
// Nothing is kept in memory that another server could change.
package pg

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidings-im/tidings/internal/chat"
)

// Config of a Store on PostgreSQL.
type Config struct {
	// DSN names the database: a URL or key=value words, as libpq and pgx read them. pool_max_conns bounds the connections for reads and updates.
	DSN string
	// Log, by default slog.Default().
	Log *slog.Logger
	// Clock replaces the clock of PostgreSQL in tests. It may run back; the store's time does not.
	Clock func() time.Time
	// Dial replaces how connections are opened, in tests.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Patience is how long what could not be written is tried again while the database does not answer: 10 s. Then it is refused. What may have been
	// committed is not refused: it is tried until that is known.
	Patience time.Duration
}

const (
	writers  = 2
	queueLen = 8192
	batchMax = 2000
	// poolConns is the default size of the pool; updates use at most so many of them, so that reads go on.
	poolConns = 10
	// within bounds every statement, and connectWithin a connection.
	within        = 30 * time.Second
	connectWithin = 5 * time.Second
	minVersion    = 150000
)

// params are the settings of every session. A transaction whose server process is gone ends soon, so that its locks do.
var params = map[string]string{
	"application_name":                    "tidings",
	"client_encoding":                     "UTF8",
	"default_transaction_isolation":       "read committed",
	"statement_timeout":                   "25s",
	"lock_timeout":                        "15s",
	"idle_in_transaction_session_timeout": "20s",
	"tcp_keepalives_idle":                 "10",
	"tcp_keepalives_interval":             "5",
	"tcp_keepalives_count":                "3",
}

// Store is chat.Store on PostgreSQL.
type Store struct {
	cfg     Config
	id      string
	conn    *pgx.ConnConfig // of the writers
	pool    *pgxpool.Pool
	updates chan struct{} // a place for each Update that may run
	gates   gates
	clock   clock
	writers [writers]*writer
	deliver chan []event

	// gate holds Close back while something is on its way into a queue or running.
	gate    sync.RWMutex
	closed  atomic.Bool
	full    atomic.Bool
	close   sync.Once
	closing context.Context // ends when Close is called
	end     context.CancelFunc
	// running are Updates.
	running, written, delivered, noted sync.WaitGroup
}

var _ chat.Store = (*Store)(nil)

// event is what the delivery goroutine tells after the commit: the answer to an Append, or an Update's AfterCommit functions.
type event struct {
	stored chat.Stored
	dup    bool
	err    error
	done   func(chat.Stored, bool, error)
	after  []func()
}

// errUnknown answers what may have been committed when the store was closed while the database was not there.
var errUnknown = errors.New("store: closed before the database could say whether this was committed")

// Open opens the store in a database, making its tables if there are none.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Patience == 0 {
		cfg.Patience = 10 * time.Second
	}
	pc, err := pgxpool.ParseConfig(cfg.DSN)
	if err != nil {
		return nil, fmt.Errorf("store: postgres: %w", err) // pgx takes the password out
	}
	c := pc.ConnConfig
	for k, v := range params {
		if _, set := c.RuntimeParams[k]; !set {
			c.RuntimeParams[k] = v
		}
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectWithin
	}
	if cfg.Dial != nil {
		c.DialFunc = cfg.Dial
	}
	c.AfterConnect = suitable
	if !strings.Contains(cfg.DSN, "pool_max_conns") {
		pc.MaxConns = poolConns
	}
	s := &Store{
		cfg: cfg, conn: c.Copy(),
		updates: make(chan struct{}, max(pc.MaxConns*2/3, 1)),
		gates:   gates{held: make(map[chat.Key][]chan struct{})},
		deliver: make(chan []event, 16),
	}
	// The statements of the hot path are few and their plans never change: every table is reached by an index.
	for k, v := range map[string]string{"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off"} {
		s.conn.RuntimeParams[k] = v
	}
	s.closing, s.end = context.WithCancel(context.Background())
	if err := s.open(ctx, pc); err != nil {
		s.end()
		if s.pool != nil {
			s.pool.Close()
		}
		return nil, fmt.Errorf("store: postgres %s, database %s: %w", net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), c.Database, err)
	}
	for i := range s.writers {
		w := newWriter(s)
		s.writers[i] = w
		s.written.Go(w.write)
	}
	s.delivered.Go(s.deliverAll)
	s.noted.Go(s.noteClock)
	return s, nil
}

func (s *Store) open(ctx context.Context, pc *pgxpool.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute) // migrations of another server are waited for
	defer cancel()
	// Migrations may take longer than a statement should.
	m := pc.ConnConfig.Copy()
	m.RuntimeParams["statement_timeout"], m.RuntimeParams["lock_timeout"] = "0", "0"
	if err := migrate(ctx, m); err != nil {
		return err
	}
	var err error
	if s.pool, err = pgxpool.NewWithConfig(ctx, pc); err != nil {
		return err
	}
	return s.meta(ctx)
}

// suitable refuses a database that the store cannot rely on.
func suitable(ctx context.Context, c *pgconn.PgConn) error {
	r := c.ExecParams(ctx, `SELECT current_setting('server_version_num')::bigint < `+strconv.Itoa(minVersion)+`, current_setting('server_version'),
		current_setting('server_encoding'), set_config('synchronous_commit',
			CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)`, nil, nil, nil, nil).Read()
	if r.Err != nil {
		return r.Err
	}
	v := r.Rows[0]
	if string(v[0]) == "t" {
		return fmt.Errorf("PostgreSQL %s is too old, 15 is needed", v[1])
	}
	if string(v[2]) != "UTF8" {
		return fmt.Errorf("the database's encoding is %s, UTF8 is needed", v[2])
	}
	return nil
}

// meta reads or makes the store's row. A database that stands elsewhere than when it was last opened is a copy: its numbers may be given out
// elsewhere as well, so it becomes another store.
func (s *Store) meta(ctx context.Context) error {
	var b [8]byte
	rand.Read(b[:])
	var home string
	if err := s.pool.QueryRow(ctx, `SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || oid FROM pg_database WHERE datname = current_database()`).Scan(&home); err != nil {
		return err
	}
	if _, err := s.pool.Exec(ctx, `INSERT INTO meta (one, store_id, restores, home, clock) VALUES (1, $1, 0, $2, 0) ON CONFLICT (one) DO NOTHING`,
		hex.EncodeToString(b[:]), home); err != nil {
		return err
	}
	// Above the time, so that two restores of one copy differ as well.
	tag, err := s.pool.Exec(ctx, "UPDATE meta SET restores = greatest(restores + 1, $1), home = $2 WHERE home <> $2", time.Now().Unix(), home)
	if err != nil {
		return err
	}
	if tag.RowsAffected() > 0 {
		s.cfg.Log.Warn("store: this database is a copy of another one; clients will begin their logs anew", "home", home)
	}
	var name string
	var restores, last int64
	if err := s.pool.QueryRow(ctx, `SELECT store_id, restores, greatest(clock, (SELECT max(time) FROM (SELECT time FROM entry ORDER BY id DESC LIMIT 100) e)) FROM meta`).
		Scan(&name, &restores, &last); err != nil {
		return err
	}
	s.id = name + "." + strconv.FormatInt(restores, 10)
	s.clock.wall = s.cfg.Clock
	s.clock.seen(last)
	return s.sample(ctx)
}

// Restored makes a database another store: to be called after it was brought back to an earlier state where it stands.
func Restored(ctx context.Context, cfg Config) error {
	s, err := Open(ctx, cfg)
	if err != nil {
		return err
	}
	_, err = s.pool.Exec(ctx, "UPDATE meta SET restores = greatest(restores + 1, $1)", time.Now().Unix())
	return errors.Join(err, s.Close())
}

// Close commits what is queued, answers it, and ends the connections. It must not be called from a done function.
func (s *Store) Close() error {
	var err error
	s.close.Do(func() {
		s.gate.Lock()
		s.closed.Store(true)
		for _, w := range s.writers {
			close(w.queue)
		}
		s.gate.Unlock()
		s.end()
		s.running.Wait()
		s.written.Wait()
		close(s.deliver)
		s.delivered.Wait()
		s.noted.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), connectWithin)
		defer cancel()
		if e := s.note(ctx); e != nil {
			s.cfg.Log.Warn("store: the clock was not noted", "err", e)
		}
		s.pool.Close()
	})
	return err
}

// Full says that the last messages were refused because the database's disk is full.
func (s *Store) Full() bool { return s.full.Load() }

// ID is the store's random id and its restore counter.
func (s *Store) ID() string { return s.id }

// deliverAll is the delivery goroutine.
func (s *Store) deliverAll() {
	for events := range s.deliver {
		for i := range events {
			e := &events[i]
			if e.done != nil {
				e.done(e.stored, e.dup, e.err)
			}
			for _, f := range e.after {
				f()
			}
		}
	}
}

// Append queues an entry.
func (s *Store) Append(e chat.Entry, done func(chat.Stored, bool, error)) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed.Load() {
		go done(chat.Stored{}, false, chat.ErrClosed) // there is no delivery goroutine any more, and the caller may hold a lock that done takes
		return
	}
	w := s.writerOf(e.Conv)
	w.waiting.Add(1)
	w.queue <- op{entry: e, done: done}
}

// Deliver is documented at chat.Store.
func (s *Store) Deliver(id chat.ConvID, f func()) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed.Load() {
		return
	}
	w := s.writerOf(id)
	w.waiting.Add(1)
	w.queue <- op{tell: f}
}

func (s *Store) writerOf(id chat.ConvID) *writer {
	return s.writers[uint64(id)*0x9e3779b97f4a7c15>>32%writers]
}

// appended returns when what was appended to the keys' conversations before the call is committed and about to be answered; without a conversation among
// keys, what was appended to any.
func (s *Store) appended(ctx context.Context, keys []chat.Key) error {
	var ask [writers]bool
	some := false
	for _, k := range keys {
		if k.Conv != 0 {
			some = true
			for i, w := range s.writers {
				ask[i] = ask[i] || w == s.writerOf(k.Conv)
			}
		}
	}
	var ends []chan struct{}
	s.gate.RLock()
	if s.closed.Load() {
		s.gate.RUnlock()
		return chat.ErrClosed
	}
	for i, w := range s.writers {
		if (ask[i] || !some) && w.waiting.Load() > 0 {
			end := make(chan struct{})
			w.waiting.Add(1)
			w.queue <- op{barrier: end}
			ends = append(ends, end)
		}
	}
	s.gate.RUnlock()
	for _, end := range ends {
		select {
		case <-end:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
