package media

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
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

	"go.uber.org/goleak"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// place is a store, a folder and /media/ on a port of the loopback. It may be stopped and started again.
type place struct {
	*testing.T
	dir    string
	cfg    Config
	client http.Client

	mu    sync.Mutex
	ahead time.Duration

	log   bytes.Buffer
	store *store.Store
	// broken is the same store, as the media have it.
	broken *broken
	rules  *chat.Chat
	media  *Media
	http   *httptest.Server
}

func start(t *testing.T, cfg Config) *place {
	p := &place{T: t, dir: t.TempDir(), cfg: cfg}
	p.start()
	t.Cleanup(p.stop)
	return p
}

func (p *place) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Add(p.ahead)
}

// later moves the clock.
func (p *place) later(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ahead += d
}

func (p *place) ok(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *place) start() {
	p.Helper()
	log := slog.New(slog.NewTextHandler(&p.log, nil))
	var err error
	p.store, err = store.Open(p.Context(), store.Config{Dir: p.dir, Clock: p.now, Log: log})
	p.ok(err)
	p.rules = chat.New(p.store, chat.Config{Clock: p.now, Log: log, MediaKey: []byte("a key of this test")})
	cfg := p.cfg
	cfg.Now, cfg.Log, cfg.Creates = p.now, log, cmp.Or(cfg.Creates, 1<<20)
	cfg.Folder, err = OpenFolder(p.Context(), p.blob(), p.store, false, log)
	p.ok(err)
	p.broken = &broken{Store: p.store}
	p.media = New(p.broken, p.rules, cfg)
	p.http = httptest.NewServer(p.media)
}

func (p *place) stop() {
	p.http.CloseClientConnections()
	p.http.Close()
	p.client.CloseIdleConnections()
	p.media.Close()
	p.store.Close()
}

func (p *place) blob() string { return filepath.Join(p.dir, "blob") }

// user logs a user in and returns their tokens.
func (p *place) user(name string) (read, upload string) {
	p.Helper()
	u, err := p.rules.Account(context.Background(), name)
	p.ok(err)
	l, err := p.rules.Login(context.Background(), u.UID, &im.LoginRequest{UserId: name, DeviceId: name + "'s", Platform: im.Platform_PLATFORM_LINUX}, chat.Ticket{Issued: p.now()})
	p.ok(err)
	return l.Reply.MediaToken, l.Reply.UploadToken
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) code() string { return a.header.Get(im.CodeHeader) }

// ask makes a request with pairs of headers.
func (p *place) ask(method, path, token string, body io.Reader, headers ...string) answer {
	p.Helper()
	a, err := p.try(method, path, token, body, headers...)
	p.ok(err)
	return a
}

func (p *place) try(method, path, token string, body io.Reader, headers ...string) (answer, error) {
	req, err := http.NewRequest(method, p.http.URL+path, body)
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, err
}

// create creates an upload and returns its path.
func (p *place) create(token, kind string, size int) string {
	p.Helper()
	a := p.ask("POST", "/media/upload/", token, nil, "Upload-Length", strconv.Itoa(size), "Upload-Metadata", "kind "+base64.StdEncoding.EncodeToString([]byte(kind)))
	if a.status != http.StatusCreated {
		p.Fatalf("created with %d: %s", a.status, a.body)
	}
	return a.header.Get("Location")
}

func (p *place) patch(token, path string, at int, part []byte, headers ...string) answer {
	p.Helper()
	return p.ask("PATCH", path, token, bytes.NewReader(part), append([]string{"Upload-Offset", strconv.Itoa(at), "Content-Type", patchType}, headers...)...)
}

