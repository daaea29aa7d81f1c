// Package pg is chat.Store on PostgreSQL, which several servers may share.
//
// Messages: Append → queue of one of two writers (by conversation) → batch → COMMIT → delivery goroutine → done. A batch locks the rows of its
// conversations in one statement and looks up its keys in the next, which sees everything that was committed under those locks; then it is numbered
// here, inserted and committed (writer.go). Updates run at the same time on connections of the pool (tx.go). Within this process, both take gates
// before rows (gates.go).
//
// Nothing that another server could change is kept in memory.
package pg

import (
	"cmp"
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
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// Config of a Store on PostgreSQL.
type Config struct {
	// DSN names the database: a URL or key=value words, as libpq and pgx read them. pool_max_conns limits the connections for reads and updates.
	DSN string
	// Log, by default slog.Default().
	Log *slog.Logger
	// Clock replaces the clock of PostgreSQL in tests. It may run back; the store's time does not.
	Clock func() time.Time
	// Dial replaces how connections are opened, in tests.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Patience is how long writes are retried while the database does not respond: 10 s. Then they are refused. What may have been committed is not
	// refused: it is retried until that is known.
	Patience time.Duration
	// Within limits every statement: 30 s. A COMMIT that takes longer is not cancelled: its outcome is queried on another connection.
	Within time.Duration
	// Synchronous means that only a standby is promoted that has everything that was acknowledged. Otherwise a database whose standby was promoted is
	// another store.
	Synchronous bool
	// Moved is called once if that happens while the store is open. After that the store returns only errors: it must be closed and reopened. Moved
	// must not wait for the store.
	Moved func()
}

const (
	writers  = 2
	queueLen = 8192
	batchMax = 2000
	// poolConns is the default size of the pool; updates use at most that many of them, so that reads continue.
	poolConns = 10
	// within is the default of Config.Within, and how long the outcome of an Update is queried. connectWithin limits a connection.
	within        = 30 * time.Second
	connectWithin = 5 * time.Second
	minVersion    = 150000
)

// Store is chat.Store on PostgreSQL.
type Store struct {
	tables.Both
	cfg     Config
	id      string
	conn    *pgx.ConnConfig // of the writers
	pool    *pgxpool.Pool
	updates chan struct{} // a place for each Update that may run
	gates   gates
	clock   clock
	horizon horizon
	writers [writers]*writer
	lanes   [2]*writer // contended, stuck
	deliver chan []event
	// spans are what is known of the server: which of its spans was seen behind a barrier, and the timeline that it is on.
	spans struct {
		sync.Mutex
		proven   span
		timeline int64
	}
	moved atomic.Bool

	// gate holds Close back while something is being put into a queue or running.
	gate    sync.RWMutex
	closed  atomic.Bool
	full    atomic.Bool
	away    atomic.Bool
	close   sync.Once
	closing context.Context // ends when Close is called
	end     context.CancelFunc
	// running are Updates.
	running, written, delivered, noted sync.WaitGroup
	waited                             [2]sync.WaitGroup // of the lanes
}

var _ chat.Store = (*Store)(nil)

// event is what the delivery goroutine delivers after the commit: the result of an Append, or an Update's AfterCommit functions.
type event struct {
	stored chat.Stored
	dup    bool
	err    error
	done   func(chat.Stored, bool, error)
	after  []func()
}

// errUnknown is the error of what may have been committed, if the database could not say in time.
var errUnknown = errors.New("store: nobody knows yet whether this was committed")

// Open opens the store in a database, and creates its tables if there are none.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	cfg.Patience = cmp.Or(cfg.Patience, 10*time.Second)
	cfg.Within = cmp.Or(cfg.Within, within)
	pc, err := pgxpool.ParseConfig(cfg.DSN)
	if err != nil {
		return nil, fmt.Errorf("store: postgres: the address cannot be read: %s", unquoted(err))
	}
	c := pc.ConnConfig
	if !strings.Contains(cfg.DSN, "pool_max_conns") {
		pc.MaxConns = poolConns
	}
	s := &Store{
		cfg:     cfg,
		updates: make(chan struct{}, max(pc.MaxConns*2/3, 1)),
		gates:   gates{held: make(map[chat.Key][]chan struct{})},
		deliver: make(chan []event, 16),
		horizon: horizon{last: -1},
	}
	s.On = reads{s}
	s.hooks(c)
	s.conn = c.Copy()
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
	last := newWriter(s, stuck, nil)
	first := newWriter(s, contended, last)
	last.before = first
	s.lanes = [...]*writer{first, last}
	for i, w := range s.lanes {
		s.waited[i].Go(w.write)
	}
	for i := range s.writers {
		w := newWriter(s, mainQueue, first)
		s.writers[i] = w
		s.written.Go(w.write)
	}
	s.delivered.Go(s.deliverAll)
	s.noted.Go(s.noteClock)
	return s, nil
}

// unquoted returns what is wrong with an address, without the address: the driver removes the password from it, but not all of one that is badly
// written.
func unquoted(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		text = text[i+3:]
	}
	return text
}

func (s *Store) open(ctx context.Context, pc *pgxpool.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute) // migrations of another server are waited for
	defer cancel()
	// Migrations may take longer than a statement should.
	m := pc.ConnConfig.Copy()
	m.RuntimeParams["statement_timeout"], m.RuntimeParams["lock_timeout"] = "0", "0"
	err := writable(ctx, m)
	if err == nil {
		err = migrate(ctx, m)
	}
	if err != nil {
		return err
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, pc); err != nil {
		return err
	}
	return s.meta(ctx)
}

