package im

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
)

// JSONReader is what the generated ParseTIM methods read from. Every read function of this file reads one whole value; a null gives the zero value.
type JSONReader struct {
	dec jsontext.Decoder
	in  []byte
	src bytes.Buffer // over in
	// broken: the input is not JSON or too deep, so that nothing more can be read from it.
	broken bool
}

var readers = sync.Pool{New: func() any { return new(JSONReader) }}

func (r *JSONReader) reset(s string) {
	r.in = append(r.in[:0], s...)
	r.src = *bytes.NewBuffer(r.in)
	r.broken = false
	// A program may send a key twice, or a string that was cut inside a character: neither is a reason to refuse its call.
	r.dec.Reset(&r.src, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

func (r *JSONReader) release() {
	if cap(r.in) <= maxKept {
		readers.Put(r)
	}
}

// end checks that nothing follows.
func (r *JSONReader) end() error {
	_, err := r.dec.ReadToken()
	if err == io.EOF {
		return nil
	}
	if err == nil {
		return &JSONError{Msg: fmt.Sprintf("more than one value, up to byte %d", r.dec.InputOffset())}
	}
	return r.broke(err)
}

// broke turns an error of the decoder into ours. It names the byte and not the key: a key may be any text, and errors are logged.
func (r *JSONReader) broke(err error) error {
	r.broken = true
	e := &JSONError{Msg: err.Error()}
	var syntax *jsontext.SyntacticError
	switch {
	case errors.As(err, &syntax):
		e.Msg = fmt.Sprintf("%v at byte %d", syntax.Err, syntax.ByteOffset)
	case err == io.EOF:
		e.Msg = "empty"
	}
	return e
}

// fail reports the value just read as wrong.
func (r *JSONReader) fail(format string, args ...any) error {
	return &JSONError{Path: string(r.dec.StackPointer()), Msg: fmt.Sprintf(format, args...)}
}

// wrongKind reads the value, to be able to name it, and reports it as wrong.
func (r *JSONReader) wrongKind(want string) error {
	tok, err := r.dec.ReadToken()
	if err != nil {
		return r.broke(err)
	}
	found := map[jsontext.Kind]string{
		'n': "null", 't': "true", 'f': "false", '"': "a string", '0': "a number", '{': "an object", '[': "an array",
	}[tok.Kind()]
	return r.fail("want %s, found %s", want, found)
}

// null reports whether the next value is null, without reading it.
func (r *JSONReader) null() bool { return r.dec.PeekKind() == 'n' }

func (r *JSONReader) readNull() error {
	if _, err := r.dec.ReadToken(); err != nil {
		return r.broke(err)
	}
	return nil
}

// open reads the first token of an object or array.
func (r *JSONReader) open() error {
	if _, err := r.dec.ReadToken(); err != nil {
		return r.broke(err)
	}
	if r.dec.StackDepth() > MaxJSONDepth {
		r.broken = true
		return &JSONError{Msg: fmt.Sprintf("nested deeper than %d", MaxJSONDepth)}
	}
	return nil
}

// skip reads a value that is not needed.
func (r *JSONReader) skip() error {
	depth := r.dec.StackDepth()
	if k := r.dec.PeekKind(); k == '{' || k == '[' {
		if err := r.open(); err != nil {
			return err
		}
	} else if _, err := r.dec.ReadToken(); err != nil {
		return r.broke(err)
	}
	return r.leave(depth)
}

// leave reads to the end of all objects and arrays deeper than the given depth.
func (r *JSONReader) leave(depth int) error {
	for r.dec.StackDepth() > depth {
		if err := r.open(); err != nil { // any token at all
			return err
		}
	}
	return nil
}

// keyParser reads the value of one key of an object; it skips the value of an unknown key. The key is valid until then.
type keyParser interface {
	parseTIMKey(r *JSONReader, key []byte) error
}

func readObject(r *JSONReader, m keyParser) error {
	if r.dec.PeekKind() != '{' {
		return r.wrongKind("an object")
	}
	if err := r.open(); err != nil {
		return err
	}
	for r.dec.PeekKind() == '"' {
		quoted, err := r.dec.ReadValue()
		if err != nil {
			return r.broke(err)
		}
		key := []byte(quoted[1 : len(quoted)-1])
		if bytes.IndexByte(key, '\\') >= 0 {
			// Only invalid UTF-8 can be wrong, and that makes a key unknown.
			key, _ = jsontext.AppendUnquote(nil, quoted)
		}
		if err := m.parseTIMKey(r, key); err != nil {
			return err
		}
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return r.broke(err)
	}
	return nil
}

func readMessage[T any, P interface {
	*T
	TIM
}](r *JSONReader) (P, error) {
	if r.null() {
		return nil, r.readNull()
	}
	m := P(new(T))
	return m, m.ParseTIM(r)
}

func readArray[T any](r *JSONReader, elem func(*JSONReader) (T, error)) ([]T, error) {
	switch r.dec.PeekKind() {
	case '[':
	case 'n':
		return nil, r.readNull()
	default:
		return nil, r.wrongKind("an array")
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	var list []T
	for {
		switch r.dec.PeekKind() {
		case ']', 0: // 0: an error, which the read below returns
			if _, err := r.dec.ReadToken(); err != nil {
				return nil, r.broke(err)
			}
			return list, nil
		case 'n':
			return nil, r.wrongKind("an element")
		}
		v, err := elem(r)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
}

// readOptional tells a zero from no value.
func readOptional[T any](r *JSONReader, read func(*JSONReader) (T, error)) (*T, error) {
	if r.null() {
		return nil, r.readNull()
	}
	v, err := read(r)
	return &v, err
}

func readString(r *JSONReader) (string, error) {
	switch r.dec.PeekKind() {
	case '"':
	case 'n':
		return "", r.readNull()
	default:
		return "", r.wrongKind("a string")
	}
	tok, err := r.dec.ReadToken()
	if err != nil {
		return "", r.broke(err)
	}
	return tok.String(), nil
}

func readBool(r *JSONReader) (bool, error) {
	k := r.dec.PeekKind()
	switch k {
	case 't', 'f':
	case 'n':
		return false, r.readNull()
	default:
		return false, r.wrongKind("true or false")
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return false, r.broke(err)
	}
	return k == 't', nil
}

func readDouble(r *JSONReader) (float64, error) {
	switch r.dec.PeekKind() {
	case '0':
	case 'n':
		return 0, r.readNull()
	default:
		return 0, r.wrongKind("a number")
	}
	num, err := r.dec.ReadValue()
	if err != nil {
		return 0, r.broke(err)
	}
	v, err := strconv.ParseFloat(string(num), 64)
	if err != nil {
		return 0, r.fail("out of range")
	}
	return v, nil
}

// readInt reads an integer or enum. Programs in C cast freely, so a number that fits the size is accepted as signed or unsigned: -2147483648 is 1<<31
// in a uint32. It may have a fraction or exponent if its value is whole.
func readInt[T ~int32 | ~int64 | ~uint32 | ~uint64](r *JSONReader) (T, error) {
	switch r.dec.PeekKind() {
	case '0':
	case 'n':
		return 0, r.readNull()
	default:
		return 0, r.wrongKind("an integer")
	}
	num, err := r.dec.ReadValue()
	if err != nil {
		return 0, r.broke(err)
	}
	neg := num[0] == '-'
	if neg {
		num = num[1:]
	}
	abs, err := strconv.ParseUint(string(num), 10, 64)
	if errors.Is(err, strconv.ErrSyntax) {
		abs, err = wholeNumber(string(num))
	}
	if err == errNotWhole {
		return 0, r.fail("want an integer, found a fraction")
	}
	bits := 8 * unsafe.Sizeof(T(0))
	limit := uint64(math.MaxUint64) >> (64 - bits)
	if neg {
		limit = 1 << (bits - 1)
	}
	if err != nil || abs > limit {
		return 0, r.fail("out of range")
	}
	if neg {
		return -T(abs), nil
	}
	return T(abs), nil
}

var errNotWhole = errors.New("not a whole number")

// wholeNumber reads a JSON number without sign that has a fraction or an exponent.
func wholeNumber(num string) (uint64, error) {
	digits, exponent := num, 0
	if i := strings.IndexAny(digits, "eE"); i >= 0 {
		var err error
		exponent, err = strconv.Atoi(digits[i+1:])
		if err != nil { // beyond all digits that fit into a message
			exponent = math.MaxInt32
			if digits[i+1] == '-' {
				exponent = math.MinInt32
			}
		}
		digits = digits[:i]
	}
	if whole, fraction, ok := strings.Cut(digits, "."); ok {
		digits = whole + fraction
		exponent -= len(fraction)
	}
	digits = strings.TrimLeft(digits, "0")
	significant := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(significant)
	switch {
	case significant == "":
		return 0, nil
	case exponent < 0:
		return 0, errNotWhole
	case len(significant)+exponent > len("18446744073709551615"):
		return 0, strconv.ErrRange
	}
	return strconv.ParseUint(significant+strings.Repeat("0", exponent), 10, 64)
}

// part is one of several bodies whose keys are side by side in an object. Which of them counts is known only when the whole object is read, and the
// keys of the others are unknown keys then. So an error is kept in it until that point.
type part[T any, P interface {
	*T
	keyParser
}] struct {
	body P
	err  error
}

func (p *part[T, P]) parseTIMKey(r *JSONReader, key []byte) error {
	if p.body == nil {
		p.body = new(T)
	}
	depth := r.dec.StackDepth()
	err := p.body.parseTIMKey(r, key)
	if err == nil || r.broken {
		return err
	}
	if p.err == nil {
		p.err = err
	}
	return r.leave(depth)
}

// take returns the body, an empty one if none of its keys was present.
func (p *part[T, P]) take() (P, error) {
	if p.body == nil {
		p.body = new(T)
	}
	return p.body, p.err
}

// offset is where the next value, or the separator before it, begins.
func (r *JSONReader) offset() int64 { return r.dec.InputOffset() }

// since returns a copy of the value that begins at the offset and has just been read.
func (r *JSONReader) since(offset int64) []byte {
	raw := bytes.TrimLeft(r.in[offset:r.dec.InputOffset()], " \t\r\n,:")
	return bytes.ToValidUTF8(raw, []byte("\ufffd"))
}

// missing reports that an object just read lacks a required key.
func (r *JSONReader) missing(key string) error {
	return &JSONError{Path: string(r.dec.StackPointer().AppendToken(key)), Msg: "missing"}
}
