package transfer

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/media"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// put uploads a file.
func (p *place) put(size int64) (id, hash string) {
	p.Helper()
	path, hash := p.file(size)
	up, err := p.Upload(p.Context(), []File{{path, Any}}, nil)
	p.ok(err)
	return up[0].ID, hash
}

// TestDownloadCancel: a download that is cancelled at a random moment leaves nothing, or is done.
func TestDownloadCancel(t *testing.T) {
	p := start(t, media.Config{}, Config{})
	random := rand.New(rand.NewPCG(3, 4))
	id, hash := p.put(1 << 20)
	done, cancelled := 0, 0
	for range soak.Pick(50, 1000) {
		dir := t.TempDir()
		target := filepath.Join(dir, "x")
		ctx, cancel := context.WithCancel(t.Context())
		moment := 1 + random.IntN(50)
		p.when(func(n int) {
			if n == moment {
				cancel()
			}
		})
		err := p.Download(ctx, Fetch{ID: id, Path: target}, nil)
		p.when(nil)
		cancel()
		switch {
		case err == nil:
			done++
			p.left(dir, "x")
			if p.hashOf(target) != hash {
				t.Fatal("it came back changed")
			}
		case errors.Is(err, context.Canceled):
			cancelled++
			p.left(dir)
		default:
			t.Fatal(err)
		}
	}
	if done == 0 || cancelled == 0 {
		t.Errorf("%d done, %d cancelled", done, cancelled)
	}
}

// TestTargets: what cannot be downloaded has its code, leaves nothing, and leaves what was at the target before.
func TestTargets(t *testing.T) {
	p := start(t, media.Config{}, Config{})
	id, hash := p.put(1000)
	dir := t.TempDir()
	old := filepath.Join(dir, "old")
	p.ok(os.WriteFile(old, []byte("old"), 0o600))
	p.ok(os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	for name, c := range map[string]struct {
		f    Fetch
		code int32
	}{
		"no such file":                {Fetch{ID: strings.Repeat("A", 32), Path: old}, 6009},
		"an id that is one of a path": {Fetch{ID: "../upload/x", Path: old}, 6009},
		"no such size":                {Fetch{ID: id + "/large", Path: old}, 6009},
		"another size":                {Fetch{ID: id, Path: old, Size: 999}, 6009},
		"another hash":                {Fetch{ID: id, Path: old, Hash: strings.Repeat("0", 64)}, 6009},
		"no folder":                   {Fetch{ID: id, Path: filepath.Join(dir, "nothing", "x")}, 6022},
		"a folder":                    {Fetch{ID: id, Path: filepath.Join(dir, "sub")}, 6022},
		"no path":                     {Fetch{ID: id}, 6022},
		"no address":                  {Fetch{Path: old}, 6010},
		"a file's address":            {Fetch{URL: "file:///etc/passwd", Path: old}, 6010},
		"a broken address":            {Fetch{URL: "http://[", Path: old}, 6010},
		"a user's address":            {Fetch{URL: "http://u:p@127.0.0.1/", Path: old}, 6010},
	} {
		err := p.Download(t.Context(), c.f, func(got, total int64) {
			if got == total {
				t.Errorf("%s: all of it arrived", name)
			}
		})
		if im.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %d", name, err, c.code)
		}
		p.left(dir, "old", "sub")
		if b, err := os.ReadFile(old); err != nil || string(b) != "old" {
			t.Fatalf("%s: the target is %.20q", name, b)
		}
	}
	// A target that cannot be is refused before anything is fetched.
	p.tap(func(*http.Request) { t.Error("the server was asked") })
	p.wantCode(p.Download(t.Context(), Fetch{ID: id, Path: filepath.Join(dir, strings.Repeat("n", 256))}, nil), 6022)
	p.tap(nil)
	p.left(dir, "old", "sub")
	// The same target twice, and an address of the server with a token of another time.
	var second error
	url := p.URL(id, "", "a token of another time")
	p.ok(p.Download(t.Context(), Fetch{URL: url, Path: old, Size: 1000, Hash: strings.ToUpper(hash)}, func(got, _ int64) {
		if got == 0 {
			second = p.Download(t.Context(), Fetch{ID: id, Path: filepath.Join(dir, "sub", "..", "old")}, nil)
		}
	}))
	p.wantCode(second, 6015)
	if p.hashOf(old) != hash {
		t.Error("the target is not the file")
	}
	p.left(dir, "old", "sub")
}

