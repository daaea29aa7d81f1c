package tables

import "github.com/tidings-im/tidings/internal/chat"

// Statements about operators' calls.
const (
	SelectSent     = "SELECT sender, random, seq, client_time, hash, at FROM sent WHERE sender = $1 AND random = $2 AND seq = $3"
	SelectLastSent = "SELECT coalesce(max(client_time), 0) FROM sent WHERE sender = $1 AND random = $2"
	PutSent        = `INSERT INTO sent (sender, random, seq, client_time, hash, at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (sender, random, seq) DO UPDATE SET client_time = excluded.client_time, hash = excluded.hash, at = excluded.at`
)

// SentArgs are those of PutSent.
func SentArgs(s *chat.Sent) []any {
	return []any{int64(s.Sender), int64(s.Random), int64(s.Seq), int64(s.ClientTime), int64(s.Hash), s.At}
}

// ScanSent reads a row of SelectSent.
func ScanSent(row Scanner) (s chat.Sent, err error) {
	var n [6]int64
	err = row.Scan(&n[0], &n[1], &n[2], &n[3], &n[4], &n[5])
	return chat.Sent{Sender: chat.UID(n[0]), Random: uint32(n[1]), Seq: uint32(n[2]), ClientTime: uint64(n[3]), Hash: uint64(n[4]), At: n[5]}, err
}
