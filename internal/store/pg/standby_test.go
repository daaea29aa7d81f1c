package pg_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// long is how long a fact is waited for.
const long = 2 * time.Minute

// becomes waits until a query returns true, whatever happens to the connection in the meantime.
func becomes(t *testing.T, dsn, sql string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, dsn)
		for is := false; err == nil; {
			if err = c.QueryRow(ctx, "SELECT ("+sql+") FROM pg_sleep(0.02)", args...).Scan(&is); is {
				c.Close(ctx)
				return
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("waiting for %s: %v", sql, err)
		}
	}
}

// promise is the future result of an Append or an Update.
type promise struct {
	chat.Stored
	dup bool
	err error
	end chan struct{}
}

func (p *promise) kept() bool {
	select {
	case <-p.end:
		return true
	default:
		return false
	}
}

// ok waits for a good result.
func (p *promise) ok(t *testing.T) {
	t.Helper()
	select {
	case <-p.end:
	case <-time.After(long):
		t.Fatal("not answered")
	}
	if p.err != nil || p.dup {
		t.Fatalf("answered dup %v, %v", p.dup, p.err)
	}
}

func (p *place) append(i int) *promise {
	a := &promise{end: make(chan struct{})}
	p.Append(p.entry(i), func(st chat.Stored, dup bool, err error) {
		a.Stored, a.dup, a.err = st, dup, err
		close(a.end)
	})
	return a
}

// feed begins an Update that writes to a user's feed.
func (p *place) feed(user chat.UID) *promise {
	a := &promise{end: make(chan struct{})}
	go func() {
		defer close(a.end)
		a.err = p.Update(context.Background(), []chat.Key{{UID: user}}, func(tx chat.Tx) error {
			_, err := tx.AddFeed(user, 1, nil)
			return err
		})
	}()
	return a
}

const (
	waiting  = "SELECT count(*) = $1::bigint FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
	rows     = "SELECT (SELECT count(*) FROM entry) = $1::bigint AND (SELECT count(*) FROM feed) = $2::bigint"
	asksXact = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%pg_xact_status%' AND pid <> pg_backend_pid()"
	wantsRow = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FOR NO KEY UPDATE%'"
)

func one(t *testing.T, c *pgx.Conn, sql string, args ...any) bool {
	t.Helper()
	var is bool
	if err := c.QueryRow(context.Background(), sql, args...).Scan(&is); err != nil {
		t.Fatal(err)
	}
	return is
}

