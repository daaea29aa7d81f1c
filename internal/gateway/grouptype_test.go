package gateway

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

const (
	asAdmin  = im.GroupMemberRole_GROUP_MEMBER_ROLE_ADMIN
	asMember = im.GroupMemberRole_GROUP_MEMBER_ROLE_NORMAL
)

// typeTable is a table with a column for each type of group: row, type, cell.
type typeTable map[string]map[string]string

// typesPage reads the generated page.
func typesPage(t *testing.T) typeTable {
	t.Helper()
	var lines []string
	page, err := os.ReadFile("../../docs/reference/group-types.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "| ") {
			lines = append(lines, strings.ReplaceAll(strings.Trim(line, "| \n"), " | ", "\t"))
		}
	}
	lines[0] = "row\t" + lines[0]
	return typesOf(lines)
}

func typesOf(lines []string) typeTable {
	types := strings.Split(lines[0], "\t")
	out := typeTable{}
	for _, line := range lines[1:] {
		cells := strings.Split(line, "\t")
		out[cells[0]] = map[string]string{}
		for i := 1; i < len(cells); i++ {
			out[cells[0]][types[i]] = cells[i]
		}
	}
	return out
}

// facts returns the lines of a file of facts.
func facts(t *testing.T, name string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

// asOperator makes a call for an operator who is no member of anything, and returns its reply.
func (n *node) asOperator(method im.Method, body im.Body) (im.Body, error) {
	n.t.Helper()
	u, err := n.store.UserByName(n.t.Context(), "operator")
	if err != nil {
		n.t.Fatal(err)
	}
	type answer struct {
		body im.Body
		err  error
	}
	replies := make(chan answer, 1)
	s := &chat.Caller{UID: u.UID, Name: u.Name, Operator: true, Groups: true, Reply: func(_ uint64, _ im.Method, body im.Body, err error) { replies <- answer{body, err} }}
	f := &im.Frame{Method: method, Body: make([]byte, body.SizeVT())}
	if _, err := body.MarshalToSizedBufferVT(f.Body); err != nil {
		n.t.Fatal(err)
	}
	if err := n.rules.Call(n.t.Context(), s, f, body.(im.Request)); err != nil {
		return nil, err
	}
	a := <-replies
	return a.body, a.err
}

// try is a call in a group in which the users "owner", "admin", "member", "muted", "victim" (a member) and "second" (an admin, where there are any) are.
type try struct {
	n     *node
	id    string
	epoch uint64
	typ   im.GroupType
	// who tries; round is another number each time.
	who   string
	round int
}

func (x *try) modify(req *im.ModifyGroupRequest) (im.Method, im.Body) {
	req.Group = named(x.id)
	return im.Method_MODIFY_GROUP, req
}

func (x *try) member(user string, req *im.ModifyMemberRequest) (im.Method, im.Body) {
	req.Group, req.UserId = named(x.id), user
	return im.Method_MODIFY_MEMBER, req
}

func (x *try) users(method im.Method, user string) (im.Method, im.Body) {
	return method, &im.GroupMembersRequest{Group: named(x.id), UserIds: []string{user}}
}

// recall recalls a message that a user has sent.
func (x *try) recall(c map[string]*conn, sender string) (im.Method, im.Body) {
	req := c[sender].request("x", "to be recalled")
	req.Conv = groupKey(x.id)
	var sent im.SendReply
	c[sender].call(im.Method_SEND, req, 0, &sent)
	return im.Method_REVOKE, &im.RevokeRequest{Conv: groupKey(x.id), Epoch: x.epoch, Seq: sent.Entry.Seq}
}

// set changes a setting of the group for what is tried.
func (x *try) set(c map[string]*conn, req *im.ModifyGroupRequest) {
	req.Group = named(x.id)
	c["owner"].call(im.Method_MODIFY_GROUP, req, 0, nil)
}

var tries = map[string]func(x *try, c map[string]*conn) (im.Method, im.Body){
	"send": func(x *try, c map[string]*conn) (im.Method, im.Body) {
		req := c["owner"].request("x", "hi")
		req.Conv = groupKey(x.id)
		return im.Method_SEND, req
	},
	"name": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.modify(&im.ModifyGroupRequest{Name: new(fmt.Sprint(x.round))})
	},
	"notice": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.modify(&im.ModifyGroupRequest{Notification: new(fmt.Sprint(x.round))})
	},
	"introduction": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.modify(&im.ModifyGroupRequest{Introduction: new(fmt.Sprint(x.round))})
	},
	"face": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.modify(&im.ModifyGroupRequest{FaceUrl: new(fmt.Sprint(x.round))})
	},
	"custom field": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.modify(&im.ModifyGroupRequest{Custom: []*im.GroupInfoCustomString{{Key: "k", Value: fmt.Sprint(x.round)}}})
	},
	"most members": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.modify(&im.ModifyGroupRequest{MaxMembers: new(uint64(100 + x.round%50))})
	},
	"option for joining": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		option := im.GroupAddOption_GROUP_ADD_OPTION_FORBID
		if x.typ == work {
			option = im.GroupAddOption_GROUP_ADD_OPTION_ANY
		}
		return x.modify(&im.ModifyGroupRequest{AddOption: &option})
	},
	"option for invitations": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.modify(&im.ModifyGroupRequest{ApproveOption: new(im.GroupAddOption_GROUP_ADD_OPTION_AUTH)})
	},
	"mute all": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.modify(&im.ModifyGroupRequest{ShutupAll: new(true)})
	},
	"mute a member": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.member("victim", &im.ModifyMemberRequest{Mute: new(uint64(60))})
	},
	"mute an admin": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.member("second", &im.ModifyMemberRequest{Mute: new(uint64(60))})
	},
	"mute oneself": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.member(x.who, &im.ModifyMemberRequest{Mute: new(uint64(60))})
	},
	"appoint": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.member("victim", &im.ModifyMemberRequest{Role: new(asAdmin)})
	},
	"dismiss": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.member("second", &im.ModifyMemberRequest{Role: new(asMember)})
	},
	"remove a member": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.users(im.Method_KICK_MEMBERS, "victim")
	},
	"remove an admin": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.users(im.Method_KICK_MEMBERS, "second")
	},
	"remove the owner": func(x *try, _ map[string]*conn) (im.Method, im.Body) { return x.users(im.Method_KICK_MEMBERS, "owner") },
	"transfer": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.modify(&im.ModifyGroupRequest{Owner: new("victim")})
	},
	"transfer to a stranger": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.modify(&im.ModifyGroupRequest{Owner: new("new")})
	},
	"dissolve": func(x *try, _ map[string]*conn) (im.Method, im.Body) { return im.Method_DISSOLVE_GROUP, named(x.id) },
	"leave":    func(x *try, _ map[string]*conn) (im.Method, im.Body) { return im.Method_QUIT_GROUP, named(x.id) },
	"join": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named(x.id)}
	},
	"invite": func(x *try, _ map[string]*conn) (im.Method, im.Body) { return x.users(im.Method_INVITE, "new") },
	"invite if anybody may be invited": func(x *try, c map[string]*conn) (im.Method, im.Body) {
		if x.typ == public || x.typ == meeting {
			x.set(c, &im.ModifyGroupRequest{ApproveOption: new(im.GroupAddOption_GROUP_ADD_OPTION_ANY)})
		}
		return x.users(im.Method_INVITE, "new")
	},
	"invite with approval": func(x *try, c map[string]*conn) (im.Method, im.Body) {
		x.set(c, &im.ModifyGroupRequest{ApproveOption: new(im.GroupAddOption_GROUP_ADD_OPTION_AUTH)})
		return x.users(im.Method_INVITE, "new")
	},
	"own name card": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.member(x.who, &im.ModifyMemberRequest{NameCard: new(fmt.Sprint(x.round))})
	},
	"name card of a member": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.member("victim", &im.ModifyMemberRequest{NameCard: new(fmt.Sprint(x.round))})
	},
	"name card of an admin": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.member("second", &im.ModifyMemberRequest{NameCard: new(fmt.Sprint(x.round))})
	},
	"own receive option": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.member(x.who, &im.ModifyMemberRequest{RecvOpt: new(int32(2))})
	},
	"receive option of a member": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return x.member("victim", &im.ModifyMemberRequest{RecvOpt: new(int32(2))})
	},
	"list members": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return im.Method_MEMBERS, &im.ListMembersRequest{Group: named(x.id)}
	},
	"information": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return im.Method_GROUPS, &im.GroupsRequest{GroupIds: []string{x.id}}
	},
	"online count":    func(x *try, _ map[string]*conn) (im.Method, im.Body) { return im.Method_ONLINE_COUNT, named(x.id) },
	"read attributes": func(x *try, _ map[string]*conn) (im.Method, im.Body) { return im.Method_ATTRIBUTES, named(x.id) },
	"write attributes": func(x *try, _ map[string]*conn) (im.Method, im.Body) {
		return im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{Group: named(x.id), Action: im.AttributesAction_ATTRIBUTES_SET, Attributes: []*im.GroupAttributes{{Key: "k", Value: "v"}}}
	},
	"answer a request": func(x *try, c map[string]*conn) (im.Method, im.Body) {
		c["new"].call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named(x.id)}, 0, nil)
		var list im.GroupPendencyResult
		c["owner"].call(im.Method_GROUP_REQUESTS, &im.GroupRequestsRequest{}, 0, &list)
		return im.Method_HANDLE_GROUP_REQUEST, &im.HandleGroupRequest{Pendency: list.PendencyArray[0], Accept: true}
	},
	"recall a member's message": func(x *try, c map[string]*conn) (im.Method, im.Body) { return x.recall(c, "victim") },
	"recall an admin's message": func(x *try, c map[string]*conn) (im.Method, im.Body) { return x.recall(c, "second") },
}

