package gateway

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/rate"
)

// state of a session. It only moves on; a fenced one may still become kicked.
type state int8

const (
	fresh  state = iota // before the login
	live                // logged in
	fenced              // its frames are thrown away, but what it had called is answered
	kicked              // its login has ended: only the acknowledgement is taken
	ended               // nothing is taken, and the connection closes when all is written
	gone                // the connection is closed
)

// session is a connection.
type session struct {
	g    *Gateway
	conn *guard
	addr netip.Prefix // what limits count it under
	// How many calls and messages the client may still send at this moment; the reader's.
	calls, sent rate.Bucket
	// caller is set by the login, on the reader's goroutine and under mu.
	caller *chat.Caller

	// heard is when the client last sent something; since is when an unfinished write began. Both in terms of Gateway.now; since is 0 while nothing
	// is written.
	heard, since atomic.Int64
	// busy means that the reader stays although nothing arrives; woken is when something arrived while the session rested, in terms of Gateway.now:
	// the reader's.
	busy  atomic.Bool
	woken int64
	// stalled is the sweep's: the since that it saw last time, if it was too long ago.
	stalled int64
	// whole is held while a message or a control frame is written, until all of it is: none gets into the middle of another. It is locked before mu.
	whole sync.Mutex

	mu    sync.Mutex
	state state
	// due is when the sweep does what the state requires: no login, no acknowledgement, the ticket's end.
	due int64
	// room is signalled when a call is answered, something was written, or the state has moved.
	room sync.Cond
	// open calls are those that are not answered yet; sends are those of them that are on their way to the store.
	open, sends int
	// closing means that the session has ended and is in the list of such sessions, as long as it is active.
	closing bool

	// out contains frames that wait to be written, behind headRoom; nil if there are none.
	out    []byte
	frames int
	// writing means that a goroutine writes or is about to; fanned that it is one of those of Gateway.fan, which has not come to this session yet.
	writing, fanned bool
	// queued counts pushes, including dropped ones. behind means that some were dropped and the client does not know it.
	queued uint64
	behind bool
	last   *ending
	// lane is what waits of live rooms, apart from out, because a part of it may be dropped.
	lane lane

	// work waits for the goroutine that makes the calls that read, or wait for a commit; calling means that it makes one at this moment.
	work             []*im.Frame
	working, calling bool
	// held is how many bytes wait in work; large is how many bytes large messages have that are on their way to the store, counted until none is.
	held, large int
	// written is how many bytes are being written; tallied is this session's part of Gateway.backlog.
	written, tallied int
}

func newSession(g *Gateway) *session {
	s := &session{g: g}
	s.room.L = &s.mu
	now := g.clock()
	s.heard.Store(now)
	s.due = now + int64(g.cfg.LoginWithin)
	return s
}

// over is called once, after the end of the connection.
func (s *session) over(err error) {
	s.mu.Lock()
	if s.state == gone {
		s.mu.Unlock()
		return
	}
	s.state = gone
	s.drop()
	s.room.Broadcast()
	s.mu.Unlock()
	if s.caller != nil {
		s.g.unregister(s)
	}
	s.g.limits.leave(s.addr) // before it is off the count of connections: a client that notices that finds the place free
	s.g.mu.Lock()
	delete(s.g.all, s)
	s.g.mu.Unlock()
	s.g.log.Debug("connection closed", "user", s.user(), "err", err)
}

func (s *session) user() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.caller == nil {
		return ""
	}
	return s.caller.Name
}

var errStop = errors.New("nothing more is taken")

// handle takes a frame of the client; its body is not kept.
func (s *session) handle(f *im.Frame) error {
	info, known := f.Method.Info()
	st, ok := s.begin(f.Method, len(f.Body))
	if !ok {
		return errStop
	}
	defer func() {
		if r := recover(); r != nil {
			s.reply(f.Id, f.Method, nil, fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
		}
	}()
	if err := s.tooFast(f.Method); err != nil {
		s.reply(f.Id, f.Method, nil, err)
		return nil
	}
	switch {
	case !known || info.NewRequest == nil:
		s.reply(f.Id, f.Method, nil, im.Errorf(im.CodeBadRequest, "this server does not know method %d", f.Method))
	case len(f.Body) > info.MaxBody:
		s.reply(f.Id, f.Method, nil, im.Errorf(im.CodeMessageSize, "a %s has at most %d bytes, this one has %d", info.Name, info.MaxBody, len(f.Body)))
	case st == fresh && !info.BeforeLogin, st == kicked && f.Method != im.Method_KICKED_ACK:
		s.reply(f.Id, f.Method, nil, im.Errorf(im.CodeNotLoggedIn, "the connection is not logged in"))
	case info.Undecoded:
		if err := s.g.chat.Call(s.g.ctx, s.caller, f, nil); err != nil {
			s.reply(f.Id, f.Method, nil, err)
		}
	case int(f.Method) < len(ofConnection) && ofConnection[f.Method] != nil:
		ofConnection[f.Method](s, f, st)
	default:
		s.later(f)
	}
	return nil
}

// ofConnection are the calls about the connection itself. The reader makes them, so that nothing else of the connection is handled before they are
// done.
var ofConnection = [...]func(s *session, f *im.Frame, st state){
	im.Method_LOGIN:      func(s *session, f *im.Frame, st state) { s.apart(func() { s.login(f, st) }) },
	im.Method_LOGOUT:     func(s *session, f *im.Frame, _ state) { s.logout(f.Id) },
	im.Method_HEARTBEAT:  func(s *session, f *im.Frame, _ state) { s.heartbeat(f.Id) },
	im.Method_KICKED_ACK: func(s *session, f *im.Frame, _ state) { s.acknowledge(f.Id) },
}

// apart runs f on a goroutine of its own and waits for it. A stack that has grown does not shrink below four times what is in use: a deep call would
// leave the reader with a large one for as long as the connection lives.
func (s *session) apart(f func()) {
	done := make(chan struct{})
	s.g.wg.Go(func() {
		defer close(done)
		s.contain(f)
	})
	<-done
}

// begin opens a call, when there is room for its reply. It returns the state of the session, or reports that nothing is taken any more.
func (s *session) begin(m im.Method, size int) (state, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.takes() && s.crowded() {
		s.room.Wait()
	}
	if !s.takes() {
		return s.state, false
	}
	s.open++
	if m == im.Method_SEND {
		s.sends++
		if size > largeSend {
			s.large += size
		}
	}
	return s.state, true
}

// largeSend is how many bytes a message may have without counting as large.
const largeSend = 4 << 10

// crowded reports that there is no room for another call.
func (s *session) crowded() bool {
	most := s.most()
	return s.open >= s.g.cfg.OpenCalls || s.waiting() > most || s.held > most || s.large > most
}

// takes reports whether frames are still taken. A kicked session's are refused, but each refusal is a reply that waits to be written.
func (s *session) takes() bool { return s.state <= kicked && s.state != fenced }

// reply answers a call, from any goroutine. A reply is never dropped while the connection is open.
func (s *session) reply(id uint64, m im.Method, body im.Body, err error) {
	f := im.Frame{Id: id, Method: m}
	if err == nil && body != nil {
		if n := body.SizeVT(); n > im.MaxReply { // the client would end the connection, and ask again on the next one
			err = fmt.Errorf("the reply has %d bytes, more than clients read", n)
		}
	}
	if err != nil {
		f.Code, f.Desc = s.g.explain(m, err)
		body = nil
	}
	s.contain(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
		if m == im.Method_SEND {
			if s.sends--; s.sends == 0 {
				s.large = 0
				s.g.settled(s)
			}
		}
		s.room.Broadcast()
		if s.state < ended {
			s.add(&f, body)
		}
	})
}

