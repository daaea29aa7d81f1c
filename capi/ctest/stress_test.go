package ctest

import (
	"path/filepath"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// stressed returns a server for the program: bob is there, and has a group that everybody may join.
func stressed(t *testing.T) *imtest.Server {
	t.Helper()
	s := imtest.Start(t)
	bob := s.Dial("bob", noEvents)
	if _, err := bob.Groups().Create(t.Context(), &im.CreateGroupRequest{GroupId: "ops", Name: "Ops", Type: im.GroupType_GROUP_TYPE_MEETING}); err != nil {
		t.Fatal(err)
	}
	return s
}

// Threads call while the library begins and ends: every call that returned 0 is called back exactly once.
func TestStress(t *testing.T) {
	s := stressed(t)
	source := filepath.Join(root, "capi/ctest/testdata/stress.c")
	t.Log(run(t, compile(t, "stress", source), []string{"TIDINGS_SERVER=" + s.URL, "XDG_DATA_HOME=" + t.TempDir()}, "40", s.Sig("ann")))
}

// The same under ThreadSanitizer.
func TestStressThreadSanitizer(t *testing.T) {
	s := stressed(t)
	source := filepath.Join(root, "capi/ctest/testdata/stress.c")
	env := append(threadSanitizer(), "TIDINGS_SERVER="+s.URL, "XDG_DATA_HOME="+t.TempDir())
	t.Log(run(t, compile(t, "stress_tsan", source, "-fsanitize=thread"), env, "10", s.Sig("ann")))
}

// A runtime that suspends threads with a signal, as garbage collectors do, can suspend the callback thread, inside a callback and between two.
func TestSuspended(t *testing.T) {
	s := imtest.Start(t)
	source := filepath.Join(root, "capi/ctest/testdata/suspend.c")
	t.Log(run(t, compile(t, "suspend", source), []string{"TIDINGS_SERVER=" + s.URL, "XDG_DATA_HOME=" + t.TempDir()}, s.Sig("ann")))
}
