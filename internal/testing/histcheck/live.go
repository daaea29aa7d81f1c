package histcheck

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// liveRoom is the one live room of a history: who is in it and what is said there is in memory only, so it is judged by what devices were told.
const liveRoom = "room-live"

// ofRoom reports whether a record is about the live room: an event in it, or a report about it.
func ofRoom(r *Record) bool {
	return r.Conv == liveRoom || r.Conv == "" && strings.HasPrefix(r.Text, "report ") && strings.Contains(r.Text, " of "+liveRoom+" ")
}

// live are the operations in the live room.
func (r *runner) live() []operation {
	ruling := func(f func(x draw)) func(x draw) {
		return func(x draw) {
			if x.b>>61 > 1 {
				x.d = r.rulers(len(groupIDs))[x.b>>60%2]
			}
			x.d.do(func() { f(x) })
		}
	}
	return []operation{
		{15, ruling(func(x draw) { x.d.group("create", liveRoom, "", x.d.newTag(Pass), false) })},
		{4, ruling(func(x draw) {
			x.d.group("dissolve", liveRoom, "", "", false)
			x.d.group("create", liveRoom, "", x.d.newTag(Pass), false)
		})},
		{90, r.onDevice(func(x draw) { x.d.group("join", liveRoom, "", "", false) })},
		{20, r.onDevice(func(x draw) { x.d.group("quit", liveRoom, "", "", false) })},
		{60, r.onDevice(func(x draw) { x.d.sendGroup(liveRoom, nil, nil, 0) })},
		{20, r.onDevice(func(x draw) { x.d.burst(liveRoom, 2+int(x.b%4), 0) })},
		{12, ruling(func(x draw) { x.d.group("kick", liveRoom, x.to, "", false) })},
		{12, ruling(func(x draw) { x.d.group("mute", liveRoom, x.to, "", x.b%2 > 0) })},
		{6, ruling(func(x draw) { x.d.group("muteall", liveRoom, "", "", x.b%3 == 0) })},
		{12, ruling(func(x draw) { x.d.group("rename", liveRoom, "", x.d.newTag(Pass), false) })},
		{12, r.onDevice(func(x draw) { x.d.group("attribute", liveRoom, fieldKeys[x.b>>8%2], x.d.newTag(Pass), false) })},
	}
}

// slow lets the next callbacks take some time, and what is said in live rooms may be lost meanwhile.
func (d *device) slow(n int) {
	d.add(d.r.h, Record{Run: d.run, Kind: Slow, N: n})
	d.tell(&command{Op: "slow", Num: int32(n)})
}

