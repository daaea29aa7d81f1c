package ctest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/imtest"
)

// TIMUninit inside a callback returns at once, open calls are answered with 7009 by the same thread afterwards, and nothing comes later.
func TestUninitInCallback(t *testing.T) {
	s := imtest.Start(t)
	g := newGate(t, s.URL)
	d := newDevice(t, s, "ann", "", "TIDINGS_SERVER="+g.url())
	d.login()
	g.set(true) // the send stays open
	r, _, open := d.callID("TIMMsgSendMessage", "ann", 1, textJSON("x"), on, on)
	if r != 0 {
		t.Fatalf("send: %d", r)
	}
	d.send("hook\tTIMCommCallback\t" + command(7, "TIMUninit"))
	_, _, list := d.callID("TIMConvGetConvList", on)
	d.answerOf(list, "TIMConvGetConvList")
	if l := d.returned(7, "TIMUninit"); l.num(1) != 0 {
		t.Errorf("TIMUninit: %d", l.num(1))
	}
	if a := d.answerOf(open, "TIMMsgSendMessage"); a.code != 7009 {
		t.Errorf("the open send: %+v", a)
	}
	if r, _ := d.call("TIMUninit"); r != 0 {
		t.Errorf("the second TIMUninit: %d", r)
	}
	if a := d.ask("TIMConvGetConvList", on); a.code != 6013 {
		t.Errorf("a later call: %+v", a)
	}
	// And it can start again.
	g.set(false)
	d.init()
	d.login()
	d.say("ann", "again")
	d.quit()
}

// TIMUninit ends a login that runs.
func TestUninitDuringLogin(t *testing.T) {
	s := imtest.Start(t)
	d := newDevice(t, s, "ann", "", "TIDINGS_SERVER="+newGate(t, "").url())
	_, _, login := d.callID("TIMLogin", "ann", s.Sig("ann"), on)
	if a := d.ask("TIMLogin", "ann", s.Sig("ann"), on); a.code != 7501 {
		t.Errorf("a second login: %+v", a)
	}
	if r, _ := d.call("TIMUninit"); r != 0 {
		t.Errorf("TIMUninit: %d", r)
	}
	// It was answered before TIMUninit returned.
	at := d.position()
	found := false
	for _, l := range d.all()[:at] {
		if l.kind == "TIMCommCallback" && l.num(3) == login {
			found = l.num(0) == 7009
		}
	}
	if !found {
		t.Error("the login was not answered with 7009 before TIMUninit returned")
	}
	d.quit()
}

// TIMLogout while a login runs ends it.
func TestLogoutDuringLogin(t *testing.T) {
	s := imtest.Start(t)
	d := newDevice(t, s, "ann", "", "TIDINGS_SERVER="+newGate(t, "").url())
	_, _, login := d.callID("TIMLogin", "ann", s.Sig("ann"), on)
	d.must("TIMLogout", on)
	if a := d.answerOf(login, "TIMLogin"); a.code != 7009 {
		t.Errorf("the login: %+v", a)
	}
	d.quit()
}

// TIMUninit on another thread waits 5 seconds for a callback that blocks, and returns; nothing is called after it, the thread is abandoned, and the
// next TIMInit starts a new one. The callback is logged by its name; the log callback, which has the same thread, does not get that line.
func TestUninitDuringBlockedCallback(t *testing.T) {
	s := imtest.Start(t)
	d := newDevice(t, s, "ann", "")
	d.call("TIMSetLogCallback", on)
	d.login()
	d.send("hook\tTIMCommCallback\tblock")
	d.call("TIMConvGetConvList", on)
	d.wait(0, "the callback to block", func(l line) bool { return l.kind == "blocked" })
	_, _, never := d.callID("TIMConvGetConvList", on)
	begin := time.Now()
	if r, _ := d.call("TIMUninit"); r != 0 {
		t.Errorf("TIMUninit: %d", r)
	}
	if took := time.Since(begin); took < 4*time.Second || took > 20*time.Second {
		t.Errorf("TIMUninit took %v", took)
	}
	// TIMInit again while the old thread still blocks.
	at := d.position()
	d.init()
	d.login()
	d.say("ann", "alive")
	d.send("release")
	d.say("ann", "still alive")
	d.must("TIMLogout", on)
	d.call("TIMUninit")
	for _, l := range d.all() {
		if l.kind == "TIMCommCallback" && l.num(3) == never {
			t.Error("a callback came after TIMUninit had returned")
		}
	}
	for _, l := range d.all()[:at] {
		if l.kind == "TIMLogCallback" && strings.Contains(l.fields[1], "nothing else can be called back") {
			t.Error("the blocked callback was logged through the log callback")
		}
	}
	if !strings.Contains(d.stderr.String(), "the callback of TIMConvGetConvList has been running for over 5s") {
		t.Errorf("the blocked callback was not logged by name: %s", d.stderr)
	}
	d.quit()
}

