//go:build !unix

package gateway

import "syscall"

// Sessions do not rest on systems where we cannot wait for input without reading it.
const canAwait = false

func (c *guard) await() error { return nil }

// onceWriter is not used where sessions do not rest.
type onceWriter struct{}

func (onceWriter) write(syscall.RawConn, []byte) (int, error) { return 0, nil }
