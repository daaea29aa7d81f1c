package client_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// The conversation of a group that the user has left, was removed from, or that was dissolved can be pinned, get a draft, be cleared and deleted, on all
// devices, with its history until then; nothing can be sent.
func TestConversationsOfGroupsThatAreOver(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	cfg := config(t, s, "bob")
	cfg.Platform = im.Platform_PLATFORM_PAD
	pad := dial(t, cfg)
	ends := map[string]func(string){"left": bob.quitGroup, "out": func(g string) { ann.kick(g, "bob") }, "over": ann.endGroup}
	for _, g := range []string{"left", "out", "over"} {
		ann.openGroup(g, publicGroup, "bob")
		for _, d := range []*device{bob, pad} {
			d.skipTo("add " + g + ` unread 0 last "tip 1 by ann of bob"`)
		}
		ann.sayIn(g, "one")
		for _, d := range []*device{bob, pad} {
			d.skipTo("upd " + g + ` unread 1 last "one"`)
		}
		ends[g](g)
		for _, d := range []*device{bob, pad} {
			d.skipTo("upd " + g + ` unread 0 last "one"`)
		}
		key := group(g)
		state := func(d *device, what string, is func(*im.ConvInfo) bool) {
			t.Helper()
			d.untilConv(g+" "+what, func(e event) bool { return e.conv == g && e.info != nil && is(e.info) })
			d.forget()
		}
		code(t, "pin", bob.PinConversation(within(t), key, true), 0)
		for _, d := range []*device{bob, pad} {
			state(d, "pinned", func(cv *im.ConvInfo) bool { return cv.IsPinned && cv.LastMsg != nil })
		}
		code(t, "draft", pad.SetDraft(key, &im.Draft{Msg: textMessage("draft")}), 0)
		state(pad, "with a draft", func(cv *im.ConvInfo) bool { return text(cv.Draft.GetMsg()) == "draft" })
		bob = bob.again()
		if cv := bob.groupConv(g); cv == nil || !cv.IsPinned || cv.IsHasDraft || text(cv.LastMsg) != "one" {
			t.Errorf("%s after a restart: %v", g, cv)
		}
		wantTexts(t, "the history of "+g, bob.groupTexts(g, nil), "tip 1 by ann of bob", "one")
		want := int32(im.CodeNotMember)
		if g == "over" {
			want = im.CodeNoGroup
		}
		_, err := bob.SendMessage(within(t), key, textMessage("sent after the end"))
		code(t, "send", err, want)
		bob.skipTo("upd " + g + ` unread 0 last "sent after the end"`)
		code(t, "clear", pad.ClearHistory(within(t), key), 0)
		for _, d := range []*device{bob, pad} {
			state(d, "cleared", func(cv *im.ConvInfo) bool { return cv.LastMsg == nil })
			wantTexts(t, "the history that was cleared", d.groupTexts(g, nil))
		}
		code(t, "delete", bob.DeleteConversation(within(t), key), 0)
		for _, d := range []*device{bob, pad} {
			d.until(t, "the deletion", func([]event) bool { return slices.Contains(d.groupWords(), "del "+g+` unread 0 last ""`) })
			d.forget()
		}
	}
	for _, d := range []*device{bob, pad} {
		d = d.again()
		d.hears()
		for _, g := range []string{"left", "out", "over"} {
			if cv := d.groupConv(g); cv != nil {
				t.Errorf("%s is in the list again: %v", g, cv)
			}
		}
	}
}

// The history of a group has what was said during the memberships of its user and nothing else, in pages of any size that end, forward and backward, on
// a device that has seen all of it and on a new one.
func TestHistoryOverMemberships(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	ann.openGroup("g", publicGroup)
	var want []string
	say := func(n int, seen bool) {
		done := make(chan error, n)
		for i := range n {
			words := fmt.Sprint(len(want), ".", i, " ", seen)
			ann.SendMessageFunc(group("g"), textMessage(words), func(_ *im.Message, err error) { done <- err })
			if seen {
				want = append(want, words)
			}
		}
		for range n {
			code(t, "send", <-done, 0)
		}
	}
	say(30, false)
	for _, gap := range []int{70, 45, 0} {
		bob.joinGroup("g")
		want = append(want, "tip 1 by bob of bob")
		say(25, true)
		if gap > 0 {
			bob.quitGroup("g")
			say(gap, false)
		}
	}
	bob.until(t, "the end", func([]event) bool { e, ok := last(bob.all(), "new"); return ok && e.text == want[len(want)-1] })
	cfg := config(t, s, "bob")
	cfg.Platform = im.Platform_PLATFORM_PAD
	for name, d := range map[string]*device{"the first device": bob, "a new device": dial(t, cfg)} {
		for _, n := range []uint32{7, 20, 64} {
			var got []string
			p := &im.GetMsgListParam{Count: n, IsRamble: new(true)}
			for pages := 0; ; pages++ {
				ms, err := d.Messages(within(t), group("g"), p)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range ms {
					got = append(got, text(m))
				}
				if len(ms) == 0 || pages > len(want) {
					break
				}
				p.LastMsg = ms[len(ms)-1]
			}
			slices.Reverse(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s, pages of %d: %d messages, want %d:\n%s", name, n, len(got), len(want), strings.Join(got, "\n"))
			}
		}
	}
}

