package gateway

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

var scratch = sync.Pool{New: func() any { return new([]byte) }}

// publish queues an event to the sessions it concerns. It is encoded once, and only if there is one.
func (g *Gateway) publish(e chat.Event) {
	all := g.sessionsOf(e.To)
	var first, second *session // whom it concerns, up to two
	n := 0
	for _, s := range all {
		if concerns(&e, s) {
			if first == nil {
				first = s
			} else {
				second = s
			}
			n++
		}
	}
	if n == 0 {
		return
	}
	g.metrics.pushes.Add(float64(n))
	if second == nil {
		first.push(e.Method, e.Body)
		return
	}
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	encoded := false
	first.contain(func() {
		f := im.Frame{Method: e.Method}
		*buf = im.AppendMessage((*buf)[:0], &f, e.Body)
		encoded = true
	})
	for _, s := range all {
		switch {
		case !concerns(&e, s):
		case encoded:
			s.pushRaw(*buf)
		default:
			s.cut() // it missed something; when it comes back it asks
		}
	}
}

func concerns(e *chat.Event, s *session) bool {
	return s.caller != e.Skip && (e.Only == nil || s.caller == e.Only) && (e.SkipDevice == "" || s.caller.Device != e.SkipDevice)
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
