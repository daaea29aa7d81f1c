package main

import (
	"fmt"
	"strings"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// groups is the chapter about groups.
func (d *demo) groups(alice, bob, third *device) {
	free := im.GroupAddOption_GROUP_ADD_OPTION_ANY
	d.Scene("A group: Alice makes it with Bob, and invites a third")
	alice.Does("creates the group ops")
	_, err := alice.Groups().Create(d.Ctx, &im.CreateGroupRequest{GroupId: "ops", Name: "Ops", ApproveOption: &free, Members: []*im.GroupMemberInfo{{Identifier: "bob"}}})
	d.Must(err)
	alice.Expect("tip", "ops: alice adds bob")
	bob.Expect("tip", "ops: alice adds bob")
	bob.Expect("report", "report 7 of ops by alice")
	bob.Expect("conversation added", "adds bob")
	bob.Does("invites " + third.user)
	_, err = bob.Groups().Invite(d.Ctx, "ops", []string{third.user}, "")
	d.Must(err)
	third.Expect("tip", "ops: bob adds "+third.user)
	alice.Expect("tip", "ops: bob adds "+third.user)

	d.Scene("A mention, a name card, and somebody who is muted")
	third.Does("takes a name card")
	d.Must(third.Groups().ModifyMember(d.Ctx, "ops", third.user, &im.ModifyMemberRequest{NameCard: new("Moderator")}))
	m := im.Text("@bob, are you on duty?")
	m.GroupAtUserArray = []string{"bob"}
	third.Does("mentions bob")
	_, err = third.SendMessage(d.Ctx, client.Group("ops"), m)
	d.Must(err)
	bob.Expect("group message", "are you on duty?")
	bob.Expect("conversation updated", "(mentioned)")
	bob.Does("reads it")
	d.Must(bob.MarkRead(d.Ctx, client.Group("ops"), nil))
	alice.Does("mutes " + third.user + " for a minute")
	d.Must(alice.Groups().ModifyMember(d.Ctx, "ops", third.user, &im.ModifyMemberRequest{Mute: new(uint64(60))}))
	third.Expect("tip", "mutes "+third.user+" for 60 s")
	third.Does("tries to send")
	_, err = third.SendMessage(d.Ctx, client.Group("ops"), im.Text("hello?"))
	third.Heard("refused", fmt.Sprint(err))
	if im.CodeOf(err) != im.CodeMuted {
		d.Fail("the code of the refusal should be %d", im.CodeMuted)
	}

	d.Scene("Attributes are a state that all members share")
	bob.Does("sets an attribute")
	d.Must(bob.Groups().SetAttributes(d.Ctx, "ops", []*im.GroupAttributes{{Key: "duty", Value: "bob"}}))
	bob.Expect("attributes", "ops: duty=bob")
	alice.Expect("attributes", "ops: duty=bob")

	d.Scene("Alice removes somebody, and dissolves the group")
	alice.Does("removes " + third.user)
	_, err = alice.Groups().Kick(d.Ctx, "ops", []string{third.user}, "")
	d.Must(err)
	bob.Expect("tip", "ops: alice removes "+third.user)
	third.Expect("report", "report 4 of ops by alice")
	alice.Does("dissolves the group")
	d.Must(alice.Groups().Delete(d.Ctx, "ops"))
	alice.Expect("report", "report 5 of ops by alice")
	bob.Expect("report", "report 5 of ops by alice")
}

// room is the chapter about live rooms: nothing of them is on any disk.
func (d *demo) room(alice, bob *device) {
	enter := func(v *device) {
		v.Does("enters the live room concert")
		_, err := v.Groups().Join(d.Ctx, "concert", "")
		d.Must(err)
		v.Expect("tip", "concert: "+v.user+" adds "+v.user)
	}
	d.Scene("A live room: nobody is in it until they enter, not even its owner")
	alice.Does("creates the live room concert")
	_, err := alice.Groups().Create(d.Ctx, &im.CreateGroupRequest{GroupId: "concert", Name: "Concert", Type: im.GroupType_GROUP_TYPE_AVCHATROOM})
	d.Must(err)
	enter(alice)
	enter(bob)
	alice.Expect("tip", "concert: bob adds bob")
	bob.Does("says something in it")
	_, err = bob.SendMessage(d.Ctx, client.Group("concert"), im.Text("Encore!"))
	d.Must(err)
	alice.Expect("group message", "Encore!")

	d.Scene("The server restarts, and both are back in the room by themselves")
	d.Stop()
	alice.Expect("network", "disconnected")
	bob.Expect("network", "disconnected")
	d.Start()
	alice.Expect("network", "link connected")
	bob.Expect("network", "link connected")
	for present := uint64(0); present < 2; {
		info, err := alice.Groups().Info(d.Ctx, []string{"concert"})
		d.Must(err)
		present = info[0].Info.GetMemberNum()
	}
	bob.Does("says something again")
	_, err = bob.SendMessage(d.Ctx, client.Group("concert"), im.Text("One more!"))
	d.Must(err)
	alice.Expect("group message", "One more!")
	alice.Does("closes the room")
	d.Must(alice.Groups().Delete(d.Ctx, "concert"))
	bob.Expect("report", "report 5 of concert by alice")
	alice.Expect("report", "report 5 of concert by alice")
}

// textOf is what a message says, in words if it is a tip or a report.
func textOf(m *im.Message) string {
	for _, e := range m.GetElemArray() {
		if tip := e.GetGroupTips(); tip != nil {
			return "tip " + tipText(tip)
		}
		if r := e.GetGroupReport(); r != nil {
			return fmt.Sprintf("report %d of %s by %s", r.ReportType, r.GroupId, r.OpUser)
		}
	}
	return im.TextOf(m)
}

func tipText(t *im.GroupTipsElem) string {
	names := strings.Join(t.UserArray, ", ")
	does := fmt.Sprintf("tip %d about %s", t.TipType, names)
	switch t.TipType {
	case im.GroupTipType_GROUP_TIP_TYPE_INVITE:
		does = "adds " + names
	case im.GroupTipType_GROUP_TIP_TYPE_QUIT:
		does = "leaves"
	case im.GroupTipType_GROUP_TIP_TYPE_KICK:
		does = "removes " + names
	case im.GroupTipType_GROUP_TIP_TYPE_MEMBER_INFO_CHANGE:
		for _, c := range t.MemberChangeInfoArray {
			does = fmt.Sprintf("mutes %s for %d s", c.Identifier, c.ShutupTime)
		}
	}
	return fmt.Sprintf("%s: %s %s", t.GroupId, t.OpUser, does)
}

func attributesText(as []*im.GroupAttributes) string {
	var all []string
	for _, a := range as {
		all = append(all, a.Key+"="+a.Value)
	}
	return strings.Join(all, ", ")
}
