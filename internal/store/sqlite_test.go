package store_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"
	"go.uber.org/goleak"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store"
	"github.com/tidings-im/tidings/internal/testing/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T, place string, clock func() time.Time) chat.Store {
		t.Helper()
		s, err := store.Open(t.Context(), store.Config{Dir: place, Log: quiet, Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// TestMediaByIndex is as on PostgreSQL.
func TestMediaByIndex(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	storetest.MediaByIndex(t, s, &s.Both, func() {
		db, err := sql.Open("sqlite3", filepath.Join(dir, "tidings.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("ANALYZE"); err != nil {
			t.Fatal(err)
		}
	})
}

func TestOneProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c#%41") // names that a database URL could misread
	s := open(t, dir)
	_, err := store.Open(t.Context(), store.Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), dir) {
		t.Fatal("second Open:", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if _, err := os.Stat(filepath.Join(dir, "tidings.db")); err != nil {
		t.Fatal(err)
	}
}

func TestNewerSchema(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", filepath.Join(dir, "tidings.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (4711, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(t.Context(), store.Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "newer version") || !strings.Contains(err.Error(), "4711") || !strings.Contains(err.Error(), dir) {
		t.Fatal("newer schema:", err)
	}
}

const childEnv, roundsEnv = "TIDINGS_TORTURE_DIR", "TIDINGS_TORTURE_ROUNDS"

// child appends, changes and reads until it is killed, and prints a line for everything that was acknowledged.
func child(dir string) {
	ctx := context.Background()
	die := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	s, err := store.Open(ctx, store.Config{Dir: dir, Log: quiet})
	die(err)
	var users []chat.UID
	for i := range 6 {
		u, err := s.CreateUser(ctx, fmt.Sprint("u", i))
		die(err)
		users = append(users, u.UID)
	}
	var convs []chat.Conv
	for i := range 5 {
		c, err := s.C2C(ctx, users[i], users[i+1])
		die(err)
		convs = append(convs, c)
	}
	for i := range 2 {
		c, err := s.Group(ctx, fmt.Sprint("g", i))
		if err != nil {
			die(s.Update(ctx, nil, func(tx chat.Tx) error {
				if c, err = tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: fmt.Sprint("g", i)}); err != nil {
					return err
				}
				for _, u := range users {
					if _, err := tx.Join(c.ID, u); err != nil {
						return err
					}
				}
				return nil
			}))
			c, err = s.Conv(ctx, c.ID)
			die(err)
		}
		convs = append(convs, c)
	}
	fmt.Println("ready")
	var wg sync.WaitGroup
	for g := range 24 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(g)))
			for {
				c := convs[rnd.IntN(len(convs))]
				sender := c.A
				if c.Kind == chat.KindGroup {
					sender = users[rnd.IntN(len(users))]
				}
				switch rnd.IntN(100) {
				case 0:
					var rev uint64
					die(s.Update(ctx, nil, func(tx chat.Tx) error {
						x, err := tx.AddChange(c.ID, chat.Change{Kind: 1, Operator: sender})
						rev = x.Rev
						return err
					}))
					fmt.Printf("rev %d %d\n", c.ID, rev)
				case 1:
					var seq uint64
					die(s.Update(ctx, nil, func(tx chat.Tx) error {
						f, err := tx.AddFeed(sender, 1, []byte("feed"))
						seq = f.Seq
						return err
					}))
					fmt.Printf("feed %d %d\n", sender, seq)
				case 2:
					_, _, err := s.Heads(ctx, sender, 0, 0, 100)
					die(err)
				default:
					done := make(chan struct{})
					en := chat.Entry{Conv: c.ID, Sender: sender, ClientTime: uint64(time.Now().UnixMilli()), Random: rnd.Uint32(),
						Body: make([]byte, rnd.IntN(300)), Countable: rnd.IntN(5) > 0}
					s.Append(en, func(st chat.Stored, dup bool, err error) {
						if err != nil || dup {
							die(fmt.Errorf("append: dup %v: %v", dup, err))
						}
						fmt.Printf("msg %d %d %d %d %d\n", c.ID, st.Seq, sender, en.ClientTime, en.Random)
						close(done)
					})
					<-done
				}
			}
		})
	}
	wg.Wait()
}

// TestKill kills a writing process again and again: nothing acknowledged is lost or doubled, numbers stay dense, heads equal a recount.
func TestKill(t *testing.T) {
	rounds := 5
	if v := os.Getenv(roundsEnv); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(roundsEnv, err)
		}
		rounds = n
	}
	var dir string
	var acks map[string]bool
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	all := 0
	for round := range rounds {
		if round%20 == 0 { // each round looks at all that its folder has
			dir, acks = t.TempDir(), make(map[string]bool)
		}
		before := len(acks)
		killed(t, dir, 50+rnd.IntN(3000), acks)
		verify(t, dir, acks)
		all += len(acks) - before
	}
	t.Logf("%d acknowledged in %d rounds", all, rounds)
}

