// Package soak decides between the two forms of a test that takes long. `make test` and CI run the short form, which makes every assertion of the
// long one on fewer rounds, states or seeds; `make soak` sets TIDINGS_SOAK=1 and runs the long form.
package soak

import "os"

// On reports whether long forms run.
func On() bool { return os.Getenv("TIDINGS_SOAK") == "1" }

// Pick returns long if long forms run, and short otherwise.
func Pick[T any](short, long T) T {
	if On() {
		return long
	}
	return short
}
