package rest

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

const (
	sendGroup   = "group_open_http_svc/send_group_msg"
	notifyGroup = "group_open_http_svc/send_group_system_notification"
	recallGroup = "group_open_http_svc/group_msg_recall"
)

// TestSendGroupMsg: what members hear of messages of operators, with each option; and a repeated call is the same message, also on PostgreSQL and after a restart
// of the API.
func TestSendGroupMsg(t *testing.T) {
	for _, s := range []string{"sqlite", "postgres"} {
		t.Run(s, func(t *testing.T) {
			var n *node
			if s == "sqlite" {
				n = start(t, chat.Config{})
			} else {
				n = &node{t: t}
				st, err := pg.Open(t.Context(), pg.Config{DSN: pgtest.DSN(t), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
				if err != nil {
					t.Fatal(err)
				}
				n.serve(st, chat.Config{})
			}
			testSendGroupMsg(t, n, s == "sqlite")
		})
	}
}

func testSendGroupMsg(t *testing.T, n *node, ahead bool) {
	ann, bob, carol := n.wire("ann"), n.wire("bob"), n.wire("carol")
	n.accounts("erin")
	n.reply(createGroup, `{"Owner_Account":"ann","Type":"Public","GroupId":"g1","Name":"boats","MemberList":[{"Member_Account":"bob"},{"Member_Account":"carol"}]}`)
	n.reply(createGroup, `{"Owner_Account":"ann","Type":"Public","GroupId":"g2","Name":"ships"}`)
	for _, w := range []*wire{ann, bob, carol} {
		w.sofar()
	}
	before := time.Now().Unix()
	send := func(rest string, args ...any) float64 {
		t.Helper()
		a := n.reply(sendGroup, `{"GroupId":"g1","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hi"}}],`+rest+`}`, args...)
		if at := int64(a["MsgTime"].(float64)); at < before || at > time.Now().Unix()+1 || a["MsgDropReason"] != "" {
			t.Errorf("answered %v", a)
		}
		return a["MsgSeq"].(float64)
	}
	equal(t, "as the admin", send(`"Random":1`), 2.0)
	equal(t, "the same again", send(`"Random":1`), 2.0)
	equal(t, "as a member", send(`"Random":1,"From_Account":"bob"`), 3.0)
	equal(t, "as who is no member", send(`"Random":1,"From_Account":"erin","MsgPriority":"High"`), 4.0)
	equal(t, "online only", send(`"Random":2,"OnlineOnlyFlag":1`), 0.0)
	equal(t, "online only again", send(`"Random":2,"MsgOnlineOnlyFlag":1`), 0.0)
	equal(t, "to one", send(`"Random":3,"To_Account":["bob","erin","nobody"]`), 5.0)
	equal(t, "mentions", send(`"Random":4,"CloudCustomData":"c","SendMsgControl":["NoUnread","NoLastMsg"],"GroupAtInfo":[{"GroupAtAllFlag":1},{"GroupAtAllFlag":0,"GroupAt_Account":"bob"}]`), 6.0)
	// Another group is another conversation.
	equal(t, "another group", n.reply(sendGroup, `{"GroupId":"g2","Random":1,"MsgBody":%s}`, hello)["MsgSeq"], 1.0)
	n.refused(10004, sendGroup, `{"GroupId":"g1","Random":1,"MsgBody":%s}`, hello) // the same key with other words

	bob.hears("2 administrator: hi", "3 bob: hi", "4 erin: hi", "0 administrator: hi", "5 administrator: hi", "6 administrator: hi")
	carol.hears("2 administrator: hi", "3 bob: hi", "4 erin: hi", "0 administrator: hi", "5 void", "6 administrator: hi")
	ann.sofar()

	forget := func() { // what this server remembers; the store knows
		n.api.sent.mu.Lock()
		defer n.api.sent.mu.Unlock()
		n.api.sent.m, n.api.sent.ages = nil, nil
	}
	forget()
	equal(t, "after a restart", send(`"Random":1`), 2.0)
	random := 19
	if ahead { // the clock of the test is that of the store
		n.ahead.Add(int64(5*time.Minute + time.Second))
		forget()
		random = 1
	}
	equal(t, "after five minutes", n.reply(sendGroup, `{"GroupId":"g1","Random":%d,"MsgBody":%s}`, random, hello)["MsgSeq"], 7.0)

	// No mute counts, unless it is asked for.
	n.reply(forbidSend, `{"GroupId":"g1","Members_Account":["bob"],"MuteTime":600}`)
	equal(t, "as a muted member", n.reply(sendGroup, `{"GroupId":"g1","Random":20,"From_Account":"bob","MsgBody":%s}`, hello)["MsgSeq"], 9.0)
	const heed = `"SendMsgControl":["WithMuteNotifications"]`
	n.refused(im.CodeMuted, sendGroup, `{"GroupId":"g1","Random":21,"From_Account":"bob",%s,"MsgBody":%s}`, heed, hello)
	n.refused(im.CodeMuted, sendGroup, `{"GroupId":"g1","Random":22,"From_Account":"bob","OnlineOnlyFlag":1,%s,"MsgBody":%s}`, heed, hello)
	equal(t, "as who is no member", n.reply(sendGroup, `{"GroupId":"g1","Random":23,"From_Account":"erin",%s,"MsgBody":%s}`, heed, hello)["MsgSeq"], 10.0)
	bob.say("g1", "me", im.CodeMuted)

	for _, x := range []struct {
		code int32
		body string
	}{
		{10004, `"MsgBody":` + hello}, {10004, `"Random":30`}, {10004, `"Random":30,"MsgBody":[]`}, {10004, `"Random":30,"MsgBody":[{"MsgType":"x"}]`}, {10004, `"Random":4294967296,"MsgBody":` + hello},
		{10004, `"Random":30,"MsgPriority":"high","MsgBody":` + hello}, {10004, `"Random":30,"From_Account":"nobody","MsgBody":` + hello},
		{10004, `"Random":30,"To_Account":[` + strings.Repeat(`"u",`, 50) + `"u"],"MsgBody":` + hello}, {10004, `"Random":30,"GroupAtInfo":[{}],"MsgBody":` + hello},
		{10053, `"Random":30,"GroupAtInfo":[` + strings.Repeat(`{"GroupAt_Account":"u"},`, 30) + `{"GroupAtAllFlag":1}],"MsgBody":` + hello}, {10004, `"Random":30,"TopicId":"t","MsgBody":` + hello},
		{80002, `"Random":30,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"` + strings.Repeat("x", 13000) + `"}}]`},
	} {
		n.refused(x.code, sendGroup, `{"GroupId":"g1",%s}`, x.body)
	}
	n.refused(10010, sendGroup, `{"GroupId":"unknown","Random":1,"MsgBody":%s}`, hello)
	n.refused(10015, sendGroup, `{"GroupId":"ü","Random":1,"MsgBody":%s}`, hello)

	// Recalls: two messages, one twice, a tip, and what does not exist.
	for _, w := range []*wire{ann, bob, carol} {
		w.sofar()
	}
	got := n.reply(recallGroup, `{"GroupId":"g1","Reason":"r","MsgSeqList":[{"MsgSeq":2},{"MsgSeq":5},{"MsgSeq":2},{"MsgSeq":1},{"MsgSeq":99},{"MsgSeq":0}]}`)["RecallRetList"].([]any)
	codes := ""
	for _, x := range got {
		item := x.(map[string]any)
		codes += fmt.Sprintf("%v:%v ", item["MsgSeq"], item["RetCode"])
		if key, ok := item["MsgKey"].(string); ok != (item["RetCode"] == 0.0) || ok && !strings.HasPrefix(key, fmt.Sprintf("%v_", item["MsgSeq"])) {
			t.Errorf("item %v", item)
		}
	}
	equal(t, "recalled", codes, "2:0 5:0 2:10030 1:10032 99:10030 0:10030 ")
	bob.hears("change 1 of kind 1 ", "change 2 of kind 1 ")
	carol.hears("change 1 of kind 1 ", "change 2 of kind 0 ")
	n.refused(10004, recallGroup, `{"GroupId":"g1","MsgSeqList":[%s{"MsgSeq":1}]}`, strings.Repeat(`{"MsgSeq":1},`, 10))
	n.refused(10010, recallGroup, `{"GroupId":"unknown","MsgSeqList":[{"MsgSeq":1}]}`)
	ann.sofar()

	// Notices: to some, of whom one is no member, and to all.
	n.reply(notifyGroup, `{"GroupId":"g1","ToMembers_Account":["bob","erin","nobody"],"Content":" some"}`)
	n.reply(notifyGroup, `{"GroupId":"g1","Content":"all"}`)
	bob.hears("report 16 by administrator some", "change 3 of kind 5 all")
	carol.hears("change 3 of kind 5 all")
	ann.hears("change 3 of kind 5 all")
	for _, x := range []struct {
		code int32
		body string
	}{
		{10004, `"GroupId":"g1"`}, {10004, `"GroupId":"g1","Content":""`}, {10004, `"GroupId":"g1","Content":"` + strings.Repeat("x", 12289) + `"`},
		{10004, `"GroupId":"g1","Content":"x","ToMembers_Account":[` + strings.Repeat(`"u",`, 500) + `"u"]`}, {10010, `"GroupId":"unknown","Content":"x"`}, {10004, `"GroupId":"g1","TopicId":"t","Content":"x"`},
	} {
		n.refused(x.code, notifyGroup, `{%s}`, x.body)
	}
}

// TestLiveRoomCalls: what an operator may do with a live room, and what there is not.
func TestLiveRoomCalls(t *testing.T) {
	n := start(t, chat.Config{})
	bob := n.wire("bob")
	n.accounts("ann")
	equal(t, "created", n.reply(createGroup, `{"Owner_Account":"ann","Type":"AVChatRoom","GroupId":"room","Name":"live"}`), map[string]any{"GroupId": "room", "Type": "AVChatRoom", "HugeGroupFlag": 1.0})
	bob.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: &im.GroupRequest{GroupId: "room"}}, 0, nil)
	n.refused(10007, addMember, `{"GroupId":"room","Silence":0,"MemberList":[{"Member_Account":"ann"}]}`)
	n.refused(10033, recallGroup, `{"GroupId":"room","MsgSeqList":[{"MsgSeq":1}]}`)
	n.reply(sendGroup, `{"GroupId":"room","Random":1,"MsgBody":%s}`, hello)
	heard := func(part string) {
		t.Helper()
		deadline := time.Now().Add(patience)
		for seen := ""; !strings.Contains(seen, part); seen += strings.Join(bob.sofar(), "\n") {
			if time.Now().After(deadline) {
				t.Fatalf("heard %q, and not %q", seen, part)
			}
		}
	}
	heard("administrator: hello")
	n.reply(forbidSend, `{"GroupId":"room","Members_Account":["bob"],"MuteTime":60}`)
	bob.sofar() // the room's memory follows the store with what is told
	bob.say("room", "me", im.CodeMuted)
	n.reply(notifyGroup, `{"GroupId":"room","Content":"all"}`)
	heard("kind 5 all")
	n.reply(destroyGroup, `{"GroupId":"room"}`)
	heard("kind 4")
	n.refused(10010, sendGroup, `{"GroupId":"room","Random":2,"MsgBody":%s}`, hello)
}
