package client_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// groupOwedChild is the other side of TestGroupOwedUnderKill: it logs in and prints each tip, message and report as its callback runs, until it is killed.
func groupOwedChild() {
	cfg := client.Config{Server: os.Getenv("OWED_SERVER"), UserID: "bob", UserSig: os.Getenv("OWED_SIG"), Dir: os.Getenv("OWED_DIR"), Platform: im.Platform_PLATFORM_LINUX}
	c, err := client.Open(cfg, client.Events{
		GroupTips: func(tip *im.GroupTipsElem) { fmt.Println(tip.GroupId, tipWords(tip)) },
		NewMessages: func(ms []*im.Message) {
			for _, m := range ms {
				fmt.Println(m.ConvId, "new", text(m))
			}
		},
		Conversations: func(k client.ConvEvent, _ []*im.ConvInfo) {
			if k == client.ConvSyncFinish {
				fmt.Println("finish")
			}
		},
	})
	if err == nil {
		c.LoginFunc(func(err error) {
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(2)
			}
		})
		select {}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}

// kill -9 of a client loses no tip and no report: each fires in one run or another, in the order of its group, and in the runs after the one that has told
// all nothing does.
func TestGroupOwedUnderKill(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	ann.openGroup("g", publicGroup, "bob")
	bob.skipTo(`add g unread 0 last "tip 1 by ann of bob"`)
	bob.Close()
	want := map[string]int{} // and the place of each in its group
	place := func(words string) { want[words] = len(want) + 1 }
	const names, groups = 60, 15
	for i := range names {
		name := fmt.Sprint("name ", i)
		ann.rename("g", name)
		place("g tip 6 by ann flag 1 " + name)
		place("g new tip 6 by ann flag 1 " + name)
		if i%(names/groups) == 0 {
			id := fmt.Sprint("h", i)
			ann.group(id, publicGroup, "bob")
			place(id + " tip 1 by ann of bob")
			place(id + " new tip 1 by ann of bob")
			place(" new report 7 of " + id + " by ann")
		}
	}
	fired := map[string]int{}
	// run lets the device run until it has printed so many lines or, if that is -1, until the end of its sync. It reports whether the sync has ended.
	run := func(killAfter int) (finished bool, lines int) {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), "OWED_GROUPS=1", "OWED_SERVER="+s.URL, "OWED_SIG="+s.Sig("bob"), "OWED_DIR="+bob.cfg.Dir)
		cmd.Stderr = t.Output()
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		limit := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer limit.Stop()
		last := map[string]int{}
		for sc := bufio.NewScanner(out); sc.Scan(); {
			switch line := sc.Text(); {
			case line == "finish":
				finished = true
				cmd.Process.Kill()
			default:
				lines++
				group, _, _ := strings.Cut(line, " ")
				n, ok := want[line]
				if !ok || n <= last[group] {
					t.Errorf("%q fired after %d of its group", line, last[group])
				}
				last[group] = n
				if fired[line]++; lines == killAfter {
					cmd.Process.Kill()
				}
			}
		}
		cmd.Wait()
		return finished, lines
	}
	kills := 0
	for _, after := range []int{1, 10, 30, 60} {
		if finished, _ := run(after); !finished {
			kills++
		}
	}
	if kills < 2 {
		t.Fatalf("only %d kills hit", kills)
	}
	for finished := false; !finished; {
		finished, _ = run(-1)
	}
	for words := range want {
		if fired[words] == 0 {
			t.Errorf("%q never fired", words)
		}
	}
	if len(fired) != len(want) {
		t.Errorf("%d events fired, of %d", len(fired), len(want))
	}
	bob = dial(t, bob.cfg) // repeats at most what the last kill left behind
	bob.WaitQuiet()
	bob = bob.again()
	bob.hears()
}
