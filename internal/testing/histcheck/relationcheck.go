package histcheck

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// CheckRelations returns what is wrong with a history of relations; nothing if it is correct.
func CheckRelations(h *History) []string {
	c := &relationChecker{h: h}
	c.bad = append(c.bad, h.Violations...)
	if len(h.Relations) != len(h.Users) {
		c.fail("the server was not read at the end")
		return c.bad
	}
	for _, d := range h.Devices {
		c.collect(d)
	}
	c.collectTexts()
	for _, d := range h.Devices {
		if d.Relations == nil {
			c.fail("%s: not looked at in the end", d.Name)
			continue
		}
		if s := h.Relations[d.User].differs(d.Relations); s != "" {
			c.fail("%s: server and device have %s", d.Name, s)
		}
		if s := h.Relations[d.User].rowsDiffer(d.Relations); s != "" {
			c.fail("%s: server and disk have %s", d.Name, s)
		}
		c.announced(d)
		c.messages(d)
	}
	c.outcomes()
	for _, user := range h.Users {
		if h.Feeds[user] != nil {
			c.feed(user)
		}
	}
	for _, missing := range []string{h.noticed(), h.noticedInOrder()} {
		if missing != "" {
			c.fail("the webhook: %s", missing)
		}
	}
	c.notices()
	return c.bad
}

type relationChecker struct {
	h    *History
	bad  []string
	ops  []*op
	sent []*sentAt
	set  map[string]*op // changes of profiles by the texts that they set
}

// sentAt is a message with the time that its call took.
type sentAt struct {
	*Send
	end int64
}

func (c *relationChecker) fail(format string, args ...any) {
	c.bad = append(c.bad, fmt.Sprintf(format, args...))
}

// done reports that a call was certainly done: its own answer is 0, and so is that for the user.
func done(o *op) bool { return o.code == 0 && o.ret.N == 0 }

// impossible reports that a call certainly had no effect.
func (o *op) impossible() bool { return o.never() || o.code == im.CodeNotLoggedIn }

// collect gathers the calls of a device. One that was not certainly done may have an effect until the end; one that was refused for the user may have had
// it before the refusal, if it was sent again.
func (c *relationChecker) collect(d *Device) {
	open := map[int]*op{}
	for _, r := range d.records() {
		switch r.Kind {
		case Calling:
			o := &op{d: d, call: r, begin: r.At, end: math.MaxInt64, code: codeKilled}
			open[r.Call] = o
			c.ops = append(c.ops, o)
		case Returned:
			if o := open[r.Call]; o != nil {
				o.ret, o.code = r, r.Code
				if r.Code == 0 || o.never() || answeredByRules(r.Code) {
					o.end = r.At
				}
			}
		}
	}
	for _, s := range d.Sends {
		if o := open[s.Call]; o != nil && s.Code == 0 {
			c.sent = append(c.sent, &sentAt{s, o.end})
		}
	}
}

// answeredByRules reports that a code is one of relations: the server has answered, and the call has no effect after that. It may have had one before, if it
// was sent again.
func answeredByRules(code int32) bool { return code >= 30000 && code < 41000 }

// collectTexts finds the change of a profile that has set a text, if only one has.
func (c *relationChecker) collectTexts() {
	c.set = map[string]*op{}
	for _, o := range c.ops {
		if o.call.Op == relationOp+"profile" {
			for _, v := range readFields(o.call.Text) {
				by := o
				if _, ok := c.set[v]; ok || v == "" {
					by = nil
				}
				c.set[v] = by
			}
		}
	}
}

// write is what a call may have set something to.
type write struct {
	value      string
	begin, end int64
	sure       bool
}

// could reports whether a value is that of a write that was not followed by a certain one of another value, or the first if no write is certain.
func could(writes []write, first, got string) bool {
	return couldAt(writes, first, got, math.MaxInt64, math.MaxInt64)
}

// couldAt is could for some moment between two times.
func couldAt(writes []write, first, got string, from, to int64) bool {
	if got == first && !slices.ContainsFunc(writes, func(w write) bool { return w.sure && w.value != got && w.end < from }) {
		return true
	}
	for _, w := range writes {
		if w.value == got && w.begin < to && !slices.ContainsFunc(writes, func(o write) bool { return o.sure && o.value != got && o.begin > w.end && o.end < from }) {
			return true
		}
	}
	return false
}

// writes are those that concern what user a has of user b: "friend", "blocked", "in" and "remark"; or a's profile, if b is a field of it.
func (c *relationChecker) writes(what, a, b string) (out []write) {
	asked := []string{""} // remarks that a may get with b as a friend by b's answer
	for _, o := range c.ops {
		if o.d.User == a && o.call.Conv == b && o.call.Op == relationOp+"add" {
			asked = append(asked, o.call.Text)
		}
	}
	for _, o := range c.ops {
		op, isOp := strings.CutPrefix(o.call.Op, relationOp)
		if !isOp || o.impossible() {
			continue
		}
		mine := o.d.User == a && o.call.Conv == b
		theirs := o.d.User == b && o.call.Conv == a
		put := func(value string, sure bool) { out = append(out, write{value, o.begin, o.end, sure && done(o)}) }
		switch {
		case what == "profile" && o.d.User == a && op == "profile":
			if v, ok := readFields(o.call.Text)[b]; ok {
				put(v, true)
			}
		case !mine && !theirs:
		case what == "blocked" && mine && op == "block":
			put("1", true)
		case what == "blocked" && mine && op == "unblock":
			put("", true)
		case what == "friend":
			switch {
			case op == "add" && (mine || o.call.Self):
				put("1", true)
			case op == "answer" && o.call.Seq < 2 && (theirs || o.call.Seq == 1):
				put("1", true)
			case op == "unfriend" && (mine || o.call.Self), op == "block":
				put("", true)
			}
		case what == "in":
			switch {
			case op == "add" && theirs:
				put(o.call.Text, o.ret.N == int(im.CodeWaitsForApproval))
				if o.ret.N == int(im.CodeWaitsForApproval) {
					out[len(out)-1].sure = o.code == 0
				}
				put("", false) // they are friends
			case op == "answer" && mine:
				put("", true)
			case op == "unask" && mine:
				put("", o.call.Seq != 1)
			case op == "add", op == "answer", op == "block":
				put("", false)
			}
		case what == "remark":
			switch {
			case op == "remark" && mine:
				put(o.call.Text, true)
			case op == "add" && mine, op == "answer" && mine:
				put(o.call.Text, false)
			case op == "add" && theirs, op == "answer" && theirs:
				for _, s := range asked {
					put(s, false)
				}
			}
		}
	}
	return out
}

