package main

import (
	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

func setDraft(c *call) int {
	d := &im.Draft{}
	if err := c.parse(d); err != nil {
		return c.unreadable(err)
	}
	return c.draft(d)
}

// draft keeps a draft, or removes it, and waits until that is done: its result is all that the program gets. It is the only function that waits for
// the client, which waits at most for its own disk: the local database belongs to it while it is open.
func (c *call) draft(d *im.Draft) int {
	key := c.conv()
	if key.ID == "" && d == nil {
		return resultOK // there is nothing to remove
	}
	if key.Type != im.ConvType_CONV_TYPE_C2C && key.Type != im.ConvType_CONV_TYPE_GROUP {
		return c.refuse(resultParam, "conv_type is neither C2C nor group")
	}
	l := c.lib
	l.mu.RLock()
	var cl *client.Client
	if l.session != nil {
		cl = l.session.client
	}
	l.mu.RUnlock() // TIMUninit need not wait for it: the client returns when it ends
	var err error = &im.Error{Code: im.CodeNotLoggedIn}
	if cl != nil {
		err = cl.SetDraft(key, d)
	}
	if err == nil {
		return resultOK
	}
	switch code, desc := codeOf(err); {
	case code == im.CodeNotLoggedIn: // 0, as observed
		l.log.Warn(c.name + ": nobody is logged in, nothing is kept")
		return resultOK
	case code == im.CodeInterrupted:
		return c.refuse(resultNotReady, desc)
	default:
		return c.refuse(resultParam, desc)
	}
}

func createConv(c *call) int {
	l := c.lib
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.status() != client.LoggedIn {
		c.answer(nil, "")
		return resultOK
	}
	l.session.client.CreateConversationFunc(c.conv(), doneOne[*im.ConvInfo](c))
	return resultOK
}

func convInfo(c *call, cl *client.Client, params []*im.GetConvParam) {
	keys := make([]client.Conv, len(params))
	for i, p := range params {
		keys[i] = client.Conv{Type: p.Type, ID: p.Id}
	}
	cl.ConversationsByKeyFunc(keys, doneList[*im.ConvInfo](c))
}
