package client

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// relations is what the user has with others, as the feed brings it: the rows of the local database, and what the application is told of each change.
// A row and what is owed for it are one commit.
type relations struct {
	*engine.Engine
	c *Client
}

const (
	relFriend     = im.RelationKind_RELATION_FRIEND
	relRequestIn  = im.RelationKind_RELATION_REQUEST_IN
	relRequestOut = im.RelationKind_RELATION_REQUEST_OUT
	relBlocked    = im.RelationKind_RELATION_BLOCKED
	relGroup      = im.RelationKind_RELATION_FRIEND_GROUP
	relRead       = im.RelationKind_RELATION_REQUESTS_READ
	relSelf       = im.RelationKind_RELATION_SELF
	relFriendSelf = im.RelationKind_RELATION_FRIEND_SELF
	relReport     = im.RelationKind_RELATION_GROUP_REPORT
)

// keyOf returns what a row about r is called in its kind; ok is false if there can be none.
func keyOf(r *im.Relation) (other string, ok bool) {
	switch r.Kind {
	case relFriend, relRequestIn, relRequestOut, relBlocked, relFriendSelf:
		return r.UserId, r.UserId != ""
	case relGroup:
		return strconv.FormatUint(r.Group, 10), r.Group != 0
	case relRead, relSelf:
		return "", true
	}
	return "", false // of a newer server
}

// row reads a row; nil if there is none.
func (b *relations) row(kind im.RelationKind, other string) *im.Relation {
	row, err := b.DB.Relation(kind, other)
	if !b.Check(err) || row == nil {
		return nil
	}
	return b.read(row)
}

// read decodes a row. One that cannot be decoded counts as absent; the whole brings it back.
func (b *relations) read(row *local.Relation) *im.Relation {
	r := &im.Relation{}
	if err := im.Decode(row.Body, r); err != nil {
		b.c.log.Warn("a relation on this device cannot be read", "kind", row.Kind, "error", err)
		return nil
	}
	r.Kind, r.Ver = row.Kind, row.Ver
	return r
}

// rows reads the rows of a kind; kind 0 is all kinds.
func (b *relations) rows(kind im.RelationKind) []*im.Relation {
	rows, err := b.DB.Relations(kind)
	b.Check(err)
	return b.readAll(rows)
}

func (b *relations) readAll(rows []local.Relation) []*im.Relation {
	var all []*im.Relation
	for i := range rows {
		if r := b.read(&rows[i]); r != nil {
			all = append(all, r)
		}
	}
	return all
}

// stored returns the row of a relation.
func stored(r *im.Relation) (*local.Relation, error) {
	other, _ := keyOf(r)
	body, err := r.MarshalVT()
	return &local.Relation{Kind: r.Kind, Other: other, Ver: r.Ver, Body: body}, err
}

func (b *relations) put(r *im.Relation) {
	if row, err := stored(r); b.Check(err) {
		b.Check(b.DB.PutRelation(row))
	}
}

// told are the events of what is applied together. Neighbours of one kind share a callback.
type told struct{ events []owedEvent }

func (t *told) add(ev owedEvent) {
	if n := len(t.events); n > 0 {
		if last, ok := t.events[n-1].(interface{ join(owedEvent, int) bool }); ok && last.join(ev, eventsAtOnce) {
			return
		}
	}
	t.events = append(t.events, ev)
}

func (b *relations) owe(t *told) {
	for _, ev := range t.events {
		payload, err := ev.payload()
		if !b.Check(err) {
			return
		}
		b.c.owe(ev, len(payload))
	}
}

// relationKey names a row.
type relationKey struct {
	kind  im.RelationKind
	other string
}

// apply applies entries of the feed, in their order. With net, a row that the device does not have and that is gone in the end is told as never there: the
// whole was read after some of its entries.
func (b *relations) apply(entries []*im.Relation, net bool) {
	t := &told{}
	goes := map[relationKey]bool{}
	for _, e := range entries {
		if other, ok := keyOf(e); ok && net {
			goes[relationKey{e.Kind, other}] = e.Gone
		}
	}
	for _, e := range entries {
		if e.Kind == relReport && e.Report != nil {
			b.c.rooms.reported(e)
			if e.Device != "" && e.Device == b.c.session.device {
				continue // its call's result tells it
			}
			t.add(reported(e.Report, e.Time, e.Ver))
			continue
		}
		other, ok := keyOf(e)
		if !ok || goes[relationKey{e.Kind, other}] && b.row(e.Kind, other) == nil {
			continue
		}
		switch e.Kind {
		case relFriendSelf:
			b.friendSelf(e, t)
		case relSelf:
			b.setSelf(e)
		default:
			b.change(e, other, t)
		}
		b.meet(e)
	}
	b.owe(t)
}

