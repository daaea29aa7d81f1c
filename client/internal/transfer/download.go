package transfer

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tidings-im/tidings/client/internal/ws"
	"github.com/tidings-im/tidings/im"
)

// Fetch is what to download, and to where.
type Fetch struct {
	// ID is the id of a file of the server, as in an element: "abc", or "abc/large" and "abc/thumb" for smaller sizes of an image.
	ID string
	// URL is used if there is no ID. One of the server's is fetched like an ID, with the token that is good; any other without a token.
	URL string
	// Path is where the file is put. If there is one, it is replaced when the whole of the new one is there.
	Path string
	// Size is how many bytes the file has; 0 or less: nobody knows.
	Size int64
	// Hash is its SHA-256 in hexadecimal; "": nobody knows. For a file of the server, the one that the server names is compared.
	Hash string
}

// Steps of progress: a call after so many bytes, or when there are more after so long.
const (
	stepBytes = 256 << 10
	stepTime  = 200 * time.Millisecond
)

var (
	errTarget   = &im.Error{Code: im.CodeFileIO, Desc: "the file cannot be written"}
	errTwice    = &im.Error{Code: im.CodeInProgress, Desc: "a download to this path is running"}
	errAddress  = &im.Error{Code: im.CodeHTTP, Desc: "the address of the file is not one of http or https"}
	errNoFile   = &im.Error{Code: im.CodeDownloadFailed, Desc: "the file does not exist any more"}
	errSize     = &im.Error{Code: im.CodeDownloadFailed, Desc: "the file has another size"}
	errHash     = &im.Error{Code: im.CodeDownloadFailed, Desc: "the file has another content"}
	errRedirect = &im.Error{Code: im.CodeHTTP, Desc: "the server redirects too often, or to something that is not to be followed"}
	errEncoded  = &im.Error{Code: im.CodeHTTP, Desc: "the server sends the file compressed"}
)

// Download downloads a file: into a temporary one in the folder of the target, which becomes the target when it has the right size and hash and is on the
// disk. After an error or the end of ctx nothing is left.
//
// progress gets how many bytes have arrived and how many there are (0 while that is not known): first 0, then more each time, and all of them last, before
// Download returns without an error. If Download returns no error, the target is there, even if ctx has ended.
//
// The codes are 6009 if the file does not exist any more or is another one, 6010 if the server responds with an error or cannot be reached for too long, 6015
// if a download to the same path is running, 6022 if the target cannot be written.
func (t *Transfers) Download(ctx context.Context, f Fetch, progress func(got, total int64)) error {
	run, end, err := t.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	return t.outcome(ctx, t.download(run, f, progress), im.CodeHTTP)
}

func (t *Transfers) download(ctx context.Context, f Fetch, progress func(got, total int64)) error {
	f.Size = max(f.Size, 0)
	d := &download{t: t, Fetch: f, progress: progress, told: -1, sum: sha256.New(), tries: t.tries()}
	var err error
	switch d.at, err = url.Parse(f.URL); {
	case f.ID != "" && !isID(f.ID):
		return errNoFile
	case f.ID != "":
		d.at = t.at(f.ID)
	case err != nil || !web(d.at):
		return errAddress
	}
	if d.ours = t.ours(d.at); d.ours {
		d.at.RawQuery = "" // of another time
	}
	if d.Path, err = filepath.Abs(f.Path); err != nil || f.Path == "" {
		return errTarget
	}
	if !t.claim(d.Path) {
		return errTwice
	}
	defer t.unclaim(d.Path)
	if info, err := os.Stat(d.Path); err == nil && !info.Mode().IsRegular() || err != nil && !errors.Is(err, fs.ErrNotExist) { // a name that is too long, for example
		return errTarget
	}
	if f.Size > 0 {
		d.tell(ctx, 0)
	}
	leave, err := turn(ctx, t.downs)
	if err != nil {
		return err
	}
	defer leave()
	return d.toTarget(ctx)
}

