package local

import (
	"database/sql"
	"errors"
)

// Member is what this device knows of a member of a group.
type Member struct {
	Conv       int64
	User       string
	Epoch, Ver uint64
	Card       string
}

// Member reads a row; nil if there is none.
func (l *DB) Member(conv int64, user string) (*Member, error) {
	m := &Member{Conv: conv, User: user}
	s, err := l.prepared("SELECT epoch, ver, card FROM member WHERE conv = ? AND user = ?")
	if err != nil {
		return nil, err
	}
	l.Reads++
	err = s.QueryRowContext(bg, conv, user).Scan(&m.Epoch, &m.Ver, &m.Card)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return m, err
}

// Members reads the members of a group, in the order of their ids.
func (l *DB) Members(conv int64) ([]Member, error) {
	rows, err := l.query("SELECT user, epoch, ver, card FROM member WHERE conv = ? ORDER BY user", conv)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Member
	for rows.Next() {
		m := Member{Conv: conv}
		if err := rows.Scan(&m.User, &m.Epoch, &m.Ver, &m.Card); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, rows.Err()
}

// PutMember writes a row.
func (l *DB) PutMember(m Member) error {
	_, err := l.write("REPLACE INTO member (conv, user, epoch, ver, card) VALUES (?, ?, ?, ?, ?)", m.Conv, m.User, m.Epoch, m.Ver, m.Card)
	return err
}

// DropMembers deletes all rows.
func (l *DB) DropMembers() error {
	_, err := l.write("DELETE FROM member")
	return err
}

// DropMember deletes a row.
func (l *DB) DropMember(conv int64, user string) error {
	_, err := l.write("DELETE FROM member WHERE conv = ? AND user = ?", conv, user)
	return err
}
