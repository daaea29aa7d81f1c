package media

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"net/http"
	"strconv"
	"strings"

	"github.com/tidings-im/tidings/internal/chat"
)

// The headers of the tus protocol.

const (
	tusVersion    = "1.0.0"
	tusExtensions = "creation,expiration,checksum,termination"
	// statusChecksum is what tus responds to a part with a wrong checksum.
	statusChecksum = 460
	patchType      = "application/offset+octet-stream"
	// maxMetadata limits Upload-Metadata.
	maxMetadata = 4096
)

// options describes what can be done, also to a browser that asks whether a script may.
func options(h http.Header, r *http.Request) {
	h.Set("Tus-Resumable", tusVersion)
	h.Set("Tus-Version", tusVersion)
	h.Set("Tus-Extension", tusExtensions)
	h.Set("Tus-Max-Size", strconv.FormatInt(chat.MediaFile.MostMedia(), 10))
	h.Set("Tus-Checksum-Algorithm", "sha1,sha256")
	if r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PATCH, DELETE")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Range, If-Match, If-None-Match, If-Range, Tus-Resumable, Upload-Length, Upload-Offset, Upload-Metadata, Upload-Checksum, X-HTTP-Method-Override, X-Requested-With")
		h.Set("Access-Control-Max-Age", "86400")
	}
}

// number parses a header that is a number of bytes.
func number(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == text
}

var errMetadata = errors.New("Upload-Metadata is malformed")

// metadata parses Upload-Metadata: keys, each with a blank and a value in base64 or without a value, separated by commas.
func metadata(text string) (map[string]string, error) {
	if len(text) > maxMetadata {
		return nil, errMetadata
	}
	out := make(map[string]string)
	if text == "" {
		return out, nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), " ")
		b, err := base64.StdEncoding.DecodeString(value)
		if _, twice := out[key]; key == "" || err != nil || twice {
			return nil, errMetadata
		}
		out[key] = string(b)
	}
	return out, nil
}

var kinds = map[string]chat.MediaKind{"file": chat.MediaFile, "image": chat.MediaImage, "sound": chat.MediaSound, "video": chat.MediaVideo}

// kindIn returns the kind that the metadata name: as kind, or else by filetype, which tus clients in browsers send. Names and everything else that a client
// says of its file are not kept.
func kindIn(meta map[string]string) (chat.MediaKind, bool) {
	if name, ok := meta["kind"]; ok {
		k, ok := kinds[name]
		return k, ok
	}
	switch class, _, _ := strings.Cut(meta["filetype"], "/"); class {
	case "image":
		return chat.MediaImage, true
	case "audio":
		return chat.MediaSound, true
	case "video":
		return chat.MediaVideo, true
	}
	return chat.MediaFile, true
}

// checksum is what a part must have; its zero value is none.
type checksum struct {
	hash hash.Hash
	want string
}

// checksumIn parses Upload-Checksum.
func checksumIn(text string) (checksum, bool) {
	if text == "" {
		return checksum{}, true
	}
	name, value, _ := strings.Cut(text, " ")
	var c checksum
	switch name {
	case "sha1":
		c.hash = sha1.New()
	case "sha256":
		c.hash = sha256.New()
	default:
		return c, false
	}
	b, err := base64.StdEncoding.DecodeString(value)
	c.want = string(b)
	return c, err == nil && len(b) == c.hash.Size()
}

// good reports whether what was written to the hash has the checksum.
func (c checksum) good() bool { return c.hash == nil || string(c.hash.Sum(nil)) == c.want }
