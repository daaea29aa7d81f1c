package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Group is the oracle of the matrix of groups: what the devices of everybody are to get of one group, by the rules of docs/sync.md (49 to 53). Each act
// in it is a line "ann kick bob"; Act applies one, and Fired is what it makes fire.
type Group struct {
	ID, Type string

	t       testing.TB
	log     []*logged
	members map[string]*member
	owner   string
	admins  []string
	over    bool
	attrs   map[string]string
	asked   map[string]string // who invited a user, who has not answered
	acts    int
	fired   map[string][]Fired
}

// Fired is an event of a user's devices.
type Fired struct {
	// Words are what it says in short, like "new hi".
	Words string
	// Own is an event of the acting device alone, and Others one of all of its user's devices but that one.
	Own, Others bool

	kind   string // log, live, change, modified, report, attributes, conversation
	seq    int
	by     string
	silent bool // under the receive option of the user as it is by then
}

// logged is an entry of the log.
type logged struct {
	by, text string
	tip      bool
	void     bool // recalled
	counted  bool
	to, at   []string // to some members only; of whom it speaks
	act      int
}

type member struct {
	in      bool
	periods []period
	read    int
	cleared int
	deleted int // the conversation, up to here; -1 if it is not
	opt     int
	pinned  bool
	hidden  map[int]bool
	attrs   string // as they were told
}

// period is a membership: from is the number before its first one.
type period struct{ from, to int }

const endless = 1 << 30

// quietType are the types without tips of joining, leaving, roles and mutes, and in which nothing is unread.
var quietType = map[string]bool{"Meeting": true}

// NewGroup returns the model of a group that does not exist yet.
func NewGroup(t testing.TB, id string) *Group {
	return &Group{ID: id, t: t, members: map[string]*member{}, attrs: map[string]string{}, asked: map[string]string{}, fired: map[string][]Fired{}}
}

// Act applies a line and returns what it makes fire on the devices of each user.
func (g *Group) Act(line string) map[string][]Fired {
	words := Split(line)
	before, shown := map[string]int{}, map[string]string{}
	for u := range g.members {
		shown[u] = g.shown(u)
	}
	for u, f := range g.fired {
		before[u] = len(f)
	}
	g.acts++
	actor := words[0]
	g.do(actor, words[1], words[2:])
	for _, u := range slices.Sorted(maps.Keys(g.members)) {
		m := g.members[u]
		silent := m.opt == 1 || m.opt == 4 && counts(shown[u]) == counts(g.shown(u))
		switch was, is := shown[u], g.shown(u); {
		case was == is, silent && u != actor:
		case was == "":
			g.fire(u, Fired{kind: "conversation", Words: "add " + is})
		case is == "":
			g.fire(u, Fired{kind: "conversation", Words: "delete"})
		default:
			g.fire(u, Fired{kind: "conversation", Words: "update " + is, Own: words[1] == "delete"}) // which stays on the device
		}
	}
	out := map[string][]Fired{}
	for u, f := range g.fired {
		for _, x := range f[before[u]:] {
			if !x.silent {
				out[u] = append(out[u], x)
			}
		}
	}
	return out
}

// counts returns what a conversation shows as unread, and of mentions.
func counts(shown string) string {
	unread, rest, _ := strings.Cut(shown, " last ")
	_, marks, _ := strings.Cut(rest, `" at `)
	return unread + marks
}

func (g *Group) fire(u string, f Fired) { g.fired[u] = append(g.fired[u], f) }

// shown is the conversation in the user's list, "" if it is not there.
func (g *Group) shown(u string) string {
	m := g.members[u]
	last := 0
	for i := range g.log {
		if g.sees(u, i+1) {
			last = i + 1
		}
	}
	if m == nil || len(m.periods) == 0 || last == 0 && g.Type == "Work" || m.deleted >= last {
		return ""
	}
	return g.words(u, last)
}

