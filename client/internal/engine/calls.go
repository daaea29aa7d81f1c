package engine

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tidings-im/tidings/client/internal/link"
	"github.com/tidings-im/tidings/im"
)

// call is a request to the server that waits for its reply.
type call struct {
	id     uint64
	method im.Method
	body   []byte
	// repeat: it may be sent again after a reconnect; otherwise it ends with the connection.
	repeat   bool
	deadline time.Time
	// local: nothing is sent for it. fresh: it has not been sent before, because there was no connection or it was held back.
	local, fresh bool
	done         func(body []byte, err *im.Error)
}

// Request is the body of a call.
type Request interface{ MarshalVT() ([]byte, error) }

// Unreadable is the error of a reply that cannot be read, or lacks what it must have.
var Unreadable = &im.Error{Code: im.CodePacket, Desc: "unreadable answer"}

// Ask makes a call to the server. done is called exactly once, on the engine; a reply that cannot be read is an error, and with an error the reply is
// empty. With repeat the call is sent again after a reconnect; otherwise it ends with the connection. Ask returns the call's id.
func Ask[R any, P im.Decodable[R]](e *Engine, method im.Method, req Request, repeat bool, limit time.Duration, done func(P, *im.Error)) uint64 {
	return e.request(method, req, repeat, limit, func(body []byte, err *im.Error) {
		reply := P(new(R))
		if err == nil && im.Decode(body, reply) != nil {
			reply, err = new(R), Unreadable
		}
		done(reply, err)
	})
}

// Call is Ask for a call whose reply contains nothing else.
func (e *Engine) Call(method im.Method, req Request, repeat bool, limit time.Duration, done func(*im.Error)) uint64 {
	return e.request(method, req, repeat, limit, func(_ []byte, err *im.Error) { done(err) })
}

// Await opens a call for which nothing is sent: done is called once, by Settle, or with an error when all calls are failed. It returns the call's id.
func (e *Engine) Await(done func(err *im.Error)) uint64 {
	id := e.NewID()
	e.calls[id] = &call{id: id, repeat: true, local: true, done: func(_ []byte, err *im.Error) { done(err) }}
	return id
}

// Settle ends a call that Await has opened, if it is open.
func (e *Engine) Settle(id uint64) {
	if k := e.calls[id]; k != nil {
		e.endCall(k, nil, nil)
	}
}

func (e *Engine) request(method im.Method, req Request, repeat bool, limit time.Duration, done func([]byte, *im.Error)) uint64 {
	id := e.NewID()
	body, err := req.MarshalVT()
	switch {
	case err != nil:
		done(nil, im.Errorf(im.CodeInvalidParameters, "cannot encode %v: %v", method, err))
		return id
	case e.Conn == nil && !repeat:
		done(nil, &im.Error{Code: im.CodeDisconnected, Desc: "not connected"})
		return id
	}
	k := &call{id: id, method: method, body: body, repeat: repeat, done: done}
	if limit > 0 {
		k.deadline = time.Now().Add(limit)
	}
	e.calls[id] = k
	if k.fresh = e.Conn == nil || e.held; !k.fresh {
		e.toSend = append(e.toSend, &im.Frame{Id: id, Method: method, Body: body})
	}
	return id
}

// NewID returns the id of another frame to the server.
func (e *Engine) NewID() uint64 {
	id := e.nextID
	e.nextID++
	return id
}

// Unsent reports whether a call is open that was not on any connection.
func (e *Engine) Unsent(id uint64) bool {
	k := e.calls[id]
	return k != nil && k.fresh
}

// Withdraw takes back a call that is not on a connection, without a result: the next connection does not send it either.
func (e *Engine) Withdraw(id uint64) { delete(e.calls, id) }

// FailCalls fails everything open.
func (e *Engine) FailCalls(err *im.Error) { e.failSome(err, func(*call) bool { return true }) }

// failSome fails the open calls that which selects, in their order.
func (e *Engine) failSome(err *im.Error, which func(*call) bool) {
	var ended []*call
	for _, k := range e.calls {
		if which(k) {
			ended = append(ended, k)
		}
	}
	slices.SortFunc(ended, func(a, b *call) int { return cmp.Compare(a.id, b.id) })
	for _, k := range ended {
		e.endCall(k, nil, err)
	}
}

