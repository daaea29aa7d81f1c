package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/internal/testing/soak"
)

// TestKill9Webhook kills a server with a webhook in the middle of sends and of notifications to a program that fails from time to time: in the end
// the program was notified of each acknowledged message, in the order of their numbers, and was not asked about a message that was already stored.
func TestKill9Webhook(t *testing.T) {
	t.Parallel()
	rounds, total := soak.Pick(2, 10), soak.Pick(1000, 1500)
	var mu sync.Mutex
	var told []uint64           // seqs in the order of their first notifications
	seen := map[string]uint64{} // seq of an event
	calls, asked := 0, map[string]bool{}
	complete := make(chan struct{}, 1)
	want := -1
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e struct {
			CallbackCommand, From_Account string
			MsgSeq                        uint64
			MsgRandom                     uint32
			MsgBody                       []struct{ MsgContent struct{ Text string } }
		}
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil || len(e.MsgBody) != 1 || e.MsgBody[0].MsgContent.Text != fmt.Sprint(e.MsgRandom) {
			t.Errorf("the program was posted %+v, %v", e, err)
		}
		mu.Lock()
		defer mu.Unlock()
		calls++
		if calls%500 == 0 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		if id := r.Header.Get("Tidings-Event-Id"); id != "" {
			if seq, again := seen[id]; !again {
				seen[id] = e.MsgSeq
				told = append(told, e.MsgSeq)
			} else if seq != e.MsgSeq {
				t.Errorf("event %s is message %d and message %d", id, seq, e.MsgSeq)
			}
			if len(told) == want {
				complete <- struct{}{}
			}
		} else {
			asked[strconv.Itoa(int(e.MsgRandom))] = true
		}
		io.WriteString(w, `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}`)
	}))
	defer hook.Close()

	s := &served{t: t, dir: t.TempDir(), more: []string{"--webhook-url", hook.URL}}
	u := &sender{name: "u0", peer: "u1", open: map[uint64]bool{}, acked: map[uint64]uint64{}}
	s.start()
	l, err := s.dial("u1") // creates the account
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s.kill()
	for round := range rounds {
		for last := range 2 {
			s.start()
			l, err := s.dial(u.name)
			if err != nil {
				t.Fatal(err)
			}
			left := 1<<63 - 1
			if last == 0 {
				left = 1 + rand.IntN(total-total/10)
			}
			err = u.run(l, (round+1)*total, func() {
				if left--; left == 0 {
					s.cmd.Process.Kill()
				}
			})
			if last == 1 && err != nil {
				t.Fatal(err)
			}
			l.Close()
			s.kill()
		}
	}
	s.start()
	mu.Lock()
	want = len(u.acked)
	if len(told) == want {
		complete <- struct{}{}
	}
	mu.Unlock()
	select {
	case <-complete:
	case <-time.After(time.Minute):
		mu.Lock()
		t.Errorf("told of %d messages, %d were acknowledged", len(told), want)
		mu.Unlock()
	}
	s.kill()
	mu.Lock()
	defer mu.Unlock()
	for i, seq := range told {
		if seq != uint64(i+1) {
			t.Fatalf("told of %d in place of %d", seq, i+1)
		}
	}
	t.Logf("%d messages, %d calls, asked about %d", want, calls, len(asked))
}
