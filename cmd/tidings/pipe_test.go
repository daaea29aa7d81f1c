package main

import (
	"bufio"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestLogReaderGone: a server whose standard output and error have no reader any more continues, and stops in order.
func TestLogReaderGone(t *testing.T) {
	s := &served{t: t, dir: t.TempDir()}
	cmd := program("serve", "--listen", "127.0.0.1:0", "--data", s.dir, "--secret-key", killKey, "--log-level", "debug")
	var ends [2]io.ReadCloser
	for i, std := range []*io.Writer{&cmd.Stdout, &cmd.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		*std, ends[i] = w, r
		defer w.Close()
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	for _, w := range []io.Writer{cmd.Stdout, cmd.Stderr} {
		w.(io.Closer).Close()
	}
	for lines := bufio.NewScanner(ends[1]); s.addr == "" && lines.Scan(); {
		if _, rest, ok := strings.Cut(lines.Text(), "msg=listening addr="); ok {
			s.addr, _, _ = strings.Cut(rest, " ")
		}
	}
	if s.addr == "" {
		t.Fatal("the server did not start")
	}
	for _, r := range ends {
		r.Close()
	}
	for range 3 { // each login and each end of a connection is a line of the log
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		l, err := s.dial("alice")
		if err != nil {
			t.Fatal(err)
		}
		sent := sender{name: "alice", peer: "alice", next: 1, open: map[uint64]bool{}, acked: map[uint64]uint64{}}
		if err := sent.run(l, 3, func() {}); err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error("the server's end:", err)
	}
}
