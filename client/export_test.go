package client

import "runtime"

// WaitQuiet returns when the client has nothing left to do by itself: no call is open, no sync runs, and everything that was to be told has been.
// It reports false if the client has ended.
func (c *Client) WaitQuiet() bool {
	for {
		quiet := make(chan bool, 1)
		if !c.post(func() {
			quiet <- len(c.calls) == 0 && !c.sync.running() && !c.stateOut && (len(c.changed) == 0 || !c.owedDone) && !c.finish && c.waiting.Load() == 0 && len(c.out) == 0 && c.loginDone == nil
		}) {
			return false
		}
		if <-quiet {
			return true
		}
		runtime.Gosched()
	}
}
