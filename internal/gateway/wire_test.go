package gateway

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lxzan/gws"
	dto "github.com/prometheus/client_model/go"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// frame makes a masked frame with a mask of zeros.
func frame(first byte, payload string) []byte {
	b := []byte{first, 0x80 | byte(len(payload))}
	if len(payload) > 125 {
		b = append(b[:1], 0x80|126, byte(len(payload)>>8), byte(len(payload)))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// illegal are bytes that no client may send, and the close code for them.
var illegal = []struct {
	name  string
	bytes []byte
	code  uint16
}{
	{"a length with bit 63", []byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, 1009},
	{"bit 63 alone", header(1 << 63), 1009},
	{"a length that wraps with what is there", slices.Concat(frame(0x02, "abcd"), []byte{0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc, 0, 0, 0, 0}), 1009},
	{"more than a message has", header(im.MaxMessage + 1), 1009},
	{"text with bit 63", []byte{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1009},
	{"a continuation with bit 63", slices.Concat(frame(0x02, ""), []byte{0x80, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), 1009},
	{"a ping with bit 63", []byte{0x89, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1002},
	{"a long ping", append([]byte{0x89, 0xfe, 0, 126, 0, 0, 0, 0}, make([]byte, 126)...), 1002},
	{"a long close", append([]byte{0x88, 0xfe, 0, 126, 0, 0, 0, 0}, make([]byte, 126)...), 1002},
	{"a ping in pieces", frame(0x09, ""), 1002},
	{"a reserved bit", frame(0xc2, ""), 1002},
	{"another", frame(0x92, ""), 1002},
	{"an unknown opcode", frame(0x83, ""), 1002},
	{"an unknown control frame", frame(0x8b, ""), 1002},
	{"no mask", []byte{0x82, 0x00}, 1002},
	{"nothing to go on with", frame(0x80, ""), 1002},
	{"a message inside another", slices.Concat(frame(0x02, "a"), frame(0x82, "b")), 1002},
	{"pieces that never end", append(frame(0x02, ""), bytes.Repeat(frame(0x00, ""), maxPieces)...), 1009},
	{"pieces that are too much together", append(frame(0x02, ""), bytes.Repeat(frame(0x00, strings.Repeat("x", 60000)), im.MaxMessage/60000+1)...), 1009},
}

// closedWith reads until the other side closes, and returns the code of the last close frame.
func closedWith(t *testing.T, c net.Conn) uint16 {
	t.Helper()
	r := bufio.NewReader(c)
	var code uint16
	for {
		h := make([]byte, 2)
		if _, err := io.ReadFull(r, h); err == io.EOF {
			return code
		} else if err != nil {
			t.Fatal(err)
		}
		size := uint64(h[1])
		if ext := map[byte]int{126: 2, 127: 8}[h[1]]; ext > 0 {
			b := make([]byte, 8)
			if _, err := io.ReadFull(r, b[8-ext:]); err != nil {
				t.Fatal(err)
			}
			size = binary.BigEndian.Uint64(b)
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(r, body); err != nil {
			t.Fatal(err)
		}
		if h[0] == 0x88 && len(body) >= 2 {
			code = binary.BigEndian.Uint16(body)
		}
	}
}

// TestIllegalFrames: whatever the header of a frame says, before a login and after one, at once and byte by byte, the connection is closed with a
// code that the client can read, although it keeps sending; nobody else is affected.
func TestIllegalFrames(t *testing.T) {
	n := start(t, options{})
	alice := n.login(device{user: "alice"})
	login := im.AppendMessage(nil, &im.Frame{Id: 1, Method: im.Method_LOGIN}, device{user: "mallory"}.request())
	for _, in := range illegal {
		for _, loggedIn := range []bool{false, true} {
			for _, slowly := range []bool{false, true} {
				if slowly && len(in.bytes) > 100 {
					continue
				}
				c := n.raw()
				if loggedIn {
					c.Write(append(header(uint64(len(login))), login...))
					var b [1]byte
					if _, err := c.Read(b[:]); err != nil {
						t.Fatal(err)
					}
					// The rest of the reply is before the close frame; its first byte was 0x82.
					c = &unread{Conn: c, b: b[:]}
				}
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					step := len(in.bytes)
					if slowly {
						step = 1
					}
					for chunk := range slices.Chunk(in.bytes, step) {
						c.Write(chunk)
					}
					c.Write(make([]byte, 100<<10)) // which must not make the system reset the connection
				}()
				if code := closedWith(t, c); code != in.code {
					t.Errorf("%s, logged in %v, slowly %v: closed with %d, want %d", in.name, loggedIn, slowly, code, in.code)
				}
				<-sent
				c.Close()
			}
		}
	}
	until(t, "all others are gone", func() bool { return n.Sessions() == 1 })
	alice.quiet()
	if got := n.failed(); got != 0 {
		t.Errorf("%v calls failed inside the server", got)
	}
}

// failed returns how many calls and connections failed inside the server.
func (n *node) failed() float64 {
	var m dto.Metric
	n.metrics.failures.Write(&m)
	return m.GetCounter().GetValue()
}

// unread gives bytes back before those of the connection.
type unread struct {
	net.Conn
	b []byte
}

func (u *unread) Read(p []byte) (int, error) {
	if len(u.b) > 0 {
		n := copy(p, u.b)
		u.b = u.b[n:]
		return n, nil
	}
	return u.Conn.Read(p)
}

// TestFaultIsOneOfMany: what arrived before an illegal frame in the same bytes is handled, and a client that stays after its close frame is
// disconnected.
func TestFaultIsOneOfMany(t *testing.T) {
	n := start(t, options{})
	alice := n.login(device{user: "alice"})
	login := im.AppendMessage(nil, &im.Frame{Id: 1, Method: im.Method_LOGIN}, device{user: "bob"}.request())
	send := im.AppendMessage(nil, &im.Frame{Id: 2, Method: im.Method_SEND}, &im.SendRequest{Conv: key("alice"), ClientTime: 1700000000, Random: 1, Message: text("hi")})
	c := n.raw()
	c.Write(slices.Concat(header(uint64(len(login))), login, header(uint64(len(send))), send, header(1<<63)))
	alice.push(im.Method_ENTRY, nil)
	if code := closedWith(t, c); code != 1009 {
		t.Errorf("closed with %d", code)
	}
	if n.Sessions() != 2 {
		t.Error("the client has not closed, and its connection is gone")
	}
	n.leap(time.Hour + 7*time.Second) // a sweep of this test's gateway is an hour late at most
	until(t, "it is cut", func() bool { return n.Sessions() == 0 })
}

// TestPings: pings are answered, and count as calls: too many are not.
func TestPings(t *testing.T) {
	o := options{}
	o.gateway.CallRate = 5
	n := start(t, o)
	c := n.raw()
	c.Write(slices.Concat(bytes.Repeat(frame(0x89, "ping"), 20), frame(0x83, "")))
	b, err := io.ReadAll(c)
	if err != nil || bytes.Count(b, []byte("\x8a\x04ping")) != 5 || !bytes.Contains(b, []byte{0x88}) {
		t.Errorf("%q, %v", b, err)
	}
}

// TestUpgradeWithMore: what follows an upgrade before its response, as a body or as bytes, is not taken for frames.
func TestUpgradeWithMore(t *testing.T) {
	n := start(t, options{})
	for name, more := range map[string]string{
		"a body":            "Content-Length: 6\r\n\r\n\x82\x80\x00\x00\x00\x00",
		"a chunked body":    "Transfer-Encoding: chunked\r\n\r\n6\r\n\x82\x80\x00\x00\x00\x00\r\n0\r\n\r\n",
		"frames":            "\r\n\x82\x80\x00\x00\x00\x00",
		"another request":   "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"two lengths":       "Content-Length: 0\r\nContent-Length: 6\r\n\r\n",
		"a blank in a name": "Content-Length : 6\r\n\r\n",
	} {
		c, err := net.Dial("tcp", n.http.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, strings.TrimSuffix(upgrade, "\r\n")+more)
		b, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 400 ") || strings.Contains(string(b), " 101 ") {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		c.Close()
	}
	until(t, "nothing is counted any more", func() bool {
		n.limits.mu.Lock()
		defer n.limits.mu.Unlock()
		return n.limits.all == 0 && len(n.limits.conns) == 0
	})
}

// TestOrigins: with allowed origins, scripts of other pages are refused; programs, which send none, never are.
func TestOrigins(t *testing.T) {
	o := options{}
	o.gateway.Origins = []string{"https://app.example", "http://localhost:8080"}
	n, open := start(t, o), start(t, options{})
	for _, c := range []struct {
		lines string
		ok    bool
	}{
		{"", true},
		{"Origin: https://app.example\r\n", true},
		{"Origin: HTTPS://App.Example\r\n", true},
		{"Origin: http://localhost:8080\r\n", true},
		{"Origin: http://app.example\r\n", false},
		{"Origin: https://app.example.evil\r\n", false},
		{"Origin: https://evil.example\r\n", false},
		{"Origin: null\r\n", false},
		{"Origin: https://app.example\r\nOrigin: https://evil.example\r\n", false},
	} {
		for _, n := range []*node{n, open} {
			conn, err := net.Dial("tcp", n.http.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			conn.SetDeadline(time.Now().Add(patience))
			io.WriteString(conn, strings.TrimSuffix(upgrade, "\r\n")+c.lines+"\r\n")
			b := make([]byte, 12)
			if _, err := io.ReadFull(conn, b); err != nil {
				t.Fatal(err)
			}
			want := "HTTP/1.1 101"
			if !c.ok && n != open {
				want = "HTTP/1.1 403"
			}
			if string(b) != want {
				t.Errorf("%q, restricted %v: %s", c.lines, n != open, b)
			}
			conn.Close()
		}
	}
}

// panics is a body whose encoding fails like a mistake of ours would.
type panics struct{ im.Empty }

func (*panics) SizeVT() int                                { return 10 }
func (*panics) MarshalToSizedBufferVT([]byte) (int, error) { panic("a mistake") }
func (*panics) MarshalVT() ([]byte, error)                 { panic("a mistake") }

// TestPanicEndsOneConnection: a panic while something is made or done for a connection is counted, and ends only that connection: in a reply; on the
// goroutine that reads.
func TestPanicEndsOneConnection(t *testing.T) {
	o := options{}
	o.gateway.CallRate = 1000
	n := start(t, o)
	var mistake atomic.Bool
	n.cfg.Now = func() time.Time {
		if mistake.CompareAndSwap(true, false) {
			panic("a mistake")
		}
		return n.clock.now()
	}
	bob := n.login(device{user: "bob"})
	for name, fail := range map[string]func(*conn){
		"a reply":             func(c *conn) { n.sessionsOf(chat.UID(c.reply.TinyId))[0].reply(77, im.Method_PULL, &panics{}, nil) },
		"the reading of ping": func(c *conn) { mistake.Store(true); go c.ws.Ping(t.Context()) },
	} {
		before := n.failed()
		fail(n.login(device{user: "mallory"}))
		until(t, name+": the connection ends", func() bool { return n.Sessions() == 1 })
		if got := n.failed() - before; got != 1 {
			t.Errorf("%s: the metric counts %v", name, got)
		}
		bob.call(im.Method_HEARTBEAT, &im.Empty{}, 0, nil)
	}
}

const upgrade = "GET / HTTP/1.1\r\nHost: tidings\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " + im.Subprotocol + "\r\n\r\n"

// FuzzConnection sends the bytes of a whole connection, from the first of HTTP or from the first after the upgrade or the login, in pieces that seed
// draws. Whatever they are, the connection ends when the client has closed, no call fails inside the server, and somebody else is served as before.
func FuzzConnection(f *testing.F) {
	login := im.AppendMessage(nil, &im.Frame{Id: 1, Method: im.Method_LOGIN}, device{user: "mallory"}.request())
	login = append(header(uint64(len(login))), login...)
	for i, in := range illegal {
		if len(in.bytes) < 1000 {
			f.Add(byte(i), uint64(i), in.bytes)
			f.Add(byte(0), uint64(i), append([]byte(upgrade), in.bytes...))
			f.Add(byte(2), uint64(i), slices.Concat(login, in.bytes))
		}
	}
	f.Add(byte(0), uint64(0), []byte("POST /v4/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"))
	f.Add(byte(1), uint64(0), slices.Concat(frame(0x02, "a"), frame(0x89, "p"), frame(0x80, "b"), frame(0x88, "\x03\xe8bye")))
	o := options{}
	o.gateway.FailuresPerUser, o.gateway.FailuresPerAddress, o.gateway.PerAddress = -1, -1, -1
	n := start(f, o)
	alice := n.login(device{user: "alice"})
	n.login(device{user: "mallory"})
	f.Fuzz(func(t *testing.T, mode byte, seed uint64, data []byte) {
		c, err := net.Dial("tcp", n.http.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		switch mode % 3 {
		case 1:
			data = append([]byte(upgrade), data...)
		case 2:
			data = slices.Concat([]byte(upgrade), login, data)
		}
		if mode%3 != 0 { // what comes with the request is refused
			c.Write(data[:len(upgrade)])
			b := make([]byte, 12)
			if _, err := io.ReadFull(c, b); err != nil || string(b) != "HTTP/1.1 101" {
				t.Fatalf("%q, %v", b, err)
			}
			data = data[len(upgrade):]
		}
		rnd := rand.New(rand.NewPCG(seed, 0))
		for len(data) > 0 {
			k := min(1+rnd.IntN(1+rnd.IntN(64)), len(data))
			c.Write(data[:k])
			data = data[k:]
		}
		c.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, c); err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Fatal("the connection stays")
			}
		}
		if n.failed() != 0 {
			t.Fatal("a call failed inside the server")
		}
		alice.t = t
		alice.call(im.Method_HEARTBEAT, &im.Empty{}, 0, nil)
		alice.pushes = nil
		alice.log = nil
	})
}

// tape is a connection whose input is fixed.
type tape struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (c *tape) Read(p []byte) (int, error)     { return c.in.Read(p) }
func (c *tape) Write(p []byte) (int, error)    { return c.out.Write(p) }
func (*tape) Close() error                     { return nil }
func (*tape) SetDeadline(time.Time) error      { return nil }
func (*tape) SetWriteDeadline(time.Time) error { return nil }

// heard records what the library extracts from a connection's bytes.
type heard struct {
	gws.BuiltinEventHandler
	log []string
	err error
}

func (h *heard) OnMessage(_ *gws.Conn, m *gws.Message) {
	h.log = append(h.log, fmt.Sprintf("%d %x", m.Opcode, m.Bytes()))
	m.Close()
}
func (h *heard) OnPing(_ *gws.Conn, p []byte)   { h.log = append(h.log, fmt.Sprintf("ping %x", p)) }
func (h *heard) OnPong(_ *gws.Conn, p []byte)   { h.log = append(h.log, fmt.Sprintf("pong %x", p)) }
func (h *heard) OnClose(_ *gws.Conn, err error) { h.err = err }

// library gives bytes to the WebSocket library without the guard.
func library(t *testing.T, data []byte) (h *heard, panicked any) {
	h = &heard{}
	up := gws.NewUpgrader(h, &gws.ServerOption{ReadMaxPayloadSize: im.MaxMessage})
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(upgrade)))
	if err != nil {
		t.Fatal(err)
	}
	c := &tape{in: bytes.NewReader(data)}
	conn, err := up.UpgradeFromConn(c, bufio.NewReader(c), r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { panicked = recover() }()
	conn.ReadLoop()
	return h, nil
}

// FuzzGuard compares the guard with the library under it. What the guard lets through never makes the library panic or report an error in a header;
// and where the guard sees a fault, the library alone would not have extracted anything more from the bytes either, so that no legal client is
// refused.
func FuzzGuard(f *testing.F) {
	for i, in := range illegal {
		if len(in.bytes) < 1000 {
			f.Add(uint64(i), in.bytes)
		}
	}
	f.Add(uint64(0), slices.Concat(frame(0x02, "a"), frame(0x89, "p"), frame(0x00, "b"), frame(0x80, "c"), frame(0x82, strings.Repeat("x", 300)), frame(0x88, "\x03\xe8bye")))
	f.Fuzz(func(t *testing.T, seed uint64, data []byte) {
		g := &guard{}
		g.open.Store(true)
		rnd := rand.New(rand.NewPCG(seed, 0))
		var passed []byte
		var fault *fault
		for rest := data; len(rest) > 0 && fault == nil; {
			k := 1 + rnd.IntN(min(len(rest), 40))
			var good int
			good, fault = g.follow(rest[:k])
			passed = append(passed, rest[:good]...)
			rest = rest[k:]
		}
		guarded, panicked := library(t, passed)
		if panicked != nil {
			t.Fatalf("what was let through panics: %v", panicked)
		}
		var closed *gws.CloseError
		if err := guarded.err; !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &closed) {
			t.Fatalf("the library refuses what was let through: %v", err)
		}
		if fault == nil {
			if len(passed) != len(data) {
				t.Fatal("not all was let through")
			}
			return
		}
		if alone, _ := library(t, data); !slices.Equal(alone.log, guarded.log) && g.pieces < maxPieces {
			t.Fatalf("%s: the library alone takes %q, behind the guard %q", fault.reason, alone.log, guarded.log)
		}
	})
}
