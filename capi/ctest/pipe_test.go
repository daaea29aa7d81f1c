package ctest

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"
)

// pipeSource calls the library, which logs to a standard error that has no reader, and then writes there itself.
const pipeSource = `#include <TIMCloud.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char** argv) {
	if (argc > 1 && strcmp(argv[1], "ignore") == 0) signal(SIGPIPE, SIG_IGN);
	int p[2];
	if (pipe(p) != 0 || dup2(p[1], 2) < 0) return 2;
	close(p[0]);
	close(p[1]);
	for (int i = 0; i < 10; i++)
		if (TIMInit(0, "{}") == 0) return 3; /* refused, which is a line of the log */
	if (TIMInit(1, "{}") != 0 || TIMUninit() != 0) return 4;
	puts("alive");
	fflush(stdout);
	if (write(2, "x", 1) == 1 || errno != EPIPE) return 5;
	puts("EPIPE");
	return 0;
}
`

// TestBrokenConsole: the library's log does not end an application whose standard error has no reader, and SIGPIPE has the effect on it that it had
// without the library.
func TestBrokenConsole(t *testing.T) {
	program := compile(t, "pipe", write(t, "pipe.c", pipeSource))
	if out := run(t, program, []string{"TIDINGS_CONSOLE_LOG=debug"}, "ignore"); out != "alive\nEPIPE\n" {
		t.Errorf("with SIGPIPE ignored: %q", out)
	}
	out, err := exec.CommandContext(t.Context(), program).Output()
	var ended *exec.ExitError
	if string(out) != "alive\n" || !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGPIPE {
		t.Errorf("by default: %q, %v", out, err)
	}
}
