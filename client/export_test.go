package client

import (
	"github.com/tidings-im/tidings/client/internal/local"

	"context"
	"runtime"
	"time"

	"github.com/tidings-im/tidings/im"
)

// WaitQuiet returns when the client has nothing left to do by itself: no call is open, no sync runs, and everything that was to fire has fired. It
// reports false if the client has ended.
func (c *Client) WaitQuiet() bool {
	for {
		quiet := make(chan bool, 1)
		if !c.post(func() {
			quiet <- len(c.calls) == 0 && !c.sync.running() && !c.stateOut && (len(c.changed) == 0 || !c.owedDone) && !c.finish && c.waiting.Load() == 0 && len(c.out) == 0 && c.loginDone == nil && len(c.lateReceipts) == 0
		}) {
			return false
		}
		if <-quiet {
			return true
		}
		runtime.Gosched()
	}
}

// Beat sends a heartbeat and returns its numbers: pushes queued at the server, and received here.
func (c *Client) Beat() (queued, received uint64) {
	type pair struct{ q, r uint64 }
	ch := make(chan pair, 1)
	c.post(func() {
		ask(c, im.Method_HEARTBEAT, &im.Empty{}, false, 0, func(reply *im.HeartbeatReply, err *im.Error) {
			if err == nil {
				ch <- pair{reply.Queued, c.received}
			} else {
				ch <- pair{}
			}
		})
	})
	p := <-ch
	return p.q, p.r
}

// Trust makes the client's ticket one that a server has accepted.
func (c *Client) Trust() {
	done := make(chan struct{})
	c.post(func() {
		c.check(c.db.KeepTicket(local.HashTicket(c.cfg.UserSig), time.Now().Add(time.Hour).UnixMilli()))
		c.openLocal()
		close(done)
	})
	<-done
}

// Waiting returns how many items wait for the engine.
func (c *Client) Waiting() int {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return len(c.in.queue)
}

// Untold returns how many events wait for the application.
func (c *Client) Untold() int { return int(c.waiting.Load()) }

// OnCommit runs f inside each commit of the local database, before it is done.
func (c *Client) OnCommit(f func()) error {
	failed := make(chan error, 1)
	c.post(func() {
		failed <- c.db.OnCommit(func() int { f(); return 0 })
	})
	return <-failed
}

// Inside runs f on the engine, as the beginning of a call that succeeds.
func (c *Client) Inside(ctx context.Context, f func()) error {
	_, err := wait(ctx, "Inside", func(to caller[none]) {
		do(c, to, func(finish func(none, error)) {
			f()
			finish(none{}, nil)
		})
	})
	return err
}

// Reads returns how many queries of the local database were made.
func (c *Client) Reads() int {
	n := make(chan int, 1)
	c.post(func() { n <- c.db.Reads })
	return <-n
}

// OnEngine runs f on the engine.
func (c *Client) OnEngine(f func()) { c.post(f) }

// Arrived returns how many messages of the server wait for the engine.
func (c *Client) Arrived() int { return len(c.frames) }

// InsideSynced is Inside for a call that waits for the sync.
func (c *Client) InsideSynced(f func(), done func(error)) {
	doSynced(c, laterNone("Inside", done), func(finish func(none, error)) {
		f()
		finish(none{}, nil)
	})
}

// InsideLater is Inside for a piece of a call that takes long.
func (c *Client) InsideLater(f func(), done func(error)) {
	do(c, laterNone("Inside", done), func(finish func(none, error)) {
		c.soon(finishWith(finish), func() {
			f()
			finish(none{}, nil)
		})
	})
}

// FailCommits makes the next n commits of the local database fail.
func (c *Client) FailCommits(n int) error {
	failed := make(chan error, 1)
	c.post(func() {
		failed <- c.db.OnCommit(func() int {
			n--
			return min(max(n+1, 0), 1)
		})
	})
	return <-failed
}

// Fold returns the form of a text that the search compares.
func Fold(s string) string { return fold(s) }
