package ws

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	ours "github.com/tidings-im/tidings/internal/websocket"
)

const most = 1 << 20

// echo is a server of another library, which sends back what it gets, in pieces and with a ping before each.
func echo(t *testing.T, secure bool) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); ok && (user != "u" || password != "p") {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"p1"}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(most)
		for {
			_, data, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if string(data) == "bye" {
				c.Close(websocket.StatusCode(4001), "as you wish")
				return
			}
			go c.Ping(r.Context())
			out, err := c.Writer(r.Context(), websocket.MessageBinary)
			if err != nil {
				return
			}
			for _, part := range [][]byte{data[:len(data)/2], data[len(data)/2:]} {
				if _, err := out.Write(part); err != nil {
					return
				}
			}
			if out.Close() != nil {
				return
			}
		}
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that end while they begin
	if secure {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestEcho compares both sides with another library, in clear and over TLS, for messages of all forms of length.
func TestEcho(t *testing.T) {
	for _, secure := range []bool{false, true} {
		srv := echo(t, secure)
		d := &Dialer{Subprotocol: "p1", Most: most}
		if secure {
			d.TLS = srv.Client().Transport.(*http.Transport).TLSClientConfig
		}
		c, err := d.Dial(within(t), "ws"+strings.TrimPrefix(srv.URL, "http")+"/ws?x=1")
		if err != nil {
			t.Fatal(err)
		}
		if c.Subprotocol != "p1" {
			t.Errorf("subprotocol %q", c.Subprotocol)
		}
		for _, size := range []int{0, 1, 125, 126, 65535, 65536, 300_000, most} {
			b := make([]byte, size)
			for i := range b {
				b[i] = byte(rand.Uint32())
			}
			if err := c.Write(bytes.Clone(b)); err != nil {
				t.Fatal(err)
			}
			got, err := c.Read()
			if err != nil || !bytes.Equal(got, b) {
				t.Fatalf("%d bytes came back as %d (%v)", size, len(got), err)
			}
		}
		c.Write([]byte("bye"))
		_, err = c.Read()
		var closed *Closed
		if !errors.As(err, &closed) || closed.Code != 4001 || closed.Reason != "as you wish" {
			t.Errorf("the end: %v", err)
		}
		c.Close()
	}
}

// peer is the raw server's side of an established connection.
func peer(t *testing.T) (*Conn, net.Conn) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	return newConn(a, a, bufio.NewReader(a), 1000), b
}

// What a server must not send ends the connection, and the server gets a close code.
func TestFaults(t *testing.T) {
	long := binary.BigEndian.AppendUint64([]byte{0x82, 127}, 1<<62)
	for name, c := range map[string]struct {
		sent []byte
		code uint16
	}{
		"text":                {[]byte{0x81, 0}, closeText},
		"masked":              {[]byte{0x82, 0x80, 0, 0, 0, 0}, closeProtocol},
		"reserved":            {[]byte{0xc2, 0}, closeProtocol},
		"unknown":             {[]byte{0x83, 0}, closeProtocol},
		"unknown control":     {[]byte{0x8b, 0}, closeProtocol},
		"control in pieces":   {[]byte{0x09, 0}, closeProtocol},
		"long control":        {[]byte{0x89, 126, 0, 126}, closeProtocol},
		"goes on":             {[]byte{0x80, 0}, closeProtocol},
		"begins inside":       {[]byte{0x02, 0, 0x82, 0}, closeProtocol},
		"too large":           {[]byte{0x82, 126, 1001 >> 8, 1001 & 0xff}, closeTooLarge},
		"far too large":       {long, closeTooLarge},
		"too large in pieces": {append(append([]byte{0x02, 126, 2, 0}, make([]byte, 512)...), 0x80, 126, 2, 0), closeTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			ws, server := peer(t)
			failed := make(chan error, 1)
			go func() {
				_, err := ws.Read()
				failed <- err
			}()
			if _, err := server.Write(c.sent); err != nil {
				t.Fatal(err)
			}
			head := make([]byte, 8)
			if _, err := io.ReadFull(server, head); err != nil {
				t.Fatal(err)
			}
			ours.Mask(head[6:], [4]byte(head[2:6]))
			if head[0] != 0x88 || head[1] != 0x82 || binary.BigEndian.Uint16(head[6:]) != c.code {
				t.Errorf("the server is told % x", head)
			}
			if err := <-failed; err == nil {
				t.Error("it was taken")
			}
		})
	}
}

