package gateway

import (
	"context"
	"slices"
	"sync"

	"github.com/tidings-im/tidings/internal/chat"
)

const shards = 64

// shard holds what is known of the sessions of some accounts.
type shard struct {
	mu sync.RWMutex
	// live are the logged-in sessions. A slice is replaced, never changed, so it may be read after the lock is released.
	live map[chat.UID][]*session
	// closing are those that are no longer logged in, and of whose messages some are still on their way to the store.
	closing map[chat.UID][]*session
	// locks are those of accounts that somebody has or waits for.
	locks map[chat.UID]*accountLock
}

// accountLock is held by who has a place in held. uses is under shard.mu.
type accountLock struct {
	held chan struct{}
	uses int
}

func (sh *shard) init() {
	sh.live, sh.closing, sh.locks = make(map[chat.UID][]*session), make(map[chat.UID][]*session), make(map[chat.UID]*accountLock)
}

func (g *Gateway) shardOf(uid chat.UID) *shard { return &g.online[uint64(uid)%shards] }

// lockAccount makes logins, logouts and kicks of an account come one after the other: each sees the outcome of the one before, in the store and here. Nobody who holds it
// waits for anything but the store.
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
	defer sh.mu.RUnlock()
	return sh.live[uid]
}

// ofDevice answers the sessions of a device, and those that are over and have messages on their way. The caller holds the account's lock.
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

// listed says that the session is logged in, as far as anybody else knows.
func (s *session) listed() bool { return slices.Contains(s.g.sessionsOf(s.caller.UID), s) }

// register is called with s.mu held.
func (g *Gateway) register(s *session) {
	sh := g.shardOf(s.caller.UID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	with(sh.live, s)
}

// unregister takes a session off the list. It takes no more messages, and as long as some are on their way a later connection of its device finds it.
func (g *Gateway) unregister(s *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == live {
		s.state = fenced
	}
	sh := g.shardOf(s.caller.UID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if without(sh.live, s) && s.sends > 0 {
		s.closing = true
		with(sh.closing, s)
	}
}

// sent follows the end of the last message that was on its way. The caller holds s.mu.
func (g *Gateway) sent(s *session) {
	if s.closing {
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

// without says whether the session was there.
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
