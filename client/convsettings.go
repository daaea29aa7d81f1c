package client

import (
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// changeRow makes the ROW call and applies the reply after done.
func (b *conversations) changeRow(cv *conv, req *im.RowRequest, finish func(none, error)) {
	req.Conv, req.Epoch = cv.key().wire(), cv.Epoch
	engine.Ask(b.Engine, im.Method_ROW, req, true, b.c.cfg.Limits.Call, func(reply *im.RowReply, err *im.Error) {
		finish(none{}, orNil(err))
		switch {
		case reply.Head != nil:
			b.applyHead(reply.Head)
		case err != nil && err.Code == im.CodeResync:
			b.refresh(cv)
		}
	})
}

// PinConversation puts a conversation before the others, on all of the user's devices, or back.
//
//tidings:call
func (c *Client) pinConversation(to caller[none], key Conv, pinned bool) {
	doSynced(c, to, func(finish func(none, error)) {
		if err := c.session.online(); err != nil {
			finish(none{}, err)
			return
		}
		cv := c.convs.byKey[key]
		if cv == nil || c.convs.info(cv) == nil {
			finish(none{}, im.Errorf(im.CodeInvalidParameters, "conv_id %q is not in the list", key.ID))
			return
		}
		c.convs.changeRow(cv, &im.RowRequest{Pinned: &pinned}, finish)
	})
}

// DeleteConversation removes a conversation from the list of all devices, with its messages, here and on the server. The next message brings it back.
//
//tidings:call
func (c *Client) deleteConversation(to caller[none], key Conv) { c.clearConv(to, key, true) }

// ClearHistory deletes the messages of a conversation, here and on the server for this user, and keeps the conversation.
//
//tidings:call
func (c *Client) clearHistory(to caller[none], key Conv) { c.clearConv(to, key, false) }

func (c *Client) clearConv(to caller[none], key Conv, hide bool) {
	engine.DoHere(c.e, to, synced(c, func(finish func(none, error)) {
		if err := c.session.online(); err != nil {
			finish(none{}, err)
			return
		}
		cv := c.convs.byKey[key]
		if cv == nil {
			finish(none{}, nil)
			return
		}
		upTo, era := cv.SyncedTo, cv.Era // what had been applied: a message under way stays (rule 6)
		here := func() {
			c.convs.deleted(cv, c.e.DB.DeleteBefore(&cv.ConvRow, era, upTo, c.convs.failedSince()))
			if hide {
				cv.Listed, cv.Draft = false, nil
			} else {
				cv.Listed = true
			}
			cv.dirty = true
			c.convs.changed[cv] = true
		}
		if cv.Epoch == 0 || cv.headSeq == 0 { // the server knows nothing of it
			here()
			finish(none{}, nil)
			return
		}
		c.convs.changeRow(cv, &im.RowRequest{ClearedSeq: &upTo, Hide: hide}, func(_ none, err error) {
			if code := im.CodeOf(err); cv.over() && (code == im.CodeResync || code == im.CodeNoGroup || code == im.CodeNotMember) {
				err = nil // the server has nothing of it any more
			}
			finish(none{}, err)
			if err == nil && c.e.DB != nil {
				here()
			}
		})
	}))
}

// clearTo deletes what is at or below the number up to which the owner has cleared, on any device.
func (b *conversations) clearTo(cv *conv, seq uint64) {
	if seq <= cv.Cleared {
		return
	}
	cv.Cleared = seq
	b.deleted(cv, b.DB.DeleteUpTo(&cv.ConvRow, seq, b.failedSince()))
}

// failedKept is how long the key of a message outlives its row if its send failed: it may be in the log nevertheless, and is no news then.
const failedKept = 24 * time.Hour

func (b *conversations) failedSince() time.Time { return b.c.session.serverNow().Add(-failedKept) }

// deleted handles a deletion of messages.
func (b *conversations) deleted(cv *conv, err error) {
	b.Check(err)
	b.changed[cv] = true
}

// mostRecvOpts is how many users one call may name.
const mostRecvOpts = 30

// SetRecvOpt sets how messages of users are received: 0 normal, 1 not at all, 2 without push, 3 and 4 the same except for mentions.
//
//tidings:call
func (c *Client) setRecvOpt(to caller[none], convs []Conv, opt int32) {
	doSynced(c, to, func(finish func(none, error)) {
		switch {
		case len(convs) == 0 || len(convs) > mostRecvOpts:
			finish(none{}, im.Errorf(im.CodeInvalidParameters, "identifier_array names %d users; 1 to %d can be", len(convs), mostRecvOpts))
			return
		case opt < 0 || opt > 4:
			finish(none{}, im.Errorf(im.CodeInvalidParameters, "opt %d is none of 0 to 4", opt))
			return
		}
		if err := c.session.online(); err != nil {
			finish(none{}, err)
			return
		}
		open := len(convs)
		var failed error
		for _, key := range convs {
			c.convs.changeRow(c.convs.convOf(key), &im.RowRequest{RecvOpt: &opt}, func(_ none, err error) {
				if err != nil {
					failed = err
				}
				if open--; open == 0 {
					finish(none{}, failed)
				}
			})
		}
	})
}

// RecvOpts returns the receive options of users, as this device knows them.
//
//tidings:call
func (c *Client) recvOpts(to caller[[]*im.C2CRecvOptResult], users []string) {
	doReading(c, to, func(finish func([]*im.C2CRecvOptResult, error)) {
		var out []*im.C2CRecvOptResult
		for _, u := range users {
			r := &im.C2CRecvOptResult{Identifier: u}
			if cv := c.convs.byKey[C2C(u)]; cv != nil {
				r.Opt = cv.RecvOpt
			}
			out = append(out, r)
		}
		finish(out, nil)
	})
}
