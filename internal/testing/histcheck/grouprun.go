package histcheck

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/tidings-im/tidings/im"
)

// RunGroups makes a history of groups: users with two devices each make them, join and leave them, write to them, rule and end them, and use their ids again.
// [CheckGroups] judges it.
func RunGroups(t testing.TB, cfg Config) *History {
	cfg.apart = true
	return run(t, cfg, 1313, func(r *runner) {
		r.watched(func() {
			for i, id := range groupIDs { // before anything goes wrong
				d, made := r.rulers(i)[0], make(chan struct{})
				d.do(func() { d.group("create", id, r.half(uint64(i)), d.newTag(Pass), false); close(made) })
				<-made
			}
			r.operate(append(r.ruled(), r.live()...))
			r.settleGroups()
			r.settleRoom()
		})
	})
}

// ruled are the operations of a history of groups.
func (r *runner) ruled() []operation {
	return []operation{
		{40, r.ruling(func(x draw) { x.d.group("create", x.id(), r.half(x.b), x.d.newTag(Pass), false) })},
		{14, r.ruling(func(x draw) {
			x.d.group("dissolve", x.id(), "", "", false)
			if x.b%4 > 0 {
				x.d.group("create", x.id(), r.half(x.b>>8), x.d.newTag(Pass), false)
			}
		})},
		{110, r.onDevice(func(x draw) { x.d.group("join", x.id(), "", x.d.newTag(Pass), false) })},
		{40, r.onDevice(func(x draw) { x.d.group("join", "room-gate", "", x.d.newTag(Pass), false) })},
		{70, func(x draw) {
			x.a = x.a/5*5 + 4 // room-gate
			r.ruling(func(x draw) { x.d.answerRequest(x.id(), x.b%3 > 0, x.b) })(x)
		}},
		{25, r.ruling(func(x draw) {
			value := ""
			if x.b%4 > 0 {
				value = x.d.newTag(Pass)
			}
			x.d.group("field", x.id(), fieldKeys[x.b>>8%2], value, false)
		})},
		{25, r.onDevice(func(x draw) {
			of := x.d.User
			if x.b%3 == 0 {
				of = x.to
			}
			x.d.group("memberfield", x.id(), of, x.d.newTag(Pass), false)
		})},
		{40, r.onDevice(func(x draw) { x.d.group("quit", x.id(), "", "", false) })},
		{40, func(x draw) { // out and in again, while another device of theirs may be away
			id, other := x.id(), r.devices[(x.a>>8)%uint64(len(r.devices))]
			x.d.do(func() { x.d.group("quit", id, "", "", false) })
			other.do(func() { other.burst(id, 2, 0) })
			back := r.sibling(x.d, x.b%2 == 0)
			back.do(func() { back.group("join", id, "", back.newTag(Pass), false) })
		}},
		{110, r.onDevice(func(x draw) { x.d.group("invite", x.id(), x.to, "", false) })},
		{60, r.ruling(func(x draw) { x.d.group("kick", x.id(), x.to, "", false) })},
		{40, r.ruling(func(x draw) { x.d.group("rename", x.id(), "", x.d.newTag(Pass), false) })},
		{30, r.ruling(func(x draw) { x.d.group("notice", x.id(), "", x.d.newTag(Pass), false) })},
		{15, r.ruling(func(x draw) { x.d.group("transfer", x.id(), "", x.to, false) })},
		{50, r.ruling(func(x draw) { x.d.group("role", x.id(), x.to, "", x.b%3 > 0) })},
		{60, r.ruling(func(x draw) { x.d.group("mute", x.id(), x.to, "", x.b%2 > 0) })},
		{20, r.ruling(func(x draw) { x.d.group("muteall", x.id(), "", "", x.b%3 == 0) })},
		{60, r.onDevice(func(x draw) {
			value := ""
			if x.b%5 > 0 {
				value = x.d.newTag(Pass)
			}
			x.d.group("attribute", x.id(), fieldKeys[x.b>>8%2], value, false)
		})},
		{180, r.onDevice(func(x draw) { x.d.sendGroup(x.id(), nil, nil, x.b) })},
		{90, r.onDevice(func(x draw) { x.d.burst(x.id(), 2+int(x.b%10), x.b) })},
		{40, r.onDevice(func(x draw) { x.d.sendGroup(x.id(), nil, []string{x.to}, x.b) })},
		{40, r.onDevice(func(x draw) { x.d.sendGroup(x.id(), []string{[]string{x.to, mentionAll}[x.b%2]}, nil, x.b) })},
		{30, r.onDevice(func(x draw) {
			of := x.d.User
			if x.b%3 == 0 {
				of = x.to
			}
			x.d.group("card", x.id(), of, x.d.newTag(Pass), false)
		})},
		{50, r.onDevice(func(x draw) { x.d.read(x.id(), nil) })},
		{40, r.onDevice(func(x draw) {
			x.d.set("recvopt", x.id(), [...]int{0, optNothing, 2, optMentions, 0, optMentions}[x.b%6])
		})},
		{30, r.onDevice(func(x draw) { x.d.deleteGroup(x.b) })},
		{12, r.onDevice(func(x draw) { x.d.simple("clear", x.id()) })},
		{12, r.onDevice(func(x draw) { x.d.simple("deleteconv", x.id()) })},
		{50, r.onDevice(func(x draw) {
			if m := x.d.known(x.b>>32%2 == 0, x.b); m != nil && tip(m) == nil {
				x.d.blocking(Record{Op: "revoke", Conv: m.ConvId, Seq: m.Seq}, &command{Conv: m.ConvId, Msgs: encodeAll([]*im.Message{m})})
			}
		})},
		{70, r.onDevice(func(x draw) {
			if m := x.d.known(x.b>>32%4 > 0, x.b); m != nil && tip(m) == nil {
				x.d.modifyTo(m, x.b>>36%16 == 0, Pass)
			}
		})},
		{40, func(x draw) {
			x.d.must(func() { x.d.close() })
			for i := range x.b % 6 { // away for some operations of others
				o := r.devices[(x.a>>8+i*7)%uint64(len(r.devices))]
				id := x.id()
				o.do(func() { o.burst(id, 3, 0) })
			}
			x.d.must(func() { x.d.open(); x.d.login() })
			for range x.b >> 8 % 3 { // closed in its first sync
				x.d.must(func() { x.d.close(); x.d.open(); x.d.login() })
			}
		}},
		{30, func(x draw) { r.operator.do(func() { r.operator.sendGroup(x.to, x.id()) }) }},
		{25, func(x draw) { r.operator.do(func() { r.operator.group("invite", x.id(), x.to, "") }) }},
		{15, func(x draw) { r.operator.do(func() { r.operator.group("kick", x.id(), x.to, "") }) }},
		{15, func(x draw) { r.operator.do(func() { r.operator.group("rename", x.id(), "", x.d.newTag(Pass)) }) }},
		{5, func(x draw) { r.operator.do(func() { r.operator.group("dissolve", x.id(), "", "") }) }},
		{12, r.onDevice(func(x draw) { x.d.logout() })},
		{20, r.onDevice(func(x draw) { x.d.slow(int(x.b % 20)) })},
		{30, r.kill},
		{25, func(x draw) { x.d.proxy.Cut() }},
		{10, func(x draw) { x.d.proxy.Reset() }},
		{10, r.stall},
		{10, r.refuse},
	}
}

