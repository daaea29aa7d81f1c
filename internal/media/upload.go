package media

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/private"
)

var noTime time.Time

// hold makes requests for one upload take turns.
type hold struct {
	turn chan struct{}
	// users are those who have it or wait for it. stop interrupts the one who has it; nil if it cannot be interrupted.
	users int
	stop  func()
}

// hold waits for the turn of a request. With stop, it interrupts the request whose turn it is, and may be interrupted itself: of two requests that send parts
// of an upload, the first one has a dead connection.
//
// keep makes that it is not interrupted any more, release ends the turn.
func (m *Media) hold(ctx context.Context, id string, stop func()) (keep, release func(), err error) {
	m.mu.Lock()
	h := m.held[id]
	if h == nil {
		h = &hold{turn: make(chan struct{}, 1)}
		m.held[id] = h
	}
	h.users++
	if stop != nil && h.stop != nil {
		h.stop()
	}
	m.mu.Unlock()
	leave := func() {
		if h.users--; h.users == 0 {
			delete(m.held, id)
		}
	}
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		m.mu.Lock()
		defer m.mu.Unlock()
		leave()
		return nil, nil, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h.stop = stop
	keep = func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		h.stop = nil
	}
	return keep, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		h.stop = nil
		<-h.turn
		leave()
	}, nil
}

// upload serves the requests of the tus protocol. Whoever has no session gets the same response for all ids, and so does a user for those of others and those
// that do not exist.
func (m *Media) upload(w http.ResponseWriter, r *http.Request, id string) {
	w.Header().Set("Tus-Resumable", tusVersion)
	w.Header().Set("Cache-Control", "no-store")
	method := r.Method
	if other := r.Header.Get("X-HTTP-Method-Override"); method == http.MethodPost && other != "" {
		method = other
	}
	if r.Header.Get("Tus-Resumable") != tusVersion {
		w.Header().Set("Tus-Version", tusVersion)
		m.refuse(w, http.StatusPreconditionFailed, "", 0, "Tus-Resumable must be "+tusVersion)
		return
	}
	uid, ok := m.caller(w, r, true)
	if !ok {
		return
	}
	switch {
	case id == "" && method == http.MethodPost:
		m.create(w, r, uid)
		return
	case id == "" || method != http.MethodHead && method != http.MethodPatch && method != http.MethodDelete:
		m.refuse(w, http.StatusMethodNotAllowed, "", 0, "an upload is created with POST, and then has HEAD, PATCH and DELETE")
		return
	}
	media, ok := m.own(w, r, uid, id)
	if !ok {
		return
	}
	switch method {
	case http.MethodHead:
		m.offset(w, r, media)
	case http.MethodPatch:
		if m.enter(w, uid) {
			defer m.leave(uid)
			m.patch(w, r, media)
		}
	case http.MethodDelete:
		m.terminate(w, r, media)
	}
}

// own returns an upload of a user. If it returns false, the request has its response.
func (m *Media) own(w http.ResponseWriter, r *http.Request, uid chat.UID, id string) (chat.Media, bool) {
	err := chat.ErrNotFound
	var media chat.Media
	if validID(id) {
		media, _, err = m.store.Media(r.Context(), id)
	}
	switch {
	case errors.Is(err, chat.ErrNotFound), err == nil && (media.Owner != uid || media.Until > 0 && media.Until <= m.store.Now()):
		m.refuse(w, http.StatusNotFound, "", im.CodeUploadFailed, "there is no such upload")
		return media, false
	case err != nil:
		m.fail(w, err)
		return media, false
	}
	return media, true
}

var (
	errOpen = errors.New("too many open uploads")
	errDay  = errors.New("too many bytes were uploaded today")
	errKept = errors.New("too many bytes are kept")
)