// change applies an entry about a row. One that the row contains already, because the row is from a whole, has no effect.
func (b *relations) change(e *im.Relation, other string, t *told) {
	old := b.row(e.Kind, other)
	if old != nil && e.Ver <= old.Ver || old == nil && e.Gone {
		return
	}
	var before map[uint64]string
	if e.Kind == relGroup || e.Kind == relFriend {
		before = b.groupNames()
	}
	if e.Gone {
		b.Check(b.DB.DropRelation(e.Kind, other))
	} else {
		if old != nil && e.ProfileVer < old.ProfileVer {
			e.Profile, e.ProfileVer = old.Profile, old.ProfileVer
		}
		b.put(e)
	}
	switch e.Kind {
	case relGroup:
		after := maps.Clone(before)
		delete(after, e.Group)
		if !e.Gone {
			after[e.Group] = e.GetState().GetName()
		}
		if old == nil {
			return // nobody is in it yet
		}
		for _, f := range b.friends() {
			if slices.Contains(f.GetState().GetGroups(), e.Group) {
				t.friend(f, f, before, after)
			}
		}
	case relFriend:
		if e.Gone {
			t.gone(e)
		} else {
			t.friend(old, e, before, before)
		}
	default:
		if e.Gone {
			t.gone(e)
		} else {
			t.here(old, e)
		}
	}
}

// gone tells that a row is gone.
func (t *told) gone(r *im.Relation) {
	if r.Quiet {
		return
	}
	switch r.Kind {
	case relFriend:
		t.add(&owedFriendsDeleted{[]string{r.UserId}})
	case relRequestIn, relRequestOut:
		t.add(&owedFriendRequestsDeleted{[]string{r.UserId}})
	case relBlocked:
		t.add(&owedBlacklistDeleted{[]string{r.UserId}})
	}
}

// here tells that a row is new or another one: of a request, a block, or the place up to which requests are read.
func (t *told) here(old, r *im.Relation) {
	switch state := r.GetState(); {
	case r.Kind == relRequestIn && (old == nil || old.GetState().GetTime() != state.GetTime()):
		t.add(&owedFriendRequests{[]*im.FriendAddPendency{{Identifier: r.UserId, NickName: r.GetProfile().GetNickName(), FaceUrl: r.GetProfile().GetFaceUrl(),
			AddTime: seconds(state.GetTime()), AddSource: state.GetSource(), AddWording: state.GetWording()}}})
	case r.Kind == relBlocked && old == nil:
		t.add(&owedBlacklistAdded{[]*im.FriendProfile{friendProfile(r, nil)}})
	case r.Kind == relRead && state.GetTime() > old.GetState().GetTime():
		t.add(&owedFriendRequestsRead{})
	}
}

// friend tells that a friend is new or has changed.
func (t *told) friend(old, r *im.Relation, before, after map[uint64]string) {
	if old == nil {
		t.add(&owedFriendsAdded{[]string{r.UserId}})
		return
	}
	if item := friendChanges(old, r, before, after); item != nil {
		t.add(&owedFriendsUpdated{[]*im.FriendProfileUpdate{{Identifier: r.UserId, Item: item}}})
	}
}

// friendSelf applies what a friend has changed in their own profile.
func (b *relations) friendSelf(e *im.Relation, t *told) {
	old := b.row(relFriend, e.UserId)
	if old == nil || e.Profile == nil || e.ProfileVer <= old.ProfileVer {
		return
	}
	r := &im.Relation{Kind: relFriend, Ver: old.Ver, UserId: old.UserId, State: old.State, Profile: e.Profile, ProfileVer: e.ProfileVer}
	b.put(r)
	t.friend(old, r, nil, nil)
}

// setSelf applies the user's own profile, if it is newer.
func (b *relations) setSelf(e *im.Relation) {
	if old := b.row(relSelf, ""); e.Profile != nil && (old == nil || e.ProfileVer > old.ProfileVer) {
		b.put(&im.Relation{Kind: relSelf, Ver: e.ProfileVer, Profile: e.Profile, ProfileVer: e.ProfileVer})
	}
}

