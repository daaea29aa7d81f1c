package chat

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tidings-im/tidings/im"
)

// maxParked is how many conversations of a caller may be looked up at once; one more makes the caller's reader wait.
const maxParked = 64

// send is a message on its way from a call to the log.
type send struct {
	c    *Chat
	call Call[*im.SendReply]
	peer person
	conv c2c
	// group is set for a message to a group, which has no peer. The sender is not in aim, which is nil if the message names nobody.
	group    *group
	targeted bool
	toGroup  bool
	random   uint32
	aim      *Aim
	content
	clientTime uint64
	// epoch is that of the group that is meant, 0 if none is named.
	epoch uint64
	// counted is how much it takes of what may wait for the before-hook.
	counted int
	// sent is the body as the client sent it: a hook may have put another one into content.
	sent []byte

	stored  Stored
	revoker string
	// face is the sender's; nil without a profile.
	face *face
	// users are the receiver and the sender, for the audiences.
	users [2]UID
}

// Send queues a message for the log and returns; the call is answered when the message is durable, or refused. Messages of one caller to one
// conversation are stored in the order of the calls. A conversation that must be looked up delays only its own messages. req is an im.SendRequest in
// wire form and is not kept.
//
// A resent frame needs no lookup before the check, only before a hook: nothing that is checked here can have changed since it was first accepted.
func (c *Chat) Send(ctx context.Context, call Call[*im.SendReply], req []byte) error {
	s := call.Caller
	m, to, err := c.readSend(call, req)
	if err == nil && m.online && call.Resent {
		err = im.Errorf(im.CodeWaitAckTimeout, "whether the online-only message was delivered is not known, and it is not delivered twice")
	}
	if err != nil {
		return err
	}
	m.sent = m.body
	if m.toGroup {
		to = append([]byte(groupKey), to...)
	}
	s.mu.Lock()
	queue, waiting := s.parked[string(to)] // a key that is only looked up is not copied
	if waiting {
		if err = c.count(m); err == nil {
			s.parked[string(to)] = append(queue, m)
		}
		s.mu.Unlock()
		return err
	}
	s.mu.Unlock()
	hooked := m.hooked()
	if !hooked && !m.files && c.resolve(m, to) {
		c.append(ctx, m)
		return nil
	}
	if err = c.count(m); err != nil {
		return err
	}
	name := string(to)
	s.mu.Lock()
	if s.parked == nil {
		s.parked = make(map[string][]*send)
	}
	s.parked[name] = []*send{m}
	full := len(s.parked) > maxParked && !hooked // a hook may be slow; the carrier limits the number of open calls
	s.mu.Unlock()
	if full || s.Operator { // which waits for the reply in any case
		c.unpark(ctx, s, name)
		return nil
	}
	c.lookups.Go(func() { c.unpark(ctx, s, name) })
	return nil
}

// groupKey is before the id of a group in the key of what is parked. No user has such a name.
const groupKey = "\x00"

// count counts a message that is parked where a before-hook can make it wait long. What waits only for lookups is limited by the open calls.
func (c *Chat) count(m *send) error {
	if !m.c.cfg.hookable(m.toGroup) {
		return nil
	}
	m.counted = len(m.body) + slotCost
	return c.slots.enter(m.call.Caller.UID, m.counted)
}

// unpark looks up a peer and the conversation with them, and sends what waited for that and what has arrived since.
func (c *Chat) unpark(ctx context.Context, s *Caller, name string) {
	p, conv, f, err := c.lookUp(ctx, s, name)
	id, toGroup := strings.CutPrefix(name, groupKey)
	for {
		s.mu.Lock()
		queue := s.parked[name]
		if len(queue) == 0 {
			delete(s.parked, name)
			s.mu.Unlock()
			return
		}
		s.parked[name] = nil // present, and empty: what arrives in the meantime must still wait behind these
		s.mu.Unlock()
		for _, m := range queue {
			size := m.counted // once it was passed on, the message belongs to the store
			if err != nil {
				m.failIn(id, err)
			} else {
				m.peer, m.conv = p, conv
				m.wear(f)
				if err := contained(func() {
					if toGroup {
						c.passToGroup(ctx, m, id)
					} else {
						c.pass(ctx, m)
					}
				}); err != nil {
					m.call.fail(err)
				}
			}
			if size > 0 {
				c.slots.leave(s.UID, size)
			}
		}
	}
}

