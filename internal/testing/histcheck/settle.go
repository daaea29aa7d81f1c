package histcheck

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// calm heals everything and waits until all calls are answered.
func (r *runner) calm() {
	for _, d := range r.devices {
		r.at("%s ends", d.Name)
		d.proxy.Heal()
		d.must(func() { d.tell(&command{Op: "slow"}) })
		close(d.queue)
	}
	close(r.operator.queue)
	for _, d := range r.devices {
		r.at("waits for %s", d.Name)
		<-d.done
	}
	r.at("waits for the operator")
	<-r.operator.done
	for _, d := range r.devices {
		if !r.until(func() bool { d.mu.Lock(); defer d.mu.Unlock(); return len(d.outstanding) == 0 }, d) {
			r.h.violation("%s: %d Func calls were not answered", d.Name, len(d.outstanding))
		}
	}
}

// back closes all devices and logs them in again; it returns false if that failed. No two of them may be of one user and class.
func (r *runner) back() bool {
	for _, d := range r.devices {
		r.at("logs %s in", d.Name)
		d.close()
		d.open()
		if code := d.login(); code != 0 {
			r.h.violation("%s: the last login failed: %d", d.Name, code)
			return false
		}
	}
	return true
}

// settle heals everything, brings all devices to the end of all logs, and records their state. Devices of one class cannot be logged in at the same
// time, so it goes in waves.
func (r *runner) settle() {
	r.calm()
	if h := r.cfg.Hook; h != nil && !r.until(h.quiet) {
		r.h.violation("the server waits for its webhook for ever")
	}
	type place struct {
		user  string
		class int
	}
	taken := map[place]int{}
	var waves [][]*device
	for _, d := range r.devices {
		p := place{d.User, class(d.platform)}
		n := taken[p]
		taken[p]++
		for len(waves) <= n {
			waves = append(waves, nil)
		}
		waves[n] = append(waves[n], d)
	}
	for n, wave := range waves {
		if !r.wave(n, wave) {
			return
		}
	}
}

func class(p im.Platform) int {
	if p == im.Platform_PLATFORM_ANDROID {
		return 2
	}
	return 1
}

// in are the devices that are logged in. One that the logins of this wave kick may not know it yet.
func (r *runner) in() (in []*device) {
	for _, d := range r.devices {
		if d.drv != nil && d.status() == client.LoggedIn {
			in = append(in, d)
		}
	}
	return in
}

// wave logs some devices in and examines all that are; it returns false if that failed.
func (r *runner) wave(n int, wave []*device) bool {
	for _, d := range wave {
		d.close() // one that has lost its link may consider itself logged in
		d.open()
		if d.drv == nil {
			return false
		}
		code := d.login()
		if code == im.CodeKickedWhileAway {
			code = d.login() // notified once
		}
		if code != 0 {
			r.h.violation("%s: the last login failed: %d", d.Name, code)
		}
	}
	if !r.speak(n) {
		return false
	}
	in := r.in()
	if !r.rest(n, in, wave) {
		return false
	}
	// Everything is at rest, so what one device does is reported to all others exactly.
	return r.gestures(n, in, wave)
}

// speak makes every user send something to every other: a device that has got that has got everything before it in its conversation.
func (r *runner) speak(n int) bool {
	type marker struct {
		from, to, tag string
		seq           uint64
	}
	var markers []marker
	for _, user := range r.h.Users {
		for _, to := range r.h.Users {
			m := marker{from: user, to: to}
			if !r.until(func() bool {
				for _, d := range r.in() {
					if d.User == user && d.send(to, Pass, 0) == 0 {
						m.tag, m.seq = last(d.Sends).Tag, last(d.Sends).Seq
						return true
					}
				}
				return false
			}) {
				r.h.violation("%s: cannot send at the end", user)
				return false
			}
			markers = append(markers, m)
		}
	}
	for _, d := range r.in() {
		for _, m := range markers {
			if m.from != d.User && m.to != d.User {
				continue
			}
			if !r.until(func() bool {
				return d.knows(m.tag) || m.from != d.User && d.hasSilently(m.from, m.seq) || d.status() != client.LoggedIn
			}, d) {
				r.h.violation("%s: wave %d: never heard of %q", d.Name, n, m.tag)
				break
			}
		}
	}
	return true
}

// knows reports whether the device has got a message, or sent it.
func (d *device) knows(tag string) bool {
	for _, s := range d.Sends {
		if s.Tag == tag {
			return true
		}
	}
	return d.heard(func(x *Record) bool { return x.Kind == New && x.Tag == tag })
}

