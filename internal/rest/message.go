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
	codeBadSeq     = 90004
	codeNoRandom   = 90005
	codeBadTime    = 90006
	codeNoFrom     = 90008
	codeLongLife   = 90026
	codeBadSync    = 90031
	codeBadPush    = 90043
	codeBadLife    = 90044
	codeBadKey     = 90054
	codeBodyLength = 93000
	codeTooOften   = 60007

	maxLife = 7 * 24 * 3600
)

// sendMsg sends a message to a person as From_Account, or as the admin. The same (From_Account, MsgSeq, MsgRandom) within five minutes is one
// message, and gets one answer.
func (a *API) sendMsg(c *call) (reply, error) {
	from, key, req, quiet, err := c.message()
	if err != nil {
		return nil, err
	}
	from = cmp.Or(from, c.admin)
	if slices.Contains(a.cfg.Admins, from) { // need not have logged in
		if err := a.chat.Import(c.Context(), from); err != nil {
			return nil, err
		}
	}
	var named *chat.CallKey
	send := func() (reply, error) {
		// An answer is due to whoever repeats the call, so it does not depend on this one's connection.
		r, err := a.chat.SendAs(context.WithoutCancel(c.Context()), from, chat.Via{Addr: c.addr, Quiet: quiet, Key: named}, req)
		if err != nil {
			if e, ok := err.(*im.Error); ok && e.Code == im.CodeMessageSize {
				err = im.Errorf(codeBodyLength, "%s", e.Desc)
			}
			return nil, err
		}
		e := r.Entry
		return reply{
			"MsgTime": e.Time / 1000, "MsgKey": restjson.Key(e.Seq, e.Random, e.Time/1000),
			"MsgId": fmt.Sprintf("%d-%d-%d", e.SenderTinyId, e.ClientTime, e.Random),
		}, nil
	}
	if key == nil {
		req.ClientTime = uint64(time.Now().Unix())
		return send()
	}
	key.from = from
	hash, err := hashOf(req)
	if err != nil {
		return nil, err
	}
	named = &chat.CallKey{Seq: key.seq, Hash: hash}
	return a.sent.once(c.Context(), *key, hash, send)
}

// message reads the fields of sendmsg. key is nil if the call names no MsgSeq.
func (c *call) message() (from string, key *sentKey, req *im.SendRequest, quiet bool, err error) {
	c.read(&from, codeNoFrom, "From_Account")
	to := c.text(codeNoTo, "To_Account")
	var seq, random uint32
	hasSeq := c.read(&seq, codeBadSeq, "MsgSeq")
	if !c.read(&random, codeNoRandom, "MsgRandom") && c.err == nil {
		c.err = im.Errorf(codeNoRandom, "MsgRandom is missing")
	}
	var stamp uint64
	c.read(&stamp, codeBadTime, "MsgTimeStamp")
	sync := 1
	if c.read(&sync, codeBadSync, "SyncOtherMachine"); (sync < 1 || sync > 2) && c.err == nil {
		c.err = im.Errorf(codeBadSync, "SyncOtherMachine is neither 1 nor 2")
	}
	life := int64(maxLife)
	c.read(&life, codeBadLife, "MsgLifeTime")
	switch {
	case c.err != nil:
	case life < 0:
		c.err = im.Errorf(codeBadLife, "MsgLifeTime is below 0")
	case life > maxLife:
		c.err = im.Errorf(codeLongLife, "MsgLifeTime is above %d", maxLife)
	}
	m := &im.Message{}
	online := c.flag(codeBadField, "OnlineOnlyFlag")
	m.IsOnlineMsg = online || life == 0
	m.NeedReadReceipt = c.flag(codeBadField, "IsNeedReadReceipt")
	m.SupportMessageExtension = c.flag(codeBadField, "SupportMessageExtension")
	c.read(&m.CloudCustomStr, codeBadField, "CloudCustomData")
	var names []string
	c.read(&names, codeBadField, "ForbidCallbackControl")
	m.DisableCloudMessagePreHook = slices.Contains(names, "ForbidBeforeSendMsgCallback")
	m.DisableCloudMessagePostHook = slices.Contains(names, "ForbidAfterSendMsgCallback")
	names = nil
	c.read(&names, codeBadField, "SendMsgControl")
	m.IsExcludedFromUnreadCount = slices.Contains(names, "NoUnread")
	m.ExcludedFromLastMessage = slices.Contains(names, "NoLastMsg")
	var push pushInfo
	if c.read(&push, codeBadPush, "OfflinePushInfo") {
		m.OfflinePushConfig = push.config()
	}
	if c.err != nil {
		return "", nil, nil, false, c.err
	}
	if m.ElemArray, err = restjson.ReadBody(c.raw["MsgBody"]); err != nil {
		return "", nil, nil, false, err
	}
	if hasSeq {
		key = &sentKey{seq: seq, random: random}
	}
	req = &im.SendRequest{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: to}, Random: random, Message: m}
	return from, key, req, sync == 2, nil
}

// pushInfo is OfflinePushInfo as far as a message has a place for it.
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

func (p *pushInfo) config() *im.OfflinePushConfig {
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

// named reads the fields that name a message. noFrom is the command's code for a sender that is missing or unknown.
func (a *API) named(c *call, noFrom int32) (*chat.MessageKey, error) {
	k := &chat.MessageKey{From: c.text(noFrom, "From_Account"), To: c.text(codeNoTo, "To_Account")}
	key := c.text(codeBadKey, "MsgKey")
	if c.err != nil {
		return nil, c.err
	}
	var ok bool
	if k.Seq, k.Random, k.Time, ok = restjson.ReadKey(key); !ok {
		return nil, im.Errorf(codeBadKey, "%q is not a MsgKey", key)
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

// withdraw recalls a message, however old.
func (a *API) withdraw(c *call) (reply, error) {
	k, err := a.named(c, codeNoFrom)
	if err != nil {
		return nil, err
	}
	return nil, a.chat.RevokeAs(c.Context(), c.admin, k)
}

// modify replaces MsgBody and CloudCustomData of a message, those that are there.
func (a *API) modify(c *call) (reply, error) {
	k, err := a.named(c, im.CodeUnknownReceiver)
	if err != nil {
		return nil, err
	}
	var edit chat.Edit
	if c.has("MsgBody") {
		if edit.Elems, err = restjson.ReadBody(c.raw["MsgBody"]); err != nil {
			return nil, err
		}
	}
	var cloud string
	if c.read(&cloud, codeBadField, "CloudCustomData") {
		edit.Cloud = &cloud
	}
	if c.err == nil && edit.Elems == nil && edit.Cloud == nil {
		c.err = im.Errorf(codeBadField, "neither MsgBody nor CloudCustomData is there")
	}
	if c.err != nil {
		return nil, c.err
	}
	err = a.chat.ModifyAs(c.Context(), c.admin, k, edit)
	if e, ok := err.(*im.Error); ok && e.Code == im.CodeTooManyModifications {
		err = im.Errorf(codeTooOften, "%s", e.Desc)
	}
	return nil, err
}
