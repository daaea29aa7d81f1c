package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidings-im/tidings/internal/private"
	"github.com/tidings-im/tidings/internal/store"
)

const databaseFile = "tidings.db"

// IsFile reports whether the name of a backup is that of a single file: the database without the secret key.
func IsFile(name string) bool { return strings.HasSuffix(name, ".db") }

// Backup copies a data folder, whether a server uses it or not: to a folder that does not exist or is empty, or to a file that does not exist.
func Backup(ctx context.Context, data, to string) error {
	if _, err := os.Stat(data); err != nil {
		return fmt.Errorf("backup: data folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(data, databaseFile)); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("backup: there is no %s in %s. If its server keeps its data in PostgreSQL, use pg_dump, and keep a copy of %s", databaseFile, data, secretFile)
	}
	if IsFile(to) {
		return store.Backup(ctx, data, to)
	}
	if names, err := os.ReadDir(to); err == nil && len(names) > 0 {
		return fmt.Errorf("backup: the folder %s is not empty", to)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("backup: %w", err)
	}
	parent := filepath.Dir(filepath.Clean(to))
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	tmp, err := os.MkdirTemp(parent, filepath.Base(to)+".*.tmp") // readable only by the owner
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := store.Backup(ctx, data, filepath.Join(tmp, databaseFile)); err != nil {
		return err
	}
	if key, err := os.ReadFile(filepath.Join(data, secretFile)); err == nil {
		err = writeSynced(filepath.Join(tmp, secretFile), key)
		if err != nil {
			return fmt.Errorf("backup: %w", err)
		}
	} else if !errors.Is(err, os.ErrNotExist) { // the key may be a setting of the server
		return fmt.Errorf("backup: %w", err)
	}
	if err := os.Rename(tmp, to); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// Restore makes a new data folder from a backup.
func Restore(ctx context.Context, from, data string) error {
	file := from
	var key []byte
	if fi, err := os.Stat(from); err != nil {
		return fmt.Errorf("restore: %w", err)
	} else if fi.IsDir() {
		file = filepath.Join(from, databaseFile)
		if key, err = os.ReadFile(filepath.Join(from, secretFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("restore: %w", err)
		}
	}
	if err := store.Restore(ctx, file, data); err != nil {
		return err
	}
	if key == nil {
		return nil
	}
	if err := writeSynced(filepath.Join(data, secretFile), key); err != nil {
		return fmt.Errorf("restore: the database is there, and the secret key is not: %w", err)
	}
	return nil
}

func writeSynced(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, private.Mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Chmod(private.Mode), f.Sync(), f.Close())
}
