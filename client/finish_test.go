package client_test

import (
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
)

// headsAgain answers HEADS: a list with list, and what asks for a conversation again with again.
func headsAgain(t *testing.T, f *fake, list, again func(l *fakeLink, fr *im.Frame, req *im.HeadsRequest)) {
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		req := &im.HeadsRequest{}
		if err := req.UnmarshalVT(fr.Body); err != nil {
			t.Error(err)
		}
		if len(req.Only) > 0 {
			again(l, fr, req)
		} else {
			list(l, fr, req)
		}
	})
}

// knowsGroup returns a device that has three messages of the group g, and is closed.
func knowsGroup(t *testing.T, f *fake) *device {
	logsOf(t, f)
	d := dial(t, fakeConfig(t, f))
	d.friendList() // of a new device; what comes after it is told
	(<-f.links).push(pushed{im.Method_HEAD, groupHead("g", 5, 3, false)})
	d.until(t, "the log", func([]event) bool { return len(d.of("new")) == 3 })
	d.WaitQuiet()
	d.settled()
	d.Close()
	return d
}

// TestFinishAfterAHeldReport: during a login's sync a push shows that a group's id is another group's, so that its head is asked for again, and a report waits for
// what that shows. The end of the sync fires after all of it.
func TestFinishAfterAHeldReport(t *testing.T) {
	f := newFedFake(t)
	d := knowsGroup(t, f)
	f.feed = 2
	feedOf(t, f, kicked(2, 6, 4))
	lists, held := make(chan func(), 10), make(chan func(), 10)
	headsAgain(t, f, func(l *fakeLink, fr *im.Frame, _ *im.HeadsRequest) {
		lists <- func() {
			l.push(pushed{im.Method_ENTRY, &im.EntryPush{Conv: groupHead("g", 6, 4, false).Conv, Epoch: 6, Entry: fromBen(4, "of 6")}})
			l.reply(fr, &im.HeadsReply{Cursor: 2})
		}
	}, func(l *fakeLink, fr *im.Frame, _ *im.HeadsRequest) {
		held <- func() { l.reply(fr, &im.HeadsReply{Heads: []*im.Head{groupHead("g", 6, 4, true)}}) }
	})
	d = open(t, d.cfg)
	if err := d.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	(<-lists)()
	answer := <-held
	d.Beat()
	d.Beat()
	if len(d.of("finish")) > 0 {
		t.Error("the sync has ended while a head is asked for again")
	}
	answer()
	d.until(t, "the end of the sync", func([]event) bool { return len(d.of("finish")) > 0 })
	var got []string
	for _, e := range d.of("new", "finish") {
		got = append(got, e.kind+" "+e.text)
	}
	wantTexts(t, "fired", got[max(len(got)-3, 0):], "new of 6", "new report 4 of g by ben", "finish ")
}

// TestHeadRefusedAgain: a head that is asked for again, and refused, is asked for with another sync after a pause, from where the last complete one was, until it
// is there. The end of the login's sync does not wait for that.
func TestHeadRefusedAgain(t *testing.T) {
	f := newFake(t)
	d := knowsGroup(t, f)
	type list struct {
		at     time.Time
		cursor int64
	}
	lists := make(chan list, 100)
	refused := 0
	headsAgain(t, f, func(l *fakeLink, fr *im.Frame, req *im.HeadsRequest) {
		lists <- list{time.Now(), req.Cursor}
		l.reply(fr, &im.HeadsReply{Cursor: 1 << 60, Heads: []*im.Head{groupHead("g", 5, 2, false)}})
	}, func(l *fakeLink, fr *im.Frame, _ *im.HeadsRequest) {
		if refused++; refused < 3 {
			l.refuse(fr, im.CodeServerInternal)
			return
		}
		l.reply(fr, &im.HeadsReply{Heads: []*im.Head{groupHead("g", 5, 4, false)}})
	})
	d = open(t, d.cfg)
	if err := d.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	d.until(t, "the end of the sync", func([]event) bool { return len(d.of("finish")) > 0 })
	d.until(t, "the message", func([]event) bool { return len(d.of("new")) == 1 })
	first, second, third := <-lists, <-lists, <-lists
	if second.cursor != first.cursor || third.cursor != first.cursor {
		t.Errorf("the syncs began at %d, %d and %d", first.cursor, second.cursor, third.cursor)
	}
	if a, b := second.at.Sub(first.at), third.at.Sub(second.at); a < 900*time.Millisecond || b < 1900*time.Millisecond {
		t.Errorf("pauses of %s and %s", a, b)
	}
}

