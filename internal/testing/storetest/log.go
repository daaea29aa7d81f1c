package storetest

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

func entries(e *env) {
	a, b := e.user("a"), e.user("b")
	id := e.c2c(a, b).ID
	for range 20 {
		e.send(id, a) // bodies of 9 bytes
	}
	for _, c := range []struct {
		from, to        uint64
		newest          bool
		limit, maxBytes int
		first, n        uint64
	}{
		{1, 20, false, 100, 1 << 20, 1, 20},
		{1, chat.NoEnd + 5, false, 100, 1 << 20, 1, 20},
		{0, 3, false, 100, 1 << 20, 1, 3},
		{5, 9, false, 3, 1 << 20, 5, 3},
		{5, 9, true, 3, 1 << 20, 7, 3},
		{1, 20, false, 100, 30, 1, 3},
		{1, 20, true, 100, 30, 18, 3},
		{4, 20, false, 100, 1, 4, 1},
		{4, 20, true, 100, 0, 20, 1},
		{21, 40, false, 100, 1 << 20, 0, 0},
		{9, 8, false, 100, 1 << 20, 0, 0},
		{1, 20, false, 0, 1 << 20, 0, 0},
	} {
		got, err := e.s.Entries(e.ctx, id, c.from, c.to, c.newest, c.limit, c.maxBytes)
		e.ok(err)
		if len(got) != int(c.n) || c.n > 0 && (got[0].Seq != c.first || got[c.n-1].Seq != c.first+c.n-1) {
			e.Fatalf("%+v: got %d entries %+v", c, len(got), got)
		}
	}
}

func setEntry(e *env) {
	a, b := e.user("a"), e.user("b")
	id := e.c2c(a, b).ID
	st := e.send(id, a)
	tip := e.entry(id, a)
	tip.Countable = false
	e.ok(e.append(tip).err)
	want := kept(st)
	want.Status, want.Version, want.Revoker, want.RevokeReason, want.Body = 6, 2, b, "reason", []byte("other")
	e.update(func(tx chat.Tx) error {
		for range 2 { // withdrawn once only
			if err := tx.SetEntry(want); err != nil {
				return err
			}
		}
		return tx.SetEntry(chat.Stored{Entry: chat.Entry{Conv: id}, Seq: 2, Status: 6})
	})
	e.restart()
	got, err := e.s.Entries(e.ctx, id, 1, 1, false, 1, 1)
	e.equal("entry", must(e, got, err)[0], want)
	e.equal("withdrawn", []any{e.head(b, id).Withdrawn, unread(e.head(b, id)), e.head(a, id).Withdrawn}, []any{1, 0, 0})
	for _, f := range []func(chat.Tx) error{
		func(tx chat.Tx) error { return tx.SetEntry(chat.Stored{Entry: chat.Entry{Conv: id}, Seq: 3}) },
		func(tx chat.Tx) error { _, err := tx.Entry(id, 3); return err },
		func(tx chat.Tx) error { _, _, err := tx.OthersAt(id, a, 3); return err },
		func(tx chat.Tx) error { _, err := tx.Conv(id + 100); return err },
		func(tx chat.Tx) error { _, err := tx.Member(id, 5); return err },
		func(tx chat.Tx) error { _, err := tx.User(5); return err },
		func(tx chat.Tx) error { _, err := tx.AddFeed(5, 1, nil); return err },
		func(tx chat.Tx) error { return tx.PutUser(chat.User{UID: 5}) },
		func(tx chat.Tx) error { _, err := tx.AddChange(id+100, chat.Change{}); return err },
	} {
		if err := e.s.Update(e.ctx, nil, f); !errors.Is(err, chat.ErrNotFound) {
			e.Fatal("what is not there:", err)
		}
	}
	// A resend gets the entry as it is by then.
	again := e.append(st.Entry)
	e.equal("resend", []any{again.dup, again.st.Status}, []any{true, 6})
}

