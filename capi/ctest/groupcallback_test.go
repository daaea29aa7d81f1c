package ctest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// club is a program of ann's that hears of a group of bob's.
type club struct {
	*device
	bob *client.Client
	n   int
}

func newClub(t *testing.T) *club {
	s := imtest.Start(t)
	c := &club{device: newDevice(t, s, "ann", ""), bob: s.Dial("bob", noEvents)}
	c.begin()
	if _, err := c.bob.Groups().Create(t.Context(), &im.CreateGroupRequest{GroupId: "club", Name: "Club", Members: []*im.GroupMemberInfo{{Identifier: "ann"}}}); err != nil {
		t.Fatal(err)
	}
	c.wait(0, "the conversation", func(l line) bool { return l.kind == "TIMConvEventCallback" && strings.Contains(l.fields[1], `"club"`) })
	return c
}

// begin logs in with all callbacks set.
func (c *club) begin() {
	c.t.Helper()
	at := c.position()
	c.call("TIMSetGroupTipsEventCallback", on)
	c.call("TIMSetGroupAttributeChangedCallback", on)
	c.login()
	c.synced(at)
}

// cause does what fires a callback, and returns a part of its JSON that nothing before it had.
func (c *club) cause(kind string) string {
	c.t.Helper()
	c.n++
	mark := fmt.Sprintf("mark %d.", c.n)
	var err error
	switch kind {
	case "TIMGroupTipsEventCallback":
		err = c.bob.Groups().Modify(c.t.Context(), "club", &im.ModifyGroupRequest{Name: &mark})
	case "TIMGroupAttributeChangedCallback":
		err = c.bob.Groups().SetAttributes(c.t.Context(), "club", []*im.GroupAttributes{{Key: "k", Value: mark}})
	default:
		_, err = c.bob.SendMessage(c.t.Context(), client.Group("club"), im.Text(mark))
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return mark
}

// count counts the calls of a callback that have a text in their JSON.
func (c *club) count(from int, kind, text string) (n int) {
	for _, l := range c.all()[from:] {
		if l.kind == kind && strings.Contains(strings.Join(l.fields, " "), text) {
			n++
		}
	}
	return n
}

// TIMUninit inside a callback of a group returns, and nothing is called afterwards; the next run of the library is told once what was not told yet, as the
// message with the tip that the callback was about, and what it has missed.
func TestUninitInGroupCallbacks(t *testing.T) {
	c := newClub(t)
	for i, kind := range []string{"TIMGroupTipsEventCallback", "TIMGroupAttributeChangedCallback", "TIMRecvNewMsgCallback"} {
		from := c.position()
		c.send("hook\t" + kind + "\t" + command(40+i, "TIMUninit"))
		c.call("TIMGetLoginStatus") // the program has taken the hook
		mark := c.cause(kind)
		if l := c.returned(40+i, "TIMUninit"); l.num(1) != 0 {
			t.Errorf("%s: TIMUninit returned %d", kind, l.num(1))
		}
		if a := c.ask("TIMGroupGetJoinedGroupList", on); a.code != 6013 {
			t.Errorf("%s: a call after it: %+v", kind, a)
		}
		missed := c.cause("TIMRecvNewMsgCallback")
		c.init()
		c.begin()
		c.hears(missed)
		if kind == "TIMGroupTipsEventCallback" {
			c.wait(from, "the message with the tip", func(l line) bool { return l.kind == "TIMRecvNewMsgCallback" && strings.Contains(l.fields[0], mark) })
			if n := c.count(from, "TIMRecvNewMsgCallback", mark); n != 1 {
				t.Errorf("the message with the tip fired %d times", n)
			}
		}
		if n := c.count(from, kind, mark); n != 1 {
			t.Errorf("%s fired %d times", kind, n)
		}
	}
	c.quit()
}

// Functions about a group and its messages may be called inside the callback of a tip of the group, up to the call that leaves it, with parameters that
// are missing, too: each returns, and is answered once if it returned 0.
func TestGroupCallsInItsTip(t *testing.T) {
	const text = `{"message_elem_array":[{"elem_type":0,"text_elem_content":"inside"}]}`
	c := newClub(t)
	calls := [][]any{
		{"TIMMsgSendMessage", "club", 2, text, on, on}, {"TIMMsgSendMessage", "club", 2, null, on, on}, {"TIMMsgReportReaded", "club", 2, null, on}, {"TIMMsgReportReaded", "club", 2, "{}", on},
		{"TIMMsgGetMsgList", "club", 2, "{}", on}, {"TIMMsgGetMsgList", "club", 2, null, on}, {"TIMMsgSetGroupReceiveMessageOpt", "club", 2, on},
		{"TIMMsgSetGroupReceiveMessageOpt", null, 1, on}, {"TIMMsgRevoke", "club", 2, `{"message_seq":1}`, on}, {"TIMMsgDelete", "club", 2, `{"msg_delete_param_msg":{}}`, on},
		{"TIMMsgListDelete", "club", 2, "[]", on}, {"TIMConvPinConversation", "club", 2, true, on}, {"TIMMsgClearHistoryMessage", "club", 2, on}, {"TIMConvDelete", "club", 2, on},
		{"TIMConvDelete", "", 2, on}, {"TIMGroupQuit", "club", on},
	}
	ids := make([]int, len(calls))
	for i, call := range calls {
		ids[i] = c.nextID()
		c.send("hook\tTIMGroupTipsEventCallback\t" + command(ids[i], call[0].(string), call[1:]...))
	}
	c.call("TIMGetLoginStatus") // the program has taken the hooks
	results := make([]int, len(calls))
	for i, call := range calls {
		c.cause("TIMGroupTipsEventCallback")
		results[i] = c.returned(ids[i], call[0].(string)).num(1)
		if results[i] == 0 {
			c.answerOf(ids[i], call[0].(string))
		}
	}
	if results[0] != 0 || results[1] != -4 || results[len(results)-1] != 0 {
		t.Errorf("the calls returned %v", results)
	}
	c.must("TIMLogout", on)
	c.quit()
	answers := map[int]int{}
	for _, l := range c.all() {
		if l.kind == "TIMCommCallback" {
			answers[l.num(3)]++
		}
	}
	for i, call := range calls {
		if want := map[bool]int{true: 1}[results[i] == 0]; answers[ids[i]] != want {
			t.Errorf("%v was answered %d times, want %d", call, answers[ids[i]], want)
		}
	}
}
