package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
)

func users(e *env) {
	var wg sync.WaitGroup
	got := make([]chat.UID, 50)
	for i := range got {
		wg.Go(func() {
			u, err := e.s.CreateUser(e.ctx, fmt.Sprintf("u%d", i%10))
			if err != nil {
				e.Error(err)
			}
			got[i] = u.UID
		})
	}
	wg.Wait()
	seen := make(map[chat.UID]bool)
	for i, uid := range got {
		e.equal("uid of the same name", uid, got[i%10])
		seen[uid] = true
	}
	e.equal("accounts", len(seen), 10)
	u, err := e.s.UserByID(e.ctx, got[3])
	e.equal("user", must(e, u, err), chat.User{UID: got[3], Name: "u3"})
	if _, err := e.s.UserByName(e.ctx, "nobody"); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("unknown name:", err)
	}
	if _, err := e.s.UserByID(e.ctx, 7); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("unknown uid:", err)
	}
	some, err := e.s.Users(e.ctx, []chat.UID{got[4], 7, got[3]})
	slices.SortFunc(must(e, some, err), func(a, b chat.User) int { return strings.Compare(a.Name, b.Name) })
	e.equal("those of several that exist", some, []chat.User{{UID: got[3], Name: "u3"}, {UID: got[4], Name: "u4"}})
	none, err := e.s.Users(e.ctx, nil)
	e.equal("of nobody", len(must(e, none, err)), 0)
	e.update(func(tx chat.Tx) error { return tx.PutUser(chat.User{UID: got[3], Name: "u3", Generation: 9, Feed: 99}) })
	u, err = e.s.UserByName(e.ctx, "u3")
	e.equal("after PutUser", must(e, u, err), chat.User{UID: got[3], Name: "u3", Generation: 9})
}

func c2cOnce(e *env) {
	a, b := e.user("a"), e.user("b")
	if _, err := e.s.FindC2C(e.ctx, a, b); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("before it was made:", err)
	}
	if _, err := e.s.C2C(e.ctx, a, 1); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("with nobody:", err)
	}
	var wg sync.WaitGroup
	ids := make([]chat.ConvID, 40)
	for i := range ids {
		wg.Go(func() {
			x, y := a, b
			if i%2 == 1 {
				x, y = b, a
			}
			c, err := e.s.C2C(e.ctx, x, y)
			if err != nil || c.A != min(a, b) || c.B != max(a, b) || c.Kind != chat.KindC2C {
				e.Error(c, err)
			}
			ids[i] = c.ID
		})
	}
	wg.Wait()
	for _, id := range ids {
		e.equal("conversation", id, ids[0])
	}
	for _, uid := range []chat.UID{a, b} {
		h := e.head(uid, ids[0])
		e.equal("row", h.Mine.UID, uid)
		e.equal("peer", h.Peer.UID, a+b-uid)
	}
	c, err := e.s.FindC2C(e.ctx, b, a)
	e.equal("found", must(e, c, err).ID, ids[0])
}

// numbers: many goroutines, many conversations; each gets 1..n without a gap, each done is called once, with running indexes.
func numbers(e *env) {
	const senders, each, convs = 50, 40, 13
	users := make([]chat.UID, 6)
	for i := range users {
		users[i] = e.user(fmt.Sprint("n", i))
	}
	ids := make([]chat.ConvID, convs)
	for i := range ids {
		if i%2 == 0 {
			ids[i] = e.group(fmt.Sprint("g", i), users...)
		} else {
			ids[i] = e.c2c(users[0], users[1+i%5]).ID
		}
	}
	var mu sync.Mutex
	var last int64
	stored := make(map[chat.ConvID][]chat.Stored)
	var wg, calls sync.WaitGroup
	for g := range senders {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for range each {
				i := rnd.IntN(convs)
				sender := users[0]
				if i%2 == 0 {
					sender = users[rnd.IntN(len(users))]
				}
				en := e.entry(ids[i], sender)
				en.Countable = rnd.IntN(4) > 0
				calls.Add(1)
				e.s.Append(en, func(st chat.Stored, dup bool, err error) {
					defer calls.Done() // a second call would panic
					mu.Lock()
					defer mu.Unlock()
					if err != nil || dup {
						e.Error(st, dup, err)
						return
					}
					if n := len(stored[st.Conv]); st.Seq != uint64(n+1) {
						e.Errorf("conversation %d: %d answered after %d entries", st.Conv, st.Seq, n)
					}
					if st.Time < last {
						e.Errorf("time runs back: %d after %d", st.Time, last)
					}
					last = st.Time
					stored[st.Conv] = append(stored[st.Conv], st)
				})
			}
		})
	}
	wg.Wait()
	calls.Wait()
	for id, want := range stored {
		got, err := e.s.Entries(e.ctx, id, 1, chat.NoEnd, false, 1<<20, 1<<30)
		e.ok(err)
		e.equal("entries", len(got), len(want))
		var idx uint64
		own := make(map[chat.UID]uint64)
		for i, st := range got {
			if st.Countable {
				idx++
				own[st.Sender]++
			}
			w := kept(want[i])
			e.equal("entry as answered and as read", st, w)
			e.equal("indexes", []uint64{st.Seq, st.Index, st.OwnIndex}, []uint64{uint64(i + 1), idx, own[st.Sender]})
		}
		c := e.conv(id)
		e.equal("head", []uint64{c.Seq, c.Index}, []uint64{uint64(len(got)), idx})
		if c.Kind == chat.KindC2C {
			e.equal("own of A and B", []uint64{c.OwnA, c.OwnB}, []uint64{own[c.A], own[c.B]})
		}
		for uid, n := range own {
			e.equal("own", e.head(uid, id).Own, n)
		}
	}
}

