package pg

import (
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5/pgtype"
)

// Arrays in PostgreSQL's binary form, written by hand: a batch has a dozen of them with an element per message.

// array is a one-dimensional array being written.
type array struct {
	b []byte
	n uint32
}

// start begins an array of a type that has no NULL.
func (a *array) start(oid uint32) {
	a.b = binary.BigEndian.AppendUint32(a.b[:0], 1) // dimensions
	a.b = binary.BigEndian.AppendUint32(a.b, 0)     // no NULL
	a.b = binary.BigEndian.AppendUint32(a.b, oid)
	a.b = binary.BigEndian.AppendUint32(a.b, 0) // elements, set by bytes
	a.b = binary.BigEndian.AppendUint32(a.b, 1) // lower bound
	a.n = 0
}

func (a *array) int(v int64) {
	a.b = binary.BigEndian.AppendUint32(a.b, 8)
	a.b = binary.BigEndian.AppendUint64(a.b, uint64(v))
	a.n++
}

func (a *array) blob(v []byte) {
	a.b = binary.BigEndian.AppendUint32(a.b, uint32(len(v)))
	a.b = append(a.b, v...)
	a.n++
}

func (a *array) bytes() []byte {
	binary.BigEndian.PutUint32(a.b[12:], a.n)
	return a.b
}

// arrays are the parameters of a statement.
type arrays struct {
	a      []array
	params [][]byte
}

// start begins n arrays of bigint.
func (p *arrays) start(n int) {
	for len(p.a) < n {
		p.a = append(p.a, array{})
	}
	for i := range p.a[:n] {
		p.a[i].start(pgtype.Int8OID)
	}
	p.params = p.params[:0]
}

// row adds an element to each array.
func (p *arrays) row(vs ...int64) {
	for i, v := range vs {
		p.a[i].int(v)
	}
}

func (p *arrays) bytes(n int) [][]byte {
	for i := range p.a[:n] {
		p.params = append(p.params, p.a[i].bytes())
	}
	return p.params
}

// scan reads a row in binary form, in which numbers have 2, 4 or 8 bytes.
func scan(row [][]byte, dest []any) error {
	for i, v := range row {
		switch to := dest[i].(type) {
		case *int64:
			switch len(v) {
			case 8:
				*to = int64(binary.BigEndian.Uint64(v))
			case 4:
				*to = int64(int32(binary.BigEndian.Uint32(v)))
			case 2:
				*to = int64(int16(binary.BigEndian.Uint16(v)))
			default:
				return fmt.Errorf("%w: column %d is a number of %d bytes", errRow, i, len(v))
			}
		case *string:
			*to = string(v)
		case *[]byte:
			*to = append([]byte{}, v...)
		}
	}
	return nil
}
