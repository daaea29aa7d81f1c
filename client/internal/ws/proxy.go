package ws

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// connect makes a connection to a host, through the proxy if there is one. A proxy gets the name and resolves it.
func (d *Dialer) connect(ctx context.Context, host, port string) (net.Conn, error) {
	var dialer net.Dialer
	if d.Proxy == nil {
		return dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	}
	proxyPort := d.Proxy.Port()
	if proxyPort == "" {
		proxyPort = "1080"
	}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(d.Proxy.Hostname(), proxyPort))
	if err != nil {
		return nil, err
	}
	release := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	host, _, _ = strings.Cut(host, "%") // a zone only matters on this machine
	if d.Proxy.Scheme == "socks5" {
		err = socks5(conn, d.Proxy.User, host, port)
	} else {
		err = tunnel(conn, d.Proxy.User, net.JoinHostPort(host, port))
	}
	if !release() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		switch err {
		case io.EOF, io.ErrUnexpectedEOF:
			err = errors.New("client: the proxy ended the connection")
		case ErrTLS:
			err = errors.New("client: the proxy answered in TLS")
		}
		return nil, err
	}
	return conn, nil
}

// tunnel asks an HTTP proxy for a tunnel.
func tunnel(conn net.Conn, user *url.Userinfo, addr string) error {
	head := fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: tidings\r\n", addr, addr)
	if user != nil {
		head += "Proxy-Authorization: " + basic(user) + "\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		return err
	}
	limited := &io.LimitedReader{R: conn, N: maxHeaders}
	r := bufio.NewReader(limited)
	a, err := readAnswer(r, limited)
	switch {
	case err != nil:
		return err
	case a.Code != 200:
		return fmt.Errorf("client: the proxy answered %s", a.Status)
	case r.Buffered() > 0: // before the server was asked anything
		return errors.New("client: the proxy sent more than its answer")
	}
	return nil
}

// The parts of SOCKS5 (RFC 1928) and its passwords (RFC 1929).
const (
	socksVersion    = 5
	socksOpen       = 0 // no password
	socksPassword   = 2
	socksConnect    = 1
	socksIPv4       = 1
	socksName       = 3
	socksIPv6       = 4
	passwordVersion = 1
)

// socks5 asks a SOCKS5 proxy for a connection.
func socks5(conn net.Conn, user *url.Userinfo, host, port string) error {
	methods := []byte{socksOpen}
	if user != nil {
		methods = append(methods, socksPassword)
	}
	answer, err := asks(conn, append([]byte{socksVersion, byte(len(methods))}, methods...), 2)
	if err != nil {
		return err
	}
	switch {
	case answer[0] != socksVersion:
		return errors.New("client: the proxy speaks no SOCKS5")
	case answer[1] == socksPassword && user != nil:
		name := user.Username()
		password, _ := user.Password()
		if name == "" || len(name) > 255 || len(password) > 255 {
			return errors.New("client: a proxy takes no such name or password")
		}
		b := append([]byte{passwordVersion, byte(len(name))}, name...)
		b = append(append(b, byte(len(password))), password...)
		if answer, err = asks(conn, b, 2); err != nil {
			return err
		}
		if answer[1] != 0 {
			return errors.New("client: the proxy takes neither this name nor this password")
		}
	case answer[1] != socksOpen:
		return errors.New("client: the proxy wants a password, or more")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	b := []byte{socksVersion, socksConnect, 0}
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap().WithZone("")
		b = append(b, socksIPv6)
		if ip.Is4() {
			b[3] = socksIPv4
		}
		b = append(b, ip.AsSlice()...)
	} else {
		if len(host) > 255 {
			return errors.New("client: a proxy takes no such long name")
		}
		b = append(append(b, socksName, byte(len(host))), host...)
	}
	if answer, err = asks(conn, append(b, byte(n>>8), byte(n)), 4); err != nil {
		return err
	}
	if answer[0] != socksVersion {
		return errors.New("client: the proxy speaks no SOCKS5")
	}
	if answer[1] != 0 {
		return fmt.Errorf("client: the proxy does not connect: %s", socksRefusal(answer[1]))
	}
	// The address that it used: not needed, but it precedes what follows.
	rest := 0
	switch answer[3] {
	case socksIPv4:
		rest = 4
	case socksIPv6:
		rest = 16
	case socksName:
		size, err := asks(conn, nil, 1)
		if err != nil {
			return err
		}
		rest = int(size[0])
	default:
		return errors.New("client: the proxy responds without an address")
	}
	_, err = asks(conn, nil, rest+2)
	return err
}

// asks writes b and reads n bytes, and none beyond.
func asks(conn net.Conn, b []byte, n int) ([]byte, error) {
	if len(b) > 0 {
		if _, err := conn.Write(b); err != nil {
			return nil, err
		}
	}
	answer := make([]byte, n)
	_, err := io.ReadFull(conn, answer)
	return answer, err
}

func socksRefusal(code byte) string {
	reasons := []string{"", "it failed", "its rules do not allow it", "network unreachable", "host unreachable", "connection refused", "TTL expired", "command not supported", "address type not supported"}
	if int(code) < len(reasons) {
		return reasons[code]
	}
	return fmt.Sprint("code ", code)
}