// settleRoom goes on in the live room when everything else is at rest: what is said there then is heard by everybody in it, also by who was cut off before, and
// after the server has ended.
func (r *runner) settleRoom() {
	owner := r.rulers(len(groupIDs))[0]
	owner.sendGroup(liveRoom, nil, nil, 0)                         // a login is in no room
	owner.group("create", liveRoom, "", owner.newTag(Pass), false) // if it is not there
	for _, d := range r.devices {
		if d.group("muteall", liveRoom, "", "", false); last(d.records()).Code == 0 {
			owner = d
			break
		}
	}
	var in []*device
	for _, d := range r.devices[:min(len(r.devices), 8)] {
		d.group("join", liveRoom, "", "", false)
		if last(d.records()).Code != 0 {
			r.h.violation("%s: cannot join the live room in the end: %d", d.Name, last(d.records()).Code)
			return
		}
		in = append(in, d)
	}
	// say sends, again if that fails, and waits until the others have heard.
	say := func(d *device) bool {
		r.at("%s says something in the live room", d.Name)
		if !r.until(func() bool {
			d.sendGroup(liveRoom, nil, nil, 0)
			return last(d.Sends).Code == 0 || last(d.Sends).Code == im.CodeMuted
		}) {
			r.h.violation("%s: cannot say anything in the live room in the end: %d", d.Name, last(d.Sends).Code)
			return false
		}
		s := last(d.Sends)
		if s.Code != 0 {
			return true
		}
		for _, o := range in {
			if o != d {
				r.h.Heard = append(r.h.Heard, Heard{s.Tag, o.Device})
				r.until(func() bool { return o.knows(s.Tag) }, o) // if it never does, the check finds it
			}
		}
		return true
	}
	all := func() bool {
		for _, d := range in {
			if !say(d) {
				return false
			}
		}
		return true
	}
	if !all() {
		return
	}
	cut := in[len(in)-1]
	cut.proxy.Cut()
	if !say(cut) || !say(in[0]) { // who has sent again is back
		return
	}
	out := in[1]
	out.group("quit", liveRoom, "", "", false)
	in = slices.Delete(slices.Clone(in), 1, 2)
	if !say(in[0]) {
		return
	}
	r.at("the server ends under the live room")
	r.cfg.Server.Bounce()
	back := in
	in = nil
	for _, d := range back { // each says something when it is back, and hears the next ones
		if !say(d) {
			return
		}
		in = append(in, d)
	}
	if !all() {
		return
	}
	users := map[string]bool{}
	for _, d := range in {
		users[d.User] = true
	}
	n := 0
	if !r.until(func() bool {
		if x := in[0].tell(&command{Op: groupOp + "online", Conv: liveRoom}); x != nil {
			n = x.Num
		}
		return n == len(users)
	}) {
		r.h.violation("%d users are online in the live room, which %d have joined", n, len(users))
	}
	owner.group("attribute", liveRoom, fieldKeys[0], owner.newTag(Pass), false)
	if set := last(owner.records()); set.Code == 0 {
		for _, d := range in {
			if !r.until(func() bool {
				return d.heard(func(x *Record) bool {
					return x.Kind == Attributes && x.Conv == liveRoom && strings.Contains(x.Text, set.Text)
				})
			}, d) {
				r.h.violation("%s: never heard of the attribute %q of the live room", d.Name, set.Text)
			}
		}
	}
	for _, d := range r.devices {
		if x := d.tell(&command{Op: "told"}); x == nil || x.Code != 0 {
			r.h.violation("%s: callbacks do not end", d.Name)
		}
	}
}

// Heard is a message that a device must have heard in the live room: both were in it, and at rest.
type Heard struct {
	Tag    string
	Device *Device
}

// room judges what devices were told of the live room.
func (c *groupChecker) room() {
	said := map[uint64]string{} // what has a number, as devices were told
	one := c.h.Rooms <= 1       // otherwise a number does not say of which room it is
	for _, o := range c.ops {
		if o.call.Conv != liveRoom {
			continue
		}
		if (o.call.Op == "revoke" || o.call.Op == "modify" || o.call.Op == "delete") && o.code == 0 {
			c.fail("%s: %s of %d of the live room was acknowledged", o.d.Name, o.call.Op, o.call.Seq)
		}
	}
	for _, d := range c.h.Devices {
		l := &roomEar{c: c, d: d, one: one, said: said, told: map[string]int{}}
		l.follow()
	}
	for _, m := range c.h.Heard {
		if !slices.ContainsFunc(m.Device.records(), func(r Record) bool { return r.Kind == New && r.Conv == liveRoom && r.Tag == m.Tag }) {
			c.fail("%s: never heard of %q in the live room", m.Device.Name, m.Tag)
		}
	}
	c.saidInOrder(one)
	c.mutedInRoom()
}

// roomEar follows what one device is told of the live room.
type roomEar struct {
	c *groupChecker
	d *Device
	// one: there was one room of the id, so its numbers are unique. said is what has which.
	one  bool
	said map[uint64]string
	told map[string]int // messages and tips, how often

	in      bool // it may be in the room
	was     bool // it may have been before the call that is open
	last    uint64
	gapless bool // nothing can have been lost since the last one
	tips    []string
}

