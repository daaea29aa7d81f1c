package main

import (
	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// setters are the functions that set the callback of an event.
var setters = []int{
	fnTIMSetConvEventCallback, fnTIMSetConvTotalUnreadMessageCountChangedCallback, fnTIMSetNetworkStatusListenerCallback, fnTIMSetKickedOfflineCallback,
	fnTIMSetUserSigExpiredCallback, fnTIMSetLogCallback, fnTIMSetMsgReadedReceiptCallback, fnTIMSetMsgRevokeCallback, fnTIMSetMsgUpdateCallback,
}

func init() {
	for _, fn := range setters {
		handlers[fn] = func(c *call) int {
			c.lib.slots.set(fn, c.cb(), c.ud())
			return resultOK
		}
	}
	handlers[fnTIMAddRecvNewMsgCallback] = func(c *call) int {
		c.lib.slots.add(c.cb(), c.ud())
		return resultOK
	}
	handlers[fnTIMRemoveRecvNewMsgCallback] = func(c *call) int {
		c.lib.slots.remove(c.cb())
		return resultOK
	}
}

// events are the client's events as callbacks of the application, on the thread t.
func (l *library) events(t *thread) client.Events {
	// on calls the callback of a setter, if there is one.
	on := func(setter int, name string, f func(s slot)) {
		if s := l.slots.get(setter); s.cb != 0 {
			t.fire(name, func() { f(s) })
		}
	}
	return client.Events{
		NewMessages: func(ms []*im.Message) {
			listeners := l.slots.listeners()
			if len(listeners) == 0 {
				return
			}
			json := im.ListToJSON(ms)
			for _, s := range listeners {
				if s, ok := l.slots.has(s.cb); ok { // one before may have removed it
					t.fire("TIMRecvNewMsgCallback", func() { callText(s.cb, json, s.ud) })
				}
			}
		},
		Receipts: func(rs []*im.MessageReceipt) {
			on(fnTIMSetMsgReadedReceiptCallback, "TIMMsgReadedReceiptCallback", func(s slot) { callText(s.cb, im.ListToJSON(rs), s.ud) })
		},
		Updated: func(ms []*im.Message) {
			on(fnTIMSetMsgUpdateCallback, "TIMMsgUpdateCallback", func(s slot) { callText(s.cb, im.ListToJSON(ms), s.ud) })
		},
		Revoked: func(ms []*im.MsgLocator) {
			on(fnTIMSetMsgRevokeCallback, "TIMMsgRevokeCallback", func(s slot) { callText(s.cb, im.ListToJSON(ms), s.ud) })
		},
		Conversations: func(event client.ConvEvent, list []*im.ConvInfo) {
			on(fnTIMSetConvEventCallback, "TIMConvEventCallback", func(s slot) {
				json := ""
				if event != client.ConvSyncStart && event != client.ConvSyncFinish {
					json = im.ListToJSON(list)
				}
				callConv(s.cb, int32(event), json, s.ud)
			})
		},
		TotalUnread: func(n int) {
			on(fnTIMSetConvTotalUnreadMessageCountChangedCallback, "TIMConvTotalUnreadMessageCountChangedCallback", func(s slot) { callTotal(s.cb, n, s.ud) })
		},
		Network: func(status client.NetworkStatus, code int32, desc string) {
			on(fnTIMSetNetworkStatusListenerCallback, "TIMNetworkStatusListenerCallback", func(s slot) { callNetwork(s.cb, int32(status), code, desc, s.ud) })
		},
		KickedOffline: func() {
			on(fnTIMSetKickedOfflineCallback, "TIMKickedOfflineCallback", func(s slot) { callPlain(s.cb, s.ud) })
		},
		UserSigExpired: func() {
			on(fnTIMSetUserSigExpiredCallback, "TIMUserSigExpiredCallback", func(s slot) { callPlain(s.cb, s.ud) })
		},
	}
}
