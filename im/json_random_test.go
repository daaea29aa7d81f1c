package im

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"
)

var timMessages = []TIM{
	(*Message)(nil), (*ConvInfo)(nil), (*GetMsgListParam)(nil), (*Draft)(nil), (*MsgLocator)(nil), (*MessageReceipt)(nil),
	(*TotalUnread)(nil), (*GetConvParam)(nil),
}

// fill sets every field at random; with bare, it leaves some absent and puts broken text into strings.
func fill(t *rapid.T, m protoreflect.Message, bare bool, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if proto.GetExtension(fd.Options(), E_Internal).(bool) || fd.ContainingOneof() != nil && !fd.HasOptionalKeyword() {
			continue
		}
		if bare && rapid.IntRange(0, 3).Draw(t, "absent") == 0 {
			continue
		}
		// The words contain each other, but not endlessly; a message that is written with its defaults must be present.
		if fd.Message() != nil && depth == 0 && proto.GetExtension(fd.Options(), E_OmitEmpty).(bool) {
			continue
		}
		switch {
		case fd.IsList():
			list := m.Mutable(fd).List()
			for range rapid.IntRange(0, 2).Draw(t, "len") {
				if fd.Message() != nil {
					v := list.NewElement()
					fill(t, v.Message(), bare, depth-1)
					list.Append(v)
				} else {
					list.Append(scalar(t, fd, bare))
				}
			}
		case fd.Message() != nil:
			fill(t, m.Mutable(fd).Message(), bare, depth-1)
		default:
			m.Set(fd, scalar(t, fd, bare))
		}
	}
	if e, ok := m.Interface().(*Elem); ok {
		switch rapid.IntRange(0, 8).Draw(t, "elem") {
		case 0:
			e.ElemType, e.Body = ElemType_ELEM_TYPE_TEXT, &Elem_Text{new(TextElem)}
			fill(t, e.GetText().ProtoReflect(), bare, depth)
		case 1:
			e.ElemType, e.Body = ElemType_ELEM_TYPE_CUSTOM, &Elem_Custom{new(CustomElem)}
			fill(t, e.GetCustom().ProtoReflect(), bare, depth)
		case 2:
			e.ElemType, e.Body = ElemType_ELEM_TYPE_FACE, &Elem_Face{new(FaceElem)}
			fill(t, e.GetFace().ProtoReflect(), bare, depth)
		case 3:
			e.ElemType, e.Body = ElemType_ELEM_TYPE_LOCATION, &Elem_Location{new(LocationElem)}
			fill(t, e.GetLocation().ProtoReflect(), bare, depth)
		case 4:
			e.ElemType, e.Body = ElemType_ELEM_TYPE_IMAGE, &Elem_Image{new(ImageElem)}
			fill(t, e.GetImage().ProtoReflect(), bare, depth)
		case 5:
			e.ElemType, e.Body = ElemType_ELEM_TYPE_SOUND, &Elem_Sound{new(SoundElem)}
			fill(t, e.GetSound().ProtoReflect(), bare, depth)
		case 6:
			e.ElemType, e.Body = ElemType_ELEM_TYPE_FILE, &Elem_File{new(FileElem)}
			fill(t, e.GetFile().ProtoReflect(), bare, depth)
		case 7:
			e.ElemType, e.Body = ElemType_ELEM_TYPE_VIDEO, &Elem_Video{new(VideoElem)}
			fill(t, e.GetVideo().ProtoReflect(), bare, depth)
		case 8:
			e.ElemType, e.Raw = 99, []byte(`{"elem_type": 99, "x": "/"}`)
		}
	}
}

func scalar(t *rapid.T, fd protoreflect.FieldDescriptor, bare bool) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(t, "bool"))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(rapid.Int32().Draw(t, "int32"))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(rapid.Uint32().Draw(t, "uint32"))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(rapid.Uint64().Draw(t, "uint64"))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.Int32().Draw(t, "enum")))
	case protoreflect.DoubleKind:
		// vtprotobuf takes a negative zero for a zero; adding 0 makes one of it.
		return protoreflect.ValueOfFloat64(rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64).Draw(t, "double") + 0)
	case protoreflect.StringKind:
		if bare {
			return protoreflect.ValueOfString(string(rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "bytes")))
		}
		return protoreflect.ValueOfString(rapid.StringN(0, 8, 32).Draw(t, "string"))
	}
	panic(fd.Kind())
}

// sortedKeys fails if the keys of an object, at any depth, are out of order or repeated.
func sortedKeys(t *rapid.T, s string) {
	dec := json.NewDecoder(strings.NewReader(s))
	var read func()
	read = func() {
		tok, err := dec.Token()
		if err != nil {
			t.Fatalf("%v in %s", err, s)
		}
		last := ""
		for dec.More() && (tok == json.Delim('{') || tok == json.Delim('[')) {
			if tok == json.Delim('{') {
				key, err := dec.Token()
				if err != nil || key.(string) <= last {
					t.Fatalf("key %v after %q, %v, in %s", key, last, err, s)
				}
				last = key.(string)
			}
			read()
		}
		if _, ok := tok.(json.Delim); ok {
			if _, err := dec.Token(); err != nil {
				t.Fatal(err)
			}
		}
	}
	read()
}

