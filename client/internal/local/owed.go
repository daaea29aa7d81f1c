package local

// Owed is a row of owed: a callback that may not have fired.
type Owed struct {
	ID      int64
	Kind    int
	Payload []byte
}

// Owe keeps a callback until it has fired. Its id, to delete it with, is greater than that of all others.
func (l *DB) Owe(id int64, kind int, payload []byte) error {
	if payload == nil { // which would be NULL
		payload = []byte{}
	}
	_, err := l.write("INSERT INTO owed (id, kind, payload) VALUES (?, ?, ?)", id, kind, payload)
	return err
}

// LastOwed returns the greatest id of a callback that is kept; 0 if there is none.
func (l *DB) LastOwed() (id int64, err error) {
	s, err := l.prepared("SELECT coalesce(max(id), 0) FROM owed")
	if err != nil {
		return 0, err
	}
	return id, s.QueryRowContext(bg).Scan(&id)
}

// Told deletes a callback.
func (l *DB) Told(id int64) error {
	_, err := l.write("DELETE FROM owed WHERE id = ?", id)
	return err
}

// Owed reads the callbacks that are kept, in their order.
func (l *DB) Owed() ([]Owed, error) {
	rows, err := l.query("SELECT id, kind, payload FROM owed ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var owed []Owed
	for rows.Next() {
		var o Owed
		if err := rows.Scan(&o.ID, &o.Kind, &o.Payload); err != nil {
			return nil, err
		}
		owed = append(owed, o)
	}
	return owed, rows.Err()
}
