//go:build unix

package media

import "golang.org/x/sys/unix"

// free returns how many bytes may still be written to the disk of a folder.
func free(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}
