package pg

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// read lends a connection to f. ctx bounds the waiting for one only: to give up a running query costs the connection, and reads are short.
// A connection that turns out to be dead is replaced, as often as there may be others of its age.
func (s *Store) read(ctx context.Context, f func(ctx context.Context, c *pgxpool.Conn) error) error {
	if s.closed.Load() {
		return chat.ErrClosed
	}
	if s.moved.Load() {
		return failure(ErrMoved)
	}
	for tries := int32(0); ; tries++ {
		wait, cancel := context.WithTimeout(ctx, s.cfg.Within)
		c, err := s.pool.Acquire(wait)
		cancel()
		switch {
		case s.closed.Load() && err != nil:
			return chat.ErrClosed
		case ctx.Err() != nil && err != nil:
			return ctx.Err()
		case err != nil:
			return failure(err)
		}
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Within)
		err = f(limit, c)
		cancel()
		lost := c.Conn().IsClosed()
		c.Release()
		switch {
		case err == nil || errors.Is(err, chat.ErrNotFound):
			return err
		case errors.Is(err, pgx.ErrNoRows):
			return chat.ErrNotFound
		case !lost || tries > s.pool.Stat().MaxConns() || limit.Err() == context.DeadlineExceeded:
			return failure(err)
		}
	}
}

// one reads a row, or answers ErrNotFound.
func one[T any](ctx context.Context, s *Store, scan func(tables.Scanner) (T, error), sql string, args ...any) (v T, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		v, err = scan(c.QueryRow(ctx, sql, args...))
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return v, nil
}

