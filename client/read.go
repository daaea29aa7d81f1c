package client

import (
	"maps"
	"slices"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// MarkAllRead marks everything that has arrived as read, in all conversations.
//
//tidings:call
func (c *Client) markAllRead(to caller[none]) { c.markRead(to, Conv{}, nil) }

// MarkRead marks a conversation as read up to a message, which its id or its sequence names, or completely if upTo is nil. With an empty id in conv,
// all conversations of its type are marked. A message that is not in the conversation is an error, and nothing is marked.
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
			if cv.Epoch != 0 && seq > cv.ReadSeq && !cv.over() {
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

// place returns a message's place in its conversation: its own number, or the one before it if it has none.
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
		return 0, nil // before everything that is unread
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
