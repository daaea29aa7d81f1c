package tables

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

type infoRow struct {
	Conv chat.ConvID `sql:"conv"`
	Seq  uint64      `sql:"seq"`
	Body []byte      `sql:"body"`
}

type attributeRow struct {
	Conv  chat.ConvID `sql:"conv"`
	Key   string      `sql:"key"`
	Value string      `sql:"value"`
}

type customRow struct {
	UID  chat.UID    `sql:"uid"`
	Conv chat.ConvID `sql:"conv"`
	Body []byte      `sql:"body"`
}

type requestRow struct {
	ID         int64       `sql:"id"`
	Conv       chat.ConvID `sql:"conv"`
	Invitation bool        `sql:"kind"`
	UID        chat.UID    `sql:"uid"`
	Inviter    chat.UID    `sql:"inviter"`
	Time       int64       `sql:"time"`
	Wording    string      `sql:"wording"`
	Handler    chat.UID    `sql:"handler"`
	Accepted   bool        `sql:"accepted"`
	Answer     string      `sql:"answer"`
}

type groupOfRow struct {
	UID       chat.UID     `sql:"uid"`
	Conv      chat.ConvID  `sql:"conv"`
	MemberSet uint64       `sql:"member_set"`
	Type      im.GroupType `sql:"type"`
	Owner     chat.UID     `sql:"owner"`
	JoinedAt  int64        `sql:"joined_at"`
	Seq       uint64       `sql:"seq"`
	Rev       uint64       `sql:"rev"`
	Before    uint64       `sql:"before"`
}

type mentionedRow struct {
	Conv   chat.ConvID `sql:"conv"`
	Seq    uint64      `sql:"seq"`
	UID    chat.UID    `sql:"uid"`
	Sender chat.UID    `sql:"sender"`
}

var (
	groupInfo    = newKind(func(r *infoRow) chat.GroupInfo { return chat.GroupInfo(*r) })
	attribute    = newKind(func(r *attributeRow) chat.Attribute { return chat.Attribute{Key: r.Key, Value: r.Value} })
	custom       = NewKind[customRow]()
	groupRequest = newKind(func(r *requestRow) chat.GroupRequest { return chat.GroupRequest(*r) })
	groupOf      = newKind(func(r *groupOfRow) chat.GroupOf {
		return chat.GroupOf{UID: r.UID, Conv: r.Conv, MemberSet: r.MemberSet, Type: r.Type, Owner: r.Owner, JoinedAt: r.JoinedAt, Joined: chat.Joined{Seq: r.Seq, Rev: r.Rev, Again: r.Before > 0}}
	})
)

