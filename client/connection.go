package client

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/link"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// host is what the link of one login asks and reports to. Everything it reports goes to the engine, in its order, and counts only while that login
// lasts.
func (u *session) host(login context.Context) *link.Host {
	post := func(f func()) {
		u.Post(func() {
			if login.Err() == nil {
				f()
			}
		})
	}
	return &link.Host{
		Login: u.loginRequest,
		Waiting: func(try int, pause time.Duration) {
			post(func() {
				u.c.log.Info("waiting before the next try to connect", "try", try, "pause", pause.Round(time.Millisecond))
			})
		},
		Connecting: func() {
			post(func() {
				u.c.log.Info("connecting", "server", u.way.String())
				u.network(NetworkConnecting, 0, "connecting")
			})
		},
		Open:   func() { u.Post(func() { u.c.log.Info("connected", "server", u.way.String()) }) },
		Failed: func(err *im.Error) { post(func() { u.connectFailed(err) }) },
		Refused: func(r *link.Refused, resume bool) {
			u.Post(func() {
				u.distrust(r.Ticket, r.Err.Code) // also if the login has ended
				if login.Err() == nil {
					u.refused(r, resume)
				}
			})
		},
		Connected: func(ctx context.Context, l *link.Conn) bool {
			db, err := u.localInTime(ctx)
			if err != nil {
				post(func() { u.endLogin(im.Errorf(im.CodeDatabase, "%v", err)) })
				return false
			}
			if !u.Post(func() { u.connected(ctx, l, db) }) {
				if db != nil {
					db.Close()
				}
				return false
			}
			return true
		},
		Arrived: u.Arrive,
		Lost:    func(l *link.Conn, err *im.Error) { u.Post(func() { u.lost(l, err) }) },
	}
}

// loginRequest returns what the next login sends.
func (u *session) loginRequest(resume bool) *im.LoginRequest {
	u.mu.Lock()
	defer u.mu.Unlock()
	return &im.LoginRequest{UserId: u.c.cfg.UserID, UserSig: u.c.cfg.UserSig, DeviceId: u.device, Platform: u.c.cfg.Platform, SdkVersion: Version,
		AppId: u.c.cfg.AppID, Groups: true, Run: u.run, Resume: resume, Generation: u.generation, KickedGeneration: u.kickedGeneration}
}

// lockWait is how long a login waits for another process to release the database.
const lockWait = 5 * time.Second

