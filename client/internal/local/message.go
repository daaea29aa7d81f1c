package local

import (
	"database/sql"
	"math"
	"time"

	"github.com/tidings-im/tidings/im"
)

// Message is a row of the message table. pos orders a conversation: the seq of a logged message; a local one comes after the seq that was applied
// when it was made.
type Message struct {
	ID, Conv, Era int64
	Pos           uint64
	Sub           int64  // 0 for a logged message, else rising among the local ones at this pos
	Seq           uint64 // 0 while it has none
	ClientTime    uint64
	Random        uint32
	Sender        string
	SenderTiny    uint64
	Time          int64 // server time, milliseconds
	Status        im.MessageStatus
	Version       uint64
	Here          bool // sent by this device: its log entry is not news
	Revoker       string
	Reason        string
	Body          []byte
}

const messageColumns = "id, conv, era, pos, sub, seq, client_time, random, sender, sender_tiny, time, status, version, here, revoker, reason, body"

// columns are where the values of messageColumns go.
func (m *Message) columns() []any {
	return []any{&m.ID, &m.Conv, &m.Era, &m.Pos, &m.Sub, &m.Seq, &m.ClientTime, &m.Random, &m.Sender, &m.SenderTiny, &m.Time, &m.Status, &m.Version, &m.Here, &m.Revoker,
		&m.Reason, &m.Body}
}

