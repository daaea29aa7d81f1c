package tables

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Rows is the result of a query of either driver.
type Rows interface {
	Columns() ([]string, error)
	Next() bool
	Scan(dest ...any) error
	Err() error
}

// Kind reads rows into values by the names of their columns, in any order.
//
// A kind is made from a struct whose fields are tagged with column names: `sql:"read_seq"`. The columns of a field that is a struct begin with its tag and a dot
// ("m.read_seq"); without a tag they are as if the struct's fields stood in its place. A column is a number, a bool that is stored as 0 or 1, a text, or bytes.
// Only bytes may be NULL.
type Kind[V any] struct {
	fields []field
	start  func() (reflect.Value, func() V)
}

type field struct {
	name string
	at   []int // index for reflect
	typ  reflect.Type
}

// newKind returns a kind that reads into the struct R, which value converts.
func newKind[R, V any](value func(*R) V) *Kind[V] {
	return &Kind[V]{
		fields: fieldsOf(reflect.TypeFor[R](), "", nil),
		start: func() (reflect.Value, func() V) {
			r := new(R)
			return reflect.ValueOf(r).Elem(), func() V { return value(r) }
		},
	}
}

// NewKind returns a kind whose values are the structs themselves.
func NewKind[R any]() *Kind[R] { return newKind(func(r *R) R { return *r }) }

func fieldsOf(t reflect.Type, prefix string, at []int) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("sql")
		here := append(slices.Clone(at), i)
		switch {
		case tag == "-":
		case f.Type.Kind() != reflect.Struct:
			if tag == "" {
				panic(fmt.Sprintf("tables: %s.%s has no column", t, f.Name))
			}
			out = append(out, field{prefix + tag, here, f.Type})
		case tag == "":
			out = append(out, fieldsOf(f.Type, prefix, here)...)
		default:
			out = append(out, fieldsOf(f.Type, prefix+tag+".", here)...)
		}
	}
	return out
}

// Cols returns the columns of a kind as a list for SELECT, for a table with an alias. Each has its name behind AS: without that, SQLite guarantees no name.
func (k *Kind[V]) Cols(alias string) string {
	return k.list(func(f field) string { return alias + "." + f.name + " AS " + f.name })
}

// part lists them under the names that they have in a struct field tagged with alias. outer is for a table of a LEFT JOIN: numbers and texts are zero instead of NULL,
// and bytes are left out.
func (k *Kind[V]) part(alias string, outer bool) string {
	return k.list(func(f field) string {
		col := alias + "." + f.name
		switch {
		case outer && f.typ.Kind() == reflect.Slice:
			return ""
		case outer && f.typ.Kind() == reflect.String:
			return "coalesce(" + col + `, '') AS "` + col + `"`
		case outer:
			return "coalesce(" + col + `, 0) AS "` + col + `"`
		}
		return col + ` AS "` + col + `"`
	})
}

func (k *Kind[V]) list(of func(field) string) string {
	var out []string
	for _, f := range k.fields {
		if s := of(f); s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, ", ")
}

// columns returns the field of each column.
func (k *Kind[V]) columns(names []string) ([]int, error) {
	out := make([]int, len(names))
	for i, name := range names {
		out[i] = slices.IndexFunc(k.fields, func(f field) bool { return f.name == name })
		if out[i] < 0 || slices.Contains(out[:i], out[i]) {
			return nil, fmt.Errorf("store: column %q has no field of its own", name)
		}
	}
	if len(names) < len(k.fields) {
		return nil, fmt.Errorf("store: %d columns for %d fields", len(names), len(k.fields))
	}
	return out, nil
}

// Reader reads the rows of one result.
type Reader[V any] struct {
	// Dest are the destinations of Scan: *int64, *string and *[]byte. database/sql would format and parse any other kind of number.
	Dest  []any
	value func() V
	set   []setter
	nums  []int64
}

// setter copies a number into a field that is not an int64.
type setter struct {
	to   reflect.Value
	from int
}

// Reader returns a reader of a result that has these columns.
func (k *Kind[V]) Reader(names []string) (*Reader[V], error) {
	cols, err := k.columns(names)
	if err != nil {
		return nil, err
	}
	return k.reader(cols), nil
}

var int64Pointer = reflect.TypeFor[*int64]()

func (k *Kind[V]) reader(cols []int) *Reader[V] {
	row, value := k.start()
	r := &Reader[V]{Dest: make([]any, len(cols)), value: value, nums: make([]int64, len(cols)), set: make([]setter, 0, len(cols))}
	for i, c := range cols {
		f := &k.fields[c]
		switch to := row.FieldByIndex(f.at); f.typ.Kind() {
		case reflect.String, reflect.Slice:
			r.Dest[i] = to.Addr().Interface()
		case reflect.Int64:
			r.Dest[i] = to.Addr().Convert(int64Pointer).Interface()
		default:
			r.Dest[i] = &r.nums[i]
			r.set = append(r.set, setter{to, i})
		}
	}
	return r
}

// Value returns the row that was scanned last.
func (r *Reader[V]) Value() V {
	for i := range r.set {
		n := r.nums[r.set[i].from]
		switch to := r.set[i].to; to.Kind() {
		case reflect.Bool:
			to.SetBool(n != 0)
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32:
			to.SetInt(n)
		default:
			to.SetUint(uint64(n)) // the number with the same bits
		}
	}
	return r.value()
}
