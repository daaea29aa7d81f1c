package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/internal/private"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// backupMark is the SQLite application id of a copy, so that no server uses it as its own: two servers on one copy, or a server on an old copy, would
// give out numbers that clients already know. Restore removes it.
const backupMark = 0x54644270

// DamagedError means that a database cannot be used as it is. Nothing was changed.
type DamagedError struct {
	File string
	Err  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the database %s is damaged: %v. Nothing was changed. Move the data folder aside and restore a backup: tidings restore --from BACKUP --data FOLDER",
		e.File, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

func isDamaged(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.Code == sqlite3.ErrCorrupt || e.Code == sqlite3.ErrNotADB)
}

var errCutOff = errors.New("the file is shorter than it says")

// readOnly opens a database without any right to change it.
func readOnly(file string) *sql.DB {
	return pool("file:"+(&url.URL{Path: file}).EscapedPath()+"?"+url.Values{"mode": {"ro"}, "_mutex": {"no"}, "_busy_timeout": {busyTimeout(lockWait)}}.Encode(), 1)
}

// examine checks a database before anything may write to it: opening a damaged one as usual would already copy its WAL into it.
func examine(ctx context.Context, file string) error {
	fi, err := os.Stat(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Size() == 0 {
		return nil // equivalent to none
	}
	db := readOnly(file)
	defer db.Close()
	var pages, size, mark int64
	err = db.QueryRowContext(ctx, "SELECT (SELECT page_count FROM pragma_page_count), (SELECT page_size FROM pragma_page_size), (SELECT application_id FROM pragma_application_id)").
		Scan(&pages, &size, &mark)
	if err == nil && mark == backupMark {
		return fmt.Errorf("%s is a backup; restore it into a new data folder: tidings restore --from BACKUP --data FOLDER", file)
	}
	if err == nil {
		wal, e := os.Stat(file + "-wal")
		if (errors.Is(e, os.ErrNotExist) || e == nil && wal.Size() == 0) && fi.Size() < pages*size {
			err = errCutOff
		}
	}
	// What every start reads anyway: the schema, the store's row, the entries that may have to be counted again.
	for _, q := range []string{
		"SELECT count(*) FROM sqlite_schema WHERE sql IS NOT NULL OR 1",
		"SELECT count(*) FROM pragma_table_info('meta')",
	} {
		if err == nil {
			err = db.QueryRowContext(ctx, q).Scan(new(int64))
		}
	}
	if isDamaged(err) || errors.Is(err, errCutOff) {
		return &DamagedError{file, err}
	}
	return err
}

// checkWhole reads all of a database.
func checkWhole(ctx context.Context, db *sql.DB, file string) error {
	var answer string
	err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&answer)
	if err == nil && answer != "ok" {
		return &DamagedError{file, errors.New(answer)}
	}
	if isDamaged(err) {
		return &DamagedError{file, err}
	}
	return err
}

// Backup copies the database of a data folder, whether a server uses it or not, to a file that must not exist. It is a copy of one moment: everything
// that was acknowledged before the call is in it. It returns once the copy is on the disk and has been read back completely.
func Backup(ctx context.Context, dir, to string) error {
	from := filepath.Join(dir, dbFile)
	if _, err := os.Stat(from); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := examine(ctx, from); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	src := readOnly(from)
	defer src.Close()
	return put(to, func(tmp string) error {
		if err := copyDB(ctx, src, tmp); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		return seal(ctx, tmp, fmt.Sprintf("PRAGMA application_id=%d", backupMark))
	})
}

// copyDB copies a database with SQLite's backup interface, in one step: a reader's view of one moment, which blocks no writer.
func copyDB(ctx context.Context, src *sql.DB, to string) error {
	dst := pool("file:"+(&url.URL{Path: to}).EscapedPath()+"?_mutex=no", 1)
	defer dst.Close()
	sc, err := src.Conn(ctx)
	if err != nil {
		return err
	}
	defer sc.Close()
	dc, err := dst.Conn(ctx)
	if err != nil {
		return err
	}
	defer dc.Close()
	return dc.Raw(func(d any) error {
		return sc.Raw(func(s any) error {
			b, err := d.(*sqlite3.SQLiteConn).Backup("main", s.(*sqlite3.SQLiteConn), "main")
			if err != nil {
				return err
			}
			done, err := b.Step(-1)
			if err == nil && !done {
				err = errors.New("the copy was not finished")
			}
			return errors.Join(err, b.Finish())
		})
	})
}