func (l *DB) messages(where string, args ...any) ([]*Message, error) {
	rows, err := l.query("SELECT "+messageColumns+" FROM message WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	return scanMessages(rows)
}

func scanMessages(rows *sql.Rows) ([]*Message, error) {
	defer rows.Close()
	var out []*Message
	for rows.Next() {
		m := &Message{}
		if err := rows.Scan(m.columns()...); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, rows.Err()
}

// one returns the single row of a query, nil if there is none.
func (l *DB) one(where string, args ...any) (*Message, error) {
	ms, err := l.messages(where, args...)
	if err != nil || len(ms) == 0 {
		return nil, err
	}
	return ms[0], nil
}

// ByID returns the message of a row, nil if it is gone.
func (l *DB) ByID(id int64) (*Message, error) { return l.one("id = ?", id) }

// At returns the logged message with a number in the present log of a conversation, nil if it is not on the device.
func (l *DB) At(cv *ConvRow, seq uint64) (*Message, error) {
	return l.one("conv = ? AND era = ? AND pos = ? AND sub = 0", cv.ID, cv.Era, seq)
}

// Drawn returns the messages with what a sender drew, of any sender and conversation.
func (l *DB) Drawn(clientTime uint64, random uint32) ([]*Message, error) {
	return l.messages("client_time = ? AND random = ?", clientTime, random)
}

// SentHere returns the message for which this device drew these numbers, nil if there is none.
func (l *DB) SentHere(cv *ConvRow, clientTime uint64, random uint32) (*Message, error) {
	return l.one("client_time = ? AND random = ? AND conv = ? AND here = 1", clientTime, random, cv.ID)
}

// Sending returns the messages whose send was not answered, in their order.
func (l *DB) Sending() ([]*Message, error) { return l.messages("status = 1 ORDER BY id") }

// LastIn returns the last local message at a pos of the present log within a span that begins at sub, nil if there is none.
func (l *DB) LastIn(cv *ConvRow, pos uint64, sub int64, span time.Duration) (*Message, error) {
	return l.one("conv = ? AND era = ? AND pos = ? AND sub BETWEEN ? AND ? ORDER BY sub DESC LIMIT 1", cv.ID, cv.Era, pos, sub, sub+int64(span)-1)
}

// Place is a message's position in its conversation.
type Place struct {
	Era int64
	Pos uint64
	Sub int64
}

// Beyond lists up to most messages strictly beyond a place, towards older or newer ones, of the given time: milliseconds, both ends included. Deleted
// and cleared ones are not listed; messages without a number were put here after the clearing.
func (l *DB) Beyond(cv *ConvRow, from Place, newer bool, fromTime, toTime int64, most int) ([]*Message, error) {
	const where = "conv = ? AND status <> 4 AND (pos > ? OR sub > 0 OR era <> ?) AND time BETWEEN ? AND ? AND (era, pos, sub) "
	order := where + "< (?, ?, ?) ORDER BY era DESC, pos DESC, sub DESC LIMIT ?"
	if newer {
		order = where + "> (?, ?, ?) ORDER BY era, pos, sub LIMIT ?"
	}
	return l.messages(order, cv.ID, cv.Cleared, cv.Era, fromTime, toTime, from.Era, from.Pos, from.Sub, most)
}

// Before returns the pos of the last logged message of a conversation with a time of at most t, 0 if there is none. It uses binary search: times
// never fall along a log.
func (l *DB) Before(cv *ConvRow, t int64) (uint64, error) {
	low, high, found := uint64(1), uint64(math.MaxInt64), uint64(0)
	for low <= high {
		middle := low + (high-low)/2
		if high == math.MaxInt64 {
			middle = high // the end of the log is not known yet
		}
		r, err := l.one("conv = ? AND era = ? AND pos BETWEEN ? AND ? AND sub = 0 ORDER BY pos DESC LIMIT 1", cv.ID, cv.Era, low, middle)
		switch {
		case err != nil:
			return 0, err
		case r == nil:
			low = middle + 1
		case r.Time <= t:
			found, low = r.Pos, middle+1
		default:
			high = r.Pos - 1
		}
	}
	return found, nil
}

// asideMost is how far back a conversation's last message is searched behind those that are excluded.
const asideMost = 1000

// Last returns the newest message of a conversation that may be its last message, and whether there is a newer one that is excluded; nil if there is
// none.
func (l *DB) Last(cv *ConvRow) (m *Message, behind bool, err error) {
	m, err = l.one("conv = ? AND status <> 4 ORDER BY era DESC, pos DESC, sub DESC LIMIT 1", cv.ID)
	if err != nil || m == nil || !im.Aside(m.Body) {
		return m, false, err
	}
	m, err = l.one("conv = ? AND era = ? AND pos > ? AND status <> 4 AND aside = 0 ORDER BY era DESC, pos DESC, sub DESC LIMIT 1",
		cv.ID, m.Era, m.Pos-min(m.Pos, asideMost))
	return m, true, err
}

// LoadLast reads the last id that a message has, or has had while the index still names it.
func (l *DB) LoadLast() error {
	var id int64
	if err := l.conn.QueryRowContext(bg, "SELECT coalesce(max(id), 0) FROM message").Scan(&id); err != nil {
		return err
	}
	indexed, err := l.Indexed()
	if err != nil {
		return err
	}
	l.lastMessage = max(l.lastMessage, id, indexed)
	return nil
}

// Reserve keeps the ids up to id from being given to other messages.
func (l *DB) Reserve(id int64) { l.lastMessage = max(l.lastMessage, id) }

// newMessage returns the id of another message.
func (l *DB) newMessage() int64 {
	l.lastMessage++
	return l.lastMessage
}

// Put inserts a message (id 0) or replaces the row.
func (l *DB) Put(m *Message) error {
	if m.ID == 0 {
		m.ID = l.newMessage()
	}
	_, err := l.write("INSERT OR REPLACE INTO message ("+messageColumns+", aside) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		m.ID, m.Conv, m.Era, m.Pos, m.Sub, m.Seq, m.ClientTime, m.Random, m.Sender, m.SenderTiny, m.Time, int32(m.Status), m.Version, m.Here, m.Revoker, m.Reason, m.Body, im.Aside(m.Body))
	return err
}

// Store writes a log entry's row with its content, or updates the row that is in its place. It returns the id, 0 if the row was deleted. A reply may
// have been made before a change that has been applied since: newer content stays, and newer returns it with its version.
func (l *DB) Store(cv *ConvRow, e *im.Entry, body []byte) (id int64, version uint64, newer []byte, err error) {
	if err := l.begin(); err != nil {
		return 0, 0, nil, err
	}
	status := max(e.Status, im.MessageStatus_MESSAGE_STATUS_SENT)
	rows, err := l.query(`INSERT INTO message (id, conv, era, pos, sub, seq, client_time, random, sender, sender_tiny, time, status, version, here, revoker, reason, body, aside)
		VALUES (?,?,?,?,0,?,?,?,?,?,?,?,?,0,?,?,?,?)
		ON CONFLICT (conv, era, pos, sub) DO UPDATE SET status = max(status, excluded.status), version = max(version, excluded.version),
			revoker = iif(excluded.status = 6, excluded.revoker, revoker), reason = iif(excluded.status = 6, excluded.reason, reason),
			body = iif(excluded.version >= version, excluded.body, body), aside = excluded.aside WHERE status <> 4
		RETURNING id, version, iif(version > ?, body, NULL)`, l.newMessage(), cv.ID, cv.Era, e.Seq, e.Seq, e.ClientTime, e.Random, e.Sender, e.SenderTinyId, e.Time, int32(status), e.Version, e.Revoker, e.RevokeReason, body, e.Message.GetExcludedFromLastMessage(), e.Version)
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

// Revoke marks a logged message as recalled.
func (l *DB) Revoke(cv *ConvRow, seq uint64, revoker, reason string) error {
	_, err := l.write("UPDATE message SET status = ?, revoker = ?, reason = ? WHERE conv = ? AND era = ? AND pos = ? AND sub = 0 AND status <> 4",
		int32(im.MessageStatus_MESSAGE_STATUS_REVOKED), revoker, reason, cv.ID, cv.Era, seq)
	return err
}

// MakeRoom deletes what is in the place of a number in the present log, except the row with that id.
func (l *DB) MakeRoom(cv *ConvRow, seq uint64, id int64) error {
	_, err := l.write("DELETE FROM message WHERE conv = ? AND era = ? AND pos = ? AND sub = 0 AND id <> ?", cv.ID, cv.Era, seq, id)
	return err
}

// DeleteUpTo deletes what a clearing up to a number of the present log deletes: the messages at or before it, with those of older logs. A message
// that is being sent stays.
func (l *DB) DeleteUpTo(cv *ConvRow, seq uint64, failedSince time.Time) error {
	return l.deleteRows(cv, failedSince, "status <> 1 AND (era <> ? OR pos <= ?)", cv.Era, seq)
}

// DeleteBefore is DeleteUpTo for a number of a log that need not be the present one: the contents of later logs stay.
func (l *DB) DeleteBefore(cv *ConvRow, era int64, seq uint64, failedSince time.Time) error {
	return l.deleteRows(cv, failedSince, "status <> 1 AND (era < ? OR era = ? AND pos <= ?)", era, era, seq)
}

// deleteRows deletes messages of a conversation permanently. An empty row stays for one that failed since then, and one that was deleted after it had
// failed stays as it is.
func (l *DB) deleteRows(cv *ConvRow, failedSince time.Time, where string, args ...any) error {
	const failed = "here = 1 AND seq = 0 AND time > ? AND status "
	where = "conv = ? AND " + where + " AND "
	args = append(append([]any{cv.ID}, args...), failedSince.UnixMilli())
	if _, err := l.write("UPDATE message SET status = 4, body = x'' WHERE "+where+failed+"= 3", args...); err != nil {
		return err
	}
	if _, err := l.write("DELETE FROM message WHERE "+where+"NOT ("+failed+"= 4)", args...); err != nil {
		return err
	}
	return l.cutIndex()
}
