package gateway

import (
	"context"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/hook"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// program is the app's program of a before-hook: each question waits for the test to answer it.
type program[A any] chan chan hook.Verdict[A]

func (p program[A]) ask() hook.Verdict[A] {
	answer := make(chan hook.Verdict[A])
	p <- answer
	return <-answer
}

// onCopies runs a test of a call that bob's client makes on a connection, and again on the next one while the first copy is under way: at one server, where the next one
// is that of another device with the same run, so that it need not wait for the first; and at two servers.
func onCopies(t *testing.T, o options, test func(t *testing.T, n *node, bob *conn, again func() *conn)) {
	bob := device{user: "bob", groups: true, run: 1}
	onBoth(t, o, func(t *testing.T, n *node) {
		first := n.login(bob)
		test(t, n, first, func() *conn {
			c := n.login(device{user: "bob", device: "pad", platform: im.Platform_PLATFORM_PAD, groups: true, run: 1})
			c.id, c.made = first.id, first.made
			return c
		})
	})
	t.Run("two servers", func(t *testing.T) {
		o.dsn = pgtest.DSN(t)
		n, other := start(t, o), start(t, o)
		first := n.login(bob)
		test(t, n, first, func() *conn {
			c := other.login(device{user: "bob", groups: true, run: 1, resume: true, generation: first.reply.Generation})
			c.id, c.made = first.id, first.made
			return c
		})
	})
}

// unasked sends a call again that has its answer: the program is not asked about it.
func unasked[A any](c *conn, p program[A], m im.Method, req im.Body) *im.Frame {
	c.t.Helper()
	answered, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		select {
		case answer := <-p:
			c.t.Errorf("the program is asked about a %s that has its answer", m)
			answer <- hook.Verdict[A]{}
		case <-answered:
		}
	}()
	f := c.resend(m, req)
	close(answered)
	<-over
	return f
}

// same checks that a copy of a call has the answer of another one.
func same(t *testing.T, what string, got, want *im.Frame) {
	t.Helper()
	if got.Code != want.Code || got.Desc != want.Desc || string(got.Body) != string(want.Body) {
		t.Errorf("%s is answered %d (%s) %x, and another copy was answered %d (%s) %x", what, got.Code, got.Desc, got.Body, want.Code, want.Desc, want.Body)
	}
}

// TestRefusedUnderWay: the program refuses one copy of an add or of an answer and allows the other. Both have the result of the copy that came first, and what it did is
// what is done.
func TestRefusedUnderWay(t *testing.T) {
	type answer = hook.SnsPrevFriendAddAnswer
	refusal := hook.Verdict[answer]{Answer: answer{ResultItem: []hook.SnsPrevFriendAddAnswerResultItem{{To_Account: "ann", ResultCode: 38123, ResultInfo: "not today"}}}}
	for _, x := range []struct {
		name  string
		m     im.Method
		req   im.Body
		first func(ann, bob *conn)
		hooks func(p program[answer]) hook.Set
	}{
		{"add", im.Method_ADD_FRIEND, &im.AddFriendRequest{UserId: "ann", Both: true}, func(_, _ *conn) {}, func(p program[answer]) hook.Set {
			return hook.Set{SnsPrevFriendAdd: func(context.Context, *hook.SnsPrevFriendAdd, hook.Source) hook.SnsPrevFriendAddVerdict {
				return p.ask()
			}}
		}},
		{"answer", im.Method_ANSWER_REQUEST, &im.AnswerRequestRequest{UserId: "ann", Action: 1}, func(ann, bob *conn) {
			bob.asks(im.ProfileAddPermission_PROFILE_ADD_PERMISSION_NEED_CONFIRM)
			ann.befriend("bob")
		}, func(p program[answer]) hook.Set {
			return hook.Set{SnsPrevFriendResponse: func(context.Context, *hook.SnsPrevFriendResponse, hook.Source) (v hook.SnsPrevFriendResponseVerdict) {
				for _, item := range p.ask().Answer.ResultItem {
					v.Answer.ResultItem = append(v.Answer.ResultItem, hook.SnsPrevFriendResponseAnswerResultItem(item))
				}
				return v
			}}
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			p := make(program[answer], 10)
			onCopies(t, options{chat: chat.Config{Hooks: x.hooks(p)}}, func(t *testing.T, n *node, bob *conn, again func() *conn) {
				ann := n.member("ann")
				x.first(ann, bob)
				id := bob.begin(x.m, x.req)
				first := <-p
				back := again()
				back.write(back.frame(id, x.m, x.req, true))
				second := <-p
				before := n.stored([]string{"ann", "bob"}, nil)
				second <- refusal
				answered := back.await(id)
				var r im.FriendReply
				if answered.Code != 0 || r.UnmarshalVT(answered.Body) != nil || r.Code != 38123 || r.Desc != "not today" || r.Identifier != "ann" {
					t.Errorf("the refused copy is answered %d (%s) %v", answered.Code, answered.Desc, &r)
				}
				first <- hook.Verdict[answer]{}
				same(t, "the first copy", bob.await(id), answered)
				same(t, "a third copy", unasked(back, p, x.m, x.req), answered)
				if after := n.stored([]string{"ann", "bob"}, nil); after != before {
					t.Fatalf("what was refused changes\n%s\nto\n%s", before, after)
				}

				// Of a call whose first copy was refused the others have the refusal, whatever the program would answer.
				id = back.begin(x.m, x.req)
				first = <-p
				first <- refusal
				answered = back.await(id)
				same(t, "a copy of a refused call", unasked(back, p, x.m, x.req), answered)
				if after := n.stored([]string{"ann", "bob"}, nil); after != before {
					t.Errorf("what was refused changes\n%s\nto\n%s", before, after)
				}
			})
		})
	}
}

