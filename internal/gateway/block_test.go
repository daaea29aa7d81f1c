package gateway

import (
	"slices"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// block makes one user block another, or end that, and takes the push that reports it.
func (c *conn) block(method im.Method, user string) {
	c.t.Helper()
	var r im.FriendResults
	c.call(method, &im.UsersRequest{UserIds: []string{user}}, 0, &r)
	if len(r.Results) != 1 || r.Results[0].Code != 0 {
		c.t.Fatalf("%s: %v", method, r.Results)
	}
	c.push(im.Method_FED, nil)
}

// texts pulls what a user sees of a conversation.
func (c *conn) texts(user string) (out []string) {
	c.t.Helper()
	h := c.head(user)
	if h.Seq == 0 {
		return nil
	}
	r := &im.PullReply{}
	c.call(im.Method_PULL, &im.PullRequest{Conv: key(user), Epoch: h.Epoch, From: 1, To: h.Seq}, 0, r)
	for _, e := range r.Entries {
		out = append(out, textOf(e.Message))
	}
	return out
}

// TestBlocked: what somebody sends to a user who has blocked them is answered with success, a time and number 0, and is nowhere: not live, not for a
// new device, and not after the block. The other direction and operators get through; what was stored before keeps its answer.
func TestBlocked(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	pad := n.login(device{user: "alice", device: "pad", platform: im.Platform_PLATFORM_PAD})
	first := alice.request("bob", "first")
	alice.call(im.Method_SEND, first, 0, nil)
	bob.push(im.Method_ENTRY, nil)
	pad.push(im.Method_ENTRY, nil)
	bob.block(im.Method_BLOCK, "alice")

	dropped := alice.request("bob", "dropped")
	r := &im.SendReply{}
	alice.call(im.Method_SEND, dropped, 0, r)
	if r.Entry.Seq != 0 || r.Entry.Time == 0 || r.Entry.Index != 0 {
		t.Errorf("answered %v", r.Entry)
	}
	if again := alice.again(dropped); again.Entry.Seq != 0 {
		t.Errorf("repeated: %v", again.Entry)
	}
	if again := alice.again(first); again.Entry.Seq != 1 {
		t.Errorf("what was sent before the block, repeated: %v", again.Entry)
	}
	typing := alice.request("bob", "typing")
	typing.Message.IsOnlineMsg = true
	alice.call(im.Method_SEND, typing, 0, r)
	if r.Entry.Seq != 0 || r.Entry.Time == 0 {
		t.Errorf("online-only: %v", r.Entry)
	}
	if e := bob.send("alice", "from bob").Entry; e.Seq != 2 {
		t.Errorf("from the one who has blocked: %v", e)
	}
	alice.push(im.Method_ENTRY, nil)
	pad.push(im.Method_ENTRY, nil)
	alice.call(im.Method_READ, &im.ReadRequest{Positions: []*im.ReadPosition{{Conv: key("bob"), Epoch: r.Epoch, Seq: 2}}}, 0, nil)
	alice.push(im.Method_HEAD, nil)
	pad.push(im.Method_HEAD, nil)
	bob.quiet()
	pad.quiet()
	if h := bob.head("alice"); h.PeerReadSeq != 0 || h.Unread != 1 {
		t.Errorf("the head of the one who has blocked: %v", h)
	}
	if _, err := n.rules.SendAs(t.Context(), "alice", chat.Via{}, &im.SendRequest{Conv: key("bob"), ClientTime: 1700000000, Random: 999, Message: text("official")}); err != nil {
		t.Fatal(err)
	}
	bob.push(im.Method_ENTRY, nil)
	want := []string{"first", "from bob", "official"}
	bob.block(im.Method_UNBLOCK, "alice")
	bob.quiet()
	phone := n.login(device{user: "bob", device: "phone", platform: im.Platform_PLATFORM_ANDROID})
	for what, c := range map[string]*conn{"a new device": phone, "the device": bob, "the sender": alice} {
		peer := "alice"
		if c == alice {
			peer = "bob"
		}
		if got := c.texts(peer); !slices.Equal(got, want) {
			t.Errorf("%s has %q", what, got)
		}
	}
	if e := alice.send("bob", "free").Entry; e.Seq != 4 {
		t.Errorf("after the block: %v", e)
	}
	bob.push(im.Method_ENTRY, nil)
	phone.push(im.Method_ENTRY, nil)
	// A stranger who was blocked before their first message.
	carol := n.login(device{user: "carol"})
	phone.block(im.Method_BLOCK, "carol")
	if e := carol.send("bob", "hello").Entry; e.Seq != 0 {
		t.Errorf("a blocked stranger: %v", e)
	}
	for _, h := range bob.heads(&im.HeadsRequest{}).Heads {
		if h.Conv.Id == "carol" && (h.Seq != 0 || h.Last != nil || h.Unread != 0) {
			t.Errorf("the head of a conversation that never was: %v", h)
		}
	}
}

// TestBlockedIsRefused: with the setting, whoever was blocked gets to know it. Strangers are refused with the code of who lacks whom.
func TestBlockedIsRefused(t *testing.T) {
	n := start(t, options{chat: chat.Config{RefuseBlocked: true, OnlyFriends: true}})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	send := func(code int32) {
		t.Helper()
		for range 2 {
			alice.call(im.Method_SEND, alice.request("bob", "x"), code, nil)
			online := alice.request("bob", "typing")
			online.Message.IsOnlineMsg = true
			alice.call(im.Method_SEND, online, code, nil)
		}
	}
	send(im.CodeNotFriends)
	befriend := func(c *conn, user string) {
		t.Helper()
		r := &im.FriendResult{}
		c.call(im.Method_ADD_FRIEND, &im.AddFriendRequest{UserId: user, Source: "AddSource_Type_Test"}, 0, r)
		if r.Code != 0 {
			t.Fatal(r)
		}
	}
	befriend(alice, "bob")
	send(im.CodeNotInPeersList)
	befriend(bob, "alice")
	send(0)
	alice.call(im.Method_DELETE_FRIENDS, &im.UsersRequest{UserIds: []string{"bob"}}, 0, nil)
	send(im.CodeNotInOwnList)
	bob.call(im.Method_BLOCK, &im.UsersRequest{UserIds: []string{"alice"}}, 0, nil)
	send(im.CodeBlockedByReceiver)
}

// TestHookIsNotAskedInVain: the before-hook is asked about nothing that is dropped or refused.
func TestHookIsNotAskedInVain(t *testing.T) {
	a := &asked{}
	n := start(t, options{chat: chat.Config{Hooks: asking(a.ask)}})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	epoch := alice.send("bob", "one").Epoch
	bob.push(im.Method_ENTRY, nil)
	bob.block(im.Method_BLOCK, "alice")
	if ch := alice.modify("bob", epoch, 1, 0, text("other")).Change; ch.GetRev() != 0 || ch.GetTime() == 0 || a.count() != 1 {
		t.Errorf("%v; the hook was asked about %d messages", ch, a.count())
	}
	if e := alice.send("bob", "two").Entry; e.Seq != 0 || a.count() != 1 {
		t.Errorf("%v; the hook was asked about %d messages", e, a.count())
	}
	bob.block(im.Method_UNBLOCK, "alice")
	if e := alice.send("bob", "three").Entry; e.Seq != 2 || a.count() != 2 {
		t.Errorf("%v; the hook was asked about %d messages", e, a.count())
	}
}

// TestSendsDuringBlocks: while the receiver blocks and unblocks, the sends of a connection are numbered in the order of the calls, or dropped; what the
// receiver is pushed is what is in the log.
func TestSendsDuringBlocks(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	phone := n.login(device{user: "bob", device: "phone", platform: im.Platform_PLATFORM_ANDROID})
	alice.send("bob", "0")
	phone.push(im.Method_ENTRY, nil)
	phone.block(im.Method_BLOCK, "alice")
	if e := alice.send("bob", "dropped").Entry; e.Seq != 0 {
		t.Fatal(e)
	}
	const sends, changes = 200, 100
	done := make(chan struct{})
	go func() { // each connection belongs to one goroutine
		defer close(done)
		for i := range changes {
			method := im.Method_BLOCK
			if i%2 == 0 {
				method = im.Method_UNBLOCK
			}
			if f := phone.await(phone.begin(method, &im.UsersRequest{UserIds: []string{"alice"}})); f.Code != 0 {
				t.Errorf("%s: %d %s", method, f.Code, f.Desc)
			}
		}
	}()
	const flying = 8
	ids := make([]uint64, 0, sends)
	begin := func() { ids = append(ids, alice.begin(im.Method_SEND, alice.request("bob", "x"))) }
	for range flying {
		begin()
	}
	last, stored := uint64(1), uint64(1)
	for i := range sends {
		id := ids[i]
		if len(ids) < sends {
			begin()
		}
		f, r := alice.await(id), &im.SendReply{}
		if f.Code != 0 {
			t.Fatalf("answered %d, %s", f.Code, f.Desc)
		}
		if err := r.UnmarshalVT(f.Body); err != nil {
			t.Fatal(err)
		}
		if r.Entry.Seq == 0 {
			continue
		}
		if stored++; r.Entry.Seq != last+1 {
			t.Fatalf("number %d after %d", r.Entry.Seq, last)
		}
		last = r.Entry.Seq
	}
	<-done
	t.Logf("%d of %d are stored", stored-1, sends)
	bob.call(im.Method_HEARTBEAT, &im.Empty{}, 0, nil)
	pushed := uint64(0)
	for _, f := range bob.pushes {
		if f.Method != im.Method_ENTRY {
			continue
		}
		p := &im.EntryPush{}
		if err := p.UnmarshalVT(f.Body); err != nil {
			t.Fatal(err)
		}
		if pushed++; p.Entry.Seq != pushed {
			t.Fatalf("push %d has number %d", pushed, p.Entry.Seq)
		}
	}
	if h := bob.head("alice"); h.Seq != stored || pushed != stored {
		t.Errorf("%d stored, %d pushed, the head is %d", stored, pushed, h.Seq)
	}
}