func (g *Group) words(u string, last int) string {
	m := g.members[u]
	text := ""
	if last > 0 {
		text = g.log[last-1].text
		if g.log[last-1].void {
			text = "(recalled) " + text
		}
	}
	unread, marks := 0, ""
	for i, e := range g.log {
		seq := i + 1
		if !m.in || g.over || seq <= m.read || e.void || e.by == u || !g.sees(u, seq) && !m.hidden[seq] {
			continue // one that the user has deleted counts on
		}
		me, all := slices.Contains(e.at, u), slices.Contains(e.at, "all")
		if me || all {
			marks += fmt.Sprintf(" at %d:%d", seq, map[bool]int{true: 1}[me]+map[bool]int{true: 2}[all])
		}
		if e.counted && (m.opt != 4 || me || all) {
			unread++
		}
	}
	s := fmt.Sprintf("unread %d last %q", unread, text) + marks
	if m.opt > 0 {
		s += fmt.Sprint(" opt ", m.opt)
	}
	if m.pinned {
		s += " pinned"
	}
	return s
}

// Unread is the group's part of the user's total.
func (g *Group) Unread(u string) (n int) {
	if m := g.members[u]; m != nil && (m.opt == 0 || m.opt == 4) {
		fmt.Sscanf(g.shown(u), "unread %d", &n)
	}
	return n
}

// sees reports whether an entry of the log is the user's to see.
func (g *Group) sees(u string, seq int) bool {
	m, e := g.members[u], g.log[seq-1]
	if m == nil || seq <= m.cleared || m.hidden[seq] || len(e.to) > 0 && e.by != u && !slices.Contains(e.to, u) {
		return false
	}
	return slices.ContainsFunc(m.periods, func(p period) bool { return seq > p.from && seq <= p.to })
}

// hears reports whether what somebody does fires at a member: not under the receive options 1 and 4, except for what mentions them under 4.
func (g *Group) hears(u, by string, at []string) bool {
	switch m := g.members[u]; {
	case by == u, m.opt != 1 && m.opt != 4:
		return true
	case m.opt == 4:
		return slices.Contains(at, u) || slices.Contains(at, "all")
	}
	return false
}

// add appends an entry to the log and fires it at all who see it.
func (g *Group) add(e *logged) {
	e.act = g.acts
	g.log = append(g.log, e)
	for u := range g.members {
		if seq := len(g.log); g.sees(u, seq) {
			f := Fired{kind: "log", seq: seq, by: e.by, silent: !g.hears(u, e.by, e.at)}
			if f.Words = e.text; e.tip {
				g.fire(u, f)
			}
			f.Words, f.Others = "new "+e.text, !e.tip && e.by == u
			g.fire(u, f)
		}
	}
}

func (g *Group) tip(by string, words string, args ...any) {
	g.add(&logged{by: by, tip: true, text: "tip " + fmt.Sprintf(words, args...)})
}

func (g *Group) report(u string, n int, by string) {
	g.fire(u, Fired{kind: "report", Words: fmt.Sprintf("new report %d by %s", n, by), Others: n == 6 || n == 8})
}

// change fires what happens to an entry at all who see it.
func (g *Group) change(seq int, by, kind, words string) {
	for u := range g.members {
		if g.sees(u, seq) && g.members[u].in {
			g.fire(u, Fired{kind: kind, seq: seq, by: by, Words: words, silent: !g.hears(u, by, g.log[seq-1].at)})
		}
	}
}

func (g *Group) enter(u string) {
	m := g.members[u]
	if m == nil {
		m = &member{hidden: map[int]bool{}}
		g.members[u] = m
	}
	head := len(g.log)
	m.periods = append(m.periods, period{head, endless})
	m.in, m.read, m.opt, m.pinned, m.deleted = true, head, 0, false, -1
	m.attrs = fmt.Sprint(g.attrs)
}

func (g *Group) leave(u string) {
	m := g.members[u]
	m.in, m.periods[len(m.periods)-1].to = false, len(g.log)
	g.admins = slices.DeleteFunc(g.admins, func(a string) bool { return a == u })
	if g.owner == u {
		g.owner = ""
	}
}

// In reports whether a user is a member.
func (g *Group) In(u string) bool { return !g.over && g.members[u] != nil && g.members[u].in }

// Over reports whether the group was dissolved.
func (g *Group) Over() bool { return g.over }

// Owner is the owner of the group, "" if it has none.
func (g *Group) Owner() string { return g.owner }

