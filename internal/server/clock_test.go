package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// journal keeps what is logged.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
	io.Writer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.b.Write(p)
	return j.Writer.Write(p)
}

func (j *journal) count(words string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.b.String(), words)
}

// logged is a log that can be read.
func logged(t *testing.T) (*journal, *slog.Logger) {
	j := &journal{Writer: t.Output()}
	return j, slog.New(slog.NewTextHandler(j, nil))
}

const month = 30 * 24 * time.Hour

// clockWas is a clock that is a month ahead.
func clockWas() time.Time { return time.Now().Add(month) }

// TestClockWasAhead: a server whose clock was a month ahead and is right again lets everybody in, even after a kick made in that time; it reports
// that its store is ahead.
func TestClockWasAhead(t *testing.T) {
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			journal, log := logged(t)
			cfg := Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Log: log, Clock: clockWas}
			if kind == "postgres" {
				cfg.Postgres = pgtest.DSN(t)
			}
			begin := func() *Server {
				t.Helper()
				s, err := Start(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			s := begin()
			dial(t, s, "bob", client.Events{}).Close()
			alice := dial(t, s, "alice", client.Events{})
			if _, err := alice.SendMessage(t.Context(), client.C2C("bob"), im.Text("of the future")); err != nil {
				t.Fatal(err)
			}
			alice.Close()
			for _, user := range []string{"bob", "alice"} {
				if err := s.chat.Kick(t.Context(), user, "test"); err != nil {
					t.Fatal(err)
				}
			}
			stop(t, s)
			if kind == "postgres" { // its own clock was ahead, too
				conn, err := pgx.Connect(t.Context(), cfg.Postgres)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Exec(t.Context(), "UPDATE meta SET clock = $1", clockWas().UnixMilli()); err != nil {
					t.Fatal(err)
				}
				conn.Close(t.Context())
			}

			cfg.Clock = nil
			s = begin()
			defer stop(t, s)
			if ahead := metric(t, s, "tidings_store_clock_ahead_seconds"); ahead < month.Seconds()-600 || ahead > month.Seconds()+600 {
				t.Errorf("by the metric the store is ahead by %g s", ahead)
			}
			if n := journal.count("store-ahead=7"); n != 1 {
				t.Errorf("%d lines say that the store is ahead", n)
			}
			// Tickets that were signed before the problem was noticed are void, and those signed after it are good.
			sig, err := s.Sig("alice", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			for {
				if err = s.chat.CheckTicket(t.Context(), "alice", sig); im.CodeOf(err) != im.CodeTicketVoid {
					break
				}
				sig, _ = s.Sig("alice", time.Hour) // the next second's
			}
			if err != nil {
				t.Fatal(err)
			}
			old, err := s.Sig("bob", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			for _, user := range []string{"alice", "bob", "carol"} {
				expired := make(chan struct{})
				var c *client.Client
				for {
					sig, err := s.Sig(user, time.Hour)
					if err != nil {
						t.Fatal(err)
					}
					c, err = client.Dial(t.Context(), client.Config{Server: s.URL(), UserID: user, UserSig: sig, Dir: t.TempDir(), Log: log},
						client.Events{UserSigExpired: func() { close(expired) }})
					if err == nil {
						break
					}
					if im.CodeOf(err) != im.CodeTicketVoid {
						t.Fatal(user, err)
					}
				}
				if off := time.Since(c.ServerTime()).Abs(); off > clockSlack {
					t.Errorf("%s is told a time that is off by %v", user, off)
				}
				if _, err := c.SendMessage(t.Context(), client.C2C("bob"), im.Text("in again")); err != nil {
					t.Error(user, err)
				}
				select {
				case <-expired:
					t.Errorf("%s is told that the ticket has run out", user)
				default:
				}
				c.Close()
			}
			if journal.count("was kicked while the clock was ahead") != 2 {
				t.Error("the log does not name both accounts")
			}
			if err := s.chat.Kick(t.Context(), "bob", "test"); err != nil {
				t.Fatal(err)
			}
			if err := s.chat.CheckTicket(t.Context(), "bob", old); im.CodeOf(err) != im.CodeTicketVoid {
				t.Error("a ticket from before a kick:", err)
			}
			fresh, err := s.Sig("bob", time.Hour)
			if err == nil {
				err = s.chat.CheckTicket(t.Context(), "bob", fresh)
			}
			if err != nil || journal.count("was kicked while the clock was ahead") != 2 {
				t.Error("a ticket from after a kick:", err)
			}
		})
	}
}

// TestClockBehind: a wall clock that has fallen behind does not undo a kick, because the tickets that arrive are from its future.
func TestClockBehind(t *testing.T) {
	cfg := Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	stolen, err := s.Sig("alice", time.Hour)
	if err == nil {
		err = errors.Join(s.chat.Import(t.Context(), "alice"), s.chat.Kick(t.Context(), "alice", "test"))
	}
	if err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	cfg.Clock = func() time.Time { return time.Now().Add(-month) }
	if s, err = Start(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	if err := s.chat.CheckTicket(context.Background(), "alice", stolen); im.CodeOf(err) != im.CodeTicketVoid {
		t.Error("a ticket from before the kick:", err)
	}
}

// TestClockJumps: a wall clock that is set while the server runs is logged once per jump, and counted in the metrics.
func TestClockJumps(t *testing.T) {
	var mu sync.Mutex
	var ahead time.Duration
	set := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		ahead = d
	}
	journal, log := logged(t)
	s, err := Start(t.Context(), Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Log: log, Clock: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return time.Now().Add(ahead)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	for i, c := range []struct {
		to, ahead time.Duration
	}{{0, 0}, {time.Hour, 0}, {-time.Hour, 2 * time.Hour}, {time.Hour, 0}} {
		set(c.to)
		if got := time.Duration(metric(t, s, "tidings_store_clock_ahead_seconds") * float64(time.Second)); (got - c.ahead).Abs() > 10*time.Minute {
			t.Errorf("after %v the store is ahead by %v, want %v", c.to, got, c.ahead)
		}
		if n := journal.count("the wall clock has jumped"); n != i {
			t.Errorf("after %v the log has %d jumps", c.to, n)
		}
	}
	if n := metric(t, s, "tidings_clock_jumps_total"); n != 3 {
		t.Errorf("the metric counts %g jumps", n)
	}
	if a, b := journal.count("are apart"), journal.count("agree again"); a != 1 || b != 1 {
		t.Errorf("%d lines say that the clocks are apart, %d that they agree again", a, b)
	}
}
