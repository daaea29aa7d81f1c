package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/restjson"
)

func textElem(s string) *im.Elem {
	return &im.Elem{Body: &im.Elem_Text{Text: &im.TextElem{Content: s}}}
}

func TestCheckMessage(t *testing.T) {
	elems := func(e ...*im.Elem) *im.Message { return &im.Message{ElemArray: e} }
	full := elems(textElem("x"))
	full.CloudCustomStr, full.Priority, full.NeedReadReceipt = "c", proto.Int32(2), true
	full.GroupAtUserArray, full.OfflinePushConfig = []string{"bob"}, &im.OfflinePushConfig{Title: "t"}
	for _, c := range []struct {
		name string
		msg  *im.Message
		code int32
	}{
		{"text", elems(textElem("hi")), 0},
		{"empty text", elems(textElem("")), 0},
		{"all that is kept", full, 0},
		{"face", elems(&im.Elem{ElemType: im.ElemType_ELEM_TYPE_FACE, Body: &im.Elem_Face{Face: &im.FaceElem{Index: 3, Buf: "f"}}}), 0},
		{"location", elems(&im.Elem{ElemType: im.ElemType_ELEM_TYPE_LOCATION, Body: &im.Elem_Location{Location: &im.LocationElem{Desc: "d", Longitude: 1, Latitude: -2}}}), 0},
		{"custom", elems(&im.Elem{ElemType: im.ElemType_ELEM_TYPE_CUSTOM, Body: &im.Elem_Custom{Custom: &im.CustomElem{Data: "d"}}}), 0},
		{"12 KB", elems(textElem(strings.Repeat("x", im.MaxContent))), 0},
		{"more than 12 KB", elems(textElem(strings.Repeat("x", im.MaxContent+1))), im.CodeMessageSize},
		{"more than 12 KB in two", elems(textElem(strings.Repeat("x", 7000)), textElem(strings.Repeat("x", 7000))), im.CodeMessageSize},
		{"much custom data", &im.Message{ElemArray: []*im.Elem{textElem("x")}, CloudCustomStr: strings.Repeat("x", im.MaxBody)}, im.CodeMessageSize},
		{"no elements", &im.Message{}, im.CodeInvalidParameters},
		{"another body than its type", elems(&im.Elem{ElemType: im.ElemType_ELEM_TYPE_FACE, Body: textElem("x").Body}), im.CodeInvalidParameters},
		{"no body", elems(&im.Elem{}), im.CodeInvalidParameters},
		{"tips", elems(&im.Elem{ElemType: im.ElemType_ELEM_TYPE_GROUP_TIPS, Raw: []byte("{}")}), im.CodeInvalidParameters},
		{"not UTF-8", elems(textElem("\xff")), im.CodeInvalidParameters},
		{"custom data that is not UTF-8", &im.Message{ElemArray: []*im.Elem{textElem("x")}, CloudCustomStr: "\xff"}, im.CodeInvalidParameters},
	} {
		out, err := checkMessage(wire(c.msg), im.Platform_PLATFORM_MAC)
		if c.code != 0 {
			if !errors.Is(err, &im.Error{Code: c.code}) {
				t.Errorf("%s: %v, want code %d", c.name, err, c.code)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := &im.Message{}
		if err := proto.Unmarshal(out.body, got); err != nil {
			t.Errorf("%s: stored is %v", c.name, err)
		}
		want := proto.CloneOf(c.msg)
		want.Platform = int32(im.Platform_PLATFORM_MAC)
		if !proto.Equal(got, want) {
			t.Errorf("%s: stored is %v, want %v", c.name, got, want)
		}
	}
}

func TestCountable(t *testing.T) {
	for _, c := range []struct {
		msg       *im.Message
		countable bool
	}{
		{&im.Message{}, true},
		{&im.Message{IsExcludedFromUnreadCount: true}, false},
		{&im.Message{IsOnlineMsg: true}, false},
	} {
		c.msg.ElemArray = []*im.Elem{textElem("x")}
		if out, err := checkMessage(wire(c.msg), 0); err != nil || out.countable != c.countable {
			t.Errorf("%v: countable %t, %v", c.msg, out.countable, err)
		}
	}
}

// Everybody can decode what is accepted, and it contains no views.
func FuzzCheckMessage(f *testing.F) {
	f.Add(wire(&im.Message{ElemArray: []*im.Elem{textElem("hi")}, Seq: 9, Sender: "mallory", CustomStr: "x"}))
	f.Add([]byte{0x0a, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := checkMessage(b, im.Platform_PLATFORM_IOS)
		if err != nil {
			if im.CodeOf(err) == 0 {
				t.Fatalf("%v has no code", err)
			}
			return
		}
		m := &im.Message{}
		if err := proto.Unmarshal(out.body, m); err != nil {
			t.Fatal(err)
		}
		if m.Seq != 0 || m.Sender != "" || m.CustomStr != "" || m.CustomInt != 0 || m.Status != 0 || m.SenderProfile != nil || m.SenderGroupMemberInfo != nil || m.Version != 0 ||
			m.ServerTime != 0 || m.IsRead || m.MsgId != "" || m.UniqueId != 0 || m.RevokerUserId != "" {
			t.Fatalf("views are stored: %v", m)
		}
		for _, el := range m.ElemArray {
			if el.Body == nil {
				t.Fatalf("an element without a body is stored: %v", el)
			}
		}
	})
}

// mutate changes a message in wire form according to a script, three bytes per step: which field of which layer, what is done to it, and with what.
// Lengths are recomputed, so that the damage is in the content and not in its length.
func mutate(b, script []byte) []byte {
	for len(script) >= 3 {
		at := int(script[0])
		b = mutateField(b, &at, script[1], script[2], 0)
		script = script[3:]
	}
	return b
}

func mutateField(b []byte, at *int, do, with byte, depth int) (out []byte) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeField(b)
		if n < 0 {
			return append(out, b...)
		}
		field := b[:n]
		b = b[n:]
		*at--
		if *at >= 0 {
			if typ == protowire.BytesType && depth < 20 {
				_, _, tag := protowire.ConsumeTag(field)
				v, _ := protowire.ConsumeBytes(field[tag:])
				if _, _, n := protowire.ConsumeField(v); n > 0 {
					v = mutateField(v, at, do, with, depth+1)
				}
				field = protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), v)
			}
			out = append(out, field...)
			continue
		}
		if *at < -1 { // done
			out = append(out, field...)
			continue
		}
		_, _, tag := protowire.ConsumeTag(field)
		switch do % 8 {
		case 0: // another number
			out = append(protowire.AppendTag(out, protowire.Number(with%64)+1, typ), field[tag:]...)
		case 1: // another wire type
			out = protowire.AppendVarint(protowire.AppendTag(out, num, protowire.VarintType), uint64(with))
		case 2:
			out = protowire.AppendFixed64(protowire.AppendTag(out, num, protowire.Fixed64Type), 0x7ff0<<48|uint64(with))
		case 3:
			out = protowire.AppendFixed32(protowire.AppendTag(out, num, protowire.Fixed32Type), uint32(with))
		case 4: // another value
			out = protowire.AppendBytes(protowire.AppendTag(out, num, protowire.BytesType), bytes.Repeat([]byte{with}, int(with%7)))
		case 5: // twice
			out = append(append(out, field...), field...)
		case 6: // removed
		case 7: // inside of itself
			out = protowire.AppendBytes(protowire.AppendTag(out, num, protowire.BytesType), field)
		}
		*at = -2
	}
	return out
}