func (p *place) wantStatus(a answer, status int) answer {
	p.Helper()
	if a.status != status {
		p.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// put uploads a file and returns its path.
func (p *place) put(token, kind string, data []byte) string {
	p.Helper()
	path := p.create(token, kind, len(data))
	p.wantStatus(p.patch(token, path, 0, data), http.StatusNoContent)
	return strings.Replace(path, "/upload/", "/", 1)
}

// files returns the files below the blob folder, without its id.
func (p *place) files() (names []string) {
	p.Helper()
	p.ok(filepath.WalkDir(p.blob(), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != idFile {
			names = append(names, path)
		}
		return err
	}))
	return names
}

// noise makes bytes that are the same for the same seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	rand.NewChaCha8(key).Read(b)
	return b
}

func hashOf(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// TestUpload: what a client uploads in parts comes back equal: whole, in ranges, and again only if it has changed.
func TestUpload(t *testing.T) {
	p := start(t, Config{})
	read, token := p.user("alice")
	for i, size := range []int{1, 3 << 20} {
		data := noise(uint64(i), size)
		path := p.create(token, "file", size)
		h := p.wantStatus(p.ask("HEAD", path, token, nil), http.StatusOK).header
		if h.Get("Upload-Offset") != "0" || h.Get("Upload-Length") != strconv.Itoa(size) || h.Get("Upload-Expires") == "" || h.Get("Cache-Control") != "no-store" {
			t.Fatalf("a new upload: %v", h)
		}
		id := strings.Replace(path, "/upload/", "/", 1)
		for at := 0; at < size; {
			p.wantStatus(p.ask("GET", id, read, nil), http.StatusForbidden) // not half of it
			n := min(size-at, 1<<20)
			a := p.wantStatus(p.patch(token, path, at, data[at:at+n]), http.StatusNoContent)
			at += n
			for _, h := range []http.Header{a.header, p.ask("HEAD", path, token, nil).header} {
				if h.Get("Upload-Offset") != strconv.Itoa(at) || h.Get("Tus-Resumable") != "1.0.0" {
					t.Fatalf("%d of %d: %v", at, size, h)
				}
			}
		}
		a := p.wantStatus(p.ask("GET", id, read, nil), http.StatusOK)
		if !bytes.Equal(a.body, data) || a.header.Get("ETag") != `"`+hashOf(data)+`"` {
			t.Fatalf("%d bytes came back as %d: %v", size, len(a.body), a.header)
		}
		p.wantStatus(p.ask("GET", id+"?token="+read, "", nil), http.StatusOK)
		p.wantStatus(p.ask("GET", id, read, nil, "If-None-Match", a.header.Get("ETag")), http.StatusNotModified)
		p.wantStatus(p.ask("GET", id, read, nil, "Range", "bytes=0-", "If-Match", `"another"`), http.StatusPreconditionFailed)
		from := size / 3
		a = p.wantStatus(p.ask("GET", id, read, nil, "Range", fmt.Sprintf("bytes=%d-", from), "If-Match", a.header.Get("ETag")), http.StatusPartialContent)
		if !bytes.Equal(a.body, data[from:]) {
			t.Fatal("another range")
		}
	}
	if n := len(p.files()); n != 2 {
		t.Errorf("%d files: %q", n, p.files())
	}
}

// TestLimits: what is too large, empty, too much or malformed is refused, whatever the client says of it, and leaves nothing.
func TestLimits(t *testing.T) {
	disk := uint64(1 << 40)
	p := start(t, Config{OpenPerUser: 3, PerDay: 300 << 20, PerUser: 280 << 20, Reserve: 1 << 30, Free: func(string) (uint64, error) { return disk, nil }})
	_, token := p.user("alice")
	meta := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, c := range []struct {
		length, metadata string
		status           int
		code             string
	}{
		{"", "", 400, ""},
		{"-1", "", 400, ""},
		{"+1", "", 400, ""},
		{"1e3", "", 400, ""},
		{"99999999999999999999", "", 400, ""},
		{"0", "", 400, "7006"},
		{strconv.Itoa(28<<20 + 1), "kind " + meta("image"), 413, "7005"},
		{strconv.Itoa(28<<20 + 1), "filetype " + meta("audio/amr"), 413, "7005"},
		{strconv.Itoa(100<<20 + 1), "kind " + meta("video"), 413, "7005"},
		{strconv.Itoa(100<<20 + 1), "", 413, "7005"},
		{"1", "kind " + meta("poem"), 400, ""},
		{"1", "kind !", 400, ""},
		{"1", "a,a", 400, ""},
		{"1", ",", 400, ""},
		{"1", "filename " + meta(strings.Repeat("x", maxMetadata)), 400, ""},
	} {
		a := p.ask("POST", "/media/upload/", token, nil, "Upload-Length", c.length, "Upload-Metadata", c.metadata)
		if a.status != c.status || a.code() != c.code {
			t.Errorf("%q, %q: %d %s %s, want %d %s", c.length, c.metadata, a.status, a.code(), a.body, c.status, c.code)
		}
	}
	// The largest ones are taken; three may be open.
	paths := []string{p.create(token, "image", 28<<20), p.create(token, "file", 100<<20), p.create(token, "sound", 5)}
	if a := p.ask("POST", "/media/upload/", token, nil, "Upload-Length", "1"); a.status != 429 || a.code() != "6008" {
		t.Errorf("the fourth open upload: %d %s", a.status, a.code())
	}
	// More than was announced: by the length of the request, and without one.
	long := []byte("123456")
	if a := p.patch(token, paths[2], 0, long); a.status != 413 || a.code() != "7005" {
		t.Errorf("more than announced: %d %s", a.status, a.code())
	}
	chunked := struct{ io.Reader }{bytes.NewReader(long)}
	if a := p.ask("PATCH", paths[2], token, chunked, "Upload-Offset", "0", "Content-Type", patchType); a.status != 413 || a.code() != "7005" {
		t.Errorf("more than announced, in chunks: %d %s", a.status, a.code())
	}
	for _, c := range []struct {
		offset, kind, sum string
		status            int
	}{
		{"1", patchType, "", 409}, {"0", "text/plain", "", 415}, {"x", patchType, "", 400}, {"0", patchType, "md5 AA==", 400}, {"0", patchType, "sha1 AA==", 400},
	} {
		p.wantStatus(p.ask("PATCH", paths[2], token, bytes.NewReader(long[:1]), "Upload-Offset", c.offset, "Content-Type", c.kind, "Upload-Checksum", c.sum), c.status)
	}
	p.wantStatus(p.ask("POST", "/media/upload/", token, nil, "Tus-Resumable", "0.2.2", "Upload-Length", "1"), 412)
	p.wantStatus(p.ask("GET", paths[2], token, nil), 405)
	p.wantStatus(p.ask("PUT", strings.Replace(paths[2], "/upload/", "/", 1), token, nil), 405)
	// A full disk refuses new uploads and more of those that are open; what there is goes on when there is room.
	disk = 1<<30 + 100
	if a := p.patch(token, paths[2], 0, long[:5]); a.status != 507 || a.code() != "6008" {
		t.Errorf("a part on a full disk: %d %s", a.status, a.code())
	}
	p.wantStatus(p.ask("DELETE", paths[1], token, nil), 204)
	if a := p.ask("POST", "/media/upload/", token, nil, "Upload-Length", "101"); a.status != 507 || a.code() != "6008" {
		t.Errorf("an upload on a full disk: %d %s", a.status, a.code())
	}
	disk = 1 << 40
	p.wantStatus(p.patch(token, paths[2], 0, long[:5]), 204)
	// 28 MB are kept and were uploaded today: two of 100 MB more are both.
	for range 2 {
		p.create(token, "file", 100<<20)
	}
	p.wantStatus(p.ask("DELETE", paths[0], token, nil), 204)
	if a := p.ask("POST", "/media/upload/", token, nil, "Upload-Length", strconv.Itoa(80<<20)); a.status != 507 || a.code() != "6008" {
		t.Errorf("more bytes than are kept: %d %s", a.status, a.code())
	}
	if files := p.files(); len(files) != 1 {
		t.Errorf("left are %q", files)
	}
}

// TestChecksum: a part with a checksum is taken whole and right, or not at all.
func TestChecksum(t *testing.T) {
	p := start(t, Config{})
	read, token := p.user("alice")
	data := noise(1, 200<<10)
	path := p.create(token, "file", len(data))
	sum := sha256.Sum256(data[:100<<10])
	good := "sha256 " + base64.StdEncoding.EncodeToString(sum[:])
	p.wantStatus(p.patch(token, path, 0, data[:100<<10], "Upload-Checksum", good), 204)
	p.wantStatus(p.patch(token, path, 100<<10, data[100<<10:], "Upload-Checksum", good), statusChecksum)
	// One that is cut off.
	if a, err := p.try("PATCH", path, token, p.cutOff(data[:70<<10], path, token, 100<<10), "Upload-Offset", strconv.Itoa(100<<10), "Content-Type", patchType, "Upload-Checksum", good); err == nil {
		t.Errorf("a request that was cut off got %d", a.status)
	}
	p.await(path, token, 100<<10)
	p.wantStatus(p.patch(token, path, 100<<10, data[100<<10:]), 204)
	if a := p.ask("GET", strings.Replace(path, "/upload/", "/", 1), read, nil); !bytes.Equal(a.body, data) {
		t.Errorf("it came back with %d, changed: %.100q", a.status, a.body)
	}
}

// cutOff is a body whose connection breaks behind part, when the server has begun to take it.
func (p *place) cutOff(part []byte, path, token string, at int) io.Reader {
	return io.MultiReader(bytes.NewReader(part), breaks(func() {
		for p.ask("HEAD", path, token, nil).header.Get("Upload-Offset") == strconv.Itoa(at) {
			time.Sleep(time.Millisecond)
		}
	}))
}

type breaks func()

func (b breaks) Read([]byte) (int, error) {
	b()
	return 0, io.ErrUnexpectedEOF
}

// await waits until an upload is at an offset: a request whose connection was cut may still be at work on it.
func (p *place) await(path, token string, want int) {
	p.Helper()
	for p.wantStatus(p.ask("HEAD", path, token, nil), 200).header.Get("Upload-Offset") != strconv.Itoa(want) {
		time.Sleep(time.Millisecond)
	}
}

// TestResume: an upload goes on where it was after cut connections and a restart of the server, and a request that goes on ends the one whose connection
// hangs.
func TestResume(t *testing.T) {
	p := start(t, Config{})
	read, token := p.user("alice")
	data := noise(2, 1<<20)
	path := p.create(token, "video", len(data))
	at := 0
	for cut := range 10 {
		n := 50<<10 + cut
		if _, err := p.try("PATCH", path, token, p.cutOff(data[at:at+n], path, token, at), "Upload-Offset", strconv.Itoa(at), "Content-Type", patchType); err == nil {
			t.Fatal("a request that was cut off got a response")
		}
		release, err := p.media.hold(context.Background(), strings.TrimPrefix(path, uploadPrefix), nil)
		p.ok(err)
		release()
		h := p.wantStatus(p.ask("HEAD", path, token, nil), 200).header
		got, err := strconv.Atoi(h.Get("Upload-Offset"))
		p.ok(err)
		if got < at || got > at+n {
			t.Fatalf("%d bytes after %d to %d were sent", got, at, at+n)
		}
		if at = got; cut == 4 {
			p.stop()
			p.start()
			p.await(path, token, at)
		}
	}
	// A connection that hangs.
	r, w := io.Pipe()
	first := make(chan answer, 1)
	go func() {
		a, _ := p.try("PATCH", path, token, r, "Upload-Offset", strconv.Itoa(at), "Content-Type", patchType)
		first <- a
	}()
	w.Write(data[at : at+1]) // it is at work
	for {
		if h := p.ask("HEAD", path, token, nil).header; h.Get("Upload-Offset") == strconv.Itoa(at+1) {
			break
		}
	}
	at++
	p.wantStatus(p.patch(token, path, at, data[at:]), 204)
	w.CloseWithError(io.ErrUnexpectedEOF)
	if a := <-first; a.status != 409 && a.status != 0 {
		t.Errorf("the request that hung got %d", a.status)
	}
	if a := p.ask("GET", strings.Replace(path, "/upload/", "/", 1), read, nil); !bytes.Equal(a.body, data) {
		t.Error("it came back changed")
	}
	if files := p.files(); len(files) != 1 {
		t.Errorf("left are %q", files)
	}
}

// TestInterrupted: a request that interrupts another one just before its end leaves the connection of the other as good as new.
func TestInterrupted(t *testing.T) {
	p := start(t, Config{})
	_, token := p.user("alice")
	for i := range soak.Pick(30, 1000) {
		path := p.create(token, "file", 10)
		both := make(chan int)
		for range 2 {
			go func() {
				a, _ := p.try("PATCH", path, token, strings.NewReader("0123456789"), "Upload-Offset", "0", "Content-Type", patchType)
				both <- a.status
			}()
		}
		for range 2 {
			if status := <-both; status != 204 && status != 409 && status != 0 {
				t.Fatalf("round %d: %d", i, status)
			}
		}
		// What comes next on either connection.
		for range 2 {
			go func() {
				a, err := p.try("HEAD", path, token, nil)
				if err != nil {
					t.Error(err)
				}
				both <- a.status
			}()
		}
		for range 2 {
			if status := <-both; status != 200 {
				t.Fatalf("round %d: the next request got %d", i, status)
			}
		}
		p.wantStatus(p.ask("DELETE", path, token, nil), 204)
	}
}

// TestAccess: who has no session, an ended one, or a token of another kind or server gets for every id what an id that does not exist gets.
func TestAccess(t *testing.T) {
	p := start(t, Config{})
	read, token := p.user("alice")
	bobReads, bob := p.user("bob")
	path := p.put(token, "file", []byte("something"))
	open := p.create(token, "file", 10)
	p.wantStatus(p.ask("GET", path, bobReads, nil), 200) // the id is the right
	p.wantStatus(p.ask("GET", path, bob, nil), 200)

	b, err := base64.RawURLEncoding.DecodeString(read)
	p.ok(err)
	b[0] = 'u' // that of an upload
	forged := base64.RawURLEncoding.EncodeToString(b)
	unknown := p.ask("GET", prefix+newMediaID(), read, nil)
	if unknown.status != 403 || unknown.code() != "6006" {
		t.Fatalf("an unknown id: %d %s", unknown.status, unknown.code())
	}
	equal := func(what string, a answer) {
		t.Helper()
		a.header.Del("Date")
		unknown.header.Del("Date")
		if a.status != unknown.status || !bytes.Equal(a.body, unknown.body) || fmt.Sprint(a.header) != fmt.Sprint(unknown.header) {
			t.Errorf("%s: %d %s %v, and an unknown id: %v", what, a.status, a.body, a.header, unknown.header)
		}
	}
	for name, token := range map[string]string{"no token": "", "nonsense": "x", "changed": read[:len(read)-2] + "AA", "forged": forged} {
		for _, path := range []string{path, path + "/info", prefix + newMediaID(), prefix + "..%2f..%2fetc%2fpasswd"} {
			equal(name, p.ask("GET", path, token, nil))
		}
		equal(name, p.ask("GET", path+"?token="+token, "", nil))
	}
	for _, path := range []string{prefix, prefix + "x", strings.Replace(open, "/upload/", "/", 1), path + "x", prefix + "..%2f" + idFile, prefix + "upload"} {
		equal(path, p.ask("GET", path, read, nil))
	}
	// Uploads need the token for them, and are their owner's.
	p.wantStatus(p.ask("POST", "/media/upload/", read, nil, "Upload-Length", "1"), 403)
	p.wantStatus(p.ask("POST", "/media/upload/?token="+token, "", nil, "Upload-Length", "1"), 403)
	p.wantStatus(p.ask("HEAD", open, read, nil), 403)
	for _, path := range []string{open, uploadPrefix + newMediaID(), uploadPrefix + "x"} {
		for _, method := range []string{"HEAD", "PATCH", "DELETE"} {
			a := p.ask(method, path, bob, nil)
			if a.status != 404 || method != "HEAD" && string(a.body) != "there is no such upload\n" {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
			}
		}
	}
	// A kick ends the session, and its tokens with it; so does time.
	p.ok(p.rules.Kick(context.Background(), "bob", ""))
	equal("kicked", p.ask("GET", path, bobReads, nil))
	p.wantStatus(p.ask("POST", "/media/upload/", bob, nil, "Upload-Length", "1"), 403)
	p.later(7*24*time.Hour + time.Second)
	equal("expired", p.ask("GET", path, read, nil))
	if strings.Contains(p.log.String(), strings.TrimPrefix(path, prefix)) {
		t.Errorf("the log has an id: %s", p.log.String())
	}
}

// TestHostile: what was uploaded never becomes a page, whatever it is and whatever its uploader says of it.
func TestHostile(t *testing.T) {
	p := start(t, Config{})
	read, token := p.user("alice")
	for _, c := range []struct{ what, data, kind string }{
		{"HTML", "<!DOCTYPE html><script>alert(1)</script>", anyType},
		{"HTML behind a GIF", "GIF89a<script>alert(1)</script>", "image/gif"},
		{"SVG", `<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`, anyType},
		{"text", "hello", anyType},
		{"PDF", "%PDF-1.7\n", anyType},
		{"PNG", "\x89PNG\r\n\x1a\n", "image/png"},
		{"WAV", "RIFF\x24\x00\x00\x00WAVEfmt ", "audio/wav"},
	} {
		name := "x\r\nSet-Cookie: a=b\r\n\r\n<script>/../../etc/passwd"
		a := p.ask("POST", "/media/upload/", token, nil, "Upload-Length", strconv.Itoa(len(c.data)),
			"Upload-Metadata", "filename "+base64.StdEncoding.EncodeToString([]byte(name))+",filetype "+base64.StdEncoding.EncodeToString([]byte("text/html")))
		up := p.wantStatus(a, 201).header.Get("Location")
		p.wantStatus(p.patch(token, up, 0, []byte(c.data)), 204)
		path := strings.Replace(up, "/upload/", "/", 1)
		a = p.wantStatus(p.ask("GET", path, read, nil), 200)
		h := a.header
		if h.Get("Content-Type") != c.kind || (h.Get("Content-Disposition") == "attachment") != (c.kind == anyType) || string(a.body) != c.data {
			t.Errorf("%s: %v", c.what, h)
		}
		for _, path := range []string{path, path + "/info", path + "/nothing", prefix + newMediaID(), up} {
			a := p.ask("GET", path, read, nil)
			if a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Content-Security-Policy") != "sandbox; default-src 'none'" || strings.Contains(a.header.Get("Content-Type"), "html") {
				t.Errorf("%s: %s: %v", c.what, path, a.header)
			}
			if text := fmt.Sprint(a.header); strings.Contains(text, "Cookie") || strings.Contains(text, "passwd") {
				t.Errorf("%s: the name of the file is in %s", c.what, text)
			}
		}
	}
}

