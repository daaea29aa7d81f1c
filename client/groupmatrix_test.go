package client_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/scenario"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// matrixDevices are the devices of each user in the matrix of groups, by where they are while the causes happen. The first one acts.
var matrixDevices = map[string][]string{
	"ann":  {scenario.Online, scenario.Online, scenario.Reconnecting},
	"bob":  {scenario.Online, scenario.Online, scenario.Away, scenario.Reconnecting},
	"mem":  {scenario.Online, scenario.Away},
	"opt1": {scenario.Online, scenario.Away},
	"opt4": {scenario.Online, scenario.Away},
	"left": {scenario.Online, scenario.Away},
	"out":  {scenario.Online, scenario.Away},
	"back": {scenario.Online, scenario.Away},
	"gone": {scenario.Away},
	"late": {scenario.Online, scenario.Away},
	"mut":  {scenario.Online}, "opt2": {scenario.Online}, "adm": {scenario.Online}, "eve": {scenario.Online},
}

// grouped is a device of the matrix of groups.
type grouped struct {
	*related
	user  string
	n     int
	state string

	words  map[string][]string // by group
	totals []int
	marks  int // of eve's messages
	adding map[string]bool
}

// hear takes a callback. A conversation is left out while its last message is being sent: whether that is seen depends on how fast the server is.
func (d *grouped) hear(e client.Event) {
	switch told := e.Args[0].(type) {
	case int:
		d.totals = append(d.totals, told)
	case *im.GroupTipsElem:
		d.put(told.GroupId, groupTipWords(told))
	case string:
		words := "attributes"
		for _, a := range e.Args[1].([]*im.GroupAttributes) {
			words += " " + a.Key + "=" + a.Value
		}
		d.put(told, words)
	case []*im.MsgLocator:
		for _, l := range told {
			d.put(l.ConvId, fmt.Sprintf("revoke %d by %s", l.Seq, l.RevokerUserId))
		}
	case []*im.ConvInfo:
		for _, cv := range told {
			if cv.LastMsg.GetStatus() == im.MessageStatus_MESSAGE_STATUS_SENDING {
				d.adding[cv.Id] = d.adding[cv.Id] || e.Type == "add"
				continue
			}
			typ := e.Type
			if d.adding[cv.Id] {
				typ = "add"
				delete(d.adding, cv.Id)
			}
			d.put(cv.Id, convWords(typ, cv))
		}
	case []*im.Message:
		for _, m := range told {
			verb := map[string]string{"new_message": "new ", "updated": "modified "}[e.Name]
			if r := m.ElemArray[0].GetGroupReport(); r != nil {
				d.put(r.GroupId, fmt.Sprintf("%sreport %d by %s", verb, r.ReportType, r.OpUser))
				continue
			}
			if text(m) == "mark" {
				d.marks++
			}
			d.put(m.ConvId, verb+groupText(m))
		}
	default:
		d.put("", fmt.Sprintf("%s of %T", e.Name, told))
	}
}

func (d *grouped) put(group, words string) { d.words[group] = append(d.words[group], words) }

func groupText(m *im.Message) string {
	if len(m.GetElemArray()) == 0 {
		return ""
	}
	if tip := m.ElemArray[0].GetGroupTips(); tip != nil {
		return groupTipWords(tip)
	}
	return text(m)
}

func groupTipWords(tip *im.GroupTipsElem) string {
	words := tipWords(tip)
	for _, x := range tip.MemberChangeInfoArray {
		words += fmt.Sprint(" muted ", x.ShutupTime)
	}
	return words
}

// convWords is a conversation in words, in which all is that the model knows of one.
func convWords(typ string, cv *im.ConvInfo) string {
	if typ == "delete" {
		return typ
	}
	last := groupText(cv.LastMsg)
	if cv.LastMsg.GetStatus() == im.MessageStatus_MESSAGE_STATUS_REVOKED {
		last = "(recalled) " + last
	}
	words := fmt.Sprintf("%s unread %d last %q", typ, cv.UnreadNum, last)
	for _, x := range cv.GroupAtInfoArray {
		words += fmt.Sprintf(" at %d:%d", x.Seq, x.AtType)
	}
	if cv.RecvOpt != 0 {
		words += fmt.Sprint(" opt ", cv.RecvOpt)
	}
	if cv.IsPinned {
		words += " pinned"
	}
	if cv.IsHasDraft {
		words += " draft " + text(cv.Draft.Msg)
	}
	return words
}

