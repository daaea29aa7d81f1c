package pgtest

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Cluster is a PostgreSQL of a test's own, to stop it, or to give it standbys.
type Cluster struct {
	t  testing.TB
	c  *cluster
	up bool
	// settings of the server, as they are on its command line.
	settings []string
}

// New makes a cluster and starts it with settings such as "work_mem=1MB"; it ends with the test.
func New(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	get(t) // which decides what happens without PostgreSQL
	c := made(t)
	for _, s := range settings {
		c.settings = append(c.settings, "-c", s)
	}
	c.ok(c.c.init())
	c.Start()
	return c
}

func made(t testing.TB) *Cluster {
	t.Helper()
	in, err := newCluster()
	if err != nil {
		t.Fatal("pgtest:", err)
	}
	c := &Cluster{t: t, c: in}
	t.Cleanup(func() {
		c.Stop()
		os.RemoveAll(in.dir)
	})
	return c
}

func (c *Cluster) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal("pgtest:", err)
	}
}

// Host is the folder of the cluster's socket.
func (c *Cluster) Host() string { return c.c.dir }

// DSN is the name of its database.
func (c *Cluster) DSN() string { return c.c.dsn("postgres") }

// Standby makes a standby of the cluster, under a name for synchronous_standby_names, and starts it.
func (c *Cluster) Standby(name string) *Cluster {
	c.t.Helper()
	s := made(c.t)
	s.ok(s.c.run("pg_basebackup", "-d", c.DSN()+" application_name="+name, "-D", s.c.data(), "-R", "-c", "fast", "--no-sync"))
	s.Start()
	return s
}

// Start starts the cluster as it was left.
func (c *Cluster) Start() {
	c.t.Helper()
	c.ok(c.c.start(append(c.settings, "-c", "shared_buffers=16MB", "-c", "fsync=off", "-c", "wal_retrieve_retry_interval=100ms")...))
	c.up = true
}

// Stop ends the cluster at once, as a crash of its machine would, except that the disk keeps everything.
func (c *Cluster) Stop() {
	if c.up {
		c.c.halt()
	}
	c.up = false
}

// Crash ends one of its server processes by a signal, so that the others are ended as well, and the server, which keeps running, recovers.
func (c *Cluster) Crash(pid int) {
	c.t.Helper()
	c.ok(syscall.Kill(pid, syscall.SIGKILL))
}

// Promote turns a standby into a primary, and returns when it is one.
func (c *Cluster) Promote() {
	c.t.Helper()
	c.Exec("SELECT pg_promote()")
}

// Exec runs statements, each in its own transaction.
func (c *Cluster) Exec(sql ...string) {
	c.t.Helper()
	for _, q := range sql {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		conn, err := pgx.Connect(ctx, c.DSN())
		if err == nil {
			_, err = conn.Exec(ctx, q)
			conn.Close(ctx)
		}
		cancel()
		c.ok(err)
	}
}

// Follow creates a stopped cluster again, as a standby of another one, and starts it.
func (c *Cluster) Follow(primary *Cluster, settings ...string) {
	c.t.Helper()
	c.ok(os.RemoveAll(c.c.data()))
	c.ok(c.c.run("pg_basebackup", "-d", primary.DSN()+" application_name=again", "-D", c.c.data(), "-R", "-c", "fast", "--no-sync"))
	c.settings = nil
	for _, s := range settings {
		c.settings = append(c.settings, "-c", s)
	}
	c.Start()
}
