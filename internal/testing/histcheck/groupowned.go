package histcheck

import (
	"fmt"
	"math"
	"slices"

	"github.com/tidings-im/tidings/im"
)

// What a user does to a group's conversation concerns nobody else: its receive option, what they clear, what they delete for themselves.

// groupOwner is a user of a group.
type groupOwner struct {
	g    *Group
	user string
}

// calls are those of a user about the conversation of a group, and of no earlier group of its id.
func (c *groupChecker) calls(g *Group, user string) []*op {
	k := groupOwner{g, user}
	if out, ok := c.owned[k]; ok {
		return out
	}
	var out []*op
	made := c.creation(g)
	for _, o := range c.ops {
		if o.d.User == user && o.call.Conv == g.ID && !o.never() && made != nil && o.end >= made.begin {
			out = append(out, o)
		}
	}
	c.owned[k] = out
	return out
}

func called(ops []*op, names ...string) (out []*op) {
	for _, o := range ops {
		if slices.Contains(names, o.call.Op) {
			out = append(out, o)
		}
	}
	return out
}

// clears are the calls by which a user may have cleared a group.
func (c *groupChecker) clears(g *Group, user string) []*op {
	return called(c.calls(g, user), "clear", "deleteconv")
}

// deletes are the calls by which a user may have deleted an entry for themselves.
func (c *groupChecker) deletes(g *Group, user string, e *im.Entry) (out []*op) {
	for _, o := range called(c.calls(g, user), "delete") {
		for i, seq := range o.call.Seqs {
			if seq == e.Seq && o.call.Tags[i] == entryWords(e) {
				out = append(out, o)
			}
		}
	}
	return out
}

// gone reports whether a user may have cleared or deleted an entry, so that none of their devices needs to hear of it.
func (c *groupChecker) gone(g *Group, user string, e *im.Entry) bool {
	l := c.h.GroupViews[user][g.Epoch]
	return l != nil && e.Seq <= l.Head.ClearedSeq || len(c.deletes(g, user, e)) > 0
}

// keeps judges what the server has of a user's own settings and of what they have cleared and deleted.
func (c *groupChecker) keeps(g *Group, user string, l *Log, where string) {
	given := map[uint64]bool{}
	for _, e := range l.Entries {
		given[e.Seq] = true
		if e.Seq <= l.Head.ClearedSeq {
			c.fail("%s: seq %d was cleared and is there", where, e.Seq)
		}
	}
	clears := c.clears(g, user)
	if l.Head.ClearedSeq > 0 && len(clears) == 0 {
		c.fail("%s: cleared up to %d by nobody", where, l.Head.ClearedSeq)
	}
	if l.Head.ReadSeq < l.Head.ClearedSeq {
		c.fail("%s: cleared up to %d and read up to %d", where, l.Head.ClearedSeq, l.Head.ReadSeq)
	}
	for _, e := range g.Entries {
		sure := slices.ContainsFunc(c.deletes(g, user, e), (*op).sure)
		if given[e.Seq] && sure {
			c.fail("%s: seq %d, %s, was deleted, and is there", where, e.Seq, entryWords(e))
		}
		s := c.sends[e.Message.GetCloudCustomStr()]
		if e.Seq <= l.Head.ClearedSeq && s != nil && !slices.ContainsFunc(clears, func(o *op) bool { return o.end > s.At }) {
			c.fail("%s: seq %d, %s, was sent after the last time that something was cleared, and is cleared", where, e.Seq, entryWords(e))
		}
	}
	if l.Head.Hidden && len(called(c.calls(g, user), "deleteconv")) == 0 {
		c.fail("%s: hidden, and nobody has deleted it", where)
	}
	var writes []write
	for _, o := range c.options(g, user) {
		writes = append(writes, write{fmt.Sprint(o.call.N), o.begin, o.end, o.sure() && o.call.Op == "recvopt"})
	}
	if !could(writes, "0", fmt.Sprint(l.Head.RecvOpt)) {
		c.fail("%s: the receive option is %d, and was set to something else", where, l.Head.RecvOpt)
	}
}

