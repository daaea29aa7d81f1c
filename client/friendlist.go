package client

import (
	"slices"
	"strings"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// doLocal is doReading for a call about relations.
func doLocal[T any](f Friends, to caller[T], read func(b *relations) T) {
	doReading(f.c, to, func(finish func(T, error)) {
		v := read(f.c.relations)
		finish(v, nil)
	})
}

// List returns the friends with their profiles, the oldest friendship first, from local data.
//
//tidings:call
func (f Friends) list(to caller[[]*im.FriendProfile]) {
	doLocal(f, to, func(b *relations) []*im.FriendProfile { return b.profiles(relFriend) })
}

// Blacklist returns the users whom this one has blocked, the first one first, from local data.
//
//tidings:call
func (f Friends) blacklist(to caller[[]*im.FriendProfile]) {
	doLocal(f, to, func(b *relations) []*im.FriendProfile { return b.profiles(relBlocked) })
}

// profiles returns the friends, or who is blocked.
func (b *relations) profiles(kind im.RelationKind) []*im.FriendProfile {
	names := b.groupNames()
	var out []*im.FriendProfile
	for _, r := range b.oldestFirst(kind) {
		out = append(out, friendProfile(r, names))
	}
	return out
}

// Groups returns friend groups with their friends, the oldest group first, from local data: those with the names, or all if there are none.
//
//tidings:call
func (f Friends) groups(to caller[[]*im.FriendGroupInfo], names []string) {
	names = slices.Clone(names)
	doLocal(f, to, func(b *relations) []*im.FriendGroupInfo {
		all := map[uint64]*im.FriendGroupInfo{}
		var numbers []uint64
		for _, r := range b.rows(relGroup) {
			if name := r.GetState().GetName(); len(names) == 0 || slices.Contains(names, name) {
				all[r.Group] = &im.FriendGroupInfo{Name: name}
				numbers = append(numbers, r.Group)
			}
		}
		for _, r := range b.friends() {
			for _, n := range r.GetState().GetGroups() {
				if g := all[n]; g != nil {
					g.IdentifierArray = append(g.IdentifierArray, r.UserId)
					g.Count++
				}
			}
		}
		slices.Sort(numbers)
		var out []*im.FriendGroupInfo
		for _, n := range numbers {
			out = append(out, all[n])
		}
		return out
	})
}

// Search returns the friends for whom one of the named fields contains one of the keywords, in the order of List, from local data. Letters that differ
// only in case are equal. At most 5 keywords.
//
//tidings:call
func (f Friends) search(to caller[[]*im.FriendFound], p *im.FriendSearchParam) {
	var words []string
	for _, k := range p.GetKeywordList() {
		if k = fold(strings.TrimSpace(k)); k != "" {
			words = append(words, k)
		}
	}
	var fields int32
	for _, x := range p.GetSearchFieldList() {
		fields |= x
	}
	if fields == 0 {
		fields = SearchUserID | SearchNickName | SearchRemark
	}
	switch {
	case len(p.GetKeywordList()) > mostKeywords:
		engine.Refuse(f.c.e, to, im.Errorf(im.CodeFriendParameters, "friendship_search_param_keyword_list has more than %d keywords", mostKeywords))
		return
	case len(words) == 0:
		engine.Refuse(f.c.e, to, im.Errorf(im.CodeFriendParameters, "friendship_search_param_keyword_list is empty"))
		return
	case fields&^(SearchUserID|SearchNickName|SearchRemark) != 0:
		engine.Refuse(f.c.e, to, im.Errorf(im.CodeFriendParameters, "friendship_search_param_search_field_list has fields other than 1, 2 and 4"))
		return
	}
	doLocal(f, to, func(b *relations) []*im.FriendFound {
		names := b.groupNames()
		var out []*im.FriendFound
		for _, r := range b.friends() {
			for field, text := range map[int32]string{SearchUserID: r.UserId, SearchNickName: r.GetProfile().GetNickName(), SearchRemark: r.GetState().GetRemark()} {
				text = fold(text)
				if fields&field != 0 && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) }) {
					x := friendInfo(r, names)
					out = append(out, &im.FriendFound{Info: x, Profile: x.FieldInfo})
					break
				}
			}
		}
		return out
	})
}

