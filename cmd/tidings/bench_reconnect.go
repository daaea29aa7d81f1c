package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/usersig"
)

// reconnectResult is the line that a run prints.
type reconnectResult struct {
	Bench   string `json:"bench"`
	Clients int    `json:"clients"`
	// Asked is how many were asked for; file limits may allow fewer.
	Asked int `json:"asked"`
	// LoginSeconds is how long the first logins of all took, StartSeconds from the end of the old server to the port of the new one, AllInSeconds from
	// there until the last client was in again, and P50 and P99 the same for one of them.
	LoginSeconds float64 `json:"login_s"`
	StartSeconds float64 `json:"start_s"`
	AllInSeconds float64 `json:"all_in_s"`
	P50          float64 `json:"p50_s"`
	P99          float64 `json:"p99_s"`
	Tries        int64   `json:"tries"`
	RSS          float64 `json:"rss_mb"`
	ServerCPU    float64 `json:"server_cpu_s"`
}

func benchReconnect() *cobra.Command {
	clients, within := 20_000, time.Minute
	var dir string
	c := &cobra.Command{
		Use: "reconnect", Short: "How long all clients take to come back after a restart of the server", Args: cobra.NoArgs,
		Long: "Log many bare clients in, end the server, start it again, and let all clients come back as the SDK does: each tries again after a pause " +
			"drawn evenly below half a second, a second, two and so on up to 30. One line of JSON is printed.",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := runReconnect(c.Context(), clients, dir)
			if err != nil {
				return err
			}
			b, err := json.Marshal(r)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s\n", b)
			if r.AllInSeconds > within.Seconds() {
				return fmt.Errorf("bench reconnect: it took more than %v", within)
			}
			return nil
		},
	}
	c.Flags().IntVar(&clients, "clients", clients, "how many clients, if the limit of open files allows")
	c.Flags().DurationVar(&within, "within", within, "fail if it takes longer")
	c.Flags().StringVar(&dir, "dir", "", "where the temporary data folder is made (default: the system's)")
	return c
}

// manyFiles raises the limit of open files as far as it goes up to n, and answers what it is.
func manyFiles(n int) int {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return 1024
	}
	want := uint64(n)
	if r.Max < want { // the system lets some processes do that
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: want, Max: want}) == nil {
			return n
		}
		want = r.Max
	}
	if r.Cur < want {
		r.Cur = want
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &r)
	}
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r)
	return int(min(r.Cur, uint64(n)))
}

// comer is a client that comes back.
type comer struct {
	user, sig string
	from      net.IP
	generated uint64
	link      *rawLink
	in        time.Time
}

const spareFiles = 500

func runReconnect(ctx context.Context, clients int, place string) (*reconnectResult, error) {
	const key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	r := &reconnectResult{Bench: "reconnect", Asked: clients, Clients: min(clients, manyFiles(clients+spareFiles)-spareFiles)}
	if r.Clients < 1 {
		return nil, errors.New("bench reconnect: the limit of open files is too low")
	}
	dir, err := os.MkdirTemp(place, "tidings-bench-*")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	serveArgs := func() []string {
		return []string{"serve", "--listen", addr, "--data", filepath.Join(dir, "data"), "--secret-key", key, "--log-level", "warn", "--max-connections-per-address", "0"}
	}
	srv, err := startAt(ctx, addr, dir, serveArgs(), nil)
	if err != nil {
		return nil, err
	}
	defer func() { srv.stop() }()

	all := make([]*comer, r.Clients)
	for i := range all {
		user := "r" + strconv.Itoa(i)
		sig, err := usersig.Sign(server.DefaultAppID, key, user, time.Hour, time.Now())
		if err != nil {
			return nil, err
		}
		// An address has ports for about 28,000 connections to one other address.
		all[i] = &comer{user: user, sig: sig, from: net.IPv4(127, 0, byte(i/10_000), 1)}
	}
	begin := time.Now()
	if err := forAll(all, 256, func(c *comer) error { return c.come(ctx, addr, false) }); err != nil {
		return nil, err
	}
	r.LoginSeconds = round(time.Since(begin).Seconds(), 2)

	// Each waits for the end of its connection, then comes back.
	var wg sync.WaitGroup
	var tries atomic.Int64
	fail := make(chan error, 1)
	runCtx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for _, c := range all {
		wg.Go(func() {
			for {
				if _, err := c.link.message(); err != nil {
					break
				}
			}
			c.link.Close()
			for try := 1; ; try++ {
				pause := min(500*time.Millisecond<<min(try-1, 16), 30*time.Second)
				select {
				case <-runCtx.Done():
					select {
					case fail <- runCtx.Err():
					default:
					}
					return
				case <-time.After(time.Duration(rand.Int64N(int64(pause)) + 1)):
				}
				tries.Add(1)
				if c.come(runCtx, addr, true) == nil {
					c.in = time.Now()
					return
				}
			}
		})
	}
	begin = time.Now()
	srv.cmd.Process.Kill()
	srv.cmd.Wait()
	next, err := startAt(ctx, addr, dir, serveArgs(), nil)
	if err != nil {
		return nil, err
	}
	srv = next
	up := time.Now()
	r.StartSeconds = round(up.Sub(begin).Seconds(), 2)
	wg.Wait()
	select {
	case err := <-fail:
		return nil, fmt.Errorf("bench reconnect: not all clients came back: %w", err)
	default:
	}
	var took []float64
	for _, c := range all {
		took = append(took, c.in.Sub(up).Seconds())
		defer c.link.Close()
	}
	slices.Sort(took)
	r.AllInSeconds, r.Tries = round(took[len(took)-1], 2), tries.Load()
	r.P50, r.P99 = round(took[len(took)/2], 2), round(took[len(took)*99/100], 2)
	r.RSS, r.ServerCPU = round(srv.rss(), 1), round(srv.cpu().Seconds(), 2)
	return r, nil
}

// forAll calls f for all, n at a time, and answers the first error.
func forAll(all []*comer, n int, f func(*comer) error) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	errs := make(chan error, n)
	for range n {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(all) {
					return
				}
				if err := f(all[i]); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// come makes one try to connect and log in.
func (c *comer) come(ctx context.Context, addr string, resume bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: c.from}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	l, err := upgradeRaw(conn, addr, 512)
	if err != nil {
		return err
	}
	reply, err := l.loginAs(&im.LoginRequest{UserId: c.user, UserSig: c.sig, DeviceId: "bench-" + c.user, Platform: im.Platform_PLATFORM_LINUX,
		Resume: resume, Generation: c.generated})
	if err != nil {
		l.Close()
		return err
	}
	c.generated = reply.Generation
	conn.SetDeadline(time.Time{})
	c.link = l
	return nil
}
