package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/needs"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// pgProgram returns the path of a client program of PostgreSQL.
func pgProgram(t *testing.T, name string) string {
	t.Helper()
	list, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(list) > 0 {
		return list[len(list)-1]
	}
	return needs.Program(t, name, "postgresql-client")
}

// TestBackupPostgres: servers on one PostgreSQL share a folder: what is uploaded at one is loaded at the other, and one without the folder does not start. While
// messages with files are sent, a backup is made by pg_dump, with the files beside it; over that, another one. A server on a database that is restored from the
// last one, with the copied files, has the file of every message.
func TestBackupPostgres(t *testing.T) {
	dsn, dir := pgtest.DSN(t), t.TempDir()
	blob := "file://" + filepath.Join(dir, "blob")
	s := &served{t: t, dir: filepath.Join(dir, "a"), postgres: dsn, more: []string{"--media-reserve", "0", "--blob", blob}}
	s.start()
	other := &served{t: t, dir: filepath.Join(dir, "b"), postgres: dsn, more: s.more}
	other.start()
	for _, more := range [][]string{nil, {"--blob", "file://" + filepath.Join(dir, "own")}} {
		args := append([]string{"serve", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "c"), "--secret-key", killKey, "--postgres", dsn}, more...)
		if out, err := program(args...).CombinedOutput(); err == nil || !strings.Contains(string(out), "blob: ") {
			t.Errorf("a server with %q: %v, %s", more, err, out)
		}
	}
	s.uploader("bob") // so that there is one
	alice := sdk(t, s.addr, "alice", t.TempDir(), newHeard())
	u, _ := s.uploader("carol")
	say := func(n int) (m *im.Message) {
		for range n {
			var err error
			if m, err = u.file(5000); err == nil {
				m, err = alice.SendMessage(t.Context(), client.C2C("bob"), m)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return m
	}
	gone := say(5)
	reader, _ := other.uploader("dave")
	file := gone.ElemArray[0].GetFile()
	if status, _, b, err := mediaAsk(other, "GET", "/media/"+file.FileId, reader.read, nil); err != nil || status != http.StatusOK || len(b) != 5000 {
		t.Errorf("at the other server: %d %d %v", status, len(b), err)
	}
	to, dump := filepath.Join(dir, "backup"), filepath.Join(dir, "dump.sql")
	back := func(command ...string) string {
		t.Helper()
		out, err := program(append([]string{"backup", "--postgres", dsn, "--blob", blob, "--to", to, "--"}, command...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if out := back(pgProgram(t, "pg_dump"), "--file", dump, dsn); !strings.Contains(out, "5 were copied now") {
		t.Error(out)
	}
	// The message goes while the next backup is made, after the database was copied.
	fifo, went := filepath.Join(dir, "fifo"), make(chan error, 1)
	if out, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	say(2)
	go func() {
		f, err := os.OpenFile(fifo, os.O_WRONLY, 0) // the command reads it when the dump is whole
		if err == nil {
			err = alice.Revoke(t.Context(), client.C2C("bob"), gone, "")
			f.Close()
		}
		went <- err
	}()
	out := back("sh", "-c", fmt.Sprintf("%s --file %s '%s' && cat %s", pgProgram(t, "pg_dump"), dump, dsn, fifo))
	if err := <-went; err != nil || !strings.Contains(out, "2 were copied now") {
		t.Error(err, out)
	}
	if out, err := program("check", "--postgres", dsn, "--blob", blob, "--hash").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	again := pgtest.DSN(t)
	if out, err := exec.Command(pgProgram(t, "psql"), "--quiet", "--set", "ON_ERROR_STOP=1", "--file", dump, again).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	restored := &served{t: t, dir: filepath.Join(dir, "d"), postgres: again, more: []string{"--blob", "file://" + filepath.Join(to, "blob")}}
	restored.start()
	if n := restored.loaded(); n != 7 {
		t.Errorf("%d files", n)
	}
	strange := filepath.Join(dir, "strange")
	if err := os.MkdirAll(filepath.Join(strange, "blob", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{{"--to", strange, "--blob", blob}, {"--to", filepath.Join(dir, "new"), "--blob", "file://" + strange}, {"--to", filepath.Join(dir, "new")}, {"--to", to, "--blob", blob, "--", "false"}} {
		if out, err := program(append([]string{"backup", "--postgres", dsn}, c...)...).CombinedOutput(); err == nil {
			t.Errorf("%q: %s", c, out)
		}
	}
}