// friendInfo returns a friend as one of whom only the own list is known.
func friendInfo(r *im.Relation, names map[uint64]string) *im.FriendInfoGetResult {
	return &im.FriendInfoGetResult{Identifier: r.UserId, RelationType: 1, FieldInfo: friendProfile(r, names)}
}

// Info returns what is known of users, in their order: of a friend what List has, of anybody else the profile. The relation type is that of Check with
// both. A user who does not exist has the error code 30003. Without a connection it knows friends only, and whether they are on the user's list: anybody else has the
// error code of that.
//
//tidings:call
func (f Friends) info(to caller[[]*im.FriendInfoGetResult], users []string) {
	users = slices.Clone(users)
	if len(users) == 0 {
		engine.Refuse(f.c.e, to, im.Errorf(im.CodeFriendParameters, "identifier_array is empty"))
		return
	}
	req := &im.UsersRequest{UserIds: sendable(users), Both: true}
	if err := req.Check(); err != nil {
		engine.Refuse(f.c.e, to, refusal(im.CodeFriendParameters, err))
		return
	}
	doReading(f.c, to, func(finish func([]*im.FriendInfoGetResult, error)) {
		b := f.c.relations
		names := b.groupNames()
		known := map[string]*im.FriendInfoGetResult{}
		var strangers []string
		for _, u := range users {
			if r := b.row(relFriend, u); r != nil {
				known[u] = friendInfo(r, names)
			} else {
				strangers = append(strangers, u)
			}
		}
		inOrder := func() []*im.FriendInfoGetResult {
			var out []*im.FriendInfoGetResult
			for _, u := range users {
				out = append(out, known[u])
			}
			return out
		}
		if err := f.c.session.online(); err != nil {
			for _, u := range strangers {
				known[u] = &im.FriendInfoGetResult{Identifier: u, ErrorCode: uint32(im.CodeOf(err)), ErrorMessage: err.Desc, FieldInfo: &im.FriendProfile{Identifier: u}}
			}
			finish(inOrder(), nil)
			return
		}
		limit := f.c.cfg.Limits.Call
		engine.Ask(f.c.e, im.Method_CHECK_FRIENDS, req, true, limit, func(reply *im.CheckFriendsReply, err *im.Error) {
			if err != nil {
				finish(nil, err)
				return
			}
			var missing []string
			for i, x := range reply.Results {
				if i >= len(users) {
					break
				}
				u := users[i]
				if known[u] == nil {
					known[u] = &im.FriendInfoGetResult{Identifier: u, ErrorCode: uint32(x.GetCode()), ErrorMessage: x.GetDesc(), FieldInfo: &im.FriendProfile{Identifier: u}}
					if x.GetCode() == 0 {
						missing = append(missing, u)
					}
				}
				known[u].RelationType = x.GetRelation()
			}
			if len(reply.Results) < len(users) {
				finish(nil, engine.Unreadable)
				return
			}
			if len(missing) == 0 {
				finish(inOrder(), nil)
				return
			}
			engine.Ask(f.c.e, im.Method_PROFILES, &im.ProfilesRequest{UserIds: missing}, true, limit, func(reply *im.ProfilesReply, err *im.Error) {
				if err != nil {
					finish(nil, err)
					return
				}
				for _, p := range reply.Profiles {
					if x := known[p.GetProfile().GetIdentifier()]; x != nil && x.FieldInfo.UserProfile == nil {
						x.FieldInfo.UserProfile = p.Profile
					}
				}
				finish(inOrder(), nil)
			})
		})
	})
}