// hasSilently reports whether a conversation is silent on the device, and has a message.
func (d *device) hasSilently(conv string, seq uint64) bool {
	r := d.tell(&command{Op: "conversations"})
	return r != nil && slices.ContainsFunc(r.Convs, func(b []byte) bool {
		x := decodeConv(string(b))
		return x.Id == conv && (x.RecvOpt == optNothing || x.RecvOpt == optMentions && isGroup(conv)) && x.LastMsg.GetSeq() >= seq
	})
}

// silentFor reports whether a user is not told what others do in a conversation, as the server had it last.
func (r *runner) silentFor(user, conv string) bool {
	l := r.h.Server.Logs[user][conv]
	return l != nil && l.Head.RecvOpt == optNothing
}

func (d *device) heard(what func(*Record) bool) bool {
	rs := d.records()
	for i := range slices.Backward(rs) {
		if what(&rs[i]) {
			return true
		}
	}
	return false
}

// audit reads the server.
func (r *runner) audit() (*model, bool) {
	audit := &Audit{Logs: map[string]map[string]*Log{}}
	for _, u := range r.h.Users {
		logs, err := pull(r.ctx, r.cfg.Server.URL(), u, r.sigs[u])
		if err != nil {
			r.h.violation("audit of %s: %v", u, err)
			return nil, false
		}
		audit.Logs[u] = logs
	}
	r.h.Server = audit
	r.h.Audits = append(r.h.Audits, audit)
	return newModel(r.h), true
}

// rest examines the devices until they match the server.
func (r *runner) rest(n int, in, wave []*device) bool {
	m, ok := r.audit()
	if !ok {
		return false
	}
	rests := true
	for _, d := range in {
		var f *Final
		wait := 5 * time.Millisecond
		r.until(func() bool {
			f = d.look(m)
			if f.Trouble != "" {
				time.Sleep(wait) // between attempts, longer and longer: examining is expensive
				wait = min(2*wait, 500*time.Millisecond)
				if wait >= 100*time.Millisecond { // a message that had waited for the webhook may have arrived after all
					if now, ok := r.audit(); ok {
						m = now
					}
				}
			}
			return f.Trouble == "" || d.status() != client.LoggedIn
		}, d)
		loggedIn := d.status() == client.LoggedIn
		if f.Trouble != "" && loggedIn {
			r.h.violation("%s: wave %d: did not come to rest: %s", d.Name, n, f.Trouble)
			rests = false
		}
		if r := d.tell(&command{Op: "told"}); loggedIn && (r == nil || r.Code != 0) {
			d.r.h.violation("%s: wave %d: callbacks do not end", d.Name, n)
		}
		if loggedIn { // otherwise one of this wave kicked it, and an earlier look counts
			d.Final = f
		} else if slices.Contains(wave, d) {
			r.h.violation("%s: logged out at the end", d.Name)
		}
	}
	return rests
}

