package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// large is a message of about 250 KB, which only a merger may have.
func large() *im.Message {
	merger := &im.MergerElem{Title: "t", CompatibleText: "c"}
	for range 21 {
		merger.MessageArray = append(merger.MessageArray, text(strings.Repeat("x", 12_000)))
	}
	return &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: merger}}}}
}

func (c *conn) sendLarge(peer string, random uint32) *im.SendReply {
	c.t.Helper()
	r := &im.SendReply{}
	c.call(im.Method_SEND, &im.SendRequest{Conv: key(peer), ClientTime: 1700000000, Random: random, Message: large()}, 0, r)
	return r
}

// retouch modifies only cloud_custom_str of a message: a call of some bytes.
func (c *conn) retouch(peer string, epoch, seq, version uint64) *im.Change {
	c.t.Helper()
	return c.modify(peer, epoch, seq, version, &im.Message{CloudCustomStr: fmt.Sprint("v", version+1)}).Change
}

// TestContentOnce: however often a message is modified, a device that was away fetches its content once, even if the modifications of several
// messages are mixed. A device that is connected is notified that there is something, and fetches it when it can.
func TestContentOnce(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	epoch := alice.sendLarge("bob", 1).Epoch
	alice.sendLarge("bob", 2)
	bob.push(im.Method_ENTRY, nil)
	bob.push(im.Method_ENTRY, nil)
	const times = 100
	for v := range uint64(times) {
		for seq := range uint64(2) {
			ch := alice.retouch("bob", epoch, seq+1, v)
			if len(ch.Message.ElemArray) != 1 || ch.Version != v+1 {
				t.Fatalf("answered rev %d, version %d", ch.Rev, ch.Version)
			}
			h := &im.Head{}
			if bob.push(im.Method_HEAD, h); h.Last != nil || h.Conv.Id != "alice" || h.Rev != ch.Rev || h.Seq != 2 || h.Unread != 2 {
				t.Fatalf("told by %v", h)
			}
			if alice.push(im.Method_HEAD, h); h.Rev != ch.Rev || h.Conv.Id != "bob" {
				t.Fatalf("the caller is told of %v", h)
			}
		}
	}
	bytes, with := 0, []string{}
	for rev := uint64(0); rev < 2*times; {
		r := &im.ChangesReply{}
		f := bob.call(im.Method_CHANGES, &im.ChangesRequest{Conv: key("alice"), Epoch: epoch, From: rev + 1, To: 2 * times}, 0, r)
		bytes += len(f.Body)
		for _, ch := range r.Changes {
			if rev++; ch.Rev != rev || ch.Kind != im.ChangeKind_CHANGE_MODIFY || ch.Sender != "alice" {
				t.Fatalf("rev %d is %v", rev, ch)
			}
			if ch.Message != nil {
				with = append(with, fmt.Sprint(ch.Rev, ch.Seq, ch.Version, ch.Message.CloudCustomStr))
			}
		}
	}
	if fmt.Sprint(with) != "[199 1 100v100 200 2 100v100]" {
		t.Errorf("contents come with %v", with)
	}
	if bytes > 600_000 {
		t.Errorf("%d modifications of 2 messages are %d bytes", 2*times, bytes)
	}
	bob.quiet()
}

// TestModificationsOfOneMessage: their number is limited; one that is sent again gets its reply nevertheless.
func TestModificationsOfOneMessage(t *testing.T) {
	n := start(t, options{chat: chat.Config{Modifications: 3}})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	epoch := alice.send("bob", "one").Epoch
	alice.send("bob", "two")
	for v := range uint64(3) {
		alice.retouch("bob", epoch, 1, v)
	}
	more := &im.ModifyRequest{Conv: key("alice"), Epoch: epoch, Seq: 1, Version: 3, Message: im.Text("more")}
	bob.call(im.Method_MODIFY, more, im.CodeTooManyModifications, nil)
	more.Seq, more.Version = 2, 0
	bob.call(im.Method_MODIFY, more, 0, nil)
	alice.id++
	alice.write(im.AppendMessage(nil, &im.Frame{Id: alice.id, Method: im.Method_MODIFY, Resent: true},
		&im.ModifyRequest{Conv: key("bob"), Epoch: epoch, Seq: 1, Version: 2, Message: &im.Message{CloudCustomStr: "v3"}}))
	r := &im.ModifyReply{}
	if f := alice.await(alice.id); f.Code != 0 || r.UnmarshalVT(f.Body) != nil || r.Change.GetRev() != 3 {
		t.Errorf("the resent one is answered %d: %v", f.Code, r)
	}
}

