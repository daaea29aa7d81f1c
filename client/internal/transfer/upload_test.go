package transfer

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/media"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// TestCheck: what is not to be uploaded is refused before anything is sent.
func TestCheck(t *testing.T) {
	p := start(t, media.Config{}, Config{})
	dir := t.TempDir()
	made := func(name, content string, size int64) string {
		path := filepath.Join(dir, name)
		p.ok(os.WriteFile(path, []byte(content), 0o600))
		if size > 0 {
			p.ok(os.Truncate(path, size))
		}
		return path
	}
	png := "\x89PNG\r\n\x1a\n"
	for _, c := range []struct {
		path string
		kind Kind
		code int32
	}{
		{filepath.Join(dir, "nothing"), Any, 7004},
		{filepath.Join(dir, "nothing", "in", "nothing"), Any, 7004},
		{dir, Any, 7007},
		{os.DevNull, Any, 7007},
		{made("empty", "", 0), Any, 7006},
		{made("text.png", "this is a text", 0), Image, 6031},
		{made("BM.bmp", "BM is how this text begins, and it goes on", 0), Image, 6031},
		{made("x.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>", 0), Image, 6031},
		{made("a.png", png, 28<<20+1), Image, 7005},
		{made("a.wav", "RIFF", 28<<20+1), Sound, 7005},
		{made("a.mp4", "x", 100<<20+1), Video, 7005},
		{made("a.zip", "x", 100<<20+1), Any, 7005},
		{made("good.png", png, 28<<20), Image, 0},
		{made("good.jpg", "\xff\xd8\xff", 0), Image, 0},
		{made("good.bmp", "BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00", 0), Image, 0},
		{made("good.heic", "\x00\x00\x00\x18ftypheic", 0), Image, 0},
		{made("good.webp", "RIFF\x00\x00\x00\x00WEBP", 0), Image, 0},
		{made("good.wav", "RIFF", 28<<20), Sound, 0},
		{made("good.mp4", "x", 100<<20), Video, 0},
		{made("good", "x", 0), Any, 0},
	} {
		_, err := Check(File{c.path, c.kind})
		if im.CodeOf(err) != c.code || (err == nil) != (c.code == 0) {
			t.Errorf("%s as %s: %v, want %d", filepath.Base(c.path), c.kind, err, c.code)
		}
		if c.code == 0 {
			continue
		}
		good, _ := p.file(10)
		_, err = p.Upload(t.Context(), []File{{good, Any}, {c.path, c.kind}}, func(sent, total int64) { t.Errorf("%s: progress %d of %d", c.path, sent, total) })
		p.wantCode(err, c.code)
	}
	if runtime.GOOS != "windows" && os.Getuid() != 0 {
		path := made("secret", "x", 0)
		p.ok(os.Chmod(path, 0))
		_, err := Check(File{path, Any})
		p.wantCode(err, 7007)
	}
	if ids := p.made(); len(ids) > 0 {
		t.Errorf("the server has %d uploads", len(ids))
	}
}

