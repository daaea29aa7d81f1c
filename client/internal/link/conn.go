package link

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/tidings-im/tidings/client/internal/ws"
	"github.com/tidings-im/tidings/im"
)

// messageSoft is roughly how large a message of several frames gets; the server reads up to im.MaxMessage.
const messageSoft = 256 << 10

// Conn is one connection whose login the server has accepted. All methods may be called from any goroutine; none waits for the network.
type Conn struct {
	Ticket string         // the accepted ticket
	Reply  *im.LoginReply // its reply

	ws     *ws.Conn
	cancel context.CancelFunc
	wake   chan struct{} // 1: out is not empty

	mu     sync.Mutex
	out    [][]byte // WebSocket messages of whole frames
	ending bool     // close when out is sent

	final, synced atomic.Bool
}

// Send queues a frame. It does not limit what waits: callers limit their open calls.
func (c *Conn) Send(f *im.Frame) {
	c.mu.Lock()
	if n := len(c.out); n > 0 && len(c.out[n-1])+len(f.Body) < messageSoft {
		c.out[n-1] = im.AppendFrame(c.out[n-1], f)
	} else {
		c.out = append(c.out, im.AppendFrame(nil, f))
	}
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Last queues the frame after which the connection is closed.
func (c *Conn) Last(f *im.Frame) {
	c.mu.Lock()
	c.ending = true
	c.mu.Unlock()
	c.Send(f)
}

// Break ends the connection. Unless it is final, Run makes another one.
func (c *Conn) Break() { c.cancel() }

// Final means that no other connection follows this one.
func (c *Conn) Final() { c.final.Store(true) }

// Synced records that a sync on this connection has completed and is on the disk. Until then the connection counts as a failed attempt: the sync that
// follows the login may contain what ends it, each time.
func (c *Conn) Synced() { c.synced.Store(true) }

// write sends what is queued, everything that waits in one message, until the context ends or the connection breaks.
func (c *Conn) write(ctx context.Context) {
	defer c.cancel()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		c.mu.Lock()
		out := c.out
		c.out = nil
		ending := c.ending
		c.mu.Unlock()
		for _, b := range out {
			if c.ws.Write(b) != nil {
				return
			}
		}
		if ending {
			return
		}
	}
}

// read passes each message on, in order, until the connection breaks.
func (c *Conn) read(ctx context.Context, arrived func(ctx context.Context, c *Conn, data []byte) error) error {
	for {
		data, err := c.ws.Read()
		if err != nil {
			return err
		}
		if err := arrived(ctx, c, data); err != nil {
			return err
		}
	}
}
