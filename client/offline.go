package client

import (
	"errors"
	"slices"
	"time"

	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// The user who is logged in can read local data. Without a login it can be read with a ticket that a server has accepted before on this device, as
// long as it has not expired and no server has refused it since: only servers can check a ticket, and the name in it proves nothing. The hashes of
// those tickets are kept in the user's local database.

// openLocal opens the user's local data and checks whether the ticket allows reading it. Another process may have it: then the login waits for it.
func (u *session) openLocal() {
	u.localErr, u.offline = nil, time.Time{}
	if u.DB == nil {
		db, err := u.open()
		if err == nil {
			if err = u.Use(db); err != nil {
				db.Close()
			}
		}
		if errors.Is(err, local.ErrLocked) {
			if !u.locked {
				u.c.log.Info("the user's local data is in use by another process; the login waits for it")
			}
			u.locked = true
			return
		}
		u.locked = false
		if err != nil {
			u.c.log.Error("the user's local data cannot be opened", "error", err)
			u.localErr = im.Errorf(im.CodeDatabase, "%v", err)
			return
		}
		u.needLocal.Store(false)
	}
	if u.distrusted != "" {
		u.Check(u.DB.KeepTicket(u.distrusted, 0))
	}
	u.mu.Lock()
	hash := local.HashTicket(u.c.cfg.UserSig)
	u.mu.Unlock()
	all, err := u.DB.Tickets()
	u.Check(err)
	if i := slices.IndexFunc(all, func(t local.Ticket) bool { return t.Hash == hash }); i >= 0 {
		u.offline = time.UnixMilli(all[i].End)
	}
}

// trust handles a login that the server accepted.
func (u *session) trust(sig string, reply *im.LoginReply) {
	hash := local.HashTicket(sig)
	if hash == u.distrusted {
		u.distrusted = ""
	}
	u.Check(u.DB.KeepTicket(hash, time.Now().UnixMilli()+reply.TicketExpires-reply.ServerTime))
}

// distrust handles a login that the server refused because of its ticket, whatever has happened to the login since.
func (u *session) distrust(sig string, code int32) {
	switch code {
	case im.CodeTicketExpired, im.CodeTicketEmpty, im.CodeTicketMalformed, im.CodeTicketMismatch, im.CodeTicketOtherUser, im.CodeTicketOtherApp, im.CodeTicketVoid:
	default:
		return
	}
	if sig == "" {
		return
	}
	u.distrusted = local.HashTicket(sig)
	u.mu.Lock()
	current := sig == u.c.cfg.UserSig
	u.mu.Unlock()
	if current {
		u.offline = time.Time{}
	}
	if u.DB != nil {
		u.Check(u.DB.KeepTicket(u.distrusted, 0))
	}
}

// readable returns an error if local data may not be read.
func (u *session) readable() *im.Error {
	if u.DB == nil && u.locked { // the other process may have released it
		u.openLocal()
	}
	switch s := u.c.Status(); {
	case u.DB == nil:
	case s == LoggedIn, s == LoggingOut, time.Now().Before(u.offline), s == LoggingIn && len(u.c.convs.byKey) == 0 && u.c.feed.state == feedFresh:
		return nil
	}
	return notLoggedIn
}
