package ctest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// driver is a running C program that does what it is told.
type driver struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.WriteCloser
	// stderr is what the library wrote to the console.
	stderr *lockedBuffer

	mu    sync.Mutex
	lines []line
	ended bool
	more  chan struct{} // closed and replaced when a line arrives
	id    int
}

// line is one that the program printed: "ret", a callback type, "blocked", "stats", "forked" or "quit", and its fields.
type line struct {
	kind   string
	fields []string
}

func (l line) String() string { return l.kind + " " + strings.Join(l.fields, " | ") }

func (l line) num(i int) int {
	n, _ := strconv.Atoi(l.fields[i])
	return n
}

type lockedBuffer struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{} // closed at the next write, if somebody waits
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
	return b.b.Write(p)
}

// until waits for a text.
func (b *lockedBuffer) until(t testing.TB, text string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		b.mu.Lock()
		if strings.Contains(b.b.String(), text) {
			b.mu.Unlock()
			return
		}
		if b.more == nil {
			b.more = make(chan struct{})
		}
		more := b.more
		b.mu.Unlock()
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("waited in vain for %q in\n%s", text, b)
		}
	}
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

var (
	driverLock sync.Mutex
	driverMade = map[string]string{}
)

// driverProgram builds the driver with flags, once in a run.
func driverProgram(t testing.TB, flags ...string) string {
	t.Helper()
	driverLock.Lock()
	defer driverLock.Unlock()
	key := strings.Join(flags, " ")
	if driverMade[key] == "" {
		name := fmt.Sprintf("driver%d", len(driverMade))
		driverMade[key] = compile(t, name, write(t, name+".c", driverSource(t)), flags...)
	}
	return driverMade[key]
}

// start runs the driver; env has more settings for it.
func start(t testing.TB, env ...string) *driver {
	t.Helper()
	return startProgram(t, driverProgram(t), env...)
}

func startProgram(t testing.TB, program string, env ...string) *driver {
	t.Helper()
	d := &driver{t: t, cmd: exec.Command(program), stderr: &lockedBuffer{}, more: make(chan struct{})}
	d.cmd.Env = append(append(os.Environ(), "XDG_DATA_HOME="+t.TempDir()), env...)
	d.cmd.Stderr = d.stderr
	var err error
	if d.stdin, err = d.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		r := bufio.NewReaderSize(out, 1<<20)
		for {
			s, err := r.ReadString('\n')
			d.mu.Lock()
			if err != nil {
				d.ended = true
			} else {
				parts := strings.Split(strings.TrimSuffix(s, "\n"), "\t")
				l := line{kind: parts[0]}
				for _, p := range parts[1:] {
					l.fields = append(l.fields, unescape(p))
				}
				d.lines = append(d.lines, l)
			}
			close(d.more)
			d.more = make(chan struct{})
			d.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		if d.cmd.ProcessState == nil {
			d.cmd.Process.Kill()
			<-read
			d.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("console of the program:\n%s", d.stderr)
		}
	})
	return d
}

var (
	escaper = strings.NewReplacer("\\", "\\\\", "\t", "\\t", "\n", "\\n")
	back    = strings.NewReplacer("\\\\", "\\", "\\t", "\t", "\\n", "\n")
)

func unescape(s string) string { return back.Replace(s) }

// null and repeat are values for parameters that are texts.
const null = "\\N"

func repeat(n int) string { return fmt.Sprintf("\\R%d", n) }

// send gives the program a command.
func (d *driver) send(command string) {
	d.t.Helper()
	if _, err := io.WriteString(d.stdin, command+"\n"); err != nil {
		d.t.Fatalf("the program is gone: %v\n%s", err, d.stderr)
	}
}

// position returns how many lines there are.
func (d *driver) position() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.lines)
}

// all returns the lines so far.
func (d *driver) all() []line {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]line(nil), d.lines...)
}

// wait returns the first line from a position on for which match is true.
func (d *driver) wait(from int, what string, match func(line) bool) line {
	d.t.Helper()
	l, ok := d.waitFor(patience, from, match)
	if !ok {
		var b strings.Builder
		for _, l := range d.all() {
			fmt.Fprintf(&b, "  %.300s\n", l)
		}
		d.t.Fatalf("waited in vain for %s; the program said:\n%sconsole:\n%s", what, b.String(), d.stderr)
	}
	return l
}