// TestOrigins: scripts of allowed pages can use every header of the protocol.
func TestOrigins(t *testing.T) {
	p := start(t, Config{})
	a := p.wantStatus(p.ask("OPTIONS", "/media/upload/", "", nil, "Origin", "https://app.example", "Access-Control-Request-Method", "PATCH"), 204)
	if a.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "Upload-Offset") ||
		!strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "Location") || a.header.Get("Tus-Extension") != tusExtensions || a.header.Get("Tus-Max-Size") != "104857600" {
		t.Errorf("%v", a.header)
	}
	p = start(t, Config{Origins: []string{"https://app.example"}})
	for origin, want := range map[string]string{"https://app.example": "https://app.example", "https://evil.example": "", "": ""} {
		if a := p.ask("OPTIONS", "/media/x", "", nil, "Origin", origin); a.header.Get("Access-Control-Allow-Origin") != want {
			t.Errorf("%q: %v", origin, a.header)
		}
	}
}

// TestDedupe: the same bytes of two users are on the disk once, have two ids, and neither upload shows that; each survives the end of the other.
func TestDedupe(t *testing.T) {
	p := start(t, Config{})
	read, alice := p.user("alice")
	_, bob := p.user("bob")
	data := noise(3, 100<<10)
	var paths []string
	var seen []string
	for _, token := range []string{alice, bob} {
		path := p.create(token, "file", len(data))
		var all []string
		for _, a := range []answer{p.patch(token, path, 0, data), p.ask("HEAD", path, token, nil)} {
			a.header.Del("Date")
			a.header.Del("Upload-Expires")
			all = append(all, fmt.Sprint(a.status, a.header, a.body))
		}
		seen = append(seen, strings.Join(all, "\n"))
		paths = append(paths, path)
	}
	if seen[0] != seen[1] {
		t.Errorf("the first upload gets\n%s\nthe second one\n%s", seen[0], seen[1])
	}
	for len(p.files()) > 1 { // the second file goes behind the response
		time.Sleep(time.Millisecond)
	}
	p.wantStatus(p.ask("DELETE", paths[0], alice, nil), 204)
	p.later(2 * grace)
	p.ok(p.media.Sweep(context.Background()))
	p.wantStatus(p.ask("GET", strings.Replace(paths[0], "/upload/", "/", 1), read, nil), 403)
	if a := p.ask("GET", strings.Replace(paths[1], "/upload/", "/", 1), read, nil); !bytes.Equal(a.body, data) {
		t.Errorf("the other one: %d", a.status)
	}
	p.wantStatus(p.ask("DELETE", paths[1], bob, nil), 204)
	p.later(2 * grace)
	p.ok(p.media.Sweep(context.Background()))
	if files := p.files(); len(files) > 0 {
		t.Errorf("left are %q", files)
	}
}

