// Package tables is what the stores have alike: the columns of their tables, in the order in which they are read, and what their rows are in package chat.
// Each store has its own SQL; a column that only one of them has is read there.
package tables

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/tidings-im/tidings/internal/chat"
)

const (
	// FlagCountable is the bit of entry.flags of a message that counts as unread.
	FlagCountable = 1
	// StatusRevoked is im's MESSAGE_STATUS_REVOKED.
	StatusRevoked = 6
	// KindModify is im's CHANGE_MODIFY.
	KindModify = 2
)

// Scanner is a row of a result. Integers are scanned into int64, the only type that database/sql copies without formatting it.
type Scanner interface{ Scan(dest ...any) error }

// Clamp brings the end of a range into what SQL can count.
func Clamp(n uint64) int64 { return int64(min(n, chat.NoEnd)) }

// ConvCols are the columns of a ConvRow, as those of c.
const ConvCols = "c.id, c.kind, c.a, c.b, c.grp, c.seq, c.rev, c.time, c.changed, c.idx, c.own_a, c.own_b, c.policy, c.member_set, c.dissolved"

// ConvRow is a row of conv.
type ConvRow struct {
	n   [14]int64
	grp string
}

// Dest is where its columns are scanned to.
func (r *ConvRow) Dest() []any {
	n := &r.n
	return []any{&n[0], &n[1], &n[2], &n[3], &r.grp, &n[4], &n[5], &n[6], &n[7], &n[8], &n[9], &n[10], &n[11], &n[12], &n[13]}
}

// Conv is the conversation.
func (r *ConvRow) Conv() chat.Conv {
	n := &r.n
	return chat.Conv{
		ID: chat.ConvID(n[0]), Kind: chat.Kind(n[1]), A: chat.UID(n[2]), B: chat.UID(n[3]), Group: r.grp,
		Seq: uint64(n[4]), Rev: uint64(n[5]), Time: n[6], Changed: n[7],
		Index: uint64(n[8]), OwnA: uint64(n[9]), OwnB: uint64(n[10]),
		Policy: uint64(n[11]), MemberSet: uint64(n[12]), Dissolved: n[13] != 0,
	}
}

// ScanConv reads ConvCols.
func ScanConv(row Scanner) (chat.Conv, error) {
	var r ConvRow
	err := row.Scan(r.Dest()...)
	return r.Conv(), err
}

// MemberCols are the columns of a MemberRow, as those of m.
const MemberCols = "m.conv, m.uid, m.row_no, m.changed, m.read_seq, m.read_others, m.read_time, m.read_at, m.cleared_seq, m.recv_opt, m.pinned, m.hidden, m.role, m.gone"

// MemberRow is a row of member.
type MemberRow [14]int64

// Dest is where its columns are scanned to.
func (n *MemberRow) Dest() []any {
	return []any{&n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8], &n[9], &n[10], &n[11], &n[12], &n[13]}
}

// Member is the member's row.
func (n *MemberRow) Member() chat.Member {
	return chat.Member{
		Conv: chat.ConvID(n[0]), UID: chat.UID(n[1]), Row: uint64(n[2]), Changed: n[3],
		ReadSeq: uint64(n[4]), ReadOthers: uint64(n[5]), ReadTime: n[6], ReadAt: n[7], ClearedSeq: uint64(n[8]),
		RecvOpt: int32(n[9]), Pinned: n[10] != 0, Hidden: n[11] != 0, Role: int32(n[12]), Left: n[13] != 0,
	}
}

// ScanMember reads MemberCols.
func ScanMember(row Scanner) (chat.Member, error) {
	var n MemberRow
	err := row.Scan(n.Dest()...)
	return n.Member(), err
}

// EntryCols are the columns of an EntryRow, as those of e.
const EntryCols = "e.conv, e.sender, e.client_time, e.random, e.hash, e.flags, e.seq, e.time, e.idx, e.own, e.status, e.version, e.revoker, e.reason, e.body"

// EntryRow is a row of entry; N are all its columns but the last two.
type EntryRow struct {
	N      [13]int64
	Reason string
	Body   []byte
}

// Dest is where its columns are scanned to.
func (r *EntryRow) Dest() []any {
	n := &r.N
	return []any{&n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8], &n[9], &n[10], &n[11], &n[12], &r.Reason, &r.Body}
}

