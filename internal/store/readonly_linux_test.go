package store

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tidings-im/tidings/internal/testing/needs"
)

// freeze makes everything read-only: with a mount of its own for root, whom modes do not stop.
func freeze(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, fi.Mode().Perm()&0o555); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(path, fi.Mode().Perm()) })
		return
	}
	if err := syscall.Mount(path, path, "", syscall.MS_BIND, ""); err != nil {
		needs.Missing(t, "no mounts for this root: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(path, syscall.MNT_DETACH) })
	if err := syscall.Mount("", path, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		needs.Missing(t, "no read-only mounts for this root: %v", err)
	}
}

// TestReadOnly: a database, or a data folder, that cannot be written is refused when it is opened, with the reason.
func TestReadOnly(t *testing.T) {
	for what, want := range map[string]string{".": "cannot be written", dbFile: "cannot be written"} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Open(t.Context(), Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.CreateUser(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			freeze(t, filepath.Join(dir, what))
			s, err = Open(t.Context(), Config{Dir: dir, Fatal: func(err error) { t.Error("fatal:", err) }})
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
				t.Error(err)
			}
		})
	}
}
