package gateway

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/tidings-im/tidings/im"
)

// FuzzInput sends anything over a connection, before or after a login: as the bytes of the connection, or as the frames of a message. Whatever it is,
// no call fails inside the server, the connection ends when the client closes it, and somebody else is served as before.
func FuzzInput(f *testing.F) {
	login := im.AppendMessage(nil, &im.Frame{Id: 1, Method: im.Method_LOGIN}, device{user: "mallory"}.request())
	frames := func(m im.Method, body im.Body) []byte {
		return im.AppendMessage(nil, &im.Frame{Id: 2, Method: m}, body)
	}
	for _, b := range [][]byte{
		login,
		frames(im.Method_SEND, &im.SendRequest{Conv: key("alice"), ClientTime: 1700000000, Random: 1, Message: text("hi")}),
		frames(im.Method_HEADS, &im.HeadsRequest{Only: []*im.ConvKey{key("alice")}, WithLast: true}),
		frames(im.Method_PULL, &im.PullRequest{Conv: key("alice"), Epoch: 1, From: 1, To: 1 << 40}),
		frames(im.Method_READ, &im.ReadRequest{Positions: []*im.ReadPosition{{Conv: key("alice"), Epoch: 1, Seq: 1}}}),
		frames(im.Method_REVOKE, &im.RevokeRequest{Conv: key("alice"), Epoch: 1, Seq: 1}),
		frames(im.Method_KICKED_ACK, &im.Empty{}), frames(im.Method_LOGOUT, &im.Empty{}), frames(im.Method(4711), &im.Empty{}),
		{0x88, 0x80, 0, 0, 0, 0}, {0xff}, nil,
	} {
		for mode := range byte(4) {
			f.Add(mode, b)
		}
	}
	o := options{}
	o.gateway.FailuresPerUser, o.gateway.FailuresPerAddress, o.gateway.PerAddress = -1, -1, -1
	n := start(f, o)
	alice := n.login(device{user: "alice"})
	n.login(device{user: "mallory"})
	f.Fuzz(func(t *testing.T, mode byte, data []byte) {
		addr := n.http.Listener.Addr().String()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", addr, im.Subprotocol)
		var answer []byte
		for len(answer) < 4 || string(answer[len(answer)-4:]) != "\r\n\r\n" {
			var b [1]byte
			if _, err := c.Read(b[:]); err != nil {
				t.Fatal(err)
			}
			answer = append(answer, b[0])
		}
		if mode&1 != 0 {
			c.Write(append(header(uint64(len(login))), login...))
			var b [1]byte
			if _, err := c.Read(b[:]); err != nil {
				t.Fatal(err)
			}
		}
		if mode&2 != 0 {
			c.Write(header(uint64(len(data))))
		}
		c.Write(data)
		c.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, c); err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Fatal("the connection stays")
			}
		}
		var m dto.Metric
		if n.metrics.failures.Write(&m); m.GetCounter().GetValue() != 0 {
			t.Fatal("a call failed inside the server")
		}
		alice.t = t
		alice.call(im.Method_HEARTBEAT, &im.Empty{}, 0, nil)
		alice.pushes = nil
		alice.log = nil
	})
}
