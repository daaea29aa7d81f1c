package client

import (
	"cmp"
	"context"
	"time"

	"github.com/tidings-im/tidings/im"
)

// changeRow makes the ROW call and applies the answer after done.
func (c *Client) changeRow(cv *conv, req *im.RowRequest, finish func(none, error)) {
	req.Conv, req.Epoch = cv.key.wire(), cv.epoch
	c.request(im.Method_ROW, req, true, c.cfg.Limits.Call, func(body []byte, err *im.Error) {
		reply := &im.RowReply{}
		if err == nil && im.Decode(body, reply) != nil {
			err = &im.Error{Code: im.CodePacket, Desc: "unreadable answer"}
		}
		finish(none{}, orNil(err))
		switch {
		case reply.Head != nil:
			c.applyHead(reply.Head)
		case err != nil && err.Code == im.CodeResync:
			c.refresh(cv)
		}
	})
}

// PinConversation puts a conversation before the others, on all of the user's devices, or back.
func (c *Client) PinConversation(ctx context.Context, conv Conv, pinned bool) error {
	_, err := wait(ctx, func(direct bool, done func(none, error)) { c.pin(direct, conv, pinned, done) })
	return err
}

// PinConversationFunc is PinConversation without waiting.
func (c *Client) PinConversationFunc(conv Conv, pinned bool, done func(error)) {
	c.pin(false, conv, pinned, forget(done))
}

func (c *Client) pin(direct bool, key Conv, pinned bool, done func(none, error)) {
	doSynced(c, "PinConversation", direct, done, func(finish func(none, error)) {
		if err := c.online(); err != nil {
			finish(none{}, err)
			return
		}
		cv := c.convs[key]
		if cv == nil || c.info(cv) == nil {
			finish(none{}, im.Errorf(im.CodeInvalidParameters, "conv_id %q is not in the list", key.ID))
			return
		}
		c.changeRow(cv, &im.RowRequest{Pinned: &pinned}, finish)
	})
}

// DeleteConversation takes a conversation off the list of all devices, with its messages, here and on the server. The next message brings it back.
func (c *Client) DeleteConversation(ctx context.Context, conv Conv) error {
	_, err := wait(ctx, func(direct bool, done func(none, error)) { c.clearConv(direct, conv, true, done) })
	return err
}

// DeleteConversationFunc is DeleteConversation without waiting.
func (c *Client) DeleteConversationFunc(conv Conv, done func(error)) {
	c.clearConv(false, conv, true, forget(done))
}

// ClearHistory deletes the messages of a conversation, here and on the server for this user, and keeps the conversation.
func (c *Client) ClearHistory(ctx context.Context, conv Conv) error {
	_, err := wait(ctx, func(direct bool, done func(none, error)) { c.clearConv(direct, conv, false, done) })
	return err
}

// ClearHistoryFunc is ClearHistory without waiting.
func (c *Client) ClearHistoryFunc(conv Conv, done func(error)) {
	c.clearConv(false, conv, false, forget(done))
}

func (c *Client) clearConv(direct bool, key Conv, hide bool, done func(none, error)) {
	doHere(c, "ClearHistory", direct, done, synced(c, func(finish func(none, error)) {
		if err := c.online(); err != nil {
			finish(none{}, err)
			return
		}
		cv := c.convs[key]
		if cv == nil {
			finish(none{}, nil)
			return
		}
		upTo, era := cv.syncedTo, cv.era // what had been applied: a message on its way stays (rule 6)
		here := func() {
			c.deleteRows(cv, "status <> 1 AND (era < ? OR era = ? AND pos <= ?)", era, era, upTo)
			if hide {
				cv.listed, cv.draft = false, nil
			} else {
				cv.listed = true
			}
			cv.dirty = true
			c.changed[cv] = true
		}
		if cv.epoch == 0 || cv.headSeq == 0 { // the server knows nothing of it
			here()
			finish(none{}, nil)
			return
		}
		c.changeRow(cv, &im.RowRequest{ClearedSeq: &upTo, Hide: hide}, func(_ none, err error) {
			finish(none{}, err)
			if err == nil && c.db != nil {
				here()
			}
		})
	}))
}

// clearTo deletes what is at or below the number up to which the owner has cleared, on whatever device.
func (c *Client) clearTo(cv *conv, seq uint64) {
	if seq <= cv.cleared {
		return
	}
	cv.cleared = seq
	c.deleteRows(cv, "status <> 1 AND (era <> ? OR pos <= ?)", cv.era, seq)
}

// failedKept is for how long the key of a message outlives its row whose send failed: it may be in the log all the same, and is no news then.
const failedKept = 24 * time.Hour

