package client

import (
	"cmp"
	"sync"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/link"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// SaveMessage puts a message into the local history without sending it, at the end of the conversation. The sender is m's, or this user.
//
//tidings:call
func (c *Client) saveMessage(to caller[*im.Message], key Conv, m *im.Message) {
	c.keep(engine.Map(to, func(ms []*im.Message) *im.Message { return ms[0] }), key, []*im.Message{m}, false)
}

// ImportMessages puts messages of elsewhere into the local history, with their own times and senders, among those that are here by time.
//
//tidings:call
func (c *Client) importMessages(to caller[none], key Conv, ms []*im.Message) {
	c.keep(engine.Map(to, func([]*im.Message) none { return none{} }), key, ms, true)
}

// mostSeconds is the latest time that can be counted in nanoseconds, and some years less.
const mostSeconds = 1 << 33

func (c *Client) keep(to caller[[]*im.Message], key Conv, ms []*im.Message, imported bool) {
	var owned []*im.Message
	for _, m := range ms {
		own, err := ownCopy(key, m, im.CheckForm)
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

// keptRow is the row of a message that stands in no log.
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

// mostReceivers is how many users a batch may name.
const mostReceivers = 500

// BatchSend sends a message to many users, to each as a message of its own, and answers one result for each, in their order.
//
//tidings:call
func (c *Client) batchSend(to caller[[]*im.BatchSendResult], users []string, m *im.Message) {
	_, err := ownCopy(C2C("x"), m, im.CheckMessage)
	switch {
	case err == nil && len(users) == 0:
		err = &im.Error{Code: im.CodeInvalidParameters, Desc: "identifier_array is empty"}
	case len(users) > mostReceivers:
		err = im.Errorf(im.CodeTooManyReceivers, "identifier_array names %d users, more than %d", len(users), mostReceivers)
	case err == nil && c.Status() != LoggedIn:
		err = notLoggedIn
	}
	if err != nil {
		engine.Refuse(c.e, to, err)
		return
	}
	results := make([]*im.BatchSendResult, len(users))
	open := len(users)
	var mu sync.Mutex
	for i, u := range users {
		c.sendMessage(engine.Within("SendMessage", func(sent *im.Message, err error) {
			r := &im.BatchSendResult{Identifier: u, Msg: sent}
			if err != nil {
				e := link.ErrorOf(err)
				r.Code, r.Desc = e.Code, e.Desc
			}
			mu.Lock()
			results[i] = r
			open--
			last := open == 0
			mu.Unlock()
			if last {
				engine.Answer(c.e, to, results)
			}
		}), C2C(u), m)
	}
}

// CancelSend takes back a message whose call has not been answered and that no connection carries: its call then ends with 8021 and status 7. A message
// that is on its way or was sent is too late: 8020.
//
//tidings:call
func (c *Client) cancelSend(to caller[*im.Message], key Conv, msgID string) {
	engine.Do(c.e, to, func(finish func(*im.Message, error)) {
		_, clientTime, random, ok := parseMessageID(msgID)
		cv := c.convs.byKey[key]
		if ok && cv != nil && c.e.Conn == nil {
			k := sendKey{cv.ID, clientTime, random}
			if o := c.convs.sends[k]; o != nil {
				delete(c.convs.sends, k)
				c.e.Withdraw(o.call) // the next connection does not send it either
				c.convs.failSend(o, &im.Error{Code: im.CodeSendCancelled, Desc: "the message was cancelled"})
				finish(o.m, nil)
				return
			}
		}
		finish(nil, &im.Error{Code: im.CodeSendTooLate, Desc: "the message cannot be cancelled any more"})
	})
}

// MergedMessages answers the messages that a merged message holds.
func (c *Client) MergedMessages(m *im.Message) ([]*im.Message, error) {
	if m == nil || len(m.ElemArray) == 0 || m.ElemArray[0].GetMerger() == nil {
		return nil, &im.Error{Code: im.CodeInvalidParameters, Desc: "message_elem_array holds no merged messages"}
	}
	e := m.ElemArray[0].GetMerger()
	if e.LayerOverLimit || layers(m) > im.MaxLayers {
		return nil, &im.Error{Code: im.CodeMergerLayers, Desc: "merged messages are nested too deep"}
	}
	return e.MessageArray, nil
}

// layers is how deep merged messages are nested in m.
func layers(m *im.Message) int {
	deepest := 0
	for _, e := range m.GetElemArray() {
		g := e.GetMerger()
		if g == nil {
			continue
		}
		depth := 1
		for _, inner := range g.MessageArray {
			depth = max(depth, 1+layers(inner))
		}
		deepest = max(deepest, depth)
	}
	return deepest
}
