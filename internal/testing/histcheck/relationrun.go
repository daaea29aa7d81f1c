package histcheck

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// Notice is one thing that the webhook was notified of: whose list or profile has changed, and about whom, or the fields that were set. Event is the
// number of the notification, which is the same when it is repeated.
type Notice struct{ Event, Command, Owner, Other string }

// Notices is the program behind the webhook in a history of relations. It fails now and then, so that notices are repeated.
type Notices struct {
	mu   sync.Mutex
	rng  *rand.Rand
	all  []Notice
	fail bool
}

func NewNotices(seed uint64) *Notices {
	return &Notices{rng: rand.New(rand.NewPCG(seed, 15)), fail: true}
}

// All returns what has arrived, in that order.
func (n *Notices) All() []Notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.all)
}

func (n *Notices) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req struct {
		CallbackCommand, From_Account string
		PairList                      []struct{ From_Account, To_Account string }
		ProfileItem                   []struct {
			Tag   string
			Value any
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	event := r.Header.Get("Tidings-Event-Id")
	for _, p := range req.PairList {
		n.all = append(n.all, Notice{event, req.CallbackCommand, p.From_Account, p.To_Account})
	}
	if len(req.ProfileItem) > 0 {
		set := fields{}
		for _, x := range req.ProfileItem {
			tag, v := noticedField(x.Tag, x.Value)
			set[tag] = v
		}
		n.all = append(n.all, Notice{event, req.CallbackCommand, req.From_Account, set.String()})
	}
	if n.fail && len(req.PairList)+len(req.ProfileItem) > 0 && n.rng.IntN(20) == 0 {
		http.Error(w, "not now", http.StatusServiceUnavailable) // what was received is repeated
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"ActionStatus": "OK", "ErrorCode": 0, "ErrorInfo": ""})
}

// heal ends the failures.
func (n *Notices) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fail = false
}

// RunRelations makes a history of relations: friends, requests, blacklists, friend groups and profiles of users with two devices each, while they send to
// each other. [CheckRelations] judges it.
func RunRelations(t testing.TB, cfg Config, notices *Notices) *History {
	cfg.near = true
	return runRelations(t, cfg, notices, func(r *runner) { r.operate(r.relationships()) })
}

func runRelations(t testing.TB, cfg Config, notices *Notices, operate func(*runner)) *History {
	cfg.apart = true
	return run(t, cfg, 1212, func(r *runner) {
		r.watched(func() {
			operate(r)
			r.settleRelations(notices)
		})
		r.readDisks()
		r.until(func() bool { r.h.Notices = notices.All(); return r.h.noticedInOrder() == "" }) // if it is not so in the end, the check finds it
	})
}

// readDisks closes all devices and reads what they have stored.
func (r *runner) readDisks() {
	for _, d := range r.devices {
		d.close()
		rows, err := r.cfg.Disk(d.dir, d.User)
		if err != nil {
			r.h.violation("%s: its disk: %v", d.Name, err)
		} else if d.Relations != nil {
			d.Relations.Rows = RowsOf(rows)
		}
	}
}

// relation makes a call about relations.
func (d *device) relation(op, other, text string, num int32, flag bool) *reply {
	cmd := &command{Conv: other, Text: text, Num: num, Flag: flag}
	return d.blocking(Record{Op: relationOp + op, Conv: other, Text: text, Self: flag, Seq: uint64(num)}, cmd)
}

// rename gives a friend group another name.
func (d *device) rename(name, now string) {
	d.blocking(Record{Op: relationOp + "rename", Text: name, Tag: now}, &command{Text: name, Users: []string{now}})
}

// groupName draws one of a few friend groups, so that much happens to each.
func groupName(x uint64) string { return fmt.Sprint("g", x%4) }

// permissions are changes of a profile: everybody may add the user, or only who was accepted.
var permissions = [...]string{"IM_AllowType=", "IM_AllowType=AllowType_Type_NeedConfirm"}

