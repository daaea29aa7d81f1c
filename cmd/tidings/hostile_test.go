package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/internal/testing/needs"
	"github.com/tidings-im/tidings/internal/testing/soak"
	"github.com/tidings-im/tidings/usersig"
)

const (
	hostileConns = 100
	honestPairs  = 20
	// hostileMemory is the most memory that the server may ever take, in megabytes.
	hostileMemory = 300
	// honestPace is how often each honest user sends.
	honestPace = 100 * time.Millisecond
)

// honest is a user on the SDK who sends numbered messages to one other user and records what comes from there.
type honest struct {
	name, peer string
	c          *client.Client
	sent       int // acknowledged

	mu   sync.Mutex
	more sync.Cond
	got  []string
	late []time.Duration // from the call until the message arrived
}

func (h *honest) arrived(ms []*im.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range ms {
		if m.Sender != h.peer || len(m.ElemArray) != 1 {
			continue // villains write to everybody
		}
		number, at, _ := strings.Cut(m.ElemArray[0].GetText().GetContent(), " ")
		h.got = append(h.got, number)
		if ns, err := strconv.ParseInt(at, 10, 64); err == nil {
			h.late = append(h.late, time.Duration(time.Now().UnixNano()-ns))
		}
	}
	h.more.Broadcast()
}

func startHonest(t *testing.T, addr, name, peer string) *honest {
	t.Helper()
	h := &honest{name: name, peer: peer}
	h.more.L = &h.mu
	sig, err := usersig.Sign(server.DefaultAppID, killKey, name, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h.c, err = client.Dial(t.Context(), client.Config{Server: "ws://" + addr, UserID: name, UserSig: sig, Dir: t.TempDir(), Platform: im.Platform_PLATFORM_LINUX,
		Log: slog.New(slog.DiscardHandler)}, client.Events{NewMessages: h.arrived})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.c.Close() })
	return h
}

// talk lets all send for a while, one message after the other, and waits until the last has arrived. It returns how long a message took in the worst
// case, for 99 of 100.
func talk(t *testing.T, all []*honest, for_ time.Duration) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), for_)
	defer cancel()
	var wg sync.WaitGroup
	for _, h := range all {
		wg.Go(func() {
			pace := time.NewTicker(honestPace)
			defer pace.Stop()
			for ctx.Err() == nil {
				text := fmt.Sprintf("%d %d", h.sent, time.Now().UnixNano())
				if _, err := h.c.SendMessage(t.Context(), client.C2C(h.peer), im.Text(text)); err != nil {
					t.Errorf("%s: message %d: %v", h.name, h.sent, err)
					return
				}
				h.sent++
				select {
				case <-ctx.Done():
				case <-pace.C:
				}
			}
		})
	}
	wg.Wait()
	limit := time.AfterFunc(time.Minute, func() {
		for _, h := range all {
			h.mu.Lock()
			h.more.Broadcast()
			h.mu.Unlock()
		}
	})
	defer limit.Stop()
	end := time.Now().Add(time.Minute)
	var late []time.Duration
	for i, h := range all {
		peer := all[i^1]
		h.mu.Lock()
		for len(h.got) < peer.sent && time.Now().Before(end) {
			h.more.Wait()
		}
		for n := range max(len(h.got), peer.sent) {
			if n >= len(h.got) || h.got[n] != strconv.Itoa(n) {
				t.Errorf("%s sent %d messages, and %s has %d: number %d is lost, doubled or out of order: %q", peer.name, peer.sent, h.name, len(h.got), n, h.got[max(0, n-2):min(len(h.got), n+3)])
				break
			}
		}
		late = append(late, h.late...)
		h.late = nil
		h.mu.Unlock()
	}
	slices.Sort(late)
	if len(late) == 0 {
		return 0
	}
	return late[len(late)*99/100]
}

