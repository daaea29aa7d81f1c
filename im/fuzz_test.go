package im

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzReadFrames: whatever a message is, it is taken apart or refused, and what was taken apart says the same when it is written and read again.
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
