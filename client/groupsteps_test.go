package client_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

func group(id string) client.Conv { return client.Group(id) }

// openGroup creates a group that everybody may join.
func (d *device) openGroup(id string, typ im.GroupType, members ...string) {
	d.t.Helper()
	d.group(id, typ, members...)
	if typ == publicGroup {
		code(d.t, "open "+id, d.Groups().Modify(within(d.t), id, &im.ModifyGroupRequest{AddOption: new(im.GroupAddOption_GROUP_ADD_OPTION_ANY)}), 0)
	}
}

func (d *device) joinGroup(id string) {
	d.t.Helper()
	_, err := d.Groups().Join(within(d.t), id, "")
	code(d.t, "join "+id, err, 0)
}

func (d *device) quitGroup(id string) {
	d.t.Helper()
	code(d.t, "quit "+id, d.Groups().Quit(within(d.t), id), 0)
}

func (d *device) endGroup(id string) {
	d.t.Helper()
	code(d.t, "end "+id, d.Groups().Delete(within(d.t), id), 0)
}

func (d *device) kick(id string, users ...string) {
	d.t.Helper()
	_, err := d.Groups().Kick(within(d.t), id, users, "")
	code(d.t, "kick from "+id, err, 0)
}

func (d *device) rename(id, name string) {
	d.t.Helper()
	code(d.t, "rename "+id, d.Groups().Modify(within(d.t), id, &im.ModifyGroupRequest{Name: &name}), 0)
}

// sayIn sends a text to a group.
func (d *device) sayIn(group, s string) *im.Message {
	d.t.Helper()
	return d.sendIn(group, textMessage(s))
}

func (d *device) sendIn(group string, m *im.Message) *im.Message {
	d.t.Helper()
	sent, err := d.SendMessage(within(d.t), client.Group(group), m)
	if err != nil {
		d.t.Fatalf("send: %v", err)
	}
	return sent
}

// groupWords are the events of groups and conversations, in their order, as words.
func (d *device) groupWords() (all []string) {
	for _, e := range d.all() {
		switch e.kind {
		case "new", "tip", "revoke", "update", "group_attributes_changed":
			all = append(all, strings.TrimSpace(fmt.Sprint(e.kind, " ", e.text)))
		case "add", "upd", "del":
			all = append(all, fmt.Sprintf("%s %s unread %d last %q", e.kind, e.conv, e.n, e.text))
		case "total":
			all = append(all, fmt.Sprint("total ", e.n))
		}
	}
	return all
}

// hears waits until these events have fired, and checks that no others did. Then it forgets them.
func (d *device) hears(want ...string) {
	d.t.Helper()
	d.until(d.t, fmt.Sprintf("%q", want), func([]event) bool { return len(d.groupWords()) >= len(want) })
	d.Beat()
	d.WaitQuiet()
	d.settled()
	got := d.groupWords()
	d.forget()
	if !slices.Equal(got, want) {
		d.t.Fatalf("%s heard\n  %s\nwant\n  %s", d.UserID(), strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// skipTo waits until this has fired, and forgets everything up to there.
func (d *device) skipTo(last string) {
	d.t.Helper()
	d.until(d.t, last, func([]event) bool { return slices.Contains(d.groupWords(), last) })
	d.Beat()
	d.WaitQuiet()
	d.settled()
	d.forget()
}

// hearsApart is hears where reports may come anywhere among the others.
func (d *device) hearsApart(want ...string) {
	d.t.Helper()
	d.until(d.t, fmt.Sprintf("%q", want), func([]event) bool { return len(d.groupWords()) >= len(want) })
	d.Beat()
	d.WaitQuiet()
	d.settled()
	got := d.groupWords()
	d.forget()
	for _, words := range [][]string{got, want} {
		slices.SortStableFunc(words, func(a, b string) int {
			report := func(s string) int { return len(s) - len(strings.TrimPrefix(s, "new report")) }
			if n := report(a) - report(b); n != 0 || report(a) == 0 {
				return n
			}
			return strings.Compare(a, b)
		})
	}
	if !slices.Equal(got, want) {
		d.t.Fatalf("%s heard\n  %s\nwant\n  %s", d.UserID(), strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func (d *device) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = nil
}

// groupConv returns a group's conversation in the list.
func (d *device) groupConv(id string) *im.ConvInfo {
	d.t.Helper()
	list, err := d.ConversationsByKey(within(d.t), []client.Conv{client.Group(id)})
	if err != nil || len(list) > 1 {
		d.t.Fatal(list, err)
	}
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// groupTexts lists the history of a group, oldest first.
func (d *device) groupTexts(id string, p *im.GetMsgListParam) (all []string) {
	d.t.Helper()
	ms, err := d.Messages(within(d.t), client.Group(id), p)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, m := range slices.Backward(ms) {
		all = append(all, text(m))
	}
	return all
}

func wantTexts(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %q, want %q", what, got, want)
	}
}