// writable refuses a database that takes no writes. Later such an answer only means that its server is no longer the primary.
func writable(ctx context.Context, cfg *pgx.ConnConfig) error {
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	var readOnly bool
	if err := c.QueryRow(ctx, "SELECT current_setting('transaction_read_only')::boolean").Scan(&readOnly); err != nil {
		return err
	}
	if readOnly {
		return errors.New("the database is read-only (default_transaction_read_only)")
	}
	return nil
}

// meta reads or makes the store's row. A database that stands elsewhere than when it was last opened is a copy: its numbers may be given out
// elsewhere as well, so it becomes another store. So does one whose standby was promoted, unless that had everything.
func (s *Store) meta(ctx context.Context) error {
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	timeline := spanOf(c.Conn().PgConn()).timeline
	var b [8]byte
	rand.Read(b[:])
	var home string
	if err := c.QueryRow(ctx, `SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || oid FROM pg_database WHERE datname = current_database()`).Scan(&home); err != nil {
		return err
	}
	if _, err := c.Exec(ctx, `INSERT INTO meta (one, store_id, restores, home, clock, timeline) VALUES (1, $1, 0, $2, 0, $3) ON CONFLICT (one) DO NOTHING`,
		hex.EncodeToString(b[:]), home, timeline); err != nil {
		return err
	}
	// A timeline of 0 was written before there was one.
	others := []struct{ what, where string }{{"this database is a copy of another one", "home <> $2"}}
	if !s.cfg.Synchronous {
		others = append(others, struct{ what, where string }{"a standby was promoted, or the database brought back to an earlier time", "timeline NOT IN (0, $3)"})
	}
	for _, k := range others {
		// Above the time, so that two restores of one copy differ as well.
		tag, err := c.Exec(ctx, "UPDATE meta SET restores = greatest(restores + 1, $1), home = $2, timeline = $3 WHERE "+k.where, time.Now().Unix(), home, timeline)
		if err != nil {
			return err
		}
		if tag.RowsAffected() > 0 {
			s.cfg.Log.Warn("store: "+k.what+"; clients will begin their logs anew", "home", home, "timeline", timeline)
		}
	}
	if _, err := c.Exec(ctx, "UPDATE meta SET timeline = $1 WHERE timeline <> $1", timeline); err != nil {
		return err
	}
	var name string
	var restores, last int64
	if err := c.QueryRow(ctx, `SELECT store_id, restores, greatest(clock, (SELECT max(time) FROM (SELECT time FROM entry ORDER BY id DESC LIMIT 100) e)) FROM meta`).
		Scan(&name, &restores, &last); err != nil {
		return err
	}
	s.id = name + "." + strconv.FormatInt(restores, 10)
	s.spans.Lock()
	s.spans.timeline = timeline
	s.spans.Unlock()
	s.clock.wall = s.cfg.Clock
	s.clock.seen(last)
	if err := s.sample(ctx); err != nil {
		return err
	}
	return s.firstLook(ctx)
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
		for i, w := range s.lanes {
			close(w.queue)
			s.waited[i].Wait()
		}
		close(s.deliver)
		s.delivered.Wait()
		s.noted.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), connectWithin)
		defer cancel()
		if e := s.note(ctx); e != nil && !s.Away() {
			s.cfg.Log.Warn("store: the clock was not noted", "err", e)
		}
		s.pool.Close()
	})
	return err
}

// Full reports whether the last messages were refused because the database's disk is full.
func (s *Store) Full() bool { return s.full.Load() }

// ID is the store's random id and its restore counter.
func (s *Store) ID() string { return s.id }

// deliverAll is the delivery goroutine.
func (s *Store) deliverAll() {
	for events := range s.deliver {
		for i := range events {
			e := &events[i]
			if e.done != nil {
				tables.Contain(s.cfg.Log, func() { e.done(e.stored, e.dup, e.err) })
			}
			for _, f := range e.after {
				tables.Contain(s.cfg.Log, f)
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
	w.queue <- op{entry: chat.Entry{Conv: id}, tell: f}
}

func (s *Store) writerOf(id chat.ConvID) *writer {
	return s.writers[uint64(id)*0x9e3779b97f4a7c15>>32%writers]
}

// appended returns when what was appended to the keys' conversations before the call is committed and about to be answered; without a conversation among
// keys, what was appended to any and does not wait for a row that somebody else holds for long.
func (s *Store) appended(ctx context.Context, keys []chat.Key) error {
	var ask [writers]bool
	var convs []chat.ConvID
	for _, k := range keys {
		if k.Conv != 0 {
			convs = append(convs, k.Conv)
			for i, w := range s.writers {
				ask[i] = ask[i] || w == s.writerOf(k.Conv)
			}
		}
	}
	var ends []chan error
	s.gate.RLock()
	if s.closed.Load() {
		s.gate.RUnlock()
		return chat.ErrClosed
	}
	for i, w := range s.writers {
		if (ask[i] || convs == nil) && (w.waiting.Load() > 0 || !w.next.load.empty()) {
			end := make(chan error, 1)
			w.waiting.Add(1)
			w.queue <- op{barrier: &barrier{convs: convs, lift: end}}
			ends = append(ends, end)
		}
	}
	s.gate.RUnlock()
	for _, end := range ends {
		select {
		case err := <-end:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
