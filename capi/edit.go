package main

import (
	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

func init() {
	handlers[fnTIMMsgCancelSend] = cancelSend
	handlers[fnTIMMsgBatchSend] = batchSend
	handlers[fnTIMMsgDownloadMergerMessage] = mergedMessages
	handlers[fnTIMMsgSetLocalCustomData] = withMessage(func(c *call, cl *client.Client, m *im.Message) { cl.SetLocalCustomDataFunc(m, c.done()) })
	handlers[fnTIMMsgSetC2CReceiveMessageOpt] = setRecvOpt
	handlers[fnTIMMsgGetC2CReceiveMessageOpt] = recvOpts
	handlers[fnTIMMsgSetGroupReceiveMessageOpt] = func(c *call) int {
		return c.with(func(cl *client.Client) { c.recvOpt(cl, []client.Conv{client.Group(c.text[0])}) })
	}
	handlers[fnTIMMsgModifyMessage] = withMessage(func(c *call, cl *client.Client, m *im.Message) {
		cl.ModifyMessageFunc(client.Conv{Type: m.ConvType, ID: m.ConvId}, m, c.sent())
	})
	handlers[fnTIMMsgDelete] = deleteMessage
	handlers[fnTIMMsgListDelete] = withMessages(func(c *call, cl *client.Client, ms []*im.Message) { cl.DeleteMessagesFunc(c.conv(), ms, c.done()) })
	handlers[fnTIMMsgClearHistoryMessage] = func(c *call) int {
		return c.with(func(cl *client.Client) { cl.ClearHistoryFunc(c.conv(), c.done()) })
	}
	handlers[fnTIMMsgSaveMsg] = saveMessage
	handlers[fnTIMMsgImportMsgList] = withMessages(func(c *call, cl *client.Client, ms []*im.Message) { cl.ImportMessagesFunc(c.conv(), ms, c.done()) })
	handlers[fnTIMMsgFindMessages] = findMessages
	handlers[fnTIMMsgFindByMsgLocatorList] = findByLocators
	handlers[fnTIMMsgSearchLocalMessages] = search
}

// withMessage is the handler of a function whose JSON is a message.
func withMessage(f func(*call, *client.Client, *im.Message)) func(*call) int {
	return func(c *call) int {
		m := &im.Message{}
		if err := c.parse(m); err != nil {
			return c.unreadable(err)
		}
		return c.with(func(cl *client.Client) { f(c, cl, m) })
	}
}

// withMessages is the handler of a function whose JSON is a list of messages.
func withMessages(f func(*call, *client.Client, []*im.Message)) func(*call) int {
	return func(c *call) int {
		ms, err := im.ListFromJSON[im.Message](c.text[c.jsonAt])
		if err != nil {
			return c.unreadable(err)
		}
		return c.with(func(cl *client.Client) { f(c, cl, ms) })
	}
}

func cancelSend(c *call) int {
	l := c.lib
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err := c.needs(true); err != nil {
		json := ""
		if l.session == nil { // a message of which nothing is known, as observed
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

func batchSend(c *call) int {
	p := &im.BatchSendParam{}
	if err := c.parse(p); err != nil {
		return c.unreadable(err)
	}
	return c.with(func(cl *client.Client) {
		if err := media(p.Msg); err != nil {
			c.answer(err, "")
			return
		}
		cl.BatchSendFunc(p.IdentifierArray, p.Msg, doneList[*im.BatchSendResult](c))
	})
}

func mergedMessages(c *call) int {
	m := &im.Message{}
	if err := c.parse(m); err != nil {
		return c.unreadable(err)
	}
	return c.with(func(cl *client.Client) {
		ms, err := cl.MergedMessages(m)
		json := ""
		if err == nil {
			json = im.ListToJSON(ms)
		}
		c.answer(err, json)
	})
}

// names reads the JSON parameter as a list of texts, none of which is empty.
func (c *call) names() ([]string, *im.Error) {
	list, err := im.StringsFromJSON(c.text[c.jsonAt])
	if err != nil {
		return nil, &im.Error{Code: im.CodeInvalidJSON, Desc: err.Error()}
	}
	for _, s := range list {
		if s == "" {
			return nil, &im.Error{Code: im.CodeInvalidParameters, Desc: "an element of the list is empty"}
		}
	}
	return list, nil
}

func setRecvOpt(c *call) int {
	return c.with(func(cl *client.Client) {
		users, err := c.names()
		if err != nil {
			c.answer(err, "")
			return
		}
		keys := make([]client.Conv, len(users))
		for i, u := range users {
			keys[i] = client.C2C(u)
		}
		c.recvOpt(cl, keys)
	})
}

func (c *call) recvOpt(cl *client.Client, keys []client.Conv) {
	cl.SetRecvOptFunc(keys, int32(c.num(0)), c.done())
}

func recvOpts(c *call) int {
	return c.with(func(cl *client.Client) {
		users, err := c.names()
		if err != nil {
			c.answer(err, "")
			return
		}
		cl.RecvOptsFunc(users, doneList[*im.C2CRecvOptResult](c))
	})
}

func deleteMessage(c *call) int {
	p := &im.MsgDeleteParam{}
	if err := c.parse(p); err != nil {
		return c.unreadable(err)
	}
	return c.with(func(cl *client.Client) {
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
	})
}

// localClear deletes the messages of a conversation on this device alone, a page at a time: newest first.
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

// then goes on, unless the client has ended meanwhile: it would answer nothing more.
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

func saveMessage(c *call) int {
	m := &im.Message{}
	if err := c.parse(m); err != nil {
		return c.unreadable(err)
	}
	if len(m.ElemArray) == 0 {
		return c.refuse(resultJSON, "message_elem_array is missing or empty")
	}
	return c.with(func(cl *client.Client) {
		done := c.done()
		cl.SaveMessageFunc(c.conv(), m, func(_ *im.Message, err error) { done(err) })
	})
}

func findMessages(c *call) int {
	return c.with(func(cl *client.Client) {
		ids, err := im.StringsFromJSON(c.text[0])
		if err != nil {
			c.answer(&im.Error{Code: im.CodeInvalidJSON, Desc: err.Error()}, "")
			return
		}
		cl.FindMessagesFunc(ids, doneList[*im.Message](c))
	})
}

func findByLocators(c *call) int {
	locators, err := im.ListFromJSON[im.MsgLocator](c.text[1])
	if err != nil {
		return c.unreadable(err)
	}
	return c.with(func(cl *client.Client) { cl.FindByLocatorsFunc(c.conv(), locators, doneList[*im.Message](c)) })
}

func search(c *call) int {
	p := &im.SearchParam{}
	if err := c.parse(p); err != nil {
		return c.unreadable(err)
	}
	return c.with(func(cl *client.Client) {
		var found *im.SearchResult
		var err error
		run := c.on(&err, func(cb, ud uintptr) {
			json := ""
			if err == nil {
				json = im.ToJSON(found)
			}
			c.fire(cb, ud, err, json)
		})
		cl.SearchFunc(p, func(r *im.SearchResult, e error) { found, err = r, e; run() })
	})
}
