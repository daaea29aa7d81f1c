package chat_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// held is what one of two users has with the other one.
type held struct{ friend, in, out, blocked bool }

// couple are two users, and what they should have with each other.
type couple struct {
	r      *relations
	who    [2]*friend
	has    [2]held
	permit [2]im.ProfileAddPermission
	// unknown counts the calls whose answer was that the server cannot tell.
	unknown int
}

// become makes o a friend of m, and with both m one of o, which ends the requests that asked for it.
func (c *couple) become(m, o int, both bool) {
	c.has[m].friend, c.has[m].out, c.has[o].in = true, false, false
	if both {
		c.has[o].friend, c.has[o].out, c.has[m].in = true, false, false
	}
}

func (c *couple) add(m int, both, forced bool) int32 {
	o := 1 - m
	mine, theirs := &c.has[m], &c.has[o]
	switch {
	case mine.blocked:
		return im.CodeBlockedBySelf
	case theirs.blocked:
		return im.CodeBlockedByPeer
	case mine.friend && (theirs.friend || !both):
		return im.CodeAlreadyFriends
	case !forced && c.permit[o] == nobody:
		return im.CodeAddDenied
	case !forced && c.permit[o] == approval && !(both && mine.in && theirs.out):
		mine.out, theirs.in = true, true
		return im.CodeWaitsForApproval
	}
	c.become(m, o, both)
	return 0
}

func (c *couple) answer(m int, action int32) int32 {
	o := 1 - m
	mine, theirs := &c.has[m], &c.has[o]
	switch {
	case !mine.in:
		return im.CodeNoSuchRequest
	case !theirs.out:
		mine.in = false
		return im.CodeNoSuchRequest
	case action == 2:
		mine.in, theirs.out = false, false
		return 0
	case mine.blocked:
		return im.CodeBlockedBySelf
	case theirs.blocked:
		return im.CodeBlockedByPeer
	}
	c.become(o, m, action == 1)
	return 0
}

func (c *couple) delete(m int, both bool) int32 {
	mine, theirs := &c.has[m].friend, &c.has[1-m].friend
	had := *mine || both && *theirs
	*mine, *theirs = false, *theirs && !both
	if !had {
		return im.CodeNotAFriend
	}
	return 0
}

func (c *couple) block(m int) int32 {
	if c.has[m].blocked {
		return im.CodeFriendParameters
	}
	c.has[m].blocked, c.has[m].in = true, false
	c.has[0].friend, c.has[1].friend = false, false
	return 0
}

func (c *couple) forget(m int, in, out bool) int32 {
	mine := &c.has[m]
	if !(in && mine.in || out && mine.out) {
		return im.CodeNoSuchRequest
	}
	mine.in, mine.out = mine.in && !in, mine.out && !out
	return 0
}

// step does something at random, as a user or as an operator for them. It returns the code of the call and the one that it should have, or the error of a
// server that does not know.
func (c *couple) step(rnd *rand.Rand) (what string, got, want int32, err error) {
	m := rnd.IntN(2)
	f, other := c.who[m], c.who[1-m].Name
	both, op := rnd.IntN(2) == 0, chat.Operator{Name: "administrator"}
	one := func(r interface{ GetCode() int32 }, e error) {
		if got, err = im.CodeOf(e), e; e == nil {
			got = r.GetCode()
		}
	}
	all := func(r *im.FriendResults, e error) {
		if got, err = im.CodeOf(e), e; e == nil {
			got = r.Results[0].Code
		}
	}
	users := &im.UsersRequest{UserIds: []string{other}, Both: both}
	switch n := rnd.IntN(12); n {
	case 0, 1:
		what, want = fmt.Sprint("adds ", both), c.add(m, both, false)
		one(call[*im.FriendReply](f, false, im.Method_ADD_FRIEND, &im.AddFriendRequest{UserId: other, Both: both}))
	case 2:
		what, want = fmt.Sprint("is added as a friend by force ", both), c.add(m, both, true)
		one(c.r.c.AddFriendAs(context.Background(), op, f.Name, &im.AddFriendRequest{UserId: other, Both: both}, true))
	case 3:
		what, want = fmt.Sprint("deletes ", both), c.delete(m, both)
		all(call[*im.FriendResults](f, false, im.Method_DELETE_FRIENDS, users))
	case 4:
		what, want = "an operator deletes", c.delete(m, both)
		all(c.r.c.DeleteFriendsAs(context.Background(), op, f.Name, users))
	case 5:
		what, want = "blocks", c.block(m)
		all(call[*im.FriendResults](f, false, im.Method_BLOCK, users))
	case 6:
		what, want = "an operator blocks", c.block(m)
		all(c.r.c.BlockAs(context.Background(), op, f.Name, users))
	case 7, 8:
		what, c.has[m].blocked = "unblocks", false
		all(call[*im.FriendResults](f, false, im.Method_UNBLOCK, users))
	case 9:
		action := int32(rnd.IntN(3))
		what, want = fmt.Sprint("answers ", action), c.answer(m, action)
		one(call[*im.FriendReply](f, false, im.Method_ANSWER_REQUEST, &im.AnswerRequestRequest{UserId: other, Action: action}))
	case 10:
		sent := rnd.IntN(2) == 0
		what, want = fmt.Sprint("forgets requests ", both, sent), c.forget(m, both || !sent, both || sent)
		all(call[*im.FriendResults](f, false, im.Method_DELETE_REQUESTS, &im.UsersRequest{UserIds: []string{other}, Both: both, Sent: sent}))
	default:
		p := im.ProfileAddPermission(1 + rnd.IntN(3))
		what = fmt.Sprint("permits ", p)
		if _, err = call[*im.VersionedProfile](f, false, im.Method_SET_PROFILE, &im.SetProfileRequest{Item: &im.UserProfileItem{AddPermission: &p}}); err == nil {
			c.permit[m] = p
		}
	}
	if im.CodeOf(err) != 0 {
		err = nil
	}
	return f.Name + " " + what, got, want, err
}

