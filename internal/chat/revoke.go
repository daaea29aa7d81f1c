package chat

import (
	"context"
	"errors"
	"slices"

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
	// caller is who makes the call.
	caller *Caller
	// operator means that neither the window nor the sender of the message matters.
	operator bool
}

// Revoke recalls a message of the caller within the window. A repeated frame whose first copy did it gets the first reply.
func (c *Chat) Revoke(ctx context.Context, call Call[*im.RevokeReply], req *im.RevokeRequest) error {
	s := call.Caller
	cv, circle, err := c.find(ctx, s, req.Conv)
	if im.CodeOf(err) == im.CodeGroupNoHistory {
		return im.Errorf(im.CodeGroupNoRevoke, "messages of live rooms cannot be recalled")
	}
	if err != nil {
		return err
	}
	if err := c.checkPlace(ctx, s, cv, req.Epoch, req.Seq); err != nil {
		return err
	}
	reply := func(ch *im.Change) { call.Reply(&im.RevokeReply{Change: ch}) }
	err = c.revoke(ctx, &revocation{cv: cv, seq: req.Seq, reason: req.Reason, circle: circle, by: person{s.UID, s.Name}, caller: s}, reply)
	if call.Resent && isError(err) { // it may be because of what has happened since
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
		ch, told, err := c.revokeIn(tx, r)
		if err != nil {
			return err
		}
		if r.circle.group != "" {
			if err := c.notifyRecalled(tx, r.caller, &r.cv, r.seq); err != nil {
				return err
			}
		}
		now := tx.Now()
		tx.AfterCommit(func() {
			reply(ch)
			for _, n := range told {
				c.tell(n)
			}
			c.delivering(now)
		})
		return nil
	})
}

// revokeIn makes the recall in a transaction, and returns what is told of it. If it returns an error of the API, nothing was changed.
func (c *Chat) revokeIn(tx Tx, r *revocation) (*im.Change, []news, error) {
	e, err := tx.Entry(r.cv.ID, r.seq)
	group := r.circle.group != ""
	unknown, late := int32(im.CodeNoSuchMessage), int32(im.CodeRevokeWindow)
	if group {
		unknown, late = im.CodeGroupNoMessage, im.CodeGroupRevokeWindow
	}
	if errors.Is(err, ErrNotFound) {
		return nil, nil, im.Errorf(unknown, "there is no message %d", r.seq)
	}
	if err != nil {
		return nil, nil, err
	}
	now := tx.Now()
	switch {
	case r.operator && group && e.Sender == 0:
		return nil, nil, im.Errorf(im.CodeGroupRevokeDenied, "message %d is a tip", r.seq)
	case r.operator:
	case group:
		if err := mayRevoke(tx, &e, r.by.uid); err != nil {
			return nil, nil, err
		}
	case e.Sender != r.by.uid:
		return nil, nil, im.Errorf(im.CodeNotMember, "only its sender may recall a message")
	}
	switch {
	case e.Status == int32(im.MessageStatus_MESSAGE_STATUS_REVOKED):
		return nil, nil, im.Errorf(im.CodeAlreadyRevoked, "the message was recalled already")
	case now-e.Time > c.cfg.RevokeWindow.Milliseconds() && !r.operator:
		return nil, nil, im.Errorf(late, "the message is older than %s", c.cfg.RevokeWindow)
	}
	e.Status, e.Revoker, e.RevokeReason = int32(im.MessageStatus_MESSAGE_STATUS_REVOKED), r.by.uid, r.reason
	if err := tx.SetEntry(e); err != nil {
		return nil, nil, err
	}
	row, err := tx.AddChange(r.cv.ID, Change{
		Kind: int32(im.ChangeKind_CHANGE_REVOKE), Seq: e.Seq, Time: now, Operator: r.by.uid, Reason: r.reason,
	})
	if err != nil {
		return nil, nil, err
	}
	row.Target = &e
	sender, err := r.circle.senderName(tx, e.Sender)
	if err != nil {
		return nil, nil, err
	}
	ch := changeOf(&row, r.by.name, sender)
	told, err := r.circle.changed(tx, &e, ch)
	return ch, told, err
}

// mayRevoke is rule G14: in a group, members recall their own messages, the owner anybody's, admins those of ordinary members.
func mayRevoke(tx Tx, e *Stored, by UID) error {
	cv, err := tx.Conv(e.Conv)
	if err != nil {
		return err
	}
	me, err := tx.Member(e.Conv, by)
	if errors.Is(err, ErrNotFound) || err == nil && (me.Left || cv.Dissolved) {
		return errNotMember
	}
	if err != nil {
		return err
	}
	if e.Targeted && e.Sender != by {
		to, err := tx.Addressees(e.Conv, e.Seq)
		if err != nil {
			return err
		}
		if !slices.Contains(to, by) {
			return im.Errorf(im.CodeGroupNoMessage, "there is no message %d", e.Seq)
		}
	}
	periods, err := tx.Periods(e.Conv, by)
	if err != nil {
		return err
	}
	if row := (HeadRow{Conv: cv, Mine: me, Periods: periods}); !row.sees(e.Seq) || e.Targeted && e.Sender != by && !row.was(e.Seq) {
		return im.Errorf(im.CodeGroupNoMessage, "there is no message %d", e.Seq)
	}
	if e.Sender == 0 {
		return im.Errorf(im.CodeGroupRevokeDenied, "message %d is a tip", e.Seq)
	}
	right := e.Sender == by || me.Role == RoleOwner
	if !right && me.Role == RoleAdmin {
		sender, err := tx.Member(e.Conv, e.Sender)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		right = err != nil || sender.Left || sender.Role < RoleAdmin
	}
	if !right {
		return im.Errorf(im.CodeGroupRevokeDenied, "the caller may not recall the message")
	}
	return nil
}
