package chat

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tidings-im/tidings/im"
)

// Stored messages go out as the bytes in which they are stored: everything that contains an im.Entry is assembled here by hand, so that a message is
// not decoded and encoded again for every reader. The numbers are those of api/calls.proto.

const (
	messageOfEntry  protowire.Number = 15
	entryOfReply    protowire.Number = 2  // SendReply
	entryOfPush     protowire.Number = 3  // EntryPush
	entriesOfPull   protowire.Number = 4  // PullReply
	lastOfHead      protowire.Number = 19 // Head
	cardOfPush      protowire.Number = 5  // EntryPush
	cardsOfPull     protowire.Number = 6  // PullReply
	headsOfReply    protowire.Number = 1  // HeadsReply
	foundOfLookup   protowire.Number = 1  // LookupReply
	convTypeC2C                      = 1
	convTypeGroup                    = 2
	convOfEntryPush protowire.Number = 1
	personOfPush    protowire.Number = 4 // EntryPush
	peopleOfReply   protowire.Number = 5 // PullReply, HeadsReply
)

// entry is a Stored with the names that its readers need.
type entry struct {
	*Stored
	sender, revoker string
	// bare leaves the message out, because its reader has it.
	bare bool
}

func (e *entry) size() int {
	n := sizeUint(e.Seq) + sizeUint(uint64(e.Time)) + sizeBytes(len(e.sender)) + sizeUint(uint64(e.Sender)) +
		sizeUint(e.ClientTime) + sizeUint(uint64(e.Random)) + sizeUint(e.Index) + sizeUint(e.OwnIndex) +
		sizeUint(uint64(e.Status)) + sizeBytes(len(e.revoker)) + sizeBytes(len(e.RevokeReason)) + sizeUint(e.Version)
	if e.Countable {
		n += 2
	}
	if !e.bare {
		n += 1 + protowire.SizeBytes(len(e.Body))
	}
	return n
}

func (e *entry) append(b []byte) []byte {
	b = appendUint(b, 1, e.Seq)
	b = appendUint(b, 2, uint64(e.Time))
	b = appendString(b, 3, e.sender)
	b = appendUint(b, 4, uint64(e.Sender))
	b = appendUint(b, 5, e.ClientTime)
	b = appendUint(b, 6, uint64(e.Random))
	b = appendUint(b, 7, e.Index)
	b = appendUint(b, 8, e.OwnIndex)
	if e.Countable {
		b = appendUint(b, 9, 1)
	}
	b = appendUint(b, 10, uint64(e.Status))
	b = appendString(b, 11, e.revoker)
	b = appendString(b, 12, e.RevokeReason)
	b = appendUint(b, 13, e.Version)
	if !e.bare {
		b = protowire.AppendTag(b, messageOfEntry, protowire.BytesType)
		b = protowire.AppendBytes(b, e.Body)
	}
	return b
}

// appendField appends the entry as a field of its parent.
func (e *entry) appendField(b []byte, num protowire.Number) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(e.size()))
	return e.append(b)
}

func (e *entry) sizeField(num protowire.Number) int {
	return protowire.SizeTag(num) + protowire.SizeBytes(e.size())
}

// The fields below have numbers under 16: their tags take one byte.

func sizeUint(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(v)
}

func sizeBytes(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(n)
}

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.VarintType)
	return protowire.AppendVarint(b, v)
}

func appendString(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendString(b, s)
}

// encoded is an R that is already in wire form.
type encoded[R im.Body] []byte

func (encoded[R]) readAs(R)      {}
func (e encoded[R]) SizeVT() int { return len(e) }

func (e encoded[R]) MarshalToSizedBufferVT(b []byte) (int, error) {
	return copy(b[len(b)-len(e):], e), nil
}

// wire encodes a body.
func wire(m im.Body) []byte {
	b := make([]byte, m.SizeVT())
	if _, err := m.MarshalToSizedBufferVT(b); err != nil {
		panic(err) // the buffer has the size that the message needs
	}
	return b
}

// A send contains the body of the frames it causes, so that none of them needs memory of its own.
type (
	// sendReply is its im.SendReply: everything except the message, which the sender has.
	sendReply send
	// peerEntry is its im.EntryPush for the peer, ownEntry that for the sender's other sessions.
	peerEntry send
	ownEntry  send
)

func (*sendReply) readAs(*im.SendReply) {}
func (*peerEntry) readAs(*im.EntryPush) {}
func (*ownEntry) readAs(*im.EntryPush)  {}

func (m *sendReply) entry() entry {
	// The sender does not have a message that a hook rewrote or that somebody has modified.
	return entry{Stored: &m.stored, sender: m.call.Caller.Name, revoker: m.revoker, bare: m.stored.Version == 0 && bytes.Equal(m.stored.Body, m.sent)}
}

func (m *sendReply) SizeVT() int {
	e := m.entry()
	return sizeUint(uint64(m.conv.id)) + e.sizeField(entryOfReply)
}

func (m *sendReply) MarshalToSizedBufferVT(b []byte) (int, error) {
	e := m.entry()
	return len(e.appendField(appendUint(b[:0], 1, uint64(m.conv.id)), entryOfReply)), nil
}

func (m *peerEntry) SizeVT() int {
	n := (*send)(m).sizePush(m.call.Caller.Name)
	if m.face != nil {
		n += 1 + protowire.SizeBytes(len(m.face.wire))
	}
	return n
}

func (m *peerEntry) MarshalToSizedBufferVT(b []byte) (int, error) {
	n := (*send)(m).appendPush(b[:0], m.call.Caller.Name)
	if m.face != nil {
		n = len(protowire.AppendBytes(protowire.AppendTag(b[:n], personOfPush, protowire.BytesType), m.face.wire))
	}
	return n, nil
}

func (m *ownEntry) SizeVT() int { return (*send)(m).sizePush(m.peer.name) }
func (m *ownEntry) MarshalToSizedBufferVT(b []byte) (int, error) {
	return (*send)(m).appendPush(b[:0], m.peer.name), nil
}

func (m *send) sizePush(conv string) int {
	e := entry{Stored: &m.stored, sender: m.call.Caller.Name}
	return sizeBytes(2+sizeBytes(len(conv))) + sizeUint(uint64(m.conv.id)) + e.sizeField(entryOfPush)
}

// appendPush fills b, which has the room that sizePush returned.
func (m *send) appendPush(b []byte, conv string) int {
	e := entry{Stored: &m.stored, sender: m.call.Caller.Name}
	b = protowire.AppendTag(b, convOfEntryPush, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(2+sizeBytes(len(conv))))
	typ := uint64(convTypeC2C)
	if m.group != nil {
		typ = convTypeGroup
	}
	b = appendUint(b, 1, typ)
	b = appendString(b, 2, conv)
	b = appendUint(b, 2, uint64(m.conv.id))
	return len(e.appendField(b, entryOfPush))
}