func (l *roomEar) bad(format string, args ...any) {
	l.c.fail("%s: %s", l.d.Name, fmt.Sprintf(format, args...))
}

func (l *roomEar) follow() {
	rs := l.d.records()
	acked := map[string]bool{}
	for _, s := range l.d.Sends {
		acked[s.Tag] = s.Conv == liveRoom && s.Code == 0
	}
	for i := range rs {
		r := &rs[i]
		switch r.Kind {
		case Opened, Closed, Died, Kicked:
			l.in, l.gapless, l.tips = false, false, nil
			if r.Kind == Opened && !l.one {
				l.last = 0
			}
		case Network, Slow, Start:
			l.gapless = false
		case Calling:
			switch {
			case r.Op == groupOp+"join" && r.Conv == liveRoom:
				l.was, l.in, l.gapless = l.in, true, false
				if !l.one {
					l.last = 0
				}
			case acked[r.Tag] && !l.in && (r.Op == "send" || r.Op == "sendfunc"):
				l.bad("%q was acknowledged, and the device is not in the live room", r.Tag)
			}
		case Returned:
			switch {
			case r.Op == "logout", r.Op == groupOp+"quit" && r.Conv == liveRoom && r.Code == 0:
				l.in, l.gapless = false, false
			case r.Op == groupOp+"join" && r.Conv == liveRoom && r.Code != 0 && answeredInGroup(r.Code) && r.Code != im.CodeAlreadyMember:
				l.in = l.was
			}
		case Tip, New, Attributes:
			if ofRoom(r) {
				l.take(r)
			}
		}
	}
	if len(l.tips) > 0 {
		l.bad("the callbacks of %d tips in the live room were not followed by a message: %v", len(l.tips), l.tips)
	}
}

// take judges an event.
func (l *roomEar) take(r *Record) {
	if r.Conv == "" {
		if strings.HasPrefix(r.Text, fmt.Sprintf("report %d ", im.GroupReportType_GROUP_REPORT_TYPE_DELETE)) {
			l.gapless = false // the room is over; a call that joins the next one may be open
			if !l.one {
				l.last = 0
			}
		}
		return
	}
	if !l.in {
		l.bad("told of the live room, which it is not in: %v", *r)
	}
	switch r.Kind {
	case Attributes:
		return
	case Tip:
		l.tips = append(l.tips, r.Text)
		return
	}
	isTip := r.From == system
	what := r.Tag
	if isTip {
		what = r.Text
		if len(l.tips) == 0 || l.tips[0] != r.Text {
			l.bad("a tip of the live room without its callback before it (%v): %v", l.tips, *r)
		} else {
			l.tips = l.tips[1:]
		}
		l.tip(r)
	} else {
		l.message(r)
	}
	if l.told[what]++; l.told[what] > 1 && (!isTip || strings.HasPrefix(what, fmt.Sprintf("tip %d ", im.GroupTipType_GROUP_TIP_TYPE_GROUP_INFO_CHANGE))) {
		l.bad("told twice in the live room: %v", *r)
	}
	if r.Seq == 0 || r.Seq <= l.last {
		l.bad("told %d after %d in the live room: %v", r.Seq, l.last, *r)
	}
	if l.one {
		if o, ok := l.said[r.Seq]; ok && o != what {
			l.bad("told %q as number %d of the live room, which is %q", what, r.Seq, o)
		}
		l.said[r.Seq] = what
	}
	if l.gapless && l.one {
		for _, s := range l.c.sends {
			if s.Conv == liveRoom && s.Code == 0 && l.last < s.Seq && s.Seq < r.Seq && s.Device != l.d {
				l.bad("told %d and %d of the live room, and not %d between them, %q", l.last, r.Seq, s.Seq, s.Tag)
			}
		}
	}
	l.last, l.gapless = r.Seq, true
}

