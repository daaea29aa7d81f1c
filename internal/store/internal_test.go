package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// TestFailedCommit: nothing that waits gets a success when a commit fails, the process is told to stop, and the disk has what was committed before.
func TestFailedCommit(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	var fatal []error // called on the writer goroutine, read after Close
	s, err := Open(ctx, Config{Dir: dir, Fatal: func(err error) { fatal = append(fatal, err) }})
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.CreateUser(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.C2C(ctx, a.UID, a.UID)
	if err != nil {
		t.Fatal(err)
	}
	key := uint32(0)
	send := func() error {
		key++
		got := make(chan error, 1)
		s.Append(chat.Entry{Conv: c.ID, Sender: a.UID, ClientTime: 1, Random: key}, func(_ chat.Stored, _ bool, err error) { got <- err })
		return <-got
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	// The driver refuses every commit from here on.
	after := false
	err = s.update(ctx, func(tx *tx) error {
		tx.AfterCommit(func() { after = true })
		if _, err := tx.AddFeed(a.UID, 1, nil); err != nil {
			return err
		}
		return s.w.Raw(func(c any) error {
			c.(*sqlite3.SQLiteConn).RegisterCommitHook(func() int { return 1 })
			return nil
		})
	})
	if err == nil || !strings.Contains(err.Error(), "commit") {
		t.Fatal("Update whose commit failed:", err)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Add(1)
		s.Append(chat.Entry{Conv: c.ID, Sender: a.UID, ClientTime: 2}, func(_ chat.Stored, _ bool, err error) {
			if err == nil {
				t.Error("an append after a failed commit was answered as stored")
			}
			wg.Done()
		})
	}
	wg.Wait()
	if err := s.Update(ctx, nil, func(chat.Tx) error { t.Error("it ran"); return nil }); err == nil || errors.Is(err, chat.ErrClosed) {
		t.Error("Update after a failed commit:", err)
	}
	s.Close()
	if len(fatal) != 1 || after {
		t.Fatal("Fatal was called with", fatal, "AfterCommit:", after)
	}
	s, err = Open(ctx, Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if c, err = s.Conv(ctx, c.ID); err != nil || c.Seq != 1 {
		t.Fatal("after reopening:", c, err)
	}
	if u, err := s.UserByID(ctx, a.UID); err != nil || u.Feed != 0 {
		t.Fatal("after reopening:", u, err)
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
}

// TestDroppedHeads: heads that no longer fit in memory are read from their rows.
func TestDroppedHeads(t *testing.T) {
	defer func(n int) { headsMax = n }(headsMax)
	headsMax = 4
	ctx := context.Background()
	s, err := Open(ctx, Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a, err := s.CreateUser(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	var ids []chat.ConvID
	for i := range 20 {
		if err := s.Update(ctx, nil, func(tx chat.Tx) error {
			c, err := tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: fmt.Sprint("g", i)})
			ids = append(ids, c.ID)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range uint64(10) {
		var wg sync.WaitGroup
		for _, id := range ids {
			wg.Add(1)
			s.Append(chat.Entry{Conv: id, Sender: a.UID, ClientTime: n, Countable: true}, func(st chat.Stored, _ bool, err error) {
				if err != nil || st.Seq != n+1 || st.OwnIndex != n+1 {
					t.Errorf("message %d of %d: %+v %v", n+1, id, st, err)
				}
				wg.Done()
			})
		}
		wg.Wait()
		if err := s.flushed(ctx); err != nil {
			t.Fatal(err)
		}
		s.mu.RLock()
		if len(s.heads) > headsMax {
			t.Errorf("%d heads in memory", len(s.heads))
		}
		s.mu.RUnlock()
		for _, id := range ids {
			if c, err := s.Conv(ctx, id); err != nil || c.Seq != n+1 || c.Index != n+1 {
				t.Fatal(c, err)
			}
		}
	}
}

// TestReplay: heads that were not flushed are recomputed from the entries when a copy of the files is opened, and the clock continues from the last
// commit, whatever it was.
func TestReplay(t *testing.T) {
	for _, last := range []string{"append", "update"} {
		t.Run(last, func(t *testing.T) { replay(t, last) })
	}
}

func replay(t *testing.T, last string) {
	ctx := context.Background()
	start := time.UnixMilli(1_700_000_000_000)
	var late atomic.Int64
	s, err := Open(ctx, Config{Dir: t.TempDir(), Clock: func() time.Time { return start.Add(time.Duration(late.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	users := make([]chat.UID, 3)
	for i := range users {
		u, err := s.CreateUser(ctx, string(rune('a'+i)))
		if err != nil {
			t.Fatal(err)
		}
		users[i] = u.UID
	}
	c2c, err := s.C2C(ctx, users[0], users[1])
	if err != nil {
		t.Fatal(err)
	}
	var group chat.Conv
	if err := s.Update(ctx, nil, func(tx chat.Tx) error {
		group, err = tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: "g"})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	key := uint32(0)
	send := func(s *Store, id chat.ConvID, from chat.UID, countable bool) {
		t.Helper()
		key++
		got := make(chan error, 1)
		s.Append(chat.Entry{Conv: id, Sender: from, ClientTime: 1, Random: key, Countable: countable}, func(_ chat.Stored, _ bool, err error) { got <- err })
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	for copied := false; !copied; {
		late.Add(int64(time.Hour))
		for i := range 7 {
			send(s, c2c.ID, users[i%2], i != 2)
			send(s, group.ID, users[i%3], i != 3)
		}
		// The row of one head is written by an Update, ahead of what the flush covers.
		if err := s.Update(ctx, nil, func(tx chat.Tx) error { _, err := tx.AddChange(c2c.ID, chat.Change{}); return err }); err != nil {
			t.Fatal(err)
		}
		send(s, c2c.ID, users[0], true)
		late.Add(int64(time.Hour))
		if last == "append" {
			send(s, group.ID, users[0], true)
		} else if err := s.Update(ctx, nil, func(tx chat.Tx) error { _, err := tx.AddFeed(users[0], 1, nil); return err }); err != nil {
			t.Fatal(err)
		}
		// While this runs on the writer goroutine, nothing is committed.
		if err := s.update(ctx, func(*tx) error {
			if copied = len(s.dirtyHeads) > 0 && len(s.dirtyOwns) > 0; !copied {
				return nil // the writer was idle so long that it has flushed
			}
			return errors.Join(copyFile(s.cfg.Dir, dir, dbFile), copyFile(s.cfg.Dir, dir, dbFile+"-wal"))
		}); err != nil {
			t.Fatal(err)
		}
	}
	again, err := Open(ctx, Config{Dir: dir, Clock: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if a, b := s.Now(), again.Now(); a != b {
		t.Fatal("clock after replay", b, "before", a)
	}
	compare := func() {
		t.Helper()
		for _, id := range []chat.ConvID{c2c.ID, group.ID} {
			want, err1 := s.Conv(ctx, id)
			got, err2 := again.Conv(ctx, id)
			if err1 != nil || err2 != nil || got != want {
				t.Fatalf("after replay %+v, before %+v: %v %v", got, want, err1, err2)
			}
			for _, uid := range users {
				if id == c2c.ID && uid == users[2] {
					continue
				}
				var want, got []uint64
				numbers := func(s *Store, to *[]uint64) error {
					return s.Update(ctx, nil, func(tx chat.Tx) error {
						own, err := tx.Own(id, uid)
						*to = []uint64{own}
						for seq := range got1(tx.Conv(id)).Seq + 1 {
							n, _, err := tx.OthersAt(id, uid, seq)
							if err != nil {
								return err
							}
							*to = append(*to, n)
						}
						return err
					})
				}
				if err := errors.Join(numbers(s, &want), numbers(again, &got)); err != nil || !slices.Equal(got, want) {
					t.Fatalf("own and others of %d in %d after replay %d, before %d: %v", uid, id, got, want, err)
				}
			}
		}
	}
	compare()
	before := key
	for _, s := range []*Store{s, again} {
		key = before
		send(s, c2c.ID, users[1], true)
		send(s, group.ID, users[1], true)
	}
	compare()
}

func got1[T any](v T, _ error) T { return v }

func copyFile(from, to, name string) error {
	b, err := os.ReadFile(filepath.Join(from, name))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, name), b, 0o600)
}

// after runs a function when a query's rows have been read, before they are used.
type after struct {
	reads
	f func()
}

func (a after) Ask(ctx context.Context, read func(tables.Rows) error, text string, args ...any) error {
	defer a.f()
	return a.reads.Ask(ctx, read, text, args...)
}

// TestRowOlderThanMemory: a conversation that is looked for by its people or its group is never older than what was answered before, although its row
// is, and although its end leaves the memory while the row is looked at.
func TestRowOlderThanMemory(t *testing.T) {
	defer func(n int) { headsMax = n }(headsMax)
	headsMax = 0 // whatever is flushed leaves the memory
	ctx := context.Background()
	s, err := Open(ctx, Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a, err := s.CreateUser(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := s.C2C(ctx, a.UID, a.UID)
	if err != nil {
		t.Fatal(err)
	}
	var group chat.Conv
	if err := s.Update(ctx, nil, func(tx chat.Tx) (err error) {
		group, err = tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: "g"})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	stale := 0
	both := tables.Both{On: after{reads{s}, func() {
		s.mu.RLock()
		for _, h := range s.heads {
			if h.unflushed {
				stale++
			}
		}
		s.mu.RUnlock()
		if err := s.flushed(ctx); err != nil {
			t.Error(err)
		}
	}}}
	for _, find := range []struct {
		id chat.ConvID
		by func() (chat.Conv, error)
	}{
		{pair.ID, func() (chat.Conv, error) { return both.FindC2C(ctx, a.UID, a.UID) }},
		{group.ID, func() (chat.Conv, error) { return both.Group(ctx, "g") }},
	} {
		stale = 0
		for n := uint64(1); stale == 0; n++ { // again if the writer had the time to flush by itself
			got := make(chan error, 1)
			s.Append(chat.Entry{Conv: find.id, Sender: a.UID, ClientTime: n}, func(_ chat.Stored, _ bool, err error) { got <- err })
			if err := <-got; err != nil {
				t.Fatal(err)
			}
			if c, err := find.by(); err != nil || c.Seq != n {
				t.Fatalf("conversation %d has %d entries, and is found with %d: %v", find.id, n, c.Seq, err)
			}
		}
	}
}

// TestForeignPeriod: a period that somebody else has written, and that has an end which is no number of a message, shows nothing of its conversation,
// and spoils no other one.
func TestForeignPeriod(t *testing.T) {
	ctx := context.Background()
	s, err := Open(ctx, Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a, err := s.CreateUser(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	var spoilt, whole chat.ConvID
	for _, id := range []*chat.ConvID{&spoilt, &whole} {
		if err := s.Update(ctx, nil, func(tx chat.Tx) error {
			c, err := tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: fmt.Sprint("g", id)})
			*id = c.ID
			if err == nil {
				_, err = tx.Join(c.ID, a.UID)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	good := []chat.Period{{From: 0, To: chat.NoEnd, ToRev: chat.NoEnd}}
	for _, ends := range []string{"'abc', 9", "3, 'abc'", "'', 9", "3, ''", "x'ff00', 9", "3, x'ff00'", "1.5, 9", "3, 1e300", "-1, 9", "3, -1", "'3 4', 9", "'3 4', '5 6 7'", "' ', ' '"} {
		if err := s.update(ctx, func(tx *tx) error {
			if err := tx.Tell(ctx, "DELETE FROM period WHERE conv = $1", int64(spoilt)); err != nil {
				return err
			}
			for _, from := range []string{"1, 2", ends} {
				if err := tx.Tell(ctx, "INSERT INTO period (uid, conv, from_seq, to_seq) VALUES ($1, $2, "+from+")", int64(a.UID), int64(spoilt)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		rows, _, err := s.Heads(ctx, a.UID, 0, 0, 10)
		if err != nil || len(rows) != 2 || rows[0].Periods != nil || !slices.Equal(rows[1].Periods, good) {
			t.Errorf("%s: %+v %v", ends, rows, err)
		}
		if one, err := s.Head(ctx, a.UID, spoilt); err != nil || one.Periods != nil {
			t.Errorf("%s: %+v %v", ends, one.Periods, err)
		}
	}
}
