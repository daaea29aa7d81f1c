package chat_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// pairRaces is how many pairs of users run into each race.
var pairRaces = soak.Pick(40, 200)

// Whatever two users, or two devices of one, do to each other at the same moment ends in one of the allowed states, with one event per change on each side.
func TestRelationRaces(t *testing.T) {
	type end struct {
		// codes of the two calls; has and events of a and of b.
		one, two   int32
		a, b       string
		aSaw, bSaw string
	}
	first := func(codes []int32) int32 { return codes[0] }
	ask := func(a, b *friend) {
		b.permits(approval)
		if code := a.adds(b.Name, both); code != im.CodeWaitsForApproval {
			a.r.Error("the request:", code)
		}
		a.events()
		b.events()
	}
	friends := func(a, b *friend) {
		if code := a.adds(b.Name, both); code != 0 {
			a.r.Error("the add:", code)
		}
		a.events()
		b.events()
	}
	for _, race := range []struct {
		name     string
		before   func(a, b *friend)
		one, two func(a, b *friend) int32
		ends     []end
	}{
		{"both add, anybody", nil,
			func(a, b *friend) int32 { return a.adds(b.Name, both) },
			func(a, b *friend) int32 { return b.adds(a.Name, both) },
			[]end{
				{0, im.CodeAlreadyFriends, "friend b", "friend a", "friend b", "friend a"},
				{im.CodeAlreadyFriends, 0, "friend b", "friend a", "friend b", "friend a"},
			}},
		{"both add one-way, anybody", nil,
			func(a, b *friend) int32 { return a.adds(b.Name, onlyMe) },
			func(a, b *friend) int32 { return b.adds(a.Name, onlyMe) },
			[]end{{0, 0, "friend b", "friend a", "friend b", "friend a"}}},
		{"both add, approval", func(a, b *friend) { a.permits(approval); b.permits(approval) },
			func(a, b *friend) int32 { return a.adds(b.Name, both) },
			func(a, b *friend) int32 { return b.adds(a.Name, both) },
			[]end{
				{im.CodeWaitsForApproval, 0, "friend b", "friend a", "out b, friend b, -out b quiet", "in a, friend a, -in a"},
				{0, im.CodeWaitsForApproval, "friend b", "friend a", "in b, friend b, -in b", "out a, friend a, -out a quiet"},
			}},
		{"add against block", nil,
			func(a, b *friend) int32 { return a.adds(b.Name, both) },
			func(a, b *friend) int32 { return first(b.blocks(a.Name)) },
			[]end{
				{0, 0, "", "blocked a", "friend b, -friend b", "friend a, blocked a, -friend a"},
				{im.CodeBlockedByPeer, 0, "", "blocked a", "", "blocked a"},
			}},
		{"accept against delete by the sender", ask,
			func(a, b *friend) int32 { return b.answers(a.Name, 1) },
			func(a, b *friend) int32 {
				return first(a.users(im.Method_DELETE_REQUESTS, &im.UsersRequest{UserIds: []string{b.Name}, Sent: true}))
			},
			[]end{
				{0, im.CodeNoSuchRequest, "friend b", "friend a", "friend b, -out b quiet", "friend a, -in a"},
				{im.CodeNoSuchRequest, 0, "", "", "-out b", "-in a"},
			}},
		{"accept against delete by the receiver", ask,
			func(a, b *friend) int32 { return b.answers(a.Name, 1) },
			func(a, b *friend) int32 {
				return first(b.users(im.Method_DELETE_REQUESTS, &im.UsersRequest{UserIds: []string{a.Name}}))
			},
			[]end{
				{0, im.CodeNoSuchRequest, "friend b", "friend a", "friend b, -out b quiet", "friend a, -in a"},
				{im.CodeNoSuchRequest, 0, "out b", "", "", "-in a"},
			}},
		{"accept on two devices", ask,
			func(a, b *friend) int32 { return b.answers(a.Name, 1) },
			func(a, b *friend) int32 { return b.answers(a.Name, 1) },
			[]end{
				{0, im.CodeNoSuchRequest, "friend b", "friend a", "friend b, -out b quiet", "friend a, -in a"},
				{im.CodeNoSuchRequest, 0, "friend b", "friend a", "friend b, -out b quiet", "friend a, -in a"},
			}},
		{"accept against reject", ask,
			func(a, b *friend) int32 { return b.answers(a.Name, 1) },
			func(a, b *friend) int32 { return b.answers(a.Name, 2) },
			[]end{
				{0, im.CodeNoSuchRequest, "friend b", "friend a", "friend b, -out b quiet", "friend a, -in a"},
				{im.CodeNoSuchRequest, 0, "", "", "-out b", "-in a"},
			}},
		{"accept against block by the sender", ask,
			func(a, b *friend) int32 { return b.answers(a.Name, 1) },
			func(a, b *friend) int32 { return first(a.blocks(b.Name)) },
			[]end{
				{0, 0, "blocked b", "", "friend b, -out b quiet, blocked b, -friend b", "friend a, -in a, -friend a"},
				{im.CodeBlockedByPeer, 0, "blocked b, out b", "in a", "blocked b", ""},
			}},
		{"delete on both sides", friends,
			func(a, b *friend) int32 { return first(a.deletes(both, b.Name)) },
			func(a, b *friend) int32 { return first(b.deletes(both, a.Name)) },
			[]end{
				{0, im.CodeNotAFriend, "", "", "-friend b", "-friend a"},
				{im.CodeNotAFriend, 0, "", "", "-friend b", "-friend a"},
			}},
		{"both block", friends,
			func(a, b *friend) int32 { return first(a.blocks(b.Name)) },
			func(a, b *friend) int32 { return first(b.blocks(a.Name)) },
			[]end{
				{0, 0, "blocked b", "blocked a", "blocked b, -friend b", "-friend a, blocked a"},
				{0, 0, "blocked b", "blocked a", "-friend b, blocked b", "blocked a, -friend a"},
			}},
	} {
		t.Run(race.name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, chat.Config{}, func(r *relations) {
				var all sync.WaitGroup
				atOnce := make(chan struct{}, 16)
				for i := range pairRaces {
					atOnce <- struct{}{}
					all.Go(func() {
						defer func() { <-atOnce }()
						a, b := r.user(fmt.Sprint("a", i)), r.user(fmt.Sprint("b", i))
						if i%2 == 0 { // half of the pairs have a conversation, whose flags follow
							if _, err := r.st.C2C(r.Context(), a.UID, b.UID); err != nil {
								r.Error(err)
							}
						}
						if race.before != nil {
							race.before(a, b)
						}
						var got end
						var two sync.WaitGroup
						start := make(chan struct{})
						two.Go(func() { <-start; got.one = race.one(a, b) })
						two.Go(func() { <-start; got.two = race.two(a, b) })
						close(start)
						two.Wait()
						got.aSaw, got.bSaw = replaceNames(a.events(), i), replaceNames(b.events(), i)
						lists := r.agrees(a, b)
						got.a, got.b = replaceNames(lists[0], i), replaceNames(lists[1], i)
						if !slices.Contains(race.ends, got) {
							r.Errorf("pair %d ended with %+v", i, got)
						}
					})
				}
				all.Wait()
			})
		})
	}
}