func changes(e *env) {
	a, b := e.user("a"), e.user("b")
	id := e.c2c(a, b).ID
	e.send(id, a)
	e.send(id, b)
	for i := range 5 {
		e.clock.move(time.Second)
		e.update(func(tx chat.Tx) error {
			for k := range 2 {
				c, err := tx.AddChange(id, chat.Change{Kind: int32(k), Seq: uint64(k * 2), Operator: b, Reason: "why"})
				if err != nil {
					return err
				}
				if c.Rev != uint64(2*i+k+1) || c.Time != tx.Now() {
					e.Errorf("change %d of update %d: %+v", k, i, c)
				}
			}
			return nil
		})
	}
	c := e.conv(id)
	e.equal("head", []any{c.Rev, c.Seq, c.Changed}, []any{10, 2, e.s.Now()})
	e.restart()
	got, err := e.s.Changes(e.ctx, id, 2, 9, 3, 1<<20)
	e.ok(err)
	e.equal("page", len(got), 3)
	for i, c := range got {
		e.equal("change", []any{c.Rev, c.Operator, c.Reason, c.Target != nil}, []any{uint64(i + 2), b, "why", c.Seq == 2})
	}
	e.equal("target", []any{got[0].Target.Seq, got[0].Target.Sender}, []any{2, b})
	got, err = e.s.Changes(e.ctx, id, 10, chat.NoEnd, 100, 1<<20)
	e.equal("the last", len(must(e, got, err)), 1)
}

// owned: a caller that reads entries may write to them, and neither the log nor the entry beside it changes.
func owned(e *env) {
	a, b := e.user("a"), e.user("b")
	id := e.c2c(a, b).ID
	want := []string{string(e.send(id, a).Body), string(e.send(id, b).Body)}
	for range 2 {
		list, err := e.s.Entries(e.ctx, id, 1, 2, false, 10, 1<<20)
		e.ok(err)
		e.equal("entries", len(list), 2)
		for i, st := range list {
			e.equal("body", string(st.Body), want[i])
			for j := range st.Body {
				st.Body[j] = 'x'
			}
			_ = append(st.Body, 'y')
		}
		st, err := e.s.Lookup(e.ctx, chat.SendKey{Conv: id, Sender: a, ClientTime: list[0].ClientTime, Random: list[0].Random})
		e.ok(err)
		e.equal("looked up", string(st.Body), want[0])
		clear(st.Body)
	}
}