// create makes an upload.
func (m *Media) create(w http.ResponseWriter, r *http.Request, uid chat.UID) {
	size, ok := number(r.Header.Get("Upload-Length"))
	meta, err := metadata(r.Header.Get("Upload-Metadata"))
	kind, known := kindIn(meta)
	switch {
	case !ok:
		m.refuse(w, http.StatusBadRequest, "", 0, "Upload-Length is not a number of bytes")
		return
	case err != nil:
		m.refuse(w, http.StatusBadRequest, "", 0, err.Error())
		return
	case !known:
		m.refuse(w, http.StatusBadRequest, "", 0, "kind is not image, sound, video or file")
		return
	case size == 0:
		m.refuse(w, http.StatusBadRequest, refusedSize, im.CodeFileEmpty, "the file is empty")
		return
	case size > kind.MostMedia():
		m.refuse(w, http.StatusRequestEntityTooLarge, refusedSize, im.CodeFileTooLarge, "the file is too large")
		return
	case !m.room(size):
		m.refuse(w, http.StatusInsufficientStorage, refusedDisk, im.CodeUploadFailed, "the server's disk has no room for it")
		return
	}
	media := chat.Media{ID: newMediaID(), Owner: uid, Kind: kind, Size: size}
	err = m.store.Update(r.Context(), []chat.Key{{UID: uid}}, func(tx chat.Tx) error {
		use, err := tx.MediaUse(uid, tx.Now()-(24*time.Hour).Milliseconds())
		switch {
		case err != nil:
			return err
		case use.Open >= m.cfg.OpenPerUser:
			return errOpen
		case m.cfg.PerDay > 0 && use.Since+size > m.cfg.PerDay:
			return errDay
		case m.cfg.PerUser > 0 && use.Kept+size > m.cfg.PerUser:
			return errKept
		}
		media.Until = tx.Now() + m.cfg.Unused.Milliseconds()
		return tx.AddMedia(media)
	})
	switch {
	case errors.Is(err, errOpen):
		m.refuse(w, http.StatusTooManyRequests, refusedOpen, im.CodeUploadFailed, err.Error())
	case errors.Is(err, errDay):
		m.refuse(w, http.StatusInsufficientStorage, refusedDay, im.CodeUploadFailed, err.Error())
	case errors.Is(err, errKept):
		m.refuse(w, http.StatusInsufficientStorage, refusedKept, im.CodeUploadFailed, err.Error())
	case err != nil:
		m.fail(w, err)
	default:
		w.Header().Set("Location", uploadPrefix+media.ID)
		expires(w, media)
		w.WriteHeader(http.StatusCreated)
	}
}

// expires says until when there is an upload.
func expires(w http.ResponseWriter, media chat.Media) {
	if media.Until > 0 {
		w.Header().Set("Upload-Expires", time.UnixMilli(media.Until).UTC().Format(http.TimeFormat))
	}
}

// arrived returns how much of an upload there is: what was written is there after a crash of the server.
func (m *Media) arrived(media chat.Media) (int64, error) {
	if media.Done {
		return media.Size, nil
	}
	return m.folder.arrived(partialOf(media.ID))
}

// offset answers how much has arrived. An upload that has arrived as a whole is done when this is answered: a server may have been killed in between.
func (m *Media) offset(w http.ResponseWriter, r *http.Request, media chat.Media) {
	n, err := m.arrived(media)
	if err == nil && !media.Done && n >= media.Size {
		var release func()
		if _, release, err = m.hold(r.Context(), media.ID, nil); err == nil {
			defer release()
			again, ok := m.own(w, r, media.Owner, media.ID)
			if !ok {
				return
			}
			if media = again; !media.Done {
				err = m.finish(r.Context(), media)
			}
		}
	}
	if err != nil {
		m.ended(w, err)
		return
	}
	w.Header().Set("Upload-Offset", strconv.FormatInt(n, 10))
	w.Header().Set("Upload-Length", strconv.FormatInt(media.Size, 10))
	expires(w, media)
	w.WriteHeader(http.StatusOK)
}

// ended responds to the request that should have finished an upload.
func (m *Media) ended(w http.ResponseWriter, err error) {
	if errors.Is(err, chat.ErrNotFound) { // it was ended while it finished
		m.refuse(w, http.StatusNotFound, "", im.CodeUploadFailed, "there is no such upload")
		return
	}
	m.fail(w, err)
}

var (
	errFenced = errors.New("another request goes on with the upload")
	errDisk   = errors.New("the server's disk has no room for it")
	errMore   = errors.New("there is more than Upload-Length")
)

// fenced ends reading once another request has asked for that.
type fenced struct {
	body *body
	end  atomic.Bool
}

// Read looks at end after the deadline was set: the other request first sets end, and then a deadline that has passed.
func (f *fenced) Read(p []byte) (int, error) {
	if err := f.body.begin(); err != nil {
		return 0, err
	}
	if f.end.Load() {
		return 0, errFenced
	}
	n, err := f.body.Read(p)
	if err != nil && f.end.Load() {
		err = errFenced
	}
	return n, err
}

