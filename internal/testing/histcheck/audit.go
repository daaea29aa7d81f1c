package histcheck

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/coder/websocket"

	"github.com/tidings-im/tidings/im"
)

// wire speaks the protocol without the SDK, one call at a time: the SDK must not be judged by itself.
type wire struct {
	ctx  context.Context
	ws   *websocket.Conn
	next uint64
	// pushed gets what the server sends without being asked; nil if nobody needs it.
	pushed func(*im.Frame) error
}

// connect opens a connection and logs a user in.
func connect(ctx context.Context, url string, login *im.LoginRequest) (*wire, *im.LoginReply, error) {
	ws, _, err := websocket.Dial(ctx, url+"/ws", &websocket.DialOptions{Subprotocols: []string{im.Subprotocol}})
	if err != nil {
		return nil, nil, err
	}
	ws.SetReadLimit(16 << 20)
	w, reply := &wire{ctx: ctx, ws: ws}, &im.LoginReply{}
	if err := w.call(im.Method_LOGIN, login, reply); err != nil {
		ws.CloseNow()
		return nil, nil, err
	}
	return w, reply, nil
}

type message interface {
	MarshalVT() ([]byte, error)
}

type answer interface {
	UnmarshalVT([]byte) error
}

func (w *wire) call(m im.Method, req message, reply answer) error {
	body, err := req.MarshalVT()
	if err != nil {
		return err
	}
	w.next++
	id := w.next
	if err := w.ws.Write(w.ctx, websocket.MessageBinary, im.AppendFrame(nil, &im.Frame{Id: id, Method: m, Body: body})); err != nil {
		return err
	}
	for found := false; !found; {
		if err := w.read(func(f *im.Frame) error {
			if f.Id != id {
				return nil
			}
			found = true
			if f.Code != 0 {
				return &im.Error{Code: f.Code, Desc: f.Desc}
			}
			return reply.UnmarshalVT(f.Body)
		}); err != nil {
			return fmt.Errorf("%v: %w", m, err)
		}
	}
	return nil
}

// read reads one message and passes on its frames.
func (w *wire) read(reply func(*im.Frame) error) error {
	_, data, err := w.ws.Read(w.ctx)
	if err != nil {
		return err
	}
	return im.ReadFrames(data, func(f *im.Frame) error {
		if f.Id != 0 {
			return reply(f)
		}
		if w.pushed == nil {
			return nil
		}
		return w.pushed(f)
	})
}

// pull reads everything that the server has for a user.
func pull(ctx context.Context, url, user, sig string) (map[string]*Log, error) {
	id := make([]byte, 16)
	rand.Read(id)
	w, _, err := connect(ctx, url, &im.LoginRequest{UserId: user, UserSig: sig, DeviceId: hex.EncodeToString(id), Platform: im.Platform_PLATFORM_WEB})
	if err != nil {
		return nil, err
	}
	defer w.ws.CloseNow()
	logs := map[string]*Log{}
	for after := uint64(0); ; {
		heads := &im.HeadsReply{}
		if err := w.call(im.Method_HEADS, &im.HeadsRequest{After: after}, heads); err != nil {
			return nil, err
		}
		for _, h := range heads.Heads {
			logs[h.Conv.Id] = &Log{Head: h}
		}
		if after = heads.Next; after == 0 {
			break
		}
	}
	for _, l := range logs {
		if err := w.pullLog(l); err != nil {
			return nil, err
		}
	}
	return logs, w.call(im.Method_LOGOUT, &im.Empty{}, &im.Empty{})
}

// pullLog reads the lines of a conversation whose head is known.
func (w *wire) pullLog(l *Log) error {
	for from := uint64(1); from <= l.Head.Seq; {
		reply := &im.PullReply{}
		if err := w.call(im.Method_PULL, &im.PullRequest{Conv: l.Head.Conv, Epoch: l.Head.Epoch, From: from, To: l.Head.Seq}, reply); err != nil {
			return err
		}
		if reply.From != from || reply.To < from {
			return fmt.Errorf("pull from %d answered [%d, %d]", from, reply.From, reply.To)
		}
		l.Entries = append(l.Entries, reply.Entries...)
		from = reply.To + 1
	}
	for from := uint64(1); from <= l.Head.Rev; {
		reply := &im.ChangesReply{}
		if err := w.call(im.Method_CHANGES, &im.ChangesRequest{Conv: l.Head.Conv, Epoch: l.Head.Epoch, From: from, To: l.Head.Rev}, reply); err != nil {
			return err
		}
		if reply.From != from || reply.To < from {
			return fmt.Errorf("changes from %d answered [%d, %d]", from, reply.From, reply.To)
		}
		l.Changes = append(l.Changes, reply.Changes...)
		from = reply.To + 1
	}
	return nil
}