// relationships are the operations of a history of relations.
func (r *runner) relationships() []operation {
	return []operation{
		{150, r.onDevice(func(x draw) { x.d.relation("add", x.to, x.d.newTag(Pass), 0, x.b%3 > 0) })},
		{140, r.onDevice(func(x draw) { x.d.relation("answer", x.to, x.d.newTag(Pass), int32(x.b%3), false) })},
		{50, r.onDevice(func(x draw) { x.d.relation("unfriend", x.to, "", 0, x.b%2 == 0) })},
		{30, r.onDevice(func(x draw) { x.d.relation("unask", x.to, "", int32(x.b%3), false) })},
		{30, r.onDevice(func(x draw) { x.d.relation("read", "", "", 0, false) })},
		{60, r.onDevice(func(x draw) { x.d.relation("block", x.to, "", 0, false) })},
		{80, r.onDevice(func(x draw) { x.d.relation("unblock", x.to, "", 0, false) })},
		{80, r.onDevice(func(x draw) { x.d.relation("remark", x.to, x.d.newTag(Pass), 0, false) })},
		{90, r.onDevice(func(x draw) { x.d.relation("profile", "", x.d.newProfile(x.b), 0, false) })},
		{20, r.onDevice(func(x draw) { x.d.relation("profile", "", permissions[x.b%2], 0, false) })},
		{30, r.onDevice(func(x draw) { x.d.relation("group", x.to, groupName(x.b), 0, false) })},
		{20, r.onDevice(func(x draw) { x.d.relation("ungroup", "", groupName(x.b), 0, false) })},
		{20, r.onDevice(func(x draw) { x.d.rename(groupName(x.b), groupName(x.b>>8)) })},
		{45, r.onDevice(func(x draw) { x.d.relation("into", x.to, groupName(x.b), 0, false) })},
		{25, r.onDevice(func(x draw) { x.d.relation("outof", x.to, groupName(x.b), 0, false) })},
		{150, r.onDevice(func(x draw) { x.d.send(x.to, Pass, 0) })},
		{40, func(x draw) {
			x.d.must(func() { x.d.close() })
			o := r.devices[slices.Index(r.devices, x.d)^1] // the other one of its user
			for i := range x.b % 12 {                      // changes what concerns both, more than the feed keeps
				o.do(func() { o.relation("profile", "", o.newProfile(x.b+uint64(i)<<24), 0, false) })
			}
			x.d.must(func() { x.d.open(); x.d.login() })
		}},
		{20, r.onDevice(func(x draw) { x.d.logout() })},
		{20, r.onDevice(func(x draw) { x.d.tell(&command{Op: "slow", Num: int32(x.b % 20)}) })},
		{40, r.kill},
		{40, func(x draw) { x.d.proxy.Cut() }},
		{15, func(x draw) { x.d.proxy.Reset() }},
		{15, r.stall},
		{15, r.refuse},
	}
}

// settleRelations heals everything, and waits until all devices list what the server stores. Then each user does a few things at rest, whose outcome is
// certain.
func (r *runner) settleRelations(notices *Notices) {
	r.calm()
	notices.heal()
	if !r.back() || !r.restRelations(notices) {
		return
	}
	for i, user := range r.h.Users {
		d := r.devices[2*i+r.rng.IntN(2)]
		other := r.h.Users[(i+1)%len(r.h.Users)]
		d.relation("profile", "", "IM_Nick="+d.newTag(Pass), 0, false)
		d.relation("unblock", other, "", 0, false)
		r.devices[2*((i+1)%len(r.h.Users))].relation("unblock", user, "", 0, false)
		d.relation("add", other, d.newTag(Pass), 0, true)
		d.relation("remark", other, d.newTag(Pass), 0, false)
		d.relation("into", other, groupName(uint64(i)), 0, false)
		if i%2 == 0 {
			d.relation("block", other, "", 0, false)
		}
	}
	r.restRelations(notices)
}

// restRelations waits until everybody has what the server has.
func (r *runner) restRelations(notices *Notices) bool {
	for _, user := range r.h.Users {
		x, err := relationsOf(r.ctx, r.cfg.Server.URL(), user, r.sigs[user])
		if err != nil {
			r.h.violation("the server about %s: %v", user, err)
			return false
		}
		r.h.Relations[user] = x
	}
	rests := true
	for _, d := range r.devices {
		trouble := ""
		if !r.until(func() bool {
			// A change of a name may still be on its way to friends: the server attaches the newest one in any case.
			x := d.tell(&command{Op: relationOp + "list", Text: d.User})
			switch {
			case x == nil || x.Code != 0 || x.Relations == nil:
				trouble = fmt.Sprintf("does not list its relations: %v", x)
				return false
			}
			d.Relations = x.Relations
			trouble = r.h.Relations[d.User].differs(x.Relations)
			return trouble == ""
		}, d) {
			r.h.violation("%s: did not come to rest: server and device have %s", d.Name, trouble)
			rests = false
		}
		if x := d.tell(&command{Op: "told"}); x == nil || x.Code != 0 {
			r.h.violation("%s: callbacks do not end", d.Name)
		}
	}
	// The webhook has been notified of everything when it knows the last of each.
	trouble := ""
	if !r.until(func() bool { r.h.Notices = notices.All(); trouble = r.h.noticed(); return trouble == "" }) {
		r.h.violation("the webhook: %s", trouble)
	}
	return rests
}

// relationRecords are the records of an event about relations.
func relationRecords(e client.Event) (rs []Record, ok bool) {
	kind := cmp.Or(e.Type, e.Name)
	if !slices.Contains(relationCallbacks, kind) {
		return nil, false
	}
	if len(e.Args) == 0 {
		return []Record{{Kind: kind}}, true
	}
	switch told := e.Args[0].(type) {
	case []string:
		for _, u := range told {
			rs = append(rs, Record{Kind: kind, Conv: u})
		}
	case []*im.FriendProfile:
		for _, x := range told {
			rs = append(rs, Record{Kind: kind, Conv: x.Identifier})
		}
	case []*im.FriendAddPendency:
		for _, x := range told {
			rs = append(rs, Record{Kind: kind, Conv: x.Identifier, Text: x.AddWording})
		}
	case []*im.FriendProfileUpdate:
		for _, x := range told {
			rs = append(rs, Record{Kind: kind, Conv: x.Identifier, Info: string(encode(x))})
		}
	}
	return rs, true
}