func (d *driver) waitFor(limit time.Duration, from int, match func(line) bool) (line, bool) {
	timeout := time.After(limit)
	for {
		d.mu.Lock()
		for ; from < len(d.lines); from++ {
			if match(d.lines[from]) {
				l := d.lines[from]
				d.mu.Unlock()
				return l, true
			}
		}
		more, ended := d.more, d.ended
		d.mu.Unlock()
		if ended {
			return line{}, false
		}
		select {
		case <-more:
		case <-timeout:
			return line{}, false
		}
	}
}

// command returns the line that calls a function; texts are escaped unless they are null or repeat.
func command(id int, fn string, args ...any) string {
	s := "call\t" + fn
	for _, a := range args {
		switch v := a.(type) {
		case string:
			if v != null && !strings.HasPrefix(v, "\\R") {
				v = escaper.Replace(v)
			}
			s += "\t" + v
		case bool:
			s += "\t" + map[bool]string{true: "1", false: "0"}[v]
		default:
			s += fmt.Sprintf("\t%v", v)
		}
	}
	return s + fmt.Sprintf("\t%d", id)
}

// on is a callback or buffer that is given.
const on = true

func (d *driver) nextID() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.id++
	return 1000 + d.id
}

// call calls a function and returns its result and what it wrote to a buffer.
func (d *driver) call(fn string, args ...any) (int, string) {
	d.t.Helper()
	r, text, _ := d.callID(fn, args...)
	return r, text
}

func (d *driver) callID(fn string, args ...any) (result int, text string, id int) {
	d.t.Helper()
	id = d.nextID()
	d.send(command(id, fn, args...))
	l := d.returned(id, fn)
	return l.num(1), l.fields[2], id
}

func (d *driver) returned(id int, fn string) line {
	d.t.Helper()
	return d.wait(0, "the return of "+fn, func(l line) bool { return l.kind == "ret" && l.num(0) == id })
}

// answer is what a result callback was called with.
type answer struct {
	code int
	desc string
	json string
}

// successTexts are the texts of callbacks with code 0 that are not empty: that of the first callback, where there are two.
var successTexts = map[string]string{"TIMMsgSendNewMsgEx": "ok"}

// answerOf waits for the first callback of a call.
func (d *driver) answerOf(id int, fn string) answer {
	d.t.Helper()
	l := d.wait(0, "the callback of "+fn, func(l line) bool { return l.kind == "TIMCommCallback" && l.num(3) == id })
	a := answer{l.num(0), l.fields[1], l.fields[2]}
	if text := successTexts[fn]; a.code == 0 && a.desc != text {
		d.t.Errorf("%s succeeds with the text %q, and not %q", fn, a.desc, text)
	}
	return a
}

// ask calls a function that must return 0, and waits for its callback.
func (d *driver) ask(fn string, args ...any) answer {
	d.t.Helper()
	r, _, id := d.callID(fn, args...)
	if r != 0 {
		d.t.Fatalf("%s returned %d", fn, r)
	}
	return d.answerOf(id, fn)
}

// must is ask for a call that must succeed; it returns the JSON.
func (d *driver) must(fn string, args ...any) string {
	d.t.Helper()
	a := d.ask(fn, args...)
	if a.code != 0 {
		d.t.Fatalf("%s: %d %s", fn, a.code, a.desc)
	}
	return a.json
}

// event waits for the n-th call (from 1) of a callback.
func (d *driver) event(kind string, n int) line {
	d.t.Helper()
	seen := 0
	return d.wait(0, fmt.Sprintf("%s number %d", kind, n), func(l line) bool {
		if l.kind == kind {
			seen++
		}
		return l.kind == kind && seen == n
	})
}

// quit ends the program; it must end well.
func (d *driver) quit() {
	d.t.Helper()
	d.send("quit")
	d.wait(0, "the end", func(l line) bool { return l.kind == "quit" })
	d.stdin.Close()
	done := make(chan error, 1)
	go func() { done <- d.cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			d.t.Fatalf("the program ended with %v\n%s", err, d.stderr)
		}
	case <-time.After(patience):
		d.t.Fatalf("the program does not end\n%s", d.stderr)
	}
}

// noEvents is for users who only have to exist.
var noEvents client.Events
