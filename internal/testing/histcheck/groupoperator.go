package histcheck

import "fmt"

// groupCommands are the calls of the admin API about groups, by what histories call them.
var groupCommands = map[string]string{
	"dissolve": "group_open_http_svc/destroy_group",
	"invite":   "group_open_http_svc/add_group_member",
	"kick":     "group_open_http_svc/delete_group_member",
	"rename":   "group_open_http_svc/modify_group_base_info",
}

// group makes a call about a group, and records it as that of a device would be: other is the user whom it names, text what it sets.
func (o *operator) group(op, id, other, text string) {
	body := map[string]any{"GroupId": id}
	switch op {
	case "invite":
		body["MemberList"] = []any{map[string]any{"Member_Account": other}}
	case "kick":
		body["MemberToDel_Account"] = []any{other}
	case "rename":
		body["Name"] = text
	}
	o.post(groupOp+op, Record{Conv: id, Tag: other, Text: text}, groupCommands[op], body)
}

// sendGroup sends to a group in the name of a user, who need not be a member.
func (o *operator) sendGroup(from, id string) {
	s := &Send{Device: o.Device, User: from, Run: 1, Call: o.call + 1, Conv: id, Tag: fmt.Sprintf("operator/%d", o.r.texts.Add(1)), Answers: 1, At: o.r.h.clock.Add(1), Code: codeKilled}
	o.mu.Lock()
	o.Sends = append(o.Sends, s)
	o.mu.Unlock()
	o.random++
	answer, code := o.post("send", Record{Conv: id, From: from, Tag: s.Tag}, "group_open_http_svc/send_group_msg", map[string]any{
		"GroupId": id, "From_Account": from, "Random": o.random, "MsgBody": []any{textElem(s.Tag)}, "CloudCustomData": s.Tag,
	})
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Code = code
	if seq, ok := answer["MsgSeq"].(float64); ok && code == 0 {
		s.Seq = uint64(seq)
	}
}

// added is what became of the one user whom a call was to make a member; 0 if it was another call.
func added(answer map[string]any) int {
	list, _ := answer["MemberList"].([]any)
	if len(list) != 1 {
		return 0
	}
	member, _ := list[0].(map[string]any)
	n, _ := member["Result"].(float64)
	return int(n)
}

// by is who has made a call: an operator's has no user.
func (o *op) by() string {
	if o.d.User == "" {
		return admin
	}
	return o.d.User
}
