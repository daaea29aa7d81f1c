// Package storetest is the contract of chat.Store as tests. Every store runs all of them.
package storetest

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
)

// Open opens the store at place, and creates it if there is none. The caller closes it. place is a folder of the test's own; a store that is not kept
// in a folder uses it as a name.
type Open func(t *testing.T, place string, clock func() time.Time) chat.Store

// Run runs the contract.
func Run(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		f    func(*env)
	}{
		{"Users", users},
		{"C2COnce", c2cOnce},
		{"Numbers", numbers},
		{"Order", order},
		{"Resend", resend},
		{"SameKeyInOneBatch", sameKey},
		{"AppendErrors", appendErrors},
		{"Policy", policy},
		{"Rules", rules},
		{"OrderUnderRules", orderUnderRules},
		{"CostOfDropping", costOfDropping},
		{"Relations", relations},
		{"GroupPeriods", groupPeriods},
		{"Epoch", epoch},
		{"Tips", tips},
		{"TipsAmongMessages", tipsAmongMessages},
		{"Standing", standing},
		{"GroupLists", groupLists},
		{"Marks", marks},
		{"LeftHeads", leftHeads},
		{"RoomRows", roomRows},
		{"GroupNames", groupNames},
		{"UnreadC2C", unreadC2C},
		{"UnreadGroup", unreadGroup},
		{"UnreadSelf", unreadSelf},
		{"HeadsChanged", headsChanged},
		{"HeadsPages", headsPages},
		{"HeadsFresh", headsFresh},
		{"Entries", entries},
		{"SetEntry", setEntry},
		{"Changes", changes},
		{"Contents", contents},
		{"Feed", feed},
		{"Sessions", sessions},
		{"SeqAt", seqAt},
		{"Clock", clock},
		{"UpdateUndone", updateUndone},
		{"UpdateCancelled", updateCancelled},
		{"AfterCommit", afterCommit},
		{"Deliver", deliver},
		{"PanicInDone", panicInDone},
		{"UpdateSeesItself", updateSeesItself},
		{"Close", closing},
		{"Reopen", reopen},
		{"Deleted", deleted},
		{"Unseen", unseen},
		{"Pinned", pinned},
		{"Owned", owned},
		{"Log", wholeLog},
		{"Admins", admins},
		{"Cursors", cursors},
		{"Sent", sent},
		{"Done", done},
		{"Outbox", outbox},
		{"Media", media},
		{"Attached", attached},
		{"AttachedAtOnce", alone(sharedAttached)},
		{"BlobFolder", blobFolder},
		{"MediaAtOnce", alone(sharedMedia)},
		{"NewTable", newTable},
		{"ValidFrom", validFrom},
		{"Concurrent", alone(concurrent)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, open)
			e.start()
			t.Cleanup(e.stop)
			c.f(e)
		})
	}
}

// env is one test's store with a few functions for it.
type env struct {
	*testing.T
	ctx   context.Context
	open  Open
	place string
	clock *fakeClock
	s     chat.Store
	keys  atomic.Uint32
}

func newEnv(t *testing.T, open Open) *env {
	return &env{T: t, ctx: context.Background(), open: open, place: t.TempDir(), clock: newClock()}
}

func (e *env) start() {
	e.Helper()
	e.s = e.open(e.T, e.place, e.clock.Now)
}

func (e *env) stop() {
	e.Helper()
	e.ok(e.s.Close())
}

func (e *env) restart() {
	e.Helper()
	e.stop()
	e.start()
}

func (e *env) ok(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

func (e *env) equal(what string, got, want any) {
	e.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		e.Fatalf("%s: got %s, want %s", what, g, w)
	}
}

func must[T any](e *env, v T, err error) T {
	e.Helper()
	e.ok(err)
	return v
}

func (e *env) user(name string) chat.UID {
	e.Helper()
	u, err := e.s.CreateUser(e.ctx, name)
	return must(e, u, err).UID
}

func (e *env) c2c(a, b chat.UID) chat.Conv {
	e.Helper()
	c, err := e.s.C2C(e.ctx, a, b)
	return must(e, c, err)
}

func (e *env) conv(id chat.ConvID) chat.Conv {
	e.Helper()
	c, err := e.s.Conv(e.ctx, id)
	return must(e, c, err)
}

func (e *env) head(uid chat.UID, id chat.ConvID) chat.HeadRow {
	e.Helper()
	h, err := e.s.Head(e.ctx, uid, id)
	return must(e, h, err)
}

// update runs an Update that must succeed.
func (e *env) update(fn func(chat.Tx) error) {
	e.Helper()
	e.ok(e.s.Update(e.ctx, nil, fn))
}

// group makes a group with members.
func (e *env) group(name string, members ...chat.UID) chat.ConvID {
	e.Helper()
	var id chat.ConvID
	e.update(func(tx chat.Tx) error {
		c, err := tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: name})
		if err != nil {
			return err
		}
		id = c.ID
		for _, m := range members {
			if _, err := tx.Join(id, m); err != nil {
				return err
			}
		}
		return nil
	})
	return id
}

// entry makes an entry with a new key under the current policy.
func (e *env) entry(id chat.ConvID, sender chat.UID) chat.Entry {
	e.Helper()
	k := e.keys.Add(1)
	return chat.Entry{
		Conv: id, Sender: sender, ClientTime: 1_700_000_000 + uint64(k/100), Random: k,
		Body: binary.BigEndian.AppendUint32([]byte("body "), k), Hash: 1<<63 + uint64(k), Countable: true,
	}
}

type answer struct {
	st  chat.Stored
	dup bool
	err error
}

// append appends and waits.
func (e *env) append(en chat.Entry) answer {
	e.Helper()
	got := make(chan answer, 1)
	e.s.Append(en, func(st chat.Stored, dup bool, err error) { got <- answer{st, dup, err} })
	return <-got
}

// send appends a new countable message, which must be stored.
func (e *env) send(id chat.ConvID, sender chat.UID) chat.Stored {
	e.Helper()
	a := e.append(e.entry(id, sender))
	e.ok(a.err)
	if a.dup {
		e.Fatal("a new key was answered as stored before")
	}
	return a.st
}

// read sets the user's read position.
func (e *env) read(id chat.ConvID, uid chat.UID, seq uint64) {
	e.Helper()
	e.update(func(tx chat.Tx) error { return readTo(tx, id, uid, seq) })
}

func readTo(tx chat.Tx, id chat.ConvID, uid chat.UID, seq uint64) error {
	m, err := tx.Member(id, uid)
	if err != nil {
		return err
	}
	if seq < m.ReadSeq {
		return nil
	}
	m.ReadSeq, m.ReadAt = seq, tx.Now()
	if m.ReadOthers, m.ReadTime, err = tx.OthersAt(id, uid, seq); err != nil {
		return err
	}
	_, err = tx.PutMember(m)
	return err
}

// unread is rule 7: countable messages of the others up to the head, minus those up to the read position, minus withdrawn ones above it.
func unread(h chat.HeadRow) int {
	return int(h.Conv.Index) - int(h.Own) - int(h.Mine.ReadOthers) - int(h.Withdrawn)
}

// fakeClock stands still until it is moved, so that tests decide what happens in which millisecond.
type fakeClock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *fakeClock { return &fakeClock{t: time.UnixMilli(1_700_000_000_000)} }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *fakeClock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}
