// Package needs decides what a test does if the machine lacks something: the test is skipped, with the reason and the way to get it. With CI=true it
// fails, so that a machine that checks the repository checks all of it. All skips of our tests are here; .ci/missing names what a Debian machine
// lacks.
package needs

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Missing ends a test that cannot run.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("CI=true, and not everything is here:", fmt.Sprintf(format, args...))
	}
	t.Skip("not run:", fmt.Sprintf(format, args...))
}

// Program returns the path of a program that a Debian package contains.
func Program(t testing.TB, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, "no %s. To have it: apt-get install %s", name, debian)
	}
	return path
}
