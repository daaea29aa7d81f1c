package chat

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// leaseFor is how long a lease lasts without renewal.
const leaseFor = 10 * time.Second

// Alone runs f while this server holds the lease of name, among all that share the store; again whenever it gets the lease, until ctx ends. The
// context of f ends some time before another server may get the lease, by this machine's own count of time. A machine that was suspended cannot know
// that: so each step of f commits with its lease (SetCursor), and at most the step that was under way is done by two.
func (c *Chat) Alone(ctx context.Context, name string, f func(ctx context.Context, lease int64)) {
	for ctx.Err() == nil {
		begun := time.Now()
		lease, err := c.takeLease(ctx, name)
		if err != nil && ctx.Err() == nil && Known(err) == "" {
			c.log.Error("the lease cannot be asked for", "lease", name, "err", err)
		}
		if lease != 0 {
			c.hold(ctx, name, lease, begun, f)
		}
		again := time.NewTimer(leaseFor / 10)
		select {
		case <-again.C:
		case <-ctx.Done():
		}
		again.Stop()
	}
}

func (c *Chat) takeLease(ctx context.Context, name string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseFor/2)
	defer cancel()
	return c.store.Lease(ctx, name, 0, leaseFor)
}

// hold runs f and renews the lease, which was requested at begun.
func (c *Chat) hold(ctx context.Context, name string, lease int64, begun time.Time, f func(ctx context.Context, lease int64)) {
	const sure = leaseFor - leaseFor/5
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				c.log.Error("panic under a lease", "lease", name, "err", fmt.Sprintf("%v\n%s", r, debug.Stack()))
			}
		}()
		f(run, lease)
	}()
	end := time.NewTimer(time.Until(begun.Add(sure)))
	defer end.Stop()
	renew := time.NewTicker(leaseFor * 3 / 10)
	defer renew.Stop()
	var away error // why the last renewal failed
	for {
		select {
		case <-done:
			back, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer stop()
			if _, err := c.store.Lease(back, name, lease, 0); err != nil && Known(err) == "" {
				c.log.Warn("the lease is not given back; it ends by itself", "lease", name, "err", err)
			}
			return
		case <-end.C:
			level := slog.LevelWarn
			if Known(away) != "" { // the error is logged where its cause is known
				level = slog.LevelInfo
			}
			c.log.Log(ctx, level, "the lease could not be renewed in time", "lease", name, "err", away)
			cancel()
			<-done
			return
		case <-renew.C:
			asked := time.Now()
			within, stop := context.WithDeadline(run, begun.Add(sure))
			got, err := c.store.Lease(within, name, lease, leaseFor)
			stop()
			away = err
			switch {
			case err == nil && got == 0:
				c.log.Warn("another server has the lease", "lease", name)
				cancel()
				<-done
				return
			case err == nil:
				begun = asked
				end.Reset(time.Until(begun.Add(sure)))
			}
		}
	}
}