// attributes fires the attributes at all members who do not know them.
func (g *Group) attributes() {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(g.attrs)) {
		list = append(list, k+"="+g.attrs[k])
	}
	for u, m := range g.members {
		if now := fmt.Sprint(g.attrs); m.in && now != m.attrs {
			m.attrs = now
			g.fire(u, Fired{kind: "attributes", Words: strings.TrimSpace("attributes " + strings.Join(list, " "))})
		}
	}
}

func (g *Group) everyone() (in []string) {
	for u, m := range g.members {
		if m.in {
			in = append(in, u)
		}
	}
	return in
}

// do is the rules: what an act makes of the group, and what it makes fire.
func (g *Group) do(by, verb string, args []string) {
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			g.t.Fatal(err)
		}
		return n
	}
	if verb == "create" {
		g.Type, g.owner = args[0], by
	}
	joins, roles := !quietType[g.Type], !quietType[g.Type]
	mine := g.members[by]
	say := func(e *logged) {
		e.by, e.counted = by, !quietType[g.Type] && len(e.to) == 0
		g.add(e)
	}
	come := func(by string, users ...string) {
		for _, u := range users {
			g.enter(u)
		}
		if joins {
			g.tip(by, "1 by %s of %s", by, strings.Join(users, "+"))
		}
	}
	switch verb {
	case "create": // first members see one tip about all of them
		g.enter(by)
		if len(args) > 1 {
			come(by, args[1:]...)
		}
		g.report(by, 6, by)
		for _, u := range args[1:] {
			g.report(u, 7, by)
		}
	case "join":
		come(by, by)
	case "apply": // owner and admins decide
		for _, u := range append([]string{g.owner}, g.admins...) {
			g.report(u, 1, by)
		}
	case "accept":
		come(args[0], args[0])
		g.report(args[0], 2, by)
	case "refuse":
		g.report(args[0], 3, by)
	case "invite":
		come(by, args...)
		for _, u := range args {
			g.report(u, 7, by)
		}
	case "ask": // to invite where the invited user decides
		g.asked[args[0]] = by
		g.report(args[0], 12, by)
	case "agree":
		come(g.asked[by], by)
		g.report(g.asked[by], 13, by)
	case "decline":
		g.report(g.asked[by], 14, by)
	case "quit": // the membership ends before the tip
		g.leave(by)
		if joins && len(g.everyone()) > 0 {
			g.tip(by, "2 by %s of %s", by, by)
		}
		g.report(by, 8, by)
		if g.Type == "Work" && len(g.everyone()) == 0 {
			g.over = true
		}
	case "kick":
		for _, u := range args {
			g.leave(u)
		}
		if joins {
			g.tip(by, "3 by %s of %s", by, strings.Join(args, "+"))
		}
		for _, u := range args {
			g.report(u, 4, by)
		}
	case "kicksilently":
		g.leave(args[0])
	case "dissolve":
		for _, u := range g.everyone() {
			g.report(u, 5, by)
		}
		g.over = true
	case "name", "introduction", "notice", "face":
		g.tip(by, "6 by %s flag %d %s", by, map[string]int{"name": 1, "introduction": 2, "notice": 3, "face": 4}[verb], args[0])
	case "owner":
		g.owner = args[0]
		g.admins = slices.DeleteFunc(g.admins, func(a string) bool { return a == args[0] })
		g.tip(by, "6 by %s flag 5 %s", by, args[0])
	case "admin", "noadmin":
		tip, report := 4, 9
		if g.admins = append(g.admins, args[0]); verb == "noadmin" {
			tip, report = 5, 10
			g.admins = slices.DeleteFunc(g.admins, func(a string) bool { return a == args[0] })
		}
		if roles {
			g.tip(by, "%d by %s of %s", tip, by, args[0])
		}
		g.report(args[0], report, by)
	case "mute":
		if roles {
			g.tip(by, "7 by %s of %s muted %s", by, args[0], args[1])
		}
		g.report(args[0], 17, by)
	case "custom": // a tip in no log
		for _, u := range g.everyone() {
			if g.hears(u, by, nil) {
				words := fmt.Sprintf("tip 6 by %s flag 6 %s", by, args[1])
				g.fire(u, Fired{kind: "live", Words: words})
				g.fire(u, Fired{kind: "live", Words: "new " + words})
			}
		}
	case "muteall", "addoption", "inviteoption", "card", "field": // change numbers, and are asked for
	case "set":
		g.attrs[args[0]] = args[1]
		g.attributes()
	case "init":
		g.attrs = map[string]string{args[0]: args[1]}
		g.attributes()
	case "unset":
		if delete(g.attrs, ""); len(args) == 0 {
			clear(g.attrs)
		}
		for _, k := range args {
			delete(g.attrs, k)
		}
		g.attributes()
	case "say":
		say(&logged{text: args[0]})
	case "at":
		say(&logged{text: args[0], at: args[1:]})
	case "to":
		say(&logged{text: args[0], to: args[1:]})
	case "online": // in no log; the device that sent it does not get it back
		for _, u := range g.everyone() {
			if g.hears(u, by, nil) {
				g.fire(u, Fired{kind: "live", Words: "new " + args[0], Others: u == by})
			}
		}
	case "recall":
		seq := number(args[0])
		g.log[seq-1].void = true
		g.change(seq, by, "change", fmt.Sprintf("revoke %d by %s", seq, by))
	case "modify":
		seq := number(args[0])
		g.log[seq-1].text = args[1]
		g.change(seq, by, "modified", "modified "+args[1])
	case "notify": // the operator, all members
		for _, u := range g.everyone() {
			g.report(u, 16, by)
		}
	case "opt":
		mine.opt = number(args[0])
	case "pin":
		mine.pinned = true
	case "unpin":
		mine.pinned = false
	case "draft": // which stays on the device
		g.fire(by, Fired{kind: "conversation", Words: "update " + g.shown(by) + " draft " + args[0], Own: true})
	case "nodraft":
		g.fire(by, Fired{kind: "conversation", Words: "update " + g.shown(by), Own: true})
	case "read":
		mine.read = len(g.log)
	case "clear":
		mine.read, mine.cleared = len(g.log), len(g.log)
	case "deleteconv":
		mine.read, mine.cleared, mine.deleted, mine.pinned = len(g.log), len(g.log), len(g.log), false
	case "delete":
		mine.hidden[number(args[0])] = true
	default:
		g.t.Fatalf("unknown act %q", verb)
	}
}

