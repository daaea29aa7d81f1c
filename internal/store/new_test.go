package store

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// TestNewStoreCutShort: a store that lost its power while it was made, and with it what the system had not written of its log, opens and has all tables.
func TestNewStoreCutShort(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := &Store{cfg: Config{Dir: dir, Log: slog.Default(), LockWait: lockWait}}
	if err := s.openDB(ctx); err != nil { // no goroutine that would copy the log into the database
		t.Fatal(err)
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var synchronous int
	if err := s.w.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil || synchronous != 2 {
		t.Errorf("a new store goes on with synchronous=%d, want FULL (2); %v", synchronous, err)
	}
	db, wal := read(dbFile), read(dbFile+"-wal")
	for _, f := range []func() error{s.w.Close, s.read.Close, s.ckpt.Close, s.wdb.Close} {
		if err := f(); err != nil {
			t.Error(err)
		}
	}
	if len(db) > pageSize {
		t.Fatalf("%d bytes of the log were copied into the database before the store had a name", len(db))
	}
	const header, frame = 32, 24 + pageSize
	cuts := []int{0, header / 2, header, len(wal) - 1, len(wal)}
	for n := header + frame; n < len(wal); n += 16 * frame {
		cuts = append(cuts, n, n+frame/2)
	}
	if len(cuts) < 10 {
		t.Fatalf("a log of %d bytes is too short for this test", len(wal))
	}
	for _, n := range cuts {
		again := t.TempDir()
		for name, b := range map[string][]byte{dbFile: db, dbFile + "-wal": wal[:n]} {
			if err := os.WriteFile(filepath.Join(again, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(ctx, Config{Dir: again})
		if err != nil {
			t.Errorf("cut at %d of %d: %v", n, len(wal), err)
			continue
		}
		a, err := s.CreateUser(ctx, "a")
		if err == nil {
			_, err = s.C2C(ctx, a.UID, a.UID)
		}
		if err != nil {
			t.Errorf("cut at %d of %d: %v", n, len(wal), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
