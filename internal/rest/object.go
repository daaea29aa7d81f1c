package rest

import (
	"encoding/json"
	"fmt"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/restjson"
)

// object is a JSON object that is being read. Names are exact, unknown fields are ignored, and null counts as absent. The error of the first wrong
// field is kept.
type object struct {
	raw map[string]json.RawMessage
	// path precedes the names of its fields in errors.
	path  string
	wrong *error
}

// shape is a type that reads its fields.
type shape[T any] interface {
	*T
	read(o *object)
}

// readBody reads a request's body into a shape.
func readBody[T any, P shape[T]](body []byte) (P, error) {
	var err error
	o := &object{wrong: &err}
	if json.Unmarshal(body, &o.raw) != nil || o.raw == nil {
		return nil, im.Errorf(codeNotJSON, "the body is not a JSON object")
	}
	p := P(new(T))
	p.read(o)
	return p, err
}

// rule is the rule for a field.
type rule struct {
	need           bool
	missing, wrong int32
	// most is the limit of items or bytes, and tooMany the code above it; 0 means no limit.
	most    int
	tooMany int32
}

// needs is the rule for a required field. missing is the code without it; wrong, for a value of another type, differs for a few fields.
func needs(missing int32, wrong ...int32) rule {
	r := may(missing, wrong...)
	r.need = true
	return r
}

// may is the rule for an optional field.
func may(missing int32, wrong ...int32) rule {
	r := rule{missing: missing, wrong: missing}
	if len(wrong) > 0 {
		r.wrong = wrong[0]
	}
	return r
}

// limit adds a limit of items or bytes.
func (r rule) limit(most int, tooMany int32) rule {
	r.most, r.tooMany = most, tooMany
	return r
}

func (o *object) refuse(code int32, name, format string, args ...any) {
	if *o.wrong == nil {
		*o.wrong = im.Errorf(code, "%s%s %s", o.path, name, fmt.Sprintf(format, args...))
	}
}

// value reads the first field of names that is present, and reports whether one was.
func value[T any](o *object, to *T, r rule, names ...string) bool {
	for _, name := range names {
		v, ok := o.raw[name]
		if !ok || string(v) == "null" {
			continue
		}
		if err := json.Unmarshal(v, to); err != nil {
			what := "has a value of the wrong type, or out of range"
			if _, ok := any(to).(*restjson.Flag); ok {
				what = "is neither 0 nor 1"
			}
			o.refuse(r.wrong, name, "%s", what)
		}
		return true
	}
	if r.need {
		o.refuse(r.missing, names[0], "is missing")
	}
	return false
}

// maybe reads a field whose absence has a meaning.
func maybe[T any](o *object, to **T, r rule, names ...string) {
	var v T
	if !value(o, &v, r, names...) {
		return
	}
	*to = &v
	if s, ok := any(&v).(*string); ok {
		o.limit(len(*s), r, names[0], "bytes")
	}
}

// text reads a text; a required one must not be empty.
func text(o *object, to *string, r rule, names ...string) {
	if value(o, to, r, names...) {
		o.sized(len(*to), r, names[0], "bytes")
	}
}

// list reads an array; a required one must not be empty.
func list[T any](o *object, to *[]T, r rule, names ...string) {
	if value(o, to, r, names...) {
		o.sized(len(*to), r, names[0], "items")
	}
}

// objects reads an array of objects; a required one must not be empty. Nothing is made for an array that is too long.
func objects[T any, P shape[T]](o *object, to *[]T, r rule, names ...string) {
	var items []json.RawMessage
	if !value(o, &items, r, names...) {
		return
	}
	if o.sized(len(items), r, names[0], "items"); *o.wrong != nil {
		return
	}
	*to = make([]T, len(items))
	for i, item := range items {
		of := object{path: fmt.Sprintf("%s%s[%d].", o.path, names[0], i), wrong: o.wrong}
		if json.Unmarshal(item, &of.raw) != nil {
			o.refuse(r.wrong, names[0], "has a value of the wrong type, or out of range")
			return
		}
		P(&(*to)[i]).read(&of)
	}
}

// msgBody is a MsgBody. Its elements are read when the other fields have been found right, and what they mean has been.
type msgBody struct {
	raw  json.RawMessage
	rule rule
}

// elements takes a MsgBody as it is.
func elements(o *object, to *msgBody, r rule, names ...string) {
	to.rule = r
	value(o, &to.raw, may(r.missing), names...)
}

// there reports whether the call has a MsgBody.
func (b *msgBody) there() bool { return b.raw != nil }

// elems reads the elements, of which there must be one.
func (b *msgBody) elems() ([]*im.Elem, error) {
	elems, err := restjson.ReadBody(b.raw)
	switch im.CodeOf(err) {
	case restjson.CodeBodyEmpty:
		err = recode(err, restjson.CodeBodyEmpty, b.rule.missing)
	case restjson.CodeElement:
		err = recode(err, restjson.CodeElement, b.rule.wrong)
	}
	return elems, err
}

// inner reads a nested object.
func inner[T any, P shape[T]](o *object, to *T, r rule, names ...string) bool {
	var raw map[string]json.RawMessage
	there := value(o, &raw, r, names...)
	if there && *o.wrong == nil {
		P(to).read(&object{raw: raw, path: o.path + names[0] + ".", wrong: o.wrong})
	}
	return there
}

// innerMaybe reads an object whose absence has a meaning.
func innerMaybe[T any, P shape[T]](o *object, to **T, r rule, names ...string) {
	v := new(T)
	if inner[T, P](o, v, r, names...) {
		*to = v
	}
}

// sized refuses a text or an array that is empty and must not be, or longer than allowed.
func (o *object) sized(n int, r rule, name, counted string) {
	if r.need && n == 0 {
		o.refuse(r.missing, name, "is missing")
	}
	o.limit(n, r, name, counted)
}

func (o *object) limit(n int, r rule, name, counted string) {
	if r.most > 0 && n > r.most {
		o.refuse(r.tooMany, name, "has %d %s, more than %d", n, counted, r.most)
	}
}
