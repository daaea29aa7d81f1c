package histcheck

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// settle heals everything, brings all devices to the end of all logs, and takes down how they stand. Devices of one class cannot be logged
// in together, so it goes in waves.
func (r *runner) settle() {
	for _, d := range r.devices {
		d.proxy.Heal()
		d.slow.Store(0)
		close(d.queue)
	}
	for _, d := range r.devices {
		<-d.done
	}
	if !r.answered() {
		r.h.violation("some Func calls were not answered")
	}
	type place struct {
		user  string
		class int
	}
	taken := map[place]int{}
	var waves [][]*device
	for _, d := range r.devices {
		p := place{d.User, class(d.cfg.Platform)}
		n := taken[p]
		taken[p]++
		for len(waves) <= n {
			waves = append(waves, nil)
		}
		waves[n] = append(waves[n], d)
	}
	for n, wave := range waves {
		r.wave(n, wave)
	}
}

func class(p im.Platform) int {
	if p == im.Platform_PLATFORM_ANDROID {
		return 2
	}
	return 1
}

func (r *runner) answered() bool {
	done := make(chan struct{})
	go func() {
		r.answers.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(patience):
		return false
	}
}

func (r *runner) wave(n int, wave []*device) {
	for _, d := range wave {
		d.open()
		if d.c == nil {
			return
		}
		err := d.login()
		if codeOf(err) == im.CodeKickedWhileAway {
			err = d.login() // told once
		}
		if err != nil {
			r.h.violation("%s: the last login failed: %v", d.Name, err)
		}
	}
	var in []*device
	for _, d := range r.devices {
		if d.c != nil && d.c.Status() == client.LoggedIn {
			in = append(in, d)
		}
	}
	// Everyone says something to everyone; who has heard that has heard everything before it in its conversation.
	type marker struct{ from, to, text string }
	var markers []marker
	for _, user := range r.h.Users {
		for _, to := range r.h.Users {
			said := ""
			if !r.until(func() bool {
				for _, d := range in { // one that this wave's logins kick may not know it yet
					if d.User == user && d.c.Status() == client.LoggedIn && d.send(to) == nil {
						said = d.Sends[len(d.Sends)-1].Text
						return true
					}
				}
				return false
			}) {
				r.h.violation("%s: cannot send at the end", user)
				return
			}
			markers = append(markers, marker{user, to, said})
		}
	}
	for _, d := range in {
		for _, m := range markers {
			if m.from != d.User && m.to != d.User {
				continue
			}
			if !r.until(func() bool { return d.knows(m.text) || d.c.Status() != client.LoggedIn }, d) {
				r.h.violation("%s: wave %d: never heard of %q", d.Name, n, m.text)
				break
			}
		}
	}
	audit := &Audit{Logs: map[string]map[string]*Log{}}
	for _, u := range r.h.Users {
		logs, err := pull(r.ctx, r.cfg.Server.URL(), u, r.cfg.Server.Sig(u))
		if err != nil {
			r.h.violation("audit of %s: %v", u, err)
			return
		}
		audit.Logs[u] = logs
	}
	r.h.Server = audit
	for _, d := range in {
		var f *Final
		r.until(func() bool {
			f = d.look(audit)
			return f.Trouble == "" || d.c.Status() != client.LoggedIn
		}, d)
		if f.Trouble != "" && d.c.Status() == client.LoggedIn {
			r.h.violation("%s: wave %d: did not come to rest: %s", d.Name, n, f.Trouble)
		}
		if d.c.Status() == client.LoggedIn { // else it was kicked by one of this wave, and an earlier look counts
			d.Final = f
		} else if slices.Contains(wave, d) {
			r.h.violation("%s: logged out at the end", d.Name)
		}
	}
}

// knows says whether the device has heard of a message, or sent it.
func (d *device) knows(text string) bool {
	for _, s := range d.Sends {
		if s.Text == text {
			return true
		}
	}
	for _, r := range slices.Backward(d.records()) {
		if r.Kind == New && r.Text == text {
			return true
		}
	}
	return false
}

// look asks the device about everything, and compares with the server.
func (d *device) look(audit *Audit) *Final {
	f := &Final{Server: audit, History: map[string][]Item{}, Convs: map[string]*im.ConvInfo{}}
	ctx, cancel := context.WithTimeout(d.r.ctx, patience)
	defer cancel()
	trouble := func(format string, args ...any) {
		if f.Trouble == "" {
			f.Trouble = fmt.Sprintf(format, args...)
		}
	}
	convs, err := d.c.Conversations(ctx)
	if err != nil {
		trouble("conversations: %v", err)
		return f
	}
	for _, x := range convs {
		f.Convs[x.Id] = x
	}
	if f.Total, err = d.c.TotalUnread(ctx); err != nil {
		trouble("total: %v", err)
	}
	for conv := range audit.Logs[d.User] {
		p := &im.GetMsgListParam{Count: 150}
		for {
			ms, err := d.c.Messages(ctx, client.C2C(conv), p)
			if err != nil {
				trouble("history of %s: %v", conv, err)
			}
			if len(ms) == 0 {
				break
			}
			for _, m := range ms {
				f.History[conv] = append(f.History[conv], Item{Seq: m.Seq, Sender: m.Sender, Text: text(m), ID: m.MsgId, Status: m.Status, Read: m.IsRead, PeerRead: m.IsPeerRead})
			}
			p.LastMsg = ms[len(ms)-1]
		}
	}
	for _, v := range finalState(d.Device, f, d.records()) {
		trouble("%s", v)
	}
	return f
}
