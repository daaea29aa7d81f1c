package gateway

import (
	"context"
	"slices"
	"sync"

	"github.com/tidings-im/tidings/internal/chat"
)

// rooms knows which of the users who are connected here are in which groups. After a login has loaded a user's groups, it changes only with the changes of
// membership that the rules report, in commit order: so what is pushed is what a pull would give. Where servers share a store, a group is read again when an event
// shows that another server has changed who is in it.
type rooms struct {
	mu    sync.RWMutex
	users map[chat.UID]*roomer
	// What is in a slice never changes, so it may be read after the lock is released. Who comes is written behind the end that earlier readers know, which
	// does not copy a large group for each login; who goes makes another slice.
	groups map[chat.ConvID][]roommate
	// Where servers share a store: the MemberSet of which groups has everybody, and the groups that are being read.
	shared   bool
	known    map[chat.ConvID]uint64
	readings map[chat.ConvID]*reading
	// loading are those of the users whose groups are being loaded.
	loading map[chat.UID]*roomer
}

// roommate is a member of a group who is connected here.
type roommate struct {
	uid    chat.UID
	begins chat.Joined
}

// roomer is a user with sessions that know groups.
type roomer struct {
	holds  int
	loaded bool
	in     map[chat.ConvID]bool
	// changed are the changes that were reported while the groups were being loaded.
	changed []change
}

type change struct {
	group  chat.ConvID
	in     bool
	set    uint64
	begins chat.Joined
}

func (r *rooms) init() {
	r.users, r.groups = make(map[chat.UID]*roomer), make(map[chat.ConvID][]roommate)
	r.known, r.readings = make(map[chat.ConvID]uint64), make(map[chat.ConvID]*reading)
	r.loading = make(map[chat.UID]*roomer)
}

// hold makes a user known until release is called as often. The first one loads the groups: changes of membership from before it are in what load returns, and
// those from after it are reported. The caller holds the account's lock, so there is one at a time.
func (r *rooms) hold(ctx context.Context, uid chat.UID, load func(context.Context, chat.UID) ([]chat.GroupOf, error)) error {
	r.mu.Lock()
	u := r.users[uid]
	if u == nil {
		u = &roomer{in: make(map[chat.ConvID]bool)}
		r.users[uid] = u
	}
	u.holds++
	loaded := u.loaded
	if !loaded {
		r.loading[uid] = u
	}
	r.mu.Unlock()
	if loaded {
		return nil
	}
	list, err := load(ctx, uid)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.loading, uid)
	if err != nil {
		r.letGo(uid)
		return err
	}
	sets := make(map[chat.ConvID]uint64, len(list))
	for _, g := range list {
		sets[g.Conv] = g.MemberSet
		r.set(uid, u, g.Conv, true, g.Joined)
		// Another server may have removed the user between the two.
		if r.known[g.Conv] > g.MemberSet {
			r.known[g.Conv] = g.MemberSet
		}
		if reads := r.readings[g.Conv]; reads != nil {
			reads.set = min(reads.set, g.MemberSet)
		}
	}
	for _, c := range u.changed {
		if c.set > sets[c.group] { // the others are in what was loaded
			r.set(uid, u, c.group, c.in, c.begins)
		}
	}
	u.loaded, u.changed = true, nil
	return nil
}

func (r *rooms) release(uid chat.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.letGo(uid)
}

// letGo is called with the lock held.
func (r *rooms) letGo(uid chat.UID) {
	u := r.users[uid]
	if u.holds--; u.holds > 0 {
		return
	}
	for group := range u.in {
		r.set(uid, u, group, false, chat.Joined{})
	}
	delete(r.users, uid)
}

// change is called on the delivery goroutine, before the events of the change.
func (r *rooms) change(group chat.ConvID, uid chat.UID, in bool, set uint64, begins chat.Joined) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := change{group, in, set, begins}
	r.apply(uid, c)
	switch reads := r.readings[group]; {
	case reads != nil:
		reads.changed = append(reads.changed, changeOf{uid, c})
		if reads.set+1 == set {
			reads.set = set
		}
	case r.shared && r.known[group]+1 == set:
		r.know(group, set)
	}
}

// apply is called with the lock held.
func (r *rooms) apply(uid chat.UID, c change) {
	switch u := r.users[uid]; {
	case u == nil:
	case !u.loaded:
		u.changed = append(u.changed, c)
	default:
		r.set(uid, u, c.group, c.in, c.begins)
	}
}

// over is called on the delivery goroutine, after the last event of a group.
func (r *rooms) over(group chat.ConvID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.readings[group] == nil { // otherwise its last events still wait for its members
		for _, m := range r.groups[group] {
			delete(r.users[m.uid].in, group)
		}
		delete(r.groups, group)
	}
	for _, u := range r.loading { // it may be in what is loaded
		u.changed = append(u.changed, change{group: group, set: chat.NoEnd})
	}
}

// set is called with the lock held.
func (r *rooms) set(uid chat.UID, u *roomer, group chat.ConvID, in bool, begins chat.Joined) {
	if u.in[group] == in {
		return
	}
	old := r.groups[group]
	if in {
		u.in[group] = true
		r.groups[group] = append(old, roommate{uid, begins})
		return
	}
	delete(u.in, group)
	if rest := slices.DeleteFunc(slices.Clone(old), func(o roommate) bool { return o.uid == uid }); len(rest) > 0 {
		r.groups[group] = rest
	} else {
		delete(r.groups, group)
	}
}

// members returns the members of a group who are connected here.
func (r *rooms) members(group chat.ConvID) []roommate {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.groups[group]
}
