package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"

	"github.com/tidings-im/tidings/internal/media"
	"github.com/tidings-im/tidings/internal/private"
	"github.com/tidings-im/tidings/internal/store"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/store/tables"
)

const databaseFile = "tidings.db"

// IsFile reports whether the name of a backup is that of a single file: the database without the secret key and the files of users.
func IsFile(name string) bool { return strings.HasSuffix(name, ".db") }

// BlobDir returns the folder that the setting blob names, by default that of a data folder.
func BlobDir(blob, data string) (string, error) {
	dir, err := blobDir(blob)
	return cmp.Or(dir, filepath.Join(data, blobFolder)), err
}

// Backup copies a data folder and the folder of the files of users, whether a server uses them or not: to a folder that does not exist or is empty, or to one
// with an earlier backup of the same server, which stays as it is until the new one is whole; or, without files, to a file that does not exist.
//
// The database is copied first, and then the files that it names. They are there when it is copied, and none is deleted before all are.
func Backup(ctx context.Context, data, blob, to string) (copied media.Copied, err error) {
	defer func() {
		if err != nil && !strings.HasPrefix(err.Error(), "backup: ") {
			err = fmt.Errorf("backup: %w", err)
		}
	}()
	if _, err := os.Stat(data); err != nil {
		return copied, fmt.Errorf("data folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(data, databaseFile)); errors.Is(err, os.ErrNotExist) {
		return copied, fmt.Errorf("there is no %s in %s. If its server keeps its data in PostgreSQL, use pg_dump, and keep a copy of %s", databaseFile, data, secretFile)
	}
	if IsFile(to) {
		return copied, store.Backup(ctx, data, to)
	}
	b := backup{data: data, files: media.FolderAt(blob)}
	names, err := os.ReadDir(to)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return copied, err
	}
	if len(names) > 0 {
		return b.again(ctx, to)
	}
	parent := filepath.Dir(filepath.Clean(to))
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return copied, err
	}
	tmp, err := os.MkdirTemp(parent, filepath.Base(to)+".*.tmp") // readable only by the owner
	if err != nil {
		return copied, err
	}
	defer os.RemoveAll(tmp)
	if copied, err = b.fill(ctx, tmp); err != nil {
		return copied, err
	}
	if err := os.Rename(tmp, to); err != nil {
		return copied, err
	}
	return copied, private.SyncFolder(parent)
}

// Copied is what was copied of the files of users.
type Copied = media.Copied

type backup struct {
	data  string
	files *media.Folder
}

// again brings an earlier backup up to date.
func (b *backup) again(ctx context.Context, to string) (copied media.Copied, err error) {
	file := filepath.Join(to, databaseFile)
	if _, err := os.Stat(file); err != nil {
		return copied, fmt.Errorf("the folder %s is not empty, and is no backup", to)
	}
	of, err := store.BackupOf(ctx, file)
	if err != nil {
		return copied, fmt.Errorf("the folder %s is not empty: %w", to, err)
	}
	name, err := look(ctx, filepath.Join(b.data, databaseFile), tables.StoreName)
	if err != nil {
		return copied, err
	}
	if of != name {
		return copied, fmt.Errorf("the folder %s is not empty: it has a backup of another server", to)
	}
	lock := flock.New(filepath.Join(to, "lock"))
	if err := private.File(lock.Path()); err != nil {
		return copied, err
	}
	if ok, err := lock.TryLock(); err != nil || !ok {
		return copied, errors.Join(fmt.Errorf("%s is in use by another process", to), err)
	}
	defer lock.Unlock()
	return b.fill(ctx, to)
}

// newName ends the names of files that are not whole yet.
const newName = ".new"

// fill puts a backup into a folder. What is there of an earlier one is replaced when all else is there.
func (b *backup) fill(ctx context.Context, to string) (copied media.Copied, err error) {
	left, err := filepath.Glob(filepath.Join(to, "*"+newName+"*")) // of a backup that was killed
	if err != nil {
		return copied, err
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			return copied, err
		}
	}
	live := filepath.Join(b.data, databaseFile)
	id, err := look(ctx, live, tables.FolderID)
	if err != nil {
		return copied, err
	}
	release := func() error { return nil }
	defer func() { err = errors.Join(err, release()) }()
	if id != "" {
		switch have, err := b.files.ID(); {
		case err != nil:
			return copied, err
		case have != id:
			return copied, errors.New("the files that users have uploaded are not in the data folder: name their folder with --blob")
		}
		hold, err := b.files.Hold()
		if err != nil {
			return copied, err
		}
		release = hold.Release
	}
	fresh := filepath.Join(to, databaseFile+newName)
	if err := store.Backup(ctx, b.data, fresh); err != nil {
		return copied, err
	}
	l, err := store.LookAt(ctx, fresh)
	if err != nil {
		return copied, err
	}
	defer l.Close()
	switch now, err := tables.FolderID(ctx, l); {
	case err != nil:
		return copied, err
	case now != id:
		return copied, errors.New("the server has just begun with another folder of files: start the backup again")
	}
	list := func(string) ([]media.File, error) { return nil, nil }
	if id != "" {
		list = used(ctx, l)
	}
	target := media.FolderAt(filepath.Join(to, blobFolder))
	if copied, err = b.files.CopyTo(ctx, target, list); err != nil {
		return copied, err
	}
	held := release()
	release = func() error { return nil }
	if held != nil {
		return copied, held
	}
	if err := b.key(filepath.Join(to, secretFile)); err != nil {
		return copied, err
	}
	if err := os.Rename(fresh, filepath.Join(to, databaseFile)); err != nil {
		return copied, err
	}
	if err := private.SyncFolder(to); err != nil {
		return copied, err
	}
	return copied, target.Prune(list)
}