// Interrupt ends a read that waits, as a deadline does.
func TestInterrupt(t *testing.T) {
	ws, _ := peer(t)
	failed := make(chan error, 1)
	go func() {
		_, err := ws.Read()
		failed <- err
	}()
	ws.Interrupt()
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// A redirect is followed, also from ws to wss; a loop is not followed forever; a response that is not an upgrade is returned with its content.
func TestAnswers(t *testing.T) {
	to := echo(t, true)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, to.URL+"/ws", http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusMovedPermanently)
		case "/mail":
			http.Redirect(w, r, "mailto:ann", http.StatusFound)
		default:
			w.Header().Set("X", "y")
			http.Error(w, "go by HTTPS", http.StatusBadRequest)
		}
	}))
	t.Cleanup(srv.Close)
	d := &Dialer{TLS: to.Client().Transport.(*http.Transport).TLSClientConfig, Subprotocol: "p1", Most: most}
	address := "ws" + strings.TrimPrefix(srv.URL, "http")
	c, err := d.Dial(within(t), address+"/moved")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	for _, path := range []string{"/round", "/mail"} {
		if _, err := d.Dial(within(t), address+path); err == nil {
			t.Errorf("%s was followed to an end", path)
		}
	}
	_, err = d.Dial(within(t), address)
	var a *Answer
	if !errors.As(err, &a) || a.Code != 400 || a.Status != "400 Bad Request" || a.Header.Get("X") != "y" || !strings.Contains(string(a.Body), "HTTPS") {
		t.Errorf("%+v %v", a, err)
	}
	if _, err := (&Dialer{Most: most}).Dial(within(t), "ws"+strings.TrimPrefix(to.URL, "https")); !errors.As(err, &a) || !strings.Contains(string(a.Body), "HTTPS") {
		t.Errorf("a server of TLS in clear: %v", err)
	}
	var plain tls.RecordHeaderError
	if _, err := (&Dialer{Most: most}).Dial(within(t), "wss"+strings.TrimPrefix(srv.URL, "http")); !errors.As(err, &plain) {
		t.Errorf("a server in clear by TLS: %v", err)
	}
	if _, err := (&Dialer{Most: most}).Dial(within(t), "wss"+strings.TrimPrefix(to.URL, "https")); err == nil {
		t.Error("an unknown certificate was taken")
	}
}

// The name and password of an address are sent to the server.
func TestBasicAuth(t *testing.T) {
	srv := echo(t, false)
	host := strings.TrimPrefix(srv.URL, "http://")
	d := &Dialer{Subprotocol: "p1", Most: most}
	c, err := d.Dial(within(t), "ws://u:p@"+host)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	var a *Answer
	if _, err := d.Dial(within(t), "ws://u:q@"+host); !errors.As(err, &a) || a.Code != 401 {
		t.Errorf("%v", err)
	}
}

// A context that ends stops waiting for a server, or a proxy, that sends nothing.
func TestDialEnds(t *testing.T) {
	for _, scheme := range []string{"", "ws", "wss", "socks5", "http"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		d := &Dialer{Most: most}
		address := scheme + "://" + l.Addr().String()
		ctx, cancel := context.WithCancel(t.Context())
		switch scheme {
		case "": // before anything
			cancel()
			address = "ws://" + l.Addr().String()
		case "socks5", "http":
			d.Proxy = &url.URL{Scheme: scheme, Host: l.Addr().String()}
			address = "ws://127.0.0.1:1"
		}
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 1)) // it has begun
			cancel()
			io.Copy(io.Discard, conn)
			conn.Close()
		}()
		if _, err := d.Dial(ctx, address); err == nil {
			t.Errorf("%q: it came to an end", scheme)
		}
		cancel()
	}
}

// script sends its texts, piece by piece, and keeps what it received.
func script(t *testing.T, answers ...string) (addr string, asked chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	asked = make(chan string, 10)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b := make([]byte, 4096)
		for _, a := range answers {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			asked <- string(b[:n])
			io.WriteString(conn, a)
		}
		n, _ := conn.Read(b)
		asked <- string(b[:n])
	}()
	return l.Addr().String(), asked
}

