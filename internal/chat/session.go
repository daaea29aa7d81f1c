package chat

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tidings-im/tidings/im"
)

// Login is the outcome of a login that was not refused.
type Login struct {
	Caller *Caller
	Reply  *im.LoginReply
	// Over means that another login has ended the session to be resumed: Reply is nil, and the Caller may only acknowledge.
	Over bool
}

// CheckLogin checks the fields of a login. Nothing is done with them before, not even logging.
func CheckLogin(req *im.LoginRequest) error {
	if !im.ValidUserID(req.UserId) {
		return errUserID
	}
	if req.DeviceId == "" {
		return im.Errorf(im.CodeInvalidParameters, "device_id is empty")
	}
	if strings.ContainsFunc(req.DeviceId, unicode.IsControl) {
		return im.Errorf(im.CodeInvalidParameters, "device_id has control characters")
	}
	return req.Check()
}

// Authenticate checks a login's app and its ticket, which needs no store.
func (c *Chat) Authenticate(req *im.LoginRequest) (Ticket, error) {
	if c.cfg.AppID != 0 && req.AppId != 0 && req.AppId != c.cfg.AppID {
		return Ticket{}, im.Errorf(im.CodeTicketOtherApp, "the client is of app %d, and this server of another one", req.AppId)
	}
	return c.cfg.Verify(req.UserId, req.UserSig)
}

var errUserID = im.Errorf(im.CodeInvalidUserID, "a user id is 1 to 32 bytes of printable ASCII without blanks")

// Account returns the account with a name, which the first login creates.
func (c *Chat) Account(ctx context.Context, name string) (User, error) {
	u, err := c.store.CreateUser(ctx, name)
	if err == nil {
		c.know(u)
	}
	return u, err
}

// mostRaised is how far a resume may raise the generation of its account. Nobody has logged in so often; and what is counted on from there stays far
// below what a resume may name, and what can be counted.
const mostRaised = 1 << 32

// Login makes or resumes the session of a device whose ticket Authenticate has checked. The carrier holds a lock of the account around this and
// around registering the connection, so that of two logins each sees the other's outcome. It ends the other sessions of the class by its own list:
// rows are only about devices that are away.
func (c *Chat) Login(ctx context.Context, uid UID, req *im.LoginRequest, ticket Ticket) (Login, error) {
	var out Login
	var user User
	var refused error
	err := c.store.Update(ctx, []Key{{UID: uid}}, func(tx Tx) (err error) {
		out, refused = Login{}, nil // fn may run again
		if user, err = tx.User(uid); err != nil {
			return err
		}
		if c.kickedAhead(user, ticket) {
			if err := c.mendKick(tx, &user); err != nil {
				return err
			}
		}
		rows, err := tx.Sessions(uid)
		if err != nil {
			return err
		}
		mine := Session{UID: uid, Device: req.DeviceId}
		if i := slices.IndexFunc(rows, func(r Session) bool { return r.Device == req.DeviceId }); i >= 0 {
			mine = rows[i]
		}
		if rows, err = forget(tx, uid, mine, rows); err != nil {
			return err
		}
		platform := known(req.Platform)
		if req.Resume && mine.Generation > 0 {
			platform = known(im.Platform(mine.Platform)) // of the session that continues, whatever this request contains
		}
		class := c.Class(platform)
		others := rows[:0:0]
		for _, r := range rows {
			if r.Device != req.DeviceId && r.LoggedIn && r.Class == class && class != ClassAny {
				others = append(others, r)
			}
		}
		out.Caller = &Caller{
			UID: uid, Name: user.Name, Device: req.DeviceId, Platform: platform, Expires: ticket.Expires,
			Generation: mine.Generation, Feed: user.Feed, ID: SessionID{c.server, c.sessions.Add(1)}, Groups: req.Groups, Run: req.Run,
		}
		switch {
		case req.Resume && mine.Generation >= req.Generation:
			if mine.Generation > req.Generation || !mine.LoggedIn || mine.Owed {
				// It may acknowledge the session that it names, not a newer one of the device.
				out.Over, out.Caller.Generation = true, req.Generation
				return nil
			}
			if refused = void(user, ticket); refused != nil {
				return nil
			}
			if mine.Class == class {
				if mine.At > tx.Now()-touchRow {
					return nil // the session continues
				}
				return putLogin(tx, mine, class, platform)
			}
			// The operator has put its platform into another class.
			if err := endLogins(tx, others); err != nil {
				return err
			}
			return putLogin(tx, mine, class, platform)
		case req.Resume && (len(others) > 0 || req.Generation > mostRaised):
			// This store has lost the session (it was replaced or restored), and another device has logged in to it since; or no store has assigned
			// this number.
			out.Over = true
			return nil
		case void(user, ticket) != nil:
			refused = void(user, ticket)
			return nil
		case req.Resume:
			// Lost as well, but nobody else logged in: a new login that need not kick. Its generation is above all that the device has seen.
			user.Generation = max(user.Generation, req.Generation)
		case mine.Owed && (req.KickedGeneration == 0 || req.KickedGeneration != mine.Generation):
			refused = im.Errorf(im.CodeKickedWhileAway, "another device logged in while this one was away")
			mine.Owed, mine.At = false, tx.Now()
			return tx.PutSession(mine)
		}
		user.Generation = next(user.Generation)
		if err := tx.PutUser(user); err != nil {
			return err
		}
		if err := endLogins(tx, others); err != nil {
			return err
		}
		mine.Generation = user.Generation
		out.Caller.Generation = mine.Generation
		return putLogin(tx, mine, class, platform)
	})
	if err == nil {
		err = refused
	}
	if err != nil || out.Over {
		return out, err
	}
	out.Reply = &im.LoginReply{
		TinyId: uint64(uid), Generation: out.Caller.Generation, StoreId: c.store.ID(), ServerTime: c.cfg.Clock().UnixMilli(), Feed: user.Feed,
		TicketExpires: unixMilli(ticket.Expires), HeartbeatSeconds: c.cfg.Heartbeat,
		MediaToken: c.mediaToken(readMedia, uid, out.Caller.Generation), UploadToken: c.mediaToken(uploadMedia, uid, out.Caller.Generation),
	}
	return out, nil
}

