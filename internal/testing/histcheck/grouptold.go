package histcheck

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// groupEar follows what one device is told of groups.
type groupEar struct {
	c *groupChecker
	d *Device
	// epoch is the group that an id is, as far as the device was told.
	epoch map[string]uint64
	// fired are the numbers that were announced, told is the last one of each group, recalled are the recalls.
	fired, recalled map[*Group]map[uint64]bool
	told            map[*Group]uint64
	// versions are those of messages that were told last.
	versions map[*Group]map[uint64]uint64
	// announced are the records of those numbers, silence when the device knows that a group is silent.
	announced map[*Group]map[uint64]int64
	silence   map[*Group]groupSilence
	// tips are callbacks of tips that are followed by a message each.
	tips []string
	// reports are those of the feed that were announced.
	reports []*Record
	// ends are the reports of ends of groups.
	ends map[string]int
	// attributes are those that were told last of each group.
	attributes map[string]toldAttributes

	batch         int
	recent, again map[string]int
	started       bool
}

// told follows what a device was notified of: everything that is its user's, each once, in the order of the log, and nothing else.
func (c *groupChecker) told(d *Device) {
	l := &groupEar{c: c, d: d, epoch: map[string]uint64{}, fired: map[*Group]map[uint64]bool{}, recalled: map[*Group]map[uint64]bool{}, told: map[*Group]uint64{}, versions: map[*Group]map[uint64]uint64{}, ends: map[string]int{}, announced: map[*Group]map[uint64]int64{}, silence: map[*Group]groupSilence{},
		attributes: map[string]toldAttributes{}, recent: map[string]int{}, again: map[string]int{}}
	for _, g := range c.h.Groups {
		l.fired[g], l.recalled[g], l.versions[g], l.announced[g], l.silence[g] = map[uint64]bool{}, map[uint64]bool{}, map[uint64]uint64{}, map[uint64]int64{}, c.silenceOf(d, g)
	}
	rs := d.records()
	for i := range rs {
		r := &rs[i]
		switch r.Kind {
		case Opened:
			l.batch, l.started = 0, false
			clear(l.recent)
		case Died:
			for id, told := range l.attributes {
				told.died = told.died || told.run == r.Run
				l.attributes[id] = told
			}
			if len(l.recent) > 0 {
				clear(l.again)
				for k, n := range l.recent {
					l.again[k] = n
				}
			}
		case Start:
			l.started = true
			clear(l.again)
		case New, Updated, Tip, Revoked, Attributes:
			l.take(r)
		}
	}
	l.end()
}

func (l *groupEar) bad(format string, args ...any) {
	l.c.fail("%s: %s", l.d.Name, fmt.Sprintf(format, args...))
}

// take judges an event.
func (l *groupEar) take(r *Record) {
	if r.Conv == liveRoom || r.Conv != "" && !isGroup(r.Conv) || r.Kind == New && r.Conv == "" && !strings.HasPrefix(r.Text, "report ") {
		return
	}
	if r.Batch != l.batch && r.Kind != Attributes { // those are a state, and the end of what was owed before them may not be recorded yet
		l.batch = r.Batch
		clear(l.recent)
	}
	k := fmt.Sprint(r.Kind, " ", r.Conv, " ", r.Seq, " ", r.Text)
	l.recent[k]++
	if !l.started && l.again[k] > 0 { // a crash may repeat the last callback
		l.again[k]--
		return
	}
	switch {
	case r.Kind == Tip:
		l.tips = append(l.tips, r.Text)
	case r.Kind == Attributes:
		l.attribute(r)
	case r.Kind == Updated:
		l.update(r)
	case r.Kind == Revoked:
		l.recall(r)
	case r.Conv == "":
		l.report(r)
	default:
		l.entry(r)
	}
}

// of finds the entry of an event, in the group that the id was last, or a later one.
func (l *groupEar) of(r *Record) (*Group, *im.Entry) {
	for _, g := range l.c.byID[r.Conv] {
		if g.Epoch < l.epoch[r.Conv] || r.Seq == 0 || r.Seq > g.head() {
			continue
		}
		e := g.Entries[r.Seq-1]
		words := r.Text
		if t := tip(e.Message); t != nil && words == TipWords(t) || t == nil && r.Tag == e.Message.GetCloudCustomStr() && r.From == e.Sender {
			return g, e
		}
	}
	return nil, nil
}

