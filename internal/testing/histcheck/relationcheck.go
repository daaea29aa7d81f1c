package histcheck

import (
	"fmt"
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
	for _, d := range h.Devices {
		if d.Relations == nil {
			c.fail("%s: not looked at in the end", d.Name)
			continue
		}
		if s := h.Relations[d.User].differs(d.Relations); s != "" {
			c.fail("%s: server and device have %s", d.Name, s)
		}
		c.announced(d)
		c.messages(d)
	}
	c.outcomes()
	if s := h.noticed(); s != "" {
		c.fail("the webhook: %s", s)
	}
	c.notices()
	return c.bad
}

type relationChecker struct {
	h    *History
	bad  []string
	ops  []*op
	sent []*sentAt
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
				if r.Code == 0 || o.never() {
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

// write is what a call may have set something to.
type write struct {
	value      string
	begin, end int64
	sure       bool
}

// could reports whether a value is that of a write that was not followed by a certain one of another value, or the first if no write is certain.
func could(writes []write, first, got string) bool {
	if got == first && !slices.ContainsFunc(writes, func(w write) bool { return w.sure && w.value != got }) {
		return true
	}
	for _, w := range writes {
		if w.value == got && !slices.ContainsFunc(writes, func(o write) bool { return o.sure && o.value != got && o.begin > w.end }) {
			return true
		}
	}
	return false
}

// writes are those that concern what user a has of user b: "friend", "blocked", "in" and "remark"; or "nick" of a.
func (c *relationChecker) writes(what, a, b string) (out []write) {
	asked := []string{""} // remarks that a may get with b as a friend by b's answer
	for _, o := range c.ops {
		if o.d.User == a && o.call.Conv == b && o.call.Op == relationOp+"add" {
			asked = append(asked, o.call.Text)
		}
	}
	for _, o := range c.ops {
		op, isOp := strings.CutPrefix(o.call.Op, relationOp)
		if !isOp || o.never() || o.code == im.CodeNotLoggedIn {
			continue
		}
		mine := o.d.User == a && o.call.Conv == b
		theirs := o.d.User == b && o.call.Conv == a
		put := func(value string, sure bool) { out = append(out, write{value, o.begin, o.end, sure && done(o)}) }
		switch {
		case what == "nick" && o.d.User == a && op == "nick":
			put(o.call.Text, true)
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
		if !could(c.writes("nick", a, ""), "", x.Nick) {
			c.fail("%s has the name %q, and was given another one", a, x.Nick)
		}
		for f, y := range x.Friends {
			if o := c.h.Relations[f]; o == nil || y.Nick != o.Nick {
				c.fail("%s has %s with the name %q", a, f, y.Nick)
			}
		}
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

// announced follows what a device was notified of: each once, and in the end the sum of it.
func (c *relationChecker) announced(d *Device) {
	friends, blocked, requests := map[string]bool{}, map[string]bool{}, map[string]string{}
	told := map[string]Friend{} // what it was told of a friend
	known := map[string]int{}   // which of it: 1 the remark, 2 the name, 4 the groups
	ended := map[string]bool{}
	everAsked := map[string]bool{}
	type event struct{ kind, conv, text, info string }
	recent, again := map[event]int{}, map[event]int{}
	batch := 0
	messages := map[string]bool{}
	var started bool
	bad := func(what string, r *Record) { c.fail("%s: %s: %v", d.Name, what, *r) }
	for _, o := range c.ops {
		if o.d.User == d.User && o.call.Op == relationOp+"add" {
			everAsked[o.call.Conv] = true
		}
	}
	rs := d.records()
	for i := range rs {
		r := &rs[i]
		switch r.Kind {
		case Opened:
			batch, started = 0, false
			clear(recent)
		case Died:
			if len(recent) > 0 {
				clear(again)
				for k, n := range recent {
					again[k] = n
				}
			}
		case Start:
			started = true
			clear(again)
		}
		relation := slices.Contains(relationCallbacks, r.Kind)
		if !relation && r.Kind != New {
			continue
		}
		if r.Batch != batch {
			batch = r.Batch
			clear(recent)
		}
		k := event{r.Kind, r.Conv, r.Text, r.Info}
		recent[k]++
		if !started && again[k] > 0 { // a crash may repeat the last callback
			again[k]--
			continue
		}
		switch r.Kind {
		case New:
			if messages[r.Tag] {
				bad("a message told twice", r)
			}
			messages[r.Tag] = true
		case FriendsAdded:
			if friends[r.Conv] {
				bad("a friend added twice", r)
			}
			friends[r.Conv] = true
			told[r.Conv], known[r.Conv] = Friend{}, 0
		case FriendsDeleted:
			if !friends[r.Conv] {
				bad("a friend deleted that was not there", r)
			}
			delete(friends, r.Conv)
		case BlockedAdded:
			if blocked[r.Conv] {
				bad("blocked twice", r)
			}
			blocked[r.Conv] = true
		case BlockedDeleted:
			if !blocked[r.Conv] {
				bad("unblocked and was not blocked", r)
			}
			delete(blocked, r.Conv)
		case Requests:
			if old, ok := requests[r.Conv]; ok && old == r.Text {
				bad("a request told twice", r)
			}
			requests[r.Conv] = r.Text
			delete(ended, r.Conv)
		case RequestsDeleted:
			if _, ok := requests[r.Conv]; !everAsked[r.Conv] && (!ok || ended[r.Conv]) {
				bad("a request deleted that was not there", r)
			}
			ended[r.Conv] = true
		case FriendsUpdated:
			u := &im.FriendProfileUpdate{}
			if err := u.UnmarshalVT([]byte(r.Info)); err != nil {
				bad(err.Error(), r)
				continue
			}
			if !friends[r.Conv] {
				bad("a change of somebody who is no friend", r)
			}
			f, n, item := told[r.Conv], known[r.Conv], u.Item
			changed := item.GetProfile() != nil && item.Profile.NickName == nil // something else of the profile
			if item.Remark != nil {
				changed = changed || n&1 == 0 || f.Remark != *item.Remark
				f.Remark, n = *item.Remark, n|1
			}
			if p := item.GetProfile(); p != nil && p.NickName != nil {
				changed = changed || n&2 == 0 || f.Nick != *p.NickName
				f.Nick, n = *p.NickName, n|2
			}
			if len(item.GroupNameArray) > 0 || item.SetGroups || item.Remark == nil && item.GetProfile() == nil {
				groups := joined(item.GroupNameArray)
				changed = changed || n&4 == 0 || f.Groups != groups
				f.Groups, n = groups, n|4
			}
			if !changed {
				bad("a change that changes nothing", r)
			}
			told[r.Conv], known[r.Conv] = f, n
		}
	}
	end := c.h.Relations[d.User]
	for _, u := range c.h.Users {
		f, is := end.Friends[u]
		if friends[u] != is {
			c.fail("%s: %s is a friend: %v, announced %v", d.Name, u, is, friends[u])
		}
		if is && friends[u] {
			n, t := known[u], told[u]
			if n&1 != 0 && t.Remark != f.Remark || n&2 != 0 && t.Nick != f.Nick || n&4 != 0 && t.Groups != f.Groups {
				c.fail("%s: of %s it was told %v (%d), which is %v", d.Name, u, t, n, f)
			}
		}
		if is := slices.Contains(end.Blocked, u); blocked[u] != is {
			c.fail("%s: %s is blocked: %v, announced %v", d.Name, u, is, blocked[u])
		}
		w, is := end.In[u]
		told, was := requests[u]
		switch {
		case is && told != w:
			c.fail("%s: the request %q of %s is there, announced %q", d.Name, w, u, told)
		case !is && was && !ended[u]:
			c.fail("%s: the request %q of %s is gone, which was not announced", d.Name, told, u)
		}
	}
}

// messages checks that nothing that was sent during a block was told, and everything else was.
func (c *relationChecker) messages(d *Device) {
	told := map[string]bool{}
	for _, r := range d.records() {
		if r.Kind == New {
			told[r.Tag] = true
		}
	}
	for _, s := range c.sent {
		if s.Conv != d.User || s.User == d.User {
			continue
		}
		during, before := false, false // certainly blocked; perhaps
		for _, b := range c.ops {
			if b.call.Op != relationOp+"block" || b.d.User != d.User || b.call.Conv != s.User || b.never() {
				continue
			}
			until, ended := int64(math.MaxInt64), int64(math.MaxInt64) // the first unblock that may have been done after it, and the first that was
			for _, u := range c.ops {
				if u.call.Op == relationOp+"unblock" && u.d.User == d.User && u.call.Conv == s.User && !u.never() {
					if u.end > b.begin {
						until = min(until, u.begin)
					}
					if u.begin > b.end && done(u) {
						ended = min(ended, u.end)
					}
				}
			}
			during = during || done(b) && b.end < s.At && s.end < until
			before = before || b.begin < s.end && s.At < ended
		}
		switch {
		case during && told[s.Tag]:
			c.fail("%s: was told %q, which %s sent while blocked", d.Name, s.Tag, s.User)
		case !before && !told[s.Tag]:
			c.fail("%s: never heard of %q, and did not block %s", d.Name, s.Tag, s.User)
		}
	}
}

// noticed returns what the webhook lacks: the last notice about each friendship, block and name is what the server has.
func (h *History) noticed() string {
	type pair struct{ what, owner, other string }
	last := map[pair]bool{}
	nick := map[string]string{}
	for _, n := range h.Notices {
		switch n.Command {
		case "Sns.CallbackFriendAdd", "Sns.CallbackFriendDelete":
			last[pair{"friend", n.Owner, n.Other}] = n.Command == "Sns.CallbackFriendAdd"
		case "Sns.CallbackBlackListAdd", "Sns.CallbackBlackListDelete":
			last[pair{"blocked", n.Owner, n.Other}] = n.Command == "Sns.CallbackBlackListAdd"
		case "Profile.CallbackPortraitSet":
			nick[n.Owner] = n.Other
		}
	}
	for _, a := range h.Users {
		x := h.Relations[a]
		if x == nil {
			return a + " is not known"
		}
		if x.Nick != nick[a] {
			return fmt.Sprintf("the last name of %s is %q, which has %q", a, nick[a], x.Nick)
		}
		for _, b := range h.Users {
			if _, is := x.Friends[b]; last[pair{"friend", a, b}] != is {
				return fmt.Sprintf("%s has %s as a friend: %v, it was notified of %v", a, b, is, !is)
			}
			if is := slices.Contains(x.Blocked, b); last[pair{"blocked", a, b}] != is {
				return fmt.Sprintf("%s has blocked %s: %v, it was notified of %v", a, b, is, !is)
			}
		}
	}
	return ""
}

// notices checks that every call that was certainly done was noticed, in the order of the user's feed: names in the order of the calls that set them, and
// blocks as often as they were done.
func (c *relationChecker) notices() {
	at := map[Notice]int{}
	count := map[Notice]int{}
	for i, n := range c.h.Notices {
		if _, ok := at[n]; !ok {
			at[n] = i
		}
		count[n]++
	}
	overlaps := func(o *op, ops ...string) bool {
		return slices.ContainsFunc(c.ops, func(x *op) bool {
			return x != o && x.d.User == o.d.User && x.call.Conv == o.call.Conv && slices.Contains(ops, x.call.Op) && x.begin < o.end && o.begin < x.end
		})
	}
	// A block that is sent again is answered as done, whoever has done it: another one is sure only after an unblock.
	unblocked := func(since *op, o *op) bool {
		return since == nil || slices.ContainsFunc(c.ops, func(u *op) bool {
			return u.call.Op == relationOp+"unblock" && u.d.User == o.d.User && u.call.Conv == o.call.Conv && done(u) && u.begin > since.end && u.end < o.begin
		})
	}
	blocks, blocked := map[Notice]int{}, map[Notice]*op{}
	last := map[string]*op{}
	slices.SortFunc(c.ops, func(a, b *op) int { return int(a.end - b.end) })
	for _, o := range c.ops {
		switch {
		case !done(o):
		case o.call.Op == relationOp+"nick":
			n := Notice{"Profile.CallbackPortraitSet", o.d.User, o.call.Text}
			i, ok := at[n]
			if !ok {
				c.fail("the webhook: never notified that %s is %q", o.d.User, o.call.Text)
				continue
			}
			if b := last[o.d.User]; b != nil && b.end < o.begin && at[Notice{n.Command, n.Owner, b.call.Text}] > i {
				c.fail("the webhook: notified that %s is %q before %q, which was earlier", o.d.User, o.call.Text, b.call.Text)
			}
			last[o.d.User] = o
		case o.call.Op == relationOp+"block" && !overlaps(o, relationOp+"block", relationOp+"unblock"):
			n := Notice{"Sns.CallbackBlackListAdd", o.d.User, o.call.Conv}
			if !unblocked(blocked[n], o) {
				continue
			}
			blocked[n] = o
			if blocks[n]++; blocks[n] > count[n] {
				c.fail("the webhook: notified %d times that %s has blocked %s, which was done more often", count[n], n.Owner, n.Other)
			}
		}
	}
}
