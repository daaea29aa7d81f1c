package im

import (
	"encoding/base64"
	"errors"
	"net/url"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// MediaFile is a file that an element of a message names.
type MediaFile struct {
	// ID is the id of the upload, Size the part of it that is meant: "" for the file itself, large or thumb for a smaller size of an image.
	ID, Size string
	// Bytes is how large the element says it is.
	Bytes uint64
	// Kind is the type of the element; a picture of a video is an image.
	Kind ElemType
	// Merged means that the element is in a merged message.
	Merged bool
	// Field is the key of the id.
	Field string
}

// Sizes of an image, as they stand behind the id of the upload: ID/thumb.
const (
	MediaLarge = "large"
	MediaThumb = "thumb"
)

// How large a file may be that a message names: an image or a sound, and a video or any other file. Megabytes of limits are 2^20 bytes.
const (
	MaxImage = 28 << 20
	MaxFile  = 100 << 20
)

// ValidMediaID reports whether a text may be the id of an upload: 192 random bits. None has only hexadecimal digits, so that a UUID of another server is never
// taken for one.
func ValidMediaID(id string) bool {
	b, err := base64.RawURLEncoding.DecodeString(id)
	return err == nil && len(b) == 24 && len(id) == 32 && strings.Trim(id, "0123456789abcdefABCDEF") != ""
}

// MediaToken is how many bytes a token for /media/ has: by that a URL with one is recognized.
const MediaToken = 57

// MaxURL is how many bytes the URL of a file may have.
const MaxURL = 2048

// UploadOf returns the upload whose URL a text is, and the size of an image that is meant: a URL below /media/ with a token, as SDKs and the server form them. Such
// a URL is good for its reader only, so it is neither sent nor stored.
func UploadOf(text string) (id, size string, ok bool) {
	u, err := webAddress(text)
	if err != nil {
		return "", "", false
	}
	token, err := base64.RawURLEncoding.DecodeString(u.Query().Get("token"))
	if err != nil || len(token) != MediaToken {
		return "", "", false
	}
	const folder = "/media/"
	at := strings.LastIndex(u.Path, folder)
	if at < 0 {
		return "", "", false
	}
	if id, size, _ = strings.Cut(u.Path[at+len(folder):], "/"); !ValidMediaID(id) {
		return "", "", false
	}
	return id, size, true
}

// IsForeignURL reports whether a text is the http or https URL of a file that no upload is. The file is loaded from there, without a token, and the id beside the
// URL names no upload.
func IsForeignURL(text string) bool {
	if _, err := webAddress(text); err != nil {
		return false
	}
	_, _, ours := UploadOf(text)
	return !ours
}

var errNoAddress = errors.New("not an http or https URL")

func webAddress(text string) (*url.URL, error) {
	if len(text) > MaxURL {
		return nil, errNoAddress
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errNoAddress
	}
	return u, nil
}

// MediaFiles returns the uploads that a message in wire form names, which CheckForm has accepted, at any depth. A file with a foreign URL is not an upload.
func MediaFiles(msg []byte) ([]MediaFile, *Error) { return mediaFiles(nil, msg, false) }

func mediaFiles(out []MediaFile, msg []byte, merged bool) ([]MediaFile, *Error) {
	err := eachField(msg, func(num protowire.Number, elem []byte, _ uint64) *Error {
		if num != 1 {
			return nil
		}
		return eachField(elem, func(num protowire.Number, body []byte, _ uint64) (err *Error) {
			add := func(kind ElemType, field, id, url string, bytes uint64) {
				if id == "" && merged || IsForeignURL(url) {
					return
				}
				f := MediaFile{Bytes: bytes, Kind: kind, Merged: merged, Field: field}
				f.ID, f.Size, _ = strings.Cut(id, "/")
				out = append(out, f)
			}
			switch num {
			case elemBodies[ElemType_ELEM_TYPE_MERGER]:
				return eachField(body, func(num protowire.Number, inner []byte, _ uint64) (err *Error) {
					if num == mergedField {
						out, err = mediaFiles(out, inner, true)
					}
					return err
				})
			case imageField:
				var e ImageElem
				if err = decodeElem(body, &e); err == nil {
					add(ElemType_ELEM_TYPE_IMAGE, "image_elem_orig_id", e.OrigId, e.OrigUrl, uint64(e.OrigPicSize))
					if e.LargeId != "" {
						add(ElemType_ELEM_TYPE_IMAGE, "image_elem_large_id", e.LargeId, e.LargeUrl, uint64(e.LargePicSize))
					}
					if e.ThumbId != "" {
						add(ElemType_ELEM_TYPE_IMAGE, "image_elem_thumb_id", e.ThumbId, e.ThumbUrl, uint64(e.ThumbPicSize))
					}
				}
			case soundField:
				var e SoundElem
				if err = decodeElem(body, &e); err == nil {
					add(ElemType_ELEM_TYPE_SOUND, "sound_elem_file_id", e.FileId, e.Url, uint64(e.FileSize))
				}
			case fileField:
				var e FileElem
				if err = decodeElem(body, &e); err == nil {
					add(ElemType_ELEM_TYPE_FILE, "file_elem_file_id", e.FileId, e.Url, uint64(e.FileSize))
				}
			case videoField:
				var e VideoElem
				if err = decodeElem(body, &e); err == nil {
					add(ElemType_ELEM_TYPE_VIDEO, "video_elem_video_id", e.VideoId, e.VideoUrl, uint64(e.VideoSize))
					if e.ImageId != "" || !IsForeignURL(e.VideoUrl) { // a film of another server may have no picture
						add(ElemType_ELEM_TYPE_IMAGE, "video_elem_image_id", e.ImageId, e.ImageUrl, uint64(e.ImageSize))
					}
				}
			}
			return err
		})
	})
	return out, err
}

// FileURLs calls f for each file that a message names, at any depth, with its id, its URL, and the flag beside that; images have none.
func FileURLs(m *Message, f func(id string, url *string, flag *int32)) {
	for _, e := range m.GetElemArray() {
		if i := e.GetImage(); i != nil {
			f(i.OrigId, &i.OrigUrl, nil)
			f(i.LargeId, &i.LargeUrl, nil)
			f(i.ThumbId, &i.ThumbUrl, nil)
		}
		if s := e.GetSound(); s != nil {
			f(s.FileId, &s.Url, &s.DownloadFlag)
		}
		if x := e.GetFile(); x != nil {
			f(x.FileId, &x.Url, &x.DownloadFlag)
		}
		if v := e.GetVideo(); v != nil {
			f(v.VideoId, &v.VideoUrl, &v.VideoDownloadFlag)
			f(v.ImageId, &v.ImageUrl, &v.ImageDownloadFlag)
		}
		for _, inner := range e.GetMerger().GetMessageArray() {
			FileURLs(inner, f)
		}
	}
}

// MayHaveFiles reports whether an element in wire form has a file, or merged messages.
func MayHaveFiles(elem []byte) (found bool) {
	eachField(elem, func(num protowire.Number, _ []byte, _ uint64) *Error {
		found = found || num == elemBodies[ElemType_ELEM_TYPE_MERGER] || num >= imageField && num <= videoField
		return nil
	})
	return found
}

func decodeElem(b []byte, m interface{ UnmarshalVT([]byte) error }) *Error {
	if m.UnmarshalVT(b) != nil {
		return Errorf(CodeInvalidParameters, "the message is malformed")
	}
	return nil
}

// Numbers of fields: of the bodies of elements in Elem, and of the messages in MergerElem.
const (
	imageField, soundField, fileField, videoField protowire.Number = 9, 10, 11, 12
	mergedField                                   protowire.Number = 4
)

// Sendable returns a message in wire form without the fields that are not sent, at any depth: paths of files on the sender's device, and URLs that are formed from
// an id and a token. A foreign URL is sent if its id cannot be that of an upload; with another id it is sent by an operator only, so that no user can give what
// others know by its id another content. The flags beside URLs are an operator's too. It is msg itself if that has nothing of this. A message that is
// malformed is returned as it is: CheckForm refuses it.
func Sendable(msg []byte, operator bool) []byte {
	from := uint8(fromUsers)
	if operator {
		from = fromAll
	}
	if found, whole := removable(msg, &shapes[shapeMessage], from, MaxLayers); !found || !whole {
		return msg
	}
	return remove(make([]byte, 0, len(msg)), msg, &shapes[shapeMessage], from)
}

// removable reports whether a message has something to be removed, and whether it can be read, with no more than a number of layers.
func removable(b []byte, s *shape, from uint8, layers int) (found, whole bool) {
	l := leaving{b: b, from: from}
	if s.layers > 0 {
		if layers--; layers < 0 {
			return false, false
		}
	}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false, false
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return false, false
		}
		if f := s.field(num); f != nil {
			switch {
			case typ == protowire.BytesType && f.kind == wireMessage && shapes[f.of].removes:
				v, _ := protowire.ConsumeBytes(b[n:])
				inside, whole := removable(v, &shapes[f.of], from, layers)
				if !whole {
					return false, false
				}
				found = found || inside
			case l.leaves(num, f):
				found = true
			}
		}
		b = b[n+m:]
	}
	return found, true
}

