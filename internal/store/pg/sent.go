package pg

import (
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

func (t *tx) Sent(sender chat.UID, random, seq uint32) (chat.Sent, error) {
	return ask1(t, tables.ScanSent, tables.SelectSent, int64(sender), int64(random), int64(seq))
}

func (t *tx) LastSent(sender chat.UID, random uint32) (uint64, error) {
	return ask1(t, scanNumber, tables.SelectLastSent, int64(sender), int64(random))
}

// PutSent forgets only what nobody else holds: the old ones are of any sender.
func (t *tx) PutSent(s chat.Sent, before int64) error {
	if err := t.tell(`DELETE FROM sent s USING (SELECT sender, random, seq FROM sent WHERE at < $1 AND client_time < $2 ORDER BY at LIMIT 4 FOR UPDATE SKIP LOCKED) o
		WHERE s.sender = o.sender AND s.random = o.random AND s.seq = o.seq`, before, before/1000); err != nil {
		return err
	}
	return t.tell(tables.PutSent, tables.SentArgs(&s)...)
}