// TestSweep: uploads end when their time is over, done or not, and nothing of them is left; nor of what a crash left.
func TestSweep(t *testing.T) {
	p := start(t, Config{})
	read, token := p.user("alice")
	path := p.put(token, "file", noise(4, 10))
	open := p.create(token, "file", 10)
	p.wantStatus(p.patch(token, open, 0, []byte("half")), 204)
	// As a crash leaves them: a file that no row knows, one beside one that a row knows, and a copy that was not finished.
	known := p.files()[0]
	for _, f := range p.files() {
		if strings.Contains(f, hashOf(noise(4, 10))) {
			known = f
		}
	}
	stray := filepath.Join(filepath.Dir(known), hashOf(noise(4, 10))+"-0123456789abcdef")
	for _, name := range []string{stray, filepath.Join(p.blob(), "files", "00", strings.Repeat("0", 64)+"-0123456789abcdef"), filepath.Join(p.blob(), "open", "new-1")} {
		p.ok(os.WriteFile(name, []byte("x"), 0o600))
	}
	p.later(2 * grace)
	p.ok(p.media.Sweep(context.Background()))
	if files := p.files(); len(files) != 3 {
		t.Errorf("after two hours: %q", files)
	}
	p.wantStatus(p.ask("GET", path, read, nil), 200)
	p.later(defaultUnused)
	p.wantStatus(p.ask("GET", path, read, nil), 403) // also before it is swept
	p.wantStatus(p.ask("HEAD", open, token, nil), 404)
	p.ok(p.media.Sweep(context.Background()))
	p.later(2 * grace)
	p.ok(p.media.Sweep(context.Background()))
	if files := p.files(); len(files) != 0 {
		t.Errorf("left are %q", files)
	}
}

