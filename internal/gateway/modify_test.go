package gateway

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

func (c *conn) modify(peer string, epoch, seq, version uint64, m *im.Message) *im.ModifyReply {
	c.t.Helper()
	r := &im.ModifyReply{}
	c.call(im.Method_MODIFY, &im.ModifyRequest{Conv: key(peer), Epoch: epoch, Seq: seq, Version: version, Message: m}, 0, r)
	return r
}

// TestModify: either person may do it; all devices are notified, the calling one after its reply; later pulls have the new content.
func TestModify(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	phone := n.login(device{user: "alice", device: "phone", platform: im.Platform_PLATFORM_IOS})
	m := text("first")
	m.CloudCustomStr, m.NeedReadReceipt, m.OfflinePushConfig = "a", true, &im.OfflinePushConfig{Title: "push"}
	sent := &im.SendReply{}
	alice.call(im.Method_SEND, &im.SendRequest{Conv: key("bob"), ClientTime: 1700000000, Random: 3, Message: m}, 0, sent)
	bob.push(im.Method_ENTRY, nil)
	phone.push(im.Method_ENTRY, nil)

	edit := im.Custom("data", "desc", "ext")
	edit.CloudCustomStr, edit.NeedReadReceipt, edit.Sender = "b", false, "mallory"
	ch := bob.modify("alice", sent.Epoch, 1, 0, edit).Change
	if ch.GetRev() != 1 || ch.Kind != im.ChangeKind_CHANGE_MODIFY || ch.Seq != 1 || ch.Version != 1 || ch.Operator != "bob" || ch.Sender != "alice" ||
		ch.Random != 3 || ch.ClientTime != 1700000000 || ch.SentTime != sent.Entry.Time || !ch.Countable {
		t.Fatalf("answered %v", ch)
	}
	now := ch.Message
	if len(now.ElemArray) != 1 || now.ElemArray[0].GetCustom().GetData() != "data" || now.CloudCustomStr != "b" || !now.NeedReadReceipt ||
		now.OfflinePushConfig.GetTitle() != "push" || now.Sender != "" {
		t.Errorf("the message is %v", now)
	}
	for c, peer := range map[*conn]string{alice: "bob", phone: "bob", bob: "alice"} {
		p := &im.ChangePush{}
		c.push(im.Method_CHANGE, p)
		if p.Conv.Id != peer || p.Epoch != sent.Epoch || !proto.Equal(p.Change, ch) {
			t.Errorf("pushed %v", p)
		}
	}
	if l := bob.log[len(bob.log)-2:]; l[0].Id == 0 || l[1].Id != 0 {
		t.Error("the push came before the answer")
	}
	pull := &im.PullReply{}
	alice.call(im.Method_PULL, &im.PullRequest{Conv: key("bob"), Epoch: sent.Epoch, From: 1, To: 1}, 0, pull)
	if e := pull.Entries[0]; e.Version != 1 || !proto.Equal(e.Message, now) || e.Time != sent.Entry.Time || e.Random != 3 {
		t.Errorf("pulled %v", e)
	}
	changes := &im.ChangesReply{}
	alice.call(im.Method_CHANGES, &im.ChangesRequest{Conv: key("bob"), Epoch: sent.Epoch, From: 1, To: 1}, 0, changes)
	if len(changes.Changes) != 1 || !proto.Equal(changes.Changes[0], ch) {
		t.Errorf("the rev line has %v", changes.Changes)
	}
	// A resend of the message gets the first reply, with the content as it is by then.
	again := &im.SendReply{}
	alice.call(im.Method_SEND, &im.SendRequest{Conv: key("bob"), ClientTime: 1700000000, Random: 3, Message: m}, 0, again)
	if again.Entry.Seq != 1 || again.Entry.Version != 1 || !proto.Equal(again.Entry.Message, now) {
		t.Errorf("the resend is answered %v", again)
	}
	bob.quiet()
}

