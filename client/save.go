package client

import (
	"cmp"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// SaveMessage puts a message into the local history without sending it, at the end of the conversation. The sender is m's, or this user.
//
//tidings:call
func (c *Client) saveMessage(to caller[*im.Message], key Conv, m *im.Message) {
	c.keep(engine.Map(to, func(ms []*im.Message) *im.Message { return ms[0] }), key, []*im.Message{m}, false)
}

// ImportMessages puts messages from elsewhere into the local history, with their own times and senders, ordered by time among the others.
//
//tidings:call
func (c *Client) importMessages(to caller[none], key Conv, ms []*im.Message) {
	c.keep(engine.Map(to, func([]*im.Message) none { return none{} }), key, ms, true)
}

// mostSeconds is the latest time that can be counted in nanoseconds, minus some years.
const mostSeconds = 1 << 33

func (c *Client) keep(to caller[[]*im.Message], key Conv, ms []*im.Message, imported bool) {
	var owned []*im.Message
	for _, m := range ms {
		own, err := ownCopy(key, m, false)
		if err == nil && imported && max(m.ClientTime, m.ServerTime) > mostSeconds {
			err = im.Errorf(im.CodeInvalidParameters, "message_client_time or message_server_time is no time in seconds")
		}
		if err != nil {
			engine.Refuse(c.e, to, err)
			return
		}
		own.Sender, own.ClientTime, own.ServerTime, own.Rand = m.Sender, m.ClientTime, m.ServerTime, m.Rand
		owned = append(owned, own)
	}
	engine.DoHere(c.e, to, func(finish func([]*im.Message, error)) {
		if err := c.session.readable(); err != nil || c.Status() != LoggedIn {
			finish(nil, notLoggedIn)
			return
		}
		cv := c.convs.convOf(key)
		var out []*im.Message
		for _, m := range owned {
			row, err := c.convs.keptRow(cv, m, imported)
			if !c.e.Check(err) || !c.e.Check(c.e.DB.Put(row)) {
				finish(nil, engine.Failed)
				return
			}
			if view, err := c.convs.view(cv, row); c.e.Check(err) {
				out = append(out, view)
			}
		}
		cv.Hidden, cv.dirty = false, true
		c.convs.changed[cv] = true
		finish(out, nil)
	})
}

// keptRow returns the row of a message that is in no log.
func (b *conversations) keptRow(cv *conv, m *im.Message, imported bool) (*local.Message, error) {
	now := b.c.session.serverNow()
	row := &local.Message{Conv: cv.ID, Era: cv.Era, Pos: cv.SyncedTo, Sub: now.UnixNano(), Sender: m.Sender, Time: now.UnixMilli(), Status: im.MessageStatus_MESSAGE_STATUS_SENT}
	row.ClientTime, row.Random = draw()
	if row.Sender == "" || row.Sender == b.c.cfg.UserID {
		row.Sender, row.SenderTiny = b.c.cfg.UserID, b.c.TinyID()
	}
	if imported {
		row.Status = im.MessageStatus_MESSAGE_STATUS_IMPORTED
		m.ServerTime = cmp.Or(m.ServerTime, m.ClientTime)
		if m.ServerTime != 0 {
			row.Time, row.Sub = int64(m.ServerTime)*1000, time.Unix(int64(m.ServerTime), 0).UnixNano()
			var err error
			if row.Pos, err = b.DB.Before(&cv.ConvRow, row.Time+999); err != nil {
				return nil, err
			}
		}
		if m.ClientTime != 0 {
			row.ClientTime = m.ClientTime
		}
		if m.Rand != 0 && m.Rand < 1<<32 {
			row.Random = uint32(m.Rand)
		}
	}
	// A place of its own among the local rows, behind those of the same second.
	last, err := b.DB.LastIn(&cv.ConvRow, row.Pos, row.Sub, time.Second)
	if err != nil {
		return nil, err
	}
	if last != nil {
		row.Sub = last.Sub + 1
	}
	m.Sender, m.ClientTime, m.ServerTime, m.Rand = "", 0, 0, 0
	row.Body, err = m.MarshalVT()
	return row, err
}