// order: what one goroutine appends to a conversation gets rising numbers in the order of the calls.
func order(e *env) {
	a, b := e.user("a"), e.user("b")
	id := e.c2c(a, b).ID
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			seqs := make([]uint64, 0, 200)
			var calls sync.WaitGroup
			for range cap(seqs) {
				calls.Add(1)
				e.s.Append(e.entry(id, a), func(st chat.Stored, _ bool, err error) {
					if err != nil {
						e.Error(err)
					}
					seqs = append(seqs, st.Seq)
					calls.Done()
				})
			}
			calls.Wait()
			for i := 1; i < len(seqs); i++ {
				if seqs[i] <= seqs[i-1] {
					e.Errorf("call %d got %d, the one before it %d", i, seqs[i], seqs[i-1])
				}
			}
		})
	}
	wg.Wait()
}

// kept returns what is read of an entry for which Append has returned st: without what it was checked by.
func kept(st chat.Stored) chat.Stored {
	st.Rules, st.Standing, st.MemberSet = nil, chat.Standing{}, 0
	return st
}

func resend(e *env) {
	a, b := e.user("a"), e.user("b")
	id, other := e.c2c(a, b).ID, e.group("g", a, b)
	en := e.entry(id, a)
	first := e.append(en)
	e.ok(first.err)
	want := kept(first.st)
	e.send(id, b)
	for range 2 {
		again := e.append(en)
		e.ok(again.err)
		e.equal("resend", []any{again.dup, again.st}, []any{true, want})
		e.restart()
	}
	got, err := e.s.Lookup(e.ctx, chat.SendKey{Conv: id, Sender: a, ClientTime: en.ClientTime, Random: en.Random})
	e.equal("lookup", must(e, got, err), want)
	if _, err := e.s.Lookup(e.ctx, chat.SendKey{Conv: id, Sender: b, ClientTime: en.ClientTime, Random: en.Random}); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("lookup of another sender's key:", err)
	}
	changed := en
	changed.Hash++
	if x := e.append(changed); !errors.Is(x.err, chat.ErrOtherBody) || x.st.Seq != 0 {
		e.Fatal("other body:", x)
	}
	// The key includes conversation and sender.
	x := e.entry(other, a)
	x.ClientTime, x.Random = en.ClientTime, en.Random
	e.equal("same key in another conversation", e.append(x).st.Seq, 1)
	y := e.entry(id, b)
	y.ClientTime, y.Random = en.ClientTime, en.Random
	e.equal("same key of another sender", e.append(y).st.Seq, 3)
	e.equal("head", e.conv(id).Seq, 3)
}

