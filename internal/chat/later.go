package chat

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/hook"
	"github.com/tidings-im/tidings/internal/restjson"
)

// What the webhook is notified of although nothing is stored of it: who comes and goes in live rooms and what is said there, and messages to groups that were
// refused. A notification waits in memory until the one goroutine that writes them, many at a time, has put it into the outbox; so its cause waits for nothing. What
// waits there when the server is killed is lost.
const (
	// mostLater limits what waits in memory, mostLaterOfLane what of it is in one lane, and laterBytes how much the messages in it may take.
	mostLater, mostLaterOfLane, laterBytes = 10_000, 1000, 16 << 20
	// laterAtOnce is how many are written in one transaction, in at most laterLanes lanes.
	laterAtOnce, laterLanes = 256, 32
	// mostInLane is how much may be in a lane of the outbox for more to be put into it.
	mostInLane = 10_000
	// laterAfter is the pause after a transaction that failed, laterTries how often one is tried; laterAlone is after how many rows in succession that could not be
	// written each by itself either, no further one is tried.
	laterAfter, laterTries, laterAlone = 200 * time.Millisecond, 5, 8
)

// later is what waits to be written.
type later struct {
	mu      sync.Mutex
	waiting []*notice
	lanes   map[UID]int
	bytes   int
	writing bool
	running sync.WaitGroup
	stopped bool
	// lost counts what there was no room for and the log does not have yet.
	lost int
	// ctx is that of the transactions; its end lets none be waited for.
	ctx    context.Context
	cancel context.CancelFunc
}

// notice is a notification that waits. content is a message in wire form that put adds to the body; nil if it has none.
type notice struct {
	lane           UID
	platform, addr string
	body           hook.Body
	content        []byte
	put            func(*im.Message)
}

// from sets where a cause comes from.
func (n *notice) from(s *Caller) *notice {
	n.addr, n.platform = s.Addr, restjson.Platform(s.Platform)
	if s.Operator {
		n.platform = restjson.PlatformREST
	}
	return n
}

// noteLater notes a notification. join, if it is not nil, may put it into the one of its lane that was noted last, and reports whether it has.
func (c *Chat) noteLater(n *notice, join func(last hook.Body) bool) {
	l := &c.later
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := len(l.waiting); k > 0 && join != nil && l.waiting[k-1].lane == n.lane && join(l.waiting[k-1].body) {
		return
	}
	if l.stopped || len(l.waiting) >= mostLater || l.lanes[n.lane] >= mostLaterOfLane || l.bytes+len(n.content) > laterBytes {
		l.lost++
		return
	}
	if l.lanes == nil {
		l.lanes = make(map[UID]int)
	}
	l.waiting = append(l.waiting, n)
	l.lanes[n.lane]++
	l.bytes += len(n.content)
	if !l.writing {
		l.writing = true
		l.running.Go(c.writeLater)
	}
}

// wait returns when everything was written. Nothing more is noted.
func (l *later) wait() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	l.running.Wait()
}

// stops reports whether wait was called: what fails together is tried each by itself then, and not together again.
func (l *later) stops() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped
}

// take takes what is written next; nothing if nothing waits, which ends the goroutine.
func (l *later) take() (batch []*notice, lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lanes := make(map[UID]bool)
	n := 0
	for n < len(l.waiting) && n < laterAtOnce && (lanes[l.waiting[n].lane] || len(lanes) < laterLanes) {
		x := l.waiting[n]
		lanes[x.lane] = true
		if l.lanes[x.lane]--; l.lanes[x.lane] == 0 {
			delete(l.lanes, x.lane)
		}
		l.bytes -= len(x.content)
		n++
	}
	batch = slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	l.writing = n > 0
	lost, l.lost = l.lost, 0
	return batch, lost
}

func (c *Chat) writeLater() {
	for {
		batch, lost := c.later.take()
		if len(batch) > 0 {
			if err := contained(func() { lost += c.putLater(batch) }); err != nil {
				c.log.Error("notifications for the webhook cannot be written", "err", err)
			}
		}
		if lost > 0 {
			c.log.Error("the webhook is not notified of something, because too much waits for it or cannot be written", "notifications", lost)
		}
		if len(batch) == 0 {
			return
		}
	}
}

// putLater writes notifications to the outbox, and returns how many are lost. After an ambiguous commit some are there twice.
func (c *Chat) putLater(batch []*notice) (lost int) {
	rows := make([]Outgoing, 0, len(batch))
	for _, n := range batch {
		o, err := n.row()
		switch {
		case err != nil:
			c.log.Error("a notification for the webhook cannot be written", "err", err)
		case o.Body != nil:
			rows = append(rows, o)
		}
	}
	for try := 1; len(rows) > 0; try++ {
		left, err := c.addOutbox(rows)
		if err == nil {
			return left
		}
		if try == laterTries || c.later.stops() {
			if Known(err) == "" {
				c.log.Error("notifications for the webhook cannot be written together", "err", err)
				return c.putEach(rows)
			}
			return len(rows)
		}
		time.Sleep(laterAfter)
	}
	return 0
}

