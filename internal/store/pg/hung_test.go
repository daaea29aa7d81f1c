package pg_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// grab takes the row of a conversation, as a server does that hangs between its lock and its commit.
func grab(t *testing.T, c *pgx.Conn, id chat.ConvID) {
	t.Helper()
	if _, err := c.Exec(context.Background(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(context.Background(), "SELECT 1 FROM conv WHERE id = $1 FOR NO KEY UPDATE", int64(id)); err != nil {
		t.Fatal(err)
	}
}

// TestHungRow: while somebody holds a row and hangs, only its conversation waits. Then all of that is stored in the order of the calls.
func TestHungRow(t *testing.T) {
	// What else in the process may hold the conversation while it waits for the row.
	for name, first := range map[string]func(*place){
		"row": func(*place) {},
		"gate": func(p *place) {
			go p.Update(context.Background(), []chat.Key{{Conv: p.convs[0].ID}}, func(chat.Tx) error { return nil })
			becomes(p.t, p.dsn, wantsRow)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			dsn := pgtest.DSN(t)
			// No time limit releases anything here: only the end of the one that hangs.
			s := open(t, pg.Config{DSN: dsn + " lock_timeout=10min statement_timeout=10min", Patience: 2 * long, Within: 2 * long})
			defer s.Close()
			p := newPlace(t, s)
			p.dsn = dsn
			hung := connect(t, dsn)
			grab(t, hung, p.convs[0].ID)
			first(p)
			held := []*promise{p.append(0), p.append(0)}
			told := make(chan int, 2)
			s.Deliver(p.convs[0].ID, func() { told <- len(told) })
			becomes(t, dsn, wantsRow)
			behind := make(chan uint64, 1) // an Update comes behind what was appended before
			go s.Update(ctx, []chat.Key{{Conv: p.convs[0].ID}}, func(tx chat.Tx) error {
				c, err := tx.Conv(p.convs[0].ID)
				behind <- c.Seq
				return err
			})
			for range 3 {
				for i := range 3 {
					p.append(i + 1).ok(t)
				}
				p.feed(p.users[3]).ok(t)
				p.ok(s.Update(ctx, []chat.Key{{Conv: p.convs[1].ID}}, func(tx chat.Tx) error {
					_, err := tx.AddChange(p.convs[1].ID, chat.Change{Kind: 1})
					return err
				}))
				held = append(held, p.append(0))
			}
			// A row that does not exist is not one that is held.
			none := &promise{end: make(chan struct{})}
			s.Append(chat.Entry{Conv: 4711, Sender: p.users[0], ClientTime: 1, Random: 1, Hash: 1}, func(_ chat.Stored, _ bool, err error) {
				none.err = err
				close(none.end)
			})
			if <-none.end; !errors.Is(none.err, chat.ErrNotFound) {
				t.Fatal(none.err)
			}
			for _, h := range held {
				if h.kept() {
					t.Fatal("answered while somebody else holds the row:", h.err)
				}
			}
			if len(told) > 0 {
				t.Fatal("told ahead of what was appended before")
			}
			_, err := hung.Exec(ctx, "COMMIT")
			p.ok(err)
			for i, h := range held {
				h.ok(t)
				if h.Seq != uint64(i+1) {
					t.Fatalf("entry %d has seq %d", i, h.Seq)
				}
			}
			<-told
			if seq := <-behind; seq < 2 {
				t.Fatalf("an Update was ahead of what was appended before: seq %d", seq)
			}
			p.append(0).ok(t)
		})
	}
}

// TestLaneOrder: two servers send to the same conversations while somebody takes their rows for shorter and longer times. What one goroutine appends,
// and what it delivers in between, is numbered and answered in the order of its calls.
func TestLaneOrder(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dsn := pgtest.DSN(t)
	one, two := open(t, pg.Config{DSN: dsn, Patience: long}), open(t, pg.Config{DSN: dsn, Patience: long})
	defer one.Close()
	defer two.Close()
	p := newPlace(t, one)
	stop := make(chan struct{})
	var flapping, wg sync.WaitGroup
	for i, c := range p.convs[:2] {
		conn := connect(t, dsn)
		flapping.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				grab(t, conn, c.ID)
				// Nothing of a lane, its first wait, and its second.
				conn.Exec(ctx, "SELECT pg_sleep($1)", []float64{0.001, 0.05, 0.35}[n%3])
				conn.Exec(ctx, "COMMIT")
			}
		})
	}
	for g := range 6 {
		s, c := []*pg.Store{one, two}[g%2], p.convs[g%3]
		wg.Go(func() {
			const n = 60
			var mu sync.Mutex
			var order []int
			seqs := make([]uint64, n)
			var left sync.WaitGroup
			window := make(chan struct{}, 20)
			for i := range n {
				window <- struct{}{}
				left.Add(2)
				key := uint32(g*n + i + 1)
				s.Append(chat.Entry{Conv: c.ID, Sender: c.A, ClientTime: uint64(key), Random: key, Body: []byte("x"), Hash: 1, Countable: true},
					func(st chat.Stored, dup bool, err error) {
						if err != nil || dup {
							t.Error(dup, err)
						}
						mu.Lock()
						order = append(order, 2*i)
						seqs[i] = st.Seq
						mu.Unlock()
						<-window
						left.Done()
					})
				s.Deliver(c.ID, func() {
					mu.Lock()
					order = append(order, 2*i+1)
					mu.Unlock()
					left.Done()
				})
			}
			left.Wait()
			if !slices.IsSorted(seqs) || seqs[0] == 0 {
				t.Errorf("conversation %d: numbers %v", c.ID, seqs)
			}
			if !slices.IsSorted(order) {
				t.Errorf("conversation %d: told in the order %v", c.ID, order)
			}
		})
	}
	wg.Wait()
	close(stop)
	flapping.Wait()
	for _, c := range p.convs[:3] {
		if cv, err := one.Conv(ctx, c.ID); err != nil || cv.Seq != 120 {
			t.Errorf("%+v, %v", cv, err)
		}
	}
}

// TestHungServer: the rows of a server that hangs in the middle of a transaction are released soon, by PostgreSQL's own time limit.
func TestHungServer(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	w := newWire()
	one, two := open(t, pg.Config{DSN: dsn, Dial: w.dial}), open(t, pg.Config{DSN: dsn, Patience: long})
	defer w.end()
	defer one.Close()
	defer two.Close()
	p, q := newPlace(t, one), &place{Store: two, t: t}
	q.users, q.convs = p.users, p.convs
	q.keys.Store(1000)
	p.append(0).ok(t) // its connection is there
	w.arm(writersCommit, halfOpen)
	lost := p.append(0)
	<-w.hit
	held := q.append(0)
	for i := range 3 {
		q.append(i + 1).ok(t)
	}
	if held.kept() {
		t.Fatal("answered while a server holds the row:", held.err)
	}
	held.ok(t)
	lost.ok(t)
	if got := fmt.Sprint(min(held.Seq, lost.Seq), max(held.Seq, lost.Seq)); got != "2 3" {
		t.Fatal(got)
	}
}
