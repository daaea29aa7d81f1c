// Package server puts the parts of a Tidings server together: store, rules, gateway, admin API and webhook behind one port.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/gateway"
	"github.com/tidings-im/tidings/internal/media"
	"github.com/tidings-im/tidings/internal/rest"
	"github.com/tidings-im/tidings/internal/store"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/webhook"
	"github.com/tidings-im/tidings/usersig"
)

// Config is what an operator configures. Empty fields mean the defaults.
type Config struct {
	// Listen is the address of the one port: 127.0.0.1:7070.
	Listen string
	// Data is the folder that contains everything: ./tidings-data. One process at a time may use it.
	Data string
	// AppID is the SDKAppID that tickets name: 1400000000.
	AppID uint64
	// SecretKey signs tickets. Empty: the key in the data folder, which the first start makes.
	SecretKey string
	// NewKey makes a new key if the data folder has lost its own.
	NewKey bool
	// TLSCert and TLSKey are the files of the certificate and its key; without them clients connect to ws://.
	TLSCert, TLSKey string
	// TrustedProxies are the proxies whose X-Forwarded-For names the client. MaxConnections is how many clients may be connected; 0 means no limit.
	TrustedProxies []netip.Prefix
	MaxConnections int

	// Admins are the users whose tickets may call the admin API: administrator.
	Admins []string
	// Webhook configures who is asked about messages and notified of them; nobody is without a URL.
	Webhook webhook.Config

	// LockWait is how long a write waits for another program's lock on the database in the data folder: 5 s.
	LockWait time.Duration
	// Postgres is the address of a PostgreSQL database to keep everything in, instead of the data folder.
	Postgres string
	// SynchronousStandby means that a standby that is promoted has everything that was acknowledged.
	SynchronousStandby bool

	// Blob is the folder of files that users upload: blob in the data folder; with Postgres, there are none without it. NewBlobFolder gives up the files that
	// were there, and begins with an empty folder.
	Blob          string
	NewBlobFolder bool
	// PublicURL is where the app's program reaches the server, without a slash at its end; "": at its port.
	PublicURL string
	// Media configures limits of uploads.
	Media media.Config

	// NATS is of a part that is not built yet: setting it is an error.
	NATS string

	// Chat and Gateway configure rules and limits; the server fills in what it knows itself.
	Chat    chat.Config
	Gateway gateway.Config
	// Drain is how long Stop waits for clients to close their connections: 5 s.
	Drain time.Duration
	Log   *slog.Logger
	// Clock is the wall clock, by default time.Now.
	Clock func() time.Time
}

// Defaults of Config.
const (
	DefaultListen        = "127.0.0.1:7070"
	DefaultData          = "./tidings-data"
	DefaultAppID  uint64 = 1400000000
)

func (c *Config) setDefaults() {
	c.Listen = cmp.Or(c.Listen, DefaultListen)
	c.Data = cmp.Or(c.Data, DefaultData)
	c.AppID = cmp.Or(c.AppID, DefaultAppID)
	c.Drain = cmp.Or(c.Drain, 5*time.Second)
	c.Log = cmp.Or(c.Log, slog.Default())
	if c.Clock == nil {
		c.Clock = time.Now
	}
}

// unbuilt returns the name of a setting whose part does not exist yet.
func (c *Config) unbuilt() error {
	if c.NATS != "" {
		return errors.New("nats: not built yet in this version")
	}
	return nil
}

// Server is a running server.
type Server struct {
	cfg Config
	log *slog.Logger
	// leftOut counts lines that the log left out.
	leftOut *atomic.Uint64
	key     string
	fresh   bool

	store   chat.Store
	full    func() bool // messages are refused because the disk is full
	locked  func() bool // or because another program has locked the database
	away    func() bool // PostgreSQL does not answer
	chat    *chat.Chat
	gateway *gateway.Gateway
	folder  *media.Folder // nil: no media
	media   *media.Media
	hook    *webhook.Hook
	after   *webhook.After
	// stopFanout ends the worker that tells changes of profiles; nil before it runs.
	stopFanout func()
	http       http.Server
	listener   net.Listener
	bounded    *bounded // below listener
	cert       *certificate
	served     chan error
	stopping   atomic.Bool
	// watch ends with Stop, which waits for what was started with it.
	watch    context.Context
	unwatch  context.CancelFunc
	watching sync.WaitGroup
}

