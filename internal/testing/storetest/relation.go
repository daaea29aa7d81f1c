package storetest

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// rules: an entry is checked against the conversation as it is where the entry gets its number; one that is stored already gets the first result.
func rules(e *env) {
	a, b := e.user("a"), e.user("b")
	id := e.c2c(a, b).ID
	flags := func(f chat.ConvFlags) {
		e.update(func(tx chat.Tx) error {
			c, err := tx.FindC2C(b, a)
			if err != nil {
				return err
			}
			c.Flags = f
			c.Policy++
			return tx.PutConv(c)
		})
	}
	blocks := func(owner chat.UID) chat.ConvFlags {
		if owner == e.conv(id).A {
			return chat.ABlocksB
		}
		return chat.BBlocksA
	}
	pretend, refuse := &chat.SendRules{}, &chat.SendRules{RefuseBlocked: true}
	from := func(sender chat.UID, r *chat.SendRules) chat.Entry {
		en := e.entry(id, sender)
		en.Rules = r
		return en
	}
	first := from(a, pretend)
	e.equal("the first", e.append(first).st.Seq, 1)
	flags(blocks(b))
	if x := e.append(first); x.err != nil || !x.dup || x.st.Seq != 1 {
		e.Fatal("a resend after the block:", x)
	}
	if x := e.append(from(a, pretend)); !errors.Is(x.err, chat.ErrDropped) {
		e.Fatal("to somebody who has blocked:", x)
	}
	if x := e.append(from(a, refuse)); im.CodeOf(x.err) != im.CodeBlockedByReceiver {
		e.Fatal("refused:", x)
	}
	e.equal("from the one who has blocked", e.append(from(b, pretend)).st.Seq, 2)
	e.equal("an operator's", e.append(from(a, nil)).st.Seq, 3)
	e.restart()
	if x := e.append(from(a, pretend)); !errors.Is(x.err, chat.ErrDropped) {
		e.Fatal("after a restart:", x)
	}
	flags(0)
	e.equal("after the end of the block", e.append(from(a, pretend)).st.Seq, 4)
	friends := &chat.SendRules{OnlyFriends: true}
	for f, want := range map[chat.ConvFlags]int32{
		0: im.CodeNotFriends, chat.AHasB | chat.BHasA: 0, chat.AHasB: im.CodeNotInPeersList, chat.BHasA: im.CodeNotInOwnList,
		chat.AHasB | chat.BHasA | chat.ABlocksB: 0,
	} {
		flags(f)
		if got := im.CodeOf(e.append(from(e.conv(id).A, friends)).err); got != want {
			e.Errorf("flags %b: %d, want %d", f, got, want)
		}
	}
}

// orderUnderRules: while somebody blocks and unblocks, the sends of one goroutine are numbered or dropped, each by what held where it was numbered, and
// what is numbered has the order of the calls.
func orderUnderRules(e *env) {
	a, b := e.user("a"), e.user("b")
	id := e.c2c(a, b).ID
	const sends, changes = 200, 100
	var flipping sync.WaitGroup
	flipping.Go(func() {
		for i := range changes {
			err := e.s.Update(e.ctx, []chat.Key{{UID: a}, {UID: b}}, func(tx chat.Tx) error {
				c, err := tx.FindC2C(a, b)
				if err != nil {
					return err
				}
				c.Flags, c.Policy = 0, c.Policy+1
				if i%2 == 0 {
					c.Flags = chat.ABlocksB | chat.BBlocksA
				}
				return tx.PutConv(c)
			})
			if err != nil {
				e.Error(err)
			}
		}
	})
	var seqs []uint64
	dropped := 0
	var answers sync.WaitGroup
	rules := &chat.SendRules{}
	for range sends {
		en := e.entry(id, a)
		en.Rules = rules
		answers.Add(1)
		e.s.Append(en, func(st chat.Stored, dup bool, err error) {
			defer answers.Done()
			switch {
			case errors.Is(err, chat.ErrDropped):
				dropped++
			case err != nil || dup:
				e.Errorf("dup %v: %v", dup, err)
			default:
				seqs = append(seqs, st.Seq)
			}
		})
	}
	answers.Wait()
	flipping.Wait()
	e.equal("all", len(seqs)+dropped, sends)
	for i, seq := range seqs {
		if seq != uint64(i+1) {
			e.Fatalf("answer %d has number %d", i, seq)
		}
	}
	e.equal("the log", e.conv(id).Seq, uint64(len(seqs)))
}

// costOfDropping: whoever sends to somebody who has blocked them cannot tell by the time that it takes.
func costOfDropping(e *env) {
	a, b, c := e.user("a"), e.user("b"), e.user("c")
	free, blocked := e.c2c(a, b).ID, e.c2c(a, c).ID
	e.update(func(tx chat.Tx) error {
		cv, err := tx.FindC2C(a, c)
		if err != nil {
			return err
		}
		cv.Flags = chat.ABlocksB | chat.BBlocksA
		return tx.PutConv(cv)
	})
	rules := &chat.SendRules{}
	var took [2][]time.Duration
	for range 101 {
		for i, id := range []chat.ConvID{free, blocked} {
			en := e.entry(id, a)
			en.Rules = rules
			begun := time.Now()
			x := e.append(en)
			took[i] = append(took[i], time.Since(begun))
			if dropped := errors.Is(x.err, chat.ErrDropped); dropped != (i == 1) || !dropped && x.err != nil {
				e.Fatal(x)
			}
		}
	}
	slices.Sort(took[0])
	slices.Sort(took[1])
	sent, dropped := took[0][50], took[1][50]
	e.Logf("median of a send %v, of one that is dropped %v", sent, dropped)
	if dropped < sent/4 || dropped > 4*sent {
		e.Errorf("a send takes %v, and one that is dropped %v", sent, dropped)
	}
	e.equal("the log", e.conv(blocked).Seq, uint64(0))
	e.restart()
	if x := e.append(e.entry(blocked, a)); x.err != nil || x.st.Seq != 1 {
		e.Fatal("the first that is stored:", x)
	}
}