// putEach writes rows one by one, so that one that cannot be written takes no others with it, and returns how many are lost.
func (c *Chat) putEach(rows []Outgoing) (lost int) {
	for failed := 0; len(rows) > 0 && failed < laterAlone; rows = rows[1:] {
		left, err := c.addOutbox(rows[:1])
		if lost += left; err == nil {
			failed = 0
			continue
		}
		lost++
		failed++
	}
	return lost + len(rows)
}

// row makes the row of the outbox. It has no body if the sender of the message wants no notification.
func (n *notice) row() (Outgoing, error) {
	o := Outgoing{Lane: n.lane, Platform: n.platform, Addr: n.addr, Command: n.body.Hook()}
	if n.put != nil {
		var msg im.Message
		if err := msg.UnmarshalVT(n.content); err != nil {
			return o, err
		}
		if msg.DisableCloudMessagePostHook {
			return o, nil
		}
		markURLs(&msg)
		n.put(&msg)
	}
	var err error
	o.Body, err = restjson.Marshal(n.body)
	return o, err
}

// addOutbox writes rows to the outbox, except those for which there is no room in their lanes, whose number it returns.
func (c *Chat) addOutbox(rows []Outgoing) (left int, err error) {
	ctx, cancel := context.WithTimeout(c.later.ctx, 10*time.Second)
	defer cancel()
	room := make(map[UID]int)
	var keys []Key
	for i := range rows {
		lane := rows[i].Lane
		if _, known := room[lane]; known {
			continue
		}
		n, err := c.store.OutboxSize(ctx, lane)
		if err != nil {
			return 0, err
		}
		room[lane] = mostInLane - n
		keys = append(keys, keyOf(lane))
	}
	kept := rows[:0:0]
	for _, o := range rows {
		if room[o.Lane]--; room[o.Lane] >= 0 {
			kept = append(kept, o)
		}
	}
	err = c.store.Update(ctx, keys, func(tx Tx) error {
		for _, o := range kept {
			if err := tx.AddOutbox(o); err != nil {
				return err
			}
		}
		tx.AfterCommit(c.wakeOutbox)
		return nil
	})
	return len(rows) - len(kept), err
}

// noteState notes that nothing is heard of somebody in a live room any more, or something again, and why. The caller holds r.mu.
func (r *liveRoom) noteState(g *guest, online bool, cause string) {
	if !r.c.cfg.Notify || cause == "" {
		return
	}
	b := &hook.GroupOnMemberStateChange{GroupId: r.name, EventType: "Offline", EventCause: cause, EventTime: r.c.store.Now()}
	if online {
		b.EventType = "Online"
	}
	b.MemberList = []hook.GroupOnMemberStateChangeMemberList{{Member_Account: g.name}}
	r.c.noteLater(&notice{lane: LaneOf(r.id), body: b}, func(last hook.Body) bool {
		o, ok := last.(*hook.GroupOnMemberStateChange)
		if ok = ok && o.EventType == b.EventType && o.EventCause == cause && len(o.MemberList) < mostTogether; ok {
			o.MemberList = append(o.MemberList, b.MemberList...)
		}
		return ok
	})
}

// mostTogether is how many members one notification of their state names.
const mostTogether = 100

// withContent returns what puts a message into the fields of a body.
func withContent(body *restjson.Elems, custom *string) func(*im.Message) {
	return func(msg *im.Message) { *body, *custom = msg.ElemArray, msg.CloudCustomStr }
}

// noteSaid notes a message that was said in a live room.
func (r *liveRoom) noteSaid(w *said, m *send) {
	if !r.c.cfg.Notify {
		return
	}
	s := m.call.Caller
	b := &hook.GroupAfterSendMsg{
		GroupId: r.name, Type: m.group.typ.name, From_Account: s.Name, Operator_Account: s.admin(), Random: m.random, MsgSeq: w.number, MsgTime: w.time / 1000, EventTime: w.time,
	}
	n := &notice{lane: LaneOf(r.id), body: b, content: w.body, put: withContent(&b.MsgBody, &b.CloudCustomData)}
	r.c.noteLater(n.from(s), nil)
}

// fail refuses a message. The webhook is notified of one to a group that is refused with a code of groups; not of what it has refused itself.
func (m *send) fail(err error) {
	group := ""
	if m.group != nil {
		group = m.group.name
	}
	m.failIn(group, err)
}

// failIn is fail for a message to a group that may not exist.
func (m *send) failIn(group string, err error) {
	m.call.fail(err)
	var refused *im.Error
	if !m.c.cfg.Notify || !m.toGroup || !errors.As(err, &refused) || refused.Code/1000 != 10 {
		return
	}
	s := m.call.Caller
	b := &hook.GroupSendMsgException{
		GroupId: group, From_Account: s.Name, Operator_Account: s.admin(), Random: m.random, ErrorCode: int64(refused.Code), ErrorInfo: refused.Desc, EventTime: m.c.store.Now(),
	}
	if m.group != nil {
		b.Type, b.OnlineOnlyFlag = m.group.typ.name, restjson.Flag(m.online && !m.group.typ.live)
	}
	// In the lane of the sender, so that one who goes on and on delays nobody's notifications but their own.
	n := &notice{lane: s.UID, body: b, content: m.sent, put: withContent(&b.MsgBody, &b.CloudCustomData)}
	m.c.noteLater(n.from(s), nil)
}
