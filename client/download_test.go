package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/client/internal/transfer"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// rising checks the calls of a progress function.
type rising struct {
	t     *testing.T
	calls []int64
	total int64
}

func (r *rising) call(got, total int64) {
	if n := len(r.calls); n == 0 && got != 0 || n > 0 && got <= r.calls[n-1] || n > 0 && total != r.total {
		r.t.Errorf("after %v of %d: %d of %d", r.calls, r.total, got, total)
	}
	r.calls, r.total = append(r.calls, got), total
}

// done checks that all of a file was reported.
func (r *rising) done(size int) {
	r.t.Helper()
	if n := len(r.calls); n < 2 || r.calls[n-1] != int64(size) || r.total != int64(size) {
		r.t.Errorf("%v of %d, for %d bytes", r.calls, r.total, size)
	}
}

// TestDownloadElem: what the element of a message says of a file is enough to download it, in both forms of the call, also when the token of its URL or of the
// session is not good any more; a file of another server comes without a token. What cannot be downloaded has its code and leaves what was there.
func TestDownloadElem(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	content := picture(t)
	id := ann.upload(transfer.Image, content)
	thumb := load(t, "http"+strings.TrimPrefix(s.URL, "ws")+"/media/"+id+"/thumb?token="+bob.ReadToken())
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.URL.RawQuery != "" {
			t.Error("a token went to another server")
		}
		if r.URL.Path != "/a" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		w.Write(content)
	}))
	defer elsewhere.Close()
	url := func(id, token string) string {
		return "http" + strings.TrimPrefix(s.URL, "ws") + "/media/" + id + "?token=" + token
	}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		p    *im.DownloadElemParam
		want []byte
	}{
		"by its id":                    {&im.DownloadElemParam{Id: id}, content},
		"with a URL":                   {&im.DownloadElemParam{Flag: 2, Type: 1, Id: id, Url: url(id, bob.ReadToken())}, content},
		"a smaller size":               {&im.DownloadElemParam{Type: 99, Id: id + "/thumb", Url: url(id+"/thumb", "old")}, thumb},
		"by its URL":                   {&im.DownloadElemParam{Url: url(id, "old")}, content},
		"with the URL of another host": {&im.DownloadElemParam{Id: id, Url: "http://127.0.0.1:1/media/" + id + "?token=old"}, content},
		"of another server":            {&im.DownloadElemParam{Id: "UUID of there", Url: elsewhere.URL + "/a"}, content},
		"of another server, with an id like ours": {&im.DownloadElemParam{Id: id, Url: elsewhere.URL + "/a"}, content},
	} {
		path := filepath.Join(dir, "a file ü")
		for form, download := range map[string]func(func(int64, int64)) error{
			"waiting": func(progress func(int64, int64)) error { return bob.DownloadElem(within(t), c.p, path, progress) },
			"not waiting": func(progress func(int64, int64)) error {
				done := make(chan error, 1)
				bob.DownloadElemFunc(c.p, path, progress, func(err error) { done <- err })
				return <-done
			},
			"without progress": func(progress func(int64, int64)) error {
				progress(0, int64(len(c.want)))
				progress(int64(len(c.want)), int64(len(c.want)))
				return bob.DownloadElem(within(t), c.p, path, nil)
			},
		} {
			bob.SpoilTokens()
			r := &rising{t: t}
			if err := download(r.call); err != nil {
				t.Fatalf("%s, %s: %v", name, form, err)
			}
			r.done(len(c.want))
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, c.want) {
				t.Errorf("%s, %s: it is not the file: %v", name, form, err)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	old := filepath.Join(dir, "old")
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		p    *im.DownloadElemParam
		path string
		code int32
	}{
		"nothing":                        {nil, old, im.CodeInvalidParameters},
		"neither id nor URL":             {&im.DownloadElemParam{Type: 1}, old, im.CodeInvalidParameters},
		"an unknown id":                  {&im.DownloadElemParam{Id: strings.Repeat("A", 32)}, old, im.CodeDownloadFailed},
		"an id that none can be":         {&im.DownloadElemParam{Id: "../" + id}, old, im.CodeDownloadFailed},
		"an unknown URL":                 {&im.DownloadElemParam{Url: elsewhere.URL + "/b"}, old, im.CodeDownloadFailed},
		"no address":                     {&im.DownloadElemParam{Url: "file:///etc/passwd"}, old, im.CodeHTTP},
		"no folder":                      {&im.DownloadElemParam{Id: id}, filepath.Join(dir, "none", "x"), im.CodeFileIO},
		"a folder":                       {&im.DownloadElemParam{Id: id}, dir, im.CodeFileIO},
		"no path":                        {&im.DownloadElemParam{Id: id}, "", im.CodeFileIO},
		"an address that cannot be one":  {&im.DownloadElemParam{Id: "x", Url: "http://["}, old, im.CodeHTTP},
		"a URL of ours that is of no id": {&im.DownloadElemParam{Url: url(strings.Repeat("A", 32), bob.ReadToken())}, old, im.CodeDownloadFailed},
	} {
		err := bob.DownloadElem(within(t), c.p, c.path, func(got, total int64) { t.Errorf("%s: %d of %d", name, got, total) })
		if im.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %d", name, err, c.code)
		}
	}
	onlyHas(t, dir, "old")
	// In a callback, and not logged in.
	inside := make(chan error, 1)
	bob.DownloadElemFunc(&im.DownloadElemParam{Id: id}, old, nil, func(error) {
		r := &rising{t: t}
		inside <- bob.DownloadElem(within(t), &im.DownloadElemParam{Id: id}, old, r.call)
		r.done(len(content))
	})
	if err := <-inside; err != nil {
		t.Error(err)
	}
	if err := bob.Logout(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := bob.DownloadElem(within(t), &im.DownloadElemParam{Id: id}, old, nil); im.CodeOf(err) != im.CodeNotLoggedIn {
		t.Error(err)
	}
	bob.Close()
	if err := bob.DownloadElem(within(t), &im.DownloadElemParam{Id: id}, old, nil); im.CodeOf(err) != im.CodeInterrupted {
		t.Error(err)
	}
}

