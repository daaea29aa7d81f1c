package ws

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/tidings-im/tidings/internal/websocket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// upgraded is a good response. ACCEPT stands for what depends on the request.
const upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n"

// answerTo puts into a response what depends on the request.
func answerTo(request, answer string) string {
	_, key, _ := strings.Cut(request, "Sec-WebSocket-Key: ")
	key, _, _ = strings.Cut(key, "\r\n")
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return strings.ReplaceAll(answer, "ACCEPT", base64.StdEncoding.EncodeToString(sum[:]))
}

// readRequest reads up to the end of a request's head.
func readRequest(r *bufio.Reader) string {
	var b strings.Builder
	for !strings.HasSuffix(b.String(), "\r\n\r\n") {
		line, err := r.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			break
		}
	}
	return b.String()
}

// answers is a server that responds to every request with one text, and then sends nothing more.
func answers(t *testing.T, answer string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				io.WriteString(conn, answerTo(readRequest(bufio.NewReader(conn)), answer))
				conn.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, conn)
			})
		}
	})
	return l.Addr().String()
}

// What a server may respond to a request. A response that is not an upgrade is an Answer, whose status can be shown.
func TestHeads(t *testing.T) {
	to := strings.TrimPrefix(echo(t, false).URL, "http")
	without := func(line string) string { return strings.Replace(upgraded, line+"\r\n", "", 1) }
	instead := func(line, other string) string { return strings.Replace(upgraded, line, other, 1) }
	for name, c := range map[string]struct {
		answer string
		code   int    // of the Answer; 0: a connection
		fails  string // the text of another error
	}{
		"good":                      {upgraded, 0, ""},
		"lists":                     {instead("Upgrade: websocket\r\nConnection: Upgrade", "Upgrade: h2c, WebSocket\r\nConnection: keep-alive\r\nConnection: x, uPgrade"), 0, ""},
		"bare line ends":            {strings.ReplaceAll(upgraded, "\r\n", "\n"), 0, ""},
		"many answers before":       {strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 100) + upgraded, 0, ""},
		"wrong accept":              {instead("ACCEPT", "bm8="), 101, ""},
		"no accept":                 {without("Sec-WebSocket-Accept: ACCEPT"), 101, ""},
		"no upgrade":                {without("Upgrade: websocket"), 101, ""},
		"another upgrade":           {instead("websocket", "websocket2"), 101, ""},
		"no connection":             {without("Connection: Upgrade"), 101, ""},
		"another connection":        {instead("Connection: Upgrade", "Connection: x-upgrade"), 101, ""},
		"an extension":              {instead("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"), 101, ""},
		"not modified":              {"HTTP/1.1 304 Not Modified\r\nLocation: http" + to + "/\r\n\r\n", 304, ""},
		"use a proxy":               {"HTTP/1.1 305 Use Proxy\r\nLocation: http" + to + "/\r\n\r\n", 305, ""},
		"choices":                   {"HTTP/1.1 300 Choices\r\nLocation: http" + to + "/\r\n\r\n", 300, ""},
		"moved":                     {"HTTP/1.1 308 Moved\r\nLocation: HTTP" + to + "/\r\n\r\n", 0, ""},
		"moved to nowhere":          {"HTTP/1.1 302 Found\r\n\r\n", 302, ""},
		"moved to no host":          {"HTTP/1.1 302 Found\r\nLocation: http:ws\r\n\r\n", 0, "not a web address"},
		"moved to an empty host":    {"HTTP/1.1 302 Found\r\nLocation: http://:80/ws\r\n\r\n", 0, "not a web address"},
		"moved beyond ASCII":        {"HTTP/1.1 302 Found\r\nLocation: http://b\u00fccher.example/ws\r\n\r\n", 0, "not a web address"},
		"moved to what is no URL":   {"HTTP/1.1 302 Found\r\nLocation: http://a b/" + strings.Repeat("x", 1000) + "\r\n\r\n", 0, "invalid address"},
		"no reason":                 {"HTTP/1.1 404\r\n\r\n", 404, ""},
		"a long reason":             {"HTTP/1.1 404 " + strings.Repeat("x", 10000) + "\r\n\r\n", 404, ""},
		"a reason that is no text":  {"HTTP/1.1 404 \xff\x07\x1b[2J\u202e\r\n\r\n", 404, ""},
		"a negative code":           {"HTTP/1.1 -12 No\r\n\r\n", 0, "not speak HTTP"},
		"code 0":                    {"HTTP/1.1 000 No\r\n\r\n", 0, "not speak HTTP"},
		"no HTTP":                   {"220 mail.example ESMTP\r\n", 0, "not speak HTTP"},
		"nothing":                   {"", 0, "EOF"},
		"half a head":               {"HTTP/1.1 404 Not Found\r\nA: b\r\n", 0, "EOF"},
		"a malformed header":        {"HTTP/1.1 404 Not Found\r\n" + strings.Repeat("x", 1000) + "\r\n\r\n", 0, "malformed"},
		"a long line":               {"HTTP/1.1 101 " + strings.Repeat("x", 1<<20), 0, "more than 65536 bytes"},
		"many headers":              {"HTTP/1.1 101 OK\r\n" + strings.Repeat("X: y\r\n", 1<<17), 0, "more than 65536 bytes"},
		"answers without end":       {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1<<14), 0, "more than 65536 bytes"},
		"a header without its line": {": x\r\n\r\n", 0, "not speak HTTP"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := (&Dialer{Most: most}).Dial(within(t), "ws://"+answers(t, c.answer)+"/")
			if conn != nil {
				conn.Close()
			}
			var a *Answer
			switch {
			case err == nil:
				if c.code != 0 || c.fails != "" {
					t.Error("it was taken")
				}
			case errors.As(err, &a):
				if a.Code != c.code {
					t.Errorf("answer %d, want %d", a.Code, c.code)
				}
			case c.fails == "" || !strings.Contains(err.Error(), c.fails):
				t.Errorf("error %v", err)
			}
			fitToShow(t, err)
		})
	}
}

