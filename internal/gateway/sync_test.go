package gateway

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// Rule 5: the same key again gets the first reply, on whatever connection it arrives; another body is an error.
func TestSameKeySameAnswer(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	req := alice.request("bob", "once")
	var first, second im.SendReply
	alice.call(im.Method_SEND, req, 0, &first)
	alice.call(im.Method_SEND, req, 0, &second)
	if !proto.Equal(&first, &second) {
		t.Fatalf("first %v, then %v", &first, &second)
	}
	// In flight together.
	req = alice.request("bob", "twice")
	a, b := alice.begin(im.Method_SEND, req), alice.begin(im.Method_SEND, req)
	if fa, fb := alice.await(a), alice.await(b); !slices.Equal(fa.Body, fb.Body) || fa.Code != 0 {
		t.Fatalf("%v and %v", fa, fb)
	}
	alice = n.login(device{user: "alice", resume: true, generation: alice.reply.Generation})
	alice.id = 100
	alice.write(im.AppendMessage(nil, &im.Frame{Id: 101, Method: im.Method_SEND, Resent: true}, req))
	if f := alice.await(101); f.Code != 0 {
		t.Fatal(f)
	}
	req.Message = text("other")
	alice.id = 101
	alice.call(im.Method_SEND, req, im.CodeInvalidParameters, nil)
	for range 2 {
		bob.push(im.Method_ENTRY, nil)
	}
	bob.quiet()
	if h := bob.head("alice"); h.Seq != 2 || h.Unread != 2 {
		t.Errorf("head %v", h)
	}
	var found im.LookupReply
	alice.call(im.Method_LOOKUP, &im.LookupRequest{Keys: []*im.SendKey{
		{Conv: key("bob"), ClientTime: req.ClientTime, Random: req.Random},
		{Conv: key("bob"), ClientTime: req.ClientTime, Random: 12345},
		{Conv: key("nobody"), ClientTime: 1, Random: 1},
	}}, 0, &found)
	if len(found.Found) != 3 || found.Found[0].GetEntry().GetSeq() != 2 || found.Found[1].Entry != nil || found.Found[2].Entry != nil {
		t.Errorf("found %v", &found)
	}
}

// Rule 6: a read position names what the client had applied, and never runs back; another log is a resync.
func TestReadCommutesWithArrivals(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	epoch := alice.send("bob", "1").Epoch
	for range 4 {
		alice.send("bob", "more")
	}
	read := func(epoch, seq uint64, code int32) *im.Head {
		t.Helper()
		var r im.ReadReply
		bob.call(im.Method_READ, &im.ReadRequest{Positions: []*im.ReadPosition{{Conv: key("alice"), Epoch: epoch, Seq: seq}}}, code, &r)
		if code != 0 {
			return nil
		}
		return r.Heads[0]
	}
	for _, step := range []struct{ named, read, unread uint64 }{{2, 2, 3}, {1, 2, 3}, {2, 2, 3}, {4, 4, 1}, {3, 4, 1}} {
		if h := read(epoch, step.named, 0); h.ReadSeq != step.read || h.Unread != step.unread || h.ReadTime == 0 {
			t.Errorf("naming %d gives %v", step.named, h)
		}
	}
	read(epoch, 6, im.CodeResync)
	read(epoch+1, 4, im.CodeResync)
	if h := bob.head("alice"); h.ReadSeq != 4 {
		t.Errorf("a refused position moved %v", h)
	}
	for _, r := range []*im.PullRequest{
		{Conv: key("alice"), Epoch: epoch, From: 5, To: 6}, {Conv: key("alice"), Epoch: epoch + 1, From: 1, To: 1},
	} {
		bob.call(im.Method_PULL, r, im.CodeResync, nil)
	}
	bob.call(im.Method_CHANGES, &im.ChangesRequest{Conv: key("alice"), Epoch: epoch, From: 1, To: 1}, im.CodeResync, nil)
	bob.call(im.Method_PULL, &im.PullRequest{Conv: key("alice"), Epoch: epoch, From: 0, To: 1}, im.CodeInvalidParameters, nil)
}

