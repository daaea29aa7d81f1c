package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

const (
	createGroup  = "group_open_http_svc/create_group"
	destroyGroup = "group_open_http_svc/destroy_group"
	addMember    = "group_open_http_svc/add_group_member"
	deleteMember = "group_open_http_svc/delete_group_member"
	forbidSend   = "group_open_http_svc/forbid_send_msg"
	modifyGroup  = "group_open_http_svc/modify_group_base_info"
	groupInfo    = "group_open_http_svc/get_group_info"
	memberInfo   = "group_open_http_svc/get_group_member_info"
	joinedGroups = "group_open_http_svc/get_joined_group_list"
)

// wire is a device that knows groups and speaks only the wire. What it is pushed is kept as words.
type wire struct {
	n    *node
	t    testing.TB
	ws   *websocket.Conn
	id   uint64
	told []string
}

func (n *node) wire(user string) *wire {
	n.t.Helper()
	ws, _, err := websocket.Dial(n.t.Context(), n.http.URL+"/ws", &websocket.DialOptions{Subprotocols: []string{im.Subprotocol}})
	if err != nil {
		n.t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	n.t.Cleanup(func() { ws.CloseNow() })
	w := &wire{n: n, t: n.t, ws: ws}
	w.call(im.Method_LOGIN, &im.LoginRequest{UserId: user, UserSig: sig(n.t, user, time.Now()), DeviceId: "device of " + user, Platform: im.Platform_PLATFORM_LINUX, Groups: true}, 0, &im.LoginReply{})
	return w
}

// call makes a call that must be answered with a code.
func (w *wire) call(m im.Method, req im.Body, code int32, reply im.Msg) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w.id++
	if err := w.ws.Write(ctx, websocket.MessageBinary, im.AppendMessage(nil, &im.Frame{Id: w.id, Method: m}, req)); err != nil {
		w.t.Fatal(err)
	}
	for answered := false; !answered; {
		_, b, err := w.ws.Read(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := im.ReadFrames(b, func(f *im.Frame) error {
			switch {
			case f.Id == w.id && f.Code != code:
				w.t.Errorf("%s is answered %d (%s), want %d", m, f.Code, f.Desc, code)
				answered = true
			case f.Id == w.id:
				answered = true
				if reply != nil && code == 0 {
					return reply.UnmarshalVT(f.Body)
				}
			default:
				w.told = append(w.told, words(w.t, f))
			}
			return nil
		}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *wire) say(group, text string, code int32) {
	w.t.Helper()
	w.call(im.Method_SEND, &im.SendRequest{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: group}, ClientTime: uint64(time.Now().Unix()), Random: uint32(w.id) + 1, Message: im.Text(text)}, code, nil)
}

// sofar takes what was pushed so far.
func (w *wire) sofar() []string {
	w.t.Helper()
	told := make(chan struct{})
	w.n.store.Deliver(0, func() { close(told) }) // behind the events of what was committed
	<-told
	w.call(im.Method_HEARTBEAT, &im.Empty{}, 0, nil)
	out := w.told
	w.told = nil
	return out
}

func (w *wire) hears(want ...string) {
	w.t.Helper()
	if got := w.sofar(); !slices.Equal(got, want) {
		w.t.Errorf("heard %q, want %q", got, want)
	}
}

func words(t testing.TB, f *im.Frame) string {
	t.Helper()
	read := func(m im.Msg) {
		if err := m.UnmarshalVT(f.Body); err != nil {
			t.Fatal(err)
		}
	}
	switch f.Method {
	case im.Method_ENTRY, im.Method_LIVE:
		var p im.EntryPush
		read(&p)
		e := p.Entry
		if e.Message == nil {
			return fmt.Sprintf("%d void", e.Seq)
		}
		if tip := e.Message.ElemArray[0].GetGroupTips(); tip != nil {
			out := fmt.Sprintf("%d tip %d by %s of %s", e.Seq, tip.TipType, tip.OpUser, strings.Join(tip.UserArray, "+"))
			for _, c := range tip.GroupChangeInfoArray {
				out += fmt.Sprintf("%d=%s", c.Flag, c.Value)
			}
			return out
		}
		return fmt.Sprintf("%d %s: %s", e.Seq, e.Sender, im.TextOf(e.Message))
	case im.Method_HEAD:
		var h im.Head
		read(&h)
		return fmt.Sprintf("head %d left %v members %d", h.Seq, h.Left, h.Members)
	case im.Method_FED:
		var p im.FeedPush
		read(&p)
		var all []string
		for _, e := range p.Entries {
			all = append(all, fmt.Sprintf("report %d by %s%s", e.GetReport().GetReportType(), e.GetReport().GetOpUser(), e.GetReport().GetUserData()))
		}
		return strings.Join(all, ", ")
	case im.Method_CHANGE:
		var p im.ChangePush
		read(&p)
		return fmt.Sprintf("change %d of kind %d %s", p.Change.Rev, p.Change.Kind, p.Change.GetReport().GetUserData())
	}
	return f.Method.String()
}

// reply makes a call that must succeed and returns its reply without the envelope, which must have the fields that the table names.
func (n *node) reply(command, body string, args ...any) map[string]any {
	n.t.Helper()
	return n.keyed(answerKeys(n.t, command), command, body, args...)
}

// keyed is reply for fields that are given, in their order.
func (n *node) keyed(want []string, command, body string, args ...any) map[string]any {
	n.t.Helper()
	query := fmt.Sprintf("sdkappid=%d&identifier=%s&usersig=%s", app, DefaultAdmin, sig(n.t, DefaultAdmin, time.Now()))
	resp, err := http.Post(n.http.URL+"/v4/"+command+"?"+query, "", strings.NewReader(fmt.Sprintf(body, args...)))
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	a := n.envelope(command, resp.StatusCode, resp.Header, b)
	if a.ErrorCode != 0 {
		n.t.Fatalf("%s answered %d (%s)", command, a.ErrorCode, a.ErrorInfo)
	}
	if !slices.Equal(a.keys, want) {
		n.t.Errorf("%s answered with %q, want %q", command, a.keys, want)
	}
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		n.t.Fatal(err)
	}
	for _, k := range []string{"ActionStatus", "ErrorCode", "ErrorInfo", "ErrorDisplay"} {
		delete(out, k)
	}
	return out
}

// TestGroupCalls: what the calls that change a group do, and what its members hear of it: the same as if the owner had done it, with the operator as the
// one who did, who is in no list.
func TestGroupCalls(t *testing.T) {
	n := start(t, chat.Config{})
	ann, bob, carol, dave := n.wire("ann"), n.wire("bob"), n.wire("carol"), n.wire("dave")
	equal(t, "created", n.reply(createGroup, `{"Owner_Account":"ann","Type":"Public","GroupId":"g1","Name":"boats","MemberList":[{"Member_Account":"bob","Role":"Admin","NameCard":"B",
		"AppMemberDefinedData":[{"Key":"rank","Value":1}]},{"Member_Account":"ann"}],"AppDefinedData":[{"Key":"level","Value":"7"}]}`),
		map[string]any{"GroupId": "g1", "Type": "Public", "HugeGroupFlag": 0.0})
	ann.hears("1 tip 1 by administrator of bob", "head 1 left false members 2", "report 6 by administrator")
	bob.hears("1 tip 1 by administrator of bob", "head 1 left false members 2", "report 7 by administrator")

	added := n.reply(addMember, `{"GroupId":"g1","Silence":0,"MemberList":[{"Member_Account":"carol"},{"Member_Account":"bob"},{"Member_Account":"nobody"}]}`)
	equal(t, "added", added["MemberList"], []any{map[string]any{"Member_Account": "carol", "Result": 1.0}, map[string]any{"Member_Account": "bob", "Result": 2.0},
		map[string]any{"Member_Account": "nobody", "Result": 0.0}})
	bob.hears("2 tip 1 by administrator of carol")
	carol.hears("2 tip 1 by administrator of carol", "head 2 left false members 3", "report 7 by administrator")
	// Nobody is told, but who is a member is another set, and messages reach them.
	n.reply(addMember, `{"GroupId":"g1","Silence":1,"MemberList":[{"Member_Account":"dave"}]}`)
	dave.hears("head 2 left false members 4")
	carol.say("g1", "hi", 0)
	dave.hears("3 carol: hi")

	n.reply(forbidSend, `{"GroupId":"g1","Members_Account":["carol","dave"],"MuteTime":60}`)
	bob.hears("3 carol: hi", "4 tip 7 by administrator of carol+dave")
	carol.hears("4 tip 7 by administrator of carol+dave", "head 4 left false members 4", "report 17 by administrator")
	carol.say("g1", "but", im.CodeMuted)
	n.reply(forbidSend, `{"GroupId":"g1","Members_Account":["carol"],"ShutUpTime":0}`)
	carol.say("g1", "again", 0)
	n.refused(im.CodeNotMember, forbidSend, `{"GroupId":"g1","Members_Account":["carol","erin"],"MuteTime":60}`)
	carol.say("g1", "still", 0)

	n.reply(modifyGroup, `{"GroupId":"g1","Name":"ships","Notification":"n","ApplyJoinOption":"FreeAccess","InviteJoinOption":"NeedPermission","MaxMemberNum":100,"ShutUpAllMember":"On",
		"AppDefinedData":[{"Key":"level","Value":""},{"Key":"depth","Value":8}]}`)
	carol.say("g1", "muted with all", im.CodeMuted)
	ann.hears("2 tip 1 by administrator of carol", "3 carol: hi", "4 tip 7 by administrator of carol+dave", "5 tip 7 by administrator of carol", "6 carol: again", "7 carol: still",
		"8 tip 6 by administrator of 1=ships3=n6=6=8")
	n.reply(modifyGroup, `{"GroupId":"g1","MuteAllMember":"Off"}`)

	n.reply(deleteMember, `{"GroupId":"g1","Silence":0,"Reason":" spam","MemberToDel_Account":["carol","erin"]}`)
	carol.sofar()
	carol.say("g1", "gone", im.CodeNotMember)
	n.reply(deleteMember, `{"GroupId":"g1","Silence":1,"MemberToDel_Account":["dave"]}`)
	dave.sofar()
	dave.say("g1", "gone", im.CodeNotMember)
	ann.hears("9 tip 3 by administrator of carol")

	got := n.reply(groupInfo, `{"GroupIdList":["g1","unknown","%s"]}`, strings.Repeat("x", 97))["GroupInfo"].([]any)
	info := got[0].(map[string]any)
	for _, at := range []string{"CreateTime", "LastInfoTime", "LastMsgTime"} {
		if d := time.Since(time.Unix(int64(info[at].(float64)), 0)).Abs(); d > time.Minute {
			t.Errorf("%s is %v off", at, d)
		}
		delete(info, at)
	}
	members := info["MemberList"].([]any)
	for _, m := range members {
		delete(m.(map[string]any), "JoinTime")
	}
	equal(t, "members", members, []any{
		map[string]any{"Member_Account": "ann", "Role": "Owner", "MsgSeq": 0.0, "MsgFlag": "AcceptAndNotify", "MuteUntil": 0.0, "ShutUpUntil": 0.0, "NameCard": "", "AppMemberDefinedData": []any{}},
		map[string]any{"Member_Account": "bob", "Role": "Admin", "MsgSeq": 0.0, "MsgFlag": "AcceptAndNotify", "MuteUntil": 0.0, "ShutUpUntil": 0.0, "NameCard": "B",
			"AppMemberDefinedData": []any{map[string]any{"Key": "rank", "Value": "1"}}},
	})
	delete(info, "MemberList")
	equal(t, "info", info, map[string]any{
		"GroupId": "g1", "ErrorCode": 0.0, "ErrorInfo": "", "Type": "Public", "Name": "ships", "Introduction": "", "Notification": "n", "FaceUrl": "", "Owner_Account": "ann", "Appid": float64(app),
		"InfoSeq": 3.0, "NextMsgSeq": 10.0, "MemberNum": 2.0, "MaxMemberNum": 100.0, "ApplyJoinOption": "FreeAccess", "InviteJoinOption": "NeedPermission", "MuteAllMember": "Off", "ShutUpAllMember": "Off",
		"AppDefinedData": []any{map[string]any{"Key": "depth", "Value": "8"}},
	})
	for i, code := range []float64{1: im.CodeNoGroup, 2: im.CodeGroupID} {
		if item := got[i].(map[string]any); i > 0 && (item["ErrorCode"] != code || len(item) != 3) {
			t.Errorf("item %v, want %v", item, code)
		}
	}
	equal(t, "filtered", n.reply(groupInfo, `{"GroupIdList":["g1"],"ResponseFilter":{"GroupBaseInfoFilter":["Name","ShutUpAllMember"],"MemberInfoFilter":["Role"],"AppDefinedDataFilter_Group":["level"]}}`)["GroupInfo"],
		[]any{map[string]any{"GroupId": "g1", "ErrorCode": 0.0, "ErrorInfo": "", "Name": "ships", "MuteAllMember": "Off", "ShutUpAllMember": "Off", "AppDefinedData": []any{}, "MemberList": []any{
			map[string]any{"Member_Account": "ann", "Role": "Owner", "AppMemberDefinedData": []any{}}, map[string]any{"Member_Account": "bob", "Role": "Admin", "AppMemberDefinedData": []any{}}}}})

	n.reply(destroyGroup, `{"GroupId":"g1"}`)
	bob.sofar()
	ann.hears("change 1 of kind 4 ")
	n.refused(im.CodeNoGroup, destroyGroup, `{"GroupId":"g1"}`)
	// The operator is a member of nothing.
	equal(t, "groups", n.reply(joinedGroups, `{"Member_Account":"administrator","WithNoActiveGroups":1}`), map[string]any{"TotalCount": 0.0, "GroupIdList": []any{}})
}

// TestGroupWithoutOwner: only operators can do there what an owner could.
func TestGroupWithoutOwner(t *testing.T) {
	n := start(t, chat.Config{})
	ann := n.wire("ann")
	n.wire("bob")
	made := n.reply(createGroup, `{"Type":"Work","Name":"none","MemberList":[{"Member_Account":"ann"},{"Member_Account":"bob"}]}`)
	id, _ := made["GroupId"].(string)
	if !strings.HasPrefix(id, "@TGS#") || made["Type"] != "Private" {
		t.Fatalf("made %v", made)
	}
	ann.hears("1 tip 1 by administrator of ann+bob", "head 1 left false members 2", "report 7 by administrator")
	group := &im.GroupRequest{GroupId: id}
	ann.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: group, UserIds: []string{"bob"}}, im.CodeNotMember, nil)
	ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: group, Owner: new("ann")}, im.CodeNotMember, nil)
	n.refused(im.CodeNotMember, forbidSend, `{"GroupId":%q,"Members_Account":["ann"],"MuteTime":1}`, id)
	n.reply(createGroup, `{"Type":"Public","Name":"x","GroupId":"taken"}`)
	n.reply(deleteMember, `{"GroupId":%q,"MemberToDel_Account":["bob"]}`, id)
	info := n.reply(groupInfo, `{"GroupIdList":[%q]}`, id)["GroupInfo"].([]any)[0].(map[string]any)
	if info["Owner_Account"] != "" || info["MemberNum"] != 1.0 {
		t.Errorf("info %v", info)
	}
	n.refused(im.CodeGroupIDTaken, createGroup, `{"Type":"Private","Name":"x","GroupId":%q}`, "taken")
	n.reply(deleteMember, `{"GroupId":%q,"MemberToDel_Account":["ann"]}`, id) // the last one: the group ends
	n.refused(im.CodeNoGroup, memberInfo, `{"GroupId":%q}`, id)
}

