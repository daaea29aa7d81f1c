package client

import (
	"context"
	"strings"
	"sync"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/transfer"
	"github.com/tidings-im/tidings/im"
)

// DownloadElem downloads a file of an element, which its id and its URL name, to a path. A file at the path is replaced when the whole of the new one is there;
// until then the new one has a temporary name in the same folder, and after an error nothing of it is left. A file of the server is fetched with the session's
// token of now, whatever token the URL has; one of another server by its URL, without a token. It continues after a cut connection. When ctx or the session ends,
// the download ends too.
//
// progress, which may be nil, gets how many bytes have arrived and how many there are (0: nobody knows): first 0, then more each time, and all of them last, before
// DownloadElem returns without an error. It is called on the goroutine that waits. The download does not wait for it: a slow one gets the first, the newest and the
// last.
//
// The codes of the error are 6009 if the file does not exist any more or is not the right one, 6010 if its server responds with an error or cannot be reached for
// too long, 6015 if a download to the same path is running, 6022 if the path cannot be written, and 7009 if the session ended.
func (c *Client) DownloadElem(ctx context.Context, param *im.DownloadElemParam, path string, progress func(got, total int64)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	news, ended := make(chan struct{}, 1), make(chan error, 1)
	r := &reports{progress: progress, wake: func() { news <- struct{}{} }}
	c.download(ctx, engine.Within("DownloadElem", func(_ none, err error) { ended <- err }), param, path, r)
	for {
		select {
		case <-news:
			if ctx.Err() == nil {
				r.deliver()
			}
		case err := <-ended:
			if err == nil {
				r.deliver()
			}
			return err
		}
	}
}

// DownloadElemFunc is DownloadElem without waiting; progress is called where done is.
func (c *Client) DownloadElemFunc(param *im.DownloadElemParam, path string, progress func(got, total int64), done func(error)) {
	r := &reports{progress: progress}
	r.wake = func() { c.e.Post(func() { c.e.Live(r.deliver) }) }
	c.download(context.Background(), engine.LaterNone("DownloadElem", func(err error) {
		if err == nil {
			r.deliver()
		}
		done(err)
	}), param, path, r)
}

func (c *Client) download(asked context.Context, to caller[none], param *im.DownloadElemParam, path string, r *reports) {
	engine.Do(c.e, to, func(finish func(none, error)) {
		fail := engine.FailWith(finish)
		if c.Status() != LoggedIn {
			fail(notLoggedIn)
			return
		}
		f, err := c.fetch(param, path)
		if err != nil {
			fail(err)
			return
		}
		life := c.session.life
		if !c.downloads.start(func(client context.Context) {
			ctx, cancel := context.WithCancel(asked)
			defer cancel()
			defer context.AfterFunc(life, cancel)()
			defer context.AfterFunc(client, cancel)()
			err := c.files.Download(ctx, f, r.note)
			if err != nil && (life.Err() != nil || client.Err() != nil) {
				err = im.ErrInterrupted
			}
			c.e.Post(func() {
				finish(none{}, err)
				c.downloads.end()
			})
		}) {
			fail(im.ErrInterrupted)
		}
	})
}

// fetch returns what to download. What has the id of a file of the server is fetched by that, unless it has a URL of something else.
func (c *Client) fetch(p *im.DownloadElemParam, path string) (transfer.Fetch, error) {
	f := transfer.Fetch{ID: p.GetId(), URL: p.GetUrl(), Path: path}
	id, _, _ := strings.Cut(f.ID, "/")
	switch {
	case f.ID == "" && f.URL == "":
		return f, &im.Error{Code: im.CodeInvalidParameters, Desc: "msg_download_elem_param_id and msg_download_elem_param_url are empty"}
	case f.URL != "" && !(im.ValidMediaID(id) && strings.Contains(f.URL, "/media/"+id)): // whatever its token
		f.ID = ""
	}
	return f, nil
}

// downloads are the running downloads of a client. Close waits for them, and so does a logout.
type downloads struct {
	run  context.Context // ends with close
	stop context.CancelFunc

	mu     sync.Mutex
	closed bool
	all    sync.WaitGroup

	// Below: engine.
	open  int
	after []func() // to run when none is open
}

// start runs f on a goroutine of its own, with a context that ends when the client is closed. At the end f posts end to the engine. It reports false, and f does
// not run, if the client is closed. It runs on the engine.
func (d *downloads) start(f func(ctx context.Context)) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.open++
	d.all.Go(func() { f(d.run) })
	return true
}

// end counts a download that has ended. It runs on the engine.
func (d *downloads) end() {
	if d.open--; d.open > 0 {
		return
	}
	after := d.after
	d.after = nil
	for _, f := range after {
		f()
	}
}

// whenEnded runs f on the engine when no download is running.
func (d *downloads) whenEnded(f func()) {
	if d.open == 0 {
		f()
		return
	}
	d.after = append(d.after, f)
}

// close ends all downloads, and waits until their files are removed and their results posted. No other one starts. Any goroutine may call it, more than once.
func (d *downloads) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.stop()
	d.all.Wait()
}

// reports are calls of a progress function that have not been made. There are at most two: the first one, and the newest.
type reports struct {
	progress func(got, total int64)
	// wake makes deliver run soon. It is not called again before that.
	wake func()

	mu      sync.Mutex
	pending []report
	woken   bool
}

type report struct{ got, total int64 }

// note adds a call, or replaces the newest one.
func (r *reports) note(got, total int64) {
	if r.progress == nil {
		return
	}
	r.mu.Lock()
	if n := len(r.pending); n > 0 && r.pending[n-1].got > 0 {
		r.pending = r.pending[:n-1]
	}
	r.pending = append(r.pending, report{got, total})
	wake := !r.woken
	r.woken = true
	r.mu.Unlock()
	if wake {
		r.wake()
	}
}

// deliver makes the calls. It runs on one goroutine at a time.
func (r *reports) deliver() {
	r.mu.Lock()
	pending := r.pending
	r.pending, r.woken = nil, false
	r.mu.Unlock()
	for _, p := range pending {
		r.progress(p.got, p.total)
	}
}