// web reports whether an address is one that is fetched.
func web(u *url.URL) bool {
	return (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil && !strings.ContainsFunc(u.Host, func(r rune) bool { return r > '~' })
}

func (t *Transfers) claim(path string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.paths[path] {
		return false
	}
	t.paths[path] = true
	return true
}

func (t *Transfers) unclaim(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.paths, path)
}

// download is one call of Download.
type download struct {
	Fetch
	t        *Transfers
	at       *url.URL
	ours     bool // at is the server's, and gets the token
	tries    tries
	progress func(got, total int64)
	told     int64
	toldAt   time.Time

	file *os.File
	sum  hash.Hash
	got  int64 // in the file, and in sum
	most int64 // of got so far
	// total is the size; 0: nobody knows. tag names the content that got is of: a range is only asked for if there is one.
	total int64
	tag   string
}

// toTarget downloads into a temporary file and renames it.
func (d *download) toTarget(ctx context.Context) (err error) {
	dir := filepath.Dir(d.Path)
	temp := filepath.Join(dir, ".tidings-"+rand.Text()+".part")
	if d.file, err = os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666); err != nil {
		return errTarget
	}
	there := false
	defer func() {
		if !there {
			d.file.Close()
			os.Remove(temp)
		}
	}()
	d.total = d.Size
	if err := d.all(ctx); err != nil {
		return err
	}
	if err := errors.Join(d.file.Sync(), d.file.Close()); err != nil {
		return errTarget
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Rename(temp, d.Path); err != nil {
		return errTarget
	}
	there = true
	if folder, err := os.Open(dir); err == nil { // a crash may undo the rename otherwise; not every system can
		folder.Sync()
		folder.Close()
	}
	d.total = d.got
	d.tell(context.Background(), d.total) // it is there, whatever became of ctx
	return nil
}

// all downloads until the whole of it is in the file and is right.
func (d *download) all(ctx context.Context) error {
	d.tries = d.t.tries()
	h := ws.HTTP{Dialer: d.t.own, Idle: d.t.cfg.Request}
	defer func() { h.Close() }()
	for {
		err := d.once(ctx, &h)
		if err == nil {
			return d.right()
		}
		h.Close()
		var known *im.Error
		var refused *refusal
		switch {
		case errors.As(err, &known):
			return err
		case errors.As(err, &refused) && !refused.passing():
			return refused.notGot()
		}
		if err = d.tries.again(ctx, err); errors.As(err, &refused) {
			return refused.notGot()
		}
		if err != nil {
			return err
		}
	}
}

// notGot returns the error of a download that a server refuses.
func (r *refusal) notGot() error {
	switch r.status {
	case 401, 403, 404, 410:
		return errNoFile
	}
	return im.Errorf(im.CodeHTTP, "the download is refused: %v", r)
}

// right compares what has arrived with what should have.
func (d *download) right() error {
	if d.total > 0 && d.got != d.total {
		return errSize
	}
	sum := hex.EncodeToString(d.sum.Sum(nil))
	if d.Hash != "" && !strings.EqualFold(sum, d.Hash) {
		return errHash
	}
	if tag := strings.Trim(d.tag, `"`); d.ours && len(tag) == len(sum) && tag != sum {
		return errHash
	}
	return nil
}

// once makes a request and writes what arrives. A nil error means that the response was read to its end.
func (d *download) once(ctx context.Context, h *ws.HTTP) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(d.t.cfg.Request, cancel) // for the head
	resp, err := d.ask(ctx, h)
	if !late.Stop() && err != nil && ctx.Err() != nil {
		return context.DeadlineExceeded
	}
	if err != nil {
		return err
	}
	if err := d.begin(ctx, resp); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			if err := d.write(ctx, buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF && resp.Length < 0 && d.total > 0 && d.got < d.total:
			return io.ErrUnexpectedEOF // a response that ends with its connection
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case d.tries.over():
			return context.DeadlineExceeded
		}
	}
}

