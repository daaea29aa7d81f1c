package client

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// sendKey is what a sender drew for a message: with the conversation, the key by which its log entry is recognized.
type sendKey struct {
	conv       int64
	clientTime uint64
	random     uint32
}

// applyEntry applies the next number of a log: the first application of an entry is announced to the application (rule 17). The caller moves
// SyncedTo.
func (b *conversations) applyEntry(cv *conv, e *im.Entry) {
	b.raise(cv, e)
	if b.acknowledged(cv, e) || e.Message == nil || e.Seq <= cv.Cleared {
		return // cleared: another device did it while the reply with this entry was under way
	}
	id := b.store(cv, e)
	b.noteMentions(cv, e)
	tip := tipOf(e.Sender, e.Message)
	if tip != nil {
		b.c.members.told(cv, tip)
	}
	if tip.GetTipType() == im.GroupTipType_GROUP_TIP_TYPE_GROUP_INFO_CHANGE {
		b.c.groups.changed(cv)
	}
	if id == 0 || e.Status == im.MessageStatus_MESSAGE_STATUS_REVOKED || b.silent(cv, by(e), e.Message) {
		return // its recall is a change of its own and fires by itself
	}
	m := e.Message
	b.fillEntry(cv, e, m)
	if tip != nil {
		b.tellTip(tip)
	}
	b.tellMessage(kindNewMessages, id, m)
}

// store writes an entry's row, or updates the row that history has put there, and returns its id. A reply may have been made before a change that has
// been applied since: newer content stays, and e becomes it.
func (b *conversations) store(cv *conv, e *im.Entry) int64 {
	body, err := content(e.Message).MarshalVT()
	if !b.Check(err) {
		return 0
	}
	id, version, newer, err := b.DB.Store(&cv.ConvRow, e, body)
	if !b.Check(err) {
		return 0
	}
	if newer != nil {
		if m := (&im.Message{}); m.UnmarshalVT(newer) == nil {
			e.Version, e.Message = version, m
		}
	}
	return id
}

// applyChange applies the next number of a rev line. The caller moves rev.
func (b *conversations) applyChange(cv *conv, ch *im.Change) {
	switch ch.Kind {
	case im.ChangeKind_CHANGE_REVOKE:
		b.applyRevoke(cv, ch)
	case im.ChangeKind_CHANGE_MODIFY:
		b.applyModify(cv, ch)
	case im.ChangeKind_CHANGE_ATTRIBUTES:
		if cv.group != nil {
			cv.group.AttrVer, cv.dirty = max(cv.group.AttrVer, ch.Version), true
			b.c.groups.look(cv)
		}
	case im.ChangeKind_CHANGE_DISSOLVED:
		b.dissolved(cv, ch.Report, ch.Time)
	case im.ChangeKind_CHANGE_REPORT:
		if ch.Report != nil {
			b.c.owe(reported(ch.Report, ch.Time, ch.Rev), ch.Report.SizeVT())
		}
	}
}

func (b *conversations) applyRevoke(cv *conv, ch *im.Change) {
	if ch.Countable && ch.Sender != b.c.cfg.UserID && ch.Rev > cv.WithdrawnRev {
		cv.WithdrawnRev = ch.Rev
		if ch.Seq > cv.ReadSeq {
			cv.Withdrawn++
		}
		cv.dirty = true
	}
	if !b.Check(b.DB.Revoke(&cv.ConvRow, ch.Seq, ch.Operator, ch.Reason)) {
		return
	}
	cv.dropMentions(ch.Seq)
	b.changed[cv] = true
	if ch.Seq <= cv.Cleared || b.silent(cv, ch.Operator, b.messageAt(cv, ch.Seq)) {
		return
	}
	seconds, by := uint64(ch.SentTime/1000), b.c.people.of(ch.Operator)
	b.c.owe(&owedRevoked{[]*im.MsgLocator{{ConvId: cv.key().ID, ConvType: cv.key().Type, IsRevoked: true, Time: seconds, Seq: ch.Seq, Rand: uint64(ch.Random),
		IsSelf: ch.Sender == b.c.cfg.UserID, UniqueId: uniqueID(seconds, ch.Random), RevokerUserId: ch.Operator, RevokerNickName: by.Nick, RevokerFaceUrl: by.Face, RevokeReason: ch.Reason, MsgId: messageID(ch.SenderTinyId, ch.ClientTime, ch.Random)}}}, 0)
}

