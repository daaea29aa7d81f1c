package client_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
)

// TestReportAfterItsLog: a report of the feed arrives while the group's log before it is still being pulled. It is told after that, and what follows it in the feed
// after the report. A log that cannot be pulled delays nothing.
func TestReportAfterItsLog(t *testing.T) {
	for _, refused := range []bool{false, true} {
		f := newFake(t)
		f.feed = 1
		f.answer(im.Method_FEED, func(l *fakeLink, fr *im.Frame) {
			req := &im.FeedRequest{}
			if err := req.UnmarshalVT(fr.Body); err != nil {
				t.Error(err)
			}
			l.reply(fr, &im.FeedReply{From: req.From, To: req.To, Entries: []*im.Relation{
				kicked(2, 5, 4),
				{Kind: im.RelationKind_RELATION_FRIEND, Ver: 3, UserId: "zoe", State: &im.RelationState{}},
			}})
		})
		d := dial(t, fakeConfig(t, f))
		d.friendList() // of a new device; what comes after it is told
		l := <-f.links
		pulls := make(chan func(), 10)
		f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
			pulls <- func() {
				if refused {
					l.refuse(fr, im.CodeNotMember)
				} else {
					l.reply(fr, pulled(t, fr, func(_, seq uint64) *im.Entry { return fromBen(seq, "x") }))
				}
			}
		})
		l.push(pushed{im.Method_HEAD, groupHead("g", 5, 4, true)})
		answer := <-pulls
		l.push(pushed{im.Method_FED, &im.FeedPush{From: 3, Entries: []*im.Relation{{Kind: im.RelationKind_RELATION_FRIEND, UserId: "zoe", State: &im.RelationState{}}}}})
		d.Beat() // the device has the push, and asks for what is before it
		d.Beat()
		if got := d.groupWords(); len(got) > 0 {
			t.Fatalf("heard %q before the log", got)
		}
		answer()
		d.until(t, "what follows the report", func([]event) bool { return len(d.of("friends_added")) > 0 })
		d.WaitQuiet()
		d.settled()
		want := []string{"new report 4 of g by ben"}
		if !refused {
			want = []string{"new x", "new x", "new x", "new x", "new report 4 of g by ben", `add g unread 0 last "x"`}
		}
		wantTexts(t, "heard", d.groupWords(), want...)
		report := slices.IndexFunc(d.all(), func(e event) bool { return e.kind == "new" && strings.HasPrefix(e.text, "report") })
		if friend := slices.IndexFunc(d.all(), func(e event) bool { return e.kind == "friends_added" }); friend < report {
			t.Errorf("what follows the report in the feed was told before it")
		}
	}
}

// kicked is the report that the user was removed from the group g.
func kicked(ver, epoch, after uint64) *im.Relation {
	return &im.Relation{Kind: im.RelationKind_RELATION_GROUP_REPORT, Ver: ver, Time: time.Now().UnixMilli(), Epoch: epoch, After: after,
		Report: &im.GroupReportElem{ReportType: im.GroupReportType_GROUP_REPORT_TYPE_BE_KICKED, GroupId: "g", OpUser: "ben"}}
}

// newFedFake is a fake whose feed has one entry, which a new device has with the whole.
func newFedFake(t *testing.T) *fake {
	f := newFake(t)
	f.feed = 1
	f.answer(im.Method_RELATIONS, func(l *fakeLink, fr *im.Frame) { l.reply(fr, &im.RelationsReply{Feed: 1}) })
	return f
}

// feedOf answers FEED from a list of entries whose first one has the number 2.
func feedOf(t *testing.T, f *fake, entries ...*im.Relation) {
	f.answer(im.Method_FEED, func(l *fakeLink, fr *im.Frame) {
		req := &im.FeedRequest{}
		if err := req.UnmarshalVT(fr.Body); err != nil {
			t.Error(err)
		}
		l.reply(fr, &im.FeedReply{From: req.From, To: req.To, Entries: entries[req.From-2 : req.To-1]})
	})
}

// logsOf answers PULL with messages that name their group and epoch.
func logsOf(t *testing.T, f *fake) {
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, pulled(t, fr, func(epoch, seq uint64) *im.Entry { return fromBen(seq, fmt.Sprint("of ", epoch)) }))
	})
}

// back opens a device again. HEADS is answered when release is called, the feed at once.
func (d *device) back(f *fake, heads ...*im.Head) (again *device, release func()) {
	d.t.Helper()
	held := make(chan func(), 10)
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		held <- func() { l.reply(fr, &im.HeadsReply{Cursor: 2, Heads: heads}) }
	})
	d.Close()
	again = open(d.t, d.cfg)
	if err := again.Login(within(d.t)); err != nil {
		d.t.Fatal(err)
	}
	answer := <-held
	again.Beat() // the login's pull of the feed has been answered
	again.Beat()
	return again, func() {
		f.answer(im.Method_HEADS, nil)
		answer()
	}
}

