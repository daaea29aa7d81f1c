package histcheck

import (
	"slices"

	"github.com/tidings-im/tidings/im"
)

// modified checks that a message has as many versions as its sender has made, and the text of the last one.
func (c *groupChecker) modified(g *Group, e *im.Entry, where string) {
	n := uint64(0)
	for _, ch := range g.Changes {
		if ch.Kind != im.ChangeKind_CHANGE_MODIFY || ch.Seq != e.Seq {
			continue
		}
		if n++; ch.Operator != e.Sender {
			c.fail("%s: rev %d: %s has modified seq %d of %s", where, ch.Rev, ch.Operator, e.Seq, e.Sender)
		}
	}
	if e.Version != n {
		c.fail("%s: seq %d has version %d and was modified %d times", where, e.Seq, e.Version, n)
	}
	if e.Version > 0 && !c.made(g, e, e.Version, text(e.Message)) {
		c.fail("%s: seq %d has version %d, %q, which nobody has made", where, e.Seq, e.Version, text(e.Message))
	}
	for _, o := range c.ops {
		switch {
		case !o.modifies(g, e) || o.code != 0:
		case o.ret.Version > e.Version || o.ret.Version == e.Version && o.ret.ID != text(e.Message):
			c.fail("%s: seq %d has version %d, %q, and %s was answered with %d, %q", where, e.Seq, e.Version, text(e.Message), o.d.Name, o.ret.Version, o.ret.ID)
		}
	}
}

// modifies reports whether a call may have modified a message.
func (o *op) modifies(g *Group, e *im.Entry) bool {
	return o.call.Op == "modify" && o.call.Conv == g.ID && o.call.Seq == e.Seq && o.call.Tag == e.Message.GetCloudCustomStr() && o.d.User == e.Sender && !o.never()
}

// made reports whether a call may have made a version of a message.
func (c *groupChecker) made(g *Group, e *im.Entry, version uint64, words string) bool {
	return slices.ContainsFunc(c.ops, func(o *op) bool { return o.modifies(g, e) && uint64(o.call.N)+1 == version && o.call.Text == words })
}

// modification is the last one of a message; one that nobody hears of if there is none.
func modification(g *Group, seq uint64) *im.Change {
	for _, ch := range slices.Backward(g.Changes) {
		if ch.Kind == im.ChangeKind_CHANGE_MODIFY && ch.Seq == seq {
			return ch
		}
	}
	return &im.Change{}
}

// update judges the event of a modification: of a message that the device has, to a version that there was, and never back.
func (l *groupEar) update(r *Record) {
	g, e := l.of(r)
	switch {
	case g == nil:
		l.bad("an update of what is in no log: %v", *r)
		return
	case !g.sees(l.d.User, e):
		l.bad("an update of what is not theirs: %v", *r)
	case r.Version < l.versions[g][r.Seq]:
		l.bad("updated to version %d after %d: %v", r.Version, l.versions[g][r.Seq], *r)
	case r.Version > e.Version || !l.c.made(g, e, r.Version, r.Text):
		l.bad("updated to what nobody has made: %v", *r)
	}
	l.mustSilence(g, e, e.Sender, r)
	l.versions[g][r.Seq] = r.Version
}

// updated checks that a device was told the last version of everything that was announced to it.
func (l *groupEar) updated(g *Group) {
	for _, e := range g.Entries {
		if e.Version == 0 || !l.fired[g][e.Seq] || g.recalled()[e.Seq] != nil || l.versions[g][e.Seq] == e.Version || !l.c.hearsChange(g, l.d.User, modification(g, e.Seq)) ||
			l.c.gone(g, l.d.User, e) || e.Sender != l.d.User && l.maySilence(g, e, 0, 0) {
			continue
		}
		own := slices.ContainsFunc(l.c.ops, func(o *op) bool { return o.d == l.d && o.modifies(g, e) && uint64(o.call.N)+1 == e.Version })
		if !own {
			l.bad("was told version %d of %s seq %d, %q, which has %d", l.versions[g][e.Seq], g.ID, e.Seq, e.Message.GetCloudCustomStr(), e.Version)
		}
	}
}