// TestGroupCallsRefused: each wrong field has its code, and nothing is changed.
func TestGroupCallsRefused(t *testing.T) {
	n := start(t, chat.Config{})
	n.accounts("ann", "bob")
	n.reply(createGroup, `{"Owner_Account":"ann","Type":"Public","GroupId":"g1","Name":"boats"}`)
	many := func(count int) string { return strings.TrimSuffix(strings.Repeat(`"u",`, count), ",") }
	people := func(count int) string {
		return strings.TrimSuffix(strings.Repeat(`{"Member_Account":"u"},`, count), ",")
	}
	long := strings.Repeat("x", 301)
	for _, x := range []struct {
		code          int32
		command, body string
	}{
		{10004, createGroup, `{}`},
		{10004, createGroup, `{"Type":"Public"}`},
		{10004, createGroup, `{"Type":"Public","Name":""}`},
		{10004, createGroup, `{"Type":"Other","Name":"x"}`},
		{10004, createGroup, `{"Type":"Public","Name":"` + long[:31] + `"}`},
		{10004, createGroup, `{"Type":"Public","Name":"x","Introduction":"` + long[:241] + `"}`},
		{10004, createGroup, `{"Type":"Public","Name":"x","Notification":"` + long[:301] + `"}`},
		{10004, createGroup, `{"Type":"Public","Name":"x","FaceUrl":"` + long[:101] + `"}`},
		{10004, createGroup, `{"Type":"Public","Name":"x","ApplyJoinOption":"DisableInvite"}`},
		{10004, createGroup, `{"Type":"Public","Name":"x","InviteJoinOption":"x"}`},
		{10004, createGroup, `{"Type":"Public","Name":"x","Owner_Account":"nobody"}`},
		{10004, createGroup, `{"Type":"Public","Name":"x","MemberList":[{"Member_Account":"nobody"}]}`},
		{10004, createGroup, `{"Type":"Public","Name":"x","MemberList":[{}]}`},
		{10004, createGroup, `{"Type":"Public","Name":"x","MemberList":[{"Member_Account":"bob","Role":"Owner"}]}`},
		{10004, createGroup, `{"Type":"Public","Name":"x","MemberList":[{"Member_Account":"bob","NameCard":"` + long[:51] + `"}]}`},
		{10005, createGroup, `{"Type":"Public","Name":"x","MemberList":[` + people(101) + `]}`},
		{10004, createGroup, `{"Type":"Public","Name":"x","AppDefinedData":[{"Key":"a b","Value":"x"}]}`},
		{10004, createGroup, `{"Type":"Public","Name":"x","AppDefinedData":[{"Key":"a","Value":{}}]}`},
		{10004, createGroup, `{"Type":"Public","Name":"x","AppDefinedData":[{"Key":"a1234567890123456","Value":"x"}]}`},
		{10038, createGroup, `{"Type":"Public","Name":"x","MaxMemberCount":6001}`},
		{10015, createGroup, `{"Type":"Public","Name":"x","GroupId":"@TGS#1"}`},
		{10015, createGroup, `{"Type":"Community","Name":"x","GroupId":"c"}`},
		{10025, createGroup, `{"Type":"Public","Name":"x","GroupId":"g1","Owner_Account":"ann"}`},
		{10021, createGroup, `{"Type":"Public","Name":"x","GroupId":"g1","Owner_Account":"bob"}`},
		{10007, createGroup, `{"Type":"Private","Name":"x","ApplyJoinOption":"FreeAccess"}`},
		{10004, destroyGroup, `{}`},
		{10004, addMember, `{"GroupId":"g1","MemberList":[{"Member_Account":"bob"}]}`},
		{10004, addMember, `{"GroupId":"g1","Silence":0}`},
		{10005, addMember, `{"GroupId":"g1","Silence":0,"MemberList":[` + people(301) + `]}`},
		{10004, deleteMember, `{"GroupId":"g1"}`},
		{10004, deleteMember, `{"GroupId":"g1","MemberToDel_Account":[` + many(101) + `]}`},
		{10004, forbidSend, `{"GroupId":"g1","Members_Account":["bob"]}`},
		{10004, forbidSend, `{"GroupId":"g1","Members_Account":["bob"],"MuteTime":4294967296}`},
		{10004, forbidSend, `{"GroupId":"g1","Members_Account":[` + many(501) + `],"MuteTime":1}`},
		{10004, modifyGroup, `{"GroupId":"g1","Name":""}`},
		{10004, modifyGroup, `{"GroupId":"g1","Name":"` + long[:31] + `"}`},
		{10004, modifyGroup, `{"GroupId":"g1","MuteAllMember":"on"}`},
		{10004, modifyGroup, `{"GroupId":"g1","MaxMemberNum":6001}`},
		{10004, groupInfo, `{"GroupIdList":[]}`},
		{10004, groupInfo, `{"GroupIdList":[` + many(51) + `]}`},
		{10004, memberInfo, `{"GroupId":"g1","Limit":201}`},
		{10004, memberInfo, `{"GroupId":"g1","Next":"x"}`},
		{10004, memberInfo, `{"GroupId":"g1","MemberRoleFilter":["x"]}`},
		{10004, joinedGroups, `{"Member_Account":"nobody"}`},
		{10004, joinedGroups, `{"Member_Account":"ann","GroupType":"x"}`},
		{10004, joinedGroups, `{"Member_Account":"ann","Limit":0}`},
	} {
		n.refused(x.code, x.command, "%s", x.body)
	}
	for _, command := range []string{destroyGroup, addMember, deleteMember, forbidSend, modifyGroup, memberInfo} {
		for id, code := range map[string]int32{"unknown": 10010, "ünï": 10015, strings.Repeat("x", 97): 10015} {
			n.refused(code, command, `{"GroupId":%q,"Silence":0,"MemberList":[{"Member_Account":"bob"}],"MemberToDel_Account":["bob"],"Members_Account":["bob"],"MuteTime":1,"Name":"x"}`, id)
		}
	}
	info := n.reply(groupInfo, `{"GroupIdList":["g1"]}`)["GroupInfo"].([]any)[0].(map[string]any)
	if info["Name"] != "boats" || info["InfoSeq"] != 1.0 || info["MemberNum"] != 1.0 || info["NextMsgSeq"] != 1.0 {
		t.Errorf("after refused calls: %v", info)
	}
	if total := n.reply(joinedGroups, `{"Member_Account":"bob"}`)["TotalCount"]; total != 0.0 {
		t.Errorf("bob is in %v groups", total)
	}
}

