package im

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// What comes over the wire is looked at before it is decoded, in one pass over its bytes and without memory of its own. What passes is decoded by
// every reader, can be told in JSON, and takes a bounded amount of memory. The tables it goes by are generated from the contract, as the decoder is.

// A shape is a message of the contract on the wire.
type shape struct {
	name string
	// size is that of the Go struct.
	size int
	// layers is how deep messages of this shape may lie in each other, 0 without a limit.
	layers uint32
	// fields stand at their numbers; what is between them has no kind.
	fields []shapeField
}

type shapeField struct {
	kind uint8
	// of is the shape of a message.
	of uint8
	// counter is the number of the field's counter in its message, total that of its counter over all; 0 if it is not counted.
	counter, total uint8
	// most and inAll are what these may come to.
	most, inAll uint32
	name        string
}

const (
	wireVarint = 1 + iota
	// wireVarints may be packed.
	wireVarints
	wireDouble
	wireText
	wireBytes
	wireMessage
)

func sizeOf[T any]() int {
	var v T
	return int(unsafe.Sizeof(v))
}

// Weight is what something in wire form comes to.
type Weight struct {
	// Texts is the bytes of all texts.
	Texts int
	// Decoded is about how many bytes it takes in memory once it is decoded.
	Decoded int
}

// check is one pass.
type check struct {
	Weight
	layers uint32
	totals [shapeTotals + 1]uint32
	// code is that of what is malformed.
	code int32
}

// CheckCall looks at the request of a call. Its error names the field.
func CheckCall(m Method, body []byte) (Weight, *Error) {
	info, ok := m.Info()
	if !ok || info.NewRequest == nil {
		return Weight{}, Errorf(CodeBadRequest, "there is no call %d", m)
	}
	if len(body) > info.MaxBody {
		return Weight{}, Errorf(CodeMessageSize, "the request has %d bytes, more than %d", len(body), info.MaxBody)
	}
	c := check{code: CodeBadRequest}
	err := c.message(body, &shapes[info.request])
	return c.Weight, err
}

// checkWire looks at a message of the contract that came inside of another.
func checkWire(b []byte, shape int) (Weight, *Error) {
	c := check{code: CodeInvalidParameters}
	err := c.message(b, &shapes[shape])
	return c.Weight, err
}

func (c *check) message(b []byte, s *shape) *Error {
	c.Decoded += s.size
	if s.layers > 0 {
		if c.layers++; c.layers > s.layers {
			return Errorf(CodeMergerLayers, "messages of %s lie more than %d deep in each other", s.name, s.layers)
		}
		defer func() { c.layers-- }()
	}
	var counts [shapeCounters + 1]uint32
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || num > protowire.MaxValidNumber {
			return c.malformed(s.name)
		}
		b = b[n:]
		var f *shapeField
		if int(num) < len(s.fields) && s.fields[num].kind != 0 {
			f = &s.fields[num]
		}
		switch typ {
		case protowire.VarintType:
			if n = sizeOfVarint(b); n < 0 || f != nil && f.kind != wireVarint && f.kind != wireVarints {
				return c.malformed(s.nameOf(f))
			}
			if f == nil {
				c.Decoded += 2 * n // kept as it came
			} else if f.kind == wireVarints {
				c.Decoded += 16
			}
			b = b[n:]
		case protowire.Fixed64Type:
			if len(b) < 8 || f != nil && f.kind != wireDouble {
				return c.malformed(s.nameOf(f))
			}
			if f == nil {
				c.Decoded += 16
			} else if v := math.Float64frombits(binary.LittleEndian.Uint64(b)); math.IsNaN(v) || math.IsInf(v, 0) {
				return Errorf(CodeInvalidParameters, "%s is not a finite number", f.name)
			}
			b = b[8:]
		case protowire.Fixed32Type:
			if len(b) < 4 || f != nil {
				return c.malformed(s.nameOf(f))
			}
			c.Decoded += 8
			b = b[4:]
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return c.malformed(s.nameOf(f))
			}
			if err := c.bytes(v, s, f, &counts); err != nil {
				return err
			}
			b = b[n:]
		default: // groups, which the contract has nowhere
			return c.malformed(s.nameOf(f))
		}
	}
	return nil
}

// bytes looks at a field with a length.
func (c *check) bytes(v []byte, s *shape, f *shapeField, counts *[shapeCounters + 1]uint32) *Error {
	if f == nil {
		c.Decoded += 2 * len(v)
		return nil
	}
	switch f.kind {
	case wireText:
		if !utf8.Valid(v) {
			return Errorf(CodeInvalidParameters, "%s is not UTF-8", f.name)
		}
		c.Texts += len(v)
		c.Decoded += len(v) + 32
	case wireBytes:
		c.Decoded += len(v)
	case wireVarints:
		for len(v) > 0 {
			n := sizeOfVarint(v)
			if n < 0 {
				return c.malformed(f.name)
			}
			c.Decoded += 16
			v = v[n:]
		}
	case wireMessage:
		if f.counter > 0 {
			if counts[f.counter]++; counts[f.counter] > f.most {
				return Errorf(CodeInvalidParameters, "%s occurs more than %d times", f.name, f.most)
			}
		}
		if f.total > 0 {
			if c.totals[f.total]++; c.totals[f.total] > f.inAll {
				return Errorf(CodeInvalidParameters, "%s occurs more than %d times in all", f.name, f.inAll)
			}
		}
		c.Decoded += 16
		return c.message(v, &shapes[f.of])
	default:
		return c.malformed(f.name)
	}
	return nil
}

func (c *check) malformed(what string) *Error { return Errorf(c.code, "%s is malformed", what) }

func (s *shape) nameOf(f *shapeField) string {
	if f == nil {
		return s.name
	}
	return f.name
}

// sizeOfVarint is how many bytes the varint at the beginning of b has; negative if there is none.
func sizeOfVarint(b []byte) int {
	if len(b) > 0 && b[0] < 0x80 {
		return 1
	}
	_, n := protowire.ConsumeVarint(b)
	return n
}