func TestModifyConflict(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	epoch := alice.send("bob", "first").Epoch
	bob.push(im.Method_ENTRY, nil)
	if r := bob.modify("alice", epoch, 1, 0, im.Text("bob's")); r.Change.GetVersion() != 1 || r.Current != nil {
		t.Fatalf("answered %v", r)
	}
	bob.push(im.Method_CHANGE, nil)
	alice.push(im.Method_CHANGE, nil)
	r := alice.modify("bob", epoch, 1, 0, im.Text("alice's"))
	if r.Change != nil || r.Current.GetVersion() != 1 || r.Current.Seq != 1 || r.Current.Sender != "alice" || textOf(r.Current.Message) != "bob's" {
		t.Fatalf("answered %v", r)
	}
	alice.quiet()
	bob.quiet()
	if h := alice.head("bob"); h.Rev != 1 || textOf(h.Last.Message) != "bob's" {
		t.Errorf("head %v", h)
	}
	if r := alice.modify("bob", epoch, 1, 1, im.Text("alice's")); r.Change.GetVersion() != 2 || r.Change.Rev != 2 {
		t.Errorf("with the version it is answered %v", r)
	}

	// A frame that was sent again after its first copy succeeded gets the first reply; one whose copy did not is a conflict.
	resend := func(version uint64, s string) *im.ModifyReply {
		req := &im.ModifyRequest{Conv: key("bob"), Epoch: epoch, Seq: 1, Version: version, Message: im.Text(s)}
		alice.id++
		alice.write(im.AppendMessage(nil, &im.Frame{Id: alice.id, Method: im.Method_MODIFY, Resent: true}, req))
		f, r := alice.await(alice.id), &im.ModifyReply{}
		if f.Code != 0 {
			t.Fatalf("answered %d, %s", f.Code, f.Desc)
		}
		if err := r.UnmarshalVT(f.Body); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := resend(1, "alice's"); r.Change.GetRev() != 2 || r.Current != nil {
		t.Errorf("answered %v", r)
	}
	if r := resend(1, "another"); r.Change != nil || r.Current.GetVersion() != 2 {
		t.Errorf("answered %v", r)
	}
	if r := resend(0, "bob's"); r.Change != nil || r.Current.GetVersion() != 2 {
		t.Errorf("answered %v", r)
	}
	alice.call(im.Method_REVOKE, &im.RevokeRequest{Conv: key("bob"), Epoch: epoch, Seq: 1}, 0, nil)
	if r := resend(1, "alice's"); r.Change.GetRev() != 2 {
		t.Errorf("of a message that was recalled since it is answered %v", r)
	}
}

func TestModifyRefusals(t *testing.T) {
	n := start(t, options{chat: chat.Config{RevokeWindow: time.Hour}})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	epoch := alice.send("bob", "first").Epoch
	alice.send("bob", "second")
	refused := func(seq, e uint64, m *im.Message, code int32) {
		t.Helper()
		bob.call(im.Method_MODIFY, &im.ModifyRequest{Conv: key("alice"), Epoch: e, Seq: seq, Message: m}, code, nil)
	}
	refused(3, epoch, im.Text("x"), im.CodeResync)
	refused(1, epoch+1, im.Text("x"), im.CodeResync)
	refused(0, epoch, im.Text("x"), im.CodeNoSuchMessage)
	refused(1, epoch, im.Text(strings.Repeat("x", 13<<10)), im.CodeMessageSize)
	refused(1, epoch, im.Text("\xff"), im.CodeInvalidParameters)
	refused(1, epoch, &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_IMAGE}}}, im.CodeInvalidParameters)
	long := im.Text("x")
	long.CloudCustomStr = strings.Repeat("y", 17<<10)
	refused(1, epoch, long, im.CodeMessageSize)
	alice.call(im.Method_REVOKE, &im.RevokeRequest{Conv: key("bob"), Epoch: epoch, Seq: 2}, 0, nil)
	refused(2, epoch, im.Text("x"), im.CodeNoSuchMessage)
	carol := n.login(device{user: "carol"})
	carol.call(im.Method_MODIFY, &im.ModifyRequest{Conv: key("alice"), Epoch: epoch, Seq: 1, Message: im.Text("x")}, im.CodeResync, nil)
	if h := bob.head("alice"); h.Rev != 1 {
		t.Errorf("a refused call changed something: %v", h)
	}
}