// TestHostile: beside a hundred connections that misbehave in all the ways we know of, honest users lose nothing, get nothing twice and everything in
// order; the server survives, in limited memory, and logs people in, and what the villains left in the honest users' conversations can be read after
// a restart. How long messages take is only reported. TIDINGS_HOSTILE names one way, to see its effect alone.
func TestHostile(t *testing.T) {
	if testing.Short() {
		needs.Missing(t, "half a minute of time: -short")
	}
	ways := hostile
	if only := os.Getenv("TIDINGS_HOSTILE"); only != "" {
		ways = slices.DeleteFunc(slices.Clone(ways), func(w hostileWay) bool { return w.name != only })
		if len(ways) == 0 {
			t.Fatalf("there is no %q", only)
		}
	}
	// Without the race detector, which multiplies memory.
	bin := filepath.Join(t.TempDir(), "tidings")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := &served{t: t, dir: t.TempDir(), bin: bin, log: &tail{}, more: []string{"--webhook-url", slowHook(t), "--log-level", "info"}}
	s.start()
	all := make([]*honest, 2*honestPairs)
	for i := range all {
		all[i] = startHonest(t, s.addr, fmt.Sprint("h", i), fmt.Sprint("h", i^1))
	}
	alone := talk(t, all, soak.Pick(time.Second, 3*time.Second))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	rounds := make([]atomic.Int64, len(ways))
	for i := range max(hostileConns, len(ways)) {
		v := &villain{ctx: ctx, addr: s.addr, name: fmt.Sprint("v", i), victim: fmt.Sprint("h", i%len(all)), r: rand.New(rand.NewPCG(uint64(i), 9)),
			from: net.IPv4(127, 0, 1, byte(1+i%250))}
		wg.Go(func() {
			for v.pause(time.Duration(v.r.IntN(200)) * time.Millisecond) {
				ways[i%len(ways)].act(v)
				rounds[i%len(ways)].Add(1)
			}
		})
	}
	var slowest time.Duration
	logins := 0
	wg.Go(func() { // logs in again and again
		for i := 0; ctx.Err() == nil; i++ {
			begin := time.Now()
			l, err := s.dial(fmt.Sprint("n", i))
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("login %d: %v", i, err)
				}
				return
			}
			l.Close()
			slowest, logins = max(slowest, time.Since(begin)), i+1
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	beside := talk(t, all, soak.Pick(6*time.Second, time.Minute))
	cancel()
	wg.Wait()

	for i, w := range ways {
		if rounds[i].Load() == 0 {
			t.Logf("%s: no round was finished", w.name)
		}
	}
	peak := vmHWM(t, s.cmd.Process.Pid)
	t.Logf("p99 %v alone, %v beside (%.1f times); %d logins, the slowest in %v; the server took %d MB at most", alone.Round(time.Microsecond*100),
		beside.Round(time.Microsecond*100), float64(beside)/float64(max(alone, 1)), logins, slowest.Round(time.Millisecond), peak)
	if peak > hostileMemory {
		t.Errorf("the server took %d MB", peak)
	}
	if l := s.log.(*tail).String(); strings.Contains(l, "panic") {
		t.Errorf("the server panicked: %s", l)
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the server ended with %v: %s", err, s.log)
	}
	s.start()
	for _, h := range all {
		l, err := s.dial(h.name)
		if err != nil {
			t.Fatal(err)
		}
		readAll(t, l, h.name)
		l.Close()
	}
}

// readAll reads every conversation of a user from its first number to its last, as a fresh device may.
func readAll(t *testing.T, l *rawLink, name string) {
	t.Helper()
	for after := uint64(0); ; {
		var heads im.HeadsReply
		ask(t, l, im.Method_HEADS, &im.HeadsRequest{After: after, WithLast: true}, &heads)
		for _, h := range heads.Heads {
			for seq := uint64(1); seq <= h.Seq; {
				var r im.PullReply
				ask(t, l, im.Method_PULL, &im.PullRequest{Conv: h.Conv, Epoch: h.Epoch, From: seq, To: h.Seq}, &r)
				if r.To < seq {
					t.Fatalf("%s with %s: asked from %d on and answered up to %d", name, h.Conv.Id, seq, r.To)
				}
				seq = r.To + 1
			}
			for rev := uint64(1); rev <= h.Rev; {
				var r im.ChangesReply
				ask(t, l, im.Method_CHANGES, &im.ChangesRequest{Conv: h.Conv, Epoch: h.Epoch, From: rev, To: h.Rev}, &r)
				if r.To < rev {
					t.Fatalf("%s with %s: asked for changes from %d on and answered up to %d", name, h.Conv.Id, rev, r.To)
				}
				rev = r.To + 1
			}
		}
		if after = heads.Next; after == 0 {
			return
		}
	}
}

// slowHook is slow for the messages of one user.
func slowHook(t *testing.T) string {
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			From string `json:"From_Account"`
		}
		if json.NewDecoder(r.Body).Decode(&asked) == nil && asked.From == "flood" {
			select {
			case <-r.Context().Done():
			case <-time.After(500 * time.Millisecond):
			}
		}
		io.WriteString(w, `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}`)
	}))
	t.Cleanup(h.Close)
	return h.URL
}

// tail keeps the end of a log.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b.Len() > 1<<20 {
		l.b.Next(l.b.Len() - 1<<18)
	}
	return l.b.Write(p)
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.b.String()
	if i := strings.Index(s, "panic"); i >= 0 {
		return s[max(0, i-500):min(len(s), i+4000)]
	}
	return s[max(0, len(s)-4000):]
}

// vmHWM returns the most memory that a process ever had, in megabytes.
func vmHWM(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		needs.Missing(t, "the memory of a process: %v", err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest + " -")[0])
	if err != nil {
		t.Fatalf("the server is gone: %s", b)
	}
	return kb >> 10
}
