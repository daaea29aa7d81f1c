//go:build !unix

package gateway

// Sessions do not rest on systems where we cannot wait for input without reading it.
const canAwait = false

func (c *guard) await() error { return nil }
