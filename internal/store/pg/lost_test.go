package pg_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// wire makes connections that fail when they are told to.
type wire struct {
	mu    sync.Mutex
	mark  []byte // fails when this is written; nil: does not
	how   failure
	fails int
	down  bool
	open  map[*link]bool
	hit   chan struct{} // gets a value for each failure
}

type failure int

const (
	behind   failure = iota // what was written arrives; the response does not
	ahead                   // it does not arrive, and the connection ends
	halfOpen                // it does not arrive, and the server does not learn that the connection is gone
)

func newWire() *wire { return &wire{open: make(map[*link]bool), hit: make(chan struct{}, 10)} }

func (w *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, errors.New("down")
	}
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	l := &link{Conn: c, w: w}
	w.open[l] = true
	return l, nil
}

// arm lets the next write of mark fail.
func (w *wire) arm(mark string, how failure) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mark, w.how = []byte(mark), how
}

func (w *wire) failed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fails
}

// set cuts the wire, or mends it.
func (w *wire) set(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
	for l := range w.open {
		if down {
			l.Conn.Close()
		}
	}
}

type link struct {
	net.Conn
	w    *wire
	dead atomic.Bool
	half atomic.Bool
}

var errCut = errors.New("cut")

func (l *link) Write(b []byte) (int, error) {
	if l.half.Load() {
		return len(b), nil
	}
	w := l.w
	w.mu.Lock()
	hit := w.mark != nil && bytes.Contains(b, w.mark)
	how := w.how
	if hit {
		w.mark = nil
		w.fails++
		l.half.Store(how == halfOpen)
		l.dead.Store(true)
	}
	w.mu.Unlock()
	switch {
	case !hit:
		return l.Conn.Write(b)
	case how == behind:
		l.Conn.Write(b)
		l.Conn.Read(make([]byte, 1)) // the response has begun, so everything is done
		l.Conn.Close()
	case how == ahead:
		l.Conn.Close()
	}
	w.hit <- struct{}{}
	return len(b), nil
}

func (l *link) Read(b []byte) (int, error) {
	if l.dead.Load() {
		return 0, errCut
	}
	n, err := l.Conn.Read(b)
	if l.dead.Load() {
		return 0, errCut
	}
	return n, err
}

// Close of a half-open link leaves the server in the dark until the test ends.
func (l *link) Close() error {
	if l.half.Load() {
		return nil
	}
	l.w.mu.Lock()
	delete(l.w.open, l)
	l.w.mu.Unlock()
	return l.Conn.Close()
}

// end closes what is still open.
func (w *wire) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.open {
		l.Conn.Close()
	}
}

// Names of prepared statements, as they appear in what is written.
var (
	writersCommit = "\x00commit\x00"
	updatesCommit = "\x00" + cached("COMMIT") + "\x00"
)

// cached returns the name that pgx gives a statement.
func cached(sql string) string {
	sum := sha256.Sum256([]byte(sql))
	return "stmtcache_" + hex.EncodeToString(sum[:24])
}

// place is a database with a few users.
type place struct {
	*pg.Store
	t     *testing.T
	users []chat.UID
	convs []chat.Conv
	keys  atomic.Uint32
	dsn   string
}

func newPlace(t *testing.T, s *pg.Store) *place {
	p := &place{Store: s, t: t}
	ctx := context.Background()
	for i := range 4 {
		u, err := s.CreateUser(ctx, fmt.Sprint("u", i))
		p.ok(err)
		p.users = append(p.users, u.UID)
	}
	for i := range 3 {
		c, err := s.C2C(ctx, p.users[i], p.users[i+1])
		p.ok(err)
		p.convs = append(p.convs, c)
	}
	p.ok(s.Update(ctx, nil, func(tx chat.Tx) error {
		c, err := tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: "g"})
		if err != nil {
			return err
		}
		for _, u := range p.users {
			if _, err := tx.Join(c.ID, u); err != nil {
				return err
			}
		}
		c, err = tx.Conv(c.ID)
		p.convs = append(p.convs, c)
		return err
	}))
	return p
}

func (p *place) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) entry(i int) chat.Entry {
	c := p.convs[i%len(p.convs)]
	sender := c.A
	if c.Kind == chat.KindGroup {
		sender = p.users[i%len(p.users)]
	}
	k := p.keys.Add(1)
	return chat.Entry{Conv: c.ID, Sender: sender, ClientTime: uint64(k), Random: k, Body: []byte("body"), Hash: 1, Countable: true}
}