// remove appends a message, which removable has read, to out.
func remove(out, b []byte, s *shape, from uint8) []byte {
	l := leaving{b: b, from: from}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		f := s.field(num)
		switch {
		case f != nil && l.leaves(num, f):
		case typ == protowire.BytesType && f != nil && f.kind == wireMessage && shapes[f.of].removes:
			v, _ := protowire.ConsumeBytes(b[n:])
			out = protowire.AppendBytes(append(out, b[:n]...), remove(make([]byte, 0, len(v)), v, &shapes[f.of], from))
		default:
			out = append(out, b[:n+m]...)
		}
		b = b[n+m:]
	}
	return out
}

// leaving decides which fields of one message are removed. What it decides about a URL holds wherever the URL occurs in the message.
type leaving struct {
	b            []byte
	from         uint8
	known, leave uint64 // of URLs, by the numbers of their fields
}

// leaves reports whether a field is removed.
func (l *leaving) leaves(num protowire.Number, f *shapeField) bool {
	if f.id == 0 {
		return f.removed >= l.from
	}
	bit := uint64(1) << (num & 63)
	if l.known&bit == 0 {
		l.known |= bit
		if l.url(num, f) {
			l.leave |= bit
		}
	}
	return l.leave&bit != 0
}

func (l *leaving) url(num protowire.Number, f *shapeField) bool {
	text := textOf(l.b, num)
	if l.from == fromAll {
		_, _, ours := UploadOf(text)
		return ours
	}
	id, _, _ := strings.Cut(textOf(l.b, protowire.Number(f.id)), "/")
	return ValidMediaID(id) || !IsForeignURL(text)
}

// textOf returns a text of a message as far as that can be read, as it is decoded: what comes last counts.
func textOf(b []byte, of protowire.Number) (text string) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return text
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return text
		}
		if num == of && typ == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b[n:])
			text = string(v)
		}
		b = b[n+m:]
	}
	return text
}

// field returns a field by its number, nil if the shape has none.
func (s *shape) field(num protowire.Number) *shapeField {
	if num < 0 || int(num) >= len(s.fields) || s.fields[num].kind == 0 {
		return nil
	}
	return &s.fields[num]
}