// No function needs the callback thread to return: while it blocks, all return.
func TestBlockedCallbackBlocksNobody(t *testing.T) {
	s := imtest.Start(t)
	d := newDevice(t, s, "ann", "")
	d.login()
	d.send("hook\tTIMCommCallback\tblock")
	d.call("TIMConvGetConvList", on)
	d.wait(0, "the callback to block", func(l line) bool { return l.kind == "blocked" })
	funcs, _ := prototypes(t)
	for _, p := range funcs {
		if p.name != "TIMUninit" && p.name != "TIMLogout" {
			d.call(p.name, samples(p, "ann", s.Sig("ann"))...)
		}
	}
	d.send("release")
	d.must("TIMConvGetConvList", on)
	d.quit()
}

// Login, logout, sending, and setting and removing callbacks work inside callbacks.
func TestCallsInCallbacks(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := newDevice(t, s, "ann", ""), newDevice(t, s, "bob", "")
	ann.login()
	bob.login()
	bob.synced(0)

	// A reply inside the new message callback.
	bob.send("hook\tTIMRecvNewMsgCallback\t" + command(1, "TIMMsgSendMessage", "ann", 1, textJSON("echo"), on, on))
	ann.say("bob", "hello")
	ann.hears("echo")
	bob.answerOf(1, "TIMMsgSendMessage")

	// A callback that removes itself is not called again; one that another adds is called from then on.
	at := bob.position()
	bob.send("hook\tTIMRecvNewMsgCallback\t" + command(2, "TIMRemoveRecvNewMsgCallback", on))
	ann.say("bob", "last one heard")
	bob.returned(2, "TIMRemoveRecvNewMsgCallback")
	ann.say("bob", "not heard")
	bob.total(at, 3) // it is there before the callback is
	bob.send("hook\tTIMCommCallback\t" + command(3, "TIMAddRecvNewMsgCallback", on))
	bob.must("TIMConvGetConvList", on)
	bob.returned(3, "TIMAddRecvNewMsgCallback")
	bob.call("TIMAddRecvNewMsgCallback", on) // counts once
	ann.say("bob", "heard again")
	bob.hears("heard again")
	bob.total(at, 4)
	n := 0
	for _, l := range bob.all()[at:] {
		if l.kind == "TIMRecvNewMsgCallback" {
			n++
		}
	}
	if n != 2 {
		t.Errorf("the callback was called %d times, want 2", n)
	}

	// Setting replaces a callback, NULL removes it.
	bob.call("TIMSetConvTotalUnreadMessageCountChangedCallback", false)
	at = bob.position()
	ann.say("bob", "no total")
	bob.hears("no total")
	bob.must("TIMConvGetTotalUnreadMessageCount", on)
	for _, l := range bob.all()[at:] {
		if l.kind == "TIMConvTotalUnreadMessageCountChangedCallback" {
			t.Error("a removed callback was called")
		}
	}

	// Logout inside a callback, login inside the logout's callback.
	bob.send("hook\tTIMCommCallback\t" + command(4, "TIMLogout", on))
	bob.send("hook\tTIMCommCallback\t" + command(5, "TIMLogin", "bob", s.Sig("bob"), on))
	bob.must("TIMConvGetConvList", on)
	if a := bob.answerOf(4, "TIMLogout"); a.code != 0 {
		t.Errorf("logout: %+v", a)
	}
	if a := bob.answerOf(5, "TIMLogin"); a.code != 0 {
		t.Errorf("login inside the callback: %+v", a)
	}

	// TIMUninit and starting over inside a callback.
	bob.send("hook\tTIMCommCallback\t" + command(8, "TIMUninit"))
	bob.send("hook\tTIMCommCallback\t" + command(9, "TIMInit", 1400000000, null))
	bob.must("TIMConvGetConvList", on)
	bob.returned(8, "TIMUninit")
	bob.ask("TIMConvGetConvList", on)
	bob.returned(9, "TIMInit")
	for _, d := range []*device{ann, bob} {
		d.quit()
	}
}

