package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tidings-im/tidings/internal/media"
	"github.com/tidings-im/tidings/internal/store"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// CheckConfig is what Check looks at.
type CheckConfig struct {
	// Data is a data folder or a backup. With Postgres, it is that database instead. Blob is the folder of the files of users.
	Data, Postgres, Blob string
	// Hash reads all files of users, and compares them with their hashes.
	Hash bool
	Now  func() time.Time
}

// Checked is what Check has found.
type Checked struct {
	Files, Bytes        int64
	Uploads, References int64
	// Damage contradicts what is stored, Waste is what a crash may leave and a server deletes.
	Damage, Waste []string
}

// looker is a database as it is at one moment.
type looker interface {
	tables.Asker
	Close() error
}

func (cfg *CheckConfig) look(ctx context.Context) (looker, error) {
	if cfg.Postgres != "" {
		return pg.LookAt(ctx, cfg.Postgres)
	}
	return store.LookAt(ctx, filepath.Join(cfg.Data, databaseFile))
}

// Check compares what the database says of files with itself and with the folder of files. A server may be running: what it changes meanwhile is looked at again.
// It changes nothing.
func Check(ctx context.Context, cfg CheckConfig) (out Checked, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("check: %w", err)
		}
	}()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l, err := cfg.look(ctx)
	if err != nil {
		return out, err
	}
	defer l.Close()
	id, err := tables.FolderID(ctx, l)
	if err != nil {
		return out, err
	}
	if err := tables.CheckMedia(ctx, l, func(what string) { out.Damage = append(out.Damage, what) }); err != nil {
		return out, err
	}
	if out.Uploads, out.References, err = tables.CountMedia(ctx, l); err != nil || id == "" {
		return out, err
	}
	if cfg.Blob == "" {
		return out, errors.New("the database has files in a folder: name it with --blob")
	}
	folder := media.FolderAt(cfg.Blob)
	if err := cfg.rightFolder(ctx, folder, id); err != nil {
		return out, err
	}
	return out, cfg.files(ctx, l, folder, &out)
}

// rightFolder refuses a folder that is not that of the database. That of a backup has no id.
func (cfg *CheckConfig) rightFolder(ctx context.Context, folder *media.Folder, id string) error {
	have, err := folder.ID()
	if err != nil || have == id {
		return err
	}
	if have == "" && cfg.Postgres == "" {
		if _, err := store.BackupOf(ctx, filepath.Join(cfg.Data, databaseFile)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s is not the folder with the files of this database: name it with --blob", cfg.Blob)
}

// texts say what is wrong with a file.
var texts = map[media.Fault]string{
	media.Missing:    "the file %s is not there",
	media.WrongSize:  "the file %s has another size than the database says",
	media.WrongBytes: "the file %s has other bytes than were uploaded",
	media.WrongName:  "the database gives a file the name %q, which none has",
	media.Waste:      "no upload refers to the file %s",
	media.Strange:    "the file %s is not one of this server",
}

// files compares the folder with the database.
func (cfg *CheckConfig) files(ctx context.Context, l looker, folder *media.Folder, out *Checked) error {
	backup := false
	if cfg.Postgres == "" {
		_, err := store.BackupOf(ctx, filepath.Join(cfg.Data, databaseFile))
		backup = err == nil
	}
	for _, p := range media.Prefixes() {
		found, err := cfg.inFolder(ctx, l, folder, p, backup, out)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			continue
		}
		// A file that was finished or deleted since the database was read is all right as it is now.
		again, err := cfg.look(ctx)
		if err != nil {
			return err
		}
		found, err = cfg.inFolder(ctx, again, folder, p, backup, nil)
		if err := errors.Join(err, again.Close()); err != nil {
			return err
		}
		for _, f := range found {
			out.add(f)
		}
	}
	ids, err := tables.OpenUploads(ctx, l)
	if err != nil {
		return err
	}
	return folder.CheckOpen(ids, cfg.Now(), func(f media.Fault, name string) { out.add(finding{f, name}) })
}

type finding struct {
	fault media.Fault
	name  string
}

func (out *Checked) add(f finding) {
	text := fmt.Sprintf(texts[f.fault], f.name)
	if f.fault == media.Waste || f.fault == media.Strange {
		out.Waste = append(out.Waste, text)
	} else {
		out.Damage = append(out.Damage, text)
	}
}

// inFolder looks at the files whose hash begins with two digits. With out, it counts them.
func (cfg *CheckConfig) inFolder(ctx context.Context, l looker, folder *media.Folder, prefix string, backup bool, out *Checked) (found []finding, err error) {
	rows, err := tables.KnownFiles(ctx, l, prefix)
	if err != nil {
		return nil, err
	}
	known := make(map[string]media.File, len(rows))
	for _, r := range rows {
		if backup && r.Unused > 0 {
			continue // it is not part of one
		}
		known[r.Hash] = media.File{Name: r.File, Size: r.Size}
		if out != nil {
			out.Files++
			out.Bytes += r.Size
		}
	}
	err = folder.Check(ctx, prefix, known, cfg.Hash, cfg.Now(), func(f media.Fault, name string) { found = append(found, finding{f, name}) })
	return found, err
}
