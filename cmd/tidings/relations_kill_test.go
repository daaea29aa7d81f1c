package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/usersig"
)

const relationsEnv = "TIDINGS_TEST_RELATIONS"

// The users of the test: bob's device is killed; askers make requests, friends and foes only exist, and mute sends to bob, who has receive option 1 for them.
const askers, friends, foes = 3, 8, 3

// printed is one callback as a line: its name and what it passes. A line is one write, so it is printed as a whole or does not count.
func printed(e client.Event) string { return "event " + e.Name + " " + e.Type + " " + e.Data() + "\n" }

func relationsConfig(addr, dir string, platform im.Platform) (client.Config, error) {
	sig, err := usersig.Sign(server.DefaultAppID, killKey, "bob", time.Hour, time.Now())
	cfg := client.Config{Server: "ws://" + addr, UserID: "bob", UserSig: sig, Dir: dir, Platform: platform, Log: slog.New(slog.DiscardHandler)}
	return cfg, err
}

// killedRelations is a device of bob in a process of its own. It prints each callback, and what it has when it is asked for its "state"; from "go" on it
// changes relations and the profile without end.
func killedRelations(dir string) {
	die := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	cfg, err := relationsConfig(os.Getenv("TIDINGS_SERVER"), dir, im.Platform_PLATFORM_LINUX)
	die(err)
	c, err := client.Open(cfg, client.Each(func(e client.Event) { os.Stdout.WriteString(printed(e)) }))
	die(err)
	die(c.Login(context.Background()))
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "state":
			s, err := relationsState(context.Background(), c)
			die(err)
			os.Stdout.WriteString("state " + s + "\n")
		case "go":
			for range 4 {
				go func() {
					for {
						// Refusals are part of it: a friend who is none, a request that is gone.
						if err := change(context.Background(), c); err != nil && im.CodeOf(err)/1000 != 30 && im.CodeOf(err)/1000 != 31 {
							die(err)
						}
					}
				}()
			}
		}
	}
	c.Close()
	os.Exit(0)
}

// change makes one of bob's changes.
func change(ctx context.Context, c *client.Client) error {
	f := c.Friends()
	one := func(kind string, of int) string { return fmt.Sprint(kind, rand.IntN(of)) }
	friend, asker, foe, group := one("friend", friends), one("asker", askers), one("foe", foes), one("group", 3)
	unique := fmt.Sprintf("%x", rand.Uint64())
	var err error
	switch rand.IntN(14) {
	case 0, 1:
		_, err = f.Add(ctx, &im.AddFriendRequest{UserId: friend, Both: rand.IntN(2) == 0, Source: "AddSource_Type_kill"})
	case 2:
		_, err = f.Delete(ctx, []string{friend, asker}, rand.IntN(2) == 0)
	case 3, 4:
		err = f.Update(ctx, friend, &im.FriendProfileItem{Remark: &unique})
	case 5, 6:
		_, err = f.AnswerRequest(ctx, &im.AnswerRequestRequest{UserId: asker, Action: rand.Int32N(3)})
	case 7:
		_, err = f.DeleteRequests(ctx, []string{asker}, client.RequestsBoth)
	case 8:
		err = f.ReadRequests(ctx, 0)
	case 9:
		_, err = f.Block(ctx, []string{foe, friend})
	case 10:
		_, err = f.Unblock(ctx, []string{foe, friend})
	case 11:
		_, err = f.CreateGroups(ctx, []string{group}, []string{friend})
	case 12:
		if rand.IntN(2) == 0 {
			err = f.DeleteGroups(ctx, []string{group})
		} else {
			_, err = f.AddToGroup(ctx, group, []string{friend})
		}
	case 13:
		err = c.Profiles().SetSelf(ctx, &im.UserProfileItem{NickName: &unique})
	}
	return err
}

// relationsState is everything that a device of bob has, in JSON.
func relationsState(ctx context.Context, c *client.Client) (string, error) {
	var out strings.Builder
	add := func(name, text string, err error) error {
		fmt.Fprintf(&out, "%s: %s; ", name, text)
		return err
	}
	list, err := c.Friends().List(ctx)
	if err := add("friends", im.ListToJSON(list), err); err != nil {
		return "", err
	}
	blocked, err := c.Friends().Blacklist(ctx)
	if err := add("blacklist", im.ListToJSON(blocked), err); err != nil {
		return "", err
	}
	groups, err := c.Friends().Groups(ctx, nil)
	if err := add("groups", im.ListToJSON(groups), err); err != nil {
		return "", err
	}
	requests, err := c.Friends().Requests(ctx, &im.RequestsRequest{Type: client.RequestsBoth, Limit: 100})
	if err := add("requests", im.ToJSON(requests), err); err != nil {
		return "", err
	}
	self, err := c.Profiles().Get(ctx, []string{"bob"}, false)
	if err := add("profile", im.ListToJSON(self), err); err != nil {
		return "", err
	}
	messages, err := c.Messages(ctx, client.C2C("mute"), &im.GetMsgListParam{Count: 1})
	if err := add("messages", fmt.Sprint(len(messages)), err); err != nil {
		return "", err
	}
	for _, m := range messages {
		add("last", im.TextOf(m), nil)
	}
	return out.String(), nil
}

