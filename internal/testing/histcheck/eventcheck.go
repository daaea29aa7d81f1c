package histcheck

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// toldFriend is what a device was told of a friend since they became one: "remark", "groups" and the fields of the profile.
type toldFriend map[string]string

// toldOfFriend is what a change of a friend tells.
func toldOfFriend(item *im.FriendProfileItem) toldFriend {
	out := toldFriend{}
	if item.Profile != nil {
		out = toldFriend(changesOf(item.Profile))
	}
	if item.Remark != nil {
		out["remark"] = *item.Remark
	}
	if len(item.GroupNameArray) > 0 || item.SetGroups {
		out["groups"] = joined(item.GroupNameArray)
	}
	return out
}

// rowKey is a row of a user's relations.
type rowKey struct {
	kind im.RelationKind
	user string
}

// feedOrder follows what a device is told of each row along the feed: it may skip states, but never goes back.
type feedOrder struct {
	entries []*im.Relation // none if they are not known
	at      map[rowKey]int // how many were told, or skipped
}

// follows reports whether an event can be about a state that is not earlier than what was told of its row before.
func (f *feedOrder) follows(r *Record) bool {
	k := rowKey{user: r.Conv}
	var fits func(e *im.Relation) bool
	switch r.Kind {
	case FriendsAdded, FriendsDeleted:
		k.kind = im.RelationKind_RELATION_FRIEND
		fits = func(e *im.Relation) bool { return e.Gone == (r.Kind == FriendsDeleted) }
	case BlockedAdded, BlockedDeleted:
		k.kind = im.RelationKind_RELATION_BLOCKED
		fits = func(e *im.Relation) bool { return e.Gone == (r.Kind == BlockedDeleted) }
	case Requests:
		k.kind = im.RelationKind_RELATION_REQUEST_IN
		fits = func(e *im.Relation) bool { return !e.Gone && e.GetState().GetWording() == r.Text }
	case FriendsUpdated:
		k.kind = im.RelationKind_RELATION_FRIEND
		u := &im.FriendProfileUpdate{}
		if u.UnmarshalVT([]byte(r.Info)) != nil || u.Item.Remark == nil {
			return true // what else a friend's row shows is in other rows too
		}
		fits = func(e *im.Relation) bool { return !e.Gone && e.GetState().GetRemark() == *u.Item.Remark }
	}
	if len(f.entries) == 0 || fits == nil {
		return true
	}
	for i := f.at[k]; i < len(f.entries); i++ {
		if e := f.entries[i]; e.Kind == k.kind && e.UserId == k.user && fits(e) {
			f.at[k] = i + 1
			return true
		}
	}
	return false
}

// announced follows what a device was notified of: each once, and in the end the sum of it.
func (c *relationChecker) announced(d *Device) {
	friends, blocked, requests := map[string]bool{}, map[string]bool{}, map[string]string{}
	told := map[string]toldFriend{}
	since := map[string]int64{} // when it was told of a friend
	order := &feedOrder{entries: c.h.Feeds[d.User], at: map[rowKey]int{}}
	texts := map[string]*op{} // the newest text that was told of each field of each friend
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
		if !order.follows(r) {
			bad("told after what is later in the feed", r)
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
			told[r.Conv], since[r.Conv] = toldFriend{}, r.At
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
			f := told[r.Conv]
			now := toldOfFriend(u.Item)
			changed := len(now) == 0
			for what, v := range now {
				if old, known := f[what]; !known || old != v {
					changed = true
				}
				f[what] = v
				o := c.set[v]
				if o == nil || !strings.HasPrefix(what, "IM_") {
					continue
				}
				if n := texts[what+r.Conv]; n != nil && o.end < n.begin {
					bad(fmt.Sprintf("told that %s is %q after a newer one", what, v), r)
				}
				texts[what+r.Conv] = o
			}
			if !changed {
				bad("a change that changes nothing", r)
			}
		}
	}
	end := c.h.Relations[d.User]
	for _, u := range c.h.Users {
		f, is := end.Friends[u]
		if friends[u] != is {
			c.fail("%s: %s is a friend: %v, announced %v", d.Name, u, is, friends[u])
		}
		if is && friends[u] {
			now := readFields(f.Profile)
			now["remark"], now["groups"] = f.Remark, f.Groups
			for _, what := range sortedKeys(told[u]) {
				if told[u][what] != now[what] {
					c.fail("%s: of %s it was told %s %q, which is %q", d.Name, u, what, told[u][what], now[what])
				}
			}
			for _, what := range sortedKeys(now) {
				if _, known := told[u][what]; !known && c.setSince(d.User, u, what, now[what], since[u]) {
					c.fail("%s: of %s it was never told %s %q", d.Name, u, what, now[what])
				}
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
		case is && ended[u]:
			c.fail("%s: the request %q of %s is there, announced as gone", d.Name, w, u)
		case !is && was && !ended[u]:
			c.fail("%s: the request %q of %s is gone, which was not announced", d.Name, told, u)
		}
	}
}

// setSince reports whether what a user has of a friend was certainly set after a time: a text of the friend's profile, a remark, or the friend groups.
func (c *relationChecker) setSince(user, friend, what, v string, since int64) bool {
	if v == "" {
		return false
	}
	if what != "remark" && what != "groups" {
		o := c.set[v]
		return o != nil && o.begin > since
	}
	certain := false
	for _, o := range c.ops {
		op := strings.TrimPrefix(o.call.Op, relationOp)
		into := what == "groups" && (op == "into" || op == "group") && o.call.Conv == friend && o.call.Text == v
		switch {
		case o.d.User != user:
		case what == "groups" && op == "rename" && o.call.Tag == v, into && o.begin < since:
			return false // the friend may have come with it
		case into, what == "remark" && op == "remark" && o.call.Conv == friend && o.call.Text == v && o.begin > since:
			certain = certain || what == "remark" || done(o)
		}
	}
	return certain
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
