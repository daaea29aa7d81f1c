package store

import (
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// insertSQL inserts one entry. A statement of many rows is slower: SQLite keeps a journal of its own for each, to undo the first rows if a later one
// fails.
const insertSQL = `INSERT INTO entry (id, conv, seq, client_time, random, sender, time, idx, own, prev, flags, hash, body)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// removeSQL takes back the row of an entry that is dropped.
const removeSQL = "DELETE FROM entry WHERE id = ?"

// add numbers and inserts one entry. The unique index on the key decides whether it is new; only then the head moves.
func (s *Store) add(o *op) error {
	e := &o.entry
	s.events = append(s.events, event{done: o.done})
	ev := &s.events[len(s.events)-1]
	h, err := s.head(e.Conv)
	if err != nil {
		return fmt.Errorf("conversation %d: %w", e.Conv, err)
	}
	if h == nil || h.Kind == chat.KindC2C && e.Sender != h.A && e.Sender != h.B {
		ev.err = chat.ErrNotFound
		return nil
	}
	var o1 *own // groups
	if h.Kind == chat.KindGroup {
		if o1, err = s.own(h, e.Sender); err != nil {
			return fmt.Errorf("sender: %w", err)
		}
	}
	var standing chat.Standing
	if o1 != nil {
		if standing, err = o1.standing(s); err != nil {
			return fmt.Errorf("member: %w", err)
		}
	}
	var refused error
	if e.Rules != nil {
		refused = e.Rules.Check(&h.Conv, e.Sender, standing, s.now)
	}
	var uploads []tables.HeldMedia
	if e.Attached != nil && refused == nil {
		uploads, err = tables.Attachable(background, writing{s.w}, e.Attached, s.now)
		if refused = err; err != nil && !errors.Is(err, chat.ErrNoMedia) {
			return fmt.Errorf("media: %w", err)
		}
	}
	// An entry that is dropped takes the way of all others, with its commit: its sender must not be able to tell by the time that it takes.
	dropped := errors.Is(refused, chat.ErrDropped)
	if h.Dissolved || refused != nil && !dropped || s.full.Load() {
		// The first result for a key stands, whatever has changed since.
		stored, err := tables.Lookup(background, writing{s.w}, tables.KeyOf(e))
		switch {
		case err == nil:
			ev.answer(e, stored)
		case !errors.Is(err, chat.ErrNotFound):
			return fmt.Errorf("lookup: %w", err)
		case h.Dissolved:
			ev.err = chat.ErrNotFound
		case refused != nil && !dropped:
			ev.err = refused
		default:
			ev.err = chat.ErrFull
		}
		return nil
	}
	if err := s.begin(); err != nil {
		return err
	}

	st := &ev.stored
	st.Entry, st.Standing, st.MemberSet = *e, standing, h.MemberSet
	if st.Body == nil {
		st.Body = []byte{}
	}
	var n, prev uint64
	if st.Countable {
		n = 1
	}
	switch {
	case o1 != nil:
		st.OwnIndex, prev = o1.n+n, o1.last
	case st.Sender == h.A:
		st.OwnIndex = h.OwnA + n
	default:
		st.OwnIndex = h.OwnB + n
	}
	st.Seq, st.Time, st.Index = h.Seq+1, s.now, h.Index+n
	isNew, err := s.insert(st, prev)
	if err != nil {
		return fmt.Errorf("insert: %w", err)
	}
	if !isNew {
		stored, err := tables.Lookup(background, writing{s.w}, tables.KeyOf(e))
		if err != nil {
			return fmt.Errorf("lookup: %w", err)
		}
		ev.answer(e, stored)
		return nil
	}
	if dropped {
		ev.stored, ev.err = chat.Stored{}, refused
		if _, err := s.w.ExecContext(background, removeSQL, s.nextID); err != nil {
			return fmt.Errorf("drop: %w", err)
		}
		return nil
	}

	if e.Unseen {
		if err := tables.PutDeleted.Tell(background, writing{s.w}, tables.DeletedRow{UID: e.Sender, Conv: e.Conv, Seq: st.Seq}); err != nil {
			return fmt.Errorf("unseen: %w", err)
		}
	}
	if len(uploads) > 0 {
		if err := tables.Attach(background, writing{s.w}, st, uploads, s.now); err != nil {
			return fmt.Errorf("media: %w", err)
		}
	}
	if err := tables.PutBeside(background, writing{s.w}, st); err != nil {
		return fmt.Errorf("addressees and admin: %w", err)
	}
	s.nextID++
	h.Seq, h.Index, h.Time, h.Changed = st.Seq, st.Index, st.Time, st.Time
	s.touch(h)
	if o1 != nil {
		if n > 0 {
			o1.n, o1.last = st.OwnIndex, st.Seq
			s.touchOwn(h, o1)
		}
		return nil
	}
	if st.Sender == h.A {
		h.OwnA = st.OwnIndex
	}
	if st.Sender == h.B { // both, in a conversation with oneself
		h.OwnB = st.OwnIndex
	}
	return nil
}

// answer returns the result for an entry whose key is stored.
func (ev *event) answer(e *chat.Entry, stored chat.Stored) {
	if stored.Hash != e.Hash {
		ev.stored, ev.err = chat.Stored{}, chat.ErrOtherBody
		return
	}
	ev.stored, ev.dup = stored, true
}

// insert stores an entry unless its key is already stored.
func (s *Store) insert(st *chat.Stored, prev uint64) (isNew bool, err error) {
	flags := tables.FlagsOf(&st.Entry)
	for i, v := range [...]driver.Value{
		s.nextID, int64(st.Conv), int64(st.Seq), int64(st.ClientTime), int64(st.Random), int64(st.Sender), st.Time,
		int64(st.Index), int64(st.OwnIndex), int64(prev), flags, int64(st.Hash), st.Body,
	} {
		s.insertArgs[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	// As a query, because the driver passes all arguments of a query to SQLite in one call, and those of a statement in one call each. It returns no rows.
	rows, err := s.insertStmt.QueryContext(background, s.insertArgs[:])
	if err == nil {
		return true, rows.Close()
	}
	var e sqlite3.Error
	if errors.As(err, &e) && e.ExtendedCode == sqlite3.ErrConstraintUnique {
		return false, nil
	}
	return false, err
}
