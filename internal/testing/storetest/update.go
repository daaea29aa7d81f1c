package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
)

// mess changes one of everything.
func mess(tx chat.Tx, id, g chat.ConvID, a chat.UID) error {
	u, err := tx.User(a)
	if err != nil {
		return err
	}
	u.Generation++
	c, err := tx.Conv(id)
	if err != nil {
		return err
	}
	c.Policy++
	m, err := tx.Member(id, a)
	if err != nil {
		return err
	}
	m.Pinned = true
	st, err := tx.Entry(id, 1)
	if err != nil {
		return err
	}
	st.Status = 6
	made, err := tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: "undone"})
	if err != nil {
		return err
	}
	_, err1 := tx.Join(made.ID, a)
	_, err2 := tx.Leave(g, a)
	_, err3 := tx.PutMember(m)
	_, err4 := tx.AddChange(id, chat.Change{Kind: 1})
	_, err5 := tx.AddFeed(a, 1, nil)
	return errors.Join(tx.PutUser(u), tx.PutConv(c), tx.SetEntry(st), tx.PutSession(chat.Session{UID: a, Device: "d"}), err1, err2, err3, err4, err5)
}

// state reads everything that mess changes.
func (e *env) state(id, g chat.ConvID, a chat.UID) []any {
	e.Helper()
	u, err := e.s.UserByID(e.ctx, a)
	e.ok(err)
	se, err := e.s.Sessions(e.ctx, a)
	e.ok(err)
	ch, err := e.s.Changes(e.ctx, id, 1, 100, 100, 1<<20)
	e.ok(err)
	f, err := e.s.Feed(e.ctx, a, 1, 100, 100)
	e.ok(err)
	en, err := e.s.Entries(e.ctx, id, 1, 1, false, 1, 1)
	e.ok(err)
	h := e.head(a, id)
	h.Peer = nil // a pointer
	return []any{u, se, len(ch), f, en, h, e.head(a, g), e.conv(id), e.conv(g), len(e.list(a, 0))}
}

func updateUndone(e *env) {
	a, b := e.user("a"), e.user("b")
	id, g := e.c2c(a, b).ID, e.group("g", a)
	e.send(id, b)
	before := e.state(id, g, a)
	// Entries that wait beside it are not affected by what is undone.
	var wg sync.WaitGroup
	other := e.c2c(b, b).ID
	for range 50 {
		wg.Add(1)
		e.s.Append(e.entry(other, b), func(_ chat.Stored, _ bool, err error) {
			if err != nil {
				e.Error(err)
			}
			wg.Done()
		})
	}
	boom := errors.New("boom")
	ran := false
	var undone chat.ConvID
	err := e.s.Update(e.ctx, nil, func(tx chat.Tx) error {
		tx.AfterCommit(func() { ran = true })
		if err := mess(tx, id, g, a); err != nil {
			e.Error(err)
		}
		c, err := tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: "undone too"})
		if err != nil {
			e.Error(err)
		}
		undone = c.ID
		return boom
	})
	if !errors.Is(err, boom) {
		e.Fatal("error of fn:", err)
	}
	err = e.s.Update(e.ctx, nil, func(tx chat.Tx) error {
		tx.AfterCommit(func() { ran = true })
		if err := mess(tx, id, g, a); err != nil {
			e.Error(err)
		}
		panic("boom")
	})
	if err == nil || !strings.Contains(err.Error(), "boom") {
		e.Fatal("panic in fn:", err)
	}
	wg.Wait()
	e.equal("state", e.state(id, g, a), before)
	if _, err := e.s.Conv(e.ctx, undone); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("the conversation that was undone:", err)
	}
	e.equal("the others", e.conv(other).Seq, 50)
	if _, err := e.s.Group(e.ctx, "undone"); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("the group that was undone:", err)
	}
	fresh := e.group("fresh", a)
	e.send(fresh, a)
	e.restart()
	e.equal("fresh", e.conv(fresh).Seq, 1)
	if _, err := e.s.Group(e.ctx, "undone"); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("the group that was undone:", err)
	}
	if ran {
		e.Fatal("AfterCommit of an Update that was undone")
	}
	e.update(func(tx chat.Tx) error { return mess(tx, id, g, a) })
	after := e.state(id, g, a)
	for i := range before {
		if i != 6 && strings.EqualFold(stringOf(before[i]), stringOf(after[i])) {
			e.Errorf("part %d of the state did not change: %v", i, after[i])
		}
	}
}

