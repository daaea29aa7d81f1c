package gateway

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/tidings-im/tidings/im"
)

// newRand draws a seed and logs it; TIDINGS_SEED runs one again.
func newRand(t testing.TB) *rand.Rand {
	seed := new(maphash.Hash).Sum64()
	if s := os.Getenv("TIDINGS_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// Rule 12: the order of calls is the order of seq in each conversation, even if the first message creates the conversation, and although nobody waits
// for anybody.
func TestOrderOfCallsIsOrderOfSeq(t *testing.T) {
	n := start(t, options{})
	const peers, each = 20, 100
	alice := n.login(device{user: "alice"})
	for i := range peers {
		if _, err := n.store.CreateUser(t.Context(), user(i)); err != nil {
			t.Fatal(err)
		}
	}
	type sent struct {
		to string
		n  int
	}
	calls := map[uint64]sent{}
	var batch []byte
	for k := range each {
		for i := range peers {
			alice.id++
			calls[alice.id] = sent{user(i), k}
			req := alice.request(user(i), strconv.Itoa(k))
			req.Random = uint32(k)
			batch = im.AppendMessage(batch, &im.Frame{Id: alice.id, Method: im.Method_SEND}, req)
		}
	}
	alice.write(batch) // all at once
	for range calls {
		f := alice.take()
		var r im.SendReply
		if f.Code != 0 || r.UnmarshalVT(f.Body) != nil {
			t.Fatal(f)
		}
		if c := calls[f.Id]; r.Entry.Seq != uint64(c.n+1) {
			t.Fatalf("message %d to %s has seq %d", c.n, c.to, r.Entry.Seq)
		}
	}
}

// A message to an unknown user, or a refused one, does not delay the others.
func TestRefusedAmongOthers(t *testing.T) {
	n := start(t, options{})
	n.login(device{user: "bob"})
	alice := n.login(device{user: "alice"})
	var ids []uint64
	for i := range 30 {
		to := []string{"bob", "nobody", "ghost"}[i%3]
		ids = append(ids, alice.begin(im.Method_SEND, alice.request(to, fmt.Sprint(i))))
	}
	for i, id := range ids {
		want := int32(0)
		if i%3 > 0 {
			want = im.CodeUnknownReceiver
		}
		// Replies for different conversations may arrive in any order.
		f := findReply(alice, id)
		if f.Code != want {
			t.Errorf("message %d is answered %d, want %d", i, f.Code, want)
		}
	}
	if h := alice.head("bob"); h.Seq != 10 {
		t.Errorf("head %v", h)
	}
}

func findReply(c *conn, id uint64) *im.Frame {
	c.t.Helper()
	for _, f := range c.log {
		if f.Id == id {
			return f
		}
	}
	for {
		f := c.take()
		if f == nil {
			c.t.Fatal("the connection was closed")
		}
		if f.Id == id {
			return f
		}
	}
}

// Rule 12: a device's new connection fences the old one. What the old one had sent is stored and answered before the login is, so that what is sent
// again meets its own key; nothing gets in afterwards.
func TestFence(t *testing.T) {
	n := start(t, options{})
	n.login(device{user: "bob"})
	const rounds, each = 30, 40
	d := device{user: "alice"}
	old := n.login(d)
	d.resume, d.generation = true, old.reply.Generation
	k := 0
	for round := range rounds {
		requests := make([]*im.SendRequest, each)
		var batch []byte
		for i := range requests {
			requests[i] = &im.SendRequest{Conv: key("bob"), ClientTime: 1700000000, Random: uint32(k + i), Message: text(strconv.Itoa(k + i))}
			batch = im.AppendMessage(batch, &im.Frame{Id: uint64(1000 + i), Method: im.Method_SEND}, requests[i])
		}
		old.write(batch)
		next := n.login(d)
		// This one sends again what the old one did not get in; everything is in order and present once.
		for i, r := range requests {
			next.write(im.AppendMessage(nil, &im.Frame{Id: uint64(5000 + i), Method: im.Method_SEND, Resent: true}, r))
		}
		for i := range requests {
			var r im.SendReply
			f := next.await(uint64(5000 + i))
			if f.Code != 0 || r.UnmarshalVT(f.Body) != nil || r.Entry.Seq != uint64(k+i+1) {
				t.Fatalf("round %d: message %d is answered %v", round, i, f)
			}
		}
		old.closed(closeReplaced)
		old, k = next, k+each
	}
	if h := old.head("bob"); h.Seq != rounds*each {
		t.Errorf("head %v", h)
	}
}

// Stopping answers what was taken, and notifies the clients.
func TestDrain(t *testing.T) {
	dir := t.TempDir()
	n := start(t, options{dir: dir})
	bob := n.login(device{user: "bob"})
	alice := n.login(device{user: "alice"})
	for i := range 500 {
		alice.begin(im.Method_SEND, alice.request("bob", strconv.Itoa(i)))
	}
	alice.await(1 + 100) // in the middle of it
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		n.stop()
	}()
	alice.closed(closeGoingAway)
	bob.closed(closeGoingAway)
	<-stopped
	acked := uint64(0)
	for _, f := range alice.log {
		if f.Method == im.Method_SEND && f.Code == 0 {
			acked++
		}
	}
	n = start(t, options{dir: dir})
	alice = n.login(device{user: "alice"})
	if h := alice.head("bob"); h.Seq != acked {
		t.Errorf("%d are stored, %d were acknowledged", h.Seq, acked)
	}
}
