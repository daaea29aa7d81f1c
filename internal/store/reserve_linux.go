package store

import (
	"os"
	"syscall"
)

// allocate reserves space for a file without writing it, if the file system can.
func allocate(f *os.File, size int) error {
	err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(size))
	if err == syscall.EOPNOTSUPP || err == syscall.ENOSYS {
		return writeZeros(f, size)
	}
	return err
}
