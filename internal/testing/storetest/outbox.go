package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tidings-im/tidings/internal/chat"
)

// note is something for the outbox.
func note(lane chat.UID, text string) chat.Outgoing {
	return chat.Outgoing{Lane: lane, Platform: "Linux", Addr: "192.0.2.7", Command: "Some.Callback", Body: []byte(text)}
}

func (e *env) lane(s chat.Store, uid chat.UID) []chat.Outgoing {
	e.Helper()
	list, err := s.Outbox(e.ctx, uid, 1000)
	e.ok(err)
	return list
}

// outbox: rows stay in the order of their lanes until they are dropped, those of an Update that is undone are not there, and no id is used twice.
func outbox(e *env) {
	a, b, c := e.user("a"), e.user("b"), e.user("c")
	add := func(err error, list ...chat.Outgoing) {
		e.Helper()
		got := e.s.Update(e.ctx, []chat.Key{{UID: a}, {UID: b}, {UID: c}}, func(tx chat.Tx) error {
			for _, o := range list {
				if err := tx.AddOutbox(o); err != nil {
					return err
				}
			}
			return err
		})
		if !errors.Is(got, err) {
			e.Fatal(got)
		}
	}
	drop := func(list ...chat.Outgoing) {
		e.Helper()
		e.ok(e.s.Update(e.ctx, nil, func(tx chat.Tx) error {
			var ids []int64
			for _, o := range list {
				ids = append(ids, o.ID)
			}
			return tx.DropOutbox(ids)
		}))
	}
	add(nil, note(b, "1"), note(a, "2"), note(b, "3"))
	add(errors.ErrUnsupported, note(c, "undone"))
	if err := e.s.Update(e.ctx, nil, func(tx chat.Tx) error { return tx.AddOutbox(note(1, "nobody's")) }); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("a lane of nobody:", err)
	}
	lanes := func(after chat.UID, limit int, want ...chat.UID) {
		e.Helper()
		got, err := e.s.OutboxLanes(e.ctx, after, limit)
		e.ok(err)
		e.equal("lanes", append([]chat.UID{}, got...), append([]chat.UID{}, want...))
	}
	lanes(0, 10, a, b)
	lanes(0, 1, a)
	lanes(a, 10, b)
	lanes(b, 10)
	e.restart()
	of := e.lane(e.s, b)
	e.equal("rows", len(of), 2)
	for i, text := range []string{"1", "3"} {
		want := note(b, text)
		want.ID, want.Time = of[i].ID, of[i].Time
		e.equal("row", of[i], want)
	}
	if of[0].ID >= of[1].ID || of[0].Time == 0 {
		e.Fatal("ids and time of", of)
	}
	first, err := e.s.Outbox(e.ctx, b, 1)
	e.ok(err)
	e.equal("the first", first, of[:1])
	drop(of[0])
	drop(of[0]) // again
	e.equal("left", e.lane(e.s, b), of[1:])
	last := of[1].ID
	drop(append(e.lane(e.s, a), of[1])...)
	lanes(0, 10)
	e.restart()
	add(nil, note(a, "4"))
	of = e.lane(e.s, a)
	if of[0].ID <= last {
		e.Fatal("an id was used twice:", of[0].ID, last)
	}
	old, err := e.s.OutboxOld(e.ctx, of[0].Time, 10)
	e.ok(err)
	e.equal("old", len(old), 0)
	old, err = e.s.OutboxOld(e.ctx, of[0].Time+1, 10)
	e.ok(err)
	e.equal("old", old, of)

	// Lanes of conversations come before those of accounts.
	cv := e.c2c(a, b)
	conv := chat.LaneOf(cv.ID)
	e.equal("the conversation of a lane", chat.ConvOf(conv), cv.ID)
	e.equal("that of an account's", chat.ConvOf(a), chat.ConvID(0))
	add(nil, note(conv, "5"), note(b, "6"), note(conv, "7"))
	if err := e.s.Update(e.ctx, nil, func(tx chat.Tx) error { return tx.AddOutbox(note(chat.LaneOf(cv.ID+1000), "nobody's")) }); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("a lane of no conversation:", err)
	}
	lanes(chat.FirstLane, 10, conv, a, b)
	lanes(conv, 10, a, b)
	for lane, want := range map[chat.UID]int{conv: 2, a: 1, c: 0} {
		n, err := e.s.OutboxSize(e.ctx, lane)
		e.ok(err)
		e.equal("size", n, want)
	}
	e.equal("the last", string(e.lane(e.s, conv)[1].Body), "7")
}

// sharedOutbox: while several servers write to the same lanes, a reader that drops what it has read gets every row once, and those of a lane in the
// order of the commits.
func sharedOutbox(e *env, stores []chat.Store) {
	users := []chat.UID{e.user("a"), e.user("b"), e.user("c")}
	const each = 60
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	for _, s := range stores {
		for range 2 {
			wg.Go(func() {
				for i := range each {
					x, y := users[i%3], users[(i+1)%3]
					if err := s.Update(e.ctx, []chat.Key{{UID: x}, {UID: y}}, func(tx chat.Tx) error {
						for _, uid := range []chat.UID{x, y} { // the number of the feed is the order of the commits
							f, err := tx.AddFeed(uid, 1, nil)
							if err != nil {
								return err
							}
							if err := tx.AddOutbox(note(uid, fmt.Sprint(f.Seq))); err != nil {
								return err
							}
						}
						return nil
					}); err != nil {
						failed.Store(&err)
						return
					}
				}
			})
		}
	}
	next := map[chat.UID]int{}
	for n := 0; n < 2*2*each*len(stores); {
		if err := failed.Load(); err != nil {
			e.Fatal(*err)
		}
		s := stores[n%len(stores)]
		lanes, err := s.OutboxLanes(e.ctx, 0, 10)
		e.ok(err)
		for _, uid := range lanes {
			var ids []int64
			list, err := s.Outbox(e.ctx, uid, 7)
			e.ok(err)
			for _, o := range list {
				if next[uid]++; string(o.Body) != fmt.Sprint(next[uid]) {
					e.Fatalf("%s of %d is read, want %d", o.Body, uid, next[uid])
				}
				ids = append(ids, o.ID)
				n++
			}
			e.ok(s.Update(e.ctx, nil, func(tx chat.Tx) error { return tx.DropOutbox(ids) }))
		}
	}
	wg.Wait()
	lanes, err := stores[0].OutboxLanes(e.ctx, 0, 10)
	e.ok(err)
	e.equal("what is left", len(lanes), 0)
}
