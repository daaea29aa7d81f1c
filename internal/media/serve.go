package media

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"github.com/gabriel-vasile/mimetype"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// shown are the types that a browser may show or play in place. Everything else is only to be saved, under no type at all. SVG and HTML can run scripts.
var shown = []string{
	"image/jpeg", "image/png", "image/gif", "image/bmp", "image/webp",
	"audio/mpeg", "audio/mp4", "audio/x-m4a", "audio/aac", "audio/amr", "audio/wav", "audio/ogg", "audio/flac",
	"video/mp4", "video/webm", "video/quicktime", "video/3gpp", "video/ogg",
}

const anyType = "application/octet-stream"

// sniffed is how much of a file decides about its type.
const sniffed = 3072

// typeOf returns the type of a file by its beginning.
func typeOf(head []byte) string {
	kind, _, _ := strings.Cut(mimetype.Detect(head[:min(len(head), sniffed)]).String(), ";")
	if !slices.Contains(shown, kind) {
		return anyType
	}
	return kind
}

// partNames are the ends of paths.
var partNames = map[string]int32{"": chat.PartOriginal, "large": chat.PartLarge, "thumb": chat.PartThumb}

// read serves a file.
func (m *Media) read(w http.ResponseWriter, r *http.Request, id, name string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		m.refuse(w, http.StatusMethodNotAllowed, "", 0, "a file is read with GET or HEAD")
		return
	}
	uid, ok := m.caller(w, r, id, false)
	if !ok {
		return
	}
	if !im.ValidMediaID(id) {
		m.forbid(w)
		return
	}
	media, parts, err := m.store.Media(r.Context(), id)
	switch {
	case errors.Is(err, chat.ErrNotFound), err == nil && (!media.Done || media.Until > 0 && media.Until <= m.store.Now()):
		m.forbid(w)
		return
	case err != nil:
		m.fail(w, err)
		return
	}
	w.Header().Set("Cache-Control", "private, max-age=86400")
	if name == "info" {
		m.describe(w, media, parts)
		return
	}
	want, ok := partNames[name]
	i := slices.IndexFunc(parts, func(p chat.MediaPart) bool { return p.Part == want })
	if !ok || i < 0 {
		m.refuse(w, http.StatusNotFound, "", 0, "there is no such size of this file")
		return
	}
	p := parts[i]
	if !m.enter(w, uid) {
		return
	}
	defer m.leave(uid)
	f, err := m.folder.Open(p.File)
	if errors.Is(err, fs.ErrNotExist) { // it was deleted since it was looked up; or the folder has lost it
		m.cfg.Log.Warn("media: a file is not in the folder", "file", p.File)
		m.forbid(w)
		return
	}
	if err != nil {
		m.fail(w, err)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", p.Type)
	if p.Type == anyType {
		w.Header().Set("Content-Disposition", "attachment")
	}
	w.Header().Set("ETag", `"`+p.Hash+`"`)
	out := &response{ResponseWriter: w, meter: meter{pace: m.cfg.Pace, set: http.NewResponseController(w).SetWriteDeadline}}
	defer func() { // also when the response is cut off
		m.metrics.bytes.WithLabelValues("down").Add(float64(out.n))
		if slow(out.err) {
			m.metrics.refused.WithLabelValues(refusedSlow).Inc()
		}
	}()
	http.ServeContent(out, r, "", noTime, f)
}

// described is the answer of /media/ID/info.
type described struct {
	Size   int64           `json:"size"`
	Type   string          `json:"type"`
	Format int             `json:"image_format,omitempty"`
	Sizes  []describedSize `json:"sizes"`
}

type describedSize struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Width  int64  `json:"width,omitempty"`
	Height int64  `json:"height,omitempty"`
}

// formats are TIM's numbers of image formats.
var formats = map[string]int{"image/jpeg": 1, "image/gif": 2, "image/png": 3, "image/bmp": 4}

const unknownFormat = 255

// describe answers what there is of a file.
func (m *Media) describe(w http.ResponseWriter, media chat.Media, parts []chat.MediaPart) {
	d := described{Size: media.Size, Type: parts[0].Type}
	if media.Kind == chat.MediaImage {
		if d.Format = formats[d.Type]; d.Format == 0 {
			d.Format = unknownFormat
		}
	}
	for _, p := range parts {
		s := describedSize{Size: p.Size, Width: p.Width, Height: p.Height}
		for name, n := range partNames {
			if n == p.Part {
				s.Path = name
			}
		}
		d.Sizes = append(d.Sizes, s)
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(d) // a client that has disconnected does not matter
}