// TestFolder: a store and a folder are used together only if each has the id of the other.
func TestFolder(t *testing.T) {
	p := start(t, Config{})
	_, token := p.user("alice")
	p.put(token, "file", []byte("x"))
	log := slog.New(slog.DiscardHandler)
	other, err := store.Open(t.Context(), store.Config{Dir: t.TempDir(), Log: log})
	p.ok(err)
	defer other.Close()
	open := func(dir string, st *store.Store, fresh bool) error {
		_, err := OpenFolder(t.Context(), dir, st, fresh, log)
		return err
	}
	second := t.TempDir()
	for _, c := range []struct {
		what  string
		dir   string
		store *store.Store
		fresh bool
		want  string
	}{
		{"the same again", p.blob(), p.store, false, ""},
		{"an empty folder for a store that has one", second, p.store, false, "not the folder"},
		{"the folder of another store", p.blob(), other, false, "another database"},
		{"a folder with files as a new one", p.blob(), p.store, true, "another folder"},
		{"a new folder", second, p.store, true, ""},
		{"the new one", second, p.store, false, ""},
		{"the former one", p.blob(), p.store, false, "folder of another"},
		{"a crash before the database knew it", filepath.Join(second, "x"), other, false, ""},
	} {
		if c.what == "a crash before the database knew it" {
			p.ok(os.MkdirAll(c.dir, folderMode))
			p.ok(os.WriteFile(filepath.Join(c.dir, idFile), []byte("abc\n"), 0o600))
		}
		err := open(c.dir, c.store, c.fresh)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
		}
	}
}

