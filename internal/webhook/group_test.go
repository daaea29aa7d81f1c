package webhook_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

const (
	beforeGroup = "Group.CallbackBeforeSendMsg"
	afterGroup  = "Group.CallbackAfterSendMsg"
)

// toGroup is a text to a group, with a number as its key.
func toGroup(group string, n uint32, text string) *im.SendRequest {
	return &im.SendRequest{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: group}, ClientTime: uint64(time.Now().Unix()), Random: n, Message: im.Text(text)}
}

func (c *conn) found(group string, typ im.GroupType, members ...string) {
	c.t.Helper()
	req := &im.CreateGroupRequest{GroupId: group, Name: "name of " + group, Type: typ}
	for _, m := range members {
		req.Members = append(req.Members, &im.GroupMemberInfo{Identifier: m})
	}
	c.call(im.Method_CREATE_GROUP, req, &im.CreateGroupReply{})
}

// log returns the texts of a group's log; a tip is "tip".
func (c *conn) log(group string) (out []string) {
	c.t.Helper()
	key := &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: group}
	var heads im.HeadsReply
	c.call(im.Method_HEADS, &im.HeadsRequest{Only: []*im.ConvKey{key}}, &heads)
	if heads.Heads[0].Seq == 0 {
		return nil
	}
	var r im.PullReply
	c.call(im.Method_PULL, &im.PullRequest{Conv: key, Epoch: heads.Heads[0].Epoch, From: 1, To: heads.Heads[0].Seq}, &r)
	for _, e := range r.Entries {
		text := "tip"
		if e.Message.GetElemArray()[0].GetGroupTips() == nil {
			text = im.TextOf(e.Message)
		}
		out = append(out, text)
	}
	return out
}

// TestGroupMessages compares the notifications of messages with the log: each of them in its order, none of tips, and with the fields of the table.
func TestGroupMessages(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), quick)
	ann := connect(t, s, "ann")
	connect(t, s, "bob")
	ann.found("g1", im.GroupType_GROUP_TYPE_PUBLIC, "bob")
	m := toGroup("g1", 7, "hi <&>")
	m.Message.CloudCustomStr, m.Message.GroupAtUserArray = "cloud", []string{"bob", "__kImSDK_MessageAtALL__"}
	ann.call(im.Method_SEND, m, &im.SendReply{})
	const body = `"GroupId":"g1","Type":"Public","From_Account":"ann","Operator_Account":"ann","Random":7,"OnlineOnlyFlag":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hi <&>"}}],
		"CloudCustomData":"cloud","EventTime":1}`
	e := r.next(beforeGroup)
	same(t, e, `{"CallbackCommand":"Group.CallbackBeforeSendMsg",`+body)
	after := r.next(afterGroup)
	same(t, after, fmt.Sprintf(`{"CallbackCommand":"Group.CallbackAfterSendMsg","MsgSeq":2,"MsgTime":%d,"GroupAtInfo":[{"GroupAtAllFlag":0,"GroupAt_Account":"bob"},{"GroupAtAllFlag":1,"GroupAt_Account":""}],%s`, after.MsgTime, body))
	for _, e := range []event{e, after} {
		query, names := fieldsOf(t, e.CallbackCommand)
		names = slices.DeleteFunc(names, func(s string) bool { return s == "TopicId" || strings.Contains(s, "[]") })
		for i, name := range names {
			names[i], _, _ = strings.Cut(name, " ")
		}
		slices.Sort(e.keys)
		if !slices.Equal(e.keys, names) || len(e.query) != len(query)-2 || e.query.Get("ClientIP")+" "+e.query.Get("OptPlatform") != map[string]string{beforeGroup: "127.0.0.1 Linux", afterGroup: " Unknown"}[e.CallbackCommand] {
			t.Errorf("%s has %q, want %q; query %v", e.CallbackCommand, e.keys, names, e.query)
		}
	}
	if after.id == "" {
		t.Error("no event id")
	}

	// An operator's message is asked about, with the operator's account; and neither, if the call says so.
	send := func(random int, more string) {
		s.Operate("group_open_http_svc/send_group_msg", fmt.Sprintf(`{"GroupId":"g1","Random":%d,"From_Account":"bob","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"%d"}}]%s}`, random, random, more))
	}
	send(8, `,"ForbidCallbackControl":["ForbidBeforeSendMsgCallback","ForbidAfterSendMsgCallback"]`)
	s.Operate("group_open_http_svc/add_group_member", `{"GroupId":"g1","Silence":0,"MemberList":[{"Member_Account":"administrator"}]}`) // a tip
	send(9, "")
	e = r.next(beforeGroup)
	if q := e.query; q.Get("OptPlatform") != "RESTAPI" || e.text() != "9" || !strings.Contains(e.body, `"From_Account":"bob","Operator_Account":"administrator"`) {
		t.Errorf("%v %s", q, e.body)
	}
	if e := r.next(afterGroup); e.text() != "9" || e.MsgSeq != 5 {
		t.Errorf("%s", e.body)
	}
	for i := range 100 {
		ann.call(im.Method_SEND, toGroup("g1", uint32(100+i), fmt.Sprint(i)), &im.SendReply{})
	}
	for i := range 100 {
		if e := r.next(afterGroup); e.text() != fmt.Sprint(i) || e.MsgSeq != uint64(6+i) {
			t.Fatalf("notification %d is %s", i, e.body)
		}
	}
	if n := r.count(afterGroup); n != 102 {
		t.Errorf("%d notifications", n)
	}
}

