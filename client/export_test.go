package client

import (
	"context"
	"runtime"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// WaitQuiet returns when the client has nothing left to do by itself: no call is open, no sync runs, and everything that was to fire has fired. It
// reports false if the client has ended.
func (c *Client) WaitQuiet() bool {
	for {
		quiet := make(chan bool, 1)
		if !c.e.Post(func() {
			quiet <- c.e.Idle() && !c.sync.running() && !c.feed.running() && (len(c.convs.changed) == 0 || !c.e.TellsStates()) && !c.sync.finish && c.session.loginDone == nil && len(c.convs.lateReceipts) == 0
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
	c.e.Post(func() {
		engine.Ask(c.e, im.Method_HEARTBEAT, &im.Empty{}, false, 0, func(reply *im.HeartbeatReply, err *im.Error) {
			if err == nil {
				ch <- pair{reply.Queued, c.e.Received()}
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
	c.e.Post(func() {
		c.e.Check(c.e.DB.KeepTicket(local.HashTicket(c.cfg.UserSig), time.Now().Add(time.Hour).UnixMilli()))
		c.session.openLocal()
		close(done)
	})
	<-done
}

// Waiting returns how many items wait for the engine.
func (c *Client) Waiting() int { return c.e.Queued() }

// Untold returns how many events wait for the application.
func (c *Client) Untold() int { return c.e.Waiting() }

// OnCommit runs f inside each commit of the local database, before it is done.
func (c *Client) OnCommit(f func()) error {
	failed := make(chan error, 1)
	c.e.Post(func() {
		failed <- c.e.DB.OnCommit(func() int { f(); return 0 })
	})
	return <-failed
}

// Inside runs f on the engine, as the beginning of a call that succeeds.
func (c *Client) Inside(ctx context.Context, f func()) error {
	_, err := engine.Wait(ctx, "Inside", func(to caller[none]) {
		engine.Do(c.e, to, func(finish func(none, error)) {
			f()
			finish(none{}, nil)
		})
	})
	return err
}

// Reads returns how many queries of the local database were made.
func (c *Client) Reads() int {
	n := make(chan int, 1)
	c.e.Post(func() { n <- c.e.DB.Reads })
	return <-n
}

// OnEngine runs f on the engine.
func (c *Client) OnEngine(f func()) { c.e.Post(f) }

// Arrived returns how many messages of the server wait for the engine.
func (c *Client) Arrived() int { return c.e.Arrived() }

// InsideSynced is Inside for a call that waits for the sync.
func (c *Client) InsideSynced(f func(), done func(error)) {
	doSynced(c, engine.LaterNone("Inside", done), func(finish func(none, error)) {
		f()
		finish(none{}, nil)
	})
}

// InsideLater is Inside for a piece of a call that takes long.
func (c *Client) InsideLater(f func(), done func(error)) {
	engine.Do(c.e, engine.LaterNone("Inside", done), func(finish func(none, error)) {
		c.e.Soon(engine.FailWith(finish), func() {
			f()
			finish(none{}, nil)
		})
	})
}

// FailCommits makes the next n commits of the local database fail.
func (c *Client) FailCommits(n int) error {
	failed := make(chan error, 1)
	c.e.Post(func() {
		failed <- c.e.DB.OnCommit(func() int {
			n--
			return min(max(n+1, 0), 1)
		})
	})
	return <-failed
}

// Fold returns the form of a text that the search compares.
func Fold(s string) string { return fold(s) }

// ReadToken returns the token with which the client's URLs of files are made.
func (c *Client) ReadToken() string {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return c.session.files.read
}

// UploadToken returns the token with which the client uploads.
func (c *Client) UploadToken() string {
	token, _ := c.uploadToken(context.Background(), "")
	return token
}

// SpoilTokens makes the client's tokens for files ones that the server does not know, as if they had been made a while ago.
func (c *Client) SpoilTokens() {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	c.session.files.read, c.session.files.upload, c.session.files.since = "old", "old", time.Time{}
}

// RenewTokens makes it time to renew the tokens for files.
func (c *Client) RenewTokens() {
	c.e.Post(func() { c.e.Clock.Set("tokens", time.Now(), c.session.renewTokens) })
}

// UploadTokenAgain returns the token with which the client uploads after the server has refused one.
func (c *Client) UploadTokenAgain(ctx context.Context, refused string) (string, error) {
	return c.uploadToken(ctx, refused)
}

// Linked waits until the client is connected.
func (c *Client) Linked(ctx context.Context) error { return c.linked(ctx) }

// WaitUploads waits until the goroutines that upload have ended. No upload may begin meanwhile.
func (c *Client) WaitUploads() { c.uploading.Wait() }
