package ctest

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/needs"
)

// example is a running example program.
type example struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
}

func startExample(t *testing.T, s *imtest.Server, args ...string) *example {
	t.Helper()
	e := &example{t: t, cmd: exec.Command(args[0], args[1:]...), lines: make(chan string, 100)}
	e.cmd.Env = append(os.Environ(), "TIDINGS_SERVER="+s.URL, "IMSDK="+filepath.Join(library(t), "libImSDK.so"), "XDG_DATA_HOME="+t.TempDir())
	var err error
	if e.in, err = e.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	e.cmd.Stderr = os.Stderr
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if e.cmd.ProcessState == nil {
			e.cmd.Process.Kill()
			e.cmd.Wait()
		}
	})
	go func() {
		defer close(e.lines)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			e.lines <- sc.Text()
		}
	}()
	return e
}

// until waits for a line that contains a text.
func (e *example) until(text string) {
	e.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case l, ok := <-e.lines:
			if !ok {
				e.t.Fatalf("the example ended before it said %q", text)
			}
			if strings.Contains(l, text) {
				return
			}
		case <-timeout:
			e.t.Fatalf("the example does not say %q", text)
		}
	}
}

func (e *example) end() {
	e.t.Helper()
	e.in.Close()
	for range e.lines {
	}
	if err := e.cmd.Wait(); err != nil {
		e.t.Errorf("the example ended with %v", err)
	}
}

// The examples in C, C++ and Python talk to each other.
func TestExamples(t *testing.T) {
	python := needs.Program(t, "python3", "python3")
	s := imtest.Start(t)
	programs := map[string][]string{
		"c":      {compile(t, "chat_c", filepath.Join(root, "examples/c/chat.c"))},
		"cpp":    {compile(t, "chat_cpp", filepath.Join(root, "examples/cpp/chat.cpp"))},
		"python": {python, filepath.Join(root, "examples/python/chat.py")},
	}
	listening := map[string]*example{}
	for name, program := range programs {
		e := startExample(t, s, append(program, name, s.Sig(name))...)
		e.until("logged in as " + name)
		listening[name] = e
	}
	for name, program := range programs {
		for peer, e := range listening {
			text := name + ` says "hi" to ` + peer
			from := startExample(t, s, append(program, name+"2", s.Sig(name+"2"), peer, text)...)
			from.until("sent ")
			e.until("says")
			from.end()
		}
	}
	for _, e := range listening {
		e.end()
	}
}

// The C part of `make demo` runs.
func TestDemo(t *testing.T) {
	tidings := filepath.Join(work, "tidings")
	build := exec.Command("go", "build", "-o", tidings, "./cmd/tidings")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	demo := exec.CommandContext(ctx, "sh", filepath.Join(root, "examples/c/demo.sh"))
	demo.Env = append(os.Environ(), "BIN="+tidings, "LIB="+library(t))
	out, err := demo.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Hello from C") || !strings.Contains(string(out), "All that should happen has happened") {
		t.Fatalf("demo.sh: %v\n%s", err, out)
	}
	t.Logf("\n%s", out)
}
