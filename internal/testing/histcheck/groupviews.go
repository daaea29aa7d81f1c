package histcheck

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// view compares what the server gives to a user of a group with what belongs to their memberships.
func (c *groupChecker) view(user string, g *Group) {
	l := c.h.GroupViews[user][g.Epoch]
	p, was := g.last(user)
	where := fmt.Sprintf("%s of %s, epoch %d", user, g.ID, g.Epoch)
	switch {
	case l == nil && was && g == last(c.byID[g.ID]) && !g.Dissolved:
		c.fail("%s: the server does not list it", where)
		return
	case l == nil:
		return
	case !was && l.Head.Left && len(l.Entries)+len(l.Changes) == 0:
		return // they joined and left between two entries
	case !was:
		c.fail("%s: the server lists it, and they never were a member", where)
		return
	}
	h := l.Head
	want := map[string]any{"left": !g.member(user), "dissolved": g.Dissolved, "joined_seq": p.From, "joined_rev": p.FromRev, "seq": min(p.To, g.head())}
	got := map[string]any{"left": h.Left, "dissolved": h.Dissolved, "joined_seq": h.JoinedSeq, "joined_rev": h.JoinedRev, "seq": h.Seq}
	if g.member(user) {
		want["rev"], got["rev"] = uint64(len(g.Changes)), h.Rev
		want["members"], got["members"] = uint64(len(g.Rows)), h.Members
		want["shutup_all"], got["shutup_all"] = g.ShutupAll, h.ShutupAll
		want["attr_ver"], got["attr_ver"] = g.AttrVer, h.AttrVer
		want["role"], got["role"] = g.Rows[user].GetMemberRole(), h.Role
	}
	want["unread"], got["unread"] = g.unread(user, h.ReadSeq), h.Unread
	want["mentions"], got["mentions"] = fmt.Sprint(c.mentions(g, user, h)), fmt.Sprint(mentionsOf(h))
	for _, k := range sortedKeys(want) {
		if want[k] != got[k] {
			c.fail("%s: the head has %s %v, which is %v", where, k, got[k], want[k])
		}
	}
	seen := map[uint64]*im.Entry{}
	for _, e := range l.Entries {
		seen[e.Seq] = e
	}
	for _, e := range g.Entries {
		o := seen[e.Seq]
		switch sees := g.hears(user, e) && !c.gone(g, user, e); {
		case o != nil && !g.hears(user, e):
			c.fail("%s: the server gives them seq %d, %s, which is not theirs", where, e.Seq, entryWords(e))
		case o == nil && sees:
			c.fail("%s: the server does not give them seq %d, %s", where, e.Seq, entryWords(e))
		case o != nil && (entryWords(o) != entryWords(e) || o.Status != e.Status || o.Time != e.Time || o.Version != e.Version):
			c.fail("%s: the server gives them %s as seq %d, which is %s", where, entryWords(o), e.Seq, entryWords(e))
		}
	}
	c.keeps(g, user, l, where)
	revs := map[uint64]bool{}
	for _, ch := range l.Changes {
		revs[ch.Rev] = true
	}
	for _, ch := range g.Changes {
		if hears := c.hearsChange(g, user, ch); hears != revs[ch.Rev] {
			c.fail("%s: the server gives them rev %d of kind %d about %d: %v, it is theirs: %v", where, ch.Rev, ch.Kind, ch.Seq, revs[ch.Rev], hears)
		}
	}
}

// hearsChange reports whether a change is announced to a user: it was made while they were a member, and is about nothing that they do not have.
func (c *groupChecker) hearsChange(g *Group, user string, ch *im.Change) bool {
	in := slices.ContainsFunc(g.Periods[user], func(p Period) bool { return p.FromRev < ch.Rev && ch.Rev <= p.ToRev })
	return in && (ch.Seq == 0 || g.sees(user, g.Entries[ch.Seq-1]))
}

// unread counts what a member has not read, by looking at every message.
func (g *Group) unread(user string, read uint64) (n uint64) {
	if !g.member(user) {
		return 0
	}
	recalled := g.recalled()
	for _, e := range g.Entries {
		if e.Seq > read && e.Countable && e.Sender != user && recalled[e.Seq] == nil {
			n++
		}
	}
	return n
}

