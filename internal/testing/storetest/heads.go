package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
)

// list returns the ids of the user's conversations that changed at or after since.
func (e *env) list(uid chat.UID, since int64) []chat.ConvID {
	e.Helper()
	rows, more, err := e.s.Heads(e.ctx, uid, since, 0, 1000)
	e.ok(err)
	if more {
		e.Fatal("more than 1000 rows")
	}
	ids := []chat.ConvID{}
	for _, r := range rows {
		ids = append(ids, r.Conv.ID)
	}
	return ids
}

// headsChanged: what makes a conversation appear in the list of changes, for whom.
func headsChanged(e *env) {
	a, b, c := e.user("a"), e.user("b"), e.user("c")
	ab, ac, g := e.c2c(a, b).ID, e.c2c(a, c).ID, e.group("g", a, b)
	all := []chat.ConvID{ab, ac, g}
	e.equal("all", e.list(a, 0), all)
	step := func(what string, do func(), forA, forB []chat.ConvID) {
		e.Helper()
		e.clock.move(time.Second)
		since := e.s.Now()
		e.equal("before "+what, e.list(a, since), []chat.ConvID{})
		do()
		e.equal(what+": a", e.list(a, since), forA)
		e.equal(what+": b", e.list(b, since), forB)
		e.clock.move(time.Second)
		e.equal("after "+what, e.list(a, e.s.Now()), []chat.ConvID{})
	}
	one := func(id chat.ConvID) []chat.ConvID { return []chat.ConvID{id} }
	none := []chat.ConvID{}
	put := func(id chat.ConvID, uid chat.UID, set func(*chat.Member)) func() {
		return func() {
			e.Helper()
			e.update(func(tx chat.Tx) error {
				m, err := tx.Member(id, uid)
				if err != nil {
					return err
				}
				set(&m)
				_, err = tx.PutMember(m)
				return err
			})
		}
	}
	step("message", func() { e.send(ab, b) }, one(ab), one(ab))
	step("message in a group", func() { e.send(g, b) }, one(g), one(g))
	step("rev", func() {
		e.update(func(tx chat.Tx) error { _, err := tx.AddChange(ab, chat.Change{Kind: 1, Seq: 1}); return err })
	}, one(ab), one(ab))
	step("own row", put(ac, a, func(m *chat.Member) { m.Pinned = true }), one(ac), none)
	step("peer's row", put(ab, b, func(m *chat.Member) { m.ReadSeq = 1 }), one(ab), one(ab))
	step("another member's row of a group", put(g, b, func(m *chat.Member) { m.RecvOpt = 2 }), none, one(g))
	step("join of another", func() {
		e.update(func(tx chat.Tx) error { _, err := tx.Join(g, c); return err })
	}, none, none)
	step("hidden", put(ac, a, func(m *chat.Member) { m.Hidden = true }), one(ac), none)
	e.equal("with the hidden one", e.list(a, 0), all)
	h := e.head(a, ac)
	if !h.Mine.Hidden || !h.Mine.Pinned || h.Mine.Row != 3 {
		e.Fatalf("own row: %+v", h.Mine)
	}
	step("leave", func() {
		e.update(func(tx chat.Tx) error { _, err := tx.Leave(g, a); return err })
	}, one(g), none)
	e.equal("with the one left", e.list(a, 0), all)
	if _, err := e.s.Head(e.ctx, c, ab); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("somebody else's conversation:", err)
	}
	h = e.head(a, ab)
	e.equal("peer", []any{h.Peer.UID, h.Peer.ReadSeq}, []any{b, 1})
	if h.Periods != nil {
		e.Fatal("periods of a C2C conversation:", h.Periods)
	}
}

func headsPages(e *env) {
	a := e.user("a")
	var want []chat.ConvID
	for i := range 25 {
		var id chat.ConvID
		if i%3 == 0 {
			id = e.group(fmt.Sprint("g", i), a)
		} else {
			id = e.c2c(a, e.user(fmt.Sprint("p", i))).ID
		}
		want = append(want, id)
		e.send(id, a)
	}
	for _, limit := range []int{1, 7, 24, 25, 26} {
		var got []chat.ConvID
		var after chat.ConvID
		for {
			rows, more, err := e.s.Heads(e.ctx, a, 0, after, limit)
			e.ok(err)
			for _, r := range rows {
				got = append(got, r.Conv.ID)
				e.equal("own", r.Own, 1)
				if (r.Conv.Kind == chat.KindGroup) != (len(r.Periods) == 1) || (r.Peer == nil) != (r.Conv.Kind == chat.KindGroup) {
					e.Fatalf("row: %+v", r)
				}
			}
			if !more {
				break
			}
			e.equal("page", len(rows), limit)
			after = rows[len(rows)-1].Conv.ID
		}
		e.equal(fmt.Sprint("pages of ", limit), got, want)
	}
}

// headsFresh: what was answered before the call is in the rows, however many write at the same time.
func headsFresh(e *env) {
	a, b := e.user("a"), e.user("b")
	var wg sync.WaitGroup
	for i := range 8 {
		id := e.group(fmt.Sprint("g", i), a, b)
		wg.Go(func() {
			for n := uint64(1); n <= 20; n++ {
				st := e.send(id, b)
				if h := e.head(a, id); h.Conv.Seq != n || st.Seq != n || unread(h) != int(n) {
					e.Errorf("after message %d: %+v", n, h)
				}
				if c, err := e.s.Conv(e.ctx, id); err != nil || c.Seq != n || c.Index != n {
					e.Error(c, err)
				}
				rows, _, err := e.s.Heads(e.ctx, b, 0, id-1, 1)
				if err != nil || len(rows) != 1 || rows[0].Own != n || rows[0].Conv.Index != n {
					e.Errorf("after message %d: %+v %v", n, rows, err)
				}
			}
		})
	}
	wg.Wait()
}