// failDue fails the calls whose time has run out.
func (e *Engine) failDue(now time.Time) {
	err := &im.Error{Code: im.CodeWaitAckTimeout, Desc: "no answer from the server in time"}
	if e.Conn == nil {
		err = &im.Error{Code: im.CodeNoNetworkTimeout, Desc: "no answer in time: not connected"}
	}
	e.failSome(err, func(k *call) bool { return !k.deadline.IsZero() && !now.Before(k.deadline) })
}

// endCall ends a call, unless the result of another one (a logout's ends everything) has ended it in between.
func (e *Engine) endCall(k *call, body []byte, err *im.Error) {
	if e.calls[k.id] != k {
		return
	}
	delete(e.calls, k.id)
	defer func() {
		if r := recover(); r != nil { // the reply cannot be applied; the application still gets a result
			e.panicked(r)
			k.done(nil, im.Errorf(im.CodeDatabase, "%v", errPanic))
		}
	}()
	k.done(body, err)
}

// Attach makes a connection the one that carries the calls. Resume follows, when the login is reported.
func (e *Engine) Attach(l *link.Conn) { e.Conn, e.received = l, 0 }

// StartOver makes the books start over with a server that has another store.
func (e *Engine) StartOver() {
	for _, b := range e.books {
		b.NewStore()
	}
}

// HoldBack makes calls wait for Resume, on a connection on which something has to be done before anything is sent again. Those that were made before it are
// sent. The end of the connection ends it, too.
func (e *Engine) HoldBack() { e.held = true }

// Resume sends again, in its order, what was open when the last connection broke: it is answered before anything new (rule 31). Then the books
// continue.
func (e *Engine) Resume(first bool) {
	e.held = false
	for _, id := range slices.Sorted(maps.Keys(e.calls)) {
		k := e.calls[id]
		if k.local {
			continue
		}
		e.toSend = append(e.toSend, &im.Frame{Id: id, Method: k.method, Body: k.body, Resent: !k.fresh})
		k.fresh = false
	}
	for _, b := range e.books {
		b.Connected(first)
	}
}

// Detach forgets the connection and what cannot be asked again on another; the caller handles the connection itself.
func (e *Engine) Detach() {
	e.Conn, e.held = nil, false
	e.toSend = e.toSend[:0]
	e.failSome(&im.Error{Code: im.CodeDisconnected, Desc: "disconnected"}, func(k *call) bool { return !k.repeat })
	for _, b := range e.books {
		b.Disconnected()
	}
	e.GoOn()
}

// arrived is a WebSocket message of frames.
type arrived struct {
	conn *link.Conn
	data []byte
}

// Arrive passes the engine a message from a connection. It waits for room, until ctx ends.
func (e *Engine) Arrive(ctx context.Context, l *link.Conn, data []byte) error {
	select {
	case e.frames <- arrived{l, data}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// arrive applies the frames of one message. That their connection was attached has been posted before they arrived, but may not have run yet: the two
// queues have no order between them.
func (e *Engine) arrive(a arrived) {
	for n := e.in.len(); n > 0 && a.conn != e.Conn; n -= batchSize {
		e.runIn()
	}
	if a.conn != e.Conn || a.conn == e.broken || e.failed != nil {
		return
	}
	err := im.ReadFrames(a.data, func(f *im.Frame) error {
		if f.Id == 0 {
			e.received++
			return e.push(f)
		}
		switch k := e.calls[f.Id]; {
		case k == nil || k.local:
			e.cfg.Late(f)
		case f.Code != 0:
			e.endCall(k, nil, &im.Error{Code: f.Code, Desc: f.Desc})
		default:
			e.endCall(k, f.Body, nil)
		}
		return nil
	})
	if err != nil {
		e.log.Warn("a message of the server cannot be read; reconnecting", "error", err)
		a.conn.Break()
	}
}

func (e *Engine) push(f *im.Frame) error {
	for _, b := range e.books {
		if err := b.Push(f); err != nil {
			return err
		}
	}
	return nil
}

// Received returns how much the server has pushed on this connection; SetReceived sets it to the server's number, if pushes were dropped on the way.
func (e *Engine) Received() uint64 { return e.received }

func (e *Engine) SetReceived(n uint64) { e.received = n }
