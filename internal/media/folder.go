package media

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/private"
)

// Folder is where files are: for every store of them there is only this one so far. They are named by the hash of their content and something random, and never
// change. Nothing that a client names becomes part of a path.
//
//	folder-id    the id that the database has too
//	open/NAME    what has arrived of an upload
//	files/AA/    files whose hash begins with AA
//	backup-NAME  a backup reads the folder, so that nothing is deleted
type Folder struct {
	dir string
	id  string

	mu    sync.Mutex
	whole bool // the folders below it were made
}

const (
	idFile = "folder-id"
	// folderMode lets only the owner in, as in the data folder.
	folderMode = 0o700
)

// OpenFolder opens the folder of a store, which it makes if the store has none yet. A store and a folder each have the id of their partner, and only a pair
// that agrees is used: two servers with one database and a folder each would each miss the files of the other, and delete what the other knows nothing of.
// With fresh, the store gives up the files that it had, wherever they are.
func OpenFolder(ctx context.Context, dir string, store chat.Store, fresh bool, log *slog.Logger) (*Folder, error) {
	f := &Folder{dir: dir}
	if err := private.Narrow(filepath.Join(dir, idFile)); err != nil {
		return nil, err
	}
	id, err := f.marked()
	if err != nil {
		return nil, err
	}
	known, err := store.BlobFolder(ctx, "")
	if err != nil && !errors.Is(err, chat.ErrNotFound) {
		return nil, err
	}
	switch {
	case known != "" && known == id && !fresh:
		f.id = id
		return f, nil
	case known != "" && !fresh && id == "":
		return nil, fmt.Errorf("blob: %s is not the folder with the files of this database, which is another one. Name it with --blob; or, if it is lost, start once with --new-blob-folder: all files are given up then", dir)
	case known != "" && !fresh:
		return nil, fmt.Errorf("blob: %s is the folder of another database, and this one has its files elsewhere. Name that folder with --blob; or, if it is lost, start once with --new-blob-folder and a new folder", dir)
	case known == "" && id != "" && !f.empty(), fresh && id != "" && !f.empty():
		return nil, fmt.Errorf("blob: %s has the files of another database. Name another folder with --blob", dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, "open"), folderMode); err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	f.id = newID(16)
	if err := f.mark(f.id); err != nil {
		return nil, err
	}
	if known != "" {
		log.Warn("media: all files that were uploaded are given up, and there is a new folder", "blob", dir)
		return f, store.NewBlobFolder(ctx, f.id)
	}
	switch known, err = store.BlobFolder(ctx, f.id); {
	case err != nil:
		return nil, err
	case known != f.id:
		return nil, fmt.Errorf("blob: another server has just named another folder for this database: %s is not used", dir)
	}
	return f, nil
}

