package store

import (
	"context"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

func (s *Store) Deleted(ctx context.Context, uid chat.UID, id chat.ConvID, from, to uint64) ([]uint64, error) {
	if err := s.reading(); err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, "SELECT seq FROM deleted WHERE uid = $1 AND conv = $2 AND seq BETWEEN $3 AND $4 ORDER BY seq",
		int64(uid), int64(id), tables.Clamp(from), tables.Clamp(to))
	return all(rows, err, func(row tables.Scanner) (uint64, error) {
		var seq int64
		err := row.Scan(&seq)
		return uint64(seq), err
	})
}

const deleteSQL = "INSERT INTO deleted (uid, conv, seq) VALUES ($1, $2, $3) ON CONFLICT (uid, conv, seq) DO NOTHING"

func (t *tx) Delete(id chat.ConvID, uid chat.UID, seqs []uint64) error {
	t.wrote = true
	for _, seq := range seqs {
		if _, err := t.db.ExecContext(background, deleteSQL, int64(uid), int64(id), tables.Clamp(seq)); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) Pinned(uid chat.UID) (int, error) {
	var n int64
	err := t.db.QueryRowContext(background, "SELECT count(*) FROM member WHERE uid = $1 AND pinned <> 0", int64(uid)).Scan(&n)
	return int(n), err
}