// followed checks that a tip's callback came before the message with it.
func (l *groupEar) followed(r *Record) {
	for len(l.tips) > 0 && l.tips[0] != r.Text && l.tipGone(r.Conv, l.tips[0]) {
		l.tips = l.tips[1:]
	}
	if len(l.tips) == 0 || l.tips[0] != r.Text {
		l.bad("a tip without its callback before it (%v): %v", l.tips, *r)
		return
	}
	l.tips = l.tips[1:]
}

func (l *groupEar) entry(r *Record) {
	user := l.d.User
	if r.Online {
		if r.From == system {
			l.followed(r)
		}
		return
	}
	g, e := l.of(r)
	if g == nil {
		l.bad("announced what is in no log: %v", *r)
		return
	}
	l.epoch[r.Conv] = g.Epoch
	isTip := tip(e.Message) != nil
	if isTip {
		l.followed(r)
	}
	switch s := l.c.sends[r.Tag]; {
	case !g.hears(user, e):
		l.bad("announced what is not theirs, of %v and addressees %v: %v", g.Periods[user], g.Addressees[e.Seq], *r)
	case !isTip && s.Device == l.d:
		l.bad("announced its own message: %v", *r)
	case l.fired[g][r.Seq]:
		l.bad("announced twice: %v", *r)
	case r.Seq <= l.told[g]:
		l.bad("announced %d after %d: %v", r.Seq, l.told[g], *r)
	case l.recalled[g][r.Seq]:
		l.bad("announced after its recall: %v", *r)
	case r.Time != uint64(e.Time/1000):
		l.bad("announced with time %d, the log has %d: %v", r.Time, e.Time, *r)
	}
	l.mustSilence(g, e, causedBy(e), r)
	l.silence[g].announced(r)
	l.fired[g][r.Seq], l.versions[g][r.Seq], l.announced[g][r.Seq] = true, r.Version, r.At
	l.told[g] = max(l.told[g], r.Seq)
}

func (l *groupEar) recall(r *Record) {
	for _, g := range l.c.byID[r.Conv] {
		ch := g.recalled()[r.Seq]
		if ch == nil || g.Epoch < l.epoch[r.Conv] || ch.Operator != r.From {
			continue
		}
		switch {
		case !l.c.hearsChange(g, l.d.User, ch):
			l.bad("told of a recall that is not theirs: %v", *r)
		case l.recalled[g][r.Seq]:
			l.bad("a recall told twice: %v", *r)
		}
		l.mustSilence(g, g.Entries[r.Seq-1], ch.Operator, r)
		l.recalled[g][r.Seq] = true
		return
	}
	l.bad("a recall from nowhere: %v", *r)
}

// toldAttributes are attributes, and the run in which they were told. died: it was killed, and may not have noted that.
type toldAttributes struct {
	words string
	run   int
	died  bool
}

// attribute judges an event about attributes: those of some version, and others than those that were told before. Values are unique, so attributes come back only
// if one was removed in between, and a device that was closed since knows no more than their version.
func (l *groupEar) attribute(r *Record) {
	before, ok := l.attributes[r.Conv]
	back := r.Text == "" || before.died || before.run != r.Run && slices.ContainsFunc(l.c.ops, func(o *op) bool {
		return o.call.Op == groupOp+"attribute" && o.call.Conv == r.Conv && o.call.Text == "" && !o.never()
	})
	if ok && before.words == r.Text && !back {
		l.bad("told of attributes that are as they were: %v", *r)
	}
	l.attributes[r.Conv] = toldAttributes{words: r.Text, run: r.Run}
}

// groupReports are the reports in a user's feed that a device with an id is told of: all but those of what it has done itself.
func (h *History) groupReports(user, device string) (out []string) {
	for _, e := range h.Feeds[user] {
		if e.Kind == im.RelationKind_RELATION_GROUP_REPORT && (e.Device == "" || e.Device != device) {
			out = append(out, ReportWords(e.Report))
		}
	}
	return out
}

func (l *groupEar) report(r *Record) {
	var id string
	if _, err := fmt.Sscanf(r.Text, fmt.Sprintf("report %d of %%s", im.GroupReportType_GROUP_REPORT_TYPE_DELETE), &id); err == nil {
		l.ends[id]++
		return
	}
	if l.c.h.Feeds[l.d.User] != nil {
		l.reports = append(l.reports, r)
	}
}

