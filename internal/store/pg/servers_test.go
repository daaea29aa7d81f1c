package pg_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// Two servers on one PostgreSQL keep the numbers of a conversation dense and lose nothing while clients of both send. There is no bus yet that
// notifies one server's clients of the other's messages at once: they get them with the next message of their own server, a heartbeat, or a login.
func TestTwoServersOnePostgres(t *testing.T) {
	dsn := pgtest.DSN(t)
	key := imtest.SecretKey("one key for both")
	one, two := imtest.Start(t, imtest.Postgres(dsn), key), imtest.Start(t, imtest.Postgres(dsn), key)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob := one.Dial("alice", client.Events{}), two.Dial("bob", client.Events{})
	const each = 200
	var mu sync.Mutex
	texts := map[uint64]string{} // by the seq that the sender was answered
	var wg sync.WaitGroup
	for name, from := range map[string]*client.Client{"alice": alice, "bob": bob} {
		to := client.C2C("bob")
		if name == "bob" {
			to = client.C2C("alice")
		}
		wg.Go(func() {
			for i := range each {
				text := fmt.Sprint(name, " ", i)
				m, err := from.SendMessage(ctx, to, im.Text(text))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if texts[m.Seq] != "" {
					t.Errorf("seq %d is that of %q and of %q", m.Seq, texts[m.Seq], text)
				}
				texts[m.Seq] = text
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for seq := uint64(1); seq <= 2*each; seq++ {
		if texts[seq] == "" {
			t.Fatalf("nobody was answered seq %d", seq)
		}
	}
	// A device that logs in at this point has all of them, from either server.
	for _, s := range []*imtest.Server{one, two} {
		synced := make(chan struct{})
		fresh := s.Dial("bob", client.Events{Conversations: func(k client.ConvEvent, _ []*im.ConvInfo) {
			if k == client.ConvSyncFinish {
				close(synced)
			}
		}})
		<-synced
		p := &im.GetMsgListParam{Count: 100}
		got := 0
		for {
			ms, err := fresh.Messages(ctx, client.C2C("alice"), p)
			if err != nil {
				t.Fatal(err)
			}
			if len(ms) == 0 {
				break
			}
			for _, m := range ms {
				if texts[m.Seq] != im.TextOf(m) {
					t.Fatalf("seq %d is %q, was answered as %q", m.Seq, im.TextOf(m), texts[m.Seq])
				}
				got++
			}
			p.LastMsg = ms[len(ms)-1]
		}
		if got != 2*each {
			t.Fatalf("%d of %d messages", got, 2*each)
		}
	}
}

// The whole path of a message over PostgreSQL, and across a restart of the server.
func TestPostgres(t *testing.T) {
	s := imtest.Start(t, imtest.Postgres(pgtest.DSN(t)))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	heard := make(chan string, 10)
	s.Dial("bob", client.Events{NewMessages: func(ms []*im.Message) {
		for _, m := range ms {
			heard <- im.TextOf(m)
		}
	}})
	alice := s.Dial("alice", client.Events{})
	for _, text := range []string{"before", "after"} {
		var err error
		for {
			if _, err = alice.SendMessage(ctx, client.C2C("bob"), im.Text(text)); err == nil || ctx.Err() != nil {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-heard:
			if got != text {
				t.Fatalf("heard %q", got)
			}
		case <-ctx.Done():
			t.Fatal("not heard: ", text)
		}
		s.Restart()
	}
}

// TestServerMoves: when PostgreSQL was promoted from a standby that may not have everything, the server restarts by itself, on the same address and
// under the store's new name; clients reconnect and continue.
func TestServerMoves(t *testing.T) {
	t.Parallel()
	old := pgtest.New(t)
	next := old.Standby("s1")
	ctx, stop := context.WithCancel(context.Background())
	up := make(chan *server.Server, 2)
	ended := make(chan error, 1)
	go func() {
		ended <- server.Run(ctx, server.Config{
			Listen: "127.0.0.1:0", Data: t.TempDir(), SecretKey: "a key of the server for this test", Drain: time.Second,
			Postgres: fmt.Sprintf("host=%s,%s port=5432,5432 user=postgres dbname=postgres", old.Host(), next.Host()),
			Log:      slog.New(slog.NewTextHandler(t.Output(), nil)),
		}, func(_ context.Context, s *server.Server) { up <- s })
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	await := func() *server.Server {
		t.Helper()
		select {
		case s := <-up:
			return s
		case err := <-ended:
			ended <- err
			t.Fatal("the server has ended:", err)
		case <-time.After(long):
			t.Fatal("no server")
		}
		return nil
	}
	s := await()
	url := s.URL()
	sig, err := s.Sig("alice", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	alice, err := client.Dial(ctx, client.Config{Server: url, UserID: "alice", UserSig: sig, Dir: t.TempDir(), Platform: im.Platform_PLATFORM_LINUX,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil))}, client.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer alice.Close()
	send := func(text string) *im.Message {
		t.Helper()
		within, cancel := context.WithTimeout(ctx, long)
		defer cancel()
		for {
			m, err := alice.SendMessage(within, client.C2C("alice"), im.Text(text))
			if err == nil {
				return m
			}
			if within.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	send("before")
	becomes(t, old.DSN(), "SELECT count(*) = 1 FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()")
	old.Stop()
	next.Promote()
	if s := await(); s.URL() != url {
		t.Fatalf("%s is now %s", url, s.URL())
	}
	send("after")
	becomes(t, next.DSN(), "SELECT restores > 0 AND timeline = 2 FROM meta")
	becomes(t, next.DSN(), "SELECT count(*) >= 2 FROM entry")
}