// TestKill9Relations kills the process of a device again and again while it changes relations and the profile, others ask and delete it, and somebody
// whom it does not want to hear sends to it. Another device of the user hears what there is to hear: the killed one hears the same in the same order,
// nothing twice and nothing lost, except that the callback that ran when it was killed may be repeated by the next run. After each restart its
// lists are those of the other device, and in the end those of a device that is new.
func TestKill9Relations(t *testing.T) { kill9Relations(t, &served{t: t, dir: t.TempDir()}) }

// TestKill9RelationsPostgres is the same with a server on PostgreSQL.
func TestKill9RelationsPostgres(t *testing.T) {
	kill9Relations(t, &served{t: t, dir: t.TempDir(), postgres: pgtest.DSN(t)})
}

// deviceRun is one run of the killed device: a process, and the callbacks of relations that it has printed.
type deviceRun struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	heard []string
}

func startRun(t *testing.T, addr, dir string) *deviceRun {
	t.Helper()
	r := &deviceRun{t: t, cmd: program()}
	r.cmd.Env = append(r.cmd.Env, relationsEnv+"="+dir, "TIDINGS_SERVER="+addr)
	r.cmd.Stderr = t.Output()
	var err error
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.out = bufio.NewReaderSize(out, 1<<20)
	limit := time.AfterFunc(time.Minute, func() { r.cmd.Process.Kill() })
	t.Cleanup(func() {
		limit.Stop()
		if r.cmd.ProcessState == nil {
			r.cmd.Process.Kill()
			r.cmd.Wait()
		}
	})
	return r
}

// read reads a line, and keeps it if it is a callback of relations; ok is false at the end.
func (r *deviceRun) read() (line string, ok bool) {
	r.t.Helper()
	line, err := r.out.ReadString('\n')
	if err != nil {
		return "", false // half a line does not count
	}
	line = strings.TrimSuffix(line, "\n")
	switch {
	case strings.HasPrefix(line, "event network "), strings.HasPrefix(line, "event conversation sync_"):
	case isRelation(line):
		r.heard = append(r.heard, line)
	case strings.HasPrefix(line, "event "):
		r.t.Errorf("the device was told of what it does not want to hear: %.300s", line)
	}
	return line, true
}

func (r *deviceRun) until(prefix string) string {
	r.t.Helper()
	for {
		line, ok := r.read()
		if !ok {
			r.t.Fatalf("the device ended by itself before %q", prefix)
		}
		if strings.HasPrefix(line, prefix) {
			return strings.TrimPrefix(line, prefix)
		}
	}
}

func (r *deviceRun) say(command string) {
	r.t.Helper()
	if _, err := io.WriteString(r.in, command+"\n"); err != nil {
		r.t.Fatal(err)
	}
}

func isRelation(line string) bool {
	return strings.HasPrefix(line, "event friend") || strings.HasPrefix(line, "event blacklist_")
}

// itemsOf returns what a callback passes, one by one: how many are passed together may differ.
func itemsOf(t *testing.T, line string) []string {
	t.Helper()
	words := strings.SplitN(line, " ", 4) // event, name, type, data
	var list []json.RawMessage
	if words[3] == "" {
		return []string{words[1]}
	}
	if err := json.Unmarshal([]byte(words[3]), &list); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	var out []string
	for _, x := range list {
		out = append(out, words[1]+" "+string(x))
	}
	return out
}

// follows reports whether runs, each with its callbacks, say what was said from a position on, where the first callback of a run may repeat the last one
// of the run before. far is how far they agree.
func follows(said []string, runs [][][]string, before []string, far *int, at int) bool {
	*far = max(*far, at)
	if len(runs) == 0 {
		return at == len(said)
	}
	run := runs[0]
	if len(run) > 0 && before != nil && slices.Equal(run[0], before) && follows(said, append([][][]string{run[1:]}, runs[1:]...), nil, far, at) {
		return true
	}
	for _, callback := range run {
		if !slices.Equal(callback, said[at:min(at+len(callback), len(said))]) {
			return false
		}
		at += len(callback)
		*far = max(*far, at)
		before = callback
	}
	return follows(said, runs[1:], before, far, at)
}

