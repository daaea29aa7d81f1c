package client

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// Conversations returns the conversations from local data, newest first, pinned ones before the others.
//
//tidings:call
func (c *Client) conversations(to caller[[]*im.ConvInfo]) {
	doReading(c, to, func(finish func([]*im.ConvInfo, error)) {
		var out []*im.ConvInfo
		last := map[*im.ConvInfo]int64{}
		for _, cv := range c.convs.byKey {
			if info, at := c.convs.infoAt(cv); info != nil {
				out = append(out, info)
				last[info] = at
			}
		}
		slices.SortFunc(out, func(a, b *im.ConvInfo) int {
			return cmp.Or(cmp.Compare(b.ActiveTime, a.ActiveTime), cmp.Compare(last[b], last[a]), strings.Compare(a.Id, b.Id), cmp.Compare(a.Type, b.Type))
		})
		finish(out, nil)
	})
}

// ConversationsByKey returns the named conversations that are in the list, in the requested order, from local data.
//
//tidings:call
func (c *Client) conversationsByKey(to caller[[]*im.ConvInfo], keys []Conv) {
	doReading(c, to, func(finish func([]*im.ConvInfo, error)) {
		var out []*im.ConvInfo
		for _, k := range keys {
			if cv := c.convs.byKey[k]; cv != nil {
				if info := c.convs.info(cv); info != nil {
					out = append(out, info)
				}
			}
		}
		finish(out, nil)
	})
}

// CreateConversation puts a conversation into this device's list before it has a message.
//
//tidings:call
func (c *Client) createConversation(to caller[*im.ConvInfo], key Conv) {
	engine.DoHere(c.e, to, synced(c, func(finish func(*im.ConvInfo, error)) {
		switch {
		case key.ID == "" || key.Type != im.ConvType_CONV_TYPE_C2C && key.Type != im.ConvType_CONV_TYPE_GROUP:
			finish(nil, &im.Error{Code: im.CodeInvalidParameters, Desc: "conv_id or conv_type is invalid"})
			return
		case c.Status() != LoggedIn:
			finish(nil, notLoggedIn)
			return
		}
		cv := c.convs.convOf(key)
		if !cv.Listed || cv.Hidden {
			cv.Listed, cv.Hidden, cv.dirty = true, false, true
			c.convs.changed[cv] = true
		}
		finish(c.convs.info(cv), nil)
	}))
}

// TotalUnread returns the sum of the unread numbers of conversations that are not muted.
//
//tidings:call
func (c *Client) totalUnread(to caller[int]) {
	doReading(c, to, func(finish func(int, error)) {
		sum := 0
		for _, cv := range c.convs.byKey {
			if cv.counts() {
				sum += int(cv.unread(c.cfg.UserID))
			}
		}
		finish(sum, nil)
	})
}
