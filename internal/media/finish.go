package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/tidings-im/tidings/internal/chat"
)

// finish makes files of an upload that has arrived as a whole, and then the upload done. It goes on when the client has disconnected. The caller holds the
// upload.
func (m *Media) finish(ctx context.Context, media chat.Media) error {
	ctx = context.WithoutCancel(ctx)
	arrived, err := os.Open(m.folder.partial(partialOf(media.ID)))
	if errors.Is(err, fs.ErrNotExist) {
		return m.doneAlready(ctx, media)
	}
	if err != nil {
		return err
	}
	defer arrived.Close()
	parts, made, err := m.files(ctx, media, arrived)
	if err != nil {
		m.discard(made)
		return err
	}
	var twice []string
	undone := false
	err = m.store.Update(ctx, nil, func(tx chat.Tx) (err error) {
		twice, err = tx.EndMedia(media.ID, tx.Now()+m.cfg.Unused.Milliseconds(), parts)
		undone = err != nil
		return err
	})
	switch {
	case err == nil:
		m.done.Go(func() { m.discard(twice) }) // the response does not wait for it: nobody learns whether a file was known
	case undone:
		m.discardUnknown(ctx, made)
	default:
		// Nobody knows whether it was committed. If it was, the files are needed; if not, the sweep finds them.
		return err
	}
	if errors.Is(err, chat.ErrNotFound) {
		err = m.doneAlready(ctx, media)
	}
	// What has arrived is not needed any more, also if the upload was ended meanwhile.
	if err == nil || errors.Is(err, chat.ErrNotFound) {
		err = errors.Join(err, remove(arrived.Name()))
	}
	return err
}

// doneAlready returns nil if another server has made an upload done, and ErrNotFound if it was ended.
func (m *Media) doneAlready(ctx context.Context, media chat.Media) error {
	again, err := m.find(ctx, media.Owner, media.ID)
	if err == nil && !again.Done {
		err = chat.ErrNotFound
	}
	return err
}

// files makes the files of an upload that has arrived. It returns those that it has made also with an error.
func (m *Media) files(ctx context.Context, media chat.Media, arrived *os.File) (parts []chat.MediaPart, made []string, err error) {
	put := func(r io.Reader) (Stored, error) {
		f, err := m.folder.Put(&roomy{m: m, from: r})
		if err == nil {
			made = append(made, f.File)
		}
		return f, err
	}
	original, err := func() (Stored, error) {
		m.copies <- struct{}{}
		defer func() { <-m.copies }()
		return put(io.LimitReader(arrived, media.Size))
	}()
	if err != nil {
		return nil, made, err
	}
	head := make([]byte, sniffed)
	k, err := arrived.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, made, err
	}
	first := chat.MediaPart{Hash: original.Hash, File: original.File, Size: original.Size, Type: typeOf(head[:k])}
	parts = []chat.MediaPart{first}
	if media.Kind != chat.MediaImage {
		return parts, made, nil
	}
	s, err := m.makeSizes(ctx, first)
	if err != nil {
		return nil, made, err
	}
	parts[0].Width, parts[0].Height = int64(s.original.width), int64(s.original.height)
	for part, s := range map[int32]sized{chat.PartLarge: s.large, chat.PartThumb: s.thumb} {
		p := first
		if s.data != nil {
			f, err := put(bytes.NewReader(s.data))
			if err != nil {
				return nil, made, err
			}
			p = chat.MediaPart{Hash: f.Hash, File: f.File, Size: f.Size, Type: s.kind}
		}
		p.Part, p.Width, p.Height = part, int64(s.width), int64(s.height)
		parts = append(parts, p)
	}
	return parts, made, nil
}

// discard deletes files that were made in vain. What a crash leaves, the sweep finds.
func (m *Media) discard(files []string) {
	for _, file := range files {
		if err := m.folder.Delete(file); err != nil {
			m.cfg.Log.Warn("media: a file cannot be deleted", "err", err)
		}
	}
}

// discardUnknown deletes those files that no row knows.
func (m *Media) discardUnknown(ctx context.Context, files []string) {
	for _, file := range files {
		known, err := m.store.BlobFile(ctx, hashIn(file))
		if errors.Is(err, chat.ErrNotFound) || err == nil && known != file {
			m.discard([]string{file})
		}
	}
}

// makeSizes makes the smaller sizes of an image. One that is not read is the original in all sizes, which is no error.
func (m *Media) makeSizes(ctx context.Context, original chat.MediaPart) (sizes, error) {
	m.images <- struct{}{}
	defer func() { <-m.images }()
	f, err := m.folder.Open(original.File)
	if err != nil {
		return sizes{}, err
	}
	defer f.Close()
	data := make([]byte, original.Size)
	if _, err := io.ReadFull(f, data); err != nil {
		return sizes{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, imageTime)
	defer cancel()
	out, err := sizesOrPanic(ctx, original.Type, data)
	if err != nil {
		m.metrics.images.WithLabelValues("original").Inc()
		out.large, out.thumb = out.original, out.original
		return out, nil
	}
	m.metrics.images.WithLabelValues("made").Inc()
	return out, nil
}

// sizesOrPanic is makeSizes; that a decoder panics is an error: otherwise the upload could never become done.
func sizesOrPanic(ctx context.Context, kind string, data []byte) (out sizes, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = sizes{}, fmt.Errorf("media: a decoder panics: %v", p)
		}
	}()
	return makeSizes(ctx, kind, data)
}

// roomEvery is after how many bytes the room on the disk is looked at again.
const roomEvery = 1 << 20

var errDisk = errors.New("the server's disk has no room for it")

// roomy reads what is written to the disk, as long as there is room for it.
type roomy struct {
	m    *Media
	from io.Reader
	left int
}

func (r *roomy) Read(p []byte) (int, error) {
	if r.left <= 0 {
		if !r.m.room(roomEvery) {
			return 0, errDisk
		}
		r.left = roomEvery
	}
	n, err := r.from.Read(p)
	r.left -= n
	return n, err
}
