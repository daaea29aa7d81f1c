package client

import (
	"bytes"
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/client/internal/transfer"
	"github.com/tidings-im/tidings/im"
)

// mostPath is how many bytes the path of a file may have.
const mostPath = 4096

// file is a file of an element: its path on this device, the id of its upload, and what its upload fills in.
type file struct {
	kind     transfer.Kind
	path, id *string
	url      string
	key      string // of the path
	uploaded func(*uploaded)
}

// filesOf returns the files of an element, in the order in which they are uploaded. Those of merged messages are not among them: they have been sent before.
func filesOf(e *im.Elem) []file {
	if i := e.GetImage(); i != nil {
		return []file{{transfer.Image, &i.OrigPath, &i.OrigId, i.OrigUrl, "image_elem_orig_path", func(u *uploaded) { describeImage(i, u.desc) }}}
	}
	if s := e.GetSound(); s != nil {
		return []file{{transfer.Sound, &s.FilePath, &s.FileId, s.Url, "sound_elem_file_path", func(u *uploaded) { s.FileId, s.FileSize = u.ID, int32(u.Size) }}}
	}
	if f := e.GetFile(); f != nil {
		return []file{{transfer.Any, &f.FilePath, &f.FileId, f.Url, "file_elem_file_path", func(u *uploaded) { f.FileId, f.FileSize = u.ID, int32(u.Size) }}}
	}
	if v := e.GetVideo(); v != nil {
		return []file{
			{transfer.Image, &v.ImagePath, &v.ImageId, cmp.Or(v.ImageUrl, v.VideoUrl), "video_elem_image_path", func(u *uploaded) { v.ImageId, v.ImageSize = u.ID, uint32(u.Size) }},
			{transfer.Video, &v.VideoPath, &v.VideoId, v.VideoUrl, "video_elem_video_path", func(u *uploaded) { v.VideoId, v.VideoSize = u.ID, uint32(u.Size) }},
		}
	}
	return nil
}

// describeImage fills in an image with the sizes that the server has of it. A format that the application has named stays.
func describeImage(i *im.ImageElem, d *transfer.Description) {
	set := func(n int, id *string, size, width, height *int32) {
		s := d.Sizes[min(n, len(d.Sizes)-1)]
		*id, *size = s.ID, int32(s.Size)
		if s.Width > 0 && s.Height > 0 {
			*width, *height = int32(s.Width), int32(s.Height)
		}
	}
	set(0, &i.OrigId, &i.OrigPicSize, &i.OrigPicWidth, &i.OrigPicHeight)
	set(1, &i.LargeId, &i.LargePicSize, &i.LargePicWidth, &i.LargePicHeight)
	set(2, &i.ThumbId, &i.ThumbPicSize, &i.ThumbPicWidth, &i.ThumbPicHeight)
	if i.Format == 0 {
		i.Format = int32(d.Format)
	}
}

// local reports whether a file has to be uploaded. One that names an upload is sent on, whatever path is there, and so is one of another server, which need not
// have an id; nor does a film of another server have a picture.
func (f *file) local() bool {
	if *f.path == "" {
		return *f.id == "" && !im.IsForeignURL(f.url)
	}
	return !im.ValidMediaID(*f.id)
}

// takePaths puts the paths of the files of m that have to be uploaded into own, its copy without paths, and checks that own can be sent when they are uploaded.
// It returns their upload; nil if there are none.
func (c *Client) takePaths(own, m *im.Message) (*upload, error) {
	u := &upload{c: c}
	for i, e := range m.ElemArray {
		from := filesOf(e)
		var list []transfer.File
		for j, f := range filesOf(own.ElemArray[i]) {
			if !from[j].local() {
				continue
			}
			path := *from[j].path
			if len(path) > mostPath {
				return nil, im.Errorf(im.CodeInvalidParameters, "%s has %d bytes, more than %d", f.key, len(path), mostPath)
			}
			*f.path, *f.id = path, ""
			list = append(list, transfer.File{Path: path, Kind: f.kind})
		}
		if len(list) == 0 {
			continue
		}
		if f := own.ElemArray[i].GetFile(); f != nil && f.FileName == "" && f.FilePath != "" {
			f.FileName = filepath.Base(f.FilePath)
		}
		u.elems = append(u.elems, elemFiles{i, e.GetImage() != nil, list})
	}
	if len(u.elems) == 0 {
		return nil, nil
	}
	b, err := u.fill(own, func(int) *uploaded { return longest }).MarshalVT()
	if err != nil {
		return nil, im.Errorf(im.CodeInvalidParameters, "the message cannot be encoded: %v", err)
	}
	return u, checked(im.Sendable(b, false), im.CheckMessage)
}