// patch takes the next part of an upload. What has arrived of it stays, whatever happens to the connection, except of a part with a checksum.
func (m *Media) patch(w http.ResponseWriter, r *http.Request, media chat.Media) {
	at, ok := number(r.Header.Get("Upload-Offset"))
	sum, known := checksumIn(r.Header.Get("Upload-Checksum"))
	switch {
	case r.Header.Get("Content-Type") != patchType:
		m.refuse(w, http.StatusUnsupportedMediaType, "", 0, "Content-Type must be "+patchType)
		return
	case !ok:
		m.refuse(w, http.StatusBadRequest, "", 0, "Upload-Offset is not a number of bytes")
		return
	case !known:
		m.refuse(w, http.StatusBadRequest, "", 0, "Upload-Checksum is malformed, or of an unknown algorithm")
		return
	}
	rc := http.NewResponseController(w)
	from := &fenced{body: paced(w, r, m.cfg.Pace)}
	keep, release, err := m.hold(r.Context(), media.ID, func() {
		from.end.Store(true)
		rc.SetReadDeadline(time.Unix(1, 0))
	})
	if err != nil {
		m.fail(w, err)
		return
	}
	defer release()
	media, ok = m.own(w, r, media.Owner, media.ID) // it may have changed while this request waited
	if !ok {
		return
	}
	n, err := m.arrived(media)
	switch {
	case err != nil:
		m.fail(w, err)
		return
	case at != n:
		m.refuse(w, http.StatusConflict, "", 0, "Upload-Offset is not where the upload is")
		return
	case r.ContentLength > media.Size-n:
		m.refuse(w, http.StatusRequestEntityTooLarge, refusedSize, im.CodeFileTooLarge, errMore.Error())
		return
	}
	if n < media.Size {
		n, err = m.take(media, from, n, sum)
	}
	keep()
	if from.end.Load() || slow(err) {
		// The deadline of a connection whose request was interrupted ends the contexts of all requests that come after it.
		w.Header().Set("Connection", "close")
	}
	if err == nil && n == media.Size && !media.Done {
		rc.SetReadDeadline(noTime)
		err = m.finish(r.Context(), media)
	}
	rc.SetWriteDeadline(time.Now().Add(m.cfg.Pace.Window)) // the one of the server counts from the beginning of the request
	switch {
	case err == nil:
		w.Header().Set("Upload-Offset", strconv.FormatInt(n, 10))
		expires(w, media)
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, errChecksum):
		m.refuse(w, statusChecksum, refusedChecksum, 0, err.Error())
	case errors.Is(err, errMore):
		m.refuse(w, http.StatusRequestEntityTooLarge, refusedSize, im.CodeFileTooLarge, err.Error())
	case errors.Is(err, errDisk), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		m.refuse(w, http.StatusInsufficientStorage, refusedDisk, im.CodeUploadFailed, errDisk.Error())
	case errors.Is(err, errFenced):
		m.refuse(w, http.StatusConflict, "", 0, err.Error())
	case slow(err):
		m.refuse(w, http.StatusRequestTimeout, refusedSlow, im.CodeUploadFailed, "too slow")
	case errors.Is(err, errBody):
		panic(http.ErrAbortHandler) // the connection was lost
	default:
		m.ended(w, err)
	}
}

var (
	errChecksum = errors.New("the part has another checksum")
	errBody     = errors.New("media: the body of a request was cut off")
)

// roomEvery is after how many bytes the room on the disk is looked at again.
const roomEvery = 1 << 20

// take appends a part to what has arrived, and returns how much that is then.
func (m *Media) take(media chat.Media, from io.Reader, at int64, sum checksum) (int64, error) {
	f, err := os.OpenFile(m.folder.partial(partialOf(media.ID)), os.O_WRONLY|os.O_CREATE, private.Mode)
	if err != nil {
		return at, err
	}
	n, err := m.takeTo(f, media, from, at, sum)
	if err == nil && !sum.good() {
		err = errChecksum
	}
	if err != nil && sum.hash != nil {
		err = errors.Join(err, f.Truncate(at))
		n = at
	}
	return n, errors.Join(err, f.Close())
}