// Stored is the message.
func (r *EntryRow) Stored() chat.Stored {
	n := &r.N
	return chat.Stored{
		Entry: chat.Entry{
			Conv: chat.ConvID(n[0]), Sender: chat.UID(n[1]), ClientTime: uint64(n[2]), Random: uint32(n[3]),
			Body: r.Body, Hash: uint64(n[4]), Countable: n[5]&FlagCountable != 0,
		},
		Seq: uint64(n[6]), Time: n[7], Index: uint64(n[8]), OwnIndex: uint64(n[9]),
		Status: int32(n[10]), Version: uint64(n[11]), Revoker: chat.UID(n[12]), RevokeReason: r.Reason,
	}
}

// ScanEntry reads EntryCols.
func ScanEntry(row Scanner) (chat.Stored, error) {
	var r EntryRow
	err := row.Scan(r.Dest()...)
	return r.Stored(), err
}

// UserCols are the columns that ScanUser reads, as those of u.
const UserCols = "u.uid, u.name, u.generation, u.feed, u.valid_from"

// ScanUser reads UserCols.
func ScanUser(row Scanner) (chat.User, error) {
	var n [4]int64
	var name string
	err := row.Scan(&n[0], &name, &n[1], &n[2], &n[3])
	return chat.User{UID: chat.UID(n[0]), Name: name, Generation: uint64(n[1]), Feed: uint64(n[2]), ValidFrom: n[3]}, err
}

// SessionCols are the columns that ScanSession reads.
const SessionCols = "uid, device, class, platform, generation, logged_in, owed, at"

// ScanSession reads SessionCols.
func ScanSession(row Scanner) (chat.Session, error) {
	var n [7]int64
	var device string
	err := row.Scan(&n[0], &device, &n[1], &n[2], &n[3], &n[4], &n[5], &n[6])
	return chat.Session{
		UID: chat.UID(n[0]), Device: device, Class: int32(n[1]), Platform: int32(n[2]), Generation: uint64(n[3]),
		LoggedIn: n[4] != 0, Owed: n[5] != 0, At: n[6],
	}, err
}

// ScanHead reads ConvCols, MemberCols, the same ones of the peer or zeros, the caller's own countable messages, those withdrawn, and what more there is.
func ScanHead(row Scanner, more ...any) (chat.HeadRow, error) {
	var c ConvRow
	var m, p MemberRow
	var own, withdrawn int64
	dest := make([]any, 0, 48)
	dest = append(dest, c.Dest()...)
	dest = append(dest, m.Dest()...)
	dest = append(dest, p.Dest()...)
	dest = append(dest, &own, &withdrawn)
	err := row.Scan(append(dest, more...)...)
	h := chat.HeadRow{Conv: c.Conv(), Mine: m.Member(), Own: uint64(own), Withdrawn: uint64(withdrawn)}
	if p[0] != 0 {
		peer := p.Member()
		h.Peer = &peer
	}
	return h, err
}

// ScanChange reads rev, kind, seq, time, operator, reason and version of a change, whether its message is there, and EntryCols or zeros.
func ScanChange(row Scanner) (chat.Change, error) {
	var n [6]int64
	var reason string
	var has bool
	var e EntryRow
	err := row.Scan(append([]any{&n[0], &n[1], &n[2], &n[3], &n[4], &reason, &n[5], &has}, e.Dest()...)...)
	c := chat.Change{Rev: uint64(n[0]), Kind: int32(n[1]), Seq: uint64(n[2]), Time: n[3], Operator: chat.UID(n[4]), Reason: reason, Version: uint64(n[5])}
	if has {
		st := e.Stored()
		c.Target = &st
	}
	return c, err
}

// ScanLog reads the id of an entry and EntryCols.
func ScanLog(row Scanner) (chat.LogEntry, error) {
	var id int64
	var e EntryRow
	err := row.Scan(append([]any{&id}, e.Dest()...)...)
	return chat.LogEntry{Pos: id, Stored: e.Stored()}, err
}

// ScanFeed reads seq, kind, time and body of a feed entry.
func ScanFeed(row Scanner) (chat.FeedEntry, error) {
	var seq, kind int64
	var e chat.FeedEntry
	err := row.Scan(&seq, &kind, &e.Time, &e.Body)
	e.Seq, e.Kind = uint64(seq), int32(kind)
	return e, err
}

// ScanPeriod reads both ends of a membership.
func ScanPeriod(row Scanner) (chat.Period, error) {
	var from, to int64
	err := row.Scan(&from, &to)
	return chat.Period{From: uint64(from), To: uint64(to)}, err
}

// Contain runs a function that an answer or an event is handed to. It touches what clients have sent; a panic in it is logged, and those behind it are told all the same.
func Contain(log *slog.Logger, f func()) {
	defer func() {
		if r := recover(); r != nil {
			log.Error("telling of a commit failed inside the server", "err", fmt.Sprintf("panic: %v\n%s", r, debug.Stack()))
		}
	}()
	f()
}
