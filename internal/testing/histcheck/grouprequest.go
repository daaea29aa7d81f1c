package histcheck

import (
	"fmt"
	"slices"

	"github.com/tidings-im/tidings/im"
)

// GroupRequest is a request to join a group, as the server stores it.
type GroupRequest struct {
	User, Words string
	// Handler is who has answered, "" while it is open; Answer are their words.
	Handler, Answer string
	Accepted        bool
	// Invitation: somebody else has asked for the user. Groups of histories have no such requests.
	Invitation bool
}

func (q GroupRequest) String() string {
	return fmt.Sprintf("%q by %s, answered %v, accepted %v, %q", q.Words, q.User, q.Handler != "", q.Accepted, q.Answer)
}

const (
	askReport    = im.GroupReportType_GROUP_REPORT_TYPE_ADD_REQUEST
	acceptReport = im.GroupReportType_GROUP_REPORT_TYPE_ADD_ACCEPT
	refuseReport = im.GroupReportType_GROUP_REPORT_TYPE_ADD_REFUSE
)

func ofRequests(typ im.GroupReportType) bool {
	return typ == askReport || typ == acceptReport || typ == refuseReport
}

// answerRequest answers a request that the device's user may answer: an open one, or sometimes any.
func (d *device) answerRequest(id string, accept bool, pick uint64) {
	var open []*im.GroupPendency
	for _, p := range d.requests(id) {
		if p.Handled == 0 || pick>>32%8 == 0 {
			open = append(open, p)
		}
	}
	if len(open) > 0 {
		p := open[pick%uint64(len(open))]
		words := d.newTag(Pass)
		d.blocking(Record{Op: groupOp + "answer", Conv: id, Tag: p.FormIdentifier, Text: words, Self: accept, N: int(p.Handled)}, &command{Conv: id, Text: words, Flag: accept, Param: encode(p)})
	}
}

// requests asks a device for the requests to a group.
func (d *device) requests(id string) (out []*im.GroupPendency) {
	r := d.tell(&command{Op: groupOp + "requests", Conv: id})
	if r == nil {
		return nil
	}
	for _, b := range r.Msgs {
		if p := (&im.GroupPendency{}); p.UnmarshalVT(b) == nil && p.GroupId == id {
			out = append(out, p)
		}
	}
	return out
}

// requests checks what became of requests to join: that each was told to who could answer it then, each answer to who had asked, and what is stored of them.
func (c *groupChecker) requests() {
	asks, answers := map[string]*op{}, map[string]*op{}
	for _, o := range c.ops {
		switch {
		case o.never() || !asksToJoin(o.call.Conv):
		case o.call.Op == groupOp+"join":
			asks[o.call.Text] = o
		case o.call.Op == groupOp+"answer":
			answers[o.call.Text] = o
		}
	}
	c.requestReports(asks, answers)
	stored, answered := map[string]bool{}, map[string]bool{}
	for _, g := range c.h.Groups {
		open := map[string]bool{}
		for _, q := range g.Requests {
			stored[q.Words], answered[q.Answer] = true, true
			ask, answer := asks[q.Words], answers[q.Answer]
			fail := func(what string) { c.fail("%s, epoch %d: the request %v: %s", g.ID, g.Epoch, q, what) }
			switch {
			case q.Invitation || ask == nil || ask.d.User != q.User || ask.call.Conv != g.ID:
				fail("nobody has made it")
			case q.Handler == "" && open[q.User]:
				fail("there is another one")
			case q.Handler == "" && g.member(q.User):
				fail("it is open, and its user is a member")
			case q.Handler == "":
				open[q.User] = true
			case q.Answer == "" && !q.Accepted:
				fail("nobody has refused it")
			case q.Answer != "" && (answer == nil || answer.by() != q.Handler || answer.call.Tag != q.User || answer.call.Self != q.Accepted):
				fail("nobody has answered that")
			}
		}
	}
	for words, o := range asks {
		again := slices.ContainsFunc(c.ops, func(x *op) bool {
			return x != o && x.call.Op == o.call.Op && x.call.Conv == o.call.Conv && x.d.User == o.d.User && !x.never() && x.end >= o.begin
		})
		if o.code == 0 && o.ret.N == 1 && !stored[words] && !again {
			c.fail("%s: the request %q to join %s was acknowledged and is lost", o.d.Name, words, o.call.Conv)
		}
	}
	for words, o := range answers {
		if o.code == 0 && !answered[words] && !c.crossed(o) {
			c.fail("%s: the answer %q to %s about %s was acknowledged and is lost", o.d.Name, words, o.call.Tag, o.call.Conv)
		}
	}
}