// newID returns n random bytes as text.
func newID(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// marked returns the id that is in the folder, "" if there is none.
func (f *Folder) marked() (string, error) {
	b, err := os.ReadFile(filepath.Join(f.dir, idFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(b)), err
}

// empty reports that there are no files. It is called before anything is made.
func (f *Folder) empty() bool {
	found := errors.New("found")
	for _, sub := range []string{"open", "files"} {
		err := filepath.WalkDir(filepath.Join(f.dir, sub), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				return found
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

// prefixes are the names of the folders below files.
var prefixes = func() (all []string) {
	for i := range 256 {
		all = append(all, fmt.Sprintf("%02x", i))
	}
	return all
}()

var errAnother = errors.New("blob: the folder is not the one that it was at the start: perhaps its disk is not mounted")

// ready makes the folders below, all at once: that one of them is new would show in the time of an upload. If that fails, the next call tries again. It makes none
// in a folder that has not the right id: where a disk was mounted, files would be lost when it is mounted again.
func (f *Folder) ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.whole {
		return nil
	}
	if id, err := f.marked(); err != nil || id != f.id {
		return errors.Join(errAnother, err)
	}
	for _, sub := range append([]string{"open"}, prefixes...) {
		if sub != "open" {
			sub = filepath.Join("files", sub)
		}
		if err := os.MkdirAll(filepath.Join(f.dir, sub), folderMode); err != nil {
			return err
		}
	}
	err := errors.Join(private.SyncFolder(filepath.Join(f.dir, "files")), private.SyncFolder(f.dir))
	f.whole = err == nil
	return err
}

// lost notes that a file could not be made because its folder was not there: the next call of ready makes it.
func (f *Folder) lost(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.whole = false
	}
	return err
}

// mark writes the folder's id, so that it is there before the database names it.
func (f *Folder) mark(id string) error {
	tmp, err := os.OpenFile(filepath.Join(f.dir, idFile+".new"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, private.Mode)
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(id + "\n")
	if err = errors.Join(err, tmp.Chmod(private.Mode)); err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(tmp.Name(), filepath.Join(f.dir, idFile)), private.SyncFolder(f.dir), private.SyncFolder(filepath.Dir(f.dir)))
}

// partial returns the path of what has arrived of an upload. name is not the id of the upload, which must not get into errors.
func (f *Folder) partial(name string) string { return filepath.Join(f.dir, "open", name) }

// write opens a file of what arrives, and makes it if there is none, or with os.O_EXCL only then.
func (f *Folder) write(name string, flag int) (*os.File, error) {
	if err := f.ready(); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(f.partial(name), os.O_WRONLY|os.O_CREATE|flag, private.Mode)
	if err != nil {
		return nil, f.lost(err)
	}
	if err := file.Chmod(private.Mode); err != nil { // the umask may have removed bits
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// arrived returns how much of an upload is there.
func (f *Folder) arrived(name string) (int64, error) {
	fi, err := os.Stat(f.partial(name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// path returns the path of a file that NameOf has named.
func (f *Folder) path(file string) string { return filepath.Join(f.dir, "files", file[:2], file) }

// nameOf returns a name for a file with a hash that no file ever had.
func nameOf(hash string) string { return hash + "-" + newID(8) }

// hashIn returns the hash in the name of a file, "" if it is no such name.
func hashIn(file string) string {
	hash, random, ok := strings.Cut(file, "-")
	h, e1 := hex.DecodeString(hash)
	r, e2 := hex.DecodeString(random)
	if !ok || e1 != nil || e2 != nil || len(h) != sha256.Size || len(r) != 8 || strings.ToLower(file) != file {
		return ""
	}
	return hash
}

// Stored is a file that Put has made.
type Stored struct {
	File, Hash string
	Size       int64
}

// Put makes a file of what r reads. When it returns, the file survives a loss of power. What it does, and how long that takes, does not depend on what is in
// the folder. Nobody else has ever written to the file: what arrives of an upload may be written to by two servers at a time, and is copied for that reason.
func (f *Folder) Put(r io.Reader) (Stored, error) {
	tmp, err := f.write("new-"+newID(8), os.O_EXCL)
	if err != nil {
		return Stored{}, err
	}
	defer remove(tmp.Name())
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(tmp, hash), r)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return Stored{}, err
	}
	s := Stored{Hash: hex.EncodeToString(hash.Sum(nil)), Size: n}
	s.File = nameOf(s.Hash)
	to := f.path(s.File)
	if err := os.Rename(tmp.Name(), to); err != nil {
		return Stored{}, f.lost(err)
	}
	if err := private.SyncFolder(filepath.Dir(to)); err != nil {
		return Stored{}, errors.Join(err, remove(to))
	}
	return s, nil
}

// Open opens a file to be read.
func (f *Folder) Open(file string) (*os.File, error) { return os.Open(f.path(file)) }

// Delete deletes a file; that there is none is no error.
func (f *Folder) Delete(file string) error { return remove(f.path(file)) }

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// aged lists the files in a subfolder that are older than a time.
func (f *Folder) aged(sub string, before time.Time) ([]string, error) {
	list, err := os.ReadDir(filepath.Join(f.dir, sub))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, d := range list {
		if fi, err := d.Info(); err == nil && fi.Mode().IsRegular() && fi.ModTime().Before(before) {
			names = append(names, d.Name())
		}
	}
	return names, nil
}