// outcome is the code of a try, or what its results say.
func outcome(t *testing.T, n *node, c map[string]*conn, who string, method im.Method, body im.Body) string {
	t.Helper()
	var reply im.Body
	if who == "operator" {
		r, err := n.asOperator(method, body)
		if err != nil {
			return strconv.Itoa(int(im.CodeOf(err)))
		}
		reply = r
	} else {
		f := c[who].await(c[who].begin(method, body))
		if f.Code != 0 {
			return strconv.Itoa(int(f.Code))
		}
		into := map[im.Method]im.Msg{
			im.Method_KICK_MEMBERS: &im.KickReply{}, im.Method_INVITE: &im.InviteReply{}, im.Method_JOIN_GROUP: &im.JoinGroupReply{}, im.Method_GROUPS: &im.GroupsReply{},
		}[method]
		if into == nil {
			return "0"
		}
		if err := into.UnmarshalVT(f.Body); err != nil {
			t.Fatal(err)
		}
		reply = into
	}
	result := uint32(1)
	switch r := reply.(type) {
	case *im.KickReply:
		result = r.Results[0].Result
	case *im.InviteReply:
		result = r.Results[0].Result
	case *im.JoinGroupReply:
		if r.Waits {
			result = 3
		}
	case *im.GroupsReply:
		return strconv.Itoa(int(r.Results[0].Code))
	}
	return []string{"failed", "0", "pointless", "asked"}[result]
}

