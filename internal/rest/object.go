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
	if value(o, &v, r, names...) {
		*to = &v
	}
}

// text reads a text that must not be empty.
func text(o *object, to *string, r rule, names ...string) {
	if value(o, to, r, names...) && *to == "" {
		o.refuse(r.missing, names[0], "is missing")
	}
}

// list reads an array that must not be empty.
func list[T any](o *object, to *[]T, r rule, names ...string) {
	if value(o, to, r, names...) && len(*to) == 0 {
		o.refuse(r.missing, names[0], "is missing")
	}
}

// objects reads an array of objects; a required one must not be empty.
func objects[T any, P shape[T]](o *object, to *[]T, r rule, names ...string) {
	var raw []map[string]json.RawMessage
	if !value(o, &raw, r, names...) || *o.wrong != nil {
		return
	}
	if r.need && len(raw) == 0 {
		o.refuse(r.missing, names[0], "is missing")
	}
	*to = make([]T, len(raw))
	for i := range raw {
		P(&(*to)[i]).read(&object{raw: raw[i], path: fmt.Sprintf("%s%s[%d].", o.path, names[0], i), wrong: o.wrong})
	}
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

// most refuses a text or an array that is longer than allowed.
func (o *object) most(n, most int, code int32, name, counted string) {
	if n > most {
		o.refuse(code, name, "has %d %s, more than %d", n, counted, most)
	}
}
