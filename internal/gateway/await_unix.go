//go:build unix

package gateway

import "golang.org/x/sys/unix"

const canAwait = true

// await waits until there is something to read or the connection ends.
func (c *guard) await() error { return c.raw.Read(readable) }

func readable(fd uintptr) bool {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p[:], 0)
	return n != 0 || err != nil && err != unix.EINTR && err != unix.EAGAIN
}
