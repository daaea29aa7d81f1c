package chat

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tidings-im/tidings/im"
)

// A change of a profile is told to all who have the user as a friend by a job that is stored with the change. It does some of them in one transaction,
// which also moves the job on, so that a crash neither loses nor repeats any.

const (
	// fanStep is how many friends are told in one transaction. Sends wait at most for one of them.
	fanStep = 100
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

// fanOut does jobs until ctx ends.
func (c *Chat) fanOut(ctx context.Context) {
	for ctx.Err() == nil {
		jobs, err := c.store.Fanouts(ctx, 100)
		for i := range jobs {
			if err == nil {
				err = c.fanJob(ctx, jobs[i])
			}
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
		timer := time.NewTimer(wait)
		select {
		case <-c.fans:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// fanJob does a job to its end.
func (c *Chat) fanJob(ctx context.Context, job Fanout) error {
	name, err := c.nameOf(ctx, job.UID)
	if err != nil {
		return err
	}
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if job, more, err = c.fanSome(ctx, person{job.UID, name}, job); err != nil {
			return err
		}
	}
	return nil
}

// fanSome tells the next of those who have a user as a friend, and returns the job as it is then. A change that came meanwhile has set it back to its
// beginning: then the same person may get an entry again, with a newer profile.
func (c *Chat) fanSome(ctx context.Context, who person, job Fanout) (next Fanout, more bool, err error) {
	friends, err := c.store.HaveFriend(ctx, who.uid, job.Done, fanStep)
	if err != nil {
		return job, false, err
	}
	keys := []Key{{UID: who.uid}}
	for _, uid := range friends {
		keys = append(keys, Key{UID: uid})
	}
	err = c.store.Update(ctx, keys, func(tx Tx) error {
		next, more = job, false
		f := c.feeding(tx, nil)
		if err := f.hold(keys); err != nil {
			return err
		}
		switch stored, err := tx.Fanout(who.uid); {
		case errors.Is(err, ErrNotFound): // another server has ended it
			return nil
		case err != nil:
			return err
		case stored != job:
			next, more = stored, true
			return nil
		}
		for _, uid := range friends {
			switch _, err := tx.Relation(uid, relFriend, int64(who.uid)); {
			case errors.Is(err, ErrNotFound):
				continue // not any more
			case err != nil:
				return err
			}
			if err := f.add(uid, &who, &im.Relation{Kind: im.RelationKind_RELATION_FRIEND_SELF, UserId: who.name}); err != nil {
				return err
			}
		}
		var err error
		if more = len(friends) == fanStep; more {
			next.Done = slices.Max(friends)
			err = tx.PutFanout(next)
		} else {
			err = tx.DropFanout(who.uid)
		}
		if err != nil {
			return err
		}
		return f.done(func() {})
	})
	return next, more, err
}