// of returns what has fired about a group.
func (d *grouped) of(group string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.words[group])
}

// cell is a cause in its group.
type cell struct {
	cause scenario.GroupCause
	model *scenario.Group
	// want is what fires on the devices that are online, and away is where the others went.
	want map[*grouped][]string
	away map[string]scenario.Mark
}

type groupMatrix struct {
	t       *testing.T
	s       *imtest.Server
	devices []*grouped
	first   map[string]*grouped
	cells   []*cell
	marks   int
	totals  map[*grouped][]int
}

// Every cause in a group, at every kind of member, former member and stranger, on devices that are online, away and without a connection: what fires, in
// which order, and nothing else. The causes are done on one server, each in a group of its own; the short form has every second one.
func TestGroupMatrix(t *testing.T) {
	m := &groupMatrix{t: t, s: imtest.Start(t), first: map[string]*grouped{}, totals: map[*grouped][]int{}}
	for i, c := range scenario.GroupCauses {
		if i%soak.Pick(2, 1) != 0 {
			continue
		}
		id := fmt.Sprint("g", i)
		if c.Type == "Community" {
			id = "@TGS#_" + id
		}
		m.cells = append(m.cells, &cell{cause: c, model: scenario.NewGroup(t, id), want: map[*grouped][]string{}, away: map[string]scenario.Mark{}})
	}
	// Those who act before the causes. The other devices are new then: they learn of the groups with their first sync, which costs less.
	early := []string{"ann", "mem", "left", "back"}
	m.each(func(user string, n int) {
		if n == 0 && slices.Contains(early, user) {
			m.dial(user, n)
		}
	})
	var accounts []string
	for user := range matrixDevices {
		accounts = append(accounts, fmt.Sprintf(`{"UserID":%q}`, user))
	}
	m.s.Operate("im_open_login_svc/multiaccount_import", `{"AccountList":[`+strings.Join(accounts, ",")+`]}`)
	var wg sync.WaitGroup
	for from := range 4 { // the groups are independent of each other
		wg.Go(func() {
			for i := from; i < len(m.cells); i += 4 {
				for _, line := range m.cells[i].cause.Before() {
					m.act(m.cells[i], line)
				}
			}
		})
	}
	wg.Wait()
	m.each(func(user string, n int) {
		if n == 0 && !slices.Contains(early, user) {
			m.dial(user, n)
		}
	})
	for _, line := range scenario.Options {
		m.choose(line)
	}
	for _, x := range m.cells {
		for _, line := range x.cause.Given {
			m.act(x, line)
		}
	}
	m.each(func(user string, n int) {
		if n > 0 {
			m.dial(user, n)
		}
	})
	m.settle()
	for _, d := range m.devices {
		if d.state != scenario.Online {
			d.Leave(d.state)
		}
		d.mu.Lock()
		clear(d.words)
		d.totals = nil
		d.mu.Unlock()
	}
	for _, x := range m.cells {
		for user := range matrixDevices {
			x.away[user] = x.model.Mark(user)
		}
	}

	for _, x := range m.cells {
		for _, line := range x.cause.Do {
			before := m.unread()
			m.expect(x, m.act(x, line))
			for d, n := range m.unread() {
				if n != before[d] && d.state == scenario.Online {
					m.totals[d] = append(m.totals[d], n)
				}
			}
			m.arrived(x)
		}
	}
	m.checkTotals()
	m.after()
	for _, d := range m.devices {
		if d.state != scenario.Online {
			d.Back(d.state)
		}
	}
	m.settle()
	m.compare()
}

// each calls f for each device, those of a user in their order.
func (m *groupMatrix) each(f func(user string, n int)) {
	for _, user := range append(slices.Clone(scenario.People), scenario.Strangers...) {
		for n := range matrixDevices[user] {
			f(user, n)
		}
	}
}

func (m *groupMatrix) dial(user string, n int) {
	d := &grouped{user: user, n: n, state: matrixDevices[user][n], words: map[string][]string{}, adding: map[string]bool{}}
	d.related = openRelated(m.t, m.s, user, n, d.hear)
	m.devices = append(m.devices, d)
	if n == 0 {
		m.first[user] = d
	}
}

