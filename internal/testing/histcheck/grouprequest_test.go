package histcheck_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/histcheck"
)

const (
	asked    = im.GroupReportType_GROUP_REPORT_TYPE_ADD_REQUEST
	accepted = im.GroupReportType_GROUP_REPORT_TYPE_ADD_ACCEPT
	refused  = im.GroupReportType_GROUP_REPORT_TYPE_ADD_REFUSE
)

// gated is grouped as a group whose owner and admins decide who joins it, and goes on: cleo is removed, asks, and is refused; asks again, and is accepted; dan asks,
// and waits. The group and a member get fields of the app's own.
func gated() *book {
	b, _ := grouped()
	const id = "room-gate" // joins wait, so cleo comes in another way at first
	b.g.ID = id
	for _, d := range b.h.Devices {
		for i := range d.Records {
			r := &d.Records[i]
			if r.Conv == "room1" {
				r.Conv = id
			}
			r.Text = strings.ReplaceAll(r.Text, "room1", id)
			if r.Op == "grp:join" {
				r.Op, r.Tag, r.Text = "grp:invite", "cleo", ""
			}
		}
		for _, s := range d.Sends {
			s.Conv = id
		}
	}
	for _, feed := range b.h.Feeds {
		for _, e := range feed {
			if e.Report != nil {
				e.Report.GroupId = id
			}
		}
	}
	b.h.Operator = &histcheck.Device{Name: "operator"}
	b.at["administrator"] = b.h.Operator
	b.call("administrator", "grp:kick", histcheck.Record{Conv: id, Tag: "cleo"}, 0, func() {
		b.leave("cleo")
		b.tip(&im.GroupTipsElem{TipType: tipKick, OpUser: "administrator", UserArray: []string{"cleo"}, MemberNum: 2})
		b.report("cleo", "administrator", im.GroupReportType_GROUP_REPORT_TYPE_BE_KICKED)
	})
	say := func(user, by string, typ im.GroupReportType, words string) {
		r := &im.GroupReportElem{ReportType: typ, GroupId: id, OpUser: by, Msg: words}
		b.h.Feeds[user] = append(b.h.Feeds[user], &im.Relation{Kind: im.RelationKind_RELATION_GROUP_REPORT, Report: r, Epoch: b.g.Epoch, After: uint64(len(b.g.Entries))})
		for _, d := range b.h.Devices {
			if d.User == user {
				b.add(d, histcheck.Record{Kind: histcheck.New, Text: histcheck.ReportWords(r)})
			}
		}
	}
	ask := func(user, words string) {
		b.call(user, "grp:join", histcheck.Record{Conv: id, Text: words}, 1, func() {
			b.g.Requests = append(b.g.Requests, histcheck.GroupRequest{User: user, Words: words})
			say("ann", user, asked, words)
			say("ben", user, asked, words)
		})
	}
	answer := func(by, user, words string, yes bool) {
		b.call(by, "grp:answer", histcheck.Record{Conv: id, Tag: user, Text: words, Self: yes}, 0, func() {
			q := &b.g.Requests[len(b.g.Requests)-1]
			q.Handler, q.Answer, q.Accepted = by, words, yes
			typ := refused
			if yes {
				typ = accepted
				b.join(user)
				b.tip(&im.GroupTipsElem{TipType: tipInvite, OpUser: user, UserArray: []string{user}, MemberNum: 3})
			}
			say(user, by, typ, words)
		})
	}
	ask("cleo", "please")
	answer("ann", "cleo", "no", false)
	ask("cleo", "pretty please")
	answer("ben", "cleo", "yes", true)
	ask("dan", "me too")
	b.call("ann", "grp:field", histcheck.Record{Conv: id, Tag: "color", Text: "blue"}, 0, func() {
		b.g.Info.Custom = []*im.GroupInfoCustomString{{Key: "color", Value: "blue"}}
	})
	b.g.Fields = map[string]string{"ben": "mood=good"}
	b.call("ben", "grp:memberfield", histcheck.Record{Conv: id, Tag: "ben", Text: "good"}, 0, nil)
	b.finish()
	for _, d := range b.h.Devices {
		x := d.Groups[id]
		x.Fields = "color=blue"
		x.MemberFields["ben"] = "mood=good"
		if d.User == "ann" || d.User == "ben" {
			for _, q := range b.g.Requests {
				x.Requests = append(x.Requests, q.String())
			}
		}
	}
	return b
}

