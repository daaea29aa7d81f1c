package ws

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// A redirect from wss to ws is refused before any request is made.
func TestNoRedirectOutOfTLS(t *testing.T) {
	asked := make(chan string, 10)
	clear := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.String() }))
	t.Cleanup(clear.Close)
	srv := httptest.NewTLSServer(http.RedirectHandler(clear.URL, http.StatusFound))
	t.Cleanup(srv.Close)
	d := &Dialer{TLS: srv.Client().Transport.(*http.Transport).TLSClientConfig, Most: most}
	if _, err := d.Dial(within(t), "wss"+strings.TrimPrefix(srv.URL, "https")); err == nil || !strings.Contains(err.Error(), "from wss to ws") {
		t.Errorf("error %v", err)
	}
	if len(asked) > 0 {
		t.Errorf("asked in clear: %s", <-asked)
	}
}

// The TLS handshake offers no application protocol, whatever the configuration names: a server that knows other ones only would refuse it.
func TestNoProtocolIsOffered(t *testing.T) {
	srv := echo(t, true)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: srv.TLS.Certificates, NextProtos: []string{"im"}})
	if err != nil {
		t.Fatal(err)
	}
	go (&http.Server{Handler: srv.Config.Handler, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}).Serve(l)
	t.Cleanup(func() { l.Close() })
	for _, configured := range [][]string{nil, {"h2", "http/1.1"}} {
		cfg := srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		cfg.NextProtos = configured
		conn, err := (&Dialer{TLS: cfg, Most: most, Subprotocol: "p1"}).Dial(within(t), "wss://"+l.Addr().String())
		if err != nil {
			t.Fatalf("configured with %q: %v", configured, err)
		}
		conn.Close()
	}
}

// The TLS handshake asks for the host in the address, and the certificate must be for it, also through a proxy. An IP address is checked too, but is not sent
// as a name.
func TestCertificateNames(t *testing.T) {
	srv := echo(t, true) // its certificate is for example.com, *.example.com, 127.0.0.1 and ::1
	asked := make(chan string, 10)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		asked <- hello.ServerName
		return srv.TLS, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	go (&http.Server{Handler: srv.Config.Handler, ErrorLog: srv.Config.ErrorLog}).Serve(l)
	t.Cleanup(func() { l.Close() })
	proxy := &url.URL{Scheme: "http", Host: proxyFor(t, "http", l.Addr().String())}
	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	for host, c := range map[string]struct {
		asks string
		ok   bool
	}{
		"example.com": {"example.com", true}, "im.example.com:1": {"im.example.com", true}, "im.example": {"im.example", false},
		"127.0.0.1": {"", true}, "[::1]:1": {"", true}, "127.0.0.2": {"", false},
	} {
		conn, err := (&Dialer{TLS: &tls.Config{RootCAs: roots}, Proxy: proxy, Subprotocol: "p1", Most: most}).Dial(within(t), "wss://"+host)
		if conn != nil {
			conn.Close()
		}
		var wrong x509.HostnameError
		if (err == nil) != c.ok || err != nil && !errors.As(err, &wrong) {
			t.Errorf("%s: %v", host, err)
		}
		if name := <-asked; name != c.asks {
			t.Errorf("%s asks for %q", host, name)
		}
	}
}