// TestAnswersFit asks for as much as a call can, where everything is as large as possible: no reply is more than a part of what clients read, each
// says what it covers, and what is left out comes with the next one.
func TestAnswersFit(t *testing.T) {
	n := start(t, options{chat: chat.Config{RevokeWindow: time.Hour}})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	const most = im.MaxAnswer / 4
	fits := func(what string, f *im.Frame) {
		t.Helper()
		if len(f.Body) > most {
			t.Errorf("%s: %d bytes", what, len(f.Body))
		}
	}
	// Many recalled messages, each with the longest possible reason.
	const recalled = 1100
	epoch := uint64(0)
	for i := range uint64(recalled) {
		epoch = alice.send("bob", strings.Repeat("y", 100)).Epoch
		alice.call(im.Method_REVOKE, &im.RevokeRequest{Conv: key("bob"), Epoch: epoch, Seq: i + 1, Reason: strings.Repeat("é", 512)}, 0, nil)
	}
	for seq := uint64(1); seq <= recalled; {
		r := &im.PullReply{}
		fits("PULL", bob.call(im.Method_PULL, &im.PullRequest{Conv: key("alice"), Epoch: epoch, From: seq, To: recalled}, 0, r))
		if r.From != seq || r.To < seq || len(r.Entries) != int(r.To-seq+1) || len(r.Entries[0].RevokeReason) != 1024 {
			t.Fatalf("pulled %d entries for %d to %d", len(r.Entries), r.From, r.To)
		}
		seq = r.To + 1
	}
	for rev := uint64(1); rev <= recalled; {
		r := &im.ChangesReply{}
		fits("CHANGES", bob.call(im.Method_CHANGES, &im.ChangesRequest{Conv: key("alice"), Epoch: epoch, From: rev, To: recalled}, 0, r))
		if r.From != rev || r.To < rev || len(r.Changes) != int(r.To-rev+1) || len(r.Changes[0].Reason) != 1024 {
			t.Fatalf("%d changes for %d to %d", len(r.Changes), r.From, r.To)
		}
		rev = r.To + 1
	}
	// Many conversations, each of which ends with a message of the largest kind. All of them were modified, so that a LOOKUP returns them.
	const peers = 12
	lookup := &im.LookupRequest{}
	read := &im.ReadRequest{}
	for i := range uint32(peers) {
		peer := fmt.Sprintf("peer%028d", i) // as long as names can be
		n.login(device{user: peer})
		r := alice.sendLarge(peer, i+1)
		alice.retouch(peer, r.Epoch, 1, 0)
		for range 8 {
			lookup.Keys = append(lookup.Keys, &im.SendKey{Conv: key(peer), ClientTime: 1700000000, Random: i + 1})
		}
		read.Positions = append(read.Positions, &im.ReadPosition{Conv: key(peer), Epoch: r.Epoch, Seq: 1})
	}
	seen := 0
	for after, more := uint64(0), true; more; {
		r := &im.HeadsReply{}
		fits("HEADS", alice.call(im.Method_HEADS, &im.HeadsRequest{WithLast: true, After: after}, 0, r))
		for _, h := range r.Heads {
			if h.Last == nil {
				t.Fatalf("no last message in %v", h)
			}
			seen++
		}
		after, more = r.Next, r.Next != 0
	}
	if seen != peers+1 {
		t.Errorf("%d heads", seen)
	}
	only := &im.HeadsRequest{WithLast: true}
	for range 8 {
		for _, p := range read.Positions {
			only.Only = append(only.Only, p.Conv)
		}
	}
	r := &im.HeadsReply{}
	if fits("HEADS of some", alice.call(im.Method_HEADS, only, 0, r)); len(r.Heads) != len(only.Only) {
		t.Errorf("%d heads", len(r.Heads))
	}
	answers := 0
	for len(lookup.Keys) > 0 {
		r := &im.LookupReply{}
		fits("LOOKUP", alice.call(im.Method_LOOKUP, lookup, 0, r))
		if len(r.Found) == 0 || r.Found[0].Entry.GetRandom() != lookup.Keys[0].Random || r.Found[0].Entry.Message == nil {
			t.Fatalf("%d found", len(r.Found))
		}
		lookup.Keys = lookup.Keys[len(r.Found):]
		answers++
	}
	if answers < 2 {
		t.Error("all of LOOKUP came at once")
	}
	for len(read.Positions) < 10_000 {
		read.Positions = append(read.Positions, read.Positions[:min(peers, 10_000-len(read.Positions))]...)
	}
	heads := &im.ReadReply{}
	if f := alice.call(im.Method_READ, read, 0, heads); len(heads.Heads) != 10_000 || len(f.Body) > im.MaxReply {
		t.Errorf("READ: %d heads in %d bytes", len(heads.Heads), len(f.Body))
	}
}