// groupNames returns the names of the friend groups by their numbers.
func (b *relations) groupNames() map[uint64]string { return namesOf(b.rows(relGroup)) }

func namesOf(rows []*im.Relation) map[uint64]string {
	names := map[uint64]string{}
	for _, r := range rows {
		if r.Kind == relGroup {
			names[r.Group] = r.GetState().GetName()
		}
	}
	return names
}

// friends returns the friends, the oldest friendship first.
func (b *relations) friends() []*im.Relation { return b.oldestFirst(relFriend) }

func (b *relations) oldestFirst(kind im.RelationKind) []*im.Relation {
	all := b.rows(kind)
	slices.SortStableFunc(all, func(x, y *im.Relation) int { return cmp.Compare(x.GetState().GetTime(), y.GetState().GetTime()) })
	return all
}

// addToWhole adds the items of a page to the whole.
func (b *relations) addToWhole(items []*im.Relation) {
	for _, r := range items {
		if _, ok := keyOf(r); !ok || r.Gone || r.Kind == relFriendSelf {
			continue
		}
		b.meet(r)
		if row, err := stored(r); b.Check(err) {
			b.Check(b.DB.PutWhole(row))
		}
	}
}

// takeWhole makes the whole, which is complete, what the user has. The difference to what there was is told, unless silent.
func (b *relations) takeWhole(silent bool) {
	if !silent {
		rows, err := b.DB.Whole()
		if !b.Check(err) {
			return
		}
		t := &told{}
		t.difference(b.rows(0), b.readAll(rows))
		b.owe(t)
	}
	b.Check(b.DB.TakeWhole())
	clear(b.c.people.known) // their remarks may be others
}

// meet passes on what a relation shows of a user.
func (b *relations) meet(r *im.Relation) {
	user := r.UserId
	if r.Kind == relSelf {
		user = b.c.cfg.UserID
	}
	b.c.people.takeProfile(user, r.Profile, r.ProfileVer)
	b.c.people.forget(user)
}

// difference tells what two wholes differ in, each kind of event in one run.
func (t *told) difference(old, now []*im.Relation) {
	had, have := map[relationKey]*im.Relation{}, map[relationKey]*im.Relation{}
	for _, x := range []struct {
		rows []*im.Relation
		to   map[relationKey]*im.Relation
	}{{old, had}, {now, have}} {
		for _, r := range x.rows {
			other, _ := keyOf(r)
			x.to[relationKey{r.Kind, other}] = r
		}
	}
	before, after := namesOf(old), namesOf(now)
	deleted := map[string]bool{}
	for _, kind := range []im.RelationKind{relRequestIn, relRequestOut, relFriend, relBlocked} {
		for _, r := range old {
			k := relationKey{r.Kind, r.UserId}
			if r.Kind != kind || have[k] != nil {
				continue
			}
			switch kind {
			case relRequestOut:
				// One that was accepted is told by the friend; one callback names a user, whichever requests there were.
				friend := relationKey{relFriend, r.UserId}
				if deleted[r.UserId] || have[friend] != nil && had[friend] == nil {
					continue
				}
			case relRequestIn:
				deleted[r.UserId] = true
			}
			t.gone(&im.Relation{Kind: kind, UserId: r.UserId})
		}
	}
	var added, changed, rest []*im.Relation
	for _, r := range now {
		switch k := (relationKey{r.Kind, r.UserId}); {
		case r.Kind == relFriend && had[k] == nil:
			added = append(added, r)
		case r.Kind == relFriend:
			changed = append(changed, r)
		case r.Kind != relGroup:
			rest = append(rest, r)
		}
	}
	byVer := func(x, y *im.Relation) int { return cmp.Compare(x.Ver, y.Ver) }
	for _, rows := range [][]*im.Relation{added, changed} {
		slices.SortStableFunc(rows, byVer)
		for _, r := range rows {
			t.friend(had[relationKey{relFriend, r.UserId}], r, before, after)
		}
	}
	slices.SortStableFunc(rest, func(x, y *im.Relation) int { return cmp.Or(cmp.Compare(x.Kind, y.Kind), byVer(x, y)) })
	for _, r := range rest {
		t.here(had[relationKey{r.Kind, r.UserId}], r)
	}
}

// seconds converts milliseconds since 1970.
func seconds(ms int64) uint64 { return uint64(max(ms, 0) / 1000) }

