package gateway

import (
	"iter"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// audience returns the sessions of an audience. There are no groups yet, so nobody is a member of one.
func (g *Gateway) audience(to *chat.Audience) iter.Seq[*session] {
	return func(yield func(*session) bool) {
		for _, uid := range to.Users {
			for _, s := range g.sessionsOf(uid) {
				if to.Has(s.caller) && !yield(s) {
					return
				}
			}
		}
	}
}

// tell queues an event to its audience.
func (g *Gateway) tell(to chat.Audience, event func() chat.Event) {
	var e chat.Event
	n := 0
	for s := range g.audience(&to) {
		if n == 0 {
			e = event()
		}
		s.push(e.Frame)
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
