package client

import (
	"errors"
	"slices"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// Friends are the user's relations to others: friends, requests, friend groups and the blacklist. Its methods are calls like those of Client, and may
// be made from any goroutine.
//
// List, Info of friends, Search, Blacklist and Groups read local data, which the sync keeps up to date; they work without a connection too. All others
// need one. A call that changes something returns when the server has done it and the device has it: what is read then contains it. The events follow.
type Friends struct{ c *Client }

// Friends returns the calls about friends, requests, friend groups and the blacklist.
func (c *Client) Friends() Friends { return Friends{c} }

// The numbers that calls about friends use. They are TIM's.
const (
	// Whose requests: FriendPendencyTypeComeIn and so on.
	RequestsReceived, RequestsSent, RequestsBoth = 0, 1, 2
	// How a request is answered: TIMFriendResponseAction.
	AcceptRequest, AcceptAndAdd, RejectRequest = 0, 1, 2
	// In which fields Search looks: TIMFriendshipSearchFieldKey.
	SearchUserID, SearchNickName, SearchRemark = 1, 2, 4
)

// ask makes a call to the server that is sent again after a reconnect, and passes on the result.
func ask[R any, P im.Decodable[R], T any](c *Client, to caller[T], method im.Method, req engine.Request, result func(P) T) {
	doSynced(c, to, func(finish func(T, error)) {
		if err := c.session.online(); err != nil {
			var none T
			finish(none, err)
			return
		}
		engine.Ask(c.e, method, req, true, c.cfg.Limits.Call, func(reply P, err *im.Error) {
			if err != nil {
				var none T
				finish(none, err)
				return
			}
			v := result(reply)
			finish(v, nil)
		})
	})
}

// ownOf returns a copy of what an application passes, whose limits are checked. The application may change its own afterwards.
func ownOf[R any, P interface {
	im.Decodable[R]
	Check() error
}](req P) (P, error) {
	b, err := req.MarshalVT()
	if err != nil {
		return nil, err
	}
	own := P(new(R))
	if err := im.Decode(b, own); err != nil {
		return nil, err
	}
	return own, own.Check()
}

// refusal is the error of a call that does not keep a limit, with the code that calls of its kind have for that.
func refusal(code int32, err error) *im.Error {
	if e := (*im.Error)(nil); errors.As(err, &e) {
		return &im.Error{Code: code, Desc: e.Desc}
	}
	return im.Errorf(code, "%v", err)
}

// sendable returns the ids of users as a request has them, in a copy: one that no user can have is left empty, whatever its length, so that it gets the
// result of a user who does not exist and the others theirs.
func sendable(users []string) []string {
	ids := slices.Clone(users)
	for i, u := range ids {
		if !im.ValidUserID(u) {
			ids[i] = ""
		}
	}
	return ids
}

// about is for a call whose results are in the order of its users, who are named in them as they were in the call. It returns the ids for its request.
func about[T any](to caller[[]T], users []string, name func(T, string)) (caller[[]T], []string) {
	users = slices.Clone(users)
	return engine.Map(to, func(results []T) []T {
		for i, r := range results[:min(len(results), len(users))] {
			name(r, users[i])
		}
		return results
	}), sendable(users)
}

func nameResult(r *im.FriendResult, user string) { r.Identifier = user }

func nameCheck(r *im.FriendshipCheckFriendTypeResult, user string) { r.Identifier = user }

func noResult(*im.ChangeReply) none { return none{} }

func friendResult(r *im.FriendReply) *im.FriendResult {
	return &im.FriendResult{Identifier: r.Identifier, Code: r.Code, Desc: r.Desc}
}

// users makes a call about users whose reply has a result for each of them, in their order.
func (f Friends) users(to caller[[]*im.FriendResult], method im.Method, req *im.UsersRequest) {
	to, req.UserIds = about(to, req.UserIds, nameResult)
	f.results(to, method, req, "identifier_array", req.UserIds)
}

// limited is a request that has limits.
type limited interface {
	engine.Request
	Check() error
}

// results makes a call whose reply has a result for each of some users. The list that must not be empty has a name.
func (f Friends) results(to caller[[]*im.FriendResult], method im.Method, req limited, field string, list []string) {
	if len(list) == 0 {
		engine.Refuse(f.c.e, to, im.Errorf(im.CodeFriendParameters, "%s is empty", field))
		return
	}
	if err := req.Check(); err != nil {
		engine.Refuse(f.c.e, to, refusal(im.CodeFriendParameters, err))
		return
	}
	change(f.c, to, method, req, func(r *im.FriendResults) []*im.FriendResult { return r.Results })
}

// Add adds a friend, on the user's list only or with both on both lists, or asks to become one, as the other's profile permits. The outcome is the
// code of the result: 0 added, 30539 the request waits for approval, 30516 the other takes no requests, 30015 they are friends already, 30515 and
// 30525 one of them has blocked the other, 30010 and 30014 a list is full.
//
//tidings:call
func (f Friends) add(to caller[*im.FriendResult], req *im.AddFriendRequest) {
	own, err := ownOf(req)
	if err != nil {
		engine.Refuse(f.c.e, to, refusal(im.CodeFriendParameters, err))
		return
	}
	if own.UserId == "" {
		engine.Refuse(f.c.e, to, im.Errorf(im.CodeFriendParameters, "the user to add is empty"))
		return
	}
	change(f.c, to, im.Method_ADD_FRIEND, own, friendResult)
}

// Delete takes users off the friend list, and with both the user off theirs. It returns a result for each of them, in their order: 31704 for one who is
// no friend.
//
//tidings:call
func (f Friends) delete(to caller[[]*im.FriendResult], users []string, both bool) {
	f.users(to, im.Method_DELETE_FRIENDS, &im.UsersRequest{UserIds: users, Both: both})
}

// Update changes what the user has noted about a friend: the remark, the friend groups (by name; SetGroups says that the list is set, and new names are
// created), fields of the app's own. Only what is set changes; an empty value removes a field. The item's Profile is ignored: it is the friend's own.
//
//tidings:call
func (f Friends) update(to caller[none], user string, item *im.FriendProfileItem) {
	req := &im.UpdateFriendRequest{UserId: user, SetGroups: item.GetSetGroups(), GroupNames: slices.Clone(item.GetGroupNameArray())}
	if item != nil && item.Remark != nil {
		req.Remark = new(*item.Remark)
	}
	for _, x := range item.GetCustomStringArray() {
		req.Custom = append(req.Custom, &im.FriendProfileCustomStringInfo{Key: x.GetKey(), Value: x.GetValue()})
	}
	switch {
	case user == "":
		engine.Refuse(f.c.e, to, im.Errorf(im.CodeFriendParameters, "the friend to change is empty"))
		return
	case req.Remark == nil && !req.SetGroups && len(req.Custom) == 0:
		engine.Refuse(f.c.e, to, im.Errorf(im.CodeFriendParameters, "nothing of the friend is to be changed"))
		return
	}
	if err := req.Check(); err != nil {
		engine.Refuse(f.c.e, to, refusal(im.CodeFriendParameters, err))
		return
	}
	change(f.c, to, im.Method_UPDATE_FRIEND, req, noResult)
}

// Check returns whether users are friends, in their order: 0 no, 1 on the user's list, and with both also 2 the user on theirs, 3 both.
//
//tidings:call
func (f Friends) check(to caller[[]*im.FriendshipCheckFriendTypeResult], users []string, both bool) {
	if len(users) == 0 {
		engine.Refuse(f.c.e, to, im.Errorf(im.CodeFriendParameters, "identifier_array is empty"))
		return
	}
	to, ids := about(to, users, nameCheck)
	req := &im.UsersRequest{UserIds: ids, Both: both}
	if err := req.Check(); err != nil {
		engine.Refuse(f.c.e, to, refusal(im.CodeFriendParameters, err))
		return
	}
	ask(f.c, to, im.Method_CHECK_FRIENDS, req, func(r *im.CheckFriendsReply) []*im.FriendshipCheckFriendTypeResult { return r.Results })
}

// Requests returns a page of the requests, the newest first, and how many of the received ones are unread.
//
//tidings:call
func (f Friends) requests(to caller[*im.PendencyPage], req *im.RequestsRequest) {
	own, err := ownOf(req)
	if err != nil {
		engine.Refuse(f.c.e, to, refusal(im.CodeFriendParameters, err))
		return
	}
	ask(f.c, to, im.Method_REQUESTS, own, func(p *im.PendencyPage) *im.PendencyPage { return p })
}

// AnswerRequest accepts or rejects a request: AcceptRequest makes the user a friend of who asks, AcceptAndAdd both of both, with the remark and in the
// friend group of the answer. The code of the result is 30614 if there is no such request.
//
//tidings:call
func (f Friends) answerRequest(to caller[*im.FriendResult], req *im.AnswerRequestRequest) {
	own, err := ownOf(req)
	switch {
	case err != nil:
		engine.Refuse(f.c.e, to, refusal(im.CodeFriendParameters, err))
	case own.UserId == "":
		engine.Refuse(f.c.e, to, im.Errorf(im.CodeFriendParameters, "the user whose request is answered is empty"))
	default:
		change(f.c, to, im.Method_ANSWER_REQUEST, own, friendResult)
	}
}

// DeleteRequests deletes the requests of users, those to them, or both: RequestsReceived, RequestsSent or RequestsBoth. The other side keeps its own. It
// returns a result for each of them, in their order.
//
//tidings:call
func (f Friends) deleteRequests(to caller[[]*im.FriendResult], users []string, which int32) {
	if which < RequestsReceived || which > RequestsBoth {
		engine.Refuse(f.c.e, to, im.Errorf(im.CodeFriendParameters, "type %d is none of 0 to 2", which))
		return
	}
	f.users(to, im.Method_DELETE_REQUESTS, &im.UsersRequest{UserIds: users, Both: which == RequestsBoth, Sent: which == RequestsSent})
}

// ReadRequests marks received requests as read, up to a time in seconds since 1970; 0 is now.
//
//tidings:call
func (f Friends) readRequests(to caller[none], upTo uint64) {
	req := &im.ReadRequestsRequest{Time: upTo}
	if err := req.Check(); err != nil {
		engine.Refuse(f.c.e, to, refusal(im.CodeFriendParameters, err))
		return
	}
	change(f.c, to, im.Method_READ_REQUESTS, req, noResult)
}

// Block puts users on the blacklist, which ends friendships on both sides. They are not notified that they are blocked. It returns a result for each of
// them, in their order: 30001 for one who is blocked already.
//
//tidings:call
func (f Friends) block(to caller[[]*im.FriendResult], users []string) {
	f.users(to, im.Method_BLOCK, &im.UsersRequest{UserIds: users})
}

// Unblock takes users off the blacklist. It restores neither friendships nor messages.
//
//tidings:call
func (f Friends) unblock(to caller[[]*im.FriendResult], users []string) {
	f.users(to, im.Method_UNBLOCK, &im.UsersRequest{UserIds: users})
}

// CreateGroups creates friend groups and puts friends into all of them. It fails as a whole if a name exists already. It returns a result for each of
// the users, in their order: 32216 for one who is no friend.
//
//tidings:call
func (f Friends) createGroups(to caller[[]*im.FriendResult], names, users []string) {
	f.group(to, &im.FriendGroupsRequest{Action: im.FriendGroupAction_FRIEND_GROUP_CREATE, Names: names, UserIds: users})
}

// DeleteGroups deletes friend groups. Their friends stay.
//
//tidings:call
func (f Friends) deleteGroups(to caller[none], names []string) {
	f.group(engine.Map(to, func([]*im.FriendResult) none { return none{} }), &im.FriendGroupsRequest{Action: im.FriendGroupAction_FRIEND_GROUP_DELETE, Names: names})
}

// RenameGroup gives a friend group another name.
//
//tidings:call
func (f Friends) renameGroup(to caller[none], name, newName string) {
	f.group(engine.Map(to, func([]*im.FriendResult) none { return none{} }),
		&im.FriendGroupsRequest{Action: im.FriendGroupAction_FRIEND_GROUP_RENAME, Names: []string{name}, NewName: newName})
}

// AddToGroup puts friends into a friend group. It returns a result for each of them, in their order: 32216 for one who is no friend.
//
//tidings:call
func (f Friends) addToGroup(to caller[[]*im.FriendResult], name string, users []string) {
	f.group(to, &im.FriendGroupsRequest{Action: im.FriendGroupAction_FRIEND_GROUP_ADD, Names: []string{name}, UserIds: users})
}

// RemoveFromGroup takes friends out of a friend group. It returns a result for each of them, in their order.
//
//tidings:call
func (f Friends) removeFromGroup(to caller[[]*im.FriendResult], name string, users []string) {
	f.group(to, &im.FriendGroupsRequest{Action: im.FriendGroupAction_FRIEND_GROUP_REMOVE, Names: []string{name}, UserIds: users})
}

func (f Friends) group(to caller[[]*im.FriendResult], req *im.FriendGroupsRequest) {
	req.Names = slices.Clone(req.Names)
	to, req.UserIds = about(to, req.UserIds, nameResult)
	f.results(to, im.Method_FRIEND_GROUPS, req, "the list of friend groups", req.Names)
}
