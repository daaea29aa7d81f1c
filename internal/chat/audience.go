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

// Audience is the set of sessions that get an event: those of Users, those of the members of Group, or those in a live room. The zero value is empty.
type Audience struct {
	Users []UID
	// Group is the conversation of a group. Its members are those at the time of the event, in commit order. If Among is not nil, only those of them get it;
	// Without do not.
	Group          ConvID
	Among, Without []UID
	// Seq and Rev limit an event about an entry or a change to members whose membership begins before it; 0: no limit. Late is for the others: those whose
	// membership begins at an entry or behind it.
	Seq, Rev, Late uint64
	// MemberSet is the group's at the event. A carrier whose members are those of a lower one has missed a change by another server.
	MemberSet uint64
	// Room is a live room. If a session is slow, messages and tips of the lowest Priority, which has the largest number, are left out first.
	Room     ConvID
	Priority int
	// Groups means that sessions that know no groups do not get the event. An event to a group is such an event.
	Groups bool
	// Except and the sessions of ExceptDevice do not get the event. If Only is set, no other session gets it.
	Except, Only SessionID
	ExceptDevice Device
}

// Has reports whether a session of one of the users or members is in the audience.
func (a *Audience) Has(s *Caller) bool {
	return (s.Groups || !a.Groups && a.Group == 0) && s.ID != a.Except && (a.Only == SessionID{} || s.ID == a.Only) && (a.ExceptDevice.ID == "" || s.UID != a.ExceptDevice.User || s.Device != a.ExceptDevice.ID)
}

// Hears reports whether a member gets an event to their group, by where their membership begins. One who was a member before may have what the event is
// about from that time: unsure means that they have to ask.
func (a *Audience) Hears(begins Joined) (hears, unsure bool) {
	hears = (a.Seq == 0 || begins.Seq < a.Seq) && (a.Rev == 0 || begins.Rev < a.Rev) && begins.Seq >= a.Late
	return hears, hears && a.Late > 0 && begins.Again
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
	// Together calls tell, which calls Tell several times, so that what a session gets by it arrives at once.
	Together func(tell func())
	// Kick ends the sessions of an account whose SessionID.No is below before. It may be called from any goroutine.
	Kick func(uid UID, before uint64, why string)
	// Member is called with each change of who is in a group, on the delivery goroutine and in commit order, before the events of the change. set is the
	// group's MemberSet after it, begins where a membership begins.
	Member func(group ConvID, uid UID, in bool, set uint64, begins Joined)
	// Over is called on the delivery goroutine after the last event of a group, which has no members any more.
	Over func(group ConvID)
	// Online returns how many members of a group have sessions here.
	Online func(group ConvID) int
	// Enter notes that a session is in a live room, or not any more, and Expel that none of a user is. They may be called from any goroutine.
	Enter func(room ConvID, s *Caller, in bool)
	Expel func(room ConvID, uid UID)
}

// Subscribe sets the carrier. It is called once, before the first Login. A carrier without Member knows no groups, one without Together has nothing to do for it.
func (c *Chat) Subscribe(to Carrier) {
	if to.Member == nil {
		to.Member, to.Over, to.Online, to.Enter, to.Expel = c.carrier.Member, c.carrier.Over, c.carrier.Online, c.carrier.Enter, c.carrier.Expel
	}
	if to.Together == nil {
		to.Together = c.carrier.Together
	}
	c.carrier = to
}

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
