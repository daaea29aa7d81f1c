package store

import (
	"context"
	"errors"
	"slices"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// reading answers ErrClosed after Close.
func (s *Store) reading() error {
	if s.closed.Load() {
		return chat.ErrClosed
	}
	return nil
}

// CreateUser makes an account, or answers the one that has the name.
func (s *Store) CreateUser(ctx context.Context, name string) (chat.User, error) {
	u, err := s.UserByName(ctx, name)
	if !errors.Is(err, chat.ErrNotFound) {
		return u, err
	}
	err = s.update(ctx, func(t *tx) (err error) {
		u, err = t.newUser(name)
		return err
	})
	return u, err
}

func (s *Store) UserByName(ctx context.Context, name string) (chat.User, error) {
	if err := s.reading(); err != nil {
		return chat.User{}, err
	}
	return found(tables.ScanUser(s.read.QueryRowContext(ctx, "SELECT "+tables.UserCols+" FROM users u WHERE u.name = $1", name)))
}

func (s *Store) UserByID(ctx context.Context, uid chat.UID) (chat.User, error) {
	if err := s.reading(); err != nil {
		return chat.User{}, err
	}
	return found(tables.ScanUser(s.read.QueryRowContext(ctx, "SELECT "+tables.UserCols+" FROM users u WHERE u.uid = $1", int64(uid))))
}

// C2C answers the conversation of two users, making it if it is new; ErrNotFound if there is no such user.
func (s *Store) C2C(ctx context.Context, a, b chat.UID) (chat.Conv, error) {
	c, err := s.FindC2C(ctx, a, b)
	if !errors.Is(err, chat.ErrNotFound) {
		return c, err
	}
	err = s.update(ctx, func(t *tx) (err error) {
		id, err := findC2C(background, t.db, a, b)
		if err == nil {
			c, err = t.Conv(id)
			return err
		}
		if !errors.Is(err, chat.ErrNotFound) {
			return err
		}
		for _, uid := range []chat.UID{a, b} {
			if _, err := t.User(uid); err != nil {
				return err
			}
		}
		if c, err = t.NewConv(chat.Conv{Kind: chat.KindC2C, A: a, B: b}); err != nil {
			return err
		}
		if _, err = t.PutMember(chat.Member{Conv: c.ID, UID: c.A}); err != nil || c.A == c.B {
			return err
		}
		_, err = t.PutMember(chat.Member{Conv: c.ID, UID: c.B})
		return err
	})
	return c, err
}

// FindC2C answers the conversation of two users if there is one.
func (s *Store) FindC2C(ctx context.Context, a, b chat.UID) (chat.Conv, error) {
	if err := s.reading(); err != nil {
		return chat.Conv{}, err
	}
	id, err := findC2C(ctx, s.read, a, b)
	if err != nil {
		return chat.Conv{}, err
	}
	return s.Conv(ctx, id)
}

func findC2C(ctx context.Context, db querier, a, b chat.UID) (chat.ConvID, error) {
	var id int64
	err := db.QueryRowContext(ctx, "SELECT id FROM conv WHERE kind = 1 AND a = $1 AND b = $2", int64(min(a, b)), int64(max(a, b))).Scan(&id)
	return found(chat.ConvID(id), err)
}

// Conv answers from memory, where the ends are that are not in the row yet. A conversation that is not in memory is as its row.
func (s *Store) Conv(ctx context.Context, id chat.ConvID) (chat.Conv, error) {
	if err := s.reading(); err != nil {
		return chat.Conv{}, err
	}
	s.mu.RLock()
	h := s.heads[id]
	var c chat.Conv
	if h != nil {
		c = h.pub
	}
	s.mu.RUnlock()
	if c.ID != 0 {
		return c, nil
	}
	return found(tables.ScanConv(s.read.QueryRowContext(ctx, "SELECT "+tables.ConvCols+" FROM conv c WHERE c.id = $1", int64(id))))
}

func (s *Store) Group(ctx context.Context, group string) (chat.Conv, error) {
	if err := s.reading(); err != nil {
		return chat.Conv{}, err
	}
	var id int64
	err := s.read.QueryRowContext(ctx, "SELECT id FROM conv WHERE kind = 2 AND grp = $1 ORDER BY id DESC LIMIT 1", group).Scan(&id)
	if _, err := found(0, err); err != nil {
		return chat.Conv{}, err
	}
	return s.Conv(ctx, chat.ConvID(id))
}

func (s *Store) Members(ctx context.Context, id chat.ConvID) ([]chat.Member, error) {
	if err := s.reading(); err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, "SELECT "+tables.MemberCols+" FROM member m WHERE m.conv = $1 AND m.gone = 0 ORDER BY m.uid", int64(id))
	return all(rows, err, tables.ScanMember)
}

