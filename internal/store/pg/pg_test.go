package pg_test

import (
	"cmp"
	"context"
	"flag"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/internal/testing/soak"
	"github.com/tidings-im/tidings/internal/testing/storetest"
)

func TestMain(m *testing.M) {
	flag.Set("rapid.checks", soak.Pick("25", "100")) // a statement of PostgreSQL takes longer than one of SQLite, whose test of the same contract makes 100
	code := pgtest.Main(m)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			os.Stderr.WriteString(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func TestContract(t *testing.T) { storetest.Run(t, opener()) }

// TestContractShared runs two stores on one database.
func TestContractShared(t *testing.T) { storetest.RunShared(t, opener()) }

// TestContractOwnClock does so by the clock of PostgreSQL.
func TestContractOwnClock(t *testing.T) {
	with := opener()
	storetest.RunShared(t, func(t *testing.T, place string, _ func() time.Time) chat.Store { return with(t, place, nil) })
}

func TestMediaByIndex(t *testing.T) {
	dsn := pgtest.DSN(t)
	s := open(t, pg.Config{DSN: dsn + " plan_cache_mode=force_generic_plan"}) // as for a statement that was run some times
	defer s.Close()
	storetest.MediaByIndex(t, s, &s.Both, func() {
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if _, err := conn.Exec(t.Context(), "ANALYZE"); err != nil {
			t.Fatal(err)
		}
	})
}

// opener gives each place a database.
func opener() storetest.Open {
	var mu sync.Mutex
	databases := make(map[string]string)
	return func(t *testing.T, place string, clock func() time.Time) chat.Store {
		t.Helper()
		mu.Lock()
		dsn := databases[place]
		if dsn == "" {
			dsn = pgtest.DSN(t)
			databases[place] = dsn
		}
		mu.Unlock()
		return open(t, pg.Config{DSN: dsn, Clock: clock})
	}
}

func open(t testing.TB, cfg pg.Config) *pg.Store {
	t.Helper()
	cfg.Log = cmp.Or(cfg.Log, quiet)
	s, err := pg.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
