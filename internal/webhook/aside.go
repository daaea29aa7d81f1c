package webhook

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"

	"github.com/tidings-im/tidings/internal/chat"
)

// A message of which the program does not take the notification would hold up all that are stored after it. So after a while its conversation is set aside: the
// notification waits in the outbox, in a lane of the conversation, and as long as something is in there, those of later messages are put behind it. A row is
// the position of a message in the log, so it is small, and the message is shown as it is when the notification is sent.

const (
	// mostAside limits the conversations that are aside; while there are that many, another one waits in the log, and holds up the others.
	mostAside = 1000
	// mostWaiting limits what waits of a conversation that is aside.
	mostWaiting = 10_000
)

// aside are the conversations whose notifications go through the outbox, as the server that reads the log knows them.
type aside struct {
	chat *chat.Chat
	mu   sync.Mutex
	in   map[int64]bool
}

// asideOf reads which conversations are aside.
func asideOf(ctx context.Context, c *chat.Chat) (*aside, error) {
	s := &aside{chat: c, in: map[int64]bool{}}
	for after := chat.FirstLane; ; {
		lanes, err := c.OutboxLanes(ctx, after, someLanes)
		if err != nil {
			return nil, err
		}
		for _, lane := range lanes {
			conv := chat.ConvOf(lane)
			if conv == 0 {
				return s, nil // accounts follow
			}
			after = lane
			rows, err := c.Outbox(ctx, lane, mostWaiting)
			if err != nil {
				return nil, err
			}
			// What is in the lane of a group can be only changes of the group.
			if len(rows) == mostWaiting || slices.ContainsFunc(rows, func(r chat.Outgoing) bool { return isMessage(&r) }) {
				s.in[int64(conv)] = true
			}
		}
		if len(lanes) < someLanes {
			return s, nil
		}
	}
}

// has reports whether a conversation is aside. One whose lane has become empty is not any more: the program has all that was stored before.
func (s *aside) has(ctx context.Context, conv int64) (bool, error) {
	s.mu.Lock()
	in := s.in[conv]
	s.mu.Unlock()
	if !in {
		return false, nil
	}
	n, err := s.chat.OutboxSize(ctx, chat.ConvID(conv))
	if err != nil || n > 0 {
		return true, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.in, conv)
	return false, nil
}

// room reports whether another conversation may be set aside.
func (s *aside) room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.in) < mostAside
}

// put puts events of a conversation into the outbox, and returns how many there was room for.
func (s *aside) put(ctx context.Context, conv int64, list []*event) (n int, err error) {
	waiting, err := s.chat.OutboxSize(ctx, chat.ConvID(conv))
	if err != nil {
		return 0, err
	}
	list = list[:min(len(list), max(mostWaiting-waiting, 0))]
	bodies := make([][]byte, len(list))
	for i, e := range list {
		bodies[i] = strconv.AppendInt(nil, e.pos, 10)
	}
	s.mu.Lock()
	s.in[conv] = true // before the commit: nothing of it is sent past what may be in the outbox
	s.mu.Unlock()
	if len(list) == 0 {
		return 0, nil
	}
	return len(list), s.chat.PutOutbox(ctx, chat.ConvID(conv), list[0].command, bodies)
}

// setAside puts events of a conversation into the outbox, and tries until they are there. It returns false if it is to stop.
func (a *After) setAside(ctx context.Context, s *aside, conv int64, list []*event) bool {
	wait := a.hook.cfg.RetryFirst
	for {
		n, err := s.put(ctx, conv, list)
		if err == nil {
			for i, e := range list {
				outcome := "set aside"
				if i >= n {
					outcome = "given up"
				}
				a.hook.metrics.WithLabelValues(e.command, outcome).Inc()
			}
			if n < len(list) {
				a.hook.cfg.Log.Error("too much waits of a conversation; the webhook is not notified of messages", append([]any{"messages", len(list) - n, "first", list[n].id}, list[n].about...)...)
			}
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if chat.Known(err) == "" {
			a.hook.cfg.Log.Error("what the webhook does not take cannot be set aside", "err", err)
		}
		pause(ctx, wait)
		wait = min(2*wait, a.hook.cfg.RetryMost)
	}
}

// isMessage reports whether a row of a conversation's lane is the position of a message, and not the body of another notification.
func isMessage(r *chat.Outgoing) bool { return !bytes.HasPrefix(r.Body, []byte("{")) }

// messageInOutbox is the event of a row of a conversation's lane.
func (o *outbox) messageInOutbox(ctx context.Context, r *chat.Outgoing) (*event, error) {
	c := o.after.chat
	gone := func(err error) (*event, error) {
		return &event{command: r.Command, about: []any{"row", r.ID}, make: func() (*request, error) { return nil, err }}, nil
	}
	pos, err := strconv.ParseInt(string(r.Body), 10, 64)
	if err != nil {
		return gone(fmt.Errorf("row %d of the outbox names no message: %w", r.ID, err))
	}
	log, _, err := c.Log(ctx, pos-1, 1)
	if err != nil {
		return nil, err
	}
	if len(log) == 0 || log[0].Pos != pos {
		return gone(fmt.Errorf("message %d of the log is gone", pos))
	}
	e := messageEvent(c, &log[0], &unread{chat: c})
	return &e, nil
}

// aLane sends the events of a lane, or sets them aside. told is set for those that are done with.
func (a *After) aLane(ctx context.Context, s *aside, list []*event, told func(i int)) {
	for i, e := range list {
		var err error
		waits := false
		if s != nil && i == 0 {
			waits, err = s.has(ctx, e.lane)
		}
		if err != nil { // what is in the outbox is not known: they are put behind it
			if chat.Known(err) == "" && ctx.Err() == nil {
				a.hook.cfg.Log.Log(ctx, slog.LevelError, "the webhook cannot read its outbox", "err", err)
			}
		}
		if !waits {
			out := a.one(ctx, e, s)
			if out == done {
				told(i)
				continue
			}
			if out == stopped {
				return
			}
		}
		if a.setAside(ctx, s, e.lane, list[i:]) {
			for k := range list[i:] {
				told(i + k)
			}
		}
		return
	}
}