// TestTransfers: files of random sizes get to the server and back with the same content, whatever is cut on the way and how often; progress is what the server
// has, at most. One upload may be of two files.
func TestTransfers(t *testing.T) {
	p := start(t, media.Config{OpenPerUser: 1000}, Config{}) // if the response to a creation is cut off, there is one more
	p.ok(flag.Set("rapid.checks", soak.Pick("25", "1000")))
	dir := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		var files []File
		var hashes []string
		var total int64
		for range rapid.IntRange(1, 2).Draw(r, "files") {
			size := rapid.OneOf(rapid.Int64Range(1, 3<<20), rapid.SampledFrom([]int64{1, firstPart, firstPart + 1, mostPart, 3 << 20})).Draw(r, "size")
			path, hash := p.file(size)
			files, hashes, total = append(files, File{path, Video}), append(hashes, hash), total+size
		}
		cuts := rapid.SliceOfNDistinct(rapid.IntRange(1, 200), 0, 10, rapid.ID).Draw(r, "cuts")
		cut := func(n int) {
			for _, c := range cuts {
				if n == c {
					p.proxy.Cut()
				}
			}
		}
		p.when(cut)
		before := len(p.made())
		up := rising{p: p, total: total}
		done, err := p.Upload(t.Context(), files, func(sent, of int64) {
			if has := p.has(p.made()[before:]); sent > has {
				r.Errorf("progress %d, the server has %d", sent, has)
			}
			up.call(sent, of)
		})
		p.when(nil)
		if err != nil {
			r.Fatal(err)
		}
		up.done()
		for i, f := range done {
			target := filepath.Join(dir, fmt.Sprint(i))
			down := rising{p: p, total: f.Size}
			p.when(cut)
			err := p.Download(t.Context(), Fetch{ID: f.ID, Path: target, Size: f.Size, Hash: hashes[i]}, down.call)
			p.when(nil)
			if err != nil {
				r.Fatal(err)
			}
			down.done()
			if got := p.hashOf(target); got != hashes[i] {
				r.Errorf("%d bytes came back changed", f.Size)
			}
		}
		for i := range done {
			p.ok(os.Remove(filepath.Join(dir, fmt.Sprint(i))))
		}
		p.left(dir)
		if t.Failed() {
			r.FailNow()
		}
	})
}

// TestCancel: an upload that is cancelled at a random moment is either cancelled, and nothing of it is left at the server, or it is done.
func TestCancel(t *testing.T) {
	p := start(t, media.Config{}, Config{})
	random := rand.New(rand.NewPCG(1, 2))
	done, cancelled := 0, 0
	for range soak.Pick(50, 1000) {
		first, hash := p.file(1 + random.Int64N(600<<10))
		second, _ := p.file(1 + random.Int64N(600<<10))
		ctx, cancel := context.WithCancel(t.Context())
		moment := 1 + random.IntN(60)
		p.when(func(n int) {
			if n == moment {
				cancel()
			}
		})
		before := len(p.made())
		ended := false
		up, err := p.Upload(ctx, []File{{first, Any}, {second, Any}}, func(sent, total int64) {
			if ended {
				t.Error("progress after the end")
			}
		})
		ended = true
		p.when(nil)
		cancel()
		p.all.Wait()
		known := 0
		for _, id := range p.made()[before:] {
			if p.ask("HEAD", "/media/upload/"+id).Code == 200 {
				known++
			}
		}
		switch {
		case err == nil:
			done++
			target := filepath.Join(t.TempDir(), "x")
			p.ok(p.Download(t.Context(), Fetch{ID: up[0].ID, Path: target}, nil))
			if known != 2 || len(up) != 2 || p.hashOf(target) != hash {
				t.Fatalf("it is done, and the server has %d", known)
			}
		case errors.Is(err, context.Canceled):
			cancelled++
			if known != 0 {
				t.Fatalf("it was cancelled at %d, and the server has %d", moment, known)
			}
		default:
			t.Fatal(err)
		}
	}
	if done == 0 || cancelled == 0 {
		t.Errorf("%d done, %d cancelled", done, cancelled)
	}
	if n, err := p.store.OpenMedia(t.Context(), p.store.Now()); err != nil || n != 0 {
		t.Errorf("%d uploads are open: %v", n, err)
	}
	if files := p.files(); len(files) != 2*done {
		t.Errorf("%d uploads of two files are done, and there are %d: %q", done, len(files), files)
	}
}

// TestRestart: an upload and a download go on after the server was stopped in the middle and started again on the same folder.
func TestRestart(t *testing.T) {
	p := start(t, media.Config{}, Config{})
	path, hash := p.file(3 << 20)
	restart := func(calls *rising) func(n, total int64) {
		once := sync.OnceFunc(func() { p.stop(); p.start() })
		return func(n, total int64) {
			calls.call(n, total)
			if n > total/4 {
				once()
			}
		}
	}
	up, down := &rising{p: p, total: 3 << 20}, &rising{p: p, total: 3 << 20}
	done, err := p.Upload(t.Context(), []File{{path, Any}}, restart(up))
	p.ok(err)
	up.done()
	if n := len(p.made()); n != 1 {
		t.Errorf("%d uploads were made", n)
	}
	target := filepath.Join(t.TempDir(), "x")
	p.ok(p.Download(t.Context(), Fetch{ID: done[0].ID, Path: target}, restart(down)))
	down.done()
	if p.hashOf(target) != hash {
		t.Error("it came back changed")
	}
}

