package histcheck

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// Group is one group from its creation on, as the server stores it. A group id that is used again is another Group, with a higher epoch.
type Group struct {
	ID        string
	Epoch     uint64
	Type      im.GroupType
	Dissolved bool
	// Entries are the whole log, Addressees those of the messages to some members, and Changes the whole rev line.
	Entries    []*im.Entry
	Addressees map[uint64][]string
	Changes    []*im.Change
	// Periods are the memberships of each user, the oldest first.
	Periods map[string][]Period
	// Rows are those of the present members; Count is the number that the group's row has.
	Rows  map[string]*im.GroupMemberInfo
	Count uint64
	// Info is the information about the group.
	Info      *im.GroupState
	Owner     string
	ShutupAll bool
	// Attributes have a version, which each change of them raises by one.
	Attributes map[string]string
	AttrVer    uint64
	// Requests are all that were made to join it, the oldest first; Fields are the fields of the app's own of members, as "key=value".
	Requests []GroupRequest
	Fields   map[string]string
}

// Period is a membership: the numbers above From up to To, and the changes above FromRev up to ToRev. One that goes on ends at NoEnd.
type Period struct{ From, To, FromRev, ToRev uint64 }

// NoEnd is the end of a membership that goes on.
const NoEnd = 1<<63 - 1

func (p Period) open() bool { return p.To == NoEnd }

// system is the sender of tips.
const system = "@TIM#SYSTEM"

// head is the last number of the log.
func (g *Group) head() uint64 { return uint64(len(g.Entries)) }

// within returns the membership of a user that a number belongs to.
func (g *Group) within(user string, seq uint64) (Period, bool) {
	for _, p := range g.Periods[user] {
		if p.From < seq && seq <= p.To {
			return p, true
		}
	}
	return Period{}, false
}

// last is the last membership of a user.
func (g *Group) last(user string) (Period, bool) {
	p := last(g.Periods[user])
	return p, len(g.Periods[user]) > 0
}

// ended are the numbers of the memberships of a user that are over.
func (g *Group) ended(user string) (out []Period) {
	for _, p := range g.Periods[user] {
		if !p.open() {
			out = append(out, Period{From: p.From, To: p.To})
		}
	}
	return out
}

// member reports whether a user is in the group.
func (g *Group) member(user string) bool {
	p, ok := g.last(user)
	return ok && p.open() && !g.Dissolved
}

// addressed reports whether an entry is for a user, if it is for members.
func (g *Group) addressed(user string, e *im.Entry) bool {
	to, some := g.Addressees[e.Seq]
	return !some || e.Sender == user || slices.Contains(to, user)
}

// hears reports whether an entry is announced to a user: it was made while they were a member, and is for them.
func (g *Group) hears(user string, e *im.Entry) bool {
	_, in := g.within(user, e.Seq)
	return in && g.addressed(user, e)
}

// sees reports whether an entry is in what a user may read: in groups of some types, what was before they joined is, too.
func (g *Group) sees(user string, e *im.Entry) bool {
	if !g.addressed(user, e) {
		return false
	}
	if _, some := g.Addressees[e.Seq]; !some || e.Sender == user { // one that is for some is for who is a member then
		if p, ok := g.last(user); ok && groupRules[g.Type].history {
			return e.Seq <= p.To
		}
	}
	_, in := g.within(user, e.Seq)
	return in
}

// recalled are the messages that were recalled.
func (g *Group) recalled() map[uint64]*im.Change {
	out := map[uint64]*im.Change{}
	for _, ch := range g.Changes {
		if ch.Kind == im.ChangeKind_CHANGE_REVOKE {
			out[ch.Seq] = ch
		}
	}
	return out
}

// tip returns the tip of an entry; nil if it is a message.
func tip(m *im.Message) *im.GroupTipsElem {
	for _, e := range m.GetElemArray() {
		if t := e.GetGroupTips(); t != nil {
			return t
		}
	}
	return nil
}

// report returns the report of a message; nil if it is something else.
func report(m *im.Message) *im.GroupReportElem {
	for _, e := range m.GetElemArray() {
		if r := e.GetGroupReport(); r != nil {
			return r
		}
	}
	return nil
}

// TipWords is everything about a tip that is the same wherever it is seen. They begin with the cause.
func TipWords(t *im.GroupTipsElem) string {
	s := causeOf(t).String()
	if t.MemberNum > 0 {
		s += fmt.Sprintf(", %d members", t.MemberNum)
	}
	return s + ", in " + t.GroupName
}

