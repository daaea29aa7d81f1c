package client_test

import (
	"bytes"
	"database/sql"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// front is an HTTP proxy in front of a fake that responds with an error while it is told to.
type front struct {
	URL     string
	status  atomic.Int32
	header  atomic.Value // of the error: a code, or ""
	refused chan struct{}
}

func newFront(t *testing.T, f *fake) *front {
	u, err := url.Parse("http" + strings.TrimPrefix(f.URL, "ws"))
	if err != nil {
		t.Fatal(err)
	}
	p := &front{refused: make(chan struct{}, 1000)}
	p.header.Store("")
	through := httputil.NewSingleHostReverseProxy(u)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := int(p.status.Load())
		if status == 0 {
			through.ServeHTTP(w, r)
			return
		}
		if code := p.header.Load().(string); code != "" {
			w.Header().Set(im.CodeHeader, code)
		}
		http.Error(w, "no", status)
		p.refused <- struct{}{}
	}))
	t.Cleanup(srv.Close)
	p.URL = "ws" + strings.TrimPrefix(srv.URL, "http")
	return p
}

// A response that cannot be recognized as a Tidings server's ends nothing, at a login and at a reconnect: it is retried.
func TestStrangeAnswersAreRetried(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 410, 426, 200, 500, 502, 503} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			p := newFront(t, f)
			cfg := fakeConfig(t, f)
			cfg.Server = p.URL
			d := open(t, cfg)
			p.status.Store(int32(status))
			done := make(chan error, 1)
			d.LoginFunc(func(err error) { done <- err })
			refused := func() {
				t.Helper()
				select {
				case <-p.refused:
				case <-time.After(patience):
					t.Fatalf("it is not tried again; kicked: %v", d.of("kicked"))
				}
			}
			refused()
			refused()
			p.status.Store(0)
			if err := <-done; err != nil {
				t.Fatalf("login: %v", err)
			}
			link := <-f.links
			p.status.Store(int32(status))
			for len(p.refused) > 0 {
				<-p.refused
			}
			link.ws.CloseNow()
			refused()
			refused()
			p.status.Store(0)
			<-f.links
			d.until(t, "connection", func(es []event) bool { e, _ := last(es, "net"); return e.n == 0 })
			if d.Status() != client.LoggedIn || len(d.of("kicked", "expired")) != 0 {
				t.Fatalf("status %v, %v", d.Status(), d.of("kicked", "expired"))
			}
		})
	}
}

// A server whose header says that it speaks another version is believed.
func TestOtherVersionIsFinal(t *testing.T) {
	f := newFake(t)
	p := newFront(t, f)
	p.header.Store(strconv.Itoa(im.CodeConnectRefused))
	p.status.Store(http.StatusBadRequest)
	cfg := fakeConfig(t, f)
	cfg.Server = p.URL
	err := open(t, cfg).Login(within(t))
	wantCode(t, err, im.CodeConnectRefused)
	if len(p.refused) != 1 || !strings.Contains(err.Error(), im.Subprotocol) {
		t.Fatalf("%d tries: %v", len(p.refused), err)
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) at(level string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, "level="+level) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// A failed attempt reports at once where it went and what may be wrong with the address: to the network callback, in the log at level info, and in
// the error of the login.
func TestFailedConnectionNamesTheAddress(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	// One that responds as OpenSSL does: with an alert.
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	go func() {
		for {
			conn, err := raw.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 4096))
			conn.Write([]byte("\x15\x03\x01\x00\x02\x02\x46"))
			conn.Close()
		}
	}()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	for name, c := range map[string]struct{ server, says string }{
		"TLS in clear":        {"ws://" + secure.Listener.Addr().String(), "speaks TLS: is the address wss://?"},
		"raw TLS in clear":    {"ws://" + raw.Addr().String(), "speaks TLS: is the address wss://?"},
		"clear by TLS":        {"wss://" + plain.Listener.Addr().String(), "speaks no TLS: is the address ws://?"},
		"nobody":              {"ws://" + nobody.Addr().String(), "ERR_CONNECTION_REFUSED"},
		"another HTTP server": {"ws://" + plain.Listener.Addr().String(), "404"},
	} {
		t.Run(name, func(t *testing.T) {
			out := &lines{}
			failed := make(chan string, 100)
			d := openWith(t, client.Config{Server: c.server, UserID: "ann", UserSig: "x", Dir: t.TempDir(), Log: newLogger(out),
				Limits: client.Limits{Login: time.Second, Reconnect: 50 * time.Millisecond}}, func(ev *client.Events) {
				ev.Network = func(s client.NetworkStatus, _ int32, desc string) {
					if s == client.NetworkConnectFailed {
						failed <- desc
					}
				}
			})
			done := make(chan error, 1)
			d.LoginFunc(func(err error) { done <- err })
			var event string
			select {
			case event = <-failed:
			case <-time.After(patience):
				t.Fatal("no failed connection was told")
			}
			for what, text := range map[string]string{"event": event, "log": out.at("INFO"), "error": (<-done).Error()} {
				if !strings.Contains(text, c.server) || !strings.Contains(text, c.says) {
					t.Errorf("the %s says: %s", what, text)
				}
			}
		})
	}
}

