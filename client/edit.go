package client

import (
	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// mostDeleted is how many messages one call may delete; the server's limit.
const mostDeleted = 50

// DeleteMessages deletes messages for this user, here and on the server. Other devices that have them keep them.
//
//tidings:call
func (c *Client) deleteMessages(to caller[none], key Conv, ms []*im.Message) {
	c.takeAway(to, key, ms, true)
}

// DeleteLocalMessages deletes messages on this device only.
//
//tidings:call
func (c *Client) deleteLocalMessages(to caller[none], key Conv, ms []*im.Message) {
	c.takeAway(to, key, ms, false)
}

func (c *Client) takeAway(to caller[none], key Conv, ms []*im.Message, cloud bool) {
	engine.DoHere(c.e, to, synced(c, func(finish func(none, error)) {
		if c.Status() != LoggedIn {
			finish(none{}, notLoggedIn)
			return
		}
		if cloud && c.rooms.of(key) != nil {
			finish(none{}, im.Errorf(im.CodeGroupNoDelete, "a live room keeps no messages"))
			return
		}
		cv := c.convs.byKey[key]
		if len(ms) == 0 || len(ms) > mostDeleted || cv == nil {
			finish(none{}, im.Errorf(im.CodeInvalidParameters, "1 to %d messages of a conversation can be deleted", mostDeleted))
			return
		}
		var rows []*local.Message
		var seqs []uint64
		for _, m := range ms {
			row, err := c.convs.find(m)
			if !c.e.Check(err) {
				finish(none{}, engine.Failed)
				return
			}
			switch {
			case row != nil && row.Conv == cv.ID && row.Status == im.MessageStatus_MESSAGE_STATUS_SENDING:
				finish(none{}, &im.Error{Code: im.CodeInvalidParameters, Desc: "the message is being sent"})
				return
			case row != nil && row.Conv == cv.ID:
				rows = append(rows, row)
				if row.Seq != 0 && row.Era == cv.Era {
					seqs = append(seqs, row.Seq)
				}
			case row == nil && m.GetSeq() != 0 && m.Seq <= cv.headSeq:
				// Not on this device: a row that says so keeps it away.
				rows = append(rows, &local.Message{Conv: cv.ID, Era: cv.Era, Pos: m.Seq, Seq: m.Seq, ClientTime: m.ClientTime, Random: uint32(m.Rand), Sender: m.Sender,
					Time: int64(m.ServerTime) * 1000, Body: []byte{}})
				seqs = append(seqs, m.Seq)
			default:
				finish(none{}, &im.Error{Code: im.CodeInvalidParameters, Desc: "the message is not in the conversation"})
				return
			}
		}
		here := func() {
			for _, row := range rows {
				row.Status = im.MessageStatus_MESSAGE_STATUS_DELETED
				c.e.Check(c.e.DB.Put(row))
			}
			c.convs.changed[cv] = true
		}
		if !cloud || len(seqs) == 0 {
			here()
			finish(none{}, nil)
			return
		}
		if err := c.session.online(); err != nil {
			finish(none{}, err)
			return
		}
		c.e.Call(im.Method_DELETE, &im.DeleteRequest{Conv: key.wire(), Epoch: cv.Epoch, Seqs: seqs}, true, c.cfg.Limits.Call, func(err *im.Error) {
			if err == nil {
				here()
			} else if err.Code == im.CodeResync {
				c.convs.refresh(cv)
			}
			finish(none{}, err)
		})
	}))
}

// Revoke recalls a message that this user sent, within the server's window. reason may be empty.
//
//tidings:call
func (c *Client) revoke(to caller[none], key Conv, m *im.Message, reason string) {
	doSynced(c, to, func(finish func(none, error)) {
		if err := c.session.online(); err != nil {
			finish(none{}, err)
			return
		}
		cv := c.convs.byKey[key]
		if m == nil || cv == nil {
			finish(none{}, &im.Error{Code: im.CodeNoSuchMessage, Desc: "no such message"})
			return
		}
		seq := m.Seq
		if row, err := c.convs.find(m); c.e.Check(err) && row != nil && row.Conv == cv.ID {
			seq = row.Seq
		}
		if seq == 0 {
			finish(none{}, &im.Error{Code: im.CodeNoSuchMessage, Desc: "the message was not sent"})
			return
		}
		req := &im.RevokeRequest{Conv: key.wire(), Epoch: cv.Epoch, Seq: seq, Reason: reason}
		engine.Ask(c.e, im.Method_REVOKE, req, true, c.cfg.Limits.Call, func(reply *im.RevokeReply, err *im.Error) {
			finish(none{}, err)
			if reply.Change != nil {
				c.convs.pushedChange(key, cv.Epoch, reply.Change)
			}
		})
	})
}

// ModifyMessage replaces the content of a message: its elements and cloud_custom_str. If somebody else has changed the message since m was read,
// nothing is changed and the error is 8006; the message as it is then is returned in any case.
//
//tidings:call
func (c *Client) modifyMessage(to caller[*im.Message], key Conv, m *im.Message) {
	now, err := ownCopy(key, m, true)
	if err != nil {
		engine.Refuse(c.e, to, err)
		return
	}
	now.CustomInt, now.CustomStr = 0, ""
	doSynced(c, to, func(finish func(*im.Message, error)) {
		if err := c.session.online(); err != nil {
			finish(nil, err)
			return
		}
		row, err := c.convs.find(m)
		cv := c.convs.byKey[key]
		if !c.e.Check(err) || row == nil || cv == nil || row.Conv != cv.ID || row.Seq == 0 || row.Era != cv.Era {
			finish(nil, &im.Error{Code: im.CodeInvalidParameters, Desc: "the message is not in the conversation"})
			return
		}
		req := &im.ModifyRequest{Conv: key.wire(), Epoch: cv.Epoch, Seq: row.Seq, Version: m.Version, Message: now}
		engine.Ask(c.e, im.Method_MODIFY, req, true, c.cfg.Limits.Call, func(reply *im.ModifyReply, err *im.Error) {
			if err == nil && reply.Current != nil {
				err = &im.Error{Code: im.CodeModifyConflict, Desc: "the message was modified by somebody else meanwhile"}
			}
			newest := *row
			switch {
			case reply.Change != nil && reply.Change.Message != nil:
				newest.Body, _ = rewrite(row.Body, reply.Change.Message)
				newest.Version = reply.Change.Version
			case reply.Current != nil && reply.Current.Message != nil:
				newest.Body, _ = rewrite(row.Body, reply.Current.Message)
				newest.Version, newest.Status = reply.Current.Version, max(reply.Current.Status, row.Status)
			}
			view, e := c.convs.view(cv, &newest)
			if !c.e.Check(e) {
				view = nil
			}
			finish(view, err)
			if reply.Change != nil {
				c.convs.pushedChange(key, cv.Epoch, reply.Change)
			}
		})
	})
}

// applyModify applies a new content. One whose version arrived with a pull is no news; one of a message that is not on the device stores it.
func (b *conversations) applyModify(cv *conv, ch *im.Change) {
	if ch.Message == nil || ch.Seq <= cv.Cleared {
		return
	}
	row, err := b.DB.At(&cv.ConvRow, ch.Seq)
	if !b.Check(err) {
		return
	}
	if row == nil {
		e := &im.Entry{Seq: ch.Seq, Time: ch.SentTime, Sender: ch.Sender, SenderTinyId: ch.SenderTinyId, ClientTime: ch.ClientTime, Random: ch.Random,
			Version: ch.Version, Message: ch.Message}
		if b.acknowledged(cv, e) {
			return
		}
		id := b.store(cv, e)
		if id == 0 || b.silent(cv, ch.Operator, e.Message) {
			return
		}
		b.fillEntry(cv, e, e.Message)
		b.tellMessage(kindUpdated, id, e.Message)
		return
	}
	if row.Version >= ch.Version || row.Status == im.MessageStatus_MESSAGE_STATUS_DELETED || row.Status == im.MessageStatus_MESSAGE_STATUS_REVOKED {
		return
	}
	row.Body, _ = rewrite(row.Body, ch.Message)
	row.Version = ch.Version
	if !b.Check(b.DB.Put(row)) {
		return
	}
	b.reindex(row)
	b.changed[cv] = true
	if b.silent(cv, ch.Operator, ch.Message) {
		return
	}
	if m, err := b.view(cv, row); b.Check(err) {
		b.tellMessage(kindUpdated, row.ID, m)
	}
}

// onlineOnly reports a message that is not kept (rule 21).
func (b *conversations) onlineOnly(key Conv, p *im.EntryPush) {
	e := p.Entry
	if e.Message == nil {
		return
	}
	cv := b.byKey[key]
	if cv == nil {
		cv = newConv(0, key)
	}
	if b.silent(cv, by(e), e.Message) {
		return
	}
	m := e.Message
	if p.Card != nil && cv.Epoch == p.Epoch {
		b.c.members.meet(cv, e.Sender, p.Card.NameCard, p.Card.Ver)
	}
	b.fillEntry(cv, e, m)
	m.IsOnlineMsg, m.IsRead = true, true
	b.tellUnkept(e)
}

// SetLocalCustomData keeps custom_int and custom_str of m with the message on this device.
//
//tidings:call
func (c *Client) setLocalCustomData(to caller[none], m *im.Message) {
	engine.DoHere(c.e, to, func(finish func(none, error)) {
		if err := c.session.readable(); err != nil {
			finish(none{}, err)
			return
		}
		row, err := c.convs.find(m)
		if !c.e.Check(err) || row == nil {
			finish(none{}, &im.Error{Code: im.CodeInvalidParameters, Desc: "the message is not here"})
			return
		}
		kept := &im.Message{}
		if !c.e.Check(kept.UnmarshalVT(row.Body)) {
			finish(none{}, &im.Error{Code: im.CodeDatabase, Desc: "the stored message cannot be read"})
			return
		}
		kept.CustomInt, kept.CustomStr = m.CustomInt, m.CustomStr
		if row.Body, err = kept.MarshalVT(); c.e.Check(err) {
			c.e.Check(c.e.DB.Put(row))
		}
		if cv := c.convs.byID[row.Conv]; cv != nil {
			c.convs.mark(cv, row, m.CustomInt, m.CustomStr)
			c.convs.changed[cv] = true
		}
		finish(none{}, nil)
	})
}
