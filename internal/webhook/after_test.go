package webhook_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/server"
)

var quick = imtest.WebhookRetry(time.Millisecond, 5*time.Millisecond)

// TestAfterInOrder: every message is reported once, those of a conversation in their order, while the program is up.
func TestAfterInOrder(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), quick)
	alice := dial(t, s, "alice")
	const people, each = 3, 100
	for p := range people {
		dial(t, s, fmt.Sprint("bob", p))
	}
	sent := make(chan error, people*each)
	for i := range each {
		for p := range people {
			m := im.Text(fmt.Sprint(i))
			m.DisableCloudMessagePreHook = true
			if _, err := alice.SendMessageFunc(client.C2C(fmt.Sprint("bob", p)), m, func(_ *im.Message, err error) { sent <- err }); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range people * each {
		if err := get(t, "answer", sent); err != nil {
			t.Fatal(err)
		}
	}
	next := map[string]int{}
	ids := map[string]bool{}
	for range people * each {
		e := r.next(afterSend)
		if e.text() != fmt.Sprint(next[e.To_Account]) || e.MsgSeq != uint64(next[e.To_Account]+1) || ids[e.id] {
			t.Fatalf("%s is told of %s, want %d; id %s", e.To_Account, e.text(), next[e.To_Account], e.id)
		}
		next[e.To_Account]++
		ids[e.id] = true
	}
	if n := r.count(beforeSend); n != 0 {
		t.Errorf("the before-hook was asked %d times", n)
	}
}

// TestAfterRetries: while the program is down nothing is lost and nothing else waits, and when it is back it gets everything in order, each event
// under its one id.
func TestAfterRetries(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), quick)
	alice, bob := dial(t, s, "alice"), dial(t, s, "bob")
	var down atomic.Bool
	down.Store(true)
	r.on(afterSend, func(e *event) string {
		if down.Load() {
			return ""
		}
		return fine
	})
	const n = 20
	for i := range n {
		alice.must("bob", fmt.Sprint(i))
		bob.got(fmt.Sprint(i))
	}
	first := r.next(afterSend)
	for range 5 { // again and again the first, and no other
		if e := r.next(afterSend); e.MsgSeq != 1 || e.id != first.id || e.id == "" {
			t.Fatalf("told of %d, id %s", e.MsgSeq, e.id)
		}
	}
	down.Store(false)
	seen := uint64(1)
	for seen < n {
		e := r.next(afterSend)
		if e.MsgSeq != seen && e.MsgSeq != seen+1 || (e.MsgSeq == 1) != (e.id == first.id) {
			t.Fatalf("told of %d after %d, id %s", e.MsgSeq, seen, e.id)
		}
		seen = e.MsgSeq
	}
}

// TestAfterRestart: what was not reported when the server stopped is reported after its next start, and what was is not. A server with a new webhook
// reports nothing old.
func TestAfterRestart(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, quick)
	alice := dial(t, s, "alice")
	dial(t, s, "bob").Close()
	alice.must("bob", "before the webhook")
	s.Restart(imtest.Webhook(r.URL, ""))
	alice = dial(t, s, "alice")
	alice.must("bob", "one")
	if e := r.next(afterSend); e.text() != "one" {
		t.Fatalf("told of %s", e.text())
	}
	in, hold := make(chan struct{}, 1), make(chan struct{})
	r.on(afterSend, func(e *event) string {
		if e.text() == "two" {
			in <- struct{}{}
			<-hold
			return ""
		}
		return fine
	})
	alice.must("bob", "two")
	alice.must("bob", "three")
	get(t, "call", in)
	begun := time.Now()
	s.Stop() // during the call about "two"
	if d := time.Since(begun); d > 8*time.Second {
		t.Errorf("stopping took %v", d)
	}
	close(hold)
	r.next(afterSend)
	r.on(afterSend, func(*event) string { return fine })
	s.Restart()
	for _, want := range []string{"two", "three"} {
		if e := r.next(afterSend); e.text() != want {
			t.Errorf("told of %s, want %s", e.text(), want)
		}
	}
	alice = dial(t, s, "alice")
	alice.must("bob", "four")
	if e := r.next(afterSend); e.text() != "four" {
		t.Errorf("told of %s", e.text())
	}
}

