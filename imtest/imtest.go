// Package imtest runs a whole Tidings server inside a test.
//
//	s := imtest.Start(t)
//	alice := s.Dial("alice", client.Events{})
package imtest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/tidings-im/tidings/internal/server"
)

// Server is a server that stops when the test ends.
type Server struct {
	// URL is the address for clients; it stays the same across Restart.
	URL string
	// Dir is the data folder.
	Dir string
	// AppID is the SDKAppID of the server's tickets.
	AppID uint64

	t   testing.TB
	cfg server.Config
	s   *server.Server
}

// Option changes how a server is started.
type Option func(*server.Config)

// Dir uses the data folder dir, and creates it if necessary, instead of a temporary one.
func Dir(dir string) Option { return func(c *server.Config) { c.Data = dir } }

// SecretKey signs tickets with key, instead of one that is kept in the data folder, so that a server with another data folder accepts the same
// tickets.
func SecretKey(key string) Option { return func(c *server.Config) { c.SecretKey = key } }

// Listen listens on an address, instead of a free port of this machine.
func Listen(addr string) Option { return func(c *server.Config) { c.Listen = addr } }

// Heartbeat is how often clients are told to send one, in seconds.
func Heartbeat(seconds int32) Option { return func(c *server.Config) { c.Chat.Heartbeat = seconds } }

// RevokeWindow is how long a message may be recalled.
func RevokeWindow(d time.Duration) Option {
	return func(c *server.Config) { c.Chat.RevokeWindow = d }
}

// Queue limits what may wait for a session, in frames and bytes; pushes above that are dropped, and the client is notified that it is behind.
func Queue(frames, bytes int) Option {
	return func(c *server.Config) { c.Gateway.QueueFrames, c.Gateway.QueueBytes = frames, bytes }
}

// Start starts a server with a temporary data folder on a free port. Clients should be closed before the test ends.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s := &Server{t: t, cfg: server.Config{
		Listen: "127.0.0.1:0",
		AppID:  server.DefaultAppID,
		Drain:  2 * time.Second,
		Log:    slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
	}}
	for _, o := range opts {
		o(&s.cfg)
	}
	if s.cfg.Data == "" {
		s.cfg.Data = t.TempDir()
	}
	s.Dir, s.AppID = s.cfg.Data, s.cfg.AppID
	s.start()
	t.Cleanup(s.Stop)
	return s
}

func (s *Server) start() {
	s.t.Helper()
	srv, err := server.Start(context.Background(), s.cfg)
	if err != nil {
		s.t.Fatalf("imtest: %v", err)
	}
	s.s = srv
	if url := srv.URL(); s.URL != url { // later starts use the same port, and others may read it at the same time
		s.URL, s.cfg.Listen = url, srv.Addr()
	}
}

// Stop drains the server as SIGTERM does, and returns when it has stopped. Stopping a stopped server has no effect.
func (s *Server) Stop() {
	s.t.Helper()
	if s.s == nil {
		return
	}
	if err := s.s.Stop(context.Background()); err != nil {
		s.t.Errorf("imtest: stop: %v", err)
	}
	s.s = nil
}

// Restart stops the server, if it runs, and starts it again with the same data on the same port; options may change how.
func (s *Server) Restart(opts ...Option) {
	s.t.Helper()
	s.Stop()
	for _, o := range opts {
		o(&s.cfg)
	}
	s.Dir = s.cfg.Data
	s.start()
}

// Sig returns a ticket for a user that is valid for an hour.
func (s *Server) Sig(user string) string { return s.SigFor(user, time.Hour) }

// SigFor returns a ticket that is valid for life, which counts in whole seconds. The server must be running.
func (s *Server) SigFor(user string, life time.Duration) string {
	s.t.Helper()
	sig, err := s.s.Sig(user, life)
	if err != nil {
		s.t.Fatalf("imtest: %v", err)
	}
	return sig
}

// Postgres keeps everything in a PostgreSQL database instead of the data folder. Several servers may share one.
func Postgres(dsn string) Option { return func(c *server.Config) { c.Postgres = dsn } }
