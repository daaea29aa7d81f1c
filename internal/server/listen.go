package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/internal/gateway"
)

// spareConns is how many connections above the limit an address may have, so that they get a response that gives the reason.
const spareConns = 64

// networks parses addresses and networks that are separated by commas.
func networks(text string) (out []netip.Prefix, err error) {
	parts, err := items(text)
	if err != nil {
		return nil, err
	}
	for _, part := range parts {
		if a, err := netip.ParseAddr(part); err == nil && a.Zone() == "" {
			out = append(out, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(part)
		if err != nil || p.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", part)
		}
		if p != p.Masked() {
			return nil, fmt.Errorf("%q is not a network; the one that it is in is %s", part, p.Masked())
		}
		out = append(out, p)
	}
	return out, nil
}

// bounded is a listener that counts connections from the moment they are accepted, including those that send nothing or have not requested a
// WebSocket yet. No failure of a connection stops it: Accept ends only with the listener.
type bounded struct {
	net.Listener
	// most is how many connections one address may have, in how many there may be in total; negative means no limit.
	most, in    int
	trusted     []netip.Prefix
	log         *slog.Logger
	cut, failed prometheus.Counter
	stop        context.Context
	stopped     context.CancelFunc
	said        time.Time // when the log last said that connections cannot be accepted

	mu   sync.Mutex
	open int
	n    map[netip.Prefix]int
}

// The pauses after a failed accept, and how often the log reports it.
const (
	acceptFirst, acceptMost = 5 * time.Millisecond, time.Second
	acceptSaid              = time.Minute
)

func (l *bounded) Accept() (net.Conn, error) {
	wait := acceptFirst
	for {
		conn, err := l.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil, err
		case err != nil:
			l.failed.Inc()
			if time.Since(l.said) > acceptSaid {
				l.said = time.Now()
				l.log.Warn("connections cannot be accepted; those that are there go on", "err", err)
			}
			select {
			case <-time.After(wait):
			case <-l.stop.Done():
				return nil, net.ErrClosed
			}
			wait = min(2*wait, acceptMost)
			continue
		}
		if c := l.enter(conn); c != nil {
			return c, nil
		}
		l.cut.Inc()
		conn.Close()
	}
}

func (l *bounded) Close() error {
	l.stopped()
	return l.Listener.Close()
}

// enter counts a connection, unless there are too many.
func (l *bounded) enter(conn net.Conn) *counted {
	c := &counted{Conn: conn, l: l}
	if ap, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil && l.most >= 0 && !gateway.Trusted(l.trusted, ap.Addr()) {
		c.addr = gateway.AddressOf(ap.Addr())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.in >= 0 && l.open >= l.in+spareConns || c.addr.IsValid() && l.n[c.addr] >= l.most+spareConns {
		return nil
	}
	l.open++
	if c.addr.IsValid() {
		l.n[c.addr]++
	}
	return c
}

// accepted returns how many connections are open.
func (l *bounded) accepted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// counted gives its place back when it is closed.
type counted struct {
	net.Conn
	l    *bounded
	addr netip.Prefix // the zero Prefix is not counted by address
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() {
		c.l.mu.Lock()
		defer c.l.mu.Unlock()
		c.l.open--
		if !c.addr.IsValid() {
			return
		}
		if c.l.n[c.addr]--; c.l.n[c.addr] == 0 {
			delete(c.l.n, c.addr)
		}
	})
	return c.Conn.Close()
}

// SyscallConn lets the gateway wait for input without reading it.
func (c *counted) SyscallConn() (syscall.RawConn, error) { return c.Conn.(syscall.Conn).SyscallConn() }

func (c *counted) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// SetLinger lets the gateway drop what a client does not read.
func (c *counted) SetLinger(sec int) error { return c.Conn.(*net.TCPConn).SetLinger(sec) }

// What the gateway needs from a connection.
var _ interface {
	syscall.Conn
	CloseWrite() error
	SetLinger(sec int) error
} = (*counted)(nil)

// listen opens the port.
func (s *Server) listen(reg prometheus.Registerer) error {
	l, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return err
	}
	cut := prometheus.NewCounter(prometheus.CounterOpts{Name: "tidings_connections_cut_total",
		Help: "Connections that were closed as soon as they were accepted, because there were too many, or too many of their address."})
	failed := prometheus.NewCounter(prometheus.CounterOpts{Name: "tidings_accept_failures_total",
		Help: "Connections that could not be accepted, mostly for want of file descriptors."})
	reg.MustRegister(cut, failed)
	most := s.cfg.Gateway.PerAddress
	most = cmp.Or(most, gateway.DefaultPerAddress)
	s.bounded = &bounded{Listener: l, most: most, in: s.connections(), trusted: s.cfg.TrustedProxies, log: s.log, cut: cut, failed: failed, n: make(map[netip.Prefix]int)}
	s.bounded.stop, s.bounded.stopped = context.WithCancel(context.Background())
	s.listener = s.bounded
	if s.cert != nil {
		s.listener = tls.NewListener(s.listener, s.cert.config())
	}
	return nil
}

// reservedFiles are descriptors that connections of clients leave to the rest of the process: for the store's files and connections, webhooks, and
// certificates that are read again.
const reservedFiles = 128

// connections returns how many connections there may be: the setting, or as many as the system's limit of open files allows. Negative means no limit.
func (s *Server) connections() int {
	room := -1
	if files := openFiles(); files > 0 {
		room = max(files-reservedFiles-spareConns, files/2)
	}
	switch most := s.cfg.MaxConnections; {
	case most == 0:
		return room
	case room >= 0 && most > room:
		s.log.Warn("max-connections is more than the system's limit of open files allows", "max-connections", most, "room for", room)
		fallthrough
	default:
		return most
	}
}

// Reload reads the certificate and its key again. Other settings need a restart.
func (s *Server) Reload(certFile, keyFile string) error {
	if s.cert == nil {
		return nil
	}
	return s.cert.reload(certFile, keyFile)
}

// origins parses origins of web pages that are separated by commas.
func origins(text string) ([]string, error) {
	all, err := items(text)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		if u, err := url.Parse(o); err != nil || u.Host == "" || !strings.EqualFold(u.Scheme+"://"+u.Host, o) {
			return nil, fmt.Errorf("%q is not an origin such as https://app.example or http://localhost:8080", o)
		}
	}
	return all, nil
}

// serveHTTP makes the HTTP server of the port. A client must have sent its request, and read the response, in limited time.
func (s *Server) serveHTTP(h http.Handler) {
	within, stall := s.cfg.Gateway.LoginWithin, s.cfg.Gateway.Stall
	within = cmp.Or(within, 10*time.Second)
	stall = cmp.Or(stall, 30*time.Second)
	s.http = http.Server{
		Handler:           s.contain(h),
		ReadHeaderTimeout: within,
		ReadTimeout:       within,
		// Counted from the headers on. An admin call may wait for a webhook and for the store.
		WriteTimeout:   within + stall + s.cfg.Webhook.Deadline,
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 32 << 10,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	go func() { s.served <- s.http.Serve(s.listener) }()
}

// contain ends only the connection when a handler panics; net/http would log that at another level.
func (s *Server) contain(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				if p != http.ErrAbortHandler {
					s.log.Error("a request failed inside the server", "path", r.URL.Path, "remote", r.RemoteAddr, "err", fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
				}
				panic(http.ErrAbortHandler)
			}
		}()
		h.ServeHTTP(w, r)
	})
}
