package chat

import (
	"bytes"
	"context"
	"time"

	"github.com/tidings-im/tidings/im"
)

const (
	// defaultRoomRate is how many messages per second a live room lets through; those of operators are not counted.
	defaultRoomRate = 40
	// tipRate is how many tips about joining and leaving per second a room makes.
	tipRate = 10
	// maxUrgent is how much may wait that no rate holds back when an operator sends a message.
	maxUrgent = 256
	// saidFor is how long a key is known, maxSaid how many are; maxRewritten is how many bytes that hooks have rewritten are kept with them.
	saidFor      = time.Minute
	maxSaid      = 1 << 14
	maxRewritten = 1 << 20
	// numberBlock is how many numbers are set aside at once: those that a server has not used when it stops are never used.
	numberBlock = 1 << 16
)

// Priorities of messages: the lowest has the largest number.
const (
	highest = 0
	usual   = 1
	lowest  = 3
)

// talk is what is being said in a room: what waits, and what was said lately. It is protected by the room's lock.
type talk struct {
	// pace and tips are the rates of messages, and of tips about joining and leaving.
	pace, tips pace
	// queue are messages that wait for the pace, at most most; urgent is what does not wait for it: tips, changes and the end of the room, in the order of their
	// commits, and messages of operators. late is a tip about joining or leaving that the rate held back: the newest.
	queue  []*said
	most   int
	urgent []func()
	late   *im.GroupTipsElem
	// working means that a goroutine makes what waits heard; wake interrupts its pause.
	working bool
	wake    chan struct{}
	// next to last are numbers that are set aside, spare are the first and last of more of them.
	next, last uint64
	spare      [2]uint64
	reserving  bool
	// opened is when the room was. known and order are what was said within saidFor; rewritten are those of them with a body, which have so many bytes.
	opened         time.Time
	known          map[SendKey]*said
	order          []*said
	rewritten      []*said
	rewrittenBytes int
}

// said is a message to a room. Once it was heard, send is nil, and number and time are what it got.
type said struct {
	send *send
	key  SendKey
	hash uint64
	at   time.Time
	// body is what is said. Once it was heard, it is nil unless a hook has rewritten what was sent: whoever sends it again has the rest.
	body []byte
	// again are repeated calls with the same message, while it waits.
	again  []*send
	number uint64
	time   int64
}

// answer answers a call with what the message got.
func (w *said) answer(m *send) {
	m.body = m.sent
	if w.body != nil {
		m.body = w.body
	}
	m.stored = Stored{Entry: m.entryOf(), Seq: w.number, Time: w.time}
	m.call.replyWire((*sendReply)(m))
}

// pace is a limit of a rate, with bursts of a quarter of a second.
type pace struct {
	every time.Duration
	burst int
	// free is when a next one would be due if they came evenly.
	free time.Time
}

func paceOf(perSecond int) pace {
	return pace{every: time.Second / time.Duration(perSecond), burst: max(perSecond/4, 1)}
}

// wait returns how long one has to wait at a time; 0 takes a place.
func (p *pace) wait(now time.Time) time.Duration {
	earliest := p.free.Add(-time.Duration(p.burst-1) * p.every)
	if earliest.After(now) {
		return earliest.Sub(now)
	}
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(p.every)
	return 0
}

// ready returns how many may come at a time, one right after the other.
func (p *pace) ready(now time.Time) int {
	ahead := max(p.free.Sub(now), 0)
	return max(p.burst-int((ahead+p.every-1)/p.every), 0)
}

func (t *talk) init(cfg *Config) {
	t.pace, t.tips, t.most = paceOf(cfg.RoomRate), paceOf(tipRate), cfg.RoomRate
	t.wake, t.opened, t.known = make(chan struct{}, 1), time.Now(), make(map[SendKey]*said)
}