// deleteRows deletes messages of a conversation for good. Of one that failed an empty row stays, and one that was deleted after it had failed stays as it is.
func (c *Client) deleteRows(cv *conv, where string, args ...any) {
	const failed = "here = 1 AND seq = 0 AND time > ? AND status "
	where = "conv = ? AND " + where + " AND "
	args = append(append([]any{cv.id}, args...), c.serverNow().Add(-failedKept).UnixMilli())
	_, err := c.db.write("UPDATE message SET status = 4, body = x'' WHERE "+where+failed+"= 3", args...)
	if err == nil {
		_, err = c.db.write("DELETE FROM message WHERE "+where+"NOT ("+failed+"= 4)", args...)
	}
	if c.check(err) {
		c.cutIndex()
	}
	c.changed[cv] = true
}

// mostRecvOpts is how many users one call may name.
const mostRecvOpts = 30

// SetRecvOpt says how messages of users are received: 0 normal, 1 not at all, 2 without push, 3 and 4 the same for all but mentions.
func (c *Client) SetRecvOpt(ctx context.Context, convs []Conv, opt int32) error {
	_, err := wait(ctx, func(direct bool, done func(none, error)) { c.setRecvOpt(direct, convs, opt, done) })
	return err
}

// SetRecvOptFunc is SetRecvOpt without waiting.
func (c *Client) SetRecvOptFunc(convs []Conv, opt int32, done func(error)) {
	c.setRecvOpt(false, convs, opt, forget(done))
}

func (c *Client) setRecvOpt(direct bool, keys []Conv, opt int32, done func(none, error)) {
	doSynced(c, "SetRecvOpt", direct, done, func(finish func(none, error)) {
		switch {
		case len(keys) == 0 || len(keys) > mostRecvOpts:
			finish(none{}, im.Errorf(im.CodeInvalidParameters, "identifier_array names %d users; 1 to %d can be", len(keys), mostRecvOpts))
			return
		case opt < 0 || opt > 4:
			finish(none{}, im.Errorf(im.CodeInvalidParameters, "opt %d is none of 0 to 4", opt))
			return
		}
		if err := c.online(); err != nil {
			finish(none{}, err)
			return
		}
		open := len(keys)
		var failed error
		for _, key := range keys {
			c.changeRow(c.convOf(key), &im.RowRequest{RecvOpt: &opt}, func(_ none, err error) {
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

// RecvOpts answers the receive options of users, as this device knows them.
func (c *Client) RecvOpts(ctx context.Context, users []string) ([]*im.C2CRecvOptResult, error) {
	return wait(ctx, func(direct bool, done func([]*im.C2CRecvOptResult, error)) { c.recvOpts(direct, users, done) })
}

// RecvOptsFunc is RecvOpts without waiting.
func (c *Client) RecvOptsFunc(users []string, done func([]*im.C2CRecvOptResult, error)) {
	c.recvOpts(false, users, done)
}

func (c *Client) recvOpts(direct bool, users []string, done func([]*im.C2CRecvOptResult, error)) {
	doReading(c, "RecvOpts", direct, done, func(finish func([]*im.C2CRecvOptResult, error)) {
		var out []*im.C2CRecvOptResult
		for _, u := range users {
			r := &im.C2CRecvOptResult{Identifier: u}
			if cv := c.convs[C2C(u)]; cv != nil {
				r.Opt = cv.recvOpt
			}
			out = append(out, r)
		}
		finish(out, nil)
	})
}

// SetDraft keeps what the user has begun to write, on this device; it moves the conversation up. nil takes it away.
func (c *Client) SetDraft(conv Conv, d *im.Draft) error {
	var body []byte
	if d != nil {
		kept := &im.Draft{Msg: d.Msg, UserDefine: d.UserDefine, EditTime: d.EditTime}
		kept.EditTime = cmp.Or(kept.EditTime, uint64(time.Now().Unix()))
		var err error
		if body, err = kept.MarshalVT(); err != nil {
			return im.Errorf(im.CodeInvalidParameters, "the draft cannot be encoded: %v", err)
		}
	}
	_, err := wait(context.Background(), func(direct bool, done func(none, error)) {
		doHere(c, "SetDraft", direct, done, func(finish func(none, error)) {
			switch {
			case c.readable() != nil, c.Status() == LoggingIn && !time.Now().Before(c.offline):
				finish(none{}, notLoggedIn)
				return
			case conv.ID == "" || conv.Type != im.ConvType_CONV_TYPE_C2C && conv.Type != im.ConvType_CONV_TYPE_GROUP:
				finish(none{}, &im.Error{Code: im.CodeInvalidParameters, Desc: "conv_id or conv_type is invalid"})
				return
			}
			cv := c.convs[conv]
			if cv == nil && body == nil {
				finish(none{}, nil)
				return
			}
			cv = c.convOf(conv)
			cv.draft, cv.dirty = body, true
			if body != nil {
				cv.listed, cv.hidden = true, false
			}
			c.changed[cv] = true
			finish(none{}, nil)
		})
	})
	return err
}
