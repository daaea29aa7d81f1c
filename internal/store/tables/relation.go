package tables

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

type relationRow struct {
	UID   chat.UID        `sql:"uid"`
	Kind  im.RelationKind `sql:"kind"`
	Other int64           `sql:"other"`
	Ver   uint64          `sql:"ver"`
	Made  uint64          `sql:"made"`
	Body  []byte          `sql:"body"`
}

var relation = newKind(func(r *relationRow) chat.Relation { return chat.Relation(*r) })

type profileRow struct {
	UID  chat.UID `sql:"uid"`
	Ver  uint64   `sql:"ver"`
	Body []byte   `sql:"body"`
}

var profile = newKind(func(r *profileRow) chat.Profile { return chat.Profile(*r) })

type fanoutRow struct {
	UID  chat.UID `sql:"uid"`
	Ver  uint64   `sql:"ver"`
	Done chat.UID `sql:"done"`
}

var fanout = newKind(func(r *fanoutRow) chat.Fanout { return chat.Fanout(*r) })

var account = newKind(func(r *struct {
	UID chat.UID `sql:"uid"`
}) chat.UID {
	return r.UID
})

var (
	feedFloor      = NewQuery(Number, "SELECT u.feed_floor AS n FROM users u WHERE u.uid = $1")
	feedBefore     = NewQuery(Number, "SELECT coalesce(max(f.seq), 0) AS n FROM feed f WHERE f.uid = $1 AND f.time < $2")
	relationOf     = NewQuery(relation, "SELECT "+relation.Cols("r")+" FROM relation r WHERE r.uid = $1 AND r.kind = $2 AND r.other = $3")
	relationsMade  = NewQuery(relation, "SELECT "+relation.Cols("r")+" FROM relation r WHERE r.uid = $1 AND r.kind = $2 AND r.made > $3 ORDER BY r.made, r.other LIMIT $4")
	relationsAll   = NewQuery(relation, "SELECT "+relation.Cols("r")+" FROM relation r WHERE r.uid = $1 AND (r.kind, r.other) > ($2, $3) ORDER BY r.kind, r.other LIMIT $4")
	countRelations = NewQuery(Number, "SELECT count(*) AS n FROM relation r WHERE r.uid = $1 AND r.kind = $2")
	haveFriend     = NewQuery(account, "SELECT r.uid AS uid FROM relation r WHERE r.other = $1 AND r.kind = 1 AND r.uid > $2 ORDER BY r.uid LIMIT $3")
	profileOf      = NewQuery(profile, "SELECT "+profile.Cols("p")+" FROM profile p WHERE p.uid = $1")
	profilesOf     = texts(func(d Dialect) string {
		return "SELECT " + profile.Cols("p") + " FROM " + d.each("$1", "profile", "p", "p.uid = x.n")
	})
	pickProfiles = either(profile, profilesOf[SQLite], profilesOf[Postgres])
	fanoutOf     = NewQuery(fanout, "SELECT "+fanout.Cols("f")+" FROM fanout f WHERE f.uid = $1")
	fanouts      = NewQuery(fanout, "SELECT "+fanout.Cols("f")+" FROM fanout f ORDER BY f.uid LIMIT $1")

	putRelation = NewWrite[relationRow](`INSERT INTO relation (uid, kind, other, ver, made, body) VALUES (:uid, :kind, :other, :ver, :made, :body)
	ON CONFLICT (uid, kind, other) DO UPDATE SET ver = excluded.ver, body = excluded.body`)
	putProfile = NewWrite[profileRow]("INSERT INTO profile (uid, ver, body) VALUES (:uid, :ver, :body) ON CONFLICT (uid) DO UPDATE SET ver = excluded.ver, body = excluded.body")
	putFanout  = NewWrite[fanoutRow]("INSERT INTO fanout (uid, ver, done) VALUES (:uid, :ver, :done) ON CONFLICT (uid) DO UPDATE SET ver = excluded.ver, done = excluded.done")
)

const (
	dropRelation = "DELETE FROM relation WHERE uid = $1 AND kind = $2 AND other = $3"
	dropFanout   = "DELETE FROM fanout WHERE uid = $1"
	cutFeed      = "DELETE FROM feed WHERE uid = $1 AND seq <= $2"
	setFloor     = "UPDATE users SET feed_floor = $1 WHERE uid = $2 AND feed_floor < $1"
)

// noLimit is a limit that no list reaches.
const noLimit = 1 << 31

func (s *Both) FeedFloor(ctx context.Context, uid chat.UID) (uint64, error) {
	n, err := feedFloor.One(ctx, s.On, int64(uid))
	return uint64(n), err
}

