package chat

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/im"
)

// Relations and profiles as operators change and read them. A change goes the way of the user's own call, so the user's devices and everybody else are
// notified as if the user had made it.

// Operator is who makes a call of an operator, and from which address.
type Operator struct{ Name, Addr string }

// callAs makes a call as a user and waits for the reply. ErrNotFound: there is no such user.
func callAs[Q im.Request, R im.Body](ctx context.Context, c *Chat, op Operator, user string, do func(*Chat, context.Context, Call[R], Q) error, req Q, force bool) (R, error) {
	var none R
	p, err := c.person(ctx, user)
	if err != nil {
		return none, err
	}
	if err := req.Check(); err != nil {
		return none, err
	}
	s := op.as(p)
	s.Force = force
	return await(ctx, c, s, do, req)
}

// as is the caller of a call that an operator makes as an account.
func (op Operator) as(p person) *Caller {
	return &Caller{UID: p.uid, Name: p.name, Platform: im.Platform_PLATFORM_OTHER, Addr: op.Addr, Operator: true, Admin: op.Name}
}

// await makes a call and waits for the reply.
func await[Q any, R im.Body](ctx context.Context, c *Chat, s *Caller, do func(*Chat, context.Context, Call[R], Q) error, req Q) (R, error) {
	type answer struct {
		reply R
		err   error
	}
	var none R
	answered := make(chan answer, 1)
	s.Reply = func(_ uint64, _ im.Method, body im.Body, err error) {
		reply, ok := body.(R)
		if err == nil && !ok {
			err = fmt.Errorf("chat: the reply is a %T", body)
		}
		answered <- answer{reply, err}
	}
	if err := do(c, ctx, Call[R]{Caller: s}, req); err != nil {
		return none, err
	}
	a := <-answered // after the commit
	return a.reply, a.err
}

// SetProfileAs changes a user's profile. ErrNotFound: there is no such user; so for all that follow.
func (c *Chat) SetProfileAs(ctx context.Context, op Operator, user string, item *im.UserProfileItem) error {
	_, err := callAs(ctx, c, op, user, (*Chat).SetProfile, &im.SetProfileRequest{Item: item}, false)
	return err
}

// ProfileOf returns a user's present profile.
func (c *Chat) ProfileOf(ctx context.Context, user string) (*im.UserProfile, error) {
	p, err := c.person(ctx, user)
	if err != nil {
		return nil, err
	}
	stored, err := c.store.Profile(ctx, p.uid)
	if err != nil {
		return nil, err
	}
	return c.profileOf(p.name, stored), nil
}

// AddFriendAs adds a friend to a user's list; with force, whether or not the other consents.
func (c *Chat) AddFriendAs(ctx context.Context, op Operator, user string, req *im.AddFriendRequest, force bool) (*im.FriendResult, error) {
	r, err := callAs(ctx, c, op, user, (*Chat).AddFriend, req, force)
	if err != nil {
		return nil, err
	}
	return resultOf(r.Identifier, r.Code, r.Desc), nil
}

// UpdateFriendAs changes what a user has noted about a friend. Friend groups that do not exist are created.
func (c *Chat) UpdateFriendAs(ctx context.Context, op Operator, user string, req *im.UpdateFriendRequest) error {
	_, err := callAs(ctx, c, op, user, (*Chat).UpdateFriend, req, false)
	return err
}

// DeleteFriendsAs takes friends off a user's list, BlockAs and UnblockAs change a user's blacklist.
func (c *Chat) DeleteFriendsAs(ctx context.Context, op Operator, user string, req *im.UsersRequest) (*im.FriendResults, error) {
	return callAs(ctx, c, op, user, (*Chat).DeleteFriends, req, false)
}

func (c *Chat) BlockAs(ctx context.Context, op Operator, user string, req *im.UsersRequest) (*im.FriendResults, error) {
	return callAs(ctx, c, op, user, (*Chat).Block, req, false)
}

func (c *Chat) UnblockAs(ctx context.Context, op Operator, user string, req *im.UsersRequest) (*im.FriendResults, error) {
	return callAs(ctx, c, op, user, (*Chat).Unblock, req, false)
}

// RelationPage is a part of a user's list of friends, or of the blacklist.
type RelationPage struct {
	Items []RelationItem
	// Feed is the number of the user's last change, as it was before the page was read.
	Feed uint64
	// Next is where the next page begins; 0 at the end.
	Next uint64
	// Total is how many there are in the whole list.
	Total int
}

// RelationItem is what a user has with another one.
type RelationItem struct {
	User  string
	State *im.RelationState
	// Groups are the names of the friend groups.
	Groups []string
	// Profile is the other's; only in a list of friends.
	Profile *im.UserProfile
}

// FriendsOf returns a page of a user's list of friends, in the order in which they came. after is 0, or Next of the page before. A friend who is in the list
// all the time is on exactly one page, whatever else changes.
func (c *Chat) FriendsOf(ctx context.Context, user string, after uint64, limit int) (*RelationPage, error) {
	page, p, err := c.relationsOf(ctx, user, relFriend, after, limit)
	if err != nil {
		return nil, err
	}
	groups, err := c.store.Relations(ctx, p.uid, relGroup, 0, maxFriendGroups)
	if err != nil {
		return nil, err
	}
	names := make(map[uint64]string, len(groups))
	for i := range groups {
		names[uint64(groups[i].Other)] = c.stateOf(&groups[i]).Name
	}
	for i := range page.Items {
		item := &page.Items[i]
		for _, number := range item.State.Groups {
			if name, ok := names[number]; ok {
				item.Groups = append(item.Groups, name)
			}
		}
		if item.Profile, err = c.ProfileOf(ctx, item.User); err != nil {
			return nil, err
		}
	}
	return page, nil
}

// BlockedOf returns a page of a user's blacklist, as FriendsOf does.
func (c *Chat) BlockedOf(ctx context.Context, user string, after uint64, limit int) (*RelationPage, error) {
	page, _, err := c.relationsOf(ctx, user, relBlocked, after, limit)
	return page, err
}

func (c *Chat) relationsOf(ctx context.Context, user string, kind im.RelationKind, after uint64, limit int) (*RelationPage, person, error) {
	p, err := c.person(ctx, user)
	if err != nil {
		return nil, p, err
	}
	u, err := c.store.UserByID(ctx, p.uid)
	if err != nil {
		return nil, p, err
	}
	page := &RelationPage{Feed: u.Feed}
	if err := c.store.Update(ctx, nil, func(tx Tx) (err error) {
		page.Total, err = tx.CountRelations(p.uid, kind)
		return err
	}); err != nil {
		return nil, p, err
	}
	rows, err := c.store.Relations(ctx, p.uid, kind, after, limit+1)
	if err != nil {
		return nil, p, err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		page.Next = rows[limit-1].Made
	}
	for i := range rows {
		item := RelationItem{State: c.stateOf(&rows[i])}
		if item.User, err = c.nameOf(ctx, UID(rows[i].Other)); err != nil {
			return nil, p, err
		}
		page.Items = append(page.Items, item)
	}
	return page, p, nil
}