// mentionsOf returns the marks of a conversation, as number:kind.
func (d *device) mentionsOf(group string) (marks string) {
	for _, x := range d.groupConv(group).GetGroupAtInfoArray() {
		marks += fmt.Sprintf(" %d:%d", x.Seq, x.AtType)
	}
	return strings.TrimSpace(marks)
}

// Marks of mentions are the same on all devices, also on one that was away and on a new one: those of others, unread, not recalled, not cleared.
func TestMarksOfMentions(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	cfg := config(t, s, "bob")
	cfg.Platform = im.Platform_PLATFORM_PAD
	pad := dial(t, cfg)
	ann.openGroup("g", publicGroup, "bob")
	for _, d := range []*device{bob, pad} {
		d.skipTo(`add g unread 0 last "tip 1 by ann of bob"`)
	}
	at := func(from *device, words string, users ...string) *im.Message {
		m := textMessage(words)
		m.GroupAtUserArray = users
		return from.sendIn("g", m)
	}
	everybody := "__kImSDK_MessageAtALL__"
	check := func(when, marks string) {
		t.Helper()
		devices := map[string]*device{"online": bob, "away": dial(t, pad.cfg)}
		fresh := config(t, s, "bob")
		fresh.Platform = im.Platform_PLATFORM_WEB
		devices["new"] = dial(t, fresh)
		for name, d := range devices {
			eventually(t, fmt.Sprintf("%s, %s: %q, not %q", when, name, marks, d.mentionsOf("g")), func() bool { return d.mentionsOf("g") == marks })
		}
		devices["away"].Close()
		devices["new"].Close()
	}
	pad.Close()
	at(bob, "my own", "bob", everybody)
	at(ann, "two", "bob") // 3
	at(ann, "three", everybody)
	four := at(ann, "four", "bob", everybody)
	at(ann, "five", "ann", "stranger")
	six := at(ann, "six", "bob") // 7
	check("mentioned", "3:1 4:2 5:3 7:1")
	code(t, "recall", ann.Revoke(within(t), group("g"), four, ""), 0)
	check("recalled", "3:1 4:2 7:1")
	ms, err := bob.Messages(within(t), group("g"), &im.GetMsgListParam{LastMsgSeq: 3, Count: 1})
	if err != nil || len(ms) != 1 {
		t.Fatal(ms, err)
	}
	code(t, "read", bob.MarkRead(within(t), group("g"), ms[0]), 0)
	check("read in part", "4:2 7:1")
	six.ElemArray = textMessage("six again").ElemArray
	_, err = ann.ModifyMessage(within(t), group("g"), six)
	code(t, "modify", err, 0)
	check("modified", "4:2 7:1")
	code(t, "clear", bob.ClearHistory(within(t), group("g")), 0)
	check("cleared", "")
	at(ann, "eight", "bob")
	check("mentioned again", "8:1")
	bob.quitGroup("g")
	check("left", "")
	bob.joinGroup("g")
	check("joined again", "")
}

