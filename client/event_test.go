package client_test

import (
	"slices"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// Each passes every event with its declared name, its type and its data in JSON.
func TestEach(t *testing.T) {
	var got []string
	var names []string
	ev := client.Each(func(e client.Event) {
		got = append(got, e.Name+" "+e.Type+" "+e.Data())
		names = append(names, e.Name)
	})
	ev.NewMessages(nil)
	ev.Receipts(nil)
	ev.Revoked([]*im.MsgLocator{})
	ev.Updated(nil)
	ev.Conversations(client.ConvSyncFinish, nil)
	ev.TotalUnread(7)
	ev.Network(client.NetworkConnectFailed, 9508, "ws://x: \"gone\"\n")
	ev.KickedOffline()
	ev.UserSigExpired()
	want := []string{"new_message  []", "receipt  []", "revoked  []", "updated  []", "conversation sync_finish []", "total_unread  7",
		`network  {"status":"connect_failed","code":9508,"desc":"ws://x: \"gone\"\n"}`, "kicked_offline  ", "user_sig_expired  "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if !slices.Equal(names, client.EventNames()) {
		t.Errorf("events %q, declared %q", names, client.EventNames())
	}
	if types := client.EventTypes(); !slices.Equal(types, []string{"add", "delete", "update", "sync_start", "sync_finish"}) {
		t.Errorf("types %q", types)
	}
	if data := (client.Event{Name: "mine"}).Data(); data != "" {
		t.Errorf("data of an event without any: %q", data)
	}
}