// contents: a content is returned with the modification that made it and with no other, and no more bytes are returned than requested.
func contents(e *env) {
	a, b := e.user("a"), e.user("b")
	id := e.c2c(a, b).ID
	e.send(id, a)
	e.send(id, b)
	modify := func(seq uint64, by chat.UID, body []byte) {
		e.update(func(tx chat.Tx) error {
			st, err := tx.Entry(id, seq)
			if err != nil {
				return err
			}
			st.Body = body
			st.Version++
			if err := tx.SetEntry(st); err != nil {
				return err
			}
			_, err = tx.AddChange(id, chat.Change{Kind: tables.KindModify, Seq: seq, Operator: by, Version: st.Version})
			return err
		})
	}
	revoke := func(seq uint64, reason string) {
		e.update(func(tx chat.Tx) error {
			st, err := tx.Entry(id, seq)
			if err != nil {
				return err
			}
			st.Status, st.Revoker, st.RevokeReason = tables.StatusRevoked, a, reason
			if err := tx.SetEntry(st); err != nil {
				return err
			}
			_, err = tx.AddChange(id, chat.Change{Kind: 1, Seq: seq, Operator: a, Reason: reason})
			return err
		})
	}
	large := bytes.Repeat([]byte("x"), 1000)
	for i := range 3 { // revs 1 to 6
		modify(1, a, append(large, byte(i)))
		modify(2, b, append(large, byte(i)))
	}
	revoke(1, strings.Repeat("y", 500)) // 7
	modify(2, a, []byte("last"))        // 8
	e.restart()
	ask := func(from, to uint64, limit, most int) (revs []uint64, with []uint64) {
		e.Helper()
		got, err := e.s.Changes(e.ctx, id, from, to, limit, most)
		e.ok(err)
		for _, c := range got {
			revs = append(revs, c.Rev)
			if c.Target.Body != nil {
				with = append(with, c.Rev)
			}
			e.equal("target", []any{c.Target.Seq, c.Target.Version}, []any{c.Seq, map[uint64]uint64{1: 3, 2: 4}[c.Seq]})
		}
		return revs, with
	}
	for _, q := range []struct {
		from, to    uint64
		limit, most int
		revs, with  []uint64
	}{
		{1, 8, 100, 1 << 20, []uint64{1, 2, 3, 4, 5, 6, 7, 8}, []uint64{5, 8}},
		{1, 4, 100, 1 << 20, []uint64{1, 2, 3, 4}, nil}, // what they made has been replaced
		{3, 9, 3, 1 << 20, []uint64{3, 4, 5}, []uint64{5}},
		{5, 8, 100, 1, []uint64{5}, []uint64{5}}, // one always fits
		{7, 8, 100, 999, []uint64{7}, nil},       // the reasons count: of the change, and of its message
		{7, 8, 100, 1004, []uint64{7, 8}, []uint64{8}},
		{9, 10, 100, 1 << 20, nil, nil},
		{1, 8, 0, 1 << 20, nil, nil},
	} {
		revs, with := ask(q.from, q.to, q.limit, q.most)
		e.equal("changes", []any{revs, with}, []any{q.revs, q.with})
	}
	// Entries count the reasons, too.
	log, err := e.s.Entries(e.ctx, id, 1, 2, false, 10, 1001+500+3)
	e.equal("entries without room", len(must(e, log, err)), 1)
	log, err = e.s.Entries(e.ctx, id, 1, 2, false, 10, 1001+500+4)
	e.equal("entries", len(must(e, log, err)), 2)

	last := func(seq uint64, kind int32, by chat.UID, above uint64) uint64 {
		e.Helper()
		c, err := e.s.LastChange(e.ctx, id, seq, kind, by, above)
		if errors.Is(err, chat.ErrNotFound) {
			return 0
		}
		e.ok(err)
		e.equal("change", []any{c.Seq, c.Kind, c.Operator, c.Target.Body != nil}, []any{seq, kind, by, kind == tables.KindModify && (c.Rev == 5 || c.Rev == 8)})
		return c.Rev
	}
	e.equal("last changes", []any{last(1, 2, a, 0), last(2, 2, b, 0), last(2, 2, a, 7), last(2, 2, a, 8), last(1, 1, a, 0), last(1, 1, b, 0), last(3, 2, a, 0)},
		[]any{5, 6, 8, 0, 7, 0, 0})
}

func feed(e *env) {
	a, b := e.user("a"), e.user("b")
	for i := range 4 {
		e.update(func(tx chat.Tx) error {
			for k := range 3 {
				f, err := tx.AddFeed(a, int32(k), []byte{byte(i)})
				if err != nil {
					return err
				}
				if f.Seq != uint64(3*i+k+1) {
					e.Error("feed number", f.Seq)
				}
			}
			_, err := tx.AddFeed(b, 1, nil)
			return err
		})
	}
	e.restart()
	for uid, n := range map[chat.UID]uint64{a: 12, b: 4} {
		u, err := e.s.UserByID(e.ctx, uid)
		e.equal("feed head", must(e, u, err).Feed, n)
		got, err := e.s.Feed(e.ctx, uid, 1, chat.NoEnd, 100)
		e.equal("entries", len(must(e, got, err)), n)
		for i, f := range got {
			e.equal("number", f.Seq, i+1)
		}
	}
	got, err := e.s.Feed(e.ctx, a, 3, 11, 2)
	e.ok(err)
	e.equal("page", []any{len(got), got[0].Seq, got[0].Kind, got[0].Body}, []any{2, 3, 2, []byte{0}})
}

