package gateway

import (
	"context"
	"errors"
	"net"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// login handles a LOGIN on the reader's goroutine: nothing of this connection comes before it is done.
func (s *session) login(f *im.Frame, st state) {
	g := s.g
	if st != fresh {
		s.reply(f.Id, f.Method, nil, im.Errorf(im.CodeBadRequest, "the connection is logged in already"))
		return
	}
	var req im.LoginRequest
	if err := req.UnmarshalVT(f.Body); err != nil {
		s.reply(f.Id, f.Method, nil, im.Errorf(im.CodeBadRequest, "the request is malformed"))
		return
	}
	if err := chat.CheckLogin(&req); err != nil {
		g.metrics.refused.Inc()
		g.log.Info("login refused", "remote", s.ws.RemoteAddr(), "err", err)
		s.reply(f.Id, f.Method, nil, err)
		return
	}
	if err := s.tryLogin(f.Id, &req); err != nil {
		g.metrics.refused.Inc()
		g.log.Info("login refused", "user", req.UserId, "device", req.DeviceId, "remote", s.ws.RemoteAddr(), "err", err)
		s.reply(f.Id, f.Method, nil, err)
		if errors.Is(err, &im.Error{Code: im.CodeFailedLogins}) {
			s.finish(closeFailures, "too many failed logins")
		}
	}
}

func (s *session) tryLogin(id uint64, req *im.LoginRequest) error {
	g := s.g
	ticket, err := s.authenticate(req)
	if err != nil {
		return err
	}
	g.limits.succeeded(s.addr, req.UserId)
	user, err := g.chat.Account(g.ctx, req.UserId)
	if err != nil {
		return err
	}
	// One login of an account at a time: of two, the second finds the first one's connection registered, or not logged in at all.
	lock := &g.logins[uint64(user.UID)%shards]
	lock.Lock()
	defer lock.Unlock()

	if !g.roomFor(user.UID, req) {
		g.metrics.limited.WithLabelValues(limitUser).Inc()
		return im.Errorf(im.CodeConnectionLimit, "the user has too many connections")
	}
	// The fence: what the device's older connection had sent is stored and answered before this one may send anything again. An older
	// session that turns up late does not disturb a newer one.
	old := g.find(user.UID, req.DeviceId)
	if old != nil && req.Resume && old.caller.Generation > req.Generation {
		old = nil
	}
	if old != nil {
		old.fence()
		old.awaitSends(g.ctx)
	}
	res, err := g.chat.Login(g.ctx, user.UID, req, ticket)
	if err != nil {
		if old != nil {
			old.leave(closeReplaced, "the device has another connection")
		}
		return err
	}
	res.Caller.Reply = s.reply
	if host, _, err := net.SplitHostPort(s.ws.RemoteAddr().String()); err == nil {
		res.Caller.Addr = host
	}
	s.mu.Lock()
	s.caller = res.Caller
	s.mu.Unlock()
	if res.Over {
		if old != nil {
			old.leave(closeReplaced, "the device has another connection")
		}
		s.move(kicked, g.now.Load()+int64(g.cfg.AckWithin)+int64(g.cfg.Sweep))
		return im.Errorf(im.CodeKicked, "another login has ended this session")
	}
	if !s.enter(id, res) {
		return nil // the connection is closed already
	}
	g.metrics.logins.Inc()
	for _, k := range res.Kicked {
		if o := g.find(user.UID, k.Device); o != nil {
			o.kick("another device logged in")
		}
	}
	switch {
	case old == nil:
	case req.Resume:
		old.leave(closeReplaced, "the device has another connection")
	default:
		old.kick("the device logged in again")
	}
	g.log.Debug("login", "user", user.Name, "device", req.DeviceId, "resume", req.Resume, "generation", res.Caller.Generation)
	return nil
}

// enter makes the session live. It becomes known to events while its lock is held, so that one that finds it waits and is queued behind the reply: what
// happens after the client has its reply reaches it, also what is kept nowhere, such as an online-only message.
func (s *session) enter(id uint64, res chat.Login) bool {
	if !s.goLive(id, res) {
		return false
	}
	s.ws.NetConn().(*guard).open.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == live
}

func (s *session) goLive(id uint64, res chat.Login) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != fresh {
		return false
	}
	s.state = live
	s.due = s.g.clock() + min(int64(res.Caller.Expires.Sub(s.g.cfg.Now())), 1<<62)
	s.g.register(s)
	s.open--
	s.add(&im.Frame{Id: id, Method: im.Method_LOGIN}, res.Reply)
	s.room.Broadcast()
	return true
}

func (s *session) move(to state, due int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state < to {
		s.state, s.due = to, due
		s.room.Broadcast()
	}
}

// find answers the session of a device. The caller holds the account's login lock.
func (g *Gateway) find(uid chat.UID, device string) *session {
	for _, s := range g.sessionsOf(uid) {
		if s.caller.Device == device {
			return s
		}
	}
	return nil
}

// fence makes the session take nothing more; calls that it has taken are still answered.
func (s *session) fence() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state <= live {
		s.state = fenced
		s.room.Broadcast()
	}
}

// awaitSends waits until every message that the session had sent is answered: stored or refused.
func (s *session) awaitSends(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.room.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.sends > 0 && ctx.Err() == nil {
		s.room.Wait()
	}
}

// leave takes the session off the list and closes its connection.
func (s *session) leave(code uint16, reason string) {
	s.g.unregister(s)
	s.finish(code, reason)
}

// kickBefore ends the sessions of an account that logged in before a generation. The lock waits for a login that is under way: it is known
// afterwards, with its generation.
func (g *Gateway) kickBefore(uid chat.UID, generation uint64, why string) {
	lock := &g.logins[uint64(uid)%shards]
	lock.Lock()
	defer lock.Unlock()
	for _, s := range g.sessionsOf(uid) {
		if s.caller.Generation < generation {
			s.kick(why)
		}
	}
}

// kick ends the session's login and tells it: from now on it may only acknowledge.
func (s *session) kick(why string) {
	s.g.unregister(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != live && s.state != fenced {
		return
	}
	s.state = kicked
	s.due = s.g.now.Load() + int64(s.g.cfg.AckWithin) + int64(s.g.cfg.Sweep)
	s.queued++
	f := im.Frame{Method: im.Method_KICKED}
	s.add(&f, &im.KickedPush{Generation: s.caller.Generation, Desc: why})
	s.room.Broadcast()
}

// acknowledge pays the debt of a kicked session and lets it go.
func (s *session) acknowledge(id uint64) {
	err := s.g.chat.KickedAck(s.g.ctx, s.caller)
	s.reply(id, im.Method_KICKED_ACK, &im.Empty{}, err)
	if err == nil {
		s.leave(closeKicked, "the session is over")
	}
}

func (s *session) logout(id uint64) {
	lock := &s.g.logins[uint64(s.caller.UID)%shards]
	lock.Lock()
	defer lock.Unlock()
	s.awaitSends(s.g.ctx)
	err := s.g.chat.Logout(s.g.ctx, s.caller)
	s.reply(id, im.Method_LOGOUT, &im.Empty{}, err)
	if err == nil {
		s.leave(closeLoggedOut, "logged out")
	}
}
