package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store"
)

// lock locks the database in dir as another program would; it returns the function that releases it.
func lock(t *testing.T, dir string) (letGo func()) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "tidings.db")+"?_busy_timeout=60000")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := conn.ExecContext(context.Background(), "ROLLBACK"); err != nil {
			t.Error(err)
		}
		if err := errors.Join(conn.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestLocked: while another program has locked the database, only what cannot be written in time is refused, and everything continues when it is
// released.
func TestLocked(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	start := func(wait time.Duration) (*store.Store, error) {
		return store.Open(ctx, store.Config{Dir: dir, Log: quiet, LockWait: wait, Fatal: func(err error) { t.Error("fatal:", err) }})
	}
	s, err := start(20 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Close() }()
	u, err := s.CreateUser(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.C2C(ctx, u.UID, u.UID)
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		st  chat.Stored
		dup bool
		err error
	}
	queue := func(key uint32) <-chan answer {
		got := make(chan answer, 1)
		s.Append(chat.Entry{Conv: c.ID, Sender: u.UID, ClientTime: 1, Random: key, Countable: true},
			func(st chat.Stored, dup bool, err error) { got <- answer{st, dup, err} })
		return got
	}
	seq := uint64(0)
	stored := func(a answer) {
		t.Helper()
		if seq++; a.err != nil || a.dup || a.st.Seq != seq || a.st.Index != seq {
			t.Fatalf("message %d: %+v", seq, a)
		}
	}
	stored(<-queue(1))
	for round := range 3 {
		letGo := lock(t, dir)
		for i := range 3 {
			if a := <-queue(uint32(100*round + 10 + i)); !errors.Is(a.err, chat.ErrLocked) {
				t.Errorf("a message: %+v", a)
			}
			if _, err := s.CreateUser(ctx, fmt.Sprint("new", round, "-", i)); !errors.Is(err, chat.ErrLocked) {
				t.Error("an account:", err)
			}
		}
		if a := <-queue(1); a.err != nil || !a.dup || a.st.Seq != 1 {
			t.Errorf("a message that was stored: %+v", a)
		}
		if !s.Locked() {
			t.Error("the store does not say that it is locked")
		}
		if list, err := s.Entries(ctx, c.ID, 1, chat.NoEnd, false, 100, 1<<20); err != nil || uint64(len(list)) != seq {
			t.Errorf("%d entries are read of %d, %v", len(list), seq, err)
		}
		letGo()
		stored(<-queue(uint32(100*round + 10))) // one that was refused
		if _, err := s.CreateUser(ctx, fmt.Sprint("new", round, "-", 0)); err != nil {
			t.Error(err)
		}
		if s.Locked() {
			t.Error("the store says that it is locked")
		}
	}
	// A store that is closed in that time ends, and refuses what waits.
	letGo := lock(t, dir)
	waits := queue(1000)
	if err := s.Close(); err != nil {
		t.Error("closed while locked:", err)
	}
	if a := <-waits; !errors.Is(a.err, chat.ErrLocked) {
		t.Errorf("a message that waited when the store was closed: %+v", a)
	}
	if other, err := start(20 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "another program has locked the database") {
		other.Close()
		t.Error("opened while locked:", err)
	}
	letGo()

	// An operation that waits long enough is not refused.
	if s, err = start(time.Minute); err != nil {
		t.Fatal(err)
	}
	letGo = lock(t, dir)
	waits = queue(2000)
	if list, err := s.Entries(ctx, c.ID, 1, chat.NoEnd, false, 100, 1<<20); err != nil || uint64(len(list)) != seq {
		t.Errorf("%d entries are read of %d, %v", len(list), seq, err)
	}
	letGo()
	stored(<-waits)
}