// Mark is a moment in a group, from which on a device of a user was away.
type Mark struct {
	acts, fired int
	shown       string
	attrs       string
}

// Mark returns the present moment for a user.
func (g *Group) Mark(u string) Mark {
	m := Mark{acts: g.acts, fired: len(g.fired[u]), shown: g.shown(u)}
	if x := g.members[u]; x != nil {
		m.attrs = x.attrs
	}
	return m
}

// Missed is what a device gets that comes back: the entries that it missed, as they are now, in the order of the log; the changes to what it had; what
// the conversation has become. What was recalled meanwhile fires as a recall, and what was modified once, as it is. Aside are what has no place among
// these: the attributes as they are, and reports.
func (g *Group) Missed(u string, since Mark) (log, aside []string) {
	var entries, changes, reports []string
	for _, f := range g.fired[u][since.fired:] {
		switch {
		case f.Own, f.seq > 0 && !g.hears(u, f.by, g.log[f.seq-1].at): // the option counts that the device finds
			continue
		}
		switch f.kind {
		case "log":
			if e := g.log[f.seq-1]; !e.void {
				w := e.text
				if strings.HasPrefix(f.Words, "new ") {
					w = "new " + w
				}
				entries = append(entries, w)
			}
		case "change":
			changes = append(changes, f.Words)
		case "modified":
			if g.log[f.seq-1].act <= since.acts {
				changes = append(changes, f.Words)
			}
		case "report":
			reports = append(reports, f.Words)
		case "attributes":
			if g.In(u) { // else they are not the user's to see any more
				aside = append(aside[:0], f.Words)
			}
		}
	}
	log, aside = append(entries, changes...), append(aside, reports...)
	for _, f := range slices.Backward(g.fired[u][since.fired:]) {
		if f.kind == "conversation" && !f.Own {
			opt := g.members[u].opt
			switch was, is := since.shown, g.shown(u); {
			case was == is, opt == 4 && counts(was) == counts(is):
			case was == "":
				log = append(log, "add "+is)
			case is == "":
				log = append(log, "delete")
			default:
				log = append(log, "update "+is)
			}
			break
		}
	}
	return log, aside
}