func sessions(e *env) {
	a := e.user("a")
	want := []chat.Session{
		{UID: a, Device: "d1", Class: 1, Platform: 2, Generation: 3, LoggedIn: true, At: 4},
		{UID: a, Device: "d2", Class: 2, Platform: 1, Generation: 4, Owed: true, At: 5},
	}
	e.update(func(tx chat.Tx) error {
		return errors.Join(tx.PutSession(want[1]), tx.PutSession(chat.Session{UID: a, Device: "d1"}), tx.PutSession(want[0]))
	})
	got, err := e.s.Sessions(e.ctx, a)
	e.equal("sessions", must(e, got, err), want)
	e.update(func(tx chat.Tx) error {
		got, err := tx.Sessions(a)
		e.equal("inside", got, want)
		return err
	})
	b := e.user("b")
	e.update(func(tx chat.Tx) error {
		return errors.Join(tx.PutSession(chat.Session{UID: b, Device: "d1"}), tx.DropSessions(a, []string{"d1", "d9"}), tx.DropSessions(b, nil))
	})
	got, err = e.s.Sessions(e.ctx, a)
	e.equal("after dropping one", must(e, got, err), want[1:])
	got, err = e.s.Sessions(e.ctx, b)
	e.equal("of somebody else", len(must(e, got, err)), 1)
	got, err = e.s.Sessions(e.ctx, 5)
	e.equal("nobody's", len(must(e, got, err)), 0)
}

func seqAt(e *env) {
	a, b := e.user("a"), e.user("b")
	id := e.c2c(a, b).ID
	at := func(t int64) uint64 {
		e.Helper()
		n, err := e.s.SeqAt(e.ctx, id, t)
		return must(e, n, err)
	}
	e.equal("of an empty log", at(1<<62), 0)
	var times []int64
	for i := range 30 {
		if i%3 == 0 {
			e.clock.move(10 * time.Millisecond)
		}
		times = append(times, e.send(id, a).Time)
	}
	for t := times[0] - 2; t < times[29]+3; t++ {
		want := 0
		for i, x := range times {
			if x <= t {
				want = i + 1
			}
		}
		e.equal("seq", at(t), want)
	}
	if _, err := e.s.SeqAt(e.ctx, 1<<40, 1); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("unknown conversation:", err)
	}
}

func clock(e *env) {
	a, b := e.user("a"), e.user("b")
	id := e.c2c(a, b).ID
	last := e.s.Now()
	later := func(what string, t int64) {
		e.Helper()
		if t < last {
			e.Fatalf("%s: time runs back from %d to %d", what, last, t)
		}
		last = t
	}
	for i := range 6 {
		e.clock.move(time.Minute)
		later("now", e.s.Now())
		e.clock.move(-time.Duration(i) * time.Hour)
		later("now after the clock was set back", e.s.Now())
		later("entry", e.send(id, a).Time)
		e.update(func(tx chat.Tx) error { later("update", tx.Now()); _, err := tx.AddFeed(a, 1, nil); return err })
		e.restart()
		later("now after a restart", e.s.Now())
		later("entry", e.send(id, b).Time)
		e.restart()
		e.update(func(tx chat.Tx) error { later("update", tx.Now()); return nil })
	}
	e.clock.move(1000 * time.Hour)
	later("now", e.s.Now())
	e.clock.move(-1000 * time.Hour)
	e.restart() // after a time at which nothing was written
	later("now after a restart", e.s.Now())
	e.clock.move(2000 * time.Hour)
	if e.s.Now() <= last {
		e.Fatal("the clock stands")
	}
}