// groupsOf returns the names of the friend groups in which a friend is. Numbers of groups that are gone are ignored.
func groupsOf(r *im.Relation, names map[uint64]string) []string {
	var out []string
	for _, n := range r.GetState().GetGroups() {
		if name, ok := names[n]; ok {
			out = append(out, name)
		}
	}
	return out
}

// friendProfile returns a friend, or somebody who is blocked, as the application sees them.
func friendProfile(r *im.Relation, groups map[uint64]string) *im.FriendProfile {
	state := r.GetState()
	profile := r.GetProfile()
	if profile == nil {
		profile = &im.UserProfile{}
	}
	profile.Identifier = r.UserId
	return &im.FriendProfile{Identifier: r.UserId, GroupNameArray: groupsOf(r, groups), Remark: state.GetRemark(), AddWording: state.GetWording(), AddSource: state.GetSource(),
		AddTime: seconds(state.GetTime()), UserProfile: profile, CustomStringArray: state.GetCustom()}
}

// friendChanges returns what of a friend the application has not been told yet; nil if nothing.
func friendChanges(old, now *im.Relation, before, after map[uint64]string) *im.FriendProfileItem {
	item := &im.FriendProfileItem{}
	if remark := now.GetState().GetRemark(); remark != old.GetState().GetRemark() {
		item.Remark = &remark
	}
	if names := groupsOf(now, after); !slices.Equal(names, groupsOf(old, before)) {
		item.SetGroups, item.GroupNameArray = true, names
	}
	for _, x := range changedFields(customOf(old), customOf(now)) {
		item.CustomStringArray = append(item.CustomStringArray, &im.FriendProfileCustomStringInfo{Key: x[0], Value: x[1]})
	}
	item.Profile = profileChanges(old.GetProfile(), now.GetProfile())
	if item.Remark == nil && !item.SetGroups && item.CustomStringArray == nil && item.Profile == nil {
		return nil
	}
	return item
}

func customOf(r *im.Relation) (fields [][2]string) {
	for _, x := range r.GetState().GetCustom() {
		fields = append(fields, [2]string{x.GetKey(), x.GetValue()})
	}
	return fields
}

// changedFields returns the fields that are new or other ones, and those that are gone with an empty value.
func changedFields(old, now [][2]string) (changed [][2]string) {
	for _, x := range now {
		if !slices.Contains(old, x) {
			changed = append(changed, x)
		}
	}
	for _, x := range old {
		if !slices.ContainsFunc(now, func(y [2]string) bool { return y[0] == x[0] }) {
			changed = append(changed, [2]string{x[0], ""})
		}
	}
	return changed
}

// profileChanges returns what of a profile has changed; nil if nothing.
func profileChanges(old, now *im.UserProfile) *im.UserProfileItem {
	if now == nil {
		return nil
	}
	item := &im.UserProfileItem{NickName: changed(old.GetNickName(), now.NickName), Gender: changed(old.GetGender(), now.Gender), FaceUrl: changed(old.GetFaceUrl(), now.FaceUrl),
		SelfSignature: changed(old.GetSelfSignature(), now.SelfSignature), AddPermission: changed(permission(old), permission(now)),
		Location: changed(old.GetLocation(), now.Location), Language: changed(old.GetLanguage(), now.Language), Birthday: changed(old.GetBirthday(), now.Birthday),
		Level: changed(old.GetLevel(), now.Level), Role: changed(old.GetRole(), now.Role)}
	fields := func(p *im.UserProfile) (fields [][2]string) {
		for _, x := range p.GetCustomStringArray() {
			fields = append(fields, [2]string{x.GetKey(), x.GetValue()})
		}
		return fields
	}
	for _, x := range changedFields(fields(old), fields(now)) {
		item.CustomStringArray = append(item.CustomStringArray, &im.UserProfileCustomStringInfo{Key: x[0], Value: x[1]})
	}
	if item.SizeVT() == 0 {
		return nil
	}
	return item
}

// changed returns the new value of a field; nil if it is the old one.
func changed[T comparable](old, now T) *T {
	if old == now {
		return nil
	}
	return &now
}

// permission returns who may add a user; nobody has said so at first, which is the same as anybody.
func permission(p *im.UserProfile) im.ProfileAddPermission {
	return max(p.GetAddPermission(), im.ProfileAddPermission_PROFILE_ADD_PERMISSION_ALLOW_ANY)
}
