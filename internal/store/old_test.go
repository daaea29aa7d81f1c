package store_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/tidings-im/tidings/internal/chat"
)

// oldData makes a data folder from the database of the first schema in testdata.
func oldData(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("testdata/v1.db")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tidings.db"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestOldDatabase: a database of the first schema is migrated to today's, with everything in it. It has 20 messages of alice to bob, the third of
// which is withdrawn, then 5 of bob to alice, and a note of bob to himself.
func TestOldDatabase(t *testing.T) {
	ctx := t.Context()
	dir := oldData(t)
	for range 2 { // migrated, and reopened
		s := open(t, dir)
		if s.ID() != "43c74c7079c48cbe.0" {
			t.Error("the store is called", s.ID())
		}
		alice, err := s.UserByName(ctx, "alice")
		if err != nil {
			t.Fatal(err)
		}
		bob, err := s.UserByName(ctx, "bob")
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.FindC2C(ctx, alice.UID, bob.UID)
		if err != nil || c.Seq < 25 || c.Rev != 1 {
			t.Fatal(c, err)
		}
		log, err := s.Entries(ctx, c.ID, 1, 25, false, 100, 1<<20)
		if err != nil || len(log) != 25 || log[2].Revoker != alice.UID || log[2].RevokeReason != "typo" || log[24].Sender != bob.UID || log[24].OwnIndex != 5 {
			t.Fatal(log, err)
		}
		h, err := s.Head(ctx, bob.UID, c.ID)
		if err != nil || h.Withdrawn != 1 {
			t.Fatal(h, err)
		}
		note, err := s.FindC2C(ctx, bob.UID, bob.UID)
		if err != nil || note.Seq != 1 {
			t.Fatal(note, err)
		}
		recount(t, s, c.ID)
		appendAll(t, s, chat.Conv{ID: c.ID, Policy: c.Policy}, alice.UID, int(c.Seq)*100, 10)
		recount(t, s, c.ID)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	versions := func(dir string) (n int64) {
		db, err := sql.Open("sqlite3", filepath.Join(dir, "tidings.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.QueryRow("SELECT max(version_id) FROM goose_db_version").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	fresh := t.TempDir()
	if err := open(t, fresh).Close(); err != nil {
		t.Fatal(err)
	}
	if old, now := versions(dir), versions(fresh); old != now {
		t.Errorf("schema %d, a new one is %d", old, now)
	}
}

// TestContentOfOldModifications: in a database from before changes had a version, the change that made the present content is known after the
// migration.
func TestContentOfOldModifications(t *testing.T) {
	ctx := t.Context()
	dir := oldData(t)
	db, err := sql.Open("sqlite3", filepath.Join(dir, "tidings.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`
		INSERT INTO change (conv, rev, kind, seq, time, operator, reason)
			SELECT conv, rev + n, 2, CASE n WHEN 2 THEN 5 ELSE 4 END, time + n, operator, '' FROM change, (SELECT 1 AS n UNION SELECT 2 UNION SELECT 3) WHERE rev = 1;
		UPDATE conv SET rev = 4 WHERE rev = 1;
		UPDATE entry SET version = CASE seq WHEN 4 THEN 2 ELSE 1 END WHERE seq IN (4, 5) AND conv IN (SELECT conv FROM change)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	alice, err := s.UserByName(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	bob, err := s.UserByName(ctx, "bob")
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.FindC2C(ctx, alice.UID, bob.UID)
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.Changes(ctx, c.ID, 1, 4, 10, 1<<20)
	if err != nil || len(list) != 4 {
		t.Fatal(list, err)
	}
	for i, want := range []struct {
		version uint64
		content bool
	}{{0, false}, {1, false}, {1, true}, {2, true}} {
		if ch := list[i]; ch.Version != want.version || (ch.Target.Body != nil) != want.content {
			t.Errorf("change %d has version %d, content %t", ch.Rev, ch.Version, ch.Target.Body != nil)
		}
	}
}
