// Package transfer moves files to and from the /media/ of a server: uploads by the tus protocol, downloads by ranges. It goes on after cut connections and
// restarts of the server, and knows nothing of messages.
//
//	t, err := transfer.New(transfer.Config{Server: "ws://127.0.0.1:7070", Token: token})
//	up, err := t.Upload(ctx, []transfer.File{{Path: "film.mp4", Kind: transfer.Video}}, progress)
//	err = t.Download(ctx, transfer.Fetch{ID: up[0].ID, Path: "copy.mp4", Size: up[0].Size}, progress)
//	t.Close(ctx)
//
// Check, Upload and Download work on the caller's goroutine, may be called from several, and return errors that are *im.Error, or the error of the caller's
// context if that has ended. Progress functions are called by the same goroutine, and never after the call has returned.
package transfer

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidings-im/tidings/client/internal/link"
	"github.com/tidings-im/tidings/client/internal/ws"
	"github.com/tidings-im/tidings/im"
)

// Config of Transfers.
type Config struct {
	// Server, Proxy and TLS are those of the session. Other servers, which a message may name, are reached through the same proxy, and with the
	// system's roots.
	Server, Proxy string
	TLS           *tls.Config
	// Token returns the session's upload token, which also reads. refused is the token that the server has just refused, or empty: then a renewed one is
	// returned, or the same one if there is no other. An error that is an *im.Error ends the transfer; after another one it is asked again.
	Token func(ctx context.Context, refused string) (string, error)
	// Online waits until the session has a link, or ctx ends. It is called before something is tried again; the wait does not count as time without
	// progress. nil: it is not waited for.
	Online func(ctx context.Context) error
	// AtOnce is how many uploads, and how many downloads, may run at the same time: 3. Others wait for their turn.
	AtOnce int
	// Stall is how long a transfer may be slower than 1 KiB per second: 60 s.
	Stall time.Duration
	// Request is how long a request may take, apart from the content of a download: 20 s. It is also how long a connection may be silent.
	Request time.Duration
	// End is how long it is tried to delete an upload that was cancelled or failed: 30 s. Then it is left to expire.
	End time.Duration
}

// slowest is how many bytes per second a transfer must have, over Stall.
const slowest = 1 << 10

// Transfers are the transfers of a session.
type Transfers struct {
	cfg     Config
	base    *url.URL // of /media/
	own     *ws.Dialer
	foreign *ws.Dialer

	ups, downs, ends chan struct{} // turns

	// run ends when Close begins, hard when it does not wait any longer.
	run, hard        context.Context
	stopRun, stopNow context.CancelFunc

	mu     sync.Mutex
	closed bool
	paths  map[string]bool // targets of downloads
	// follows is how much follows on transfers that have failed; settled is closed when that has ended.
	follows int
	settled chan struct{}
	all     sync.WaitGroup // transfers, and what goes on after them
}

// New checks the addresses. Nothing is connected before there is something to transfer.
func New(cfg Config) (*Transfers, error) {
	base, own, err := link.Media(cfg.Server, cfg.Proxy, cfg.TLS)
	if err != nil {
		return nil, err
	}
	cfg.AtOnce = cmp.Or(cfg.AtOnce, 3)
	cfg.Stall = cmp.Or(cfg.Stall, time.Minute)
	cfg.Request = cmp.Or(cfg.Request, 20*time.Second)
	cfg.End = cmp.Or(cfg.End, 30*time.Second)
	t := &Transfers{
		cfg: cfg, base: base, own: own, foreign: &ws.Dialer{Proxy: own.Proxy}, paths: make(map[string]bool),
		ups: make(chan struct{}, cfg.AtOnce), downs: make(chan struct{}, cfg.AtOnce), ends: make(chan struct{}, cfg.AtOnce),
	}
	t.run, t.stopRun = context.WithCancel(context.Background())
	t.hard, t.stopNow = context.WithCancel(context.Background())
	return t, nil
}

// Close cancels what runs, whose error is then im.ErrInterrupted, and waits until everything has ended, uploads at the server included. When ctx ends, they are
// left to expire there.
func (t *Transfers) Close(ctx context.Context) {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.stopRun()
	stop := context.AfterFunc(ctx, t.stopNow)
	t.all.Wait()
	stop()
	t.stopNow()
}

// begin counts a transfer, whose context also ends with Close.
func (t *Transfers) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, nil, im.ErrInterrupted
	}
	t.all.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(t.run, cancel)
	return ctx, func() {
		stop()
		cancel()
		t.all.Done()
	}, nil
}

// outcome returns the error of a transfer as its caller gets it. ctx is the caller's.
func (t *Transfers) outcome(ctx context.Context, err error, otherwise int32) error {
	var known *im.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case t.run.Err() != nil:
		return im.ErrInterrupted
	case errors.As(err, &known):
		return known
	}
	return im.Errorf(otherwise, "%s", link.ErrorOf(err).Desc)
}

