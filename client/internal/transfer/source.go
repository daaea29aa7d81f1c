package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/tidings-im/tidings/im"
)

// Kind is what a file is to be in a message. It decides how large it may be.
type Kind string

const (
	Any   Kind = "file"
	Image Kind = "image"
	Sound Kind = "sound"
	Video Kind = "video"
)

// Most returns how many bytes a file of a kind may have.
func (k Kind) Most() int64 {
	if k == Image || k == Sound {
		return im.MaxImage
	}
	return im.MaxFile
}

// File is a file to upload.
type File struct {
	Path string
	Kind Kind
}

var (
	errMissing  = &im.Error{Code: im.CodeFileNotFound, Desc: "the file does not exist"}
	errUnread   = &im.Error{Code: im.CodeFileOpen, Desc: "the file cannot be read"}
	errEmpty    = &im.Error{Code: im.CodeFileEmpty, Desc: "the file is empty"}
	errNotImage = &im.Error{Code: im.CodeNotImage, Desc: "the file is not an image"}
	errChanged  = &im.Error{Code: im.CodeFileOpen, Desc: "the file has changed while it was uploaded"}
)

// Check returns what Upload would refuse a file for before it sends anything, and the file's size: 7004 it does not exist, 7007 it is a directory or cannot be
// read, 7006 it is empty, 7005 it is too large, 6031 it is to be an image and is none.
func Check(f File) (size int64, err error) {
	s := &source{file: f}
	if err := s.open(); err != nil {
		return 0, err
	}
	s.close()
	return s.size, nil
}

// source is a file while it is uploaded. Another process may change it meanwhile.
type source struct {
	file  File
	size  int64
	mtime time.Time
	f     *os.File
	want  string // the hash of the whole file, before anything was sent
	// sum is the hash of what the server has confirmed: at bytes.
	sum hash.Hash
	at  int64
}

// open opens the file. The second time it must still be the same.
func (s *source) open() error {
	info, err := os.Stat(s.file.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errMissing
	case err != nil, !info.Mode().IsRegular(): // to open a pipe could wait
		return errUnread
	}
	f, err := os.Open(s.file.Path)
	if err != nil {
		return errUnread
	}
	if err := s.look(f); err != nil {
		f.Close()
		return err
	}
	s.f, s.sum = f, sha256.New()
	return nil
}

func (s *source) look(f *os.File) error {
	info, err := f.Stat()
	switch {
	case err != nil, !info.Mode().IsRegular():
		return errUnread
	case info.Size() == 0:
		return errEmpty
	case info.Size() > s.file.Kind.Most():
		return im.Errorf(im.CodeFileTooLarge, "the file has %d bytes, more than %d", info.Size(), s.file.Kind.Most())
	case s.size != 0 && (info.Size() != s.size || !info.ModTime().Equal(s.mtime)):
		return errChanged
	}
	s.size, s.mtime = info.Size(), info.ModTime()
	head := make([]byte, 32)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return errUnread
	}
	if s.file.Kind == Image && !isImage(head[:n]) {
		return errNotImage
	}
	return nil
}

func (s *source) close() { s.f.Close() }

// measure hashes the whole file.
func (s *source) measure(ctx context.Context, buf []byte) error {
	h := sha256.New()
	if err := s.hash(ctx, h, s.size, buf); err != nil {
		return err
	}
	s.want = string(h.Sum(nil))
	return nil
}

// hash writes the first bytes of the file to a hash.
func (s *source) hash(ctx context.Context, h hash.Hash, size int64, buf []byte) error {
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(int64(len(buf)), size-at)]
		if err := s.read(b, at); err != nil {
			return err
		}
		h.Write(b)
		at += int64(len(b))
	}
	return nil
}

// read reads a part, which must be there.
func (s *source) read(b []byte, at int64) error {
	switch n, err := s.f.ReadAt(b, at); {
	case n == len(b):
		return nil
	case err == io.EOF:
		return errChanged
	default:
		return errUnread
	}
}

// confirm moves the hash to where the server is, which has what is in part from where the hash is.
func (s *source) confirm(ctx context.Context, at int64, part []byte) error {
	if more := at - s.at; more >= 0 && more <= int64(len(part)) {
		s.sum.Write(part[:more])
		s.at = at
		return nil
	}
	// The server has lost something, or has more than it was known to have.
	s.sum.Reset()
	s.at = at
	return s.hash(ctx, s.sum, at, make([]byte, min(64<<10, max(at, 1))))
}

// same returns errChanged unless what was sent is what the file was in the beginning, and still is.
func (s *source) same() error {
	info, err := s.f.Stat()
	if err != nil || info.Size() != s.size || !info.ModTime().Equal(s.mtime) || string(s.sum.Sum(nil)) != s.want {
		return errChanged
	}
	return nil
}

// isImage reports whether a file begins like an image, in a format that this or another program may know.
func isImage(head []byte) bool {
	for _, magic := range []string{
		"\xff\xd8\xff", "\x89PNG\r\n\x1a\n", "GIF87a", "GIF89a", "BM", // the formats that TIM numbers
		"II*\x00", "MM\x00*", "\x00\x00\x01\x00", "\x00\x00\x00\x0cjP  ", "\x00\x00\x00\x0cJXL ", "\xff\x0a", "8BPS", // TIFF, icons, JPEG 2000 and XL, Photoshop
	} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return magic != "BM" || isBMP(head)
		}
	}
	at := func(from, to int) string { return string(head[min(from, len(head)):min(to, len(head))]) }
	switch {
	case at(0, 4) == "RIFF":
		return at(8, 12) == "WEBP"
	case at(4, 8) == "ftyp":
		switch at(8, 12) {
		case "avif", "avis", "heic", "heix", "hevc", "hevx", "heim", "heis", "mif1", "msf1":
			return true
		}
	}
	return false
}

// isBMP looks at more than the two letters, with which a text may begin: the size of the second header.
func isBMP(head []byte) bool {
	return len(head) >= 18 && head[15] == 0 && head[16] == 0 && head[17] == 0 && (head[14] == 12 || head[14] >= 40 && head[14] <= 124 || head[14] == 16 || head[14] == 64)
}