// TestBadEntry: entries that no reader can decode, or that have no form in JSON, each lose only themselves: for the webhook, which logs that and
// continues, for a fresh device, and for the device that was there.
func TestBadEntry(t *testing.T) {
	r := listen(t)
	var logged lines
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), quick, func(c *server.Config) { c.Log = slog.New(slog.NewTextHandler(&logged, nil)) })
	alice, bob := dial(t, s, "alice"), dial(t, s, "bob")
	r.on(afterSend, func(*event) string { return "" }) // what is sent is reported after the restart
	for i := range 5 {
		alice.must("bob", fmt.Sprint(i+1))
		bob.got(fmt.Sprint(i + 1))
	}
	bob.Close()
	alice.Close()
	s.Stop()
	nan, err := im.Location("nowhere", math.NaN(), 0).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", filepath.Join(s.Dir, "tidings.db"))
	if err != nil {
		t.Fatal(err)
	}
	// In 2, there is a varint where a merger's body should be.
	for seq, body := range map[uint64][]byte{2: {10, 4, 8, 12, 6 << 3, 1}, 4: nan} {
		if _, err := db.Exec("UPDATE entry SET body = ? WHERE seq = ?", body, seq); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r.on(afterSend, func(*event) string { return fine })
	s.Restart()
	told := map[uint64]bool{}
	for range 3 {
		for {
			if e := r.next(afterSend); !told[e.MsgSeq] && e.MsgSeq != 2 && e.MsgSeq != 4 && e.text() == fmt.Sprint(e.MsgSeq) {
				told[e.MsgSeq] = true
				break
			}
		}
	}
	if n := strings.Count(logged.String(), "is left out"); n != 2 {
		t.Errorf("%d lines in the log:\n%s", n, logged.String())
	}
	bob = dial(t, s, "bob") // with an empty folder
	alice = dial(t, s, "alice")
	alice.must("bob", "6")
	for im.TextOf(get(t, "message", bob.messages)) != "6" {
	}
	e := r.next(afterSend)
	for e.MsgSeq != 6 {
		e = r.next(afterSend)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ms, err := bob.Messages(ctx, client.C2C("alice"), &im.GetMsgListParam{Count: 20})
	if err != nil {
		t.Fatal(err)
	}
	var seqs []uint64
	for _, m := range ms {
		seqs = append(seqs, m.Seq)
		if !json.Valid([]byte(im.ToJSON(m))) {
			t.Errorf("not JSON: %s", im.ToJSON(m))
		}
	}
	slices.Sort(seqs)
	if !slices.Equal(seqs, []uint64{1, 3, 4, 5, 6}) {
		t.Errorf("bob's fresh device has %d", seqs)
	}
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestAfterGivesUp: a message that the program never accepts is left out in the end, and the next one is reported.
func TestAfterGivesUp(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), quick, func(c *server.Config) { c.Webhook.GiveUp = 500 * time.Millisecond })
	alice := dial(t, s, "alice")
	dial(t, s, "bob")
	r.on(afterSend, func(e *event) string {
		if e.text() == "poison" {
			return ""
		}
		return fine
	})
	alice.must("bob", "poison")
	alice.must("bob", "next")
	tries := 0
	for {
		e := r.next(afterSend)
		if e.text() == "next" {
			break
		}
		tries++
	}
	if tries < 2 {
		t.Errorf("tried %d times", tries)
	}
}

// TestAfterAside: a message whose notification the program never takes holds up only its conversation, also over a restart: the others' come, many batches of
// them. When the program takes it, what has waited comes in order, each under the id that it had, and then the conversation goes the short way again.
func TestAfterAside(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), quick, func(c *server.Config) { c.Webhook.Aside = 50 * time.Millisecond })
	alice := dial(t, s, "alice")
	dial(t, s, "bob")
	dial(t, s, "carol")
	var sick atomic.Bool
	sick.Store(true)
	r.on(afterSend, func(e *event) string {
		if e.To_Account == "bob" && sick.Load() {
			return ""
		}
		return fine
	})
	const rounds, ofBob, ofCarol = 3, 10, 300
	ids := map[uint64]string{}
	next := uint64(1)
	bobs, carols := 0, 0
	for round := range rounds {
		for range ofBob {
			alice.must("bob", fmt.Sprint(bobs))
			bobs++
		}
		sent := make(chan error, ofCarol)
		for range ofCarol {
			m := im.Text("x")
			m.DisableCloudMessagePreHook = true
			if _, err := alice.SendMessageFunc(client.C2C("carol"), m, func(_ *im.Message, err error) { sent <- err }); err != nil {
				t.Fatal(err)
			}
		}
		for range ofCarol {
			if err := get(t, "answer", sent); err != nil {
				t.Fatal(err)
			}
		}
		for carols < (round+1)*ofCarol {
			switch e := r.next(afterSend); {
			case e.To_Account == "carol" && e.MsgSeq == next:
				next++
				carols++
			case e.To_Account == "carol" && e.MsgSeq > next:
				t.Fatalf("told of %d of carol, want %d", e.MsgSeq, next)
			case e.To_Account == "bob" && e.MsgSeq != 1:
				t.Fatalf("told of %d of bob before the first", e.MsgSeq)
			case e.To_Account == "bob":
				if ids[1] == "" {
					ids[1] = e.id
				}
				if e.id != ids[1] {
					t.Fatalf("the first has the ids %s and %s", ids[1], e.id)
				}
			}
		}
		if round == 1 {
			s.Restart()
			alice = dial(t, s, "alice")
		}
	}
	if n := rowsIn(t, s); n == 0 {
		t.Error("nothing is in the outbox")
	}
	sick.Store(false)
	told := uint64(0)
	hear := func(upTo int) {
		t.Helper()
		for told < uint64(upTo) {
			e := r.next(afterSend)
			if e.To_Account != "bob" || e.MsgSeq <= told {
				continue // under way, or again
			}
			if e.MsgSeq != told+1 || e.MsgSeq == 1 && e.id != ids[1] || e.text() != fmt.Sprint(told) || e.UnreadMsgNum != int64(upTo) {
				t.Fatalf("told of %d of bob after %d: %s, id %s", e.MsgSeq, told, e.body, e.id)
			}
			told++
		}
	}
	hear(bobs)
	emptied(t, s, r)
	alice.must("bob", fmt.Sprint(bobs))
	bobs++
	hear(bobs)
	if n := rowsIn(t, s); n != 0 {
		t.Errorf("%d rows are in the outbox", n)
	}
}
