package histcheck

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// tips are the tips that a call may have made. sure: it certainly made one.
func (o *op) tips(rule groupRule) (cs []cause, sure bool) {
	name, isOp := strings.CutPrefix(o.call.Op, groupOp)
	me, other := o.by(), o.call.Tag
	if !isOp || o.never() {
		return nil, false
	}
	one := func(typ im.GroupTipType, of, value string, sure bool) ([]cause, bool) {
		return []cause{{tip: typ, by: me, of: of, value: value}}, sure && o.code == 0
	}
	info := func(flag im.GroupTipGroupChangeFlag, sure bool) ([]cause, bool) {
		return []cause{{tip: im.GroupTipType_GROUP_TIP_TYPE_GROUP_INFO_CHANGE, by: me, flag: flag, value: o.call.Text}}, sure && o.code == 0
	}
	switch name {
	case "rename":
		return info(flagName, true)
	case "notice":
		return info(flagNotice, true)
	case "transfer":
		return info(flagOwner, false)
	}
	if !rule.tips {
		return nil, false
	}
	switch name {
	case "create":
		first := slices.DeleteFunc(strings.Split(other, ","), func(u string) bool { return u == me || u == "" })
		if len(first) == 0 {
			return nil, false
		}
		return one(im.GroupTipType_GROUP_TIP_TYPE_INVITE, joined(first), "", true)
	case "answer":
		if !o.call.Self {
			return nil, false
		}
		cs, sure := one(im.GroupTipType_GROUP_TIP_TYPE_INVITE, other, "", true)
		cs[0].by = other
		return cs, sure
	case "join":
		if asksToJoin(o.call.Conv) {
			return nil, false
		}
		return one(im.GroupTipType_GROUP_TIP_TYPE_INVITE, me, "", false) // one that is sent again is done if they are a member, and it may have made none
	case "invite":
		return one(im.GroupTipType_GROUP_TIP_TYPE_INVITE, other, "", o.ret.N == 1)
	case "quit":
		return one(im.GroupTipType_GROUP_TIP_TYPE_QUIT, me, "", false)
	case "kick":
		return one(im.GroupTipType_GROUP_TIP_TYPE_KICK, other, "", o.ret.N == 1)
	case "role":
		typ := im.GroupTipType_GROUP_TIP_TYPE_CANCEL_ADMIN
		if o.call.Self {
			typ = im.GroupTipType_GROUP_TIP_TYPE_SET_ADMIN
		}
		return one(typ, other, "", false)
	case "mute":
		return one(im.GroupTipType_GROUP_TIP_TYPE_MEMBER_INFO_CHANGE, other, fmt.Sprint(o.call.Self), o.call.Self)
	}
	return nil, false
}

// explained checks that tips are one for one with the changes that calls have made: no more than could make them, no fewer than certainly did.
func (c *groupChecker) explained() {
	type key struct {
		id string
		cause
	}
	sure, possible, there := map[key]int{}, map[key]int{}, map[key]int{}
	all := map[string]key{}
	for _, o := range c.ops {
		groups := c.byID[o.call.Conv]
		if len(groups) == 0 {
			if o.code == 0 && o.call.Op == groupOp+"create" && o.call.Conv != liveRoom {
				c.fail("%s: has made %s, which is not there", o.d.Name, o.call.Conv)
			}
			continue
		}
		cs, certain := o.tips(groupRules[groups[0].Type])
		for _, cause := range cs {
			k := key{o.call.Conv, cause}
			all[fmt.Sprint(k)] = k
			possible[k]++
			if c.twice(o) {
				possible[k]++
			}
			if certain && !c.crossed(o) && !c.had(o) {
				sure[k]++
			}
		}
		if o.code == 0 && o.call.Op == groupOp+"create" && !c.had(o) && !slices.ContainsFunc(groups, func(g *Group) bool { return c.creation(g) == o }) {
			c.fail("%s: has made %s, %q, which is not there", o.d.Name, o.call.Conv, o.call.Text)
		}
	}
	for _, g := range c.h.Groups {
		for _, e := range g.Entries {
			if t := tip(e.Message); t != nil {
				k := key{g.ID, causeOf(t)}
				all[fmt.Sprint(k)] = k
				there[k]++
			}
		}
	}
	for _, name := range sortedKeys(all) {
		k := all[name]
		if there[k] > possible[k] {
			c.fail("%s: %d times there is %v, which at most %d calls have done", k.id, there[k], k.cause, possible[k])
		}
		if there[k] < sure[k] {
			c.fail("%s: %d times there is %v, which was done %d times", k.id, there[k], k.cause, sure[k])
		}
	}
	for _, s := range c.sends {
		p, stored := c.at[s.Tag]
		switch {
		case !isGroup(s.Conv) || s.Conv == liveRoom || s.Online || s.Code != 0:
		case !stored:
			c.fail("%s: %q was acknowledged with seq %d of %s and is nowhere", s.Device.Name, s.Tag, s.Seq, s.Conv)
		case p.e.Seq != s.Seq:
			c.fail("%s: %q was acknowledged with seq %d of %s and has %d", s.Device.Name, s.Tag, s.Seq, s.Conv, p.e.Seq)
		}
	}
	for _, o := range c.ops {
		if o.call.Op == "revoke" && o.code == 0 && isGroup(o.call.Conv) && o.call.Conv != liveRoom && !slices.ContainsFunc(c.byID[o.call.Conv], func(g *Group) bool { return g.recalled()[o.call.Seq] != nil }) {
			c.fail("%s: a recall of %d of %s was acknowledged and is lost", o.d.Name, o.call.Seq, o.call.Conv)
		}
	}
}

