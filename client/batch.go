package client

import (
	"sync"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/link"
	"github.com/tidings-im/tidings/im"
)

// mostReceivers is how many users a batch may name.
const mostReceivers = 500

// BatchSend sends a message to many users, to each as a separate message, and returns one result per user, in their order. Its files are uploaded once, and
// UploadProgress passes the message to the first user.
//
//tidings:call
func (c *Client) batchSend(to caller[[]*im.BatchSendResult], users []string, m *im.Message) {
	own, up, err := c.sendCopy(C2C("x"), m)
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
	if up != nil {
		up.batch, up.more = true, true
		defer c.e.Post(func() { // behind all sends of it: those that have not come do not
			up.more = false
			up.drop()
		})
	}
	results := make([]*im.BatchSendResult, len(users))
	open := len(users)
	var mu sync.Mutex
	for i, u := range users {
		each := engine.Within("SendMessage", func(sent *im.Message, err error) {
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
		})
		if im.ValidUserID(u) {
			c.send(each, C2C(u), clone(own), up)
		} else {
			c.sendMessage(each, C2C(u), m) // which refuses it
		}
	}
}

// CancelSend takes back a message whose call has not been answered and that is not on a connection, or whose files are being uploaded: its call then ends with 8021
// and status 7, and nothing of the files stays at the server. For a message that is under way or was sent it is too late: 8020; also for one with files that was
// on a connection before, since the server may have it.
//
//tidings:call
func (c *Client) cancelSend(to caller[*im.Message], key Conv, msgID string) {
	engine.Do(c.e, to, func(finish func(*im.Message, error)) {
		_, clientTime, random, ok := parseMessageID(msgID)
		cancelled := &im.Error{Code: im.CodeSendCancelled, Desc: "the message was cancelled"}
		if w := c.convs.uploads[uploadKey{key, clientTime, random}]; ok && w != nil {
			w.cancel(cancelled)
			finish(w.m, nil)
			return
		}
		cv := c.convs.byKey[key]
		if ok && cv != nil && c.e.Conn == nil {
			k := sendKey{cv.ID, clientTime, random}
			if o := c.convs.sends[k]; o != nil && (o.up == nil || c.e.Unsent(o.call)) {
				delete(c.convs.sends, k)
				c.e.Withdraw(o.call) // the next connection does not send it either
				c.convs.failSend(o, cancelled)
				if o.up != nil && !o.up.batch {
					o.up.used = false
					o.up.drop()
				}
				finish(o.m, nil)
				return
			}
		}
		finish(nil, &im.Error{Code: im.CodeSendTooLate, Desc: "the message cannot be cancelled any more"})
	})
}
