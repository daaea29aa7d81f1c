package main

import (
	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

func init() {
	handlers[fnTIMConvCreate] = createConv
	handlers[fnTIMConvGetConvList] = convList
	handlers[fnTIMConvGetConvInfo] = convInfo
	handlers[fnTIMConvGetTotalUnreadMessageCount] = totalUnread
}

func createConv(c *call) int {
	l := c.lib
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.status() != client.LoggedIn {
		c.answer(nil, "")
		return resultOK
	}
	var info *im.ConvInfo
	var err error
	run := c.on(func(cb, ud uintptr) {
		json := ""
		if err == nil {
			json = im.ToJSON(info)
		}
		c.fire(cb, ud, err, json)
	})
	l.session.client.CreateConversationFunc(c.conv(), func(i *im.ConvInfo, e error) { info, err = i, e; run() })
	return resultOK
}

func convList(c *call) int {
	l := c.lib
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err := c.needs(false); err != nil {
		c.answer(err, "")
		return resultOK
	}
	l.session.client.ConversationsFunc(doneList[*im.ConvInfo](c))
	return resultOK
}

func convInfo(c *call) int {
	l := c.lib
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err := c.needs(false); err != nil {
		c.answer(err, "")
		return resultOK
	}
	params, err := im.ListFromJSON[im.GetConvParam](c.text[0])
	if err != nil {
		c.answer(&im.Error{Code: im.CodeInvalidJSON, Desc: err.Error()}, "")
		return resultOK
	}
	keys := make([]client.Conv, len(params))
	for i, p := range params {
		keys[i] = client.Conv{Type: p.Type, ID: p.Id}
	}
	l.session.client.ConversationsByKeyFunc(keys, doneList[*im.ConvInfo](c))
	return resultOK
}

func totalUnread(c *call) int {
	l := c.lib
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err := c.needs(false); err != nil {
		c.answer(err, "")
		return resultOK
	}
	var n int
	var err error
	run := c.on(func(cb, ud uintptr) {
		json := ""
		if err == nil {
			json = im.ToJSON(&im.TotalUnread{Count: int32(n)})
		}
		c.fire(cb, ud, err, json)
	})
	l.session.client.TotalUnreadFunc(func(v int, e error) { n, err = v, e; run() })
	return resultOK
}
