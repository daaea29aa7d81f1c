package media

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/rate"
)

var noTime time.Time

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
	uid, ok := m.caller(w, r, "", true)
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
	media, err := m.find(r.Context(), uid, id)
	if m.ended(w, err) {
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

// find returns an upload of a user; ErrNotFound if there is none, or if its time is over.
func (m *Media) find(ctx context.Context, uid chat.UID, id string) (chat.Media, error) {
	if !im.ValidMediaID(id) {
		return chat.Media{}, chat.ErrNotFound
	}
	media, _, err := m.store.Media(ctx, id)
	if err == nil && (media.Owner != uid || media.Until > 0 && media.Until <= m.store.Now()) {
		err = chat.ErrNotFound
	}
	return media, err
}

var (
	errOpen     = errors.New("too many open uploads")
	errDay      = errors.New("too many bytes were uploaded today")
	errKept     = errors.New("too many bytes are kept")
	errMore     = errors.New("there is more than Upload-Length")
	errOffset   = errors.New("Upload-Offset is not where the upload is")
	errChecksum = errors.New("the part has another checksum")
	errBody     = errors.New("media: the body of a request was cut off")
)

// ended responds to a request about an upload that has failed, whatever the reason. It returns false if there is no error.
func (m *Media) ended(w http.ResponseWriter, err error) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, errBody):
		panic(http.ErrAbortHandler) // the connection was lost
	case errors.Is(err, chat.ErrNotFound):
		m.refuse(w, http.StatusNotFound, "", im.CodeUploadFailed, "there is no such upload")
	case errors.Is(err, errOpen):
		m.refuse(w, http.StatusTooManyRequests, refusedOpen, im.CodeUploadFailed, errOpen.Error())
	case errors.Is(err, errDay):
		m.refuse(w, http.StatusInsufficientStorage, refusedDay, im.CodeUploadFailed, errDay.Error())
	case errors.Is(err, errKept):
		m.refuse(w, http.StatusInsufficientStorage, refusedKept, im.CodeUploadFailed, errKept.Error())
	case errors.Is(err, errDisk), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		m.refuse(w, http.StatusInsufficientStorage, refusedDisk, im.CodeUploadFailed, errDisk.Error())
	case errors.Is(err, errMore):
		m.refuse(w, http.StatusRequestEntityTooLarge, refusedSize, im.CodeFileTooLarge, errMore.Error())
	case errors.Is(err, errChecksum):
		m.refuse(w, statusChecksum, refusedChecksum, 0, errChecksum.Error())
	case errors.Is(err, errOffset):
		m.refuse(w, http.StatusConflict, "", 0, errOffset.Error())
	case errors.Is(err, errFenced):
		m.refuse(w, http.StatusConflict, "", 0, errFenced.Error())
	case slow(err):
		m.refuse(w, http.StatusRequestTimeout, refusedSlow, im.CodeUploadFailed, "too slow")
	default:
		m.fail(w, err)
	}
	return true
}

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
	case !m.mayCreate(uid):
		w.Header().Set("Retry-After", "1")
		m.refuse(w, http.StatusTooManyRequests, refusedRate, im.CodeUploadFailed, "too many uploads are created")
		return
	case !m.room(size):
		m.ended(w, errDisk)
		return
	}
	media := chat.Media{ID: newMediaID(), Owner: uid, Kind: kind, Size: size}
	for {
		err = m.store.Update(r.Context(), []chat.Key{{UID: uid}}, func(tx chat.Tx) error {
			use, err := tx.MediaUse(uid, tx.Now()-day)
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
		if errors.Is(err, errOpen) && m.giveWay(r.Context(), uid) {
			continue
		}
		break
	}
	if m.ended(w, err) {
		return
	}
	w.Header().Set("Location", uploadPrefix+media.ID)
	expires(w, media)
	w.WriteHeader(http.StatusCreated)
}

// day is a day in milliseconds.
const day = int64(24 * time.Hour / time.Millisecond)

// mayCreate limits how fast a user creates uploads.
func (m *Media) mayCreate(uid chat.UID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.creates[uid]
	if b == nil {
		b = &rate.Bucket{}
		m.creates[uid] = b
	}
	return b.Take(m.cfg.Creates, m.cfg.Now().UnixNano())
}

// lostAfter is how old an upload without a byte is that is taken for one whose client never got the answer.
const lostAfter = time.Minute

// giveWay ends the oldest upload of a user of which nothing has arrived: answers that were lost must not keep them from uploading for a day. It returns false if there
// is none.
func (m *Media) giveWay(ctx context.Context, uid chat.UID) bool {
	ids, err := m.store.OpenMediaOf(ctx, uid, m.store.Now()-lostAfter.Milliseconds(), m.cfg.OpenPerUser)
	if err != nil {
		return false // the limit is the answer
	}
	for _, id := range ids {
		if n, err := m.folder.arrived(partialOf(id)); err == nil && n == 0 && !m.busy(id) && m.drop(ctx, id, math.MaxInt64) == nil {
			return true
		}
	}
	return false
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

// offset answers how much has arrived. An upload that has arrived as a whole is done when this is answered: a server may have been killed in between. That is work
// like that of a part.
func (m *Media) offset(w http.ResponseWriter, r *http.Request, media chat.Media) {
	n, err := m.arrived(media)
	if err == nil && !media.Done && n >= media.Size {
		if !m.enter(w, media.Owner) {
			return
		}
		defer m.leave(media.Owner)
		var release func()
		if release, err = m.hold(r.Context(), media.ID, nil); err == nil {
			defer release()
			if media, err = m.find(r.Context(), media.Owner, media.ID); err == nil && !media.Done {
				err = m.finish(r.Context(), media)
			}
		}
		m.wait(w)
	}
	if m.ended(w, err) {
		return
	}
	w.Header().Set("Upload-Offset", strconv.FormatInt(n, 10))
	w.Header().Set("Upload-Length", strconv.FormatInt(media.Size, 10))
	expires(w, media)
	w.WriteHeader(http.StatusOK)
}

// wait gives a response its time: the deadline of the server counts from the beginning of the request.
func (m *Media) wait(w http.ResponseWriter) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(m.cfg.Pace.Window))
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
	from := fencedBody(w, r, m.cfg.Pace)
	release, err := m.hold(r.Context(), media.ID, from.fence)
	var n int64
	if err == nil {
		defer release()
		media, n, err = m.part(r, media, from, at, sum)
		m.keep(media.ID, from.fence)
		if err == nil && n == media.Size && !media.Done {
			http.NewResponseController(w).SetReadDeadline(noTime)
			err = m.finish(r.Context(), media)
		}
	}
	if from.over() || slow(err) {
		// The deadline of a connection whose request was interrupted ends the contexts of all requests that come after it.
		w.Header().Set("Connection", "close")
	}
	m.wait(w)
	if m.ended(w, err) {
		return
	}
	w.Header().Set("Upload-Offset", strconv.FormatInt(n, 10))
	expires(w, media)
	w.WriteHeader(http.StatusNoContent)
}

