package gateway

import (
	"iter"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// audience returns the sessions of an audience. Those that are unsure whether an event is for them are not among them: they are made to ask.
func (g *Gateway) audience(to *chat.Audience) iter.Seq[*session] {
	return func(yield func(*session) bool) {
		if to.Room != 0 {
			for _, s := range g.live.sessions(to.Room) {
				if to.Has(s.caller) && !yield(s) {
					return
				}
			}
			return
		}
		for _, uid := range to.Users {
			for _, s := range g.sessionsOf(uid) {
				if to.Has(s.caller) && !yield(s) {
					return
				}
			}
		}
		if to.Group == 0 {
			return
		}
		for _, m := range g.rooms.members(to.Group) {
			hears, unsure := to.Hears(m.begins)
			if !hears || slices.Contains(to.Without, m.uid) || to.Among != nil && !slices.Contains(to.Among, m.uid) {
				continue
			}
			for _, s := range g.sessionsOf(m.uid) {
				switch {
				case !to.Has(s.caller):
				case unsure:
					s.lag()
				case !yield(s):
					return
				}
			}
		}
	}
}

// tell queues an event to its audience; if that has to be read again first, behind that.
func (g *Gateway) tell(to chat.Audience, event func() chat.Event) {
	if !g.rooms.shared || to.Group == 0 || !g.rooms.stale(to.Group, to.MemberSet) || !g.hold(event()) {
		g.deliver(to, event)
	}
}

// deliver queues an event to its audience as it is known.
func (g *Gateway) deliver(to chat.Audience, event func() chat.Event) {
	var e chat.Event
	n := 0
	var copied []byte
	shared := func() []byte {
		if copied == nil {
			copied = slices.Clone(e.Frame)
		}
		return copied
	}
	for s := range g.audience(&to) {
		if n == 0 {
			e = event()
		}
		many := n >= fanDirect
		if e.Method == im.Method_LIVE {
			s.pushLive(e.Frame, to.Priority, shared, many)
		} else {
			s.push(e.Frame, many)
		}
		n++
	}
	if n == 0 {
		return
	}
	g.metrics.pushes.Add(float64(n))
	if e.Method == im.Method_BEHIND { // in place of an event that could not be encoded
		g.metrics.failures.Inc()
	}
}

// together queues events of one cause.
func (g *Gateway) together(tell func()) {
	g.telling.Lock()
	defer g.telling.Unlock()
	tell()
}

// metrics are a handful of counters; /metrics has them.
type metrics struct {
	logins, refused, pushes, dropped, failures prometheus.Counter
	limited                                    *prometheus.CounterVec
}

func (m *metrics) init(reg prometheus.Registerer, g *Gateway) {
	m.limited = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidings_limited_total",
		Help: "What was refused, or which connections were ended, because of a limit."}, []string{"limit"})
	if reg != nil {
		reg.MustRegister(m.limited, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tidings_queued_bytes",
			Help: "Bytes that wait to be written to clients or wait for their calls to be made."}, func() float64 { return float64(g.queuedBytes()) }))
	}
	// From 0 on, so that the first one is seen to rise.
	for _, limit := range []string{limitConnections, limitAddress, limitUser, limitFailures, limitNoLogin, limitBytes, limitSends, limitCalls, limitStall} {
		m.limited.WithLabelValues(limit)
	}
	for _, c := range []struct {
		to         *prometheus.Counter
		name, help string
	}{
		{&m.logins, "tidings_logins_total", "Logins and resumes that succeeded."},
		{&m.refused, "tidings_logins_refused_total", "Logins and resumes that were refused."},
		{&m.pushes, "tidings_pushes_total", "Events queued to sessions, dropped ones included."},
		{&m.dropped, "tidings_pushes_dropped_total", "Events dropped because a session's queue was full."},
		{&m.failures, "tidings_call_failures_total", "Calls that the server failed to answer properly."},
	} {
		*c.to = prometheus.NewCounter(prometheus.CounterOpts{Name: c.name, Help: c.help})
		if reg != nil {
			reg.MustRegister(*c.to)
		}
	}
}

// queuedBytes is how many bytes wait in all sessions, to be written or to be looked at.
func (g *Gateway) queuedBytes() (n int) {
	for _, s := range g.snapshot() {
		s.mu.Lock()
		n += s.waiting() + s.held
		s.mu.Unlock()
	}
	return n
}