// The receive options of a group: what fires, what counts in the conversation, and what counts in the total.
func TestReceiveOptionsOfGroups(t *testing.T) {
	s := imtest.Start(t)
	ann := dial(t, config(t, s, "ann"))
	for opt, want := range [][]string{
		{"new one", `upd g unread 1 last "one"`, "total 1", "new hey", `upd g unread 2 last "hey"`, "total 2", "tip tip 6 by ann flag 1 new", "new tip 6 by ann flag 1 new", `upd g unread 2 last "tip 6 by ann flag 1 new"`},
		nil,
		{"new one", `upd g unread 1 last "one"`, "new hey", `upd g unread 2 last "hey"`, "tip tip 6 by ann flag 1 new", "new tip 6 by ann flag 1 new", `upd g unread 2 last "tip 6 by ann flag 1 new"`},
		{"new one", `upd g unread 1 last "one"`, "new hey", `upd g unread 2 last "hey"`, "tip tip 6 by ann flag 1 new", "new tip 6 by ann flag 1 new", `upd g unread 2 last "tip 6 by ann flag 1 new"`},
		{"new hey", `upd g unread 1 last "hey"`, "total 1"},
	} {
		user, id := fmt.Sprint("user", opt), fmt.Sprint("g", opt)
		d := dial(t, config(t, s, user))
		ann.openGroup(id, publicGroup, user)
		d.skipTo("add " + id + ` unread 0 last "tip 1 by ann of ` + user + `"`)
		if opt > 0 {
			code(t, "option", d.SetRecvOpt(within(t), []client.Conv{group(id)}, int32(opt)), 0)
			d.skipTo("upd " + id + ` unread 0 last "tip 1 by ann of ` + user + `"`)
		}
		next := func(all *[]string) {
			t.Helper()
			n := min(len(*all), 3)
			if i := slices.IndexFunc(*all, func(w string) bool { return strings.HasPrefix(w, "upd") }); i >= 0 {
				if n = i + 1; n < len(*all) && strings.HasPrefix((*all)[n], "total") {
					n++
				}
			}
			var words []string
			for _, w := range (*all)[:n] {
				words = append(words, strings.Replace(w, "upd g ", "upd "+id+" ", 1))
			}
			*all = (*all)[n:]
			d.hears(words...)
		}
		ann.sayIn(id, "one")
		if opt != 4 {
			next(&want)
		}
		m := textMessage("hey")
		m.GroupAtUserArray = []string{user}
		ann.sendIn(id, m)
		next(&want)
		ann.rename(id, "new")
		next(&want)
		if total, err := d.TotalUnread(within(t)); err != nil || total != []int{2, 0, 0, 0, 1}[opt] {
			t.Errorf("option %d: the total is %d, %v", opt, total, err)
		}
		d.Close()
	}
}

// A conversation of a group that was deleted stays deleted on all devices, wherever they were, when somebody sends to others in the group, and when a row of the user's own changes then. A message to the
// user brings it back.
func TestDeletedGroupAndMessagesToOthers(t *testing.T) {
	s := imtest.Start(t)
	ann, bob, carol := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob")), dial(t, config(t, s, "carol"))
	on := func(p im.Platform) *device {
		cfg := config(t, s, "bob")
		cfg.Platform = p
		return dial(t, cfg)
	}
	pad := on(im.Platform_PLATFORM_PAD)
	ann.openGroup("g", publicGroup, "bob", "carol")
	for _, d := range []*device{bob, pad, carol} {
		d.skipTo(`add g unread 0 last "tip 1 by ann of bob+carol"`)
	}
	ann.sayIn("g", "hi")
	for _, d := range []*device{bob, pad, carol} {
		d.skipTo(`upd g unread 1 last "hi"`)
	}
	code(t, "delete", bob.DeleteConversation(within(t), group("g")), 0)
	for _, d := range []*device{bob, pad} {
		d.skipTo(`del g unread 0 last ""`)
	}
	pad.Close()
	to := func(user, words string) {
		m := textMessage(words)
		m.TargetGroupMemberArray = []string{user}
		ann.sendIn("g", m)
	}
	to("carol", "not for bob")
	carol.hears("new not for bob", `upd g unread 1 last "not for bob"`)
	pad, fresh := dial(t, pad.cfg), on(im.Platform_PLATFORM_ANDROID)
	all := []*device{bob, pad, fresh}
	deleted := func(when string) {
		t.Helper()
		for i, d := range all {
			d.hears()
			if list, err := d.Conversations(within(t)); err != nil || len(list) > 0 {
				t.Errorf("%s, device %d: %v, %v", when, i, list, err)
			}
		}
	}
	deleted("after a message to somebody else")
	code(t, "option", bob.SetRecvOpt(within(t), []client.Conv{group("g")}, 2), 0)
	deleted("after a change of the row")
	to("bob", "for bob")
	for _, d := range all {
		d.hears("new for bob", `add g unread 0 last "for bob"`)
	}
}
