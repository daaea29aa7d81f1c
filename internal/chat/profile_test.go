package chat_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// TestProfileLimits: what may not be in a profile is refused as a whole, with its code. A field that is present is changed, an empty value removes a field
// of the app's own, and a change of nothing is told to nobody.
func TestProfileLimits(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		a := r.user("a")
		set := func(item *im.UserProfileItem) (*im.VersionedProfile, error) {
			return call[*im.VersionedProfile](a, false, im.Method_SET_PROFILE, &im.SetProfileRequest{Item: item})
		}
		own := func(pairs ...string) (fields []*im.UserProfileCustomStringInfo) {
			for i := 0; i < len(pairs); i += 2 {
				fields = append(fields, &im.UserProfileCustomStringInfo{Key: pairs[i], Value: pairs[i+1]})
			}
			return fields
		}
		numbered := func(from, to int) (pairs []string) {
			for i := from; i < to; i++ {
				pairs = append(pairs, fmt.Sprint("k", i), "v")
			}
			return pairs
		}
		fits, long := strings.Repeat("x", 500), strings.Repeat("x", 501)
		v, err := set(&im.UserProfileItem{NickName: &fits, FaceUrl: &fits, CustomStringArray: own("Tag_Profile_Custom_k0", fits, "k1", "1")})
		if err != nil || v.Profile.NickName != fits || len(v.Profile.CustomStringArray) != 2 || v.Profile.CustomStringArray[0].Key != "k0" {
			r.Fatal(v, err)
		}
		gender, permission, forbidden := im.GenderType(3), im.ProfileAddPermission(4), "AdminForbid_Type_SendOut"
		for name, x := range map[string]struct {
			item *im.UserProfileItem
			code int32
		}{
			"long nick":         {&im.UserProfileItem{NickName: &long}, im.CodeProfileSize},
			"long face":         {&im.UserProfileItem{FaceUrl: &long}, im.CodeProfileSize},
			"long signature":    {&im.UserProfileItem{SelfSignature: &long}, im.CodeProfileSize},
			"long location":     {&im.UserProfileItem{Location: &long}, im.CodeProfileSize},
			"long field":        {&im.UserProfileItem{CustomStringArray: own("k", long)}, im.CodeProfileSize},
			"no gender":         {&im.UserProfileItem{Gender: &gender}, im.CodeProfileValue},
			"no permission":     {&im.UserProfileItem{AddPermission: &permission}, im.CodeProfileValue},
			"operators' field":  {&im.UserProfileItem{AdminForbidType: &forbidden}, im.CodeProfileParameters},
			"empty key":         {&im.UserProfileItem{CustomStringArray: own("Tag_Profile_Custom_", "x")}, im.CodeProfileTag},
			"long key":          {&im.UserProfileItem{CustomStringArray: own("123456789", "x")}, im.CodeProfileTag},
			"another prefix":    {&im.UserProfileItem{CustomStringArray: own("Tag_SNS_Custom_a", "x")}, im.CodeProfileTag},
			"too many fields":   {&im.UserProfileItem{CustomStringArray: own(numbered(2, 21)...)}, im.CodeProfileParameters},
			"one bad among two": {&im.UserProfileItem{Location: new("changed"), CustomStringArray: own("k", "v", "no key", "v")}, im.CodeProfileTag},
		} {
			if _, err := set(x.item); im.CodeOf(err) != x.code {
				r.Errorf("%s: %v, want %d", name, err, x.code)
			}
		}
		v2, err := set(&im.UserProfileItem{NickName: &fits, CustomStringArray: own("none", "")})
		if err != nil || v2.Ver != v.Ver || v2.Profile.Location != "" {
			r.Errorf("after refusals and a change of nothing: %v, %v; the version was %d", v2, err, v.Ver)
		}
		v3, err := set(&im.UserProfileItem{CustomStringArray: own(append(numbered(2, 21), "k0", "")...), FaceUrl: new("")})
		if err != nil || v3.Ver <= v.Ver || len(v3.Profile.CustomStringArray) != 20 || v3.Profile.FaceUrl != "" || v3.Profile.NickName != fits {
			r.Errorf("20 fields: %v, %v", v3, err)
		}
		r.settle()
		r.mu.Lock()
		if len(a.told) != 2 || a.told[0].ProfileVer != v.Ver || a.told[1].ProfileVer != v3.Ver || fmt.Sprint(a.order[:2]) != "[reply push]" {
			r.Errorf("the user's devices were told %v, in the order %v", a.told, a.order)
		}
		r.mu.Unlock()

		got, err := call[*im.ProfilesReply](a, false, im.Method_PROFILES, &im.ProfilesRequest{UserIds: []string{"nobody", "a"}})
		if err != nil || len(got.Profiles) != 1 || got.Profiles[0].Ver != v3.Ver || got.Profiles[0].Profile.Identifier != "a" {
			r.Errorf("profiles: %v, %v", got, err)
		}
		if _, err := call[*im.ProfilesReply](a, false, im.Method_PROFILES, &im.ProfilesRequest{}); im.CodeOf(err) != im.CodeProfileParameters {
			r.Error("no users:", err)
		}
	})
}
