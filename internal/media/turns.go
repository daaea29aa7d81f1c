package media

import (
	"context"
	"errors"
	"net/http"
	"time"
)

var errFenced = errors.New("another request goes on with the upload")

// turns makes requests for one upload take turns.
type turns struct {
	turn chan struct{}
	// users are those who have the turn or wait for it. newest is the newest one that sends a part or deletes the upload, if it may still be ended.
	users  int
	newest *fence
}

// fence belongs to a request that ends all requests before it for the same upload: of several that send parts, all but the newest have a dead connection. One with
// the channel ended may itself be ended by a newer one.
type fence struct {
	ended     chan struct{}
	interrupt func()
}

// over reports whether a newer request has ended this one.
func (f *fence) over() bool {
	select {
	case <-f.ended:
		return true
	default:
		return false
	}
}

// hold waits for the turn of a request. With a fence, it ends those before it. release ends the turn.
func (m *Media) hold(ctx context.Context, id string, f *fence) (release func(), err error) {
	m.mu.Lock()
	h := m.held[id]
	if h == nil {
		h = &turns{turn: make(chan struct{}, 1)}
		m.held[id] = h
	}
	h.users++
	var ended chan struct{}
	if f != nil {
		// Those before the newest one were ended by it.
		if n := h.newest; n != nil && n.ended != nil {
			close(n.ended)
			n.interrupt()
		}
		h.newest, ended = f, f.ended
	}
	m.mu.Unlock()
	leave := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if f != nil && h.newest == f {
			h.newest = nil
		}
		if h.users--; h.users == 0 {
			delete(m.held, id)
		}
	}
	select {
	case h.turn <- struct{}{}:
		return func() {
			<-h.turn
			leave()
		}, nil
	case <-ended:
		err = errFenced
	case <-ctx.Done():
		err = ctx.Err()
	}
	leave()
	return nil, err
}

// keep makes that a request is not ended any more.
func (m *Media) keep(id string, f *fence) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.held[id]; h != nil && h.newest == f {
		h.newest = nil
	}
}

// busy reports whether a request has the turn of an upload, or waits for it.
func (m *Media) busy(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held[id] != nil
}

// fenced reads the body of a request until another one ends it.
type fenced struct {
	*fence
	body *body
}

func fencedBody(w http.ResponseWriter, r *http.Request, pace Pace) *fenced {
	rc := http.NewResponseController(w)
	return &fenced{
		&fence{make(chan struct{}), func() { rc.SetReadDeadline(time.Unix(1, 0)) }},
		paced(w, r, pace),
	}
}

// Read looks at the fence after the deadline was set: the other request first closes it, and then sets a deadline that has passed.
func (f *fenced) Read(p []byte) (int, error) {
	if err := f.body.begin(); err != nil {
		return 0, err
	}
	if f.over() {
		return 0, errFenced
	}
	n, err := f.body.Read(p)
	if err != nil && f.over() {
		err = errFenced
	}
	return n, err
}
