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

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/restjson"
)

const (
	// cursorName is the reader of the log.
	cursorName = "webhook"
	// batch is how much of the log is read at once: at most so much is told again after a crash.
	batch = 256
	// EventHeader names what is told: the same event told again has the same value.
	EventHeader = "Tidings-Event-Id"
	// lookEvery is how often the log is looked at for what other servers have stored.
	lookEvery = 200 * time.Millisecond
	// closing is how long a stop waits for the answers that are due, and for the cursor.
	closing = 3 * time.Second
)

type after struct {
	message
	SendMsgResult   int
	ErrorInfo       string
	UnreadMsgNum    int64
	MsgBody         []restjson.Elem
	CloudCustomData string
}

// After tells of messages that were stored. It reads the log behind a cursor that is kept in the store, so a crash loses none and a message that
// is sent costs nothing more. Of several servers on one store one tells.
type After struct {
	hook *Hook
	chat *chat.Chat
	stop context.CancelFunc
	done chan struct{}
}

// StartAfter begins where the last run ended, or, the first time, with the next message. It is called before messages can be sent.
func (h *Hook) StartAfter(ctx context.Context, c *chat.Chat) (*After, error) {
	if err := c.StartCursor(ctx, cursorName); err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.Background())
	a := &After{hook: h, chat: c, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		c.Alone(run, cursorName, a.run)
	}()
	return a, nil
}

// Close ends it, in a bounded time; what has not been told yet is told after the next start. The store must still be open.
func (a *After) Close() {
	a.stop()
	select {
	case <-a.done:
	case <-time.After(closing):
		a.hook.cfg.Log.Warn("the webhook did not stop in time")
	}
}

// run tells batch after batch, while this server has the lease.
func (a *After) run(ctx context.Context, lease int64) {
	pos, err := a.chat.Cursor(ctx, cursorName)
	if err != nil {
		if ctx.Err() == nil {
			a.hook.cfg.Log.Error("the webhook cannot read its cursor", "err", err)
		}
		return
	}
	wait := a.hook.cfg.RetryFirst
	for ctx.Err() == nil {
		list, upTo, err := a.chat.Log(ctx, pos, batch)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if chat.Known(err) == "" {
				a.hook.cfg.Log.Error("the webhook cannot read the log", "err", err)
			}
			pause(ctx, wait)
			wait = min(2*wait, a.hook.cfg.RetryMost)
			continue
		case upTo == pos:
			a.more(ctx)
			continue
		}
		wait = a.hook.cfg.RetryFirst
		if told := a.tell(ctx, pos, upTo, list); told > pos {
			pos = told
			if !a.keep(pos, lease) {
				return
			}
		}
	}
}

// more waits until there may be something new in the log.
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

// keep stores the cursor, and answers false if another server tells by now. If it fails, what lies between is told again one day.
func (a *After) keep(pos, lease int64) bool {
	ctx, cancel := context.WithTimeout(context.Background(), closing/2)
	defer cancel()
	err := a.chat.SetCursor(ctx, cursorName, pos, lease)
	if err != nil && chat.Known(err) == "" {
		a.hook.cfg.Log.Error("the webhook's cursor cannot be kept", "err", err)
	}
	return !errors.Is(err, chat.ErrLease)
}

// tell tells of the messages in list, those of a conversation in their order, and answers the position up to which all were told.
func (a *After) tell(ctx context.Context, pos, upTo int64, list []chat.LogMessage) int64 {
	convs := make(map[chat.ConvID][]int)
	var order []chat.ConvID
	for i := range list {
		id := list[i].Stored.Conv
		if convs[id] == nil {
			order = append(order, id)
		}
		convs[id] = append(convs[id], i)
	}
	told := make([]bool, len(list))
	var unread sync.Map // of a receiver: asked once a batch, because it is a sum over all his conversations
	var wg sync.WaitGroup
	slots := make(chan struct{}, a.hook.cfg.Parallel)
	for _, id := range order {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			for _, i := range convs[id] {
				if !a.one(ctx, &list[i], &unread) {
					return
				}
				told[i] = true
			}
		})
	}
	wg.Wait()
	for i := range list {
		if !told[i] {
			return pos
		}
		pos = list[i].Pos
	}
	return upTo
}

