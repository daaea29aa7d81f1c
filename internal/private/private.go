// Package private keeps files from everybody but their owner, whatever the umask of the process and whoever may look into their folder.
package private

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
)

// Mode is what such a file has.
const Mode fs.FileMode = 0o600

// File makes a file, if there is none, that only its owner may read and write. One that is there becomes so. It is not opened for that: closing a file gives up
// all locks that the process has on it, and SQLite has some.
func File(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, Mode)
	if err == nil {
		return errors.Join(f.Chmod(Mode), f.Close()) // the umask may have taken from it
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	return Narrow(name)
}

// Narrow takes from everybody but their owner what they may do with files that are there.
func Narrow(names ...string) error {
	var errs []error
	for _, name := range names {
		fi, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && fi.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" { // which has no such modes
			err = os.Chmod(name, fi.Mode().Perm()&0o700)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Others says who else may read a file: "the group", "everybody" or nobody, which is "".
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
