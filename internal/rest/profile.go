package rest

import (
	"errors"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/restjson"
)

func (c *call) operator() chat.Operator { return chat.Operator{Name: c.admin, Addr: c.addr} }

// unknown gives the error for a user who does not exist the command's code and text.
func unknown(err error, code int32, user string) error {
	if errors.Is(err, chat.ErrNotFound) {
		return im.Errorf(code, "there is no user %q", im.Shorten(user, maxName))
	}
	return err
}

// portraitSet changes fields of a profile. If one of them cannot be changed, none is.
func (a *API) portraitSet(c *call, r *portraitSetRequest) error {
	item := &im.UserProfileItem{}
	for _, t := range r.ProfileItem {
		if err := restjson.SetTag(item, t.Tag, t.Value); err != nil {
			return err
		}
	}
	err := a.chat.SetProfileAs(c.Context(), c.operator(), r.From_Account, item)
	return recode(unknown(err, im.CodeProfileUnknown, r.From_Account), im.CodeInvalidParameters, im.CodeProfileParameters)
}

// portraitGet returns fields of profiles. A field of the app's own that a profile does not have is left out.
func (a *API) portraitGet(c *call, r *portraitGetRequest) (*portraitGetReply, error) {
	out := &portraitGetReply{}
	for _, tag := range r.TagList {
		if _, _, err := restjson.TagOf(&im.UserProfile{}, tag); err != nil {
			return nil, err
		}
	}
	for _, user := range r.To_Account {
		item := portraitGetReplyUserProfileItem{To_Account: user}
		p, err := a.chat.ProfileOf(c.Context(), user)
		switch {
		case errors.Is(err, chat.ErrNotFound):
			item.ResultCode, item.ResultInfo = im.CodeProfileUnknown, "there is no such user"
			out.Fail_Account = append(out.Fail_Account, user)
		case err != nil:
			return nil, err
		default:
			for _, tag := range r.TagList {
				t, there, err := restjson.TagOf(p, tag)
				if err != nil {
					return nil, err
				}
				if there {
					item.ProfileItem = append(item.ProfileItem, portraitGetReplyUserProfileItemProfileItem(t))
				}
			}
		}
		out.UserProfileItem = append(out.UserProfileItem, item)
	}
	return out, nil
}
