package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStartLow: all threads of a process that stands back do, from the start, and no thread of others that are started later.
func TestStartLow(t *testing.T) {
	own, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	runs := map[string][2]string{"idle": {"5", fmt.Sprint(own.Nice)}, "low": {"0", fmt.Sprint(min(own.Nice+10, 19))}, "as others": {fmt.Sprint(own.Policy), fmt.Sprint(own.Nice)}}
	for _, want := range []string{"idle", "low", "as others"} {
		cmd := program("bench", "members", "{}") // which waits for lines
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		how := "as others"
		if want == how {
			err = cmd.Start()
		} else {
			how, err = startLow(cmd, want == "idle")
		}
		if err != nil || how != want {
			t.Fatalf("%q, want %q; %v", how, want, err)
		}
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", cmd.Process.Pid))
		if err != nil || len(stats) == 0 {
			t.Errorf("threads: %v, %v", stats, err)
		}
		for _, stat := range stats {
			b, err := os.ReadFile(stat)
			if err != nil { // it has ended
				continue
			}
			// The name, in parentheses, may have spaces; niceness and policy are the 17th and 39th fields after it.
			f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
			if is := [2]string{f[38], f[16]}; is != runs[want] {
				t.Errorf("%q: the policy and niceness of a thread are %q, want %q", want, is, runs[want])
			}
		}
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}
