package histcheck

import (
	"bufio"
	"cmp"
	"encoding/gob"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
)

// childEnv marks a process that runs one device; its value is the file for its log, or "-".
const childEnv = "TIDINGS_HISTCHECK_DEVICE"

// ChildMain runs a device and does not return, if this process was started for that. It belongs at the very beginning of a test binary's main.
func ChildMain() {
	name := os.Getenv(childEnv)
	if name == "" {
		return
	}
	logs := io.Discard
	if name != "-" {
		if f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err == nil {
			logs = f
		}
	}
	var mu sync.Mutex
	out := gob.NewEncoder(os.Stdout)
	a := &agent{log: slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	a.tell = func(t told) {
		mu.Lock()
		defer mu.Unlock()
		if out.Encode(&t) != nil {
			os.Exit(3) // nobody listens any more
		}
	}
	in := gob.NewDecoder(os.Stdin)
	for {
		cmd := &command{}
		if in.Decode(cmd) != nil {
			os.Exit(0)
		}
		a.tell(told{Reply: a.do(cmd)})
	}
}

// process is a driver of an agent in a process of its own. What the agent has reported is in the pipe, whatever happens to the process.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	enc     *gob.Encoder
	pending pending
	closed  atomic.Bool // the client was closed: the end of the process is not a crash
	done    chan struct{}
	once    sync.Once
}

// startProcess starts one. died is called at its end, after everything that it reported, unless its client was closed.
func startProcess(logFile string, tell func(told), died func()) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	logFile = cmp.Or(logFile, "-")
	p := &process{cmd: exec.Command(exe), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childEnv+"="+logFile)
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.enc = gob.NewEncoder(p.in)
	go func() {
		defer close(p.done)
		dec := gob.NewDecoder(bufio.NewReaderSize(out, 1<<20))
		for {
			t := told{}
			if dec.Decode(&t) != nil {
				break // a line that was cut off does not count
			}
			if t.Reply != nil {
				p.pending.answer(t.Reply)
				continue
			}
			tell(t)
		}
		io.Copy(io.Discard, out)
		p.cmd.Wait()
		if !p.closed.Load() {
			died()
		}
		p.pending.end()
	}()
	return p, nil
}

func (p *process) do(cmd *command) *reply {
	n, ch := p.pending.add()
	cmd.N = n
	if p.enc.Encode(cmd) != nil {
		<-p.done
		return nil
	}
	r, ok := <-ch
	if !ok {
		<-p.done
		return nil
	}
	if cmd.Op == "close" {
		p.closed.Store(true)
	}
	return r
}

func (p *process) end() {
	p.in.Close()
	<-p.done
}

func (p *process) kill() bool {
	fresh := false
	p.once.Do(func() {
		fresh = p.cmd.Process.Kill() == nil
	})
	return fresh
}
