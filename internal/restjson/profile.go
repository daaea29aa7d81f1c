package restjson

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// Codes of the tags of a profile.
const (
	CodeNoSuchTag = 40009
	CodeTagSize   = 40601
	CodeTagValue  = 40605
	CodeTagType   = 40610
)

// Tag is a field of a profile or of a friend, and its value: a text or a number.
type Tag struct {
	Tag   string
	Value any
}

// maxTag limits the text of a tag, in bytes.
const maxTag = 500

func checkTag(tag, text string) error {
	if len(text) > maxTag {
		return im.Errorf(CodeTagSize, "%s has %d bytes, more than %d", tag, len(text), maxTag)
	}
	return nil
}

// CustomTag is what the tags of the app's own fields of a profile begin with.
const CustomTag = "Tag_Profile_Custom_"

var (
	genders = names[im.GenderType]{im.GenderType_GENDER_TYPE_UNKNOWN: "Gender_Type_Unknown", im.GenderType_GENDER_TYPE_FEMALE: "Gender_Type_Female",
		im.GenderType_GENDER_TYPE_MALE: "Gender_Type_Male"}
	permissions = names[im.ProfileAddPermission]{im.ProfileAddPermission_PROFILE_ADD_PERMISSION_NEED_CONFIRM: "AllowType_Type_NeedConfirm",
		im.ProfileAddPermission_PROFILE_ADD_PERMISSION_ALLOW_ANY: "AllowType_Type_AllowAny", im.ProfileAddPermission_PROFILE_ADD_PERMISSION_DENY_ANY: "AllowType_Type_DenyAny"}
	forbids = names[string]{"AdminForbid_Type_None": "AdminForbid_Type_None", "AdminForbid_Type_SendOut": "AdminForbid_Type_SendOut"}
)

// names are the texts of values.
type names[V comparable] map[V]string

func (n names[V]) value(name string) (v V, ok bool) {
	for v, of := range n {
		if of == name {
			return v, true
		}
	}
	return v, false
}

// field is a standard field of a profile: it reads and writes it. of returns the field of a profile, changed that of a change, nil if it is not changed.
type field struct {
	tag     string
	of      func(p *im.UserProfile) any
	changed func(i *im.UserProfileItem) any
	set     func(i *im.UserProfileItem, v json.RawMessage) error
}

var fields = []field{
	textField("Tag_Profile_IM_Nick", func(p *im.UserProfile) string { return p.NickName }, func(i *im.UserProfileItem) **string { return &i.NickName }),
	textField("Tag_Profile_IM_Image", func(p *im.UserProfile) string { return p.FaceUrl }, func(i *im.UserProfileItem) **string { return &i.FaceUrl }),
	nameField("Tag_Profile_IM_Gender", genders, func(p *im.UserProfile) im.GenderType { return p.Gender }, func(i *im.UserProfileItem) **im.GenderType { return &i.Gender }),
	numberField("Tag_Profile_IM_BirthDay", func(p *im.UserProfile) uint32 { return p.Birthday }, func(i *im.UserProfileItem) **uint32 { return &i.Birthday }),
	textField("Tag_Profile_IM_Location", func(p *im.UserProfile) string { return p.Location }, func(i *im.UserProfileItem) **string { return &i.Location }),
	textField("Tag_Profile_IM_SelfSignature", func(p *im.UserProfile) string { return p.SelfSignature }, func(i *im.UserProfileItem) **string { return &i.SelfSignature }),
	nameField("Tag_Profile_IM_AllowType", permissions, func(p *im.UserProfile) im.ProfileAddPermission {
		if p.AddPermission == im.ProfileAddPermission_PROFILE_ADD_PERMISSION_UNKNOWN {
			return im.ProfileAddPermission_PROFILE_ADD_PERMISSION_ALLOW_ANY
		}
		return p.AddPermission
	}, func(i *im.UserProfileItem) **im.ProfileAddPermission { return &i.AddPermission }),
	numberField("Tag_Profile_IM_Language", func(p *im.UserProfile) uint32 { return p.Language }, func(i *im.UserProfileItem) **uint32 { return &i.Language }),
	numberField("Tag_Profile_IM_MsgSettings", func(p *im.UserProfile) uint32 { return p.MsgSettings }, func(i *im.UserProfileItem) **uint32 { return &i.MsgSettings }),
	nameField("Tag_Profile_IM_AdminForbidType", forbids, func(p *im.UserProfile) string {
		if p.AdminForbidType == "" {
			return "AdminForbid_Type_None"
		}
		return p.AdminForbidType
	}, func(i *im.UserProfileItem) **string { return &i.AdminForbidType }),
	numberField("Tag_Profile_IM_Level", func(p *im.UserProfile) uint32 { return p.Level }, func(i *im.UserProfileItem) **uint32 { return &i.Level }),
	numberField("Tag_Profile_IM_Role", func(p *im.UserProfile) uint32 { return p.Role }, func(i *im.UserProfileItem) **uint32 { return &i.Role }),
}

