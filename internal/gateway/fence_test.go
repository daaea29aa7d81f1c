package gateway

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/hook"
)

// TestOldCallIsFenced: a call of a connection that has ended is over before the device's next one is logged in: it cannot undo what the device does then.
// Those behind it are not made.
func TestOldCallIsFenced(t *testing.T) {
	for _, closed := range []bool{false, true} {
		asked, hold := make(chan struct{}, 10), make(chan struct{})
		n := start(t, options{chat: chat.Config{Hooks: hook.Set{SnsPrevFriendAdd: func(context.Context, *hook.SnsPrevFriendAdd, hook.Source) hook.SnsPrevFriendAddVerdict {
			asked <- struct{}{}
			<-hold
			return hook.SnsPrevFriendAddVerdict{}
		}}}})
		release := sync.OnceFunc(func() { close(hold) })
		t.Cleanup(release)
		n.login(device{user: "bob"})
		n.login(device{user: "cid"})
		d := device{user: "alice", device: "pc"}
		a := n.login(d)
		a.begin(im.Method_ADD_FRIEND, &im.AddFriendRequest{UserId: "bob"})
		<-asked
		a.begin(im.Method_BLOCK, &im.UsersRequest{UserIds: []string{"cid"}})
		until(t, "the second call waits", func() bool { return n.waitingCalls("alice") == 1 })
		if closed {
			a.ws.CloseNow()
			until(t, "the connection is gone", func() bool { return n.stateOf("alice", "pc") == gone })
		}
		d.resume, d.generation = true, a.reply.Generation
		b := n.dial()
		b.begin(im.Method_LOGIN, d.request())
		if !closed {
			until(t, "the old connection is fenced", func() bool { return n.stateOf("alice", "pc") == fenced })
		}
		until(t, "the second call is dropped", func() bool { return n.waitingCalls("alice") == 0 })
		for i := range 8 { // meanwhile
			n.login(device{user: fmt.Sprint("other", i)}).ws.CloseNow()
		}
		if len(b.in) > 0 {
			t.Errorf("closed %v: the login was answered before the call", closed)
		}
		release()
		if f := b.await(1); f.Code != 0 {
			t.Fatalf("answered %d", f.Code)
		}
		r := &im.CheckFriendsReply{}
		b.call(im.Method_CHECK_FRIENDS, &im.UsersRequest{UserIds: []string{"bob"}}, 0, r)
		if r.Results[0].Relation != 1 {
			t.Errorf("closed %v: %v", closed, r)
		}
		whole := &im.RelationsReply{}
		b.call(im.Method_RELATIONS, &im.RelationsRequest{}, 0, whole)
		for _, x := range whole.Items {
			if x.Kind == im.RelationKind_RELATION_BLOCKED {
				t.Errorf("closed %v: the call behind it was made: %v", closed, x)
			}
		}
	}
}

// waitingCalls returns how many calls of a user's connections are not being made yet.
func (n *node) waitingCalls(user string) (waiting int) {
	u, err := n.rules.Account(n.t.Context(), user)
	if err != nil {
		n.t.Fatal(err)
	}
	sh := n.shardOf(u.UID)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for _, all := range [][]*session{sh.live[u.UID], sh.closing[u.UID]} {
		for _, s := range all {
			s.mu.Lock()
			waiting += len(s.work)
			s.mu.Unlock()
		}
	}
	return waiting
}
