package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// update is an Update under way. With fn nil it only asks for the heads to be flushed.
type update struct {
	fn      func(*tx) error
	started atomic.Bool
	err     error // set before ended is closed
	ended   chan struct{}
}

// start claims the update for the writer, or for a caller that gives it up; only one gets true.
func (u *update) start() bool { return u.started.CompareAndSwap(false, true) }

// Update runs fn on the writer goroutine, in the transaction of the batch with which it arrived. There is one writer, so nothing needs to be locked.
func (s *Store) Update(ctx context.Context, _ []chat.Key, fn func(chat.Tx) error) error {
	return s.update(ctx, func(t *tx) error { return fn(&t.Tx) })
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

// runUpdate runs one Update inside a savepoint of the batch's transaction. Its error goes to the caller of Update; only a store that no longer works
// is an error of the batch.
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
	t := &tx{s: s, saved: make(map[*head]savedHead), firstID: s.nextID}
	t.Tx = tables.Tx{On: t, Ctx: background, Time: s.now}
	u.err = t.run(u.fn)
	if u.err == nil {
		u.err = t.finish()
	}
	if u.err != nil {
		t.undo()
		if _, err := s.w.ExecContext(ctx, "ROLLBACK TO u"); err != nil {
			return errors.Join(u.err, err)
		}
		if isDone(u.err) {
			u.err = chat.ErrDone
		}
		if isFull(u.err) {
			s.makeRoom(u.err)
			u.err = fmt.Errorf("%w: %w", chat.ErrFull, u.err)
		}
	}
	if _, err := s.w.ExecContext(ctx, "RELEASE u"); err != nil {
		return err
	}
	if u.err == nil && len(t.After) > 0 {
		s.events = append(s.events, event{after: t.After})
	}
	return nil
}

// isDone reports whether a call that is stored as done was to be stored again.
func isDone(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.ExtendedCode == sqlite3.ErrConstraintPrimaryKey && strings.Contains(e.Error(), "done.uid")
}

// tx is the inside of an Update.
type tx struct {
	tables.Tx
	s     *Store
	saved map[*head]savedHead
	made  []chat.ConvID
	wrote bool
	// firstID is the number that the next entry had when the Update began.
	firstID int64
}

type savedHead struct {
	conv  chat.Conv
	dirty bool
}

var _ tables.Holder = (*tx)(nil)

// background is the context of the writer: nothing it has begun is cancelled.
var background = context.Background()

func (t *tx) run(fn func(*tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("store: panic in Update: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(t)
}

// finish writes the heads that fn changed: the entries do not show its changes at the next start.
func (t *tx) finish() error {
	for h := range t.saved {
		if err := t.s.writeHead(h); err != nil {
			return err
		}
	}
	if !t.wrote {
		return nil // an Update that only read costs no sync of the disk
	}
	return t.Tell(background, "UPDATE meta SET clock = $1", t.Time)
}

func (t *tx) undo() {
	t.s.nextID = t.firstID
	for h, old := range t.saved {
		h.Conv, h.dirty = old.conv, old.dirty
	}
	t.s.mu.Lock()
	for _, id := range t.made {
		delete(t.s.heads, id)
	}
	t.s.mu.Unlock()
}

// writing runs statements on the writer's connection.
type writing struct{ q querier }

func (w writing) Dialect() tables.Dialect { return tables.SQLite }

func (w writing) Ask(ctx context.Context, read func(tables.Rows) error, text string, args ...any) error {
	return ask(ctx, w.q, read, text, args)
}

func (w writing) Tell(ctx context.Context, text string, args ...any) error {
	_, err := w.q.ExecContext(ctx, text, args...)
	return err
}

func (w writing) Wrote() {}

func (t *tx) Dialect() tables.Dialect { return tables.SQLite }

func (t *tx) Ask(ctx context.Context, read func(tables.Rows) error, text string, args ...any) error {
	return ask(ctx, t.s.w, read, text, args)
}

func (t *tx) Tell(ctx context.Context, text string, args ...any) error {
	t.wrote = true
	_, err := t.s.w.ExecContext(ctx, text, args...)
	return err
}

func (t *tx) Wrote() { t.wrote = true }

var (
	drawUID    = tables.NewQuery(tables.Number, "UPDATE meta SET next_uid = next_uid + 1 RETURNING next_uid - 1 AS n")
	drawConvID = tables.NewQuery(tables.Number, "UPDATE meta SET next_conv = next_conv + 1 RETURNING next_conv - 1 AS n")
)

func (t *tx) NewUID() (chat.UID, error) {
	t.wrote = true
	n, err := drawUID.One(background, t)
	return chat.UID(n), err
}

func (t *tx) NewConvID() (chat.ConvID, error) {
	t.wrote = true
	n, err := drawConvID.One(background, t)
	return chat.ConvID(n), err
}

// HoldUser has nothing to do because there is only one writer.
func (t *tx) HoldUser(chat.UID) error { return nil }

func (t *tx) Made(c chat.Conv) error {
	h := &head{Conv: c}
	t.s.keep(h)
	t.made = append(t.made, c.ID)
	t.saved[h] = savedHead{conv: c}
	t.s.touch(h)
	return nil
}

// HoldName has nothing to do because there is only one writer.
func (t *tx) HoldName(string) error { return nil }

func (t *tx) Stood(m chat.Member) {
	if h := t.s.heads[m.Conv]; h != nil && h.senders[m.UID] != nil {
		h.senders[m.UID].stands = nil
	}
}

func (t *tx) Insert(st *chat.Stored) error {
	t.wrote = true
	isNew, err := t.s.insert(st, 0)
	if err == nil && !isNew {
		err = fmt.Errorf("store: the key of tip %d of conversation %d is in use", st.Seq, st.Conv)
	}
	if err == nil {
		err = tables.PutBeside(background, t, st)
		t.s.nextID++
	}
	return err
}

func (t *tx) Head(id chat.ConvID) (*chat.Conv, error) {
	h, err := t.head(id)
	if err != nil {
		return nil, err
	}
	return &h.Conv, nil
}

// head finds a conversation or returns ErrNotFound.
func (t *tx) head(id chat.ConvID) (*head, error) {
	h, err := t.s.head(id)
	if err == nil && h == nil {
		err = chat.ErrNotFound
	}
	return h, err
}

func (t *tx) Change(id chat.ConvID) (*chat.Conv, error) {
	h, err := t.head(id)
	if err != nil {
		return nil, err
	}
	if _, ok := t.saved[h]; !ok {
		t.saved[h] = savedHead{h.Conv, h.dirty}
	}
	t.s.touch(h)
	t.wrote = true
	return &h.Conv, nil
}

func (t *tx) SenderOf(id chat.ConvID, uid chat.UID) (own, last uint64, err error) {
	h, err := t.head(id)
	if err != nil {
		return 0, 0, err
	}
	o, err := t.s.own(h, uid)
	if err != nil {
		return 0, 0, err
	}
	return o.n, o.last, nil
}