// act does a line, and returns what it makes fire.
func (m *groupMatrix) act(x *cell, line string) map[string][]scenario.Fired {
	m.t.Helper()
	words := scenario.Split(line)
	fired := x.model.Act(line)
	got := "ok"
	if words[0] == scenario.Operators {
		operate(m.s, x.model.ID, words[1], words[2:])
	} else {
		got = groupAct(within(m.t), m.t, m.first[words[0]].c, x.model.ID, words[1], words[2:])
	}
	if got != "ok" {
		m.t.Fatalf("%s: %s: %s", x.cause.Name, line, got)
	}
	return fired
}

// choose does a line in all groups that its actor is in, by few calls.
func (m *groupMatrix) choose(line string) {
	words := scenario.Split(line)
	var convs []client.Conv
	for _, x := range m.cells {
		if x.model.In(words[0]) {
			convs = append(convs, client.Group(x.model.ID))
			x.model.Act(line)
		}
	}
	for some := range slices.Chunk(convs, 30) {
		if got := outcome(m.first[words[0]].c.SetRecvOpt(within(m.t), some, int32(words[2][0]-'0'))); got != "ok" {
			m.t.Fatalf("%s: %s", line, got)
		}
	}
}

// operate makes a call of the admin API about a group.
func operate(s *imtest.Server, group, verb string, args []string) {
	list := func(field string) string {
		var all []string
		for _, u := range args {
			all = append(all, fmt.Sprintf(`{"Member_Account":%q}`, u))
		}
		return fmt.Sprintf(`{"GroupId":%q,"MemberList":[%s]%s}`, group, strings.Join(all, ","), field)
	}
	named := fmt.Sprintf(`{"GroupId":%q,"MemberToDel_Account":["%s"]`, group, strings.Join(args, `","`))
	switch verb {
	case "say":
		s.Operate("group_open_http_svc/send_group_msg", fmt.Sprintf(`{"GroupId":%q,"Random":1,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":%q}}]}`, group, args[0]))
	case "notify":
		s.Operate("group_open_http_svc/send_group_system_notification", fmt.Sprintf(`{"GroupId":%q,"Content":%q}`, group, args[0]))
	case "invite":
		s.Operate("group_open_http_svc/add_group_member", list(`,"Silence":0`))
	case "kick":
		s.Operate("group_open_http_svc/delete_group_member", named+`}`)
	case "kicksilently":
		s.Operate("group_open_http_svc/delete_group_member", named+`,"Silence":1}`)
	case "dissolve":
		s.Operate("group_open_http_svc/destroy_group", fmt.Sprintf(`{"GroupId":%q}`, group))
	}
}

// expect notes what is to fire on the devices that are online.
func (m *groupMatrix) expect(x *cell, fired map[string][]scenario.Fired) {
	for _, d := range m.devices {
		for _, f := range fired[d.user] {
			if d.state == scenario.Online && (d.n != 0 || !f.Others) && (d.n == 0 || !f.Own) {
				x.want[d] = append(x.want[d], f.Words)
			}
		}
	}
}

// arrived waits until the devices that are online have got as much as they are to get of a group, and of totals.
func (m *groupMatrix) arrived(x *cell) {
	m.t.Helper()
	for _, d := range m.devices {
		if d.state == scenario.Online {
			has := func() bool { return len(d.words[x.model.ID]) >= len(x.want[d]) && len(d.totals) >= len(m.totals[d]) }
			if !d.waits(has) {
				m.t.Fatalf("%s, %s %d: heard\n  %s\ntotals %d\nwant\n  %s\ntotals %d", x.cause.Name, d.user, d.n, strings.Join(d.of(x.model.ID), "\n  "), d.totals, strings.Join(x.want[d], "\n  "), m.totals[d])
			}
		}
	}
}

// unread returns the total of each device.
func (m *groupMatrix) unread() map[*grouped]int {
	all := map[*grouped]int{}
	for _, x := range m.cells {
		for _, d := range m.devices {
			all[d] += x.model.Unread(d.user)
		}
	}
	return all
}

