package chat

import (
	"cmp"
	"slices"
	"sync"

	"github.com/tidings-im/tidings/im"
)

// Live rooms (rule 21). A store keeps the room, its owner, roles, mutes, information and attributes. Who is in it and what is said there are in the memory of
// the server on which they are: a restart empties the rooms, and devices come back when they reconnect.

const (
	// maxRoomsOfSession is how many rooms one session may be in, maxSeats from how many devices a user may be in one.
	maxRoomsOfSession = 100
	maxSeats          = 10
	// mostShown is how many members of a room are listed: the newest.
	mostShown = 1000
	// roomHeartbeat is how often a client sends a heartbeat while it is in a room, in seconds.
	roomHeartbeat = 10
	// lostLooks is how many looks at who is present, one each 20 s, find a device without a connection before it is out.
	lostLooks = 2
)

// liveRooms are the rooms in which sessions of this server are.
type liveRooms struct {
	mu   sync.Mutex
	byID map[ConvID]*liveRoom
	// starting protects stopped: from then on no goroutine of a room starts.
	starting sync.Mutex
	stopped  bool
	running  sync.WaitGroup
}

// run starts a goroutine of a room, unless the server is going away.
func (l *liveRooms) run(f func()) bool {
	l.starting.Lock()
	defer l.starting.Unlock()
	if !l.stopped {
		l.running.Go(f)
	}
	return !l.stopped
}

// wait returns when all rooms are silent.
func (l *liveRooms) wait() {
	l.starting.Lock()
	l.stopped = true
	l.starting.Unlock()
	l.running.Wait()
}

// liveRoom is a room. Membership changes on the delivery goroutine, in commit order with what the store keeps of the room.
type liveRoom struct {
	c    *Chat
	id   ConvID
	name string

	mu     sync.Mutex
	flags  ConvFlags
	guests map[UID]*guest
	// joined are the guests in the order in which they came. Those who are out stay until they are half of it.
	joined []*guest
	joins  uint64
	online int
	// ended means that the room was dissolved.
	ended bool
	talk
}

// guest is a user who is in a room.
type guest struct {
	person
	no   uint64
	at   int64
	role int32
	// Until muted, a time of the store's clock, the guest may not send.
	muted int64
	seats []seat
	// away means that nothing is heard of any of their devices.
	away, out bool
}

// seat is a session that is in a room with its device. lost counts the looks that found it without a connection.
type seat struct {
	s    *Caller
	lost int
}

// arrival is a session that joins, with what the room and the user were in the transaction.
type arrival struct {
	id    ConvID
	name  string
	flags ConvFlags
	s     *Caller
	role  int32
	muted int64
	at    int64
	// first and last are the numbers that the transaction has set aside; 0 if the room was known.
	first, last uint64
	again       bool
}

func (l *liveRooms) get(id ConvID) *liveRoom {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byID[id]
}

// within calls f with a room, which it holds locked; not if nobody is in it.
func (l *liveRooms) within(id ConvID, f func(r *liveRoom)) {
	if r := l.get(id); r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		f(r)
	}
}

func (l *liveRooms) all() []*liveRoom {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*liveRoom, 0, len(l.byID))
	for _, r := range l.byID {
		out = append(out, r)
	}
	return out
}

// enter puts a session into a room, which it opens if nobody is in it. It returns the room, and whether the user has come: they were not in it with another
// device, and the device was not in it before.
func (l *liveRooms) enter(c *Chat, a *arrival) (r *liveRoom, came bool) {
	l.mu.Lock()
	r = l.byID[a.id]
	if r == nil {
		r = &liveRoom{c: c, id: a.id, name: a.name, guests: make(map[UID]*guest)}
		r.talk.init(&c.cfg)
		if l.byID == nil {
			l.byID = make(map[ConvID]*liveRoom)
		}
		l.byID[a.id] = r
	}
	r.mu.Lock()
	l.mu.Unlock()
	defer r.mu.Unlock()
	r.flags = a.flags
	r.numbers(a.first, a.last)
	g := r.guests[a.s.UID]
	if g == nil {
		r.joins++
		g = &guest{person: person{a.s.UID, a.s.Name}, no: r.joins, at: a.at}
		r.guests[g.uid] = g
		r.joined = append(r.joined, g)
		r.online++
		came = !a.again
		cause := causeJoin
		if a.again {
			cause = causeRecover
		}
		r.noteState(g, true, cause)
	}
	g.role, g.muted = a.role, a.muted
	g.seats = slices.DeleteFunc(g.seats, func(o seat) bool { return o.s.Device == a.s.Device })
	g.seats = append(g.seats, seat{s: a.s})
	a.s.entered(a.id)
	c.carrier.Enter(a.id, a.s, true)
	r.seen(g, true, causeRecover)
	return r, came
}