// TestGroupVerdicts: what the program refuses, drops and rewrites of messages to groups; it is not asked about what goes nowhere, and what it has allowed is
// checked again.
func TestGroupVerdicts(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), imtest.WebhookDeadline(patience, false))
	ann, bob, carol := connect(t, s, "ann"), connect(t, s, "bob"), connect(t, s, "carol")
	ann.found("g1", im.GroupType_GROUP_TYPE_PUBLIC, "bob")
	answers := map[string]string{
		"refused": `{"ErrorCode":1}`, "own": `{"ErrorCode":10101,"ErrorInfo":"my words"}`, "other": `{"ErrorCode":120001}`, "dropped": `{"ErrorCode":2}`,
		"rewritten": `{"ErrorCode":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"other words"}}],"CloudCustomData":"x"}`,
		"bad":       `{"ErrorCode":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"` + strings.Repeat("x", 13000) + `"}}]}`,
	}
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	r.on(beforeGroup, func(e *event) string {
		if e.text() == "late" {
			held <- struct{}{}
			<-hold
		}
		if a := answers[e.text()]; a != "" {
			return a
		}
		return fine
	})
	for i, x := range []struct {
		text string
		code int32
	}{{"refused", 10016}, {"own", 10101}, {"other", 10016}, {"dropped", 0}, {"rewritten", 0}, {"bad", 0}} {
		if code := ann.try(im.Method_SEND, toGroup("g1", uint32(i), x.text), &im.SendReply{}); code != x.code {
			t.Errorf("%s is answered %d", x.text, code)
		}
	}
	if got, want := bob.log("g1"), []string{"tip", "other words", "bad"}; !slices.Equal(got, want) {
		t.Errorf("the log has %q, want %q", got, want)
	}
	asked := r.count(beforeGroup)
	if code := carol.try(im.Method_SEND, toGroup("g1", 1, "stranger"), &im.SendReply{}); code != im.CodeNotMember {
		t.Errorf("a stranger is answered %d", code)
	}
	if n := r.count(beforeGroup); n != asked {
		t.Error("the program was asked about a message that goes nowhere")
	}

	// The hook is late: what the same sender sends afterwards waits, whether or not the program is asked about it; others do not wait.
	answered := make(chan int32, 1)
	first := connect(t, s, "bob")
	go func() {
		late := first.try(im.Method_SEND, toGroup("g1", 20, "late"), &im.SendReply{})
		answered <- late
	}()
	get(t, "question", held)
	ann.call(im.Method_SEND, toGroup("g1", 21, "not late"), &im.SendReply{})
	ann.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: &im.GroupRequest{GroupId: "g1"}, UserIds: []string{"bob"}}, &im.KickReply{})
	close(hold)
	if code := get(t, "answer", answered); code != im.CodeNotMember {
		t.Errorf("a message of who was removed while the program was asked is answered %d", code)
	}
	if got, want := ann.log("g1"), []string{"tip", "other words", "bad", "not late", "tip"}; !slices.Equal(got, want) {
		t.Errorf("the log has %q, want %q", got, want)
	}
}

