package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/usersig"
)

const spareFiles = 500

// manyFiles raises the limit of open files as far as possible up to n, and returns the limit.
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

// crowd is many bare clients of one server that send only what keeps their connections open.
type crowd struct {
	name  string
	addr  string
	serve []string
	srv   *child
	all   []*comer
	// back gets each client that has reconnected; one may reconnect more than once.
	back  chan *comer
	tries atomic.Int64
	beats atomic.Int64
	// living are the goroutines of the clients that have logged in, until die.
	living sync.WaitGroup
	life   context.Context
	die    context.CancelFunc
}

// comer is a client that reconnects.
type comer struct {
	user, sig string
	from      net.IP
	generated uint64
	beat      time.Duration // how often the server wants a heartbeat
	link      *rawLink
}

// newCrowd starts a server and makes as many clients as were requested and the limit of open files allows. None is logged in yet.
func newCrowd(ctx context.Context, name string, clients int, place string) (*crowd, error) {
	const key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	clients = min(clients, manyFiles(clients+spareFiles)-spareFiles)
	if clients < 1 {
		return nil, fmt.Errorf("bench %s: the limit of open files is too low", name)
	}
	dir, err := os.MkdirTemp(place, "tidings-bench-*")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	cr := &crowd{name: name, addr: addr, all: make([]*comer, clients), back: make(chan *comer, 2*clients)}
	cr.life, cr.die = context.WithCancel(ctx)
	cr.serve = []string{"serve", "--listen", addr, "--data", filepath.Join(dir, "data"), "--secret-key", key, "--log-level", "warn", "--max-connections-per-address", "0"}
	for i := range cr.all {
		user := "r" + strconv.Itoa(i)
		sig, err := usersig.Sign(server.DefaultAppID, key, user, time.Hour, time.Now())
		if err != nil {
			return nil, err
		}
		// An address has ports for about 28,000 connections to one other address.
		cr.all[i] = &comer{user: user, sig: sig, from: net.IPv4(127, 0, byte(i/10_000), 1)}
	}
	cr.srv, err = startAt(ctx, addr, dir, cr.serve, nil)
	return cr, err
}

func (cr *crowd) end() {
	cr.die()
	cr.living.Wait()
	cr.srv.stop()
}

// login logs all clients in, and keeps their connections.
func (cr *crowd) login(ctx context.Context) error {
	err := forAll(cr.all, 256, func(c *comer) error { return c.come(ctx, cr.addr, false) })
	for _, c := range cr.all {
		if c.link == nil {
			continue
		}
		cr.living.Go(func() {
			for cr.life.Err() == nil {
				link := c.link
				stop := context.AfterFunc(cr.life, func() { link.Close() })
				c.stay(&cr.beats)
				stop()
				link.Close()
				cr.comeBack(c)
			}
		})
	}
	return err
}

// comeBack tries again and again, as the SDK does: after a pause drawn evenly below half a second, a second, two and so on up to 30.
func (cr *crowd) comeBack(c *comer) {
	for try := 0; ; try++ {
		pause := min(500*time.Millisecond<<min(try, 16), 30*time.Second)
		select {
		case <-cr.life.Done():
			return
		case <-time.After(time.Duration(rand.Int64N(int64(pause)) + 1)):
		}
		cr.tries.Add(1)
		if c.come(cr.life, cr.addr, true) == nil {
			select {
			case cr.back <- c:
			case <-cr.life.Done():
			}
			return
		}
	}
}

// restart kills the server and starts it again. It returns when the server listened, and how long each client then took to reconnect.
func (cr *crowd) restart(ctx context.Context) (up time.Time, took []float64, err error) {
	for len(cr.back) > 0 {
		<-cr.back
	}
	cr.srv.cmd.Process.Kill()
	cr.srv.cmd.Wait()
	next, err := startAt(ctx, cr.addr, cr.srv.dir, cr.serve, nil)
	if err != nil {
		return up, nil, err
	}
	cr.srv, up = next, time.Now()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for in := map[*comer]bool{}; len(in) < len(cr.all); {
		select {
		case <-ctx.Done():
			return up, nil, fmt.Errorf("bench %s: not all clients came back: %w", cr.name, ctx.Err())
		case c := <-cr.back:
			if !in[c] {
				in[c], took = true, append(took, time.Since(up).Seconds())
			}
		}
	}
	return up, took, nil
}

// forAll calls f for all clients, n at a time, and returns the first error.
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

// come makes one attempt to connect and log in.
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
	c.generated, c.beat = reply.Generation, time.Duration(reply.HeartbeatSeconds)*time.Second
	conn.SetDeadline(time.Time{})
	c.link = l
	return nil
}

// stay reads until the connection ends, and sends a heartbeat whenever nothing has arrived for the server's interval.
func (c *comer) stay(beats *atomic.Int64) {
	// Not all at once, although all logged in together.
	wait := time.Duration(rand.Int64N(int64(c.beat))) + 1
	for id := uint64(2); ; {
		c.link.SetReadDeadline(time.Now().Add(wait))
		_, err := c.link.r.Peek(1)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			wait = c.beat
			if c.link.write(im.AppendMessage(nil, &im.Frame{Id: id, Method: im.Method_HEARTBEAT}, &im.Empty{})) != nil {
				return
			}
			id++
			continue
		}
		if err != nil {
			return
		}
		c.link.SetReadDeadline(time.Time{})
		msg, err := c.link.message()
		if err != nil {
			return
		}
		im.ReadFrames(msg, func(f *im.Frame) error {
			if f.Method == im.Method_HEARTBEAT && f.Code == 0 {
				beats.Add(1)
			}
			return nil
		})
	}
}
