package gateway

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tidings-im/tidings/im"
)

// maxPieces is how many frames one WebSocket message may have: an endless one costs work and is never a message.
const maxPieces = 1024

// upgradeWithin is how long writing the response to an upgrade may take.
const upgradeWithin = 5 * time.Second

// fault is the reason why a client's connection is ended: a close code and a text for it.
type fault struct {
	code   uint16
	reason string
}

// guard is the connection under a WebSocket. It follows the header of every frame as the bytes pass, and stops frames that are not legal, or announce
// more than a message may have: a WebSocket library allocates what a header announces, and trusts its length. From the first fault on nothing more is
// passed on; the client gets the close code, and what it still sends is read and thrown away until it closes, or the sweep does.
type guard struct {
	net.Conn
	s    *session        // set before anything is read
	open atomic.Bool     // the login has been answered
	raw  syscall.RawConn // waits for input without reading it; nil if that is not possible

	// The reader's: bytes before the login, the header that is being read, what is left of the frame after it, and the size so far of the message
	// that it belongs to.
	total   int
	head    [10]byte // without the mask
	n       int
	size    uint64
	body    uint64
	message uint64
	pieces  int
	fault   *fault
}

func (c *guard) Read(p []byte) (int, error) {
	if c.fault != nil {
		return c.drain(p)
	}
	n, err := c.read(p)
	if n <= 0 {
		return n, err
	}
	if !c.open.Load() {
		if c.total += n; c.total > beforeLogin {
			c.fault = &fault{closeTooLarge, "too much was sent before the login"}
			return c.drain(p)
		}
	}
	good, f := c.follow(p[:n])
	if f == nil {
		return n, err
	}
	c.fault = f
	if good == 0 {
		return c.drain(p)
	}
	return good, nil // what arrived before it is handled first
}

// read reads what is available. The sweep interrupts it with a deadline in the past, which is reset here.
func (c *guard) read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.Conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// drain ends the session and reads on until the connection is closed, so that the system does not reset it before the client has read the close code.
func (c *guard) drain(p []byte) (int, error) {
	if !c.open.Load() && c.fault.code == closeTooLarge {
		c.s.g.metrics.limited.WithLabelValues(limitBytes).Inc()
	}
	c.s.g.log.Debug("what a client sent is no message", "user", c.s.user(), "remote", c.RemoteAddr(), "why", c.fault.reason)
	c.s.finish(c.fault.code, c.fault.reason)
	for {
		if _, err := c.read(p); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
	}
}

// follow walks over what was read. It returns how many bytes may be passed on: all, or those before the byte that makes a fault certain.
func (c *guard) follow(p []byte) (int, *fault) {
	for i := 0; i < len(p); {
		if c.body > 0 {
			n := min(c.body, uint64(len(p)-i))
			c.body -= n
			i += int(n)
			continue
		}
		if f := c.header(p[i]); f != nil {
			return i, f
		}
		i++
	}
	return len(p), nil
}

// header takes one more byte of a header. A fault is found before the library has the whole header.
func (c *guard) header(b byte) *fault {
	if c.n < len(c.head) {
		c.head[c.n] = b
	}
	c.n++
	const fin, reserved, control, masked = 0x80, 0x70, 0x08, 0x80
	opcode, length := c.head[0]&0x0f, c.head[1]&^masked
	switch c.n {
	case 1:
		switch {
		case b&reserved != 0:
			return &fault{closeProtocol, "a reserved bit is set"}
		case opcode > 2 && opcode < 8 || opcode > 10:
			return &fault{closeProtocol, fmt.Sprintf("there is no opcode %d", opcode)}
		case opcode&control != 0 && b&fin == 0:
			return &fault{closeProtocol, "a control frame comes in pieces"}
		case opcode == 0 && c.pieces == 0:
			return &fault{closeProtocol, "a message goes on that has not begun"}
		case (opcode == 1 || opcode == 2) && c.pieces > 0:
			return &fault{closeProtocol, "a message begins inside another"}
		case c.pieces >= maxPieces && opcode == 0:
			return &fault{closeTooLarge, "a message comes in too many pieces"}
		}
		return nil
	case 2:
		switch {
		case b&masked == 0:
			return &fault{closeProtocol, "a frame of a client is not masked"}
		case opcode&control != 0 && length > 125:
			return &fault{closeProtocol, "a control frame is too long"}
		}
	}
	ext := 0
	switch length {
	case 126:
		ext = 2
	case 127:
		ext = 8
	}
	if c.n == 2+ext {
		c.size = uint64(length)
		if ext > 0 {
			c.size = 0
			for _, b := range c.head[2 : 2+ext] {
				c.size = c.size<<8 | uint64(b)
			}
		}
		switch {
		case c.size > im.MaxMessage || c.message+c.size > im.MaxMessage:
			return &fault{closeTooLarge, "a message is too large"}
		case c.size > beforeLogin && !c.open.Load():
			return &fault{closeTooLarge, "a message before the login is too large"}
		}
	}
	if c.n < 2+ext+4 {
		return nil
	}
	c.n, c.body = 0, c.size
	switch {
	case opcode&control != 0:
	case c.head[0]&fin != 0:
		c.message, c.pieces = 0, 0
	default:
		c.message += c.size
		c.pieces++
	}
	return nil
}

// CloseWrite tells the other side that nothing follows.
func (c *guard) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close cuts the connection. A TLS connection would first wait for its last record to be written, which a client that reads nothing can block.
func (c *guard) Close() error {
	if t, ok := c.Conn.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn().Close()
	}
	return c.Conn.Close()
}

// reset closes the connection and drops what the system still has to send on it. Otherwise the system would hold those bytes for minutes for a client
// that reads nothing, and the client, if it only writes, might not learn for as long that nobody is there.
func (c *guard) reset() {
	conn := c.Conn
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn()
	}
	if l, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		l.SetLinger(0)
	}
	conn.Close()
}

var errEarly = errors.New("gateway: the client went on before its upgrade was answered")

// hijack takes over the connection of a request.
func hijack(w http.ResponseWriter) (net.Conn, error) {
	hj, ok := w.(http.Hijacker)
	if !ok {
		return nil, errors.New("gateway: the connection cannot be taken over")
	}
	conn, rw, err := hj.Hijack()
	if err != nil {
		return nil, err
	}
	// Responses to earlier requests may still be unread before this one. A good upgrade lifts the limit.
	conn.SetWriteDeadline(time.Now().Add(upgradeWithin))
	if rw.Reader.Buffered() > 0 {
		// These bytes would be lost, and what follows taken for the beginning of a frame.
		io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		conn.Close()
		return nil, errEarly
	}
	return conn, nil
}
