package histcheck_test

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/histcheck"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/internal/testing/soak"
	"github.com/tidings-im/tidings/usersig"
)

var (
	seedFlag     = flag.Uint64("histcheck.seed", 0, "run this seed only")
	timeFlag     = flag.Duration("histcheck.time", 0, "run seeds from -histcheck.seed (or 1) on for so long")
	opsFlag      = flag.Int("histcheck.ops", 250, "operations a history")
	bouncesFlag  = flag.Int("histcheck.bounces", 10, "how many of 1000 operations end the server")
	killOnlyFlag = flag.Bool("histcheck.kill", false, "run against servers that are killed only, odd seeds that is")
	parallelFlag = flag.Int("histcheck.parallel", 1, "how many histories run at once with -histcheck.time")
	dumpFlag     = flag.String("histcheck.dump", "", "write the logs, and the records of a history that fails, into this folder")
)

// total is the total of all histories of a run.
type total struct {
	sync.Mutex
	histories, ops, sends, records, bounces, killed, kills, violations int
}

// TestHistory runs histories and checks them. An even seed runs against a server in this process that is restarted, an odd one against a process that
// is killed.
func TestHistory(t *testing.T) { kind{"histories of messages", 3, history}.run(t) }

// kind is a kind of histories: their name, how many the short form of the test runs, and how one is made and checked.
type kind struct {
	name  string
	short uint64
	run1  func(t *testing.T, seed uint64, sum *total)
}

// run makes the histories that the flags want, the three kinds beside each other.
func (k kind) run(t *testing.T) {
	sum := &total{}
	switch {
	case *timeFlag > 0:
		t.Parallel()
		end := time.Now().Add(*timeFlag)
		var next atomic.Uint64
		next.Store(max(*seedFlag, 1))
		t.Run("seed", func(t *testing.T) {
			for n := range max(*parallelFlag, 1) {
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					t.Parallel()
					longest := time.Duration(0) // one that would probably not end in time is not begun
					for begin := time.Now(); begin.Add(longest).Before(end) && !t.Failed(); begin = time.Now() {
						seed := next.Add(1) - 1
						if *killOnlyFlag {
							seed = 2*seed - 1
						}
						t.Run(fmt.Sprint(seed), func(t *testing.T) { k.run1(t, seed, sum) })
						longest = max(longest, time.Since(begin))
					}
				})
			}
		})
		t.Logf("%d %s, %d operations, %d messages, %d records: the server was killed %d times and restarted %d times, clients were killed %d times; %d violations",
			sum.histories, k.name, sum.ops, sum.sends, sum.records, sum.killed, sum.bounces-sum.killed, sum.kills, sum.violations)
	case *seedFlag != 0:
		k.run1(t, *seedFlag, sum)
	default:
		for seed := uint64(1); seed <= soak.Pick(k.short, 12); seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) { t.Parallel(); k.run1(t, seed, sum) })
		}
	}
}

