package pg

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// horizon is a time such that every transaction of an earlier one, on any server, has ended: reads that begin after that see all of them.
//
// Before committing something that has a time, a server draws a number (draw_batch in the schema) and reads the clock after it. A reading takes the
// clock and then the last number drawn. A server that draws later has a later time; so the clock of the reading is the horizon once all transactions
// have ended whose numbers had been drawn by then. A transaction that hangs, or waits for a standby, holds its lock until it has ended, and holds
// back the horizon.
type horizon struct {
	mu   sync.Mutex
	time int64
	// A reading that waits for transactions: the clock, and the last number that was drawn. last is below 0 if there is none.
	clock, last int64
}

// read processes a reading. low is the lowest lock of an open transaction, which is below the number that it drew.
func (h *horizon) read(clock, last int64, low *int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ended := func(last int64) bool { return low == nil || *low >= last }
	if h.last >= 0 && ended(h.last) {
		h.time, h.last = max(h.time, h.clock), -1
	}
	switch {
	case ended(last):
		h.time, h.last = max(h.time, clock), -1
	case h.last < 0:
		h.clock, h.last = clock, last
	}
}

// seen records the horizon of another server.
func (h *horizon) seen(t int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.time = max(h.time, t)
}

func (h *horizon) get() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.time
}

// Horizon is documented at chat.Store. It is at most a second old while nothing hangs.
func (s *Store) Horizon() int64 { return s.horizon.get() }

// Shared is documented at chat.Store.
func (s *Store) Shared() bool { return true }

// look makes a reading. The order of the statements matters.
func (s *Store) look(ctx context.Context) error {
	var now, last int64
	var low *int64
	if s.clock.wall != nil {
		now = s.clock.wall().UnixMilli()
	}
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		b := &pgx.Batch{}
		b.Queue("SELECT " + sampleSQL).QueryRow(func(row pgx.Row) error {
			var sample int64
			err := row.Scan(&sample)
			if s.clock.wall == nil {
				now = sample / 1000
			}
			return err
		})
		b.Queue("SELECT last_value FROM entry_batch").QueryRow(func(row pgx.Row) error { return row.Scan(&last) })
		b.Queue("SELECT low FROM open_batch").QueryRow(func(row pgx.Row) error { return row.Scan(&low) })
		return c.SendBatch(ctx, b).Close()
	})
	if err == nil {
		s.horizon.read(now, last, low)
	}
	return err
}

// firstLook waits until there is a horizon: without one, clients could not be told how far their list of conversations reaches.
func (s *Store) firstLook(ctx context.Context) error {
	for {
		if err := cmp.Or(s.look(ctx), s.note(ctx)); err != nil || s.Horizon() > 0 {
			return err
		}
		s.cfg.Log.Info("store: waiting for a transaction of another server")
		pause := time.NewTimer(time.Second / 4)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return errors.New("another server's transaction does not end")
		}
	}
}
