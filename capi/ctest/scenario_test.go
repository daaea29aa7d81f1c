package ctest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// texts returns the texts of all new messages that a program got, in order.
func (d *device) texts() []string {
	d.t.Helper()
	var out []string
	for _, l := range d.all() {
		if l.kind == "TIMRecvNewMsgCallback" {
			for _, m := range decode[[]message](d.t, l.fields[0]) {
				out = append(out, m.text())
			}
		}
	}
	return out
}

// numbered checks that texts are prefix0, prefix1, ... and n of them.
func numbered(t *testing.T, texts []string, prefix string, n int) {
	t.Helper()
	if len(texts) != n {
		t.Fatalf("%d messages, want %d", len(texts), n)
	}
	for i, s := range texts {
		if s != fmt.Sprint(prefix, i) {
			t.Fatalf("message %d is %q", i, s)
		}
	}
}

// A thousand messages to a user who is away arrive at the next login in order, each once; the login after that brings none of them again, even after
// a kill of the program.
func TestThousandMissed(t *testing.T) {
	s := imtest.Start(t)
	bob := newDevice(t, s, "bob", "")
	bob.login()
	bob.synced(0)
	bob.call("TIMUninit")
	bob.quit()
	ann := s.Dial("ann", noEvents)
	const n = 1000
	answers := make(chan error, n)
	for i := range n {
		for {
			if _, err := ann.SendMessageFunc(client.C2C("bob"), im.Text(fmt.Sprint("n", i)), func(_ *im.Message, err error) { answers <- err }); err == nil {
				break
			}
		}
		if i%500 == 499 { // fewer than may be open
			for range 500 {
				if err := <-answers; err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	again := newDevice(t, s, "bob", bob.dir)
	again.login()
	again.synced(0)
	again.total(0, n)
	numbered(t, again.texts(), "n", n)
	again.must("TIMConvGetConvList", on)
	again.must("TIMLogout", on) // everything reported is cleared
	again.cmd.Process.Kill()
	third := newDevice(t, s, "bob", bob.dir)
	third.login()
	third.synced(0)
	if texts := third.texts(); len(texts) != 0 {
		t.Errorf("%d messages came again", len(texts))
	}
	third.quit()
}

// The server stops and restarts: the program is notified, sends fail while there is no link and keep the message with status 3, and everything
// continues by itself; nothing arrives twice.
func TestServerRestart(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := newDevice(t, s, "ann", ""), newDevice(t, s, "bob", "")
	ann.login()
	bob.login()
	bob.synced(0)
	ann.say("bob", "n0")
	bob.hears("n0")
	state := func(d *device, from, status int) {
		t.Helper()
		d.wait(from, fmt.Sprintf("network status %d", status), func(l line) bool { return l.kind == "TIMNetworkStatusListenerCallback" && l.num(0) == status })
	}
	atAnn, atBob := ann.position(), bob.position()
	s.Stop()
	state(ann, atAnn, 1)
	a := ann.ask("TIMMsgSendMessage", "bob", 1, textJSON("lost"), on, on)
	if a.code != 9508 || decode[message](t, a.json).Status != 3 {
		t.Errorf("send without a link: %+v", a)
	}
	if h := ann.history("bob"); len(h) != 2 || h[0].Status != 3 {
		t.Errorf("history without a link: %+v", h)
	}
	s.Restart()
	state(ann, atAnn, 0)
	state(bob, atBob, 0)
	ann.say("bob", "n1")
	bob.hears("n1")
	numbered(t, bob.texts(), "n", 2)
	ann.quit()
	bob.quit()
}

// Without a server a login fails in time, and local data can still be read with the ticket that a server has accepted.
func TestLocalWithoutServer(t *testing.T) {
	s := imtest.Start(t)
	ann := newDevice(t, s, "ann", "")
	ticket := s.Sig("ann")
	ann.must("TIMLogin", "ann", ticket, on)
	ann.say("ann", "note")
	ann.call("TIMUninit")
	ann.quit()
	s.Stop()
	again := newDevice(t, s, "ann", ann.dir)
	_, _, login := again.callID("TIMLogin", "ann", ticket, on)
	if h := again.history("ann"); len(h) != 1 || h[0].text() != "note" {
		t.Errorf("history while logging in: %+v", h)
	}
	again.must("TIMLogout", on)
	if a := again.answerOf(login, "TIMLogin"); a.code != 7009 {
		t.Errorf("login: %+v", a)
	}
	again.quit()
}

// Another of my devices gets what I send; a message to myself is not unread.
func TestOwnDevices(t *testing.T) {
	s := imtest.Start(t)
	desktop, phone := newDevice(t, s, "ann", ""), newDevice(t, s, "ann", "", "TIDINGS_PLATFORM=android")
	s.Dial("bob", noEvents)
	desktop.login()
	phone.login()
	phone.synced(0)
	sent := desktop.say("bob", "from the desktop")
	got := phone.hears("from the desktop")
	if !got.Self || got.Conv != "bob" || got.ID != sent.ID {
		t.Errorf("on the phone: %+v", got)
	}
	desktop.say("ann", "to myself")
	phone.hears("to myself")
	if json := phone.must("TIMConvGetTotalUnreadMessageCount", on); json != `{"conv_get_total_unread_message_count_result_unread_count":0}` {
		t.Errorf("total %s", json)
	}
	for _, text := range desktop.texts() {
		t.Errorf("the sending device was told of %q", text)
	}
	desktop.quit()
	phone.quit()
}

// A message that is modified fires on devices that have it, with its new content.
func TestModified(t *testing.T) {
	s := imtest.Start(t)
	bob := newDevice(t, s, "bob", "")
	bob.login()
	bob.synced(0)
	ann := s.Dial("ann", noEvents)
	m, err := ann.SendMessage(t.Context(), client.C2C("bob"), im.Text("first"))
	if err != nil {
		t.Fatal(err)
	}
	bob.hears("first")
	m.ElemArray = im.Text("second").ElemArray
	if _, err := ann.ModifyMessage(t.Context(), client.C2C("bob"), m); err != nil {
		t.Fatal(err)
	}
	got := decode[[]message](t, bob.event("TIMMsgUpdateCallback", 1).fields[0])
	if len(got) != 1 || got[0].text() != "second" || got[0].ID != m.MsgId {
		t.Errorf("updated: %+v", got)
	}
	bob.quit()
}

// A function that refuses at once logs the reason.
func TestRefusalIsLogged(t *testing.T) {
	d := start(t)
	d.must("TIMSetConfig", `{"set_config_callback_log_level":3}`, on)
	d.call("TIMSetLogCallback", on)
	if r, _ := d.call("TIMMsgSendMessage", "bob", 1, `{"message_elem_array":[{"elem_type":"text"}]}`, on, on); r != -3 {
		t.Errorf("returned %d", r)
	}
	d.wait(0, "the reason", func(l line) bool {
		return l.kind == "TIMLogCallback" && strings.Contains(l.fields[1], "TIMMsgSendMessage refused") && strings.Contains(l.fields[1], "/message_elem_array/0/elem_type")
	})
	d.quit()
}
