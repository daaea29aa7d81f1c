package local

import (
	"database/sql"
	"errors"
)

// Person is what messages and conversations show of a user.
type Person struct {
	User       string
	Ver        uint64
	Nick, Face string
}

// Person reads a row; one of version 0 if there is none.
func (l *DB) Person(user string) (Person, error) {
	p := Person{User: user}
	s, err := l.prepared("SELECT ver, nick, face FROM person WHERE user = ?")
	if err != nil {
		return p, err
	}
	l.Reads++
	err = s.QueryRowContext(bg, user).Scan(&p.Ver, &p.Nick, &p.Face)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return p, err
}

// PutPerson writes a row.
func (l *DB) PutPerson(p Person) error {
	_, err := l.write("REPLACE INTO person (user, ver, nick, face) VALUES (?, ?, ?, ?)", p.User, p.Ver, p.Nick, p.Face)
	return err
}

// DropPeople deletes all rows.
func (l *DB) DropPeople() error {
	_, err := l.write("DELETE FROM person")
	return err
}
