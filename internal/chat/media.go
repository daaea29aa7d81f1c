package chat

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

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
		return 28 << 20
	}
	return 100 << 20
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
	mediaBody      = 1 + 3*8
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
	return base64.RawURLEncoding.EncodeToString(append(b, c.mediaMAC(b)...))
}

func (c *Chat) mediaMAC(b []byte) []byte {
	m := hmac.New(sha256.New, c.cfg.MediaKey)
	m.Write(binary.BigEndian.AppendUint64(nil, c.cfg.AppID)) // of two apps with one key, neither reads what is the other's
	m.Write(b)
	return m.Sum(nil)
}

// errMediaToken does not tell what is wrong with a token.
var errMediaToken = im.Errorf(im.CodeMediaForbidden, "the media token is not good")

// CheckMedia returns the user of a media token. A token to upload also reads. The error has the code 6006 if the token is not good, or the session that it
// names has ended.
func (c *Chat) CheckMedia(ctx context.Context, token string, upload bool) (UID, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != mediaBody+sha256.Size || c.cfg.MediaKey == nil || !hmac.Equal(b[mediaBody:], c.mediaMAC(b[:mediaBody])) {
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
