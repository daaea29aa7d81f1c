// Package gateway carries the calls of clients to the rules, and events back to the clients, over WebSocket.
//
// A session is one connection. The goroutine that reads its frames handles them in order; it does not wait for a commit. Output waits in the
// session's buffer, and a goroutine that exists only while there is something to write sends everything that has gathered in one WebSocket message.
// So an idle session costs one goroutine that waits for input, and nobody waits for a slow client.
package gateway

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// Config contains the limits of sessions. Zero values mean the defaults.
type Config struct {
	// QueueBytes and QueueFrames limit what may wait for a session; pushes above them are dropped: 4 MiB, 4096.
	QueueBytes, QueueFrames int
	// QueueMemory limits what may wait for all sessions together, including calls that wait to be made; above it a session has fairShare instead of
	// QueueBytes: 512 MiB.
	QueueMemory int64
	// OpenCalls is how many calls of a session may be unanswered before its frames are left unread: 1024.
	OpenCalls int
	// Decoding is how much memory the requests may take that are being handled at the same time; others wait: 64 MiB. Small ones are not counted, and
	// neither are sends, which are not decoded.
	Decoding int64
	// LoginWithin is how long a connection may stay without a login: 10 s.
	LoginWithin time.Duration
	// Silence is how long a client may be silent: 90 s.
	Silence time.Duration
	// Stall is how long a socket may accept nothing of what is written to it: 30 s.
	Stall time.Duration
	// AckWithin is how long a kicked session is kept for its acknowledgement, and a closed one for the client to close: 5 s.
	AckWithin time.Duration
	// Sweep is how often the time limits are checked: 1 s.
	Sweep time.Duration
	// Now is the clock of the time limits.
	Now func() time.Time
	Log *slog.Logger
	// PerAddress and PerUser are how many connections one address and one user may have: 10,000 and 100. Connections is how many there may be in
	// total; 0 means no limit. For the others a negative number does.
	PerAddress, PerUser, Connections int
	// FailuresPerUser and FailuresPerAddress are how many bad tickets one user at an address, and one address, may show per minute: 10 and 100.
	FailuresPerUser, FailuresPerAddress int
	// SendRate and CallRate are how many messages and other calls a connection may make per second; 0 means no limit.
	SendRate, CallRate int
	// Accepted returns how many connections the listener holds, including those that are not sessions yet: they count in Connections. Nil: only
	// sessions count.
	Accepted func() int
	// Origins are the web pages whose scripts may connect, such as https://app.example; none: all. Programs that are not browsers send no origin and
	// always may.
	Origins []string
	// TrustedProxies are the proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Metrics is where the gateway's counters are registered; nil: nowhere.
	Metrics prometheus.Registerer
}

// DefaultPerAddress is how many connections one address may have.
const DefaultPerAddress = 10_000

func (c *Config) setDefaults() {
	c.QueueBytes = cmp.Or(c.QueueBytes, 4<<20)
	c.QueueFrames = cmp.Or(c.QueueFrames, 4096)
	c.QueueMemory = cmp.Or(c.QueueMemory, 512<<20)
	c.Decoding = cmp.Or(c.Decoding, 64<<20)
	c.OpenCalls = cmp.Or(c.OpenCalls, 1024)
	for _, n := range []struct {
		v   *int
		def int
	}{{&c.PerAddress, DefaultPerAddress}, {&c.PerUser, 100}, {&c.FailuresPerUser, 10}, {&c.FailuresPerAddress, 100}} {
		if *n.v == 0 {
			*n.v = n.def
		}
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&c.LoginWithin, 10 * time.Second}, {&c.Silence, 90 * time.Second}, {&c.Stall, 30 * time.Second},
		{&c.AckWithin, 5 * time.Second}, {&c.Sweep, time.Second},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Log = cmp.Or(c.Log, slog.Default())
}

// Close codes of the WebSocket that are Tidings' own.
const (
	closeReplaced  = 4000 // the device has a newer connection
	closeKicked    = 4001
	closeExpired   = 4002
	closeLoggedOut = 4003
	closeNoLogin   = 4004
	closeSilent    = 4005
	closeFailures  = 4006
	closeGoingAway = 1001
	closeProtocol  = 1002
	closeNotBinary = 1003
	closeTooLarge  = 1009
)

// Gateway is an http.Handler for the WebSocket path, and holds all sessions.
type Gateway struct {
	cfg     Config
	chat    *chat.Chat
	log     *slog.Logger
	metrics metrics
	limits  limits
	// decoding is the budget for what is being decoded.
	decoding *semaphore.Weighted

	// ctx is the context of all calls to the rules; it ends when Close has given up waiting.
	ctx              context.Context
	cancel           context.CancelFunc
	wg               sync.WaitGroup
	stopSweep, swept chan struct{}
	// now is the clock at the last sweep, in nanoseconds since base: sessions measure silence with it.
	base time.Time
	now  atomic.Int64
	// backlog is how many bytes wait in sessions that have more than fairShare.
	backlog atomic.Int64
	// telling is held while events of one cause are queued. Whoever writes holds it for reading when it takes what waits, so none of them is left for the
	// next message.
	telling sync.RWMutex
	fan     fan

	mu      sync.Mutex
	closing bool
	all     map[*session]struct{}

	online [shards]shard
	rooms  rooms
	live   liveRooms
	// looked is when Presence was called last: the sweep's.
	looked int64
}

