package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// TestPostgresAway: while PostgreSQL is away, the server reports it at /readyz, in a metric, to callers, and with one line in its log; another line
// reports that it is back, and everything continues.
func TestPostgresAway(t *testing.T) {
	cluster := pgtest.New(t)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"ErrorCode":0}`)) }))
	defer hook.Close()
	journal, log := logged(t)
	cfg := Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Log: log, Postgres: cluster.DSN()}
	cfg.Webhook.URL = hook.URL
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	alice := dial(t, s, "alice", client.Events{})
	defer alice.Close()
	send := func() error {
		_, err := alice.SendMessage(t.Context(), client.C2C("alice"), im.Text("x"))
		return err
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	ready := func(want int, says string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; {
			code, body := get(t, s, "/readyz")
			if code == want && strings.Contains(body, says) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("/readyz answers %d, %s; want %d", code, body, want)
			}
			<-look.C
		}
	}
	ready(http.StatusOK, "ok")
	for round := range 2 {
		cluster.Stop()
		ready(http.StatusServiceUnavailable, "the database does not answer")
		if metric(t, s, "tidings_store_away") != 1 {
			t.Error("the metric does not say that the database is away")
		}
		for range 2 {
			if err := send(); im.CodeOf(err) != im.CodeServerInternal || !strings.Contains(err.Error(), "does not answer") {
				t.Error("a message:", err)
			}
			if _, err := alice.Messages(t.Context(), client.C2C("alice"), &im.GetMsgListParam{Count: 100}); err != nil {
				t.Log("history:", err)
			}
			sig, err := s.Sig("bob", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			bob := client.Config{Server: s.URL(), UserID: "bob", UserSig: sig, Dir: t.TempDir(), Log: log.With("client", "bob")}
			bob.Limits.Login = 200 * time.Millisecond
			if c, err := client.Dial(t.Context(), bob, client.Events{}); err == nil {
				c.Close()
				t.Error("a login without a database")
			}
			if code, body := post(t, s, "/v4/im_open_login_svc/account_import", `{"UserID":"carol"}`); code != http.StatusOK || !strings.Contains(body, "does not answer") {
				t.Errorf("an admin call: %d, %s", code, body)
			}
		}
		if n := journal.count("level=ERROR") + journal.count("level=WARN"); n != round+1 || journal.count("the database does not answer\"") != round+1 {
			t.Errorf("%d lines of the log complain, want %d", n, round+1)
		}
		cluster.Start()
		ready(http.StatusOK, "ok")
		if n := journal.count("the database answers again"); n != round+1 {
			t.Errorf("%d lines of the log say that it is back", n)
		}
		if metric(t, s, "tidings_store_away") != 0 {
			t.Error("the metric does not say that the database is back")
		}
		for deadline := time.Now().Add(time.Minute); ; {
			if err := send(); err == nil {
				break
			} else if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	if n := journal.count("level=ERROR") + journal.count("level=WARN"); n != 2 {
		t.Errorf("%d lines of the log complain", n)
	}
}

// post calls the admin API.
func post(t *testing.T, s *Server, path, body string) (int, string) {
	t.Helper()
	sig, err := s.Sig("administrator", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path+"?sdkappid=1400000000&identifier=administrator&random=1&contenttype=json&usersig="+sig, strings.NewReader(body))
	s.http.Handler.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}
