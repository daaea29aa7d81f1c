package gateway

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tidings-im/tidings/im"
)

// TestPlacesStayBehind: paths and URLs of files inside a merger do not leave the sender, nor may a modification have them.
func TestPlacesStayBehind(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	image := &im.ImageElem{OrigPath: "/home/alice/a.png", Level: 1, OrigId: "o", OrigPicSize: 3, OrigUrl: "https://x/media/o?token=t", LargeUrl: "u", ThumbUrl: "u"}
	m := merger(2)
	inner := m.ElemArray[0].GetMerger().MessageArray[0].ElemArray[0].GetMerger()
	inner.MessageArray = append(inner.MessageArray, &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_IMAGE, Body: &im.Elem_Image{Image: image}}}})
	want := proto.CloneOf(m)
	alice.id++
	epoch := &im.SendReply{}
	alice.call(im.Method_SEND, &im.SendRequest{Conv: key("bob"), ClientTime: 1700000000, Random: uint32(alice.id), Message: m}, 0, epoch)
	got := want.ElemArray[0].GetMerger().MessageArray[0].ElemArray[0].GetMerger().MessageArray[1].ElemArray[0].GetImage()
	got.OrigPath, got.OrigUrl, got.LargeUrl, got.ThumbUrl = "", "", "", ""
	p := &im.EntryPush{}
	bob.push(im.Method_ENTRY, p)
	if !proto.Equal(p.Entry.Message.ElemArray[0], want.ElemArray[0]) {
		t.Errorf("pushed %v, want %v", p.Entry.Message, want)
	}
	m.CloudCustomStr = "note" // with the places, as the sender's application has it
	ch := bob.modify("alice", epoch.Epoch, 1, 0, m).Change
	if ch.GetMessage().GetCloudCustomStr() != "note" || !proto.Equal(ch.Message.ElemArray[0], want.ElemArray[0]) {
		t.Errorf("modified, it is %v", ch)
	}
}
