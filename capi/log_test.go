package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
)

// The newest lines are kept for a slow callback, and those that were dropped are counted.
func TestLogWaits(t *testing.T) {
	l := newLibrary()
	l.slots.set(cbTIMLogCallback, 1, 0)
	*l.config.set.IsLogOutputConsole = false
	l.log.posted = true // nobody delivers
	for i := range logWaiting + 7 {
		l.log.Info("line", "i", i)
	}
	l.log.Debug("below the level")
	lines, dropped := l.log.take()
	if len(lines) != logWaiting || dropped != 7 {
		t.Fatalf("%d lines, %d dropped", len(lines), dropped)
	}
	for i, line := range lines {
		if want := fmt.Sprintf("line i=%d", i+7); line.text != want || line.level != levelInfo {
			t.Fatalf("line %d is %q at level %d", i, line.text, line.level)
		}
	}
	if lines, dropped := l.log.take(); len(lines) != 0 || dropped != 0 {
		t.Errorf("taken twice: %d, %d", len(lines), dropped)
	}
}

func TestServerOf(t *testing.T) {
	l := newLibrary()
	if s := l.server(); s != "ws://127.0.0.1:7070" {
		t.Errorf("default %q", s)
	}
	t.Setenv("TIDINGS_SERVER", "wss://chat.example.org")
	if s := l.server(); s != "wss://chat.example.org" {
		t.Errorf("of the environment %q", s)
	}
}

// The file contains what is at or above its level, is put aside when it is full, and the oldest of those are deleted; what the console and the
// callback get does not matter.
func TestLogFile(t *testing.T) {
	l := newLibrary()
	*l.config.set.IsLogOutputConsole = false
	*l.config.set.CallbackLogLevel = levelOff
	*l.config.set.LogLevel = levelWarn
	dir := filepath.Join(t.TempDir(), "made", "on the way")
	l.log.file.most = 1000
	if err := l.log.file.open(dir); err != nil {
		t.Fatal(err)
	}
	const n = 200
	for i := range n {
		l.log.Info("below", "i", i)
		l.log.Warn("line", "i", i)
	}
	l.log.file.open("")
	l.log.Error("after the end")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1+logKept {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	var all []string
	for i := logKept; i >= 0; i-- {
		name := filepath.Join(dir, logName)
		if i > 0 {
			name += fmt.Sprint(".", i)
		}
		b, err := os.ReadFile(name)
		if err != nil || len(b) > 1000 || len(b) == 0 {
			t.Fatalf("%s: %d bytes, %v", name, len(b), err)
		}
		all = append(all, strings.Split(strings.TrimSpace(string(b)), "\n")...)
	}
	for i, line := range all { // the newest ones, all of them, in order
		if want := fmt.Sprintf(" WARN tidings: line i=%d", n-len(all)+i); !strings.HasSuffix(line, want) {
			t.Fatalf("line %d of %d is %q, want %q", i, len(all), line, want)
		}
	}

	// An existing file is continued; a program that shares the file may put it aside in between.
	l.log.file.open(dir)
	other := logFile{most: 1000}
	if err := other.open(dir); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		l.log.Warn("mine", "i", i)
		other.write(fmt.Sprintf("theirs %d\n", i))
	}
	l.log.file.open("")
	other.open("")
	b, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil || !strings.Contains(string(b), "mine i=49\n") || !strings.HasSuffix(string(b), "theirs 49\n") {
		t.Errorf("%v: %s", err, b)
	}

	if err := l.log.file.open("/proc/no/such/folder"); err == nil || l.log.file.on() {
		t.Errorf("an impossible folder: %v", err)
	}
}

// Only their owner may read the log files, including those that everybody could read before.
func TestLogFileIsPrivate(t *testing.T) {
	dir := t.TempDir()
	names := []string{logName, logName + ".1"}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var lf logFile
	if err := lf.open(dir); err != nil {
		t.Fatal(err)
	}
	defer lf.open("")
	for _, name := range names {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, fi.Mode(), err)
		}
	}
}

// The proxies of TIMSetConfig, with user and password; SOCKS5 wins.
func TestProxySettings(t *testing.T) {
	l := newLibrary()
	for _, c := range []struct{ json, want string }{
		{`{}`, ""},
		{`{"set_config_http_proxy_info":{"http_proxy_info_ip":"10.0.0.1","http_proxy_info_port":3128,"http_proxy_info_username":"u","http_proxy_info_password":"p"}}`, "http://u:p@10.0.0.1:3128"},
		{`{"set_config_socks5_proxy_info":{"socks5_proxy_info_ip":"::1","socks5_proxy_info_port":1080,"socks5_proxy_info_username":"v","socks5_proxy_info_password":"q"}}`, "socks5://v:q@[::1]:1080"},
		{`{"set_config_socks5_proxy_info":{"socks5_proxy_info_ip":""}}`, "http://u:p@10.0.0.1:3128"},
	} {
		in := &im.SetConfig{}
		if err := im.FromJSON(c.json, in); err != nil {
			t.Fatal(err)
		}
		if _, err := l.config.change(in); err != nil {
			t.Fatal(err)
		}
		if got := l.config.proxy(); got != c.want {
			t.Errorf("after %s the proxy is %q, want %q", c.json, got, c.want)
		}
	}
}

// The value of an attribute stays in its line and is no command to a terminal, whatever a server put into it.
func TestLogQuotesValues(t *testing.T) {
	l := newLibrary()
	l.slots.set(cbTIMLogCallback, 1, 0)
	*l.config.set.IsLogOutputConsole = false
	l.log.posted = true // nobody delivers
	for value, want := range map[string]string{
		"ann": "ann", "müller": "müller", "": "", "a b": `"a b"`, `a"b`: `"a\"b"`, "a=b": `"a=b"`, "a\nERROR b": `"a\nERROR b"`, "a\rb": `"a\rb"`, "a\tb": `"a\tb"`,
		"\x1b[2Jx": `"\x1b[2Jx"`, "a\x00": `"a\x00"`, "\u202ex": `"\u202ex"`, "\u2028": `"\u2028"`, "\xff": `"\xff"`, "\u009bx": `"\u009bx"`,
	} {
		l.log.Info("said", "desc", value)
		if lines, _ := l.log.take(); len(lines) != 1 || lines[0].text != "said desc="+want {
			t.Errorf("%q is logged as %v, want desc=%s", value, lines, want)
		}
		l.log.posted = true
	}
}