// TestGroupOrderAcrossTheHook: messages of one sender to a group are stored in their order, however late the program answers about one of them, and whether or
// not it is asked about the others.
func TestGroupOrderAcrossTheHook(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), imtest.WebhookDeadline(patience, false))
	ann := connect(t, s, "ann")
	ann.found("g1", im.GroupType_GROUP_TYPE_WORK)
	ann.found("g2", im.GroupType_GROUP_TYPE_WORK)
	hold := make(chan struct{})
	r.on(beforeGroup, func(e *event) string {
		if e.text() == "0" {
			<-hold
		}
		return fine
	})
	const n = 20
	var want []string
	for i := range n {
		m := toGroup("g1", uint32(i), fmt.Sprint(i))
		m.Message.DisableCloudMessagePreHook = i%3 == 1
		ann.begin(im.Method_SEND, m)
		want = append(want, fmt.Sprint(i))
	}
	ann.call(im.Method_SEND, toGroup("g2", 1, "at once"), &im.SendReply{}) // while the first to g1 still waits
	if got := ann.log("g1"); len(got) != 0 {
		t.Errorf("stored before the program has answered: %q", got)
	}
	close(hold)
	ann.call(im.Method_SEND, toGroup("g1", n, "last"), &im.SendReply{})
	if got := ann.log("g1"); !slices.Equal(got, append(want, "last")) {
		t.Errorf("the log has %q", got)
	}
}

func group(id string) *im.GroupRequest { return &im.GroupRequest{GroupId: id} }

func members(id string, users ...string) *im.GroupMembersRequest {
	return &im.GroupMembersRequest{Group: group(id), UserIds: users}
}

// changeGroup changes a group of two users in every way of which there is a notification.
func changeGroup(ann, bob *conn) {
	add, none := im.GroupAddOption_GROUP_ADD_OPTION_ANY, &im.Empty{}
	ann.call(im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: "g1", Name: "boats", Type: im.GroupType_GROUP_TYPE_PUBLIC, AddOption: &add, ApproveOption: &add, MaxMembers: 2,
		Custom: []*im.GroupInfoCustomString{{Key: "level", Value: "7"}}}, &im.CreateGroupReply{})
	bob.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: group("g1")}, &im.JoinGroupReply{})
	bob.call(im.Method_SEND, toGroup("g1", 1, "hi"), &im.SendReply{})
	var heads im.HeadsReply
	key := &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: "g1"}
	ann.call(im.Method_HEADS, &im.HeadsRequest{Only: []*im.ConvKey{key}}, &heads)
	bob.call(im.Method_REVOKE, &im.RevokeRequest{Conv: key, Epoch: heads.Heads[0].Epoch, Seq: 2}, &im.RevokeReply{})
	ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: group("g1"), Name: new("ships"), Introduction: new(""), MaxMembers: new(uint64(3))}, none)
	ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: group("g1"), MaxMembers: new(uint64(2)), Searchable: new(uint64(1))}, none) // of which there is no notification
	ann.call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: group("g1"), UserId: bob.user, Role: new(im.GroupMemberRole_GROUP_MEMBER_ROLE_ADMIN), NameCard: new("B")}, none)
	ann.call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: group("g1"), UserId: bob.user, Mute: new(uint64(1))}, none) // nor of this
	ann.call(im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{Group: group("g1"), Action: im.AttributesAction_ATTRIBUTES_SET, Attributes: []*im.GroupAttributes{{Key: "k", Value: "v"}}}, &im.AttributesReply{})
	ann.call(im.Method_KICK_MEMBERS, members("g1", bob.user, "nobody"), &im.KickReply{})
	ann.call(im.Method_INVITE, members("g1", bob.user, "nobody"), &im.InviteReply{})
	ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: group("g1"), Owner: new(bob.user)}, none)
	ann.call(im.Method_QUIT_GROUP, group("g1"), none)
	bob.call(im.Method_DISSOLVE_GROUP, group("g1"), none)
}

