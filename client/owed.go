package client

import (
	"encoding/binary"

	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// owedEvent is an event that is told one for one with what happened: its row stands in owed from the commit that brought it until it was told (rule 17). Rows are
// written in the order of the callbacks. api/events.tsv says which events these are, and how their rows are; the generator writes the types of those whose rows
// have the arguments.
type owedEvent interface {
	kind() int
	// payload is what stands in the row, and read takes it from there.
	payload() ([]byte, error)
	read(payload []byte) error
	tell(*Events)
}

// owedRows is an owed event of one or several messages. Its row has the ids of theirs, and they are told as they are when they are told.
type owedRows struct {
	of       int // the kind
	ids      []int64
	messages []*im.Message
}

func (o *owedRows) kind() int { return o.of }

func (o *owedRows) payload() ([]byte, error) {
	b := make([]byte, 0, 8*len(o.ids))
	for _, id := range o.ids {
		b = binary.AppendVarint(b, id)
	}
	return b, nil
}

func (o *owedRows) read(b []byte) error {
	for len(b) > 0 {
		id, n := binary.Varint(b)
		if n <= 0 {
			break // what is before it can be told
		}
		o.ids = append(o.ids, id)
		b = b[n:]
	}
	return nil
}

func (o *owedRows) tell(ev *Events) {
	if len(o.messages) > 0 { // all may have been deleted meanwhile
		ev.tellRows(o.of, o.messages)
	}
}

// mostTold bounds a callback of several messages, in bytes of JSON.
const mostTold = 2 << 20

// owe adds an event to the batch's; its row comes with the commit.
func (c *Client) owe(ev owedEvent) { c.out = append(c.out, output{event: ev}) }

// tellMessage adds a message to the batch's events; neighbours of one kind share a callback.
func (c *Client) tellMessage(kind int, id int64, m *im.Message) {
	size := im.JSONSize(m)
	if n := len(c.out); n > 0 {
		o := &c.out[n-1]
		if ev, ok := o.event.(*owedRows); ok && ev.of == kind && len(ev.ids) < eventsAtOnce && o.size+size <= mostTold {
			o.size += size
			ev.ids = append(ev.ids, id)
			ev.messages = append(ev.messages, m)
			return
		}
	}
	c.out = append(c.out, output{event: &owedRows{kind, []int64{id}, []*im.Message{m}}, size: size})
}

// oweEvents writes the rows of the batch's events, just before the commit.
func (c *Client) oweEvents() {
	for i := range c.out {
		ev := c.out[i].event
		if ev == nil {
			continue
		}
		payload, err := ev.payload()
		if !c.check(err) {
			return
		}
		id, err := c.db.Owe(ev.kind(), payload)
		if !c.check(err) {
			return
		}
		c.out[i].owed, c.out[i].event = id, nil
		c.out[i].run = func() { ev.tell(&c.ev) }
	}
}

// owedFrom is the event of a row; nil if there is no such kind, or it cannot be read.
func owedFrom(row local.Owed) owedEvent {
	ev := owedOf(row.Kind)
	if namesRows(row.Kind) {
		ev = &owedRows{of: row.Kind}
	}
	if ev == nil || ev.read(row.Payload) != nil {
		return nil
	}
	return ev
}

// fireOwed tells what an earlier run of the application may not have heard, before the first sync after the database was opened. What cannot be read is cleared
// with the others.
func (c *Client) fireOwed() {
	if c.owedDone {
		return
	}
	c.owedDone = true
	owed, err := c.db.Owed()
	if !c.check(err) {
		return
	}
	for _, o := range owed {
		ev := owedFrom(o)
		if rows, ok := ev.(*owedRows); ok && !c.viewRows(rows) {
			return
		}
		c.out = append(c.out, output{owed: o.ID, run: func() {
			if ev != nil {
				ev.tell(&c.ev)
			}
		}})
	}
}

// viewRows reads the messages that an owed event names, as far as they are still here. It reports false if the database failed.
func (c *Client) viewRows(ev *owedRows) bool {
	for _, id := range ev.ids {
		row, err := c.db.ByID(id)
		if !c.check(err) {
			return false
		}
		if row != nil && c.byID[row.Conv] != nil && row.Status != im.MessageStatus_MESSAGE_STATUS_DELETED {
			if m, err := c.view(c.byID[row.Conv], row); err == nil {
				ev.messages = append(ev.messages, m)
			}
		}
	}
	return true
}
