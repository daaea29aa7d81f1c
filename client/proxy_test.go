package client_test

import (
	"io"
	"log/slog"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/internal/testing/faultproxy"
)

// newProxy relays to the server at url (ws://host:port) and returns the url of the relay.
func newProxy(t testing.TB, url string) (*faultproxy.Proxy, string) {
	p := faultproxy.Start(t, url)
	return p, p.URL
}

// quiet is a log that is shown with a test that fails. A client that is closed may still run callbacks on its dispatcher: what is logged after the
// test is dropped.
func quiet(t testing.TB) *slog.Logger {
	w := &testLog{to: t.Output()}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.to = io.Discard
	})
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testLog struct {
	mu sync.Mutex
	to io.Writer
}

func (w *testLog) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}
