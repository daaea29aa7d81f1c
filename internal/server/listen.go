package server

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/internal/gateway"
)

// spareConns is how many connections above the limit an address may have, so that those above it are told why they are refused.
const spareConns = 64

// networks reads addresses and networks that are separated by commas.
func networks(list string) (out []netip.Prefix, err error) {
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if a, err := netip.ParseAddr(part); err == nil {
			out = append(out, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(part)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", part)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// bounded is a listener that counts connections from the moment they are accepted, also those that never say anything.
type bounded struct {
	net.Listener
	most    int
	trusted []netip.Prefix
	cut     prometheus.Counter

	mu sync.Mutex
	n  map[netip.Prefix]int
}

func (l *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ap, err := netip.ParseAddrPort(conn.RemoteAddr().String())
		if err != nil || l.most < 0 || gateway.Trusted(l.trusted, ap.Addr()) {
			return conn, nil
		}
		addr := gateway.AddressOf(ap.Addr())
		l.mu.Lock()
		ok := l.n[addr] < l.most+spareConns
		if ok {
			l.n[addr]++
		}
		l.mu.Unlock()
		if ok {
			return &counted{Conn: conn, l: l, addr: addr}, nil
		}
		l.cut.Inc()
		conn.Close()
	}
}

// counted gives its place back when it is closed.
type counted struct {
	net.Conn
	l    *bounded
	addr netip.Prefix
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() {
		c.l.mu.Lock()
		defer c.l.mu.Unlock()
		if c.l.n[c.addr]--; c.l.n[c.addr] == 0 {
			delete(c.l.n, c.addr)
		}
	})
	return c.Conn.Close()
}

func (c *counted) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// listen opens the port.
func (s *Server) listen(reg prometheus.Registerer) error {
	l, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return err
	}
	cut := prometheus.NewCounter(prometheus.CounterOpts{Name: "tidings_connections_cut_total",
		Help: "Connections that were closed as soon as they were accepted, because their address had too many."})
	reg.MustRegister(cut)
	most := s.cfg.Gateway.PerAddress
	if most == 0 {
		most = gateway.DefaultPerAddress
	}
	s.listener = &bounded{Listener: l, most: most, trusted: s.cfg.TrustedProxies, cut: cut, n: make(map[netip.Prefix]int)}
	if s.cert != nil {
		s.listener = tls.NewListener(s.listener, s.cert.config())
	}
	return nil
}

// Reload reads the certificate and its key again, and warns of nothing else: other settings need a restart.
func (s *Server) Reload(certFile, keyFile string) error {
	if s.cert == nil {
		return nil
	}
	return s.cert.reload(certFile, keyFile)
}
