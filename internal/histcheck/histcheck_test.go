package histcheck_test

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/histcheck"
	"github.com/tidings-im/tidings/usersig"
)

var (
	seedFlag = flag.Uint64("histcheck.seed", 0, "run this seed only")
	timeFlag = flag.Duration("histcheck.time", 0, "run seeds from -histcheck.seed (or 1) on for so long")
	opsFlag  = flag.Int("histcheck.ops", 250, "operations a history")
	dumpFlag = flag.String("histcheck.dump", "", "write the records of a history that fails into this folder")
)

// TestHistory runs histories and checks them. An even seed runs against a server in this process that is restarted, an odd one against a process that is
// killed.
func TestHistory(t *testing.T) {
	switch {
	case *timeFlag > 0:
		end := time.Now().Add(*timeFlag)
		for seed := max(*seedFlag, 1); time.Now().Before(end) && !t.Failed(); seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) { history(t, seed) })
		}
	case *seedFlag != 0:
		history(t, *seedFlag)
	default:
		for seed := uint64(1); seed <= 4; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) { t.Parallel(); history(t, seed) })
		}
	}
}

func history(t *testing.T, seed uint64) {
	logFile := io.Discard
	if *dumpFlag != "" {
		f, err := os.Create(filepath.Join(*dumpFlag, fmt.Sprintf("seed%d.log", seed)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		logFile = f
	}
	log := slog.New(slog.NewTextHandler(logFile, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var s histcheck.Server
	if seed%2 == 0 {
		var opts []imtest.Option
		if seed%4 == 0 {
			opts = append(opts, imtest.Queue(24, 64<<10)) // so small that pushes are dropped
		}
		s = &inside{imtest.Start(t, opts...)}
	} else {
		s = startChild(t, log)
	}
	h := histcheck.Run(t, histcheck.Config{Seed: seed, Ops: *opsFlag, Users: 3 + int(seed/2%2), Server: s, Log: log})
	bad := histcheck.Check(h)
	records, sends := 0, 0
	for _, d := range h.Devices {
		records += len(d.Records)
		sends += len(d.Sends)
	}
	t.Logf("seed %d: %d devices, %d sends, %d records, %d violations", seed, len(h.Devices), sends, records, len(bad))
	for i, b := range bad {
		if i == 20 {
			t.Errorf("... and %d more", len(bad)-i)
			break
		}
		t.Error(b)
	}
	if len(bad) > 0 {
		t.Logf("again with: go test ./internal/histcheck -run TestHistory -histcheck.seed=%d -histcheck.ops=%d", seed, *opsFlag)
		if *dumpFlag != "" {
			for _, d := range h.Devices {
				f, err := os.Create(filepath.Join(*dumpFlag, fmt.Sprintf("seed%d-%s.txt", seed, d.Name)))
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
type inside struct{ s *imtest.Server }

func (x *inside) URL() string            { return x.s.URL }
func (x *inside) Sig(user string) string { return x.s.Sig(user) }
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
	cmd  *exec.Cmd
}

// binDir holds the server's program; build makes both when a child is first needed.
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
	code := m.Run()
	if binDir != "" {
		os.RemoveAll(binDir)
	}
	os.Exit(code)
}

func startChild(t testing.TB, log *slog.Logger) *child {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, addr: ln.Addr().String(), dir: t.TempDir(), log: log}
	ln.Close()
	c.start()
	t.Cleanup(c.kill)
	return c
}

func (c *child) URL() string { return "ws://" + c.addr }

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
	c.cmd = exec.Command(bin, "serve", "--listen", c.addr, "--data", c.dir, "--secret-key", secret)
	c.cmd.Stderr = c.t.Output()
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	// It listens when it can take logins.
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
