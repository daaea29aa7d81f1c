package client

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tidings-im/tidings/client/internal/link"
	"github.com/tidings-im/tidings/client/internal/transfer"
	"github.com/tidings-im/tidings/im"
)

// upload is the files of a message on their way to the server. Those of a message to many users are uploaded once for all of them. It runs on a goroutine of its
// own, which belongs to the client; everything but run belongs to the engine.
type upload struct {
	c     *Client
	elems []elemFiles
	// batch: it is that of several sends. more: not all of them have come. waiting are those that wait; the application is told of the progress of first.
	batch   bool
	more    bool
	first   *waiting
	waiting []*waiting
	begun   bool
	stop    context.CancelFunc
	ended   chan struct{} // closed when its goroutine is done
	// over: it has ended, with what the server has of the files, in their order, or with err.
	over bool
	done []*uploaded
	err  *im.Error
	// used: a message with the files was sent, or will be.
	used bool
}

// elemFiles are the files of an element that have to be uploaded.
type elemFiles struct {
	index int
	image bool // its smaller sizes are made by the server
	files []transfer.File
}

// uploaded is a file that the server has. Only that of an image is described.
type uploaded struct {
	transfer.Uploaded
	desc *transfer.Description
}

// waiting is a send that waits for an upload. Then begin gets the message as it is to be sent, or fail an error.
type waiting struct {
	key   uploadKey
	cv    *conv
	m     *im.Message // as the application passed it
	tiny  uint64
	at    int64
	o     *outgoing // nil of a message to a live room, which is not kept
	begin func(sent *im.Message)
	fail  func(err *im.Error)
	of    *upload
	call  uint64
}

// uploadKey names a send that waits for an upload: its conversation, which need not be in the list, and what was drawn for it.
type uploadKey struct {
	conv       Conv
	clientTime uint64
	random     uint32
}

// join makes a send wait for the upload.
func (u *upload) join(w *waiting) {
	w.of = u
	if u.over {
		w.end(nil)
		return
	}
	if u.first == nil {
		u.first = w
	}
	u.waiting = append(u.waiting, w)
	u.c.convs.uploads[w.key] = w
	w.call = u.c.e.Await(func(err *im.Error) {
		w.leave()
		w.end(err)
		u.drop()
	})
	if !u.begun {
		u.c.e.Committed(u.start)
	}
}

// end continues with a send that does not wait any longer.
func (w *waiting) end(err *im.Error) {
	if err == nil {
		err = w.of.err
	}
	if err != nil {
		w.fail(err)
		return
	}
	w.of.used = true
	w.begin(w.of.fill(w.m, func(n int) *uploaded { return w.of.done[n] }))
}

// sending returns the send, nil if there is none.
func (w *waiting) sending() *outgoing {
	if w == nil {
		return nil
	}
	return w.o
}

// leave takes a send from those that wait. drop follows.
func (w *waiting) leave() {
	u := w.of
	delete(u.c.convs.uploads, w.key)
	u.waiting = slices.DeleteFunc(u.waiting, func(other *waiting) bool { return other == w })
}

// drop ends the upload if no send waits for it, and none will. What the server has of the files is deleted, if none was made with them.
func (u *upload) drop() {
	switch {
	case len(u.waiting) > 0 || u.more || u.used:
	case u.over:
		u.c.files.Delete(plain(u.done))
		u.done = nil
	case u.stop != nil:
		u.stop()
	}
}

// cancel ends a send that waits. What the server has of its files is deleted.
func (w *waiting) cancel(err *im.Error) {
	w.leave()
	w.of.c.e.Withdraw(w.call)
	w.fail(err)
	w.of.drop()
}

// failUploads ends all sends that wait for an upload, in the order of their calls, and returns the uploads.
func (b *conversations) failUploads(err *im.Error) (all []*upload) {
	ws := slices.SortedFunc(maps.Values(b.uploads), func(a, b *waiting) int { return cmp.Compare(a.call, b.call) })
	for _, w := range ws {
		w.cancel(err)
		if w.of.begun && !slices.Contains(all, w.of) {
			all = append(all, w.of)
		}
	}
	return all
}

// lastDelete is how long a logout waits until the server has deleted what was being uploaded: it does not do so after the end of the session.
const lastDelete = 2 * time.Second

