package restjson

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/tidings-im/tidings/im"
)

// Flag is a boolean that is a number, 0 or 1, in JSON. Some clients write false and true, which is accepted, too.
type Flag bool

// MarshalJSON writes 0 or 1.
func (f Flag) MarshalJSON() ([]byte, error) {
	if f {
		return []byte("1"), nil
	}
	return []byte("0"), nil
}

// UnmarshalJSON reads 0 and 1, and false and true.
func (f *Flag) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "0", "false":
		*f = false
	case "1", "true":
		*f = true
	default:
		return fmt.Errorf("%s is neither 0 nor 1", b)
	}
	return nil
}

// List is an array that is always present: if it is empty, it is [] in JSON, not null.
type List[T any] []T

// MarshalJSON writes the array.
func (l List[T]) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("[]"), nil
	}
	return Marshal([]T(l))
}

// Elems are the elements of a message, a MsgBody in JSON.
type Elems []*im.Elem

// MarshalJSON writes the MsgBody. Elements for which the JSON has no shape are left out.
func (e Elems) MarshalJSON() ([]byte, error) { return Marshal(body(e)) }

// UnmarshalJSON reads a MsgBody as ReadBody does; null is an empty one.
func (e *Elems) UnmarshalJSON(b []byte) (err error) {
	if bytes.Equal(b, []byte("null")) {
		*e = nil
		return nil
	}
	*e, err = ReadBody(json.RawMessage(b))
	return err
}
