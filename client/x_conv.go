package client

import (
	"github.com/tidings-im/tidings/im"
)

// convRow is a conversation as this device has stored it. docs/sync.md says what each number is for.
type convRow struct {
	id       int64
	typ      im.ConvType
	target   string
	era      int64 // counts its logs: a new epoch or another store starts a new one
	epoch    uint64
	syncedTo uint64 // every seq up to here has been applied
	rev      uint64 // every change up to here has been applied
	holeTo   uint64 // up to here the log was skipped, being too far behind

	others, own         uint64 // others' countable index, and mine, at syncedTo
	row                 uint64 // version of my row on the server
	readSeq, readOthers uint64
	readTime            int64
	withdrawn           uint64 // others' withdrawn countable messages above readSeq, at withdrawnRev
	withdrawnRev        uint64
	peerSeq             uint64 // how far the peer has read, and when
	peerTime            int64
	cleared             uint64
	recvOpt             int32
	pinned              bool
	time                int64 // of the newest message, milliseconds

	// What the application was last told: hash of the conversation (0: not in its list), the peer's read position, and its part of the total.
	announced  int64
	receipt    uint64
	toldUnread uint64
	untold     bool // it may differ from what was announced

	listed bool   // in the list although it has no message
	hidden bool   // off the list until its next message
	draft  []byte // wire form of im.Draft
}

const convColumns = "id, type, target, era, epoch, synced_to, rev, hole_to, others, own, row, read_seq, read_others, read_time, withdrawn, withdrawn_rev, peer_seq, peer_time, cleared, recv_opt, pinned, time, announced, receipt, unread, listed, untold, hidden, draft"

// columns are the row's fields in the order of convColumns, to scan into or to write from.
func (r *convRow) columns() []any {
	return []any{&r.id, &r.typ, &r.target, &r.era, &r.epoch, &r.syncedTo, &r.rev, &r.holeTo, &r.others, &r.own, &r.row, &r.readSeq, &r.readOthers,
		&r.readTime, &r.withdrawn, &r.withdrawnRev, &r.peerSeq, &r.peerTime, &r.cleared, &r.recvOpt, &r.pinned, &r.time, &r.announced, &r.receipt, &r.toldUnread, &r.listed, &r.untold, &r.hidden, &r.draft}
}

// loadConvs reads all conversations.
func (l *local) loadConvs() ([]*convRow, error) {
	rows, err := l.query("SELECT " + convColumns + " FROM conv")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*convRow
	for rows.Next() {
		r := &convRow{}
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

// putConv inserts a conversation or replaces its row.
func (l *local) putConv(r *convRow) error {
	_, err := l.write("INSERT OR REPLACE INTO conv ("+convColumns+") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		r.id, int32(r.typ), r.target, r.era, r.epoch, r.syncedTo, r.rev, r.holeTo, r.others, r.own, r.row, r.readSeq, r.readOthers,
		r.readTime, r.withdrawn, r.withdrawnRev, r.peerSeq, r.peerTime, r.cleared, r.recvOpt, r.pinned, r.time, r.announced, r.receipt, r.toldUnread, r.listed, r.untold, r.hidden, noNil(r.draft))
	return err
}
