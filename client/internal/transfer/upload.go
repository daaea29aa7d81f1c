package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidings-im/tidings/client/internal/ws"
	"github.com/tidings-im/tidings/im"
)

// Uploaded is a file that the server has.
type Uploaded struct {
	ID   string // the right to read it; it stands in no log and no error
	Size int64
}

// Parts of an upload: the server takes one as a whole or not at all. They grow while they take less than shortPart, and are the smallest again after one that
// was not taken.
const (
	leastPart = 16 << 10
	firstPart = 256 << 10
	mostPart  = 1 << 20
	shortPart = time.Second
)

var partBuffers = sync.Pool{New: func() any { b := make([]byte, mostPart); return &b }}

// Upload uploads files, one after the other, as one transfer: a film and its snapshot, for example.
//
// progress gets the sum of what the server has confirmed, and of all sizes: first 0, then more each time, and all of it last, before Upload returns without an
// error. After an error or the end of ctx it gets no more.
//
// When Upload fails or ctx ends before everything is there, none of it stays: in the background, the server is asked to delete the uploads (Close waits for
// that). If Upload returns no error, the files are there, even if ctx has ended.
//
// The codes are those of Check, and 7007 if a file changes meanwhile, 6006 if the session may not upload, 6008 if the server refuses it, has no room, or cannot
// be reached for too long.
func (t *Transfers) Upload(ctx context.Context, files []File, progress func(sent, total int64)) ([]Uploaded, error) {
	run, end, err := t.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	u := &upload{t: t, progress: progress, told: -1}
	done, err := u.all(run, files)
	if err != nil {
		for _, id := range u.ids {
			t.discard(id)
		}
		return nil, t.outcome(ctx, err, im.CodeUploadFailed)
	}
	return done, nil
}

// Delete has the server delete files that were uploaded and that nothing needs, in the background, as Upload does after an error.
func (t *Transfers) Delete(files []Uploaded) {
	_, end, err := t.begin(context.Background())
	if err != nil {
		return // what is still there expires
	}
	defer end()
	for _, f := range files {
		t.discard(f.ID)
	}
}

// upload is one call of Upload.
type upload struct {
	t        *Transfers
	http     ws.HTTP
	tries    tries
	progress func(sent, total int64)
	total    int64
	before   int64 // of files that are done
	told     int64
	ids      []string // what there is at the server, as far as it is known
	part     int64    // size of the next part
}

