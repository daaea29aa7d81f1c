package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/usersig"
)

// TestMain lets the test binary be the program: with TIDINGS_TEST_MAIN set, it runs its arguments as a command line.
func TestMain(m *testing.M) {
	if os.Getenv("TIDINGS_TEST_MAIN") != "" {
		if dir := os.Getenv(deviceEnv); dir != "" {
			killedDevice(dir)
		}
		if dir := os.Getenv(relationsEnv); dir != "" {
			killedRelations(dir)
		}
		main()
		return
	}
	os.Exit(pgtest.Main(m))
}

func program(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "TIDINGS_TEST_MAIN=1")
	return cmd
}

const killKey = "a key of this test"

// served is a `tidings serve` in a process of its own.
type served struct {
	t   *testing.T
	dir string
	// listen is the address to listen on, by default a free port.
	listen string
	// postgres is the database to keep everything in, instead of the folder.
	postgres string
	// bin is the program, by default this one; more are further flags, files the limit of open files, and log gets the log after the line that names
	// the port.
	bin   string
	more  []string
	files int
	log   io.Writer
	addr  string
	cmd   *exec.Cmd
}

func (s *served) start() {
	s.t.Helper()
	s.listen = cmp.Or(s.listen, "127.0.0.1:0")
	s.cmd = program(append([]string{"serve", "--listen", s.listen, "--data", s.dir, "--secret-key", killKey, "--postgres", s.postgres}, s.more...)...)
	if s.bin != "" {
		s.cmd.Path, s.cmd.Args[0] = s.bin, s.bin
	}
	if s.files > 0 {
		s.cmd.Args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, s.files)}, s.cmd.Args...)
		s.cmd.Path = "/bin/sh"
	}
	if s.log == nil {
		s.log = io.Discard
	}
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd.Stderr = w
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	w.Close()
	s.t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		r.Close()
	})
	// The log names the port. What comes after that line is always read, so that the pipe does not fill.
	var log []byte
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		log = append(log, buf[:n]...)
		if _, rest, ok := bytes.Cut(log, []byte("addr=")); ok && bytes.Contains(rest, []byte(" ")) {
			s.addr = string(rest[:bytes.IndexByte(rest, ' ')])
			break
		}
		if err != nil {
			s.t.Fatalf("the server did not start: %s", log)
		}
	}
	go func() {
		for {
			n, err := r.Read(buf)
			if err != nil {
				return
			}
			s.log.Write(buf[:n])
		}
	}()
}

func (s *served) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

func (s *served) dial(user string) (*rawLink, error) { return dialAs(s.addr, user) }

func dialAs(addr, user string) (*rawLink, error) {
	sig, err := usersig.Sign(server.DefaultAppID, killKey, user, time.Hour, time.Now())
	if err != nil {
		return nil, err
	}
	l, err := dialRaw(addr)
	if err == nil {
		err = l.login(user, sig)
	}
	return l, err
}

// sender sends numbered messages, and resends those that were not answered when a connection ended.
type sender struct {
	name, peer string
	next       uint64
	open       map[uint64]bool
	acked      map[uint64]uint64 // the seq that each was answered with
}

