package chat

import (
	"sync"

	"github.com/tidings-im/tidings/im"
)

// The rules name those who get an event by values, and a carrier finds the sessions. An event holds no pointer into a carrier, so it can also go over a bus to the
// carrier of another server.

// SessionID is the name of a logged-in connection. The zero value is the name of none.
type SessionID struct {
	// Server is a random number of the process. No rises with each login, resume and kick of an account, in the order in which the store takes them. Unlike the
	// generation it does not depend on what clients claim.
	Server, No uint64
}

// Device is a device of one user. Two users of the same folder have the same id. The zero value is none.
type Device struct {
	User UID
	ID   string
}

// Audience is the set of sessions that get an event: those of Users, and those of the members of Group. The zero value is empty.
type Audience struct {
	Users []UID
	// Group is the conversation of a group. Its members are those at the time of the event, in commit order.
	Group ConvID
	// Except and the sessions of ExceptDevice do not get the event. If Only is set, no other session gets it.
	Except, Only SessionID
	ExceptDevice Device
}

// Has reports whether a session of one of the users or members is in the audience.
func (a *Audience) Has(s *Caller) bool {
	return s.ID != a.Except && (a.Only == SessionID{} || s.ID == a.Only) && (a.ExceptDevice.ID == "" || s.UID != a.ExceptDevice.User || s.Device != a.ExceptDevice.ID)
}

// Event is a push and those who get it.
type Event struct {
	To     Audience
	Method im.Method
	// Frame is the push as it goes to clients.
	Frame []byte
}

// Carrier takes events to sessions.
type Carrier struct {
	// Tell finds the sessions that get an event, and queues it to them. It calls event once if there are any: that encodes the event, which is valid until Tell
	// returns. Tell is called from the store's delivery goroutine, in commit order, and must not block.
	Tell func(to Audience, event func() Event)
	// Kick ends the sessions of an account whose SessionID.No is below before. It may be called from any goroutine.
	Kick func(uid UID, before uint64, why string)
}

// Subscribe sets the carrier. It is called once, before the first Login.
func (c *Chat) Subscribe(to Carrier) { c.carrier = to }

// push is the method of a push whose body is a B. They are generated from the contract, so a push with another body does not compile.
type push[B im.Body] struct{ method im.Method }

// news is an event that is not encoded yet, because perhaps nobody gets it.
type news struct {
	to     Audience
	method im.Method
	body   im.Body
}

func (p push[B]) to(who Audience, body B) news { return news{who, p.method, body} }

// wire is like to, for a body that is encoded by hand.
func (p push[B]) wire(who Audience, body wireOf[B]) news { return news{who, p.method, body} }

// telling is an event while the carrier has it.
type telling struct {
	news
	c     *Chat
	frame []byte
	event func() Event // encode
}

var tellings = sync.Pool{New: func() any {
	t := &telling{}
	t.event = t.encode
	return t
}}

// spareFrame is the size of a buffer that is worth keeping for another event.
const spareFrame = 64 << 10

// tell hands an event to the carrier, which has it encoded once if anybody gets it.
func (c *Chat) tell(n news) {
	t := tellings.Get().(*telling)
	t.c, t.news = c, n
	c.carrier.Tell(n.to, t.event)
	t.c, t.news = nil, news{}
	if cap(t.frame) <= spareFrame {
		tellings.Put(t)
	}
}

// encode encodes the event. If that panics, its audience gets BEHIND instead, and asks for what it missed.
func (t *telling) encode() Event {
	f := im.Frame{Method: t.method}
	if err := contained(func() { t.frame = im.AppendMessage(t.frame[:0], &f, t.body) }); err != nil {
		t.c.log.Error("an event cannot be encoded", "method", t.method, "err", err)
		f.Method = im.Method_BEHIND
		t.frame = im.AppendFrame(t.frame[:0], &f)
	}
	return Event{To: t.to, Method: f.Method, Frame: t.frame}
}