// tags are the fields that a profile has or somebody has set.
func (c *relationChecker) tags(profile string) []string {
	all := readFields(profile)
	for _, o := range c.ops {
		if o.call.Op == relationOp+"profile" {
			maps.Copy(all, readFields(o.call.Text))
		}
	}
	return sortedKeys(all)
}

// outcomes compares what the server has with what the calls and their answers allow.
func (c *relationChecker) outcomes() {
	is := func(yes bool) string {
		if yes {
			return "1"
		}
		return ""
	}
	for _, a := range c.h.Users {
		x := c.h.Relations[a]
		profile := readFields(x.Profile)
		for _, tag := range c.tags(x.Profile) {
			if !could(c.writes("profile", a, tag), "", profile[tag]) {
				c.fail("%s has %s %q, which no call explains", a, tag, profile[tag])
			}
		}
		for f, y := range x.Friends {
			if o := c.h.Relations[f]; o == nil || y.Profile != o.Profile {
				c.fail("%s has %s with the profile %q", a, f, y.Profile)
			}
		}
		c.groups(a)
		for _, b := range c.h.Users {
			if a == b {
				continue
			}
			f, friends := x.Friends[b]
			if !could(c.writes("friend", a, b), "", is(friends)) {
				c.fail("%s has %s as a friend: %v, which no call explains", a, b, friends)
			}
			if friends && !could(c.writes("remark", a, b), "", f.Remark) {
				c.fail("%s has noted %q about %s, which no call explains", a, f.Remark, b)
			}
			if blocked := slices.Contains(x.Blocked, b); !could(c.writes("blocked", a, b), "", is(blocked)) {
				c.fail("%s has blocked %s: %v, which no call explains", a, b, blocked)
			} else if blocked && friends {
				c.fail("%s has blocked the friend %s", a, b)
			}
			if !could(c.writes("in", a, b), "", x.In[b]) {
				c.fail("%s has the request %q of %s, which no call explains", a, x.In[b], b)
			}
		}
	}
}

// feed checks that each entry of a user's feed can follow the one before it, and that all of them together are what the server has.
func (c *relationChecker) feed(user string) {
	rows := map[string]*im.Relation{}
	names := map[uint64]string{}
	key := func(e *im.Relation) string { return fmt.Sprint(e.Kind, e.UserId, e.Group) }
	for _, e := range c.h.Feeds[user] {
		k := key(e)
		old := rows[k]
		bad := ""
		switch e.Kind {
		case im.RelationKind_RELATION_SELF:
			continue
		case im.RelationKind_RELATION_FRIEND_SELF:
			if rows[key(&im.Relation{Kind: im.RelationKind_RELATION_FRIEND, UserId: e.UserId})] == nil {
				c.fail("the feed of %s: %d is about the profile of %s, who is no friend", user, e.Ver, e.UserId)
			}
			continue
		case im.RelationKind_RELATION_FRIEND:
			for _, n := range e.GetState().GetGroups() {
				if names[n] == "" && !slices.Contains(old.GetState().GetGroups(), n) {
					bad = "a friend in a group that is not there"
				}
			}
			if old == nil && len(e.GetState().GetGroups()) > 0 {
				bad = "a new friend in a group"
			}
		case im.RelationKind_RELATION_FRIEND_GROUP:
			delete(names, e.Group)
			if !e.Gone {
				if slices.Contains(slices.Collect(maps.Values(names)), e.GetState().GetName()) {
					bad = "a second group of a name"
				}
				names[e.Group] = e.GetState().GetName()
			}
		}
		if e.Gone && old == nil {
			bad = "the end of what is not there"
		}
		if bad != "" {
			c.fail("the feed of %s: %d is %s: %v", user, e.Ver, bad, e)
		}
		if rows[k] = e; e.Gone {
			delete(rows, k)
		}
	}
	all := &Relations{Rows: RowsOf(slices.Collect(maps.Values(rows)))}
	server := &Relations{Rows: maps.Clone(c.h.Relations[user].Rows)}
	// Profiles are not in a feed.
	for _, rows := range []map[string]string{all.Rows, server.Rows} {
		for k, v := range rows {
			rows[k], _, _ = strings.Cut(v, " profile ")
			if strings.HasPrefix(k, im.RelationKind_RELATION_SELF.String()) {
				delete(rows, k)
			}
		}
	}
	if s := all.rowsDiffer(server); s != "" {
		c.fail("the feed of %s and what the server has are not the same: %s", user, s)
	}
}