// TestAfterGroups compares each notification about a group with its cause, in the order of the changes, by members and by an operator.
func TestAfterGroups(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, "xxxxyyyy"), quick)
	ann, bob, carol := connect(t, s, "ann"), connect(t, s, "bob"), connect(t, s, "carol")
	changeGroup(ann, bob)
	const operate = "group_open_http_svc/"
	s.Operate(operate+"create_group", `{"Type":"Public","GroupId":"g2","Name":"none","MaxMemberCount":2,"MemberList":[{"Member_Account":"ann"}]}`)
	s.Operate(operate+"add_group_member", `{"GroupId":"g2","Silence":1,"MemberList":[{"Member_Account":"bob"}]}`)
	if code := carol.try(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: group("g2")}, &im.JoinGroupReply{}); code != 0 { // it waits for approval
		t.Errorf("answered %d", code)
	}
	s.Operate(operate+"modify_group_base_info", `{"GroupId":"g2","ApplyJoinOption":"FreeAccess"}`)
	if code := carol.try(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: group("g2")}, &im.JoinGroupReply{}); code != im.CodeGroupFull {
		t.Errorf("answered %d", code)
	}
	s.Operate(operate+"send_group_msg", `{"GroupId":"g2","Random":1,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}`)
	s.Operate(operate+"send_group_msg", `{"GroupId":"g2","Random":2,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}`)
	s.Operate(operate+"group_msg_recall", `{"GroupId":"g2","MsgSeqList":[{"MsgSeq":2},{"MsgSeq":1},{"MsgSeq":3}]}`)
	s.Operate(operate+"modify_group_base_info", `{"GroupId":"g2","Notification":"n"}`)
	s.Operate(operate+"delete_group_member", `{"GroupId":"g2","Silence":0,"MemberToDel_Account":["ann","bob"]}`)
	s.Operate(operate+"destroy_group", `{"GroupId":"g2"}`)
	for id, want := range map[string][]string{
		"g1": {
			`"CallbackCommand":"Group.CallbackAfterCreateGroup","Operator_Account":"ann","Owner_Account":"ann","Type":"Public","Name":"boats","MemberList":[],"UserDefinedDataList":[{"Key":"level","Value":"7"}]`,
			`"CallbackCommand":"Group.CallbackAfterNewMemberJoin","Type":"Public","JoinType":"Apply","Operator_Account":"bob","NewMemberList":[{"Member_Account":"bob"}]`,
			`"CallbackCommand":"Group.CallbackAfterGroupFull"`,
			`"CallbackCommand":"Group.CallbackAfterRecallMsg","Operator_Account":"bob","Type":"Public","MsgSeqList":[{"MsgSeq":2}]`,
			`"CallbackCommand":"Group.CallbackAfterGroupInfoChanged","Type":"Public","Operator_Account":"ann","Name":"ships"`,
			`"CallbackCommand":"Group.CallbackAfterMemberFieldChanged","Type":"Public","Operator_Account":"ann","Modified_Account":"bob","Role":"Admin","NameCard":"B"`,
			`"CallbackCommand":"Group.CallbackAfterGroupAttrChanged","Type":"Public","Operator_Account":"ann","OptionType":"modify","GroupAttr":[{"key":"k","value":"v"}]`,
			`"CallbackCommand":"Group.CallbackAfterMemberExit","Type":"Public","ExitType":"Kicked","Operator_Account":"ann","ExitMemberList":[{"Member_Account":"bob"}]`,
			`"CallbackCommand":"Group.CallbackAfterNewMemberJoin","Type":"Public","JoinType":"Invited","Operator_Account":"ann","NewMemberList":[{"Member_Account":"bob"}]`,
			`"CallbackCommand":"Group.CallbackAfterGroupFull"`,
			`"CallbackCommand":"Group.CallbackAfterChangeGroupOwner","Type":"Public","Operator_Account":"ann","OldOwner_Account":"ann","NewOwner_Account":"bob"`,
			`"CallbackCommand":"Group.CallbackAfterMemberExit","Type":"Public","ExitType":"Quit","Operator_Account":"ann","ExitMemberList":[{"Member_Account":"ann"}]`,
			`"CallbackCommand":"Group.CallbackAfterGroupDestroyed","Type":"Public","Owner_Account":"bob","Name":"ships","MemberList":[{"Member_Account":"bob"}]`,
		},
		"g2": {
			`"CallbackCommand":"Group.CallbackAfterCreateGroup","Operator_Account":"administrator","Owner_Account":"","Type":"Public","Name":"none","MemberList":[{"Member_Account":"ann"}],"UserDefinedDataList":[]`,
			`"CallbackCommand":"Group.CallbackAfterNewMemberJoin","Type":"Public","JoinType":"Invited","Operator_Account":"administrator","NewMemberList":[{"Member_Account":"bob"}]`,
			`"CallbackCommand":"Group.CallbackAfterGroupFull"`,
			`"CallbackCommand":"Group.CallbackAfterGroupFull"`, // carol could not join
			`"CallbackCommand":"Group.CallbackAfterRecallMsg","Operator_Account":"administrator","Type":"Public","MsgSeqList":[{"MsgSeq":2},{"MsgSeq":3}]`,
			`"CallbackCommand":"Group.CallbackAfterGroupInfoChanged","Type":"Public","Operator_Account":"administrator","Notification":"n"`,
			`"CallbackCommand":"Group.CallbackAfterMemberExit","Type":"Public","ExitType":"Kicked","Operator_Account":"administrator","ExitMemberList":[{"Member_Account":"ann"},{"Member_Account":"bob"}]`,
			`"CallbackCommand":"Group.CallbackAfterGroupDestroyed","Type":"Public","Owner_Account":"","Name":"none","MemberList":[]`,
		},
	} {
		got := r.about(id, len(want))
		for i := range want {
			same(t, got[i], `{"GroupId":"`+id+`","EventTime":1,`+want[i]+`}`)
			by := map[bool]string{true: "RESTAPI", false: "Linux"}[strings.Contains(want[i], "administrator") || id == "g2" && i != 3]
			if q := got[i].query; q.Get("OptPlatform") != by || q.Get("ClientIP") != "127.0.0.1" || q.Get("CallbackCommand") != got[i].CallbackCommand {
				t.Errorf("%s: query %v, want %s", got[i].CallbackCommand, q, by)
			}
			if got[i].id == "" || i > 0 && got[i].id == got[i-1].id {
				t.Errorf("%s has the id %q", got[i].CallbackCommand, got[i].id)
			}
		}
	}
}