func (s *Store) Entries(ctx context.Context, id chat.ConvID, from, to uint64, newest bool, limit, maxBytes int) ([]chat.Stored, error) {
	if err := s.reading(); err != nil {
		return nil, err
	}
	order := "ASC"
	if newest {
		order = "DESC"
	}
	rows, err := s.read.QueryContext(ctx, "SELECT "+tables.EntryCols+" FROM entry e WHERE e.conv = $1 AND e.seq BETWEEN $2 AND $3 ORDER BY e.seq "+order+" LIMIT $4",
		int64(id), tables.Clamp(from), tables.Clamp(to), max(limit, 0))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []chat.Stored
	size := 0
	for rows.Next() {
		st, err := tables.ScanEntry(rows)
		if err != nil {
			return nil, err
		}
		if size += len(st.Body) + len(st.RevokeReason); size > maxBytes && len(out) > 0 {
			break
		}
		out = append(out, st)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if newest {
		slices.Reverse(out)
	}
	return out, nil
}

// changeSQL reads changes with their messages. A row's version is 0 if it was written by a program that did not know it.
const changeSQL = `SELECT x.rev, x.kind, x.seq, x.time, x.operator, x.reason, x.version, e.id IS NOT NULL,
		coalesce(e.conv, 0), coalesce(e.sender, 0), coalesce(e.client_time, 0), coalesce(e.random, 0), coalesce(e.hash, 0), coalesce(e.flags, 0),
		coalesce(e.seq, 0), coalesce(e.time, 0), coalesce(e.idx, 0), coalesce(e.own, 0), coalesce(e.status, 0), coalesce(e.version, 0),
		coalesce(e.revoker, 0), coalesce(e.reason, ''), CASE WHEN x.kind = 2 AND x.version IN (0, e.version) THEN e.body END
	FROM change x LEFT JOIN entry e ON e.conv = x.conv AND e.seq = x.seq
	`

// Changes takes one row after the other from the database, so no more is read than is answered, and one row.
func (s *Store) Changes(ctx context.Context, id chat.ConvID, from, to uint64, limit, maxBytes int) ([]chat.Change, error) {
	if err := s.reading(); err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, changeSQL+"WHERE x.conv = $1 AND x.rev BETWEEN $2 AND $3 ORDER BY x.rev LIMIT $4",
		int64(id), tables.Clamp(from), tables.Clamp(to), max(limit, 0))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []chat.Change
	size := 0
	for rows.Next() {
		c, err := tables.ScanChange(rows)
		if err != nil {
			return nil, err
		}
		size += len(c.Reason)
		if c.Target != nil {
			size += len(c.Target.Body) + len(c.Target.RevokeReason)
		}
		if size > maxBytes && len(out) > 0 {
			break
		}
		out = append(out, c)
	}
	return out, rows.Err()
}

func (s *Store) LastChange(ctx context.Context, id chat.ConvID, seq uint64, kind int32, by chat.UID, above uint64) (chat.Change, error) {
	if err := s.reading(); err != nil {
		return chat.Change{}, err
	}
	return found(tables.ScanChange(s.read.QueryRowContext(ctx, changeSQL+`WHERE x.conv = $1 AND x.rev > $2 AND x.seq = $3 AND x.kind = $4 AND x.operator = $5
		ORDER BY x.rev DESC LIMIT 1`, int64(id), tables.Clamp(above), tables.Clamp(seq), int64(kind), int64(by))))
}

func (s *Store) Lookup(ctx context.Context, k chat.SendKey) (chat.Stored, error) {
	if err := s.reading(); err != nil {
		return chat.Stored{}, err
	}
	return lookup(ctx, s.read, k)
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
		var time int64
		err := s.read.QueryRowContext(ctx, "SELECT time FROM entry WHERE conv = $1 AND seq >= $2 ORDER BY seq LIMIT 1", int64(id), int64(mid)).Scan(&time)
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

func (s *Store) Feed(ctx context.Context, uid chat.UID, from, to uint64, limit int) ([]chat.FeedEntry, error) {
	if err := s.reading(); err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, "SELECT seq, kind, time, body FROM feed WHERE uid = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq LIMIT $4",
		int64(uid), tables.Clamp(from), tables.Clamp(to), max(limit, 0))
	return all(rows, err, tables.ScanFeed)
}

func (s *Store) Sessions(ctx context.Context, uid chat.UID) ([]chat.Session, error) {
	if err := s.reading(); err != nil {
		return nil, err
	}
	return sessions(ctx, s.read, uid)
}

func sessions(ctx context.Context, db querier, uid chat.UID) ([]chat.Session, error) {
	rows, err := db.QueryContext(ctx, "SELECT "+tables.SessionCols+" FROM session WHERE uid = $1 ORDER BY device", int64(uid))
	return all(rows, err, tables.ScanSession)
}