// rulers are the devices of the user who makes and rules a group most of the time.
func (r *runner) rulers(group int) []*device {
	n := group % len(r.h.Users)
	return r.devices[2*n : 2*n+2]
}

// ruling queues what an owner may do, mostly on a device of the one who is.
func (r *runner) ruling(f func(x draw)) func(x draw) {
	return func(x draw) {
		if x.b>>61 > 1 {
			x.d = r.rulers(slices.Index(groupIDs, x.id()))[x.b>>60%2]
		}
		x.d.do(func() { f(x) })
	}
}

// sibling is a device itself, or the other one of its user.
func (r *runner) sibling(d *device, itself bool) *device {
	i := slices.IndexFunc(r.devices, func(o *device) bool { return o.User == d.User && (o == d) == itself })
	return r.devices[i]
}

// half are every other user, at most as many as may be named when a group is made.
func (r *runner) half(from uint64) string {
	var users []string
	for i, u := range r.h.Users {
		if (uint64(i)+from)%2 == 0 {
			users = append(users, u)
		}
	}
	return joined(users)
}

// id draws a group.
func (x draw) id() string { return groupIDs[x.a%uint64(len(groupIDs))] }

// settleGroups heals everything, and waits until all devices have what the server has.
func (r *runner) settleGroups() {
	r.calm()
	if !r.back() {
		return
	}
	r.markers()
	var err error
	if r.h.Groups, err = r.cfg.Groups(); err != nil {
		r.h.violation("the server's groups: %v", err)
		return
	}
	r.h.Groups = slices.DeleteFunc(r.h.Groups, func(g *Group) bool {
		if g.ID == liveRoom && len(g.Entries)+len(g.Periods) > 0 {
			r.h.violation("the live room has %d entries and %d memberships in the store", len(g.Entries), len(g.Periods))
		}
		if g.ID == liveRoom {
			r.h.Rooms++
		}
		return g.ID == liveRoom
	})
	r.h.GroupViews = map[string]map[uint64]*Log{}
	for _, user := range r.h.Users {
		if r.h.GroupViews[user], err = pullGroups(r.ctx, r.cfg.Server.URL(), user, r.sigs[user]); err != nil {
			r.h.violation("the server about the groups of %s: %v", user, err)
		}
	}
	c := newGroupChecker(r.h)
	rests := true
	for _, d := range r.devices {
		trouble := ""
		look := func() bool {
			d.Groups, trouble = d.lookAtGroups()
			if bad := c.differs(d.Device); trouble == "" && len(bad) > 0 {
				trouble = bad[0]
			}
			return trouble == ""
		}
		if !look() && (!rests || !r.until(look, d)) { // one that does not come to rest is enough to wait for
			rests = false
			r.h.violation("%s: did not come to rest: %s", d.Name, trouble)
		}
		if x := d.tell(&command{Op: "told"}); x == nil || x.Code != 0 {
			r.h.violation("%s: callbacks do not end", d.Name)
		}
	}
}