func (u *upload) all(ctx context.Context, files []File) (done []Uploaded, err error) {
	sources := make([]*source, len(files))
	for i, f := range files {
		s := &source{file: f}
		if err := s.open(); err != nil {
			return nil, err
		}
		s.close() // others may be before it
		u.total += s.size
		sources[i] = s
	}
	u.tell(ctx, 0)
	leave, err := turn(ctx, u.t.ups)
	if err != nil {
		return nil, err
	}
	defer leave()
	u.http = u.t.http()
	defer u.http.Close()
	u.part = firstPart
	buf := partBuffers.Get().(*[]byte)
	defer partBuffers.Put(buf)
	for i, s := range sources {
		id, err := u.file(ctx, s, *buf)
		if err != nil {
			return nil, err
		}
		u.before += s.size
		if i < len(sources)-1 {
			u.tell(ctx, u.before)
		}
		done = append(done, Uploaded{id, s.size})
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	u.tell(context.Background(), u.total) // it is all there, whatever becomes of ctx
	return done, nil
}

// tell reports progress, if it is any.
func (u *upload) tell(ctx context.Context, sent int64) {
	if ctx.Err() == nil && u.progress != nil && sent > u.told {
		u.told = sent
		u.progress(sent, u.total)
	}
}

// errGone means that the server does not know the upload any more.
var errGone = im.Errorf(im.CodeUploadFailed, "the server has ended the upload")

// file uploads a file: a second time from the beginning if the server has lost the first.
func (u *upload) file(ctx context.Context, s *source, buf []byte) (id string, err error) {
	if err := s.open(); err != nil {
		return "", err
	}
	defer s.close()
	if err := s.measure(ctx, buf); err != nil {
		return "", err
	}
	u.tries = u.t.tries()
	for range 2 {
		if id, err = u.create(ctx, s); err != nil {
			return "", err
		}
		u.ids = append(u.ids, id)
		if err = u.send(ctx, s, id, buf); err != errGone {
			return id, err
		}
		u.ids = slices.DeleteFunc(u.ids, func(gone string) bool { return gone == id })
	}
	return "", err
}

// create makes an upload at the server. When ctx ends, the request goes on in the background, and what it has made is deleted.
func (u *upload) create(ctx context.Context, s *source) (string, error) {
	header := []string{"Upload-Length", strconv.FormatInt(s.size, 10), "Upload-Metadata", "kind " + base64.StdEncoding.EncodeToString([]byte(s.file.Kind))}
	for {
		id, err := u.post(ctx, header)
		if err == nil {
			return id, nil
		}
		if err = u.retry(ctx, err); err != nil {
			return "", err
		}
	}
}

func (u *upload) post(ctx context.Context, header []string) (string, error) {
	type result struct {
		id  string
		err error
	}
	made := make(chan result, 1)
	u.t.all.Go(func() {
		h := u.t.http() // not the upload's connection, which ends with ctx
		defer h.Close()
		ctx, cancel := context.WithTimeout(u.t.hard, u.t.cfg.Request)
		defer cancel()
		resp, err := u.t.tus(ctx, &h, "POST", "", nil, header...)
		if err != nil {
			made <- result{"", err}
			return
		}
		location := resp.Header.Get("Location") // only its end: the server may not know its own address
		id := location[strings.LastIndexByte(location, '/')+1:]
		if !isPlain(id) {
			made <- result{"", im.Errorf(im.CodeUploadFailed, "the server names no upload")}
			return
		}
		made <- result{id, nil}
	})
	select {
	case r := <-made:
		return r.id, r.err
	case <-ctx.Done():
		u.t.after(func() {
			if r := <-made; r.err == nil {
				u.t.discard(r.id)
			}
		})
		return "", ctx.Err()
	}
}

// retry waits before another attempt after an error that may pass, and returns every other one.
func (u *upload) retry(ctx context.Context, err error) error {
	var known *im.Error
	var refused *refusal
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &refused) && !refused.passing() && refused.status != 409:
		return refused.failed()
	}
	if err = u.tries.again(ctx, err); errors.As(err, &refused) {
		return refused.failed()
	}
	return err
}

// failed returns the error of an upload that the server refuses.
func (r *refusal) failed() error {
	switch {
	case r.status == 413:
		return im.Errorf(im.CodeFileTooLarge, "the file is too large for the server")
	case r.code != 0:
		return im.Errorf(r.code, "the upload is refused: %v", r)
	}
	return im.Errorf(im.CodeUploadFailed, "the upload is refused: %v", r)
}

// send sends the parts of a file. Afterwards the server has all of it, and the file is still what it was.
func (u *upload) send(ctx context.Context, s *source, id string, buf []byte) error {
	s.at = 0
	s.sum.Reset()
	most := int64(0) // what the server had at most
	at, known := int64(0), true
	var part []byte // what begins at s.at and may have arrived
	for {
		err := ctx.Err()
		switch {
		case err != nil:
			return err
		case !known:
			at, err = u.offset(ctx, s, id)
		case at < s.size:
			part = buf[:min(u.part, s.size-at)]
			if err := s.read(part, at); err != nil {
				return err
			}
			at, err = u.patch(ctx, id, at, part)
		}
		if err == nil {
			known = true
			if err := s.confirm(ctx, at, part); err != nil {
				return err
			}
			part = nil
			if at > most {
				u.tries.moved(at - most)
				most = at
			}
			if at == s.size {
				return s.same()
			}
			u.tell(ctx, u.before+at)
			continue
		}
		if known {
			u.part = leastPart
		}
		known = false
		var refused *refusal
		if errors.As(err, &refused) && (refused.status == 404 || refused.status == 410) {
			return errGone
		}
		if err := u.retry(ctx, err); err != nil {
			return err
		}
	}
}

