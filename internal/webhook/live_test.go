package webhook_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

const (
	stateChange = "Group.CallbackOnMemberStateChange"
	exception   = "Group.CallbackSendMsgException"
)

// fields compares the fields and the query of a notification with the table, apart from those that may be missing.
func (e *event) fields(t *testing.T) {
	t.Helper()
	query, names := fieldsOf(t, e.CallbackCommand)
	names = slices.DeleteFunc(names, func(s string) bool {
		return strings.HasPrefix(s, "TopicId") || strings.HasPrefix(s, "GroupAtInfo") || strings.Contains(s, "[]")
	})
	slices.Sort(e.keys)
	if !slices.Equal(e.keys, names) {
		t.Errorf("%s has %q, want %q", e.CallbackCommand, e.keys, names)
	}
	query = slices.DeleteFunc(query, func(s string) bool { return s == "Sign" || s == "RequestTime" })
	if got := slices.Sorted(maps.Keys(e.query)); !slices.Equal(got, query) {
		t.Errorf("the query of %s has %q, want %q", e.CallbackCommand, got, query)
	}
}

// inRoom waits for notifications of messages and of states in a room, and of its end, in words; a member of a state is a word.
func (r *receiver) inRoom(room string, n int) (got []string) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); len(got) < n && time.Now().Before(deadline); {
		got = nil
		r.mu.Lock()
		for _, e := range r.events {
			if !strings.Contains(e.body, `"GroupId":"`+room+`"`) {
				continue
			}
			switch e.CallbackCommand {
			case afterGroup:
				got = append(got, fmt.Sprintf("%s by %s for %s", e.text(), e.Operator_Account, e.From_Account))
			case stateChange:
				for _, m := range e.MemberList {
					got = append(got, fmt.Sprintf("%s %s %s", e.EventType, e.EventCause, m.Member_Account))
				}
			case "Group.CallbackAfterGroupDestroyed":
				got = append(got, "the end")
			}
		}
		r.mu.Unlock()
		select {
		case <-r.heard:
		case <-time.After(10 * time.Millisecond):
		}
	}
	return got
}

// TestAfterInLiveRoom: the program is notified of who comes and goes in a live room and what is said there, in order; of what is said as it was said.
func TestAfterInLiveRoom(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), quick)
	ann, bob := connect(t, s, "ann"), connect(t, s, "bob")
	ann.found("hall", im.GroupType_GROUP_TYPE_AVCHATROOM)
	r.before(beforeGroup, `{"ErrorCode":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"other words"}}]}`)
	for _, c := range []*conn{ann, bob} {
		c.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: group("hall")}, &im.JoinGroupReply{})
	}
	var sent, again im.SendReply
	m := toGroup("hall", 7, "mine")
	m.Message.CloudCustomStr = "cloud"
	bob.call(im.Method_SEND, m, &sent)
	if im.TextOf(sent.Entry.Message) != "other words" {
		t.Errorf("the sender is told %v", sent.Entry)
	}
	asked := r.count(beforeGroup)
	bob.call(im.Method_SEND, m, &again) // which gets the first answer
	if again.Entry.Seq != sent.Entry.Seq || im.TextOf(again.Entry.Message) != "other words" || r.count(beforeGroup) != asked {
		t.Errorf("told %v, and %d times asked", again.Entry, r.count(beforeGroup)-asked)
	}
	r.before(beforeGroup, fine)
	for _, mark := range []bool{true, false} {
		m := toGroup("hall", 8, "plain")
		if mark {
			m.Random, m.Message.DisableCloudMessagePostHook = 9, true
		}
		sent.Reset()
		if bob.call(im.Method_SEND, m, &sent); sent.Entry.Message != nil {
			t.Errorf("the sender is told %v", sent.Entry)
		}
	}
	s.Operate("group_open_http_svc/send_group_msg", `{"GroupId":"hall","Random":10,"From_Account":"bob","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"operator"}}]}`)
	bob.call(im.Method_QUIT_GROUP, group("hall"), &im.Empty{})
	want := []string{"Online Join ann", "Online Join bob", "other words by bob for bob", "plain by bob for bob", "operator by administrator for bob", "Offline Quit bob", "the end"}
	r.inRoom("hall", len(want)-1) // the end has no order with them
	ann.call(im.Method_DISSOLVE_GROUP, group("hall"), &im.Empty{})
	if got := r.inRoom("hall", len(want)); !slices.Equal(got, want) {
		t.Errorf("notified of %q, want %q", got, want)
	}
	e := r.last(stateChange)
	e.fields(t)
	same(t, e, `{"CallbackCommand":"Group.CallbackOnMemberStateChange","GroupId":"hall","EventType":"Offline","EventCause":"Quit","MemberList":[{"Member_Account":"bob"}],"EventTime":1}`)
	if e = r.last(afterGroup); e.query.Get("OptPlatform") != "RESTAPI" || !strings.Contains(e.body, `"OnlineOnlyFlag":0`) || e.MsgSeq == 0 || e.MsgTime == 0 {
		t.Errorf("%v %s", e.query, e.body)
	}
	e.fields(t)

	ann.call(im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: "small", Name: "x", Type: im.GroupType_GROUP_TYPE_AVCHATROOM, MaxMembers: 1}, &im.CreateGroupReply{})
	ann.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: group("small")}, &im.JoinGroupReply{}) // becomes full
	if code := bob.try(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: group("small")}, &im.JoinGroupReply{}); code != im.CodeGroupFull {
		t.Errorf("answered %d", code)
	}
	var got []string
	for _, e := range r.about("small", 3) {
		got = append(got, strings.TrimPrefix(e.CallbackCommand, "Group.CallbackAfter"))
	}
	if !slices.Equal(got, []string{"CreateGroup", "GroupFull", "GroupFull"}) {
		t.Errorf("notified of %q", got)
	}
}