// stored reads what the two have with each other, and whether the flags of their conversation are that.
func (c *couple) stored(ctx context.Context) (has [2]held, permit [2]im.ProfileAddPermission, err error) {
	for m, f := range c.who {
		other := int64(c.who[1-m].UID)
		for kind, to := range map[im.RelationKind]*bool{
			im.RelationKind_RELATION_FRIEND: &has[m].friend, im.RelationKind_RELATION_REQUEST_IN: &has[m].in,
			im.RelationKind_RELATION_REQUEST_OUT: &has[m].out, im.RelationKind_RELATION_BLOCKED: &has[m].blocked,
		} {
			_, err := c.r.st.Relation(ctx, f.UID, kind, other)
			if *to = err == nil; err != nil && !errors.Is(err, chat.ErrNotFound) {
				return has, permit, err
			}
		}
		p, err := c.r.c.ProfileOf(ctx, f.Name)
		if err != nil {
			return has, permit, err
		}
		permit[m] = max(p.AddPermission, anybody)
	}
	return has, permit, nil
}

// play makes steps, and checks after each that the answer was true.
func (c *couple) play(rnd *rand.Rand, steps int, stepped chan<- struct{}) {
	ctx := context.Background()
	for range steps {
		stepped <- struct{}{}
		if rnd.IntN(20) == 0 { // a first message makes a conversation, at any moment
			c.r.st.C2C(ctx, c.who[0].UID, c.who[1].UID)
		}
		before := c.has
		what, got, want, err := c.step(rnd)
		if err == nil && got != want {
			c.r.Errorf("%s: got %d, want %d, with %+v", what, got, want, before)
			return
		}
		has, permit, readErr := c.stored(ctx)
		for readErr != nil {
			has, permit, readErr = c.stored(ctx)
		}
		if err != nil {
			c.unknown++
			if has == before {
				c.has = before
			}
			c.permit = permit
		}
		if has != c.has || permit != c.permit {
			c.r.Errorf("%s: %d, %v: there is %+v %v, and should be %+v %v", what, got, err, has, permit, c.has, c.permit)
			return
		}
	}
}

// Whatever two users and an operator do, in any order, over restarts and lost connections to the database: each answer is true, the flags of the
// conversation are what the lists say, and what was pushed, is pulled and is listed are the same.
func TestRelationsAtRandom(t *testing.T) {
	const pairs, steps = 8, 50
	rounds := soak.Pick(3, 20)
	// play calls disturb beside each round, with what gets a value after a step, and between after it.
	play := func(r *relations, disturb func(stepped <-chan struct{}), between func()) {
		var couples []*couple
		var all []*friend
		for i := range pairs {
			c := &couple{r: r, who: [2]*friend{r.user(fmt.Sprint("a", i)), r.user(fmt.Sprint("b", i))}, permit: [2]im.ProfileAddPermission{anybody, anybody}}
			couples, all = append(couples, c), append(all, c.who[:]...)
		}
		var unknown int
		for round := range rounds {
			var wg sync.WaitGroup
			stepped := make(chan struct{}, pairs*steps)
			for i, c := range couples {
				wg.Go(func() { c.play(rand.New(rand.NewPCG(uint64(round), uint64(i))), steps, stepped) })
			}
			go func() { wg.Wait(); close(stepped) }()
			disturb(stepped)
			wg.Wait()
			r.agrees(all...)
			between()
		}
		for _, c := range couples {
			unknown += c.unknown
		}
		if unknown > pairs*rounds*steps/2 {
			r.Errorf("%d calls were not answered", unknown)
		}
		r.agrees(all...)
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		open := func() chat.Store {
			st, err := store.Open(t.Context(), store.Config{Dir: dir, Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		r := on(t, open(), chat.Config{})
		play(r, func(<-chan struct{}) {}, func() {
			if err := r.st.Close(); err != nil {
				t.Fatal(err)
			}
			r.st = open()
			r.c = chat.New(r.st, chat.Config{Log: quiet})
			r.c.Subscribe(chat.Carrier{Tell: r.tell})
		})
		if err := r.st.Close(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		dsn := pgtest.DSN(t)
		st, err := pg.Open(t.Context(), pg.Config{DSN: dsn, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		play(on(t, st, chat.Config{}), func(stepped <-chan struct{}) {
			n := 0
			for range stepped {
				if n++; n%30 == 0 {
					pgtest.Terminate(t, dsn)
				}
			}
		}, func() {})
	})
}
