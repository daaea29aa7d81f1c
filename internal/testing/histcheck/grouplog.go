package histcheck

import (
	"fmt"
	"math"
	"slices"

	"github.com/tidings-im/tidings/im"
)

// groupOp is how the operations about groups begin.
const groupOp = "grp:"

// CheckGroups returns what is wrong with a history of groups; nothing if it is correct.
func CheckGroups(h *History) []string {
	c := newGroupChecker(h)
	c.bad = append(c.bad, h.Violations...)
	if len(h.Groups) == 0 {
		c.fail("the server was not read at the end")
		return c.bad
	}
	for _, g := range h.Groups {
		c.log(g)
		c.revs(g)
	}
	c.explained()
	c.members()
	c.cards()
	c.order()
	c.silenced()
	c.attributes()
	c.reported()
	c.requests()
	c.fields()
	c.room()
	for _, user := range h.Users {
		for _, g := range h.Groups {
			c.view(user, g)
		}
	}
	for _, d := range h.Devices {
		c.told(d)
		c.listed(d)
	}
	return c.bad
}

func newGroupChecker(h *History) *groupChecker {
	c := &groupChecker{h: h, at: map[string]groupPlace{}, sends: map[string]*Send{}, ends: map[*Send]int64{}, byID: map[string][]*Group{}, untold: map[*Group][]string{}, owned: map[groupOwner][]*op{}, staff: map[*Group][]map[string]bool{}}
	for _, d := range h.everybody() {
		c.collect(d)
	}
	for _, g := range h.Groups {
		c.byID[g.ID] = append(c.byID[g.ID], g)
	}
	return c
}

// groupPlace is a number of the log of a group.
type groupPlace struct {
	g *Group
	e *im.Entry
	// role is that of the sender there.
	role im.GroupMemberRole
}

type groupChecker struct {
	h   *History
	bad []string
	ops []*op
	// sends are the messages by their tags, at is where they are in the logs.
	sends map[string]*Send
	at    map[string]groupPlace
	ends  map[*Send]int64
	byID  map[string][]*Group // the oldest first
	// untold are who has left groups as their last member, without a tip.
	untold map[*Group][]string
	// owned are the calls of a user about the conversation of a group, once they were looked for.
	owned map[groupOwner][]*op
	// staff are who may answer requests after each number of a log.
	staff map[*Group][]map[string]bool
}

func (c *groupChecker) fail(format string, args ...any) {
	c.bad = append(c.bad, fmt.Sprintf(format, args...))
}

// answeredInGroup reports that a code is one of groups: the server has answered, and the call has no effect after that. It may have had one before, if it was
// sent again.
func answeredInGroup(code int32) bool { return code >= 10002 && code < 11000 }

// collect gathers the calls and messages of a device.
func (c *groupChecker) collect(d *Device) {
	open := map[int]*op{}
	for _, r := range d.records() {
		switch r.Kind {
		case Calling:
			o := &op{d: d, call: r, begin: r.At, end: math.MaxInt64, code: codeKilled}
			open[r.Call] = o
			c.ops = append(c.ops, o)
		case Returned, Answer:
			if o := open[r.Call]; o != nil {
				o.ret, o.code = r, r.Code
				if r.Code == 0 || o.never() || answeredInGroup(r.Code) {
					o.end = r.At
				}
			}
		}
	}
	for _, s := range d.Sends {
		c.sends[s.Tag] = s
		c.ends[s] = math.MaxInt64
		if o := open[s.Call]; o != nil && s.Code == 0 {
			c.ends[s] = o.end
		}
	}
}

// creation is the call that has made a group: it has set the introduction, which no other call does.
func (c *groupChecker) creation(g *Group) *op {
	for _, o := range c.ops {
		if o.call.Op == groupOp+"create" && o.call.Conv == g.ID && o.call.Text == g.Info.GetIntroduction() {
			return o
		}
	}
	return nil
}

