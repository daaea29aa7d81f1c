package im

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// What arrives on the wire is checked before it is decoded, in one pass over its bytes and without allocating. What passes can be decoded by every
// reader and written as JSON, and takes a limited amount of memory. The tables for the check are generated from the contract, as the decoder is.

// A shape is a message of the contract on the wire.
type shape struct {
	name string
	// size is that of the Go struct.
	size int
	// layers is how deep messages of this shape may be nested, 0 without a limit.
	layers uint32
	// removes means that it has, at any depth, a field that is removed from what is sent.
	removes bool
	// fields are indexed by their numbers; gaps have no kind.
	fields []shapeField
}

type shapeField struct {
	kind uint8
	// of is the shape of a message field.
	of uint8
	// counter is the index of the field's counter in its message, total that of its counter over the whole; 0 if the field is not counted.
	counter, total uint8
	// most and inAll are the limits of these.
	most, inAll uint32
	// limit is that of a number, or of the bytes of a text; 0 without one.
	limit uint64
	// removed names the sends from which the field is removed; id is the number of the field with the id of the file, if this is its URL.
	removed, id uint8
	name        string
}

const (
	fromUsers = 1 + iota // and not from an operator's; of URLs, only those of uploads
	fromAll
)

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

// Weight is what the check has counted in something in wire form.
type Weight struct {
	// Texts is the number of bytes of all texts.
	Texts int
	// Decoded is roughly how many bytes of memory it takes once it is decoded.
	Decoded int
}

// check is the state of one pass.
type check struct {
	Weight
	layers uint32
	totals [shapeTotals + 1]uint32
	// code is the code for malformed input.
	code int32
}

// CheckCall checks the request of a call. Its error names the field.
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

// checkWire checks a message of the contract that arrived inside another one.
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
				c.Decoded += 2 * n // kept unchanged
			} else if f.kind == wireVarints {
				c.Decoded += 16
			} else if f.limit > 0 {
				if v, _ := protowire.ConsumeVarint(b); v > f.limit {
					return Errorf(CodeInvalidParameters, "%s is not 0 to %d", f.name, f.limit)
				}
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
		default: // groups, which the contract does not use
			return c.malformed(s.nameOf(f))
		}
	}
	return nil
}

// bytes checks a field that has a length.
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
		if f.limit > 0 && uint64(len(v)) > f.limit {
			return Errorf(CodeInvalidParameters, "%s has %d bytes, more than %d", f.name, len(v), f.limit)
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

// sizeOfVarint returns how many bytes the varint at the beginning of b has; negative if there is none.
func sizeOfVarint(b []byte) int {
	if len(b) > 0 && b[0] < 0x80 {
		return 1
	}
	_, n := protowire.ConsumeVarint(b)
	return n
}