// longest takes as much space in a message as any upload.
var longest = func() *uploaded {
	const most = 1<<31 - 1
	id := strings.Repeat("A", 32)
	size := func(id string) transfer.Size { return transfer.Size{ID: id, Size: most, Width: most, Height: most} }
	return &uploaded{transfer.Uploaded{ID: id, Size: most},
		&transfer.Description{Format: 255, Sizes: []transfer.Size{size(id), size(id + "/" + im.MediaLarge), size(id + "/" + im.MediaThumb)}}}
}()

// fill returns a copy of a message with what is known of its files when they are uploaded: of(n) is the nth of them.
func (u *upload) fill(m *im.Message, of func(n int) *uploaded) *im.Message {
	out, n := clone(m), 0
	for _, e := range u.elems {
		for _, f := range filesOf(out.ElemArray[e.index]) {
			if f.local() {
				f.uploaded(of(n))
				n++
			}
		}
	}
	return out
}

// clone copies a message that has been encoded before.
func clone(m *im.Message) *im.Message {
	out := &im.Message{}
	if b, err := m.MarshalVT(); err == nil {
		out.UnmarshalVT(b)
	}
	return out
}

// wire returns what is sent of a message: its content without what never leaves the device. It has paths if it has files that were uploaded.
func wire(m *im.Message, paths bool) *im.Message {
	sent := content(m)
	sent.CustomInt, sent.CustomStr = 0, ""
	if !paths {
		return sent
	}
	b, err := sent.MarshalVT()
	out := &im.Message{}
	if err != nil || out.UnmarshalVT(im.Sendable(b, false)) != nil {
		return sent // the server refuses it
	}
	return out
}

// keepPaths puts the paths on this device into newer content of a message, where it names the files that were there. A file without an id is one whose upload this
// device does not know.
func keepPaths(old, now *im.Message) {
	for i, e := range now.ElemArray[:min(len(now.ElemArray), len(old.ElemArray))] {
		from, to := filesOf(old.ElemArray[i]), filesOf(e)
		for j := range min(len(from), len(to)) {
			if from[j].key == to[j].key && *from[j].path != "" && (*from[j].id == "" || *from[j].id == *to[j].id) {
				*to[j].path = *from[j].path
			}
		}
	}
}

// notUploaded returns the content of a message whose send has failed without the ids of files that were uploaded for it: the server deletes them, and if the
// message is sent again, they are uploaded again.
func notUploaded(body []byte) []byte {
	m := &im.Message{}
	if m.UnmarshalVT(body) != nil {
		return body
	}
	found := false
	for _, e := range m.ElemArray {
		for _, f := range filesOf(e) {
			if *f.path != "" && *f.id != "" {
				*f.id, found = "", true
			}
		}
		if i := e.GetImage(); i != nil && i.OrigId == "" {
			i.LargeId, i.ThumbId = "", ""
		}
	}
	if now, err := m.MarshalVT(); found && err == nil {
		return now
	}
	return body
}

// differs reports whether the elements of a message are others than those that the device has sent, apart from what is not sent. Elements with a file whose upload it
// does not know are taken for theirs, if those have a file of that kind.
func differs(ours, theirs *im.Message) bool {
	sent := &im.Message{ElemArray: slices.Clone(ours.ElemArray), CloudCustomStr: ours.CloudCustomStr}
	for i, e := range sent.ElemArray[:min(len(sent.ElemArray), len(theirs.ElemArray))] {
		unknown := slices.ContainsFunc(filesOf(e), func(f file) bool { return f.local() })
		if unknown && e.ElemType == theirs.ElemArray[i].GetElemType() {
			sent.ElemArray[i] = theirs.ElemArray[i]
		}
	}
	a, errA := sent.MarshalVT()
	b, errB := (&im.Message{ElemArray: theirs.ElemArray, CloudCustomStr: theirs.CloudCustomStr}).MarshalVT()
	return errA == nil && errB == nil && !bytes.Equal(im.Sendable(a, false), b)
}
