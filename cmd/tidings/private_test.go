package main

import (
	"bufio"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPrivateFiles: whatever the umask, and in folders that everybody may read, only their owner may read the files of a server, of its backups and
// of a client, including those that everybody could read before.
func TestPrivateFiles(t *testing.T) {
	// with makes the program run with a umask.
	with := func(umask string, args ...string) *exec.Cmd {
		cmd := program(args...)
		cmd.Args = append([]string{"sh", "-c", "umask " + umask + `; exec "$0" "$@"`, os.Args[0]}, args...)
		cmd.Path = "/bin/sh"
		return cmd
	}
	umasks := []string{"0000"}
	if os.Geteuid() == 0 {
		umasks = append(umasks, "0377") // keeps even the owner from writing, and all except root from the folders
	}
	for _, umask := range umasks {
		t.Run(umask, func(t *testing.T) {
			dir := t.TempDir()
			data, device := filepath.Join(dir, "data"), filepath.Join(dir, "device")
			for _, d := range []string{data, device} {
				if err := os.Mkdir(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			serve := func(do func(addr string)) {
				t.Helper()
				cmd := with(umask, "serve", "--listen", "127.0.0.1:0", "--data", data)
				out, err := cmd.StderrPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				defer cmd.Process.Kill()
				addr := ""
				lines := bufio.NewScanner(out)
				for addr == "" && lines.Scan() {
					if _, rest, ok := strings.Cut(lines.Text(), "msg=listening addr="); ok {
						addr, _, _ = strings.Cut(rest, " ")
					}
				}
				if addr == "" {
					t.Fatal("the server did not start")
				}
				do(addr)
				if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				for lines.Scan() {
				}
				if err := cmd.Wait(); err != nil {
					t.Fatal(err)
				}
			}
			run := func(args ...string) {
				t.Helper()
				if out, err := with(umask, args...).CombinedOutput(); err != nil {
					t.Fatalf("%v: %v\n%s", args, err, out)
				}
			}
			files := func(mode fs.FileMode, want ...string) {
				t.Helper()
				seen := map[string]bool{}
				err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
					if err != nil || d.IsDir() {
						return err
					}
					seen[d.Name()] = true
					fi, err := d.Info()
					if err == nil && fi.Mode().Perm() != 0o600 {
						t.Errorf("%s has mode %v", path, fi.Mode())
					}
					if err == nil && mode != 0 {
						err = os.Chmod(path, mode)
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range want {
					if !seen[name] {
						t.Errorf("there is no file %s", name)
					}
				}
			}
			send := func(addr string) {
				t.Helper()
				run("send", "--server", "ws://"+addr, "--data", data, "--dir", device, "--user", "alice", "--to", "alice", "hello")
			}
			serve(func(addr string) {
				send(addr)
				run("backup", "--data", data, "--to", filepath.Join(dir, "backup"))
				run("backup", "--data", data, "--to", filepath.Join(dir, "backup.db"))
				run("restore", "--from", filepath.Join(dir, "backup"), "--data", filepath.Join(dir, "restored"))
				files(0, "tidings.db", "tidings.db-wal", "tidings.db-shm", "secret.key", "lock", "reserve", "device", "616c696365.db", "616c696365.lock", "backup.db")
			})
			if err := os.RemoveAll(filepath.Join(dir, "backup")); err != nil { // the files are not opened
				t.Fatal(err)
			}
			os.Remove(filepath.Join(dir, "backup.db"))
			os.RemoveAll(filepath.Join(dir, "restored"))
			files(0o644, "tidings.db", "secret.key", "device", "616c696365.db")
			serve(func(addr string) {
				send(addr)
				files(0, "tidings.db-wal", "tidings.db-shm")
			})
		})
	}
}