func uniqueID(seconds uint64, random uint32) uint64 { return seconds<<32 + uint64(random) }

func messageID(tiny, clientTime uint64, random uint32) string {
	if tiny == 0 {
		return fmt.Sprintf("-%d-%d", clientTime, random)
	}
	return fmt.Sprintf("%d-%d-%d", tiny, clientTime, random)
}

// content returns the part of a message that belongs to the message itself and does not depend on the device; the elements are shared, not copied.
func content(m *im.Message) *im.Message {
	return &im.Message{ElemArray: m.ElemArray, Priority: m.Priority, Platform: m.Platform, IsOnlineMsg: m.IsOnlineMsg, NeedReadReceipt: m.NeedReadReceipt,
		SupportMessageExtension: m.SupportMessageExtension, CustomInt: m.CustomInt, CustomStr: m.CustomStr, CloudCustomStr: m.CloudCustomStr,
		IsExcludedFromUnreadCount: m.IsExcludedFromUnreadCount, GroupAtUserArray: m.GroupAtUserArray, IsForwardMessage: m.IsForwardMessage,
		ExcludedFromLastMessage: m.ExcludedFromLastMessage, ExcludedFromContentModeration: m.ExcludedFromContentModeration,
		CustomModerationConfigurationId: m.CustomModerationConfigurationId, DisableCloudMessagePreHook: m.DisableCloudMessagePreHook,
		DisableCloudMessagePostHook: m.DisableCloudMessagePostHook, TargetGroupMemberArray: m.TargetGroupMemberArray, OfflinePushConfig: m.OfflinePushConfig,
		ExcludedFromMuting: m.ExcludedFromMuting}
}

// fill sets what depends on the device and the time.
func (b *conversations) fill(cv *conv, m *im.Message, sender string, tiny, clientTime uint64, random uint32, seq uint64, at int64, status im.MessageStatus) {
	seconds := uint64(at / 1000)
	m.ConvId, m.ConvType, m.Sender = cv.key().ID, cv.key().Type, sender
	m.ClientTime, m.Rand, m.ServerTime, m.Seq, m.Status = clientTime, uint64(random), seconds, seq, status
	m.IsFromSelf = sender == b.c.cfg.UserID
	m.IsRead = m.IsFromSelf || seq != 0 && seq <= cv.ReadSeq || sender == systemUser
	m.IsPeerRead = m.IsFromSelf && cv.key().Type == im.ConvType_CONV_TYPE_C2C && seq != 0 && seq <= cv.PeerSeq
	m.MsgId = messageID(tiny, clientTime, random)
	seconds = cmp.Or(seconds, clientTime)
	m.UniqueId = uniqueID(seconds, random)
	b.c.people.dress(m)
	b.c.members.dress(cv, m)
	b.c.formURLs(m)
}

func (b *conversations) fillEntry(cv *conv, e *im.Entry, m *im.Message) {
	m.Version, m.RevokerUserId, m.RevokeReason = e.Version, e.Revoker, e.RevokeReason
	b.fill(cv, m, e.Sender, e.SenderTinyId, e.ClientTime, e.Random, e.Seq, e.Time, max(e.Status, im.MessageStatus_MESSAGE_STATUS_SENT))
}

// view returns a stored row as the application sees it.
func (b *conversations) view(cv *conv, row *local.Message) (*im.Message, error) {
	m := &im.Message{}
	if err := m.UnmarshalVT(row.Body); err != nil {
		return nil, fmt.Errorf("%w: %v", local.ErrUnreadable, err)
	}
	m.Version, m.RevokerUserId, m.RevokeReason = row.Version, row.Revoker, row.Reason
	b.fill(cv, m, row.Sender, row.SenderTiny, row.ClientTime, row.Random, row.Seq, row.Time, row.Status)
	if row.Era != cv.Era {
		m.IsRead = true
		if m.SenderGroupMemberInfo != nil {
			m.SenderGroupMemberInfo.NameCard = "" // of a group that had the id before
		}
	}
	return m, nil
}

// parseMessageID splits an id into tiny id, client time and random.
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
