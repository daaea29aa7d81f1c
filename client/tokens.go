package client

import (
	"context"
	"errors"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// tokens are what the session reads and uploads files with. Each login brings new ones, and so does a call in between: before their time is over, and when the
// server refuses one.
type tokens struct {
	read, upload string
	since        time.Time
	// asked is closed when the answer to the call for new ones is there; nil if there is no such call.
	asked chan struct{}
}

const (
	// tokensAge is when tokens are renewed: a server makes them for seven days.
	tokensAge = 3 * 24 * time.Hour
	// tokensAgain is when that is tried again after a failure.
	tokensAgain = time.Minute
	// tokensNew is how long tokens are not renewed when one is refused: the refusal is that of a file that does not exist.
	tokensNew = time.Minute
)

var (
	noMedia       = &im.Error{Code: im.CodeHTTP, Desc: "the server keeps no files"}
	errNotRenewed = errors.New("the session's tokens for files are not renewed")
)

// newTokens records tokens that the server has made, and when they are to be renewed. It runs on the engine.
func (u *session) newTokens(read, upload string) {
	u.mu.Lock()
	u.files.read, u.files.upload, u.files.since = read, upload, time.Now()
	u.mu.Unlock()
	if upload != "" {
		u.Clock.Set(alarmTokens, time.Now().Add(tokensAge), u.renewTokens)
	}
}

// renewTokens asks for new tokens, unless that was asked and is not answered. It runs on the engine.
func (u *session) renewTokens() {
	u.mu.Lock()
	first := u.files.asked == nil
	if first {
		u.files.asked = make(chan struct{})
	}
	u.mu.Unlock()
	if first {
		u.askTokens()
	}
}

// askTokens asks for new tokens. It runs on the engine; who calls it has made the channel of those who wait.
func (u *session) askTokens() {
	engine.Ask(u.Engine, im.Method_MEDIA_TOKENS, &im.Empty{}, false, u.c.cfg.Limits.Call, func(reply *im.MediaTokensReply, err *im.Error) {
		switch {
		case err == nil && reply.UploadToken != "":
			u.newTokens(reply.MediaToken, reply.UploadToken)
		case u.Conn != nil: // otherwise the next login brings some
			u.Clock.Set(alarmTokens, time.Now().Add(tokensAgain), u.renewTokens)
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		close(u.files.asked)
		u.files.asked = nil
	})
}

// uploadToken returns the token with which the session uploads and downloads. If that is the refused one, it is renewed first, or remains the same if it is new.
// The error is an *im.Error if there will be no token.
func (c *Client) uploadToken(ctx context.Context, refused string) (string, error) {
	u := c.session
	for waited := false; ; waited = true {
		u.mu.Lock()
		token, status, asked := u.files.upload, u.status, u.files.asked
		isNew := time.Since(u.files.since) < tokensNew
		ask := token != "" && token == refused && status == LoggedIn && !isNew && !waited && asked == nil
		if ask {
			asked = make(chan struct{})
			u.files.asked = asked
		}
		u.mu.Unlock()
		switch {
		case token != "" && token != refused:
			return token, nil
		case status != LoggedIn:
			return "", notLoggedIn
		case token == "":
			return "", noMedia
		case isNew:
			return token, nil
		case waited:
			return "", errNotRenewed
		case ask && !c.e.Post(u.askTokens):
			return "", im.ErrInterrupted
		}
		select {
		case <-asked:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// linked waits until the session has a link, or ctx ends. A session that has ended is an error.
func (c *Client) linked(ctx context.Context) error {
	u := c.session
	for {
		u.mu.Lock()
		status, up, changed := u.status, u.up, u.changed
		u.mu.Unlock()
		switch {
		case status == LoggedOut:
			return notLoggedIn
		case status == LoggedIn && up:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
