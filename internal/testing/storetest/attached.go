package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// attach appends an entry that refers to uploads, which must be stored.
func (e *env) attach(s chat.Store, id chat.ConvID, sender chat.UID, a *chat.Attached) chat.Stored {
	e.Helper()
	en := e.entry(id, sender)
	en.Attached = a
	got := e.appendTo(s, en)
	e.ok(got.err)
	return got.st
}

func (e *env) appendTo(s chat.Store, en chat.Entry) answer {
	e.Helper()
	got := make(chan answer, 1)
	s.Append(en, func(st chat.Stored, dup bool, err error) { got <- answer{st, dup, err} })
	return <-got
}

// upload stores an upload that is done and ends after some time.
func (e *env) upload(s chat.Store, id string, uid chat.UID, keep time.Duration) {
	e.Helper()
	e.addMedia(s, id, uid, 1)
	e.endMedia(s, id, keep.Milliseconds(), chat.MediaPart{Hash: "h" + id, File: "f" + id, Size: 1})
}

// recall recalls an entry.
func recall(e *env, s chat.Store, id chat.ConvID, seq uint64) error {
	return s.Update(e.ctx, []chat.Key{{Conv: id}}, func(tx chat.Tx) error {
		st, err := tx.Entry(id, seq)
		if err != nil {
			return err
		}
		st.Status = tables.StatusRevoked
		return tx.SetEntry(st)
	})
}

// attached: an upload stays while an entry refers to it. It is tied in the transaction of the entry, which is not stored if the upload is not there.
func attached(e *env) {
	a, b := e.user("a"), e.user("b")
	id, other := e.c2c(a, b).ID, e.group("g", a, b)
	until := func(media string) int64 {
		e.Helper()
		m, _, err := e.s.Media(e.ctx, media)
		return must(e, m, err).Until
	}
	refused := func(en chat.Entry) {
		e.Helper()
		before := e.conv(en.Conv)
		if got := e.append(en); !errors.Is(got.err, chat.ErrNoMedia) {
			e.Fatalf("stored as %+v: %v", got.st, got.err)
		}
		after := e.conv(en.Conv)
		e.equal("the log", []uint64{after.Seq, after.Index, after.OwnA}, []uint64{before.Seq, before.Index, before.OwnA})
		if st, err := e.s.Lookup(e.ctx, chat.SendKey{Conv: en.Conv, Sender: en.Sender, ClientTime: en.ClientTime, Random: en.Random}); !errors.Is(err, chat.ErrNotFound) {
			e.Fatalf("what was refused is %+v: %v", st, err)
		}
	}
	with := func(conv chat.ConvID, a *chat.Attached) chat.Entry {
		en := e.entry(conv, b)
		en.Attached = a
		return en
	}
	e.upload(e.s, "one", a, time.Minute)
	e.upload(e.s, "ended", a, time.Second)
	e.addMedia(e.s, "open", a, 1)
	e.clock.move(time.Second)
	for _, missing := range []string{"nothing", "open", "ended"} {
		refused(with(id, &chat.Attached{IDs: []string{"one", missing}}))
	}
	if until("one") == 0 {
		e.Fatal("an entry that was refused keeps an upload")
	}
	// One of somebody else, twice; and merged ones, of which some are not there any more.
	en := with(id, &chat.Attached{IDs: []string{"one"}, May: []string{"nothing", "open", "ended"}})
	first := e.append(en)
	e.ok(first.err)
	second := e.attach(e.s, other, a, &chat.Attached{May: []string{"one"}})
	e.equal("kept for good", until("one"), 0)
	if err := e.dropMedia(e.s, "one"); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("dropped although entries refer to it:", err)
	}
	e.restart()
	old, err := e.s.OldMedia(e.ctx, e.s.Now()+1e12, 10)
	e.equal("what ends", must(e, old, err), []string{"ended", "open"})

	e.ok(recall(e, e.s, id, first.st.Seq))
	e.equal("one refers to it", until("one"), 0)
	e.ok(recall(e, e.s, other, second.Seq))
	e.equal("none does", until("one") > 0 && until("one") <= e.s.Now(), true)
	refused(with(other, &chat.Attached{IDs: []string{"one"}}))
	again := e.append(en)
	e.ok(again.err)
	e.equal("the first result of the key", []any{again.dup, again.st.Seq}, []any{true, first.st.Seq})
	e.ok(e.dropMedia(e.s, "one"))

	// With a time to be kept, from the last entry on.
	e.upload(e.s, "two", a, time.Minute)
	st := e.attach(e.s, id, a, &chat.Attached{IDs: []string{"two"}, Keep: 3 * time.Hour.Milliseconds()})
	e.equal("as long", until("two"), st.Time+3*time.Hour.Milliseconds())
	e.attach(e.s, id, a, &chat.Attached{IDs: []string{"two"}, Keep: 1})
	e.equal("not shorter", until("two"), st.Time+3*time.Hour.Milliseconds())
	if err := e.dropMedia(e.s, "two"); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("dropped by its owner although entries refer to it:", err)
	}
	e.clock.move(3 * time.Hour)
	e.ok(e.dropMedia(e.s, "two"))
	refused(with(id, &chat.Attached{IDs: []string{"two"}}))
	e.ok(recall(e, e.s, id, st.Seq)) // of a message whose upload has ended

	// Many in one batch, of which some are refused.
	e.upload(e.s, "three", a, time.Minute)
	var wg sync.WaitGroup
	var stored, not atomic.Int64
	for i := range 40 {
		en := with([]chat.ConvID{id, other}[i%2], &chat.Attached{IDs: []string{"three"}})
		if i%3 == 0 {
			en.Attached.IDs = []string{"nothing", "three"}
		}
		wg.Add(1)
		e.s.Append(en, func(_ chat.Stored, _ bool, err error) {
			defer wg.Done()
			switch {
			case err == nil && i%3 != 0:
				stored.Add(1)
			case errors.Is(err, chat.ErrNoMedia) && i%3 == 0:
				not.Add(1)
			}
		})
	}
	wg.Wait()
	e.equal("stored and refused", []int64{stored.Load(), not.Load()}, []int64{26, 14})
	e.equal("kept", until("three"), 0)
}

