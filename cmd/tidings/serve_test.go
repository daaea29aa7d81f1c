package main

import (
	"bufio"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/pflag"

	"github.com/tidings-im/tidings/internal/server"
)

// A flag overrides the environment, and the environment the file.
func TestSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	os.WriteFile(file, []byte("listen: 127.0.0.1:1\napp-id: 7\ndata: /from/file\nclasses:\n  mac: any\n"), 0o600)
	t.Setenv("TIDINGS_APP_ID", "8")
	t.Setenv("TIDINGS_DATA", "/from/env")
	set := server.DefaultSettings()
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	settingFlags(f, set)
	if err := f.Parse([]string{"--data", "/from/flag"}); err != nil {
		t.Fatal(err)
	}
	if err := settings(f, file); err != nil {
		t.Fatal(err)
	}
	if set.Listen != "127.0.0.1:1" || set.AppID != 8 || set.Data != "/from/flag" || set.Classes["mac"] != "any" {
		t.Errorf("%+v", set)
	}
	// When it is read again, the file may have changed, and the flag still wins.
	os.WriteFile(file, []byte("listen: 127.0.0.1:2\nlog-level: debug\ndata: /from/file\n"), 0o600)
	fresh, err := again(f, file)
	if err != nil || fresh.Listen != "127.0.0.1:2" || fresh.LogLevel != "debug" || fresh.Data != "/from/flag" || fresh.AppID != 8 || fresh.Classes != nil {
		t.Errorf("%+v, %v", fresh, err)
	}
	os.WriteFile(file, []byte("lisen: x\n"), 0o600)
	if err := settings(pflag.NewFlagSet("serve", pflag.ContinueOnError), file); err == nil || !strings.Contains(err.Error(), `"lisen"`) || !strings.Contains(err.Error(), file) {
		t.Error("a setting that does not exist:", err)
	}
}

// TestOpenSettings: a settings file that everybody may read is reported in the log if it contains a secret.
func TestOpenSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	for _, c := range []struct {
		text string
		mode os.FileMode
		want int
	}{{"secret-key: x\npostgres: y\n", 0o644, 2}, {"secret-key: x\n", 0o640, 0}, {"listen: x\n", 0o644, 0}} {
		if err := os.WriteFile(file, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, c.mode); err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		err := warnOpen(file, slog.New(slog.NewTextHandler(&log, nil)))
		if n := strings.Count(log.String(), "everybody may read the file"); err != nil || n != c.want {
			t.Errorf("%q, %v: %d warnings, want %d, %v", c.text, c.mode, n, c.want, err)
		}
	}
}

// TestReload: SIGHUP applies what may change, and names what needs a restart.
func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	os.WriteFile(file, []byte("log-level: info\n"), 0o600)
	cmd := program("serve", "--config", file, "--listen", "127.0.0.1:0", "--data", t.TempDir())
	r, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(r)
	await := func(want string) {
		t.Helper()
		var log strings.Builder
		for lines.Scan() {
			log.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("no %q in the log:\n%s", want, log.String())
	}
	await("msg=listening")
	for _, c := range []struct{ file, want string }{
		{"log-level: debug\ndrain: 1s\n", "setting=drain"},
		{"log-level: debug\n", "log-level=DEBUG"},
		{"log-lvl: debug\n", "there is no setting"},
		{"log-level: info\n", "log-level=INFO"},
	} {
		os.WriteFile(file, []byte(c.file), 0o600)
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		await(c.want)
	}
}