type outcome struct {
	entry chat.Entry
	st    chat.Stored
	dup   bool
	err   error
}

// send appends n entries at once and waits for the results.
func (p *place) send(n int) []outcome {
	out := make([]outcome, n)
	var wg sync.WaitGroup
	for i := range out {
		out[i].entry = p.entry(i)
		wg.Add(1)
		p.Append(out[i].entry, func(st chat.Stored, dup bool, err error) {
			out[i].st, out[i].dup, out[i].err = st, dup, err
			wg.Done()
		})
	}
	wg.Wait()
	return out
}

// check: what was answered is stored under its number, what was refused is not, the numbers are dense.
func (p *place) check(outcomes []outcome) {
	p.t.Helper()
	ctx := context.Background()
	stored := make(map[chat.ConvID]int)
	for _, o := range outcomes {
		st, err := p.Lookup(ctx, chat.SendKey{Conv: o.entry.Conv, Sender: o.entry.Sender, ClientTime: o.entry.ClientTime, Random: o.entry.Random})
		switch {
		case o.err == nil && (err != nil || st.Seq != o.st.Seq || st.Time != o.st.Time || st.OwnIndex != o.st.OwnIndex || o.dup):
			p.t.Fatalf("answered %+v (dup %v), stored %+v: %v", o.st, o.dup, st, err)
		case o.err != nil && !errors.Is(err, chat.ErrNotFound):
			p.t.Fatalf("refused with %v, and stored: %+v %v", o.err, st, err)
		case o.err == nil:
			stored[o.entry.Conv]++
		}
	}
	for _, c := range p.convs {
		log, err := p.Entries(ctx, c.ID, 1, chat.NoEnd, false, 1<<20, 1<<30)
		p.ok(err)
		own := make(map[chat.UID]uint64)
		for i, st := range log {
			own[st.Sender]++
			if st.Seq != uint64(i+1) || st.Index != st.Seq || st.OwnIndex != own[st.Sender] {
				p.t.Fatalf("entry %d is %+v, own %d", i+1, st, own[st.Sender])
			}
		}
		if head, err := p.Conv(ctx, c.ID); err != nil || head.Seq != uint64(len(log)) || len(log) != stored[c.ID] {
			p.t.Fatalf("head %+v: %d entries, %d answered: %v", head, len(log), stored[c.ID], err)
		}
	}
}

// TestLostCommit: a connection ends with the COMMIT of a batch under way, or done and not confirmed. Every caller gets the right result.
func TestLostCommit(t *testing.T) {
	for name, how := range map[string]failure{"done": behind, "not arrived": ahead, "not arrived and not noticed": halfOpen} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWire()
			s := open(t, pg.Config{DSN: pgtest.DSN(t) + " idle_in_transaction_session_timeout=700ms", Dial: w.dial})
			defer w.end()
			defer s.Close()
			p := newPlace(t, s)
			all := p.send(10)
			for round := range 3 {
				w.arm(writersCommit, how)
				all = append(all, p.send(40)...)
				if w.failed() != round+1 {
					t.Fatal("the connection did not fail")
				}
			}
			for _, o := range all {
				p.ok(o.err)
			}
			p.check(all)
		})
	}
}

// TestLostUpdate is the same for Updates: each takes effect once, and its AfterCommit runs once.
func TestLostUpdate(t *testing.T) {
	for name, how := range map[string]failure{"done": behind, "not arrived": ahead, "not arrived and not noticed": halfOpen} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWire()
			s := open(t, pg.Config{DSN: pgtest.DSN(t) + " pool_max_conns=2 idle_in_transaction_session_timeout=700ms", Dial: w.dial})
			defer w.end()
			defer s.Close()
			p := newPlace(t, s)
			ctx := context.Background()
			var told atomic.Int64
			ran := 0
			update := func() {
				var f chat.FeedEntry
				p.ok(s.Update(ctx, []chat.Key{{UID: p.users[0]}}, func(tx chat.Tx) (err error) {
					ran++
					f, err = tx.AddFeed(p.users[0], 1, nil)
					tx.AfterCommit(func() { told.Store(int64(f.Seq)) })
					return err
				}))
			}
			for range 20 { // until the statements are prepared on each connection
				update()
			}
			for round := range 3 {
				ran = 0
				w.arm(updatesCommit, how)
				update()
				if w.failed() != round+1 || ran != map[failure]int{behind: 1, ahead: 2, halfOpen: 2}[how] {
					t.Fatalf("failed %d times, ran %d times", w.failed(), ran)
				}
				for range 20 {
					update()
				}
			}
			list, err := s.Feed(ctx, p.users[0], 1, chat.NoEnd, 1000)
			p.ok(err)
			u, err := s.UserByID(ctx, p.users[0])
			p.ok(err)
			if len(list) != 20+3*21 || u.Feed != uint64(len(list)) {
				t.Fatalf("%d entries, feed %d", len(list), u.Feed)
			}
			p.ok(s.Close())
			if told.Load() != int64(len(list)) {
				t.Fatalf("told %d of %d", told.Load(), len(list))
			}
		})
	}
}

