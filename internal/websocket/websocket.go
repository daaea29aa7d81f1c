// Package websocket has what both ends of a WebSocket (RFC 6455) share. Each reads frames in its own way: the gateway with as little memory as it can.
package websocket

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// Mask XORs b with the key: it masks, and it takes a mask off.
func Mask(b []byte, key [4]byte) {
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	if k == 0 {
		return
	}
	k |= k << 32
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
}

// Accept returns the Sec-WebSocket-Accept that responds to a Sec-WebSocket-Key.
func Accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Names reports whether a header's lists contain the token, in any case.
func Names(lists []string, token string) bool {
	for _, list := range lists {
		for t := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}
