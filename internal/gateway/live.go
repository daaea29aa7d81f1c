package gateway

import (
	"slices"
	"sync"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
)

// liveRooms knows which sessions are in which live rooms.
type liveRooms struct {
	mu    sync.Mutex
	rooms map[chat.ConvID]*listeners
	of    map[*session][]chat.ConvID
}

// listeners are the sessions in a room. list is made from in when it is needed; it is replaced, never changed, so it may be read after the lock is released.
type listeners struct {
	in   map[*session]struct{}
	list []*session
}

func (l *liveRooms) init() {
	l.rooms, l.of = make(map[chat.ConvID]*listeners), make(map[*session][]chat.ConvID)
}

func (l *liveRooms) sessions(room chat.ConvID) []*session {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rooms[room]
	if r == nil {
		return nil
	}
	if r.list == nil {
		r.list = make([]*session, 0, len(r.in))
		for s := range r.in {
			r.list = append(r.list, s)
		}
	}
	return r.list
}

func (l *liveRooms) add(room chat.ConvID, s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rooms[room]
	if r == nil {
		r = &listeners{in: make(map[*session]struct{})}
		l.rooms[room] = r
	}
	if _, in := r.in[s]; !in {
		r.in[s], r.list = struct{}{}, nil
		l.of[s] = append(l.of[s], room)
	}
}

// drop takes a session out of one room, or of all if room is 0.
func (l *liveRooms) drop(room chat.ConvID, s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := slices.DeleteFunc(l.of[s], func(id chat.ConvID) bool {
		if room != 0 && id != room {
			return false
		}
		r := l.rooms[id]
		delete(r.in, s)
		if r.list = nil; len(r.in) == 0 {
			delete(l.rooms, id)
		}
		return true
	})
	if l.of[s] = rest; len(rest) == 0 {
		delete(l.of, s)
	}
}

// expel takes all sessions of a user out of a room.
func (l *liveRooms) expel(room chat.ConvID, uid chat.UID) {
	for _, s := range l.sessions(room) {
		if s.caller.UID == uid {
			l.drop(room, s)
		}
	}
}

// enterRoom notes that a session is in a live room, or not any more. One that is not live by now does not enter.
func (g *Gateway) enterRoom(room chat.ConvID, c *chat.Caller, in bool) {
	for _, s := range g.sessionsOf(c.UID) {
		if s.caller != c {
			continue
		}
		if !in {
			g.live.drop(room, s)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.state == live {
			g.live.add(room, s)
		}
		return
	}
}

const (
	// lookEvery is how often it is looked who is present in live rooms; who was silent for longer than awayAfter is not.
	lookEvery = 20 * time.Second
	awayAfter = 30 * time.Second
)

// lookAround is called by the sweep.
func (g *Gateway) lookAround(now int64) {
	if now-g.looked < int64(lookEvery) {
		return
	}
	g.looked = now
	g.chat.Presence(func(uid chat.UID, id chat.SessionID) (connected, recently bool) {
		for _, s := range g.sessionsOf(uid) {
			if s.caller.ID == id {
				return true, now-s.heard.Load() <= int64(awayAfter)
			}
		}
		return false, false
	})
}

// What a slow session has not taken of live rooms waits in its lane, apart from everything else, because parts of it are dropped one by one.
const (
	// laneFrom is how many bytes may wait in a session before messages of live rooms wait in the lane.
	laneFrom = 16 << 10
	// laneFrames and laneBytes are how much a lane holds.
	laneFrames, laneBytes = 128, 64 << 10
)

// lane is what waits for a session of live rooms, in order.
type lane struct {
	waiting []liveFrame
	bytes   int
}

// liveFrame is a frame, which all sessions in the room share, with its priority: the lowest has the largest number.
type liveFrame struct {
	frame    []byte
	priority int
}

// put adds a frame, and returns how many were dropped for it: those of the lowest priority, the oldest first, or the frame itself.
func (l *lane) put(f liveFrame) (dropped int) {
	for len(l.waiting) > 0 && (len(l.waiting) >= laneFrames || l.bytes+len(f.frame) > laneBytes) {
		worst := 0
		for i, o := range l.waiting {
			if o.priority > l.waiting[worst].priority {
				worst = i
			}
		}
		dropped++
		if l.waiting[worst].priority < f.priority {
			return dropped
		}
		l.bytes -= len(l.waiting[worst].frame)
		l.waiting = slices.Delete(l.waiting, worst, worst+1)
	}
	l.waiting = append(l.waiting, f)
	l.bytes += len(f.frame)
	return dropped
}

// pushLive queues an event of a live room. shared returns a copy of it that stays. many is that of wake.
func (s *session) pushLive(frame []byte, priority int, shared func() []byte, many bool) {
	s.contain(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case s.state != live:
		case len(s.lane.waiting) == 0 && s.waiting()+len(frame) <= laneFrom:
			s.addLive(frame)
			s.tally()
			s.wake(many)
		default:
			s.g.metrics.dropped.Add(float64(s.lane.put(liveFrame{shared(), priority})))
			s.wake(many)
		}
	})
}

func (s *session) addLive(frame []byte) {
	s.begun()
	s.queued++
	s.out = append(s.out, frame...)
}

// takeLane appends what waits in the lane to what is about to be written. The caller holds s.mu.
func (s *session) takeLane() {
	if s.state == live {
		for _, f := range s.lane.waiting {
			s.addLive(f.frame)
		}
		s.tally()
	}
	s.lane = lane{}
}
