package chat

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/im"
)

// position is a read position on its way into the store.
type position struct {
	conv   ConvID
	circle circle
	epoch  uint64
	seq    uint64
}

// Read moves the caller's read positions, never back, and replies with the heads as they are then. Those concerned are notified after the caller's
// reply. Many positions are handled in steps, so that one call does not block the store; a conversation that is named several times is read once, up
// to the largest number, and is in the reply as often as it is named. The call may be repeated.
func (c *Chat) Read(ctx context.Context, call Call[*im.ReadReply], req *im.ReadRequest) error {
	s := call.Caller
	var all []position
	known := make(map[ConvID]int, len(req.Positions)) // places in all
	named := make([]int, len(req.Positions))
	for i, p := range req.Positions {
		cv, circle, err := c.find(ctx, s, p.Conv)
		if err != nil {
			return err
		}
		if err := checkEpoch(cv, p.Epoch, 0, 0); err != nil {
			return err
		}
		at, ok := known[cv.ID]
		if !ok {
			at = len(all)
			known[cv.ID] = at
			all = append(all, position{cv.ID, circle, p.Epoch, p.Seq})
		}
		all[at].seq = max(all[at].seq, p.Seq)
		named[i] = at
	}
	reply := &im.ReadReply{Heads: make([]*im.Head, len(named))}
	if len(all) == 0 {
		call.Reply(reply)
		return nil
	}
	var heads []*im.Head
	var early []news // what the calling connection gets from the steps before the last: after its reply
	for len(all) > 0 {
		n := min(len(all), readStep)
		step, last := all[:n], n == len(all)
		err := c.read(ctx, s, step, func(done []*im.Head, mine, theirs []news) {
			heads = append(heads, done...)
			if last {
				for i, at := range named {
					reply.Heads[i] = heads[at]
				}
				call.Reply(reply)
				for _, n := range early {
					c.tell(n)
				}
			}
			for _, n := range mine {
				if !last && s.ID != (SessionID{}) {
					later := n
					n.to.Except, later.to.Only = s.ID, s.ID
					early = append(early, later)
				}
				c.tell(n)
			}
			for _, n := range theirs {
				c.tell(n)
			}
		})
		if err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// read is one step of Read; committed is called on the delivery goroutine.
func (c *Chat) read(ctx context.Context, s *Caller, step []position, committed func(heads []*im.Head, mine, theirs []news)) error {
	keys := make([]Key, 0, len(step)+1)
	keys = append(keys, Key{UID: s.UID})
	for _, p := range step {
		keys = append(keys, Key{Conv: p.conv})
	}
	done := make(chan struct{})
	err := c.store.Update(ctx, keys, func(tx Tx) error {
		heads := make([]*im.Head, 0, len(step))
		var mine, theirs []news
		for _, p := range step {
			moved, err := movePosition(tx, s.UID, p)
			if err != nil {
				return err
			}
			head, n, err := p.circle.head(tx, s.UID)
			if err != nil {
				return err
			}
			heads = append(heads, head)
			if !moved {
				continue
			}
			mine = append(mine, n)
			others, err := p.circle.peers(tx, s.UID)
			if err != nil {
				return err
			}
			theirs = append(theirs, others...)
		}
		now := tx.Now()
		tx.AfterCommit(func() {
			defer close(done)
			committed(heads, mine, theirs)
			c.delivering(now)
		})
		return nil
	})
	if err == nil {
		<-done // the steps of a call share what committed collects
	}
	return err
}

// movePosition sets read = max(old, named).
func movePosition(tx Tx, uid UID, p position) (moved bool, err error) {
	cv, err := tx.Conv(p.conv)
	if err != nil {
		return false, err
	}
	if err := checkEpoch(cv, p.epoch, 0, 0); err != nil {
		return false, err
	}
	row, err := memberAt(tx, &cv, uid, p.seq)
	if err != nil {
		return false, err
	}
	m := row.Mine
	if p.seq <= m.ReadSeq {
		return false, nil
	}
	m.ReadSeq, m.ReadAt = p.seq, tx.Now()
	if m.ReadOthers, m.ReadTime, err = tx.OthersAt(p.conv, uid, p.seq); err != nil {
		return false, err
	}
	_, err = tx.PutMember(m)
	return err == nil, err
}

// memberAt returns what of the head of a user who names a number of a log decides where the log ends and whether the conversation is hidden: to somebody who has
// left a group, it ends where their membership did.
func memberAt(tx Tx, cv *Conv, uid UID, seq uint64) (row HeadRow, err error) {
	row.Conv = *cv
	row.Mine, err = tx.Member(cv.ID, uid)
	if errors.Is(err, ErrNotFound) && cv.Kind == KindGroup {
		err = errNotMember
	}
	if err == nil && row.Mine.Left {
		row.Periods, err = tx.Periods(cv.ID, uid)
	}
	if err == nil {
		err = row.readBack(tx)
	}
	if err != nil {
		return row, err
	}
	return row, checkEpoch(*cv, uint64(cv.ID), seq, row.end())
}

// readBack reads Back if it decides anything.
func (r *HeadRow) readBack(tx Tx) (err error) {
	if r.Mine.Hidden {
		r.Back, err = tx.Back(r.Conv.ID, r.Mine.UID, r.Mine.ClearedSeq)
	}
	return err
}

// headIn reads what a head is made from inside a transaction.
func headIn(tx Tx, id ConvID, uid UID) (row HeadRow, err error) {
	if row.Conv, err = tx.Conv(id); err != nil {
		return row, err
	}
	if row.Mine, err = tx.Member(id, uid); err != nil {
		return row, err
	}
	if row.Own, err = tx.Own(id, uid); err != nil {
		return row, err
	}
	if row.Withdrawn, err = tx.Withdrawn(id, uid, row.Mine.ReadSeq); err != nil {
		return row, err
	}
	if err = row.readBack(tx); err != nil {
		return row, err
	}
	if row.Conv.Kind == KindGroup {
		if row.Periods, err = tx.Periods(id, uid); err == nil {
			row.Mentions, err = tx.Mentions(id, uid, row.Mine.ReadSeq)
		}
		return row, err
	}
	if row.Conv.A == row.Conv.B {
		return row, nil
	}
	peer := row.Conv.A
	if peer == uid {
		peer = row.Conv.B
	}
	m, err := tx.Member(id, peer)
	row.Peer = &m
	return row, err
}
