package pg_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// connect opens a connection of another program.
func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// TestLogHoldsBack: the log is not read past a batch that is still open, whichever way it ends.
func TestLogHoldsBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dsn := pgtest.DSN(t)
	s := open(t, pg.Config{DSN: dsn})
	defer s.Close()
	p := newPlace(t, s)
	for _, o := range p.send(1) {
		p.ok(o.err)
	}
	late := connect(t, dsn)
	for _, ending := range []string{"COMMIT", "ROLLBACK"} {
		end, err := s.LogEnd(ctx)
		p.ok(err)
		tx, err := late.Begin(ctx)
		p.ok(err)
		var batch int64
		p.ok(tx.QueryRow(ctx, "SELECT draw_batch()").Scan(&batch))
		// The late one writes to a conversation of its own.
		_, err = tx.Exec(ctx, `INSERT INTO entry (id, conv, seq, client_time, random, sender, time, idx, own, prev, hash, flags, body) VALUES ($1, 999, $1, $1, 0, 1, 1, 0, 0, 0, 0, 0, '')`, batch<<12)
		p.ok(err)
		p.ok(p.send(1)[0].err)
		if now, err := s.LogEnd(ctx); err != nil || now != end {
			t.Fatalf("the log ends at %d, behind an open batch, %v; it ended at %d", now, err, end)
		}
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		list, err := s.Log(short, end, 10)
		cancel()
		if len(list) != 0 {
			t.Fatalf("read past an open batch: %+v, %v", list, err)
		}
		if _, err := tx.Exec(ctx, ending); err != nil {
			t.Fatal(err)
		}
		tx.Rollback(ctx)
		list, err = s.Log(ctx, end, 10)
		p.ok(err)
		want := map[string]int{"COMMIT": 2, "ROLLBACK": 1}[ending]
		if len(list) != want || want == 2 && (list[0].Conv != 999 || list[0].Pos != batch<<12) {
			t.Fatalf("%s: %+v", ending, list)
		}
	}
}

// TestCopy: a copy of a database is another store, and only once; a store that was taken back to an earlier time is another one as well.
func TestCopy(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dsn := pgtest.DSN(t)
	s := open(t, pg.Config{DSN: dsn})
	id := s.ID()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	twin := pgtest.Copy(t, dsn)
	id2 := ""
	for range 2 {
		s2 := open(t, pg.Config{DSN: twin})
		if id2 != "" && id2 != s2.ID() {
			t.Fatalf("%s became %s", id2, s2.ID())
		}
		id2 = s2.ID()
		s2.Close()
	}
	name := func(id string) string { return id[:strings.Index(id, ".")] }
	if id2 == id || name(id2) != name(id) || !strings.HasSuffix(id, ".0") {
		t.Fatalf("%s, copy %s", id, id2)
	}
	if err := pg.Restored(ctx, pg.Config{DSN: dsn, Log: quiet}); err != nil {
		t.Fatal(err)
	}
	s = open(t, pg.Config{DSN: dsn})
	defer s.Close()
	if s.ID() == id || name(s.ID()) != name(id) {
		t.Fatalf("%s after it was restored: %s", id, s.ID())
	}
}

func TestNewerSchema(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dsn := pgtest.DSN(t)
	if err := open(t, pg.Config{DSN: dsn}).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, dsn).Exec(ctx, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (4711, true)"); err != nil {
		t.Fatal(err)
	}
	_, err := pg.Open(ctx, pg.Config{DSN: dsn, Log: quiet})
	if err == nil || !strings.Contains(err.Error(), "newer version") || !strings.Contains(err.Error(), "4711") {
		t.Fatal(err)
	}
}

// TestUnfit: an unusable database is reported clearly, and without the password.
func TestUnfit(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for dsn, want := range map[string]string{
		"postgres://me:hushhush@127.0.0.1:1/x":               "127.0.0.1:1",
		"postgres://me:hushhush@127.0.0.1:1/x?sslmode=maybe": "sslmode",
		"host=/nowhere password=hushhush":                    "nowhere",
	} {
		_, err := pg.Open(ctx, pg.Config{DSN: dsn, Log: quiet})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hushhush") {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}

// TestText: what PostgreSQL does not accept as text is nobody's name, and does no harm as a reason.
func TestText(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, pg.Config{DSN: pgtest.DSN(t)})
	defer s.Close()
	p := newPlace(t, s)
	for _, bad := range []string{"a\x00b", "a\xffb"} {
		if _, err := s.UserByName(ctx, bad); !errors.Is(err, chat.ErrNotFound) {
			t.Error(err)
		}
		if _, err := s.Group(ctx, bad); !errors.Is(err, chat.ErrNotFound) {
			t.Error(err)
		}
		if _, err := s.CreateUser(ctx, bad); err == nil {
			t.Error("an account was made of", bad)
		}
		p.ok(s.Update(ctx, nil, func(tx chat.Tx) error {
			_, err := tx.AddChange(p.convs[0].ID, chat.Change{Kind: 1, Reason: bad})
			return err
		}))
	}
	list, err := s.Changes(ctx, p.convs[0].ID, 1, 2, 2, 1<<20)
	p.ok(err)
	if list[0].Reason != "ab" || list[1].Reason != "a\uFFFDb" {
		t.Errorf("%q, %q", list[0].Reason, list[1].Reason)
	}
}