// crossed reports whether somebody else may have made the same person join or leave before a call ended: if the call is sent again, the server takes what
// was done in the last two minutes, longer than a history, for what the call has done.
func (c *groupChecker) crossed(o *op) bool {
	if o.call.Op == groupOp+"mute" { // the same for a mute
		return slices.ContainsFunc(c.ops, func(x *op) bool {
			return x != o && x.call.Op == o.call.Op && x.call.Conv == o.call.Conv && x.call.Tag == o.call.Tag && x.call.Self && o.end >= x.begin && !x.never()
		})
	}
	if o.call.Op == groupOp+"answer" { // or an answer, which an invitation by the same user is, too; and one of what was answered before
		return o.call.N != 0 || slices.ContainsFunc(c.ops, func(x *op) bool {
			same := x.call.Op == o.call.Op && x.call.Tag == o.call.Tag && x.call.Self == o.call.Self || o.call.Self && x.joins(o.call.Tag) == "in"
			return x != o && same && x.by() == o.by() && x.call.Conv == o.call.Conv && o.end >= x.begin && x.end >= o.begin && !x.never()
		})
	}
	makes := map[string]string{groupOp + "invite": "in", groupOp + "kick": "out"}[o.call.Op]
	return makes != "" && slices.ContainsFunc(c.ops, func(x *op) bool {
		return x != o && x.call.Conv == o.call.Conv && o.end >= x.begin && !x.never() && x.joins(o.call.Tag) == makes
	})
}

// twice reports whether a call may have acted twice: if it is sent again after somebody else has changed the same, nothing shows that it was done.
func (c *groupChecker) twice(o *op) bool {
	return slices.ContainsFunc(c.ops, func(x *op) bool {
		return x != o && x.call.Conv == o.call.Conv && x.end >= o.begin && o.end >= x.begin && !x.never() && (x.call.Op == o.call.Op || x.joins(o.person()) != "")
	})
}

// person is the user whom a call makes join or leave, or changes otherwise.
func (o *op) person() string {
	if o.call.Op == groupOp+"join" || o.call.Op == groupOp+"quit" {
		return o.d.User
	}
	return o.call.Tag
}

// had reports whether who makes a group may have had one of the id whose information was changed since: a creation that is sent again takes that for its own.
func (c *groupChecker) had(o *op) bool {
	return o.call.Op == groupOp+"create" && slices.ContainsFunc(c.byID[o.call.Conv], func(g *Group) bool {
		made := c.creation(g)
		_, member := g.Periods[o.d.User]
		return made != nil && made != o && made.begin < o.end && member && slices.ContainsFunc(c.ops, func(x *op) bool {
			name := strings.TrimPrefix(x.call.Op, groupOp)
			return x.call.Conv == g.ID && (name == "rename" || name == "notice" || name == "transfer" || name == "muteall") && !x.never()
		})
	})
}

// joins is what a call makes of a user in its group: "in", "out", or "" if it does not concern them.
func (o *op) joins(user string) string {
	switch name := strings.TrimPrefix(o.call.Op, groupOp); name {
	case "create":
		if o.d.User == user || slices.Contains(strings.Split(o.call.Tag, ","), user) {
			return "in"
		}
		return "out" // of the group that had the id before
	case "dissolve":
		return "out"
	case "answer":
		if o.call.Tag == user && o.call.Self {
			return "in"
		}
	case "join", "quit":
		if o.d.User == user && !(name == "join" && asksToJoin(o.call.Conv)) {
			return map[string]string{"join": "in", "quit": "out"}[name]
		}
	case "invite", "kick":
		if o.call.Tag == user {
			return map[string]string{"invite": "in", "kick": "out"}[name]
		}
	}
	return ""
}