// Start opens the data folder and everything on top of it, and then the port: a client that can connect can log in.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	cfg.setDefaults()
	if err := cfg.unbuilt(); err != nil {
		return nil, err
	}
	log := newLines(cfg.Log.Handler())
	cfg.Log = slog.New(log)
	s := &Server{cfg: cfg, log: cfg.Log, leftOut: &log.count.leftOut, served: make(chan error, 2)}
	s.watch, s.unwatch = context.WithCancel(context.Background())
	if err := s.openStore(ctx); err != nil {
		s.unwatch()
		return nil, err
	}
	if err := s.open(); err != nil {
		s.unwatch()
		return nil, errors.Join(err, s.store.Close())
	}
	return s, nil
}

// openStore opens the configured store. With PostgreSQL, the data folder contains only the secret key, and several servers may use one database, each
// with a folder of its own.
func (s *Server) openStore(ctx context.Context) error {
	if err := os.MkdirAll(s.cfg.Data, 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if s.cfg.Postgres == "" {
		// The first start makes the key before the data: if it is interrupted, there are no data without a key.
		fi, err := os.Stat(filepath.Join(s.cfg.Data, databaseFile))
		used := err == nil && fi.Size() > 0
		if !used {
			if err := s.takeKey(false); err != nil {
				return err
			}
		}
		st, err := store.Open(ctx, store.Config{Dir: s.cfg.Data, Log: s.log, Clock: s.cfg.Clock, LockWait: s.cfg.LockWait})
		if err != nil {
			return err
		}
		if used {
			if err := s.takeKey(true); err != nil {
				return errors.Join(err, st.Close())
			}
		}
		s.store, s.full, s.locked, s.away = st, st.Full, st.Locked, never
		return nil
	}
	st, err := pg.Open(ctx, pg.Config{DSN: s.cfg.Postgres, Synchronous: s.cfg.SynchronousStandby, Log: s.log, Moved: func() { s.served <- pg.ErrMoved }})
	if err != nil {
		return err
	}
	used, err := st.Used(ctx)
	if err == nil {
		err = s.takeKey(used)
	}
	if err != nil {
		return errors.Join(err, st.Close())
	}
	s.store, s.full, s.locked, s.away = st, st.Full, never, st.Away
	return nil
}

func (s *Server) open() (err error) {
	defer func() {
		if err != nil {
			s.closeWorkers()
		}
	}()
	if s.cfg.TLSCert != "" || s.cfg.TLSKey != "" {
		if s.cert, err = loadCertificate(s.cfg.TLSCert, s.cfg.TLSKey, s.log); err != nil {
			return err
		}
	}
	if err = s.openFolder(context.Background()); err != nil {
		return err
	}
	reg := prometheus.NewRegistry()
	if err = s.listen(reg); err != nil {
		return err
	}
	if s.chat, err = s.rules(reg); err != nil {
		return errors.Join(err, s.listener.Close())
	}
	limits := s.cfg.Gateway
	limits.TrustedProxies, limits.Connections, limits.Accepted = s.cfg.TrustedProxies, max(s.bounded.in, 0), s.bounded.accepted
	limits.Log, limits.Metrics, limits.Now = s.log, reg, s.cfg.Clock
	s.gateway = gateway.New(s.chat, limits)
	s.stopFanout = s.chat.StartFanout() // what it tells goes through the gateway
	reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "tidings_log_lines_left_out_total",
		Help: "Lines that the log did not take because there were too many with the same text."}, func() float64 { return float64(s.leftOut.Load()) }))
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tidings_connections", Help: "Open connections of clients."},
			func() float64 { return float64(s.gateway.Sessions()) }),
		flag("tidings_store_full", "1 while messages are refused because the disk is full.", s.full),
		flag("tidings_store_away", "1 while the PostgreSQL database does not answer.", s.away),
		flag("tidings_store_locked", "1 while messages are refused because another program has locked the database.", s.locked))

	clocks := &clocks{wall: s.cfg.Clock, store: s.store.Now, log: s.log}
	clocks.register(reg)

	mux := http.NewServeMux()
	mux.Handle("GET /ws", s.gateway)
	mux.Handle("/v4/", rest.New(s.chat, rest.Config{AppID: s.cfg.AppID, Admins: s.cfg.Admins, Log: s.log}))
	mux.Handle("/media/", s.serveMedia(reg))
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s.stopping.Load() {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
			return
		}
		if s.away() {
			http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	s.watching.Go(func() { clocks.watch(s.watch) })
	s.serveHTTP(mux)
	return nil
}

