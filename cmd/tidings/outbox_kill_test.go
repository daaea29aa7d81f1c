package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/usersig"
)

// changes is a program that is notified of profiles, and fails from time to time.
type changes struct {
	mu    sync.Mutex
	calls int
	seen  map[string]string // what an event was about
	nicks map[string][]string
	more  chan struct{}
}

func (p *changes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var e struct {
		From_Account string
		ProfileItem  []struct{ Value string }
	}
	if json.NewDecoder(r.Body).Decode(&e) != nil || len(e.ProfileItem) != 1 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls++; p.calls%50 == 0 {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	id, what := r.Header.Get("Tidings-Event-Id"), e.From_Account+" "+e.ProfileItem[0].Value
	if was, again := p.seen[id]; again && was == what {
		return
	} else if again || id == "" {
		p.nicks[e.From_Account] = append(p.nicks[e.From_Account], fmt.Sprintf("event %q was %q and is %q", id, was, what))
		return
	}
	p.seen[id] = what
	p.nicks[e.From_Account] = append(p.nicks[e.From_Account], e.ProfileItem[0].Value)
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// operate makes a call of the admin API, and reports whether it was answered.
func (s *served) operate(command, body string) bool {
	s.t.Helper()
	sig, err := usersig.Sign(server.DefaultAppID, killKey, "administrator", time.Hour, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.Post(fmt.Sprintf("http://%s/v4/%s?sdkappid=%d&identifier=administrator&usersig=%s", s.addr, command, server.DefaultAppID, url.QueryEscape(sig)), "",
		strings.NewReader(body))
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && !strings.Contains(string(b), `"ErrorCode":0`) {
		s.t.Errorf("%s: %s", command, b)
	}
	return err == nil
}

// killedDuring makes calls, each of them in each of the lists that next counts, kills the server meanwhile and starts it again. change makes the next call of
// a list and reports whether it was answered; what was not is repeated afterwards.
func (s *served) killedDuring(next []int, each int, change func(i int) bool) {
	s.t.Helper()
	kill := time.AfterFunc(time.Duration(50+rand.IntN(400))*time.Millisecond, func() { s.cmd.Process.Kill() })
	var wg sync.WaitGroup
	for i := range next {
		wg.Go(func() {
			for ; next[i] < each && change(i); next[i]++ {
			}
		})
	}
	wg.Wait()
	kill.Stop()
	s.kill()
	s.start()
	for i := range next { // it changes nothing if it was done
		for ; next[i] < each; next[i]++ {
			if !change(i) {
				s.t.Fatal("no answer")
			}
		}
	}
}

// TestKill9Outbox kills a server during changes of profiles and their notifications: in the end the program was notified of each change, in the order of
// each user.
func TestKill9Outbox(t *testing.T) {
	t.Parallel() // it waits for a lease
	for _, store := range []string{"sqlite", "postgres"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			p := &changes{seen: map[string]string{}, nicks: map[string][]string{}, more: make(chan struct{}, 1)}
			hook := httptest.NewServer(p)
			defer hook.Close()
			s := &served{t: t, dir: t.TempDir(), more: []string{"--webhook-url", hook.URL}}
			if store == "postgres" {
				s.postgres = pgtest.DSN(t)
			}
			s.start()
			const users, rounds, each = 3, 4, 60
			for u := range users {
				if !s.operate("im_open_login_svc/account_import", fmt.Sprintf(`{"UserID":"u%d"}`, u)) {
					t.Fatal("no answer")
				}
			}
			for round := range rounds {
				next := make([]int, users)
				change := func(u int) bool {
					return s.operate("profile/portrait_set", fmt.Sprintf(`{"From_Account":"u%d","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"%d"}]}`, u, round*each+next[u]))
				}
				s.killedDuring(next, each, change)
			}
			over := time.After(time.Minute)
			all := func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				for u := range users {
					if len(p.nicks[fmt.Sprint("u", u)]) < rounds*each {
						return false
					}
				}
				return true
			}
			for !all() {
				select {
				case <-p.more:
				case <-over:
					p.mu.Lock()
					t.Fatalf("told of %d events in %d calls", len(p.seen), p.calls)
				}
			}
			s.kill()
			for u, nicks := range p.nicks {
				for i, nick := range nicks {
					if nick != fmt.Sprint(i) {
						t.Fatalf("%s: told of %s in place of %d", u, nick, i)
					}
				}
			}
			t.Logf("%d events, %d calls", len(p.seen), p.calls)
		})
	}
}