// run sends until total messages are answered, or the connection ends.
func (u *sender) run(l *rawLink, total int, answered func()) error {
	const window = 64
	l.peer = u.peer
	frame := func(b []byte, n uint64, resent bool) []byte {
		req := &im.SendRequest{
			Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: u.peer}, ClientTime: 1700000000, Random: uint32(n),
			Message: &im.Message{ElemArray: []*im.Elem{{Body: &im.Elem_Text{Text: &im.TextElem{Content: strconv.FormatUint(n, 10)}}}}},
		}
		return im.AppendMessage(b, &im.Frame{Id: n + 2, Method: im.Method_SEND, Resent: resent}, req)
	}
	var out []byte
	for n := range u.next { // in order
		if u.open[n] {
			out = frame(out, n, true)
		}
	}
	for {
		for len(u.open) < window && len(u.open)+len(u.acked) < total {
			u.open[u.next] = true
			out = frame(out, u.next, false)
			u.next++
		}
		if len(out) > 0 {
			if err := l.write(out); err != nil {
				return err
			}
			out = out[:0]
		}
		if len(u.open) == 0 {
			return nil
		}
		msg, err := l.message()
		if err != nil {
			return err
		}
		err = im.ReadFrames(msg, func(f *im.Frame) error {
			if f.Method != im.Method_SEND {
				return nil
			}
			if f.Code != 0 {
				return im.Errorf(f.Code, "%s", f.Desc)
			}
			var r im.SendReply
			if err := r.UnmarshalVT(f.Body); err != nil {
				return err
			}
			delete(u.open, f.Id-2)
			u.acked[f.Id-2] = r.Entry.Seq
			answered()
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// killRounds is how often a test kills: n times, once in a short run, or as often as TIDINGS_KILL_ROUNDS says.
func killRounds(n int) int {
	if v, err := strconv.Atoi(os.Getenv("TIDINGS_KILL_ROUNDS")); err == nil {
		return v
	}
	if testing.Short() {
		return 1
	}
	return n
}

// TestKill9 kills a server in the middle of acknowledged sends, again and again: what was acknowledged is stored, once, under the number that the
// reply named, and the numbers have no gaps. TIDINGS_KILL_ROUNDS sets the number of rounds.
func TestKill9(t *testing.T) { kill9(t, &served{t: t, dir: t.TempDir()}, 3000) }

// TestKill9Postgres is the same on PostgreSQL.
func TestKill9Postgres(t *testing.T) {
	kill9(t, &served{t: t, dir: t.TempDir(), postgres: pgtest.DSN(t)}, 1000)
}

func kill9(t *testing.T, s *served, total int) {
	t.Parallel()
	rounds := killRounds(5)
	var users []*sender
	for i := range 4 {
		users = append(users, &sender{
			name: fmt.Sprint("u", i), peer: fmt.Sprint("u", i^1),
			open: map[uint64]bool{}, acked: map[uint64]uint64{},
		})
	}
	for round := range rounds {
		for last := range 2 { // killed in the middle, and then to the end
			s.start()
			links := make([]*rawLink, len(users))
			for i, u := range users {
				l, err := s.dial(u.name)
				if err != nil {
					t.Fatal(err)
				}
				links[i] = l
			}
			left := 1<<63 - 1
			if last == 0 {
				left = 1 + rand.IntN(total-total/10)
			}
			var mu sync.Mutex
			var wg sync.WaitGroup
			errs := make([]error, len(users))
			for i, u := range users {
				wg.Go(func() {
					errs[i] = u.run(links[i], (round+1)*total/len(users), func() {
						mu.Lock()
						defer mu.Unlock()
						if left--; left == 0 {
							s.cmd.Process.Kill()
						}
					})
				})
			}
			wg.Wait()
			for i, err := range errs {
				if last == 1 && err != nil || im.CodeOf(err) != 0 {
					t.Fatalf("%s: %v", users[i].name, err)
				}
				links[i].Close()
			}
			s.kill() // idle, and in the other half of the rounds already dead
		}
	}
	s.start()
	for i, u := range users {
		l, err := s.dial(u.name)
		if err != nil {
			t.Fatal(err)
		}
		byText := map[string]uint64{}
		mine, all := uint64(0), uint64(len(u.acked)+len(users[i^1].acked))
		epoch := headEpoch(t, l, u.peer)
		for seq := uint64(1); seq <= all; seq++ {
			var r im.PullReply
			ask(t, l, im.Method_PULL, &im.PullRequest{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: u.peer}, Epoch: epoch, From: seq, To: all}, &r)
			for k, e := range r.Entries {
				if e.Seq != seq+uint64(k) {
					t.Fatalf("seq %d follows %d", e.Seq, seq+uint64(k)-1)
				}
				if e.Sender == u.name {
					mine++
					text := e.Message.ElemArray[0].GetText().GetContent()
					if byText[text] != 0 {
						t.Errorf("%s is stored twice", text)
					}
					byText[text] = e.Seq
				}
			}
			seq = r.To
		}
		for n, seq := range u.acked {
			if got := byText[strconv.FormatUint(n, 10)]; got != seq {
				t.Errorf("message %d was acknowledged as %d and is %d", n, seq, got)
			}
		}
		if mine != uint64(len(u.acked)) {
			t.Errorf("%d messages of %s are stored, %d were acknowledged", mine, u.name, len(u.acked))
		}
		l.Close()
	}
	t.Logf("%d rounds, %d messages", rounds, rounds*total)
}

func headEpoch(t *testing.T, l *rawLink, peer string) uint64 {
	t.Helper()
	var r im.HeadsReply
	ask(t, l, im.Method_HEADS, &im.HeadsRequest{Only: []*im.ConvKey{{Type: im.ConvType_CONV_TYPE_C2C, Id: peer}}}, &r)
	if len(r.Heads) != 1 {
		t.Fatalf("%d heads", len(r.Heads))
	}
	return r.Heads[0].Epoch
}

func ask(t *testing.T, l *rawLink, m im.Method, req im.Body, reply im.Msg) {
	t.Helper()
	if err := l.write(im.AppendMessage(nil, &im.Frame{Id: 1, Method: m}, req)); err != nil {
		t.Fatal(err)
	}
	for done := false; !done; {
		msg, err := l.message()
		if err != nil {
			t.Fatal(err)
		}
		err = im.ReadFrames(msg, func(f *im.Frame) error {
			if f.Id != 1 {
				return nil
			}
			done = true
			if f.Code != 0 {
				return im.Errorf(f.Code, "%s", f.Desc)
			}
			return reply.UnmarshalVT(f.Body)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestUsersigAndVersion(t *testing.T) {
	dir := t.TempDir()
	if out, err := program("usersig", "--user", "alice", "--data", dir).CombinedOutput(); err == nil || !strings.Contains(string(out), "start the server once") {
		t.Errorf("without a key: %v, %s", err, out)
	}
	s := &served{t: t, dir: dir}
	s.start()
	out, err := program("version").Output()
	if err != nil || !strings.Contains(string(out), im.Subprotocol) {
		t.Errorf("version: %v, %s", err, out)
	}
}

func TestUnbuiltPartsSaySo(t *testing.T) {
	for _, args := range [][]string{
		{"serve", "--nats", "x"}, {"serve", "--blob", "s3://x"},
		{"bench", "sync"}, {"bench", "cold"},
	} {
		out, err := program(args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "not built yet") {
			t.Errorf("%q: %v, %s", args, err, out)
		}
	}
}

// TestUserIDs: no ticket is made for a user that no server lets in.
func TestUserIDs(t *testing.T) {
	for _, id := range []string{"a b", " ", "\u00fcn\u00ef", strings.Repeat("x", 33)} {
		out, err := program("usersig", "--user", id, "--data", t.TempDir()).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "without blanks") {
			t.Errorf("%q: %v, %s", id, err, out)
		}
	}
}
