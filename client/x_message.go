package client

import (
	"database/sql"
	"math"
	"time"

	"github.com/tidings-im/tidings/im"
)

// message is a row of the message table. pos orders a conversation: the seq of a logged one; a local one stands after the seq that was applied when it was made.
type message struct {
	id, conv, era int64
	pos           uint64
	sub           int64  // 0 for a logged message, else rising among the local ones at this pos
	seq           uint64 // 0 while it has none
	clientTime    uint64
	random        uint32
	sender        string
	senderTiny    uint64
	time          int64 // server time, milliseconds
	status        im.MessageStatus
	version       uint64
	here          bool // sent by this device: its log entry is not news
	revoker       string
	reason        string
	body          []byte
}

const messageColumns = "id, conv, era, pos, sub, seq, client_time, random, sender, sender_tiny, time, status, version, here, revoker, reason, body"

func (l *local) messages(where string, args ...any) ([]*message, error) {
	rows, err := l.query("SELECT "+messageColumns+" FROM message WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	return scanMessages(rows)
}

func scanMessages(rows *sql.Rows) ([]*message, error) {
	defer rows.Close()
	var out []*message
	for rows.Next() {
		m := &message{}
		if err := rows.Scan(&m.id, &m.conv, &m.era, &m.pos, &m.sub, &m.seq, &m.clientTime, &m.random, &m.sender, &m.senderTiny,
			&m.time, &m.status, &m.version, &m.here, &m.revoker, &m.reason, &m.body); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, rows.Err()
}

// one answers the single row of a query, nil if there is none.
func (l *local) one(where string, args ...any) (*message, error) {
	ms, err := l.messages(where, args...)
	if err != nil || len(ms) == 0 {
		return nil, err
	}
	return ms[0], nil
}

// byID is the message of a row, nil if it is gone.
func (l *local) byID(id int64) (*message, error) { return l.one("id = ?", id) }

// at is the logged message of a number in the present log of a conversation, nil if it is not here.
func (l *local) at(cv *convRow, seq uint64) (*message, error) {
	return l.one("conv = ? AND era = ? AND pos = ? AND sub = 0", cv.id, cv.era, seq)
}

// drawn are the messages with what a sender drew, of whatever sender and conversation.
func (l *local) drawn(clientTime uint64, random uint32) ([]*message, error) {
	return l.messages("client_time = ? AND random = ?", clientTime, random)
}

// sentHere is the message that this device drew these numbers for, nil without one.
func (l *local) sentHere(cv *convRow, clientTime uint64, random uint32) (*message, error) {
	return l.one("client_time = ? AND random = ? AND conv = ? AND here = 1", clientTime, random, cv.id)
}

// sending are the messages whose send was not answered, in their order.
func (l *local) sending() ([]*message, error) { return l.messages("status = 1 ORDER BY id") }

// lastIn is the last local message at a pos of the present log within a span that begins at sub, nil without one.
func (l *local) lastIn(cv *convRow, pos uint64, sub int64, span time.Duration) (*message, error) {
	return l.one("conv = ? AND era = ? AND pos = ? AND sub BETWEEN ? AND ? ORDER BY sub DESC LIMIT 1", cv.id, cv.era, pos, sub, sub+int64(span)-1)
}

// place is where a message stands in its conversation.
type place struct {
	era int64
	pos uint64
	sub int64
}

// beyond lists up to most messages that stand strictly beyond a place, towards older or newer ones, of the given time: milliseconds, both ends included. Deleted and
// cleared ones are not listed; what has no number and is here was put here after the clearing.
func (l *local) beyond(cv *convRow, from place, newer bool, fromTime, toTime int64, most int) ([]*message, error) {
	const where = "conv = ? AND status <> 4 AND (pos > ? OR sub > 0 OR era <> ?) AND time BETWEEN ? AND ? AND (era, pos, sub) "
	order := where + "< (?, ?, ?) ORDER BY era DESC, pos DESC, sub DESC LIMIT ?"
	if newer {
		order = where + "> (?, ?, ?) ORDER BY era, pos, sub LIMIT ?"
	}
	return l.messages(order, cv.id, cv.cleared, cv.era, fromTime, toTime, from.era, from.pos, from.sub, most)
}

// before is the pos of the last logged message of a conversation with a time of at most t, 0 without one. It searches by halves: times never fall
// along a log.
func (l *local) before(cv *convRow, t int64) (uint64, error) {
	low, high, found := uint64(1), uint64(math.MaxInt64), uint64(0)
	for low <= high {
		middle := low + (high-low)/2
		if high == math.MaxInt64 {
			middle = high // the end of the log is not known yet
		}
		r, err := l.one("conv = ? AND era = ? AND pos BETWEEN ? AND ? AND sub = 0 ORDER BY pos DESC LIMIT 1", cv.id, cv.era, low, middle)
		switch {
		case err != nil:
			return 0, err
		case r == nil:
			low = middle + 1
		case r.time <= t:
			found, low = r.pos, middle+1
		default:
			high = r.pos - 1
		}
	}
	return found, nil
}

// asideMost is how far back a conversation's last message is looked for behind those that are not to be it.
const asideMost = 1000

// last is the newest message of a conversation that may be its last message, and whether there is a newer one that may not; nil if there is none.
func (l *local) last(cv *convRow) (m *message, behind bool, err error) {
	m, err = l.one("conv = ? AND status <> 4 ORDER BY era DESC, pos DESC, sub DESC LIMIT 1", cv.id)
	if err != nil || m == nil || !im.Aside(m.body) {
		return m, false, err
	}
	m, err = l.one("conv = ? AND era = ? AND pos > ? AND status <> 4 AND aside = 0 ORDER BY era DESC, pos DESC, sub DESC LIMIT 1",
		cv.id, m.era, m.pos-min(m.pos, asideMost))
	return m, true, err
}

// loadLast reads the last id that a message has, or has had while the index still names it.
func (l *local) loadLast() error {
	var id int64
	if err := l.conn.QueryRowContext(bg, "SELECT coalesce(max(id), 0) FROM message").Scan(&id); err != nil {
		return err
	}
	indexed, err := l.indexed()
	if err != nil {
		return err
	}
	l.lastMessage = max(l.lastMessage, id, indexed)
	return nil
}

// reserve keeps the ids up to id from being given to other messages.
func (l *local) reserve(id int64) { l.lastMessage = max(l.lastMessage, id) }

// newMessage is the id of another message.
func (l *local) newMessage() int64 {
	l.lastMessage++
	return l.lastMessage
}

// put inserts a message (id 0) or replaces the row.
func (l *local) put(m *message) error {
	if m.id == 0 {
		m.id = l.newMessage()
	}
	_, err := l.write("INSERT OR REPLACE INTO message ("+messageColumns+", aside) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		m.id, m.conv, m.era, m.pos, m.sub, m.seq, m.clientTime, m.random, m.sender, m.senderTiny, m.time, int32(m.status), m.version, m.here, m.revoker, m.reason, m.body, im.Aside(m.body))
	return err
}

// store writes a log entry's row with its content, or brings the row that stands at its place up to date. It answers the id, 0 where the row was deleted. An answer may have been made
// before a change that has been applied meanwhile: what is newer stays, and newer answers it with its version.
func (l *local) store(cv *convRow, e *im.Entry, body []byte) (id int64, version uint64, newer []byte, err error) {
	if err := l.begin(); err != nil {
		return 0, 0, nil, err
	}
	status := max(e.Status, im.MessageStatus_MESSAGE_STATUS_SENT)
	rows, err := l.query(`INSERT INTO message (id, conv, era, pos, sub, seq, client_time, random, sender, sender_tiny, time, status, version, here, revoker, reason, body, aside)
		VALUES (?,?,?,?,0,?,?,?,?,?,?,?,?,0,?,?,?,?)
		ON CONFLICT (conv, era, pos, sub) DO UPDATE SET status = max(status, excluded.status), version = max(version, excluded.version),
			revoker = iif(excluded.status = 6, excluded.revoker, revoker), reason = iif(excluded.status = 6, excluded.reason, reason),
			body = iif(excluded.version >= version, excluded.body, body), aside = excluded.aside WHERE status <> 4
		RETURNING id, version, iif(version > ?, body, NULL)`, l.newMessage(), cv.id, cv.era, e.Seq, e.Seq, e.ClientTime, e.Random, e.Sender, e.SenderTinyId, e.Time, int32(status), e.Version, e.Revoker, e.RevokeReason, body, e.Message.GetExcludedFromLastMessage(), e.Version)
	if err != nil {
		return 0, 0, nil, err
	}
	defer rows.Close()
	if rows.Next() {
		if err := rows.Scan(&id, &version, &newer); err != nil {
			return 0, 0, nil, err
		}
	}
	return id, version, newer, rows.Err()
}

// revoke marks a logged message as recalled.
func (l *local) revoke(cv *convRow, seq uint64, revoker, reason string) error {
	_, err := l.write("UPDATE message SET status = ?, revoker = ?, reason = ? WHERE conv = ? AND era = ? AND pos = ? AND sub = 0 AND status <> 4",
		int32(im.MessageStatus_MESSAGE_STATUS_REVOKED), revoker, reason, cv.id, cv.era, seq)
	return err
}

// makeRoom deletes what stands at the place of a number in the present log, but for the row of that id.
func (l *local) makeRoom(cv *convRow, seq uint64, id int64) error {
	_, err := l.write("DELETE FROM message WHERE conv = ? AND era = ? AND pos = ? AND sub = 0 AND id <> ?", cv.id, cv.era, seq, id)
	return err
}

// deleteUpTo deletes what a clearing up to a number of the present log takes: the messages at or before it, with those of older logs. A message that is being sent stays.
func (l *local) deleteUpTo(cv *convRow, seq uint64, failedSince time.Time) error {
	return l.deleteRows(cv, failedSince, "status <> 1 AND (era <> ? OR pos <= ?)", cv.era, seq)
}

// deleteBefore is deleteUpTo for a number of a log that need not be the present one: what later logs hold stays.
func (l *local) deleteBefore(cv *convRow, era int64, seq uint64, failedSince time.Time) error {
	return l.deleteRows(cv, failedSince, "status <> 1 AND (era < ? OR era = ? AND pos <= ?)", era, era, seq)
}

// deleteRows deletes messages of a conversation for good. Of one that failed since then an empty row stays, and one that was deleted after it had failed stays as it is.
func (l *local) deleteRows(cv *convRow, failedSince time.Time, where string, args ...any) error {
	const failed = "here = 1 AND seq = 0 AND time > ? AND status "
	where = "conv = ? AND " + where + " AND "
	args = append(append([]any{cv.id}, args...), failedSince.UnixMilli())
	if _, err := l.write("UPDATE message SET status = 4, body = x'' WHERE "+where+failed+"= 3", args...); err != nil {
		return err
	}
	if _, err := l.write("DELETE FROM message WHERE "+where+"NOT ("+failed+"= 4)", args...); err != nil {
		return err
	}
	return l.cutIndex()
}
