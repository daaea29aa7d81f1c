package chat

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/im"
)

const profileCustom = "Tag_Profile_Custom_"

// Profiles returns the profiles of users. Those that do not exist are left out.
func (c *Chat) Profiles(ctx context.Context, call Call[*im.ProfilesReply], req *im.ProfilesRequest) error {
	if len(req.UserIds) == 0 {
		return im.Errorf(im.CodeProfileParameters, "the list of users is empty")
	}
	out := &im.ProfilesReply{}
	for _, name := range req.UserIds {
		who, err := c.person(ctx, name)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		p, err := c.store.Profile(ctx, who.uid)
		if err != nil {
			return err
		}
		out.Profiles = append(out.Profiles, &im.VersionedProfile{Profile: c.publicProfile(name, p), Ver: p.Ver})
	}
	call.Reply(out)
	return nil
}

// SetProfile changes the caller's own profile. A change of nothing is answered and told to nobody.
func (c *Chat) SetProfile(ctx context.Context, call Call[*im.VersionedProfile], req *im.SetProfileRequest) error {
	s := call.Caller
	item := req.GetItem()
	if item == nil {
		item = &im.UserProfileItem{}
	}
	item, err := checkItem(item, s.Operator)
	if err != nil {
		return err
	}
	me := person{s.UID, s.Name}
	return c.relate(ctx, s, []Key{{UID: s.UID}}, func(f *feeding) error {
		tx := f.tx
		stored, err := tx.Profile(s.UID)
		if err != nil {
			return err
		}
		profile := c.profileOf("", stored)
		if err := setProfile(profile, item); err != nil {
			return err
		}
		body := wire(profile)
		profile.Identifier, profile.AdminForbidType, profile.MsgSettings = s.Name, "", 0
		if bytes.Equal(body, stored.Body) {
			return f.end(call.with(&im.VersionedProfile{Profile: profile, Ver: stored.Ver}))
		}
		// The entry first: it gives the profile its version, and is pushed with the profile.
		r := &im.Relation{Kind: im.RelationKind_RELATION_SELF}
		if err := f.add(s.UID, nil, r); err != nil {
			return err
		}
		r.Profile, r.ProfileVer = profile, r.Ver
		if err := tx.PutProfile(Profile{UID: s.UID, Ver: r.Ver, Body: body}); err != nil {
			return err
		}
		if err := tx.PutFanout(Fanout{UID: s.UID, Ver: r.Ver}); err != nil {
			return err
		}
		if err := c.portraitSet(tx, s, me, item); err != nil {
			return err
		}
		tx.AfterCommit(func() { c.show(s.Name, Profile{UID: s.UID, Ver: r.Ver, Body: body}) })
		tx.AfterCommit(c.fanMore)
		return f.end(call.with(&im.VersionedProfile{Profile: profile, Ver: r.Ver}))
	})
}

// checkItem checks a change of a profile, and returns it with the keys of custom fields as they are stored.
func checkItem(item *im.UserProfileItem, operator bool) (*im.UserProfileItem, error) {
	for _, x := range []struct {
		field string
		text  *string
	}{
		{"nick_name", item.NickName}, {"face_url", item.FaceUrl}, {"self_signature", item.SelfSignature}, {"location", item.Location},
	} {
		if x.text != nil && len(*x.text) > maxValue {
			return nil, im.Errorf(im.CodeProfileSize, "%s has %d bytes, more than %d", x.field, len(*x.text), maxValue)
		}
	}
	if item.Gender != nil && (*item.Gender < 0 || *item.Gender > im.GenderType_GENDER_TYPE_FEMALE) {
		return nil, im.Errorf(im.CodeProfileValue, "gender %d is unknown", *item.Gender)
	}
	if p := item.AddPermission; p != nil && (*p < im.ProfileAddPermission_PROFILE_ADD_PERMISSION_ALLOW_ANY || *p > im.ProfileAddPermission_PROFILE_ADD_PERMISSION_DENY_ANY) {
		return nil, im.Errorf(im.CodeProfileValue, "add_permission %d is unknown", *p)
	}
	if !operator && (item.AdminForbidType != nil || item.MsgSettings != nil) {
		return nil, im.Errorf(im.CodeProfileParameters, "only operators set admin_forbid_type and msg_settings")
	}
	out := &im.UserProfileItem{
		NickName: item.NickName, Gender: item.Gender, FaceUrl: item.FaceUrl, SelfSignature: item.SelfSignature, AddPermission: item.AddPermission,
		Location: item.Location, Language: item.Language, Birthday: item.Birthday, Level: item.Level, Role: item.Role,
		AdminForbidType: item.AdminForbidType, MsgSettings: item.MsgSettings,
	}
	for _, x := range item.CustomStringArray {
		key, ok := customKey(x.GetKey(), profileCustom)
		if !ok {
			return nil, im.Errorf(im.CodeProfileTag, "the key %q of a custom field is not 1 to 8 letters or digits", x.GetKey())
		}
		if len(x.GetValue()) > maxValue {
			return nil, im.Errorf(im.CodeProfileSize, "the custom field %q has %d bytes, more than %d", key, len(x.GetValue()), maxValue)
		}
		out.CustomStringArray = append(out.CustomStringArray, &im.UserProfileCustomStringInfo{Key: key, Value: x.GetValue()})
	}
	return out, nil
}

// setProfile makes the changes of a checked item.
func setProfile(p *im.UserProfile, item *im.UserProfileItem) error {
	set(&p.NickName, item.NickName)
	set(&p.Gender, item.Gender)
	set(&p.FaceUrl, item.FaceUrl)
	set(&p.SelfSignature, item.SelfSignature)
	set(&p.AddPermission, item.AddPermission)
	set(&p.Location, item.Location)
	set(&p.Language, item.Language)
	set(&p.Birthday, item.Birthday)
	set(&p.Level, item.Level)
	set(&p.Role, item.Role)
	set(&p.AdminForbidType, item.AdminForbidType)
	set(&p.MsgSettings, item.MsgSettings)
	for _, x := range item.CustomStringArray {
		p.CustomStringArray = slices.DeleteFunc(p.CustomStringArray, func(y *im.UserProfileCustomStringInfo) bool { return y.GetKey() == x.Key })
		if x.Value != "" {
			p.CustomStringArray = append(p.CustomStringArray, x)
		}
	}
	slices.SortFunc(p.CustomStringArray, func(a, b *im.UserProfileCustomStringInfo) int { return strings.Compare(a.Key, b.Key) })
	if n := len(p.CustomStringArray); n > maxCustom {
		return im.Errorf(im.CodeProfileParameters, "the profile would have %d custom fields, more than %d", n, maxCustom)
	}
	return nil
}

func set[V any](to *V, from *V) {
	if from != nil {
		*to = *from
	}
}