// Rule 3: a reply says which closed range it covers.
func TestPullCoversRanges(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	const total = 1203
	var epoch uint64
	for range total {
		alice.begin(im.Method_SEND, alice.request("bob", "x"))
	}
	f := alice.await(alice.id)
	var last im.SendReply
	if err := last.UnmarshalVT(f.Body); err != nil {
		t.Fatal(err)
	}
	epoch = last.Epoch
	for _, newest := range []bool{false, true} {
		seen := map[uint64]int{}
		from, to := uint64(1), uint64(total)
		for from <= to {
			var r im.PullReply
			bob.call(im.Method_PULL, &im.PullRequest{Conv: key("alice"), Epoch: epoch, From: from, To: to, NewestFirst: newest}, 0, &r)
			for _, e := range r.Entries {
				if e.Seq < r.From || e.Seq > r.To {
					t.Fatalf("%d is outside of %d to %d", e.Seq, r.From, r.To)
				}
				seen[e.Seq]++
			}
			if newest {
				if r.To != to {
					t.Fatalf("asked for what ends at %d, got %d to %d", to, r.From, r.To)
				}
				to = r.From - 1
			} else {
				if r.From != from {
					t.Fatalf("asked for what begins at %d, got %d to %d", from, r.From, r.To)
				}
				from = r.To + 1
			}
		}
		for seq := uint64(1); seq <= total; seq++ {
			if seen[seq] != 1 {
				t.Fatalf("newest first %t: %d came %d times", newest, seq, seen[seq])
			}
		}
	}
}

// Rule 7: unread by the running indexes equals a count by hand.
func TestUnreadIsARecount(t *testing.T) {
	n := start(t, options{})
	people := []*conn{n.login(device{user: "alice"}), n.login(device{user: "bob"})}
	names := []string{"alice", "bob"}
	type msg struct {
		sender             int
		countable, revoked bool
	}
	var log []msg
	read := []uint64{0, 0}
	rnd := newRand(t)
	var epoch uint64
	for step := range 200 {
		who := rnd.IntN(2)
		me, peer := people[who], names[1-who]
		switch k := rnd.IntN(10); {
		case k < 6 || len(log) == 0:
			req := me.request(peer, "x")
			req.Message.IsExcludedFromUnreadCount = rnd.IntN(4) == 0
			var r im.SendReply
			me.call(im.Method_SEND, req, 0, &r)
			epoch = r.Epoch
			log = append(log, msg{who, !req.Message.IsExcludedFromUnreadCount, false})
			if r.Entry.Seq != uint64(len(log)) {
				t.Fatalf("step %d: seq %d, want %d", step, r.Entry.Seq, len(log))
			}
		case k < 8:
			seq := uint64(rnd.IntN(len(log)) + 1)
			me.call(im.Method_READ, &im.ReadRequest{Positions: []*im.ReadPosition{{Conv: key(peer), Epoch: epoch, Seq: seq}}}, 0, nil)
			read[who] = max(read[who], seq)
		default:
			i := rnd.IntN(len(log))
			code := int32(0)
			if log[i].sender != who {
				code = im.CodeNotMember
			} else if log[i].revoked {
				code = im.CodeAlreadyRevoked
			}
			me.call(im.Method_REVOKE, &im.RevokeRequest{Conv: key(peer), Epoch: epoch, Seq: uint64(i + 1)}, code, nil)
			log[i].revoked = log[i].revoked || code == 0
		}
		for who, c := range people {
			want := uint64(0)
			for i, m := range log {
				if m.sender != who && m.countable && !m.revoked && uint64(i+1) > read[who] {
					want++
				}
			}
			if h := c.head(names[1-who]); h.Unread != want || h.Seq != uint64(len(log)) || h.PeerReadSeq != read[1-who] {
				t.Fatalf("step %d: %s has %v, by hand %d unread of %+v", step, names[who], h, want, log)
			}
			c.pushes = nil
		}
	}
}

// Rule 32: a message to oneself is one entry, and nothing is unread.
func TestToMyself(t *testing.T) {
	n := start(t, options{})
	desk := n.login(device{user: "alice"})
	phone := n.login(device{user: "alice", device: "phone", platform: im.Platform_PLATFORM_IOS})
	r := desk.send("alice", "note")
	var p im.EntryPush
	phone.push(im.Method_ENTRY, &p)
	if p.Conv.Id != "alice" || p.Entry.Seq != 1 {
		t.Fatalf("push %v", &p)
	}
	desk.quiet()
	if h := phone.head("alice"); h.Unread != 0 || h.Seq != 1 {
		t.Errorf("head %v", h)
	}
	phone.call(im.Method_READ, &im.ReadRequest{Positions: []*im.ReadPosition{{Conv: key("alice"), Epoch: r.Epoch, Seq: 1}}}, 0, nil)
	var h im.Head
	phone.push(im.Method_HEAD, &h)
	phone.quiet()
	desk.push(im.Method_HEAD, &h)
	if desk.quiet(); h.Unread != 0 || h.ReadSeq != 1 {
		t.Errorf("head %v", &h)
	}
}