// afterUploads calls f when uploads that have no sends any more have ended, and what the server had of them is deleted; or after a while.
func (c *Client) afterUploads(all []*upload, f func()) {
	if len(all) == 0 {
		f()
		return
	}
	call := c.e.Await(func(*im.Error) { f() })
	c.uploading.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), lastDelete)
		defer cancel()
		for _, u := range all {
			select {
			case <-u.ended:
			case <-ctx.Done():
			}
		}
		ran := make(chan struct{}) // behind the ends of uploads that had arrived as a whole
		if c.e.Post(func() { close(ran) }) {
			select {
			case <-ran:
			case <-ctx.Done():
			}
		}
		c.files.Settled(ctx)
		c.e.Post(func() { c.e.Settle(call) })
	})
}

// start begins the upload once the messages that wait for it are stored.
func (u *upload) start() {
	if u.begun || len(u.waiting) == 0 {
		return
	}
	u.begun, u.ended = true, make(chan struct{})
	var ctx context.Context
	ctx, u.stop = context.WithCancel(u.c.session.life)
	u.c.uploading.Go(func() {
		defer close(u.ended)
		defer u.stop()
		done, err := u.run(ctx)
		if !u.c.e.Post(func() { u.end(done, err) }) {
			u.c.files.Delete(plain(done))
		}
	})
}

// end ends the upload.
func (u *upload) end(done []*uploaded, err error) {
	u.over, u.done = true, done
	if err != nil {
		u.err = link.ErrorOf(err)
	}
	for _, w := range slices.Clone(u.waiting) {
		u.c.e.Settle(w.call)
	}
	u.drop()
}

func plain(done []*uploaded) (files []transfer.Uploaded) {
	for _, d := range done {
		files = append(files, d.Uploaded)
	}
	return files
}

// run uploads the files, after a look at all of them. When it fails, nothing of them stays at the server. It is the upload's goroutine.
func (u *upload) run(ctx context.Context) (done []*uploaded, err error) {
	defer func() {
		if err != nil {
			u.c.files.Delete(plain(done))
			done, err = nil, ofUpload(err)
		}
	}()
	for _, e := range u.elems {
		for _, f := range e.files {
			if _, err := transfer.Check(f); err != nil {
				return nil, err
			}
		}
	}
	for _, e := range u.elems {
		p := &progress{upload: u, index: uint32(e.index)}
		got, err := u.c.files.Upload(ctx, e.files, p.note)
		if err != nil {
			return done, err
		}
		for _, g := range got {
			done = append(done, &uploaded{Uploaded: g})
		}
		if !e.image {
			continue
		}
		image := done[len(done)-1]
		if image.desc, err = u.c.files.Describe(ctx, image.ID); err != nil {
			return done, err
		}
	}
	return done, ctx.Err()
}

// ofUpload returns the error of an upload instead of that of a download, which says nothing to one who uploads: of a server that keeps no files, or does not describe an
// image.
func ofUpload(err error) error {
	var e *im.Error
	if errors.As(err, &e) && (e.Code == im.CodeHTTP || e.Code == im.CodeDownloadFailed) {
		return im.Errorf(im.CodeUploadFailed, "%s", e.Desc)
	}
	return err
}

// progress is how far the files of one element are. While the application is slow, what it is told melts into the newest; the beginning stays.
type progress struct {
	upload *upload
	index  uint32

	mu     sync.Mutex
	untold []int64 // at most the beginning and the newest
}

// note records how much the server has. It is called by the upload's goroutine.
func (p *progress) note(sent, total int64) {
	p.mu.Lock()
	n := len(p.untold)
	melts := n > 0 && p.untold[n-1] > 0
	if melts {
		p.untold[n-1] = sent
	} else {
		p.untold = append(p.untold, sent)
	}
	p.mu.Unlock()
	if !melts {
		p.upload.c.e.Post(func() { p.tell(total) })
	}
}

// take returns what is told next.
func (p *progress) take() uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	sent := p.untold[0]
	p.untold = p.untold[1:]
	return uint32(sent)
}

// tell has the application told, unless the send does not wait any longer.
func (p *progress) tell(total int64) {
	c := p.upload.c
	w := p.upload.first
	if w == nil || c.convs.uploads[w.key] != w {
		p.take()
		return
	}
	m := clone(w.m)
	c.convs.fill(w.cv, m, c.cfg.UserID, w.tiny, w.key.clientTime, w.key.random, 0, w.at, im.MessageStatus_MESSAGE_STATUS_SENDING)
	c.e.Live(func() { c.ev.tellUploadProgress(m, p.index, p.take(), uint32(total)) })
}
