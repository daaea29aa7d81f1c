package client

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// Fields in which searches of groups and members look. They are TIM's: TIMGroupSearchFieldKey, TIMGroupMemberSearchFieldKey.
const (
	SearchGroupID, SearchGroupName                                             = 1, 2
	SearchMemberID, SearchMemberNick, SearchMemberRemark, SearchMemberNameCard = 1, 2, 4, 8
)

// groupsAtOnce is how many groups a call to the server names.
const groupsAtOnce = 100

// joined returns the conversations of the groups whose member the user is, the oldest membership first.
func (b *conversations) joined() (all []*conv) {
	for _, cv := range b.byKey {
		if cv.group != nil && !cv.over() && cv.endedEpoch != cv.Epoch {
			all = append(all, cv)
		}
	}
	slices.SortFunc(all, func(x, y *conv) int {
		return cmp.Or(cmp.Compare(x.group.JoinTime, y.group.JoinTime), cmp.Compare(x.Target, y.Target))
	})
	return all
}

// JoinedList returns the groups whose member the user is, the oldest membership first, from local data.
//
//tidings:call
func (g Groups) joinedList(to caller[[]*im.GroupBaseInfo]) {
	readGroups(g, to, func() (out []*im.GroupBaseInfo) {
		for _, cv := range g.c.convs.joined() {
			out = append(out, g.base(cv))
		}
		return out
	})
}

func (g Groups) base(cv *conv) *im.GroupBaseInfo {
	h := cv.group
	return &im.GroupBaseInfo{
		GroupId: cv.Target, GroupName: cv.info.GetGroupName(), GroupType: im.GroupType(h.GroupType), FaceUrl: cv.info.GetFaceUrl(), InfoSeq: cv.info.GetInfoSeq(),
		LatestSeq: cv.headSeq, ReadedSeq: cv.ReadSeq, MsgFlag: uint32(cv.RecvOpt), IsShutupAll: h.ShutupAll,
		SelfInfo: &im.GroupSelfInfo{JoinTime: h.JoinTime, Role: uint32(h.Role), UnreadNum: cv.unread(g.c.cfg.UserID), MsgFlag: cv.RecvOpt},
	}
}

// readGroups is doReading for a call about groups: it sees what the user's calls have changed. Such a call returns before its events, with which the device
// gets what it has changed; so what they have not brought yet is asked for.
func readGroups[T any](g Groups, to caller[T], read func() T) {
	doReading(g.c, to, func(finish func(T, error)) {
		fail := engine.FailWith(finish)
		answer := func() {
			v := read()
			finish(v, nil)
		}
		if g.c.session.online() != nil || g.c.e.Conn == nil {
			answer()
			return
		}
		g.newest(fail, func() { g.named(fail, answer) })
	})
}

// newest asks for the heads of groups that calls of the user have changed.
func (g Groups) newest(fail func(error), then func()) {
	changed := g.c.changedGroups
	if len(changed) == 0 {
		then()
		return
	}
	req := &im.HeadsRequest{}
	for id := range changed {
		if req.Only = append(req.Only, Group(id).wire()); len(req.Only) == groupsAtOnce {
			break
		}
	}
	engine.Ask(g.c.e, im.Method_HEADS, req, true, g.c.cfg.Limits.Call, func(reply *im.HeadsReply, err *im.Error) {
		if err != nil {
			fail(err)
			return
		}
		for _, k := range req.Only {
			delete(changed, k.Id)
			if cv := g.c.convs.byKey[Group(k.Id)]; cv != nil && !slices.ContainsFunc(reply.Heads, func(h *im.Head) bool { return h.Conv.GetId() == k.Id }) {
				cv.endedEpoch = cv.Epoch // it does not exist any more; its last change is under way
			}
		}
		for _, h := range reply.Heads {
			g.c.convs.applyHead(h)
		}
		g.newest(fail, then)
	})
}

// named asks for the information about joined groups that the device lacks.
func (g Groups) named(fail func(error), then func()) {
	req := &im.GroupsRequest{}
	for _, cv := range g.c.convs.joined() {
		if (cv.info == nil || cv.info.InfoSeq < cv.group.InfoSeq) && len(req.GroupIds) < groupsAtOnce {
			req.GroupIds = append(req.GroupIds, cv.Target)
		}
	}
	if len(req.GroupIds) == 0 {
		then()
		return
	}
	engine.Ask(g.c.e, im.Method_GROUPS, req, true, g.c.cfg.Limits.Call, func(reply *im.GroupsReply, err *im.Error) {
		if err != nil {
			fail(err)
			return
		}
		g.took(req.GroupIds, reply)
		then()
	})
}

