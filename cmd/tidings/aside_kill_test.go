package main

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// sick is a program that refuses what one user sends, until it is well.
type sick struct {
	t    *testing.T
	user string

	notified
	well bool
	seen map[string]uint64 // seq of an event
	// refused are the numbers that were refused.
	refused map[uint64]bool
}

func (p *sick) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var e struct {
		From_Account string
		MsgSeq       uint64
	}
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		p.t.Error(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	id := r.Header.Get("Tidings-Event-Id")
	switch seq, again := p.seen[id]; {
	case id == "": // a question
	case e.From_Account == p.user && !p.well:
		p.refused[e.MsgSeq] = true
		w.WriteHeader(http.StatusInternalServerError)
		return
	case again && seq != e.MsgSeq:
		p.t.Errorf("event %s is message %d and message %d", id, seq, e.MsgSeq)
	case !again:
		p.seen[id] = e.MsgSeq
		p.add(e.From_Account, e.MsgSeq)
	}
	io.WriteString(w, `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}`)
}

// TestKill9Aside: a program refuses all messages of one conversation, and the server is killed while they are set aside and while they are sent after all. The
// other conversations go on, nothing is lost, and each conversation has its order.
func TestKill9Aside(t *testing.T) {
	t.Parallel() // it waits for a minute
	for _, store := range []string{"sqlite", "postgres"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			// A message is tried for a minute before its conversation is set aside.
			p := &sick{t: t, user: "u0", seen: map[string]uint64{}, refused: map[uint64]bool{}, notified: newNotified(4 * time.Minute)}
			hook := httptest.NewServer(p)
			defer hook.Close()
			s := &served{t: t, dir: t.TempDir(), more: []string{"--webhook-url", hook.URL}}
			if store == "postgres" {
				s.postgres = pgtest.DSN(t)
			}
			bad := &sender{name: "u0", peer: "u1", open: map[uint64]bool{}, acked: map[uint64]uint64{}}
			good := &sender{name: "u2", peer: "u1", open: map[uint64]bool{}, acked: map[uint64]uint64{}}
			s.start()
			l, err := s.dial("u1") // creates the account
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
			// send makes a user send until total messages are answered, and kills the server on the way if there is something to kill.
			send := func(u *sender, total int, kill bool) {
				t.Helper()
				left := 1 << 30
				if kill {
					left = 1 + rand.IntN(total-len(u.acked))
				}
				for {
					l, err := s.dial(u.name)
					if err != nil {
						t.Fatal(err)
					}
					err = u.run(l, total, func() {
						if left--; left == 0 {
							s.cmd.Process.Kill()
						}
					})
					l.Close()
					if left <= 0 {
						s.kill()
						s.start()
						left = 1 << 30
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					return
				}
			}
			send(bad, 300, false) // more than is read at once
			send(good, 300, false)
			p.all(t, "u2", 300) // so u0 is aside
			for round := 1; round <= 3; round++ {
				send(bad, 300+100*round, true)
				send(good, 300+300*round, true)
				p.all(t, "u2", 300+300*round)
			}
			p.mu.Lock()
			for seq := range p.refused {
				if seq != 1 {
					t.Errorf("message %d overtook the first, which was refused", seq)
				}
			}
			p.well = true
			p.mu.Unlock()
			for _, n := range []int{50, 200} { // killed while it is sent after all
				p.all(t, "u0", n)
				s.kill()
				s.start()
			}
			p.all(t, "u0", len(bad.acked))
			send(bad, 700, false)
			p.all(t, "u0", 700)
			s.kill()
			p.mu.Lock()
			defer p.mu.Unlock()
			for user, order := range p.order {
				for i, seq := range order {
					if seq != uint64(i+1) {
						t.Fatalf("%s: told of %d in place of %d", user, seq, i+1)
					}
				}
			}
			t.Logf("%d and %d messages", len(p.order["u0"]), len(p.order["u2"]))
		})
	}
}
