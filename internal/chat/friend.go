package chat

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// Limits of relations. The numbers are Tencent's.
const (
	maxFriends      = 3000
	maxBlocked      = 1000
	maxFriendGroups = 32
	maxRequests     = 100 // in each direction
	// maxUsers is how many users a call may name; that of the blacklist may name maxBlocked.
	maxUsers     = 100
	maxGroupName = 30
	maxRemark    = 96
	maxWording   = 256
	maxCustom    = 20
	maxValue     = 500 // of a text in a profile, or in a custom field
	sourcePrefix = "AddSource_Type_"
	friendCustom = "Tag_SNS_Custom_"
	// usersAtOnce is how many of the users that a call names are handled in one transaction.
	usersAtOnce = 100
)

const (
	relFriend     = im.RelationKind_RELATION_FRIEND
	relRequestIn  = im.RelationKind_RELATION_REQUEST_IN
	relRequestOut = im.RelationKind_RELATION_REQUEST_OUT
	relBlocked    = im.RelationKind_RELATION_BLOCKED
	relGroup      = im.RelationKind_RELATION_FRIEND_GROUP
	relRead       = im.RelationKind_RELATION_REQUESTS_READ
)

func badRelation(format string, args ...any) error {
	return im.Errorf(im.CodeFriendParameters, format, args...)
}

// checkText checks the length of a text.
func checkText(field, s string, most int) error {
	if len(s) > most {
		return badRelation("%s has %d bytes, more than %d", field, len(s), most)
	}
	return nil
}

