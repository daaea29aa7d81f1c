package chat

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func queue(n int) *slots {
	q := &slots{}
	q.init(n, time.Minute)
	return q
}

// TestSlotsAreFair: one user has a share of the slots and no more; when all are taken, the next free one goes to the user who has waited longest, not
// to the next message of the user who has most.
func TestSlotsAreFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue(8)
		var mu sync.Mutex
		holds := map[UID]int{}
		wait := func(uid UID, n int) {
			for range n {
				s := &Caller{UID: uid}
				go func() {
					if q.take(t.Context(), s) != nil {
						return // the test has ended
					}
					mu.Lock()
					holds[uid]++
					mu.Unlock()
				}()
			}
			synctest.Wait()
		}
		wait(1, 50)
		if holds[1] != 2 {
			t.Fatalf("one user holds %d of 8 slots, want a quarter", holds[1])
		}
		wait(2, 1)
		if holds[2] != 1 {
			t.Fatal("a slot was free, and somebody else had to wait")
		}
		for uid := UID(3); uid < 6; uid++ {
			wait(uid, 50)
		}
		if q.free != 0 {
			t.Fatalf("%d are free", q.free)
		}
		wait(9, 1)
		if holds[9] != 0 {
			t.Fatal("there was no slot")
		}
		// Users before it in turn have at most one turn each.
		for n := range 4 {
			uid := UID(n + 1)
			q.give(uid)
			synctest.Wait()
		}
		if holds[9] != 1 {
			t.Errorf("after four slots it still has none: %v", holds)
		}
		for uid := UID(1); uid < 10; uid++ { // release all of it
			for u := q.users[uid]; u != nil && u.held > 0; {
				q.give(uid)
				synctest.Wait()
			}
		}
		if q.free != 8 || len(q.users) != 0 || len(q.turns) != 0 {
			t.Errorf("%d are free, and %d users are left", q.free, len(q.users))
		}
	})
}

// TestSlotsStop: a caller that is stopped waits no more, and takes nothing more; others of the same user do.
func TestSlotsStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue(1)
		old, other := &Caller{UID: 1}, &Caller{UID: 1}
		if err := q.take(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		out := make(chan error, 3)
		for _, s := range []*Caller{old, old, other} {
			go func() { out <- q.take(t.Context(), s) }()
		}
		synctest.Wait()
		q.stop(old)
		for range 2 {
			if err := <-out; err != errStopped {
				t.Errorf("answered %v", err)
			}
		}
		synctest.Wait()
		if len(out) != 0 {
			t.Error("the other one has an answer already")
		}
		q.give(1)
		if err := <-out; err != nil {
			t.Error(err)
		}
		if err := q.take(t.Context(), old); err != errStopped {
			t.Errorf("answered %v", err)
		}
	})
}

// TestSlotsLate: nothing waits forever, and a caller that gave up is not given a slot.
func TestSlotsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue(1)
		q.take(t.Context(), &Caller{UID: 1})
		begun := time.Now()
		if err := q.take(t.Context(), &Caller{UID: 2}); err != errHookLate || time.Since(begun) != time.Minute {
			t.Errorf("answered %v after %s", err, time.Since(begun))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := q.take(ctx, &Caller{UID: 2}); err != errGoing {
			t.Errorf("answered %v", err)
		}
		q.give(1)
		if q.free != 1 || len(q.users) != 0 || len(q.turns) != 0 {
			t.Errorf("%d are free, and %d users are left", q.free, len(q.users))
		}
	})
}

// TestSlotsAreBounded: what waits has a limit per user and one in total; a user with next to nothing there is let in whatever the others have.
func TestSlotsAreBounded(t *testing.T) {
	q := queue(1)
	fill := func(uid UID) (n int) {
		for q.enter(uid, 100<<10) == nil {
			n++
		}
		return n
	}
	if n := fill(1); n != mostOfUser/(100<<10) {
		t.Errorf("one user has %d there", n)
	}
	for uid := UID(2); uid < 100; uid++ {
		fill(uid)
	}
	if q.bytes > mostWaiting {
		t.Errorf("%d bytes wait", q.bytes)
	}
	if err := q.enter(100, 12<<10); err != nil {
		t.Errorf("a small user is refused: %v", err)
	}
	if err := q.enter(100, 100<<10); !errors.Is(err, errHookFull) {
		t.Errorf("answered %v", err)
	}
}

// TestSlotsAtRandom: whatever comes and goes, no slot is lost, none is given twice, and nobody has more than their share.
func TestSlotsAtRandom(t *testing.T) {
	q := queue(8)
	var wg sync.WaitGroup
	var mu sync.Mutex
	held, all := map[UID]int{}, 0
	for n := range 200 {
		r := rand.New(rand.NewPCG(1, uint64(n)))
		wg.Go(func() {
			for range 20 {
				s := &Caller{UID: UID(r.IntN(6))}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(2000))*time.Microsecond)
				if r.IntN(4) == 0 {
					go q.stop(s)
				}
				if q.take(ctx, s) == nil {
					mu.Lock()
					held[s.UID]++
					all++
					if held[s.UID] > q.share || all > 8 {
						t.Errorf("user %d has %d of %d", s.UID, held[s.UID], all)
					}
					mu.Unlock()
					if r.IntN(2) == 0 {
						<-ctx.Done()
					}
					mu.Lock()
					held[s.UID]--
					all--
					mu.Unlock()
					q.give(s.UID)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if q.free != 8 || len(q.users) != 0 || len(q.turns) != 0 {
		t.Errorf("%d are free, %d users and %d turns are left", q.free, len(q.users), len(q.turns))
	}
}