// members checks that who is in a group in the end is who the calls and their answers allow.
func (c *groupChecker) members() {
	for _, id := range sortedKeys(c.byID) {
		for _, user := range c.h.Users {
			var writes []write
			for _, o := range c.ops {
				if o.call.Conv != id || o.never() || !strings.HasPrefix(o.call.Op, groupOp) {
					continue
				}
				does := o.joins(user)
				if does == "" {
					continue
				}
				one := strings.HasSuffix(o.call.Op, "invite") || strings.HasSuffix(o.call.Op, "kick") && o.by() != admin // whose call has no results
				writes = append(writes, write{does, o.begin, o.end, o.code == 0 && (!one || o.ret.N == 1) && !c.had(o) && !(o.call.Op == groupOp+"answer" && c.crossed(o))})
			}
			if c.typeOf(id) == im.GroupType_GROUP_TYPE_WORK { // it ends with its last member
				writes = append(writes, write{"out", 0, math.MaxInt64, false})
			}
			is := "out"
			if last(c.byID[id]).member(user) {
				is = "in"
			}
			if !could(writes, "out", is) {
				c.fail("%s: %s is %s, which no call explains", id, user, is)
			}
		}
	}
}

// cards checks that name cards of members are what was set last. Who joins has none, or the one of before.
func (c *groupChecker) cards() {
	for _, id := range sortedKeys(c.byID) {
		g := last(c.byID[id])
		for _, user := range sortedKeys(g.Rows) {
			var writes []write
			for _, o := range c.ops {
				switch {
				case o.call.Conv != id || o.never():
				case o.call.Op == groupOp+"card" && o.call.Tag == user:
					writes = append(writes, write{o.call.Text, o.begin, o.end, o.code == 0})
				case o.joins(user) != "":
					writes = append(writes, write{"", o.begin, o.end, false})
				}
			}
			if got := g.Rows[user].NameCard; !could(writes, "", got) {
				c.fail("%s: %s has the name card %q, which no call explains", id, user, got)
			}
		}
	}
}

// fields checks that the fields of the app's own of groups and members are what was set last. A group that is made has none; who joins has none, or those of
// before.
func (c *groupChecker) fields() {
	for _, id := range sortedKeys(c.byID) {
		g := last(c.byID[id])
		for _, key := range fieldKeys {
			var writes []write
			for _, o := range c.ops {
				switch {
				case o.call.Conv != id || o.never():
				case o.call.Op == groupOp+"field" && o.call.Tag == key:
					writes = append(writes, write{o.call.Text, o.begin, o.end, o.code == 0})
				case o.call.Op == groupOp+"create":
					writes = append(writes, write{"", o.begin, o.end, false})
				}
			}
			if got := g.fields()[key]; !could(writes, "", got) {
				c.fail("%s: the field %s is %q, which no call explains", id, key, got)
			}
		}
		for _, user := range sortedKeys(g.Rows) {
			var writes []write
			for _, o := range c.ops {
				switch {
				case o.call.Conv != id || o.never():
				case o.call.Op == groupOp+"memberfield" && o.call.Tag == user:
					writes = append(writes, write{memberField + "=" + o.call.Text, o.begin, o.end, o.code == 0})
				case o.joins(user) != "":
					writes = append(writes, write{"", o.begin, o.end, false})
				}
			}
			if got := g.Fields[user]; !could(writes, "", got) {
				c.fail("%s: %s has the fields %q, which no call explains", id, user, got)
			}
		}
	}
}

