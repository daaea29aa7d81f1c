package chat

import (
	"context"

	"github.com/tidings-im/tidings/im"
)

// Block puts users on the caller's blacklist. It ends friendships on both sides; the users are not told that they were blocked.
func (c *Chat) Block(ctx context.Context, call Call[*im.FriendResults], req *im.UsersRequest) error {
	if err := checkUsers(req.UserIds, maxBlocked); err != nil {
		return err
	}
	return c.each(ctx, call.Caller, call.mark(), req.UserIds, func(f *feeding, me, other person) (*im.FriendResult, error) {
		return f.block(me, other)
	}, friendResults(call))
}

func (f *feeding) block(me, other person) (*im.FriendResult, error) {
	have, err := f.state(me.uid, relBlocked, int64(other.uid))
	if err != nil {
		return nil, err
	}
	if have != nil {
		return resultOf(other.name, im.CodeFriendParameters, "Already_Exist"), nil
	}
	n, err := f.tx.CountRelations(me.uid, relBlocked)
	if err != nil {
		return nil, err
	}
	if n >= maxBlocked {
		return resultOf(other.name, im.CodeTooManyBlocked, "the blacklist is full"), nil
	}
	if err := f.put(me.uid, relBlocked, other, &im.RelationState{Time: f.tx.Now()}); err != nil {
		return nil, err
	}
	f.blocked(me, other)
	f.related(me.uid, other.uid)
	if !f.c.cfg.BlockKeepsFriend {
		for _, x := range [][2]person{{me, other}, {other, me}} {
			if _, err := f.unfriend(x[0], x[1], false); err != nil {
				return nil, err
			}
		}
	}
	asked, err := f.state(me.uid, relRequestIn, int64(other.uid))
	if err != nil {
		return nil, err
	}
	if asked != nil { // the other keeps theirs: they are not told
		if err := f.drop(me.uid, relRequestIn, other, false); err != nil {
			return nil, err
		}
	}
	return resultOf(other.name, 0, ""), nil
}

// Unblock takes users off the caller's blacklist. It restores neither friendships nor messages.
func (c *Chat) Unblock(ctx context.Context, call Call[*im.FriendResults], req *im.UsersRequest) error {
	if err := checkUsers(req.UserIds, maxBlocked); err != nil {
		return err
	}
	return c.each(ctx, call.Caller, call.mark(), req.UserIds, func(f *feeding, me, other person) (*im.FriendResult, error) {
		have, err := f.state(me.uid, relBlocked, int64(other.uid))
		if err != nil {
			return nil, err
		}
		if have != nil {
			if err := f.drop(me.uid, relBlocked, other, false); err != nil {
				return nil, err
			}
			f.unblocked(me, other)
			f.related(me.uid, other.uid)
		}
		return resultOf(other.name, 0, ""), nil
	}, friendResults(call))
}
