// Package ws is the client's side of WebSocket (RFC 6455) and of plain requests of HTTP/1.1, directly on TCP and TLS and through proxies: what a device
// needs to reach its server, without net/http.
package ws

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tidings-im/tidings/internal/websocket"
)

// maxHeaders limits the response of a server or a proxy before the connection is established, maxRedirects how often it may redirect.
const (
	maxHeaders   = 64 << 10
	maxRedirects = 10
)

// Dialer describes how to connect.
type Dialer struct {
	TLS         *tls.Config // for wss and https; may be nil
	Proxy       *url.URL    // socks5 or http; nil: none
	Subprotocol string      // to offer
	Most        int         // limit of a message that is read, in bytes
}

// Answer is an HTTP response that is not an upgrade. It is an error.
type Answer struct {
	Code   int    // such as 404
	Status string // such as 404 Not Found; limited in length and printable
	Header textproto.MIMEHeader
	Body   []byte // at most 64 KiB; only for Code 400

	last bool // no other response comes on the connection
}

func (a *Answer) Error() string { return "client: the server answered " + a.Status }

// ErrTLS means that a server that uses TLS was reached without it.
var ErrTLS = errors.New("client: the server answered in TLS")

// Dial connects to a ws or wss address. The context is only for that: the connection does not end with it.
func (d *Dialer) Dial(ctx context.Context, address string) (*Conn, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	for range maxRedirects {
		c, err := d.once(ctx, u)
		var a *Answer
		if !errors.As(err, &a) || !a.redirects() {
			return c, err
		}
		if u, err = follow(u, a.Header.Get("Location")); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("client: the server sent elsewhere %d times", maxRedirects)
}

func (a *Answer) redirects() bool {
	switch a.Code {
	case 301, 302, 303, 307, 308:
		return a.Header.Get("Location") != ""
	}
	return false
}

// follow returns the address that a server at u redirects to. A redirect from TLS to clear text is refused.
func follow(u *url.URL, location string) (*url.URL, error) {
	to, err := u.Parse(location)
	if err != nil {
		return nil, errors.New("client: the server redirects to an invalid address")
	}
	to.Scheme = map[string]string{"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}[to.Scheme]
	switch {
	case to.Scheme == "" || to.Hostname() == "" || strings.ContainsFunc(to.Host, func(r rune) bool { return r > '~' }):
		return nil, errors.New("client: the server redirects to something that is not a web address")
	case u.Scheme == "wss" && to.Scheme == "ws":
		return nil, errors.New("client: the server redirects from wss to ws")
	}
	return to, nil
}

// open makes a connection to the host of an address. conn is what is used, tcp what is under its TLS, or the same.
func (d *Dialer) open(ctx context.Context, u *url.URL) (tcp, conn net.Conn, err error) {
	secure := u.Scheme == "wss" || u.Scheme == "https"
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "80", true: "443"}[secure]
	}
	tcp, err = d.connect(ctx, u.Hostname(), port)
	if err != nil || !secure {
		return tcp, tcp, err
	}
	cfg := d.TLS.Clone()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = strings.Cut(u.Hostname(), "%")
	}
	cfg.NextProtos = nil // a server without a negotiated protocol speaks HTTP/1.1
	t := tls.Client(tcp, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		tcp.Close()
		return nil, nil, err
	}
	return tcp, t, nil
}

