package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"image"
	"io"
	"math"

	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
)

// broken is a store whose Updates fail when a test wants that, before or after they are made.
type broken struct {
	chat.Store
	update atomic.Pointer[func(ctx context.Context, run func() error) error]
}

func (b *broken) Update(ctx context.Context, keys []chat.Key, fn func(chat.Tx) error) error {
	run := func() error { return b.Store.Update(ctx, keys, fn) }
	if f := b.update.Load(); f != nil {
		return (*f)(ctx, run)
	}
	return run()
}

// breaks makes the Updates of a place go through f.
func (p *place) breaks(f func(ctx context.Context, run func() error) error) {
	if f == nil {
		p.broken.update.Store(nil)
	} else {
		p.broken.update.Store(&f)
	}
}

func (p *place) read(path string) string { return strings.Replace(path, "/upload/", "/", 1) }

// partial returns the file with what has arrived of an upload.
func (p *place) partial(path string) string {
	return p.media.folder.partial(partialOf(strings.TrimPrefix(path, uploadPrefix)))
}

// TestFullWhileFinishing: the copy of a file, and the sizes of an image, are not made on the reserve of the disk; when there is room, the upload is finished by a HEAD.
func TestFullWhileFinishing(t *testing.T) {
	var looks, full atomic.Int64 // at which look the disk is full
	full.Store(math.MaxInt64)
	p := start(t, Config{Reserve: 1 << 30, Free: func(string) (uint64, error) {
		if looks.Add(1) >= full.Load() {
			return 1 << 30, nil
		}
		return 1 << 40, nil
	}})
	read, token := p.user("alice")
	data := encoded(t, "image/png", picture(800, 740))
	for _, at := range []int64{2, 3} { // the part is looked at once, the copy, and each size
		path := p.create(token, "image", len(data))
		looks.Store(0)
		full.Store(at)
		if a := p.patch(token, path, 0, data); a.status != 507 || a.code() != "6008" {
			t.Errorf("full at look %d: %d %s", at, a.status, a.code())
		}
		if a := p.ask("HEAD", path, token, nil); a.status != 507 {
			t.Errorf("still full: %d", a.status)
		}
		if files := p.files(); len(files) != 1 {
			t.Errorf("beside what has arrived there is something: %q", files)
		}
		full.Store(math.MaxInt64)
		if h := p.wantStatus(p.ask("HEAD", path, token, nil), 200).header; h.Get("Upload-Offset") != strconv.Itoa(len(data)) {
			t.Errorf("%v", h)
		}
		if a := p.ask("GET", p.read(path), read, nil); !bytes.Equal(a.body, data) {
			t.Errorf("it came back with %d", a.status)
		}
		p.wantStatus(p.ask("DELETE", path, token, nil), 204)
		p.later(2 * grace)
		p.ok(p.media.Sweep(context.Background()))
	}
}

// TestInDoubt: if nobody knows whether an upload was committed as done, its file stays. If it was, it is served; if not, a HEAD finishes the upload.
func TestInDoubt(t *testing.T) {
	p := start(t, Config{})
	read, token := p.user("alice")
	data := noise(6, 10<<10)
	for _, done := range []bool{true, false} {
		for _, e := range []error{context.Canceled, chat.ErrAway, io.ErrUnexpectedEOF} {
			path := p.create(token, "file", len(data))
			p.breaks(func(_ context.Context, run func() error) error {
				if done {
					p.ok(run())
				}
				return e
			})
			if a := p.patch(token, path, 0, data); a.status < 500 {
				t.Fatalf("%v: %d", e, a.status)
			}
			p.breaks(nil)
			p.wantStatus(p.ask("HEAD", path, token, nil), 200)
			if a := p.ask("GET", p.read(path), read, nil); !bytes.Equal(a.body, data) {
				t.Errorf("committed %t, %v: it came back with %d", done, e, a.status)
			}
			p.wantStatus(p.ask("DELETE", path, token, nil), 204)
		}
	}
	p.later(2 * defaultUnused)
	p.ok(p.media.Sweep(context.Background()))
	p.later(2 * grace)
	p.ok(p.media.Sweep(context.Background()))
	if files := p.files(); len(files) != 0 {
		t.Errorf("the sweep leaves %q", files)
	}
}

