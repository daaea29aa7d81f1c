package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/testing/needs"
)

// torn returns bytes in pieces, and fails sometimes in the way in which the sweep makes a read fail.
type torn struct {
	in  *bytes.Reader
	rnd *rand.Rand
}

func (r *torn) Read(p []byte) (int, error) {
	if r.rnd.IntN(4) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	return r.in.Read(p[:1+r.rnd.IntN(len(p))])
}

// FuzzReading compares the reader with another WebSocket library: both extract the same from what the guard lets through, in whatever pieces it
// arrives.
func FuzzReading(f *testing.F) {
	masked := append(frame(0x82, ""), bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7}, 40)...)
	copy(masked[:8], []byte{0x82, 0xfe, 1, 24, 9, 8, 7, 6})
	large := append([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0x30, 0, 5, 6, 7, 8}, make([]byte, 0x3000)...)
	f.Add(uint64(0), slices.Concat(frame(0x02, "a"), frame(0x89, "p"), frame(0x00, "b"), frame(0x80, "c"), frame(0x82, strings.Repeat("x", 300)), frame(0x88, "\x03\xe8bye")))
	f.Add(uint64(1), slices.Concat(masked, large, frame(0x8a, "pong"), masked))
	f.Add(uint64(2), slices.Concat(frame(0x01, "text"), frame(0x80, ""), frame(0x82, ""), frame(0x89, ""), large[:100]))
	f.Fuzz(func(t *testing.T, seed uint64, data []byte) {
		g := &guard{}
		g.open.Store(true)
		good, _ := g.follow(data)
		data = data[:good]
		want, panicked := library(t, data)
		if panicked != nil {
			return // FuzzGuard is about that
		}
		in := &input{buf: make([]byte, readBuffer), r: &torn{bytes.NewReader(data), rand.New(rand.NewPCG(seed, 1))}}
		var got []string
		for {
			opcode, payload, err := in.next()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
			if err != nil || opcode == opClose {
				break
			}
			switch opcode {
			case opPing:
				got = append(got, fmt.Sprintf("ping %x", payload))
			case opPong:
				got = append(got, fmt.Sprintf("pong %x", payload))
			default:
				got = append(got, fmt.Sprintf("%d %x", opcode, payload))
			}
		}
		if !slices.Equal(got, want.log) {
			t.Fatalf("taken %.200q, and by the library %.200q", got, want.log)
		}
	})
}

// TestRest: a busy session rests when it has been silent for a while, is served as before when it becomes active, even in the middle of a message,
// and ends as before: by the client, and by the server.
func TestRest(t *testing.T) {
	n := start(t, options{})
	alice := n.login(device{user: "alice"})
	s := n.sessionsOf(chat.UID(alice.reply.TinyId))[0]
	if s.conn.raw == nil {
		needs.Missing(t, "sessions do not rest on this system")
	}
	for range 3 {
		// The clock of the sweep stands still: a session that was woken twice is busy.
		alice.call(im.Method_HEARTBEAT, &im.Empty{}, 0, nil)
		alice.call(im.Method_HEARTBEAT, &im.Empty{}, 0, nil)
		until(t, "it is busy", s.busy.Load)
		n.later(3 * time.Second)
		until(t, "it rests", func() bool { return !s.busy.Load() })
	}
	// A frame of which only a part has arrived: the session does not rest, and the frame is not lost.
	raw := n.raw()
	login := im.AppendMessage(nil, &im.Frame{Id: 1, Method: im.Method_LOGIN}, device{user: "bob"}.request())
	beat := im.AppendMessage(nil, &im.Frame{Id: 2, Method: im.Method_HEARTBEAT}, &im.Empty{})
	message := append(header(uint64(len(beat))), beat...)
	raw.Write(append(header(uint64(len(login))), login...))
	var b [1]byte
	if _, err := raw.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	bob := n.one(t, "bob")
	raw.Write(append(message, message[:5]...))
	n.later(time.Second)
	until(t, "a part was heard", func() bool { return bob.heard.Load() != 0 })
	n.later(3 * time.Second)
	raw.Write(message[5:])
	until(t, "the rest was heard", func() bool { return bob.heard.Load() == n.now.Load() })
	raw.Close()
	until(t, "bob is gone", func() bool { return n.Sessions() == 1 })

	carol := n.login(device{user: "carol"})
	carol.ws.CloseNow()
	until(t, "a session that rests ends with its connection", func() bool { return n.Sessions() == 1 })
	n.later(91 * time.Second)
	until(t, "a silent session that rests is closed", func() bool { return n.Sessions() == 0 })
}

// one returns the only session of a user.
func (n *node) one(t *testing.T, user string) (found *session) {
	t.Helper()
	until(t, user+" is there", func() bool {
		for _, s := range n.snapshot() {
			if s.user() == user {
				found = s
			}
		}
		return found != nil
	})
	return found
}