// options are the calls that may have set the receive option of a user in a group: who becomes a member again has the first one.
func (c *groupChecker) options(g *Group, user string) []*op {
	out := called(c.calls(g, user), "recvopt")
	for _, o := range c.ops {
		if o.call.Conv == g.ID && !o.never() && o.joins(user) == "in" {
			out = append(out, o)
		}
	}
	return out
}

// groupSilence is when a device knows that a group is silent: for messages, and for those that mention the user.
type groupSilence struct{ all, mentioned *silence }

func (c *groupChecker) silenceOf(d *Device, g *Group) groupSilence {
	made := int64(math.MaxInt64)
	if o := c.creation(g); o != nil {
		made = o.begin
	}
	quiet := func(opts ...int) *silence {
		s := newSilence(d, made, func(string) []*op { return c.options(g, d.User) }, opts...)
		clear(s.news) // they may be those of an earlier group of the id: it is told of its own
		return s
	}
	return groupSilence{quiet(optNothing, optMentions), quiet(optNothing)}
}

// announced notes the announcement of an entry of the group.
func (s groupSilence) announced(r *Record) {
	for _, x := range []*silence{s.all, s.mentioned} {
		x.news[r.Conv] = append(x.news[r.Conv], *r)
	}
}

// of is that for an entry.
func (s groupSilence) of(c *groupChecker, user string, e *im.Entry) *silence {
	if m := c.sends[e.Message.GetCloudCustomStr()]; m != nil && (slices.Contains(m.Mentions, user) || slices.Contains(m.Mentions, mentionAll)) {
		return s.mentioned
	}
	return s.all
}

// maySilence reports whether a device may have known that a group is silent for an entry, when it applied what was made of it at a time or later.
func (l *groupEar) maySilence(g *Group, e *im.Entry, seq uint64, made int64) bool {
	return l.silence[g].of(l.c, l.d.User, e).may(g.ID, seq, made)
}

// mustSilence judges an event about what somebody has done to an entry.
func (l *groupEar) mustSilence(g *Group, e *im.Entry, by string, r *Record) {
	s := l.silence[g].of(l.c, l.d.User, e)
	if sets, _ := s.options(g.ID); by != l.d.User && len(sets) > 0 && s.must(g.ID, r.At) {
		l.bad("told in a silent conversation what %q did: %v", by, *r)
	}
}

// causedBy is who has made an entry.
func causedBy(e *im.Entry) string {
	if t := tip(e.Message); t != nil {
		return t.OpUser
	}
	return e.Sender
}

// madeAt is when the call began that has made an entry; 0 if that is not known.
func (c *groupChecker) madeAt(e *im.Entry) int64 {
	if s := c.sends[e.Message.GetCloudCustomStr()]; s != nil {
		return s.At
	}
	return 0
}

// cleared judges the end of a call that clears a group: what the device had announced before is cleared.
func (l *groupEar) cleared(o *op) {
	for _, g := range l.c.byID[o.call.Conv] {
		view := l.c.h.GroupViews[l.d.User][g.Epoch]
		if view == nil || g != last(l.c.byID[g.ID]) || len(l.c.byID[g.ID]) > 1 {
			continue
		}
		for seq, at := range l.announced[g] {
			if at < o.begin && seq > view.Head.ClearedSeq {
				l.bad("cleared, and seq %d of %s was here before, and is not cleared", seq, g.ID)
			}
		}
	}
}

// items of a group that may, or must, not be on a device.

// listsGone judges that a device lists, or does not list, an entry that its user may have cleared or deleted. It returns whether the entry may be missing.
func (c *groupChecker) listsGone(d *Device, g *Group, e *im.Entry, lists bool, fail func(string, ...any)) (mayMiss bool) {
	if l := c.h.GroupViews[d.User][g.Epoch]; l != nil && e.Seq <= l.Head.ClearedSeq {
		if lists {
			fail("%s: lists seq %d, %s, which was cleared", g.ID, e.Seq, entryWords(e))
		}
		return true
	}
	deletes := c.deletes(g, d.User, e)
	if lists && slices.ContainsFunc(deletes, func(o *op) bool { return o.d == d && o.sure() }) {
		fail("%s: lists seq %d, %s, which was deleted here", g.ID, e.Seq, entryWords(e))
	}
	return len(deletes) > 0
}