// TestCommittedBefore: an Update that runs again after a commit whose answer was lost finds the upload done. That is no error, and its file stays.
func TestCommittedBefore(t *testing.T) {
	p := start(t, Config{})
	read, token := p.user("alice")
	data := noise(7, 100)
	path := p.create(token, "file", len(data))
	p.breaks(func(_ context.Context, run func() error) error {
		p.ok(run())
		return run()
	})
	p.wantStatus(p.patch(token, path, 0, data), 204)
	p.breaks(nil)
	if a := p.ask("GET", p.read(path), read, nil); !bytes.Equal(a.body, data) {
		t.Errorf("it came back with %d", a.status)
	}
	if files := p.files(); len(files) != 1 {
		t.Errorf("left are %q", files)
	}
}

// TestHeadTakesAPlace: a HEAD that finishes an upload is a transfer like others.
func TestHeadTakesAPlace(t *testing.T) {
	p := start(t, Config{Transfers: 1})
	_, token := p.user("alice")
	_, other := p.user("bob")
	data := noise(8, 100)
	path, small := p.create(token, "file", len(data)), p.create(other, "file", 1)
	p.ok(os.WriteFile(p.partial(path), data, 0o600)) // as a crash leaves it
	reached, leave := make(chan bool), make(chan bool)
	p.breaks(func(_ context.Context, run func() error) error {
		reached <- true
		<-leave
		return run()
	})
	got := make(chan answer, 1)
	go func() {
		a, _ := p.try("HEAD", path, token, nil)
		got <- a
	}()
	<-reached
	if a := p.patch(other, small, 0, []byte("x")); a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("a part while the only place is taken: %d", a.status)
	}
	p.wantStatus(p.ask("HEAD", small, other, nil), 200) // this one only looks
	leave <- true
	if a := <-got; a.status != 200 {
		t.Errorf("the HEAD got %d", a.status)
	}
	p.breaks(nil)
	p.wantStatus(p.patch(other, small, 0, []byte("x")), 204)
}

// TestNewestWins: of several requests that send parts of an upload, the newest ends all before it, also those that wait for their turn.
func TestNewestWins(t *testing.T) {
	p := start(t, Config{})
	_, token := p.user("alice")
	path := p.create(token, "file", 10)
	id := strings.TrimPrefix(path, uploadPrefix)
	release, err := p.media.hold(context.Background(), id, nil) // a HEAD that finishes
	p.ok(err)
	waiting := func() int {
		p.media.mu.Lock()
		defer p.media.mu.Unlock()
		return p.media.held[id].users
	}
	var all []chan answer
	for i := range 3 {
		got := make(chan answer, 1)
		all = append(all, got)
		go func() {
			a, _ := p.try("PATCH", path, token, strings.NewReader("0123456789"), "Upload-Offset", "0", "Content-Type", patchType)
			got <- a
		}()
		if i > 0 {
			if a := <-all[i-1]; a.status != 409 || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("request %d got %d while a newer one waits", i-1, a.status)
			}
		}
		for waiting() != 2 {
			time.Sleep(time.Millisecond)
		}
	}
	release()
	if a := <-all[2]; a.status != 204 {
		t.Errorf("the newest got %d", a.status)
	}
}