// ReportWords is everything about a report that is the same wherever it is seen.
func ReportWords(r *im.GroupReportElem) string {
	return fmt.Sprintf("report %d of %s by %s: %s", r.ReportType, r.GroupId, r.OpUser, cmp.Or(r.Msg, r.UserData))
}

// cause is what a tip is about: who has done what to whom, or has set what to which value.
type cause struct {
	tip   im.GroupTipType
	by    string
	of    string // users, sorted, joined by a comma
	flag  im.GroupTipGroupChangeFlag
	value string
}

func (c cause) String() string {
	s := fmt.Sprintf("tip %d by %s", c.tip, c.by)
	if c.of != "" {
		s += " of " + c.of
	}
	if c.flag != 0 {
		s += fmt.Sprintf(" sets %d", c.flag)
	}
	if c.value != "" {
		s += " to " + c.value
	}
	return s
}

// causeOf is the cause of a tip. Calls of a history change one thing each, and so does the tip.
func causeOf(t *im.GroupTipsElem) cause {
	c := cause{tip: t.TipType, by: t.OpUser, of: joined(t.UserArray)}
	for _, x := range t.GroupChangeInfoArray {
		c.flag, c.value = x.Flag, x.Value
	}
	for _, x := range t.MemberChangeInfoArray {
		c.value = fmt.Sprint(x.ShutupTime > 0)
	}
	return c
}

// groupRule is what the checker knows about a type of group: who may do what by their role, as the lowest role that may.
type groupRule struct {
	// tips: joining, leaving, roles and mutes make tips. Information does in all.
	tips bool
	// history: members see what was before they joined.
	history bool
	// unread: messages count.
	unread bool
	// targeted: there are messages to some members only.
	targeted bool
	edit     im.GroupMemberRole
	kick     im.GroupMemberRole
	appoint  im.GroupMemberRole
	mute     im.GroupMemberRole
	// ownerQuits: the owner may leave, and the group ends with its last member.
	ownerQuits bool
}

const (
	normal = im.GroupMemberRole_GROUP_MEMBER_ROLE_NORMAL
	admins = im.GroupMemberRole_GROUP_MEMBER_ROLE_ADMIN
	owners = im.GroupMemberRole_GROUP_MEMBER_ROLE_OWNER
	nobody = owners + 1
)

// groupRules are a table of their own: the server must not be judged by itself.
var groupRules = map[im.GroupType]groupRule{
	im.GroupType_GROUP_TYPE_WORK:      {tips: true, unread: true, targeted: true, edit: normal, kick: owners, appoint: nobody, mute: nobody, ownerQuits: true},
	im.GroupType_GROUP_TYPE_PUBLIC:    {tips: true, unread: true, targeted: true, edit: admins, kick: admins, appoint: owners, mute: admins},
	im.GroupType_GROUP_TYPE_MEETING:   {history: true, targeted: true, edit: admins, kick: admins, appoint: owners, mute: admins},
	im.GroupType_GROUP_TYPE_COMMUNITY: {tips: true, history: true, unread: true, edit: admins, kick: admins, appoint: owners, mute: admins},
}

// roster is who is in a group and what it is called, at some number of its log.
type roster struct {
	g       *Group
	rule    groupRule
	roles   map[string]im.GroupMemberRole
	muted   map[string]bool
	owner   string
	info    map[im.GroupTipGroupChangeFlag]string
	periods map[string][]Period
	// untold are who has left as the last member, without a tip: nobody is there to be told.
	untold []string
}

const (
	flagName   = im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_NAME
	flagNotice = im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_NOTIFICATION
	flagOwner  = im.GroupTipGroupChangeFlag_GROUP_TIP_GROUP_CHANGE_FLAG_OWNER
)

// newRoster is a group that has just been made.
func newRoster(g *Group, creator, name string) *roster {
	return &roster{g: g, rule: groupRules[g.Type], roles: map[string]im.GroupMemberRole{creator: owners}, muted: map[string]bool{}, owner: creator,
		info: map[im.GroupTipGroupChangeFlag]string{flagName: name}, periods: map[string][]Period{creator: {{To: NoEnd}}}}
}

// role is that of a user; 0 for who is not a member. An operator has the rights of an owner in every group. Where memberships make no tips, the rows of the memberships say who is one.
func (r *roster) role(user string, seq uint64) im.GroupMemberRole {
	if user == admin {
		return owners
	}
	if r.rule.tips {
		return r.roles[user]
	}
	if _, in := r.g.within(user, seq); !in {
		return 0
	}
	if user == r.owner {
		return owners
	}
	return admins // perhaps
}

