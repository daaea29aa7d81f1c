package tables

import (
	"fmt"

	"github.com/tidings-im/tidings/internal/chat"
)

var (
	entryAt  = NewQuery(Entry, "SELECT "+Entry.Cols("e")+" FROM entry e WHERE e.conv = $1 AND e.seq = $2")
	setEntry = NewWrite[entryRow](`UPDATE entry SET status = :status, version = :version, revoker = :revoker, reason = :reason, body = :body
		WHERE conv = :conv AND seq = :seq`)
	withdraw  = NewWrite[entryRow]("INSERT INTO withdrawn (conv, seq, sender) VALUES (:conv, :seq, :sender) ON CONFLICT (conv, seq) DO NOTHING")
	withdrawn = NewQuery(Number, "SELECT count(*) AS n FROM withdrawn w WHERE w.conv = $1 AND w.seq > $2 AND w.sender <> $3")
)

func (t *Tx) Entry(id chat.ConvID, seq uint64) (chat.Stored, error) {
	return entryAt.One(t.Ctx, t.On, int64(id), clamp(seq))
}

// SetEntry holds the conversation, as everything does that changes what its log shows.
func (t *Tx) SetEntry(st chat.Stored) error {
	if _, err := t.On.Head(st.Conv); err != nil {
		return err
	}
	old, err := t.Entry(st.Conv, st.Seq)
	if err != nil {
		return err
	}
	row := entryRow{Conv: st.Conv, Seq: st.Seq, Sender: old.Sender, Status: st.Status, Version: st.Version, Revoker: st.Revoker, Body: st.Body}
	row.RevokeReason, _ = t.On.Dialect().Text(st.RevokeReason)
	if err := setEntry.Tell(t.Ctx, t.On, row); err != nil {
		return err
	}
	if st.Status != StatusRevoked {
		return nil
	}
	if err := t.detach(st.Conv, st.Seq); err != nil {
		return err
	}
	if err := t.On.Tell(t.Ctx, dropMentions, int64(st.Conv), int64(st.Seq)); err != nil || !old.Countable {
		return err
	}
	return withdraw.Tell(t.Ctx, t.On, row)
}

func (t *Tx) Withdrawn(id chat.ConvID, uid chat.UID, seq uint64) (uint64, error) {
	n, err := withdrawn.One(t.Ctx, t.On, int64(id), clamp(seq), int64(uid))
	return uint64(n), err
}

type countRow struct {
	Index  uint64   `sql:"idx"`
	Own    uint64   `sql:"own"`
	Sender chat.UID `sql:"sender"`
	Time   int64    `sql:"time"`
}

type ownRow struct {
	Seq uint64 `sql:"seq"`
	Own uint64 `sql:"own"`
}

var (
	count   = NewKind[countRow]()
	ownKind = NewKind[ownRow]()
	countAt = NewQuery(count, "SELECT "+count.Cols("e")+" FROM entry e WHERE e.conv = $1 AND e.seq = $2")
	// chain goes from a user's last message in a group back along prev until a message is not above a seq.
	chain = NewQuery(ownKind, `WITH RECURSIVE mine (seq, own, prev) AS (
			SELECT e.seq, e.own, e.prev FROM entry e WHERE e.conv = $1 AND e.seq = $2
			UNION ALL
			SELECT e.seq, e.own, e.prev FROM mine JOIN entry e ON e.conv = $1 AND e.seq = mine.prev WHERE mine.seq > $3
		) SELECT `+ownKind.Cols("m")+` FROM mine m ORDER BY m.seq LIMIT 1`)
	// SenderOf reads the row of a sender.
	SenderOf = NewQuery(Sender, "SELECT "+Sender.Cols("o")+" FROM sender o WHERE o.conv = $1 AND o.uid = $2")
)

