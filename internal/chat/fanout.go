package chat

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/tidings-im/tidings/im"
)

// A change of a profile is told to all who have the user as a friend by a job that is stored with the change. It does some of them in one transaction,
// which also moves the job on, so that a crash neither loses nor repeats any.

const (
	// fanStep is how many friends are told in one transaction, while which sends wait for the store or for the disk.
	fanStep = 50
	// After a step, others have the store for fanRest times as long as the step took, and at most for fanMostRest.
	fanRest     = 3
	fanMostRest = 20 * time.Millisecond
	// fanLook is how often a server looks for jobs that other servers have stored.
	fanLook = time.Second
	// fanRetry is how long it waits after a failure.
	fanRetry = time.Second
)

// fanMore wakes the worker.
func (c *Chat) fanMore() {
	select {
	case c.fans <- struct{}{}:
	default:
	}
}

// StartFanout starts the worker that tells changes of profiles to friends. It returns a function that stops it and waits for it. Of several servers on one
// store, one has a worker.
func (c *Chat) StartFanout() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Alone(ctx, "fanout", func(ctx context.Context, _ int64) { c.fanOut(ctx) })
	}()
	return func() {
		cancel()
		<-done
	}
}

// fanOut does jobs until ctx ends, a step of each in turn, so that a user with many friends, or one who changes their profile all the time, does not keep
// others waiting.
func (c *Chat) fanOut(ctx context.Context) {
	for ctx.Err() == nil {
		jobs, err := c.store.Fanouts(ctx, 100)
		for _, job := range jobs {
			begun := time.Now()
			failed := c.fanSome(ctx, job)
			if failed != nil {
				err = failed
			}
			pause(ctx, nil, min(fanRest*time.Since(begun), fanMostRest))
		}
		wait := fanLook
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if Known(err) == "" {
				c.log.Error("a change of a profile cannot be told to friends yet", "err", err)
			}
			wait = fanRetry
		case len(jobs) > 0:
			continue
		}
		pause(ctx, c.fans, wait)
	}
}

// pause waits for some time, or until ctx ends or there is something in wake.
func pause(ctx context.Context, wake <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// fanSome tells the next of those who have a user as a friend. A change that comes meanwhile sets the job back to its beginning: then somebody may get an
// entry again, with the same profile or a newer one. A device goes by the version of the profile.
func (c *Chat) fanSome(ctx context.Context, job Fanout) error {
	name, err := c.nameOf(ctx, job.UID)
	if err != nil {
		return err
	}
	friends, err := c.store.HaveFriend(ctx, job.UID, job.Done, fanStep)
	if err != nil {
		return err
	}
	keys := []Key{{UID: job.UID}}
	for _, uid := range friends {
		keys = append(keys, Key{UID: uid})
	}
	return c.store.Update(ctx, keys, func(tx Tx) error {
		f := c.feeding(tx, nil)
		if err := f.hold(keys); err != nil {
			return err
		}
		switch stored, err := tx.Fanout(job.UID); {
		case errors.Is(err, ErrNotFound):
			return nil // another server has ended it
		case err != nil || stored != job:
			return err // it was done, or set back: the next step begins where it is now
		}
		p, err := tx.Profile(job.UID)
		if err != nil {
			return err
		}
		// Now that they are held: who is still there. Whoever is new has got the profile with the friend, and may have moved others out of this look.
		still, err := tx.HaveFriend(job.UID, job.Done, fanStep)
		if err != nil {
			return err
		}
		profile := c.publicProfile(name, p)
		for _, uid := range friends {
			if _, ok := slices.BinarySearch(still, uid); !ok {
				continue
			}
			r := &im.Relation{Kind: im.RelationKind_RELATION_FRIEND_SELF, UserId: name}
			if err := f.add(uid, nil, r); err != nil {
				return err
			}
			r.Profile, r.ProfileVer = profile, p.Ver
		}
		next := Fanout{UID: job.UID, Ver: job.Ver, Done: math.MaxInt64}
		for _, look := range [][]UID{friends, still} {
			if len(look) == fanStep {
				next.Done = min(next.Done, look[fanStep-1])
			}
		}
		if next.Done == math.MaxInt64 {
			err = tx.DropFanout(job.UID)
		} else {
			err = tx.PutFanout(next)
		}
		if err != nil {
			return err
		}
		return f.done(nil)
	})
}
