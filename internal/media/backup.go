package media

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidings-im/tidings/internal/private"
)

// File is a file of a folder as a database names it.
type File struct {
	Name string
	Size int64
}

// FolderAt is the folder in dir for what reads it beside its servers: backup, restore and check.
func FolderAt(dir string) *Folder { return &Folder{dir: dir} }

// ID returns the id in the folder, "" if there is none.
func (f *Folder) ID() (string, error) { return f.marked() }

// Mark gives the folder an id. The folder is made if there is none.
func (f *Folder) Mark(id string) error {
	if err := os.MkdirAll(f.dir, folderMode); err != nil {
		return err
	}
	f.id = id
	return f.mark(id)
}

// NewFolderID draws an id that no folder has.
func NewFolderID() string { return newID(16) }

// holdPrefix begins the names of the files of Holds.
const holdPrefix = "backup-"

// Hold keeps the servers of a folder from deleting files until Release, or until an hour after the process has died.
type Hold struct {
	stop chan struct{}
	done chan error
	name string
}

var errHeldUp = errors.New("blob: the backup was held up for so long that servers may have deleted files meanwhile. Start it again")

// Hold begins one. It is begun before the database is read: what the database names then stays until Release.
func (f *Folder) Hold() (*Hold, error) { return f.hold(time.Minute, grace/2) }

func (f *Folder) hold(every, most time.Duration) (*Hold, error) {
	h := &Hold{stop: make(chan struct{}), done: make(chan error, 1), name: filepath.Join(f.dir, holdPrefix+newID(8))}
	if err := private.File(h.name); err != nil {
		return nil, fmt.Errorf("blob: servers are kept from deleting files by a file in the folder: %w", err)
	}
	go func() {
		var err error
		tick := time.NewTicker(every)
		defer tick.Stop()
		last := time.Now()
		renew := func() {
			now := time.Now()
			if now.Sub(last) > most {
				err = errors.Join(err, errHeldUp)
			}
			last = now
			err = errors.Join(err, os.Chtimes(h.name, now, now))
		}
		for err == nil {
			select {
			case <-tick.C:
				renew()
				continue
			case <-h.stop:
				renew()
			}
			break
		}
		h.done <- err
	}()
	return h, nil
}

// Release ends the hold. An error means that files may have been deleted before.
func (h *Hold) Release() error {
	close(h.stop)
	return errors.Join(<-h.done, remove(h.name))
}

// held reports whether somebody holds the folder. It deletes what those have left who died.
func (f *Folder) held(now time.Time) (bool, error) {
	list, err := os.ReadDir(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	held := false
	for _, d := range list {
		if !strings.HasPrefix(d.Name(), holdPrefix) {
			continue
		}
		fi, e := d.Info()
		switch {
		case errors.Is(e, fs.ErrNotExist):
		case e == nil && fi.ModTime().Before(now.Add(-grace)):
			err = errors.Join(err, remove(filepath.Join(f.dir, d.Name())))
		default:
			held = true
			err = errors.Join(err, e)
		}
	}
	return held, err
}

// Copied is what CopyTo has done.
type Copied struct {
	// Files are those that are there now, New those that were not there before, Bytes their size.
	Files, New int
	Bytes      int64
	// Bad are the names of files that are not in the folder, or have another content than their name says. They were not copied. All counts those that are not
	// named any more as well.
	Bad    []string
	AllBad int
}

// mostBad is how many bad files are named.
const mostBad = 20

// CopyTo copies files into another folder; list returns those whose hash begins with two digits. One that is there already is not copied again: files never
// change. All that was copied survives a loss of power.
func (f *Folder) CopyTo(ctx context.Context, to *Folder, list func(prefix string) ([]File, error)) (Copied, error) {
	var c Copied
	for _, p := range prefixes {
		files, err := list(p)
		if err != nil {
			return c, err
		}
		if len(files) == 0 {
			continue
		}
		dir := filepath.Join(to.dir, "files", p)
		if err := os.MkdirAll(dir, folderMode); err != nil {
			return c, err
		}
		for _, file := range files {
			if err := ctx.Err(); err != nil {
				return c, err
			}
			if hash := hashIn(file.Name); hash == "" || hash[:2] != p {
				c.bad(file.Name)
				continue
			}
			if fi, err := os.Lstat(to.path(file.Name)); err == nil && fi.Mode().IsRegular() && fi.Size() == file.Size {
				c.Files++
				continue
			}
			whole, err := f.copyTo(to, file)
			switch {
			case err != nil:
				return c, err
			case !whole:
				c.bad(file.Name)
			default:
				c.Files++
				c.New++
				c.Bytes += file.Size
			}
		}
		if err := private.SyncFolder(dir); err != nil {
			return c, err
		}
	}
	return c, errors.Join(syncIfThere(filepath.Join(to.dir, "files")), syncIfThere(to.dir))
}

func syncIfThere(dir string) error {
	if err := private.SyncFolder(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (c *Copied) bad(name string) {
	c.AllBad++
	if len(c.Bad) < mostBad {
		c.Bad = append(c.Bad, name)
	}
}

// copyTo copies a file; false if it is missing, or is not what its name says.
func (f *Folder) copyTo(to *Folder, file File) (whole bool, err error) {
	in, err := f.Open(file.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer in.Close()
	tmp := to.path(file.Name) + ".tmp"
	out, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, private.Mode)
	if err != nil {
		return false, err
	}
	defer remove(tmp)
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, hash), in)
	err = errors.Join(err, out.Chmod(private.Mode))
	whole = n == file.Size && hex.EncodeToString(hash.Sum(nil)) == hashIn(file.Name)
	if err == nil && whole {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil || !whole {
		return false, err
	}
	return true, os.Rename(tmp, to.path(file.Name))
}

// Prune deletes what list does not name.
func (f *Folder) Prune(list func(prefix string) ([]File, error)) error {
	for _, p := range prefixes {
		dir := filepath.Join(f.dir, "files", p)
		there, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		files, err := list(p)
		if err != nil {
			return err
		}
		named := make(map[string]bool, len(files))
		for _, file := range files {
			named[file.Name] = true
		}
		for _, d := range there {
			if !named[d.Name()] && d.Type().IsRegular() {
				if err := remove(filepath.Join(dir, d.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// List returns the files in the folder whose hash begins with two digits.
func (f *Folder) List(prefix string) ([]File, error) {
	there, err := os.ReadDir(filepath.Join(f.dir, "files", prefix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var files []File
	for _, d := range there {
		if hash := hashIn(d.Name()); hash == "" || hash[:2] != prefix || !d.Type().IsRegular() {
			continue
		}
		if fi, err := d.Info(); err == nil { // otherwise it was deleted meanwhile
			files = append(files, File{d.Name(), fi.Size()})
		}
	}
	return files, err
}

// Empty reports that nothing is in the folder, or that there is none.
func (f *Folder) Empty() (bool, error) {
	list, err := os.ReadDir(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return len(list) == 0, err
}
