package rest

import (
	"cmp"
	"context"
	"slices"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/restjson"
)

// priorities are the values of MsgPriority, by the number that a message has for each.
var priorities = []string{"High", "Normal", "Low", "Lowest"}

// noTopic refuses a topic, so that what is meant for one does not go to the whole group.
func noTopic(id string) error {
	if id != "" {
		return im.Errorf(im.CodeGroupParameters, "TopicId: topics are not built")
	}
	return nil
}

// sendGroupMsg sends a message to a group as From_Account, or as the admin, who need not be members. The same (From_Account, Random) within five minutes is
// one message, and gets one reply.
func (a *API) sendGroupMsg(c *call, r *sendGroupMsgRequest) (*sendGroupMsgReply, error) {
	if err := cmp.Or(checkGroup(r.GroupId), noTopic(r.TopicId)); err != nil {
		return nil, err
	}
	req, err := r.message()
	if err != nil {
		return nil, err
	}
	from, err := a.sender(c, r.From_Account)
	if err != nil {
		return nil, err
	}
	hash, err := hashOf(req)
	if err != nil {
		return nil, err
	}
	sent, err := a.sent.once(c.Context(), sentKey{from: from, group: r.GroupId, random: r.Random}, hash, func() (*im.SendReply, error) {
		via := chat.Via{Addr: c.addr, Admin: c.admin, Mutes: slices.Contains(r.SendMsgControl, "WithMuteNotifications")}
		return a.chat.SendToGroupAs(context.WithoutCancel(c.Context()), from, via, req, hash)
	})
	if err != nil {
		for _, code := range []int32{im.CodeInvalidParameters, im.CodeUnknownReceiver, im.CodeMergerLayers, im.CodeInvalidElem} {
			err = recode(err, code, im.CodeGroupParameters)
		}
		return nil, err
	}
	return &sendGroupMsgReply{MsgTime: int64(sent.Entry.Time / 1000), MsgSeq: int64(sent.Entry.Seq)}, nil
}

// message makes the message of the call.
func (r *sendGroupMsgRequest) message() (*im.SendRequest, error) {
	m := &im.Message{
		IsOnlineMsg: bool(r.OnlineOnlyFlag), NeedReadReceipt: bool(r.NeedReadReceipt), SupportMessageExtension: bool(r.SupportMessageExtension), CloudCustomStr: r.CloudCustomData,
		TargetGroupMemberArray: r.To_Account,
	}
	control(m, r.ForbidCallbackControl, r.SendMsgControl)
	if r.MsgPriority != "" {
		i := slices.Index(priorities, r.MsgPriority)
		if i < 0 {
			return nil, im.Errorf(im.CodeGroupParameters, "MsgPriority is none of %q", priorities)
		}
		m.Priority = new(int32(i))
	}
	for _, at := range r.GroupAtInfo {
		switch {
		case bool(at.GroupAtAllFlag):
			m.GroupAtUserArray = append(m.GroupAtUserArray, chat.MentionAll)
		case at.GroupAt_Account == "":
			return nil, im.Errorf(im.CodeGroupParameters, "GroupAt_Account is missing")
		default:
			m.GroupAtUserArray = append(m.GroupAtUserArray, at.GroupAt_Account)
		}
	}
	m.OfflinePushConfig = r.OfflinePushInfo.config()
	var err error
	if m.ElemArray, err = r.MsgBody.elems(); err != nil {
		return nil, err
	}
	return &im.SendRequest{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: r.GroupId}, Random: r.Random, Message: m}, nil
}

func (a *API) sendGroupSystemNotification(c *call, r *sendGroupSystemNotificationRequest) error {
	if err := cmp.Or(checkGroup(r.GroupId), noTopic(r.TopicId)); err != nil {
		return err
	}
	return a.chat.NotifyGroupAs(c.Context(), c.operator(), r.GroupId, r.ToMembers_Account, r.Content)
}

// groupMsgRecall recalls messages, however old. Each has a code of its own.
func (a *API) groupMsgRecall(c *call, r *groupMsgRecallRequest) (*groupMsgRecallReply, error) {
	if err := cmp.Or(checkGroup(r.GroupId), noTopic(r.TopicId)); err != nil {
		return nil, err
	}
	var seqs []uint64
	for _, m := range r.MsgSeqList {
		seqs = append(seqs, uint64(m.MsgSeq))
	}
	list, err := a.chat.RevokeInGroupAs(c.Context(), c.operator(), r.GroupId, r.Reason, seqs)
	if err != nil {
		return nil, err
	}
	out := &groupMsgRecallReply{}
	for _, x := range list {
		item := groupMsgRecallReplyRecallRetList{MsgSeq: int64(x.Seq)}
		switch {
		case x.Err == nil:
			item.MsgKey = new(restjson.Key(x.Seq, x.Random, x.Time/1000))
		case x.Err.Code == im.CodeAlreadyRevoked:
			item.RetCode = im.CodeGroupNoMessage
		default:
			item.RetCode = int64(x.Err.Code)
		}
		out.RecallRetList = append(out.RecallRetList, item)
	}
	return out, nil
}
