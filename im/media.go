package im

import (
	"encoding/base64"
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

// ValidMediaID reports whether a text may be the id of an upload: 192 random bits.
func ValidMediaID(id string) bool {
	b, err := base64.RawURLEncoding.DecodeString(id)
	return err == nil && len(b) == 24 && len(id) == 32
}

// MediaFiles returns the files that a message in wire form names, which CheckForm has accepted, at any depth.
func MediaFiles(msg []byte) ([]MediaFile, *Error) { return mediaFiles(nil, msg, false) }

func mediaFiles(out []MediaFile, msg []byte, merged bool) ([]MediaFile, *Error) {
	err := eachField(msg, func(num protowire.Number, elem []byte, _ uint64) *Error {
		if num != 1 {
			return nil
		}
		return eachField(elem, func(num protowire.Number, body []byte, _ uint64) (err *Error) {
			add := func(kind ElemType, field, id string, bytes uint64) {
				if id == "" && merged {
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
					add(ElemType_ELEM_TYPE_IMAGE, "image_elem_orig_id", e.OrigId, uint64(e.OrigPicSize))
					if e.LargeId != "" {
						add(ElemType_ELEM_TYPE_IMAGE, "image_elem_large_id", e.LargeId, uint64(e.LargePicSize))
					}
					if e.ThumbId != "" {
						add(ElemType_ELEM_TYPE_IMAGE, "image_elem_thumb_id", e.ThumbId, uint64(e.ThumbPicSize))
					}
				}
			case soundField:
				var e SoundElem
				if err = decodeElem(body, &e); err == nil {
					add(ElemType_ELEM_TYPE_SOUND, "sound_elem_file_id", e.FileId, uint64(e.FileSize))
				}
			case fileField:
				var e FileElem
				if err = decodeElem(body, &e); err == nil {
					add(ElemType_ELEM_TYPE_FILE, "file_elem_file_id", e.FileId, uint64(e.FileSize))
				}
			case videoField:
				var e VideoElem
				if err = decodeElem(body, &e); err == nil {
					add(ElemType_ELEM_TYPE_VIDEO, "video_elem_video_id", e.VideoId, uint64(e.VideoSize))
					add(ElemType_ELEM_TYPE_IMAGE, "video_elem_image_id", e.ImageId, uint64(e.ImageSize))
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

// Sendable returns a message in wire form without the fields that are not sent: paths of files on the sender's device and, unless an operator sends it,
// URLs and the flags beside them, at any depth. It is msg itself if that has none. A message that is malformed is returned as it is: CheckForm refuses it.
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
			case f.removed >= from:
				found = true
			}
		}
		b = b[n+m:]
	}
	return found, true
}

// remove appends a message, which removable has read, to out.
func remove(out, b []byte, s *shape, from uint8) []byte {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		f := s.field(num)
		switch {
		case f != nil && f.removed >= from:
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

// field returns a field by its number, nil if the shape has none.
func (s *shape) field(num protowire.Number) *shapeField {
	if num < 0 || int(num) >= len(s.fields) || s.fields[num].kind == 0 {
		return nil
	}
	return &s.fields[num]
}