func (t *Tx) OthersAt(id chat.ConvID, uid chat.UID, seq uint64) (others uint64, time int64, err error) {
	h, err := t.On.Head(id)
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
	at, err := countAt.One(t.Ctx, t.On, int64(id), int64(seq))
	if err != nil {
		return 0, 0, err
	}
	switch {
	case h.Kind == chat.KindC2C && h.A == h.B:
		return 0, at.Time, nil
	case at.Sender == uid:
		return at.Index - at.Own, at.Time, nil
	case h.Kind == chat.KindC2C:
		return at.Own, at.Time, nil // the peer sent it
	}
	n, err := t.ownAt(id, uid, seq)
	return at.Index - n, at.Time, err
}

// ownAt counts the user's countable messages up to seq in a group. It takes one step per message that they have sent after seq.
func (t *Tx) ownAt(id chat.ConvID, uid chat.UID, seq uint64) (uint64, error) {
	own, last, err := t.On.SenderOf(id, uid)
	if err != nil || last <= seq {
		return own, err
	}
	first, err := chain.One(t.Ctx, t.On, int64(id), int64(last), int64(seq))
	if err != nil {
		return 0, fmt.Errorf("own messages of %d in %d: %w", uid, id, err)
	}
	if first.Seq > seq {
		first.Own-- // the chain ended above seq: this is the first message of the user, and it was sent after seq
	}
	return first.Own, nil
}

func (t *Tx) Own(id chat.ConvID, uid chat.UID) (uint64, error) {
	h, err := t.On.Head(id)
	if err != nil {
		return 0, err
	}
	switch {
	case h.Kind == chat.KindGroup:
		own, _, err := t.On.SenderOf(id, uid)
		return own, err
	case uid == h.A:
		return h.OwnA, nil
	case uid == h.B:
		return h.OwnB, nil
	}
	return 0, chat.ErrNotFound
}

var (
	// PutDeleted stores that a user has deleted a message for themselves, insertDeleted does for a list of messages.
	PutDeleted    = NewWrite[DeletedRow]("INSERT INTO deleted (uid, conv, seq) VALUES (:uid, :conv, :seq) ON CONFLICT (uid, conv, seq) DO NOTHING")
	insertDeleted = texts(func(d Dialect) string {
		return "INSERT INTO deleted (uid, conv, seq) SELECT $1, $2, x.n FROM " + d.list("$3") + " WHERE true ON CONFLICT (uid, conv, seq) DO NOTHING"
	})
)

func (t *Tx) Delete(id chat.ConvID, uid chat.UID, seqs []uint64) error {
	list := make([]int64, len(seqs))
	for i, seq := range seqs {
		list[i] = clamp(seq)
	}
	d := t.On.Dialect()
	return t.On.Tell(t.Ctx, insertDeleted[d], int64(uid), int64(id), d.listOf(list))
}

type changeOf struct {
	Conv   chat.ConvID `sql:"conv"`
	Change changeRow
}

var insertChange = NewWrite[changeOf](`INSERT INTO change (conv, rev, kind, seq, time, operator, reason, version, body)
	VALUES (:conv, :rev, :kind, :seq, :time, :operator, :reason, :version, :body)`)

func (t *Tx) AddChange(id chat.ConvID, c chat.Change) (chat.Change, error) {
	h, err := t.On.Change(id)
	if err != nil {
		return c, err
	}
	h.Rev++
	h.Changed = max(h.Changed, t.Time)
	c.Rev, c.Time, c.Target = h.Rev, t.Time, nil
	row := changeRow{Rev: c.Rev, Kind: c.Kind, Seq: c.Seq, Time: c.Time, Operator: c.Operator, Version: c.Version, Body: c.Body}
	row.Reason, _ = t.On.Dialect().Text(c.Reason)
	return c, insertChange.Tell(t.Ctx, t.On, changeOf{id, row})
}

type feedOf struct {
	UID  chat.UID `sql:"uid"`
	Feed feedRow
}