// part takes a part at an offset. It returns the upload, which may have changed while the request waited for its turn, and how much of it there is then.
func (m *Media) part(r *http.Request, media chat.Media, from io.Reader, at int64, sum checksum) (chat.Media, int64, error) {
	ctx := context.WithoutCancel(r.Context())
	again, err := m.find(ctx, media.Owner, media.ID)
	if err != nil {
		return media, 0, err
	}
	n, err := m.arrived(again)
	switch {
	case err != nil:
		return again, n, err
	case at != n:
		return again, n, errOffset
	case r.ContentLength > again.Size-n:
		return again, n, errMore
	case n == again.Size:
		return again, n, nil
	}
	n, lost, err := m.take(again, from, n, sum)
	if lost > 0 {
		if e := m.spend(ctx, again, lost); e != nil {
			return again, n, e
		}
	}
	// The upload may have ended meanwhile, here or at another server: then nothing of it stays.
	if _, e := m.find(ctx, media.Owner, media.ID); errors.Is(e, chat.ErrNotFound) {
		return again, 0, errors.Join(e, remove(m.folder.partial(partialOf(media.ID))))
	}
	return again, n, err
}

// take appends a part to what has arrived. It returns how much that is then, and how much of the part was thrown away.
func (m *Media) take(media chat.Media, from io.Reader, at int64, sum checksum) (n, lost int64, err error) {
	f, err := m.folder.write(partialOf(media.ID), 0)
	if err != nil {
		return at, 0, err
	}
	n, err = m.takeTo(f, media, from, at, sum)
	if err == nil && !sum.good() {
		err = errChecksum
	}
	if err != nil && sum.hash != nil {
		err = errors.Join(err, f.Truncate(at))
		n, lost = at, n-at
	}
	return n, lost, errors.Join(err, f.Close())
}

func (m *Media) takeTo(f *os.File, media chat.Media, from io.Reader, at int64, sum checksum) (int64, error) {
	buf := make([]byte, 64<<10)
	from = &roomy{m: m, from: from}
	for {
		k, err := from.Read(buf)
		if k > 0 {
			m.metrics.bytes.WithLabelValues("up").Add(float64(k))
		}
		if more := media.Size - at; int64(k) > more {
			return at, errMore
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
		case err != nil && !errors.Is(err, errFenced) && !errors.Is(err, errDisk) && !slow(err):
			return at, errBody
		case err != nil:
			return at, err
		}
	}
}

// spend counts bytes of a part that were written and thrown away. If that is more than a user may upload in a day, the upload ends: wrong checksums are no way to
// write without an end.
func (m *Media) spend(ctx context.Context, media chat.Media, n int64) error {
	if m.cfg.PerDay == 0 {
		return nil
	}
	var use chat.MediaUse
	if err := m.store.Update(ctx, []chat.Key{{UID: media.Owner}}, func(tx chat.Tx) (err error) {
		if err := tx.SpendMedia(media.Owner, n); err != nil {
			return err
		}
		use, err = tx.MediaUse(media.Owner, tx.Now()-day)
		return err
	}); err != nil || use.Since <= m.cfg.PerDay {
		return err
	}
	return errors.Join(errDay, m.drop(ctx, media.ID, math.MaxInt64))
}

// terminate ends an upload, whether it is done or not, and the requests that send parts of it.
func (m *Media) terminate(w http.ResponseWriter, r *http.Request, media chat.Media) {
	release, err := m.hold(r.Context(), media.ID, &fence{})
	if err == nil {
		defer release()
		err = m.drop(r.Context(), media.ID, math.MaxInt64)
	}
	if !m.ended(w, err) {
		w.WriteHeader(http.StatusNoContent)
	}
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