// one tells of a message, trying for hours. It answers false only when it is to stop. A message that cannot be told at all is left out, so that it
// holds up none of those after it.
func (a *After) one(ctx context.Context, m *chat.LogMessage, unread *sync.Map) (done bool) {
	h := a.hook
	leaveOut := func(err error) bool {
		h.cfg.Log.Error("a message that cannot be told is left out", "from", m.From, "to", m.To, "key", keyOf(m), "err", err)
		h.metrics.WithLabelValues(afterSend, "left out").Inc()
		return ctx.Err() == nil
	}
	defer func() {
		if r := recover(); r != nil {
			done = leaveOut(fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
		}
	}()
	msg, b, err := bodyOf(m)
	if err != nil {
		return leaveOut(err)
	}
	if msg.DisableCloudMessagePostHook {
		return ctx.Err() == nil
	}
	header := http.Header{EventHeader: {fmt.Sprintf("%s-%d", a.chat.StoreID(), m.Pos)}}
	begun, wait := time.Now(), h.cfg.RetryFirst
	for ctx.Err() == nil {
		n, err := a.unread(ctx, m.To, unread)
		if err == nil {
			b.UnreadMsgNum = n
			err = h.post(ctx, afterSend, "", restjson.Platform(im.Platform(msg.Platform)), header, &b, nil)
		}
		if err == nil {
			h.metrics.WithLabelValues(afterSend, "told").Inc()
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if time.Since(begun) > h.cfg.GiveUp {
			h.cfg.Log.Error("the webhook is not told of a message", "from", m.From, "to", m.To, "key", b.MsgKey, "err", err)
			h.metrics.WithLabelValues(afterSend, "given up").Inc()
			return true
		}
		level := slog.LevelWarn
		if chat.Known(err) != "" { // it is complained of where it is known
			level = slog.LevelInfo
		}
		h.cfg.Log.Log(ctx, level, "the webhook cannot be told of a message yet", "key", b.MsgKey, "again in", wait, "err", err)
		h.metrics.WithLabelValues(afterSend, "failed").Inc()
		pause(ctx, wait)
		wait = min(2*wait, h.cfg.RetryMost)
		unread.Delete(m.To)
	}
	return false
}

func keyOf(m *chat.LogMessage) string {
	return restjson.Key(m.Stored.Seq, m.Stored.Random, m.Stored.Time/1000)
}

// bodyOf makes what the webhook is told of a message. It fails for one that cannot be decoded or has no form in JSON.
func bodyOf(m *chat.LogMessage) (msg *im.Message, b after, err error) {
	msg = &im.Message{}
	if err := msg.UnmarshalVT(m.Stored.Body); err != nil {
		return msg, b, err
	}
	b = after{
		message: message{
			CallbackCommand: afterSend, From_Account: m.From, To_Account: m.To, MsgSeq: m.Stored.Seq, MsgRandom: m.Stored.Random,
			MsgTime: m.Stored.Time / 1000, MsgKey: keyOf(m),
		},
		ErrorInfo: "send msg succeed", MsgBody: restjson.Body(msg), CloudCustomData: msg.CloudCustomStr,
	}
	_, err = restjson.Marshal(&b)
	return msg, b, err
}

func (a *After) unread(ctx context.Context, user string, known *sync.Map) (int64, error) {
	if n, ok := known.Load(user); ok {
		return n.(int64), nil
	}
	n, err := a.chat.Unread(ctx, user)
	if err == nil {
		known.Store(user, int64(n))
	}
	return int64(n), err
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