// A login that ends before the first attempt to connect has finished names the address, too.
func TestSlowConnectionNamesTheAddress(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	server := "wss://" + silent.Addr().String()
	d := open(t, client.Config{Server: server, UserID: "ann", UserSig: "x", Dir: t.TempDir(), Log: quiet(t), Limits: client.Limits{Login: 50 * time.Millisecond}})
	if err := d.Login(within(t)); err == nil || !strings.Contains(err.Error(), server) {
		t.Errorf("the error says: %v", err)
	}
}

// Opening a client, logging in and closing it do not wait for anything that has the local database locked; the login's result arrives when it is
// released. From then on nobody else can lock it.
func TestOpenWaitsForNobody(t *testing.T) {
	f := newFake(t)
	cfg := fakeConfig(t, f)
	dial(t, cfg).Close()
	file := databases(t, cfg.Dir)[0]
	for name, take := range map[string]string{
		"looks":      "SELECT count(*) FROM meta",
		"reads":      "BEGIN; SELECT count(*) FROM meta",
		"writes":     "BEGIN IMMEDIATE",
		"exclusive":  "BEGIN EXCLUSIVE",
		"for itself": "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; COMMIT",
	} {
		t.Run(name, func(t *testing.T) {
			other := lock(t, file, take)
			out := &lines{}
			cfg.Log = newLogger(out)
			d := open(t, cfg)
			answer := make(chan int32, 1)
			d.LoginFunc(func(err error) { answer <- im.CodeOf(err) })
			if err := d.SetDraft(client.C2C("ben"), &im.Draft{Msg: textMessage("x")}); im.CodeOf(err) != im.CodeNotLoggedIn {
				t.Errorf("a draft during the login: %v", err)
			}
			d.Close()
			if got := <-answer; got != im.CodeInterrupted && got != im.CodeDatabase { // 6019 if this machine needed 5 s for it
				t.Errorf("the login answers %d", got)
			}
			if log := out.at("INFO"); !strings.Contains(log, "in use by another process") || strings.Contains(out.at("ERROR"), "cannot be opened") {
				t.Errorf("the log says: %s", log)
			}

			d = open(t, cfg)
			d.LoginFunc(func(err error) { answer <- im.CodeOf(err) })
			if err := other.Close(); err != nil {
				t.Fatal(err)
			}
			if got := <-answer; got != 0 && got != im.CodeDatabase {
				t.Errorf("the login answers %d", got)
			} else if got != 0 {
				d.login()
			}
			if db, err := sql.Open("sqlite3", "file:"+file+"?_busy_timeout=0"); err != nil {
				t.Fatal(err)
			} else if _, err := db.Exec(take); err == nil {
				t.Error("the other one has it again while it is in use")
			} else {
				db.Close()
			}
			if err := d.SetDraft(client.C2C("ben"), &im.Draft{Msg: textMessage(name)}); err != nil {
				t.Error(err)
			}
			d.Close()
		})
	}
}

// Local data can be read as soon as the other process releases it, without another login; after a logout it is not opened for that.
func TestReadWhenTheLockIsGone(t *testing.T) {
	f := newFake(t)
	cfg := fakeConfig(t, f)
	d := dial(t, cfg)
	if err := d.SetDraft(client.C2C("ben"), &im.Draft{Msg: textMessage("x")}); err != nil {
		t.Fatal(err)
	}
	d.Close()
	file := databases(t, cfg.Dir)[0]
	f.answer(im.Method_LOGIN, func(*fakeLink, *im.Frame) {})
	for _, logout := range []bool{false, true} {
		other := lock(t, file, "BEGIN IMMEDIATE")
		d = open(t, cfg)
		for range 2 {
			_, err := d.Conversations(within(t))
			wantCode(t, err, im.CodeNotLoggedIn)
		}
		if logout {
			ended := make(chan error, 1)
			d.LoginFunc(func(err error) { ended <- err })
			if err := d.Logout(within(t)); err != nil {
				t.Fatal(err)
			}
			<-ended
		}
		other.Close()
		convs, err := d.Conversations(within(t))
		if want := map[bool]int{false: 1}[logout]; len(convs) != want || logout != (im.CodeOf(err) == im.CodeNotLoggedIn) {
			t.Errorf("logged out %v: %v %v", logout, convs, err)
		}
		d.Close()
	}
}

// lock opens another connection to a local database, and locks it.
func lock(t *testing.T, file, take string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+file+"?_busy_timeout=60000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(take); err != nil {
		t.Fatal(err)
	}
	return db
}