// Why the state of a guest changes, as the webhook is notified of it.
const (
	causeJoin      = "Join"
	causeQuit      = "Quit"
	causeInterrupt = "HeartbeatInterrupt"
	causeRecover   = "HeartbeatRecover"
)

// causeOf is that of what a look finds: something is heard of a guest, or not.
var causeOf = map[bool]string{true: causeRecover, false: causeInterrupt}

// seen notes whether anything is heard of a guest. Without a cause the webhook is not notified of it.
func (r *liveRoom) seen(g *guest, heard bool, cause string) {
	if g.away == heard {
		r.noteState(g, heard, cause)
		g.away = !heard
		if heard {
			r.online++
		} else {
			r.online--
		}
	}
}

// remove takes a guest out. The caller holds r.mu.
func (r *liveRoom) remove(g *guest, cause string) {
	r.seen(g, false, cause)
	delete(r.guests, g.uid)
	for _, o := range g.seats {
		o.s.leftRoom(r.id)
	}
	g.out = true
	if len(r.joined) > 2*len(r.guests)+16 {
		r.joined = slices.DeleteFunc(r.joined, func(g *guest) bool { return g.out })
	}
}

// leave takes the device of a session out of a room, and reports whether that was the user's last one.
func (l *liveRooms) leave(s *Caller, id ConvID) (r *liveRoom, left bool) {
	if r = l.get(id); r == nil {
		return nil, false
	}
	s.leftRoom(id)
	r.mu.Lock()
	if g := r.guests[s.UID]; g != nil {
		g.seats = slices.DeleteFunc(g.seats, func(o seat) bool { return o.s.ID == s.ID })
		if left = len(g.seats) == 0; left {
			r.remove(g, causeQuit)
		}
	}
	r.c.carrier.Enter(id, s, false)
	r.mu.Unlock()
	l.close(r)
	return r, left
}

// expel takes a user out of a room with all devices, and reports whether they were in it.
func (l *liveRooms) expel(id ConvID, uid UID) bool {
	r := l.get(id)
	if r == nil {
		return false
	}
	r.mu.Lock()
	g := r.guests[uid]
	if g != nil {
		r.remove(g, causeQuit)
		r.c.carrier.Expel(id, uid)
	}
	r.mu.Unlock()
	l.close(r)
	return g != nil
}

// close forgets a room in which nobody is.
func (l *liveRooms) close(r *liveRoom) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.guests) == 0 && l.byID[r.id] == r {
		delete(l.byID, r.id)
	}
}

// stop notes that a room was dissolved: nobody may send any more. empty takes everybody out.
func (l *liveRooms) stop(id ConvID) {
	l.within(id, func(r *liveRoom) { r.ended = true })
}

func (l *liveRooms) empty(id ConvID) {
	r := l.get(id)
	if r == nil {
		return
	}
	r.mu.Lock()
	for _, g := range r.guests {
		r.remove(g, "")
		r.c.carrier.Expel(id, g.uid)
	}
	r.mu.Unlock()
	l.close(r)
}

// set notes what the store keeps of a room and of a user in it: flags, and, if uid is not 0, the role and the mute.
func (l *liveRooms) set(id ConvID, flags ConvFlags, uid UID, role int32, muted int64) {
	l.within(id, func(r *liveRoom) {
		r.flags = flags
		if g := r.guests[uid]; g != nil {
			g.role, g.muted = role, muted
		}
	})
}

// has reports whether a session is in a room.
func (l *liveRooms) has(id ConvID, s *Caller) (in bool) {
	l.within(id, func(r *liveRoom) { in = r.guest(s) != nil })
	return in
}

// present reports whether a user is in a room.
func (l *liveRooms) present(id ConvID, uid UID) (in bool) {
	l.within(id, func(r *liveRoom) { in = r.guests[uid] != nil })
	return in
}