// fitToShow checks that an error repeats only a little of what came from outside.
func fitToShow(t *testing.T, err error) {
	t.Helper()
	if err != nil && (len(err.Error()) > 300 || !utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\x00\x07\x1b\r\n\u202e")) {
		t.Errorf("an error that is not fit to be shown: %d bytes, %.100q", len(err.Error()), err)
	}
}

// The request for each address.
func TestRequest(t *testing.T) {
	for address, want := range map[string]string{
		"ws://im.example":                     "GET / HTTP/1.1\r\nHost: im.example\r\n",
		"WS://im.example:/ws":                 "GET /ws HTTP/1.1\r\nHost: im.example\r\n",
		"ws://im.example:8080/a%2Fb/ws?x=a%3": "GET /a%2Fb/ws?x=a%3 HTTP/1.1\r\nHost: im.example:8080\r\n",
		"ws://[fe80::1%25eth0]:8080/ws":       "GET /ws HTTP/1.1\r\nHost: [fe80::1]:8080\r\n",
		"ws://[fe80::1%25eth0]/ws":            "GET /ws HTTP/1.1\r\nHost: [fe80::1]\r\n",
		"ws://[::1]:/ws":                      "GET /ws HTTP/1.1\r\nHost: [::1]\r\n",
		"ws://u%0d%0aX:p@h/a%0d%0ab?c%0d%0ad": "GET /a%0d%0ab?c%0d%0ad HTTP/1.1\r\nHost: h\r\n",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		a, b := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() { (&Dialer{}).upgrade(a, a, u); a.Close() })
		if got := readRequest(bufio.NewReader(b)); !strings.HasPrefix(got, want) {
			t.Errorf("%s asks %q", address, got)
		}
		b.Close()
		wg.Wait()
	}
}

// The body of a response without length and end is not waited for until the end of the attempt.
func TestBodyWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer a.Close()
		defer b.Close()
		go func() {
			readRequest(bufio.NewReader(b))
			io.WriteString(b, "HTTP/1.1 400 Bad Request\r\n\r\ngo by HTTPS")
		}()
		begun := time.Now()
		_, err := (&Dialer{}).upgrade(a, a, &url.URL{Host: "h"})
		var answer *Answer
		if !errors.As(err, &answer) || string(answer.Body) != "go by HTTPS" || time.Since(begun) != bodyWithin {
			t.Errorf("%v after %v: %v", answer, time.Since(begun), err)
		}
	})
}