var (
	// That joined is above 0 is what the index is limited to: without it, SQLite reads and sorts all members for each page.
	memberPage = NewQuery(member, "SELECT "+member.Cols("m")+" FROM member m WHERE m.conv = $1 AND m.joined > $2 AND m.joined > 0 AND m.gone = 0 ORDER BY m.joined LIMIT $3")
	// Above ordinary members there are few, so those of a role are read by the index of roles and sorted. SQLite would read all members in their order instead.
	roleText = func(from string) string {
		return "SELECT " + member.Cols("m") + " FROM " + from + ` WHERE m.conv = $1 AND m.joined > $2 AND m.joined > 0 AND m.gone = 0
			AND m.role >= $3 AND m.role > 200 ORDER BY m.joined LIMIT $4`
	}
	rolePage  = either(member, roleText("member m INDEXED BY member_role"), roleText("member m"))
	membersOf = texts(func(d Dialect) string {
		return "SELECT " + member.Cols("m") + " FROM " + d.each("$1", "member", "m", "m.uid = x.n AND m.conv = $2 AND m.gone = 0")
	})
	pickMembers = either(member, membersOf[SQLite], membersOf[Postgres])
	customsOf   = texts(func(d Dialect) string {
		return "SELECT " + custom.Cols("c") + " FROM " + d.each("$1", "member_custom", "c", "c.uid = x.n AND c.conv = $2")
	})
	pickCustom = either(custom, customsOf[SQLite], customsOf[Postgres])
	// ofGroup is that m is in a group that was not dissolved. A query that asked this of a joined conv would walk over all groups of the store instead of those of the
	// user, if PostgreSQL has no statistics yet.
	ofGroup = "(SELECT CASE WHEN g.kind = 2 AND g.dissolved = 0 THEN 1 ELSE 0 END FROM conv g WHERE g.id = m.conv) = 1"
	// The last period is that of the present membership.
	groupOfCols = `m.uid AS uid, m.conv AS conv, c.member_set AS member_set, max(p.from_seq) AS seq, max(p.from_rev) AS rev, count(*) - 1 AS before,
		c.type AS type, c.owner AS owner, m.joined_at AS joined_at`
	groupOfGroups = "GROUP BY m.uid, m.conv, c.member_set, c.type, c.owner, m.joined_at"
	groupsOf      = NewQuery(groupOf, "SELECT "+groupOfCols+` FROM member m JOIN conv c ON c.id = m.conv JOIN period p ON p.uid = m.uid AND p.conv = m.conv
		WHERE m.uid = $1 AND m.gone = 0 AND `+ofGroup+" "+groupOfGroups+" ORDER BY m.conv")
	inGroup = texts(func(d Dialect) string {
		return "SELECT " + groupOfCols + " FROM " + d.each("$1", "member", "m", "m.uid = x.n AND m.conv = $2 AND m.gone = 0") + `
			JOIN conv c ON c.id = m.conv JOIN period p ON p.uid = m.uid AND p.conv = m.conv ` + groupOfGroups
	})
	pickInGroup  = either(groupOf, inGroup[SQLite], inGroup[Postgres])
	infoOf       = NewQuery(groupInfo, "SELECT "+groupInfo.Cols("i")+" FROM group_info i WHERE i.conv = $1")
	attributesOf = NewQuery(attribute, "SELECT "+attribute.Cols("a")+" FROM attribute a WHERE a.conv = $1 ORDER BY a.key")
	addressedTo  = NewQuery(Number, "SELECT a.seq AS n FROM addressee a WHERE a.conv = $1 AND a.seq BETWEEN $2 AND $3 AND a.uid = $4 ORDER BY a.seq")

	// Those that a user may see: of groups in which they are owner or admin, and their invitations; of groups that were dissolved none, because nobody can answer them.
	requestsSeen = `((r.kind = 0 AND r.conv IN (SELECT m.conv FROM member m WHERE m.uid = $1 AND m.gone = 0 AND m.role >= 300)) OR (r.kind = 1 AND r.uid = $1))
		AND (SELECT g.dissolved FROM conv g WHERE g.id = r.conv) = 0`
	// A page ends between two times, because the next one begins at a time.
	requests = NewQuery(groupRequest, "SELECT "+groupRequest.Cols("r")+" FROM group_request r WHERE "+requestsSeen+` AND r.time < $2 AND r.time >= coalesce((
		SELECT r.time FROM group_request r WHERE `+requestsSeen+" AND r.time < $2 ORDER BY r.time DESC LIMIT 1 OFFSET $3), 0) ORDER BY r.time DESC, r.id DESC")
	requestsNew = NewQuery(Number, "SELECT count(*) AS n FROM group_request r WHERE "+requestsSeen+" AND r.time > $2 AND r.handler = 0")
)

func (s *Both) MemberPage(ctx context.Context, id chat.ConvID, after uint64, minRole int32, limit int) ([]chat.Member, error) {
	return pageOf(ctx, s.On, id, after, minRole, limit)
}

func pageOf(ctx context.Context, db Asker, id chat.ConvID, after uint64, minRole int32, limit int) ([]chat.Member, error) {
	if minRole > chat.RoleMember {
		return rolePage.All(ctx, db, int64(id), clamp(after), int64(minRole), int64(max(limit, 0)))
	}
	return memberPage.All(ctx, db, int64(id), clamp(after), int64(max(limit, 0)))
}

func (s *Both) MembersOf(ctx context.Context, id chat.ConvID, uids []chat.UID) ([]chat.Member, error) {
	return pickMembers.All(ctx, s.On, s.On.Dialect().listOf(numbersOfUsers(uids)), int64(id))
}

