package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tidings-im/tidings/im"
)

// heard takes the next push, which is a head, and expects it to be about a user.
func (c *conn) heard(about string) *im.Head {
	c.t.Helper()
	h := &im.Head{}
	c.push(im.Method_HEAD, h)
	if h.Conv.Id != about {
		c.t.Fatalf("a head of %q came, want %q", h.Conv.Id, about)
	}
	return h
}

func (c *conn) row(req *im.RowRequest) *im.Head {
	c.t.Helper()
	r := &im.RowReply{}
	c.call(im.Method_ROW, req, 0, r)
	return r.Head
}

// TestRow pins, and sets receive options: all devices of the caller are notified, the calling one after its reply; the peer is not.
func TestRow(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	phone := n.login(device{user: "alice", device: "phone", platform: im.Platform_PLATFORM_IOS})
	epoch := alice.send("bob", "hi").Epoch
	for _, c := range []*conn{bob, phone} {
		c.push(im.Method_ENTRY, nil)
	}
	h := alice.row(&im.RowRequest{Conv: key("bob"), Epoch: epoch, Pinned: proto.Bool(true), RecvOpt: proto.Int32(2)})
	if !h.Pinned || h.RecvOpt != 2 || h.Row != 2 || h.Seq != 1 || h.Hidden || h.ReadSeq != 0 {
		t.Fatalf("the answer is %v", h)
	}
	for _, c := range []*conn{alice, phone} {
		if got := c.heard("bob"); !proto.Equal(got, h) {
			t.Errorf("pushed %v, answered %v", got, h)
		}
	}
	if r := alice.log[len(alice.log)-2:]; r[0].Id == 0 || r[1].Id != 0 {
		t.Error("the push came before the answer")
	}
	bob.quiet()
	if again := alice.row(&im.RowRequest{Conv: key("bob"), Epoch: epoch, Pinned: proto.Bool(true)}); !proto.Equal(again, h) {
		t.Errorf("the same again is answered %v", again)
	}
	alice.quiet() // nothing changed, and nobody is notified
	phone.quiet()
	if got := phone.head("bob"); !got.Pinned || got.RecvOpt != 2 {
		t.Errorf("HEADS has %v", got)
	}
	if got := bob.head("alice"); got.Pinned || got.RecvOpt != 0 || got.Row != 1 {
		t.Errorf("the peer has %v", got)
	}
	if h = alice.row(&im.RowRequest{Conv: key("bob"), Epoch: epoch, Pinned: proto.Bool(false)}); h.Pinned || h.RecvOpt != 2 {
		t.Errorf("what was not named changed: %v", h)
	}
}

func TestRowRefusals(t *testing.T) {
	n := start(t, options{})
	alice, _ := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	epoch := alice.send("bob", "hi").Epoch
	for _, o := range []int32{-1, 5} {
		f := alice.call(im.Method_ROW, &im.RowRequest{Conv: key("bob"), Epoch: epoch, RecvOpt: proto.Int32(o)}, im.CodeInvalidParameters, nil)
		if !strings.Contains(f.Desc, "recv_opt") {
			t.Errorf("%q does not name the field", f.Desc)
		}
	}
	for _, c := range []struct {
		req  *im.RowRequest
		code int32
	}{
		{&im.RowRequest{Conv: key("bob"), Epoch: epoch, Hide: true}, im.CodeInvalidParameters},
		{&im.RowRequest{Conv: key("bob"), Epoch: epoch, ClearedSeq: proto.Uint64(2)}, im.CodeResync},
		{&im.RowRequest{Conv: key("bob"), Epoch: epoch + 1, Pinned: proto.Bool(true)}, im.CodeResync},
		{&im.RowRequest{Conv: key("bob"), Epoch: epoch + 1, RecvOpt: proto.Int32(1)}, im.CodeResync},
		{&im.RowRequest{Conv: key("bob"), Pinned: proto.Bool(true)}, im.CodeResync},
		{&im.RowRequest{Conv: key("nobody"), Pinned: proto.Bool(true)}, im.CodeResync},
		{&im.RowRequest{Conv: key("nobody"), RecvOpt: proto.Int32(1)}, im.CodeUnknownReceiver},
		{&im.RowRequest{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: "g"}, RecvOpt: proto.Int32(1)}, im.CodeNoGroup},
	} {
		alice.call(im.Method_ROW, c.req, c.code, nil)
	}
	if h := alice.head("bob"); h.Row != 1 {
		t.Errorf("a refused call changed the row: %v", h)
	}
	alice.quiet()
}

