package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/gateway"
	"github.com/tidings-im/tidings/internal/store"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/usersig"
)

const (
	app      = 1400000001
	secret   = "the key of a test"
	patience = 20 * time.Second
)

// node is a server with the API, on a port.
type node struct {
	t     testing.TB
	http  *httptest.Server
	rules *chat.Chat
	store chat.Store
	api   *API
	ahead atomic.Int64 // of the clock, in nanoseconds
}

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// now is the store's clock.
func (n *node) now() time.Time { return time.Now().Add(time.Duration(n.ahead.Load())) }

func start(t testing.TB, cfg chat.Config) *node {
	t.Helper()
	n := &node{t: t}
	st, err := store.Open(t.Context(), store.Config{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Clock: n.now})
	if err != nil {
		t.Fatal(err)
	}
	n.serve(st, cfg)
	return n
}

// serve opens the port.
func (n *node) serve(st chat.Store, cfg chat.Config) {
	t := n.t
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	cfg.Log = log
	cfg.Verify = func(user, ticket string) (chat.Ticket, error) {
		s, err := usersig.Verify(app, secret, user, ticket, time.Now())
		var e *usersig.Error
		if errors.As(err, &e) {
			return chat.Ticket{}, &im.Error{Code: e.Code, Desc: e.Desc}
		}
		return chat.Ticket{Issued: s.Issued, Expires: s.Expires.Add(time.Second)}, err
	}
	n.store, n.rules = st, chat.New(st, cfg)
	g := gateway.New(n.rules, gateway.Config{Log: log})
	n.api = New(n.rules, Config{AppID: app, Log: log})
	mux := http.NewServeMux()
	mux.Handle("/ws", g)
	mux.Handle("/v4/", n.api)
	n.http = httptest.NewServer(mux)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		g.Close(ctx)
		n.http.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
}

func sig(t testing.TB, user string, at time.Time) string {
	t.Helper()
	s, err := usersig.Sign(app, secret, user, time.Hour, at)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// device is a client that keeps its events.
type device struct {
	*client.Client
	t        testing.TB
	messages chan *im.Message
	revoked  chan *im.MsgLocator
	updated  chan *im.Message
	kicked   chan bool
}

func (n *node) config(user string) client.Config {
	return client.Config{
		Server: "ws" + strings.TrimPrefix(n.http.URL, "http"), UserID: user, UserSig: sig(n.t, user, time.Now()), Dir: n.t.TempDir(),
		Platform: im.Platform_PLATFORM_LINUX, Log: slog.New(slog.NewTextHandler(n.t.Output(), nil)),
	}
}

func (n *node) dial(user string) *device { return n.dialWith(n.config(user)) }

func (n *node) dialWith(cfg client.Config) *device {
	n.t.Helper()
	d := &device{t: n.t, messages: make(chan *im.Message, 100), revoked: make(chan *im.MsgLocator, 100), updated: make(chan *im.Message, 100), kicked: make(chan bool, 1)}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, cfg, client.Events{
		NewMessages:   func(ms []*im.Message) { each(ms, d.messages) },
		Revoked:       func(ms []*im.MsgLocator) { each(ms, d.revoked) },
		Updated:       func(ms []*im.Message) { each(ms, d.updated) },
		KickedOffline: func() { d.kicked <- true },
	})
	if err != nil {
		n.t.Fatalf("%s cannot log in: %v", cfg.UserID, err)
	}
	d.Client = c
	n.t.Cleanup(c.Close)
	return d
}

func each[T any](list []T, to chan T) {
	for _, v := range list {
		to <- v
	}
}

func next[T any](t testing.TB, what string, from chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s came", what)
		panic("unreachable")
	}
}

// barrier sends a message that the device must get next: nothing else arrived before it.
func (d *device) barrier(from *device) {
	d.t.Helper()
	if _, err := from.SendMessage(context.Background(), client.C2C(d.UserID()), im.Text("barrier")); err != nil {
		d.t.Fatal(err)
	}
	if m := next(d.t, "barrier", d.messages); im.TextOf(m) != "barrier" {
		d.t.Fatalf("a message %q came, want none", im.TextOf(m))
	}
}

