package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// notified is what a program behind the webhook was notified of: the numbers of messages, by sender, in the order of the first notifications. The fields are guarded by mu.
type notified struct {
	mu    sync.Mutex
	order map[string][]uint64
	more  chan struct{} // gets a value after each
	// within is how long all waits.
	within time.Duration
}

func newNotified(within time.Duration) notified {
	return notified{order: map[string][]uint64{}, more: make(chan struct{}, 1), within: within}
}

// add adds a message. The caller holds mu.
func (p *notified) add(user string, seq uint64) {
	p.order[user] = append(p.order[user], seq)
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// told is the program behind the webhook: how often it was notified of each message, and in which order.
type told struct {
	notified
	times map[string]map[uint64]int // by sender and number
	// hold is closed to let calls be answered; in gets a value when one waits for that.
	hold, in chan struct{}
}

func (p *told) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var e struct {
		From_Account string
		MsgSeq       uint64
	}
	json.NewDecoder(r.Body).Decode(&e)
	if r.Header.Get("Tidings-Event-Id") != "" {
		p.mu.Lock()
		if p.times[e.From_Account] == nil {
			p.times[e.From_Account] = map[uint64]int{}
		}
		if p.times[e.From_Account][e.MsgSeq]++; p.times[e.From_Account][e.MsgSeq] == 1 {
			p.add(e.From_Account, e.MsgSeq)
		}
		hold := p.hold
		p.mu.Unlock()
		if hold != nil {
			select {
			case p.in <- struct{}{}:
			default:
			}
			<-hold
		}
	}
	io.WriteString(w, `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}`)
}

func (p *told) held(hold chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = hold
}

// all waits until the program was notified of n messages of a sender.
func (p *notified) all(t *testing.T, user string, n int) {
	t.Helper()
	limit := time.After(p.within)
	for {
		p.mu.Lock()
		got := len(p.order[user])
		p.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-p.more:
		case <-limit:
			t.Fatalf("told of %d messages of %s, not of %d", got, user, n)
		}
	}
}

// line reports when a log contains a text.
type line struct {
	text []byte
	c    chan struct{}
}

func (l *line) Write(b []byte) (int, error) {
	if bytes.Contains(b, l.text) {
		select {
		case l.c <- struct{}{}:
		default:
		}
	}
	return len(b), nil
}

// TestHookLease: two servers share a database and a webhook, and one of them notifies, whichever server a message came through. If it hangs during a
// call, the other one continues; when it wakes up, it sends nothing more and does not move the cursor. If it is killed, the other one continues as
// well.
func TestHookLease(t *testing.T) {
	t.Parallel() // it waits for leases
	p := &told{times: map[string]map[uint64]int{}, notified: newNotified(2 * time.Minute), in: make(chan struct{}, 1)}
	hook := httptest.NewServer(p)
	defer hook.Close()
	url := []string{"--webhook-url", hook.URL}
	dsn := pgtest.DSN(t)
	gone := &line{[]byte("lease"), make(chan struct{}, 1)}
	a, b := &served{t: t, dir: t.TempDir(), postgres: dsn, more: url, log: gone}, &served{t: t, dir: t.TempDir(), postgres: dsn, more: url}
	users := map[*served]*sender{
		a: {name: "ua", peer: "u1", open: map[uint64]bool{}, acked: map[uint64]uint64{}},
		b: {name: "ub", peer: "u1", open: map[uint64]bool{}, acked: map[uint64]uint64{}},
	}
	send := func(s *served, total int) {
		t.Helper()
		l, err := s.dial(users[s].name)
		if err == nil {
			err = users[s].run(l, total, func() {})
			l.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	a.start()
	l, err := a.dial("u1") // creates the account
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	send(a, 10)
	p.all(t, "ua", 10) // so a has the lease
	b.start()
	send(b, 10)
	p.all(t, "ub", 10)

	// It hangs with a call under way.
	hold := make(chan struct{})
	p.held(hold)
	send(b, 20)
	<-p.in
	if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p.held(nil)
	p.all(t, "ub", 20)
	send(b, 40)
	p.all(t, "ub", 40)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(ctx)
	cursor := func() (pos int64) {
		t.Helper()
		if err := db.QueryRow(ctx, "SELECT pos FROM progress WHERE name = 'webhook'").Scan(&pos); err != nil {
			t.Fatal(err)
		}
		return pos
	}
	was := cursor()
	close(hold)
	if err := a.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone.c: // it knows
	case <-time.After(time.Minute):
		t.Fatal("the server that woke up has not noticed that another one tells")
	}
	if now := cursor(); now < was {
		t.Errorf("the cursor went back from %d to %d", was, now)
	}
	send(a, 30)
	send(b, 60)
	p.all(t, "ua", 30)
	p.all(t, "ub", 60)

	b.kill()
	send(a, 50)
	p.all(t, "ua", 50)
	a.kill()
	p.mu.Lock()
	defer p.mu.Unlock()
	for user, order := range p.order {
		if !slices.IsSorted(order) {
			t.Errorf("told of those of %s in the order %d", user, order)
		}
		for seq, n := range p.times[user] {
			// What was under way when the first one hung, and what was in the last step of the one that was killed, may be repeated.
			amid := user == "ub" && seq > 10 && seq <= 20 || user == "ub" && seq > 40 || user == "ua" && seq > 10 && seq <= 30
			if n > 1 && !amid || n > 2 {
				t.Errorf("told of %d of %s %d times", seq, user, n)
			}
		}
	}
}
