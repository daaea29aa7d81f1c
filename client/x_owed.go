package client

// owedRow is a row of owed: a callback that was not told for certain.
type owedRow struct {
	id      int64
	kind    int
	payload []byte
}

// owe keeps a callback until it is told, and answers the id to forget it by.
func (l *local) owe(kind int, payload []byte) (int64, error) {
	res, err := l.write("INSERT INTO owed (kind, payload) VALUES (?, ?)", kind, payload)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// told forgets a callback.
func (l *local) told(id int64) error {
	_, err := l.write("DELETE FROM owed WHERE id = ?", id)
	return err
}

// owed reads the callbacks that are kept, in their order.
func (l *local) owed() ([]owedRow, error) {
	rows, err := l.query("SELECT id, kind, payload FROM owed ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var owed []owedRow
	for rows.Next() {
		var o owedRow
		if err := rows.Scan(&o.id, &o.kind, &o.payload); err != nil {
			return nil, err
		}
		owed = append(owed, o)
	}
	return owed, rows.Err()
}
