package im

import (
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func wireOf(t testing.TB, m Msg) []byte {
	t.Helper()
	b, err := m.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func merger(inner ...*Message) *Message {
	return message(&Elem{ElemType: ElemType_ELEM_TYPE_MERGER, Body: &Elem_Merger{Merger: &MergerElem{CompatibleText: "c", MessageArray: inner}}})
}

func many[T any](n int, v T) []T {
	list := make([]T, n)
	for i := range list {
		list[i] = v
	}
	return list
}

func layered(n int, core *Message) *Message {
	for range n {
		core = merger(core)
	}
	return core
}

// field is a field of a message in wire form, with a value that has a length.
func field(num protowire.Number, v ...byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), v)
}

// TestFormOfMessages: what some reader could not decode or write as JSON is refused with 6017, in every place of a message; the limits of the
// contract are exact.
func TestFormOfMessages(t *testing.T) {
	text, wide := Text("x"), &Message{ElemArray: many(MaxElems, Text("x").ElemArray[0])}
	// A merger with a varint in the place of its body, which no reader can decode.
	foreign := field(1, protowire.AppendVarint(protowire.AppendTag([]byte{8, 12}, 6, protowire.VarintType), 1)...)
	for _, c := range []struct {
		name string
		msg  []byte
		code int32
	}{
		{"text", wireOf(t, text), 0},
		{"NaN", wireOf(t, Location("d", math.NaN(), 1)), CodeInvalidParameters},
		{"infinite", wireOf(t, Location("d", 1, math.Inf(-1))), CodeInvalidParameters},
		{"NaN deep inside", wireOf(t, layered(3, Location("d", math.NaN(), 1))), CodeInvalidParameters},
		{"not UTF-8", wireOf(t, Text("\xff")), CodeInvalidParameters},
		{"not UTF-8 deep inside", wireOf(t, layered(3, Text("\xff"))), CodeInvalidParameters},
		{"a view that is not UTF-8 deep inside", wireOf(t, merger(&Message{ElemArray: text.ElemArray, SenderProfile: &SenderProfile{NickName: "\xff"}})), CodeInvalidParameters},
		{"custom data that is not UTF-8", wireOf(t, &Message{ElemArray: text.ElemArray, CloudCustomStr: "\xff"}), CodeInvalidParameters},
		{"push texts that are not UTF-8", wireOf(t, &Message{ElemArray: text.ElemArray, OfflinePushConfig: &OfflinePushConfig{Desc: "\xff"}}), CodeInvalidParameters},
		{"a foreign wire type", foreign, CodeInvalidParameters},
		{"a foreign wire type deep inside", field(1, append([]byte{8, 12}, field(6, append(field(3, 'c'), field(4, foreign...)...)...)...)...), CodeInvalidParameters},
		{"a number as text", append(wireOf(t, text), field(5, 1)...), CodeInvalidParameters},
		{"two bodies", field(1, append(field(2), field(2)...)...), CodeInvalidParameters},
		{"two bodies of two types", field(1, append(field(2), field(3)...)...), CodeInvalidParameters},
		{"a group", append(wireOf(t, text), protowire.AppendTag(protowire.AppendTag(nil, 99, protowire.StartGroupType), 99, protowire.EndGroupType)...), CodeInvalidParameters},
		{"cut", wireOf(t, text)[:4], CodeInvalidParameters},
		{"100 elements", wireOf(t, wide), 0},
		{"101 elements", wireOf(t, &Message{ElemArray: many(MaxElems+1, text.ElemArray[0])}), CodeInvalidParameters},
		{"101 elements inside", wireOf(t, merger(&Message{ElemArray: many(MaxElems+1, text.ElemArray[0])})), CodeInvalidParameters},
		{"300 merged", wireOf(t, merger(many(MaxMerged, text)...)), 0},
		{"301 merged", wireOf(t, merger(many(MaxMerged+1, &Message{})...)), CodeInvalidParameters},
		{"1000 merged in all", wireOf(t, merger(append(many(3, merger(many(MaxMerged, text)...)), merger(many(96, text)...))...)), 0},
		{"1001 merged in all", wireOf(t, merger(append(many(3, merger(many(MaxMerged, text)...)), merger(many(97, text)...))...)), CodeInvalidParameters},
		{"300 times 300 merged", wireOf(t, merger(many(MaxMerged, merger(many(MaxMerged, &Message{})...))...)), CodeInvalidParameters},
		{"2000 elements in all", wireOf(t, merger(append(many(19, wide), &Message{ElemArray: wide.ElemArray[:99]})...)), 0},
		{"2001 elements in all", wireOf(t, merger(many(20, wide)...)), CodeInvalidParameters},
		{"100 layers", wireOf(t, layered(MaxLayers, text)), 0},
		{"101 layers", wireOf(t, layered(MaxLayers+1, text)), CodeMergerLayers},
		{"10,000 layers", wireOf(t, layered(10_000, text)), CodeMergerLayers},
		{"256 KiB", wireOf(t, merger(Text(strings.Repeat("x", 250<<10)))), 0},
		{"more than 256 KiB", wireOf(t, merger(Text(strings.Repeat("x", 256<<10)))), CodeMessageSize},
		{"6 lines that sum it up", wireOf(t, message(&Elem{ElemType: ElemType_ELEM_TYPE_MERGER, Body: &Elem_Merger{Merger: &MergerElem{
			CompatibleText: "c", AbstractArray: many(maxAbstract+1, "")}}})), CodeInvalidParameters},
	} {
		_, err := CheckMessage(c.msg)
		if c.code == 0 && err != nil || c.code != 0 && (err == nil || err.Code != c.code) {
			t.Errorf("%s: %v, want code %d", c.name, err, c.code)
		}
		m := &Message{}
		if err := m.UnmarshalVT(c.msg); c.code == 0 && err != nil {
			t.Errorf("%s is accepted, and not decoded: %v", c.name, err)
		}
	}
	m := shapes[shapeMessage].fields[1]
	g := shapes[shapeMergerElem].fields[4]
	if m.most != MaxElems || m.inAll != MaxElemsInAll || g.most != MaxMerged || g.inAll != MaxMergedInAll || shapes[shapeMergerElem].layers != MaxLayers {
		t.Error("the limits are not those of the contract")
	}
}

