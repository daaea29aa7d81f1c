package tables

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidings-im/tidings/internal/chat"
)

// Holder is what the transaction of each store does in its own way: ids of new rows, row locks, and the ends of conversations, which may be in memory.
type Holder interface {
	DB
	NewUID() (chat.UID, error)
	NewConvID() (chat.ConvID, error)
	// HoldUser is called before the row of an account is read for the first time.
	HoldUser(uid chat.UID) error
	// Head returns a conversation and holds it until the end of the transaction. Change does the same, and what the caller changes in it is stored then.
	Head(id chat.ConvID) (*chat.Conv, error)
	Change(id chat.ConvID) (*chat.Conv, error)
	// Made is called with a conversation that this transaction has inserted.
	Made(c chat.Conv) error
	// HoldName makes others who hold the name of a group wait until the end of the transaction.
	HoldName(group string) error
	// Stood is called with the row of a member of a group that changes, because what they are there may be in memory.
	Stood(m chat.Member)
	// Insert stores an entry of a conversation that Change has returned, with its numbers.
	Insert(st *chat.Stored) error
	// SenderOf returns how many countable messages a user has sent to a group that is held, and the seq of the last one.
	SenderOf(id chat.ConvID, uid chat.UID) (own, last uint64, err error)
}

// Tx is chat.Tx of both stores.
type Tx struct {
	On Holder
	// Ctx is the context of all statements.
	Ctx context.Context
	// Time is the commit time.
	Time int64
	// Users are the accounts that are held, with the changes of this transaction.
	Users map[chat.UID]*chat.User
	// After are the functions to call after the commit.
	After []func()

	// members are the row numbers of members that are held.
	members map[memberKey]uint64
}

type memberKey struct {
	conv chat.ConvID
	uid  chat.UID
}

var _ chat.Tx = (*Tx)(nil)

func (t *Tx) Now() int64 { return t.Time }

func (t *Tx) AfterCommit(f func()) { t.After = append(t.After, f) }

var (
	lockUser = locking(User, "SELECT "+User.Cols("u")+" FROM users u WHERE u.uid = $1")
	putUser  = NewWrite[userRow]("UPDATE users SET name = :name, generation = :generation, valid_from = :valid_from WHERE uid = :uid")
)

// user returns an account and holds it.
func (t *Tx) user(uid chat.UID) (*chat.User, error) {
	if u := t.Users[uid]; u != nil {
		return u, nil
	}
	if err := t.On.HoldUser(uid); err != nil {
		return nil, err
	}
	u, err := lockUser.One(t.Ctx, t.On, int64(uid))
	if err != nil {
		return nil, err
	}
	if t.Users == nil {
		t.Users = make(map[chat.UID]*chat.User)
	}
	t.Users[uid] = &u
	return &u, nil
}

func (t *Tx) User(uid chat.UID) (chat.User, error) {
	u, err := t.user(uid)
	if err != nil {
		return chat.User{}, err
	}
	return *u, nil
}

// PutUser does not change the feed's number: only AddFeed moves it.
func (t *Tx) PutUser(u chat.User) error {
	old, err := t.user(u.UID)
	if err != nil {
		return err
	}
	old.Name, old.Generation, old.ValidFrom = u.Name, u.Generation, u.ValidFrom
	return putUser.Tell(t.Ctx, t.On, userRow(u))
}

var insertConv = NewWrite[ConvRow](`INSERT INTO conv (id, kind, a, b, grp, changed, policy, member_set, dissolved, flags, type, owner, info_seq, attr_ver, members)
	VALUES (:id, :kind, :a, :b, :grp, :changed, :policy, :member_set, :dissolved, :flags, :type, :owner, :info_seq, :attr_ver, :members)`)

func (t *Tx) NewConv(c chat.Conv) (chat.Conv, error) {
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
	c.Seq, c.Rev, c.Time, c.Index, c.OwnA, c.OwnB, c.Members = 0, 0, 0, 0, 0, 0, 0
	c.Changed = t.Time
	var err error
	if c.ID, err = t.On.NewConvID(); err != nil {
		return chat.Conv{}, err
	}
	if err := insertConv.Tell(t.Ctx, t.On, ConvRow(c)); err != nil {
		return chat.Conv{}, err
	}
	if err := t.On.Made(c); err != nil {
		return chat.Conv{}, err
	}
	return c, nil
}

func (t *Tx) Conv(id chat.ConvID) (chat.Conv, error) {
	c, err := t.On.Head(id)
	if err != nil {
		return chat.Conv{}, err
	}
	return *c, nil
}

// PutConv never lowers Policy, MemberSet and the versions: a Join in the same transaction may have raised them since c was read.
func (t *Tx) PutConv(c chat.Conv) error {
	h, err := t.On.Change(c.ID)
	if err != nil {
		return err
	}
	h.Group, h.Dissolved, h.Flags, h.Type, h.Owner = c.Group, c.Dissolved, c.Flags, c.Type, c.Owner
	h.Policy, h.MemberSet = max(h.Policy, c.Policy), max(h.MemberSet, c.MemberSet)
	h.InfoSeq, h.AttrVer = max(h.InfoSeq, c.InfoSeq), max(h.AttrVer, c.AttrVer)
	if h.Kind == chat.KindGroup {
		h.Changed = max(h.Changed, t.Time)
	}
	return nil
}

