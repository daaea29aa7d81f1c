package media

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Prefixes returns the first two digits that hashes may have.
func Prefixes() []string { return prefixes }

// Fault is what is wrong with a file.
type Fault int

const (
	// Missing: the database names it, and it is not there.
	Missing Fault = iota
	// WrongSize and WrongBytes: it is not what the database, or its name, says.
	WrongSize
	WrongBytes
	// WrongName: the database gives it a name that no file has.
	WrongName
	// Waste: no row knows it. The sweep deletes it.
	Waste
	// Strange: it has a name that this program gives to none.
	Strange
)

// Check compares the files whose hash begins with two digits with those that the database names, by hash, and reports what is wrong. Files that no row knows are
// reported when they are older than a finish takes. With read, it reads all files. It changes nothing.
func (f *Folder) Check(ctx context.Context, prefix string, known map[string]File, read bool, now time.Time, report func(Fault, string)) error {
	named := make(map[string]bool, len(known))
	for hash, file := range known {
		if err := ctx.Err(); err != nil {
			return err
		}
		named[file.Name] = true
		if hashIn(file.Name) != hash || hash[:2] != prefix {
			report(WrongName, file.Name)
			continue
		}
		fi, err := os.Lstat(f.path(file.Name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			report(Missing, file.Name)
		case err != nil:
			return err
		case !fi.Mode().IsRegular() || fi.Size() != file.Size:
			report(WrongSize, file.Name)
		case read:
			whole, err := f.whole256(file.Name)
			if err != nil {
				return err
			}
			if !whole {
				report(WrongBytes, file.Name)
			}
		}
	}
	dir := filepath.Join("files", prefix)
	list, err := os.ReadDir(filepath.Join(f.dir, dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, d := range list {
		fi, err := d.Info()
		hash := hashIn(d.Name())
		switch {
		case named[d.Name()] || err != nil:
		case hash == "" || hash[:2] != prefix:
			report(Strange, filepath.Join(dir, d.Name()))
		case fi.ModTime().Before(now.Add(-grace)):
			report(Waste, d.Name())
		}
	}
	return nil
}

// whole256 reports whether a file has the hash in its name.
func (f *Folder) whole256(name string) (bool, error) {
	file, err := f.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return false, err
	}
	return hex.EncodeToString(hash.Sum(nil)) == hashIn(name), nil
}

// CheckOpen reports what has arrived of uploads that are not among the open ones, and is older than a finish takes.
func (f *Folder) CheckOpen(open []string, now time.Time, report func(Fault, string)) error {
	named := make(map[string]bool, len(open))
	for _, id := range open {
		named[partialOf(id)] = true
	}
	names, err := f.aged("open", now.Add(-grace))
	for _, name := range names {
		if !named[name] {
			report(Waste, filepath.Join("open", name))
		}
	}
	return err
}
