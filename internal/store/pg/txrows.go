package pg

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

func (t *tx) User(uid chat.UID) (chat.User, error) {
	u, err := t.user(uid)
	if err != nil {
		return chat.User{}, err
	}
	return *u, nil
}

// PutUser leaves the feed's number alone: only AddFeed moves it.
func (t *tx) PutUser(u chat.User) error {
	old, err := t.user(u.UID)
	if err != nil {
		return err
	}
	old.Name, old.Generation, old.ValidFrom = u.Name, u.Generation, u.ValidFrom
	return t.tell("UPDATE users SET name = $1, generation = $2, valid_from = $3 WHERE uid = $4", u.Name, int64(u.Generation), u.ValidFrom, int64(u.UID))
}

func (t *tx) NewConv(c chat.Conv) (chat.Conv, error) {
	switch c.Kind {
	case chat.KindC2C:
		if c.A > c.B {
			c.A, c.B = c.B, c.A
		}
		c.Group = ""
	case chat.KindGroup:
		c.A, c.B = 0, 0
	default:
		return chat.Conv{}, fmt.Errorf("store: new conversation of kind %d", c.Kind)
	}
	c.Seq, c.Rev, c.Time, c.Index, c.OwnA, c.OwnB = 0, 0, 0, 0, 0, 0
	c.Changed = t.now
	t.wrote = true
	id, err := ask1(t, scanNumber, `INSERT INTO conv (id, kind, a, b, grp, changed, policy, member_set, dissolved)
		VALUES (nextval('conv_id'), $1, $2, $3, $4, $5, $6, $7, $8) RETURNING id`,
		int16(c.Kind), int64(c.A), int64(c.B), c.Group, c.Changed, int64(c.Policy), int64(c.MemberSet), bit(c.Dissolved))
	if err != nil {
		return chat.Conv{}, err
	}
	c.ID = chat.ConvID(id)
	if err := t.hold(chat.Key{Conv: c.ID}); err != nil {
		return chat.Conv{}, err
	}
	t.convs[c.ID] = &convState{Conv: c}
	return c, nil
}

func (t *tx) Conv(id chat.ConvID) (chat.Conv, error) {
	c, err := t.head(id)
	if err != nil {
		return chat.Conv{}, err
	}
	return c.Conv, nil
}

// PutConv never lowers Policy and MemberSet: a Join in the same transaction may have raised them since c was read.
func (t *tx) PutConv(c chat.Conv) error {
	h, err := t.change(c.ID)
	if err != nil {
		return err
	}
	h.Group, h.Dissolved = c.Group, c.Dissolved
	h.Policy, h.MemberSet = max(h.Policy, c.Policy), max(h.MemberSet, c.MemberSet)
	return nil
}

func (t *tx) Member(id chat.ConvID, uid chat.UID) (chat.Member, error) {
	m, err := ask1(t, tables.ScanMember, "SELECT "+tables.MemberCols+" FROM member m WHERE m.uid = $1 AND m.conv = $2 FOR NO KEY UPDATE", int64(uid), int64(id))
	if err == nil {
		t.members[memberKey{id, uid}] = m.Row
	}
	return m, err
}

const putMemberSQL = `INSERT INTO member (uid, conv, row_no, changed, read_seq, read_others, read_time, read_at, cleared_seq, recv_opt, pinned, hidden, role, gone)
	VALUES ($1, $2, 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
	ON CONFLICT (uid, conv) DO UPDATE SET row_no = member.row_no + 1, changed = excluded.changed, read_seq = excluded.read_seq,
		read_others = excluded.read_others, read_time = excluded.read_time, read_at = excluded.read_at, cleared_seq = excluded.cleared_seq,
		recv_opt = excluded.recv_opt, pinned = excluded.pinned, hidden = excluded.hidden, role = excluded.role, gone = excluded.gone`

func (t *tx) PutMember(m chat.Member) (chat.Member, error) {
	t.wrote = true
	m.Changed = t.now
	args := []any{
		int64(m.UID), int64(m.Conv), m.Changed, int64(m.ReadSeq), int64(m.ReadOthers), m.ReadTime, m.ReadAt, int64(m.ClearedSeq),
		m.RecvOpt, bit(m.Pinned), bit(m.Hidden), m.Role, bit(m.Left),
	}
	k := memberKey{m.Conv, m.UID}
	if row, ok := t.members[k]; ok { // it is locked
		m.Row = row + 1
		t.members[k] = m.Row
		return m, t.tell(putMemberSQL, args...)
	}
	row, err := ask1(t, scanNumber, putMemberSQL+" RETURNING row_no", args...)
	if err == nil {
		m.Row = row
		t.members[k] = row
	}
	return m, err
}

