package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/websocket"
)

// Opcodes of WebSocket frames.
const (
	opContinue = 0
	opBinary   = 2
	opClose    = 8
	opPing     = 9
	opPong     = 10
)

// readBuffer is the size of a buffer to read into. Only an active session has one.
const readBuffer = 4 << 10

var inputs = sync.Pool{New: func() any { return &input{buf: make([]byte, readBuffer)} }}

// input extracts messages from what a client sends. It trusts the headers of frames: a guard has checked them.
type input struct {
	r        io.Reader
	buf      []byte
	from, to int // the part of buf that was read and not taken
	// What has arrived of a fragmented message, and its opcode.
	whole  []byte
	opcode byte
}

// empty reports whether nothing of a frame or of a message was read yet.
func (in *input) empty() bool { return in.from == in.to && in.opcode == 0 }

// need waits until n bytes are in the buffer, which is large enough for them. They stay there until they are taken.
func (in *input) need(n int) ([]byte, error) {
	if in.from == in.to {
		in.from, in.to = 0, 0
	} else if in.from+n > len(in.buf) {
		in.from, in.to = 0, copy(in.buf, in.buf[in.from:in.to])
	}
	for in.to-in.from < n {
		k, err := in.r.Read(in.buf[in.to:])
		in.to += k
		if err != nil && in.to-in.from < n {
			return nil, err
		}
	}
	return in.buf[in.from : in.from+n], nil
}

// next returns the next message, or the next control frame. It is valid until the next call. After a temporary error nothing is lost: the next call
// continues.
func (in *input) next() (opcode byte, payload []byte, err error) {
	for {
		b, err := in.need(2)
		if err != nil {
			return 0, nil, err
		}
		ext := 0
		switch b[1] & 0x7f {
		case 126:
			ext = 2
		case 127:
			ext = 8
		}
		head := 2 + ext + 4
		if b, err = in.need(head); err != nil {
			return 0, nil, err
		}
		size := int(b[1] & 0x7f)
		switch ext {
		case 2:
			size = int(binary.BigEndian.Uint16(b[2:]))
		case 8:
			size = int(binary.BigEndian.Uint64(b[2:]))
		}
		fin, opcode := b[0]&0x80 != 0, b[0]&0x0f
		mask := [4]byte(b[head-4:])
		if head+size <= len(in.buf) {
			if b, err = in.need(head + size); err != nil {
				return 0, nil, err
			}
			payload = b[head:]
			in.from += head + size
		} else {
			// Larger than the buffer: what is there of it is copied, the rest is read into its place.
			payload = make([]byte, size)
			k := copy(payload, in.buf[in.from+head:in.to])
			in.from, in.to = 0, 0
			for k < size {
				n, err := in.r.Read(payload[k:])
				if k += n; err != nil && k < size && !errors.Is(err, os.ErrDeadlineExceeded) {
					return 0, nil, err
				}
			}
		}
		websocket.Mask(payload, mask)
		switch {
		case opcode >= opClose || fin && opcode != opContinue:
			return opcode, payload, nil
		case opcode != opContinue:
			in.opcode = opcode
		}
		in.whole = append(in.whole, payload...)
		if fin {
			opcode, payload = in.opcode, in.whole
			in.opcode, in.whole = 0, nil
			return opcode, payload, nil
		}
	}
}

// A reader is a goroutine, with the stack that handling a client's input has left it, and a buffer. Most clients are silent most of the time. So the
// reader of a silent one ends, and another goroutine that only waits, on a stack of the smallest size and without a buffer, takes its place: the
// session rests.

// restAfter is how long a session must be silent to rest, if it was active more than once in that time. Another rests at once.
const restAfter = int64(2 * time.Second)

