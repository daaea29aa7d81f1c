package local

import (
	"github.com/tidings-im/tidings/im"
)

// ConvRow is a conversation as this device has stored it. docs/sync.md explains each number.
type ConvRow struct {
	ID       int64
	Type     im.ConvType
	Target   string
	Era      int64 // counts its logs: a new epoch or another store starts a new one
	Epoch    uint64
	SyncedTo uint64 // every seq up to here has been applied
	Rev      uint64 // every change up to here has been applied
	HoleTo   uint64 // up to here the log was skipped, being too far behind

	Others, Own         uint64 // others' countable index, and mine, at SyncedTo
	Row                 uint64 // version of my row on the server
	ReadSeq, ReadOthers uint64
	ReadTime            int64
	Withdrawn           uint64 // others' withdrawn countable messages above ReadSeq, at WithdrawnRev
	WithdrawnRev        uint64
	PeerSeq             uint64 // how far the peer has read, and when
	PeerTime            int64
	Cleared             uint64
	RecvOpt             int32
	Pinned              bool
	Time                int64 // of the newest message, milliseconds

	// What was last announced to the application: hash of the conversation (0: not in its list), the peer's read position, and its part of the total.
	Announced  int64
	Receipt    uint64
	ToldUnread uint64
	Untold     bool // it may differ from what was announced

	Listed bool   // in the list although it has no message
	Hidden bool   // off the list until its next message
	Draft  []byte // wire form of im.Draft

	Membership []byte // of a group: wire form of im.Head
	AttrTold   uint64 // the version of its attributes that was announced
}

const convColumns = "id, type, target, era, epoch, synced_to, rev, hole_to, others, own, row, read_seq, read_others, read_time, withdrawn, withdrawn_rev, peer_seq, peer_time, cleared, recv_opt, pinned, time, announced, receipt, unread, listed, untold, hidden, draft, membership, attr_told"

// columns returns the row's fields in the order of convColumns, to scan into or to write from.
func (r *ConvRow) columns() []any {
	return []any{&r.ID, &r.Type, &r.Target, &r.Era, &r.Epoch, &r.SyncedTo, &r.Rev, &r.HoleTo, &r.Others, &r.Own, &r.Row, &r.ReadSeq, &r.ReadOthers,
		&r.ReadTime, &r.Withdrawn, &r.WithdrawnRev, &r.PeerSeq, &r.PeerTime, &r.Cleared, &r.RecvOpt, &r.Pinned, &r.Time, &r.Announced, &r.Receipt, &r.ToldUnread, &r.Listed, &r.Untold, &r.Hidden, &r.Draft,
		&r.Membership, &r.AttrTold}
}

// Convs reads all conversations.
func (l *DB) Convs() ([]*ConvRow, error) {
	rows, err := l.query("SELECT " + convColumns + " FROM conv")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*ConvRow
	for rows.Next() {
		r := &ConvRow{}
		if err := rows.Scan(r.columns()...); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

func noNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// PutConv inserts a conversation or replaces its row.
func (l *DB) PutConv(r *ConvRow) error {
	_, err := l.write("INSERT OR REPLACE INTO conv ("+convColumns+") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		r.ID, int32(r.Type), r.Target, r.Era, r.Epoch, r.SyncedTo, r.Rev, r.HoleTo, r.Others, r.Own, r.Row, r.ReadSeq, r.ReadOthers,
		r.ReadTime, r.Withdrawn, r.WithdrawnRev, r.PeerSeq, r.PeerTime, r.Cleared, r.RecvOpt, r.Pinned, r.Time, r.Announced, r.Receipt, r.ToldUnread, r.Listed, r.Untold, r.Hidden, noNil(r.Draft),
		noNil(r.Membership), r.AttrTold)
	return err
}