// BackupFiles copies the files of users of a server on PostgreSQL into the folder blob below another one, which may have those of an earlier time. It calls dump
// first, which copies the database: what that has of files is not deleted before it is copied. With keep, nothing is deleted from the folder, for older copies of the
// database.
func BackupFiles(ctx context.Context, dsn, blob, to string, keep bool, dump func(context.Context) error) (copied Copied, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("backup: %w", err)
		}
	}()
	read := func(f func(tables.Asker) error) error {
		l, err := pg.LookAt(ctx, dsn)
		if err != nil {
			return err
		}
		return errors.Join(f(l), l.Close())
	}
	var id string
	if err := read(func(database tables.Asker) (err error) { id, err = tables.FolderID(ctx, database); return err }); err != nil {
		return copied, err
	}
	files, target := media.FolderAt(blob), media.FolderAt(filepath.Join(to, blobFolder))
	switch have, err := files.ID(); {
	case err != nil:
		return copied, err
	case id == "" || have != id:
		return copied, fmt.Errorf("%s is not the folder with the files of this database", blob)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return copied, err
	}
	switch empty, err := target.Empty(); {
	case err != nil:
		return copied, err
	case !empty:
		if of, err := target.ID(); err != nil || of != id {
			return copied, errors.Join(fmt.Errorf("the folder %s is not empty, and has no backup of this server", filepath.Join(to, blobFolder)), err)
		}
	default: // the id is that of the database, so that a copy of both is a pair
		if err := target.Mark(id); err != nil {
			return copied, err
		}
	}
	hold, err := files.Hold()
	if err != nil {
		return copied, err
	}
	err = dump(ctx)
	var all func(string) ([]media.File, error)
	if err == nil {
		// What was used when the database was copied is known, also if it is not used any more.
		err = read(func(database tables.Asker) (err error) {
			if copied, err = files.CopyTo(ctx, target, used(ctx, database)); err != nil {
				return err
			}
			list := map[string][]media.File{}
			for _, p := range media.Prefixes() {
				known, err := tables.KnownFiles(ctx, database, p)
				if err != nil {
					return err
				}
				for _, f := range known {
					list[p] = append(list[p], media.File{Name: f.File, Size: f.Size})
				}
			}
			all = func(prefix string) ([]media.File, error) { return list[prefix], nil }
			more, err := files.CopyTo(ctx, target, all)
			copied.New, copied.Bytes = copied.New+more.New, copied.Bytes+more.Bytes
			return err
		})
	}
	if err = errors.Join(err, hold.Release()); err != nil || keep {
		return copied, err
	}
	return copied, target.Prune(all)
}

// key copies the secret key; it may also be a setting of the server.
func (b *backup) key(to string) error {
	key, err := os.ReadFile(filepath.Join(b.data, secretFile))
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Remove(to); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	}
	if err != nil {
		return err
	}
	if err := writeSynced(to+newName, key); err != nil {
		return err
	}
	return os.Rename(to+newName, to)
}

// look reads something of a database file.
func look[V any](ctx context.Context, file string, read func(context.Context, tables.Asker) (V, error)) (v V, err error) {
	l, err := store.LookAt(ctx, file)
	if err != nil {
		return v, err
	}
	v, err = read(ctx, l)
	return v, errors.Join(err, l.Close())
}

// used lists the files that uploads refer to.
func used(ctx context.Context, database tables.Asker) func(prefix string) ([]media.File, error) {
	return func(prefix string) (files []media.File, err error) {
		known, err := tables.KnownFiles(ctx, database, prefix)
		for _, f := range known {
			if f.Unused == 0 {
				files = append(files, media.File{Name: f.File, Size: f.Size})
			}
		}
		return files, err
	}
}

// Restore makes a new data folder from a backup, with a folder of files, by default in it. What the backup has of files goes there.
func Restore(ctx context.Context, from, data, blob string) (copied media.Copied, err error) {
	file := from
	var key []byte
	fi, err := os.Stat(from)
	if err != nil {
		return copied, fmt.Errorf("restore: %w", err)
	}
	var files func(tables.Asker) (string, error)
	made := false
	if fi.IsDir() {
		file = filepath.Join(from, databaseFile)
		if key, err = os.ReadFile(filepath.Join(from, secretFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return copied, fmt.Errorf("restore: %w", err)
		}
		files = func(database tables.Asker) (string, error) {
			id, err := tables.FolderID(ctx, database)
			if err != nil || id == "" {
				return "", err
			}
			// The id is a new one: no server takes the restored folder for that of the old database, or the other way round.
			id = media.NewFolderID()
			folder := media.FolderAt(blob)
			if empty, err := folder.Empty(); err != nil {
				return "", err
			} else if !empty {
				return "", fmt.Errorf("the folder of files %s is not empty; name another one with --blob", blob)
			}
			made = true
			if copied, err = media.FolderAt(filepath.Join(from, blobFolder)).CopyTo(ctx, folder, used(ctx, database)); err != nil {
				return "", err
			}
			return id, folder.Mark(id)
		}
	}
	if err := store.Restore(ctx, file, data, files); err != nil {
		if made {
			os.RemoveAll(blob)
		}
		return copied, err
	}
	if key == nil {
		return copied, nil
	}
	if err := writeSynced(filepath.Join(data, secretFile), key); err != nil {
		return copied, fmt.Errorf("restore: the database is there, and the secret key is not: %w", err)
	}
	return copied, private.SyncFolder(data)
}

func writeSynced(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, private.Mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Chmod(private.Mode), f.Sync(), f.Close())
}
