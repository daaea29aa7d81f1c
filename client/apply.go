package client

import (
	"github.com/tidings-im/tidings/client/internal/local"

	"cmp"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// Kinds of owed events.
const (
	owedNew     = 1
	owedRevoked = 2
	owedUpdated = 3
)

// sendKey is what a sender drew for a message: with the conversation, the key by which its log entry is known.
type sendKey struct {
	conv       int64
	clientTime uint64
	random     uint32
}

// messageEvent gathers the messages of one callback until the batch commits, or holds one recall. Its row in owed names the rows of all of them; rows of
// owed are written in the order of the callbacks.
type messageEvent struct {
	kind     int
	ids      []int64
	messages []*im.Message
	recalled *im.MsgLocator
	// size is about how many bytes it is in JSON.
	size int
}

// mostTold bounds a callback of several messages, in bytes of JSON.
const mostTold = 2 << 20

// applyEntry applies the next number of a log: the first application of an entry is what the application is told of (rule 17). The caller
// moves SyncedTo.
func (c *Client) applyEntry(cv *conv, e *im.Entry) {
	c.raise(cv, e)
	if c.acknowledged(cv, e) || e.Message == nil || e.Seq <= cv.Cleared {
		return // cleared: another device did it while the answer with this entry was on its way
	}
	id := c.store(cv, e)
	if id == 0 || e.Status == im.MessageStatus_MESSAGE_STATUS_REVOKED {
		return // its recall is a change of its own and fires alone
	}
	m := e.Message
	c.fillEntry(cv, e, m)
	c.tellMessage(owedNew, id, m)
}

// store writes an entry's row, or brings the row that history has put there up to date, and answers its id. An answer may have been made before a change that
// has been applied meanwhile: what is newer stays, and e becomes it.
func (c *Client) store(cv *conv, e *im.Entry) int64 {
	body, err := content(e.Message).MarshalVT()
	if !c.check(err) {
		return 0
	}
	id, version, newer, err := c.db.Store(&cv.ConvRow, e, body)
	if !c.check(err) {
		return 0
	}
	if newer != nil {
		if m := (&im.Message{}); m.UnmarshalVT(newer) == nil {
			e.Version, e.Message = version, m
		}
	}
	return id
}

// tellMessage adds a message to the batch's events; neighbours of one kind share a callback.
func (c *Client) tellMessage(kind int, id int64, m *im.Message) {
	size := im.JSONSize(m)
	if n := len(c.out); n > 0 {
		if ev := c.out[n-1].event; ev != nil && ev.kind == kind && len(ev.ids) < eventsAtOnce && ev.size+size <= mostTold {
			ev.size += size
			ev.ids = append(ev.ids, id)
			ev.messages = append(ev.messages, m)
			return
		}
	}
	c.out = append(c.out, output{event: &messageEvent{kind: kind, ids: []int64{id}, messages: []*im.Message{m}, size: size}})
}

// tellRevoked adds a recall to the batch's events.
func (c *Client) tellRevoked(loc *im.MsgLocator) {
	c.out = append(c.out, output{event: &messageEvent{kind: owedRevoked, recalled: loc}})
}

func (c *Client) owe(kind int, payload []byte) (int64, bool) {
	id, err := c.db.Owe(kind, payload)
	return id, c.check(err)
}

// oweEvents writes the rows of the batch's message events, just before the commit.
func (c *Client) oweEvents() {
	for i := range c.out {
		ev := c.out[i].event
		if ev == nil {
			continue
		}
		payload, err := ev.payload()
		if !c.check(err) {
			return
		}
		id, ok := c.owe(ev.kind, payload)
		if !ok {
			return
		}
		c.out[i].owed, c.out[i].size = id, ev.size
		c.out[i].event = nil
		c.out[i].run = func() { c.fire(ev) }
	}
}

// payload is what stands in owed: the locator of a recall, or the ids of messages.
func (ev *messageEvent) payload() ([]byte, error) {
	if ev.kind == owedRevoked {
		return ev.recalled.MarshalVT()
	}
	payload := make([]byte, 0, 8*len(ev.ids))
	for _, id := range ev.ids {
		payload = binary.AppendVarint(payload, id)
	}
	return payload, nil
}

// owedMessages are the ids of the messages that an owed callback is of.
func owedMessages(o local.Owed) (ids []int64) {
	for p := o.Payload; o.Kind != owedRevoked && len(p) > 0; {
		id, n := binary.Varint(p)
		if n <= 0 {
			break
		}
		ids = append(ids, id)
		p = p[n:]
	}
	return ids
}

// fireOwed tells what an earlier run of the application may not have heard, before the first sync after the database was opened.
func (c *Client) fireOwed() {
	if c.owedDone {
		return
	}
	c.owedDone = true
	owed, err := c.db.Owed()
	if !c.check(err) {
		return
	}
	for _, o := range owed {
		if o.Kind == owedRevoked {
			loc := &im.MsgLocator{}
			if err := loc.UnmarshalVT(o.Payload); err == nil {
				c.out = append(c.out, output{owed: o.ID, run: func() { c.fire(&messageEvent{kind: o.Kind, recalled: loc}) }})
			}
			continue
		}
		ev := &messageEvent{kind: o.Kind}
		for _, id := range owedMessages(o) {
			row, err := c.db.ByID(id)
			if !c.check(err) {
				return
			}
			if row != nil && c.byID[row.Conv] != nil && row.Status != im.MessageStatus_MESSAGE_STATUS_DELETED {
				if m, err := c.view(c.byID[row.Conv], row); err == nil {
					ev.messages = append(ev.messages, m)
				}
			}
		}
		c.out = append(c.out, output{owed: o.ID, run: func() {
			if len(ev.messages) > 0 {
				c.fire(ev)
			}
		}})
	}
}

// fire calls the application.
func (c *Client) fire(ev *messageEvent) {
	switch {
	case ev.kind == owedNew && c.ev.NewMessages != nil:
		c.ev.NewMessages(ev.messages)
	case ev.kind == owedUpdated && c.ev.Updated != nil:
		c.ev.Updated(ev.messages)
	case ev.kind == owedRevoked && c.ev.Revoked != nil:
		c.ev.Revoked([]*im.MsgLocator{ev.recalled})
	}
}

// applyChange applies the next number of a rev line. The caller moves rev.
func (c *Client) applyChange(cv *conv, ch *im.Change) {
	switch ch.Kind {
	case im.ChangeKind_CHANGE_REVOKE:
		c.applyRevoke(cv, ch)
	case im.ChangeKind_CHANGE_MODIFY:
		c.applyModify(cv, ch)
	}
}

func (c *Client) applyRevoke(cv *conv, ch *im.Change) {
	if ch.Countable && ch.Sender != c.cfg.UserID && ch.Rev > cv.WithdrawnRev {
		cv.WithdrawnRev = ch.Rev
		if ch.Seq > cv.ReadSeq {
			cv.Withdrawn++
		}
		cv.dirty = true
	}
	if !c.check(c.db.Revoke(&cv.ConvRow, ch.Seq, ch.Operator, ch.Reason)) {
		return
	}
	c.changed[cv] = true
	if ch.Seq <= cv.Cleared {
		return
	}
	seconds := uint64(ch.SentTime / 1000)
	c.tellRevoked(&im.MsgLocator{ConvId: cv.key().ID, ConvType: cv.key().Type, IsRevoked: true, Time: seconds, Seq: ch.Seq, Rand: uint64(ch.Random),
		IsSelf: ch.Sender == c.cfg.UserID, UniqueId: uniqueID(seconds, ch.Random), RevokerUserId: ch.Operator, RevokeReason: ch.Reason, MsgId: messageID(ch.SenderTinyId, ch.ClientTime, ch.Random)})
}

func uniqueID(seconds uint64, random uint32) uint64 { return seconds<<32 + uint64(random) }

func messageID(tiny, clientTime uint64, random uint32) string {
	if tiny == 0 {
		return fmt.Sprintf("-%d-%d", clientTime, random)
	}
	return fmt.Sprintf("%d-%d-%d", tiny, clientTime, random)
}

// content is what of a message belongs to the message itself and not to who looks at it; the elements are shared, not copied.
func content(m *im.Message) *im.Message {
	return &im.Message{ElemArray: m.ElemArray, Priority: m.Priority, Platform: m.Platform, IsOnlineMsg: m.IsOnlineMsg, NeedReadReceipt: m.NeedReadReceipt,
		SupportMessageExtension: m.SupportMessageExtension, CustomInt: m.CustomInt, CustomStr: m.CustomStr, CloudCustomStr: m.CloudCustomStr,
		IsExcludedFromUnreadCount: m.IsExcludedFromUnreadCount, GroupAtUserArray: m.GroupAtUserArray, IsForwardMessage: m.IsForwardMessage,
		ExcludedFromLastMessage: m.ExcludedFromLastMessage, ExcludedFromContentModeration: m.ExcludedFromContentModeration,
		CustomModerationConfigurationId: m.CustomModerationConfigurationId, DisableCloudMessagePreHook: m.DisableCloudMessagePreHook,
		DisableCloudMessagePostHook: m.DisableCloudMessagePostHook, TargetGroupMemberArray: m.TargetGroupMemberArray, OfflinePushConfig: m.OfflinePushConfig,
		ExcludedFromMuting: m.ExcludedFromMuting}
}

// fill sets what depends on who looks and when.
func (c *Client) fill(cv *conv, m *im.Message, sender string, tiny, clientTime uint64, random uint32, seq uint64, at int64, status im.MessageStatus) {
	seconds := uint64(at / 1000)
	m.ConvId, m.ConvType, m.Sender = cv.key().ID, cv.key().Type, sender
	m.ClientTime, m.Rand, m.ServerTime, m.Seq, m.Status = clientTime, uint64(random), seconds, seq, status
	m.IsFromSelf = sender == c.cfg.UserID
	m.IsRead = m.IsFromSelf || seq != 0 && seq <= cv.ReadSeq
	m.IsPeerRead = m.IsFromSelf && cv.key().Type == im.ConvType_CONV_TYPE_C2C && seq != 0 && seq <= cv.PeerSeq
	m.MsgId = messageID(tiny, clientTime, random)
	seconds = cmp.Or(seconds, clientTime)
	m.UniqueId = uniqueID(seconds, random)
	if m.SenderProfile == nil {
		m.SenderProfile = &im.UserProfile{Identifier: sender}
	}
}

func (c *Client) fillEntry(cv *conv, e *im.Entry, m *im.Message) {
	c.fill(cv, m, e.Sender, e.SenderTinyId, e.ClientTime, e.Random, e.Seq, e.Time, max(e.Status, im.MessageStatus_MESSAGE_STATUS_SENT))
	m.Version, m.RevokerUserId, m.RevokeReason = e.Version, e.Revoker, e.RevokeReason
}

// view is a stored row as the application sees it.
func (c *Client) view(cv *conv, row *local.Message) (*im.Message, error) {
	m := &im.Message{}
	if err := m.UnmarshalVT(row.Body); err != nil {
		return nil, err
	}
	c.fill(cv, m, row.Sender, row.SenderTiny, row.ClientTime, row.Random, row.Seq, row.Time, row.Status)
	if row.Era != cv.Era {
		m.IsRead = true
	}
	m.Version, m.RevokerUserId, m.RevokeReason = row.Version, row.Revoker, row.Reason
	return m, nil
}

// parseMessageID takes an id apart into tiny id, client time and random.
func parseMessageID(id string) (tiny, clientTime uint64, random uint32, ok bool) {
	first, rest, ok1 := strings.Cut(id, "-")
	second, third, ok2 := strings.Cut(rest, "-")
	if !ok1 || !ok2 {
		return 0, 0, 0, false
	}
	var err1, err2, err3 error
	if first != "" {
		tiny, err1 = strconv.ParseUint(first, 10, 64)
	}
	clientTime, err2 = strconv.ParseUint(second, 10, 64)
	r, err3 := strconv.ParseUint(third, 10, 32)
	return tiny, clientTime, uint32(r), err1 == nil && err2 == nil && err3 == nil
}
