package link

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/tidings-im/tidings/im"
)

func TestAddresses(t *testing.T) {
	for server, want := range map[string]string{
		"ws://h":                    "ws://h/ws",
		"WSS://h:/":                 "wss://h:/ws",
		"ws://u:p@[fe80::1%25e]:1/": "ws://u:p@[fe80::1%25e]:1/ws",
		"ws://h/a/b/?token=x%2F":    "ws://h/a/b/ws?token=x%2F",
		"ws://h/a%2Fb":              "ws://h/a%2Fb/ws",
		"ws://h/a%2F":               "ws://h/a%2F/ws",
		"ws://h/a b":                "ws://h/a%20b/ws",
		"ws://b\u00fccher.example":  "",
		"ws://b%C3%BCcher.example":  "",
		"ws:///ws":                  "",
		"ws:h":                      "",
	} {
		if got, err := wsURL(server); got != want || (err == nil) != (want != "") {
			t.Errorf("%s becomes %q (%v)", server, got, err)
		}
	}
	for proxy, ok := range map[string]bool{
		"": true, "socks5://h": true, "SOCKS5://u:p@[::1]:1": true, "http://h:1/": true, "http://h": false, "https://h:1": false, "socks5h://h": false,
		"socks5://b\u00fccher.example": false, "http://b%C3%BCcher.example:1": false,
	} {
		if _, err := proxyURL(proxy); (err == nil) != ok {
			t.Errorf("the proxy %s: %v", proxy, err)
		}
	}
}

// A connection on which the client fails inside, before it was taken over, is closed.
func TestPanicInLogin(t *testing.T) {
	ended := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{im.Subprotocol}})
		if err != nil {
			ended <- err
			return
		}
		defer c.CloseNow()
		_, _, err = c.Read(r.Context())
		ended <- err
	}))
	defer srv.Close()
	l, err := New(Config{Server: "ws" + strings.TrimPrefix(srv.URL, "http"), Log: slog.New(slog.DiscardHandler), Try: time.Minute, Pause: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l.Run(ctx, &Host{
		Connecting: func() {},
		Open:       func() {},
		Login:      func(bool) *im.LoginRequest { panic("a mistake") },
		Failed: func(*im.Error) {
			select {
			case err := <-ended:
				if err == nil {
					t.Error("the server got a login")
				}
			case <-time.After(time.Minute):
				t.Error("the connection stays open")
			}
			cancel()
		},
		Waiting: func(int, time.Duration) {},
	})
}

// A run ends soon after its context, in whichever phase: nobody waits for a server or a proxy.
func TestRunEnds(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	waits := make(chan bool, 10)
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				conn.Read(make([]byte, 1)) // the client has begun
				waits <- true
				io.Copy(io.Discard, conn)
			}()
		}
	}()
	mute := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{im.Subprotocol}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.Read(r.Context()) // the login
		waits <- true
		c.Read(r.Context())
	}))
	defer mute.Close()
	addr := silent.Addr().String()
	for name, cfg := range map[string]Config{
		"the TLS handshake": {Server: "wss://" + addr},
		"the upgrade":       {Server: "ws://" + addr},
		"SOCKS5":            {Server: "ws://im.example", Proxy: "socks5://" + addr},
		"CONNECT":           {Server: "wss://im.example", Proxy: "http://" + addr},
		"the login":         {Server: "ws" + strings.TrimPrefix(mute.URL, "http")},
	} {
		cfg.Log, cfg.Try, cfg.Pause = slog.New(slog.DiscardHandler), time.Hour, time.Hour
		l, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan bool)
		go func() {
			l.Run(ctx, &Host{Connecting: func() {}, Open: func() {}, Login: func(bool) *im.LoginRequest { return &im.LoginRequest{} },
				Failed: func(err *im.Error) { t.Errorf("%s: %v", name, err) }})
			close(over)
		}()
		<-waits
		cancel()
		select {
		case <-over:
		case <-time.After(time.Minute):
			t.Fatalf("%s is waited for", name)
		}
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
