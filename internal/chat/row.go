package chat

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/im"
)

// maxPinned is how many conversations a user may pin.
const maxPinned = 50

// Row changes the caller's own row of a conversation and replies with the head as it is then. All devices of the caller are notified, and the peer if
// the caller's read position moved. A call that changes nothing is answered and notifies nobody, so it may be repeated.
func (c *Chat) Row(ctx context.Context, call Call[*im.RowReply], req *im.RowRequest) error {
	s := call.Caller
	if req.Hide && req.ClearedSeq == nil {
		return im.Errorf(im.CodeInvalidParameters, "hide comes without cleared_seq")
	}
	cv, circle, err := c.findForRow(ctx, s, req)
	if err != nil {
		return err
	}
	return c.store.Update(ctx, []Key{{UID: s.UID}, {Conv: cv.ID}}, func(tx Tx) error {
		changed, readMoved, err := changeRow(tx, s.UID, cv.ID, req)
		if err != nil {
			return err
		}
		head, mine, err := circle.head(tx, s.UID)
		if err != nil {
			return err
		}
		var theirs []news
		if readMoved {
			if theirs, err = circle.peers(tx, s.UID); err != nil {
				return err
			}
		}
		now := tx.Now()
		tx.AfterCommit(func() {
			call.Reply(&im.RowReply{Head: head})
			if changed {
				c.tell(mine)
			}
			for _, n := range theirs {
				c.tell(n)
			}
			c.delivering(now)
		})
		return nil
	})
}

// findForRow is find for a ROW call: a receive option may be set for a person with whom there is no conversation yet, which creates it.
func (c *Chat) findForRow(ctx context.Context, s *Caller, req *im.RowRequest) (Conv, circle, error) {
	if req.Conv.GetType() == im.ConvType_CONV_TYPE_GROUP || req.Epoch != 0 || req.RecvOpt == nil || req.Pinned != nil || req.ClearedSeq != nil {
		cv, circle, err := c.find(ctx, s, req.Conv)
		if err == nil {
			err = checkEpoch(cv, req.Epoch, 0, 0)
		}
		return cv, circle, err
	}
	if err := checkKey(req.Conv.GetType(), req.Conv.GetId()); err != nil {
		return Conv{}, circle{}, err
	}
	peer, err := c.person(ctx, req.Conv.Id)
	if errors.Is(err, ErrNotFound) {
		return Conv{}, circle{}, im.Errorf(im.CodeUnknownReceiver, "there is no user %q", req.Conv.Id)
	}
	if err != nil {
		return Conv{}, circle{}, err
	}
	k := pairOf(s.UID, peer.uid)
	cv, err := c.store.C2C(ctx, k.a, k.b)
	return cv, circleOf(cv.ID, person{s.UID, s.Name}, peer), err
}

// changeRow makes the changes of a ROW call. A row that stays the same is not written.
func changeRow(tx Tx, uid UID, id ConvID, req *im.RowRequest) (changed, readMoved bool, err error) {
	cv, err := tx.Conv(id)
	if err != nil {
		return false, false, err
	}
	row, err := memberAt(tx, &cv, uid, req.GetClearedSeq())
	if err != nil {
		return false, false, err
	}
	old, m := row.Mine, row.Mine
	m.Hidden = row.hidden() // a message has brought it back, whatever is cleared then
	if req.Pinned != nil {
		m.Pinned = *req.Pinned
	}
	if req.RecvOpt != nil {
		m.RecvOpt = *req.RecvOpt
	}
	if req.ClearedSeq != nil {
		m.ClearedSeq = max(m.ClearedSeq, *req.ClearedSeq)
		if *req.ClearedSeq > m.ReadSeq {
			readMoved = true
			m.ReadSeq, m.ReadAt = *req.ClearedSeq, tx.Now()
			if m.ReadOthers, m.ReadTime, err = tx.OthersAt(id, uid, m.ReadSeq); err != nil {
				return false, false, err
			}
		}
	}
	if req.Hide {
		m.Hidden, m.Pinned = true, false
	}
	if m == old {
		return false, false, nil
	}
	if m.Pinned && !old.Pinned {
		n, err := tx.Pinned(uid)
		if err != nil {
			return false, false, err
		}
		if n >= maxPinned {
			return false, false, im.Errorf(im.CodeTooManyPinned, "%d conversations are pinned already", n)
		}
	}
	_, err = tx.PutMember(m)
	return err == nil, readMoved, err
}

// hidden reports whether a conversation is off its owner's list: they have deleted it, and nothing that they have has arrived since. A message above what was
// cleared brings it back without a write to the row.
func (r *HeadRow) hidden() bool {
	return r.Mine.Hidden && (r.end() <= r.Mine.ClearedSeq || !r.Back)
}

// Delete deletes messages for the caller only. Nobody is notified; unread numbers stay the same.
func (c *Chat) Delete(ctx context.Context, call Call[*im.Empty], req *im.DeleteRequest) error {
	s := call.Caller
	cv, _, err := c.find(ctx, s, req.Conv)
	if im.CodeOf(err) == im.CodeGroupNoHistory {
		return im.Errorf(im.CodeGroupNoDelete, "messages of live rooms cannot be deleted")
	}
	if err != nil {
		return err
	}
	if err := checkEpoch(cv, req.Epoch, 0, 0); err != nil {
		return err
	}
	if cv.Kind == KindGroup {
		if _, err := c.inside(ctx, s.UID, cv.ID); err != nil {
			return err
		}
	}
	for _, seq := range req.Seqs {
		if seq == 0 {
			return im.Errorf(im.CodeInvalidParameters, "seqs names number 0")
		}
		if err := checkEpoch(cv, req.Epoch, seq, cv.Seq); err != nil {
			return err
		}
	}
	if len(req.Seqs) > 0 {
		err = c.store.Update(ctx, []Key{{UID: s.UID}}, func(tx Tx) error { return tx.Delete(cv.ID, s.UID, req.Seqs) })
	}
	if err == nil {
		call.Reply(&im.Empty{})
	}
	return err
}

// without removes from a range of a log what the user has deleted.
func (c *Chat) without(ctx context.Context, uid UID, id ConvID, found []entry) ([]entry, error) {
	if len(found) == 0 {
		return found, nil
	}
	deleted, err := c.store.Deleted(ctx, uid, id, found[0].Seq, found[len(found)-1].Seq)
	if err != nil || len(deleted) == 0 {
		return found, err
	}
	left := found[:0]
	for _, e := range found { // both are ascending
		for len(deleted) > 0 && deleted[0] < e.Seq {
			deleted = deleted[1:]
		}
		if len(deleted) == 0 || deleted[0] != e.Seq {
			left = append(left, e)
		}
	}
	return left, nil
}