// TestGroupPages: whoever is a member during a whole listing is on exactly one of its pages, while others join and leave between them.
func TestGroupPages(t *testing.T) {
	n := start(t, chat.Config{})
	var people []string
	for i := range 300 {
		people = append(people, fmt.Sprintf("user%03d", i))
	}
	n.accounts("ann")
	n.accounts(people...)
	n.reply(createGroup, `{"Owner_Account":"ann","Type":"Public","GroupId":"g1","Name":"many"}`)
	list := func(names []string) string {
		var out []string
		for _, name := range names {
			out = append(out, fmt.Sprintf(`{"Member_Account":%q}`, name))
		}
		return strings.Join(out, ",")
	}
	ann := n.wire("ann")
	n.reply(addMember, `{"GroupId":"g1","Silence":0,"MemberList":[%s]}`, list(people))
	if got := ann.sofar(); len(got) != 3 { // a tip names at most 100
		t.Errorf("%d tips, want 3: %.200q", len(got), got)
	}
	names := func(body string, args ...any) (out []string, next string) {
		page := n.reply(memberInfo, body, args...)
		for _, m := range page["MemberList"].([]any) {
			out = append(out, m.(map[string]any)["Member_Account"].(string))
		}
		return out, page["Next"].(string)
	}
	all, next := names(`{"GroupId":"g1","MemberInfoFilter":["Role"]}`)
	equal(t, "all", all, append([]string{"ann"}, people...))
	equal(t, "next of all", next, "")
	var seen []string
	for round := 0; ; round++ {
		page, after := names(`{"GroupId":"g1","Limit":50,"Next":%q}`, next)
		seen = append(seen, page...)
		if next = after; next == "" {
			break
		}
		// Two of the first page leave, one of a later page leaves, and one of them comes back at the end.
		n.reply(deleteMember, `{"GroupId":"g1","Silence":1,"MemberToDel_Account":[%q,%q,%q]}`, people[2*round], people[2*round+1], people[290-round])
		n.reply(addMember, `{"GroupId":"g1","Silence":1,"MemberList":[%s]}`, list(people[2*round:2*round+1]))
	}
	count := map[string]int{}
	for _, name := range seen {
		count[name]++
	}
	for i := 20; i < 280; i++ {
		if count[people[i]] != 1 {
			t.Errorf("%s is listed %d times", people[i], count[people[i]])
		}
	}
	page, _ := names(`{"GroupId":"g1","Limit":3,"Offset":2,"MemberInfoFilter":["JoinTime"]}`)
	full, _ := names(`{"GroupId":"g1"}`)
	equal(t, "by offset", page, full[2:5])
	page, _ = names(`{"GroupId":"g1","MemberRoleFilter":["Owner","Admin"]}`)
	equal(t, "owner and admins", page, []string{"ann"})
}

