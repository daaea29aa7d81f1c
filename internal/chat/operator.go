package chat

import (
	"context"
	"errors"
	"time"

	"github.com/tidings-im/tidings/im"
)

// What an operator may do: a program of the app's owner that acts for any user. The carrier has checked who it is.

// void returns the error for a ticket that was signed before an operator kicked the account; nil if it was not.
func void(u User, t Ticket) error {
	if u.ValidFrom > 0 && t.Issued.Unix() < u.ValidFrom {
		return im.Errorf(im.CodeTicketVoid, "the ticket was signed before the account was kicked")
	}
	return nil
}

// kickSlack is how far ahead of the wall clock the time of a kick may be: the clocks of several servers differ.
const kickSlack = 60

// kickedAhead reports that an account was kicked while the wall clock was ahead, so that nothing signed since would be good until that time comes.
// The ticket distinguishes that from a wall clock that is behind: its issuer's clock agrees with this one. A kick that is mended in this way counts
// as made when that was noticed.
func (c *Chat) kickedAhead(u User, t Ticket) bool {
	now := c.cfg.Clock().Unix()
	return u.ValidFrom > now+kickSlack && t.Issued.Unix() <= now+kickSlack
}

// mendKick writes an account whose kick lies ahead.
func (c *Chat) mendKick(tx Tx, u *User) error {
	c.log.Warn("the account was kicked while the clock was ahead; tickets that are signed from here on are good", "user", u.Name, "kicked", time.Unix(u.ValidFrom, 0).UTC())
	u.ValidFrom = c.cfg.Clock().Unix()
	return tx.PutUser(*u)
}

// CheckTicket checks the ticket of a user who does not log in.
func (c *Chat) CheckTicket(ctx context.Context, name, ticket string) error {
	t, err := c.cfg.Verify(name, ticket)
	if err != nil {
		return err
	}
	u, err := c.store.UserByName(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return nil // the user need not have logged in
	}
	if err == nil && c.kickedAhead(u, t) {
		err = c.store.Update(ctx, []Key{{UID: u.UID}}, func(tx Tx) (err error) {
			if u, err = tx.User(u.UID); err != nil || !c.kickedAhead(u, t) {
				return err
			}
			return c.mendKick(tx, &u)
		})
	}
	if err != nil {
		return err
	}
	return void(u, t)
}

// Import creates an account, or finds an existing one.
func (c *Chat) Import(ctx context.Context, name string) error {
	if !im.ValidUserID(name) {
		return errUserID
	}
	_, err := c.Account(ctx, name)
	return err
}