// Rule 8: a login that has missed nothing is cheap, and one that has missed something gets exactly that.
func TestHeadsSinceCursor(t *testing.T) {
	total := soak.Pick(1000, 5000)
	n := start(t, options{})
	alice := n.login(device{user: "alice"})
	for i := range total {
		if _, err := n.store.CreateUser(t.Context(), user(i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range total {
		alice.begin(im.Method_SEND, alice.request(user(i), "hello"))
	}
	for id := range uint64(total) {
		findReply(alice, id+1)
	}
	// A fresh device gets all of them, in pages.
	seen := map[string]bool{}
	req := &im.HeadsRequest{WithLast: true}
	var cursor int64
	for {
		r := alice.heads(req)
		if cursor == 0 {
			cursor = r.Cursor
		}
		for _, h := range r.Heads {
			if seen[h.Conv.Id] || h.Last.GetSeq() != 1 {
				t.Fatalf("head %v", h)
			}
			seen[h.Conv.Id] = true
		}
		if r.Next == 0 {
			break
		}
		req.After = r.Next
	}
	if len(seen) != total {
		t.Fatalf("%d heads, want %d", len(seen), total)
	}
	began := time.Now()
	f := alice.call(im.Method_HEADS, &im.HeadsRequest{Cursor: cursor + overlapAndMore}, 0, nil)
	if len(f.Body) > 2<<10 {
		t.Errorf("with nothing new the answer has %d bytes", len(f.Body))
	}
	t.Logf("nothing new in %d conversations: %d bytes, %s", total, len(f.Body), time.Since(began))
	// Within the overlap it is returned again.
	if r := alice.heads(&im.HeadsRequest{Cursor: cursor}); len(r.Heads) == 0 {
		t.Errorf("what was committed in the overlap before the cursor is not told")
	}
}

// overlapAndMore is longer than the overlap that the server allows for: as if the sync before had been a while ago.
const overlapAndMore = 61_000

func TestOnlineOnly(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	alice.send("bob", "stored")
	req := alice.request("bob", "typing")
	req.Message.IsOnlineMsg = true
	var r im.SendReply
	alice.call(im.Method_SEND, req, 0, &r)
	if r.Entry.Seq != 0 || r.Entry.Time == 0 {
		t.Errorf("reply %v", &r)
	}
	var p im.EntryPush
	bob.push(im.Method_ENTRY, nil)
	bob.push(im.Method_ENTRY, &p)
	if p.Entry.Seq != 0 || textOf(p.Entry.Message) != "typing" || !p.Entry.Message.IsOnlineMsg {
		t.Errorf("push %v", &p)
	}
	if h := bob.head("alice"); h.Seq != 1 || h.Unread != 1 || textOf(h.Last.Message) != "stored" {
		t.Errorf("head %v", h)
	}
}

// An online-only message is not news to the device that sent it, even if that has reconnected before it goes out.
func TestOnlineOnlyOfThisDevice(t *testing.T) {
	n := start(t, options{})
	desk, bob := n.login(device{user: "alice", device: "desk"}), n.login(device{user: "bob"})
	phone := n.login(device{user: "alice", device: "phone", platform: im.Platform_PLATFORM_IOS})
	who, err := n.rules.Account(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	before := &chat.Caller{UID: who.UID, Name: "alice", Device: "phone", Reply: func(uint64, im.Method, im.Body, error) {}}
	req := phone.request("bob", "typing")
	req.Message.IsOnlineMsg = true
	body, err := req.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.rules.Call(t.Context(), before, &im.Frame{Id: 1, Method: im.Method_SEND, Body: body}, nil); err != nil {
		t.Fatal(err)
	}
	bob.push(im.Method_ENTRY, nil)
	desk.push(im.Method_ENTRY, nil)
	phone.quiet()
}

func TestRevoke(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	phone := n.login(device{user: "alice", device: "phone", platform: im.Platform_PLATFORM_IOS})
	sent := alice.send("bob", "oops")
	bob.push(im.Method_ENTRY, nil)
	phone.push(im.Method_ENTRY, nil)
	req := &im.RevokeRequest{Conv: key("bob"), Epoch: sent.Epoch, Seq: 1, Reason: "typo"}
	bob.call(im.Method_REVOKE, &im.RevokeRequest{Conv: key("alice"), Epoch: sent.Epoch, Seq: 1}, im.CodeNotMember, nil)
	var r im.RevokeReply
	alice.call(im.Method_REVOKE, req, 0, &r)
	ch := r.Change
	if ch.Rev != 1 || ch.Seq != 1 || ch.Kind != im.ChangeKind_CHANGE_REVOKE || ch.Operator != "alice" || ch.Reason != "typo" || ch.Sender != "alice" ||
		!ch.Countable || ch.ClientTime != sent.Entry.ClientTime || ch.Random != sent.Entry.Random || ch.SentTime != sent.Entry.Time || ch.Time == 0 {
		t.Fatalf("change %v", ch)
	}
	// Rule 31: everybody is notified, including this device, and its reply comes first.
	for _, c := range []*conn{alice, phone, bob} {
		want := "bob"
		if c == bob {
			want = "alice"
		}
		var p im.ChangePush
		c.push(im.Method_CHANGE, &p)
		if p.Conv.Id != want || p.Epoch != sent.Epoch || !proto.Equal(p.Change, ch) {
			t.Errorf("push %v", &p)
		}
		c.quiet()
	}
	if i := slices.IndexFunc(alice.log, func(f *im.Frame) bool { return f.Method == im.Method_CHANGE }); alice.log[i-1].Method != im.Method_REVOKE {
		t.Errorf("the push came before the answer")
	}
	alice.call(im.Method_REVOKE, req, im.CodeAlreadyRevoked, nil)
	alice.id++
	alice.write(im.AppendMessage(nil, &im.Frame{Id: alice.id, Method: im.Method_REVOKE, Resent: true}, req))
	var again im.RevokeReply
	if f := alice.await(alice.id); f.Code != 0 || again.UnmarshalVT(f.Body) != nil || !proto.Equal(again.Change, ch) {
		t.Errorf("the same frame again is answered %v", f)
	}
	alice.call(im.Method_REVOKE, &im.RevokeRequest{Conv: key("bob"), Epoch: sent.Epoch, Seq: 2}, im.CodeResync, nil)
	alice.call(im.Method_REVOKE, &im.RevokeRequest{Conv: key("bob"), Epoch: sent.Epoch, Seq: 0}, im.CodeNoSuchMessage, nil)
	var changes im.ChangesReply
	bob.call(im.Method_CHANGES, &im.ChangesRequest{Conv: key("alice"), Epoch: sent.Epoch, From: 1, To: 1}, 0, &changes)
	if len(changes.Changes) != 1 || !proto.Equal(changes.Changes[0], ch) {
		t.Errorf("changes %v, pushed %v", changes.Changes, ch)
	}
	if h := bob.head("alice"); h.Rev != 1 || h.Unread != 0 || h.Withdrawn != 1 || h.Last.Status != im.MessageStatus_MESSAGE_STATUS_REVOKED || h.Last.Revoker != "alice" {
		t.Errorf("head %v", h)
	}
}

func TestRevokeWindow(t *testing.T) {
	o := options{}
	o.chat.RevokeWindow = time.Nanosecond // below the clock's millisecond: over when the clock has moved
	n := start(t, o)
	alice := n.login(device{user: "alice"})
	r := alice.send("alice", "x")
	for n.store.Now() <= r.Entry.Time {
		time.Sleep(time.Millisecond) // the store's clock is the wall clock
	}
	alice.call(im.Method_REVOKE, &im.RevokeRequest{Conv: key("alice"), Epoch: r.Epoch, Seq: 1}, im.CodeRevokeWindow, nil)
}

// Rule 31: who is notified of a read position.
func TestReadIsHeard(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	phone := n.login(device{user: "bob", device: "phone", platform: im.Platform_PLATFORM_IOS})
	sent := alice.send("bob", "hi")
	bob.push(im.Method_ENTRY, nil)
	phone.push(im.Method_ENTRY, nil)
	req := &im.ReadRequest{Positions: []*im.ReadPosition{{Conv: key("alice"), Epoch: sent.Epoch, Seq: 1}}}
	var r im.ReadReply
	bob.call(im.Method_READ, req, 0, &r)
	if len(bob.pushes) > 0 {
		t.Errorf("a push came before the answer")
	}
	for _, c := range []*conn{bob, phone} {
		var h im.Head
		c.push(im.Method_HEAD, &h)
		if h.Conv.Id != "alice" || h.Unread != 0 || h.ReadSeq != 1 || !proto.Equal(&h, r.Heads[0]) {
			t.Errorf("push %v, reply %v", &h, r.Heads[0])
		}
	}
	var h im.Head
	alice.push(im.Method_HEAD, &h)
	if h.Conv.Id != "bob" || h.PeerReadSeq != 1 || h.PeerReadTime == 0 || h.ReadSeq != 0 {
		t.Errorf("the peer's view %v", &h)
	}
	bob.call(im.Method_READ, req, 0, nil) // nothing moves, nobody hears
	alice.quiet()
	bob.quiet()
	phone.quiet()
}

// TestReadOfOneConversation: a call that names a conversation many times costs the store, and those who are notified, no more than one that names it
// once.
func TestReadOfOneConversation(t *testing.T) {
	const total = 250
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	req := &im.ReadRequest{}
	for i := range uint64(total) {
		seq := (i+1)*7%total + 1 // each once, in no order
		req.Positions = append(req.Positions, &im.ReadPosition{Conv: key("alice"), Epoch: alice.send("bob", "x").Epoch, Seq: seq})
		bob.push(im.Method_ENTRY, nil)
	}
	var r im.ReadReply
	bob.call(im.Method_READ, req, 0, &r)
	if len(r.Heads) != total {
		t.Fatalf("%d heads", len(r.Heads))
	}
	var h im.Head
	bob.push(im.Method_HEAD, &h)
	for _, answered := range r.Heads {
		if h.ReadSeq != total || h.Unread != 0 || !proto.Equal(&h, answered) {
			t.Fatalf("told %v, answered %v", &h, answered)
		}
	}
	alice.push(im.Method_HEAD, &h)
	if h.PeerReadSeq != total {
		t.Errorf("the peer is told %v", &h)
	}
	alice.quiet()
	bob.quiet()
}

// Mark-all goes in steps, and its events come after its reply nevertheless.
func TestReadMany(t *testing.T) {
	const total = 250
	n := start(t, options{})
	bob := n.login(device{user: "bob"})
	phone := n.login(device{user: "bob", device: "phone", platform: im.Platform_PLATFORM_IOS})
	req := &im.ReadRequest{}
	for i := range total {
		c := n.login(device{user: user(i)})
		r := c.send("bob", "x")
		c.ws.CloseNow()
		req.Positions = append(req.Positions, &im.ReadPosition{Conv: key(user(i)), Epoch: r.Epoch, Seq: 1})
		bob.push(im.Method_ENTRY, nil)
		phone.push(im.Method_ENTRY, nil)
	}
	var r im.ReadReply
	bob.call(im.Method_READ, req, 0, &r)
	if len(r.Heads) != total || len(bob.pushes) > 0 {
		t.Fatalf("%d heads, %d pushes before the answer", len(r.Heads), len(bob.pushes))
	}
	told := func() {
		t.Helper()
		for i := range total {
			for _, c := range []*conn{bob, phone} {
				var h im.Head
				c.push(im.Method_HEAD, &h)
				if h.Conv.Id != user(i) || h.Unread != 0 {
					t.Fatalf("push %d: %v", i, &h)
				}
			}
		}
		bob.quiet()
		phone.quiet()
	}
	told()

	// A caller that has no session is not notified itself, and both sessions get each event once.
	for i, p := range req.Positions {
		msg := &im.SendRequest{Conv: key("bob"), ClientTime: 1700000000, Random: 1 << 31, Message: text("y")}
		if _, err := n.rules.SendAs(t.Context(), user(i), chat.Via{}, msg); err != nil {
			t.Fatal(err)
		}
		p.Seq = 2
		bob.push(im.Method_ENTRY, nil)
		phone.push(im.Method_ENTRY, nil)
	}
	replied := make(chan error, 1)
	caller := &chat.Caller{UID: chat.UID(bob.reply.TinyId), Name: "bob", Reply: func(_ uint64, _ im.Method, _ im.Body, err error) { replied <- err }}
	if err := n.rules.Call(t.Context(), caller, &im.Frame{Method: im.Method_READ}, req); err != nil {
		t.Fatal(err)
	}
	if err := <-replied; err != nil {
		t.Fatal(err)
	}
	told()
}