type answer struct {
	ActionStatus, ErrorInfo string
	ErrorCode               int32
	MsgTime                 int64
	MsgKey, MsgId           string
	FailAccounts            []string
	keys                    []string
}

// post makes a call as the admin; body is JSON with printf verbs.
func (n *node) post(command, body string, args ...any) answer {
	n.t.Helper()
	return n.raw(command, fmt.Sprintf("sdkappid=%d&identifier=%s&usersig=%s&random=99999999&contenttype=json", app, DefaultAdmin, sig(n.t, DefaultAdmin, time.Now())),
		fmt.Sprintf(body, args...))
}

func (n *node) raw(command, query, body string) answer {
	n.t.Helper()
	resp, err := http.Post(n.http.URL+"/v4/"+command+"?"+query, "text/plain", strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return n.envelope(command, resp.StatusCode, resp.Header, b)
}

// envelope reads a reply and checks that it has the common form.
func (n *node) envelope(command string, status int, header http.Header, b []byte) answer {
	n.t.Helper()
	if status != 200 || header.Get("Content-Type") != "application/json" {
		n.t.Fatalf("%s: status %d, %v", command, status, header)
	}
	var a answer
	var all map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(b, &a), json.Unmarshal(b, &all)); err != nil {
		n.t.Fatalf("%s: %s: %v", command, b, err)
	}
	for k := range all {
		a.keys = append(a.keys, k)
	}
	slices.Sort(a.keys)
	if status := map[bool]string{true: "OK", false: "FAIL"}[a.ErrorCode == 0]; a.ActionStatus != status || (a.ErrorInfo == "") != (a.ErrorCode == 0) {
		n.t.Errorf("%s: envelope %s", command, b)
	}
	return a
}

// ok makes a call that must succeed, with the fields in its reply that the table of the API names.
func (n *node) ok(command, body string, args ...any) answer {
	n.t.Helper()
	a := n.post(command, body, args...)
	if a.ErrorCode != 0 {
		n.t.Fatalf("%s answered %d (%s)", command, a.ErrorCode, a.ErrorInfo)
	}
	if want := answerKeys(n.t, command); !slices.Equal(a.keys, want) {
		n.t.Errorf("%s answered with %q, want %q", command, a.keys, want)
	}
	return a
}

func (n *node) refused(code int32, command, body string, args ...any) {
	n.t.Helper()
	if a := n.post(command, body, args...); a.ErrorCode != code {
		n.t.Errorf("%s with %s answered %d (%s), want %d", command, fmt.Sprintf(body, args...), a.ErrorCode, a.ErrorInfo, code)
	}
}

// answerKeys reads the top-level fields of a reply from the table.
func answerKeys(t testing.TB, command string) []string {
	t.Helper()
	table, err := os.ReadFile("testdata/endpoints.tsv")
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{"ActionStatus", "ErrorCode", "ErrorInfo"}
	for line := range strings.Lines(string(table)) {
		col := strings.Split(strings.TrimSpace(line), "\t")
		if col[0]+"/"+col[1] != command {
			continue
		}
		for f := range strings.SplitSeq(col[3], "; ") {
			name, _, _ := strings.Cut(f, ":")
			if name != "-" && !strings.Contains(name, ".") {
				keys = append(keys, name)
			}
		}
		slices.Sort(keys)
		return keys
	}
	t.Fatalf("the table has no %s", command)
	return nil
}