func (m *groupMatrix) checkTotals() {
	for _, d := range m.devices {
		d.mu.Lock()
		if d.state == scenario.Online && !slices.Equal(d.totals, m.totals[d]) {
			m.t.Errorf("totals of %s %d: %d, want %d", d.user, d.n, d.totals, m.totals[d])
		}
		d.mu.Unlock()
	}
}

// after removes gone from the groups, and lets late join.
func (m *groupMatrix) after() {
	for i := range 2 { // one after the other: what a conversation becomes would be told once for both
		for _, x := range m.cells {
			lines := x.cause.After(x.model)
			for _, line := range lines[:min(1, len(lines))] {
				if i == 0 && !strings.HasSuffix(line, " kick gone") {
					continue
				}
				m.expect(x, m.act(x, line))
			}
		}
		for _, x := range m.cells {
			m.arrived(x)
		}
	}
}

// settle waits until every device that is logged in has got a message of eve's that is sent to its user now, and has nothing left to do.
func (m *groupMatrix) settle() {
	m.t.Helper()
	m.marks++
	for user := range matrixDevices {
		mark := textMessage("mark")
		mark.IsExcludedFromUnreadCount = true
		if user == "eve" {
			continue
		}
		if _, err := m.first["eve"].c.SendMessage(within(m.t), client.C2C(user), mark); err != nil {
			m.t.Fatal(err)
		}
	}
	for _, d := range m.devices {
		if d.user != "eve" {
			d.wait("a mark", func() bool { return d.marks >= m.marks })
		}
		d.c.Beat()
		d.c.WaitQuiet()
	}
}

// apart puts what has no place in the log behind the rest of what a device has got that was away: attributes, reports to all, which come with the changes
// of the group, and reports to some, which come with the feed, each in an order of its own. All of it comes before what the conversation has become.
func (m *groupMatrix) apart(x *cell, d *grouped, got []string) []string {
	if last := got[len(got)-1]; aside(last) > 1 && slices.ContainsFunc(got, func(w string) bool { return strings.HasPrefix(w, "add ") || strings.HasPrefix(w, "update ") }) {
		m.t.Errorf("%s, %s %d (%s): the report comes after what the conversation has become: %q", x.cause.Name, d.user, d.n, d.state, got)
	}
	report := slices.IndexFunc(got, func(w string) bool {
		return strings.HasPrefix(w, "new report 4 ") || strings.HasPrefix(w, "new report 8 ")
	})
	if report >= 0 && !x.model.In(d.user) && slices.ContainsFunc(got[report:], func(w string) bool { return aside(w) == 0 && strings.HasPrefix(w, "new ") }) {
		m.t.Errorf("%s, %s %d (%s): messages come after the report about the end: %q", x.cause.Name, d.user, d.n, d.state, got)
	}
	slices.SortStableFunc(got, func(a, b string) int { return aside(a) - aside(b) })
	return got
}

func aside(w string) int {
	switch {
	case strings.HasPrefix(w, "attributes"):
		return 1
	case strings.HasPrefix(w, "new report 5 "), strings.HasPrefix(w, "new report 16 "):
		return 2
	case strings.HasPrefix(w, "new report"):
		return 3
	}
	return 0
}

// compare compares what has fired with what was to fire.
func (m *groupMatrix) compare() {
	for _, x := range m.cells {
		for _, d := range m.devices {
			got, want := d.of(x.model.ID), x.want[d]
			if d.state != scenario.Online {
				log, others := x.model.Missed(d.user, x.away[d.user])
				if i := len(log) - 1; i >= 0 && (d.user == "opt1" || d.user == "opt4") { // new, so it was not told of the silent conversation
					log[i] = strings.Replace(log[i], "update ", "add ", 1)
				}
				if want = append(slices.Clone(log), others...); len(got) > 0 {
					got = m.apart(x, d, got)
				}
			}
			if !slices.Equal(got, want) {
				m.t.Errorf("%s, %s %d (%s): heard\n  %s\nwant\n  %s", x.cause.Name, d.user, d.n, d.state, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
		}
	}
	for d, n := range m.unread() {
		d.mu.Lock()
		if last := len(d.totals) - 1; last >= 0 && d.totals[last] != n {
			m.t.Errorf("the last total of %s %d: %d, want %d", d.user, d.n, d.totals[last], n)
		}
		d.mu.Unlock()
	}
}