// TestReportAfterANewGroup: at the end of a list of heads, several ids are other groups' by now. A report about the second of these waits for its log, too, although
// the first one lacks nothing.
func TestReportAfterANewGroup(t *testing.T) {
	f := newFedFake(t)
	logsOf(t, f)
	d := dial(t, fakeConfig(t, f))
	d.friendList() // of a new device; what comes after it is told
	l := <-f.links
	for i, id := range []string{"a", "g"} {
		l.push(pushed{im.Method_HEAD, groupHead(id, 5, 1, false)})
		d.hears("new of 5", fmt.Sprintf("add %s unread 1 last %q", id, "of 5"), fmt.Sprint("total ", i+1))
	}
	feedOf(t, f, kicked(2, 6, 4))
	f.feed = 2
	a := groupHead("a", 6, 3, false)
	a.JoinedSeq = 3
	d, release := d.back(f, a, groupHead("g", 6, 4, true))
	release()
	report := "new report 4 of g by ben"
	d.until(t, "the report", func([]event) bool { return slices.Contains(d.groupWords(), report) })
	if w := d.groupWords(); !slices.Contains(w[:slices.Index(w, report)], "new of 6") {
		t.Errorf("the report was told before its log: %q", w)
	}
}

// TestReportBeforeAWhole: a report waits for its log when the server lets the device load the whole, in which there are no reports. It is told all the same.
func TestReportBeforeAWhole(t *testing.T) {
	for _, code := range []int32{0, im.CodeResync} {
		f := newFedFake(t)
		logsOf(t, f)
		d := dial(t, fakeConfig(t, f))
		d.friendList()
		d.WaitQuiet()
		d.settled()
		f.answer(im.Method_RELATIONS, func(l *fakeLink, fr *im.Frame) { l.reply(fr, &im.RelationsReply{Feed: 9}) })
		f.answer(im.Method_FEED, func(l *fakeLink, fr *im.Frame) {
			req := &im.FeedRequest{}
			switch err := req.UnmarshalVT(fr.Body); {
			case err != nil:
				t.Error(err)
			case req.From == 2:
				l.reply(fr, &im.FeedReply{From: 2, To: 2, Entries: []*im.Relation{kicked(2, 6, 4)}})
			case code == 0:
				l.reply(fr, &im.FeedReply{Cut: true})
			default:
				l.refuse(fr, code)
			}
		})
		f.feed = 9
		d, release := d.back(f, groupHead("g", 6, 4, true))
		d.until(t, "the report", func([]event) bool { return slices.Contains(d.groupWords(), "new report 4 of g by ben") })
		release()
		d.until(t, "the log", func([]event) bool { return slices.Contains(d.groupWords(), "new of 6") })
	}
}

// TestReportAndAFailedCommit: a commit fails while a report waits for its log. Nothing is lost, told twice or told in another order, and the process goes on.
func TestReportAndAFailedCommit(t *testing.T) {
	f := newFedFake(t)
	entries := []*im.Relation{{Kind: im.RelationKind_RELATION_FRIEND, Ver: 2, UserId: "zoe", State: &im.RelationState{}}, kicked(3, 5, 4)}
	feedOf(t, f, entries...)
	d := dial(t, fakeConfig(t, f))
	d.friendList()
	l := <-f.links
	d.WaitQuiet()
	d.settled()
	pulls := make(chan bool, 10)
	f.answer(im.Method_PULL, func(*fakeLink, *im.Frame) { pulls <- true })
	l.push(pushed{im.Method_HEAD, groupHead("g", 5, 4, true)})
	<-pulls
	logsOf(t, f)
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, &im.HeadsReply{Cursor: 9, Heads: []*im.Head{groupHead("g", 5, 4, true)}})
	})
	f.mu.Lock()
	f.feed = 3
	f.mu.Unlock()
	if err := d.FailCommits(1); err != nil {
		t.Fatal(err)
	}
	l.push(pushed{im.Method_FED, &im.FeedPush{From: 2, Entries: entries}})
	<-f.links // it has connected again
	report := "new report 4 of g by ben"
	d.until(t, "the report", func([]event) bool { return slices.Contains(d.groupWords(), report) })
	d.WaitQuiet()
	d.settled()
	var told []string
	for _, w := range d.groupWords() {
		if strings.HasPrefix(w, "new ") {
			told = append(told, w)
		}
	}
	wantTexts(t, "heard", told, "new of 5", "new of 5", "new of 5", "new of 5", report)
	if n := len(d.of("friends_added")); n != 1 {
		t.Errorf("the friend was told of %d times", n)
	}
}
