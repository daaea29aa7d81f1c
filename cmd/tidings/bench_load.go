package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// link is the connection of a user of the load: to a Tidings server, or to the bare relay.
type link interface {
	// appendSend appends message n to the output buffer.
	appendSend(b []byte, n uint64, text []byte) []byte
	write(b []byte) error
	// read waits for input, and calls acked for each own message that was acknowledged and got for each text of the peer.
	read(acked func() error, got func(text []byte) error) error
	Close() error
}

// A text is a mark, the message's number and the time at which it was sent, and padding.
const (
	textMark = "~bench~"
	minText  = len(textMark) + 16 + 16
)

func putText(b []byte, n uint64, now int64) {
	copy(b, textMark)
	hex16(b[len(textMark):], n)
	hex16(b[len(textMark)+16:], uint64(now))
}

func hex16(b []byte, v uint64) {
	for i := 15; i >= 0; i-- {
		b[i] = "0123456789abcdef"[v&15]
		v >>= 4
	}
}

func readText(b []byte) (n uint64, at int64, err error) {
	if len(b) < minText || string(b[:len(textMark)]) != textMark {
		return 0, 0, fmt.Errorf("bench: %q is not a text of this run", b)
	}
	b = b[len(textMark):]
	if n, err = strconv.ParseUint(string(b[:16]), 16, 64); err == nil {
		var u uint64
		u, err = strconv.ParseUint(string(b[16:32]), 16, 64)
		at = int64(u)
	}
	return n, at, err
}

// user is one user of the load; fields that are not atomic belong to its goroutine.
type user struct {
	link        link
	sent, acked atomic.Int64
	received    atomic.Int64
	next        uint64
	missing     map[uint64]bool
	doubled     int
	disordered  int
	micros      []uint32
}

// take records a message of the peer.
func (u *user) take(n uint64) {
	switch {
	case n == u.next:
		u.next++
	case n > u.next:
		u.disordered++
		for ; u.next < n; u.next++ {
			u.missing[u.next] = true
		}
		u.next++
	case u.missing[n]:
		delete(u.missing, n)
	default:
		u.doubled++
		return
	}
	u.received.Add(1)
}

// load runs all users until the time is up and then waits for what is still under way.
func load(ctx context.Context, links []link, o *benchOptions, ch *child, r *benchResult) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	users := make([]*user, len(links))
	var stop, measure atomic.Bool
	var wg sync.WaitGroup
	for i, l := range links {
		u := &user{link: l, missing: map[uint64]bool{}}
		users[i] = u
		wg.Go(func() {
			if err := u.run(o, &stop, &measure); !errors.Is(err, net.ErrClosed) {
				cancel(err)
			}
		})
	}
	sum := func(f func(*user) int64) (n int64) {
		for _, u := range users {
			n += f(u)
		}
		return n
	}
	received := func() int64 { return sum(func(u *user) int64 { return u.received.Load() }) }
	wait := func(d time.Duration) error {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(d):
			return nil
		}
	}
	err := wait(time.Second)
	n, cpu, own, begin := received(), ch.cpu(), ownCPU(), time.Now()
	measure.Store(true)
	if err == nil {
		err = wait(time.Duration(o.seconds * float64(time.Second)))
	}
	took := time.Since(begin)
	measure.Store(false)
	n, cpu, own = received()-n, ch.cpu()-cpu, ownCPU()-own
	stop.Store(true)
	for range 1000 { // 10 s
		sent := sum(func(u *user) int64 { return u.sent.Load() })
		if err != nil || sent == sum(func(u *user) int64 { return u.acked.Load() }) && sent == received() {
			break
		}
		err = wait(10 * time.Millisecond)
	}
	r.RSS = round(ch.rss(), 1)
	for _, u := range users {
		u.link.Close()
	}
	wg.Wait()
	if err != nil {
		return err
	}
	var micros []uint32
	for i, u := range users {
		peer := users[i^1]
		r.Lost += int(peer.sent.Load()) - int(u.received.Load())
		r.Doubled += u.doubled
		r.OutOfOrder += u.disordered
		micros = append(micros, u.micros...)
	}
	r.Window, r.MsgsPerS = o.window, round(float64(n)/took.Seconds(), 0)
	if n > 0 {
		r.CPUPer1000 = round(cpu.Seconds()/float64(n)*1000, 5)
		r.ClientCPU = round(own.Seconds()/float64(n)*1000, 5)
	}
	if len(micros) > 0 {
		slices.Sort(micros)
		r.P50 = round(float64(micros[len(micros)/2])/1000, 2)
		r.P99 = round(float64(micros[len(micros)*99/100])/1000, 2)
	}
	return nil
}

// run sends and receives until the link is closed.
func (u *user) run(o *benchOptions, stop, measure *atomic.Bool) error {
	text := make([]byte, o.size)
	for i := range text {
		text[i] = 'x'
	}
	var out []byte
	var n uint64
	send := func(count int) error {
		out = out[:0]
		now := time.Now().UnixNano()
		for range count {
			putText(text, n, now)
			out = u.link.appendSend(out, n, text)
			n++
		}
		u.sent.Add(int64(count))
		return u.link.write(out)
	}
	if err := send(o.window); err != nil {
		return err
	}
	credit := 0
	acked := func() error {
		u.acked.Add(1)
		credit++
		return nil
	}
	var now int64
	got := func(b []byte) error {
		n, at, err := readText(b)
		if err != nil {
			return err
		}
		u.take(n)
		if measure.Load() {
			u.micros = append(u.micros, uint32((now-at)/1000))
		}
		return nil
	}
	for {
		credit = 0
		if err := u.link.read(acked, func(b []byte) error {
			now = time.Now().UnixNano()
			return got(b)
		}); err != nil {
			return err
		}
		if credit > 0 && !stop.Load() {
			if err := send(credit); err != nil {
				return err
			}
		}
	}
}

func ownCPU() time.Duration {
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &ru) != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

func round(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}
