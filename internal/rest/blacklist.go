package rest

import "github.com/tidings-im/tidings/im"

// blockedAtOnce is the most that a page of a blacklist has.
const blockedAtOnce = 100

func (a *API) blackListAdd(c *call, r *blackListAddRequest) (*blackListAddReply, error) {
	got, err := a.chat.BlockAs(c.Context(), c.operator(), r.From_Account, &im.UsersRequest{UserIds: r.To_Account})
	if err != nil {
		return nil, unknown(err, im.CodeFriendUnknown, r.From_Account)
	}
	out := &blackListAddReply{}
	out.ResultItem, out.Fail_Account = itemsOf[blackListAddReplyResultItem](got.Results)
	return out, nil
}

func (a *API) blackListDelete(c *call, r *blackListDeleteRequest) (*blackListDeleteReply, error) {
	got, err := a.chat.UnblockAs(c.Context(), c.operator(), r.From_Account, &im.UsersRequest{UserIds: r.To_Account})
	if err != nil {
		return nil, unknown(err, im.CodeFriendUnknown, r.From_Account)
	}
	out := &blackListDeleteReply{}
	out.ResultItem, out.Fail_Account = itemsOf[blackListDeleteReplyResultItem](got.Results)
	return out, nil
}

// blackListGet returns a page of a blacklist. StartIndex is 0, or that of the page before; 0 in the reply is the end.
func (a *API) blackListGet(c *call, r *blackListGetRequest) (*blackListGetReply, error) {
	switch {
	case r.StartIndex < 0:
		return nil, im.Errorf(im.CodeFriendParameters, "StartIndex is below 0")
	case r.MaxLimited < 1:
		return nil, im.Errorf(im.CodeFriendParameters, "MaxLimited is below 1")
	}
	page, err := a.chat.BlockedOf(c.Context(), r.From_Account, uint64(r.StartIndex), int(min(r.MaxLimited, blockedAtOnce)))
	if err != nil {
		return nil, unknown(err, im.CodeFriendUnknown, r.From_Account)
	}
	out := &blackListGetReply{StartIndex: int64(page.Next), CurruentSequence: int64(page.Feed)}
	for _, b := range page.Items {
		out.BlackListItem = append(out.BlackListItem, blackListGetReplyBlackListItem{To_Account: b.User, AddBlackTimeStamp: b.State.Time / 1000})
	}
	return out, nil
}