// read is the session's reader.
func (s *session) read() {
	rested, err := false, errors.New("the reader failed")
	s.contain(func() {
		in := inputs.Get().(*input)
		in.r, in.from, in.to, in.whole, in.opcode = s.conn, 0, 0, nil, 0
		rested, err = s.readOn(in)
		in.r, in.whole = nil, nil
		inputs.Put(in)
	})
	if rested {
		go s.rest()
		return
	}
	s.cut()
	s.over(err)
	s.g.wg.Done()
}

// rest waits until there is something to read, or the connection is closed, and starts a reader again.
func (s *session) rest() {
	err := s.conn.await()
	now := s.g.now.Load()
	s.busy.Store(err != nil || now-s.woken < restAfter) // after an error the reader gets it too
	s.woken = now
	go s.read()
}

// readOn handles input until the connection ends, or the session may rest.
func (s *session) readOn(in *input) (rested bool, err error) {
	// A reader was started because there is something to read, so it reads before it may rest.
	for first := true; ; first = false {
		if !first && in.empty() && !s.busy.Load() && s.conn.open.Load() && s.conn.fault == nil && s.conn.raw != nil {
			return true, nil
		}
		opcode, payload, err := in.next()
		if errors.Is(err, os.ErrDeadlineExceeded) { // the sweep decided that the session may rest
			s.busy.Store(!in.empty())
			continue
		}
		if err != nil {
			return false, err
		}
		s.heard.Store(s.g.now.Load())
		switch opcode {
		case opBinary:
			if errors.Is(im.ReadFrames(payload, s.handle), im.ErrFrame) {
				s.finish(closeProtocol, "a message cannot be taken apart into frames")
			}
		case opPing:
			s.pong(payload)
		case opPong:
		case opClose:
			return false, s.farewell(payload)
		default:
			s.finish(closeNotBinary, "a message is binary")
		}
	}
}

// control writes a control frame between two messages, unless the close frame of this side has been written or waits for that: what follows it would fail,
// and reset the connection.
func (s *session) control(opcode byte, payload []byte) {
	s.whole.Lock()
	defer s.whole.Unlock()
	s.mu.Lock()
	over := s.state >= ended
	s.mu.Unlock()
	if !over {
		s.conn.Write(append([]byte{0x80 | opcode, byte(len(payload))}, payload...))
	}
}

func (s *session) pong(payload []byte) {
	if s.tooFast(im.Method_HEARTBEAT) == nil {
		s.control(opPong, payload)
	}
}

// farewell responds to a client that closes.
func (s *session) farewell(payload []byte) error {
	code, text := uint16(0), ""
	if len(payload) >= 2 {
		code, text = binary.BigEndian.Uint16(payload), string(payload[2:])
		payload = payload[:2]
		if !(code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code < 5000) {
			payload = binary.BigEndian.AppendUint16(nil, closeProtocol)
		}
	} else if len(payload) == 1 {
		payload = binary.BigEndian.AppendUint16(nil, closeProtocol)
	}
	s.control(opClose, payload)
	return fmt.Errorf("the client closed with %d %q", code, text)
}

// upgradeConn upgrades a request to a WebSocket.
func upgradeConn(w http.ResponseWriter, r *http.Request) (*guard, error) {
	key := r.Header.Get("Sec-Websocket-Key")
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || !websocket.Names(r.Header.Values("Connection"), "upgrade") ||
		r.Header.Get("Sec-Websocket-Version") != "13" || key == "" {
		w.Header().Set("Sec-Websocket-Version", "13")
		http.Error(w, "this is no request for a WebSocket of version 13", http.StatusBadRequest)
		return nil, errors.New("gateway: no request for a WebSocket")
	}
	conn, err := hijack(w)
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
		websocket.Accept(key)+"\r\nSec-WebSocket-Protocol: "+im.Subprotocol+"\r\n\r\n")
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	c := &guard{Conn: conn}
	if sc, ok := conn.(syscall.Conn); ok && canAwait { // not for TLS, which has a buffer of its own
		c.raw, err = sc.SyscallConn()
	}
	return c, err
}
