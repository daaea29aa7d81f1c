package main

import (
	"net"
	"os"
	"strings"
	"testing"
)

// A command that reaches no server names the address: nobody listens there, or nobody responds in time.
func TestNoServerNamesTheAddress(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	for name, args := range map[string][]string{"listen": {"listen", "--user", "ann"}, "send": {"send", "--user", "ann", "--to", "bob", "--", "hi"}} {
		for _, server := range []string{"ws://" + nobody.Addr().String(), "wss://" + nobody.Addr().String(), "ws://" + silent.Addr().String(), "wss://" + silent.Addr().String()} {
			t.Run(name+" "+server[:strings.LastIndex(server, ":")], func(t *testing.T) {
				t.Parallel()
				var stderr strings.Builder
				cmd := program(append([]string{args[0], "--server", server, "--secret-key", killKey, "--timeout", "1s", "--dir", t.TempDir()}, args[1:]...)...)
				cmd.Stderr = &stderr
				err := cmd.Run()
				if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 {
					t.Errorf("it ends with %v", err)
				}
				if !strings.Contains(stderr.String(), "server "+server) {
					t.Errorf("it says: %s", stderr.String())
				}
			})
		}
	}
	// The address may come from the environment, and be invalid.
	cmd := program("send", "--user", "ann", "--to", "bob", "--secret-key", killKey, "--timeout", "1s", "--dir", t.TempDir(), "hi")
	cmd.Env = append(cmd.Env, "TIDINGS_SERVER=ws://"+nobody.Addr().String(), "HOME="+os.DevNull)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "ws://"+nobody.Addr().String()) {
		t.Errorf("%v: %s", err, out)
	}
}
