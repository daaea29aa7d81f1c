//go:build !linux

package main

import "os/exec"

// startLow starts a process that stands back for others, where the system can do that, and returns how.
func startLow(cmd *exec.Cmd, _ bool) (how string, err error) {
	if nice, err := exec.LookPath("nice"); err == nil {
		cmd.Path, cmd.Args, how = nice, append([]string{nice, "-n", "10"}, cmd.Args...), "low"
	} else {
		how = "as others"
	}
	return how, cmd.Start()
}
