package tables

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/tidings-im/tidings/internal/chat"
)

// Base is what each store provides in its own way.
type Base interface {
	Asker
	// Run is Update of chat.Store.
	Run(ctx context.Context, keys []chat.Key, fn func(*Tx) error) error
	// Conv is Conv of chat.Store.
	Conv(ctx context.Context, id chat.ConvID) (chat.Conv, error)
	// Latest returns the current state of a conversation whose row was read as c. The row may be older than what was committed then.
	Latest(ctx context.Context, c chat.Conv) (chat.Conv, error)
}

// Both is what both stores do in the same way: most reads of chat.Store, and the few writes that do not happen in an Update of the caller.
type Both struct{ On Base }

// clamp limits the end of a range to the numbers that SQL has.
func clamp(n uint64) int64 { return int64(min(n, chat.NoEnd)) }

var (
	userByName = NewQuery(User, "SELECT "+User.Cols("u")+" FROM users u WHERE u.name = $1")
	userByID   = NewQuery(User, "SELECT "+User.Cols("u")+" FROM users u WHERE u.uid = $1")
	usersByID  = texts(func(d Dialect) string {
		return "SELECT " + User.Cols("u") + " FROM " + d.each("$1", "users", "u", "u.uid = x.n")
	})
	pickUsers  = either(User, usersByID[SQLite], usersByID[Postgres])
	insertUser = NewWrite[userRow]("INSERT INTO users (uid, name, generation, feed) VALUES (:uid, :name, :generation, :feed) ON CONFLICT (name) DO NOTHING")
)

// CreateUser creates an account, or returns the existing one with the name.
func (s *Both) CreateUser(ctx context.Context, name string) (chat.User, error) {
	u, err := s.UserByName(ctx, name)
	if !errors.Is(err, chat.ErrNotFound) {
		return u, err
	}
	if _, whole := s.On.Dialect().Text(name); !whole {
		return chat.User{}, errors.New("store: the name is not text")
	}
	if err := s.On.Run(ctx, nil, func(t *Tx) error {
		uid, err := t.On.NewUID()
		if err != nil {
			return err
		}
		return insertUser.Tell(t.Ctx, t.On, userRow{UID: uid, Name: name})
	}); err != nil {
		return chat.User{}, err
	}
	return s.UserByName(ctx, name) // another call may have created it at the same time
}

func (s *Both) UserByName(ctx context.Context, name string) (chat.User, error) {
	name, whole := s.On.Dialect().Text(name)
	if !whole {
		name = "" // nobody's
	}
	return userByName.One(ctx, s.On, name)
}

func (s *Both) UserByID(ctx context.Context, uid chat.UID) (chat.User, error) {
	return userByID.One(ctx, s.On, int64(uid))
}

func (s *Both) Users(ctx context.Context, uids []chat.UID) ([]chat.User, error) {
	return pickUsers.All(ctx, s.On, s.On.Dialect().listOf(numbersOfUsers(uids)))
}

// C2C returns the conversation of two users and creates it if it is new; ErrNotFound if one of them does not exist.
func (s *Both) C2C(ctx context.Context, a, b chat.UID) (chat.Conv, error) {
	c, err := s.FindC2C(ctx, a, b)
	if !errors.Is(err, chat.ErrNotFound) {
		return c, err
	}
	if err := s.On.Run(ctx, []chat.Key{{UID: a}, {UID: b}}, func(t *Tx) error { return t.newC2C(a, b) }); err != nil {
		return chat.Conv{}, err
	}
	return s.FindC2C(ctx, a, b)
}