// take follows an entry and returns what is wrong with it. foreign: an operator has sent it, for whom the sender's role and mute do not matter.
func (r *roster) take(e *im.Entry, foreign bool) string {
	t := tip(e.Message)
	if typ := t.GetTipType(); typ != im.GroupTipType_GROUP_TIP_TYPE_QUIT && typ != im.GroupTipType_GROUP_TIP_TYPE_KICK {
		r.lastLeaves(e.Seq)
	}
	if t == nil {
		switch role := r.role(e.Sender, e.Seq); {
		case role == 0 && !foreign:
			return "sent by who is not a member"
		case r.muted[e.Sender] && !foreign:
			return "sent by who is muted"
		case len(r.g.Addressees[e.Seq]) > 0 && !r.rule.targeted:
			return "for some members only, in a group that has no such messages"
		}
		return ""
	}
	if e.Sender != system {
		return "a tip that a user has sent"
	}
	if e.Countable {
		return "a tip that counts as unread"
	}
	if t.GroupName != r.info[flagName] && !(t.TipType == im.GroupTipType_GROUP_TIP_TYPE_GROUP_INFO_CHANGE && causeOf(t).flag == flagName) {
		return fmt.Sprintf("a tip of a group called %q, which is called %q", t.GroupName, r.info[flagName])
	}
	bad := r.change(e, t, causeOf(t))
	if n := uint64(len(r.roles)); bad == "" && t.MemberNum != 0 && t.MemberNum != n {
		bad = fmt.Sprintf("says that there are %d members, and there are %d", t.MemberNum, n)
	}
	return bad
}

// change does what a tip reports.
func (r *roster) change(e *im.Entry, t *im.GroupTipsElem, c cause) string {
	mine := r.role(c.by, e.Seq)
	if !r.rule.tips && t.TipType != im.GroupTipType_GROUP_TIP_TYPE_GROUP_INFO_CHANGE {
		return "a tip of a kind that the group does not have"
	}
	switch t.TipType {
	case im.GroupTipType_GROUP_TIP_TYPE_INVITE:
		if c.by != c.of && mine == 0 {
			return "an invitation by who is not a member"
		}
		for _, u := range t.UserArray {
			if r.roles[u] != 0 {
				return u + " joins and is a member already"
			}
			r.roles[u] = normal
			r.periods[u] = append(r.periods[u], Period{From: e.Seq - 1, To: NoEnd})
		}
	case im.GroupTipType_GROUP_TIP_TYPE_QUIT, im.GroupTipType_GROUP_TIP_TYPE_KICK:
		for _, u := range t.UserArray {
			switch theirs := r.roles[u]; {
			case theirs == 0:
				return u + " leaves and is not a member"
			case t.TipType == im.GroupTipType_GROUP_TIP_TYPE_QUIT && u != c.by:
				return u + " leaves by what somebody else does"
			case t.TipType == im.GroupTipType_GROUP_TIP_TYPE_QUIT && theirs == owners && !r.rule.ownerQuits:
				return "the owner leaves"
			case t.TipType == im.GroupTipType_GROUP_TIP_TYPE_KICK && (mine < r.rule.kick || mine <= theirs && c.by != admin):
				return fmt.Sprintf("%s with role %d removes %s with role %d", c.by, mine, u, theirs)
			}
			r.leave(u, e.Seq-1)
		}
	case im.GroupTipType_GROUP_TIP_TYPE_SET_ADMIN, im.GroupTipType_GROUP_TIP_TYPE_CANCEL_ADMIN:
		was, is := normal, admins
		if t.TipType == im.GroupTipType_GROUP_TIP_TYPE_CANCEL_ADMIN {
			was, is = is, was
		}
		switch {
		case mine < r.rule.appoint:
			return fmt.Sprintf("%s with role %d appoints", c.by, mine)
		case r.roles[c.of] != was:
			return fmt.Sprintf("%s gets role %d and has %d", c.of, is, r.roles[c.of])
		}
		r.roles[c.of] = is
	case im.GroupTipType_GROUP_TIP_TYPE_MEMBER_INFO_CHANGE:
		switch {
		case r.roles[c.of] == 0:
			return c.of + " is muted and is not a member"
		case mine < r.rule.mute || mine <= r.roles[c.of]:
			return fmt.Sprintf("%s with role %d mutes %s with role %d", c.by, mine, c.of, r.roles[c.of])
		case c.value == "false" && !r.muted[c.of]:
			return c.of + " may send again and never was muted"
		}
		r.muted[c.of] = c.value == "true"
	case im.GroupTipType_GROUP_TIP_TYPE_GROUP_INFO_CHANGE:
		switch {
		case c.flag == flagOwner && (c.by != r.owner || r.role(c.value, e.Seq) == 0 || c.value == r.owner):
			return fmt.Sprintf("%s makes %s the owner, who is %s", c.by, c.value, r.owner)
		case c.flag == flagOwner:
			if r.rule.tips {
				r.roles[c.by], r.roles[c.value] = normal, owners
			}
			r.owner = c.value
			return ""
		case mine < r.rule.edit:
			return fmt.Sprintf("%s with role %d changes the information", c.by, mine)
		case r.info[c.flag] == c.value:
			return "a change that changes nothing"
		}
		r.info[c.flag] = c.value
	default:
		return "a tip of no kind"
	}
	return ""
}