// localInTime opens the local database that another process held, on the link's goroutine: the login has just ended the other process's session.
func (u *session) localInTime(ctx context.Context) (*local.DB, error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		if !u.needLocal.Load() { // the engine has it
			return nil, nil
		}
		db, err := u.open()
		if !errors.Is(err, local.ErrLocked) {
			return db, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// connected takes over a connection whose login was answered.
func (u *session) connected(ctx context.Context, l *link.Conn, db *local.DB) {
	reply := l.Reply
	if s := u.c.Status(); ctx.Err() != nil || s != LoggingIn && s != LoggedIn {
		l.Break()
		if db != nil {
			db.Close()
		}
		return
	}
	if db != nil && u.DB == nil {
		if err := u.Use(db); err != nil {
			l.Break()
			db.Close()
			u.c.log.Error("the user's local data cannot be read", "error", err)
			u.end(im.Errorf(im.CodeDatabase, "%v", err))
			return
		}
		u.needLocal.Store(false)
		u.locked = false
	}
	u.Attach(l)
	u.lastFailure = nil
	now := time.Now()
	first := u.loginDone != nil
	u.mu.Lock()
	u.status = LoggedIn
	u.tiny, u.generation = reply.TinyId, reply.Generation
	u.clockOffset = time.UnixMilli(reply.ServerTime).Sub(now)
	u.mu.Unlock()
	u.newTokens(reply.MediaToken, reply.UploadToken)
	u.setUp(true)
	u.Check(u.DB.SetMeta("tiny", reply.TinyId))
	u.Check(u.DB.SetMeta("generation", reply.Generation))
	u.trust(l.Ticket, reply)
	if u.storeID != reply.StoreId {
		if u.storeID != "" {
			u.c.log.Warn("the server has another store; everything starts over", "store", reply.StoreId)
			u.StartOver()
		}
		u.storeID = reply.StoreId
		u.Check(u.DB.SetMeta("store", reply.StoreId))
	}
	u.beat()
	u.Clock.Stop(alarmLogin)
	u.Clock.Set(alarmTicket, now.Add(time.UnixMilli(reply.TicketExpires).Sub(time.UnixMilli(reply.ServerTime))), u.ticketExpired)
	u.c.log.Info("logged in", "device", u.device, "resumed", !first, "server_time", time.UnixMilli(reply.ServerTime).UTC(),
		"ticket_ends", time.UnixMilli(reply.TicketExpires).UTC())
	u.network(NetworkConnected, 0, "connected")
	if first {
		u.life, u.endLife = context.WithCancel(context.Background())
		done := u.loginDone
		u.loginDone = nil
		done(nil)
	}
	u.TellOwed(u.c.again)
	u.c.rooms.comeBack(first, func() { u.Resume(first) })
}

// lost handles the end of a connection.
func (u *session) lost(l *link.Conn, err *im.Error) {
	if u.Conn != l {
		return
	}
	u.unlink(false)
	u.c.log.Info("disconnected", "code", err.Code, "cause", err.Desc)
	u.network(NetworkDisconnected, err.Code, err.Desc)
}

// unlink forgets the connection and what cannot be asked again on another; keep leaves it open.
func (u *session) unlink(keep bool) {
	if !keep {
		u.Conn.Break()
	}
	u.Clock.Stop(alarmHeartbeat, alarmAnswer, alarmTokens)
	u.setUp(false)
	u.Detach()
}

// refused handles a login that the server does not accept.
func (u *session) refused(r *link.Refused, resume bool) {
	err := r.Err
	if r.Retry {
		u.connectFailed(err)
		return
	}
	u.c.log.Info("login refused", "code", err.Code, "desc", err.Desc)
	switch {
	case resume && err.Code == im.CodeKicked:
		u.kicked(err.Desc)
	case resume && err.Code == im.CodeTicketExpired:
		u.ticketExpired()
	case u.loginDone != nil:
		u.network(NetworkConnected, 0, "connected")
		u.endLogin(err)
	default:
		// The session cannot be resumed, and the application must log in again: for the application, that is the end of the session.
		u.FailCalls(notLoggedIn)
		u.kicked(err.Desc)
	}
}

// kicked ends the session because of another login or an operator. The server is notified when the application has been.
func (u *session) kicked(desc string) {
	if u.c.Status() != LoggedIn {
		return
	}
	u.c.log.Info("kicked offline", "desc", desc)
	l := u.Conn
	if l != nil {
		l.Final()
		u.unlink(true) // kept open for the acknowledgement
	}
	u.stopClock()
	u.offline = time.Time{}
	u.setStatus(LoggedOut)
	u.FailCalls(notLoggedIn)
	login := u.logins
	u.mu.Lock()
	generation := u.generation
	u.mu.Unlock()
	u.Live(func() {
		// From here on it counts as reported for a login that the callback makes; on disk when the callback has returned.
		u.mu.Lock()
		u.kickedGeneration = generation
		u.mu.Unlock()
		u.c.ev.tellKickedOffline()
		u.Post(func() { u.kickedTold(login, generation, l) })
	})
}

func (u *session) kickedTold(login int, generation uint64, l *link.Conn) {
	if u.DB != nil {
		u.Check(u.DB.SetMeta("kicked", generation))
	}
	if l != nil {
		l.Last(&im.Frame{Id: u.NewID(), Method: im.Method_KICKED_ACK})
	}
	u.releaseUnless(login)
}

// ticketExpired ends the session because its ticket has expired; once, whichever side notices first.
func (u *session) ticketExpired() {
	if u.c.Status() != LoggedIn {
		return
	}
	u.c.log.Info("ticket expired")
	u.offline = time.Time{}
	u.hangUp(LoggedOut)
	u.FailCalls(notLoggedIn)
	u.Live(u.c.ev.tellUserSigExpired)
	u.releaseAfterCallbacks()
}

// releaseAfterCallbacks closes the local database once everything that was posted has run, unless another login came first.
func (u *session) releaseAfterCallbacks() {
	login := u.logins
	u.Live(func() { u.Post(func() { u.releaseUnless(login) }) })
}

// releaseUnless closes the local database, unless there was another login. States that are being reported are recorded as reported first.
func (u *session) releaseUnless(login int) {
	if u.logins != login || u.c.Status() != LoggedOut {
		return
	}
	u.Commit()
	if u.Telling() {
		u.releaseAfterCallbacks()
		return
	}
	u.Release()
}

// network reports the state of the link; a callback that is late gets only the latest state.
func (u *session) network(s NetworkStatus, code int32, desc string) {
	u.c.log.Debug("network", "status", s, "code", code, "desc", desc)
	u.Live(func() { u.c.ev.tellNetwork(s, code, desc) })
}

// connectFailed reports a failed attempt, with the address: the address may be what is wrong.
func (u *session) connectFailed(err *im.Error) {
	if at := u.way.String(); !strings.Contains(err.Desc, at) {
		err = im.Errorf(err.Code, "%s: server %s", err.Desc, at)
	}
	u.lastFailure = err
	u.c.log.Info("connecting failed", "server", u.way.String(), "code", err.Code, "cause", err.Desc)
	u.network(NetworkConnectFailed, err.Code, err.Desc)
}

// beat sets how often a heartbeat is sent: what the server asks for, and more often while the session is in a live room.
func (u *session) beat() {
	seconds := max(u.Conn.Reply.HeartbeatSeconds, 1)
	if often := u.c.rooms.heartbeat(); often > 0 {
		seconds = min(seconds, often)
	}
	u.hbEvery = time.Duration(seconds) * time.Second
	if u.c.cfg.Limits.HeartbeatEvery > 0 {
		u.hbEvery = u.c.cfg.Limits.HeartbeatEvery
	}
	u.Clock.Set(alarmHeartbeat, time.Now().Add(u.hbEvery), u.heartbeat)
}

// heartbeat asks for the numbers of rule 9.
func (u *session) heartbeat() {
	now := time.Now()
	u.Clock.Set(alarmHeartbeat, now.Add(u.hbEvery), u.heartbeat)
	u.Clock.Set(alarmAnswer, now.Add(u.c.cfg.Limits.Heartbeat), func() {
		if u.Conn != nil {
			u.c.log.Info("heartbeat unanswered")
			u.Conn.Break()
		}
	})
	engine.Ask(u.Engine, im.Method_HEARTBEAT, &im.Empty{}, false, 0, func(reply *im.HeartbeatReply, err *im.Error) {
		u.Clock.Stop(alarmAnswer)
		if err != nil {
			return
		}
		if received := u.Received(); reply.Queued != received {
			u.c.log.Info("events were dropped on the way", "queued", reply.Queued, "received", received)
			u.SetReceived(reply.Queued)
			u.c.sync.start()
			return
		}
		u.c.feed.upTo(reply.Feed)
		u.c.sync.upTo(reply.Time)
	})
}
