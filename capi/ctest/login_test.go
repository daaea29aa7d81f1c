package ctest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/imtest"
)

// After a logout, and after a login that failed with another ticket or as another app, nothing of the user can be read; without a server it can be
// with the ticket that one has accepted.
func TestWhoMayRead(t *testing.T) {
	s := imtest.Start(t)
	d := newDevice(t, s, "ann", "")
	ticket := s.Sig("ann")
	d.must("TIMLogin", "ann", ticket, on)
	d.say("ann", "secret")
	d.must("TIMLogout", on)
	closed := func(when string) {
		t.Helper()
		if r, _ := d.call("TIMGetLoginStatus"); r != 3 {
			t.Errorf("%s: login status %d", when, r)
		}
		for _, a := range []answer{d.ask("TIMConvGetConvList", on), d.ask("TIMMsgGetMsgList", "ann", 1, "{}", on), d.ask("TIMConvGetTotalUnreadMessageCount", on)} {
			if a.code != 6014 || strings.Contains(a.json, "secret") {
				t.Errorf("%s: %+v", when, a)
			}
		}
	}
	fails := func(code int, user, ticket string) {
		t.Helper()
		if a := d.ask("TIMLogin", user, ticket, on); a.code != code {
			t.Errorf("login of %s: %+v, want %d", user, a, code)
		}
		closed(fmt.Sprintf("login of %s failed with %d", user, code))
	}
	closed("logged out")
	fails(70003, "ann", "nonsense")
	fails(70003, "bob", "nonsense")
	fails(70013, "bob", ticket)
	fails(70013, "ann", s.Sig("bob"))

	d.call("TIMUninit")
	if r, _ := d.call("TIMInit", 77, fmt.Sprintf(`{"sdk_config_config_file_path":%q}`, d.dir)); r != 0 {
		t.Fatalf("TIMInit: %d", r)
	}
	fails(70014, "ann", ticket)
	d.call("TIMUninit")
	d.init()

	s.Stop()
	_, _, login := d.callID("TIMLogin", "ann", ticket, on)
	if a := d.ask("TIMConvGetConvList", on); a.code != 0 || !strings.Contains(a.json, "secret") {
		t.Errorf("without a server, with the ticket: %+v", a)
	}
	d.must("TIMLogout", on)
	if a := d.answerOf(login, "TIMLogin"); a.code != 7009 {
		t.Errorf("the login that was ended: %+v", a)
	}
	closed("logged out without a server")
	d.quit()
}