// sharedAttached: while messages refer to uploads, are recalled, and what has ended is dropped, through all stores, no message that stands refers to an upload that
// is not there, and no upload stays to which none refers.
func sharedAttached(e *env, stores []chat.Store) {
	uid := e.user("a")
	var convs []chat.ConvID
	for i := range 3 {
		convs = append(convs, e.c2c(uid, e.user(fmt.Sprint("u", i))).ID)
	}
	sweep := func(s chat.Store) {
		old, err := s.OldMedia(e.ctx, s.Now(), 100)
		if err != nil {
			e.Error(err)
		}
		for _, id := range old {
			err := s.Update(e.ctx, nil, func(tx chat.Tx) error { return tx.DropMedia(id, tx.Now(), 0) })
			if err != nil && !errors.Is(err, chat.ErrNotFound) {
				e.Error(err)
			}
		}
	}
	var stored, gone atomic.Int64
	var wg sync.WaitGroup
	for round := range 12 {
		id := fmt.Sprint("m", round)
		e.upload(stores[0], id, uid, time.Minute)
		for _, s := range stores {
			for w := range 3 {
				wg.Go(func() {
					for i := range 4 {
						en := e.entry(convs[(w+i)%len(convs)], uid)
						en.Attached = &chat.Attached{IDs: []string{id}}
						got := e.appendTo(s, en)
						if errors.Is(got.err, chat.ErrNoMedia) {
							gone.Add(1)
							continue
						}
						if got.err != nil {
							e.Error(got.err)
							return
						}
						stored.Add(1)
						if _, _, err := s.Media(e.ctx, id); err != nil {
							e.Errorf("the upload %s of an entry that stands: %v", id, err)
						}
						if err := recall(e, s, got.st.Conv, got.st.Seq); err != nil {
							e.Error(err)
						}
						e.clock.move(time.Millisecond)
						sweep(s)
					}
				})
			}
		}
		wg.Wait()
	}
	e.clock.move(time.Second)
	sweep(stores[0])
	for round := range 12 {
		if m, _, err := e.s.Media(e.ctx, fmt.Sprint("m", round)); !errors.Is(err, chat.ErrNotFound) {
			e.Errorf("%+v is left: %v", m, err)
		}
	}
	if stored.Load() < 12 {
		e.Error("an upload that was there was refused")
	}
	e.Logf("%d stored, %d refused", stored.Load(), gone.Load())
}
