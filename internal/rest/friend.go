package rest

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/restjson"
)

// maxName limits a name from a request in the text of an error.
const maxName = 64

// friendsAtOnce is how many friends a page has.
const friendsAtOnce = 100

// itemOf is the result for one of the users that a call names, in the replies of all calls about friends.
type itemOf interface {
	~struct {
		To_Account string
		ResultCode int64
		ResultInfo string
	}
}

// itemsOf writes results, and lists the users for whom the call did not do what it was to do.
func itemsOf[T itemOf](results []*im.FriendResult) (items restjson.List[T], failed restjson.List[string]) {
	for _, r := range results {
		items = append(items, T(struct {
			To_Account string
			ResultCode int64
			ResultInfo string
		}{r.Identifier, int64(r.Code), r.Desc}))
		if r.Code != 0 {
			failed = append(failed, r.Identifier)
		}
	}
	return items, failed
}

// result makes the error for one user a result. An error that is not about the user stays one.
func result(user string, err error) (*im.FriendResult, error) {
	var e *im.Error
	switch err := recode(err, im.CodeInvalidParameters, im.CodeFriendParameters); {
	case err == nil:
		return &im.FriendResult{Identifier: user}, nil
	case errors.As(err, &e):
		return &im.FriendResult{Identifier: user, Code: e.Code, Desc: im.Shorten(e.Desc, im.MaxDesc)}, nil
	}
	return nil, err
}

// choice reads a field whose values are two names.
func choice(field string, v *string, first, second string) (isSecond bool, err error) {
	switch {
	case v == nil || *v == "" || *v == first:
		return false, nil
	case *v == second:
		return true, nil
	}
	return false, im.Errorf(im.CodeFriendParameters, "%s is neither %s nor %s", field, first, second)
}

func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// friendAdd adds friends, each on its own.
func (a *API) friendAdd(c *call, r *friendAddRequest) (*friendAddReply, error) {
	single, err := choice("AddType", r.AddType, "Add_Type_Both", "Add_Type_Single")
	if err != nil {
		return nil, err
	}
	if err := a.user(c, r.From_Account); err != nil {
		return nil, err
	}
	var results []*im.FriendResult
	for _, item := range r.AddFriendItem {
		got, err := a.chat.AddFriendAs(c.Context(), c.operator(), r.From_Account, &im.AddFriendRequest{
			UserId: item.To_Account, Both: !single, Remark: textOf(item.Remark), GroupName: textOf(item.GroupName), Source: textOf(item.AddSource), Wording: textOf(item.AddWording),
		}, bool(r.ForceAddFlags))
		if err != nil {
			if got, err = result(item.To_Account, err); err != nil {
				return nil, err
			}
		}
		results = append(results, got)
	}
	out := &friendAddReply{}
	out.ResultItem, out.Fail_Account = itemsOf[friendAddReplyResultItem](results)
	return out, nil
}

// user checks that the user exists for whom the call acts.
func (a *API) user(c *call, name string) error {
	there, err := a.chat.Exists(c.Context(), name)
	if err == nil && !there {
		err = im.Errorf(im.CodeFriendUnknown, "there is no user %q", im.Shorten(name, maxName))
	}
	return err
}

func (a *API) friendDelete(c *call, r *friendDeleteRequest) (*friendDeleteReply, error) {
	both, err := choice("DeleteType", r.DeleteType, "Delete_Type_Single", "Delete_Type_Both")
	if err != nil {
		return nil, err
	}
	got, err := a.chat.DeleteFriendsAs(c.Context(), c.operator(), r.From_Account, &im.UsersRequest{UserIds: r.To_Account, Both: both})
	if err != nil {
		return nil, unknown(err, im.CodeFriendUnknown, r.From_Account)
	}
	out := &friendDeleteReply{}
	out.ResultItem, _ = itemsOf[friendDeleteReplyResultItem](got.Results)
	return out, nil
}