// newC2C creates the conversation of two users unless it exists. It holds the rows of both, so nobody else can create it.
func (t *Tx) newC2C(a, b chat.UID) error {
	for _, uid := range []chat.UID{a, b} {
		if _, err := t.user(uid); err != nil {
			return err
		}
	}
	_, err := convOfPair.One(t.Ctx, t.On, int64(min(a, b)), int64(max(a, b)))
	if !errors.Is(err, chat.ErrNotFound) {
		return err
	}
	flags, err := chat.FlagsOf(t.Relation, min(a, b), max(a, b))
	if err != nil {
		return err
	}
	c, err := t.NewConv(chat.Conv{Kind: chat.KindC2C, A: a, B: b, Flags: flags})
	if err != nil {
		return err
	}
	if _, err = t.PutMember(chat.Member{Conv: c.ID, UID: c.A}); err != nil || c.A == c.B {
		return err
	}
	_, err = t.PutMember(chat.Member{Conv: c.ID, UID: c.B})
	return err
}

var (
	// ConvByID reads the row of a conversation.
	ConvByID    = NewQuery(Conv, "SELECT "+Conv.Cols("c")+" FROM conv c WHERE c.id = $1")
	convOfPair  = NewQuery(Conv, "SELECT "+Conv.Cols("c")+" FROM conv c WHERE c.kind = 1 AND c.a = $1 AND c.b = $2")
	convOfGroup = NewQuery(Conv, "SELECT "+Conv.Cols("c")+" FROM conv c WHERE c.kind = 2 AND c.grp = $1 ORDER BY c.id DESC LIMIT 1")
	members     = NewQuery(member, "SELECT "+member.Cols("m")+" FROM member m WHERE m.conv = $1 AND m.gone = 0 ORDER BY m.uid")
)

// FindC2C returns the conversation of two users if it exists.
func (s *Both) FindC2C(ctx context.Context, a, b chat.UID) (chat.Conv, error) {
	c, err := convOfPair.One(ctx, s.On, int64(min(a, b)), int64(max(a, b)))
	if err != nil {
		return chat.Conv{}, err
	}
	return s.On.Latest(ctx, c)
}

func (s *Both) Group(ctx context.Context, group string) (chat.Conv, error) {
	if _, whole := s.On.Dialect().Text(group); !whole {
		return chat.Conv{}, chat.ErrNotFound
	}
	c, err := convOfGroup.One(ctx, s.On, group)
	if err != nil {
		return chat.Conv{}, err
	}
	return s.On.Latest(ctx, c)
}

func (s *Both) Members(ctx context.Context, id chat.ConvID) ([]chat.Member, error) {
	return members.All(ctx, s.On, int64(id))
}

var (
	entriesUp   = entriesIn("ASC")
	entriesDown = entriesIn("DESC")
)

// entriesIn reads a range. SQLite yields one row at a time, so the reader can stop. PostgreSQL sends the whole result, so the query itself has to end at the limit of
// bytes: the window counts those of an entry and of the entries before it.
func entriesIn(order string) *Query[chat.Stored] {
	return either(Entry,
		"SELECT "+Entry.Cols("e")+" FROM entry e WHERE e.conv = $1 AND e.seq BETWEEN $2 AND $3 ORDER BY e.seq "+order+" LIMIT $4",
		"SELECT "+Entry.Cols("e")+` FROM (
			SELECT e.*, sum(length(e.body) + octet_length(e.reason)) OVER (ORDER BY e.seq `+order+` ROWS UNBOUNDED PRECEDING) AS bytes, row_number() OVER (ORDER BY e.seq `+order+`) AS nth
			FROM (SELECT * FROM entry WHERE conv = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq `+order+` LIMIT $4) e
		) e WHERE e.nth = 1 OR e.bytes <= $5 ORDER BY e.seq `+order)
}

func (s *Both) Entries(ctx context.Context, id chat.ConvID, from, to uint64, newest bool, limit, maxBytes int) ([]chat.Stored, error) {
	q := entriesUp
	if newest {
		q = entriesDown
	}
	list, err := q.within(ctx, s.On, maxBytes, bytesOf, s.upTo(maxBytes, int64(id), clamp(from), clamp(to), int64(max(limit, 0)))...)
	if newest {
		slices.Reverse(list)
	}
	return list, err
}

