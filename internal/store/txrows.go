package store

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// found turns "no rows" into ErrNotFound.
func found[T any](v T, err error) (T, error) {
	if errors.Is(err, sql.ErrNoRows) {
		err = chat.ErrNotFound
	}
	return v, err
}

// touched answers ErrNotFound if a statement changed nothing.
func touched(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return chat.ErrNotFound
}

func (t *tx) User(uid chat.UID) (chat.User, error) {
	return found(tables.ScanUser(t.db.QueryRowContext(background, "SELECT "+tables.UserCols+" FROM users u WHERE u.uid = $1", int64(uid))))
}

// PutUser leaves the feed's number alone: only AddFeed moves it.
func (t *tx) PutUser(u chat.User) error {
	t.wrote = true
	return touched(t.db.ExecContext(background, "UPDATE users SET name = $1, generation = $2, valid_from = $3 WHERE uid = $4",
		u.Name, int64(u.Generation), u.ValidFrom, int64(u.UID)))
}

// newUser makes the account, or answers the one that has the name.
func (t *tx) newUser(name string) (chat.User, error) {
	u, err := found(tables.ScanUser(t.db.QueryRowContext(background, "SELECT "+tables.UserCols+" FROM users u WHERE u.name = $1", name)))
	if !errors.Is(err, chat.ErrNotFound) {
		return u, err
	}
	t.wrote = true
	var uid int64
	if err := t.db.QueryRowContext(background, "UPDATE meta SET next_uid = next_uid + 1 RETURNING next_uid - 1").Scan(&uid); err != nil {
		return chat.User{}, err
	}
	_, err = t.db.ExecContext(background, "INSERT INTO users (uid, name, generation, feed) VALUES ($1, $2, 0, 0)", uid, name)
	return chat.User{UID: chat.UID(uid), Name: name}, err
}

