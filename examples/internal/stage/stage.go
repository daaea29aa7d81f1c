// Package stage is what the demo and the tour share: a server, the screen, and what each device has heard.
package stage

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Patience is how long anything that must happen may take.
const Patience = 30 * time.Second

// Stage is a server and a screen. It ends the program when something goes wrong.
type Stage struct {
	// Ctx ends when the program is interrupted.
	Ctx context.Context
	// Dir is a temporary folder that End removes; Log is a file in it, for what the server and the devices write.
	Dir string
	Log *os.File
	// Address is the server's, ws://host:port, once it has started.
	Address string

	name    string   // of the program, for its messages
	program string   // the tidings binary
	flags   []string // further flags of its serve
	server  *exec.Cmd
	atEnd   []func()
	screen  sync.Mutex
}

// New makes a stage for the named program. binary is the tidings program; flags are added to its serve command.
func New(name, binary string, flags ...string) *Stage {
	s := &Stage{name: name, program: binary, flags: flags}
	s.Ctx, _ = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	s.Dir, err = os.MkdirTemp("", "tidings-"+name+"-")
	s.Must(err)
	s.Log, err = os.Create(filepath.Join(s.Dir, "log"))
	s.Must(err)
	return s
}

// Must fails with an error.
func (s *Stage) Must(err error) {
	if err != nil {
		s.Fail("%v", err)
	}
}

// Fail ends the program with exit code 1 and prints the end of the log.
func (s *Stage) Fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "\n"+s.name+": "+format+"\n", args...)
	if s.Log != nil {
		text, _ := os.ReadFile(s.Log.Name())
		lines := strings.Split(string(text), "\n")
		fmt.Fprintln(os.Stderr, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
	s.End()
	os.Exit(1)
}

// AtEnd registers f to run at the end, before the server is killed: the last one registered runs first.
func (s *Stage) AtEnd(f func()) { s.atEnd = append(s.atEnd, f) }

// End leaves nothing behind.
func (s *Stage) End() {
	for _, f := range slices.Backward(s.atEnd) {
		f()
	}
	if s.server != nil {
		s.server.Process.Kill()
		s.server.Wait()
	}
	os.RemoveAll(s.Dir)
}

// Run prepares the tidings program, without the settings of whoever runs the demo.
func (s *Stage) Run(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(s.Ctx, s.program, append(args, "--data", filepath.Join(s.Dir, "server"))...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "TIDINGS_") })
	cmd.Stderr = s.Log
	return cmd
}

// Start starts the server: on a free port the first time, then on the same one.
func (s *Stage) Start() {
	s.Action("server", "starts")
	listen := "127.0.0.1:0"
	if s.Address != "" {
		listen = strings.TrimPrefix(s.Address, "ws://")
	}
	s.server = s.Run(append([]string{"serve", "--listen", listen}, s.flags...)...)
	if s.Address != "" {
		s.Must(s.server.Start())
		return
	}
	out, err := s.server.StdoutPipe()
	s.Must(err)
	s.Must(s.server.Start())
	// The first start prints the address once the server listens.
	for lines := bufio.NewScanner(out); s.Address == ""; {
		if !lines.Scan() {
			s.Fail("the server does not start")
		}
		if words := strings.Fields(lines.Text()); len(words) == 2 && words[0] == "server" {
			s.Address = words[1]
		}
	}
}

// Stop stops the server in order.
func (s *Stage) Stop() {
	s.Action("server", "stops")
	s.Must(s.server.Process.Signal(syscall.SIGTERM))
	s.Must(s.server.Wait())
	s.server = nil
}

// Ticket makes a ticket for a user.
func (s *Stage) Ticket(user string, life time.Duration) string {
	out, err := s.Run("usersig", "--user", user, "--expire", life.String()).Output()
	s.Must(err)
	return string(bytes.TrimSpace(out))
}

// Scene prints a title.
func (s *Stage) Scene(title string) { s.Print("\n%s", paint(bold, title)) }

// Action prints what somebody does.
func (s *Stage) Action(who, what string) { s.Print("  %-14s ▸ %s", who, what) }

// Done prints that everything happened.
func (s *Stage) Done(text string) { s.Print("\n%s", paint(green, text)) }

// Print prints a line.
func (s *Stage) Print(format string, args ...any) {
	s.screen.Lock()
	defer s.screen.Unlock()
	fmt.Printf(format+"\n", args...)
}

const bold, green, blue = "1", "32", "36"

// paint colours text on a terminal.
func paint(colour, s string) string {
	info, err := os.Stdout.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 || os.Getenv("NO_COLOR") != "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}