// explain returns code and text of an error. What the caller cannot have caused is logged, and not reported in detail.
func (g *Gateway) explain(m im.Method, err error) (int32, string) {
	var e *im.Error
	if errors.As(err, &e) {
		return e.Code, im.Shorten(e.Desc, im.MaxDesc)
	}
	if why := chat.Known(err); why != "" {
		return im.CodeServerInternal, why
	}
	g.metrics.failures.Inc()
	g.log.Error("call failed", "method", m, "err", err)
	return im.CodeServerInternal, "the server failed"
}

// later makes a call on the session's second goroutine, in order with the others there, so that the reader continues.
func (s *session) later(f *im.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held += len(f.Body)
	s.tally()
	s.work = append(s.work, &im.Frame{Id: f.Id, Method: f.Method, Body: slices.Clone(f.Body), Resent: f.Resent})
	if !s.working && s.state != gone {
		s.working = true
		s.g.wg.Go(func() { s.contain(s.makeCalls) })
	}
}

func (s *session) makeCalls() {
	for {
		s.mu.Lock()
		// Also for one that was fenced or kicked in the meantime: what it had called is answered as it takes the replies.
		for s.state < ended && s.waiting() > min(s.most(), answersWait) {
			s.room.Wait()
		}
		if len(s.work) == 0 || s.state >= ended {
			s.work, s.working = nil, false
			s.mu.Unlock()
			return
		}
		f := s.work[0]
		s.work = s.work[1:]
		s.held -= len(f.Body)
		s.tally()
		s.calling = true
		s.room.Broadcast()
		s.mu.Unlock()
		s.makeCall(f)
	}
}

// called is the end of a call, however it ends.
func (s *session) called() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calling = false
	s.g.settled(s)
	s.room.Broadcast()
}

// active reports whether something that the client sent may still take effect: messages on their way to the store, or a call that is being made. The caller
// holds s.mu.
func (s *session) active() bool { return s.sends > 0 || s.calling }

// answersWait is how many bytes may wait to be written when a call is made whose reply may be as large: the client fetches at its own pace, and
// nothing is gained by having more ready.
const answersWait = 512 << 10

// smallCall is how much memory a request may take without being counted among what is being decoded.
const smallCall = 16 << 10

// makeCall makes a call: its reply comes from the rules, unless it is refused.
func (s *session) makeCall(f *im.Frame) {
	defer s.called()
	var err error
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
		if err != nil {
			s.reply(f.Id, f.Method, nil, err)
		}
	}()
	weight, bad := im.CheckCall(f.Method, f.Body)
	if bad != nil {
		err = bad
		return
	}
	if weight.Decoded > smallCall {
		n := min(int64(weight.Decoded), s.g.cfg.Decoding)
		if s.g.decoding.Acquire(s.g.ctx, n) != nil {
			err = im.Errorf(im.CodeServerInternal, "the server is going away")
			return
		}
		defer s.g.decoding.Release(n)
	}
	info, _ := f.Method.Info()
	req := info.NewRequest()
	if req.UnmarshalVT(f.Body) != nil {
		err = im.Errorf(im.CodeBadRequest, "the request is malformed")
		return
	}
	if err = req.Check(); err == nil {
		err = s.g.chat.Call(s.g.ctx, s.caller, f, req)
	}
}

// heartbeat replies in the event queue. The time is read first: every event of an earlier commit has been queued by then.
func (s *session) heartbeat(id uint64) {
	r := im.HeartbeatReply{Time: s.g.chat.Delivered(), Feed: s.caller.Feed}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if s.state >= ended {
		return
	}
	r.Queued = s.queued
	f := im.Frame{Id: id, Method: im.Method_HEARTBEAT}
	s.add(&f, &r)
}
