package storetest

import (
	"time"

	"errors"
	"fmt"
	"sync"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// deleted: for one user, in one conversation, also after the store was reopened.
func deleted(e *env) {
	a, b, c := e.user("a"), e.user("b"), e.user("c")
	ab, ac := e.c2c(a, b).ID, e.c2c(a, c).ID
	for range 6 {
		e.send(ab, a)
		e.send(ac, a)
	}
	e.update(func(tx chat.Tx) error { return tx.Delete(ab, b, []uint64{5, 2}) })
	e.update(func(tx chat.Tx) error { return tx.Delete(ab, b, []uint64{2, 6}) })
	e.update(func(tx chat.Tx) error { return tx.Delete(ac, a, []uint64{1}) })
	for range 2 {
		for _, x := range []struct {
			uid      chat.UID
			id       chat.ConvID
			from, to uint64
			want     []uint64
		}{
			{b, ab, 1, 6, []uint64{2, 5, 6}}, {b, ab, 3, 5, []uint64{5}}, {b, ab, 3, 4, nil}, {b, ab, 0, chat.NoEnd + 1, []uint64{2, 5, 6}},
			{a, ab, 1, 6, nil}, {b, ac, 1, 6, nil}, {a, ac, 1, 6, []uint64{1}},
		} {
			got, err := e.s.Deleted(e.ctx, x.uid, x.id, x.from, x.to)
			e.ok(err)
			e.equal("deleted", got, x.want)
		}
		e.equal("entries", len(must2(e, ab)), 6) // the log itself is unchanged
		e.restart()
	}
}

// unseen: whoever sees the entry finds it deleted for its sender.
func unseen(e *env) {
	const n = 200
	a, b := e.user("a"), e.user("b")
	id := e.c2c(a, b).ID
	looked := make(chan error, 1)
	go func() { // while they are stored
		for seen := 0; seen < n; {
			entries, err := e.s.Entries(e.ctx, id, 1, chat.NoEnd, false, n, 1<<20)
			var gone []uint64
			if err == nil {
				gone, err = e.s.Deleted(e.ctx, a, id, 1, chat.NoEnd)
			}
			if seen = len(entries); err == nil && len(gone) < seen {
				err = fmt.Errorf("%d entries are there, and %d are deleted for their sender", seen, len(gone))
			}
			if err != nil {
				looked <- err
				return
			}
		}
		looked <- nil
	}()
	var first chat.Entry
	for i := range n {
		x := e.entry(id, a)
		x.Unseen = true
		if i == 0 {
			first = x
		}
		e.ok(e.append(x).err)
	}
	e.ok(<-looked)
	if again := e.append(first); again.err != nil || !again.dup || again.st.Seq != 1 {
		e.Errorf("again: %+v", again)
	}
	got, err := e.s.Deleted(e.ctx, b, id, 1, chat.NoEnd)
	e.equal("for the other one", len(must(e, got, err)), 0)

	// Such an entry brings back a conversation that was deleted for its receiver, not for its sender.
	for _, uid := range []chat.UID{a, b} {
		e.update(func(tx chat.Tx) error {
			m, err := tx.Member(id, uid)
			m.Hidden, m.ClearedSeq = true, n
			if err == nil {
				_, err = tx.PutMember(m)
			}
			return err
		})
	}
	back := func(when string, forA, forB bool) {
		e.Helper()
		for uid, want := range map[chat.UID]bool{a: forA, b: forB} {
			h, err := e.s.Head(e.ctx, uid, id)
			e.ok(err)
			e.equal(when, h.Back, want)
			e.update(func(tx chat.Tx) error {
				got, err := tx.Back(id, uid, n)
				e.equal(when, got, want)
				return err
			})
		}
	}
	back("nothing has come", false, false)
	x := e.entry(id, a)
	x.Unseen = true
	e.ok(e.append(x).err)
	back("an unseen entry", false, true)
	e.restart()
	back("an unseen entry, and a restart", false, true)
	e.send(id, a)
	back("an entry", true, true)
}

func must2(e *env, id chat.ConvID) []chat.Stored {
	e.Helper()
	got, err := e.s.Entries(e.ctx, id, 1, chat.NoEnd, false, 100, 1<<20)
	return must(e, got, err)
}

func pinned(e *env) {
	a := e.user("a")
	var ids []chat.ConvID
	for i := range 4 {
		ids = append(ids, e.c2c(a, e.user(fmt.Sprint("p", i))).ID)
	}
	pin := func(id chat.ConvID, v bool, want int) {
		e.Helper()
		e.update(func(tx chat.Tx) error {
			m, err := tx.Member(id, a)
			if err != nil {
				return err
			}
			m.Pinned = v
			if _, err := tx.PutMember(m); err != nil {
				return err
			}
			n, err := tx.Pinned(a)
			e.equal("pinned", n, want)
			return err
		})
	}
	pin(ids[0], true, 1)
	pin(ids[1], true, 2)
	pin(ids[1], true, 2)
	pin(ids[0], false, 1)
	e.update(func(tx chat.Tx) error {
		n, err := tx.Pinned(e.user2(tx, ids[1], a))
		e.equal("of the peer", n, 0)
		return err
	})
}

// user2 is the other person of a conversation.
func (e *env) user2(tx chat.Tx, id chat.ConvID, not chat.UID) chat.UID {
	cv, err := tx.Conv(id)
	e.ok(err)
	if cv.A == not {
		return cv.B
	}
	return cv.A
}

// admins: the admin who has sent an entry is in the log of all conversations, and nowhere else. A repeated entry keeps the first one.
func admins(e *env) {
	a, b := e.user("a"), e.user("b")
	g := e.group("admins", a, b)
	by := func(admin string) chat.Entry {
		en := e.entry(g, a)
		en.Admin = admin
		return en
	}
	first := by("root \x00\xff é")
	entries := []chat.Entry{first, by(""), by("other")}
	for _, en := range entries {
		e.ok(e.append(en).err)
	}
	again := first
	again.Admin = "third"
	x := e.append(again)
	e.ok(x.err)
	e.equal("again", x.dup, true)
	e.equal("again, in the answer", x.st.Admin, "")
	e.update(func(tx chat.Tx) error {
		_, err := tx.Append(chat.Entry{Conv: g, Admin: "in an update", Body: []byte("tip")})
		return err
	})
	e.restart()
	log, err := e.s.Log(e.ctx, 0, 10)
	e.ok(err)
	var got []string
	for i := range log {
		got = append(got, log[i].Admin)
	}
	root := first.Admin
	if len(got) > 0 && got[0] != root { // PostgreSQL cannot store it as it is
		root, _ = tables.Postgres.Text(root)
	}
	e.equal("admins in the log", got, []string{root, "", "other", "in an update"})
	list, err := e.s.Entries(e.ctx, g, 1, 10, false, 10, 1<<20)
	e.ok(err)
	e.equal("entries", len(list), len(log))
	for i := range list {
		e.equal("an admin in what clients read", list[i].Admin, "")
	}
	found, err := e.s.Lookup(e.ctx, tables.KeyOf(&first))
	e.ok(err)
	e.equal("the admin in what is looked up", found.Admin, "")
}

// wholeLog reads all entries of the store in steps, while they are written, and after it was reopened: each once, those of a conversation in order.
func wholeLog(e *env) {
	a, b, c := e.user("a"), e.user("b"), e.user("c")
	ids := []chat.ConvID{e.c2c(a, b).ID, e.c2c(a, c).ID, e.c2c(b, c).ID}
	senders := []chat.UID{a, a, b}
	if end, err := e.s.LogEnd(e.ctx); err != nil || end != 0 {
		e.Fatalf("an empty log ends at %d, %v", end, err)
	}
	const each = 200
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			for range each {
				e.send(ids[i], senders[i])
			}
		})
	}
	seqs := make(map[chat.ConvID]uint64)
	read := func(pos int64) int64 {
		list, err := e.s.Log(e.ctx, pos, 7)
		e.ok(err)
		if len(list) > 7 {
			e.Fatalf("%d entries, want 7 at most", len(list))
		}
		for _, x := range list {
			if x.Pos <= pos || x.Seq != seqs[x.Conv]+1 || len(x.Body) == 0 {
				e.Fatalf("%d of %d at %d follows %d at %d", x.Seq, x.Conv, x.Pos, seqs[x.Conv], pos)
			}
			pos = x.Pos
			seqs[x.Conv]++
		}
		return pos
	}
	var pos int64
	for seqs[ids[0]]+seqs[ids[1]]+seqs[ids[2]] < 2*each {
		pos = read(pos)
	}
	wg.Wait()
	e.restart()
	for old := int64(-1); old != pos; {
		old, pos = pos, read(pos)
	}
	for _, id := range ids {
		e.equal("entries read", seqs[id], uint64(each))
	}
	if end, err := e.s.LogEnd(e.ctx); err != nil || end != pos {
		e.Errorf("the log ends at %d, %v; read up to %d", end, err, pos)
	}
	e.send(ids[0], a)
	if next := read(pos); next <= pos {
		e.Errorf("position %d after %d", next, pos)
	}
}

