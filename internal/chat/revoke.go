package chat

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/im"
)

// revocation is a recall on its way into the store.
type revocation struct {
	cv     Conv
	seq    uint64
	reason string
	// circle are the people of the conversation, by is the one who recalls.
	circle circle
	by     person
	// operator means that neither the window nor the sender of the message matters.
	operator bool
}

// Revoke recalls a message of the caller within the window. A repeated frame whose first copy did it gets the first reply.
func (c *Chat) Revoke(ctx context.Context, call Call[*im.RevokeReply], req *im.RevokeRequest) error {
	s := call.Caller
	cv, circle, err := c.find(ctx, s, req.Conv)
	if err != nil {
		return err
	}
	if err := checkEpoch(cv, req.Epoch, req.Seq, cv.Seq); err != nil {
		return err
	}
	reply := func(ch *im.Change) { call.Reply(&im.RevokeReply{Change: ch}) }
	err = c.revoke(ctx, &revocation{cv: cv, seq: req.Seq, reason: req.Reason, circle: circle, by: person{s.UID, s.Name}}, reply)
	if call.Resent && errors.Is(err, im.Errorf(im.CodeAlreadyRevoked, "")) {
		ch, e := c.changeBefore(ctx, cv.ID, req.Seq, im.ChangeKind_CHANGE_REVOKE, s.UID)
		if e != nil {
			return e
		}
		if ch != nil {
			reply(ch)
			return nil
		}
	}
	return err
}

// revoke makes the recall. reply is called on the delivery goroutine, before anybody is notified.
func (c *Chat) revoke(ctx context.Context, r *revocation, reply func(*im.Change)) error {
	return c.store.Update(ctx, []Key{{Conv: r.cv.ID}}, func(tx Tx) error {
		e, err := tx.Entry(r.cv.ID, r.seq)
		if errors.Is(err, ErrNotFound) {
			return im.Errorf(im.CodeNoSuchMessage, "there is no message %d", r.seq)
		}
		if err != nil {
			return err
		}
		now := tx.Now()
		switch {
		case e.Sender != r.by.uid && !r.operator:
			return im.Errorf(im.CodeNotMember, "only its sender may recall a message")
		case e.Status == int32(im.MessageStatus_MESSAGE_STATUS_REVOKED):
			return im.Errorf(im.CodeAlreadyRevoked, "the message was recalled already")
		case now-e.Time > c.cfg.RevokeWindow.Milliseconds() && !r.operator:
			return im.Errorf(im.CodeRevokeWindow, "the message is older than %s", c.cfg.RevokeWindow)
		}
		e.Status, e.Revoker, e.RevokeReason = int32(im.MessageStatus_MESSAGE_STATUS_REVOKED), r.by.uid, r.reason
		if err := tx.SetEntry(e); err != nil {
			return err
		}
		row, err := tx.AddChange(r.cv.ID, Change{
			Kind: int32(im.ChangeKind_CHANGE_REVOKE), Seq: e.Seq, Time: now, Operator: r.by.uid, Reason: r.reason,
		})
		if err != nil {
			return err
		}
		row.Target = &e
		ch := changeOf(&row, r.by.name, r.circle.nameOf(e.Sender))
		tx.AfterCommit(func() {
			reply(ch)
			for _, n := range r.circle.change(ch) {
				c.tell(n)
			}
			c.delivering(now)
		})
		return nil
	})
}
