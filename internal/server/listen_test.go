package server

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// TestSlowHeaders: a client that connects and does not send its request in time, or never ends it, is disconnected, with TLS and without.
func TestSlowHeaders(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	cert, key := ca.issue()
	write(t, dir+"/cert", cert)
	write(t, dir+"/key", key)
	for _, tls := range []bool{false, true} {
		cfg := Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
		cfg.Gateway.LoginWithin = 100 * time.Millisecond
		if tls {
			cfg.TLSCert, cfg.TLSKey = dir+"/cert", dir+"/key"
		}
		s, err := Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, said := range []string{"", "G", "GET /ws HTTP/1.1\r\nHost: x\r\nX-Slow: ", "GET /ws HTTP/1.1\r\nX: " + strings.Repeat("y", 100<<10)} {
			c, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(c, said)
			if _, err := io.Copy(io.Discard, c); err != nil {
				if e, ok := err.(net.Error); ok && e.Timeout() {
					t.Errorf("TLS %v: after %.30q the connection stays", tls, said)
				}
			}
			c.Close()
		}
		stop(t, s)
	}
}

// TestConnectionsAreCounted: an address that opens more than its connections, and sends nothing on them, is turned away by the listener itself;
// connections that it closes may be used again. A client of the SDK gets the code while its address is above the limit, and is let in when it is not.
func TestConnectionsAreCounted(t *testing.T) {
	cfg := Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	cfg.Gateway.PerAddress = 2
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	alice := dial(t, s, "alice", client.Events{})
	defer alice.Close()
	bob := dial(t, s, "bob", client.Events{})
	sig, err := s.Sig("carol", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan int32, 100)
	third := client.Config{Server: s.URL(), UserID: "carol", UserSig: sig, Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	third.Limits.Reconnect = 50 * time.Millisecond
	carol, err := client.Open(third, client.Events{Network: func(st client.NetworkStatus, code int32, _ string) {
		if st == client.NetworkConnectFailed {
			refused <- code
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer carol.Close()
	in := make(chan error, 1)
	carol.LoginFunc(func(err error) { in <- err })
	if code := <-refused; code != im.CodeConnectionLimit {
		t.Errorf("the third connection was refused with %d", code)
	}
	bob.Close()
	if err := <-in; err != nil {
		t.Error("after a place was free:", err)
	}

	var idle []net.Conn
	cut := false
	for range 2 + spareConns + 20 {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
	}
	// Those above the limit are closed without a response, those within it wait for their request.
	for i := len(idle) - 1; i >= 0 && !cut; i-- {
		idle[i].SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err := idle[i].Read(make([]byte, 1))
		cut = err == io.EOF || err != nil && strings.Contains(err.Error(), "reset")
	}
	if !cut {
		t.Error("none was cut")
	}
	for _, c := range idle {
		c.Close()
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET /healthz HTTP/1.0\r\n\r\n")
		b, _ := io.ReadAll(c)
		c.Close()
		if strings.Contains(string(b), "200 OK") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("places are not given back")
		}
	}
}

func TestNetworks(t *testing.T) {
	got, err := networks(" 10.0.0.0/8, ::1 ,192.0.2.1, ::ffff:192.0.2.2")
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Error(got, err)
	}
	for _, bad := range []string{",", "::1,", "::1,,::2", "nowhere", "10.1.2.3/8"} {
		if got, err := networks(bad); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}
