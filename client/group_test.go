package client_test

import (
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// TestGroupOnDevices: what devices hear of a group from its creation to its end, in which order, and what they show of it.
func TestGroupOnDevices(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	pad := config(t, s, "ann")
	pad.Platform = im.Platform_PLATFORM_PAD
	annPad := dial(t, pad)
	for _, d := range []*device{ann, annPad, bob} {
		d.forget()
	}
	ann.openGroup("g", publicGroup, "bob")
	ann.hears("tip tip 1 by ann of bob", "new tip 1 by ann of bob", `add g unread 0 last "tip 1 by ann of bob"`)
	annPad.hears("tip tip 1 by ann of bob", "new tip 1 by ann of bob", "new report 6 of g by ann", `add g unread 0 last "tip 1 by ann of bob"`)
	bob.hears("tip tip 1 by ann of bob", "new tip 1 by ann of bob", "new report 7 of g by ann", `add g unread 0 last "tip 1 by ann of bob"`)
	if cv := bob.groupConv("g"); cv.ShowName != "name of g" || cv.GroupType != int32(publicGroup) {
		t.Errorf("the conversation %v", cv)
	}
	ann.sayIn("g", "hi")
	ann.hears(`upd g unread 0 last "hi"`, `upd g unread 0 last "hi"`) // as it is sent, and when it is
	annPad.hears("new hi", `upd g unread 0 last "hi"`)
	bob.hears("new hi", `upd g unread 1 last "hi"`, "total 1")
	if err := bob.MarkRead(within(t), group("g"), nil); err != nil {
		t.Fatal(err)
	}
	bob.hears(`upd g unread 0 last "hi"`, "total 0")

	cid := dial(t, config(t, s, "cid"))
	cid.forget()
	cid.joinGroup("g")
	cid.hears("tip tip 1 by cid of cid", "new tip 1 by cid of cid", `add g unread 0 last "tip 1 by cid of cid"`)
	for _, d := range []*device{ann, bob} {
		d.hears("tip tip 1 by cid of cid", "new tip 1 by cid of cid", `upd g unread 0 last "tip 1 by cid of cid"`)
	}
	wantTexts(t, "cid's history", cid.groupTexts("g", nil), "tip 1 by cid of cid")
	ann.rename("g", "new name")
	cid.hears("tip tip 6 by ann flag 1 new name", "new tip 6 by ann flag 1 new name", `upd g unread 0 last "tip 6 by ann flag 1 new name"`)
	if cv := cid.groupConv("g"); cv.ShowName != "new name" {
		t.Errorf("the name is %q", cv.ShowName)
	}
	bob.sayIn("g", "welcome")
	cid.hears("new welcome", `upd g unread 1 last "welcome"`, "total 1")
	ann.kick("g", "cid")
	cid.hears("new report 4 of g by ann", `upd g unread 0 last "welcome"`, "total 0")
	if _, err := cid.SendMessage(within(t), group("g"), textMessage("why")); im.CodeOf(err) != im.CodeNotMember {
		t.Errorf("sent after the end: %v", err)
	}
	bob.sayIn("g", "between")
	cid.skipTo(`upd g unread 0 last "why"`)
	wantTexts(t, "cid's history after the end", cid.groupTexts("g", nil), "tip 1 by cid of cid", "tip 6 by ann flag 1 new name", "welcome", "why")
	cid.joinGroup("g")
	cid.hears("tip tip 1 by cid of cid", "new tip 1 by cid of cid", `upd g unread 0 last "tip 1 by cid of cid"`)
	bob.sayIn("g", "again")
	cid.hears("new again", `upd g unread 1 last "again"`, "total 1")
	cid.quitGroup("g")
	cid.hears(`upd g unread 0 last "again"`, "total 0")

	ann.skipTo(`upd g unread 3 last "tip 2 by cid of cid"`)
	bob.skipTo(`upd g unread 0 last "tip 2 by cid of cid"`)
	ann.endGroup("g")
	ann.hears("new report 5 of g by ann", `upd g unread 0 last "tip 2 by cid of cid"`, "total 0")
	bob.hears("new report 5 of g by ann")
	cid.hears()
	ann.group("g", workGroup, "bob")
	bob.hears("tip tip 1 by ann of bob", "new tip 1 by ann of bob", "new report 7 of g by ann", `upd g unread 0 last "tip 1 by ann of bob"`)
}
