package histcheck

import (
	"maps"
	"slices"
	"strings"
)

// groups compares a user's friend groups, and who is in them, with what the calls allow.
func (c *relationChecker) groups(a string) {
	have := map[string][]string{} // users by name
	for _, g := range c.h.Relations[a].Groups {
		name, users, _ := strings.Cut(g, ": ")
		if have[name] != nil {
			c.fail("%s has the friend group %s twice", a, name)
		}
		have[name] = strings.Split(users, ",")
	}
	names := maps.Clone(have)
	for _, o := range c.ops {
		if o.d.User == a {
			for _, name := range groupsOf(o) {
				names[name] = nil
			}
		}
	}
	for _, name := range sortedKeys(names) {
		got, users := "", have[name]
		if users != nil {
			got = "1"
		}
		if !could(c.groupWrites(a, name), "", got) {
			c.fail("%s has the friend group %s: %v, which no call explains", a, name, users != nil)
		}
		for _, b := range c.h.Users {
			in := ""
			if slices.Contains(users, b) {
				in = "1"
			}
			if !could(c.memberWrites(a, name, b, nil), "", in) {
				c.fail("%s has %s in the friend group %s: %v, which no call explains", a, b, name, in != "")
			}
		}
	}
}

// groupsOf are the friend groups that a call names.
func groupsOf(o *op) []string {
	switch strings.TrimPrefix(o.call.Op, relationOp) {
	case "group", "ungroup", "into", "outof":
		return []string{o.call.Text}
	case "rename":
		return []string{o.call.Text, o.call.Tag}
	}
	return nil
}

// groupWrites are the calls that make a friend group of a be there, or not.
func (c *relationChecker) groupWrites(a, name string) (out []write) {
	for _, o := range c.ops {
		if o.d.User != a || o.impossible() {
			continue
		}
		put := func(value string) { out = append(out, write{value, o.begin, o.end, o.code == 0}) }
		switch op := strings.TrimPrefix(o.call.Op, relationOp); {
		case op == "group" && o.call.Text == name:
			put("1")
		case op == "ungroup" && o.call.Text == name:
			put("")
		case op == "rename" && o.call.Text != o.call.Tag && o.call.Text == name:
			put("")
		case op == "rename" && o.call.Text != o.call.Tag && o.call.Tag == name:
			put("1")
		}
	}
	return out
}

// memberWrites are the calls that make b be in a friend group of a, or not: those about the group, and the ends of the friendship, after which a friend is in
// no group. A group that gets another name keeps its friends: who is in it then is what was possible before. within are the renames that led here.
func (c *relationChecker) memberWrites(a, name, b string, within []*op) (out []write) {
	for _, o := range c.ops {
		op, isOp := strings.CutPrefix(o.call.Op, relationOp)
		if !isOp || o.impossible() || slices.Contains(within, o) {
			continue
		}
		put := func(value string, sure bool) { out = append(out, write{value, o.begin, o.end, sure}) }
		mine, theirs := o.d.User == a, o.d.User == b && o.call.Conv == a
		switch {
		case theirs && (op == "block" || op == "unfriend" && o.call.Self):
			put("", done(o))
		case !mine:
		case o.call.Conv == b && (op == "block" || op == "unfriend"):
			put("", done(o))
		case o.call.Conv == b && o.call.Text == name && (op == "group" || op == "into"):
			put("1", done(o))
		case o.call.Conv == b && o.call.Text == name && op == "outof":
			put("", done(o))
		case op == "ungroup" && o.call.Text == name:
			put("", o.code == 0)
		case op == "rename" && o.call.Text != o.call.Tag && o.call.Text == name:
			put("", o.code == 0)
		case op == "rename" && o.call.Text != o.call.Tag && o.call.Tag == name:
			before := c.memberWrites(a, o.call.Text, b, append(within, o))
			was := couldAt(before, "", "1", o.begin, o.end)
			wasNot := couldAt(before, "", "", o.begin, o.end)
			if was {
				put("1", o.code == 0 && !wasNot)
			}
			if wasNot {
				put("", o.code == 0 && !was)
			}
		}
	}
	return out
}