// markers are messages at the end of each group: a device that has got them has got everything before them.
func (r *runner) markers() {
	for _, id := range groupIDs {
		for _, d := range r.devices {
			d.sendGroup(id, nil, nil, 0)
			if s := last(d.Sends); s.Code == 0 {
				r.hearMarker(s)
				break
			}
		}
	}
}

// hearMarker waits until the devices of all members have a message. Who is a member is not known: it waits for those who have sent or got something lately.
func (r *runner) hearMarker(s *Send) {
	for _, d := range r.devices {
		x := d.tell(&command{Op: groupOp + "list", Conv: s.Conv})
		if x == nil || x.Group == nil || d.Device == s.Device {
			continue // not a member
		}
		if !r.until(func() bool {
			return d.heard(func(x *Record) bool { return x.Kind == New && x.Tag == s.Tag }) || d.hasSilently(s.Conv, s.Seq)
		}, d) {
			r.h.violation("%s: never heard of %q in %s", d.Name, s.Tag, s.Conv)
		}
	}
}

// pullGroups reads everything that the server has of groups for a user, by epoch. The log of a group whose id was used again cannot be read.
func pullGroups(ctx context.Context, url, user, sig string) (map[uint64]*Log, error) {
	w, _, err := connect(ctx, url, &im.LoginRequest{UserId: user, UserSig: sig, DeviceId: "the auditor of groups", Platform: im.Platform_PLATFORM_WEB, Groups: true})
	if err != nil {
		return nil, err
	}
	defer w.ws.CloseNow()
	out := map[uint64]*Log{}
	newest := map[string]uint64{}
	for after := uint64(0); ; { // a cursor, so that those that the user has left are listed
		heads := &im.HeadsReply{}
		if err := w.call(im.Method_HEADS, &im.HeadsRequest{Cursor: 1, After: after}, heads); err != nil {
			return nil, err
		}
		for _, h := range heads.Heads {
			if h.Conv.Type == im.ConvType_CONV_TYPE_GROUP {
				out[h.Epoch] = &Log{Head: h}
				newest[h.Conv.Id] = max(newest[h.Conv.Id], h.Epoch)
			}
		}
		if after = heads.Next; after == 0 {
			break
		}
	}
	for epoch, l := range out {
		switch err := w.pullLog(l); {
		case im.CodeOf(err) == im.CodeResync:
			delete(out, epoch) // the id is another group's
		case err != nil:
			return nil, fmt.Errorf("%s, epoch %d: %w", l.Head.Conv.Id, epoch, err)
		}
	}
	return out, w.call(im.Method_LOGOUT, &im.Empty{}, &im.Empty{})
}