// TestEnds: however a part ends, the upload goes on, nobody has its turn or a place any more, and what has arrived counts.
func TestEnds(t *testing.T) {
	var disk atomic.Uint64
	disk.Store(1 << 40)
	p := start(t, Config{Reserve: 1 << 30, Free: func(string) (uint64, error) { return disk.Load(), nil }})
	read, token := p.user("alice")
	p.stop()
	p.cfg.Pace = Pace{Window: 500 * time.Millisecond, Bytes: 1 << 20}
	p.start()
	data := noise(9, 100<<10)
	const half = 50 << 10
	headers := []string{"Upload-Offset", "0", "Content-Type", patchType}
	for _, c := range []struct {
		what   string
		end    func(path string) answer
		status int
		left   int
	}{
		{"cut", func(path string) answer {
			a, _ := p.try("PATCH", path, token, p.cutOff(data[:half], path, token, 0), headers...)
			p.await(path, token, half)
			return a
		}, 0, half},
		{"slow", func(path string) answer {
			r, w := io.Pipe()
			go w.Write(data[:half])
			defer w.Close()
			return p.ask("PATCH", path, token, r, headers...)
		}, 408, half},
		{"too long", func(path string) answer {
			return p.ask("PATCH", path, token, struct{ io.Reader }{io.MultiReader(bytes.NewReader(data), bytes.NewReader(data))}, headers...)
		}, 413, -1},
		{"another offset", func(path string) answer { return p.patch(token, path, 1, data[1:]) }, 409, 0},
		{"a wrong checksum", func(path string) answer {
			sum := sha256.Sum256(nil)
			return p.patch(token, path, 0, data, "Upload-Checksum", "sha256 "+base64.StdEncoding.EncodeToString(sum[:]))
		}, statusChecksum, 0},
		{"a full disk", func(path string) answer {
			disk.Store(1 << 30)
			defer disk.Store(1 << 40)
			return p.patch(token, path, 0, data)
		}, 507, 0},
		{"a shutdown", func(path string) answer {
			r, w := io.Pipe()
			defer w.Close()
			go w.Write(data[:half])
			got := make(chan answer, 1)
			go func() {
				a, _ := p.try("PATCH", path, token, r, headers...)
				got <- a
			}()
			p.await(path, token, half)
			p.http.CloseClientConnections()
			w.Close() // the client waits for its body
			return <-got
		}, 0, half},
		{"the newest", func(path string) answer {
			r, w := io.Pipe()
			defer w.Close()
			go w.Write(data[:half])
			got := make(chan answer, 1)
			go func() {
				a, _ := p.try("PATCH", path, token, r, headers...)
				got <- a
			}()
			p.await(path, token, half)
			p.wantStatus(p.patch(token, path, half, nil), 204)
			return <-got
		}, 409, half},
	} {
		path := p.create(token, "file", len(data))
		if a := c.end(path); a.status != c.status || a.status > 0 && a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", c.what, a.status, a.header)
		}
		for p.inUse() > 0 || p.media.busy(strings.TrimPrefix(path, uploadPrefix)) {
			time.Sleep(time.Millisecond)
		}
		at, err := strconv.Atoi(p.wantStatus(p.ask("HEAD", path, token, nil), 200).header.Get("Upload-Offset"))
		p.ok(err)
		if c.left >= 0 && at != c.left {
			t.Errorf("%s: %d bytes are left, want %d", c.what, at, c.left)
		}
		p.wantStatus(p.patch(token, path, at, data[at:]), 204)
		if a := p.ask("GET", p.read(path), read, nil); !bytes.Equal(a.body, data) {
			t.Errorf("%s: it came back with %d", c.what, a.status)
		}
	}
}

// TestDeletedCounts: what is deleted counts for the day, and so does what was thrown away for its checksum; what was only promised does not.
func TestDeletedCounts(t *testing.T) {
	p := start(t, Config{PerDay: 1000})
	_, token := p.user("alice")
	_, other := p.user("bob")
	path := p.create(token, "file", 1000)
	p.wantStatus(p.patch(token, path, 0, make([]byte, 400)), 204)
	p.wantStatus(p.ask("DELETE", path, token, nil), 204)
	p.wantStatus(p.ask("POST", "/media/upload/", token, nil, "Upload-Length", "601"), 507)
	p.put(token, "file", make([]byte, 600))
	p.wantStatus(p.ask("POST", "/media/upload/", token, nil, "Upload-Length", "1"), 507)
	sum := sha256.Sum256(nil)
	wrong := "sha256 " + base64.StdEncoding.EncodeToString(sum[:])
	path = p.create(other, "file", 400)
	p.wantStatus(p.patch(other, path, 0, make([]byte, 400), "Upload-Checksum", wrong), statusChecksum)
	if a := p.patch(other, path, 0, make([]byte, 400), "Upload-Checksum", wrong); a.status != 507 || a.code() != "6008" {
		t.Errorf("a wrong checksum beyond the day: %d %s", a.status, a.code())
	}
	p.wantStatus(p.patch(other, path, 0, make([]byte, 400)), 404) // it has ended
	p.later(26 * time.Hour)
	p.ok(p.media.Sweep(context.Background()))
	p.create(token, "file", 1000)
	p.create(other, "file", 1000)
}

// TestFolderAgain: a folder that cannot be made, or that has disappeared, is made by a later upload, but not where the disk with the files is not mounted.
func TestFolderAgain(t *testing.T) {
	p := start(t, Config{})
	_, token := p.user("alice")
	files, aside := filepath.Join(p.blob(), "files"), filepath.Join(p.dir, "aside")
	p.ok(os.WriteFile(files, nil, 0o600)) // no folder can be made there
	path := p.create(token, "file", 3)
	if a := p.patch(token, path, 0, []byte("abc")); a.status != 500 {
		t.Fatalf("without a folder: %d", a.status)
	}
	p.ok(os.Remove(files))
	p.wantStatus(p.patch(token, path, 0, []byte("abc")), 204)
	for _, lost := range []string{filepath.Join(p.blob(), "open"), files} {
		p.ok(os.RemoveAll(lost))
		path = p.create(token, "file", 3)
		if a := p.patch(token, path, 0, []byte("abc")); a.status != 500 {
			t.Fatalf("without %s: %d", lost, a.status)
		}
		at, _ := p.media.folder.arrived(partialOf(strings.TrimPrefix(path, uploadPrefix)))
		p.wantStatus(p.patch(token, path, int(at), []byte("abc")[at:]), 204)
	}
	path = p.create(token, "file", 3)
	p.ok(os.Rename(p.blob(), aside))
	p.ok(os.Mkdir(p.blob(), 0o700))
	for range 2 {
		p.wantStatus(p.patch(token, path, 0, []byte("abc")), 500)
	}
	if list, err := os.ReadDir(p.blob()); err != nil || len(list) > 0 {
		t.Errorf("made in another folder: %v %v", list, err)
	}
	p.ok(os.Remove(p.blob()))
	p.ok(os.Rename(aside, p.blob()))
	p.wantStatus(p.patch(token, path, 0, []byte("abc")), 204)
}

