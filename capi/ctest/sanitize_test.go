package ctest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/imtest"
)

// sanitizerReport is how a sanitizer's report begins.
var sanitizerReport = regexp.MustCompile(`(ERROR|WARNING|SUMMARY): \w+Sanitizer|runtime error:`)

// life is what the programs under sanitizers do: a whole session with messages, nasty parameters and an end.
func life(t *testing.T, program string, env ...string) {
	t.Helper()
	s := imtest.Start(t)
	ann, bob := newDeviceOf(t, program, s, "ann", "", env...), newDeviceOf(t, program, s, "bob", "", env...)
	for _, d := range []*device{ann, bob} {
		d.call("TIMSetLogCallback", on)
		d.login()
		d.synced(0)
	}
	for i := range 50 {
		ann.send(command(100+i, "TIMMsgSendMessage", "bob", 1, textJSON(fmt.Sprint("n", i)), on, on))
		bob.send(command(100+i, "TIMMsgSendMessage", "ann", 1, textJSON(fmt.Sprint("m", i)), on, on))
	}
	ann.hears("m49")
	bob.hears("n49")
	bob.must("TIMMsgMarkAllMessageAsRead", on)
	ann.history("bob")
	ann.send("hook\tTIMCommCallback\t" + command(1, "TIMMsgSendMessage", "bob", 1, textJSON("inside"), on, on))
	ann.must("TIMConvGetConvList", on)
	bob.hears("inside")
	nastyCalls(t, ann.driver, 1<<20)
	ann.call("TIMGetServerTime")
	bob.must("TIMLogout", on)
	for _, d := range []*device{ann, bob} {
		d.call("TIMUninit")
		d.quit()
		if report := d.stderr.String(); sanitizerReport.MatchString(report) {
			t.Errorf("%.6000s", report)
		}
	}
}

// AddressSanitizer with LeakSanitizer finds nothing.
func TestAddressSanitizer(t *testing.T) {
	life(t, driverProgram(t, "-fsanitize=address,undefined", "-fno-omit-frame-pointer"),
		"ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=66", "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1")
}

// ThreadSanitizer finds nothing: it sees the hand-over between the application's threads and the callback thread.
func TestThreadSanitizer(t *testing.T) {
	life(t, driverProgram(t, "-fsanitize=thread"), threadSanitizer()...)
}

func threadSanitizer() []string {
	return []string{"TSAN_OPTIONS=exitcode=66:halt_on_error=0:suppressions=" + filepath.Join(root, "capi/ctest/testdata/tsan.supp")}
}

// ThreadSanitizer does find a race in an application's callback, so that its silence means something; and it finds no race if the hand-over is all
// there is between two threads.
func TestThreadSanitizerSees(t *testing.T) {
	program := compile(t, "race", filepath.Join(root, "capi/ctest/testdata/race.c"), "-fsanitize=thread")
	for arg, want := range map[string]bool{"race": true, "handover": false} {
		cmd := exec.Command(program, arg)
		cmd.Env = append(append(os.Environ(), "XDG_DATA_HOME="+t.TempDir()), threadSanitizer()...)
		out, err := cmd.CombinedOutput()
		if found := strings.Contains(string(out), "WARNING: ThreadSanitizer: data race"); found != want {
			t.Errorf("%s: race found %v, want %v: %v\n%s", arg, found, want, err, out)
		}
	}
}

// AddressSanitizer finds a program that reads a callback's text after the callback.
func TestAddressSanitizerSees(t *testing.T) {
	program := compile(t, "kept", filepath.Join(root, "capi/ctest/testdata/race.c"), "-fsanitize=address")
	for arg, want := range map[string]bool{"kept": true, "handover": false} {
		cmd := exec.Command(program, arg)
		cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if found := strings.Contains(string(out), "heap-use-after-free"); found != want {
			t.Errorf("%s: use after free found %v, want %v: %v\n%s", arg, found, want, err, out)
		}
	}
}
