package pg_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/internal/testing/storetest"
)

// TestKeptDatabase: a database that was filled by the program with schema number 7 is read, written and migrated to the schema of a new one.
func TestKeptDatabase(t *testing.T) {
	dump, err := os.ReadFile("testdata/v7.sql") // by pg_dump --inserts
	if err != nil {
		t.Fatal(err)
	}
	kept, fresh := pgtest.DSN(t), pgtest.DSN(t)
	conn, err := pgx.Connect(t.Context(), kept)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.PgConn().Exec(t.Context(), string(dump)).ReadAll(); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := open(t, pg.Config{DSN: kept})
	defer s.Close()
	storetest.Filled(t, s)
	n := open(t, pg.Config{DSN: fresh})
	defer n.Close()
	storetest.Fill(t, n)
	storetest.Filled(t, n)
	if a, b := schema(t, kept), schema(t, fresh); !slices.Equal(a, b) {
		t.Errorf("the kept database is\n%s\na new one\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
}

// schema is everything that a database has, and the steps that it knows.
func schema(t *testing.T, dsn string) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), `
		SELECT concat_ws(' ', 'relation', relkind, relname, reloptions) FROM pg_class WHERE relnamespace = 'public'::regnamespace
		UNION ALL SELECT concat_ws(' ', 'column', relname, attnum, attname, format_type(atttypid, atttypmod), attnotnull, collname, attstorage, pg_get_expr(adbin, adrelid))
			FROM pg_attribute JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_collation l ON l.oid = attcollation
			LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
			WHERE relnamespace = 'public'::regnamespace AND attnum > 0
		UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
		UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
		UNION ALL SELECT 'function ' || pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
		UNION ALL SELECT 'view ' || viewname || ' ' || definition FROM pg_views WHERE schemaname = 'public'
		UNION ALL SELECT concat_ws(' ', 'sequence', seqrelid::regclass, seqtypid::regtype, seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle)
			FROM pg_sequence JOIN pg_class c ON c.oid = seqrelid WHERE relnamespace = 'public'::regnamespace
		UNION ALL SELECT concat_ws(' ', 'trigger', tgname, tgrelid::regclass) FROM pg_trigger
		UNION ALL SELECT 'step ' || version_id FROM goose_db_version
		ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 150 {
		t.Fatal("too little of a schema:", out)
	}
	return out
}
