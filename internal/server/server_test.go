package server

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// run stops what tests have started for all of them, before goroutines are counted.
type run struct{ m *testing.M }

func (r run) Run() int { return pgtest.Main(r.m) }

func TestMain(m *testing.M) { goleak.VerifyTestMain(run{m}) }

func start(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := Start(t.Context(), Config{Listen: "127.0.0.1:0", Data: dir, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func stop(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, s *Server, path string) (int, string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get("http://" + s.Addr() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// metric returns the value of a metric.
func metric(t *testing.T, s *Server, name string) float64 {
	t.Helper()
	_, body := get(t, s, "/metrics")
	for line := range strings.SplitSeq(body, "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(name, err)
			}
			return n
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func TestPages(t *testing.T) {
	s := start(t, t.TempDir())
	defer stop(t, s)
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/metrics": "tidings_connections 0"} {
		if code, body := get(t, s, path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d, %s", path, code, body)
		}
	}
	if code, _ := get(t, s, "/nothing"); code != http.StatusNotFound {
		t.Errorf("an unknown path is answered %d", code)
	}
	if code, body := get(t, s, "/ws"); code != http.StatusBadRequest || !strings.Contains(body, im.Subprotocol) {
		t.Errorf("/ws without a WebSocket: %d, %s", code, body)
	}
}

// The first start makes a key that only the owner can read; later ones keep it.
func TestSecret(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	s := start(t, dir)
	if !s.Fresh() {
		t.Error("the first start is not fresh")
	}
	sig, err := s.Sig("alice", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, secretFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info.Mode(), err)
	}
	if _, err := Start(t.Context(), Config{Listen: "127.0.0.1:0", Data: dir}); err == nil {
		t.Error("a second server took the same data folder")
	}
	stop(t, s)
	s = start(t, dir)
	defer stop(t, s)
	if s.Fresh() {
		t.Error("the second start is fresh")
	}
	if _, err := s.verify("alice", sig); err != nil {
		t.Errorf("a ticket of the first start: %v", err)
	}
	if _, err := s.verify("bob", sig); im.CodeOf(err) != im.CodeTicketOtherUser {
		t.Errorf("a ticket of another user: %v", err)
	}
}

func TestClasses(t *testing.T) {
	c, err := Classes(map[string]string{"mac": "any", "linux": "mobile"})
	if err != nil || c[im.Platform_PLATFORM_MAC] != chat.ClassAny || c[im.Platform_PLATFORM_LINUX] != chat.ClassMobile ||
		c[im.Platform_PLATFORM_WINDOWS] != chat.ClassDesktop {
		t.Error(c, err)
	}
	for _, bad := range []map[string]string{{"mac": "phone"}, {"macos": "desktop"}} {
		if _, err := Classes(bad); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}

func TestPortTaken(t *testing.T) {
	s := start(t, t.TempDir())
	defer stop(t, s)
	if _, err := Start(t.Context(), Config{Listen: s.Addr(), Data: t.TempDir()}); err == nil {
		t.Error("a second server listens on the same address")
	}
}
