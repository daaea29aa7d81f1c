package client_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// TestGroupAway: what a device hears at its login of what went on in a group while it was away. Each step is done by ann, or by another device of bob, while
// bob's device is closed; then it logs in and hears the words, in any case each once. A report comes after the log before it, and before what the conversation
// has become; where more of the log follows, it may come anywhere there.
func TestGroupAway(t *testing.T) {
	for _, x := range []struct {
		name string
		typ  im.GroupType
		// in: bob is a member before he goes away.
		in    bool
		steps func(ann, other *device)
		want  []string
		// texts is the history afterwards.
		texts []string
	}{
		{"messages and a tip", publicGroup, true, func(ann, other *device) {
			ann.sayIn("g", "one")
			ann.rename("g", "new")
		}, []string{"new one", "tip tip 6 by ann flag 1 new", "new tip 6 by ann flag 1 new", `upd g unread 1 last "tip 6 by ann flag 1 new"`, "total 1"},
			[]string{"tip 1 by ann of bob", "one", "tip 6 by ann flag 1 new"}},
		{"removed", publicGroup, true, func(ann, other *device) {
			ann.sayIn("g", "one")
			ann.kick("g", "bob")
			ann.sayIn("g", "after")
		}, []string{"new one", "new report 4 of g by ann", `upd g unread 0 last "one"`}, []string{"tip 1 by ann of bob", "one"}},
		{"left with another device", publicGroup, true, func(ann, other *device) {
			ann.sayIn("g", "one")
			other.skipTo(`upd g unread 1 last "one"`)
			other.quitGroup("g")
			ann.sayIn("g", "after")
		}, []string{"new one", "new report 8 of g by bob", `upd g unread 0 last "one"`}, []string{"tip 1 by ann of bob", "one"}},
		{"left and joined again", publicGroup, true, func(ann, other *device) {
			ann.sayIn("g", "one")
			other.skipTo(`upd g unread 1 last "one"`)
			other.quitGroup("g")
			ann.sayIn("g", "between")
			other.joinGroup("g")
			ann.sayIn("g", "two")
		}, []string{"new one", "tip tip 1 by bob of bob", "new tip 1 by bob of bob", "new two", "new report 8 of g by bob", `upd g unread 1 last "two"`, "total 1"},
			[]string{"tip 1 by ann of bob", "one", "tip 1 by bob of bob", "two"}},
		{"a community left and joined again", communityGroup, true, func(ann, other *device) {
			ann.sayIn("@TGS#_g", "one")
			other.skipTo(`upd @TGS#_g unread 1 last "one"`)
			other.quitGroup("@TGS#_g")
			ann.sayIn("@TGS#_g", "between")
			other.joinGroup("@TGS#_g")
			ann.sayIn("@TGS#_g", "two")
		}, []string{"new one", "tip tip 1 by bob of bob", "new tip 1 by bob of bob", "new two", "new report 8 of @TGS#_g by bob", `upd @TGS#_g unread 1 last "two"`, "total 1"},
			[]string{"tip 1 by ann of bob", "one", "tip 2 by bob of bob", "between", "tip 1 by bob of bob", "two"}},
		{"joined", publicGroup, false, func(ann, other *device) {
			ann.sayIn("g", "before")
			other.joinGroup("g")
			ann.sayIn("g", "one")
		}, []string{"tip tip 1 by bob of bob", "new tip 1 by bob of bob", "new one", `add g unread 1 last "one"`, "total 1"}, []string{"tip 1 by bob of bob", "one"}},
		{"a community joined", communityGroup, false, func(ann, other *device) {
			for i := range 20 {
				ann.sayIn("@TGS#_g", fmt.Sprint("before ", i))
			}
			other.joinGroup("@TGS#_g")
		}, []string{"tip tip 1 by bob of bob", "new tip 1 by bob of bob", `add @TGS#_g unread 0 last "tip 1 by bob of bob"`}, nil},
		{"a meeting joined", meetingGroup, false, func(ann, other *device) {
			ann.sayIn("g", "before")
			other.joinGroup("g")
		}, []string{`add g unread 0 last ""`}, []string{"before"}},
		{"dissolved", publicGroup, true, func(ann, other *device) {
			ann.sayIn("g", "one")
			ann.endGroup("g")
		}, []string{"new one", "new report 5 of g by ann", `upd g unread 0 last "one"`}, []string{"tip 1 by ann of bob", "one"}},
		{"dissolved, and the id used again with bob", publicGroup, true, func(ann, other *device) {
			ann.sayIn("g", "one")
			ann.endGroup("g")
			ann.openGroup("g", publicGroup, "bob")
			ann.sayIn("g", "hi")
		}, []string{"new report 5 of g by", "tip tip 1 by ann of bob", "new tip 1 by ann of bob", "new hi", "new report 7 of g by ann", `upd g unread 1 last "hi"`, "total 1"},
			[]string{"tip 1 by ann of bob", "tip 1 by ann of bob", "hi"}},
		{"dissolved, and the id used again without bob", publicGroup, true, func(ann, other *device) {
			ann.endGroup("g")
			ann.openGroup("g", publicGroup)
		}, []string{"new report 5 of g by"}, []string{"tip 1 by ann of bob"}},
		{"attributes", publicGroup, true, func(ann, other *device) {
			for i := range 3 {
				code(ann.t, "set", ann.Groups().SetAttributes(within(ann.t), "g", []*im.GroupAttributes{{Key: "k", Value: fmt.Sprint(i)}}), 0)
			}
		}, []string{`group_attributes_changed {"group":"g","attributes":[{"group_atrribute_key":"k","group_atrribute_value":"2","group_attribute_key":"k","group_attribute_value":"2"}]}`}, nil},
		{"recalled and modified", publicGroup, true, func(ann, other *device) {
			m := ann.sayIn("g", "one")
			two := ann.sayIn("g", "two")
			code(ann.t, "revoke", ann.Revoke(within(ann.t), client.Group("g"), m, ""), 0)
			two.ElemArray = textMessage("two again").ElemArray
			_, err := ann.ModifyMessage(within(ann.t), client.Group("g"), two)
			code(ann.t, "modify", err, 0)
		}, []string{"new two again", "revoke ann", `upd g unread 1 last "two again"`, "total 1"}, []string{"tip 1 by ann of bob", "one", "two again"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s := imtest.Start(t)
			ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
			pad := config(t, s, "bob")
			pad.Platform = im.Platform_PLATFORM_PAD
			other := dial(t, pad)
			id := "g"
			if x.typ == communityGroup {
				id = "@TGS#_g"
			}
			if x.in {
				ann.openGroup(id, x.typ, "bob")
				for _, d := range []*device{bob, other} {
					d.skipTo("add " + id + ` unread 0 last "tip 1 by ann of bob"`)
				}
			} else {
				ann.openGroup(id, x.typ)
			}
			bob.Close()
			x.steps(ann, other)
			bob = dial(t, bob.cfg)
			if slices.Contains([]string{"removed", "left with another device", "joined"}, x.name) {
				bob.hears(x.want...)
			} else {
				bob.hearsApart(x.want...)
			}
			if x.texts != nil {
				if got := bob.groupTexts(id, nil); !slices.Equal(got, x.texts) {
					t.Errorf("history %q, want %q", got, x.texts)
				}
			}
			bob.Beat()
			bob.WaitQuiet()
			bob = bob.again()
			bob.hears()
		})
	}
}
