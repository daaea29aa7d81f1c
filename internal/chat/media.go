package chat

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tidings-im/tidings/im"
)

// MediaKind is what an upload is to be in a message. It decides how large it may be.
type MediaKind int32

const (
	MediaFile MediaKind = iota
	MediaImage
	MediaSound
	MediaVideo
)

// MostMedia returns how many bytes a file of a kind may have.
func (k MediaKind) MostMedia() int64 {
	if k == MediaImage || k == MediaSound {
		return im.MaxImage
	}
	return im.MaxFile
}

// Media is an upload. Its ID is drawn at random and is the right to read it when it is done: it stands in no log, metric or error.
type Media struct {
	ID    string
	Owner UID
	Kind  MediaKind
	// Size is how many bytes are uploaded.
	Size int64
	// Made is when it was created, Until when it is deleted (0: never).
	Made, Until int64
	Done        bool
}

// Parts of Media.
const (
	PartOriginal int32 = iota
	PartLarge
	PartThumb
)

// MediaPart is one of the files of an upload that is done. Hash is the SHA-256 of the file in hexadecimal, File its name in the folder.
type MediaPart struct {
	Media         string
	Part          int32
	Hash, File    string
	Size          int64
	Type          string
	Width, Height int64
}

// MediaUse is what a user has uploaded: how many uploads are open, how many bytes there are in all, and how many were uploaded since a time, whether they are
// still there or not. An upload that is open counts with its size.
type MediaUse struct {
	Open        int
	Kept, Since int64
}

// Media tokens. A token names a session and ends with it, or when its time has come.

const (
	mediaTokenLife = 7 * 24 * time.Hour
	readMedia      = 'r'
	uploadMedia    = 'u'
	mediaBody      = im.MediaToken - sha256.Size
)

// mediaToken makes a token for a session: to read media, or to upload. It is "" if the server has no media.
func (c *Chat) mediaToken(purpose byte, uid UID, generation uint64) string {
	if c.cfg.MediaKey == nil {
		return ""
	}
	b := []byte{purpose}
	b = binary.BigEndian.AppendUint64(b, uint64(uid))
	b = binary.BigEndian.AppendUint64(b, generation)
	b = binary.BigEndian.AppendUint64(b, uint64(c.cfg.Clock().Add(mediaTokenLife).Unix()))
	return base64.RawURLEncoding.EncodeToString(append(b, c.mediaMAC(b, "")...))
}

// MediaTokens makes new tokens for a session, which outlives the ones of its login if it is connected for long enough.
func (c *Chat) MediaTokens(_ context.Context, call Call[*im.MediaTokensReply], _ *im.Empty) error {
	uid, generation := call.Caller.UID, call.Caller.Generation
	call.Reply(&im.MediaTokensReply{MediaToken: c.mediaToken(readMedia, uid, generation), UploadToken: c.mediaToken(uploadMedia, uid, generation)})
	return nil
}

// mediaMAC signs the body of a token, and the id of the only upload that it is good for.
func (c *Chat) mediaMAC(b []byte, id string) []byte {
	m := hmac.New(sha256.New, c.cfg.MediaKey)
	m.Write(binary.BigEndian.AppendUint64(nil, c.cfg.AppID)) // of two apps with one key, neither reads what is the other's
	m.Write(b)
	m.Write([]byte(id))
	return m.Sum(nil)
}

// errMediaToken does not tell what is wrong with a token.
var errMediaToken = im.Errorf(im.CodeMediaForbidden, "the media token is not good")

// CheckMedia returns the user of a media token. A token to upload also reads. The error has the code 6006 if the token is not good, or the session that it
// names has ended.
func (c *Chat) CheckMedia(ctx context.Context, token string, upload bool) (UID, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != mediaBody+sha256.Size || c.cfg.MediaKey == nil || !hmac.Equal(b[mediaBody:], c.mediaMAC(b[:mediaBody], "")) {
		return 0, errMediaToken
	}
	if b[0] != uploadMedia && (upload || b[0] != readMedia) {
		return 0, errMediaToken
	}
	uid, generation, end := UID(binary.BigEndian.Uint64(b[1:])), binary.BigEndian.Uint64(b[9:]), int64(binary.BigEndian.Uint64(b[17:]))
	if c.cfg.Clock().Unix() >= end {
		return 0, errMediaToken
	}
	rows, err := c.store.Sessions(ctx, uid)
	if errors.Is(err, ErrNotFound) {
		err = errMediaToken
	}
	if err != nil {
		return 0, err
	}
	for _, r := range rows {
		if r.Generation == generation && r.LoggedIn {
			return uid, nil
		}
	}
	return 0, errMediaToken
}