// Join of somebody who is a member already changes nothing.
func (t *tx) Join(id chat.ConvID, uid chat.UID) (chat.Member, error) {
	h, err := t.head(id) // its lock is also that of rows that do not exist yet
	if err != nil {
		return chat.Member{}, err
	}
	if h.Kind != chat.KindGroup {
		return chat.Member{}, fmt.Errorf("store: join of conversation %d, which is not a group", id)
	}
	m, err := t.Member(id, uid)
	switch {
	case errors.Is(err, chat.ErrNotFound):
		m = chat.Member{Conv: id, UID: uid}
	case err != nil:
		return m, err
	case !m.Left:
		return m, nil
	}
	own, _, err := t.ownOf(id, uid)
	if err != nil {
		return m, err
	}
	h.dirty = true
	h.Policy++
	h.MemberSet++
	m.Left, m.Hidden, m.Role = false, false, 0
	m.ReadSeq, m.ReadOthers, m.ReadTime, m.ReadAt = h.Seq, h.Index-own, h.Time, t.now
	if err := t.tell("INSERT INTO period (uid, conv, from_seq, to_seq) VALUES ($1, $2, $3, $4)", int64(uid), int64(id), int64(h.Seq), int64(chat.NoEnd)); err != nil {
		return m, err
	}
	return t.PutMember(m)
}

func (t *tx) Leave(id chat.ConvID, uid chat.UID) (chat.Member, error) {
	h, err := t.head(id)
	if err != nil {
		return chat.Member{}, err
	}
	m, err := t.Member(id, uid)
	if err != nil {
		return m, err
	}
	if m.Left {
		return m, chat.ErrNotFound
	}
	h.dirty = true
	h.Policy++
	h.MemberSet++
	// A period in which nothing was written shows nothing, and its key would be in the way of the next one.
	if err := t.tell("DELETE FROM period WHERE uid = $1 AND conv = $2 AND from_seq = $3", int64(uid), int64(id), int64(h.Seq)); err != nil {
		return m, err
	}
	if err := t.tell("UPDATE period SET to_seq = $1 WHERE uid = $2 AND conv = $3 AND to_seq = $4", int64(h.Seq), int64(uid), int64(id), int64(chat.NoEnd)); err != nil {
		return m, err
	}
	m.Left = true
	return t.PutMember(m)
}

func (t *tx) Periods(id chat.ConvID, uid chat.UID) ([]chat.Period, error) {
	return askAll(t, tables.ScanPeriod, "SELECT from_seq, to_seq FROM period WHERE uid = $1 AND conv = $2 ORDER BY from_seq", int64(uid), int64(id))
}

func (t *tx) Entry(id chat.ConvID, seq uint64) (chat.Stored, error) {
	return ask1(t, tables.ScanEntry, "SELECT "+tables.EntryCols+" FROM entry e WHERE e.conv = $1 AND e.seq = $2", int64(id), tables.Clamp(seq))
}

// SetEntry holds the conversation, as everything does that changes what its log shows.
func (t *tx) SetEntry(st chat.Stored) error {
	if _, err := t.head(st.Conv); err != nil {
		return err
	}
	old, err := t.Entry(st.Conv, st.Seq)
	if err != nil {
		return err
	}
	if st.Body == nil {
		st.Body = []byte{}
	}
	if err := t.tell("UPDATE entry SET status = $1, version = $2, revoker = $3, reason = $4, body = $5 WHERE conv = $6 AND seq = $7",
		st.Status, int64(st.Version), int64(st.Revoker), asText(st.RevokeReason), st.Body, int64(st.Conv), int64(st.Seq)); err != nil {
		return err
	}
	if st.Status != tables.StatusRevoked || !old.Countable {
		return nil
	}
	return t.tell("INSERT INTO withdrawn (conv, seq, sender) VALUES ($1, $2, $3) ON CONFLICT (conv, seq) DO NOTHING", int64(old.Conv), int64(old.Seq), int64(old.Sender))
}

func (t *tx) OthersAt(id chat.ConvID, uid chat.UID, seq uint64) (others uint64, time int64, err error) {
	h, err := t.head(id)
	if err != nil {
		return 0, 0, err
	}
	if h.Kind == chat.KindC2C && uid != h.A && uid != h.B || seq > h.Seq {
		return 0, 0, chat.ErrNotFound
	}
	if seq == 0 {
		return 0, 0, nil
	}
	if seq == h.Seq {
		own, err := t.Own(id, uid)
		return h.Index - own, h.Time, err
	}
	var idx, own, sender int64
	if err := t.ask(func(row pgx.Row) error { return row.Scan(&idx, &own, &sender, &time) },
		"SELECT idx, own, sender, time FROM entry WHERE conv = $1 AND seq = $2", int64(id), int64(seq)); err != nil {
		return 0, 0, err
	}
	switch {
	case h.Kind == chat.KindC2C && h.A == h.B:
		return 0, time, nil
	case chat.UID(sender) == uid:
		return uint64(idx - own), time, nil
	case h.Kind == chat.KindC2C:
		return uint64(own), time, nil // the row is the peer's
	}
	n, err := t.ownAt(id, uid, seq)
	return uint64(idx) - n, time, err
}

// ownOf is how many countable messages the user has sent to a group, and the seq of the last.
func (t *tx) ownOf(id chat.ConvID, uid chat.UID) (own, last uint64, err error) {
	var n, at int64
	err = t.ask(func(row pgx.Row) error { return row.Scan(&n, &at) }, "SELECT own, last FROM sender WHERE conv = $1 AND uid = $2", int64(id), int64(uid))
	if errors.Is(err, chat.ErrNotFound) {
		err = nil
	}
	return uint64(n), uint64(at), err
}