func (s *Both) CustomOf(ctx context.Context, id chat.ConvID, uids []chat.UID) (map[chat.UID][]byte, error) {
	rows, err := pickCustom.All(ctx, s.On, s.On.Dialect().listOf(numbersOfUsers(uids)), int64(id))
	return maps.Collect(func(yield func(chat.UID, []byte) bool) {
		for _, r := range rows {
			if !yield(r.UID, r.Body) {
				return
			}
		}
	}), err
}

func numbersOfUsers(uids []chat.UID) []int64 {
	out := make([]int64, len(uids))
	for i, uid := range uids {
		out[i] = int64(uid)
	}
	return out
}

func (s *Both) GroupsOf(ctx context.Context, uid chat.UID) ([]chat.GroupOf, error) {
	return groupsOf.All(ctx, s.On, int64(uid))
}

func (s *Both) InGroup(ctx context.Context, id chat.ConvID, uids []chat.UID) ([]chat.GroupOf, error) {
	return pickInGroup.All(ctx, s.On, s.On.Dialect().listOf(numbersOfUsers(uids)), int64(id))
}

func (s *Both) GroupInfo(ctx context.Context, id chat.ConvID) (chat.GroupInfo, error) {
	return infoOf.One(ctx, s.On, int64(id))
}

// Attributes reads the version first: with attributes that are newer than it, a reader asks once more than needed.
func (s *Both) Attributes(ctx context.Context, id chat.ConvID) (uint64, []chat.Attribute, error) {
	c, err := s.On.Conv(ctx, id)
	if err != nil {
		return 0, nil, err
	}
	list, err := attributesOf.All(ctx, s.On, int64(id))
	return c.AttrVer, list, err
}

func (s *Both) AddressedTo(ctx context.Context, uid chat.UID, id chat.ConvID, from, to uint64) ([]uint64, error) {
	list, err := addressedTo.All(ctx, s.On, int64(id), clamp(from), clamp(to), int64(uid))
	out := make([]uint64, len(list))
	for i, n := range list {
		out[i] = uint64(n)
	}
	return out, err
}

func (s *Both) GroupRequests(ctx context.Context, uid chat.UID, before int64, limit int) ([]chat.GroupRequest, error) {
	return requests.All(ctx, s.On, int64(uid), before, int64(max(limit, 1))-1)
}

func (s *Both) GroupRequestsSince(ctx context.Context, uid chat.UID, after int64) (int, error) {
	n, err := requestsNew.One(ctx, s.On, int64(uid), after)
	return int(n), err
}

func (t *Tx) Group(group string) (chat.Conv, error) {
	if err := t.On.HoldName(group); err != nil {
		return chat.Conv{}, err
	}
	if _, whole := t.On.Dialect().Text(group); !whole {
		return chat.Conv{}, chat.ErrNotFound
	}
	c, err := convOfGroup.One(t.Ctx, t.On, group)
	if err != nil {
		return chat.Conv{}, err
	}
	return t.Conv(c.ID)
}

func (t *Tx) MemberPage(id chat.ConvID, after uint64, minRole int32, limit int) ([]chat.Member, error) {
	return pageOf(t.Ctx, t.On, id, after, minRole, limit)
}

// allRooms is what is held while live rooms are counted. No group has such a name.
const allRooms = "\x01"

