package chat

import (
	"sync"

	"github.com/tidings-im/tidings/im"
)

// Who is told of what. The rules say it by values: a carrier on this server, or on another one that hears of it over a bus, finds the sessions. Nothing here
// points into a carrier, and an event is the bytes that cross the wire.

// SessionID names a logged-in connection. The zero value names none.
type SessionID struct {
	// Server is drawn when a server starts. No rises with each login, resume and kick of an account as that server's rules take them; unlike the generation it
	// owes nothing to what clients say.
	Server, No uint64
}

// Device names a device of a user: two users of one device share its id. The zero value names none.
type Device struct {
	User UID
	ID   string
}

// Audience says who is told: the sessions of Users, and of the members of Group. The zero value is nobody.
type Audience struct {
	Users []UID
	// Group is a group's conversation. Its members are those of the moment in which the event is told, in commit order.
	Group ConvID
	// But not the session Except, nor those of ExceptDevice; and of all these none but Only, if it is set.
	Except, Only SessionID
	ExceptDevice Device
}

// Has says whether the audience has a session of one of its users or members.
func (a *Audience) Has(s *Caller) bool {
	return s.ID != a.Except && (a.Only == SessionID{} || s.ID == a.Only) && (a.ExceptDevice.ID == "" || s.UID != a.ExceptDevice.User || s.Device != a.ExceptDevice.ID)
}

// Event is something that the audience is told of.
type Event struct {
	To     Audience
	Method im.Method
	// Frame is the push as it goes to clients. Whoever keeps it copies it.
	Frame []byte
}

// Carrier carries events to sessions. Its functions are called from the store's delivery goroutine, in commit order, and must not block.
type Carrier struct {
	// Hears says whether anybody would be told: an event for nobody is not made.
	Hears func(Audience) bool
	Tell  func(Event)
	// Kick ends the sessions of an account whose SessionID.No is below before. It may be called from any goroutine.
	Kick func(uid UID, before uint64, why string)
}

// Subscribe sets who carries the events. It is called once, before the first Login.
func (c *Chat) Subscribe(to Carrier) { c.carrier = to }

// push is a method that carries a B. The generated ones are all there are, so a push with another body does not compile.
type push[B im.Body] struct{ method im.Method }

// news is an event whose body is not encoded yet, because perhaps nobody hears of it.
type news struct {
	to     Audience
	method im.Method
	body   im.Body
}

func (p push[B]) to(who Audience, body B) news { return news{who, p.method, body} }

// wire is to for a body that is put together by hand.
func (p push[B]) wire(who Audience, body wireOf[B]) news { return news{who, p.method, body} }

var frames = sync.Pool{New: func() any { return new([]byte) }}

// spareFrame is the size of a buffer that is worth keeping for another event.
const spareFrame = 64 << 10

// tell encodes and publishes what somebody hears of. If it cannot be encoded, those are told that they have missed something.
func (c *Chat) tell(n news) {
	if !c.carrier.Hears(n.to) {
		return
	}
	buf := frames.Get().(*[]byte)
	f := im.Frame{Method: n.method}
	if err := contained(func() { *buf = im.AppendMessage((*buf)[:0], &f, n.body) }); err != nil {
		c.log.Error("an event cannot be encoded", "method", n.method, "err", err)
		f.Method = im.Method_BEHIND
		*buf = im.AppendFrame((*buf)[:0], &f)
	}
	c.carrier.Tell(Event{To: n.to, Method: f.Method, Frame: *buf})
	if cap(*buf) <= spareFrame {
		frames.Put(buf)
	}
}
