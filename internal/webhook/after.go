package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
)

const (
	// batch is how many events of a source are read at once: at most that many are repeated after a crash.
	batch = 256
	// EventHeader identifies the event: it has the same value if the same event is sent again.
	EventHeader = "Tidings-Event-Id"
	// lookEvery is how often a source is checked for what other servers have stored.
	lookEvery = 200 * time.Millisecond
	// closing is how long a stop waits for outstanding responses, and for the cursor.
	closing = 3 * time.Second
)

// source is an ordered list of events that is read behind a position, by one server at a time.
type source struct {
	// name is the name of its lease.
	name string
	// begin makes a new source begin with what is stored next.
	begin func(ctx context.Context) error
	// from returns the position up to which everything was sent.
	from func(ctx context.Context) (int64, error)
	// read returns the events behind a position, and the position up to which they reach.
	read func(ctx context.Context, after int64, limit int) (list []event, upTo int64, err error)
	// asides: an event that the program does not take waits in the outbox, and those of its lane, which is a conversation, behind it.
	asides bool
	// told keeps the position; it returns chat.ErrLease if another server has taken the lease.
	told func(ctx context.Context, upTo, lease int64) error
}

// event is something to send to the program.
type event struct {
	pos int64
	// id identifies the event, for programs that get it twice.
	id string
	// lane is what has an order: the events of a lane are sent one after the other.
	lane int64
	// command and about name it in the log.
	command string
	about   []any
	// make makes the request; nil if the event is not to be sent. It fails for an event that has no form in JSON.
	make func() (*request, error)
	// update, if there is one, brings the request's body up to date before each attempt to send it; again means that it is not the first one.
	update func(ctx context.Context, again bool) error
}

// request is what is sent of an event.
type request struct {
	platform, addr string
	body           any
}

// After notifies the program of what was done. It reads sources behind positions that are kept in the store, so a crash loses nothing. Of several
// servers on one store, one does so.
type After struct {
	hook *Hook
	chat *chat.Chat
	stop context.CancelFunc
	done chan struct{}
}

// StartAfter begins where the last run ended, or, the first time, with what is stored next. It is called before messages can be sent.
func (h *Hook) StartAfter(ctx context.Context, c *chat.Chat) (*After, error) {
	return h.startAfter(ctx, c, messages(c))
}

func (h *Hook) startAfter(ctx context.Context, c *chat.Chat, sources ...*source) (*After, error) {
	run, stop := context.WithCancel(context.Background())
	a := &After{hook: h, chat: c, stop: stop, done: make(chan struct{})}
	for _, src := range sources {
		if err := src.begin(ctx); err != nil {
			stop()
			return nil, err
		}
	}
	var running sync.WaitGroup
	for _, src := range sources {
		running.Go(func() { c.Alone(run, src.name, func(ctx context.Context, lease int64) { a.run(ctx, src, lease) }) })
	}
	running.Go(func() { c.Alone(run, outboxLease, func(ctx context.Context, _ int64) { a.runOutbox(ctx) }) })
	go func() {
		defer close(a.done)
		running.Wait()
	}()
	return a, nil
}

// Close ends it, in limited time; what has not been sent yet is sent after the next start. The store must still be open.
func (a *After) Close() {
	a.stop()
	select {
	case <-a.done:
	case <-time.After(closing):
		a.hook.cfg.Log.Warn("the webhook did not stop in time")
	}
}

// run sends batch after batch of a source, while this server has its lease.
func (a *After) run(ctx context.Context, src *source, lease int64) {
	pos, err := src.from(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.hook.cfg.Log.Error("the webhook cannot read its cursor", "source", src.name, "err", err)
		}
		return
	}
	wait := a.hook.cfg.RetryFirst
	var aside *aside
	for ctx.Err() == nil {
		var list []event
		var upTo int64
		var err error
		if src.asides && aside == nil {
			aside, err = asideOf(ctx, a.chat)
		}
		if err == nil {
			list, upTo, err = src.read(ctx, pos, batch)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if chat.Known(err) == "" {
				a.hook.cfg.Log.Error("the webhook cannot read what it is to tell", "source", src.name, "err", err)
			}
			pause(ctx, wait)
			wait = min(2*wait, a.hook.cfg.RetryMost)
			continue
		case upTo == pos:
			a.more(ctx)
			continue
		}
		wait = a.hook.cfg.RetryFirst
		if told := a.tell(ctx, aside, pos, upTo, list); told > pos {
			pos = told
			if !a.keep(src, pos, lease) {
				return
			}
		}
	}
}

// more waits until there may be something new.
func (a *After) more(ctx context.Context) {
	var others <-chan time.Time
	if a.chat.Shared() {
		look := time.NewTimer(lookEvery)
		defer look.Stop()
		others = look.C
	}
	select {
	case <-a.chat.Committed():
	case <-others:
	case <-ctx.Done():
	}
}