// hasFiles reports whether a message, which has passed the check, may name files.
func hasFiles(msg []byte) bool {
	found := false
	for len(msg) > 0 && !found {
		num, _, n := protowire.ConsumeField(msg)
		if n < 0 {
			return false
		}
		if num == elemsField {
			_, _, tag := protowire.ConsumeTag(msg)
			elem, _ := protowire.ConsumeBytes(msg[tag:n])
			found = im.MayHaveFiles(elem)
		}
		msg = msg[n:]
	}
	return found
}

var errNoMedia = im.Errorf(im.CodeInvalidElem, "an element names a file that was not uploaded, or that is not there any more")

// attachFiles looks up the uploads that a message refers to; nil if none is to be kept for it. Who knows the id of one may send it on. What is not kept refers to
// nothing, so its uploads must be there now; for others the store decides when they are stored. Elements in merged messages were sent before, and keep what has been
// deleted since.
func (c *Chat) attachFiles(ctx context.Context, body []byte, kept bool) (*Attached, error) {
	files, bad := im.MediaFiles(body)
	if bad != nil {
		return nil, bad
	}
	a := &Attached{Keep: c.cfg.MediaKeep.Milliseconds()}
	type found struct {
		media Media
		parts []MediaPart
		err   error
	}
	known := make(map[string]found)
	for _, f := range files {
		if !im.ValidMediaID(f.ID) {
			if f.Merged {
				continue
			}
			return nil, im.Errorf(im.CodeInvalidElem, "%s is not the id of an upload", f.Field)
		}
		at, ok := known[f.ID]
		if !ok {
			at.media, at.parts, at.err = c.store.Media(ctx, f.ID)
			if at.err == nil && (!at.media.Done || at.media.Until > 0 && at.media.Until <= c.store.Now()) {
				at.err = ErrNotFound
			}
			if at.err != nil && !errors.Is(at.err, ErrNotFound) {
				return nil, at.err
			}
			known[f.ID] = at
		}
		if at.err == nil {
			if err := agree(&f, &at.media, at.parts); err != nil {
				return nil, err
			}
		} else if !kept && !f.Merged {
			return nil, errNoMedia
		}
		if list := &a.IDs; !slices.Contains(a.IDs, f.ID) {
			if f.Merged {
				list = &a.May
			}
			if !slices.Contains(*list, f.ID) {
				*list = append(*list, f.ID)
			}
		}
	}
	a.May = slices.DeleteFunc(a.May, func(id string) bool { return slices.Contains(a.IDs, id) })
	if !kept || len(a.IDs)+len(a.May) == 0 {
		return nil, nil
	}
	return a, nil
}

// agree checks what an element says about a file.
func agree(f *im.MediaFile, m *Media, parts []MediaPart) error {
	kinds := map[im.ElemType]MediaKind{im.ElemType_ELEM_TYPE_IMAGE: MediaImage, im.ElemType_ELEM_TYPE_SOUND: MediaSound, im.ElemType_ELEM_TYPE_VIDEO: MediaVideo}
	sizes := map[string]int32{"": PartOriginal, im.MediaLarge: PartLarge, im.MediaThumb: PartThumb}
	part, ok := sizes[f.Size]
	i := slices.IndexFunc(parts, func(p MediaPart) bool { return p.Part == part })
	switch {
	case kinds[f.Kind] != m.Kind:
		return im.Errorf(im.CodeInvalidElem, "%s is an upload of another kind", f.Field)
	case !ok || i < 0:
		return im.Errorf(im.CodeInvalidElem, "%s names a size that the file does not have", f.Field)
	case uint64(parts[i].Size) != f.Bytes:
		return im.Errorf(im.CodeInvalidElem, "%s has %d bytes, and not %d", f.Field, parts[i].Size, f.Bytes)
	}
	return nil
}