// numbers adds numbers that were set aside.
func (t *talk) numbers(first, last uint64) {
	switch {
	case first == 0:
	case t.next > t.last || t.next == 0:
		t.next, t.last = first, last
	default:
		t.spare = [2]uint64{first, last}
	}
	t.reserving = false
}

// number takes a number; 0 if there is none.
func (t *talk) number() uint64 {
	if t.next > t.last {
		t.next, t.last, t.spare = t.spare[0], t.spare[1], [2]uint64{}
	}
	if t.next == 0 {
		return 0
	}
	t.next++
	return t.next - 1
}

// checkLive checks a message to a live room before the before-hook is asked about it.
func (c *Chat) checkLive(ctx context.Context, m *send) error {
	r := c.live.get(m.conv.id)
	if r == nil {
		return c.outside(ctx, m.group)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.maySay(m.call.Caller)
}

// sendLive takes a message to a live room. It is answered when it is said, or refused; those of one session stay in order.
func (c *Chat) sendLive(ctx context.Context, m *send) {
	s := m.call.Caller
	r := c.live.get(m.conv.id)
	switch {
	case r == nil && s.Operator: // nobody is here to hear it
		if err := c.outside(ctx, m.group); err != errNotMember {
			m.fail(err)
			return
		}
		(&said{time: c.store.Now(), body: m.body}).answer(m)
		return
	case r == nil:
		m.fail(c.outside(ctx, m.group))
		return
	}
	r.mu.Lock()
	dropped, err := r.queueUp(m)
	if !r.work() && err == nil {
		err = im.Errorf(im.CodeServerInternal, "the server is going away")
	}
	r.mu.Unlock()
	if im.CodeOf(err) == im.CodeNoGroup {
		c.groups.drop(m.group.name)
	}
	if err != nil {
		m.fail(err)
	}
	if dropped != nil {
		dropped.refuse(errRoomTooFast)
	}
}

// outside returns the error for a room in which nobody is: it may have been dissolved.
func (c *Chat) outside(ctx context.Context, g *group) error {
	switch cv, err := c.store.Conv(ctx, g.id); {
	case err != nil:
		return err
	case cv.Dissolved:
		c.groups.drop(g.name)
		return dissolved(g.name)
	}
	return errNotMember
}

var errRoomTooFast = im.Errorf(im.CodeGroupTooFast, "too many messages are sent in the room")

// refuse answers a message that is not said, and that nobody can repeat any more.
func (w *said) refuse(err error) {
	w.send.fail(err)
	for _, m := range w.again {
		m.call.fail(err)
	}
	w.send, w.again, w.body = nil, nil, nil // its key may stay in the order for a while
}

// repeated answers a message whose key the room knows, and reports whether it does: it gets the first answer, now or when there is one.
func (l *liveRooms) repeated(m *send) (known bool) {
	var err error
	l.within(m.conv.id, func(r *liveRoom) { known, err = r.again(m) })
	if err != nil {
		m.fail(err)
	}
	return known
}

func (r *liveRoom) again(m *send) (known bool, err error) {
	was := r.known[r.keyOf(m)]
	switch {
	case was == nil:
		return false, nil
	case was.hash != m.hash:
		return true, im.Errorf(im.CodeInvalidParameters, "client_time and random were used for another message")
	case was.send != nil:
		was.again = append(was.again, m)
	default:
		was.answer(m)
	}
	return true, nil
}

func (r *liveRoom) keyOf(m *send) SendKey {
	return SendKey{Conv: r.id, Sender: m.call.Caller.UID, ClientTime: m.clientTime, Random: m.random}
}

// queueUp puts a message behind the others. If there are too many, the newest of the lowest priority is dropped.
func (r *liveRoom) queueUp(m *send) (dropped *said, err error) {
	s := m.call.Caller
	if known, err := r.again(m); known {
		return nil, err
	}
	if m.call.Resent && time.Since(r.opened) < saidFor {
		return nil, im.Errorf(im.CodeWaitAckTimeout, "whether the message was delivered is not known, and it is not delivered twice")
	}
	if err := r.maySay(s); err != nil {
		return nil, err
	}
	w := &said{send: m, key: r.keyOf(m), hash: m.hash, at: time.Now(), body: m.body}
	if s.Operator {
		if len(r.urgent) >= maxUrgent {
			return nil, errRoomTooFast
		}
		r.remember(w)
		r.urgent = append(r.urgent, func() { r.say(w) })
		return nil, nil
	}
	if len(r.queue) >= r.most+r.pace.ready(w.at) { // those that need not wait are not too many, whether or not the room's goroutine has begun
		at := -1
		for i, o := range r.queue {
			if o.send.priority > m.priority && (at < 0 || o.send.priority >= r.queue[at].send.priority) {
				at = i
			}
		}
		if at < 0 {
			return nil, errRoomTooFast
		}
		dropped = r.queue[at]
		r.queue = append(r.queue[:at:at], r.queue[at+1:]...)
		r.forget(dropped)
	}
	r.remember(w)
	r.queue = append(r.queue, w)
	return dropped, nil
}

// maySay returns an error unless a caller may send in the room now.
func (r *liveRoom) maySay(s *Caller) error {
	if s.Operator && !r.ended {
		return nil
	}
	var is Standing
	if g := r.guest(s); g != nil {
		is = Standing{In: true, Role: g.role, MuteUntil: g.muted}
	}
	return checkGroupSend(&Conv{Flags: r.flags, Dissolved: r.ended}, is, r.c.store.Now())
}

// remember makes the key of a message known, and forgets old ones.
func (r *liveRoom) remember(w *said) {
	old := 0
	for old < len(r.order) && (w.at.Sub(r.order[old].at) > saidFor || len(r.order)-old >= maxSaid) {
		if o := r.order[old]; r.known[o.key] == o {
			delete(r.known, o.key)
		}
		old++
	}
	r.order = append(r.order[old:], w)
	r.known[w.key] = w
}

func (r *liveRoom) forget(w *said) { delete(r.known, w.key) }

// keepRewritten keeps a body that a hook has rewritten for those who send the message again, instead of older ones if there are too many. The caller holds r.mu.
func (r *liveRoom) keepRewritten(w *said) {
	r.rewritten = append(r.rewritten, w)
	r.rewrittenBytes += len(w.body)
	for r.rewrittenBytes > maxRewritten || w.at.Sub(r.rewritten[0].at) > saidFor {
		r.rewrittenBytes -= len(r.rewritten[0].body)
		r.rewritten[0].body = nil
		r.rewritten = r.rewritten[1:]
	}
}

// urgently has something made heard ahead of the messages that wait, and behind what was made so before.
func (r *liveRoom) urgently(f func()) {
	r.urgent = append(r.urgent, f)
	r.work()
}

// work starts the goroutine that makes what waits heard, if there is anything; false if the server is going away. The caller holds r.mu.
func (r *liveRoom) work() bool {
	if len(r.queue) == 0 && len(r.urgent) == 0 && r.late == nil {
		return true
	}
	if r.working {
		select {
		case r.wake <- struct{}{}:
		default:
		}
		return true
	}
	r.working = r.c.live.run(r.talkOn)
	return r.working
}

func (r *liveRoom) talkOn() {
	for {
		r.mu.Lock()
		f, wait := r.take(time.Now())
		if f == nil && wait == 0 {
			r.working = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		if f != nil {
			if err := contained(f); err != nil {
				r.c.log.Error("a live room failed", "room", r.name, "err", err)
			}
			continue
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-r.wake:
			pause.Stop()
		}
	}
}

// take returns what is to be done next, or how long nothing may be; nil and 0 if nothing waits.
func (r *liveRoom) take(now time.Time) (f func(), wait time.Duration) {
	if r.last-r.next < numberBlock/2 && r.spare[0] == 0 && !r.reserving && len(r.guests) > 0 {
		r.reserving = r.c.live.run(r.reserve)
	}
	if len(r.urgent) > 0 {
		f = r.urgent[0]
		r.urgent = r.urgent[1:]
		return f, 0
	}
	if r.late != nil {
		if wait = r.tips.wait(now); wait == 0 {
			return r.takeLate(), 0
		}
	}
	if len(r.queue) == 0 {
		return nil, wait
	}
	if held := r.pace.wait(now); held > 0 {
		if wait == 0 || held < wait {
			wait = held
		}
		return nil, wait
	}
	w := r.queue[0]
	r.queue = r.queue[1:]
	if err := r.maySay(w.send.call.Caller); err != nil {
		r.forget(w)
		return func() { w.refuse(err) }, 0
	}
	return func() { r.say(w) }, 0
}

// takeLate returns what makes the tip heard that the rate has held back. The caller holds r.mu.
func (r *liveRoom) takeLate() func() {
	t, n := r.late, len(r.guests)
	r.late = nil
	return func() { r.tip(t, n) }
}

// say answers a message and makes it heard.
func (r *liveRoom) say(w *said) {
	m := w.send
	r.mu.Lock()
	number := r.number()
	if number == 0 {
		r.forget(w)
		r.mu.Unlock()
		w.refuse(im.Errorf(im.CodeServerInternal, "the server has no number for the message"))
		return
	}
	w.number, w.time = number, r.c.store.Now()
	calls := append([]*send{m}, w.again...)
	w.send, w.again = nil, nil
	heard := *w
	if w.body = nil; !bytes.Equal(heard.body, m.sent) {
		w.body = heard.body
		r.keepRewritten(w)
	}
	r.mu.Unlock()
	r.noteSaid(&heard, m) // before the sender can know, and leave
	for _, m := range calls {
		heard.answer(m)
	}
	s := m.call.Caller
	to := Audience{Room: r.id, Priority: m.priority, Except: s.ID, ExceptDevice: Device{s.UID, s.Device}}
	if s.Operator {
		to.Priority = highest
	}
	r.c.tell(pushLive.wire(to, (*groupEntry)(m)))
}

// membership makes a tip about joining or leaving heard. There are not more of them than tipRate; the number of members in one is always that of the moment.
func (r *liveRoom) membership(t *im.GroupTipsElem) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.late = t
	if r.tips.wait(time.Now()) == 0 {
		r.late = nil
		n := len(r.guests)
		r.urgently(func() { r.tip(t, n) })
		return
	}
	r.work()
}

// tip makes a tip heard. members is how many are in the room, in a tip about joining and leaving.
func (r *liveRoom) tip(t *im.GroupTipsElem, members int) {
	r.mu.Lock()
	number := r.number()
	r.mu.Unlock()
	t.MemberNum = uint64(members)
	st := Stored{Entry: Entry{Conv: r.id, Body: tipBody(t)}, Seq: number, Time: r.c.store.Now()}
	r.c.tell(pushLive.wire(Audience{Room: r.id, Priority: highest}, pushOfTip(r.name, &st)))
}

// reserve sets more numbers aside.
func (r *liveRoom) reserve() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var first, last uint64
	err := r.c.store.Update(ctx, []Key{{Conv: r.id}}, func(tx Tx) error {
		g := &groupUpdate{feeding: r.c.feeding(tx, &Caller{Operator: true})}
		err := g.open(r.id)
		if err == nil {
			first, last, err = g.setAside()
		}
		return err
	})
	if err != nil {
		r.c.log.Error("no numbers for a live room", "room", r.name, "err", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		first = 0
	}
	r.numbers(first, last)
}

// setAside stores that numbers of the room may have been used.
func (g *groupUpdate) setAside() (first, last uint64, err error) {
	first, last = g.info.Numbered+1, g.info.Numbered+numberBlock
	g.info.Numbered = last
	return first, last, g.tx.PutGroupInfo(GroupInfo{Conv: g.cv.ID, Seq: g.cv.InfoSeq, Body: wire(g.info)})
}
