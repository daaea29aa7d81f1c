package rest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/restjson"
)

const (
	codeBadField   = 90001
	codeNoTo       = 90003
	codeNoFrom     = 90008
	codeLongLife   = 90026
	codeBadSync    = 90031
	codeBadLife    = 90044
	codeBadKey     = 90054
	codeBodyLength = 93000
	codeTooOften   = 60007

	maxLife = 7 * 24 * 3600
)

// sendmsg sends a message to a user as From_Account, or as the admin. The same (From_Account, MsgSeq, MsgRandom) within five minutes is one message,
// and gets one reply.
func (a *API) sendmsg(c *call, r *sendmsgRequest) (*sendmsgReply, error) {
	req, err := r.message()
	if err != nil {
		return nil, err
	}
	from, err := a.sender(c, r.From_Account)
	if err != nil {
		return nil, err
	}
	var named *chat.CallKey
	send := func() (*im.SendReply, error) {
		// Every repetition of the call gets the reply, so it does not depend on this one's connection.
		via := chat.Via{Addr: c.addr, Admin: c.admin, Quiet: r.SyncOtherMachine == 2, Key: named}
		sent, err := a.chat.SendAs(context.WithoutCancel(c.Context()), from, via, req)
		return sent, recode(recode(err, im.CodeMessageSize, codeBodyLength), im.CodeInvalidElem, restjson.CodeElement)
	}
	reply := func(sent *im.SendReply, err error) (*sendmsgReply, error) {
		if err != nil {
			return nil, err
		}
		e := sent.Entry
		return &sendmsgReply{
			MsgTime: e.Time / 1000, MsgKey: restjson.Key(e.Seq, e.Random, e.Time/1000),
			MsgId: fmt.Sprintf("%d-%d-%d", e.SenderTinyId, e.ClientTime, e.Random),
		}, nil
	}
	if r.MsgSeq == nil {
		req.ClientTime = uint64(time.Now().Unix())
		return reply(send())
	}
	hash, err := hashOf(req)
	if err != nil {
		return nil, err
	}
	named = &chat.CallKey{Seq: uint64(*r.MsgSeq), Hash: hash}
	return reply(a.sent.once(c.Context(), sentKey{from: from, seq: *r.MsgSeq, random: r.MsgRandom}, hash, send))
}

// sender returns as whom a message is sent: From_Account, or the admin. Admins need not have logged in.
func (a *API) sender(c *call, account string) (string, error) {
	from := cmp.Or(account, c.admin)
	if !slices.Contains(a.cfg.Admins, from) {
		return from, nil
	}
	return from, a.chat.Import(c.Context(), from)
}

// control sets what ForbidCallbackControl and SendMsgControl ask for.
func control(m *im.Message, callbacks, send []string) {
	m.DisableCloudMessagePreHook = slices.Contains(callbacks, "ForbidBeforeSendMsgCallback")
	m.DisableCloudMessagePostHook = slices.Contains(callbacks, "ForbidAfterSendMsgCallback")
	m.IsExcludedFromUnreadCount = slices.Contains(send, "NoUnread")
	m.ExcludedFromLastMessage = slices.Contains(send, "NoLastMsg")
}

// message makes the message of the call.
func (r *sendmsgRequest) message() (*im.SendRequest, error) {
	switch {
	case r.SyncOtherMachine < 1 || r.SyncOtherMachine > 2:
		return nil, im.Errorf(codeBadSync, "SyncOtherMachine is neither 1 nor 2")
	case r.MsgLifeTime < 0:
		return nil, im.Errorf(codeBadLife, "MsgLifeTime is below 0")
	case r.MsgLifeTime > maxLife:
		return nil, im.Errorf(codeLongLife, "MsgLifeTime is above %d", maxLife)
	}
	m := &im.Message{
		IsOnlineMsg:     bool(r.OnlineOnlyFlag) || r.MsgLifeTime == 0,
		NeedReadReceipt: bool(r.IsNeedReadReceipt), SupportMessageExtension: bool(r.SupportMessageExtension), CloudCustomStr: r.CloudCustomData,
	}
	control(m, r.ForbidCallbackControl, r.SendMsgControl)
	m.OfflinePushConfig = r.OfflinePushInfo.config()
	var err error
	if m.ElemArray, err = r.MsgBody.elems(); err != nil {
		return nil, err
	}
	return &im.SendRequest{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: r.To_Account}, Random: r.MsgRandom, Message: m}, nil
}

