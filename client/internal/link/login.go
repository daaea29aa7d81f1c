package link

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/client/internal/ws"
	"github.com/tidings-im/tidings/im"
)

// subprotocol is the version handshake.
const subprotocol = im.Subprotocol

// FirstID is the first request id after the login's, which is 1 on every connection.
const FirstID = 2

// Refused is the server's refusal of the login, or of the request for a connection.
type Refused struct {
	Err    *im.Error
	Retry  bool   // another attempt may succeed, and follows
	Ticket string // the ticket, if the login got that far
}

func (e *Refused) Error() string { return e.Err.Error() }

// login connects and logs in.
func (l *Link) login(ctx context.Context, h *Host, resume bool) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Try)
	defer cancel()
	conn, err := l.dial.Dial(ctx, l.url)
	if err != nil {
		return nil, dialError(l.shown, err)
	}
	var c *Conn
	defer func() { // also of a panic
		if c == nil {
			conn.Close()
		}
	}()
	if conn.Subprotocol != subprotocol {
		return nil, im.Errorf(im.CodeConnectRefused, "the server at %s does not speak %s", l.shown, subprotocol)
	}
	h.Open()
	release := context.AfterFunc(ctx, conn.Interrupt)
	req := h.Login(resume)
	reply, err := exchange(conn, req)
	if !release() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	c = &Conn{Ticket: req.UserSig, Reply: reply, ws: conn, wake: make(chan struct{}, 1)}
	return c, nil
}

// exchange sends the login, which is the first frame in both directions.
func exchange(conn *ws.Conn, req *im.LoginRequest) (*im.LoginReply, error) {
	body, err := req.MarshalVT()
	if err != nil {
		return nil, err
	}
	if err := conn.Write(im.AppendFrame(nil, &im.Frame{Id: FirstID - 1, Method: im.Method_LOGIN, Body: body})); err != nil {
		return nil, err
	}
	data, err := conn.Read()
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
	if first.Method != im.Method_LOGIN || first.Id != FirstID-1 {
		return nil, errors.New("client: the server did not answer the login first")
	}
	if first.Code != 0 {
		return nil, &Refused{Err: &im.Error{Code: first.Code, Desc: first.Desc}, Ticket: req.UserSig,
			Retry: mayPass(first.Code) || req.Resume && first.Code == im.CodeFailedLogins}
	}
	reply := &im.LoginReply{}
	return reply, reply.UnmarshalVT(first.Body)
}

// mayPass reports which refusals of a login may go away with time.
func mayPass(code int32) bool {
	return code == im.CodeConnectionLimit || code == im.CodeServerInternal
}