// upTo adds the limit of bytes to the arguments of a query if the database counts them.
func (s *Both) upTo(maxBytes int, args ...any) []any {
	if s.On.Dialect() == Postgres {
		args = append(args, int64(maxBytes))
	}
	return args
}

func bytesOf(st chat.Stored) int { return len(st.Body) + len(st.RevokeReason) }

// changesText reads changes with their messages. The version of a row is 0 if it was written by a program that had no versions.
var changesText = "SELECT " + change.Cols("x") + ", " + Entry.part("e", true) + `, CASE WHEN x.kind = 2 AND x.version IN (0, e.version) THEN e.body END AS "e.body"
	FROM change x LEFT JOIN entry e ON e.conv = x.conv AND e.seq = x.seq
	`

var (
	// PostgreSQL first finds out how many rows fit: it knows the lengths of bodies without reading them. It is one statement, so the bodies are the ones that were measured.
	changes = either(told, changesText+"WHERE x.conv = $1 AND x.rev BETWEEN $2 AND $3 ORDER BY x.rev LIMIT $4",
		`WITH size AS (
			SELECT x.rev, row_number() OVER (ORDER BY x.rev) AS nth, sum(octet_length(x.reason) + coalesce(octet_length(e.reason), 0)
				+ CASE WHEN x.kind = 2 AND x.version IN (0, e.version) THEN octet_length(e.body) ELSE 0 END) OVER (ORDER BY x.rev) AS bytes
			FROM (SELECT * FROM change WHERE conv = $1 AND rev BETWEEN $2 AND $3 ORDER BY rev LIMIT $4) x
			LEFT JOIN entry e ON e.conv = x.conv AND e.seq = x.seq)
		`+changesText+"WHERE x.conv = $1 AND x.rev BETWEEN $2 AND (SELECT max(rev) FROM size WHERE nth = 1 OR bytes <= $5) ORDER BY x.rev")
	lastChange = NewQuery(told, changesText+"WHERE x.conv = $1 AND x.rev > $2 AND x.seq = $3 AND x.kind = $4 AND x.operator = $5 ORDER BY x.rev DESC LIMIT 1")
)

func (s *Both) Changes(ctx context.Context, id chat.ConvID, from, to uint64, limit, maxBytes int) ([]chat.Change, error) {
	return changes.within(ctx, s.On, maxBytes, func(c chat.Change) int {
		if c.Target == nil {
			return len(c.Reason)
		}
		return len(c.Reason) + bytesOf(*c.Target)
	}, s.upTo(maxBytes, int64(id), clamp(from), clamp(to), int64(max(limit, 0)))...)
}

func (s *Both) LastChange(ctx context.Context, id chat.ConvID, seq uint64, kind int32, by chat.UID, above uint64) (chat.Change, error) {
	return lastChange.One(ctx, s.On, int64(id), clamp(above), clamp(seq), int64(kind), int64(by))
}

var (
	deleted  = NewQuery(Number, "SELECT d.seq AS n FROM deleted d WHERE d.uid = $1 AND d.conv = $2 AND d.seq BETWEEN $3 AND $4 ORDER BY d.seq")
	byKey    = NewQuery(Entry, "SELECT "+Entry.Cols("e")+" FROM entry e WHERE e.client_time = $1 AND e.random = $2 AND e.conv = $3 AND e.sender = $4")
	timeAt   = NewQuery(Number, "SELECT e.time AS n FROM entry e WHERE e.conv = $1 AND e.seq >= $2 ORDER BY e.seq LIMIT 1")
	feeds    = NewQuery(feed, "SELECT "+feed.Cols("f")+" FROM feed f WHERE f.uid = $1 AND f.seq BETWEEN $2 AND $3 ORDER BY f.seq LIMIT $4")
	sessions = NewQuery(session, "SELECT "+session.Cols("s")+" FROM session s WHERE s.uid = $1 ORDER BY s.device")
)

