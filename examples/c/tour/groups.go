package main

import (
	"encoding/json"
	"strings"
)

// groups is the chapter about groups and live rooms.
func (s *tour) groups(alice, bob, phone *device) {
	all := func(kind, text string) {
		for _, d := range []*device{alice, bob, phone} {
			d.Expect(kind, text)
		}
	}

	s.Scene("A group: Alice makes it, and Bob joins; tips tell its members what happens")
	alice.do("makes the group team", "makegroup", "team", "The team")
	alice.Expect("conversation added", "with team")
	alice.do("lets everybody join", "open", "team")
	bob.do("joins", "join", "team", "Hello!")
	all("tip", "team: bob joined")

	s.Scene("Bob has a name card there, and mentions all from his phone")
	bob.do("writes his name card", "card", "team", "Bob of ops")
	phone.do("mentions all", "mentionall", "team", "Who is on duty?")
	alice.Expect("group message", "Bob of ops: Who is on duty?")
	bob.Expect("group message", "me: Who is on duty?")
	alice.Expect("conversation updated", "mentioned, last: Who is on duty?")
	alice.do("reads", "readgroup", "team")
	alice.Expect("conversation updated", "with team, 0 unread")

	s.Scene("Alice mutes Bob, gives the group another name, and says in an attribute who is on duty")
	alice.do("mutes bob for a minute", "silence", "team", "bob")
	all("tip", "team: alice changed bob")
	bob.Expect("report", "team: muted")
	phone.Expect("report", "team: muted")
	bob.fails("says something", 10017, "say", "team", "But I am!")
	alice.do("renames it", "rename", "team", "On duty")
	all("tip", "team: alice set On duty")
	alice.do("sets an attribute", "duty", "team", "bob")
	all("attributes", `team: duty "bob"`)

	s.Scene("Alice removes Bob: he is told that, and nothing after it")
	alice.do("removes bob", "kick", "team", "bob")
	alice.Expect("tip", "team: alice removed bob")
	bob.Expect("report", "team: removed")
	phone.Expect("report", "team: removed")
	alice.do("says something", "say", "team", "Now we can talk.")
	alice.Expect("conversation updated", "Now we can talk. (sent)")
	alice.do("dissolves the group", "endgroup", "team")
	alice.Expect("report", "team: dissolved")

	s.Scene("A live room: what is said in it is told to devices that are in it, and kept nowhere")
	alice.do("makes the live room stage", "makeroom", "stage", "On stage")
	alice.do("joins it", "join", "stage", "")
	alice.Expect("tip", "stage: alice joined")
	phone.do("joins it, too", "join", "stage", "")
	alice.Expect("tip", "stage: bob joined")
	phone.Expect("tip", "stage: bob joined")
	alice.do("says something", "say", "stage", "We are live!")
	phone.Expect("group message", "alice: We are live!")
	alice.do("ends it", "endgroup", "stage")
	alice.Expect("report", "stage: dissolved")
	phone.Expect("report", "stage: dissolved")
	for _, d := range []*device{bob, phone} {
		s.check(d.count("group message", "Now we can talk.") == 0, d.Name+" did not hear what was said after the end")
	}
	s.check(bob.count("group message", "We are live!")+bob.count("tip", "stage") == 0, bob.Name+" heard nothing of the live room")
}

// hearGroup prints an event of groups, and reports whether it is one. New messages may be of groups, of users and of the system.
func (d *device) hearGroup(event string, data json.RawMessage) bool {
	var one message
	switch event {
	case "group_tips":
		json.Unmarshal(data, &one)
		d.Heard("tip", describeTip(one))
	case "group_attributes_changed":
		var e struct {
			Group      string
			Attributes []message
		}
		json.Unmarshal(data, &e)
		text := e.Group + ":"
		for _, a := range e.Attributes {
			text += " " + a.word("group_attribute_key") + ` "` + a.word("group_attribute_value") + `"`
		}
		d.Heard("attributes", text)
	default:
		return false
	}
	return true
}

// hearInGroup prints a new message that is in a group or a report about one, and reports whether it is.
func (d *device) hearInGroup(m message) bool {
	switch m.word("message_conv_type") {
	case "2":
		if m.word("message_sender") == "@TIM#SYSTEM" {
			d.Keep("tip in a message", m.word("message_conv_id"))
			return true
		}
		from := m.word("message_sender")
		member, _ := m["message_sender_group_member_info"].(map[string]any)
		if card := message(member).word("group_member_info_name_card"); card != "" {
			from = card
		}
		if m["message_is_from_self"] == true {
			from = "me"
		}
		d.Heard("group message", "in "+m.word("message_conv_id")+", from "+from+": "+m.says())
	case "3":
		elems, _ := m["message_elem_array"].([]any)
		for _, e := range elems {
			r, _ := e.(map[string]any)
			d.Heard("report", message(r).word("group_report_elem_group_id")+": "+reportNames[message(r).word("group_report_elem_report_type")])
		}
	default:
		return false
	}
	return true
}

// What TIMCloud.h calls TIMGroupReportType.
var reportNames = map[string]string{"4": "removed", "5": "dissolved", "6": "created", "7": "invited", "8": "left", "17": "muted"}

// describeTip returns one line about a tip.
func describeTip(tip message) string {
	words := func(list, key string) string {
		var all []string
		items, _ := tip[list].([]any)
		for _, x := range items {
			m, _ := x.(map[string]any)
			all = append(all, message(m).word(key))
		}
		return strings.Join(all, ", ")
	}
	by, users := tip.word("group_tips_elem_op_user"), words("group_tips_elem_changed_group_memberinfo_array", "group_member_info_identifier")
	out := tip.word("group_tips_elem_group_id") + ": "
	switch tip.word("group_tips_elem_tip_type") {
	case "1":
		return out + users + " joined"
	case "2":
		return out + users + " left"
	case "3":
		return out + by + " removed " + users
	case "6":
		return out + by + " set " + words("group_tips_elem_group_change_info_array", "group_tips_group_change_info_value")
	}
	return out + by + " changed " + users
}
