package local

// Owed is a row of owed: a callback that may not have fired.
type Owed struct {
	ID      int64
	Kind    int
	Payload []byte
}

// Owe keeps a callback until it has fired, and returns the id to delete it with.
func (l *DB) Owe(kind int, payload []byte) (int64, error) {
	res, err := l.write("INSERT INTO owed (kind, payload) VALUES (?, ?)", kind, payload)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
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
