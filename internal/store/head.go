package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// head is a conversation in memory.
type head struct {
	// Conv is the writer's: it contains what the running transaction has done.
	chat.Conv
	// senders are the running own counts of a group's senders, as far as they were needed. The writer's.
	senders map[chat.UID]*own
	// dirty: the row in conv is older than Conv. behind: a sender's row is. moved: this transaction changed it. The writer's.
	dirty, behind, moved bool

	// pub is the committed state, ID 0 before the first commit. Guarded by Store.mu, like unflushed: the rows are not all as new as pub.
	pub       chat.Conv
	unflushed bool
}

// own is how many countable messages a user has sent to a group, and the seq of the last.
type own struct {
	conv    chat.ConvID
	uid     chat.UID
	n, last uint64
	dirty   bool
}

// headsMax is how many heads are kept in memory. Above it, some are dropped after a flush. A variable for tests.
var headsMax = 1 << 16

const (
	// A flush of heads comes after so many batches or dirty heads, or when the writer has nothing to do.
	flushBatches = 20
	flushHeads   = 2048
)

// head finds a conversation, from its row if it is not in memory; nil if there is none.
func (s *Store) head(id chat.ConvID) (*head, error) {
	if h := s.heads[id]; h != nil {
		return h, nil
	}
	c, err := tables.ScanConv(s.w.QueryRowContext(background, "SELECT "+tables.ConvCols+" FROM conv c WHERE c.id = $1", int64(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h := &head{Conv: c, pub: c}
	s.keep(h)
	return h, nil
}

func (s *Store) keep(h *head) {
	s.mu.Lock()
	s.heads[h.ID] = h
	s.mu.Unlock()
}

// own finds the running count of a sender of a group.
func (s *Store) own(h *head, uid chat.UID) (*own, error) {
	if o := h.senders[uid]; o != nil {
		return o, nil
	}
	o := &own{conv: h.ID, uid: uid}
	var n, last int64
	err := s.w.QueryRowContext(background, "SELECT own, last FROM sender WHERE conv = $1 AND uid = $2", int64(h.ID), int64(uid)).Scan(&n, &last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	o.n, o.last = uint64(n), uint64(last)
	if h.senders == nil {
		h.senders = make(map[chat.UID]*own)
	}
	h.senders[uid] = o
	return o, nil
}

// move notes that the running transaction changes h or its rows.
func (s *Store) move(h *head) {
	if !h.moved {
		h.moved = true
		s.moved = append(s.moved, h)
	}
}

// touch notes that the running transaction changes h, and that its row falls behind.
func (s *Store) touch(h *head) {
	s.move(h)
	if !h.dirty {
		h.dirty = true
		s.dirtyHeads = append(s.dirtyHeads, h)
	}
}

func (s *Store) touchOwn(h *head, o *own) {
	s.move(h)
	h.behind = true
	if !o.dirty {
		o.dirty = true
		s.dirtyOwns = append(s.dirtyOwns, o)
	}
}

// writeHead stores a head in its row.
func (s *Store) writeHead(h *head) error {
	_, err := s.w.ExecContext(background, `UPDATE conv SET grp = $1, seq = $2, rev = $3, time = $4, changed = $5, idx = $6, own_a = $7, own_b = $8,
		policy = $9, member_set = $10, dissolved = $11 WHERE id = $12`,
		h.Group, int64(h.Seq), int64(h.Rev), h.Time, h.Changed, int64(h.Index), int64(h.OwnA), int64(h.OwnB),
		int64(h.Policy), int64(h.MemberSet), bit(h.Dissolved), int64(h.ID))
	h.dirty = false
	return err
}

// flushAll stores all dirty heads and counts together with the entry id that they cover, in the running transaction.
func (s *Store) flushAll() error {
	for _, h := range s.dirtyHeads {
		if h.dirty {
			s.move(h)
			if err := s.writeHead(h); err != nil {
				return err
			}
		}
	}
	for _, o := range s.dirtyOwns {
		o.dirty = false
		if h := s.heads[o.conv]; h != nil && h.behind {
			h.behind = false
			s.move(h)
		}
		if _, err := s.w.ExecContext(background, `INSERT INTO sender (conv, uid, own, last) VALUES ($1, $2, $3, $4)
			ON CONFLICT (conv, uid) DO UPDATE SET own = excluded.own, last = excluded.last`,
			int64(o.conv), int64(o.uid), int64(o.n), int64(o.last)); err != nil {
			return err
		}
	}
	s.dirtyHeads, s.dirtyOwns, s.batches = s.dirtyHeads[:0], s.dirtyOwns[:0], 0
	s.covered = s.nextID - 1
	_, err := s.w.ExecContext(background, "UPDATE meta SET covered = $1, clock = $2", s.covered, s.clock.Load())
	return err
}

// publish shows readers what was committed, before anybody is answered.
func (s *Store) publish() {
	s.dirty.Store(len(s.dirtyHeads)+len(s.dirtyOwns) > 0)
	s.mu.Lock()
	for _, h := range s.moved {
		h.moved = false
		h.pub = h.Conv
		h.unflushed = h.dirty || h.behind
	}
	if len(s.heads) > headsMax {
		for id, h := range s.heads {
			if len(s.heads) <= headsMax*3/4 || s.dirty.Load() {
				break // only after a flush: a head that is dropped must be as its row
			}
			if h.pub.ID != 0 {
				delete(s.heads, id)
			}
		}
	}
	s.mu.Unlock()
	s.moved = s.moved[:0]
}

// replay adds the entries above meta.covered to the heads. Each row has the running numbers in it, so one that is contained already does no harm.
func (s *Store) replay(ctx context.Context) error {
	n, err := s.recount(ctx)
	if err != nil || n == 0 {
		return err
	}
	s.cfg.Log.Info("store: entries added to the heads again", "dir", s.cfg.Dir, "entries", n)
	if err = s.begin(); err == nil {
		err = s.flushAll()
	}
	if err == nil {
		err = s.commit()
	}
	if isFull(err) {
		return s.noRoom(err)
	}
	if err != nil {
		return err
	}
	s.publish()
	return nil
}

// recount does that in memory, and answers how many entries there were.
func (s *Store) recount(ctx context.Context) (int, error) {
	type row struct {
		conv, sender, seq, time, idx, own, flags int64
	}
	var rows []row
	r, err := s.w.QueryContext(ctx, "SELECT id, conv, sender, seq, time, idx, own, flags FROM entry WHERE id > $1 ORDER BY id", s.covered)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	s.nextID = s.covered + 1
	for r.Next() {
		var x row
		var id int64
		if err := r.Scan(&id, &x.conv, &x.sender, &x.seq, &x.time, &x.idx, &x.own, &x.flags); err != nil {
			return 0, err
		}
		s.nextID = id + 1
		rows = append(rows, x)
	}
	if err := r.Err(); err != nil {
		return 0, err
	}
	r.Close()
	for _, x := range rows {
		h, err := s.head(chat.ConvID(x.conv))
		if err != nil {
			return 0, err
		}
		if h == nil {
			continue
		}
		sender, seq := chat.UID(x.sender), uint64(x.seq)
		if h.Kind == chat.KindGroup {
			o, err := s.own(h, sender)
			if err != nil {
				return 0, err
			}
			if x.flags&tables.FlagCountable != 0 && seq > o.last {
				o.n, o.last = uint64(x.own), seq
				s.touchOwn(h, o)
			}
		}
		s.clock.Store(max(s.clock.Load(), x.time))
		if seq <= h.Seq {
			continue
		}
		h.Seq, h.Index = seq, uint64(x.idx)
		h.Time, h.Changed = x.time, max(h.Changed, x.time)
		if h.Kind == chat.KindC2C {
			if sender == h.A {
				h.OwnA = uint64(x.own)
			}
			if sender == h.B {
				h.OwnB = uint64(x.own)
			}
		}
		s.touch(h)
	}
	return len(rows), nil
}
