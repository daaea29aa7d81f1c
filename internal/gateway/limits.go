package gateway

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// What one address or user may take of the server. A limit of 0 in Config means its default, a negative one means none.

const (
	// failWindow is how long failed logins are counted together, and how long the next ones are then refused.
	failWindow = time.Minute
	// failTable is how many addresses and users with failed logins are remembered.
	failTable = 1 << 16
	// beforeLogin is how many bytes a connection may send until its login is answered: its user is not known yet.
	beforeLogin = 64 << 10
)

// Names of the limits in the metric tidings_limited_total.
const (
	limitConnections = "connections"
	limitAddress     = "connections_per_address"
	limitUser        = "connections_per_user"
	limitFailures    = "failed_logins"
	limitNoLogin     = "no_login"
	limitBytes       = "bytes_before_login"
	limitSends       = "sends"
	limitCalls       = "calls"
	limitStall       = "stalled"
)

type limits struct {
	most, perAddress, failUser, failAddress int
	accepted                                func() int

	mu       sync.Mutex
	all      int
	conns    map[netip.Prefix]int
	failures map[failKey]failure
}

// failKey is a user at an address, or without a user the address.
type failKey struct {
	addr netip.Prefix
	user string
}

type failure struct {
	count int
	until int64
}

func (l *limits) init(cfg *Config) {
	l.most, l.perAddress, l.failUser, l.failAddress = cfg.Connections, cfg.PerAddress, cfg.FailuresPerUser, cfg.FailuresPerAddress
	if l.accepted = cfg.Accepted; l.accepted == nil {
		l.accepted = func() int { return 0 }
	}
	l.conns, l.failures = make(map[netip.Prefix]int), make(map[failKey]failure)
}

// enter counts a connection of an address, or returns the limit that it would exceed.
func (l *limits) enter(addr netip.Prefix) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.conns[addr]
	switch {
	case l.most > 0 && (l.all >= l.most || l.accepted() > l.most):
		return limitConnections
	case l.perAddress > 0 && n >= l.perAddress:
		return limitAddress
	}
	l.all++
	l.conns[addr] = n + 1
	return ""
}

func (l *limits) leave(addr netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if n := l.conns[addr]; n > 1 {
		l.conns[addr] = n - 1
	} else {
		delete(l.conns, addr)
	}
}

// blocked reports whether there were too many failed logins: of this user from this address; of the address, whatever user it named.
func (l *limits) blocked(addr netip.Prefix, user string, now int64) (pair, address bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	over := func(k failKey, most int) bool {
		f := l.failures[k]
		return most > 0 && f.count >= most && now < f.until
	}
	return over(failKey{addr, user}, l.failUser), over(failKey{addr: addr}, l.failAddress)
}

// failed counts a login with a bad ticket.
func (l *limits) failed(addr netip.Prefix, user string, now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failures) >= failTable {
		for k, f := range l.failures {
			if now >= f.until {
				delete(l.failures, k)
			}
		}
		if len(l.failures) >= failTable {
			clear(l.failures)
		}
	}
	count := func(k failKey, most int) {
		f := l.failures[k]
		if now >= f.until {
			f = failure{until: now + int64(failWindow)}
		}
		if f.count++; f.count == most {
			f.until = now + int64(failWindow)
		}
		l.failures[k] = f
	}
	count(failKey{addr, user}, l.failUser)
	count(failKey{addr: addr}, l.failAddress)
}

// succeeded forgets the failures of a user at an address.
func (l *limits) succeeded(addr netip.Prefix, user string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.failures, failKey{addr, user})
}

// AddressOf returns what a limit counts as one address: the address itself, or the /64 network of IPv6, which one customer has.
func AddressOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// Trusted reports whether an address belongs to a trusted proxy.
func Trusted(proxies []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
}

// client returns the address of the client that makes a request: behind trusted proxies, the last one in X-Forwarded-For that is not theirs.
func (g *Gateway) client(r *http.Request) netip.Prefix {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	addr := ap.Addr()
	if Trusted(g.cfg.TrustedProxies, addr) {
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for _, hop := range slices.Backward(hops) {
			a, err := netip.ParseAddr(strings.TrimSpace(hop))
			if err != nil {
				break
			}
			if addr = a; !Trusted(g.cfg.TrustedProxies, a) {
				break
			}
		}
	}
	return AddressOf(addr)
}

// refuse responds to the upgrade request of a client with too many connections. The code is in a header, which the SDK reads.
func (g *Gateway) refuse(w http.ResponseWriter, limit string) {
	g.metrics.limited.WithLabelValues(limit).Inc()
	w.Header().Set(im.CodeHeader, strconv.Itoa(im.CodeConnectionLimit))
	w.Header().Set("Connection", "close")
	http.Error(w, "too many connections", http.StatusTooManyRequests)
}

// authenticate checks a login's ticket and counts the bad ones.
func (s *session) authenticate(req *im.LoginRequest) (ticket chat.Ticket, err error) {
	g := s.g
	now := g.clock()
	pair, address := g.limits.blocked(s.addr, req.UserId, now)
	if !pair {
		ticket, err = g.chat.Authenticate(req)
		switch im.CodeOf(err) {
		case 0, im.CodeTicketExpired: // an expired one was good once: nobody guesses
			return ticket, err
		}
	}
	if pair || address {
		g.metrics.limited.WithLabelValues(limitFailures).Inc()
		return ticket, im.Errorf(im.CodeFailedLogins, "too many failed logins, wait a minute")
	}
	g.limits.failed(s.addr, req.UserId, now)
	return ticket, err
}

// roomFor reports whether a user may have one more connection. Those that the login replaces do not count. The caller holds the account's login lock.
func (g *Gateway) roomFor(uid chat.UID, req *im.LoginRequest) bool {
	if g.cfg.PerUser < 0 {
		return true
	}
	class, n := g.chat.Class(req.Platform), 0
	for _, s := range g.sessionsOf(uid) {
		if s.caller.Device != req.DeviceId && (class == chat.ClassAny || g.chat.Class(s.caller.Platform) != class) {
			n++
		}
	}
	return n < g.cfg.PerUser
}

// tooFast refuses a call of a client that makes too many. Only the reader's goroutine calls it.
func (s *session) tooFast(m im.Method) error {
	perSecond, b, code, limit := s.g.cfg.CallRate, &s.calls, int32(im.CodeCallsTooFast), limitCalls
	if m == im.Method_SEND {
		perSecond, b, code, limit = s.g.cfg.SendRate, &s.sent, im.CodeSendsTooFast, limitSends
	}
	if perSecond <= 0 || b.Take(perSecond, s.g.clock()) {
		return nil
	}
	s.g.metrics.limited.WithLabelValues(limit).Inc()
	return im.Errorf(code, "more than %d a second", perSecond)
}
