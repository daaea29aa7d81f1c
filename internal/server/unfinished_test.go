//go:build unix

package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// TestUnfinishedRequests: requests that do not end, and responses that nobody reads, are cut off, on every path, with TLS and without.
func TestUnfinishedRequests(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	cert, key := ca.issue()
	write(t, dir+"/cert", cert)
	write(t, dir+"/key", key)
	for _, secure := range []bool{false, true} {
		cfg := Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
		cfg.Gateway.LoginWithin, cfg.Gateway.Stall = 300*time.Millisecond, 300*time.Millisecond
		if secure {
			cfg.TLSCert, cfg.TLSKey = dir+"/cert", dir+"/key"
		}
		s, err := Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		smallBuffers(t, s)
		sig, err := s.Sig("administrator", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		call := fmt.Sprintf("POST /v4/im_open_login_svc/account_check?sdkappid=%d&identifier=administrator&usersig=%s HTTP/1.1\r\nHost: x\r\n", DefaultAppID, sig)
		var wg sync.WaitGroup
		for name, said := range map[string]string{
			"a body":                    call + "Content-Length: 1000\r\n\r\n{",
			"a chunked body":            call + "Transfer-Encoding: chunked\r\n\r\n5\r\n{    \r\n",
			"a chunk":                   call + "Transfer-Encoding: chunked\r\n\r\nfffff\r\n{",
			"a body without a ticket":   "POST /v4/im_open_login_svc/account_check HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n{",
			"a body that nobody wants":  "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n{",
			"a body of /metrics":        "GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
			"a body that is waited for": call + "Content-Length: 10\r\nExpect: 100-continue\r\n\r\n",
			"an upgrade with a body":    "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 200000\r\n\r\n",
			"a path that is not there":  "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n",
		} {
			wg.Go(func() {
				c := dialPlain(t, s, secure)
				defer c.Close()
				c.SetDeadline(time.Now().Add(30 * time.Second))
				io.WriteString(c, said)
				if _, err := io.Copy(io.Discard, c); isTimeout(err) {
					t.Errorf("TLS %v, %s: the connection stays", secure, name)
				}
			})
		}
		for name, said := range map[string]string{
			"/metrics":  "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
			"/v4/":      "POST /v4/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
			"not found": "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
		} {
			wg.Go(func() { // sends requests without end and reads nothing
				c := dialPlain(t, s, secure)
				defer c.Close()
				c.SetWriteDeadline(time.Now().Add(120 * time.Second))
				many := []byte(strings.Repeat(said, 100))
				for {
					if _, err := c.Write(many); isTimeout(err) {
						t.Errorf("TLS %v, answers of %s: the connection stays", secure, name)
						return
					} else if err != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		tick := time.NewTicker(10 * time.Millisecond)
		for deadline := time.Now().Add(20 * time.Second); s.bounded.accepted() > 0; <-tick.C {
			if time.Now().After(deadline) {
				t.Fatalf("%d connections are still counted", s.bounded.accepted())
			}
		}
		tick.Stop()
		stop(t, s)
	}
}

// smallBuffers makes the system buffer little that nobody reads: accepted connections inherit the buffers of the listener.
func smallBuffers(t *testing.T, s *Server) {
	raw, err := s.bounded.Listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 16<<10) }); err != nil || set != nil {
		t.Fatal(err, set)
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func dialPlain(t *testing.T, s *Server, secure bool) net.Conn {
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Error(err)
		panic(err)
	}
	c.(*net.TCPConn).SetReadBuffer(4 << 10)
	if secure {
		return tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	return c
}

// TestUnfinishedCount: connections that have not sent a request yet count in max-connections: clients above it get the code, and are let in when the
// others are gone. Far above it connections are closed without a response.
func TestUnfinishedCount(t *testing.T) {
	cfg := Config{Listen: "127.0.0.1:0", Data: t.TempDir(), MaxConnections: 3, Log: slog.New(slog.DiscardHandler)}
	cfg.Gateway.LoginWithin = time.Hour
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	alice := dial(t, s, "alice", client.Events{})
	defer alice.Close()
	var silent []net.Conn
	defer func() {
		for _, c := range silent {
			c.Close()
		}
	}()
	for range 2 {
		silent = append(silent, dialPlain(t, s, false))
	}
	sig, err := s.Sig("bob", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan int32, 100)
	c := client.Config{Server: s.URL(), UserID: "bob", UserSig: sig, Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	c.Limits.Reconnect = 50 * time.Millisecond
	bob, err := client.Open(c, client.Events{Network: func(st client.NetworkStatus, code int32, _ string) {
		if st == client.NetworkConnectFailed {
			select {
			case refused <- code:
			default:
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer bob.Close()
	in := make(chan error, 1)
	bob.LoginFunc(func(err error) { in <- err })
	if code := <-refused; code != im.CodeConnectionLimit {
		t.Errorf("refused with %d", code)
	}
	if code, _ := get(t, s, "/healthz"); code != 200 {
		t.Errorf("/healthz answers %d", code)
	}
	for _, c := range silent {
		c.Close()
	}
	if err := <-in; err != nil {
		t.Error("after the others had gone:", err)
	}

	for range cfg.MaxConnections + spareConns {
		silent = append(silent, dialPlain(t, s, false))
	}
	last := silent[len(silent)-1] // alice and bob are connected too
	last.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := last.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("a connection far above the limit stays: %v", err)
	}
}

// failing is a listener that returns errors, and in the end a connection.
type failing struct {
	net.Listener
	errs []error
	conn net.Conn
}

func (l *failing) Accept() (net.Conn, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, &net.OpError{Op: "accept", Err: err}
	}
	if l.conn == nil {
		return nil, net.ErrClosed
	}
	c := l.conn
	l.conn = nil
	return c, nil
}
func (*failing) Close() error { return nil }

// TestAcceptGoesOn: no error of one connection stops accepting. Each error is counted, and the log warns about them once a minute. A stop does not
// wait for the pause after an error.
func TestAcceptGoesOn(t *testing.T) {
	var log bytes.Buffer
	here, there := net.Pipe()
	defer there.Close()
	failed := prometheus.NewCounter(prometheus.CounterOpts{Name: "x"})
	l := &bounded{
		Listener: &failing{errs: []error{syscall.EMFILE, syscall.ENFILE, syscall.EPERM, syscall.ENOBUFS, syscall.ECONNABORTED}, conn: here},
		most:     -1, in: -1, log: slog.New(slog.NewTextHandler(&log, nil)), failed: failed,
	}
	l.stop, l.stopped = context.WithCancel(t.Context())
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if l.accepted() != 1 {
		t.Error("it is not counted")
	}
	c.Close()
	if l.accepted() != 0 {
		t.Error("it is still counted")
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error("a closed listener:", err)
	}
	var m dto.Metric
	if failed.Write(&m); m.GetCounter().GetValue() != 5 {
		t.Errorf("the metric counts %v", m.GetCounter().GetValue())
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("the log warns %d times: %s", n, log.String())
	}
	l.Listener.(*failing).errs = []error{syscall.EMFILE}
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error("after the stop:", err)
	}
}

// TestHandlerPanics: a handler that panics ends its connection; the log has it once, and the server continues.
func TestHandlerPanics(t *testing.T) {
	var mu sync.Mutex
	var log bytes.Buffer
	s := &Server{log: slog.New(slog.NewTextHandler(locked{&mu, &log}, nil)), served: make(chan error, 1)}
	var err error
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s.serveHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panic" {
			panic("a mistake")
		}
	}))
	defer s.http.Close()
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, "GET /panic HTTP/1.1\r\nHost: x\r\n\r\n")
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
	if code, _ := get(t, s, "/"); code != 200 {
		t.Errorf("after a panic: %d", code)
	}
	mu.Lock()
	defer mu.Unlock()
	if n := strings.Count(log.String(), "a mistake"); n != 1 {
		t.Errorf("the log has it %d times: %s", n, log.String())
	}
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// TestHTTPEdges: requests on which a proxy and this server might disagree, and requests that are too long, are refused and their connection is
// closed.
func TestHTTPEdges(t *testing.T) {
	s, err := Start(t.Context(), Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	const after = "GET /healthz HTTP/1.1\r\nHost: smuggled\r\n\r\n"
	for name, c := range map[string]struct{ said, want string }{
		"two lengths":           {"POST /v4/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}" + after, "400"},
		"a length with a sign":  {"POST /v4/x HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}" + after, "400"},
		"an unknown encoding":   {"POST /v4/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n" + after, "501"},
		"two encodings":         {"POST /v4/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + after, "501"},
		"a blank in a name":     {"POST /v4/x HTTP/1.1\r\nHost: x\r\nContent-Length : 2\r\n\r\n{}" + after, "400"},
		"no host":               {"GET /healthz HTTP/1.1\r\n\r\n" + after, "400"},
		"two hosts":             {"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + after, "400"},
		"a long address":        {"GET /" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", "431"},
		"a long header":         {"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "431"},
		"many headers":          {"GET /healthz HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: a\r\n", 20<<10) + "\r\n", "431"},
		"HTTP/2 with knowledge": {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"},
	} {
		conn, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		go io.WriteString(conn, c.said)
		b, err := io.ReadAll(conn)
		if isTimeout(err) || !strings.HasPrefix(string(b), "HTTP/1.1 "+c.want) || strings.Count(string(b), "HTTP/1.1 ") != 1 {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		conn.Close()
	}
}

func TestOriginsSetting(t *testing.T) {
	got, err := origins("https://app.example, http://localhost:8080")
	if err != nil || fmt.Sprint(got) != "[https://app.example http://localhost:8080]" {
		t.Error(got, err)
	}
	for _, bad := range []string{"app.example", "https://", "https://app.example/", "https://app.example/x", "*", "null", "https://a@b", "https://app.example?x"} {
		if got, err := origins(bad); err == nil {
			t.Errorf("%q was taken as %q", bad, got)
		}
	}
}
