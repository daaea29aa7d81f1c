package im

import (
	"encoding/binary"
	"errors"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Subprotocol is the WebSocket subprotocol of this version of the wire: offering it is the version handshake.
const Subprotocol = "tidings.v1"

const (
	// MaxMessage is the largest WebSocket message that a server reads; a client puts no more frames into one than fit.
	MaxMessage = 1 << 20
	// MaxAnswer is the largest WebSocket message that a client reads. A server sends far less at once; MaxReply is the largest body that it would put
	// into a frame.
	MaxAnswer = 4 << 20
	MaxReply  = MaxAnswer - 64<<10
)

// ErrFrame means that the input cannot be split into frames.
var ErrFrame = errors.New("im: malformed frame")

// Body is the body of a frame: any generated message.
type Body interface {
	SizeVT() int
	MarshalToSizedBufferVT([]byte) (int, error)
}

// AppendFrame appends f, preceded by its length, to b: a WebSocket message consists of any number of these.
func AppendFrame(b []byte, f *Frame) []byte {
	head := frameHead(f)
	size := head
	if len(f.Body) > 0 {
		size += 1 + protowire.SizeBytes(len(f.Body))
	}
	b = slices.Grow(b, protowire.SizeVarint(uint64(size))+size)
	b = appendFrameHead(b, f, size)
	if len(f.Body) > 0 {
		b = protowire.AppendTag(b, 3, protowire.BytesType)
		b = protowire.AppendBytes(b, f.Body)
	}
	return b
}

// AppendMessage is AppendFrame for a body that is not encoded yet; f.Body is ignored.
func AppendMessage(b []byte, f *Frame, body Body) []byte {
	n := body.SizeVT()
	size := frameHead(f)
	if n > 0 {
		size += 1 + protowire.SizeBytes(n)
	}
	b = slices.Grow(b, protowire.SizeVarint(uint64(size))+size)
	b = appendFrameHead(b, f, size)
	if n > 0 {
		b = protowire.AppendTag(b, 3, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(n))
		// There is enough room, and a generated message fails for no other reason.
		at := len(b)
		b = b[:at+n]
		if _, err := body.MarshalToSizedBufferVT(b[at:]); err != nil {
			panic(err)
		}
	}
	return b
}

// frameHead is the size of everything in a frame except its body.
func frameHead(f *Frame) int {
	n := 0
	if f.Id != 0 {
		n += 1 + protowire.SizeVarint(f.Id)
	}
	if f.Method != 0 {
		n += 1 + protowire.SizeVarint(uint64(f.Method))
	}
	if f.Code != 0 {
		n += 1 + protowire.SizeVarint(uint64(f.Code))
	}
	if f.Desc != "" {
		n += 1 + protowire.SizeBytes(len(f.Desc))
	}
	if f.Resent {
		n += 2
	}
	return n
}

func appendFrameHead(b []byte, f *Frame, size int) []byte {
	b = protowire.AppendVarint(b, uint64(size))
	if f.Id != 0 {
		b = protowire.AppendTag(b, 1, protowire.VarintType)
		b = protowire.AppendVarint(b, f.Id)
	}
	if f.Method != 0 {
		b = protowire.AppendTag(b, 2, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(f.Method))
	}
	if f.Code != 0 {
		b = protowire.AppendTag(b, 4, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(f.Code))
	}
	if f.Desc != "" {
		b = protowire.AppendTag(b, 5, protowire.BytesType)
		b = protowire.AppendString(b, f.Desc)
	}
	if f.Resent {
		b = protowire.AppendTag(b, 6, protowire.VarintType)
		b = append(b, 1)
	}
	return b
}

// ReadFrames calls fn for each frame of a WebSocket message, in order, and stops at the first error of fn, which it returns. The frame is reused for
// the next one, and its body is a part of b: fn must keep neither.
func ReadFrames(b []byte, fn func(*Frame) error) error {
	var f Frame
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return ErrFrame
		}
		if !readFrame(b[n:n+int(size)], &f) {
			return ErrFrame
		}
		if err := fn(&f); err != nil {
			return err
		}
		b = b[n+int(size):]
	}
	return nil
}

// readFrame is written by hand so that the body need not be copied.
func readFrame(b []byte, f *Frame) bool {
	f.Id, f.Method, f.Body, f.Code, f.Desc, f.Resent = 0, 0, nil, 0, "", false
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		switch {
		case typ == protowire.VarintType && num != 0:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return false
			}
			b = b[n:]
			switch num {
			case 1:
				f.Id = v
			case 2:
				f.Method = Method(v)
			case 4:
				f.Code = int32(v)
			case 6:
				f.Resent = v != 0
			}
		case typ == protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return false
			}
			b = b[n:]
			switch num {
			case 3:
				f.Body = v
			case 5:
				f.Desc = string(v)
			}
		default: // a field of a later version
			n := protowire.ConsumeFieldValue(num, typ, b)
			if n < 0 {
				return false
			}
			b = b[n:]
		}
	}
	return true
}
