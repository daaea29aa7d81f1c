//go:build unix

package server

import (
	"math"
	"syscall"
)

// openFiles returns how many descriptors the process may have.
func openFiles() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return int(min(uint64(l.Cur), math.MaxInt32))
}