// New makes a gateway and subscribes it to the rules' events.
func New(c *chat.Chat, cfg Config) *Gateway {
	cfg.setDefaults()
	g := &Gateway{cfg: cfg, chat: c, log: cfg.Log, all: make(map[*session]struct{}), stopSweep: make(chan struct{}), swept: make(chan struct{})}
	g.metrics.init(cfg.Metrics, g)
	g.limits.init(&cfg)
	g.decoding = semaphore.NewWeighted(cfg.Decoding)
	g.ctx, g.cancel = context.WithCancel(context.Background())
	// The limits count from here by the monotonic clock, so that a step of the wall clock closes no session.
	g.base = cfg.Now().Add(-time.Second) // 0 is no time
	g.now.Store(g.clock())
	for i := range g.online {
		g.online[i].init()
	}
	g.fan.init(&g.wg)
	g.rooms.init()
	g.live.init()
	g.rooms.shared = c.Shared()
	c.Subscribe(chat.Carrier{
		Tell: g.tell, Together: g.together, Kick: g.kickBefore, Member: g.rooms.change, Over: g.rooms.over, Online: func(group chat.ConvID) int { return len(g.rooms.members(group)) },
		Enter: g.enterRoom, Expel: g.live.expel,
	})
	go g.sweepLoop()
	return g
}

// ServeHTTP upgrades a request to a WebSocket and returns; the connection stays open.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !offers(r.Header.Values("Sec-Websocket-Protocol"), im.Subprotocol) {
		w.Header().Set(im.CodeHeader, strconv.Itoa(im.CodeConnectRefused)) // by it a client recognizes a server's response
		http.Error(w, "this server speaks the WebSocket subprotocol "+im.Subprotocol+", and the client offered none that it knows",
			http.StatusBadRequest)
		return
	}
	if !g.allows(r.Header.Values("Origin")) {
		http.Error(w, "scripts of this origin may not connect", http.StatusForbidden)
		return
	}
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		// Its body would be read as frames: a proxy in between and this server would not agree where the request ends.
		w.Header().Set("Connection", "close")
		http.Error(w, "an upgrade has no body", http.StatusBadRequest)
		return
	}
	addr := g.client(r)
	if full := g.limits.enter(addr); full != "" {
		g.refuse(w, full)
		return
	}
	if !g.begin() {
		g.limits.leave(addr)
		http.Error(w, "the server is going away", http.StatusServiceUnavailable)
		return
	}
	taken := false
	defer func() {
		if !taken {
			g.limits.leave(addr)
			g.wg.Done()
		}
	}()
	conn, err := upgradeConn(w, r)
	if err != nil {
		g.log.Debug("no websocket", "remote", r.RemoteAddr, "err", err)
		return
	}
	taken = true
	s := newSession(g)
	s.conn, s.addr, conn.s = conn, addr, s
	g.mu.Lock()
	g.all[s] = struct{}{}
	closing := g.closing
	g.mu.Unlock()
	if closing {
		s.finish(closeGoingAway, "the server is going away")
	}
	// Not inside this handler: what http.Server holds for a request would stay as long as the connection.
	go s.read()
}

// contain runs code that handles a client's input or makes bytes for it. A panic in it is logged, and ends only that client's connection.
func (s *session) contain(f func()) {
	defer func() {
		if r := recover(); r != nil {
			s.broken(r)
		}
	}()
	f()
}

// broken ends the connection after a panic. The goroutine that panicked holds no lock of the session: locks that are held while a body is encoded are
// released by defer.
func (s *session) broken(r any) {
	s.g.metrics.failures.Inc()
	s.g.log.Error("a connection failed inside the server", "user", s.user(), "remote", s.conn.RemoteAddr(), "err", fmt.Sprintf("panic: %v\n%s", r, debug.Stack()))
	s.mu.Lock()
	if s.state < ended {
		s.state = ended
	}
	s.drop()
	s.room.Broadcast()
	s.mu.Unlock()
	s.cut()
}

func (g *Gateway) clock() int64 { return int64(g.cfg.Now().Sub(g.base)) }

// allows reports whether a request with these Origin headers may become a WebSocket.
func (g *Gateway) allows(origins []string) bool {
	return len(g.cfg.Origins) == 0 || !slices.ContainsFunc(origins, func(o string) bool {
		return !slices.ContainsFunc(g.cfg.Origins, func(a string) bool { return strings.EqualFold(a, o) })
	})
}

func offers(lines []string, want string) bool {
	for _, line := range lines {
		for p := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(p) == want {
				return true
			}
		}
	}
	return false
}

// Sessions returns how many connections are open.
func (g *Gateway) Sessions() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.all)
}

func (g *Gateway) snapshot() []*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]*session, 0, len(g.all))
	for s := range g.all {
		out = append(out, s)
	}
	return out
}

// begin counts work that Close waits for, which ends with g.wg.Done; false if the gateway is closing.
func (g *Gateway) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closing {
		g.wg.Add(1) // before Close can begin to wait
	}
	return !g.closing
}

// Close ends all sessions: it takes no more calls, answers those it has taken, notifies the clients that it shuts down, and waits until everything
// has stopped. When ctx ends it stops waiting for clients and closes their connections.
func (g *Gateway) Close(ctx context.Context) {
	g.mu.Lock()
	g.closing = true
	g.mu.Unlock()
	// The answers come from the store, not from clients, so waiting for them is limited by the store.
	all := g.snapshot()
	for _, s := range all {
		s.fence()
	}
	for _, s := range all {
		s.await(ctx)
		s.finish(closeGoingAway, "the server is going away")
	}
	gone := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		for _, s := range g.snapshot() {
			s.cut()
		}
		g.cancel()
	})
	defer stop()
	go func() {
		g.wg.Wait()
		close(gone)
	}()
	<-gone
	close(g.stopSweep)
	<-g.swept
	g.chat.Wait(ctx) // sends of connections that had ended before wait for their hook, too; the end of ctx ends that
	g.cancel()
}
