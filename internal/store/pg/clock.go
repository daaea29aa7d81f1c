package pg

import (
	"context"
	"errors"
	"sync"
	"time"
)

// The store's time is PostgreSQL's: a transaction reads clock_timestamp() once it holds its rows, and is at max(that, the last time that this server
// knows, the last time of its conversations). So a log never runs back, whoever writes it.
//
// Now has to return without asking: the last reading, plus what has passed on this machine since it arrived. As the reading was made before it
// arrived, this is never ahead of PostgreSQL's clock; it is behind by at most the way of a response. So a time that one server gives out is not above
// what another one writes next.
//
// If PostgreSQL's own clock is set back, each server's time stands still until it has caught up. Servers share their last time through meta.clock,
// which each raises every second; between two servers, or after a crash, time may then run back by that second and no more. Clients ask for a minute
// more than they have.

// sampleSQL reads PostgreSQL's clock in microseconds.
const sampleSQL = "floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

type clock struct {
	wall func() time.Time // in tests

	mu     sync.Mutex
	sample int64 // microseconds
	at     time.Time
	last   int64 // milliseconds
}

// now is never below what was given out before.
func (c *clock) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := (c.sample + time.Since(c.at).Microseconds()) / 1000
	if c.wall != nil {
		t = c.wall().UnixMilli()
	}
	c.last = max(c.last, t)
	return c.last
}

// commit returns the time of a transaction that has read the clock, or of one whose rows have a later time.
func (c *clock) commit(sample, rows int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := sample / 1000
	if c.wall != nil {
		t = c.wall().UnixMilli()
	} else {
		c.sample, c.at = sample, time.Now()
	}
	c.last = max(c.last, t, rows)
	return c.last
}

// seen records a time that another server has given out.
func (c *clock) seen(t int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last, t)
}

// Now returns the store's clock.
func (s *Store) Now() int64 { return s.clock.now() }

// sample reads PostgreSQL's clock.
func (s *Store) sample(ctx context.Context) error {
	var now int64
	if err := s.pool.QueryRow(ctx, "SELECT "+sampleSQL).Scan(&now); err != nil {
		return err
	}
	s.clock.commit(now, 0)
	return nil
}

// sqlNote does not wait for a standby: times that are a second behind do no harm, and a transaction that waits here would hold the row.
const sqlNote = `UPDATE meta SET clock = greatest(clock, $1), horizon = greatest(horizon, $2) WHERE set_config('synchronous_commit', 'local', true) <> ''
	RETURNING clock, horizon, ` + sampleSQL

// note tells the other servers, and the next start, how far time and the horizon have come, and learns it from them.
func (s *Store) note(ctx context.Context) error {
	var last, horizon, now int64
	if err := s.pool.QueryRow(ctx, sqlNote, s.clock.now(), s.Horizon()).Scan(&last, &horizon, &now); err != nil {
		return err
	}
	s.clock.commit(now, last)
	s.horizon.seen(horizon)
	return nil
}

// noteClock does that every second, and updates the horizon.
func (s *Store) noteClock() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.closing.Done():
			return
		}
		ctx, cancel := context.WithTimeout(s.closing, connectWithin)
		err := errors.Join(s.look(ctx), s.note(ctx))
		cancel()
		if err != nil {
			s.lost(err)
		} else {
			s.back()
		}
	}
}
