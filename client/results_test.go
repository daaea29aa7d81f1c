package client_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// deleted makes f1 to f5 no friends any more, without a push, and returns the push and the reply to the call.
func (f *friendFeed) deleted() (push *im.FeedPush, reply *im.FriendResults) {
	f.mu.Lock()
	link := f.link
	f.link = nil
	from := len(f.log)
	f.mu.Unlock()
	reply = &im.FriendResults{}
	for _, name := range firstFive {
		f.change(name, "", true)
		reply.Results = append(reply.Results, &im.FriendResult{Identifier: name})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.link = link
	reply.Feed = uint64(len(f.log))
	return &im.FeedPush{From: uint64(from) + 1, Entries: f.log[from:]}, reply
}

var firstFive = []string{"f1", "f2", "f3", "f4", "f5"}

func fed(p *im.FeedPush) pushed { return pushed{im.Method_FED, p} }

// The result of a change comes when the device has all entries of it, and before any event of it, however the entries come: a list that is read right
// after the result has the change.
func TestResultHasTheChange(t *testing.T) {
	onePush := func(f *friendFeed, l *fakeLink, fr *im.Frame) {
		push, reply := f.deleted()
		l.reply(fr, reply)
		l.push(fed(push))
	}
	var again atomic.Bool
	for name, c := range map[string]struct {
		call func(f *friendFeed, l *fakeLink, fr *im.Frame)
		// late: the result need not have the change, because the device cannot get it.
		late  bool
		limit time.Duration
		do    func(d *device)
	}{
		"one push": {call: onePush},
		"a push for each": {call: func(f *friendFeed, l *fakeLink, fr *im.Frame) {
			push, reply := f.deleted()
			l.reply(fr, reply)
			for i, e := range push.Entries {
				l.push(fed(&im.FeedPush{From: push.From + uint64(i), Entries: []*im.Relation{e}}))
			}
		}},
		"pushes with others between": {call: func(f *friendFeed, l *fakeLink, fr *im.Frame) {
			push, reply := f.deleted()
			l.reply(fr, reply)
			l.push(fed(&im.FeedPush{From: push.From, Entries: push.Entries[:2]}))
			f.change("f9", "", false) // before what is missing: it has to be pulled
			l.push(fed(&im.FeedPush{From: push.From + 2, Entries: push.Entries[2:]}))
		}},
		"no push": {call: func(f *friendFeed, l *fakeLink, fr *im.Frame) {
			_, reply := f.deleted()
			l.reply(fr, reply)
		}},
		"a cut behind the reply": {call: func(f *friendFeed, l *fakeLink, fr *im.Frame) {
			_, reply := f.deleted()
			l.reply(fr, reply)
			l.ws.CloseNow()
		}},
		"a cut among the pushes": {call: func(f *friendFeed, l *fakeLink, fr *im.Frame) {
			push, reply := f.deleted()
			l.reply(fr, reply)
			l.push(fed(&im.FeedPush{From: push.From, Entries: push.Entries[:2]}))
			l.ws.CloseNow()
		}},
		"a cut, and the feed is cut off": {call: func(f *friendFeed, l *fakeLink, fr *im.Frame) {
			_, reply := f.deleted()
			f.cut(reply.Feed, nil)
			l.reply(fr, reply)
			l.ws.CloseNow()
		}},
		"the reply is lost": {call: func(f *friendFeed, l *fakeLink, fr *im.Frame) {
			if !fr.Resent {
				f.deleted()
				l.ws.CloseNow()
				return
			}
			_, reply := f.deleted()
			l.reply(fr, reply)
		}},
		"the change is made on the next connection, before the reply": {call: func(f *friendFeed, l *fakeLink, fr *im.Frame) {
			if !fr.Resent {
				l.ws.CloseNow()
				return
			}
			push, reply := f.deleted()
			l.push(fed(push))
			l.reply(fr, reply)
		}},
		"the connection ends twice": {call: func(f *friendFeed, l *fakeLink, fr *im.Frame) {
			if fr.Resent && again.CompareAndSwap(false, true) || !fr.Resent {
				l.ws.CloseNow()
				return
			}
			onePush(f, l, fr)
		}},
		"a server that names no number": {late: true, call: func(f *friendFeed, l *fakeLink, fr *im.Frame) {
			push, reply := f.deleted()
			reply.Feed = 0
			l.reply(fr, reply)
			l.push(fed(push))
		}},
		"a number that cannot be": {late: true, call: func(f *friendFeed, l *fakeLink, fr *im.Frame) {
			push, reply := f.deleted()
			reply.Feed = 1 << 63
			l.reply(fr, reply)
			l.push(fed(push))
		}},
		"the server has lost the change": {late: true, call: func(f *friendFeed, l *fakeLink, fr *im.Frame) {
			push, reply := f.deleted()
			reply.Feed += 7
			l.reply(fr, reply)
			l.push(fed(push))
		}},
		"the feed cannot be read": {late: true, limit: 1500 * time.Millisecond, call: func(f *friendFeed, l *fakeLink, fr *im.Frame) {
			f.answer(im.Method_FEED, func(*fakeLink, *im.Frame) {})
			_, reply := f.deleted()
			l.reply(fr, reply)
		}},
		"the feed is refused": {late: true, call: func(f *friendFeed, l *fakeLink, fr *im.Frame) {
			pull := f.on[im.Method_FEED]
			f.answer(im.Method_FEED, func(l *fakeLink, fr *im.Frame) {
				f.answer(im.Method_FEED, pull)
				l.refuse(fr, im.CodeServerInternal)
			})
			_, reply := f.deleted()
			l.reply(fr, reply)
		}},
		"the commit fails": {late: true, call: onePush, do: func(d *device) { d.FailCommits(1) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFriendFeed(t)
			for _, name := range append([]string{"f6", "f7"}, firstFive...) {
				f.change(name, "", false)
			}
			cfg := fakeConfig(t, f.fake)
			cfg.Limits.Call = c.limit
			d := dial(t, cfg)
			f.answer(im.Method_DELETE_FRIENDS, func(l *fakeLink, fr *im.Frame) {
				if c.do != nil {
					c.do(d)
				}
				c.call(f, l, fr)
			})
			d.Friends().DeleteFunc(firstFive, false, func(rs []*im.FriendResult, err error) {
				list, err2 := d.Friends().List(within(t))
				has := err2 == nil && !slices.ContainsFunc(list, func(p *im.FriendProfile) bool { return slices.Contains(firstFive, p.Identifier) })
				if err != nil && name != "the commit fails" || err2 != nil || !has && !c.late {
					t.Errorf("the result is %v, %v, and then the friends are %v, %v", rs, err, list, err2)
				}
				d.add(event{kind: "result"})
			})
			d.until(t, "the result", func([]event) bool { return len(d.of("result")) > 0 })
			if name == "the feed cannot be read" {
				return
			}
			want := f.list()
			eventually(t, "the list", func() bool { want = f.list(); return slices.Equal(d.friendList(), want) })
			d.settled()
			if events := d.of("result", "friends_deleted"); events[0].kind != "result" || len(d.of("result")) != 1 {
				t.Errorf("the events are\n%s", list(events))
			}
			got := slices.DeleteFunc(shortFriends(d.heard()), func(s string) bool { return s == "added f9" })
			slices.Sort(got)
			if want := []string{"deleted f1", "deleted f2", "deleted f3", "deleted f4", "deleted f5"}; !slices.Equal(got, want) {
				t.Errorf("heard was %q", got)
			}
		})
	}
}

// A logout, or the end of the client, completes a call whose result waits.
func TestResultAtTheEnd(t *testing.T) {
	for name, end := range map[string]func(d *device){
		"logout": func(d *device) { d.Logout(within(d.t)) },
		"close":  func(d *device) { d.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFriendFeed(t)
			f.change("f1", "", false)
			d := dial(t, fakeConfig(t, f.fake))
			f.answer(im.Method_FEED, func(*fakeLink, *im.Frame) {})
			f.answer(im.Method_DELETE_FRIENDS, func(l *fakeLink, fr *im.Frame) {
				_, reply := f.deleted()
				l.reply(fr, reply)
			})
			pulls := make(chan bool, 1)
			f.answer(im.Method_FEED, func(*fakeLink, *im.Frame) { pulls <- true })
			done := make(chan error, 1)
			d.Friends().DeleteFunc(firstFive, false, func(_ []*im.FriendResult, err error) { done <- err })
			select {
			case <-pulls: // the reply is there
			case err := <-done:
				t.Fatal("the result came without the feed:", err)
			}
			end(d)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// What a device reads right after one of its changes has the change, on a real server.
func TestReadAfterWrite(t *testing.T) {
	s := imtest.Start(t)
	dial(t, config(t, s, "bob"))
	ann := dial(t, config(t, s, "ann"))
	other := dial(t, phone(t, s, "ann"))
	friends := func() (out []*im.FriendProfile) {
		t.Helper()
		out, err := ann.Friends().List(within(t))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for i := range 50 {
		remark := fmt.Sprint("remark ", i)
		r, err := ann.Friends().Add(within(t), &im.AddFriendRequest{UserId: "bob", Remark: remark, GroupName: "work"})
		if result(t, r, err, 0); len(friends()) != 1 || friends()[0].Remark != remark {
			t.Fatalf("after the add the friends are %v", friends())
		}
		if groups, err := ann.Friends().Groups(within(t), nil); err != nil || len(groups) != 1 || groups[0].Count != 1 {
			t.Fatalf("after the add the friend groups are %v, %v", groups, err)
		}
		if err := ann.Friends().Update(within(t), "bob", &im.FriendProfileItem{Remark: new("B")}); err != nil || friends()[0].Remark != "B" {
			t.Fatalf("after the change the friends are %v, %v", friends(), err)
		}
		if err := ann.Friends().RenameGroup(within(t), "work", "job"); err != nil || !slices.Equal(friends()[0].GroupNameArray, []string{"job"}) {
			t.Fatalf("after another name of the group the friends are %v, %v", friends(), err)
		}
		if err := ann.Friends().DeleteGroups(within(t), []string{"job"}); err != nil || len(friends()[0].GroupNameArray) > 0 {
			t.Fatalf("after the end of the group the friends are %v, %v", friends(), err)
		}
		rs, err := ann.Friends().Block(within(t), []string{"bob"})
		results(t, rs, err, 0)
		if blocked, err := ann.Friends().Blacklist(within(t)); err != nil || len(blocked) != 1 || len(friends()) != 0 {
			t.Fatalf("after the block there are %v, %v and the friends %v", blocked, err, friends())
		}
		// The other device blocks again: what it is answered is that there is one, and it has it.
		rs, err = other.Friends().Block(within(t), []string{"bob"})
		results(t, rs, err, im.CodeFriendParameters)
		if blocked, err := other.Friends().Blacklist(within(t)); err != nil || len(blocked) != 1 {
			t.Fatalf("after the second block the other device has %v, %v", blocked, err)
		}
		rs, err = ann.Friends().Unblock(within(t), []string{"bob"})
		results(t, rs, err, 0)
		if blocked, err := ann.Friends().Blacklist(within(t)); err != nil || len(blocked) != 0 {
			t.Fatalf("after the end of the block there are %v, %v", blocked, err)
		}
		nick := "ann" + remark
		if err := ann.Profiles().SetSelf(within(t), &im.UserProfileItem{NickName: &nick}); err != nil {
			t.Fatal(err)
		}
		if own, err := ann.Profiles().Get(within(t), []string{"ann"}, false); err != nil || own[0].NickName != nick {
			t.Fatalf("after the change the profile is %v, %v", own, err)
		}
	}
}

// A call inside a callback gets its result, also while more events wait than the sync goes on with.
func TestResultInsideCallback(t *testing.T) {
	f := newFriendFeed(t)
	for _, name := range firstFive {
		f.change(name, "", false)
	}
	f.answer(im.Method_DELETE_FRIENDS, func(l *fakeLink, fr *im.Frame) {
		_, reply := f.deleted()
		l.reply(fr, reply)
	})
	var d *device
	done := make(chan error, 1)
	ready := make(chan bool)
	first := true
	d = openWith(t, fakeConfig(t, f.fake), func(ev *client.Events) {
		inner := *ev
		ev.FriendsAdded = func(names []string) {
			if first {
				first = false
				<-ready
				_, err := d.Friends().Delete(within(t), firstFive, false)
				done <- err
			}
			inner.FriendsAdded(names)
		}
	})
	d.login()
	d.friendList() // of a new device; what comes after it is told
	f.change("first", "", false)
	for i := range 2000 { // an event each: neighbours of another kind do not share a callback
		f.change("f9", "", i%2 == 1)
	}
	eventually(t, "events that wait", func() bool { return d.Untold() > 1000 })
	close(ready)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := d.friendList(); len(got) != 1 || got[0] != "first " {
		t.Errorf("the friends are %q", got)
	}
}