// next counts a login. A number that logins alone cannot have led to is reset to one from which counting can continue.
func next(generation uint64) uint64 {
	if generation > 1<<47 {
		generation = mostRaised
	}
	return generation + 1
}

// unixMilli returns t in milliseconds since 1970, limited to what fits.
func unixMilli(t time.Time) int64 {
	if t.Unix() > math.MaxInt64/1000-1 {
		return math.MaxInt64
	}
	return t.UnixMilli()
}

const (
	// mostRows is how many devices of a user are remembered. It limits what is read and written at a login.
	mostRows = 100
	// mostDropped is how many a login forgets at once, if an older version has left more.
	mostDropped = 500
	// A device that is logged out and owed nothing is forgotten after keepRow, one that has not been notified of a kick after keepDebt; milliseconds.
	keepRow, keepDebt = 7 * 24 * 3600_000, 90 * 24 * 3600_000
	// touchRow is how old a row may be before a resume updates its time.
	touchRow = 24 * 3600_000
)

// forget removes the rows of devices that need not, or cannot, be remembered when mine logs in, and returns the others. If there are too many, those
// that are logged out and owed nothing go first, then debts, then logins, each the oldest first. A device that has been forgotten and resumes is
// notified that it was kicked if another one of its class is logged in, and otherwise continues.
func forget(tx Tx, uid UID, mine Session, rows []Session) ([]Session, error) {
	worth := func(r *Session) int {
		switch {
		case r.Device == mine.Device:
			return 3
		case r.LoggedIn:
			return 2
		case r.Owed:
			return 1
		}
		return 0
	}
	now := tx.Now()
	kept := slices.DeleteFunc(slices.Clone(rows), func(r Session) bool {
		w, age := worth(&r), now-r.At
		return w == 0 && age > keepRow || w == 1 && age > keepDebt
	})
	slices.SortFunc(kept, func(a, b Session) int { return cmp.Or(cmp.Compare(worth(&b), worth(&a)), cmp.Compare(b.At, a.At)) })
	most := mostRows
	if mine.Generation == 0 {
		most-- // a row is added
	}
	kept = kept[:min(len(kept), most)]
	if len(kept) == len(rows) {
		return rows, nil
	}
	var drop []string
	for _, r := range rows {
		if len(drop) < mostDropped && !slices.ContainsFunc(kept, func(k Session) bool { return k.Device == r.Device }) {
			drop = append(drop, r.Device)
		}
	}
	return kept, tx.DropSessions(uid, drop)
}

// endLogins records that another login has ended sessions, and that their devices must be notified.
func endLogins(tx Tx, rows []Session) error {
	for _, r := range rows {
		r.LoggedIn, r.Owed, r.At = false, true, tx.Now()
		if err := tx.PutSession(r); err != nil {
			return err
		}
	}
	return nil
}

func putLogin(tx Tx, mine Session, class int32, platform im.Platform) error {
	mine.Class, mine.Platform = class, int32(platform)
	mine.LoggedIn, mine.Owed, mine.At = true, false, tx.Now()
	return tx.PutSession(mine)
}

// Logout ends the caller's session; nothing is owed.
func (c *Chat) Logout(ctx context.Context, s *Caller) error {
	err := c.settle(ctx, s)
	if err == nil {
		c.LeaveRooms(s)
	}
	return err
}

// KickedAck pays the debt of the caller's session: its application has been notified.
func (c *Chat) KickedAck(ctx context.Context, s *Caller) error {
	return c.settle(ctx, s)
}

// settle records that the session of the caller's generation has ended and owes nothing. A newer session of the device is not touched.
func (c *Chat) settle(ctx context.Context, s *Caller) error {
	return c.store.Update(ctx, []Key{{UID: s.UID}}, func(tx Tx) error {
		rows, err := tx.Sessions(s.UID)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if r.Device == s.Device && r.Generation == s.Generation {
				r.LoggedIn, r.Owed, r.At = false, false, tx.Now()
				return tx.PutSession(r)
			}
		}
		return nil
	})
}
