package storetest

import (
	"errors"
	"fmt"

	"pgregory.net/rapid"

	"github.com/tidings-im/tidings/internal/chat"
)

// groupPeriods: join, leave and join again; what is visible is in the periods, and joining starts with nothing unread.
func groupPeriods(e *env) {
	a, b := e.user("a"), e.user("b")
	g := e.group("g", a)
	for range 3 {
		e.send(g, a)
	}
	join := func() {
		e.Helper()
		before := e.conv(g)
		e.clock.move(1)
		e.update(func(tx chat.Tx) error { _, err := tx.Join(g, b); return err })
		after := e.conv(g)
		if after.Policy <= before.Policy || after.MemberSet <= before.MemberSet {
			e.Fatalf("join raised policy %d to %d, member set %d to %d", before.Policy, after.Policy, before.MemberSet, after.MemberSet)
		}
		h := e.head(b, g)
		e.equal("read at join", []uint64{h.Mine.ReadSeq, uint64(unread(h))}, []uint64{after.Seq, 0})
		e.equal("time read to", h.Mine.ReadTime, after.Time)
	}
	leave := func() {
		e.Helper()
		before := e.conv(g)
		e.update(func(tx chat.Tx) error { _, err := tx.Leave(g, b); return err })
		after := e.conv(g)
		if after.Policy <= before.Policy || after.MemberSet <= before.MemberSet {
			e.Fatal("leave did not raise the numbers")
		}
	}
	join()
	e.send(g, b)
	e.send(g, a)
	e.equal("unread", unread(e.head(b, g)), 1)
	m, err := e.s.Members(e.ctx, g)
	e.equal("members", len(must(e, m, err)), 2)
	leave()
	m, err = e.s.Members(e.ctx, g)
	e.equal("members after leave", len(must(e, m, err)), 1)
	if h := e.head(b, g); !h.Mine.Left {
		e.Fatal("the row does not say that he left")
	}
	e.send(g, a)
	join()
	e.send(g, a)
	e.equal("unread", unread(e.head(b, g)), 1)
	e.equal("periods", e.head(b, g).Periods, []chat.Period{{From: 3, To: 5}, {From: 6, To: chat.NoEnd, ToRev: chat.NoEnd}})
	leave()
	join() // nothing was written in between
	leave()
	join()
	want := []chat.Period{{From: 3, To: 5}, {From: 6, To: 7}, {From: 7, To: chat.NoEnd, ToRev: chat.NoEnd}}
	e.equal("periods", e.head(b, g).Periods, want)
	rows, _, err := e.s.Heads(e.ctx, b, 0, 0, 10)
	e.ok(err)
	e.equal("periods in the list", rows[0].Periods, want)
	row := e.head(b, g).Mine.Row
	e.update(func(tx chat.Tx) error {
		if p, err := tx.Periods(g, b); err != nil || len(p) != 3 {
			e.Error("periods inside:", p, err)
		}
		_, err := tx.Join(g, b)
		return err
	})
	e.equal("joining as a member changes the row", e.head(b, g).Mine.Row, row)
	leave()
	if err := e.s.Update(e.ctx, nil, func(tx chat.Tx) error { _, err := tx.Leave(g, b); return err }); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("leaving twice:", err)
	}
	e.equal("periods outlast it", e.head(b, g).Periods, []chat.Period{{From: 3, To: 5}, {From: 6, To: 7}, {From: 7, To: 7}})
	e.send(g, a)
	e.update(func(tx chat.Tx) error { _, err := tx.AddChange(g, chat.Change{Kind: 3}); return err })
	e.equal("where it ended", e.head(b, g).Periods[2], chat.Period{From: 7, To: 7})
}

// epoch: a group id that is created again is another conversation.
func epoch(e *env) {
	a := e.user("a")
	first := e.group("same", a)
	e.send(first, a)
	e.update(func(tx chat.Tx) error {
		c, err := tx.Conv(first)
		if err != nil {
			return err
		}
		c.Dissolved = true
		return tx.PutConv(c)
	})
	second := e.group("same", a)
	if second == first {
		e.Fatal("the id was used again")
	}
	c, err := e.s.Group(e.ctx, "same")
	e.equal("newest", must(e, c, err).ID, second)
	e.equal("its log", c.Seq, 0)
	e.equal("the old log", e.conv(first).Seq, 1)
	id := e.s.ID()
	e.restart()
	e.equal("store id after a restart", e.s.ID(), id)
	if _, err := e.s.Group(e.ctx, "none"); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("unknown group:", err)
	}
}

// model counts by walking over all entries.
type model struct {
	conv   chat.ConvID
	users  []chat.UID
	log    []chat.Stored
	member map[chat.UID]bool
	read   map[chat.UID]uint64
}

func (m *model) unread(uid chat.UID) (n int) {
	for _, st := range m.log {
		if st.Seq > m.read[uid] && st.Sender != uid && st.Countable && st.Status == 0 {
			n++
		}
	}
	return n
}

func (m *model) others(uid chat.UID, seq uint64) (n uint64) {
	for _, st := range m.log {
		if st.Seq <= seq && st.Sender != uid && st.Countable {
			n++
		}
	}
	return n
}