// many reads rows.
func many[T any](ctx context.Context, s *Store, scan func(tables.Scanner) (T, error), sql string, args ...any) (list []T, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		rows, err := c.Query(ctx, sql, args...)
		list, err = all(rows, err, scan)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// CreateUser makes an account, or answers the one that has the name.
func (s *Store) CreateUser(ctx context.Context, name string) (chat.User, error) {
	u, err := s.UserByName(ctx, name)
	if !errors.Is(err, chat.ErrNotFound) {
		return u, err
	}
	if !isText(name) {
		return chat.User{}, errors.New("store: the name is not text")
	}
	if err := s.update(ctx, nil, func(t *tx) error {
		return t.tell("INSERT INTO users (uid, name) VALUES (nextval('user_uid'), $1) ON CONFLICT (name) DO NOTHING", name)
	}); err != nil {
		return chat.User{}, err
	}
	return s.UserByName(ctx, name)
}

func (s *Store) UserByName(ctx context.Context, name string) (chat.User, error) {
	if !isText(name) {
		name = "" // nobody's
	}
	return one(ctx, s, tables.ScanUser, "SELECT "+tables.UserCols+" FROM users u WHERE u.name = $1", name)
}

func (s *Store) UserByID(ctx context.Context, uid chat.UID) (chat.User, error) {
	return one(ctx, s, tables.ScanUser, "SELECT "+tables.UserCols+" FROM users u WHERE u.uid = $1", int64(uid))
}

// C2C answers the conversation of two users, making it if it is new; ErrNotFound if there is no such user.
func (s *Store) C2C(ctx context.Context, a, b chat.UID) (chat.Conv, error) {
	c, err := s.FindC2C(ctx, a, b)
	if !errors.Is(err, chat.ErrNotFound) {
		return c, err
	}
	err = s.update(ctx, []chat.Key{{UID: a}, {UID: b}}, func(t *tx) error {
		for _, uid := range []chat.UID{a, b} {
			if _, err := t.user(uid); err != nil {
				return err
			}
		}
		// The rows of both are ours, so nobody else makes it now.
		_, err := ask1(t, tables.ScanConv, findC2C, int64(min(a, b)), int64(max(a, b)))
		if !errors.Is(err, chat.ErrNotFound) {
			return err
		}
		c, err := t.NewConv(chat.Conv{Kind: chat.KindC2C, A: a, B: b})
		if err != nil {
			return err
		}
		if _, err = t.PutMember(chat.Member{Conv: c.ID, UID: c.A}); err != nil || c.A == c.B {
			return err
		}
		_, err = t.PutMember(chat.Member{Conv: c.ID, UID: c.B})
		return err
	})
	if err != nil {
		return chat.Conv{}, err
	}
	return s.FindC2C(ctx, a, b)
}

const findC2C = "SELECT " + tables.ConvCols + " FROM conv c WHERE c.kind = 1 AND c.a = $1 AND c.b = $2"

// FindC2C answers the conversation of two users if there is one.
func (s *Store) FindC2C(ctx context.Context, a, b chat.UID) (chat.Conv, error) {
	return one(ctx, s, tables.ScanConv, findC2C, int64(min(a, b)), int64(max(a, b)))
}

func (s *Store) Conv(ctx context.Context, id chat.ConvID) (chat.Conv, error) {
	return one(ctx, s, tables.ScanConv, "SELECT "+tables.ConvCols+" FROM conv c WHERE c.id = $1", int64(id))
}

func (s *Store) Group(ctx context.Context, group string) (chat.Conv, error) {
	if !isText(group) {
		return chat.Conv{}, chat.ErrNotFound
	}
	return one(ctx, s, tables.ScanConv, "SELECT "+tables.ConvCols+" FROM conv c WHERE c.kind = 2 AND c.grp = $1 ORDER BY c.id DESC LIMIT 1", group)
}

func (s *Store) Members(ctx context.Context, id chat.ConvID) ([]chat.Member, error) {
	return many(ctx, s, tables.ScanMember, "SELECT "+tables.MemberCols+" FROM member m WHERE m.conv = $1 AND m.gone = 0 ORDER BY m.uid", int64(id))
}

// Entries are read in steps when bodies are large: the database sends no more than is asked for at once.
func (s *Store) Entries(ctx context.Context, id chat.ConvID, from, to uint64, newest bool, limit, maxBytes int) ([]chat.Stored, error) {
	order := "ASC"
	if newest {
		order = "DESC"
	}
	// The window counts the bytes of an entry and those before it.
	list, err := many(ctx, s, tables.ScanEntry, "SELECT "+tables.EntryCols+` FROM (
			SELECT e.*, sum(length(e.body) + octet_length(e.reason)) OVER (ORDER BY e.seq `+order+` ROWS UNBOUNDED PRECEDING) AS bytes, row_number() OVER (ORDER BY e.seq `+order+`) AS nth
			FROM (SELECT * FROM entry WHERE conv = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq `+order+` LIMIT $4) e
		) e WHERE e.nth = 1 OR e.bytes <= $5 ORDER BY e.seq `+order, int64(id), tables.Clamp(from), tables.Clamp(to), int64(max(limit, 0)), int64(maxBytes))
	if newest {
		slices.Reverse(list)
	}
	return list, err
}

// changeSQL reads changes with their messages. A row's version is 0 if it was written by a program that did not know it.
const changeSQL = `SELECT x.rev, x.kind, x.seq, x.time, x.operator, x.reason, x.version, e.id IS NOT NULL,
		coalesce(e.conv, 0), coalesce(e.sender, 0), coalesce(e.client_time, 0), coalesce(e.random, 0), coalesce(e.hash, 0), coalesce(e.flags, 0::smallint),
		coalesce(e.seq, 0), coalesce(e.time, 0), coalesce(e.idx, 0), coalesce(e.own, 0), coalesce(e.status, 0), coalesce(e.version, 0),
		coalesce(e.revoker, 0), coalesce(e.reason, ''), CASE WHEN x.kind = 2 AND x.version IN (0, e.version) THEN e.body END
	FROM change x LEFT JOIN entry e ON e.conv = x.conv AND e.seq = x.seq
	`

// Changes first asks how far the bytes go: their lengths are known without reading them. It is one statement, so the bodies are those that were measured.
func (s *Store) Changes(ctx context.Context, id chat.ConvID, from, to uint64, limit, maxBytes int) ([]chat.Change, error) {
	return many(ctx, s, tables.ScanChange, `WITH size AS (
			SELECT x.rev, row_number() OVER (ORDER BY x.rev) AS nth, sum(octet_length(x.reason) + coalesce(octet_length(e.reason), 0)
				+ CASE WHEN x.kind = 2 AND x.version IN (0, e.version) THEN octet_length(e.body) ELSE 0 END) OVER (ORDER BY x.rev) AS bytes
			FROM (SELECT * FROM change WHERE conv = $1 AND rev BETWEEN $2 AND $3 ORDER BY rev LIMIT $4) x
			LEFT JOIN entry e ON e.conv = x.conv AND e.seq = x.seq)
		`+changeSQL+`WHERE x.conv = $1 AND x.rev BETWEEN $2 AND (SELECT max(rev) FROM size WHERE nth = 1 OR bytes <= $5) ORDER BY x.rev`,
		int64(id), tables.Clamp(from), tables.Clamp(to), int64(max(limit, 0)), int64(maxBytes))
}

func (s *Store) LastChange(ctx context.Context, id chat.ConvID, seq uint64, kind int32, by chat.UID, above uint64) (chat.Change, error) {
	return one(ctx, s, tables.ScanChange, changeSQL+"WHERE x.conv = $1 AND x.rev > $2 AND x.seq = $3 AND x.kind = $4 AND x.operator = $5 ORDER BY x.rev DESC LIMIT 1",
		int64(id), tables.Clamp(above), tables.Clamp(seq), kind, int64(by))
}

func (s *Store) Deleted(ctx context.Context, uid chat.UID, id chat.ConvID, from, to uint64) ([]uint64, error) {
	return many(ctx, s, scanNumber, "SELECT seq FROM deleted WHERE uid = $1 AND conv = $2 AND seq BETWEEN $3 AND $4 ORDER BY seq",
		int64(uid), int64(id), tables.Clamp(from), tables.Clamp(to))
}

func (s *Store) Lookup(ctx context.Context, k chat.SendKey) (chat.Stored, error) {
	return one(ctx, s, tables.ScanEntry, "SELECT "+tables.EntryCols+" FROM entry e WHERE e.client_time = $1 AND e.random = $2 AND e.conv = $3 AND e.sender = $4",
		int64(k.ClientTime), int64(k.Random), int64(k.Conv), int64(k.Sender))
}

// SeqAt searches by halves: times never decrease along a log.
func (s *Store) SeqAt(ctx context.Context, id chat.ConvID, t int64) (uint64, error) {
	c, err := s.Conv(ctx, id)
	if err != nil {
		return 0, err
	}
	if c.Time <= t {
		return c.Seq, nil
	}
	low, high := uint64(0), c.Seq // time(low) <= t < time(high)
	for high-low > 1 {
		mid := low + (high-low)/2
		time, err := one(ctx, s, scanNumber, "SELECT time FROM entry WHERE conv = $1 AND seq >= $2 ORDER BY seq LIMIT 1", int64(id), int64(mid))
		if err != nil {
			return 0, err
		}
		if int64(time) <= t {
			low = mid
		} else {
			high = mid
		}
	}
	return low, nil
}

func (s *Store) Feed(ctx context.Context, uid chat.UID, from, to uint64, limit int) ([]chat.FeedEntry, error) {
	return many(ctx, s, tables.ScanFeed, "SELECT seq, kind, time, body FROM feed WHERE uid = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq LIMIT $4", int64(uid), tables.Clamp(from), tables.Clamp(to), int64(max(limit, 0)))
}

func (s *Store) Sessions(ctx context.Context, uid chat.UID) ([]chat.Session, error) {
	return many(ctx, s, tables.ScanSession, sessionSQL, int64(uid))
}

// headSQL makes HeadRows from the user's own rows. The peer's uid is what is left of a + b, so his row is found by its key. One statement, so that all of
// it is of one moment.
const headSQL = `SELECT ` + tables.ConvCols + `, ` + tables.MemberCols + `,
	coalesce(p.conv, 0), coalesce(p.uid, 0), coalesce(p.row_no, 0), coalesce(p.changed, 0), coalesce(p.read_seq, 0), coalesce(p.read_others, 0),
	coalesce(p.read_time, 0), coalesce(p.read_at, 0), coalesce(p.cleared_seq, 0), coalesce(p.recv_opt, 0), coalesce(p.pinned, 0::smallint),
	coalesce(p.hidden, 0::smallint), coalesce(p.role, 0), coalesce(p.gone, 0::smallint),
	CASE WHEN c.kind = 2 THEN coalesce((SELECT o.own FROM sender o WHERE o.conv = m.conv AND o.uid = m.uid), 0)
		WHEN c.a = m.uid THEN c.own_a ELSE c.own_b END,
	(SELECT count(*) FROM withdrawn w WHERE w.conv = m.conv AND w.seq > m.read_seq AND w.sender <> m.uid),
	CASE WHEN c.kind = 2 THEN ARRAY(SELECT x.seq FROM period q, LATERAL (VALUES (1, q.from_seq), (2, q.to_seq)) x (i, seq)
		WHERE q.uid = m.uid AND q.conv = m.conv ORDER BY q.from_seq, x.i) END
FROM member m
JOIN conv c ON c.id = m.conv
LEFT JOIN member p ON c.kind = 1 AND p.uid = c.a + c.b - m.uid AND p.conv = m.conv
`

func scanHead(row tables.Scanner) (chat.HeadRow, error) {
	var periods []int64
	h, err := tables.ScanHead(row, &periods)
	for i := 0; i+1 < len(periods); i += 2 {
		h.Periods = append(h.Periods, chat.Period{From: uint64(periods[i]), To: uint64(periods[i+1])})
	}
	return h, err
}

func (s *Store) Heads(ctx context.Context, uid chat.UID, since int64, after chat.ConvID, limit int) ([]chat.HeadRow, bool, error) {
	if limit <= 0 {
		return nil, false, nil
	}
	rows, err := many(ctx, s, scanHead, headSQL+`WHERE m.uid = $1 AND m.conv > $2 AND (m.changed >= $3 OR c.changed >= $3 OR p.changed >= $3)
		ORDER BY m.conv LIMIT $4`, int64(uid), int64(after), since, int64(limit)+1)
	more := len(rows) > limit
	if more {
		rows = rows[:limit]
	}
	return rows, more, err
}

func (s *Store) Head(ctx context.Context, uid chat.UID, id chat.ConvID) (chat.HeadRow, error) {
	return one(ctx, s, scanHead, headSQL+"WHERE m.uid = $1 AND m.conv = $2", int64(uid), int64(id))
}

// Used says that there are accounts: somebody may have a ticket.
func (s *Store) Used(ctx context.Context) (used bool, err error) {
	err = s.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM users)").Scan(&used)
	return used, err
}
