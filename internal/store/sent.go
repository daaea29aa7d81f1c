package store

import (
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

func (t *tx) Sent(sender chat.UID, random, seq uint32) (chat.Sent, error) {
	return found(tables.ScanSent(t.db.QueryRowContext(background, tables.SelectSent, int64(sender), int64(random), int64(seq))))
}

func (t *tx) LastSent(sender chat.UID, random uint32) (uint64, error) {
	var last int64
	err := t.db.QueryRowContext(background, tables.SelectLastSent, int64(sender), int64(random)).Scan(&last)
	return uint64(last), err
}

func (t *tx) PutSent(s chat.Sent, before int64) error {
	t.wrote = true
	_, err := t.db.ExecContext(background, "DELETE FROM sent WHERE at < $1 AND client_time < $2 AND (sender, random, seq) IN (SELECT sender, random, seq FROM sent ORDER BY at LIMIT 4)",
		before, before/1000)
	if err != nil {
		return err
	}
	_, err = t.db.ExecContext(background, tables.PutSent, tables.SentArgs(&s)...)
	return err
}