// TestMadeSizesCount: an image is not decoded if its sizes would take too much memory, although it would not.
func TestMadeSizesCount(t *testing.T) {
	data := encoded(t, "image/jpeg", image.NewGray(image.Rect(0, 0, 8, 8)))
	sof := bytes.Index(data, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(data[sof+5:], 725)
	binary.BigEndian.PutUint16(data[sof+7:], 55000)
	if _, err := makeSizes(context.Background(), "image/jpeg", withOrientation(data, 6)); !errors.Is(err, errTooManyPixels) {
		t.Errorf("an image of 40 MB whose large size takes 470 MB: %v", err)
	}
}

// TestPanicOfDecoder: an image over which a decoder panics is served as it is.
func TestPanicOfDecoder(t *testing.T) {
	whole := decoders["image/png"]
	defer func() { decoders["image/png"] = whole }()
	decoders["image/png"] = decoder{whole.config, func(io.Reader) (image.Image, error) { panic("a decoder that panics") }, whole.cost}
	p := start(t, Config{})
	read, token := p.user("alice")
	data := encoded(t, "image/png", picture(300, 300))
	path := p.put(token, "image", data)
	if a := p.ask("GET", path+"/thumb", read, nil); !bytes.Equal(a.body, data) {
		t.Errorf("it came back with %d", a.status)
	}
}

// TestRefusalsAreNotKept: no proxy keeps a refusal.
func TestRefusalsAreNotKept(t *testing.T) {
	p := start(t, Config{})
	read, token := p.user("alice")
	path := p.put(token, "file", []byte("something"))
	lost := p.put(token, "file", []byte("something else"))
	p.ok(os.Remove(func() string {
		for _, f := range p.files() {
			if strings.Contains(f, hashOf([]byte("something else"))) {
				return f
			}
		}
		return ""
	}()))
	if a := p.wantStatus(p.ask("GET", path, read, nil), 200); a.header.Get("Cache-Control") != "private, max-age=86400" {
		t.Errorf("%v", a.header)
	}
	for _, c := range []struct {
		method, path, token string
		status              int
		headers             []string
	}{
		{"GET", path, "", 403, nil},
		{"GET", prefix + newMediaID(), read, 403, nil},
		{"GET", lost, read, 403, nil},
		{"GET", path + "/thumb", read, 404, nil},
		{"PUT", path, read, 405, nil},
		{"GET", path, read, 412, []string{"If-Match", `"another"`}},
		{"GET", path, read, 416, []string{"Range", "bytes=100-"}},
		{"POST", uploadPrefix, token, 413, []string{"Upload-Length", "999999999"}},
		{"POST", uploadPrefix, token, 412, []string{"Tus-Resumable", "2"}},
		{"HEAD", uploadPrefix + newMediaID(), token, 404, nil},
	} {
		a := p.wantStatus(p.ask(c.method, c.path, c.token, nil, c.headers...), c.status)
		if got := a.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s %s %v: %d with %q", c.method, c.path, c.headers, a.status, got)
		}
	}
}

// TestExpiredMeanwhile: an upload whose time runs out while a part of it arrives is as one that never was, whether the sweep has seen it or not.
func TestExpiredMeanwhile(t *testing.T) {
	p := start(t, Config{})
	read, token := p.user("alice")
	for _, swept := range []bool{false, true} {
		for _, rest := range []string{"6789", "678"} {
			path := p.create(token, "file", 10)
			r, w := io.Pipe()
			got := make(chan answer, 1)
			go func() {
				a, _ := p.try("PATCH", path, token, r, "Upload-Offset", "0", "Content-Type", patchType)
				got <- a
			}()
			w.Write([]byte("012345"))
			p.await(path, token, 6)
			p.later(defaultUnused + time.Second)
			if swept {
				p.ok(p.media.Sweep(context.Background()))
			}
			w.Write([]byte(rest))
			w.Close()
			if a := <-got; a.status != 404 || a.code() != "6008" {
				t.Errorf("swept %t, %q: %d %s", swept, rest, a.status, a.body)
			}
			if files := p.files(); len(files) > 0 {
				t.Errorf("swept %t, %q: left are %q", swept, rest, files)
			}
			p.wantStatus(p.ask("GET", p.read(path), read, nil), 403)
		}
	}
}

