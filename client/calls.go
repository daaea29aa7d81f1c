package client

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

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

// online answers an error for a call that needs a login and a link.
func (c *Client) online() *im.Error {
	switch {
	case c.Status() != LoggedIn:
		return notLoggedIn
	case c.link == nil:
		return &im.Error{Code: im.CodeDisconnected, Desc: "not connected"}
	}
	return nil
}

// MarkRead reads a conversation up to a message, which its id or its sequence names, or all that has arrived if upTo is nil. With an empty id in conv
// all conversations of its type are read. A message that is not in the conversation is an error, and nothing is read.
func (c *Client) MarkRead(ctx context.Context, conv Conv, upTo *im.Message) error {
	_, err := wait(ctx, func(direct bool, done func(none, error)) { c.markRead(direct, conv, upTo, done) })
	return err
}

// MarkReadFunc is MarkRead without waiting.
func (c *Client) MarkReadFunc(conv Conv, upTo *im.Message, done func(error)) {
	c.markRead(false, conv, upTo, forget(done))
}

// MarkAllRead reads everything that has arrived in all conversations.
func (c *Client) MarkAllRead(ctx context.Context) error {
	_, err := wait(ctx, func(direct bool, done func(none, error)) { c.markRead(direct, Conv{}, nil, done) })
	return err
}

// MarkAllReadFunc is MarkAllRead without waiting.
func (c *Client) MarkAllReadFunc(done func(error)) { c.markRead(false, Conv{}, nil, forget(done)) }

func (c *Client) markRead(direct bool, key Conv, upTo *im.Message, done func(none, error)) {
	doSynced(c, "MarkRead", direct, done, func(finish func(none, error)) {
		if err := c.online(); err != nil {
			finish(none{}, err)
			return
		}
		var positions []*im.ReadPosition
		add := func(cv *conv, seq uint64) {
			if cv.epoch != 0 && seq > cv.readSeq {
				positions = append(positions, &im.ReadPosition{Conv: cv.key.wire(), Epoch: cv.epoch, Seq: seq})
			}
		}
		cv := c.convs[key]
		switch {
		case upTo != nil:
			seq, err := c.place(cv, key, upTo)
			if err != nil {
				finish(none{}, err)
				return
			}
			add(cv, seq)
		case cv != nil:
			add(cv, cv.syncedTo)
		case key.ID == "":
			for _, id := range slices.Sorted(maps.Keys(c.byID)) {
				cv := c.byID[id]
				if key.Type == im.ConvType_CONV_TYPE_INVALID || key.Type == cv.key.Type {
					add(cv, cv.syncedTo)
				}
			}
		}
		c.readPositions(positions, finish)
	})
}

// place is where a message stands in its conversation: its own number, or that before it if it has none.
func (c *Client) place(cv *conv, key Conv, m *im.Message) (uint64, *im.Error) {
	unknown := &im.Error{Code: im.CodeInvalidParameters, Desc: "the message is not in the conversation"}
	if cv == nil {
		return 0, unknown
	}
	if m.MsgId == "" {
		if m.Seq == 0 || m.Seq > cv.syncedTo || m.ConvId != "" && (m.ConvId != key.ID || m.ConvType != key.Type) {
			return 0, unknown
		}
		return m.Seq, nil
	}
	row, err := c.find(m)
	switch {
	case !c.check(err):
		return 0, databaseFailed
	case row == nil || row.conv != cv.id:
		return 0, unknown
	case row.era != cv.era:
		return 0, nil // before all that is unread
	}
	return min(row.pos, cv.syncedTo), nil
}

func (c *Client) readPositions(positions []*im.ReadPosition, finish func(none, error)) {
	open := 0
	var failed *im.Error
	for part := range slices.Chunk(positions, readsAtOnce) {
		open++
		c.request(im.Method_READ, &im.ReadRequest{Positions: part}, true, c.cfg.Limits.Call, func(body []byte, err *im.Error) {
			open--
			reply := &im.ReadReply{}
			if err == nil && im.Decode(body, reply) != nil {
				err = &im.Error{Code: im.CodePacket, Desc: "unreadable answer"}
			}
			if err != nil {
				failed = err
			}
			if open == 0 {
				finish(none{}, failed)
			}
			for _, h := range reply.Heads {
				c.applyHead(h)
			}
			if err != nil && err.Code == im.CodeResync {
				c.startSync()
			}
		})
	}
	if len(positions) == 0 {
		finish(none{}, nil)
	}
}

// Revoke recalls a message that this user sent, within the server's window. reason may be empty.
func (c *Client) Revoke(ctx context.Context, conv Conv, m *im.Message, reason string) error {
	_, err := wait(ctx, func(direct bool, done func(none, error)) { c.revoke(direct, conv, m, reason, done) })
	return err
}

// RevokeFunc is Revoke without waiting.
func (c *Client) RevokeFunc(conv Conv, m *im.Message, reason string, done func(error)) {
	c.revoke(false, conv, m, reason, forget(done))
}

