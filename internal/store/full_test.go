package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/testing/needs"
)

// fullDisk is a store whose disk can be filled and freed.
type fullDisk struct {
	dir        string
	fill, free func(*Store) error
}

// TestFullDisk: without space, senders are refused with ErrFull, reads continue, what was acknowledged stays and is answered again, and once there is
// space everything works as before: dense numbers, correct counts, also after a restart.
func TestFullDisk(t *testing.T) {
	defer func(d time.Duration) { fullRetry = d }(fullRetry)
	fullRetry = time.Millisecond
	t.Run("bound", func(t *testing.T) {
		d := &fullDisk{dir: t.TempDir()}
		d.fill = func(s *Store) error {
			var n int
			if err := s.read.QueryRow("PRAGMA page_count").Scan(&n); err != nil {
				return err
			}
			return s.SetMaxPages(n + 20)
		}
		d.free = func(s *Store) error { return s.SetMaxPages(0) }
		testFullDisk(t, d)
	})
	// A small file system, if the machine lets us have one.
	t.Run("tmpfs", func(t *testing.T) {
		d := &fullDisk{dir: t.TempDir()}
		if err := mountSmall(t, d.dir, reserveSize+64<<20); err != nil {
			needs.Missing(t, "no small file system, which takes root: %v", err)
		}
		ballast := filepath.Join(d.dir, "ballast")
		d.fill = func(*Store) error {
			f, err := os.Create(ballast)
			if err != nil {
				return err
			}
			defer f.Close()
			for err == nil {
				_, err = f.Write(make([]byte, 4096))
			}
			if fi, e := f.Stat(); e != nil || fi.Size() == 0 {
				return fmt.Errorf("no ballast: %w", err)
			}
			return nil
		}
		d.free = func(*Store) error { return os.Remove(ballast) }
		testFullDisk(t, d)
	})
}

func testFullDisk(t *testing.T, d *fullDisk) {
	ctx := context.Background()
	open := func() *Store {
		t.Helper()
		s, err := Open(ctx, Config{Dir: d.dir, Fatal: func(err error) { t.Error("fatal:", err) }})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	defer func() { s.Close() }()
	var users [3]chat.UID
	for i := range users {
		u, err := s.CreateUser(ctx, fmt.Sprint("u", i))
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
		if group, err = tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: "g"}); err != nil {
			return err
		}
		for _, u := range users {
			if _, err := tx.Join(group.ID, u); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if group, err = s.Conv(ctx, group.ID); err != nil {
		t.Fatal(err)
	}

	type ack struct {
		e   chat.Entry
		seq uint64
	}
	var mu sync.Mutex
	var acks []ack
	var key atomic.Uint32
	// send appends n entries at once and returns how many were refused for lack of space.
	send := func(n, size int) (refused int) {
		t.Helper()
		var wg sync.WaitGroup
		for i := range n {
			k := key.Add(1)
			e := chat.Entry{Conv: c2c.ID, Sender: users[i%2], ClientTime: uint64(k), Random: k, Countable: true, Body: make([]byte, size)}
			if i%3 == 0 {
				e.Conv, e.Sender = group.ID, users[i%9/3]
			}
			wg.Add(1)
			s.Append(e, func(st chat.Stored, dup bool, err error) {
				mu.Lock()
				defer mu.Unlock()
				defer wg.Done()
				switch {
				case err == nil && !dup:
					acks = append(acks, ack{e, st.Seq})
				case errors.Is(err, chat.ErrFull):
					refused++
				default:
					t.Errorf("append: dup %v: %v", dup, err)
				}
			})
		}
		wg.Wait()
		return refused
	}
	check := func() {
		t.Helper()
		stored := uint64(0)
		for _, id := range []chat.ConvID{c2c.ID, group.ID} {
			c, err := s.Conv(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			log, err := s.Entries(ctx, id, 1, chat.NoEnd, false, 1<<30, 1<<40)
			if err != nil || c.Seq != uint64(len(log)) || c.Index != c.Seq {
				t.Fatalf("%d entries, head %+v: %v", len(log), c, err)
			}
			own := map[chat.UID]uint64{}
			for i, st := range log {
				own[st.Sender]++
				if st.Seq != uint64(i+1) || st.OwnIndex != own[st.Sender] {
					t.Fatalf("entry %d of %d: %+v", i+1, id, st)
				}
			}
			for uid, n := range own {
				if h, err := s.Head(ctx, uid, id); id == group.ID && (err != nil || h.Own != n) {
					t.Fatalf("own of %d: %d, recount %d: %v", uid, h.Own, n, err)
				}
			}
			stored += c.Seq
		}
		if stored != uint64(len(acks)) {
			t.Fatalf("%d entries are stored, %d were acknowledged", stored, len(acks))
		}
		for i := range users {
			if rows, _, err := s.Heads(ctx, users[i], 0, 0, 100); err != nil || len(rows) == 0 {
				t.Fatalf("list of %d: %d rows, %v", i, len(rows), err)
			}
		}
		for _, a := range acks[len(acks)-min(len(acks), 50):] {
			got := make(chan error, 1)
			s.Append(a.e, func(st chat.Stored, dup bool, err error) {
				if err == nil && (!dup || st.Seq != a.seq) {
					err = fmt.Errorf("dup %v, seq %d", dup, st.Seq)
				}
				got <- err
			})
			if err := <-got; err != nil {
				t.Fatalf("a resent message, stored as %d: %v", a.seq, err)
			}
		}
	}

	for round := range 3 {
		if n := send(300, 200); n != 0 {
			t.Fatalf("%d refused with room on the disk", n)
		}
		check()
		if err := d.fill(s); err != nil {
			t.Fatal(err)
		}
		refused := 0
		for i := 0; refused < 300; i++ {
			refused += send(50, 4000)
			if i > 5000 {
				t.Fatal("the disk does not get full")
			}
		}
		check()
		// Updates that write are refused or done, but never half.
		feed, fed := uint64(0), 0
		for range 20 {
			switch err := s.Update(ctx, nil, func(tx chat.Tx) error {
				f, err := tx.AddFeed(users[2], 1, make([]byte, 60_000))
				feed = f.Seq
				return err
			}); {
			case err == nil:
				fed++
			case !errors.Is(err, chat.ErrFull):
				t.Fatal("update:", err)
			}
		}
		if u, err := s.UserByID(ctx, users[2]); err != nil || fed > 0 && u.Feed > feed {
			t.Fatal(u, feed, err)
		}
		if !s.Full() && round == 0 {
			t.Error("Full does not say so")
		}
		check()
		if round == 1 { // restart with a full disk
			s.Close()
			s = open()
			check()
		}
		if err := d.free(s); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); ; {
			if send(1, 10) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("refused though there is room")
			}
		}
	}
	send(300, 200)
	check()
	s.Close()
	s = open()
	check()
	t.Logf("%d acknowledged", len(acks))
}