// A login inside the kicked callback gets back in, and kicks the other.
func TestLoginInKickedCallback(t *testing.T) {
	s := imtest.Start(t)
	first, second := newDevice(t, s, "bob", ""), newDevice(t, s, "bob", "")
	first.login()
	first.send("hook\tTIMKickedOfflineCallback\t" + command(6, "TIMLogin", "bob", s.Sig("bob"), on))
	second.login()
	first.event("TIMKickedOfflineCallback", 1)
	if a := first.answerOf(6, "TIMLogin"); a.code != 0 {
		t.Fatalf("login inside the kicked callback: %+v", a)
	}
	second.event("TIMKickedOfflineCallback", 1)
	first.quit()
	second.quit()
}

// Logging in as another user needs a logout, and then shows that user's data.
func TestChangeUser(t *testing.T) {
	s := imtest.Start(t)
	d := newDevice(t, s, "ann", "")
	d.login()
	d.say("ann", "to myself")
	if a := d.ask("TIMLogin", "bob", s.Sig("bob"), on); a.code != 6017 {
		t.Errorf("login as another: %+v", a)
	}
	d.must("TIMLogout", on)
	d.must("TIMLogin", "bob", s.Sig("bob"), on)
	if _, user := d.call("TIMGetLoginUserID", on); user != "bob" {
		t.Errorf("user %q", user)
	}
	if json := d.must("TIMConvGetConvList", on); json != "[]" {
		t.Errorf("conversations of bob: %s", json)
	}
	d.quit()
}

// A forked child gets results that need no Go, and the parent continues.
func TestFork(t *testing.T) {
	s := imtest.Start(t)
	d := newDevice(t, s, "ann", "")
	d.login()
	for range 3 {
		d.send("fork")
	}
	n := 0
	d.wait(0, "the children", func(l line) bool {
		if l.kind == "forked" {
			n++
			if l.num(0) != 0 {
				t.Errorf("the child ended with %d", l.num(0))
			}
		}
		return n == 3
	})
	d.say("ann", "the parent lives")
	d.quit()
}

// The settings are kept and all returned; a level takes effect at once; the log goes to console and callback by their own levels.
func TestConfigAndLog(t *testing.T) {
	s := imtest.Start(t)
	d := newDevice(t, s, "ann", "", "TIDINGS_PLATFORM=toaster")
	config := decode[map[string]any](t, d.must("TIMSetConfig", `{"set_config_user_define_data":"x","set_config_callback_log_level":3,"set_config_log_level":6}`, on))
	for key, want := range map[string]any{"set_config_user_define_data": "x", "set_config_callback_log_level": 3.0, "set_config_log_level": 6.0,
		"set_config_is_log_output_console": true, "set_config_is_only_local_dns_source": false} {
		if config[key] != want {
			t.Errorf("%s: %v, want %v", key, config[key], want)
		}
	}
	for _, key := range []string{"set_config_user_config", "set_config_http_proxy_info", "set_config_socks5_proxy_info"} {
		if _, ok := config[key].(map[string]any); !ok {
			t.Errorf("%s: %v", key, config[key])
		}
	}
	if a := d.ask("TIMSetConfig", `{"set_config_log_level":9}`, on); a.code != 6017 {
		t.Errorf("level 9: %+v", a)
	}
	for range 20 { // of two wrong levels it names the same one each time
		if a := d.ask("TIMSetConfig", `{"set_config_callback_log_level":20,"set_config_log_level":-1}`, on); a.code != 6017 || !strings.HasPrefix(a.desc, "set_config_log_level is -1") {
			t.Fatalf("two wrong levels: %+v", a)
		}
	}
	if a := d.ask("TIMSetConfig", fmt.Sprintf(`{"set_config_user_define_data":%q}`, strings.Repeat("x", 65)), on); a.code != 6017 {
		t.Errorf("65 bytes: %+v", a)
	}
	d.call("TIMSetLogCallback", on)
	d.login()
	l := d.wait(0, "the log line about the platform", func(l line) bool { return l.kind == "TIMLogCallback" && strings.Contains(l.fields[1], "toaster") })
	if l.num(0) != 5 {
		t.Errorf("level %d, want 5", l.num(0))
	}
	d.wait(0, "a debug line", func(l line) bool { return l.kind == "TIMLogCallback" && l.num(0) == 3 })
	if strings.Contains(d.stderr.String(), "toaster") {
		t.Errorf("a warning on the console at level 6: %s", d.stderr)
	}
	d.quit()
}