// TestTerminated ends all connections again and again while many write: nothing that was answered is lost, nothing is stored twice.
func TestTerminated(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	s := open(t, pg.Config{DSN: dsn})
	defer s.Close()
	p := newPlace(t, s)
	ctx := context.Background()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []outcome
	feeds := make(map[uint64]bool)
	ends := make(chan struct{}, 1) // after each round of sends
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				out := p.send(20)
				mu.Lock()
				all = append(all, out...)
				mu.Unlock()
				var f chat.FeedEntry
				err := s.Update(ctx, []chat.Key{{UID: p.users[0]}}, func(tx chat.Tx) (err error) {
					f, err = tx.AddFeed(p.users[0], 1, nil)
					return err
				})
				mu.Lock()
				if err == nil {
					if feeds[f.Seq] {
						t.Errorf("feed number %d was given twice", f.Seq)
					}
					feeds[f.Seq] = true
				}
				mu.Unlock()
				select {
				case ends <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 15 {
		for range 3 {
			<-ends
		}
		pgtest.Terminate(t, dsn)
	}
	close(stop)
	wg.Wait()
	last := p.send(20)
	for _, o := range last {
		p.ok(o.err)
	}
	p.check(append(all, last...))
	u, err := s.UserByID(ctx, p.users[0])
	p.ok(err)
	if u.Feed != uint64(len(feeds)) {
		t.Errorf("feed %d, %d were answered", u.Feed, len(feeds))
	}
}

// TestDown: while the database cannot be reached, everything fails with an error in time; afterwards everything works.
func TestDown(t *testing.T) {
	t.Parallel()
	w := newWire()
	s := open(t, pg.Config{DSN: pgtest.DSN(t), Dial: w.dial, Patience: 50 * time.Millisecond})
	defer s.Close()
	p := newPlace(t, s)
	all := p.send(20)
	w.set(true)
	ctx := context.Background()
	down := p.send(50)
	down = append(down, p.send(50)...)
	for _, o := range down {
		if o.err == nil {
			t.Fatal("stored without a database:", o.st)
		}
	}
	if _, err := s.Conv(ctx, p.convs[0].ID); err == nil || errors.Is(err, chat.ErrNotFound) {
		t.Fatal("read without a database:", err)
	}
	if err := s.Update(ctx, []chat.Key{{UID: p.users[0]}}, func(tx chat.Tx) error { _, err := tx.AddFeed(p.users[0], 1, nil); return err }); err == nil {
		t.Fatal("updated without a database")
	}
	w.set(false)
	again := p.send(50)
	for _, o := range again {
		p.ok(o.err)
	}
	p.check(append(append(all, down...), again...))
}

// TestClosedInDoubt: a store that is closed while nobody knows whether a batch was committed ends nevertheless.
func TestClosedInDoubt(t *testing.T) {
	t.Parallel()
	w := newWire()
	s := open(t, pg.Config{DSN: pgtest.DSN(t), Dial: w.dial, Patience: 100 * time.Millisecond})
	p := newPlace(t, s)
	p.send(5)
	w.arm(writersCommit, behind)
	answered := make(chan error, 1)
	p.Append(p.entry(0), func(_ chat.Stored, _ bool, err error) { answered <- err })
	<-w.hit
	w.set(true)
	p.ok(s.Close())
	if err := <-answered; err != nil && errors.Is(err, chat.ErrNotFound) {
		t.Fatal(err)
	}
}

// Connections that broke all at once while nobody used them do not fail a read.
func TestReadAfterAllConnectionsDied(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	s := open(t, pg.Config{DSN: dsn})
	defer s.Close()
	p := newPlace(t, s)
	ctx := context.Background()
	other, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(ctx)
	for range 5 {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := s.Conv(ctx, p.convs[0].ID); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if _, err := other.Exec(ctx, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'tidings' AND datname = current_database()"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Conv(ctx, p.convs[0].ID); err != nil {
			t.Error(err)
		}
	}
}