// once asks one server for an upgrade.
func (d *Dialer) once(ctx context.Context, u *url.URL) (c *Conn, err error) {
	tcp, conn, err := d.open(ctx, u)
	if err != nil {
		return nil, err
	}
	defer func() {
		if c == nil {
			tcp.Close()
		}
	}()
	release := context.AfterFunc(ctx, func() { tcp.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !release() && err == nil {
			c, err = nil, ctx.Err()
		}
	}()
	return d.upgrade(tcp, conn, u)
}

// upgrade upgrades a connection to a WebSocket.
func (d *Dialer) upgrade(tcp, conn net.Conn, u *url.URL) (*Conn, error) {
	var nonce [16]byte
	rand.Read(nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: tidings\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n",
		u.RequestURI(), hostOf(u), key)
	fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", d.Subprotocol)
	if u.User != nil {
		fmt.Fprintf(&b, "Authorization: %s\r\n", basic(u.User))
	}
	b.WriteString("\r\n")
	if _, err := conn.Write(b.Bytes()); err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: conn, N: maxHeaders}
	r := bufio.NewReader(limited)
	a, err := readAnswer(r, limited)
	if err != nil {
		return nil, err
	}
	if a.Code != 101 {
		if a.Code == 400 {
			defer time.AfterFunc(bodyWithin, func() { tcp.SetReadDeadline(time.Unix(1, 0)) }).Stop()
			a.Body = readBody(r, a.Header)
		}
		return nil, a
	}
	switch {
	case !websocket.Names(a.Header["Upgrade"], "websocket"), !websocket.Names(a.Header["Connection"], "upgrade"),
		a.Header.Get("Sec-WebSocket-Accept") != websocket.Accept(key):
		a.Status += ", but to no WebSocket"
		return nil, a
	case a.Header.Get("Sec-WebSocket-Extensions") != "":
		a.Status += ", with an extension that was not offered"
		return nil, a
	}
	limited.N = 1<<63 - 1
	c := newConn(tcp, conn, r, d.Most)
	c.Subprotocol = a.Header.Get("Sec-WebSocket-Protocol")
	return c, nil
}

// hostOf returns the host as the request names it: without the zone of an address, which only matters on this machine, and without a colon that no port follows.
func hostOf(u *url.URL) string {
	host := strings.TrimSuffix(u.Host, ":")
	zone := strings.IndexByte(host, '%')
	end := strings.LastIndexByte(host, ']')
	if zone < 0 || end < zone {
		return host
	}
	return host[:zone] + host[end:]
}

func basic(u *url.Userinfo) string {
	password, _ := u.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password))
}

// readAnswer reads the head of an HTTP response; interim ones are skipped. r reads from limited, which limits their total size.
func readAnswer(r *bufio.Reader, limited *io.LimitedReader) (_ *Answer, err error) {
	defer func() {
		switch {
		case err != nil && limited.N <= 0:
			err = fmt.Errorf("client: the head of the answer has more than %d bytes", maxHeaders)
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
		}
	}()
	for {
		if b, _ := r.Peek(2); string(b) == "\x15\x03" { // an alert of TLS
			return nil, ErrTLS
		}
		t := textproto.NewReader(r)
		line, err := t.ReadLine()
		if err != nil {
			return nil, err
		}
		version, status, _ := strings.Cut(line, " ")
		digits, _, _ := strings.Cut(strings.TrimLeft(status, " "), " ")
		code, err := strconv.Atoi(digits)
		if err != nil || len(digits) != 3 || code < 100 || !strings.HasPrefix(version, "HTTP/1.") {
			return nil, errors.New("client: the server does not speak HTTP")
		}
		header, err := t.ReadMIMEHeader()
		if errors.As(err, new(textproto.ProtocolError)) {
			return nil, errors.New("client: the head of the answer is malformed")
		} else if err != nil {
			return nil, err
		}
		if code >= 200 || code == 101 {
			last := version == "HTTP/1.0" || websocket.Names(header["Connection"], "close")
			return &Answer{Code: code, Status: shown(status), Header: header, last: last}, nil
		}
	}
}

// shown returns the part of an external text that errors repeat: its start, without control characters.
func shown(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), 100)], "")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// bodyWithin limits the wait for a body.
const bodyWithin = 3 * time.Second

// readBody reads what it gets of a body, whose end it recognizes in the usual cases; the connection is closed after it.
func readBody(r *bufio.Reader, header textproto.MIMEHeader) []byte {
	most := maxHeaders
	if n, err := strconv.Atoi(header.Get("Content-Length")); err == nil && n >= 0 {
		most = min(most, n)
	}
	var b []byte
	for len(b) < most && !bytes.HasSuffix(b, []byte("\r\n0\r\n\r\n")) {
		c, err := r.ReadByte()
		if err != nil {
			break
		}
		b = append(b, c)
	}
	return b
}