func TestGate(t *testing.T) {
	n := start(t, chat.Config{})
	good := sig(t, DefaultAdmin, time.Now())
	query := func(app any, user, sig string) string {
		return fmt.Sprintf("contenttype=json&usersig=%s&identifier=%s&sdkappid=%v", sig, user, app)
	}
	const command = "im_open_login_svc/account_import"
	const body = `{"UserID":"x"}`
	for _, c := range []struct {
		command, query, body string
		code                 int32
	}{
		{command, query(app, DefaultAdmin, good), body, 0},
		{"im_open_login_svc/nothing", query(app, DefaultAdmin, good), body, codeNoCommand},
		{"x", "", body, codeNoCommand},
		{command, query("", DefaultAdmin, good), body, codeNoApp},
		{command, "", body, codeNoApp},
		{command, query(app+1, DefaultAdmin, good), body, codeOtherApp},
		{command, query("x", DefaultAdmin, good), body, codeOtherApp},
		{command, query(app, "", good), body, codeNoUser},
		{command, query(app, DefaultAdmin, ""), body, im.CodeTicketEmpty},
		{command, query(app, DefaultAdmin, "x"), body, im.CodeTicketMalformed},
		{command, query(app, "alice", good), body, im.CodeTicketOtherUser},
		{command, query(app, "alice", sig(t, "alice", time.Now())), body, im.CodeNotAdmin},
		{command, query(app, DefaultAdmin, sig(t, DefaultAdmin, time.Now().Add(-2*time.Hour))), body, im.CodeTicketExpired},
		{command, query(app, DefaultAdmin, good) + "&sdkappid=1", body, codeMalformed},
		{command, query(app, DefaultAdmin, good), "", codeNotJSON},
		{command, query(app, DefaultAdmin, good), "null", codeNotJSON},
		{command, query(app, DefaultAdmin, good), `["x"]`, codeNotJSON},
		{command, query(app, DefaultAdmin, good), body + "x", codeNotJSON},
		{command, query(app, DefaultAdmin, good), `{"UserID":"` + strings.Repeat("x", maxRequest) + `"}`, codeBadRequest},
	} {
		if a := n.raw(c.command, c.query, c.body); a.ErrorCode != c.code {
			t.Errorf("%s?%s answered %d (%s), want %d", c.command, c.query, a.ErrorCode, a.ErrorInfo, c.code)
		}
	}
	resp, err := http.Get(n.http.URL + "/v4/" + command + "?" + query(app, DefaultAdmin, good))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var a answer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || a.ErrorCode != codeBadRequest {
		t.Errorf("a GET is answered %d, %v", a.ErrorCode, err)
	}
}

// TestRawQuery: some clients do not escape the values.
func TestRawQuery(t *testing.T) {
	got, err := parseQuery("identifier=a+b%25c%zz&usersig=eJy*-_&&random=1&flag")
	if err != nil || got["identifier"] != "a+b%25c%zz" || got["usersig"] != "eJy*-_" || got["random"] != "1" {
		t.Errorf("%q, %v", got, err)
	}
	if got, _ := parseQuery("identifier=a+b%25c"); got["identifier"] != "a+b%c" {
		t.Errorf("%q", got)
	}
}

