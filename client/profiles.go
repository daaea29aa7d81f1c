package client

import (
	"cmp"
	"slices"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// Profiles are who users are: names, pictures and what else they show of themselves. Its methods are calls like those of Client.
type Profiles struct{ c *Client }

// Profiles returns the calls about profiles.
func (c *Client) Profiles() Profiles { return Profiles{c} }

// Get returns the profiles of users in their order; those who do not exist are left out. At most 100 in one call. Those of friends and of the user come from local data, which the
// sync keeps up to date; all others come from the server, and are not asked for again for 10 minutes. fresh asks for all of them.
//
//tidings:call
func (p Profiles) get(to caller[[]*im.UserProfile], users []string, fresh bool) {
	users = slices.Clone(users)
	if len(users) == 0 {
		engine.Refuse(p.c.e, to, im.Errorf(im.CodeProfileParameters, "identifier_array is empty"))
		return
	}
	if err := (&im.ProfilesRequest{UserIds: sendable(users)}).Check(); err != nil {
		engine.Refuse(p.c.e, to, refusal(im.CodeProfileParameters, err))
		return
	}
	doReading(p.c, to, func(finish func([]*im.UserProfile, error)) {
		known := map[string]*im.UserProfile{}
		var missing []string
		for _, u := range users {
			if x := cmp.Or(p.c.relations.profile(u), p.c.people.stranger(u)); x != nil && !fresh {
				known[u] = x
			} else if im.ValidUserID(u) && !slices.Contains(missing, u) {
				missing = append(missing, u)
			}
		}
		inOrder := func() []*im.UserProfile {
			var out []*im.UserProfile
			for _, u := range users {
				if known[u] != nil {
					out = append(out, known[u])
				}
			}
			return out
		}
		if len(missing) == 0 {
			finish(inOrder(), nil)
			return
		}
		if err := p.c.session.online(); err != nil {
			finish(nil, err)
			return
		}
		engine.Ask(p.c.e, im.Method_PROFILES, &im.ProfilesRequest{UserIds: missing}, true, p.c.cfg.Limits.Call, func(reply *im.ProfilesReply, err *im.Error) {
			if err != nil {
				finish(nil, err)
				return
			}
			for _, x := range reply.Profiles {
				if x.GetProfile() != nil {
					known[x.Profile.Identifier] = x.Profile
					p.c.people.meet(x)
				}
			}
			finish(inOrder(), nil)
		})
	})
}

// profile returns the profile of a user that the feed keeps up to date: their own, or a friend's. nil for anybody else.
func (b *relations) profile(user string) *im.UserProfile {
	kind, other := relFriend, user
	if user == b.c.cfg.UserID {
		kind, other = relSelf, ""
	}
	p := b.row(kind, other).GetProfile()
	if p != nil {
		p.Identifier = user
	}
	return p
}

// SetSelf changes the user's own profile: the fields that are set. An empty value removes a field of the app's own. It is reported to friends.
//
//tidings:call
func (p Profiles) setSelf(to caller[none], item *im.UserProfileItem) {
	own, err := ownOf(&im.SetProfileRequest{Item: item})
	if err != nil {
		engine.Refuse(p.c.e, to, refusal(im.CodeProfileParameters, err))
		return
	}
	ask(p.c, to, im.Method_SET_PROFILE, own, func(r *im.VersionedProfile) none {
		if p.c.e.DB != nil {
			p.c.relations.setSelf(&im.Relation{Kind: relSelf, Profile: r.Profile, ProfileVer: r.Ver})
		}
		return none{}
	})
}