// mentions are those of a member that are not read, as numbers with what they are: 1 the member, 2 all, 3 both.
func (c *groupChecker) mentions(g *Group, user string, h *im.Head) (out []string) {
	if !g.member(user) {
		return nil
	}
	recalled := g.recalled()
	p, _ := g.last(user)
	for _, e := range g.Entries {
		s := c.sends[e.Message.GetCloudCustomStr()]
		if s == nil || e.Seq <= max(h.ReadSeq, h.ClearedSeq, p.From) || e.Sender == user || recalled[e.Seq] != nil {
			continue
		}
		kind := 0
		if slices.Contains(s.Mentions, user) {
			kind |= 1
		}
		if slices.Contains(s.Mentions, mentionAll) {
			kind |= 2
		}
		if kind > 0 {
			out = append(out, fmt.Sprint(e.Seq, " ", kind))
		}
	}
	return out
}

func mentionsOf(h *im.Head) (out []string) {
	kinds := map[uint64]int{}
	var seqs []uint64
	for _, m := range h.Mentions {
		if kinds[m.Seq] == 0 {
			seqs = append(seqs, m.Seq)
		}
		if m.All {
			kinds[m.Seq] |= 2
		} else {
			kinds[m.Seq] |= 1
		}
	}
	for _, seq := range seqs {
		out = append(out, fmt.Sprint(seq, " ", kinds[seq]))
	}
	return out
}

// mentionAll in the list of who is mentioned is everybody.
const mentionAll = "__kImSDK_MessageAtALL__"

// Listed is a group as a device has it.
type Listed struct {
	Conv *im.ConvInfo
	// Items is what the device lists of it, the newest first.
	Items []Item
	// GroupNow is what it answers of one that its user is in, Requests are those that its user may answer, the newest first.
	GroupNow
	Requests []string
}

// listed compares what a device has of groups with what the server has.
func (c *groupChecker) listed(d *Device) {
	if d.Groups == nil {
		c.fail("%s: not looked at in the end", d.Name)
		return
	}
	for _, bad := range c.differs(d) {
		c.fail("%s: %s", d.Name, bad)
	}
}

// differs returns in what a device's groups differ from the server's.
func (c *groupChecker) differs(d *Device) (bad []string) {
	fail := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	for _, id := range sortedKeys(c.byID) {
		g := last(c.byID[id])
		x := d.Groups[id]
		if !g.member(d.User) {
			if x != nil && x.Conv.GetUnreadNum() != 0 {
				fail("%s has %d unread, and the user is not in it", id, x.Conv.UnreadNum)
			}
			if x != nil {
				c.items(d, g, x, false, fail)
			}
			continue
		}
		view := c.h.GroupViews[d.User][g.Epoch]
		if view == nil {
			continue // reported elsewhere
		}
		if x == nil {
			if len(view.Entries) > 0 && !view.Head.Hidden {
				fail("%s is not in the list", id)
			}
			continue
		}
		if view.Head.Hidden && !slices.ContainsFunc(x.Items, func(it Item) bool { return it.Seq == 0 }) {
			fail("%s is in the list, and was deleted", id)
		}
		unread := view.Head.Unread
		if view.Head.RecvOpt == optMentions {
			unread = uint64(len(mentionsOf(view.Head)))
		}
		if x.Conv.UnreadNum != unread {
			fail("%s has %d unread, counted %d", id, x.Conv.UnreadNum, unread)
		}
		if x.Conv.RecvOpt != view.Head.RecvOpt {
			fail("%s has the receive option %d, at the server %d", id, x.Conv.RecvOpt, view.Head.RecvOpt)
		}
		var marks []string
		for _, m := range x.Conv.GroupAtInfoArray {
			marks = append(marks, fmt.Sprint(m.Seq, " ", m.AtType))
		}
		if want := mentionsOf(view.Head); !slices.Equal(marks, want) {
			fail("%s has the marks %v, counted %v", id, marks, want)
		}
		if x.Name != g.Info.GetName() || x.Owner != g.Owner || x.Count != len(g.Rows) {
			fail("%s is %q of %q with %d members, at the server %q of %q with %d", id, x.Name, x.Owner, x.Count, g.Info.GetName(), g.Owner, len(g.Rows))
		}
		for u, row := range g.Rows {
			if x.Members[u] != row.MemberRole {
				fail("%s: %s has role %d, at the server %d", id, u, x.Members[u], row.MemberRole)
			}
			if x.Cards[u] != row.NameCard {
				fail("%s: %s has the name card %q, at the server %q", id, u, x.Cards[u], row.NameCard)
			}
		}
		if len(x.Members) != len(g.Rows) {
			fail("%s has the members %v, at the server %v", id, sortedKeys(x.Members), sortedKeys(g.Rows))
		}
		if a, b := attributeWords(x.Attributes), attributeWords(g.Attributes); a != b {
			fail("%s has the attributes %s, at the server %s", id, a, b)
		}
		if want := attributeWords(g.fields()); x.Fields != want {
			fail("%s has the fields %s, at the server %s", id, x.Fields, want)
		}
		for u := range g.Rows {
			if x.MemberFields[u] != g.Fields[u] {
				fail("%s: %s has the fields %q, at the server %q", id, u, x.MemberFields[u], g.Fields[u])
			}
		}
		var requests []string
		if g.Rows[d.User].GetMemberRole() >= admins {
			for _, q := range slices.Backward(g.Requests) {
				requests = append(requests, q.String())
			}
		}
		if slices.Sort(requests); !slices.Equal(requests, slices.Sorted(slices.Values(x.Requests))) {
			fail("%s has the requests %q, at the server %q", id, x.Requests, requests)
		}
		c.items(d, g, x, true, fail)
	}
	return bad
}

