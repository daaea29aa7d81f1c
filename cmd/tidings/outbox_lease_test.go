package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// slowChanges is a program that may keep responses back.
type slowChanges struct {
	*changes
	mu sync.Mutex
	// hold is closed to let calls be answered; in gets a value when one waits for that.
	hold, in chan struct{}
}

func (p *slowChanges) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	hold := p.hold
	p.mu.Unlock()
	p.changes.ServeHTTP(w, r)
	if hold != nil {
		select {
		case p.in <- struct{}{}:
		default:
		}
		<-hold
	}
}

func (p *slowChanges) held(hold chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = hold
}

// all waits until it was notified of n changes of each user.
func (p *slowChanges) all(t *testing.T, users, n int) {
	t.Helper()
	limit := time.After(2 * time.Minute)
	for {
		p.changes.mu.Lock()
		least := n
		for u := range users {
			least = min(least, len(p.nicks[fmt.Sprint("u", u)]))
		}
		p.changes.mu.Unlock()
		if least == n {
			return
		}
		select {
		case <-p.more:
		case <-limit:
			t.Fatalf("told of %d changes of a user, not of %d", least, n)
		}
	}
}

// TestOutboxLease: two servers share a database and a webhook, and one of them empties the outbox, whichever server a change was made at. If it hangs
// during a call, the other one continues; when it wakes up, it leaves the outbox to the other. If that one is killed, it takes over. Nothing is lost, and the
// program is first notified of a user's changes in their order.
func TestOutboxLease(t *testing.T) {
	t.Parallel() // it waits for leases
	const users = 5
	p := &slowChanges{changes: &changes{seen: map[string]string{}, nicks: map[string][]string{}, more: make(chan struct{}, 1)}, in: make(chan struct{}, 1)}
	hook := httptest.NewServer(p)
	defer hook.Close()
	dsn := pgtest.DSN(t)
	gone := &line{[]byte("lease=webhook-outbox"), make(chan struct{}, 1)}
	more := []string{"--webhook-url", hook.URL}
	a, b := &served{t: t, dir: t.TempDir(), postgres: dsn, more: more, log: gone}, &served{t: t, dir: t.TempDir(), postgres: dsn, more: more}
	made := 0
	change := func(s *served, total int) {
		t.Helper()
		for ; made < total; made++ {
			for u := range users {
				if !s.operate("profile/portrait_set", fmt.Sprintf(`{"From_Account":"u%d","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"%d"}]}`, u, made)) {
					t.Fatal("no answer")
				}
			}
		}
	}
	a.start()
	for u := range users {
		if !a.operate("im_open_login_svc/account_import", fmt.Sprintf(`{"UserID":"u%d"}`, u)) {
			t.Fatal("no answer")
		}
	}
	change(a, 10)
	p.all(t, users, 10) // so a has the lease
	b.start()
	change(b, 20)
	p.all(t, users, 20)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	db, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(ctx)
	number := func(query string) (n int64) {
		t.Helper()
		if err := db.QueryRow(ctx, query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const lease = "SELECT epoch FROM lease WHERE name = 'webhook-outbox'"
	was := number(lease)

	// It hangs with calls under way.
	hold := make(chan struct{})
	p.held(hold)
	change(b, 30)
	<-p.in
	if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p.held(nil)
	p.all(t, users, 30)
	change(b, 50)
	p.all(t, users, 50)
	if now := number(lease); now == was {
		t.Error("the lease has not moved")
	}
	close(hold)
	if err := a.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone.c: // it knows
	case <-time.After(time.Minute):
		t.Fatal("the server that woke up has not noticed that another one has the lease")
	}
	change(a, 60)
	change(b, 70)
	p.all(t, users, 70)

	b.kill()
	change(a, 80)
	p.all(t, users, 80)
	for number("SELECT count(*) FROM outbox") > 0 { // what was received is deleted with the end of its step
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the outbox does not become empty")
		}
	}
	a.kill()
	p.changes.mu.Lock()
	defer p.changes.mu.Unlock()
	for u := range users {
		nicks := p.nicks[fmt.Sprint("u", u)]
		if len(nicks) != 80 {
			t.Errorf("told of %d changes of u%d", len(nicks), u)
		}
		for i, nick := range nicks {
			if nick != fmt.Sprint(i) {
				t.Fatalf("u%d: told of %s in place of %d", u, nick, i)
			}
		}
	}
	t.Logf("%d events, %d calls", len(p.seen), p.calls)
}