// checkSource checks where a friend comes from: "", or the prefix and 1 to 8 letters.
func checkSource(s string) error {
	rest, ok := strings.CutPrefix(s, sourcePrefix)
	letters := !strings.ContainsFunc(rest, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') })
	if s != "" && (!ok || len(rest) < 1 || len(rest) > 8 || !letters) {
		return badRelation("add_source is not %s and 1 to 8 letters", sourcePrefix)
	}
	return nil
}

func checkGroupName(field, s string, needed bool) error {
	if needed && s == "" {
		return badRelation("%s is empty", field)
	}
	return checkText(field, s, maxGroupName)
}

// customKey removes the prefix that the key of a custom field may have, and checks it: 1 to 8 letters or digits.
func customKey(key, prefix string) (string, bool) {
	key = strings.TrimPrefix(key, prefix)
	good := len(key) >= 1 && len(key) <= 8 && !strings.ContainsFunc(key, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
	return key, good
}

// checkUsers checks the list of users of a call.
func checkUsers(names []string, most int) error {
	if len(names) == 0 {
		return badRelation("the list of users is empty")
	}
	if len(names) > most {
		return badRelation("the list names %d users, more than %d", len(names), most)
	}
	return nil
}

func resultOf(name string, code int32, desc string) *im.FriendResult {
	return &im.FriendResult{Identifier: name, Code: code, Desc: desc}
}

func friendReply(r *im.FriendResult, feed uint64) *im.FriendReply {
	return &im.FriendReply{Identifier: r.Identifier, Code: r.Code, Desc: r.Desc, Feed: feed}
}

// friendResults answers a call with a result for each of its users.
func friendResults(call Call[*im.FriendResults]) func(results []*im.FriendResult, feed uint64) answer {
	return func(results []*im.FriendResult, feed uint64) answer {
		return call.with(&im.FriendResults{Results: results, Feed: feed})
	}
}

// named returns the users of a call, in their order, with the results of those that cannot be found or are the caller.
func (c *Chat) named(ctx context.Context, s *Caller, names []string) ([]*im.FriendResult, []person, error) {
	results := make([]*im.FriendResult, len(names))
	people := make([]person, len(names))
	for i, name := range names {
		p, err := c.person(ctx, name)
		switch {
		case errors.Is(err, ErrNotFound):
			results[i] = resultOf(name, im.CodeFriendUnknown, "there is no such user")
		case err != nil:
			return nil, nil, err
		case p.uid == s.UID:
			results[i] = resultOf(name, im.CodeFriendParameters, "one cannot do this with oneself")
		default:
			people[i] = p
		}
	}
	return results, people, nil
}

// each does something for each of the users of a call, some in one transaction, and passes the results to done in the order of the names, with the number of
// the caller's feed, in the last transaction, for the answer, which comes before the caller's own devices are notified of any change. A user named again gets
// the first result. Of a repeated call, what its first copy did in a transaction is left out.
func (c *Chat) each(ctx context.Context, s *Caller, m mark, names []string, do func(f *feeding, me, other person) (*im.FriendResult, error), done func(results []*im.FriendResult, feed uint64) answer) error {
	results, people, err := c.named(ctx, s, names)
	if err != nil {
		return err
	}
	me := person{s.UID, s.Name}
	var later []news // belongs to the delivery goroutine
	flush := func() {
		for _, n := range later {
			c.tell(n)
		}
	}
	for from := 0; from < len(names); from += usersAtOnce {
		to := min(from+usersAtOnce, len(names))
		last := to == len(names)
		part := uint64(to) // of those before the last
		keys := []Key{{UID: s.UID}}
		for _, p := range people[from:to] {
			if p.uid != 0 && !slices.Contains(keys, Key{UID: p.uid}) {
				keys = append(keys, Key{UID: p.uid})
			}
		}
		err := c.relate(ctx, s, keys, func(f *feeding) error {
			if !last {
				f.later = &later
				before, err := m.results(f.tx, part)
				if err != nil {
					return err
				}
				if len(before) > 0 {
					copy(results[from:to], before)
					return f.done(nil)
				}
			}
			for i := from; i < to; i++ {
				if people[i].uid == 0 {
					continue
				}
				if first := slices.IndexFunc(people[:i], func(p person) bool { return p.uid == people[i].uid }); first >= 0 {
					results[i] = results[first]
					continue
				}
				r, err := do(f, me, people[i])
				if err != nil {
					return err
				}
				results[i] = r
			}
			if !last {
				if err := m.keep(f.tx, part, &im.Frame{Body: wire(&im.FriendResults{Results: results[from:to]})}); err != nil {
					return err
				}
				return f.done(nil)
			}
			reply, err := done(results, f.at)(f.tx, true)
			if err != nil {
				return err
			}
			return f.done(func() {
				reply()
				flush()
			})
		})
		if err != nil {
			if from > 0 { // what is done is done, also if the caller has gone. If this fails too, the devices see it at their next HEADS
				_ = c.store.Update(context.WithoutCancel(ctx), nil, func(tx Tx) error { tx.AfterCommit(flush); return nil })
			}
			return err
		}
	}
	return nil
}

// adding is an add: what a client or an operator asks for.
type adding struct {
	*im.AddFriendRequest
	// forced adds whatever the other's permission is; only operators do.
	forced bool
}

func (a *adding) check() error {
	return cmp.Or(checkText("remark", a.Remark, maxRemark), checkText("add_wording", a.Wording, maxWording), checkSource(a.Source),
		checkGroupName("group_name", a.GroupName, false))
}

// AddFriend adds a friend, or asks to, as the other's profile permits. The outcome is in the result's code.
func (c *Chat) AddFriend(ctx context.Context, call Call[*im.FriendReply], req *im.AddFriendRequest) error {
	a := &adding{AddFriendRequest: req, forced: call.Caller.Force}
	if err := a.check(); err != nil {
		return err
	}
	refused, err := c.askFriendAdd(ctx, call.Caller, a)
	if err != nil {
		return err
	}
	return c.each(ctx, call.Caller, call.mark(), []string{req.UserId}, func(f *feeding, me, other person) (*im.FriendResult, error) {
		if refused != nil {
			return refused, nil
		}
		return f.addFriend(me, other, a)
	}, func(r []*im.FriendResult, feed uint64) answer { return call.with(friendReply(r[0], feed)) })
}

// addFriend checks in this order: own blacklist, the other's, friends already, the operator's lock, the other's permission, limits.
func (f *feeding) addFriend(me, other person, a *adding) (*im.FriendResult, error) {
	refuse := func(code int32, desc string) (*im.FriendResult, error) { return resultOf(other.name, code, desc), nil }
	var mine, theirs, asked, received, iBlock, theyBlock *im.RelationState
	for _, x := range []struct {
		to    **im.RelationState
		owner UID
		kind  im.RelationKind
		other UID
	}{
		{&mine, me.uid, relFriend, other.uid}, {&theirs, other.uid, relFriend, me.uid},
		{&asked, other.uid, relRequestOut, me.uid}, {&received, me.uid, relRequestIn, other.uid},
		{&iBlock, me.uid, relBlocked, other.uid}, {&theyBlock, other.uid, relBlocked, me.uid},
	} {
		var err error
		if *x.to, err = f.state(x.owner, x.kind, int64(x.other)); err != nil {
			return nil, err
		}
	}
	switch {
	case iBlock != nil:
		return refuse(im.CodeBlockedBySelf, "the user is on the caller's blacklist")
	case theyBlock != nil:
		return refuse(im.CodeBlockedByPeer, "the caller is on the user's blacklist")
	case mine != nil && (theirs != nil || !a.Both):
		return refuse(im.CodeAlreadyFriends, "they are friends already")
	}
	if received == nil {
		asked = nil // the caller has deleted it
	}
	if !a.forced {
		lock, err := f.tx.Profile(me.uid)
		if err != nil {
			return nil, err
		}
		if f.c.profileOf(me.name, lock).AdminForbidType == adminForbidSend {
			return refuse(im.CodeAddForbidden, "an operator has forbidden the caller to add friends")
		}
		p, err := f.tx.Profile(other.uid)
		if err != nil {
			return nil, err
		}
		switch f.c.profileOf(other.name, p).AddPermission {
		case im.ProfileAddPermission_PROFILE_ADD_PERMISSION_DENY_ANY:
			return refuse(im.CodeAddDenied, "the user takes no requests")
		case im.ProfileAddPermission_PROFILE_ADD_PERMISSION_NEED_CONFIRM:
			if asked == nil || !a.Both {
				return f.ask(me, other, a)
			}
			// The user has asked the caller: an add of both is also the answer.
		}
	}
	full, err := f.become(me, other, a.Both, false, &im.RelationState{Remark: a.Remark, Wording: a.Wording, Source: a.Source, GroupName: a.GroupName}, asked)
	if err != nil || full != nil {
		return full, err
	}
	return refuse(0, "")
}

const adminForbidSend = "AdminForbid_Type_SendOut"

// become makes other a friend of me, and with both me one of other, as far as they are not. response means that me had asked. mine and theirs are what the
// new rows contain; theirs may be nil. It ends the requests that are fulfilled by it. If a list is full, nothing is done and the result is not nil.
func (f *feeding) become(me, other person, both, response bool, mine, theirs *im.RelationState) (full *im.FriendResult, err error) {
	if theirs == nil {
		theirs = &im.RelationState{Wording: mine.Wording, Source: mine.Source}
	}
	type side struct {
		owner, friend person
		state         *im.RelationState
		code          int32
		have          bool
	}
	sides := []side{{owner: me, friend: other, state: mine, code: im.CodeTooManyFriends}}
	if both {
		sides = append(sides, side{owner: other, friend: me, state: theirs, code: im.CodePeerTooManyFriends})
	}
	for i := range sides {
		x := &sides[i]
		have, err := f.state(x.owner.uid, relFriend, int64(x.friend.uid))
		if err != nil {
			return nil, err
		}
		if x.have = have != nil; x.have {
			continue
		}
		n, err := f.tx.CountRelations(x.owner.uid, relFriend)
		if err != nil {
			return nil, err
		}
		if n >= maxFriends {
			return resultOf(other.name, x.code, "a list of friends is full"), nil
		}
		if x.state.GroupName == "" {
			continue
		}
		fits, err := f.groupFits(x.owner.uid, x.state.GroupName)
		switch {
		case err != nil:
			return nil, err
		case fits:
		case x.owner.uid == f.s.UID:
			return resultOf(other.name, im.CodeTooManyFriendGroups, "there are too many friend groups"), nil
		default: // the caller cannot help it
			x.state.GroupName = ""
		}
	}
	for _, x := range sides {
		if x.have {
			continue
		}
		state := &im.RelationState{Remark: x.state.Remark, Wording: x.state.Wording, Source: x.state.Source, Time: f.tx.Now()}
		if x.state.GroupName != "" {
			number, err := f.groupNamed(x.owner.uid, x.state.GroupName)
			if err != nil {
				return nil, err
			}
			state.Groups = []uint64{number}
		}
		if err := f.put(x.owner.uid, relFriend, x.friend, state); err != nil {
			return nil, err
		}
		f.friendAdded(x.owner, x.friend, me, response)
		f.related(me.uid, other.uid)
	}
	for _, x := range sides {
		if err := f.endRequest(x.owner, x.friend, !x.have); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// endRequest removes the request of from to to, on both sides. accepted means that its sender is notified of a new friend instead.
func (f *feeding) endRequest(from, to person, accepted bool) error {
	for _, x := range []struct {
		owner, about person
		kind         im.RelationKind
		quiet        bool
	}{{to, from, relRequestIn, false}, {from, to, relRequestOut, accepted}} {
		have, err := f.state(x.owner.uid, x.kind, int64(x.about.uid))
		if err != nil {
			return err
		}
		if have == nil {
			continue
		}
		if err := f.drop(x.owner.uid, x.kind, x.about, x.quiet); err != nil {
			return err
		}
	}
	return nil
}

// DeleteFriends takes users off the caller's list, and with both the caller off theirs.
func (c *Chat) DeleteFriends(ctx context.Context, call Call[*im.FriendResults], req *im.UsersRequest) error {
	if err := checkUsers(req.UserIds, maxUsers); err != nil {
		return err
	}
	return c.each(ctx, call.Caller, call.mark(), req.UserIds, func(f *feeding, me, other person) (*im.FriendResult, error) {
		had, err := f.unfriend(me, other, req.Both)
		if err != nil {
			return nil, err
		}
		if !had {
			return resultOf(other.name, im.CodeNotAFriend, "the user is not a friend"), nil
		}
		return resultOf(other.name, 0, ""), nil
	}, friendResults(call))
}

// unfriend ends a friendship on my side, and with both on the other's. It reports whether there was any.
func (f *feeding) unfriend(me, other person, both bool) (had bool, err error) {
	sides := [][2]person{{me, other}}
	if both {
		sides = append(sides, [2]person{other, me})
	}
	for _, x := range sides {
		have, err := f.state(x[0].uid, relFriend, int64(x[1].uid))
		if err != nil {
			return false, err
		}
		if have == nil {
			continue
		}
		had = true
		if err := f.drop(x[0].uid, relFriend, x[1], false); err != nil {
			return false, err
		}
		f.friendDeleted(x[0], x[1])
		f.related(me.uid, other.uid)
	}
	return had, nil
}

// UpdateFriend changes what the caller has noted about a friend. Friend groups that do not exist are created.
func (c *Chat) UpdateFriend(ctx context.Context, call Call[*im.ChangeReply], req *im.UpdateFriendRequest) error {
	if err := checkText("remark", req.GetRemark(), maxRemark); err != nil {
		return err
	}
	for _, name := range req.GroupNames {
		if err := checkGroupName("group_name_array", name, true); err != nil {
			return err
		}
	}
	var custom []*im.FriendProfileCustomStringInfo
	for _, x := range req.Custom {
		key, ok := customKey(x.GetKey(), friendCustom)
		if !ok {
			return badRelation("the key %q of a custom field is not 1 to 8 letters or digits", x.GetKey())
		}
		if err := checkText("the value of a custom field", x.GetValue(), maxValue); err != nil {
			return err
		}
		custom = append(custom, &im.FriendProfileCustomStringInfo{Key: key, Value: x.GetValue()})
	}
	return c.each(ctx, call.Caller, call.mark(), []string{req.UserId}, func(f *feeding, me, other person) (*im.FriendResult, error) {
		state, err := f.state(me.uid, relFriend, int64(other.uid))
		if err != nil {
			return nil, err
		}
		if state == nil {
			return resultOf(other.name, im.CodeNotAFriend, "the user is not a friend"), nil
		}
		before := wire(state)
		if req.Remark != nil {
			state.Remark = *req.Remark
		}
		if req.SetGroups {
			state.Groups = nil
			for _, name := range req.GroupNames {
				number, err := f.groupNamed(me.uid, name)
				if err != nil {
					return nil, err
				}
				if !slices.Contains(state.Groups, number) {
					state.Groups = append(state.Groups, number)
				}
			}
			slices.Sort(state.Groups)
		}
		if state.Custom = setCustom(state.Custom, custom); len(state.Custom) > maxCustom {
			return nil, badRelation("the friend would have %d custom fields, more than %d", len(state.Custom), maxCustom)
		}
		if slices.Equal(before, wire(state)) {
			return resultOf(other.name, 0, ""), nil
		}
		return resultOf(other.name, 0, ""), f.put(me.uid, relFriend, other, state)
	}, func(r []*im.FriendResult, feed uint64) answer {
		if r[0].Code != 0 { // nothing was changed
			return func(Tx, bool) (func(), error) {
				return nil, im.Errorf(r[0].Code, "%s: %s", r[0].Identifier, r[0].Desc)
			}
		}
		return call.with(&im.ChangeReply{Feed: feed})
	})
}

// customField is a field of the app's own: of a friend, a group or a member.
type customField interface {
	GetKey() string
	GetValue() string
}

// setCustom returns custom fields after a change, ordered by key; an empty value removes one.
func setCustom[F customField](have, change []F) []F {
	for _, x := range change {
		have = slices.DeleteFunc(have, func(y F) bool { return y.GetKey() == x.GetKey() })
		if x.GetValue() != "" {
			have = append(have, x)
		}
	}
	slices.SortFunc(have, func(a, b F) int { return strings.Compare(a.GetKey(), b.GetKey()) })
	return have
}

// CheckFriends reports whether users are friends of the caller, and with both whether the caller is one of theirs.
func (c *Chat) CheckFriends(ctx context.Context, call Call[*im.CheckFriendsReply], req *im.UsersRequest) error {
	if err := checkUsers(req.UserIds, maxUsers); err != nil {
		return err
	}
	s := call.Caller
	out := &im.CheckFriendsReply{}
	for _, name := range req.UserIds {
		r := &im.FriendshipCheckFriendTypeResult{Identifier: name}
		out.Results = append(out.Results, r)
		p, err := c.person(ctx, name)
		switch {
		case errors.Is(err, ErrNotFound):
			r.Code, r.Desc = im.CodeFriendUnknown, "there is no such user"
			continue
		case err != nil:
			return err
		case p.uid == s.UID:
			r.Code, r.Desc = im.CodeFriendParameters, "one cannot do this with oneself"
			continue
		}
		for i, x := range [][2]UID{{s.UID, p.uid}, {p.uid, s.UID}} {
			if i == 1 && !req.Both {
				break
			}
			switch _, err := c.store.Relation(ctx, x[0], relFriend, int64(x[1])); {
			case err == nil:
				r.Relation |= 1 << i
			case !errors.Is(err, ErrNotFound):
				return err
			}
		}
	}
	call.Reply(out)
	return nil
}
