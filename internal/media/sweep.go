package media

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
)

const (
	sweepEvery = time.Minute
	// grace is how long a file is kept that nothing refers to.
	grace = time.Hour
	// atOnce is how many uploads or files are ended in one transaction or between two.
	atOnce = 100
)

// sweepAlways sweeps until ctx ends. Each time it looks at one of the folders of files.
func (m *Media) sweepAlways(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		err := m.sweep(ctx, prefixes[m.prefix])
		m.prefix = (m.prefix + 1) % len(prefixes)
		if err != nil && ctx.Err() == nil && chat.Known(err) == "" {
			m.cfg.Log.Error("media: the sweep failed", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Sweep ends the uploads whose time is over, and deletes the files that nothing refers to. It looks for files that no row knows, which a crash leaves, in
// all folders.
func (m *Media) Sweep(ctx context.Context) error { return m.sweep(ctx, prefixes...) }

// sweep looks into the named folders. Files are deleted after what refers to them, so no crash leaves an upload without its file. Each step may be repeated,
// and done by several servers at the same time.
func (m *Media) sweep(ctx context.Context, folders ...string) error {
	for {
		ids, err := m.store.OldMedia(ctx, m.store.Now(), atOnce)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := m.drop(ctx, id, m.store.Now()); err != nil && !errors.Is(err, chat.ErrNotFound) {
				return err
			}
		}
		if len(ids) < atOnce {
			break
		}
	}
	if err := m.store.Update(ctx, nil, func(tx chat.Tx) error { return tx.ForgetMediaUse(tx.Now() - day) }); err != nil {
		return err
	}
	m.mu.Lock()
	clear(m.creates) // a bucket is full again long before the next sweep
	m.mu.Unlock()
	n, err := m.store.OpenMedia(ctx, m.store.Now())
	if err != nil {
		return err
	}
	m.metrics.open.Set(float64(n))
	for {
		// What goes away after a backup has read the database stays until it has copied it. What went away before is of no use to it, also if that is
		// deleted only now.
		if held, err := m.folder.held(m.cfg.Now()); err != nil || held {
			return err
		}
		var files []string
		err := m.store.Update(ctx, nil, func(tx chat.Tx) (err error) {
			files, err = tx.DropBlobs(tx.Now()-grace.Milliseconds(), atOnce)
			return err
		})
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := m.delete(file); err != nil {
				return err
			}
		}
		if len(files) < atOnce {
			break
		}
	}
	// What arrives is written by an upload that was created before, so it is needed for no longer than an upload may take.
	names, err := m.folder.aged("open", m.cfg.Now().Add(-m.cfg.Unused-grace))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := remove(m.folder.partial(name)); err != nil {
			return err
		}
	}
	for _, p := range folders {
		if held, err := m.folder.held(m.cfg.Now()); err != nil || held {
			return err
		}
		if err := m.strays(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// strays deletes the files in a folder that no row knows and that are older than a finish takes.
func (m *Media) strays(ctx context.Context, p string) error {
	names, err := m.folder.aged(filepath.Join("files", p), m.cfg.Now().Add(-grace))
	if err != nil {
		return err
	}
	for _, name := range names {
		hash := hashIn(name)
		if hash == "" || hash[:2] != p {
			continue // not ours
		}
		file, err := m.store.BlobFile(ctx, hash)
		if err != nil && !errors.Is(err, chat.ErrNotFound) {
			return err
		}
		if file != name {
			if err := m.delete(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *Media) delete(file string) error {
	err := m.folder.Delete(file)
	if err == nil {
		m.metrics.deleted.Inc()
	}
	return err
}