// TestLost: an upload that the server has lost begins again, once, and reports nothing until it is where it was.
func TestLost(t *testing.T) {
	p := start(t, media.Config{}, Config{})
	path, _ := p.file(2 << 20)
	for times := 1; times <= 2; times++ {
		lost := 0
		calls := rising{p: p, total: 2 << 20}
		p.tap(func(r *http.Request) {
			if r.Method == "PATCH" && r.Header.Get("Upload-Offset") != "0" && lost < times {
				lost++
				p.ask("DELETE", r.URL.Path)
			}
		})
		_, err := p.Upload(t.Context(), []File{{path, Any}}, calls.call)
		p.tap(nil)
		if times == 1 {
			p.ok(err)
			calls.done()
		} else {
			p.wantCode(err, 6008)
		}
	}
}

// TestChanged: a file that changes while it is uploaded is refused, and what was uploaded of it is deleted.
func TestChanged(t *testing.T) {
	p := start(t, media.Config{}, Config{})
	path, _ := p.file(2 << 20)
	write := func(at int64) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		p.ok(err)
		_, err = f.WriteAt([]byte("changed"), at)
		p.ok(err)
		p.ok(f.Close())
	}
	for name, change := range map[string]func(info os.FileInfo){
		"a part that was sent":          func(os.FileInfo) { write(0) },
		"a part that was not sent":      func(info os.FileInfo) { write(info.Size() - 100); p.ok(os.Chtimes(path, time.Time{}, info.ModTime())) },
		"only its time":                 func(info os.FileInfo) { p.ok(os.Chtimes(path, time.Time{}, info.ModTime().Add(time.Second))) },
		"it has become shorter":         func(os.FileInfo) { p.ok(os.Truncate(path, 1<<20)) },
		"it has become longer":          func(os.FileInfo) { p.ok(os.Truncate(path, 3<<20)) },
		"it is another before it is up": nil,
	} {
		path, _ = p.file(2 << 20)
		info, err := os.Stat(path)
		p.ok(err)
		_, err = p.Upload(t.Context(), []File{{path, Any}}, func(sent, total int64) {
			switch {
			case sent == total:
				t.Errorf("%s: it arrived", name)
			case change == nil && sent == 0:
				p.ok(os.Chtimes(path, time.Time{}, info.ModTime().Add(time.Second)))
			case change != nil && sent > 1<<19:
				change(info)
				change = func(os.FileInfo) {}
			}
		})
		if im.CodeOf(err) != 7007 {
			t.Errorf("%s: %v", name, err)
		}
		p.all.Wait()
	}
	for _, id := range p.made() {
		if p.ask("HEAD", "/media/upload/"+id).Code != 404 {
			t.Error("an upload was not deleted")
		}
	}
}

// TestTokens: a token that is refused is renewed, once; a session that may not upload gets 6006.
func TestTokens(t *testing.T) {
	p := start(t, media.Config{}, Config{})
	path, _ := p.file(1000)
	p.bad = true
	up, err := p.Upload(t.Context(), []File{{path, Any}}, nil)
	p.ok(err)
	target := filepath.Join(t.TempDir(), "x")
	p.ok(p.Download(t.Context(), Fetch{ID: up[0].ID, Path: target}, nil))
	good := p.token
	p.token, p.asked = "no token", 0
	_, err = p.Upload(t.Context(), []File{{path, Any}}, nil)
	p.wantCode(err, 6006)
	if p.asked != 2 {
		t.Errorf("%d tokens were asked for", p.asked)
	}
	p.wantCode(p.Download(t.Context(), Fetch{ID: up[0].ID, Path: target}, nil), 6009)
	p.token = good
	if text := fmt.Sprint(err); strings.Contains(text, "no token") || strings.Contains(text, up[0].ID) {
		t.Errorf("the error has a token or an id: %s", text)
	}
}