// A folder is a device; with an unusable one the library still works, in memory.
func TestUnwritableFolder(t *testing.T) {
	s := imtest.Start(t)
	d := newDevice(t, s, "ann", "/proc/no/such/folder")
	d.login()
	d.say("ann", "in memory")
	if h := d.history("ann"); len(h) != 1 {
		t.Errorf("history %+v", h)
	}
	d.quit()
}

// More than 1000 open calls are refused with 9507; each is answered once.
func TestTooManyCalls(t *testing.T) {
	s := imtest.Start(t)
	d := newDevice(t, s, "ann", "")
	d.login()
	d.synced(0)
	g := textJSON("x")
	d.send("hook\tTIMCommCallback\tblock")
	const n = 1500
	for i := range n {
		d.send(command(2000+i, "TIMMsgSendMessage", "ann", 1, g, false, on))
	}
	d.send("release")
	seen, busy := 0, 0
	d.wait(0, "all answers", func(l line) bool {
		if l.kind == "TIMCommCallback" && l.num(3) >= 2000 {
			seen++
			if l.num(0) == 9507 {
				busy++
			}
		}
		return seen == n
	})
	if busy == 0 || busy > n-1000 {
		t.Errorf("%d of %d refused", busy, n)
	}
	d.must("TIMConvGetConvList", on)
	d.quit()
}

// Console, file and callback each get the lines of their own level; the file is in the folder that TIMInit names.
func TestLogLevels(t *testing.T) {
	s := imtest.Start(t)
	dir := t.TempDir()
	d := start(t, "TIDINGS_SERVER="+s.URL, "TIDINGS_CONSOLE_LOG=error", "TIDINGS_PLATFORM=toaster") // which causes a warning
	d.must("TIMSetConfig", `{"set_config_log_level":3,"set_config_callback_log_level":5}`, on)
	d.call("TIMSetLogCallback", on)
	d.call("TIMInit", 1400000000, fmt.Sprintf(`{"sdk_config_config_file_path":%q,"sdk_config_log_file_path":%q}`, t.TempDir(), dir))
	d.must("TIMLogin", "ann", s.Sig("ann"), on)
	d.event("TIMLogCallback", 1)
	d.must("TIMLogout", on)
	d.call("TIMUninit")
	b, err := os.ReadFile(filepath.Join(dir, "imsdk.log"))
	if err != nil || !strings.Contains(string(b), " DEBUG ") || !strings.Contains(string(b), "toaster") {
		t.Errorf("the file: %v\n%s", err, b)
	}
	if console := d.stderr.String(); console != "" {
		t.Errorf("the console: %s", console)
	}
	for _, l := range d.all() {
		if l.kind == "TIMLogCallback" && (l.num(0) < 5 || !strings.Contains(l.fields[1], "toaster")) {
			t.Errorf("the callback got %s", l)
		}
	}
	// Off is off.
	d.must("TIMSetConfig", `{"set_config_log_level":0}`, on)
	d.call("TIMInit", 1400000000, fmt.Sprintf(`{"sdk_config_log_file_path":%q}`, dir))
	d.must("TIMLogin", "ann", s.Sig("ann"), on)
	d.call("TIMUninit")
	if more, _ := os.ReadFile(filepath.Join(dir, "imsdk.log")); len(more) != len(b) {
		t.Errorf("at level 0 the file grew by %q", more[len(b):])
	}
	d.quit()
}
