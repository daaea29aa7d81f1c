package needs

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// told is a test that is asked to end. It ends as real ones do: with its goroutine.
type told struct {
	testing.TB
	skipped, failed string
}

func (*told) Helper() {}

func (t *told) Skip(args ...any) {
	t.skipped = fmt.Sprintln(args...)
	runtime.Goexit()
}

func (t *told) Fatal(args ...any) {
	t.failed = fmt.Sprintln(args...)
	runtime.Goexit()
}

// TestMissing: a missing program skips a test, in one line that says how to get it, and fails it with CI=true.
func TestMissing(t *testing.T) {
	for _, ci := range []string{"", "true"} {
		t.Setenv("CI", ci)
		x := &told{TB: t}
		done := make(chan bool)
		go func() {
			defer close(done)
			Program(x, "a program that nobody has", "some-package")
			t.Error("the test went on")
		}()
		<-done
		said, other := x.skipped, x.failed
		if ci == "true" {
			said, other = other, said
		}
		if other != "" || !strings.Contains(said, "apt-get install some-package") || strings.Count(said, "\n") != 1 {
			t.Errorf("CI=%q: skipped %q, failed %q", ci, x.skipped, x.failed)
		}
	}
	if path := Program(t, "sh", "dash"); path == "" {
		t.Error("no path")
	}
}
