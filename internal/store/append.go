package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/tidings-im/tidings/internal/chat"
)

const (
	flagCountable = 1
	insertCols    = 13
)

func insertSQL(rows int) string {
	return "INSERT INTO entry (id, conv, seq, client_time, random, sender, time, idx, own, prev, flags, hash, body) VALUES " +
		strings.TrimSuffix(strings.Repeat("(?,?,?,?,?,?,?,?,?,?,?,?,?),", rows), ",") +
		" ON CONFLICT (client_time, random, conv, sender) DO NOTHING"
}

// pending is an entry that has its number but is not inserted yet, with what it takes to undo the numbering.
type pending struct {
	h     *head
	own   *own // groups
	event int
	id    int64
	prev  uint64

	time, changed int64
	last          uint64
}

// add checks and numbers one entry. It is inserted later, with its neighbours, on the assumption that its key is new: insertPending
// finds out when it is not.
func (s *Store) add(o *op) error {
	e := &o.entry
	s.events = append(s.events, event{done: o.done})
	i := len(s.events) - 1
	ev := &s.events[i]
	h, err := s.head(e.Conv)
	if err != nil {
		return fmt.Errorf("conversation %d: %w", e.Conv, err)
	}
	if h == nil || h.Kind == chat.KindC2C && e.Sender != h.A && e.Sender != h.B {
		ev.err = chat.ErrNotFound
		return nil
	}
	if h.Dissolved || h.Policy != e.Policy {
		// The first answer to a key stands, whatever has changed since.
		if err := s.insertPending(); err != nil {
			return err
		}
		stored, err := lookup(background, s.w, keyOf(e))
		switch {
		case err == nil:
			ev.answer(e, stored)
		case !errors.Is(err, chat.ErrNotFound):
			return err
		case h.Dissolved:
			ev.err = chat.ErrNotFound
		default:
			ev.err = chat.ErrPolicy
		}
		return nil
	}
	p := pending{h: h, event: i}
	if h.Kind == chat.KindGroup {
		if p.own, err = s.own(h, e.Sender); err != nil {
			return fmt.Errorf("sender: %w", err)
		}
	}
	ev.stored.Entry = *e
	if ev.stored.Body == nil {
		ev.stored.Body = []byte{}
	}
	s.pending = append(s.pending, p)
	s.number(&s.pending[len(s.pending)-1])
	if len(s.pending) == s.inserts[0].rows {
		return s.insertPending()
	}
	return nil
}

// number moves the head and gives the entry its numbers.
func (s *Store) number(p *pending) {
	h, st := p.h, &s.events[p.event].stored
	p.id = s.nextID
	s.nextID++
	p.time, p.changed = h.Time, h.Changed
	h.Seq++
	h.Time, h.Changed = s.now, s.now
	s.touch(h)
	var n uint64
	if st.Countable {
		n = 1
	}
	h.Index += n
	switch {
	case p.own != nil:
		p.last, p.prev = p.own.last, p.own.last
		p.own.n += n
		if n > 0 {
			p.own.last = h.Seq
			s.touchOwn(p.own)
		}
		st.OwnIndex = p.own.n
	case st.Sender == h.A:
		h.OwnA += n
		if h.A == h.B {
			h.OwnB = h.OwnA
		}
		st.OwnIndex = h.OwnA
	default:
		h.OwnB += n
		st.OwnIndex = h.OwnB
	}
	st.Seq, st.Time, st.Index = h.Seq, s.now, h.Index
}

// unnumber undoes number for the last entry numbered.
func (s *Store) unnumber(p *pending) {
	h, st := p.h, &s.events[p.event].stored
	s.nextID = p.id
	h.Seq--
	h.Time, h.Changed = p.time, p.changed
	if !st.Countable {
		return
	}
	h.Index--
	switch {
	case p.own != nil:
		p.own.n--
		p.own.last = p.last
	case st.Sender == h.A:
		h.OwnA--
		if h.A == h.B {
			h.OwnB = h.OwnA
		}
	default:
		h.OwnB--
	}
}