// keep stores the position, and returns false if another server has taken over. If it fails, the events in between are sent again at some point.
func (a *After) keep(src *source, pos, lease int64) bool {
	ctx, cancel := context.WithTimeout(context.Background(), closing/2)
	defer cancel()
	err := src.told(ctx, pos, lease)
	if err != nil && chat.Known(err) == "" {
		a.hook.cfg.Log.Error("the webhook's cursor cannot be kept", "source", src.name, "err", err)
	}
	return !errors.Is(err, chat.ErrLease)
}

// tell sends the events in list, those of a lane in their order, and returns the position up to which all were sent or set aside.
func (a *After) tell(ctx context.Context, s *aside, pos, upTo int64, list []event) int64 {
	lanes := make(map[int64][]int)
	var order []int64
	for i := range list {
		lane := list[i].lane
		if lanes[lane] == nil {
			order = append(order, lane)
		}
		lanes[lane] = append(lanes[lane], i)
	}
	told := make([]bool, len(list))
	var wg sync.WaitGroup
	slots := make(chan struct{}, a.hook.cfg.Parallel)
	for _, lane := range order {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			var of []*event
			for _, i := range lanes[lane] {
				of = append(of, &list[i])
			}
			a.aLane(ctx, s, of, func(i int) { told[lanes[lane][i]] = true })
		})
	}
	wg.Wait()
	for i := range list {
		if !told[i] {
			return pos
		}
		pos = list[i].pos
	}
	return upTo
}

// outcome is what became of an attempt to send an event.
type outcome int

const (
	// failed: it is to be sent again.
	failed outcome = iota
	// done: it was received, or is left out.
	done
	// stopped: nothing is known, because it is to stop.
	stopped
)

// sending is an event that is being sent.
type sending struct {
	*event
	after *After
	made  *request
	tries int
}

func (s *sending) count(outcome string) {
	s.after.hook.metrics.WithLabelValues(s.command, outcome).Inc()
}

// log logs something about the event.
func (s *sending) log(level slog.Level, what string, args ...any) {
	about := append([]any{"hook", s.command}, s.about...)
	s.after.hook.cfg.Log.Log(context.Background(), level, what, append(about, args...)...)
}

// try sends it once. An event that cannot be sent at all is left out, so that it does not block those after it. err is why it failed.
func (s *sending) try(ctx context.Context) (out outcome, err error) {
	leaveOut := func(err error) (outcome, error) {
		s.log(slog.LevelError, "an event that cannot be sent is left out", "err", err)
		s.count("left out")
		if ctx.Err() != nil {
			return stopped, nil
		}
		return done, nil
	}
	defer func() {
		if r := recover(); r != nil {
			out, err = leaveOut(fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
		}
	}()
	switch {
	case ctx.Err() != nil:
		return stopped, nil
	case s.made == nil:
		if s.made, err = s.make(); err != nil {
			return leaveOut(err)
		}
		if s.made == nil {
			return done, nil
		}
	}
	if s.update != nil {
		err = s.update(ctx, s.tries > 0)
	}
	s.tries++
	if err == nil {
		_, err = s.after.hook.post(ctx, s.command, s.made.addr, s.made.platform, http.Header{EventHeader: {s.id}}, s.made.body)
	}
	switch {
	case err == nil:
		s.count("told")
		return done, nil
	case ctx.Err() != nil:
		return stopped, nil
	}
	s.count("failed")
	return failed, err
}

// one sends an event, retrying for hours. It returns failed only if the event is to be set aside.
func (a *After) one(ctx context.Context, e *event, to *aside) outcome {
	s := sending{event: e, after: a}
	begun, wait := time.Now(), a.hook.cfg.RetryFirst
	for {
		out, err := s.try(ctx)
		if out != failed {
			return out
		}
		if time.Since(begun) > a.hook.cfg.GiveUp {
			s.log(slog.LevelError, "the webhook is not notified of an event", "err", err)
			s.count("given up")
			return done
		}
		if to != nil && time.Since(begun) > a.hook.cfg.Aside && to.room() {
			s.log(levelOf(err), "the webhook cannot be notified of an event; its conversation is set aside", "err", err)
			return failed
		}
		s.log(levelOf(err), "the webhook cannot be notified of an event yet", "again in", wait, "err", err)
		pause(ctx, wait)
		wait = min(2*wait, a.hook.cfg.RetryMost)
	}
}

// levelOf is the level at which a failed attempt is logged.
func levelOf(err error) slog.Level {
	if chat.Known(err) != "" { // the error is logged where its cause is known
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