// grown returns how many bytes f allocates.
func grown(f func()) int {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// TestWeight: what is accepted takes about as much memory as was counted on the wire, and at most a few megabytes, also as JSON. Input that is made
// to expand is refused without allocating.
func TestWeight(t *testing.T) {
	escapes := strings.Repeat("\x01", 12<<10)
	for name, m := range map[string]*Message{
		"text":            Text("hello"),
		"merged":          merger(many(MaxMerged, Text("hello"))...),
		"empty ones":      layered(3, merger(many(MaxMerged, &Message{})...)),
		"elements":        merger(many(19, &Message{ElemArray: many(MaxElems, &Elem{Body: &Elem_Merger{Merger: &MergerElem{}}})})...),
		"names":           {ElemArray: Text("x").ElemArray, GroupAtUserArray: many(5000, "")},
		"names inside":    merger(&Message{GroupAtUserArray: many(80_000, "")}),
		"raw":             merger(many(20, &Message{ElemArray: many(90, &Elem{ElemType: 99, Raw: []byte(`{"elem_type":99}`)})})...),
		"escapes":         merger(many(20, Text(escapes))...),
		"layers of texts": layered(90, Text(escapes)),
	} {
		b := wireOf(t, m)
		w, err := CheckMessage(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got Message
		if n := grown(func() {
			if err := got.UnmarshalVT(b); err != nil {
				t.Fatal(err)
			}
		}); n > 3*w.Decoded+4096 || w.Decoded > 4<<20 {
			t.Errorf("%s: %d bytes on the wire take %d, counted were %d", name, len(b), n, w.Decoded)
		}
		if n := len(ToJSON(&got)); n > 4<<20 || n > 3*JSONSize(&got) {
			t.Errorf("%s: %d bytes on the wire are %d of JSON, reckoned were %d", name, len(b), n, JSONSize(&got))
		}
	}
	empty := func(n int) []byte { return []byte(strings.Repeat("\x0a\x00", n)) }
	for _, c := range []struct {
		m    Method
		body []byte
		code int32
	}{
		{Method_READ, empty(10_000), 0},
		{Method_READ, empty(500_000), CodeInvalidParameters},
		{Method_READ, empty(600_000), CodeMessageSize},
		{Method_LOOKUP, empty(101), CodeInvalidParameters},
		{Method_HEADS, field(4, 0)[:0], 0},
		{Method_MODIFY, field(5, empty(130_000)...), CodeInvalidParameters},
		{Method_MODIFY, field(5, wireOf(t, Location("d", math.NaN(), 0))...), CodeInvalidParameters},
		{Method_MODIFY, append(field(5), field(5)...), CodeInvalidParameters},
		{Method_REVOKE, field(4, 0xff), CodeInvalidParameters},
		{Method_READ, []byte{0xff}, CodeBadRequest},
		{Method_DELETE, field(3, 1, 2, 3), 0},
		{Method_DELETE, field(3, 1, 0x80), CodeBadRequest},
		{Method_ENTRY, nil, CodeBadRequest},
		{4711, nil, CodeBadRequest},
	} {
		var err *Error
		n := grown(func() { _, err = CheckCall(c.m, c.body) })
		if c.code == 0 && err != nil || c.code != 0 && (err == nil || err.Code != c.code) {
			t.Errorf("%v with %d bytes: %v, want %d", c.m, len(c.body), err, c.code)
		}
		if n > 64<<10 {
			t.Errorf("looking at %v with %d bytes took %d bytes of memory", c.m, len(c.body), n)
		}
	}
}

// TestDecodeLeavesOutOneMessage: a message that cannot be decoded costs a reply that message, wherever it is, and nothing else.
func TestDecodeLeavesOutOneMessage(t *testing.T) {
	bad := field(1, 8, 12, 6<<3, 1)
	if new(Message).UnmarshalVT(bad) == nil {
		t.Fatal("the bad message can be decoded")
	}
	entry := func(seq byte, msg []byte) []byte { return append([]byte{8, seq}, field(15, msg...)...) }
	good := wireOf(t, Text("x"))
	entries := append(append(field(4, entry(1, good)...), field(4, entry(2, bad)...)...), field(4, entry(3, good)...)...)
	for _, c := range []struct {
		body []byte
		into func([]byte) (proto.Message, error)
		want proto.Message
	}{
		{append([]byte{8, 7, 16, 1, 24, 3}, entries...), into[PullReply], &PullReply{Epoch: 7, From: 1, To: 3, Entries: []*Entry{
			{Seq: 1, Message: Text("x")}, {Seq: 2}, {Seq: 3, Message: Text("x")}}}},
		{field(4, entry(2, bad)...), into[ChangesReply], &ChangesReply{Changes: []*Change{{Rev: 2}}}},
		{append(field(1, field(19, entry(2, bad)...)...), 16, 5), into[HeadsReply], &HeadsReply{Heads: []*Head{{Last: &Entry{Seq: 2}}}, Next: 5}},
		{field(3, entry(2, bad)...), into[EntryPush], &EntryPush{Entry: &Entry{Seq: 2}}},
		{field(3, entry(2, bad)...), into[ChangePush], &ChangePush{Change: &Change{Rev: 2}}},
		{append([]byte{8, 7}, field(2, entry(2, bad)...)...), into[SendReply], &SendReply{Epoch: 7, Entry: &Entry{Seq: 2}}},
		{field(2, entry(2, bad)...), into[ModifyReply], &ModifyReply{Current: &Entry{Seq: 2}}},
		{append(field(1, field(2, entry(2, bad)...)...), field(1, field(2, entry(3, good)...)...)...), into[LookupReply], &LookupReply{
			Found: []*SendReply{{Entry: &Entry{Seq: 2}}, {Entry: &Entry{Seq: 3, Message: Text("x")}}}}},
	} {
		if got, err := c.into(c.body); err != nil || !proto.Equal(got, c.want) {
			t.Errorf("%v, %v, want %v", got, err, c.want)
		}
	}
	for _, broken := range [][]byte{{0xff}, field(4, 0xff), entries[:len(entries)-1]} {
		if err := Decode(broken, &PullReply{}); err == nil {
			t.Errorf("% x is believed", broken)
		}
	}
}

// TestLayersInJSON: what can be sent is written as JSON that is accepted again, in all layers.
func TestLayersInJSON(t *testing.T) {
	for _, n := range []int{1, 50, MaxLayers, MaxLayers + 1} {
		m := layered(n, Text("core"))
		for _, list := range []bool{false, true} {
			var got Message
			err := FromJSON(ToJSON(m), &got)
			if list {
				var ms []*Message
				if ms, err = ListFromJSON[Message](ListToJSON([]*Message{m})); err == nil {
					proto.Reset(&got)
					proto.Merge(&got, ms[0])
				}
			}
			if err != nil || ToJSON(&got) != ToJSON(m) {
				t.Fatalf("%d layers come back as another message: %v", n, err)
			}
		}
	}
	var tooDeep *JSONError
	if err := FromJSON(ToJSON(layered(MaxJSONDepth, Text("x"))), &Message{}); !errors.As(err, &tooDeep) {
		t.Errorf("JSON without end is read: %v", err)
	}
}

// into decodes into a new message of a type.
func into[M any, P interface {
	Decodable[M]
	proto.Message
}](b []byte) (proto.Message, error) {
	m := P(new(M))
	err := Decode(b, m)
	return m, err
}