// TestGroupRights: everybody tries everything in every type of group. The code of each try is that of the facts, and those who may are those whom the
// page names.
func TestGroupRights(t *testing.T) {
	n := start(t, options{})
	c := map[string]*conn{}
	for _, who := range []string{"owner", "admin", "second", "member", "muted", "victim", "left", "stranger", "new", "operator"} {
		c[who] = n.member(who)
	}
	page := typesPage(t)
	lines := facts(t, "group-rights.tsv")
	roles := strings.Split(lines[0], "\t")[3:]
	tried := map[string]bool{}
	round := 0
	for _, line := range lines[1:] {
		cells := strings.Split(line, "\t")
		title, row, action, want := cells[0], cells[1], cells[2], cells[3:]
		number, err := strconv.Atoi(page["number"][title])
		if err != nil {
			t.Fatal(err)
		}
		typ := im.GroupType(number)
		do := tries[action]
		if do == nil {
			t.Fatalf("nobody knows how to try %q", action)
		}
		tried[action] = true
		var may []string
		var group *try
		for i, who := range roles {
			if want[i] == "-" {
				continue
			}
			if group == nil { // those who are refused change nothing for the next
				round++
				group = &try{n: n, id: fmt.Sprint("rights ", round), typ: typ}
				if typ == community {
					group.id = "@TGS#_" + group.id
				}
				if typ == liveType {
					group.epoch = c["owner"].create(group.id, typ)
					for _, in := range []string{"owner", "member", "muted", "left", "victim"} {
						c[in].enter(group.id, 0)
					}
				} else {
					group.epoch = c["owner"].create(group.id, typ, "admin", "second", "member", "muted", "left", "victim")
				}
				c["left"].call(im.Method_QUIT_GROUP, named(group.id), 0, nil)
				if typ != work && typ != liveType {
					for _, admin := range []string{"admin", "second"} {
						c["owner"].call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named(group.id), UserId: admin, Role: new(asAdmin)}, 0, nil)
					}
				}
				if typ != work {
					c["owner"].call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named(group.id), UserId: "muted", Mute: new(uint64(600))}, 0, nil)
				}
			}
			group.who, group.round = who, round
			method, body := do(group, c)
			got := outcome(t, n, c, who, method, body)
			if got != want[i] {
				t.Errorf("%s in a group of type %s by %s: %s, want %s", action, title, who, got, want[i])
			}
			if words := map[string]string{"owner": "owner", "admin": "admins", "member": "members"}[who]; words != "" && want[i] == "0" {
				may = append(may, words)
			}
			if got == "0" || got == "asked" {
				group = nil
			}
		}
		if len(may) == 0 {
			may = []string{"nobody"}
		}
		if words := strings.Join(may, ", "); row != "" && page[row][title] != words {
			t.Errorf("the page has %q for %q in groups of type %s, the facts %q", page[row][title], row, title, words)
		}
	}
	for action := range tries {
		if !tried[action] {
			t.Errorf("%q was not tried", action)
		}
	}
}

