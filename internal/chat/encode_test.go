package chat

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/tidings-im/tidings/im"
)

// What is assembled by hand is what the generated code would write.
func TestEntriesByHand(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		num := func(name string) uint64 { return rapid.Uint64Max(1<<62).Draw(t, name) }
		str := func(name string) string { return rapid.StringN(0, 40, 200).Draw(t, name) }
		msg := &im.Message{ElemArray: []*im.Elem{{Body: &im.Elem_Text{Text: &im.TextElem{Content: str("text")}}}}, CloudCustomStr: str("custom")}
		st := Stored{
			Entry: Entry{Conv: ConvID(num("conv")), Sender: UID(num("sender")), ClientTime: num("client time"), Random: uint32(num("random")),
				Body: wire(msg), Countable: rapid.Bool().Draw(t, "countable")},
			Seq: num("seq"), Time: int64(num("time")), Index: num("index"), OwnIndex: num("own"), Status: int32(rapid.IntRange(0, 7).Draw(t, "status")),
			Version: num("version"), RevokeReason: str("reason"),
		}
		m := &send{call: Call[*im.SendReply]{Caller: &Caller{Name: str("name")}}, peer: person{name: str("peer")}, conv: c2c{id: st.Conv}, sent: st.Body, stored: st, revoker: str("revoker")}
		want := &im.Entry{
			Seq: st.Seq, Time: st.Time, Sender: m.call.Caller.Name, SenderTinyId: uint64(st.Sender), ClientTime: st.ClientTime, Random: st.Random,
			Index: st.Index, OwnIndex: st.OwnIndex, Countable: st.Countable, Status: im.MessageStatus(st.Status),
			RevokeReason: st.RevokeReason, Version: st.Version, Message: msg,
		}
		same := func(body im.Body, want, got proto.Message) {
			b := im.AppendMessage(nil, &im.Frame{Id: 1, Method: im.Method_SEND}, body)
			if err := im.ReadFrames(b, func(f *im.Frame) error { return proto.Unmarshal(f.Body, got) }); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(want, got) {
				t.Fatalf("wrote %v, want %v", got, want)
			}
		}
		key := func(name string) *im.ConvKey { return &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: name} }
		same((*peerEntry)(m), &im.EntryPush{Conv: key(m.call.Caller.Name), Epoch: uint64(st.Conv), Entry: want}, &im.EntryPush{})
		same((*ownEntry)(m), &im.EntryPush{Conv: key(m.peer.name), Epoch: uint64(st.Conv), Entry: want}, &im.EntryPush{})
		if st.Version == 0 {
			want.Message = nil
		}
		want.Revoker = m.revoker
		same((*sendReply)(m), &im.SendReply{Epoch: uint64(st.Conv), Entry: want}, &im.SendReply{})
	})
}