// TestRefusedInGroups: the program is notified of messages to groups that are refused with a code of groups, whoever refuses; not of those that it has refused itself,
// nor of messages to people.
func TestRefusedInGroups(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), quick)
	ann, bob := connect(t, s, "ann"), connect(t, s, "bob")
	ann.found("g1", im.GroupType_GROUP_TYPE_PUBLIC, "bob")
	ann.found("hall", im.GroupType_GROUP_TYPE_AVCHATROOM)
	r.on(beforeGroup, func(e *event) string {
		if e.text() == "bad" {
			return `{"ErrorCode":1}`
		}
		return fine
	})
	refused := func(c *conn, code int32, group, text string, with func(*im.Message)) {
		t.Helper()
		m := toGroup(group, 5, text)
		with(m.Message)
		if got := c.try(im.Method_SEND, m, &im.SendReply{}); got != code {
			t.Errorf("%s to %s is answered %d, want %d", text, group, got, code)
		}
	}
	plain := func(*im.Message) {}
	if code := bob.try(im.Method_SEND, &im.SendRequest{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: "nobody"}, ClientTime: 1, Message: im.Text("x")}, &im.SendReply{}); code != im.CodeUnknownReceiver {
		t.Errorf("answered %d", code)
	}
	refused(bob, im.CodeGroupRefused, "g1", "bad", plain)
	refused(bob, im.CodeNoGroup, "none", "no group", func(m *im.Message) { m.CloudCustomStr = "cloud" })
	refused(bob, im.CodeNotMember, "hall", "not in it", plain)
	refused(bob, im.CodeNotMember, "hall", "not in it, and of no interest", func(m *im.Message) { m.DisableCloudMessagePostHook = true })
	refused(bob, im.CodeTooManyMentions, "g1", "many", func(m *im.Message) { m.GroupAtUserArray = slices.Repeat([]string{"ann"}, 31) })
	ann.call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: group("g1"), UserId: "bob", Mute: new(uint64(100))}, &im.Empty{})
	refused(bob, im.CodeMuted, "g1", "muted", func(m *im.Message) { m.IsOnlineMsg = true })
	var got []event
	for range 4 {
		got = append(got, r.next(exception))
	}
	const body = `"CallbackCommand":"Group.CallbackSendMsgException","From_Account":"bob","Operator_Account":"bob","Random":5,"EventTime":1`
	for i, want := range []string{
		`"GroupId":"none","Type":"","ErrorCode":10010,"CloudCustomData":"cloud"`, `"GroupId":"hall","Type":"AVChatRoom","ErrorCode":10007,"CloudCustomData":""`,
		`"GroupId":"g1","Type":"Public","ErrorCode":10053,"CloudCustomData":""`, `"GroupId":"g1","Type":"Public","ErrorCode":10017,"CloudCustomData":""`,
	} {
		e := got[i]
		e.fields(t)
		same(t, e, fmt.Sprintf(`{%s,%s,"OnlineOnlyFlag":%d,"ErrorInfo":%q,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":%q}}]}`,
			body, want, i/3, e.ErrorInfo, []string{"no group", "not in it", "many", "muted"}[i]))
		if e.ErrorInfo == "" {
			t.Errorf("no text in %s", e.body)
		}
	}
}

// TestRewrittenWithoutRow: the device that has sent a message of which nothing is stored is told what the program has made of it: to a live room, and online-only ones.
func TestRewrittenWithoutRow(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""))
	alice, bob := dial(t, s, "alice"), dial(t, s, "bob")
	s.Operate("group_open_http_svc/create_group", `{"Type":"AVChatRoom","GroupId":"hall","Name":"hall"}`)
	for _, d := range []*device{alice, bob} {
		if _, err := d.Groups().Join(t.Context(), "hall", ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		command string
		to      client.Conv
		online  bool
	}{{beforeGroup, client.Group("hall"), false}, {beforeSend, client.C2C("bob"), true}} {
		r.before(x.command, `{"ErrorCode":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"other words"}}],"CloudCustomData":"by the hook"}`)
		m := im.Text("mine")
		m.IsOnlineMsg, m.CustomStr = x.online, "only here"
		sent, err := alice.SendMessage(t.Context(), x.to, m)
		if err != nil || im.TextOf(sent) != "mine" {
			t.Fatalf("%s: sent %v, %v", x.to, sent, err)
		}
		now := get(t, "update", alice.updated)
		if im.TextOf(now) != "other words" || now.CloudCustomStr != "by the hook" || now.MsgId != sent.MsgId || now.Seq != sent.Seq || now.CustomStr != "only here" || !now.IsFromSelf {
			t.Errorf("%s: told %v", x.to, now)
		}
		for im.TextOf(get(t, "message", bob.messages)) != "other words" { // after the tips of the room
		}
	}
}
