// Package link keeps a device connected to a server: it dials, also through a proxy, logs in, reads and writes frames, and starts over when a
// connection breaks, with growing pauses. It does not know what the frames mean.
package link

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tidings-im/tidings/client/internal/ws"
	"github.com/tidings-im/tidings/im"
)

// Config is the server's address. New checks it.
type Config struct {
	Server string // ws://host:port or wss://host[:port]
	Proxy  string // socks5:// or http://, or none
	TLS    *tls.Config
	Log    *slog.Logger
	// Try is the longest time for one attempt to connect and log in; Pause the longest pause between two.
	Try, Pause time.Duration
}

// Link is the connection to one server, through all of its attempts.
type Link struct {
	cfg   Config
	url   string
	shown string
	dial  *ws.Dialer
}

// New refuses an address that could not be used exactly as it is written.
func New(cfg Config) (*Link, error) {
	url, err := wsURL(cfg.Server)
	if err != nil {
		return nil, err
	}
	proxy, err := proxyURL(cfg.Proxy)
	if err != nil {
		return nil, err
	}
	return &Link{cfg: cfg, url: url, shown: shownServer(cfg.Server), dial: &ws.Dialer{TLS: cfg.TLS, Proxy: proxy, Subprotocol: subprotocol, Most: im.MaxAnswer}}, nil
}

// String returns the server's address in a form that may be shown: without a password or a token.
func (l *Link) String() string { return l.shown }

// Host is what a Run connects. Its functions are called on the goroutine of Run, one at a time, in the order of what happened.
type Host struct {
	// Login returns what the next login sends. resume means that this Run has been logged in before.
	Login func(resume bool) *im.LoginRequest
	// Waiting reports the pause before an attempt other than the first, Connecting the attempt itself, and Open that the server speaks the protocol.
	Waiting    func(try int, pause time.Duration)
	Connecting func()
	Open       func()
	// Failed reports that an attempt failed. Another one follows.
	Failed func(err *im.Error)
	// Refused reports that the server did not accept the login, or the connection.
	Refused func(r *Refused, resume bool)
	// Connected takes a connection over, until Lost. If it does not, Run ends. ctx ends with the connection.
	Connected func(ctx context.Context, c *Conn) bool
	// Arrived passes a WebSocket message. It may wait for room, until ctx ends. An error ends the connection.
	Arrived func(ctx context.Context, c *Conn, data []byte) error
	// Lost reports the end of a connection that was taken over.
	Lost func(c *Conn, err *im.Error)
}

// Run dials, logs in and reads, again and again until ctx ends, the server refuses permanently, or a connection was final.
func (l *Link) Run(ctx context.Context, h *Host) {
	resume := false
	for try := 0; ; try++ {
		if try > 0 {
			pause := time.Duration(rand.Int64N(int64(backoff(try, l.cfg.Pause))) + 1)
			h.Waiting(try, pause)
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
		}
		h.Connecting()
		again, c := l.once(ctx, h, resume)
		if !again || ctx.Err() != nil {
			return
		}
		if c != nil {
			resume = true
			if c.synced.Load() {
				try = 0
			}
		}
	}
}

// backoff returns the upper end of the pause before an attempt: doubling from half a second. The pause is drawn evenly below it (full jitter), so
// that the clients of a server that restarts do not all connect at once.
func backoff(try int, most time.Duration) time.Duration {
	d := 500 * time.Millisecond << min(try-1, 16)
	return min(d, most)
}

// errPanic stands for a panic while handling what a server sent.
var errPanic = &im.Error{Code: im.CodeDisconnected, Desc: "a mistake inside the client"}

// once makes one connection and returns when it has ended: whether to try again, and the connection, if it was taken over. A panic counts as a broken
// connection: input from outside does not end the process of the application.
func (l *Link) once(ctx context.Context, h *Host, resume bool) (again bool, taken *Conn) {
	defer func() {
		if r := recover(); r != nil {
			l.cfg.Log.Error("the connection failed inside the client; reconnecting", "panic", r, "stack", string(debug.Stack()))
			again = true
			if taken != nil {
				h.Lost(taken, errPanic)
			} else {
				h.Failed(errPanic)
			}
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := l.login(ctx, h, resume)
	if err != nil {
		var refused *Refused
		switch {
		case ctx.Err() != nil:
			return false, nil
		case errors.As(err, &refused):
			h.Refused(refused, resume)
			return refused.Retry, nil
		}
		h.Failed(ErrorOf(err))
		return true, nil
	}
	defer c.ws.Close()
	defer context.AfterFunc(ctx, c.ws.Close)()
	c.cancel = cancel
	var writer sync.WaitGroup
	writer.Go(func() { c.write(ctx) })
	defer writer.Wait()
	defer cancel()
	if !h.Connected(ctx, c) {
		return false, nil
	}
	taken = c
	err = c.read(ctx, h.Arrived)
	c.ws.Close()
	h.Lost(c, ErrorOf(err))
	return !c.final.Load(), c
}
