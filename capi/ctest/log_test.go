package ctest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/imtest"
)

// logged are the lines that the log callback got at a level.
func (d *driver) logged(level int) (lines []string) {
	for _, l := range d.all() {
		if l.kind == "TIMLogCallback" && l.num(0) == level {
			lines = append(lines, l.fields[1])
		}
	}
	return lines
}

// flushLog waits until the log callback has got all lines so far.
func (d *driver) flushLog() {
	d.t.Helper()
	text := fmt.Sprint("flushed ", d.nextID())
	d.call("callExperimentalAPI", fmt.Sprintf(`{"request_internal_operation":"internal_operation_write_log","request_write_log_log_level_param":6,"request_write_log_log_content_param":%q}`, text), false)
	d.wait(0, "the log", func(l line) bool { return l.kind == "TIMLogCallback" && l.fields[1] == text })
}

// A session in which nothing goes wrong logs at level info what happens, each line with what a reader needs, and nothing of ticket and messages.
func TestQuietSession(t *testing.T) {
	s := imtest.Start(t)
	bob := newDevice(t, s, "bob", "")
	bob.login()
	folder, logs := t.TempDir(), t.TempDir()
	d := &device{driver: start(t, "TIDINGS_SERVER="+s.URL), s: s, user: "ann", dir: folder}
	d.call("TIMSetLogCallback", on)
	d.call("TIMInit", 1400000000, fmt.Sprintf(`{"sdk_config_config_file_path":%q,"sdk_config_log_file_path":%q}`, folder, logs))
	for _, setter := range eventSetters {
		d.call(setter, on)
	}
	ticket := s.Sig("ann")
	d.must("TIMLogin", "ann", ticket, on)
	d.synced(0)
	d.say("bob", "a secret to bob")
	bob.hears("a secret to bob")
	bob.say("ann", "a secret to ann")
	d.hears("a secret to ann")
	d.must("TIMLogout", on)
	d.flushLog()
	lines := d.logged(4)
	if len(lines) < 5 {
		t.Errorf("%d lines at info", len(lines))
	}
	at := 0
	for _, want := range [][]string{
		{"initialized ", "version=", "app=1400000000", "folder=" + folder, "log_folder=" + logs}, {"connecting ", "server=" + s.URL, "user=ann"}, {"connected ", "server=" + s.URL},
		{"logged in ", "user=ann", "device=", "server_time="}, {"sync started "}, {"sync finished ", "conversations=", "messages="}, {"logged out ", "user=ann"},
	} {
		found := false
		for !found && at < len(lines) {
			found = strings.HasPrefix(lines[at], want[0])
			for _, part := range want[1:] {
				found = found && strings.Contains(lines[at], part)
			}
			at++
		}
		if !found {
			t.Fatalf("no line with %q, in its order, among\n%s", want, strings.Join(lines, "\n"))
		}
	}
	file, err := os.ReadFile(filepath.Join(logs, "imsdk.log"))
	if err != nil || strings.Count(string(file), " INFO ") < 5 {
		t.Errorf("the file: %v\n%s", err, file)
	}
	for _, text := range append(append(append(lines, d.logged(5)...), string(file)), d.stderr.String()) {
		if strings.Contains(text, "a secret") || strings.Contains(text, ticket) {
			t.Errorf("in the log: %s", text)
		}
	}
	d.quit()
	bob.quit()
}

