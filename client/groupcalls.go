package client

import (
	"slices"
	"unicode/utf8"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// maxGroupID is how many bytes a group id can have.
const maxGroupID = 48

// askGroup is ask for a request about a group, which is checked first; group is its part that names the group, nil if it names none.
func askGroup[R any, P im.Decodable[R], T any](g Groups, to caller[T], method im.Method, req limited, group *im.GroupRequest, result func(P) T) {
	if err := g.check(req, group); err != nil {
		engine.Refuse(g.c.e, to, err)
		return
	}
	ask(g.c, to, method, &epochRequest{req, g, group}, result)
}

func (g Groups) check(req limited, group *im.GroupRequest) error {
	if group != nil && group.GroupId == "" {
		return im.Errorf(im.CodeGroupID, "the group id is empty")
	}
	if err := req.Check(); err != nil {
		return refusal(im.CodeGroupParameters, err)
	}
	return nil
}

// epochRequest is a request that gets the epoch of its group when it is sent first.
type epochRequest struct {
	limited
	g     Groups
	group *im.GroupRequest
}

func (r *epochRequest) MarshalVT() ([]byte, error) {
	if r.group != nil {
		r.group.Epoch = r.g.epoch(r.group.GroupId)
	}
	return r.limited.MarshalVT()
}

// epoch returns which of the groups that have had an id is meant: the one whose member the user is, as this device knows, so that a call that is sent
// again never reaches a later group. 0: whichever has it.
func (g Groups) epoch(id string) uint64 {
	if r := g.c.rooms.in[id]; r != nil {
		return r.epoch
	}
	if cv := g.c.convs.byKey[Group(id)]; cv != nil && !cv.over() {
		return cv.Epoch
	}
	return 0
}

func (g Groups) of(id string) *im.GroupRequest { return &im.GroupRequest{GroupId: id} }

func emptyResult(*im.Empty) none { return none{} }

// mostChanged limits the memory for groups that calls have changed.
const mostChanged = 10_000

// changed records that a call has changed something of a group: what is read next contains it.
func (g Groups) changed(id string) {
	if len(g.c.changedGroups) >= mostChanged {
		clear(g.c.changedGroups) // by then pushes have brought what was changed
	}
	g.c.changedGroups[id] = true
}

// changes is the result of a call that changes something of a group.
func (g Groups) changes(id string) func(*im.Empty) none {
	return func(*im.Empty) none {
		g.changed(id)
		return none{}
	}
}

// Create creates a group with the user as its owner, and returns its id. The first members are members at once. The code of the error is 10021 if
// somebody else has a group with the id of the request, and 10025 if the user has it.
//
//tidings:call
func (g Groups) create(to caller[string], req *im.CreateGroupRequest) {
	own, err := ownOf(req)
	if err != nil {
		engine.Refuse(g.c.e, to, refusal(im.CodeGroupParameters, err))
		return
	}
	askGroup(g, to, im.Method_CREATE_GROUP, own, nil, func(r *im.CreateGroupReply) string {
		g.changed(r.GroupId)
		return r.GroupId
	})
}

// Delete dissolves a group. Only its owner can do that; a group of type Work ends when its last member leaves.
//
//tidings:call
func (g Groups) delete(to caller[none], group string) {
	req := g.of(group)
	askGroup(g, to, im.Method_DISSOLVE_GROUP, req, req, g.changes(group))
}

// Join makes the user a member of a group, or asks those who decide, with words of the user. It returns whether the user has to wait for them. The code
// of the error is 10013 for a member, and 10007 if nobody may join.
//
//tidings:call
func (g Groups) join(to caller[bool], group, words string) {
	req := &im.JoinGroupRequest{Group: g.of(group), Words: words}
	askGroup(g, to, im.Method_JOIN_GROUP, req, req.Group, func(r *im.JoinGroupReply) bool {
		if r.HeartbeatSeconds > 0 {
			g.c.rooms.joined(group, r)
		} else if !r.Waits {
			g.changed(group)
		}
		return r.Waits
	})
}

// Quit ends the user's membership of a group. The conversation and its messages stay. The code of the error is 10009 for an owner, who can leave groups
// of type Work only.
//
//tidings:call
func (g Groups) quit(to caller[none], group string) {
	req := g.of(group)
	askGroup(g, to, im.Method_QUIT_GROUP, req, req, func(*im.Empty) none {
		if !g.c.rooms.left(group) {
			g.changed(group)
		}
		return none{}
	})
}

// once returns users as a request has them, each of them once.
func once(users []string) (ids []string) {
	seen := map[string]bool{}
	for _, u := range sendable(users) {
		if !seen[u] {
			seen[u] = true
			ids = append(ids, u)
		}
	}
	return ids
}

// each calls f with what became of each user, in the order of the call. The server has one result for a user, however often they were named.
func each[R interface {
	GetIdentifier() string
	GetResult() uint32
}](users []string, results []R, f func(user string, result uint32)) {
	have := map[string]uint32{}
	for _, x := range results {
		have[x.GetIdentifier()] = x.GetResult()
	}
	for i, id := range sendable(users) {
		f(users[i], have[id])
	}
}

// Invite makes users members of a group, or asks them, as the group's option says. data is passed to them. It returns a result for each of them, in their
// order: 0 failed, 1 is a member now, 2 was one, 3 has been asked. At most 20 in one call.
//
//tidings:call
func (g Groups) invite(to caller[[]*im.GroupInviteMemberResult], group string, users []string, data string) {
	users = slices.Clone(users)
	req := &im.GroupMembersRequest{Group: g.of(group), UserIds: once(users), UserData: data}
	askGroup(g, to, im.Method_INVITE, req, req.Group, func(r *im.InviteReply) (out []*im.GroupInviteMemberResult) {
		each(users, r.Results, func(user string, result uint32) {
			out = append(out, &im.GroupInviteMemberResult{Identifier: user, Result: result})
		})
		return out
	})
}

// Kick ends the memberships of others. reason is passed to them. It returns a result for each of them, in their order: 0 failed, 1 is no member any more,
// 2 was none. At most 100 in one call.
//
//tidings:call
func (g Groups) kick(to caller[[]*im.GroupDeleteMemberResult], group string, users []string, reason string) {
	users = slices.Clone(users)
	req := &im.GroupMembersRequest{Group: g.of(group), UserIds: once(users), UserData: reason}
	askGroup(g, to, im.Method_KICK_MEMBERS, req, req.Group, func(r *im.KickReply) (out []*im.GroupDeleteMemberResult) {
		each(users, r.Results, func(user string, result uint32) {
			out = append(out, &im.GroupDeleteMemberResult{Identifier: user, Result: result})
		})
		return out
	})
}

// Info returns what everybody may know of groups, in their order, each with a code of its own: 10010 for a group that does not exist, 10007 for one of
// type Work whose member the user is not. At most 100 in one call.
//
//tidings:call
func (g Groups) info(to caller[[]*im.GetGroupInfoResult], groups []string) {
	groups = slices.Clone(groups)
	if len(groups) == 0 {
		engine.Refuse(g.c.e, to, im.Errorf(im.CodeGroupParameters, "the list of group ids is empty"))
		return
	}
	req := &im.GroupsRequest{GroupIds: slices.Clone(groups)}
	for i, id := range groups {
		if len(id) > maxGroupID || !utf8.ValidString(id) { // as a group that does not exist, so that the others have their results
			req.GroupIds[i] = ""
		}
	}
	askGroup(g, to, im.Method_GROUPS, req, nil, func(r *im.GroupsReply) []*im.GetGroupInfoResult {
		for i, x := range r.Results[:min(len(r.Results), len(groups))] {
			if x.Info == nil {
				x.Info = &im.GroupDetailInfo{}
			}
			x.Info.GroupId = groups[i]
		}
		g.took(req.GroupIds, r)
		return r.Results
	})
}

// Modify changes the information about a group: the fields that are present in change, whose group is ignored. The owner is changed alone. A field of the
// app's own with an empty value is removed.
//
//tidings:call
func (g Groups) modify(to caller[none], group string, change *im.ModifyGroupRequest) {
	own, err := ownOf(change)
	if err != nil {
		engine.Refuse(g.c.e, to, refusal(im.CodeGroupParameters, err))
		return
	}
	own.Group = g.of(group)
	others := own.Name != nil || own.Notification != nil || own.Introduction != nil || own.FaceUrl != nil || own.AddOption != nil || own.ApproveOption != nil ||
		own.MaxMembers != nil || own.Visible != nil || own.Searchable != nil || own.ShutupAll != nil || len(own.Custom) > 0
	switch {
	case own.Owner == nil && !others:
		engine.Refuse(g.c.e, to, im.Errorf(im.CodeGroupParameters, "nothing of the group is to be changed"))
	case own.Owner != nil && others:
		engine.Refuse(g.c.e, to, im.Errorf(im.CodeGroupParameters, "the owner is changed alone"))
	default:
		askGroup(g, to, im.Method_MODIFY_GROUP, own, own.Group, g.changes(group))
	}
}

// Members returns members of a group: those whom the request names, or a page of all in the order in which they joined, of the roles that it names. Next
// is 0 in the request for the first page, and in the reply at the end. The request's group is ignored. The code of the error is 10007 for a user who is no
// member.
//
//tidings:call
func (g Groups) members(to caller[*im.ListMembersReply], group string, req *im.ListMembersRequest) {
	own := &im.ListMembersRequest{Group: g.of(group), UserIds: once(req.GetUserIds()), Roles: req.GetRoles(), Next: req.GetNext(), Limit: req.GetLimit()}
	askGroup(g, to, im.Method_MEMBERS, own, own.Group, func(r *im.ListMembersReply) *im.ListMembersReply {
		cv := g.c.convs.byKey[Group(group)]
		for _, m := range r.Members {
			if cv != nil && !cv.over() {
				g.c.members.meet(cv, m.GetIdentifier(), m.GetNameCard(), 0)
			}
			m.FriendRemark = g.c.relations.row(relFriend, m.Identifier).GetState().GetRemark()
		}
		return r
	})
}

// ModifyMember changes what a user is in a group: the fields that are present in change, whose group and user are ignored. Mute is a number of seconds, 0
// ends one. Members change their own receive option, name card and fields of the app's own, and those above them the name card and the fields.
//
//tidings:call
func (g Groups) modifyMember(to caller[none], group, user string, change *im.ModifyMemberRequest) {
	own, err := ownOf(change)
	if err != nil {
		engine.Refuse(g.c.e, to, refusal(im.CodeGroupParameters, err))
		return
	}
	own.Group, own.UserId = g.of(group), user
	if own.RecvOpt == nil && own.Role == nil && own.Mute == nil && own.NameCard == nil && len(own.Custom) == 0 {
		engine.Refuse(g.c.e, to, im.Errorf(im.CodeGroupParameters, "nothing of the member is to be changed"))
		return
	}
	askGroup(g, to, im.Method_MODIFY_MEMBER, own, own.Group, func(*im.Empty) none {
		g.changed(group)
		if cv := g.c.convs.byKey[Group(group)]; cv != nil && !cv.over() && own.NameCard != nil {
			g.c.members.changed(cv, user, *own.NameCard)
		}
		return none{}
	})
}

// OnlineCount returns how many members of a group are online.
//
//tidings:call
func (g Groups) onlineCount(to caller[int], group string) {
	req := g.of(group)
	askGroup(g, to, im.Method_ONLINE_COUNT, req, req, func(r *im.OnlineCountReply) int { return int(r.Count) })
}

// Requests returns a page of the requests to join groups of which the user is owner or admin, and of the user's invitations, the newest first, and how many
// of them are unread. Those that were answered stay in it.
//
//tidings:call
func (g Groups) requests(to caller[*im.GroupPendencyResult], req *im.GroupRequestsRequest) {
	own, err := ownOf(req)
	if err != nil {
		engine.Refuse(g.c.e, to, refusal(im.CodeGroupParameters, err))
		return
	}
	askGroup(g, to, im.Method_GROUP_REQUESTS, own, nil, func(r *im.GroupPendencyResult) *im.GroupPendencyResult { return r })
}

// HandleRequest accepts or refuses a request or an invitation, as Requests returned it, with words of the user. The code of the error is 10024 if it was
// answered already.
//
//tidings:call
func (g Groups) handleRequest(to caller[none], request *im.GroupPendency, accept bool, words string) {
	own, err := ownOf(&im.HandleGroupRequest{Pendency: request, Accept: accept, Words: words})
	if err != nil {
		engine.Refuse(g.c.e, to, refusal(im.CodeGroupParameters, err))
		return
	}
	if own.Pendency.GetGroupId() == "" {
		engine.Refuse(g.c.e, to, im.Errorf(im.CodeGroupParameters, "group_pendency_group_id is empty"))
		return
	}
	askGroup(g, to, im.Method_HANDLE_GROUP_REQUEST, own, nil, g.changes(own.Pendency.GroupId))
}

// ReadRequests marks requests as read, up to a time in seconds since 1970; 0 is now.
//
//tidings:call
func (g Groups) readRequests(to caller[none], upTo uint64) {
	askGroup(g, to, im.Method_READ_GROUP_REQUESTS, &im.ReadRequestsRequest{Time: upTo}, nil, emptyResult)
}
