package client

import (
	"github.com/tidings-im/tidings/client/internal/local"

	"errors"
	"slices"
	"time"

	"github.com/tidings-im/tidings/im"
)

// What is local can be read by the user who is logged in. Without a login it can be read with a ticket that a server has taken before on this device, as long as that has
// not run out and no server has refused it since: a ticket can be checked by servers alone, and the name in it proves nothing. The hashes of those tickets are
// kept in the user's local database.

// openLocal opens the user's local data and sees whether the ticket lets read it. Another process may have it: then the login waits for it.
func (c *Client) openLocal() {
	c.localErr, c.offline = nil, time.Time{}
	if c.db == nil {
		db, err := local.Open(c.dir, c.cfg.UserID, c.log)
		if err == nil {
			c.db = db
			if err = c.load(); err != nil {
				db.Close()
				c.db = nil
			}
		}
		if errors.Is(err, local.ErrLocked) {
			if !c.locked {
				c.log.Info("the user's local data is in use by another process; the login waits for it")
			}
			c.locked = true
			return
		}
		c.locked = false
		if err != nil {
			c.log.Error("the user's local data cannot be opened", "error", err)
			c.localErr = im.Errorf(im.CodeDatabase, "%v", err)
			return
		}
		c.needLocal.Store(false)
	}
	if c.distrusted != "" {
		c.check(c.db.KeepTicket(c.distrusted, 0))
	}
	c.mu.Lock()
	hash := local.HashTicket(c.cfg.UserSig)
	c.mu.Unlock()
	all, err := c.db.Tickets()
	c.check(err)
	if i := slices.IndexFunc(all, func(t local.Ticket) bool { return t.Hash == hash }); i >= 0 {
		c.offline = time.UnixMilli(all[i].End)
	}
}

// trust follows a login that the server took.
func (c *Client) trust(sig string, reply *im.LoginReply) {
	hash := local.HashTicket(sig)
	if hash == c.distrusted {
		c.distrusted = ""
	}
	c.check(c.db.KeepTicket(hash, time.Now().UnixMilli()+reply.TicketExpires-reply.ServerTime))
}

// distrust follows a login that the server refused for its ticket, whatever has become of the login meanwhile.
func (c *Client) distrust(sig string, code int32) {
	switch code {
	case im.CodeTicketExpired, im.CodeTicketEmpty, im.CodeTicketMalformed, im.CodeTicketMismatch, im.CodeTicketOtherUser, im.CodeTicketOtherApp, im.CodeTicketVoid:
	default:
		return
	}
	if sig == "" {
		return
	}
	c.distrusted = local.HashTicket(sig)
	c.mu.Lock()
	current := sig == c.cfg.UserSig
	c.mu.Unlock()
	if current {
		c.offline = time.Time{}
	}
	if c.db != nil {
		c.check(c.db.KeepTicket(c.distrusted, 0))
	}
}

// readable answers an error where nothing local may be read.
func (c *Client) readable() *im.Error {
	if c.db == nil && c.locked { // the other process may have let go
		c.openLocal()
	}
	switch s := c.Status(); {
	case c.db == nil:
	case s == LoggedIn, s == LoggingOut, time.Now().Before(c.offline), s == LoggingIn && len(c.convs) == 0:
		return nil
	}
	return notLoggedIn
}

// doReading is doSynced for a call that reads what is local. While a login is under way that brings another ticket than those that are known, the login
// decides.
func doReading[T any](c *Client, to caller[T], start func(finish func(T, error))) {
	do(c, to, func(finish func(T, error)) {
		fail := finishWith(finish)
		read := func() {
			if err := c.readable(); err != nil {
				fail(err)
				return
			}
			start(finish)
		}
		if c.syncing() || c.Status() == LoggingIn && c.readable() != nil {
			c.park(fail, read)
			return
		}
		read()
	})
}