// pushInfo converts OfflinePushInfo as far as a message has fields for it.
type pushInfo struct {
	PushFlag         int32
	Title, Desc, Ext string
	AndroidInfo      *struct {
		Sound, XiaoMiChannelID, OPPOChannelID, GoogleChannelID, HuaWeiCategory string
		VIVOClassification                                                     *uint32
	}
	ApnsInfo *struct {
		Title, Sound, Image string
		BadgeMode           int
	}
}

// config returns nil without an OfflinePushInfo.
func (p *pushInfo) config() *im.OfflinePushConfig {
	if p == nil {
		return nil
	}
	out := &im.OfflinePushConfig{Title: p.Title, Desc: p.Desc, Ext: p.Ext, Flag: p.PushFlag}
	if a := p.AndroidInfo; a != nil {
		out.AndroidConfig = &im.AndroidOfflinePushConfig{Sound: a.Sound, XiaomiChannelId: a.XiaoMiChannelID, OppoChannelId: a.OPPOChannelID,
			FcmChannelId: a.GoogleChannelID, HuaweiCategory: a.HuaWeiCategory, VivoClassification: a.VIVOClassification}
	}
	if a := p.ApnsInfo; a != nil {
		out.IosConfig = &im.IOSOfflinePushConfig{Title: a.Title, Sound: a.Sound, Image: a.Image, IgnoreBadge: a.BadgeMode == 1}
	}
	return out
}

// named finds the message that a call names, and checks that its users exist. noFrom is the command's code for a sender that does not.
func (a *API) named(c *call, from, to, msgKey string, noFrom int32) (*chat.MessageKey, error) {
	k := &chat.MessageKey{From: from, To: to}
	var ok bool
	if k.Seq, k.Random, k.Time, ok = restjson.ReadKey(msgKey); !ok {
		return nil, im.Errorf(codeBadKey, "%q is not a MsgKey", msgKey)
	}
	for _, u := range []struct {
		name string
		code int32
	}{{k.From, noFrom}, {k.To, codeNoTo}} {
		there, err := a.chat.Exists(c.Context(), u.name)
		if err != nil {
			return nil, err
		}
		if !there {
			return nil, im.Errorf(u.code, "there is no user %q", u.name)
		}
	}
	return k, nil
}

// adminMsgwithdraw recalls a message, however old.
func (a *API) adminMsgwithdraw(c *call, r *adminMsgwithdrawRequest) error {
	k, err := a.named(c, r.From_Account, r.To_Account, r.MsgKey, codeNoFrom)
	if err != nil {
		return err
	}
	return a.chat.RevokeAs(c.Context(), c.admin, k)
}

// modifyC2cMsg replaces MsgBody and CloudCustomData of a message, if they are present.
func (a *API) modifyC2cMsg(c *call, r *modifyC2cMsgRequest) error {
	k, err := a.named(c, r.From_Account, r.To_Account, r.MsgKey, im.CodeUnknownReceiver)
	if err != nil {
		return err
	}
	edit := chat.Edit{Cloud: r.CloudCustomData}
	if r.MsgBody.there() {
		if edit.Elems, err = r.MsgBody.elems(); err != nil {
			return err
		}
	}
	if edit.Elems == nil && edit.Cloud == nil {
		return im.Errorf(codeBadField, "neither MsgBody nor CloudCustomData is there")
	}
	return recode(a.chat.ModifyAs(c.Context(), c.admin, k, edit), im.CodeTooManyModifications, codeTooOften)
}