// TestCloseWaits: when Close returns, the second file of two equal ones is deleted.
func TestCloseWaits(t *testing.T) {
	p := start(t, Config{})
	_, token := p.user("alice")
	for range 20 {
		p.put(token, "file", []byte("the same"))
		p.wantStatus(p.ask("DELETE", uploadPrefix+newMediaID(), token, nil), 404)
	}
	p.stop()
	n := len(p.files())
	p.start()
	if n != 1 {
		t.Errorf("%d files are left", n)
	}
}

// TestFewUsersLeavePlaces: however many transfers each of them begins, eight users do not take all places.
func TestFewUsersLeavePlaces(t *testing.T) {
	p := start(t, Config{})
	for uid := range chat.UID(8) {
		n := 0
		for p.media.enter(httptest.NewRecorder(), uid+1) {
			n++
		}
		if n == 0 || n > defaultTransfers/8 {
			t.Errorf("user %d has %d places", uid, n)
		}
	}
	if left := defaultTransfers - p.inUse(); left < defaultTransfers/4 {
		t.Errorf("%d places are left", left)
	}
	for uid := range chat.UID(20) {
		if !p.media.enter(httptest.NewRecorder(), uid+100) {
			t.Fatalf("no place for user %d", uid)
		}
	}
}

// TestCreatedTooFast: a user creates at most some uploads per second, and others are not concerned.
func TestCreatedTooFast(t *testing.T) {
	p := start(t, Config{Creates: 1, OpenPerUser: 100})
	_, token := p.user("alice")
	_, other := p.user("bob")
	tooFast := false
	for range 20 { // as fast as it goes
		a := p.ask("POST", uploadPrefix, token, nil, "Upload-Length", "1")
		if tooFast = a.status == 429; tooFast {
			if a.code() != "6008" || a.header.Get("Retry-After") != "1" {
				t.Errorf("%v", a.header)
			}
			break
		}
	}
	if !tooFast {
		t.Error("20 uploads are created at once")
	}
	p.create(other, "file", 1)
	p.later(time.Second)
	p.create(token, "file", 1)
}

// TestLostCreates: uploads whose creation got no answer, and of which nothing arrives, give way to new ones after a minute; others do not.
func TestLostCreates(t *testing.T) {
	p := start(t, Config{OpenPerUser: 3})
	_, token := p.user("alice")
	used := p.create(token, "file", 3)
	p.wantStatus(p.patch(token, used, 0, []byte("a")), 204)
	lost := []string{p.create(token, "file", 3), p.create(token, "file", 3)}
	p.wantStatus(p.ask("POST", uploadPrefix, token, nil, "Upload-Length", "1"), 429)
	p.later(lostAfter + time.Second)
	fresh := p.create(token, "file", 3)
	p.wantStatus(p.ask("HEAD", lost[0], token, nil), 404)
	p.wantStatus(p.ask("HEAD", lost[1], token, nil), 200)
	p.create(token, "file", 3)
	p.wantStatus(p.ask("HEAD", lost[1], token, nil), 404)
	p.wantStatus(p.ask("POST", uploadPrefix, token, nil, "Upload-Length", "1"), 429)
	p.wantStatus(p.patch(token, used, 1, []byte("bc")), 204)
	p.wantStatus(p.patch(token, fresh, 0, []byte("abc")), 204)
}

// TestTokenOfAnotherApp: two apps with one key do not take each other's tokens.
func TestTokenOfAnotherApp(t *testing.T) {
	p := start(t, Config{})
	read, token := p.user("alice")
	other := chat.New(p.store, chat.Config{Clock: p.now, MediaKey: []byte("a key of this test"), AppID: 7})
	for _, tok := range []string{read, token} {
		if _, err := p.rules.CheckMedia(t.Context(), tok, false); err != nil {
			t.Error(err)
		}
		if _, err := other.CheckMedia(t.Context(), tok, false); err == nil {
			t.Error("the token of another app is good")
		}
	}
}