// TestGroupTypes: the page has what the facts say of each type, and so has a new group.
func TestGroupTypes(t *testing.T) {
	page, want := typesPage(t), typesOf(facts(t, "group-types.tsv"))
	n := start(t, options{})
	for title, number := range want["number"] {
		t.Run(title, func(t *testing.T) {
			got := n.typeOf(t, number)
			for row := range want {
				if page[row][title] != want[row][title] || row != "most members" && row != "number" && got[row] != want[row][title] {
					t.Errorf("%s: the page has %q, a group %q, the facts %q", row, page[row][title], got[row], want[row][title])
				}
			}
			most, err := strconv.ParseUint(want["most members"][title], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			ann := n.member("ann")
			ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named(got["id"]), MaxMembers: &most}, 0, nil)
			ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named(got["id"]), MaxMembers: new(most + 1)}, im.CodeGroupMemberLimit, nil)
		})
	}
}

// typeOf finds out what groups of a type have, by what happens in one.
func (n *node) typeOf(t *testing.T, number string) map[string]string {
	v, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	typ := im.GroupType(v)
	out := map[string]string{}
	yes := func(row string, is bool) {
		out[row] = map[bool]string{true: "yes", false: "no"}[is]
	}
	ann, bob, carol := n.member("ann"), n.member("bob"), n.member("carol")
	var made im.CreateGroupReply
	first := &im.CreateGroupRequest{Name: "a group", Type: typ}
	if typ != liveType {
		first.Members = []*im.GroupMemberInfo{{Identifier: "bob"}}
	}
	ann.call(im.Method_CREATE_GROUP, first, 0, &made)
	id, epoch := made.GroupId, made.Epoch
	out["id"] = id
	var groups im.GroupsReply
	ann.call(im.Method_GROUPS, &im.GroupsRequest{GroupIds: []string{id}}, 0, &groups)
	info := groups.Results[0].Info
	out["members"] = strconv.FormatUint(info.MaxMemberNum, 10)
	if typ == liveType {
		ann.enter(id, 0)
		bob.enter(id, 0)
	}
	try := func(method im.Method, req im.Body) bool {
		return ann.await(ann.begin(method, req)).Code == 0
	}
	option := func(row string, is im.GroupAddOption, set func(*im.GroupAddOption) *im.ModifyGroupRequest) {
		words := map[im.GroupAddOption]string{0: "nobody", 1: "approval", 2: "anybody"}[is]
		for _, other := range []im.GroupAddOption{0, 1, 2} {
			if other == is {
				continue
			}
			req := set(&other)
			req.Group = named(id)
			if !try(im.Method_MODIFY_GROUP, req) {
				words += ", fixed"
				break
			}
		}
		out[row] = words
	}
	tips := func(c *conn, row string, kind im.GroupTipType, cause func()) {
		n.toldSoFar(c)
		cause()
		told := n.toldSoFar(c)
		tip := func(s string) bool { return strings.Contains(s, fmt.Sprintf(" tip %d ", kind)) }
		if typ == liveType { // its tips follow the reply, before what is said next; but those about joining and leaving have a rate
			ann.say(id, row, 0)
			until(t, "a tip, or what is said after it", func() bool {
				told = append(told, n.toldSoFar(c)...)
				if kind == im.GroupTipType_GROUP_TIP_TYPE_INVITE || kind == im.GroupTipType_GROUP_TIP_TYPE_QUIT {
					return slices.ContainsFunc(told, tip)
				}
				return slices.ContainsFunc(told, func(s string) bool { return strings.HasSuffix(s, "ann: "+row) })
			})
		}
		yes(row, slices.ContainsFunc(told, tip))
	}
	option("option for joining", info.AddOption, func(o *im.GroupAddOption) *im.ModifyGroupRequest { return &im.ModifyGroupRequest{AddOption: o} })
	option("option for invitations", info.ApproveOption, func(o *im.GroupAddOption) *im.ModifyGroupRequest { return &im.ModifyGroupRequest{ApproveOption: o} })
	tips(bob, "tip of information", im.GroupTipType_GROUP_TIP_TYPE_GROUP_INFO_CHANGE, func() {
		ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named(id), Name: new("another name")}, 0, nil)
	})
	tips(bob, "tip of a role", im.GroupTipType_GROUP_TIP_TYPE_SET_ADMIN, func() {
		try(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named(id), UserId: "bob", Role: new(asAdmin)})
	})
	tips(bob, "tip of a mute", im.GroupTipType_GROUP_TIP_TYPE_MEMBER_INFO_CHANGE, func() {
		try(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named(id), UserId: "bob", Mute: new(uint64(60))})
	})
	ann.say(id, "before carol", 0)
	tips(bob, "tip of joining", im.GroupTipType_GROUP_TIP_TYPE_INVITE, func() {
		if typ == liveType {
			carol.enter(id, 0)
			return
		}
		if _, err := n.asOperatorIn(t, im.Method_INVITE, &im.GroupMembersRequest{Group: named(id), UserIds: []string{"carol"}}); err != nil {
			t.Fatal(err)
		}
	})
	cv, err := n.store.Group(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var log []string
	if typ == liveType {
		carol.groupLog(id, epoch, 1, 1, true, im.CodeGroupNoHistory)
	} else {
		log = carol.groupLog(id, epoch, 1, cv.Seq, true, 0)
	}
	yes("history before joining", slices.ContainsFunc(log, func(s string) bool { return strings.HasSuffix(s, "before carol") }))
	ann.say(id, "for carol", 0)
	heads := carol.heads(&im.HeadsRequest{Only: []*im.ConvKey{groupKey(id)}})
	yes("unread", len(heads.Heads) == 1 && heads.Heads[0].Unread == 1)
	yes("attributes", try(im.Method_SET_ATTRIBUTES, &im.SetAttributesRequest{
		Group: named(id), Action: im.AttributesAction_ATTRIBUTES_SET, Attributes: []*im.GroupAttributes{{Key: "k", Value: "v"}},
	}))
	for row, names := range map[string]func(*im.Message){
		"mentions":                 func(m *im.Message) { m.GroupAtUserArray = []string{"carol"} },
		"messages to some members": func(m *im.Message) { m.TargetGroupMemberArray = []string{"carol"} },
	} {
		req := ann.request("x", "named")
		req.Conv = groupKey(id)
		names(req.Message)
		yes(row, try(im.Method_SEND, req))
	}
	tips(bob, "tip of leaving", im.GroupTipType_GROUP_TIP_TYPE_QUIT, func() { carol.call(im.Method_QUIT_GROUP, named(id), 0, nil) })

	var last im.CreateGroupReply
	ann.call(im.Method_CREATE_GROUP, &im.CreateGroupRequest{Name: "the last one leaves", Type: typ}, 0, &last)
	if typ != liveType { // its owner has not come into it
		if _, err := n.asOperatorIn(t, im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named(last.GroupId), UserIds: []string{"ann"}}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = n.asOperatorIn(t, im.Method_ATTRIBUTES, named(last.GroupId))
	yes("ends with its last member", im.CodeOf(err) == im.CodeNoGroup)
	return out
}

// asOperatorIn is asOperator in a subtest.
func (n *node) asOperatorIn(t *testing.T, method im.Method, body im.Body) (im.Body, error) {
	t.Helper()
	n.member("operator")
	return n.asOperator(method, body)
}

// TestGroupLimits: each limit of groups holds at its last allowed value and refuses the next one, with its code.
func TestGroupLimits(t *testing.T) {
	n := start(t, options{})
	ann := n.member("ann")
	ann.create("limits", public)
	long := func(n int) *string { return new(strings.Repeat("x", n)) }
	for _, x := range []struct {
		what string
		most int
		code int32
		do   func(n int) (im.Method, im.Body)
	}{
		{"name", 100, im.CodeGroupParameters, func(n int) (im.Method, im.Body) {
			return im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("limits"), Name: long(n)}
		}},
		{"notice", 400, im.CodeGroupParameters, func(n int) (im.Method, im.Body) {
			return im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("limits"), Notification: long(n)}
		}},
		{"introduction", 400, im.CodeGroupParameters, func(n int) (im.Method, im.Body) {
			return im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("limits"), Introduction: long(n)}
		}},
		{"face", 500, im.CodeGroupParameters, func(n int) (im.Method, im.Body) {
			return im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("limits"), FaceUrl: long(n)}
		}},
		{"custom key", 16, im.CodeGroupParameters, func(n int) (im.Method, im.Body) {
			return im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("limits"), Custom: []*im.GroupInfoCustomString{{Key: *long(n), Value: "v"}}}
		}},
		{"custom value", 512, im.CodeGroupParameters, func(n int) (im.Method, im.Body) {
			return im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("limits"), Custom: []*im.GroupInfoCustomString{{Key: "value", Value: *long(n)}}}
		}},
		{"custom fields", 10, im.CodeGroupParameters, func(n int) (im.Method, im.Body) {
			req := &im.CreateGroupRequest{Name: "x", Type: public}
			for i := range n {
				req.Custom = append(req.Custom, &im.GroupInfoCustomString{Key: fmt.Sprint(i), Value: "v"})
			}
			return im.Method_CREATE_GROUP, req
		}},
		{"name card", 50, im.CodeGroupParameters, func(n int) (im.Method, im.Body) {
			return im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("limits"), UserId: "ann", NameCard: long(n)}
		}},
		{"custom fields of a member", 5, im.CodeGroupParameters, func(n int) (im.Method, im.Body) {
			req := &im.ModifyMemberRequest{Group: named("limits"), UserId: "ann"}
			for i := range n {
				req.Custom = append(req.Custom, &im.GroupMemberInfoCustomString{Key: fmt.Sprint(i), Value: "v"})
			}
			return im.Method_MODIFY_MEMBER, req
		}},
		{"custom value of a member", 64, im.CodeGroupParameters, func(n int) (im.Method, im.Body) {
			return im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("limits"), UserId: "ann", Custom: []*im.GroupMemberInfoCustomString{{Key: "0", Value: *long(n)}}}
		}},
		{"group id", 48, im.CodeGroupID, func(n int) (im.Method, im.Body) {
			return im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: *long(n), Name: "x", Type: public}
		}},
		{"first members", 20, im.CodeGroupUserCount, func(n int) (im.Method, im.Body) {
			req := &im.CreateGroupRequest{Name: "x", Type: public}
			for range n {
				req.Members = append(req.Members, &im.GroupMemberInfo{Identifier: "ann"})
			}
			return im.Method_CREATE_GROUP, req
		}},
		{"invited at once", 20, im.CodeGroupUserCount, func(n int) (im.Method, im.Body) {
			req := &im.GroupMembersRequest{Group: named("limits")}
			for i := range n {
				req.UserIds = append(req.UserIds, fmt.Sprint("nobody", i))
			}
			ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("limits"), ApproveOption: new(im.GroupAddOption_GROUP_ADD_OPTION_ANY)}, 0, nil)
			return im.Method_INVITE, req
		}},
		{"mentions", 30, im.CodeTooManyMentions, func(n int) (im.Method, im.Body) {
			req := ann.request("x", "hi")
			req.Conv = groupKey("limits")
			for i := range n {
				req.Message.GroupAtUserArray = append(req.Message.GroupAtUserArray, fmt.Sprint("nobody", i))
			}
			return im.Method_SEND, req
		}},
		{"addressees", 50, im.CodeGroupUserCount, func(n int) (im.Method, im.Body) {
			req := ann.request("x", "hi")
			req.Conv = groupKey("limits")
			for i := range n {
				req.Message.TargetGroupMemberArray = append(req.Message.TargetGroupMemberArray, fmt.Sprint("nobody", i))
			}
			return im.Method_SEND, req
		}},
	} {
		for _, y := range []struct {
			n    int
			code int32
		}{{x.most, 0}, {x.most + 1, x.code}} {
			method, body := x.do(y.n)
			if f := ann.await(ann.begin(method, body)); f.Code != y.code {
				t.Errorf("%s: %d with %d (%s), want %d", x.what, f.Code, y.n, f.Desc, y.code)
			}
		}
	}
	for _, id := range []string{"@TGS#mine", "gr\x01oup", "gruppe-ä"} {
		ann.call(im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: id, Name: "x", Type: public}, im.CodeGroupID, nil)
	}
	ann.call(im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: "mine", Name: "x", Type: community}, im.CodeGroupID, nil)
	ann.call(im.Method_CREATE_GROUP, &im.CreateGroupRequest{Type: public}, im.CodeGroupParameters, nil)
}
