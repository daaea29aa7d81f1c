package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
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
	"github.com/tidings-im/tidings/internal/media"
	"github.com/tidings-im/tidings/internal/store"
	"github.com/tidings-im/tidings/internal/testing/faultproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// place is the /media/ of a server, behind a proxy that cuts connections, and the transfers of a user. The server may be stopped and started again.
type place struct {
	*testing.T
	dir   string
	cfg   media.Config
	addr  string
	proxy *faultproxy.Proxy
	*Transfers

	mu     sync.Mutex
	ahead  time.Duration
	token  string
	bad    bool // the token that is returned first is not good
	asked  int
	ids    []string // of all uploads that the server has made
	events int
	at     func(event int)       // what happens at an event; nil: nothing
	before func(r *http.Request) // the server gets a request; nil: nothing

	log   bytes.Buffer
	store *store.Store
	media *media.Media
	http  *httptest.Server
}

func start(t *testing.T, media media.Config, cfg Config) *place {
	p := &place{T: t, dir: t.TempDir(), cfg: media}
	p.start()
	t.Cleanup(func() { p.stop() })
	p.proxy = faultproxy.Start(t, "ws://"+p.addr)
	cfg.Server = p.proxy.URL
	cfg.Token = func(_ context.Context, refused string) (string, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked++
		if p.bad && refused == "" {
			return "an old token", nil
		}
		return p.token, nil
	}
	p.Transfers = p.new(cfg)
	p.login("alice")
	return p
}

// new makes transfers that end with the test.
func (p *place) new(cfg Config) *Transfers {
	p.Helper()
	tr, err := New(cfg)
	p.ok(err)
	p.Cleanup(func() { tr.Close(context.Background()) })
	return tr
}

func (p *place) ok(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *place) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Add(p.ahead)
}

func (p *place) start() {
	p.Helper()
	log := slog.New(slog.NewTextHandler(&p.log, nil))
	var err error
	p.store, err = store.Open(context.Background(), store.Config{Dir: p.dir, Clock: p.now, Log: log})
	p.ok(err)
	cfg := p.cfg
	cfg.Now, cfg.Log = p.now, log
	cfg.Folder, err = media.OpenFolder(context.Background(), p.blob(), p.store, false, log)
	p.ok(err)
	p.media = media.New(p.store, p.rules(), cfg)
	p.http = httptest.NewUnstartedServer(p)
	if p.addr != "" { // as before
		p.http.Listener.Close()
		p.http.Listener, err = net.Listen("tcp", p.addr)
		p.ok(err)
	}
	p.addr = p.http.Listener.Addr().String()
	p.http.Start()
}

func (p *place) rules() *chat.Chat {
	return chat.New(p.store, chat.Config{Clock: p.now, Log: slog.New(slog.DiscardHandler), MediaKey: []byte("a key of this test")})
}

func (p *place) stop() {
	p.http.CloseClientConnections()
	p.http.Close()
	p.media.Close()
	p.store.Close()
}

func (p *place) login(name string) {
	p.Helper()
	rules := p.rules()
	u, err := rules.Account(context.Background(), name)
	p.ok(err)
	l, err := rules.Login(context.Background(), u.UID, &im.LoginRequest{UserId: name, DeviceId: name + "'s", Platform: im.Platform_PLATFORM_LINUX}, chat.Ticket{Issued: p.now()})
	p.ok(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.token = l.Reply.UploadToken
}

func (p *place) blob() string { return filepath.Join(p.dir, "blob") }

// ServeHTTP is the server, with an event at each step of each request: when it has arrived, when some of its body has, before some of its response is sent, and
// when all of it is written, which the client has not got then.
func (p *place) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	before := p.before
	p.mu.Unlock()
	if before != nil {
		before(r)
	}
	p.event()
	r.Body = tapped{r.Body, p}
	p.media.ServeHTTP(&written{w, p}, r)
	if l := w.Header().Get("Location"); l != "" {
		p.mu.Lock()
		p.ids = append(p.ids, l[strings.LastIndexByte(l, '/')+1:])
		p.mu.Unlock()
	}
	p.event()
}