// updateCancelled: an Update whose context ended before it began does not run.
func updateCancelled(e *env) {
	a := e.user("a")
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	if err := e.s.Update(ctx, nil, func(chat.Tx) error { e.Error("it ran"); return nil }); !errors.Is(err, context.Canceled) {
		e.Fatal(err)
	}
	// Cancelled while another one holds its row.
	keys := []chat.Key{{UID: a}}
	ctx, cancel = context.WithCancel(e.ctx)
	busy, goOn := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		e.ok(e.s.Update(e.ctx, keys, func(chat.Tx) error { close(busy); <-goOn; return nil }))
	})
	<-busy
	ran := make(chan struct{}, 1)
	result := make(chan error, 1)
	wg.Go(func() {
		result <- e.s.Update(ctx, keys, func(tx chat.Tx) error { ran <- struct{}{}; _, err := tx.AddFeed(a, 1, nil); return err })
	})
	cancel()
	err := <-result
	close(goOn)
	wg.Wait()
	e.ok(e.s.Update(e.ctx, keys, func(chat.Tx) error { return nil })) // everything before it has had its turn
	if !errors.Is(err, context.Canceled) || len(ran) != 0 {
		e.Fatal("given up:", err, "ran:", len(ran))
	}
}

// afterCommit: done functions and AfterCommit functions are called in commit order, one after the other.
func afterCommit(e *env) {
	a, b := e.user("a"), e.user("b")
	id := e.c2c(a, b).ID
	var got []uint64 // written by the delivery goroutine only
	var wg sync.WaitGroup
	const n = 300
	for i := range uint64(n) {
		wg.Add(1)
		e.s.Append(e.entry(id, a), func(st chat.Stored, _ bool, err error) {
			if err != nil {
				e.Error(err)
			}
			got = append(got, st.Seq)
			wg.Done()
		})
		if i%50 == 49 {
			wg.Add(2)
			e.update(func(tx chat.Tx) error {
				c, err := tx.Conv(id)
				if err != nil {
					return err
				}
				if c.Seq != i+1 {
					e.Errorf("the Update sees %d entries of %d appended before it", c.Seq, i+1)
				}
				if _, err := tx.Entry(id, c.Seq); err != nil {
					return err
				}
				for range 2 {
					tx.AfterCommit(func() { got = append(got, 1000+c.Seq); wg.Done() })
				}
				_, err = tx.AddFeed(a, 1, nil)
				return err
			})
		}
	}
	wg.Wait()
	var want []uint64
	for i := range uint64(n) {
		want = append(want, i+1)
		if i%50 == 49 {
			want = append(want, 1000+i+1, 1000+i+1)
		}
	}
	e.equal("order", got, want)
}

// deliver: a function that stores nothing keeps its place behind what the same goroutine appended before it, and before what it appends after.
func deliver(e *env) {
	a, b := e.user("a"), e.user("b")
	id := e.c2c(a, b).ID
	var got, want []uint64 // got is written by the delivery goroutine only
	var wg sync.WaitGroup
	for i := range uint64(300) {
		wg.Add(2)
		e.s.Append(e.entry(id, a), func(st chat.Stored, _ bool, err error) {
			if err != nil {
				e.Error(err)
			}
			got = append(got, st.Seq)
			wg.Done()
		})
		e.s.Deliver(id, func() { got = append(got, 1000+i); wg.Done() })
		want = append(want, i+1, 1000+i)
	}
	wg.Wait()
	e.equal("order", got, want)
}