// FuzzAccepted sends messages of all kinds after random damage to their fields. Every reader can decode and show what is accepted: the client's
// decoder and its JSON, the JSON of webhooks, and the reader of either JSON.
func FuzzAccepted(f *testing.F) {
	all := &im.Message{Priority: proto.Int32(2), CloudCustomStr: "c", OfflinePushConfig: &im.OfflinePushConfig{Title: "t", Flag: 1}, GroupAtUserArray: []string{"bob", ""}}
	for _, m := range []*im.Message{im.Text("text"), im.Custom("data", "desc", "ext"), im.Face(1, "buf"), im.Location("desc", 1.5, -2)} {
		all.ElemArray = append(all.ElemArray, m.ElemArray...)
	}
	inner := proto.CloneOf(all)
	inner.Sender, inner.MsgId, inner.Seq, inner.SenderProfile = "alice", "1-2-3", 5, &im.SenderProfile{NickName: "Alice"}
	inner.ElemArray = append(inner.ElemArray, &im.Elem{ElemType: im.ElemType_ELEM_TYPE_PROFILE_CHANGE, Raw: []byte(`{"elem_type":11}`)},
		&im.Elem{ElemType: im.ElemType_ELEM_TYPE_IMAGE, Body: &im.Elem_Image{Image: &im.ImageElem{OrigPath: "/p", OrigId: "o", OrigPicWidth: 3, OrigUrl: "u"}}})
	merged := inner
	for range 2 {
		merged = &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: &im.MergerElem{
			Title: "t", AbstractArray: []string{"a", "b"}, CompatibleText: "c", MessageArray: []*im.Message{merged, inner}}}}}}
	}
	for _, m := range []*im.Message{all, merged} {
		b := wire(m)
		f.Add(b, []byte{})
		for at := range byte(40) {
			for do := range byte(8) {
				f.Add(b, []byte{at, do, 0x81, at + 3, do + 1, 0})
			}
		}
	}
	f.Fuzz(func(t *testing.T, b, script []byte) {
		if len(script) > 300 || len(b) > 64<<10 {
			return
		}
		out, err := checkMessage(mutate(b, script), im.Platform_PLATFORM_IOS)
		if err != nil {
			if im.CodeOf(err) == 0 {
				t.Fatalf("%v has no code", err)
			}
			return
		}
		// In the form in which the store's entries reach a client, with a good one beside it.
		var body []byte
		for seq, of := range [][]byte{wire(im.Text("x")), out.body} {
			e := entry{Stored: &Stored{Entry: Entry{Body: of}, Seq: uint64(seq) + 1}}
			body = e.appendField(body, entriesOfPull)
		}
		var reply im.PullReply
		if err := reply.UnmarshalVT(body); err != nil {
			t.Fatalf("the client cannot decode % x: %v", out.body, err)
		}
		m := reply.Entries[1].Message
		if err := proto.Unmarshal(out.body, &im.Message{}); err != nil {
			t.Fatalf("another decoder cannot decode % x: %v", out.body, err)
		}
		again := &im.Message{}
		if err := im.FromJSON(im.ToJSON(m), again); err != nil {
			t.Fatalf("the JSON of a program is not JSON: %v", err)
		}
		if !json.Valid([]byte(im.ToJSON(m))) {
			t.Fatalf("not JSON: %s", im.ToJSON(m))
		}
		told, err := restjson.Marshal(restjson.Body(m))
		if err != nil {
			t.Fatalf("a webhook cannot be told of %v: %v", m, err)
		}
		if _, err := restjson.ReadBody(told); err != nil && !strings.Contains(err.Error(), "MsgBody") {
			t.Fatalf("the webhook's JSON cannot be read: %v", err)
		}
		// What was accepted is accepted again: as a rewritten message, and when it is forwarded.
		if _, err := checkMessage(out.body, im.Platform_PLATFORM_IOS); err != nil {
			t.Fatalf("it is not taken a second time: %v", err)
		}
	})
}

func BenchmarkCheckMessage(b *testing.B) {
	for name, m := range map[string]*im.Message{"text": {ElemArray: []*im.Elem{textElem(strings.Repeat("x", 100))}}, "long text": {ElemArray: []*im.Elem{textElem(strings.Repeat("x", 10_000))}}} {
		body := wire(m)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := checkMessage(body, im.Platform_PLATFORM_IOS); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
