package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// authority signs certificates for 127.0.0.1.
type authority struct {
	t      *testing.T
	key    *ecdsa.PrivateKey
	cert   *x509.Certificate
	serial int64
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, serial: 1}
	a.key = a.newKey()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &a.key.PublicKey, a.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return k
}

func (a *authority) roots() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool}
}

// issue makes a certificate and its key, PEM.
func (a *authority) issue() (cert, key []byte) {
	a.serial++
	k := a.newKey()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(a.serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &k.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	pk, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pk})
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTLS: the SDK logs in and sends over wss, its roots decide whom it trusts, TLS 1.1 is refused, and a renewed certificate is used without a
// restart.
func TestTLS(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	cert, key := ca.issue()
	write(t, certFile, cert)
	write(t, keyFile, key)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := Start(t.Context(), Config{Listen: "127.0.0.1:0", Data: t.TempDir(), TLSCert: certFile, TLSKey: keyFile, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	if !strings.HasPrefix(s.URL(), "wss://") {
		t.Fatal(s.URL())
	}
	sig, err := s.Sig("alice", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cfg := client.Config{Server: s.URL(), UserID: "alice", UserSig: sig, Dir: t.TempDir(), TLS: ca.roots(), Log: log}
	c, err := client.Dial(t.Context(), cfg, client.Events{})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := c.SendMessage(t.Context(), client.C2C("alice"), im.Text("secret")); err != nil || m.Seq != 1 {
		t.Error(m, err)
	}
	c.Close()
	cfg.TLS, cfg.Dir, cfg.Limits.Login = nil, t.TempDir(), time.Second
	if c, err := client.Dial(t.Context(), cfg, client.Events{}); err == nil {
		c.Close()
		t.Error("a certificate of an unknown authority was trusted")
	}
	old := ca.roots()
	old.MaxVersion = tls.VersionTLS11
	if conn, err := tls.Dial("tcp", s.Addr(), old); err == nil {
		conn.Close()
		t.Error("TLS 1.1 was accepted")
	}

	serial := func() int64 {
		t.Helper()
		conn, err := tls.Dial("tcp", s.Addr(), ca.roots())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	first := serial()
	s.cert.mu.Lock()
	s.cert.every = 0 // check at every handshake
	s.cert.mu.Unlock()
	cert, key = ca.issue()
	write(t, certFile, cert) // and not yet the key: the old pair stays
	if n := serial(); n != first {
		t.Errorf("serial %d with half of the new pair, want %d", n, first)
	}
	write(t, keyFile, key)
	if n := serial(); n != first+1 {
		t.Errorf("serial %d after the renewal, want %d", n, first+1)
	}
	s.cert.mu.Lock()
	s.cert.every = time.Hour
	s.cert.mu.Unlock()
	cert, key = ca.issue()
	write(t, certFile, cert)
	write(t, keyFile, key)
	if err := s.Reload(certFile, keyFile); err != nil || serial() != first+2 {
		t.Error("after Reload:", err)
	}
	if err := s.Reload(certFile, certFile); err == nil || serial() != first+2 {
		t.Error("Reload with a certificate for a key:", err)
	}
}

func TestTLSFiles(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	cert, key := ca.issue()
	_, other := ca.issue()
	for name, b := range map[string][]byte{"cert": cert, "key": key, "other": other, "empty": nil} {
		write(t, filepath.Join(dir, name), b)
	}
	for _, c := range []struct{ cert, key, want string }{
		{"cert", "", "both, or none"}, {"", "key", "both, or none"},
		{"cert", "missing", "tls-key"}, {"missing", "key", "tls-cert"},
		{"cert", "other", "does not match"}, {"empty", "key", "tls-cert"},
	} {
		set := DefaultSettings()
		set.Listen, set.Data = "127.0.0.1:0", t.TempDir()
		if c.cert != "" {
			set.TLSCert = filepath.Join(dir, c.cert)
		}
		if c.key != "" {
			set.TLSKey = filepath.Join(dir, c.key)
		}
		cfg, err := set.Config(slog.New(slog.DiscardHandler))
		if err == nil {
			var s *Server
			if s, err = Start(t.Context(), cfg); err == nil {
				s.Stop(t.Context())
			}
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s and %s: %v, want %q", c.cert, c.key, err, c.want)
		}
	}
}