// What a SOCKS5 proxy is asked and may respond.
func TestSocks(t *testing.T) {
	for name, c := range map[string]struct {
		user    *url.Userinfo
		host    string
		answers []string
		asked   []string
		ok      bool
	}{
		"a name":          {nil, "im.example", []string{"\x05\x00", "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"}, []string{"\x05\x01\x00", "\x05\x01\x00\x03\x0aim.example\x1f\x90"}, true},
		"IPv4":            {nil, "127.0.0.1", []string{"\x05\x00", "\x05\x00\x00\x03\x01x\x00\x00"}, []string{"\x05\x01\x00", "\x05\x01\x00\x01\x7f\x00\x00\x01\x1f\x90"}, true},
		"IPv6":            {nil, "::1", []string{"\x05\x00", "\x05\x00\x00\x04" + strings.Repeat("x", 18)}, []string{"\x05\x01\x00", "\x05\x01\x00\x04" + strings.Repeat("\x00", 15) + "\x01\x1f\x90"}, true},
		"a password":      {url.UserPassword("u", "pw"), "x", []string{"\x05\x02", "\x01\x00", "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"}, []string{"\x05\x02\x00\x02", "\x01\x01u\x02pw", "\x05\x01\x00\x03\x01x\x1f\x90"}, true},
		"wrong password":  {url.UserPassword("u", "pw"), "x", []string{"\x05\x02", "\x01\x01"}, nil, false},
		"wants one":       {nil, "x", []string{"\x05\x02"}, nil, false},
		"wants more":      {url.UserPassword("u", "pw"), "x", []string{"\x05\xff"}, nil, false},
		"another version": {nil, "x", []string{"\x04\x00"}, nil, false},
		"refuses":         {nil, "x", []string{"\x05\x00", "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"}, nil, false},
		"no address":      {nil, "x", []string{"\x05\x00", "\x05\x00\x00\x09\x00\x00\x00\x00\x00\x00"}, nil, false},
		"an HTTP server":  {nil, "x", []string{"HTTP/1.1 400 Bad Request\r\n\r\n"}, nil, false},
		"a long name":     {nil, strings.Repeat("x", 256), []string{"\x05\x00"}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			addr, asked := script(t, c.answers...)
			d := &Dialer{Proxy: &url.URL{Scheme: "socks5", Host: addr, User: c.user}}
			conn, err := d.connect(within(t), c.host, "8080")
			if (err == nil) != c.ok {
				t.Fatalf("%v", err)
			}
			for _, want := range c.asked {
				if got := <-asked; got != want {
					t.Errorf("asked %q, want %q", got, want)
				}
			}
			if err != nil {
				return
			}
			io.WriteString(conn, "through")
			if got := <-asked; got != "through" {
				t.Errorf("then came %q", got)
			}
			conn.Close()
		})
	}
}

// What an HTTP proxy is asked and may respond.
func TestTunnel(t *testing.T) {
	for answer, ok := range map[string]bool{
		"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n": true, "HTTP/1.0 200\r\n\r\n": true, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n": false,
		"HTTP/1.1 200 OK\r\n\r\nbefore it was asked": false, "HTTP/1.1 20 OK\r\n\r\n": false, "\r\n": false, "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", maxHeaders): false,
	} {
		addr, asked := script(t, answer)
		d := &Dialer{Proxy: &url.URL{Scheme: "http", Host: addr, User: url.UserPassword("u", "p")}}
		conn, err := d.connect(within(t), "im.example", "443")
		if (err == nil) != ok {
			t.Errorf("%.40q: %v", answer, err)
		}
		if conn != nil {
			conn.Close()
		}
		if got := <-asked; got != "CONNECT im.example:443 HTTP/1.1\r\nHost: im.example:443\r\nUser-Agent: tidings\r\nProxy-Authorization: Basic dTpw\r\n\r\n" {
			t.Errorf("asked %q", got)
		}
	}
}

// FuzzRead: whatever a server sends, reading ends and takes no more memory than it may.
func FuzzRead(f *testing.F) {
	f.Add([]byte{0x82, 1, 'a', 0x89, 0, 0x02, 1, 'b', 0x80, 1, 'c'})
	f.Add([]byte{0x82, 126, 0, 1, 'a', 0x88, 2, 3, 0xe8})
	f.Fuzz(func(t *testing.T, sent []byte) {
		a := &fixed{in: bytes.NewReader(sent)}
		ws := newConn(a, a, bufio.NewReader(a), 1000)
		for {
			b, err := ws.Read()
			if err != nil {
				break
			}
			if len(b) > 1000 {
				t.Fatalf("a message of %d bytes", len(b))
			}
		}
		if a.in.Len() > 0 && a.wrote == 0 {
			t.Fatalf("%d bytes were not read, and the server was told nothing", a.in.Len())
		}
	})
}

// fixed is a connection whose whole input is known.
type fixed struct {
	net.Conn
	in    *bytes.Reader
	wrote int
}

func (c *fixed) Read(b []byte) (int, error) { return c.in.Read(b) }
func (c *fixed) Write(b []byte) (int, error) {
	c.wrote += len(b)
	return len(b), nil
}
