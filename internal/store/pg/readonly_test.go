package pg_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// TestReadOnlyDatabase: a database that takes no writes is refused when it is opened, whether it is new or was used before, with the reason.
func TestReadOnlyDatabase(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, used := range []bool{false, true} {
		dsn := pgtest.DSN(t)
		if used {
			open(t, pg.Config{DSN: dsn}).Close()
		}
		cfg, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		c := connect(t, dsn)
		if _, err := c.Exec(ctx, "ALTER DATABASE "+cfg.Database+" SET default_transaction_read_only = on"); err != nil {
			t.Fatal(err)
		}
		s, err := pg.Open(ctx, pg.Config{DSN: dsn})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("used before: %v: %v", used, err)
		}
	}
}
