// Package faultproxy is a TCP relay for tests that behaves like a bad network: it cuts, resets, stalls and refuses.
package faultproxy

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// Proxy relays connections to a server until it is told to misbehave. Its methods may be called from any goroutine.
type Proxy struct {
	// URL is the address for clients.
	URL string

	ln     net.Listener
	target string
	wg     sync.WaitGroup

	mu      sync.Mutex
	links   map[*link]bool
	closed  bool
	refuse  bool
	stalled chan struct{} // open while what the server sends is held back; nil otherwise
	frozen  chan struct{} // the same for what the client sends
}

// link is one connection through the proxy.
type link struct {
	in, out net.Conn
	done    chan struct{}
	once    sync.Once
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.done)
		l.in.Close()
		l.out.Close()
	})
}

// Start relays to the server at url (ws://host:port) until the test ends.
func Start(t testing.TB, url string) *Proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{URL: "ws://" + ln.Addr().String(), ln: ln, target: strings.TrimPrefix(url, "ws://"), links: map[*link]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(p.stop)
	return p
}

func (p *Proxy) stop() {
	p.ln.Close()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Cut()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		in, err := p.ln.Accept()
		if err != nil {
			return
		}
		if p.refuses() {
			in.Close()
			continue
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			in.Close()
			continue
		}
		l := &link{in: in, out: out, done: make(chan struct{})}
		p.mu.Lock()
		if p.closed || p.refuse {
			p.mu.Unlock()
			l.close()
			continue
		}
		p.links[l] = true
		p.mu.Unlock()
		p.wg.Go(func() { p.relay(l, out, in, &p.frozen) })
		p.wg.Go(func() { p.relay(l, in, out, &p.stalled) })
	}
}

func (p *Proxy) refuses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refuse
}

// relay copies one direction. What it has read while that direction is held back is sent on when it is released.
func (p *Proxy) relay(l *link, dst, src net.Conn, held *chan struct{}) {
	defer func() {
		l.close()
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		for n > 0 {
			p.mu.Lock()
			wait := *held
			p.mu.Unlock()
			if wait == nil {
				break
			}
			select {
			case <-wait:
			case <-l.done:
				return
			}
		}
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Cut closes all connections.
func (p *Proxy) Cut() { p.cut(false) }

// Reset breaks all connections with a reset, so that data under way is lost.
func (p *Proxy) Reset() { p.cut(true) }

func (p *Proxy) cut(reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		if reset {
			for _, c := range []net.Conn{l.in, l.out} {
				if tcp, ok := c.(*net.TCPConn); ok {
					tcp.SetLinger(0)
				}
			}
		}
		l.close()
		delete(p.links, l)
	}
}

// Refuse closes new connections at once, or lets them through again.
func (p *Proxy) Refuse(v bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = v
}

// Stall holds back what the server sends until Release.
func (p *Proxy) Stall() { p.hold(&p.stalled) }

// Freeze holds back what clients send until Release.
func (p *Proxy) Freeze() { p.hold(&p.frozen) }

func (p *Proxy) hold(gate *chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if *gate == nil {
		*gate = make(chan struct{})
	}
}

// Release ends Stall and Freeze.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, gate := range []*chan struct{}{&p.stalled, &p.frozen} {
		if *gate != nil {
			close(*gate)
			*gate = nil
		}
	}
}

// Heal ends everything that keeps clients from the server.
func (p *Proxy) Heal() {
	p.Refuse(false)
	p.Release()
}
