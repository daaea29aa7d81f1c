package server

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// TestOldData: a server accepts the data folder of an older one, and a new device of its user gets what is in it.
func TestOldData(t *testing.T) {
	b, err := os.ReadFile("../store/testdata/v1.db")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "tidings.db"), b)
	write(t, filepath.Join(dir, secretFile), []byte("the key of an old server\n"))
	s := start(t, dir)
	defer stop(t, s)
	bob := dial(t, s, "bob", client.Events{})
	defer bob.Close()
	ms, err := bob.Messages(t.Context(), client.C2C("alice"), &im.GetMsgListParam{Count: 100})
	if err != nil || len(ms) != 25 || im.TextOf(ms[0]) != "b5" || im.TextOf(ms[24]) != "a1" || ms[22].Status != im.MessageStatus_MESSAGE_STATUS_REVOKED {
		t.Fatalf("%d messages, %v: %v", len(ms), err, ms)
	}
	if m, err := bob.SendMessage(t.Context(), client.C2C("alice"), im.Text("still here")); err != nil || m.Seq != 26 {
		t.Error(m, err)
	}
}

// dial logs a user in on a device of its own, and waits for the end of its sync.
func dial(t *testing.T, s *Server, user string, ev client.Events) *client.Client {
	t.Helper()
	synced := make(chan struct{})
	ev.Conversations = func(e client.ConvEvent, _ []*im.ConvInfo) {
		if e == client.ConvSyncFinish {
			close(synced)
		}
	}
	sig, err := s.Sig(user, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(t.Context(), client.Config{Server: s.URL(), UserID: user, UserSig: sig, Dir: t.TempDir(),
		Log: slog.New(slog.DiscardHandler)}, ev)
	if err != nil {
		t.Fatal(err)
	}
	<-synced
	return c
}

// frame, uint and text write the wire by hand, with the numbers of its first version. They must not change when the contract grows: a client that was
// built then knows no others.
func frame(id, method uint64, body []byte) []byte {
	f := uint(uint(nil, 1, id), 2, method)
	f = bytesField(f, 3, body)
	return append(protowire.AppendVarint(nil, uint64(len(f))), f...)
}

func uint(b []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func bytesField(b []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

func text(b []byte, num protowire.Number, v string) []byte { return bytesField(b, num, []byte(v)) }

// fields splits a message; of a repeated field the last one counts, and unknown fields are skipped.
type fields map[protowire.Number]any

func parse(t *testing.T, b []byte) fields {
	t.Helper()
	f := fields{}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal("a field cannot be read")
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(num, typ, b)
		if n < 0 {
			t.Fatal("a value cannot be read")
		}
		switch typ {
		case protowire.VarintType:
			v, _ := protowire.ConsumeVarint(b)
			f[num] = v
		case protowire.BytesType:
			v, _ := protowire.ConsumeBytes(b)
			f[num] = v
		}
		b = b[n:]
	}
	return f
}

func (f fields) num(n protowire.Number) uint64 { v, _ := f[n].(uint64); return v }
func (f fields) sub(t *testing.T, n protowire.Number) fields {
	t.Helper()
	v, _ := f[n].([]byte)
	return parse(t, v)
}

// oldClient is a client of the first version of the wire.
type oldClient struct {
	t  *testing.T
	ws *websocket.Conn
	id uint64
	in []fields
}

func (c *oldClient) next() fields {
	c.t.Helper()
	for len(c.in) == 0 {
		_, b, err := c.ws.Read(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		for len(b) > 0 {
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				c.t.Fatal("a message cannot be taken apart")
			}
			c.in = append(c.in, parse(c.t, v))
			b = b[n:]
		}
	}
	f := c.in[0]
	c.in = c.in[1:]
	return f
}

// call waits for the reply and skips pushes, known or not.
func (c *oldClient) call(method uint64, body []byte) fields {
	c.t.Helper()
	c.id++
	if err := c.ws.Write(c.t.Context(), websocket.MessageBinary, frame(c.id, method, body)); err != nil {
		c.t.Fatal(err)
	}
	for {
		f := c.next()
		if f.num(1) != c.id {
			continue
		}
		if f.num(2) != method {
			c.t.Fatalf("method %d was answered as %d", method, f.num(2))
		}
		return f
	}
}

func (c *oldClient) ok(method uint64, body []byte) fields {
	c.t.Helper()
	f := c.call(method, body)
	if f.num(4) != 0 {
		c.t.Fatalf("method %d: code %d, %s", method, f.num(4), f[5])
	}
	return f.sub(c.t, 3)
}

// TestOldClient: a client that knows only the first methods and fields logs in, sends, pulls, reads and gets events, while today's clients change
// things that it does not know. The server reports methods that it does not know and continues; it skips fields that it does not know.
func TestOldClient(t *testing.T) {
	s := start(t, t.TempDir())
	defer stop(t, s)
	bob := dial(t, s, "bob", client.Events{})
	defer bob.Close()
	ws, _, err := websocket.Dial(t.Context(), s.URL()+"/ws", &websocket.DialOptions{Subprotocols: []string{"tidings.v1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	old := &oldClient{t: t, ws: ws}
	sig, err := s.Sig("alice", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	login := uint(text(text(text(nil, 1, "alice"), 2, sig), 3, "an old device"), 4, 6)
	r := old.ok(1, text(login, 999, "of a client that is newer than the server"))
	if r.num(1) == 0 || len(r[3].([]byte)) == 0 || r.num(4) == 0 || r.num(7) != 30 {
		t.Fatal("login:", r)
	}
	key := text(uint(nil, 1, 1), 2, "bob")
	for i := range uint64(3) {
		elem := bytesField(uint(nil, 1, 0), 2, text(nil, 1, fmt.Sprint("m", i+1)))
		send := bytesField(uint(uint(bytesField(nil, 1, key), 2, 1700000000), 3, i+1), 4, bytesField(nil, 1, elem))
		if r := old.ok(4, uint(send, 999, 1)); r.sub(t, 2).num(1) != i+1 {
			t.Fatal("send:", r)
		}
	}
	// Today's client replies, and changes the message and the conversation.
	m, err := bob.SendMessage(t.Context(), client.C2C("alice"), im.Text("hello"))
	if err != nil {
		t.Fatal(err)
	}
	m.CloudCustomStr = "changed"
	if _, err := bob.ModifyMessage(t.Context(), client.C2C("alice"), m); err != nil {
		t.Fatal(err)
	}
	if err := bob.PinConversation(t.Context(), client.C2C("alice"), true); err != nil {
		t.Fatal(err)
	}
	head := old.ok(7, nil).sub(t, 1)
	if head.num(3) != 4 || head.num(12) != 1 {
		t.Fatal("heads:", head)
	}
	epoch := head.num(2)
	pull := old.ok(5, uint(uint(uint(bytesField(nil, 1, key), 2, epoch), 3, 1), 4, 4))
	if pull.num(2) != 1 || pull.num(3) != 4 || pull.sub(t, 4).num(1) != 4 {
		t.Fatal("pull:", pull)
	}
	changes := old.ok(6, uint(uint(uint(bytesField(nil, 1, key), 2, epoch), 3, 1), 4, head.num(4)))
	if changes.num(3) != head.num(4) {
		t.Fatal("changes:", changes)
	}
	read := old.ok(8, bytesField(nil, 1, uint(uint(bytesField(nil, 1, key), 2, epoch), 3, 4)))
	if read.sub(t, 1).num(12) != 0 {
		t.Fatal("read:", read)
	}
	if r := old.call(4711, []byte("?")); r.num(4) != im.CodeBadRequest {
		t.Fatal("a method that nobody knows:", r)
	}
	if beat := old.ok(3, nil); beat.num(3) == 0 {
		t.Fatal("heartbeat:", beat)
	}
	old.ok(2, nil)
}
