package gateway

import (
	"time"

	"github.com/tidings-im/tidings/im"
)

// sweepLoop checks all time limits, so that no session needs a timer of its own.
func (g *Gateway) sweepLoop() {
	defer close(g.swept)
	tick := time.NewTicker(g.cfg.Sweep)
	defer tick.Stop()
	for {
		select {
		case <-g.stopSweep:
			return
		case <-tick.C:
			g.sweep()
		}
	}
}

func (g *Gateway) sweep() {
	now := g.clock()
	g.now.Store(now)
	for _, s := range g.snapshot() {
		s.contain(func() { s.check(now) })
	}
	g.lookAround(now)
}

// check enforces a session's time limits. It does not block.
func (s *session) check(now int64) {
	since := s.since.Load()
	stalled := since != 0 && now-since > int64(s.g.cfg.Stall)
	// Seen twice, so that a write just done is not mistaken for one that hangs when the clock has leapt.
	if stalled && s.stalled == since {
		s.g.metrics.limited.WithLabelValues(limitStall).Inc()
		s.g.log.Info("socket takes nothing", "user", s.user(), "remote", s.conn.RemoteAddr())
		s.conn.reset()
		return
	}
	if s.stalled = 0; stalled {
		s.stalled = since
	}
	s.mu.Lock()
	st, late := s.state, now >= s.due
	// A reader that waits for room is not reading; then the limit of writing decides.
	silent := now-s.heard.Load() > int64(s.g.cfg.Silence) && !s.crowded()
	s.mu.Unlock()
	switch {
	case st == live && late:
		s.expire()
	case st == fresh && late:
		s.g.metrics.limited.WithLabelValues(limitNoLogin).Inc()
		s.finish(closeNoLogin, "no login in time")
	case st == kicked && late:
		s.finish(closeKicked, "the session is over")
	case st == ended && late && since != 0:
		s.conn.reset()
	case st == ended && late:
		s.cut()
	case st == live && silent:
		s.leave(closeSilent, "nothing was heard for too long")
	case st == live && s.busy.Load() && now-s.heard.Load() > restAfter:
		s.conn.SetReadDeadline(time.Unix(1, 0)) // the reader resets it
	}
}

// expire ends a session whose ticket has expired.
func (s *session) expire() {
	s.mu.Lock()
	if s.state != live {
		s.mu.Unlock()
		return
	}
	s.state = ended
	s.queued++
	f := im.Frame{Method: im.Method_EXPIRED}
	s.add(&f, nil)
	s.mu.Unlock()
	s.g.unregister(s)
	s.finish(closeExpired, "the ticket has run out")
}
