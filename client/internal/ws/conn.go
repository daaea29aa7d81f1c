package ws

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidings-im/tidings/internal/websocket"
)

// Opcodes, and the close codes that are sent.
const (
	opMore   = 0
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10

	closeProtocol = 1002
	closeText     = 1003
	closeTooLarge = 1009
)

// Closed is the server's close of the connection.
type Closed struct {
	Code   uint16 // 1005: the server gave none
	Reason string
}

func (e *Closed) Error() string {
	return fmt.Sprintf("the server closed the connection: %d %q", e.Code, e.Reason)
}

// Conn is a connection that was upgraded. One goroutine reads, one writes, and anyone may close it.
type Conn struct {
	Subprotocol string // the server's choice

	tcp  net.Conn // under TLS, if there is TLS
	conn net.Conn
	r    *bufio.Reader
	most int

	mu   sync.Mutex // protects w: the reader writes pongs
	w    *bufio.Writer
	pong atomic.Pointer[[]byte] // payload of the pong that is still to be sent
}

func newConn(tcp, conn net.Conn, r *bufio.Reader, most int) *Conn {
	return &Conn{tcp: tcp, conn: conn, r: r, most: most, w: bufio.NewWriter(conn)}
}

// Close cuts the connection, and waits for nobody: TLS would first write a last record.
func (c *Conn) Close() { c.tcp.Close() }

// Interrupt makes reads and writes fail with os.ErrDeadlineExceeded, at once and from then on.
func (c *Conn) Interrupt() { c.conn.SetDeadline(time.Unix(1, 0)) }

// Write sends a binary message. It changes b, which belongs to the connection from then on.
func (c *Conn) Write(b []byte) error {
	c.mu.Lock()
	err := c.frame(opBinary, b)
	c.mu.Unlock()
	c.sendPong()
	return err
}

// controlWithin limits the time to write a control frame. Otherwise a server that sends pings and reads nothing would block the reader permanently.
const controlWithin = 5 * time.Second

// control writes a control frame; if that takes too long, it cuts the connection. The caller holds mu.
func (c *Conn) control(op byte, b []byte) error {
	defer time.AfterFunc(controlWithin, c.Close).Stop()
	return c.frame(op, b)
}

// sendPong writes the pong that is to be sent. If another goroutine is writing, that goroutine sends the pong when it is done: the reader must not wait for
// the writer, which may itself wait until the server's output is read.
func (c *Conn) sendPong() error {
	for c.pong.Load() != nil && c.mu.TryLock() {
		var err error
		if b := c.pong.Swap(nil); b != nil {
			err = c.control(opPong, *b)
		}
		c.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// sendClose sends a close frame, unless another frame is being written.
func (c *Conn) sendClose(b []byte) {
	if c.mu.TryLock() {
		c.control(opClose, b)
		c.mu.Unlock()
	}
}

// frame writes a frame that is a whole message. The caller holds mu.
func (c *Conn) frame(op byte, b []byte) error {
	var head [14]byte
	n := 2
	head[0] = 0x80 | op
	switch {
	case len(b) < 126:
		head[1] = byte(len(b))
	case len(b) < 1<<16:
		head[1] = 126
		binary.BigEndian.PutUint16(head[2:], uint16(len(b)))
		n = 4
	default:
		head[1] = 127
		binary.BigEndian.PutUint64(head[2:], uint64(len(b)))
		n = 10
	}
	head[1] |= 0x80 // a client masks everything that it sends
	key := head[n : n+4]
	rand.Read(key)
	websocket.Mask(b, [4]byte(key))
	c.w.Write(head[:n+4])
	c.w.Write(b)
	return c.w.Flush() // it keeps the first error
}

// Read returns the next binary message, and responds to pings while it waits. After an error the connection cannot be used.
func (c *Conn) Read() ([]byte, error) {
	var message []byte
	begun := false
	for {
		final, op, size, err := c.header()
		if err != nil {
			return nil, err
		}
		switch {
		case op >= opClose:
			if !final || size > 125 {
				return nil, c.fail(closeProtocol, "a control frame is too long")
			}
			if err := c.handleControl(op, int(size)); err != nil {
				return nil, err
			}
			continue
		case op == opText:
			return nil, c.fail(closeText, "the server sent text")
		case op != opMore && op != opBinary, (op == opMore) != begun:
			return nil, c.fail(closeProtocol, "the server sent a frame that nothing should be")
		case size > uint64(c.most-len(message)):
			return nil, c.fail(closeTooLarge, fmt.Sprintf("the server sent a message of more than %d bytes", c.most))
		}
		begun = true
		if message, err = c.payload(message, int(size)); err != nil {
			return nil, err
		}
		if final {
			return message, nil
		}
	}
}

// header reads the start of a frame.
func (c *Conn) header() (final bool, op byte, size uint64, err error) {
	var b [8]byte
	if _, err := io.ReadFull(c.r, b[:2]); err != nil {
		return false, 0, 0, err
	}
	if b[0]&0x70 != 0 || b[1]&0x80 != 0 {
		return false, 0, 0, c.fail(closeProtocol, "the server sent a frame with a reserved bit, or a mask")
	}
	final, op, size = b[0]&0x80 != 0, b[0]&0x0f, uint64(b[1])
	ext := 0
	switch size {
	case 126:
		ext = 2
	case 127:
		ext = 8
	}
	if ext > 0 {
		if _, err := io.ReadFull(c.r, b[8-ext:]); err != nil {
			return false, 0, 0, err
		}
		clear(b[:8-ext])
		size = binary.BigEndian.Uint64(b[:])
	}
	return final, op, size, nil
}

// pieceOf is how much memory is allocated for what is announced and has not arrived.
const pieceOf = 64 << 10

// payload appends size bytes to b.
func (c *Conn) payload(b []byte, size int) ([]byte, error) {
	for size > 0 {
		n, at := min(size, pieceOf), len(b)
		b = append(b, make([]byte, n)...)
		if _, err := io.ReadFull(c.r, b[at:]); err != nil {
			return nil, err
		}
		size -= n
	}
	return b, nil
}

// handleControl handles a control frame.
func (c *Conn) handleControl(op byte, size int) error {
	b := make([]byte, size)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return err
	}
	switch op {
	case opPing:
		c.pong.Store(&b) // replaces one that was not sent yet: only the last ping needs a pong
		return c.sendPong()
	case opPong:
		return nil
	case opClose:
		e := &Closed{Code: 1005}
		switch {
		case size == 1:
			return c.fail(closeProtocol, "the server closed the connection with half a code")
		case size >= 2:
			e.Code, e.Reason = binary.BigEndian.Uint16(b), string(b[2:])
			b = b[:2]
		}
		c.sendClose(b)
		return e
	}
	return c.fail(closeProtocol, "the server sent an unknown control frame")
}

// fail tells the server why the connection ends.
func (c *Conn) fail(code uint16, why string) error {
	c.sendClose(binary.BigEndian.AppendUint16(nil, code))
	return fmt.Errorf("client: %s", why)
}
