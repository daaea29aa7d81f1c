package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

func sendMessage(c *call) int {
	m, err := c.message()
	if err != nil {
		return c.unreadable(err)
	}
	c.lib.mu.RLock()
	defer c.lib.mu.RUnlock()
	id := c.send(m, c.sent())
	c.fill(id)
	return resultOK
}

// sendMessageEx has two callbacks: first the id, then the outcome.
func sendMessageEx(c *call) int {
	m, err := c.message()
	if err != nil {
		return c.unreadable(err)
	}
	c.lib.mu.RLock()
	defer c.lib.mu.RUnlock()
	known := make(chan string, 1)
	if first, ud := c.cb(), c.ud(); first != 0 {
		conv := c.conv()
		c.lib.threads.current(c.lib).post(c.name, func() {
			callComm(first, 0, "ok", im.ToJSON(&im.SentMessageId{ConvId: conv.ID, ConvType: conv.Type, MsgId: <-known}), ud)
		})
	}
	c.args.cb[0] = c.args.cb[1]
	id := ""
	defer func() { known <- id }() // also after a panic: the callback's thread waits for it
	id = c.send(m, c.sent())
	return resultOK
}

// sent is the completion of a send: the callback gets the message, also when it failed.
func (c *call) sent() func(*im.Message, error) {
	var m *im.Message
	var err error
	run := c.on(&err, func(cb, ud uintptr) {
		json := ""
		if m != nil {
			json = im.ToJSON(m)
		}
		c.fire(cb, ud, err, json)
	})
	return func(v *im.Message, e error) { m, err = v, e; run() }
}

// send sends m, or fails it if nobody is logged in, and returns its id; l.mu must be held.
func (c *call) send(m *im.Message, done func(*im.Message, error)) string {
	if err := c.needs(true); err != nil {
		unsent(m, c.conv())
		json := im.ToJSON(m)
		c.answer(err, json)
		return m.MsgId
	}
	id, _ := c.lib.session.client.SendMessageFunc(c.conv(), m, done) // done gets the error
	return id
}

// unsent fills in a message that no client accepted, as the reference library does.
func unsent(m *im.Message, conv client.Conv) {
	m.ConvId, m.ConvType = conv.ID, conv.Type
	m.ClientTime, m.Rand = uint64(time.Now().Unix()), uint64(rand.Uint32N(1<<31-1)+1)
	m.MsgId = fmt.Sprintf("-%d-%d", m.ClientTime, m.Rand)
	m.UniqueId = m.ClientTime<<32 + m.Rand
	blank(m)
}

// blank sets the fields of a message that is unknown to the server.
func blank(m *im.Message) {
	m.Status = im.MessageStatus_MESSAGE_STATUS_SENT
	m.IsFromSelf, m.IsRead = true, true
	m.Sender, m.SenderProfile, m.SenderGroupMemberInfo = "", nil, nil
	if m.ConvType == im.ConvType_CONV_TYPE_GROUP {
		m.SenderGroupMemberInfo = &im.GroupMemberInfo{}
	}
	m.Seq, m.ServerTime, m.IsPeerRead, m.Version = 0, 0, false, 0
}
