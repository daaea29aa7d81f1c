package gateway

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
)

// TestBodiesAreBounded: every call has its own limit for its size, and a larger one is refused unread. A body that would expand when it is decoded is
// refused as well, and so is what JSON cannot express.
func TestBodiesAreBounded(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	epoch := alice.send("bob", "hi").Epoch
	bob.push(im.Method_ENTRY, nil)
	raw := func(m im.Method, body []byte, code int32, says string) {
		t.Helper()
		alice.id++
		alice.write(im.AppendFrame(nil, &im.Frame{Id: alice.id, Method: m, Body: body}))
		if f := alice.await(alice.id); f.Code != code || !strings.Contains(f.Desc, says) {
			t.Errorf("%s of %d bytes is answered %d (%s), want %d with %q", m, len(body), f.Code, f.Desc, code, says)
		}
	}
	for number := range im.Method_name {
		m := im.Method(number)
		info, ok := m.Info()
		if !ok || info.NewRequest == nil || info.BeforeLogin {
			continue
		}
		if info.MaxBody < 1 || info.MaxBody > im.MaxMessage {
			t.Errorf("a %s has up to %d bytes", m, info.MaxBody)
		}
		if info.MaxBody+100 < im.MaxMessage {
			raw(m, make([]byte, info.MaxBody+1), im.CodeMessageSize, info.Name)
		}
	}
	empty := strings.Repeat("\x0a\x00", 130_000)
	message := append([]byte{5<<3 | 2, 0xa0, 0xde, 0x0f}, empty...) // 260,000 bytes
	raw(im.Method_MODIFY, message, im.CodeInvalidParameters, "message_elem_array")
	raw(im.Method_READ, []byte(empty), im.CodeInvalidParameters, "positions")
	raw(im.Method_LOOKUP, []byte(empty[:60_000]), im.CodeInvalidParameters, "keys")
	for _, bad := range []*im.Message{im.Location("nowhere", math.NaN(), 0), im.Location("", 0, math.Inf(1)), im.Text("\xff")} {
		req := alice.request("bob", "x")
		req.Message = bad
		alice.call(im.Method_SEND, req, im.CodeInvalidParameters, nil)
		alice.call(im.Method_MODIFY, &im.ModifyRequest{Conv: key("bob"), Epoch: epoch, Seq: 1, Message: bad}, im.CodeInvalidParameters, nil)
	}
	bob.quiet()
}

// TestDecodingIsBounded: everything that is being decoded shares one budget. A large call waits while others hold it, small calls do not, and it is
// answered when there is room, however large it is.
func TestDecodingIsBounded(t *testing.T) {
	o := options{}
	o.gateway.Decoding = 64 << 10
	n := start(t, o)
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	epoch := alice.send("bob", "hi").Epoch
	if !n.decoding.TryAcquire(o.gateway.Decoding / 2) { // others
		t.Fatal("the budget is used")
	}
	req := &im.ReadRequest{}
	for range 2000 {
		req.Positions = append(req.Positions, &im.ReadPosition{Conv: key("alice"), Epoch: epoch, Seq: 1})
	}
	id := bob.begin(im.Method_READ, req)
	for deadline := time.Now().Add(patience); n.decoding.TryAcquire(1); { // nobody is let in before one who waits
		n.decoding.Release(1)
		if time.Now().After(deadline) {
			t.Fatal("the large call does not wait")
		}
		alice.call(im.Method_HEARTBEAT, &im.Empty{}, 0, nil)
	}
	alice.call(im.Method_HEADS, &im.HeadsRequest{}, 0, nil)
	alice.send("bob", "sends are not decoded")
	n.decoding.Release(o.gateway.Decoding / 2)
	r := &im.ReadReply{}
	if f := bob.await(id); f.Code != 0 || r.UnmarshalVT(f.Body) != nil || len(r.Heads) != 2000 {
		t.Errorf("answered %d with %d heads", f.Code, len(r.Heads))
	}
}