// message judges one that somebody has said.
func (l *roomEar) message(r *Record) {
	switch s := l.c.sends[r.Tag]; {
	case s == nil || s.Conv != liveRoom || s.User != r.From:
		l.bad("told in the live room what nobody has said: %v", *r)
	case s.Device == l.d:
		l.bad("told its own message in the live room: %v", *r)
	case s.Code != 0 && answeredInGroup(s.Code):
		l.bad("told in the live room what was refused with %d: %v", s.Code, *r)
	case s.Code == 0 && s.Seq != r.Seq:
		l.bad("told as number %d of the live room what was acknowledged as %d: %v", r.Seq, s.Seq, *r)
	}
}

// tip judges one: a call that has begun has made it.
func (l *roomEar) tip(r *Record) {
	if !slices.ContainsFunc(l.c.ops, func(o *op) bool {
		if o.call.Conv != liveRoom && o.call.Op != "logout" || o.never() || o.begin > r.At {
			return false
		}
		is := func(typ im.GroupTipType, rest string) bool {
			return strings.HasPrefix(r.Text, cause{tip: typ, by: o.by()}.String()+rest)
		}
		switch strings.TrimPrefix(o.call.Op, groupOp) {
		case "join": // and their sessions may end in many ways
			return is(im.GroupTipType_GROUP_TIP_TYPE_INVITE, " of "+o.by()+", ") || is(im.GroupTipType_GROUP_TIP_TYPE_QUIT, " of "+o.by()+", ")
		case "kick":
			return is(im.GroupTipType_GROUP_TIP_TYPE_KICK, " of "+o.call.Tag+", ")
		case "rename":
			return is(im.GroupTipType_GROUP_TIP_TYPE_GROUP_INFO_CHANGE, fmt.Sprintf(" sets %d to %s, ", flagName, o.call.Text))
		}
		return false
	}) {
		l.bad("a tip of the live room that no call has made: %v", *r)
	}
}

// saidInOrder checks that what was said after something else had been answered has a higher number, and that no two have one.
func (c *groupChecker) saidInOrder(one bool) {
	var all []*Send
	for _, s := range c.sends {
		if s.Conv == liveRoom && s.Code == 0 && !s.Online {
			all = append(all, s)
			if s.Seq == 0 {
				c.fail("%s: %q was said in the live room without a number", s.Device.Name, s.Tag)
			}
		}
	}
	if !one {
		return
	}
	for _, a := range all {
		for _, b := range all {
			switch {
			case a.Tag < b.Tag && a.Seq == b.Seq:
				c.fail("%q and %q both have the number %d of the live room", a.Tag, b.Tag, a.Seq)
			case c.ends[a] < b.At && a.Seq > b.Seq:
				c.fail("%q has the number %d of the live room, and %q, which was said before, %d", b.Tag, b.Seq, a.Tag, a.Seq)
			}
		}
	}
}

// mutedInRoom checks that nobody has said anything while they were muted.
func (c *groupChecker) mutedInRoom() {
	for _, on := range c.ops {
		if on.call.Op != groupOp+"mute" || on.call.Conv != liveRoom || !on.call.Self || on.code != 0 {
			continue
		}
		for _, s := range c.sends {
			if s.Conv != liveRoom || s.Code != 0 || s.User != on.call.Tag || s.At < on.end {
				continue
			}
			if !slices.ContainsFunc(c.ops, func(o *op) bool {
				ends := o.call.Op == groupOp+"mute" && o.call.Tag == s.User && !o.call.Self || o.call.Op == groupOp+"create" || o.call.Op == groupOp+"dissolve"
				return ends && o.call.Conv == liveRoom && !o.never() && o.end >= on.begin && o.begin <= c.ends[s]
			}) {
				c.fail("%s: %q was said in the live room by %s, who was muted", s.Device.Name, s.Tag, s.User)
			}
		}
	}
}
