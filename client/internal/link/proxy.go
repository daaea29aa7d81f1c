package link

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidings-im/tidings/im"
)

// maxHeaders bounds what a server or a proxy may answer with before the connection stands.
const maxHeaders = 64 << 10

// httpClient makes the upgrade requests: through the proxy, with the roots, and never through what the environment says.
func httpClient(cfg *Config) (*http.Client, error) {
	t := &http.Transport{TLSClientConfig: cfg.TLS, TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: maxHeaders}
	if cfg.Proxy != "" {
		u, err := url.Parse(cfg.Proxy)
		switch {
		// The address is not repeated: it may have a password in it.
		case err != nil || u.Hostname() == "" || u.Scheme == "http" && u.Port() == "" || u.Scheme != "http" && u.Scheme != "socks5":
			return nil, im.Errorf(im.CodeInvalidParameters, "the proxy is not socks5://host:port or http://host:port")
		case strings.TrimSuffix(u.Path, "/") != "" || strings.ContainsAny(cfg.Proxy, "?#"):
			return nil, im.Errorf(im.CodeInvalidParameters, "the proxy has more than a host and a port")
		case u.Scheme == "socks5":
			t.Proxy = http.ProxyURL(u)
		default:
			t.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) { return dialConnect(ctx, u, addr) }
		}
	}
	return &http.Client{Transport: t}, nil
}

// dialConnect asks an HTTP proxy for a tunnel. net/http does so by itself for wss only: a plain upgrade request would reach the proxy as one for a page.
func dialConnect(ctx context.Context, proxy *url.URL, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", proxy.Host)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if u := proxy.User; u != nil {
		password, _ := u.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		conn.Close()
		return nil, err
	}
	r := bufio.NewReader(io.LimitReader(conn, maxHeaders))
	resp, err := http.ReadResponse(r, req)
	if err == nil && (resp.StatusCode != http.StatusOK || r.Buffered() > 0) {
		err = fmt.Errorf("client: the proxy answered %s", resp.Status)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
