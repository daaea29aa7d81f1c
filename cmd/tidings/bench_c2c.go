package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/usersig"
)

// benchC2C measures a server with bare connections, which speak the wire without the SDK, or with the SDK.
func benchC2C(ctx context.Context, o *benchOptions) (*benchResult, error) {
	const key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	ch, err := startChild(ctx, o, func(addr, dir string) []string {
		return []string{"serve", "--listen", addr, "--data", dir, "--secret-key", key, "--log-level", "warn", "--postgres", o.postgres}
	})
	if err != nil {
		return nil, err
	}
	defer ch.stop()
	name := "c2c"
	if o.sdk {
		name = "c2c-sdk"
	}
	if o.postgres != "" {
		name += "-pg"
	}
	r := &benchResult{Bench: name, StartMillis: round(float64(ch.took.Microseconds())/1000, 1)}
	links := make([]link, o.users)
	for i := range links {
		name, peer := fmt.Sprintf("u%04d", i), fmt.Sprintf("u%04d", i^1)
		if o.sdk {
			if links[i], err = dialSDK(ctx, ch, key, name, peer); err != nil {
				return nil, err
			}
			continue
		}
		sig, err := usersig.Sign(server.DefaultAppID, key, name, time.Hour, time.Now())
		if err != nil {
			return nil, err
		}
		l, err := dialRaw(ch.addr)
		if err != nil {
			return nil, err
		}
		l.peer = peer
		if err := l.login(name, sig); err != nil {
			return nil, err
		}
		links[i] = l
	}
	return r, load(ctx, links, o, ch, r)
}

// rawLink is a WebSocket connection with the bare minimum.
type rawLink struct {
	net.Conn
	r     *bufio.Reader
	buf   []byte
	out   []byte
	peer  string
	epoch uint64
}

func dialRaw(addr string) (*rawLink, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return upgradeRaw(conn, addr, 16<<10)
}

// upgradeRaw upgrades a connection to a WebSocket.
func upgradeRaw(conn net.Conn, addr string, buffer int) (*rawLink, error) {
	l := &rawLink{Conn: conn, r: bufio.NewReaderSize(conn, buffer), epoch: uint64(time.Now().Unix())}
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", addr, im.Subprotocol)
	resp, err := http.ReadResponse(l.r, nil)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("bench: the server answered %s", resp.Status)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return l, nil
}

func (l *rawLink) login(user, sig string) error {
	req := &im.LoginRequest{UserId: user, UserSig: sig, DeviceId: "bench-" + user, Platform: im.Platform_PLATFORM_LINUX}
	_, err := l.loginAs(req)
	return err
}

func (l *rawLink) loginAs(req *im.LoginRequest) (*im.LoginReply, error) {
	if err := l.write(im.AppendMessage(nil, &im.Frame{Id: 1, Method: im.Method_LOGIN}, req)); err != nil {
		return nil, err
	}
	msg, err := l.message()
	if err != nil {
		return nil, err
	}
	reply := &im.LoginReply{}
	return reply, im.ReadFrames(msg, func(f *im.Frame) error {
		switch {
		case f.Code != 0:
			return im.Errorf(f.Code, "%s", f.Desc)
		case f.Method != im.Method_LOGIN: // a push right behind the reply
			return nil
		}
		return reply.UnmarshalVT(f.Body)
	})
}

func (l *rawLink) appendSend(b []byte, n uint64, text []byte) []byte {
	req := im.SendRequest{
		Conv:       &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: l.peer},
		ClientTime: l.epoch, Random: uint32(n),
		Message: &im.Message{ElemArray: []*im.Elem{{Body: &im.Elem_Text{Text: &im.TextElem{Content: string(text)}}}}},
	}
	return im.AppendMessage(b, &im.Frame{Id: n + 2, Method: im.Method_SEND}, &req)
}

// write sends a binary message, masked with zeros.
func (l *rawLink) write(b []byte) error {
	out := append(l.out[:0], 0x82)
	switch n := len(b); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	out = append(append(out, 0, 0, 0, 0), b...)
	l.out = out
	_, err := l.Write(out)
	return err
}

// message reads a message of the server, which never fragments one; it is valid until the next.
func (l *rawLink) message() ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(l.r, head[:]); err != nil {
		return nil, err
	}
	n := uint64(head[1])
	var ext [8]byte
	switch n {
	case 126:
		if _, err := io.ReadFull(l.r, ext[:2]); err != nil {
			return nil, err
		}
		n = uint64(binary.BigEndian.Uint16(ext[:2]))
	case 127:
		if _, err := io.ReadFull(l.r, ext[:]); err != nil {
			return nil, err
		}
		n = binary.BigEndian.Uint64(ext[:])
	}
	if uint64(cap(l.buf)) < n {
		l.buf = make([]byte, n, n*2)
	}
	l.buf = l.buf[:n]
	_, err := io.ReadFull(l.r, l.buf)
	if err == nil && head[0] != 0x82 {
		err = fmt.Errorf("bench: the server closed the connection: %q", l.buf)
	}
	return l.buf, err
}

func (l *rawLink) read(acked func() error, got func([]byte) error) error {
	msg, err := l.message()
	if err != nil {
		return err
	}
	return im.ReadFrames(msg, func(f *im.Frame) error {
		switch {
		case f.Code != 0:
			return im.Errorf(f.Code, "%s", f.Desc)
		case f.Method == im.Method_SEND:
			return acked()
		case f.Method == im.Method_ENTRY:
			i := bytes.Index(f.Body, []byte(textMark))
			if i < 0 {
				return fmt.Errorf("bench: an entry without a text of this run")
			}
			return got(f.Body[i:])
		}
		return nil
	})
}
