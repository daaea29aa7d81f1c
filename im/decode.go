package im

import "google.golang.org/protobuf/encoding/protowire"

// Decodable are the pointers to generated messages.
type Decodable[M any] interface {
	*M
	Msg
	Reset()
	wireShape() int
}

// Decode reads a reply or a push of a server into m. A message in it that cannot be decoded is left out, so that it costs its own number of its log
// and nothing else: an entry without a message is void for its reader.
//
// It takes a type and not an interface, so that the linker keeps only the decoders of the types with which it is called. That saves a tenth of a
// megabyte in the C library.
func Decode[M any, P Decodable[M]](b []byte, m P) error {
	err := m.UnmarshalVT(b)
	if err == nil {
		return nil
	}
	if m.wireShape() == shapeMessage {
		return err
	}
	m.Reset()
	return m.UnmarshalVT(withoutBad(b, &shapes[m.wireShape()]))
}

// withoutBad returns a copy of b, which has the shape s, without the nested messages that cannot be decoded. Other errors stay: then it is not a bad
// message of some user, but a reply that cannot be trusted.
func withoutBad(b []byte, s *shape) []byte {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeField(b)
		if n < 0 {
			return append(out, b...)
		}
		field := b[:n]
		b = b[n:]
		if typ != protowire.BytesType || int(num) >= len(s.fields) || s.fields[num].kind != wireMessage {
			out = append(out, field...)
			continue
		}
		_, _, tag := protowire.ConsumeTag(field)
		value, _ := protowire.ConsumeBytes(field[tag:])
		if of := s.fields[num].of; of != shapeMessage {
			value = withoutBad(value, &shapes[of])
		} else if new(Message).UnmarshalVT(value) != nil {
			continue
		}
		out = protowire.AppendBytes(append(out, field[:tag]...), value)
	}
	return out
}