// contained converts a panic to an error.
func contained(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	f()
	return nil
}

func (c *Chat) lookUp(ctx context.Context, s *Caller, name string) (p person, conv c2c, f *face, err error) {
	if failed := contained(func() {
		if id, ok := strings.CutPrefix(name, groupKey); ok {
			_, err = c.groupOf(ctx, id, 0)
		} else {
			p, conv, err = c.findPeer(ctx, s, name)
		}
		if err == nil {
			f, err = c.face(ctx, s.UID, s.Name)
		}
	}); failed != nil {
		err = failed
	}
	return p, conv, f, err
}

// passToGroup goes on with a message to a group, which may have been dissolved while the message waited.
func (c *Chat) passToGroup(ctx context.Context, m *send, id string) {
	g, err := c.groupOf(ctx, id, m.epoch)
	if err == nil {
		err = c.into(ctx, m, g)
	}
	if err != nil {
		m.failIn(id, err)
		return
	}
	c.pass(ctx, m)
}

func (c *Chat) findPeer(ctx context.Context, s *Caller, name string) (p person, conv c2c, err error) {
	p, err = c.person(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return p, conv, im.Errorf(im.CodeUnknownReceiver, "there is no user %q", name)
	}
	if err == nil {
		conv, err = c.conv(ctx, s.UID, p.uid)
	}
	return p, conv, err
}

// readSend parses a SendRequest; to is a part of req.
func (c *Chat) readSend(call Call[*im.SendReply], req []byte) (m *send, to []byte, err error) {
	m = &send{c: c, call: call}
	var typ im.ConvType
	var msg []byte
	for len(req) > 0 {
		num, t, n := protowire.ConsumeTag(req)
		if n < 0 {
			return nil, nil, malformed("the request")
		}
		req = req[n:]
		switch {
		case num == 1 && t == protowire.BytesType:
			v, n := protowire.ConsumeBytes(req)
			if n < 0 || !readKey(v, &typ, &to) {
				return nil, nil, malformed("conv")
			}
			req = req[n:]
		case (num == 2 || num == 3 || num == 5) && t == protowire.VarintType:
			v, n := protowire.ConsumeVarint(req)
			if n < 0 {
				return nil, nil, malformed("the request")
			}
			switch num {
			case 2:
				m.clientTime = v
			case 3:
				m.random = uint32(v)
			default:
				m.epoch = v
			}
			req = req[n:]
		case num == 4 && t == protowire.BytesType:
			v, n := protowire.ConsumeBytes(req)
			if n < 0 {
				return nil, nil, malformed("the request")
			}
			msg = v
			req = req[n:]
		default:
			n := protowire.ConsumeFieldValue(num, t, req)
			if n < 0 {
				return nil, nil, malformed("the request")
			}
			req = req[n:]
		}
	}
	if m.toGroup = typ == im.ConvType_CONV_TYPE_GROUP; typ != im.ConvType_CONV_TYPE_C2C && !m.toGroup || len(to) == 0 {
		return nil, nil, checkKey(typ, string(to))
	}
	if m.clientTime == 0 || m.clientTime > 1<<40 {
		return nil, nil, im.Errorf(im.CodeInvalidParameters, "client_time is missing or not a time in seconds")
	}
	if m.epoch > math.MaxInt64 {
		return nil, nil, im.Errorf(im.CodeInvalidParameters, "epoch is too large")
	}
	if !m.toGroup && !im.ValidUserID(string(to)) {
		return nil, nil, im.Errorf(im.CodeUnknownReceiver, "there can be no user with the id of the conversation")
	}
	m.content, err = checkMessage(im.Sendable(msg, call.Caller.Operator), call.Caller.Platform)
	return m, to, err
}

