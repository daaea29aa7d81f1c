package gateway

import (
	"context"
	"slices"
	"sync"

	"github.com/tidings-im/tidings/internal/chat"
)

const shards = 64

// shard contains what is known of the sessions of some accounts.
type shard struct {
	mu sync.RWMutex
	// live are the logged-in sessions. A slice is replaced, never changed, so it may be read after the lock is released.
	live map[chat.UID][]*session
	// closing are the sessions that are no longer logged in and still active.
	closing map[chat.UID][]*session
	// locks are the locks of accounts that somebody holds or waits for.
	locks map[chat.UID]*accountLock
}

// accountLock is held by the one whose place is in held. uses is protected by shard.mu.
type accountLock struct {
	held chan struct{}
	uses int
}

func (sh *shard) init() {
	sh.live, sh.closing, sh.locks = make(map[chat.UID][]*session), make(map[chat.UID][]*session), make(map[chat.UID]*accountLock)
}

func (g *Gateway) shardOf(uid chat.UID) *shard { return &g.online[uint64(uid)%shards] }

// lockAccount serializes logins, logouts and kicks of an account: each sees the outcome of the one before, in the store and here. While holding it,
// one waits only for the store.
func (g *Gateway) lockAccount(uid chat.UID) (unlock func(), err error) {
	sh := g.shardOf(uid)
	sh.mu.Lock()
	l := sh.locks[uid]
	if l == nil {
		l = &accountLock{held: make(chan struct{}, 1)}
		sh.locks[uid] = l
	}
	l.uses++
	sh.mu.Unlock()
	forget := func() {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if l.uses--; l.uses == 0 {
			delete(sh.locks, uid)
		}
	}
	select {
	case l.held <- struct{}{}:
		return func() { <-l.held; forget() }, nil
	case <-g.ctx.Done():
		forget()
		return nil, context.Cause(g.ctx)
	}
}

func (g *Gateway) sessionsOf(uid chat.UID) []*session {
	sh := g.shardOf(uid)
	sh.mu.RLock()
	all := sh.live[uid]
	sh.mu.RUnlock()
	return all
}

// ofDevice returns the sessions of a device, including ended ones that are still active. The caller holds the account's lock.
func (g *Gateway) ofDevice(uid chat.UID, device string) (out []*session) {
	sh := g.shardOf(uid)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for _, all := range [][]*session{sh.live[uid], sh.closing[uid]} {
		for _, s := range all {
			if s.caller.Device == device {
				out = append(out, s)
			}
		}
	}
	return out
}

// listed reports whether the session is logged in, as far as anybody else knows.
func (s *session) listed() bool { return slices.Contains(s.g.sessionsOf(s.caller.UID), s) }

// register is called with s.mu held.
func (g *Gateway) register(s *session) {
	sh := g.shardOf(s.caller.UID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	with(sh.live, s)
}

// unregister removes a session from the list. It takes nothing more, and as long as it is active a later connection of its device finds it.
func (g *Gateway) unregister(s *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == live {
		s.state = fenced
	}
	g.live.drop(0, s)
	sh := g.shardOf(s.caller.UID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !without(sh.live, s) {
		return
	}
	if s.caller.Groups {
		g.rooms.release(s.caller.UID)
	}
	if s.active() {
		s.closing = true
		with(sh.closing, s)
	}
}

// settled is called after the last message that was on its way has been answered, and after each other call. The caller holds s.mu.
func (g *Gateway) settled(s *session) {
	if s.closing && !s.active() {
		s.closing = false
		sh := g.shardOf(s.caller.UID)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		without(sh.closing, s)
	}
}

func with(m map[chat.UID][]*session, s *session) {
	old := m[s.caller.UID]
	m[s.caller.UID] = append(old[:len(old):len(old)], s)
}

// without reports whether the session was there.
func without(m map[chat.UID][]*session, s *session) bool {
	old := m[s.caller.UID]
	rest := slices.DeleteFunc(slices.Clone(old), func(o *session) bool { return o == s })
	if len(rest) == 0 {
		delete(m, s.caller.UID)
	} else {
		m[s.caller.UID] = rest
	}
	return len(rest) < len(old)
}
