package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/examples/internal/stage"
	"github.com/tidings-im/tidings/im"
)

type demo struct{ *stage.Stage }

// device is a client and the events that it got.
type device struct {
	*client.Client
	*stage.Device
	d    *demo
	user string
}

func (d *demo) device(user, name string) *device {
	v := &device{Device: d.Device(user+"/"+name, strings.HasSuffix), d: d, user: user}
	v.open()
	d.AtEnd(func() { v.Close() })
	return v
}

// open opens the device's folder, which makes it this device.
func (v *device) open() {
	var err error
	v.Client, err = client.Open(client.Config{
		Server: v.d.Address, UserID: v.user, UserSig: v.d.Ticket(v.user, time.Hour), Platform: im.Platform_PLATFORM_LINUX,
		Dir: filepath.Join(v.d.Dir, v.Name), Log: slog.New(slog.NewTextHandler(v.d.Log, nil)),
	}, v.listeners())
	v.d.Must(err)
}

// away does what a program does that ends: it closes the client, and the device stays logged in.
func (v *device) away() {
	v.Does("ends its program")
	v.Close()
}

func (v *device) login() *device {
	v.Does("logs in")
	v.d.Must(v.Login(v.d.Ctx))
	v.Expect("network", "link connected")
	v.Expect("sync start", "")
	return v
}

func (v *device) synced() { v.Expect("sync finish", "") }

func (v *device) send(to, text string) *im.Message {
	v.Does(fmt.Sprintf("sends %q to %s", text, to))
	m, err := v.SendMessage(v.d.Ctx, client.C2C(to), im.Text(text))
	v.d.Must(err)
	return m
}

var (
	convNames = map[client.ConvEvent]string{client.ConvAdd: "conversation added", client.ConvUpdate: "conversation updated",
		client.ConvDelete: "conversation deleted", client.ConvSyncStart: "sync start", client.ConvSyncFinish: "sync finish"}
	messageNames = map[im.ConvType]string{im.ConvType_CONV_TYPE_C2C: "new message", im.ConvType_CONV_TYPE_GROUP: "group message", im.ConvType_CONV_TYPE_SYSTEM: "report"}
	linkNames    = map[client.NetworkStatus]string{client.NetworkConnected: "link connected", client.NetworkDisconnected: "link disconnected",
		client.NetworkConnecting: "connecting", client.NetworkConnectFailed: "cannot connect"}
	statusNames = map[im.MessageStatus]string{im.MessageStatus_MESSAGE_STATUS_SENDING: " (sending)", im.MessageStatus_MESSAGE_STATUS_SENT: " (sent)"}
)

// listeners returns callbacks, which run one at a time, in the order in which things happened.
func (v *device) listeners() client.Events {
	return client.Events{
		NewMessages: func(ms []*im.Message) {
			for _, m := range ms {
				v.Heard(messageNames[m.ConvType], fmt.Sprintf("from %s: %s", m.Sender, textOf(m)))
			}
		},
		Receipts: func(rs []*im.MessageReceipt) { v.Heard("receipt", rs[0].ConvId+" has read") },
		Revoked: func(ls []*im.MsgLocator) {
			v.Heard("recalled", fmt.Sprintf("message %d, reason: %s", ls[0].Seq, ls[0].RevokeReason))
		},
		Conversations: func(e client.ConvEvent, cs []*im.ConvInfo) {
			if len(cs) == 0 {
				v.Heard(convNames[e], "")
			}
			for _, c := range cs {
				text := fmt.Sprintf("with %s, %d unread, last: %s", c.Id, c.UnreadNum, last(c.LastMsg))
				if len(c.GroupAtInfoArray) > 0 {
					text += " (mentioned)"
				}
				v.Heard(convNames[e], text)
			}
		},
		FriendsAdded:   func(ids []string) { v.Heard("friends added", strings.Join(ids, ", ")) },
		FriendsDeleted: func(ids []string) { v.Heard("friends deleted", strings.Join(ids, ", ")) },
		FriendRequests: func(rs []*im.FriendAddPendency) {
			v.Heard("friend request", fmt.Sprintf("from %s: %s", rs[0].Identifier, rs[0].AddWording))
		},
		FriendRequestsRead:    func() { v.Heard("friend requests read", "") },
		FriendRequestsDeleted: func(ids []string) { v.Heard("friend request gone", strings.Join(ids, ", ")) },
		FriendsUpdated: func(us []*im.FriendProfileUpdate) {
			text := us[0].Identifier
			if item := us[0].Item; item.Remark != nil {
				text += ", remark " + *item.Remark
			} else if item.SetGroups {
				text += ", groups " + strings.Join(item.GroupNameArray, ", ")
			} else if item.Profile.GetNickName() != "" {
				text += ", name " + item.Profile.GetNickName()
			}
			v.Heard("friend changed", text)
		},
		GroupTips: func(tip *im.GroupTipsElem) { v.Heard("tip", tipText(tip)) },
		GroupAttributesChanged: func(group string, as []*im.GroupAttributes) {
			v.Heard("attributes", group+": "+attributesText(as))
		},
		BlacklistAdded:   func(fs []*im.FriendProfile) { v.Heard("blacklist", fs[0].Identifier) },
		BlacklistDeleted: func(ids []string) { v.Heard("unblocked", strings.Join(ids, ", ")) },
		TotalUnread:      func(n int) { v.Heard("total unread", strconv.Itoa(n)) },
		Network:          func(s client.NetworkStatus, _ int32, _ string) { v.Heard("network", linkNames[s]) },
		KickedOffline:    func() { v.Heard("kicked offline", "") },
	}
}

// last describes a conversation's last message and its status.
func last(m *im.Message) string {
	switch {
	case m.GetStatus() == im.MessageStatus_MESSAGE_STATUS_REVOKED:
		return "(recalled)"
	case m.GetIsPeerRead():
		return textOf(m) + " (read)"
	case m.GetIsFromSelf():
		return textOf(m) + statusNames[m.Status]
	}
	return textOf(m)
}

// announced checks that the device was notified of exactly these messages.
func (v *device) announced(want ...string) {
	if got := v.Told(); !slices.Equal(got, want) {
		v.d.Fail("%s got %q, and should have got %q", v.Name, got, want)
	}
	v.Does(fmt.Sprintf("got %d new messages", len(want)))
}
