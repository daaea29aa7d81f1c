package client

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/link"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// session is the device's login, and its stored part: the account's number, the generation of the last login, the store that the device knows.
type session struct {
	*engine.Engine
	c           *Client
	way         *link.Link
	dir, device string         // dir "" keeps everything in memory
	run         uint64         // names the calls of this client to the server
	links       sync.WaitGroup // goroutines of links
	// needLocal: the login must open the local database.
	needLocal atomic.Bool

	mu               sync.Mutex // protects these, and the ticket in the config
	status           LoginStatus
	tiny             uint64
	generation       uint64
	kickedGeneration uint64
	clockOffset      time.Duration // server's clock minus ours
	files            tokens
	up               bool          // there is a link
	changed          chan struct{} // closed when status or up may have changed

	// Below: engine.
	localErr error     // why there is no database
	locked   bool      // by another process, when it was last tried
	offline  time.Time // without a login, local data can be read until then
	// distrusted is the hash of the ticket that a server has refused last.
	distrusted  string
	storeID     string
	loginDone   func(error)
	stopLink    context.CancelFunc
	lastFailure *im.Error // of the last attempt to connect
	// life ends with the session, or when a logout begins.
	life    context.Context
	endLife context.CancelFunc
	logins  int // raised by every login and logout, so that a late release does not hit the next login
	hbEvery time.Duration
}

// Names of the items in the clock.
const (
	alarmLogin     = "login"
	alarmHeartbeat = "heartbeat"
	alarmAnswer    = "answer to the heartbeat"
	alarmTicket    = "ticket"
	alarmTokens    = "tokens"
	alarmSync      = "sync"
	alarmList      = "list"
	alarmPaused    = "paused"
	alarmReceipts  = "receipts"
)

// stopClock removes what belongs to a session.
func (u *session) stopClock() {
	u.Clock.Stop(alarmLogin, alarmHeartbeat, alarmAnswer, alarmTicket, alarmTokens)
}

// open opens the user's database, on any goroutine.
func (u *session) open() (*local.DB, error) { return local.Open(u.dir, u.c.cfg.UserID, u.c.log) }

// Load reads what is stored of the session.
func (u *session) Load() error {
	if u.DB == nil {
		return nil
	}
	var err error
	num := func(key string) uint64 {
		n, e := u.DB.MetaInt(key)
		err = errors.Join(err, e)
		return uint64(n)
	}
	tiny, gen, kicked := num("tiny"), num("generation"), num("kicked")
	storeID, e := u.DB.Meta("store")
	if err = errors.Join(err, e); err != nil {
		return err
	}
	u.storeID = storeID
	u.mu.Lock()
	defer u.mu.Unlock()
	u.tiny, u.generation, u.kickedGeneration = tiny, gen, kicked
	return nil
}

// NewStore, Connected and Disconnected have nothing to do: the session itself has caused them.
func (u *session) NewStore() {}

func (u *session) Connected(bool) {}

func (u *session) Disconnected() {}

// Push ends the session if the server says so.
func (u *session) Push(f *im.Frame) error {
	switch f.Method {
	case im.Method_KICKED:
		p := &im.KickedPush{}
		if err := im.Decode(f.Body, p); err != nil {
			return err
		}
		u.kicked(p.Desc)
	case im.Method_EXPIRED:
		u.ticketExpired()
	}
	return nil
}

// Flush has nothing to write: what changes is written at once.
func (u *session) Flush() {}

// States has none: what the application must know about the session is reported as it happens.
func (u *session) States() *engine.States { return nil }

// now returns the state of the session.
func (u *session) now() LoginStatus {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.status
}

func (u *session) setStatus(s LoginStatus) {
	if s == LoggedOut || s == LoggingOut {
		u.endLife()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.status = s
	u.noteChange()
}

// setUp records whether there is a link.
func (u *session) setUp(up bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.up = up
	u.noteChange()
}

// noteChange wakes those who wait for a change of the status or the link. u.mu is held.
func (u *session) noteChange() {
	close(u.changed)
	u.changed = make(chan struct{})
}

func (u *session) serverNow() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return time.Now().Add(u.clockOffset)
}

// end ends the session on the device, whatever the server thinks; a login under way fails with err. A callback of a kick that is running when the client is
// closed counts as completed, as all others do.
func (u *session) end(err *im.Error) {
	u.mu.Lock()
	kicked := u.kickedGeneration
	u.mu.Unlock()
	if err == engine.Interrupted && u.DB != nil && kicked != 0 {
		u.Check(u.DB.SetMeta("kicked", kicked))
	}
	u.hangUp(LoggedOut)
	u.endLogin(err)
}

// endLogin completes a login that failed.
func (u *session) endLogin(err *im.Error) {
	if u.loginDone == nil {
		return
	}
	done := u.loginDone
	u.loginDone = nil
	if u.lastFailure != nil && err.Code == im.CodeConnectTimeout {
		err = u.lastFailure
	}
	u.hangUp(LoggedOut)
	done(err)
	u.GoOn()
}

// hangUp ends the connection and every attempt to make one.
func (u *session) hangUp(s LoginStatus) {
	u.setStatus(s)
	if u.stopLink != nil {
		u.stopLink()
	}
	if u.Conn != nil {
		u.unlink(false)
	}
	u.stopClock()
}

// online returns an error for a call that needs a login and a link.
func (u *session) online() *im.Error {
	switch {
	case u.c.Status() != LoggedIn:
		return notLoggedIn
	case u.Conn == nil:
		return &im.Error{Code: im.CodeDisconnected, Desc: "not connected"}
	}
	return nil
}