// A panic of a function that is called after a commit affects only that function: those behind it are called.
func panicInDone(e *env) {
	a, b := e.user("a"), e.user("b")
	id := e.c2c(a, b).ID
	told := make(chan uint64, 1)
	e.s.Append(e.entry(id, a), func(chat.Stored, bool, error) { panic("a mistake") })
	e.s.Deliver(id, func() { panic("a mistake") })
	e.update(func(tx chat.Tx) error {
		tx.AfterCommit(func() { panic("a mistake") })
		return nil
	})
	e.s.Append(e.entry(id, a), func(st chat.Stored, _ bool, err error) {
		if err != nil {
			e.Error(err)
		}
		told <- st.Seq
	})
	select {
	case seq := <-told:
		e.equal("seq", seq, uint64(2))
	case <-time.After(30 * time.Second):
		e.Error("nobody is told any more")
	}
}

func updateSeesItself(e *env) {
	a, b := e.user("a"), e.user("b")
	e.update(func(tx chat.Tx) error {
		c, err := tx.NewConv(chat.Conv{Kind: chat.KindC2C, A: b, B: a})
		if err != nil {
			return err
		}
		e.equal("order of the two", []chat.UID{c.A, c.B}, []chat.UID{a, b})
		if _, err := e.s.Conv(e.ctx, c.ID); !errors.Is(err, chat.ErrNotFound) {
			e.Error("visible before the commit:", err)
		}
		for row := range uint64(3) {
			m, err := tx.PutMember(chat.Member{Conv: c.ID, UID: a, ReadSeq: row})
			if err != nil {
				return err
			}
			e.equal("row", []any{m.Row, m.Changed}, []any{row + 1, tx.Now()})
			got, err := tx.Member(c.ID, a)
			if err != nil {
				return err
			}
			e.equal("member", got, m)
		}
		c.Policy = 7
		if err := tx.PutConv(c); err != nil {
			return err
		}
		got, err := tx.Conv(c.ID)
		e.equal("conversation", got, c)
		return err
	})
	c, err := e.s.FindC2C(e.ctx, a, b)
	e.equal("policy", must(e, c, err).Policy, 7)
}

// closing: Close completes what is queued; what comes later is refused.
func closing(e *env) {
	a, b := e.user("a"), e.user("b")
	id := e.c2c(a, b).ID
	en := e.entry(id, a)
	var mu sync.Mutex
	var stored, refused int
	var calls, senders sync.WaitGroup
	started := make(chan struct{}, 8)
	for g := range 8 {
		senders.Go(func() {
			for i := range 3000 {
				x := en
				x.Random = uint32(g)<<16 | uint32(i) + 1<<24
				calls.Add(1)
				e.s.Append(x, func(_ chat.Stored, _ bool, err error) {
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						stored++
					case errors.Is(err, chat.ErrClosed):
						refused++
					default:
						e.Error(err)
					}
					calls.Done()
				})
				if i == 200 {
					started <- struct{}{}
				}
			}
		})
	}
	<-started
	e.stop()
	senders.Wait()
	calls.Wait()
	if err := e.s.Update(e.ctx, nil, func(chat.Tx) error { e.Error("it ran"); return nil }); !errors.Is(err, chat.ErrClosed) {
		e.Fatal("Update after Close:", err)
	}
	if _, err := e.s.Conv(e.ctx, id); !errors.Is(err, chat.ErrClosed) {
		e.Fatal("Conv after Close:", err)
	}
	e.ok(e.s.Close()) // again
	e.start()
	e.equal("head", e.conv(id).Seq, stored)
	e.equal("answered", stored+refused, 8*3000)
}

// reopen: everything is unchanged.
func reopen(e *env) {
	a, b := e.user("a"), e.user("b")
	id, g := e.c2c(a, b).ID, e.group("g", a, b)
	for range 5 {
		e.send(id, b)
		e.send(g, a)
		e.send(g, b)
	}
	e.read(g, a, 4)
	e.update(func(tx chat.Tx) error { return mess(tx, id, g, a) })
	before := e.state(id, g, a)
	for range 2 {
		e.restart()
		e.equal("state", e.state(id, g, a), before)
	}
	e.equal("next number", e.send(id, a).Seq, 6)
	if c := e.user("c"); c == a || c == b {
		e.Fatal("a uid was used again")
	}
}

func stringOf(v any) string { return fmt.Sprintf("%+v", v) }