// logOf is where the program of a history logs.
func logOf(t *testing.T, name string, seed uint64) *slog.Logger {
	if *dumpFlag == "" {
		return slog.New(slog.DiscardHandler)
	}
	f, err := os.Create(filepath.Join(*dumpFlag, fmt.Sprintf("%s%d.log", name, seed)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// start starts the server of a seed: on PostgreSQL or not, in this process, with what only that can do, or in one of its own.
func start(t *testing.T, seed uint64, log *slog.Logger, hook string, flags []string, opts ...imtest.Option) histcheck.Server {
	dsn := ""
	if onPostgres(seed) {
		dsn = pgtest.DSN(t)
		flags, opts = append(flags, "--postgres", dsn), append(opts, imtest.Postgres(dsn))
	}
	if seed%2 == 1 {
		return startChild(t, log, hook, dsn, flags...)
	}
	if seed%4 == 0 {
		opts = append(opts, imtest.Queue(24, 64<<10)) // so small that pushes are dropped
	}
	if hook != "" {
		opts = append(opts, imtest.Webhook(hook, ""))
	}
	return &inside{imtest.Start(t, append(opts, imtest.Listen(freeAddr(t)))...), dsn}
}

func history(t *testing.T, seed uint64, sum *total) {
	log := logOf(t, "seed", seed)
	var program *histcheck.Hook
	hook := ""
	if seed%3 != 0 {
		program = &histcheck.Hook{}
		web := httptest.NewServer(program)
		t.Cleanup(web.Close)
		hook = web.URL
	}
	h := histcheck.Run(t, histcheck.Config{Seed: seed, Ops: *opsFlag, Users: 3 + int(seed/2%2), Server: start(t, seed, log, hook, nil), Hook: program, Bounces: *bouncesFlag, Children: 3,
		Log: log, LogDir: *dumpFlag})
	report(t, h, histcheck.Check(h), sum, "seed", "TestHistory", seed)
}

// onPostgres reports whether the server of a seed has its store on PostgreSQL: a quarter of those that are killed, and an eighth of the others.
func onPostgres(seed uint64) bool { return seed%8 == 3 || seed%16 == 6 }

// report adds a history to a total, and reports what is wrong with it.
func report(t *testing.T, h *histcheck.History, bad []string, sum *total, name, test string, seed uint64) {
	records, sends := 0, 0
	for _, d := range h.Devices {
		records += len(d.Records)
		sends += len(d.Sends)
	}
	sum.Lock()
	sum.histories++
	sum.ops += h.Ops
	sum.sends += sends
	sum.records += records
	sum.bounces += h.Bounces
	if seed%2 == 1 {
		sum.killed += h.Bounces
	}
	sum.kills += h.Kills
	sum.violations += len(bad)
	sum.Unlock()
	t.Logf("%s %d: %d devices, %d sends, %d records, %d server ends, %d clients killed, %d violations", name, seed, len(h.Devices), sends, records, h.Bounces, h.Kills, len(bad))
	for i, b := range bad {
		if i == 20 {
			t.Errorf("... and %d more", len(bad)-i)
			break
		}
		t.Error(b)
	}
	if len(bad) > 0 {
		t.Logf("again with: go test ./internal/testing/histcheck -run '%s$' -histcheck.seed=%d -histcheck.ops=%d -histcheck.bounces=%d", test, seed, *opsFlag, *bouncesFlag)
		if *dumpFlag != "" {
			for _, d := range append(h.Devices, h.Operator) {
				f, err := os.Create(filepath.Join(*dumpFlag, fmt.Sprintf("%s%d-%s.txt", name, seed, d.Name)))
				if err != nil {
					t.Fatal(err)
				}
				for i, r := range d.Records {
					fmt.Fprintln(f, i, r)
				}
				f.Close()
			}
		}
	}
}

// inside is a server in this process; it is restarted in an orderly way.
type inside struct {
	s   *imtest.Server
	dsn string // of its store; "" if that is on SQLite
}

func (x *inside) URL() string            { return x.s.URL }
func (x *inside) Sig(user string) string { return x.s.Sig(user) }
func (x *inside) AppID() uint64          { return x.s.AppID }
func (x *inside) Bounce()                { x.s.Restart() }

const (
	appID  = 1400000000
	secret = "the key of the killed server"
)

// child is a server in a process of its own; it is killed.
type child struct {
	t    testing.TB
	addr string
	dir  string
	log  *slog.Logger
	hook string
	dsn  string
	more []string // further flags
	cmd  *exec.Cmd
}

// binDir contains the server's program; build makes both when a child is first needed.
var binDir string

var build = sync.OnceValues(func() (string, error) {
	var err error
	if binDir, err = os.MkdirTemp("", "histcheck"); err != nil {
		return "", err
	}
	bin := filepath.Join(binDir, "tidings")
	out, err := exec.Command("go", "build", "-o", bin, "github.com/tidings-im/tidings/cmd/tidings").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	histcheck.ChildMain()
	code := pgtest.Main(m)
	if binDir != "" {
		os.RemoveAll(binDir)
	}
	os.Exit(code)
}

// freeAddr is an address for a server that ends and comes back: below the ports that connections get, so that none takes it in between.
func freeAddr(t testing.TB) string {
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

func startChild(t testing.TB, log *slog.Logger, hook, dsn string, more ...string) *child {
	c := &child{t: t, addr: freeAddr(t), dir: t.TempDir(), log: log, hook: hook, dsn: dsn, more: more}
	c.start()
	t.Cleanup(c.kill)
	return c
}

func (c *child) URL() string   { return "ws://" + c.addr }
func (c *child) AppID() uint64 { return appID }

func (c *child) Sig(user string) string {
	sig, err := usersig.Sign(appID, secret, user, time.Hour, time.Now())
	if err != nil {
		c.t.Fatal(err)
	}
	return sig
}

func (c *child) start() {
	bin, err := build()
	if err != nil {
		c.t.Fatal(err)
	}
	c.cmd = exec.Command(bin, append([]string{"serve", "--listen", c.addr, "--data", c.dir, "--secret-key", secret}, c.more...)...)
	c.cmd.Env = append(os.Environ(), "TIDINGS_WEBHOOK_URL="+c.hook)
	if *timeFlag == 0 {
		c.cmd.Stderr = c.t.Output()
	}
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	// It listens once it accepts logins.
	for end := time.Now().Add(20 * time.Second); ; {
		conn, err := net.Dial("tcp", c.addr)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("the server did not start: %v", err)
		}
		time.Sleep(5 * time.Millisecond) // between tries
	}
}

func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

func (c *child) Bounce() {
	c.kill()
	c.start()
}