var (
	roomCount   = NewQuery(Number, "SELECT count(*) AS n FROM conv c WHERE c.kind = 2 AND c.type = 4 AND c.dissolved = 0")
	roomCountOf = NewQuery(Number, "SELECT count(*) AS n FROM conv c WHERE c.kind = 2 AND c.type = 4 AND c.dissolved = 0 AND c.owner = $1")
	groupCount  = NewQuery(Number, "SELECT count(*) AS n FROM member m WHERE m.uid = $1 AND m.gone = 0 AND "+ofGroup)
	putInfo     = NewWrite[infoRow](`INSERT INTO group_info (conv, seq, body) VALUES (:conv, :seq, :body)
		ON CONFLICT (conv) DO UPDATE SET seq = excluded.seq, body = excluded.body`)
	customOf  = NewQuery(custom, "SELECT "+custom.Cols("c")+" FROM member_custom c WHERE c.uid = $1 AND c.conv = $2")
	putCustom = NewWrite[customRow](`INSERT INTO member_custom (uid, conv, body) VALUES (:uid, :conv, :body)
		ON CONFLICT (uid, conv) DO UPDATE SET body = excluded.body`)
	dropCustom   = "DELETE FROM member_custom WHERE uid = $1 AND conv = $2"
	putAttribute = NewWrite[attributeRow](`INSERT INTO attribute (conv, key, value) VALUES (:conv, :key, :value)
		ON CONFLICT (conv, key) DO UPDATE SET value = excluded.value`)
	dropAttribute = "DELETE FROM attribute WHERE conv = $1 AND key = $2"
	dropMentions  = "DELETE FROM mention WHERE conv = $1 AND seq = $2"
	putMention    = NewWrite[mentionedRow]("INSERT INTO mention (conv, seq, uid, sender) VALUES (:conv, :seq, :uid, :sender) ON CONFLICT (conv, seq, uid) DO NOTHING")
	putAddressee  = NewWrite[DeletedRow]("INSERT INTO addressee (conv, seq, uid) VALUES (:conv, :seq, :uid) ON CONFLICT (conv, seq, uid) DO NOTHING")
	putSentBy     = NewWrite[sentByRow]("INSERT INTO sent_by (conv, seq, admin) VALUES (:conv, :seq, :admin)")
	openRequest   = NewQuery(groupRequest, "SELECT "+groupRequest.Cols("r")+" FROM group_request r WHERE r.conv = $1 AND r.uid = $2 AND r.kind = $3 AND r.handler = 0")
	requestByID   = NewQuery(groupRequest, "SELECT "+groupRequest.Cols("r")+" FROM group_request r WHERE r.id = $1")
	newRequest    = NewWrite[requestRow](`INSERT INTO group_request (conv, kind, uid, inviter, time, wording, handler, accepted, answer)
		VALUES (:conv, :kind, :uid, :inviter, :time, :wording, :handler, :accepted, :answer)`)
	setRequest = NewWrite[requestRow](`UPDATE group_request SET inviter = :inviter, time = :time, wording = :wording, handler = :handler, accepted = :accepted, answer = :answer
		WHERE id = :id`)
)

// PutBeside stores what an entry has that is not in its row: its aim, and the admin who has sent it.
func PutBeside(ctx context.Context, db DB, st *chat.Stored) error {
	if st.Admin != "" {
		row := sentByRow{Conv: st.Conv, Seq: st.Seq}
		row.Admin, _ = db.Dialect().Text(st.Admin)
		if err := putSentBy.Tell(ctx, db, row); err != nil {
			return err
		}
	}
	if st.Aim == nil {
		return nil
	}
	for _, uid := range st.Aim.To {
		if err := putAddressee.Tell(ctx, db, DeletedRow{UID: uid, Conv: st.Conv, Seq: st.Seq}); err != nil {
			return err
		}
	}
	for _, uid := range st.Aim.Mentions {
		if err := putMention.Tell(ctx, db, mentionedRow{Conv: st.Conv, Seq: st.Seq, UID: uid, Sender: st.Sender}); err != nil {
			return err
		}
	}
	return nil
}

type mentionRow struct {
	Seq uint64   `sql:"seq"`
	UID chat.UID `sql:"uid"`
}

var (
	mention  = newKind(func(r *mentionRow) chat.Mention { return chat.Mention(*r) })
	mentions = NewQuery(mention, `SELECT n.seq AS seq, n.uid AS uid FROM mention n
		WHERE n.conv = $1 AND n.seq > $2 AND n.uid IN (0, $3) AND n.sender <> $3 ORDER BY n.seq, n.uid LIMIT 100`)
)

var (
	back       = NewQuery(Number, "SELECT CASE WHEN "+backText("$1", "$3", "$2")+" THEN 1 ELSE 0 END AS n")
	addressees = NewQuery(account, "SELECT a.uid AS uid FROM addressee a WHERE a.conv = $1 AND a.seq = $2 ORDER BY a.uid")
)

func (t *Tx) Addressees(id chat.ConvID, seq uint64) ([]chat.UID, error) {
	return addressees.All(t.Ctx, t.On, int64(id), clamp(seq))
}