// crowds reports whether a user is in a room with as many devices as may be, without that of a session.
func (l *liveRooms) crowds(id ConvID, s *Caller) (crowds bool) {
	l.within(id, func(r *liveRoom) {
		g := r.guests[s.UID]
		crowds = g != nil && len(g.seats) >= maxSeats && !slices.ContainsFunc(g.seats, func(o seat) bool { return o.s.Device == s.Device })
	})
	return crowds
}

// guest returns the guest who a session is; nil if it is not in the room.
func (r *liveRoom) guest(s *Caller) *guest {
	g := r.guests[s.UID]
	if g == nil || !slices.ContainsFunc(g.seats, func(o seat) bool { return o.s.ID == s.ID }) {
		return nil
	}
	return g
}

// count returns how many are in a room, and of how many something is heard.
func (l *liveRooms) count(id ConvID) (members, online int) {
	l.within(id, func(r *liveRoom) { members, online = len(r.guests), r.online })
	return members, online
}

// member is the row of a guest.
func (r *liveRoom) member(g *guest) Member {
	return Member{Conv: r.id, UID: g.uid, Role: g.role, Joined: g.no, JoinedAt: g.at, MuteUntil: g.muted}
}

// list returns guests, the newest first, from below a number on: at most limit, of the mostShown newest.
func (l *liveRooms) list(id ConvID, below uint64, limit int, wanted func(role int32) bool) (rows []Member, next uint64) {
	r := l.get(id)
	if r == nil {
		return nil, 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	below = cmp.Or(below, r.joins+1)
	shown := 0
	for i := len(r.joined) - 1; i >= 0 && shown < mostShown; i-- {
		g := r.joined[i]
		if g.out {
			continue
		}
		shown++
		if g.no >= below || !wanted(g.role) {
			continue
		}
		if len(rows) == limit {
			return rows, rows[limit-1].Joined
		}
		rows = append(rows, r.member(g))
	}
	return rows, 0
}

// named returns those of the users who are in a room.
func (l *liveRooms) named(id ConvID, uids []UID) (rows []Member) {
	l.within(id, func(r *liveRoom) {
		for _, uid := range uids {
			if g := r.guests[uid]; g != nil {
				rows = append(rows, r.member(g))
			}
		}
	})
	return rows
}

// entered notes that the session is in a room.
func (s *Caller) entered(id ConvID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rooms == nil {
		s.rooms = make(map[ConvID]bool)
	}
	s.rooms[id] = true
}

func (s *Caller) leftRoom(id ConvID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.rooms, id)
}

func (s *Caller) inRooms() (ids []ConvID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.rooms {
		ids = append(ids, id)
	}
	return ids
}

// LeaveRooms takes a session that has ended for good out of all live rooms: it was logged out, or another login has ended it. One that is only disconnected
// stays for Presence to find.
func (c *Chat) LeaveRooms(s *Caller) {
	for _, id := range s.inRooms() {
		if r, left := c.live.leave(s, id); left {
			r.membership(&im.GroupTipsElem{
				TipType: im.GroupTipType_GROUP_TIP_TYPE_QUIT, GroupId: r.name, OpUser: s.Name, UserArray: []string{s.Name},
				OpGroupMemberinfo:           &im.GroupMemberInfo{Identifier: s.Name},
				ChangedGroupMemberinfoArray: []*im.GroupMemberInfo{{Identifier: s.Name, GroupId: r.name}},
			})
		}
	}
}

// Presence looks at who is in live rooms. The carrier calls it every 20 s. heard reports whether a session is connected, and whether something was heard of it
// within 30 s. A device without a connection is out after lostLooks, which nobody is told.
func (c *Chat) Presence(heard func(uid UID, id SessionID) (connected, recently bool)) {
	for _, r := range c.live.all() {
		r.mu.Lock()
		for _, g := range r.guests {
			any := false
			for i := range g.seats {
				o := &g.seats[i]
				connected, recently := heard(g.uid, o.s.ID)
				if connected {
					o.lost = 0
				} else {
					o.lost++
				}
				any = any || recently || !connected && o.lost < lostLooks
			}
			g.seats = slices.DeleteFunc(g.seats, func(o seat) bool { return o.lost >= lostLooks })
			if r.seen(g, any, causeOf[any]); len(g.seats) == 0 {
				r.remove(g, causeInterrupt)
			}
		}
		r.mu.Unlock()
		c.live.close(r)
	}
}