func merger(layers int) *im.Message {
	m := im.Text("innermost")
	for range layers {
		m = &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: &im.MergerElem{
			Title: "chat", AbstractArray: []string{"a: hi"}, CompatibleText: "[chat]", MessageArray: []*im.Message{m},
		}}}}}
	}
	return m
}

// TestMerger: of a message with merged ones, only cloud_custom_str can be modified.
func TestMerger(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	send := func(m *im.Message, code int32) *im.SendReply {
		t.Helper()
		alice.id++
		r := &im.SendReply{}
		alice.call(im.Method_SEND, &im.SendRequest{Conv: key("bob"), ClientTime: 1700000000, Random: uint32(alice.id), Message: m}, code, r)
		return r
	}
	m := merger(1)
	epoch := send(m, 0).Epoch
	p := &im.EntryPush{}
	bob.push(im.Method_ENTRY, p)
	if !proto.Equal(p.Entry.Message.ElemArray[0], m.ElemArray[0]) {
		t.Errorf("pushed %v", p)
	}
	m.CloudCustomStr = "note"
	ch := bob.modify("alice", epoch, 1, 0, m).Change
	if ch.GetMessage().GetCloudCustomStr() != "note" || !proto.Equal(ch.Message.ElemArray[0], m.ElemArray[0]) {
		t.Errorf("answered %v", ch)
	}
	other := merger(1)
	other.ElemArray[0].GetMerger().Title = "forged"
	bob.call(im.Method_MODIFY, &im.ModifyRequest{Conv: key("alice"), Epoch: epoch, Seq: 1, Version: 1, Message: other}, im.CodeInvalidParameters, nil)
	bob.call(im.Method_MODIFY, &im.ModifyRequest{Conv: key("alice"), Epoch: epoch, Seq: 1, Version: 1, Message: im.Text("x")}, im.CodeInvalidParameters, nil)

	send(merger(100), 0)
	send(merger(101), im.CodeMergerLayers)
	mute := merger(1)
	mute.ElemArray[0].GetMerger().CompatibleText = ""
	send(mute, im.CodeInvalidParameters)
	big := merger(1)
	for range 299 {
		big.ElemArray[0].GetMerger().MessageArray = append(big.ElemArray[0].GetMerger().MessageArray, im.Text(strings.Repeat("z", 500)))
	}
	send(big, 0)
	big.ElemArray[0].GetMerger().MessageArray = append(big.ElemArray[0].GetMerger().MessageArray, im.Text("one more"))
	send(big, im.CodeInvalidParameters)
	big.ElemArray[0].GetMerger().MessageArray[0] = im.Text(strings.Repeat("z", 256<<10))
	send(big, im.CodeMessageSize)
}

// TestManyModifications: changes carry the content, so a reply contains as many as fit, and says which.
func TestManyModifications(t *testing.T) {
	n := start(t, options{})
	alice := n.login(device{user: "alice"})
	n.login(device{user: "bob"})
	const messages = 60
	var epoch uint64
	for range messages {
		epoch = alice.send("bob", "short").Epoch
	}
	for seq := range uint64(messages) {
		alice.modify("bob", epoch, seq+1, 0, im.Text(strings.Repeat("x", 12<<10)))
	}
	replies, rev := 0, uint64(0)
	for rev < messages {
		r := &im.ChangesReply{}
		f := alice.call(im.Method_CHANGES, &im.ChangesRequest{Conv: key("bob"), Epoch: epoch, From: rev + 1, To: messages}, 0, r)
		if len(f.Body) > 600<<10 || r.From != rev+1 || len(r.Changes) != int(r.To-rev) || len(r.Changes) == 0 {
			t.Fatalf("%d bytes with %d changes for %d to %d", len(f.Body), len(r.Changes), r.From, r.To)
		}
		for _, ch := range r.Changes {
			if rev++; ch.Rev != rev || ch.Seq != rev || len(textOf(ch.Message)) != 12<<10 {
				t.Fatalf("change %d of message %d, want %d", ch.Rev, ch.Seq, rev)
			}
		}
		replies++
	}
	if replies < 2 {
		t.Errorf("all came in %d replies", replies)
	}
}