// TestForeign: files of other servers come without a token, also after redirects, however the server sends them; one that sends too much, something else or too
// little ends the download.
func TestForeign(t *testing.T) {
	p := start(t, media.Config{}, Config{Stall: time.Second, Request: 300 * time.Millisecond})
	id, _ := p.put(1000)
	content := strings.Repeat("0123456789", 30_000)
	size := int64(len(content))
	stop := make(chan struct{})
	tries := 0
	flush := func(w http.ResponseWriter) { http.NewResponseController(w).Flush() }
	half := func(w http.ResponseWriter, n int) {
		io.WriteString(w, content[:n])
		flush(w)
		panic(http.ErrAbortHandler)
	}
	var target string
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	})
	mux.HandleFunc("/chunks", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, content[:1])
		flush(w)
		io.WriteString(w, content[1:])
	})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target, http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "file:///etc/passwd")
		w.WriteHeader(302)
	})
	mux.HandleFunc("/missing", http.NotFound)
	mux.HandleFunc("/failing", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })
	mux.HandleFunc("/zipped", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		io.WriteString(w, "x")
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for n := 0; n < 200<<20; n += len(content) {
			if _, err := io.WriteString(w, content); err != nil {
				return
			}
		}
		t.Error("it went on")
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(im.MaxFile+1))
		half(w, 1)
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		for {
			select {
			case <-time.After(100 * time.Millisecond):
				io.WriteString(w, "x")
				flush(w)
			case <-r.Context().Done():
				return
			case <-stop:
				return
			}
		}
	})
	mux.HandleFunc("/silent", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-stop:
		}
	})
	// Cut off each time, without and with what it takes to go on from there.
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		if tries++; tries < 4 {
			w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
			half(w, tries*50_000)
		}
		io.WriteString(w, content)
	})
	mux.HandleFunc("/ranges", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"a"`)
		if tries++; tries < 4 {
			http.ServeContent(&atMost{w, 90_000}, r, "", time.Time{}, strings.NewReader(content))
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	})
	mux.HandleFunc("/wrong", func(w http.ResponseWriter, r *http.Request) { // ranges that were not asked for
		w.Header().Set("ETag", `"a"`)
		if tries++; tries == 1 {
			http.ServeContent(&atMost{w, 90_000}, r, "", time.Time{}, strings.NewReader(content))
		}
		if r.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 5-%d/%d", size-1, size))
			w.WriteHeader(206)
			io.WriteString(w, content[5:])
			return
		}
		io.WriteString(w, content)
	})
	// A range that ends before the file does, where nothing tells how large that is.
	mux.HandleFunc("/part", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"a"`)
		if r.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", 90_000, 90_009))
			w.WriteHeader(206)
			io.WriteString(w, content[90_000:90_010])
			return
		}
		if tries++; tries == 1 {
			half(w, 90_000)
		}
		io.WriteString(w, content)
	})
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.URL.Query().Has("token") {
			t.Errorf("%s: the token is in the request", r.URL.Path)
		}
		mux.ServeHTTP(w, r)
	}))
	defer other.Close()
	defer close(stop)
	for _, c := range []struct {
		path string
		size int64
		code int32
		away string
	}{
		{"/good", size, 0, ""},
		{"/good", 0, 0, ""},
		{"/chunks", size, 0, ""},
		{"/chunks", 0, 0, ""},
		{"/away", size, 0, "/good"},
		{"/cut", size, 0, ""},
		{"/cut", 0, 0, ""},
		{"/ranges", size, 0, ""},
		{"/wrong", size, 0, ""},
		{"/part", 0, 0, ""},
		{"/good", size - 1, 6009, ""},
		{"/good", size + 1, 6009, ""},
		{"/chunks", size - 1, 6009, ""},
		{"/missing", 0, 6009, ""},
		{"/failing", 0, 6010, ""},
		{"/zipped", 0, 6010, ""},
		{"/loop", 0, 6010, ""},
		{"/file", 0, 6010, ""},
		{"/endless", 1000, 6009, ""},
		{"/endless", 0, 6009, ""},
		{"/large", 0, 6009, ""},
		{"/large", -1, 6009, ""},
		{"/good", -1, 0, ""},
		{"/slow", 0, 6010, ""},
		{"/slow", 10_000_000, 6010, ""},
		{"/silent", 0, 6010, ""},
		{"/away", 0, 6009, p.URL(id, "", "")}, // another server's redirect does not get the token, not even for this one
	} {
		target, tries = c.away, 0
		dir := t.TempDir()
		path := filepath.Join(dir, "x")
		var last, total int64 = -1, 0
		begun := time.Now()
		err := p.Download(t.Context(), Fetch{URL: other.URL + c.path, Path: path, Size: c.size}, func(got, of int64) {
			if got <= last || last < 0 && got != 0 {
				t.Errorf("%s: progress %d after %d", c.path, got, last)
			}
			last, total = got, of
		})
		if im.CodeOf(err) != c.code {
			t.Errorf("%s as %d: %v, want %d", c.path, c.size, err, c.code)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("%s: it took %v", c.path, took)
		}
		if c.code != 0 {
			p.left(dir)
			continue
		}
		p.left(dir, "x")
		if b, err := os.ReadFile(path); err != nil || string(b) != content || last != size || total != size {
			t.Errorf("%s: got %d bytes, progress %d of %d: %v", c.path, len(b), last, total, err)
		}
	}
	// The server's own redirect takes the token nowhere else.
	own := httptest.NewServer(http.RedirectHandler(other.URL+"/good", http.StatusFound))
	defer own.Close()
	tr := p.new(Config{Server: "ws" + strings.TrimPrefix(own.URL, "http"), Token: p.Transfers.cfg.Token})
	p.ok(tr.Download(t.Context(), Fetch{ID: id, Path: filepath.Join(t.TempDir(), "x"), Size: size}, nil))
}

