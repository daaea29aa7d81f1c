package chat

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"regexp"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// URLs of uploads for the app's program, which has no session. Each has a token for this upload only. They are formed when something is sent to the program, so that
// none is stored.

// openMedia is the purpose of a token that opens one upload.
const openMedia = 'o'

// openToken makes a token that opens an upload.
func (c *Chat) openToken(id string) string {
	b := make([]byte, mediaBody)
	b[0] = openMedia
	binary.BigEndian.PutUint64(b[mediaBody-8:], uint64(c.cfg.Clock().Add(mediaTokenLife).Unix()))
	return base64.RawURLEncoding.EncodeToString(append(b, c.mediaMAC(b, id)...))
}

// MayOpen reports whether a token opens an upload without a session.
func (c *Chat) MayOpen(token, id string) bool {
	b, err := base64.RawURLEncoding.DecodeString(token)
	return err == nil && len(b) == im.MediaToken && c.cfg.MediaKey != nil && b[0] == openMedia && hmac.Equal(b[mediaBody:], c.mediaMAC(b[:mediaBody], id)) &&
		c.cfg.Clock().Unix() < int64(binary.BigEndian.Uint64(b[mediaBody-8:]))
}

// FormURLs sets the URLs of the uploads in a message that the app's program gets.
func (c *Chat) FormURLs(m *im.Message) { eachUpload(m, c.urlOf) }

// eachUpload sets the URLs of uploads to what form makes of their ids.
func eachUpload(m *im.Message, form func(id string) string) {
	im.FileURLs(m, func(id string, url *string, _ *int32) {
		if upload, _, _ := strings.Cut(id, "/"); *url == "" && im.ValidMediaID(upload) {
			*url = form(id)
		}
	})
}

func (c *Chat) urlOf(id string) string {
	if c.cfg.MediaURL == "" || c.cfg.MediaKey == nil {
		return ""
	}
	upload, _, _ := strings.Cut(id, "/")
	return c.cfg.MediaURL + "/media/" + id + "?token=" + c.openToken(upload)
}

// A notification in the outbox has marks where URLs of uploads belong. As the value of such a key, nothing else can begin with a mark.
const uploadMark = "tidings-upload:"

var markedURL = regexp.MustCompile(`"((?:Video|Thumb)?U(?:rl|RL))":"` + uploadMark + `([\w-]{32}(?:/large|/thumb)?)"`)

// markURLs puts marks into a message that goes into the outbox.
func markURLs(m *im.Message) {
	eachUpload(m, func(id string) string { return uploadMark + id })
}

// Unmark sets the URLs of uploads in a notification from the outbox.
func (c *Chat) Unmark(body []byte) []byte {
	return markedURL.ReplaceAllFunc(body, func(b []byte) []byte {
		part := markedURL.FindSubmatch(b)
		return []byte(`"` + string(part[1]) + `":"` + c.urlOf(string(part[2])) + `"`)
	})
}
