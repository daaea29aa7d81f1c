// Package private makes files readable only by their owner, regardless of the umask of the process and of who may read their folder, and lets their names survive
// a loss of power.
package private

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
)

// Mode is the mode of such a file.
const Mode fs.FileMode = 0o600

// File creates a file that only its owner may read and write, or makes an existing one so. It does not open an existing one for that: closing a file
// releases all locks that the process has on it, and SQLite has some.
func File(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, Mode)
	if err == nil {
		return errors.Join(f.Chmod(Mode), f.Close()) // the umask may have removed bits
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	return Narrow(name)
}

// Narrow makes existing files accessible only to their owner.
func Narrow(names ...string) error {
	var errs []error
	for _, name := range names {
		fi, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && fi.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" { // a system without such modes
			err = os.Chmod(name, fi.Mode().Perm()&0o700)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Others returns who else may read a file: "the group", "everybody", or "" for nobody.
func Others(fi fs.FileInfo) string {
	switch mode := fi.Mode().Perm(); {
	case runtime.GOOS == "windows":
		return ""
	case mode&0o004 != 0:
		return "everybody"
	case mode&0o040 != 0:
		return "the group"
	}
	return ""
}

// SyncFolder makes the names in a folder survive a loss of power.
func SyncFolder(dir string) error {
	if runtime.GOOS == "windows" { // folders cannot be synced there
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