// about waits for notifications about a group, except those of messages.
func (r *receiver) about(group string, n int) (got []event) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for len(got) < n && time.Now().Before(deadline) {
		got = nil
		r.mu.Lock()
		for _, e := range r.events {
			if strings.Contains(e.body, `"GroupId":"`+group+`"`) && strings.HasPrefix(e.CallbackCommand, "Group.CallbackAfter") && e.CallbackCommand != afterGroup {
				got = append(got, e)
			}
		}
		r.mu.Unlock()
		select {
		case <-r.heard:
		case <-time.After(10 * time.Millisecond):
		}
	}
	if len(got) != n {
		r.t.Fatalf("%d notifications about %s, want %d: %v", len(got), group, n, got)
	}
	return got
}

// last returns the last question or notification of a command that came.
func (r *receiver) last(command string) event {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range slices.Backward(r.events) {
		if e.CallbackCommand == command {
			return e
		}
	}
	r.t.Fatalf("no %s came", command)
	panic("unreachable")
}

// TestGroupBefore: what the program refuses of groups is not done; what it allows is checked again; it is asked about operators' calls as the table says, and not about what is
// not done.
func TestGroupBefore(t *testing.T) {
	const create, join, invite = "Group.CallbackBeforeCreateGroup", "Group.CallbackBeforeApplyJoinGroup", "Group.CallbackBeforeInviteJoinGroup"
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), imtest.WebhookDeadline(2*time.Second, false))
	ann, bob, carol := connect(t, s, "ann"), connect(t, s, "bob"), connect(t, s, "carol")
	connect(t, s, "dave")
	found := func(c *conn, id string, people ...string) int32 {
		req := &im.CreateGroupRequest{GroupId: id, Name: "boats", Type: im.GroupType_GROUP_TYPE_COMMUNITY}
		for _, p := range people {
			req.Members = append(req.Members, &im.GroupMemberInfo{Identifier: p})
		}
		return c.try(im.Method_CREATE_GROUP, req, &im.CreateGroupReply{})
	}
	r.before(create, `{"ErrorCode":1}`)
	if code := found(ann, "@TGS#_1", "bob"); code != 10016 {
		t.Errorf("answered %d", code)
	}
	same(t, r.last(create), `{"CallbackCommand":"Group.CallbackBeforeCreateGroup","Operator_Account":"ann","Owner_Account":"ann","Type":"Community","Name":"boats","CreateGroupNum":0,
		"MemberList":[{"Member_Account":"bob"}],"EventTime":1}`)
	r.before(create, `{"ErrorCode":10200,"ErrorInfo":"my words"}`)
	if code := found(ann, "@TGS#_1"); code != 10200 {
		t.Errorf("answered %d", code)
	}
	r.before(create, fine)
	if code := found(ann, "@TGS#_1"); code != 0 {
		t.Errorf("answered %d", code)
	}
	asked := r.count(create)
	if code := found(ann, "@TGS#_1"); code != im.CodeGroupIDOwn || r.count(create) != asked {
		t.Errorf("answered %d, and asked about an id that is in use: %v", code, r.count(create) != asked)
	}
	s.Operate("group_open_http_svc/create_group", `{"Type":"Community","Owner_Account":"ann","Name":"x"}`)
	same(t, r.last(create), `{"CallbackCommand":"Group.CallbackBeforeCreateGroup","Operator_Account":"administrator","Owner_Account":"ann","Type":"Community","Name":"x","CreateGroupNum":1,
		"MemberList":[],"EventTime":1}`)

	tryJoin := func(c *conn) int32 {
		return c.try(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: group("@TGS#_1")}, &im.JoinGroupReply{})
	}
	r.before(join, `{"ErrorCode":10100,"ErrorInfo":"no"}`)
	if code := tryJoin(bob); code != 10100 {
		t.Errorf("answered %d", code)
	}
	same(t, r.last(join), `{"CallbackCommand":"Group.CallbackBeforeApplyJoinGroup","GroupId":"@TGS#_1","Type":"Community","Requestor_Account":"bob","EventTime":1}`)
	r.before(join, fine)
	if code := tryJoin(bob); code != 0 {
		t.Errorf("answered %d", code)
	}
	asked = r.count(join)
	if code := tryJoin(bob); code != im.CodeAlreadyMember || r.count(join) != asked {
		t.Errorf("a member is answered %d, and the program is asked: %v", code, r.count(join) != asked)
	}
	// The group ends while the program is asked.
	r.on(join, func(*event) string {
		s.Operate("group_open_http_svc/modify_group_base_info", `{"GroupId":"@TGS#_1","ApplyJoinOption":"DisableApply"}`)
		return fine
	})
	if code := tryJoin(carol); code != im.CodeNotMember {
		t.Errorf("what the program has allowed is not checked again: %d", code)
	}

	results := func(c *conn, users ...string) (out string) {
		var reply im.InviteReply
		code := c.try(im.Method_INVITE, members("@TGS#_1", users...), &reply)
		out = fmt.Sprint(code)
		for _, x := range reply.Results {
			out += fmt.Sprintf(" %s:%d", x.Identifier, x.Result)
		}
		return out
	}
	r.before(invite, `{"ErrorCode":0,"RefusedMembers_Account":["carol","bob"]}`)
	if got, want := results(ann, "bob", "carol", "dave", "nobody"), "0 bob:0 carol:0 dave:1 nobody:0"; got != want {
		t.Errorf("invited: %s, want %s", got, want)
	}
	same(t, r.last(invite), `{"CallbackCommand":"Group.CallbackBeforeInviteJoinGroup","GroupId":"@TGS#_1","Type":"Community","Operator_Account":"ann",
		"DestinationMembers":[{"Member_Account":"carol"},{"Member_Account":"dave"}],"EventTime":1}`)
	r.before(invite, `{"ErrorCode":1}`)
	if got := results(ann, "carol"); got != "10016" {
		t.Errorf("invited: %s", got)
	}
	asked = r.count(invite)
	if got := results(carol, "carol"); got != fmt.Sprint(im.CodeNotMember) || r.count(invite) != asked {
		t.Errorf("a stranger's invitation is answered %s, and the program is asked: %v", got, r.count(invite) != asked)
	}
	r.before(invite, fine)
	s.Operate("group_open_http_svc/add_group_member", `{"GroupId":"@TGS#_1","Silence":0,"MemberList":[{"Member_Account":"carol"}]}`)
	if e := r.last(invite); !strings.Contains(e.body, `"Operator_Account":"administrator"`) || e.query.Get("OptPlatform") != "RESTAPI" {
		t.Errorf("%v %s", e.query, e.body)
	}
}