// A ping that arrives while a message is being written does not block the reader: what follows it is read, and the pong is sent after the message.
// Only the last of many pings gets a pong.
func TestPingWhileWriting(t *testing.T) {
	ws, server := peer(t)
	wrote := make(chan error, 1)
	go func() { wrote <- ws.Write(make([]byte, 100_000)) }()
	begin := make([]byte, 1) // the server reads this much of the message, and then no more
	if _, err := io.ReadFull(server, begin); err != nil {
		t.Fatal(err)
	}
	go server.Write([]byte{0x89, 1, 'a', 0x89, 1, 'b', 0x82, 1, 'x'})
	if got, err := ws.Read(); err != nil || string(got) != "x" {
		t.Fatalf("read %q, %v", got, err)
	}
	rest := make([]byte, 14+100_000-1+2+4+1)
	if _, err := io.ReadFull(server, rest); err != nil {
		t.Fatal(err)
	}
	pong := rest[len(rest)-7:]
	websocket.Mask(pong[6:], [4]byte(pong[2:6]))
	if pong[0] != 0x8a || pong[1] != 0x81 || pong[6] != 'b' {
		t.Errorf("behind the message comes % x", pong)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// A server that sends a ping, a close frame or an illegal frame, and reads nothing, does not block the reader, whether the connection is silent or a message is
// being written.
func TestServerReadsNothing(t *testing.T) {
	for name, sent := range map[string][]byte{"ping": {0x89, 0}, "close": {0x88, 2, 3, 0xe8}, "text": {0x81, 0}} {
		synctest.Test(t, func(t *testing.T) {
			ws, server := peer(t)
			go server.Write(sent)
			begun := time.Now()
			if _, err := ws.Read(); err == nil || time.Since(begun) > controlWithin {
				t.Errorf("%s: after %v: %v", name, time.Since(begun), err)
			}
		})
		if name == "ping" {
			continue
		}
		ws, server := peer(t)
		wrote := make(chan error, 1)
		go func() { wrote <- ws.Write(make([]byte, 100_000)) }()
		if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		go server.Write(sent)
		if _, err := ws.Read(); err == nil {
			t.Errorf("%s: it was taken", name)
		}
		ws.Close()
		if err := <-wrote; err == nil {
			t.Errorf("%s: the message was written", name)
		}
	}
}

// The code of a close frame is sent back without its text; half a code is a protocol error.
func TestCloseIsEchoed(t *testing.T) {
	for sent, want := range map[string]uint16{"\x88\x05\x0f\xa1bye": 4001, "\x88\x01\x0f": closeProtocol} {
		ws, server := peer(t)
		go io.WriteString(server, sent)
		failed := make(chan error, 1)
		go func() {
			_, err := ws.Read()
			failed <- err
		}()
		head := make([]byte, 8)
		if _, err := io.ReadFull(server, head); err != nil {
			t.Fatal(err)
		}
		websocket.Mask(head[6:], [4]byte(head[2:6]))
		if got := uint16(head[6])<<8 | uint16(head[7]); head[1] != 0x82 || got != want {
			t.Errorf("%q is answered with %d bytes and code %d", sent, head[1]&0x7f, got)
		}
		var closed *Closed
		if err := <-failed; errors.As(err, &closed) != (want == 4001) {
			t.Errorf("%q: %v", sent, err)
		}
	}
}

// relay connects clients to a server. It forwards a limited number of bytes to the client, in writes of one byte or as they arrive, and cuts the
// connection.
func relay(t *testing.T, to string, left int, single bool) (addr string, passed func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	n := 0
	wg.Go(func() {
		down, err := l.Accept()
		if err != nil {
			return
		}
		defer down.Close()
		up, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		wg.Go(func() { io.Copy(up, down); up.Close() })
		defer up.Close()
		b := make([]byte, 4096)
		for n < left {
			most := min(len(b), left-n)
			if single {
				most = 1
			}
			k, err := up.Read(b[:most])
			down.Write(b[:k])
			if n += k; err != nil {
				return
			}
		}
	})
	done := func() { l.Close(); wg.Wait() }
	t.Cleanup(done)
	return l.Addr().String(), func() int { done(); return n }
}

// proxyFor is an HTTP or a SOCKS5 proxy that connects everyone to one server.
func proxyFor(t *testing.T, scheme, to string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer down.Close()
				r := bufio.NewReader(down)
				if scheme == "http" {
					readRequest(r)
					io.WriteString(down, "HTTP/1.1 200 OK\r\nVia: x\r\n\r\n")
				} else {
					io.ReadFull(r, make([]byte, 3))
					io.WriteString(down, "\x05\x00")
					io.ReadFull(r, make([]byte, 4+1+len("im.example")+2))
					io.WriteString(down, "\x05\x00\x00\x03\x04addr\x01\x02")
				}
				up, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				wg.Go(func() { io.Copy(up, r); up.Close() })
				io.Copy(down, up)
				up.Close()
			})
		}
	})
	return l.Addr().String()
}

