package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/hook"
)

// The outbox has what the program is to be notified of besides messages. It is read lane by lane, and what was received is deleted: nothing but the
// program itself can keep a lane from being told, and a lane for which that fails waits by itself.

const (
	outboxLease = "webhook-outbox"
	// someLanes is how many lanes are told at once.
	someLanes = 64
	// maxLate limits the lanes that wait to be tried again. While there are that many, no other lane that was not tried yet is told.
	maxLate = 10_000
	// oldAtOnce is how many rows are given up in one transaction.
	oldAtOnce = 500
	// patience is how many of the longest pauses a program must have failed for until what is too old is given up.
	patience = 10
)

// late is a lane whose first row the program did not take.
type late struct {
	begun time.Time
	until time.Time
	wait  time.Duration
}

// outbox is a run through the outbox while this server has its lease.
type outbox struct {
	after *After
	// mu protects what follows while lanes are told.
	mu   sync.Mutex
	late map[chat.UID]*late
	// received is when the program last took something, or when the run began. logged is when a failure was last logged.
	received, logged time.Time
	failed           bool
}

func (a *After) runOutbox(ctx context.Context) {
	o := &outbox{after: a, late: make(map[chat.UID]*late), received: time.Now()}
	wait := a.hook.cfg.RetryFirst
	for ctx.Err() == nil {
		busy, err := o.all(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if chat.Known(err) == "" {
				a.hook.cfg.Log.Error("the webhook cannot read its outbox", "err", err)
			}
			pause(ctx, wait)
			wait = min(2*wait, a.hook.cfg.RetryMost)
		default:
			wait = a.hook.cfg.RetryFirst
			if !busy {
				o.more(ctx)
			}
		}
	}
}

// all goes through all lanes once, and reports whether any of them was told.
func (o *outbox) all(ctx context.Context) (busy bool, err error) {
	o.failed = false
	seen := make(map[chat.UID]*late)
	for after, more := chat.FirstLane, true; more && ctx.Err() == nil; {
		lanes, err := o.after.chat.OutboxLanes(ctx, after, someLanes)
		if err != nil {
			return busy, err
		}
		if more = len(lanes) == someLanes; more {
			after = lanes[len(lanes)-1]
		}
		var ready []chat.UID
		for _, lane := range lanes {
			l := o.late[lane]
			if l != nil {
				seen[lane] = l
			}
			if l == nil && len(o.late) < maxLate || l != nil && !time.Now().Before(l.until) {
				ready = append(ready, lane)
			}
		}
		if len(ready) == 0 {
			continue
		}
		busy = true
		if err := o.tell(ctx, ready); err != nil {
			return busy, err
		}
		for _, lane := range ready {
			delete(seen, lane)
			if l := o.late[lane]; l != nil {
				seen[lane] = l
			}
		}
	}
	if ctx.Err() == nil {
		o.late = seen // without lanes that have become empty
		err = o.giveUp(ctx)
	}
	return busy, err
}

// tell sends what is first in some lanes, and deletes what was received.
func (o *outbox) tell(ctx context.Context, lanes []chat.UID) error {
	each := max(1, batch/len(lanes))
	var received []int64
	var failed error
	var wg sync.WaitGroup
	slots := make(chan struct{}, o.after.hook.cfg.Parallel)
	for _, lane := range lanes {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ids, err := o.lane(ctx, lane, each)
			o.mu.Lock()
			defer o.mu.Unlock()
			received = append(received, ids...)
			if err != nil {
				failed = err
			}
		})
	}
	wg.Wait()
	if err := o.drop(received); err != nil {
		return err
	}
	return failed
}

// drop deletes rows. What is not deleted is sent again at some point.
func (o *outbox) drop(ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closing/2) // also when it is to stop
	defer cancel()
	return o.after.chat.DropOutbox(ctx, ids)
}

// lane sends up to n rows of a lane, in their order, until one is not received. It returns those that are done with.
func (o *outbox) lane(ctx context.Context, lane chat.UID, n int) (received []int64, err error) {
	rows, err := o.after.chat.Outbox(ctx, lane, n)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		e, err := o.event(ctx, &rows[i])
		if err != nil {
			return received, err
		}
		s := sending{event: e, after: o.after}
		switch out, err := s.try(ctx); out {
		case stopped:
			return received, nil
		case done:
			received = append(received, rows[i].ID)
			o.taken(lane)
			continue
		default:
			if !o.notTaken(lane, &s, err) {
				return received, nil
			}
			// The program has not taken anything of the lane for long, so what is too old has had its time.
			for ; i < len(rows) && o.tooOld(&rows[i]); i++ {
				if s.event, err = o.event(ctx, &rows[i]); err != nil {
					return received, err
				}
				s.log(slog.LevelError, "the webhook is not notified of an event", "err", err)
				s.count("given up")
				received = append(received, rows[i].ID)
			}
			return received, nil
		}
	}
	return received, nil
}

