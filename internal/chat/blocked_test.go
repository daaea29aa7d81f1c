package chat_test

import (
	"slices"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// ask makes a call and decodes the reply, whose bytes may have been made by hand.
func ask[R any, P im.Decodable[R]](f *friend, again bool, method im.Method, req im.Request) (P, error) {
	f.r.Helper()
	got := make(chan answered, 1)
	f.r.mu.Lock()
	f.last++
	id := f.last
	f.calls[id] = got
	f.r.mu.Unlock()
	frame := &im.Frame{Id: id, Method: method, Resent: again}
	if info, _ := method.Info(); info.Undecoded {
		frame.Body, req = encode(f, req), nil
	}
	out := P(new(R))
	if err := f.r.c.Call(f.r.Context(), f.Caller, frame, req); err != nil {
		return out, err
	}
	a := <-got
	if a.err != nil {
		return out, a.err
	}
	return out, im.Decode(encode(f, a.body), out)
}

func encode(f *friend, m im.Body) []byte {
	b := make([]byte, m.SizeVT())
	if _, err := m.MarshalToSizedBufferVT(b); err != nil {
		f.r.Fatal(err)
	}
	return b
}

func with(user string) *im.ConvKey { return &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: user} }

func (f *friend) sends(to, text string) *im.SendReply {
	f.r.Helper()
	f.random++
	r, err := ask[im.SendReply](f, false, im.Method_SEND, &im.SendRequest{Conv: with(to), ClientTime: 1_700_000_000, Random: f.random, Message: im.Text(text)})
	if err != nil {
		f.r.Fatal(err)
	}
	return r
}

// modifies replaces the text of a message.
func (f *friend) modifies(peer string, epoch, seq, version uint64, text string) (*im.ModifyReply, error) {
	return ask[im.ModifyReply](f, false, im.Method_MODIFY, &im.ModifyRequest{Conv: with(peer), Epoch: epoch, Seq: seq, Version: version, Message: im.Text(text)})
}

// sees returns the texts of a conversation and whether each was recalled.
func (f *friend) sees(peer string, epoch, to uint64) (texts []string, revoked []bool) {
	f.r.Helper()
	r, err := ask[im.PullReply](f, false, im.Method_PULL, &im.PullRequest{Conv: with(peer), Epoch: epoch, From: 1, To: to})
	if err != nil {
		f.r.Fatal(err)
	}
	for _, e := range r.Entries {
		text := ""
		if len(e.Message.GetElemArray()) > 0 {
			text = e.Message.ElemArray[0].GetText().GetContent()
		}
		texts, revoked = append(texts, text), append(revoked, e.Status == im.MessageStatus_MESSAGE_STATUS_REVOKED)
	}
	return texts, revoked
}

// changes returns how many changes were pushed to a user since the last call.
func (f *friend) changes() int {
	f.r.settle()
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	n := 0
	for _, m := range f.other {
		if m == im.Method_CHANGE {
			n++
		}
	}
	f.other = nil
	return n
}