// TestLiveRoomBefore: the program decides about messages to a live room, and who joins it, as about others; it is not asked about a device that returns.
func TestLiveRoomBefore(t *testing.T) {
	const join = "Group.CallbackBeforeApplyJoinGroup"
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), imtest.WebhookDeadline(patience, false))
	ann, bob := connect(t, s, "ann"), connect(t, s, "bob")
	ann.found("room", im.GroupType_GROUP_TYPE_AVCHATROOM)
	r.on(beforeGroup, func(e *event) string {
		if e.text() == "bad" {
			return `{"ErrorCode":10101}`
		}
		return fine
	})
	if code := bob.try(im.Method_SEND, toGroup("room", 1, "outside"), &im.SendReply{}); code != im.CodeNotMember || r.count(beforeGroup) != 0 {
		t.Errorf("who is outside is answered %d, and the program is asked %d times", code, r.count(beforeGroup))
	}
	bob.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: group("room")}, &im.JoinGroupReply{})
	if n := r.count(join); n != 1 {
		t.Errorf("asked %d times", n)
	}
	bob.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: group("room"), Again: true}, &im.JoinGroupReply{})
	if n := r.count(join); n != 1 {
		t.Errorf("asked about a device that returns")
	}
	if code := bob.try(im.Method_SEND, toGroup("room", 2, "bad"), &im.SendReply{}); code != 10101 {
		t.Errorf("answered %d", code)
	}
	bob.call(im.Method_SEND, toGroup("room", 3, "good"), &im.SendReply{})
	if e := r.last(beforeGroup); e.text() != "good" || !strings.Contains(e.body, `"Type":"AVChatRoom"`) {
		t.Errorf("asked %s", e.body)
	}
}