// TestOnlineOnlyWithoutEnd: an application that takes no events has a limited number of messages waiting that are in no log, however many come. It gets those that
// come when it takes events again.
func TestOnlineOnlyWithoutEnd(t *testing.T) {
	f := newFake(t)
	f.answer(im.Method_JOIN_GROUP, func(l *fakeLink, fr *im.Frame) { l.reply(fr, &im.JoinGroupReply{Epoch: 7, HeartbeatSeconds: 3600}) })
	d := dial(t, fakeConfig(t, f))
	l := <-f.links
	d.joinGroup("hall")
	online := func(n int) []pushed {
		e := fromBen(0, "online")
		e.Random = uint32(n)
		return []pushed{{im.Method_ENTRY, &im.EntryPush{Conv: ben(), Epoch: 5, Entry: e}},
			{im.Method_LIVE, &im.EntryPush{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: "hall"}, Epoch: 7, Entry: fromBen(uint64(n+1), "said")}}}
	}
	hold := make(chan struct{})
	d.mu.Lock()
	d.hold = hold
	d.mu.Unlock()
	const pushes = 5000
	for n := 0; n < pushes; {
		var some []pushed
		for range 500 {
			some = append(some, online(n)...)
			n++
		}
		l.push(some...)
	}
	d.Beat()
	d.Beat()
	if n := d.Untold(); n > 1100 {
		t.Errorf("%d of %d wait", n, 2*pushes)
	}
	d.mu.Lock()
	d.hold = nil
	d.mu.Unlock()
	close(hold)
	d.WaitQuiet()
	eventually(t, "what waited", func() bool { return d.Untold() == 0 })
	before := len(d.of("new"))
	l.push(online(pushes)...)
	d.until(t, "what comes then", func([]event) bool { return len(d.of("new")) == before+2 })
}

// TestGroupThatCannotBeRead: information about groups that cannot be read, because a call is refused or for one group, is read again after growing pauses, without
// another sync. One group does not keep another from being read.
func TestGroupThatCannotBeRead(t *testing.T) {
	f := newFake(t)
	lists := make(chan bool, 100)
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		lists <- true
		l.reply(fr, &im.HeadsReply{Cursor: 1, Heads: []*im.Head{named("a"), named("b")}})
	})
	asked := map[string]chan time.Time{"a": make(chan time.Time, 100), "b": make(chan time.Time, 100)}
	failing := map[string]int{"a": 1, "b": 2}
	f.answer(im.Method_GROUPS, func(l *fakeLink, fr *im.Frame) {
		req := &im.GroupsRequest{}
		if err := req.UnmarshalVT(fr.Body); err != nil {
			t.Error(err)
		}
		reply := &im.GroupsReply{}
		for _, id := range req.GroupIds {
			asked[id] <- time.Now()
			r := &im.GetGroupInfoResult{Info: &im.GroupDetailInfo{GroupId: id, GroupName: "name of " + id, InfoSeq: 1}}
			if failing[id]--; failing[id] >= 0 {
				r = &im.GetGroupInfoResult{Code: im.CodeServerInternal, Info: &im.GroupDetailInfo{GroupId: id}}
			}
			reply.Results, reply.Epochs = append(reply.Results, r), append(reply.Epochs, 5)
		}
		if len(req.GroupIds) == 1 && req.GroupIds[0] == "a" && failing["a"] >= 0 {
			l.refuse(fr, im.CodeServerInternal)
			return
		}
		l.reply(fr, reply)
	})
	d := dial(t, fakeConfig(t, f))
	name := func(id string) string { return d.groupConv(id).GetShowName() }
	a1, a2 := <-asked["a"], <-asked["a"]
	eventually(t, "what can be read", func() bool { return name("a") == "name of a" })
	if name("b") != "b" {
		t.Errorf("b is called %q", name("b"))
	}
	b1, b2, b3 := <-asked["b"], <-asked["b"], <-asked["b"]
	eventually(t, "the other one", func() bool { return name("b") == "name of b" })
	if a, b, c := a2.Sub(a1), b2.Sub(b1), b3.Sub(b2); a < 900*time.Millisecond || b < 900*time.Millisecond || c < 1900*time.Millisecond {
		t.Errorf("pauses of %s, %s and %s", a, b, c)
	}
	if n := len(lists); n != 1 {
		t.Errorf("%d syncs", n)
	}
}

// named is the head of a group of which there is information.
func named(id string) *im.Head {
	h := groupHead(id, 5, 0, false)
	h.InfoSeq = 1
	return h
}