func (c *Client) revoke(direct bool, key Conv, m *im.Message, reason string, done func(none, error)) {
	doSynced(c, "Revoke", direct, done, func(finish func(none, error)) {
		if err := c.online(); err != nil {
			finish(none{}, err)
			return
		}
		cv := c.convs[key]
		if m == nil || cv == nil {
			finish(none{}, &im.Error{Code: im.CodeNoSuchMessage, Desc: "no such message"})
			return
		}
		seq := m.Seq
		if row, err := c.find(m); c.check(err) && row != nil && row.conv == cv.id {
			seq = row.seq
		}
		if seq == 0 {
			finish(none{}, &im.Error{Code: im.CodeNoSuchMessage, Desc: "the message was not sent"})
			return
		}
		c.request(im.Method_REVOKE, &im.RevokeRequest{Conv: key.wire(), Epoch: cv.epoch, Seq: seq, Reason: reason}, true, c.cfg.Limits.Call, func(body []byte, err *im.Error) {
			reply := &im.RevokeReply{}
			if err == nil && im.Decode(body, reply) != nil {
				err = &im.Error{Code: im.CodePacket, Desc: "unreadable answer"}
			}
			finish(none{}, err)
			if reply.Change != nil {
				c.pushedChange(key, cv.epoch, reply.Change)
			}
		})
	})
}

// Conversations lists the conversations, newest first, pinned ones before the others; local.
func (c *Client) Conversations(ctx context.Context) ([]*im.ConvInfo, error) {
	return wait(ctx, c.conversations)
}

// ConversationsFunc is Conversations without waiting.
func (c *Client) ConversationsFunc(done func([]*im.ConvInfo, error)) { c.conversations(false, done) }

func (c *Client) conversations(direct bool, done func([]*im.ConvInfo, error)) {
	doReading(c, "Conversations", direct, done, func(finish func([]*im.ConvInfo, error)) {
		var out []*im.ConvInfo
		last := map[*im.ConvInfo]int64{}
		for _, cv := range c.convs {
			if info, at := c.infoAt(cv); info != nil {
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
func (c *Client) ConversationsByKey(ctx context.Context, keys []Conv) ([]*im.ConvInfo, error) {
	return wait(ctx, func(direct bool, done func([]*im.ConvInfo, error)) { c.conversationsByKey(direct, keys, done) })
}

// ConversationsByKeyFunc is ConversationsByKey without waiting.
func (c *Client) ConversationsByKeyFunc(keys []Conv, done func([]*im.ConvInfo, error)) {
	c.conversationsByKey(false, keys, done)
}

func (c *Client) conversationsByKey(direct bool, keys []Conv, done func([]*im.ConvInfo, error)) {
	doReading(c, "ConversationsByKey", direct, done, func(finish func([]*im.ConvInfo, error)) {
		var out []*im.ConvInfo
		for _, k := range keys {
			if cv := c.convs[k]; cv != nil {
				if info := c.info(cv); info != nil {
					out = append(out, info)
				}
			}
		}
		finish(out, nil)
	})
}

// CreateConversation puts a conversation into this device's list before it has a message.
func (c *Client) CreateConversation(ctx context.Context, conv Conv) (*im.ConvInfo, error) {
	return wait(ctx, func(direct bool, done func(*im.ConvInfo, error)) { c.createConversation(direct, conv, done) })
}

// CreateConversationFunc is CreateConversation without waiting.
func (c *Client) CreateConversationFunc(conv Conv, done func(*im.ConvInfo, error)) {
	c.createConversation(false, conv, done)
}

func (c *Client) createConversation(direct bool, key Conv, done func(*im.ConvInfo, error)) {
	doHere(c, "CreateConversation", direct, done, synced(c, func(finish func(*im.ConvInfo, error)) {
		switch {
		case key.ID == "" || key.Type != im.ConvType_CONV_TYPE_C2C && key.Type != im.ConvType_CONV_TYPE_GROUP:
			finish(nil, &im.Error{Code: im.CodeInvalidParameters, Desc: "conv_id or conv_type is invalid"})
			return
		case c.Status() != LoggedIn:
			finish(nil, notLoggedIn)
			return
		}
		cv := c.convOf(key)
		if !cv.listed {
			cv.listed, cv.dirty = true, true
			c.changed[cv] = true
		}
		finish(c.info(cv), nil)
	}))
}

// TotalUnread is the sum of the unread numbers of conversations that are not muted.
func (c *Client) TotalUnread(ctx context.Context) (int, error) {
	return wait(ctx, c.totalUnread)
}

// TotalUnreadFunc is TotalUnread without waiting.
func (c *Client) TotalUnreadFunc(done func(int, error)) { c.totalUnread(false, done) }

func (c *Client) totalUnread(direct bool, done func(int, error)) {
	doReading(c, "TotalUnread", direct, done, func(finish func(int, error)) {
		sum := 0
		for _, cv := range c.convs {
			if cv.counts() {
				sum += int(cv.unread(c.cfg.UserID))
			}
		}
		finish(sum, nil)
	})
}