// TestTextsOfOtherTimes: a store may contain longer texts than a call may carry, and texts that are not UTF-8, from before there were limits. Each
// arrives in a reply that clients can read.
func TestTextsOfOtherTimes(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	const texts = 6
	var epoch uint64
	for range texts {
		epoch = alice.send("bob", "x").Epoch
	}
	reason := strings.Repeat("y", im.MaxMessage-100) + "\xff"
	err := n.store.Update(t.Context(), []chat.Key{{Conv: chat.ConvID(epoch)}}, func(tx chat.Tx) error {
		for seq := range uint64(texts) {
			e, err := tx.Entry(chat.ConvID(epoch), seq+1)
			if err != nil {
				return err
			}
			e.Status, e.Revoker, e.RevokeReason = int32(im.MessageStatus_MESSAGE_STATUS_REVOKED), e.Sender, reason
			if err := tx.SetEntry(e); err != nil {
				return err
			}
			if _, err := tx.AddChange(e.Conv, chat.Change{Kind: int32(im.ChangeKind_CHANGE_REVOKE), Seq: e.Seq, Operator: e.Sender, Reason: reason}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for at := uint64(1); at <= texts; at++ {
		pull, changes := &im.PullReply{}, &im.ChangesReply{}
		for _, f := range []*im.Frame{
			bob.call(im.Method_PULL, &im.PullRequest{Conv: key("alice"), Epoch: epoch, From: at, To: texts}, 0, pull),
			bob.call(im.Method_CHANGES, &im.ChangesRequest{Conv: key("alice"), Epoch: epoch, From: at, To: texts}, 0, changes),
			bob.call(im.Method_HEADS, &im.HeadsRequest{WithLast: true}, 0, nil),
		} {
			if len(f.Body) > im.MaxReply {
				t.Errorf("%s has %d bytes", f.Method, len(f.Body))
			}
		}
		if pull.To != at || changes.To != at || len(pull.Entries) != 1 || len(changes.Changes) != 1 || changes.Changes[0].Reason != reason {
			t.Fatalf("from %d there are %d entries to %d, and %d changes to %d", at, len(pull.Entries), pull.To, len(changes.Changes), changes.To)
		}
	}
}

// TestAnswerBeyondAll: a reply that no client would read is not written; the call fails, and the connection stays.
func TestAnswerBeyondAll(t *testing.T) {
	n := start(t, options{})
	alice := n.login(device{user: "alice"})
	s := n.sessionsOf(chat.UID(alice.reply.TinyId))[0]
	for size, code := range map[int]int32{im.MaxReply + 1: im.CodeServerInternal, im.MaxReply - 100: 0} {
		if _, ok := s.begin(im.Method_PULL, 0); !ok {
			t.Fatal("no call can be made")
		}
		s.reply(uint64(size), im.Method_PULL, &im.PullReply{Entries: []*im.Entry{{RevokeReason: strings.Repeat("x", size)}}}, nil)
		if f := alice.await(uint64(size)); f.Code != code || len(f.Body) > im.MaxReply {
			t.Errorf("an answer of %d bytes is answered %d", size, f.Code)
		}
	}
	alice.quiet()
}