// ask makes the request, and follows redirects. The token goes to the server only, and not to any server that another one redirects to.
func (d *download) ask(ctx context.Context, h *ws.HTTP) (*ws.Response, error) {
	var header []string
	if d.got > 0 && d.tag != "" {
		header = []string{"Range", fmt.Sprintf("bytes=%d-", d.got), "If-Range", d.tag}
	} else if err := d.restart(); err != nil {
		return nil, err
	}
	at, ours := d.at, d.ours
	for range 10 {
		var resp *ws.Response
		var err error
		req := ws.Request{Method: "GET", URL: at, Header: header}
		if ours {
			h.Dialer = d.t.own
			resp, err = d.t.ask(ctx, h, req)
		} else {
			h.Dialer = d.t.foreign
			resp, err = h.Do(ctx, &req)
		}
		if err != nil {
			return nil, err
		}
		switch resp.Answer.Code {
		case 301, 302, 303, 307, 308:
		default:
			return resp, nil
		}
		h.Close()
		to, err := at.Parse(resp.Header.Get("Location"))
		if err != nil || !web(to) || at.Scheme == "https" && to.Scheme == "http" {
			return nil, errRedirect
		}
		to.Fragment = ""
		at, ours = to, ours && d.t.ours(to)
	}
	return nil, errRedirect
}

// begin checks the head of a response: a range goes on where the file is, and everything else starts over.
func (d *download) begin(ctx context.Context, resp *ws.Response) error {
	total := resp.Length
	tag := resp.Header.Get("Etag")
	if strings.HasPrefix(tag, "W/") {
		tag = "" // not the same bytes
	}
	switch code := resp.Answer.Code; {
	case code == 206 && d.got > 0:
		from, all, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || from != d.got || resp.Length >= 0 && from+resp.Length != all || tag != "" && tag != d.tag {
			d.tag = ""
			return &refusal{status: 502} // it is not what was asked for: start over
		}
		total, tag = all, d.tag
	case code == 416:
		d.tag = ""
		return &refusal{status: 502}
	case code != 200:
		return refused(resp)
	default:
		if err := d.restart(); err != nil {
			return err
		}
	}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return errEncoded
	}
	if total >= 0 {
		if d.total > 0 && total != d.total || d.Size == 0 && total > im.MaxFile {
			return errSize
		}
		d.total = total
	}
	d.tag = tag
	d.tell(ctx, 0)
	return nil
}

// contentRange parses a header like "bytes 5-9/10". One with a * for the size is not ok: its end need not be that of the file.
func contentRange(text string) (from, all int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes ")
	span, size, found := strings.Cut(text, "/")
	first, _, dash := strings.Cut(span, "-")
	if !ok || !found || !dash {
		return 0, 0, false
	}
	from, err := strconv.ParseInt(first, 10, 64)
	all, err2 := strconv.ParseInt(size, 10, 64)
	return from, all, err == nil && err2 == nil && all >= 0
}

// restart forgets what has arrived.
func (d *download) restart() error {
	if d.got == 0 {
		return nil
	}
	if d.file.Truncate(0) != nil {
		return errTarget
	}
	d.got = 0
	d.sum.Reset()
	return nil
}

// write writes what has arrived, and reports progress.
func (d *download) write(ctx context.Context, b []byte) error {
	if d.got+int64(len(b)) > cmp.Or(d.total, im.MaxFile) {
		return errSize
	}
	if _, err := d.file.WriteAt(b, d.got); err != nil {
		return errTarget
	}
	d.sum.Write(b)
	d.got += int64(len(b))
	if d.got <= d.most { // again
		return nil
	}
	d.tries.moved(d.got - d.most)
	d.most = d.got
	if (d.got < d.total || d.total == 0) && (d.got-d.told >= stepBytes || time.Since(d.toldAt) >= stepTime) {
		d.tell(ctx, d.got)
	}
	return nil
}

// tell reports progress, beginning with 0.
func (d *download) tell(ctx context.Context, got int64) {
	if d.progress == nil || ctx.Err() != nil {
		return
	}
	if d.told < 0 {
		d.told = 0
		d.progress(0, cmp.Or(d.total, d.Size))
	}
	if got > d.told {
		d.told, d.toldAt = got, time.Now()
		d.progress(got, d.total)
	}
}
