package chat

import (
	"encoding/json"
	"log/slog"
	"reflect"
	"slices"
	"testing"

	"github.com/tidings-im/tidings/im"
)

// listener is a carrier that remembers what it got.
type listener struct {
	c     *Chat
	hears bool
	told  []Event
}

func listen() *listener {
	l := &listener{hears: true}
	l.c = &Chat{log: slog.New(slog.DiscardHandler)}
	l.c.Subscribe(Carrier{Tell: func(_ Audience, event func() Event) {
		if !l.hears {
			return
		}
		e := event()
		e.Frame = slices.Clone(e.Frame)
		l.told = append(l.told, e)
	}})
	return l
}

// counted is a head that counts how often it is encoded.
type counted struct {
	im.Head
	times int
}

func (*counted) readAs(*im.Head) {}

func (h *counted) MarshalToSizedBufferVT(b []byte) (int, error) {
	h.times++
	return h.Head.MarshalToSizedBufferVT(b)
}

// broken is a head whose encoding fails like a mistake of ours would.
type broken struct{ im.Head }

func (*broken) readAs(*im.Head)                            {}
func (*broken) MarshalToSizedBufferVT([]byte) (int, error) { panic("a mistake") }

// An event is encoded once, however many sessions get it, and not at all if none does.
func TestEncodedOnce(t *testing.T) {
	l := listen()
	to := Audience{Users: []UID{1, 2, 3}, Except: SessionID{1, 2}}
	h := &counted{Head: im.Head{Epoch: 7, Seq: 9}}
	l.hears = false
	l.c.tell(pushHead.wire(to, h))
	if h.times != 0 || len(l.told) != 0 {
		t.Fatalf("nobody hears, and it is encoded %d times and told %d times", h.times, len(l.told))
	}
	l.hears = true
	l.c.tell(pushHead.wire(to, h))
	if h.times != 1 || len(l.told) != 1 {
		t.Fatalf("it is encoded %d times and told %d times", h.times, len(l.told))
	}
	e, got := l.told[0], &im.Head{}
	if err := im.ReadFrames(e.Frame, func(f *im.Frame) error { return got.UnmarshalVT(f.Body) }); err != nil || got.Epoch != 7 || got.Seq != 9 || e.Method != im.Method_HEAD || !reflect.DeepEqual(e.To, to) {
		t.Errorf("told is %v with %v, %v", e, got, err)
	}
}

// An event that cannot be encoded affects nothing else, and its audience is asked to fetch what it missed.
func TestEventThatCannotBeEncoded(t *testing.T) {
	l := listen()
	to := Audience{Users: []UID{1}}
	l.c.tell(pushHead.wire(to, &broken{im.Head{Seq: 1}}))
	l.c.tell(pushHead.to(to, &im.Head{Seq: 1}))
	want := []Event{
		{To: to, Method: im.Method_BEHIND, Frame: im.AppendFrame(nil, &im.Frame{Method: im.Method_BEHIND})},
		{To: to, Method: im.Method_HEAD, Frame: im.AppendMessage(nil, &im.Frame{Method: im.Method_HEAD}, &im.Head{Seq: 1})},
	}
	if !reflect.DeepEqual(l.told, want) {
		t.Errorf("told is %v", l.told)
	}
}

// An event is plain data: nothing in it points into this process, and it is unchanged after travelling over a wire.
func TestEventIsPlain(t *testing.T) {
	var plain func(reflect.Type, string)
	plain = func(typ reflect.Type, path string) {
		switch typ.Kind() {
		case reflect.Struct:
			for f := range typ.NumField() {
				if f := typ.Field(f); !f.IsExported() {
					t.Errorf("%s.%s cannot be written", path, f.Name)
				} else {
					plain(f.Type, path+"."+f.Name)
				}
			}
		case reflect.Slice:
			plain(typ.Elem(), path+"[]")
		case reflect.Pointer, reflect.Interface, reflect.Func, reflect.Chan, reflect.Map, reflect.UnsafePointer:
			t.Errorf("%s is a %s", path, typ)
		}
	}
	plain(reflect.TypeFor[Event](), "Event")
	e := Event{
		To:     Audience{Users: []UID{1, 2}, Group: 3, Among: []UID{4}, Without: []UID{5}, Seq: 6, Rev: 7, Late: 8, MemberSet: 9, Except: SessionID{1 << 63, 5}, Only: SessionID{6, 7}, ExceptDevice: Device{8, "phone"}},
		Method: im.Method_CHANGE, Frame: im.AppendMessage(nil, &im.Frame{Method: im.Method_CHANGE}, &im.ChangePush{Epoch: 9}),
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var got Event
	if err := json.Unmarshal(b, &got); err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("%v came back as %v, %v", e, got, err)
	}
}
