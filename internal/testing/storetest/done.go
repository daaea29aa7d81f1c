package storetest

import (
	"errors"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
)

// done: calls that are done are kept in their transaction, once; forgotten when they are old, and beyond a number for an account.
func done(e *env) {
	a, b := e.user("a"), e.user("b")
	update := func(fn func(chat.Tx) error) error {
		return e.s.Update(e.ctx, []chat.Key{{UID: a}, {UID: b}}, fn)
	}
	want := chat.Done{UID: a, Run: 1<<64 - 1, Call: 1<<64 - 2, Part: 1, Hash: 1<<64 - 3, Reply: []byte("reply")}
	e.ok(update(func(tx chat.Tx) error { return tx.PutDone(want, 0, 100) }))
	undone := errors.New("undone")
	e.equal("an Update that is undone", update(func(tx chat.Tx) error {
		x := want
		x.Call = 5
		return errors.Join(tx.PutDone(x, 0, 100), undone)
	}), undone)
	e.restart()
	kept := func(d chat.Done) bool {
		e.Helper()
		found := false
		e.ok(update(func(tx chat.Tx) error {
			got, err := tx.Done(d.UID, d.Run, d.Call, d.Part)
			if found = err == nil; found {
				d.At = got.At
				e.equal("at", got.At > 0, true)
				e.equal("done", got, d)
			}
			if errors.Is(err, chat.ErrNotFound) {
				return nil
			}
			return err
		}))
		return found
	}
	e.equal("kept", kept(want), true)
	for _, x := range []chat.Done{{UID: b, Run: want.Run, Call: want.Call, Part: 1}, {UID: a, Run: 1, Call: want.Call, Part: 1}, {UID: a, Run: want.Run, Call: 5, Part: 1}, {UID: a, Run: want.Run, Call: want.Call}} {
		e.equal("another one", kept(x), false)
	}
	// A second one undoes its Update, also if something else follows in it.
	for _, more := range []bool{false, true} {
		err := update(func(tx chat.Tx) error {
			u, err := tx.User(a)
			if err != nil {
				return err
			}
			u.Generation = 77
			if err := errors.Join(tx.PutUser(u), tx.PutDone(want, 0, 100)); err != nil || !more {
				return err
			}
			_, err = tx.Profile(b)
			return err
		})
		if !errors.Is(err, chat.ErrDone) {
			e.Errorf("the same call again: %v", err)
		}
		u, err := e.s.UserByID(e.ctx, a)
		e.ok(err)
		e.equal("generation", u.Generation, uint64(0))
	}
	e.equal("kept", kept(want), true)

	// An account has at most so many, the newest ones. The other's stay.
	other := chat.Done{UID: b, Run: 1, Call: 1, Reply: []byte{}}
	e.ok(update(func(tx chat.Tx) error { return tx.PutDone(other, 0, 100) }))
	var all []chat.Done
	for i := range uint64(12) {
		x := chat.Done{UID: a, Run: i, Call: 1, Reply: []byte{}}
		all = append(all, x)
		e.clock.move(time.Second)
		e.ok(update(func(tx chat.Tx) error { return tx.PutDone(x, 0, 10) }))
	}
	e.equal("the oldest", kept(want), false)
	e.equal("the next ones", kept(all[0]) || kept(all[1]), false)
	for _, x := range all[2:] {
		e.equal("newer ones", kept(x), true)
	}
	e.equal("the other's", kept(other), true)
	// Old ones go, a few with each that is kept, whoever made them; one that was asked about counts from then.
	e.clock.move(time.Second)
	now := e.s.Now()
	e.equal("asked about", kept(all[11]), true)
	for i := range uint64(4) {
		e.ok(update(func(tx chat.Tx) error { return tx.PutDone(chat.Done{UID: b, Run: 2, Call: i}, now, 100) }))
	}
	e.equal("an old one of another", kept(all[2]) || kept(all[10]) || kept(other), false)
	e.equal("asked about", kept(all[11]), true)
}
