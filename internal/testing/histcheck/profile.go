package histcheck

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// A profile is written as its fields that have a value, by their tags without the common beginning: "Custom_b=1;IM_Nick=Ben".

const profileTag = "Tag_Profile_"

// profileField is a field of a profile. Its values are texts; "" is what a new profile has.
type profileField struct {
	tag string
	// of reads it, changed reads it from a change if it is there, and set puts it into a change.
	of      func(*im.UserProfile) string
	changed func(*im.UserProfileItem) (string, bool)
	set     func(*im.UserProfileItem, string)
	// values, if there are some, are all that it can have, by the names that the webhook gets.
	values []string
}

func textField(tag string, of func(*im.UserProfile) string, at func(*im.UserProfileItem) **string) profileField {
	return profileField{tag: tag, of: of,
		changed: func(x *im.UserProfileItem) (string, bool) {
			if p := *at(x); p != nil {
				return *p, true
			}
			return "", false
		},
		set: func(x *im.UserProfileItem, s string) { *at(x) = &s },
	}
}

// numberField has a number; the values below one that is given are the same as none.
func numberField[N ~int32 | ~uint32](tag string, none N, of func(*im.UserProfile) N, at func(*im.UserProfileItem) **N, values ...string) profileField {
	write := func(n N) string {
		switch {
		case n <= none:
			return ""
		case len(values) > 0:
			return values[n]
		}
		return fmt.Sprint(n)
	}
	return profileField{tag: tag, values: values, of: func(p *im.UserProfile) string { return write(of(p)) },
		changed: func(x *im.UserProfileItem) (string, bool) {
			if p := *at(x); p != nil {
				return write(*p), true
			}
			return "", false
		},
		set: func(x *im.UserProfileItem, s string) {
			n := none
			if i := slices.Index(values, s); i >= 0 {
				n = N(i)
			} else if i, err := strconv.Atoi(s); err == nil {
				n = N(i)
			}
			*at(x) = &n
		},
	}
}

var profileFields = []profileField{
	textField("IM_Nick", (*im.UserProfile).GetNickName, func(x *im.UserProfileItem) **string { return &x.NickName }),
	textField("IM_Image", (*im.UserProfile).GetFaceUrl, func(x *im.UserProfileItem) **string { return &x.FaceUrl }),
	textField("IM_SelfSignature", (*im.UserProfile).GetSelfSignature, func(x *im.UserProfileItem) **string { return &x.SelfSignature }),
	textField("IM_Location", (*im.UserProfile).GetLocation, func(x *im.UserProfileItem) **string { return &x.Location }),
	numberField("IM_Gender", 0, (*im.UserProfile).GetGender, func(x *im.UserProfileItem) **im.GenderType { return &x.Gender }, "Gender_Type_Unknown", "Gender_Type_Male", "Gender_Type_Female"),
	numberField("IM_AllowType", 1, (*im.UserProfile).GetAddPermission, func(x *im.UserProfileItem) **im.ProfileAddPermission { return &x.AddPermission }, "",
		"AllowType_Type_AllowAny", "AllowType_Type_NeedConfirm", "AllowType_Type_DenyAny"),
	numberField("IM_Language", 0, (*im.UserProfile).GetLanguage, func(x *im.UserProfileItem) **uint32 { return &x.Language }),
	numberField("IM_BirthDay", 0, (*im.UserProfile).GetBirthday, func(x *im.UserProfileItem) **uint32 { return &x.Birthday }),
	numberField("IM_Level", 0, (*im.UserProfile).GetLevel, func(x *im.UserProfileItem) **uint32 { return &x.Level }),
	numberField("IM_Role", 0, (*im.UserProfile).GetRole, func(x *im.UserProfileItem) **uint32 { return &x.Role }),
}

const customField = "Custom_"

// fields are the fields of a profile that have a value, or those of a change.
type fields map[string]string

func profileOf(p *im.UserProfile) fields {
	out := fields{}
	for _, f := range profileFields {
		if v := f.of(p); v != "" {
			out[f.tag] = v
		}
	}
	for _, x := range p.GetCustomStringArray() {
		out[customField+x.GetKey()] = x.GetValue()
	}
	return out
}

// changesOf are the fields of a change, "" for one that gets no value.
func changesOf(x *im.UserProfileItem) fields {
	out := fields{}
	for _, f := range profileFields {
		if v, ok := f.changed(x); ok {
			out[f.tag] = v
		}
	}
	for _, c := range x.GetCustomStringArray() {
		out[customField+c.GetKey()] = c.GetValue()
	}
	return out
}

func (f fields) item() *im.UserProfileItem {
	x := &im.UserProfileItem{}
	for _, tag := range slices.Sorted(maps.Keys(f)) {
		if key, ok := strings.CutPrefix(tag, customField); ok {
			x.CustomStringArray = append(x.CustomStringArray, &im.UserProfileCustomStringInfo{Key: key, Value: f[tag]})
		}
		for _, field := range profileFields {
			if field.tag == tag {
				field.set(x, f[tag])
			}
		}
	}
	return x
}

// String is the written form of the fields.
func (f fields) String() string {
	var out []string
	for tag, v := range f {
		out = append(out, tag+"="+v)
	}
	slices.Sort(out)
	return strings.Join(out, ";")
}

// readFields reads the written form.
func readFields(s string) fields {
	out := fields{}
	for x := range strings.SplitSeq(s, ";") {
		if tag, v, ok := strings.Cut(x, "="); ok {
			out[tag] = v
		}
	}
	return out
}

// noticedField is a field as the webhook is notified of it.
func noticedField(tag string, value any) (string, string) {
	tag = strings.TrimPrefix(tag, profileTag)
	v := fmt.Sprint(value)
	for _, f := range profileFields {
		if f.tag == tag { // as it would be read again
			x := &im.UserProfileItem{}
			f.set(x, v)
			v, _ = f.changed(x)
		}
	}
	return tag, v
}

// newProfile draws a change of one to three fields; texts are unique.
func (d *device) newProfile(b uint64) string {
	out := fields{}
	for range 1 + b%3 {
		b = b>>8 | b<<56
		n := int(b % uint64(len(profileFields)+2))
		switch {
		case n >= len(profileFields):
			out[customField+string(rune('a'+n-len(profileFields)))] = [...]string{d.newTag(Pass), ""}[b>>4%4/3]
		case len(profileFields[n].values) > 0:
			v := profileFields[n].values
			out[profileFields[n].tag] = v[1+b>>4%2] // nobody refuses all adds: histories are about friends
		case n < 4:
			out[profileFields[n].tag] = d.newTag(Pass)
		default:
			out[profileFields[n].tag] = fmt.Sprint(b >> 4 % 50)
		}
	}
	return changesOf(out.item()).String()
}