func (s *Both) Deleted(ctx context.Context, uid chat.UID, id chat.ConvID, from, to uint64) ([]uint64, error) {
	list, err := deleted.All(ctx, s.On, int64(uid), int64(id), clamp(from), clamp(to))
	if err != nil || list == nil {
		return nil, err
	}
	out := make([]uint64, len(list))
	for i, n := range list {
		out[i] = uint64(n)
	}
	return out, nil
}

func (s *Both) Lookup(ctx context.Context, k chat.SendKey) (chat.Stored, error) {
	return Lookup(ctx, s.On, k)
}

// Lookup returns the entry that is stored under a key.
func Lookup(ctx context.Context, db Asker, k chat.SendKey) (chat.Stored, error) {
	return byKey.One(ctx, db, int64(k.ClientTime), int64(k.Random), int64(k.Conv), int64(k.Sender))
}

// KeyOf returns the key of an entry.
func KeyOf(e *chat.Entry) chat.SendKey {
	return chat.SendKey{Conv: e.Conv, Sender: e.Sender, ClientTime: e.ClientTime, Random: e.Random}
}

// SeqAt is a binary search: times never decrease along a log.
func (s *Both) SeqAt(ctx context.Context, id chat.ConvID, t int64) (uint64, error) {
	c, err := s.On.Conv(ctx, id)
	if err != nil {
		return 0, err
	}
	if c.Time <= t {
		return c.Seq, nil
	}
	low, high := uint64(0), c.Seq // time(low) <= t < time(high)
	for high-low > 1 {
		mid := low + (high-low)/2
		time, err := timeAt.One(ctx, s.On, int64(id), int64(mid))
		if err != nil {
			return 0, err
		}
		if time <= t {
			low = mid
		} else {
			high = mid
		}
	}
	return low, nil
}

func (s *Both) Feed(ctx context.Context, uid chat.UID, from, to uint64, limit int) ([]chat.FeedEntry, error) {
	return feeds.All(ctx, s.On, int64(uid), clamp(from), clamp(to), int64(max(limit, 0)))
}

func (s *Both) Sessions(ctx context.Context, uid chat.UID) ([]chat.Session, error) {
	return sessions.All(ctx, s.On, int64(uid))
}

var (
	logged = NewQuery(logEntry, "SELECT e.id AS id, "+Entry.Cols("e")+`, coalesce((SELECT b.admin FROM sent_by b WHERE b.conv = e.conv AND b.seq = e.seq), '') AS admin
		FROM entry e WHERE e.id > $1 AND e.id <= $2 ORDER BY e.id LIMIT $3`)
	lastID      = NewQuery(Number, "SELECT coalesce(max(e.id), 0) AS n FROM entry e WHERE e.id <= $1")
	cursor      = NewQuery(Number, "SELECT p.pos AS n FROM progress p WHERE p.name = $1")
	startCursor = "INSERT INTO progress (name, pos) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING"
)

// LogEnds is the upper limit for a log that is read to its end.
const LogEnds = math.MaxInt64

// LogUpTo returns the entries after one position, up to and including another.
func (s *Both) LogUpTo(ctx context.Context, after, upTo int64, limit int) ([]chat.LogEntry, error) {
	return logged.All(ctx, s.On, after, upTo, int64(max(limit, 0)))
}

// LastUpTo returns the last position of an entry that is at most upTo.
func (s *Both) LastUpTo(ctx context.Context, upTo int64) (int64, error) {
	return lastID.One(ctx, s.On, upTo)
}

func (s *Both) Cursor(ctx context.Context, name string) (int64, error) {
	return cursor.One(ctx, s.On, name)
}

func (s *Both) StartCursor(ctx context.Context, name string, pos int64) error {
	return s.On.Run(ctx, nil, func(t *Tx) error { return t.On.Tell(t.Ctx, startCursor, name, pos) })
}
