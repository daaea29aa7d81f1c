package im

import "sync"

// TIM is a message that has a TIM JSON form: the one that programs of the TIM C API read and write. Its methods are generated from the contract;
// programs call ToJSON, FromJSON and related functions.
type TIM interface {
	// AppendTIM appends the JSON object. For a nil message it writes all defaults.
	AppendTIM(b []byte) []byte
	// ParseTIM reads one JSON object and sets the fields whose keys it finds.
	ParseTIM(r *JSONReader) error
	Reset()
}

// MaxJSONDepth is how deep objects and arrays may be nested in JSON that is read: deep enough for merged messages in all layers that a message may
// have, which take four each.
const MaxJSONDepth = 1000

// JSONError is the reason why JSON was refused.
type JSONError struct {
	// Path is the JSON pointer (RFC 6901) to the wrong value, such as /message_elem_array/0/elem_type; empty for the whole and for input that is not
	// JSON. It contains only keys of TIM, nothing of the input.
	Path string
	Msg  string
}

func (e *JSONError) Error() string {
	if e.Path == "" {
		return "JSON: " + e.Msg
	}
	return "JSON at " + e.Path + ": " + e.Msg
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxKept limits the memory of a buffer that waits in a pool.
const maxKept = 64 << 10

// ToJSON returns the TIM JSON of m: keys sorted, numbers always plain, every / escaped as the reference library does.
func ToJSON(m TIM) string {
	return buildString(m.AppendTIM)
}

// ListToJSON returns a JSON array; [] for no messages.
func ListToJSON[M TIM](list []M) string {
	return buildString(func(b []byte) []byte { return appendMessages(b, list) })
}

// StringsToJSON returns a JSON array of texts.
func StringsToJSON(list []string) string {
	return buildString(func(b []byte) []byte { return appendArray(b, list, appendString) })
}

func buildString(write func([]byte) []byte) string {
	buf := buffers.Get().(*[]byte)
	*buf = write((*buf)[:0])
	s := string(*buf)
	if cap(*buf) <= maxKept {
		buffers.Put(buf)
	}
	return s
}

// FromJSON sets m to what the JSON object in s contains. Unknown keys are ignored, null is the same as no key, and the last one of a repeated key
// counts. The error is a *JSONError; m cannot be used then.
func FromJSON(s string, m TIM) error {
	m.Reset()
	return readAll(s, m.ParseTIM)
}

// ListFromJSON reads a JSON array of objects under the rules of FromJSON.
func ListFromJSON[T any, P interface {
	*T
	TIM
}](s string) ([]P, error) {
	var list []P
	err := readAll(s, func(r *JSONReader) (err error) {
		if r.null() {
			return r.wrongKind("an array")
		}
		list, err = readArray(r, readMessage[T, P])
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// readAll reads s, which must contain one value and nothing after it.
func readAll(s string, read func(*JSONReader) error) error {
	r := readers.Get().(*JSONReader)
	defer r.release()
	r.reset(s)
	if err := read(r); err != nil {
		return err
	}
	return r.end()
}

// StringsFromJSON reads a JSON array of texts; a null in it is an empty text.
func StringsFromJSON(s string) (list []string, err error) {
	err = itemsOf(s, func(r *JSONReader) error {
		item, err := readString(r)
		list = append(list, item)
		return err
	})
	return list, err
}

// CountFromJSON reads a JSON array of any values, and returns how many items it has.
func CountFromJSON(s string) (n int, err error) {
	err = itemsOf(s, func(r *JSONReader) error {
		n++
		return r.skip()
	})
	return n, err
}

func itemsOf(s string, item func(*JSONReader) error) error {
	return readAll(s, func(r *JSONReader) error {
		if r.dec.PeekKind() != '[' {
			return r.wrongKind("an array")
		}
		if err := r.open(); err != nil {
			return err
		}
		for {
			switch r.dec.PeekKind() {
			case ']', 0: // 0: an error, which the read below returns
				if _, err := r.dec.ReadToken(); err != nil {
					return r.broke(err)
				}
				return nil
			}
			if err := item(r); err != nil {
				return err
			}
		}
	})
}

// KeysFromJSON reads a JSON object of any values, and returns its keys, each with whether its value is anything but null.
func KeysFromJSON(s string) (map[string]bool, error) {
	keys := keysOf{}
	return keys, readAll(s, func(r *JSONReader) error { return readObject(r, keys) })
}

type keysOf map[string]bool

func (k keysOf) parseTIMKey(r *JSONReader, key []byte) error {
	k[string(key)] = !r.null()
	return r.skip()
}