// killed runs a child until it has acknowledged n operations, kills it, and records all that it had acknowledged.
func killed(t *testing.T, dir string, n int, acks map[string]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(out)
	for count := 0; ; count++ {
		line, err := in.ReadString('\n')
		if err != nil {
			break // a last line without an end was not acknowledged
		}
		if line = strings.TrimSpace(line); line != "ready" {
			if acks[line] {
				t.Fatal("acknowledged twice:", line)
			}
			acks[line] = true
		}
		if count == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != -1 {
		t.Fatal("the child ended by itself:", err)
	}
}

func verify(t *testing.T, dir string, acks map[string]bool) {
	t.Helper()
	ctx := context.Background()
	s := open(t, dir)
	last := make(map[string]uint64) // line → highest acknowledged number
	convs := make(map[chat.ConvID]bool)
	for line := range acks {
		var what string
		var n [5]uint64
		k, _ := fmt.Sscan(line, &what, &n[0], &n[1], &n[2], &n[3], &n[4])
		if k < 3 {
			t.Fatal("line:", line)
		}
		last[fmt.Sprint(what, " ", n[0])] = max(last[fmt.Sprint(what, " ", n[0])], n[1])
		if what != "msg" {
			continue
		}
		convs[chat.ConvID(n[0])] = true
		st, err := s.Lookup(ctx, chat.SendKey{Conv: chat.ConvID(n[0]), Sender: chat.UID(n[2]), ClientTime: n[3], Random: uint32(n[4])})
		if err != nil || st.Seq != n[1] {
			t.Fatalf("acknowledged %q, stored %+v: %v", line, st, err)
		}
	}
	for what, n := range last {
		var id int64
		var head uint64
		if _, err := fmt.Sscanf(what, "rev %d", &id); err == nil {
			c, err := s.Conv(ctx, chat.ConvID(id))
			if err != nil {
				t.Fatal(err)
			}
			head = c.Rev
			ch, err := s.Changes(ctx, c.ID, 1, chat.NoEnd, 1<<30, 1<<30)
			if err != nil || uint64(len(ch)) != head {
				t.Fatalf("rev line of %d: %d changes, head %d: %v", id, len(ch), head, err)
			}
		} else if _, err := fmt.Sscanf(what, "feed %d", &id); err == nil {
			u, err := s.UserByID(ctx, chat.UID(id))
			if err != nil {
				t.Fatal(err)
			}
			head = u.Feed
			f, err := s.Feed(ctx, u.UID, 1, chat.NoEnd, 1<<30)
			if err != nil || uint64(len(f)) != head {
				t.Fatalf("feed of %d: %d entries, head %d: %v", id, len(f), head, err)
			}
		} else {
			continue
		}
		if head < n {
			t.Fatalf("%s: acknowledged %d, head %d", what, n, head)
		}
	}
	for id := range convs {
		recount(t, s, id)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// recount walks over a log: dense, each key once, running numbers correct, and the heads agree.
func recount(t *testing.T, s *store.Store, id chat.ConvID) {
	t.Helper()
	ctx := context.Background()
	c, err := s.Conv(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	log, err := s.Entries(ctx, id, 1, chat.NoEnd, false, 1<<30, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	var idx uint64
	var last int64
	own := make(map[chat.UID]uint64)
	keys := make(map[chat.SendKey]bool)
	for i, st := range log {
		if st.Countable {
			idx++
			own[st.Sender]++
		}
		if st.Seq != uint64(i+1) || st.Index != idx || st.OwnIndex != own[st.Sender] || st.Time < last {
			t.Fatalf("conversation %d, entry %d: %+v; recount %d %d, time before %d", id, i+1, st, idx, own[st.Sender], last)
		}
		last = st.Time
		k := chat.SendKey{Conv: id, Sender: st.Sender, ClientTime: st.ClientTime, Random: st.Random}
		if keys[k] {
			t.Fatalf("conversation %d: key %+v twice", id, k)
		}
		keys[k] = true
	}
	if c.Seq != uint64(len(log)) || c.Index != idx || c.Time != last || c.Changed < last {
		t.Fatalf("head %+v; recount: seq %d index %d time %d", c, len(log), idx, last)
	}
	if c.Kind == chat.KindC2C && (c.OwnA != own[c.A] || c.OwnB != own[c.B]) {
		t.Fatalf("head %+v; recount: own %v", c, own)
	}
	for uid, n := range own {
		if h, err := s.Head(ctx, uid, id); err != nil || h.Own != n {
			t.Fatalf("own of %d in %d: %d, recount %d: %v", uid, id, h.Own, n, err)
		}
	}
}