// TestCheckRequestsOfGroups does the same for requests to join, and for fields of the app's own.
func TestCheckRequestsOfGroups(t *testing.T) {
	unfeed := func(b *book, user, words string) {
		b.h.Feeds[user] = slices.DeleteFunc(b.h.Feeds[user], func(e *im.Relation) bool { return e.Report.GetMsg() == words })
		for _, d := range b.h.Devices {
			if d.User == user {
				d.Records = slices.DeleteFunc(d.Records, func(r histcheck.Record) bool {
					return r.Kind == histcheck.New && strings.HasPrefix(r.Text, "report") && strings.HasSuffix(r.Text, ": "+words)
				})
			}
		}
	}
	forget := func(d *histcheck.Device, op, words string) {
		d.Records = slices.DeleteFunc(d.Records, func(r histcheck.Record) bool { return r.Op == op && r.Text == words })
	}
	for _, c := range []struct {
		name, want string
		spoil      func(b *book)
	}{
		{"a good history", "", func(*book) {}},
		{"a request that one admin is not told of", `ben was told 0 times that "please" was asked, and could answer it then: true`, func(b *book) { unfeed(b, "ben", "please") }},
		{"a request that nobody is told of", `"me too" was asked, and nobody was told`, func(b *book) {
			unfeed(b, "ann", "me too")
			unfeed(b, "ben", "me too")
		}},
		{"a request that a member is told of", `cleo was told 1 times that "me too" was asked, and could answer it then: false`, func(b *book) {
			e := b.h.Feeds["ann"][len(b.h.Feeds["ann"])-1]
			b.h.Feeds["cleo"] = append(b.h.Feeds["cleo"], e)
		}},
		{"a request that is told twice", `"me too" was asked 2 times, by one call`, func(b *book) {
			for _, u := range []string{"ann", "ben"} {
				b.h.Feeds[u] = append(b.h.Feeds[u], b.h.Feeds[u][len(b.h.Feeds[u])-1])
			}
		}},
		{"a device that is not told of a request", "ann-1: never told of the 1 reports from report 1 of room-gate by dan: me too", func(b *book) {
			pad := b.h.Devices[1]
			pad.Records = slices.DeleteFunc(pad.Records, func(r histcheck.Record) bool { return strings.HasSuffix(r.Text, "by dan: me too") })
		}},
		{"a request that nobody has made", "ann: report 1 of room-gate by dan: me too, which nobody has asked", func(b *book) { forget(b.at["dan"], "grp:join", "me too") }},
		{"a request that is lost", `dan-0: the request "me too" to join room-gate was acknowledged and is lost`, func(b *book) { b.g.Requests = b.g.Requests[:2] }},
		{"a request that stays open", `the request "pretty please" by cleo, answered false, accepted false, "": it is open, and its user is a member`, func(b *book) {
			b.g.Requests[1] = histcheck.GroupRequest{User: "cleo", Words: "pretty please"}
		}},
		{"two open requests", "there is another one", func(b *book) { b.g.Requests = append(b.g.Requests, b.g.Requests[2]) }},
		{"an answer that is lost", `ann-0: the answer "no" to cleo about room-gate was acknowledged and is lost`, func(b *book) {
			b.g.Requests[0] = histcheck.GroupRequest{User: "cleo", Words: "please"}
		}},
		{"an answer that was another one", "nobody has answered that", func(b *book) { b.g.Requests[0].Accepted = true }},
		{"a refusal by nobody", "nobody has refused it", func(b *book) { b.g.Requests[0].Answer = "" }},
		{"an invitation", `the request "me too" by dan, answered false, accepted false, "": nobody has made it`, func(b *book) { b.g.Requests[2].Invitation = true }},
		{"an answer that is not told", `ann-0: the answer "no" was never told to cleo`, func(b *book) { unfeed(b, "cleo", "no") }},
		{"an answer that is told twice", "cleo: report 3 of room-gate by ann: no, twice", func(b *book) {
			f := b.h.Feeds["cleo"]
			b.h.Feeds["cleo"] = append(f, f[slices.IndexFunc(f, func(e *im.Relation) bool { return e.Report.GetMsg() == "no" })])
		}},
		{"an answer that is told to another user", "dan: report 3 of room-gate by ann: no, which nobody has answered", func(b *book) {
			f := b.h.Feeds["cleo"]
			b.h.Feeds["dan"] = append(b.h.Feeds["dan"], f[slices.IndexFunc(f, func(e *im.Relation) bool { return e.Report.GetMsg() == "no" })])
		}},
		{"a member whom nobody has accepted", "2 times there is tip 1 by cleo of cleo, which at most 1 calls have done", func(b *book) { forget(b.at["ben"], "grp:answer", "yes") }},
		{"an acceptance without a membership", "0 times there is tip 1 by dan of dan, which was done 1 times", func(b *book) {
			b.call("ann", "grp:answer", histcheck.Record{Conv: "room-gate", Tag: "dan", Text: "come in", Self: true}, 0, nil)
		}},
		{"a join that does not wait", "there is tip 1 by dan of dan, which at most 0 calls have done", func(b *book) {
			b.join("dan")
			b.tip(&im.GroupTipsElem{TipType: tipInvite, OpUser: "dan", UserArray: []string{"dan"}, MemberNum: 4})
		}},
		{"a list of requests that lacks one", "ben-0: room-gate has the requests", func(b *book) {
			x := b.at["ben"].Groups["room-gate"]
			x.Requests = x.Requests[1:]
		}},
		{"a list of requests at a member", "cleo-0: room-gate has the requests", func(b *book) {
			b.at["cleo"].Groups["room-gate"].Requests = []string{b.g.Requests[2].String()}
		}},
		{"a field that is lost", `room-gate: the field color is "", which no call explains`, func(b *book) { b.g.Info.Custom = nil }},
		{"a field that nobody has set", `room-gate: the field topic is "x", which no call explains`, func(b *book) {
			b.g.Info.Custom = append(b.g.Info.Custom, &im.GroupInfoCustomString{Key: "topic", Value: "x"})
		}},
		{"an old field at a device", "ann-0: room-gate has the fields color=red, at the server color=blue", func(b *book) { b.at["ann"].Groups["room-gate"].Fields = "color=red" }},
		{"a field of a member that is lost", `room-gate: ben has the fields "", which no call explains`, func(b *book) { b.g.Fields = nil }},
		{"a field of a member that nobody has set", `room-gate: ann has the fields "mood=bad", which no call explains`, func(b *book) { b.g.Fields["ann"] = "mood=bad" }},
		{"an old field of a member at a device", `cleo-0: room-gate: ben has the fields "mood=bad", at the server "mood=good"`, func(b *book) {
			b.at["cleo"].Groups["room-gate"].MemberFields["ben"] = "mood=bad"
		}},
	} {
		b := gated()
		c.spoil(b)
		if bad := strings.Join(histcheck.CheckGroups(b.h), "\n"); !strings.Contains(bad, c.want) || c.want == "" && bad != "" {
			t.Errorf("%s: no %q in:\n%s", c.name, c.want, bad)
		}
	}
}