func readKey(b []byte, typ *im.ConvType, id *[]byte) bool {
	for len(b) > 0 {
		num, t, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		m := protowire.ConsumeFieldValue(num, t, b[n:])
		if m < 0 {
			return false
		}
		switch {
		case num == 1 && t == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(b[n:])
			*typ = im.ConvType(v)
		case num == 2 && t == protowire.BytesType:
			*id, _ = protowire.ConsumeBytes(b[n:])
		}
		b = b[n+m:]
	}
	return true
}

// resolve finds the peer and the conversation in the caches.
func (c *Chat) resolve(m *send, to []byte) bool {
	if m.toGroup {
		return c.resolveGroup(m, to[len(groupKey):])
	}
	c.people.mu.RLock()
	p, ok := c.people.m[string(to)] // a key that is only looked up is not copied
	c.people.mu.RUnlock()
	if !ok {
		return false
	}
	m.peer = p
	if m.conv, ok = c.convs.get(pairOf(m.call.Caller.UID, p.uid)); !ok {
		return false
	}
	f, ok := c.faceOf(m.call.Caller.UID)
	m.wear(f)
	return ok
}

func (c *Chat) resolveGroup(m *send, id []byte) bool {
	f, ok := c.faceOf(m.call.Caller.UID)
	if !ok || m.names {
		return false
	}
	c.groups.mu.RLock()
	g, ok := c.groups.m[string(id)]
	c.groups.mu.RUnlock()
	if ok = ok && c.means(&g, m.epoch); ok {
		m.wear(f)
		ok = c.into(context.Background(), m, g) == nil // names nobody, so nothing is looked up
	}
	return ok
}

// wear attaches the sender's face.
func (m *send) wear(f *face) {
	if f != nil && f.wire != nil {
		m.face = f
	}
}

// append hands m to the store, or, if it is online-only, to those who are connected.
func (c *Chat) append(ctx context.Context, m *send) {
	m.attached = nil
	if m.files {
		var err error
		if m.attached, err = c.attachFiles(ctx, m.body, m.kept()); err != nil {
			m.fail(err)
			return
		}
	}
	if m.group != nil && m.group.typ.live {
		c.sendLive(ctx, m)
		return
	}
	if m.online {
		c.sendOnline(ctx, m)
		return
	}
	c.store.Append(m.entryOf(), m.done)
}

// kept reports whether the message is stored.
func (m *send) kept() bool { return !m.online && (m.group == nil || !m.group.typ.live) }

func (m *send) entryOf() Entry {
	s := m.call.Caller
	e := Entry{
		Conv: m.conv.id, Sender: s.UID, ClientTime: m.clientTime, Random: m.random,
		Body: m.body, Hash: m.hash, Countable: m.countable, Rules: m.rules(),
		Unseen: s.Quiet && m.peer.uid != s.UID, Targeted: m.targeted, Aim: m.aim, Attached: m.attached,
	}
	if s.Operator && m.group != nil && s.Admin != s.Name { // of messages to persons nobody is told it
		e.Admin = s.Admin
	}
	return e
}

// rules are what the message is checked against. Operators may send to anybody, unless mutes are to count.
func (m *send) rules() *SendRules {
	switch s := m.call.Caller; {
	case s.Operator && s.Mutes && m.group != nil:
		return &onlyMutes
	case s.Operator:
		return nil
	}
	return &m.c.sendRules
}

var onlyMutes = SendRules{OnlyMutes: true}

// target names whom the message is for, for the log.
func (m *send) target() string {
	if m.group != nil {
		return m.group.name
	}
	return m.peer.name
}

