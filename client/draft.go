package client

import (
	"cmp"
	"context"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// SetDraft keeps what the user has begun to write, on this device; it moves the conversation up. nil removes the draft.
func (c *Client) SetDraft(conv Conv, d *im.Draft) error {
	var body []byte
	if d != nil {
		kept := &im.Draft{Msg: d.Msg, UserDefine: d.UserDefine, EditTime: d.EditTime}
		kept.EditTime = cmp.Or(kept.EditTime, uint64(time.Now().Unix()))
		var err error
		body, err = kept.MarshalVT()
		if err == nil && d.Msg != nil { // in a copy: the message is the application's
			copied := &im.Draft{}
			if err = copied.UnmarshalVT(body); err == nil {
				unform(copied.Msg)
				body, err = copied.MarshalVT()
			}
		}
		if err != nil {
			return im.Errorf(im.CodeInvalidParameters, "the draft cannot be encoded: %v", err)
		}
	}
	_, err := engine.Wait(context.Background(), "SetDraft", func(to caller[none]) {
		engine.DoHere(c.e, to, func(finish func(none, error)) {
			switch {
			case c.session.readable() != nil, c.Status() == LoggingIn && !time.Now().Before(c.session.offline):
				finish(none{}, notLoggedIn)
				return
			case conv.ID == "" || conv.Type != im.ConvType_CONV_TYPE_C2C && conv.Type != im.ConvType_CONV_TYPE_GROUP:
				finish(none{}, &im.Error{Code: im.CodeInvalidParameters, Desc: "conv_id or conv_type is invalid"})
				return
			}
			cv := c.convs.byKey[conv]
			if cv == nil && body == nil {
				finish(none{}, nil)
				return
			}
			cv = c.convs.convOf(conv)
			cv.Draft, cv.dirty = body, true
			if body != nil {
				cv.Listed, cv.Hidden = true, false
			}
			c.convs.changed[cv] = true
			finish(none{}, nil)
		})
	})
	return err
}