func (m *Media) takeTo(f *os.File, media chat.Media, from io.Reader, at int64, sum checksum) (int64, error) {
	buf := make([]byte, 64<<10)
	look := int64(0)
	for {
		k, err := from.Read(buf)
		if k > 0 {
			m.metrics.bytes.WithLabelValues("up").Add(float64(k))
		}
		if more := media.Size - at; int64(k) > more {
			return at, errMore
		}
		if look -= int64(k); look < 0 {
			if look = roomEvery; !m.room(roomEvery) {
				return at, errDisk
			}
		}
		if k > 0 {
			if sum.hash != nil {
				sum.hash.Write(buf[:k])
			}
			wrote, err := f.WriteAt(buf[:k], at)
			at += int64(wrote)
			if err != nil {
				return at, err
			}
		}
		switch {
		case err == io.EOF:
			return at, nil
		case err != nil && !errors.Is(err, errFenced) && !slow(err):
			return at, errBody
		case err != nil:
			return at, err
		}
	}
}

// terminate ends an upload, whether it is done or not.
func (m *Media) terminate(w http.ResponseWriter, r *http.Request, media chat.Media) {
	_, release, err := m.hold(r.Context(), media.ID, func() {})
	if err == nil {
		defer release()
		err = m.drop(r.Context(), media.ID, math.MaxInt64)
	}
	if err != nil {
		m.ended(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// drop ends an upload that ends by a time.
func (m *Media) drop(ctx context.Context, id string, by int64) error {
	spent, err := m.folder.arrived(partialOf(id))
	if err != nil {
		return err
	}
	if err := m.store.Update(ctx, nil, func(tx chat.Tx) error { return tx.DropMedia(id, by, spent) }); err != nil {
		return err
	}
	return remove(m.folder.partial(partialOf(id)))
}

// finish makes files of an upload that has arrived as a whole, and then the upload done. It goes on when the client has disconnected. The caller holds the
// upload.
func (m *Media) finish(ctx context.Context, media chat.Media) (err error) {
	ctx = context.WithoutCancel(ctx)
	var made []string // to be deleted if the upload does not become done
	defer func() { m.discard(made) }()
	arrived, err := os.Open(m.folder.partial(partialOf(media.ID)))
	if err != nil {
		return err
	}
	defer arrived.Close()
	original, err := m.folder.Put(io.LimitReader(arrived, media.Size))
	if err != nil {
		return err
	}
	made = append(made, original.File)
	head := make([]byte, sniffed)
	k, err := arrived.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return err
	}
	first := chat.MediaPart{Hash: original.Hash, File: original.File, Size: original.Size, Type: typeOf(head[:k])}
	parts := []chat.MediaPart{first}
	if media.Kind == chat.MediaImage {
		s, err := m.makeSizes(ctx, first)
		if err != nil {
			return err
		}
		parts[0].Width, parts[0].Height = int64(s.original.width), int64(s.original.height)
		for part, s := range map[int32]sized{chat.PartLarge: s.large, chat.PartThumb: s.thumb} {
			p := first
			if s.data != nil {
				f, err := m.folder.Put(bytes.NewReader(s.data))
				if err != nil {
					return err
				}
				made = append(made, f.File)
				p = chat.MediaPart{Hash: f.Hash, File: f.File, Size: f.Size, Type: s.kind}
			}
			p.Part, p.Width, p.Height = part, int64(s.width), int64(s.height)
			parts = append(parts, p)
		}
	}
	var twice []string
	err = m.store.Update(ctx, nil, func(tx chat.Tx) (err error) {
		twice, err = tx.EndMedia(media.ID, tx.Now()+m.cfg.Unused.Milliseconds(), parts)
		return err
	})
	if err == nil {
		made = nil
		go m.discard(twice) // the response does not wait for it: nobody learns whether a file was known
	}
	// What has arrived is not needed any more, also if the upload was ended meanwhile.
	if err == nil || errors.Is(err, chat.ErrNotFound) {
		err = errors.Join(err, remove(arrived.Name()))
	}
	return err
}

// discard deletes files that were made in vain. What a crash leaves, the sweep finds.
func (m *Media) discard(files []string) {
	for _, file := range files {
		if err := m.folder.Delete(file); err != nil {
			m.cfg.Log.Warn("media: a file cannot be deleted", "err", err)
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
	out, err := makeSizes(ctx, original.Type, data)
	if err != nil {
		m.metrics.images.WithLabelValues("original").Inc()
		out.large, out.thumb = out.original, out.original
		return out, nil
	}
	m.metrics.images.WithLabelValues("made").Inc()
	return out, nil
}
