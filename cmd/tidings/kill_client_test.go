package main

import (
	"bufio"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/usersig"
)

const deviceEnv = "TIDINGS_TEST_DEVICE"

// killedDevice is bob's device in a process of its own: it prints a line for each message that it gets and for each of its own that was acknowledged,
// and sends without end, until it is killed.
func killedDevice(dir string) {
	die := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	sig, err := usersig.Sign(server.DefaultAppID, killKey, "bob", time.Hour, time.Now())
	die(err)
	run, err := os.ReadFile(dir + "/run")
	die(err)
	c, err := client.Open(client.Config{Server: os.Getenv("TIDINGS_SERVER"), UserID: "bob", UserSig: sig, Dir: dir, Log: slog.New(slog.DiscardHandler)},
		client.Events{NewMessages: func(ms []*im.Message) {
			var out strings.Builder // a callback is one write, so it is printed as a whole or not at all
			for _, m := range ms {
				fmt.Fprintf(&out, "new %d %s\n", m.Seq, im.TextOf(m))
			}
			os.Stdout.WriteString(out.String())
		}})
	die(err)
	window := make(chan struct{}, 16)
	c.LoginFunc(func(err error) {
		die(err)
		os.Stdout.WriteString("in\n")
		go func() {
			for n := 0; ; n++ {
				window <- struct{}{}
				text := fmt.Sprintf("b%s.%d", run, n)
				c.SendMessageFunc(client.C2C("alice"), im.Text(text), func(m *im.Message, err error) {
					die(err)
					fmt.Printf("sent %d %s\n", m.Seq, text)
					<-window
				})
			}
		}()
	})
	select {}
}

// TestKill9Client kills the process of a device while it sends and receives, again and again, while the other side sends to it. Every message of the
// other side is announced, in order within a run, and after a kill at most those of the callback that was running are repeated; everything that the
// device printed as stored is stored, once, under that number; and nothing that it sent is stored twice. TIDINGS_KILL_ROUNDS sets the number of
// rounds.
func TestKill9Client(t *testing.T) { kill9Client(t, &served{t: t, dir: t.TempDir()}) }

// TestKill9ClientPostgres is the same with a server on PostgreSQL.
func TestKill9ClientPostgres(t *testing.T) {
	kill9Client(t, &served{t: t, dir: t.TempDir(), postgres: pgtest.DSN(t)})
}

func kill9Client(t *testing.T, s *served) {
	t.Parallel()
	rounds := killRounds(5)
	s.start()
	dir := t.TempDir()
	l, err := s.dial("bob") // a user exists from their first login on; logged out, alice's session cannot affect this device
	if err != nil {
		t.Fatal(err)
	}
	ask(t, l, im.Method_LOGOUT, &im.Empty{}, &im.Empty{})
	l.Close()
	alice := sdk(t, s.addr, "alice", t.TempDir(), newHeard())
	var mu sync.Mutex
	fromAlice := map[uint64]string{}
	told := map[uint64]int{}
	acked := map[string]uint64{}
	run := func(round, lines int, last uint64) {
		t.Helper()
		if err := os.WriteFile(dir+"/run", []byte(fmt.Sprint(round)), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := program()
		cmd.Env = append(cmd.Env, deviceEnv+"="+dir, "TIDINGS_SERVER=ws://"+s.addr)
		cmd.Stderr = t.Output()
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		limit := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		defer limit.Stop()
		in := bufio.NewReader(out)
		highest, again, got, complete := uint64(0), 0, 0, false
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break // half a line does not count
			}
			var what, text string
			var seq uint64
			switch k, _ := fmt.Sscan(line, &what, &seq, &text); {
			case what == "in":
			case k != 3:
				t.Fatalf("line %q", line)
			case what == "sent":
				acked[text] = seq
			default:
				if seq <= highest {
					t.Errorf("round %d: number %d was told after %d", round, seq, highest)
				}
				highest = seq
				if told[seq]++; told[seq] > 1 {
					again++
				}
			}
			if got++; got == lines || lines < 0 && highest >= last {
				complete = true
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		if !complete {
			t.Fatalf("round %d: the device ended by itself after %d lines", round, got)
		}
		if again > 100 {
			t.Errorf("round %d: %d messages were told again after one kill", round, again)
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			text := fmt.Sprint("a", n)
			m, err := alice.SendMessage(t.Context(), client.C2C("bob"), im.Text(text))
			if err != nil {
				t.Errorf("alice: %v", err)
				return
			}
			mu.Lock()
			fromAlice[m.Seq] = text
			mu.Unlock()
		}
	})
	// A fresh device does not get what was there before it; after the first run it is not fresh any more.
	run(0, 50, 0)
	first := uint64(1 << 62)
	for seq := range told {
		first = min(first, seq)
	}
	for round := range rounds {
		run(round+1, 1+rand.IntN(400), 0)
	}
	close(stop)
	wg.Wait()
	m, err := alice.SendMessage(t.Context(), client.C2C("bob"), im.Text("last"))
	if err != nil {
		t.Fatal(err)
	}
	fromAlice[m.Seq] = "last"
	run(rounds+1, -1, m.Seq)

	missing := 0
	for seq := range fromAlice {
		if seq >= first && told[seq] == 0 {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d messages were never told", missing, len(fromAlice))
	}
	if l, err = s.dial("alice"); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	epoch, stored := headEpoch(t, l, "bob"), map[string]uint64{}
	key := &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: "bob"}
	for seq := uint64(1); ; {
		var r im.PullReply
		ask(t, l, im.Method_HEADS, &im.HeadsRequest{Only: []*im.ConvKey{key}}, &im.HeadsReply{})
		ask(t, l, im.Method_PULL, &im.PullRequest{Conv: key, Epoch: epoch, From: seq, To: m.Seq}, &r)
		for _, e := range r.Entries {
			text := im.TextOf(e.Message)
			if stored[text] != 0 {
				t.Errorf("%s is stored as %d and %d", text, stored[text], e.Seq)
			}
			stored[text] = e.Seq
		}
		if seq = r.To + 1; seq > m.Seq {
			break
		}
	}
	for text, seq := range acked {
		if got := stored[text]; got != seq && seq <= m.Seq {
			t.Errorf("%s was acknowledged as %d and is %d", text, seq, got)
		}
	}
	t.Logf("%d kills, %d messages to the device, %d acknowledged of it", rounds+1, len(fromAlice), len(acked))
}
