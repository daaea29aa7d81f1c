package store

import (
	"fmt"
	"syscall"
	"testing"
)

// mountSmall mounts a file system of some bytes on dir; it needs privileges.
func mountSmall(t *testing.T, dir string, size int) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		return err
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return nil
}