func (t *tx) NewConv(c chat.Conv) (chat.Conv, error) {
	t.wrote = true
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
	var id int64
	if err := t.db.QueryRowContext(background, "UPDATE meta SET next_conv = next_conv + 1 RETURNING next_conv - 1").Scan(&id); err != nil {
		return chat.Conv{}, err
	}
	c.ID = chat.ConvID(id)
	if _, err := t.db.ExecContext(background, `INSERT INTO conv (id, kind, a, b, grp, changed, policy, member_set, dissolved)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		id, int64(c.Kind), int64(c.A), int64(c.B), c.Group, c.Changed, int64(c.Policy), int64(c.MemberSet), bit(c.Dissolved)); err != nil {
		return chat.Conv{}, err
	}
	h := &head{Conv: c}
	t.s.keep(h)
	t.made = append(t.made, c.ID)
	t.saved[h] = savedHead{conv: c}
	t.s.touch(h)
	return c, nil
}

func (t *tx) Conv(id chat.ConvID) (chat.Conv, error) {
	h, err := t.head(id)
	if err != nil {
		return chat.Conv{}, err
	}
	return h.Conv, nil
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
	return found(tables.ScanMember(t.db.QueryRowContext(background, "SELECT "+tables.MemberCols+" FROM member m WHERE m.uid = $1 AND m.conv = $2", int64(uid), int64(id))))
}

func (t *tx) PutMember(m chat.Member) (chat.Member, error) {
	t.wrote = true
	m.Changed = t.now
	var row int64
	err := t.db.QueryRowContext(background, `INSERT INTO member (uid, conv, row_no, changed, read_seq, read_others, read_time, read_at, cleared_seq,
			recv_opt, pinned, hidden, role, gone)
		VALUES ($1, $2, 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (uid, conv) DO UPDATE SET row_no = member.row_no + 1, changed = excluded.changed, read_seq = excluded.read_seq,
			read_others = excluded.read_others, read_time = excluded.read_time, read_at = excluded.read_at, cleared_seq = excluded.cleared_seq,
			recv_opt = excluded.recv_opt, pinned = excluded.pinned, hidden = excluded.hidden, role = excluded.role, gone = excluded.gone
		RETURNING row_no`,
		int64(m.UID), int64(m.Conv), m.Changed, int64(m.ReadSeq), int64(m.ReadOthers), m.ReadTime, m.ReadAt, int64(m.ClearedSeq),
		int64(m.RecvOpt), bit(m.Pinned), bit(m.Hidden), int64(m.Role), bit(m.Left)).Scan(&row)
	m.Row = uint64(row)
	return m, err
}

// Join of somebody who is a member already changes nothing.
func (t *tx) Join(id chat.ConvID, uid chat.UID) (chat.Member, error) {
	h, err := t.head(id)
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
	if h, err = t.change(id); err != nil {
		return m, err
	}
	h.Policy++
	h.MemberSet++
	o, err := t.s.own(h, uid)
	if err != nil {
		return m, err
	}
	m.Left, m.Hidden, m.Role = false, false, 0
	m.ReadSeq, m.ReadOthers, m.ReadTime, m.ReadAt = h.Seq, h.Index-o.n, h.Time, t.now
	if _, err := t.db.ExecContext(background, "INSERT INTO period (uid, conv, from_seq, to_seq) VALUES ($1, $2, $3, $4)",
		int64(uid), int64(id), int64(h.Seq), int64(chat.NoEnd)); err != nil {
		return m, err
	}
	return t.PutMember(m)
}

func (t *tx) Leave(id chat.ConvID, uid chat.UID) (chat.Member, error) {
	m, err := t.Member(id, uid)
	if err != nil {
		return m, err
	}
	if m.Left {
		return m, chat.ErrNotFound
	}
	h, err := t.change(id)
	if err != nil {
		return m, err
	}
	h.Policy++
	h.MemberSet++
	// A period in which nothing was written shows nothing, and its key would be in the way of the next one.
	if _, err := t.db.ExecContext(background, "DELETE FROM period WHERE uid = $1 AND conv = $2 AND from_seq = $3",
		int64(uid), int64(id), int64(h.Seq)); err != nil {
		return m, err
	}
	if _, err := t.db.ExecContext(background, "UPDATE period SET to_seq = $1 WHERE uid = $2 AND conv = $3 AND to_seq = $4",
		int64(h.Seq), int64(uid), int64(id), int64(chat.NoEnd)); err != nil {
		return m, err
	}
	m.Left = true
	return t.PutMember(m)
}

func (t *tx) Periods(id chat.ConvID, uid chat.UID) ([]chat.Period, error) {
	rows, err := t.db.QueryContext(background, "SELECT from_seq, to_seq FROM period WHERE uid = $1 AND conv = $2 ORDER BY from_seq", int64(uid), int64(id))
	return all(rows, err, tables.ScanPeriod)
}

func (t *tx) Entry(id chat.ConvID, seq uint64) (chat.Stored, error) {
	return found(tables.ScanEntry(t.db.QueryRowContext(background, "SELECT "+tables.EntryCols+" FROM entry e WHERE e.conv = $1 AND e.seq = $2", int64(id), tables.Clamp(seq))))
}

func (t *tx) SetEntry(st chat.Stored) error {
	t.wrote = true
	old, err := t.Entry(st.Conv, st.Seq)
	if err != nil {
		return err
	}
	if st.Body == nil {
		st.Body = []byte{}
	}
	if _, err := t.db.ExecContext(background, "UPDATE entry SET status = $1, version = $2, revoker = $3, reason = $4, body = $5 WHERE conv = $6 AND seq = $7",
		int64(st.Status), int64(st.Version), int64(st.Revoker), st.RevokeReason, st.Body, int64(st.Conv), int64(st.Seq)); err != nil {
		return err
	}
	if st.Status != tables.StatusRevoked || !old.Countable {
		return nil
	}
	_, err = t.db.ExecContext(background, "INSERT INTO withdrawn (conv, seq, sender) VALUES ($1, $2, $3) ON CONFLICT (conv, seq) DO NOTHING",
		int64(old.Conv), int64(old.Seq), int64(old.Sender))
	return err
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
	err = t.db.QueryRowContext(background, "SELECT idx, own, sender, time FROM entry WHERE conv = $1 AND seq = $2", int64(id), int64(seq)).
		Scan(&idx, &own, &sender, &time)
	if err != nil {
		_, err = found(0, err)
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
	n, err := t.ownAt(h, uid, seq)
	return uint64(idx) - n, time, err
}

// ownAt counts the user's countable messages up to seq in a group: from his last one back along the chain until one is not above seq.
// That takes as many steps as he has sent messages after seq.
func (t *tx) ownAt(h *head, uid chat.UID, seq uint64) (uint64, error) {
	o, err := t.s.own(h, uid)
	if err != nil || o.last <= seq {
		return o.count(), err
	}
	var at, n int64
	err = t.db.QueryRowContext(background, `WITH RECURSIVE mine (seq, own, prev) AS (
			SELECT seq, own, prev FROM entry WHERE conv = $1 AND seq = $2
			UNION ALL
			SELECT e.seq, e.own, e.prev FROM mine JOIN entry e ON e.conv = $1 AND e.seq = mine.prev WHERE mine.seq > $3
		) SELECT seq, own FROM mine ORDER BY seq LIMIT 1`, int64(h.ID), int64(o.last), int64(seq)).Scan(&at, &n)
	if err != nil {
		return 0, fmt.Errorf("own messages of %d in %d: %w", uid, h.ID, err)
	}
	if uint64(at) > seq {
		n-- // the chain ended above seq: all were sent after it, and this is the first
	}
	return uint64(n), nil
}

func (o *own) count() uint64 {
	if o == nil {
		return 0
	}
	return o.n
}

func (t *tx) Own(id chat.ConvID, uid chat.UID) (uint64, error) {
	h, err := t.head(id)
	if err != nil {
		return 0, err
	}
	switch {
	case h.Kind == chat.KindGroup:
		o, err := t.s.own(h, uid)
		return o.count(), err
	case uid == h.A:
		return h.OwnA, nil
	case uid == h.B:
		return h.OwnB, nil
	}
	return 0, chat.ErrNotFound
}

func (t *tx) Withdrawn(id chat.ConvID, uid chat.UID, seq uint64) (uint64, error) {
	var n int64
	err := t.db.QueryRowContext(background, "SELECT count(*) FROM withdrawn WHERE conv = $1 AND seq > $2 AND sender <> $3", int64(id), tables.Clamp(seq), int64(uid)).Scan(&n)
	return uint64(n), err
}

func (t *tx) AddChange(id chat.ConvID, c chat.Change) (chat.Change, error) {
	h, err := t.change(id)
	if err != nil {
		return c, err
	}
	h.Rev++
	h.Changed = t.now
	c.Rev, c.Time, c.Target = h.Rev, t.now, nil
	_, err = t.db.ExecContext(background, "INSERT INTO change (conv, rev, kind, seq, time, operator, reason, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		int64(id), int64(c.Rev), int64(c.Kind), int64(c.Seq), c.Time, int64(c.Operator), c.Reason, int64(c.Version))
	return c, err
}

func (t *tx) AddFeed(uid chat.UID, kind int32, body []byte) (chat.FeedEntry, error) {
	t.wrote = true
	if body == nil {
		body = []byte{}
	}
	var seq int64
	_, err := found(0, t.db.QueryRowContext(background, "UPDATE users SET feed = feed + 1 WHERE uid = $1 RETURNING feed", int64(uid)).Scan(&seq))
	if err != nil {
		return chat.FeedEntry{}, err
	}
	_, err = t.db.ExecContext(background, "INSERT INTO feed (uid, seq, kind, time, body) VALUES ($1, $2, $3, $4, $5)", int64(uid), seq, int64(kind), t.now, body)
	return chat.FeedEntry{Seq: uint64(seq), Kind: kind, Body: body, Time: t.now}, err
}

func (t *tx) Sessions(uid chat.UID) ([]chat.Session, error) { return sessions(background, t.db, uid) }

func (t *tx) DropSessions(uid chat.UID, devices []string) error {
	for _, d := range devices {
		t.wrote = true
		if _, err := t.db.ExecContext(background, "DELETE FROM session WHERE uid = $1 AND device = $2", int64(uid), d); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) PutSession(x chat.Session) error {
	t.wrote = true
	_, err := t.db.ExecContext(background, `INSERT INTO session (uid, device, class, platform, generation, logged_in, owed, at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (uid, device) DO UPDATE SET class = excluded.class, platform = excluded.platform, generation = excluded.generation,
			logged_in = excluded.logged_in, owed = excluded.owed, at = excluded.at`,
		int64(x.UID), x.Device, int64(x.Class), int64(x.Platform), int64(x.Generation), bit(x.LoggedIn), bit(x.Owed), x.At)
	return err
}
