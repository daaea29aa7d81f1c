package gateway

import (
	"maps"
	"slices"

	"github.com/tidings-im/tidings/internal/chat"
)

// reading is a group whose members are being read, and what waits for that.
type reading struct {
	// set is the MemberSet of the members that were read, and of the changes since; changed are those that were reported since the last reading began.
	set     uint64
	changed []changeOf
	held    []chat.Event
	size    int
	// lost means that more waited than maxHeld: the members have to ask.
	lost bool
}

type changeOf struct {
	uid chat.UID
	change
}

const (
	// maxHeld is how many bytes of events may wait until the members of a group have been read.
	maxHeld = 1 << 20
	// readAtOnce is how many users are looked for in a group with one statement.
	readAtOnce = 1000
	// maxKnown is of how many groups it is noted how new the members are.
	maxKnown = 1 << 17
)

// stale reports whether an event of a group with this MemberSet has to wait: the members that are known are older, or they are being read.
func (r *rooms) stale(group chat.ConvID, set uint64) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.users) > 0 && (set > r.known[group] || r.readings[group] != nil)
}

// hold keeps an event until the members of its group have been read. It reports false if the event need not wait any more, or the gateway is closing.
func (g *Gateway) hold(e chat.Event) bool {
	r := &g.rooms
	r.mu.Lock()
	defer r.mu.Unlock()
	reads := r.readings[e.To.Group]
	if reads == nil {
		if e.To.MemberSet <= r.known[e.To.Group] {
			return false
		}
		if !g.begin() {
			return false
		}
		reads = &reading{set: r.known[e.To.Group]}
		r.readings[e.To.Group] = reads
		go func() {
			defer g.wg.Done()
			g.read(e.To.Group, reads)
		}()
	}
	if reads.size += len(e.Frame); reads.size > maxHeld {
		reads.held, reads.lost = nil, true
	}
	if !reads.lost {
		e.Frame = slices.Clone(e.Frame)
		reads.held = append(reads.held, e)
	}
	return true
}

// read reads the members of a group and delivers what has waited for that, until nothing waits. If that fails, the members have to ask; the next event tries again.
func (g *Gateway) read(group chat.ConvID, reads *reading) {
	for {
		if err := g.refresh(group, reads); err != nil {
			g.log.Error("the members of a group cannot be read", "group", group, "err", err)
			g.rooms.mu.Lock()
			delete(g.rooms.readings, group)
			g.rooms.mu.Unlock()
			g.lag(group)
			return
		}
		if g.catchUp(group, reads) {
			return
		}
	}
}

// catchUp delivers what has waited. It reports false at an event that is newer than the members.
func (g *Gateway) catchUp(group chat.ConvID, reads *reading) bool {
	r := &g.rooms
	for {
		r.mu.Lock()
		if len(reads.held) == 0 {
			delete(r.readings, group)
			r.know(group, reads.set)
			lost := reads.lost
			r.mu.Unlock()
			if lost {
				g.lag(group)
			}
			return true
		}
		e := reads.held[0]
		newer := e.To.MemberSet > reads.set
		if !newer {
			reads.held = reads.held[1:]
			reads.size -= len(e.Frame)
		}
		r.mu.Unlock()
		if newer {
			return false
		}
		g.deliver(e.To, func() chat.Event { return e })
	}
}

// refresh reads who of the users that are connected here is in a group: of those who were, and of those who have joined since; of all if it is not known who was.
// Whoever connects during that loads newer members.
func (g *Gateway) refresh(group chat.ConvID, reads *reading) error {
	r := &g.rooms
	r.mu.Lock()
	reads.changed = nil
	ask := r.roommates(group, nil)
	after := reads.set
	if after == 0 {
		ask, after = slices.Collect(maps.Keys(r.users)), chat.NoEnd
	}
	least := uint64(0)
	if len(reads.held) > 0 {
		least = reads.held[0].To.MemberSet
	}
	r.mu.Unlock()
	set, joined, err := g.chat.JoinedSince(g.ctx, group, after)
	if err != nil {
		return err
	}
	r.mu.RLock()
	joined = slices.DeleteFunc(joined, func(uid chat.UID) bool { return r.users[uid] == nil })
	r.mu.RUnlock()
	asked, in := make(map[chat.UID]bool), make(map[chat.UID]chat.Joined)
	for {
		for some := range slices.Chunk(append(ask, joined...), readAtOnce) {
			list, err := g.chat.InGroup(g.ctx, group, some)
			if err != nil {
				return err
			}
			for _, uid := range some {
				asked[uid] = true
			}
			for _, m := range list {
				in[m.UID] = m.Joined
			}
		}
		r.mu.Lock()
		if ask, joined = r.roommates(group, asked), nil; len(ask) == 0 {
			break
		}
		r.mu.Unlock() // they have logged in since
	}
	defer r.mu.Unlock()
	begins := make(map[chat.UID]chat.Joined)
	for _, m := range r.groups[group] {
		begins[m.uid] = m.begins
	}
	for uid := range asked {
		now, is := in[uid]
		if was, had := begins[uid]; had && (!is || was != now) {
			r.apply(uid, change{group: group, set: set})
		}
		if is {
			r.apply(uid, change{group, true, set, now})
		}
	}
	reads.set = max(set, least)
	for _, c := range reads.changed {
		if c.set > set { // the others are in what was read
			r.apply(c.uid, c.change)
			reads.set = max(reads.set, c.set)
		}
	}
	return nil
}

// roommates returns the members of a group that are connected here, except some. It is called with the lock held.
func (r *rooms) roommates(group chat.ConvID, except map[chat.UID]bool) (out []chat.UID) {
	for _, m := range r.groups[group] {
		if !except[m.uid] {
			out = append(out, m.uid)
		}
	}
	return out
}

// know notes the MemberSet of which a group has everybody. It is called with the lock held.
func (r *rooms) know(group chat.ConvID, set uint64) {
	if len(r.known) >= maxKnown {
		clear(r.known) // what is not known is read
	}
	r.known[group] = set
}

// lag makes the members of a group ask for what is new.
func (g *Gateway) lag(group chat.ConvID) {
	for _, m := range g.rooms.members(group) {
		for _, s := range g.sessionsOf(m.uid) {
			s.lag()
		}
	}
}
