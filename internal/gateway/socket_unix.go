//go:build unix

package gateway

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const canAwait = true

// await waits until there is something to read or the connection ends.
func (c *guard) await() error { return c.raw.Read(readable) }

func readable(fd uintptr) bool {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p[:], 0)
	return n != 0 || err != nil && err != unix.EINTR && err != unix.EAGAIN
}

// onceWriter writes as much as a socket takes without waiting.
type onceWriter struct {
	b   []byte
	n   int
	err error
	try func(fd uintptr) bool
}

func (w *onceWriter) write(raw syscall.RawConn, b []byte) (int, error) {
	if w.try == nil {
		w.try = w.once // made here, because it is memory
	}
	w.b = b
	err := raw.Write(w.try)
	w.b = nil
	if err != nil {
		return 0, err
	}
	return w.n, w.err
}

func (w *onceWriter) once(fd uintptr) bool {
	w.n, w.err = unix.Write(int(fd), w.b)
	if w.n = max(w.n, 0); w.err == unix.EINTR || w.err == unix.EAGAIN {
		w.err = nil
	}
	return true
}
