package local

import (
	"database/sql"
	"errors"

	"github.com/tidings-im/tidings/im"
)

// Relation is a row of what the user has with others.
type Relation struct {
	Kind  im.RelationKind
	Other string
	Ver   uint64
	Body  []byte // wire form of im.Relation
}

// Relation reads a row; nil if there is none.
func (l *DB) Relation(kind im.RelationKind, other string) (*Relation, error) {
	s, err := l.prepared("SELECT ver, body FROM relation WHERE kind = ? AND other = ?")
	if err != nil {
		return nil, err
	}
	l.Reads++
	r := &Relation{Kind: kind, Other: other}
	err = s.QueryRowContext(bg, int64(kind), other).Scan(&r.Ver, &r.Body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return r, err
}

// Relations reads the rows of a kind; kind 0 is all kinds.
func (l *DB) Relations(kind im.RelationKind) ([]Relation, error) {
	if kind == 0 {
		return l.relations("SELECT kind, other, ver, body FROM relation ORDER BY kind, other")
	}
	return l.relations("SELECT kind, other, ver, body FROM relation WHERE kind = ? ORDER BY other", int64(kind))
}

func (l *DB) relations(q string, args ...any) ([]Relation, error) {
	rows, err := l.query(q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Relation
	for rows.Next() {
		var r Relation
		if err := rows.Scan(&r.Kind, &r.Other, &r.Ver, &r.Body); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// PutRelation writes a row.
func (l *DB) PutRelation(r *Relation) error {
	_, err := l.write("REPLACE INTO relation (kind, other, ver, body) VALUES (?, ?, ?, ?)", int64(r.Kind), r.Other, r.Ver, r.Body)
	return err
}

// DropRelation deletes a row.
func (l *DB) DropRelation(kind im.RelationKind, other string) error {
	_, err := l.write("DELETE FROM relation WHERE kind = ? AND other = ?", int64(kind), other)
	return err
}

// BeginWhole forgets what there is of a whole.
func (l *DB) BeginWhole() error {
	_, err := l.write("DELETE FROM relation_whole")
	return err
}

// PutWhole adds a row to the whole.
func (l *DB) PutWhole(r *Relation) error {
	_, err := l.write("REPLACE INTO relation_whole (kind, other, ver, body) VALUES (?, ?, ?, ?)", int64(r.Kind), r.Other, r.Ver, r.Body)
	return err
}

// Whole reads the rows of the whole.
func (l *DB) Whole() ([]Relation, error) {
	return l.relations("SELECT kind, other, ver, body FROM relation_whole ORDER BY kind, other")
}

// TakeWhole makes the whole what the user has.
func (l *DB) TakeWhole() error {
	for _, q := range []string{"DELETE FROM relation", "INSERT INTO relation SELECT * FROM relation_whole", "DELETE FROM relation_whole"} {
		if _, err := l.write(q); err != nil {
			return err
		}
	}
	return nil
}