// At debug each call has one line with its result, however wrong its input was, and no line contains anything of the input: texts, tickets, messages.
func TestLogOfWrongCalls(t *testing.T) {
	s := imtest.Start(t)
	const secret = "hush-hush"
	wrong := []string{
		null, "", secret, `"` + secret, `["` + secret + `"`, `["` + secret + `"]`, `{"` + secret + `"`, `{"message_elem_array":"` + secret + `"}`,
		`{"message_elem_array":[{"elem_type":"` + secret + `"}]}`, `{"message_elem_array":[{"elem_type":0,"text_elem_content":"` + secret + `"}],"message_priority":1e99}`,
		`{"message_elem_array":[{"elem_type":0,"text_elem_content":["` + secret + `"]}]}`, `{"message_elem_array":[{"elem_type":4,"file_elem_file_path":"` + secret + `"}]}`,
		`{"request_internal_operation":"` + secret + `"}`, `{"set_config_log_level":"` + secret + `"}`, `{"msg_search_param_keyword_array":"` + secret + `"}`,
		`{"message_cloud_custom_str":{"` + secret + `":`,
	}
	skipped := map[string]bool{"TIMInit": true, "TIMUninit": true, "TIMLogout": true}
	funcs, _ := prototypes(t)
	d := newDevice(t, s, "ann", "")
	d.must("TIMSetConfig", `{"set_config_callback_log_level":3,"set_config_log_level":3}`, on)
	d.call("TIMSetLogCallback", on)
	d.login()
	d.synced(0)
	d.flushLog()
	count := func() map[string]int {
		n := map[string]int{}
		for _, l := range d.logged(3) {
			name, _, _ := strings.Cut(l, " ")
			n[name]++
		}
		return n
	}
	before := count()
	calls, want := 0, map[string]int{}
	try := func(f prototype, args []any) {
		want[f.name]++
		calls++
		result, _, id := d.callID(f.name, args...)
		if result == 0 && f.class != "sync" && f.class != "setter" {
			for _, p := range f.params {
				if p.callback() {
					d.answerOf(id, f.name)
					break
				}
			}
		}
	}
	for _, in := range []bool{true, false} {
		if !in {
			d.must("TIMLogout", on)
		}
		for _, f := range funcs {
			if !f.built || skipped[f.name] || f.name == "TIMLogin" && in {
				continue
			}
			for at, p := range f.params {
				if !p.text() || p.name == "user_id" { // which may be logged
					continue
				}
				for _, text := range wrong {
					args := arguments(f, f.sample)
					args[at] = text
					try(f, args)
				}
			}
		}
	}
	d.flushLog()
	after := count()
	t.Logf("%d calls of %d functions", calls, len(want))
	for name, n := range want {
		extra := 0
		if name == "callExperimentalAPI" {
			extra = 2 // both flushes are such calls, and the line about each may come after the flushed text
		}
		if got := after[name] - before[name]; got < n || got > n+extra {
			t.Errorf("%s was called %d times, and the log has %d lines", name, n, got)
		}
	}
	if calls < 500 {
		t.Errorf("only %d calls", calls)
	}
	for _, l := range d.all() {
		if l.kind == "TIMLogCallback" && strings.Contains(l.fields[1], secret) {
			t.Errorf("in the log: %s", l.fields[1])
		}
		if l.kind == "TIMLogCallback" && l.num(0) > 3 && strings.Contains(l.fields[1], "refused") && strings.HasPrefix(l.fields[1], "TIM") {
			t.Errorf("at level %d: %s", l.num(0), l.fields[1])
		}
	}
	if strings.Contains(d.stderr.String(), secret) {
		t.Errorf("on the console: %s", d.stderr)
	}
	d.quit()
}

// A slow callback is named while it runs, on the console, and in the log when it has returned.
func TestSlowCallbackIsLogged(t *testing.T) {
	s := imtest.Start(t)
	d := newDevice(t, s, "ann", "")
	d.call("TIMSetLogCallback", on)
	d.login()
	d.send("hook\tTIMCommCallback\tblock")
	d.call("TIMConvGetConvList", on)
	d.wait(0, "the callback to block", func(l line) bool { return l.kind == "blocked" })
	const running = "the callback of TIMConvGetConvList has been running for over 5s"
	d.stderr.until(t, running)
	d.send("release")
	for _, want := range []string{running, "a callback took long: nothing else could be called back meanwhile callback=TIMConvGetConvList took="} {
		d.wait(0, want, func(l line) bool { return l.kind == "TIMLogCallback" && strings.HasPrefix(l.fields[1], want) })
	}
	d.quit()
}
