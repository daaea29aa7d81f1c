package store

import (
	"context"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// headSQL makes HeadRows from the user's own rows. The peer's uid is what is left of a + b, so his row is found by its key.
// Each row costs one lookup in conv and one in member or sender; withdrawn is asked only for the rows that are answered.
const headSQL = `SELECT ` + tables.ConvCols + `, ` + tables.MemberCols + `,
	coalesce(p.conv, 0), coalesce(p.uid, 0), coalesce(p.row_no, 0), coalesce(p.changed, 0), coalesce(p.read_seq, 0), coalesce(p.read_others, 0),
	coalesce(p.read_time, 0), coalesce(p.read_at, 0), coalesce(p.cleared_seq, 0), coalesce(p.recv_opt, 0), coalesce(p.pinned, 0),
	coalesce(p.hidden, 0), coalesce(p.role, 0), coalesce(p.gone, 0),
	CASE WHEN c.kind = 2 THEN coalesce((SELECT o.own FROM sender o WHERE o.conv = m.conv AND o.uid = m.uid), 0)
		WHEN c.a = m.uid THEN c.own_a ELSE c.own_b END,
	(SELECT count(*) FROM withdrawn w WHERE w.conv = m.conv AND w.seq > m.read_seq AND w.sender <> m.uid)
FROM member m
JOIN conv c ON c.id = m.conv
LEFT JOIN member p ON c.kind = 1 AND p.uid = c.a + c.b - m.uid AND p.conv = m.conv
`

func scanHead(row tables.Scanner) (chat.HeadRow, error) { return tables.ScanHead(row) }

// Heads reads rows, so the heads are flushed first; that is shared with the group commit and with everybody who asks at the same time.
func (s *Store) Heads(ctx context.Context, uid chat.UID, since int64, after chat.ConvID, limit int) ([]chat.HeadRow, bool, error) {
	if err := s.flushed(ctx); err != nil {
		return nil, false, err
	}
	if err := s.reading(); err != nil {
		return nil, false, err
	}
	if limit <= 0 {
		return nil, false, nil
	}
	tx, err := s.read.BeginTx(ctx, nil) // rows and periods of one moment
	if err != nil {
		return nil, false, err
	}
	defer tx.Rollback()
	r, err := tx.QueryContext(ctx, headSQL+`WHERE m.uid = $1 AND m.conv > $2 AND (m.changed >= $3 OR c.changed >= $3 OR p.changed >= $3)
		ORDER BY m.conv LIMIT $4`, int64(uid), int64(after), since, limit+1)
	rows, err := all(r, err, scanHead)
	if err != nil {
		return nil, false, err
	}
	more := len(rows) > limit
	if more {
		rows = rows[:limit]
	}
	return rows, more, addPeriods(ctx, tx, uid, rows)
}

// Head answers the row of one conversation.
func (s *Store) Head(ctx context.Context, uid chat.UID, id chat.ConvID) (chat.HeadRow, error) {
	s.mu.RLock()
	h := s.heads[id]
	behind := h != nil && h.unflushed
	s.mu.RUnlock()
	if behind {
		if err := s.flushed(ctx); err != nil {
			return chat.HeadRow{}, err
		}
	}
	if err := s.reading(); err != nil {
		return chat.HeadRow{}, err
	}
	tx, err := s.read.BeginTx(ctx, nil)
	if err != nil {
		return chat.HeadRow{}, err
	}
	defer tx.Rollback()
	row, err := found(scanHead(tx.QueryRowContext(ctx, headSQL+"WHERE m.uid = $1 AND m.conv = $2", int64(uid), int64(id))))
	if err != nil {
		return chat.HeadRow{}, err
	}
	rows := []chat.HeadRow{row}
	err = addPeriods(ctx, tx, uid, rows)
	return rows[0], err
}

// addPeriods fills in the periods of the groups among rows, which are ordered by conversation.
func addPeriods(ctx context.Context, db querier, uid chat.UID, rows []chat.HeadRow) error {
	first, last := -1, -1
	for i := range rows {
		if rows[i].Conv.Kind == chat.KindGroup {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		return nil
	}
	r, err := db.QueryContext(ctx, "SELECT conv, from_seq, to_seq FROM period WHERE uid = $1 AND conv BETWEEN $2 AND $3 ORDER BY conv, from_seq",
		int64(uid), int64(rows[first].Conv.ID), int64(rows[last].Conv.ID))
	if err != nil {
		return err
	}
	defer r.Close()
	i := first
	for r.Next() {
		var conv, from, to int64
		if err := r.Scan(&conv, &from, &to); err != nil {
			return err
		}
		for i <= last && rows[i].Conv.ID < chat.ConvID(conv) {
			i++
		}
		if i <= last && rows[i].Conv.ID == chat.ConvID(conv) {
			rows[i].Periods = append(rows[i].Periods, chat.Period{From: uint64(from), To: uint64(to)})
		}
	}
	return r.Err()
}
