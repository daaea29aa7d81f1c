package gateway

import (
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tidings-im/tidings/im"
)

// beyond is a request with one field that exceeds its limit.
type beyond struct {
	field string
	json  string // the field's name in objects that have a JSON form
	req   proto.Message
}

// allBeyond makes for each field of a request, and of the messages in it, requests that exceed its limit. make wraps what is inside another message.
func allBeyond(t *testing.T, d protoreflect.MessageDescriptor, base func() proto.Message, at func(proto.Message) protoreflect.Message) (all []beyond) {
	add := func(f protoreflect.FieldDescriptor, values ...protoreflect.Value) {
		for _, v := range values {
			req := base()
			at(req).Set(f, v)
			all = append(all, beyond{string(f.Name()), f.JSONName(), req})
		}
	}
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		limit, limited := uint64(math.MaxInt64), proto.HasExtension(f.Options(), im.E_Max)
		if limited {
			limit = proto.GetExtension(f.Options(), im.E_Max).(uint64)
		}
		switch {
		case f.IsList():
			if !limited {
				t.Errorf("%s has no limit", f.FullName())
				continue
			}
			req := base()
			list := at(req).Mutable(f).List()
			for range limit + 1 {
				list.Append(list.NewElement())
			}
			all = append(all, beyond{string(f.Name()), f.JSONName(), req})
			if f.Message() != nil {
				all = append(all, allBeyond(t, f.Message(), base, func(req proto.Message) protoreflect.Message {
					return at(req).Mutable(f).List().AppendMutable().Message()
				})...)
				continue
			}
			values := []protoreflect.Value{protoreflect.ValueOfUint64(math.MaxUint64)}
			if f.Kind() == protoreflect.StringKind {
				each := proto.GetExtension(f.Options(), im.E_MaxEach).(uint64)
				values = []protoreflect.Value{protoreflect.ValueOfString(strings.Repeat("x", int(each)+1)), protoreflect.ValueOfString("\xff")}
			}
			for _, v := range values {
				req = base()
				at(req).Mutable(f).List().Append(v)
				all = append(all, beyond{string(f.Name()), f.JSONName(), req})
			}
		case f.Kind() == protoreflect.StringKind:
			if !limited {
				t.Errorf("%s has no limit", f.FullName())
				continue
			}
			add(f, protoreflect.ValueOfString(strings.Repeat("x", int(limit)+1)), protoreflect.ValueOfString("\xff"))
		case f.Kind() == protoreflect.BytesKind:
			if !limited {
				t.Errorf("%s has no limit", f.FullName())
				continue
			}
			add(f, protoreflect.ValueOfBytes(make([]byte, limit+1)))
		case f.Message() != nil && limited:
			m := &im.Message{CloudCustomStr: strings.Repeat("x", int(limit))}
			add(f, protoreflect.ValueOfMessage(m.ProtoReflect()))
		case f.Message() != nil:
			all = append(all, allBeyond(t, f.Message(), base, func(req proto.Message) protoreflect.Message { return at(req).Mutable(f).Message() })...)
		case f.Kind() == protoreflect.Uint64Kind:
			add(f, protoreflect.ValueOfUint64(limit+1), protoreflect.ValueOfUint64(math.MaxUint64))
		case f.Kind() == protoreflect.Int64Kind:
			add(f, protoreflect.ValueOfInt64(-1), protoreflect.ValueOfInt64(math.MinInt64))
			if limited {
				add(f, protoreflect.ValueOfInt64(int64(limit)+1), protoreflect.ValueOfInt64(math.MaxInt64))
			}
		case f.Kind() == protoreflect.Int32Kind:
			add(f, protoreflect.ValueOfInt32(-1), protoreflect.ValueOfInt32(math.MinInt32))
			if limited {
				add(f, protoreflect.ValueOfInt32(int32(limit)+1), protoreflect.ValueOfInt32(math.MaxInt32))
			}
		case f.Kind() == protoreflect.Uint32Kind && limited:
			add(f, protoreflect.ValueOfUint32(uint32(limit)+1), protoreflect.ValueOfUint32(math.MaxUint32))
		case f.Kind() == protoreflect.Uint32Kind, f.Kind() == protoreflect.BoolKind, f.Kind() == protoreflect.EnumKind:
		default:
			t.Errorf("%s is of a kind that this test does not know", f.FullName())
		}
	}
	return all
}

// TestEveryFieldIsBounded sends, for every field of every existing call, a value that exceeds its limit: each is refused with a code, and the text
// names the field. A field without a limit fails.
func TestEveryFieldIsBounded(t *testing.T) {
	n := start(t, options{})
	alice := n.login(device{user: "alice"})
	n.login(device{user: "bob"})
	tried := 0
	for number := range im.Method_name {
		method := im.Method(number)
		info, known := method.Info()
		if !known || info.NewRequest == nil {
			continue
		}
		base := func() proto.Message { return info.NewRequest().(proto.Message) }
		switch method {
		case im.Method_LOGIN:
			base = func() proto.Message { return device{user: "alice"}.request() }
		case im.Method_SEND:
			base = func() proto.Message {
				return &im.SendRequest{Conv: key("bob"), ClientTime: 1700000000, Message: text("x")}
			}
		}
		for _, b := range allBeyond(t, base().ProtoReflect().Descriptor(), base, proto.Message.ProtoReflect) {
			tried++
			c := alice
			if method == im.Method_LOGIN {
				c = n.dial()
			}
			body, err := b.req.(im.Msg).MarshalVT()
			if err != nil {
				t.Fatal(err)
			}
			c.id++
			c.write(im.AppendFrame(nil, &im.Frame{Id: c.id, Method: method, Body: body}))
			f := c.await(c.id)
			want, name := int32(im.CodeInvalidParameters), b.field
			switch {
			case method == im.Method_LOGIN && b.field == "user_id":
				want, name = im.CodeInvalidUserID, "user id"
			case method == im.Method_SEND && b.field == "id":
				want = im.CodeUnknownReceiver
			case b.field == "message":
				want = im.CodeMessageSize
			}
			if f.Code != want || !strings.Contains(f.Desc, name) && !strings.Contains(f.Desc, b.json) || len(f.Desc) > im.MaxDesc {
				t.Errorf("%s with a %s beyond the limit is answered %d, %q; want %d", method, b.field, f.Code, f.Desc, want)
			}
			if method == im.Method_LOGIN {
				c.ws.CloseNow()
			}
		}
	}
	if tried < 40 {
		t.Errorf("only %d fields were tried", tried)
	}
	alice.quiet()
}