// items compares what a device lists of a group with its log: of a group that its user is in it is everything that they may see.
func (c *groupChecker) items(d *Device, g *Group, x *Listed, whole bool, fail func(string, ...any)) {
	listed := map[uint64]bool{}
	before := uint64(NoEnd)
	older := false // of a group that had the id before
	for _, it := range x.Items {
		if it.Seq == 0 {
			continue // it was not stored
		}
		if it.Seq >= before && len(c.byID[g.ID]) > 1 {
			older = true
		}
		if older {
			break
		}
		if it.Seq >= before {
			fail("%s: lists %d after %d", g.ID, it.Seq, before)
		}
		if it.Seq > g.head() || it.Words() != entryWords(g.Entries[it.Seq-1]) {
			if len(c.byID[g.ID]) > 1 {
				break
			}
			fail("%s: lists %s as seq %d", g.ID, it.Words(), it.Seq)
			continue
		}
		before = it.Seq
		e := g.Entries[it.Seq-1]
		listed[it.Seq] = true
		if !g.sees(d.User, e) {
			fail("%s: lists seq %d, %s, which is not theirs", g.ID, it.Seq, it.Words())
		}
		if c.listsGone(d, g, e, true, fail) {
			continue // what another device has deleted may be as it was
		}
		if want := max(e.Status, im.MessageStatus_MESSAGE_STATUS_SENT); it.Status != want && c.hearsChange(g, d.User, recallOf(g, it.Seq)) {
			fail("%s: lists seq %d with status %d, the log has %d", g.ID, it.Seq, it.Status, want)
		}
		if (it.Version != e.Version || it.Text != text(e.Message)) && c.hearsChange(g, d.User, modification(g, it.Seq)) {
			fail("%s: lists seq %d with version %d, %q, the log has %d, %q", g.ID, it.Seq, it.Version, it.Text, e.Version, text(e.Message))
		}
	}
	if !whole {
		return
	}
	for _, e := range g.Entries {
		if !listed[e.Seq] && g.sees(d.User, e) && !c.listsGone(d, g, e, false, fail) {
			fail("%s: does not list seq %d, %s", g.ID, e.Seq, entryWords(e))
		}
	}
}

// recallOf is the recall of a message; one that nobody hears if there is none.
func recallOf(g *Group, seq uint64) *im.Change {
	if ch := g.recalled()[seq]; ch != nil {
		return ch
	}
	return &im.Change{Rev: NoEnd}
}

// Words are what an item is, as entryWords says it of an entry.
func (it Item) Words() string {
	if strings.HasPrefix(it.Text, "tip ") {
		return it.Text
	}
	return messageWords(it.Tag, it.Sender)
}