// reported compares the reports that were announced with those of the feed. The device is one of those that the feed names, or one that it does not name.
func (l *groupEar) reported() {
	var first []string
	tried := map[string]bool{}
	for _, e := range append([]*im.Relation{{}}, l.c.h.Feeds[l.d.User]...) {
		if tried[e.Device] {
			continue
		}
		bad := differentReports(l.c.h.groupReports(l.d.User, e.Device), l.reports)
		if len(bad) == 0 {
			return
		}
		if tried[e.Device] = true; first == nil {
			first = bad
		}
	}
	for _, b := range first {
		l.bad("%s", b)
	}
}

func differentReports(want []string, got []*Record) (bad []string) {
	n := 0
	for _, r := range got {
		if n < len(want) && want[n] == r.Text {
			n++
			continue
		}
		next := "none"
		if n < len(want) {
			next = want[n]
		}
		bad = append(bad, fmt.Sprintf("told of a report that is not the next one, which is %s: %v", next, *r))
		if i := slices.Index(want[n:], r.Text); i >= 0 {
			n += i + 1 // go on from here
		}
	}
	if n < len(want) {
		bad = append(bad, fmt.Sprintf("never told of the %d reports from %s on", len(want)-n, want[n]))
	}
	return bad
}

// end checks that nothing is missing.
func (l *groupEar) end() {
	c, user := l.c, l.d.User
	l.tips = slices.DeleteFunc(l.tips, func(words string) bool { return l.tipGone("", words) })
	if len(l.tips) > 0 {
		l.bad("the callbacks of %d tips were not followed by a message: %v", len(l.tips), l.tips)
	}
	if c.h.Feeds[user] != nil {
		l.reported()
	}
	for _, id := range sortedKeys(c.byID) {
		ended := 0
		for _, g := range c.byID[id] {
			if p, was := g.last(user); was && g.Dissolved && p.open() {
				ended++
			}
		}
		if l.ends[id] > ended {
			l.bad("told %d times that %s has ended, which it did %d times", l.ends[id], id, ended)
		}
	}
	for _, g := range c.h.Groups {
		p, was := g.last(user)
		if !was || g != last(c.byID[g.ID]) {
			continue // the log of a group whose id was used again cannot be read any more
		}
		from, knew := l.known(g)
		if g.member(user) {
			from, knew = min(from, p.From+1), true
		}
		if !knew {
			continue
		}
		recalled := g.recalled()
		for _, e := range g.Entries {
			own := c.sends[e.Message.GetCloudCustomStr()]
			if e.Seq < from || !g.hears(user, e) || l.fired[g][e.Seq] || own != nil && own.Device == l.d || recalled[e.Seq] != nil || c.gone(g, user, e) {
				continue
			}
			if causedBy(e) != user && l.maySilence(g, e, e.Seq, c.madeAt(e)) {
				continue
			}
			l.bad("never heard of %s seq %d, %s", g.ID, e.Seq, entryWords(e))
		}
		for _, ch := range g.Changes {
			if ch.Kind == im.ChangeKind_CHANGE_REVOKE && ch.Seq >= from && c.hearsChange(g, user, ch) && !l.recalled[g][ch.Seq] && !c.gone(g, user, g.Entries[ch.Seq-1]) &&
				(ch.Operator == user || !l.maySilence(g, g.Entries[ch.Seq-1], 0, 0)) {
				l.bad("never heard of the recall of %s seq %d", g.ID, ch.Seq)
			}
		}
		l.updated(g)
		for _, o := range c.clears(g, user) {
			if o.d == l.d && o.code == 0 {
				l.cleared(o)
			}
		}
		if g.Dissolved && p.open() && l.ends[g.ID] == 0 {
			l.bad("never told that %s, of which it knew, has ended", g.ID)
		}
		if told, ok := l.attributes[g.ID]; ok && g.member(user) && len(c.byID[g.ID]) == 1 && told.words != attributeWords(g.Attributes) {
			l.bad("the attributes of %s are %s, told %s", g.ID, attributeWords(g.Attributes), told.words)
		}
	}
}

// tipGone reports whether a tip of a group, or of any, may have been cleared or deleted before its message was announced.
func (l *groupEar) tipGone(id, words string) bool {
	for _, g := range l.c.h.Groups {
		for _, e := range g.Entries {
			if t := tip(e.Message); t != nil && (id == "" || g.ID == id) && TipWords(t) == words && l.c.gone(g, l.d.User, e) {
				return true
			}
		}
	}
	return false
}

