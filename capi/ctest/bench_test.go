package ctest

import (
	"path/filepath"
	"testing"

	"github.com/tidings-im/tidings/imtest"
)

// The cost of the boundary, measured in C: printed, never failing.
func TestCost(t *testing.T) {
	s := imtest.Start(t)
	program := compile(t, "cost", filepath.Join(root, "capi/ctest/testdata/cost.c"), "-O2")
	t.Logf("\n%s", run(t, program, []string{"TIDINGS_SERVER=" + s.URL, "XDG_DATA_HOME=" + t.TempDir()}, s.Sig("ann")))
}