// requestReports checks the reports about requests: each ask is told once to each of those who could answer when it was made, each answer once to who had asked.
func (c *groupChecker) requestReports(asks, answers map[string]*op) {
	type made struct {
		words        string
		epoch, after uint64
	}
	told := map[made]map[string]int{}
	times := map[string]int{} // of answers
	for _, user := range c.h.Users {
		for _, e := range c.h.Feeds[user] {
			r := e.Report
			if e.Kind != im.RelationKind_RELATION_GROUP_REPORT || !ofRequests(r.ReportType) {
				continue
			}
			if r.ReportType == askReport {
				if o := asks[r.Msg]; o == nil || o.d.User != r.OpUser || o.call.Conv != r.GroupId {
					c.fail("%s: %s, which nobody has asked", user, ReportWords(r))
					continue
				}
				k := made{r.Msg, e.Epoch, e.After}
				if told[k] == nil {
					told[k] = map[string]int{}
				}
				told[k][user]++
				continue
			}
			o := answers[r.Msg]
			if o == nil || o.by() != r.OpUser || o.call.Tag != user || o.call.Self != (r.ReportType == acceptReport) || o.call.Conv != r.GroupId {
				c.fail("%s: %s, which nobody has answered", user, ReportWords(r))
				continue
			}
			if times[r.Msg]++; times[r.Msg] > 1 {
				c.fail("%s: %s, twice", user, ReportWords(r))
			}
		}
	}
	asked := map[string]int{}
	for k, by := range told {
		n := 0
		for _, m := range by {
			n = max(n, m)
		}
		asked[k.words] += n
		staff := c.staffAt(k.epoch, k.after)
		for _, user := range c.h.Users {
			want := 0
			if staff[user] {
				want = n
			}
			if c.h.Feeds[user] != nil && by[user] != want {
				c.fail("%s was told %d times that %q was asked, and could answer it then: %v; others were told %d times", user, by[user], k.words, staff[user], n)
			}
		}
	}
	for words, o := range asks {
		most := 1 // one that is sent again, when what the first copy asked was answered or replaced, asks again
		for _, x := range c.ops {
			about := x.call.Op == groupOp+"answer" && x.call.Tag == o.d.User || x.call.Op == o.call.Op && x.d.User == o.d.User || x.joins(o.d.User) != ""
			if x != o && about && !x.never() && x.call.Conv == o.call.Conv && x.end >= o.begin && o.end >= x.begin {
				most++
			}
		}
		if asked[words] > most {
			c.fail("%s: %q was asked %d times, by one call", o.d.Name, words, asked[words])
		}
		if o.code == 0 && o.ret.N == 1 && asked[words] == 0 && c.alwaysStaffed(o.call.Conv) {
			c.fail("%s: %q was asked, and nobody was told", o.d.Name, words)
		}
	}
	for words, o := range answers {
		if o.code == 0 && c.h.Feeds[o.call.Tag] != nil && times[words] == 0 && !c.crossed(o) {
			c.fail("%s: the answer %q was never told to %s", o.d.Name, words, o.call.Tag)
		}
	}
}

// staffAt are who may answer requests to a group when its log had an end.
func (c *groupChecker) staffAt(epoch, after uint64) map[string]bool {
	for _, g := range c.h.Groups {
		if all := c.staff[g]; g.Epoch == epoch && after < uint64(len(all)) {
			return all[after]
		}
	}
	return nil
}

// alwaysStaffed reports whether the groups of an id had at all times somebody who could answer requests, and whose feed is known.
func (c *groupChecker) alwaysStaffed(id string) bool {
	for _, g := range c.byID[id] {
		for _, staff := range c.staff[g] {
			if !slices.ContainsFunc(sortedKeys(staff), func(u string) bool { return c.h.Feeds[u] != nil }) {
				return false
			}
		}
	}
	return true
}
