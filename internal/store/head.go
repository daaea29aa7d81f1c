package store

import (
	"context"
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

	// pub is the committed state, ID 0 before the first commit. Protected by Store.mu, like unflushed: some rows are older than pub.
	pub       chat.Conv
	unflushed bool
}

// own is how many countable messages a user has sent to a group, and the seq of the last.
type own struct {
	conv    chat.ConvID
	uid     chat.UID
	n, last uint64
	dirty   bool
	// stands is what they are in the group, nil if it must be read: it is the row's, and is dropped whenever the row is written.
	stands *chat.Standing
}

var standingOf = tables.NewQuery(tables.Standing, "SELECT "+tables.StandingCols+` FROM (SELECT $1 AS conv, $2 AS uid) k
	LEFT JOIN sender o ON o.conv = k.conv AND o.uid = k.uid LEFT JOIN member m ON m.conv = k.conv AND m.uid = k.uid`)

// standing is not called inside an Update, which may be undone.
func (o *own) standing(s *Store) (chat.Standing, error) {
	if o.stands == nil {
		row, err := standingOf.One(background, writing{s.w}, int64(o.conv), int64(o.uid))
		if err != nil {
			return chat.Standing{}, err
		}
		is := row.Standing()
		o.stands = &is
	}
	return *o.stands, nil
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
	c, err := tables.ConvByID.One(background, writing{s.w}, int64(id))
	if errors.Is(err, chat.ErrNotFound) {
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
	row, err := tables.SenderOf.One(background, writing{s.w}, int64(h.ID), int64(uid))
	if err != nil && !errors.Is(err, chat.ErrNotFound) {
		return nil, err
	}
	o := &own{conv: h.ID, uid: uid, n: row.Own, last: row.Last}
	if h.senders == nil {
		h.senders = make(map[chat.UID]*own)
	}
	h.senders[uid] = o
	return o, nil
}

// move records that the running transaction changes h or its rows.
func (s *Store) move(h *head) {
	if !h.moved {
		h.moved = true
		s.moved = append(s.moved, h)
	}
}

// touch records that the running transaction changes h, and that its row falls behind.
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

var (
	putHead = tables.NewWrite[tables.ConvRow](`UPDATE conv SET grp = :grp, seq = :seq, rev = :rev, time = :time, changed = :changed, idx = :idx, own_a = :own_a, own_b = :own_b,
		policy = :policy, member_set = :member_set, dissolved = :dissolved, flags = :flags, type = :type, owner = :owner, info_seq = :info_seq, attr_ver = :attr_ver,
		members = :members WHERE id = :id`)
	putSender = tables.NewWrite[tables.SenderRow](`INSERT INTO sender (conv, uid, own, last) VALUES (:conv, :uid, :own, :last)
		ON CONFLICT (conv, uid) DO UPDATE SET own = excluded.own, last = excluded.last`)
)

// writeHead stores a head in its row.
func (s *Store) writeHead(h *head) error {
	h.dirty = false
	return putHead.Tell(background, writing{s.w}, tables.ConvRow(h.Conv))
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
		if err := putSender.Tell(background, writing{s.w}, tables.SenderRow{Conv: o.conv, UID: o.uid, Own: o.n, Last: o.last}); err != nil {
			return err
		}
	}
	s.dirtyHeads, s.dirtyOwns, s.batches = s.dirtyHeads[:0], s.dirtyOwns[:0], 0
	s.covered = s.nextID - 1
	_, err := s.w.ExecContext(background, "UPDATE meta SET covered = $1, clock = $2", s.covered, s.clock.Load())
	return err
}

// publish shows readers what was committed, before any result is delivered.
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
				break // only after a flush: a head that is dropped must equal its row
			}
			if h.pub.ID != 0 {
				delete(s.heads, id)
			}
		}
	}
	s.mu.Unlock()
	s.moved = s.moved[:0]
}

// replay adds the entries above meta.covered to the heads. Each row contains the running numbers, so adding one that is already included does no
// harm.
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

type countedRow struct {
	ID     int64       `sql:"id"`
	Conv   chat.ConvID `sql:"conv"`
	Sender chat.UID    `sql:"sender"`
	Seq    uint64      `sql:"seq"`
	Time   int64       `sql:"time"`
	Index  uint64      `sql:"idx"`
	Own    uint64      `sql:"own"`
	Flags  int64       `sql:"flags"`
}

var (
	counted = tables.NewKind[countedRow]()
	above   = tables.NewQuery(counted, "SELECT "+counted.Cols("e")+" FROM entry e WHERE e.id > $1 ORDER BY e.id")
)

// recount does that in memory, and returns how many entries there were.
func (s *Store) recount(ctx context.Context) (int, error) {
	rows, err := above.All(ctx, writing{s.w}, s.covered)
	if err != nil {
		return 0, err
	}
	s.nextID = s.covered + 1
	if n := len(rows); n > 0 {
		s.nextID = rows[n-1].ID + 1
	}
	for _, x := range rows {
		h, err := s.head(x.Conv)
		if err != nil {
			return 0, err
		}
		if h == nil {
			continue
		}
		if h.Kind == chat.KindGroup {
			o, err := s.own(h, x.Sender)
			if err != nil {
				return 0, err
			}
			if x.Flags&tables.FlagCountable != 0 && x.Seq > o.last {
				o.n, o.last = x.Own, x.Seq
				s.touchOwn(h, o)
			}
		}
		s.clock.Store(max(s.clock.Load(), x.Time))
		if x.Seq <= h.Seq {
			continue
		}
		h.Seq, h.Index = x.Seq, x.Index
		h.Time, h.Changed = x.Time, max(h.Changed, x.Time)
		if h.Kind == chat.KindC2C {
			if x.Sender == h.A {
				h.OwnA = x.Own
			}
			if x.Sender == h.B {
				h.OwnB = x.Own
			}
		}
		s.touch(h)
	}
	return len(rows), nil
}