// order checks that what was done after something else had been answered is behind it in the log, whoever has done the two.
func (c *groupChecker) order() {
	type done struct {
		what       string
		seq        uint64
		begin, end int64
	}
	all := map[*Group][]done{}
	for tag, p := range c.at {
		s := c.sends[tag]
		all[p.g] = append(all[p.g], done{tag, p.e.Seq, s.At, c.ends[s]})
	}
	texts := map[string]*op{}
	for _, o := range c.ops {
		if o.call.Op == groupOp+"rename" || o.call.Op == groupOp+"notice" {
			texts[o.call.Text] = o
		}
	}
	for _, g := range c.h.Groups {
		for _, e := range g.Entries {
			if t := tip(e.Message); t != nil {
				if o := texts[causeOf(t).value]; o != nil {
					end := o.end
					if o.code != 0 {
						end = math.MaxInt64
					}
					all[g] = append(all[g], done{o.call.Text, e.Seq, o.begin, end})
				}
			}
		}
		byBegin := all[g]
		slices.SortFunc(byBegin, func(a, b done) int { return int(a.begin - b.begin) })
		byEnd := slices.Clone(byBegin)
		slices.SortFunc(byEnd, func(a, b done) int {
			switch {
			case a.end < b.end:
				return -1
			case a.end > b.end:
				return 1
			}
			return 0
		})
		var before done
		i := 0
		for _, x := range byBegin {
			for ; i < len(byEnd) && byEnd[i].end < x.begin; i++ {
				if byEnd[i].seq > before.seq {
					before = byEnd[i]
				}
			}
			if before.seq > x.seq {
				c.fail("%s, epoch %d: %q has seq %d, and %q, which was there before, %d", g.ID, g.Epoch, x.what, x.seq, before.what, before.seq)
			}
		}
	}
	// The sends of a device are in the order of its calls, answered or not.
	for _, d := range c.h.Devices {
		before := map[*Group]uint64{}
		run := 0
		for _, s := range d.Sends {
			if s.Run != run {
				run = s.Run
				clear(before)
			}
			if p, ok := c.at[s.Tag]; ok && s.Code == 0 {
				if p.e.Seq < before[p.g] {
					c.fail("%s: %q to %s has seq %d after %d", d.Name, s.Tag, s.Conv, p.e.Seq, before[p.g])
				}
				before[p.g] = p.e.Seq
			}
		}
	}
}

// silenced checks that no ordinary member has sent anything while all were muted.
func (c *groupChecker) silenced() {
	for _, on := range c.ops {
		if on.call.Op != groupOp+"muteall" || !on.call.Self || on.code != 0 {
			continue
		}
		until := int64(math.MaxInt64)
		again := false
		for _, o := range c.ops {
			if o.call.Conv != on.call.Conv || o.never() || o.end < on.begin {
				continue
			}
			switch {
			case o.call.Op == groupOp+"muteall" && !o.call.Self:
				until = min(until, o.begin)
			case o.call.Op == groupOp+"create":
				again = true
			}
		}
		for tag, p := range c.at {
			s := c.sends[tag]
			if !again && p.g.ID == on.call.Conv && groupRules[p.g.Type].tips && p.role == normal && s.Device != c.h.Operator && s.At > on.end && c.ends[s] < until {
				c.fail("%s, epoch %d: seq %d, %q, was sent by an ordinary member while all were muted", p.g.ID, p.g.Epoch, p.e.Seq, tag)
			}
		}
	}
}

// attributes checks that each change of attributes has a call, each certain call its change, and that the values are what was set last.
func (c *groupChecker) attributes() {
	for _, id := range sortedKeys(c.byID) {
		changes := map[string]int{}
		for _, g := range c.byID[id] {
			for _, ch := range g.Changes {
				if ch.Kind == im.ChangeKind_CHANGE_ATTRIBUTES {
					changes[ch.Operator]++
				}
			}
		}
		sure, possible := map[string]int{}, map[string]int{}
		writes := map[string][]write{}
		for _, o := range c.ops {
			if o.call.Op != groupOp+"attribute" || o.call.Conv != id || o.never() {
				continue
			}
			possible[o.d.User]++
			if o.code == 0 && o.call.Text != "" {
				sure[o.d.User]++
			}
			writes[o.call.Tag] = append(writes[o.call.Tag], write{o.call.Text, o.begin, o.end, o.code == 0})
		}
		for _, user := range c.h.Users {
			if n := changes[user]; n > possible[user] || n < sure[user] {
				c.fail("%s: %s has changed attributes %d times, by %d to %d calls", id, user, n, sure[user], possible[user])
			}
		}
		groups := c.byID[id]
		if g := last(groups); len(groups) == 1 {
			for _, k := range sortedKeys(writes) {
				if !could(writes[k], "", g.Attributes[k]) {
					c.fail("%s: the attribute %s is %q, which no call explains", id, k, g.Attributes[k])
				}
			}
			for k, v := range g.Attributes {
				if writes[k] == nil {
					c.fail("%s: the attribute %s is %q, which nobody has set", id, k, v)
				}
			}
		}
	}
}