func cursors(e *env) {
	if _, err := e.s.Cursor(e.ctx, "x"); !errors.Is(err, chat.ErrNotFound) {
		e.Fatalf("a cursor that was never set: %v", err)
	}
	lease := func(name string) int64 {
		e.Helper()
		n, err := e.s.Lease(e.ctx, name, 0, time.Hour)
		e.ok(err)
		if n == 0 {
			e.Fatal("no lease")
		}
		return n
	}
	x, y := lease("x"), lease("y")
	for i, at := range []int64{5, 6} { // the first one counts
		e.ok(e.s.StartCursor(e.ctx, "x", at))
		e.ok(e.s.StartCursor(e.ctx, "y", int64(i+1)))
	}
	pos, err := e.s.Cursor(e.ctx, "x")
	e.ok(err)
	e.equal("the start", pos, int64(5))
	e.ok(e.s.SetCursor(e.ctx, "x", 7, x))
	e.ok(e.s.SetCursor(e.ctx, "y", 1<<60, y))
	e.ok(e.s.SetCursor(e.ctx, "x", 6, x)) // it does not go back
	for range 2 {
		for name, want := range map[string]int64{"x": 7, "y": 1 << 60} {
			pos, err := e.s.Cursor(e.ctx, name)
			e.ok(err)
			e.equal(name, pos, want)
		}
		e.restart()
	}
}