// TestNoStandbyNoAnswer: while the synchronous standby is away nothing is acknowledged, and nobody sees it; both follow when the standby is back. It
// makes no difference if a context ends, a connection breaks or somebody cancels the wait.
func TestNoStandbyNoAnswer(t *testing.T) {
	t.Parallel()
	primary := pgtest.New(t, "synchronous_standby_names=s1")
	standby := primary.Standby("s1")
	s := open(t, pg.Config{DSN: primary.DSN(), Within: 2 * time.Second, Patience: time.Minute})
	defer s.Close()
	p := newPlace(t, s)
	entries, feeds := 0, 0

	t.Run("given up", func(t *testing.T) {
		standby.Stop()
		u := p.feed(p.users[3]) // first, as it waits for what was appended before
		becomes(t, primary.DSN(), waiting, 1)
		m := p.append(0)
		becomes(t, primary.DSN(), wantsRow) // the message is tried again, behind its own COMMIT
		becomes(t, primary.DSN(), asksXact) // the Update asks what became of it
		becomes(t, primary.DSN(), waiting, 2)
		if m.kept() || u.kept() || !one(t, connect(t, primary.DSN()), rows, entries, feeds) {
			t.Fatalf("answered: message %v, update %v", m.kept(), u.kept())
		}
		standby.Start()
		m.ok(t)
		u.ok(t)
		entries, feeds = entries+1, feeds+1
		if m.Seq != 1 || !one(t, connect(t, primary.DSN()), rows, entries, feeds) {
			t.Fatalf("seq %d", m.Seq)
		}
	})

	for name, end := range map[string]string{"cancelled": "pg_cancel_backend", "terminated": "pg_terminate_backend"} {
		t.Run(name, func(t *testing.T) {
			standby.Stop()
			u := p.feed(p.users[3])
			becomes(t, primary.DSN(), waiting, 1)
			m := p.append(1)
			becomes(t, primary.DSN(), waiting, 2)
			primary.Exec("SELECT " + end + "(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
			entries, feeds = entries+1, feeds+1
			becomes(t, primary.DSN(), rows, entries, feeds) // they are committed, and only here
			becomes(t, primary.DSN(), waiting, 2)           // small commits of our own
			if m.kept() || u.kept() {
				t.Fatalf("answered: message %v, update %v", m.kept(), u.kept())
			}
			standby.Start()
			m.ok(t)
			u.ok(t)
		})
	}
}

// TestBarrier: what PostgreSQL shows after it recovered may not be on the standby. Nobody sees it before it is.
func TestBarrier(t *testing.T) {
	t.Parallel()
	primary := pgtest.New(t, "synchronous_standby_names=s1")
	standby := primary.Standby("s1")
	s := open(t, pg.Config{DSN: primary.DSN(), Patience: time.Minute})
	defer s.Close()
	p := newPlace(t, s)
	entries := 0
	for name, fail := range map[string]func(pid int){
		"restarted": func(int) { primary.Stop(); primary.Start() },
		"recovered": primary.Crash, // the server process lives on
	} {
		t.Run(name, func(t *testing.T) {
			standby.Stop()
			m := p.append(0)
			becomes(t, primary.DSN(), waiting, 1)
			var pid int
			eye := connect(t, primary.DSN())
			p.ok(eye.QueryRow(context.Background(), "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'").Scan(&pid))
			fail(pid)
			entries++
			becomes(t, primary.DSN(), "SELECT count(*) = $1::bigint FROM entry", entries) // shown to who does not ask for more
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			if c, err := s.Conv(ctx, p.convs[0].ID); err == nil {
				t.Error("read what is not on the standby: seq", c.Seq)
			}
			cancel()
			becomes(t, primary.DSN(), "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
			if m.kept() {
				t.Fatal("answered", m.err)
			}
			standby.Start()
			m.ok(t)
			c, err := s.Conv(context.Background(), p.convs[0].ID)
			if err != nil || int(c.Seq) != entries {
				t.Fatal(c.Seq, err)
			}
		})
	}
}

// TestPromotion: if a standby may lack what was acknowledged, its promotion makes another store, and an open store reports that; if it has
// everything, everything continues under the same name. The former primary is not used any more, not even as a standby: it would show older heads.
func TestPromotion(t *testing.T) {
	for name, synchronous := range map[string]bool{"none": false, "synchronous": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			old := pgtest.New(t, "wal_keep_size=64MB")
			next := old.Standby("s1")
			dsn := fmt.Sprintf("host=%s,%s port=5432,5432 user=postgres dbname=postgres", old.Host(), next.Host())
			moved := make(chan struct{}, 1)
			cfg := pg.Config{DSN: dsn, Patience: time.Minute, Synchronous: synchronous, Moved: func() { moved <- struct{}{} }}
			s := open(t, cfg)
			defer func() { s.Close() }()
			p := newPlace(t, s)
			p.append(0).ok(t)
			id := s.ID()
			becomes(t, old.DSN(), "SELECT count(*) = 1 FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()")
			old.Stop()
			next.Promote()
			second := p.append(0)
			if !synchronous {
				select {
				case <-moved:
				case <-time.After(long):
					t.Fatal("nobody was told")
				}
				<-second.end
				if !errors.Is(second.err, pg.ErrMoved) {
					t.Fatal(second.err)
				}
				if _, err := s.Conv(ctx, p.convs[0].ID); !errors.Is(err, pg.ErrMoved) {
					t.Fatal(err)
				}
				if err := p.Update(ctx, []chat.Key{{UID: p.users[0]}}, func(tx chat.Tx) error { return nil }); !errors.Is(err, pg.ErrMoved) {
					t.Fatal(err)
				}
				p.ok(s.Close())
				s = open(t, cfg)
				p.Store = s
				if s.ID() == id || !strings.HasPrefix(s.ID(), id[:strings.Index(id, ".")+1]) {
					t.Fatalf("%s is now %s", id, s.ID())
				}
				second = p.append(0)
			}
			second.ok(t)
			if second.Seq != 2 || synchronous && s.ID() != id {
				t.Fatal(second.Seq, s.ID())
			}
			becomes(t, next.DSN(), "SELECT timeline = 2 FROM meta")

			// The old primary is back as a standby that is behind, and is the first in the address.
			old.Follow(next, "recovery_min_apply_delay=1h")
			p.append(0).ok(t)
			next.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidings'")
			p.append(0).ok(t)
			if c, err := s.Conv(ctx, p.convs[0].ID); err != nil || c.Seq != 4 {
				t.Fatal(c.Seq, err)
			}
			// Once recorded, it is the same store whatever the setting for standbys.
			was := s.ID()
			p.ok(s.Close())
			cfg.Synchronous = false
			s = open(t, cfg)
			if s.ID() != was {
				t.Fatalf("%s is now %s", was, s.ID())
			}
			p.ok(s.Close())
			if _, err := pg.Open(ctx, pg.Config{DSN: old.DSN(), Log: quiet}); err == nil || !strings.Contains(err.Error(), "standby") {
				t.Fatal("opened on a standby:", err)
			}
		})
	}
}

// TestReadOnlyConnection: a connection that takes no writes any more is closed, so that the next one may reach a server that does.
func TestReadOnlyConnection(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dsn := pgtest.DSN(t)
	dials := make(chan struct{}, 1000)
	s := open(t, pg.Config{DSN: dsn, Patience: long, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		select {
		case dials <- struct{}{}:
		default:
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}})
	defer s.Close()
	p := newPlace(t, s)
	p.append(0).ok(t)
	admin := connect(t, dsn)
	set := func(change string) {
		t.Helper()
		if _, err := admin.Exec(ctx, "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' "+change+"'; END $$"); err != nil {
			t.Fatal(err)
		}
	}
	set("SET default_transaction_read_only = on")
	// The writer's connection was opened when writing was allowed, so that is ended.
	if _, err := admin.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tidings'"); err != nil {
		t.Fatal(err)
	}
	for len(dials) > 0 {
		<-dials
	}
	m := p.append(0)
	for range 15 { // more than the pool and the writers have
		select {
		case <-dials:
		case <-m.end:
			t.Fatal("answered", m.err)
		case <-time.After(long):
			t.Fatal("the connections are kept")
		}
	}
	set("RESET default_transaction_read_only")
	m.ok(t)
	p.append(0).ok(t)
}
