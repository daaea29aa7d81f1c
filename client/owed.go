package client

import (
	"encoding/binary"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// owedEvent is an event that fires one for one with what happened: its row is in owed from the commit that caused it until it has fired (rule 17).
// Rows are written in the order of the callbacks. api/events.tsv lists these events, and the form of their rows; the generator writes the types of
// those whose rows have the arguments.
type owedEvent interface {
	kind() int
	// payload is the content of the row, and read reads it.
	payload() ([]byte, error)
	read(payload []byte) error
	tell(*Events)
}

// owedRows is an owed event of one or several messages. Its row has their ids, and the messages are passed with their content at the time of the
// callback.
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
			break // everything before it can fire
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

// eventsAtOnce and mostTold limit a callback with several messages: how many, and how many bytes of JSON.
const (
	eventsAtOnce = 100
	mostTold     = 2 << 20
)

// owe adds an event to the batch's; its row comes with the commit.
func (c *Client) owe(ev owedEvent, size int) {
	c.e.Owe(&engine.Owed{Kind: ev.kind(), Payload: ev.payload, Run: func() { ev.tell(&c.ev) }, Size: size, Event: ev})
}

// tellMessage adds a message to the batch's events; neighbours of one kind share a callback.
func (b *conversations) tellMessage(kind int, id int64, m *im.Message) {
	size := im.JSONSize(m)
	if o := b.LastOwed(); o != nil {
		if ev, ok := o.Event.(*owedRows); ok && ev.of == kind && len(ev.ids) < eventsAtOnce && o.Size+size <= mostTold {
			o.Size += size
			ev.ids = append(ev.ids, id)
			ev.messages = append(ev.messages, m)
			return
		}
	}
	b.c.owe(&owedRows{kind, []int64{id}, []*im.Message{m}}, size)
}

// owedFrom returns the event of a row; nil if there is no such kind, or it cannot be read.
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

// again makes the callback for what may not have fired in an earlier run of the application; nil if it cannot be read.
func (c *Client) again(o local.Owed) func() {
	ev := owedFrom(o)
	if rows, ok := ev.(*owedRows); ev == nil || ok && !c.convs.viewRows(rows) {
		return nil
	}
	return func() { ev.tell(&c.ev) }
}

// viewRows reads the messages that an owed event names, as far as they still exist. It reports false if the database failed.
func (b *conversations) viewRows(ev *owedRows) bool {
	for _, id := range ev.ids {
		row, err := b.DB.ByID(id)
		if local.IsUnreadable(err) {
			b.c.log.Warn("a message on this device cannot be read: its event does not have it", "row", id, "error", err)
			continue
		}
		if !b.Check(err) {
			return false
		}
		if row != nil && b.byID[row.Conv] != nil && row.Status != im.MessageStatus_MESSAGE_STATUS_DELETED {
			if m, err := b.view(b.byID[row.Conv], row); err == nil {
				ev.messages = append(ev.messages, m)
			}
		}
	}
	return true
}