var (
	lockMember = locking(member, "SELECT "+member.Cols("m")+" FROM member m WHERE m.uid = $1 AND m.conv = $2")
	putMember  = NewWrite[memberRow](`INSERT INTO member (uid, conv, row_no, changed, read_seq, read_others, read_time, read_at, cleared_seq, recv_opt, pinned, hidden, role, gone,
		joined, joined_at, mute_until, name_card)
	VALUES (:uid, :conv, 1, :changed, :read_seq, :read_others, :read_time, :read_at, :cleared_seq, :recv_opt, :pinned, :hidden, :role, :gone,
		:joined, :joined_at, :mute_until, :name_card)
	ON CONFLICT (uid, conv) DO UPDATE SET row_no = member.row_no + 1, changed = excluded.changed, read_seq = excluded.read_seq,
		read_others = excluded.read_others, read_time = excluded.read_time, read_at = excluded.read_at, cleared_seq = excluded.cleared_seq,
		recv_opt = excluded.recv_opt, pinned = excluded.pinned, hidden = excluded.hidden, role = excluded.role, gone = excluded.gone,
		joined = excluded.joined, joined_at = excluded.joined_at, mute_until = excluded.mute_until, name_card = excluded.name_card`)
	newRowNo = NewQuery(Number, putMember.text+" RETURNING row_no AS n")
	pinned   = NewQuery(Number, "SELECT count(*) AS n FROM member m WHERE m.uid = $1 AND m.pinned <> 0")
)

func (t *Tx) Member(id chat.ConvID, uid chat.UID) (chat.Member, error) {
	m, err := lockMember.One(t.Ctx, t.On, int64(uid), int64(id))
	if err == nil {
		t.holds(m)
	}
	return m, err
}

func (t *Tx) holds(m chat.Member) {
	if t.members == nil {
		t.members = make(map[memberKey]uint64)
	}
	t.members[memberKey{m.Conv, m.UID}] = m.Row
}

func (t *Tx) PutMember(m chat.Member) (chat.Member, error) {
	m.Changed = t.Time
	t.On.Stood(m)
	row := memberRow(m)
	row.NameCard, _ = t.On.Dialect().Text(m.NameCard)
	if no, held := t.members[memberKey{m.Conv, m.UID}]; held {
		m.Row = no + 1
		t.holds(m)
		return m, putMember.Tell(t.Ctx, t.On, row)
	}
	t.On.Wrote()
	no, err := newRowNo.One(t.Ctx, t.On, putMember.Args(&row)...)
	if err == nil {
		m.Row = uint64(no)
		t.holds(m)
	}
	return m, err
}

func (t *Tx) Pinned(uid chat.UID) (int, error) {
	n, err := pinned.One(t.Ctx, t.On, int64(uid))
	return int(n), err
}

var (
	// A membership that begins where one has ended is the same period.
	insertPeriod = `INSERT INTO period (uid, conv, from_seq, to_seq, from_rev, to_rev) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (uid, conv, from_seq) DO UPDATE SET to_seq = excluded.to_seq, to_rev = excluded.to_rev`
	endPeriod = "UPDATE period SET to_seq = $1, to_rev = $2 WHERE uid = $3 AND conv = $4 AND to_seq = $5"
	periods   = NewQuery(period, "SELECT "+period.Cols("p")+" FROM period p WHERE p.uid = $1 AND p.conv = $2 ORDER BY p.from_seq")
)

// Join changes nothing for a user who is a member already. The conversation is held first: that also locks rows that do not exist yet.
func (t *Tx) Join(id chat.ConvID, uid chat.UID) (chat.Member, error) {
	h, err := t.On.Head(id)
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
	own, _, err := t.On.SenderOf(id, uid)
	if err != nil {
		return m, err
	}
	if h, err = t.On.Change(id); err != nil {
		return m, err
	}
	h.Policy++
	h.MemberSet++
	h.Members++
	// What was cleared stays; everything else is that of a new member.
	m = chat.Member{Conv: id, UID: uid, Row: m.Row, ClearedSeq: m.ClearedSeq, Role: chat.RoleMember, Joined: h.MemberSet, JoinedAt: t.Time}
	m.ReadSeq, m.ReadOthers, m.ReadTime, m.ReadAt = h.Seq, h.Index-own, h.Time, t.Time
	if err := t.On.Tell(t.Ctx, insertPeriod, int64(uid), int64(id), int64(h.Seq), int64(chat.NoEnd), int64(h.Rev), int64(chat.NoEnd)); err != nil {
		return m, err
	}
	if err := t.On.Tell(t.Ctx, dropCustom, int64(uid), int64(id)); err != nil {
		return m, err
	}
	return t.PutMember(m)
}

func (t *Tx) Leave(id chat.ConvID, uid chat.UID) (chat.Member, error) {
	if _, err := t.On.Head(id); err != nil {
		return chat.Member{}, err
	}
	m, err := t.Member(id, uid)
	if err != nil {
		return m, err
	}
	if m.Left {
		return m, chat.ErrNotFound
	}
	h, err := t.On.Change(id)
	if err != nil {
		return m, err
	}
	h.Policy++
	h.MemberSet++
	if h.Members > 0 { // a store that is older than the count has none
		h.Members--
	}
	if err := t.On.Tell(t.Ctx, endPeriod, int64(h.Seq), int64(h.Rev), int64(uid), int64(id), int64(chat.NoEnd)); err != nil {
		return m, err
	}
	m.Left = true
	return t.PutMember(m)
}

func (t *Tx) Periods(id chat.ConvID, uid chat.UID) ([]chat.Period, error) {
	return periods.All(t.Ctx, t.On, int64(uid), int64(id))
}