var (
	raiseFeed  = NewWrite[userRow]("UPDATE users SET feed = :feed WHERE uid = :uid")
	insertFeed = NewWrite[feedOf]("INSERT INTO feed (uid, seq, kind, time, body) VALUES (:uid, :seq, :kind, :time, :body)")
)

func (t *Tx) AddFeed(uid chat.UID, kind int32, body []byte) (chat.FeedEntry, error) {
	if body == nil {
		body = []byte{}
	}
	u, err := t.user(uid)
	if err != nil {
		return chat.FeedEntry{}, err
	}
	u.Feed++
	f := chat.FeedEntry{Seq: u.Feed, Kind: kind, Body: body, Time: t.Time}
	if err := raiseFeed.Tell(t.Ctx, t.On, userRow(*u)); err != nil {
		return f, err
	}
	return f, insertFeed.Tell(t.Ctx, t.On, feedOf{uid, feedRow(f)})
}

var (
	dropSession = "DELETE FROM session WHERE uid = $1 AND device = $2"
	putSession  = NewWrite[sessionRow](`INSERT INTO session (uid, device, class, platform, generation, logged_in, owed, at)
		VALUES (:uid, :device, :class, :platform, :generation, :logged_in, :owed, :at)
		ON CONFLICT (uid, device) DO UPDATE SET class = excluded.class, platform = excluded.platform, generation = excluded.generation,
			logged_in = excluded.logged_in, owed = excluded.owed, at = excluded.at`)
)

func (t *Tx) Sessions(uid chat.UID) ([]chat.Session, error) {
	return sessions.All(t.Ctx, t.On, int64(uid))
}

func (t *Tx) DropSessions(uid chat.UID, devices []string) error {
	for _, d := range devices {
		if err := t.On.Tell(t.Ctx, dropSession, int64(uid), d); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tx) PutSession(x chat.Session) error {
	return putSession.Tell(t.Ctx, t.On, sessionRow(x))
}

var (
	sentAs   = NewQuery(sent, "SELECT "+sent.Cols("s")+" FROM sent s WHERE s.sender = $1 AND s.random = $2 AND s.seq = $3")
	lastSent = NewQuery(Number, "SELECT coalesce(max(s.client_time), 0) AS n FROM sent s WHERE s.sender = $1 AND s.random = $2")
	putSent  = NewWrite[sentRow](`INSERT INTO sent (sender, random, seq, client_time, hash, at) VALUES (:sender, :random, :seq, :client_time, :hash, :at)
		ON CONFLICT (sender, random, seq) DO UPDATE SET client_time = excluded.client_time, hash = excluded.hash, at = excluded.at`)
	// Old rows belong to any sender. With several writers, only rows that nobody else holds are deleted.
	forgetSent = [...]string{
		SQLite: "DELETE FROM sent WHERE (sender, random, seq) IN (SELECT sender, random, seq FROM sent WHERE at < $1 AND client_time < $2 ORDER BY at LIMIT 4)",
		Postgres: `DELETE FROM sent s USING (SELECT sender, random, seq FROM sent WHERE at < $1 AND client_time < $2 ORDER BY at LIMIT 4 FOR UPDATE SKIP LOCKED) o
			WHERE s.sender = o.sender AND s.random = o.random AND s.seq = o.seq`,
	}
)

func (t *Tx) Sent(sender chat.UID, random uint32, seq uint64) (chat.Sent, error) {
	return sentAs.One(t.Ctx, t.On, int64(sender), int64(random), int64(seq))
}

func (t *Tx) LastSent(sender chat.UID, random uint32) (uint64, error) {
	n, err := lastSent.One(t.Ctx, t.On, int64(sender), int64(random))
	return uint64(n), err
}

func (t *Tx) PutSent(s chat.Sent, before int64) error {
	if err := t.On.Tell(t.Ctx, forgetSent[t.On.Dialect()], before, before/1000); err != nil {
		return err
	}
	return putSent.Tell(t.Ctx, t.On, sentRow(s))
}