// patch sends a part, and returns where the upload is then.
func (u *upload) patch(ctx context.Context, id string, at int64, part []byte) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, u.t.cfg.Request)
	defer cancel()
	sum := sha256.Sum256(part)
	begun := time.Now()
	resp, err := u.t.tus(ctx, &u.http, "PATCH", id, part, "Content-Type", "application/offset+octet-stream", "Upload-Offset", strconv.FormatInt(at, 10),
		"Upload-Checksum", "sha256 "+base64.StdEncoding.EncodeToString(sum[:]))
	if err != nil {
		return at, err
	}
	end := at + int64(len(part))
	if n, err := strconv.ParseInt(resp.Header.Get("Upload-Offset"), 10, 64); err != nil || n != end {
		return at, &refusal{status: 409}
	}
	if time.Since(begun) < shortPart {
		u.part = min(2*u.part, mostPart)
	}
	return end, nil
}

// offset asks where the upload is.
func (u *upload) offset(ctx context.Context, s *source, id string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, u.t.cfg.Request)
	defer cancel()
	resp, err := u.t.tus(ctx, &u.http, "HEAD", id, nil)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(resp.Header.Get("Upload-Offset"), 10, 64)
	if err != nil || n < 0 || n > s.size {
		return 0, im.Errorf(im.CodeUploadFailed, "the server names no offset of the upload")
	}
	return n, nil
}

// discard has the server delete an upload, in the background.
func (t *Transfers) discard(id string) {
	t.after(func() {
		ctx, cancel := context.WithTimeout(t.hard, t.cfg.End)
		defer cancel()
		leave, err := turn(ctx, t.ends)
		if err != nil {
			return
		}
		defer leave()
		h := t.http()
		defer h.Close()
		for r := t.tries(); ; {
			_, err := t.tus(ctx, &h, "DELETE", id, nil)
			var refused *refusal
			if err == nil || errors.As(err, &refused) && !refused.passing() || r.again(ctx, err) != nil {
				return // what is still there expires
			}
		}
	})
}

// after runs what follows on a transfer that has failed, in the background.
func (t *Transfers) after(f func()) {
	t.mu.Lock()
	if t.follows++; t.follows == 1 {
		t.settled = make(chan struct{})
	}
	t.mu.Unlock()
	t.all.Go(func() {
		defer func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			if t.follows--; t.follows == 0 {
				close(t.settled)
			}
		}()
		f()
	})
}

// Settled waits until the server has deleted what was to be deleted, or ctx ends.
func (t *Transfers) Settled(ctx context.Context) {
	t.mu.Lock()
	settled := t.settled
	t.mu.Unlock()
	if settled == nil {
		return
	}
	select {
	case <-settled:
	case <-ctx.Done():
	}
}

// http returns a connection to the server for one goroutine.
func (t *Transfers) http() ws.HTTP { return ws.HTTP{Dialer: t.own, Idle: t.cfg.Request} }

// tus makes a request of the tus protocol about an upload. The error is a refusal if the server responds with anything but success.
func (t *Transfers) tus(ctx context.Context, h *ws.HTTP, method, id string, body []byte, header ...string) (*ws.Response, error) {
	resp, err := t.ask(ctx, h, ws.Request{Method: method, URL: t.at("upload/" + id), Body: body, Header: append([]string{"Tus-Resumable", "1.0.0"}, header...)})
	if err != nil {
		return nil, err
	}
	drain(resp)
	if code := resp.Answer.Code; code < 200 || code > 299 {
		return nil, refused(resp)
	}
	return resp, nil
}