// check checks a message against the conversation as it is now, for what is not to wait until it gets its number.
func (c *Chat) check(ctx context.Context, m *send) error {
	rules := m.rules()
	if rules == nil {
		return nil
	}
	if m.group != nil && m.group.typ.live {
		return c.checkLive(ctx, m)
	}
	cv, err := c.store.Conv(ctx, m.conv.id)
	if err != nil {
		return err
	}
	var is Standing
	if m.group != nil {
		rows, err := c.store.MembersOf(ctx, cv.ID, []UID{m.call.Caller.UID})
		if err != nil {
			return err
		}
		if len(rows) == 1 {
			is = rows[0].standing()
			m.stored.Standing, m.stored.MemberSet = is, cv.MemberSet
		}
	}
	return rules.Check(&cv, m.call.Caller.UID, is, c.store.Now())
}

// refuse answers a message that check returned an error for; what is dropped, behind what was sent before it, as if it were delivered.
func (m *send) refuse(err error) {
	if errors.Is(err, ErrDropped) {
		m.c.store.Deliver(m.conv.id, m.drop)
		return
	}
	m.fail(err)
}

// drop answers as if the message had been sent (rule 20).
func (m *send) drop() {
	m.stored = Stored{Entry: m.entryOf(), Time: m.c.store.Now()}
	m.stored.Body = m.sent
	m.call.replyWire((*sendReply)(m))
}

// done replies and publishes, on the store's delivery goroutine. The reply to the sender comes before anything else that its connection gets about
// the message.
func (m *send) done(st Stored, dup bool, err error) {
	c, s := m.c, m.call.Caller
	if err != nil {
		switch {
		case errors.Is(err, ErrDropped):
			m.drop()
			return
		case errors.Is(err, ErrNoMedia):
			err = errNoMedia
		case errors.Is(err, ErrOtherBody):
			err = im.Errorf(im.CodeInvalidParameters, "client_time and random were used for another message")
		case m.group != nil && (errors.Is(err, ErrNotFound) || im.CodeOf(err) == im.CodeNoGroup):
			if g, ok := c.groups.get(m.group.name); ok && g.id == m.group.id {
				c.groups.drop(m.group.name)
			}
			err = dissolved(m.group.name)
		}
		m.fail(err)
		return
	}
	m.stored = st
	if st.Revoker != 0 {
		m.revoker = s.Name
		if st.Revoker != s.UID { // an operator
			m.revoker, _ = c.nameOf(context.Background(), st.Revoker)
		}
	}
	m.call.replyWire((*sendReply)(m))
	if !dup {
		m.tell(Device{})
		c.delivering(st.Time)
	}
}

// tell notifies everybody except the session that sent it, and the other sessions of its device if that is named.
func (m *send) tell(device Device) {
	s := m.call.Caller
	if m.group != nil {
		m.tellGroup(device)
		return
	}
	m.users = [2]UID{m.peer.uid, s.UID}
	if m.peer.uid != s.UID {
		m.c.tell(pushEntry.wire(Audience{Users: m.users[:1]}, (*peerEntry)(m)))
	}
	if s.Quiet {
		return
	}
	m.c.tell(pushEntry.wire(Audience{Users: m.users[1:], Except: s.ID, ExceptDevice: device}, (*ownEntry)(m)))
}

// sendOnline is rule 21: no number, no row, only those who are connected. What it is checked against is read here: there is no transaction.
func (c *Chat) sendOnline(ctx context.Context, m *send) {
	s := m.call.Caller
	if err := c.check(ctx, m); err != nil {
		m.refuse(err)
		return
	}
	m.stored = Stored{
		Entry: Entry{Conv: m.conv.id, Sender: s.UID, ClientTime: m.clientTime, Random: m.random, Body: m.body},
		Time:  c.store.Now(), Standing: m.stored.Standing, MemberSet: m.stored.MemberSet,
	}
	// Behind what was sent before it: a message that is not kept does not overtake one that is.
	c.store.Deliver(m.conv.id, func() {
		m.call.replyWire((*sendReply)(m))
		m.tell(Device{s.UID, s.Device}) // which has no row by which it could recognize its own message, if it has reconnected since
	})
}
