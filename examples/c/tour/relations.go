package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// What TIMCloud.h calls ResponseActionAgreeAndAdd and ResponseActionReject, and the permission that lets the user decide about requests.
const acceptAndAdd, reject, needConfirm = "1", "2", "2"

// outcome is the result of a call about a user.
type outcome struct {
	Code int    `json:"friend_result_code"`
	Desc string `json:"friend_result_desc"`
}

// relations is the chapter about friends, requests, the blacklist and profiles: what happens to Bob is told on both of his devices.
func (s *tour) relations(alice, bob, phone *device) {
	both := func(kind, text string) {
		bob.Expect(kind, text)
		phone.Expect(kind, text)
	}

	s.Scene("Bob wants to be asked, and Alice asks; he reads the request on his phone")
	bob.do("wants to be asked", "permit", needConfirm)
	alice.outcome("asks bob", 30539, "add", "bob", "It is me, Alice")
	both("friend request", "from alice: It is me, Alice")
	phone.do("reads the requests", "readrequests")
	both("requests read", "")

	s.Scene("Bob rejects it, Alice asks again, and he accepts")
	bob.outcome("rejects it", 0, "answer", "alice", reject)
	both("request gone", "alice")
	alice.Expect("request gone", "bob")
	alice.outcome("asks again", 30539, "add", "bob", "Really!")
	both("friend request", "from alice: Really!")
	bob.outcome("accepts", 0, "answer", "alice", acceptAndAdd)
	both("friend added", "alice")
	both("request gone", "alice")
	alice.Expect("friend added", "bob")

	s.Scene("A remark and a friend group are Bob's own; a name is told to friends")
	bob.do("notes something about Alice", "remark", "alice", "Alice from ops")
	both("friend updated", "alice: remark Alice from ops")
	phone.do("puts her into a friend group", "newgroup", "alice", "work")
	both("friend updated", "alice: groups [work]")
	alice.do("gives herself a name", "nick", "Alice A.")
	both("friend updated", "alice: name Alice A.")

	s.Scene("A blacklist ends the friendship, stops messages, and does not tell")
	bob.do("blocks Alice", "block", "alice")
	both("blacklist added", "alice")
	both("friend deleted", "alice")
	alice.Expect("friend deleted", "bob")
	alice.send("bob", "Can you hear me?")
	alice.Expect("conversation updated", "Can you hear me? (sent)")
	phone.do("unblocks her", "unblock", "alice")
	both("blacklist deleted", "alice")
	bob.outcome("adds her again", 0, "add", "alice", "Sorry")
	both("friend added", "alice")
	alice.Expect("friend added", "bob")
	alice.outcome("ends it", 0, "unfriend", "bob")
	alice.Expect("friend deleted", "bob")
	both("friend deleted", "alice")
	for _, d := range []*device{bob, phone} {
		s.check(d.count("new message", "Can you hear me?") == 0, d.Name+" did not hear what Alice sent meanwhile")
	}
}

// outcome sends the program a command about a user, which must end with a code for that user.
func (d *device) outcome(what string, code int, command string, args ...string) {
	d.Does(what)
	r := d.ask(command, args...)
	var all []outcome
	text := string(r.JSON)
	if !strings.HasPrefix(text, "[") {
		text = "[" + text + "]"
	}
	if json.Unmarshal([]byte(text), &all) != nil || r.Code != 0 || len(all) != 1 || all[0].Code != code {
		d.s.Fail("%s: %s: code %d, %s, and should be %d", d.Name, command, r.Code, text, code)
	}
	if code != 0 {
		d.s.Action(d.Name, fmt.Sprintf("gets %d: %s", code, all[0].Desc))
	}
}

var relationNames = map[string]string{
	"friends_added": "friend added", "friends_deleted": "friend deleted", "friends_updated": "friend updated", "friend_requests": "friend request",
	"friend_requests_deleted": "request gone", "friend_requests_read": "requests read", "blacklist_added": "blacklist added", "blacklist_deleted": "blacklist deleted",
}

// hearRelation prints an event of relations, and reports whether it is one.
func (d *device) hearRelation(event string, data json.RawMessage) bool {
	kind := relationNames[event]
	switch event {
	case "friend_requests_read":
		d.Heard(kind, "")
	case "friends_added", "friends_deleted", "friend_requests_deleted", "blacklist_deleted":
		var ids []string
		json.Unmarshal(data, &ids)
		for _, id := range ids {
			d.Heard(kind, id)
		}
	case "friend_requests", "friends_updated", "blacklist_added":
		var list []message
		json.Unmarshal(data, &list)
		for _, m := range list {
			d.Heard(kind, describeRelation(event, m))
		}
	default:
		return false
	}
	return true
}

// describeRelation returns one line about a request, a friend or somebody on the blacklist.
func describeRelation(event string, m message) string {
	switch event {
	case "friend_requests":
		return "from " + m.word("friend_add_pendency_identifier") + ": " + m.word("friend_add_pendency_add_wording")
	case "blacklist_added":
		return m.word("friend_profile_identifier")
	}
	out := m.word("friend_profile_update_identifier") + ":"
	item, _ := m["friend_profile_update_item"].(map[string]any)
	for _, x := range [][2]string{{"remark", "friend_profile_item_remark"}, {"groups", "friend_profile_item_group_name_array"}, {"name", "user_profile_item_nick_name"}} {
		if v, ok := item[x[1]]; ok {
			out += fmt.Sprintf(" %s %v", x[0], v)
		}
	}
	return out
}