// gestures changes messages, rows and settings while everything is at rest, one after the other, and waits each time until all devices concerned were
// notified and match the server, with every unread number counted again.
func (r *runner) gestures(n int, in, wave []*device) bool {
	of := func(user string) (out []*device) {
		for _, d := range in {
			if d.User == user && d.status() == client.LoggedIn {
				out = append(out, d)
			}
		}
		return out
	}
	convOf := func(d *device, a, b string) string {
		if d.User == a {
			return b
		}
		return a
	}
	// hear waits until the devices of two users were told of what a user has done, or the operator, in their conversation.
	hear := func(what string, a, b, by string, heard func(d *device, x *Record) bool) {
		for _, d := range in {
			if (d.User == a || d.User == b) && (d.User == by || !r.silentFor(d.User, convOf(d, a, b))) && !r.until(func() bool {
				return d.heard(func(x *Record) bool { return heard(d, x) }) || d.status() != client.LoggedIn
			}, d) {
				r.h.violation("%s: wave %d: never heard that %s", d.Name, n, what)
			}
		}
	}
	type gesture struct {
		a, b string
		by   *device
		what int
	}
	var all []gesture
	for i, a := range r.h.Users {
		b := r.h.Users[(i+1+r.rng.IntN(len(r.h.Users)))%len(r.h.Users)] // sometimes a itself
		as := of(a)
		if len(as) == 0 {
			continue
		}
		all = append(all, gesture{a, b, as[r.rng.IntN(len(as))], r.rng.IntN(8)})
	}
	slices.SortStableFunc(all, func(x, y gesture) int { return cmp.Compare(x.what, y.what) }) // what must be reported comes before something is deleted
	for _, g := range all {
		a, b, by := g.a, g.b, g.by
		switch g.what {
		case 0: // a modification of one of the last messages
			if m := by.lastIn(b); m != nil {
				now, code := by.modifyTo(m, false, Pass)
				if code != 0 && code != im.CodeModifyConflict && code != im.CodeNoSuchMessage { // or it was recalled before
					r.h.violation("%s: wave %d: cannot modify %s %d: %d", by.Name, n, b, m.Seq, code)
				}
				if code == 0 {
					hear("it was modified: "+now, a, b, by.User, func(_ *device, x *Record) bool { return x.Kind == Updated && x.Text == now })
				}
			}
		case 1: // a recall by the operator
			if m := by.lastIn(b); m != nil {
				r.operator.change("withdraw", a, m)
				if last(r.operator.records()).Code == 0 {
					hear(fmt.Sprintf("it was recalled: %s with %s %d", a, b, m.Seq), a, b, admin, func(d *device, x *Record) bool {
						return x.Kind == Revoked && x.Seq == m.Seq && x.Conv == convOf(d, a, b)
					})
				}
			}
		case 2:
			by.simple("deleteconv", b)
			if r.rng.IntN(2) == 0 {
				by.draft(b, false)
			}
		case 3:
			by.simple("clear", b)
			if r.rng.IntN(2) == 0 {
				by.keep(b, r.rng.IntN(2) == 0, r.rng.Uint64())
			}
		case 4:
			by.set("pin", b, r.rng.IntN(2))
		case 5:
			by.set("recvopt", b, recvOpt(r.rng.Uint64()))
		case 6:
			if m := by.lastIn(b); m != nil {
				by.blocking(Record{Op: "delete", Conv: b, Seqs: []uint64{m.Seq}}, &command{Conv: b, Msgs: encodeAll([]*im.Message{m})})
			}
		case 7:
			by.read(b, nil)
		}
		if !r.rest(n, in, wave) {
			return false
		}
	}
	return true
}

// lastIn is the last message of a conversation that the device has met.
func (d *device) lastIn(conv string) (m *im.Message) {
	d.seen.Lock()
	defer d.seen.Unlock()
	for _, list := range [][]*im.Message{d.got, d.mine} {
		for _, x := range list {
			if x.ConvId == conv && (m == nil || x.Seq > m.Seq) {
				m = x
			}
		}
	}
	return m
}

// look asks the device about everything, and compares with the server. A device that existed from the start has everything without the help of the
// server.
func (d *device) look(m *model) *Final {
	f := &Final{Server: m.audit, History: map[string][]Item{}, Convs: map[string]*im.ConvInfo{}}
	trouble := func(format string, args ...any) {
		if f.Trouble == "" {
			f.Trouble = fmt.Sprintf(format, args...)
		}
	}
	ask := func(cmd *command) *reply {
		r := d.tell(cmd)
		if r == nil {
			trouble("%s: killed", cmd.Op)
			return &reply{}
		}
		if r.Code != 0 {
			trouble("%s: %d", cmd.Op, r.Code)
		}
		return r
	}
	for _, b := range ask(&command{Op: "conversations"}).Convs {
		x := &im.ConvInfo{}
		if err := x.UnmarshalVT(b); err != nil {
			trouble("conversations: %v", err)
		}
		f.Convs[x.Id] = x
		f.Order = append(f.Order, x.Id)
	}
	f.Total = ask(&command{Op: "total"}).Num
	for conv := range m.audit.Logs[d.User] {
		p := &im.GetMsgListParam{Count: 150}
		if d.First {
			p.IsRamble = new(bool)
		}
		for f.Trouble == "" {
			r := ask(&command{Op: "history", Conv: conv, Param: encode(p)})
			for _, b := range r.Msgs {
				x := decode(b)
				f.History[conv] = append(f.History[conv], Item{Seq: x.Seq, Version: x.Version, Sender: x.Sender, Text: text(x), Tag: x.CloudCustomStr, ID: x.MsgId, Status: x.Status, Read: x.IsRead, PeerRead: x.IsPeerRead})
				p.LastMsg = x
			}
			if len(r.Msgs) == 0 {
				break
			}
		}
	}
	for _, v := range m.finalState(d.Device, f, d.records()) {
		trouble("%s", v)
	}
	return f
}