// sameKey: keys that repeat among many appends that wait together, so that some repeat inside one batch.
func sameKey(e *env) {
	a, b := e.user("a"), e.user("b")
	ids := []chat.ConvID{e.c2c(a, b).ID, e.group("g", a, b)}
	const keys, times = 60, 5
	templates := make([]chat.Entry, keys)
	for i := range templates {
		templates[i] = e.entry(ids[i%2], []chat.UID{a, b}[i/2%2])
	}
	var mu sync.Mutex
	first := make(map[uint32]chat.Stored)
	dups, others := 0, 0
	var calls sync.WaitGroup
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := range times {
		for _, i := range rnd.Perm(keys) {
			en := templates[i]
			if n > 0 && i%10 == 0 {
				en.Hash += uint64(n)
			}
			calls.Add(1)
			e.s.Append(en, func(st chat.Stored, dup bool, err error) {
				defer calls.Done()
				mu.Lock()
				defer mu.Unlock()
				f, was := first[en.Random]
				switch {
				case errors.Is(err, chat.ErrOtherBody):
					others++
				case err != nil:
					e.Error(err)
				case !was && !dup:
					first[en.Random] = st
				case was && dup && f.Seq == st.Seq && bytes.Equal(f.Body, st.Body):
					dups++
				default:
					e.Errorf("key %d: seq %d dup %v, first answer %d", en.Random, st.Seq, dup, f.Seq)
				}
			})
		}
	}
	calls.Wait()
	e.equal("first, dup, other body", []int{len(first), dups, others}, []int{keys, (keys - keys/10) * (times - 1), keys / 10 * (times - 1)})
	for _, id := range ids {
		e.equal("head", []uint64{e.conv(id).Seq, e.conv(id).Index}, []uint64{keys / 2, keys / 2})
		e.equal("own", []uint64{e.head(a, id).Own, e.head(b, id).Own}, []uint64{keys / 4, keys / 4})
		e.recountOthers(id, a, b)
	}
	// A resend moves nothing.
	before := e.conv(ids[1])
	e.clock.move(time.Hour)
	if x := e.append(templates[1]); !x.dup {
		e.Fatal("resend:", x)
	}
	e.equal("after a resend", e.conv(ids[1]), before)
}

// recountOthers compares OthersAt with a walk over the log, at every position.
func (e *env) recountOthers(id chat.ConvID, users ...chat.UID) {
	e.Helper()
	log, err := e.s.Entries(e.ctx, id, 1, chat.NoEnd, false, 1<<20, 1<<30)
	e.ok(err)
	e.update(func(tx chat.Tx) error {
		for _, uid := range users {
			want := uint64(0)
			for _, st := range log {
				if st.Countable && st.Sender != uid {
					want++
				}
				if n, _, err := tx.OthersAt(id, uid, st.Seq); err != nil || n != want {
					return fmt.Errorf("others of %d at %d: %d, recount %d: %w", uid, st.Seq, n, want, err)
				}
			}
		}
		return nil
	})
}

func appendErrors(e *env) {
	a, b, c := e.user("a"), e.user("b"), e.user("c")
	id := e.c2c(a, b).ID
	en := e.entry(id, a)
	en.Conv = 1 << 40
	if x := e.append(en); !errors.Is(x.err, chat.ErrNotFound) {
		e.Fatal("unknown conversation:", x.err)
	}
	if x := e.append(e.entry(id, c)); !errors.Is(x.err, chat.ErrNotFound) {
		e.Fatal("a third person in a C2C conversation:", x.err)
	}
	g := e.group("g", a)
	before := e.entry(g, a)
	seq := e.append(before).st.Seq
	e.update(func(tx chat.Tx) error {
		c, err := tx.Conv(g)
		if err != nil {
			return err
		}
		c.Dissolved = true
		return tx.PutConv(c)
	})
	if x := e.append(e.entry(g, a)); !errors.Is(x.err, chat.ErrNotFound) {
		e.Fatal("dissolved:", x.err)
	}
	if x := e.append(before); x.err != nil || !x.dup || x.st.Seq != seq {
		e.Fatal("a resend after the group was dissolved:", x)
	}
	if !e.conv(g).Dissolved || e.conv(g).Seq != 1 {
		e.Fatal("dissolved group:", e.conv(g))
	}
	empty := e.entry(id, a)
	empty.Body, empty.ClientTime, empty.Random = nil, 1<<64-1, 1<<32-1
	e.ok(e.append(empty).err)
	if x := e.append(empty); x.err != nil || !x.dup || len(x.st.Body) != 0 || x.st.ClientTime != 1<<64-1 {
		e.Fatal("empty body, greatest key:", x)
	}
}

func policy(e *env) {
	a, b := e.user("a"), e.user("b")
	g := e.group("g", a)
	for range 3 {
		e.ok(e.append(e.entry(g, a)).err)
	}
	e.update(func(tx chat.Tx) error { _, err := tx.Join(g, b); return err })
	// PutConv raises it, and never lowers it.
	c := e.conv(g)
	e.update(func(tx chat.Tx) error {
		c.Policy += 5
		return tx.PutConv(c)
	})
	e.equal("policy", e.conv(g).Policy, c.Policy)
	e.equal("ends after PutConv", []uint64{e.conv(g).Seq, e.conv(g).Index}, []uint64{3, 3})
}
