package main

import (
	"bytes"
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
	text, out   []byte
	count       uint64 // messages made
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

func newUser(l link, size int) *user {
	return &user{link: l, missing: map[uint64]bool{}, text: bytes.Repeat([]byte("x"), size)}
}

// send sends messages that are stamped with a time.
func (u *user) send(count int, at time.Time) error {
	u.out = u.out[:0]
	for range count {
		putText(u.text, u.count, at.UnixNano())
		u.out = u.link.appendSend(u.out, u.count, u.text)
		u.count++
	}
	u.sent.Add(int64(count))
	return u.link.write(u.out)
}

// offer sends one message after the other at a rate, whether or not earlier ones have been answered; users take turns. A message is stamped with the time at which it
// was due, so that what holds up its sender counts as its delay.
func offer(users []*user, rate float64, stop *atomic.Bool) error {
	begin := time.Now()
	for i := 0; ; i++ {
		due := begin.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if time.Sleep(time.Until(due)); stop.Load() {
			return nil
		}
		if err := users[i%len(users)].send(1, due); err != nil {
			return err
		}
	}
}

// percentile returns within how many milliseconds so much of what took micros had arrived. It sorts micros.
func percentile(micros []uint32, part float64) float64 {
	if len(micros) == 0 {
		return 0
	}
	slices.Sort(micros)
	return round(float64(micros[min(int(float64(len(micros))*part), len(micros)-1)])/1000, 2)
}

// load runs all users until the time is up and then waits for what is still under way.
func load(ctx context.Context, links []link, o *benchOptions, ch *child, r *benchResult) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	users := make([]*user, len(links))
	var stop, measure atomic.Bool
	var wg sync.WaitGroup
	for i, l := range links {
		u := newUser(l, o.size)
		users[i] = u
		wg.Go(func() {
			if err := u.run(o, &stop, &measure); !errors.Is(err, net.ErrClosed) {
				cancel(err)
			}
		})
	}
	if o.rate > 0 {
		wg.Go(func() {
			if err := offer(users, o.rate, &stop); err != nil {
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
	r.P50, r.P99 = percentile(micros, 0.50), percentile(micros, 0.99)
	return nil
}

// run receives until the link is closed, and sends as the window allows; not if there is a rate, because then offer sends.
func (u *user) run(o *benchOptions, stop, measure *atomic.Bool) error {
	if o.rate == 0 {
		if err := u.send(o.window, time.Now()); err != nil {
			return err
		}
	}
	credit := 0
	acked := func() error {
		u.acked.Add(1)
		credit++
		return nil
	}
	got := func(b []byte) error { return u.got(b, measure) }
	for {
		credit = 0
		if err := u.link.read(acked, got); err != nil {
			return err
		}
		if credit > 0 && o.rate == 0 && !stop.Load() {
			if err := u.send(credit, time.Now()); err != nil {
				return err
			}
		}
	}
}

// got takes a message of the peer, and how long it was under way.
func (u *user) got(b []byte, measure *atomic.Bool) error {
	n, at, err := readText(b)
	if err != nil {
		return err
	}
	u.take(n)
	if measure.Load() {
		u.micros = append(u.micros, uint32((time.Now().UnixNano()-at)/1000))
	}
	return nil
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
