package pg

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidings-im/tidings/internal/chat"
)

// complete returns the position up to which nothing will be added. The order of the two statements matters: see draw_batch in the schema.
func (s *Store) complete(ctx context.Context) (pos int64, open bool, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		var last int64
		var low *int64
		if err := c.QueryRow(ctx, "SELECT last_value FROM entry_batch").Scan(&last); err != nil {
			return err
		}
		if err := c.QueryRow(ctx, "SELECT low FROM open_batch").Scan(&low); err != nil {
			return err
		}
		if open = low != nil && *low < last; open {
			last = *low
		}
		pos = (last+1)<<12 - 1
		return nil
	})
	return pos, open, err
}

// Log holds back what is above a batch that is open. If that is all there is, it waits for a moment, because nobody else may notify the caller when
// the batch of another server has ended.
func (s *Store) Log(ctx context.Context, after int64, limit int) ([]chat.LogEntry, error) {
	for range 20 {
		upTo, open, err := s.complete(ctx)
		if err != nil {
			return nil, err
		}
		list, err := s.LogUpTo(ctx, after, upTo, limit)
		if err != nil || len(list) > 0 || !open {
			return list, err
		}
		pause := time.NewTimer(50 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, ctx.Err()
		case <-s.closing.Done():
			pause.Stop()
			return nil, nil
		}
	}
	return nil, nil
}

func (s *Store) LogEnd(ctx context.Context) (int64, error) {
	upTo, _, err := s.complete(ctx)
	if err != nil {
		return 0, err
	}
	return s.LastUpTo(ctx, upTo)
}
