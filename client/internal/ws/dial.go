// Package ws is the client's side of WebSocket (RFC 6455), directly on TCP and TLS and through proxies: what a device needs to reach its server,
// without net/http.
package ws

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
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
)

// maxHeaders limits the response of a server or a proxy before the connection is established, maxRedirects how often it may redirect.
const (
	maxHeaders   = 64 << 10
	maxRedirects = 10
)

// Dialer describes how to connect.
type Dialer struct {
	TLS         *tls.Config // for wss; may be nil
	Proxy       *url.URL    // socks5 or http; nil: none
	Subprotocol string      // to offer
	Most        int         // limit of a message that is read, in bytes
}

// Answer is an HTTP response that is not an upgrade. It is an error.
type Answer struct {
	Code   int    // such as 404
	Status string // such as 404 Not Found
	Header textproto.MIMEHeader
	Body   []byte // at most 64 KiB; only for Code 400
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
		if !errors.As(err, &a) || a.Code < 301 || a.Code > 308 || a.Header.Get("Location") == "" {
			return c, err
		}
		to, err := u.Parse(a.Header.Get("Location"))
		if err != nil {
			return nil, fmt.Errorf("client: the server sends to no address: %w", err)
		}
		if to.Scheme = map[string]string{"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}[to.Scheme]; to.Scheme == "" {
			return nil, errors.New("client: the server sends to what is no web address")
		}
		u = to
	}
	return nil, fmt.Errorf("client: the server sent elsewhere %d times", maxRedirects)
}

// once asks one server for an upgrade.
func (d *Dialer) once(ctx context.Context, u *url.URL) (_ *Conn, err error) {
	secure := u.Scheme == "wss"
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "80", true: "443"}[secure]
	}
	tcp, err := d.connect(ctx, u.Hostname(), port)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			tcp.Close()
		}
	}()
	release := context.AfterFunc(ctx, func() { tcp.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !release() && err == nil {
			err = ctx.Err()
		}
	}()
	conn := tcp
	if secure {
		cfg := d.TLS.Clone()
		if cfg == nil {
			cfg = &tls.Config{}
		}
		if cfg.ServerName == "" {
			cfg.ServerName, _, _ = strings.Cut(u.Hostname(), "%")
		}
		cfg.NextProtos = []string{"http/1.1"}
		t := tls.Client(tcp, cfg)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = t
	}
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
	a, err := readAnswer(r)
	if err != nil {
		return nil, err
	}
	if a.Code != 101 {
		if a.Code == 400 {
			a.Body = readBody(r, a.Header)
		}
		return nil, a
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	switch {
	case !strings.EqualFold(a.Header.Get("Upgrade"), "websocket"), !strings.Contains(strings.ToLower(strings.Join(a.Header["Connection"], ",")), "upgrade"),
		a.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]):
		return nil, errors.New("client: what answers is no WebSocket")
	case a.Header.Get("Sec-WebSocket-Extensions") != "":
		return nil, errors.New("client: the server wants an extension that was not offered")
	}
	limited.N = 1<<63 - 1
	c := newConn(tcp, conn, r, d.Most)
	c.Subprotocol = a.Header.Get("Sec-WebSocket-Protocol")
	return c, nil
}

// hostOf returns the host as the request names it: without the zone of an address, which only matters on this machine.
func hostOf(u *url.URL) string {
	zone := strings.IndexByte(u.Host, '%')
	end := strings.LastIndexByte(u.Host, ']')
	if zone < 0 || end < zone {
		return u.Host
	}
	return u.Host[:zone] + u.Host[end:]
}

func basic(u *url.Userinfo) string {
	password, _ := u.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password))
}

// readAnswer reads the head of an HTTP response; interim ones are skipped.
func readAnswer(r *bufio.Reader) (*Answer, error) {
	for range maxRedirects {
		if b, _ := r.Peek(2); string(b) == "\x15\x03" { // an alert of TLS
			return nil, ErrTLS
		}
		t := textproto.NewReader(r)
		line, err := t.ReadLine()
		if err != nil {
			return nil, headError(err)
		}
		version, status, _ := strings.Cut(line, " ")
		digits, _, _ := strings.Cut(strings.TrimLeft(status, " "), " ")
		code, err := strconv.Atoi(digits)
		if err != nil || len(digits) != 3 || !strings.HasPrefix(version, "HTTP/1.") {
			return nil, errors.New("client: what answers speaks no HTTP")
		}
		header, err := t.ReadMIMEHeader()
		if err != nil {
			return nil, headError(err)
		}
		if code >= 200 || code == 101 {
			return &Answer{Code: code, Status: status, Header: header}, nil
		}
	}
	return nil, errors.New("client: the server does not come to an answer")
}

// headError reports a head that does not end.
func headError(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

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
