package client

import (
	"github.com/tidings-im/tidings/client/internal/local"

	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tidings-im/tidings/client/internal/link"
	"github.com/tidings-im/tidings/im"
)

// host is what the link of one login asks and tells. All but what it asks goes to the engine, in its order, and counts only while that login does.
func (c *Client) host(login context.Context) *link.Host {
	post := func(f func()) {
		c.post(func() {
			if login.Err() == nil {
				f()
			}
		})
	}
	return &link.Host{
		Login: c.loginRequest,
		Waiting: func(try int, pause time.Duration) {
			post(func() {
				c.log.Info("waiting before the next try to connect", "try", try, "pause", pause.Round(time.Millisecond))
			})
		},
		Connecting: func() {
			post(func() {
				c.log.Info("connecting", "server", c.way.String())
				c.network(NetworkConnecting, 0, "connecting")
			})
		},
		Open:   func() { c.post(func() { c.log.Info("connected", "server", c.way.String()) }) },
		Failed: func(err *im.Error) { post(func() { c.connectFailed(err) }) },
		Refused: func(r *link.Refused, resume bool) {
			c.post(func() {
				c.distrust(r.Ticket, r.Err.Code) // also if the login is over
				if login.Err() == nil {
					c.refused(r, resume)
				}
			})
		},
		Connected: func(ctx context.Context, l *link.Conn) bool {
			db, err := c.localInTime(ctx)
			if err != nil {
				post(func() { c.endLogin(im.Errorf(im.CodeDatabase, "%v", err)) })
				return false
			}
			if !c.post(func() { c.connected(ctx, l, db) }) {
				if db != nil {
					db.Close()
				}
				return false
			}
			return true
		},
		Arrived: func(ctx context.Context, l *link.Conn, data []byte) error {
			select {
			case c.frames <- arrived{l, data}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		Lost: func(l *link.Conn, err *im.Error) { c.post(func() { c.lost(l, err) }) },
	}
}

// loginRequest is what the next login shows.
func (c *Client) loginRequest(resume bool) *im.LoginRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &im.LoginRequest{UserId: c.cfg.UserID, UserSig: c.cfg.UserSig, DeviceId: c.device, Platform: c.cfg.Platform, SdkVersion: Version,
		AppId: c.cfg.AppID, Resume: resume, Generation: c.generation, KickedGeneration: c.kickedGeneration}
}

// localInTime opens the local database that another process held, on the link's goroutine: the login has just ended the other's session.
func (c *Client) localInTime(ctx context.Context) (*local.DB, error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		if !c.needLocal.Load() { // the engine has it
			return nil, nil
		}
		db, err := local.Open(c.dir, c.cfg.UserID, c.log)
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
func (c *Client) connected(ctx context.Context, l *link.Conn, db *local.DB) {
	reply := l.Reply
	if s := c.Status(); ctx.Err() != nil || s != LoggingIn && s != LoggedIn {
		l.Break()
		if db != nil {
			db.Close()
		}
		return
	}
	if db != nil && c.db == nil {
		c.db = db
		if !c.check(c.load()) {
			return
		}
		c.needLocal.Store(false)
		c.locked = false
	}
	c.link, c.received, c.lastFailure = l, 0, nil
	now := time.Now()
	first := c.loginDone != nil
	c.mu.Lock()
	c.status = LoggedIn
	c.tiny, c.generation = reply.TinyId, reply.Generation
	c.clockOffset = time.UnixMilli(reply.ServerTime).Sub(now)
	c.mu.Unlock()
	c.check(c.db.SetMeta("tiny", reply.TinyId))
	c.check(c.db.SetMeta("generation", reply.Generation))
	c.trust(l.Ticket, reply)
	if c.storeID != reply.StoreId {
		if c.storeID != "" {
			c.log.Warn("the server has another store; conversations start anew", "store", reply.StoreId)
			for _, cv := range c.convs {
				c.newEra(cv)
			}
		}
		c.storeID = reply.StoreId
		c.cursorAt = 0
		c.check(c.db.SetMeta("store", reply.StoreId))
		c.check(c.db.SetMeta("cursor", 0))
	}
	c.hbEvery = time.Duration(max(reply.HeartbeatSeconds, 1)) * time.Second
	if c.cfg.Limits.HeartbeatEvery > 0 {
		c.hbEvery = c.cfg.Limits.HeartbeatEvery
	}
	c.hbNext = now.Add(c.hbEvery)
	delete(c.deadlines, deadlineLogin)
	c.deadlines[deadlineTicket] = now.Add(time.UnixMilli(reply.TicketExpires).Sub(time.UnixMilli(reply.ServerTime)))
	c.log.Info("logged in", "device", c.device, "resumed", !first, "server_time", time.UnixMilli(reply.ServerTime).UTC(),
		"ticket_ends", time.UnixMilli(reply.TicketExpires).UTC())
	c.network(NetworkConnected, 0, "connected")
	if first {
		done := c.loginDone
		c.loginDone = nil
		done(nil)
		c.fireOwed()
		c.sync.login, c.finish = true, false
		c.live(func() { c.tellConvs(ConvSyncStart, nil) })
	}
	// What was open when the last connection broke is sent again, in its order, and answered before anything new (rule 31).
	ids := make([]uint64, 0, len(c.calls))
	for id := range c.calls {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		k := c.calls[id]
		c.toSend = append(c.toSend, &im.Frame{Id: id, Method: k.method, Body: k.body, Resent: true})
	}
	if first {
		c.settle()
	}
	c.startSync()
}

// lost follows the end of a connection.
func (c *Client) lost(l *link.Conn, err *im.Error) {
	if c.link != l {
		return
	}
	c.unlink(false)
	c.log.Info("disconnected", "code", err.Code, "cause", err.Desc)
	c.network(NetworkDisconnected, err.Code, err.Desc)
}

// unlink forgets the connection and what cannot be asked again on another; keep leaves it open.
func (c *Client) unlink(keep bool) {
	if !keep {
		c.link.Break()
	}
	c.link = nil
	c.toSend = c.toSend[:0]
	delete(c.deadlines, deadlineHeartbeat)
	delete(c.deadlines, deadlineSync)
	delete(c.deadlines, deadlineList)
	c.failSome(&im.Error{Code: im.CodeDisconnected, Desc: "disconnected"}, func(k *call) bool { return !k.repeat })
	for _, cv := range c.sync.heads {
		// Where to start was not decided: as if never met.
		fresh := newConv(cv.ID, cv.key())
		fresh.Era, fresh.Listed, fresh.Draft, fresh.Announced, fresh.ToldUnread, fresh.shown = cv.Era, cv.Listed, cv.Draft, cv.Announced, cv.ToldUnread, cv.shown
		*cv = *fresh
	}
	for _, cv := range c.sync.queue {
		cv.queued = false
	}
	c.sync = syncState{login: c.sync.login}
	c.goOnParked()
}

// refused follows a login that the server will not take.
func (c *Client) refused(r *link.Refused, resume bool) {
	err := r.Err
	if r.Retry {
		c.connectFailed(err)
		return
	}
	c.log.Info("login refused", "code", err.Code, "desc", err.Desc)
	switch {
	case resume && err.Code == im.CodeKicked:
		c.kicked(err.Desc)
	case resume && err.Code == im.CodeTicketExpired:
		c.ticketExpired()
	case c.loginDone != nil:
		c.network(NetworkConnected, 0, "connected")
		c.endLogin(err)
	default:
		// The session cannot be resumed, and the application must log in again: to it that is the end of the session.
		c.failCalls(notLoggedIn)
		c.kicked(err.Desc)
	}
}

// kicked ends the session because of another login or an operator. The server is told when the application has been.
func (c *Client) kicked(desc string) {
	if c.Status() != LoggedIn {
		return
	}
	c.log.Info("kicked offline", "desc", desc)
	l := c.link
	if l != nil {
		l.Final()
		c.unlink(true) // kept open for the acknowledgement
	}
	clear(c.deadlines)
	c.offline = time.Time{}
	c.setStatus(LoggedOut)
	c.failCalls(notLoggedIn)
	login := c.logins
	c.mu.Lock()
	generation := c.generation
	c.mu.Unlock()
	c.live(func() {
		// From here on it counts as told to a login that the callback makes; on disk when the callback has returned.
		c.mu.Lock()
		c.kickedGeneration = generation
		c.mu.Unlock()
		c.ev.tellKickedOffline()
		c.post(func() { c.kickedTold(login, generation, l) })
	})
}

func (c *Client) kickedTold(login int, generation uint64, l *link.Conn) {
	if c.db != nil {
		c.check(c.db.SetMeta("kicked", generation))
	}
	if l != nil {
		l.Last(&im.Frame{Id: c.nextID, Method: im.Method_KICKED_ACK})
		c.nextID++
	}
	c.releaseUnless(login)
}

// ticketExpired ends the session because its ticket has run out; once, whoever notices first.
func (c *Client) ticketExpired() {
	if c.Status() != LoggedIn {
		return
	}
	c.log.Info("ticket expired")
	c.offline = time.Time{}
	c.hangUp(LoggedOut)
	c.failCalls(notLoggedIn)
	c.live(c.ev.tellUserSigExpired)
	c.releaseAfterCallbacks()
}

// releaseAfterCallbacks closes the local database once everything that was posted has been told, unless another login came first.
func (c *Client) releaseAfterCallbacks() {
	login := c.logins
	c.live(func() { c.post(func() { c.releaseUnless(login) }) })
}

// releaseUnless closes the local database, unless there was another login. States that are being told are kept as told first.
func (c *Client) releaseUnless(login int) {
	if c.logins != login || c.Status() != LoggedOut {
		return
	}
	c.commit()
	if c.stateOut {
		c.releaseAfterCallbacks()
		return
	}
	c.release()
}

// network tells the state of the link; only the latest state is of interest to a callback that comes late.
func (c *Client) network(s NetworkStatus, code int32, desc string) {
	c.log.Debug("network", "status", s, "code", code, "desc", desc)
	c.live(func() { c.ev.tellNetwork(s, code, desc) })
}

// connectFailed tells of a try that came to nothing, with the address: it may be that which is wrong.
func (c *Client) connectFailed(err *im.Error) {
	if at := c.way.String(); !strings.Contains(err.Desc, at) {
		err = im.Errorf(err.Code, "%s: server %s", err.Desc, at)
	}
	c.lastFailure = err
	c.log.Info("connecting failed", "server", c.way.String(), "code", err.Code, "cause", err.Desc)
	c.network(NetworkConnectFailed, err.Code, err.Desc)
}