func textField(tag string, of func(*im.UserProfile) string, in func(*im.UserProfileItem) **string) field {
	return plainField(tag, of, in)
}

func numberField(tag string, of func(*im.UserProfile) uint32, in func(*im.UserProfileItem) **uint32) field {
	return plainField(tag, of, in)
}

// plainField has a value that is the same in JSON.
func plainField[V string | uint32](tag string, of func(*im.UserProfile) V, in func(*im.UserProfileItem) **V) field {
	return field{
		tag: tag,
		of:  func(p *im.UserProfile) any { return of(p) },
		changed: func(i *im.UserProfileItem) any {
			if v := *in(i); v != nil {
				return *v
			}
			return nil
		},
		set: func(i *im.UserProfileItem, raw json.RawMessage) error {
			v := new(V)
			if err := json.Unmarshal(raw, v); err != nil || string(raw) == "null" {
				return im.Errorf(CodeTagType, "%s has a value of the wrong type, or out of range", tag)
			}
			*in(i) = v
			if text, ok := any(*v).(string); ok {
				return checkTag(tag, text)
			}
			return nil
		},
	}
}

// nameField has a value that is one of some names in JSON.
func nameField[V comparable](tag string, all names[V], of func(*im.UserProfile) V, in func(*im.UserProfileItem) **V) field {
	return field{
		tag: tag,
		of:  func(p *im.UserProfile) any { return all[of(p)] },
		changed: func(i *im.UserProfileItem) any {
			if v := *in(i); v != nil {
				return all[*v]
			}
			return nil
		},
		set: func(i *im.UserProfileItem, raw json.RawMessage) error {
			var name string
			if json.Unmarshal(raw, &name) != nil {
				return im.Errorf(CodeTagType, "%s has a value that is not a text", tag)
			}
			v, ok := all.value(name)
			if !ok {
				return im.Errorf(CodeTagValue, "%s has none of its values", tag)
			}
			*in(i) = &v
			return nil
		},
	}
}

// ChangedTags returns the tags that a change of a profile sets.
func ChangedTags(item *im.UserProfileItem) []Tag {
	var out []Tag
	for _, f := range fields {
		if v := f.changed(item); v != nil {
			out = append(out, Tag{f.tag, v})
		}
	}
	for _, c := range item.CustomStringArray {
		out = append(out, Tag{CustomTag + strings.TrimPrefix(c.Key, CustomTag), c.Value})
	}
	return out
}

// ProfileTags returns the tags of a profile that have a value.
func ProfileTags(p *im.UserProfile) []Tag {
	var out []Tag
	for _, f := range fields {
		if v := f.of(p); v != "" && v != uint32(0) {
			out = append(out, Tag{f.tag, v})
		}
	}
	for _, c := range p.CustomStringArray {
		out = append(out, Tag{CustomTag + c.Key, c.Value})
	}
	return out
}

// TagOf returns one tag of a profile. there is false for a field of the app's own that the profile does not have; the error is that of a tag that no
// profile has.
func TagOf(p *im.UserProfile, tag string) (t Tag, there bool, err error) {
	for _, f := range fields {
		if f.tag == tag {
			return Tag{tag, f.of(p)}, true, nil
		}
	}
	key, own := strings.CutPrefix(tag, CustomTag)
	if !own || !customKey(key) {
		return Tag{}, false, im.Errorf(CodeNoSuchTag, "there is no tag %q", im.Shorten(tag, 64))
	}
	for _, c := range p.CustomStringArray {
		if c.Key == key {
			return Tag{tag, c.Value}, true, nil
		}
	}
	return Tag{}, false, nil
}

// SetTag makes a tag a part of a change.
func SetTag(item *im.UserProfileItem, tag string, value json.RawMessage) error {
	for _, f := range fields {
		if f.tag == tag {
			return f.set(item, value)
		}
	}
	key, own := strings.CutPrefix(tag, CustomTag)
	if !own || !customKey(key) {
		return im.Errorf(CodeNoSuchTag, "there is no tag %q", im.Shorten(tag, 64))
	}
	v, err := OwnValue(value)
	if err != nil {
		return im.Errorf(CodeTagType, "%s %v", tag, err)
	}
	if err := checkTag(tag, v); err != nil {
		return err
	}
	for _, c := range item.CustomStringArray {
		if c.Key == key { // the last one counts
			c.Value = v
			return nil
		}
	}
	item.CustomStringArray = append(item.CustomStringArray, &im.UserProfileCustomStringInfo{Key: key, Value: v})
	return nil
}

// customKey reports whether a key is 1 to 8 letters or digits.
func customKey(key string) bool {
	for i := range len(key) {
		c := key[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return len(key) >= 1 && len(key) <= 8
}

// OwnValue reads the value of a field of the app's own: a text, or a number, which is kept as a text.
func OwnValue(raw json.RawMessage) (string, error) {
	var text string
	if string(raw) != "null" && json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return strconv.FormatInt(n, 10), nil
	}
	return "", fmt.Errorf("is neither a text nor a whole number")
}