// known is the first number of a group that a device was told, or has sent.
func (l *groupEar) known(g *Group) (from uint64, ok bool) {
	from = NoEnd
	for seq := range l.fired[g] {
		from = min(from, seq)
	}
	for _, s := range l.d.Sends {
		if p, stored := l.c.at[s.Tag]; stored && p.g == g && s.Code == 0 {
			from = min(from, p.e.Seq)
		}
	}
	return from, from < NoEnd
}

func attributeWords(as map[string]string) string {
	var out []string
	for _, k := range sortedKeys(as) {
		out = append(out, k+"="+as[k])
	}
	return strings.Join(out, ";")
}

// reported checks that reports are one for one with what they report, as the logs of the groups have it.
func (c *groupChecker) reported() {
	for _, user := range c.h.Users {
		if c.h.Feeds[user] == nil {
			continue
		}
		type key struct {
			id  string
			typ im.GroupReportType
		}
		got, want := map[key]int{}, map[key]int{}
		const quit, kicked = im.GroupReportType_GROUP_REPORT_TYPE_QUIT, im.GroupReportType_GROUP_REPORT_TYPE_BE_KICKED
		for _, e := range c.h.Feeds[user] {
			if r := e.Report; e.Kind == im.RelationKind_RELATION_GROUP_REPORT && groupRules[c.typeOf(r.GroupId)].tips && !ofRequests(r.ReportType) {
				got[key{r.GroupId, r.ReportType}]++
			}
		}
		for _, g := range c.h.Groups {
			if !groupRules[g.Type].tips {
				continue
			}
			if made := c.creation(g); made != nil && made.d.User == user {
				want[key{g.ID, im.GroupReportType_GROUP_REPORT_TYPE_CREATE}]++
			}
			for _, e := range g.Entries {
				t := tip(e.Message)
				if t == nil || !slices.Contains(t.UserArray, user) {
					continue
				}
				if typ, ok := reportOf(t, user); ok {
					want[key{g.ID, typ}]++
				}
			}
			for _, u := range c.untold[g] {
				if u == user {
					want[key{g.ID, quit}]++
				}
			}
		}
		for id := range c.byID { // who has left as the last member may have been removed, by an operator
			if k, more := (key{id, quit}), got[key{id, kicked}]-want[key{id, kicked}]; more > 0 && more <= want[k]-got[k] && c.removed(id, user) {
				want[k] -= more
				want[key{id, kicked}] += more
			}
		}
		for k := range want {
			got[k] += 0
		}
		for k, n := range got {
			if n != want[k] {
				c.fail("%s has %d reports of type %d about %s, by its log %d", user, n, k.typ, k.id, want[k])
			}
		}
	}
}

// removed reports whether an operator may have removed a user from a group.
func (c *groupChecker) removed(id, user string) bool {
	return slices.ContainsFunc(c.ops, func(o *op) bool {
		return o.by() == admin && o.call.Op == groupOp+"kick" && o.call.Conv == id && o.call.Tag == user && !o.never()
	})
}

// reportOf is the report that who is named in a tip gets.
func reportOf(t *im.GroupTipsElem, user string) (im.GroupReportType, bool) {
	switch t.TipType {
	case im.GroupTipType_GROUP_TIP_TYPE_INVITE:
		return im.GroupReportType_GROUP_REPORT_TYPE_INVITE, t.OpUser != user
	case im.GroupTipType_GROUP_TIP_TYPE_QUIT:
		return im.GroupReportType_GROUP_REPORT_TYPE_QUIT, true
	case im.GroupTipType_GROUP_TIP_TYPE_KICK:
		return im.GroupReportType_GROUP_REPORT_TYPE_BE_KICKED, true
	case im.GroupTipType_GROUP_TIP_TYPE_SET_ADMIN:
		return im.GroupReportType_GROUP_REPORT_TYPE_GRANT_ADMIN, true
	case im.GroupTipType_GROUP_TIP_TYPE_CANCEL_ADMIN:
		return im.GroupReportType_GROUP_REPORT_TYPE_CANCEL_ADMIN, true
	case im.GroupTipType_GROUP_TIP_TYPE_MEMBER_INFO_CHANGE:
		return im.GroupReportType_GROUP_REPORT_TYPE_SHUT_UP_MEMBER, true
	}
	return 0, false
}

func (c *groupChecker) typeOf(id string) im.GroupType {
	if gs := c.byID[id]; len(gs) > 0 {
		return gs[0].Type
	}
	return im.GroupType_GROUP_TYPE_BCHATROOM
}
