package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// login handles a LOGIN on the reader's goroutine: nothing else of this connection is handled before it is done.
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
		g.log.Info("login refused", "remote", s.conn.RemoteAddr(), "err", err)
		s.reply(f.Id, f.Method, nil, err)
		return
	}
	if err := s.tryLogin(f.Id, &req); err != nil {
		g.metrics.refused.Inc()
		level := slog.LevelInfo
		if chat.Known(err) != "" {
			level = slog.LevelDebug
		}
		g.log.Log(g.ctx, level, "login refused", "user", req.UserId, "device", req.DeviceId, "remote", s.conn.RemoteAddr(), "err", err)
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
	older, unlock, err := s.fenceOlder(user.UID, req)
	if err != nil {
		replace(older)
		return err
	}
	defer unlock()
	if s.left() { // nobody is connected any more to whom kicking others would be of use
		replace(older)
		return nil
	}
	res, err := g.chat.Login(g.ctx, user.UID, req, ticket)
	if err != nil {
		replace(older)
		return err
	}
	res.Caller.Reply = s.reply
	if host, _, err := net.SplitHostPort(s.conn.RemoteAddr().String()); err == nil {
		res.Caller.Addr = host
	}
	s.mu.Lock()
	s.caller = res.Caller
	s.mu.Unlock()
	if res.Over {
		replace(older)
		s.move(kicked, g.now.Load()+int64(g.cfg.AckWithin)+int64(g.cfg.Sweep))
		return im.Errorf(im.CodeKicked, "another login has ended this session")
	}
	if req.Groups {
		// Before the reply: what happens in a group after the client has it reaches the client.
		if err := g.rooms.hold(g.ctx, user.UID, g.chat.GroupsOf); err != nil {
			replace(older)
			return err
		}
	}
	// The login is in the store, so the others have ended, whatever has happened to this connection.
	entered := s.enter(id, res)
	g.endOthers(s, req.Resume)
	if !entered {
		return nil
	}
	g.metrics.logins.Inc()
	g.log.Debug("login", "user", user.Name, "device", req.DeviceId, "resume", req.Resume, "generation", res.Caller.Generation)
	return nil
}

// fenceOlder fences the older connections of the device: what they had sent is stored and answered, or dropped if the before-hook was not asked about
// it yet, before this connection may send anything again; so is the call that is being made, and those behind it are dropped. An older session that turns up late does not disturb a newer one. It returns those that
// were logged in. Without an error it returns with the account locked, and there is room for the connection.
func (s *session) fenceOlder(uid chat.UID, req *im.LoginRequest) (older []*session, unlock func(), err error) {
	g := s.g
	for {
		if unlock, err = g.lockAccount(uid); err != nil {
			return older, nil, err
		}
		if !g.roomFor(uid, req) {
			unlock()
			g.metrics.limited.WithLabelValues(limitUser).Inc()
			return older, nil, im.Errorf(im.CodeConnectionLimit, "the user has too many connections")
		}
		older = older[:0]
		var busy *session
		for _, o := range g.ofDevice(uid, req.DeviceId) {
			if req.Resume && o.caller.Generation > req.Generation {
				continue
			}
			o.fence()
			g.chat.Stop(o.caller)
			if o.dropCalls() {
				busy = o
			}
			older = append(older, o)
		}
		if busy == nil {
			return older, unlock, nil
		}
		unlock() // nobody waits for those that wait for a hook
		busy.await(g.ctx)
		if g.ctx.Err() != nil {
			return older, nil, g.ctx.Err()
		}
	}
}

// endOthers ends the other sessions that a login has ended in the store: those of its class and older ones of its device. It goes by who is logged in
// here, not by what the store said about them before. The caller holds the account's lock.
func (g *Gateway) endOthers(s *session, resume bool) {
	me := s.caller
	class := g.chat.Class(me.Platform)
	for _, o := range g.sessionsOf(me.UID) {
		switch {
		case o == s:
		case o.caller.Device == me.Device && resume:
			o.leave(closeReplaced, "the device has another connection")
		case o.caller.Device == me.Device:
			o.kick("the device logged in again")
		case class != chat.ClassAny && g.chat.Class(o.caller.Platform) == class:
			o.kick("another device logged in")
		}
	}
}

// replace closes connections that a later one of their device has fenced.
func replace(older []*session) {
	for _, o := range older {
		if o.listed() {
			o.leave(closeReplaced, "the device has another connection")
		}
	}
}

// enter makes the session live. It becomes known to events while its lock is held, so that an event that finds it waits and is queued behind the
// reply: what happens after the client has its reply reaches the client, including what is not kept, such as an online-only message.
func (s *session) enter(id uint64, res chat.Login) bool {
	if !s.goLive(id, res) {
		return false
	}
	s.conn.open.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == live
}

func (s *session) goLive(id uint64, res chat.Login) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != fresh {
		if res.Caller.Groups { // it is held, and is never listed
			s.g.rooms.release(res.Caller.UID)
		}
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

// left reports that the connection has ended before its login did.
func (s *session) left() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state != fresh
}

// dropCalls throws away the calls that were not made yet: the device makes them again. It reports whether the session is active.
func (s *session) dropCalls() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.work, s.held = nil, 0
	s.tally()
	return s.active()
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

// await waits until every message that the session had sent is answered, stored or refused, and no call is being made.
func (s *session) await(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.room.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.active() && ctx.Err() == nil {
		s.room.Wait()
	}
}

// leave removes the session from the list and closes its connection.
func (s *session) leave(code uint16, reason string) {
	s.g.unregister(s)
	s.finish(code, reason)
}

// kickBefore ends the sessions of an account whose logins came before a kick, whatever the store says about them. The lock waits for a login that is
// under way: it is known afterwards, with its number.
func (g *Gateway) kickBefore(uid chat.UID, before uint64, why string) {
	unlock, err := g.lockAccount(uid)
	if err != nil {
		return // the gateway is closing, and all sessions with it
	}
	defer unlock()
	for _, s := range g.sessionsOf(uid) {
		if s.caller.ID.No < before {
			s.kick(why)
		}
	}
}

// kick ends the session's login and notifies it: from then on it may only acknowledge.
func (s *session) kick(why string) {
	s.g.unregister(s)
	defer s.g.chat.LeaveRooms(s.caller) // without s.mu
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
	s.g.chat.Stop(s.caller)
}

// acknowledge pays the debt of a kicked session and closes it.
func (s *session) acknowledge(id uint64) {
	err := s.g.chat.KickedAck(s.g.ctx, s.caller)
	s.reply(id, im.Method_KICKED_ACK, &im.Empty{}, err)
	if err == nil {
		s.leave(closeKicked, "the session is over")
	}
}

// logout ends the session once what it had sent is stored. Messages that the before-hook was not asked about within Config.AckWithin are dropped.
func (s *session) logout(id uint64) {
	g := s.g
	ctx, cancel := context.WithTimeout(g.ctx, g.cfg.AckWithin)
	s.await(ctx)
	cancel()
	g.chat.Stop(s.caller)
	s.await(g.ctx)
	unlock, err := g.lockAccount(s.caller.UID)
	if err != nil {
		s.reply(id, im.Method_LOGOUT, nil, err)
		return
	}
	defer unlock()
	if !s.listed() {
		s.reply(id, im.Method_LOGOUT, nil, im.Errorf(im.CodeNotLoggedIn, "another login has ended this session"))
		return
	}
	err = g.chat.Logout(g.ctx, s.caller)
	s.reply(id, im.Method_LOGOUT, &im.Empty{}, err)
	if err == nil {
		s.leave(closeLoggedOut, "logged out")
	}
}