// TestRecvOptBeforeTheFirstMessage: the option creates the conversation, the caller's devices are notified of it, and the peer is not.
func TestRecvOptBeforeTheFirstMessage(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	h := alice.row(&im.RowRequest{Conv: key("bob"), RecvOpt: proto.Int32(4)})
	if h.RecvOpt != 4 || h.Epoch == 0 || h.Seq != 0 {
		t.Fatalf("answered %v", h)
	}
	alice.heard("bob")
	phone := n.login(device{user: "alice", device: "phone", platform: im.Platform_PLATFORM_IOS})
	if r := phone.heads(&im.HeadsRequest{}); len(r.Heads) != 1 || r.Heads[0].RecvOpt != 4 {
		t.Errorf("a fresh device gets %v", r.Heads)
	}
	if r := bob.heads(&im.HeadsRequest{}); len(r.Heads) != 0 {
		t.Errorf("the peer gets %v", r.Heads)
	}
	// Once more, by a device that does not know the conversation.
	if again := phone.row(&im.RowRequest{Conv: key("bob"), RecvOpt: proto.Int32(1)}); again.Epoch != h.Epoch || again.RecvOpt != 1 {
		t.Errorf("answered %v", again)
	}
	if r := alice.send("bob", "hi"); r.Epoch != h.Epoch || r.Entry.Seq != 1 {
		t.Errorf("the first message is %v", r)
	}
	bob.push(im.Method_ENTRY, nil)
}

