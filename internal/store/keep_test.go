package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store"
)

// sums returns hashes of all files in a folder except the lock.
func sums(t *testing.T, dir string) string {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, n := range names {
		// The index of the WAL contains only what the WAL does.
		if n.Name() == "lock" || strings.HasSuffix(n.Name(), "-shm") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, n.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 {
			continue // a WAL that says nothing
		}
		fmt.Fprintf(&out, "%s %d %x\n", n.Name(), len(b), sha256.Sum256(b))
	}
	return out.String()
}

// filled makes a data folder with some conversations; crash leaves its WAL there as after kill -9.
func filled(t *testing.T, crash bool) string {
	t.Helper()
	ctx := context.Background()
	dir := t.TempDir()
	s := open(t, dir)
	a, err := s.CreateUser(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.CreateUser(ctx, "b")
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.C2C(ctx, a.UID, b.UID)
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, c, a.UID, 0, 500)
	if !crash {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	// The schema is in the database, and what comes next only in the WAL.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	appendAll(t, s, c, a.UID, 500, 3)
	copied := t.TempDir()
	if err := s.Update(ctx, nil, func(chat.Tx) error { // nothing is committed in between
		for _, name := range []string{"tidings.db", "tidings.db-wal"} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err == nil {
				err = os.WriteFile(filepath.Join(copied, name), b, 0o600)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return copied
}

func appendAll(t *testing.T, s *store.Store, c chat.Conv, from chat.UID, first, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		s.Append(chat.Entry{Conv: c.ID, Sender: from, ClientTime: 1, Random: uint32(first + i), Countable: true, Body: make([]byte, 200)},
			func(_ chat.Stored, dup bool, err error) {
				if err != nil || dup {
					t.Errorf("append: dup %v: %v", dup, err)
				}
				wg.Done()
			})
	}
	wg.Wait()
}

// TestDamaged: a database that is no longer whole is refused by name, with what to do, and no byte of it or of its WAL is changed.
func TestDamaged(t *testing.T) {
	zero := func(b []byte, from, to int) []byte { clear(b[from:to]); return b }
	for _, c := range []struct {
		name   string
		crash  bool
		damage func([]byte) []byte
	}{
		{"header", false, func(b []byte) []byte { return zero(b, 0, 100) }},
		{"schema with WAL", true, func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("CREATE TABLE"), []byte("CREATE TUBLE")) }},
		{"first page", false, func(b []byte) []byte { return zero(b, 100, 4096) }},
		{"schema", false, func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("CREATE TABLE"), []byte("CREATE TUBLE")) }},
		{"cut off", false, func(b []byte) []byte { return b[:len(b)/2] }},
		{"cut to a page", false, func(b []byte) []byte { return b[:4096] }},
		{"garbage", false, func(b []byte) []byte { return bytes.Repeat([]byte("garbage "), len(b)/8) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filled(t, c.crash)
			file := filepath.Join(dir, "tidings.db")
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, c.damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			before := sums(t, dir)
			s, err := store.Open(t.Context(), store.Config{Dir: dir, Log: quiet})
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			var damaged *store.DamagedError
			if !errors.As(err, &damaged) || damaged.File != file || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "tidings restore") {
				t.Error(err)
			}
			if after := sums(t, dir); after != before {
				t.Errorf("files before:\n%safter:\n%s", before, after)
			}
			if err := store.Backup(t.Context(), dir, filepath.Join(t.TempDir(), "b.db")); err == nil {
				t.Error("a damaged database was backed up")
			}
		})
	}
}

// Opening the store does not read a page in the middle; a backup reads everything, and refuses.
func TestBackupOfDamaged(t *testing.T) {
	dir := filled(t, false)
	file := filepath.Join(dir, "tidings.db")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(b) / 2 &^ 4095; i < len(b)-8*4096; i++ {
		b[i] = 0x5a
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "b.db")
	if err := store.Backup(t.Context(), dir, to); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Error(err)
	}
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		t.Error("a backup was left:", err)
	}
}

// TestBackupRestore: a copy that was made during writes has everything that was acknowledged before, continues from there, and has another name for
// clients; two restores of it differ. It is not a data folder itself, and nothing is overwritten.
func TestBackupRestore(t *testing.T) {
	ctx := context.Background()
	dir, place := t.TempDir(), t.TempDir()
	s := open(t, dir)
	a, err := s.CreateUser(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.C2C(ctx, a.UID, a.UID)
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, c, a.UID, 0, 3000)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 3000; ; i += 100 {
			select {
			case <-stop:
				return
			default:
				appendAll(t, s, c, a.UID, i, 100)
			}
		}
	})
	to := filepath.Join(place, "copy.db")
	if err := store.Backup(ctx, dir, to); err != nil {
		t.Fatal(err)
	}
	close(stop)
	wg.Wait()
	if err := store.Backup(ctx, dir, to); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Error("a backup was overwritten:", err)
	}
	if left, _ := filepath.Glob(filepath.Join(place, "*")); len(left) != 1 {
		t.Error("left behind:", left)
	}

	raw := t.TempDir()
	b, err := os.ReadFile(to)
	if err == nil {
		err = os.WriteFile(filepath.Join(raw, "tidings.db"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(ctx, store.Config{Dir: raw, Log: quiet}); err == nil || !strings.Contains(err.Error(), "tidings restore") {
		t.Error("a server started on a backup:", err)
	}
	if err := store.Restore(ctx, to, raw, nil); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Error("restored over something:", err)
	}
	if err := store.Restore(ctx, filepath.Join(dir, "tidings.db"), filepath.Join(place, "x"), nil); err == nil || !strings.Contains(err.Error(), "not a backup") {
		t.Error("a live database was restored:", err)
	}
	if err := os.WriteFile(filepath.Join(place, "bad.db"), b[:len(b)/3], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store.Restore(ctx, filepath.Join(place, "bad.db"), filepath.Join(place, "y"), nil); err == nil {
		t.Error("a damaged backup was restored")
	}

	again := filepath.Join(place, "again")
	if err := store.Restore(ctx, to, again, nil); err != nil {
		t.Fatal(err)
	}
	r := open(t, again)
	oldName, _, _ := strings.Cut(s.ID(), ".")
	newName, _, _ := strings.Cut(r.ID(), ".")
	if r.ID() == s.ID() || oldName != newName {
		t.Errorf("store %s was restored as %s", s.ID(), r.ID())
	}
	cv, err := r.Conv(ctx, c.ID)
	if err != nil || cv.Seq < 3000 {
		t.Fatal(cv, err)
	}
	recount(t, r, c.ID)
	appendAll(t, r, cv, a.UID, 1<<20, 10)
	recount(t, r, c.ID)

	db, err := sql.Open("sqlite3", to)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE meta SET restores = 1 << 40"); err != nil { // of a clock that was far ahead
		t.Fatal(err)
	}
	third := filepath.Join(place, "third")
	if err := store.Restore(ctx, to, third, nil); err != nil {
		t.Fatal(err)
	}
	if id := open(t, third).ID(); id != fmt.Sprint(oldName, ".", 1<<40+1) {
		t.Error("restored as", id)
	}
}
