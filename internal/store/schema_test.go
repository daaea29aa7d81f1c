package store_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/internal/testing/storetest"
)

// TestKeptDatabase: a database that was filled by the program with schema number 4 is read, written and migrated to the schema of a new one.
func TestKeptDatabase(t *testing.T) {
	b, err := os.ReadFile("testdata/v4.db")
	if err != nil {
		t.Fatal(err)
	}
	kept, fresh := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(kept, "tidings.db"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	storetest.Filled(t, open(t, kept))
	s := open(t, fresh)
	storetest.Fill(t, s)
	storetest.Filled(t, s)
	if a, b := schema(t, kept), schema(t, fresh); !slices.Equal(a, b) {
		t.Errorf("the kept database is\n%s\na new one\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
}

// schema is everything that a database has, by the texts that made it, and the steps that it knows. Comments and white space are ignored.
func schema(t *testing.T, dir string) (out []string) {
	t.Helper()
	db, err := sql.Open("sqlite3", filepath.Join(dir, "tidings.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT type || ' ' || name || ' ' || tbl_name, coalesce(sql, '') FROM sqlite_schema
		UNION ALL SELECT 'step', CAST(version_id AS TEXT) FROM goose_db_version ORDER BY 1, 2`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	comment, space, around := regexp.MustCompile(`--[^\n]*`), regexp.MustCompile(`\s+`), regexp.MustCompile(` ?([(),]) ?`)
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			t.Fatal(err)
		}
		text = space.ReplaceAllString(comment.ReplaceAllString(text, ""), " ")
		out = append(out, name+": "+strings.TrimSpace(around.ReplaceAllString(text, "$1")))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if len(out) < 30 {
		t.Fatal("too little of a schema:", out)
	}
	return out
}
