package chat

import (
	"context"
	"errors"
	"hash/crc64"
	"time"

	"github.com/tidings-im/tidings/im"
)

// A call that changes something is kept with its reply, in the transaction that makes it (docs/sync.md, rule 54). So one that is sent again after a reconnect has
// the reply of its first copy, and nothing else happens.

const (
	// keepDone is how long a call is kept, mostDone how many of an account.
	keepDone = time.Hour
	mostDone = 1000
)

// once are the calls that are kept. What a repeated one could not do again is not: messages have keys, and what is read, deleted, recalled or modified has
// numbers and versions.
var once = map[im.Method]bool{
	im.Method_SET_PROFILE: true, im.Method_ADD_FRIEND: true, im.Method_DELETE_FRIENDS: true, im.Method_UPDATE_FRIEND: true,
	im.Method_ANSWER_REQUEST: true, im.Method_DELETE_REQUESTS: true, im.Method_READ_REQUESTS: true,
	im.Method_BLOCK: true, im.Method_UNBLOCK: true, im.Method_FRIEND_GROUPS: true,
	im.Method_CREATE_GROUP: true, im.Method_DISSOLVE_GROUP: true, im.Method_JOIN_GROUP: true, im.Method_QUIT_GROUP: true,
	im.Method_INVITE: true, im.Method_KICK_MEMBERS: true, im.Method_MODIFY_GROUP: true, im.Method_MODIFY_MEMBER: true,
	im.Method_SET_ATTRIBUTES: true, im.Method_HANDLE_GROUP_REQUEST: true, im.Method_READ_GROUP_REQUESTS: true,
}

func hashOf(f *im.Frame) uint64 {
	return crc64.Update(uint64(f.Method), hashTable, f.Body)
}

// makeOnce makes a call that is kept. Its first copy may still be under way on a connection that the client has given up: whichever copy commits first is the
// call, and the other one finds it. Of copies that were sent again, a refusal is kept as well: the client has it, so no other copy may be made.
func (c *Chat) makeOnce(ctx context.Context, s *Caller, f *im.Frame, req im.Request) error {
	for {
		if f.Resent {
			if made, err := c.replyAgain(ctx, s, f, nil); made || err != nil {
				return err
			}
		}
		err := handlers[f.Method](c, ctx, s, f, req)
		if errors.Is(err, ErrDone) {
			f = &im.Frame{Id: f.Id, Method: f.Method, Body: f.Body, Resent: true}
			continue
		}
		if err == nil || !f.Resent {
			return err
		}
		switch made, failed := c.replyAgain(ctx, s, f, refusalOf(err)); {
		case made:
			return nil
		case failed != nil: // the refusal is not to be had when it is not kept
			return failed
		}
		return err
	}
}

// refusalOf returns the refusal of a call, nil if err is none: if the server failed, or the session ended before the call was made.
func refusalOf(err error) *im.Error {
	var e *im.Error
	if errors.As(err, &e) && e != errGoing && e != errStopped && e != errAnotherCall {
		return e
	}
	return nil
}

// replyAgain answers a call that is done, or was refused, with its reply, and reports whether it is. If it is not, it keeps that it is refused, unless refused is nil.
func (c *Chat) replyAgain(ctx context.Context, s *Caller, f *im.Frame, refused *im.Error) (made bool, err error) {
	err = c.store.Update(ctx, []Key{{UID: s.UID}}, func(tx Tx) error {
		made = false // fn may run again
		m := mark{uid: s.UID, run: s.Run, id: f.Id, hash: hashOf(f), resent: true}
		was, err := m.kept(tx, 0)
		if err != nil {
			return err
		}
		if was == nil {
			if refused == nil {
				return nil
			}
			return m.keep(tx, 0, &im.Frame{Code: refused.Code, Desc: im.Shorten(refused.Desc, im.MaxDesc)})
		}
		made = true
		tx.AfterCommit(func() {
			if was.Code != 0 {
				s.Reply(f.Id, f.Method, nil, im.Errorf(was.Code, "%s", was.Desc))
				return
			}
			s.Reply(f.Id, f.Method, encoded[im.Body](was.Body), nil)
		})
		return nil
	})
	return made && err == nil, err
}

var errAnotherCall = im.Errorf(im.CodeInvalidParameters, "the id was that of another call of the run")

// answer is the end of a call in its transaction: it keeps the call, if it is to be kept, and returns what answers it after the commit.
type answer func(tx Tx, kept bool) (reply func(), err error)

// with answers the call with what r points to at its end.
func (c Call[R]) with(r R) answer {
	return func(tx Tx, kept bool) (reply func(), err error) {
		if kept {
			err = c.mark().keep(tx, 0, &im.Frame{Body: wire(r)})
		}
		return func() { c.Reply(r) }, err
	}
}

// mark is what identifies a call. That of a call that is not kept has no run.
type mark struct {
	uid           UID
	run, id, hash uint64
	resent        bool
}

func (c *Call[R]) mark() mark {
	return mark{uid: c.Caller.UID, run: c.Caller.Run, id: c.id, hash: c.hash, resent: c.Resent}
}

// keep stores that a part of the call is done, with its reply.
func (m mark) keep(tx Tx, part uint64, reply *im.Frame) error {
	if m.run == 0 {
		return nil
	}
	d := Done{UID: m.uid, Run: m.run, Call: m.id, Part: part, Hash: m.hash, Reply: im.AppendFrame(nil, reply)}
	return tx.PutDone(d, tx.Now()-keepDone.Milliseconds(), mostDone)
}

// kept returns the reply of a part of the call that its first copy has done, nil if there is none.
func (m mark) kept(tx Tx, part uint64) (reply *im.Frame, err error) {
	if m.run == 0 || !m.resent {
		return nil, nil
	}
	d, err := tx.Done(m.uid, m.run, m.id, part)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case d.Hash != m.hash:
		return nil, errAnotherCall
	}
	err = im.ReadFrames(d.Reply, func(f *im.Frame) error {
		reply = &im.Frame{Code: f.Code, Desc: f.Desc, Body: f.Body}
		return nil
	})
	if err == nil && reply == nil {
		err = im.ErrFrame
	}
	return reply, err
}

// results returns those of a part of the call that its first copy has done, nil if there are none.
func (m mark) results(tx Tx, part uint64) ([]*im.FriendResult, error) {
	was, err := m.kept(tx, part)
	if was == nil {
		return nil, err
	}
	var r im.FriendResults
	err = im.Decode(was.Body, &r)
	return r.Results, err
}

// end is done for a call that is kept.
func (f *feeding) end(a answer) error {
	reply, err := a(f.tx, true)
	if err != nil {
		return err
	}
	return f.done(reply)
}
