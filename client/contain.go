package client

import (
	"github.com/tidings-im/tidings/client/internal/local"

	"errors"
	"runtime/debug"

	"github.com/tidings-im/tidings/im"
)

// What comes from outside (bytes of a server, the file of a local database) never ends the process of the application.

// errPanic stands for a panic where an error of the local database would: nothing of the batch holds.
var errPanic = errors.New("a mistake inside the client")

// contain runs a piece of work on what a server sent or a local database holds. After a panic in it the batch is undone, the connection is made anew, and the process
// lives on. Callbacks of the application are not run in here.
func (c *Client) contain(f func()) {
	defer func() {
		if r := recover(); r != nil {
			c.panicked(r)
		}
	}()
	f()
}

func (c *Client) panicked(r any) {
	c.log.Error("the client failed inside; connecting anew", "panic", r, "stack", string(debug.Stack()))
	c.check(errPanic)
	c.post(func() {}) // the undoing comes with the next commit
}

// undo follows a failure of the local database: the batch is rolled back, what was to be told is dropped (calls that would have kept something here fail with 6019), memory is read
// from the database again, and the connection is made anew so that the sync brings everything once more.
func (c *Client) undo() {
	err := c.dbErr
	c.dbErr = nil
	if err != errPanic { // which is in the log
		c.log.Error("local database failed", "error", err)
	}
	failed := &im.Error{Code: im.CodeDatabase, Desc: "the local database failed: " + err.Error()}
	if c.db != nil {
		c.db.Rollback()
	}
	out := c.out
	c.out, c.toSend = nil, nil
	for _, o := range out {
		if o.answer {
			if o.undone != nil {
				o.undone()
			}
			c.out = append(c.out, o)
		}
	}
	c.failCalls(failed)
	c.tellCleared()
	c.tell()
	if c.link != nil {
		c.link.Break()
	}
	if c.db == nil { // nothing is local
		c.dbErr = nil
		return
	}
	readErr := c.load()
	if readErr != nil && local.IsDamaged(errors.Join(err, readErr)) {
		c.db.Close()
		c.forgetFired()
		var db *local.DB
		if db, readErr = local.Open(c.dir, c.cfg.UserID, c.log); readErr == nil {
			c.db = db
			readErr = c.load()
		}
	}
	if readErr != nil {
		c.log.Error("the local database cannot be read; this device keeps nothing until the next login", "error", readErr)
		c.db.Close()
		c.db = nil
		c.forgetFired()
		c.hangUp(LoggedOut)
	}
	c.dbErr = nil
}

// forgetFired goes with the database that the owed ids were of.
func (c *Client) forgetFired() {
	c.mu.Lock()
	c.fired = nil
	c.mu.Unlock()
}
