package client_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// relayTo joins two connections until one ends.
func relayTo(a net.Conn, addr string) {
	b, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	copyHalf := func(dst, src net.Conn) { io.Copy(dst, src); dst.Close(); src.Close() }
	wg.Go(func() { copyHalf(b, a) })
	wg.Go(func() { copyHalf(a, b) })
	wg.Wait()
}

// serveProxy runs a proxy server; handshake returns where the client wants to connect.
func serveProxy(t *testing.T, handshake func(net.Conn) (string, error)) (addr string, used func() int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	n := 0
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				to, err := handshake(c)
				if err != nil {
					return
				}
				mu.Lock()
				n++
				mu.Unlock()
				relayTo(c, to)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String(), func() int { mu.Lock(); defer mu.Unlock(); return n }
}

// socks5 is the server's side of RFC 1928 with the user "u" and the password "p" (RFC 1929).
func socks5(c net.Conn) (string, error) {
	r := bufio.NewReaderSize(c, 1) // what follows the handshake must stay in the connection
	read := func(n int) []byte { b := make([]byte, n); io.ReadFull(r, b); return b }
	read(int(read(2)[1]))
	c.Write([]byte{5, 2})
	read(1)
	user := read(int(read(1)[0]))
	pass := read(int(read(1)[0]))
	if string(user) != "u" || string(pass) != "p" {
		c.Write([]byte{1, 1})
		return "", fmt.Errorf("refused %q", user)
	}
	c.Write([]byte{1, 0})
	h := read(4)
	var host string
	switch h[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	default:
		return "", fmt.Errorf("address type %d", h[3])
	}
	port := binary.BigEndian.Uint16(read(2))
	_, err := c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return net.JoinHostPort(host, fmt.Sprint(port)), err
}

func httpConnect(c net.Conn) (string, error) {
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil || req.Method != http.MethodConnect {
		return "", fmt.Errorf("not CONNECT: %v %v", req, err)
	}
	if u, p, ok := (&http.Request{Header: http.Header{"Authorization": req.Header["Proxy-Authorization"]}}).BasicAuth(); !ok || u != "u" || p != "p" {
		io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
		return "", fmt.Errorf("refused")
	}
	_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	return req.Host, err
}

// The connection goes through the proxy, with its password; a wrong one is a failed connection.
func TestProxies(t *testing.T) {
	s := imtest.Start(t)
	for name, handshake := range map[string]func(net.Conn) (string, error){"socks5": socks5, "http": httpConnect} {
		t.Run(name, func(t *testing.T) {
			addr, used := serveProxy(t, handshake)
			cfg := config(t, s, "ann")
			cfg.Proxy = name + "://u:p@" + addr
			d := dial(t, cfg)
			d.say("ann", "through the proxy")
			if used() != 1 {
				t.Fatalf("the proxy was used %d times", used())
			}
			d.Close()
			cfg.Proxy = name + "://u:wrong@" + addr
			cfg.Limits = client.Limits{Login: 300e6}
			if err := open(t, cfg).Login(within(t)); err == nil {
				t.Fatal("login through a proxy that refuses")
			}
		})
	}
	cfg := config(t, s, "ann")
	cfg.Proxy = "ftp://x"
	_, err := client.Open(cfg, client.Events{})
	wantCode(t, err, im.CodeInvalidParameters)
}
