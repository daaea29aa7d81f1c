package im

import "google.golang.org/protobuf/encoding/protowire"

// Sendable returns a message in wire form without the fields that are not sent: paths of files on the sender's device and, unless an operator sends it,
// URLs and the flags beside them, at any depth. It is msg itself if that has none. A message that is malformed is returned as it is: CheckForm refuses it.
func Sendable(msg []byte, operator bool) []byte {
	from := uint8(fromUsers)
	if operator {
		from = fromAll
	}
	if found, whole := removable(msg, &shapes[shapeMessage], from, MaxLayers); !found || !whole {
		return msg
	}
	return remove(make([]byte, 0, len(msg)), msg, &shapes[shapeMessage], from)
}

// removable reports whether a message has something to be removed, and whether it can be read, with no more than a number of layers.
func removable(b []byte, s *shape, from uint8, layers int) (found, whole bool) {
	if s.layers > 0 {
		if layers--; layers < 0 {
			return false, false
		}
	}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false, false
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return false, false
		}
		if f := s.field(num); f != nil {
			switch {
			case typ == protowire.BytesType && f.kind == wireMessage && shapes[f.of].removes:
				v, _ := protowire.ConsumeBytes(b[n:])
				inside, whole := removable(v, &shapes[f.of], from, layers)
				if !whole {
					return false, false
				}
				found = found || inside
			case f.removed >= from:
				found = true
			}
		}
		b = b[n+m:]
	}
	return found, true
}

// remove appends a message, which removable has read, to out.
func remove(out, b []byte, s *shape, from uint8) []byte {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		f := s.field(num)
		switch {
		case f != nil && f.removed >= from:
		case typ == protowire.BytesType && f != nil && f.kind == wireMessage && shapes[f.of].removes:
			v, _ := protowire.ConsumeBytes(b[n:])
			out = protowire.AppendBytes(append(out, b[:n]...), remove(make([]byte, 0, len(v)), v, &shapes[f.of], from))
		default:
			out = append(out, b[:n+m]...)
		}
		b = b[n+m:]
	}
	return out
}

// field returns a field by its number, nil if the shape has none.
func (s *shape) field(num protowire.Number) *shapeField {
	if num < 0 || int(num) >= len(s.fields) || s.fields[num].kind == 0 {
		return nil
	}
	return &s.fields[num]
}