// ownAt counts the user's countable messages up to seq in a group: from his last one back along the chain until one is not above seq.
// That takes as many steps as he has sent messages after seq.
func (t *tx) ownAt(id chat.ConvID, uid chat.UID, seq uint64) (uint64, error) {
	own, last, err := t.ownOf(id, uid)
	if err != nil || last <= seq {
		return own, err
	}
	var at, n int64
	err = t.ask(func(row pgx.Row) error { return row.Scan(&at, &n) }, `WITH RECURSIVE mine (seq, own, prev) AS (
			SELECT seq, own, prev FROM entry WHERE conv = $1 AND seq = $2
			UNION ALL
			SELECT e.seq, e.own, e.prev FROM mine JOIN entry e ON e.conv = $1 AND e.seq = mine.prev WHERE mine.seq > $3
		) SELECT seq, own FROM mine ORDER BY seq LIMIT 1`, int64(id), int64(last), int64(seq))
	if err != nil {
		return 0, fmt.Errorf("own messages of %d in %d: %w", uid, id, err)
	}
	if uint64(at) > seq {
		n-- // the chain ended above seq: all were sent after it, and this is the first
	}
	return uint64(n), nil
}

func (t *tx) Own(id chat.ConvID, uid chat.UID) (uint64, error) {
	h, err := t.head(id)
	if err != nil {
		return 0, err
	}
	switch {
	case h.Kind == chat.KindGroup:
		own, _, err := t.ownOf(id, uid)
		return own, err
	case uid == h.A:
		return h.OwnA, nil
	case uid == h.B:
		return h.OwnB, nil
	}
	return 0, chat.ErrNotFound
}

func (t *tx) Withdrawn(id chat.ConvID, uid chat.UID, seq uint64) (uint64, error) {
	return ask1(t, scanNumber, "SELECT count(*) FROM withdrawn WHERE conv = $1 AND seq > $2 AND sender <> $3", int64(id), tables.Clamp(seq), int64(uid))
}

func (t *tx) AddChange(id chat.ConvID, c chat.Change) (chat.Change, error) {
	h, err := t.change(id)
	if err != nil {
		return c, err
	}
	h.Rev++
	h.Changed = max(h.Changed, t.now)
	c.Rev, c.Time, c.Target = h.Rev, t.now, nil
	return c, t.tell("INSERT INTO change (conv, rev, kind, seq, time, operator, reason, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		int64(id), int64(c.Rev), c.Kind, int64(c.Seq), c.Time, int64(c.Operator), asText(c.Reason), int64(c.Version))
}

func (t *tx) AddFeed(uid chat.UID, kind int32, body []byte) (chat.FeedEntry, error) {
	if body == nil {
		body = []byte{}
	}
	u, err := t.user(uid)
	if err != nil {
		return chat.FeedEntry{}, err
	}
	u.Feed++
	f := chat.FeedEntry{Seq: u.Feed, Kind: kind, Body: body, Time: t.now}
	if err := t.tell("UPDATE users SET feed = $1 WHERE uid = $2", int64(f.Seq), int64(uid)); err != nil {
		return f, err
	}
	return f, t.tell("INSERT INTO feed (uid, seq, kind, time, body) VALUES ($1, $2, $3, $4, $5)", int64(uid), int64(f.Seq), kind, f.Time, body)
}

func (t *tx) Sessions(uid chat.UID) ([]chat.Session, error) {
	return askAll(t, tables.ScanSession, sessionSQL, int64(uid))
}

func (t *tx) DropSessions(uid chat.UID, devices []string) error {
	if len(devices) == 0 {
		return nil
	}
	return t.tell("DELETE FROM session WHERE uid = $1 AND device = ANY ($2)", int64(uid), devices)
}

func (t *tx) PutSession(x chat.Session) error {
	return t.tell(`INSERT INTO session (uid, device, class, platform, generation, logged_in, owed, at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (uid, device) DO UPDATE SET class = excluded.class, platform = excluded.platform, generation = excluded.generation,
			logged_in = excluded.logged_in, owed = excluded.owed, at = excluded.at`,
		int64(x.UID), x.Device, x.Class, x.Platform, int64(x.Generation), bit(x.LoggedIn), bit(x.Owed), x.At)
}

func (t *tx) Pinned(uid chat.UID) (int, error) {
	n, err := ask1(t, scanNumber, "SELECT count(*) FROM member WHERE uid = $1 AND pinned <> 0", int64(uid))
	return int(n), err
}

func (t *tx) Delete(id chat.ConvID, uid chat.UID, seqs []uint64) error {
	list := make([]int64, len(seqs))
	for i, seq := range seqs {
		list[i] = tables.Clamp(seq)
	}
	return t.tell("INSERT INTO deleted (uid, conv, seq) SELECT $1, $2, seq FROM unnest($3::bigint[]) seq ON CONFLICT (uid, conv, seq) DO NOTHING", int64(uid), int64(id), list)
}
