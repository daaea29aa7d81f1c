package local

// GroupInfo is the information about a group that this device keeps.
type GroupInfo struct {
	Conv       int64
	Epoch, Seq uint64
	Body       []byte // wire form of im.GroupDetailInfo
}

// GroupInfos reads all of it.
func (l *DB) GroupInfos() ([]GroupInfo, error) {
	rows, err := l.query("SELECT conv, epoch, seq, body FROM group_info")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []GroupInfo
	for rows.Next() {
		var g GroupInfo
		if err := rows.Scan(&g.Conv, &g.Epoch, &g.Seq, &g.Body); err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, rows.Err()
}

// PutGroupInfo writes a row.
func (l *DB) PutGroupInfo(g GroupInfo) error {
	_, err := l.write("REPLACE INTO group_info (conv, epoch, seq, body) VALUES (?, ?, ?, ?)", g.Conv, g.Epoch, g.Seq, noNil(g.Body))
	return err
}
