package chat

import (
	"context"

	"github.com/tidings-im/tidings/im"
)

// Call is a call of a session whose reply is an R. Its handler either replies, once and from any goroutine, or returns an error, which then is the reply. A handler that
// causes events replies before it tells them.
type Call[R im.Body] struct {
	Caller *Caller
	id     uint64
	method im.Method
	// Resent means that the call may have been made before, on another connection.
	Resent bool
	// hash is that of the request, of a call that is kept.
	hash uint64
}

// Reply answers the call.
func (c *Call[R]) Reply(r R) { c.Caller.Reply(c.id, c.method, r, nil) }

// replyWire answers the call with a reply that is encoded by hand.
func (c *Call[R]) replyWire(r wireOf[R]) { c.Caller.Reply(c.id, c.method, r, nil) }

func (c *Call[R]) fail(err error) { c.Caller.Reply(c.id, c.method, nil, err) }

// wireOf is a body that is encoded by hand and read as an R.
type wireOf[R im.Body] interface {
	im.Body
	readAs(R)
}

// handler takes a call. req is the decoded and checked request, or nil if the handler reads the bytes of the frame itself.
type handler func(c *Chat, ctx context.Context, s *Caller, f *im.Frame, req im.Request) error

func callOf[R im.Body](s *Caller, f *im.Frame) Call[R] {
	call := Call[R]{Caller: s, Resent: f.Resent, id: f.Id, method: f.Method}
	if s.Run != 0 && once[f.Method] {
		call.hash = hashOf(f)
	}
	return call
}

func decoded[Req im.Request, R im.Body](f func(*Chat, context.Context, Call[R], Req) error) handler {
	return func(c *Chat, ctx context.Context, s *Caller, frame *im.Frame, req im.Request) error {
		return f(c, ctx, callOf[R](s, frame), req.(Req))
	}
}

func undecoded[R im.Body](f func(*Chat, context.Context, Call[R], []byte) error) handler {
	return func(c *Chat, ctx context.Context, s *Caller, frame *im.Frame, _ im.Request) error {
		return f(c, ctx, callOf[R](s, frame), frame.Body)
	}
}

// Call makes a call of a session. req is the decoded request, or nil if the method is Undecoded; f is not kept. If Call returns an error, the carrier replies with it.
// Otherwise s.Reply is called once, possibly after Call has returned. Calls about the connection itself are the carrier's and are refused.
func (c *Chat) Call(ctx context.Context, s *Caller, f *im.Frame, req im.Request) error {
	if f.Method < 0 || int(f.Method) >= len(handlers) || handlers[f.Method] == nil {
		return im.Errorf(im.CodeBadRequest, "%s cannot be called", f.Method)
	}
	if s.Run != 0 && once[f.Method] {
		return c.makeOnce(ctx, s, f, req)
	}
	return handlers[f.Method](c, ctx, s, f, req)
}