// turn waits for a turn.
func turn(ctx context.Context, turns chan struct{}) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case turns <- struct{}{}:
		return func() { <-turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// URL returns the address of a file of the server. size is "" for the file itself, and "large" or "thumb" for a smaller size of an image; token is the session's
// token to read, or "" for an address without one.
func (t *Transfers) URL(id, size, token string) string {
	if size != "" {
		id += "/" + size
	}
	u := t.at(id)
	if token != "" {
		u.RawQuery = "token=" + url.QueryEscape(token)
	}
	return u.String()
}

// at returns an address below /media/. What an id, which may come from anybody, should not have is escaped.
func (t *Transfers) at(path string) *url.URL {
	u := *t.base
	u.RawPath = u.EscapedPath()
	for i, p := range strings.Split(path, "/") {
		if i > 0 {
			u.Path += "/"
			u.RawPath += "/"
		}
		u.Path += p
		u.RawPath += url.PathEscape(p)
	}
	return &u
}

// isID reports whether a text may be the id of a file, with or without a size.
func isID(id string) bool {
	id, size, sized := strings.Cut(id, "/")
	return isPlain(id) && (!sized || isPlain(size))
}

// isPlain reports whether a text may be the id of an upload.
func isPlain(id string) bool {
	return id != "" && len(id) <= 128 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// ours reports whether an address is that of a file of the server: only there the token goes.
func (t *Transfers) ours(u *url.URL) bool {
	rest, ok := strings.CutPrefix(u.EscapedPath(), t.base.EscapedPath())
	return ok && u.Scheme == t.base.Scheme && strings.EqualFold(hostPort(u), hostPort(t.base)) && isID(rest)
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "80", true: "443"}[u.Scheme == "https"]
	}
	return u.Hostname() + ":" + port
}

// ask makes a request to the server with the token, which it renews once if it is refused. The caller reads the response.
func (t *Transfers) ask(ctx context.Context, h *ws.HTTP, req ws.Request) (*ws.Response, error) {
	token := ""
	header := req.Header
	for range 2 {
		next, err := t.cfg.Token(ctx, token)
		if err != nil {
			return nil, err
		}
		if next == token {
			break
		}
		token = next
		req.Header = append([]string{"Authorization", "Bearer " + token}, header...)
		resp, err := h.Do(ctx, &req)
		if err != nil || resp.Answer.Code != 401 && resp.Answer.Code != 403 {
			return resp, err
		}
		drain(resp)
	}
	return nil, &refusal{status: 403, code: im.CodeMediaForbidden}
}

// drain reads the rest of a response, so that the connection may be used again. If it is too long or cut off, the connection is not.
func drain(resp *ws.Response) { io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) }

// tries are the attempts of a transfer, which end when it is too slow for too long.
type tries struct {
	t     *Transfers
	since time.Time
	got   int64 // since then
	n     int   // failures in a row
}

func (t *Transfers) tries() tries { return tries{t: t, since: time.Now()} }

// moved counts bytes.
func (r *tries) moved(n int64) {
	r.got += n
	r.n = 0
	if r.got >= int64(r.t.cfg.Stall.Seconds()*slowest) {
		r.since, r.got = time.Now(), 0
	}
}

// over reports whether it takes too long.
func (r *tries) over() bool { return time.Since(r.since) >= r.t.cfg.Stall }

// again waits before another attempt, after err. It returns an error if there is to be none.
func (r *tries) again(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r.over() {
		return err
	}
	pause := rand.N(min(50*time.Millisecond<<min(r.n, 10), 5*time.Second)) + time.Millisecond
	r.n++
	var refused *refusal
	if errors.As(err, &refused) {
		pause = max(pause, refused.after)
	}
	timer := time.NewTimer(min(pause, r.t.cfg.Stall))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.t.cfg.Online == nil {
		return nil
	}
	begun := time.Now()
	err = r.t.cfg.Online(ctx)
	r.since = r.since.Add(time.Since(begun))
	return err
}

// refusal is a response that is not the expected one.
type refusal struct {
	status int
	code   int32 // of TIM, as the server has it; 0: none
	after  time.Duration
}

func (r *refusal) Error() string { return "the server responds with status " + strconv.Itoa(r.status) }

func refused(resp *ws.Response) *refusal {
	r := &refusal{status: resp.Answer.Code}
	if n, err := strconv.ParseInt(resp.Header.Get(im.CodeHeader), 10, 32); err == nil {
		r.code = int32(n)
	}
	if n, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
		r.after = time.Duration(n) * time.Second
	}
	return r
}

// passing reports whether a response may be another one the next time.
func (r *refusal) passing() bool {
	switch r.status {
	case 408, 423, 425, 429, 460:
		return true
	case 501, 505, 507:
		return false
	}
	return r.status >= 500
}
