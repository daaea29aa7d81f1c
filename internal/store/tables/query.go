package tables

import (
	"context"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"sync/atomic"

	"github.com/tidings-im/tidings/internal/chat"
)

// Asker runs queries: on a store's connections for reads, or in the transaction of an Update.
type Asker interface {
	Dialect() Dialect
	// Ask runs a query and calls read with its rows. If the connection is lost it may do both again, so read starts from the beginning each time.
	Ask(ctx context.Context, read func(Rows) error, text string, args ...any) error
}

// DB is a transaction.
type DB interface {
	Asker
	// Tell runs a statement without a result. It may be sent only with the next query or at the end of the transaction, which then returns its error.
	Tell(ctx context.Context, text string, args ...any) error
	// Wrote notes that a query also changes something: a transaction that wrote nothing is not committed.
	Wrote()
}

// Query is a query and the kind of its rows. Placeholders are $1, $2 and so on, which both dialects accept.
type Query[V any] struct {
	kind *Kind[V]
	text [2]string
	cols [2]atomic.Pointer[[]int] // the fields of the columns, once there was a row
}

// NewQuery returns a query with the same text for both dialects.
func NewQuery[V any](kind *Kind[V], text string) *Query[V] { return either(kind, text, text) }

// either returns a query with a text for each dialect.
func either[V any](kind *Kind[V], sqlite, postgres string) *Query[V] {
	return &Query[V]{kind: kind, text: [2]string{SQLite: sqlite, Postgres: postgres}}
}

// locking returns a query whose rows are locked until the end of the transaction. On SQLite there is only one writer, so nothing needs a lock.
func locking[V any](kind *Kind[V], text string) *Query[V] { return either(kind, text, text+ForUpdate) }

// ForUpdate locks the rows of a query against other transactions that write or lock them.
const ForUpdate = " FOR NO KEY UPDATE"

// Text returns the text of the query.
func (q *Query[V]) Text(d Dialect) string { return q.text[d] }

// Each calls f with the value of each row until f returns false.
func (q *Query[V]) Each(d Dialect, rows Rows, f func(V) bool) error {
	var r *Reader[V]
	for rows.Next() {
		if r == nil {
			// Not before there is a row: a query that fails may have no columns.
			cols, err := q.columns(d, rows)
			if err != nil {
				return err
			}
			r = q.kind.reader(cols)
		}
		if err := rows.Scan(r.Dest...); err != nil {
			return err
		}
		if !f(r.Value()) {
			break
		}
	}
	return rows.Err()
}

func (q *Query[V]) columns(d Dialect, rows Rows) ([]int, error) {
	if cols := q.cols[d].Load(); cols != nil {
		return *cols, nil
	}
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	cols, err := q.kind.columns(names)
	if err != nil {
		return nil, fmt.Errorf("%w in: %s", err, q.text[d])
	}
	q.cols[d].Store(&cols)
	return cols, nil
}

// All returns all rows.
func (q *Query[V]) All(ctx context.Context, db Asker, args ...any) ([]V, error) {
	var out []V
	err := db.Ask(ctx, func(rows Rows) error {
		out = nil
		return q.Each(db.Dialect(), rows, func(v V) bool { out = append(out, v); return true })
	}, q.text[db.Dialect()], args...)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// One returns the first row, or ErrNotFound if there is none.
func (q *Query[V]) One(ctx context.Context, db Asker, args ...any) (V, error) {
	var out, none V
	found := false
	err := db.Ask(ctx, func(rows Rows) error {
		found = false
		return q.Each(db.Dialect(), rows, func(v V) bool { out, found = v, true; return false })
	}, q.text[db.Dialect()], args...)
	if err == nil && !found {
		err = chat.ErrNotFound
	}
	if err != nil {
		return none, err
	}
	return out, nil
}

// within returns rows up to a limit of bytes; the first row always fits.
func (q *Query[V]) within(ctx context.Context, db Asker, maxBytes int, size func(V) int, args ...any) ([]V, error) {
	var out []V
	err := db.Ask(ctx, func(rows Rows) error {
		out = nil
		sum := 0
		return q.Each(db.Dialect(), rows, func(v V) bool {
			if sum += size(v); sum > maxBytes && len(out) > 0 {
				return false
			}
			out = append(out, v)
			return true
		})
	}, q.text[db.Dialect()], args...)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// parameter matches the parameters of a Write, and casts to types.
var parameter = regexp.MustCompile("::?[a-z_]+")

// Write is a statement that takes its values from a row R, by column name: ":read_seq".
type Write[R any] struct {
	text string
	args []field
}

// NewWrite returns a statement for both dialects. It panics if a parameter is not a column of R.
func NewWrite[R any](text string) *Write[R] {
	w := &Write[R]{}
	fields := fieldsOf(reflect.TypeFor[R](), "", nil)
	w.text = parameter.ReplaceAllStringFunc(text, func(name string) string {
		if strings.HasPrefix(name, "::") {
			return name
		}
		for i, f := range w.args {
			if ":"+f.name == name {
				return fmt.Sprint("$", i+1)
			}
		}
		for _, f := range fields {
			if ":"+f.name == name {
				w.args = append(w.args, f)
				return fmt.Sprint("$", len(w.args))
			}
		}
		panic(fmt.Sprintf("tables: %s has no column %s", reflect.TypeFor[R](), name))
	})
	return w
}

// Args returns the values of the statement's parameters. No bytes are stored as empty, not as NULL.
func (w *Write[R]) Args(row *R) []any {
	v := reflect.ValueOf(row).Elem()
	out := make([]any, len(w.args))
	for i := range w.args {
		f := v.FieldByIndex(w.args[i].at)
		switch f.Kind() {
		case reflect.String:
			out[i] = f.String()
		case reflect.Slice:
			b := f.Bytes()
			if b == nil {
				b = []byte{}
			}
			out[i] = b
		case reflect.Bool:
			n := int64(0)
			if f.Bool() {
				n = 1
			}
			out[i] = n
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			out[i] = f.Int()
		default:
			out[i] = int64(f.Uint()) // the number with the same bits
		}
	}
	return out
}

// Tell runs the statement.
func (w *Write[R]) Tell(ctx context.Context, db DB, row R) error {
	return db.Tell(ctx, w.text, w.Args(&row)...)
}