// log checks a log: without gaps, in the order of time, counted correctly, of messages that were sent, and of tips each of which changes something, by whom
// may. What is stored of the group is what its log says.
func (c *groupChecker) log(g *Group) {
	where := fmt.Sprintf("%s, epoch %d", g.ID, g.Epoch)
	made := c.creation(g)
	if made == nil {
		c.fail("%s: made by nobody", where)
		return
	}
	r := newRoster(g, made.d.User, made.call.Text)
	r.info[flagNotice] = ""
	c.staff[g] = append(c.staff[g], r.staff())
	index, own := uint64(0), map[string]uint64{}
	time := int64(0)
	recalled := g.recalled()
	for i, e := range g.Entries {
		if e.Seq != uint64(i+1) || e.Time < time {
			c.fail("%s: seq %d at %d is entry %d, after one at %d", where, e.Seq, e.Time, i+1, time)
			return
		}
		time = e.Time
		if e.Countable {
			index++
			own[e.Sender]++
		}
		if e.Index != index || e.OwnIndex != own[e.Sender] && tip(e.Message) == nil {
			c.fail("%s: seq %d has index %d, own %d; counted %d, %d", where, e.Seq, e.Index, e.OwnIndex, index, own[e.Sender])
		}
		if _, was := recalled[e.Seq]; was != (e.Status == im.MessageStatus_MESSAGE_STATUS_REVOKED) {
			c.fail("%s: seq %d has status %d, was recalled: %v", where, e.Seq, e.Status, was)
		}
		role := r.role(e.Sender, e.Seq)
		s := c.sends[e.Message.GetCloudCustomStr()]
		if bad := r.take(e, s != nil && s.Device == c.h.Operator); bad != "" {
			c.fail("%s: seq %d, %s: %s", where, e.Seq, entryWords(e), bad)
		}
		c.staff[g] = append(c.staff[g], r.staff())
		if tip(e.Message) == nil {
			c.message(g, e, role, where)
			c.modified(g, e, where)
		}
	}
	for _, bad := range r.ends() {
		c.fail("%s: %s", where, bad)
	}
	c.untold[g] = r.untold
	if n := uint64(len(g.Rows)); g.Count != n {
		c.fail("%s: says that it has %d members, there are %d rows", where, g.Count, n)
	}
	for _, user := range sortedKeys(g.Periods) {
		p, _ := g.last(user)
		if p.open() != (g.Rows[user] != nil) {
			c.fail("%s: %s has an open membership: %v, a row: %v", where, user, p.open(), g.Rows[user] != nil)
		}
	}
}

func entryWords(e *im.Entry) string {
	if t := tip(e.Message); t != nil {
		return TipWords(t)
	}
	return messageWords(e.Message.GetCloudCustomStr(), e.Sender)
}

func messageWords(tag, sender string) string { return fmt.Sprintf("%q by %s", tag, sender) }

// message checks one that a user has sent.
func (c *groupChecker) message(g *Group, e *im.Entry, role im.GroupMemberRole, where string) {
	tag := e.Message.GetCloudCustomStr()
	s := c.sends[tag]
	if s == nil || s.User != e.Sender || s.Conv != g.ID {
		c.fail("%s: seq %d, %q, comes from nowhere", where, e.Seq, tag)
		return
	}
	if o, twice := c.at[tag]; twice {
		c.fail("%s: %q stands at seq %d, and at %d of epoch %d", where, tag, e.Seq, o.e.Seq, o.g.Epoch)
	}
	c.at[tag] = groupPlace{g, e, role}
	rule := groupRules[g.Type]
	if counts := rule.unread && !s.Uncounted && len(s.Only) == 0; e.Countable != counts {
		c.fail("%s: seq %d, %q, counts: %v", where, e.Seq, tag, e.Countable)
	}
	if s.Online {
		c.fail("%s: seq %d, %q, was for whoever was online", where, e.Seq, tag)
	}
	to, some := g.Addressees[e.Seq]
	if some != (len(s.Only) > 0) {
		c.fail("%s: seq %d, %q, is for some members only: %v", where, e.Seq, tag, some)
	}
	for _, u := range to {
		if !slices.Contains(s.Only, u) {
			c.fail("%s: seq %d, %q, is for %s, to whom it was not sent", where, e.Seq, tag, u)
		}
	}
	if s.Code != 0 && neverStored(s.Code) {
		c.fail("%s: seq %d, %q, was refused with %d", where, e.Seq, tag, s.Code)
	}
}

// neverStored reports that a message was refused: the server looks for its key before it checks anything. What is under way when its user logs out ends as if they
// had not been logged in, and may be stored.
func neverStored(code int32) bool {
	return answeredInGroup(code) || code == im.CodeDisconnected || code == im.CodeTooManyRequests
}

