package pg

import (
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/internal/chat"
)

const (
	flagCountable = 1
	// statusRevoked is im's MESSAGE_STATUS_REVOKED.
	statusRevoked = 6
)

// scanner is a row of a result.
type scanner interface{ Scan(dest ...any) error }

func bit(b bool) int16 {
	if b {
		return 1
	}
	return 0
}

// clamp brings the end of a range into what SQL can count.
func clamp(n uint64) int64 { return int64(min(n, chat.NoEnd)) }

// isText says whether PostgreSQL takes s as text; what it does not take is not stored, so it need not be looked for.
func isText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// asText makes it so, for words that are only shown.
func asText(s string) string {
	if isText(s) {
		return s
	}
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
}

const convCols = "c.id, c.kind, c.a, c.b, c.grp, c.seq, c.rev, c.time, c.changed, c.idx, c.own_a, c.own_b, c.policy, c.member_set, c.dissolved"

type convRow struct {
	n   [14]int64
	grp string
}

func (r *convRow) dest() []any {
	n := &r.n
	return []any{&n[0], &n[1], &n[2], &n[3], &r.grp, &n[4], &n[5], &n[6], &n[7], &n[8], &n[9], &n[10], &n[11], &n[12], &n[13]}
}

func (r *convRow) conv() chat.Conv {
	n := &r.n
	return chat.Conv{
		ID: chat.ConvID(n[0]), Kind: chat.Kind(n[1]), A: chat.UID(n[2]), B: chat.UID(n[3]), Group: r.grp,
		Seq: uint64(n[4]), Rev: uint64(n[5]), Time: n[6], Changed: n[7],
		Index: uint64(n[8]), OwnA: uint64(n[9]), OwnB: uint64(n[10]),
		Policy: uint64(n[11]), MemberSet: uint64(n[12]), Dissolved: n[13] != 0,
	}
}

func scanConv(row scanner) (chat.Conv, error) {
	var r convRow
	err := row.Scan(r.dest()...)
	return r.conv(), err
}

const memberCols = "m.conv, m.uid, m.row_no, m.changed, m.read_seq, m.read_others, m.read_time, m.read_at, m.cleared_seq, m.recv_opt, m.pinned, m.hidden, m.role, m.gone"

type memberRow [14]int64

func (n *memberRow) dest() []any {
	return []any{&n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8], &n[9], &n[10], &n[11], &n[12], &n[13]}
}

func (n *memberRow) member() chat.Member {
	return chat.Member{
		Conv: chat.ConvID(n[0]), UID: chat.UID(n[1]), Row: uint64(n[2]), Changed: n[3],
		ReadSeq: uint64(n[4]), ReadOthers: uint64(n[5]), ReadTime: n[6], ReadAt: n[7], ClearedSeq: uint64(n[8]),
		RecvOpt: int32(n[9]), Pinned: n[10] != 0, Hidden: n[11] != 0, Role: int32(n[12]), Left: n[13] != 0,
	}
}

func scanMember(row scanner) (chat.Member, error) {
	var n memberRow
	err := row.Scan(n.dest()...)
	return n.member(), err
}

const entryCols = "e.conv, e.sender, e.client_time, e.random, e.hash, e.flags, e.seq, e.time, e.idx, e.own, e.status, e.version, e.revoker, e.reason, e.body"

type entryRow struct {
	n      [13]int64
	reason string
	body   []byte
}

func (r *entryRow) dest() []any {
	n := &r.n
	return []any{&n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8], &n[9], &n[10], &n[11], &n[12], &r.reason, &r.body}
}

func (r *entryRow) stored() chat.Stored {
	n := &r.n
	return chat.Stored{
		Entry: chat.Entry{
			Conv: chat.ConvID(n[0]), Sender: chat.UID(n[1]), ClientTime: uint64(n[2]), Random: uint32(n[3]),
			Body: r.body, Hash: uint64(n[4]), Countable: n[5]&flagCountable != 0,
		},
		Seq: uint64(n[6]), Time: n[7], Index: uint64(n[8]), OwnIndex: uint64(n[9]),
		Status: int32(n[10]), Version: uint64(n[11]), Revoker: chat.UID(n[12]), RevokeReason: r.reason,
	}
}

func scanEntry(row scanner) (chat.Stored, error) {
	var r entryRow
	err := row.Scan(r.dest()...)
	return r.stored(), err
}

const userCols = "u.uid, u.name, u.generation, u.feed, u.valid_from"

func scanUser(row scanner) (chat.User, error) {
	var n [4]int64
	var name string
	err := row.Scan(&n[0], &name, &n[1], &n[2], &n[3])
	return chat.User{UID: chat.UID(n[0]), Name: name, Generation: uint64(n[1]), Feed: uint64(n[2]), ValidFrom: n[3]}, err
}

const sessionSQL = "SELECT uid, device, class, platform, generation, logged_in, owed, at FROM session WHERE uid = $1 ORDER BY device"

func scanSession(row scanner) (chat.Session, error) {
	var n [7]int64
	var device string
	err := row.Scan(&n[0], &device, &n[1], &n[2], &n[3], &n[4], &n[5], &n[6])
	return chat.Session{
		UID: chat.UID(n[0]), Device: device, Class: int32(n[1]), Platform: int32(n[2]), Generation: uint64(n[3]),
		LoggedIn: n[4] != 0, Owed: n[5] != 0, At: n[6],
	}, err
}

func scanPeriod(row scanner) (chat.Period, error) {
	var from, to int64
	err := row.Scan(&from, &to)
	return chat.Period{From: uint64(from), To: uint64(to)}, err
}

func scanNumber(row scanner) (uint64, error) {
	var n int64
	err := row.Scan(&n)
	return uint64(n), err
}

// all reads the rows of a query.
func all[T any](rows pgx.Rows, err error, scan func(scanner) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}