func TestRoundTrip(t *testing.T) {
	for _, kind := range timMessages {
		desc := kind.(proto.Message).ProtoReflect()
		t.Run(string(desc.Descriptor().Name()), rapid.MakeCheck(func(t *rapid.T) {
			bare := rapid.Bool().Draw(t, "bare")
			m, back := desc.New().Interface(), desc.New().Interface()
			fill(t, m.ProtoReflect(), bare, 2)
			s := ToJSON(m.(TIM))
			sortedKeys(t, s)
			if !utf8.ValidString(s) {
				t.Fatalf("not UTF-8: %q", s)
			}
			if err := FromJSON(s, back.(TIM)); err != nil {
				t.Fatalf("%v in %s", err, s)
			}
			if again := ToJSON(back.(TIM)); again != s {
				t.Fatalf("wrote\n%s\nthen\n%s", s, again)
			}
			if !bare && !proto.Equal(m, back) {
				t.Fatalf("%v\ncame back as\n%v", m, back)
			}
		}))
	}
}

// TestWire checks that the fast wire codec and protobuf's own agree, including optional fields and oneofs.
func TestWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m, fast, slow Message
		fill(t, m.ProtoReflect(), false, 2)
		b, err := m.MarshalVT()
		if err != nil || len(b) != m.SizeVT() {
			t.Fatalf("%d bytes of %d, %v", len(b), m.SizeVT(), err)
		}
		if err := proto.Unmarshal(b, &slow); err != nil || !proto.Equal(&m, &slow) {
			t.Fatalf("%v\ncame to protobuf as\n%v (%v)", &m, &slow, err)
		}
		b, err = proto.Marshal(&m)
		if err != nil {
			t.Fatal(err)
		}
		if err := fast.UnmarshalVT(b); err != nil || !proto.Equal(&m, &fast) {
			t.Fatalf("%v\ncame from protobuf as\n%v (%v)", &m, &fast, err)
		}
	})
}

func FuzzFromJSON(f *testing.F) {
	// Short texts: the fuzzer spends its time on their content, and would minimize long ones for minutes.
	f.Add(`{"message_seq":1.5e1,"message_sender":"a\/\u00e9","message_is_read":true,"message_priority":0}`)
	f.Add(`{"message_elem_array":[{"elem_type":7,"location_elem_latitude":-0.5},{"elem_type":0,"text_elem_content":"x"}]}`)
	f.Add(`{"message_sender_profile":{"user_profile_nick_name":null},"message_group_at_user_array":["a"]}`)
	f.Add(`{"message_elem_array":[{"elem_type":1,"image_elem_orig_id":"a","image_elem_level":-1},{"elem_type":9,"video_elem_image_url":"u"}]}`)
	f.Add(`{"message_elem_array":[{"elem_type":2,"sound_elem_file_time":1},{"elem_type":4,"file_elem_download_flag":2}]}`)
	f.Add(`{"message_elem_array":[{"elem_type":98,"x":[1e5,{"a":"\ud800"}]}],"message_seq":-1e0,"message_seq":null}`)
	f.Add(`{"message_elem_array":[{"custom_elem_data":[],"elem_type":0}]} `)
	f.Fuzz(func(t *testing.T, in string) {
		var m, again Message
		if err := FromJSON(in, &m); err != nil {
			if _, ok := err.(*JSONError); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if !json.Valid([]byte(in)) {
			t.Fatalf("took %q", in)
		}
		s := ToJSON(&m)
		if !json.Valid([]byte(s)) || !utf8.ValidString(s) {
			t.Fatalf("%q became %q", in, s)
		}
		if err := FromJSON(s, &again); err != nil {
			t.Fatalf("%v in %q", err, s)
		}
		if s2 := ToJSON(&again); s2 != s {
			t.Fatalf("%q became %q, then %q", in, s, s2)
		}
		// What is read can cross the wire: protobuf requires its strings to be UTF-8.
		if _, err := proto.Marshal(&m); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkToJSON(b *testing.B) {
	m := observed["text"]
	b.ReportAllocs()
	for b.Loop() {
		ToJSON(m)
	}
}

func BenchmarkAppendTIM(b *testing.B) {
	m := observed["text"]
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = m.AppendTIM(buf[:0])
	}
}

func BenchmarkFromJSON(b *testing.B) {
	s := ToJSON(observed["text"])
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		if err := FromJSON(s, new(Message)); err != nil {
			b.Fatal(err)
		}
	}
}
