package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// two starts two servers on one PostgreSQL.
func two(t *testing.T) (one, other *node) {
	dsn := pgtest.DSN(t)
	return start(t, options{dsn: dsn}), start(t, options{dsn: dsn})
}

// entriesSoFar are the entries that were pushed so far.
func (n *node) entriesSoFar(c *conn) []string {
	c.t.Helper()
	n.quietRooms()
	return slices.DeleteFunc(n.toldSoFar(c), func(s string) bool { return strings.HasPrefix(s, "head") || strings.HasPrefix(s, "report") })
}

// quietRooms waits until no members are being read and everything that was committed has been delivered.
func (n *node) quietRooms() {
	told := make(chan struct{})
	n.store.Deliver(0, func() { close(told) })
	<-told
	until(n.t, "the members have been read", func() bool {
		n.rooms.mu.RLock()
		defer n.rooms.mu.RUnlock()
		return len(n.rooms.readings) == 0
	})
}

// TestMembersChangeAtAnotherServer: an event of a group goes to those who are members where it was committed, whichever server has made them so: after a kick at
// one server a message that is sent at the other one is in no byte for the kicked user's connection there; a user who joined at one gets it, from their joining on.
func TestMembersChangeAtAnotherServer(t *testing.T) {
	one, other := two(t)
	ann, bob, carol, dan := one.member("ann"), other.member("bob"), other.member("carol"), other.member("dan")
	bobs := one.login(device{user: "bob", device: "at one", platform: im.Platform_PLATFORM_PAD, groups: true})
	bobs.id = 1 << 20 // so that the keys of bob's messages differ
	epoch := ann.create("g", public, "bob", "dan")
	bob.say("g", "from bob", 0)
	if got := other.entriesSoFar(dan); !slices.Equal(got, []string{"2 bob: from bob"}) {
		t.Errorf("dan, whom another server made a member, got %q", got)
	}
	ann.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("g"), UserIds: []string{"dan"}}, 0, nil)
	bob.say("g", "secret", 0)
	if got := other.entriesSoFar(dan); len(got) != 0 {
		t.Errorf("dan was removed at one server and gets from the other %q", got)
	}
	dan.groupLog("g", epoch, 4, 4, true, im.CodeNotMember)
	for _, f := range dan.log {
		if strings.Contains(string(f.Body), "secret") {
			t.Errorf("dan got %s with a message that is not for them", f.Method)
		}
	}
	ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("g"), AddOption: new(im.GroupAddOption_GROUP_ADD_OPTION_ANY)}, 0, nil)
	pad := one.login(device{user: "carol", device: "pad", platform: im.Platform_PLATFORM_PAD, groups: true})
	pad.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named("g")}, 0, nil)
	bob.say("g", "welcome", 0)
	if got := other.entriesSoFar(carol); !slices.Equal(got, []string{"6 bob: welcome"}) {
		t.Errorf("carol joined at one server and gets from the other %q", got)
	}
	// Again at this server, so that both take turns.
	carol.call(im.Method_QUIT_GROUP, named("g"), 0, nil)
	bobs.say("g", "without carol", 0)
	if got := one.entriesSoFar(pad); slices.Contains(got, "8 bob: without carol") {
		t.Errorf("carol left at the other server and gets %q", got)
	}
	bob.say("g", "still without", 0)
	if got := other.entriesSoFar(carol); len(got) != 0 {
		t.Errorf("carol has left and gets %q", got)
	}
}

// TestJoinsAtAnotherServerDuringStream: while a user joins and leaves at one server, what the other one pushes to them are entries of their memberships, each once
// and in order.
func TestJoinsAtAnotherServerDuringStream(t *testing.T) {
	one, other := two(t)
	ann, bob := one.member("ann"), other.member("bob")
	speaker := other.login(device{user: "ann", device: "there", platform: im.Platform_PLATFORM_PAD, groups: true})
	epoch := ann.create("busy", work)
	const rounds = 40
	var last uint64
	talk := func(words string) {
		for range 4 {
			req := speaker.request("x", words)
			req.Conv = groupKey("busy")
			last = speaker.begin(im.Method_SEND, req)
		}
	}
	for i := range rounds {
		talk(fmt.Sprint("in ", i))
		ann.call(im.Method_INVITE, &im.GroupMembersRequest{Group: named("busy"), UserIds: []string{"bob"}}, 0, nil)
		talk(fmt.Sprint("out ", i))
		ann.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named("busy"), UserIds: []string{"bob"}}, 0, nil)
	}
	speaker.await(last)
	pushed := other.entriesSoFar(bob)
	cv, err := other.store.Group(t.Context(), "busy")
	if err != nil {
		t.Fatal(err)
	}
	pulled := bob.groupLog("busy", epoch, 1, cv.Seq, false, 0)
	next := 0
	for _, e := range pushed {
		i := slices.Index(pulled[next:], e)
		if i < 0 {
			t.Fatalf("%q was pushed, out of order or to somebody who was no member then; pulled %q", e, pulled)
		}
		next += i + 1
	}
	if len(pushed) == 0 {
		t.Error("nothing was pushed: there was nothing to see")
	}
	t.Logf("%d of %d entries of the memberships were pushed", len(pushed), len(pulled))
}

// unreadable is a store that does not read members while bad is set.
type unreadable struct {
	chat.Store
	bad *atomic.Bool
}

func (s unreadable) InGroup(ctx context.Context, id chat.ConvID, uids []chat.UID) ([]chat.GroupOf, error) {
	if s.bad.Load() {
		return nil, errors.New("unreadable")
	}
	return s.Store.InGroup(ctx, id, uids)
}

// TestMembersCannotBeRead: if the members of a group cannot be read again, those who are known are made to ask, nobody gets the event, and the next event tries again.
func TestMembersCannotBeRead(t *testing.T) {
	dsn := pgtest.DSN(t)
	var bad atomic.Bool
	one, other := start(t, options{dsn: dsn}), start(t, options{dsn: dsn, wrap: func(s chat.Store) chat.Store { return unreadable{s, &bad} }})
	ann := one.member("ann")
	one.member("bob").create("g", work, "ann")
	carol, bob := other.member("carol"), other.login(device{user: "bob", device: "pad", platform: im.Platform_PLATFORM_PAD, groups: true})
	bad.Store(true)
	ann.call(im.Method_INVITE, &im.GroupMembersRequest{Group: named("g"), UserIds: []string{"carol"}}, 0, nil)
	bob.say("g", "lost", 0)
	other.quietRooms()
	bob.push(im.Method_BEHIND, nil)
	if got := other.entriesSoFar(carol); len(got) != 0 {
		t.Errorf("somebody who was not known gets %q", got)
	}
	bad.Store(false)
	bob.say("g", "found", 0)
	if got := other.entriesSoFar(carol); !slices.Equal(got, []string{"4 bob: found"}) {
		t.Errorf("after the store can be read again carol gets %q", got)
	}
}