// A connection that is cut at any byte of the handshakes of proxy, TLS and WebSocket, or of the first message, is an error; what comes byte by byte is not.
func TestCuts(t *testing.T) {
	for _, way := range []string{"ws", "wss", "http", "socks5"} {
		t.Run(way, func(t *testing.T) {
			srv := echo(t, way == "wss")
			at := srv.Listener.Addr().String()
			if way == "http" || way == "socks5" {
				at = proxyFor(t, way, at)
			}
			try := func(left int, single bool) (int, error) {
				addr, passed := relay(t, at, left, single)
				d := &Dialer{Subprotocol: "p1", Most: most}
				address := "ws://im.example"
				switch way {
				case "wss":
					d.TLS = srv.Client().Transport.(*http.Transport).TLSClientConfig
					address = "wss://" + addr
				case "ws":
					address = "ws://" + addr
				default:
					d.Proxy = &url.URL{Scheme: way, Host: addr}
				}
				err := func() error {
					c, err := d.Dial(within(t), address)
					if err != nil {
						return err
					}
					defer c.Close()
					if err := c.Write([]byte("hello")); err != nil {
						return err
					}
					got, err := c.Read()
					if err == nil && string(got) != "hello" {
						t.Errorf("cut after %d bytes, %q was read", left, got)
					}
					return err
				}()
				if left == math.MaxInt {
					return passed(), err
				}
				return 0, err
			}
			total, err := try(math.MaxInt, true)
			if err != nil {
				t.Fatalf("byte by byte: %v", err)
			}
			step, sure := 1, total-4 // a ping may come before the message's end, or not
			if way == "wss" {
				step, sure = 37, 500 // its sizes vary
			}
			for n := 0; n < total; n += step {
				if _, err := try(n, false); err == nil && n < sure {
					t.Errorf("cut after %d of %d bytes, it came to an end", n, total)
				}
			}
		})
	}
}

// A proxy that responds without end, a byte from time to time, is abandoned when the context ends; and so is a server.
func TestDripping(t *testing.T) {
	for _, scheme := range []string{"ws", "http", "socks5"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			begin := "HTTP/1.1 100 Continue\r\n"
			if scheme == "socks5" {
				begin = "\x05\x00\x05\x00\x00\x03\xff"
			}
			io.WriteString(conn, begin)
			for i := range 100 {
				if i == 50 {
					cancel()
				}
				if _, err := io.WriteString(conn, "x"); err != nil {
					break
				}
			}
			io.Copy(io.Discard, conn) // until the client disconnects
		})
		d := &Dialer{Most: most}
		address := "ws://" + l.Addr().String()
		if scheme != "ws" {
			d.Proxy = &url.URL{Scheme: scheme, Host: l.Addr().String()}
			address = "ws://im.example"
		}
		if _, err := d.Dial(ctx, address); err == nil {
			t.Errorf("%s: it came to an end", scheme)
		}
		cancel()
		l.Close()
		wg.Wait()
	}
}

// replies is a connection whose whole input arrives after the first write.
type replies struct {
	fixed
	text string
}

func (c *replies) Write(b []byte) (int, error) {
	if c.in == nil {
		c.in = bytes.NewReader([]byte(answerTo(string(b), c.text)))
	}
	return c.fixed.Write(b)
}

// FuzzHandshake: whatever a server or a proxy responds, the handshake ends, and its error can be shown; what follows a good response is read as
// messages.
func FuzzHandshake(f *testing.F) {
	f.Add(byte(0), upgraded+"\x82\x01a\x89\x00")
	f.Add(byte(0), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHTTPS\r\n0\r\n\r\n")
	f.Add(byte(0), "HTTP/1.1 302 Found\r\nLocation: //[fe80::1%25x]:1/\r\n\r\n")
	f.Add(byte(1), "HTTP/1.1 200 OK\r\n\r\n")
	f.Add(byte(2), "\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
	f.Add(byte(3), "\x05\x02\x01\x00\x05\x00\x00\x03\x01x\x00\x00")
	u := &url.URL{Scheme: "ws", Host: "im.example"}
	f.Fuzz(func(t *testing.T, way byte, text string) {
		c := &replies{text: text}
		var err error
		switch way % 4 {
		case 0:
			var ws *Conn
			if ws, err = (&Dialer{Most: 1000}).upgrade(c, c, u); err == nil {
				for b := []byte(nil); err == nil; b, err = ws.Read() {
					if len(b) > 1000 {
						t.Fatalf("a message of %d bytes", len(b))
					}
				}
				break
			}
			var a *Answer
			if errors.As(err, &a) {
				if len(a.Body) > maxHeaders {
					t.Errorf("a body of %d bytes", len(a.Body))
				}
				if a.redirects() {
					var to *url.URL
					if to, err = follow(u, a.Header.Get("Location")); err == nil && (to.Hostname() == "" || to.Scheme != "ws" && to.Scheme != "wss") {
						t.Errorf("sent to %q", to)
					}
				}
			}
		case 1:
			if err = tunnel(c, nil, "im.example:80"); err == nil && c.in.Len() > 0 && len(text) < 4096 {
				t.Errorf("%d bytes behind the answer were left out", c.in.Len())
			}
		default:
			var user *url.Userinfo
			if way%4 == 3 {
				user = url.UserPassword("u", "p")
			}
			err = socks5(c, user, fmt.Sprint("im", way, ".example"), "80")
		}
		fitToShow(t, err)
	})
}