func (p *place) event() {
	p.mu.Lock()
	p.events++
	n, at := p.events, p.at
	p.mu.Unlock()
	if at != nil {
		at(n)
	}
}

// when sets what happens at the next events, which are numbered from 1.
func (p *place) when(at func(event int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events, p.at = 0, at
}

// tap sets what happens before the server gets a request.
func (p *place) tap(before func(r *http.Request)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = before
}

type tapped struct {
	io.ReadCloser
	p *place
}

func (t tapped) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	if n > 0 {
		t.p.event()
	}
	return n, err
}

type written struct {
	http.ResponseWriter
	p *place
}

func (w *written) Write(b []byte) (int, error) {
	w.p.event()
	return w.ResponseWriter.Write(b)
}

func (w *written) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ask asks the server itself, without a connection.
func (p *place) ask(method, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Authorization", "Bearer "+p.token)
	r.Header.Set("Tus-Resumable", "1.0.0")
	w := httptest.NewRecorder()
	p.media.ServeHTTP(w, r)
	return w
}

// made returns the ids of the uploads that the server has made.
func (p *place) made() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.ids...)
}

// has returns how many bytes the server has of some uploads, by what it answers to HEAD.
func (p *place) has(ids []string) (sum int64) {
	for _, id := range ids {
		if w := p.ask("HEAD", "/media/upload/"+id); w.Code == 200 {
			n, err := strconv.ParseInt(w.Header().Get("Upload-Offset"), 10, 64)
			p.ok(err)
			sum += n
		}
	}
	return sum
}

// files returns the files in the blob folder when nothing that is not needed is left there.
func (p *place) files() (names []string) {
	p.Helper()
	p.mu.Lock()
	p.ahead += 3 * time.Hour
	p.mu.Unlock()
	p.ok(p.media.Sweep(context.Background()))
	p.ok(filepath.WalkDir(p.blob(), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "folder-id" {
			names = append(names, path)
		}
		return err
	}))
	return names
}

// file makes a file of noise and returns its path and hash.
func (p *place) file(size int64) (path, hash string) {
	p.Helper()
	path = filepath.Join(p.TempDir(), "file")
	f, err := os.Create(path)
	p.ok(err)
	var key [32]byte
	key[0], key[1], key[2] = byte(size), byte(size>>8), byte(size>>16)
	h := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8(key), size)
	p.ok(err)
	p.ok(f.Close())
	return path, hex.EncodeToString(h.Sum(nil))
}

func (p *place) hashOf(path string) string {
	p.Helper()
	b, err := os.ReadFile(path)
	p.ok(err)
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// rising checks calls of a progress function.
type rising struct {
	p     *place
	total int64
	calls []int64
}

func (r *rising) call(n, total int64) {
	r.p.Helper()
	if total != r.total || len(r.calls) == 0 && n != 0 || len(r.calls) > 0 && n <= r.calls[len(r.calls)-1] || n > total {
		r.p.Errorf("progress %d of %d, which are %d, after %v", n, total, r.total, r.calls)
	}
	r.calls = append(r.calls, n)
}

// done checks that it ended with everything.
func (r *rising) done() {
	r.p.Helper()
	if len(r.calls) < 2 || r.calls[len(r.calls)-1] != r.total {
		r.p.Errorf("progress %v of %d", r.calls, r.total)
	}
}

func (p *place) wantCode(err error, code int32) {
	p.Helper()
	if im.CodeOf(err) != code {
		p.Errorf("error %v, want code %d", err, code)
	}
}

// left checks that a folder has these files and no others.
func (p *place) left(dir string, names ...string) {
	p.Helper()
	entries, err := os.ReadDir(dir)
	p.ok(err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		p.Errorf("in the folder are %q, want %q", got, names)
	}
}
