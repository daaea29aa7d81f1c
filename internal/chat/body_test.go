package chat

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tidings-im/tidings/im"
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
		{"12 KB", elems(textElem(strings.Repeat("x", maxContent))), 0},
		{"more than 12 KB", elems(textElem(strings.Repeat("x", maxContent+1))), im.CodeMessageSize},
		{"more than 12 KB in two", elems(textElem(strings.Repeat("x", 7000)), textElem(strings.Repeat("x", 7000))), im.CodeMessageSize},
		{"much custom data", &im.Message{ElemArray: []*im.Elem{textElem("x")}, CloudCustomStr: strings.Repeat("x", maxBody)}, im.CodeMessageSize},
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

// What is accepted can be decoded by everybody, and holds nothing that is a view.
func FuzzCheckMessage(f *testing.F) {
	f.Add(wire(&im.Message{ElemArray: []*im.Elem{textElem("hi")}, Seq: 9, Sender: "mallory", CustomStr: "x"}))
	f.Add([]byte{0x0a, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := checkMessage(b, im.Platform_PLATFORM_IOS)
		var e *im.Error
		if err != nil {
			if !errors.As(err, &e) {
				t.Fatalf("%v has no code", err)
			}
			return
		}
		m := &im.Message{}
		if err := proto.Unmarshal(out.body, m); err != nil {
			t.Fatal(err)
		}
		if m.Seq != 0 || m.Sender != "" || m.CustomStr != "" || m.CustomInt != 0 || m.Status != 0 || m.SenderProfile != nil || m.Version != 0 ||
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
