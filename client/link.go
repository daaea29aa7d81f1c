package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"

	"github.com/tidings-im/tidings/im"
)

// subprotocol is the version handshake.
const subprotocol = im.Subprotocol

// messageSoft is about how large a message of several frames gets; the server reads up to im.MaxMessage.
const messageSoft = 256 << 10

// firstID is the first request id after the login's, which is 1 on every connection.
const firstID = 2

// link is one connection after its login was answered. The engine writes to it and learns from the reader what comes in.
type link struct {
	ws     *websocket.Conn
	ticket string // that the server took

	mu     sync.Mutex
	out    [][]byte      // WebSocket messages of whole frames
	wake   chan struct{} // 1: there is something in out
	cancel context.CancelFunc
	ending bool // close when out is sent
	// final says that no other connection follows this one; synced that a sync on it has come to its end and is on the disk.
	final, synced atomic.Bool
}

// send queues a frame. What waits is bounded by the client's limit of open calls.
func (l *link) send(f *im.Frame) {
	l.mu.Lock()
	if n := len(l.out); n > 0 && len(l.out[n-1])+len(f.Body) < messageSoft {
		l.out[n-1] = im.AppendFrame(l.out[n-1], f)
	} else {
		l.out = append(l.out, im.AppendFrame(nil, f))
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// last queues the frame after which the connection is closed.
func (l *link) last(f *im.Frame) {
	l.mu.Lock()
	l.ending = true
	l.mu.Unlock()
	l.send(f)
}

// write sends what is queued, everything that waits in one message, until the context ends or the connection breaks.
func (l *link) write(ctx context.Context) {
	defer l.cancel()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		l.mu.Lock()
		out := l.out
		l.out = nil
		ending := l.ending
		l.mu.Unlock()
		for _, b := range out {
			if l.ws.Write(ctx, websocket.MessageBinary, b) != nil {
				return
			}
		}
		if ending {
			return
		}
	}
}

// connect dials, logs in and reads, again and again until ctx ends or the server refuses for good. It runs on its own goroutine and tells
// the engine everything by posting to it.
func (c *Client) connect(ctx context.Context, resume bool) {
	defer c.wg.Done()
	for try := 0; ; try++ {
		if try > 0 {
			most := backoff(try, c.cfg.Limits.Reconnect)
			pause := time.Duration(rand.Int64N(int64(most)) + 1)
			c.postFrom(ctx, func() {
				c.log.Info("waiting before the next try to connect", "try", try, "pause", pause.Round(time.Millisecond))
			})
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
		}
		c.postFrom(ctx, func() {
			c.log.Info("connecting", "server", shownServer(c.cfg.Server))
			c.network(NetworkConnecting, 0, "connecting")
		})
		again, l := c.connectOnce(ctx, resume)
		if !again || ctx.Err() != nil {
			return
		}
		if l != nil {
			resume = true
			if l.synced.Load() { // a login alone is no progress: what ends the connection may wait behind it each time
				try = 0
			}
		}
	}
}

// backoff is the upper end of the pause before a try: doubling from half a second. The pause is drawn evenly below it (full jitter), so that
// the clients of a server that comes back do not come in waves.
func backoff(try int, most time.Duration) time.Duration {
	d := 500 * time.Millisecond << min(try-1, 16)
	return min(d, most)
}

// postFrom hands f to the engine, which runs it unless the login that ctx belongs to is over by then.
func (c *Client) postFrom(ctx context.Context, f func()) {
	c.post(func() {
		if ctx.Err() == nil {
			f()
		}
	})
}

// connectOnce makes one connection and returns when it is over: whether to try again, and the link, if it got as far as being logged in.
func (c *Client) connectOnce(login context.Context, resume bool) (again bool, l *link) {
	c.connecting(&l, &again, func() { again, l = c.tryConnection(login, resume, &l) })
	return again, l
}

// tryConnection is connectOnce; made is set as soon as the engine knows the link.
func (c *Client) tryConnection(login context.Context, resume bool, made **link) (bool, *link) {
	ctx, cancel := context.WithCancel(login)
	defer cancel()
	l, reply, err := c.open(ctx, resume)
	if err != nil {
		if ctx.Err() != nil {
			return false, nil
		}
		code := netError(err)
		var refused *refusedError
		if errors.As(err, &refused) {
			c.post(func() {
				c.distrust(refused.ticket, refused.err.Code) // also if the login is over
				if login.Err() == nil {
					c.refused(refused, resume)
				}
			})
			return refused.retry, nil
		}
		c.postFrom(login, func() { c.connectFailed(code) })
		return true, nil
	}
	db, err := c.localInTime(ctx)
	if err != nil {
		l.ws.CloseNow()
		c.postFrom(login, func() { c.endLogin(im.Errorf(im.CodeDatabase, "%v", err)) })
		return false, nil
	}
	l.cancel = cancel
	var writer sync.WaitGroup
	writer.Go(func() { l.write(ctx) })
	defer writer.Wait()
	defer cancel()
	if !c.post(func() { c.connected(ctx, l, reply, db) }) {
		if db != nil {
			db.close()
		}
		return false, l
	}
	*made = l
	err = c.read(ctx, l)
	l.ws.CloseNow()
	c.post(func() { c.lost(l, netError(err)) })
	return !l.final.Load(), l
}

// read hands each message to the engine, in order, until the connection breaks.
func (c *Client) read(ctx context.Context, l *link) error {
	for {
		typ, data, err := l.ws.Read(ctx)
		if err != nil {
			return err
		}
		if typ != websocket.MessageBinary {
			return errors.New("client: the server sent text")
		}
		select {
		case c.frames <- arrived{l, data}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// refusedError is an answer of the server to the login. retry says that another try may succeed.
type refusedError struct {
	err    *im.Error
	retry  bool
	ticket string // that was shown, if the login got that far
}

func (e *refusedError) Error() string { return e.err.Error() }

// open dials and makes the login exchange.
func (c *Client) open(ctx context.Context, resume bool) (*link, *im.LoginReply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Limits.connect())
	defer cancel()
	u, err := wsURL(c.cfg.Server)
	if err != nil {
		return nil, nil, err
	}
	ws, resp, err := websocket.Dial(ctx, u, &websocket.DialOptions{Subprotocols: []string{subprotocol}, HTTPClient: c.http})
	if err != nil {
		return nil, nil, dialError(shownServer(c.cfg.Server), resp, err)
	}
	if ws.Subprotocol() != subprotocol {
		ws.CloseNow()
		return nil, nil, im.Errorf(im.CodeConnectRefused, "what answers at %s does not speak %s", shownServer(c.cfg.Server), subprotocol)
	}
	c.post(func() { c.log.Info("connected", "server", shownServer(c.cfg.Server)) })
	ws.SetReadLimit(im.MaxAnswer)
	c.mu.Lock()
	ticket := c.cfg.UserSig
	c.mu.Unlock()
	reply, err := c.exchangeLogin(ctx, ws, ticket, resume)
	if err != nil {
		ws.CloseNow()
		return nil, nil, err
	}
	return &link{ws: ws, ticket: ticket, wake: make(chan struct{}, 1)}, reply, nil
}

// dialError says why a request did not become a WebSocket. Only an answer that names a code is one of a server of Tidings: any other may come from what lies
// between, and passes.
func dialError(u string, resp *http.Response, err error) error {
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &plain), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return im.Errorf(im.CodeConnectRefused, "what answers at %s speaks no TLS: is the address ws://?", u)
	case resp == nil && strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`): // an alert of TLS
		return errSpeaksTLS(u)
	case resp == nil:
		return err
	}
	code, e := strconv.ParseInt(resp.Header.Get(im.CodeHeader), 10, 32)
	ours := e == nil && code != 0
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		if !ours {
			code = im.CodeConnectionLimit
		}
		return &refusedError{err: im.Errorf(int32(code), "the server refuses the connection: %s", resp.Status), retry: true}
	case resp.StatusCode == http.StatusBadRequest && ours:
		return &refusedError{err: im.Errorf(im.CodeConnectRefused, "the server at %s does not speak %s", u, subprotocol)}
	case resp.StatusCode == http.StatusBadRequest:
		if text, _ := io.ReadAll(io.LimitReader(resp.Body, maxHeaders)); strings.Contains(string(text), "HTTPS") { // what servers of Go, nginx and Apache say
			return errSpeaksTLS(u)
		}
	}
	return im.Errorf(im.CodeConnectRefused, "what answers at %s opens no connection: %s", u, resp.Status)
}

func errSpeaksTLS(u string) error {
	return im.Errorf(im.CodeConnectRefused, "what answers at %s speaks TLS: is the address wss://?", u)
}

func (c *Client) exchangeLogin(ctx context.Context, ws *websocket.Conn, ticket string, resume bool) (*im.LoginReply, error) {
	c.mu.Lock()
	req := &im.LoginRequest{UserId: c.cfg.UserID, UserSig: ticket, DeviceId: c.device, Platform: c.cfg.Platform, SdkVersion: Version,
		AppId: c.cfg.AppID, Resume: resume, Generation: c.generation, KickedGeneration: c.kickedGeneration}
	c.mu.Unlock()
	body, err := req.MarshalVT()
	if err != nil {
		return nil, err
	}
	if err := ws.Write(ctx, websocket.MessageBinary, im.AppendFrame(nil, &im.Frame{Id: firstID - 1, Method: im.Method_LOGIN, Body: body})); err != nil {
		return nil, err
	}
	_, data, err := ws.Read(ctx)
	if err != nil {
		return nil, err
	}
	var first im.Frame
	seen := false
	if err := im.ReadFrames(data, func(f *im.Frame) error {
		if !seen {
			seen = true
			first.Id, first.Method, first.Body, first.Code, first.Desc = f.Id, f.Method, f.Body, f.Code, f.Desc
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if first.Method != im.Method_LOGIN || first.Id != firstID-1 {
		return nil, errors.New("client: the server did not answer the login first")
	}
	if first.Code != 0 {
		return nil, &refusedError{err: &im.Error{Code: first.Code, Desc: first.Desc}, ticket: ticket,
			retry: retryLogin(first.Code) || resume && first.Code == im.CodeFailedLogins}
	}
	reply := &im.LoginReply{}
	return reply, reply.UnmarshalVT(first.Body)
}

// retryLogin says which refusals of a login may pass by waiting.
func retryLogin(code int32) bool {
	return code == im.CodeConnectionLimit || code == im.CodeServerInternal
}

// wsURL is the address of the server's WebSocket.
func wsURL(server string) (string, error) {
	u, err := url.Parse(server)
	// What is no address is not repeated, and no password is.
	if err != nil {
		return "", im.Errorf(im.CodeInvalidParameters, "the server address is not ws://host:port or wss://host")
	}
	if u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		return "", im.Errorf(im.CodeInvalidParameters, "server address %q is not ws://host:port or wss://host", u.Redacted())
	}
	if strings.Contains(server, "#") {
		return "", im.Errorf(im.CodeInvalidParameters, "server address %q has a part behind a #, which is not sent", u.Redacted())
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + "/ws"
	return u.String(), nil
}

// shownServer is the server's address as it may be shown: a password or a token in it stays out.
func shownServer(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return "(not an address)"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// netError gives a network error its TIM code.
func netError(err error) *im.Error {
	var e *im.Error
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case err == nil:
		return &im.Error{Code: im.CodeDisconnected, Desc: "disconnected"}
	case errors.As(err, &e):
		return e
	case errors.As(err, &dns):
		return im.Errorf(im.CodeResolve, "cannot resolve %s", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return &im.Error{Code: im.CodeConnectRefused, Desc: "ERR_CONNECTION_REFUSED"}
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return &im.Error{Code: im.CodeUnreachable, Desc: "ERR_ADDRESS_UNREACHABLE"}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &im.Error{Code: im.CodeConnectionReset, Desc: "ERR_CONNECTION_RESET"}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return &im.Error{Code: im.CodeConnectTimeout, Desc: "ERR_TIMED_OUT"}
	}
	return &im.Error{Code: im.CodeDisconnected, Desc: fmt.Sprintf("disconnected: %v", err)}
}
