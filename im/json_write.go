package im

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// The parts of the generated AppendTIM methods. They write each key as `,"key":`, and closeObject adds the brace.

// closeObject finishes the object whose first comma is at b[start].
func closeObject(b []byte, start int) []byte {
	if len(b) == start {
		return append(b, "{}"...)
	}
	b[start] = '{'
	return append(b, '}')
}

func appendInt[T ~int32 | ~int64](b []byte, v T) []byte {
	return strconv.AppendInt(b, int64(v), 10)
}

func appendUint[T ~uint32 | ~uint64](b []byte, v T) []byte {
	return strconv.AppendUint(b, uint64(v), 10)
}

func appendBool(b []byte, v bool) []byte {
	return strconv.AppendBool(b, v)
}

// appendDouble writes the shortest digits that give v again. JSON has no infinities and no NaN: they become 0.
func appendDouble(b []byte, v float64) []byte {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return append(b, '0')
	}
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, v, format, -1, 64)
}

const hexDigits = "0123456789abcdef"

// appendString writes a string whose result is valid UTF-8 whatever s contains.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	done := 0 // s[:done] is written
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(b, s[done:i]...)
				b = append(b, "\ufffd"...)
				done = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' && c != '/' {
			i++
			continue
		}
		b = append(b, s[done:i]...)
		switch c {
		case '"', '\\', '/':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		done = i
	}
	b = append(b, s[done:]...)
	return append(b, '"')
}

func appendArray[T any](b []byte, list []T, elem func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = elem(b, v)
	}
	return append(b, ']')
}

func appendMessages[M TIM](b []byte, list []M) []byte {
	return appendArray(b, list, func(b []byte, m M) []byte { return m.AppendTIM(b) })
}

// appendRaw writes an object that was kept unchanged, and reports whether it did. The object may have crossed the wire, so it is checked first:
// anything except one object of the given kind could break the JSON around it, or show a reader a content that nobody here has checked.
func appendRaw(b, raw []byte, key string, kind int32) ([]byte, bool) {
	if len(raw) == 0 || !utf8.Valid(raw) {
		return b, false
	}
	k := rawKind{key: key}
	if err := readAll(string(raw), func(r *JSONReader) error { return readObject(r, &k) }); err != nil || !k.found || k.kind != kind {
		return b, false
	}
	return append(b, raw...), true
}

// rawKind looks for the one key that gives the kind of an object.
type rawKind struct {
	key   string
	kind  int32
	found bool
}

func (k *rawKind) parseTIMKey(r *JSONReader, key []byte) (err error) {
	if string(key) != k.key {
		return r.skip()
	}
	k.found = !r.null()
	k.kind, err = readInt[int32](r)
	return err
}
