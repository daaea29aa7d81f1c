package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/usersig"
)

// heard records what a device was notified of, by text and number.
type heard struct {
	mu   sync.Mutex
	n    map[string]int
	news chan struct{}
}

func newHeard() *heard { return &heard{n: map[string]int{}, news: make(chan struct{}, 1)} }

func (h *heard) events() client.Events {
	return client.Events{
		NewMessages: func(ms []*im.Message) {
			for _, m := range ms {
				h.note(im.TextOf(m) + " " + strconv.FormatUint(m.Seq, 10))
			}
		},
		Network: func(s client.NetworkStatus, _ int32, _ string) { h.note(fmt.Sprint("network ", s)) },
	}
}

func (h *heard) note(what string) {
	h.mu.Lock()
	h.n[what]++
	h.mu.Unlock()
	select {
	case h.news <- struct{}{}:
	default:
	}
}

func (h *heard) count(what string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n[what]
}

func (h *heard) await(t *testing.T, what string) {
	t.Helper()
	h.awaitTimes(t, what, 1)
}

func (h *heard) awaitTimes(t *testing.T, what string, n int) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for h.count(what) < n {
		select {
		case <-h.news:
		case <-limit:
			t.Fatalf("%s was not heard", what)
		}
	}
}

func sdk(t *testing.T, addr, user, dir string, h *heard) *client.Client {
	t.Helper()
	sig, err := usersig.Sign(server.DefaultAppID, killKey, user, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cfg := client.Config{Server: "ws://" + addr, UserID: user, UserSig: sig, Dir: dir, Log: slog.New(slog.DiscardHandler)}
	cfg.Limits.Reconnect = 300 * time.Millisecond
	c, err := client.Dial(t.Context(), cfg, h.events())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestBackupLive: a backup is made while messages are being sent. What is restored from it contains everything that was acknowledged before, without
// gaps and once. Clients that stay connected switch over to the restored server by themselves, and a message with a number that they have seen before
// is announced to them, once.
func TestBackupLive(t *testing.T) {
	s := &served{t: t, dir: filepath.Join(t.TempDir(), "data")}
	s.start()
	addr := s.addr
	aliceHeard, bobHeard := newHeard(), newHeard()
	alice := sdk(t, addr, "alice", t.TempDir(), aliceHeard)
	bob := sdk(t, addr, "bob", t.TempDir(), bobHeard)
	say := func(c *client.Client, to, text string) uint64 {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		m, err := c.SendMessage(ctx, client.C2C(to), im.Text(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return m.Seq
	}
	for i := range 200 {
		say(alice, "bob", fmt.Sprint("before ", i+1))
	}
	// Live traffic around the moment of the copy.
	stop := make(chan struct{})
	var sent atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := alice.SendMessage(t.Context(), client.C2C("bob"), im.Text(fmt.Sprint("meanwhile ", i))); err != nil {
				t.Errorf("amid the backup: %v", err)
				return
			}
			sent.Add(1)
		}
	})
	backup := filepath.Join(t.TempDir(), "backup")
	out, err := program("backup", "--data", s.dir, "--to", backup).CombinedOutput()
	close(stop)
	wg.Wait()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if sent.Load() == 0 {
		t.Error("nothing was sent amid the backup")
	}
	last := say(alice, "bob", "lost with the old server")
	bobHeard.await(t, fmt.Sprint("lost with the old server ", last))
	s.kill()

	if out, err := program("restore", "--from", backup, "--data", s.dir).CombinedOutput(); err == nil || !strings.Contains(string(out), "not empty") {
		t.Errorf("restored over a data folder: %v, %s", err, out)
	}
	if err := os.Rename(s.dir, s.dir+".broken"); err != nil {
		t.Fatal(err)
	}
	if out, err := program("restore", "--from", backup, "--data", s.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.listen = addr
	s.start()

	connected := fmt.Sprint("network ", client.NetworkConnected)
	aliceHeard.awaitTimes(t, connected, 2)
	bobHeard.awaitTimes(t, connected, 2)
	// The restored log continues where the copy ended, so numbers are given out again.
	first := say(alice, "bob", "after 0")
	if first <= 200 || first > last {
		t.Errorf("the first message after the restore has number %d; the copy had 200 and more, the old server %d", first, last)
	}
	bobHeard.await(t, fmt.Sprint("after 0 ", first))
	for i := range 20 {
		text := fmt.Sprint("after ", i+1)
		from, to, c, h := "alice", "bob", alice, bobHeard
		if i%2 == 1 {
			from, to, c, h = "bob", "alice", bob, aliceHeard
		}
		seq := say(c, to, text)
		h.await(t, fmt.Sprint(text, " ", seq))
		if seq != first+uint64(i)+1 {
			t.Errorf("%s of %s has number %d, want %d", text, from, seq, first+uint64(i)+1)
		}
	}
	for i := range 21 {
		h := bobHeard
		if i > 0 && i%2 == 0 {
			h = aliceHeard
		}
		if what := fmt.Sprintf("after %d %d", i, first+uint64(i)); h.count(what) != 1 {
			t.Errorf("%s was heard %d times", what, h.count(what))
		}
	}
	// A new device gets everything from before the copy.
	l, err := s.dial("bob")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	key := &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: "alice"}
	epoch := headEpoch(t, l, "alice")
	var seq uint64
	for seq < first {
		var r im.PullReply
		ask(t, l, im.Method_PULL, &im.PullRequest{Conv: key, Epoch: epoch, From: seq + 1, To: first}, &r)
		for _, e := range r.Entries {
			if seq++; e.Seq != seq {
				t.Fatalf("number %d follows %d", e.Seq, seq-1)
			}
			text := e.Message.ElemArray[0].GetText().GetContent()
			if want := fmt.Sprint("before ", seq); seq <= 200 && text != want {
				t.Errorf("number %d is %q, want %q", seq, text, want)
			}
		}
	}
}

// TestServeDamaged: serve exits with 1, names the file and says what to do, and changes nothing.
func TestServeDamaged(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tidings.db")
	garbage := []byte(strings.Repeat("this was a database ", 1000))
	if err := os.WriteFile(file, garbage, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := program("serve", "--listen", "127.0.0.1:0", "--data", dir).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("serve ended with %v", err)
	}
	if !strings.Contains(string(out), file) || !strings.Contains(string(out), "tidings restore") {
		t.Errorf("serve said %s", out)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != string(garbage) {
		t.Error("the file was changed:", err)
	}
}