func (s *Both) Relation(ctx context.Context, uid chat.UID, kind im.RelationKind, other int64) (chat.Relation, error) {
	return relationOf.One(ctx, s.On, int64(uid), int64(kind), other)
}

func (s *Both) Relations(ctx context.Context, uid chat.UID, kind im.RelationKind, after uint64, limit int) ([]chat.Relation, error) {
	return relationsMade.All(ctx, s.On, int64(uid), int64(kind), clamp(after), int64(max(limit, 0)))
}

func (s *Both) AllRelations(ctx context.Context, uid chat.UID, kind im.RelationKind, other int64, limit int) ([]chat.Relation, error) {
	return relationsAll.All(ctx, s.On, int64(uid), int64(kind), other, int64(max(limit, 0)))
}

func (s *Both) HaveFriend(ctx context.Context, friend, after chat.UID, limit int) ([]chat.UID, error) {
	return haveFriend.All(ctx, s.On, int64(friend), int64(after), int64(max(limit, 0)))
}

func (s *Both) Profile(ctx context.Context, uid chat.UID) (chat.Profile, error) {
	return readProfile(ctx, s.On, uid)
}

func (s *Both) Profiles(ctx context.Context, uids []chat.UID) ([]chat.Profile, error) {
	return pickProfiles.All(ctx, s.On, s.On.Dialect().listOf(numbersOfUsers(uids)))
}

func readProfile(ctx context.Context, db Asker, uid chat.UID) (chat.Profile, error) {
	p, err := profileOf.One(ctx, db, int64(uid))
	if errors.Is(err, chat.ErrNotFound) {
		return chat.Profile{UID: uid}, nil
	}
	return p, err
}

func (s *Both) Fanouts(ctx context.Context, limit int) ([]chat.Fanout, error) {
	return fanouts.All(ctx, s.On, int64(max(limit, 0)))
}

func (t *Tx) CutFeed(uid chat.UID, upTo uint64) error {
	if err := t.On.Tell(t.Ctx, cutFeed, int64(uid), clamp(upTo)); err != nil {
		return err
	}
	return t.On.Tell(t.Ctx, setFloor, clamp(upTo), int64(uid))
}

func (t *Tx) FeedBefore(uid chat.UID, time int64) (uint64, error) {
	n, err := feedBefore.One(t.Ctx, t.On, int64(uid), time)
	return uint64(n), err
}

func (t *Tx) FindC2C(a, b chat.UID) (chat.Conv, error) {
	c, err := convOfPair.One(t.Ctx, t.On, int64(min(a, b)), int64(max(a, b)))
	if err != nil {
		return c, err
	}
	return t.Conv(c.ID)
}

func (t *Tx) Relation(uid chat.UID, kind im.RelationKind, other int64) (chat.Relation, error) {
	return relationOf.One(t.Ctx, t.On, int64(uid), int64(kind), other)
}

func (t *Tx) Relations(uid chat.UID, kind im.RelationKind) ([]chat.Relation, error) {
	return relationsMade.All(t.Ctx, t.On, int64(uid), int64(kind), int64(0), int64(noLimit))
}

func (t *Tx) CountRelations(uid chat.UID, kind im.RelationKind) (int, error) {
	n, err := countRelations.One(t.Ctx, t.On, int64(uid), int64(kind))
	return int(n), err
}

func (t *Tx) PutRelation(r chat.Relation) error {
	if r.Made == 0 {
		r.Made = r.Ver
	}
	return putRelation.Tell(t.Ctx, t.On, relationRow(r))
}

func (t *Tx) DropRelation(uid chat.UID, kind im.RelationKind, other int64) error {
	return t.On.Tell(t.Ctx, dropRelation, int64(uid), int64(kind), other)
}

func (t *Tx) HaveFriend(friend, after chat.UID, limit int) ([]chat.UID, error) {
	return haveFriend.All(t.Ctx, t.On, int64(friend), int64(after), int64(max(limit, 0)))
}

func (t *Tx) Profile(uid chat.UID) (chat.Profile, error) { return readProfile(t.Ctx, t.On, uid) }

func (t *Tx) PutProfile(p chat.Profile) error { return putProfile.Tell(t.Ctx, t.On, profileRow(p)) }

func (t *Tx) Fanout(uid chat.UID) (chat.Fanout, error) { return fanoutOf.One(t.Ctx, t.On, int64(uid)) }

func (t *Tx) PutFanout(f chat.Fanout) error { return putFanout.Tell(t.Ctx, t.On, fanoutRow(f)) }

func (t *Tx) DropFanout(uid chat.UID) error { return t.On.Tell(t.Ctx, dropFanout, int64(uid)) }
