// Package pgtest gives tests a PostgreSQL of their own: one cluster per test process, started when the first test asks for it, with a database per
// test. It is a plain process in a temporary folder, with a Unix socket there.
package pgtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/internal/testing/needs"
)

var (
	once       sync.Once
	running    *cluster
	impossible error
	databases  atomic.Int64
)

// DSN returns the name of a new, empty database. Without PostgreSQL, package needs decides what happens to the test.
func DSN(t testing.TB) string {
	t.Helper()
	c := get(t)
	name := fmt.Sprintf("t%d", databases.Add(1))
	if err := c.exec("CREATE DATABASE " + name + " STRATEGY FILE_COPY"); err != nil {
		t.Fatal("pgtest:", err)
	}
	return c.dsn(name)
}

// Terminate ends all connections to a database, as a failing server or network does.
func Terminate(t testing.TB, dsn string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal("pgtest:", err)
	}
	if err := get(t).exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + cfg.Database + "'"); err != nil {
		t.Fatal("pgtest:", err)
	}
}

// Copy makes a copy of a database that nobody has open, and returns its name.
func Copy(t testing.TB, dsn string) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal("pgtest:", err)
	}
	c := get(t)
	name := fmt.Sprintf("t%d", databases.Add(1))
	if err := c.exec("CREATE DATABASE " + name + " TEMPLATE " + cfg.Database); err != nil {
		t.Fatal("pgtest:", err)
	}
	return c.dsn(name)
}

func get(t testing.TB) *cluster {
	t.Helper()
	once.Do(func() { running, impossible = start() })
	if impossible == nil {
		return running
	}
	needs.Missing(t, "no PostgreSQL: %v", impossible)
	return nil
}

// Main runs the tests of a package and stops the cluster: the argument of os.Exit in TestMain.
func Main(m interface{ Run() int }) int {
	code := m.Run()
	Stop()
	return code
}

// Stop stops the cluster, if there is one.
func Stop() {
	once.Do(func() { impossible = errors.New("stopped") })
	if running != nil {
		running.stop()
		running = nil
	}
}

type cluster struct {
	bin, dir string
	cred     *syscall.Credential
	cmd      *exec.Cmd
	// quit ends the goroutine that owns the process; stopped is closed when the process has ended.
	quit, stopped chan struct{}
}

func (c *cluster) dsn(database string) string {
	return fmt.Sprintf("host=%s port=5432 user=postgres dbname=%s", c.dir, database)
}

func (c *cluster) exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.dsn("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// binaries finds a PostgreSQL.
func binaries() (string, error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(dirs, func(a, b string) int { return version(b) - version(a) })
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil && version(dir) >= 15 {
			return dir, nil
		}
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", errors.New("neither in /usr/lib/postgresql nor in PATH. To have it: apt-get install postgresql")
}

func version(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	return n
}

// somebody is the user that the cluster runs as: PostgreSQL refuses root.
func somebody() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
	}
	return nil, errors.New("neither a user postgres nor a user nobody")
}

func start() (*cluster, error) {
	c, err := newCluster()
	if err != nil {
		return nil, err
	}
	args := []string{"-c", "max_connections=400", "-c", "shared_buffers=256MB"}
	if os.Getenv("TIDINGS_PG_FSYNC") == "" {
		args = append(args, "-c", "fsync=off")
	}
	if err = c.init(); err == nil {
		err = c.start(args...)
	}
	if err != nil {
		os.RemoveAll(c.dir)
		return nil, err
	}
	return c, nil
}

// newCluster makes a folder for a cluster.
func newCluster() (*cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	cred, err := somebody()
	if err != nil {
		return nil, err
	}
	in := os.TempDir()
	if len(in) > 60 { // the path of a socket must be short
		in = "/tmp"
	}
	dir, err := os.MkdirTemp(in, "tidings-pg-")
	if err != nil {
		return nil, err
	}
	if cred != nil {
		if err := os.Chown(dir, int(cred.Uid), int(cred.Gid)); err != nil {
			return nil, err
		}
	}
	return &cluster{bin: bin, dir: dir, cred: cred}, nil
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir = c.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred}
	return cmd
}

func (c *cluster) run(name string, args ...string) error {
	if out, err := c.command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

func (c *cluster) init() error {
	return c.run("initdb", "-D", c.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
}

// start starts the server, and returns when connections are accepted.
func (c *cluster) start(args ...string) error {
	c.quit, c.stopped = make(chan struct{}), make(chan struct{})
	c.cmd = c.command("postgres", append([]string{"-D", c.data(), "-k", c.dir, "-p", "5432", "-c", "listen_addresses="}, args...)...)
	out, err := c.cmd.StderrPipe()
	if err != nil {
		return err
	}
	started := make(chan error, 1)
	go c.own(started)
	if err := <-started; err != nil {
		return err
	}
	var log strings.Builder
	for in := bufio.NewReader(out); ; {
		line, err := in.ReadString('\n')
		log.WriteString(line)
		if strings.Contains(line, "ready to accept") { // connections, or read-only connections
			go io.Copy(io.Discard, in)
			return nil
		}
		if err != nil {
			<-c.stopped
			return fmt.Errorf("postgres did not start: %s", log.String())
		}
	}
}

// own starts the process and keeps the thread that did: the kernel ends the process when that thread ends, however this process dies.
func (c *cluster) own(started chan<- error) {
	runtime.LockOSThread()
	defer close(c.stopped)
	dieWithParent(c.cmd.SysProcAttr)
	err := c.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	ended := make(chan struct{})
	go func() {
		c.cmd.Wait()
		close(ended)
	}()
	select {
	case <-c.quit:
		c.cmd.Process.Signal(syscall.SIGQUIT) // at once: the folder is removed anyway
		<-ended
	case <-ended:
	}
}

// halt stops the server at once.
func (c *cluster) halt() {
	close(c.quit)
	<-c.stopped
}

func (c *cluster) stop() {
	c.halt()
	os.RemoveAll(c.dir)
}