// What somebody who was blocked recalls arrives: the message had arrived. What they modify is new content, and goes the way of a message: it seems to be done.
// The one who has blocked modifies as they send.
func TestChangesOfBlocked(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		a, b := r.user("a"), r.user("b")
		first := a.sends("b", "one")
		a.sends("b", "two")
		b.sends("a", "three")
		epoch := first.Epoch
		if m, err := a.modifies("b", epoch, 1, 0, "one, better"); err != nil || m.Change.GetRev() != 1 || b.changes() != 1 {
			r.Fatalf("before the block: %v, %v", m, err)
		}
		b.blocks("a")
		a.changes()
		for _, again := range []bool{false, true} {
			m, err := ask[im.ModifyReply](a, again, im.Method_MODIFY, &im.ModifyRequest{Conv: with("b"), Epoch: epoch, Seq: 1, Version: 1, Message: im.Text("bad")})
			if ch := m.Change; err != nil || ch == nil || ch.Rev != 0 || ch.Time == 0 || ch.Operator != "a" || ch.Message.ElemArray[0].GetText().GetContent() != "bad" {
				r.Errorf("a modification by the one who is blocked is answered %v, %v", m, err)
			}
		}
		if m, err := a.modifies("b", epoch, 3, 0, "bad"); err != nil || m.Change.GetRev() != 0 { // a message of the one who has blocked
			r.Errorf("a modification of the other's message is answered %v, %v", m, err)
		}
		if m, err := a.modifies("b", epoch, 1, 0, "old"); err != nil || m.Current.GetVersion() != 1 {
			r.Errorf("a modification of another version is answered %v, %v", m, err)
		}
		if n, m := a.changes(), b.changes(); n != 0 || m != 0 {
			r.Errorf("%d and %d changes are pushed", n, m)
		}
		if _, err := ask[im.RevokeReply](a, false, im.Method_REVOKE, &im.RevokeRequest{Conv: with("b"), Epoch: epoch, Seq: 2}); err != nil || b.changes() != 1 {
			r.Error("a recall by the one who is blocked does not arrive:", err)
		}
		if m, err := b.modifies("a", epoch, 1, 1, "one, by b"); err != nil || m.Change.GetRev() != 3 || a.changes() != 2 {
			r.Errorf("a modification by the one who has blocked: %v, %v", m, err)
		}
		b.unblocks("a")
		for f, peer := range map[*friend]string{a: "b", b: "a"} {
			texts, revoked := f.sees(peer, epoch, 3)
			if texts[0] != "one, by b" || texts[2] != "three" || !slices.Equal(revoked, []bool{false, true, false}) {
				r.Errorf("%s sees %q, %v", f.Name, texts, revoked)
			}
		}
		if m, err := a.modifies("b", epoch, 1, 2, "one, again"); err != nil || m.Change.GetRev() != 4 {
			r.Errorf("after the block: %v, %v", m, err)
		}
	})
	onBoth(t, chat.Config{RefuseBlocked: true, OnlyFriends: true}, func(r *relations) {
		a, b := r.user("a"), r.user("b")
		a.adds("b", both)
		first := a.sends("b", "one")
		a.deletes(onlyMe, "b")
		_, err := a.modifies("b", first.Epoch, 1, 0, "two")
		r.is("no friend", im.CodeOf(err), im.CodeNotInOwnList)
		b.blocks("a")
		_, err = a.modifies("b", first.Epoch, 1, 0, "two")
		r.is("blocked", im.CodeOf(err), im.CodeBlockedByReceiver)
		if texts, _ := b.sees("a", first.Epoch, 1); texts[0] != "one" {
			r.Errorf("b sees %q", texts)
		}
	})
}

// A first message that is dropped leaves nothing that the receiver could see: no conversation in a list, by name or in unread numbers.
func TestDroppedFirstMessage(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		a, b := r.user("a"), r.user("b")
		b.blocks("a")
		if e := a.sends("b", "hello").Entry; e.Seq != 0 || e.Time == 0 {
			r.Errorf("answered %v", e)
		}
		nothing := func(f *friend, peer string) {
			r.Helper()
			for what, req := range map[string]*im.HeadsRequest{
				"all": {}, "all with the last message": {WithLast: true}, "since then": {Cursor: 1}, "by name": {Only: []*im.ConvKey{with(peer)}, WithLast: true},
			} {
				h, err := ask[im.HeadsReply](f, false, im.Method_HEADS, req)
				if err != nil || len(h.Heads) > 0 || len(h.People) > 0 {
					r.Errorf("%s: %s has %v, %v, %v", what, f.Name, h.Heads, h.People, err)
				}
			}
			if n, err := r.c.Unread(r.Context(), f.Name); n != 0 || err != nil {
				r.Errorf("%s has %d unread, %v", f.Name, n, err)
			}
		}
		nothing(b, "a")
		nothing(a, "b") // the sender's device has the message itself
		b.unblocks("a")
		nothing(b, "a")
		if e := a.sends("b", "again").Entry; e.Seq != 1 {
			r.Errorf("after the block: %v", e)
		}
		if h, err := ask[im.HeadsReply](b, false, im.Method_HEADS, &im.HeadsRequest{}); err != nil || len(h.Heads) != 1 || h.Heads[0].Unread != 1 {
			r.Errorf("after the block b has %v, %v", h, err)
		}
	})
}
