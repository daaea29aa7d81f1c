package client

import (
	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// FindMessages returns the messages with the given ids that are on the device, including recalled and deleted ones, in the requested order.
//
//tidings:call
func (c *Client) findMessages(to caller[[]*im.Message], ids []string) {
	c.lookUp(to, func() ([]*local.Message, error) {
		var rows []*local.Message
		for _, id := range ids {
			row, err := c.convs.find(&im.Message{MsgId: id})
			if err != nil {
				return nil, err
			}
			rows = append(rows, row)
		}
		return rows, nil
	})
}

// FindByLocators returns the messages of a conversation that the locators name and that are on the device, including recalled and deleted ones.
//
//tidings:call
func (c *Client) findByLocators(to caller[[]*im.Message], key Conv, locs []*im.MsgLocator) {
	c.lookUp(to, func() ([]*local.Message, error) {
		cv := c.convs.byKey[key]
		if cv == nil {
			return nil, nil
		}
		var found []*local.Message
		for _, l := range locs {
			if l == nil {
				continue
			}
			r, err := c.e.DB.At(&cv.ConvRow, l.Seq)
			if err != nil {
				return nil, err
			}
			if r != nil && uint64(r.Random) == l.Rand && uint64(r.Time/1000) == l.Time && (r.Sender == c.cfg.UserID) == l.IsSelf {
				found = append(found, r)
			}
		}
		return found, nil
	})
}

// lookUp is a local read that returns messages; nil rows are left out.
func (c *Client) lookUp(to caller[[]*im.Message], read func() ([]*local.Message, error)) {
	doReading(c, to, func(finish func([]*im.Message, error)) {
		rows, err := read()
		if !c.e.Check(err) {
			finish(nil, engine.Failed)
			return
		}
		var out []*im.Message
		for _, r := range rows {
			if r == nil || c.convs.byID[r.Conv] == nil {
				continue
			}
			if m, err := c.convs.view(c.convs.byID[r.Conv], r); err == nil {
				out = append(out, m)
			}
		}
		finish(out, nil)
	})
}

// find looks a message up by what an application may know of it: its id, or sequence, random and time. nil if it is not on the device.
func (b *conversations) find(m *im.Message) (*local.Message, error) {
	if m == nil {
		return nil, nil
	}
	if tiny, clientTime, random, ok := parseMessageID(m.MsgId); ok {
		rows, err := b.DB.Drawn(clientTime, random)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if r.SenderTiny == tiny {
				return r, nil
			}
		}
		return nil, nil
	}
	cv := b.byKey[Conv{m.ConvType, m.ConvId}]
	if cv == nil || m.Seq == 0 {
		return nil, nil
	}
	return b.DB.At(&cv.ConvRow, m.Seq)
}
