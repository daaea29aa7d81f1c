package chat

import (
	"context"
	"slices"

	"github.com/tidings-im/tidings/im"
)

// Friend groups are rows of their own. A friend's row has the numbers of groups, so that a group that gets another name, or is deleted, is one change.

// numberOf returns the number of the group with a name; 0 if there is none. Names are compared by bytes.
func (f *feeding) numberOf(groups []Relation, name string) uint64 {
	for i := range groups {
		if f.c.stateOf(&groups[i]).Name == name {
			return uint64(groups[i].Other)
		}
	}
	return 0
}

// groupFits reports whether a group exists or may be created.
func (f *feeding) groupFits(owner UID, name string) (bool, error) {
	groups, err := f.tx.Relations(owner, relGroup)
	if err != nil {
		return false, err
	}
	return f.numberOf(groups, name) != 0 || len(groups) < maxFriendGroups, nil
}

// groupNamed returns the number of a group, which it creates if there is none.
func (f *feeding) groupNamed(owner UID, name string) (uint64, error) {
	groups, err := f.tx.Relations(owner, relGroup)
	if err != nil {
		return 0, err
	}
	if number := f.numberOf(groups, name); number != 0 {
		return number, nil
	}
	if len(groups) >= maxFriendGroups {
		return 0, tooManyGroups(len(groups))
	}
	return f.putGroup(owner, 0, name)
}

func tooManyGroups(n int) error {
	return im.Errorf(im.CodeTooManyFriendGroups, "there are %d friend groups already", n)
}

// putGroup stores the name of a group; number 0 makes one.
func (f *feeding) putGroup(owner UID, number uint64, name string) (uint64, error) {
	if number == 0 {
		u, err := f.tx.User(owner)
		if err != nil {
			return 0, err
		}
		number = u.Feed + 1 // the number of the entry that makes it, never used twice
	}
	state := &im.RelationState{Name: name}
	r := &im.Relation{Kind: relGroup, Group: number, State: state}
	if err := f.add(owner, nil, r); err != nil {
		return 0, err
	}
	return number, f.tx.PutRelation(Relation{UID: owner, Kind: relGroup, Other: int64(number), Ver: r.Ver, Body: wire(state)})
}

// FriendGroups creates, deletes and renames the caller's friend groups, and puts friends into them or takes them out.
func (c *Chat) FriendGroups(ctx context.Context, call Call[*im.FriendResults], req *im.FriendGroupsRequest) error {
	g := &grouping{req}
	if err := g.check(); err != nil {
		return err
	}
	s := call.Caller
	results, people, err := c.named(ctx, s, req.UserIds)
	if err != nil {
		return err
	}
	return c.relate(ctx, s, []Key{{UID: s.UID}}, func(f *feeding) error {
		numbers, err := g.groups(f, s.UID)
		if err != nil {
			return err
		}
		out := slices.Clone(results)
		for i, p := range people {
			if p.uid == 0 {
				continue
			}
			if out[i], err = g.member(f, s.UID, p, numbers); err != nil {
				return err
			}
		}
		return f.end(call.with(&im.FriendResults{Results: out, Feed: f.at}))
	})
}

type grouping struct{ *im.FriendGroupsRequest }

func (g *grouping) check() error {
	if len(g.Names) == 0 {
		return badRelation("the list of friend groups is empty")
	}
	for _, name := range g.Names {
		if err := checkGroupName("the name of a friend group", name, true); err != nil {
			return err
		}
	}
	switch g.Action {
	case im.FriendGroupAction_FRIEND_GROUP_CREATE:
	case im.FriendGroupAction_FRIEND_GROUP_DELETE, im.FriendGroupAction_FRIEND_GROUP_RENAME:
		if len(g.UserIds) > 0 {
			return badRelation("a friend group that is deleted or renamed takes no users")
		}
		if g.Action == im.FriendGroupAction_FRIEND_GROUP_DELETE {
			return nil
		}
		if len(g.Names) != 1 {
			return badRelation("%d friend groups are renamed at once", len(g.Names))
		}
		if err := checkGroupName("the new name of a friend group", g.NewName, true); err != nil {
			return err
		}
	case im.FriendGroupAction_FRIEND_GROUP_ADD, im.FriendGroupAction_FRIEND_GROUP_REMOVE:
		return checkUsers(g.UserIds, maxUsers)
	default:
		return badRelation("action %d is unknown", g.Action)
	}
	if len(g.UserIds) > maxUsers {
		return checkUsers(g.UserIds, maxUsers)
	}
	return nil
}

// groups does what the call does with groups as such, and returns the numbers of those that it names. If one of them cannot be, nothing is done.
func (g *grouping) groups(f *feeding, owner UID) ([]uint64, error) {
	rows, err := f.tx.Relations(owner, relGroup)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for i, name := range g.Names {
		if slices.Contains(g.Names[:i], name) {
			continue
		}
		number := f.numberOf(rows, name)
		switch {
		case g.Action == im.FriendGroupAction_FRIEND_GROUP_CREATE:
			if number != 0 {
				return nil, badRelation("there is a friend group %q already", name)
			}
			if len(rows) >= maxFriendGroups {
				return nil, tooManyGroups(len(rows))
			}
			if number, err = f.putGroup(owner, 0, name); err != nil {
				return nil, err
			}
			rows = append(rows, Relation{Other: int64(number), Body: wire(&im.RelationState{Name: name})})
		case number == 0:
			return nil, badRelation("there is no friend group %q", name)
		case g.Action == im.FriendGroupAction_FRIEND_GROUP_DELETE:
			if err := f.tx.DropRelation(owner, relGroup, int64(number)); err != nil {
				return nil, err
			}
			if err := f.add(owner, nil, &im.Relation{Kind: relGroup, Group: number, Gone: true}); err != nil {
				return nil, err
			}
		case g.Action == im.FriendGroupAction_FRIEND_GROUP_RENAME:
			if name == g.NewName {
				continue
			}
			if f.numberOf(rows, g.NewName) != 0 {
				return nil, badRelation("there is a friend group %q already", g.NewName)
			}
			if _, err := f.putGroup(owner, number, g.NewName); err != nil {
				return nil, err
			}
		}
		numbers = append(numbers, number)
	}
	return numbers, nil
}

// member puts a friend into groups, or takes them out. That also removes the numbers of deleted groups from the friend's row.
func (g *grouping) member(f *feeding, owner UID, p person, numbers []uint64) (*im.FriendResult, error) {
	state, err := f.state(owner, relFriend, int64(p.uid))
	if err != nil {
		return nil, err
	}
	if state == nil {
		return resultOf(p.name, im.CodeNotAFriendInGroup, "the user is not a friend"), nil
	}
	groups, err := f.tx.Relations(owner, relGroup)
	if err != nil {
		return nil, err
	}
	state.Groups = slices.DeleteFunc(state.Groups, func(n uint64) bool {
		return !slices.ContainsFunc(groups, func(r Relation) bool { return uint64(r.Other) == n })
	})
	before := slices.Clone(state.Groups)
	for _, number := range numbers {
		if g.Action == im.FriendGroupAction_FRIEND_GROUP_REMOVE {
			state.Groups = slices.DeleteFunc(state.Groups, func(n uint64) bool { return n == number })
		} else if !slices.Contains(state.Groups, number) {
			state.Groups = append(state.Groups, number)
		}
	}
	slices.Sort(state.Groups)
	if !slices.Equal(before, state.Groups) {
		if err := f.put(owner, relFriend, p, state); err != nil {
			return nil, err
		}
	}
	return resultOf(p.name, 0, ""), nil
}
