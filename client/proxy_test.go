package client_test

import (
	"log/slog"
	"testing"

	"github.com/tidings-im/tidings/internal/testing/faultproxy"
)

// newProxy relays to the server at url (ws://host:port) and answers the url of the relay.
func newProxy(t testing.TB, url string) (*faultproxy.Proxy, string) {
	p := faultproxy.Start(t, url)
	return p, p.URL
}

// quiet is a logger that writes to the test's log.
func quiet(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