// validFrom: a kick persists.
func validFrom(e *env) {
	a, b := e.user("a"), e.user("b")
	e.update(func(tx chat.Tx) error {
		u, err := tx.User(a)
		if err != nil {
			return err
		}
		u.ValidFrom, u.Generation = 1<<40, 3
		return tx.PutUser(u)
	})
	for range 2 {
		for uid, want := range map[chat.UID]int64{a: 1 << 40, b: 0} {
			u, err := e.s.UserByID(e.ctx, uid)
			e.ok(err)
			e.equal("valid from", u.ValidFrom, want)
		}
		e.restart()
	}
}

// sent: calls of operators are kept, replaced, forgotten when they are old, and deleted.
func sent(e *env) {
	a, b := e.user("a"), e.user("b")
	put := func(s chat.Sent, before int64) {
		e.Helper()
		e.update(func(tx chat.Tx) error { return tx.PutSent(s, before) })
	}
	want := chat.Sent{Sender: a, Random: 1<<32 - 1, Seq: 1<<32 - 2, ClientTime: 100, Hash: 1<<64 - 3, At: 100_000}
	put(want, 0)
	next := want
	next.Seq, next.ClientTime = 7, 104
	put(next, 0)
	e.restart()
	e.update(func(tx chat.Tx) error {
		got, err := tx.Sent(a, want.Random, want.Seq)
		e.equal("sent", got, want)
		last, err2 := tx.LastSent(a, want.Random)
		e.equal("last", last, uint64(104))
		none, err3 := tx.LastSent(b, want.Random)
		e.equal("last of another", none, uint64(0))
		if _, err := tx.Sent(b, want.Random, want.Seq); !errors.Is(err, chat.ErrNotFound) {
			e.Error("that of another sender:", err)
		}
		return errors.Join(err, err2, err3)
	})
	// The first one is old, the second one's client time is not.
	put(chat.Sent{Sender: b, Random: 1, Seq: 1, ClientTime: 103, Hash: 5, At: 102_000}, 102_000)
	put(chat.Sent{Sender: b, Random: 1, Seq: 1, ClientTime: 103, Hash: 6, At: 102_000}, 102_000)
	e.update(func(tx chat.Tx) error {
		if _, err := tx.Sent(a, want.Random, want.Seq); !errors.Is(err, chat.ErrNotFound) {
			e.Error("an old one:", err)
		}
		_, err := tx.Sent(a, next.Random, next.Seq)
		got, err2 := tx.Sent(b, 1, 1)
		e.equal("replaced", got.Hash, uint64(6))
		return errors.Join(err, err2)
	})
	// Rows whose client time is ahead stay, and keep none that is younger from being forgotten.
	for i := range uint32(6) {
		put(chat.Sent{Sender: a, Random: 2, Seq: uint64(i), ClientTime: 1000, At: 1}, 0)
	}
	put(chat.Sent{Sender: a, Random: 3, Seq: 1, ClientTime: 1, At: 2}, 0)
	put(chat.Sent{Sender: b, Random: 1, Seq: 2, ClientTime: 104, At: 103_000}, 3_000)
	e.update(func(tx chat.Tx) error {
		if _, err := tx.Sent(a, 3, 1); !errors.Is(err, chat.ErrNotFound) {
			e.Error("an old one behind others:", err)
		}
		_, err := tx.Sent(a, 2, 0)
		return err
	})
}