// onlyHas checks what a folder contains.
func onlyHas(t *testing.T, dir string, want ...string) {
	t.Helper()
	var names []string
	list, err := os.ReadDir(dir)
	for _, e := range list {
		names = append(names, e.Name())
	}
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("the folder has %q, want %q: %v", names, want, err)
	}
}

// halfway is a server whose files arrive half; the rest comes when it is let.
type halfway struct {
	*httptest.Server
	half chan struct{} // gets an element when half of a file has been sent
	rest chan struct{} // closed to let the rest come
}

const halfwaySize = 8 << 20 // 32 steps of progress

func newHalfway(t *testing.T) *halfway {
	h := &halfway{half: make(chan struct{}, 10), rest: make(chan struct{})}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(halfwaySize))
		part := strings.Repeat("x", halfwaySize/2)
		io.WriteString(w, part)
		http.NewResponseController(w).Flush()
		h.half <- struct{}{}
		select {
		case <-h.rest:
			io.WriteString(w, part)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(h.Server.Close)
	return h
}

// TestDownloadSlowApplication: a download does not wait for the application, and what it has missed melts into the newest call.
func TestDownloadSlowApplication(t *testing.T) {
	s := imtest.Start(t)
	ann := dial(t, config(t, s, "ann"))
	h := newHalfway(t)
	path := filepath.Join(t.TempDir(), "x")
	var heard []string
	began, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	ann.DownloadElemFunc(&im.DownloadElemParam{Url: h.URL}, path, func(got, total int64) {
		if len(heard) == 0 {
			close(began)
			<-goOn
		}
		heard = append(heard, fmt.Sprint(got, total))
	}, func(err error) { done <- err })
	<-began
	close(h.rest)
	for ctx := within(t); ; { // until it is there
		if _, err := os.Stat(path); err == nil || ctx.Err() != nil {
			break
		}
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := len(heard); n < 2 || n > 4 || heard[0] != fmt.Sprint(0, halfwaySize) || heard[n-1] != fmt.Sprint(halfwaySize, halfwaySize) {
		t.Errorf("heard %q", heard)
	}
}

// TestDownloadEnds: a logout, a kick, the end of a client and of a context end a download: it has one result, its progress is over, and nothing of its file is
// left. A logout comes after the results.
func TestDownloadEnds(t *testing.T) {
	logout := func(d *device, _ context.CancelFunc) {
		done := make(chan error, 1)
		d.LogoutFunc(func(err error) { done <- err }) // its result comes where the others do
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	var s *imtest.Server
	for name, end := range map[string]func(*device, context.CancelFunc){
		"logout": logout,
		"logout without a link": func(d *device, cancel context.CancelFunc) {
			s.Stop()
			d.until(t, "the end of the link", func(es []event) bool {
				return slices.ContainsFunc(es, func(e event) bool { return e.kind == "net" && e.n == int(client.NetworkDisconnected) })
			})
			logout(d, cancel)
		},
		"kick": func(d *device, _ context.CancelFunc) {
			cfg := d.cfg
			cfg.Dir = t.TempDir()
			dial(t, cfg).Close()
		},
		"close":  func(d *device, _ context.CancelFunc) { d.Close() },
		"cancel": func(_ *device, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			s = imtest.Start(t)
			ann := dial(t, config(t, s, "ann"))
			h := newHalfway(t)
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var over atomic.Bool
			ended := make(chan error, 5)
			param := &im.DownloadElemParam{Url: h.URL}
			progress := func(got, total int64) {
				if over.Load() || got == total {
					t.Errorf("%d of %d", got, total)
				}
			}
			waiting := make(chan error, 1)
			go func() { waiting <- ann.DownloadElem(ctx, param, filepath.Join(dir, "waiting"), progress) }()
			<-h.half
			if name != "cancel" {
				for i := range 4 { // one of them waits for its turn
					ann.DownloadElemFunc(param, filepath.Join(dir, strconv.Itoa(i)), progress, func(err error) { ended <- err })
				}
				<-h.half
				<-h.half
			}
			end(ann, cancel)
			if strings.HasPrefix(name, "logout") {
				over.Store(true)
				if len(ended) != 4 {
					t.Errorf("%d results before the logout's, want 4", len(ended))
				}
				onlyHas(t, dir)
			}
			want := error(im.ErrInterrupted)
			if name == "cancel" {
				want = context.Canceled
			} else {
				for range 4 {
					if err := <-ended; !errors.Is(err, im.ErrInterrupted) {
						t.Error(err)
					}
				}
			}
			if err := <-waiting; !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
			onlyHas(t, dir)
			over.Store(true)
			ann.Close()
			if len(ended) > 0 {
				t.Errorf("another result: %v", <-ended)
			}
		})
	}
}

// TestWhoLoads: who gets a message with a file loads it, also forwarded, in merged messages, and in a group that they joined after it was sent. After a logout, a
// kick, and with the token of another store, the answer is that for a file that does not exist.
func TestWhoLoads(t *testing.T) {
	s, other := imtest.Start(t), imtest.Start(t)
	ann, bob, carol := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob")), dial(t, config(t, s, "carol"))
	content := []byte("what is in the file")
	path := filepath.Join(t.TempDir(), "a.txt")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const all = "@TGS#_all"
	ann.group(all, communityGroup, "bob")
	m := &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_FILE, Body: &im.Elem_File{File: &im.FileElem{FilePath: path, FileName: "a.txt"}}}}}
	_, err := ann.SendMessage(within(t), client.Group(all), m)
	must(err)
	// loads reads the newest message of a conversation, and downloads what it has; the message is returned.
	loads := func(d *device, conv client.Conv, inside int) *im.Message {
		t.Helper()
		list, err := d.Messages(within(t), conv, &im.GetMsgListParam{Count: 20})
		must(err)
		i := slices.IndexFunc(list, func(m *im.Message) bool { return m.ElemArray[0].GetFile() != nil || m.ElemArray[0].GetMerger() != nil })
		if i < 0 {
			t.Fatalf("%s has no message with a file: %v", d.UserID(), list)
		}
		m := list[i]
		of := m
		for range inside {
			merged, err := d.MergedMessages(of)
			must(err)
			of = merged[0]
		}
		f := of.ElemArray[0].GetFile()
		if got := load(t, f.Url); !bytes.Equal(got, content) {
			t.Errorf("%s has %q by the URL", d.UserID(), got)
		}
		to := filepath.Join(t.TempDir(), "x")
		must(d.DownloadElem(within(t), &im.DownloadElemParam{Flag: uint32(f.DownloadFlag), Type: 1, Id: f.FileId, Url: f.Url}, to, nil))
		if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s has %q: %v", d.UserID(), got, err)
		}
		return m
	}
	loads(ann, client.Group(all), 0)
	got := loads(bob, client.Group(all), 0)
	_, err = carol.Groups().Join(within(t), all, "hello")
	must(err)
	loads(carol, client.Group(all), 0)
	merger := func(m *im.Message) *im.Message {
		return &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: &im.MergerElem{Title: "t", CompatibleText: "c", MessageArray: []*im.Message{m}}}}}}
	}
	for inside, m := range []*im.Message{got, merger(got), merger(merger(got))} {
		_, err := bob.SendMessage(within(t), client.C2C("carol"), m)
		must(err)
		carol.until(t, "the message", func(es []event) bool {
			n := 0
			for _, e := range es {
				if e.kind == "new" && e.msg != nil && e.msg.ConvId == "bob" {
					n++
				}
			}
			return n == inside+1
		})
		loads(carol, client.C2C("bob"), inside)
	}

	// The answer to a token that is not good.
	ask := func(id, token string) string {
		t.Helper()
		resp, err := http.Get("http" + strings.TrimPrefix(s.URL, "ws") + "/media/" + id + "?token=" + token)
		must(err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		must(err)
		resp.Header.Del("Date")
		return fmt.Sprint(resp.StatusCode, resp.Header, string(b))
	}
	id := got.ElemArray[0].GetFile().FileId
	unknown := ask(strings.Repeat("A", 32), ann.ReadToken())
	if !strings.HasPrefix(unknown, "403 ") {
		t.Fatal(unknown)
	}
	refused := func(who, token string) {
		t.Helper()
		if got := ask(id, token); token == "" || got != unknown {
			t.Errorf("%s: %s, and an unknown id: %s", who, got, unknown)
		}
	}
	refused("of another store", dial(t, config(t, other, "bob")).ReadToken())
	again := bob.cfg
	again.Dir = t.TempDir()
	kicked := bob.ReadToken()
	second := dial(t, again)
	bob.count(t, "kicked", 1)
	refused("of a kicked session", kicked)
	code(t, "a kicked session downloads", bob.DownloadElem(within(t), &im.DownloadElemParam{Id: id}, path, nil), im.CodeNotLoggedIn)
	loads(second, client.Group(all), 0)
	left := second.ReadToken()
	must(second.Logout(within(t)))
	refused("of a session that has logged out", left)
}