// seal makes the last changes to a copy, checks all of it, and leaves one file on the disk.
func seal(ctx context.Context, file string, changes ...string) error {
	db := pool("file:"+(&url.URL{Path: file}).EscapedPath()+"?_mutex=no&_journal_mode=DELETE&_synchronous=FULL", 1)
	defer db.Close()
	if err := checkWhole(ctx, db, file); err != nil {
		return err
	}
	for _, c := range changes {
		if _, err := db.ExecContext(ctx, c); err != nil {
			return err
		}
	}
	if err := db.Close(); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// put makes a file whole or not at all.
func put(name string, fill func(tmp string) error) error {
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s exists already: %w", name, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err := errors.Join(tmp.Chmod(private.Mode), tmp.Close()); err != nil {
		return err
	}
	if err := fill(tmp.Name()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), name); err != nil { // unlike a rename it replaces nothing
		return err
	}
	return syncNew(filepath.Dir(name))
}

// Restore makes a data folder from a backup. The folder must be empty or not exist. The store gets a new name for clients, and they start their local
// logs over (docs/sync.md, rule 2): its numbers will be given out a second time. files, which may be nil, puts the files that the database names into a folder
// with an id that it returns; with "" the database forgets all files.
func Restore(ctx context.Context, from, dir string, files func(database tables.Asker) (folder string, err error)) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	lock := flock.New(filepath.Join(dir, "lock"))
	if names, err := os.ReadDir(dir); err != nil {
		return fmt.Errorf("restore: %w", err)
	} else if len(names) > 0 {
		return fmt.Errorf("restore: the data folder %s is not empty; move it aside, or name another one", dir)
	}
	if err := private.File(lock.Path()); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if ok, err := lock.TryLock(); err != nil || !ok {
		return fmt.Errorf("restore: data folder %s is in use by another process: %w", dir, err)
	}
	defer lock.Unlock()
	err := put(filepath.Join(dir, dbFile), func(tmp string) error {
		if err := copyFileTo(from, tmp); err != nil {
			return err
		}
		if err := seal(ctx, tmp); err != nil {
			return err
		}
		db := pool("file:"+(&url.URL{Path: tmp}).EscapedPath()+"?_mutex=no", 1)
		defer db.Close()
		var mark int64
		if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&mark); err != nil {
			return err
		}
		if mark != backupMark {
			return fmt.Errorf("%s is not a backup that this program made", from)
		}
		if err := tables.Migrate(ctx, db, tables.SQLite); err != nil { // refuses that of a newer program
			return err
		}
		if err := db.Close(); err != nil {
			return err
		}
		folder := ""
		if files != nil {
			var err error
			if folder, err = restoreFiles(ctx, tmp, files); err != nil {
				return err
			}
		}
		changes := []string{"DELETE FROM blob WHERE unused > 0", "UPDATE blob_folder SET id = '" + folder + "'"}
		if folder == "" {
			changes = append(slices.Clone(tables.ForgetMedia), changes[1])
		}
		// Above the time, so that two restores of one copy differ as well.
		return seal(ctx, tmp, append(changes, fmt.Sprintf("UPDATE meta SET restores = max(restores + 1, %d)", time.Now().Unix()), "PRAGMA application_id=0")...)
	})
	if err != nil {
		os.Remove(lock.Path())
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

func restoreFiles(ctx context.Context, file string, files func(tables.Asker) (string, error)) (folder string, err error) {
	l, err := LookAt(ctx, file)
	if err != nil {
		return "", err
	}
	defer l.Close()
	return files(l)
}

func copyFileTo(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