func never() bool { return false }

// flag is a metric that is 1 or 0.
func flag(name, help string, on func() bool) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
		if on() {
			return 1
		}
		return 0
	})
}

// rules makes the rules, and the webhook that they ask and that reads their log.
func (s *Server) rules(reg prometheus.Registerer) (*chat.Chat, error) {
	cfg := s.cfg.Chat
	cfg.Log, cfg.Verify, cfg.Clock = s.log, s.verify, s.cfg.Clock
	cfg.AppID, cfg.MediaKey, cfg.MediaURL = s.cfg.AppID, s.mediaKey(), s.mediaURL()
	if s.cfg.Webhook.URL == "" {
		return chat.New(s.store, cfg), nil
	}
	hook := s.cfg.Webhook
	hook.AppID, hook.Log, hook.Metrics = s.cfg.AppID, s.log, reg
	var err error
	if s.hook, err = webhook.New(hook); err != nil {
		return nil, err
	}
	cfg.Hooks, cfg.Notify = s.hook.Set(), true
	rules := chat.New(s.store, cfg)
	s.after, err = s.hook.StartAfter(context.Background(), rules)
	return rules, err
}

func (s *Server) closeWorkers() {
	if s.media != nil {
		s.media.Close()
	}
	if s.stopFanout != nil {
		s.stopFanout()
	}
	if s.after != nil {
		s.after.Close()
	}
	if s.hook != nil {
		s.hook.Close()
	}
}

func (s *Server) verify(user, ticket string) (chat.Ticket, error) {
	t, err := usersig.Verify(s.cfg.AppID, s.key, user, ticket, s.cfg.Clock())
	var e *usersig.Error
	if errors.As(err, &e) {
		return chat.Ticket{}, &im.Error{Code: e.Code, Desc: e.Desc}
	}
	// A ticket is valid to the end of its last second.
	return chat.Ticket{Issued: t.Issued, Expires: t.Expires.Add(time.Second)}, err
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL returns the address for clients.
func (s *Server) URL() string {
	if s.cert != nil {
		return "wss://" + s.Addr()
	}
	return "ws://" + s.Addr()
}

// Fresh reports whether this start made the secret key: the data folder is new.
func (s *Server) Fresh() bool { return s.fresh }

// Sig signs a ticket.
func (s *Server) Sig(user string, life time.Duration) (string, error) {
	return usersig.Sign(s.cfg.AppID, s.key, user, life, s.cfg.Clock())
}

// Failed receives the error when serving ended without being asked to.
func (s *Server) Failed() <-chan error { return s.served }

// Stop drains: no new connections, what was received is stored and answered, the clients are notified, and the store is closed.
func (s *Server) Stop(ctx context.Context) error {
	s.stopping.Store(true)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Drain)
	defer cancel()
	closed := s.listener.Close()
	s.gateway.Close(ctx)
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
	if errors.Is(closed, net.ErrClosed) {
		closed = nil
	}
	s.closeWorkers()
	s.unwatch()
	s.watching.Wait()
	return errors.Join(closed, s.store.Close())
}

// Run serves until ctx ends, and then drains. ready is called when clients can log in, with a context that ends when the server does. If the database
// becomes another store in the meantime, the server is stopped, and another one is started on it: nothing that this one remembers need be true there.
func Run(ctx context.Context, cfg Config, ready func(context.Context, *Server)) error {
	for moved := false; ; {
		s, err := Start(ctx, cfg)
		switch {
		case err == nil:
		case !moved:
			return err
		default:
			cfg.Log.Error("the server cannot start again yet", "err", err)
			select {
			case <-time.After(time.Second):
				continue
			case <-ctx.Done():
				return err
			}
		}
		s.log.Info("listening", "addr", s.Addr(), "data", s.cfg.Data)
		up, down := context.WithCancel(ctx)
		if ready != nil {
			ready(up, s)
		}
		select {
		case <-ctx.Done():
			s.log.Info("stopping")
		case err = <-s.served:
		}
		down()
		stopped := s.Stop(context.WithoutCancel(ctx))
		if moved = errors.Is(err, pg.ErrMoved); !moved {
			return errors.Join(err, stopped)
		}
		s.log.Warn("restarting on the new store", "err", stopped)
		cfg.Listen, cfg.Log, cfg.NewKey, cfg.NewBlobFolder = s.Addr(), s.log, false, false
	}
}
