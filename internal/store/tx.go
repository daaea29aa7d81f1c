package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/tidings-im/tidings/internal/chat"
)

// update is an Update on its way. With fn nil it only asks for the heads to be flushed.
type update struct {
	fn      func(*tx) error
	started atomic.Bool
	err     error // set before ended is closed
	ended   chan struct{}
}

// start claims the update for the writer, or for its caller who gives it up; only one gets true.
func (u *update) start() bool { return u.started.CompareAndSwap(false, true) }

// Update runs fn on the writer goroutine, in the transaction of the batch it came with. There is one writer, so nothing needs to be locked.
func (s *Store) Update(ctx context.Context, _ []chat.Key, fn func(chat.Tx) error) error {
	return s.update(ctx, func(t *tx) error { return fn(t) })
}

func (s *Store) update(ctx context.Context, fn func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	u := &update{fn: fn, ended: make(chan struct{})}
	if err := s.send(op{upd: u}); err != nil {
		return err
	}
	select {
	case <-u.ended:
		return u.err
	case <-ctx.Done():
		if u.start() {
			return ctx.Err()
		}
		<-u.ended // it runs, or has run: its outcome is the answer
		return u.err
	}
}

// flushed returns when the rows of the heads contain everything that was answered before the call.
func (s *Store) flushed(ctx context.Context) error {
	if !s.dirty.Load() {
		return nil
	}
	return s.update(ctx, nil)
}

// runUpdate runs one Update inside a savepoint of the batch's transaction. Its error goes to the caller of Update; only a store
// that no longer works is an error of the batch.
func (s *Store) runUpdate(u *update) error {
	if !u.start() {
		return nil
	}
	s.ended = append(s.ended, u)
	if u.fn == nil {
		s.flush = true
		return nil
	}
	if err := s.begin(); err != nil {
		return err
	}
	ctx := background
	if _, err := s.w.ExecContext(ctx, "SAVEPOINT u"); err != nil {
		return err
	}
	s.now = s.Now()
	t := &tx{s: s, db: s.w, now: s.now, saved: make(map[*head]savedHead)}
	u.err = t.run(u.fn)
	if u.err == nil {
		u.err = t.finish()
	}
	if u.err != nil {
		t.undo()
		if _, err := s.w.ExecContext(ctx, "ROLLBACK TO u"); err != nil {
			return errors.Join(u.err, err)
		}
		if isFull(u.err) {
			s.makeRoom(u.err)
			u.err = fmt.Errorf("%w: %w", chat.ErrFull, u.err)
		}
	}
	if _, err := s.w.ExecContext(ctx, "RELEASE u"); err != nil {
		return err
	}
	if u.err == nil && len(t.after) > 0 {
		s.events = append(s.events, event{after: t.after})
	}
	return nil
}

// tx is the inside of an Update.
type tx struct {
	s     *Store
	db    querier
	now   int64
	saved map[*head]savedHead
	made  []chat.ConvID
	wrote bool
	after []func()
}

type savedHead struct {
	conv  chat.Conv
	dirty bool
}

var _ chat.Tx = (*tx)(nil)

// background is the context of the writer: nothing it has begun is given up.
var background = context.Background()

func (t *tx) run(fn func(*tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("store: panic in Update: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(t)
}

// finish writes the heads that fn changed: what it did to them cannot be seen from the entries at the next start.
func (t *tx) finish() error {
	for h := range t.saved {
		if err := t.s.writeHead(h); err != nil {
			return err
		}
	}
	if !t.wrote {
		return nil // an Update that only read costs no sync of the disk
	}
	_, err := t.db.ExecContext(background, "UPDATE meta SET clock = $1", t.now)
	return err
}

func (t *tx) undo() {
	for h, old := range t.saved {
		h.Conv, h.dirty = old.conv, old.dirty
	}
	t.s.mu.Lock()
	for _, id := range t.made {
		delete(t.s.heads, id)
	}
	t.s.mu.Unlock()
}

// head finds a conversation or answers ErrNotFound.
func (t *tx) head(id chat.ConvID) (*head, error) {
	h, err := t.s.head(id)
	if err == nil && h == nil {
		err = chat.ErrNotFound
	}
	return h, err
}

// change finds a conversation that is going to be changed.
func (t *tx) change(id chat.ConvID) (*head, error) {
	h, err := t.head(id)
	if err != nil {
		return nil, err
	}
	if _, ok := t.saved[h]; !ok {
		t.saved[h] = savedHead{h.Conv, h.dirty}
	}
	t.s.touch(h)
	t.wrote = true
	return h, nil
}

func (t *tx) Now() int64 { return t.now }

func (t *tx) AfterCommit(f func()) { t.after = append(t.after, f) }
