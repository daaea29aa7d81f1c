package client_test

import (
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// A new device gets what is unread of each group that its user is in, at least the newest entry, and nothing that was before; of memberships and groups that were over by
// then nothing at all, also at its next logins and if the user changes something there. What begins and ends while it is away is news.
func TestFreshDeviceInGroups(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	for _, g := range []string{"here", "left", "out", "over"} {
		ann.openGroup(g, publicGroup, "bob")
		bob.skipTo("add " + g + ` unread 0 last "tip 1 by ann of bob"`)
		one := ann.sayIn(g, "one")
		ann.sayIn(g, "two")
		code(t, "revoke", ann.Revoke(within(t), group(g), one, ""), 0)
		ann.rename(g, "new")
		bob.skipTo("upd " + g + ` unread 1 last "tip 6 by ann flag 1 new"`)
		code(t, "read", bob.MarkRead(within(t), group(g), nil), 0)
	}
	ann.sayIn("here", "three")
	bob.skipTo(`upd here unread 1 last "three"`)
	bob.quitGroup("left")
	ann.kick("out", "bob")
	ann.endGroup("over")
	pad := config(t, s, "bob")
	pad.Platform = im.Platform_PLATFORM_PAD
	fresh := dial(t, pad)
	fresh.hears("new three", `add here unread 1 last "three"`, "total 1")
	fresh = fresh.again()
	fresh.hears()
	for _, g := range []string{"left", "out", "over"} {
		if err := bob.ClearHistory(within(t), group(g)); err != nil {
			t.Fatal(err)
		}
		if cv := fresh.groupConv(g); cv != nil {
			t.Errorf("%s is in the list: %v", g, cv)
		}
	}
	fresh.hears()
	fresh.Close()
	bob.joinGroup("left")
	ann.sayIn("left", "hi")
	bob.skipTo(`upd left unread 1 last "hi"`)
	bob.quitGroup("left")
	fresh = dial(t, fresh.cfg)
	fresh.hearsApart("tip tip 1 by bob of bob", "new tip 1 by bob of bob", "new hi", "new report 8 of left by bob", `add left unread 0 last "hi"`)
	wantTexts(t, "the history", fresh.groupTexts("left", nil), "tip 1 by bob of bob", "hi")
	fresh = fresh.again()
	fresh.hears()
}

// Under receive option 4 a mention reports its conversation on a new device, too, which has listed it without an event; also if it is not the newest
// message by then.
func TestMentionOnFreshDevice(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	ann.openGroup("g", publicGroup, "bob")
	bob.skipTo(`add g unread 0 last "tip 1 by ann of bob"`)
	code(t, "option", bob.SetRecvOpt(within(t), []client.Conv{group("g")}, 4), 0)
	ann.sayIn("g", "unheard")
	pad := config(t, s, "bob")
	pad.Platform = im.Platform_PLATFORM_PAD
	fresh := dial(t, pad)
	fresh.hears()
	fresh.Close()
	m := textMessage("hey")
	m.GroupAtUserArray = []string{"bob"}
	ann.sendIn("g", m)
	ann.sayIn("g", "later")
	fresh = dial(t, fresh.cfg)
	fresh.hears("new hey", `add g unread 1 last "later"`, "total 1")
	ann.sayIn("g", "unheard again")
	fresh.hears()
}
