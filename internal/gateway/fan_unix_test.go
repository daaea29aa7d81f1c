//go:build unix

package gateway

import (
	"bytes"
	"io"
	"math"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// apart makes a session by itself, on a connection with a buffer for writing of a size. The other end reads what the test reads.
func (n *node) apart(buffer int) (*session, net.Conn) {
	n.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		n.t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { client.Close(); server.Close() })
	tcp := server.(*net.TCPConn)
	if err := tcp.SetWriteBuffer(buffer); err != nil {
		n.t.Fatal(err)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		n.t.Fatal(err)
	}
	s := newSession(n.Gateway)
	s.conn = &guard{Conn: tcp, s: s, raw: raw}
	s.caller, s.state, s.due = &chat.Caller{Name: "apart"}, live, math.MaxInt64
	return s, client
}

// fanOut has the session written to as by the fan.
func (s *session) fanOut(frame []byte, now *onceWriter) {
	s.mu.Lock()
	s.begun()
	s.out = append(s.out, frame...)
	s.writing, s.fanned = true, true
	s.mu.Unlock()
	s.writeNow(now)
}

// halting calls a function after each write that does not wait.
type halting struct {
	syscall.RawConn
	after func()
}

func (h *halting) Write(f func(fd uintptr) bool) error {
	err := h.RawConn.Write(f)
	h.after()
	return err
}

// TestPongBetweenHalves: when the fan has written a part of a message, and a goroutine of the session will write the rest, a pong waits for that.
func TestPongBetweenHalves(t *testing.T) {
	n := start(t, options{})
	s, client := n.apart(4 << 10)
	message := im.AppendFrame(nil, &im.Frame{Method: im.Method_ENTRY, Body: bytes.Repeat([]byte("m"), 120_000)})
	var room [headRoom]byte
	whole := append(bytes.Clone(room[putHeader(room[:], len(message)):]), message...)
	pong := append([]byte{0x80 | opPong, 4}, "pong"...)
	var now onceWriter
	var left, half bool // what the fan has left of the last message
	pongs := make(chan struct{}, 1)
	s.conn.raw = &halting{s.conn.raw, func() {
		left = now.n < len(whole)
		if half = left && now.n > 0; half {
			n.wg.Go(func() {
				s.control(opPong, []byte("pong"))
				pongs <- struct{}{}
			})
			time.Sleep(2 * time.Millisecond) // a pong that does not wait is first
		}
	}}
	for halves, tries := 0, 0; halves < 10; tries++ {
		if tries == 1000 {
			t.Fatalf("the socket has taken a part of a message only %d times", halves)
		}
		sent := 0
		for left = false; !left; sent++ {
			if sent > 10_000 {
				t.Fatal("the socket takes everything")
			}
			s.fanOut(message, &now)
		}
		want := bytes.Repeat(whole, sent)
		if half {
			halves++
			want = append(want, pong...)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(client, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d messages came with the pong %d bytes before the end", sent, len(got)-bytes.Index(got, pong)-len(pong))
		}
		if half {
			<-pongs
		}
		until(t, "the end of writing", s.idle)
	}
}

// TestStalledPong: a message that waits behind a pong which the socket does not take is ended by the limit of writing.
func TestStalledPong(t *testing.T) {
	n := start(t, options{gateway: Config{Silence: math.MaxInt64}})
	s, _ := n.apart(4 << 10)
	var now onceWriter
	full := 0
	until(t, "a socket that takes nothing", func() bool { // the other end may be late to report what it has taken
		written, err := now.write(s.conn.raw, make([]byte, 64<<10))
		if full++; written > 0 || err != nil {
			full = 0
		}
		return full == 250
	})
	pong := make(chan struct{})
	n.wg.Go(func() {
		defer close(pong)
		s.control(opPong, make([]byte, 125))
	})
	until(t, "the pong", func() bool {
		free := s.whole.TryLock()
		if free {
			s.whole.Unlock()
		}
		return !free
	})
	frame := im.AppendFrame(nil, &im.Frame{Method: im.Method_BEHIND})
	clock := n.now.Load()
	until(t, "the end of the connection", func() bool {
		s.push(frame, false)
		clock += int64(n.cfg.Stall) + 1
		s.check(clock)
		return n.limited(limitStall) == 1
	})
	<-pong
	until(t, "the end of writing", s.idle)
}

// TestFanWritesWithoutMemory: a write of the fan that the socket takes whole allocates nothing.
func TestFanWritesWithoutMemory(t *testing.T) {
	n := start(t, options{})
	s, _ := n.apart(1 << 20)
	frame := im.AppendFrame(nil, &im.Frame{Method: im.Method_BEHIND})
	var now onceWriter
	out := make([]byte, headRoom, spareBuffer+1) // which the pool does not keep: it loses some under the race detector
	if n := testing.AllocsPerRun(100, func() {
		s.out = out
		s.fanOut(frame, &now)
	}); n != 0 {
		t.Errorf("%v allocations per write", n)
	}
	if !s.idle() {
		t.Error("the socket has not taken everything")
	}
}
