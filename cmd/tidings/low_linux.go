package main

import (
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// startLow starts a process that stands back for others, and returns how: with a low priority, or idle, which is only while a processor has nothing else to do, and
// interrupted at once. Neither needs any right. If the system forbids it, the process runs as others do.
func startLow(cmd *exec.Cmd, idle bool) (how string, err error) {
	own, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return "as others", cmd.Start()
	}
	attr, how := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: min(own.Nice+10, 19)}, "low"
	if idle {
		attr.Policy, how = unix.SCHED_IDLE, "idle"
	}
	started := make(chan struct{})
	go func() {
		defer close(started)
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and only the process that it starts is as it was
		if unix.SchedSetAttr(0, &attr, 0) != nil {
			how = "as others"
		}
		err = cmd.Start()
	}()
	<-started
	return how, err
}