// TestRefusals: what a server refuses for good ends an upload at once, and everything else when it has made no progress for too long.
func TestRefusals(t *testing.T) {
	room := uint64(1 << 40)
	p := start(t, media.Config{Free: func(string) (uint64, error) { return room, nil }}, Config{Stall: 500 * time.Millisecond, Request: 200 * time.Millisecond})
	path, _ := p.file(1000)
	room = 10
	_, err := p.Upload(t.Context(), []File{{path, Any}}, nil)
	p.wantCode(err, 6008)
	room = 1 << 40
	for name, fault := range map[string]func(){"refused": func() { p.proxy.Refuse(true) }, "cut": p.proxy.Cut, "silent": p.proxy.Stall, "deaf": p.proxy.Freeze} {
		fault()
		if name == "cut" {
			p.when(func(int) { p.proxy.Cut() })
		}
		begun := time.Now()
		_, err := p.Upload(t.Context(), []File{{path, Any}}, func(sent, total int64) {
			if sent != 0 {
				t.Errorf("%s: progress %d", name, sent)
			}
		})
		p.when(nil)
		p.wantCode(err, 6008)
		if took := time.Since(begun); took < 500*time.Millisecond || took > 20*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
		p.proxy.Heal()
		p.proxy.Cut()
	}
}

// TestTurns: only so many transfers run at a time; one that waits can be cancelled, and Close ends all of them and what they have at the server.
func TestTurns(t *testing.T) {
	p := start(t, media.Config{}, Config{AtOnce: 2})
	path, _ := p.file(1 << 20)
	hold := make(chan struct{})
	running := make(chan error, 5)
	begun := make(chan struct{}, 5)
	for range 2 {
		go func() {
			_, err := p.Upload(context.Background(), []File{{path, Any}}, func(sent, _ int64) {
				if sent > 0 {
					begun <- struct{}{}
					<-hold
				}
			})
			running <- err
		}()
	}
	<-begun
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := p.Upload(ctx, []File{{path, Any}}, func(sent, _ int64) {
		if sent == 0 {
			cancel() // it waits, or is about to
		} else {
			t.Error("it did not wait")
		}
	}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := len(p.made()); n != 2 {
		t.Errorf("%d run", n)
	}
	closed := make(chan struct{})
	go func() { p.Close(context.Background()); close(closed) }()
	<-p.run.Done()
	close(hold)
	for range 2 {
		p.wantCode(<-running, 7009)
	}
	<-closed
	for _, id := range p.made() {
		if p.ask("HEAD", "/media/upload/"+id).Code != 404 {
			t.Error("an upload was not deleted")
		}
	}
	_, err := p.Upload(t.Context(), []File{{path, Any}}, nil)
	p.wantCode(err, 7009)
}

// TestCloseInTime: Close does not wait for a server that does not answer.
func TestCloseInTime(t *testing.T) {
	p := start(t, media.Config{}, Config{})
	path, _ := p.file(1 << 20)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := p.Upload(ctx, []File{{path, Any}}, func(sent, _ int64) {
		if sent > 0 {
			p.proxy.Stall()
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	p.Close(ctx)
	p.proxy.Heal()
}

// TestMemory: a file is never in memory as a whole.
func TestMemory(t *testing.T) {
	p := start(t, media.Config{}, Config{})
	path, _ := p.file(40 << 20)
	allocated := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	before := allocated()
	up, err := p.Upload(t.Context(), []File{{path, Any}}, nil)
	p.ok(err)
	p.ok(p.Download(t.Context(), Fetch{ID: up[0].ID, Path: filepath.Join(t.TempDir(), "x")}, nil))
	if n := allocated() - before; n > 16<<20 { // the server's buffers, too
		t.Errorf("%d bytes were allocated for a file of %d", n, 40<<20)
	}
}
