package client

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

var notLoggedIn = &im.Error{Code: im.CodeNotLoggedIn, Desc: "not login"}

// orNil makes an error of a code, keeping nil nil.
func orNil(err *im.Error) error {
	if err == nil {
		return nil
	}
	return err
}

// MarkAllRead reads everything that has arrived in all conversations.
//
//tidings:call
func (c *Client) markAllRead(to caller[none]) { c.markRead(to, Conv{}, nil) }

// MarkRead reads a conversation up to a message, which its id or its sequence names, or all that has arrived if upTo is nil. With an empty id in conv
// all conversations of its type are read. A message that is not in the conversation is an error, and nothing is read.
//
//tidings:call
func (c *Client) markRead(to caller[none], key Conv, upTo *im.Message) {
	doSynced(c, to, func(finish func(none, error)) {
		if err := c.session.online(); err != nil {
			finish(none{}, err)
			return
		}
		var positions []*im.ReadPosition
		add := func(cv *conv, seq uint64) {
			if cv.Epoch != 0 && seq > cv.ReadSeq {
				positions = append(positions, &im.ReadPosition{Conv: cv.key().wire(), Epoch: cv.Epoch, Seq: seq})
			}
		}
		cv := c.convs.byKey[key]
		switch {
		case upTo != nil:
			seq, err := c.convs.place(cv, key, upTo)
			if err != nil {
				finish(none{}, err)
				return
			}
			add(cv, seq)
		case cv != nil:
			add(cv, cv.SyncedTo)
		case key.ID == "":
			for _, id := range slices.Sorted(maps.Keys(c.convs.byID)) {
				cv := c.convs.byID[id]
				if key.Type == im.ConvType_CONV_TYPE_INVALID || key.Type == cv.key().Type {
					add(cv, cv.SyncedTo)
				}
			}
		}
		c.convs.readPositions(positions, finish)
	})
}

// place is where a message stands in its conversation: its own number, or that before it if it has none.
func (b *conversations) place(cv *conv, key Conv, m *im.Message) (uint64, *im.Error) {
	unknown := &im.Error{Code: im.CodeInvalidParameters, Desc: "the message is not in the conversation"}
	if cv == nil {
		return 0, unknown
	}
	if m.MsgId == "" {
		if m.Seq == 0 || m.Seq > cv.SyncedTo || m.ConvId != "" && (m.ConvId != key.ID || m.ConvType != key.Type) {
			return 0, unknown
		}
		return m.Seq, nil
	}
	row, err := b.find(m)
	switch {
	case !b.Check(err):
		return 0, engine.Failed
	case row == nil || row.Conv != cv.ID:
		return 0, unknown
	case row.Era != cv.Era:
		return 0, nil // before all that is unread
	}
	return min(row.Pos, cv.SyncedTo), nil
}

func (b *conversations) readPositions(positions []*im.ReadPosition, finish func(none, error)) {
	open := 0
	var failed *im.Error
	for part := range slices.Chunk(positions, readsAtOnce) {
		open++
		engine.Ask(b.Engine, im.Method_READ, &im.ReadRequest{Positions: part}, true, b.c.cfg.Limits.Call, func(reply *im.ReadReply, err *im.Error) {
			open--
			if err != nil {
				failed = err
			}
			if open == 0 {
				finish(none{}, failed)
			}
			for _, h := range reply.Heads {
				b.applyHead(h)
			}
			if err != nil && err.Code == im.CodeResync {
				b.c.sync.start()
			}
		})
	}
	if len(positions) == 0 {
		finish(none{}, nil)
	}
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

// Conversations lists the conversations, newest first, pinned ones before the others; local.
//
//tidings:call
func (c *Client) conversations(to caller[[]*im.ConvInfo]) {
	doReading(c, to, func(finish func([]*im.ConvInfo, error)) {
		var out []*im.ConvInfo
		last := map[*im.ConvInfo]int64{}
		for _, cv := range c.convs.byKey {
			if info, at := c.convs.infoAt(cv); info != nil {
				out = append(out, info)
				last[info] = at
			}
		}
		slices.SortFunc(out, func(a, b *im.ConvInfo) int {
			return cmp.Or(cmp.Compare(b.ActiveTime, a.ActiveTime), cmp.Compare(last[b], last[a]), strings.Compare(a.Id, b.Id))
		})
		finish(out, nil)
	})
}

// ConversationsByKey answers the named conversations that are in the list, in the order asked for; local.
//
//tidings:call
func (c *Client) conversationsByKey(to caller[[]*im.ConvInfo], keys []Conv) {
	doReading(c, to, func(finish func([]*im.ConvInfo, error)) {
		var out []*im.ConvInfo
		for _, k := range keys {
			if cv := c.convs.byKey[k]; cv != nil {
				if info := c.convs.info(cv); info != nil {
					out = append(out, info)
				}
			}
		}
		finish(out, nil)
	})
}

// CreateConversation puts a conversation into this device's list before it has a message.
//
//tidings:call
func (c *Client) createConversation(to caller[*im.ConvInfo], key Conv) {
	engine.DoHere(c.e, to, synced(c, func(finish func(*im.ConvInfo, error)) {
		switch {
		case key.ID == "" || key.Type != im.ConvType_CONV_TYPE_C2C && key.Type != im.ConvType_CONV_TYPE_GROUP:
			finish(nil, &im.Error{Code: im.CodeInvalidParameters, Desc: "conv_id or conv_type is invalid"})
			return
		case c.Status() != LoggedIn:
			finish(nil, notLoggedIn)
			return
		}
		cv := c.convs.convOf(key)
		if !cv.Listed {
			cv.Listed, cv.dirty = true, true
			c.convs.changed[cv] = true
		}
		finish(c.convs.info(cv), nil)
	}))
}

// TotalUnread is the sum of the unread numbers of conversations that are not muted.
//
//tidings:call
func (c *Client) totalUnread(to caller[int]) {
	doReading(c, to, func(finish func(int, error)) {
		sum := 0
		for _, cv := range c.convs.byKey {
			if cv.counts() {
				sum += int(cv.unread(c.cfg.UserID))
			}
		}
		finish(sum, nil)
	})
}