// Exists reports whether there is an account.
func (c *Chat) Exists(ctx context.Context, name string) (bool, error) {
	_, err := c.person(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Kick ends all sessions of an account and makes every ticket void that was signed before. Tickets count in whole seconds, so it returns when the
// present second is over: what is signed after it returns is good. ErrNotFound if there is no such account.
func (c *Chat) Kick(ctx context.Context, name, why string) error {
	p, err := c.person(ctx, name)
	if err != nil {
		return err
	}
	var before uint64
	var from int64
	err = c.store.Update(ctx, []Key{{UID: p.uid}}, func(tx Tx) error {
		u, err := tx.User(p.uid)
		if err != nil {
			return err
		}
		before = c.sessions.Add(1)
		// Tickets are signed by wall clocks, and the store's time may be ahead of them.
		u.ValidFrom = max(u.ValidFrom, c.cfg.Clock().Unix()+1)
		from = u.ValidFrom
		if err := tx.PutUser(u); err != nil {
			return err
		}
		rows, err := tx.Sessions(p.uid)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if r.LoggedIn {
				r.LoggedIn, r.Owed, r.At = false, true, tx.Now()
				if err := tx.PutSession(r); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.carrier.Kick(p.uid, before, why)
	over := time.NewTimer(min(time.Unix(from, 0).Sub(c.cfg.Clock()), 2*time.Second))
	defer over.Stop()
	select {
	case <-over.C:
	case <-ctx.Done(): // it is done anyway
	}
	return nil
}

// Via describes how an operator's call arrived.
type Via struct {
	// Addr is the operator's IP address.
	Addr string
	// Admin is the operator's account.
	Admin string
	// Quiet keeps a message from the sender's own devices. Mutes is that of Caller.
	Quiet, Mutes bool
	// Key makes a repeated call the same message.
	Key *CallKey
}

// CallKey is what an operator drew for a message, besides its random number.
type CallKey struct {
	Seq uint64
	// Hash distinguishes messages by receiver and content. It is the same on all servers.
	Hash uint64
}

const (
	// SentFor is how long the same key is the same message, at least; forgetAfter is when it is forgotten.
	SentFor     = 5 * time.Minute
	forgetAfter = 2 * SentFor
)

// claim gives a message the client time that its key stands for, and reports whether the key has been used before, by a call to any server. If two
// calls have the same key, the log decides which one stores it. A key that release has given back keeps its client time, as another call may have
// stored the message in the meantime; it may name another message.
func (c *Chat) claim(ctx context.Context, sender UID, key *CallKey, req *im.SendRequest) (was Sent, again bool, err error) {
	err = c.store.Update(ctx, []Key{{UID: sender}}, func(tx Tx) error {
		again = false // fn may run again
		if _, err := tx.User(sender); err != nil {
			return err
		}
		was, err = tx.Sent(sender, req.Random, key.Seq)
		switch {
		case err == nil && was.Hash == released && tx.Now()-was.At < forgetAfter.Milliseconds():
			again = !req.Message.GetIsOnlineMsg() // which is in no log
			was.Hash, was.At = key.Hash, tx.Now()
			return tx.PutSent(was, tx.Now()-forgetAfter.Milliseconds())
		case err == nil && tx.Now()-was.At < SentFor.Milliseconds():
			again = true
			if was.Hash != key.Hash {
				return im.Errorf(im.CodeInvalidParameters, "MsgSeq and MsgRandom were used for another message")
			}
			return nil
		case err != nil && !errors.Is(err, ErrNotFound):
			return err
		}
		last, err := tx.LastSent(sender, req.Random)
		if err != nil {
			return err
		}
		was = Sent{Sender: sender, Random: req.Random, Seq: key.Seq, ClientTime: max(uint64(tx.Now()/1000), last+1), Hash: key.Hash, At: tx.Now()}
		return tx.PutSent(was, tx.Now()-forgetAfter.Milliseconds())
	})
	req.ClientTime = was.ClientTime
	return was, again, err
}

// released is the hash of a key that stands for no message.
const released = 0

// release gives back the key of a call that was refused: the call may be repeated in another form.
func (c *Chat) release(ctx context.Context, sender UID, random uint32, seq uint64) error {
	return c.store.Update(ctx, []Key{{UID: sender}}, func(tx Tx) error {
		was, err := tx.Sent(sender, random, seq)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		was.Hash = released
		return tx.PutSent(was, tx.Now()-forgetAfter.Milliseconds())
	})
}

// groupSeqs is above what operators draw for messages to persons: the Seq of a key of a message to a group says which group it is.
const groupSeqs = 1 << 62

// SendToGroupAs sends a message to a group for a user. The same random number with the same hash is the same message for SentFor.
func (c *Chat) SendToGroupAs(ctx context.Context, from string, via Via, req *im.SendRequest, hash uint64) (*im.SendReply, error) {
	g, err := c.groupOf(ctx, req.Conv.GetId(), 0)
	if err != nil {
		return nil, err
	}
	via.Key = &CallKey{Seq: groupSeqs + uint64(g.id), Hash: hash}
	return c.SendAs(ctx, from, via, req)
}

// SendAs sends a message for a user; it returns when the message is stored.
func (c *Chat) SendAs(ctx context.Context, from string, via Via, req *im.SendRequest) (*im.SendReply, error) {
	p, err := c.person(ctx, from)
	if errors.Is(err, ErrNotFound) {
		err = im.Errorf(im.CodeUnknownReceiver, "there is no user %q", from)
	}
	if err != nil {
		return nil, err
	}
	again := false
	if via.Key != nil {
		var was Sent
		if was, again, err = c.claim(ctx, p.uid, via.Key, req); err != nil {
			return nil, err
		}
		if again && req.Message.GetIsOnlineMsg() { // delivered at most once: nobody can look up whether it was
			return &im.SendReply{Entry: &im.Entry{Time: was.At, SenderTinyId: uint64(p.uid), ClientTime: was.ClientTime, Random: was.Random}}, nil
		}
	}
	reply, err := c.sendAs(ctx, p, via, req, again)
	if via.Key != nil && im.CodeOf(err) != 0 {
		if err := c.release(ctx, p.uid, req.Random, via.Key.Seq); err != nil {
			c.log.Warn("the key of a refused call is not given back", "err", err)
		}
	}
	return reply, err
}

func (c *Chat) sendAs(ctx context.Context, p person, via Via, req *im.SendRequest, again bool) (*im.SendReply, error) {
	type answer struct {
		reply *im.SendReply
		err   error
	}
	answered := make(chan answer, 1)
	s := &Caller{UID: p.uid, Name: p.name, Platform: im.Platform_PLATFORM_OTHER, Addr: via.Addr, Operator: true, Admin: via.Admin, Quiet: via.Quiet, Mutes: via.Mutes}
	s.Reply = func(_ uint64, _ im.Method, body im.Body, err error) {
		a := answer{err: err}
		if err == nil {
			a.reply = &im.SendReply{}
			a.err = a.reply.UnmarshalVT(wire(body))
		}
		answered <- a
	}
	if err := c.Send(ctx, Call[*im.SendReply]{Caller: s, Resent: again, method: im.Method_SEND}, wire(req)); err != nil {
		return nil, err
	}
	a := <-answered // the store or the hook responds within its time
	return a.reply, a.err
}

// MessageKey identifies a message for an operator.
type MessageKey struct {
	From, To string
	// Seq is the message's number; or its client time, as in the question to a before-hook, when it had no number yet.
	Seq    uint64
	Random uint32
	// Time is the server's, in seconds; 0 is any.
	Time int64
}

// locate finds a message, and the people of its conversation.
func (c *Chat) locate(ctx context.Context, k *MessageKey) (cv Conv, w circle, seq uint64, err error) {
	missing := im.Errorf(im.CodeNoSuchMessage, "there is no such message from %q to %q", k.From, k.To)
	fail := func(err error) (Conv, circle, uint64, error) {
		if errors.Is(err, ErrNotFound) {
			err = missing
		}
		return cv, w, 0, err
	}
	from, err := c.person(ctx, k.From)
	if err != nil {
		return fail(err)
	}
	to, err := c.person(ctx, k.To)
	if err != nil {
		return fail(err)
	}
	p := pairOf(from.uid, to.uid)
	if cv, err = c.store.FindC2C(ctx, p.a, p.b); err != nil {
		return fail(err)
	}
	w = circleOf(cv.ID, from, to)
	if k.Seq != 0 && k.Seq <= cv.Seq {
		found, err := c.store.Entries(ctx, cv.ID, k.Seq, k.Seq, false, 1, maxBytes)
		if err != nil {
			return fail(err)
		}
		for _, st := range found {
			if st.Sender == from.uid && st.Random == k.Random && (k.Time == 0 || k.Time == st.Time/1000) {
				return cv, w, st.Seq, nil
			}
		}
	}
	st, err := c.store.Lookup(ctx, SendKey{Conv: cv.ID, Sender: from.uid, ClientTime: k.Seq, Random: k.Random})
	if err != nil {
		return fail(err)
	}
	return cv, w, st.Seq, nil
}

// RevokeAs recalls a message, however old and whoever sent it.
func (c *Chat) RevokeAs(ctx context.Context, operator string, k *MessageKey) error {
	by, err := c.Account(ctx, operator)
	if err != nil {
		return err
	}
	cv, circle, seq, err := c.locate(ctx, k)
	if err != nil {
		return err
	}
	return c.revoke(ctx, &revocation{cv: cv, seq: seq, circle: circle, by: person{by.UID, by.Name}, operator: true}, func(*im.Change) {})
}

// Edit is what an operator's or a hook's change of a message replaces; nil fields stay.
type Edit struct {
	Elems []*im.Elem
	Cloud *string
}

func (e *Edit) wire() (elems, cloud []byte) {
	if e.Elems != nil {
		elems = im.Sendable(wire(&im.Message{ElemArray: e.Elems}), true)
	}
	if e.Cloud != nil {
		cloud = wire(&im.Message{CloudCustomStr: *e.Cloud})
	}
	return elems, cloud
}

// ModifyAs replaces the content of a message, whatever its version.
func (c *Chat) ModifyAs(ctx context.Context, operator string, k *MessageKey, e Edit) error {
	by, err := c.Account(ctx, operator)
	if err != nil {
		return err
	}
	cv, circle, seq, err := c.locate(ctx, k)
	if err != nil {
		return err
	}
	m := modification{cv: cv, seq: seq, circle: circle, by: person{by.UID, by.Name}, keepCloud: e.Cloud == nil, operator: true}
	m.elems, m.cloud = e.wire()
	return c.modify(ctx, &m, func(*im.ModifyReply) {})
}