// check compares the store's numbers with a recount, for all users and a position drawn by t.
func (m *model) check(e *env, t *rapid.T) {
	for _, uid := range m.users {
		if _, was := m.read[uid]; !was {
			continue
		}
		h := e.head(uid, m.conv)
		if got, want := unread(h), m.unread(uid); got != want {
			t.Fatalf("unread of %d: %d, recount %d (%+v)", uid, got, want, h)
		}
		if len(m.log) == 0 {
			continue
		}
		at := uint64(rapid.IntRange(0, len(m.log)).Draw(t, "at"))
		err := e.s.Update(e.ctx, nil, func(tx chat.Tx) error {
			others, time, err := tx.OthersAt(m.conv, uid, at)
			if err != nil {
				return err
			}
			if want := m.others(uid, at); others != want {
				t.Errorf("others of %d at %d: %d, recount %d", uid, at, others, want)
			}
			if at > 0 && time != m.log[at-1].Time {
				t.Errorf("time at %d: %d", at, time)
			}
			own, err := tx.Own(m.conv, uid)
			if err == nil && own != h.Own {
				t.Errorf("own inside %d, in the row %d", own, h.Own)
			}
			w, err2 := tx.Withdrawn(m.conv, uid, h.Mine.ReadSeq)
			if err2 == nil && w != h.Withdrawn {
				t.Errorf("withdrawn inside %d, in the row %d", w, h.Withdrawn)
			}
			return errors.Join(err, err2)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// random runs random operations over the model. With group, people join and leave.
func (m *model) random(e *env, t *rapid.T, group bool) {
	user := func(t *rapid.T, member bool) (chat.UID, bool) {
		uid := rapid.SampledFrom(m.users).Draw(t, "user")
		return uid, m.member[uid] == member
	}
	send := func(t *rapid.T) {
		uid, ok := user(t, true)
		if !ok {
			t.Skip()
		}
		en := e.entry(m.conv, uid)
		en.Countable = rapid.IntRange(0, 3).Draw(t, "countable") > 0
		a := e.append(en)
		if a.err != nil {
			t.Fatal(a.err)
		}
		m.log = append(m.log, a.st)
	}
	actions := map[string]func(*rapid.T){
		"send": send, "send again": send, "send more": send, // sends are the most frequent
		"read": func(t *rapid.T) {
			uid, ok := user(t, true)
			if !ok || len(m.log) == 0 {
				t.Skip()
			}
			seq := uint64(rapid.IntRange(1, len(m.log)).Draw(t, "seq"))
			e.read(m.conv, uid, seq)
			m.read[uid] = max(m.read[uid], seq)
		},
		"recall": func(t *rapid.T) {
			if len(m.log) == 0 {
				t.Skip()
			}
			st := &m.log[rapid.IntRange(0, len(m.log)-1).Draw(t, "recalled")]
			st.Status, st.Revoker = 6, st.Sender
			if err := e.s.Update(e.ctx, nil, func(tx chat.Tx) error { return tx.SetEntry(*st) }); err != nil {
				t.Fatal(err)
			}
		},
		"restart": func(t *rapid.T) {
			if rapid.IntRange(0, 9).Draw(t, "really") > 0 {
				t.Skip()
			}
			e.restart()
		},
		"": func(t *rapid.T) { m.check(e, t) },
	}
	if group {
		actions["join"] = func(t *rapid.T) {
			uid, ok := user(t, false)
			if !ok {
				t.Skip()
			}
			if err := e.s.Update(e.ctx, nil, func(tx chat.Tx) error { _, err := tx.Join(m.conv, uid); return err }); err != nil {
				t.Fatal(err)
			}
			m.member[uid], m.read[uid] = true, uint64(len(m.log))
		}
		actions["leave"] = func(t *rapid.T) {
			uid, ok := user(t, true)
			if !ok {
				t.Skip()
			}
			if err := e.s.Update(e.ctx, nil, func(tx chat.Tx) error { _, err := tx.Leave(m.conv, uid); return err }); err != nil {
				t.Fatal(err)
			}
			m.member[uid] = false
		}
	}
	t.Repeat(actions)
}

func unreadC2C(e *env) {
	n := 0
	rapid.Check(e.T, func(t *rapid.T) {
		n++
		a, b := e.user(rapid.StringMatching(`[a-z]{12}`).Draw(t, "a")), e.user(rapid.StringMatching(`[A-Z]{12}`).Draw(t, "b"))
		c := e.c2c(a, b)
		if c.Seq > 0 {
			t.Skip("the same pair again")
		}
		m := &model{conv: c.ID, users: []chat.UID{a, b}, member: map[chat.UID]bool{a: true, b: true}, read: map[chat.UID]uint64{a: 0, b: 0}}
		m.random(e, t, false)
	})
}

func unreadGroup(e *env) {
	users := []chat.UID{e.user("a"), e.user("b"), e.user("c")}
	rapid.Check(e.T, func(t *rapid.T) {
		m := &model{conv: e.group(fmt.Sprint("g", e.keys.Add(1)), users[0]), users: users, member: map[chat.UID]bool{users[0]: true}, read: map[chat.UID]uint64{users[0]: 0}}
		m.random(e, t, true)
	})
}

func unreadSelf(e *env) {
	a := e.user("a")
	c := e.c2c(a, a)
	for i := range 5 {
		st := e.send(c.ID, a)
		e.equal("own", []uint64{st.Index, st.OwnIndex}, []uint64{uint64(i + 1), uint64(i + 1)})
		h := e.head(a, c.ID)
		e.equal("unread", unread(h), 0)
		e.equal("own of both", []uint64{h.Own, h.Conv.OwnA, h.Conv.OwnB}, []uint64{st.Index, st.Index, st.Index})
		e.update(func(tx chat.Tx) error {
			for seq := range h.Conv.Seq + 1 {
				if n, _, err := tx.OthersAt(c.ID, a, seq); err != nil || n != 0 {
					e.Errorf("others at %d: %d %v", seq, n, err)
				}
			}
			return nil
		})
	}
	e.read(c.ID, a, 3)
	e.equal("unread", unread(e.head(a, c.ID)), 0)
	e.restart()
	e.equal("unread", unread(e.head(a, c.ID)), 0)
}