// relations: rows, their orders and places, and what a conversation that is made later has of them.
func relations(e *env) {
	a, b, c := e.user("a"), e.user("b"), e.user("c")
	put := func(uid chat.UID, kind im.RelationKind, other int64, ver uint64, body string) {
		e.update(func(tx chat.Tx) error {
			return tx.PutRelation(chat.Relation{UID: uid, Kind: kind, Other: other, Ver: ver, Body: []byte(body)})
		})
	}
	const friend, blocked = im.RelationKind_RELATION_FRIEND, im.RelationKind_RELATION_BLOCKED
	put(a, friend, int64(c), 1, "c")
	put(a, friend, int64(b), 2, "b")
	put(b, friend, int64(c), 1, "c of b")
	put(a, blocked, int64(c), 3, "")
	put(a, friend, int64(c), 4, "c again")
	rows, err := e.s.Relations(e.ctx, a, friend, 0, 10)
	e.ok(err)
	e.equal("in the order in which they were made", rows, []chat.Relation{
		{UID: a, Kind: friend, Other: int64(c), Ver: 4, Made: 1, Body: []byte("c again")}, {UID: a, Kind: friend, Other: int64(b), Ver: 2, Made: 2, Body: []byte("b")},
	})
	rows, err = e.s.Relations(e.ctx, a, friend, 1, 1)
	e.ok(err)
	e.equal("behind a place", len(rows), 1)
	var places []int64
	kind, other := im.RelationKind(0), int64(0)
	for {
		rows, err := e.s.AllRelations(e.ctx, a, kind, other, 1)
		e.ok(err)
		if len(rows) == 0 {
			break
		}
		kind, other = rows[0].Kind, rows[0].Other
		places = append(places, int64(kind), other)
	}
	e.equal("all, one by one", places, []int64{int64(friend), int64(min(b, c)), int64(friend), int64(max(b, c)), int64(blocked), int64(c)})
	have, err := e.s.HaveFriend(e.ctx, c, 0, 10)
	e.ok(err)
	e.equal("who has c", have, []chat.UID{min(a, b), max(a, b)})
	have, err = e.s.HaveFriend(e.ctx, c, min(a, b), 10)
	e.ok(err)
	e.equal("behind one", have, []chat.UID{max(a, b)})
	e.update(func(tx chat.Tx) error {
		n, err := tx.CountRelations(a, friend)
		e.equal("count", n, 2)
		if err != nil {
			return err
		}
		return tx.DropRelation(a, friend, int64(b))
	})
	if _, err := e.s.Relation(e.ctx, a, friend, int64(b)); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("a row that was dropped:", err)
	}
	cv := e.c2c(a, c)
	want := chat.AHasB | chat.ABlocksB
	if cv.A == c {
		want = chat.BHasA | chat.BBlocksA
	}
	e.equal("flags of a conversation that is made later", cv.Flags, want)

	p, err := e.s.Profile(e.ctx, a)
	e.ok(err)
	e.equal("no profile", p, chat.Profile{UID: a})
	e.update(func(tx chat.Tx) error { return tx.PutProfile(chat.Profile{UID: a, Ver: 5, Body: []byte("A")}) })
	e.update(func(tx chat.Tx) error { return tx.PutFanout(chat.Fanout{UID: a, Ver: 5}) })
	e.restart()
	p, err = e.s.Profile(e.ctx, a)
	e.ok(err)
	e.equal("profile", p, chat.Profile{UID: a, Ver: 5, Body: []byte("A")})
	e.update(func(tx chat.Tx) error { return tx.PutProfile(chat.Profile{UID: c, Ver: 6, Body: []byte("C")}) })
	some, err := e.s.Profiles(e.ctx, []chat.UID{c, b, a, 1})
	e.ok(err)
	slices.SortFunc(some, func(x, y chat.Profile) int { return int(x.Ver) - int(y.Ver) })
	e.equal("those of several that were set", some, []chat.Profile{{UID: a, Ver: 5, Body: []byte("A")}, {UID: c, Ver: 6, Body: []byte("C")}})
	none, err := e.s.Profiles(e.ctx, nil)
	e.ok(err)
	e.equal("of nobody", len(none), 0)
	jobs, err := e.s.Fanouts(e.ctx, 10)
	e.ok(err)
	e.equal("jobs", jobs, []chat.Fanout{{UID: a, Ver: 5}})
	e.update(func(tx chat.Tx) error { return tx.DropFanout(a) })

	for range 5 {
		e.update(func(tx chat.Tx) error { _, err := tx.AddFeed(a, 1, []byte("x")); return err })
	}
	e.update(func(tx chat.Tx) error {
		n, err := tx.FeedBefore(a, tx.Now()+1)
		e.equal("entries before a time", n, 5)
		if err != nil {
			return err
		}
		return tx.CutFeed(a, 3)
	})
	floor, err := e.s.FeedFloor(e.ctx, a)
	e.ok(err)
	e.equal("floor", floor, 3)
	fed, err := e.s.Feed(e.ctx, a, 1, 9, 10)
	e.ok(err)
	e.equal("what is left", []uint64{uint64(len(fed)), fed[0].Seq}, []uint64{2, 4})
}
