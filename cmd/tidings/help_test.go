package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// TestHelp: help shows nothing that is not built, and every flag with its own name; a part that is not built says so when it is requested.
func TestHelp(t *testing.T) {
	var all func(c *cobra.Command)
	commands := 0
	all = func(c *cobra.Command) {
		commands++
		help := c.UsageString() + c.Long
		if strings.Contains(strings.ToLower(help), "not built") {
			t.Errorf("%s --help shows what is not built:\n%s", c.CommandPath(), help)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			// pflag takes a word in backquotes for the type of the value.
			if strings.Contains(f.Usage, "`") {
				t.Errorf("%s --%s: a backquote in %q", c.CommandPath(), f.Name, f.Usage)
			}
			if f.Usage == "" {
				t.Errorf("%s --%s has no help", c.CommandPath(), f.Name)
			}
		})
		for _, sub := range c.Commands() {
			if !sub.Hidden {
				all(sub)
			}
		}
	}
	all(root())
	if commands < 12 {
		t.Errorf("%d commands", commands)
	}
	for _, args := range [][]string{
		{"serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--nats", "nats://127.0.0.1"},
		{"serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--blob", "s3://x"},
		{"bench", "sync"},
	} {
		if out, err := program(args...).CombinedOutput(); err == nil || !strings.Contains(string(out), "not built") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}

// TestBackupOfPostgres: the folder of a server on PostgreSQL has no data to back up, which is said with what to do.
func TestBackupOfPostgres(t *testing.T) {
	s := &served{t: t, dir: t.TempDir(), postgres: pgtest.DSN(t)}
	s.start()
	s.kill()
	for _, to := range []string{"copy", "copy.db"} {
		to := filepath.Join(t.TempDir(), to)
		out, err := program("backup", "--data", s.dir, "--to", to).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "use pg_dump") {
			t.Errorf("%s: %v, %s", to, err, out)
		}
		if left, _ := filepath.Glob(filepath.Dir(to) + "/*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	// The same by the setting, even if there is an old database in the folder.
	for _, args := range [][]string{{"backup", "--to", "x"}, {"restore", "--from", "x"}} {
		cmd := program(args...)
		cmd.Env = append(cmd.Environ(), "TIDINGS_POSTGRES=postgres://nobody@127.0.0.1/none")
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "pg_") {
			t.Errorf("%v: %v, %s", args, err, out)
		}
	}
}
