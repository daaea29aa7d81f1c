package pg_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/store/tables"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// TestErrorOfQuery: the error of a query is what PostgreSQL sent, also when the query runs for the first time: by its code an Update is repeated or refused.
func TestErrorOfQuery(t *testing.T) {
	s := open(t, pg.Config{DSN: pgtest.DSN(t)})
	defer s.Close()
	const divisionByZero = "22012"
	is := func(err error) {
		t.Helper()
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != divisionByZero {
			t.Error(err)
		}
	}
	wrong := tables.NewQuery(tables.Number, "SELECT 1 / $1::bigint AS n")
	is(s.Update(t.Context(), nil, func(tx chat.Tx) error {
		on := tx.(*tables.Tx)
		_, err := wrong.One(on.Ctx, on.On, int64(0))
		is(err)
		return nil
	}))
	_, err := tables.NewQuery(tables.Number, "SELECT 2 / $1::bigint AS n").All(t.Context(), s.On, int64(0))
	is(err)
}