// TestJoinedGroups: the groups of a user, by type, in pages, with what is asked for of each.
func TestJoinedGroups(t *testing.T) {
	n := start(t, chat.Config{})
	n.accounts("ann", "bob")
	for i, typ := range []string{"Public", "Private", "ChatRoom", "Community", "Private"} {
		id := fmt.Sprint("g", i)
		if typ == "Community" {
			id = "@TGS#_" + id
		}
		members := ""
		if i == 4 {
			members = `{"Member_Account":"bob"}`
		}
		n.reply(createGroup, `{"Owner_Account":"ann","Type":%q,"GroupId":%q,"Name":"x","MemberList":[%s]}`, typ, id, members)
	}
	ids := func(body string) (out []string, total any) {
		page := n.reply(joinedGroups, "%s", body)
		for _, g := range page["GroupIdList"].([]any) {
			if item := g.(map[string]any); len(item) == 1 {
				out = append(out, item["GroupId"].(string))
			}
		}
		return out, page["TotalCount"]
	}
	for body, want := range map[string][]string{
		`{"Member_Account":"ann"}`: {"g0", "g2", "@TGS#_g3", "g4"}, `{"Member_Account":"ann","WithNoActiveGroups":1}`: {"g0", "g1", "g2", "@TGS#_g3", "g4"},
		`{"Member_Account":"ann","WithNoActiveGroups":1,"Type":"Private"}`: {"g1", "g4"}, `{"Member_Account":"bob","GroupType":"Work"}`: {"g4"},
	} {
		got, total := ids(body)
		equal(t, body, got, want)
		equal(t, "total", total, float64(len(want)))
	}
	got, total := ids(`{"Member_Account":"ann","Limit":2,"Offset":1}`)
	equal(t, "page", []any{got, total}, []any{[]string{"g2", "@TGS#_g3"}, 4.0})
	page := n.reply(joinedGroups, `{"Member_Account":"bob","ResponseFilter":{"GroupBaseInfoFilter":["Type","MemberNum"],"SelfInfoFilter":["Role","MsgFlag"]}}`)
	equal(t, "filtered", page["GroupIdList"], []any{map[string]any{"GroupId": "g4", "Type": "Private", "MemberNum": 2.0, "SelfInfo": map[string]any{"Role": "Member", "MsgFlag": "AcceptAndNotify"}}})
}
