package main

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/im"
)

// TestServeLocked: another process, this one, locks the database of a server: messages are refused with a code, the server keeps running, and accepts
// them once the lock is released.
func TestServeLocked(t *testing.T) {
	s := &served{t: t, dir: t.TempDir(), more: []string{"--lock-wait", "100ms"}}
	s.start()
	l, err := s.dial("alice")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sent := sender{name: "alice", peer: "alice", next: 1, open: map[uint64]bool{}, acked: map[uint64]uint64{}}
	if err := sent.run(l, 1, func() {}); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(s.dir, "tidings.db")+"?_busy_timeout=60000")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := sent.run(l, 2, func() {}); !errors.Is(err, &im.Error{Code: im.CodeServerInternal}) || !strings.Contains(err.Error(), "locked by another program") {
			t.Fatal("a message while the database is locked:", err)
		}
	}
	if _, err := db.ExecContext(context.Background(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := sent.run(l, 10, func() {}); err != nil {
		t.Fatal(err)
	}
	if len(sent.acked) != 10 {
		t.Errorf("%d messages are acknowledged", len(sent.acked))
	}
	for n, seq := range sent.acked {
		if seq < 1 || seq > 10 {
			t.Errorf("message %d has number %d", n, seq)
		}
	}
}
