package server

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// clockSlack is how far clocks may differ before that is reported.
	clockSlack = time.Minute
	// clockEvery is how often they are compared.
	clockEvery = 10 * time.Second
)

// clocks compares the wall clock with the store's, and with the time that has passed. Its only effect is what operators see: tickets are judged by
// the wall clock, and the store's time, which never runs back, orders what is stored.
type clocks struct {
	wall  func() time.Time
	store func() int64
	log   *slog.Logger

	mu    sync.Mutex
	apart bool
	jumps float64
	// The last comparison: the wall clock, and the monotonic clock at that moment.
	at, mono time.Time
}

// look returns how far the store's time is ahead of the wall clock, and how often the wall clock has jumped.
func (c *clocks) look() (ahead time.Duration, jumps float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	mono, wall := time.Now(), c.wall().Round(0) // without the monotonic reading
	ahead = time.UnixMilli(c.store()).Sub(wall).Truncate(time.Millisecond)
	if !c.mono.IsZero() {
		if by := wall.Sub(c.at) - mono.Sub(c.mono); by.Abs() > clockSlack {
			c.jumps++
			c.log.Warn("the wall clock has jumped; tickets are judged by it", "by", by.Round(time.Second))
		}
	}
	c.at, c.mono = wall, mono
	if apart := ahead.Abs() > clockSlack; apart != c.apart {
		if c.apart = apart; apart {
			c.log.Warn("the wall clock and the store's time are apart: one of them is or was wrong; what is stored has the store's time, and tickets are judged by the wall clock",
				"store-ahead", ahead.Round(time.Second))
		} else {
			c.log.Info("the wall clock and the store's time agree again")
		}
	}
	return ahead, c.jumps
}

func (c *clocks) register(reg prometheus.Registerer) {
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tidings_store_clock_ahead_seconds",
			Help: "How far the store's time is ahead of the wall clock: more than a moment if that one was ahead once, or has been set back."},
			func() float64 { ahead, _ := c.look(); return ahead.Seconds() }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "tidings_clock_jumps_total",
			Help: "How often the wall clock has moved by more than a minute against the time that passed."},
			func() float64 { _, jumps := c.look(); return jumps }))
}

// watch compares until ctx ends.
func (c *clocks) watch(ctx context.Context) {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for {
		c.look()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