// revs checks a rev line: recalls of messages, each once, by a call; versions of attributes; the end of the group; and where memberships begin and end in it.
func (c *groupChecker) revs(g *Group) {
	where := fmt.Sprintf("%s, epoch %d", g.ID, g.Epoch)
	recalled := map[uint64]bool{}
	version := uint64(0)
	for i, ch := range g.Changes {
		if ch.Rev != uint64(i+1) {
			c.fail("%s: change %d has rev %d", where, i+1, ch.Rev)
		}
		switch ch.Kind {
		case im.ChangeKind_CHANGE_REVOKE:
			if recalled[ch.Seq] || ch.Seq > g.head() || tip(g.Entries[max(ch.Seq, 1)-1].Message) != nil {
				c.fail("%s: rev %d recalls %d, which is a tip, is not there, or was recalled before", where, ch.Rev, ch.Seq)
			}
			recalled[ch.Seq] = true
			if !slices.ContainsFunc(c.ops, func(o *op) bool {
				return o.call.Op == "revoke" && o.d.User == ch.Operator && o.call.Conv == g.ID && o.call.Seq == ch.Seq && !o.never()
			}) {
				c.fail("%s: rev %d: %s has never recalled %d", where, ch.Rev, ch.Operator, ch.Seq)
			}
		case im.ChangeKind_CHANGE_MODIFY: // the messages are checked with the log
		case im.ChangeKind_CHANGE_ATTRIBUTES:
			if version++; ch.Version != version {
				c.fail("%s: rev %d has version %d of the attributes, after %d", where, ch.Rev, ch.Version, version-1)
			}
		case im.ChangeKind_CHANGE_DISSOLVED:
			if i != len(g.Changes)-1 || !g.Dissolved {
				c.fail("%s: rev %d of %d is its end, it was dissolved: %v", where, ch.Rev, len(g.Changes), g.Dissolved)
			}
		default:
			c.fail("%s: rev %d is of kind %d", where, ch.Rev, ch.Kind)
		}
	}
	if version != g.AttrVer {
		c.fail("%s: %d changes of the attributes, which have version %d", where, version, g.AttrVer)
	}
	if g.Dissolved && (len(g.Changes) == 0 || last(g.Changes).Kind != im.ChangeKind_CHANGE_DISSOLVED) {
		c.fail("%s: was dissolved, and its changes do not end with that", where)
	}
	c.bounds(g, where)
}

// bounds checks that both lines agree where memberships begin and end: what was recalled before is before in the log, too.
func (c *groupChecker) bounds(g *Group, where string) {
	type bound struct{ seq, rev uint64 }
	var all []bound
	for user, ps := range g.Periods {
		for i, p := range ps {
			if p.From > p.To || p.FromRev > p.ToRev || p.open() != (p.ToRev == NoEnd) || i > 0 && (p.From < ps[i-1].To || p.FromRev < ps[i-1].ToRev) {
				c.fail("%s: the memberships of %s are %v", where, user, ps)
			}
			all = append(all, bound{p.From, p.FromRev})
			if !p.open() {
				all = append(all, bound{p.To, p.ToRev})
			}
		}
	}
	for _, b := range all {
		if b.seq > g.head() || b.rev > uint64(len(g.Changes)) {
			c.fail("%s: a membership begins or ends at seq %d, rev %d, above %d, %d", where, b.seq, b.rev, g.head(), len(g.Changes))
			continue
		}
		for _, ch := range g.Changes[:b.rev] {
			if ch.Seq > b.seq {
				c.fail("%s: a membership begins or ends at seq %d, rev %d, and rev %d is about seq %d", where, b.seq, b.rev, ch.Rev, ch.Seq)
			}
		}
	}
	slices.SortFunc(all, func(a, b bound) int {
		if a.seq != b.seq {
			return int(a.seq) - int(b.seq)
		}
		return int(a.rev) - int(b.rev)
	})
	for i := range all {
		if i > 0 && all[i].rev < all[i-1].rev {
			c.fail("%s: memberships begin or end at seq %d, rev %d, and at seq %d, rev %d", where, all[i-1].seq, all[i-1].rev, all[i].seq, all[i].rev)
		}
	}
}