func (t *Tx) Mentions(id chat.ConvID, uid chat.UID, above uint64) ([]chat.Mention, error) {
	return mentions.All(t.Ctx, t.On, int64(id), clamp(above), int64(uid))
}

func (t *Tx) Back(id chat.ConvID, uid chat.UID, above uint64) (bool, error) {
	n, err := back.One(t.Ctx, t.On, int64(id), clamp(above), int64(uid))
	return n == 1, err
}

func (t *Tx) GroupCount(uid chat.UID) (int, error) {
	n, err := groupCount.One(t.Ctx, t.On, int64(uid))
	return int(n), err
}

func (t *Tx) LiveRooms(owner chat.UID) (all, own int, err error) {
	if err := t.On.HoldName(allRooms); err != nil {
		return 0, 0, err
	}
	n, e1 := roomCount.One(t.Ctx, t.On)
	m, e2 := roomCountOf.One(t.Ctx, t.On, int64(owner))
	return int(n), int(m), errors.Join(e1, e2)
}

func (t *Tx) GroupInfo(id chat.ConvID) (chat.GroupInfo, error) {
	return infoOf.One(t.Ctx, t.On, int64(id))
}

func (t *Tx) PutGroupInfo(g chat.GroupInfo) error { return putInfo.Tell(t.Ctx, t.On, infoRow(g)) }

func (t *Tx) Custom(id chat.ConvID, uid chat.UID) ([]byte, error) {
	r, err := customOf.One(t.Ctx, t.On, int64(uid), int64(id))
	if errors.Is(err, chat.ErrNotFound) {
		return nil, nil
	}
	return r.Body, err
}

func (t *Tx) PutCustom(id chat.ConvID, uid chat.UID, body []byte) error {
	return putCustom.Tell(t.Ctx, t.On, customRow{uid, id, body})
}

func (t *Tx) Attributes(id chat.ConvID) ([]chat.Attribute, error) {
	return attributesOf.All(t.Ctx, t.On, int64(id))
}

func (t *Tx) PutAttribute(id chat.ConvID, a chat.Attribute) error {
	return putAttribute.Tell(t.Ctx, t.On, attributeRow{id, a.Key, a.Value})
}

func (t *Tx) DropAttribute(id chat.ConvID, key string) error {
	return t.On.Tell(t.Ctx, dropAttribute, int64(id), key)
}

func (t *Tx) OpenRequest(id chat.ConvID, uid chat.UID, invitation bool) (chat.GroupRequest, error) {
	kind := int64(0)
	if invitation {
		kind = 1
	}
	return openRequest.One(t.Ctx, t.On, int64(id), int64(uid), kind)
}

func (t *Tx) GroupRequest(id int64) (chat.GroupRequest, error) {
	return requestByID.One(t.Ctx, t.On, id)
}

func (t *Tx) PutGroupRequest(r chat.GroupRequest) error {
	r.Wording, _ = t.On.Dialect().Text(r.Wording)
	r.Answer, _ = t.On.Dialect().Text(r.Answer)
	if r.ID == 0 {
		return newRequest.Tell(t.Ctx, t.On, requestRow(r))
	}
	return setRequest.Tell(t.Ctx, t.On, requestRow(r))
}

// Append makes the key of an entry from its number, which no other tip of the log has, and from the group's: the key is a part of the message's id, by which
// clients find it among those of all groups.
func (t *Tx) Append(e chat.Entry) (chat.Stored, error) {
	h, err := t.On.Change(e.Conv)
	if err != nil {
		return chat.Stored{}, err
	}
	if h.Kind != chat.KindGroup || e.Sender != 0 || e.Countable {
		return chat.Stored{}, fmt.Errorf("store: an entry that is no tip of a group is appended in an Update, to %d", e.Conv)
	}
	h.Seq++
	h.Time, h.Changed = max(h.Time, t.Time), max(h.Changed, t.Time)
	e.ClientTime, e.Random = uint64(h.Time/1000), (uint32(h.Seq)^uint32(uint64(e.Conv)*0x9e3779b97f4a7c15>>32))&0x7fffffff
	if e.Body == nil {
		e.Body = []byte{}
	}
	st := chat.Stored{Entry: e, Seq: h.Seq, Time: h.Time, Index: h.Index}
	return st, t.On.Insert(&st)
}