const (
	tagRemark     = "Tag_SNS_IM_Remark"
	tagGroup      = "Tag_SNS_IM_Group"
	tagAddSource  = "Tag_SNS_IM_AddSource"
	tagAddWording = "Tag_SNS_IM_AddWording"
	tagAddTime    = "Tag_SNS_IM_AddTime"
	tagOwn        = "Tag_SNS_Custom_"
)

// friendUpdate changes what a user has noted about friends, about each on its own: of a friend, everything or nothing is changed.
func (a *API) friendUpdate(c *call, r *friendUpdateRequest) (*friendUpdateReply, error) {
	if err := a.user(c, r.From_Account); err != nil {
		return nil, err
	}
	var results []*im.FriendResult
	for _, item := range r.UpdateItem {
		req, err := item.request()
		if err == nil {
			err = a.chat.UpdateFriendAs(c.Context(), c.operator(), r.From_Account, req)
		}
		got, err := result(item.To_Account, err)
		if err != nil {
			return nil, err
		}
		results = append(results, got)
	}
	out := &friendUpdateReply{}
	out.ResultItem, out.Fail_Account = itemsOf[friendUpdateReplyResultItem](results)
	return out, nil
}

// request is the change that the tags make.
func (r *friendUpdateRequestUpdateItem) request() (*im.UpdateFriendRequest, error) {
	req := &im.UpdateFriendRequest{UserId: r.To_Account}
	for _, t := range r.SnsItem {
		key, own := strings.CutPrefix(t.Tag, tagOwn)
		var err error
		switch {
		case t.Tag == tagRemark:
			req.Remark = new("")
			err = json.Unmarshal(t.Value, req.Remark)
		case t.Tag == tagGroup:
			req.SetGroups, req.GroupNames = true, nil
			err = json.Unmarshal(t.Value, &req.GroupNames)
		case own:
			f := &im.FriendProfileCustomStringInfo{Key: key}
			f.Value, err = restjson.OwnValue(t.Value)
			req.Custom = append(req.Custom, f)
		default:
			return nil, im.Errorf(im.CodeFriendParameters, "the tag %q is not one that can be changed", im.Shorten(t.Tag, maxName))
		}
		if err != nil {
			return nil, im.Errorf(im.CodeFriendParameters, "%s has a value of the wrong type", im.Shorten(t.Tag, maxName))
		}
	}
	return req, nil
}

// friendGet returns a page of a list of friends. StartIndex is 0 or NextStartIndex of the page before.
func (a *API) friendGet(c *call, r *friendGetRequest) (*friendGetReply, error) {
	if r.StartIndex < 0 {
		return nil, im.Errorf(im.CodeFriendParameters, "StartIndex is below 0")
	}
	page, err := a.chat.FriendsOf(c.Context(), r.From_Account, uint64(r.StartIndex), friendsAtOnce)
	if err != nil {
		return nil, unknown(err, im.CodeFriendUnknown, r.From_Account)
	}
	out := &friendGetReply{
		StandardSequence: int64(page.Feed), CustomSequence: int64(page.Feed), FriendNum: int64(page.Total), NextStartIndex: int64(page.Next),
	}
	if page.Next == 0 {
		out.CompleteFlag = 1
	}
	for _, f := range page.Items {
		tags := restjson.ProfileTags(f.Profile)
		groups := restjson.List[string](f.Groups)
		tags = append(tags, restjson.Tag{Tag: tagRemark, Value: f.State.Remark}, restjson.Tag{Tag: tagGroup, Value: groups},
			restjson.Tag{Tag: tagAddSource, Value: f.State.Source}, restjson.Tag{Tag: tagAddWording, Value: f.State.Wording}, restjson.Tag{Tag: tagAddTime, Value: f.State.Time / 1000})
		for _, own := range f.State.Custom {
			tags = append(tags, restjson.Tag{Tag: tagOwn + own.Key, Value: own.Value})
		}
		item := friendGetReplyUserDataItem{To_Account: f.User}
		for _, t := range tags {
			item.ValueItem = append(item.ValueItem, friendGetReplyUserDataItemValueItem(t))
		}
		out.UserDataItem = append(out.UserDataItem, item)
	}
	return out, nil
}
