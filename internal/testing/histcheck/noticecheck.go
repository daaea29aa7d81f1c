package histcheck

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tidings-im/tidings/im"
)

// noticed returns what the webhook lacks: the last notice about each friendship, block and field of a profile is what the server has.
func (h *History) noticed() string {
	type pair struct{ what, owner, other string }
	last := map[pair]bool{}
	profiles := map[string]fields{}
	for _, n := range h.Notices {
		switch n.Command {
		case "Sns.CallbackFriendAdd", "Sns.CallbackFriendDelete":
			last[pair{"friend", n.Owner, n.Other}] = n.Command == "Sns.CallbackFriendAdd"
		case "Sns.CallbackBlackListAdd", "Sns.CallbackBlackListDelete":
			last[pair{"blocked", n.Owner, n.Other}] = n.Command == "Sns.CallbackBlackListAdd"
		case "Profile.CallbackPortraitSet":
			if profiles[n.Owner] == nil {
				profiles[n.Owner] = fields{}
			}
			for tag, v := range readFields(n.Other) {
				if profiles[n.Owner][tag] = v; v == "" {
					delete(profiles[n.Owner], tag)
				}
			}
		}
	}
	for _, a := range h.Users {
		x := h.Relations[a]
		if x == nil {
			return a + " is not known"
		}
		if p := profiles[a].String(); p != x.Profile {
			return fmt.Sprintf("it was notified that the profile of %s is %q, which is %q", a, p, x.Profile)
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

// noticedInOrder returns what is wrong with the notices about a user: those about lists and profiles are exactly the changes in the user's feed, in its order.
// A repetition, which has the number of the event, does not count.
func (h *History) noticedInOrder() string {
	type event struct{ owner, event string }
	seen := map[event]Notice{}
	got := map[string][]Notice{}
	for _, n := range h.Notices {
		k := event{n.Owner, n.Event}
		if before, ok := seen[k]; ok {
			if before != n {
				return fmt.Sprintf("event %q of %s was %v and is %v", n.Event, n.Owner, before, n)
			}
			continue
		}
		seen[k] = n
		n.Event = ""
		if n.Command == "Profile.CallbackPortraitSet" {
			n.Other = "" // a feed does not have it
		}
		got[n.Owner] = append(got[n.Owner], n)
	}
	for _, user := range sortedKeys(h.Feeds) {
		want := expected(user, h.Feeds[user])
		for i := range max(len(want), len(got[user])) {
			switch {
			case i >= len(want):
				return fmt.Sprintf("notified of %v, which is not in the feed of %s", got[user][i], user)
			case i >= len(got[user]):
				return fmt.Sprintf("never notified of %v, number %d of %d in the feed of %s", want[i], i+1, len(want), user)
			case want[i] != got[user][i]:
				return fmt.Sprintf("notified of %v, and the feed of %s has %v there, number %d of %d", got[user][i], user, want[i], i+1, len(want))
			}
		}
	}
	return ""
}

// expected are the notices that a feed causes.
func expected(user string, feed []*im.Relation) (out []Notice) {
	there := map[rowKey]bool{}
	commands := map[im.RelationKind][2]string{
		im.RelationKind_RELATION_FRIEND:  {"Sns.CallbackFriendAdd", "Sns.CallbackFriendDelete"},
		im.RelationKind_RELATION_BLOCKED: {"Sns.CallbackBlackListAdd", "Sns.CallbackBlackListDelete"},
	}
	for _, e := range feed {
		if e.Kind == im.RelationKind_RELATION_SELF {
			out = append(out, Notice{Command: "Profile.CallbackPortraitSet", Owner: user})
		}
		k := rowKey{e.Kind, e.UserId}
		command, ok := commands[e.Kind]
		if !ok || there[k] == !e.Gone {
			continue
		}
		there[k] = !e.Gone
		n := Notice{Command: command[0], Owner: user, Other: e.UserId}
		if e.Gone {
			n.Command = command[1]
		}
		out = append(out, n)
	}
	return out
}

// notices checks that every call that was certainly done was noticed, in the order of the user's feed: names in the order of the calls that set them, and
// blocks as often as they were done.
func (c *relationChecker) notices() {
	at := map[Notice]int{}
	count := map[Notice]int{}
	for i, n := range c.h.Notices {
		n.Event = ""
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
		case o.call.Op == relationOp+"profile":
			if !slices.ContainsFunc(slices.Collect(maps.Values(readFields(o.call.Text))), func(v string) bool { return c.set[v] == o }) {
				continue // it may have changed nothing
			}
			n := Notice{"", "Profile.CallbackPortraitSet", o.d.User, o.call.Text}
			i, ok := at[n]
			if !ok {
				c.fail("the webhook: never notified that %s is %q", o.d.User, o.call.Text)
				continue
			}
			if b := last[o.d.User]; b != nil && b.end < o.begin && at[Notice{"", n.Command, n.Owner, b.call.Text}] > i {
				c.fail("the webhook: notified that %s is %q before %q, which was earlier", o.d.User, o.call.Text, b.call.Text)
			}
			last[o.d.User] = o
		case o.call.Op == relationOp+"block" && !overlaps(o, relationOp+"block", relationOp+"unblock"):
			n := Notice{"", "Sns.CallbackBlackListAdd", o.d.User, o.call.Conv}
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