// took keeps the information about groups that the server has returned, of those whose member the user is.
func (g Groups) took(ids []string, reply *im.GroupsReply) {
	for i, r := range reply.Results {
		if i >= len(ids) || i >= len(reply.Epochs) {
			return
		}
		if cv := g.c.convs.byKey[Group(ids[i])]; cv != nil && r.GetCode() == 0 && cv.Epoch == reply.Epochs[i] && !cv.over() {
			g.c.groups.takeInfo(cv, r.Info)
		}
	}
}

// words returns the keywords of a search as they are compared, or an error that names the field.
func words(list []string, field string) (out []string, err *im.Error) {
	for _, k := range list[:min(len(list), mostKeywords)] {
		if k = fold(strings.TrimSpace(k)); k != "" {
			out = append(out, k)
		}
	}
	switch {
	case len(list) > mostKeywords:
		return nil, im.Errorf(im.CodeGroupParameters, "%s has more than %d keywords", field, mostKeywords)
	case len(out) == 0:
		return nil, im.Errorf(im.CodeGroupParameters, "%s is empty", field)
	}
	return out, nil
}

// fieldsOf joins fields in which a search looks; none are all.
func fieldsOf(list []int32, all int32, field string) (fields int32, err *im.Error) {
	for _, x := range list {
		fields |= x
	}
	if fields&^all != 0 {
		return 0, im.Errorf(im.CodeGroupParameters, "%s has fields that do not exist", field)
	}
	return cmp.Or(fields, all), nil
}

// anyContains reports whether one of the texts whose field is wanted contains one of the keywords.
func anyContains(words []string, fields int32, texts map[int32]string) bool {
	for field, text := range texts {
		if text = fold(text); fields&field != 0 && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) }) {
			return true
		}
	}
	return false
}

// Search returns the user's groups for which one of the named fields contains one of the keywords, the oldest membership first, from local data. Letters
// that differ only in case are equal. At most 5 keywords.
//
//tidings:call
func (g Groups) search(to caller[[]*im.GroupDetailInfo], p *im.GroupSearchParam) {
	keywords, err := words(p.GetKeywordList(), "group_search_params_keyword_list")
	fields, err2 := fieldsOf(p.GetFieldList(), SearchGroupID|SearchGroupName, "group_search_params_field_list")
	if err := cmp.Or(err, err2); err != nil {
		engine.Refuse(g.c.e, to, err)
		return
	}
	readGroups(g, to, func() (out []*im.GroupDetailInfo) {
		for _, cv := range g.c.convs.joined() {
			if anyContains(keywords, fields, map[int32]string{SearchGroupID: cv.Target, SearchGroupName: cv.info.GetGroupName()}) {
				out = append(out, g.detail(cv))
			}
		}
		return out
	})
}

// SearchMembers returns, for each of the groups or for all of the user's if none is named, the members for whom one of the named fields contains one of the
// keywords, from local data: among those whom this device has met, by a message, a tip or a list. Groups in which nobody is found are left out. At most 5
// keywords.
//
//tidings:call
func (g Groups) searchMembers(to caller[[]*im.GroupSearchGroupMembersResult], p *im.GroupMemberSearchParam) {
	keywords, err := words(p.GetKeywordList(), "group_search_member_params_keyword_list")
	fields, err2 := fieldsOf(p.GetFieldList(), SearchMemberID|SearchMemberNick|SearchMemberRemark|SearchMemberNameCard, "group_search_member_params_field_list")
	if err := cmp.Or(err, err2); err != nil {
		engine.Refuse(g.c.e, to, err)
		return
	}
	wanted := make(map[string]bool, len(p.GetGroupIdList()))
	for _, id := range p.GetGroupIdList() {
		wanted[id] = true
	}
	readGroups(g, to, func() (out []*im.GroupSearchGroupMembersResult) {
		for _, cv := range g.c.convs.joined() {
			if len(wanted) > 0 && !wanted[cv.Target] {
				continue
			}
			var found []*im.GroupMemberInfo
			for _, m := range g.c.members.of(cv) {
				if anyContains(keywords, fields, map[int32]string{SearchMemberID: m.Identifier, SearchMemberNick: m.NickName, SearchMemberRemark: m.FriendRemark, SearchMemberNameCard: m.NameCard}) {
					found = append(found, m)
				}
			}
			if len(found) > 0 {
				out = append(out, &im.GroupSearchGroupMembersResult{GroupId: cv.Target, MemberInfoList: found})
			}
		}
		return out
	})
}

// detail returns what this device knows of a group, in a copy.
func (g Groups) detail(cv *conv) *im.GroupDetailInfo {
	out := &im.GroupDetailInfo{}
	if body, err := cv.info.MarshalVT(); g.c.e.Check(err) {
		g.c.e.Check(out.UnmarshalVT(body))
	}
	out.GroupId, out.GroupType = cv.Target, im.GroupType(cv.group.GetGroupType())
	return out
}