// TestSlow: who sends or reads too slowly is cut off, and what has arrived stays; one user has a share of the transfers.
func TestSlow(t *testing.T) {
	p := start(t, Config{Transfers: 16})
	read, token := p.user("alice")
	large := p.put(token, "file", noise(5, 20<<20))
	p.stop()
	p.cfg.Pace = Pace{Window: 100 * time.Millisecond, Bytes: 1 << 20}
	p.start()
	path := p.create(token, "file", 10)
	r, w := io.Pipe()
	go w.Write([]byte("123"))
	a := p.ask("PATCH", path, token, r, "Upload-Offset", "0", "Content-Type", patchType)
	w.Close()
	if a.status != 408 || a.code() != "6008" {
		t.Errorf("a slow upload: %d %s", a.status, a.code())
	}
	p.await(path, token, 3)

	req, err := http.NewRequest("GET", p.http.URL+large, nil)
	p.ok(err)
	req.Header.Set("Authorization", "Bearer "+read)
	resp, err := p.client.Do(req)
	p.ok(err)
	defer resp.Body.Close()
	for p.inUse() > 0 { // nobody reads: the server gives up
		time.Sleep(time.Millisecond)
	}
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Errorf("a reader that had stopped got all %d bytes", n)
	}
	// Two transfers are a share of 16; of what is then free, one.
	for range 2 {
		if !p.media.enter(httptest.NewRecorder(), 1) {
			t.Fatal("no share")
		}
	}
	full := httptest.NewRecorder()
	if p.media.enter(full, 1) || full.Code != 429 || !p.media.enter(full, 2) || p.media.enter(full, 2) {
		t.Errorf("a third transfer: %d", full.Code)
	}
	p.media.leave(2)
	if !p.media.enter(full, 2) {
		t.Error("a place that was left is not free")
	}
}

func (p *place) inUse() int {
	p.media.mu.Lock()
	defer p.media.mu.Unlock()
	return p.media.transfers
}

// info reads what there is of a file.
func (p *place) info(path, token string) (d described) {
	p.Helper()
	p.ok(json.Unmarshal(p.wantStatus(p.ask("GET", path+"/info", token, nil), 200).body, &d))
	return d
}