// TestRefusedBeforeFirst: a call that is sent again is refused, by a rule or by the program, while its first copy waits for the program, which then allows that. Nobody
// joins: the first copy and all later ones have the refusal.
func TestRefusedBeforeFirst(t *testing.T) {
	type answer = hook.Nothing
	p := make(program[answer], 10)
	o := options{chat: chat.Config{Hooks: hook.Set{
		GroupBeforeApplyJoinGroup: func(context.Context, *hook.GroupBeforeApplyJoinGroup, hook.Source) hook.GroupBeforeApplyJoinGroupVerdict {
			return p.ask()
		},
	}}}
	const m = im.Method_JOIN_GROUP
	join := &im.JoinGroupRequest{Group: named("g")}
	in := func(n *node) int64 {
		n.t.Helper()
		cv, err := n.store.Group(n.t.Context(), "g")
		if err != nil {
			n.t.Fatal(err)
		}
		return int64(cv.Members)
	}
	own := hook.Verdict[answer]{Err: im.Errorf(10123, "not today")}
	t.Run("rule", func(t *testing.T) {
		onCopies(t, o, func(t *testing.T, n *node, bob *conn, again func() *conn) {
			ann := n.member("ann")
			ann.create("g", meeting)
			option := func(o im.GroupAddOption) {
				did(ann, im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("g"), AddOption: &o})
			}
			id := bob.begin(m, join)
			first := <-p
			option(im.GroupAddOption_GROUP_ADD_OPTION_FORBID)
			back := again()
			refused := back.resend(m, join)
			if refused.Code == 0 || refused.Desc == "" {
				t.Fatalf("a group that nobody may join answers %d", refused.Code)
			}
			option(im.GroupAddOption_GROUP_ADD_OPTION_ANY)
			first <- hook.Verdict[answer]{}
			same(t, "the first copy", bob.await(id), refused)
			same(t, "a third copy", unasked(back, p, m, join), refused)
			if got := in(n); got != 1 {
				t.Errorf("the group has %d members", got)
			}
		})
	})
	t.Run("program", func(t *testing.T) {
		onCopies(t, o, func(t *testing.T, n *node, bob *conn, again func() *conn) {
			n.member("ann").create("g", meeting)
			id := bob.begin(m, join)
			first := <-p
			back := again()
			back.write(back.frame(id, m, join, true))
			second := <-p
			second <- own
			refused := back.await(id)
			if refused.Code != 10123 {
				t.Errorf("the refused copy is answered %d", refused.Code)
			}
			first <- hook.Verdict[answer]{}
			same(t, "the first copy", bob.await(id), refused)
			same(t, "a third copy", unasked(back, p, m, join), refused)
			if got := in(n); got != 1 {
				t.Errorf("the group has %d members", got)
			}
		})
	})
	t.Run("after the first", func(t *testing.T) {
		onCopies(t, o, func(t *testing.T, n *node, bob *conn, again func() *conn) {
			n.member("ann").create("g", meeting)
			id := bob.begin(m, join)
			first := <-p
			back := again()
			back.write(back.frame(id, m, join, true))
			second := <-p
			first <- hook.Verdict[answer]{}
			made := bob.await(id)
			if made.Code != 0 {
				t.Errorf("the first copy is answered %d (%s)", made.Code, made.Desc)
			}
			second <- own
			same(t, "the copy that is refused after it", back.await(id), made)
			same(t, "a third copy", unasked(back, p, m, join), made)
			if got := in(n); got != 2 {
				t.Errorf("the group has %d members", got)
			}
		})
	})
	// A failure of the server is no refusal: what the first copy does counts.
	t.Run("failure", func(t *testing.T) {
		var failing *interrupted
		o := o
		o.wrap = func(s chat.Store) chat.Store {
			failing = &interrupted{Store: s, rows: 2}
			failing.over.Store(true)
			return failing
		}
		onBoth(t, o, func(t *testing.T, n *node) {
			n.member("ann").create("g", meeting)
			bob := n.login(device{user: "bob", groups: true, run: 1})
			id := bob.begin(m, join)
			first := <-p
			pad := n.login(device{user: "bob", device: "pad", platform: im.Platform_PLATFORM_PAD, groups: true, run: 1})
			pad.id, pad.made = bob.id, bob.made
			failing.over.Store(false)
			pad.write(pad.frame(id, m, join, true))
			second := <-p
			second <- hook.Verdict[answer]{}
			if f := pad.await(id); f.Code != im.CodeServerInternal {
				t.Errorf("the copy that fails is answered %d (%s)", f.Code, f.Desc)
			}
			first <- hook.Verdict[answer]{}
			made := bob.await(id)
			if made.Code != 0 {
				t.Errorf("the first copy is answered %d (%s)", made.Code, made.Desc)
			}
			same(t, "a third copy", unasked(pad, p, m, join), made)
			if got := in(n); got != 2 {
				t.Errorf("the group has %d members", got)
			}
		})
	})
}
