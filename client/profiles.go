package client

import (
	"slices"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// Profiles are who users are: names, pictures and what else they show of themselves. Its methods are calls like those of Client.
type Profiles struct{ c *Client }

// Profiles returns the calls about profiles.
func (c *Client) Profiles() Profiles { return Profiles{c} }

// Get returns the profiles of users in their order. Those who do not exist are left out.
//
//tidings:call
func (p Profiles) get(to caller[[]*im.UserProfile], users []string) {
	if len(users) == 0 {
		engine.Refuse(p.c.e, to, im.Errorf(im.CodeProfileParameters, "identifier_array is empty"))
		return
	}
	ask(p.c, to, im.Method_PROFILES, &im.ProfilesRequest{UserIds: slices.Clone(users)}, func(r *im.ProfilesReply) []*im.UserProfile {
		var out []*im.UserProfile
		for _, x := range r.Profiles {
			if x.GetProfile() != nil {
				out = append(out, x.Profile)
			}
		}
		return out
	})
}

// SetSelf changes the user's own profile: the fields that are set. An empty value removes a field of the app's own. It is reported to friends.
//
//tidings:call
func (p Profiles) setSelf(to caller[none], item *im.UserProfileItem) {
	own, err := ownOf(&im.SetProfileRequest{Item: item})
	if err != nil {
		engine.Refuse(p.c.e, to, im.Errorf(im.CodeProfileParameters, "%v", err))
		return
	}
	ask(p.c, to, im.Method_SET_PROFILE, own, func(*im.VersionedProfile) none { return none{} })
}
