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
	ev.UploadProgress(&im.Message{MsgId: "m"}, 1, 2, 3)
	ev.Updated(nil)
	ev.GroupTips(&im.GroupTipsElem{GroupId: "g"})
	ev.GroupAttributesChanged("g", nil)
	ev.Conversations(client.ConvSyncFinish, nil)
	ev.TotalUnread(7)
	ev.Network(client.NetworkConnectFailed, 9508, "ws://x: \"gone\"\n")
	ev.KickedOffline()
	ev.UserSigExpired()
	ev.FriendsAdded([]string{"ann"})
	ev.FriendsDeleted(nil)
	ev.FriendsUpdated([]*im.FriendProfileUpdate{{Identifier: "ann", Item: &im.FriendProfileItem{SetGroups: true, Profile: &im.UserProfileItem{NickName: new("")}}}})
	ev.FriendRequests(nil)
	ev.FriendRequestsDeleted(nil)
	ev.FriendRequestsRead()
	ev.BlacklistAdded(nil)
	ev.BlacklistDeleted(nil)
	want := []string{"new_message  []", "receipt  []", "revoked  []",
		`upload_progress  {"message":` + im.ToJSON(&im.Message{MsgId: "m"}) + `,"index":1,"sent":2,"size":3}`, "updated  []",
		"group_tips  " + im.ToJSON(&im.GroupTipsElem{GroupId: "g"}), `group_attributes_changed  {"group":"g","attributes":[]}`, "conversation sync_finish []", "total_unread  7",
		`network  {"status":"connect_failed","code":9508,"desc":"ws://x: \"gone\"\n"}`, "kicked_offline  ", "user_sig_expired  ",
		`friends_added  ["ann"]`, "friends_deleted  []",
		`friends_updated  [{"friend_profile_update_identifier":"ann","friend_profile_update_item":{"friend_profile_item_group_name_array":[],"user_profile_item_nick_name":""}}]`,
		"friend_requests  []", "friend_requests_deleted  []", "friend_requests_read  ", "blacklist_added  []", "blacklist_deleted  []"}
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