// insertPending inserts what was numbered, many rows in a statement. If a statement inserts fewer rows than it should, some key was stored
// before: its rows are taken out again and this and all that follows is numbered anew and inserted one by one.
func (s *Store) insertPending() error {
	if len(s.pending) == 0 {
		return nil
	}
	if err := s.begin(); err != nil {
		return err
	}
	rest := s.pending
	for _, in := range s.inserts {
		for len(rest) >= in.rows {
			n, err := s.insert(&in, rest[:in.rows])
			if err != nil {
				return fmt.Errorf("insert: %w", err)
			}
			if n == in.rows {
				rest = rest[in.rows:]
				continue
			}
			if err := s.insertOneByOne(rest); err != nil {
				return fmt.Errorf("insert: %w", err)
			}
			rest = nil
		}
	}
	s.pending = s.pending[:0]
	return nil
}

func (s *Store) insertOneByOne(ps []pending) error {
	if _, err := s.w.ExecContext(background, "DELETE FROM entry WHERE id >= $1", ps[0].id); err != nil {
		return err
	}
	for i := len(ps) - 1; i >= 0; i-- {
		s.unnumber(&ps[i])
	}
	for i := range ps {
		p := &ps[i]
		s.number(p)
		n, err := s.insert(&s.inserts[len(s.inserts)-1], ps[i:i+1])
		if err != nil {
			return err
		}
		if n == 1 {
			continue
		}
		s.unnumber(p)
		ev := &s.events[p.event]
		e := ev.stored.Entry
		stored, err := lookup(background, s.w, keyOf(&e))
		if err != nil {
			return err
		}
		ev.answer(&e, stored)
	}
	return nil
}

// answer answers an entry whose key is stored.
func (ev *event) answer(e *chat.Entry, stored chat.Stored) {
	if stored.Hash != e.Hash {
		ev.stored, ev.err = chat.Stored{}, chat.ErrOtherBody
		return
	}
	ev.stored, ev.dup = stored, true
}

// insert runs one statement and answers how many rows it inserted.
func (s *Store) insert(in *insert, ps []pending) (n int, err error) {
	for i := range ps {
		p, st := &ps[i], &s.events[ps[i].event].stored
		a := in.args[i*insertCols : (i+1)*insertCols]
		var flags int64
		if st.Countable {
			flags = flagCountable
		}
		a[0].Value = p.id
		a[1].Value = int64(st.Conv)
		a[2].Value = int64(st.Seq)
		a[3].Value = int64(st.ClientTime)
		a[4].Value = int64(st.Random)
		a[5].Value = int64(st.Sender)
		a[6].Value = st.Time
		a[7].Value = int64(st.Index)
		a[8].Value = int64(st.OwnIndex)
		a[9].Value = int64(p.prev)
		a[10].Value = flags
		a[11].Value = int64(st.Hash)
		a[12].Value = st.Body
	}
	err = s.w.Raw(func(any) error {
		res, err := in.stmt.ExecContext(background, in.args)
		if err != nil {
			return err
		}
		k, err := res.RowsAffected()
		n = int(k)
		return err
	})
	return n, err
}

func keyOf(e *chat.Entry) chat.SendKey {
	return chat.SendKey{Conv: e.Conv, Sender: e.Sender, ClientTime: e.ClientTime, Random: e.Random}
}

// lookup finds the entry stored under a key.
func lookup(ctx context.Context, db querier, k chat.SendKey) (chat.Stored, error) {
	st, err := scanEntry(db.QueryRowContext(ctx, "SELECT "+entryCols+
		" FROM entry e WHERE e.client_time = $1 AND e.random = $2 AND e.conv = $3 AND e.sender = $4",
		int64(k.ClientTime), int64(k.Random), int64(k.Conv), int64(k.Sender)))
	if errors.Is(err, sql.ErrNoRows) {
		return st, chat.ErrNotFound
	}
	return st, err
}