func TestFiftyPinned(t *testing.T) {
	n := start(t, options{})
	alice := n.login(device{user: "alice"})
	pin := func(i int, code int32) {
		t.Helper()
		name := fmt.Sprintf("peer%d", i)
		if _, err := n.rules.Account(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		r := &im.SendReply{}
		alice.call(im.Method_SEND, &im.SendRequest{Conv: key(name), ClientTime: 1700000000, Random: uint32(i), Message: text("hi")}, 0, r)
		alice.call(im.Method_ROW, &im.RowRequest{Conv: key(name), Epoch: r.Epoch, Pinned: proto.Bool(true)}, code, nil)
	}
	for i := range 50 {
		pin(i, 0)
	}
	pin(50, im.CodeTooManyPinned)
	h := alice.head("peer7")
	alice.row(&im.RowRequest{Conv: key("peer7"), Epoch: h.Epoch, RecvOpt: proto.Int32(1)}) // a row that is pinned already may change
	alice.row(&im.RowRequest{Conv: key("peer7"), Epoch: h.Epoch, ClearedSeq: proto.Uint64(1), Hide: true})
	h = alice.head("peer50")
	alice.call(im.Method_ROW, &im.RowRequest{Conv: key("peer50"), Epoch: h.Epoch, Pinned: proto.Bool(true)}, 0, nil)
}

// TestClearReads: what was cleared is read as well; the peer gets the receipt; a message that arrived in the meantime stays.
func TestClearReads(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	var epoch uint64
	for range 3 {
		epoch = alice.send("bob", "hi").Epoch
		bob.push(im.Method_ENTRY, nil)
	}
	// Two were applied when the user cleared; the third was on its way.
	h := bob.row(&im.RowRequest{Conv: key("alice"), Epoch: epoch, ClearedSeq: proto.Uint64(2)})
	if h.ClearedSeq != 2 || h.ReadSeq != 2 || h.Unread != 1 || h.Hidden {
		t.Fatalf("answered %v", h)
	}
	bob.heard("alice")
	if r := alice.heard("bob"); r.PeerReadSeq != 2 || r.PeerReadTime == 0 || r.ClearedSeq != 0 {
		t.Errorf("the peer hears %v", r)
	}
	pull := &im.PullReply{}
	bob.call(im.Method_PULL, &im.PullRequest{Conv: key("alice"), Epoch: epoch, From: 1, To: 3}, 0, pull)
	if len(pull.Entries) != 1 || pull.Entries[0].Seq != 3 || pull.From != 1 || pull.To != 3 {
		t.Errorf("pulled %v", pull)
	}
	// An older device's clear, and one of what is already read: never back, and no receipt.
	if h := bob.row(&im.RowRequest{Conv: key("alice"), Epoch: epoch, ClearedSeq: proto.Uint64(1)}); h.ClearedSeq != 2 || h.ReadSeq != 2 {
		t.Errorf("the position went back: %v", h)
	}
	bob.call(im.Method_READ, &im.ReadRequest{Positions: []*im.ReadPosition{{Conv: key("alice"), Epoch: epoch, Seq: 3}}}, 0, nil)
	bob.heard("alice")
	alice.heard("bob")
	if h := bob.row(&im.RowRequest{Conv: key("alice"), Epoch: epoch, ClearedSeq: proto.Uint64(3)}); h.ClearedSeq != 3 || h.Unread != 0 {
		t.Errorf("answered %v", h)
	}
	bob.heard("alice")
	alice.quiet()
	pull = &im.PullReply{}
	alice.call(im.Method_PULL, &im.PullRequest{Conv: key("bob"), Epoch: epoch, From: 1, To: 3}, 0, pull)
	if len(pull.Entries) != 3 {
		t.Errorf("the peer has %d entries left", len(pull.Entries))
	}
}

// TestHidden: a deleted conversation is off the list until the next message, which costs no write to the row.
func TestHidden(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	epoch := alice.send("bob", "one").Epoch
	bob.push(im.Method_ENTRY, nil)
	bob.row(&im.RowRequest{Conv: key("alice"), Epoch: epoch, Pinned: proto.Bool(true)})
	bob.heard("alice")
	hide := func(seq uint64) *im.Head {
		t.Helper()
		h := bob.row(&im.RowRequest{Conv: key("alice"), Epoch: epoch, ClearedSeq: &seq, Hide: true})
		bob.heard("alice")
		return h
	}
	if h := hide(1); !h.Hidden || h.Pinned || h.ClearedSeq != 1 || h.ReadSeq != 1 {
		t.Fatalf("answered %v", h)
	}
	row := bob.head("alice")
	if !row.Hidden || row.Last != nil {
		t.Fatalf("HEADS has %v", row)
	}
	alice.heard("bob")
	alice.send("bob", "two")
	bob.push(im.Method_ENTRY, nil)
	if h := bob.head("alice"); h.Hidden || h.Row != row.Row || h.Last.GetSeq() != 2 || h.Unread != 1 {
		t.Errorf("after a message: %v", h)
	}
	// Cleared, not deleted: it had come back, and stays on the list.
	if h := bob.row(&im.RowRequest{Conv: key("alice"), Epoch: epoch, ClearedSeq: proto.Uint64(2)}); h.Hidden {
		t.Errorf("clearing hid it again: %v", h)
	}
	bob.heard("alice")
	alice.heard("bob")
	// Deleted while a message was on its way: it stays.
	alice.send("bob", "three")
	bob.push(im.Method_ENTRY, nil)
	if h := hide(2); h.Hidden || h.ClearedSeq != 2 {
		t.Errorf("a message that had not been seen is hidden: %v", h)
	}
	if h := hide(3); !h.Hidden {
		t.Errorf("answered %v", h)
	}
}

func TestDelete(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	phone := n.login(device{user: "bob", device: "phone", platform: im.Platform_PLATFORM_IOS})
	var epoch uint64
	for i := range 4 {
		epoch = alice.send("bob", fmt.Sprint(i+1)).Epoch
		bob.push(im.Method_ENTRY, nil)
		phone.push(im.Method_ENTRY, nil)
	}
	bob.call(im.Method_DELETE, &im.DeleteRequest{Conv: key("alice"), Epoch: epoch, Seqs: []uint64{4, 2}}, 0, &im.Empty{})
	bob.call(im.Method_DELETE, &im.DeleteRequest{Conv: key("alice"), Epoch: epoch, Seqs: []uint64{2}}, 0, &im.Empty{})
	for _, c := range []*conn{alice, bob, phone} {
		c.quiet()
	}
	seqs := func(c *conn, peer string, from, to uint64, newest bool, limit uint32) (out []uint64, r *im.PullReply) {
		t.Helper()
		r = &im.PullReply{}
		c.call(im.Method_PULL, &im.PullRequest{Conv: key(peer), Epoch: epoch, From: from, To: to, NewestFirst: newest, Limit: limit}, 0, r)
		for _, e := range r.Entries {
			out = append(out, e.Seq)
		}
		return out, r
	}
	if got, r := seqs(phone, "alice", 1, 4, false, 0); !slices.Equal(got, []uint64{1, 3}) || r.From != 1 || r.To != 4 {
		t.Errorf("pulled %v of %d to %d", got, r.From, r.To)
	}
	if got, r := seqs(bob, "alice", 1, 4, true, 2); !slices.Equal(got, []uint64{3}) || r.From != 3 || r.To != 4 {
		t.Errorf("pulled %v of %d to %d", got, r.From, r.To)
	}
	if got, r := seqs(bob, "alice", 2, 2, false, 0); len(got) != 0 || r.From != 2 || r.To != 2 {
		t.Errorf("pulled %v of %d to %d", got, r.From, r.To)
	}
	if got, _ := seqs(alice, "bob", 1, 4, false, 0); len(got) != 4 {
		t.Errorf("the sender has %v", got)
	}
	if h := phone.head("alice"); h.Last != nil || h.Unread != 4 || h.Seq != 4 {
		t.Errorf("head %v", h)
	}
	if h := alice.head("bob"); h.Last.GetSeq() != 4 {
		t.Errorf("the sender's head %v", h)
	}

	bob.call(im.Method_DELETE, &im.DeleteRequest{Conv: key("alice"), Epoch: epoch, Seqs: make([]uint64, 51)}, im.CodeInvalidParameters, nil)
	bob.call(im.Method_DELETE, &im.DeleteRequest{Conv: key("alice"), Epoch: epoch, Seqs: []uint64{0}}, im.CodeInvalidParameters, nil)
	bob.call(im.Method_DELETE, &im.DeleteRequest{Conv: key("alice"), Epoch: epoch, Seqs: []uint64{1, 5}}, im.CodeResync, nil)
	bob.call(im.Method_DELETE, &im.DeleteRequest{Conv: key("alice"), Epoch: epoch + 1, Seqs: []uint64{1}}, im.CodeResync, nil)
	if got, _ := seqs(bob, "alice", 1, 4, false, 0); len(got) != 2 {
		t.Errorf("a refused call deleted something: %v", got)
	}
}
