package im

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Decode reads what a server answered or pushed into m. A message in it that cannot be decoded is left out, so that it spoils its own number of
// its log and nothing else: an entry without a message is void for whoever reads it.
//
// It takes a type and no interface, so that the linker keeps the decoders of those types alone with which it is called: a tenth of a megabyte in the
// C library.
func Decode[M any, P interface {
	*M
	Msg
	proto.Message
}](b []byte, m P) error {
	err := m.UnmarshalVT(b)
	if err == nil {
		return nil
	}
	name := string(m.ProtoReflect().Descriptor().Name())
	for i := range shapes {
		if shapes[i].name == name && name != shapes[shapeMessage].name {
			proto.Reset(m)
			return m.UnmarshalVT(withoutBad(b, &shapes[i]))
		}
	}
	return err
}

// withoutBad copies b, of shape s, without the messages inside that cannot be decoded. What is wrong otherwise stays wrong: it is not a message of
// somebody's but an answer that cannot be believed.
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