func TestImport(t *testing.T) {
	n := start(t, chat.Config{})
	const one, many, check = "im_open_login_svc/account_import", "im_open_login_svc/multiaccount_import", "im_open_login_svc/account_check"
	n.ok(one, `{"UserID":"alice","Nick":"Alice","FaceUrl":"https://im.example/a.png"}`)
	n.ok(one, `{"Identifier":"alice"}`)
	for _, bad := range []string{`{}`, `{"UserID":""}`, `{"UserID":7}`, `{"UserID":null}`, `{"UserID":"ünï"}`, `{"UserID":"x","Nick":1}`} {
		n.refused(im.CodeBadRequest, one, "%s", bad)
	}
	if a := n.ok(many, `{"Accounts":["bob","ünï","carol"]}`); !slices.Equal(a.FailAccounts, []string{"ünï"}) {
		t.Errorf("failed: %q", a.FailAccounts)
	}
	if a := n.ok(many, `{"AccountList":[{"UserID":"dave","Nick":"D"}]}`); len(a.FailAccounts) != 0 {
		t.Errorf("failed: %q", a.FailAccounts)
	}
	n.refused(im.CodeBadRequest, many, `{}`)
	n.refused(im.CodeBadRequest, many, `{"Accounts":[]}`)
	n.refused(im.CodeBadRequest, many, `{"Accounts":"bob"}`)
	list, _ := json.Marshal(make([]string, 101))
	n.refused(codeTooMany, many, `{"Accounts":%s}`, list)
	n.ok(check, `{"CheckItem":[{"UserID":"alice"},{"UserID":"nobody"}]}`)
	resp := n.post(check, `{"CheckItem":[{"UserID":"alice"},{"UserID":"bob"},{"UserID":"nobody"}]}`)
	if resp.ErrorCode != 0 {
		t.Errorf("%+v", resp)
	}
	for user, want := range map[string]bool{"alice": true, "bob": true, "carol": true, "dave": true, "nobody": false, "ünï": false} {
		if there, err := n.rules.Exists(t.Context(), user); err != nil || there != want {
			t.Errorf("%s exists: %v, %v", user, there, err)
		}
	}
}

// TestKick: the sessions end, tickets that were signed before are void, and those that are signed after the reply are good.
func TestKick(t *testing.T) {
	n := start(t, chat.Config{})
	cfg := n.config("alice")
	alice := n.dialWith(cfg)
	phone := n.config("alice")
	phone.Platform = im.Platform_PLATFORM_IOS
	other := n.dialWith(phone)
	n.dial("bob")
	n.ok("im_open_login_svc/kick", `{"UserID":"alice"}`)
	next(t, "kick", alice.kicked)
	next(t, "kick", other.kicked)

	for _, at := range []time.Duration{0, -time.Minute} {
		old := n.config("alice")
		old.UserSig = cfg.UserSig
		if at != 0 {
			old.UserSig = sig(t, "alice", time.Now().Add(at))
		}
		if _, err := client.Dial(t.Context(), old, client.Events{}); im.CodeOf(err) != im.CodeTicketVoid {
			t.Errorf("a ticket from before: %v, want %d", err, im.CodeTicketVoid)
		}
	}
	n.dial("alice") // with a ticket from after the kick
	n.ok("im_open_login_svc/kick", `{"Identifier":"alice"}`)

	n.refused(codeNoSuchUser, "im_open_login_svc/kick", `{"UserID":"nobody"}`)
	n.refused(im.CodeBadRequest, "im_open_login_svc/kick", `{}`)
	n.refused(im.CodeBadRequest, "im_open_login_svc/kick", `{"UserID":["alice"]}`)

	// An admin's ticket is one like others.
	old := sig(t, DefaultAdmin, time.Now())
	n.ok("im_open_login_svc/account_import", `{"UserID":%q}`, DefaultAdmin)
	n.ok("im_open_login_svc/kick", `{"UserID":%q}`, DefaultAdmin)
	if a := n.raw("im_open_login_svc/kick", fmt.Sprintf("sdkappid=%d&identifier=%s&usersig=%s", app, DefaultAdmin, old), `{"UserID":"bob"}`); a.ErrorCode != im.CodeTicketVoid {
		t.Errorf("the admin's old ticket: %+v", a)
	}
}

// TestKickedWhileAway: a device that was offline is notified once, at its next login.
func TestKickedWhileAway(t *testing.T) {
	n := start(t, chat.Config{})
	away := n.config("alice")
	d := n.dialWith(away)
	d.Close()
	n.ok("im_open_login_svc/kick", `{"UserID":"alice"}`)
	away.UserSig = sig(t, "alice", time.Now())
	if _, err := client.Dial(t.Context(), away, client.Events{}); im.CodeOf(err) != im.CodeKickedWhileAway {
		t.Fatalf("the first login: %v, want %d", err, im.CodeKickedWhileAway)
	}
	n.dialWith(away)
}
