package main

import (
	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

func cancelSend(c *call) int {
	l := c.lib
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err := c.needs(true); err != nil {
		json := ""
		if l.session == nil { // a message that is unknown, as observed
			m := &im.Message{}
			blank(m)
			m.MsgId = "-0-0"
			json = im.ToJSON(m)
		}
		c.answer(err, json)
		return resultOK
	}
	l.session.client.CancelSendFunc(c.conv(), c.text[1], c.sent())
	return resultOK
}

func batchSend(c *call, cl *client.Client, p *im.BatchSendParam) {
	cl.BatchSendFunc(p.IdentifierArray, p.Msg, doneList[*im.BatchSendResult](c))
}

func mergedMessages(c *call, cl *client.Client, m *im.Message) {
	ms, err := cl.MergedMessages(m)
	json := ""
	if err == nil {
		json = im.ListToJSON(ms)
	}
	c.answer(err, json)
}

// c2c returns the conversations with users.
func c2c(users []string) []client.Conv {
	keys := make([]client.Conv, len(users))
	for i, u := range users {
		keys[i] = client.C2C(u)
	}
	return keys
}

func deleteMessage(c *call, cl *client.Client, p *im.MsgDeleteParam) {
	switch {
	case p.Msg == nil && p.IsRamble:
		cl.ClearHistoryFunc(c.conv(), c.done())
	case p.Msg == nil:
		d := &localClear{c: c, cl: cl, key: c.conv(), t: c.lib.threads.current(c.lib), cb: c.cb(), ud: c.ud()}
		c.later = true
		d.next(nil)
	case p.IsRamble:
		cl.DeleteMessagesFunc(c.conv(), []*im.Message{p.Msg}, c.done())
	default:
		cl.DeleteLocalMessagesFunc(c.conv(), []*im.Message{p.Msg}, c.done())
	}
}

// localClear deletes the messages of a conversation on this device only, a page at a time: newest first.
type localClear struct {
	c      *call
	cl     *client.Client
	key    client.Conv
	t      *thread
	cb, ud uintptr
}

// localPage is how many messages are deleted at a time.
const localPage = 50

// next lists the page beyond last, from the newest if it is nil; l.mu must be held.
func (d *localClear) next(last *im.Message) {
	local := false
	d.cl.MessagesFunc(d.key, &im.GetMsgListParam{LastMsg: last, Count: localPage, IsRamble: &local}, func(ms []*im.Message, err error) {
		var settled []*im.Message
		for _, m := range ms {
			if m.Status != im.MessageStatus_MESSAGE_STATUS_SENDING {
				settled = append(settled, m)
			}
		}
		switch {
		case err != nil || len(ms) == 0:
			d.end(err)
		case len(settled) == 0:
			d.then(func() { d.next(ms[len(ms)-1]) })
		default:
			d.then(func() {
				d.cl.DeleteLocalMessagesFunc(d.key, settled, func(err error) {
					if err != nil {
						d.end(err)
						return
					}
					d.then(func() { d.next(ms[len(ms)-1]) })
				})
			})
		}
	})
}

// then continues, unless the client has ended in the meantime: it would not call back any more.
func (d *localClear) then(f func()) {
	l := d.c.lib
	l.mu.RLock()
	alive := l.session != nil && l.session.client == d.cl
	if alive {
		f()
	}
	l.mu.RUnlock()
	if !alive {
		d.end(&im.Error{Code: im.CodeInterrupted, Desc: "the client was closed"})
	}
}

func (d *localClear) end(err error) {
	d.c.answered(err)
	if d.cb != 0 {
		d.t.fire(d.c.name, func() { d.c.fire(d.cb, d.ud, err, "") })
	}
}