// lastLeaves follows who has left before a number as the last member, which need not make a tip. Only the rows of the memberships show it.
func (r *roster) lastLeaves(seq uint64) {
	if len(r.roles) != 1 {
		return
	}
	for _, u := range slices.Collect(maps.Keys(r.roles)) {
		if ps := r.periods[u]; slices.Contains(r.g.ended(u), Period{From: ps[len(ps)-1].From, To: seq - 1}) {
			r.leave(u, seq-1)
			r.untold = append(r.untold, u)
		}
	}
}

func (r *roster) leave(user string, at uint64) {
	if user == r.owner {
		r.owner = ""
	}
	delete(r.roles, user)
	delete(r.muted, user)
	if ps := r.periods[user]; len(ps) > 0 {
		ps[len(ps)-1].To = at
	}
}

// ends returns in what the group at the end of its log differs from what is stored of it.
func (r *roster) ends() (bad []string) {
	g := r.g
	fail := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	r.lastLeaves(g.head() + 1)
	if ps := g.Periods[r.owner]; g.Owner == "" && !r.rule.tips && len(ps) > 0 && !ps[0].open() { // without a tip, an operator has removed them
		r.owner = ""
	}
	if r.owner != g.Owner {
		fail("the owner is %q, by the log %q", g.Owner, r.owner)
	}
	for flag, got := range map[im.GroupTipGroupChangeFlag]string{flagName: g.Info.GetName(), flagNotice: g.Info.GetNotification()} {
		if r.info[flag] != got {
			fail("what flag %d is about is %q, by the log %q", flag, got, r.info[flag])
		}
	}
	if !r.rule.tips {
		return bad
	}
	users := map[string]bool{}
	for u := range g.Periods {
		users[u] = true
	}
	for u := range r.periods {
		users[u] = true
	}
	for _, u := range sortedKeys(users) {
		row := g.Rows[u]
		switch {
		case (row != nil) != (r.roles[u] != 0):
			fail("%s has a row of a member: %v, is one by the log: %v", u, row != nil, r.roles[u] != 0)
		case row != nil && row.MemberRole != r.roles[u]:
			fail("%s has role %d, by the log %d", u, row.MemberRole, r.roles[u])
		case row != nil && (row.ShutupTime > 0) != r.muted[u]:
			fail("%s is muted: %v, by the log %v", u, row.ShutupTime > 0, r.muted[u])
		}
		var got []Period
		for _, p := range g.Periods[u] {
			got = append(got, Period{From: p.From, To: p.To})
		}
		if !slices.Equal(got, r.periods[u]) {
			fail("%s has the memberships %v, by the log %v", u, got, r.periods[u])
		}
	}
	return bad
}

// fields are those of the app's own of a group.
func (g *Group) fields() map[string]string {
	out := map[string]string{}
	for _, f := range g.Info.GetCustom() {
		out[f.Key] = f.Value
	}
	return out
}

// staff are who may answer requests.
func (r *roster) staff() map[string]bool {
	out := map[string]bool{}
	for u, role := range r.roles {
		if role >= admins {
			out[u] = true
		}
	}
	return out
}

// isGroup reports whether a conversation of a history is a group.
func isGroup(conv string) bool {
	return strings.HasPrefix(conv, "room") || strings.HasPrefix(conv, "@TGS#_")
}
