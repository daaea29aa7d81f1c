package im

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"
)

// FuzzReadFrames: any message is split into frames or refused, and frames that were read are the same after they are written and read again.
func FuzzReadFrames(f *testing.F) {
	whole := AppendFrame(nil, &Frame{Id: 1, Method: Method_LOGIN, Body: []byte("body")})
	whole = AppendFrame(whole, &Frame{Id: 1 << 60, Method: 4711, Code: -302, Desc: "too many", Resent: true})
	for _, b := range [][]byte{nil, whole, whole[:len(whole)-1], {0}, {1}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, {2, 0x1a, 0x7f}, {3, 0x7b, 1, 0x7c}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var frames []Frame
		err := ReadFrames(b, func(f *Frame) error {
			frames = append(frames, Frame{Id: f.Id, Method: f.Method, Body: bytes.Clone(f.Body), Code: f.Code, Desc: f.Desc, Resent: f.Resent})
			return nil
		})
		if err != nil && !errors.Is(err, ErrFrame) {
			t.Fatal(err)
		}
		var again []byte
		for i := range frames {
			again = AppendFrame(again, &frames[i])
		}
		i := 0
		if err := ReadFrames(again, func(f *Frame) error {
			w := &frames[i]
			if f.Id != w.Id || f.Method != w.Method || !bytes.Equal(f.Body, w.Body) || f.Code != w.Code || f.Desc != w.Desc || f.Resent != w.Resent {
				t.Fatalf("frame %d is %v after it was written and read, before %v", i, f, w)
			}
			i++
			return nil
		}); err != nil || i != len(frames) {
			t.Fatalf("%d of %d frames come back: %v", i, len(frames), err)
		}
	})
}

// FuzzCheckCall: a call of any method that passes the check on the wire can be decoded, by either decoder.
func FuzzCheckCall(f *testing.F) {
	for m := range Method_name {
		f.Add(m, []byte{0x0a, 2, 8, 1, 0x10, 1, 0x1a, 1, 5})
		f.Add(m, bytes.Repeat([]byte{0x0a, 0}, 50))
	}
	send, _ := (&SendRequest{Conv: &ConvKey{Type: 1, Id: "bob"}, ClientTime: 1, Random: 2, Message: merger(Text("x"), Location("d", 1, 2))}).MarshalVT()
	modify, _ := (&ModifyRequest{Conv: &ConvKey{Type: 1, Id: "bob"}, Epoch: 1, Seq: 2, Version: 3, Message: merger(Face(1, "x"))}).MarshalVT()
	f.Add(int32(Method_SEND), send)
	f.Add(int32(Method_MODIFY), modify)
	f.Fuzz(func(t *testing.T, number int32, b []byte) {
		m := Method(number)
		w, bad := CheckCall(m, b)
		if w.Texts > len(b) {
			t.Fatalf("%d bytes have %d of text", len(b), w.Texts)
		}
		if bad != nil {
			return
		}
		info, _ := m.Info()
		req := info.NewRequest()
		if err := req.UnmarshalVT(b); err != nil {
			t.Fatalf("%s % x passes and is not decoded: %v", info.Name, b, err)
		}
		if err := proto.Unmarshal(b, info.NewRequest().(proto.Message)); err != nil {
			t.Fatalf("%s % x passes and another decoder does not take it: %v", info.Name, b, err)
		}
	})
}