// A list with place for one more friend gets one, whoever tries at the same time, and those who lose it are left as they were.
func TestFullListRaces(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		a, x, y := r.user("a"), r.user("x"), r.user("y")
		r.fill(a, im.RelationKind_RELATION_FRIEND, 2999)
		a.permits(approval)
		if code := y.adds("a", both); code != im.CodeWaitsForApproval {
			r.Fatal(code)
		}
		a.permits(anybody)
		for i := range pairRaces {
			var added, accepted int32
			var two sync.WaitGroup
			start := make(chan struct{})
			// x adds a, whose list may be full for x; a accepts y, for which the own list may be full.
			two.Go(func() { <-start; added = x.adds("a", both) })
			two.Go(func() { <-start; accepted = a.answers("y", 1) })
			a.events()
			x.events()
			y.events()
			close(start)
			two.Wait()
			saw := []string{a.events(), x.events(), y.events()}
			switch {
			case added == 0 && accepted == im.CodeTooManyFriends:
				r.is("events", saw, []string{"friend x", "friend a", ""})
				r.is("x's list", x.has(), "friend a")
				r.is("y's list", y.has(), "out a")
				r.is("deleted", a.deletes(both, "x"), "[0]")
			case added == im.CodePeerTooManyFriends && accepted == 0:
				r.is("events", saw, []string{"friend y, -in y", "", "friend a, -out a quiet"})
				r.is("x's list", x.has(), "")
				r.is("y's list", y.has(), "friend a")
				r.is("deleted", a.deletes(both, "y"), "[0]")
				a.permits(approval)
				r.is("asked again", y.adds("a", both), im.CodeWaitsForApproval)
				a.permits(anybody)
			default:
				r.Fatalf("round %d: the add ended with %d, the answer with %d", i, added, accepted)
			}
		}
		r.agrees(x, y)
	})
}

// replaceNames makes the names of a pair the same for all pairs.
func replaceNames(s string, pair int) string {
	for _, name := range []string{"a", "b"} {
		s = strings.ReplaceAll(s, fmt.Sprint(" ", name, pair), " "+name)
	}
	return s
}