func (o *outbox) event(ctx context.Context, r *chat.Outgoing) (*event, error) {
	about := []any{"account", int64(r.Lane), "row", r.ID}
	if conv := chat.ConvOf(r.Lane); conv != 0 {
		if isMessage(r) {
			return o.messageInOutbox(ctx, r)
		}
		about = []any{"group", int64(conv), "row", r.ID}
	}
	return &event{
		id: fmt.Sprintf("%s-o%d", o.after.chat.StoreID(), r.ID), lane: int64(r.Lane), command: r.Command, about: about,
		make: func() (*request, error) {
			if !json.Valid(r.Body) {
				return nil, fmt.Errorf("row %d of the outbox is not JSON", r.ID)
			}
			req := &request{platform: r.Platform, addr: r.Addr, body: json.RawMessage(o.after.chat.Unmark(r.Body))}
			if r.Command == new(hook.GroupAfterGroupDestroyed).Hook() {
				body, err := o.destroyed(ctx, r)
				if err != nil {
					return nil, err
				}
				req.body = body
			}
			return req, nil
		},
	}, nil
}

// destroyed adds to the notification of a group's end who was in it then. The rows of members stay as they were, so the end of a large group costs no more than that
// of a small one.
func (o *outbox) destroyed(ctx context.Context, r *chat.Outgoing) (*hook.GroupAfterGroupDestroyed, error) {
	b := &hook.GroupAfterGroupDestroyed{}
	if err := json.Unmarshal(r.Body, b); err != nil {
		return nil, err
	}
	names, err := o.after.chat.LastMembers(ctx, chat.ConvOf(r.Lane))
	for _, name := range names {
		b.MemberList = append(b.MemberList, hook.GroupAfterGroupDestroyedMemberList{Member_Account: name})
	}
	return b, err
}

func (o *outbox) taken(lane chat.UID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.late, lane)
	o.received = time.Now()
}

// notTaken makes a lane wait, and reports whether the program has failed for so long that what is too old is given up.
func (o *outbox) notTaken(lane chat.UID, s *sending, err error) bool {
	cfg := &o.after.hook.cfg
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = true
	l := o.late[lane]
	if l == nil {
		l = &late{begun: time.Now(), wait: cfg.RetryFirst}
		o.late[lane] = l
	}
	l.until = time.Now().Add(l.wait)
	level := levelOf(err)
	if time.Since(o.logged) < cfg.RetryMost {
		level = slog.LevelDebug // many lanes may fail, for one reason
	} else {
		o.logged = time.Now()
	}
	s.log(level, "the webhook cannot be notified of an event yet", "again in", l.wait, "err", err)
	l.wait = min(2*l.wait, cfg.RetryMost)
	return time.Since(l.begun) > o.patience()
}

func (o *outbox) patience() time.Duration {
	return min(o.after.hook.cfg.GiveUp, patience*o.after.hook.cfg.RetryMost)
}

// before is the time of the oldest row that is still sent again.
func (o *outbox) before() int64 { return o.after.chat.Now() - o.after.hook.cfg.GiveUp.Milliseconds() }

func (o *outbox) tooOld(r *chat.Outgoing) bool { return r.Time < o.before() }

// giveUp deletes all that is too old if the program does not take anything of anybody: the outbox does not grow for longer than events are sent again.
func (o *outbox) giveUp(ctx context.Context) error {
	if !o.failed || time.Since(o.received) < o.patience() {
		return nil
	}
	for ctx.Err() == nil {
		rows, err := o.after.chat.OutboxOld(ctx, o.before(), oldAtOnce)
		if err != nil || len(rows) == 0 {
			return err
		}
		ids := make([]int64, len(rows))
		for i := range rows {
			ids[i] = rows[i].ID
			o.after.hook.metrics.WithLabelValues(rows[i].Command, "given up").Inc()
		}
		if err := o.drop(ids); err != nil {
			return err
		}
		o.after.hook.cfg.Log.Error("the webhook takes nothing; it is not notified of what is too old", "events", len(rows), "first", ids[0])
	}
	return nil
}

// more waits until there may be something new, or a lane is to be tried again.
func (o *outbox) more(ctx context.Context) {
	var again <-chan time.Time
	at := time.Time{}
	for _, l := range o.late {
		if at.IsZero() || l.until.Before(at) {
			at = l.until
		}
	}
	if !at.IsZero() {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		again = t.C
	}
	var others <-chan time.Time
	if o.after.chat.Shared() {
		look := time.NewTimer(lookEvery)
		defer look.Stop()
		others = look.C
	}
	select {
	case <-o.after.chat.Outgoing():
	case <-again:
	case <-others:
	case <-ctx.Done():
	}
}