// atMost writes so much of a response, and then cuts the connection.
type atMost struct {
	http.ResponseWriter
	left int
}

func (w *atMost) Write(b []byte) (int, error) {
	n, _ := w.ResponseWriter.Write(b[:min(w.left, len(b))])
	if w.left -= n; w.left == 0 {
		http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

// TestOurs: the token goes to the files of the server, and nowhere else.
func TestOurs(t *testing.T) {
	for server, addresses := range map[string]map[string]bool{
		"ws://im.example": {
			"http://im.example/media/abc": true, "http://IM.example:80/media/abc/thumb": true, "http://im.example/media/abc?token=x": true,
			"https://im.example/media/abc": false, "http://im.example:8080/media/abc": false, "http://im.example.org/media/abc": false, "http://im.example/media/": false,
			"http://im.example/media/../other": false, "https://im.example:80/media/abc": false, "http://im.example/media/%2e%2e/other": false, "http://im.example/mediax/abc": false, "http://im.example/media/a/b/c": false,
		},
		"wss://im.example:7443/chat%2fx/": {"https://im.example:7443/chat%2fx/media/abc": true, "https://im.example:7443/media/abc": false, "https://im.example/chat%2fx/media/abc": false},
	} {
		tr, err := New(Config{Server: server})
		if err != nil {
			t.Fatal(err)
		}
		for address, want := range addresses {
			u, err := tr.base.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			if got := tr.ours(u); got != want {
				t.Errorf("%s at %s: %v", address, server, got)
			}
		}
		if u, err := tr.base.Parse(tr.URL("abc", "large", "a&b")); err != nil || !tr.ours(u) || u.Query().Get("token") != "a&b" {
			t.Errorf("the address of a file at %s is %s", server, u)
		}
	}
	if _, err := New(Config{Server: "http://im.example"}); im.CodeOf(err) != 6017 {
		t.Error(err)
	}
}

// TestDescribe: an image that was uploaded has its three sizes, which can be downloaded; what does not exist has the code of a download.
func TestDescribe(t *testing.T) {
	p := start(t, media.Config{}, Config{})
	path := filepath.Join(t.TempDir(), "a.png")
	f, err := os.Create(path)
	p.ok(err)
	p.ok(png.Encode(f, image.NewGray(image.Rect(0, 0, 1000, 800))))
	p.ok(f.Close())
	up, err := p.Upload(t.Context(), []File{{path, Image}}, nil)
	p.ok(err)
	id := up[0].ID
	once := sync.OnceFunc(p.proxy.Cut)
	p.when(func(int) { once() })
	d, err := p.Describe(t.Context(), id)
	p.ok(err)
	want := map[string][2]int64{id: {1000, 800}, id + "/large": {900, 720}, id + "/thumb": {248, 198}}
	for _, s := range d.Sizes {
		if want[s.ID] != [2]int64{s.Width, s.Height} {
			t.Errorf("%v", s)
		}
		delete(want, s.ID)
		target := filepath.Join(t.TempDir(), "x")
		p.ok(p.Download(t.Context(), Fetch{ID: s.ID, Path: target, Size: s.Size}, nil))
	}
	if d.Size != up[0].Size || d.Type != "image/png" || d.Format != 3 || len(want) > 0 {
		t.Errorf("%+v, without %v", d, want)
	}
	for _, id := range []string{"", "x", id + "/thumb", strings.Repeat("A", 32)} {
		_, err := p.Describe(t.Context(), id)
		p.wantCode(err, 6009)
	}
}
