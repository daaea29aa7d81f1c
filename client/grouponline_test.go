package client_test

import (
	"slices"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// A change of nothing but fields of the app's own fires a tip at those who are connected, in its place among the others, and is in no log: a device that was away gets nothing of it, and the
// conversation stays as it is. Together with other changes it is part of their tip. In a live room it is told like any other tip.
func TestCustomFieldsOfGroups(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	cfg := config(t, s, "bob")
	cfg.Platform = im.Platform_PLATFORM_PAD
	pad := dial(t, cfg)
	ann.openGroup("g", publicGroup, "bob")
	for _, d := range []*device{ann, bob, pad} {
		d.skipTo(`add g unread 0 last "tip 1 by ann of bob"`)
	}
	pad.Close()
	field := func(value string) []*im.GroupInfoCustomString {
		return []*im.GroupInfoCustomString{{Key: "k", Value: value}}
	}
	change := func(id string, req *im.ModifyGroupRequest) {
		t.Helper()
		code(t, "modify", ann.Groups().Modify(within(t), id, req), 0)
	}
	change("g", &im.ModifyGroupRequest{Custom: field("1")})
	for _, d := range []*device{ann, bob} {
		d.until(t, "the tip", func([]event) bool { return len(d.of("new")) == 1 })
		if tip := d.of("new")[0].msg.ElemArray[0].GetGroupTips().GetGroupChangeInfoArray(); len(tip) != 1 || tip[0].Flag != im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_CUSTOM || tip[0].Key != "k" || tip[0].Value != "1" {
			t.Errorf("the tip is %v", tip)
		}
		d.hears("tip tip 6 by ann flag 6 1", "new tip 6 by ann flag 6 1")
	}
	change("g", &im.ModifyGroupRequest{Custom: field("1")}) // which changes nothing
	ann.sayIn("g", "before")
	change("g", &im.ModifyGroupRequest{Custom: field("2")})
	ann.sayIn("g", "after")
	bob.until(t, "the messages", func([]event) bool { return slices.Contains(bob.groupWords(), "new after") })
	var told []string
	for _, e := range bob.of("new", "tip") {
		told = append(told, e.kind+" "+e.text)
	}
	wantTexts(t, "bob's", told, "new before", "tip tip 6 by ann flag 6 2", "new tip 6 by ann flag 6 2", "new after")
	bob.WaitQuiet()
	bob.settled()
	bob.forget()
	pad = dial(t, pad.cfg)
	pad.hears("new before", "new after", `upd g unread 2 last "after"`, "total 2")
	for _, d := range []*device{bob, pad} {
		wantTexts(t, "the history", d.groupTexts("g", nil), "tip 1 by ann of bob", "before", "after")
	}
	change("g", &im.ModifyGroupRequest{Name: new("both"), Custom: field("3")})
	for _, d := range []*device{bob, pad} {
		words := "tip 6 by ann flag 1 both flag 6 3"
		d.hears("tip "+words, "new "+words, `upd g unread 2 last "`+words+`"`)
	}

	ann.group("hall", liveRoom)
	bob.joinGroup("hall")
	bob.hears("tip tip 1 by bob of bob", "new tip 1 by bob of bob")
	change("hall", &im.ModifyGroupRequest{Custom: field("4")})
	bob.hears("tip tip 6 by ann flag 6 4", "new tip 6 by ann flag 6 4")
}
