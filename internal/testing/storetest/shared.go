package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
)

// RunShared is the part of the contract that needs two stores on one database, as two servers have them: open is called twice for a place.
func RunShared(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		f    func(e *env, s []chat.Store)
	}{
		{"Concurrent", concurrent},
		{"OneOfEach", oneOfEach},
		{"SameKeys", sharedKeys},
		{"Seen", seen},
		{"Log", sharedLog},
		{"Leases", leases},
		{"Outbox", sharedOutbox},
		{"Media", sharedMedia},
		{"Attached", sharedAttached},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, open)
			e.start()
			t.Cleanup(e.stop)
			other := open(t, e.place, e.clock.Now)
			t.Cleanup(func() { e.ok(other.Close()) })
			e.equal("id of the store", other.ID(), e.s.ID())
			c.f(e, []chat.Store{e.s, other})
		})
	}
}

// alone runs a test for several stores over one.
func alone(f func(*env, []chat.Store)) func(*env) {
	return func(e *env) { f(e, []chat.Store{e.s}) }
}

// concurrent: messages, changes, feeds, read positions, joins and recalls at the same time, through all stores. Every line is dense, a recount
// agrees, time does not run back along a log, and each store delivers a conversation in the order of its numbers.
func concurrent(e *env, stores []chat.Store) {
	const workers, each = 8, 60
	users := make([]chat.UID, 6)
	for i := range users {
		users[i] = e.user(fmt.Sprint("u", i))
	}
	var ids []chat.ConvID
	for i := range 4 {
		ids = append(ids, e.c2c(users[i], users[i+1]).ID, e.group(fmt.Sprint("g", i), users[:4]...))
	}
	type told struct {
		conv chat.ConvID
		seq  uint64
	}
	var mu sync.Mutex
	answered := make(map[told]chat.SendKey)
	last := make([]map[chat.ConvID]uint64, len(stores))
	revs, feeds := make(map[told]bool), make(map[told]bool)
	once := func(m map[told]bool, k told, what string) {
		mu.Lock()
		defer mu.Unlock()
		if m[k] {
			e.Errorf("%s %d of %d was given twice", what, k.seq, k.conv)
		}
		m[k] = true
	}
	var wg, calls sync.WaitGroup
	for n, s := range stores {
		last[n] = make(map[chat.ConvID]uint64)
		for g := range workers {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(n), uint64(g)))
				for range each {
					id := ids[rnd.IntN(len(ids))]
					cv, err := s.Conv(e.ctx, id)
					if err != nil {
						e.Error(err)
						return
					}
					sender := users[rnd.IntN(4)]
					if cv.Kind == chat.KindC2C {
						sender = []chat.UID{cv.A, cv.B}[rnd.IntN(2)]
					}
					keys := []chat.Key{{UID: sender}, {Conv: id}}
					if rnd.IntN(3) == 0 {
						keys = nil // the rows are found out
					}
					switch rnd.IntN(13) {
					case 0, 12:
						var c chat.Change
						err = s.Update(e.ctx, keys, func(tx chat.Tx) (err error) {
							cv, err := tx.Conv(id)
							if err != nil {
								return err
							}
							// It is delivered between the entries around it.
							tx.AfterCommit(func() {
								mu.Lock()
								defer mu.Unlock()
								if cv.Seq < last[n][id] {
									e.Errorf("store %d told a change at %d of %d behind %d", n, cv.Seq, id, last[n][id])
								}
								last[n][id] = cv.Seq
							})
							c, err = tx.AddChange(id, chat.Change{Kind: 1, Operator: sender})
							return err
						})
						once(revs, told{id, c.Rev}, "rev")
					case 1:
						// Two feeds, in any order: two of these may need each other's rows.
						var f [2]chat.FeedEntry
						to := [2]chat.UID{sender, users[rnd.IntN(4)]}
						err = s.Update(e.ctx, keys, func(tx chat.Tx) (err error) {
							for i := range f {
								if f[i], err = tx.AddFeed(to[i], 1, nil); err != nil {
									return err
								}
							}
							return nil
						})
						for i := range f {
							once(feeds, told{chat.ConvID(to[i]), f[i].Seq}, "feed number")
						}
					case 2:
						err = s.Update(e.ctx, keys, func(tx chat.Tx) error {
							cv, err := tx.Conv(id)
							if err != nil {
								return err
							}
							return readTo(tx, id, sender, cv.Seq)
						})
					case 3:
						err = s.Update(e.ctx, keys, func(tx chat.Tx) error {
							cv, err := tx.Conv(id)
							if err != nil || cv.Seq == 0 {
								return err
							}
							st, err := tx.Entry(id, cv.Seq)
							if err != nil {
								return err
							}
							st.Status = 6
							return tx.SetEntry(st)
						})
					case 4:
						if cv.Kind == chat.KindC2C {
							continue
						}
						who := users[4+rnd.IntN(2)]
						err = s.Update(e.ctx, keys, func(tx chat.Tx) error {
							m, err := tx.Member(id, who)
							if err == nil && !m.Left {
								_, err = tx.Leave(id, who)
							} else if err == nil || errors.Is(err, chat.ErrNotFound) {
								_, err = tx.Join(id, who)
							}
							return err
						})
					default:
						k := e.keys.Add(1)
						en := chat.Entry{Conv: id, Sender: sender, ClientTime: uint64(k / 10), Random: k, Body: []byte{1}, Countable: rnd.IntN(4) > 0}
						calls.Add(1)
						s.Append(en, func(st chat.Stored, dup bool, err error) {
							defer calls.Done()
							if err != nil || dup {
								e.Errorf("dup %v: %v", dup, err)
								return
							}
							mu.Lock()
							defer mu.Unlock()
							if st.Seq <= last[n][id] {
								e.Errorf("store %d told %d of %d behind %d", n, st.Seq, id, last[n][id])
							}
							last[n][id] = st.Seq
							at := told{id, st.Seq}
							if _, twice := answered[at]; twice {
								e.Errorf("number %d of %d was given twice", st.Seq, id)
							}
							answered[at] = chat.SendKey{Conv: id, Sender: sender, ClientTime: en.ClientTime, Random: en.Random}
						})
					}
					if err != nil {
						e.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	calls.Wait()
	total := 0
	for _, id := range ids {
		log, err := e.s.Entries(e.ctx, id, 1, chat.NoEnd, false, 1<<20, 1<<30)
		e.ok(err)
		total += len(log)
		var idx uint64
		var time int64
		own := make(map[chat.UID]uint64)
		for i, st := range log {
			if st.Countable {
				idx++
				own[st.Sender]++
			}
			e.equal("entry", []uint64{st.Seq, st.Index, st.OwnIndex}, []uint64{uint64(i + 1), idx, own[st.Sender]})
			if st.Time < time {
				e.Fatalf("time runs back from %d to %d at %d of %d", time, st.Time, st.Seq, id)
			}
			time = st.Time
			key := chat.SendKey{Conv: id, Sender: st.Sender, ClientTime: st.ClientTime, Random: st.Random}
			e.equal("the key that was answered with this number", answered[told{id, st.Seq}], key)
		}
		changes, err := e.s.Changes(e.ctx, id, 1, chat.NoEnd, 1<<20, 1<<30)
		e.ok(err)
		for i, c := range changes {
			e.equal("rev", []any{c.Rev, revs[told{id, c.Rev}]}, []any{uint64(i + 1), true})
		}
		for _, s := range stores {
			c, err := s.Conv(e.ctx, id)
			e.ok(err)
			e.equal("head", []any{c.Seq, c.Rev, c.Index, c.Time}, []any{len(log), len(changes), idx, time})
			for _, uid := range users[:4] {
				if h, err := s.Head(e.ctx, uid, id); err == nil {
					e.equal("own", h.Own, own[uid])
				} else if !errors.Is(err, chat.ErrNotFound) {
					e.Fatal(err)
				}
			}
		}
	}
	e.equal("entries", total, len(answered))
	for _, uid := range users {
		u, err := e.s.UserByID(e.ctx, uid)
		e.ok(err)
		f, err := e.s.Feed(e.ctx, uid, 1, chat.NoEnd, 1<<20)
		e.ok(err)
		e.equal("feed", u.Feed, len(f))
		for i := range f {
			e.equal("feed number", []any{f[i].Seq, feeds[told{chat.ConvID(uid), f[i].Seq}]}, []any{uint64(i + 1), true})
		}
	}
}

// oneOfEach: what both create at the same time exists once.
func oneOfEach(e *env, stores []chat.Store) {
	var wg sync.WaitGroup
	got := make([][]int64, 40)
	for i := range got {
		s := stores[i%len(stores)]
		wg.Go(func() {
			for k := range 10 {
				a, err1 := s.CreateUser(e.ctx, fmt.Sprint("a", k))
				b, err2 := s.CreateUser(e.ctx, fmt.Sprint("b", k))
				c, err3 := s.C2C(e.ctx, a.UID, b.UID)
				if err := errors.Join(err1, err2, err3); err != nil {
					e.Error(err)
					return
				}
				got[i] = append(got[i], int64(a.UID), int64(b.UID), int64(c.ID))
			}
		})
	}
	wg.Wait()
	for i := range got {
		e.equal("accounts and conversations", got[i], got[0])
	}
}

// sharedKeys: a key that reaches both at once is stored once, and both return the same.
func sharedKeys(e *env, stores []chat.Store) {
	a, b := e.user("a"), e.user("b")
	ids := []chat.ConvID{e.c2c(a, b).ID, e.group("g", a, b)}
	const keys = 300
	var mu sync.Mutex
	type outcome struct {
		seqs        map[uint64]bool
		first, dups int
	}
	outcomes := make([]outcome, keys)
	var wg, calls sync.WaitGroup
	templates := make([]chat.Entry, keys)
	for i := range templates {
		templates[i] = e.entry(ids[i%2], []chat.UID{a, b}[i/2%2])
		outcomes[i].seqs = make(map[uint64]bool)
	}
	for _, s := range stores {
		for g := range 2 {
			wg.Go(func() {
				for _, i := range rand.New(rand.NewPCG(uint64(g), 0)).Perm(keys) { // the same order in both stores
					calls.Add(1)
					s.Append(templates[i], func(st chat.Stored, dup bool, err error) {
						defer calls.Done()
						mu.Lock()
						defer mu.Unlock()
						if err != nil {
							e.Error(err)
						}
						outcomes[i].seqs[st.Seq] = true
						if dup {
							outcomes[i].dups++
						} else {
							outcomes[i].first++
						}
					})
				}
			})
		}
	}
	wg.Wait()
	calls.Wait()
	for _, o := range outcomes {
		e.equal("numbers, first answers, others", []int{len(o.seqs), o.first, o.dups}, []int{1, 1, 2*len(stores) - 1})
	}
	for _, id := range ids {
		e.equal("head", e.conv(id).Seq, keys/2)
	}
	other := templates[0]
	other.Hash++
	for _, s := range stores {
		done := make(chan error, 1)
		s.Append(other, func(_ chat.Stored, _ bool, err error) { done <- err })
		if err := <-done; !errors.Is(err, chat.ErrOtherBody) {
			e.Fatal("another body:", err)
		}
	}
}

// seen: what one has returned, the other one knows: entries, rules of a conversation, sessions, cursors.
func seen(e *env, stores []chat.Store) {
	a, b := e.user("a"), e.user("b")
	g := e.group("g", a)
	one, two := stores[0], stores[1]
	for i := range uint64(30) {
		s := stores[i%2]
		st := send(e, s, e.entry(g, a))
		e.equal("seq", st.Seq, i+1)
		h, err := stores[(i+1)%2].Head(e.ctx, a, g)
		e.ok(err)
		e.equal("head at the other", []uint64{h.Conv.Seq, h.Own}, []uint64{st.Seq, st.OwnIndex})
	}
	id := e.c2c(a, b).ID
	checked := e.entry(id, a)
	checked.Rules = &chat.SendRules{}
	e.ok(one.Update(e.ctx, []chat.Key{{Conv: id}}, func(tx chat.Tx) error {
		c, err := tx.Conv(id)
		if err != nil {
			return err
		}
		c.Flags = chat.ABlocksB | chat.BBlocksA
		return tx.PutConv(c)
	}))
	got := make(chan error, 1)
	two.Append(checked, func(_ chat.Stored, _ bool, err error) { got <- err })
	if err := <-got; !errors.Is(err, chat.ErrDropped) {
		e.Fatal("blocked at the other:", err)
	}
	e.ok(two.Update(e.ctx, []chat.Key{{UID: a}}, func(tx chat.Tx) error { return tx.PutSession(chat.Session{UID: a, Device: "d", Generation: 7}) }))
	list, err := one.Sessions(e.ctx, a)
	e.ok(err)
	e.equal("sessions", len(list), 1)
}

// leases: one store at a time has a lease; what it does under it counts only while it was the last to take it.
func leases(e *env, stores []chat.Store) {
	one, two := stores[0], stores[1]
	take := func(s chat.Store, epoch int64, d time.Duration) int64 {
		e.Helper()
		n, err := s.Lease(e.ctx, "x", epoch, d)
		e.ok(err)
		return n
	}
	cursor := func(want int64) {
		e.Helper()
		pos, err := two.Cursor(e.ctx, "x")
		e.ok(err)
		e.equal("cursor", pos, want)
	}
	e.ok(one.StartCursor(e.ctx, "x", 1))
	first := take(one, 0, time.Hour)
	if first == 0 || take(two, 0, time.Hour) != 0 || take(one, 0, time.Hour) != 0 {
		e.Fatal("a lease is taken that another one has")
	}
	e.ok(one.SetCursor(e.ctx, "x", 5, first))
	cursor(5)
	e.equal("renewed", take(one, first, time.Millisecond), first)
	var second int64
	for second == 0 { // until the time of the first has run out
		second = take(two, 0, time.Hour)
	}
	if second == first {
		e.Fatal("the same epoch twice")
	}
	// The first one was suspended. It cannot move the cursor, neither forwards nor back, nor get its lease back.
	for _, pos := range []int64{3, 9} {
		if err := one.SetCursor(e.ctx, "x", pos, first); !errors.Is(err, chat.ErrLease) {
			e.Fatal("a step under a lease that is over:", err)
		}
	}
	e.equal("renewed after it was lost", take(one, first, time.Hour), 0)
	cursor(5)
	e.ok(two.SetCursor(e.ctx, "x", 7, second))
	cursor(7)
	e.equal("given back", take(two, second, 0), second)
	if third := take(one, 0, time.Hour); third <= second {
		e.Fatal("a lease that was given back:", third)
	}
	if err := two.SetCursor(e.ctx, "x", 8, second); !errors.Is(err, chat.ErrLease) {
		e.Fatal("a step under a lease that is over:", err)
	}
}

func send(e *env, s chat.Store, en chat.Entry) chat.Stored {
	e.Helper()
	got := make(chan answer, 1)
	s.Append(en, func(st chat.Stored, dup bool, err error) { got <- answer{st, dup, err} })
	a := <-got
	e.ok(a.err)
	return a.st
}

// sharedLog: a reader of one store gets every entry of both, once, while they are written.
func sharedLog(e *env, stores []chat.Store) {
	a, b, c := e.user("a"), e.user("b"), e.user("c")
	ids := []chat.ConvID{e.c2c(a, b).ID, e.c2c(a, c).ID, e.c2c(a, a).ID}
	const each = 150
	var wg sync.WaitGroup
	for _, s := range stores {
		for _, id := range ids {
			wg.Go(func() {
				for range each {
					send(e, s, e.entry(id, a))
				}
			})
		}
	}
	seqs := make(map[chat.ConvID]uint64)
	var pos int64
	for n := 0; n < each*len(ids)*len(stores); {
		list, err := stores[0].Log(e.ctx, pos, 11)
		e.ok(err)
		for _, x := range list {
			if x.Pos <= pos || x.Seq != seqs[x.Conv]+1 {
				e.Fatalf("%d of %d at %d follows %d at %d", x.Seq, x.Conv, x.Pos, seqs[x.Conv], pos)
			}
			pos = x.Pos
			seqs[x.Conv]++
			n++
		}
	}
	wg.Wait()
	end, err := stores[1].LogEnd(e.ctx)
	e.ok(err)
	e.equal("end", end, pos)
}