func kill9Relations(t *testing.T, s *served) {
	t.Parallel()
	rounds := killRounds(5)
	s.start()
	for kind, n := range map[string]int{"friend": friends, "foe": foes} {
		for i := range n {
			l, err := s.dial(fmt.Sprint(kind, i))
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
		}
	}
	var mu sync.Mutex
	var said []string
	cfg, err := relationsConfig(s.addr, t.TempDir(), im.Platform_PLATFORM_ANDROID)
	if err != nil {
		t.Fatal(err)
	}
	other, err := client.Dial(t.Context(), cfg, client.Each(func(e client.Event) {
		mu.Lock()
		defer mu.Unlock()
		if line := strings.TrimSuffix(printed(e), "\n"); isRelation(line) {
			said = append(said, itemsOf(t, line)...)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var asking []*client.Client
	for i := range askers {
		asking = append(asking, sdk(t, s.addr, fmt.Sprint("asker", i), t.TempDir(), newHeard()))
	}
	mute := sdk(t, s.addr, "mute", t.TempDir(), newHeard())
	ctx := t.Context()
	if err := other.Profiles().SetSelf(ctx, &im.UserProfileItem{AddPermission: new(im.ProfileAddPermission_PROFILE_ADD_PERMISSION_NEED_CONFIRM)}); err != nil {
		t.Fatal(err)
	}
	if _, err := mute.SendMessage(ctx, client.C2C("bob"), im.Text("first")); err != nil {
		t.Fatal(err)
	}
	if err := other.SetRecvOpt(ctx, []client.Conv{client.C2C("mute")}, 1); err != nil {
		t.Fatal(err)
	}
	// ask makes a change that others cause.
	ask := func(n int) error {
		var err error
		if c := asking[rand.IntN(askers)]; rand.IntN(3) > 0 {
			_, err = c.Friends().Add(ctx, &im.AddFriendRequest{UserId: "bob", Both: true, Wording: fmt.Sprint("wording ", n)})
		} else {
			_, err = c.Friends().Delete(ctx, []string{"bob"}, true)
		}
		if err == nil {
			_, err = mute.SendMessage(ctx, client.C2C("bob"), im.Text(fmt.Sprint("message ", n)))
		}
		return err
	}
	asked := 0
	dir := t.TempDir()
	var runs [][][]string
	ended := func(r *deviceRun) {
		t.Helper()
		for ok := true; ok; {
			_, ok = r.read()
		}
		r.cmd.Wait()
		var callbacks [][]string
		for _, line := range r.heard {
			callbacks = append(callbacks, itemsOf(t, line))
		}
		runs = append(runs, callbacks)
	}
	// same waits until the device has what the other one has.
	same := func(r *deviceRun) {
		t.Helper()
		var have, want string
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
			r.say("state")
			have = r.until("state ")
			var err error
			if want, err = relationsState(ctx, other); err != nil {
				t.Fatal(err)
			}
			if have == want {
				return
			}
		}
		t.Fatalf("run %d: the device has\n%s\nthe other one\n%s", len(runs), have, want)
	}
	for round := range rounds {
		r := startRun(t, s.addr, dir)
		r.until("event conversation sync_finish")
		same(r)
		stop := make(chan struct{})
		var others sync.WaitGroup
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				asked++
				if err := ask(asked); err != nil {
					t.Error(err)
					return
				}
			}
		})
		r.say("go")
		for last := len(r.heard) + 1 + rand.IntN(60); len(r.heard) < last; {
			if _, ok := r.read(); !ok {
				t.Fatalf("round %d: the device ended by itself", round)
			}
		}
		r.cmd.Process.Kill()
		close(stop)
		others.Wait()
		ended(r)
		for range 3 { // while it is away
			asked++
			if err := ask(asked); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := startRun(t, s.addr, dir)
	r.until("event conversation sync_finish")
	same(r)
	r.in.Close()
	ended(r)

	mu.Lock()
	defer mu.Unlock()
	far := 0
	if !follows(said, runs, nil, &far, 0) {
		t.Errorf("of %d things to hear in %d runs the device agrees up to %d: then there was\n%s", len(said), len(runs), far, strings.Join(said[far:min(far+5, len(said))], "\n"))
		at := 0
		for i, run := range runs {
			for _, callback := range run {
				if at += len(callback); at > far-3 && at < far+8 {
					t.Logf("run %d: %s", i, strings.Join(callback, " | "))
				}
			}
		}
	}
	fresh, err := relationsConfig(s.addr, t.TempDir(), im.Platform_PLATFORM_WEB)
	if err != nil {
		t.Fatal(err)
	}
	last, err := client.Dial(ctx, fresh, client.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	have, err := relationsState(ctx, other)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := relationsState(ctx, last); err != nil || have != want {
		t.Errorf("the devices have\n%s\na new one\n%s\n%v", have, want, err)
	}
	t.Logf("%d kills, %d things to hear, %d messages of which nothing is heard", rounds, len(said), asked)
}
